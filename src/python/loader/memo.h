/*
 * memo.h - the unpickler's memo: index to object.
 *
 * Picklers number from 0 without gaps, so the memo is an array that grows at its end. An index far
 * beyond the end (hostile, or edited by hand) goes into a dict instead: seven bytes of LONG_BINPUT
 * must not allocate gigabytes.
 *
 * Invariant: an index is in at most one of the two; count is the number of indexes in use. Where
 * there is no dict and count == used, the array has no holes and MEMOIZE's next index is 'used'.
 */
#ifndef ACHAR_PYTHON_LOADER_MEMO_H
#define ACHAR_PYTHON_LOADER_MEMO_H

#include "python/state.h"

enum {
    LOADER_MEMO_INLINE = 64, /* entries */
    /* An index may lie this far beyond twice the array's end before it counts as far out. */
    LOADER_MEMO_SLACK = 1024,
};

typedef struct loader_memo {
    PyObject **slots; /* [0, used): strong reference or NULL */
    size_t used;
    size_t capacity;
    size_t count;
    PyObject *far; /* dict of int to object; NULL: empty */
    PyObject *inline_slots[LOADER_MEMO_INLINE];
} loader_memo;

void loader_memo_init(loader_memo *memo);
/* Empties it. Runs Python code (finalizers) after the memo is consistent again. */
void loader_memo_clear(loader_memo *memo);
/* Stores a new reference to 'value'. 0, or -1 with MemoryError set. May run Python code. */
int loader_memo_put(loader_memo *memo, size_t index, PyObject *value);
/* Borrowed; NULL without an exception if there is none, with one if memory ran out. */
PyObject *loader_memo_get(const loader_memo *memo, size_t index);
/* A new dict of int to object; NULL with an exception set. */
PyObject *loader_memo_as_dict(const loader_memo *memo);

#endif
