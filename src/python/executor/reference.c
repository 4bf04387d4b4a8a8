/*
 * reference.c - what Executor.put() stores, and how it is read without a copy.
 *
 *    [u64 buffer_count][u64 pickle_nbytes] [u64 offset][u64 nbytes] × buffer_count  [pickle]  [buffers]
 *
 * The pickle is of protocol 5 with its buffers out of band; they stand behind it, aligned to 64 bytes.
 * Who reads it gets views of the shared memory: read-only, because all who read it see the same bytes.
 * A View keeps them there: it holds the task in the client, and a pin in a worker (runtime/pool/pins.c).
 * Where a worker has no pin left, it reads a copy.
 */
#include "python/executor/reference.h"
#include "python/compat.h"
#include "python/loader/loader.h"
#include "runtime/pool/worker.h"
#include <string.h>

enum { ALIGNMENT = 64, HEADER_NBYTES = 16, ENTRY_NBYTES = 16 };

/* ---- View ---- */

typedef struct view_object {
    PyObject_HEAD module_state *st; /* the type keeps it alive */
    PyObject *pool;                 /* in the client; else NULL */
    achar__task *task;              /* in the client; else NULL */
    const void *pinned;             /* the worker's; else NULL */
    PyObject *copy;                 /* bytes, where there was no pin */
    const char *data;
    size_t nbytes;
} view_object;

static int view_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
    view_object *view = (view_object *)self;
    return PyBuffer_FillInfo(buffer, self, (void *)view->data, (Py_ssize_t)view->nbytes, 1, flags);
}

static void view_dealloc(PyObject *self)
{
    view_object *view = (view_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (view->task)
        achar__task_release(view->task);
    Py_XDECREF(view->pool); /* after the task: this may end the pool, and the memory with it */
    if (view->pinned && view->st->worker)
        achar__worker_unpin(view->st->worker, view->pinned);
    Py_XDECREF(view->copy);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)"Bytes in shared memory, read-only, for as long as someone looks at them."},
    {Py_tp_dealloc, view_dealloc},
    {Py_bf_getbuffer, view_getbuffer},
    {0, NULL},
};

