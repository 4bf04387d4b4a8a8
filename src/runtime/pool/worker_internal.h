/*
 * worker_internal.h - the worker's private books, shared by attach.c, worker.c and calls.c.
 */
#ifndef ACHAR_RUNTIME_WORKER_INTERNAL_H
#define ACHAR_RUNTIME_WORKER_INTERNAL_H

#include "runtime/pool/wire.h"
#include "runtime/pool/worker.h"
#include "runtime/shm/store.h"
#include "runtime/sync/fork_guard.h"
#include "runtime/sync/futex.h"
#include "runtime/test_points.h"

struct achar__worker {
    achar__fork_guard guard;
    int client_pid, tender_tid, death_signal;
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
    bool keeps_args; /* the result refers to them */
    unsigned pin_counts[ACHAR__PIN_COUNT];

    /* what is told of the current task (usage.c) */
    uint32_t error_nbytes;
    uint32_t raised_count; /* calls of the stretch */
    uint64_t told_cpu_ns;  /* of the process, when it was looked at */
    int64_t looked_ns;

    /* of a stretch */
    uint32_t calls_done;
    bool in_call;           /* between begin and end */
    int64_t stretch_end_ns; /* CLOCK_MONOTONIC_COARSE: no call is begun later, but the first */
    achar__block results;   /* .data is NULL before the first call */
    size_t results_used;
};

/* Waits until no recall is under way that began before this call. */
void achar__worker_await_verdict(achar__worker *worker);
/* PR_SET_PDEATHSIG: the death of the client's tender sends this signal. False: it has died already. */
bool achar__worker_follow(int client_pid, int tender_tid, int death_signal);
/* From here on the client's death kills this process's group. Returns the signal to follow with: SIGKILL
 * where no thread can be had. */
int achar__worker_start_guardian(int client_pid);
/* The worker is about to get ready. */
void achar__usage_begin(achar__worker *worker);
/* What has been used since then, or since the last task that was told of. */
void achar__usage_tell(achar__worker *worker, achar__wire_completion *completion);
/* The completion of the current task is written: tells the client. */
void achar__worker_publish(achar__worker *worker);

#endif
