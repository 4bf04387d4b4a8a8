/*
 * inside.c - objects of C classes whose parts no attribute shows, but the garbage collector's visit
 * does: views of dicts, pairwise(), the keys of cmp_to_key(). Also super objects, descriptors.
 *
 * What a class visits, and in which order, is part of how it is written; where the visit does not
 * bring what is expected the object goes the ordinary way, which refuses it.
 */
#include "python/byvalue/internal.h"

typedef struct parts {
    PyObject *found[4]; /* borrowed: the object has them */
    int count;
} parts;

static int take_part(PyObject *obj, void *context)
{
    parts *visited = context;
    if (visited->count == 4)
        return 1;
    visited->found[visited->count++] = obj;
    return 0;
}

/* What 'obj' refers to, but for its class. */
static parts parts_of(PyObject *obj)
{
    parts visited = {{NULL}, 0}, kept = {{NULL}, 0};
    if (Py_TYPE(obj)->tp_traverse)
        Py_TYPE(obj)->tp_traverse(obj, take_part, &visited);
    for (int i = 0; i < visited.count; i++) {
        if (visited.found[i] != (PyObject *)Py_TYPE(obj))
            kept.found[kept.count++] = visited.found[i];
    }
    return kept;
}

/* ---- views ---- */

/* dict_view("keys", dict) and so on: the dict goes along. It is the one object that a view holds. */
int byvalue_reduce_dict_view(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    const char *name = strstr(Py_TYPE(obj)->tp_name, "dict_");
    const char *kind = name ? name + strlen("dict_") : "";
    parts inner = parts_of(obj);
    PyObject *args = Py_BuildValue("sO", kind, inner.count == 1 ? inner.found[0] : Py_None);
    return byvalue_make_reduce(session->st->v1_dict_view, args, NULL, NULL, reduced);
}

static PyObject *v1_dict_view(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    static const char *const kinds[] = {"keys", "values", "items"};
    for (int i = 0; i < 3 && count == 2 && PyUnicode_Check(args[0]) && PyDict_Check(args[1]); i++) {
        if (PyUnicode_CompareWithASCIIString(args[0], kinds[i]) != 0)
            continue;
        PyTypeObject *type = PyODict_Check(args[1]) ? &PyODict_Type : &PyDict_Type;
        return PyObject_CallMethod((PyObject *)type, kinds[i], "O", args[1]);
    }
    byvalue_bad_stream(state_of_module(module), "dict_view", "expected (kind, dict)");
    return NULL;
}

/* ---- functools and itertools ---- */

/* pairwise(it), or, when it has begun, pairwise(chain((last,), it)). */
int byvalue_reduce_pairwise(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    parts inner = parts_of(obj);
    (void)session;
    PyObject *args = NULL, *first = NULL, *chain = NULL, *whole = NULL;
#if PY_VERSION_HEX >= 0x030D0000
    inner.count--; /* the last is the tuple that it keeps for its next answer */
#endif
    if (inner.count < 1) {
        PyObject *nothing = PyTuple_New(0); /* exhausted */
        args = nothing ? PyTuple_Pack(1, nothing) : NULL;
        Py_XDECREF(nothing);
    } else if (inner.count == 1) {
        args = PyTuple_Pack(1, inner.found[0]);
    } else {
        first = PyTuple_Pack(1, inner.found[1]);
        chain = first ? byvalue_import("itertools", "chain") : NULL;
        whole = chain ? PyObject_CallFunctionObjArgs(chain, first, inner.found[0], NULL) : NULL;
        args = whole ? PyTuple_Pack(1, whole) : NULL;
        Py_XDECREF(first);
        Py_XDECREF(chain);
        Py_XDECREF(whole);
    }
    return byvalue_make_reduce((PyObject *)Py_TYPE(obj), args, NULL, NULL, reduced);
}

/* cmp_to_key(function), or of that a key for an object: it is called with the object. */
int byvalue_reduce_key_wrapper(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    (void)session;
    parts inner = parts_of(obj);
    if (inner.count < 1 || inner.count > 2)
        return 0;
    PyObject *cmp_to_key = byvalue_import("functools", "cmp_to_key");
    PyObject *args = NULL, *callable = NULL;
    if (cmp_to_key && inner.count == 1) {
        args = PyTuple_Pack(1, inner.found[0]);
        callable = Py_NewRef(cmp_to_key);
    } else if (cmp_to_key) {
        callable = PyObject_CallOneArg(cmp_to_key, inner.found[0]);
        args = callable ? PyTuple_Pack(1, inner.found[1]) : NULL;
    }
    int status = byvalue_make_reduce(callable, args, NULL, NULL, reduced);
    Py_XDECREF(cmp_to_key);
    Py_XDECREF(callable);
    return status;
}

/* ---- super ---- */

/* A member of super itself; its own attribute lookup asks the classes after it. */
static PyObject *super_member(PyObject *obj, const char *name)
{
    PyObject *dict = compat_type_dict(&PySuper_Type);
    PyObject *descriptor = dict ? PyDict_GetItemString(dict, name) : NULL;
    PyObject *value =
        descriptor ? Py_TYPE(descriptor)->tp_descr_get(descriptor, obj, (PyObject *)Py_TYPE(obj))
                   : NULL;
    Py_XDECREF(dict);
    return value;
}

/* super(class, object), super(class). */
int byvalue_reduce_super(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    (void)session;
    PyObject *args = NULL;
    PyObject *of = super_member(obj, "__thisclass__");
    PyObject *self = of ? super_member(obj, "__self__") : NULL;
    if (self)
        args = self == Py_None ? PyTuple_Pack(1, of) : PyTuple_Pack(2, of, self);
    Py_XDECREF(of);
    Py_XDECREF(self);
    return byvalue_make_reduce((PyObject *)Py_TYPE(obj), args, NULL, NULL, reduced);
}

/* ---- descriptors of C classes ---- */

/* descriptor(class, name): what stands in the class's dict, which getattr would bind. */
int byvalue_reduce_descriptor(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyObject *args = PyTuple_Pack(2, (PyObject *)PyDescr_TYPE(obj), PyDescr_NAME(obj));
    return byvalue_make_reduce(session->st->v1_descriptor, args, NULL, NULL, reduced);
}

static PyObject *v1_descriptor(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyType_Check(args[0]) || !PyUnicode_Check(args[1])) {
        byvalue_bad_stream(state_of_module(module), "descriptor", "expected (class, name)");
        return NULL;
    }
    PyObject *dict = compat_type_dict((PyTypeObject *)args[0]);
    PyObject *found = dict ? Py_XNewRef(PyDict_GetItemWithError(dict, args[1])) : NULL;
    Py_XDECREF(dict);
    if (!found && !PyErr_Occurred())
        PyErr_Format(PyExc_AttributeError, "%R has no %R of its own", args[0], args[1]);
    return found;
}

/* ---- struct.Struct ---- */

int byvalue_reduce_struct(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    (void)session;
    PyObject *format = PyObject_GetAttrString(obj, "format");
    PyObject *args = format ? PyTuple_Pack(1, format) : NULL;
    Py_XDECREF(format);
    return byvalue_make_reduce((PyObject *)Py_TYPE(obj), args, NULL, NULL, reduced);
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

PyMethodDef byvalue_v1_inside[] = {
    {"dict_view", FAST(v1_dict_view), "dict_view(kind, dict): its keys(), values() or items()"},
    {"descriptor", FAST(v1_descriptor), "descriptor(class, name): what its dict has there"},
    {NULL},
};
