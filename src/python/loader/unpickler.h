/* unpickler.h - what load(), loads() and the Unpickler types share. */
#ifndef ACHAR_PYTHON_LOADER_UNPICKLER_H
#define ACHAR_PYTHON_LOADER_UNPICKLER_H

#include "python/byvalue/byvalue.h"
#include "python/loader/core.h"

/* The keyword arguments that all entry points share. */
typedef struct load_arguments {
    int fix_imports;
    PyObject *encoding; /* borrowed str, or NULL */
    PyObject *errors;
    PyObject *buffers;
    enum byvalue_class_state class_state; /* superset */
} load_arguments;

#define LOAD_ARGUMENTS_DEFAULT                                                                     \
    {                                                                                              \
        1, NULL, NULL, NULL, CLASS_STATE_ANY                                                       \
    }

/*
 * Reads 'values', the keyword arguments in the order of their names (NULL: not given). 0, or -1 with
 * an exception set.
 */
int unpickler_read_keywords(const char *function, PyObject *const *values,
                            load_arguments *arguments);
/* Applies 'arguments'; the strings must outlive the loader. 0, or -1 with an exception set. */
int unpickler_configure(loader *ld, const load_arguments *arguments);

/* Adds the types to their modules. 0, or -1 with an exception set. */
int unpickler_type_exec(PyObject *module, module_state *st);

#endif
