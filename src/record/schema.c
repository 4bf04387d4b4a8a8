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

static const char schema[] =
    "CREATE TABLE run(id INTEGER PRIMARY KEY, started REAL, ended REAL, host TEXT, boot TEXT, pid "
    "INTEGER,"
    " pid_started INTEGER, program TEXT, python TEXT, achar TEXT, workers INTEGER, seen REAL,"
    " dropped INTEGER NOT NULL DEFAULT 0, trouble TEXT);"
    "CREATE TABLE pool(run INTEGER, id INTEGER, kind TEXT, started REAL, PRIMARY KEY(run, id)) "
    "WITHOUT ROWID;"
    "CREATE TABLE name(run INTEGER, pool INTEGER, id INTEGER, text TEXT, PRIMARY KEY(run, pool, "
    "id))"
    " WITHOUT ROWID;"
    "CREATE TABLE worker(run INTEGER, pool INTEGER, id INTEGER, place INTEGER, pid INTEGER, "
    "started REAL,"
    " ready REAL, ended REAL, reason TEXT, exit_code INTEGER, signal INTEGER, words TEXT,"
    " PRIMARY KEY(run, pool, id)) WITHOUT ROWID;"
    "CREATE TABLE sample(run INTEGER, at REAL, pool INTEGER, worker INTEGER, cpu_seconds REAL, "
    "rss_nbytes"
    " INTEGER, task INTEGER, task_started REAL, task_name INTEGER);"
    "CREATE INDEX sample_at ON sample(run, at);"
    "CREATE TABLE load(run INTEGER, at REAL, pool INTEGER, queued INTEGER, delayed INTEGER, "
    "waiting INTEGER,"
    " running INTEGER, submitted INTEGER, ended INTEGER, failed INTEGER, client_nbytes INTEGER, "
    "workers_nbytes"
    " INTEGER);"
    "CREATE INDEX load_at ON load(run, at);"
    "CREATE TABLE state(id INTEGER PRIMARY KEY, text TEXT);"
    "INSERT INTO state VALUES (2, 'returned'), (3, 'raised'), (4, 'lost'), (5, 'cancelled'), (6, "
    "'overdue'),"
    " (7, 'abandoned'), (8, 'input failed'), (9, 'starved');"
    "CREATE TABLE batch(id INTEGER PRIMARY KEY, run INTEGER, pool INTEGER, kind TEXT, base_ns "
    "INTEGER,"
    " count INTEGER, items TEXT);"
    "CREATE TABLE total(run INTEGER, pool INTEGER, name INTEGER, submitted INTEGER, returned "
    "INTEGER, raised"
    " INTEGER, lost INTEGER, cancelled INTEGER, overdue INTEGER, other INTEGER, retries INTEGER, "
    "seconds REAL,"
    " wait_seconds REAL, longest REAL, cpu_seconds REAL, peak_nbytes INTEGER, args_nbytes INTEGER,"
    " result_nbytes INTEGER, PRIMARY KEY(run, pool, name)) WITHOUT ROWID;"
    "CREATE TABLE slowest(run INTEGER, rank INTEGER, pool INTEGER, number INTEGER, name INTEGER, "
    "worker INTEGER,"
    " seconds REAL, state INTEGER, calls INTEGER, PRIMARY KEY(run, rank)) WITHOUT ROWID;"
    "CREATE TABLE failure(run INTEGER, place INTEGER, at REAL, pool INTEGER, number INTEGER, name "
    "INTEGER, worker"
    " INTEGER, state INTEGER, code INTEGER, error TEXT, PRIMARY KEY(run, place)) WITHOUT ROWID;"

    "CREATE VIEW submission AS SELECT b.run, b.pool, j.value ->> 0 AS number, j.value ->> 1 AS "
    "calls,"
    " n.text AS name, (b.base_ns + (j.value ->> 3)) / 1e9 AS submitted, j.value ->> 4 AS "
    "args_nbytes,"
    " j.value ->> 5 AS parent_pool, j.value ->> 6 AS parent"
    " FROM batch b, json_each(b.items) j"
    " LEFT JOIN name n ON n.run = b.run AND n.pool = b.pool AND n.id = (j.value ->> 2)"
    " WHERE b.kind = 'submitted';"

    "CREATE VIEW attempt AS SELECT b.run, b.pool, j.value ->> 0 AS number, j.value ->> 1 AS calls, "
    "n.text AS name,"
    " s.text AS state, b.kind = 'ended' AS is_last,"
    " (b.base_ns + (j.value ->> 4)) / 1e9 AS submitted,"
    " (b.base_ns + (j.value ->> 4) + (j.value ->> 5)) / 1e9 AS started,"
    " (b.base_ns + (j.value ->> 4) + coalesce(j.value ->> 5, 0) + (j.value ->> 6)) / 1e9 AS ended,"
    " CASE WHEN (j.value ->> 5) IS NOT NULL THEN (j.value ->> 6) / 1e9 END AS seconds,"
    " j.value ->> 7 AS worker, j.value ->> 8 AS args_nbytes, j.value ->> 9 AS result_nbytes,"
    " (j.value ->> 10) / 1e9 AS cpu_seconds, (j.value ->> 11) * 1024 AS peak_nbytes,"
    " coalesce(j.value ->> 12, 0) AS raised, coalesce(j.value ->> 13, 0) AS retries,"
    " (j.value ->> 0) - coalesce(j.value ->> 14, 0) AS submission,"
    " j.value ->> 15 AS parent_pool, j.value ->> 16 AS parent,"
    " CASE WHEN (j.value ->> 17) >= 0 THEN j.value ->> 17 END AS exit_code,"
    " CASE WHEN (j.value ->> 17) < 0 THEN -(j.value ->> 17) END AS signal, j.value ->> 18 AS error"
    " FROM batch b, json_each(b.items) j LEFT JOIN state s ON s.id = (j.value ->> 3)"
    " LEFT JOIN name n ON n.run = b.run AND n.pool = b.pool AND n.id = (j.value ->> 2)"
    " WHERE b.kind <> 'submitted';"

    "CREATE VIEW task AS SELECT run, pool, number, calls, name, state, submitted, started, ended, "
    "seconds, worker,"
    " args_nbytes, result_nbytes, cpu_seconds, peak_nbytes, raised, retries, submission, "
    "parent_pool, parent,"
    " exit_code, signal, error FROM attempt WHERE is_last"
    " UNION ALL SELECT s.run, s.pool, s.number, s.calls - coalesce(e.calls, 0), s.name, "
    "'unfinished', s.submitted,"
    " NULL, NULL, NULL, NULL, s.args_nbytes, NULL, NULL, NULL, 0, 0, s.number, s.parent_pool, "
    "s.parent, NULL, NULL,"
    " NULL FROM submission s LEFT JOIN (SELECT run, pool, submission, sum(calls) AS calls FROM "
    "attempt WHERE is_last"
    " GROUP BY 1, 2, 3) e ON e.run = s.run AND e.pool = s.pool AND e.submission = s.number"
    " WHERE s.calls > coalesce(e.calls, 0);";

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

static int make_schema(sqlite3 *db)
{
    char text[128];
    int error = sqlite3_exec(db, schema, NULL, NULL, NULL);
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
    if (error == SQLITE_OK && make && table_count == 0 && application == 0) {
        error = make_schema(db);
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
