/*
 * pool.h - the client's side of the task path: worker processes, tasks, results. No Python.
 *
 * The picture:
 *
 *    client process                                    worker process (one of N)
 *    submit ──► queue ──► ring (client writes) ──────► achar__worker_next()
 *    args, function: client's region (memfd) ────────► mapped read-only, read in place
 *    task state ◄── tender ◄── ring (worker writes) ◄─ achar__worker_finish()
 *    result bytes, read in place ◄──────────────────── worker's region (memfd)
 *
 * Invariants:
 *  - Every region has one writer. A process allocates only from its own region; the allocator's
 *    books are in its private memory. A block of a worker's region is given back by a message.
 *  - Rings are single-producer, single-consumer; what a worker has started is a word that it alone
 *    writes and that the client can read after its death. So kill -9 at any instruction loses the
 *    task that the worker was running and nothing else.
 *  - The tender (a C thread of the client) and the monitor (pidfds) never call into Python.
 *  - A task finishes exactly once; its result stays bytes until someone reads it.
 *  - Every wait ends: by the result, the worker's death, the pool's end, or the caller's time limit.
 *
 * All functions may be called from any thread at once unless said otherwise; none needs or takes
 * the GIL. After fork() the child's copies are inert: every call returns ACHAR_E_CLOSED, and
 * releasing them frees nothing that is shared.
 */
#ifndef ACHAR_RUNTIME_POOL_H
#define ACHAR_RUNTIME_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <achar/status.h>

#include "runtime/pool/journal.h"
#include "runtime/shm/window.h"

typedef struct achar__pool achar__pool;
typedef struct achar__function achar__function; /* reference-counted */
typedef struct achar__task achar__task;         /* reference-counted, private memory */

enum achar__task_state {
    ACHAR__TASK_QUEUED = 0, /* no worker has started it */
    ACHAR__TASK_RUNNING,    /* a worker has started it */
    /* from here on: finished */
    ACHAR__TASK_RETURNED,  /* result bytes */
    ACHAR__TASK_RAISED,    /* bytes of an exception */
    ACHAR__TASK_LOST,      /* its worker died while it ran it; see achar__task_result.death */
    ACHAR__TASK_CANCELLED, /* before it started */
    ACHAR__TASK_OVERDUE,   /* its time limit passed, and its worker was ended with it; see death */
    ACHAR__TASK_ABANDONED, /* the pool ended, or cannot start workers; see death */
    ACHAR__TASK_INPUT_FAILED, /* an input did not return; see achar__task_result.cause */
    ACHAR__TASK_STARVED,      /* there is no memory to give it its inputs */
};
#define ACHAR__TASK_FINISHED(state) ((state) >= ACHAR__TASK_RETURNED)

typedef struct achar__pool_options {
    const char *const *worker_argv; /* NULL-terminated; [0] is the program's path */
    const char *const *worker_envp; /* NULL-terminated; NULL: the client's */
    unsigned worker_count;          /* 1 to 1024 */
    const void *hello;              /* bytes every worker can read at start; copied */
    size_t hello_nbytes;
    size_t region_nbytes;          /* address space per region; 0: a default from the machine */
    unsigned max_tasks_per_worker; /* 0: no limit; then the worker is replaced */
    unsigned max_starts; /* of worker processes, in all; then the pool gives up. 0: no limit */
    int64_t
        start_limit_ns; /* from its start until it asks for a task; then it is killed. 0: none */
    int64_t
        room_limit_ns; /* the longest that nothing is freed while somebody waits for memory. 0: none */
    bool has_door;     /* see achar__pool_door() */
    /*
     * Shared memory that may be in blocks, and space on disk, of all processes together: half of it the
     * client's, the other half divided among the workers. 0: no limit but the machine's. What does not
     * fit into memory goes into nameless files in the folder 'spill_path'; NULL: nothing is spilled.
     */
    size_t memory_limit_nbytes, spill_limit_nbytes;
    const char *spill_path;
    enum achar__output_mode {
        ACHAR__OUTPUT_INHERIT = 0, /* workers write where the client does */
        ACHAR__OUTPUT_DISCARD,     /* nobody sees it, but for the end of what a dead one wrote */
        ACHAR__OUTPUT_DELIVER,     /* achar__pool_take_output() */
    } output;
    achar__journal *journal; /* the pool refers to it until it has ended; NULL: it tells nobody */
} achar__pool_options;

