/*
 * condition.c - achar.Condition. It is made in its lock's space, and holds the lock's Python object.
 *
 * wait() gives the GIL up before the lock: whoever then gets the lock finds the GIL free.
 */
#include "python/sync/sync.h"

#include "runtime/sync/condition.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/lock.h"

static achar_condition condition_of(PyObject *self)
{
    return (achar_condition){((sync_object *)self)->space, ((sync_object *)self)->cell};
}

static PyObject *raise_not_held(const char *what)
{
    return PyErr_Format(PyExc_RuntimeError, "cannot %s on un-acquired lock", what);
}

/* 1: notified; 0: not in time; -1: exception. */
static int wait_until(PyObject *self, int64_t deadline_ns)
{
    sync_waiting waiting;
    sync_wait_begin(&waiting);
    int status = achar__condition_wait_until(condition_of(self), deadline_ns, &waiting.host);
    sync_wait_end(&waiting);
    switch (status) {
    case ACHAR_OK:
        return 1;
    case ACHAR_E_TIMEOUT:
        return 0;
    case ACHAR_E_INTERRUPTED: /* the handler's exception is set */
        return -1;
    case ACHAR_E_NOT_HELD:
        raise_not_held("wait");
        return -1;
    default:
        if (!PyErr_Occurred())
            sync_raise(status);
        return -1;
    }
}

PyDoc_STRVAR(wait_doc,
             "wait($self, /, timeout=None)\n--\n\n"
             "Release the lock, wait to be notified, and take the lock again; False if 'timeout'\n"
             "seconds passed before. Raises achar.OwnerDied, without the lock, if a process died\n"
             "holding it.");
static PyObject *condition_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    PyObject *values[2] = {NULL, NULL};
    int64_t deadline_ns;
    SYNC_CHECK(self);
    if ((nargs || kwnames) &&
        sync_two_arguments("wait", "timeout", NULL, args, nargs, kwnames, values) < 0)
        return sync_refuse("Condition", "wait", args, nargs, kwnames);
    if (!achar_lock_is_mine(sync_lock_of(self)))
        return raise_not_held("wait");
    if (sync_deadline_of(values[0], &deadline_ns) < 0)
        return sync_refuse("Condition", "wait", args, nargs, kwnames);
    int notified = wait_until(self, deadline_ns);
    return notified < 0 ? NULL : PyBool_FromLong(notified);
}

PyDoc_STRVAR(wait_for_doc,
             "wait_for($self, /, predicate, timeout=None)\n--\n\n"
             "Wait until predicate() is true; its last value. It is called with the lock held.");
static PyObject *condition_wait_for(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                    PyObject *kwnames)
{
    PyObject *values[2];
    int64_t deadline_ns;
    SYNC_CHECK(self);
    if (sync_two_arguments("wait_for", "predicate", "timeout", args, nargs, kwnames, values) < 0 ||
        !values[0])
        return sync_refuse("Condition", "wait_for", args, nargs, kwnames);
    for (bool waited = false;; waited = true) { /* it waits once, whatever the time */
        PyObject *result = PyObject_CallNoArgs(values[0]);
        int is_true = result ? PyObject_IsTrue(result) : -1;
        if (is_true != 0) {
            if (is_true < 0)
                Py_CLEAR(result);
            return result;
        }
        if (!waited && sync_deadline_of(values[1], &deadline_ns) < 0) {
            PyObject *never[] = {(PyObject *)&PyBool_Type, values[1]};
            Py_DECREF(result);
            return PyErr_ExceptionMatches(PyExc_ValueError) /* threading waits for ever until NaN */
                       ? NULL
                       : sync_refuse("Condition", "wait_for", never, 2, NULL);
        }
        if (waited && deadline_ns >= 0 && achar__now_ns() >= deadline_ns)
            return result;
        Py_DECREF(result);
        if (wait_until(self, deadline_ns) < 0)
            return NULL;
    }
}

static PyObject *notify(PyObject *self, uint32_t count)
{
    int status = achar_condition_notify(condition_of(self), count);
    if (__builtin_expect(status == ACHAR_OK, 1))
        Py_RETURN_NONE;
    if (status != ACHAR_E_NOT_HELD)
        return sync_raise(status);
    return raise_not_held("notify");
}

PyDoc_STRVAR(notify_doc, "notify($self, /, n=1)\n--\n\n"
                         "Let the first 'n' who wait go on, when the lock is released.");
