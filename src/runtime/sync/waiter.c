/*
 * waiter.c - see waiter.h. A process claims pages of waiters, 64 each, and keeps the idle ones in a
 * list of its own; the pages go back when it leaves or is reaped.
 */
#include "runtime/sync/waiter.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/strand.h"
#include "runtime/test_points.h"

#include <achar/status.h>

#define LOOK_NS INT64_C(100000000)

/* Claims a page for this process; its lock is held. */
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
        for (uint32_t w = ACHAR__CHUNK_WAITERS; w-- > 0;) {
            waiters[w].ticket = ticket;
            waiters[w].link.next = space->member->idle_waiters;
            space->member->idle_waiters = achar__place_of(space, &waiters[w]);
        }
        return ACHAR_OK;
    }
    return ACHAR_E_LIMIT;
}

int achar__waiter_take(achar_space *space, uint32_t ticket, const achar_cell *object,
                       achar__waiter **out)
{
    achar__member *member = space->member;
    int status = ACHAR_OK;
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    pthread_mutex_lock(&member->lock);
    if (member->idle_waiters == 0) {
        status = claim_chunk(space, ticket);
    }
    if (status == ACHAR_OK) {
        achar__waiter *waiter = achar__waiter_at(space, member->idle_waiters);
        member->idle_waiters = waiter->link.next;
        waiter->object = achar__place_of(space, object);
        waiter->flags = achar__on_strand() ? ACHAR__WAITER_ASYNC : 0;
        waiter->value = 0;
        *out = waiter;
    }
    pthread_mutex_unlock(&member->lock);
    return status;
}

void achar__waiter_give_back(achar_space *space, achar__waiter *waiter)
{
    pthread_mutex_lock(&space->member->lock);
    waiter->link.next = space->member->idle_waiters;
    space->member->idle_waiters = achar__place_of(space, waiter);
    pthread_mutex_unlock(&space->member->lock);
}

int achar__waiter_sleep(achar_space *space, achar__waiter *waiter, int64_t deadline_ns)
{
    for (;;) {
        uint32_t seen = atomic_load(&waiter->bell);
        uint32_t state = atomic_load(&waiter->state);
        if (ACHAR__WAITER_HAS_ENDED(state) || state == ACHAR__WAITER_NUDGED) {
            return ACHAR_OK;
        }
        int64_t until_ns = deadline_ns;
        bool watched = achar__watch(space);
        if (achar__on_strand()) {
            int status = achar__strand_sleep(space, waiter, seen);
            if (status != ACHAR_OK) {
                return status;
            }
            continue;
        }
        if (!watched) { /* no thread, no descriptors: this one looks itself, now and then */
            int64_t look_ns = achar__deadline_in(LOOK_NS);
            until_ns = deadline_ns < 0 || look_ns < deadline_ns ? look_ns : deadline_ns;
        }
        int status = achar__futex_wait(&waiter->bell, seen, space->shared, until_ns);
        if (!watched && status == ACHAR_E_TIMEOUT) {
            achar__reap_the_dead(space);
            status = until_ns == deadline_ns ? ACHAR_E_TIMEOUT : ACHAR_OK;
        }
        if (status != ACHAR_OK) {
            return status;
        }
    }
}

int achar__waiter_sleep_on(achar_space *space, achar__waiter *waiter, int64_t deadline_ns,
                           const achar__on_signal *on_signal)
{
    int status;
    do {
        status = achar__waiter_sleep(space, waiter, deadline_ns);
    } while (status == ACHAR_E_INTERRUPTED && on_signal && !on_signal->call(on_signal->context));
    return status;
}

void achar__waiter_ring(achar_space *space, achar__waiter *waiter)
{
    ACHAR__CRASH_POINT("before-ring");
    _Atomic uint32_t *bell = &waiter->bell;
    atomic_fetch_add(bell, 1);
    if (waiter->flags & ACHAR__WAITER_ASYNC) {
        bell = &space->header->processes[ACHAR__TICKET_INDEX(waiter->ticket)].bell;
        atomic_fetch_add(bell, 1);
    }
    achar__futex_wake(bell, space->shared, 1);
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
