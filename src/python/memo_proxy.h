/*
 * memo_proxy.h - the memo of a Pickler or of an Unpickler, as Python sees it.
 *
 * _pickle has a type for each; they differ in name and in whose memo they show. A proxy holds its
 * owner and nothing else: what it shows is the memo as it is at that moment.
 */
#ifndef ACHAR_PYTHON_MEMO_PROXY_H
#define ACHAR_PYTHON_MEMO_PROXY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef struct memo_proxy_kind {
    const char *type_name; /* with its module; as long-lived as the type */
    const char *one;       /* "a …": for an error */
    /* The owner's memo as a new dict; NULL with an exception set. */
    PyObject *(*as_dict)(PyObject *owner);
    void (*clear)(PyObject *owner);
} memo_proxy_kind;

/* The type of such proxies, a new reference; NULL with an exception set. */
PyObject *memo_proxy_make_type(PyObject *module, const memo_proxy_kind *kind);
/* A proxy of 'type', which was made of 'kind', for 'owner'. A new reference or NULL. */
PyObject *memo_proxy_new(PyObject *type, const memo_proxy_kind *kind, PyObject *owner);
/*
 * What was assigned to the attribute 'memo' (NULL: it was deleted). 1: a proxy of 'type', '*owner' is
 * whose, borrowed; 0: a dict; -1 with TypeError set.
 */
int memo_proxy_check_assigned(PyObject *type, const memo_proxy_kind *kind, PyObject *value,
                              PyObject **owner);

#endif