static PyType_Spec view_spec = {
    .name = "achar._achar.View",
    .basicsize = sizeof(view_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = view_slots,
};

static PyObject *view_new(module_state *st, PyObject *pool, achar__task *task, const void *bytes,
                          size_t offset, size_t nbytes)
{
    PyTypeObject *type = (PyTypeObject *)st->View;
    view_object *view = (view_object *)type->tp_alloc(type, 0);
    if (!view)
        return NULL;
    view->st = st;
    view->data = (const char *)bytes + offset;
    view->nbytes = nbytes;
    if (task) {
        view->task = achar__task_retain(task);
        view->pool = Py_XNewRef(pool);
    } else if (st->worker && achar__worker_pin(st->worker, bytes)) {
        view->pinned = bytes;
    } else {
        view->copy = PyBytes_FromStringAndSize(view->data, (Py_ssize_t)nbytes);
        if (!view->copy) {
            Py_DECREF(view);
            return NULL;
        }
        view->data = PyBytes_AS_STRING(view->copy);
    }
    return (PyObject *)view;
}

/* ---- reading ---- */

static uint64_t number_at(const void *bytes, size_t offset)
{
    uint64_t number;
    memcpy(&number, (const char *)bytes + offset, sizeof number);
    return number;
}

PyObject *reference_read(module_state *st, PyObject *pool, achar__task *task, const void *bytes,
                         size_t nbytes)
{
    uint64_t count = nbytes >= HEADER_NBYTES ? number_at(bytes, 0) : 0;
    uint64_t pickle_nbytes = nbytes >= HEADER_NBYTES ? number_at(bytes, 8) : 0;
    size_t pickle_at = HEADER_NBYTES + (size_t)count * ENTRY_NBYTES;
    PyObject *object = NULL;
    PyObject *views = PyList_New(0);
    for (size_t i = 0; views && i < count; i++) {
        size_t entry = HEADER_NBYTES + i * ENTRY_NBYTES;
        PyObject *view = view_new(st, pool, task, bytes, (size_t)number_at(bytes, entry),
                                  (size_t)number_at(bytes, entry + 8));
        if (!view || PyList_Append(views, view) < 0)
            Py_CLEAR(views);
        Py_XDECREF(view);
    }
    if (views) {
        const loader_options options = {.superset = 1, .buffers = views};
        object = loader_loads(st, (const char *)bytes + pickle_at, (size_t)pickle_nbytes, &options);
    }
    Py_XDECREF(views);
    return object;
}

/* ---- writing ---- */

static size_t aligned(size_t nbytes)
{
    return (nbytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* Fills in the block. The buffers' memory may change under us, but not go away: they are exported. */
static void fill(char *block, PyObject *pickle, const Py_buffer *buffers, size_t count)
{
    uint64_t header[2] = {count, (uint64_t)PyBytes_GET_SIZE(pickle)};
    size_t pickle_at = HEADER_NBYTES + count * ENTRY_NBYTES;
    size_t at = aligned(pickle_at + (size_t)PyBytes_GET_SIZE(pickle));
    memcpy(block, header, sizeof header);
    memcpy(block + pickle_at, PyBytes_AS_STRING(pickle), (size_t)PyBytes_GET_SIZE(pickle));
    for (size_t i = 0; i < count; i++) {
        uint64_t entry[2] = {at, (uint64_t)buffers[i].len};
        memcpy(block + HEADER_NBYTES + i * ENTRY_NBYTES, entry, sizeof entry);
        memcpy(block + at, buffers[i].buf, (size_t)buffers[i].len);
        at = aligned(at + (size_t)buffers[i].len);
    }
}

static achar__task *store(pool_object *p, PyObject *pickle, const Py_buffer *buffers, size_t count)
{
    achar__block block = {0};
    achar__task *task = NULL;
    size_t nbytes =
        aligned(HEADER_NBYTES + count * ENTRY_NBYTES + (size_t)PyBytes_GET_SIZE(pickle));
    for (size_t i = 0; i < count; i++)
        nbytes = aligned(nbytes + (size_t)buffers[i].len);
    int status;
    Py_BEGIN_ALLOW_THREADS status = achar__pool_block_reserve(p->pool, nbytes, &block);
    if (status == ACHAR_OK) {
        fill(block.data, pickle, buffers, count);
        status = achar__pool_put(p->pool, &block, nbytes, REFERENCE_KIND, &task);
        if (status != ACHAR_OK)
            achar__pool_block_free(p->pool, &block);
    }
    Py_END_ALLOW_THREADS if (status == ACHAR_OK) return task;
    if (status == ACHAR_E_CLOSED) {
        p->closed = 1;
        executor_refuse_if_closed(p);
    } else {
        wire_raise_status(status, "store an object of this size");
    }
    return NULL;
}

achar__task *reference_put(module_state *st, pool_object *p, PyObject *object)
{
    achar__task *task = NULL;
    PyObject *pickle = NULL, *append = NULL, *found = PyList_New(0);
    Py_buffer *buffers = NULL;
    Py_ssize_t count = 0, exported = 0;
    if (found)
        append = PyObject_GetAttrString(found, "append");
    if (!append)
        goto done;
    const saver_options options = {
        .protocol = -1, .superset = 1, .root_name = "obj", .buffer_callback = append};
    pickle = saver_dumps(st, object, &options);
    if (!pickle)
        goto done;
    count = PyList_GET_SIZE(found);
    buffers = PyMem_Calloc((size_t)count + 1, sizeof *buffers);
    if (!buffers) {
        PyErr_NoMemory();
        goto done;
    }
    for (; exported < count; exported++)
        if (PyObject_GetBuffer(PyList_GET_ITEM(found, exported), &buffers[exported],
                               PyBUF_ANY_CONTIGUOUS) < 0)
            goto done;
    task = store(p, pickle, buffers, (size_t)count);
done:
    while (exported > 0)
        PyBuffer_Release(&buffers[--exported]);
    PyMem_Free(buffers);
    Py_XDECREF(pickle);
    Py_XDECREF(append);
    Py_XDECREF(found);
    return task;
}

int reference_exec(PyObject *module, module_state *st)
{
    st->View = PyType_FromModuleAndSpec(module, &view_spec, NULL);
    return st->View ? PyModule_AddObjectRef(module, "View", st->View) : -1;
}
