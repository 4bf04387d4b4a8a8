/*
 * internal.h - what the files of this folder share: the writing thread's books.
 *
 * All of it belongs to that thread, except what stands under 'lock' or is atomic. A tick is: take records
 * (digest.c turns them into pending rows and sums), write what is pending (write.c), in one transaction.
 * When that fails nothing is lost: the next tick tries it again.
 */
#ifndef ACHAR_RECORD_INTERNAL_H
#define ACHAR_RECORD_INTERNAL_H

#include "record/record.h"
#include "runtime/pool/pool.h"
#include "runtime/sync/fork_guard.h"
#include "runtime/sync/futex.h"

#include <pthread.h>
#include <sys/stat.h>

#define RECORD_APPLICATION_ID   0x61636872 /* "achr" */
#define RECORD_SCHEMA_VERSION   2
#define RECORD_STATE_UNFINISHED 1 /* of an item; the others are enum achar__task_state */

#ifndef RECORD_TICK_BUSY_MS
#define RECORD_TICK_BUSY_MS 500 /* of a tick: another one follows */
#endif

#define SLOWEST_COUNT  16
#define FAILURES_COUNT 64 /* the last ones */
#define BATCH_ITEMS    512
#ifndef PENDING_NBYTES_MAX /* beyond it, journals are not read until the file can be written */
#define PENDING_NBYTES_MAX ((size_t)64 << 20)
#endif

/* Text that grows; 'failed': there was no memory, and it ends where it does. */
typedef struct record_text {
    char *data;
    size_t nbytes, capacity;
    bool failed;
} record_text;

/* Items of one kind and pool, to be a row of 'batch'. */
typedef struct batch {
    struct batch *next;
    uint32_t pool;
    uint8_t kind; /* enum achar__journal_kind */
    uint32_t count;
    int64_t base_ns;
    record_text items;
} batch;

/* A record that is a row of its own: of a name or of a worker. */
typedef struct event {
    struct event *next;
    uint32_t pool;
    achar__journal_record record; /* 'text' is owned, but for names */
} event;

/* Sums of one name. */
typedef struct total {
    bool dirty;
    uint64_t submitted, ended, failed;
    uint64_t returned, raised, lost, cancelled, overdue, other, retries;
    int64_t run_ns, wait_ns, longest_ns;
    uint64_t cpu_ns, peak_nbytes, args_nbytes, result_nbytes;
} total;

/* Submissions that this tick has seen, in the order of their numbers; only those that it has not seen end
 * are written. */
typedef struct opening {
    uint32_t number, calls, calls_left, name, map, item;
    int64_t submitted_ns;
    uint64_t parent, args_nbytes;
} opening;

typedef struct source {
    struct source *next;
    achar__journal *journal;
    uint32_t pool;
    const char *kind;
    int64_t added_ns;
    bool is_written; /* its row of 'pool' */
    bool has_ended;
    /* What the pool looked like before this tick writes a sample; malloc'd, or NULL: nobody has looked. */
    achar__journal_sight *sights;
    size_t sight_count;
    achar__journal_load load;
    bool is_last_look;     /* it had ended by then */
    bool is_sampled_ended; /* and that look is in the file */
    uint64_t dropped;
    total *totals; /* by name */
    size_t total_count;
    opening *openings;
    size_t opening_count, opening_capacity;
    size_t opening_next; /* behind the one that ended last: a good guess */
    uint64_t submitted, ended, failed;
} source;

typedef struct slow {
    uint32_t pool;
    achar__journal_record record;
} slow;

typedef struct failure {
    uint32_t pool;
    bool dirty;
    achar__journal_record record; /* 'text' is owned */
} failure;

/* What has been seen of a worker; 0 of the client. */
typedef struct record_seen {
    uint32_t pool, worker;
    uint64_t cpu_ticks;
    uint64_t rss_nbytes;
    uint32_t number;
} record_seen;

enum statement {
    STATEMENT_BATCH,
    STATEMENT_NAME,
    STATEMENT_POOL,
    STATEMENT_WORKER,
    STATEMENT_WORKER_READY,
    STATEMENT_WORKER_ENDED,
    STATEMENT_TOTAL,
    STATEMENT_SLOWEST,
    STATEMENT_FAILURE,
    STATEMENT_SAMPLE,
    STATEMENT_LOAD,
    STATEMENT_RUN,
    STATEMENT_COUNT,
};

