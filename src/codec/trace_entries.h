/*
 * trace_entries.h - values by index: what trace_memo.h is made of. As the reader's memo (memo.h), but for
 * values of the trace's own kind.
 *
 * Picklers number their entries 0, 1, 2, …, so entries live in an array. An index far beyond what
 * the number of entries warrants goes into a hash table instead: its cost does not depend on how
 * high it is. An index may move from the table to the array when it has come within reach; the
 * array is looked at first.
 */
#ifndef ACHAR_CODEC_TRACE_ENTRIES_H
#define ACHAR_CODEC_TRACE_ENTRIES_H

#include <achar/value.h>

#include "base/table.h"

typedef struct trace_entries {
    achar_value *dense; /* ACHAR_NOTHING: no entry here */
    size_t capacity;
    size_t count; /* distinct indexes; also the next index of MEMOIZE */
    size_t max_count;
    table sparse; /* index to its place in sparse_values */
    achar_value *sparse_values;
    size_t sparse_capacity;
} trace_entries;

/* 'max_count' 0: no limit. */
void achar__trace_entries_init(trace_entries *m, memory *mem, size_t max_count);
void achar__trace_entries_free(trace_entries *m);

int achar__trace_entries_put_slow(trace_entries *m, uint64_t index, achar_value value);
achar_value *achar__trace_entries_get_slow(trace_entries *m, uint64_t index);

/* ACHAR_OK, ACHAR_E_NOMEM, ACHAR_E_LIMIT. */
static inline int achar__trace_entries_put(trace_entries *m, uint64_t index, achar_value value)
{
    if (__builtin_expect(index < m->capacity && m->dense[index].meta != 0, 0)) {
        m->dense[index] = value;
        return ACHAR_OK;
    }
    if (__builtin_expect(index < m->capacity && m->sparse.count == 0 &&
                             (m->max_count == 0 || m->count < m->max_count),
                         1)) {
        m->dense[index] = value;
        m->count++;
        return ACHAR_OK;
    }
    return achar__trace_entries_put_slow(m, index, value);
}

/* NULL: no such entry. Valid until the next put. */
static inline achar_value *achar__trace_entries_get(trace_entries *m, uint64_t index)
{
    if (__builtin_expect(index < m->capacity && m->dense[index].meta != 0, 1))
        return &m->dense[index];
    return achar__trace_entries_get_slow(m, index);
}

#endif
