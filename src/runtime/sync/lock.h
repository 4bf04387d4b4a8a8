/*
 * lock.h - a lock's word, and what conditions need of locks.
 *
 *     bit 0        WAITED     somebody is in the queue, or about to be
 *     bits 1-2     the kind   FREE, OWNED, GRANTED, ORPHANED
 *     bits 3-31    OWNED: the owner's thread   GRANTED: the waiter, in units of 64 bytes
 *     bits 32-62   OWNED, ORPHANED: the owner's ticket
 *
 * Without the latch a word changes in two ways only: FREE to OWNED, WAITED as it was; and OWNED
 * without WAITED to FREE. Every other word is frozen: it changes under the latch, by one store. At
 * any instant the word says who has the lock; there is nothing to complete and no log for it.
 *
 * A lock that is released while others wait is free, and the first of them is nudged: it takes the
 * lock when it runs, unless somebody who is running was faster. That saves a change of threads for
 * each release, which a lock passed from hand to hand would cost. But who was nudged in vain for a
 * millisecond is firm: to it the lock is GRANTED, and it accepts it when it runs. If it dies before
 * that, it never was in there, so the next one gets the lock.
 *
 * Who runs signal handlers stands ASIDE: it keeps its place in the queue and is passed over, because
 * a handler may want the lock. It looks itself when it is back. So a lock that is free and WAITED has
 * NUDGED the first in its queue that is not ASIDE.
 */
#ifndef ACHAR_RUNTIME_SYNC_LOCK_H
#define ACHAR_RUNTIME_SYNC_LOCK_H

#include "runtime/sync/waiter.h"

enum achar__lock_kind {
    ACHAR__LOCK_FREE,
    ACHAR__LOCK_OWNED,
    ACHAR__LOCK_GRANTED,
    ACHAR__LOCK_ORPHANED
};

#define ACHAR__LOCK_WAITED       UINT64_C(1)
#define ACHAR__LOCK_KIND(word)   ((enum achar__lock_kind)((word) >> 1 & 3))
#define ACHAR__LOCK_TICKET(word) ((uint32_t)((word) >> 32))
#define ACHAR__LOCK_DETAIL(word) ((uint32_t)(word) >> 3)
#define ACHAR__LOCK_WORD(kind, detail, ticket)                                                     \
    ((uint64_t)(ticket) << 32 | (uint64_t)(detail) << 3 | (uint64_t)(kind) << 1)

/* What the word is while this thread owns the lock, without WAITED. 'ticket' is not 0. */
uint64_t achar__lock_owned_word(uint32_t kind, uint32_t ticket);

/*
 * Recursive locks belong to a number, which every thread has of its own. achar__lock_act_as() gives
 * this thread another one (0: a new one when it needs one), and says which it had.
 */
uint32_t achar__lock_new_thread_number(void);
uint32_t achar__lock_act_as(uint32_t number);

/* Whether this thread has it; of a plain lock: whether anyone has. */
bool achar__lock_is_held(achar_space *space, const achar_cell *lock);

/* As achar_lock_acquire(), until a time of futex.h; 0: does not wait. A signal ends the waiting. */
int achar__lock_acquire_until(achar_lock lock, int64_t deadline_ns, const achar__host *host);

/* As achar_lock_release(); '*next', if it is set, has to be rung (achar__waiter_ring()). */
int achar__lock_release(achar_lock lock, achar__waiter **next);

/* Takes the lock if that can be seen at once; asks nothing about whoever has it. */
bool achar__lock_take(achar_lock lock);

/* In a forked child: frees a lock that no other process has. For Python's _at_fork_reinit(). */
int achar__lock_reset(achar_lock lock);

/* ---- the word ---- */

static inline bool achar__lock_is_free(uint64_t word)
{
    return (word & ~ACHAR__LOCK_WAITED) == 0;
}

/* GRANTED: to whom. */
static inline achar__place achar__lock_heir(uint64_t word)
{
    return ACHAR__LOCK_DETAIL(word) * (uint32_t)sizeof(achar__waiter);
}

/* FREE to OWNED. '*word' is what the word seems to be, and then what it was. */
static inline bool achar__lock_exchange(achar_cell *lock, uint64_t mine, uint64_t *word)
{
    if (__builtin_expect(atomic_compare_exchange_strong_explicit(
                             &lock->word, word, mine | (*word & ACHAR__LOCK_WAITED),
                             memory_order_acquire, memory_order_relaxed),
                         1)) {
        return true;
    }
    while (achar__lock_is_free(*word)) {
        if (atomic_compare_exchange_weak_explicit(&lock->word, word, mine | *word,
                                                  memory_order_acquire, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* ---- under the latch of 'lock'; lock_word.c ---- */

/*
 * ACHAR_OK: the caller, for whom 'mine' stands, has the lock. ACHAR_E_OWNER_DIED. ACHAR_E_TIMEOUT:
 * others have it, and it is WAITED now.
 */
int achar__lock_try_latched(achar_cell *lock, uint64_t mine);

/*
 * For a waiter that is about to queue: true if it has to (the word is WAITED now), false if the lock
 * was free, with nobody waiting, and is granted to 'waiter'.
 */
bool achar__lock_freeze(achar_space *space, achar_cell *lock, const achar__waiter *waiter);

/* The same for a waiter that stands ASIDE: it queues, and looks itself whether the lock is free. */
void achar__lock_freeze_for_later(achar_cell *lock);

/* The lock was granted; it is 'mine' now. */
void achar__lock_accept(achar_space *space, achar_cell *lock, uint64_t mine);

/* A waiter that queues takes the lock, if it is free, and is off the queue. */
bool achar__lock_claim(achar_space *space, achar_cell *lock, achar__waiter *waiter, uint64_t mine);

/*
 * A waiter that was nudged in vain waits again; '*firm_ns' is 0 at first, and its own. From then on,
 * after a while, it is FIRM.
 */
void achar__lock_wait_again(achar__waiter *waiter, int64_t *firm_ns);

/* Gives up a lock that is owned or granted, for the next; the one to ring, or NULL. */
achar__waiter *achar__lock_pass_on(achar_space *space, achar_cell *lock);

/* After someone has left the queue: nobody waits any more? */
void achar__lock_thaw(achar_space *space, achar_cell *lock);

#endif
