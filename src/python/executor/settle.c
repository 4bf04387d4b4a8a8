/*
 * settle.c - from the bytes of a finished task to the future's own result or exception.
 *
 * Nothing that goes wrong here leaves the future undecided or touches another one: bytes that cannot
 * be read become this future's exception (achar.errors makes it). The exceptions' texts are made in
 * Python, where they are easy to read; this file decides which one it is.
 */
#include "python/executor/future.h"
#include "python/compat.h"
#include "python/executor/executor.h"
#include "python/executor/packed.h"
#include "python/loader/loader.h"
#include <string.h>

/* achar.errors.<function>(…); a new reference to the exception it makes. */
static PyObject *make_error(const char *function, const char *format, ...)
{
    PyObject *made = NULL, *maker = NULL, *args = NULL;
    PyObject *errors = PyImport_ImportModule("achar.errors");
    if (errors)
        maker = PyObject_GetAttrString(errors, function);
    va_list values;
    va_start(values, format);
    if (maker)
        args = Py_VaBuildValue(format, values);
    va_end(values);
    if (args)
        made = PyObject_CallObject(maker, args);
    Py_XDECREF(args);
    Py_XDECREF(maker);
    Py_XDECREF(errors);
    return made;
}

/* The exception that loading has just raised; NULL and still set if it is none of the bytes' doing. */
static PyObject *take_load_error(void)
{
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return NULL;
    return compat_take_exception();
}

/* RETURNED: the result, or the exception that says why it cannot be read. */
static int read_result(module_state *st, PyObject *name, PyObject *pool,
                       const achar__task_result *r, PyObject **result, PyObject **exception)
{
    const packed_place place = {
        .pool = pool, .task = r->task, .kept = r->kept, .kept_nbytes = r->kept_nbytes};
    *result = packed_read(st, &place, r->kind, r->bytes, r->nbytes);
    if (*result)
        return 0;
    PyObject *cause = take_load_error();
    if (!cause)
        return -1;
    *exception = make_error("_unreadable", "(sOO)", "result", name, cause);
    Py_DECREF(cause);
    return *exception ? 0 : -1;
}

/* RAISED, laid out as wire.h says. */
static int read_exception(module_state *st, PyObject *name, const achar__task_result *r,
                          PyObject **exception)
{
    const loader_options options = {.superset = 1};
    const char *bytes = r->bytes;
    PyObject *raised = NULL, *report = NULL, *load_error = NULL;
    uint32_t raised_nbytes = 0;
    int status = -1;
    if (r->nbytes >= sizeof raised_nbytes) {
        memcpy(&raised_nbytes, bytes, sizeof raised_nbytes);
        size_t report_at = sizeof raised_nbytes + (size_t)raised_nbytes;
        if (report_at < r->nbytes) {
            report = loader_loads(st, bytes + report_at, r->nbytes - report_at, &options);
            if (!report)
                goto done;
        }
        if (raised_nbytes)
            raised = loader_loads(st, bytes + sizeof raised_nbytes, raised_nbytes, &options);
        if (raised_nbytes && !raised && !(load_error = take_load_error()))
            goto done;
    }
    *exception = make_error("_raised", "(OOOO)", name, raised ? raised : Py_None,
                            load_error ? load_error : Py_None, report ? report : Py_None);
    status = *exception ? 0 : -1;
done:
    Py_XDECREF(load_error);
    Py_XDECREF(report);
    Py_XDECREF(raised);
    return status;
}

/* The attempts that failed before, as a list of (what, exit code, signal) for achar.errors. */
static PyObject *attempts_of(const achar__task_result *r)
{
    PyObject *attempts = PyList_New((Py_ssize_t)r->attempt_count);
    for (unsigned i = 0; attempts && i < r->attempt_count; i++) {
        const achar__attempt *attempt = &r->attempts[i];
        const char *what = attempt->state == ACHAR__TASK_RAISED    ? "raised"
                           : attempt->state == ACHAR__TASK_OVERDUE ? "overdue"
                                                                   : "died";
        PyObject *item =
            Py_BuildValue("(sii)", what, attempt->death.exit_code, attempt->death.signal);
        if (!item)
            Py_CLEAR(attempts);
        else
            PyList_SET_ITEM(attempts, (Py_ssize_t)i, item);
    }
    return attempts;
}

/* The exception tells of the attempts before. */
static int add_history(const achar__task_result *r, PyObject **exception)
{
    PyObject *attempts = attempts_of(r);
    PyObject *told = attempts ? make_error("_with_history", "(OO)", *exception, attempts) : NULL;
    Py_XDECREF(attempts);
    Py_SETREF(*exception, told);
    return told ? 0 : -1;
}

