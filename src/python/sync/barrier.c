/*
 * barrier.c - achar.Barrier. The action runs in the thread of the last party, while the runtime
 * keeps all others waiting; whatever happens to that thread, they are let go or told.
 */
#include "python/sync/sync.h"
#include "python/compat.h"

#include "runtime/sync/barrier.h"

static achar_barrier barrier_of(PyObject *self)
{
    return (achar_barrier){((sync_object *)self)->space, ((sync_object *)self)->cell};
}

static int barrier_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {"parties", "action", "timeout", NULL};
    sync_object *o = (sync_object *)self;
    Py_ssize_t parties;
    PyObject *action = Py_None, *timeout = Py_None;
    int64_t deadline_ns;
    achar_barrier barrier;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n|OO:Barrier", (char **)names, &parties,
                                     &action, &timeout))
        return sync_refuse_init("Barrier", args, kwargs);
    if (parties < 1 || parties > INT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0");
        return -1;
    }
    if (sync_deadline_of(timeout, &deadline_ns) < 0)
        return -1;
    sync_space *place = sync_place_for_init(o);
    if (!place)
        return -1;
    int status = achar_barrier_create(place->space, (uint32_t)parties, &barrier);
    if (status != ACHAR_OK) {
        sync_raise(status);
        return -1;
    }
    o->action = action == Py_None ? NULL : Py_NewRef(action);
    o->timeout = Py_NewRef(timeout);
    sync_adopt_new(o, place, barrier.cell);
    return 0;
}

int sync_barrier_lead(PyObject *self, uint32_t index)
{
    PyObject *action = ((sync_object *)self)->action;
    int status;
    if (!action || index + 1 != achar_barrier_parties(barrier_of(self)))
        return 0;
    Py_INCREF(action);
    PyObject *result = PyObject_CallNoArgs(action);
    Py_DECREF(action);
    if (result) {
        Py_DECREF(result);
        status = achar_barrier_open(barrier_of(self));
        if (status == ACHAR_OK)
            return 0;
        sync_raise(status);
        return -1;
    }
    PyObject *exception = compat_take_exception();
    (void)achar_barrier_abort(barrier_of(self)); /* fails only where wait() had failed before */
    compat_restore_exception(exception);
    return -1;
}

PyDoc_STRVAR(
    wait_doc,
    "wait($self, /, timeout=None)\n--\n\n"
    "Wait for all parties; a number from 0 to parties - 1, different for each. Raises\n"
    "threading.BrokenBarrierError if the barrier is broken: by a time limit, by abort() or\n"
    "reset(), by an action that raised, or because a process died in it.");
static PyObject *barrier_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    sync_object *o = (sync_object *)self;
    PyObject *values[2];
    int64_t deadline_ns;
    sync_waiting waiting;
    uint32_t index = 0;
    SYNC_CHECK(self);
    if (sync_two_arguments("wait", "timeout", NULL, args, nargs, kwnames, values) < 0)
        return sync_refuse("Barrier", "wait", args, nargs, kwnames);
    if (sync_deadline_of(values[0] && values[0] != Py_None ? values[0] : o->timeout, &deadline_ns) <
        0)
        return NULL;
    int leads = o->action != NULL;
    sync_wait_begin(&waiting);
    int status =
        achar__barrier_wait_until(barrier_of(self), deadline_ns, leads, &waiting.host, &index);
    sync_wait_end(&waiting);
    if (status != ACHAR_OK)
        return status == ACHAR_E_INTERRUPTED ? NULL : sync_raise(status);
    if (PyErr_Occurred()) /* complete just when a handler raised */
        return NULL;
    if (leads && sync_barrier_lead(self, index) < 0)
        return NULL;
    return PyLong_FromUnsignedLong(index);
}

PyDoc_STRVAR(reset_doc, "reset($self, /)\n--\n\n"
                        "Make the barrier as new; for those who are in it, it is broken.");
static PyObject *barrier_reset(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    int status = achar_barrier_reset(barrier_of(self));
    return status == ACHAR_OK ? Py_NewRef(Py_None) : sync_raise(status);
}

PyDoc_STRVAR(abort_doc, "abort($self, /)\n--\n\nBreak the barrier, for all, until a reset().");
static PyObject *barrier_abort(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    int status = achar_barrier_abort(barrier_of(self));
    return status == ACHAR_OK ? Py_NewRef(Py_None) : sync_raise(status);
}

static PyObject *get_parties(PyObject *self, void *unused)
{
    SYNC_CHECK(self);
    return PyLong_FromUnsignedLong(achar_barrier_parties(barrier_of(self)));
}

static PyObject *get_n_waiting(PyObject *self, void *unused)
{
    SYNC_CHECK(self);
    return PyLong_FromUnsignedLong(achar_barrier_waiting(barrier_of(self)));
}

static PyObject *get_broken(PyObject *self, void *unused)
{
    SYNC_CHECK(self);
    return PyBool_FromLong(achar_barrier_is_broken(barrier_of(self)));
}

static PyObject *barrier_repr(PyObject *self)
{
    SYNC_CHECK(self);
    achar_barrier barrier = barrier_of(self);
    if (achar_barrier_is_broken(barrier))
        return sync_repr(self, "broken");
    return sync_repr(self, "waiters=%u/%u", (unsigned)achar_barrier_waiting(barrier),
                     (unsigned)achar_barrier_parties(barrier));
}

SYNC_NO_ARGUMENTS("Barrier", "reset", barrier_reset)
SYNC_NO_ARGUMENTS("Barrier", "abort", barrier_abort)

static PyMethodDef barrier_methods[] = {
    {"wait", SYNC_FAST_KEYWORDS(barrier_wait), wait_doc},
    {"reset", SYNC_FAST_KEYWORDS(barrier_reset_alone), reset_doc},
    {"abort", SYNC_FAST_KEYWORDS(barrier_abort_alone), abort_doc},
    SYNC_REDUCE,
    {NULL},
};

static PyGetSetDef barrier_getset[] = {
    SYNC_GET_AIO,
    {"parties", get_parties, NULL, "How many have to come."},
    {"n_waiting", get_n_waiting, NULL, "How many are in it and wait for others."},
    {"broken", get_broken, NULL, "Whether it is broken."},
    {NULL},
};

PyDoc_STRVAR(barrier_doc, "Barrier(parties, action=None, timeout=None)\n--\n\n"
                          "threading.Barrier, between threads and between processes.");
static PyType_Slot barrier_slots[] = {
    SYNC_SLOTS,
    {Py_tp_doc, (void *)barrier_doc},
    {Py_tp_init, barrier_init},
    {Py_tp_repr, barrier_repr},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {0, NULL},
};
PyType_Spec sync_barrier_spec = {"achar.Barrier", sizeof(sync_object), 0, SYNC_FLAGS,
                                 barrier_slots};
