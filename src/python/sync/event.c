/* event.c - achar.Event. */
#include "python/sync/sync.h"

#include "runtime/sync/event.h"

static achar_event event_of(PyObject *self)
{
    return (achar_event){((sync_object *)self)->space, ((sync_object *)self)->cell};
}

static int event_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    achar_event event;
    if (PyTuple_GET_SIZE(args) > 0 || (kwargs && PyDict_GET_SIZE(kwargs) > 0)) {
        PyErr_SetString(PyExc_TypeError, "Event() takes no arguments");
        return sync_refuse_init("Event", args, kwargs);
    }
    sync_space *place = sync_place_for_init((sync_object *)self);
    if (!place)
        return -1;
    int status = achar_event_create(place->space, &event);
    if (status != ACHAR_OK) {
        sync_raise(status);
        return -1;
    }
    sync_adopt_new((sync_object *)self, place, event.cell);
    return 0;
}

PyDoc_STRVAR(is_set_doc, "is_set($self, /)\n--\n\nWhether the event is set.");
static PyObject *event_is_set(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return PyBool_FromLong(achar_event_is_set(event_of(self)));
}

PyDoc_STRVAR(isSet_doc, "isSet($self, /)\n--\n\nDeprecated: is_set().");
static PyObject *event_isSet(PyObject *self, PyObject *unused)
{
    if (PyErr_WarnEx(PyExc_DeprecationWarning, "isSet() is deprecated, use is_set() instead", 1) <
        0)
        return NULL;
    return event_is_set(self, NULL);
}

PyDoc_STRVAR(set_doc, "set($self, /)\n--\n\nSet the event; all who wait for it go on.");
static PyObject *event_set(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    int status = achar_event_set(event_of(self));
    return status == ACHAR_OK ? Py_NewRef(Py_None) : sync_raise(status);
}

PyDoc_STRVAR(clear_doc, "clear($self, /)\n--\n\nWho waits from now on waits for the next set().");
static PyObject *event_clear(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    int status = achar_event_clear(event_of(self));
    return status == ACHAR_OK ? Py_NewRef(Py_None) : sync_raise(status);
}

PyDoc_STRVAR(wait_doc, "wait($self, /, timeout=None)\n--\n\n"
                       "Wait until the event is set; False if 'timeout' seconds passed before.");
static PyObject *event_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    PyObject *values[2];
    int64_t deadline_ns;
    sync_waiting waiting;
    SYNC_CHECK(self);
    if (sync_two_arguments("wait", "timeout", NULL, args, nargs, kwnames, values) < 0)
        return sync_refuse("Event", "wait", args, nargs, kwnames);
    if (achar_event_is_set(event_of(self)))
        Py_RETURN_TRUE;
    if (sync_deadline_of(values[0], &deadline_ns) < 0)
        return sync_refuse("Event", "wait", args, nargs, kwnames);
    sync_wait_begin(&waiting);
    int status = achar__event_wait_until(event_of(self), deadline_ns, &waiting.host);
    sync_wait_end(&waiting);
    if (status == ACHAR_E_INTERRUPTED || PyErr_Occurred()) /* set just when a handler raised */
        return NULL;
    if (status != ACHAR_OK && status != ACHAR_E_TIMEOUT)
        return sync_raise(status);
    return PyBool_FromLong(status == ACHAR_OK);
}

static PyObject *event_at_fork_reinit(PyObject *self, PyObject *unused)
{
    Py_RETURN_NONE; /* a forked child uses the same event as its parent */
}

static PyObject *event_repr(PyObject *self)
{
    SYNC_CHECK(self);
    return sync_repr(self, achar_event_is_set(event_of(self)) ? "set" : "unset");
}

SYNC_NO_ARGUMENTS("Event", "is_set", event_is_set)
SYNC_NO_ARGUMENTS("Event", "isSet", event_isSet)
SYNC_NO_ARGUMENTS("Event", "set", event_set)
SYNC_NO_ARGUMENTS("Event", "clear", event_clear)

static PyMethodDef event_methods[] = {
    {"is_set", SYNC_FAST_KEYWORDS(event_is_set_alone), is_set_doc},
    {"isSet", SYNC_FAST_KEYWORDS(event_isSet_alone), isSet_doc},
    {"set", SYNC_FAST_KEYWORDS(event_set_alone), set_doc},
    {"clear", SYNC_FAST_KEYWORDS(event_clear_alone), clear_doc},
    {"wait", SYNC_FAST_KEYWORDS(event_wait), wait_doc},
    {"_at_fork_reinit", event_at_fork_reinit, METH_NOARGS, NULL},
    SYNC_REDUCE,
    {NULL},
};

PyDoc_STRVAR(event_doc, "Event()\n--\n\n"
                        "threading.Event, between threads and between processes.");
static PyType_Slot event_slots[] = {
    SYNC_SLOTS,
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_init, event_init},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, sync_getset},
    {0, NULL},
};
PyType_Spec sync_event_spec = {"achar.Event", sizeof(sync_object), 0, SYNC_FLAGS, event_slots};
