/*
 * aio.c - what achar.aio is made of: calls that may wait, as objects that an event loop's task runs
 * piece by piece. The waiting is the runtime's strand; this file knows the calls, and what is
 * to be done in Python when one has ended. Nothing here waits, or releases the GIL.
 */
#include "python/sync/payload.h"
#include "python/sync/sync.h"

#include "runtime/sync/barrier.h"
#include "runtime/sync/condition.h"
#include "runtime/sync/event.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/lock.h"
#include "runtime/sync/queue.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/strand.h"

#include <string.h>
#include <unistd.h>

enum call {
    CALL_ACQUIRE_LOCK,
    CALL_ACQUIRE_PERMIT,
    CALL_WAIT_NOTIFIED,
    CALL_WAIT_SET,
    CALL_WAIT_PARTIES,
    CALL_PUT,
    CALL_GET,
    CALL_JOIN
};

typedef struct strand_object {
    PyObject_HEAD PyObject *target; /* the Lock, Queue, ... */
    achar__strand *strand;
    enum call call;
    int pid; /* a fork's copy of it is of no use */
    int status;
    uint32_t index;        /* CALL_WAIT_PARTIES */
    sync_payload *payload; /* CALL_PUT, CALL_GET: its message, and 'small' for a short one */
} strand_object;

/* On the strand: no Python, no GIL matters. */
static int wait_in_call(void *argument)
{
    strand_object *self = argument;
    sync_object *o = (sync_object *)self->target;
    switch (self->call) {
    case CALL_ACQUIRE_LOCK:
        return achar__lock_acquire_until(sync_lock_of(self->target), ACHAR__NO_DEADLINE, NULL);
    case CALL_ACQUIRE_PERMIT:
        return achar__semaphore_acquire_until((achar_semaphore){o->space, o->cell},
                                              ACHAR__NO_DEADLINE, NULL);
    case CALL_WAIT_NOTIFIED:
        return achar__condition_wait_until((achar_condition){o->space, o->cell}, ACHAR__NO_DEADLINE,
                                           NULL);
    case CALL_WAIT_SET:
        return achar__event_wait_until((achar_event){o->space, o->cell}, ACHAR__NO_DEADLINE, NULL);
    case CALL_WAIT_PARTIES:
        return achar__barrier_wait_until((achar_barrier){o->space, o->cell}, ACHAR__NO_DEADLINE,
                                         o->action != NULL, NULL, &self->index);
    case CALL_PUT:
        return achar__queue_put_until((achar_queue){o->space, o->cell}, &self->payload->message,
                                      ACHAR__NO_DEADLINE, NULL);
    case CALL_GET:
        return achar__queue_get_until((achar_queue){o->space, o->cell}, ACHAR__NO_DEADLINE, NULL,
                                      self->payload->small, &self->payload->message);
    case CALL_JOIN:
        return achar__queue_join_until((achar_queue){o->space, o->cell}, ACHAR__NO_DEADLINE, NULL);
    }
    return ACHAR_E_INVALID;
}

/* What the call returns. NULL with an exception. */
static PyObject *result_of(strand_object *self)
{
    sync_object *o = (sync_object *)self->target;
    module_state *st = state_of_type(Py_TYPE(self->target));
    switch (self->call) {
    case CALL_GET:
        return st ? sync_payload_read(st, o->place, &self->payload->message) : NULL;
    case CALL_WAIT_PARTIES:
        if (sync_barrier_lead(self->target, self->index) < 0)
            return NULL;
        return PyLong_FromUnsignedLong(self->index);
    case CALL_PUT:
    case CALL_JOIN:
        Py_RETURN_NONE;
    default:
        Py_RETURN_TRUE;
    }
}

PyDoc_STRVAR(run_doc,
             "run($self, cancel, /)\n--\n\n"
             "Go on. None: it waits. (result, True): it has ended; (None, False): cancelled.");
static PyObject *strand_run(PyObject *object, PyObject *cancel)
{
    strand_object *self = (strand_object *)object;
    int cancels = PyObject_IsTrue(cancel);
    if (cancels < 0)
        return NULL;
    if (!self->strand || self->pid != (int)getpid()) {
        PyErr_SetString(PyExc_RuntimeError, "this call has ended, or is another process's");
        return NULL;
    }
    if (!achar__strand_run(self->strand, cancels, &self->status))
        Py_RETURN_NONE;
    achar__strand_free(self->strand);
    self->strand = NULL;
    if (self->status == ACHAR_E_INTERRUPTED)
        return Py_BuildValue("(OO)", Py_None, Py_False);
    if (self->status != ACHAR_OK) {
        if (self->status != ACHAR_E_NOT_HELD)
            return sync_raise(self->status);
        PyErr_SetString(PyExc_RuntimeError, "cannot wait on un-acquired lock");
        return NULL;
    }
    PyObject *result = result_of(self);
    return result ? Py_BuildValue("(NO)", result, Py_True) : NULL;
}

