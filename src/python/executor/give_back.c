/*
 * give_back.c - a worker tells the end of a task: what it returned, or what it raised.
 *
 * Told exactly once, whichever way: what goes wrong while a result is sent becomes the task's exception;
 * an exception that cannot be pickled goes as a report of its type, text and traceback; and the last
 * resort, when not even a report finds memory, is RAISED without bytes.
 */
#include "python/compat.h"
#include "python/executor/worker_loop.h"
#include <string.h>

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

void worker_flush_output(worker_loop *loop)
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

int worker_finish(worker_loop *loop, enum achar__task_state state, wire_sink *ws)
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

int worker_give_result(worker_loop *loop, PyObject *result)
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
        kind = packed_finish_result(&taken, &ws, loop->keeps ? loop->worker : NULL);
    packed_clear(&taken);
    if (kind >= 0) {
        worker_flush_output(loop);
        achar__worker_set_result_kind(loop->worker, (uint32_t)kind);
        if (worker_finish(loop, ACHAR__TASK_RETURNED, &ws) == 0)
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

/* A line for the journal: the exception's type, and what it says. */
static void tell_error(worker_loop *loop, PyObject *type, PyObject *text)
{
    PyObject *line = NULL, *utf8;
    if (PyUnicode_Check(type) && PyUnicode_Check(text))
        line = PyUnicode_GET_LENGTH(text) ? PyUnicode_FromFormat("%U: %.160U", type, text)
                                          : Py_NewRef(type);
    utf8 = line ? wire_utf8(line) : NULL;
    if (utf8)
        achar__worker_set_error(loop->worker, PyBytes_AS_STRING(utf8),
                                (size_t)PyBytes_GET_SIZE(utf8));
    else
        PyErr_Clear(); /* it goes without */
    Py_XDECREF(utf8);
    Py_XDECREF(line);
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
    if (report && achar__worker_wants_errors(loop->worker))
        tell_error(loop, PyTuple_GET_ITEM(three, 0), PyTuple_GET_ITEM(three, 1));
    if (!report) { /* describing it failed: at least its type */
        PyErr_Clear();
        report = Py_BuildValue("(sssO)", Py_TYPE(exception)->tp_name, "", "", why ? why : Py_None);
    }
    Py_XDECREF(three);
    Py_XDECREF(why);
    return report;
}

static const saver_options as_exception = {.protocol = -1, .superset = 1, .root_name = "exception"};

/*
 * An exception that cannot be pickled with what it was raised from goes without: that is in the report's text. 0; -1
 * with an exception set: what it is itself cannot be pickled either.
 */
static int dump_without_its_chain(worker_loop *loop, PyObject *exception, wire_sink *ws)
{
    PyObject *cause = PyException_GetCause(exception);
    PyObject *context = PyException_GetContext(exception);
    PyObject *hidden = PyObject_GetAttrString(exception, "__suppress_context__");
    PyException_SetCause(exception, NULL);
    PyException_SetContext(exception, NULL);
    int status = hidden ? saver_dump_into(loop->st, exception, &as_exception, &ws->sink, NULL) : -1;
    PyObject *raised = status < 0 ? compat_take_exception() : NULL;
    PyException_SetCause(exception, cause);
    PyException_SetContext(exception, context);
    if (hidden && PyObject_SetAttrString(exception, "__suppress_context__", hidden) < 0)
        PyErr_Clear(); /* the report's text shows more, or less */
    Py_XDECREF(hidden);
    if (raised)
        compat_restore_exception(raised);
    return status;
}

static int has_a_chain(PyObject *exception)
{
    PyObject *cause = PyException_GetCause(exception);
    PyObject *context = PyException_GetContext(exception);
    int has = cause || context;
    Py_XDECREF(cause);
    Py_XDECREF(context);
    return has;
}

int worker_write_exception(worker_loop *loop, PyObject *exception, wire_sink *ws)
{
    uint32_t nbytes = 0;
    PyObject *reason = NULL, *report = NULL;
    int status = -1;
    if (wire_sink_append(ws, &nbytes, sizeof nbytes) < 0)
        return -1;
    /* Its own traceback goes as text, in the report. */
    PyObject *traceback = PyException_GetTraceback(exception);
    PyException_SetTraceback(exception, Py_None);
    if (saver_dump_into(loop->st, exception, &as_exception, &ws->sink, NULL) < 0) {
        reason = compat_take_exception();
        ws->sink.used = sizeof nbytes;
        if (has_a_chain(exception) && dump_without_its_chain(loop, exception, ws) == 0) {
            Py_CLEAR(reason);
        } else {
            PyErr_Clear(); /* the first says why */
            ws->sink.used = sizeof nbytes;
        }
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
        status = saver_dump_into(loop->st, report, &as_exception, &ws->sink, NULL);
    Py_XDECREF(report);
    Py_XDECREF(reason);
    return status;
}

rlim_t worker_memory_limit(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(RLIMIT_AS, &limit);
    return limit.rlim_cur;
}

void worker_look_at_limit(worker_loop *loop, PyObject *exception)
{
    if (PyErr_GivenExceptionMatches(exception, PyExc_MemoryError) &&
        worker_memory_limit() < loop->memory_limit)
        loop->is_short = 1;
}

int worker_give_exception(worker_loop *loop, PyObject *exception)
{
    wire_sink ws;
    wire_sink_init(&ws, &loop->memory);
    worker_look_at_limit(loop, exception);
    int written = worker_write_exception(loop, exception, &ws) == 0;
    PyErr_Clear(); /* of writing; the client says that there was no room for the exception */
    worker_flush_output(loop);
    int told = written && worker_finish(loop, ACHAR__TASK_RAISED, &ws) == 0;
    if (!told) {
        PyErr_Clear();
        wire_sink_clear(&ws);
        told = achar__worker_finish(loop->worker, ACHAR__TASK_RAISED, NULL, 0) == ACHAR_OK;
    }
    Py_DECREF(exception);
    return told ? 0 : -1;
}
