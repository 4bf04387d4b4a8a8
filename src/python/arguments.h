/*
 * arguments.h - reads what a function was called with, and says what is wrong in the interpreter's
 * own words.
 *
 * Python's functions in C have their arguments read by code that CPython generates for itself only.
 * This reads them by the same rules and with the same errors, found in the same order.
 */
#ifndef ACHAR_PYTHON_ARGUMENTS_H
#define ACHAR_PYTHON_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

typedef struct arguments_signature {
    const char *function;
    const char *const *names; /* of all 'count' arguments */
    Py_ssize_t count;
    Py_ssize_t positional_only;
    Py_ssize_t positional_max; /* behind these are keyword-only ones, none of them required */
    Py_ssize_t required;
} arguments_signature;

/*
 * arguments_read() reads a vectorcall's arguments into values[0 .. count): borrowed, NULL where there
 * is none. 'keywords' is a tuple of names or NULL. 0, or -1 with TypeError set.
 */
int arguments_read(const arguments_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords, PyObject **values);

#endif
