/*
 * worker.c - a worker's loop: take a task, call it, give back what it returned or raised.
 *
 * A task can do whatever it likes to this process; what it may not do is reach another task. So the
 * function comes from the cache only if its bytes hold nothing that a call could change; a task's
 * end, whichever way, is told exactly once; and what goes wrong while a result is sent becomes that
 * task's exception. The last resort, when not even a report finds memory, is RAISED without bytes.
 */
#include "python/compat.h"
#include "python/executor/leaf.h"
#include "python/executor/packed.h"
#include "python/loader/loader.h"
#include "runtime/pool/wire.h"
#include "runtime/pool/worker.h"
#include <achar/version.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Reusable functions, found by id; ids count up, so the newest FUNCTION_SLOTS are kept. */
#define FUNCTION_SLOTS 256

/* A worker that cannot even tell that it has no memory exits with this (sysexits.h: EX_OSERR). */
#define EXIT_NO_MEMORY 71

typedef struct worker_loop {
    module_state *st;
    achar__worker *worker;
    wire_memory memory;
    PyObject *describe;   /* achar._worker.describe(exception): (type, text, traceback) */
    PyObject *unreadable; /* achar._worker.unreadable(what, exception): an exception */
    PyObject *failure;    /* the initializer's exception, which every task raises; or NULL */
    PyObject *flush;      /* the str "flush" */
    PyObject *
        telling[2]; /* sys.stdout and sys.stderr, which call worker_prints(); NULL: others do not */
    int flush_failed;    /* said once */
    rlim_t memory_limit; /* RLIMIT_AS at start */
    int is_short; /* a task has lowered it, and ran out of memory: others need a new worker */
    struct {
        uint64_t id;
        PyObject *function;
    } functions[FUNCTION_SLOTS];
} worker_loop;

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

static void flush_stream(worker_loop *loop, PyObject *stream)
{
    if (!stream || stream == Py_None)
        return;
    Py_INCREF(stream);
    PyObject *flushed = PyObject_CallMethodNoArgs(stream, loop->flush);
    if (!flushed && !loop->flush_failed) {
        /* A closed pipe is not the task's fault; the interpreter reports it like this, at exit. */
        loop->flush_failed = 1;
        PyErr_WriteUnraisable(stream);
    }
    if (!flushed)
        PyErr_Clear();
    Py_XDECREF(flushed);
    Py_DECREF(stream);
}

/* What a task printed is out before its end is told. Streams that tell of writes are left alone without. */
static void flush_output(worker_loop *loop)
{
    PyObject *out = PySys_GetObject("stdout");
    if (!loop->telling[0] || out != loop->telling[0])
        flush_stream(loop, out);
    if (loop->st->task_printed) {
        Py_CLEAR(loop->st->task_printed);
        flush_stream(loop, loop->telling[0]);
        flush_stream(loop, loop->telling[1]);
    }
}

/* ---- giving back ---- */

static int finish(worker_loop *loop, enum achar__task_state state, wire_sink *ws)
{
    if (wire_sink_finish(ws) < 0)
        return -1;
    int status = achar__worker_finish(loop->worker, state, &ws->block, ws->sink.used);
    if (status != ACHAR_OK) {
        wire_raise_status(status, "give back a result");
        return -1;
    }
    return 0;
}

/* 0: told. -1: nothing was told, and an exception says why. */
static int give_result(worker_loop *loop, PyObject *result)
{
    packed_buffers taken = {.least_nbytes = PACKED_LEAST_NBYTES};
    const saver_options options = {.protocol = -1,
                                   .superset = 1,
                                   .root_name = "result",
                                   .take_buffer = packed_take,
                                   .take_context = &taken};
    wire_sink ws;
    int kind = -1;
    wire_sink_init(&ws, &loop->memory);
    if (saver_dump_into(loop->st, result, &options, &ws.sink, NULL) == 0)
        kind = packed_finish(&taken, &ws, PACKED_OWN);
    packed_clear(&taken);
    if (kind >= 0) {
        flush_output(loop);
        achar__worker_set_result_kind(loop->worker, (uint32_t)kind);
        if (finish(loop, ACHAR__TASK_RETURNED, &ws) == 0)
            return 0;
    }
    wire_sink_clear(&ws);
    return -1;
}

/* str(exception), however broken; "" in the last resort. */
static PyObject *text_of(PyObject *object)
{
    PyObject *text = PyObject_Str(object);
    if (!text) {
        PyErr_Clear();
        text = PyUnicode_FromString("");
    }
    return text;
}

