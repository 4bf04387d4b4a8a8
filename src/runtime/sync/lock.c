/* lock.c - locks, plain and recursive. The word and its invariant: lock.h. */
#include "runtime/sync/lock.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"

#include <achar/status.h>

#define THREAD_MASK 0x1fffffffu

static _Thread_local uint32_t thread_own;

uint32_t achar__lock_new_thread_number(void)
{
    static _Atomic uint32_t threads;
    uint32_t number;
    do {
        number = (atomic_fetch_add(&threads, 1) + 1) & THREAD_MASK;
    } while (number == 0);
    return number;
}

/* A number for this thread that no other of the process has. */
static uint32_t thread_number(void)
{
    if (__builtin_expect(thread_own == 0, 0)) {
        thread_own = achar__lock_new_thread_number();
    }
    return thread_own;
}

uint32_t achar__lock_act_as(uint32_t number)
{
    uint32_t before = thread_own;
    thread_own = number;
    return before;
}

static bool is_recursive(const achar_cell *lock)
{
    return atomic_load_explicit(&lock->kind, memory_order_relaxed) == ACHAR__CELL_RECURSIVE_LOCK;
}

uint64_t achar__lock_owned_word(uint32_t kind, uint32_t ticket)
{
    uint32_t thread = kind == ACHAR__CELL_RECURSIVE_LOCK ? thread_number() : 0;
    return ACHAR__LOCK_WORD(ACHAR__LOCK_OWNED, thread, ticket);
}

static uint64_t my_word(achar_space *space, const achar_cell *lock)
{
    return achar__lock_owned_word(atomic_load_explicit(&lock->kind, memory_order_relaxed),
                                  achar__ticket(space));
}

static bool is_mine(uint64_t word, uint64_t mine)
{
    return (word & ~ACHAR__LOCK_WAITED) == mine;
}

bool achar__lock_is_held(achar_space *space, const achar_cell *lock)
{
    uint64_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);
    return is_recursive(lock) ? is_mine(word, my_word(space, lock))
                              : ACHAR__LOCK_KIND(word) == ACHAR__LOCK_OWNED;
}

/* ---- acquire and release ---- */

/* A waiter that queues, looks. ACHAR_E_TIMEOUT: it still has to wait; else it is on no list. */
static int look(achar_space *space, achar_cell *lock, achar__waiter *waiter, uint64_t mine)
{
    switch (atomic_load(&waiter->state)) {
    case ACHAR__WAITER_GRANTED: /* perhaps just when the time was up */
        achar__lock_accept(space, lock, mine);
        return ACHAR_OK;
    case ACHAR__WAITER_ORPHANED:
        return ACHAR_E_OWNER_DIED;
    default:
        return achar__lock_claim(space, lock, waiter, mine) ? ACHAR_OK : ACHAR_E_TIMEOUT;
    }
}

/* Gives up waiting. */
static int leave(achar_space *space, achar_cell *lock, achar__waiter *waiter, int status)
{
    if (achar__waiter_is_listed(waiter)) {
        achar__take_off(space, lock, waiter, ACHAR__WAITER_IDLE);
        achar__lock_thaw(space, lock);
    }
    return status;
}

/*
 * Signal handlers run; the waiter keeps its place and is given nothing. ACHAR_E_TIMEOUT: it waits on.
 * In a forked child, without the latch.
 */
static int step_aside(achar_space *space, achar_cell *lock, achar__waiter *waiter, uint64_t mine,
                      const achar__host *host)
{
    uint32_t ticket = ACHAR__LOCK_TICKET(mine);
    if (!host) {
        return leave(space, lock, waiter, ACHAR_E_INTERRUPTED);
    }
    atomic_store(&waiter->state, ACHAR__WAITER_ASIDE);
    achar__unlatch(space, lock);
    int status = achar__host_answer(space, ticket, host);
    if (achar__is_childs(status)) {
        return status;
    }
    achar__latch(space, lock, ticket);
    if (status != ACHAR_OK) {
        return leave(space, lock, waiter, status);
    }
    if (atomic_load(&waiter->state) == ACHAR__WAITER_ASIDE) {
        atomic_store(&waiter->state, ACHAR__WAITER_QUEUED);
    }
    if (is_recursive(lock) && is_mine(atomic_load(&lock->word), mine) &&
        lock->lock.depth < UINT32_MAX) { /* a handler took it, and kept it */
        lock->lock.depth++;
        return leave(space, lock, waiter, ACHAR_OK);
    }
    return look(space, lock, waiter, mine);
}

/*
 * Under the latch, and without it while asleep. The waiter is on the queue, and then on none; but in
 * a forked child it is the parent's, and nothing is latched.
 */
