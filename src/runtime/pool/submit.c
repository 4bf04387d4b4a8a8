/*
 * submit.c - a task's beginning: its arguments' block, its options, its place in the queue.
 *
 * Everything that can fail comes before the lock is taken; a task that is in the queue is complete.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>
#include <string.h>

static bool is_open(achar__pool *pool)
{
    return achar__fork_guard_holds(&pool->guard) && !pool->closed;
}

int achar__pool_block_reserve(achar__pool *pool, size_t nbytes, achar__block *out)
{
    int status;
    if (!is_open(pool)) {
        return ACHAR_E_CLOSED;
    }
    do {
        status = achar__store_alloc(pool->store, nbytes, &out->data, &out->capacity);
    } while (status != ACHAR_OK && achar__functions_make_room(pool));
    return status;
}

int achar__pool_block_grow(achar__pool *pool, achar__block *block, size_t used, size_t nbytes)
{
    int status;
    if (!is_open(pool)) {
        return ACHAR_E_CLOSED;
    }
    do {
        status = achar__store_grow(pool->store, &block->data, &block->capacity, used, nbytes);
    } while (status != ACHAR_OK && achar__functions_make_room(pool));
    return status;
}

void achar__pool_block_free(achar__pool *pool, achar__block *block)
{
    if (achar__fork_guard_holds(&pool->guard)) {
        achar__store_free(pool->store, block->data);
        achar__store_purge(pool->store);
    }
    *block = (achar__block){0};
}

/* Queues 'task', which the caller has filled in, in the pool's name and its own. */
static int submit(achar__pool *pool, achar__function *function, achar__task *task, const char *name,
                  size_t name_nbytes)
{
    if (task->told) {
        task->told->submitted_ns = achar__now_ns();
    }
    pthread_mutex_lock(&pool->lock);
    if (pool->closed) {
        pthread_mutex_unlock(&pool->lock);
        return ACHAR_E_CLOSED;
    }
    if (task->told && name) {
        task->told->name = achar__journal_name(pool->journal, name, name_nbytes);
    }
    achar__function_retain_locked(function);
    atomic_fetch_add(&pool->ref_count, 1);
    atomic_init(&task->ref_count, 2);
    task->pool = pool;
    task->function = function;
    pool->unfinished_count++;
    pool->unfinished_nbytes +=
        achar__block_cost(task->stretch ? task->stretch->nbytes : task->args_nbytes);
    achar__room_judge_locked(pool, task->args_nbytes);
    achar__inputs_count_locked(task);
    task->number = pool->last_number + 1;
    pool->last_number += task->stretch ? (uint32_t)task->count : 1;
    achar__tell_submitted_locked(task);
    if (pool->broken) {
        task->at.death = pool->broken_death;
        achar__task_finish_locked(task, ACHAR__TASK_ABANDONED);
    } else {
        if (task->inputs) {
            achar__graph_enter_locked(task);
        } else {
            achar__queue_append(&pool->queue, task);
        }
        achar__dispatch_locked(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    return ACHAR_OK;
}

static int set_options(achar__pool *pool, achar__task *task, const achar__task_options *options)
{
    if (options->time_limit_ns < 0 || options->retry_count > ACHAR__RETRIES_MAX ||
        options->backoff_ns < 0 || options->priority < -ACHAR__PRIORITY_MAX ||
        options->priority > ACHAR__PRIORITY_MAX) {
        return ACHAR_E_INVALID;
    }
    task->time_limit_ns = options->time_limit_ns;
    task->retry_count = options->retry_count;
    task->backoff_ns = options->backoff_ns;
    task->priority = options->priority;
    task->args_kind = options->args_kind;
    if (task->told) {
        task->told->parent = options->parent;
    }
    if (options->retry_count) {
        task->attempts = calloc(options->retry_count, sizeof *task->attempts);
    }
    if (options->input_count) {
        for (size_t i = 0; i < options->input_count; i++) {
            if (options->inputs[i]->pool != pool || options->inputs[i]->count) {
                return ACHAR_E_INVALID; /* another pool's, or a piece of a stretch */
            }
        }
        task->inputs = achar__inputs_new(task, options->inputs, options->input_count);
    }
    return (options->retry_count && !task->attempts) || (options->input_count && !task->inputs)
               ? ACHAR_E_NOMEM
               : ACHAR_OK;
}

/* A task that was not submitted after all. */
static void discard(achar__task *task)
{
    if (task) {
        achar__inputs_free(task->inputs);
        free(task->attempts);
        free(task);
    }
}

int achar__pool_submit(achar__pool *pool, achar__function *function, achar__block *args,
                       size_t args_nbytes, const achar__task_options *options, achar__task **out)
{
    if (!is_open(pool)) {
        return ACHAR_E_CLOSED;
    }
    if (function->pool != pool || args_nbytes > (args ? args->capacity : 0)) {
        return ACHAR_E_INVALID;
    }
    achar__task *task = achar__task_new(pool);
    int status = task ? ACHAR_OK : ACHAR_E_NOMEM;
    if (status != ACHAR_OK ||
        (options && (status = set_options(pool, task, options)) != ACHAR_OK)) {
        discard(task);
        return status;
    }
    if (args && args->data) {
        achar__store_trim(pool->store, &args->data, &args->capacity, args_nbytes);
        task->args = args->data;
        task->args_nbytes = args_nbytes;
    }
    status = submit(pool, function, task, options ? options->name : NULL,
                    options ? options->name_nbytes : 0);
    if (status != ACHAR_OK) {
        discard(task);
        return status;
    }
    if (args) {
        *args = (achar__block){0};
    }
    *out = task;
    return ACHAR_OK;
}

int achar__pool_submit_stretch(achar__pool *pool, achar__function *function, achar__block *args,
                               const size_t *ends, size_t call_count, achar__stretch_map *map,
                               achar__task **out)
{
    if (!is_open(pool)) {
        return ACHAR_E_CLOSED;
    }
    if (function->pool != pool || call_count == 0 || call_count > UINT32_MAX ||
        ends[call_count - 1] > args->capacity) {
        return ACHAR_E_INVALID;
    }
    int status = ACHAR_E_NOMEM;
    achar__task *task = achar__task_new(pool);
    achar__stretch *stretch = malloc(sizeof *stretch + call_count * sizeof *ends);
    if (!task || !stretch) {
        goto fail;
    }
    achar__store_trim(pool->store, &args->data, &args->capacity, ends[call_count - 1]);
    stretch->ref_count = 1;
    stretch->args = args->data;
    stretch->nbytes = ends[call_count - 1];
    stretch->map = map ? map->number : 0;
    stretch->item = map ? map->calls : 0;
    memcpy(stretch->ends, ends, call_count * sizeof *ends);
    task->stretch = stretch;
    task->count = call_count;
    status = submit(pool, function, task, NULL, 0);
    if (status != ACHAR_OK) {
        goto fail;
    }
    if (map) {
        map->number = map->number ? map->number : task->number;
        map->calls += (uint32_t)call_count;
    }
    *args = (achar__block){0};
    *out = task;
    return ACHAR_OK;
fail:
    free(stretch);
    free(task);
    return status;
}
