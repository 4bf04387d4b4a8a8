/*
 * words.c - what threading says about arguments that make no sense. Its words differ between versions
 * of Python, and between its classes in C and in Python; so they are asked for where they come from: the
 * same call is made of a fresh object of threading's, which refuses it before it would do anything.
 */
#include "python/sync/sync.h"
#include "python/compat.h"

/* A fresh object whose methods do not wait. NULL with an exception. */
static PyObject *stand_in(PyObject *class, const char *class_name)
{
    PyObject *object;
    if (strcmp(class_name, "Barrier") == 0)
        return PyObject_CallFunction(class, "i", 1);
    object = PyObject_CallNoArgs(class);
    if (object && strcmp(class_name, "Condition") == 0) { /* its methods look at that first */
        PyObject *acquired = PyObject_CallMethod(object, "acquire", NULL);
        if (!acquired)
            Py_CLEAR(object);
        Py_XDECREF(acquired);
    }
    return object;
}

/* threading.class_name, or its 'method' of a fresh object. NULL with an exception. */
static PyObject *find(const char *class_name, const char *method)
{
    PyObject *module = PyImport_ImportModule("threading");
    PyObject *class = module ? PyObject_GetAttrString(module, class_name) : NULL;
    PyObject *found = NULL;
    if (class && !method) {
        found = Py_NewRef(class);
    } else if (class) {
        PyObject *object = stand_in(class, class_name);
        found = object ? PyObject_GetAttrString(object, method) : NULL;
        Py_XDECREF(object);
    }
    Py_XDECREF(class);
    Py_XDECREF(module);
    return found;
}

int sync_ask_threading(const char *class_name, const char *method, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *ours = compat_take_exception();
    PyObject *call = find(class_name, method);
    PyObject *result = call ? PyObject_Vectorcall(call, args, (size_t)nargs, kwnames) : NULL;
    int refused = !result;
    Py_XDECREF(call);
    Py_XDECREF(result);
    if (refused) {
        Py_XDECREF(ours);
        return -1;
    }
    if (ours)
        compat_restore_exception(ours);
    return 0;
}

PyObject *sync_refuse(const char *class_name, const char *method, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames)
{
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%s.%s() cannot take these arguments", class_name, method);
    if (PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_ValueError) ||
        PyErr_ExceptionMatches(PyExc_OverflowError))
        (void)sync_ask_threading(class_name, method, args, nargs, kwnames);
    return NULL;
}

int sync_refuse_init(const char *class_name, PyObject *args, PyObject *kwargs)
{
    PyObject *ours = compat_take_exception();
    PyObject *call = find(class_name, NULL);
    PyObject *result = call ? PyObject_Call(call, args, kwargs) : NULL;
    if (result && ours)
        compat_restore_exception(ours); /* threading has no objection */
    else
        Py_XDECREF(ours);
    Py_XDECREF(call);
    Py_XDECREF(result);
    return -1;
}