struct achar__record {
    _Atomic uint32_t ref_count; /* the user and the thread */
    achar__fork_guard guard;
    pthread_mutex_t
        lock; /* 'sources' (the list), 'pool_count', 'trouble' (the thread alone writes it) */
    achar__journal_bell *bell;
    _Atomic uint32_t asked;  /* how often someone has asked for all to be written */
    _Atomic uint32_t served; /* futex: what was asked before a tick that is over */
    _Atomic bool closed;     /* by the user */
    _Atomic bool failing;    /* the last tick could not write */
    _Atomic bool ended;      /* the run's end is written, or given up: no pool comes any more */
    _Atomic bool
        is_closed; /* and the file is closed: all that will be is in it, nothing beside it */

    achar__record *next; /* fork.c */
    char *path;          /* absolute */
    struct stat file;
    pthread_mutex_t file_lock; /* 'db' and what is done with it */
    sqlite3 *db;               /* NULL: a fork has closed it */
    sqlite3_stmt *statements[STATEMENT_COUNT];
    int64_t run;
    int64_t wall_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
    source *sources; /* the newest first; 'next' does not change */
    source *known;   /* those that this tick is about */
    uint32_t pool_count;
    char trouble[256];
    bool is_busy; /* the trouble is that somebody else has the file locked */
    _Atomic uint64_t dropped;
    uint64_t told_dropped; /* that the file knows of */

    bool gives_up; /* items are counted as dropped from here on; sums and events are not */
    batch *pending, **pending_end;
    size_t pending_nbytes, pending_count;
    event *events, **events_end;
    slow slowest[SLOWEST_COUNT];
    size_t slowest_count;
    bool slowest_dirty;
    failure failures[FAILURES_COUNT];
    uint64_t failure_count;
    record_seen *seen;
    size_t seen_count, seen_capacity;
    int64_t sample_due_ns;
};

/* ---- digest.c ---- */

/* Takes what the journal has; returns how many records that were. */
size_t record_digest(achar__record *record, source *from);
/* Frees what is pending and all sums. */
void record_forget(achar__record *record);
/* The journal's time in seconds of Unix. */
double record_seconds(const achar__record *record, int64_t ns);
/* The rows of 'pending' are written. */
void record_drop_pending(achar__record *record);

/* Drops the items that are pending and those that journals still have, which takes most of the room. What is left
 * is small: sums, names, workers. */
void record_give_up_items(achar__record *record);

/* ---- items.c ---- */

/* Appends the record as an item of its kind. */
void record_add_item(batch *to, const achar__journal_record *it);

/* ---- fork.c ---- */

/* Before the file is opened. False: no memory. */
bool record_list_add(achar__record *record);
void record_list_remove(achar__record *record);
/* The file that is open is this one, for when it is opened again. */
int record_remember_file(achar__record *record);
/* 'is_last': the log goes into the file if nobody else has it open. With 'file_lock'. */
void record_disconnect(achar__record *record, bool is_last);
/* Takes 'file_lock' in any case. SQLITE_OK: the file is open; or the error, which is in 'trouble'. */
int record_enter_file(achar__record *record);
void record_leave_file(achar__record *record);

/* ---- write.c ---- */

/* These enter the file by themselves, but for record_prepare(). SQLITE_OK, or the error, which is in 'trouble'; then nothing is in the file, and all is still pending. */
int record_write(achar__record *record, bool sample);
int record_prepare(achar__record *record);
int record_write_end(achar__record *record);
/* After record_give_up_items(): what is left, or, if that finds no room, that it is dropped, too. */
void record_write_last(achar__record *record);

/* ---- schema.c ---- */

/* Nothing is in the file, or somebody is making a record of it just now, or was killed at that: WAL mode alone
 * makes its first page. */
bool record_is_new(sqlite3 *db);

/* ---- sample.c ---- */

/* Before the file is entered: what the pools have to do, and their workers. */
void record_look(achar__record *record);
/* Inside the transaction: that, and what processes use. */
int record_sample(achar__record *record);
/* The transaction is committed, or it is not. */
void record_sample_is_written(achar__record *record);
void record_sample_is_lost(achar__record *record);

#endif
