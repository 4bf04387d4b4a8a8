/*
 * worker.c - the loop of a C worker: take a task, find its function by name, tell how it ended.
 *
 * The mirror of src/python/executor/worker.c. A task ends exactly once, whichever way; what goes wrong
 * while its result is written becomes its exception; where not even that finds memory, it is RAISED
 * without bytes. The memory of a job is gone before the next one begins.
 */
#include "tasks/job.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Which name a function id stands for is remembered for so many of them. */
#define FUNCTION_SLOTS 64

/* A worker that cannot even tell that it has no memory exits with this (sysexits.h: EX_OSERR). */
#define EXIT_NO_MEMORY 71

typedef struct offer {
    char *name;
    achar_job_function function;
    void *opaque;
} offer;

struct achar_worker {
    achar__worker *worker;
    offer *offers;
    size_t offer_count, offer_capacity;
    struct {
        uint64_t id;
        size_t offer; /* 1 + its index; 0: empty */
    } functions[FUNCTION_SLOTS];
};

/* ---- the time limit ---- */

/* A process is one worker: the handler has nothing else to find it by. */
static achar__worker *_Atomic signalled_worker;

static void on_alarm(int number)
{
    int error = errno;
    achar__worker *worker = signalled_worker;
    if (!worker || achar__worker_is_overdue(worker) == ACHAR__NOT_OVERDUE) {
        /* A timer of the task's own, which has no handler for it. */
        signal(number, SIG_DFL);
        kill(getpid(), number);
    }
    errno = error;
}

/* ---- the worker ---- */

int achar_worker_open(achar_worker **out)
{
    if (!out) {
        return ACHAR_E_INVALID;
    }
    *out = NULL;
    achar_worker *it = calloc(1, sizeof *it);
    if (!it) {
        return ACHAR_E_NOMEM;
    }
    int status = achar__worker_attach(&it->worker);
    if (status != ACHAR_OK) {
        free(it);
        return status;
    }
    signalled_worker = it->worker;
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART: system calls return */
    sigaction(SIGALRM, &action, NULL);
    *out = it;
    return ACHAR_OK;
}

static offer *find_offer(achar_worker *it, const char *name, size_t nbytes)
{
    for (size_t i = 0; i < it->offer_count; i++) {
        if (strlen(it->offers[i].name) == nbytes &&
            (nbytes == 0 || memcmp(it->offers[i].name, name, nbytes) == 0)) {
            return &it->offers[i];
        }
    }
    return NULL;
}

int achar_worker_register(achar_worker *worker, const char *name, achar_job_function function,
                          void *opaque)
{
    if (!worker || !name || !function) {
        return ACHAR_E_INVALID;
    }
    offer *known = find_offer(worker, name, strlen(name));
    if (known) {
        known->function = function;
        known->opaque = opaque;
        return ACHAR_OK;
    }
    if (worker->offer_count == worker->offer_capacity) {
        size_t capacity = worker->offer_capacity ? worker->offer_capacity * 2 : 8;
        offer *offers = realloc(worker->offers, capacity * sizeof *offers);
        if (!offers) {
            return ACHAR_E_NOMEM;
        }
        worker->offers = offers;
        worker->offer_capacity = capacity;
    }
    char *copy = strdup(name);
    if (!copy) {
        return ACHAR_E_NOMEM;
    }
    worker->offers[worker->offer_count++] = (offer){copy, function, opaque};
    return ACHAR_OK;
}

void achar_worker_close(achar_worker *worker)
{
    if (!worker) {
        return;
    }
    signalled_worker = NULL;
    signal(SIGALRM, SIG_IGN);
    achar__worker_detach(worker->worker);
    for (size_t i = 0; i < worker->offer_count; i++) {
        free(worker->offers[i].name);
    }
    free(worker->offers);
    free(worker);
}

/* ---- memory ---- */

static int reserve(void *owner, size_t nbytes, achar__block *out)
{
    return achar__worker_block_reserve(owner, nbytes, out);
}

