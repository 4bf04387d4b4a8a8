/*
 * digest_where.c - errors of achar.digest() that say where in the object they happened.
 *
 * The walk knows the objects on the way to the culprit and not how each is called in the one before. When
 * it has failed, achar/_parts.py looks for that: the cost is the error's.
 */
#include "python/byvalue/digest.h"

void digest_keep_chain(digest *d)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    d->chain = PyList_New(0);
    for (Py_ssize_t i = 0; d->chain && i < d->depth; i++) {
        if (PyList_Append(d->chain, d->path[i]) < 0)
            Py_CLEAR(d->chain);
    }
    PyErr_Clear(); /* the error that stands matters more than where it was */
    PyErr_Restore(type, value, traceback);
}

void digest_say_where(PyObject *chain)
{
    PyObject *type, *error, *traceback, *better = NULL;
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))
        return;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *say = byvalue_import("achar._parts", "explain_digest");
    better = say ? PyObject_CallFunctionObjArgs(say, error, chain, NULL) : NULL;
    Py_XDECREF(say);
    if (better && PyExceptionInstance_Check(better)) {
        PyErr_SetObject((PyObject *)Py_TYPE(better), better);
        Py_DECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
    } else {
        PyErr_Clear(); /* what went wrong while explaining matters less than the error */
        PyErr_Restore(type, error, traceback);
    }
    Py_XDECREF(better);
}
