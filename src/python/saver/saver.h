/*
 * saver.h - the engine that turns Python objects into pickle bytes; one for the strict module and
 * for achar.dumps.
 *
 * The saver walks with an explicit stack of frames (no C recursion), so that nesting is bounded by
 * memory and the path to an object is known at every moment. In strict mode it counts frames
 * against the interpreter's recursion budget and raises RecursionError where _pickle would.
 */
#ifndef ACHAR_PYTHON_SAVER_H
#define ACHAR_PYTHON_SAVER_H

#include "python/state.h"

/*
 * A sink is contiguous memory that grows. The saver writes between 'end_used' and 'capacity' and
 * calls grow() when it needs more. grow() makes 'data' at least 'capacity_nbytes' large, keeping
 * the first 'used' bytes; the memory may move. It may neither run Python code nor release the GIL:
 * the saver borrows what it is writing. 0, or -1 with an exception set.
 */
typedef struct saver_sink {
    char *data;
    size_t used;
    size_t capacity;
    int (*grow)(struct saver_sink *sink, size_t capacity_nbytes);
    void *context;
} saver_sink;

typedef struct saver_options {
    int protocol;    /* 0..5; -1: highest; the caller has validated it */
    int fix_imports; /* only below protocol 3 */
    int superset;    /* 0: achar.pickle; 1: by-value code, deep nesting, errors with paths */
    PyObject *buffer_callback; /* borrowed; NULL: in band */
    /*
     * In place of buffer_callback, from C: 1, the buffer stands out of band and the callee has it; 0, in
     * band; -1 with an exception set. Runs no Python code.
     */
    int (*take_buffer)(void *context, PyObject *buffer, const Py_buffer *view);
    void *take_context;
    int fresh_locks;   /* superset: locks are made anew, not refused */
    int deterministic; /* superset: equal objects, equal bytes, in every process */
    int portable;      /* superset: the stream needs nothing but the standard library */
    int with_source;   /* superset: functions take their source along */
    PyObject *log;     /* superset, borrowed: what byvalue_observe() says; NULL: none */
    PyObject *skip;
    /*
     * How the root is called in error paths ("obj" if NULL). If root_items is not NULL the root is a
     * tuple, and its items are called root_items[0], root_items[1], … (NULL-terminated): a task is
     * dumped as (args, kwargs) with {"args", "kwargs", NULL}.
     */
    const char *root_name;
    const char *const *root_items;
} saver_options;

/* What a finished dump tells its caller. */
typedef struct saver_report {
    /*
     * 1 if nothing in the stream is mutable state that a call could change and another would see:
     * the unpickled object may be used for several calls. Conservative: 0 when in doubt.
     */
    int reusable;
} saver_report;

/*
 * saver_dump_into() writes the pickle of 'obj' at the end of 'sink'. 'report' may be NULL.
 * 0, or -1 with an exception set; then the sink's bytes past its old 'used' are undefined and
 * 'used' is as it was. Runs Python code.
 */
int saver_dump_into(module_state *st, PyObject *obj, const saver_options *options, saver_sink *sink,
                    saver_report *report);

/* saver_dumps() is the same into a new bytes object; NULL with an exception set. */
PyObject *saver_dumps(module_state *st, PyObject *obj, const saver_options *options);

#endif
