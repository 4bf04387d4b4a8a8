/*
 * marshal.c - code objects as bytes that show nothing but the code.
 *
 * Version 2 of marshal's format knows neither references nor interned text, so sharing and interning
 * do not show. What is left is the order of frozensets among the constants: from 3.11 on marshal sorts
 * them itself. For 3.10 they are sorted here, in what marshal wrote.
 */
#include "python/byvalue/internal.h"

#include <marshal.h>
#include <stdlib.h>

enum { MARSHAL_VERSION_WITHOUT_REFERENCES = 2 };

#if PY_VERSION_HEX < 0x030B0000

enum { NESTING_MAX = 2000 }; /* marshal's own */

typedef struct span {
    const unsigned char *at;
    size_t nbytes;
} span;

static int compare_spans(const void *left, const void *right)
{
    const span *a = left, *b = right;
    int order = memcmp(a->at, b->at, a->nbytes < b->nbytes ? a->nbytes : b->nbytes);
    return order ? order : (a->nbytes > b->nbytes) - (a->nbytes < b->nbytes);
}

static size_t read_u32(const unsigned char *at)
{
    return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
}

static unsigned char *skip_sorted(unsigned char *at, int depth);

/* 'count' values at 'at', in sorted order afterwards; what is behind them, or NULL. */
static unsigned char *sort_values(unsigned char *at, size_t count, int depth)
{
    unsigned char *start = at, *sorted = NULL, *out;
    span *spans = PyMem_New(span, count ? count : 1);
    if (!spans)
        goto no_memory;
    for (size_t i = 0; i < count; i++) {
        spans[i].at = at;
        if (!(at = skip_sorted(at, depth)))
            goto done;
        spans[i].nbytes = (size_t)(at - spans[i].at);
    }
    sorted = out = PyMem_Malloc((size_t)(at - start) + 1);
    if (!sorted)
        goto no_memory;
    qsort(spans, count, sizeof(*spans), compare_spans);
    for (size_t i = 0; i < count; i++) {
        memcpy(out, spans[i].at, spans[i].nbytes);
        out += spans[i].nbytes;
    }
    memcpy(start, sorted, (size_t)(out - sorted));
    goto done;
no_memory:
    PyErr_NoMemory();
    at = NULL;
done:
    PyMem_Free(spans);
    PyMem_Free(sorted);
    return at;
}

static unsigned char *skip_values(unsigned char *at, size_t count, int depth)
{
    for (size_t i = 0; at && i < count; i++)
        at = skip_sorted(at, depth);
    return at;
}

/* What is behind the value at 'at', whose frozensets are sorted then; NULL with an exception set. */
static unsigned char *skip_sorted(unsigned char *at, int depth)
{
    if (depth > NESTING_MAX) {
        PyErr_SetString(PyExc_ValueError, "object too deeply nested to marshal");
        return NULL;
    }
    unsigned char type = *at++;
    switch (type) {
    case 'N':
    case 'F':
    case 'T':
    case 'S':
    case '.':
        return at;
    case 'i':
        return at + 4;
    case 'l': { /* digits of 15 bits; the sign is that of their number */
        int32_t digits = (int32_t)read_u32(at);
        return at + 4 + 2 * (size_t)(digits < 0 ? -(int64_t)digits : digits);
    }
    case 'g':
        return at + 8;
    case 'y':
        return at + 16;
    case 's':
    case 'u':
        return at + 4 + read_u32(at);
    case '(':
        return skip_values(at + 4, read_u32(at), depth + 1);
    case '>':
        return sort_values(at + 4, read_u32(at), depth + 1);
    case 'c': /* argcount, posonlyargcount, kwonlyargcount, nlocals, stacksize, flags; code, consts,
                 names, varnames, freevars, cellvars, filename, name; firstlineno; lnotab */
        at = skip_values(at + 24, 8, depth + 1);
        return at ? skip_values(at + 4, 1, depth + 1) : NULL;
    default:
        PyErr_Format(PyExc_SystemError, "marshal wrote a value of an unknown type (%d)", type);
        return NULL;
    }
}

#endif

PyObject *byvalue_stable_marshal(PyCodeObject *code)
{
    PyObject *bytes =
        PyMarshal_WriteObjectToString((PyObject *)code, MARSHAL_VERSION_WITHOUT_REFERENCES);
#if PY_VERSION_HEX < 0x030B0000
    if (bytes && !skip_sorted((unsigned char *)PyBytes_AS_STRING(bytes), 0))
        Py_CLEAR(bytes);
#endif
    return bytes;
}
