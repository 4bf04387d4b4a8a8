/*
 * graph.h - how a graph lies in memory: what cells (cell.h) point at, and the log.
 *
 *      cell                 container              item_block
 *     ┌──────┬─────────┐   ┌─────────┬───────┐    ┌───────┬───────┬──────┬──────┬───
 *     │ LIST │    ●────┼──▶│    ●────┼ flags │  ┌▶│ count │ spare │ cell │ cell │ …
 *     └──────┴─────────┘   └────│────┴───────┘  │ └───────┴───────┴──────┴──────┴───
 *     ┌──────┬─────────┐        └───────────────┘
 *     │ STR  │    ●────┼──▶ "hello world" in the input, its size in front
 *     └──────┴─────────┘
 *     ┌──────┬─────────┐   ┌───────┬───────┬──────┬──────┐
 *     │ TUPLE│    ●────┼──▶│ count │ flags │ cell │ cell │   a frozen: never changes, never moves
 *     └──────┴─────────┘   └───────┴───────┴──────┴──────┘
 *
 * So an empty list costs 8 bytes beside its cell, a tuple 8 and its items.
 *
 * References. A writer must know what more than one thing refers to ('shared'). The second
 * reference says so: in the reader it is GET or DUP; a program that puts values together sets
 * 'referenced' with the first and 'shared' with the next. What the reader makes is referenced from
 * the start. Spans in the input have no place for a mark: theirs are bits of a map over the input,
 * made when the first is needed. A mark too many only costs a MEMOIZE.
 *
 * The log holds, in order, every effect that loading would have (value.h). What matters to whoever
 * replays it is what had happened when a container got its items. So an empty container remembers
 * how long the log was when it was made ('born'). If it is filled before the log grows, making and
 * filling are one, and it keeps that number; a filling after that, which a call may have come
 * before, is a FILL entry of its own. Tuples and frozensets keep theirs as well. The number lies in
 * a word in front of the item_block or frozen, and only where it can matter ('timed'): if it is not
 * 0, and not all items are small values and spans.
 *
 * Most pickles are in order ('in_order'): a walk over the graph in depth, which takes the changes of
 * a value right after the value, meets the log's entries one after the other, since that is how the
 * pickle was written. The reader sees it: nothing was thrown away, and nothing was filled or changed
 * after something else had a reference to it. Of other graphs it is not known.
 */
#ifndef ACHAR_CODEC_GRAPH_H
#define ACHAR_CODEC_GRAPH_H

#include <stdbool.h>

#include <achar/read.h>
#include <achar/value.h>

#include "base/arena.h"
#include "base/table.h"
#include "codec/cell.h"

#define NO_ENTRY UINT64_MAX

typedef struct item_block {
    uint64_t count : 48; /* cells: two for each pair of a dict */
    uint64_t spare : 16; /* room behind them */
    cell items[];
} item_block;

enum {
    ITEMS_SPARE_LARGE = 0xffff, /* 'spare' of an item_block that is an arena block */
    ITEMS_SMALL_COUNT = 1024,   /* up to here they lie in the arena itself */
};

typedef union container {
    struct {
        uint64_t referenced : 1;
        uint64_t shared : 1;
        uint64_t timed : 1;
        uint64_t filled : 1;
        uint64_t logged : 1; /* some of its fillings are entries in the log */
        uint64_t unused : 3;
        uint64_t where : 56; /* filled: its item_block. Not yet: 'born' */
    };
    uint64_t word;
} container;

enum {
    CONTAINER_REFERENCED = 1,
    CONTAINER_SHARED = 2,
    CONTAINER_FILLED = 8,
    CONTAINER_WHERE_SHIFT = 8
};

typedef struct frozen {
    uint64_t count : 48;
    uint64_t referenced : 1;
    uint64_t shared : 1;
    uint64_t timed : 1;
    uint64_t unhashable : 1; /* something in it that no dict takes as a key */
    uint64_t unused : 12;
    cell items[];
} frozen;

#define OBJECT_NO_ENTRY (((uint64_t)1 << 48) - 1)

typedef struct object {
    uint64_t entry : 48; /* in the log; OBJECT_NO_ENTRY for a READONLY_BUFFER view */
    uint64_t opcode : 8; /* what makes it: GLOBAL, STACK_GLOBAL, REDUCE, …, EXT4, NEXT_BUFFER */
    uint64_t operands_count : 2;
    uint64_t referenced : 1;
    uint64_t shared : 1;
    uint64_t python2 : 1; /* an import's: its names are Python 2's, as below protocol 3 */
    uint64_t unused : 3;
    cell operands[]; /* and behind them raw words: an extension's code, a buffer's index and data */
} object;

/* What the operands and raw words are. */
enum {
    GLOBAL_MODULE = 0,
    GLOBAL_NAME = 1,
    CALL_CALLABLE = 0,
    CALL_ARGUMENTS = 1,
    CALL_KEYWORDS = 2,
    PERSISTENT_ID = 0,
    BUFFER_INNER = 0, /* of a READONLY_BUFFER view */
    RAW_CODE = 0,     /* of an extension */
    RAW_INDEX = 0,    /* of a buffer */
    RAW_DATA = 1,     /* its achar_buffer, 0 if nobody gave one */
    BUFFER_RAW_COUNT = 2,
};

