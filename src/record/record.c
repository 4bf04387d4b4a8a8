/*
 * record.c - a record from its opening to its end, and the thread that writes it.
 *
 * The run ends when the user has closed the record and all pools have ended that were added. While nothing can
 * be written then, it is tried for END_PATIENCE_NS more; where somebody else has the file locked, which passes, for
 * BUSY_PATIENCE_NS. After that tasks are counted as dropped, and sums and workers are written if there is room for so
 * little.
 */
#include "record/internal.h"

#include <achar/status.h>
#include <achar/version.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUSY_MS     20000 /* of the opening, where it is now or never */
#define BUSY_NAP_MS 20
#ifndef END_PATIENCE_NS
#define END_PATIENCE_NS INT64_C(4000000000)
#endif
#ifndef BUSY_PATIENCE_NS
#define BUSY_PATIENCE_NS INT64_C(30000000000)
#endif

/* ---- opening ---- */

static void first_line(const char *path, char *out, size_t nbytes)
{
    FILE *file = fopen(path, "re");
    out[0] = '\0';
    if (file) {
        if (fgets(out, (int)nbytes, file)) {
            out[strcspn(out, "\n")] = '\0';
        }
        fclose(file);
    }
}

/* Field 22 of /proc/self/stat: with the pid, it is this process and no later one. */
static int64_t own_start(void)
{
    char text[1024];
    long long start = 0;
    first_line("/proc/self/stat", text, sizeof text);
    const char *behind_name = strrchr(text, ')');
    if (behind_name) {
        sscanf(behind_name + 2,
               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld",
               &start);
    }
    return start;
}

static void bind_or_null(sqlite3_stmt *statement, int at, const char *text)
{
    if (text && text[0]) {
        sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
    }
}

static int begin_run(achar__record *record, const achar__record_about *about)
{
    char host[256] = "", boot[64];
    sqlite3_stmt *statement = NULL;
    gethostname(host, sizeof host - 1);
    first_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    int error = sqlite3_prepare_v2(record->db,
                                   "INSERT INTO run(started, seen, host, boot, pid, pid_started, "
                                   "program, python, achar, workers)"
                                   " VALUES (?1,?1,?2,?3,?4,?5,?6,?7,?8,?9)",
                                   -1, &statement, NULL);
    if (error != SQLITE_OK) {
        return error;
    }
    sqlite3_bind_double(statement, 1, record_seconds(record, achar__now_ns()));
    bind_or_null(statement, 2, host);
    bind_or_null(statement, 3, boot);
    sqlite3_bind_int64(statement, 4, getpid());
    sqlite3_bind_int64(statement, 5, own_start());
    bind_or_null(statement, 6, about->program);
    bind_or_null(statement, 7, about->python);
    bind_or_null(statement, 8, achar_version());
    sqlite3_bind_int64(statement, 9, about->workers);
    error = sqlite3_step(statement);
    sqlite3_finalize(statement);
    record->run = sqlite3_last_insert_rowid(record->db);
    return error == SQLITE_DONE ? SQLITE_OK : error;
}

static int fail(sqlite3 *db, const char *path, char *message, size_t message_nbytes)
{
    snprintf(message, message_nbytes, "%s: %s", path,
             db ? sqlite3_errmsg(db) : "there is no memory");
    return ACHAR_E_IO;
}

/* Where several processes make the file at once, the journal's mode is busy without waiting. */
static int begin_wal(sqlite3 *db)
{
    int error = SQLITE_BUSY;
    for (int i = 0; i < BUSY_MS / BUSY_NAP_MS && error == SQLITE_BUSY; i++) {
        error = sqlite3_exec(
            db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE", NULL,
            NULL, NULL);
        if (error == SQLITE_BUSY) {
            sqlite3_sleep(BUSY_NAP_MS);
        }
    }
    return error;
}

static int open_file(achar__record *record, const char *path, const achar__record_about *about,
                     char *message, size_t message_nbytes)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (!*path || path[0] == ':') { /* to SQLite, these are no files */
        snprintf(message, message_nbytes, "'%s' is no file to record to; './%s' is one", path,
                 *path ? path : "run.db");
        return ACHAR_E_IO;
    }
    if (sqlite3_open_v2(path, &record->db, flags, NULL) != SQLITE_OK) {
        return fail(record->db, path, message, message_nbytes);
    }
    sqlite3_busy_timeout(record->db, BUSY_MS);
    /* Before anything is changed in a file that is not ours. */
    int status = achar__record_check(record->db, path, false, message, message_nbytes);
    if (status != ACHAR_OK && !record_is_new(record->db)) {
        return status;
    }
    if (begin_wal(record->db) != SQLITE_OK) {
        return fail(record->db, path, message, message_nbytes);
    }
    status = achar__record_check(record->db, path, true, message, message_nbytes);
    if (status != ACHAR_OK) {
        return status;
    }
    if (begin_run(record, about) != SQLITE_OK ||
        sqlite3_exec(record->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK ||
        record_prepare(record) != SQLITE_OK || record_remember_file(record) != SQLITE_OK) {
        return fail(record->db, path, message, message_nbytes);
    }
    sqlite3_busy_timeout(record->db, RECORD_TICK_BUSY_MS);
    return ACHAR_OK;
}

