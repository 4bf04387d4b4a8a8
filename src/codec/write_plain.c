/*
 * write_plain.c - the quick way through values in which nothing happens: one loop over items, with a
 * level for each container that is open. Most pickles are nothing else.
 *
 *     levels   ┌───────────────────────┬───────────────────────┬───
 *              │ next ─▶ items … end   │ next ─▶ items … end   │      the outermost first
 *              └───────────────────────┴───────────────────────┴───
 *
 * A value is plain if its opcodes may simply follow one another: no effect has to come between
 * (the log is empty, or its items are all small values and spans), and no tuple waits to be complete.
 * Whatever in it is not, such as a call or a tuple that may contain itself, is begun as everywhere
 * (write.c); if that takes steps of its own, this loop goes on when they are done.
 *
 * Output goes through a pointer into the buffer, for which there is always room for the longest
 * opcode; text is copied where it is short and left to output.c where it is long.
 */
#include "codec/writing.h"

enum {
    LONGEST_NBYTES = 16,    /* of opcodes without counted data */
    SHORT_TEXT_NBYTES = 256 /* up to here text has one byte of size */
};

/* ---- what is plain ---- */

bool achar__write_is_plain(writer *w, cell value)
{
    if (w->o.protocol < 4 || writer_scope(w)->open_count != 0)
        return false;
    bool may_wait = kind_is_frozen(cell_kind(value)) && graph_is_shared(w->graph, value);
    if (w->graph->log_count == 0 && !may_wait)
        return true;
    size_t count;
    const cell *items = cell_items(value, &count);
    return cells_are_plain(items, count) &&
           (w->graph->log_count == 0 || graph_first_change(w->graph, value) == NO_ENTRY);
}

/* ---- output through a pointer ---- */

/* Where the next opcode goes, with room for the longest one and 'nbytes' more. NULL: no memory. */
static inline uint8_t *room(output *o, uint8_t *at, size_t nbytes)
{
    if (__builtin_expect(
            (size_t)(o->out.data + o->out.capacity_nbytes - at) >= nbytes + LONGEST_NBYTES, 1))
        return at;
    o->out.nbytes = (size_t)(at - o->out.data);
    if (!achar__buffer_reserve(&o->out, nbytes + LONGEST_NBYTES))
        return NULL;
    return o->out.data + o->out.nbytes;
}

static inline uint8_t *put_number(uint8_t *at, uint8_t opcode, uint64_t number, unsigned nbytes)
{
    at[0] = opcode;
    emit_little_endian(at + 1, number);
    return at + 1 + nbytes;
}

static inline uint8_t *put_int(uint8_t *at, int64_t number)
{
    if (number == (uint8_t)number)
        return put_number(at, OP_BININT1, (uint64_t)number, 1);
    if (number == (uint16_t)number)
        return put_number(at, OP_BININT2, (uint64_t)number, 2);
    if (number == (int32_t)number)
        return put_number(at, OP_BININT, (uint64_t)number, 4);
    /* the sign and 31 bits or more; every further byte for eight more */
    uint64_t magnitude = (uint64_t)(number < 0 ? ~number : number);
    unsigned nbytes = (unsigned)(64 - __builtin_clzll(magnitude)) / 8 + 1;
    at[0] = OP_LONG1;
    at[1] = (uint8_t)nbytes;
    emit_little_endian(at + 2, (uint64_t)number);
    return at + 2 + nbytes;
}

static inline uint8_t *put_get(uint8_t *at, uint64_t index)
{
    return index < 0x100 ? put_number(at, OP_BINGET, index, 1)
                         : put_number(at, OP_LONG_BINGET, index, 4);
}

/* Short text, for most of which a call of memcpy() would take longer. */
static inline uint8_t *put_bytes(uint8_t *at, const uint8_t *data, size_t nbytes)
{
    if (nbytes > 16) {
        memcpy(at, data, nbytes);
    } else if (nbytes >= 8) { /* the first 8 and the last 8 */
        memcpy(at, data, 8);
        memcpy(at + nbytes - 8, data + nbytes - 8, 8);
    } else if (nbytes >= 4) {
        memcpy(at, data, 4);
        memcpy(at + nbytes - 4, data + nbytes - 4, 4);
    } else {
        for (size_t i = 0; i < nbytes; i++)
            at[i] = data[i];
    }
    return at + nbytes;
}

