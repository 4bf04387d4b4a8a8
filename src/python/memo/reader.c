/*
 * reader.c - most hits, found and read in one call.
 *
 * A result is simple when it is in its row, not compressed, has no buffers of its own, was not raised, and
 * comes from an origin of which the set 'unchanged' says that nothing it is made of has changed. Other rows
 * are handed on to achar/_memo_rows.py, which also looks again where something goes wrong.
 */
#include "python/memo/memo.h"
#include <structmember.h>

enum { PACKED_KIND = 1, FOOTER_NBYTES = 16 };

typedef struct reader_object {
    PyObject_HEAD PyObject *store, *unchanged, *loads, *absent, *row_type;
    long long hits;
} reader_object;

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *store, *unchanged, *loads, *absent, *row_type;
    if (!PyArg_ParseTuple(args, "OO!OOO:Reader", &store, &PySet_Type, &unchanged, &loads, &absent,
                          &row_type))
        return NULL;
    if (!memo_is_store(store)) {
        PyErr_SetString(PyExc_TypeError, "a Reader takes a Store");
        return NULL;
    }
    reader_object *self = (reader_object *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->store = Py_NewRef(store);
    self->unchanged = Py_NewRef(unchanged);
    self->loads = Py_NewRef(loads);
    self->absent = Py_NewRef(absent);
    self->row_type = Py_NewRef(row_type);
    return (PyObject *)self;
}

static int is_simple(const reader_object *self, const memo_row *row)
{
    static const char no_buffers[8];
    const char *end = (const char *)row->value + row->value_nbytes;
    if (row->kind != PACKED_KIND || row->value_nbytes < FOOTER_NBYTES ||
        memcmp(end - sizeof no_buffers, no_buffers, sizeof no_buffers) != 0)
        return 0;
    PyObject *origin = PyLong_FromLongLong(row->origin);
    int known = origin ? PySet_Contains(self->unchanged, origin) : -1;
    Py_XDECREF(origin);
    return known;
}

/* For who looks at it more closely. */
static PyObject *as_row(const reader_object *self, const memo_row *row)
{
    PyObject *tuple = memo_row_tuple(row);
    PyObject *result = tuple ? PyObject_CallOneArg(self->row_type, tuple) : NULL;
    Py_XDECREF(tuple);
    return result;
}

PyDoc_STRVAR(
    find_doc,
    "find($self, key, /)\n--\n\n"
    "The result; 'absent' where there is none; a row_type of the row, if it is not simple;\n"
    "NotImplemented: look yourself.");
static PyObject *reader_find(PyObject *obj, PyObject *key)
{
    reader_object *self = (reader_object *)obj;
    memo_row row;
    memo_status status = memo_get(self->store, key, &row);
    if (status == MEMO_ABSENT)
        return Py_NewRef(self->absent);
    PyObject *result = NULL;
    if (status == MEMO_OK) {
        int simple = is_simple(self, &row);
        if (simple == 1)
            result = PyObject_CallFunction(self->loads, "iy#", PACKED_KIND, row.value,
                                           (Py_ssize_t)row.value_nbytes);
        else if (simple == 0)
            result = as_row(self, &row);
        free((void *)row.value);
        self->hits += simple == 1 && result;
    }
    if (result)
        return result;
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL; /* KeyboardInterrupt */
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
}

static int reader_traverse(PyObject *obj, visitproc visit, void *arg)
{
    reader_object *self = (reader_object *)obj;
    Py_VISIT(Py_TYPE(obj));
    Py_VISIT(self->store);
    Py_VISIT(self->unchanged);
    Py_VISIT(self->loads);
    Py_VISIT(self->absent);
    Py_VISIT(self->row_type);
    return 0;
}

static void reader_dealloc(PyObject *obj)
{
    reader_object *self = (reader_object *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    PyObject_GC_UnTrack(obj);
    Py_XDECREF(self->store);
    Py_XDECREF(self->unchanged);
    Py_XDECREF(self->loads);
    Py_XDECREF(self->absent);
    Py_XDECREF(self->row_type);
    type->tp_free(obj);
    Py_DECREF(type);
}

static PyMethodDef reader_methods[] = {
    {"find", reader_find, METH_O, find_doc},
    {NULL},
};

static PyMemberDef reader_members[] = {
    {"hits", T_LONGLONG, offsetof(reader_object, hits), 0, "how many results it has found"},
    {NULL},
};

static PyType_Slot reader_slots[] = {
    {Py_tp_doc,
     (void *)"Reader(store, unchanged, loads, absent, row_type, /)\n--\n\nFinds simple results."},
    {Py_tp_new, reader_new},
    {Py_tp_dealloc, reader_dealloc},
    {Py_tp_traverse, reader_traverse},
    {Py_tp_methods, reader_methods},
    {Py_tp_members, reader_members},
    {0, NULL},
};

static PyType_Spec reader_spec = {
    .name = "achar._memo.Reader",
    .basicsize = sizeof(reader_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = reader_slots,
};

int memo_reader_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &reader_spec, NULL);
    int status = type ? PyModule_AddObjectRef(module, "Reader", type) : -1;
    Py_XDECREF(type);
    return status;
}
