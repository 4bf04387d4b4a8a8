/* semaphore.c - achar.Semaphore and achar.BoundedSemaphore. */
#include "python/sync/sync.h"

#include "runtime/sync/futex.h"
#include "runtime/sync/semaphore.h"

static achar_semaphore semaphore_of(PyObject *self)
{
    return (achar_semaphore){((sync_object *)self)->space, ((sync_object *)self)->cell};
}

static int init(PyObject *self, PyObject *args, PyObject *kwargs, int bounded)
{
    static const char *const names[] = {"value", NULL};
    Py_ssize_t value = 1;
    achar_semaphore semaphore;
    const char *class_name = bounded ? "BoundedSemaphore" : "Semaphore";
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n:Semaphore", (char **)names, &value))
        return sync_refuse_init(class_name, args, kwargs);
    if (value < 0) {
        PyErr_SetString(PyExc_ValueError, "semaphore initial value must be >= 0");
        return -1;
    }
    if (value > INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "semaphore initial value must be < 2**31");
        return -1;
    }
    sync_space *place = sync_place_for_init((sync_object *)self);
    if (!place)
        return -1;
    int status = achar_semaphore_create(place->space, (uint32_t)value, bounded, &semaphore);
    if (status != ACHAR_OK) {
        sync_raise(status);
        return -1;
    }
    sync_adopt_new((sync_object *)self, place, semaphore.cell);
    return 0;
}

static int semaphore_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init(self, args, kwargs, 0);
}

static int bounded_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return init(self, args, kwargs, 1);
}

static PyObject *acquire_until(PyObject *self, int64_t deadline_ns)
{
    achar_semaphore semaphore = semaphore_of(self);
    sync_waiting waiting;
    sync_wait_begin(&waiting);
    int status = achar__semaphore_acquire_until(semaphore, deadline_ns, &waiting.host);
    sync_wait_end(&waiting);
    if (status == ACHAR_E_INTERRUPTED) /* the handler's exception is set */
        return NULL;
    if (status != ACHAR_OK && status != ACHAR_E_TIMEOUT)
        return sync_raise(status);
    return PyBool_FromLong(status == ACHAR_OK);
}

PyDoc_STRVAR(
    acquire_doc,
    "acquire($self, /, blocking=True, timeout=None)\n--\n\n"
    "Take a permit, waiting for one; True if one was taken. Raises achar.OwnerDied if none\n"
    "is left and a process died with some.");
static PyObject *semaphore_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames)
{
    PyObject *values[2];
    int64_t deadline_ns;
    SYNC_CHECK(self);
    if (sync_two_arguments("acquire", "blocking", "timeout", args, nargs, kwnames, values) < 0)
        return sync_refuse("Semaphore", "acquire", args, nargs, kwnames);
    int blocking = values[0] ? PyObject_IsTrue(values[0]) : 1;
    if (blocking < 0)
        return NULL;
    if (!blocking && values[1] && values[1] != Py_None) {
        PyErr_SetString(PyExc_ValueError, "can't specify timeout for non-blocking acquire");
        return NULL;
    }
    if (sync_deadline_of(values[1], &deadline_ns) < 0)
        return NULL;
    return acquire_until(self, blocking ? deadline_ns : 0);
}

static PyObject *semaphore_enter(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return acquire_until(self, ACHAR__NO_DEADLINE);
}

static PyObject *release(PyObject *self, Py_ssize_t n)
{
    if (n < 1) {
        PyErr_SetString(PyExc_ValueError, "n must be one or more");
        return NULL;
    }
    int status =
        n > INT32_MAX ? ACHAR_E_LIMIT : achar_semaphore_release(semaphore_of(self), (uint32_t)n);
    if (status == ACHAR_OK)
        Py_RETURN_NONE;
    if (status != ACHAR_E_LIMIT)
        return sync_raise(status);
    PyErr_SetString(PyExc_ValueError, "Semaphore released too many times");
    return NULL;
}

