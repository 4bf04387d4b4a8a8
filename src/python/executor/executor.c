/*
 * executor.c - the Pool object: its life, its end, and the thread that tells futures of theirs.
 *
 * Only this object calls achar__pool_release(), and only when neither the executor nor a future nor
 * the watching thread holds it any more. Every call that can block lets the GIL go.
 */
#include "python/executor/executor.h"
#include "python/compat.h"
#include "python/executor/future.h"
#include "python/executor/view.h"
#include "python/executor/room.h"

#include <unistd.h>

PyDoc_STRVAR(
    pool_doc,
    "Pool(argv, envp, worker_count, hello, initializer, max_tasks_per_worker, has_door, "
    "max_starts, output, start_limit, memory_limit, spill_limit, spill_dir, room_limit, "
    "journal=None)\n--\n\n"
    "The runtime's pool of worker processes; achar.Executor has one. "
    "'hello' is a dict; 'initializer' is None or (function, arguments) and "
    "becomes its item of that name, pickled. 'output': 0, workers write where this process "
    "does; 1, nobody sees it; 2, take_output(). 'start_limit', 'room_limit': seconds; 0: none.");

/* Every method but __init__ starts here. */
static achar__pool *pool_of(PyObject *self)
{
    pool_object *p = (pool_object *)self;
    if (!p->pool)
        PyErr_SetString(PyExc_RuntimeError, "this Pool has not been set up");
    return p->pool;
}

