/*
 * lock.c - achar.Lock and achar.RLock, and what a Condition has from its lock: every method here
 * works on sync_lock_of(self).
 *
 * A lock that is free costs one exchange, with the GIL held throughout; waiting is done without it.
 */
#include "python/sync/sync.h"

#include "runtime/sync/futex.h"
#include "runtime/sync/lock.h"

#include <unistd.h>

#define SYNC_CHECK_LOCK(lock, self)                                                                \
    if (__builtin_expect(!(lock).cell, 0))                                                         \
    return sync_raise_uninitialised(self)

static int is_recursive(achar_lock lock)
{
    return atomic_load_explicit(&lock.cell->kind, memory_order_relaxed) ==
           ACHAR__CELL_RECURSIVE_LOCK;
}

int sync_lock_acquire(achar_lock lock, int64_t deadline_ns)
{
    sync_waiting waiting;
    if (achar__lock_take(lock))
        return 1;
    sync_wait_begin(&waiting);
    int status = achar__lock_acquire_until(lock, deadline_ns, &waiting.host);
    sync_wait_end(&waiting);
    if (status == ACHAR_OK)
        return 1;
    if (status == ACHAR_E_TIMEOUT)
        return 0;
    if (status != ACHAR_E_INTERRUPTED) /* else the handler's exception is set */
        sync_raise(status);
    return -1;
}

/* Who is woken may run at once. A thread of this process needs the GIL for that. */
static void ring(achar_space *space, achar__waiter *next)
{
    if (atomic_load_explicit(&next->ticket, memory_order_relaxed) == achar__ticket(space)) {
        PyThreadState *thread = PyEval_SaveThread();
        achar__waiter_ring(space, next);
        PyEval_RestoreThread(thread);
    } else {
        achar__waiter_ring(space, next);
    }
}

PyObject *sync_lock_release(achar_lock lock)
{
    achar__waiter *next = NULL;
    int status = achar__lock_release(lock, &next);
    if (next)
        ring(lock.space, next);
    if (__builtin_expect(status == ACHAR_OK, 1))
        Py_RETURN_NONE;
    if (status != ACHAR_E_NOT_HELD)
        return sync_raise(status);
    PyErr_SetString(PyExc_RuntimeError, is_recursive(lock) ? "cannot release un-acquired lock"
                                                           : "release unlocked lock");
    return NULL;
}

const char sync_acquire_doc[] =
    "acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
    "Take the lock, waiting for it; True if it was taken. Who waits is served in the order of\n"
    "arrival. Raises achar.OwnerDied, without the lock, if a process died holding it.";
PyObject *sync_lock_acquire_method(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames)
{
    achar_lock lock = sync_lock_of(self);
    int64_t deadline_ns;
    SYNC_CHECK_LOCK(lock, self);
    if (sync_lock_arguments(is_recursive(lock) ? "RLock" : "Lock", args, nargs, kwnames,
                            &deadline_ns) < 0)
        return NULL;
    int acquired = sync_lock_acquire(lock, deadline_ns);
    return acquired < 0 ? NULL : PyBool_FromLong(acquired);
}

const char sync_release_doc[] = "release($self, /)\n--\n\n"
                                "Give the lock to the first who waits for it, or free it.";
PyObject *sync_lock_release_method(PyObject *self, PyObject *unused)
{
    achar_lock lock = sync_lock_of(self);
    SYNC_CHECK_LOCK(lock, self);
    return sync_lock_release(lock);
}

PyObject *sync_lock_enter(PyObject *self, PyObject *unused)
{
    achar_lock lock = sync_lock_of(self);
    SYNC_CHECK_LOCK(lock, self);
    int acquired = sync_lock_acquire(lock, ACHAR__NO_DEADLINE);
    return acquired < 0 ? NULL : PyBool_FromLong(acquired);
}

PyObject *sync_lock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    achar_lock lock = sync_lock_of(self);
    SYNC_CHECK_LOCK(lock, self);
    if (__builtin_expect(nargs > 0 && args[0] != Py_None, 0) && PyType_Check(args[0]) &&
        !achar_lock_is_mine(lock)) {
        /* Condition.wait() raised it, without the lock. */
        PyObject *errors = PyImport_ImportModule("achar.errors");
        PyObject *owner_died = errors ? PyObject_GetAttrString(errors, "OwnerDied") : NULL;
        int is_that = owner_died ? PyObject_IsSubclass(args[0], owner_died) : -1;
        Py_XDECREF(owner_died);
        Py_XDECREF(errors);
        if (is_that != 0)
            return is_that < 0 ? NULL : Py_NewRef(Py_None);
    }
    return sync_lock_release(lock);
}

const char sync_recover_doc[] =
    "recover($self, /, hold=False)\n--\n\n"
    "Make the lock usable again after achar.OwnerDied; True if this call did it. With 'hold' it "
    "is\n"
    "the caller's then, who can mend what it guards before anybody else sees that.";
PyObject *sync_lock_recover(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    achar_lock lock = sync_lock_of(self);
    PyObject *values[2];
    SYNC_CHECK_LOCK(lock, self);
    if (sync_two_arguments("recover", "hold", NULL, args, nargs, kwnames, values) < 0)
        return NULL;
    int hold = values[0] ? PyObject_IsTrue(values[0]) : 0;
    if (hold < 0)
        return NULL;
    int status = achar_lock_recover(lock, hold);
    if (status != ACHAR_OK && status != ACHAR_E_NOT_HELD)
        return sync_raise(status);
    return PyBool_FromLong(status == ACHAR_OK);
}

