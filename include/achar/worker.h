/*
 * worker.h - C programs that do tasks: what they offer, a client calls by name.
 *
 *     static int add(achar_job *job, void *opaque)
 *     {
 *         int64_t sum = achar_int64(achar_job_arg(job, 0)) + achar_int64(achar_job_arg(job, 1));
 *         achar_job_return(job, achar_job_result(job), achar_make_int(sum));
 *         return ACHAR_OK;
 *     }
 *
 *     int main(void)
 *     {
 *         achar_worker *worker = NULL;
 *         if (achar_worker_open(&worker) != ACHAR_OK)
 *             return 2;
 *         achar_worker_register(worker, "add", add, NULL);
 *         achar_worker_run(worker);
 *         achar_worker_close(worker);
 *     }
 *
 * Such a program is started by its client: in Python achar.Executor(program=["./adder"]), then
 * submit("add", 1, 2); in C achar_pool_open() (client.h). It maps no libpython. A task that crashes
 * the program fails alone: the client sees how the process ended, starts another, and goes on.
 *
 * A process is one worker, and all functions are to be called from the thread that opened it; a task
 * may have threads of its own for as long as it runs.
 */
#ifndef ACHAR_WORKER_H
#define ACHAR_WORKER_H

#include <achar/build.h>
#include <achar/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* achar_worker is this process as a worker. */
typedef struct achar_worker achar_worker;

/* achar_job is one task while it runs: its arguments, and what it gives back. */
typedef struct achar_job achar_job;

/*
 * achar_job_function is what does a task. It returns ACHAR_OK after achar_job_return() (without it the
 * result is None), or what achar_job_raise() returned. Any other number, an achar status for example,
 * is told to the client as a RuntimeError that names it. The job, its graphs and their values are good until
 * the function returns.
 */
typedef int (*achar_job_function)(achar_job *job, void *opaque);

/* ---- the worker ---- */

/*
 * achar_worker_open() attaches this process to the client that started it. To be called first of all,
 * before there are other threads. It handles SIGALRM from then on, which tells of a task's time limit.
 *
 * ACHAR_E_INVALID: no client started this process, or one of another version of achar.
 * ACHAR_E_CLOSED: the client is gone already. ACHAR_E_NOMEM, ACHAR_E_IO.
 */
ACHAR_API int achar_worker_open(achar_worker **out);

/*
 * achar_worker_register() offers 'function' as the task 'name', NUL-terminated UTF-8, copied. 'opaque'
 * is passed to it. The last registration of a name counts. ACHAR_E_INVALID for a NULL name or
 * function, ACHAR_E_NOMEM.
 */
ACHAR_API int achar_worker_register(achar_worker *worker, const char *name,
                                    achar_job_function function, void *opaque);

/*
 * achar_worker_run() does tasks until the client has no more; then it returns ACHAR_OK. Standard output
 * is flushed after each task. If the client dies, this process is killed.
 */
ACHAR_API int achar_worker_run(achar_worker *worker);

/* achar_worker_close() detaches. NULL does nothing. */
ACHAR_API void achar_worker_close(achar_worker *worker);

/* ---- a task ---- */

/* achar_job_name() is the name that the task was called by. */
ACHAR_API const char *achar_job_name(const achar_job *job);

/*
 * achar_job_arg_count() is the number of positional arguments; achar_job_arg() is one, counted from 0,
 * and achar_job_keyword() the one that was passed under 'name'. ACHAR_NOTHING where there is none.
 *
 * Arguments are read in place: text and bytes are not copied, and what only Python could make is an
 * ACHAR_CALL (shapes.h takes the well-known ones apart). Where the client passed a future, its task's
 * result is the argument.
 */
ACHAR_API size_t achar_job_arg_count(const achar_job *job);
ACHAR_API achar_value achar_job_arg(achar_job *job, size_t index);
ACHAR_API achar_value achar_job_keyword(achar_job *job, const char *name);

/*
 * achar_job_input() is what a future deep inside an argument stands for: the root of its task's result,
 * which has a graph of its own. Any other value is returned as it is. ACHAR_NOTHING if the result cannot be
 * read.
 */
ACHAR_API achar_value achar_job_input(achar_job *job, achar_value value);

/* achar_job_arguments() is the graph of the arguments, achar_job_result() an empty one to build the
 * result in. Both are the job's. */
ACHAR_API achar_graph *achar_job_arguments(achar_job *job);
ACHAR_API achar_graph *achar_job_result(achar_job *job);

/*
 * achar_job_return() says that 'value' of 'graph' is the result; the last call counts. 'graph' is
 * achar_job_result(), or achar_job_arguments() to give back an argument. It is written when the function
 * has returned ACHAR_OK; if it cannot be, the task fails with the reason.
 */
ACHAR_API void achar_job_return(achar_job *job, achar_graph *graph, achar_value value);

/*
 * achar_job_raise() makes the task fail with an exception: 'type' is "ValueError" or another of Python's
 * own, or "module:Type" of a module that the client can import (a client that cannot sees
 * achar.RemoteError with the same text); the message is made from 'format' as printf() does, in
 * UTF-8. Returns what the function is to return, which is not ACHAR_OK. The last call counts.
 */
ACHAR_API int achar_job_raise(achar_job *job, const char *type, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/*
 * achar_job_should_stop() is 1 once the task's time limit has passed, or it was cancelled by force. A
 * task that then returns an error, within a second, saves its process; one that does not is killed.
 * Blocking system calls fail with EINTR at that moment. Any thread.
 */
ACHAR_API int achar_job_should_stop(const achar_job *job);

#ifdef __cplusplus
}
#endif
#endif
