/*
 * statements.c - Store.run(): one statement of SQL, its rows as tuples.
 *
 * The statement runs while this thread has a connection of the store, and needs the GIL for parameters and
 * rows. No other Python code may run then: it might want the store.
 */
#include "python/memo/memo.h"

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

PyObject *memo_run(memo_state *st, memo_store *store, PyObject *args)
{
    run_context run = {NULL};
    int writes;
    if (!PyArg_ParseTuple(args, "UO!p:run", &run.sql, &PyTuple_Type, &run.parameters, &writes) ||
        !(run.rows = PyList_New(0)))
        return NULL;
    run.saved = PyEval_SaveThread();
    memo_status status = writes ? memo_store_write(store, run_with_gil, &run)
                                : memo_store_read(store, run_with_gil, &run);
    PyEval_RestoreThread(run.saved);
    if (status == MEMO_OK)
        return run.rows;
    Py_DECREF(run.rows);
    return PyErr_Occurred() ? NULL : memo_raise(st, status);
}
