/*
 * internal.h - the store as its own files see it.
 *
 *   store.c   opening, closing, the schema
 *   row.c     rows in and out; which were used
 *   commit.c  transactions: one writer at a time, threads commit together
 *   locks.c   the lock file: the writers' turn between processes and between stores of one
 *   flight.c  who is computing what
 *   head.c    which log it is and how far it goes, told by SQLite's shared memory
 *   mark.c    how far the log had been written
 *   fork.c    all stores, and how they get over a fork
 *
 * Locks, in the order in which they are taken: the list of all stores (which a salvager keeps); queue (who
 * commits); the file's writers and their byte; SQLite's own. reading (the reader connection, and the table
 * of uses) with the list's or alone. flight.c's alone.
 */
#ifndef ACHAR_MEMO_INTERNAL_H
#define ACHAR_MEMO_INTERNAL_H

#include "memo/store.h"
#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

enum {
    MEMO_USES = 4096, /* a power of two */
    MEMO_HEAD_WORDS = 12,
};

/* What the index of the log begins with: it is another after each commit. */
typedef struct memo_head {
    uint32_t words[MEMO_HEAD_WORDS];
} memo_head;

/* How far the log went when a result was last acknowledged. */
typedef struct memo_mark {
    uint8_t salts[8];                   /* which log */
    uint32_t frame_count, result_count; /* results: that were stored while it was this log */
    int64_t last_id;                    /* of the last of them */
} memo_mark;

/* The lock file of a database, as this process has it: locks.c. */
struct memo_locks {
    memo_locks *next;
    dev_t device;
    ino_t inode;
    int fd; /* its bytes are the locks between processes */
    pid_t pid;
    int users; /* stores and salvagers; with the list's lock */

    pthread_mutex_t
        writers;       /* recursive: a salvager may close, and so flush, a store of the file */
    int writers_depth; /* with 'writers' */
    memo_mark mark;    /* that this process has left last; with 'writers' */
};

typedef struct
    memo_pending { /* a row that waits for its commit; on the stack of the thread that waits */
    const memo_row *row;
    memo_bytes replaced;
    memo_status status;
    int is_done;
    char message[256]; /* of the thread that committed it */
    struct memo_pending *next;
} memo_pending;

typedef struct memo_use {
    int64_t seq;
    int64_t used_ms; /* 0: the place is empty */
} memo_use;

struct memo_store {
    memo_store *next; /* fork.c */
    char *path, *salvaged_path;
    dev_t device;
    ino_t inode;
    memo_locks *locks;
    memo_durability durability;
    int is_open;                   /* memo_store_open() has succeeded */
    const volatile uint32_t *head; /* head.c's, with 'reading' or the turn; NULL: not known */

    pthread_mutex_t reading;
    sqlite3 *reader; /* NULL, as is 'writer': it could not be opened again after a fork */
    sqlite3_stmt *get;
    memo_head read_head; /* how far the log went when the reader last read */
    memo_use *uses;      /* MEMO_USES places; those who hit the same place are flushed */
    size_t use_count;
    int64_t flushed_ms;

    pthread_mutex_t queue;
    pthread_cond_t turn;
    int is_writing; /* a thread has the writer */
    memo_pending *first, **last;
    sqlite3 *writer;
    memo_head written_head; /* how far it went when the writer last committed */
    sqlite3_stmt *get_as_writer, *remove, *insert, *insert_use, *begin, *commit, *rollback;
};

int64_t memo_now_ms(void);
/* What the row is found by: the first eight bytes of its key. */
int64_t memo_id_of(const uint8_t *key);
/* MEMO_MOVED if the path no longer leads to the file that is open, or soon will not. */
memo_status memo_look_after_path(const memo_store *store);
/* MEMO_MOVED, with the message for a store that has no connections. */
memo_status memo_not_connected(void);
void memo_set_text(const char *text);
void memo_set_message(sqlite3 *db); /* SQLite's; NULL: errno's */

/* ---- store.c ---- */

/* Both connections and their statements; the file must be there. Called with the list's lock and ours.
 * Takes the writers' byte: while a file takes the place of another nobody connects to either. */
memo_status memo_connect(memo_store *store);
/* 'is_last': nothing comes after it, so the log goes into the file if nobody else has it open. */
void memo_disconnect(memo_store *store, int is_last);

/* ---- fork.c ---- */

void memo_lock_all(void); /* recursive */
void memo_unlock_all(void);
int memo_salvages_here(void);          /* with that lock: this thread salvages */
void memo_list_add(memo_store *store); /* these two with the lock */
void memo_list_remove(memo_store *store);

/* ---- commit.c ---- */

/* Between these two no other thread has the writer. */
void memo_take_turn(memo_store *store);
bool memo_try_turn(memo_store *store); /* false: another has it */
/* memo_store_write(), for what removes no result. */
memo_status memo_write_keeping_results(memo_store *store, memo_work work, void *context);
void memo_give_turn(memo_store *store);
/* Between these two the calling thread has the writer, in no transaction. */
void memo_take_writer(memo_store *store);
void memo_give_writer(memo_store *store);

/* ---- row.c ---- */

memo_status memo_prepare_rows(memo_store *store);
void memo_finalize_rows(memo_store *store);
/* In a transaction of the writer's. */
memo_status memo_insert_row(memo_store *store, const memo_row *row, memo_bytes *replaced);

/* ---- locks.c ---- */

/* These two with the list's lock. */
memo_status memo_locks_open(const char *path, memo_locks **out);
void memo_locks_close(memo_locks *locks);
void memo_locks_abandon(memo_locks *locks); /* in a child */
void memo_locks_forget_all(void);           /* in a child */
/* What fcntl() says of the byte at 'at'. */
int memo_lock_byte(memo_locks *locks, int command, short type, off_t at);
/* By another process. */
int memo_byte_is_taken(memo_locks *locks, off_t at);
/* The writers of this file, in all processes; block. */
void memo_lock_writers(memo_locks *locks);
void memo_unlock_writers(memo_locks *locks);

/* ---- head.c ---- */

void memo_find_head(memo_store *store); /* when the reader has been connected */
/* False, and zeros: it is not known, or is just being written. With 'reading', or the turn. */
bool memo_read_head(const memo_store *store, memo_head *out);
bool memo_heads_are_equal(const memo_head *a, const memo_head *b);
uint32_t memo_frames_in(const memo_head *head);
const uint8_t *memo_salts_in(const memo_head *head); /* 8 bytes, as they stand in the log */

/* ---- mark.c ---- */

/* The writer has committed so many results more, 'last_id' the last, and 'before' is how far the log went before that.
 * Notes how far it goes now. With the writers' byte, as are all of these. */
void memo_mark_committed(memo_store *store, const memo_head *before, uint32_t result_count,
                         int64_t last_id);
/* The writer may be about to remove the result that was stored last: that it is not there is no damage any more. */
void memo_mark_removal(memo_store *store);
/* MEMO_DAMAGED: who opens the database now would miss what was committed. Before 'store' connects. 'is_missing': there
 * is none, or it is empty; when 'store' has connected memo_check_last() looks whether it went into the database. */
memo_status memo_check_log(const memo_store *store, bool *is_missing);
memo_status memo_check_last(memo_store *store);
/* The last who has closed the database has removed its log. */
void memo_forget_mark(memo_store *store);

/* ---- flight.c ---- */

void memo_free_flights(memo_store *store); /* those that 'store' has begun */
void memo_forget_flights(void);            /* in a child */

#endif
