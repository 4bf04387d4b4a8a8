/*
 * trace_memo.c - the memo of the trace's machine.
 *
 * Picklers memoize nearly everything and ask for little of it again. As long as the memo is small it
 * simply holds all. Once it is large the rest of the pickle is read ahead, once, for the indexes that
 * are still asked for (nothing need be run for that: a GET has its index in its argument), and from
 * then on only their values are held:
 *
 *      memo      index → value                   while it is small, or all is to be kept
 *      wanted    index → its number among those asked for
 *      kept      that number → value
 *      held_up_to, memo                          which indexes there are: all below the first, and
 *                                                those in the other. MEMOIZE takes the number of all
 */
#include "codec/trace_memo.h"

#include "codec/decode.h"

enum { MEMO_LARGE_COUNT = SIZE_OR_TINY(1 << 17, 4) };

static void release_entry(trace_machine *m, achar_value *entry, uint64_t index)
{
    achar_value value = *entry;
    trace_node *node = trace_node_of(value);
    entry->as.pointer = NULL;
    if (node != NULL && node->memo_index == index)
        node->memo_index = NO_INDEX;
    achar__trace_release(m, value);
}

/* Numbers the indexes that are asked for from 'cursor' on. What cannot be read there stops the machine
 * as well when it comes to it. */
static int read_ahead(trace_machine *m, const uint8_t *cursor)
{
    token t = {0};
    while (t.opcode != OP_STOP && achar__token_next(cursor, m->input_end, &t) == ACHAR_OK) {
        cursor = t.next;
        int64_t index = -1;
        if (t.opcode == OP_BINGET)
            index = t.data[0];
        else if (t.opcode == OP_LONG_BINGET)
            index = decode_uint4(t.data);
        else if (t.opcode == OP_GET && !decode_decimal(t.data, t.nbytes, &index))
            break;
        if (index >= 0 &&
            achar__table_put(&m->wanted, (uint64_t)index, m->wanted.count, NULL) == NULL)
            return achar__memory_status(m->mem);
    }
    return ACHAR_OK;
}

/* Moves an entry to those kept, or lets its value go; that it is there stays known. */
static int move_entry(trace_machine *m, uint64_t index, achar_value *entry)
{
    uint64_t number = achar__table_get(&m->wanted, index);
    if (number == TABLE_ABSENT) {
        release_entry(m, entry, index);
        return ACHAR_OK;
    }
    int status = achar__trace_entries_put(&m->kept, number, *entry);
    if (status == ACHAR_OK)
        entry->as.pointer = NULL;
    return status;
}

static int keep_wanted_only(trace_machine *m, const uint8_t *cursor)
{
    trace_entries *all = &m->memo;
    int status = read_ahead(m, cursor);
    bool gaps = all->sparse.count != 0;
    for (size_t i = 0; i < all->capacity && status == ACHAR_OK; i++) {
        if (all->dense[i].meta != 0)
            status = move_entry(m, i, &all->dense[i]);
        else if (i < all->count)
            gaps = true;
    }
    for (size_t i = 0; i < all->sparse.capacity && status == ACHAR_OK; i++) {
        table_entry entry = all->sparse.entries[i];
        bool moved = entry.key < all->capacity && all->dense[entry.key].meta != 0;
        if (entry.value != TABLE_ABSENT && !moved)
            status = move_entry(m, entry.key, &all->sparse_values[entry.value]);
    }
    if (status != ACHAR_OK)
        return status;
    m->knows_wanted = true;
    if (!gaps) {
        m->held_up_to = all->count;
        achar__trace_entries_free(all);
    }
    return ACHAR_OK;
}

static achar_value *find(trace_machine *m, uint64_t index)
{
    if (!m->knows_wanted)
        return achar__trace_entries_get(&m->memo, index);
    uint64_t number = achar__table_get(&m->wanted, index);
    return number == TABLE_ABSENT ? NULL : achar__trace_entries_get(&m->kept, number);
}

const achar_value *achar__trace_memo_get(trace_machine *m, uint64_t index)
{
    return find(m, index);
}

/* Notes that there is an entry at 'index', in as little room as can be. */
static int note_index(trace_machine *m, uint64_t index, achar_value value)
{
    if (index < m->held_up_to || achar__trace_entries_get(&m->memo, index) != NULL)
        return ACHAR_OK;
    if (index == m->held_up_to && m->memo_count == m->held_up_to) {
        m->held_up_to++;
        m->memo_count++;
        return ACHAR_OK;
    }
    value.as.pointer = NULL;
    int status = achar__trace_entries_put(&m->memo, index, value);
    m->memo_count += status == ACHAR_OK;
    return status;
}

static void remember_recent(trace_machine *m, uint64_t index, achar_value value)
{
    trace_put *oldest = &m->recent[m->recent_count++ % TRACE_RECENT_COUNT];
    if (m->recent_count > TRACE_RECENT_COUNT)
        achar__trace_release(m, oldest->value);
    *oldest = (trace_put){index, value};
    achar__trace_retain(value);
}

int achar__trace_memo_put(trace_machine *m, uint64_t index, achar_value value,
                          const uint8_t *cursor)
{
    trace_node *node = trace_node_of(value);
    int status = ACHAR_OK;
    if (!m->knows_wanted && !m->keeps_all && m->memo_count == MEMO_LARGE_COUNT)
        status = keep_wanted_only(m, cursor);
    if (status != ACHAR_OK)
        return status;
    achar_value *known = find(m, index);
    if (known != NULL)
        release_entry(m, known, index);
    bool held = true;
    if (!m->knows_wanted) {
        status = achar__trace_entries_put(&m->memo, index, value);
        m->memo_count = m->memo.count;
    } else {
        uint64_t number = achar__table_get(&m->wanted, index);
        status = note_index(m, index, value);
        held = number != TABLE_ABSENT;
        if (status == ACHAR_OK && held)
            status = achar__trace_entries_put(&m->kept, number, value);
    }
    if (status != ACHAR_OK)
        return status;
    if (held)
        achar__trace_retain(value);
    if (node != NULL && node->memo_index == NO_INDEX)
        node->memo_index = index;
    remember_recent(m, index, value);
    return ACHAR_OK;
}

void achar__trace_memo_init(trace_machine *m)
{
    achar__trace_entries_init(&m->memo, m->mem, 0);
    achar__trace_entries_init(&m->kept, m->mem, 0);
    achar__table_init(&m->wanted, m->mem);
    m->knows_wanted = false;
    m->memo_count = m->held_up_to = 0;
    m->recent_count = 0;
}

void achar__trace_memo_free(trace_machine *m)
{
    achar__trace_entries_free(&m->memo);
    achar__trace_entries_free(&m->kept);
    achar__table_free(&m->wanted);
}
