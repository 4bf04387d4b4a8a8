/*
 * wire.h - what the client and a worker can both see: the layout of the shared memory.
 *
 *    client's region   achar__wire_client | blocks: hello, functions, arguments, one
 *    (client writes,                        achar__wire_down per place for a worker
 *     workers read)
 *    worker's region   achar__wire_up     | blocks: results
 *    (one worker writes, client reads)
 *    bell page         achar__wire_bells    counters that only wake; anyone writes
 *
 * Every word has one writer, named beside it. Positions in a ring count from 0 and never wrap; a
 * position's slot is position % ACHAR__RING_SLOTS. docs/crash-protocol.md says what each word means
 * to the one who survives.
 */
#ifndef ACHAR_RUNTIME_WIRE_H
#define ACHAR_RUNTIME_WIRE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define ACHAR__RING_SLOTS        128  /* tasks and completions; more than may be in flight */
#define ACHAR__RELEASE_SLOTS     1024 /* result blocks on their way back */
#define ACHAR__BELL_WAITER_COUNT 63
#define ACHAR__CACHE_LINE        64
#define ACHAR__ERROR_NBYTES      160
#define ACHAR__WIRE_KIND_COUNT   4 /* of arguments and results, in the caller's terms */
#define ACHAR__WIRE_KEEPS_ARGS                                                                     \
    UINT32_C(0x80000000)    /* beside the kind of a result: it refers to the arguments */
#define ACHAR__PIN_COUNT 64 /* blocks that a worker may look at beyond its task's end */

/* The environment variable: version and numbers, as ACHAR__WIRE_FORMAT has them. */
#define ACHAR__WIRE_VARIABLE "ACHAR_WORKER"
#define ACHAR__WIRE_VERSION  8
/* version, client's pid and its tender's thread id, descriptors of client's region, worker's region, bells, and of the files behind
 * the regions (-1: none); offsets of the down block and the hello in the client's region, size of the
 * hello, limits of the worker's warm memory, memory and space on disk */
#define ACHAR__WIRE_FORMAT "%d:%d:%d:%d:%d:%d:%d:%d:%zu:%zu:%zu:%zu:%zu:%zu"
#define ACHAR__WIRE_FIELDS 14

/* Where a spawned worker finds its descriptors; from the door on, only if there is such a thing. */
enum {
    ACHAR__WIRE_CLIENT_FD = 3,
    ACHAR__WIRE_WORKER_FD,
    ACHAR__WIRE_BELL_FD,
    ACHAR__WIRE_DOOR_FD,
    ACHAR__WIRE_CLIENT_SPILL_FD,
    ACHAR__WIRE_WORKER_SPILL_FD,
    ACHAR__WIRE_FDS_END,
};

/* The result of another task, which this one reads. */
typedef struct achar__wire_input {
    uint64_t offset;
    uint64_t nbytes;
    uint64_t kind;        /* of achar__pool_put(), achar__worker_set_result_kind() */
    uint64_t kept_offset; /* the arguments that the result refers to */
    uint64_t kept_nbytes; /* 0: none */
} achar__wire_input;

/* A task for a worker; offsets are into the client's region. */
typedef struct achar__wire_task {
    uint64_t function_id;
    uint64_t function_offset;
    uint64_t function_nbytes;
    uint64_t args_offset;
    uint64_t args_nbytes;
    uint32_t function_flags;
    uint32_t call_count;    /* a stretch of so many calls; 0: an ordinary task */
    uint64_t inputs_offset; /* a table of achar__wire_input */
    uint32_t input_count;
    uint32_t args_kind; /* the caller's */
} achar__wire_task;
_Static_assert(sizeof(achar__wire_task) == 64, "one cache line");

/* How the task at the same position ended; the offset is into the worker's region. */
typedef struct achar__wire_completion {
    uint64_t result_offset; /* 0: no bytes */
    uint64_t result_nbytes;
    uint64_t duration_ns;
    uint32_t state;        /* ACHAR__TASK_RETURNED or _RAISED */
    uint32_t call_count;   /* calls of the stretch that have been made; the others have not begun */
    uint32_t kind;         /* of the result: the caller's, and ACHAR__WIRE_KEEPS_ARGS */
    uint32_t raised_count; /* of those calls */
    int64_t started_ns;    /* CLOCK_MONOTONIC */
    uint64_t cpu_ns;       /* of the process since the last completion that says so (usage.c) */
    uint32_t peak_kib;     /* 0: not measured */
    uint32_t error_nbytes; /* of achar__wire_up.errors; 0: none */
} achar__wire_completion;
_Static_assert(sizeof(achar__wire_completion) == 64, "one cache line");

