/*
 * reading.h - the reader's state, and what its loop (read_loop.c) leaves to others: text and numbers in
 * read_text.c, imports, calls and changes in read_object.c. All of them return ACHAR_OK or a status
 * that ends the reading, with the reason in 'problem'.
 */
#ifndef ACHAR_CODEC_READING_H
#define ACHAR_CODEC_READING_H

#include "base/buffer.h"
#include "codec/graph.h"
#include "codec/memo.h"

enum { STACK_FIRST_COUNT = SIZE_OR_TINY(128, 1), MARKS_FIRST_COUNT = SIZE_OR_TINY(32, 1) };

/* The first part of the stack, the marks and the memo lies here: small pickles need no more. */
typedef struct reading {
    achar_graph *graph;
    const achar_read_options *options;
    cell *stack;
    size_t stack_capacity;
    size_t *marks; /* heights of the stack */
    size_t marks_count;
    size_t marks_capacity;
    int protocol;   /* of the last PROTO: it decides whose names imports use */
    buffer scratch; /* text on its way into the arena */
    memo memo;
    cell first_stack[STACK_FIRST_COUNT];
    size_t first_marks[MARKS_FIRST_COUNT];
    char problem[128]; /* of the failure: more than the code's own message */
} reading;

/* Where an opcode stands: which byte it is, and where. */
typedef struct place {
    int opcode;
    uint64_t offset;
} place;

/* Sets 'problem' and returns 'code', for `return achar__problem(…)`. */
__attribute__((format(printf, 3, 4))) int achar__problem(reading *r, int code, const char *format,
                                                         ...);

/* Why an allocation of the graph's failed. */
int achar__read_memory_problem(reading *r);

/* ---- read_loop.c ---- */

/*
 * Runs the opcodes from 'start', which stands at 'base' in the whole input. ACHAR_OK: '*cursor' is
 * behind STOP, and the graph has its root. Otherwise '*cursor' is at the opcode that failed.
 */
int achar__read_run(reading *r, const uint8_t *start, const uint8_t *input_end, uint64_t base,
                    const uint8_t **cursor);

/* ---- read_stack.c ---- */

/* Cannot fail: the first part of both lies in the reading. */
void achar__read_stack_init(reading *r);
void achar__read_stack_free(reading *r);

/* More room. ACHAR_OK, E_NOMEM, E_LIMIT. */
int achar__read_grow_stack(reading *r);
int achar__read_grow_marks(reading *r);

/* ---- read_text.c: 'nbytes' bytes of a line or argument at 'at', which stay where they are ---- */

/* Python 2's str, as the caller's encoding has it. 'form' says how its size stands in front. */
int achar__read_string(reading *r, const uint8_t *at, size_t nbytes, int form, cell *c);
int achar__read_string_line(reading *r, const uint8_t *at, size_t nbytes, cell *c);
int achar__read_unicode_line(reading *r, const uint8_t *at, size_t nbytes, cell *c);
/* Of GLOBAL, INST or PERSID: UTF-8. */
int achar__read_name_line(reading *r, const uint8_t *at, size_t nbytes, cell *c);

/* Of INT or LONG. Python's readers take more (hexadecimal, octal), but not the same more, so that
 * only the plain form has one meaning. */
int achar__read_int_line(reading *r, const uint8_t *at, size_t nbytes, cell *c);
int achar__read_long_line(reading *r, const uint8_t *at, size_t nbytes, cell *c);
int achar__read_float_line(reading *r, const uint8_t *at, size_t nbytes, cell *c);
/* Of GET or PUT. */
int achar__read_index_line(reading *r, const uint8_t *at, size_t nbytes, uint64_t *index);

/* ---- read_object.c ---- */

int achar__read_global(reading *r, place p, cell module, cell name, cell *c);
int achar__read_call(reading *r, place p, const cell *operands, size_t operands_count, cell *c);
int achar__read_extension(reading *r, place p, int64_t code, cell *c);
int achar__read_persistent(reading *r, place p, cell id, cell *c);
int achar__read_buffer(reading *r, place p, cell *c);
/* READONLY_BUFFER: a view of a buffer; of a view, the view itself. */
int achar__read_readonly(reading *r, place p, cell *c);
int achar__read_frozenset(reading *r, const cell *items, size_t count, cell *c);

int achar__read_build(reading *r, place p, cell target, cell state);
/* APPEND(S), SETITEM(S), ADDITEMS: plain containers take the cells, objects get a log entry. */
int achar__read_change(reading *r, place p, int effect, cell target, const cell *cells,
                       size_t count);

#endif
