/*
 * waiter.c - see waiter.h. A process claims pages of waiters, 64 each, and keeps the idle ones in a
 * list of its own; the pages go back when it leaves or is reaped.
 */
#include "runtime/sync/waiter.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/spin.h"
#include "runtime/sync/strand.h"
#include "runtime/test_points.h"

#include <achar/status.h>

#define LOOK_NS INT64_C(100000000)

static _Atomic achar__place *next_of(achar__waiter *waiter)
{
    return (_Atomic achar__place *)&waiter->link.next;
}

/* Puts a chain of waiters, 'last' its end, before the idle ones. */
static void put_idle(achar_space *space, achar__place first, achar__waiter *last)
{
    _Atomic uint64_t *idle = &space->member->idle_waiters;
    uint64_t before = atomic_load_explicit(idle, memory_order_relaxed);
    do {
        atomic_store_explicit(next_of(last), (achar__place)before, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(idle, &before, (before >> 32 << 32) | first,
                                                    memory_order_release, memory_order_relaxed));
}

/* NULL: there is none. */
static achar__waiter *take_idle(achar_space *space)
{
    _Atomic uint64_t *idle = &space->member->idle_waiters;
    uint64_t before = atomic_load_explicit(idle, memory_order_acquire), after;
    achar__waiter *waiter;
    do {
        if ((achar__place)before == 0) {
            return NULL;
        }
        waiter = achar__waiter_at(space, (achar__place)before);
        after = ((before >> 32) + 1) << 32 |
                atomic_load_explicit(next_of(waiter), memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(idle, &before, after, memory_order_acquire,
                                                    memory_order_acquire));
    return waiter;
}

/* Claims a page for this process; its waiters are idle. */
static int claim_chunk(achar_space *space, uint32_t ticket)
{
    for (uint32_t i = 0; i < ACHAR__CHUNK_COUNT; i++) {
        uint32_t nobody = 0;
        achar__place place = ACHAR__CHUNKS_PLACE + i * ACHAR__CHUNK_NBYTES;
        if (atomic_load_explicit(&space->header->chunk_owners[i], memory_order_relaxed) != 0) {
            continue;
        }
        /* Committed first: who sees an owner may read the page. */
        int status = achar__space_commit(space, place, ACHAR__CHUNK_NBYTES);
        if (status != ACHAR_OK) {
            return status;
        }
        if (!atomic_compare_exchange_strong(&space->header->chunk_owners[i], &nobody, ticket)) {
            continue;
        }
        achar__waiter *waiters = achar__at(space, place);
        for (uint32_t w = 0; w < ACHAR__CHUNK_WAITERS; w++) {
            waiters[w].ticket = ticket;
            waiters[w].link.next = achar__place_of(space, &waiters[w + 1]);
        }
        if (i >= atomic_load(&space->member->chunk_end)) {
            atomic_store(&space->member->chunk_end, i + 1);
        }
        put_idle(space, place, &waiters[ACHAR__CHUNK_WAITERS - 1]);
        return ACHAR_OK;
    }
    return ACHAR_E_LIMIT;
}

int achar__waiter_take(achar_space *space, uint32_t ticket, const achar_cell *object,
                       achar__waiter **out)
{
    achar__waiter *waiter;
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    while (!(waiter = take_idle(space))) {
        pthread_mutex_lock(&space->member->lock); /* one page is enough for all who look */
        bool is_empty = (achar__place)atomic_load(&space->member->idle_waiters) == 0;
        int status = is_empty ? claim_chunk(space, ticket) : ACHAR_OK;
        pthread_mutex_unlock(&space->member->lock);
        if (status != ACHAR_OK) {
            return status;
        }
    }
    waiter->object = achar__place_of(space, object);
    atomic_store_explicit(&waiter->flags, achar__on_strand() ? ACHAR__WAITER_ASYNC : 0,
                          memory_order_relaxed);
    waiter->value = 0;
    (void)achar__latch_was_interrupted(); /* before this wait */
    *out = waiter;
    return ACHAR_OK;
}

void achar__waiter_give_back(achar_space *space, achar__waiter *waiter)
{
    put_idle(space, achar__place_of(space, waiter), waiter);
}

/* On the futex, if the bell is still 'seen'. */
static int sleep_on_bell(achar_space *space, achar__waiter *waiter, uint32_t seen,
                         int64_t deadline_ns)
{
    atomic_store(&waiter->asleep, 1); /* before the kernel looks at the bell; ring() looks after */
    int status = achar__futex_wait(&waiter->bell, seen, space->shared, deadline_ns);
    atomic_store_explicit(&waiter->asleep, 0, memory_order_relaxed);
    return status;
}

int achar__waiter_sleep(achar_space *space, achar__waiter *waiter, int64_t deadline_ns,
                        enum achar__sleep_manner manner)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(&waiter->bell, memory_order_acquire);
        uint32_t state = atomic_load_explicit(&waiter->state, memory_order_acquire);
        if (ACHAR__WAITER_HAS_ENDED(state) || state == ACHAR__WAITER_NUDGED) {
            return ACHAR_OK;
        }
        if (deadline_ns == 0) {
            return ACHAR_E_TIMEOUT;
        }
        int64_t until_ns = deadline_ns;
        bool watched = achar__watch(space);
        if (achar__on_strand()) {
            int status = achar__strand_sleep(space, waiter);
            if (status != ACHAR_OK) {
                return status;
            }
            continue;
        }
        if (achar__latch_was_interrupted()) {
            return ACHAR_E_INTERRUPTED;
        }
        if (manner != ACHAR__SLEEP_AT_ONCE) {
            enum achar__spin_outcome outcome = achar__spin(&waiter->bell, seen, deadline_ns);
            if (outcome == ACHAR__SPIN_RUNG) {
                continue;
            }
            if (outcome == ACHAR__SPIN_VAIN && manner == ACHAR__SLEEP_HOSTED) {
                return ACHAR_E_INTERRUPTED; /* a signal may have come, and would not again */
            }
        }
        if (!watched) { /* no thread, no descriptors: this one looks itself, now and then */
            int64_t look_ns = achar__deadline_in(LOOK_NS);
            until_ns = deadline_ns < 0 || look_ns < deadline_ns ? look_ns : deadline_ns;
        }
        int status = sleep_on_bell(space, waiter, seen, until_ns);
        if (!watched && status == ACHAR_E_TIMEOUT) {
            achar__reap_the_dead(space);
            status = until_ns == deadline_ns ? ACHAR_E_TIMEOUT : ACHAR_OK;
        }
        if (status != ACHAR_OK) {
            return status;
        }
    }
}

