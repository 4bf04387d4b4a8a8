/*
 * worker.c - the worker's side of the task path.
 *
 * The worker alone moves 'claimed' and 'completed'. It claims a position by writing claimed and then
 * looking at the limit again: the client recalls tasks by lowering the limit and then looking at
 * claimed. Both writes are sequentially consistent, so at least one of the two sees the other; if it
 * is the worker, it waits for the client's verdict (recalls_done) before it runs or steps back.
 */
#include "runtime/pool/worker_internal.h"

#include <signal.h>
#include <sys/prctl.h>

/* ---- taking tasks ---- */

static void purge_excess(achar__worker *worker)
{
    if (achar__store_has_excess(worker->store)) {
        achar__store_purge(worker->store);
    }
}

static void tell_used(achar__worker *worker)
{
    achar__store_usage usage = achar__store_usage_of(worker->store);
    atomic_store_explicit(&worker->up->used_nbytes, usage.memory_nbytes + usage.spill_nbytes,
                          memory_order_relaxed);
}

/* Result blocks that the client needs no longer. */
static void take_releases(achar__worker *worker)
{
    uint64_t taken = atomic_load_explicit(&worker->up->releases_taken, memory_order_relaxed);
    uint64_t sent = atomic_load_explicit(&worker->down->releases_sent, memory_order_acquire);
    if (taken == sent) {
        return;
    }
    for (; taken < sent; taken++) {
        uint64_t offset = worker->down->releases[taken % ACHAR__RELEASE_SLOTS];
        achar__store_free(worker->store, worker->own.base + offset);
    }
    atomic_store_explicit(&worker->up->releases_taken, taken, memory_order_release);
    tell_used(worker);
    purge_excess(worker);
}

static void ring_client(achar__worker *worker, uint32_t waiter)
{
    if (waiter > 0 && waiter <= ACHAR__BELL_WAITER_COUNT) {
        achar__futex_ring(&worker->bells->waiters[waiter], true);
    } else if (atomic_load(&worker->shared->tender_sleeping)) {
        achar__futex_ring(&worker->bells->tender, true);
    }
}

static bool has_task(const achar__worker *worker)
{
    return atomic_load(&worker->down->limit) > worker->position;
}

void achar__worker_await_verdict(achar__worker *worker)
{
    uint32_t begun = atomic_load(&worker->down->recalls_begun);
    for (;;) {
        uint32_t done = atomic_load(&worker->down->recalls_done);
        if ((int32_t)(done - begun) >= 0) {
            return;
        }
        achar__futex_wait(&worker->down->recalls_done, done, true, ACHAR__NO_DEADLINE);
    }
}

/* True: the task at 'position' is this worker's, and the client can see that. */
static bool claim(achar__worker *worker)
{
    if (!has_task(worker)) {
        return false;
    }
    ACHAR__CRASH_POINT("before-claim");
    worker->started_ns = achar__now_ns();
    atomic_store_explicit(&worker->up->started_ns, worker->started_ns, memory_order_relaxed);
    atomic_store(&worker->up->claimed, worker->position + 1);
    ACHAR__CRASH_POINT("after-claim");
    if (has_task(worker)) {
        return true;
    }
    ACHAR__CRASH_POINT("recalled");
    achar__worker_await_verdict(worker);
    if (has_task(worker)) {
        return true;
    }
    atomic_store(&worker->up->claimed, worker->position);
    return false;
}

/* PR_SET_PDEATHSIG is forgotten when a task changes credentials; then it is asked for again. */
static bool client_is_followed(const achar__worker *worker)
{
    int signal_number = 0;
    return prctl(PR_GET_PDEATHSIG, &signal_number) == 0 && signal_number == worker->death_signal
               ? true
               : achar__worker_follow(worker->client_pid, worker->tender_tid, worker->death_signal);
}

static int sleep_until_rung(achar__worker *worker, int64_t deadline_ns)
{
    int status = ACHAR_OK;
    uint32_t seen = atomic_load(&worker->down->doorbell);
    atomic_store(&worker->up->sleeping, 1);
    if (!has_task(worker) && !atomic_load(&worker->down->leave)) {
        status = achar__futex_wait(&worker->down->doorbell, seen, true, deadline_ns);
    }
    atomic_store(&worker->up->sleeping, 0);
    return status;
}