/* How a process ended. exit_code -1 and signal 0: unknown, because someone else collected it. */
typedef struct achar__death {
    int pid;       /* 0: there was none */
    int exit_code; /* -1 if a signal ended it */
    int signal;    /* 0 if it exited */
    int error;     /* errno where the program could not be started; else 0 */
} achar__death;

/*
 * achar__pool_create() starts the pool's threads; workers start at once, in the background. Each is
 * the leader of a process group of its own (so Ctrl-C at the terminal does not reach it, and what it
 * leaves behind is killed with its group), has /dev/null as stdin, the client's stdout and stderr or
 * pipes to the client, no other descriptors of the client, no blocked and no ignored signals.
 * ACHAR_E_INVALID, ACHAR_E_NOMEM, ACHAR_E_IO (errno is kept).
 */
int achar__pool_create(const achar__pool_options *options, achar__pool **out);

/* A block of the client's region, being filled by the caller before it is submitted. */
typedef struct achar__block {
    void *data;
    size_t capacity; /* in bytes, at least what was asked for */
} achar__block;

/* Reserved memory is really there (no SIGBUS later). ACHAR_E_NOMEM, ACHAR_E_LIMIT, ACHAR_E_CLOSED. */
int achar__pool_block_reserve(achar__pool *pool, size_t nbytes, achar__block *out);
/* Makes the block at least 'nbytes' large, keeping its first 'used' bytes; it may move. On error it is as it was. */
int achar__pool_block_grow(achar__pool *pool, achar__block *block, size_t used, size_t nbytes);
void achar__pool_block_free(achar__pool *pool, achar__block *block);

/*
 * achar__pool_function() is the handle for these bytes. The bytes are copied into the client's
 * region when this content is new to the pool, and found by hash (then compared) when it is not, so
 * that a worker reads and decodes the same function once. 'flags' is handed to the worker as it is
 * and is part of the identity. The caller owns one reference.
 * ACHAR_E_NOMEM, ACHAR_E_LIMIT, ACHAR_E_CLOSED.
 */
int achar__pool_function(achar__pool *pool, const void *bytes, size_t nbytes, uint32_t flags,
                         achar__function **out);
void achar__function_release(achar__function *function);
/* What its tasks are called in the journal, unless they say otherwise: UTF-8. The first name stays. */
void achar__function_set_name(achar__function *function, const char *name, size_t nbytes);

typedef struct achar__task_options {
    /*
     * From when a worker starts it; 0: none. When it has passed, the worker gets SIGALRM, so that the
     * task can end by itself (achar__worker_is_overdue()), and ACHAR__OVERDUE_GRACE_NS later SIGKILL
     * (achar__pool_be_patient() makes that later).
     */
    int64_t time_limit_ns;
    /* How often it is tried again when it raised, was LOST or OVERDUE; at most ACHAR__RETRIES_MAX. The
     * n-th time, 'backoff_ns' << (n - 1) passes first, at most a minute. */
    unsigned retry_count;
    int64_t backoff_ns;
    /* Higher goes first among tasks that no worker has; +-ACHAR__PRIORITY_MAX. */
    int priority;
    /* Tasks of this pool whose results it reads: it starts when all have RETURNED, and is
     * INPUT_FAILED as soon as one ends otherwise. The array is copied. */
    achar__task *const *inputs;
    size_t input_count;
    /* The caller's; workers see it. Arguments whose kind is not 0 may be kept by a worker beyond the
     * task's end (achar__worker_pin()). */
    uint32_t args_kind;
    /* For the journal: UTF-8, NULL: the function's; the task of this or another pool that submits this one. */
    const char *name;
    size_t name_nbytes;
    uint64_t parent;
} achar__task_options;

#define ACHAR__RETRIES_MAX  1000
#define ACHAR__PRIORITY_MAX 100

#define ACHAR__OVERDUE_GRACE_NS INT64_C(1000000000)

