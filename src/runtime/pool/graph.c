/*
 * graph.c - tasks whose arguments are other tasks' results.
 *
 *    input ──edge──► dependent     an edge is in input->dependents until the input is finished,
 *                                  and refers to the input until the dependent is finished
 *
 * A task with unfinished inputs stands in pool->waiting. Whoever finishes an input takes its edges;
 * the last one brings the dependent into the queue, and with it a table that says where each input's
 * bytes are. Workers can read the client's region only, so a result that lies in a worker's region is
 * copied into it first, once however many tasks read it; then the worker has its memory back, unless
 * someone in the client has looked at the result. Where there is no room for that, the dependent waits
 * (starved.c).
 *
 * A task that does not return fails all that depend on it at once, each with the task where it began
 * as 'cause'. No recursion: edges to look at are in pool->woken, and the outermost call empties it.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>
#include <string.h>

static void edge_link(achar__edge **head, achar__edge *edge)
{
    edge->next = *head;
    edge->link = head;
    if (edge->next) {
        edge->next->link = &edge->next;
    }
    *head = edge;
}

static void edge_unlink(achar__edge *edge)
{
    if (edge->link) {
        *edge->link = edge->next;
        if (edge->next) {
            edge->next->link = edge->link;
        }
        edge->link = NULL;
    }
}

/* ---- the inputs' bytes ---- */

/* Makes the result readable to workers. False: there is no room for it. */
static bool stage_locked(achar__task *input)
{
    achar__pool *pool = input->pool;
    if (input->staged || !input->result_nbytes) {
        return true;
    }
    void *block;
    size_t capacity, nbytes = input->result_nbytes;
    if (achar__store_alloc(pool->store, nbytes, &block, &capacity) != ACHAR_OK) {
        return false;
    }
    memcpy(block, input->result, nbytes);
    input->staged = block;
    input->staged_nbytes = nbytes;
    pool->input_nbytes += achar__block_cost(nbytes); /* it has a reader */
    achar__room_judge_locked(pool, nbytes);
    if (!input->looked_at) {
        achar__task_give_back_result_locked(input);
        input->result = block;
        input->result_nbytes = nbytes;
    }
    return true;
}

size_t achar__inputs_lack_locked(const achar__task *task)
{
    size_t nbytes = achar__block_cost(task->inputs->count * sizeof *task->inputs->table);
    for (size_t i = 0; i < task->inputs->count; i++) {
        const achar__task *input = task->inputs->edges[i].input;
        nbytes += input->staged ? 0 : input->result_nbytes;
    }
    return nbytes;
}

bool achar__inputs_stage_locked(achar__task *task, size_t *needed_nbytes)
{
    achar__pool *pool = task->pool;
    achar__inputs *inputs = task->inputs;
    void *block;
    size_t capacity;
    for (size_t i = 0; i < inputs->count; i++) {
        if (!stage_locked(inputs->edges[i].input)) {
            *needed_nbytes = inputs->edges[i].input->result_nbytes;
            return false;
        }
    }
    *needed_nbytes = inputs->count * sizeof *inputs->table;
    if (achar__store_alloc(pool->store, *needed_nbytes, &block, &capacity) != ACHAR_OK) {
        return false;
    }
    inputs->table = block;
    for (size_t i = 0; i < inputs->count; i++) {
        const achar__task *input = inputs->edges[i].input;
        inputs->table[i] = (achar__wire_input){
            .offset = input->staged
                          ? (uint64_t)((const unsigned char *)input->staged - pool->client.base)
                          : 0,
            .nbytes = input->staged ? input->staged_nbytes : 0,
            .kind = input->result_kind,
            .kept_offset = input->keeps_args
                               ? (uint64_t)((const unsigned char *)input->args - pool->client.base)
                               : 0,
            .kept_nbytes = input->keeps_args ? input->args_nbytes : 0,
        };
    }
    return true;
}

/* ---- what becomes of a dependent ---- */

static void fail_locked(achar__task *task, achar__task *input)
{
    task->cause = achar__task_retain(input->cause ? input->cause : input);
    achar__task_finish_locked(task, ACHAR__TASK_INPUT_FAILED);
}

/* All inputs have returned; the task is in no list. */
static void queue_locked(achar__task *task)
{
    achar__pool *pool = task->pool;
    size_t needed_nbytes;
    if (pool->starved.head || !achar__inputs_stage_locked(task, &needed_nbytes)) {
        achar__starved_append_locked(task);
        return;
    }
    achar__queue_append(&pool->queue, task);
    if (pool->closed) {
        achar__pool_kick_locked(pool); /* it starts no workers for an empty queue */
    }
}

/* What it takes of the client's region, once it has returned. */
static size_t cost_of(const achar__task *input)
{
    return (input->staged ? achar__block_cost(input->staged_nbytes) : 0) +
           (input->keeps_args ? achar__block_cost(input->args_nbytes) : 0);
}

void achar__inputs_count_locked(achar__task *task)
{
    for (size_t i = 0; task->inputs && i < task->inputs->count; i++) {
        achar__task *input = task->inputs->edges[i].input;
        if (input->reader_count++ == 0) {
            task->pool->input_nbytes += cost_of(input);
        }
    }
}

