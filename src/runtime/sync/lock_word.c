/*
 * lock_word.c - what happens to a lock's word and its queue under the latch: who waits, who is
 * nudged, who is granted the lock, and what becomes of it when its owner dies. See lock.h.
 */
#include "runtime/sync/lock.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>

#define PATIENCE_NS INT64_C(1000000) /* of a waiter that is nudged in vain */

static bool is_granted_to(achar_space *space, const achar_cell *lock, const achar__waiter *waiter)
{
    uint64_t word = atomic_load(&lock->word);
    return ACHAR__LOCK_KIND(word) == ACHAR__LOCK_GRANTED &&
           achar__lock_heir(word) == achar__place_of(space, waiter);
}

int achar__lock_try_latched(achar_cell *lock, uint64_t mine)
{
    uint64_t word = 0;
    while (!achar__lock_exchange(lock, mine, &word)) {
        if (ACHAR__LOCK_KIND(word) == ACHAR__LOCK_ORPHANED) {
            return ACHAR_E_OWNER_DIED;
        }
        uint64_t next = word | ACHAR__LOCK_WAITED;
        if (word == next || atomic_compare_exchange_strong(&lock->word, &word, next)) {
            return ACHAR_E_TIMEOUT;
        }
    }
    return ACHAR_OK;
}

static uint64_t granted_word(achar_space *space, const achar__waiter *waiter)
{
    uint32_t detail = achar__place_of(space, waiter) / (uint32_t)sizeof *waiter;
    return ACHAR__LOCK_WORD(ACHAR__LOCK_GRANTED, detail, 0) | ACHAR__LOCK_WAITED;
}

void achar__lock_freeze_for_later(achar_cell *lock)
{
    atomic_fetch_or(&lock->word, ACHAR__LOCK_WAITED);
}

bool achar__lock_freeze(achar_space *space, achar_cell *lock, const achar__waiter *waiter)
{
    uint64_t word = atomic_load(&lock->word);
    for (;;) {
        uint64_t next = word == 0 ? granted_word(space, waiter) : word | ACHAR__LOCK_WAITED;
        if (word == next || atomic_compare_exchange_weak(&lock->word, &word, next)) {
            return word != 0;
        }
    }
}

static uint64_t waited(achar_space *space, const achar_cell *lock)
{
    return achar__list_is_empty(space, &lock->queue) ? 0 : ACHAR__LOCK_WAITED;
}

void achar__lock_accept(achar_space *space, achar_cell *lock, uint64_t mine)
{
    atomic_store(&lock->word, mine | waited(space, lock));
}

void achar__lock_thaw(achar_space *space, achar_cell *lock)
{
    if (waited(space, lock) == 0) {
        atomic_fetch_and(&lock->word, ~ACHAR__LOCK_WAITED);
    }
}

bool achar__lock_claim(achar_space *space, achar_cell *lock, achar__waiter *waiter, uint64_t mine)
{
    uint64_t word = ACHAR__LOCK_WAITED;
    if (!achar__lock_exchange(lock, mine | ACHAR__LOCK_WAITED, &word)) {
        return false;
    }
    ACHAR__CRASH_POINT("claimed");
    achar__take_off(space, lock, waiter, ACHAR__WAITER_IDLE);
    if (achar__list_is_empty(space, &lock->queue)) { /* WAITED, it is nobody else's to change */
        atomic_store_explicit(&lock->word, mine, memory_order_release);
    }
    return true;
}

void achar__lock_wait_again(achar__waiter *waiter, int64_t *firm_ns)
{
    if (atomic_load(&waiter->state) == ACHAR__WAITER_NUDGED) {
        int64_t now_ns = achar__now_ns();
        if (*firm_ns == 0) {
            *firm_ns = now_ns + PATIENCE_NS;
        } else if (now_ns >= *firm_ns) {
            atomic_fetch_or(&waiter->flags, ACHAR__WAITER_FIRM);
        }
        atomic_store(&waiter->state, ACHAR__WAITER_QUEUED);
    }
}

/* The first in the queue who is there is to look; NULL: it is awake already, or there is none. */
static achar__waiter *nudge(achar_space *space, achar_cell *lock)
{
    achar__waiter *first = achar__waiter_first_present(space, &lock->queue);
    if (!first || atomic_load(&first->state) != ACHAR__WAITER_QUEUED) {
        return NULL;
    }
    atomic_store_explicit(&first->state, ACHAR__WAITER_NUDGED, memory_order_release);
    return first;
}

achar__waiter *achar__lock_pass_on(achar_space *space, achar_cell *lock)
{
    if (achar__list_is_empty(space, &lock->queue)) {
        atomic_store_explicit(&lock->word, 0, memory_order_release);
        return NULL;
    }
    achar__waiter *next = achar__waiter_first_present(space, &lock->queue);
    if (!next || !(atomic_load(&next->flags) & ACHAR__WAITER_FIRM)) {
        atomic_store_explicit(&lock->word, ACHAR__LOCK_WAITED, memory_order_release);
        ACHAR__CRASH_POINT("freed");
        return nudge(space, lock);
    }
    atomic_store(&lock->word, granted_word(space, next));
    ACHAR__CRASH_POINT("granted");
    achar__take_off(space, lock, next, ACHAR__WAITER_GRANTED);
    return next;
}

/* Everyone in the queue is told that the owner died. */
static void tell(achar_space *space, achar_cell *lock)
{
    achar__waiter *waiter;
    while ((waiter = achar__list_first(space, &lock->queue))) {
        achar__take_off(space, lock, waiter, ACHAR__WAITER_ORPHANED);
    }
}

void achar__lock_settle(achar_space *space, achar_cell *lock)
{
    uint64_t word = atomic_load(&lock->word);
    switch (ACHAR__LOCK_KIND(word)) {
    case ACHAR__LOCK_GRANTED: {
        achar__waiter *waiter = achar__waiter_at(space, achar__lock_heir(word));
        if (achar__waiter_is_listed(waiter)) {
            achar__take_off(space, lock, waiter, ACHAR__WAITER_GRANTED);
        }
        break;
    }
    case ACHAR__LOCK_ORPHANED:
        tell(space, lock);
        break;
    case ACHAR__LOCK_OWNED:
        achar__lock_thaw(space, lock); /* killed before it was on the queue, or after it was off */
        break;
    case ACHAR__LOCK_FREE: /* killed before it had nudged; the reaper rings */
        (void)nudge(space, lock);
        achar__lock_thaw(space, lock);
        break;
    }
}

void achar__lock_bury(achar_space *space, achar_cell *lock, uint32_t dead)
{
    uint64_t word = atomic_load(&lock->word);
    if (ACHAR__LOCK_TICKET(word) != dead) {
        return;
    }
    lock->lock.depth = 0;
    atomic_store(&lock->word, ACHAR__LOCK_WORD(ACHAR__LOCK_ORPHANED, 0, dead));
    ACHAR__CRASH_POINT("orphaned");
    tell(space, lock);
}

void achar__lock_bury_waiter(achar_space *space, achar_cell *lock, achar__waiter *waiter)
{
    if (is_granted_to(space, lock, waiter)) {
        if (achar__waiter_queues(waiter)) {
            achar__take_off(space, lock, waiter, ACHAR__WAITER_GRANTED);
        }
        achar__lock_pass_on(space, lock);
    } else if (achar__waiter_queues(waiter)) {
        achar__take_off(space, lock, waiter, ACHAR__WAITER_IDLE);
        achar__lock_settle(space, lock); /* it may have been the one to take a free lock */
    }
}
