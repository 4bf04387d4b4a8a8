/*
 * scalars.c - opcodes whose argument is the object: numbers as text, Python 2's strings,
 * bytes, buffers; and GET and PUT, whose argument is a number as text.
 *
 * Numbers as text follow the interpreter's C unpickler to the letter, leading zeros and NUL bytes
 * included: it hands the line to strtol() and friends, which stop at a NUL. The digits that
 * picklers write take a fast path that means the same.
 */
#include "python/loader/core.h"
#include "python/loader/text.h"

#include "codec/decode.h"

#include <errno.h>
#include <sys/mman.h>

#define HUGE_PAGE_NBYTES ((uintptr_t)2 << 20)

enum { LONE_SCALAR_NBYTES = 64 };

/* ---- one alone ---- */

static PyObject *lone_scalar(const module_state *st, const uint8_t *at, size_t nbytes)
{
    const uint8_t *end = at + nbytes;
    if (nbytes < 4 || nbytes > LONE_SCALAR_NBYTES || at[0] != OP_PROTO ||
        at[1] > PICKLE_PROTOCOL_MAX || end[-1] != OP_STOP)
        return NULL;
    at += 2;
    if (*at == OP_FRAME) {
        if (end - at < 10 || decode_uint8(at + 1) != (uint64_t)(end - at) - 9)
            return NULL;
        at += 9;
    }
    uint8_t code = *at++;
    size_t size = (size_t)(end - at) - 1; /* of all between the opcode and STOP */
    switch (code) {
    case OP_NONE:
        return size == 0 ? Py_NewRef(Py_None) : NULL;
    case OP_NEWTRUE:
        return size == 0 ? Py_NewRef(Py_True) : NULL;
    case OP_NEWFALSE:
        return size == 0 ? Py_NewRef(Py_False) : NULL;
    case OP_BININT1:
        return size == 1 ? Py_NewRef(st->small_ints[*at]) : NULL;
    case OP_BININT2:
        return size == 2 ? PyLong_FromLong(decode_uint2(at)) : NULL;
    case OP_BININT:
        return size == 4 ? PyLong_FromLong(decode_int4(at)) : NULL;
    case OP_LONG1:
        return size > 0 && size <= 9 && at[0] == size - 1
                   ? PyLong_FromLongLong(decode_int(at + 1, size - 1))
                   : NULL;
    case OP_BINFLOAT:
        return size == 8 ? PyFloat_FromDouble(decode_float8(at)) : NULL;
    case OP_SHORT_BINUNICODE:
        return size > 1 && at[size - 1] == OP_MEMOIZE && at[0] == size - 2
                   ? text_new(at + 1, size - 2)
                   : NULL;
    }
    return NULL;
}

PyObject *loader_lone_scalar(const module_state *st, const uint8_t *at, size_t nbytes)
{
    PyObject *object = lone_scalar(st, at, nbytes);
    if (!object && PyErr_Occurred())
        PyErr_Clear(); /* the machine runs into the same error, and can say where */
    return object;
}

/* ---- as text ---- */

/* A line as a C string, its '\n' included, as the interpreter's parsers get it. */
typedef struct line_text {
    char *text;
    size_t nbytes; /* with the '\n' */
    char small[128];
} line_text;

static int line_text_read(loader *ld, line_text *line)
{
    const uint8_t *at;
    size_t nbytes;
    line->text = NULL;
    if (loader_line(ld, &at, &nbytes) < 0)
        return -1;
    if (nbytes == 0)
        return loader_fail_truncated(ld);
    line->text = nbytes + 2 <= sizeof line->small ? line->small : PyMem_Malloc(nbytes + 2);
    if (!line->text) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(line->text, at, nbytes);
    line->text[nbytes] = '\n';
    line->text[nbytes + 1] = '\0';
    line->nbytes = nbytes + 1;
    return 0;
}

static void line_text_free(line_text *line)
{
    if (line->text != line->small)
        PyMem_Free(line->text);
}

static int push_or_fail(loader *ld, PyObject *object)
{
    return object ? loader_push(ld, object) : -1;
}

int loader_op_int(loader *ld)
{
    line_text line;
    if (line_text_read(ld, &line) < 0)
        return -1;
    int base = ld->st->decimal_only ? 10 : 0;
    char *end;
    PyObject *value;
    errno = 0;
    long number = strtol(line.text, &end, base);
    if (errno || (*end != '\n' && *end != '\0')) {
        value = PyLong_FromString(line.text, NULL, base);
        if (!value) {
            PyErr_SetString(PyExc_ValueError, "could not convert string to int");
            ld->fault = LOADER_FAULT_DAMAGED;
        }
    } else if (line.nbytes == 3 && (number == 0 || number == 1)) {
        value = PyBool_FromLong(number); /* I00 and I01: how protocols 0 and 1 write bools */
    } else {
        value = PyLong_FromLong(number);
    }
    line_text_free(&line);
    return push_or_fail(ld, value);
}

