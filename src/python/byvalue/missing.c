/*
 * missing.c - exceptions whose class the other side may lack.
 *
 * An exception of a Python class that goes by name is
 *
 *    exception_of(names, class[, arguments])  then  exception_state(exception, state)
 *
 * 'names' are module and name of each class above it that can be imported, the nearest first, up to
 * the first that every Python has. A loader that cannot have the class finds them right below it on
 * its stack, and puts a class in its place that is made from the nearest one that it can have
 * (loader/errors.c, achar/_stand_in.py). Then, too, the state's "text" is used, which is there where
 * the class has a __str__ of its own.
 */
#include "python/byvalue/internal.h"

/* ---- out ---- */

static int append_name(module_state *st, PyObject *names, PyObject *type)
{
    PyObject *module = PyObject_GetAttr(type, st->byvalue_str___module__);
    PyObject *qualname = module ? PyObject_GetAttr(type, st->byvalue_str___qualname__) : NULL;
    int status = -1;
    if (qualname && PyList_Append(names, module) == 0)
        status = PyList_Append(names, qualname);
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    return status;
}

PyObject *byvalue_bases_by_name(module_state *st, PyTypeObject *type)
{
    if (!byvalue_is_python_class(type) || byvalue_has_name(st, (PyObject *)type) != 1)
        return NULL;
    PyObject *mro = Py_NewRef(type->tp_mro), *tuple = NULL;
    PyObject *names = PyList_New(0);
    for (Py_ssize_t i = 1; names && i < PyTuple_GET_SIZE(mro); i++) {
        PyObject *base = PyTuple_GET_ITEM(mro, i);
        int named = PyExceptionClass_Check(base) ? byvalue_has_name(st, base) : 0;
        if (named < 0 || (named == 1 && append_name(st, names, base) < 0))
            Py_CLEAR(names);
        if (named == 1 && !byvalue_is_python_class((PyTypeObject *)base))
            break;
    }
    tuple = names ? PyList_AsTuple(names) : NULL;
    Py_XDECREF(names);
    Py_DECREF(mro);
    return tuple;
}

int byvalue_put_text(PyObject *state, PyObject *exception, PyTypeObject *known)
{
    if (Py_TYPE(exception)->tp_str == known->tp_str)
        return 0;
    PyObject *text = PyObject_Str(exception);
    if (!text) { /* the class's own fault, and no reason not to send it */
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return -1;
        PyErr_Clear();
        return 0;
    }
    int status = PyDict_SetItemString(state, "text", text);
    Py_DECREF(text);
    return status;
}

/* ---- in ---- */

static PyObject *v1_exception_of(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count < 2 || !PyTuple_CheckExact(args[0])) {
        byvalue_bad_stream(state_of_module(module), "exception_of",
                           "expected (names, class[, arguments])");
        return NULL;
    }
    return byvalue_v1_make_exception(module, args + 1, count - 1);
}

int byvalue_is_stand_in(PyObject *obj)
{
    PyObject *remade = NULL;
    PyObject *name = PyUnicode_InternFromString("_remade");
    int found = name && PyExceptionClass_Check(obj) ? compat_find_attr(obj, name, &remade) : 0;
    Py_XDECREF(name);
    Py_XDECREF(remade);
    return PyErr_Occurred() ? -1 : found;
}

/* A stand-in is made by its C class, which is given the call's arguments: groups need theirs there. */
static PyObject *v1_exception_by(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyTuple_CheckExact(args[0]) || !PyTuple_CheckExact(args[2])) {
        byvalue_bad_stream(state_of_module(module), "exception_by",
                           "expected (names, callable, arguments)");
        return NULL;
    }
    int is_stand_in = byvalue_is_stand_in(args[1]);
    if (is_stand_in < 0)
        return NULL;
    return is_stand_in ? byvalue_v1_make_exception(module, args + 1, 2)
                       : PyObject_CallObject(args[1], args[2]);
}

int byvalue_set_text(PyObject *exception, PyObject *text)
{
    PyObject *set = NULL, *done;
    PyObject *name = PyUnicode_InternFromString("_set_text");
    int found = name ? compat_find_attr((PyObject *)Py_TYPE(exception), name, &set) : -1;
    Py_XDECREF(name);
    if (found != 1)
        return found;
    done = PyObject_CallFunctionObjArgs(set, exception, text, NULL);
    Py_DECREF(set);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

PyMethodDef byvalue_v1_missing[] = {
    {"exception_of", (PyCFunction)(void (*)(void))v1_exception_of, METH_FASTCALL,
     "exception_of(names, class[, arguments]): as exception(); the names of the class's bases are "
     "for where it is missing"},
    {"exception_by", (PyCFunction)(void (*)(void))v1_exception_by, METH_FASTCALL,
     "exception_by(names, callable, arguments): callable(*arguments); the names of the exception's "
     "class and its bases are for where the callable is missing"},
    {NULL},
};
