/* pickler.h - what dump(), dumps() and the Pickler types share. */
#ifndef ACHAR_PYTHON_SAVER_PICKLER_H
#define ACHAR_PYTHON_SAVER_PICKLER_H

#include "python/state.h"

/* Reads the argument 'protocol'; NULL or None: the default. 0, or -1 with an exception set. */
int pickler_read_protocol(PyObject *protocol, int superset, int *result);
/* Reads the argument 'buffer_callback', borrowed, NULL for None. 0, or -1 with ValueError set. */
int pickler_read_buffer_callback(PyObject *callback, int protocol, PyObject **result);
/* A file's write method, a new reference; TypeError if it has none. */
PyObject *pickler_find_write(module_state *st, PyObject *file);

/* Adds the types to their modules. 0, or -1 with an exception set. */
int pickler_type_exec(PyObject *module, module_state *st);

#endif
