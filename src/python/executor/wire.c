/* wire.c - payloads on their way into shared memory; see wire.h. */
#include "python/executor/wire.h"

void wire_raise_status(int status, const char *doing)
{
    switch (status) {
    case ACHAR_E_NOMEM:
        PyErr_Format(PyExc_MemoryError, "cannot %s: no memory left, and none on disk", doing);
        return;
    case ACHAR_E_LIMIT:
        PyErr_Format(PyExc_MemoryError,
                     "cannot %s: it does not fit into this executor's memory_limit and spill_limit",
                     doing);
        return;
    case ACHAR_E_IO:
        PyErr_SetFromErrno(PyExc_OSError);
        return;
    default:
        PyErr_Format(PyExc_RuntimeError, "cannot %s: %s", doing, achar_status_message(status));
    }
}

/* From 'small' to a block, or from a block to a larger one. */
static int make_room(wire_sink *ws, size_t capacity_nbytes)
{
    const wire_memory *memory = ws->memory;
    if (ws->block.data)
        return memory->grow(memory->owner, &ws->block, ws->sink.used, capacity_nbytes);
    int status = memory->reserve(memory->owner, capacity_nbytes, &ws->block);
    if (status == ACHAR_OK)
        memcpy(ws->block.data, ws->small, ws->sink.used);
    else
        ws->block = (achar__block){0};
    return status;
}

/* At least doubles, where there is room for that. */
static int grow(saver_sink *sink, size_t capacity_nbytes)
{
    wire_sink *ws = sink->context;
    size_t doubled_nbytes =
        capacity_nbytes < sink->capacity * 2 ? sink->capacity * 2 : capacity_nbytes;
    int status = make_room(ws, doubled_nbytes);
    if (status != ACHAR_OK && doubled_nbytes > capacity_nbytes)
        status = make_room(ws, capacity_nbytes);
    if (status != ACHAR_OK) {
        ws->status = status;
        ws->needed_nbytes = capacity_nbytes;
        wire_raise_status(status, ws->doing);
        return -1;
    }
    sink->data = ws->block.data;
    sink->capacity = ws->block.capacity;
    return 0;
}

void wire_sink_init(wire_sink *ws, const wire_memory *memory)
{
    ws->sink =
        (saver_sink){.data = ws->small, .capacity = sizeof ws->small, .grow = grow, .context = ws};
    ws->memory = memory;
    ws->status = ACHAR_OK;
    ws->doing = "send an object of this size";
    ws->block = (achar__block){0};
}

int wire_sink_finish(wire_sink *ws)
{
    if (ws->block.data)
        return 0;
    int status = ws->memory->reserve(ws->memory->owner, ws->sink.used, &ws->block);
    if (status != ACHAR_OK) {
        ws->block = (achar__block){0};
        ws->status = status;
        ws->needed_nbytes = ws->sink.used;
        wire_raise_status(status, ws->doing);
        return -1;
    }
    memcpy(ws->block.data, ws->small, ws->sink.used);
    return 0;
}

void wire_sink_clear(wire_sink *ws)
{
    if (ws->block.data)
        ws->memory->free(ws->memory->owner, &ws->block);
    ws->block = (achar__block){0};
}

int wire_sink_append(wire_sink *ws, const void *bytes, size_t nbytes)
{
    saver_sink *sink = &ws->sink;
    if (nbytes > sink->capacity - sink->used && sink->grow(sink, sink->used + nbytes) < 0)
        return -1;
    memcpy(sink->data + sink->used, bytes, nbytes);
    sink->used += nbytes;
    return 0;
}

PyObject *wire_utf8(PyObject *text)
{
    return PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
}
