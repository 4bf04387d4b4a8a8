/* arguments.c - see arguments.h; the order of checks is that of CPython's Python/getargs.c. */
#include "python/arguments.h"

#if PY_VERSION_HEX >= 0x030D0000
#define UNEXPECTED_KEYWORD(function, key)                                                          \
    PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%S'", function, key)
#else
#define UNEXPECTED_KEYWORD(function, key)                                                          \
    PyErr_Format(PyExc_TypeError, "'%S' is an invalid keyword argument for %s()", key, function)
#endif

/* Which of the named arguments 'key' is; -1: none. */
static Py_ssize_t index_of(const arguments_signature *signature, PyObject *key)
{
    Py_UCS4 first = PyUnicode_GET_LENGTH(key) ? PyUnicode_READ_CHAR(key, 0) : 0;
    for (Py_ssize_t i = signature->positional_only; i < signature->count; i++)
        if (first == (unsigned char)signature->names[i][0] &&
            PyUnicode_CompareWithASCIIString(key, signature->names[i]) == 0)
            return i;
    return -1;
}

/* TypeError about how many there are, if it is that. -1 if so. */
static int check_counts(const arguments_signature *signature, Py_ssize_t nargs,
                        Py_ssize_t keyword_count)
{
    const char *function = signature->function;
    Py_ssize_t most = signature->positional_max, least = signature->required;
    if (least > signature->positional_only)
        least = signature->positional_only;
    if (nargs + keyword_count > signature->count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd %sargument%s (%zd given)", function,
                     signature->count, nargs == 0 ? "keyword " : "",
                     signature->count == 1 ? "" : "s", nargs + keyword_count);
        return -1;
    }
    if (nargs > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes %s %zd positional argument%s (%zd given)",
                     function, signature->required < most ? "at most" : "exactly", most,
                     most == 1 ? "" : "s", nargs);
        return -1;
    }
    if (nargs < least) {
        PyErr_Format(PyExc_TypeError, "%s() takes %s %zd positional argument%s (%zd given)",
                     function, least < most ? "at least" : "exactly", least, least == 1 ? "" : "s",
                     nargs);
        return -1;
    }
    return 0;
}

int arguments_read(const arguments_signature *signature, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *keywords, PyObject **values)
{
    Py_ssize_t keyword_count = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    Py_ssize_t twice = -1;
    PyObject *unexpected = NULL;
    if (check_counts(signature, nargs, keyword_count) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < signature->count; i++)
        values[i] = i < nargs ? args[i] : NULL;
    for (Py_ssize_t k = 0; k < keyword_count; k++) {
        PyObject *key = PyTuple_GET_ITEM(keywords, k);
        Py_ssize_t i = index_of(signature, key);
        if (i >= nargs)
            values[i] = args[nargs + k];
        else if (i >= 0)
            twice = twice < 0 || i < twice ? i : twice;
        else if (!unexpected)
            unexpected = key;
    }
    for (Py_ssize_t i = nargs; i < signature->required; i++) {
        if (values[i])
            continue;
        PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s' (pos %zd)",
                     signature->function, signature->names[i], i + 1);
        return -1;
    }
    if (twice >= 0) {
        PyErr_Format(PyExc_TypeError, "argument for %s() given by name ('%s') and position (%zd)",
                     signature->function, signature->names[twice], twice + 1);
        return -1;
    }
    if (unexpected) {
        UNEXPECTED_KEYWORD(signature->function, unexpected);
        return -1;
    }
    return 0;
}
