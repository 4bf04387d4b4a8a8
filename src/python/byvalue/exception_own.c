/*
 * exception_own.c - exceptions whose class says itself how they are pickled.
 *
 * What its __reduce__ says is believed, and makes the exception again. It knows nothing of how the
 * exception was raised: cause, context, traceback and, if it has no state of its own, notes go along
 * as exception_state()'s (exception.c), beside its own state. What it says calls by name what the loading
 * side may lack; so, where the class goes by name,
 *
 *    exception_by(names of the class and its bases, callable, arguments)  then  exception_state(exception, state)
 *
 * leaves a loader that cannot have the callable enough for a stand-in, as missing.c has it for other
 * exceptions. For that alone the state has "own_args", the exception's args, and "text".
 */
#include "python/byvalue/internal.h"

static int has_any_link(const PyBaseExceptionObject *exception)
{
    return exception->cause || exception->context || exception->suppress_context ||
           (exception->traceback && exception->traceback != Py_None);
}

/* The notes as a dict that a __dict__ is updated with; a new reference. 0: there are none; -1. */
static int notes_of(module_state *st, PyObject *obj, PyObject **notes)
{
    PyObject *dict = ((PyBaseExceptionObject *)obj)->dict;
    PyObject *found = dict ? PyDict_GetItemString(dict, "__notes__") : NULL; /* borrowed */
    *notes = NULL;
    if (!found)
        return 0;
    PyObject *setstate = _PyType_Lookup(Py_TYPE(obj), st->byvalue_str___setstate__);
    if (setstate && Py_TYPE(setstate) != &PyMethodDescr_Type)
        return 0; /* its own __setstate__ expects what its own __reduce__ says */
    *notes = Py_BuildValue("{sO}", "__notes__", found);
    return *notes ? 1 : -1;
}

/*
 * 1 if 'own' is (class, arguments[, state]) or (callable, arguments), as any but the most particular
 * __reduce__ has it. A callable may make something else than an exception, which keeps its state.
 */
static int is_usual(PyObject *own, PyObject **own_state)
{
    *own_state = NULL;
    if (!PyTuple_CheckExact(own) || PyTuple_GET_SIZE(own) < 2 || PyTuple_GET_SIZE(own) > 3 ||
        !PyTuple_CheckExact(PyTuple_GET_ITEM(own, 1)))
        return 0;
    if (PyTuple_GET_SIZE(own) == 3 && PyTuple_GET_ITEM(own, 2) != Py_None)
        *own_state = PyTuple_GET_ITEM(own, 2);
    return !*own_state || PyExceptionClass_Check(PyTuple_GET_ITEM(own, 0));
}

/* (module and name of the class, those of its bases); NULL, with or without an exception: it has no name. */
static PyObject *names_of(module_state *st, PyTypeObject *type)
{
    PyObject *bases = byvalue_bases_by_name(st, type), *own = NULL, *names = NULL;
    PyObject *module =
        bases ? PyObject_GetAttr((PyObject *)type, st->byvalue_str___module__) : NULL;
    PyObject *qualname =
        module ? PyObject_GetAttr((PyObject *)type, st->byvalue_str___qualname__) : NULL;
    own = qualname ? PyTuple_Pack(2, module, qualname) : NULL;
    names = own ? PySequence_Concat(own, bases) : NULL;
    Py_XDECREF(bases);
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    Py_XDECREF(own);
    return names;
}

int byvalue_reduce_own_exception(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    enum { PROTOCOL = 4 }; /* what by-value streams have at least */
    module_state *st = session->st;
    PyObject *notes = NULL, *state = NULL, *own = NULL, *names = NULL, *args = NULL, *own_state;
    int status = -1;
    int registered = PyDict_Contains(st->copyreg_dispatch_table, (PyObject *)Py_TYPE(obj));
    if (registered)
        return registered < 0 ? -1 : 0;
    int noted = notes_of(st, obj, &notes);
    if (noted < 0)
        return -1;
    names = session->portable ? NULL : names_of(st, Py_TYPE(obj));
    if (!names && PyErr_Occurred())
        goto done;
    if (!names && !noted && !has_any_link((PyBaseExceptionObject *)obj)) {
        status = 0;
        goto done;
    }
    own = PyObject_CallMethod(obj, "__reduce_ex__", "i", PROTOCOL);
    if (!own)
        goto done;
    if (!is_usual(own, &own_state)) {
        status = 0; /* the saver asks again, and says what is wrong with it */
        goto done;
    }
    state = PyDict_New();
    if (!state || (own_state && PyDict_SetItemString(state, "state", own_state) < 0) ||
        (notes && !own_state && PyDict_SetItemString(state, "__dict__", notes) < 0) ||
        byvalue_put_links(state, obj) < 0)
        goto done;
    if (names) {
        if (PyDict_SetItemString(state, "own_args", ((PyBaseExceptionObject *)obj)->args) < 0 ||
            byvalue_put_text(state, obj, (PyTypeObject *)PyExc_BaseException) < 0)
            goto done;
        args = PyTuple_Pack(3, names, PyTuple_GET_ITEM(own, 0), PyTuple_GET_ITEM(own, 1));
        if (!args)
            goto done;
        status = byvalue_make_reduce(st->v1_exception_by, Py_NewRef(args), Py_NewRef(state),
                                     st->v1_exception_state, reduced);
    } else {
        status = byvalue_make_reduce(PyTuple_GET_ITEM(own, 0), Py_NewRef(PyTuple_GET_ITEM(own, 1)),
                                     Py_NewRef(state), st->v1_exception_state, reduced);
    }
done:
    Py_XDECREF(notes);
    Py_XDECREF(state);
    Py_XDECREF(own);
    Py_XDECREF(names);
    Py_XDECREF(args);
    return status;
}
