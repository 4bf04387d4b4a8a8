/*
 * queue.c - achar.Queue: multiprocessing's JoinableQueue on the runtime's queue of messages, without
 * a thread that feeds it. An object is pickled by put(), in its caller, into the memory that
 * processes share, and read by get() where it stands.
 */
#include "python/sync/payload.h"
#include "python/sync/sync.h"

#include "runtime/sync/futex.h"

static achar_queue queue_of(PyObject *self)
{
    return (achar_queue){((sync_object *)self)->space, ((sync_object *)self)->cell};
}

static int queue_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {"maxsize", NULL};
    Py_ssize_t max_count = 0;
    achar_queue queue;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n:Queue", (char **)names, &max_count))
        return -1;
    sync_space *place = sync_place_for_init((sync_object *)self);
    if (!place)
        return -1;
    max_count = max_count < 0 || max_count > INT32_MAX ? 0 : max_count;
    int status = achar_queue_create(place->space, (uint32_t)max_count, &queue);
    if (status != ACHAR_OK) {
        sync_raise(status);
        return -1;
    }
    sync_adopt_new((sync_object *)self, place, queue.cell);
    return 0;
}

/* queue.Empty, queue.Full. */
static PyObject *raise_of_queue(const char *name)
{
    PyObject *module = PyImport_ImportModule("queue");
    PyObject *class = module ? PyObject_GetAttrString(module, name) : NULL;
    if (class)
        PyErr_SetNone(class);
    Py_XDECREF(class);
    Py_XDECREF(module);
    return NULL;
}

static int refuse_if_closed(PyObject *self)
{
    if (!((sync_object *)self)->closed)
        return 0;
    PyErr_Format(PyExc_ValueError, "Queue %R is closed", self);
    return -1;
}

/* block and timeout, either NULL, to a deadline of futex.h. */
static int deadline_of(PyObject *block, PyObject *timeout, int64_t *deadline_ns)
{
    int waits = block ? PyObject_IsTrue(block) : 1;
    *deadline_ns = 0;
    if (waits < 0)
        return -1;
    return waits ? sync_deadline_of(timeout, deadline_ns) : 0;
}

static PyObject *put(PyObject *self, PyObject *object, int64_t deadline_ns)
{
    sync_object *o = (sync_object *)self;
    module_state *st = state_of_type(Py_TYPE(self));
    sync_payload payload;
    sync_waiting waiting;
    int status;
    if (!st || refuse_if_closed(self) < 0)
        return NULL;
    do { /* a child that a signal handler forked puts a copy of its own */
        if (sync_payload_write(st, o->space, object, &payload) < 0)
            return NULL;
        status = achar__queue_put_until(queue_of(self), &payload.message, 0, NULL);
        if (status == ACHAR_E_TIMEOUT && deadline_ns != 0) {
            sync_wait_begin(&waiting);
            status = achar__queue_put_until(queue_of(self), &payload.message, deadline_ns,
                                            &waiting.host);
            sync_wait_end(&waiting);
        }
        sync_payload_clear(&payload); /* nothing, if it was put */
    } while (status == ACHAR__IS_CHILD);
    switch (achar__outcome_of(status)) {
    case ACHAR_OK:
        Py_RETURN_NONE;
    case ACHAR_E_TIMEOUT:
        return raise_of_queue("Full");
    case ACHAR_E_INTERRUPTED: /* the handler's exception is set */
        return NULL;
    default:
        return sync_raise(status);
    }
}

static PyObject *get(PyObject *self, int64_t deadline_ns)
{
    sync_object *o = (sync_object *)self;
    module_state *st = state_of_type(Py_TYPE(self));
    _Alignas(16) char buffer[ACHAR__MESSAGE_SHORT_NBYTES];
    achar_message message;
    sync_waiting waiting;
    if (!st || refuse_if_closed(self) < 0)
        return NULL;
    int status = achar__queue_get_until(queue_of(self), 0, NULL, buffer, &message);
    if (status == ACHAR_E_TIMEOUT && deadline_ns != 0) {
        sync_wait_begin(&waiting);
        status =
            achar__queue_get_until(queue_of(self), deadline_ns, &waiting.host, buffer, &message);
        sync_wait_end(&waiting);
    }
    switch (status) {
    case ACHAR_OK:
        return sync_payload_read(st, o->place, &message);
    case ACHAR_E_TIMEOUT:
        return raise_of_queue("Empty");
    case ACHAR_E_INTERRUPTED:
        return NULL;
    default:
        return sync_raise(status);
    }
}