/* The report of wire.h; 'reason' is why the exception could not be pickled, or NULL. */
static PyObject *report_of(worker_loop *loop, PyObject *exception, PyObject *reason)
{
    PyObject *why = NULL, *three = NULL, *report = NULL;
    if (reason)
        why = text_of(reason);
    else
        why = PyUnicode_FromString("");
    if (why)
        three = PyObject_CallOneArg(loop->describe, exception);
    if (three && PyTuple_Check(three) && PyTuple_GET_SIZE(three) == 3)
        report = PyTuple_Pack(4, PyTuple_GET_ITEM(three, 0), PyTuple_GET_ITEM(three, 1),
                              PyTuple_GET_ITEM(three, 2), why);
    if (!report) { /* describing it failed: at least its type */
        PyErr_Clear();
        report = Py_BuildValue("(sssO)", Py_TYPE(exception)->tp_name, "", "", why ? why : Py_None);
    }
    Py_XDECREF(three);
    Py_XDECREF(why);
    return report;
}

static int write_exception(worker_loop *loop, PyObject *exception, wire_sink *ws)
{
    static const saver_options options = {.protocol = -1, .superset = 1, .root_name = "exception"};
    uint32_t nbytes = 0;
    PyObject *reason = NULL, *report = NULL;
    int status = -1;
    if (wire_sink_append(ws, &nbytes, sizeof nbytes) < 0)
        return -1;
    /* Its own traceback goes as text, in the report. */
    PyObject *traceback = PyException_GetTraceback(exception);
    PyException_SetTraceback(exception, Py_None);
    if (saver_dump_into(loop->st, exception, &options, &ws->sink, NULL) < 0) {
        reason = compat_take_exception();
        ws->sink.used = sizeof nbytes;
    }
    PyException_SetTraceback(exception, traceback ? traceback : Py_None);
    Py_XDECREF(traceback);
    if (ws->sink.used - sizeof nbytes > UINT32_MAX) {
        reason = PyUnicode_FromString("it is larger than 4 GiB");
        ws->sink.used = sizeof nbytes;
        if (!reason)
            return -1;
    }
    nbytes = (uint32_t)(ws->sink.used - sizeof nbytes);
    memcpy(ws->sink.data, &nbytes, sizeof nbytes);
    report = report_of(loop, exception, reason);
    if (report)
        status = saver_dump_into(loop->st, report, &options, &ws->sink, NULL);
    Py_XDECREF(report);
    Py_XDECREF(reason);
    return status;
}

static rlim_t memory_limit(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(RLIMIT_AS, &limit);
    return limit.rlim_cur;
}

static void look_at_limit(worker_loop *loop, PyObject *exception)
{
    if (PyErr_GivenExceptionMatches(exception, PyExc_MemoryError) &&
        memory_limit() < loop->memory_limit)
        loop->is_short = 1;
}

/* Tells the end of a task that raised; takes over 'exception'. 0; -1: the client has gone. */
static int give_exception(worker_loop *loop, PyObject *exception)
{
    wire_sink ws;
    wire_sink_init(&ws, &loop->memory);
    look_at_limit(loop, exception);
    int written = write_exception(loop, exception, &ws) == 0;
    PyErr_Clear(); /* of writing; the client says that there was no room for the exception */
    flush_output(loop);
    int told = written && finish(loop, ACHAR__TASK_RAISED, &ws) == 0;
    if (!told) {
        PyErr_Clear();
        wire_sink_clear(&ws);
        told = achar__worker_finish(loop->worker, ACHAR__TASK_RAISED, NULL, 0) == ACHAR_OK;
    }
    Py_DECREF(exception);
    return told ? 0 : -1;
}

/* ---- taking ---- */

