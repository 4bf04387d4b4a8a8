/*
 * wait.c - to wait for a task without the GIL: as long as asked, with Ctrl-C heard meanwhile.
 *
 * Another thread may settle the future during the wait, and let go of its task and pool with that. So whoever
 * waits holds both.
 */
#include "python/executor/executor.h"
#include "python/executor/future.h"
#include <math.h>
#include <time.h>

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

/*
 * What a task has printed comes before its result, if whoever prints it is not slow. The pool must not be
 * released meanwhile: another thread may settle the future, and drop the executor.
 */
static void wait_for_output(achar__task *waited, PyObject *pool, int64_t timeout_ns)
{
    if (!pool || !achar__task_may_have_output(waited))
        return;
    achar__task *task = achar__task_retain(waited);
    Py_INCREF(pool);
    Py_BEGIN_ALLOW_THREADS achar__task_await_output(task, timeout_ns);
    Py_END_ALLOW_THREADS achar__task_release(task);
    Py_DECREF(pool);
}

int future_wait(module_state *st, achar__task *waited, PyObject *pool, int64_t timeout_ns)
{
    if (ACHAR__TASK_FINISHED(achar__task_state_of(waited))) {
        wait_for_output(waited, pool, timeout_ns);
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
    if (outcome == 0 && deadline_ns >= 0) {
        timeout_ns = deadline_ns - now_ns();
        timeout_ns = timeout_ns < 0 ? 0 : timeout_ns;
    }
    if (outcome == 0)
        wait_for_output(task, held_pool, timeout_ns);
    achar__task_release(task);
    Py_XDECREF(held_pool);
    return outcome;
}