/* INPUT_FAILED: what the task where it began ended with is the cause. */
static PyObject *input_failed(module_state *st, PyObject *name, PyObject *pool, achar__task *cause)
{
    achar__task_result r;
    PyObject *result = NULL, *exception = NULL, *error = NULL;
    const char *label = achar__task_label(cause);
    achar__task_result_of(cause, &r);
    PyObject *cause_name = label ? PyUnicode_FromString(label) : Py_NewRef(Py_None);
    if (cause_name && future_read_outcome(st, cause_name, pool, &r, &result, &exception) == 0)
        error =
            make_error("_input_failed", "(OOO)", name, cause_name, exception ? exception : Py_None);
    Py_XDECREF(result);
    Py_XDECREF(exception);
    Py_XDECREF(cause_name);
    return error;
}

int future_read_outcome(module_state *st, PyObject *name, PyObject *pool,
                        const achar__task_result *r, PyObject **result, PyObject **exception)
{
    int interrupted = pool && pool_interrupted(pool, r->death.pid);
    const char *words = r->last_words; /* None where there are none */
    int status = 0;
    switch (r->state) {
    case ACHAR__TASK_RETURNED:
        return read_result(st, name, pool, r, result, exception);
    case ACHAR__TASK_RAISED:
        status = read_exception(st, name, r, exception);
        break;
    case ACHAR__TASK_CANCELLED:
        return 0;
    case ACHAR__TASK_INPUT_FAILED:
        *exception = input_failed(st, name, pool, r->cause);
        break;
    case ACHAR__TASK_STARVED:
        *exception = make_error("_starved", "(O)", name);
        break;
    case ACHAR__TASK_OVERDUE:
        *exception =
            make_error("_overdue", "(Odi)", name, (double)r->time_limit_ns / 1e9, r->death.pid);
        break;
    default:
        *exception =
            make_error(r->state == ACHAR__TASK_LOST              ? "_died"
                       : pool && ((pool_object *)pool)->is_actor ? "_actor_died"
                                                                 : "_abandoned",
                       "(Oiiiiiy#)", name, r->death.pid, r->death.exit_code, r->death.signal,
                       r->death.error, interrupted, words, (Py_ssize_t)(words ? strlen(words) : 0));
        break;
    }
    if (status < 0 || !*exception)
        return -1;
    return r->attempt_count ? add_history(r, exception) : 0;
}

/* Another thread reads the bytes just now. 0: look again. */
static int wait_for_other(future_object *f)
{
    PyObject *event = Py_XNewRef(f->decoded);
    if (!event) {
        PyObject *threading = PyImport_ImportModule("threading");
        event = threading ? PyObject_CallMethod(threading, "Event", NULL) : NULL;
        Py_XDECREF(threading);
        if (!event)
            return -1;
        if (!f->decoding_thread || f->decoded) { /* Python code ran */
            Py_DECREF(event);
            return 0;
        }
        future_track(f);
        f->decoded = Py_NewRef(event);
    }
    PyObject *woken = PyObject_CallMethod(event, "wait", NULL);
    Py_DECREF(event);
    Py_XDECREF(woken);
    return woken ? 0 : -1;
}

static void wake_others(future_object *f)
{
    f->decoding_thread = 0;
    PyObject *event = f->decoded;
    f->decoded = NULL;
    if (!event)
        return;
    PyObject *pending = PyErr_Occurred() ? compat_take_exception() : NULL;
    PyObject *set = PyObject_CallMethod(event, "set", NULL);
    if (!set)
        PyErr_WriteUnraisable(event);
    Py_XDECREF(set);
    Py_DECREF(event);
    if (pending)
        compat_restore_exception(pending);
}

int future_settle(module_state *st, future_object *f)
{
    unsigned long me = PyThread_get_thread_ident();
    while (f->task && f->decoding_thread) {
        if (f->decoding_thread == me) {
            PyErr_SetString(PyExc_RuntimeError,
                            "this future's result is being unpickled by what asks for it");
            return -1;
        }
        if (wait_for_other(f) < 0)
            return -1;
    }
    if (!f->task)
        return 0;
    achar__task *task = achar__task_retain(f->task);
    PyObject *result = NULL, *exception = NULL;
    achar__task_result r;
    achar__task_result_of(task, &r);
    f->decoding_thread = me;
    int status =
        future_read_outcome(st, f->name ? f->name : Py_None, f->pool, &r, &result, &exception);
    if (status == 0 && f->task) {
        if (exception || (result && PyObject_IS_GC(result)))
            future_track(f);
        f->result = result;
        f->exception = exception;
        f->state =
            r.state == ACHAR__TASK_CANCELLED ? FUTURE_CANCELLED_AND_NOTIFIED : FUTURE_FINISHED;
        if (r.kind == PACKED_REFERENCE || f->keeps_bytes)
            f->source = f->task;
        else
            achar__task_release(f->task);
        f->task = NULL;
    } else {
        Py_XDECREF(result);
        Py_XDECREF(exception);
    }
    wake_others(f);
    achar__task_release(task);
    return status;
}
