/*
 * starved.c - tasks whose inputs have all returned, and for whose inputs there is no room yet.
 *
 * They stand in pool->starved, in their order, until others have ended and freed memory; the tender feeds
 * the first. Where no task goes on, or the first has waited for the pool's room limit, one behind it may
 * have its turn: it may need no room, and make some. The tender gives the first up (STARVED) when there
 * is no such either, and nothing could ever make enough room, or nothing has for that long: the task that
 * holds the memory may wait for this very one.
 */
#include "runtime/pool/pool_internal.h"

void achar__starved_append_locked(achar__task *task)
{
    achar__pool *pool = task->pool;
    if (!pool->starved.head) {
        pool->room_fed_ns = 0;
    }
    task->place = ACHAR__PLACE_STARVED;
    achar__list_append(&pool->starved, task);
    achar__pool_kick_locked(pool);
}

void achar__starved_remove_locked(achar__task *task)
{
    achar__pool *pool = task->pool;
    if (pool->starved.head == task) {
        pool->room_fed_ns = 0;
    }
    achar__list_remove(&pool->starved, task);
    task->place = ACHAR__PLACE_NONE;
}

static void feed_locked(achar__task *task)
{
    achar__starved_remove_locked(task);
    achar__queue_append(&task->pool->queue, task);
}

/* Feeds the first behind the head for whose inputs there is room. What is looked at in vain keeps no room;
 * '*least_nbytes' is then the least that any of them lacks. */
static bool feed_behind_locked(achar__pool *pool, size_t *least_nbytes)
{
    size_t needed_nbytes;
    *least_nbytes = SIZE_MAX;
    for (achar__task *task = pool->starved.head->next; task; task = task->next) {
        size_t lack_nbytes = achar__inputs_lack_locked(task);
        if (!achar__store_may_fit(pool->store, lack_nbytes, 0)) {
            *least_nbytes = lack_nbytes < *least_nbytes ? lack_nbytes : *least_nbytes;
        } else if (achar__inputs_stage_locked(task, &needed_nbytes)) {
            feed_locked(task);
            return true;
        }
    }
    return false;
}

int64_t achar__starved_feed_locked(achar__pool *pool, int64_t now_ns)
{
    size_t least_nbytes = 0; /* with less free nobody looks behind the first again */
    for (achar__task *task; (task = pool->starved.head);) {
        size_t needed_nbytes;
        if (achar__inputs_stage_locked(task, &needed_nbytes)) {
            feed_locked(task);
            continue;
        }
        uint32_t room_word = atomic_load(&pool->room_word);
        if (pool->room_fed_ns == 0 || pool->room_fed != room_word) {
            pool->room_fed = room_word;
            pool->room_fed_ns = now_ns;
        }
        size_t stuck_count = pool->waiting.count + pool->starved.count;
        enum achar__room_hope hope = achar__room_hope_locked(pool, needed_nbytes, stuck_count);
        int64_t patience_ns = achar__room_patience_ns(pool, hope);
        int64_t due_ns = patience_ns ? pool->room_fed_ns + patience_ns : ACHAR__NO_DEADLINE;
        bool is_due = patience_ns && now_ns >= due_ns;
        if (hope == ACHAR__ROOM_TASKS && !is_due) {
            return due_ns;
        }
        if ((is_due || pool->unfinished_count == stuck_count) &&
            achar__store_may_fit(pool->store, least_nbytes, 0) &&
            feed_behind_locked(pool, &least_nbytes)) {
            pool->room_fed_ns = 0;
            continue;
        }
        if (hope == ACHAR__ROOM_PINS && !is_due) {
            return due_ns;
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
