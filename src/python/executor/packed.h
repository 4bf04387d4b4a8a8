/*
 * packed.h - a pickle with its large buffers beside it, in shared memory: what Executor.put() stores, and
 * how large arguments and results travel.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_PACKED_H
#define ACHAR_PYTHON_EXECUTOR_PACKED_H

#include "python/executor/executor.h"
#include "runtime/pool/worker.h"

/* What the bytes of arguments and results are: the kind of wire.h's descriptors. */
enum {
    PACKED_NOT = 0,   /* a pickle and nothing else */
    PACKED_REFERENCE, /* packed; who reads it may not write: all see the same */
    PACKED_OWN,       /* packed; whoever reads it has it for itself */
    PACKED_KEEPING, /* the same of a result, which has buffers that stand in its task's arguments */
};

/* The buffers of one dump. */
typedef struct packed_buffers {
    PyObject **items;
    size_t count, capacity;
    size_t least_nbytes; /* smaller ones stay in the pickle */
} packed_buffers;

#define PACKED_LEAST_NBYTES ((size_t)1 << 18)

/* saver_options.take_buffer, with a packed_buffers as its context. */
int packed_take(void *context, PyObject *buffer, const Py_buffer *view);
/*
 * What was taken goes behind the pickle, which is all that 'ws' has: the buffers, and a table of them.
 * Lets the GIL go. Returns what the bytes are then ('kind', or PACKED_NOT where nothing was taken), or -1
 * with an exception set.
 */
int packed_finish(packed_buffers *taken, wire_sink *ws, int kind);
/*
 * The same for the result of the worker's task. What of its buffers stands in the arguments as it came is not
 * copied, if that is about half of them or more, which stay then: PACKED_KEEPING.
 */
int packed_finish_result(packed_buffers *taken, wire_sink *ws, achar__worker *worker);
void packed_clear(packed_buffers *taken);

/* Where packed bytes stand. All NULL: in private memory, for the time of the call. */
typedef struct packed_place {
    PyObject *pool; /* the client: what was made of them holds both */
    achar__task *task;
    achar__worker *worker; /* a worker: arguments or inputs of the current task */
    const void *kept;      /* PACKED_KEEPING: the arguments */
    size_t kept_nbytes;
    PyObject *owner;      /* what has them otherwise */
    int owner_is_private; /* the owner's memory may be written: who reads has it for itself */
} packed_place;

/* The object that 'bytes' are; NULL with an exception set. Bytes that make no sense are an exception, too. */
PyObject *packed_read(module_state *st, const packed_place *place, uint32_t kind, const void *bytes,
                      size_t nbytes);

/* (kind, bytes) as they can be read anywhere: what PACKED_KEEPING refers to is in them. */
PyObject *packed_bytes(const achar__task_result *r);

/* Stores what a task has packed, see _nested.py; as packed_put(). */
achar__task *packed_put_bytes(pool_object *p, PyObject *bytes);

/* Stores 'object' (Executor.put()); a new reference to a task, or NULL with an exception set. */
achar__task *packed_put(module_state *st, pool_object *p, PyObject *object);

int packed_exec(PyObject *module, module_state *st);

#endif