/* The values of an APPEND, SET or ADD. */
typedef struct change_values {
    uint64_t count;
    cell values[];
} change_values;

/* Which of its container's items a FILL put there. */
typedef struct fill_range {
    uint64_t start;
    uint64_t count;
} fill_range;

typedef struct log_entry {
    uint64_t offset : 48;
    uint64_t opcode : 8;
    uint64_t kind : 8; /* enum achar_effect_kind */
    cell target;
    union {
        cell state; /* BUILD */
        change_values *change;
        fill_range *fill;
    };
} log_entry;

struct achar_graph {
    memory mem;
    arena arena;
    cell root;
    int protocol; /* -1: built */
    int status;   /* of building: the first failure */
    bool reading; /* what is made now is referenced from the start */
    bool prepared;
    bool in_order;        /* see above */
    const uint8_t *data;  /* what spans point into */
    uint8_t *shared_bits; /* one for each byte of data, as far as spans are shared */
    size_t shared_nbytes;
    log_entry *log;
    size_t log_count;
    size_t log_capacity;
    uint64_t *chain; /* set by prepare, see graph_next_change(); as long as the log was then */
    size_t chain_count;
    table changes;          /* set by prepare: first change of targets that are no objects */
    table kept;             /* what shapes have decoded or made once: see shapes/shapes.h */
    achar_value **unpacked; /* 'values' of effects that a program has asked for, by entry */
    uint8_t *input;         /* owned; NULL: the caller's */
    size_t input_nbytes;
    size_t buffers_count; /* NEXT_BUFFER effects so far */
    size_t read_nbytes;   /* of the pickle that is all of it; 0: built, or changed since */
    size_t nbytes;        /* of this struct with the arena's first storage behind it */
};

/* ---- kinds of many cells at once ---- */

/* One bit for each kind among every 'stride'-th of the cells. */
static inline uint32_t cells_kinds(const cell *cells, size_t count, size_t stride)
{
    uint32_t kinds = 0;
    for (size_t i = 0; i < count; i += stride)
        kinds |= (uint32_t)1 << cell_kind(cells[i]);
    return kinds;
}

#define KIND_BIT(kind) ((uint32_t)1 << (kind))

/* Nothing happens to them and they lead nowhere: no tuple, container or object among them. */
static inline bool kinds_are_plain(uint32_t kinds)
{
    return kinds < KIND_BIT(ACHAR_TUPLE);
}

static inline bool cells_are_plain(const cell *cells, size_t count)
{
    return kinds_are_plain(cells_kinds(cells, count, 1));
}

/* ---- what cells point at ---- */

static inline container *cell_container(cell c)
{
    return cell_pointer(c);
}

static inline frozen *cell_frozen(cell c)
{
    return cell_pointer(c);
}

static inline object *cell_object(cell c)
{
    return cell_pointer(c);
}

static inline item_block *container_items(const container *c)
{
    return (item_block *)(uintptr_t)c->where;
}

static inline uint64_t object_entry(const object *o)
{
    return o->entry == OBJECT_NO_ENTRY ? NO_ENTRY : o->entry;
}

/* The items of any container or frozen kind; '*count' in cells. NULL and 0 for other kinds. */
static inline const cell *cell_items(cell c, size_t *count)
{
    int kind = cell_kind(c);
    if (kind_is_container(kind) && cell_container(c)->filled) {
        const item_block *block = container_items(cell_container(c));
        *count = block->count;
        return block->items;
    }
    if (kind_is_frozen(kind) && cell_frozen(c) != NULL) {
        *count = cell_frozen(c)->count;
        return cell_frozen(c)->items;
    }
    *count = 0;
    return NULL;
}

/* How long the log was when a container or frozen got the items that it had from the start; 0
 * also where that cannot matter. */
static inline uint64_t cell_born(cell c)
{
    if (kind_is_frozen(cell_kind(c))) {
        const frozen *f = cell_frozen(c);
        return f != NULL && f->timed ? ((const uint64_t *)f)[-1] : 0;
    }
    const container *list = cell_container(c);
    if (!list->filled)
        return list->where;
    return list->timed ? ((const uint64_t *)container_items(list))[-1] : 0;
}

/* Whether Python would refuse it as a dict's key or a set's item, whatever imports may do. */
static inline bool cell_is_unhashable(cell c)
{
    int kind = cell_kind(c);
    return kind_is_container(kind) || kind == ACHAR_BYTEARRAY ||
           (kind_is_frozen(kind) && cell_frozen(c) != NULL && cell_frozen(c)->unhashable);
}

/* ---- making ---- */

