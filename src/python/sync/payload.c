/* payload.c - see payload.h. */
#include "python/sync/payload.h"

#include "python/executor/leaf.h"
#include "python/loader/loader.h"

#define OUT_OF_BAND_NBYTES 65536 /* smaller buffers stay in the pickle */
#define ALIGNMENT          64

enum { PAYLOAD_LEAF = 1, PAYLOAD_PICKLE };

typedef struct payload_header {
    uint32_t kind, buffer_count;
} payload_header;

/* ---- writing ---- */

static int raise_room(int status)
{
    if (status == ACHAR_E_LIMIT)
        PyErr_SetString(PyExc_MemoryError,
                        "cannot put an object of this size\n  why: the messages of a space share "
                        "64 GiB, less where files may not be as large (ulimit -f)");
    else
        sync_raise(status);
    return -1;
}

/* From 'small' to shared memory, or to more of it; at least doubles. */
static int grow(saver_sink *sink, size_t capacity_nbytes)
{
    sync_payload *payload = sink->context;
    achar_message larger;
    if (capacity_nbytes < sink->capacity * 2)
        capacity_nbytes = sink->capacity * 2;
    if (capacity_nbytes < ACHAR__UNIT_NBYTES)
        capacity_nbytes = ACHAR__UNIT_NBYTES;
    int status = achar__message_reserve(payload->message.space, capacity_nbytes, &larger);
    if (status != ACHAR_OK)
        return raise_room(status);
    memcpy(larger.data, sink->data, sink->used);
    sync_payload_clear(payload);
    payload->message = larger;
    sink->data = larger.data;
    sink->capacity = capacity_nbytes;
    return 0;
}

/* Called with each buffer: a false result leaves it out of the pickle, for us to copy. */
static PyObject *take_buffer(PyObject *buffers, PyObject *buffer)
{
    const Py_buffer *view = PyPickleBuffer_GetBuffer(buffer);
    if (!view)
        return NULL;
    if (view->len < OUT_OF_BAND_NBYTES || !PyBuffer_IsContiguous(view, 'A'))
        Py_RETURN_TRUE;
    if (PyList_Append(buffers, buffer) < 0)
        return NULL;
    Py_RETURN_FALSE;
}

static PyMethodDef take_buffer_def = {"take_buffer", take_buffer, METH_O, NULL};

/* Room for 'nbytes' from 'offset' on, which is not before the end. */
static int reserve(saver_sink *sink, size_t offset, size_t nbytes)
{
    if (offset + nbytes > sink->capacity && sink->grow(sink, offset + nbytes) < 0)
        return -1;
    memset(sink->data + sink->used, 0, offset - sink->used);
    sink->used = offset + nbytes;
    return 0;
}

/* Copies the buffers behind the pickle, and the table behind them. */
static int append_buffers(saver_sink *sink, PyObject *buffers)
{
    Py_ssize_t count = PyList_GET_SIZE(buffers);
    size_t table_nbytes = sizeof(uint64_t) * (size_t)(1 + 2 * count);
    size_t end = sink->used;
    uint64_t *table = PyMem_Malloc(table_nbytes);
    int status = -1;
    if (!table) {
        PyErr_NoMemory();
        return -1;
    }
    table[0] = sink->used - sizeof(payload_header);
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_buffer *view = PyPickleBuffer_GetBuffer(PyList_GET_ITEM(buffers, i));
        if (!view)
            goto done;
        table[1 + 2 * i] = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        table[2 + 2 * i] = (uint64_t)view->len;
        end = table[1 + 2 * i] + (size_t)view->len;
    }
    end = (end + sizeof *table - 1) / sizeof *table * sizeof *table;
    /* At once, so that nothing is copied twice. */
    if (end + table_nbytes > sink->capacity && sink->grow(sink, end + table_nbytes) < 0)
        goto done;
    for (Py_ssize_t i = 0; i < count; i++) {
        const Py_buffer *view = PyPickleBuffer_GetBuffer(PyList_GET_ITEM(buffers, i));
        if (!view || reserve(sink, table[1 + 2 * i], (size_t)view->len) < 0)
            goto done;
        memcpy(sink->data + table[1 + 2 * i], view->buf, (size_t)view->len);
    }
    if (reserve(sink, end, table_nbytes) < 0)
        goto done;
    memcpy(sink->data + end, table, table_nbytes);
    status = 0;
done:
    PyMem_Free(table);
    return status;
}

