/*
 * state.h - the extension's per-interpreter state.
 *
 * Invariant: there is no other mutable global state in src/python. Every member that owns a Python
 * object stands in state.def.
 */
#ifndef ACHAR_PYTHON_STATE_H
#define ACHAR_PYTHON_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

enum { STATE_SMALL_INTS = 256 };

typedef struct module_state {
#define STATE(name) PyObject *name;
#include "python/state.def"
#undef STATE
    /* loader: pauses of the cyclic collector, and whether it was on before the first */
    unsigned gc_pauses;
    int gc_was_enabled;
    /* loader: what this interpreter's own unpickler refuses */
    bool enforces_frames;
    bool decimal_only;
    struct achar__worker *worker; /* in a worker process: its side of the task path; else NULL */
    struct saver_type_fact *saver_facts;    /* saver: a cache, which saver_facts_owner owns */
    struct loader_hash *loader_hashes;      /* loader: a cache, which loader_hashes_owner owns */
    PyObject *small_ints[STATE_SMALL_INTS]; /* 0 to 255, borrowed from the interpreter */
} module_state;

extern struct PyModuleDef achar_module_def;

static inline module_state *state_of_module(PyObject *module)
{
    return (module_state *)PyModule_GetState(module);
}

/*
 * state_of_type() is the state of the module that defined 'type' or one of its bases.
 * NULL with TypeError set when none of them is achar's.
 */
module_state *state_of_type(PyTypeObject *type);

/*
 * Each part of the extension sets itself up here, once per module object, in the order of module.c.
 * They add types and functions to 'module' (the extension) or st->strict_module (the stand-in for
 * _pickle) and fill their lines of state.def. 0, or -1 with an exception set.
 */
#define STATE_PARTS(X)                                                                             \
    X(future)                                                                                      \
    X(executor)                                                                                    \
    X(inputs)                                                                                      \
    X(packed)                                                                                      \
    X(room)                                                                                        \
    X(view)                                                                                        \
    X(executor_submit)                                                                             \
    X(executor_map)                                                                                \
    X(worker)                                                                                      \
    X(loader)                                                                                      \
    X(unpickler)                                                                                   \
    X(byvalue)                                                                                     \
    X(saver)                                                                                       \
    X(pickler)                                                                                     \
    X(sync)

#define DECLARE_PART(part) int part##_exec(PyObject *module, module_state *st);
STATE_PARTS(DECLARE_PART)
#undef DECLARE_PART

/*
 * state_add_function() puts 'def' as a builtin function into 'target' (the extension or the strict
 * module). Its self is always the extension 'module', so that it finds the state; its __module__ is
 * 'module_name'.
 */
int state_add_function(PyObject *module, PyObject *target, PyMethodDef *def,
                       const char *module_name);

#endif