static int queue_until(achar_space *space, achar_cell *lock, achar__waiter *waiter, uint64_t mine,
                       int64_t deadline_ns, const achar__host *host)
{
    int64_t firm_ns = 0;
    for (;;) {
        achar__unlatch(space, lock);
        achar__host_sleeps(host);
        int status = achar__waiter_sleep(space, waiter, deadline_ns,
                                         host ? ACHAR__SLEEP_AT_ONCE : ACHAR__SLEEP_SOON);
        ACHAR__CRASH_POINT("awake");
        achar__host_woken(host);
        achar__latch(space, lock, ACHAR__LOCK_TICKET(mine));
        int seen = look(space, lock, waiter, mine);
        if (seen != ACHAR_E_TIMEOUT) {
            return seen;
        }
        if (status == ACHAR_E_TIMEOUT) {
            return leave(space, lock, waiter, status);
        }
        if (status == ACHAR_OK) {
            achar__lock_wait_again(waiter, &firm_ns);
        }
        /* A signal that came since it was woken, in vain, would not interrupt its next sleep. */
        if (status == ACHAR_E_INTERRUPTED || host) {
            seen = step_aside(space, lock, waiter, mine, host);
            if (seen != ACHAR_E_TIMEOUT) {
                return seen;
            }
        }
    }
}

/* The lock is not free at first sight. */
static int acquire_slowly(achar_space *space, achar_cell *lock, uint64_t mine, int64_t deadline_ns,
                          const achar__host *host)
{
    uint32_t ticket = ACHAR__LOCK_TICKET(mine);
    achar__waiter *waiter = NULL;
    int status = achar__waiter_take(space, ticket, lock, &waiter);
    if (status != ACHAR_OK) {
        return status;
    }
    achar__latch(space, lock, ticket);
    status = achar__lock_try_latched(lock, mine);
    if (status != ACHAR_E_TIMEOUT) {
        achar__unlatch(space, lock);
        achar__waiter_give_back(space, waiter);
        return status;
    }
    achar__put_on(space, lock, &lock->queue, waiter, ACHAR__WAITER_QUEUED);
    status = queue_until(space, lock, waiter, mine, deadline_ns, host);
    if (achar__is_childs(status)) {
        return status;
    }
    atomic_store(&waiter->state, ACHAR__WAITER_IDLE);
    achar__unlatch(space, lock);
    achar__waiter_give_back(space, waiter);
    return status;
}

/* The process that has the lock, or has been given it; 0: none. */
static uint32_t holder_of(achar_space *space, uint64_t word)
{
    switch (ACHAR__LOCK_KIND(word)) {
    case ACHAR__LOCK_OWNED:
        return ACHAR__LOCK_TICKET(word);
    case ACHAR__LOCK_GRANTED:
        return atomic_load(&achar__waiter_at(space, achar__lock_heir(word))->ticket);
    default:
        return 0;
    }
}

/* Somebody has it, and the caller does not wait, so no watcher may have looked. */
static int refuse(achar_lock lock, uint64_t word)
{
    uint32_t holder = holder_of(lock.space, word);
    if (ACHAR__LOCK_KIND(word) == ACHAR__LOCK_ORPHANED) {
        return ACHAR_E_OWNER_DIED;
    }
    if (lock.space->shared && holder != 0 && holder != achar__ticket(lock.space) &&
        achar__reap_if_dead(lock.space, holder)) {
        return achar__lock_acquire_until(lock, 0, NULL);
    }
    return ACHAR_E_TIMEOUT;
}

static int acquire_once(achar_lock lock, int64_t deadline_ns, const achar__host *host)
{
    achar_cell *cell = lock.cell;
    uint64_t mine = my_word(lock.space, cell);
    uint64_t word = 0;
    if (ACHAR__LOCK_TICKET(mine) == 0) {
        return ACHAR_E_LIMIT;
    }
    if (achar__lock_exchange(cell, mine, &word)) {
        return ACHAR_OK;
    }
    if (is_recursive(cell) && is_mine(word, mine)) {
        if (cell->lock.depth == UINT32_MAX) {
            return ACHAR_E_LIMIT;
        }
        cell->lock.depth++;
        return ACHAR_OK;
    }
    return deadline_ns == 0 ? refuse(lock, word)
                            : acquire_slowly(lock.space, cell, mine, deadline_ns, host);
}

int achar__lock_acquire_until(achar_lock lock, int64_t deadline_ns, const achar__host *host)
{
    int status;
    do {
        status = acquire_once(lock, deadline_ns, host);
    } while (status == ACHAR__IS_CHILD);
    return achar__outcome_of(status);
}

