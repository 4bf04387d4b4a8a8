/*
 * worker.c - the worker's side of the task path.
 *
 * The worker alone moves 'claimed' and 'completed'. It claims a position by writing claimed and then
 * looking at the limit again: the client recalls tasks by lowering the limit and then looking at
 * claimed. Both writes are sequentially consistent, so at least one of the two sees the other; if it
 * is the worker, it waits for the client's verdict (recalls_done) before it runs or steps back.
 */
#include "runtime/pool/worker.h"
#include "runtime/pool/wire.h"
#include "runtime/shm/store.h"
#include "runtime/sync/fork_guard.h"
#include "runtime/sync/futex.h"
#include "runtime/test_points.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OOM_SCORE_MORE 300 /* of 1000: the kernel picks a worker before the client */
#define OOM_SCORE_MAX  1000

/* A stretch is given back early after this time or this much of results: others may have room. */
#define STRETCH_NS             INT64_C(8000000) /* two ticks of the coarse clock */
#define STRETCH_RESULTS_NBYTES ((size_t)1 << 18)
#define RESULTS_LOOSE_NBYTES   ((size_t)4096) /* smaller blocks are not worth a copy */

struct achar__worker {
    achar__fork_guard guard;
    int client_pid;
    achar__region client, own, bells_region;
    const achar__wire_client *shared;
    achar__wire_down *down; /* mapped read-only */
    achar__wire_up *up;
    achar__wire_bells *bells;
    achar__store *store;
    const void *hello;
    size_t hello_nbytes;
    uint64_t position; /* of the current or next task */
    int64_t started_ns;
    bool busy;                     /* between next and finish */
    _Atomic uint64_t overdue_seen; /* by the handler of SIGALRM */
    uint32_t result_kind;
    unsigned pin_counts[ACHAR__PIN_COUNT];

    /* of a stretch */
    uint32_t calls_done;
    bool in_call;           /* between begin and end */
    int64_t stretch_end_ns; /* CLOCK_MONOTONIC_COARSE: no call is begun later, but the first */
    achar__block results;   /* .data is NULL before the first call */
    size_t results_used;
};

/* ---- attach ---- */

static void raise_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    char text[16] = {0};
    if (read(fd, text, sizeof text - 1) > 0) {
        long score = strtol(text, NULL, 10) + OOM_SCORE_MORE;
        int length =
            snprintf(text, sizeof text, "%ld", score > OOM_SCORE_MAX ? (long)OOM_SCORE_MAX : score);
        /* Advice to the kernel: where it is refused, the worker is as likely as the client. */
        ssize_t written = pwrite(fd, text, (size_t)length, 0);
        (void)written;
    }
    close(fd);
}

/* The client's death kills this process, also when it has happened already. */
static bool follow_client(int client_pid)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == client_pid;
}

static bool range_is_inside(const achar__region *region, uint64_t offset, uint64_t nbytes)
{
    return offset <= region->nbytes && nbytes <= region->nbytes - offset;
}

int achar__worker_attach(achar__worker **out)
{
    int status = ACHAR_E_INVALID;
    int version, client_pid, client_fd, worker_fd, bell_fd, client_spill_fd, worker_spill_fd;
    size_t down_offset, hello_offset, hello_nbytes, warm_nbytes, memory_nbytes, spill_nbytes;
    achar__worker *worker = NULL;

    const char *text = getenv(ACHAR__WIRE_VARIABLE);
    if (!text ||
        sscanf(text, ACHAR__WIRE_FORMAT, &version, &client_pid, &client_fd, &worker_fd, &bell_fd,
               &client_spill_fd, &worker_spill_fd, &down_offset, &hello_offset, &hello_nbytes,
               &warm_nbytes, &memory_nbytes, &spill_nbytes) != ACHAR__WIRE_FIELDS ||
        version != ACHAR__WIRE_VERSION) {
        return ACHAR_E_INVALID;
    }
    if (!follow_client(client_pid)) {
        return ACHAR_E_CLOSED;
    }
    worker = calloc(1, sizeof *worker);
    if (!worker) {
        return ACHAR_E_NOMEM;
    }
    worker->client = worker->own = worker->bells_region = ACHAR__REGION_CLOSED;
    worker->client_pid = client_pid;
    status = achar__fork_guard_init(&worker->guard);
    if (status != ACHAR_OK ||
        (status = achar__region_map_pair(client_fd, client_spill_fd, false, &worker->client)) ||
        (status = achar__region_map_pair(worker_fd, worker_spill_fd, true, &worker->own)) ||
        (status = achar__region_map(bell_fd, true, &worker->bells_region))) {
        goto fail;
    }
    achar__region_mirror(&worker->client, client_fd, client_spill_fd);
    status = ACHAR_E_INVALID;
    if (!range_is_inside(&worker->client, down_offset, sizeof(achar__wire_down)) ||
        !range_is_inside(&worker->client, hello_offset, hello_nbytes) ||
        worker->own.nbytes < sizeof(achar__wire_up) ||
        worker->bells_region.nbytes < sizeof(achar__wire_bells)) {
        goto fail;
    }
    worker->shared = (const achar__wire_client *)worker->client.base;
    worker->down = (achar__wire_down *)(worker->client.base + down_offset);
    worker->hello = worker->client.base + hello_offset;
    worker->hello_nbytes = hello_nbytes;
    worker->up = (achar__wire_up *)worker->own.base;
    worker->bells = (achar__wire_bells *)worker->bells_region.base;
    status = achar__store_create(&worker->own, worker_fd, worker_spill_fd, sizeof(achar__wire_up),
                                 warm_nbytes, &worker->store);
    if (status != ACHAR_OK) {
        goto fail;
    }
    achar__store_limit(worker->store, memory_nbytes, spill_nbytes);
    int fds[] = {client_fd, worker_fd, bell_fd, client_spill_fd, worker_spill_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    unsetenv(ACHAR__WIRE_VARIABLE);
    raise_oom_score();
    *out = worker;
    return ACHAR_OK;
fail:
    achar__worker_detach(worker);
    return status;
}

void achar__worker_detach(achar__worker *worker)
{
    if (!worker) {
        return;
    }
    achar__store_destroy(worker->store);
    achar__region_unmap(&worker->client);
    achar__region_unmap(&worker->own);
    achar__region_unmap(&worker->bells_region);
    achar__fork_guard_clear(&worker->guard);
    free(worker);
}

const void *achar__worker_hello(achar__worker *worker, size_t *nbytes)
{
    *nbytes = worker->hello_nbytes;
    return worker->hello;
}

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

/* Waits until no recall is under way that began before this call. */
static void await_verdict(achar__worker *worker)
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
    await_verdict(worker);
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
    return prctl(PR_GET_PDEATHSIG, &signal_number) == 0 && signal_number == SIGKILL
               ? true
               : follow_client(worker->client_pid);
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

/* ---- stretches ---- */

static int64_t coarse_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool may_call(const achar__worker *worker)
{
    size_t slot = worker->position % ACHAR__RING_SLOTS;
    return atomic_load(&worker->down->call_limits[slot]) > worker->calls_done;
}

static uint64_t calls_word(const achar__worker *worker, uint32_t count)
{
    return ACHAR__WIRE_CALLS(worker->position, count);
}

/* As claim(), for the next call of the stretch at 'position'. */
static bool claim_call(achar__worker *worker)
{
    if (!may_call(worker)) {
        return false;
    }
    ACHAR__CRASH_POINT("before-call");
    atomic_store(&worker->up->calls_claimed, calls_word(worker, worker->calls_done + 1));
    ACHAR__CRASH_POINT("call-claimed");
    if (may_call(worker)) {
        return true;
    }
    await_verdict(worker);
    if (may_call(worker)) {
        return true;
    }
    atomic_store(&worker->up->calls_claimed, calls_word(worker, worker->calls_done));
    return false;
}

int achar__worker_begin_call(achar__worker *worker)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR_E_CLOSED;
    }
    if (!worker->busy || worker->in_call) {
        return ACHAR_E_INVALID;
    }
    if (worker->calls_done == 0) {
        worker->stretch_end_ns = coarse_now_ns() + STRETCH_NS;
    } else if (coarse_now_ns() >= worker->stretch_end_ns ||
               worker->results_used >= STRETCH_RESULTS_NBYTES) {
        return ACHAR_E_CLOSED;
    }
    if (!claim_call(worker)) {
        return ACHAR_E_CLOSED;
    }
    worker->in_call = true;
    return ACHAR_OK;
}

