/*
 * output_internal.h - the books of output.c (pipes, and the thread that reads them) and output_text.c (what
 * comes out of them). The lock guards all of it; functions here are called with it held.
 */
#ifndef ACHAR_RUNTIME_OUTPUT_INTERNAL_H
#define ACHAR_RUNTIME_OUTPUT_INTERNAL_H

#include "runtime/pool/output.h"
#include "runtime/pool/wire.h"

#include <pthread.h>
#include <stdbool.h>

#define ACHAR__OUTPUT_READ_NBYTES ((size_t)1 << 16)
#define ACHAR__OUTPUT_TAIL_NBYTES ((size_t)4096)

enum { ACHAR__STDOUT = 0, ACHAR__STDERR };

typedef struct achar__output_text {
    char *data;
    size_t nbytes, capacity;
} achar__output_text;

/* The parts so far of what one process sends. */
typedef struct achar__output_record {
    struct achar__output_record *next;
    uint32_t pid;
    bool cut; /* a part was lost */
    achar__output_text text;
} achar__output_record;

/* One pipe. */
typedef struct achar__output_stream {
    int fd; /* -1: closed */
    bool paused;
    unsigned char held[ACHAR__FRAME_NBYTES_MAX]; /* the start of a frame */
    size_t held_nbytes;
    achar__output_text line;              /* has no end yet */
    uint32_t line_number;                 /* the task's that wrote it */
    uint32_t line_pid;                    /* the process's that sent it in a frame; 0: none */
    struct achar__output_record *records; /* whose last part has not come, the newest first */
    uint32_t named_number;                /* the task that last wrote a frame, and its name */
    size_t name_nbytes;
    char name[ACHAR__FRAME_NAME_MAX];
} achar__output_stream;

typedef struct achar__output_source {
    achar__output_stream streams[2];
    int pid;
    const achar__wire_up *up;
    const achar__wire_down *down;
    size_t queued_nbytes;
    int64_t paused_ns; /* since when; 0: it is not */
    bool neglected;    /* nobody takes its output: it is thrown away */
    uint64_t dropped_count, dropped_nbytes;
    /* Text in frames: read from the pipes; handed out with what was taken last; and dealt with. */
    uint64_t framed_nbytes, handed_nbytes;
    _Atomic uint64_t taken_nbytes; /* read without the lock */
    char tail
        [ACHAR__OUTPUT_TAIL_NBYTES]; /* a ring: the end of what its last task wrote to standard error */
    size_t tail_end;                 /* how much ever went in */
    uint32_t tail_number;            /* that task's */
} achar__output_source;

struct achar__output {
    pthread_mutex_t lock;
    pthread_t thread;
    bool delivers, stopping;
    bool
        is_stuck; /* somebody has waited in vain for what was handed out: nobody does until more is taken */
    int64_t patience_ns; /* that a worker has to wait whose text nobody takes */
    int64_t moment_ns;   /* without any taken; then a result does not wait for it */
    int epoll_fd, wake_fd;
    _Atomic uint32_t word; /* futex: the list, or whether more can come, changed */
    bool ended;
    _Atomic uint32_t taken_word; /* futex: a source's taken_nbytes has grown */
    achar__output_piece *head, **last;
    unsigned source_count;
    unsigned char chunk[ACHAR__FRAME_NBYTES_MAX + ACHAR__OUTPUT_READ_NBYTES];
    achar__output_source sources[];
};

/* ---- output_text.c ---- */

unsigned achar__output_index_of(const achar__output *output, const achar__output_source *from);
/* Wakes who waits for output. */
void achar__output_tell(achar__output *output);
void achar__output_clear(achar__output_text *it);
/* Drops the records that will have no end, and counts them. */
void achar__output_drop_records(achar__output_source *from, int which);
/* What was thrown away is told as soon as somebody takes output again. */
void achar__output_add_dropped(achar__output *output, achar__output_source *from);
/* What has no end yet goes on as it is. */
void achar__output_end_line(achar__output *output, achar__output_source *from, int which);
/* Bytes from a pipe, after what it has held. 'last': nothing will come behind. */
void achar__output_take_bytes(achar__output *output, achar__output_source *from, int which,
                              const unsigned char *data, size_t nbytes, bool last);

#endif
