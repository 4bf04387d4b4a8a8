/*
 * input.c - the slow side of reading: when the current chunk ends.
 *
 * Memory is one chunk; running out of it is the end. A file gives its next chunk by the protocol of
 * the interpreter's own unpickler, so that the file's position after a load is the same:
 *
 *  - exactly what is needed is asked of read() and readline(), never more, unless
 *  - the file has peek(): then chunks are peeked at, and once done with, what was used of them is
 *    read and dropped.
 *
 * Unlike the interpreter's, bytes left in a chunk when an argument runs over its end are kept (it
 * drops them, so that load() and loads() see different pickles), and a length in the stream is
 * never believed beyond LOADER_CHUNK_NBYTES before the bytes have arrived.
 *
 * Frames, where the interpreter enforces them: a frame is in one chunk as a whole, and in.end stops
 * at its end, so that the loop comes here for whatever would cross it, at no cost to the fast path.
 */
#include "python/loader/core.h"

static size_t left(const loader_input *in)
{
    return (size_t)(in->end - in->next);
}

void loader_input_memory(loader_input *in, const void *data, size_t nbytes)
{
    in->start = in->next = nbytes == 0 ? (const uint8_t *)"" : data; /* NULL is no place */
    in->end = in->chunk_end = in->peeked = in->start + nbytes;
    in->start_offset = 0;
    in->in_frame = false;
    in->view.obj = NULL;
    in->scratch = NULL;
    in->scratch_capacity = 0;
    in->read = in->readinto = in->readline = in->peek = NULL;
}

int loader_input_file(loader_input *in, PyObject *file)
{
    static const char *const names[] = {"peek", "readinto", "read", "readline"};
    PyObject **methods[] = {&in->peek, &in->readinto, &in->read, &in->readline};
    loader_input_memory(in, NULL, 0);
    for (int i = 0; i < 4; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        int found = name ? compat_find_attr(file, name, methods[i]) : -1;
        Py_XDECREF(name);
        if (found < 0)
            goto fail;
    }
    if (!in->read || !in->readline) {
        PyErr_SetString(PyExc_TypeError, "file must have 'read' and 'readline' attributes");
        goto fail;
    }
    return 0;
fail:
    loader_input_clear(in);
    return -1;
}

void loader_input_clear(loader_input *in)
{
    if (!in->view.obj && !in->scratch && !in->peek && !in->readinto && !in->read && !in->readline)
        return; /* it is memory that somebody else holds */
    Py_CLEAR(in->read);
    Py_CLEAR(in->readinto);
    Py_CLEAR(in->readline);
    Py_CLEAR(in->peek);
    if (in->view.obj)
        PyBuffer_Release(&in->view);
    PyMem_Free(in->scratch);
    loader_input_memory(in, NULL, 0);
}

/* ---- chunks ---- */

/* The chunk is about to go: what points into it becomes an offset. */
static void leave_chunk(loader *ld)
{
    loader_input *in = &ld->in;
    if (ld->opcode_at) {
        ld->opcode_offset = in->start_offset + (uint64_t)(ld->opcode_at - in->start);
        ld->opcode_at = NULL;
    }
    in->start_offset += (uint64_t)(in->next - in->start);
}

/* The bytes [start, start + nbytes) are the chunk now; those from 'peeked' on are only peeked at. */
static void enter_chunk(loader_input *in, const uint8_t *start, size_t nbytes, bool peeked)
{
    in->start = in->next = start;
    in->end = in->chunk_end = start + nbytes;
    in->peeked = peeked ? start : in->chunk_end;
}

static PyObject *call(loader *ld, PyObject *method, PyObject *argument)
{
    loader_call_begin(ld);
    PyObject *result =
        argument ? PyObject_CallOneArg(method, argument) : PyObject_CallNoArgs(method);
    loader_call_end(ld);
    return result;
}

static PyObject *call_with_size(loader *ld, PyObject *method, size_t nbytes)
{
    PyObject *argument = PyLong_FromSize_t(nbytes);
    PyObject *result = argument ? call(ld, method, argument) : NULL;
    Py_XDECREF(argument);
    return result;
}

/* Reads past what was used of a peeked chunk. Afterwards the chunk is the unread rest, if any. */
static int skip_used(loader *ld)
{
    loader_input *in = &ld->in;
    if (in->next <= in->peeked)
        return 0;
    PyObject *dropped = call_with_size(ld, in->read, (size_t)(in->next - in->peeked));
    if (!dropped)
        return -1;
    Py_DECREF(dropped);
    in->peeked = in->next;
    return 0;
}

/* Takes 'data', what a method of the file has returned, as the next chunk; steals it. */
static int adopt(loader *ld, PyObject *data, bool peeked)
{
    Py_buffer view;
    if (!data)
        return -1;
    int status = PyObject_GetBuffer(data, &view, PyBUF_CONTIG_RO);
    Py_DECREF(data);
    if (status < 0)
        return -1;
    leave_chunk(ld);
    if (ld->in.view.obj)
        PyBuffer_Release(&ld->in.view);
    ld->in.view = view;
    enter_chunk(&ld->in, view.buf, (size_t)view.len, peeked);
    return 0;
}

