/*
 * graph.h - how values lie in memory.
 *
 * A value is 16 bytes: one byte of kind, 56 bits of size, and a word. Small values are in the word.
 * Spans (text, bytes, large integers) point into the input or the arena, their size in bytes.
 * Tuples and frozensets, which never change, point at their items, their size the number of them.
 * Lists, dicts and sets, which are shared and grow, point at a container; what only Python could
 * make points at an object.
 *
 *      value                    container                 items
 *     ┌──────┬──────┬─────────┐ ┌─────────┬───────┬─────┐ ┌───────┬───────┬───
 *     │ LIST │  0   │    ●────┼─▶    ●────┼─count─┼spare│ │ value │ value │ …
 *     └──────┴──────┴─────────┘ └────│────┴───────┴─────┘ └▲──────┴───────┴───
 *     ┌──────┬──────┬─────────┐      └─────────────────────┘
 *     │ STR  │  11  │    ●────┼─▶ "hello world" in the input
 *     └──────┴──────┴─────────┘
 *
 * The log holds, in order, every effect that loading would have (value.h). What matters to whoever
 * replays it is what had happened when a container got its items. So an empty container remembers
 * how long the log was when it was made ('born'). If it is filled before the log grows, making and
 * filling are one, and it keeps that number; a filling after that, which a call may have come
 * before, is a FILL entry of its own. Tuples and frozensets keep theirs as well. The number lies in
 * a slot in front of the items, and only where it can matter: if it is not 0, and not all items are
 * small values and spans.
 */
#ifndef ACHAR_CODEC_GRAPH_H
#define ACHAR_CODEC_GRAPH_H

#include <stdbool.h>

#include <achar/read.h>
#include <achar/value.h>

#include "base/arena.h"
#include "base/table.h"

/* Two bits beside the kind: a frozen value with 'born' in front of its items; and the memo's own mark
 * on what a GET has asked for. */
#define VALUE_TIMED   ((uint64_t)0x40)
#define VALUE_FETCHED ((uint64_t)0x80)

static inline achar_value value_make(int kind, uint64_t size, const void *pointer)
{
    achar_value value = {.meta = (uint64_t)kind | size << 8, .as = {.pointer = pointer}};
    return value;
}

static inline achar_value value_int(int64_t integer)
{
    achar_value value = {.meta = ACHAR_INT, .as = {.integer = integer}};
    return value;
}

static inline achar_value value_bool(bool truth)
{
    achar_value value = {.meta = ACHAR_BOOL, .as = {.integer = truth}};
    return value;
}

static inline achar_value value_float(double real)
{
    achar_value value = {.meta = ACHAR_FLOAT, .as = {.real = real}};
    return value;
}

#define VALUE_NONE    ((achar_value){.meta = ACHAR_NONE})
#define VALUE_NOTHING ((achar_value){.meta = ACHAR_NOTHING})

static inline uint64_t value_size(achar_value value)
{
    return value.meta >> 8;
}

/* Kinds in ranges; the enum's order makes them so. */
static inline bool kind_is_small(int kind)
{
    return kind <= ACHAR_FLOAT;
}

static inline bool kind_is_span(int kind)
{
    return kind >= ACHAR_BIGINT && kind <= ACHAR_BYTEARRAY;
}

static inline bool kind_is_frozen(int kind) /* points straight at its items */
{
    return kind == ACHAR_TUPLE || kind == ACHAR_FROZENSET;
}

static inline bool kind_is_container(int kind)
{
    return kind >= ACHAR_LIST && kind <= ACHAR_SET;
}

static inline bool kind_is_object(int kind)
{
    return kind >= ACHAR_GLOBAL;
}

#define NO_ENTRY UINT64_MAX

enum {
    CONTAINER_SPARE_LARGE = 0x3fff, /* 'spare' of a container whose items are an arena block */
    CONTAINER_SMALL_COUNT = 1024,   /* up to here items lie in the arena itself */
};

typedef struct container {
    union {
        achar_value *items;
        uint64_t born; /* while count is 0: the log's length when it was made */
    };
    uint64_t count : 48; /* values: two for each pair of a dict */
    uint64_t spare : 14; /* room behind them */
    uint64_t timed : 1;  /* 'born' is in front of them */
    uint64_t shared : 1; /* more than one thing refers to it */
} container;

typedef struct object {
    uint8_t
        opcode; /* what makes it: GLOBAL, STACK_GLOBAL, REDUCE, …, EXT4, BINPERSID, NEXT_BUFFER */
    uint8_t shared;
    uint8_t readonly; /* a buffer's */
    uint8_t python2;  /* an import's: its names are Python 2's, as below protocol 3 */
    uint32_t operands_count;
    uint64_t entry;        /* in the log; NO_ENTRY for a READONLY_BUFFER view */
    uint64_t first_change; /* NO_ENTRY, or set by prepare */
    uint64_t number;       /* extension code, or buffer index */
    const void *data;      /* a buffer's, if known */
    achar_value operands[];
} object;

