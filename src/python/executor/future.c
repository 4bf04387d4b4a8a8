/*
 * future.c - FutureCore: what achar.Future does at the speed of C.
 *
 * achar.Future is `class Future(FutureCore, concurrent.futures.Future)`, made in achar/executor.py,
 * so that importing achar does not import concurrent.futures. FutureCore overrides everything.
 * A future is one of
 *
 *   of a task    'task' is set; the runtime knows the state, nothing is stored here
 *   settled      'task' is gone; 'state' and 'result' or 'exception' are final (settle.c)
 *   plain        made by hand; 'state' changes by the methods of concurrent.futures.Future, which
 *                find here the attributes that they work on (_condition, _state, _waiters, …)
 *
 * Locking: the GIL. concurrent.futures.wait() and as_completed() take _condition, look at _state and
 * enter themselves into _waiters. So that they miss nothing, asking for _condition or _waiters has
 * the task watched, and from then on _state shows the end only once the watching thread has
 * published it with _condition held (future_notify). done() and result() need not wait for that.
 */
#include "python/executor/future.h"
#include "python/compat.h"
#include "python/executor/inputs.h"
#include <math.h>
#include <time.h>

static const char *const STATE_NAMES[] = {
    [FUTURE_PENDING] = "PENDING",     [FUTURE_RUNNING] = "RUNNING",
    [FUTURE_CANCELLED] = "CANCELLED", [FUTURE_CANCELLED_AND_NOTIFIED] = "CANCELLED_AND_NOTIFIED",
    [FUTURE_FINISHED] = "FINISHED",
};
#define STATE_COUNT (sizeof STATE_NAMES / sizeof STATE_NAMES[0])

/* ---- state ---- */

static enum future_state state_now(const future_object *f)
{
    if (!f->task)
        return f->state;
    switch (achar__task_state_of(f->task)) {
    case ACHAR__TASK_QUEUED:
        return FUTURE_PENDING;
    case ACHAR__TASK_RUNNING:
        return FUTURE_RUNNING;
    case ACHAR__TASK_CANCELLED:
        return FUTURE_CANCELLED_AND_NOTIFIED;
    default:
        return FUTURE_FINISHED;
    }
}

static int is_done(enum future_state state)
{
    return state >= FUTURE_CANCELLED;
}

/* A future made by hand that has not ended: concurrent.futures.Future knows what to do. */
static int is_plain_and_open(const future_object *f)
{
    return !f->task && !is_done(f->state);
}

int future_raise(module_state *st, const char *name, const char *message)
{
    PyObject *class = PyObject_GetAttrString(st->futures_base, name);
    if (class && message)
        PyErr_SetString(class, message);
    else if (class)
        PyErr_SetNone(class);
    Py_XDECREF(class);
    return -1;
}

/* concurrent.futures.Future.<name>(self, *args) */
static PyObject *call_base(module_state *st, PyObject *self, const char *name,
                           PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *method = PyObject_GetAttrString(st->BaseFuture, name);
    if (!method)
        return NULL;
    PyObject *stack[2] = {self, nargs ? args[0] : NULL};
    PyObject *result = PyObject_Vectorcall(method, stack, (size_t)(1 + nargs), NULL);
    Py_DECREF(method);
    return result;
}

/* ---- arguments ---- */

/* The one argument, by position or by the keyword 'name'; NULL: absent, with an exception if needed. */
static PyObject *one_argument(const char *method, const char *name, int required,
                              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + nkw > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes 1 argument (%zd given)", method, nargs + nkw);
        return NULL;
    }
    if (nkw && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), name) != 0) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method,
                     PyTuple_GET_ITEM(kwnames, 0));
        return NULL;
    }
    if (nargs + nkw == 0) {
        if (required)
            PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'",
                         method, name);
        return NULL;
    }
    return args[0];
}

