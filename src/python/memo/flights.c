/*
 * flights.c - the methods of a Store that say who computes what.
 */
#include "python/memo/memo.h"
#include <unistd.h>

const char memo_begin_doc[] =
    PyDoc_STR("begin($self, key, tasks=None, /)\n--\n\n"
              "Waits until nobody else computes this. True: then call end(); False: "
              "compute without. None: a task "
              "computes it, of another process, or one that the dict 'tasks' has.");
/* A signal that came while begin() waited raises before the caller can call end(). 0, or -1. */
static int check_signals(store_object *self, const uint8_t *key)
{
    if (PyErr_CheckSignals() == 0)
        return 0;
    if (self->store && !self->closing && self->pid == getpid()) /* else the lock is gone */
        memo_store_end(self->store, key);
    return -1;
}

PyObject *memo_call_begins(PyObject *obj, PyObject *args)
{
    const uint8_t *key;
    memo_store *store;
    memo_status status;
    PyObject *key_object, *tasks = Py_None;
    if (!PyArg_ParseTuple(args, "O|O:begin", &key_object, &tasks) ||
        memo_take_key(key_object, &key) < 0)
        return NULL;
    do { /* a signal's handler may fork, and return in the child */
        if (!(store = memo_enter((store_object *)obj)))
            return NULL;
        Py_BEGIN_ALLOW_THREADS status = memo_store_begin(store, key);
        Py_END_ALLOW_THREADS memo_leave((store_object *)obj);
    } while (status == MEMO_INTERRUPTED && PyErr_CheckSignals() == 0);
    if (status == MEMO_INTERRUPTED)
        return NULL; /* what the signal's handler raised */
    if (status == MEMO_OK && check_signals((store_object *)obj, key) < 0)
        return NULL;
    if (status == MEMO_NOMEM)
        return PyErr_NoMemory();
    if (status == MEMO_OK && tasks != Py_None) {
        if (!(store = memo_enter((store_object *)obj)))
            return NULL;
        int found = PyDict_Contains(tasks, key_object);
        if (found == 0)
            found = memo_store_task_is_elsewhere(store, key);
        if (found)
            memo_store_end(store, key);
        memo_leave((store_object *)obj);
        if (found < 0)
            return NULL;
        if (found)
            Py_RETURN_NONE;
    }
    return PyBool_FromLong(status == MEMO_OK); /* locks that cannot be had are not waited for */
}

/* What a question about a key is answered by. */
static PyObject *ask(PyObject *obj, PyObject *key_object,
                     long (*question)(memo_store *store, const uint8_t *key))
{
    const uint8_t *key;
    memo_store *store;
    if (memo_take_key(key_object, &key) < 0 || !(store = memo_enter((store_object *)obj)))
        return NULL;
    long answer = question(store, key);
    memo_leave((store_object *)obj);
    return PyLong_FromLong(answer);
}

static long owner_of(memo_store *store, const uint8_t *key)
{
    return memo_store_owner(store, key);
}

PyObject *memo_ask_owner(PyObject *obj, PyObject *key)
{
    return ask(obj, key, owner_of);
}

static long has_other_calls(memo_store *store, const uint8_t *key)
{
    return memo_store_has_other_calls(store, key);
}

PyObject *memo_ask_other_calls(PyObject *obj, PyObject *key)
{
    return ask(obj, key, has_other_calls);
}

static long task_is_elsewhere(memo_store *store, const uint8_t *key)
{
    return memo_store_task_is_elsewhere(store, key);
}

PyObject *memo_ask_task_elsewhere(PyObject *obj, PyObject *key)
{
    return ask(obj, key, task_is_elsewhere);
}

static long begin_task(memo_store *store, const uint8_t *key)
{
    return memo_store_begin_task(store, key);
}

PyObject *memo_task_begins(PyObject *obj, PyObject *key)
{
    return ask(obj, key, begin_task);
}

static long is_still_absent(memo_store *store, const uint8_t *key)
{
    return memo_store_is_still_absent(store, key);
}

PyObject *memo_ask_still_absent(PyObject *obj, PyObject *key)
{
    return ask(obj, key, is_still_absent);
}

PyObject *memo_task_ends(PyObject *obj, PyObject *key_object)
{
    const uint8_t *key;
    memo_store *store;
    if (memo_take_key(key_object, &key) < 0)
        return NULL;
    if (!((store_object *)obj)->store || ((store_object *)obj)->closing)
        Py_RETURN_FALSE;
    if (!(store = memo_enter((store_object *)obj)))
        return NULL;
    memo_store_end_task(store, key);
    memo_leave((store_object *)obj);
    Py_RETURN_TRUE;
}

PyObject *memo_call_ends(PyObject *obj, PyObject *key_object)
{
    const uint8_t *key;
    memo_store *store;
    if (memo_take_key(key_object, &key) < 0)
        return NULL;
    if (!((store_object *)obj)->store || ((store_object *)obj)->closing)
        Py_RETURN_NONE; /* with the file's descriptor the lock went */
    if (!(store = memo_enter((store_object *)obj)))
        return NULL;
    memo_store_end(store, key);
    memo_leave((store_object *)obj);
    Py_RETURN_NONE;
}
