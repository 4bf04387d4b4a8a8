/*
 * room.c - back-pressure: submit() waits until tasks have ended, where that is no deadlock.
 *
 * It does not wait in a thread that tasks may wait for (the one that runs callbacks, the one that attends to
 * tasks that submit tasks), nor where an event loop runs, which is to go on: there it says at once that
 * there is no room.
 */
#include "python/executor/room.h"
#include "python/compat.h"
#include "python/executor/view.h"

static _Thread_local int never_waits;

void room_never_wait(void)
{
    never_waits = 1;
}

/* 1, 0, or -1 with an exception set. asyncio is not imported for the question. */
static int event_loop_runs(void)
{
    PyObject *name = PyUnicode_FromString("asyncio");
    PyObject *asyncio = name ? PyImport_GetModule(name) : NULL;
    Py_XDECREF(name);
    if (!asyncio)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *loop = PyObject_CallMethod(asyncio, "_get_running_loop", NULL);
    Py_DECREF(asyncio);
    int runs = loop ? loop != Py_None : -1;
    Py_XDECREF(loop);
    return runs;
}

/* Instead of 'error', which it takes over. */
static void raise_nothing_ended(PyObject *error)
{
    PyErr_Format(
        PyExc_MemoryError,
        "%S now, and nothing has become free for room_timeout: the tasks that hold the memory run "
        "longer, or wait for this process. Raise memory_limit or room_timeout, or submit less at "
        "once",
        error);
    Py_DECREF(error);
}

int room_wait(pool_object *p, room_lack lack, uint32_t seen)
{
    if (never_waits || (lack.status != ACHAR_E_LIMIT && lack.status != ACHAR_E_NOMEM) ||
        !PyErr_ExceptionMatches(PyExc_MemoryError))
        return 0;
    PyObject *error = compat_take_exception();
    module_state *st = state_of_type(Py_TYPE((PyObject *)p));
    if (st)
        view_sweep(st);
    else
        PyErr_Clear();
    int waited = event_loop_runs();
    if (waited < 0) {
        Py_DECREF(error);
        return -1;
    }
    if (waited) {
        compat_restore_exception(error);
        return 0;
    }
    do {
        Py_BEGIN_ALLOW_THREADS waited = achar__pool_await_room(p->pool, seen, lack.needed_nbytes);
        Py_END_ALLOW_THREADS if (waited == ACHAR_E_INTERRUPTED && PyErr_CheckSignals() < 0)
        {
            Py_DECREF(error);
            return -1;
        }
    } while (waited == ACHAR_E_INTERRUPTED);
    if (waited == ACHAR_E_TIMEOUT) {
        raise_nothing_ended(error);
        return 0;
    }
    if (waited != ACHAR_OK) {
        compat_restore_exception(error);
        return 0;
    }
    Py_DECREF(error);
    return 1;
}

PyDoc_STRVAR(never_wait_doc,
             "never_wait_for_room()\n--\n\n"
             "In this thread submit() does not wait for memory, but fails where there is none.");
static PyObject *never_wait(PyObject *module, PyObject *unused)
{
    room_never_wait();
    Py_RETURN_NONE;
}

static PyMethodDef never_wait_def = {"never_wait_for_room", never_wait, METH_NOARGS,
                                     never_wait_doc};

int room_exec(PyObject *module, module_state *st)
{
    return state_add_function(module, module, &never_wait_def, "achar._achar");
}
