/*
 * worker.h - the worker's side of the task path: attach, take a task, give back its result.
 *
 * The mirror of pool.h. A worker program calls achar__worker_attach() first of all (the pool has
 * left it the numbers of its inherited descriptors in the environment variable ACHAR_WORKER),
 * then loops over achar__worker_next() and achar__worker_finish(). All calls from one thread.
 */
#ifndef ACHAR_RUNTIME_WORKER_H
#define ACHAR_RUNTIME_WORKER_H

#include "runtime/pool/pool.h"
#include "runtime/shm/window.h"

typedef struct achar__worker achar__worker;

/*
 * achar__worker_attach() maps the regions, closes their descriptors, removes ACHAR_WORKER from the
 * environment and arranges that the client's death ends this process. ACHAR_E_INVALID where this
 * process was not started by a pool.
 */
int achar__worker_attach(achar__worker **out);

/* The pool's hello bytes; valid for the life of the worker. */
const void *achar__worker_hello(achar__worker *worker, size_t *nbytes);

typedef struct achar__assignment {
    uint64_t function_id;    /* equal ids mean equal bytes; never reused */
    uint32_t function_flags; /* as given to achar__pool_function() */
    const void *function;    /* valid until achar__worker_finish() */
    size_t function_nbytes;
    const void *args; /* valid until achar__worker_finish() */
    size_t args_nbytes;
    uint32_t args_kind; /* as given to achar__pool_submit() */
    size_t call_count;  /* a stretch of so many calls: 'args' is as many records; 0: one call */
    size_t input_count;
} achar__assignment;

/*
 * achar__worker_next() waits for a task. Its start is published before it returns. The first call
 * also tells the pool that this worker is ready. ACHAR_E_CLOSED: leave; ACHAR_E_INTERRUPTED: a
 * signal handler ran, look and call again; ACHAR_E_TIMEOUT ('timeout_ns' negative: no limit).
 */
int achar__worker_next(achar__worker *worker, int64_t timeout_ns, achar__assignment *out);

/*
 * The result of the current task's input number 'index'; valid until achar__worker_finish(). 'kind' is
 * as given to achar__pool_put(). False: there is no such input.
 */
bool achar__worker_input(achar__worker *worker, size_t index, const void **bytes, size_t *nbytes,
                         uint32_t *kind);

/* The arguments that this result refers to (achar__worker_keep_args()), valid as long; NULL: it does not. */
const void *achar__worker_input_kept(achar__worker *worker, size_t index, size_t *nbytes);

/*
 * Keeps an input's bytes, as achar__worker_input() has shown them, readable beyond the task's end, until
 * as many achar__worker_unpin(); also arguments whose kind is not 0. Before the task's end. False: too
 * many are pinned.
 */
bool achar__worker_pin(achar__worker *worker, const void *bytes);
void achar__worker_unpin(achar__worker *worker, const void *bytes);
/* achar__window_open() for arguments or inputs, which are pinned meanwhile; achar__window_close() first. */
bool achar__worker_open(achar__worker *worker, const void *bytes, size_t nbytes,
                        achar__window *window);

/*
 * For a handler of SIGALRM: is it because of the current task's time limit? OVERDUE: the task should
 * end now, and is killed with its worker if it does not; CANCELLED: the same, because it was cancelled
 * by force. WAS_OVERDUE: it has ended just before. Else the signal is none of the pool's. Each is told
 * once.
 */
enum achar__overdue {
    ACHAR__NOT_OVERDUE = 0,
    ACHAR__WAS_OVERDUE,
    ACHAR__OVERDUE,
    ACHAR__CANCELLED
};
enum achar__overdue achar__worker_is_overdue(achar__worker *worker);
/* Text has been sent in frames. */
void achar__worker_wrote(achar__worker *worker, size_t nbytes);

/* The number, in the pool, of the task or call that it is working on; 0: none. */
uint32_t achar__worker_task_number(const achar__worker *worker);

/* Somebody keeps a journal: achar__worker_set_error() is worth the while. */
bool achar__worker_wants_errors(const achar__worker *worker);
/* What the current task, or the call that is about to end, has raised, in a line of UTF-8; it is copied
 * and may be cut. */
void achar__worker_set_error(achar__worker *worker, const char *text, size_t nbytes);

/*
 * Whether 'bytes' are what stands in the current task's arguments at '*offset': in a window, where nobody has
 * written into it, and at the beginning of a page. Then the result need not have a copy of them:
 * achar__worker_keep_args() has the arguments stay for as long as the result does.
 */
size_t achar__worker_args_nbytes(const achar__worker *worker);
bool achar__worker_find_in_args(achar__worker *worker, const void *bytes, size_t nbytes,
                                size_t *offset);
/* Whether the client has the room for that, or this worker has none for a copy of so much. */
bool achar__worker_should_keep_args(const achar__worker *worker, size_t copy_nbytes);
/* Before achar__worker_finish(); it is of no consequence unless the task returns. */
void achar__worker_keep_args(achar__worker *worker);

/* Whether OVERDUE or CANCELLED has been told of the current task. */
bool achar__worker_was_told_to_end(const achar__worker *worker);
/* Whether it was OVERDUE. */
bool achar__worker_is_over_its_limit(const achar__worker *worker);
/* How long ago it began. */
int64_t achar__worker_task_age_ns(const achar__worker *worker);

/* Blocks of this worker's own region, for the result; as in pool.h. */
int achar__worker_block_reserve(achar__worker *worker, size_t nbytes, achar__block *out);
int achar__worker_block_grow(achar__worker *worker, achar__block *block, size_t used,
                             size_t nbytes);
void achar__worker_block_free(achar__worker *worker, achar__block *block);

/*
 * achar__worker_finish() ends the current task as RETURNED or RAISED with the first 'nbytes' of
 * 'block', which goes over to the pool. 'block' may be NULL where 'nbytes' is 0: so a worker that
 * cannot reserve even a small block can still end its task (the client then sees no bytes).
 */
int achar__worker_finish(achar__worker *worker, enum achar__task_state state, achar__block *block,
                         size_t nbytes);
/* What the current task ends with, in the caller's terms; the client sees it. 0 until it is said. */
void achar__worker_set_result_kind(achar__worker *worker, uint32_t kind);

/*
 * The calls of a stretch, one after the other: begin_call(), write the call's record at the end of
 * the results, end_call(). achar__worker_begin_call() says ACHAR_E_CLOSED when there are no more, or
 * when the others are for other workers; then achar__worker_finish_stretch() ends the task.
 */
int achar__worker_begin_call(achar__worker *worker);
/* Makes the results block at least 'nbytes' large and keeps its first 'used' bytes; '*block' shows
 * it, and stays the worker's. ACHAR_E_NOMEM, ACHAR_E_LIMIT: it is as it was. */
int achar__worker_results(achar__worker *worker, size_t used, size_t nbytes, achar__block *block);
/* The record of the call stands in the results, before 'used'. */
void achar__worker_end_call(achar__worker *worker, size_t used);
int achar__worker_finish_stretch(achar__worker *worker);

void achar__worker_detach(achar__worker *worker);

#endif
