/*
 * top_read.c - `achar top` and the file: finding it, opening it, and reading what is to be shown.
 *
 * Only the small tables are read, which the recorder keeps up to date; so it costs the same whether the run has
 * a hundred tasks or a hundred million.
 */
#include "cli/cli.h"
#include "cli/top.h"
#include "record/record.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OF_LATE_SECONDS "10"

/* ---- opening ---- */

/* "file:PATH?immutable=1", to be freed with sqlite3_free(). NULL: no memory. */
static char *immutable_uri(const char *path)
{
    sqlite3_str *uri = sqlite3_str_new(NULL);
    sqlite3_str_appendall(uri, "file:");
    for (const unsigned char *at = (const unsigned char *)path; *at; at++) {
        sqlite3_str_appendf(uri, strchr("?#%", *at) ? "%%%02X" : "%c", *at);
    }
    sqlite3_str_appendall(uri, "?immutable=1");
    return sqlite3_str_finish(uri);
}

/* A file in WAL mode wants one beside it; where none can be made, what is in the file itself is read. */
static sqlite3 *open_readonly(const char *path, bool immutable)
{
    sqlite3 *db = NULL;
    char *uri = immutable ? immutable_uri(path) : NULL;
    int flags = SQLITE_OPEN_READONLY | (immutable ? SQLITE_OPEN_URI : 0);
    if ((!immutable || uri) &&
        sqlite3_open_v2(immutable ? uri : path, &db, flags, NULL) == SQLITE_OK) {
        sqlite3_busy_timeout(db, 5000);
    }
    sqlite3_free(uri);
    return db;
}

sqlite3 *top_open(const char *path)
{
    char message[1024];
    if (access(path, R_OK) != 0) {
        cli_say("%s: there is no such file, or it cannot be read", path);
        return NULL;
    }
    sqlite3 *db = open_readonly(path, false);
    int status = achar__record_check(db, path, false, message, sizeof message);
    if (status != ACHAR_OK &&
        (sqlite3_errcode(db) == SQLITE_CANTOPEN || sqlite3_errcode(db) == SQLITE_READONLY)) {
        sqlite3_close(db);
        db = open_readonly(path, true);
        status = achar__record_check(db, path, false, message, sizeof message);
    }
    if (status != ACHAR_OK) {
        cli_say("%s", message);
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

/* ---- finding ---- */

/* Through SQLite, because what says so may still stand in the -wal only. */
static bool is_record(const char *path)
{
    char message[256];
    sqlite3 *db = open_readonly(path, false);
    bool is = achar__record_check(db, path, false, message, sizeof message) == ACHAR_OK;
    sqlite3_close(db);
    return is;
}

typedef struct found {
    char path[PATH_MAX];
    size_t count; /* of different ones */
} found;

/* Who writes a record has its -wal open. */
static void look_at_process(const char *pid, found *to)
{
    char folder[64], target[PATH_MAX];
    snprintf(folder, sizeof folder, "/proc/%.20s/fd", pid);
    DIR *fds = opendir(folder);
    for (struct dirent *fd; fds && (fd = readdir(fds));) {
        ssize_t nbytes = readlinkat(dirfd(fds), fd->d_name, target, sizeof target - 1);
        if (nbytes < 5 || memcmp(target + nbytes - 4, "-wal", 4) != 0) {
            continue;
        }
        target[nbytes - 4] = '\0';
        if (strcmp(target, to->path) != 0 && is_record(target)) {
            if (to->count++) {
                cli_say("being written: %s", target);
            } else {
                strcpy(to->path, target);
            }
        }
    }
    if (fds) {
        closedir(fds);
    }
}

bool top_find(char *path, size_t nbytes)
{
    found it = {.count = 0};
    DIR *processes = opendir("/proc");
    for (struct dirent *process; processes && (process = readdir(processes));) {
        if (isdigit((unsigned char)process->d_name[0])) {
            look_at_process(process->d_name, &it);
        }
    }
    if (processes) {
        closedir(processes);
    }
    if (it.count == 1) {
        snprintf(path, nbytes, "%s", it.path);
        return true;
    }
    if (it.count) {
        cli_say("being written: %s", it.path);
        cli_say("several records are being written: say which one");
    } else {
        cli_say("no process of yours is writing a record now: say which file");
    }
    return false;
}

/* ---- reading ---- */

typedef struct reader {
    sqlite3 *db;
    int64_t run;
    bool failed;
} reader;

/* A statement with the run as ?1. */
static sqlite3_stmt *query(reader *r, const char *text)
{
    sqlite3_stmt *statement = NULL;
    if (r->failed || sqlite3_prepare_v2(r->db, text, -1, &statement, NULL) != SQLITE_OK) {
        r->failed = true;
        return NULL;
    }
    sqlite3_bind_int64(statement, 1, r->run);
    return statement;
}

static bool next(reader *r, sqlite3_stmt *statement)
{
    int status = statement ? sqlite3_step(statement) : SQLITE_DONE;
    r->failed |= status != SQLITE_ROW && status != SQLITE_DONE;
    if (status != SQLITE_ROW) {
        sqlite3_finalize(statement);
    }
    return status == SQLITE_ROW;
}

static void text_of(sqlite3_stmt *statement, int column, char *out, size_t nbytes)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    snprintf(out, nbytes, "%s", text ? text : "");
}

/* Whether the process that has written the run is still there. */
static enum top_life life_of(int64_t pid, int64_t pid_started, const char *boot)
{
    char text[1024] = "", path[64];
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        if (!fgets(text, sizeof text, file)) {
            text[0] = '\0';
        }
        fclose(file);
    }
    text[strcspn(text, "\n")] = '\0';
    if (strcmp(text, boot) != 0) {
        return TOP_ELSEWHERE;
    }
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    file = fopen(path, "re");
    size_t nbytes = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    text[nbytes] = '\0';
    long long started = 0;
    const char *behind_name = strrchr(text, ')');
    if (behind_name) {
        sscanf(behind_name + 2,
               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lld",
               &started);
    }
    return started == pid_started ? TOP_UNDER_WAY : TOP_BROKEN_OFF;
}

