/*
 * map.h - Executor.map: the calls as stretches, their results as an iterator.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_MAP_H
#define ACHAR_PYTHON_EXECUTOR_MAP_H

#include "python/executor/executor.h"

/*
 * map_start() reads the iterables (a tuple), submits a call of 'fn' for each of their items, and
 * returns the iterator over the results. 'name' is what messages call the task, or None. 'timeout':
 * seconds from now for all of it, or None. 'buffersize': None, or how many calls may be submitted
 * and not yet read; then the input is read as results are. NULL with an exception set.
 */
PyObject *map_start(module_state *st, pool_object *p, PyObject *fn, PyObject *name,
                    PyObject *iterables, PyObject *timeout, PyObject *buffersize);

#endif