/*
 * achar__pool_submit() queues one task: 'function' applied to the first 'args_nbytes' of 'args',
 * which the pool takes over on success ('args' is emptied; NULL where there are none). '*out' is a
 * new reference. Does not block. The bytes may be moved (64-byte alignment is kept).
 * 'options' NULL: none. ACHAR_E_INVALID: one is out of range. ACHAR_E_CLOSED after achar__pool_close().
 */
int achar__pool_submit(achar__pool *pool, achar__function *function, achar__block *args,
                       size_t args_nbytes, const achar__task_options *options, achar__task **out);

/*
 * achar__pool_put() is a finished task without a worker: RETURNED, with the first 'nbytes' of 'block',
 * which the pool takes over, as its result. As an input it is read where it stands. 'kind' is the
 * caller's; workers see it. ACHAR_E_CLOSED, _NOMEM, _INVALID: 'block' stays the caller's.
 */
int achar__pool_put(achar__pool *pool, achar__block *block, size_t nbytes, uint32_t kind,
                    achar__task **out);

/* What to call the task where it is a 'cause'. The first label stays; it is copied. ACHAR_E_NOMEM. */
int achar__task_set_label(achar__task *task, const char *label);
const char *achar__task_label(const achar__task *task); /* NULL: none */

/*
 * A stretch is several calls of one function, one after the other, as one task: a map of short calls
 * then costs little for each. Arguments and results are records, in the order of the calls:
 *
 *    [u64 nbytes << 2 | kind][nbytes bytes]     'kind' is the caller's, 0 to 3
 *
 * The pool cuts a stretch into pieces as it goes, so that each call ends by itself: a worker gets as
 * many calls at a time as are short work; calls behind one that takes long go to other workers; when
 * a worker dies, the call that it had started is lost, what it had done before is not, and what it
 * had not started is done elsewhere. A piece is a task; the pieces' order is the calls' order.
 */
#define ACHAR__RECORD_HEADER_NBYTES        ((size_t)8)
#define ACHAR__RECORD_HEADER(nbytes, kind) ((uint64_t)(nbytes) << 2 | (kind))
#define ACHAR__RECORD_FAILED               1 /* of a result: the call has raised */

/* What several stretches are part of, for the journal; zeros at first. */
typedef struct achar__stretch_map {
    uint32_t number; /* of its first call; 0: it has none yet */
    uint32_t calls;  /* so far; the caller may count others, that it does not submit */
} achar__stretch_map;

/*
 * achar__pool_submit_stretch() is achar__pool_submit() for 'call_count' calls. ends[i] is where in
 * 'args' the record of call i ends; it is copied. 'map' may be NULL. '*out' is the first piece, and the caller owns one
 * reference to each piece, now or later: take the pieces with achar__task_next_piece(), or drop them
 * all. A piece is neither watched nor cancelled by itself.
 */
int achar__pool_submit_stretch(achar__pool *pool, achar__function *function, achar__block *args,
                               const size_t *ends, size_t call_count, achar__stretch_map *map,
                               achar__task **out);
/* How many calls a finished piece has: RETURNED, as many records (may be 0); else those it failed. */
size_t achar__task_call_count(const achar__task *piece);
/* The piece after a finished one, or NULL: the caller's own reference, which it had already. */
achar__task *achar__task_next_piece(achar__task *piece);
/* Releases this piece and those behind it; 'cancel': what has not been started of them is cancelled.
 * NULL does nothing. */
void achar__stretch_drop(achar__task *piece, bool cancel);

achar__task *achar__task_retain(achar__task *task);
void achar__task_release(achar__task *task);

/* The state now. Once finished it does not change. */
enum achar__task_state achar__task_state_of(achar__task *task);

/*
 * achar__task_wait() returns ACHAR_OK once the task is finished; ACHAR_E_TIMEOUT after 'timeout_ns'
 * (negative: no limit; CLOCK_MONOTONIC); ACHAR_E_INTERRUPTED when a signal handler ran, so that the
 * caller can look and call again.
 */
int achar__task_wait(achar__task *task, int64_t timeout_ns);

