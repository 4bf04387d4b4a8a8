/* memo.c - the unpickler's memo; the idea is in memo.h. */
#include "python/loader/memo.h"

#include <string.h>

void loader_memo_init(loader_memo *memo)
{
    memo->slots = memo->inline_slots;
    memo->filled = 0;
    memo->used = 0;
    memo->capacity = LOADER_MEMO_INLINE;
    memo->gaps = 0;
    memo->far = NULL;
    memo->planning = false;
    memo->unwanted_from = SIZE_MAX;
    memo->planned_from = memo->planned_to = 0;
    memo->fetched = memo->inline_fetched;
}

void loader_memo_clear(loader_memo *memo)
{
    if (memo->used == 0 && !memo->far && memo->fetched == memo->inline_fetched)
        return;
    /* Finalizers may look at the memo, or load again: empty it first, then let go. */
    PyObject *inline_slots[LOADER_MEMO_INLINE];
    PyObject **slots = memo->slots;
    size_t filled = memo->filled;
    PyObject *far_out = memo->far;
    if (memo->fetched != memo->inline_fetched)
        PyMem_Free(memo->fetched);
    if (slots == memo->inline_slots) {
        memcpy(inline_slots, slots, filled * sizeof *slots);
        slots = inline_slots;
    }
    loader_memo_init(memo);
    for (size_t i = 0; i < filled; i++)
        Py_XDECREF(slots[i]);
    if (slots != inline_slots)
        PyMem_Free(slots);
    Py_XDECREF(far_out);
}

void loader_memo_end(loader_memo *memo)
{
    for (size_t i = 0; i < memo->filled; i++)
        Py_XDECREF(memo->slots[i]);
    if (memo->slots != memo->inline_slots)
        PyMem_Free(memo->slots);
    if (memo->fetched != memo->inline_fetched)
        PyMem_Free(memo->fetched);
    Py_XDECREF(memo->far);
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
        memcpy(slots, memo->slots, memo->filled * sizeof *slots);
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
        memo->gaps--;
    int status = known < 0 ? -1 : PyDict_SetItem(far_out, key, value);
    if (known == 0 && status < 0)
        memo->gaps++;
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
        memo->gaps++;
        status = PyDict_DelItem(memo->far, key);
    } else if (PyErr_Occurred()) {
        status = -1;
    }
    Py_DECREF(key);
    return status;
}

int loader_memo_put(loader_memo *memo, size_t index, PyObject *value)
{
    if (index != memo->used)
        loader_memo_plan_end(memo);
    if (index >= memo->used) {
        /* By count, not by used: else every put could double the array. */
        if (index > loader_memo_count(memo) * 2 + LOADER_MEMO_SLACK)
            return put_far(memo, index, value);
        if (index >= memo->capacity && grow(memo, index) < 0)
            return -1;
        memo->gaps += index + 1 - memo->used;
        memo->used = index + 1;
    }
    if (memo->filled < memo->used) { /* all of it: the plan left it out, or it is a hole */
        if (memo->used > memo->capacity && grow(memo, memo->used - 1) < 0)
            return -1;
        memset(memo->slots + memo->filled, 0, (memo->used - memo->filled) * sizeof value);
        memo->filled = memo->used;
    }
    PyObject *old = memo->slots[index];
    if (!old && !(index >= memo->planned_from && index < memo->planned_to)) {
        if (memo->far && take_far(memo, index, &old) < 0)
            return -1;
        memo->gaps--;
    }
    Py_INCREF(value);
    memo->slots[index] = value;
    Py_XDECREF(old);
    return 0;
}

PyObject *loader_memo_get(const loader_memo *memo, size_t index)
{
    if (index < memo->filled && memo->slots[index])
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
    /* Held: a new dict can set off the garbage collector, and that loader_memo_clear(). */
    PyObject *far_out = Py_XNewRef(memo->far);
    PyObject *copy = far_out ? PyDict_Copy(far_out) : PyDict_New();
    Py_XDECREF(far_out);
    for (size_t i = 0; copy && i < memo->filled; i++) {
        if (!memo->slots[i])
            continue;
        PyObject *key = PyLong_FromSize_t(i);
        if (!key || PyDict_SetItem(copy, key, memo->slots[i]) < 0)
            Py_CLEAR(copy);
        Py_XDECREF(key);
    }
    return copy;
}

/* ---- the plan ---- */

void loader_memo_plan_begin(loader_memo *memo, size_t known)
{
    memo->planning = true;
    memo->planned_from = memo->used;
    memo->fetched_count = memo->unwanted_from = LOADER_MEMO_INLINE_FETCHED;
    memset(memo->inline_fetched, 0, sizeof memo->inline_fetched);
    for (size_t i = 0; i < known / 64; i++)
        memo->inline_fetched[i] = UINT64_MAX;
}

bool loader_memo_plan_fetch(loader_memo *memo, size_t index)
{
    if (index >= memo->fetched_count) {
        size_t count = index + 1 > 2 * memo->fetched_count ? index + 1 : 2 * memo->fetched_count;
        size_t words_count = (count + 63) / 64, old_count = memo->fetched_count / 64;
        uint64_t *words = memo->fetched == memo->inline_fetched ? NULL : memo->fetched;
        words = PyMem_Realloc(words, words_count * sizeof *words);
        if (!words)
            return false;
        if (memo->fetched == memo->inline_fetched)
            memcpy(words, memo->fetched, old_count * sizeof *words);
        memset(words + old_count, 0, (words_count - old_count) * sizeof *words);
        memo->fetched = words;
        memo->fetched_count = memo->unwanted_from = words_count * 64;
    }
    memo->fetched[index / 64] |= UINT64_C(1) << index % 64;
    return true;
}

void loader_memo_plan_end(loader_memo *memo)
{
    if (memo->planning)
        memo->planned_to = memo->used;
    memo->planning = false;
    memo->unwanted_from = SIZE_MAX;
}
