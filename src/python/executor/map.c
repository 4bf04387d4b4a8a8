/*
 * map.c - Executor.map: the calls as stretches, their results as an iterator.
 *
 * map_pack.c makes the stretches. The iterator reads one piece after the other and decodes a result when
 * it is asked for; it raises what the call raised, and ends there, as concurrent.futures does.
 *
 *    segments   [piece ──► piece ──► …][exception][piece ──► …]      in the order of the calls
 */
#include "python/executor/map_object.h"
#include "python/compat.h"
#include "python/executor/leaf.h"
#include <string.h>
#include <time.h>

/* ---- ending ---- */

static void end(map_object *map, bool cancel)
{
    while (map->segment_first < map->segment_end) {
        segment gone = map->segments[map->segment_first++];
        achar__stretch_drop(gone.piece, cancel);
        Py_XDECREF(gone.exception);
    }
    if (map->function) {
        achar__function_release(map->function);
        map->function = NULL;
    }
    map->reading = false;
    Py_CLEAR(map->iterators);
    Py_CLEAR(map->pool);
}

/* ---- reading ---- */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits for the first segment's piece. */
static int open_piece(module_state *st, map_object *map, achar__task *piece)
{
    int64_t timeout_ns = -1;
    if (map->deadline_ns >= 0) {
        timeout_ns = map->deadline_ns - now_ns();
        timeout_ns = timeout_ns < 0 ? 0 : timeout_ns;
    }
    if (future_wait(st, piece, map->pool, timeout_ns) < 0)
        return -1;
    achar__task_result_of(piece, &map->outcome);
    map->calls_left = achar__task_call_count(piece);
    map->cursor = map->outcome.bytes;
    map->end = map->cursor ? map->cursor + map->outcome.nbytes : NULL;
    map->reading = true;
    return 0;
}

static void leave_piece(map_object *map)
{
    segment *first = &map->segments[map->segment_first];
    achar__task *piece = first->piece;
    map->reading = false;
    if (!(first->piece = achar__task_next_piece(piece)))
        map->segment_first++;
    achar__task_release(piece);
}

/* The outcome of the next call in the piece. A new reference, or NULL with an exception set. */
static PyObject *read_call(module_state *st, map_object *map)
{
    achar__task_result r = map->outcome;
    PyObject *result = NULL, *exception = NULL;
    map->calls_left--;
    if (r.state == ACHAR__TASK_CANCELLED) {
        future_raise(st, "CancelledError", NULL);
        return NULL;
    }
    if (r.state == ACHAR__TASK_RETURNED) {
        uint64_t header = 0;
        size_t left = (size_t)(map->end - map->cursor);
        if (left >= sizeof header)
            memcpy(&header, map->cursor, sizeof header);
        if (left < sizeof header || header >> 2 > left - sizeof header)
            return wire_leaf_read("", 0); /* raises: damaged */
        r.bytes = map->cursor + sizeof header;
        r.nbytes = (size_t)(header >> 2);
        map->cursor = (const char *)r.bytes + r.nbytes;
        if ((header & 3) == WIRE_LEAF)
            return wire_leaf_read(r.bytes, r.nbytes);
        if ((header & 3) == WIRE_RAISED)
            r.state = ACHAR__TASK_RAISED;
    }
    if (future_read_outcome(st, map->name, map->pool, &r, &result, &exception) == 0 && exception)
        compat_restore_exception(exception);
    return result;
}

/* The next result; NULL without an exception: there is none. */
static PyObject *next_result(module_state *st, map_object *map)
{
    while (map->segment_first < map->segment_end) {
        segment *first = &map->segments[map->segment_first];
        if (!first->piece) {
            PyObject *exception = first->exception;
            map->segment_first++;
            compat_restore_exception(exception);
            return NULL;
        }
        if (!map->reading && open_piece(st, map, first->piece) < 0)
            return NULL;
        if (map->calls_left)
            return read_call(st, map);
        leave_piece(map);
    }
    return NULL;
}

/* With buffersize: one call more for the one that has just been read. */
static int refill(module_state *st, map_object *map)
{
    int status = map_submit_calls(st, map, map->iterators, map->function, 1);
    if (status == 1) {
        achar__function_release(map->function);
        map->function = NULL;
        Py_CLEAR(map->iterators);
    }
    return status < 0 ? -1 : 0;
}

static int enter(map_object *map)
{
    if (map->busy) {
        PyErr_SetString(PyExc_ValueError, "map() is being read already, by another thread or by "
                                          "what reading it runs");
        return -1;
    }
    map->busy = true;
    return 0;
}

static PyObject *map_next(PyObject *self)
{
    map_object *map = (map_object *)self;
    if (enter(map) < 0)
        return NULL;
    PyObject *result = NULL;
    map->started = true;
    module_state *st = map->st;
    if (map->pool) {
        result = next_result(st, map);
        if (result && map->iterators && refill(st, map) < 0)
            Py_CLEAR(result);
        if (!result) {
            PyObject *pending = PyErr_Occurred() ? compat_take_exception() : NULL;
            end(map, true);
            if (pending)
                compat_restore_exception(pending);
        }
    }
    map->busy = false;
    return result;
}