static int no_argument(const char *method, Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs == 0 && !kwnames)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes no arguments", method);
    return -1;
}

int future_timeout(PyObject *timeout, int64_t *out)
{
    *out = -1;
    if (!timeout || timeout == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "Invalid value NaN (not a number)");
        return -1;
    }
    if (seconds < 0)
        *out = 0;
    else if (seconds < 9e9)
        *out = (int64_t)(seconds * 1e9);
    return 0;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- waiting ---- */

/*
 * What a task has printed comes before its result, if whoever prints it is not slow. The pool must not be
 * released meanwhile: another thread may settle the future, and drop the executor.
 */
static void wait_for_output(achar__task *waited, PyObject *pool)
{
    if (!pool || !achar__task_may_have_output(waited))
        return;
    achar__task *task = achar__task_retain(waited);
    Py_INCREF(pool);
    Py_BEGIN_ALLOW_THREADS achar__task_await_output(task);
    Py_END_ALLOW_THREADS achar__task_release(task);
    Py_DECREF(pool);
}

int future_wait(module_state *st, achar__task *waited, PyObject *pool, int64_t timeout_ns)
{
    if (ACHAR__TASK_FINISHED(achar__task_state_of(waited))) {
        wait_for_output(waited, pool);
        return 0;
    }
    achar__task *task = achar__task_retain(waited); /* another thread may let go of it, */
    PyObject *held_pool = Py_XNewRef(pool);         /* and of the pool */
    int64_t deadline_ns = timeout_ns < 0 ? -1 : now_ns() + timeout_ns;
    int outcome = -1;
    for (;;) {
        int status;
        Py_BEGIN_ALLOW_THREADS status = achar__task_wait(task, timeout_ns);
        Py_END_ALLOW_THREADS if (status == ACHAR_OK)
        {
            outcome = 0;
            break;
        }
        if (status == ACHAR_E_TIMEOUT) {
            future_raise(st, "TimeoutError", NULL);
            break;
        }
        if (status != ACHAR_E_INTERRUPTED) {
            if (status == ACHAR_E_CLOSED)
                PyErr_SetString(PyExc_RuntimeError,
                                "this future belongs to the process that forked this one; its "
                                "result arrives there");
            else
                wire_raise_status(status, "wait for a task");
            break;
        }
        if (PyErr_CheckSignals() < 0) {
            if (pool && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
                pool_interrupt(pool);
            break;
        }
        if (deadline_ns >= 0) {
            timeout_ns = deadline_ns - now_ns();
            if (timeout_ns < 0)
                timeout_ns = 0;
        }
    }
    if (outcome == 0)
        wait_for_output(task, held_pool);
    achar__task_release(task);
    Py_XDECREF(held_pool);
    return outcome;
}

/* Waits, settles, and raises CancelledError. 0 with f->state FUTURE_FINISHED, or -1. */
static int finish(module_state *st, future_object *f, PyObject *timeout)
{
    int64_t timeout_ns;
    if (future_timeout(timeout, &timeout_ns) < 0)
        return -1;
    if (f->task && (future_wait(st, f->task, f->pool, timeout_ns) < 0 || future_settle(st, f) < 0))
        return -1;
    if (f->state == FUTURE_FINISHED)
        return 0;
    return future_raise(st, "CancelledError", NULL);
}

#define METHOD_ARGS                                                                                \
    PyObject *self, PyTypeObject *class, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames
#define METHOD(name)                                                                               \
    {                                                                                              \
#name, (PyCFunction)(void (*)(void))future_##name,                                         \
            METH_METHOD | METH_FASTCALL | METH_KEYWORDS, name##_doc                                \
    }

PyDoc_STRVAR(result_doc, "result(timeout=None)\n--\n\n"
                         "What the task returned, waiting for it up to 'timeout' seconds; what it "
                         "raised is raised.");
static PyObject *future_result(METHOD_ARGS)
{
    future_object *f = (future_object *)self;
    module_state *st = PyType_GetModuleState(class);
    PyObject *timeout = one_argument("result", "timeout", 0, args, nargs, kwnames);
    if (!timeout && PyErr_Occurred())
        return NULL;
    if (is_plain_and_open(f))
        return call_base(st, self, "result", args, timeout ? 1 : 0);
    if (finish(st, f, timeout) < 0)
        return NULL;
    if (f->exception) {
        PyErr_SetObject((PyObject *)Py_TYPE(f->exception), f->exception);
        return NULL;
    }
    return Py_NewRef(f->result ? f->result : Py_None);
}

PyDoc_STRVAR(exception_doc, "exception(timeout=None)\n--\n\n"
                            "What the task raised, or None, waiting up to 'timeout' seconds.");
static PyObject *future_exception(METHOD_ARGS)
{
    future_object *f = (future_object *)self;
    module_state *st = PyType_GetModuleState(class);
    PyObject *timeout = one_argument("exception", "timeout", 0, args, nargs, kwnames);
    if (!timeout && PyErr_Occurred())
        return NULL;
    if (is_plain_and_open(f))
        return call_base(st, self, "exception", args, timeout ? 1 : 0);
    if (finish(st, f, timeout) < 0)
        return NULL;
    return Py_NewRef(f->exception ? f->exception : Py_None);
}

PyDoc_STRVAR(done_doc, "done()\n--\n\nTrue once the task has ended, whichever way.");
static PyObject *future_done(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(is_done(state_now((future_object *)self)));
}

PyDoc_STRVAR(running_doc, "running()\n--\n\nTrue while a worker runs the task.");
static PyObject *future_running(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(state_now((future_object *)self) == FUTURE_RUNNING);
}

PyDoc_STRVAR(cancelled_doc, "cancelled()\n--\n\nTrue if the task was cancelled before it started.");
static PyObject *future_cancelled(PyObject *self, PyObject *unused)
{
    enum future_state state = state_now((future_object *)self);
    return PyBool_FromLong(state == FUTURE_CANCELLED || state == FUTURE_CANCELLED_AND_NOTIFIED);
}

PyDoc_STRVAR(cancel_doc, "cancel()\n--\n\n"
                         "Cancel the task if no worker has started it; whether it is cancelled.");
static PyObject *future_cancel(METHOD_ARGS)
{
    future_object *f = (future_object *)self;
    module_state *st = PyType_GetModuleState(class);
    if (no_argument("cancel", nargs, kwnames) < 0)
        return NULL;
    if (is_plain_and_open(f))
        return call_base(st, self, "cancel", NULL, 0);
    if (f->task) {
        if (!achar__task_cancel(f->task))
            Py_RETURN_FALSE;
        /* Python code of notify may come here again: final before it runs. */
        achar__task *task = f->task;
        f->state = FUTURE_CANCELLED_AND_NOTIFIED;
        f->task = NULL;
        achar__task_release(task);
        future_notify(st, f);
    }
    return PyBool_FromLong(f->state != FUTURE_FINISHED);
}

PyDoc_STRVAR(cancel_by_force_doc,
             "_cancel_by_force()\n--\n\n"
             "Cancel the task, also one that runs; whether it is, or will be, cancelled.");
static PyObject *future_cancel_by_force(METHOD_ARGS)
{
    future_object *f = (future_object *)self;
    if (f->task && achar__task_cancel_by_force(f->task) &&
        achar__task_state_of(f->task) != ACHAR__TASK_CANCELLED)
        Py_RETURN_TRUE; /* who waits for it is told when it has ended */
    return future_cancel(self, class, args, nargs, kwnames);
}

PyDoc_STRVAR(reduce_doc, "__reduce_ex__(protocol)\n--\n\n"
                         "As an argument of submit(), the task's result; elsewhere refused.");
static PyObject *future_reduce_ex(METHOD_ARGS)
{
    return inputs_reduce(PyType_GetModuleState(class), self);
}

/* ---- being told ---- */

/*
 * Has the runtime hand the task to the watching thread when it ends. 0; then f->watch is
 * WATCH_PENDING and the end has not been published, or nothing will come any more. -1: an exception.
 */
static int ask_to_be_told(future_object *f)
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

/* Making a list can set off the garbage collector, up to 3.11, and with it any Python code. */
static int make_list(PyObject **list)
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
    switch (state_now(f)) {
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

PyDoc_STRVAR(
    add_done_callback_doc,
    "add_done_callback(fn)\n--\n\n"
    "Have fn(future) called when the task ends, at once if it has; in a thread of Python's.");
static PyObject *future_add_done_callback(METHOD_ARGS)
{
    future_object *f = (future_object *)self;
    module_state *st = PyType_GetModuleState(class);
    PyObject *fn = one_argument("add_done_callback", "fn", 1, args, nargs, kwnames);
    if (!fn)
        return NULL;
    if (!is_done(state_now(f))) {
        if (ask_to_be_told(f) < 0 || make_list(&f->callbacks) < 0)
            return NULL;
    }
    /* No Python code from here to the append, so future_notify() comes after it. */
    if (!is_done(state_now(f)) && f->watch != WATCH_NOTIFIED) {
        if (PyList_Append(f->callbacks, fn) < 0)
            return NULL;
    } else if (future_call_back(st, f, fn) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(bytes_doc,
             "_bytes()\n--\n\n"
             "(kind, bytes) of the result of a task that has returned (packed.h); None otherwise.");
static PyObject *future_bytes(PyObject *self, PyObject *unused)
{
    future_object *f = (future_object *)self;
    achar__task *task = f->task ? f->task : f->source;
    achar__task_result r;
    if (!task || achar__task_state_of(task) != ACHAR__TASK_RETURNED)
        Py_RETURN_NONE;
    achar__task_result_of(task, &r);
    return Py_BuildValue("(Iy#)", r.kind, r.bytes, (Py_ssize_t)r.nbytes);
}

/* ---- what an executor does to the futures that it made by hand ---- */

static PyObject *owner_method(PyObject *self, PyTypeObject *class, const char *name,
                              const char *argument, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    module_state *st = PyType_GetModuleState(class);
    if (argument ? !one_argument(name, argument, 1, args, nargs, kwnames)
                 : no_argument(name, nargs, kwnames) < 0)
        return NULL;
    if (((future_object *)self)->pool) {
        future_raise(st, "InvalidStateError", "the executor completes this future by itself");
        return NULL;
    }
    return call_base(st, self, name, args, argument ? 1 : 0);
}

PyDoc_STRVAR(set_result_doc, "set_result(result)\n--\n\nOnly for a future made by hand.");
static PyObject *future_set_result(METHOD_ARGS)
{
    return owner_method(self, class, "set_result", "result", args, nargs, kwnames);
}

PyDoc_STRVAR(set_exception_doc, "set_exception(exception)\n--\n\nOnly for a future made by hand.");
static PyObject *future_set_exception(METHOD_ARGS)
{
    return owner_method(self, class, "set_exception", "exception", args, nargs, kwnames);
}

PyDoc_STRVAR(set_running_or_notify_cancel_doc,
             "set_running_or_notify_cancel()\n--\n\nOnly for a future made by hand.");
static PyObject *future_set_running_or_notify_cancel(METHOD_ARGS)
{
    return owner_method(self, class, "set_running_or_notify_cancel", NULL, args, nargs, kwnames);
}

static PyMethodDef future_methods[] = {
    METHOD(result),
    METHOD(exception),
    {"done", future_done, METH_NOARGS, done_doc},
    {"running", future_running, METH_NOARGS, running_doc},
    {"cancelled", future_cancelled, METH_NOARGS, cancelled_doc},
    METHOD(cancel),
    {"_cancel_by_force", (PyCFunction)(void (*)(void))future_cancel_by_force,
     METH_METHOD | METH_FASTCALL | METH_KEYWORDS, cancel_by_force_doc},
    {"__reduce_ex__", (PyCFunction)(void (*)(void))future_reduce_ex,
     METH_METHOD | METH_FASTCALL | METH_KEYWORDS, reduce_doc},
    METHOD(add_done_callback),
    {"_bytes", future_bytes, METH_NOARGS, bytes_doc},
    METHOD(set_result),
    METHOD(set_exception),
    METHOD(set_running_or_notify_cancel),
    {NULL},
};

/* ---- the attributes that concurrent.futures works on ---- */

static PyObject *get_condition(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    if (!f->condition) {
        PyObject *threading = PyImport_ImportModule("threading");
        PyObject *condition = threading ? PyObject_CallMethod(threading, "Condition", NULL) : NULL;
        Py_XDECREF(threading);
        if (!condition)
            return NULL;
        if (!f->condition)
            f->condition = Py_NewRef(condition);
        Py_DECREF(condition);
    }
    if (ask_to_be_told(f) < 0)
        return NULL;
    return Py_NewRef(f->condition);
}

static PyObject *get_list(future_object *f, PyObject **list)
{
    if (ask_to_be_told(f) < 0 || make_list(list) < 0)
        return NULL;
    return Py_NewRef(*list);
}

static PyObject *get_waiters(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    return get_list(f, &f->waiters);
}

static PyObject *get_done_callbacks(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    return get_list(f, &f->callbacks);
}

static PyObject *get_state(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    enum future_state state = state_now(f);
    if (f->watch == WATCH_PENDING && is_done(state))
        state = FUTURE_RUNNING;
    return PyUnicode_InternFromString(STATE_NAMES[state]);
}

static int refuse_change(const future_object *f)
{
    if (!f->pool)
        return 0;
    PyErr_SetString(PyExc_AttributeError, "the executor completes this future by itself");
    return -1;
}

static int set_state(PyObject *self, PyObject *value, void *unused)
{
    future_object *f = (future_object *)self;
    if (refuse_change(f) < 0)
        return -1;
    for (size_t i = 0; value && PyUnicode_Check(value) && i < STATE_COUNT; i++)
        if (PyUnicode_CompareWithASCIIString(value, STATE_NAMES[i]) == 0) {
            f->state = (uint8_t)i;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "not a state of a future: %R", value ? value : Py_None);
    return -1;
}

/* _result and _exception; 'offset' says which. */
static PyObject *get_outcome(PyObject *self, void *offset)
{
    future_object *f = (future_object *)self;
    if (f->task && ACHAR__TASK_FINISHED(achar__task_state_of(f->task))) {
        module_state *st = state_of_type(Py_TYPE(self));
        if (!st || future_settle(st, f) < 0)
            return NULL;
    }
    PyObject *value = *(PyObject **)((char *)self + (size_t)offset);
    return Py_NewRef(value ? value : Py_None);
}

static int set_outcome(PyObject *self, PyObject *value, void *offset)
{
    if (refuse_change((future_object *)self) < 0)
        return -1;
    PyObject **slot = (PyObject **)((char *)self + (size_t)offset);
    PyObject *old = *slot;
    *slot =
        value == Py_None && slot == &((future_object *)self)->exception ? NULL : Py_XNewRef(value);
    Py_XDECREF(old);
    return 0;
}

static PyGetSetDef future_getset[] = {
    {"_condition", get_condition, NULL, NULL},
    {"_waiters", get_waiters, NULL, NULL},
    {"_done_callbacks", get_done_callbacks, NULL, NULL},
    {"_state", get_state, set_state, NULL},
    {"_result", get_outcome, set_outcome, NULL, (void *)offsetof(future_object, result)},
    {"_exception", get_outcome, set_outcome, NULL, (void *)offsetof(future_object, exception)},
    {NULL},
};

static PyObject *future_repr(PyObject *self)
{
    static const char *const descriptions[] = {"pending", "running", "cancelled", "cancelled",
                                               "finished"};
    future_object *f = (future_object *)self;
    enum future_state state = state_now(f);
    PyObject *text = PyUnicode_FromFormat("<%s at %p state=%s", Py_TYPE(self)->tp_name, self,
                                          descriptions[state]);
    if (text && !f->task && state == FUTURE_FINISHED) {
        PyObject *outcome = f->exception ? f->exception : f->result;
        Py_SETREF(text, PyUnicode_FromFormat("%U %s %s", text, f->exception ? "raised" : "returned",
                                             Py_TYPE(outcome ? outcome : Py_None)->tp_name));
    }
    if (text && f->name)
        Py_SETREF(text, PyUnicode_FromFormat("%U task=%U", text, f->name));
    if (text)
        Py_SETREF(text, PyUnicode_FromFormat("%U>", text));
    return text;
}

/* ---- the type ---- */

static int future_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs))) {
        PyErr_SetString(PyExc_TypeError, "Future() takes no arguments");
        return -1;
    }
    return 0;
}

