/* object.c - what all of achar's synchronisation objects have in common; see sync.h. */
#include "python/sync/sync.h"
#include "python/compat.h"
#include "python/sync/payload.h"

#include "runtime/sync/futex.h"

#include <stdarg.h>
#include <unistd.h>

/* ---- errors ---- */

static PyObject *raise_named(const char *module_name, const char *name, const char *message)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *class = module ? PyObject_GetAttrString(module, name) : NULL;
    if (class && message)
        PyErr_SetString(class, message);
    else if (class)
        PyErr_SetNone(class);
    Py_XDECREF(class);
    Py_XDECREF(module);
    return NULL;
}

PyObject *sync_raise(int status)
{
    switch (status) {
    case ACHAR_E_NOMEM:
        return PyErr_NoMemory();
    case ACHAR_E_LIMIT:
        PyErr_SetString(PyExc_RuntimeError,
                        "a limit of the shared memory was reached: 512 processes, 65,536 waiting "
                        "threads, 65,536 objects, or a count's largest value");
        return NULL;
    case ACHAR_E_IO:
        return PyErr_SetFromErrno(PyExc_OSError);
    case ACHAR_E_OWNER_DIED:
        return raise_named("achar.errors", "OwnerDied",
                           "a process died while it held this; recover() makes it usable again");
    case ACHAR_E_BROKEN:
        return raise_named("threading", "BrokenBarrierError", NULL);
    default:
        PyErr_Format(PyExc_RuntimeError, "%s", achar_status_message(status));
        return NULL;
    }
}

PyObject *sync_raise_uninitialised(PyObject *self)
{
    PyErr_Format(PyExc_RuntimeError, "%s.__init__() not called", Py_TYPE(self)->tp_name);
    return NULL;
}

/* ---- arguments ---- */

int sync_deadline_of(PyObject *timeout, int64_t *deadline_ns)
{
    *deadline_ns = ACHAR__NO_DEADLINE;
    if (!timeout || timeout == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (seconds != seconds) {
        PyErr_SetString(PyExc_ValueError, "Invalid value NaN (not a number)");
        return -1;
    }
    if (seconds > (double)(INT64_MAX / 1000000000)) {
        PyErr_SetString(PyExc_OverflowError, "timeout value is too large");
        return -1;
    }
    if (seconds <= 0) {
        *deadline_ns = 0;
        return 0;
    }
    /* Rounded up, as threading does: never too early. */
    double nanoseconds = seconds * 1e9;
    int64_t whole = nanoseconds < 9.2e18 ? (int64_t)nanoseconds : INT64_MAX;
    *deadline_ns =
        achar__deadline_in(whole < INT64_MAX ? whole + (nanoseconds > (double)whole) : whole);
    return 0;
}

int sync_arguments(const char *method, const char *const *names, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **values)
{
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0, most = 0;
    while (names[most])
        most++;
    if (nargs > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd argument%s (%zd given)", method, most,
                     most == 1 ? "" : "s", nargs + nkw);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        values[i] = args[i];
    for (Py_ssize_t k = 0; k < nkw; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t i = 0;
        while (i < most && PyUnicode_CompareWithASCIIString(name, names[i]) != 0)
            i++;
        if (i == most) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", method,
                         name);
            return -1;
        }
        if (values[i]) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", method,
                         name);
            return -1;
        }
        values[i] = args[nargs + k];
    }
    return 0;
}

int sync_two_arguments(const char *method, const char *first, const char *second,
                       PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                       PyObject *values[2])
{
    const char *const names[] = {first, second, NULL};
    values[0] = values[1] = NULL;
    return sync_arguments(method, names, args, nargs, kwnames, values);
}

/* What threading's locks take everywhere as 'blocking': True, False and small numbers. */
static bool is_plain_flag(PyObject *value)
{
    int overflow = 0;
    return PyBool_Check(value) ||
           (PyLong_CheckExact(value) && PyLong_AsLongAndOverflow(value, &overflow) <= INT32_MAX &&
            overflow == 0);
}

static int lock_deadline_of(PyObject *const values[2], int64_t *deadline_ns)
{
    int blocking = values[0] ? PyObject_IsTrue(values[0]) : 1;
    double seconds = values[1] ? PyFloat_AsDouble(values[1]) : -1;
    if (blocking < 0 || (seconds == -1.0 && PyErr_Occurred()))
        return -1;
    if (!blocking) {
        *deadline_ns = 0;
        if (seconds == -1)
            return 0;
        PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
        return -1;
    }
    if (seconds == -1)
        return 0;
    if (seconds < 0) {
        PyErr_SetString(PyExc_ValueError, COMPAT_NEGATIVE_TIMEOUT);
        return -1;
    }
    return sync_deadline_of(values[1], deadline_ns);
}

