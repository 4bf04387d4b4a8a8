/*
 * trace_show.h - a value of the trace's machine as short text, in the manner of Python's repr().
 *
 *     [1, 2, 'three']    {'key': None}    (1,)    frozenset({1})    b'bytes'
 *     datetime.date                          an import
 *     call datetime.date(b'\x07\xe7\x01\x02')   what only a call would give; `new` calls __new__
 *     call collections.deque() + [1, 2] + state {'x': 1}    and what was done to it since
 *     extension 5    persistent 'id'    buffer 0
 *     [1, memo[0]]                           a list inside itself, which the memo has at 0
 *
 * What is long is cut, with the number of what is left: [1, 2, …+998], 'text'…+960 bytes. A value
 * nested too deep shows only how many items it has.
 */
#ifndef ACHAR_CODEC_TRACE_SHOW_H
#define ACHAR_CODEC_TRACE_SHOW_H

#include "codec/trace_machine.h"

enum paint { PAINT_NONE, PAINT_DIM, PAINT_BOLD, PAINT_TEXT, PAINT_CALL, PAINT_MARK, PAINT_FAULT };

/* Escape sequences that begin and end a colour, if colours are wanted. */
void achar__trace_paint(buffer *out, bool color, enum paint paint);

/* Appends a value; returns its width in characters. Marks are "(". */
size_t achar__trace_show(buffer *out, trace_machine *m, achar_value value, bool color);

/* Appends the callable and arguments of a call, without the word before. */
size_t achar__trace_show_call(buffer *out, trace_machine *m, achar_value value);

/* Appends an opcode's argument; nothing if it has none. */
void achar__trace_show_argument(buffer *out, trace_machine *m, const trace_step *step);

/* Appends a number, text, bytes or constant of the reader's. */
void achar__trace_show_atom(buffer *out, achar_value graph_value, const trace_limits *limits);

/* The import's module and name, as Python 3 has them, if both are plain text. */
bool achar__trace_import_names(trace_machine *m, achar_value import, name_text *module,
                               name_text *name);

/* How many characters there are in valid UTF-8. */
size_t achar__trace_width(const uint8_t *at, size_t nbytes);

#endif