static int grow(void *owner, achar__block *block, size_t used, size_t nbytes)
{
    return achar__worker_block_grow(owner, block, used, nbytes);
}

static int reserve_results(void *owner, size_t nbytes, achar__block *out)
{
    return achar__worker_results(owner, 0, nbytes, out);
}

static int grow_results(void *owner, achar__block *block, size_t used, size_t nbytes)
{
    return achar__worker_results(owner, used, nbytes, block);
}

/* ---- one call ---- */

/* What the client calls; else the job raises. */
static offer *offer_of(achar_worker *it, achar_job *job, const achar__assignment *a)
{
    size_t slot = a->function_id % FUNCTION_SLOTS;
    if (it->functions[slot].offer && it->functions[slot].id == a->function_id) {
        return &it->offers[it->functions[slot].offer - 1];
    }
    achar_graph *graph = NULL;
    offer *found = NULL;
    size_t nbytes = 0;
    const char *name = NULL;
    if (achar_read(a->function, a->function_nbytes, NULL, &graph, NULL, NULL) == ACHAR_OK) {
        name = achar_text(achar_root(graph), &nbytes);
    }
    if (!name) {
        achar_job_raise(job, "TypeError", "tasks of a C worker are called by their name, a str");
    } else if (!(found = find_offer(it, name, nbytes))) {
        achar_job_raise(job, "LookupError", "this worker has no task '%.*s'", (int)nbytes, name);
    } else {
        it->functions[slot].id = a->function_id;
        it->functions[slot].offer = 1 + (size_t)(found - it->offers);
    }
    achar_graph_free(graph);
    return found;
}

/* Does it; afterwards the job has a result or has raised. */
static void do_job(achar_worker *it, achar_job *job, const achar__assignment *a, const void *args,
                   size_t nbytes, int kind)
{
    achar_error error;
    *job = (achar_job){.worker = it->worker, .input_count = a->input_count};
    const offer *called = offer_of(it, job, a);
    if (!called) {
        return;
    }
    job->name = called->name;
    int status = achar__job_open(job, args, nbytes, kind, &error);
    if (status != ACHAR_OK) {
        achar_job_raise(job, status == ACHAR_E_NOMEM ? "MemoryError" : "ValueError",
                        "the arguments cannot be read: %s", error.message);
        return;
    }
    status = called->function(job, called->opaque);
    if (status == ACHAR_OK) {
        free(job->raised_type);
        job->raised_type = NULL;
    } else if (achar__worker_was_told_to_end(it->worker)) {
        achar_job_raise(job, "TimeoutError", "the task's time limit has passed");
    } else if (!job->raised_type) {
        achar_job_raise(job, "RuntimeError", "the task '%s' returned %d (%s)", job->name, status,
                        achar_status_message(status));
    }
}

/* Appends what it returned. False: it has raised, now at the latest, and nothing is appended. */
static bool write_result(achar_job *job, achar__block_sink *sink)
{
    achar_error error = {.message = "out of memory"};
    if (job->raised_type) {
        return false;
    }
    size_t start = sink->used;
    achar_graph *graph = job->returned_graph;
    if (!graph) {
        achar_job_return(job, achar_job_result(job), achar_make_none());
        graph = job->returned_graph;
    } else {
        achar_set_root(graph, job->returned);
    }
    int status = achar__block_sink_write(sink, graph, &error);
    if (status == ACHAR_OK) {
        return true;
    }
    sink->used = start;
    achar_job_raise(
        job, status == ACHAR_E_NOMEM || status == ACHAR_E_LIMIT ? "MemoryError" : "ValueError",
        "the result of '%s' cannot be written: %s", job->name, error.message);
    return false;
}

