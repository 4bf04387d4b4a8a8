/*
 * atoms.c - objects that are written in one piece, in every protocol.
 *
 * The common ones are written by containers themselves (leaf.h); this is the rest: text that
 * is not short ASCII, big integers, protocols 0 to 3, bytes and buffers.
 */
#include "python/saver/leaf.h"

/* ---- numbers ---- */

static int write_int_text(saver *s, PyObject *obj)
{
    PyObject *digits = NULL;
    int status = -1, small;
    long value = PyLong_AsLongAndOverflow(obj, &small);
    if (small == 0 && value >= INT32_MIN && value <= INT32_MAX) {
        s->out.cursor += sprintf(s->out.cursor, "%c%ld\n", OP_INT, value);
        return 0;
    }
    /* int.__repr__, so that the interpreter's limit on digits holds. */
    if (saver_before_python(s) < 0)
        return -1;
    digits = PyLong_Type.tp_repr(obj);
    if (!digits)
        goto done;
    Py_ssize_t nbytes;
    const char *text = PyUnicode_AsUTF8AndSize(digits, &nbytes);
    if (!text || saver_write_op(s, OP_LONG) < 0 ||
        saver_output_write(&s->out, text, (size_t)nbytes) < 0 ||
        saver_output_write(&s->out, "L\n", 2) < 0)
        goto done;
    status = 0;
done:
    Py_XDECREF(digits);
    return status;
}

/* Of little-endian two's complement, the bytes that matter. */
static Py_ssize_t minimal_nbytes(const unsigned char *bytes, Py_ssize_t nbytes)
{
    while (nbytes > 1 && ((bytes[nbytes - 1] == 0 && bytes[nbytes - 2] < 0x80) ||
                          (bytes[nbytes - 1] == 0xff && bytes[nbytes - 2] >= 0x80)))
        nbytes--;
    return nbytes;
}

static int write_big_int(saver *s, PyObject *obj)
{
    Py_ssize_t nbytes = compat_int_nbytes(obj);
    if (nbytes < 0)
        return -1;
    if (nbytes > INT32_MAX) {
        saver_before_raising(s);
        PyErr_SetString(PyExc_OverflowError, "int too large to pickle");
        return -1;
    }
    /* Written where the longer of the two headers leaves it, then moved if that was too long. */
    if (saver_output_reserve(&s->out, (size_t)nbytes + 5) < 0)
        return -1;
    char *start = s->out.cursor;
    unsigned char *bytes = (unsigned char *)start + 5;
    if (compat_int_bytes(obj, bytes, nbytes) < 0)
        return -1;
    nbytes = minimal_nbytes(bytes, nbytes);
    if (nbytes < 256) {
        memmove(start + 2, bytes, (size_t)nbytes);
        start[0] = (char)OP_LONG1;
        start[1] = (char)nbytes;
        s->out.cursor = start + 2 + nbytes;
    } else {
        start[0] = (char)OP_LONG4;
        leaf_put_u32(start + 1, (uint32_t)nbytes);
        s->out.cursor = start + 5 + nbytes;
    }
    return 0;
}

int saver_write_int(saver *s, PyObject *obj)
{
    if (s->protocol == 0)
        return write_int_text(s, obj);
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(obj, &overflow);
    if (s->protocol < 2 && (overflow || value < INT32_MIN || value > INT32_MAX))
        return write_int_text(s, obj);
    if (overflow)
        return write_big_int(s, obj);
    s->out.cursor = leaf_write_int64(s->out.cursor, value);
    return 0;
}

int saver_write_float(saver *s, PyObject *obj)
{
    double value = PyFloat_AS_DOUBLE(obj);
    if (s->protocol > 0) {
        s->out.cursor = leaf_write_double(s->out.cursor, value);
        return 0;
    }
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!text)
        return -1;
    int status = -1;
    if (saver_write_op(s, OP_FLOAT) == 0 && saver_output_write(&s->out, text, strlen(text)) == 0)
        status = saver_write_op(s, '\n');
    PyMem_Free(text);
    return status;
}

int saver_write_bool(saver *s, PyObject *obj)
{
    if (s->protocol >= 2)
        return saver_write_op(s, obj == Py_True ? OP_NEWTRUE : OP_NEWFALSE);
    return saver_output_write(&s->out, obj == Py_True ? "I01\n" : "I00\n", 4);
}

/* ---- payloads: bytes of any length behind a header ---- */

/*
 * Header and payload. A large one goes outside the frames, and to a file without a copy: as
 * 'payload', the object that holds the data, or as new bytes if that is NULL. 'obj' is the object
 * being saved. '*unique' is cleared if Python code ran.
 */