/* ---- putting a chunk together from pieces ---- */

static int scratch_reserve(loader_input *in, uint8_t **scratch, size_t *capacity, size_t nbytes)
{
    if (nbytes <= *capacity)
        return 0;
    size_t grown = *capacity * 2 > nbytes ? *capacity * 2 : nbytes;
    uint8_t *data = PyMem_Realloc(*scratch, grown);
    if (!data) {
        PyErr_NoMemory();
        return -1;
    }
    *scratch = data;
    *capacity = grown;
    return 0;
}

/*
 * Makes the chunk in->next[0, left) followed by what further calls of the file return: read(n) in
 * pieces until there are 'nbytes', or, with nbytes == 0, one readline().
 */
static int gather(loader *ld, uint64_t nbytes)
{
    loader_input *in = &ld->in;
    uint8_t *scratch = NULL; /* not in->scratch, which may be the chunk that we copy from */
    size_t capacity = 0, have = left(in);
    bool line = nbytes == 0;
    int status = -1;
    if (scratch_reserve(in, &scratch, &capacity, have + 1) < 0)
        return -1;
    if (have)
        memcpy(scratch, in->next, have);
    while (line || have < nbytes) {
        size_t want =
            nbytes - have > LOADER_CHUNK_NBYTES ? LOADER_CHUNK_NBYTES : (size_t)(nbytes - have);
        PyObject *data = line ? call(ld, in->readline, NULL) : call_with_size(ld, in->read, want);
        Py_buffer view;
        if (!data)
            goto done;
        int got = PyObject_GetBuffer(data, &view, PyBUF_CONTIG_RO);
        Py_DECREF(data);
        if (got < 0)
            goto done;
        size_t piece = (size_t)view.len;
        if (scratch_reserve(in, &scratch, &capacity, have + piece) < 0) {
            PyBuffer_Release(&view);
            goto done;
        }
        memcpy(scratch + have, view.buf, piece);
        PyBuffer_Release(&view);
        have += piece;
        if (line)
            break;
        if (piece < want) {
            loader_fail_truncated(ld);
            goto done;
        }
    }
    leave_chunk(ld);
    if (in->view.obj)
        PyBuffer_Release(&in->view);
    PyMem_Free(in->scratch);
    in->scratch = scratch;
    in->scratch_capacity = capacity;
    scratch = NULL;
    enter_chunk(in, in->scratch, have, false);
    status = 0;
done:
    PyMem_Free(scratch);
    return status;
}

/* ---- frames ---- */

/* More is asked for than there is before in->end, which is the frame's end. */
static int leave_frame(loader *ld)
{
    loader_input *in = &ld->in;
    if (in->next != in->end)
        return loader_fail(ld, "pickle exhausted before end of frame");
    in->in_frame = false;
    in->end = in->chunk_end;
    return 0;
}

int loader_enter_frame(loader *ld, uint64_t nbytes)
{
    loader_input *in = &ld->in;
    if (nbytes > PY_SSIZE_T_MAX) {
        PyErr_Format(PyExc_OverflowError, "FRAME length exceeds system's maximum of %zd bytes",
                     PY_SSIZE_T_MAX);
        ld->fault = LOADER_FAULT_DAMAGED;
        return -1;
    }
    if (in->in_frame) {
        if (in->next != in->end)
            return loader_fail(ld, "beginning of a new frame before end of current frame");
        leave_frame(ld);
    }
    if (loader_need(ld, nbytes) < 0)
        return -1;
    if (ld->st->enforces_frames) {
        in->in_frame = true;
        in->end = in->next + nbytes;
    }
    return 0;
}

/* ---- the interface ---- */

/* Fetches from the file so that 'nbytes' are there, knowing that they are not. */
static int refill(loader *ld, uint64_t nbytes)
{
    loader_input *in = &ld->in;
    if (!in->read)
        return loader_fail_truncated(ld);
    bool was_peeked = in->peeked < in->chunk_end;
    if (skip_used(ld) < 0)
        return -1;
    if (was_peeked)
        in->end = in->chunk_end = in->next; /* the file will give the rest again */
    if (in->peek && nbytes < LOADER_PREFETCH_NBYTES && left(in) == 0) {
        PyObject *data = call_with_size(ld, in->peek, LOADER_PREFETCH_NBYTES);
        if (data) {
            if (adopt(ld, data, true) < 0)
                return -1;
            if (left(in) >= nbytes)
                return 0;
            in->end = in->chunk_end = in->peeked = in->next;
        } else if (PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
            PyErr_Clear();
            Py_CLEAR(in->peek);
        } else {
            return -1;
        }
    }
    if (left(in) || nbytes > LOADER_CHUNK_NBYTES)
        return gather(ld, nbytes);
    if (adopt(ld, call_with_size(ld, in->read, (size_t)nbytes), false) < 0)
        return -1;
    return left(in) >= nbytes ? 0 : loader_fail_truncated(ld);
}