/* 1: it had not been started and is cancelled now (or already was); 0: too late. */
int achar__task_cancel(achar__task *task);
/*
 * The same for a task that runs, too: it is told to end (SIGALRM), and killed with its worker when it
 * has not ACHAR__OVERDUE_GRACE_NS later. 1: it is, or will be when it has ended, CANCELLED, and is not
 * tried again; 0: it had ended. Does not wait.
 */
int achar__task_cancel_by_force(achar__task *task);

/* How a task failed that was tried again. */
typedef struct achar__attempt {
    enum achar__task_state state; /* RAISED, LOST, OVERDUE */
    achar__death death;           /* LOST, OVERDUE */
} achar__attempt;

typedef struct achar__task_result {
    enum achar__task_state state;
    const void *bytes; /* NULL unless RETURNED or RAISED; valid while the caller holds the task */
    size_t nbytes;
    achar__death death;    /* LOST, OVERDUE, and ABANDONED because workers cannot start */
    int64_t time_limit_ns; /* as submitted */
    const struct achar__attempt *attempts; /* that failed before; valid while the task is held */
    unsigned attempt_count;
    achar__task *task; /* itself */
    uint32_t kind;     /* as given to achar__pool_put(), achar__worker_set_result_kind(); else 0 */
    /* The arguments, where the result refers to them (achar__worker_keep_args()); else NULL. */
    const void *kept;
    size_t kept_nbytes;
    achar__task *cause; /* INPUT_FAILED: the task where it began; valid while the task is held */
    /* Of a dead worker whose output the pool reads: the end of its standard error; else NULL. Valid
     * while the task is held. */
    const char *last_words;
} achar__task_result;
/* Only of a finished task. */
void achar__task_result_of(achar__task *task, achar__task_result *out);
/* achar__window_open() for a part of those bytes, or of those kept; the caller holds the task until achar__window_close(). */
bool achar__task_open(achar__task *task, const void *bytes, size_t nbytes, achar__window *window);

/*
 * Watching: a Python thread sleeps in achar__pool_next_watched() and runs callbacks.
 * achar__task_watch() asks that the task be handed out there once it is finished, with 'user' as
 * achar__task_user(). 1: it will be; 0: it is finished already and will not be. Once per task.
 */
int achar__task_watch(achar__task *task, void *user);
void *achar__task_user(achar__task *task);
/* ACHAR_OK and a new reference; ACHAR_E_TIMEOUT; ACHAR_E_INTERRUPTED; ACHAR_E_CLOSED once the pool
 * is stopped and no watched task is left. */
int achar__pool_next_watched(achar__pool *pool, int64_t timeout_ns, achar__task **out);

/*
 * Each worker inherits, as descriptor 6, a socket of its own (AF_UNIX, SOCK_SEQPACKET), its door; what
 * it sends there is for the caller to take. This descriptor is readable while something has arrived,
 * and for good once the pool is stopped. The pool's; -1: it has no doors.
 */
int achar__pool_door(const achar__pool *pool);
/* A packet that a worker has sent, with the first descriptor in it. Nothing of it is to be believed but 'worker'. */
typedef struct achar__arrival {
    unsigned worker; /* which process of the pool, from 1; no two are the same */
    int fd;          /* the caller's; -1: none came with it */
    size_t nbytes;
    unsigned char hello[64]; /* its first bytes */
} achar__arrival;
/* ACHAR_OK; ACHAR_E_TIMEOUT: there is none now; ACHAR_E_IO: no descriptor is left, and it waits;
 * ACHAR_E_CLOSED. What the dead had sent is still there. Never blocks. */
int achar__pool_take_arrival(achar__pool *pool, achar__arrival *out);
bool achar__pool_has_arrivals(achar__pool *pool);

/* What workers have written, as far as the pool reads it (ACHAR__OUTPUT_DELIVER); see output.h. */
enum achar__output_kind {
    ACHAR__OUTPUT_TEXT,    /* whole lines of one task; the last of a stream may have no end */
    ACHAR__OUTPUT_RECORD,  /* what the worker has sent as ACHAR__FRAME_RECORD */
    ACHAR__OUTPUT_DROPPED, /* nobody took output for so long that some was thrown away */
};
typedef struct achar__output_piece {
    struct achar__output_piece *next;
    enum achar__output_kind kind;
    unsigned worker; /* its place, from 0 */
    int pid;
    int descriptor;  /* 1 or 2 */
    uint32_t number; /* of the task in the pool, from 1; 0: none */
    const char *data, *name;
    size_t nbytes, name_nbytes;             /* of the task's name: 0: unknown */
    uint64_t dropped_count, dropped_nbytes; /* lines and bytes */
} achar__output_piece;
/* Waits until there is some; the caller frees it. ACHAR_E_CLOSED: there is none and will be none;
 * ACHAR_E_TIMEOUT, _E_INTERRUPTED, _E_INVALID (another mode). */