static int write_payload(saver *s, const char *header, size_t header_nbytes, const char *data,
                         size_t nbytes, PyObject *payload, int *unique)
{
    saver_output *out = &s->out;
    if (nbytes < SAVER_FRAME_TARGET_NBYTES) {
        if (saver_output_reserve(out, header_nbytes + nbytes) < 0)
            return -1;
        memcpy(out->cursor, header, header_nbytes);
        memcpy(out->cursor + header_nbytes, data, nbytes);
        out->cursor += header_nbytes + nbytes;
        return 0;
    }
    saver_output_leave_frame(out);
    if (!out->write) {
        if (saver_output_reserve(out, header_nbytes + nbytes) < 0)
            return -1;
        memcpy(out->cursor, header, header_nbytes);
        memcpy(out->cursor + header_nbytes, data, nbytes);
        out->cursor += header_nbytes + nbytes;
        return saver_output_enter_frame(out);
    }
    *unique = 0;
    if (saver_output_write(out, header, header_nbytes) < 0 || saver_before_python(s) < 0)
        return -1;
    PyObject *chunk = NULL, *written = NULL;
    int status = -1;
    chunk = payload ? Py_NewRef(payload) : PyBytes_FromStringAndSize(data, (Py_ssize_t)nbytes);
    if (!chunk || saver_output_flush(out) < 0)
        goto done;
    out->flushed_nbytes += nbytes;
    written = PyObject_CallOneArg(out->write, chunk);
    if (!written)
        goto done;
    status = saver_output_enter_frame(out);
done:
    Py_XDECREF(written);
    Py_XDECREF(chunk);
    return status;
}

/* The header of a payload with the shortest of three opcodes (0: this protocol has it not). */
static size_t payload_header(char *header, int op1, int op4, int op8, size_t nbytes)
{
    if (op1 && nbytes <= 0xff) {
        header[0] = (char)op1;
        header[1] = (char)nbytes;
        return 2;
    }
    if (op4 && nbytes <= UINT32_MAX) {
        header[0] = (char)op4;
        leaf_put_u32(header + 1, (uint32_t)nbytes);
        return 5;
    }
    if (op8) {
        header[0] = (char)op8;
        leaf_put_u64(header + 1, nbytes);
        return 9;
    }
    return 0;
}

/* ---- text ---- */

/* UTF-8 in which a lone surrogate is three bytes ("surrogatepass"). */

static size_t utf8_nbytes(PyObject *str)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(str);
    size_t nbytes = (size_t)length;
    switch (PyUnicode_KIND(str)) {
    case PyUnicode_1BYTE_KIND: {
        const Py_UCS1 *text = PyUnicode_1BYTE_DATA(str);
        for (Py_ssize_t i = 0; i < length; i++)
            nbytes += text[i] >> 7;
        break;
    }
    case PyUnicode_2BYTE_KIND: {
        const Py_UCS2 *text = PyUnicode_2BYTE_DATA(str);
        for (Py_ssize_t i = 0; i < length; i++)
            nbytes += (size_t)(text[i] >= 0x80) + (text[i] >= 0x800);
        break;
    }
    default: {
        const Py_UCS4 *text = PyUnicode_4BYTE_DATA(str);
        for (Py_ssize_t i = 0; i < length; i++)
            nbytes += (size_t)(text[i] >= 0x80) + (text[i] >= 0x800) + (text[i] >= 0x10000);
        break;
    }
    }
    return nbytes;
}

LEAF_INLINE char *put_utf8(char *cursor, uint32_t c)
{
    if (c < 0x80) {
        *cursor++ = (char)c;
    } else if (c < 0x800) {
        *cursor++ = (char)(0xc0 | c >> 6);
        *cursor++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *cursor++ = (char)(0xe0 | c >> 12);
        *cursor++ = (char)(0x80 | (c >> 6 & 0x3f));
        *cursor++ = (char)(0x80 | (c & 0x3f));
    } else {
        *cursor++ = (char)(0xf0 | c >> 18);
        *cursor++ = (char)(0x80 | (c >> 12 & 0x3f));
        *cursor++ = (char)(0x80 | (c >> 6 & 0x3f));
        *cursor++ = (char)(0x80 | (c & 0x3f));
    }
    return cursor;
}

static void write_utf8(char *cursor, PyObject *str)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(str);
    switch (PyUnicode_KIND(str)) {
    case PyUnicode_1BYTE_KIND: {
        const Py_UCS1 *text = PyUnicode_1BYTE_DATA(str);
        for (Py_ssize_t i = 0; i < length; i++)
            cursor = put_utf8(cursor, text[i]);
        break;
    }
    case PyUnicode_2BYTE_KIND: {
        const Py_UCS2 *text = PyUnicode_2BYTE_DATA(str);
        for (Py_ssize_t i = 0; i < length; i++)
            cursor = put_utf8(cursor, text[i]);
        break;
    }
    default: {
        const Py_UCS4 *text = PyUnicode_4BYTE_DATA(str);
        for (Py_ssize_t i = 0; i < length; i++)
            cursor = put_utf8(cursor, text[i]);
        break;
    }
    }
}