int loader_op_long(loader *ld)
{
    line_text line;
    if (line_text_read(ld, &line) < 0)
        return -1;
    if (line.text[line.nbytes - 2] == 'L')
        line.text[line.nbytes - 2] = '\0';
    PyObject *value = PyLong_FromString(line.text, NULL, ld->st->decimal_only ? 10 : 0);
    line_text_free(&line);
    return push_or_fail(ld, value);
}

int loader_op_counted_long(loader *ld, const uint8_t *bytes, size_t nbytes)
{
    int64_t value;
    if (decode_long_int64(bytes, nbytes, &value))
        return push_or_fail(ld, PyLong_FromLongLong(value));
    return push_or_fail(ld, compat_long_from_bytes(bytes, nbytes));
}

int loader_op_float(loader *ld)
{
    line_text line;
    if (line_text_read(ld, &line) < 0)
        return -1;
    char *end;
    PyObject *value = NULL;
    double number = PyOS_string_to_double(line.text, &end, PyExc_OverflowError);
    if (number == -1.0 && PyErr_Occurred())
        goto done;
    if (*end != '\n' && *end != '\0') {
        PyErr_SetString(PyExc_ValueError, "could not convert string to float");
        ld->fault = LOADER_FAULT_DAMAGED;
        goto done;
    }
    value = PyFloat_FromDouble(number);
done:
    line_text_free(&line);
    return push_or_fail(ld, value);
}

/* ---- Python 2's str ---- */

static PyObject *python2_str(loader *ld, const uint8_t *bytes, size_t nbytes)
{
    if (strcmp(ld->encoding, "bytes") == 0)
        return PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)nbytes);
    loader_call_begin(ld); /* a codec, or an error handler, may be Python's */
    PyObject *text =
        PyUnicode_Decode((const char *)bytes, (Py_ssize_t)nbytes, ld->encoding, ld->errors);
    loader_call_end(ld);
    return text;
}

int loader_op_string(loader *ld)
{
    const uint8_t *at;
    size_t nbytes;
    if (loader_line(ld, &at, &nbytes) < 0)
        return -1;
    if (nbytes < 2 || at[0] != at[nbytes - 1] || (at[0] != '\'' && at[0] != '"'))
        return loader_fail(ld, "the STRING opcode argument must be quoted");
    loader_call_begin(ld); /* the codec may be Python's; escapes that are none give a warning */
    PyObject *object =
        PyBytes_DecodeEscape((const char *)at + 1, (Py_ssize_t)nbytes - 2, NULL, 0, NULL);
    if (object && strcmp(ld->encoding, "bytes") != 0)
        Py_SETREF(object, PyUnicode_FromEncodedObject(object, ld->encoding, ld->errors));
    loader_call_end(ld);
    return push_or_fail(ld, object);
}

int loader_op_binstring(loader *ld, const uint8_t *bytes, size_t nbytes)
{
    return push_or_fail(ld, python2_str(ld, bytes, nbytes));
}

int loader_op_unicode(loader *ld)
{
    const uint8_t *at;
    size_t nbytes;
    if (loader_line(ld, &at, &nbytes) < 0)
        return -1;
    return push_or_fail(
        ld, PyUnicode_DecodeRawUnicodeEscape((const char *)at, (Py_ssize_t)nbytes, NULL));
}

/* ---- bytes ---- */

/* How much of 'nbytes' may be allocated at once: all that memory holds, or a chunk of a file. */
static int first_piece(loader *ld, uint64_t nbytes, size_t *piece)
{
    uint64_t here = (uint64_t)(ld->in.end - ld->in.next);
    *piece = (size_t)nbytes;
    if (here >= nbytes)
        return 0;
    if (!ld->in.read)
        return loader_need(ld, nbytes); /* a frame may end here; else it says what is wrong */
    if (nbytes > here + LOADER_CHUNK_NBYTES)
        *piece = (size_t)here + LOADER_CHUNK_NBYTES;
    return 0;
}

static size_t next_piece(size_t have, uint64_t nbytes)
{
    return nbytes - have > have ? have : (size_t)(nbytes - have);
}

/*
 * Most of the time that a large copy takes is page faults of its target. Where the kernel leaves huge pages
 * to those who ask, this asks: a page fault for 2 MiB, not 4 KiB. What it answers changes nothing else.
 */