PyDoc_STRVAR(locked_doc, "locked($self, /)\n--\n\nWhether anybody has the lock.");
static PyObject *lock_locked(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return PyBool_FromLong(achar_lock_is_taken(sync_lock_of(self)));
}

/* ---- what threading's classes have for each other ---- */

PyObject *sync_lock_is_owned(PyObject *self, PyObject *unused)
{
    achar_lock lock = sync_lock_of(self);
    SYNC_CHECK_LOCK(lock, self);
    return PyBool_FromLong(achar_lock_is_mine(lock));
}

PyObject *sync_lock_recursion_count(PyObject *self, PyObject *unused)
{
    achar_lock lock = sync_lock_of(self);
    SYNC_CHECK_LOCK(lock, self);
    return PyLong_FromUnsignedLong(achar_lock_depth(lock));
}

PyObject *sync_lock_release_save(PyObject *self, PyObject *unused)
{
    achar_lock lock = sync_lock_of(self);
    SYNC_CHECK_LOCK(lock, self);
    uint32_t depth = achar_lock_depth(lock);
    if (depth == 0) {
        PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
        return NULL;
    }
    for (uint32_t i = 0; i < depth; i++) {
        PyObject *released = sync_lock_release(lock);
        if (!released)
            return NULL;
        Py_DECREF(released);
    }
    return PyLong_FromUnsignedLong(depth);
}

PyObject *sync_lock_acquire_restore(PyObject *self, PyObject *depth)
{
    achar_lock lock = sync_lock_of(self);
    unsigned long count = PyLong_AsUnsignedLong(depth);
    SYNC_CHECK_LOCK(lock, self);
    if (count == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    for (unsigned long i = 0; i < count; i++) {
        if (sync_lock_acquire(lock, ACHAR__NO_DEADLINE) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *sync_lock_at_fork_reinit(PyObject *self, PyObject *unused)
{
    achar_lock lock = sync_lock_of(self);
    SYNC_CHECK_LOCK(lock, self);
    int status = achar__lock_reset(lock);
    return status == ACHAR_OK ? Py_NewRef(Py_None) : sync_raise(status);
}

/* ---- the types ---- */

static int init(PyObject *self, PyObject *args, PyObject *kwargs, int recursive)
{
    achar_lock lock;
    if (PyTuple_GET_SIZE(args) > 0 || (kwargs && PyDict_GET_SIZE(kwargs) > 0)) {
        PyErr_Format(PyExc_TypeError, "%s() takes no arguments", Py_TYPE(self)->tp_name);
        return sync_refuse_init(recursive ? "RLock" : "Lock", args, kwargs);
    }
    sync_space *place = sync_place_for_init((sync_object *)self);
    if (!place)
        return -1;
    int status = achar_lock_create(place->space, recursive, &lock);
    if (status != ACHAR_OK) {
        sync_raise(status);
        return -1;
    }
    sync_adopt_new((sync_object *)self, place, lock.cell);
    return 0;
}

static int lock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init(self, args, kwargs, 0);
}

static int rlock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init(self, args, kwargs, 1);
}

static PyObject *lock_repr(PyObject *self)
{
    SYNC_CHECK(self);
    achar_lock lock = sync_lock_of(self);
    PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__module__");
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__qualname__");
    PyObject *text = NULL;
    const char *locked = achar_lock_is_taken(lock) ? "locked" : "unlocked";
    if (module && name && is_recursive(lock))
        text = PyUnicode_FromFormat("<%s %S.%S object count=%u at %p>", locked, module, name,
                                    (unsigned)achar_lock_depth(lock), self);
    else if (module && name)
        text = PyUnicode_FromFormat("<%s %S.%S object at %p>", locked, module, name, self);
    Py_XDECREF(module);
    Py_XDECREF(name);
    return text;
}

static PyMethodDef lock_methods[] = {
    SYNC_LOCK_METHODS,
    SYNC_REDUCE,
    {"locked", lock_locked, METH_NOARGS, locked_doc},
    {NULL},
};

static PyMethodDef rlock_methods[] = {
    SYNC_LOCK_METHODS,
    SYNC_RECURSIVE_METHODS,
    SYNC_REDUCE,
    {"locked", lock_locked, METH_NOARGS, locked_doc},
    {NULL},
};

PyDoc_STRVAR(lock_doc, "Lock()\n--\n\n"
                       "threading.Lock, between threads and between processes.");
PyDoc_STRVAR(rlock_doc, "RLock()\n--\n\n"
                        "threading.RLock, between threads and between processes.");

static PyType_Slot lock_slots[] = {
    SYNC_SLOTS,
    {Py_tp_doc, (void *)lock_doc},
    {Py_tp_init, lock_init},
    {Py_tp_repr, lock_repr},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, sync_getset},
    {0, NULL},
};
static PyType_Slot rlock_slots[] = {
    SYNC_SLOTS,
    {Py_tp_doc, (void *)rlock_doc},
    {Py_tp_init, rlock_init},
    {Py_tp_repr, lock_repr},
    {Py_tp_methods, rlock_methods},
    {Py_tp_getset, sync_getset},
    {0, NULL},
};
PyType_Spec sync_lock_spec = {"achar.Lock", sizeof(sync_object), 0, SYNC_FLAGS, lock_slots};
PyType_Spec sync_rlock_spec = {"achar.RLock", sizeof(sync_object), 0, SYNC_FLAGS, rlock_slots};