static int write_str_binary(saver *s, PyObject *obj, int *unique)
{
    Py_ssize_t known_nbytes = 0;
    const char *known = compat_str_utf8(obj, &known_nbytes);
    size_t nbytes = known ? (size_t)known_nbytes : utf8_nbytes(obj);
    char header[9];
    size_t header_nbytes =
        payload_header(header, s->protocol >= 4 ? OP_SHORT_BINUNICODE : 0, OP_BINUNICODE,
                       s->protocol >= 4 ? OP_BINUNICODE8 : 0, nbytes);
    if (header_nbytes == 0) {
        saver_before_raising(s);
        PyErr_SetString(PyExc_OverflowError, "serializing a string larger than 4 GiB requires "
                                             "pickle protocol 4 or higher");
        return -1;
    }
    if (known)
        return write_payload(s, header, header_nbytes, known, nbytes, NULL, unique);
    if (nbytes >= SAVER_FRAME_TARGET_NBYTES && s->out.write) {
        PyObject *encoded = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)nbytes);
        if (!encoded)
            return -1;
        write_utf8(PyBytes_AS_STRING(encoded), obj);
        int status = write_payload(s, header, header_nbytes, PyBytes_AS_STRING(encoded), nbytes,
                                   encoded, unique);
        Py_DECREF(encoded);
        return status;
    }
    int large = nbytes >= SAVER_FRAME_TARGET_NBYTES;
    if (large)
        saver_output_leave_frame(&s->out);
    if (saver_output_reserve(&s->out, header_nbytes + nbytes) < 0)
        return -1;
    memcpy(s->out.cursor, header, header_nbytes);
    write_utf8(s->out.cursor + header_nbytes, obj);
    s->out.cursor += header_nbytes + nbytes;
    return large ? saver_output_enter_frame(&s->out) : 0;
}

/* Protocol 0: raw-unicode-escape, with what would end or bend the line escaped too. */
static int write_str_text(saver *s, PyObject *obj)
{
    static const char digits[] = "0123456789abcdef";
    int kind = (int)PyUnicode_KIND(obj);
    const void *data = PyUnicode_DATA(obj);
    if (saver_write_op(s, OP_UNICODE) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(obj); i++) {
        if (saver_output_reserve(&s->out, 11) < 0)
            return -1;
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        int hex = c >= 0x10000 ? 8 : 0;
        if (!hex && (c >= 256 || c == '\\' || c == 0 || c == '\n' || c == '\r' || c == 0x1a))
            hex = 4;
        if (hex == 0) {
            *s->out.cursor++ = (char)c;
            continue;
        }
        *s->out.cursor++ = '\\';
        *s->out.cursor++ = hex == 8 ? 'U' : 'u';
        for (int shift = 4 * (hex - 1); shift >= 0; shift -= 4)
            *s->out.cursor++ = digits[c >> shift & 15];
    }
    return saver_write_op(s, '\n');
}

int saver_write_str(saver *s, PyObject *obj, int unique)
{
    if (compat_str_ready(obj) < 0)
        return -1;
    int status = s->protocol > 0 ? write_str_binary(s, obj, &unique) : write_str_text(s, obj);
    return status < 0 ? -1 : saver_memoize(s, obj, unique);
}

/* ---- bytes and buffers ---- */

static int write_bytes_data(saver *s, PyObject *obj, const char *data, size_t nbytes, int unique)
{
    char header[9];
    size_t header_nbytes = payload_header(header, OP_SHORT_BINBYTES, OP_BINBYTES,
                                          s->protocol >= 4 ? OP_BINBYTES8 : 0, nbytes);
    if (header_nbytes == 0) {
        saver_before_raising(s);
        PyErr_SetString(PyExc_OverflowError, "serializing a bytes object larger than 4 GiB "
                                             "requires pickle protocol 4 or higher");
        return -1;
    }
    if (write_payload(s, header, header_nbytes, data, nbytes, obj, &unique) < 0)
        return -1;
    return saver_memoize(s, obj, unique);
}

static int write_bytearray_data(saver *s, PyObject *obj, const char *data, size_t nbytes,
                                int unique)
{
    char header[9];
    size_t header_nbytes = payload_header(header, 0, 0, OP_BYTEARRAY8, nbytes);
    if (write_payload(s, header, header_nbytes, data, nbytes, obj, &unique) < 0)
        return -1;
    return saver_memoize(s, obj, unique);
}

