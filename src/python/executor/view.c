/*
 * view.c - what a large buffer is in the process that received it.
 *
 * A View keeps the bytes where they are: it holds the task in the client, and a pin in a worker
 * (runtime/pool/pins.c). A writable one is a window into the region's mirror (runtime/shm/window.h). Where
 * there is no pin left, no mirror, or the same bytes are open already, it is a copy, which needs none of that.
 */
#include "python/executor/view.h"
#include "python/compat.h"

typedef struct view_object {
    PyObject_HEAD module_state *st; /* the type keeps it alive */
    PyObject *pool;                 /* in the client; else NULL */
    achar__task *task;              /* in the client; else NULL */
    const void *pinned;             /* the worker's; else NULL */
    PyObject *copy;                 /* bytes or bytearray that have the data; else NULL */
    achar__window window;
    char *data;
    size_t nbytes;
    int writable;
} view_object;

static int view_getbuffer(PyObject *self, Py_buffer *buffer, int flags)
{
    view_object *view = (view_object *)self;
    return PyBuffer_FillInfo(buffer, self, view->data, (Py_ssize_t)view->nbytes, !view->writable,
                             flags);
}

static void view_dealloc(PyObject *self)
{
    view_object *view = (view_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    achar__window_close(&view->window); /* before others can have the bytes */
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
    {Py_tp_doc, (void *)"Bytes in shared memory, for as long as someone looks at them."},
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

static int hold_in_client(view_object *view, const packed_place *place)
{
    if (view->writable) {
        if (!achar__task_open(place->task, view->data, view->nbytes, &view->window))
            return 0;
        view->data = (char *)view->window.data;
    }
    view->task = achar__task_retain(place->task);
    view->pool = Py_XNewRef(place->pool);
    return 1;
}

static int hold_in_worker(view_object *view, achar__worker *worker, const void *block)
{
    if (!achar__worker_pin(worker, block))
        return 0;
    if (view->writable) {
        if (!achar__worker_open(worker, view->data, view->nbytes, &view->window)) {
            achar__worker_unpin(worker, block);
            return 0;
        }
        view->data = (char *)view->window.data;
    }
    view->pinned = block;
    return 1;
}

static int hold_copy(view_object *view)
{
    Py_ssize_t nbytes = (Py_ssize_t)view->nbytes;
    view->copy = view->writable ? PyByteArray_FromStringAndSize(view->data, nbytes)
                                : PyBytes_FromStringAndSize(view->data, nbytes);
    if (!view->copy)
        return -1;
    view->data = view->writable ? PyByteArray_AS_STRING(view->copy) : PyBytes_AS_STRING(view->copy);
    return 0;
}

PyObject *view_new(module_state *st, const packed_place *place, const void *block, size_t offset,
                   size_t nbytes, int writable)
{
    PyTypeObject *type = (PyTypeObject *)st->View;
    view_object *view = (view_object *)type->tp_alloc(type, 0);
    if (!view)
        return NULL;
    view->st = st;
    view->data = (char *)block + offset;
    view->nbytes = nbytes;
    view->writable = writable;
    int held = place->task     ? hold_in_client(view, place)
               : place->worker ? hold_in_worker(view, place->worker, block)
                               : place->owner && (!writable || place->owner_is_private);
    if (held && place->owner)
        view->copy = Py_NewRef(place->owner);
    if (!held && hold_copy(view) < 0) {
        Py_DECREF(view);
        return NULL;
    }
    return (PyObject *)view;
}

int view_exec(PyObject *module, module_state *st)
{
    st->View = PyType_FromModuleAndSpec(module, &view_spec, NULL);
    return st->View ? PyModule_AddObjectRef(module, "View", st->View) : -1;
}