static void destroy(achar__record *record)
{
    pthread_mutex_lock(&record->file_lock);
    record_disconnect(record, true);
    pthread_mutex_unlock(&record->file_lock);
    record_list_remove(record);
    free(record->path);
    record_forget(record);
    while (record->sources) {
        source *it = record->sources;
        record->sources = it->next;
        achar__journal_release(it->journal);
        free(it->totals);
        free(it->openings);
        free(it->sights);
        free(it);
    }
    achar__journal_bell_release(record->bell);
    achar__fork_guard_clear(&record->guard);
    pthread_mutex_destroy(&record->lock);
    pthread_mutex_destroy(&record->file_lock);
    free(record);
}

static void unref(achar__record *record)
{
    if (atomic_fetch_sub(&record->ref_count, 1) == 1) {
        destroy(record);
    }
}

/* ---- the thread ---- */

/* One round; true: the file has all that there was when it began. */
static bool tick(achar__record *record, bool *busy)
{
    size_t count = 0;
    pthread_mutex_lock(&record->lock);
    record->known = record->sources;
    pthread_mutex_unlock(&record->lock);
    for (source *it = record->known; it; it = it->next) {
        it->has_ended = achar__journal_has_ended(it->journal); /* before it is read to its end */
        if (record->pending_nbytes < PENDING_NBYTES_MAX) {
            count += record_digest(record, it);
        }
    }
    int64_t now_ns = achar__now_ns();
    bool sample = now_ns >= record->sample_due_ns;
    *busy = count > 0;
    if (!sample && !record->pending && !record->events) {
        return !atomic_load(&record->failing);
    }
    /* What is pending only grows while journals are read: below the limit, none was left before its end. */
    bool is_all = record->pending_nbytes < PENDING_NBYTES_MAX;
    int error = record_write(record, sample);
    if (sample) {
        record->sample_due_ns = now_ns + ACHAR__RECORD_SAMPLE_NS;
    }
    atomic_store(&record->failing, error != SQLITE_OK);
    return error == SQLITE_OK && is_all;
}

static bool run_is_over(achar__record *record)
{
    bool over = atomic_load(&record->closed);
    for (source *it = record->known; it; it = it->next) {
        over = over && it->has_ended;
    }
    return over;
}

static void serve(achar__record *record, uint32_t asked)
{
    atomic_store(&record->served, asked);
    achar__futex_wake(&record->served, false, INT32_MAX);
}

/* The last tick has taken all; the lock says whether it was all. */
static bool finish(achar__record *record)
{
    pthread_mutex_lock(&record->lock);
    bool last = record->sources == record->known;
    if (last) {
        atomic_store(&record->ended, true); /* no pool comes from here on */
    }
    pthread_mutex_unlock(&record->lock);
    return last;
}

/* The run is over, as far as was known. True: it is, and the file has all that there was. */
static bool last_tick(achar__record *record)
{
    bool busy;
    record->sample_due_ns = 0;                          /* the last counts */
    if (!tick(record, &busy) || !run_is_over(record)) { /* a pool may have come since, and go on */
        return false;
    }
    bool written = record_write_end(record) == SQLITE_OK;
    atomic_store(&record->failing, !written);
    return written;
}

static void *thread_main(void *argument)
{
    achar__record *record = argument;
    int64_t give_up_ns = 0;
    for (;;) {
        uint32_t seen = atomic_load(&record->bell->word), asked = atomic_load(&record->asked);
        bool busy, complete = tick(record, &busy);
        if (run_is_over(record)) {
            complete = last_tick(record);
            if (complete && finish(record)) {
                break;
            }
            if (!atomic_load(&record->failing)) {
                give_up_ns = 0; /* there is much to write, and it is being written */
            } else if (!give_up_ns) {
                give_up_ns =
                    achar__now_ns() + (record->is_busy ? BUSY_PATIENCE_NS : END_PATIENCE_NS);
            } else if (achar__now_ns() >= give_up_ns && run_is_over(record) && finish(record)) {
                record_give_up_items(record);
                record_write_last(record);
                break;
            }
        }
        if (complete) {
            serve(record, asked);
        }
        if (complete || atomic_load(&record->failing)) { /* otherwise there is more to take */
            bool soon = busy || !complete;
            achar__futex_wait(&record->bell->word, seen, false,
                              soon ? achar__deadline_in(ACHAR__RECORD_TICK_NS)
                                   : record->sample_due_ns);
        }
    }
    record_enter_file(record); /* if a fork has closed it and it cannot be opened, the log stays */
    record_disconnect(record, true);
    record_leave_file(record);
    atomic_store(&record->is_closed, true);
    serve(record, atomic_load(&record->asked));
    unref(record);
    return NULL;
}

