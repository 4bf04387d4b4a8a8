/*
 * store.c - achar._memo.Store: memo/store.h for Python.
 *
 * A thread enters the store and leaves it; close() takes effect when the last has left. In a child after
 * a fork the first that enters opens a store of its own.
 *
 * Invariant: whoever waits for a lock of the store does not hold the GIL, so a thread that has such a
 * lock may take the GIL.
 */
#include "python/memo/memo.h"
#include <structmember.h>
#include <unistd.h>

static memo_state *state_of(PyObject *self)
{
    return PyType_GetModuleState(Py_TYPE(self)); /* the type cannot be subclassed */
}

/* ---- opening, entering, closing ---- */

static int open_store(store_object *self)
{
    memo_status status;
    memo_store *store = NULL;
    char *path = PyBytes_AS_STRING(self->path);
    Py_BEGIN_ALLOW_THREADS status = memo_store_open(path, self->durability, &store);
    if (status != MEMO_OK)
        memo_store_close(store);
    Py_END_ALLOW_THREADS if (status != MEMO_OK)
    {
        memo_raise(state_of((PyObject *)self), status);
        return -1;
    }
    self->store = store;
    self->pid = getpid();
    return 0;
}

/* After a fork. 0, or -1 with an exception set; then the next who enters tries again. */
static int open_in_child(store_object *self)
{
    int status = 0;
    memo_lock_opening();
    if (self->pid != getpid()) { /* no other thread has done it meanwhile */
        memo_store_abandon(self->store);
        self->store = NULL;
        self->users = 0;
        status = open_store(self);
    }
    memo_unlock_opening();
    return status;
}

memo_store *memo_enter(store_object *self)
{
    if (!self->closing && self->pid != getpid() && open_in_child(self) < 0)
        return NULL;
    if (!self->store || self->closing) {
        PyErr_SetString(state_of((PyObject *)self)->Error, "the memo is closed");
        return NULL;
    }
    self->users++;
    return self->store;
}

static void close_now(store_object *self)
{
    memo_store *store = self->store;
    self->store = NULL;
    if (store && self->pid != getpid()) {
        memo_store_abandon(store);
    } else if (store) {
        Py_BEGIN_ALLOW_THREADS memo_store_close(store);
        Py_END_ALLOW_THREADS
    }
}

void memo_leave(store_object *self)
{
    if (--self->users == 0 && self->closing)
        close_now(self);
}