int sync_payload_write(module_state *st, achar_space *space, PyObject *object,
                       sync_payload *payload)
{
    payload_header header = {PAYLOAD_LEAF, 0};
    saver_sink *sink = &payload->sink;
    PyObject *buffers = NULL, *callback = NULL;
    int status = -1;
    payload->message = (achar_message){.space = space};
    *sink = (saver_sink){.data = payload->small,
                         .used = sizeof header,
                         .capacity = sizeof payload->small,
                         .grow = grow,
                         .context = payload};
    size_t leaf_nbytes = wire_leaf_write(object, payload->small + sizeof header);
    if (leaf_nbytes > 0) {
        sink->used += leaf_nbytes;
    } else {
        buffers = PyList_New(0);
        callback = buffers ? PyCFunction_New(&take_buffer_def, buffers) : NULL;
        const saver_options options = {.protocol = -1, .superset = 1, .buffer_callback = callback};
        header.kind = PAYLOAD_PICKLE;
        if (!callback || saver_dump_into(st, object, &options, sink, NULL) < 0)
            goto done;
        header.buffer_count = (uint32_t)PyList_GET_SIZE(buffers);
        if (header.buffer_count > 0 && append_buffers(sink, buffers) < 0)
            goto done;
    }
    memcpy(sink->data, &header, sizeof header);
    if (payload->message.extent == 0)
        payload->message.data = sink->data;
    payload->message.nbytes = sink->used;
    status = 0;
done:
    if (status < 0)
        sync_payload_clear(payload);
    Py_XDECREF(callback);
    Py_XDECREF(buffers);
    return status;
}

void sync_payload_clear(sync_payload *payload)
{
    if (payload->message.extent)
        achar_message_free(&payload->message);
}

/* ---- reading ---- */

/* Holds the memory of a message for those who look at its buffers. */
typedef struct message_object {
    PyObject_HEAD achar_message message;
    sync_space *place;
    unsigned forks;
} message_object;

static void message_dealloc(PyObject *self)
{
    message_object *m = (message_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    /* A child that was forked meanwhile may look at it, too: then it stays as long as this process. */
    if (m->forks == sync_fork_count())
        achar_message_free(&m->message);
    sync_space_drop(m->place);
    type->tp_free(self);
    Py_DECREF(type);
}

static int message_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    message_object *m = (message_object *)self;
    return PyBuffer_FillInfo(view, self, m->message.data, (Py_ssize_t)m->message.nbytes, 0, flags);
}

static PyType_Slot message_slots[] = {
    {Py_tp_dealloc, message_dealloc},
    {Py_bf_getbuffer, message_getbuffer},
    {0, NULL},
};
PyType_Spec sync_message_spec = {"achar._achar.QueueMemory", sizeof(message_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 message_slots};

/* Views of the buffers, as a tuple. */
static PyObject *views_of(PyObject *holder, const uint64_t *table, uint32_t count)
{
    PyObject *whole = PyMemoryView_FromObject(holder);
    PyObject *views = whole ? PyTuple_New(count) : NULL;
    for (uint32_t i = 0; views && i < count; i++) {
        PyObject *from = PyLong_FromUnsignedLongLong(table[1 + 2 * i]);
        PyObject *to = PyLong_FromUnsignedLongLong(table[1 + 2 * i] + table[2 + 2 * i]);
        PyObject *slice = from && to ? PySlice_New(from, to, NULL) : NULL;
        PyObject *view = slice ? PyObject_GetItem(whole, slice) : NULL;
        Py_XDECREF(from);
        Py_XDECREF(to);
        Py_XDECREF(slice);
        if (view)
            PyTuple_SET_ITEM(views, i, view);
        else
            Py_CLEAR(views);
    }
    Py_XDECREF(whole);
    return views;
}

static PyObject *read_with_buffers(module_state *st, sync_space *place, achar_message *message,
                                   uint32_t count)
{
    const char *data = message->data;
    const uint64_t *table =
        (const uint64_t *)(data + message->nbytes - sizeof *table * (1 + 2 * (size_t)count));
    PyTypeObject *type = (PyTypeObject *)st->sync_message;
    PyObject *views = NULL, *object = NULL;
    message_object *holder = (message_object *)type->tp_alloc(type, 0);
    if (!holder) {
        achar_message_free(message);
        return NULL;
    }
    holder->message = *message;
    holder->place = sync_space_hold(place);
    holder->forks = sync_fork_count();
    views = views_of((PyObject *)holder, table, count);
    if (views) {
        const loader_options options = {.superset = 1, .buffers = views};
        object = loader_loads(st, data + sizeof(payload_header), table[0], &options);
    }
    Py_XDECREF(views);
    Py_DECREF(holder);
    return object;
}

PyObject *sync_payload_read(module_state *st, sync_space *place, achar_message *message)
{
    static const loader_options options = {.superset = 1};
    const char *body = (const char *)message->data + sizeof(payload_header);
    size_t nbytes = message->nbytes - sizeof(payload_header);
    PyObject *object = NULL;
    payload_header header = {0, 0};
    if (message->nbytes >= sizeof header)
        memcpy(&header, message->data, sizeof header);
    switch (header.kind) {
    case PAYLOAD_LEAF:
        object = wire_leaf_read(body, nbytes);
        break;
    case PAYLOAD_PICKLE:
        if (header.buffer_count > 0)
            return read_with_buffers(st, place, message, header.buffer_count);
        object = loader_loads(st, body, nbytes, &options);
        break;
    default:
        PyErr_SetString(PyExc_ValueError, "this message of the queue holds no Python object");
        break;
    }
    if (message->extent)
        achar_message_free(message);
    return object;
}
