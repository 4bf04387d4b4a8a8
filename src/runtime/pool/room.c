/*
 * room.c - back-pressure: who has more to submit than there is room for waits until tasks have ended.
 *
 * Memory comes back without anybody's doing when tasks end: their arguments, the functions that only they
 * need, and inputs that nobody else has. The pool counts those bytes. Whoever needs more than they could
 * ever make free is told at once, and so is who waits with no task unfinished; it might wait for itself.
 * One case is left that nobody can see: a task that waits for the one who waits here. For that there is
 * the room limit, the longest that nothing may become free.
 *
 * A result can keep its task's arguments instead of a copy of its own, and stays as long as somebody has
 * its future. So that results do not fill the room of those who submit, workers are told when half of it
 * is taken; from there on they copy, where they have room themselves.
 */
#include "runtime/pool/pool_internal.h"

#define JUDGE_LEAST_NBYTES ((size_t)64 << 10)

void achar__room_judge_locked(achar__pool *pool, size_t nbytes)
{
    if (nbytes < JUDGE_LEAST_NBYTES) {
        return;
    }
    uint32_t is_tight = achar__store_is_half_full(pool->store);
    if (atomic_load_explicit(&pool->shared->room_is_tight, memory_order_relaxed) != is_tight) {
        atomic_store_explicit(&pool->shared->room_is_tight, is_tight, memory_order_relaxed);
    }
}

void achar__room_tell_locked(achar__pool *pool)
{
    atomic_fetch_add(&pool->room_word, 1);
    if (atomic_load(&pool->room_sleeper_count)) {
        achar__futex_wake(&pool->room_word, false, INT32_MAX);
    }
    if (pool->starved.head && !pool->tender_kicked && !pool->stopped) {
        achar__pool_kick_locked(pool);
    }
}

enum achar__room_hope achar__room_hope_locked(const achar__pool *pool, size_t needed_nbytes,
                                              size_t stuck_count)
{
    size_t freed_nbytes = pool->unfinished_nbytes + pool->input_nbytes + pool->function_nbytes;
    bool someone_goes_on = pool->unfinished_count > stuck_count;
    if ((!someone_goes_on && !pool->pinned) ||
        !achar__store_may_fit(pool->store, needed_nbytes, pool->pinned ? SIZE_MAX : freed_nbytes)) {
        return ACHAR__ROOM_NONE;
    }
    return someone_goes_on ? ACHAR__ROOM_TASKS : ACHAR__ROOM_PINS;
}

int64_t achar__room_patience_ns(const achar__pool *pool, enum achar__room_hope hope)
{
    return hope == ACHAR__ROOM_PINS ? pool->pin_patience_ns : pool->room_limit_ns;
}

uint32_t achar__pool_room(achar__pool *pool)
{
    return achar__fork_guard_holds(&pool->guard) ? atomic_load(&pool->room_word) : 0;
}

int achar__pool_await_room(achar__pool *pool, uint32_t seen, size_t needed_nbytes)
{
    int status = ACHAR_OK;
    if (!achar__fork_guard_holds(&pool->guard)) {
        return ACHAR_E_CLOSED;
    }
    int64_t start_ns = achar__now_ns();
    atomic_fetch_add(&pool->room_sleeper_count, 1);
    while (status == ACHAR_OK && atomic_load(&pool->room_word) == seen) {
        pthread_mutex_lock(&pool->lock);
        bool closed = pool->closed;
        /* The starved go on, for the tender feeds them or gives them up. */
        enum achar__room_hope hope =
            achar__room_hope_locked(pool, needed_nbytes, pool->waiting.count);
        int64_t limit_ns = achar__room_patience_ns(pool, hope);
        pthread_mutex_unlock(&pool->lock);
        if (atomic_load(&pool->room_word) != seen) {
            break;
        }
        status = closed ? ACHAR_E_CLOSED : hope == ACHAR__ROOM_NONE ? ACHAR_E_LIMIT : ACHAR_OK;
        if (status == ACHAR_OK) {
            status = achar__futex_wait(&pool->room_word, seen, false,
                                       limit_ns ? start_ns + limit_ns : ACHAR__NO_DEADLINE);
        }
        if (status == ACHAR_E_TIMEOUT && hope == ACHAR__ROOM_PINS) {
            status = ACHAR_E_LIMIT;
        }
    }
    atomic_fetch_sub(&pool->room_sleeper_count, 1);
    return status;
}
