/*
 * wire.h - what the client and its workers agree on, beyond the runtime's descriptors.
 *
 *   hello     pickle of a dict, see achar/_worker.py
 *   function  pickle of the callable; flags below
 *   args      pickle of (args tuple, kwargs dict or None), or (args, kwargs, name) of a task that has
 *             been given a name
 *   RETURNED  pickle of the result
 *   RAISED    [u32 exception_nbytes][pickle of the exception][pickle of the report]
 *             exception_nbytes is 0 where the exception could not be pickled. The report is a tuple
 *             of four str: the exception's type, its text, the traceback, and why it could not be
 *             pickled. The report can always be read, whatever the exception is made of.
 *             No bytes at all: not even the report found room.
 *
 * In a stretch (runtime/pool/pool.h), which is how map() travels, each call has a record in the
 * arguments and one in the results. The record's kind says what is in it:
 *
 *   WIRE_PICKLE   arguments: pickle of the args tuple; results: as RETURNED
 *   WIRE_RAISED   results: as RAISED
 *   WIRE_LEAF     the one positional argument, or the result, as a leaf (leaf.h)
 *
 * What C programs read and write of this without Python is in src/tasks/payload.h: change both.
 *
 * A payload is pickled straight into the shared memory that it travels in; only what fits into
 * 'small' is collected there first, so that a short payload takes no more room than it needs.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_WIRE_H
#define ACHAR_PYTHON_EXECUTOR_WIRE_H

#include "python/saver/saver.h"
#include "runtime/pool/pool.h"

/* The unpickled function may serve many tasks (saver_report.reusable). */
#define WIRE_FUNCTION_REUSABLE 1u

enum { WIRE_PICKLE = 0, WIRE_RAISED, WIRE_LEAF };

/* Where blocks come from: the pool's own region in the client, the worker's in a worker. */
typedef struct wire_memory {
    void *owner;
    int (*reserve)(void *owner, size_t nbytes, achar__block *out);
    int (*grow)(void *owner, achar__block *block, size_t used, size_t nbytes);
    void (*free)(void *owner, achar__block *block);
} wire_memory;

typedef struct wire_sink {
    saver_sink sink;
    const wire_memory *memory;
    int status;           /* of the memory, when it had no more; else ACHAR_OK */
    size_t needed_nbytes; /* then: what it did not have, in one block */
    const char *doing;    /* for messages: "cannot …" */
    achar__block block;   /* .data is NULL while everything is in 'small' */
    char small[1024];
} wire_sink;

void wire_sink_init(wire_sink *ws, const wire_memory *memory);

/* Moves what was written into ws->block and returns 0, or -1 with an exception set. The caller then
 * hands the block over, or calls wire_sink_clear(). */
int wire_sink_finish(wire_sink *ws);

/* Gives back the memory that was not handed over. */
void wire_sink_clear(wire_sink *ws);

/* Appends plain bytes. 0, or -1 with an exception set. */
int wire_sink_append(wire_sink *ws, const void *bytes, size_t nbytes);

/*
 * wire_raise_status() sets the Python exception for a failed call of the runtime: MemoryError,
 * OSError or RuntimeError. 'doing' completes the sentence "cannot …".
 */
void wire_raise_status(int status, const char *doing);

/* A str as UTF-8, for those who only show it: surrogates, which have none, are escaped (\ud800). New bytes, or
 * NULL with an exception set. */
PyObject *wire_utf8(PyObject *text);

#endif
