/*
 * memo.h - the unpickler's memo: index to object.
 *
 * Picklers number from 0 without gaps, so the memo is an array that grows at its end. An index far
 * beyond the end (hostile, or edited by hand) goes into a dict instead: seven bytes of LONG_BINPUT
 * must not allocate gigabytes.
 *
 * Invariant: an index is in at most one of the two; used - gaps is the number of indexes in use,
 * which is MEMOIZE's next index. Without a dict, gaps is how many holes the array has.
 *
 * A plan (plan.c) says which indexes are fetched. It begins in that state; the indexes from
 * planned_from to planned_to are in use then, whether they hold an object or were skipped. It ends
 * with the first index that is not the next one: from then on everything is kept again.
 */
#ifndef ACHAR_PYTHON_LOADER_MEMO_H
#define ACHAR_PYTHON_LOADER_MEMO_H

#include "base/memory.h"
#include "python/state.h"

#include <stdint.h>

enum {
    LOADER_MEMO_INLINE = SIZE_OR_TINY(64, 1), /* entries */
    /* An index may lie this far beyond twice the array's end before it counts as far out. */
    LOADER_MEMO_SLACK = SIZE_OR_TINY(1024, 1),
    LOADER_MEMO_INLINE_FETCHED = 256, /* indexes */
};

typedef struct loader_memo {
    PyObject **slots; /* [0, filled): strong reference or NULL */
    size_t filled;    /* the slots from here to 'used' hold nothing and are not set */
    size_t used;
    size_t capacity;
    size_t gaps;   /* holes less the entries of 'far', modulo the range of size_t */
    PyObject *far; /* dict of int to object; NULL: empty */
    bool planning;
    size_t unwanted_from; /* while planning: fetched_count; else no index reaches it */
    size_t planned_from;
    size_t planned_to;    /* while planning: not set, it is 'used' */
    uint64_t *fetched;    /* bit i: index i may be fetched; a PyMem block, or inline_fetched */
    size_t fetched_count; /* bits; the indexes beyond are not fetched */
    uint64_t inline_fetched[LOADER_MEMO_INLINE_FETCHED / 64];
    PyObject *inline_slots[LOADER_MEMO_INLINE];
} loader_memo;

void loader_memo_init(loader_memo *memo);
/* Empties it. Runs Python code (finalizers) after the memo is consistent again. */
void loader_memo_clear(loader_memo *memo);
/* Lets go of all, for a memo that nobody can see and that is not used again. Runs Python code. */
void loader_memo_end(loader_memo *memo);
/* Stores a new reference to 'value'. 0, or -1 with MemoryError set. May run Python code. */
int loader_memo_put(loader_memo *memo, size_t index, PyObject *value);
/* Borrowed; NULL without an exception if there is none, with one if memory ran out. */
PyObject *loader_memo_get(const loader_memo *memo, size_t index);
/* A new dict of int to object; NULL with an exception set. */
PyObject *loader_memo_as_dict(const loader_memo *memo);

/* Begins a plan by which the indexes below 'known' may be fetched. */
void loader_memo_plan_begin(loader_memo *memo, size_t known);
/* Adds an index that may be fetched. False: no memory. */
bool loader_memo_plan_fetch(loader_memo *memo, size_t index);
/* From now on everything is kept. */
void loader_memo_plan_end(loader_memo *memo);

/* MEMOIZE's next index: how many are in use. */
static inline size_t loader_memo_count(const loader_memo *memo)
{
    return memo->used - memo->gaps;
}

/* May the next index be left out, as far as the plan knows? */
static inline bool loader_memo_is_unwanted(const loader_memo *memo)
{
    size_t index = memo->used;
    return index >= memo->unwanted_from ||
           (memo->planning && !(memo->fetched[index / 64] >> index % 64 & 1));
}

/* Uses up the next index, which is unwanted. */
static inline void loader_memo_skip(loader_memo *memo)
{
    memo->used++;
}

/* Is 'used' MEMOIZE's next index, and is there room for it? */
static inline bool loader_memo_has_room(const loader_memo *memo)
{
    return memo->used < memo->capacity && memo->gaps == 0 && !memo->far;
}

/* Stores a new reference to 'value' under the next index, for which there is room. */
static inline void loader_memo_append(loader_memo *memo, PyObject *value)
{
    while (memo->filled < memo->used)
        memo->slots[memo->filled++] = NULL;
    Py_INCREF(value);
    memo->slots[memo->used++] = value;
    memo->filled = memo->used;
}

#endif
