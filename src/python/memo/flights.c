/*
 * flights.c - the methods of a Store that say who computes what.
 */
#include "python/memo/memo.h"
#include <time.h>
#include <unistd.h>

const char memo_begin_doc[] = PyDoc_STR(
    "begin($self, key, tasks=None, wait=None, /)\n--\n\n"
    "Waits until nobody else computes this, so many seconds at most. True: then call end(); "
    "False: compute without. None: a task computes it, of another process, or one that the "
    "dict 'tasks' has.");

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* -1: there is no end. */
static int64_t left_ms(int64_t end_ns)
{
    if (end_ns == INT64_MAX)
        return -1;
    int64_t left_ns = end_ns - now_ns();
    return left_ns > 0 ? (left_ns + 999999) / 1000000 : 0;
}

/* INT64_MAX: there is none; -1 with an exception set. */
static int64_t end_of_wait(PyObject *wait)
{
    if (wait == Py_None)
        return INT64_MAX;
    double seconds = PyFloat_AsDouble(wait);
    if (seconds == -1 && PyErr_Occurred())
        return -1;
    return seconds < 1e9 ? now_ns() + (int64_t)(seconds * 1e9) : INT64_MAX;
}

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
    PyObject *key_object, *tasks = Py_None, *wait = Py_None;
    if (!PyArg_ParseTuple(args, "O|OO:begin", &key_object, &tasks, &wait) ||
        memo_take_key(key_object, &key) < 0)
        return NULL;
    int64_t limit_ms, end_ns = end_of_wait(wait);
    if (end_ns < 0)
        return NULL;
    do { /* a signal's handler may fork, and return in the child */
        if (!(store = memo_enter((store_object *)obj)))
            return NULL;
        limit_ms = left_ms(end_ns);
        Py_BEGIN_ALLOW_THREADS status = memo_store_begin(store, key, limit_ms);
        Py_END_ALLOW_THREADS memo_leave((store_object *)obj);
    } while (status == MEMO_INTERRUPTED && PyErr_CheckSignals() == 0 && limit_ms != 0);
    if (status == MEMO_INTERRUPTED && PyErr_Occurred())
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