bool achar__lock_take(achar_lock lock)
{
    uint64_t mine = my_word(lock.space, lock.cell), word = 0;
    if (ACHAR__LOCK_TICKET(mine) == 0) {
        return false;
    }
    if (achar__lock_exchange(lock.cell, mine, &word)) {
        return true;
    }
    if (is_recursive(lock.cell) && is_mine(word, mine) && lock.cell->lock.depth < UINT32_MAX) {
        lock.cell->lock.depth++;
        return true;
    }
    return false;
}

int achar__lock_reset(achar_lock lock)
{
    uint32_t ticket = achar__ticket(lock.space);
    achar__waiter *next = NULL;
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(lock.space, lock.cell, ticket);
    uint64_t word = atomic_load(&lock.cell->word);
    if (ACHAR__LOCK_KIND(word) == ACHAR__LOCK_OWNED && ACHAR__LOCK_TICKET(word) == ticket) {
        lock.cell->lock.depth = 0;
        /* Frozen first: its owner could release it in between. */
        if (achar__lock_try_latched(lock.cell, word) == ACHAR_E_TIMEOUT) {
            next = achar__lock_pass_on(lock.space, lock.cell);
        } else {
            atomic_store(&lock.cell->word, 0);
        }
    }
    achar__unlatch(lock.space, lock.cell);
    if (next) {
        achar__waiter_ring(lock.space, next);
    }
    return ACHAR_OK;
}

int achar_lock_acquire(achar_lock lock, int64_t timeout_ns)
{
    return achar__lock_acquire_until(lock, timeout_ns == 0 ? 0 : achar__deadline_in(timeout_ns),
                                     NULL);
}

int achar__lock_release(achar_lock lock, achar__waiter **next)
{
    achar_cell *cell = lock.cell;
    uint64_t word = atomic_load_explicit(&cell->word, memory_order_relaxed);
    if (is_recursive(cell)) {
        if (!is_mine(word, my_word(lock.space, cell))) {
            return ACHAR_E_NOT_HELD;
        }
        if (cell->lock.depth > 0) {
            cell->lock.depth--;
            return ACHAR_OK;
        }
    }
    while (ACHAR__LOCK_KIND(word) == ACHAR__LOCK_OWNED && !(word & ACHAR__LOCK_WAITED)) {
        if (atomic_compare_exchange_weak_explicit(&cell->word, &word, 0, memory_order_release,
                                                  memory_order_relaxed)) {
            return ACHAR_OK;
        }
    }
    if (ACHAR__LOCK_KIND(word) != ACHAR__LOCK_OWNED) {
        return ACHAR_E_NOT_HELD;
    }
    uint32_t ticket = achar__ticket(lock.space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(lock.space, cell, ticket);
    bool is_held = ACHAR__LOCK_KIND(atomic_load(&cell->word)) == ACHAR__LOCK_OWNED;
    if (is_held) {
        *next = achar__lock_pass_on(lock.space, cell);
    }
    achar__unlatch(lock.space, cell);
    return is_held ? ACHAR_OK : ACHAR_E_NOT_HELD;
}

int achar_lock_release(achar_lock lock)
{
    achar__waiter *next = NULL;
    int status = achar__lock_release(lock, &next);
    if (next) {
        achar__waiter_ring(lock.space, next);
    }
    return status;
}

int achar_lock_recover(achar_lock lock, int hold)
{
    uint64_t mine = my_word(lock.space, lock.cell);
    uint32_t ticket = ACHAR__LOCK_TICKET(mine);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(lock.space, lock.cell, ticket);
    bool is_orphan = ACHAR__LOCK_KIND(atomic_load(&lock.cell->word)) == ACHAR__LOCK_ORPHANED;
    if (is_orphan) {
        atomic_store(&lock.cell->word, hold ? mine : 0);
    }
    achar__unlatch(lock.space, lock.cell);
    return is_orphan ? ACHAR_OK : ACHAR_E_NOT_HELD;
}

int achar_lock_create(achar_space *space, int recursive, achar_lock *out)
{
    achar_cell *cell = NULL;
    int status = achar__cell_make(space, &cell);
    if (status == ACHAR_OK) {
        achar__cell_publish(cell, recursive ? ACHAR__CELL_RECURSIVE_LOCK : ACHAR__CELL_LOCK);
        *out = (achar_lock){space, cell};
    }
    return status;
}

int achar_lock_is_taken(achar_lock lock)
{
    return !achar__lock_is_free(atomic_load(&lock.cell->word));
}

int achar_lock_is_mine(achar_lock lock)
{
    return achar__lock_is_held(lock.space, lock.cell);
}

uint32_t achar_lock_depth(achar_lock lock)
{
    return achar__lock_is_held(lock.space, lock.cell)
               ? (is_recursive(lock.cell) ? lock.cell->lock.depth : 0) + 1
               : 0;
}
