/*
 * output.h - where the saver's bytes go: one growing piece of memory, cut into frames.
 *
 *     data            frame_start                cursor    soft_end      hard_end
 *      |  earlier bytes  | header (9) | payload ...  |  ...    |  reserve    |
 *
 * Before an object is written, the caller compares its cursor with soft_end once. Below it there is
 * room for SAVER_ROOM_NBYTES, enough for any fixed-size object with its memo opcode, and the frame
 * is not full. At or above it, saver_output_boundary() cuts the frame or makes room. Opcodes that
 * close a container do not start an object, so they never cut a frame; they come after
 * saver_output_reserve().
 *
 * A frame is opened as soon as the last one is closed; one that stays empty leaves no trace, and
 * one below 4 bytes leaves no header (as CPython's C pickler has it).
 *
 * Invariant: data <= cursor <= hard_end; frame_start is the offset of the open frame's header, -1
 * if none is open. Hot loops keep the cursor in a local variable and store it back before any call.
 */
#ifndef ACHAR_PYTHON_SAVER_OUTPUT_H
#define ACHAR_PYTHON_SAVER_OUTPUT_H

#include "base/memory.h"
#include "python/saver/saver.h"

enum {
    SAVER_ROOM_NBYTES = 320,
    SAVER_FRAME_HEADER_NBYTES = 9,
    SAVER_FRAME_TARGET_NBYTES = 64 * 1024,
    SAVER_INLINE_NBYTES = SIZE_OR_TINY(1024, 1),
};

typedef struct saver_output {
    char *cursor;
    char *soft_end;
    char *hard_end;
    char *data;
    Py_ssize_t frame_start;
    int framing;      /* protocol 4 and up */
    PyObject *bytes;  /* the memory, once it has left 'inline_data'; NULL in a caller's sink */
    saver_sink *sink; /* the caller's memory; NULL: our own */
    PyObject *write;  /* borrowed; a file's write method; NULL: none. Frames leave as they fill */
    size_t flushed_nbytes; /* what the file has got */
    char inline_data[SAVER_INLINE_NBYTES];
} saver_output;

/* Exactly one of 'sink' and 'write' may be given. The output must not move in memory. */
void saver_output_init(saver_output *out, saver_sink *sink, PyObject *write);
void saver_output_clear(saver_output *out);

/* Begins framing; the PROTO opcode is outside. 0 or -1. */
int saver_output_start_framing(saver_output *out);

/*
 * At the start of an object, when cursor >= soft_end. With a file this may call its write method,
 * so the caller has settled all that it borrows. 0, or -1 with an exception set.
 */
int saver_output_boundary(saver_output *out);

/* Makes room for 'nbytes' more; the data may move. 0, or -1 with MemoryError set. */
int saver_output_grow(saver_output *out, size_t nbytes);

static inline int saver_output_reserve(saver_output *out, size_t nbytes)
{
    if ((size_t)(out->hard_end - out->cursor) >= nbytes)
        return 0;
    return saver_output_grow(out, nbytes);
}

/* 'nbytes' bytes from 'data', which are not the output's own. 0 or -1. */
int saver_output_write(saver_output *out, const void *data, size_t nbytes);

/*
 * A payload of SAVER_FRAME_TARGET_NBYTES or more goes outside any frame. These two bracket it:
 * saver_output_leave_frame(), then the header and the payload, then saver_output_enter_frame().
 */
void saver_output_leave_frame(saver_output *out);
int saver_output_enter_frame(saver_output *out);

/*
 * Hands all that was written so far to the file's write method; no frame may be open. Runs Python
 * code. 0 or -1.
 */
int saver_output_flush(saver_output *out);

/* Closes the last frame. What was written is data[0 .. cursor). */
void saver_output_finish(saver_output *out);

/* All that was written, after saver_output_finish(), as a bytes object. Not for a caller's sink. */
PyObject *saver_output_take_bytes(saver_output *out);

#endif