/* threading's class, whose words differ. */
static const char *class_of(PyObject *self)
{
    module_state *st = state_of_type(Py_TYPE(self));
    return st && PyObject_TypeCheck(self, (PyTypeObject *)st->BoundedSemaphore) ? "BoundedSemaphore"
                                                                                : "Semaphore";
}

PyDoc_STRVAR(release_doc, "release($self, /, n=1)\n--\n\nGive 'n' permits back.");
static PyObject *semaphore_release(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames)
{
    PyObject *values[2];
    SYNC_CHECK(self);
    if (sync_two_arguments("release", "n", NULL, args, nargs, kwnames, values) < 0)
        return sync_refuse(class_of(self), "release", args, nargs, kwnames);
    Py_ssize_t n = values[0] ? PyNumber_AsSsize_t(values[0], NULL) : 1; /* huge: too many */
    if (n == -1 && PyErr_Occurred())
        return sync_refuse(class_of(self), "release", args, nargs, kwnames);
    return release(self, n);
}

static PyObject *semaphore_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    SYNC_CHECK(self);
    return release(self, 1);
}

PyDoc_STRVAR(recover_doc, "recover($self, /)\n--\n\n"
                          "Bring back the permits of processes that died; how many there were.");
static PyObject *semaphore_recover(PyObject *self, PyObject *unused)
{
    uint32_t count = 0;
    SYNC_CHECK(self);
    int status = achar_semaphore_recover(semaphore_of(self), &count);
    if (status != ACHAR_OK && status != ACHAR_E_NOT_HELD)
        return sync_raise(status);
    return PyLong_FromUnsignedLong(count);
}

PyDoc_STRVAR(get_value_doc, "get_value($self, /)\n--\n\nHow many permits are free.");
static PyObject *semaphore_get_value(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return PyLong_FromUnsignedLong(achar_semaphore_value(semaphore_of(self)));
}

static PyObject *semaphore_repr(PyObject *self)
{
    SYNC_CHECK(self);
    return sync_repr(self, "value=%u", (unsigned)achar_semaphore_value(semaphore_of(self)));
}

static PyObject *bounded_repr(PyObject *self)
{
    SYNC_CHECK(self);
    return sync_repr(self, "value=%u/%u", (unsigned)achar_semaphore_value(semaphore_of(self)),
                     (unsigned)achar_semaphore_initial(semaphore_of(self)));
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", SYNC_FAST_KEYWORDS(semaphore_acquire), acquire_doc},
    {"release", SYNC_FAST_KEYWORDS(semaphore_release), release_doc},
    {"__enter__", semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", SYNC_FAST(semaphore_exit), NULL},
    {"recover", semaphore_recover, METH_NOARGS, recover_doc},
    {"get_value", semaphore_get_value, METH_NOARGS, get_value_doc},
    SYNC_REDUCE,
    {NULL},
};

PyDoc_STRVAR(semaphore_doc, "Semaphore(value=1)\n--\n\n"
                            "threading.Semaphore, between threads and between processes.");
PyDoc_STRVAR(bounded_doc, "BoundedSemaphore(value=1)\n--\n\n"
                          "threading.BoundedSemaphore, between threads and between processes.");
static PyType_Slot semaphore_slots[] = {
    SYNC_SLOTS,
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_init, semaphore_init},
    {Py_tp_repr, semaphore_repr},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, sync_getset},
    {0, NULL},
};
static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, (void *)bounded_doc},
    {Py_tp_init, bounded_init},
    {Py_tp_repr, bounded_repr},
    {Py_tp_traverse, sync_traverse},
    {Py_tp_clear, sync_clear},
    {Py_tp_dealloc, sync_dealloc},
    {0, NULL},
};
PyType_Spec sync_semaphore_spec = {"achar.Semaphore", sizeof(sync_object), 0, SYNC_FLAGS,
                                   semaphore_slots};
PyType_Spec sync_bounded_semaphore_spec = {"achar.BoundedSemaphore", sizeof(sync_object), 0,
                                           SYNC_FLAGS, bounded_slots};