PyDoc_STRVAR(close_doc, "close()\n--\n\nRead no more; what has not been started is cancelled.");
static PyObject *map_close(PyObject *self, PyObject *unused)
{
    map_object *map = (map_object *)self;
    if (enter(map) < 0)
        return NULL;
    end(map, true);
    map->busy = false;
    Py_RETURN_NONE;
}

/* ---- the type ---- */

static int map_traverse(PyObject *self, visitproc visit, void *arg)
{
    map_object *map = (map_object *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(map->pool);
    Py_VISIT(map->iterators);
    for (size_t i = map->segment_first; i < map->segment_end; i++)
        Py_VISIT(map->segments[i].exception);
    return 0;
}

static int map_clear(PyObject *self)
{
    map_object *map = (map_object *)self;
    /* Whom nobody has begun to read was mapped for what the calls do. */
    end(map, map->started);
    return 0;
}

static void map_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    map_clear(self);
    PyMem_Free(((map_object *)self)->segments);
    Py_XDECREF(((map_object *)self)->name);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef map_methods[] = {
    {"close", map_close, METH_NOARGS, close_doc},
    {NULL},
};

static PyType_Slot map_slots[] = {
    {Py_tp_doc, (void *)"The results of Executor.map(), in order."},
    {Py_tp_traverse, map_traverse},
    {Py_tp_clear, map_clear},
    {Py_tp_dealloc, map_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, map_next},
    {Py_tp_methods, map_methods},
    {0, NULL},
};

static PyType_Spec map_spec = {
    .name = "achar.MapResults",
    .basicsize = sizeof(map_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = map_slots,
};

int executor_map_exec(PyObject *module, module_state *st)
{
    st->MapResults = PyType_FromModuleAndSpec(module, &map_spec, NULL);
    return st->MapResults ? 0 : -1;
}

/* ---- starting ---- */

static PyObject *iterators_of(PyObject *iterables)
{
    Py_ssize_t count = PyTuple_GET_SIZE(iterables);
    PyObject *iterators = PyTuple_New(count);
    for (Py_ssize_t i = 0; iterators && i < count; i++) {
        PyObject *iterator = PyObject_GetIter(PyTuple_GET_ITEM(iterables, i));
        if (!iterator)
            Py_CLEAR(iterators);
        else
            PyTuple_SET_ITEM(iterators, i, iterator);
    }
    return iterators;
}

PyObject *map_start(module_state *st, pool_object *p, PyObject *fn, PyObject *name,
                    PyObject *iterables, PyObject *timeout, PyObject *buffersize)
{
    Py_ssize_t limit = -1;
    int64_t timeout_ns;
    if (buffersize != Py_None && (limit = PyNumber_AsSsize_t(buffersize, PyExc_OverflowError)) < 0)
        return NULL;
    if (future_timeout(timeout, &timeout_ns) < 0)
        return NULL;
    PyTypeObject *type = (PyTypeObject *)st->MapResults;
    map_object *map = (map_object *)type->tp_alloc(type, 0);
    if (!map)
        return NULL;
    map->st = st;
    map->pool = Py_NewRef((PyObject *)p);
    map->name = Py_NewRef(name);
    map->deadline_ns = timeout_ns < 0 ? -1 : now_ns() + timeout_ns;
    map->busy = true;
    PyObject *iterators = iterators_of(iterables);
    if (!iterators)
        goto fail;
    achar__function *function = executor_snapshot(st, p, fn);
    if (function && p->journals)
        executor_name_function(function, name);
    if (!function) {
        /* The exception of the first call, if there is one; else nobody is to see it. */
        PyObject *exception =
            PyErr_ExceptionMatches(PyExc_Exception) && executor_refuse_if_closed(p) == 0
                ? compat_take_exception()
                : NULL;
        PyObject *args = exception ? map_next_args(iterators) : NULL;
        if (!exception || (!args && PyErr_Occurred()) ||
            (args && map_add_segment(map, NULL, exception) < 0)) {
            Py_XDECREF(exception);
            Py_XDECREF(args);
            goto fail;
        }
        if (!args)
            Py_DECREF(exception);
        Py_XDECREF(args);
    } else {
        int status = map_submit_calls(st, map, iterators, function, limit);
        if (status == 0) { /* there may be more, later */
            map->function = function;
            map->iterators = Py_NewRef(iterators);
        } else {
            achar__function_release(function);
        }
        if (status < 0) {
            PyObject *pending = compat_take_exception();
            end(map, true);
            compat_restore_exception(pending);
            goto fail;
        }
    }
    Py_DECREF(iterators);
    map->busy = false;
    return (PyObject *)map;
fail:
    Py_XDECREF(iterators);
    Py_DECREF(map);
    return NULL;
}
