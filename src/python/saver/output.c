/*
 * output.c - growth, frames and flushing; the picture stands in output.h.
 *
 * Own memory starts in the struct (small pickles), then is a bytes object that is resized to fit at
 * the end, so that nothing is copied for the result.
 */
#include "python/saver/output.h"

#include "codec/opcodes.h"

enum { FRAME_MIN_NBYTES = 4 };

static size_t used_nbytes(const saver_output *out)
{
    return (size_t)(out->cursor - out->data);
}

/* After anything that moves the data or opens or closes a frame. */
static void set_soft_end(saver_output *out)
{
    char *end = out->hard_end - SAVER_ROOM_NBYTES;
    if (out->hard_end - out->data < SAVER_ROOM_NBYTES)
        end = out->data;
    if (out->frame_start >= 0) {
        Py_ssize_t full = out->frame_start + SAVER_FRAME_HEADER_NBYTES + SAVER_FRAME_TARGET_NBYTES;
        if (full < end - out->data)
            end = out->data + full;
    }
    out->soft_end = end;
}

static void set_memory(saver_output *out, char *data, size_t used, size_t capacity)
{
    out->data = data;
    out->cursor = data + used;
    out->hard_end = data + capacity;
    set_soft_end(out);
}

void saver_output_init(saver_output *out, saver_sink *sink, PyObject *write)
{
    out->frame_start = -1;
    out->framing = 0;
    out->bytes = NULL;
    out->sink = sink;
    out->write = write;
    out->flushed_nbytes = 0;
    if (sink)
        set_memory(out, sink->data + sink->used, 0, sink->capacity - sink->used);
    else
        set_memory(out, out->inline_data, 0, sizeof(out->inline_data));
}

void saver_output_clear(saver_output *out)
{
    Py_CLEAR(out->bytes);
    out->data = out->cursor = out->hard_end = out->soft_end = NULL;
}

int saver_output_grow(saver_output *out, size_t nbytes)
{
    size_t used = used_nbytes(out);
    size_t capacity = (size_t)(out->hard_end - out->data);
    if (nbytes > (size_t)PY_SSIZE_T_MAX / 4 - used) {
        PyErr_NoMemory();
        return -1;
    }
    /* Double; but what one large payload needs is allocated to fit, with room for what follows. */
    size_t needed = used + nbytes;
    size_t doubled = SIZE_OR_TINY(capacity * 2, 0);
    capacity = needed > doubled ? needed + 2 * SAVER_ROOM_NBYTES : doubled;
    if (out->sink) {
        saver_sink *sink = out->sink;
        size_t start = sink->used;
        sink->used = start + used; /* what grow() has to keep */
        int status = sink->grow(sink, start + capacity);
        sink->used = start;
        if (status < 0)
            return -1;
        set_memory(out, sink->data + sink->used, used, sink->capacity - sink->used);
        return 0;
    }
    if (out->bytes) {
        /* A failed resize has freed the object. */
        if (_PyBytes_Resize(&out->bytes, (Py_ssize_t)capacity) < 0) {
            out->bytes = NULL;
            set_memory(out, out->inline_data, 0, sizeof(out->inline_data));
            out->frame_start = -1;
            return -1;
        }
    } else {
        out->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)capacity);
        if (!out->bytes)
            return -1;
        memcpy(PyBytes_AS_STRING(out->bytes), out->data, used);
    }
    set_memory(out, PyBytes_AS_STRING(out->bytes), used, capacity);
    return 0;
}

int saver_output_write(saver_output *out, const void *data, size_t nbytes)
{
    if (saver_output_reserve(out, nbytes) < 0)
        return -1;
    memcpy(out->cursor, data, nbytes);
    out->cursor += nbytes;
    return 0;
}

void saver_output_leave_frame(saver_output *out)
{
    if (out->frame_start < 0)
        return;
    char *header = out->data + out->frame_start;
    char *payload = header + SAVER_FRAME_HEADER_NBYTES;
    size_t nbytes = (size_t)(out->cursor - payload);
    if (nbytes >= FRAME_MIN_NBYTES) {
        uint64_t size = nbytes;
        header[0] = (char)OP_FRAME;
        for (int i = 0; i < 8; i++)
            header[1 + i] = (char)(size >> (8 * i));
    } else {
        memmove(header, payload, nbytes);
        out->cursor = header + nbytes;
    }
    out->frame_start = -1;
    set_soft_end(out);
}

int saver_output_enter_frame(saver_output *out)
{
    if (!out->framing)
        return 0;
    if (saver_output_reserve(out, SAVER_FRAME_HEADER_NBYTES) < 0)
        return -1;
    out->frame_start = (Py_ssize_t)used_nbytes(out);
    out->cursor += SAVER_FRAME_HEADER_NBYTES;
    set_soft_end(out);
    return 0;
}

int saver_output_start_framing(saver_output *out)
{
    out->framing = 1;
    return saver_output_enter_frame(out);
}

int saver_output_flush(saver_output *out)
{
    PyObject *written = NULL, *chunk = saver_output_take_bytes(out);
    if (!chunk)
        return -1;
    set_memory(out, out->inline_data, 0, sizeof(out->inline_data));
    out->flushed_nbytes += (size_t)PyBytes_GET_SIZE(chunk);
    written = PyObject_CallOneArg(out->write, chunk);
    Py_DECREF(chunk);
    if (!written)
        return -1;
    Py_DECREF(written);
    return 0;
}

int saver_output_boundary(saver_output *out)
{
    if (out->frame_start >= 0 &&
        (Py_ssize_t)used_nbytes(out) - out->frame_start - SAVER_FRAME_HEADER_NBYTES >=
            SAVER_FRAME_TARGET_NBYTES) {
        saver_output_leave_frame(out);
        if (out->write && saver_output_flush(out) < 0)
            return -1;
        if (saver_output_enter_frame(out) < 0)
            return -1;
    }
    return saver_output_reserve(out, SAVER_ROOM_NBYTES + 1);
}

void saver_output_finish(saver_output *out)
{
    saver_output_leave_frame(out);
}

PyObject *saver_output_take_bytes(saver_output *out)
{
    Py_ssize_t nbytes = (Py_ssize_t)used_nbytes(out);
    if (!out->bytes)
        return PyBytes_FromStringAndSize(out->data, nbytes);
    PyObject *bytes = out->bytes;
    out->bytes = NULL;
    set_memory(out, out->inline_data, 0, sizeof(out->inline_data));
    (void)_PyBytes_Resize(&bytes, nbytes); /* on failure NULL, with MemoryError set */
    return bytes;
}
