/* leaf.c - the smallest objects in a few bytes; see leaf.h. */
#include "python/executor/leaf.h"
#include "python/compat.h"
#include <string.h>

enum { LEAF_TEXT_NBYTES_MAX = 255 };

static size_t write_number(char tag, const void *value, char *at)
{
    at[0] = tag;
    memcpy(at + 1, value, 8);
    return 9;
}

static size_t write_text(char tag, const char *text, Py_ssize_t nbytes, char *at)
{
    if (nbytes > LEAF_TEXT_NBYTES_MAX)
        return 0;
    at[0] = tag;
    at[1] = (char)nbytes;
    memcpy(at + 2, text, (size_t)nbytes);
    return (size_t)nbytes + 2;
}

size_t wire_leaf_write(PyObject *object, char *at)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyLong_Type) {
        int64_t value;
        return compat_medium_int(object, &value) ? write_number('i', &value, at) : 0;
    }
    if (type == &PyFloat_Type) {
        double value = PyFloat_AS_DOUBLE(object);
        return write_number('d', &value, at);
    }
    if (type == &PyUnicode_Type && compat_str_ready(object) && PyUnicode_IS_COMPACT_ASCII(object))
        return write_text('s', PyUnicode_DATA(object), PyUnicode_GET_LENGTH(object), at);
    if (type == &PyBytes_Type)
        return write_text('b', PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object), at);
    if (object == Py_None || object == Py_True || object == Py_False) {
        at[0] = object == Py_None ? 'N' : object == Py_True ? 'T' : 'F';
        return 1;
    }
    return 0;
}

PyObject *wire_leaf_read(const char *at, size_t nbytes)
{
    int64_t integer;
    double real;
    size_t text_nbytes = nbytes > 1 ? (unsigned char)at[1] : 0;
    switch (nbytes ? at[0] : 0) {
    case 'N':
        return Py_NewRef(Py_None);
    case 'T':
        return Py_NewRef(Py_True);
    case 'F':
        return Py_NewRef(Py_False);
    case 'i':
        if (nbytes != 9)
            break;
        memcpy(&integer, at + 1, 8);
        return PyLong_FromLongLong(integer);
    case 'd':
        if (nbytes != 9)
            break;
        memcpy(&real, at + 1, 8);
        return PyFloat_FromDouble(real);
    case 's':
        if (nbytes != text_nbytes + 2)
            break;
        return PyUnicode_DecodeASCII(at + 2, (Py_ssize_t)text_nbytes, NULL);
    case 'b':
        if (nbytes != text_nbytes + 2)
            break;
        return PyBytes_FromStringAndSize(at + 2, (Py_ssize_t)text_nbytes);
    }
    PyErr_SetString(PyExc_SystemError,
                    "a record of a worker's is damaged: something wrote into shared memory");
    return NULL;
}