static bool read_run(reader *r, int64_t wanted, top_run *run)
{
    bool found_it = false;
    char boot[64];
    sqlite3_stmt *statement =
        query(r, "SELECT id, (SELECT count(*) FROM run), pid, workers, dropped, started, ended, "
                 "seen, program, host, trouble, boot, pid_started FROM run"
                 " WHERE id = ?1 OR ?1 = 0 ORDER BY id DESC LIMIT 1");
    sqlite3_bind_int64(statement, 1, wanted);
    while (next(r, statement)) {
        found_it = true;
        run->id = sqlite3_column_int64(statement, 0);
        run->count = sqlite3_column_int64(statement, 1);
        run->pid = sqlite3_column_int64(statement, 2);
        run->workers = sqlite3_column_int64(statement, 3);
        run->dropped = sqlite3_column_int64(statement, 4);
        run->started = sqlite3_column_double(statement, 5);
        run->ended = sqlite3_column_double(statement, 6);
        run->seen = sqlite3_column_double(statement, 7);
        text_of(statement, 8, run->program, sizeof run->program);
        text_of(statement, 9, run->host, sizeof run->host);
        text_of(statement, 10, run->trouble, sizeof run->trouble);
        text_of(statement, 11, boot, sizeof boot);
        run->life = run->ended > 0 ? TOP_ENDED
                                   : life_of(run->pid, sqlite3_column_int64(statement, 12), boot);
    }
    r->run = run->id;
    return found_it;
}

