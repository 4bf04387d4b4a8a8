/* atoms.h - numbers, text and time zones. See compat.h. */
#ifndef ACHAR_PYTHON_COMPAT_ATOMS_H
#define ACHAR_PYTHON_COMPAT_ATOMS_H

#include "python/compat/version.h"

/*
 * compat_small_int() reads an exact int of one digit (30 bits and a sign); 0 if it has more.
 */
static inline int compat_small_int(PyObject *obj, long *value)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)obj))
        return 0;
    *value = (long)PyUnstable_Long_CompactValue((PyLongObject *)obj);
    return 1;
#else
    Py_ssize_t size = Py_SIZE(obj);
    if (size < -1 || size > 1)
        return 0;
    *value = size == 0 ? 0 : size * (long)((PyLongObject *)obj)->ob_digit[0];
    return 1;
#endif
}

/* The same up to 60 bits and a sign. */
static inline int compat_medium_int(PyObject *obj, int64_t *value)
{
#if PY_VERSION_HEX >= 0x030E0000 || PYLONG_BITS_IN_DIGIT != 30
    long small;
    int is_small = compat_small_int(obj, &small);
    *value = small;
    return is_small;
#else
#if PY_VERSION_HEX >= 0x030C0000
    const struct _PyLongValue *number = &((PyLongObject *)obj)->long_value;
    size_t digits = number->lv_tag >> 3;
    int64_t sign = 1 - (int64_t)(number->lv_tag & 3);
#else
    const PyLongObject *number = (PyLongObject *)obj;
    size_t digits = (size_t)Py_ABS(Py_SIZE(obj));
    int64_t sign = Py_SIZE(obj) < 0 ? -1 : 1;
#endif
    if (digits > 2)
        return 0;
    uint64_t magnitude = digits > 0 ? number->ob_digit[0] : 0;
    if (digits == 2)
        magnitude |= (uint64_t)number->ob_digit[1] << 30;
    *value = sign * (int64_t)magnitude;
    return 1;
#endif
}

/* An upper bound of how many bytes an int needs in two's complement; -1 with an exception set. */
static inline Py_ssize_t compat_int_nbytes(PyObject *obj)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(obj, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    size_t bits = _PyLong_NumBits(obj);
    if (bits == (size_t)-1 && PyErr_Occurred())
        return -1;
    return (Py_ssize_t)(bits / 8 + 1);
#endif
}

/* Writes an int into 'nbytes' bytes (as many as compat_int_nbytes() said), little-endian. 0 or -1. */
static inline int compat_int_bytes(PyObject *obj, unsigned char *bytes, Py_ssize_t nbytes)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(obj, bytes, nbytes, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0 ? -1 : 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)obj, bytes, (size_t)nbytes, 1, 1);
#endif
}

/* int.from_bytes(bytes, "little", signed=True) */
static inline PyObject *compat_long_from_bytes(const uint8_t *bytes, size_t nbytes)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(bytes, nbytes, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, nbytes, 1, 1);
#endif
}

/* The UTF-8 that a str carries with it, without making it; NULL if it has none. */
static inline const char *compat_str_utf8(PyObject *str, Py_ssize_t *nbytes)
{
    if (PyUnicode_IS_COMPACT_ASCII(str)) {
        *nbytes = PyUnicode_GET_LENGTH(str);
        return (const char *)PyUnicode_1BYTE_DATA(str);
    }
#ifndef Py_GIL_DISABLED
    const PyCompactUnicodeObject *compact = (const PyCompactUnicodeObject *)str;
    *nbytes = compact->utf8_length;
    return compact->utf8;
#else
    return NULL;
#endif
}

/* Makes sure that the str's characters can be read with PyUnicode_DATA(). 0 or -1. */
static inline int compat_str_ready(PyObject *str)
{
#if PY_VERSION_HEX < 0x030C0000
    return PyUnicode_READY(str);
#else
    (void)str;
    return 0;
#endif
}

/*
 * An ASCII str of 'nbytes' > 1 characters, to be filled by the caller; the NUL behind them is there.
 * What PyUnicode_New(nbytes, 127) returns. NULL with MemoryError set.
 */
static inline PyObject *compat_ascii_new(size_t nbytes, uint8_t **characters)
{
#if COMPAT_INSIDES && !defined(Py_DEBUG) && !defined(Py_TRACE_REFS)
    PyASCIIObject *text = PyObject_Malloc(sizeof *text + nbytes + 1);
    if (!text)
        return PyErr_NoMemory();
    memset(text, 0, sizeof *text);
    text->ob_base.ob_refcnt = 1;
    text->ob_base.ob_type = &PyUnicode_Type;
    text->length = (Py_ssize_t)nbytes;
    text->hash = -1;
    text->state.kind = PyUnicode_1BYTE_KIND;
    text->state.compact = 1;
    text->state.ascii = 1;
#if PY_VERSION_HEX < 0x030C0000
    text->state.ready = 1;
#endif
    *characters = (uint8_t *)(text + 1);
    (*characters)[nbytes] = 0;
    return (PyObject *)text;
#else
    PyObject *text = PyUnicode_New((Py_ssize_t)nbytes, 127);
    if (text)
        *characters = PyUnicode_1BYTE_DATA(text);
    return text;
#endif
}

/* Where a str keeps its hash, -1 if it is not known yet; NULL: nobody may set it but the interpreter. */
static inline Py_hash_t *compat_text_hash(PyObject *text)
{
#if COMPAT_INSIDES
    return &((PyASCIIObject *)text)->hash;
#else
    (void)text;
    return NULL;
#endif
}

/*
 * compat_timezone_parts() reads a datetime.timezone, an exact one: its offset, and its name or NULL.
 * Borrowed. Only where compat_knows_timezone(), asked with that type; else its methods must be.
 */
typedef struct compat_timezone {
    PyObject_HEAD PyObject *offset;
    PyObject *name;
} compat_timezone;

static inline int compat_knows_timezone(PyTypeObject *type)
{
    return PY_VERSION_HEX < 0x030E0000 && type->tp_basicsize == sizeof(compat_timezone);
}

static inline void compat_timezone_parts(PyObject *obj, PyObject **offset, PyObject **name)
{
    *offset = ((compat_timezone *)obj)->offset;
    *name = ((compat_timezone *)obj)->name;
}

/*
 * compat_is_interned() is 1 for a str of which the interpreter keeps but one with this text. Of single
 * characters it may have two.
 */
static inline int compat_is_interned(PyObject *obj)
{
    return PyUnicode_CheckExact(obj) && PyUnicode_CHECK_INTERNED(obj) &&
           PyUnicode_GET_LENGTH(obj) > 1;
}

#endif
