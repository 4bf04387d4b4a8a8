/*
 * writing.h - the writer's state: a stack of steps, and who does them. write.c has the idea.
 *
 *     write.c             a value, whatever it is; the order of effects; statements; the root
 *     write_container.c   lists, dicts, sets, tuples, and what is put into them
 *     write_object.c      imports, calls and what else only Python could make
 *     write_plain.c       the quick way through values in which nothing happens
 *
 * Functions return ACHAR_OK or why writing ends. What begins a value writes all of it, or its first
 * opcodes and pushes a step for the rest.
 */
#ifndef ACHAR_CODEC_WRITING_H
#define ACHAR_CODEC_WRITING_H

#include "codec/output.h"

typedef enum step_kind {
    STEP_ROOT,
    STEP_STATEMENT, /* 'entry' and POP */
    STEP_FILL,      /* GET of a pending container, its items, POP */
    STEP_CONTENTS,  /* of a list, dict or set that lies on the stack; then its changes */
    STEP_CHANGES,   /* of what lies on the stack */
    STEP_ITEMS,     /* items go into what lies on the stack; 'entry' if that is one */
    STEP_FROZEN,    /* the items of a tuple, or of a set written by a call */
    STEP_OBJECT,    /* the operands of an object */
    STEP_PLAIN,     /* containers in which nothing happens, 'index' levels up: write_plain.c */
} step_kind;

typedef struct step {
    step_kind kind;
    uint8_t stage;
    uint8_t opcode; /* STEP_ITEMS: APPENDS, SETITEMS, ADDITEMS, BUILD */
    uint8_t form;   /* STEP_OBJECT: enum object_form */
    bool in_batch;
    bool single;      /* the batch is one item, without MARK */
    bool remember;    /* memoize the value when it is complete */
    bool whole;       /* all items in one batch: an entry is one effect */
    bool opens_scope; /* and closes it when it ends */
    cell value;
    const cell *items;
    size_t index;
    size_t count;
    size_t batch_end;
    uint64_t entry;  /* what this step does in the log; NO_ENTRY */
    uint64_t limit;  /* only entries before this one may go out */
    uint64_t change; /* STEP_CONTENTS, STEP_CHANGES: the next change to look at */
} step;

/* Where containers wait for tuples: the whole pickle, or the parts of one entry. */
typedef struct scope {
    size_t open_count;    /* shared tuples and frozensets being written */
    size_t pending_start; /* this scope's part of the pending containers */
} scope;

/* What write_plain.c has open: a value whose parts it writes, or one change of it. */
typedef struct level {
    const cell *next;
    const cell *batch_end;
    const cell *end;
    cell value;
    uint64_t entry; /* what this level does in the log; NO_ENTRY */
    uint8_t
        opcode; /* what ends a batch: APPENDS, SETITEMS, ADDITEMS; TUPLE1, REDUCE and their like */
} level;

enum { STEPS_FIRST_COUNT = SIZE_OR_TINY(8, 1), LEVELS_FIRST_COUNT = SIZE_OR_TINY(32, 1) };

typedef struct writer {
    achar_graph *graph;
    output o;
    bool keep_names; /* imports are not renamed for the Python that the protocol is for */
    step *steps;
    size_t steps_count;
    size_t steps_capacity;
    scope *scopes;
    size_t scopes_count;
    size_t scopes_capacity;
    cell *pending;
    size_t pending_count;
    size_t pending_capacity;
    level *levels; /* open containers of all plain steps */
    size_t levels_count;
    size_t levels_capacity;
    uint64_t next;     /* the first entry that has not gone out */
    table absorbed;    /* entries that go out as part of something else */
    bool forced;       /* something is in the memo that is not shared */
    const char *lacks; /* with ACHAR_E_UNSUPPORTED: what the protocol cannot say */
    /* The first part of the stacks: small pickles need no more. */
    step first_steps[STEPS_FIRST_COUNT];
    scope first_scopes[STEPS_FIRST_COUNT];
    level first_levels[LEVELS_FIRST_COUNT];
} writer;

enum { BATCH_COUNT = 1000 };

/* For `return writer_unsupported(…)`. */
static inline int writer_unsupported(writer *w, const char *what)
{
    w->lacks = what;
    return ACHAR_E_UNSUPPORTED;
}

/* ---- the stack of steps ---- */

/* Room for one more element of 'nbytes' bytes in an array, which lies in 'first' (may be NULL) as
 * long as it is small. */
int achar__writer_grow(writer *w, void **array, const void *first, size_t count, size_t *capacity,
                       size_t nbytes);
int achar__writer_push(writer *w, step s);

static inline int writer_pop(writer *w)
{
    w->scopes_count -= w->steps[--w->steps_count].opens_scope;
    return ACHAR_OK;
}

static inline step *writer_top(writer *w)
{
    return &w->steps[w->steps_count - 1];
}

static inline scope *writer_scope(writer *w)
{
    return &w->scopes[w->scopes_count - 1];
}

/* ---- order ---- */

/* Whether an entry has to wait because others come first; if so, a step for the first of them has
 * been pushed, and the caller returns to be called again. */
bool achar__write_catch_up(writer *w, uint64_t entry, int *status);

/* An entry's opcode has gone out. */
static inline void writer_done(writer *w, uint64_t entry)
{
    if (entry != NO_ENTRY && w->next <= entry)
        w->next = entry + 1;
}

/* Whether some change of a value cannot be written right after the value itself. */
bool achar__write_has_later_change(const writer *w, uint64_t change, uint64_t limit);

/* ---- values: 'limit' is that of the step that asks; 'remember' has it memoized in any case ---- */

int achar__write_begin(writer *w, cell value, uint64_t limit, bool remember);
int achar__write_container(writer *w, cell value, uint64_t limit, bool remember);
/* A tuple or frozenset; below protocol 4 also a set: what must be complete when it is made. */
int achar__write_frozen(writer *w, cell value, uint64_t limit, bool remember);
int achar__write_object(writer *w, cell value, uint64_t limit, bool remember);

/* The opcode by which a change of the log is done. */
uint8_t achar__write_change_opcode(const log_entry *entry);

/* A step for what one entry puts into the target, which lies on the stack. */
int achar__write_push_change(writer *w, uint64_t index);

/* INST names its class in its argument; that can stand for the import if nothing came between. */
bool achar__write_is_inst(const writer *w, const object *o);

/* The opcode that puts items into a list, dict or set. */
static inline uint8_t filling_opcode(int kind)
{
    return kind == ACHAR_LIST ? OP_APPENDS : kind == ACHAR_DICT ? OP_SETITEMS : OP_ADDITEMS;
}

/* ---- the quick way ---- */

/* Whether a container or frozen value can go the quick way: protocol 4 or above, and nothing in it
 * that comes out of order or has to wait for something. */
bool achar__write_is_plain(writer *w, cell value);

/* A step for such a value. */
int achar__write_plain(writer *w, cell value);

/* ---- what the steps do when they are on top ---- */

int achar__write_run_items(writer *w);
int achar__write_run_contents(writer *w);
int achar__write_run_changes(writer *w);
int achar__write_run_frozen(writer *w);
int achar__write_run_object(writer *w);
int achar__write_run_plain(writer *w);

#endif