/* What the client has sent; what goes wrong is told as an exception of achar's that names 'what'. */
static PyObject *load(worker_loop *loop, const char *what, uint32_t kind, const void *bytes,
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

static PyObject *function_of(worker_loop *loop, const achar__assignment *a)
{
    size_t slot = a->function_id % FUNCTION_SLOTS;
    int reusable = a->function_flags & WIRE_FUNCTION_REUSABLE;
    if (reusable && loop->functions[slot].function && loop->functions[slot].id == a->function_id)
        return Py_NewRef(loop->functions[slot].function);
    PyObject *function = load(loop, "function", PACKED_NOT, a->function, a->function_nbytes);
    if (function && reusable) {
        PyObject *old = loop->functions[slot].function;
        loop->functions[slot].id = a->function_id;
        loop->functions[slot].function = Py_NewRef(function);
        Py_XDECREF(old);
    }
    return function;
}

/* From begin to end, worker_task() knows what runs. */
static void begin_task(worker_loop *loop, PyObject *function)
{
    Py_XSETREF(loop->st->task_called, Py_NewRef(function));
}

static void end_task(worker_loop *loop)
{
    if (loop->st->task_printed) { /* it is this one's, and no later one's */
        PyObject *raised = PyErr_Occurred() ? compat_take_exception() : NULL;
        flush_output(loop);
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
    PyObject *function = function_of(loop, a);
    if (!function)
        return NULL;
    begin_task(loop, function);
    packed = load(loop, "arguments", a->args_kind, a->args, a->args_nbytes);
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
    end_task(loop);
    Py_DECREF(function);
    return result;
}

/* ---- stretches ---- */

static int grow_results(saver_sink *sink, size_t capacity_nbytes)
{
    worker_loop *loop = sink->context;
    achar__block block;
    if (capacity_nbytes < sink->capacity * 2)
        capacity_nbytes = sink->capacity * 2;
    int status = achar__worker_results(loop->worker, sink->used, capacity_nbytes, &block);
    if (status != ACHAR_OK) {
        wire_raise_status(status, "send an object of this size");
        return -1;
    }
    sink->data = block.data;
    sink->capacity = block.capacity;
    return 0;
}

/* A whole record, or nothing and -1 with an exception set. */
static int add_record(saver_sink *sink, unsigned kind, const char *bytes, size_t nbytes)
{
    uint64_t header = ACHAR__RECORD_HEADER(nbytes, kind);
    size_t needed = sizeof header + nbytes;
    if (needed > sink->capacity - sink->used && sink->grow(sink, sink->used + needed) < 0)
        return -1;
    memcpy(sink->data + sink->used, &header, sizeof header);
    memcpy(sink->data + sink->used + sizeof header, bytes, nbytes);
    sink->used += needed;
    return 0;
}

static int add_result(worker_loop *loop, saver_sink *sink, PyObject *result)
{
    static const saver_options options = {.protocol = -1, .superset = 1, .root_name = "result"};
    char leaf[WIRE_LEAF_NBYTES_MAX];
    size_t nbytes = wire_leaf_write(result, leaf);
    if (nbytes)
        return add_record(sink, WIRE_LEAF, leaf, nbytes);
    size_t start = sink->used;
    if (add_record(sink, WIRE_PICKLE, leaf, 0) < 0)
        return -1;
    if (saver_dump_into(loop->st, result, &options, sink, NULL) < 0) {
        sink->used = start;
        return -1;
    }
    uint64_t header = ACHAR__RECORD_HEADER(sink->used - start - sizeof header, WIRE_PICKLE);
    memcpy(sink->data + start, &header, sizeof header);
    return 0;
}

/* Takes over 'exception'. Room for a record without bytes is there. */
static void add_exception(worker_loop *loop, saver_sink *sink, PyObject *exception)
{
    wire_sink ws;
    wire_sink_init(&ws, &loop->memory);
    look_at_limit(loop, exception);
    if (write_exception(loop, exception, &ws) < 0 ||
        add_record(sink, WIRE_RAISED, ws.sink.data, ws.sink.used) < 0) {
        PyErr_Clear(); /* the client says that there was no room for the exception */
        (void)add_record(sink, WIRE_RAISED, NULL, 0);
    }
    wire_sink_clear(&ws);
    Py_DECREF(exception);
}

/* One call of the stretch, whose arguments are the record at 'args'. */
static PyObject *call_record(worker_loop *loop, const achar__assignment *a, const char *args,
                             uint64_t header)
{
    if (loop->failure) {
        compat_restore_exception(Py_NewRef(loop->failure));
        return NULL;
    }
    PyObject *result = NULL, *packed = NULL, *function = function_of(loop, a);
    if (!function)
        return NULL;
    begin_task(loop, function);
    if ((header & 3) == WIRE_LEAF) {
        packed = wire_leaf_read(args, (size_t)(header >> 2));
        if (packed)
            result = PyObject_CallOneArg(function, packed);
    } else {
        packed = load(loop, "arguments", PACKED_NOT, args, (size_t)(header >> 2));
        if (packed && PyTuple_Check(packed))
            result = PyObject_Call(function, packed, NULL);
        else if (packed)
            PyErr_SetString(PyExc_SystemError, "a call's arguments are not a tuple");
    }
    Py_XDECREF(packed);
    end_task(loop);
    Py_DECREF(function);
    return result;
}

/*
 * The calls of a stretch, as far as they are this worker's. What they print is out before the end of
 * the stretch is told. 0; -1: the client has gone.
 */
static int run_stretch(worker_loop *loop, const achar__assignment *a)
{
    saver_sink sink = {.grow = grow_results, .context = loop};
    const char *args = a->args;
    for (size_t i = 0; i < a->call_count; i++) {
        /* So that the end of this call can be told, whatever it is. */
        enum { LEAST = sizeof(uint64_t) + WIRE_LEAF_NBYTES_MAX };
        int is_room =
            sink.capacity - sink.used >= LEAST || grow_results(&sink, sink.used + LEAST) == 0;
        if (!is_room && i > 0) {
            PyErr_Clear(); /* the rest may find room in another stretch */
            break;
        }
        if (achar__worker_begin_call(loop->worker) != ACHAR_OK)
            break;
        if (!is_room) {
            PyErr_WriteUnraisable(NULL);
            _exit(EXIT_NO_MEMORY); /* the call is lost, and its caller learns so */
        }
        uint64_t header;
        memcpy(&header, args, sizeof header);
        args += sizeof header;
        PyObject *result = call_record(loop, a, args, header);
        if (!result || add_result(loop, &sink, result) < 0)
            add_exception(loop, &sink, compat_take_exception());
        Py_XDECREF(result);
        args += header >> 2;
        achar__worker_end_call(loop->worker, sink.used);
    }
    flush_output(loop);
    return achar__worker_finish_stretch(loop->worker) == ACHAR_OK ? 0 : -1;
}

/* What a task has put is given back as it was packed then. 0: told; -1 with an exception set. */
static int give_reference(worker_loop *loop, PyObject *packed)
{
    wire_sink ws;
    wire_sink_init(&ws, &loop->memory);
    if (wire_sink_append(&ws, PyBytes_AS_STRING(packed), (size_t)PyBytes_GET_SIZE(packed)) == 0) {
        flush_output(loop);
        achar__worker_set_result_kind(loop->worker, PACKED_REFERENCE);
        if (finish(loop, ACHAR__TASK_RETURNED, &ws) == 0)
            return 0;
    }
    wire_sink_clear(&ws);
    return -1;
}

/* A future that the task returns, of a task of its own or of what it has put. As give_result(). */
static int give_nested(worker_loop *loop, PyObject *future)
{
    int status = -1;
    PyObject *packed = PyObject_GetAttrString(future, "_packed");
    if (packed && PyBytes_Check(packed)) {
        status = give_reference(loop, packed);
    } else if (packed) {
        PyObject *result = PyObject_CallMethod(future, "result", NULL);
        if (result)
            status = give_result(loop, result);
        Py_XDECREF(result);
    }
    Py_XDECREF(packed);
    return status;
}

/* 0; -1: the client has gone. */
static int run_task(worker_loop *loop, const achar__assignment *a)
{
    int status = -1;
    PyObject *result = call(loop, a);
    if (result && loop->st->nested_future &&
        PyObject_TypeCheck(result, (PyTypeObject *)loop->st->nested_future))
        status = give_nested(loop, result);
    else if (result)
        status = give_result(loop, result);
    if (status < 0)
        status = give_exception(loop, compat_take_exception());
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
            if ((a.call_count ? run_stretch : run_task)(loop, &a) < 0 || loop->is_short)
                return 0;
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
    loop.memory_limit = memory_limit();
    loop.memory = (wire_memory){loop.worker, memory_reserve, memory_grow, memory_free};
    const loader_options options = {.superset = 1};
    const void *hello_bytes = achar__worker_hello(loop.worker, &hello_nbytes);
    if ((loop.flush = PyUnicode_InternFromString("flush")) &&
        (hello = loader_loads(loop.st, hello_bytes, hello_nbytes, &options)) &&
        (returned = PyObject_CallOneArg(set_up, hello))) {
        loop.failure = returned == Py_None ? NULL : returned;
        find_telling(&loop, hello);
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
        state_add_function(module, module, &worker_prints_def, "achar._achar") < 0)
        return -1;
    return state_add_function(module, module, &worker_run_def, "achar._achar");
}
