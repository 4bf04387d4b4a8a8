/*
 * notify.c - who is told of a future's end: waiters of concurrent.futures, and callbacks.
 *
 * Nobody is told of a future that nobody asked about. The first who asks has the runtime hand the task to
 * the watching thread when it ends (future_ask_to_be_told); that thread serves all, once (future_notify).
 */
#include "python/compat.h"
#include "python/executor/executor.h"
#include "python/executor/future.h"

int future_ask_to_be_told(future_object *f)
{
    if (!f->task || f->watch != WATCH_NONE)
        return 0;
    if (pool_start_watcher(f->pool) < 0)
        return -1;
    if (!f->task || f->watch != WATCH_NONE) /* Python code ran */
        return 0;
    Py_INCREF(f);
    f->watch = WATCH_PENDING;
    if (!achar__task_watch(f->task, f)) {
        f->watch = WATCH_NOTIFIED; /* it had ended, and nobody had asked */
        Py_DECREF(f);
    }
    return 0;
}

int future_make_list(PyObject **list)
{
    PyObject *made = *list ? NULL : PyList_New(0);
    if (!*list && !made)
        return -1;
    if (!*list)
        *list = made;
    else
        Py_XDECREF(made);
    return 0;
}

int future_call_back(module_state *st, future_object *f, PyObject *callback)
{
    PyObject *returned = PyObject_CallOneArg(callback, (PyObject *)f);
    if (returned) {
        Py_DECREF(returned);
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *exception = compat_take_exception();
    PyObject *logger = NULL, *error = NULL, *args = NULL, *kwargs = NULL;
    logger = PyObject_GetAttrString(st->futures_base, "LOGGER");
    if (logger)
        error = PyObject_GetAttrString(logger, "error");
    args = Py_BuildValue("(sO)", "exception calling callback for %r", (PyObject *)f);
    kwargs = Py_BuildValue("{sO}", "exc_info", exception);
    if (error && args && kwargs)
        returned = PyObject_Call(error, args, kwargs);
    if (!returned)
        PyErr_WriteUnraisable(callback);
    Py_XDECREF(returned);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(error);
    Py_XDECREF(logger);
    Py_DECREF(exception);
    return 0;
}

/* Calls object.method(argument or nothing); an exception is printed and cleared. */
static void call_loudly(PyObject *object, const char *method, PyObject *argument)
{
    PyObject *returned = PyObject_CallMethod(object, method, argument ? "(O)" : NULL, argument);
    if (!returned)
        PyErr_WriteUnraisable(object);
    Py_XDECREF(returned);
}

static const char *waiter_method(const future_object *f)
{
    switch (future_state_now(f)) {
    case FUTURE_CANCELLED:
    case FUTURE_CANCELLED_AND_NOTIFIED:
        return "add_cancelled";
    default:
        if (f->task)
            return achar__task_state_of(f->task) == ACHAR__TASK_RETURNED ? "add_result"
                                                                         : "add_exception";
        return f->exception ? "add_exception" : "add_result";
    }
}

void future_notify(module_state *st, future_object *f)
{
    if (f->watch == WATCH_NOTIFIED)
        return;
    PyObject *condition = Py_XNewRef(f->condition);
    if (condition)
        call_loudly(condition, "acquire", NULL);
    int first = f->watch != WATCH_NOTIFIED; /* acquire() let other threads run */
    f->watch = WATCH_NOTIFIED;
    if (first && f->waiters) {
        PyObject *waiters = PySequence_Tuple(f->waiters);
        if (!waiters)
            PyErr_WriteUnraisable((PyObject *)f);
        const char *method = waiter_method(f);
        for (Py_ssize_t i = 0; waiters && i < PyTuple_GET_SIZE(waiters); i++)
            call_loudly(PyTuple_GET_ITEM(waiters, i), method, (PyObject *)f);
        Py_XDECREF(waiters);
    }
    if (condition) {
        if (first)
            call_loudly(condition, "notify_all", NULL);
        call_loudly(condition, "release", NULL);
        Py_DECREF(condition);
    }
    if (!first)
        return;
    PyObject *callbacks = f->callbacks;
    f->callbacks = NULL;
    for (Py_ssize_t i = 0; callbacks && i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *callback = Py_NewRef(PyList_GET_ITEM(callbacks, i));
        if (future_call_back(st, f, callback) < 0)
            PyErr_WriteUnraisable(callback);
        Py_DECREF(callback);
    }
    Py_XDECREF(callbacks);
}
