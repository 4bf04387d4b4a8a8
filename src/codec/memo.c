/* memo.c - growth of the memo, and its far entries. */
#include "codec/memo.h"

#include <string.h>

/* A table's words are cells here; none of them is TABLE_ABSENT, whose kind does not exist. */
_Static_assert(sizeof(cell) == sizeof(uint64_t), "a cell is a word");

enum { EXPECT_MOST = 32 };
#define EXPECT_SLACK 1.03

static size_t quick_limit(const memo *m)
{
    if (m->gaps_count != 0 || m->sparse.count != 0)
        return 0;
    return m->max_count != 0 && m->max_count < m->capacity ? m->max_count : m->capacity;
}

void achar__memo_init(memo *m, memory *mem, size_t max_count)
{
    m->dense = m->first;
    m->front = m->gaps_count = m->expected_count = 0;
    m->capacity = MEMO_FIRST_COUNT;
    m->max_count = max_count;
    achar__table_init(&m->sparse, mem);
    m->quick_limit = quick_limit(m);
}

void achar__memo_free(memo *m)
{
    memory *mem = m->sparse.mem;
    if (m->dense != m->first)
        achar__memory_give(mem, m->dense, m->capacity * sizeof *m->dense);
    achar__table_free(&m->sparse);
}

size_t achar__memo_count(const memo *m)
{
    size_t count = m->front - m->gaps_count;
    return count + m->sparse.count;
}

void achar__memo_expect(memo *m, uint64_t done, uint64_t left)
{
    double ahead = EXPECT_SLACK * (double)left / (double)done;
    if (ahead > EXPECT_MOST)
        ahead = EXPECT_MOST;
    m->expected_count = m->front + (size_t)((double)m->front * ahead);
}

/* Makes 'dense' reach so far. */
static int grow(memo *m, size_t capacity)
{
    memory *mem = m->sparse.mem;
    bool is_first = m->dense == m->first;
    cell *dense =
        achar__memory_resize(mem, is_first ? NULL : m->dense,
                             is_first ? 0 : m->capacity * sizeof *dense, capacity * sizeof *dense);
    if (dense == NULL)
        return achar__memory_status(mem);
    if (is_first)
        memcpy(dense, m->first, sizeof m->first);
    m->dense = dense;
    m->capacity = capacity;
    return ACHAR_OK;
}

int achar__memo_put_slow(memo *m, uint64_t index, cell c)
{
    cell *known = achar__memo_get(m, index);
    if (known != NULL) {
        *known = c;
        return ACHAR_OK;
    }
    size_t count = achar__memo_count(m);
    if (m->max_count != 0 && count >= m->max_count)
        return ACHAR_E_LIMIT;
    size_t reach = count + count / 2 + MEMO_FIRST_COUNT;
    int status = ACHAR_OK;
    if (index >= m->capacity && index < reach) {
        status = m->expected_count > reach ? grow(m, m->expected_count) : ACHAR_E_LIMIT;
        if (status != ACHAR_OK)
            status = grow(m, reach);
    }
    if (status != ACHAR_OK)
        return status;
    if (index >= m->capacity) {
        if (achar__table_put(&m->sparse, index, c.bits, NULL) == NULL)
            return achar__memory_status(m->sparse.mem);
    } else if (index < m->front) {
        m->dense[index] = c;
        m->gaps_count--;
    } else {
        for (; m->front < index; m->front++, m->gaps_count++)
            m->dense[m->front] = CELL_NOTHING;
        memo_put_quickly(m, c);
    }
    m->quick_limit = quick_limit(m);
    return ACHAR_OK;
}
