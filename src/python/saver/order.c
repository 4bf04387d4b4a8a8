/*
 * order.c - the order of what has none; see stable.h.
 *
 * The key of an item is its pickle, made by a saver of its own in which nothing else has been written.
 * All keys stand in one buffer and are sorted as bytes (byvalue/pieces.h). An item whose key cannot be
 * made has an empty one: writing it will fail for the same reason, and say where.
 */
#include "python/byvalue/pieces.h"
#include "python/saver/stable.h"

#include "python/saver/engine.h"

#include <stdlib.h>

enum { KEY_DEPTH_MAX = 2 };

/* ---- keys ---- */

typedef struct keys {
    uint8_t *bytes;
    size_t used, capacity;
} keys;

static int append(keys *all, const void *data, size_t nbytes)
{
    if (all->capacity - all->used < nbytes) {
        size_t capacity = (all->used + nbytes) * 2 + 256;
        uint8_t *bytes = PyMem_Realloc(all->bytes, capacity);
        if (!bytes) {
            PyErr_NoMemory();
            return -1;
        }
        all->bytes = bytes;
        all->capacity = capacity;
    }
    if (nbytes)
        memcpy(all->bytes + all->used, data, nbytes);
    all->used += nbytes;
    return 0;
}

/* The pickle of 'item' alone, bytes; NULL with an exception set. */
static PyObject *pickle_alone(saver *s, PyObject *item)
{
    PyObject *bytes = NULL;
    saver_options options = *s->options;
    options.deterministic = options.portable = 0;
    options.buffer_callback = NULL;
    if (Py_EnterRecursiveCall(" while ordering a set"))
        return NULL;
    saver *inner = PyMem_Malloc(sizeof(*inner));
    if (!inner) {
        PyErr_NoMemory();
        Py_LeaveRecursiveCall();
        return NULL;
    }
    if (saver_init(inner, s->st, &options, NULL, NULL, NULL, NULL) == 0 &&
        saver_make_stable(inner, s) == 0 && saver_write_pickle(inner, item) == 0)
        bytes = saver_output_take_bytes(&inner->out);
    saver_end(inner);
    PyMem_Free(inner);
    Py_LeaveRecursiveCall();
    return bytes;
}