static void read_names(reader *r, top_view *view)
{
    sqlite3_stmt *statement =
        query(r, "SELECT coalesce(n.text, '?'), sum(submitted), sum(returned), sum(raised + lost + "
                 "overdue + other), sum(cancelled), sum(retries), sum(seconds), sum(cpu_seconds),"
                 " max(longest), max(peak_nbytes) FROM total t LEFT JOIN name n ON n.run = t.run"
                 " AND n.pool = t.pool AND n.id = t.name WHERE t.run = ?1 GROUP BY 1"
                 " ORDER BY sum(seconds) DESC, sum(submitted) DESC");
    while (next(r, statement)) {
        top_sums it = {.running = 0};
        text_of(statement, 0, it.name, sizeof it.name);
        it.submitted = sqlite3_column_int64(statement, 1);
        it.returned = sqlite3_column_int64(statement, 2);
        it.failed = sqlite3_column_int64(statement, 3);
        it.cancelled = sqlite3_column_int64(statement, 4);
        it.retries = sqlite3_column_int64(statement, 5);
        it.seconds = sqlite3_column_double(statement, 6);
        it.cpu_seconds = sqlite3_column_double(statement, 7);
        it.longest = sqlite3_column_double(statement, 8);
        it.peak_nbytes = sqlite3_column_int64(statement, 9);
        view->all.submitted += it.submitted;
        view->all.returned += it.returned;
        view->all.failed += it.failed;
        view->all.cancelled += it.cancelled;
        view->all.retries += it.retries;
        if (view->name_count < TOP_NAMES) {
            view->names[view->name_count] = it;
        }
        view->name_count++;
    }
}

static void read_workers(reader *r, top_view *view)
{
    sqlite3_stmt *statement =
        query(r, "SELECT pool, id, pid, ready, ended, reason FROM worker WHERE run = ?1"
                 " ORDER BY ended IS NOT NULL, pool, id");
    while (next(r, statement)) {
        const unsigned char *reason = sqlite3_column_text(statement, 5);
        if (sqlite3_column_type(statement, 4) != SQLITE_NULL) {
            view->ended_workers++;
            view->broken_workers += reason && strcmp((const char *)reason, "left") != 0;
        } else if (view->worker_count < TOP_WORKERS) {
            view->workers[view->worker_count++] = (top_worker){
                .pool = sqlite3_column_int64(statement, 0),
                .id = sqlite3_column_int64(statement, 1),
                .pid = sqlite3_column_int64(statement, 2),
                .is_ready = sqlite3_column_type(statement, 3) != SQLITE_NULL,
                .cpu_share = -1,
            };
        }
    }
}

static top_worker *worker_of(top_view *view, int64_t pool, int64_t id)
{
    if (id == 0) {
        return &view->client;
    }
    for (size_t i = 0; i < view->worker_count; i++) {
        if (view->workers[i].pool == pool && view->workers[i].id == id) {
            return &view->workers[i];
        }
    }
    return NULL;
}

static void read_samples(reader *r, top_view *view)
{
    /* max() makes the other columns those of the same row. */
    sqlite3_stmt *statement = query(
        r, "SELECT s.pool, worker, max(at), cpu_seconds, rss_nbytes, task, task_started, n.text"
           " FROM sample s LEFT JOIN name n ON n.run = s.run AND n.pool = s.pool"
           " AND n.id = task_name WHERE s.run = ?1 GROUP BY s.pool, worker");
    while (next(r, statement)) {
        top_worker *of =
            worker_of(view, sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1));
        if (of) {
            of->rss_nbytes = sqlite3_column_int64(statement, 4);
            of->task = sqlite3_column_int64(statement, 5);
            of->task_started = sqlite3_column_double(statement, 6);
            text_of(statement, 7, of->name, sizeof of->name);
        }
    }
    statement =
        query(r, "SELECT pool, worker, max(cpu_seconds) - min(cpu_seconds), max(at) - min(at)"
                 " FROM sample WHERE run = ?1 AND at >= (SELECT seen FROM run WHERE id = ?1)"
                 " - " OF_LATE_SECONDS " GROUP BY pool, worker");
    while (next(r, statement)) {
        top_worker *of =
            worker_of(view, sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1));
        double seconds = sqlite3_column_double(statement, 3);
        if (of && seconds > 0) {
            of->cpu_share = sqlite3_column_double(statement, 2) / seconds;
        }
    }
}

