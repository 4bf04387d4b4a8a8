/*
 * write_plain.c - the quick way through values whose opcodes may simply follow one another: one loop
 * over items, with a level for each value that is open. Most pickles are nothing else.
 *
 *     levels   ┌───────────────────────┬───────────────────────┬───
 *              │ next ─▶ items … end   │ next ─▶ items … end   │      the outermost first
 *              └───────────────────────┴───────────────────────┴───
 *
 * A value is plain if the whole graph is in order (graph.h), or if no effect has to come between (the
 * log is empty, or its items are all small values and spans) and no tuple waits to be complete. Where
 * the graph is in order, calls, imports and changes are levels, too: an object's operands, then each
 * of its changes.
 *
 * Whatever is not plain, such as a tuple that may contain itself, or has opcodes that are not seen
 * every day, is begun as everywhere (write.c); if that takes steps of its own, this loop goes on when
 * they are done.
 *
 * Output goes through a pointer into the buffer, for which there is always room for the longest
 * opcode; text is copied where it is short and left to output.c where it is long.
 */
#include "codec/writing.h"

enum {
    LONGEST_NBYTES = 16,    /* of the opcodes for one item, without counted data */
    SHORT_TEXT_NBYTES = 256 /* up to here text has one byte of size */
};

/* ---- what is plain ---- */

