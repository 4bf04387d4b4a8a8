/*
 * retry.c - a task that failed and may be tried again.
 *
 * What went wrong is written down; the task's result, if it is an exception, goes back to the worker
 * that wrote it; and the task waits for its time, or stands in line again. To whoever holds it, it was
 * never finished.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>

#define BACKOFF_MAX_NS INT64_C(60000000000)

static int64_t delay_of(const achar__task *task)
{
    int64_t delay_ns = task->backoff_ns;
    for (unsigned i = 1; i < task->attempt_count && delay_ns < BACKOFF_MAX_NS; i++) {
        delay_ns *= 2;
    }
    return delay_ns < BACKOFF_MAX_NS ? delay_ns : BACKOFF_MAX_NS;
}

bool achar__task_try_again_locked(achar__task *task, enum achar__task_state state,
                                  achar__death death)
{
    achar__pool *pool = task->pool;
    if (task->attempt_count >= task->retry_count || pool->killed || pool->broken) {
        return false;
    }
    achar__tell_retried_locked(task, state, death);
    task->attempts[task->attempt_count++] = (achar__attempt){.state = state, .death = death};
    achar__task_give_back_result_locked(task);
    int64_t delay_ns = delay_of(task);
    if (delay_ns > 0) {
        task->not_before_ns = achar__now_ns() + delay_ns;
        achar__queue_delay(&pool->queue, task);
        achar__pool_kick_locked(pool); /* the tender watches the clock */
    } else {
        achar__queue_append(&pool->queue, task);
    }
    return true;
}

void achar__task_forbid_retries_locked(achar__task *task)
{
    task->retry_count = task->attempt_count;
}