static void count_running(top_view *view)
{
    size_t shown = view->name_count < TOP_NAMES ? view->name_count : TOP_NAMES;
    for (size_t i = 0; i < view->worker_count && view->run.life == TOP_UNDER_WAY; i++) {
        if (!view->workers[i].task) {
            continue;
        }
        view->all.running++;
        for (size_t j = 0; j < shown; j++) {
            view->names[j].running += strcmp(view->names[j].name, view->workers[i].name) == 0;
        }
    }
}

static void read_rate(reader *r, top_view *view)
{
    view->rate = -1;
    sqlite3_stmt *statement =
        query(r, "SELECT sum(rate) FROM (SELECT (max(ended) - min(ended)) / (max(at) - min(at)) AS"
                 " rate FROM load WHERE run = ?1 AND at >= (SELECT seen FROM run WHERE id = ?1)"
                 " - " OF_LATE_SECONDS " GROUP BY pool)");
    while (next(r, statement)) {
        if (sqlite3_column_type(statement, 0) != SQLITE_NULL) {
            view->rate = sqlite3_column_double(statement, 0);
        }
    }
}

static size_t read_tasks(reader *r, const char *text, top_task *out)
{
    size_t count = 0;
    sqlite3_stmt *statement = query(r, text);
    while (next(r, statement)) {
        if (count < TOP_TASKS) {
            top_task *it = &out[count++];
            text_of(statement, 0, it->name, sizeof it->name);
            it->number = sqlite3_column_int64(statement, 1);
            it->worker = sqlite3_column_int64(statement, 2);
            text_of(statement, 3, it->state, sizeof it->state);
            it->seconds = sqlite3_column_double(statement, 4);
            it->calls = sqlite3_column_int64(statement, 5);
            it->at = sqlite3_column_double(statement, 6);
            text_of(statement, 7, it->error, sizeof it->error);
            it->has_code = sqlite3_column_type(statement, 8) != SQLITE_NULL;
            it->code = sqlite3_column_int64(statement, 8);
        }
    }
    return count;
}

bool top_read(sqlite3 *db, const char *path, int64_t run, top_view *view, char *message,
              size_t message_nbytes)
{
    reader r = {.db = db, .run = run};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *view = (top_view){.now = (double)now.tv_sec + (double)now.tv_nsec / 1e9};
    sqlite3_exec(db, "BEGIN", NULL, NULL, NULL); /* one moment of the file */
    bool found_it = read_run(&r, run, &view->run);
    if (found_it) {
        read_names(&r, view);
        read_workers(&r, view);
        read_samples(&r, view);
        count_running(view);
        read_rate(&r, view);
        view->slowest_count = read_tasks(
            &r,
            "SELECT n.text, number, worker, st.text, seconds, calls, 0, NULL, NULL FROM slowest s"
            " LEFT JOIN name n ON n.run = s.run AND n.pool = s.pool AND n.id = s.name"
            " LEFT JOIN state st ON st.id = s.state WHERE s.run = ?1 ORDER BY rank",
            view->slowest);
        view->failure_count = read_tasks(
            &r,
            "SELECT n.text, number, worker, st.text, 0, 1, at, error, code FROM failure f"
            " LEFT JOIN name n ON n.run = f.run AND n.pool = f.pool AND n.id = f.name"
            " LEFT JOIN state st ON st.id = f.state WHERE f.run = ?1 ORDER BY at DESC",
            view->failures);
    }
    if (r.failed) {
        snprintf(message, message_nbytes, "%s: %s", path, sqlite3_errmsg(db));
    } else if (!found_it) {
        snprintf(message, message_nbytes, "%s: there is no such run in it", path);
    }
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    return found_it && !r.failed;
}
