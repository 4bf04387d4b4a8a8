/*
 * stable.c - values without identity; see stable.h.
 *
 * A tuple or frozenset is found by a key: a tuple or frozenset of what its items are, where an int is
 * (int,), a float its eight bytes, and anything else the address of the object that stands for it.
 * That address says which value it is, for a value; and which object, for an object. All objects whose
 * addresses are in keys are kept alive, by the tables themselves or by the tuples in 'known'.
 *
 * Below VALUE_DEPTH_MAX levels of tuples a tuple is itself: nobody will notice, and the C stack ends.
 */
#include "python/saver/stable.h"

#include "python/saver/engine.h"

enum { VALUE_DEPTH_MAX = 200 };

saver_stable *saver_stable_new(saver_stable *outer)
{
    saver_stable *stable = PyMem_Calloc(1, sizeof(*stable));
    if (!stable) {
        PyErr_NoMemory();
        return NULL;
    }
    stable->root = outer ? outer->root : stable;
    stable->depth = outer ? outer->depth + 1 : 0;
    stable->texts = PyDict_New();
    stable->bytes = PyDict_New();
    stable->keys = PyDict_New();
    if (!stable->texts || !stable->bytes || !stable->keys) {
        saver_stable_free(stable);
        return NULL;
    }
    return stable;
}

void saver_stable_free(saver_stable *stable)
{
    if (!stable)
        return;
    Py_XDECREF(stable->texts);
    Py_XDECREF(stable->bytes);
    Py_XDECREF(stable->keys);
    byvalue_map_clear(&stable->known);
    byvalue_map_clear(&stable->orders);
    byvalue_map_clear(&stable->values);
    PyMem_Free(stable);
}

static PyObject *first_of_value(saver_stable *stable, PyObject *obj, int depth);

/* What a tuple's key has for this item, a new reference. */
static PyObject *part_of_key(saver_stable *stable, PyObject *item, int depth)
{
    if (PyLong_CheckExact(item))
        return PyTuple_Pack(1, item);
    if (PyFloat_CheckExact(item)) {
        double value = PyFloat_AS_DOUBLE(item);
        return PyBytes_FromStringAndSize((const char *)&value, sizeof(value));
    }
    PyObject *first = first_of_value(stable, item, depth + 1);
    return first ? PyLong_FromVoidPtr(first) : NULL;
}

static PyObject *key_of_tuple(saver_stable *stable, PyObject *tuple, int depth)
{
    PyObject *key = PyTuple_New(PyTuple_GET_SIZE(tuple));
    for (Py_ssize_t i = 0; key && i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *part = part_of_key(stable, PyTuple_GET_ITEM(tuple, i), depth);
        if (part)
            PyTuple_SET_ITEM(key, i, part);
        else
            Py_CLEAR(key);
    }
    return key;
}

static PyObject *key_of_frozenset(saver_stable *stable, PyObject *set, int depth)
{
    PyObject *item, *key = NULL, *parts = PyList_New(0);
    Py_ssize_t position = 0;
    while (parts && compat_set_next(set, &position, &item)) {
        PyObject *part = part_of_key(stable, item, depth);
        if (!part || PyList_Append(parts, part) < 0)
            Py_CLEAR(parts);
        Py_XDECREF(part);
    }
    if (parts)
        key = PyFrozenSet_New(parts);
    Py_XDECREF(parts);
    return key;
}

static PyObject *key_of_complex(PyObject *obj)
{
    Py_complex value = PyComplex_AsCComplex(obj);
    return PyBytes_FromStringAndSize((const char *)&value, sizeof(value));
}

/* The first 'value' for that key, borrowed. Not PyDict_SetDefault(): 3.13.0's counts an entry that it had
 * no memory for, and writes beyond the table later. */
static PyObject *first_for(PyObject *table, PyObject *key, PyObject *value)
{
    PyObject *first = PyDict_GetItemWithError(table, key);
    if (!first && !PyErr_Occurred() && PyDict_SetItem(table, key, value) == 0)
        first = value;
    return first;
}

/* Borrowed from the tables, or 'obj' itself, which the caller holds; NULL: MemoryError. */
static PyObject *first_of_value(saver_stable *stable, PyObject *obj, int depth)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyUnicode_Type)
        return first_for(stable->texts, obj, obj);
    if (type == &PyBytes_Type)
        return first_for(stable->bytes, obj, obj);
    int is_tuple = type == &PyTuple_Type && PyTuple_GET_SIZE(obj) > 0;
    if (!is_tuple && type != &PyFrozenSet_Type && type != &PyComplex_Type)
        return obj;
    PyObject *first = byvalue_map_get(&stable->known, obj);
    if (first || depth > VALUE_DEPTH_MAX)
        return first ? first : obj;
    PyObject *key = is_tuple                  ? key_of_tuple(stable, obj, depth)
                    : type == &PyComplex_Type ? key_of_complex(obj)
                                              : key_of_frozenset(stable, obj, depth);
    if (!key)
        return NULL;
    first = first_for(stable->keys, key, obj);
    Py_DECREF(key);
    return first && byvalue_map_put(&stable->known, obj, first) == 0 ? first : NULL;
}

PyObject *saver_stable_value(saver *s, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type != &PyUnicode_Type && type != &PyBytes_Type && type != &PyTuple_Type &&
        type != &PyFrozenSet_Type && type != &PyComplex_Type)
        return obj;
    if (saver_before_python(s) < 0)
        return NULL;
    Py_INCREF(obj);
    PyObject *first = first_of_value(s->stable, obj, 0);
    Py_DECREF(obj); /* the tables have it; the one empty tuple is the interpreter's */
    return first;
}

static int is_atom(PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type ||
           type == &PyBytes_Type || type == &PyBool_Type || type == &PyComplex_Type ||
           obj == Py_None || obj == Py_Ellipsis || obj == Py_NotImplemented;
}

static int is_value(byvalue_map *values, PyObject *obj, int depth);

static int are_values(byvalue_map *values, PyObject *set, int depth)
{
    PyObject *item;
    Py_ssize_t position = 0;
    int value = 1;
    while (value > 0 && compat_set_next(set, &position, &item))
        value = is_value(values, item, depth);
    return value;
}

/* Without 'values' this would take 2**n steps where each of n levels refers twice to the next. */
static int is_value(byvalue_map *values, PyObject *obj, int depth)
{
    int value = 1;
    if (is_atom(obj))
        return 1;
    if (!PyTuple_CheckExact(obj) && !PyFrozenSet_CheckExact(obj))
        return 0;
    if (byvalue_map_get(values, obj))
        return 1;
    if (depth > VALUE_DEPTH_MAX)
        return 0;
    if (PyFrozenSet_CheckExact(obj))
        value = are_values(values, obj, depth + 1);
    else
        for (Py_ssize_t i = 0; value > 0 && i < PyTuple_GET_SIZE(obj); i++)
            value = is_value(values, PyTuple_GET_ITEM(obj, i), depth + 1);
    return value > 0 && byvalue_map_put(values, obj, obj) < 0 ? -1 : value;
}

int saver_is_value(saver *s, PyObject *obj)
{
    byvalue_map *values = &s->stable->root->values;
    return PyAnySet_Check(obj) ? are_values(values, obj, 1) : is_value(values, obj, 0);
}
