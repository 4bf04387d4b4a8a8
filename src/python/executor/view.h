/*
 * view.h - a stretch of shared memory as a Python object, for as long as someone looks at it.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_VIEW_H
#define ACHAR_PYTHON_EXECUTOR_VIEW_H

#include "python/executor/packed.h"

/*
 * A buffer of [offset, offset + nbytes) of the block that begins at 'block'. 'writable': this process's own,
 * page by page as it writes; else read-only. Where that cannot be had, a copy. NULL with an exception set.
 */
PyObject *view_new(module_state *st, const packed_place *place, const void *block, size_t offset,
                   size_t nbytes, int writable);

/* Lets go of what forked processes could look at that have ended since. */
void view_sweep(const module_state *st);

int view_exec(PyObject *module, module_state *st);

#endif