bool achar__write_is_plain(writer *w, cell value)
{
    if (w->o.protocol < 4)
        return false;
    if (w->graph->in_order)
        return true;
    if (writer_scope(w)->open_count != 0)
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

/* 'from' to 'to' bytes, for which a call of memcpy() would take longer: the first and the last half
 * of 'to', which may overlap. */
#define COPY_BETWEEN(half)                                                                         \
    do {                                                                                           \
        memcpy(at, data, half);                                                                    \
        memcpy(at + nbytes - (half), data + nbytes - (half), half);                                \
    } while (0)

static inline uint8_t *put_bytes(uint8_t *at, const uint8_t *data, size_t nbytes)
{
    if (nbytes > 32)
        memcpy(at, data, nbytes);
    else if (nbytes >= 16)
        COPY_BETWEEN(16);
    else if (nbytes >= 8)
        COPY_BETWEEN(8);
    else if (nbytes >= 4)
        COPY_BETWEEN(4);
    else
        for (size_t i = 0; i < nbytes; i++)
            at[i] = data[i];
    return at + nbytes;
}

/* ---- levels ---- */

/* Begins the next batch of a list, dict or set: MARK, unless its one item goes without. A change of
 * the log is one batch. */
static inline uint8_t *open_batch(level *l, uint8_t *at, bool first)
{
    size_t unit = l->opcode == OP_SETITEMS ? 2 : 1;
    size_t left = (size_t)(l->end - l->next);
    /* As C Python does: one item goes without MARK only if it is the container's only one. */
    if (first && left == unit && l->opcode != OP_ADDITEMS)
        l->opcode = l->opcode == OP_SETITEMS ? OP_SETITEM : OP_APPEND;
    else
        *at++ = OP_MARK;
    if (left > BATCH_COUNT * unit && l->entry == NO_ENTRY)
        l->batch_end = l->next + BATCH_COUNT * unit;
    return at;
}

/* A level for 'count' items in one batch. NULL: no memory. */
static inline level *push_level(writer *w, cell value, const cell *items, size_t count,
                                uint8_t opcode, uint64_t entry)
{
    if (__builtin_expect(w->levels_count == w->levels_capacity, 0) &&
        achar__writer_grow(w, (void **)&w->levels, w->first_levels, w->levels_count,
                           &w->levels_capacity, sizeof *w->levels) != ACHAR_OK)
        return NULL;
    level *l = &w->levels[w->levels_count++];
    l->next = items;
    l->batch_end = l->end = items + count;
    l->value = value;
    l->entry = entry;
    l->opcode = opcode;
    return l;
}

/* Makes a level that of a change, with what comes before the change's values. */
static uint8_t *begin_change(writer *w, level *l, uint8_t *at, uint64_t index)
{
    const log_entry *entry = &w->graph->log[index];
    size_t count;
    l->next = log_values(entry, &count);
    l->batch_end = l->end = l->next + count;
    l->entry = index;
    l->opcode = achar__write_change_opcode(entry);
    return l->opcode == OP_BUILD ? at : open_batch(l, at, true);
}

/*
 * A level for a list, dict or set some of whose fillings are in the log: what was there before the
 * first of them, or else that one.
 */
static level *push_logged(writer *w, cell value, uint8_t **at)
{
    uint64_t change = graph_first_change(w->graph, value);
    size_t count = w->graph->log[change].fill->start;
    const cell *items = container_items(cell_container(value))->items;
    level *l = push_level(w, value, items, count, filling_opcode(cell_kind(value)), NO_ENTRY);
    if (l != NULL)
        *at = count == 0 ? begin_change(w, l, *at, change) : open_batch(l, *at, true);
    return l;
}

/* A level for the operands of an import or a call, in a graph that is in order. */
static inline level *push_object(writer *w, cell value)
{
    const object *o = cell_object(value);
    bool import = cell_kind(value) == ACHAR_GLOBAL;
    return push_level(w, value, o->operands, o->operands_count,
                      import ? (uint8_t)OP_STACK_GLOBAL : (uint8_t)o->opcode, o->entry);
}

/*
 * After the last opcode of a level in a graph with a log: notes its entry, memoizes an object, and
 * begins the next change. False: the level is done.
 */
static bool begin_next(writer *w, level *l, uint8_t **at, int *status)
{
    const achar_graph *g = w->graph;
    uint64_t entry = l->entry, change;
    if (entry != NO_ENTRY) {
        writer_done(w, entry);
        if (g->log[entry].kind < ACHAR_EFFECT_BUILD && graph_is_shared(g, l->value)) {
            *status = achar__output_remember(&w->o, l->value);
            *(*at)++ = OP_MEMOIZE;
        }
        change = graph_next_change(g, entry);
    } else {
        bool logged = kind_is_container(cell_kind(l->value)) && cell_container(l->value)->logged;
        change = logged ? graph_first_change(g, l->value) : NO_ENTRY;
    }
    if (change == NO_ENTRY || *status != ACHAR_OK)
        return false;
    *at = begin_change(w, l, *at, change);
    return true;
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
 * Writes 'c', unless it is CELL_NOTHING, and items until the levels above 'base' are done (ACHAR_OK,
 * with levels_count == base), or one item has to be begun elsewhere: '*other' then is that one.
 */
static int run(writer *w, size_t base, cell c, cell *other)
{
    static const uint8_t empty_opcodes[] = {
        [ACHAR_LIST] = OP_EMPTY_LIST, [ACHAR_DICT] = OP_EMPTY_DICT, [ACHAR_SET] = OP_EMPTY_SET};
    static const uint8_t tuple_opcodes[] = {OP_EMPTY_TUPLE, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    output *const o = &w->o;
    const achar_graph *const g = w->graph;
    const bool in_order = g->in_order;
    const bool has_log = g->log_count != 0;
    const bool spans_change = !in_order && g->changes.count != 0;
    int status = ACHAR_OK;
    uint8_t *at = o->out.data + o->out.nbytes;
    const uint8_t *checked = at;
    level *l = NULL; /* the one on top, and its first two members */
    const cell *next = NULL;
    const cell *batch_end = NULL;
    *other = CELL_NOTHING;

/* Continues with the level on top. */
#define TO_TOP()                                                                                   \
    do {                                                                                           \
        l = &w->levels[w->levels_count - 1];                                                       \
        next = l->next;                                                                            \
        batch_end = l->batch_end;                                                                  \
    } while (0)
#define RECALL()                                                                                   \
    do {                                                                                           \
        known = achar__table_find(&o->memo, c.bits);                                               \
        if (known != NULL)                                                                         \
            goto known;                                                                            \
    } while (0)
#define MEMOIZE(value)                                                                             \
    do {                                                                                           \
        status = achar__output_remember(o, value);                                                 \
        if (__builtin_expect(status != ACHAR_OK, 0))                                               \
            return status;                                                                         \
        *at++ = OP_MEMOIZE;                                                                        \
    } while (0)
/* The level on top stays as it is while others are. */
#define LEAVE()                                                                                    \
    do {                                                                                           \
        if (l != NULL)                                                                             \
            l->next = next;                                                                        \
    } while (0)
#define CHECK_LEVEL()                                                                              \
    do {                                                                                           \
        if (__builtin_expect(l == NULL, 0))                                                        \
            return achar__memory_status(o->mem);                                                   \
    } while (0)

    if (w->levels_count != base)
        TO_TOP();
    if (cell_kind(c) != ACHAR_NOTHING) {
        at = room(o, at, SHORT_TEXT_NBYTES);
        if (at == NULL)
            return o->out.failed;
        checked = at;
        goto value;
    }
    for (;;) {
        const uint64_t *known;
        size_t nbytes, count;
        const uint8_t *data;
        uint8_t opcode;
        bool shared;

        if (__builtin_expect(at >= checked, 0)) {
            at = room(o, at, SHORT_TEXT_NBYTES);
            if (at == NULL)
                return o->out.failed;
            if (next != batch_end) { /* between two values */
                o->out.nbytes = (size_t)(at - o->out.data);
                output_boundary(o);
                at = room(o, o->out.data + o->out.nbytes, SHORT_TEXT_NBYTES);
                if (at == NULL)
                    return o->out.failed;
            }
            checked = checked_end(o);
        }

        if (next == batch_end) {
            if (l == NULL)
                break; /* the value had no items */
            *at++ = l->opcode;
            if (next != l->end) {
                l->next = next;
                l->batch_end = l->end;
                at = open_batch(l, at, false);
                batch_end = l->batch_end;
                continue;
            }
            c = l->value;
            if (kind_is_frozen(cell_kind(c)) && cell_frozen(c)->shared)
                MEMOIZE(c);
            if (has_log && begin_next(w, l, &at, &status)) {
                TO_TOP();
                continue;
            }
            if (--w->levels_count == base || status != ACHAR_OK)
                break;
            TO_TOP();
            continue;
        }

        c = *next++;
    value:
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

        case ACHAR_STR:
        case ACHAR_BYTES:
            shared = graph_is_shared_span(g, c);
            if (shared || w->forced)
                RECALL();
            data = cell_span(c, &nbytes);
            if (nbytes >= SHORT_TEXT_NBYTES || spans_change)
                goto elsewhere;
            at[0] = cell_kind(c) == ACHAR_STR ? OP_SHORT_BINUNICODE : OP_SHORT_BINBYTES;
            at[1] = (uint8_t)nbytes;
            at = put_bytes(at + 2, data, nbytes);
            if (shared)
                MEMOIZE(c);
            continue;

        case ACHAR_TUPLE:
        case ACHAR_FROZENSET: {
            const frozen *f = cell_frozen(c);
            if (f == NULL) {
                *at++ = OP_EMPTY_TUPLE;
                continue;
            }
            if (f->shared || w->forced)
                RECALL();
            if (!in_order && (f->shared || has_log) && !achar__write_is_plain(w, c))
                goto elsewhere;
            LEAVE();
            count = f->count;
            opcode = cell_kind(c) == ACHAR_FROZENSET ? OP_FROZENSET : OP_TUPLE;
            if (opcode == OP_TUPLE && count <= 3)
                opcode = tuple_opcodes[count];
            else
                *at++ = OP_MARK;
            l = push_level(w, c, f->items, count, opcode, NO_ENTRY);
            CHECK_LEVEL();
            next = l->next;
            batch_end = l->end;
            continue;
        }

        case ACHAR_LIST:
        case ACHAR_DICT:
        case ACHAR_SET: {
            const container *items = cell_container(c);
            if (items->shared || w->forced)
                RECALL();
            if (!in_order && has_log && !achar__write_is_plain(w, c))
                goto elsewhere;
            *at++ = empty_opcodes[cell_kind(c)];
            if (items->shared)
                MEMOIZE(c);
            if (!items->filled)
                continue;
            LEAVE();
            if (items->logged) {
                l = push_logged(w, c, &at);
                CHECK_LEVEL();
            } else {
                const item_block *block = container_items(items);
                l = push_level(w, c, block->items, block->count, filling_opcode(cell_kind(c)),
                               NO_ENTRY);
                CHECK_LEVEL();
                at = open_batch(l, at, true);
            }
            next = l->next;
            batch_end = l->batch_end;
            continue;
        }

        case ACHAR_GLOBAL:
        case ACHAR_CALL:
            if (!in_order)
                goto elsewhere;
            if (cell_object(c)->shared || w->forced)
                RECALL();
            if (cell_object(c)->python2)
                goto elsewhere;
            LEAVE();
            l = push_object(w, c);
            CHECK_LEVEL();
            next = l->next;
            batch_end = l->end;
            continue;
        default:
            goto elsewhere;
        }
    known:
        if (__builtin_expect(*known <= MEMO_INDEX, 1)) {
            at = put_get(at, *known);
            continue;
        }
    elsewhere: /* also what is in the memo, but cannot be had from it yet */
        LEAVE();
        *other = c;
        break;
    }
    o->out.nbytes = (size_t)(at - o->out.data);
    return status;
#undef TO_TOP
#undef RECALL
#undef MEMOIZE
#undef LEAVE
#undef CHECK_LEVEL
}

int achar__write_plain(writer *w, cell value)
{
    return achar__writer_push(w,
                              (step){.kind = STEP_PLAIN, .value = value, .index = w->levels_count});
}

int achar__write_run_plain(writer *w)
{
    step *s = writer_top(w);
    size_t base = s->index;
    cell value = s->value;
    s->value = CELL_NOTHING; /* it is begun once */
    for (;;) {
        cell other;
        int status = run(w, base, value, &other);
        if (status != ACHAR_OK)
            return status;
        if (cell_kind(other) == ACHAR_NOTHING)
            return writer_pop(w);
        size_t steps_count = w->steps_count;
        status = achar__write_begin(w, other, NO_ENTRY, false);
        if (status != ACHAR_OK || w->steps_count != steps_count)
            return status;
        value = CELL_NOTHING;
    }
}