/* ---- for the user ---- */

int achar__record_open(const char *path, const achar__record_about *about, achar__record **out,
                       char *message, size_t message_nbytes)
{
    achar__record *record = calloc(1, sizeof *record);
    if (!record) {
        return ACHAR_E_NOMEM;
    }
    struct timespec wall;
    pthread_t thread;
    sigset_t all, before;
    clock_gettime(CLOCK_REALTIME, &wall);
    record->wall_ns = (int64_t)wall.tv_sec * 1000000000 + wall.tv_nsec - achar__now_ns();
    record->pending_end = &record->pending;
    record->events_end = &record->events;
    pthread_mutex_init(&record->lock, NULL);
    pthread_mutex_init(&record->file_lock, NULL);
    atomic_init(&record->ref_count, 2);
    record->bell = achar__journal_bell_new();
    int status = record->bell ? achar__fork_guard_init(&record->guard) : ACHAR_E_NOMEM;
    if (status == ACHAR_OK && !record_list_add(record)) {
        status = ACHAR_E_NOMEM;
    }
    if (status == ACHAR_OK) {
        pthread_mutex_lock(&record->file_lock);
        status = open_file(record, path, about, message, message_nbytes);
        pthread_mutex_unlock(&record->file_lock);
    }
    if (status == ACHAR_OK) {
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int error = pthread_create(&thread, NULL, thread_main, record);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
            snprintf(message, message_nbytes, "%s: no thread can be started: %s", path,
                     strerror(error));
            status = ACHAR_E_IO;
        } else {
            pthread_setname_np(thread, "achar-record");
            pthread_detach(thread);
        }
    }
    if (status != ACHAR_OK) {
        destroy(record);
        return status;
    }
    *out = record;
    return ACHAR_OK;
}

achar__journal *achar__record_add(achar__record *record, const char *kind)
{
    if (!achar__fork_guard_holds(&record->guard)) {
        return NULL;
    }
    source *made = calloc(1, sizeof *made);
    pthread_mutex_lock(&record->lock);
    if (made && !atomic_load(&record->ended)) {
        made->journal = achar__journal_new(record->pool_count, record->bell);
    }
    if (made && made->journal) {
        made->pool = record->pool_count++;
        made->kind = kind;
        made->added_ns = achar__now_ns();
        made->next = record->sources;
        record->sources = made;
    } else {
        free(made);
        made = NULL;
    }
    pthread_mutex_unlock(&record->lock);
    return made ? achar__journal_retain(made->journal) : NULL;
}

int achar__record_join(achar__record *record, int64_t timeout_ns)
{
    if (!achar__fork_guard_holds(&record->guard)) {
        return ACHAR_OK;
    }
    int64_t deadline_ns = achar__deadline_in(timeout_ns);
    uint32_t asked = atomic_fetch_add(&record->asked, 1) + 1;
    achar__futex_ring(&record->bell->word, false);
    for (;;) {
        uint32_t served = atomic_load(&record->served);
        bool failing = atomic_load(&record->failing);
        if (atomic_load(&record->is_closed) || ((int32_t)(served - asked) >= 0 && !failing)) {
            return failing ? ACHAR_E_IO : ACHAR_OK;
        }
        int status = achar__futex_wait(&record->served, served, false, deadline_ns);
        if (status == ACHAR_E_TIMEOUT) {
            return failing ? ACHAR_E_IO : status;
        }
    }
}

int64_t achar__record_run(const achar__record *record)
{
    return record->run;
}

uint64_t achar__record_trouble(achar__record *record, char *message, size_t message_nbytes)
{
    message[0] = '\0';
    if (!achar__fork_guard_holds(&record->guard)) {
        return 0;
    }
    uint64_t dropped = atomic_load(&record->dropped);
    if (atomic_load(&record->ended) || atomic_load(&record->failing)) {
        pthread_mutex_lock(&record->lock);
        snprintf(message, message_nbytes, "%s", record->trouble);
        pthread_mutex_unlock(&record->lock);
    }
    return dropped;
}

void achar__record_close(achar__record *record)
{
    if (achar__fork_guard_holds(&record->guard)) {
        atomic_store(&record->closed, true);
        achar__futex_ring(&record->bell->word, false);
    }
}

void achar__record_release(achar__record *record)
{
    if (record && achar__fork_guard_holds(&record->guard)) {
        achar__record_close(record);
        unref(record);
    }
}
