/*
 * worker.c - a worker's loop: take a task, call it, give back what it returned or raised.
 *
 * A task can do whatever it likes to this process; what it may not do is reach another task. So the
 * function comes from the cache only if its bytes hold nothing that a call could change; and a task's
 * end, whichever way, is told exactly once (give_back.c).
 */
#include "python/compat.h"
#include "python/executor/worker_loop.h"
#include "python/loader/loader.h"
#include "runtime/pool/wire.h"
#include <achar/version.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int memory_reserve(void *owner, size_t nbytes, achar__block *out)
{
    return achar__worker_block_reserve(owner, nbytes, out);
}

static int memory_grow(void *owner, achar__block *block, size_t used, size_t nbytes)
{
    return achar__worker_block_grow(owner, block, used, nbytes);
}

static void memory_free(void *owner, achar__block *block)
{
    achar__worker_block_free(owner, block);
}

/* ---- taking ---- */

PyObject *worker_load(worker_loop *loop, const char *what, uint32_t kind, const void *bytes,
                      size_t nbytes)
{
    const packed_place place = {.worker = loop->worker};
    PyObject *object = packed_read(loop->st, &place, kind, bytes, nbytes);
    if (object ||
        (achar__worker_was_told_to_end(loop->worker) && PyErr_ExceptionMatches(PyExc_TimeoutError)))
        return object;
    PyObject *cause = compat_take_exception();
    PyObject *exception = PyObject_CallFunction(loop->unreadable, "sO", what, cause);
    Py_DECREF(cause);
    if (exception)
        compat_restore_exception(exception);
    return NULL;
}

PyObject *worker_function(worker_loop *loop, const achar__assignment *a)
{
    size_t slot = a->function_id % FUNCTION_SLOTS;
    int reusable = a->function_flags & WIRE_FUNCTION_REUSABLE;
    if (reusable && loop->functions[slot].function && loop->functions[slot].id == a->function_id)
        return Py_NewRef(loop->functions[slot].function);
    PyObject *function = worker_load(loop, "function", PACKED_NOT, a->function, a->function_nbytes);
    if (function && reusable) {
        PyObject *old = loop->functions[slot].function;
        loop->functions[slot].id = a->function_id;
        loop->functions[slot].function = Py_NewRef(function);
        Py_XDECREF(old);
    }
    return function;
}

void worker_begin_task(worker_loop *loop, PyObject *function)
{
    Py_XSETREF(loop->st->task_called, Py_NewRef(function));
}

/* What before_end_of_task() has left. What it raises is nobody's: the task has ended. Being told to end is seen later. */
static void call_last(worker_loop *loop)
{
    PyObject *last = loop->st->task_last;
    loop->st->task_last = NULL;
    PyObject *done = PyObject_CallNoArgs(last);
    if (!done && achar__worker_was_told_to_end(loop->worker))
        PyErr_Clear();
    else if (!done)
        PyErr_WriteUnraisable(last);
    Py_XDECREF(done);
    Py_DECREF(last);
}

void worker_end_task(worker_loop *loop)
{
    if (loop->st->task_printed || loop->st->task_last) { /* it is this one's, and no later one's */
        PyObject *raised = PyErr_Occurred() ? compat_take_exception() : NULL;
        if (loop->st->task_last)
            call_last(loop);
        if (loop->st->task_printed)
            worker_flush_output(loop);
        if (raised)
            compat_restore_exception(raised);
    }
    Py_CLEAR(loop->st->task_called);
    Py_CLEAR(loop->st->task_title);
}

