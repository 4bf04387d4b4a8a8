/*
 * record.h - the record of a run: what its pools' journals tell, in an SQLite file. docs/record.md has the schema.
 *
 *    pool ──journal──┐
 *    pool ──journal──┼──► one thread ──► SQLite (WAL), a transaction each ACHAR__RECORD_TICK_NS or so
 *    /proc/PID/stat ─┘
 *
 * The thread is C's, and never takes the GIL. What it cannot write it keeps and tries again; what it cannot
 * keep is counted. Nothing that happens to the file ever reaches a task.
 *
 * Any thread may call these. After fork() the child's copy is inert.
 */
#ifndef ACHAR_RECORD_H
#define ACHAR_RECORD_H

#include "runtime/pool/journal.h"

#include <sqlite3.h>

#define ACHAR__RECORD_TICK_NS   INT64_C(250000000)
#define ACHAR__RECORD_SAMPLE_NS INT64_C(1000000000)

typedef struct achar__record achar__record;

/* Of the run; copied. UTF-8, NULL: not known. */
typedef struct achar__record_about {
    const char *program, *python;
    unsigned workers;
} achar__record_about;

/*
 * achar__record_open() begins a run in the file 'path', which is made if there is none, and starts the
 * thread. ACHAR_OK; ACHAR_E_NOMEM; ACHAR_E_IO and a sentence in 'message' (the file is something else's, is
 * of a newer version, or cannot be written).
 */
int achar__record_open(const char *path, const achar__record_about *about, achar__record **out,
                       char *message, size_t message_nbytes);

/* A journal for one more pool of the run: a new reference, for achar__pool_options. 'kind', a literal, says
 * what it is for. NULL: the run has ended, or no memory. */
achar__journal *achar__record_add(achar__record *record, const char *kind);

/*
 * Waits until what has been told so far is in the file, and, if all pools have ended, the run's end, too.
 * ACHAR_OK; ACHAR_E_TIMEOUT; ACHAR_E_IO: it cannot be written (achar__record_trouble()).
 */
int achar__record_join(achar__record *record, int64_t timeout_ns);
/* The number of the run in the file. */
int64_t achar__record_run(const achar__record *record);
/* How many records are not in the file and will not be; 'message' says why the last of them, or is empty. */
uint64_t achar__record_trouble(achar__record *record, char *message, size_t message_nbytes);
/* The run ends when all its pools have. Does not wait. */
void achar__record_close(achar__record *record);
/* Closes it, and lets go. */
void achar__record_release(achar__record *record);

/* ---- reading; schema.c ---- */

/*
 * Whether 'db' is a record that this version can read. ACHAR_OK; ACHAR_E_IO and a sentence in 'message',
 * which begins with 'path'. With 'make', an empty file becomes one, inside a transaction.
 */
int achar__record_check(sqlite3 *db, const char *path, bool make, char *message,
                        size_t message_nbytes);

#endif
