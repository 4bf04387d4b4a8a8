/*
 * worker_loop.h - what the parts of a worker's loop share: taking tasks, stretches, giving back.
 */
#ifndef ACHAR_PYTHON_WORKER_LOOP_H
#define ACHAR_PYTHON_WORKER_LOOP_H

#include "python/executor/packed.h"
#include "runtime/pool/worker.h"
#include <sys/resource.h>

/* Reusable functions, found by id; ids count up, so the newest FUNCTION_SLOTS are kept. */
#define FUNCTION_SLOTS 256

typedef struct worker_loop {
    module_state *st;
    achar__worker *worker;
    wire_memory memory;
    PyObject *describe;   /* achar._worker.describe(exception): (type, text, traceback) */
    PyObject *unreadable; /* achar._worker.unreadable(what, exception): an exception */
    PyObject *failure;    /* the initializer's exception, which every task raises; or NULL */
    PyObject *flush;      /* the str "flush" */
    PyObject *
        telling[2]; /* sys.stdout and sys.stderr, which call worker_prints(); NULL: others do not */
    int keeps;      /* the client reads results that refer to arguments */
    int flush_failed;    /* said once */
    rlim_t memory_limit; /* RLIMIT_AS at start */
    int is_short; /* a task has lowered it, and ran out of memory: others need a new worker */
    struct {
        uint64_t id;
        PyObject *function;
    } functions[FUNCTION_SLOTS];
} worker_loop;

/* What a task printed is out before its end is told. Streams that tell of writes are left alone without. */
void worker_flush_output(worker_loop *loop);

/* 0: told. -1: nothing was told, and an exception says why. */
int worker_give_result(worker_loop *loop, PyObject *result);

/* Tells the end of a task that raised; takes over 'exception'. 0; -1: the client has gone. */
int worker_give_exception(worker_loop *loop, PyObject *exception);

/* Tells an end with the bytes of 'ws'. 0; -1: nothing was told, and an exception says why. */
int worker_finish(worker_loop *loop, enum achar__task_state state, wire_sink *ws);

/* Appends an exception, or a report of one that cannot be pickled. 0; -1 with an exception set. */
int worker_write_exception(worker_loop *loop, PyObject *exception, wire_sink *ws);

/* RLIMIT_AS, and whether 'exception' says that a task has lowered it and felt that. */
rlim_t worker_memory_limit(void);
void worker_look_at_limit(worker_loop *loop, PyObject *exception);

/* What the client has sent; what goes wrong is told as an exception of achar's that names 'what'. */
PyObject *worker_load(worker_loop *loop, const char *what, uint32_t kind, const void *bytes,
                      size_t nbytes);

/* The function to call: a new reference, or NULL with an exception set. */
PyObject *worker_function(worker_loop *loop, const achar__assignment *a);

/* From begin to end, worker_task() knows what runs. */
void worker_begin_task(worker_loop *loop, PyObject *function);
void worker_end_task(worker_loop *loop);

/*
 * The calls of a stretch, as far as they are this worker's. What they print is out before the end of
 * the stretch is told. 0; -1: the client has gone.
 */
int worker_run_stretch(worker_loop *loop, const achar__assignment *a);

#endif