static PyObject *call(worker_loop *loop, const achar__assignment *a)
{
    PyObject *result = NULL, *packed = NULL;
    if (loop->failure) {
        compat_restore_exception(Py_NewRef(loop->failure));
        return NULL;
    }
    PyObject *function = worker_function(loop, a);
    if (!function)
        return NULL;
    worker_begin_task(loop, function);
    packed = worker_load(loop, "arguments", a->args_kind, a->args, a->args_nbytes);
    Py_ssize_t size = packed && PyTuple_Check(packed) ? PyTuple_GET_SIZE(packed) : 0;
    if ((size == 2 || size == 3) && PyTuple_Check(PyTuple_GET_ITEM(packed, 0))) {
        PyObject *kwargs = PyTuple_GET_ITEM(packed, 1);
        if (size == 3)
            Py_XSETREF(loop->st->task_title, Py_NewRef(PyTuple_GET_ITEM(packed, 2)));
        result =
            PyObject_Call(function, PyTuple_GET_ITEM(packed, 0), kwargs == Py_None ? NULL : kwargs);
    } else if (packed) {
        PyErr_SetString(PyExc_SystemError, "a task's arguments are not (args, kwargs)");
    }
    Py_XDECREF(packed);
    worker_end_task(loop);
    Py_DECREF(function);
    return result;
}

/* What a task has put is given back as it was packed then. 0: told; -1 with an exception set. */
static int give_reference(worker_loop *loop, PyObject *packed)
{
    wire_sink ws;
    wire_sink_init(&ws, &loop->memory);
    if (wire_sink_append(&ws, PyBytes_AS_STRING(packed), (size_t)PyBytes_GET_SIZE(packed)) == 0) {
        worker_flush_output(loop);
        achar__worker_set_result_kind(loop->worker, PACKED_REFERENCE);
        if (worker_finish(loop, ACHAR__TASK_RETURNED, &ws) == 0)
            return 0;
    }
    wire_sink_clear(&ws);
    return -1;
}

/* A future that the task returns, of a task of its own or of what it has put. As worker_give_result(). */
static int give_nested(worker_loop *loop, PyObject *future)
{
    int status = -1;
    PyObject *packed = PyObject_GetAttrString(future, "_packed");
    if (packed && PyBytes_Check(packed)) {
        status = give_reference(loop, packed);
    } else if (packed) {
        PyObject *result = PyObject_CallMethod(future, "result", NULL);
        if (result)
            status = worker_give_result(loop, result);
        Py_XDECREF(result);
    }
    Py_XDECREF(packed);
    return status;
}

/* Ends what the task has started, which was told to end itself. An exception that is set stays set. */
static void end_what_it_started(worker_loop *loop)
{
    PyObject *raised = PyErr_Occurred() ? compat_take_exception() : NULL;
    PyObject *done = NULL, *module = PyImport_ImportModule("achar._ending");
    if (module)
        done = PyObject_CallMethod(module, "end_what_it_started", "kd",
                                   (unsigned long)achar__worker_task_number(loop->worker),
                                   (double)achar__worker_task_age_ns(loop->worker) / 1e9);
    if (!done)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(module);
    Py_XDECREF(done);
    if (raised)
        compat_restore_exception(raised);
}

/*
 * Of a task that is over its limit: what is set becomes a TimeoutError, if it is none. Whoever catches OSError, as the
 * import system does where it looks for files, takes the limit's for its own, and something else comes out.
 */
static void raise_time_limit(void)
{
    if (PyErr_ExceptionMatches(PyExc_TimeoutError))
        return;
    PyObject *raised = compat_take_exception();
    PyErr_SetString(PyExc_TimeoutError, "the task's time limit has passed; after that it raised "
                                        "what this one's cause is");
    PyObject *error = compat_take_exception();
    PyException_SetCause(error, raised);
    compat_restore_exception(error);
}

/* The client hears which of its futures the task has let go of. */
static void tell_released(worker_loop *loop)
{
    if (!loop->st->nested_future)
        return;
    PyObject *done = NULL, *module = PyImport_ImportModule("achar._nested");
    if (module)
        done = PyObject_CallMethod(module, "end_of_task", NULL);
    if (!done)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(module);
    Py_XDECREF(done);
}

/* 0; -1: the client has gone. */
static int run_task(worker_loop *loop, const achar__assignment *a)
{
    int status = -1;
    PyObject *result = call(loop, a);
    if (result && achar__worker_was_told_to_end(loop->worker)) {
        Py_CLEAR(result);
        PyErr_SetString(PyExc_TimeoutError, "the task's time limit has passed; what it returned "
                                            "after that is thrown away");
    }
    if (result && loop->st->nested_future &&
        PyObject_TypeCheck(result, (PyTypeObject *)loop->st->nested_future))
        status = give_nested(loop, result);
    else if (result)
        status = worker_give_result(loop, result);
    if (status < 0 && achar__worker_was_told_to_end(loop->worker))
        end_what_it_started(loop);
    if (status < 0 && achar__worker_is_over_its_limit(loop->worker))
        raise_time_limit();
    if (status < 0)
        status = worker_give_exception(loop, compat_take_exception());
    Py_XDECREF(result);
    return status;
}

