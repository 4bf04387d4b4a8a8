/*
 * schema.c - what stands in the file: its tables and views, and whether a file is such a one.
 *
 * Ended tasks are the bulk: a row for each would cost more than a short task does. So they stand many to a
 * row of 'batch', as JSON, which SQLite itself takes apart in the views below; who reads sees a row a task.
 * What `achar top` shows of a run under way stands in small tables that are kept up to date (total, slowest,
 * failure), so that it does not read the rest.
 */
#include "record/internal.h"

#include <achar/status.h>
#include <stdio.h>
#include <string.h>

static const char tables[] =
    "CREATE TABLE run(id INTEGER PRIMARY KEY, started REAL, ended REAL, host TEXT, boot TEXT,"
    " pid INTEGER, pid_started INTEGER, program TEXT, python TEXT, achar TEXT, workers INTEGER,"
    " seen REAL, dropped INTEGER NOT NULL DEFAULT 0, trouble TEXT);"
    "CREATE TABLE pool(run INTEGER, id INTEGER, kind TEXT, started REAL,"
    " PRIMARY KEY(run, id)) WITHOUT ROWID;"
    "CREATE TABLE name(run INTEGER, pool INTEGER, id INTEGER, text TEXT,"
    " PRIMARY KEY(run, pool, id)) WITHOUT ROWID;"
    "CREATE TABLE worker(run INTEGER, pool INTEGER, id INTEGER, place INTEGER, pid INTEGER,"
    " started REAL, ready REAL, ended REAL, reason TEXT, exit_code INTEGER, signal INTEGER,"
    " words TEXT, PRIMARY KEY(run, pool, id)) WITHOUT ROWID;"
    "CREATE TABLE sample(run INTEGER, at REAL, pool INTEGER, worker INTEGER, cpu_seconds REAL,"
    " rss_nbytes INTEGER, task INTEGER, task_started REAL, task_name INTEGER);"
    "CREATE INDEX sample_at ON sample(run, at);"
    "CREATE TABLE load(run INTEGER, at REAL, pool INTEGER, queued INTEGER, delayed INTEGER,"
    " waiting INTEGER, running INTEGER, submitted INTEGER, ended INTEGER, failed INTEGER,"
    " client_nbytes INTEGER, workers_nbytes INTEGER);"
    "CREATE INDEX load_at ON load(run, at);"
    "CREATE TABLE state(id INTEGER PRIMARY KEY, text TEXT);"
    "INSERT INTO state VALUES (1, 'unfinished'), (2, 'returned'), (3, 'raised'), (4, 'lost'),"
    " (5, 'cancelled'), (6, 'overdue'), (7, 'abandoned'), (8, 'input failed'), (9, 'starved');"
    "CREATE TABLE batch(id INTEGER PRIMARY KEY, run INTEGER, pool INTEGER, kind TEXT,"
    " base_ns INTEGER, count INTEGER, items TEXT);"
    "CREATE TABLE total(run INTEGER, pool INTEGER, name INTEGER, submitted INTEGER,"
    " returned INTEGER, raised INTEGER, lost INTEGER, cancelled INTEGER, overdue INTEGER,"
    " other INTEGER, retries INTEGER, seconds REAL, wait_seconds REAL, longest REAL,"
    " cpu_seconds REAL, peak_nbytes INTEGER, args_nbytes INTEGER, result_nbytes INTEGER,"
    " PRIMARY KEY(run, pool, name)) WITHOUT ROWID;"
    "CREATE TABLE slowest(run INTEGER, rank INTEGER, pool INTEGER, number INTEGER, name INTEGER,"
    " worker INTEGER, seconds REAL, state INTEGER, calls INTEGER,"
    " PRIMARY KEY(run, rank)) WITHOUT ROWID;"
    "CREATE TABLE failure(run INTEGER, place INTEGER, at REAL, pool INTEGER, number INTEGER,"
    " name INTEGER, worker INTEGER, state INTEGER, code INTEGER, error TEXT,"
    " PRIMARY KEY(run, place)) WITHOUT ROWID;";

/* clang-format off */

