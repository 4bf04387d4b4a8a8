/*
 * memo.c - the parts of the memo that are not in every object's way: growth, settling,
 * clearing. The idea and the invariant stand in memo.h.
 */
#include "python/saver/memo.h"

/* Positions are stored plus one in 32 bits. */
#define ITEMS_MAX ((Py_ssize_t)UINT32_MAX - 1)

#define PHANTOM ((PyObject *)(uintptr_t)1)

static inline PyObject *untagged(PyObject *item)
{
    return (PyObject *)((uintptr_t)item & ~(uintptr_t)1);
}

void saver_memo_init(saver_memo *memo)
{
    memo->items = memo->inline_items;
    memo->count = 0;
    memo->capacity = SAVER_MEMO_INLINE_ITEMS;
    memo->owned = 0;
    memo->settled = 0;
    memo->ids = NULL;
    memo->slots = memo->inline_slots;
    memo->slots_mask = SAVER_MEMO_INLINE_SLOTS - 1;
    memo->slots_used = 0;
    memset(memo->inline_slots, 0, sizeof(memo->inline_slots));
}

void saver_memo_clear(saver_memo *memo)
{
    PyObject *inline_items[SAVER_MEMO_INLINE_ITEMS];
    PyObject **items = memo->items;
    Py_ssize_t owned = memo->owned;
    uint32_t *slots = memo->slots == memo->inline_slots ? NULL : memo->slots;
    Py_ssize_t *ids = memo->ids;
    if (items == memo->inline_items) {
        memcpy(inline_items, items, (size_t)owned * sizeof(*items));
        items = inline_items;
    }
    saver_memo_init(memo);
    PyMem_Free(slots);
    PyMem_Free(ids);
    for (Py_ssize_t i = 0; i < owned; i++)
        Py_XDECREF(untagged(items[i]));
    if (items != inline_items)
        PyMem_Free(items);
}

int saver_memo_grow_items(saver_memo *memo)
{
    Py_ssize_t capacity = memo->capacity * 2;
    if (capacity > ITEMS_MAX)
        capacity = ITEMS_MAX;
    if (memo->count >= capacity) {
        PyErr_NoMemory();
        return -1;
    }
    if (memo->ids) {
        Py_ssize_t *ids = PyMem_Realloc(memo->ids, (size_t)capacity * sizeof(*ids));
        if (!ids) {
            PyErr_NoMemory();
            return -1;
        }
        memo->ids = ids;
    }
    size_t nbytes = (size_t)capacity * sizeof(PyObject *);
    PyObject **items = NULL;
    if (memo->items == memo->inline_items) {
        items = PyMem_Malloc(nbytes);
        if (items)
            memcpy(items, memo->inline_items, sizeof(memo->inline_items));
    } else {
        items = PyMem_Realloc(memo->items, nbytes);
    }
    if (!items) {
        PyErr_NoMemory();
        return -1;
    }
    memo->items = items;
    memo->capacity = capacity;
    return 0;
}

static void fill_slot(saver_memo *memo, Py_ssize_t position)
{
    uint32_t slot = saver_memo_hash(memo, memo->items[position]);
    while (memo->slots[slot])
        slot = (slot + 1) & memo->slots_mask;
    memo->slots[slot] = (uint32_t)position + 1;
    memo->slots_used++;
}

/* Makes room for 'entries' entries at a load of at most one half. */
static int reserve_slots(saver_memo *memo, size_t entries)
{
    size_t slot_count = (size_t)memo->slots_mask + 1;
    if (entries <= slot_count / 2)
        return 0;
    while (entries > slot_count / 2)
        slot_count *= slot_count < (1u << 16) ? 4 : 2;
    if (slot_count > (size_t)UINT32_MAX + 1) {
        PyErr_NoMemory();
        return -1;
    }
    uint32_t *slots = PyMem_Calloc(slot_count, sizeof(*slots));
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    if (memo->slots != memo->inline_slots)
        PyMem_Free(memo->slots);
    size_t in_table = memo->slots_used;
    memo->slots = slots;
    memo->slots_mask = (uint32_t)(slot_count - 1);
    memo->slots_used = 0;
    /* Tagged items are not in the table, and the newest may not be yet either. */
    for (Py_ssize_t i = 0; memo->slots_used < in_table; i++)
        if (!((uintptr_t)memo->items[i] & 1))
            fill_slot(memo, i);
    return 0;
}