/* set_up() has made them (achar/_forward.py). */
static void find_telling(worker_loop *loop, PyObject *hello)
{
    PyObject *levels = PyDict_GetItemString(hello, "output");
    static const char *const names[] = {"stdout", "stderr"};
    for (int i = 0; i < 2 && levels && levels != Py_None; i++)
        loop->telling[i] = Py_XNewRef(PySys_GetObject(names[i]));
}

static int run(worker_loop *loop)
{
    for (;;) {
        achar__assignment a;
        int status;
        Py_BEGIN_ALLOW_THREADS status = achar__worker_next(loop->worker, -1, &a);
        Py_END_ALLOW_THREADS if (status == ACHAR_OK)
        {
            if ((a.call_count ? worker_run_stretch : run_task)(loop, &a) < 0 || loop->is_short)
                return 0;
            tell_released(loop);
        }
        else if (status == ACHAR_E_CLOSED)
        {
            return 0;
        }
        else if (status == ACHAR_E_INTERRUPTED)
        {
            /* A handler that a task has left: between tasks, nobody is there to catch. */
            if (PyErr_CheckSignals() < 0)
                PyErr_WriteUnraisable(NULL);
        }
        else if (status != ACHAR_E_TIMEOUT)
        {
            wire_raise_status(status, "take a task");
            return -1;
        }
    }
}

PyDoc_STRVAR(
    worker_overdue_doc,
    "worker_overdue()\n--\n\n"
    "For the handler of SIGALRM: 2, the current task's time limit has passed; 3, it was cancelled "
    "by "
    "force; 1, so it was for a task that has ended since; 0, the signal is not the executor's.");
static PyObject *worker_overdue(PyObject *module, PyObject *unused)
{
    module_state *st = state_of_module(module);
    return PyLong_FromLong(st->worker ? (long)achar__worker_is_overdue(st->worker) : 0);
}

PyDoc_STRVAR(worker_task_doc,
             "worker_task()\n--\n\n"
             "In a worker: (number, name or None) of the task that runs; (0, None) "
             "between tasks.");
static PyObject *worker_task(PyObject *module, PyObject *unused)
{
    module_state *st = state_of_module(module);
    uint32_t number = st->worker ? achar__worker_task_number(st->worker) : 0;
    PyObject *name = Py_XNewRef(st->task_title);
    if (!name && st->task_called) {
        PyObject *called = Py_NewRef(st->task_called);
        name = PyObject_GetAttrString(called, "__qualname__");
        Py_DECREF(called);
        if (!name)
            PyErr_Clear(); /* a callable need not have a name */
    }
    PyObject *task = Py_BuildValue("(IO)", number, name ? name : Py_None);
    Py_XDECREF(name);
    return task;
}

PyDoc_STRVAR(
    worker_run_doc,
    "worker_run(set_up, describe, unreadable)\n--\n\n"
    "Serve the pool that started this process until it ends. set_up(hello) returns None or "
    "the exception that every task is to raise.");