static int append_key(saver *s, keys *all, PyObject *item)
{
    Py_ssize_t nbytes;
    if (PyUnicode_CheckExact(item)) {
        const char *text = PyUnicode_AsUTF8AndSize(item, &nbytes);
        if (text)
            return append(all, "s", 1) < 0 ? -1 : append(all, text, (size_t)nbytes);
        PyErr_Clear(); /* surrogates that stand alone, or no memory, which will be missed again */
    }
    PyObject *bytes = pickle_alone(s, item);
    if (!bytes) {
        if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError) ||
            PyErr_ExceptionMatches(PyExc_RecursionError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    int status = append(all, "p", 1) < 0
                     ? -1
                     : append(all, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return status;
}

/* The keys of 'count' items, in order: in 'all' and, new, in '*sorted'. 0 or -1. */
static int make_keys(saver *s, PyObject *list, Py_ssize_t count, keys *all, byvalue_piece **sorted)
{
    int status = -1;
    byvalue_piece *pieces = PyMem_New(byvalue_piece, count ? count : 1);
    *sorted = PyMem_New(byvalue_piece, count ? count : 1);
    if (!pieces || !*sorted) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        pieces[i] = (byvalue_piece){.start = all->used, .index = (size_t)i};
        if (append_key(s, all, PyList_GET_ITEM(list, i)) < 0)
            goto done;
        byvalue_finish_piece(&pieces[i], all->bytes, all->used);
    }
    status = byvalue_order_pieces(all->bytes, pieces, *sorted, (size_t)count);
done:
    PyMem_Free(pieces);
    return status;
}

/* ---- the order ---- */

typedef struct met {
    Py_ssize_t position; /* in the memo; PY_SSIZE_T_MAX: not yet */
    Py_ssize_t index;
} met;

static int compare_met(const void *left, const void *right)
{
    const met *a = left, *b = right;
    if (a->position != b->position)
        return a->position < b->position ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

/* A new list: those in front that the dump has met, as it did. */
static PyObject *met_first(saver *s, PyObject *items)
{
    PyObject *result = NULL, *list = PySequence_List(items);
    Py_ssize_t count = list ? PyList_GET_SIZE(list) : 0;
    met *all = PyMem_New(met, count ? count : 1);
    if (!all)
        PyErr_NoMemory();
    if (list && all)
        result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        Py_ssize_t position = saver_memo_find(s->memo, PyList_GET_ITEM(list, i));
        all[i] = (met){position < 0 ? PY_SSIZE_T_MAX : position, i};
    }
    if (result) {
        qsort(all, (size_t)count, sizeof(*all), compare_met);
        for (Py_ssize_t i = 0; i < count; i++)
            PyList_SET_ITEM(result, i, Py_NewRef(PyList_GET_ITEM(list, all[i].index)));
    }
    PyMem_Free(all);
    Py_XDECREF(list);
    return result;
}

PyObject *saver_order(saver *s, PyObject *items)
{
    int fixed = PyFrozenSet_CheckExact(items) ? saver_is_value(s, items) : 0;
    if (fixed < 0)
        return NULL;
    if (fixed) {
        PyObject *known = byvalue_map_get(&s->stable->root->orders, items);
        if (known)
            return Py_NewRef(known);
    }
    PyObject *list = met_first(s, items);
    Py_ssize_t count = list ? PyList_GET_SIZE(list) : 0;
    if (count < 2)
        return list;
    int simple = s->stable->depth < KEY_DEPTH_MAX ? 1 : saver_is_value(s, items);
    if (simple <= 0) {
        Py_DECREF(list);
        return simple < 0 ? NULL : Py_BuildValue("[n]", count);
    }
    keys all = {NULL};
    byvalue_piece *sorted = NULL;
    PyObject *result = NULL;
    if (make_keys(s, list, count, &all, &sorted) == 0)
        result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++)
        PyList_SET_ITEM(result, i, Py_NewRef(PyList_GET_ITEM(list, sorted[i].index)));
    if (result && fixed && byvalue_map_put(&s->stable->root->orders, items, result) < 0)
        Py_CLEAR(result);
    PyMem_Free(all.bytes);
    PyMem_Free(sorted);
    Py_DECREF(list);
    return result;
}

/* ---- sets within keys ---- */

int saver_write_set_key(saver *s, PyObject *set)
{
    if (s->stable->depth == 0 || PySet_GET_SIZE(set) < 2)
        return 0;
    int simple = saver_is_value(s, set);
    if (simple)
        return simple < 0 ? -1 : 0;
    PyObject *list = NULL;
    keys all = {NULL};
    byvalue_piece *sorted = NULL;
    int status = -1;
    /* It may be met again within its items. The memo holds it while they run code. */
    if (saver_memoize(s, set, 0) < 0 || saver_before_python(s) < 0)
        return -1;
    Py_ssize_t count = PySet_GET_SIZE(set);
    if (saver_output_write(&s->out, &count, sizeof(count)) < 0)
        return -1;
    if (s->stable->depth >= KEY_DEPTH_MAX)
        return 1;
    list = PySequence_List(set);
    count = list ? PyList_GET_SIZE(list) : 0;
    if (!list || make_keys(s, list, count, &all, &sorted) < 0)
        goto done;
    status = 1;
    for (Py_ssize_t i = 0; i < count && status == 1; i++) {
        if (saver_output_write(&s->out, &sorted[i].nbytes, sizeof(sorted[i].nbytes)) < 0 ||
            saver_output_write(&s->out, all.bytes + sorted[i].start, sorted[i].nbytes) < 0)
            status = -1;
    }
done:
    PyMem_Free(all.bytes);
    PyMem_Free(sorted);
    Py_XDECREF(list);
    return status;
}
