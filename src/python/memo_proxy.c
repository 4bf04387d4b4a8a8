/* memo_proxy.c - see memo_proxy.h. */
#include "python/memo_proxy.h"

typedef struct memo_proxy {
    PyObject_HEAD PyObject *owner;
    const memo_proxy_kind *kind;
} memo_proxy;

static int proxy_traverse(memo_proxy *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->owner);
    return 0;
}

static int proxy_clear(memo_proxy *self)
{
    Py_CLEAR(self->owner);
    return 0;
}

static void proxy_dealloc(memo_proxy *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    proxy_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *proxy_clear_memo(memo_proxy *self, PyObject *ignored)
{
    self->kind->clear(self->owner);
    Py_RETURN_NONE;
}

static PyObject *proxy_copy(memo_proxy *self, PyObject *ignored)
{
    return self->kind->as_dict(self->owner);
}

static PyObject *proxy_reduce(memo_proxy *self, PyObject *ignored)
{
    PyObject *contents = self->kind->as_dict(self->owner);
    return contents ? Py_BuildValue("(O(N))", &PyDict_Type, contents) : NULL;
}

static PyMethodDef methods[] = {
    {"clear", (PyCFunction)proxy_clear_memo, METH_NOARGS,
     "clear($self, /)\n--\n\nRemove all items from memo."},
    {"copy", (PyCFunction)proxy_copy, METH_NOARGS,
     "copy($self, /)\n--\n\nCopy the memo to a new object."},
    {"__reduce__", (PyCFunction)proxy_reduce, METH_NOARGS,
     "__reduce__($self, /)\n--\n\nImplement pickling support."},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, proxy_dealloc},
    {Py_tp_traverse, proxy_traverse},
    {Py_tp_clear, proxy_clear},
    {Py_tp_methods, methods},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {0, NULL},
};

PyObject *memo_proxy_make_type(PyObject *module, const memo_proxy_kind *kind)
{
    PyType_Spec spec = {
        .name = kind->type_name,
        .basicsize = sizeof(memo_proxy),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
                 Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, NULL);
}

PyObject *memo_proxy_new(PyObject *type, const memo_proxy_kind *kind, PyObject *owner)
{
    memo_proxy *proxy = (memo_proxy *)((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    if (proxy) {
        proxy->owner = Py_NewRef(owner);
        proxy->kind = kind;
    }
    return (PyObject *)proxy;
}

int memo_proxy_check_assigned(PyObject *type, const memo_proxy_kind *kind, PyObject *value,
                              PyObject **owner)
{
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "attribute deletion is not supported");
        return -1;
    }
    if (Py_IS_TYPE(value, (PyTypeObject *)type)) {
        *owner = ((memo_proxy *)value)->owner;
        return 1;
    }
    if (PyDict_Check(value))
        return 0;
    PyErr_Format(PyExc_TypeError, "'memo' attribute must be %s object or dict, not %.200s",
                 kind->one, Py_TYPE(value)->tp_name);
    return -1;
}