/* The columns of 'attempt' and 'task', in items.c's order of an item's values. */
#define COLUMNS                                                                                   \
    " n.text AS name, s.text AS state, (b.base_ns + (j.value ->> 4)) / 1e9 AS submitted,"         \
    " (b.base_ns + (j.value ->> 4) + (j.value ->> 5)) / 1e9 AS started,"                          \
    " (b.base_ns + (j.value ->> 4) + coalesce(j.value ->> 5, 0) + (j.value ->> 6)) / 1e9"         \
    " AS ended, CASE WHEN (j.value ->> 5) IS NOT NULL THEN (j.value ->> 6) / 1e9 END AS seconds," \
    " j.value ->> 7 AS worker, j.value ->> 8 AS args_nbytes, j.value ->> 9 AS result_nbytes,"     \
    " (j.value ->> 10) / 1e9 AS cpu_seconds, (j.value ->> 11) * 1024 AS peak_nbytes,"             \
    " coalesce(j.value ->> 12, 0) AS raised, coalesce(j.value ->> 13, 0) AS retries,"             \
    " (j.value ->> 0) - coalesce(j.value ->> 14, 0) AS submission,"                               \
    " j.value ->> 15 AS parent_pool, j.value ->> 16 AS parent,"                                   \
    " CASE WHEN (j.value ->> 17) >= 0 THEN j.value ->> 17 END AS exit_code,"                      \
    " CASE WHEN (j.value ->> 17) < 0 THEN -(j.value ->> 17) END AS signal,"                       \
    " j.value ->> 18 AS error, (j.value ->> 0) - (j.value ->> 20) AS map, j.value ->> 21 AS item"
#define ITEMS                                                                                     \
    " FROM batch b, json_each(b.items) j LEFT JOIN state s ON s.id = (j.value ->> 3)"             \
    " LEFT JOIN name n ON n.run = b.run AND n.pool = b.pool AND n.id = (j.value ->> 2)"

/* 'task' is one SELECT, with no UNION: so its reader pays for the columns that are asked for, and no others. Of
 * what had not ended at first, only pools are looked through that have not ended all by now. */
static const char views[] =
    "CREATE VIEW attempt AS SELECT b.run, b.pool, j.value ->> 0 AS number, j.value ->> 1 AS calls,"
    COLUMNS ", b.kind = 'ended' AS is_last" ITEMS " WHERE b.kind IN ('ended', 'retried');"

    "CREATE VIEW unfinished AS WITH incomplete AS MATERIALIZED (SELECT run, pool FROM total"
    " GROUP BY run, pool"
    " HAVING sum(submitted) <> sum(returned + raised + lost + cancelled + overdue + other)),"
    " done AS (SELECT b.run, b.pool, (j.value ->> 0) - coalesce(j.value ->> 14, 0) AS submission,"
    " sum(j.value ->> 1) AS calls FROM batch b, json_each(b.items) j"
    " WHERE b.kind = 'ended' AND (b.run, b.pool) IN incomplete GROUP BY 1, 2, 3)"
    " SELECT b.run, b.pool, j.value ->> 0 AS number,"
    " (j.value ->> 1) - coalesce(d.calls, 0) AS calls FROM batch b, json_each(b.items) j"
    " LEFT JOIN done d ON d.run = b.run AND d.pool = b.pool AND d.submission = (j.value ->> 0)"
    " WHERE b.kind = 'open' AND (b.run, b.pool) IN incomplete"
    " AND (j.value ->> 1) > coalesce(d.calls, 0);"

    "CREATE VIEW task AS SELECT b.run, b.pool, j.value ->> 0 AS number,"
    " coalesce(u.calls, j.value ->> 1) AS calls," COLUMNS ITEMS
    " LEFT JOIN unfinished u ON b.kind = 'open' AND u.run = b.run AND u.pool = b.pool"
    " AND u.number = (j.value ->> 0) WHERE b.kind = 'ended' OR u.calls;"

    "CREATE VIEW raised_call AS SELECT b.run, b.pool, c.value AS number, n.text AS name,"
    " (j.value ->> 0) - (j.value ->> 20) AS map, c.value - (j.value ->> 0) + (j.value ->> 21) AS item,"
    " j.value ->> 0 AS task"
    " FROM batch b, json_each(b.items) j, json_each(coalesce(j.value -> 19,"
    " CASE j.value ->> 1 WHEN 1 THEN json_array(j.value ->> 0) END)) c"
    " LEFT JOIN name n ON n.run = b.run AND n.pool = b.pool AND n.id = (j.value ->> 2)"
    " WHERE b.kind = 'ended' AND (j.value ->> 12) > 0;";

