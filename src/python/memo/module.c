/*
 * module.c - the extension achar._memo: memo/store.h for Python, checksums, zstd.
 *
 * It is a module of its own so that only who uses achar.Memo loads SQLite. What is decided, rather than
 * done, stands in achar/memo.py.
 *
 * Invariant: whoever waits for a lock of the store does not hold the GIL, so a thread that has such a
 * lock may take the GIL.
 */
#include "python/memo/memo.h"
#include <structmember.h>
#include <unistd.h>

typedef struct store_object {
    PyObject_HEAD memo_store *store; /* NULL: closed */
    PyObject *path;                  /* bytes */
    PyObject *weak;
    memo_durability durability;
    int users;   /* threads inside */
    int closing; /* the last of them closes */
    pid_t pid;   /* whose the store is: a child after a fork opens its own */
} store_object;

static memo_state *state_of(PyObject *self)
{
    return PyType_GetModuleState(Py_TYPE(self)); /* the type cannot be subclassed */
}

PyObject *memo_raise(memo_state *st, memo_status status)
{
    if (status == MEMO_NOMEM)
        return PyErr_NoMemory();
    PyObject *class = status == MEMO_DAMAGED       ? st->Damaged
                      : status == MEMO_DAMAGED_ROW ? st->DamagedRow
                      : status == MEMO_FULL        ? st->Full
                      : status == MEMO_MOVED       ? st->Moved
                      : status == MEMO_FOREIGN     ? st->Foreign
                                                   : st->Error;
    const char *message = memo_message(); /* may quote what is damaged */
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    if (text)
        PyErr_SetObject(class, text);
    Py_XDECREF(text);
    return NULL;
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

/* The store, to be left again; NULL with an exception set. */
static memo_store *enter(store_object *self)
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

static void leave(store_object *self)
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

/* 0, or -1 with an exception set. */
static int take_key(PyObject *obj, const uint8_t **key)
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
    if (take_key(key_object, &key) < 0 || !(store = enter((store_object *)obj)))
        return MEMO_ERROR;
    Py_BEGIN_ALLOW_THREADS status = memo_store_get(store, key, out);
    Py_END_ALLOW_THREADS leave((store_object *)obj);
    return status;
}

PyDoc_STRVAR(get_doc, "get(key)\n--\n\n"
                      "(kind, origin, beside, stored_ms, took_ns, value), or None.");
static PyObject *store_get(PyObject *obj, PyObject *key)
{
    memo_row row;
    memo_status status = memo_get(obj, key, &row);
    if (status == MEMO_ABSENT)
        Py_RETURN_NONE;
    if (status != MEMO_OK)
        return PyErr_Occurred() ? NULL : memo_raise(state_of(obj), status);
    PyObject *result = Py_BuildValue(
        "(LLLLLy#)", (long long)row.kind, (long long)row.origin, (long long)row.beside,
        (long long)row.stored_ms, (long long)row.took_ns, row.value, (Py_ssize_t)row.value_nbytes);
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
    "put(key, kind, origin, beside, stored_ms, took_ns, value)\n--\n\n"
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
    memo_store *store = take_key(key_object, &key) < 0 ? NULL : enter((store_object *)obj);
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
    Py_END_ALLOW_THREADS leave((store_object *)obj);
    PyBuffer_Release(&value);
    if (status != MEMO_OK)
        return memo_raise(state_of(obj), status);
    return bytes_or_none(&replaced);
}

PyDoc_STRVAR(
    drop_damaged_doc,
    "drop_damaged(key)\n--\n\n"
    "Drops the row with this key if it is damaged. None: it is not, any more; else the value\n"
    "of the row if it had a file beside, or b''.");
