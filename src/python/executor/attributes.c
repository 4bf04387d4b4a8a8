/*
 * attributes.c - the attributes that concurrent.futures works on: _condition, _waiters, _state, …
 *
 * wait() and as_completed() take _condition, look at _state and enter themselves into _waiters. So that
 * they miss nothing, asking for _condition or _waiters has the task watched, and from then on _state shows
 * the end only once future_notify() has published it with _condition held.
 */
#include "python/executor/future.h"

static const char *const STATE_NAMES[] = {
    [FUTURE_PENDING] = "PENDING",     [FUTURE_RUNNING] = "RUNNING",
    [FUTURE_CANCELLED] = "CANCELLED", [FUTURE_CANCELLED_AND_NOTIFIED] = "CANCELLED_AND_NOTIFIED",
    [FUTURE_FINISHED] = "FINISHED",
};
#define STATE_COUNT (sizeof STATE_NAMES / sizeof STATE_NAMES[0])

static PyObject *get_condition(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    future_track(f);
    if (!f->condition) {
        PyObject *threading = PyImport_ImportModule("threading");
        PyObject *condition = threading ? PyObject_CallMethod(threading, "Condition", NULL) : NULL;
        Py_XDECREF(threading);
        if (!condition)
            return NULL;
        if (!f->condition)
            f->condition = Py_NewRef(condition);
        Py_DECREF(condition);
    }
    if (future_ask_to_be_told(f) < 0)
        return NULL;
    return Py_NewRef(f->condition);
}

static PyObject *get_list(future_object *f, PyObject **list)
{
    future_track(f);
    if (future_ask_to_be_told(f) < 0 || future_make_list(list) < 0)
        return NULL;
    return Py_NewRef(*list);
}

static PyObject *get_waiters(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    return get_list(f, &f->waiters);
}

static PyObject *get_done_callbacks(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    return get_list(f, &f->callbacks);
}

static PyObject *get_state(PyObject *self, void *unused)
{
    future_object *f = (future_object *)self;
    enum future_state state = future_state_now(f);
    if (f->watch == WATCH_PENDING && future_is_done(state))
        state = FUTURE_RUNNING;
    return PyUnicode_InternFromString(STATE_NAMES[state]);
}

/* What a future has been given by others may refer to it. */
static PyObject *get_dict(PyObject *self, void *unused)
{
    future_track((future_object *)self);
    return PyObject_GenericGetDict(self, NULL);
}

static int set_dict(PyObject *self, PyObject *value, void *unused)
{
    future_track((future_object *)self);
    return PyObject_GenericSetDict(self, value, NULL);
}

static int refuse_change(const future_object *f)
{
    if (!f->pool)
        return 0;
    PyErr_SetString(PyExc_AttributeError, "the executor completes this future by itself");
    return -1;
}

static int set_state(PyObject *self, PyObject *value, void *unused)
{
    future_object *f = (future_object *)self;
    if (refuse_change(f) < 0)
        return -1;
    for (size_t i = 0; value && PyUnicode_Check(value) && i < STATE_COUNT; i++)
        if (PyUnicode_CompareWithASCIIString(value, STATE_NAMES[i]) == 0) {
            f->state = (uint8_t)i;
            return 0;
        }
    PyErr_Format(PyExc_ValueError, "not a state of a future: %R", value ? value : Py_None);
    return -1;
}

/* _result and _exception; 'offset' says which. */
static PyObject *get_outcome(PyObject *self, void *offset)
{
    future_object *f = (future_object *)self;
    if (f->task && ACHAR__TASK_FINISHED(achar__task_state_of(f->task))) {
        module_state *st = state_of_type(Py_TYPE(self));
        if (!st || future_settle(st, f) < 0)
            return NULL;
    }
    PyObject *value = *(PyObject **)((char *)self + (size_t)offset);
    return Py_NewRef(value ? value : Py_None);
}

static int set_outcome(PyObject *self, PyObject *value, void *offset)
{
    if (refuse_change((future_object *)self) < 0)
        return -1;
    PyObject **slot = (PyObject **)((char *)self + (size_t)offset);
    PyObject *old = *slot;
    *slot =
        value == Py_None && slot == &((future_object *)self)->exception ? NULL : Py_XNewRef(value);
    Py_XDECREF(old);
    return 0;
}

PyGetSetDef future_attributes[] = {
    {"__dict__", get_dict, set_dict, NULL},
    {"_condition", get_condition, NULL, NULL},
    {"_waiters", get_waiters, NULL, NULL},
    {"_done_callbacks", get_done_callbacks, NULL, NULL},
    {"_state", get_state, set_state, NULL},
    {"_result", get_outcome, set_outcome, NULL, (void *)offsetof(future_object, result)},
    {"_exception", get_outcome, set_outcome, NULL, (void *)offsetof(future_object, exception)},
    {NULL},
};