/* Below protocol 3: _codecs.encode(text, 'latin1'), which is a str in Python 2. */
static int save_bytes_as_call(saver *s, PyObject *obj)
{
    if (!saver_push(s, FRAME_REDUCE, obj, 0) || saver_before_python(s) < 0)
        return -1;
    PyObject *reduced = NULL;
    if (PyBytes_GET_SIZE(obj) == 0) {
        reduced = Py_BuildValue("(O())", &PyBytes_Type);
    } else {
        PyObject *text =
            PyUnicode_DecodeLatin1(PyBytes_AS_STRING(obj), PyBytes_GET_SIZE(obj), "strict");
        if (text)
            reduced = Py_BuildValue("(O(NO))", s->st->codecs_encode, text, s->st->str_latin1);
    }
    return reduced && saver_accept_reduced(s, reduced) == 0 ? 1 : -1;
}

int saver_write_bytes(saver *s, PyObject *obj, int unique)
{
    if (s->protocol < 3)
        return save_bytes_as_call(s, obj);
    return write_bytes_data(s, obj, PyBytes_AS_STRING(obj), (size_t)PyBytes_GET_SIZE(obj), unique);
}

/* Below protocol 5: bytearray(bytes). */
static int save_bytearray_as_call(saver *s, PyObject *obj)
{
    if (!saver_push(s, FRAME_REDUCE, obj, 1) || saver_before_python(s) < 0)
        return -1;
    PyObject *reduced = NULL;
    if (PyByteArray_GET_SIZE(obj) == 0) {
        reduced = Py_BuildValue("(O())", &PyByteArray_Type);
    } else {
        /* Not PyBytes_FromStringAndSize: its one-byte objects are shared, and the memo shows it. */
        PyObject *bytes = PyBytes_FromObject(obj);
        if (bytes)
            reduced = Py_BuildValue("(O(N))", &PyByteArray_Type, bytes);
    }
    return reduced && saver_accept_reduced(s, reduced) == 0 ? 1 : -1;
}

int saver_write_bytearray(saver *s, PyObject *obj, int unique)
{
    s->saw_mutable = 1;
    if (s->protocol < 5)
        return save_bytearray_as_call(s, obj);
    return write_bytearray_data(s, obj, PyByteArray_AS_STRING(obj),
                                (size_t)PyByteArray_GET_SIZE(obj), unique);
}

static const Py_buffer *picklable_buffer(saver *s, PyObject *obj)
{
    const Py_buffer *view = PyPickleBuffer_GetBuffer(obj);
    if (view && (view->suboffsets || !PyBuffer_IsContiguous(view, 'A'))) {
        PyErr_SetString(s->st->PicklingError, "PickleBuffer can not be pickled when pointing to a "
                                              "non-contiguous buffer");
        return NULL;
    }
    return view;
}

static int write_buffer(saver *s, PyObject *obj)
{
    const Py_buffer *view = picklable_buffer(s, obj);
    if (!view)
        return -1;
    int readonly = view->readonly, in_band = 1;
    if (s->options->take_buffer) {
        int taken = s->options->take_buffer(s->options->take_context, obj, view);
        if (taken < 0)
            return -1;
        in_band = !taken;
    } else if (s->options->buffer_callback) {
        if (saver_before_python(s) < 0)
            return -1;
        PyObject *answer = PyObject_CallOneArg(s->options->buffer_callback, obj);
        if (!answer)
            return -1;
        in_band = PyObject_IsTrue(answer);
        Py_DECREF(answer);
        if (in_band < 0)
            return -1;
        if (in_band) { /* the callback may have released it */
            view = picklable_buffer(s, obj);
            if (!view)
                return -1;
        }
    }
    if (!in_band)
        return readonly ? saver_write_ops(s, OP_NEXT_BUFFER, OP_READONLY_BUFFER)
                        : saver_write_op(s, OP_NEXT_BUFFER);
    if (readonly)
        return write_bytes_data(s, obj, view->buf, (size_t)view->len, 0);
    return write_bytearray_data(s, obj, view->buf, (size_t)view->len, 0);
}

int saver_write_buffer(saver *s, PyObject *obj)
{
    s->saw_mutable = 1;
    saver_before_raising(s);
    if (s->protocol < 5) {
        PyErr_SetString(s->st->PicklingError,
                        COMPAT_NAMES_AS_3_13 ? "PickleBuffer can only be pickled with protocol >= 5"
                                             : "PickleBuffer can only pickled with protocol >= 5");
        return -1;
    }
    Py_INCREF(obj);
    int status = write_buffer(s, obj);
    saver_drop(s, obj);
    return status;
}
