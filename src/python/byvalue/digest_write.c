/*
 * digest_write.c - the encoding of achar.digest(): numbers, text, containers; see digest.c.
 *
 * Sets and dicts are sorted by what their items are written as (pieces.h).
 */
#include "python/byvalue/digest.h"
#include "python/byvalue/pieces.h"

/* ---- output ---- */

static int reserve(digest *d, size_t nbytes)
{
    if (d->capacity - d->used >= nbytes)
        return 0;
    size_t capacity = (d->used + nbytes) * 2 + 256;
    uint8_t *bytes = PyMem_Realloc(d->bytes, capacity);
    if (!bytes) {
        PyErr_NoMemory();
        return -1;
    }
    d->bytes = bytes;
    d->capacity = capacity;
    return 0;
}

int digest_put(digest *d, const void *data, size_t nbytes)
{
    if (reserve(d, nbytes) < 0)
        return -1;
    if (nbytes)
        memcpy(d->bytes + d->used, data, nbytes);
    d->used += nbytes;
    return 0;
}

int digest_put_tag(digest *d, char tag, uint64_t number)
{
    if (reserve(d, 9) < 0)
        return -1;
    d->bytes[d->used++] = (uint8_t)tag;
    memcpy(d->bytes + d->used, &number, 8);
    d->used += 8;
    return 0;
}

int digest_put_data(digest *d, char tag, const void *data, size_t nbytes)
{
    if (digest_put_tag(d, tag, nbytes) < 0)
        return -1;
    if (nbytes <= DIGEST_LONG_NBYTES)
        return digest_put(d, data, nbytes);
    if (reserve(d, BLAKE2S_NBYTES) < 0)
        return -1;
    byvalue_long_digest(data, nbytes, d->bytes + d->used);
    d->used += BLAKE2S_NBYTES;
    return 0;
}

int digest_put_text(digest *d, char tag, PyObject *text)
{
    Py_ssize_t nbytes;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &nbytes);
    if (utf8)
        return digest_put_data(d, tag, utf8, (size_t)nbytes);
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return -1;
    PyErr_Clear(); /* surrogates that stand alone */
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    int status =
        bytes ? digest_put_data(d, tag, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes))
              : -1;
    Py_XDECREF(bytes);
    return status;
}

int digest_put_word(digest *d, const char *word)
{
    return digest_put_data(d, 'w', word, strlen(word));
}

int digest_shorten(digest *d, size_t start)
{
    uint8_t hash[BLAKE2S_NBYTES];
    size_t nbytes = d->used - start;
    if (nbytes <= DIGEST_LONG_NBYTES)
        return 0;
    byvalue_long_digest(d->bytes + start, nbytes, hash);
    d->used = start;
    return digest_put_data(d, '#', hash, sizeof hash);
}

/* ---- containers ---- */

int digest_encode_int(digest *d, PyObject *obj)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(obj, &overflow);
    if (!overflow)
        return value == -1 && PyErr_Occurred() ? -1 : digest_put_tag(d, 'i', (uint64_t)value);
    PyObject *text = PyNumber_ToBase(obj, 16);
    int status = text ? digest_put_text(d, 'I', text) : -1;
    Py_XDECREF(text);
    return status;
}

int digest_encode_double(digest *d, char tag, double value)
{
    uint64_t bits = UINT64_C(0x7FF8000000000000);
    if (value == value)
        memcpy(&bits, &value, 8);
    return digest_put_tag(d, tag, bits);
}

int digest_encode_items(digest *d, char tag, PyObject *fast)
{
    size_t start = d->used;
    if (digest_put_tag(d, tag, (uint64_t)PySequence_Fast_GET_SIZE(fast)) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(fast, i));
        int status = digest_encode(d, item);
        Py_DECREF(item);
        if (status < 0)
            return -1;
    }
    return digest_shorten(d, start);
}

/* Puts the pieces, which lie behind 'body', in order. Frees 'pieces'. */
static int sort_pieces(digest *d, size_t start, size_t body, byvalue_piece *pieces, size_t count)
{
    int status = -1;
    size_t nbytes = d->used - body, used = 0;
    uint8_t *sorted = PyMem_Malloc(nbytes ? nbytes : 1);
    byvalue_piece *order = PyMem_New(byvalue_piece, count ? count : 1);
    if (!sorted || !order) {
        PyErr_NoMemory();
        goto done;
    }
    if (byvalue_order_pieces(d->bytes, pieces, order, count) < 0)
        goto done;
    for (size_t i = 0; i < count; i++) {
        memcpy(sorted + used, d->bytes + order[i].start, order[i].nbytes);
        used += order[i].nbytes;
    }
    memcpy(d->bytes + body, sorted, used);
    status = digest_shorten(d, start);
done:
    PyMem_Free(sorted);
    PyMem_Free(order);
    PyMem_Free(pieces);
    return status;
}

static byvalue_piece *new_pieces(Py_ssize_t count)
{
    byvalue_piece *pieces = PyMem_New(byvalue_piece, count ? count : 1);
    if (!pieces)
        PyErr_NoMemory();
    return pieces;
}

static int changed_meanwhile(byvalue_piece *pieces)
{
    PyMem_Free(pieces);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "the object changed while its digest was made");
    return -1;
}

int digest_encode_dict(digest *d, PyObject *dict)
{
    size_t start = d->used;
    Py_ssize_t count = PyDict_GET_SIZE(dict), position = 0, n = 0;
    PyObject *key, *value;
    byvalue_piece *pieces = new_pieces(count);
    if (!pieces || digest_put_tag(d, 'd', (uint64_t)count) < 0)
        return pieces ? changed_meanwhile(pieces) : -1;
    size_t body = d->used;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (n == count)
            return changed_meanwhile(pieces);
        pieces[n] = (byvalue_piece){.start = d->used, .index = (size_t)n};
        Py_INCREF(key);
        Py_INCREF(value);
        int status = digest_encode(d, key) < 0 ? -1 : digest_encode(d, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (status < 0 || PyDict_GET_SIZE(dict) != count)
            return changed_meanwhile(pieces);
        byvalue_finish_piece(&pieces[n++], d->bytes, d->used);
    }
    return sort_pieces(d, start, body, pieces, (size_t)n);
}

int digest_encode_set(digest *d, char tag, PyObject *set)
{
    size_t start = d->used;
    Py_ssize_t count = PySet_GET_SIZE(set), position = 0, n = 0;
    PyObject *item;
    byvalue_piece *pieces = new_pieces(count);
    if (!pieces || digest_put_tag(d, tag, (uint64_t)count) < 0)
        return pieces ? changed_meanwhile(pieces) : -1;
    size_t body = d->used;
    while (compat_set_next(set, &position, &item)) {
        if (n == count)
            return changed_meanwhile(pieces);
        pieces[n] = (byvalue_piece){.start = d->used, .index = (size_t)n};
        Py_INCREF(item);
        int status = digest_encode(d, item);
        Py_DECREF(item);
        if (status < 0 || PySet_GET_SIZE(set) != count)
            return changed_meanwhile(pieces);
        byvalue_finish_piece(&pieces[n++], d->bytes, d->used);
    }
    return sort_pieces(d, start, body, pieces, (size_t)n);
}