int achar__worker_next(achar__worker *worker, int64_t timeout_ns, achar__assignment *out)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR_E_CLOSED;
    }
    if (worker->busy) {
        return ACHAR_E_INVALID;
    }
    int64_t deadline_ns = achar__deadline_in(timeout_ns);
    if (!atomic_load_explicit(&worker->up->ready, memory_order_relaxed)) {
        achar__usage_begin(worker);
        atomic_store(&worker->up->ready, 1);
        ring_client(worker, 0);
    }
    take_releases(worker);
    while (!claim(worker)) {
        if (!client_is_followed(worker) ||
            (atomic_load(&worker->down->leave) && !has_task(worker))) {
            return ACHAR_E_CLOSED;
        }
        int status = sleep_until_rung(worker, deadline_ns);
        if (status != ACHAR_OK && !has_task(worker)) {
            return status;
        }
        take_releases(worker);
    }
    const achar__wire_task *task = &worker->down->tasks[worker->position % ACHAR__RING_SLOTS];
    out->function_id = task->function_id;
    out->function_flags = task->function_flags;
    out->function = worker->client.base + task->function_offset;
    out->function_nbytes = task->function_nbytes;
    out->args = worker->client.base + task->args_offset;
    out->args_nbytes = task->args_nbytes;
    out->args_kind = task->args_kind;
    out->call_count = task->call_count;
    out->input_count = task->input_count;
    worker->calls_done = 0;
    worker->results_used = 0;
    worker->result_kind = 0;
    worker->keeps_args = false;
    worker->error_nbytes = worker->raised_count = 0;
    worker->busy = true;
    return ACHAR_OK;
}

bool achar__worker_input(achar__worker *worker, size_t index, const void **bytes, size_t *nbytes,
                         uint32_t *kind)
{
    const achar__wire_task *task = &worker->down->tasks[worker->position % ACHAR__RING_SLOTS];
    if (!achar__fork_guard_holds(&worker->guard) || !worker->busy || index >= task->input_count) {
        return false;
    }
    const achar__wire_input *input =
        (const achar__wire_input *)(worker->client.base + task->inputs_offset) + index;
    *bytes = worker->client.base + input->offset;
    *nbytes = input->nbytes;
    *kind = (uint32_t)input->kind;
    return true;
}

const void *achar__worker_input_kept(achar__worker *worker, size_t index, size_t *nbytes)
{
    const achar__wire_task *task = &worker->down->tasks[worker->position % ACHAR__RING_SLOTS];
    if (!achar__fork_guard_holds(&worker->guard) || !worker->busy || index >= task->input_count) {
        return NULL;
    }
    const achar__wire_input *input =
        (const achar__wire_input *)(worker->client.base + task->inputs_offset) + index;
    *nbytes = input->kept_nbytes;
    return input->kept_nbytes ? worker->client.base + input->kept_offset : NULL;
}

size_t achar__worker_args_nbytes(const achar__worker *worker)
{
    return worker->down->tasks[worker->position % ACHAR__RING_SLOTS].args_nbytes;
}

bool achar__worker_find_in_args(achar__worker *worker, const void *bytes, size_t nbytes,
                                size_t *offset)
{
    const achar__wire_task *task = &worker->down->tasks[worker->position % ACHAR__RING_SLOTS];
    const achar__region *client = &worker->client;
    if (!achar__fork_guard_holds(&worker->guard) || !worker->busy || !client->mirror ||
        task->call_count || !task->args_kind) {
        return false;
    }
    const unsigned char *args = client->mirror + task->args_offset;
    if ((const unsigned char *)bytes < args ||
        (const unsigned char *)bytes >= args + task->args_nbytes) {
        return false;
    }
    *offset = (size_t)((const unsigned char *)bytes - args);
    return nbytes <= task->args_nbytes - *offset && achar__window_is_unwritten(bytes, nbytes);
}

bool achar__worker_should_keep_args(const achar__worker *worker, size_t copy_nbytes)
{
    return !atomic_load_explicit(&worker->shared->room_is_tight, memory_order_relaxed) ||
           !achar__store_may_fit(worker->store, copy_nbytes, 0);
}

void achar__worker_keep_args(achar__worker *worker)
{
    worker->keeps_args = true;
}

/* The pin of that block, or a free one (word 0), or ACHAR__PIN_COUNT. */
static size_t find_pin(const achar__worker *worker, uint64_t word)
{
    size_t found = ACHAR__PIN_COUNT;
    for (size_t i = 0; i < ACHAR__PIN_COUNT; i++) {
        uint64_t pinned = atomic_load_explicit(&worker->up->pins[i], memory_order_relaxed);
        if (pinned == word) {
            return i;
        }
        found = pinned == 0 && found == ACHAR__PIN_COUNT ? i : found;
    }
    return found;
}

bool achar__worker_pin(achar__worker *worker, const void *bytes)
{
    uint64_t word = 1 + (uint64_t)((const unsigned char *)bytes - worker->client.base);
    if (!achar__fork_guard_holds(&worker->guard)) {
        return false;
    }
    size_t pin = find_pin(worker, word);
    if (pin == ACHAR__PIN_COUNT) {
        return false;
    }
    worker->pin_counts[pin]++;
    atomic_store(&worker->up->pins[pin], word);
    return true;
}

