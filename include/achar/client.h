/*
 * client.h - C programs that have tasks done, by Python workers or by C workers.
 *
 *     achar_pool *pool = NULL;
 *     achar_task *task = NULL;
 *     achar_graph *args = achar_graph_new(NULL);
 *     achar_value items[] = {achar_make_int(10), achar_make_int(3)};
 *     achar_set_root(args, achar_make_tuple(args, items, 2));
 *
 *     achar_pool_open(NULL, &pool, &error);
 *     achar_pool_submit(pool, "math:comb", args, achar_nothing(), NULL, &task, &error);
 *     if (achar_task_wait(task, -1) == ACHAR_OK)
 *         printf("%lld\n", (long long)achar_int64(achar_task_result(task)));
 *     else
 *         printf("%s\n", achar_task_failure(task)->message);
 *
 * The pool starts its worker processes itself and replaces those that die; a task that kills its worker
 * fails alone. Arguments and results go through shared memory. No port is opened, and when the client
 * ends, however it ends, its workers end, too.
 *
 * A pool may be used by any number of threads at once; a task's result by one at a time. After fork()
 * the child cannot use them: calls return ACHAR_E_CLOSED.
 */
#ifndef ACHAR_CLIENT_H
#define ACHAR_CLIENT_H

#include <achar/build.h>
#include <achar/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- pools ---- */

/* achar_pool is a number of worker processes, and the tasks that wait for them. */
typedef struct achar_pool achar_pool;

/* achar_pool_options: all zero, or a NULL pointer, is the default. Everything is copied. */
typedef struct achar_pool_options {
    const char *python;             /* the interpreter that workers run; it must have achar.
                                       NULL: "python3". Without a '/' it is looked for in PATH */
    const char *const *python_path; /* folders that come first on the workers' sys.path, NULL at the
                                       end; NULL: none */
    const char *const *program;     /* not NULL: the command line of a C worker (worker.h), NULL at
                                       the end, instead of Python */
    unsigned worker_count;         /* 0: as many as this process may use processors; at most 1024 */
    unsigned max_tasks_per_worker; /* then a worker is replaced. 0: no limit */
} achar_pool_options;

/*
 * achar_pool_open() starts a pool; its workers start in the background. They have the client's folder,
 * environment, standard output and standard error, and no other descriptors of it.
 *
 * ACHAR_E_INVALID; ACHAR_E_NOMEM; ACHAR_E_IO, with errno. 'error' (may be NULL) says more. A program
 * that cannot be started is told by the tasks: ACHAR_E_NO_WORKERS.
 */
ACHAR_API int achar_pool_open(const achar_pool_options *options, achar_pool **out,
                              achar_error *error);

/*
 * achar_pool_close() waits until all submitted tasks have ended, ends the workers, and frees the pool.
 * Tasks that the caller still has stay readable. NULL does nothing.
 */
ACHAR_API void achar_pool_close(achar_pool *pool);

/* achar_pool_kill() ends all workers at once. Unfinished tasks fail with ACHAR_E_CLOSED, and nothing
 * can be submitted any more. */
ACHAR_API void achar_pool_kill(achar_pool *pool);

/* ---- tasks ---- */

/* achar_task is a task that was submitted. */
typedef struct achar_task achar_task;

/* achar_task_options: all zero, or a NULL pointer, is the default. */
typedef struct achar_task_options {
    int64_t time_limit_ns; /* that it may run, from when a worker starts it. 0: none */
    unsigned
        retry_count;    /* how often it is tried again when it failed, ran out of time, or lost its
                              worker; at most 1000 */
    int64_t backoff_ns; /* before the first retry; each time twice as long */
    int priority;       /* -100 to 100; higher goes first among those that wait */
} achar_task_options;

/*
 * achar_pool_submit() has a worker call 'function'. For Python workers that is "module:name", where the
 * name may be dotted ("os.path:join", "json:JSONEncoder.encode"); for C workers the name that
 * achar_worker_register() gave it.
 *
 * The root of 'arguments' is the tuple of positional arguments; NULL: none. 'keywords' is a dict of
 * the same graph with the others, or achar_nothing(). The graph is written at once: it stays the
 * caller's, unchanged, and may be used again.
 *
 * Does not wait. '*out' is the caller's, to free with achar_task_free(). ACHAR_E_INVALID for a name
 * without ':' or options out of range; ACHAR_E_TYPE where the root is no tuple or the keywords no
 * dict; what achar_write() may return; ACHAR_E_CLOSED after achar_pool_kill(); ACHAR_E_NOMEM and ACHAR_E_LIMIT where
 * shared memory does not suffice. 'error' may be NULL.
 */
ACHAR_API int achar_pool_submit(achar_pool *pool, const char *function, achar_graph *arguments,
                                achar_value keywords, const achar_task_options *options,
                                achar_task **out, achar_error *error);

/*
 * achar_task_wait() waits until the task has ended, at most 'timeout_ns' (0: only looks; negative: no
 * limit). ACHAR_OK: it returned, and achar_task_result() is what. Else achar_task_failure() says more:
 *
 *     ACHAR_E_RAISED        it raised an exception
 *     ACHAR_E_WORKER_DIED   its worker's process ended
 *     ACHAR_E_OVERDUE       its time limit passed
 *     ACHAR_E_CANCELLED     it was cancelled
 *     ACHAR_E_NO_WORKERS    no worker can be started
 *     ACHAR_E_CLOSED        the pool was killed
 *
 * or, for what it returned and this process cannot read, achar_read()'s codes. ACHAR_E_TIMEOUT: it has
 * not ended yet. ACHAR_E_INTERRUPTED: nor has it, and a signal handler ran; look and call again.
 */
ACHAR_API int achar_task_wait(achar_task *task, int64_t timeout_ns);

/* achar_task_result() is what the task returned, good until the task is freed; ACHAR_NOTHING until
 * achar_task_wait() has said ACHAR_OK. achar_task_graph() is its graph. */
ACHAR_API achar_value achar_task_result(const achar_task *task);
ACHAR_API achar_graph *achar_task_graph(const achar_task *task);

/* achar_failure says how a task failed. Its texts are UTF-8, never NULL, and the task's. */
typedef struct achar_failure {
    int status;          /* what achar_task_wait() returned */
    const char *type;    /* of the exception, as Python prints it ("ValueError"); "" without one */
    const char *message; /* its text; else what happened, in a line */
    const char *traceback; /* the remote traceback, many lines; "" without one */
    int pid;               /* the worker that died, or 0 */
    int exit_code;         /* its; -1 if a signal ended it, or there was none */
    int signal;            /* that ended it, or 0 */
} achar_failure;

/* achar_task_failure() is how the task failed; NULL while achar_task_wait() has not told of a
 * failure. Good until the task is freed. */
ACHAR_API const achar_failure *achar_task_failure(const achar_task *task);

/*
 * achar_task_cancel() cancels a task that no worker has started; with 'force' not 0 also one that runs:
 * it is told to end, and killed with its worker a second later. Does not wait. Returns 1 if the task is
 * or will be cancelled, 0 if it is too late.
 */
ACHAR_API int achar_task_cancel(achar_task *task, int force);

/* achar_task_free() frees the task and its result. One that has not ended goes on. NULL does
 * nothing. */
ACHAR_API void achar_task_free(achar_task *task);

#ifdef __cplusplus
}
#endif
#endif
