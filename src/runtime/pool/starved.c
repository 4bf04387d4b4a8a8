/*
 * starved.c - tasks whose inputs have all returned, and for whose inputs there is no room yet.
 *
 * They stand in pool->starved, in their order, until others have ended and freed memory; the tender feeds
 * the first. It gives one up (STARVED) when nothing that goes on could ever make enough room for it, or when
 * nothing has for the pool's room limit: the task that holds the memory may wait for this very one.
 */
#include "runtime/pool/pool_internal.h"

void achar__starved_append_locked(achar__task *task)
{
    achar__pool *pool = task->pool;
    task->not_before_ns = 0; /* the clock runs from when it is the first */
    task->place = ACHAR__PLACE_STARVED;
    achar__list_append(&pool->starved, task);
    achar__pool_kick_locked(pool);
}

void achar__starved_remove_locked(achar__task *task)
{
    achar__list_remove(&task->pool->starved, task);
    task->place = ACHAR__PLACE_NONE;
}

int64_t achar__starved_feed_locked(achar__pool *pool, int64_t now_ns)
{
    for (achar__task *task; (task = pool->starved.head);) {
        size_t needed_nbytes;
        if (achar__inputs_stage_locked(task, &needed_nbytes)) {
            achar__starved_remove_locked(task);
            achar__queue_append(&pool->queue, task);
            continue;
        }
        if (task->not_before_ns == 0 || pool->room_fed != atomic_load(&pool->room_word)) {
            pool->room_fed = atomic_load(&pool->room_word);
            task->not_before_ns = now_ns + pool->room_limit_ns;
        }
        if (achar__room_may_come_locked(pool, needed_nbytes) &&
            (!pool->room_limit_ns || now_ns < task->not_before_ns)) {
            return pool->room_limit_ns ? task->not_before_ns : ACHAR__NO_DEADLINE;
        }
        achar__starved_remove_locked(task);
        achar__task_finish_locked(task, ACHAR__TASK_STARVED);
    }
    return ACHAR__NO_DEADLINE;
}

void achar__starved_abandon_locked(achar__pool *pool, achar__death death)
{
    for (achar__task *task; (task = pool->starved.head);) {
        achar__starved_remove_locked(task);
        task->at.death = death;
        achar__task_finish_locked(task, ACHAR__TASK_ABANDONED);
    }
}