static void expect_large_copy(void *data, size_t nbytes)
{
    uintptr_t first = ((uintptr_t)data + HUGE_PAGE_NBYTES - 1) & ~(HUGE_PAGE_NBYTES - 1);
    uintptr_t end = ((uintptr_t)data + nbytes) & ~(HUGE_PAGE_NBYTES - 1);
    if (nbytes >= 2 * HUGE_PAGE_NBYTES && first < end)
        (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
}

int loader_op_bytes(loader *ld, uint64_t nbytes)
{
    size_t piece, have = 0;
    if (nbytes > PY_SSIZE_T_MAX)
        return loader_fail_too_large(ld, "BINBYTES");
    if (first_piece(ld, nbytes, &piece) < 0)
        return -1;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)piece);
    if (bytes)
        expect_large_copy(PyBytes_AS_STRING(bytes), piece);
    while (bytes) {
        if (loader_read_into(ld, bytes, (uint8_t *)PyBytes_AS_STRING(bytes) + have, piece) < 0) {
            Py_DECREF(bytes);
            return -1;
        }
        have += piece;
        if (have == nbytes)
            return loader_push(ld, bytes);
        piece = next_piece(have, nbytes);
        _PyBytes_Resize(&bytes, (Py_ssize_t)(have + piece));
    }
    return -1;
}

int loader_op_bytearray(loader *ld, uint64_t nbytes)
{
    size_t piece, have = 0;
    if (nbytes > PY_SSIZE_T_MAX)
        return loader_fail_too_large(ld, "BYTEARRAY8");
    if (first_piece(ld, nbytes, &piece) < 0)
        return -1;
    PyObject *array = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)piece);
    if (array)
        expect_large_copy(PyByteArray_AS_STRING(array), piece);
    while (array) {
        if (loader_read_into(ld, array, (uint8_t *)PyByteArray_AS_STRING(array) + have, piece) < 0)
            break;
        have += piece;
        if (have == nbytes)
            return loader_push(ld, array);
        piece = next_piece(have, nbytes);
        if (PyByteArray_Resize(array, (Py_ssize_t)(have + piece)) < 0)
            break;
    }
    Py_XDECREF(array);
    return -1;
}

int loader_op_next_buffer(loader *ld)
{
    if (!ld->buffers) {
        loader_fail(ld,
                    "pickle stream refers to out-of-band data but no *buffers* argument was given");
        ld->fault = LOADER_FAULT_BUFFERS;
        return -1;
    }
    PyObject *iterator = ld->buffers;
    Py_INCREF(iterator);
    loader_call_begin(ld);
    PyObject *buffer = PyIter_Next(iterator);
    loader_call_end(ld);
    Py_DECREF(iterator);
    if (!buffer) {
        if (!PyErr_Occurred()) {
            loader_fail(ld, "not enough out-of-band buffers");
            ld->fault = LOADER_FAULT_BUFFERS;
        }
        return -1;
    }
    return loader_push(ld, buffer);
}

int loader_op_readonly_buffer(loader *ld)
{
    if (loader_above_fence(ld) == 0)
        return loader_fail_underflow(ld);
    PyObject *buffer = ld->top[-1];
    loader_call_begin(ld);
    PyObject *view = PyMemoryView_FromObject(buffer);
    loader_call_end(ld);
    if (!view)
        return -1;
    if (PyMemoryView_GET_BUFFER(view)->readonly) {
        Py_DECREF(view);
        return 0;
    }
    compat_memoryview_set_readonly(view);
    ld->top[-1] = view;
    Py_DECREF(buffer);
    return 0;
}

/* ---- the memo, by text ---- */

/* The argument of GET and PUT. Any Python integer is read; what no index can be is told as C does. */
static int memo_index(loader *ld, Py_ssize_t *index)
{
    line_text line;
    if (line_text_read(ld, &line) < 0)
        return -1;
    PyObject *number = PyLong_FromString(line.text, NULL, 10);
    line_text_free(&line);
    if (!number)
        return -1;
    *index = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    return *index == -1 && PyErr_Occurred() ? -1 : 0;
}

int loader_op_get(loader *ld)
{
    Py_ssize_t index;
    if (memo_index(ld, &index) < 0)
        return -1;
    PyObject *value = index < 0 ? NULL : loader_memo_get(&ld->memo, (size_t)index);
    if (!value) {
        if (PyErr_Occurred())
            return -1;
        return loader_fail(ld, "Memo value not found at index %zd", index);
    }
    Py_INCREF(value);
    return loader_push(ld, value);
}

int loader_op_put(loader *ld)
{
    Py_ssize_t index;
    /* The interpreter looks at the stack before it parses the number. */
    line_text line;
    if (line_text_read(ld, &line) < 0)
        return -1;
    if (loader_above_fence(ld) == 0) {
        line_text_free(&line);
        return loader_fail_underflow(ld);
    }
    PyObject *number = PyLong_FromString(line.text, NULL, 10);
    line_text_free(&line);
    if (!number)
        return -1;
    index = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    if (index < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "negative PUT argument");
            ld->fault = LOADER_FAULT_DAMAGED;
        }
        return -1;
    }
    return loader_memo_put(&ld->memo, (size_t)index, ld->top[-1]);
}