int achar__host_answer(achar_space *space, uint32_t ticket, const achar__host *host)
{
    bool gives_up = !host || host->on_signal(host->context) != 0;
    if (achar__ticket(space) != ticket) {
        return gives_up ? ACHAR__CHILD_GIVES_UP : ACHAR__IS_CHILD;
    }
    return gives_up ? ACHAR_E_INTERRUPTED : ACHAR_OK;
}

int achar__waiter_sleep_on(achar_space *space, achar__waiter *waiter, int64_t deadline_ns,
                           const achar__host *host)
{
    enum achar__sleep_manner manner = achar__sleep_manner_of(host);
    uint32_t ticket = achar__ticket(space);
    for (;;) {
        int status = achar__waiter_sleep(space, waiter, deadline_ns, manner);
        if (status != ACHAR_E_INTERRUPTED) {
            return status;
        }
        status = achar__host_answer(space, ticket, host);
        if (status != ACHAR_OK) {
            return status;
        }
        manner = ACHAR__SLEEP_AT_ONCE; /* signals that come from now on interrupt it */
    }
}

achar__waiter *achar__waiter_first_present(const achar_space *space, const achar__link *list)
{
    for (achar__place place = list->next; place != achar__place_of(space, list);) {
        achar__waiter *waiter = achar__waiter_of(space, place);
        if (atomic_load(&waiter->state) != ACHAR__WAITER_ASIDE) {
            return waiter;
        }
        place = waiter->link.next;
    }
    return NULL;
}

void achar__waiter_ring(achar_space *space, achar__waiter *waiter)
{
    ACHAR__CRASH_POINT("before-ring");
    atomic_fetch_add(&waiter->bell, 1);
    if (atomic_load_explicit(&waiter->flags, memory_order_relaxed) & ACHAR__WAITER_ASYNC) {
        uint32_t ticket = waiter->ticket;
        if (ticket == 0) {
            return; /* its process is dead and reaped meanwhile, and the reaper rings all */
        }
        uint32_t number = achar__waiter_number(space, waiter);
        atomic_fetch_or(&space->header->rung[number / ACHAR__CHUNK_WAITERS],
                        UINT64_C(1) << number % ACHAR__CHUNK_WAITERS);
        if (ticket == achar__ticket(space)) {
            achar__waker_tell(space);
            return;
        }
        _Atomic uint32_t *bell = &space->header->processes[ACHAR__TICKET_INDEX(ticket)].bell;
        atomic_fetch_add(bell, 1);
        achar__futex_wake(bell, space->shared, 1);
    } else if (atomic_load(&waiter->asleep)) {
        achar__futex_wake(&waiter->bell, space->shared, 1);
    }
}

void achar__bells_add(achar_space *space, achar__bells *bells, achar__waiter *waiter)
{
    if (bells->count == sizeof bells->waiters / sizeof *bells->waiters) {
        achar__bells_ring(space, bells);
    }
    bells->waiters[bells->count++] = waiter;
}

void achar__bells_ring(achar_space *space, achar__bells *bells)
{
    for (unsigned i = 0; i < bells->count; i++) {
        achar__waiter_ring(space, bells->waiters[i]);
    }
    bells->count = 0;
}