void achar__worker_unpin(achar__worker *worker, const void *bytes)
{
    uint64_t word = 1 + (uint64_t)((const unsigned char *)bytes - worker->client.base);
    if (!achar__fork_guard_holds(&worker->guard)) {
        return;
    }
    size_t pin = find_pin(worker, word);
    if (pin < ACHAR__PIN_COUNT && worker->pin_counts[pin] && --worker->pin_counts[pin] == 0) {
        atomic_store(&worker->up->pins[pin], 0);
        if (!worker->busy) { /* else the client looks at the task's end */
            atomic_fetch_add(&worker->up->unpins, 1);
            ring_client(worker, 0);
        }
    }
}

bool achar__worker_open(achar__worker *worker, const void *bytes, size_t nbytes,
                        achar__window *window)
{
    return achar__fork_guard_holds(&worker->guard) &&
           achar__window_open(window, &worker->client, bytes, nbytes);
}

enum achar__overdue achar__worker_is_overdue(achar__worker *worker)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR__NOT_OVERDUE;
    }
    uint64_t overdue = atomic_load(&worker->down->overdue);
    if (overdue == worker->overdue_seen) {
        return ACHAR__NOT_OVERDUE;
    }
    worker->overdue_seen = overdue;
    if (!worker->busy || overdue != worker->position + 1) {
        return ACHAR__WAS_OVERDUE;
    }
    return atomic_load(&worker->down->cancelled) == overdue ? ACHAR__CANCELLED : ACHAR__OVERDUE;
}

bool achar__worker_was_told_to_end(const achar__worker *worker)
{
    return worker->busy && worker->overdue_seen == worker->position + 1;
}

bool achar__worker_is_over_its_limit(const achar__worker *worker)
{
    return achar__worker_was_told_to_end(worker) &&
           atomic_load(&worker->down->cancelled) != worker->overdue_seen;
}

int64_t achar__worker_task_age_ns(const achar__worker *worker)
{
    return achar__now_ns() - worker->started_ns;
}

void achar__worker_wrote(achar__worker *worker, size_t nbytes)
{
    if (achar__fork_guard_holds(&worker->guard)) {
        atomic_fetch_add(&worker->up->framed_nbytes, nbytes);
    }
}

uint32_t achar__worker_task_number(const achar__worker *worker)
{
    if (!achar__fork_guard_holds(&worker->guard) || !worker->busy) {
        return 0;
    }
    return atomic_load_explicit(&worker->down->numbers[worker->position % ACHAR__RING_SLOTS],
                                memory_order_relaxed) +
           worker->calls_done;
}

/* ---- giving results back ---- */

void achar__worker_set_result_kind(achar__worker *worker, uint32_t kind)
{
    worker->result_kind = kind;
}

int achar__worker_block_reserve(achar__worker *worker, size_t nbytes, achar__block *out)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR_E_CLOSED;
    }
    take_releases(worker);
    return achar__store_alloc(worker->store, nbytes, &out->data, &out->capacity);
}

int achar__worker_block_grow(achar__worker *worker, achar__block *block, size_t used, size_t nbytes)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR_E_CLOSED;
    }
    take_releases(worker);
    return achar__store_grow(worker->store, &block->data, &block->capacity, used, nbytes);
}

void achar__worker_block_free(achar__worker *worker, achar__block *block)
{
    if (achar__fork_guard_holds(&worker->guard)) {
        achar__store_free(worker->store, block->data);
        purge_excess(worker);
    }
    *block = (achar__block){0};
}

void achar__worker_publish(achar__worker *worker)
{
    size_t slot = worker->position % ACHAR__RING_SLOTS;
    worker->busy = false;
    worker->position++;
    tell_used(worker);
    ACHAR__CRASH_POINT("before-publish");
    atomic_store(&worker->up->completed, worker->position);
    ACHAR__CRASH_POINT("after-publish");
    ring_client(worker, atomic_load(&worker->down->waiters[slot]));
}

int achar__worker_finish(achar__worker *worker, enum achar__task_state state, achar__block *block,
                         size_t nbytes)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR_E_CLOSED;
    }
    if (!worker->busy || (state != ACHAR__TASK_RETURNED && state != ACHAR__TASK_RAISED) ||
        nbytes > (block ? block->capacity : 0)) {
        return ACHAR_E_INVALID;
    }
    achar__wire_completion *completion =
        &worker->up->completions[worker->position % ACHAR__RING_SLOTS];
    *completion = (achar__wire_completion){.state = state, .kind = worker->result_kind};
    if (worker->keeps_args && state == ACHAR__TASK_RETURNED) {
        completion->kind |= ACHAR__WIRE_KEEPS_ARGS;
    }
    achar__usage_tell(worker, completion);
    ACHAR__CRASH_POINT("mid-result");
    if (block && block->data) {
        if (nbytes == 0) {
            achar__store_free(worker->store, block->data);
        } else {
            achar__store_trim(worker->store, &block->data, &block->capacity, nbytes);
            completion->result_offset = (uint64_t)((unsigned char *)block->data - worker->own.base);
            completion->result_nbytes = nbytes;
        }
        *block = (achar__block){0};
    }
    achar__worker_publish(worker);
    return ACHAR_OK;
}
