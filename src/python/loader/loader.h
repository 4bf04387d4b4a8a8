/*
 * loader.h - the engine that turns pickle bytes into Python objects; one for the strict module and
 * for achar.loads.
 */
#ifndef ACHAR_PYTHON_LOADER_H
#define ACHAR_PYTHON_LOADER_H

#include "python/state.h"

typedef struct loader_options {
    int fix_imports;
    const char *encoding; /* of protocol 0-2 str; NULL: "ASCII" */
    const char *errors;   /* NULL: "strict" */
    PyObject *buffers;    /* borrowed; NULL or None: no out-of-band buffers */
    int superset;         /* 1: achar.loads */
} loader_options;

/*
 * loader_loads() is the object that the first pickle in 'data' describes. 'data' must stay readable
 * and unchanged during the call only: everything is copied out. NULL with an exception set. Runs
 * Python code. 'options' NULL: the defaults.
 */
PyObject *loader_loads(module_state *st, const void *data, size_t nbytes,
                       const loader_options *options);

#endif