PyDoc_STRVAR(
    put_doc,
    "put($self, /, obj, block=True, timeout=None)\n--\n\n"
    "Put an object at the end, waiting for room. It is pickled at once, as by achar.dumps:\n"
    "what cannot be pickled raises here, and later changes of it are not sent. Raises\n"
    "queue.Full when there was no room for 'timeout' seconds, or now without 'block'.");
static PyObject *queue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const names[] = {"obj", "block", "timeout", NULL};
    PyObject *values[3] = {NULL, NULL, NULL};
    int64_t deadline_ns;
    SYNC_CHECK(self);
    if (sync_arguments("put", names, args, nargs, kwnames, values) < 0 ||
        deadline_of(values[1], values[2], &deadline_ns) < 0)
        return NULL;
    if (!values[0]) {
        PyErr_SetString(PyExc_TypeError, "put() missing 1 required positional argument: 'obj'");
        return NULL;
    }
    return put(self, values[0], deadline_ns);
}

PyDoc_STRVAR(put_nowait_doc, "put_nowait($self, obj, /)\n--\n\nput(obj, block=False)");
static PyObject *queue_put_nowait(PyObject *self, PyObject *object)
{
    SYNC_CHECK(self);
    return put(self, object, 0);
}

PyDoc_STRVAR(
    get_doc,
    "get($self, /, block=True, timeout=None)\n--\n\n"
    "Take the first object out, waiting for one; those who wait are served in the order of\n"
    "arrival. Raises queue.Empty when there was none for 'timeout' seconds, or now without\n"
    "'block'. Large buffers in it, such as numpy's arrays, are views of shared memory, theirs\n"
    "alone.");
static PyObject *queue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    PyObject *values[2] = {NULL, NULL};
    int64_t deadline_ns;
    SYNC_CHECK(self);
    if (sync_two_arguments("get", "block", "timeout", args, nargs, kwnames, values) < 0 ||
        deadline_of(values[0], values[1], &deadline_ns) < 0)
        return NULL;
    return get(self, deadline_ns);
}

PyDoc_STRVAR(get_nowait_doc, "get_nowait($self, /)\n--\n\nget(block=False)");
static PyObject *queue_get_nowait(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return get(self, 0);
}

PyDoc_STRVAR(qsize_doc, "qsize($self, /)\n--\n\nHow many objects are there to get now.");
static PyObject *queue_qsize(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return PyLong_FromUnsignedLong(achar_queue_count(queue_of(self)));
}

PyDoc_STRVAR(empty_doc, "empty($self, /)\n--\n\nWhether there is none to get now.");
static PyObject *queue_empty(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return PyBool_FromLong(achar_queue_count(queue_of(self)) == 0);
}

PyDoc_STRVAR(full_doc, "full($self, /)\n--\n\nWhether put() would have to wait now.");
static PyObject *queue_full(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    return PyBool_FromLong(!achar__queue_has_room(queue_of(self)));
}

PyDoc_STRVAR(
    task_done_doc,
    "task_done($self, /)\n--\n\n"
    "Say that an object that was got has been dealt with. ValueError: more often than objects\n"
    "were put.");
static PyObject *queue_task_done(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    int status = achar_queue_task_done(queue_of(self));
    if (status == ACHAR_OK)
        Py_RETURN_NONE;
    if (status != ACHAR_E_NOT_HELD)
        return sync_raise(status);
    PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
    return NULL;
}

PyDoc_STRVAR(
    join_doc,
    "join($self, /)\n--\n\n"
    "Wait until task_done() was called as often as put(). Raises achar.OwnerDied if a process\n"
    "died with objects that it had got and not dealt with; recover() writes them off.");