int achar__pool_take_output(achar__pool *pool, int64_t timeout_ns, achar__output_piece **out);
void achar__output_pieces_free(achar__output_piece *pieces);
/*
 * Waits until what the worker of a finished task had sent in frames by its end has been taken, and whoever
 * takes it has come back for more; at most 'timeout_ns' (negative: no limit), and until nothing of it has
 * been taken for a moment. After that nobody waits until something is taken again.
 */
void achar__task_await_output(achar__task *task, int64_t timeout_ns);
/* False: there is nothing to wait for. Of a finished task; takes no lock. */
bool achar__task_may_have_output(const achar__task *task);

/* No more submits; workers leave when nothing is queued. Does not block. Idempotent. */
void achar__pool_close(achar__pool *pool);
/* Cancels all that has not been started; returns how many. */
size_t achar__pool_cancel_queued(achar__pool *pool);
/*
 * achar__pool_interrupt() ends at once what was submitted so far, and the pool goes on: what no worker
 * has started is CANCELLED, workers that run a task are killed (SIGKILL; it is LOST) and replaced.
 * Returns how many were cancelled.
 */
size_t achar__pool_interrupt(achar__pool *pool);
/* Kills the workers (SIGKILL); unfinished tasks become ABANDONED. Implies close. Does not block long. */
void achar__pool_kill(achar__pool *pool);
/* Waits until the pool is closed, all tasks are finished and all workers are gone (those that do not
 * leave by themselves within a grace period are killed). ACHAR_OK, _E_TIMEOUT, _E_INTERRUPTED. */
int achar__pool_join(achar__pool *pool, int64_t timeout_ns);
/* Kills what is left and frees. Tasks that the caller still holds stay readable. */
void achar__pool_release(achar__pool *pool);

/* Shared memory that is in use: in blocks, with what rounding adds. */
typedef struct achar__pool_usage {
    size_t client_nbytes;  /* arguments, functions, what was put, results that are inputs */
    size_t workers_nbytes; /* results, as far as the living workers have told */
    size_t spilled_nbytes; /* of client_nbytes: in the file */
} achar__pool_usage;
achar__pool_usage achar__pool_usage_of(achar__pool *pool);

/* Calls since the pool was made: tasks, and the calls of stretches. */
typedef struct achar__pool_progress {
    uint64_t submitted, ended;
    uint64_t failed; /* of the ended: that did not return */
} achar__pool_progress;
achar__pool_progress achar__pool_progress_of(achar__pool *pool);

/*
 * Waiting for memory: achar__pool_room() before a call that then says ACHAR_E_LIMIT or ACHAR_E_NOMEM, and
 * achar__pool_await_room() with what it was, and how much could not be had in one block. ACHAR_OK: something
 * has been freed since, try again; ACHAR_E_LIMIT: what tasks may free is not enough; ACHAR_E_TIMEOUT: nothing
 * was freed for the pool's room limit; ACHAR_E_CLOSED; ACHAR_E_INTERRUPTED.
 */
uint32_t achar__pool_room(achar__pool *pool);
int achar__pool_await_room(achar__pool *pool, uint32_t seen, size_t needed_nbytes);

/*
 * For tests of what is promised when nothing is slow: from now on a task that was told to end is killed only so
 * much later, a result waits so long for the text before it, text that nobody takes is kept so long, and a worker
 * may look so long at what it was given. They must not depend on whether every thread gets a processor in time.
 */
void achar__pool_be_patient(achar__pool *pool, int64_t patience_ns);

/* The living workers' pids; returns how many there are (may be more than 'capacity'). */
size_t achar__pool_pids(achar__pool *pool, int *pids, size_t capacity);

#endif