/* Version 1 had another order for what had not ended, and slower views. */
static const char from_version_1[] =
    "DROP VIEW task; DROP VIEW attempt; DROP VIEW submission;"
    "INSERT INTO state VALUES (1, 'unfinished');"
    "UPDATE batch SET kind = 'open', items = (SELECT json_group_array(json_array(j.value ->> 0,"
    " j.value ->> 1, j.value ->> 2, 1, j.value ->> 3, NULL, NULL, NULL, j.value ->> 4, NULL, NULL,"
    " NULL, 0, 0, 0, j.value ->> 5, j.value ->> 6)) FROM json_each(batch.items) j)"
    " WHERE kind = 'submitted';";

/* clang-format on */

static int pragma_of(sqlite3 *db, const char *text, int64_t *value)
{
    sqlite3_stmt *statement = NULL;
    int error = sqlite3_prepare_v2(db, text, -1, &statement, NULL);
    if (error == SQLITE_OK && (error = sqlite3_step(statement)) == SQLITE_ROW) {
        *value = sqlite3_column_int64(statement, 0);
        error = SQLITE_OK;
    }
    sqlite3_finalize(statement);
    return error;
}

/* Tables that are new, or those of the version before. */
static int make_schema(sqlite3 *db, const char *what)
{
    char text[128];
    int error = sqlite3_exec(db, what, NULL, NULL, NULL);
    if (error == SQLITE_OK) {
        error = sqlite3_exec(db, views, NULL, NULL, NULL);
    }
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             RECORD_APPLICATION_ID, RECORD_SCHEMA_VERSION);
    return error == SQLITE_OK ? sqlite3_exec(db, text, NULL, NULL, NULL) : error;
}

bool record_is_new(sqlite3 *db)
{
    int64_t application = 0, table_count = 0;
    return pragma_of(db, "PRAGMA application_id", &application) == SQLITE_OK &&
           pragma_of(db, "SELECT count(*) FROM sqlite_schema", &table_count) == SQLITE_OK &&
           application == 0 && table_count == 0;
}

int achar__record_check(sqlite3 *db, const char *path, bool make, char *message,
                        size_t message_nbytes)
{
    int64_t application = 0, version = 0, table_count = 0;
    int error = pragma_of(db, "PRAGMA application_id", &application);
    if (error == SQLITE_OK) {
        error = pragma_of(db, "PRAGMA user_version", &version);
    }
    if (error == SQLITE_OK) {
        error = pragma_of(db, "SELECT count(*) FROM sqlite_schema", &table_count);
    }
    bool is_new = table_count == 0 && application == 0;
    bool is_old = application == RECORD_APPLICATION_ID && version == 1;
    if (error == SQLITE_OK && make && (is_new || is_old)) {
        error = make_schema(db, is_new ? tables : from_version_1);
        application = RECORD_APPLICATION_ID;
        version = RECORD_SCHEMA_VERSION;
    }
    if (error == SQLITE_NOTADB || (error == SQLITE_OK && application != RECORD_APPLICATION_ID)) {
        snprintf(message, message_nbytes, "%s is not a record of achar's", path);
    } else if (error != SQLITE_OK) {
        snprintf(message, message_nbytes, "%s: %s", path, sqlite3_errmsg(db));
    } else if (version > RECORD_SCHEMA_VERSION) {
        snprintf(message, message_nbytes,
                 "%s was written by a newer achar (its schema is %lld, and this one knows %d): "
                 "read it with that",
                 path, (long long)version, RECORD_SCHEMA_VERSION);
    } else {
        return ACHAR_OK;
    }
    return ACHAR_E_IO;
}