int sync_lock_arguments(const char *class_name, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames, int64_t *deadline_ns)
{
    PyObject *values[2];
    *deadline_ns = ACHAR__NO_DEADLINE;
    if (nargs == 0 && !kwnames)
        return 0;
    if (sync_two_arguments("acquire", "blocking", "timeout", args, nargs, kwnames, values) < 0)
        goto refused;
    if (values[0] && !is_plain_flag(values[0]) &&
        sync_ask_threading(class_name, "acquire", args, nargs, kwnames) < 0)
        return -1; /* some versions take anything that is true or false */
    if (lock_deadline_of(values, deadline_ns) == 0)
        return 0;
refused:
    sync_refuse(class_name, "acquire", args, nargs, kwnames);
    return -1;
}

/* ---- waiting ---- */

static void take_gil(void *context)
{
    sync_waiting *waiting = context;
    if (waiting->thread)
        PyEval_RestoreThread(waiting->thread);
    waiting->thread = NULL;
}

static void drop_gil(void *context)
{
    sync_waiting *waiting = context;
    if (!waiting->thread)
        waiting->thread = PyEval_SaveThread();
}

static int answer_signals(void *context)
{
    sync_waiting *waiting = context;
    bool had_gil = !waiting->thread;
    take_gil(waiting);
    int raised = PyErr_CheckSignals();
    if (!had_gil)
        drop_gil(waiting);
    return raised;
}

void sync_wait_begin(sync_waiting *waiting)
{
    waiting->host = (achar__host){answer_signals, take_gil, drop_gil, waiting};
    waiting->thread = PyEval_SaveThread();
}

void sync_wait_end(sync_waiting *waiting)
{
    take_gil(waiting);
}

/* ---- life ---- */

PyObject *sync_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return type->tp_alloc(type, 0);
}

sync_space *sync_place_for_init(sync_object *self)
{
    if (self->cell) {
        PyErr_Format(PyExc_RuntimeError, "%s.__init__() called twice", Py_TYPE(self)->tp_name);
        return NULL;
    }
    module_state *st = state_of_type(Py_TYPE(self));
    return st ? sync_space_default(st) : NULL;
}

void sync_adopt(sync_object *self, sync_space *place, achar_cell *cell)
{
    self->place = sync_space_hold(place);
    self->space = place->space;
    self->cell = cell;
    self->holder_pid = (int)getpid();
    self->holder_forks = sync_fork_count();
}

void sync_adopt_new(sync_object *self, sync_space *place, achar_cell *cell)
{
    achar__holder_begin(place->space, cell);
    sync_adopt(self, place, cell);
}

int sync_traverse(PyObject *self, visitproc visit, void *arg)
{
    sync_object *o = (sync_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(o->lock);
    Py_VISIT(o->action);
    Py_VISIT(o->timeout);
    return 0;
}

int sync_clear(PyObject *self)
{
    /* The lock stays: it is no part of a cycle by itself, and methods rely on it. */
    Py_CLEAR(((sync_object *)self)->action);
    return 0;
}

void sync_dealloc(PyObject *self)
{
    sync_object *o = (sync_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (o->weakrefs)
        PyObject_ClearWeakRefs(self);
    if (o->cell && o->holder_pid == (int)getpid())
        achar__holder_end(o->space, o->cell, o->holder_forks != sync_fork_count());
    Py_CLEAR(o->lock);
    Py_CLEAR(o->action);
    Py_CLEAR(o->timeout);
    sync_space_drop(o->place);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMemberDef sync_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(sync_object, weakrefs), READONLY, NULL},
    {NULL},
};

PyGetSetDef sync_getset[] = {SYNC_GET_AIO, {NULL}};

PyObject *sync_repr(PyObject *self, const char *format, ...)
{
    PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__module__");
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__qualname__");
    PyObject *what = NULL, *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    what = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (module && name && what)
        text = PyUnicode_FromFormat("<%S.%S at %p: %U>", module, name, self, what);
    Py_XDECREF(module);
    Py_XDECREF(name);
    Py_XDECREF(what);
    return text;
}

/* ---- pickling: a handle travels as the way to what it stands for ---- */

static int kind_of(module_state *st, PyObject *self)
{
    const struct {
        PyObject *type;
        int kind;
    } kinds[] = {
        {st->Lock, ACHAR_SYNC_LOCK},           {st->RLock, ACHAR_SYNC_RECURSIVE_LOCK},
        {st->Condition, ACHAR_SYNC_CONDITION}, {st->Event, ACHAR_SYNC_EVENT},
        {st->Semaphore, ACHAR_SYNC_SEMAPHORE}, {st->Barrier, ACHAR_SYNC_BARRIER},
        {st->Queue, ACHAR_SYNC_QUEUE},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (PyType_IsSubtype(Py_TYPE(self), (PyTypeObject *)kinds[i].type))
            return kinds[i].kind;
    }
    return 0;
}

PyObject *sync_reduce(PyObject *self, PyObject *unused)
{
    sync_object *o = (sync_object *)self;
    SYNC_CHECK(self);
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st)
        return NULL;
    bool forked = o->holder_pid != (int)getpid() || o->holder_forks != sync_fork_count();
    int status = achar__holder_send(o->space, o->cell, forked);
    if (status != ACHAR_OK)
        return sync_raise(status);
    PyObject *token = sync_space_token(o->place);
    PyObject *attributes = NULL;
    if (!token || compat_find_attr(self, st->byvalue_str___dict__, &attributes) < 0) {
        Py_XDECREF(token);
        return NULL;
    }
    if (!attributes)
        attributes = Py_NewRef(Py_None);
    return Py_BuildValue("O(ONKOOO)N", st->sync_restore, Py_TYPE(self), token,
                         (unsigned long long)achar_sync_id(o->space, o->cell),
                         o->lock ? o->lock : Py_None, o->action ? o->action : Py_None,
                         o->timeout ? o->timeout : Py_None, attributes);
}

