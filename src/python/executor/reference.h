/*
 * reference.h - objects that Executor.put() has stored: written once, read where they stand.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_REFERENCE_H
#define ACHAR_PYTHON_EXECUTOR_REFERENCE_H

#include "python/executor/executor.h"

/* The kind of achar__pool_put(). */
#define REFERENCE_KIND 1u

/* Stores 'object'; a new reference to a task, or NULL with an exception set. */
achar__task *reference_put(module_state *st, pool_object *p, PyObject *object);

/*
 * The object that is stored in 'bytes'. Its large buffers are read-only views of them; in the client
 * they hold 'task' and its 'pool', in a worker (both NULL) they pin the bytes. NULL with an exception.
 */
PyObject *reference_read(module_state *st, PyObject *pool, achar__task *task, const void *bytes,
                         size_t nbytes);

int reference_exec(PyObject *module, module_state *st);

#endif