/*
 * An empty graph; NULL on failure, of which the status is returned. 'held_nbytes' of memory that is
 * not the graph's count against its limit. 'input_nbytes' is how much is going to be read, a guess
 * at how much will be needed.
 */
int achar__graph_new(const achar_allocator *allocator, uint64_t limit_nbytes, uint64_t held_nbytes,
                     size_t input_nbytes, achar_graph **graph);

/* The cell of any handle; numbers that need more than a cell go into the arena. CELL_NOTHING where
 * memory ran out, and for ACHAR_NOTHING. */
cell achar__graph_cell(achar_graph *g, achar_value value);

/* A float, or an int of any size, that does not stand in the input in the form that cells need. */
cell achar__float_new(achar_graph *g, double real);
cell achar__int_new(achar_graph *g, int64_t integer);

/* A span of 'nbytes' bytes at 'data', which stay where they are. */
cell achar__span_new(achar_graph *g, int kind, const void *data, size_t nbytes);

/* The word of an empty container that is made now. */
static inline uint64_t graph_empty_word(const achar_graph *g)
{
    return g->log_count << CONTAINER_WHERE_SHIFT | (g->reading ? CONTAINER_REFERENCED : 0);
}

/* An empty container of that kind. */
static inline cell graph_container_new(achar_graph *g, int kind)
{
    container *c = achar__arena_take(&g->arena, sizeof *c);
    if (__builtin_expect(c == NULL, 0))
        return CELL_NOTHING;
    c->word = graph_empty_word(g);
    return cell_make(kind, 0, c);
}

/* Adds cells to a plain container, with a FILL entry if one is due. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__container_fill(achar_graph *g, cell target, const cell *cells, size_t count, int opcode,
                          uint64_t offset);

/* A frozen kind with a copy of 'items'. */
cell achar__frozen_new(achar_graph *g, int kind, const cell *items, size_t count);

/*
 * An object, with room for 'raw_count' words behind its operands, and its entry in the log unless
 * 'effect' is -1. 'kind' is the cell's, 'opcode' what made it.
 */
cell achar__object_new(achar_graph *g, int kind, int effect, int opcode, uint64_t offset,
                       const cell *operands, size_t operands_count, size_t raw_count);

/* An entry for a change of 'target' by a copy of 'cells'. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__log_change(achar_graph *g, int effect, cell target, const cell *cells, size_t count,
                      int opcode, uint64_t offset);

/* What a change entry puts into its target. */
static inline const cell *log_values(const log_entry *entry, size_t *count)
{
    switch (entry->kind) {
    case ACHAR_EFFECT_BUILD:
        *count = 1;
        return &entry->state;
    case ACHAR_EFFECT_FILL:
        *count = entry->fill->count;
        return container_items(cell_container(entry->target))->items + entry->fill->start;
    case ACHAR_EFFECT_APPEND:
    case ACHAR_EFFECT_SET:
    case ACHAR_EFFECT_ADD:
        *count = entry->change->count;
        return entry->change->values;
    default:
        *count = 0;
        return NULL;
    }
}

/* ---- references ---- */

/* Notes that more than one thing refers to a value. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__graph_share(achar_graph *g, cell c);

/* Notes that one more thing refers to a value, for whoever builds. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__graph_refer(achar_graph *g, cell c);

/* Whether more than one thing does; of a span. */
static inline bool graph_is_shared_span(const achar_graph *g, cell c)
{
    if (cell_form_of(c) == FORM_BOXED)
        return ((const span_box *)cell_pointer(c))->shared;
    size_t at = (size_t)((const uint8_t *)cell_pointer(c) - g->data);
    return at / 8 < g->shared_nbytes && (g->shared_bits[at / 8] >> at % 8 & 1);
}

/* The same of any value. */
static inline bool graph_is_shared(const achar_graph *g, cell c)
{
    int kind = cell_kind(c);
    if (kind_is_span(kind))
        return graph_is_shared_span(g, c);
    if (kind_is_container(kind))
        return cell_container(c)->shared;
    if (kind_is_frozen(kind))
        return cell_frozen(c) != NULL && cell_frozen(c)->shared;
    return kind_is_object(kind) && cell_object(c)->shared;
}

/* ---- changes, after prepare ---- */

/* Makes what only some uses of a graph need: the chains of changes of each target. Does nothing when
 * nothing changed. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__graph_prepare(achar_graph *g);

/* Forgets that, since the graph changes. */
void achar__graph_unprepare(achar_graph *g);

/* The next change of the same target; of an entry that makes an object, the first change of it. */
static inline uint64_t graph_next_change(const achar_graph *g, uint64_t entry)
{
    return g->chain[entry];
}

/* NO_ENTRY: nothing changes it. */
static inline uint64_t graph_first_change(const achar_graph *g, cell target)
{
    int kind = cell_kind(target);
    if (kind_is_object(kind) && cell_object(target)->entry != OBJECT_NO_ENTRY)
        return g->chain[cell_object(target)->entry];
    return kind_is_small(kind) ? NO_ENTRY : achar__table_get(&g->changes, target.bits);
}

#endif
