/* trace_entries.c - growth of the array, and the far entries. */
#include "codec/trace_entries.h"

#include <string.h>

enum { MEMO_DENSE_MIN = SIZE_OR_TINY(64, 1) };

void achar__trace_entries_init(trace_entries *m, memory *mem, size_t max_count)
{
    *m = (trace_entries){.max_count = max_count};
    achar__table_init(&m->sparse, mem);
}

void achar__trace_entries_free(trace_entries *m)
{
    memory *mem = m->sparse.mem;
    achar__memory_give(mem, m->dense, m->capacity * sizeof *m->dense);
    achar__memory_give(mem, m->sparse_values, m->sparse_capacity * sizeof *m->sparse_values);
    achar__table_free(&m->sparse);
    achar__trace_entries_init(m, mem, m->max_count);
}

static int put_sparse(trace_entries *m, uint64_t index, achar_value value)
{
    memory *mem = m->sparse.mem;
    if (m->sparse.count == m->sparse_capacity) {
        size_t capacity = m->sparse_capacity == 0 ? SIZE_OR_TINY(16, 1) : m->sparse_capacity * 2;
        achar_value *values = achar__memory_resize(
            mem, m->sparse_values, m->sparse_capacity * sizeof *values, capacity * sizeof *values);
        if (values == NULL)
            return achar__memory_status(mem);
        m->sparse_values = values;
        m->sparse_capacity = capacity;
    }
    uint64_t *place = achar__table_put(&m->sparse, index, m->sparse.count, NULL);
    if (place == NULL)
        return achar__memory_status(mem);
    m->sparse_values[*place] = value;
    return ACHAR_OK;
}

int achar__trace_entries_put_slow(trace_entries *m, uint64_t index, achar_value value)
{
    memory *mem = m->sparse.mem;
    uint64_t *known = achar__table_find(&m->sparse, index);
    if (known == NULL && m->max_count != 0 && m->count >= m->max_count)
        return ACHAR_E_LIMIT;
    size_t reach = m->count * 2 + MEMO_DENSE_MIN;
    if (index >= m->capacity && index < reach) {
        achar_value *dense =
            achar__memory_resize(mem, m->dense, m->capacity * sizeof *dense, reach * sizeof *dense);
        if (dense == NULL)
            return achar__memory_status(mem);
        memset(dense + m->capacity, 0, (reach - m->capacity) * sizeof *dense);
        m->dense = dense;
        m->capacity = reach;
    }
    if (index < m->capacity) {
        m->dense[index] = value;
    } else {
        int status = put_sparse(m, index, value);
        if (status != ACHAR_OK)
            return status;
    }
    m->count += known == NULL;
    return ACHAR_OK;
}

achar_value *achar__trace_entries_get_slow(trace_entries *m, uint64_t index)
{
    uint64_t *place = achar__table_find(&m->sparse, index);
    return place == NULL ? NULL : &m->sparse_values[*place];
}
