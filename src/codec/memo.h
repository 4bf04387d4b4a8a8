/*
 * memo.h - the reader's memo.
 *
 * Picklers number their entries 0, 1, 2, …, so entries live in an array, filled from the front. As
 * long as nothing else happens, an entry more is a store and a count ('quick_limit' says up to
 * where). An index beyond the front leaves a gap; one far beyond what the number of entries warrants
 * goes into a hash table instead: its cost does not depend on how high it is. An index may move from
 * the table to the array when it has come within reach; the array is looked at first.
 *
 *     dense   ┌───┬───┬───┬───┬───────────┐
 *             │ 0 │ 1 │ – │ 3 │  not yet  │     3 came without 2: no longer quick
 *             └───┴───┴───┴───┴───────────┘
 *                           front ▲       ▲ capacity
 */
#ifndef ACHAR_CODEC_MEMO_H
#define ACHAR_CODEC_MEMO_H

#include "codec/graph.h"

enum { MEMO_FIRST_COUNT = SIZE_OR_TINY(128, 1) };

typedef struct memo {
    cell *dense;        /* CELL_NOTHING: no entry here. Below 'front' only */
    size_t front;       /* the highest index in 'dense', plus one */
    size_t quick_limit; /* 0: there were gaps, or there is a table */
    size_t capacity;
    size_t gaps_count; /* in 'dense' below 'front' */
    size_t expected_count;
    size_t max_count;
    table sparse; /* index to cell */
    cell first[MEMO_FIRST_COUNT];
} memo;

/* 'max_count' 0: no limit. */
void achar__memo_init(memo *m, memory *mem, size_t max_count);
/* What is left is no memo. */
void achar__memo_free(memo *m);

/* The entries there are come from 'done' parts of the input; 'left' parts are still to come. Only a
 * guess, which saves moving the array: it bounds nothing. */
void achar__memo_expect(memo *m, uint64_t done, uint64_t left);

int achar__memo_put_slow(memo *m, uint64_t index, cell c);

/* The number of distinct indexes; also the next index of MEMOIZE. */
size_t achar__memo_count(const memo *m);

/* Whether the next entry, if it is 'index', needs no more than memo_put_quickly(). */
static inline bool memo_is_quick(const memo *m, uint64_t index)
{
    return index == m->front && index < m->quick_limit;
}

static inline void memo_put_quickly(memo *m, cell c)
{
    m->dense[m->front++] = c;
}

/* ACHAR_OK, ACHAR_E_NOMEM, ACHAR_E_LIMIT. */
static inline int achar__memo_put(memo *m, uint64_t index, cell c)
{
    if (__builtin_expect(!memo_is_quick(m, index), 0))
        return achar__memo_put_slow(m, index, c);
    memo_put_quickly(m, c);
    return ACHAR_OK;
}

/* Whether the entry at 'index' has been asked for before and takes no search. */
static inline bool memo_is_fetched(const memo *m, uint64_t index)
{
    return index < m->front && (m->dense[index].bits & CELL_FETCHED) != 0;
}

static inline cell memo_fetched(const memo *m, uint64_t index)
{
    return (cell){m->dense[index].bits ^ CELL_FETCHED};
}

/* NULL: no such entry. Valid until the next put. */
static inline cell *achar__memo_get(memo *m, uint64_t index)
{
    if (__builtin_expect(index < m->front && m->dense[index].bits != 0, 1))
        return &m->dense[index];
    uint64_t *sparse = achar__table_find(&m->sparse, index);
    return (cell *)sparse;
}

#endif