static PyObject *condition_notify(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    PyObject *values[2] = {NULL, NULL};
    SYNC_CHECK(self);
    if (nargs == 0 && !kwnames)
        return notify(self, 1);
    if (sync_two_arguments("notify", "n", NULL, args, nargs, kwnames, values) < 0)
        return sync_refuse("Condition", "notify", args, nargs, kwnames);
    if (!achar_lock_is_mine(sync_lock_of(self)))
        return raise_not_held("notify");
    Py_ssize_t n = PyNumber_AsSsize_t(values[0], NULL);
    if (n == -1 && PyErr_Occurred())
        return NULL;
    return notify(self, n <= 0 ? 0 : n >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t)n);
}

PyDoc_STRVAR(notify_all_doc, "notify_all($self, /)\n--\n\n"
                             "Let all who wait go on, when the lock is released.");
static PyObject *condition_notify_all(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return notify(self, UINT32_MAX);
}

PyDoc_STRVAR(notifyAll_doc, "notifyAll($self, /)\n--\n\nDeprecated: notify_all().");
static PyObject *condition_notifyAll(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    if (PyErr_WarnEx(PyExc_DeprecationWarning,
                     "notifyAll() is deprecated, use notify_all() instead", 1) < 0)
        return NULL;
    return notify(self, UINT32_MAX);
}

static int condition_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {"lock", NULL};
    sync_object *o = (sync_object *)self;
    PyObject *lock = Py_None;
    achar_condition condition;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Condition", (char **)names, &lock))
        return sync_refuse_init("Condition", args, kwargs);
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st || !sync_place_for_init(o))
        return -1;
    if (lock == Py_None) {
        lock = PyObject_CallNoArgs(st->RLock);
    } else if (PyObject_TypeCheck(lock, (PyTypeObject *)st->Lock) ||
               PyObject_TypeCheck(lock, (PyTypeObject *)st->RLock)) {
        Py_INCREF(lock);
    } else {
        PyErr_Format(PyExc_TypeError, "Condition() takes an achar.Lock or achar.RLock, not '%s'",
                     Py_TYPE(lock)->tp_name);
        return -1;
    }
    if (!lock)
        return -1;
    achar_lock handle = sync_lock_of(lock);
    if (!handle.cell) {
        sync_raise_uninitialised(lock);
        Py_DECREF(lock);
        return -1;
    }
    int status = achar_condition_create(handle, &condition);
    if (status != ACHAR_OK) {
        Py_DECREF(lock);
        sync_raise(status);
        return -1;
    }
    o->lock = lock;
    sync_adopt_new(o, ((sync_object *)lock)->place, condition.cell);
    return 0;
}

static PyObject *condition_repr(PyObject *self)
{
    SYNC_CHECK(self);
    return sync_repr(self, "%R", ((sync_object *)self)->lock);
}

SYNC_NO_ARGUMENTS("Condition", "notify_all", condition_notify_all)
SYNC_NO_ARGUMENTS("Condition", "notifyAll", condition_notifyAll)

static PyMethodDef condition_methods[] = {
    {"wait", SYNC_FAST_KEYWORDS(condition_wait), wait_doc},
    {"wait_for", SYNC_FAST_KEYWORDS(condition_wait_for), wait_for_doc},
    {"notify", SYNC_FAST_KEYWORDS(condition_notify), notify_doc},
    {"notify_all", SYNC_FAST_KEYWORDS(condition_notify_all_alone), notify_all_doc},
    {"notifyAll", SYNC_FAST_KEYWORDS(condition_notifyAll_alone), notifyAll_doc},
    SYNC_LOCK_METHODS,
    SYNC_RECURSIVE_METHODS,
    SYNC_REDUCE,
    {NULL},
};

PyDoc_STRVAR(condition_doc,
             "Condition(lock=None)\n--\n\n"
             "threading.Condition, between threads and between processes: a lock (an RLock of its\n"
             "own, or the achar.Lock or achar.RLock given) with a list of waiters.");
static PyType_Slot condition_slots[] = {
    SYNC_SLOTS,
    {Py_tp_doc, (void *)condition_doc},
    {Py_tp_init, condition_init},
    {Py_tp_repr, condition_repr},
    {Py_tp_methods, condition_methods},
    {Py_tp_getset, sync_getset},
    {0, NULL},
};
PyType_Spec sync_condition_spec = {"achar.Condition", sizeof(sync_object), 0, SYNC_FLAGS,
                                   condition_slots};