PyDoc_STRVAR(close_doc, "close()\n--\n\nNo more submits; workers leave when nothing is queued.");
static PyObject *pool_close(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    if (!pool)
        return NULL;
    ((pool_object *)self)->closed = 1;
    achar__pool_close(pool);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(cancel_queued_doc, "cancel_queued()\n--\n\nCancel what no worker has started.");
static PyObject *pool_cancel_queued(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    return pool ? PyLong_FromSize_t(achar__pool_cancel_queued(pool)) : NULL;
}

PyDoc_STRVAR(kill_doc, "kill()\n--\n\nKill the workers; unfinished tasks fail. Implies close().");
static PyObject *pool_kill(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    if (!pool)
        return NULL;
    ((pool_object *)self)->closed = 1;
    Py_BEGIN_ALLOW_THREADS achar__pool_kill(pool);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

PyDoc_STRVAR(join_doc, "join(timeout_ns=-1)\n--\n\n"
                       "Wait until the closed pool has ended; False when the time was up before.");
static PyObject *pool_join(PyObject *self, PyObject *args)
{
    long long timeout_ns = -1;
    if (!PyArg_ParseTuple(args, "|L:join", &timeout_ns))
        return NULL;
    achar__pool *pool = pool_of(self);
    if (!pool)
        return NULL;
    for (;;) {
        int status;
        Py_BEGIN_ALLOW_THREADS status = achar__pool_join(pool, timeout_ns);
        Py_END_ALLOW_THREADS switch (status)
        {
        case ACHAR_OK:
        case ACHAR_E_CLOSED: /* the fork of a client: not ours to wait for */
            Py_RETURN_TRUE;
        case ACHAR_E_TIMEOUT:
            Py_RETURN_FALSE;
        case ACHAR_E_INTERRUPTED:
            if (PyErr_CheckSignals() < 0)
                return NULL;
            break;
        default:
            wire_raise_status(status, "wait for the end of an executor");
            return NULL;
        }
    }
}

PyDoc_STRVAR(pids_doc, "pids()\n--\n\nThe living workers' process ids.");
static PyObject *pool_pids(PyObject *self, PyObject *unused)
{
    int pids[1024];
    achar__pool *pool = pool_of(self);
    if (!pool)
        return NULL;
    size_t count = achar__pool_pids(pool, pids, 1024);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < count && i < 1024; i++) {
        PyObject *pid = PyLong_FromLong(pids[i]);
        if (!pid || PyList_Append(list, pid) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pid);
    }
    return list;
}

PyDoc_STRVAR(be_patient_doc, "be_patient(seconds)\n--\n\n"
                             "For tests: so long a task that is told to end has for that, a result "
                             "waits for the text before it, "
                             "text that nobody takes is kept, and a worker may look at what it was "
                             "given. What they find must not depend on how busy the machine is.");
static PyObject *pool_be_patient(PyObject *self, PyObject *seconds)
{
    achar__pool *pool = pool_of(self);
    double patience_s = pool ? PyFloat_AsDouble(seconds) : -1.0;
    if (!pool || (patience_s == -1.0 && PyErr_Occurred()))
        return NULL;
    achar__pool_be_patient(pool, (int64_t)(patience_s * 1e9));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(memory_doc,
             "memory()\n--\n\n"
             "Bytes of shared memory in use: {'client', 'workers', 'used': their sum, 'spilled': "
             "of the client's, on disk}.");
static PyObject *pool_memory(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    if (!pool)
        return NULL;
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st)
        return NULL;
    view_sweep(st);
    achar__pool_usage usage = achar__pool_usage_of(pool);
    return Py_BuildValue("{s:n,s:n,s:n,s:n}", "client", (Py_ssize_t)usage.client_nbytes, "workers",
                         (Py_ssize_t)usage.workers_nbytes, "used",
                         (Py_ssize_t)(usage.client_nbytes + usage.workers_nbytes), "spilled",
                         (Py_ssize_t)usage.spilled_nbytes);
}

PyDoc_STRVAR(progress_doc, "progress()\n--\n\n"
                           "Calls since the pool was made: (submitted, ended, of these failed).");
static PyObject *pool_progress(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    if (!pool)
        return NULL;
    achar__pool_progress progress = achar__pool_progress_of(pool);
    return Py_BuildValue("(KKK)", (unsigned long long)progress.submitted,
                         (unsigned long long)progress.ended, (unsigned long long)progress.failed);
}

void pool_interrupt(PyObject *self)
{
    pool_object *p = (pool_object *)self;
    if (!p->pool)
        return;
    /* The pids are for the messages only: without memory for them, messages say less. */
    PyObject *pending = PyErr_Occurred() ? compat_take_exception() : NULL;
    PyObject *running = pool_pids(self, NULL);
    if (running && !p->interrupted)
        p->interrupted = PySet_New(NULL);
    if (running && p->interrupted)
        Py_XDECREF(PyObject_CallMethod(p->interrupted, "update", "(O)", running));
    Py_XDECREF(running);
    achar__pool_interrupt(p->pool);
    compat_restore_exception(pending);
}

int pool_interrupted(PyObject *self, int pid)
{
    pool_object *p = (pool_object *)self;
    PyObject *number = p->interrupted ? PyLong_FromLong(pid) : NULL;
    int found = number ? PySet_Contains(p->interrupted, number) : 0;
    Py_XDECREF(number);
    if (found < 0)
        PyErr_Clear();
    return found > 0;
}

PyDoc_STRVAR(interrupt_doc, "interrupt()\n--\n\n"
                            "What Ctrl-C does: cancel what is queued and kill what is running.");
static PyObject *pool_interrupt_method(PyObject *self, PyObject *unused)
{
    if (!pool_of(self))
        return NULL;
    pool_interrupt(self);
    Py_RETURN_NONE;
}

/* ---- what workers write ---- */

static PyObject *piece_tuple(const achar__output_piece *piece)
{
    return Py_BuildValue("(iIiiIy#y#KK)", (int)piece->kind, piece->worker, piece->pid,
                         piece->descriptor, piece->number, piece->data, (Py_ssize_t)piece->nbytes,
                         piece->name, (Py_ssize_t)piece->name_nbytes,
                         (unsigned long long)piece->dropped_count,
                         (unsigned long long)piece->dropped_nbytes);
}

PyDoc_STRVAR(take_output_doc,
             "take_output()\n--\n\n"
             "Wait for what workers write: a list of (kind, worker, pid, descriptor, task number, "
             "data, task name, lines dropped, bytes dropped); None when nothing more will come.");
static PyObject *pool_take_output(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    achar__output_piece *pieces = NULL;
    int status = ACHAR_E_INTERRUPTED;
    if (!pool)
        return NULL;
    while (status == ACHAR_E_INTERRUPTED) {
        Py_BEGIN_ALLOW_THREADS status = achar__pool_take_output(pool, -1, &pieces);
        Py_END_ALLOW_THREADS if (status == ACHAR_E_INTERRUPTED &&
                                 PyErr_CheckSignals() < 0) return NULL;
    }
    if (status == ACHAR_E_CLOSED)
        Py_RETURN_NONE;
    if (status != ACHAR_OK) {
        wire_raise_status(status, "take output");
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (const achar__output_piece *piece = pieces; list && piece; piece = piece->next) {
        PyObject *item = piece_tuple(piece);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    achar__output_pieces_free(pieces);
    return list;
}

PyDoc_STRVAR(take_arrival_doc,
             "take_arrival()\n--\n\n"
             "What a worker has sent through its door: (number of the worker, bytes, descriptor or "
             "-1), or None. OSError when no descriptor is left for it; it waits then.");
static PyObject *pool_take_arrival(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    achar__arrival arrival;
    if (!pool)
        return NULL;
    int status = achar__pool_take_arrival(pool, &arrival);
    if (status == ACHAR_E_TIMEOUT)
        Py_RETURN_NONE;
    if (status == ACHAR_E_IO)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (status != ACHAR_OK) {
        wire_raise_status(status, "take what a worker has sent");
        return NULL;
    }
    PyObject *taken = Py_BuildValue("(Iy#i)", arrival.worker, arrival.hello,
                                    (Py_ssize_t)arrival.nbytes, arrival.fd);
    if (!taken && arrival.fd >= 0)
        close(arrival.fd);
    return taken;
}

/* ---- the watching thread ---- */

PyDoc_STRVAR(watch_doc, "watch()\n--\n\n"
                        "Tell futures of their end, in this thread, until the pool has ended.");
static PyObject *pool_watch(PyObject *self, PyObject *unused)
{
    achar__pool *pool = pool_of(self);
    module_state *st = state_of_type(Py_TYPE(self));
    if (!pool || !st)
        return NULL;
    room_never_wait();
    for (;;) {
        achar__task *task = NULL;
        int status;
        Py_BEGIN_ALLOW_THREADS status = achar__pool_next_watched(pool, -1, &task);
        Py_END_ALLOW_THREADS if (status == ACHAR_E_CLOSED) Py_RETURN_NONE;
        if (status == ACHAR_E_INTERRUPTED || status == ACHAR_E_TIMEOUT) {
            if (PyErr_CheckSignals() < 0)
                return NULL;
            continue;
        }
        if (status != ACHAR_OK) {
            wire_raise_status(status, "watch tasks");
            return NULL;
        }
        future_object *f = achar__task_user(task);
        achar__task_release(task);
        future_notify(st, f);
        Py_DECREF(f); /* the reference that ask_to_be_told() left with the runtime */
    }
}

int pool_start_watcher(PyObject *self)
{
    pool_object *p = (pool_object *)self;
    if (p->watcher)
        return 0;
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st)
        return -1;
    p->watcher = Py_NewRef(Py_None); /* others need not start it too */
    PyObject *thread = PyObject_CallOneArg(st->start_watcher, self);
    Py_SETREF(p->watcher, thread);
    return thread ? 0 : -1;
}

PyDoc_STRVAR(start_watcher_doc,
             "start_watcher()\n--\n\n"
             "Have the watching thread now, and not when the first future has a callback: CPython "
             "3.12 starts no thread when the main thread has ended.");
static PyObject *pool_start_watcher_method(PyObject *self, PyObject *unused)
{
    if (!pool_of(self) || pool_start_watcher(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef pool_methods[] = {
    {"close", pool_close, METH_NOARGS, close_doc},
    {"cancel_queued", pool_cancel_queued, METH_NOARGS, cancel_queued_doc},
    {"kill", pool_kill, METH_NOARGS, kill_doc},
    {"join", pool_join, METH_VARARGS, join_doc},
    {"pids", pool_pids, METH_NOARGS, pids_doc},
    {"be_patient", pool_be_patient, METH_O, be_patient_doc},
    {"memory", pool_memory, METH_NOARGS, memory_doc},
    {"progress", pool_progress, METH_NOARGS, progress_doc},
    {"interrupt", pool_interrupt_method, METH_NOARGS, interrupt_doc},
    {"watch", pool_watch, METH_NOARGS, watch_doc},
    {"start_watcher", pool_start_watcher_method, METH_NOARGS, start_watcher_doc},
    {"take_arrival", pool_take_arrival, METH_NOARGS, take_arrival_doc},
    {"take_output", pool_take_output, METH_NOARGS, take_output_doc},
    {NULL},
};

static PyObject *pool_get_watcher(PyObject *self, void *unused)
{
    PyObject *watcher = ((pool_object *)self)->watcher;
    return Py_NewRef(watcher ? watcher : Py_None);
}

static PyObject *pool_get_closed(PyObject *self, void *unused)
{
    return PyBool_FromLong(((pool_object *)self)->closed);
}

static PyObject *pool_get_door(PyObject *self, void *unused)
{
    achar__pool *pool = pool_of(self);
    return pool ? PyLong_FromLong(achar__pool_door(pool)) : NULL;
}

static PyObject *pool_get_has_arrivals(PyObject *self, void *unused)
{
    achar__pool *pool = pool_of(self);
    return pool ? PyBool_FromLong(achar__pool_has_arrivals(pool)) : NULL;
}

static PyObject *pool_get_source(PyObject *self, void *unused)
{
    pool_object *p = (pool_object *)self;
    if (!p->journals)
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLong(p->source);
}

static PyGetSetDef pool_getset[] = {
    {"source", pool_get_source, NULL, "The pool's number in the run's record, or None."},
    {"door", pool_get_door, NULL, "The descriptor of achar__pool_door()."},
    {"has_arrivals", pool_get_has_arrivals, NULL, "Whether take_arrival() has something."},
    {"closed", pool_get_closed, NULL, "True once nothing can be submitted any more."},
    {"watcher", pool_get_watcher, NULL, "The thread that runs callbacks, or None."},
    {NULL},
};

static int pool_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((pool_object *)self)->watcher);
    Py_VISIT(((pool_object *)self)->interrupted);
    return 0;
}

static int pool_clear(PyObject *self)
{
    Py_CLEAR(((pool_object *)self)->watcher);
    Py_CLEAR(((pool_object *)self)->interrupted);
    return 0;
}

static void pool_dealloc(PyObject *self)
{
    pool_object *p = (pool_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pool_clear(self);
    if (p->pool) {
        achar__pool *pool = p->pool;
        p->pool = NULL;
        Py_BEGIN_ALLOW_THREADS achar__pool_release(pool);
        Py_END_ALLOW_THREADS
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, (void *)pool_doc},   {Py_tp_new, PyType_GenericNew}, {Py_tp_init, pool_init},
    {Py_tp_traverse, pool_traverse}, {Py_tp_clear, pool_clear},      {Py_tp_dealloc, pool_dealloc},
    {Py_tp_methods, pool_methods},   {Py_tp_getset, pool_getset},    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "achar._achar.Pool",
    .basicsize = sizeof(pool_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = pool_slots,
};

/* ---- set-up ---- */

PyDoc_STRVAR(configure_doc,
             "executor_configure(Future, BaseFuture, futures_base, start_watcher)\n--\n\n"
             "achar/executor.py hands over what is made in Python.");
static PyObject *executor_configure(PyObject *module, PyObject *args)
{
    PyObject *future, *base_future, *base, *start;
    module_state *st = state_of_module(module);
    if (!PyArg_ParseTuple(args, "OOOO:executor_configure", &future, &base_future, &base, &start))
        return NULL;
    if (!PyType_Check(future) ||
        !PyType_IsSubtype((PyTypeObject *)future, (PyTypeObject *)st->FutureCore)) {
        PyErr_SetString(PyExc_TypeError, "Future must be a subclass of FutureCore");
        return NULL;
    }
    Py_XSETREF(st->Future, Py_NewRef(future));
    Py_XSETREF(st->futures_base, Py_NewRef(base));
    Py_XSETREF(st->BaseFuture, Py_NewRef(base_future));
    Py_XSETREF(st->start_watcher, Py_NewRef(start));
    Py_RETURN_NONE;
}

static PyMethodDef configure_def = {"executor_configure", executor_configure, METH_VARARGS,
                                    configure_doc};

int executor_exec(PyObject *module, module_state *st)
{
    st->Pool = PyType_FromModuleAndSpec(module, &pool_spec, NULL);
    if (!st->Pool || PyModule_AddObjectRef(module, "Pool", st->Pool) < 0)
        return -1;
    return state_add_function(module, module, &configure_def, "achar._achar");
}