static PyObject *store_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *path = NULL;
    int durability;
    if (!PyArg_ParseTuple(args, "O&i:Store", PyUnicode_FSConverter, &path, &durability))
        return NULL;
    store_object *self = (store_object *)type->tp_alloc(type, 0);
    if (!self) {
        Py_DECREF(path);
        return NULL;
    }
    self->path = path;
    self->durability = durability ? MEMO_POWER : MEMO_PROCESS;
    if (open_store(self) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void store_dealloc(PyObject *obj)
{
    store_object *self = (store_object *)obj;
    PyTypeObject *type = Py_TYPE(obj);
    if (self->weak)
        PyObject_ClearWeakRefs(obj);
    close_now(self);
    Py_XDECREF(self->path);
    type->tp_free(obj);
    Py_DECREF(type);
}

static PyObject *store_close(PyObject *obj, PyObject *unused)
{
    store_object *self = (store_object *)obj;
    self->closing = 1;
    if (self->users == 0)
        close_now(self);
    Py_RETURN_NONE;
}

/* ---- rows ---- */

int memo_take_key(PyObject *obj, const uint8_t **key)
{
    if (!PyBytes_Check(obj) || PyBytes_GET_SIZE(obj) != MEMO_KEY_NBYTES) {
        PyErr_SetString(PyExc_TypeError, "a key is 32 bytes");
        return -1;
    }
    *key = (const uint8_t *)PyBytes_AS_STRING(obj);
    return 0;
}

memo_status memo_get(PyObject *obj, PyObject *key_object, memo_row *out)
{
    const uint8_t *key;
    memo_store *store;
    memo_status status;
    if (memo_take_key(key_object, &key) < 0 || !(store = memo_enter((store_object *)obj)))
        return MEMO_ERROR;
    Py_BEGIN_ALLOW_THREADS status = memo_store_get(store, key, out);
    Py_END_ALLOW_THREADS memo_leave((store_object *)obj);
    return status;
}

PyObject *memo_row_tuple(const memo_row *row)
{
    return Py_BuildValue("(LLLLLy#)", (long long)row->kind, (long long)row->origin,
                         (long long)row->beside, (long long)row->stored_ms, (long long)row->took_ns,
                         row->value, (Py_ssize_t)row->value_nbytes);
}

PyDoc_STRVAR(get_doc, "get($self, key, /)\n--\n\n"
                      "(kind, origin, beside, stored_ms, took_ns, value), or None.");
static PyObject *store_get(PyObject *obj, PyObject *key)
{
    memo_row row;
    memo_status status = memo_get(obj, key, &row);
    if (status == MEMO_ABSENT)
        Py_RETURN_NONE;
    if (status != MEMO_OK)
        return PyErr_Occurred() ? NULL : memo_raise(state_of(obj), status);
    PyObject *result = memo_row_tuple(&row);
    free((void *)row.value);
    return result;
}

static PyObject *bytes_or_none(memo_bytes *bytes)
{
    if (!bytes->data)
        Py_RETURN_NONE;
    PyObject *result = PyBytes_FromStringAndSize(bytes->data, (Py_ssize_t)bytes->nbytes);
    free(bytes->data);
    return result;
}

PyDoc_STRVAR(
    put_doc,
    "put($self, key, kind, origin, beside, stored_ms, took_ns, value, /)\n--\n\n"
    "Returns when it is committed: None, or the value of the row in whose place it came, if\n"
    "that one had a file beside.");
static PyObject *store_put(PyObject *obj, PyObject *args)
{
    PyObject *key_object;
    const uint8_t *key;
    Py_buffer value;
    long long numbers[5];
    memo_row row = {{0}};
    memo_bytes replaced = {NULL, 0};
    memo_status status;
    if (!PyArg_ParseTuple(args, "OLLLLLy*:put", &key_object, &numbers[0], &numbers[1], &numbers[2],
                          &numbers[3], &numbers[4], &value))
        return NULL;
    memo_store *store =
        memo_take_key(key_object, &key) < 0 ? NULL : memo_enter((store_object *)obj);
    if (!store) {
        PyBuffer_Release(&value);
        return NULL;
    }
    memcpy(row.key, key, MEMO_KEY_NBYTES);
    row.kind = numbers[0];
    row.origin = numbers[1];
    row.beside = numbers[2];
    row.stored_ms = numbers[3];
    row.took_ns = numbers[4];
    row.value = value.buf;
    row.value_nbytes = (size_t)value.len;
    Py_BEGIN_ALLOW_THREADS status = memo_store_put(store, &row, &replaced);
    Py_END_ALLOW_THREADS memo_leave((store_object *)obj);
    PyBuffer_Release(&value);
    if (status != MEMO_OK)
        return memo_raise(state_of(obj), status);
    return bytes_or_none(&replaced);
}

PyDoc_STRVAR(
    drop_damaged_doc,
    "drop_damaged($self, key, /)\n--\n\n"
    "Drops the row with this key if it is damaged. None: it is not, any more; else the value\n"
    "of the row if it had a file beside, or b''.");
static PyObject *store_drop_damaged(PyObject *obj, PyObject *key_object)
{
    const uint8_t *key;
    memo_store *store;
    memo_bytes dropped = {NULL, 0};
    memo_status status;
    if (memo_take_key(key_object, &key) < 0 || !(store = memo_enter((store_object *)obj)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = memo_store_drop_damaged(store, key, &dropped);
    Py_END_ALLOW_THREADS memo_leave((store_object *)obj);
    if (status == MEMO_ABSENT)
        Py_RETURN_NONE;
    if (status != MEMO_OK)
        return memo_raise(state_of(obj), status);
    return dropped.data ? bytes_or_none(&dropped) : PyBytes_FromStringAndSize(NULL, 0);
}

static PyObject *store_flush(PyObject *obj, PyObject *unused)
{
    memo_status status;
    memo_store *store = memo_enter((store_object *)obj);
    if (!store)
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = memo_store_flush(store);
    Py_END_ALLOW_THREADS memo_leave((store_object *)obj);
    if (status != MEMO_OK)
        return memo_raise(state_of(obj), status);
    Py_RETURN_NONE;
}

static PyObject *store_inode(PyObject *obj, void *unused)
{
    const store_object *self = (store_object *)obj;
    return PyLong_FromUnsignedLongLong(self->store ? memo_store_inode(self->store) : 0);
}

PyDoc_STRVAR(
    run_doc,
    "run($self, sql, parameters, write, /)\n--\n\n"
    "The rows of one statement, as a list of tuples; 'write': in a transaction of its own.");
static PyObject *store_run(PyObject *obj, PyObject *args)
{
    memo_store *store = memo_enter((store_object *)obj);
    if (!store)
        return NULL;
    PyObject *rows = memo_run(state_of(obj), store, args);
    memo_leave((store_object *)obj);
    return rows;
}

/* ---- the type ---- */

static PyMethodDef store_methods[] = {
    {"get", store_get, METH_O, get_doc},
    {"put", store_put, METH_VARARGS, put_doc},
    {"is_still_absent", memo_ask_still_absent, METH_O,
     "is_still_absent($self, key, /)\n--\n\n"
     "Has this thread just not found it, and nobody committed anything since?"},
    {"drop_damaged", store_drop_damaged, METH_O, drop_damaged_doc},
    {"begin", memo_call_begins, METH_VARARGS, memo_begin_doc},
    {"end", memo_call_ends, METH_O,
     "end($self, key, /)\n--\n\nThe computation that begin() announced has ended."},
    {"owner", memo_ask_owner, METH_O,
     "owner($self, key, /)\n--\n\nWho has begun: 0, nobody; 1, this thread; 2, another; 3, another "
     "process."},
    {"has_other_calls", memo_ask_other_calls, METH_O,
     "has_other_calls($self, key, /)\n--\n\nHas a thread of this process begun anything else?"},
    {"begin_task", memo_task_begins, METH_O,
     "begin_task($self, key, /)\n--\n\nWhether this process is the one whose tasks compute it "
     "now."},
    {"end_task", memo_task_ends, METH_O,
     "end_task($self, key, /)\n--\n\nFalse: the store is closed, and has not ended it."},
    {"task_is_elsewhere", memo_ask_task_elsewhere, METH_O,
     "task_is_elsewhere($self, key, /)\n--\n\nDoes a task of another process compute it?"},
    {"run", store_run, METH_VARARGS, run_doc},
    {"flush", store_flush, METH_NOARGS,
     "flush($self, /)\n--\n\nWrites down which results were used."},
    {"close", store_close, METH_NOARGS,
     "close($self, /)\n--\n\nCloses the file; twice does nothing."},
    {NULL},
};

static PyMemberDef store_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(store_object, weak), READONLY},
    {NULL},
};

static PyGetSetDef store_getset[] = {
    {"inode", store_inode, NULL, "of the file that is open; 0: none is", NULL},
    {NULL},
};

static PyType_Slot store_slots[] = {
    {Py_tp_doc, (void *)"Store(path, durability, /)\n--\n\nResults on disk; see achar.memo.Memo."},
    {Py_tp_new, store_new},
    {Py_tp_dealloc, store_dealloc},
    {Py_tp_methods, store_methods},
    {Py_tp_members, store_members},
    {Py_tp_getset, store_getset},
    {0, NULL},
};

int memo_is_store(PyObject *obj)
{
    return Py_TYPE(obj)->tp_dealloc == store_dealloc;
}

static PyType_Spec store_spec = {
    .name = "achar._memo.Store",
    .basicsize = sizeof(store_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = store_slots,
};

int memo_store_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &store_spec, NULL);
    int status = type ? PyModule_AddObjectRef(module, "Store", type) : -1;
    Py_XDECREF(type);
    return status;
}
