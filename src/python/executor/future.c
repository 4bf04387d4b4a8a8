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
 * Locking: the GIL. What wait() and as_completed() look at shows a future's end only once those who asked
 * were told (attributes.c, notify.c); done() and result() need not wait for that.
 */
#include "python/executor/future.h"
#include "python/compat.h"
#include "python/executor/inputs.h"
#include "python/executor/packed.h"

/* ---- state ---- */

enum future_state future_state_now(const future_object *f)
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

/* A future made by hand that has not ended: concurrent.futures.Future knows what to do. */
static int is_plain_and_open(const future_object *f)
{
    return !f->task && !future_is_done(f->state);
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
    return PyBool_FromLong(future_is_done(future_state_now((future_object *)self)));
}

PyDoc_STRVAR(running_doc, "running()\n--\n\nTrue while a worker runs the task.");
static PyObject *future_running(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(future_state_now((future_object *)self) == FUTURE_RUNNING);
}

PyDoc_STRVAR(cancelled_doc, "cancelled()\n--\n\nTrue if the task was cancelled before it started.");
static PyObject *future_cancelled(PyObject *self, PyObject *unused)
{
    enum future_state state = future_state_now((future_object *)self);
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
    future_track(f);
    if (!future_is_done(future_state_now(f))) {
        if (future_ask_to_be_told(f) < 0 || future_make_list(&f->callbacks) < 0)
            return NULL;
    }
    /* No Python code from here to the append, so future_notify() comes after it. */
    if (!future_is_done(future_state_now(f)) && f->watch != WATCH_NOTIFIED) {
        if (PyList_Append(f->callbacks, fn) < 0)
            return NULL;
    } else if (future_call_back(st, f, fn) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(keep_bytes_doc, "_keep_bytes(keep)\n--\n\n"
                             "Whether _bytes() are still to be had when the result has been read.");
static PyObject *future_keep_bytes(PyObject *self, PyObject *keep)
{
    future_object *f = (future_object *)self;
    f->keeps_bytes = keep == Py_True;
    if (!f->keeps_bytes && f->source) {
        achar__task_result r;
        achar__task_result_of(f->source, &r);
        if (r.kind != PACKED_REFERENCE) {
            achar__task_release(f->source);
            f->source = NULL;
        }
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
    return packed_bytes(&r);
}

PyDoc_STRVAR(has_raised_doc,
             "_has_raised()\n--\n\n"
             "Whether the task's function has raised, as far as _bytes() would still be had.");
static PyObject *future_has_raised(PyObject *self, PyObject *unused)
{
    future_object *f = (future_object *)self;
    achar__task *task = f->task ? f->task : f->source;
    return PyBool_FromLong(task && achar__task_state_of(task) == ACHAR__TASK_RAISED);
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
    {"_has_raised", future_has_raised, METH_NOARGS, has_raised_doc},
    {"_keep_bytes", future_keep_bytes, METH_O, keep_bytes_doc},
    METHOD(set_result),
    METHOD(set_exception),
    METHOD(set_running_or_notify_cancel),
    {NULL},
};

static PyObject *future_repr(PyObject *self)
{
    static const char *const descriptions[] = {"pending", "running", "cancelled", "cancelled",
                                               "finished"};
    future_object *f = (future_object *)self;
    enum future_state state = future_state_now(f);
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

static int future_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    future_track((future_object *)self);
    return PyObject_GenericSetAttr(self, name, value);
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
    {Py_tp_setattro, future_setattro},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_attributes},
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
    /* Attributes of a name of another type could refer to anything. */
    if (!name || name == Py_None || PyUnicode_CheckExact(name))
        PyObject_GC_UnTrack(f); /* future_track() */
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
