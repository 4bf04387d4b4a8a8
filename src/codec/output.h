/*
 * output.h - the writer's lower half: values without parts, the memo, frames, and the way out.
 *
 * From protocol 4 on, opcodes travel in frames of some 64 KiB, each with its length in front:
 *
 *     PROTO │ FRAME n │ opcodes… │ FRAME n │ opcodes… │ BINBYTES n │ 1 MB of data │ FRAME n │ …
 *
 * A frame is cut between values; text and bytes of 64 KiB and more stand outside frames, so that
 * a reader can take them without a copy. A frame that would hold under 4 bytes is left out.
 */
#ifndef ACHAR_CODEC_OUTPUT_H
#define ACHAR_CODEC_OUTPUT_H

#include "base/table.h"
#include "codec/emit.h"
#include "codec/graph.h"

enum {
    FRAME_TARGET_NBYTES = 64 << 10,
    FRAME_HEADER_NBYTES = 9,
    FRAME_MIN_NBYTES = 4,
};

#define NO_FRAME SIZE_MAX

/* What the memo says of a value: its index, and perhaps that its items are still to come; or that
 * it has been begun and has no index yet. */
#define MEMO_PENDING ((uint64_t)1 << 62)
#define MEMO_OPEN    ((uint64_t)1 << 61)
#define MEMO_INDEX   (MEMO_OPEN - 1)

/* Keys in the memo of what stands for no value of the graph (kind ACHAR_NOTHING). */
enum { WORD_ENCODE = 1, WORD_LATIN1 };

typedef struct output {
    memory *mem;
    buffer out;
    const achar_sink *sink; /* NULL: everything stays in 'out' */
    int protocol;
    int sink_failed;
    size_t frame_start; /* of the opcodes in the open frame, behind room for its header */
    table memo;
    uint64_t memo_count;
    buffer scratch;
} output;

void achar__output_init(output *o, memory *mem, int protocol, const achar_sink *sink);
void achar__output_free(output *o);

/* ACHAR_OK, or why something that was written so far got lost. */
static inline int output_status(const output *o)
{
    return o->sink_failed ? o->sink_failed : o->out.failed;
}

/* PROTO and the first frame, with room for 'nbytes' in all, a guess; STOP, and everything out to the sink. */
void achar__output_begin(output *o, size_t nbytes);
void achar__output_end(output *o);

void achar__output_cut(output *o);

/* Between two values: a full frame ends here. */
static inline void output_boundary(output *o)
{
    size_t start = o->frame_start == NO_FRAME ? 0 : o->frame_start;
    if (__builtin_expect(o->out.nbytes - start >= FRAME_TARGET_NBYTES, 0) &&
        (o->frame_start != NO_FRAME || o->sink != NULL))
        achar__output_cut(o);
}

/* The value just written gets the next index. ACHAR_OK, or the memo's failure. */
int achar__output_memoize(output *o, cell c);

/* The same without the opcode, which the caller writes: MEMOIZE, from protocol 4 on. */
int achar__output_remember(output *o, cell c);

void achar__output_get(output *o, uint64_t index);

/*
 * The whole of a value of a small or span kind, without memo. ACHAR_E_UNSUPPORTED where text or
 * bytes are too long for the protocol. What was too much for memory shows in output_status().
 */
int achar__output_atom(output *o, cell c);

/* A str of that text, likewise. */
int achar__output_text(output *o, const void *data, size_t nbytes);

/*
 * The small values that 'items' starts with, up to the first of another kind or the end of a frame:
 * how many of them were written. 0 below protocol 2, where output_atom() does it. The hot loop for
 * lists of numbers.
 */
size_t achar__output_small_run(output *o, const cell *items, size_t count);

/* An import of one of Python's own names, by its Python 3 module; below protocol 3 as Python 2
 * calls it. */
void achar__output_import(output *o, const char *module, const char *name);

/* The opcodes that begin and end a tuple of 'count' values. */
void achar__output_tuple_begin(output *o, size_t count);
void achar__output_tuple_end(output *o, size_t count);

#endif