static PyObject *worker_run(PyObject *module, PyObject *args)
{
    worker_loop loop = {.st = state_of_module(module)};
    PyObject *set_up, *hello = NULL, *returned = NULL;
    size_t hello_nbytes;
    int done = -1;
    if (!PyArg_ParseTuple(args, "OOO:worker_run", &set_up, &loop.describe, &loop.unreadable))
        return NULL;
    int status = achar__worker_attach(&loop.worker);
    if (status == ACHAR_E_CLOSED) /* the client died while this process started */
        Py_RETURN_NONE;
    if (status != ACHAR_OK) {
        const char *variable = getenv(ACHAR__WIRE_VARIABLE);
        if (variable && atoi(variable) != ACHAR__WIRE_VERSION)
            PyErr_Format(PyExc_RuntimeError,
                         "the achar of this worker (%s) and that of its client are of different "
                         "versions: they speak %d and %d with each other",
                         achar_version(), ACHAR__WIRE_VERSION, atoi(variable));
        else
            PyErr_Format(PyExc_RuntimeError, "this process is no worker of a pool: %s",
                         achar_status_message(status));
        return NULL;
    }
    loop.st->worker = loop.worker;
    loop.memory_limit = worker_memory_limit();
    loop.memory = (wire_memory){loop.worker, memory_reserve, memory_grow, memory_free};
    const loader_options options = {.superset = 1};
    const void *hello_bytes = achar__worker_hello(loop.worker, &hello_nbytes);
    if ((loop.flush = PyUnicode_InternFromString("flush")) &&
        (hello = loader_loads(loop.st, hello_bytes, hello_nbytes, &options)) &&
        (returned = PyObject_CallOneArg(set_up, hello))) {
        loop.failure = returned == Py_None ? NULL : returned;
        find_telling(&loop, hello);
        loop.keeps = PyDict_GetItemString(hello, "keeps") == Py_True;
        done = run(&loop);
    }
    for (size_t i = 0; i < FUNCTION_SLOTS; i++)
        Py_CLEAR(loop.functions[i].function);
    Py_XDECREF(loop.telling[0]);
    Py_XDECREF(loop.telling[1]);
    Py_XDECREF(loop.flush);
    Py_XDECREF(returned);
    Py_XDECREF(hello);
    loop.st->worker = NULL;
    achar__worker_detach(loop.worker);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef worker_run_def = {"worker_run", worker_run, METH_VARARGS, worker_run_doc};

PyDoc_STRVAR(worker_wrote_doc, "worker_wrote(nbytes)\n--\n\nIn a worker: text was sent in frames.");
static PyObject *worker_wrote(PyObject *module, PyObject *nbytes)
{
    module_state *st = state_of_module(module);
    size_t count = PyLong_AsSize_t(nbytes);
    if (count == (size_t)-1 && PyErr_Occurred())
        return NULL;
    if (st->worker)
        achar__worker_wrote(st->worker, count);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(worker_prints_doc,
             "worker_prints()\n--\n\nIn a worker: sys.stdout or sys.stderr may hold some text.");
static PyObject *worker_prints(PyObject *module, PyObject *unused)
{
    Py_XSETREF(state_of_module(module)->task_printed, Py_NewRef(Py_True));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(before_end_doc, "before_end_of_task(function)\n--\n\n"
                             "In a worker: have function() called when the task's own call has "
                             "ended, before the client hears of that.");
static PyObject *before_end_of_task(PyObject *module, PyObject *function)
{
    Py_XSETREF(state_of_module(module)->task_last, Py_NewRef(function));
    Py_RETURN_NONE;
}

static PyMethodDef before_end_def = {"before_end_of_task", before_end_of_task, METH_O,
                                     before_end_doc};

static PyMethodDef worker_prints_def = {"worker_prints", worker_prints, METH_NOARGS,
                                        worker_prints_doc};

static PyMethodDef worker_wrote_def = {"worker_wrote", worker_wrote, METH_O, worker_wrote_doc};

static PyMethodDef worker_task_def = {"worker_task", worker_task, METH_NOARGS, worker_task_doc};

static PyMethodDef worker_overdue_def = {"worker_overdue", worker_overdue, METH_NOARGS,
                                         worker_overdue_doc};

int worker_exec(PyObject *module, module_state *st)
{
    if (PyModule_AddStringConstant(module, "version", achar_version()) < 0)
        return -1;
    if (state_add_function(module, module, &worker_overdue_def, "achar._achar") < 0 ||
        state_add_function(module, module, &worker_task_def, "achar._achar") < 0 ||
        state_add_function(module, module, &worker_wrote_def, "achar._achar") < 0 ||
        state_add_function(module, module, &worker_prints_def, "achar._achar") < 0 ||
        state_add_function(module, module, &before_end_def, "achar._achar") < 0)
        return -1;
    return state_add_function(module, module, &worker_run_def, "achar._achar");
}
