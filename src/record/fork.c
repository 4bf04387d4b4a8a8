/*
 * fork.c - no connection of a record's is open while the process forks, and no thread of a record's is
 * inside SQLite.
 *
 * SQLite remembers in tables of the process which locks of a file it has, and has mutexes of the process.
 * In a child, these tables say what the parent has: a connection that the child opens would ask the kernel
 * for none of those locks, and the parent would take the file for unused and delete its log while the child
 * writes to it. And a mutex that the record's thread had stays locked in the child for ever. So before a
 * fork every thread of a record's leaves SQLite, and its connection is closed. Whose tick comes next in the
 * parent opens it again; in the child nobody does: there the record is inert.
 *
 * Invariant: a record is in the list from before its connection is first opened until after it is last
 * closed, and uses it only between record_enter_file() and record_leave_file(). Between these two it takes
 * no lock of a pool's: who has one may wait for another that the thread that forks has.
 *
 * Locks, in this order: the list's, a record's 'file_lock', its 'lock'.
 */
#include "record/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int watch_error; /* there was no memory to be told of forks */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static achar__record *all;

static void before_fork(void)
{
    pthread_mutex_lock(&all_lock);
    for (achar__record *record = all; record; record = record->next) {
        pthread_mutex_lock(&record->file_lock);
        record_disconnect(record, false);
    }
}

static void after_fork_in_parent(void)
{
    for (achar__record *record = all; record; record = record->next) {
        pthread_mutex_unlock(&record->file_lock);
    }
    pthread_mutex_unlock(&all_lock);
}

static void after_fork_in_child(void)
{
    all = NULL;
    all_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static void watch_forks(void)
{
    watch_error = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

bool record_list_add(achar__record *record)
{
    pthread_once(&once, watch_forks);
    if (watch_error) {
        return false;
    }
    pthread_mutex_lock(&all_lock);
    record->next = all;
    all = record;
    pthread_mutex_unlock(&all_lock);
    return true;
}

void record_list_remove(achar__record *record)
{
    pthread_mutex_lock(&all_lock);
    achar__record **at = &all;
    while (*at && *at != record) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = record->next;
    }
    pthread_mutex_unlock(&all_lock);
}

/* ---- the connection ---- */

int record_remember_file(achar__record *record)
{
    const char *path = sqlite3_db_filename(record->db, "main"); /* absolute */
    record->path = path ? strdup(path) : NULL;
    return record->path && stat(record->path, &record->file) == 0 ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int connect_again(achar__record *record)
{
    struct stat now;
    const char *reason = NULL;
    int error = SQLITE_CANTOPEN;
    if (stat(record->path, &now) != 0) {
        reason = strerror(errno);
    } else if (now.st_ino != record->file.st_ino || now.st_dev != record->file.st_dev) {
        reason = "another file has taken its place";
    } else {
        error = sqlite3_open_v2(record->path, &record->db,
                                SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
        if (error == SQLITE_OK) {
            sqlite3_busy_timeout(record->db, RECORD_TICK_BUSY_MS);
            error = sqlite3_exec(record->db, "PRAGMA synchronous = NORMAL", NULL, NULL, NULL);
        }
        if (error == SQLITE_OK) {
            error = record_prepare(record);
        }
        reason = record->db ? sqlite3_errmsg(record->db) : "there is no memory";
    }
    if (error != SQLITE_OK) {
        record->is_busy = (error & 0xFF) == SQLITE_BUSY;
        pthread_mutex_lock(&record->lock);
        snprintf(record->trouble, sizeof record->trouble, "opened again after a fork: %s", reason);
        pthread_mutex_unlock(&record->lock);
        record_disconnect(record, false);
    }
    return error;
}

void record_disconnect(achar__record *record, bool is_last)
{
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(record->statements[i]);
        record->statements[i] = NULL;
    }
    if (record->db && !is_last) { /* there is no time to move the log into the file */
        sqlite3_db_config(record->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    sqlite3_close(record->db);
    record->db = NULL;
}

int record_enter_file(achar__record *record)
{
    pthread_mutex_lock(&record->file_lock);
    return record->db ? SQLITE_OK : connect_again(record);
}

void record_leave_file(achar__record *record)
{
    pthread_mutex_unlock(&record->file_lock);
}
