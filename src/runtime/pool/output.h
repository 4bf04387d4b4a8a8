/*
 * output.h - what workers write to their standard output and error, on its way to the client's program.
 *
 * Each worker has two pipes. A C thread of the client reads them and cuts what comes into whole lines,
 * each with the number of the task that wrote it; achar__pool_take_output() hands them out.
 *
 *    worker: write() ──► pipe ──► output thread ──► list of pieces ──► take_output()
 *
 * A worker that knows whose a text is says so: it writes frames, each in one write() of at most
 * ACHAR__FRAME_NBYTES_MAX bytes, which pipes keep in one piece. Other bytes (C code, child processes) are
 * counted to the task that the worker is running when they are read.
 *
 * A worker never waits for long: when more than OUTPUT_KEPT_NBYTES of its output lie unread, its pipes
 * are not read, until somebody takes some, or for 'patience_ns' at most; from then on, until
 * somebody takes some, its output is thrown away, and counted.
 */
#ifndef ACHAR_RUNTIME_OUTPUT_H
#define ACHAR_RUNTIME_OUTPUT_H

#include <stdint.h>

#include "runtime/pool/pool.h"

/* ---- what a worker writes ---- */

#define ACHAR__FRAME_MAGIC      "\0achar"
#define ACHAR__FRAME_NBYTES_MAX 4096 /* PIPE_BUF: such a write is not interleaved with others */
#define ACHAR__FRAME_NAME_MAX   128

enum achar__frame_kind {
    ACHAR__FRAME_TEXT = 1,
    ACHAR__FRAME_RECORD_PART, /* of something larger; the last part is a RECORD */
    ACHAR__FRAME_RECORD,      /* the user's own bytes, handed out as they are */
};

typedef struct achar__frame {
    char magic[6];
    uint8_t kind;
    uint8_t name_nbytes;
    uint32_t number; /* of the task */
    uint32_t pid;    /* who writes: the worker, or a process that it forked */
    uint32_t data_nbytes;
} achar__frame; /* then the task's name, then the data */
_Static_assert(sizeof(achar__frame) == 20, "no padding");

/* ---- the client's side; output.c ---- */

typedef struct achar__output achar__output;
typedef struct achar__wire_up achar__wire_up;
typedef struct achar__wire_down achar__wire_down;

/* The thread starts. 'delivers' false: nothing is handed out. ACHAR_OK; ACHAR_E_NOMEM, ACHAR_E_IO. */
int achar__output_create(unsigned worker_count, bool delivers, achar__output **out);
/* No more pipes will come; the thread ends when it has read what there is. */
void achar__output_stop(achar__output *output);
/* Joins the thread, and frees. NULL does nothing. */
void achar__output_destroy(achar__output *output);

/* Two pipes for a worker's descriptors 1 and 2. 0 or an errno. */
int achar__output_pipes(int reads[2], int writes[2]);
/* Takes over the two descriptors. 'up' must be readable until achar__output_finish(). */
void achar__output_attach(achar__output *output, unsigned worker, int pid, const int reads[2],
                          const achar__wire_up *up, const achar__wire_down *down);
/* The worker is dead: reads what is left. The end of what it wrote to its standard error, NUL-terminated, to be freed; NULL:
 * nothing, or no memory. */
char *achar__output_finish(achar__output *output, unsigned worker);

int achar__output_take(achar__output *output, int64_t timeout_ns, achar__output_piece **out);
/* Whether so much of what the worker has sent in frames has been dealt with. Takes no lock. */
bool achar__output_was_taken(const achar__output *output, unsigned worker, uint64_t framed_nbytes);
/* See achar__task_await_output(). 'up' is the worker's, to be compared only: another may be there now. */
void achar__output_await(achar__output *output, unsigned worker, const achar__wire_up *up,
                         uint64_t framed_nbytes, int64_t timeout_ns);
/* See achar__pool_be_patient(). */
void achar__output_be_patient(achar__output *output, int64_t patience_ns);

#endif