void achar__graph_enter_locked(achar__task *task)
{
    achar__inputs *inputs = task->inputs;
    for (size_t i = 0; i < inputs->count; i++) {
        achar__task *input = inputs->edges[i].input;
        enum achar__task_state state = atomic_load(&input->state);
        if (!ACHAR__TASK_FINISHED(state)) {
            edge_link(&input->dependents, &inputs->edges[i]);
            inputs->waiting_count++;
        } else if (state != ACHAR__TASK_RETURNED) {
            fail_locked(task, input);
            return;
        }
    }
    if (inputs->waiting_count) {
        achar__list_append(&task->pool->waiting, task);
        task->place = ACHAR__PLACE_WAITING;
    } else {
        queue_locked(task);
    }
}

static void stop_waiting_locked(achar__task *task)
{
    if (task->place == ACHAR__PLACE_WAITING) {
        achar__list_remove(&task->pool->waiting, task);
        task->place = ACHAR__PLACE_NONE;
    } else if (task->place == ACHAR__PLACE_STARVED) {
        achar__starved_remove_locked(task);
    }
}

void achar__graph_wake_locked(achar__task *task)
{
    achar__pool *pool = task->pool;
    while (task->dependents) { /* the last to come first; so the first ends up at the head */
        achar__edge *edge = task->dependents;
        edge_unlink(edge);
        edge_link(&pool->woken, edge);
    }
    if (pool->waking) {
        return;
    }
    pool->waking = true;
    while (pool->woken) {
        achar__edge *edge = pool->woken;
        achar__task *dependent = edge->dependent;
        edge_unlink(edge);
        dependent->inputs->waiting_count--;
        if (atomic_load(&edge->input->state) != ACHAR__TASK_RETURNED) {
            stop_waiting_locked(dependent);
            fail_locked(dependent, edge->input);
        } else if (dependent->inputs->waiting_count == 0) {
            stop_waiting_locked(dependent);
            queue_locked(dependent);
        }
    }
    pool->waking = false;
}

void achar__graph_leave_locked(achar__task *task)
{
    achar__inputs *inputs = task->inputs;
    task->inputs = NULL;
    stop_waiting_locked(task);
    for (size_t i = 0; i < inputs->count; i++) {
        achar__task *input = inputs->edges[i].input;
        if (--input->reader_count == 0) {
            task->pool->input_nbytes -= cost_of(input);
        }
        edge_unlink(&inputs->edges[i]);
        achar__task_unref_locked(input);
    }
    achar__store_free(task->pool->store, inputs->table);
    free(inputs);
}

size_t achar__graph_cancel_locked(achar__pool *pool)
{
    size_t count = 0;
    for (; pool->waiting.tail; count++) { /* who needs another comes behind it */
        achar__task_finish_locked(pool->waiting.tail, ACHAR__TASK_CANCELLED);
    }
    for (; pool->starved.tail; count++) {
        achar__task_finish_locked(pool->starved.tail, ACHAR__TASK_CANCELLED);
    }
    return count;
}

/* ---- made by the caller ---- */

achar__inputs *achar__inputs_new(achar__task *task, achar__task *const *tasks, size_t count)
{
    if (count > UINT32_MAX / sizeof(achar__wire_input)) {
        return NULL;
    }
    achar__inputs *inputs = calloc(1, sizeof *inputs + count * sizeof *inputs->edges);
    if (inputs) {
        inputs->count = count;
        for (size_t i = 0; i < count; i++) {
            inputs->edges[i].input = achar__task_retain(tasks[i]);
            inputs->edges[i].dependent = task;
        }
    }
    return inputs;
}

void achar__inputs_free(achar__inputs *inputs)
{
    for (size_t i = 0; inputs && i < inputs->count; i++) {
        achar__task_release(inputs->edges[i].input);
    }
    free(inputs);
}

int achar__pool_put(achar__pool *pool, achar__block *block, size_t nbytes, uint32_t kind,
                    achar__task **out)
{
    if (!achar__fork_guard_holds(&pool->guard) || pool->closed) {
        return ACHAR_E_CLOSED;
    }
    if (nbytes > block->capacity) {
        return ACHAR_E_INVALID;
    }
    achar__task *task = calloc(1, sizeof *task);
    if (!task) {
        return ACHAR_E_NOMEM;
    }
    achar__store_trim(pool->store, &block->data, &block->capacity, nbytes);
    atomic_init(&task->ref_count, 1);
    atomic_init(&task->state, ACHAR__TASK_RETURNED);
    atomic_fetch_add(&pool->ref_count, 1);
    task->pool = pool;
    task->staged = block->data;
    task->result = block->data;
    task->staged_nbytes = task->result_nbytes = nbytes;
    task->result_kind = kind;
    pthread_mutex_lock(&pool->lock);
    achar__room_judge_locked(pool, nbytes);
    pthread_mutex_unlock(&pool->lock);
    *block = (achar__block){0};
    *out = task;
    return ACHAR_OK;
}

int achar__task_set_label(achar__task *task, const char *label)
{
    if (!achar__fork_guard_holds(&task->pool->guard) || !label) {
        return ACHAR_OK;
    }
    char *copy = strdup(label);
    pthread_mutex_lock(&task->pool->lock);
    bool is_first = copy && !task->label;
    if (is_first) {
        task->label = copy;
    }
    pthread_mutex_unlock(&task->pool->lock);
    if (!is_first) {
        free(copy);
    }
    return copy ? ACHAR_OK : ACHAR_E_NOMEM;
}

const char *achar__task_label(const achar__task *task)
{
    return task->label;
}
