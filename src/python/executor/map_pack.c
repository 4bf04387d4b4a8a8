/*
 * map_pack.c - the calls of a map become stretches.
 *
 * Small stretches first, so that workers begin while the rest is still being pickled. What cannot be
 * pickled stands between them as the exception of that call.
 */
#include "python/compat.h"
#include "python/executor/inputs.h"
#include "python/executor/leaf.h"
#include "python/executor/map_object.h"
#include "python/executor/room.h"
#include <string.h>

enum { STRETCH_COUNT_FIRST = 32, STRETCH_COUNT_MAX = 16384, STRETCH_NBYTES = 1 << 16 };

/* A stretch that is being put together. */
typedef struct packer {
    module_state *st;
    pool_object *p;
    achar__function *function;
    map_object *map;
    wire_sink ws;
    bool open; /* 'ws' is in use */
    size_t *ends;
    size_t count, count_max;
} packer;

int map_add_segment(map_object *map, achar__task *piece, PyObject *exception)
{
    if (map->segment_end == map->segment_capacity) {
        size_t capacity = map->segment_capacity ? map->segment_capacity * 2 : 8;
        segment *segments = PyMem_Realloc(map->segments, capacity * sizeof *segments);
        if (!segments) {
            PyErr_NoMemory();
            return -1;
        }
        map->segments = segments;
        map->segment_capacity = capacity;
    }
    map->segments[map->segment_end++] = (segment){.piece = piece, .exception = exception};
    return 0;
}

/* Submits what has been packed. */
static int flush(packer *k)
{
    if (!k->open || k->count == 0)
        return 0;
    achar__task *piece = NULL;
    if (wire_sink_finish(&k->ws) < 0)
        return -1;
    int status = achar__pool_submit_stretch(k->p->pool, k->function, &k->ws.block, k->ends,
                                            k->count, &k->map->numbers, &piece);
    if (status == ACHAR_E_CLOSED) {
        k->p->closed = 1;
        executor_refuse_if_closed(k->p);
        return -1;
    }
    if (status != ACHAR_OK) {
        wire_raise_status(status, "submit a task");
        return -1;
    }
    k->open = false;
    k->count = 0;
    if (k->count_max < STRETCH_COUNT_MAX)
        k->count_max *= 2;
    if (map_add_segment(k->map, piece, NULL) < 0) {
        achar__stretch_drop(piece, true);
        return -1;
    }
    return 0;
}

/* Appends the record of one call. -1 with an exception set: nothing was appended. */
static int pack(packer *k, PyObject *args)
{
    static const saver_options options = {.protocol = -1, .superset = 1, .root_name = "args"};
    saver_sink *sink = &k->ws.sink;
    char leaf[WIRE_LEAF_NBYTES_MAX];
    if (!k->open) {
        wire_sink_init(&k->ws, &k->p->memory);
        k->open = true;
    }
    size_t start = sink->used;
    uint64_t header = 0;
    if (PyTuple_GET_SIZE(args) == 1) {
        size_t nbytes = wire_leaf_write(PyTuple_GET_ITEM(args, 0), leaf);
        if (nbytes) {
            header = ACHAR__RECORD_HEADER(nbytes, WIRE_LEAF);
            if (wire_sink_append(&k->ws, &header, sizeof header) < 0 ||
                wire_sink_append(&k->ws, leaf, nbytes) < 0)
                goto fail;
            goto packed;
        }
    }
    if (wire_sink_append(&k->ws, &header, sizeof header) < 0)
        goto fail;
    task_inputs none;
    inputs_begin_without(&none, k->p);
    int dumped = saver_dump_into(k->st, args, &options, sink, NULL);
    inputs_end(&none);
    if (dumped < 0)
        goto fail;
    header = ACHAR__RECORD_HEADER(sink->used - start - sizeof header, WIRE_PICKLE);
    memcpy(sink->data + start, &header, sizeof header);
packed:
    k->ends[k->count++] = sink->used;
    return 0;
fail:
    sink->used = start;
    return -1;
}

PyObject *map_next_args(PyObject *iterators)
{
    Py_ssize_t count = PyTuple_GET_SIZE(iterators);
    PyObject *args = count ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; args && i < count; i++) {
        PyObject *item = PyIter_Next(PyTuple_GET_ITEM(iterators, i));
        if (!item)
            Py_CLEAR(args);
        else
            PyTuple_SET_ITEM(args, i, item);
    }
    return args;
}

/* Packs one call, and submits when enough are packed. 0, or -1 with an exception that ends the map. */
static int add_call(packer *k, PyObject *args)
{
    uint32_t seen = achar__pool_room(k->p->pool);
    while (pack(k, args) < 0) {
        room_lack lack = {k->ws.status, k->ws.needed_nbytes};
        k->ws.status = ACHAR_OK;
        if (lack.status != ACHAR_OK) {
            PyObject *error = compat_take_exception();
            if (flush(k) < 0) { /* those before it may make room when they have ended */
                Py_DECREF(error);
                return -1;
            }
            if (k->open) { /* nothing is in it */
                wire_sink_clear(&k->ws);
                k->open = false;
            }
            compat_restore_exception(error);
            int waited = room_wait(k->p, lack, seen);
            if (waited < 0)
                return -1;
            seen = achar__pool_room(k->p->pool);
            if (waited)
                continue;
        }
        if (!PyErr_ExceptionMatches(PyExc_Exception) || executor_refuse_if_closed(k->p) < 0)
            return -1;
        PyObject *exception = compat_take_exception();
        if (flush(k) < 0 || map_add_segment(k->map, NULL, exception) < 0) {
            Py_DECREF(exception);
            return -1;
        }
        k->map->numbers.calls++;
        return 0;
    }
    return k->count >= k->count_max || k->ws.sink.used >= STRETCH_NBYTES ? flush(k) : 0;
}

int map_submit_calls(module_state *st, map_object *map, PyObject *iterators,
                     achar__function *function, Py_ssize_t limit)
{
    packer k = {.st = st,
                .p = (pool_object *)map->pool,
                .function = function,
                .map = map,
                .count_max = STRETCH_COUNT_FIRST};
    int status = 0;
    size_t most = limit >= 0 && limit < STRETCH_COUNT_MAX ? (size_t)limit + 1 : STRETCH_COUNT_MAX;
    k.ends = PyMem_Malloc(most * sizeof *k.ends);
    if (!k.ends) {
        PyErr_NoMemory();
        return -1;
    }
    for (; limit != 0 && status == 0; limit -= limit > 0) {
        PyObject *args = map_next_args(iterators);
        if (args)
            status = add_call(&k, args);
        else
            status = PyErr_Occurred() ? -1 : 1;
        Py_XDECREF(args);
    }
    if (status >= 0 && flush(&k) < 0)
        status = -1;
    if (k.open)
        wire_sink_clear(&k.ws);
    PyMem_Free(k.ends);
    return status;
}
