/*
 * items.c - opcodes that put items into containers.
 *
 * Exact lists, dicts and sets are filled directly. Anything else on the stack gets its items
 * through the methods that the interpreter would call. Items leave the stack before Python code
 * can run, or stay on it until it is done; either way they have an owner.
 *
 * Hashing a tuple recurses in C, once for each level and as often as a shared tuple is reached. The
 * stream chooses both, so keys are looked at first (check_key): the interpreter dies of a stack
 * overflow there.
 */
#include "python/loader/core.h"
#include "python/loader/hashes.h"

int loader_drop(loader *ld, size_t count)
{
    loader_call_begin(ld);
    while (count-- > 0)
        Py_DECREF(loader_pop(ld));
    loader_call_end(ld);
    return 0;
}

/* ---- keys ---- */

/* How many tuples hashing may visit within one key: more is a bomb, not a key. */
enum { KEY_TUPLE_COUNT = 1000000 };

/* Walks the tuples in 'key'. 0, 1: more than 'depth' levels, 2: more than *budget tuples. */
static int key_excess(PyObject *key, int depth, int *budget)
{
    if (depth == 0)
        return 1;
    if (--*budget < 0)
        return 2;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(key); i++) {
        PyObject *item = PyTuple_GET_ITEM(key, i);
        int excess = PyTuple_Check(item) ? key_excess(item, depth - 1, budget) : 0;
        if (excess)
            return excess;
    }
    return 0;
}

/* 1: hashing 'key' runs no Python code; 0: it may; -1: it must not be hashed, an exception is set. */
static int check_key(loader *ld, PyObject *key)
{
    PyTypeObject *type = Py_TYPE(key);
    if (type == &PyUnicode_Type || type == &PyLong_Type || type == &PyBytes_Type ||
        type == &PyFloat_Type)
        return 1;
    if (!PyTuple_Check(key))
        return 0;
    int budget = KEY_TUPLE_COUNT;
    switch (key_excess(key, LOADER_KEY_DEPTH, &budget)) {
    case 1:
        return loader_fail(ld,
                           "a dict key or set item is a tuple nested more than %d deep, which "
                           "cannot be hashed",
                           LOADER_KEY_DEPTH);
    case 2:
        /* Not dangerous, only endless; the strict module leaves that to the interpreter. */
        if (ld->superset)
            return loader_fail(ld,
                               "a dict key or set item repeats more than %d tuples, too many "
                               "to hash",
                               KEY_TUPLE_COUNT);
    }
    return 0;
}

/* ---- lists ---- */

int loader_op_append(loader *ld, size_t count)
{
    if ((size_t)(ld->top - ld->fence) <= count)
        return loader_fail_underflow(ld);
    if (count == 0)
        return 0;
    PyObject **items = ld->top - count;
    PyObject *list = items[-1];
    if (PyList_CheckExact(list)) {
        ld->top = items;
        return compat_list_extend(list, items, count);
    }
    PyObject *method = NULL, *result = NULL, *slice = NULL;
    int status = -1;
    loader_call_begin(ld);
    if (compat_find_attr(list, ld->st->str_extend, &method) < 0)
        goto done;
    if (method) {
        slice = PyList_New((Py_ssize_t)count);
        if (!slice)
            goto done;
        for (size_t i = 0; i < count; i++)
            PyList_SET_ITEM(slice, (Py_ssize_t)i, items[i]);
        ld->top = items;
        result = PyObject_CallOneArg(method, slice);
        status = result ? 0 : -1;
        goto done;
    }
    method = PyObject_GetAttr(list, ld->st->str_append);
    if (!method)
        goto done;
    for (size_t i = 0; i < count; i++) {
        Py_XDECREF(result);
        result = PyObject_CallOneArg(method, items[i]);
        if (!result)
            goto done;
    }
    status = 0;
done:
    Py_XDECREF(result);
    Py_XDECREF(slice);
    Py_XDECREF(method);
    loader_call_end(ld);
    loader_drop(ld, (size_t)(ld->top - items));
    return status;
}