int saver_memo_insert(saver_memo *memo, Py_ssize_t position)
{
    if (reserve_slots(memo, (size_t)memo->slots_used + 1) < 0)
        return -1;
    fill_slot(memo, position);
    return 0;
}

int saver_memo_settle(saver_memo *memo)
{
    /* First what cannot fail. */
    for (Py_ssize_t i = memo->owned; i < memo->count; i++)
        Py_XINCREF(untagged(memo->items[i]));
    memo->owned = memo->count;
    size_t waiting = 0;
    for (Py_ssize_t i = memo->settled; i < memo->count; i++)
        waiting += ((uintptr_t)memo->items[i] & 1) && memo->items[i] != PHANTOM;
    if (reserve_slots(memo, (size_t)memo->slots_used + waiting) < 0)
        return -1;
    for (Py_ssize_t i = memo->settled; i < memo->count; i++) {
        if (((uintptr_t)memo->items[i] & 1) && memo->items[i] != PHANTOM) {
            memo->items[i] = saver_memo_item(memo, i);
            fill_slot(memo, i);
        }
    }
    memo->settled = memo->count;
    return 0;
}

static int give_ids(saver_memo *memo)
{
    if (memo->ids)
        return 0;
    memo->ids = PyMem_Malloc((size_t)memo->capacity * sizeof(*memo->ids));
    if (!memo->ids) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < memo->count; i++)
        memo->ids[i] = i;
    return 0;
}

int saver_memo_set(saver_memo *memo, PyObject *obj, Py_ssize_t id)
{
    Py_ssize_t position = saver_memo_find(memo, obj);
    if (position < 0) {
        position = memo->count;
        if (saver_memo_put(memo, obj, 0) < 0 || saver_memo_settle(memo) < 0)
            return -1;
    }
    if (id != position && give_ids(memo) < 0)
        return -1;
    if (memo->ids)
        memo->ids[position] = id;
    return 0;
}

int saver_memo_copy(saver_memo *target, const saver_memo *source)
{
    for (Py_ssize_t i = 0; i < source->count; i++)
        if (saver_memo_set(target, saver_memo_item(source, i), saver_memo_id(source, i)) < 0)
            return -1;
    return 0;
}

void saver_memo_swap(saver_memo *a, saver_memo *b)
{
    saver_memo other = *a;
    *a = *b;
    *b = other;
    if (a->items == b->inline_items)
        a->items = a->inline_items;
    if (a->slots == b->inline_slots)
        a->slots = a->inline_slots;
    if (b->items == a->inline_items)
        b->items = b->inline_items;
    if (b->slots == a->inline_slots)
        b->slots = b->inline_slots;
}

void saver_memo_forget_borrowed(saver_memo *memo)
{
    if (memo->owned == memo->count)
        return;
    memo->count = memo->owned;
    if (memo->settled > memo->count)
        memo->settled = memo->count;
    memo->slots_used = 0;
    memset(memo->slots, 0, ((size_t)memo->slots_mask + 1) * sizeof(*memo->slots));
    for (Py_ssize_t i = 0; i < memo->count; i++)
        if (!((uintptr_t)memo->items[i] & 1))
            fill_slot(memo, i);
}

size_t saver_memo_nbytes(const saver_memo *memo)
{
    size_t nbytes = 0;
    if (memo->items != memo->inline_items)
        nbytes += (size_t)memo->capacity * sizeof(*memo->items);
    if (memo->slots != memo->inline_slots)
        nbytes += ((size_t)memo->slots_mask + 1) * sizeof(*memo->slots);
    if (memo->ids)
        nbytes += (size_t)memo->capacity * sizeof(*memo->ids);
    return nbytes;
}
