/*
 * room.c - back-pressure: who has more to submit than there is room for waits until tasks have ended.
 *
 * It waits only while a task is unfinished, because that is what frees arguments without anybody's doing;
 * with none left it is told so instead, since it might wait for itself.
 */
#include "runtime/pool/pool_internal.h"

void achar__room_tell(achar__pool *pool)
{
    atomic_fetch_add(&pool->room_word, 1);
    if (atomic_load(&pool->room_sleeper_count)) {
        achar__futex_wake(&pool->room_word, false, INT32_MAX);
    }
}

uint32_t achar__pool_room(achar__pool *pool)
{
    return achar__fork_guard_holds(&pool->guard) ? atomic_load(&pool->room_word) : 0;
}

int achar__pool_await_room(achar__pool *pool, uint32_t seen)
{
    int status = ACHAR_OK;
    if (!achar__fork_guard_holds(&pool->guard)) {
        return ACHAR_E_CLOSED;
    }
    atomic_fetch_add(&pool->room_sleeper_count, 1);
    while (status == ACHAR_OK && atomic_load(&pool->room_word) == seen) {
        pthread_mutex_lock(&pool->lock);
        bool closed = pool->closed, idle = pool->unfinished_count == 0;
        pthread_mutex_unlock(&pool->lock);
        if (atomic_load(&pool->room_word) != seen) {
            break;
        }
        status = closed ? ACHAR_E_CLOSED : idle ? ACHAR_E_LIMIT : ACHAR_OK;
        if (status == ACHAR_OK) {
            status = achar__futex_wait(&pool->room_word, seen, false, ACHAR__NO_DEADLINE);
        }
    }
    atomic_fetch_sub(&pool->room_sleeper_count, 1);
    return status;
}