PyDoc_STRVAR(restore_doc, "_sync_restore(cls, space, id, lock, action, timeout)\n--\n\n"
                          "What a pickled Lock, Condition, ... becomes where it is loaded.");
static PyObject *sync_restore(PyObject *module, PyObject *args)
{
    module_state *st = state_of_module(module);
    PyTypeObject *type;
    PyObject *token, *lock, *action, *timeout;
    unsigned long long id;
    achar_cell *cell = NULL;
    if (!PyArg_ParseTuple(args, "O!O!KOOO:_sync_restore", &PyType_Type, &type, &PyTuple_Type,
                          &token, &id, &lock, &action, &timeout))
        return NULL;
    sync_space *place = sync_space_from_token(st, token);
    if (!place)
        return NULL;
    PyObject *self = PyObject_CallMethod((PyObject *)type, "__new__", "O", type);
    sync_object *o = (sync_object *)self;
    int kind = self ? kind_of(st, self) : 0;
    if (!self)
        return NULL;
    if (kind == 0) {
        PyErr_Format(PyExc_TypeError, "%s is not one of achar's types", type->tp_name);
        goto fail;
    }
    int status = achar__holder_find(place->space, id, kind, &cell);
    if (status != ACHAR_OK) {
        if (status != ACHAR_E_INVALID)
            sync_raise(status);
        else
            PyErr_Format(PyExc_RuntimeError, "this %s does not exist any more", type->tp_name);
        goto fail;
    }
    sync_adopt(o, place, cell);
    if (kind == ACHAR_SYNC_CONDITION) {
        int lock_kind = kind_of(st, lock);
        if (lock_kind != ACHAR_SYNC_LOCK && lock_kind != ACHAR_SYNC_RECURSIVE_LOCK) {
            PyErr_SetString(PyExc_TypeError, "a Condition's lock is a Lock or an RLock");
            goto fail;
        }
        o->lock = Py_NewRef(lock);
    }
    if (action != Py_None)
        o->action = Py_NewRef(action);
    o->timeout = Py_NewRef(timeout);
    return self;
fail:
    Py_DECREF(self);
    return NULL;
}

static PyMethodDef restore_def = {"_sync_restore", sync_restore, METH_VARARGS, restore_doc};

int sync_exec(PyObject *module, module_state *st)
{
    struct {
        PyObject **slot;
        PyType_Spec *spec;
        PyObject **base;
    } types[] = {
        {&st->Lock, &sync_lock_spec, NULL},
        {&st->RLock, &sync_rlock_spec, NULL},
        {&st->Condition, &sync_condition_spec, NULL},
        {&st->Event, &sync_event_spec, NULL},
        {&st->Semaphore, &sync_semaphore_spec, NULL},
        {&st->BoundedSemaphore, &sync_bounded_semaphore_spec, &st->Semaphore},
        {&st->Barrier, &sync_barrier_spec, NULL},
        {&st->Queue, &sync_queue_spec, NULL},
    };
    if (sync_spaces_exec(st) < 0 || sync_aio_exec(module, st) < 0 ||
        state_add_function(module, module, &restore_def, "achar._achar") < 0 ||
        !(st->sync_restore = PyObject_GetAttrString(module, "_sync_restore")) ||
        !(st->sync_message = PyType_FromModuleAndSpec(module, &sync_message_spec, NULL)))
        return -1;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        PyObject *type =
            PyType_FromModuleAndSpec(module, types[i].spec, types[i].base ? *types[i].base : NULL);
        if (!type || PyModule_AddType(module, (PyTypeObject *)type) < 0) {
            Py_XDECREF(type);
            return -1;
        }
        *types[i].slot = type;
    }
    return 0;
}