static PyObject *store_drop_damaged(PyObject *obj, PyObject *key_object)
{
    const uint8_t *key;
    memo_store *store;
    memo_bytes dropped = {NULL, 0};
    memo_status status;
    if (take_key(key_object, &key) < 0 || !(store = enter((store_object *)obj)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = memo_store_drop_damaged(store, key, &dropped);
    Py_END_ALLOW_THREADS leave((store_object *)obj);
    if (status == MEMO_ABSENT)
        Py_RETURN_NONE;
    if (status != MEMO_OK)
        return memo_raise(state_of(obj), status);
    return dropped.data ? bytes_or_none(&dropped) : PyBytes_FromStringAndSize(NULL, 0);
}

PyDoc_STRVAR(
    begin_doc,
    "begin(key)\n--\n\n"
    "Waits until nobody else computes this. True: then call end(); False: compute without.");
static PyObject *store_begin(PyObject *obj, PyObject *key_object)
{
    const uint8_t *key;
    memo_store *store;
    memo_status status;
    if (take_key(key_object, &key) < 0)
        return NULL;
    do { /* a signal's handler may fork, and return in the child */
        if (!(store = enter((store_object *)obj)))
            return NULL;
        Py_BEGIN_ALLOW_THREADS status = memo_store_begin(store, key);
        Py_END_ALLOW_THREADS leave((store_object *)obj);
    } while (status == MEMO_INTERRUPTED && PyErr_CheckSignals() == 0);
    if (status == MEMO_INTERRUPTED)
        return NULL; /* what the signal's handler raised */
    if (status == MEMO_NOMEM)
        return PyErr_NoMemory();
    return PyBool_FromLong(status == MEMO_OK); /* locks that cannot be had are not waited for */
}

static PyObject *store_end(PyObject *obj, PyObject *key_object)
{
    const uint8_t *key;
    memo_store *store;
    if (take_key(key_object, &key) < 0)
        return NULL;
    if (!((store_object *)obj)->store || ((store_object *)obj)->closing)
        Py_RETURN_NONE; /* with the file's descriptor the lock went */
    if (!(store = enter((store_object *)obj)))
        return NULL;
    memo_store_end(store, key);
    leave((store_object *)obj);
    Py_RETURN_NONE;
}

static PyObject *store_flush(PyObject *obj, PyObject *unused)
{
    memo_status status;
    memo_store *store = enter((store_object *)obj);
    if (!store)
        return NULL;
    Py_BEGIN_ALLOW_THREADS status = memo_store_flush(store);
    Py_END_ALLOW_THREADS leave((store_object *)obj);
    if (status != MEMO_OK)
        return memo_raise(state_of(obj), status);
    Py_RETURN_NONE;
}

static PyObject *store_inode(PyObject *obj, void *unused)
{
    const store_object *self = (store_object *)obj;
    return PyLong_FromUnsignedLongLong(self->store ? memo_store_inode(self->store) : 0);
}

/* ---- statements ---- */

typedef struct run_context {
    PyThreadState *saved;
    PyObject *sql, *parameters;
    PyObject *rows; /* the result */
} run_context;

static int bind_one(sqlite3_stmt *statement, int at, PyObject *value)
{
    if (PyLong_Check(value)) {
        long long number = PyLong_AsLongLong(value);
        return number == -1 && PyErr_Occurred() ? -1 : sqlite3_bind_int64(statement, at, number);
    }
    if (PyUnicode_Check(value)) {
        Py_ssize_t nbytes;
        const char *text = PyUnicode_AsUTF8AndSize(value, &nbytes);
        return text ? sqlite3_bind_text64(statement, at, text, (sqlite3_uint64)nbytes,
                                          SQLITE_TRANSIENT, SQLITE_UTF8)
                    : -1;
    }
    if (PyBytes_Check(value))
        return sqlite3_bind_blob64(statement, at, PyBytes_AS_STRING(value),
                                   (sqlite3_uint64)PyBytes_GET_SIZE(value), SQLITE_TRANSIENT);
    PyErr_SetString(PyExc_TypeError, "a parameter must be an int, a str, or bytes");
    return -1;
}

static PyObject *column(sqlite3_stmt *statement, int i)
{
    switch (sqlite3_column_type(statement, i)) {
    case SQLITE_INTEGER:
        return PyLong_FromLongLong(sqlite3_column_int64(statement, i));
    case SQLITE_FLOAT:
        return PyFloat_FromDouble(sqlite3_column_double(statement, i));
    case SQLITE_TEXT:
        return PyUnicode_DecodeUTF8((const char *)sqlite3_column_text(statement, i),
                                    sqlite3_column_bytes(statement, i), "replace");
    case SQLITE_BLOB: {
        const void *blob = sqlite3_column_blob(statement, i);
        return PyBytes_FromStringAndSize(blob, sqlite3_column_bytes(statement, i));
    }
    default:
        Py_RETURN_NONE;
    }
}

/* While nothing collects garbage: what that might call may want the store, which is ours now. */
static int append_row(run_context *run, sqlite3_stmt *statement)
{
    int collects = PyGC_Disable();
    int count = sqlite3_column_count(statement);
    PyObject *row = PyTuple_New(count);
    for (int i = 0; row && i < count; i++) {
        PyObject *value = column(statement, i);
        if (value)
            PyTuple_SET_ITEM(row, i, value);
        else
            Py_CLEAR(row);
    }
    int status = row ? PyList_Append(run->rows, row) : -1;
    Py_XDECREF(row);
    if (collects)
        PyGC_Enable();
    return status;
}

/* With the GIL. MEMO_ERROR with a Python exception set, or none: SQLite's. */
static memo_status run_statement(sqlite3 *db, run_context *run)
{
    sqlite3_stmt *statement = NULL;
    const char *sql = PyUnicode_AsUTF8(run->sql);
    memo_status status = MEMO_ERROR;
    int code = sql ? sqlite3_prepare_v2(db, sql, -1, &statement, NULL) : SQLITE_ERROR;
    if (code != SQLITE_OK) {
        /* The statements are ours: what they name is missing where the schema is damaged. */
        status = PyErr_Occurred()                ? MEMO_ERROR
                 : (code & 0xFF) == SQLITE_ERROR ? MEMO_DAMAGED
                                                 : memo_status_of(code);
        goto done;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(run->parameters); i++) {
        if (bind_one(statement, (int)i + 1, PyTuple_GET_ITEM(run->parameters, i)) != SQLITE_OK)
            goto done;
    }
    for (;;) {
        Py_BEGIN_ALLOW_THREADS code = sqlite3_step(statement);
        Py_END_ALLOW_THREADS if (code != SQLITE_ROW) break;
        if (append_row(run, statement) < 0)
            goto done;
    }
    status = memo_status_of(code);
done:
    sqlite3_finalize(statement);
    return status;
}

static memo_status run_with_gil(sqlite3 *db, void *context)
{
    run_context *run = context;
    PyEval_RestoreThread(run->saved);
    memo_status status = run_statement(db, run);
    run->saved = PyEval_SaveThread();
    return status;
}

PyDoc_STRVAR(
    run_doc,
    "run(sql, parameters, write)\n--\n\n"
    "The rows of one statement, as a list of tuples; 'write': in a transaction of its own.");
static PyObject *store_run(PyObject *obj, PyObject *args)
{
    run_context run = {NULL};
    int writes;
    memo_store *store;
    if (!PyArg_ParseTuple(args, "UO!p:run", &run.sql, &PyTuple_Type, &run.parameters, &writes) ||
        !(store = enter((store_object *)obj)))
        return NULL;
    memo_status status = MEMO_NOMEM;
    run.rows = PyList_New(0);
    if (run.rows) {
        run.saved = PyEval_SaveThread();
        status = writes ? memo_store_write(store, run_with_gil, &run)
                        : memo_store_read(store, run_with_gil, &run);
        PyEval_RestoreThread(run.saved);
    }
    leave((store_object *)obj);
    if (status == MEMO_OK)
        return run.rows;
    Py_XDECREF(run.rows);
    return PyErr_Occurred() ? NULL : memo_raise(state_of(obj), status);
}

/* ---- the module ---- */

static PyMethodDef store_methods[] = {
    {"get", store_get, METH_O, get_doc},
    {"put", store_put, METH_VARARGS, put_doc},
    {"drop_damaged", store_drop_damaged, METH_O, drop_damaged_doc},
    {"begin", store_begin, METH_O, begin_doc},
    {"end", store_end, METH_O, "end(key)\n--\n\nThe computation that begin() announced has ended."},
    {"run", store_run, METH_VARARGS, run_doc},
    {"flush", store_flush, METH_NOARGS, "flush()\n--\n\nWrites down which results were used."},
    {"close", store_close, METH_NOARGS, "close()\n--\n\nCloses the file; twice does nothing."},
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
    {Py_tp_doc, (void *)"Store(path, durability)\n--\n\nResults on disk; see achar.memo.Memo."},
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

static int add_exception(PyObject *module, const char *name, const char *doc, PyObject *base,
                         PyObject **out)
{
    *out = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    return *out ? PyModule_AddObjectRef(module, strrchr(name, '.') + 1, *out) : -1;
}

static int module_exec(PyObject *module)
{
    memo_state *st = PyModule_GetState(module);
    PyObject *store = PyType_FromModuleAndSpec(module, &store_spec, NULL);
    int status = store ? PyModule_AddObjectRef(module, "Store", store) : -1;
    Py_XDECREF(store);
    if (status < 0 || memo_reader_exec(module) < 0 ||
        PyModule_AddFunctions(module, memo_fork_functions) < 0 ||
        PyModule_AddFunctions(module, memo_salvage_functions) < 0 ||
        add_exception(module, "achar.memo.MemoError", "A memo cannot do what it was asked.", NULL,
                      &st->Error) < 0 ||
        add_exception(module, "achar.memo.MemoDamaged", "The file is not what was written.",
                      st->Error, &st->Damaged) < 0 ||
        add_exception(module, "achar.memo.DamagedRow", "A row is not what was written.",
                      st->Damaged, &st->DamagedRow) < 0 ||
        add_exception(module, "achar.memo.MemoFull", "There is no room left to store a result.",
                      st->Error, &st->Full) < 0 ||
        add_exception(module, "achar.memo.Moved", "Another file stands in its place.", st->Error,
                      &st->Moved) < 0 ||
        add_exception(module, "achar.memo.NotAMemo", "The file is something else.", st->Error,
                      &st->Foreign) < 0)
        return -1;
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    memo_state *st = PyModule_GetState(module);
    Py_VISIT(st->Error);
    Py_VISIT(st->Damaged);
    Py_VISIT(st->DamagedRow);
    Py_VISIT(st->Full);
    Py_VISIT(st->Foreign);
    Py_VISIT(st->Moved);
    return 0;
}

static int module_clear(PyObject *module)
{
    memo_state *st = PyModule_GetState(module);
    Py_CLEAR(st->Error);
    Py_CLEAR(st->Damaged);
    Py_CLEAR(st->DamagedRow);
    Py_CLEAR(st->Full);
    Py_CLEAR(st->Foreign);
    Py_CLEAR(st->Moved);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "achar._memo",
    .m_doc = "What achar.memo does in C.",
    .m_size = sizeof(memo_state),
    .m_methods = memo_functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__memo(void);
PyMODINIT_FUNC PyInit__memo(void)
{
    return PyModuleDef_Init(&module_def);
}