static int future_traverse(PyObject *self, visitproc visit, void *arg)
{
    future_object *f = (future_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(f->pool);
    Py_VISIT(f->name);
    Py_VISIT(f->result);
    Py_VISIT(f->exception);
    Py_VISIT(f->condition);
    Py_VISIT(f->waiters);
    Py_VISIT(f->callbacks);
    Py_VISIT(f->decoded);
    return 0;
}

static int future_clear(PyObject *self)
{
    future_object *f = (future_object *)self;
    Py_CLEAR(f->result);
    Py_CLEAR(f->exception);
    Py_CLEAR(f->condition);
    Py_CLEAR(f->waiters);
    Py_CLEAR(f->callbacks);
    Py_CLEAR(f->decoded);
    return 0;
}

static void future_dealloc(PyObject *self)
{
    future_object *f = (future_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    future_clear(self);
    achar__task_release(f->task);
    achar__task_release(f->source);
    Py_CLEAR(f->pool); /* after the task: this may end the pool */
    Py_CLEAR(f->name);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot future_slots[] = {
    {Py_tp_doc, (void *)"What achar.Future does in C."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, future_init},
    {Py_tp_traverse, future_traverse},
    {Py_tp_clear, future_clear},
    {Py_tp_dealloc, future_dealloc},
    {Py_tp_repr, future_repr},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_getset},
    {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "achar._achar.FutureCore",
    .basicsize = sizeof(future_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = future_slots,
};

static future_object *future_new(module_state *st, PyObject *name)
{
    PyTypeObject *type = (PyTypeObject *)st->Future;
    future_object *f = (future_object *)type->tp_alloc(type, 0);
    if (f)
        f->name = Py_XNewRef(name);
    return f;
}

PyObject *future_of_task(module_state *st, achar__task *task, PyObject *pool, PyObject *name)
{
    future_object *f = future_new(st, name);
    if (!f) {
        achar__task_release(task);
        return NULL;
    }
    f->task = task;
    f->pool = Py_NewRef(pool);
    return (PyObject *)f;
}

PyObject *future_of_exception(module_state *st, PyObject *exception, PyObject *name)
{
    future_object *f = future_new(st, name);
    if (!f)
        return NULL;
    f->state = FUTURE_FINISHED;
    f->exception = Py_NewRef(exception);
    return (PyObject *)f;
}

int future_exec(PyObject *module, module_state *st)
{
    st->FutureCore = PyType_FromModuleAndSpec(module, &future_spec, NULL);
    return st->FutureCore ? PyModule_AddObjectRef(module, "FutureCore", st->FutureCore) : -1;
}
