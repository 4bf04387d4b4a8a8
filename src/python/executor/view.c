/*
 * view.c - what a large buffer is in the process that received it.
 *
 * A View keeps the bytes where they are: it holds the task in the client, and a pin in a worker
 * (runtime/pool/pins.c). A writable one is a window into the region's mirror (runtime/shm/window.h). Where
 * there is no pin left, no mirror, or the same bytes are open already, it is a copy, which needs none of that.
 *
 * A fork's child sees what a read-only View shows, where it stands. What a View held when a process was
 * forked that lives on outlives it, as a hold (runtime/shm/forked.h).
 */
#include "python/executor/view.h"
#include "python/compat.h"
#include "runtime/shm/forked.h"
#include <pthread.h>

/* What keeps bytes in shared memory as they are. */
typedef struct view_hold {
    PyObject *pool;                       /* in the client; else NULL */
    achar__task *task;                    /* in the client; else NULL */
    achar__worker *worker;                /* in a worker; else NULL */
    const void *pinned;                   /* the worker's; else NULL */
    uint64_t forked_before, forked_until; /* achar__forked_count() when it was made, and let go */
    struct view_hold *next;
} view_hold;

static pthread_mutex_t holds_lock = PTHREAD_MUTEX_INITIALIZER;
static view_hold *holds; /* whose View is gone, and a fork may look at the bytes */

typedef struct view_object {
    PyObject_HEAD module_state *st; /* the type keeps it alive */
    view_hold hold;
    PyObject *copy; /* bytes or bytearray that have the data; else NULL */
    achar__window window;
    char *data;
    size_t nbytes;
    int writable;
} view_object;

static void let_go(const module_state *st, view_hold *hold)
{
    if (hold->task)
        achar__task_release(hold->task);
    Py_XDECREF(hold->pool); /* after the task: this may end the pool, and the memory with it */
    if (hold->pinned && st->worker == hold->worker)
        achar__worker_unpin(hold->worker, hold->pinned);
}

void view_sweep(const module_state *st)
{
    view_hold *gone = NULL;
    pthread_mutex_lock(&holds_lock);
    for (view_hold **link = &holds; *link;) {
        view_hold *hold = *link;
        if (achar__forked_may_see(hold->forked_before, hold->forked_until)) {
            link = &hold->next;
            continue;
        }
        *link = hold->next;
        hold->next = gone;
        gone = hold;
    }
    pthread_mutex_unlock(&holds_lock);
    while (gone) {
        view_hold *next = gone->next;
        let_go(st, gone);
        PyMem_RawFree(gone);
        gone = next;
    }
}

/* The end of a read-only View. */
static void let_go_after_forks(const module_state *st, view_hold *hold)
{
    achar__forked_unwatch();
    hold->forked_until = achar__forked_count();
    if (hold->forked_until == hold->forked_before ||
        !achar__forked_may_see(hold->forked_before, hold->forked_until)) {
        let_go(st, hold);
        return;
    }
    view_hold *kept = PyMem_RawMalloc(sizeof *kept);
    if (!kept)
        return; /* it stays for as long as this process */
    pthread_mutex_lock(&holds_lock);
    *kept = *hold;
    kept->next = holds;
    holds = kept;
    pthread_mutex_unlock(&holds_lock);
}

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
    int is_shared = !view->writable && (view->hold.task || view->hold.pinned);
    (is_shared ? let_go_after_forks : let_go)(view->st, &view->hold);
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
    view->hold.task = achar__task_retain(place->task);
    view->hold.pool = Py_XNewRef(place->pool);
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
    view->hold.worker = worker;
    view->hold.pinned = block;
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
    if (view->hold.task || view->hold.pinned) {
        view_sweep(st);
        if (!writable) {
            achar__forked_watch();
            view->hold.forked_before = achar__forked_count();
        }
    }
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
