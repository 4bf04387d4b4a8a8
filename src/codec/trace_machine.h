/*
 * trace_machine.h - the unpickling machine as `achar trace` shows it: a stack, a memo, and values of
 * which only as much is kept as a person is shown.
 *
 * It refuses what the reader refuses, for the same reason at the same place. What is
 * different is what it keeps. The reader keeps every value until the graph is freed; here a
 * container keeps its first few items and the number of all, and what neither the stack nor the
 * memo leads to is freed, so that a pickle of any length can be watched.
 *
 * A value is an achar_value with other contents. Where the reader has a size it has the offset of
 * the opcode that made it, which is all there is of most of them: a number or a text is decoded
 * again from the input when it is to be shown. Whatever has parts, can change, or does not stand in
 * the input as it is shown has a node, counted by references.
 *
 *      stack, memo              node                     children
 *     ┌──────┬────────┬──────┐ ┌───────────────────────┐ ┌───────┬───────┬───
 *     │ LIST │ offset │  ●───┼─▶ refs, count = 5000, ●─┼─▶ value │ value │ … the first few
 *     ├──────┼────────┼──────┤ └───────────────────────┘ └───────┴───────┴───
 *     │ STR  │ offset │  0   │   what is at 'offset' in the input
 *     ├──────┼────────┼──────┤
 *     │ MARK │        │      │
 *     └──────┴────────┴──────┘
 */
#ifndef ACHAR_CODEC_TRACE_MACHINE_H
#define ACHAR_CODEC_TRACE_MACHINE_H

#include "base/buffer.h"
#include "codec/cell.h"
#include "codec/python2_names.h"
#include "codec/token.h"
#include "codec/trace_entries.h"

/* Kinds that only occur here, beside enum achar_kind: a mark on the stack; of an object's changes,
 * the one made by BUILD (the others are ACHAR_LIST, ACHAR_DICT, ACHAR_SET). */
enum { KIND_MARK = 0x3f, KIND_STATE = 0x3e };

enum {
    TRACE_DEPTH_MAX = 20,
    TRACE_RECENT_COUNT = 8,
    TRACE_TEXT_NBYTES = 512, /* of a text that is decoded once, what is kept for names */
};

#define NO_INDEX UINT64_MAX

/* How much of a value is shown, and so how much is kept. */
typedef struct trace_limits {
    size_t items_count; /* of a container, or pairs of a dict */
    size_t text_count;  /* characters of a text, bytes of bytes */
    size_t depth;       /* at most TRACE_DEPTH_MAX */
    size_t width;       /* characters, after which what is left is only counted */
} trace_limits;

typedef struct trace_node {
    uint32_t refs_count;
    uint8_t kind;
    uint8_t opcode;
    bool python2;        /* an import's: its names are Python 2's */
    bool unhashable;     /* a tuple's: something in it cannot be a dict's key */
    uint8_t last_change; /* kind of the change that came last, 0: none yet */
    uint64_t memo_index; /* where the memo has it, or NO_INDEX */
    uint64_t count;      /* of children in truth; two for each pair of a dict */
    uint32_t kept_count; /* of those the first few */
    uint32_t kept_max;   /* room */
    achar_value *children;
    uint64_t changes_count;     /* an object's, and how many of them are in the list */
    struct trace_node *changes; /* the first few of them, each with children of its own */
    struct trace_node *next; /* a change's next; of a node about to be freed, the next of those */
    uint8_t *text;           /* of what was a line: the start of a STR, or else what to show */
    size_t text_nbytes;
    uint64_t rest_nbytes;                 /* of a STR, behind that start */
    uint64_t page_id;                     /* the page's number for it, 0: none yet */
    uint64_t number;                      /* extension code, buffer index */
    struct trace_node *following, **link; /* in the list of all nodes */
} trace_node;

/* A value that went into the memo. */
typedef struct trace_put {
    uint64_t index;
    achar_value value;
} trace_put;

typedef struct trace_machine {
    memory *mem;
    trace_limits limits;
    int encoding;
    bool keeps_all; /* also what is in the memo and never asked for */
    /* the pickle */
    const uint8_t *data;
    const uint8_t *input_end;
    const uint8_t *cursor;
    const uint8_t *end; /* of the input, or of the frame */
    bool in_frame;
    achar_error cut_frame; /* its code is set once a frame has turned out to lack its end */
    int protocol;
    uint64_t buffers_count;
    /* its state */
    achar_value *stack;
    size_t stack_count;
    size_t stack_capacity;
    size_t *marks; /* where they are on the stack */
    size_t marks_count;
    size_t marks_capacity;
    trace_node *nodes; /* all there are: cycles are freed only here */
    buffer scratch;
    /* the memo: trace_memo.c says how */
    trace_entries memo;
    trace_entries kept;
    table wanted;
    bool knows_wanted;
    uint64_t memo_count; /* entries */
    uint64_t held_up_to;
    trace_put recent[TRACE_RECENT_COUNT]; /* in a ring: the last are at recent_count - 1, … */
    uint64_t recent_count;
    char problem[160]; /* of the failure: more than the code's own message */
} trace_machine;

/* What one opcode did. What it pushed is on top of the stack, what it changed too. */
typedef struct trace_step {
    token token;
    uint64_t offset;    /* in the pickle */
    size_t taken_count; /* entries that left the stack, marks with them */
    bool pushed;
    bool put;             /* the top went into the memo… */
    bool got;             /* …or came from there, */
    uint64_t memo_index;  /* at this index */
    int change;           /* the kind of change made to the top (see KIND_STATE), 0: none */
    size_t change_count;  /* by so many values, or of the values that an opcode collected */
    uint64_t kept_before; /* of the values kept by what was changed, those that are older */
} trace_step;

static inline achar_value trace_value(int kind, uint64_t offset, trace_node *node)
{
    return (achar_value){.meta = (uint64_t)kind | offset << 8, .as = {.pointer = node}};
}

static inline uint64_t trace_offset(achar_value value)
{
    return value.meta >> 8;
}

static inline trace_node *trace_node_of(achar_value value)
{
    return (trace_node *)(uintptr_t)value.as.pointer;
}

static inline bool trace_is_mark(achar_value value)
{
    return achar_kind(value) == KIND_MARK;
}

void achar__trace_machine_init(trace_machine *m, memory *mem, const trace_limits *limits,
                               int encoding, bool keeps_all);
void achar__trace_machine_free(trace_machine *m);

/* Makes ready for the pickle at the start of 'data'; everything of the one before goes. */
void achar__trace_machine_begin(trace_machine *m, const uint8_t *data, size_t data_nbytes);

/*
 * Does one opcode. On success 'step' says what it did; after STOP the result is still on the stack.
 * A frame without its end is no
 * failure yet: see cut_frame. On failure nothing has changed, 'step->offset' is the opcode's and 'problem' says why; a code of
 * the reader's, or ACHAR_E_NOMEM, ACHAR_E_LIMIT.
 */
int achar__trace_machine_step(trace_machine *m, trace_step *step);

/* Whether the line of INT, LONG or UNICODE needs no decoding: plain digits of at most 64 bits ('*number'
 * is then set), or ASCII without escapes. Its value has no node. */
bool achar__trace_is_plain(const token *t, int64_t *number);

/* The node of the object's change that came last, NULL if it is beyond those kept. */
trace_node *achar__trace_last_change(const trace_node *target);

#endif