/* What the operands are. */
enum {
    GLOBAL_MODULE = 0,
    GLOBAL_NAME = 1,
    CALL_CALLABLE = 0,
    CALL_ARGUMENTS = 1,
    CALL_KEYWORDS = 2,
    PERSISTENT_ID = 0,
    BUFFER_INNER = 0, /* of a READONLY_BUFFER view */
};

typedef struct log_entry {
    uint64_t offset : 48;
    uint64_t opcode : 8;
    uint64_t kind : 8; /* enum achar_effect_kind */
    achar_value target;
    union {
        achar_value *values;
        uint64_t start; /* of a FILL: the index of its first value in the container */
    };
    uint64_t count; /* values */
    uint64_t next;  /* set by prepare: the next change of the same target */
} log_entry;

struct achar_graph {
    memory mem;
    arena arena;
    achar_value root;
    int protocol; /* -1: built */
    int status;   /* of building: the first failure */
    bool edited;  /* built or changed by a program: 'shared' marks are not known yet */
    bool prepared;
    log_entry *log;
    size_t log_count;
    size_t log_capacity;
    table shared;   /* spans and frozen kinds that more than one thing refers to */
    table changes;  /* set by prepare: first change of targets that are no objects */
    table kept;     /* what shapes have decoded or made once: see shapes/shapes.h */
    uint8_t *input; /* owned; NULL: the caller's */
    size_t input_nbytes;
    size_t buffers_count; /* NEXT_BUFFER effects so far */
};

/* Values that nothing happens to and that lead nowhere: no tuple, container or object among them. */
static inline bool values_all_plain(const achar_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (achar_kind(values[i]) >= ACHAR_TUPLE)
            return false;
    return true;
}

static inline container *value_container(achar_value value)
{
    return (container *)(uintptr_t)value.as.pointer;
}

static inline object *value_object(achar_value value)
{
    return (object *)(uintptr_t)value.as.pointer;
}

/* How long the log was when a container or frozen value got the items that it had from the start; 0
 * also where that cannot matter. */
static inline uint64_t value_born(achar_value value)
{
    int kind = achar_kind(value);
    if (kind_is_frozen(kind))
        return value.meta & VALUE_TIMED ? ((const achar_value *)value.as.pointer)[-1].as.word : 0;
    const container *c = value_container(value);
    return c->count == 0 ? c->born : c->timed ? c->items[-1].as.word : 0;
}

/* The items of any container or frozen kind; '*count' in values. NULL and 0 for other kinds. */
static inline const achar_value *value_items(achar_value value, size_t *count)
{
    int kind = achar_kind(value);
    if (kind_is_frozen(kind)) {
        *count = value_size(value);
        return value.as.pointer;
    }
    if (kind_is_container(kind) && value_container(value)->count != 0) {
        *count = value_container(value)->count;
        return value_container(value)->items;
    }
    *count = 0;
    return NULL;
}

achar_graph *achar__graph_new(const achar_allocator *allocator, uint64_t limit_nbytes);

/* An empty container of that kind; ACHAR_NOTHING where memory ran out. */
achar_value achar__container_new(achar_graph *g, int kind);

/* Adds values to a plain container, with a FILL entry if one is due. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__container_fill(achar_graph *g, achar_value target, const achar_value *values,
                          size_t count, int opcode, uint64_t offset);

/* A frozen kind with a copy of 'items'; ACHAR_NOTHING where memory ran out. */
achar_value achar__frozen_new(achar_graph *g, int kind, const achar_value *items, size_t count);

/*
 * An object, and its entry in the log unless 'effect' is -1; ACHAR_NOTHING where memory ran out.
 * 'kind' is the value's, 'opcode' what made it.
 */
achar_value achar__object_new(achar_graph *g, int kind, int effect, int opcode, uint64_t offset,
                              const achar_value *operands, size_t operands_count);

/* An entry for a change of 'target' by a copy of 'values'. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__log_change(achar_graph *g, int effect, achar_value target, const achar_value *values,
                      size_t count, int opcode, uint64_t offset);

/* Notes that one more thing refers to a value. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__graph_share(achar_graph *g, achar_value value);

/* Whether more than one thing does. On edited graphs only after prepare. */
bool achar__graph_is_shared(const achar_graph *g, achar_value value);

/*
 * Makes what only some uses of a graph need: the chains of changes of each target, and on edited
 * graphs the 'shared' marks. Does nothing when nothing changed. ACHAR_OK, E_NOMEM, E_LIMIT.
 */
int achar__graph_prepare(achar_graph *g);

/* first change of any target, after prepare */
uint64_t achar__graph_first_change(const achar_graph *g, achar_value target);

#endif
