/* memo.c - the unpickler's memo; the idea is in memo.h. */
#include "python/loader/memo.h"

#include <string.h>

void loader_memo_init(loader_memo *memo)
{
    memo->slots = memo->inline_slots;
    memo->used = 0;
    memo->capacity = LOADER_MEMO_INLINE;
    memo->count = 0;
    memo->far = NULL;
}

void loader_memo_clear(loader_memo *memo)
{
    /* Finalizers may look at the memo, or load again: empty it first, then let go. */
    PyObject *inline_slots[LOADER_MEMO_INLINE];
    PyObject **slots = memo->slots;
    size_t used = memo->used;
    PyObject *far_out = memo->far;
    if (slots == memo->inline_slots) {
        memcpy(inline_slots, slots, used * sizeof *slots);
        slots = inline_slots;
    }
    loader_memo_init(memo);
    for (size_t i = 0; i < used; i++)
        Py_XDECREF(slots[i]);
    if (slots != inline_slots)
        PyMem_Free(slots);
    Py_XDECREF(far_out);
}

static int grow(loader_memo *memo, size_t index)
{
    size_t capacity = memo->capacity * 2;
    if (capacity <= index)
        capacity = index + 1;
    PyObject **slots = memo->slots == memo->inline_slots ? NULL : memo->slots;
    slots = PyMem_Realloc(slots, capacity * sizeof *slots);
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    if (memo->slots == memo->inline_slots)
        memcpy(slots, memo->slots, memo->used * sizeof *slots);
    memo->slots = slots;
    memo->capacity = capacity;
    return 0;
}

static int put_far(loader_memo *memo, size_t index, PyObject *value)
{
    if (!memo->far && !(memo->far = PyDict_New()))
        return -1;
    PyObject *key = PyLong_FromSize_t(index);
    if (!key)
        return -1;
    /* Letting go of what was there may run Python that clears the memo. */
    PyObject *far_out = memo->far;
    Py_INCREF(far_out);
    int known = PyDict_Contains(far_out, key);
    if (known == 0)
        memo->count++;
    int status = known < 0 ? -1 : PyDict_SetItem(far_out, key, value);
    if (known == 0 && status < 0)
        memo->count--;
    Py_DECREF(far_out);
    Py_DECREF(key);
    return status;
}

/*
 * Removes an index that has come within the array's reach from the dict. '*owned' keeps what was
 * there alive, so that no Python code runs before the caller is done. 0, or -1 with an exception.
 */
static int take_far(loader_memo *memo, size_t index, PyObject **owned)
{
    PyObject *key = PyLong_FromSize_t(index);
    if (!key)
        return -1;
    int status = 0;
    *owned = PyDict_GetItemWithError(memo->far, key);
    if (*owned) {
        Py_INCREF(*owned);
        memo->count--;
        status = PyDict_DelItem(memo->far, key);
    } else if (PyErr_Occurred()) {
        status = -1;
    }
    Py_DECREF(key);
    return status;
}

int loader_memo_put(loader_memo *memo, size_t index, PyObject *value)
{
    if (index >= memo->used) {
        /* By count, not by used: else every put could double the array. */
        if (index > memo->count * 2 + LOADER_MEMO_SLACK)
            return put_far(memo, index, value);
        if (index >= memo->capacity && grow(memo, index) < 0)
            return -1;
        while (memo->used <= index)
            memo->slots[memo->used++] = NULL;
    }
    PyObject *old = memo->slots[index];
    if (!old) {
        if (memo->far && take_far(memo, index, &old) < 0)
            return -1;
        memo->count++;
    }
    Py_INCREF(value);
    memo->slots[index] = value;
    Py_XDECREF(old);
    return 0;
}

PyObject *loader_memo_get(const loader_memo *memo, size_t index)
{
    if (index < memo->used && memo->slots[index])
        return memo->slots[index];
    if (!memo->far)
        return NULL;
    PyObject *key = PyLong_FromSize_t(index);
    if (!key)
        return NULL;
    PyObject *value = PyDict_GetItemWithError(memo->far, key);
    Py_DECREF(key);
    return value;
}

PyObject *loader_memo_as_dict(const loader_memo *memo)
{
    PyObject *copy = memo->far ? PyDict_Copy(memo->far) : PyDict_New();
    for (size_t i = 0; copy && i < memo->used; i++) {
        if (!memo->slots[i])
            continue;
        PyObject *key = PyLong_FromSize_t(i);
        if (!key || PyDict_SetItem(copy, key, memo->slots[i]) < 0)
            Py_CLEAR(copy);
        Py_XDECREF(key);
    }
    return copy;
}
