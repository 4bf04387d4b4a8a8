/*
 * calls.c - the worker's side of stretches: several calls as one task, claimed one by one.
 *
 * A claim of a call stands inside the claim of its task and is made in the same way: written first, the
 * limit looked at again second. Where the results stand changes by one store, and what has been counted in
 * calls_done can be read there at every instruction.
 */
#include "runtime/pool/worker_internal.h"

#include <string.h>
#include <time.h>

/* A stretch is given back early after this time or this much of results: others may have room. */
#define STRETCH_NS             INT64_C(8000000) /* two ticks of the coarse clock */
#define STRETCH_RESULTS_NBYTES ((size_t)1 << 18)
#define RESULTS_LOOSE_NBYTES   ((size_t)4096) /* smaller blocks are not worth a copy */

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
    achar__worker_await_verdict(worker);
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
    uint64_t header;
    memcpy(&header, (const unsigned char *)worker->results.data + worker->results_used,
           sizeof header);
    worker->raised_count += (header & 3) == ACHAR__RECORD_FAILED;
    worker->results_used = used;
    worker->in_call = false;
    worker->calls_done++;
    ACHAR__CRASH_POINT("result-written");
    atomic_store_explicit(&worker->up->calls_done, calls_word(worker, worker->calls_done),
                          memory_order_release);
    ACHAR__CRASH_POINT("call-done");
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
        (achar__wire_completion){.state = ACHAR__TASK_RETURNED, .call_count = worker->calls_done};
    achar__usage_tell(worker, completion);
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
    achar__worker_publish(worker);
    return ACHAR_OK;
}