int loader_need(loader *ld, uint64_t nbytes)
{
    if (left(&ld->in) >= nbytes)
        return 0;
    if (ld->in.in_frame) {
        if (leave_frame(ld) < 0)
            return -1;
        if (left(&ld->in) >= nbytes)
            return 0;
    }
    return refill(ld, nbytes);
}

int loader_need_opcode(loader *ld)
{
    if (loader_need(ld, 1) == 0)
        return 0;
    if (PyErr_ExceptionMatches(ld->st->UnpicklingError)) {
        PyErr_SetString(PyExc_EOFError, "Ran out of input");
        ld->fault = LOADER_FAULT_END;
    }
    return -1;
}

/*
 * Ends the view that a readinto() was given: the memory may move, and has an end. Where that cannot
 * be, since there are views of the view, 'owner' is kept for good, and BufferError is set. 0 or -1.
 */
static int take_back(PyObject *view, PyObject *owner)
{
    if (Py_REFCNT(view) == 1 && !compat_view_is_shared(view))
        return 0;
    PyObject *type, *value, *traceback, *done = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    if (compat_view_is_shared(view))
        PyErr_SetString(PyExc_BufferError,
                        "readinto() kept a view of the buffer that it was given");
    else
        done = PyObject_CallMethod(view, "release", NULL);
    if (!done)
        Py_INCREF(owner); /* for good */
    bool failed = !done;
    Py_XDECREF(done);
    if (type) /* what readinto() raised itself comes first */
        PyErr_Restore(type, value, traceback);
    return failed ? -1 : 0;
}

int loader_read_into(loader *ld, PyObject *owner, uint8_t *to, size_t nbytes)
{
    loader_input *in = &ld->in;
    if (in->in_frame && left(in) < nbytes && leave_frame(ld) < 0)
        return -1;
    size_t here = left(in) < nbytes ? left(in) : nbytes;
    if (here)
        memcpy(to, in->next, here);
    in->next += here;
    to += here;
    nbytes -= here;
    if (nbytes == 0)
        return 0;
    if (!in->read)
        return loader_fail_truncated(ld);
    if (skip_used(ld) < 0)
        return -1;
    leave_chunk(ld);
    enter_chunk(in, in->next, 0, false);
    if (!in->readinto) {
        PyObject *data = call_with_size(ld, in->read, nbytes);
        if (!data)
            return -1;
        if (!PyBytes_Check(data)) {
            PyErr_Format(PyExc_ValueError, "read() returned non-bytes object (%R)", Py_TYPE(data));
            Py_DECREF(data);
            return -1;
        }
        bool enough = (size_t)PyBytes_GET_SIZE(data) >= nbytes;
        if (enough)
            memcpy(to, PyBytes_AS_STRING(data), nbytes);
        Py_DECREF(data);
        if (!enough)
            return loader_fail_truncated(ld);
    } else {
        PyObject *view = PyMemoryView_FromMemory((char *)to, (Py_ssize_t)nbytes, PyBUF_WRITE);
        PyObject *size = view ? call(ld, in->readinto, view) : NULL;
        if (view && take_back(view, owner) < 0)
            Py_CLEAR(size);
        Py_XDECREF(view);
        if (!size)
            return -1;
        Py_ssize_t got = PyLong_AsSsize_t(size);
        Py_DECREF(size);
        if (got < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "readinto() returned negative size");
            return -1;
        }
        if ((size_t)got < nbytes)
            return loader_fail_truncated(ld);
    }
    in->start_offset += nbytes;
    return 0;
}

int loader_line(loader *ld, const uint8_t **line, size_t *nbytes)
{
    loader_input *in = &ld->in;
    if (in->in_frame && left(in) == 0)
        leave_frame(ld);
    const uint8_t *newline = left(in) ? memchr(in->next, '\n', left(in)) : NULL;
    if (!newline) {
        if (in->in_frame)
            return loader_fail(ld, "pickle exhausted before end of frame");
        if (!in->read)
            return loader_fail_truncated(ld);
        bool was_peeked = in->peeked < in->chunk_end;
        if (skip_used(ld) < 0)
            return -1;
        if (was_peeked)
            in->end = in->chunk_end = in->next;
        if (left(in) ? gather(ld, 0) : adopt(ld, call(ld, in->readline, NULL), false))
            return -1;
        if (left(in) == 0 || in->end[-1] != '\n')
            return loader_fail_truncated(ld);
        newline = in->end - 1;
    }
    *line = in->next;
    *nbytes = (size_t)(newline - in->next);
    in->next = newline + 1;
    return 0;
}

int loader_input_finish(loader *ld)
{
    ld->in.in_frame = false;
    ld->in.end = ld->in.chunk_end;
    return skip_used(ld);
}