/* ---- eventfds that are told ---- */

#define ATTACHMENT "achar.aio_attachment"

typedef struct attachment {
    sync_space *place;
    int fd;
    int pid;
} attachment;

static void detach(PyObject *capsule)
{
    attachment *it = PyCapsule_GetPointer(capsule, ATTACHMENT);
    if (it->pid == (int)getpid())
        achar__waker_remove(it->place->space, it->fd);
    sync_space_drop(it->place);
    PyMem_Free(it);
}

PyDoc_STRVAR(attach_doc, "attach($self, fd, /)\n--\n\n"
                         "Has the eventfd told when strands of its space are rung, as long as the "
                         "result lives.");
static PyObject *strand_attach(PyObject *object, PyObject *fd)
{
    sync_space *place = ((sync_object *)((strand_object *)object)->target)->place;
    long number = PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    attachment *it = PyMem_Calloc(1, sizeof *it);
    if (!it)
        return PyErr_NoMemory();
    int status = achar__waker_add(place->space, (int)number);
    if (status != ACHAR_OK) {
        PyMem_Free(it);
        return sync_raise(status);
    }
    *it = (attachment){sync_space_hold(place), (int)number, (int)getpid()};
    PyObject *capsule = PyCapsule_New(it, ATTACHMENT, detach);
    if (!capsule) {
        achar__waker_remove(place->space, it->fd);
        sync_space_drop(it->place);
        PyMem_Free(it);
    }
    return capsule;
}

static PyObject *strand_number(PyObject *object, void *unused)
{
    const achar__strand *strand = ((strand_object *)object)->strand;
    return PyLong_FromUnsignedLong(strand ? achar__strand_number(strand) : ACHAR__RUNG_NONE);
}

static PyObject *strand_space(PyObject *object, void *unused)
{
    return PyLong_FromVoidPtr(((sync_object *)((strand_object *)object)->target)->place);
}

static int strand_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((strand_object *)object)->target);
    return 0;
}

