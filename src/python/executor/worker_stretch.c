/*
 * worker_stretch.c - a worker does the calls of a stretch, and appends a record for the end of each.
 */
#include "python/compat.h"
#include "python/executor/leaf.h"
#include "python/executor/worker_loop.h"
#include "runtime/pool/wire.h"
#include <string.h>
#include <unistd.h>

/* A worker that cannot even tell that it has no memory exits with this (sysexits.h: EX_OSERR). */
#define EXIT_NO_MEMORY 71

static int grow_results(saver_sink *sink, size_t capacity_nbytes)
{
    worker_loop *loop = sink->context;
    achar__block block;
    if (capacity_nbytes < sink->capacity * 2)
        capacity_nbytes = sink->capacity * 2;
    int status = achar__worker_results(loop->worker, sink->used, capacity_nbytes, &block);
    if (status != ACHAR_OK) {
        wire_raise_status(status, "send an object of this size");
        return -1;
    }
    sink->data = block.data;
    sink->capacity = block.capacity;
    return 0;
}

/* A whole record, or nothing and -1 with an exception set. */
static int add_record(saver_sink *sink, unsigned kind, const char *bytes, size_t nbytes)
{
    uint64_t header = ACHAR__RECORD_HEADER(nbytes, kind);
    size_t needed = sizeof header + nbytes;
    if (needed > sink->capacity - sink->used && sink->grow(sink, sink->used + needed) < 0)
        return -1;
    memcpy(sink->data + sink->used, &header, sizeof header);
    memcpy(sink->data + sink->used + sizeof header, bytes, nbytes);
    sink->used += needed;
    return 0;
}

static int add_result(worker_loop *loop, saver_sink *sink, PyObject *result)
{
    static const saver_options options = {.protocol = -1, .superset = 1, .root_name = "result"};
    char leaf[WIRE_LEAF_NBYTES_MAX];
    size_t nbytes = wire_leaf_write(result, leaf);
    if (nbytes)
        return add_record(sink, WIRE_LEAF, leaf, nbytes);
    size_t start = sink->used;
    if (add_record(sink, WIRE_PICKLE, leaf, 0) < 0)
        return -1;
    if (saver_dump_into(loop->st, result, &options, sink, NULL) < 0) {
        sink->used = start;
        return -1;
    }
    uint64_t header = ACHAR__RECORD_HEADER(sink->used - start - sizeof header, WIRE_PICKLE);
    memcpy(sink->data + start, &header, sizeof header);
    return 0;
}

/* Takes over 'exception'. Room for a record without bytes is there. */
static void add_exception(worker_loop *loop, saver_sink *sink, PyObject *exception)
{
    wire_sink ws;
    wire_sink_init(&ws, &loop->memory);
    worker_look_at_limit(loop, exception);
    if (worker_write_exception(loop, exception, &ws) < 0 ||
        add_record(sink, WIRE_RAISED, ws.sink.data, ws.sink.used) < 0) {
        PyErr_Clear(); /* the client says that there was no room for the exception */
        (void)add_record(sink, WIRE_RAISED, NULL, 0);
    }
    wire_sink_clear(&ws);
    Py_DECREF(exception);
}

/* One call of the stretch, whose arguments are the record at 'args'. */
static PyObject *call_record(worker_loop *loop, const achar__assignment *a, const char *args,
                             uint64_t header)
{
    if (loop->failure) {
        compat_restore_exception(Py_NewRef(loop->failure));
        return NULL;
    }
    PyObject *result = NULL, *packed = NULL, *function = worker_function(loop, a);
    if (!function)
        return NULL;
    worker_begin_task(loop, function);
    if ((header & 3) == WIRE_LEAF) {
        packed = wire_leaf_read(args, (size_t)(header >> 2));
        if (packed)
            result = PyObject_CallOneArg(function, packed);
    } else {
        packed = worker_load(loop, "arguments", PACKED_NOT, args, (size_t)(header >> 2));
        if (packed && PyTuple_Check(packed))
            result = PyObject_Call(function, packed, NULL);
        else if (packed)
            PyErr_SetString(PyExc_SystemError, "a call's arguments are not a tuple");
    }
    Py_XDECREF(packed);
    worker_end_task(loop);
    Py_DECREF(function);
    return result;
}

int worker_run_stretch(worker_loop *loop, const achar__assignment *a)
{
    saver_sink sink = {.grow = grow_results, .context = loop};
    const char *args = a->args;
    for (size_t i = 0; i < a->call_count; i++) {
        /* So that the end of this call can be told, whatever it is. */
        enum { LEAST = sizeof(uint64_t) + WIRE_LEAF_NBYTES_MAX };
        int is_room =
            sink.capacity - sink.used >= LEAST || grow_results(&sink, sink.used + LEAST) == 0;
        if (!is_room && i > 0) {
            PyErr_Clear(); /* the rest may find room in another stretch */
            break;
        }
        if (achar__worker_begin_call(loop->worker) != ACHAR_OK)
            break;
        if (!is_room) {
            PyErr_WriteUnraisable(NULL);
            _exit(EXIT_NO_MEMORY); /* the call is lost, and its caller learns so */
        }
        uint64_t header;
        memcpy(&header, args, sizeof header);
        args += sizeof header;
        PyObject *result = call_record(loop, a, args, header);
        if (!result || add_result(loop, &sink, result) < 0)
            add_exception(loop, &sink, compat_take_exception());
        Py_XDECREF(result);
        args += header >> 2;
        achar__worker_end_call(loop->worker, sink.used);
    }
    worker_flush_output(loop);
    return achar__worker_finish_stretch(loop->worker) == ACHAR_OK ? 0 : -1;
}