/* ---- levels ---- */

/* Begins the next batch of a list, dict or set: MARK, unless its one item goes without. */
static uint8_t *open_batch(level *l, uint8_t *at, bool first)
{
    size_t unit = l->opcode == OP_SETITEMS ? 2 : 1;
    size_t left = (size_t)(l->end - l->next);
    /* As C Python does: one item goes without MARK only if it is the container's only one. */
    if (first && left == unit && l->opcode != OP_ADDITEMS)
        l->opcode = l->opcode == OP_SETITEMS ? OP_SETITEM : OP_APPEND;
    else
        *at++ = OP_MARK;
    l->batch_end = left > BATCH_COUNT * unit ? l->next + BATCH_COUNT * unit : l->end;
    return at;
}

/* A level for 'count' items, one at least. NULL: no memory. */
static level *push_level(writer *w, cell value, const cell *items, size_t count, uint8_t opcode)
{
    if (__builtin_expect(w->levels_count == w->levels_capacity, 0) &&
        achar__writer_grow(w, (void **)&w->levels, w->first_levels, w->levels_count,
                           &w->levels_capacity, sizeof *w->levels) != ACHAR_OK)
        return NULL;
    level *l = &w->levels[w->levels_count++];
    *l = (level){.next = items,
                 .batch_end = items + count,
                 .end = items + count,
                 .value = value,
                 .opcode = opcode};
    return l;
}

static inline uint8_t *put_memoize(writer *w, uint8_t *at, cell value, int *status)
{
    w->o.out.nbytes = (size_t)(at - w->o.out.data);
    *status = achar__output_memoize(&w->o, value);
    return w->o.out.data + w->o.out.nbytes;
}

/*
 * The first opcodes of a plain value and its level, or all of an empty one. 'at' has room for the
 * longest opcode. Sets '*status' where memory runs out.
 */