static PyObject *queue_join(PyObject *self, PyObject *unused)
{
    sync_waiting waiting;
    SYNC_CHECK(self);
    sync_wait_begin(&waiting);
    int status = achar__queue_join_until(queue_of(self), ACHAR__NO_DEADLINE, &waiting.host);
    sync_wait_end(&waiting);
    if (status == ACHAR_OK)
        Py_RETURN_NONE;
    return status == ACHAR_E_INTERRUPTED ? NULL : sync_raise(status);
}

PyDoc_STRVAR(recover_doc,
             "recover($self, /)\n--\n\n"
             "After achar.OwnerDied: count as done what the dead had got; how many that were.");
static PyObject *queue_recover(PyObject *self, PyObject *unused)
{
    uint32_t count = 0;
    SYNC_CHECK(self);
    int status = achar_queue_recover(queue_of(self), &count);
    if (status != ACHAR_OK && status != ACHAR_E_NOT_HELD)
        return sync_raise(status);
    return PyLong_FromUnsignedLong(count);
}

PyDoc_STRVAR(close_doc, "close($self, /)\n--\n\n"
                        "This handle will not be used any more: put() and get() raise ValueError.\n"
                        "What was put stays for others.");
static PyObject *queue_close(PyObject *self, PyObject *unused)
{
    SYNC_CHECK(self);
    ((sync_object *)self)->closed = 1;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(join_thread_doc,
             "join_thread($self, /)\n--\n\n"
             "For multiprocessing's programs; there is no thread, what was put is in the queue.");
PyDoc_STRVAR(cancel_join_thread_doc, "cancel_join_thread($self, /)\n--\n\n"
                                     "For multiprocessing's programs; there is no thread.");
static PyObject *queue_nothing(PyObject *self, PyObject *unused)
{
    Py_RETURN_NONE;
}

static PyObject *get_maxsize(PyObject *self, void *unused)
{
    SYNC_CHECK(self);
    return PyLong_FromUnsignedLong(achar_queue_max_count(queue_of(self)));
}

static PyObject *get_unfinished(PyObject *self, void *unused)
{
    SYNC_CHECK(self);
    return PyLong_FromUnsignedLong(achar_queue_unfinished(queue_of(self)));
}

static PyObject *queue_repr(PyObject *self)
{
    SYNC_CHECK(self);
    return sync_repr(self, "%u objects", (unsigned)achar_queue_count(queue_of(self)));
}

static PyMethodDef queue_methods[] = {
    {"put", SYNC_FAST_KEYWORDS(queue_put), put_doc},
    {"put_nowait", queue_put_nowait, METH_O, put_nowait_doc},
    {"get", SYNC_FAST_KEYWORDS(queue_get), get_doc},
    {"get_nowait", queue_get_nowait, METH_NOARGS, get_nowait_doc},
    {"qsize", queue_qsize, METH_NOARGS, qsize_doc},
    {"empty", queue_empty, METH_NOARGS, empty_doc},
    {"full", queue_full, METH_NOARGS, full_doc},
    {"task_done", queue_task_done, METH_NOARGS, task_done_doc},
    {"join", queue_join, METH_NOARGS, join_doc},
    {"recover", queue_recover, METH_NOARGS, recover_doc},
    {"close", queue_close, METH_NOARGS, close_doc},
    {"join_thread", queue_nothing, METH_NOARGS, join_thread_doc},
    {"cancel_join_thread", queue_nothing, METH_NOARGS, cancel_join_thread_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    SYNC_REDUCE,
    {NULL},
};

static PyGetSetDef queue_getset[] = {
    SYNC_GET_AIO,
    {"maxsize", get_maxsize, NULL, "The number that it was made with; 0: no limit."},
    {"unfinished_tasks", get_unfinished, NULL, "put() less task_done()."},
    {NULL},
};

PyDoc_STRVAR(
    queue_doc,
    "Queue(maxsize=0)\n--\n\n"
    "multiprocessing.JoinableQueue, between threads and between processes, for any object that\n"
    "achar.dumps takes.");
static PyType_Slot queue_slots[] = {
    SYNC_SLOTS,
    {Py_tp_doc, (void *)queue_doc},
    {Py_tp_init, queue_init},
    {Py_tp_repr, queue_repr},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {0, NULL},
};
PyType_Spec sync_queue_spec = {"achar.Queue", sizeof(sync_object), 0, SYNC_FLAGS, queue_slots};