/* Where the results stand changes by one store, and the old place is freed after it. */
static int move_results(achar__worker *worker, size_t used, size_t nbytes)
{
    achar__block block;
    int status = achar__worker_block_reserve(worker, nbytes, &block);
    if (status != ACHAR_OK) {
        return status;
    }
    if (used) {
        memcpy(block.data, worker->results.data, used);
    }
    ACHAR__CRASH_POINT("results-copied");
    atomic_store(&worker->up->results_offset,
                 (uint64_t)((unsigned char *)block.data - worker->own.base));
    ACHAR__CRASH_POINT("results-moved");
    atomic_fetch_add(&worker->up->results_moves, 1);
    if (worker->results.data) {
        achar__worker_block_free(worker, &worker->results);
    }
    worker->results = block;
    return ACHAR_OK;
}

int achar__worker_results(achar__worker *worker, size_t used, size_t nbytes, achar__block *block)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR_E_CLOSED;
    }
    if (nbytes > worker->results.capacity || !worker->results.data) {
        int status = move_results(worker, used, nbytes);
        if (status != ACHAR_OK) {
            return status;
        }
    }
    *block = worker->results;
    return ACHAR_OK;
}

void achar__worker_end_call(achar__worker *worker, size_t used)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return;
    }
    worker->results_used = used;
    worker->in_call = false;
    worker->calls_done++;
    ACHAR__CRASH_POINT("result-written");
    atomic_store_explicit(&worker->up->calls_done, calls_word(worker, worker->calls_done),
                          memory_order_release);
    ACHAR__CRASH_POINT("call-done");
}

static void publish(achar__worker *worker)
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

int achar__worker_finish_stretch(achar__worker *worker)
{
    if (!achar__fork_guard_holds(&worker->guard)) {
        return ACHAR_E_CLOSED;
    }
    if (!worker->busy || worker->in_call) {
        return ACHAR_E_INVALID;
    }
    achar__wire_completion *completion =
        &worker->up->completions[worker->position % ACHAR__RING_SLOTS];
    size_t used = worker->results_used;
    *completion =
        (achar__wire_completion){.state = ACHAR__TASK_RETURNED,
                                 .call_count = worker->calls_done,
                                 .duration_ns = (uint64_t)(achar__now_ns() - worker->started_ns)};
    if (used) {
        if (worker->results.capacity > RESULTS_LOOSE_NBYTES &&
            worker->results.capacity / 2 > used) {
            (void)move_results(worker, used, used); /* else it stays loose */
        }
        completion->result_offset =
            (uint64_t)((unsigned char *)worker->results.data - worker->own.base);
        completion->result_nbytes = used;
        worker->results = (achar__block){0};
    }
    publish(worker);
    return ACHAR_OK;
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
    *completion =
        (achar__wire_completion){.state = state,
                                 .kind = worker->result_kind,
                                 .duration_ns = (uint64_t)(achar__now_ns() - worker->started_ns)};
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
    publish(worker);
    return ACHAR_OK;
}