static uint8_t *open_value(writer *w, uint8_t *at, cell value, int *status)
{
    static const uint8_t tuples[] = {OP_EMPTY_TUPLE, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    int kind = cell_kind(value);
    size_t count;
    const cell *items = cell_items(value, &count);
    level *l;
    if (kind == ACHAR_TUPLE) {
        if (count == 0) {
            *at++ = OP_EMPTY_TUPLE;
            return at;
        }
        if (count > 3)
            *at++ = OP_MARK;
        l = push_level(w, value, items, count, count > 3 ? (uint8_t)OP_TUPLE : tuples[count]);
    } else if (kind == ACHAR_FROZENSET) {
        *at++ = OP_MARK;
        l = push_level(w, value, items, count, OP_FROZENSET);
    } else {
        *at++ = kind == ACHAR_LIST   ? OP_EMPTY_LIST
                : kind == ACHAR_DICT ? OP_EMPTY_DICT
                                     : OP_EMPTY_SET;
        if (graph_is_shared(w->graph, value))
            at = put_memoize(w, at, value, status);
        if (count == 0 || *status != ACHAR_OK)
            return at;
        l = push_level(w, value, items, count, filling_opcode(kind));
        if (l != NULL)
            at = open_batch(l, at, true);
    }
    if (l == NULL)
        *status = achar__memory_status(w->o.mem);
    return at;
}

/* ---- the loop ---- */

/* Up to where items can go out without a look at the buffer's room and the frame's size. 'at' has
 * room now. */
static const uint8_t *checked_end(const output *o)
{
    size_t room_end = o->out.capacity_nbytes - LONGEST_NBYTES - SHORT_TEXT_NBYTES;
    size_t frame_end =
        (o->frame_start == NO_FRAME ? 0 : o->frame_start) + (size_t)FRAME_TARGET_NBYTES;
    return o->out.data + (room_end < frame_end ? room_end : frame_end);
}

/*
 * Writes items until the levels above 'base' are done (ACHAR_OK, with levels_count == base), or one
 * item has to be begun elsewhere: '*other' then is that one.
 */
static int run(writer *w, size_t base, cell *other)
{
    output *o = &w->o;
    bool spans_change = w->graph->changes.count != 0;
    int status = ACHAR_OK;
    uint8_t *at = o->out.data + o->out.nbytes;
    const uint8_t *checked = at;
    level *l = &w->levels[w->levels_count - 1];
    *other = CELL_NOTHING;
    for (;;) {
        uint64_t *known = NULL;
        bool shared;
        size_t nbytes;
        const uint8_t *data;
        cell c;

        if (__builtin_expect(at >= checked, 0)) {
            at = room(o, at, SHORT_TEXT_NBYTES);
            if (at == NULL)
                return o->out.failed;
            if (l->next != l->batch_end) { /* between two values */
                o->out.nbytes = (size_t)(at - o->out.data);
                output_boundary(o);
                at = room(o, o->out.data + o->out.nbytes, SHORT_TEXT_NBYTES);
                if (at == NULL)
                    return o->out.failed;
            }
            checked = checked_end(o);
        }
        if (l->next == l->batch_end) {
            *at++ = l->opcode;
            if (l->next != l->end) {
                at = open_batch(l, at, false);
                continue;
            }
            c = l->value;
            w->levels_count--;
            if (kind_is_frozen(cell_kind(c)) && graph_is_shared(w->graph, c))
                at = put_memoize(w, at, c, &status);
            if (w->levels_count == base || status != ACHAR_OK)
                break;
            l = &w->levels[w->levels_count - 1];
            continue;
        }
        c = *l->next++;
        switch (cell_kind(c)) {
        case ACHAR_NONE:
            *at++ = OP_NONE;
            continue;
        case ACHAR_BOOL:
            *at++ = c.bits & 1 ? OP_NEWTRUE : OP_NEWFALSE;
            continue;
        case ACHAR_INT:
            at = put_int(at, cell_int64(c));
            continue;
        case ACHAR_FLOAT:
            at[0] = OP_BINFLOAT;
            memcpy(at + 1, cell_pointer(c), 8);
            at += 9;
            continue;
        default:
            break;
        }

        shared = graph_is_shared(w->graph, c);
        if (shared || w->forced) {
            known = achar__table_find(&o->memo, c.bits);
            if (known != NULL && *known > MEMO_INDEX)
                goto elsewhere;
            if (known != NULL) {
                at = put_get(at, *known);
                continue;
            }
        }
        switch (cell_kind(c)) {
        case ACHAR_STR:
        case ACHAR_BYTES:
            data = cell_span(c, &nbytes);
            if (nbytes >= SHORT_TEXT_NBYTES || spans_change)
                goto elsewhere;
            at[0] = cell_kind(c) == ACHAR_STR ? OP_SHORT_BINUNICODE : OP_SHORT_BINBYTES;
            at[1] = (uint8_t)nbytes;
            at = put_bytes(at + 2, data, nbytes);
            if (shared) {
                at = put_memoize(w, at, c, &status);
                if (status != ACHAR_OK)
                    return status;
            }
            continue;
        case ACHAR_TUPLE:
        case ACHAR_FROZENSET:
        case ACHAR_LIST:
        case ACHAR_DICT:
        case ACHAR_SET:
            if ((shared || w->graph->log_count != 0) && !achar__write_is_plain(w, c))
                goto elsewhere;
            at = open_value(w, at, c, &status);
            if (status != ACHAR_OK)
                return status;
            l = &w->levels[w->levels_count - 1];
            continue;
        default:
            break;
        }
    elsewhere:
        *other = c;
        break;
    }
    o->out.nbytes = (size_t)(at - o->out.data);
    return status;
}

int achar__write_plain(writer *w, cell value)
{
    output *o = &w->o;
    size_t base = w->levels_count;
    if (!achar__buffer_reserve(&o->out, LONGEST_NBYTES))
        return o->out.failed;
    int status = ACHAR_OK;
    uint8_t *at = open_value(w, o->out.data + o->out.nbytes, value, &status);
    if (status != ACHAR_OK)
        return status;
    o->out.nbytes = (size_t)(at - o->out.data);
    if (w->levels_count == base)
        return ACHAR_OK; /* it was empty */
    return achar__writer_push(w, (step){.kind = STEP_PLAIN, .index = base});
}

int achar__write_run_plain(writer *w)
{
    size_t base = writer_top(w)->index;
    while (w->levels_count != base) {
        cell other;
        int status = run(w, base, &other);
        if (status != ACHAR_OK)
            return status;
        if (cell_kind(other) == ACHAR_NOTHING)
            break;
        size_t steps_count = w->steps_count;
        status = achar__write_begin(w, other, NO_ENTRY, false);
        if (status != ACHAR_OK || w->steps_count != steps_count)
            return status;
    }
    return writer_pop(w);
}