/* ---- dicts ---- */

/* Stores 'count' / 2 pairs, which the stack keeps owning. */
static int set_pairs(loader *ld, PyObject *mapping, PyObject **items, size_t count)
{
    bool exact = PyDict_CheckExact(mapping), few = count <= 2 * LOADER_HASHED_PAIRS;
    for (size_t i = 0; i < count; i += 2) {
        PyObject *key = items[i], *value = items[i + 1];
        if (few && PyUnicode_CheckExact(key))
            loader_hash_text(ld->st, key);
        int plain = check_key(ld, key);
        if (plain < 0)
            return -1;
        int status;
        if (exact && plain) {
            status = PyDict_SetItem(mapping, key, value);
        } else {
            loader_call_begin(ld);
            status = PyObject_SetItem(mapping, key, value);
            loader_call_end(ld);
        }
        if (status < 0)
            return -1;
    }
    return 0;
}

int loader_op_setitems(loader *ld, size_t count)
{
    if ((size_t)(ld->top - ld->fence) <= count)
        return loader_fail_underflow(ld);
    if (count == 0)
        return 0;
    if (count % 2 != 0)
        return loader_fail(ld, "odd number of items for SETITEMS");
    PyObject **items = ld->top - count;
    int status = set_pairs(ld, items[-1], items, count);
    if (status < 0)
        loader_drop(ld, count); /* the exception that is set outlives finalizers */
    else
        while (ld->top > items)
            Py_DECREF(loader_pop(ld));
    return status;
}

int loader_op_dict(loader *ld, size_t count)
{
    PyObject *dict = PyDict_New();
    if (!dict)
        return -1;
    if (count % 2 != 0) {
        Py_DECREF(dict);
        return loader_fail(ld, "odd number of items for DICT");
    }
    if (set_pairs(ld, dict, ld->top - count, count) < 0) {
        Py_DECREF(dict);
        return -1;
    }
    loader_drop(ld, count);
    return loader_push(ld, dict);
}

/* ---- sets ---- */

int loader_op_additems(loader *ld, size_t count)
{
    if ((size_t)(ld->top - ld->fence) <= count)
        return loader_fail_underflow(ld);
    if (count == 0)
        return 0;
    PyObject **items = ld->top - count;
    PyObject *set = items[-1], *method = NULL;
    int status = 0;
    if (!PySet_Check(set)) {
        loader_call_begin(ld);
        method = PyObject_GetAttr(set, ld->st->str_add);
        loader_call_end(ld);
        if (!method)
            return -1;
    }
    for (size_t i = 0; status == 0 && i < count; i++) {
        int plain = check_key(ld, items[i]);
        if (plain < 0) {
            status = -1;
        } else if (plain && !method) {
            status = PySet_Add(set, items[i]);
        } else {
            loader_call_begin(ld);
            if (method) {
                PyObject *result = PyObject_CallOneArg(method, items[i]);
                Py_XDECREF(result);
                status = result ? 0 : -1;
            } else {
                status = PySet_Add(set, items[i]);
            }
            loader_call_end(ld);
        }
    }
    Py_XDECREF(method);
    loader_drop(ld, count);
    return status;
}

int loader_op_frozenset(loader *ld, size_t count)
{
    PyObject **items = ld->top - count;
    PyObject *tuple = PyTuple_New((Py_ssize_t)count), *set = NULL;
    if (!tuple)
        return -1;
    for (size_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, items[i]);
    ld->top = items;
    size_t checked = 0;
    while (checked < count && check_key(ld, items[checked]) >= 0)
        checked++;
    loader_call_begin(ld);
    if (checked == count)
        set = PyFrozenSet_New(tuple);
    Py_DECREF(tuple);
    loader_call_end(ld);
    return set ? loader_push(ld, set) : -1;
}
