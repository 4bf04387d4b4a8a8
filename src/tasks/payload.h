/*
 * payload.h - what tasks carry, written and read without Python.
 *
 * The other end may be Python: src/python/executor/wire.h, leaf.h and packed.c have the same
 * formats. In short:
 *
 *   function   pickle of a str, the task's name, to a C worker; of an import, to a Python worker
 *   args       pickle of (args tuple, kwargs dict or None); in a stretch, a record: pickle of the
 *              args tuple, or a leaf
 *   RETURNED   pickle of the result; in a stretch, a record
 *   RAISED     [u32 exception_nbytes][pickle of the exception][pickle of (type, text, traceback, why)]
 *   packed     what put() stores, and results with large buffers: [pickle] [buffer]...
 *              [u64 offset, u64 nbytes]... [u64 pickle_nbytes][u64 buffer_count]
 */
#ifndef ACHAR_TASKS_PAYLOAD_H
#define ACHAR_TASKS_PAYLOAD_H

#include <achar/read.h>
#include <achar/value.h>

#include "runtime/pool/pool.h"

/* The flag of a function that may serve many tasks: neither an import nor a name can be changed. */
#define ACHAR__FUNCTION_REUSABLE 1u

/* Kinds of records in a stretch. */
enum { ACHAR__RECORD_PICKLE = 0, ACHAR__RECORD_RAISED, ACHAR__RECORD_LEAF };

/* What arguments, results and inputs are: a pickle, or packed; with buffers to be read only, or not. */
enum { ACHAR__KIND_PICKLE = 0, ACHAR__KIND_PUT, ACHAR__KIND_PACKED };

/* What is written grows in a block of shared memory; whose, the functions know. */
typedef struct achar__block_sink {
    void *owner;
    int (*reserve)(void *owner, size_t nbytes, achar__block *out);
    int (*grow)(void *owner, achar__block *block, size_t used, size_t nbytes);
    achar__block block; /* .data is NULL before the first byte */
    size_t used;
    int status; /* of the call that failed, or ACHAR_OK */
} achar__block_sink;

/* ACHAR_OK, or the status that the memory gave. */
int achar__block_sink_append(achar__block_sink *sink, const void *data, size_t nbytes);
/* Appends the pickle of 'graph'. A status as achar_write()'s; 'error' is filled in when it fails. */
int achar__block_sink_write(achar__block_sink *sink, achar_graph *graph, achar_error *error);

/* ---- exceptions ---- */

typedef struct achar__raised {
    const char *type;      /* "ValueError", "module:Type" */
    const char *text;      /* UTF-8; other bytes become '?' */
    const char *traceback; /* likewise */
} achar__raised;

/* Appends it as RAISED has it. A status; on error part of it may have been written. */
int achar__payload_write_raised(achar__block_sink *sink, const achar__raised *raised);

/* The report of RAISED as a graph, whose root is a tuple of four str; NULL: there is none. */
achar_graph *achar__payload_read_report(const void *bytes, size_t nbytes);

/* ---- leaves and inputs ---- */

/* The value of a leaf, in 'graph'; ACHAR_NOTHING for bytes that are none. */
achar_value achar__payload_read_leaf(achar_graph *graph, const char *bytes, size_t nbytes);

/* Reads what is of that kind. '*buffers' is to be freed after the graph. */
int achar__payload_read(const void *bytes, size_t nbytes, uint32_t kind, achar_buffer **buffers,
                        achar_graph **graph, achar_error *error);

#endif
