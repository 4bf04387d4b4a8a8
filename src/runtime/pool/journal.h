/*
 * journal.h - what happens in a pool, told in fixed records to one reader: who writes them down.
 *
 *    workers ──completions (shared memory)──► whoever has the pool's lock ──journal──► one reader
 *
 * What only a worker knows of a task (when it began, processor time, memory) stands in its completion; the
 * rest the client knows. So there is one writer, the thread that has the pool's lock, and a record is
 * written in one go. The journal is a list of chunks: it grows while the reader is slow, up to
 * ACHAR__JOURNAL_CHUNKS_MAX of them. Beyond that records are dropped, and counted; a task never waits.
 */
#ifndef ACHAR_RUNTIME_JOURNAL_H
#define ACHAR_RUNTIME_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct achar__journal achar__journal; /* reference-counted */

#define ACHAR__JOURNAL_CHUNK_RECORDS 1024
#define ACHAR__JOURNAL_CHUNKS_MAX    1024 /* 2^20 records, 128 MiB */
#define ACHAR__JOURNAL_CHUNKS_RING   128  /* the bell is rung once for so many that were filled */

enum achar__journal_kind {
    ACHAR__JOURNAL_NAME = 1,  /* 'name' stands for 'text', which is the journal's own */
    ACHAR__JOURNAL_SUBMITTED, /* a task, or the 'calls' of a stretch */
    ACHAR__JOURNAL_RETRIED,   /* an attempt has failed, and there will be another */
    ACHAR__JOURNAL_ENDED,     /* a task, or some calls of a stretch */
    ACHAR__JOURNAL_WORKER_STARTED,
    ACHAR__JOURNAL_WORKER_READY,
    ACHAR__JOURNAL_WORKER_ENDED,
};

/* Why a worker's process ended: 'how' of ACHAR__JOURNAL_WORKER_ENDED. */
enum achar__worker_end {
    ACHAR__END_LEFT =
        1,             /* it was told to: the pool has ended, or it has done its number of tasks */
    ACHAR__END_EXITED, /* by itself: a task has called exit(), or the program is over */
    ACHAR__END_KILLED, /* by a signal that is none of the pool's */
    ACHAR__END_TIME_LIMIT,   /* by the pool, with a task that was over its time limit */
    ACHAR__END_CANCELLED,    /* by the pool, with a task that was cancelled by force */
    ACHAR__END_SLOW_START,   /* by the pool: it did not get ready in time */
    ACHAR__END_SLOW_LEAVING, /* by the pool: it was told to leave and did not */
    ACHAR__END_DISTRUSTED,   /* by the pool: what it wrote was nonsense */
    ACHAR__END_INTERRUPTED,  /* by the pool: Ctrl-C, or the pool was killed */
    ACHAR__END_CANNOT_START, /* there was no process; 'code' is an errno */
};

/* Times are CLOCK_MONOTONIC, 0: there is none. What a kind does not need is 0. */
typedef struct achar__journal_record {
    uint8_t kind;
    uint8_t how;      /* enum achar__task_state, enum achar__worker_end */
    uint16_t attempt; /* how many there have been; of an end: that failed before */
    uint32_t name;
    uint32_t number; /* in the pool: of the task, or of the first call */
    uint32_t before; /* calls of the same stretch before that one */
    uint32_t calls;  /* 1 for a task */
    uint32_t raised; /* of these calls; the others have returned */
    uint32_t worker; /* the number of its start in the pool, from 1 */
    int32_t code;    /* of a process: its exit code, or minus the signal */
    uint64_t parent; /* the task that has submitted this one: journal's source << 32 | number */
    int64_t submitted_ns, started_ns, ended_ns;
    uint64_t args_nbytes, result_nbytes;
    uint64_t cpu_ns, peak_nbytes; /* 0: not measured */
    char *text;                   /* an error's; the reader's to free. NULL: none */
    int32_t
        pid; /* of the process that ended with the task, or of the worker; 0: 'code' says nothing */
    uint32_t place;           /* of a worker among the pool's, from 0 */
    uint32_t *raised_numbers; /* of the calls that raised; the reader's to free. NULL: not told */
    uint32_t map;             /* number of the first call of the map that these are of; 0: none */
    uint32_t item;            /* the place in it of the first of these */
} achar__journal_record;
_Static_assert(sizeof(achar__journal_record) == 128, "two cache lines");

/* Frees what is the reader's of it. */
void achar__journal_record_clear(achar__journal_record *record);

/* What the reader of one or more journals sleeps on (a futex); it lives as long as they do. */
typedef struct achar__journal_bell {
    _Atomic uint32_t word;
    _Atomic uint32_t ref_count;
} achar__journal_bell;
achar__journal_bell *achar__journal_bell_new(void); /* one reference; NULL: no memory */
void achar__journal_bell_release(achar__journal_bell *bell);

/*
 * achar__journal_new() is a journal with one reference. 'source' goes into the parents of what this pool's
 * tasks submit. The reader sleeps on 'bell', which the writer rings when much has been written, and at the end.
 * NULL: no memory.
 */
achar__journal *achar__journal_new(uint32_t source, achar__journal_bell *bell);
achar__journal *achar__journal_retain(achar__journal *journal);
void achar__journal_release(achar__journal *journal);
uint32_t achar__journal_source(const achar__journal *journal);

/* ---- the writer, who has the pool's lock ---- */

/* The number that stands for these bytes of UTF-8 in records; 0 where there is no memory. */
uint32_t achar__journal_name(achar__journal *journal, const char *text, size_t nbytes);
void achar__journal_put(achar__journal *journal, const achar__journal_record *record);
/* Nothing will be written any more. */
void achar__journal_end(achar__journal *journal);

/* ---- the reader ---- */

/* Takes up to 'capacity' records; returns how many. */
size_t achar__journal_take(achar__journal *journal, achar__journal_record *out, size_t capacity);
/* The same without a copy: '*count' records that can be read, and changed, where they stand, until they are passed. */
achar__journal_record *achar__journal_peek(achar__journal *journal, size_t *count);
/* True: there may be more already. */
bool achar__journal_pass(achar__journal *journal, size_t count);
/* So many records did not find room. */
uint64_t achar__journal_dropped(const achar__journal *journal);
bool achar__journal_has_ended(const achar__journal *journal);

/* What a worker does at this moment. */
typedef struct achar__journal_sight {
    uint32_t worker, place;
    int32_t pid;     /* of a thread, its own number */
    bool is_thread;  /* of this process, whose memory it uses */
    uint32_t number; /* the task, or the first call of the piece; 0: none */
    uint32_t name;
    int64_t started_ns;
} achar__journal_sight;

typedef struct achar__journal_load {
    size_t queued, delayed,
        waiting;    /* tasks and pieces: for a worker, for their time, for inputs */
    size_t running; /* on workers, those that lie ready there included */
    uint64_t client_nbytes, workers_nbytes; /* of shared memory */
} achar__journal_load;

/* Tells at most 'capacity' of the workers of what writes the journal, and returns how many there are. */
typedef size_t achar__journal_looker(void *writer, achar__journal_sight *out, size_t capacity,
                                     achar__journal_load *load);

/* Whom the reader looks at: from the reader's thread, until it is detached. 'look' NULL: nobody any more; then
 * the last look is over. Without a lock that 'look' takes. */
void achar__journal_attach(achar__journal *journal, achar__journal_looker *look, void *writer);

/* Looks at the writer; returns how many workers there are (at most 'capacity' are told). 0 also once it is gone. */
size_t achar__journal_look(achar__journal *journal, achar__journal_sight *out, size_t capacity,
                           achar__journal_load *load);

#endif