/* At the start of the client's region. */
typedef struct achar__wire_client {
    _Atomic uint32_t tender_sleeping; /* 1: a completion must ring the tender's bell */
    _Atomic uint32_t wants_usage;     /* 1: completions say what their tasks have used */
    _Atomic uint32_t room_is_tight;   /* 1: results should not keep their tasks' arguments */
} achar__wire_client;

/* Client to one worker; the client writes. */
typedef struct achar__wire_down {
    alignas(ACHAR__CACHE_LINE) _Atomic uint64_t limit; /* positions below it may be claimed */
    _Atomic uint32_t recalls_begun;                    /* while they differ, 'limit' may be about */
    _Atomic uint32_t recalls_done; /* to be raised again: wait for the verdict */
    _Atomic uint32_t leave;        /* 1: no more tasks will come */
    _Atomic uint64_t cancelled;    /* 1 + the position of the last task cancelled by force */
    _Atomic uint64_t overdue;      /* 1 + the position of the last task that was told to end */
    alignas(ACHAR__CACHE_LINE) _Atomic uint32_t doorbell;
    alignas(ACHAR__CACHE_LINE) _Atomic uint64_t releases_sent;
    alignas(ACHAR__CACHE_LINE) _Atomic uint32_t waiters[ACHAR__RING_SLOTS];
    _Atomic uint32_t call_limits[ACHAR__RING_SLOTS]; /* calls below it may be claimed */
    _Atomic uint32_t numbers[ACHAR__RING_SLOTS]; /* the task's, or its first call's, in the pool */
    achar__wire_task tasks[ACHAR__RING_SLOTS];
    uint64_t releases[ACHAR__RELEASE_SLOTS]; /* offsets of result blocks */
} achar__wire_down;

/* One worker to the client; at the start of the worker's region; the worker writes. */
typedef struct achar__wire_up {
    alignas(ACHAR__CACHE_LINE) _Atomic uint64_t claimed; /* tasks below it have been started */
    _Atomic int64_t started_ns; /* when the last of them was (CLOCK_MONOTONIC) */
    alignas(ACHAR__CACHE_LINE) _Atomic uint64_t completed;
    alignas(ACHAR__CACHE_LINE) _Atomic uint64_t releases_taken;
    alignas(ACHAR__CACHE_LINE) _Atomic uint32_t sleeping; /* 1: a new task must ring the doorbell */
    _Atomic uint32_t ready;                               /* 1: it has asked for its first task */
    /* Of the stretch that it works on: which one and how far (ACHAR__WIRE_CALLS), and where in its
     * region the results of the calls that are done stand; 'results_moves' counts changes of that. */
    alignas(ACHAR__CACHE_LINE) _Atomic uint64_t calls_claimed;
    _Atomic uint64_t calls_done;
    _Atomic uint64_t results_offset;
    _Atomic uint32_t results_moves;
    _Atomic uint64_t used_nbytes; /* of its region, in blocks */
    /* How much text it has sent in frames (output.h): who reads a result first waits, a moment at most,
     * for what its task has printed. */
    _Atomic uint64_t framed_nbytes;
    /* 1 + the offset of a block of the client's region that is looked at; 0: none (pins.c). */
    _Atomic uint64_t pins[ACHAR__PIN_COUNT];
    _Atomic uint32_t
        unpins; /* how often one was taken away between tasks; then the tender is rung */
    achar__wire_completion completions[ACHAR__RING_SLOTS];
    char errors[ACHAR__RING_SLOTS][ACHAR__ERROR_NBYTES]; /* what the task at that position raised */
} achar__wire_up;

/* The position in the ring (its low 32 bits) and a count of calls, as one word. */
#define ACHAR__WIRE_CALLS(position, count)                                                         \
    ((uint64_t)(uint32_t)(position) << 32 | (uint32_t)(count))

/* Counters to sleep on. They carry no state: whatever stands in them, nobody does more than look. */
typedef struct achar__wire_bells {
    _Atomic uint32_t tender;
    /* A thread of the client that waits for one task is rung by the worker itself: down.waiters
     * holds its number, from 1; 0: ring the tender. */
    _Atomic uint32_t waiters[ACHAR__BELL_WAITER_COUNT + 1];
} achar__wire_bells;

#endif
