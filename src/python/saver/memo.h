/*
 * memo.h - which objects a pickle holds already, and under which number.
 *
 * Objects stand in 'items' in the order in which they were written. A small open-addressing table
 * of positions finds them by address:
 *
 *     slots:  [ 0 | 3 | 0 | 1 | ... ]        position + 1; 0: empty
 *     items:  [ list | str* | dict | ... ]   * an object that is not in the table (tagged)
 *             '--- owned ---'
 *
 * Two things are put off until someone could notice, which is when Python code may run:
 *  - References. Until then all that was written is kept alive by what the caller holds.
 *  - Table entries of objects that only their container refers to. Nothing can lead to such an
 *    object a second time, so nobody will look for it; but a callback can take it out of its
 *    container and hand it back.
 * saver_memo_settle() catches up on both. Invariant: after it, items[0 .. count) are owned and in
 * the table. Everything that can run Python code, free an object or let other threads in comes
 * after a settle; saver_before_python() in engine.h is the way to say so.
 *
 * A phantom takes a number for an object that only the stream makes. It stays tagged: 1 in 'items'.
 * A Pickler's memo, which programs can see, has none.
 *
 * An object's number is its position, unless a program has set a Pickler's memo itself: then 'ids'
 * holds the numbers.
 */
#ifndef ACHAR_PYTHON_SAVER_MEMO_H
#define ACHAR_PYTHON_SAVER_MEMO_H

#include "base/memory.h"
#include "python/compat.h"

enum {
    SAVER_MEMO_INLINE_ITEMS = SIZE_OR_TINY(32, 1),
    SAVER_MEMO_INLINE_SLOTS = SIZE_OR_TINY(64, 4)
};

typedef struct saver_memo {
    PyObject **items;
    Py_ssize_t count;
    Py_ssize_t capacity;
    Py_ssize_t owned;   /* items[0 .. owned) hold references */
    Py_ssize_t settled; /* items[0 .. settled) are all in the table */
    Py_ssize_t *ids;    /* NULL: an object's number is its position; else as large as items */
    uint32_t *slots;
    uint32_t slots_mask; /* number of slots - 1 */
    uint32_t slots_used;
    PyObject *inline_items[SAVER_MEMO_INLINE_ITEMS];
    uint32_t inline_slots[SAVER_MEMO_INLINE_SLOTS];
} saver_memo;

/* An empty memo; it must not move in memory from here on. Allocates nothing. */
void saver_memo_init(saver_memo *memo);

/* Forgets everything and gives the memory back. Dropping the references may run Python code, which
 * finds an empty memo. */
void saver_memo_clear(saver_memo *memo);

/*
 * Catches up on references and table entries (see above). 0, or -1 with MemoryError set; then all
 * references are taken, entries are missing, and it can be called again. Runs no Python code.
 */
int saver_memo_settle(saver_memo *memo);

/* The rare halves of the functions below. */
int saver_memo_grow_items(saver_memo *memo);
int saver_memo_insert(saver_memo *memo, Py_ssize_t position);

/* Puts 'obj' with a number of the caller's choice, replacing an earlier one; takes a reference. */
int saver_memo_set(saver_memo *memo, PyObject *obj, Py_ssize_t id);

/* Makes 'target', which is empty, hold the same as 'source', which is settled. 0 or -1. */
int saver_memo_copy(saver_memo *target, const saver_memo *source);

/* Exchanges two memos. */
void saver_memo_swap(saver_memo *a, saver_memo *b);

/* After a failed dump: takes out what the memo only borrows. */
void saver_memo_forget_borrowed(saver_memo *memo);

/* Bytes held outside the struct. */
size_t saver_memo_nbytes(const saver_memo *memo);

static inline int saver_memo_settled(const saver_memo *memo)
{
    return memo->owned == memo->count && memo->settled == memo->count;
}

static inline uint32_t saver_memo_hash(const saver_memo *memo, PyObject *obj)
{
    /* Fibonacci hashing: the high half of the product is the well-mixed one. */
    uint64_t mixed = ((uint64_t)(uintptr_t)obj >> 4) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> 32) & memo->slots_mask;
}

/* The position of 'obj'; -1 if it is not in the table, and '*slot' is where it belongs. */
static inline Py_ssize_t saver_memo_find_slot(const saver_memo *memo, PyObject *obj, uint32_t *slot)
{
    uint32_t here = saver_memo_hash(memo, obj);
    for (;;) {
        uint32_t entry = memo->slots[here];
        if (entry == 0) {
            *slot = here;
            return -1;
        }
        if (memo->items[entry - 1] == obj)
            return (Py_ssize_t)entry - 1;
        here = (here + 1) & memo->slots_mask;
    }
}

static inline Py_ssize_t saver_memo_find(const saver_memo *memo, PyObject *obj)
{
    uint32_t slot;
    return saver_memo_find_slot(memo, obj, &slot);
}

static inline Py_ssize_t saver_memo_id(const saver_memo *memo, Py_ssize_t position)
{
    return memo->ids ? memo->ids[position] : position;
}

/* The object at a position, whether in the table or not. Borrowed; NULL: a phantom. */
static inline PyObject *saver_memo_item(const saver_memo *memo, Py_ssize_t position)
{
    return (PyObject *)((uintptr_t)memo->items[position] & ~(uintptr_t)1);
}

/*
 * saver_memo_put() appends an object; its number is the old count. 'unique': only its container
 * refers to it, so that its table entry can wait. An object that callbacks had written meanwhile
 * may stand here twice; either number leads to it. 0 or -1.
 */
static inline int saver_memo_put(saver_memo *memo, PyObject *obj, int unique)
{
    if (memo->count == memo->capacity && saver_memo_grow_items(memo) < 0)
        return -1;
    Py_ssize_t position = memo->count;
    if (memo->ids)
        memo->ids[position] = position;
    if (unique) {
        memo->items[position] = (PyObject *)((uintptr_t)obj | 1);
        memo->count = position + 1;
        return 0;
    }
    memo->items[position] = obj;
    memo->count = position + 1;
    if (saver_memo_insert(memo, position) < 0) {
        memo->count = position;
        return -1;
    }
    if (memo->settled == position)
        memo->settled = position + 1;
    return 0;
}

/* saver_memo_put() of an object that was looked for and is not there, just before, at 'slot'. */
static inline int saver_memo_put_at(saver_memo *memo, PyObject *obj, uint32_t slot)
{
    Py_ssize_t position = memo->count;
    if (position == memo->capacity || memo->ids ||
        memo->slots_used + (size_t)1 > ((size_t)memo->slots_mask + 1) / 2)
        return saver_memo_put(memo, obj, 0);
    memo->items[position] = obj;
    memo->count = position + 1;
    memo->slots[slot] = (uint32_t)position + 1;
    memo->slots_used++;
    if (memo->settled == position)
        memo->settled = position + 1;
    return 0;
}

static inline int saver_memo_put_phantom(saver_memo *memo)
{
    return saver_memo_put(memo, NULL, 1);
}

#endif
