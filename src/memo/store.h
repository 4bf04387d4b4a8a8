/*
 * store.h - results on disk: one SQLite file in WAL mode, for many processes at once.
 *
 * A result is found by a key of 32 bytes. Every row carries a checksum over all that matters in it, so a
 * row that comes back is the row that was stored, or is reported as damaged. What the bytes mean is the
 * caller's business.
 *
 * One store has two connections, a reader and a writer. It may be used by many threads of the process
 * that opened it; after a fork the child must open its own, and memo_before_fork() and its fellows must
 * be called around the fork. No function of this folder runs Python.
 */
#ifndef ACHAR_MEMO_STORE_H
#define ACHAR_MEMO_STORE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { MEMO_KEY_NBYTES = 32 };

typedef enum memo_status {
    MEMO_OK = 0,
    MEMO_ABSENT,      /* there is no such row */
    MEMO_INTERRUPTED, /* a signal came while waiting */
    MEMO_DAMAGED,     /* the file is not what was written */
    MEMO_DAMAGED_ROW, /* one row is not */
    MEMO_FULL,        /* the disk, a quota or a limit on the size of files */
    MEMO_MOVED,       /* another file stands in its place: open that */
    MEMO_FOREIGN,     /* a database, but not one of ours, or of a later version */
    MEMO_NOMEM,
    MEMO_ERROR,
} memo_status;

/* How hard a commit is; what has been committed survives … */
typedef enum memo_durability {
    MEMO_PROCESS, /* … the death of the process, at any moment */
    MEMO_POWER,   /* … also a loss of power: the disk has it when the call returns */
} memo_durability;

typedef struct memo_row {
    uint8_t key[MEMO_KEY_NBYTES];
    int64_t kind;      /* the caller's */
    int64_t origin;    /* the caller's */
    int64_t beside;    /* the size of the caller's file beside the database, or 0 */
    int64_t stored_ms; /* since 1970 */
    int64_t took_ns;   /* to compute */
    const void *value;
    size_t value_nbytes;
} memo_row;

typedef struct memo_bytes {
    void *data; /* malloc'd, or NULL */
    size_t nbytes;
} memo_bytes;

typedef struct memo_store memo_store;
typedef struct memo_locks memo_locks;

/*
 * memo_store_open() opens the file, and makes it where there is none. '*out' is set also when it fails
 * (but for MEMO_NOMEM), to be closed in any case; memo_message() says why. MEMO_MOVED: a salvaged file is
 * to take its place, which who salvaged it did not live to see.
 */
memo_status memo_store_open(const char *path, memo_durability durability, memo_store **out);
void memo_store_close(memo_store *store); /* NULL: nothing */

/* Of the file that is open. */
ino_t memo_store_inode(const memo_store *store);

/* Forgets the store without touching its files: in a child after a fork, where they are the parent's. */
void memo_store_abandon(memo_store *store);

/*
 * memo_exclude_writers() waits until nobody writes to the file, opens it or closes it, in any process and
 * any other thread, and keeps them out until memo_admit_writers() by the same thread. For who puts another
 * file in its place: that file, when it is whole, is named <path>.salvaged, and from then on nobody writes
 * to the old one, whatever becomes of this process. MEMO_OK, MEMO_NOMEM, MEMO_ERROR.
 */
memo_status memo_exclude_writers(const char *path, memo_locks **out);
void memo_admit_writers(memo_locks *locks);

/*
 * Around a fork, all three. memo_before_fork() waits until no thread is inside a store, and keeps them out:
 * the caller must hold nothing that they may want. A file that cannot be opened again afterwards is
 * MEMO_MOVED to all who use its store.
 */
void memo_before_fork(void);
void memo_after_fork_in_parent(void);
void memo_after_fork_in_child(void);

/* What was wrong with this thread's last call that failed; good until its next. */
const char *memo_message(void);

/*
 * memo_store_get() finds the row with this key. MEMO_OK: '*out' is filled; its value is malloc'd and the
 * caller's (free()). The use is noted, and written some time later.
 * MEMO_ABSENT, MEMO_DAMAGED_ROW, MEMO_DAMAGED, MEMO_MOVED, MEMO_ERROR, MEMO_NOMEM.
 */
memo_status memo_store_get(memo_store *store, const uint8_t *key, memo_row *out);

/* True: this thread's last memo_store_get() has not found this key, and nobody has committed anything since. Does not
 * wait: false is also "not known". */
bool memo_store_is_still_absent(memo_store *store, const uint8_t *key);

/*
 * memo_store_put() stores a row in place of any with its key; when it returns MEMO_OK it is committed.
 * Rows that several threads put at once are committed together. '*replaced' becomes the value, the caller's
 * to free, of the row in whose place it came, if that one had a file beside the database.
 */
memo_status memo_store_put(memo_store *store, const memo_row *row, memo_bytes *replaced);

/*
 * memo_store_drop_damaged() drops the row that memo_store_get() has called MEMO_DAMAGED_ROW for this key, if
 * it still is: somebody may have replaced it. MEMO_OK: it is gone, and '*dropped' as 'replaced' above;
 * MEMO_ABSENT: there is none that is damaged.
 */
memo_status memo_store_drop_damaged(memo_store *store, const uint8_t *key, memo_bytes *dropped);

/*
 * memo_store_write() lets 'work' use the writing connection in a transaction of its own. What it returns
 * decides: MEMO_OK commits, anything else rolls back and is returned.
 */
typedef memo_status (*memo_work)(sqlite3 *db, void *context);
memo_status memo_store_write(memo_store *store, memo_work work, void *context);

/* memo_store_read() lets 'work' use the reading connection. */
memo_status memo_store_read(memo_store *store, memo_work work, void *context);

/* Writes down which rows were used since the last time. */
memo_status memo_store_flush(memo_store *store);

/*
 * memo_store_begin() waits until nobody else computes the result with this key, in any process, and says
 * so to the others; memo_store_end() ends that, as does the death of the process. The caller looks again
 * whether the result is there before it computes. It waits no longer than 'limit_ms', unless that is negative.
 *
 * MEMO_OK; MEMO_ABSENT: compute it without, since waiting could never end (this thread has it, or a circle
 * of threads or, where there is no limit, of processes would close); MEMO_INTERRUPTED: signals are to be handled,
 * then call again, for as long as there is time; MEMO_ERROR.
 */
memo_status memo_store_begin(memo_store *store, const uint8_t *key, int64_t limit_ms);
void memo_store_end(memo_store *store, const uint8_t *key);

/* Who is between these two for this key. */
typedef enum memo_owner { MEMO_NOBODY, MEMO_THIS_THREAD, MEMO_HERE, MEMO_ELSEWHERE } memo_owner;
memo_owner memo_store_owner(memo_store *store, const uint8_t *key);
/* Whether a thread of this process is between them for another key, of any file. */
int memo_store_has_other_calls(memo_store *store, const uint8_t *key);
/* Until somebody in this process ends, or the time has passed. */
void memo_await_landing(int64_t timeout_ns);

/*
 * The same for a task, which no thread stands for: memo_store_begin_task() does not wait, and says whether this
 * process is the one now; it does not exclude within the process. The death of the process ends it, too.
 */
int memo_store_begin_task(memo_store *store, const uint8_t *key);
void memo_store_end_task(memo_store *store, const uint8_t *key);
int memo_store_task_is_elsewhere(memo_store *store, const uint8_t *key);

/* What SQLite's code means to us. */
memo_status memo_status_of(int sqlite_code);

#endif