static int write_raised(achar_job *job, achar__block_sink *sink)
{
    char traceback[512];
    snprintf(traceback, sizeof traceback, "  in %s, pid %d, task '%s'\n%s: %s\n",
             program_invocation_short_name, (int)getpid(), job->name ? job->name : "",
             job->raised_type, job->raised_text ? job->raised_text : "");
    const achar__raised raised = {job->raised_type, job->raised_text ? job->raised_text : "",
                                  traceback};
    return achar__payload_write_raised(sink, &raised);
}

/* ---- tasks ---- */

static int run_task(achar_worker *it, const achar__assignment *a)
{
    achar_job job;
    achar__block_sink sink = {it->worker, reserve, grow, {0}, 0, ACHAR_OK};
    do_job(it, &job, a, a->args, a->args_nbytes, ACHAR__JOB_SINGLE);
    enum achar__task_state state = ACHAR__TASK_RETURNED;
    bool written = write_result(&job, &sink);
    if (!written) {
        state = ACHAR__TASK_RAISED;
        written = job.raised_type && write_raised(&job, &sink) == ACHAR_OK;
    }
    fflush(stdout);
    achar__job_close(&job);
    if (!written) {
        achar__worker_block_free(it->worker, &sink.block);
        return achar__worker_finish(it->worker, ACHAR__TASK_RAISED, NULL, 0);
    }
    return achar__worker_finish(it->worker, state, &sink.block, sink.used);
}

/* The record of one call; room for its header is there. */
static void write_record(achar_job *job, achar__block_sink *sink)
{
    uint64_t header = 0;
    size_t start = sink->used;
    int kind = ACHAR__RECORD_PICKLE;
    (void)achar__block_sink_append(sink, &header, sizeof header);
    if (!write_result(job, sink)) {
        kind = ACHAR__RECORD_RAISED;
        if (!job->raised_type || write_raised(job, sink) != ACHAR_OK) {
            sink->used = start + sizeof header;
        }
    }
    header = ACHAR__RECORD_HEADER(sink->used - start - sizeof header, kind);
    memcpy((char *)sink->block.data + start, &header, sizeof header);
}

static int run_stretch(achar_worker *it, const achar__assignment *a)
{
    achar__block_sink sink = {it->worker, reserve_results, grow_results, {0}, 0, ACHAR_OK};
    const char *args = a->args;
    for (size_t i = 0; i < a->call_count; i++) {
        /* So that the end of this call can be told, whatever it is. */
        static const uint64_t header_room;
        bool is_room =
            achar__block_sink_append(&sink, &header_room, sizeof header_room) == ACHAR_OK;
        sink.used -= is_room ? sizeof header_room : 0;
        if (!is_room && i > 0) {
            break; /* the rest may find room in another stretch */
        }
        if (achar__worker_begin_call(it->worker) != ACHAR_OK) {
            break;
        }
        if (!is_room) {
            fputs("achar: no shared memory is left to tell the end of a task\n", stderr);
            _exit(EXIT_NO_MEMORY);
        }
        uint64_t header;
        memcpy(&header, args, sizeof header);
        args += sizeof header;
        achar_job job;
        do_job(it, &job, a, args, (size_t)(header >> 2), (int)(header & 3));
        write_record(&job, &sink);
        achar__job_close(&job);
        args += header >> 2;
        achar__worker_end_call(it->worker, sink.used);
    }
    fflush(stdout);
    return achar__worker_finish_stretch(it->worker);
}

int achar_worker_run(achar_worker *worker)
{
    if (!worker) {
        return ACHAR_E_INVALID;
    }
    for (;;) {
        achar__assignment a;
        int status = achar__worker_next(worker->worker, -1, &a);
        if (status == ACHAR_OK) {
            status = (a.call_count ? run_stretch : run_task)(worker, &a);
            if (status == ACHAR_E_CLOSED) {
                return ACHAR_OK; /* the fork of a worker that has returned into the loop */
            }
        }
        if (status == ACHAR_E_CLOSED) {
            return ACHAR_OK;
        }
        if (status != ACHAR_OK && status != ACHAR_E_INTERRUPTED && status != ACHAR_E_TIMEOUT) {
            return status;
        }
    }
}