static void strand_dealloc(PyObject *object)
{
    strand_object *self = (strand_object *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    achar__strand_free(self->strand);
    if (self->payload)
        sync_payload_clear(self->payload);
    PyMem_Free(self->payload);
    Py_CLEAR(self->target);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef strand_methods[] = {
    {"run", strand_run, METH_O, run_doc},
    {"attach", strand_attach, METH_O, attach_doc},
    {NULL},
};
static PyGetSetDef strand_getset[] = {
    {"space", strand_space, NULL, "A number for its space, in this process."},
    {"number", strand_number, NULL, "That of its waiter, while it sleeps."},
    {NULL},
};
static PyType_Slot strand_slots[] = {
    {Py_tp_dealloc, strand_dealloc},
    {Py_tp_traverse, strand_traverse},
    {Py_tp_methods, strand_methods},
    {Py_tp_getset, strand_getset},
    {0, NULL},
};
static PyType_Spec sync_strand_spec = {
    "achar._achar.Strand", sizeof(strand_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, strand_slots};

/* The call that 'name' is of an object like 'target'. -1 with an exception. */
static int call_of(module_state *st, PyObject *target, const char *name)
{
    const struct {
        PyObject *type;
        const char *name;
        enum call call;
    } calls[] = {
        {st->Lock, "acquire", CALL_ACQUIRE_LOCK},
        {st->RLock, "acquire", CALL_ACQUIRE_LOCK},
        {st->Condition, "acquire", CALL_ACQUIRE_LOCK},
        {st->Condition, "wait", CALL_WAIT_NOTIFIED},
        {st->Event, "wait", CALL_WAIT_SET},
        {st->Semaphore, "acquire", CALL_ACQUIRE_PERMIT},
        {st->Barrier, "wait", CALL_WAIT_PARTIES},
        {st->Queue, "put", CALL_PUT},
        {st->Queue, "get", CALL_GET},
        {st->Queue, "join", CALL_JOIN},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (PyObject_TypeCheck(target, (PyTypeObject *)calls[i].type) &&
            strcmp(name, calls[i].name) == 0)
            return (int)calls[i].call;
    }
    PyErr_Format(PyExc_TypeError, "%s has no %s() to await", Py_TYPE(target)->tp_name, name);
    return -1;
}

PyDoc_STRVAR(start_doc, "aio_start(target, name, number, obj=None)\n--\n\n"
                        "A Strand that will call target.name(), or name(obj), as 'number'.");
static PyObject *aio_start(PyObject *module, PyObject *args)
{
    module_state *st = state_of_module(module);
    PyObject *target, *object = Py_None;
    const char *name;
    unsigned number;
    if (!PyArg_ParseTuple(args, "OsI|O:aio_start", &target, &name, &number, &object))
        return NULL;
    int call = call_of(st, target, name);
    if (call < 0)
        return NULL;
    SYNC_CHECK(target);
    PyTypeObject *type = (PyTypeObject *)st->sync_strand;
    strand_object *self = (strand_object *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->target = Py_NewRef(target);
    self->call = (enum call)call;
    self->pid = (int)getpid();
    if (call == CALL_PUT || call == CALL_GET) {
        if (!(self->payload = PyMem_Calloc(1, sizeof *self->payload)))
            goto no_memory;
        if (call == CALL_PUT &&
            sync_payload_write(st, ((sync_object *)target)->space, object, self->payload) < 0)
            goto fail;
    }
    if ((self->strand = achar__strand_create(wait_in_call, self, number)))
        return (PyObject *)self;
no_memory:
    PyErr_NoMemory();
fail:
    Py_DECREF(self);
    return NULL;
}

PyDoc_STRVAR(number_doc, "aio_number()\n--\n\nA number for a task that takes recursive locks.");
static PyObject *aio_number(PyObject *module, PyObject *unused)
{
    return PyLong_FromUnsignedLong(achar__lock_new_thread_number());
}

PyDoc_STRVAR(act_as_doc, "aio_act_as(number)\n--\n\n"
                         "Recursive locks are that number's from now on; the number before.");
static PyObject *aio_act_as(PyObject *module, PyObject *number)
{
    unsigned long value = PyLong_AsUnsignedLong(number);
    if (value == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    return PyLong_FromUnsignedLong(achar__lock_act_as((uint32_t)value));
}

PyDoc_STRVAR(rung_doc,
             "aio_rung(attachment, waiting)\n--\n\n"
             "Of a dict by number of sleeping Strands of a space, the values of those that "
             "were rung.");
static PyObject *aio_rung(PyObject *module, PyObject *args)
{
    PyObject *capsule, *waiting, *number = NULL, *rung = NULL;
    if (!PyArg_ParseTuple(args, "OO!:aio_rung", &capsule, &PyDict_Type, &waiting))
        return NULL;
    const attachment *it = PyCapsule_GetPointer(capsule, ATTACHMENT);
    if (!it || !(rung = PyList_New(0)))
        return NULL;
    achar_space *space = it->place->space;
    for (uint32_t i = 0; (i = achar__rung_next(space, i)) != ACHAR__RUNG_NONE; i++) {
        if (!(number = PyLong_FromUnsignedLong(i)))
            goto fail;
        PyObject *value = PyDict_GetItemWithError(waiting, number); /* else another loop's */
        if ((!value && PyErr_Occurred()) || (value && PyList_Append(rung, value) < 0))
            goto fail;
        if (value)
            achar__rung_clear(space, i);
        Py_CLEAR(number);
    }
    return rung;
fail:
    Py_XDECREF(number);
    Py_DECREF(rung);
    return NULL;
}

static PyMethodDef aio_defs[] = {
    {"aio_rung", aio_rung, METH_VARARGS, rung_doc},
    {"aio_start", aio_start, METH_VARARGS, start_doc},
    {"aio_number", aio_number, METH_NOARGS, number_doc},
    {"aio_act_as", aio_act_as, METH_O, act_as_doc},
};

int sync_aio_exec(PyObject *module, module_state *st)
{
    for (size_t i = 0; i < sizeof aio_defs / sizeof *aio_defs; i++) {
        if (state_add_function(module, module, &aio_defs[i], "achar._achar") < 0)
            return -1;
    }
    st->sync_strand = PyType_FromModuleAndSpec(module, &sync_strand_spec, NULL);
    return st->sync_strand ? 0 : -1;
}

/* obj.aio: what achar.aio makes of it. */
PyObject *sync_get_aio(PyObject *self, void *unused)
{
    PyObject *module = PyImport_ImportModule("achar.aio");
    PyObject *view = module ? PyObject_CallMethod(module, "view", "O", self) : NULL;
    Py_XDECREF(module);
    return view;
}
