/*
 * write.c - what is pending goes into the file, in one transaction.
 */
#include "record/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const texts[STATEMENT_COUNT] = {
    [STATEMENT_BATCH] =
        "INSERT INTO batch(run, pool, kind, base_ns, count, items) VALUES (?,?,?,?,?,?)",
    [STATEMENT_NAME] = "INSERT OR REPLACE INTO name VALUES (?,?,?,?)",
    [STATEMENT_POOL] = "INSERT OR REPLACE INTO pool VALUES (?,?,?,?)",
    [STATEMENT_WORKER] =
        "INSERT OR REPLACE INTO worker(run, pool, id, place, pid, started) VALUES (?,?,?,?,?,?)",
    [STATEMENT_WORKER_READY] =
        "UPDATE worker SET ready = ?4 WHERE run = ?1 AND pool = ?2 AND id = ?3",
    [STATEMENT_WORKER_ENDED] =
        "INSERT INTO worker(run, pool, id, place, ended, reason, exit_code, signal, words)"
        " VALUES (?1,?2,?3,?9,?4,?5,?6,?7,?8) ON CONFLICT DO UPDATE SET ended = ?4, reason = ?5,"
        " exit_code = ?6, signal = ?7, words = ?8",
    [STATEMENT_TOTAL] = "INSERT OR REPLACE INTO total VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [STATEMENT_SLOWEST] = "INSERT OR REPLACE INTO slowest VALUES (?,?,?,?,?,?,?,?,?)",
    [STATEMENT_FAILURE] = "INSERT OR REPLACE INTO failure VALUES (?,?,?,?,?,?,?,?,?,?)",
    [STATEMENT_SAMPLE] = "INSERT INTO sample VALUES (?,?,?,?,?,?,?,?,?)",
    [STATEMENT_LOAD] = "INSERT INTO load VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
    [STATEMENT_RUN] =
        "UPDATE run SET seen = ?2, dropped = ?3, trouble = ?4, ended = ?5 WHERE id = ?1",
};

int record_prepare(achar__record *record)
{
    int error = SQLITE_OK;
    for (int i = 0; i < STATEMENT_COUNT && error == SQLITE_OK; i++) {
        error = sqlite3_prepare_v3(record->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                   &record->statements[i], NULL);
    }
    return error;
}

static int step(sqlite3_stmt *statement)
{
    int error = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return error == SQLITE_DONE ? SQLITE_OK : error;
}

/* The statement, with run, pool and id as its first three. */
static sqlite3_stmt *begin(achar__record *record, enum statement which, uint32_t pool, int64_t id)
{
    sqlite3_stmt *statement = record->statements[which];
    sqlite3_bind_int64(statement, 1, record->run);
    sqlite3_bind_int64(statement, 2, pool);
    sqlite3_bind_int64(statement, 3, id);
    return statement;
}

static void bind_time(achar__record *record, sqlite3_stmt *statement, int at, int64_t ns)
{
    if (ns) {
        sqlite3_bind_double(statement, at, record_seconds(record, ns));
    }
}

static void bind_text(sqlite3_stmt *statement, int at, const char *data)
{
    if (data) {
        sqlite3_bind_text(statement, at, data, -1, SQLITE_STATIC);
    }
}

static const char *kind_name(uint8_t kind)
{
    return kind == ACHAR__JOURNAL_SUBMITTED ? "open"
           : kind == ACHAR__JOURNAL_RETRIED ? "retried"
                                            : "ended";
}

static int write_batch(achar__record *record, const batch *it)
{
    sqlite3_stmt *statement = record->statements[STATEMENT_BATCH];
    if (!it->count) { /* there was no memory for its first item */
        return SQLITE_OK;
    }
    it->items.data[it->items.nbytes] = ']'; /* room for it is always there */
    sqlite3_bind_int64(statement, 1, record->run);
    sqlite3_bind_int64(statement, 2, it->pool);
    sqlite3_bind_text(statement, 3, kind_name(it->kind), -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 4, it->base_ns + record->wall_ns);
    sqlite3_bind_int64(statement, 5, it->count);
    sqlite3_bind_text(statement, 6, it->items.data, (int)it->items.nbytes + 1, SQLITE_STATIC);
    return step(statement);
}

static const char *reason_of(uint8_t how)
{
    static const char *const reasons[] = {
        [ACHAR__END_LEFT] = "left",
        [ACHAR__END_EXITED] = "exited",
        [ACHAR__END_KILLED] = "killed",
        [ACHAR__END_TIME_LIMIT] = "time limit",
        [ACHAR__END_CANCELLED] = "cancelled",
        [ACHAR__END_SLOW_START] = "slow start",
        [ACHAR__END_SLOW_LEAVING] = "slow leaving",
        [ACHAR__END_DISTRUSTED] = "distrusted",
        [ACHAR__END_INTERRUPTED] = "interrupted",
        [ACHAR__END_CANNOT_START] = "cannot start",
    };
    return how < sizeof reasons / sizeof *reasons ? reasons[how] : NULL;
}

static int write_worker_ended(achar__record *record, const event *from)
{
    const achar__journal_record *it = &from->record;
    sqlite3_stmt *statement = begin(record, STATEMENT_WORKER_ENDED, from->pool, it->worker);
    bind_time(record, statement, 4, it->ended_ns);
    bind_text(statement, 5, reason_of(it->how));
    if (it->code >= 0) {
        sqlite3_bind_int(statement, 6, it->code);
    } else if (it->pid) {
        sqlite3_bind_int(statement, 7, -it->code);
    }
    bind_text(statement, 8, it->text);
    sqlite3_bind_int64(statement, 9, it->place);
    return step(statement);
}

static int write_event(achar__record *record, const event *from)
{
    const achar__journal_record *it = &from->record;
    sqlite3_stmt *statement;
    switch (it->kind) {
    case ACHAR__JOURNAL_NAME:
        statement = begin(record, STATEMENT_NAME, from->pool, it->name);
        bind_text(statement, 4, it->text);
        return step(statement);
    case ACHAR__JOURNAL_WORKER_STARTED:
        statement = begin(record, STATEMENT_WORKER, from->pool, it->worker);
        sqlite3_bind_int64(statement, 4, it->place);
        sqlite3_bind_int64(statement, 5, it->pid);
        bind_time(record, statement, 6, it->started_ns);
        return step(statement);
    case ACHAR__JOURNAL_WORKER_READY:
        statement = begin(record, STATEMENT_WORKER_READY, from->pool, it->worker);
        bind_time(record, statement, 4, it->started_ns);
        return step(statement);
    case ACHAR__JOURNAL_WORKER_ENDED:
        return write_worker_ended(record, from);
    default:
        return SQLITE_OK;
    }
}

static int write_total(achar__record *record, const source *of, size_t name)
{
    const total *it = &of->totals[name];
    sqlite3_stmt *statement = begin(record, STATEMENT_TOTAL, of->pool, (int64_t)name);
    const uint64_t counts[] = {it->submitted, it->returned, it->raised, it->lost,
                               it->cancelled, it->overdue,  it->other,  it->retries};
    int at = 4;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        sqlite3_bind_int64(statement, at++, (int64_t)counts[i]);
    }
    sqlite3_bind_double(statement, at++, (double)it->run_ns / 1e9);
    sqlite3_bind_double(statement, at++, (double)it->wait_ns / 1e9);
    sqlite3_bind_double(statement, at++, (double)it->longest_ns / 1e9);
    sqlite3_bind_double(statement, at++, (double)it->cpu_ns / 1e9);
    sqlite3_bind_int64(statement, at++, (int64_t)it->peak_nbytes);
    sqlite3_bind_int64(statement, at++, (int64_t)it->args_nbytes);
    sqlite3_bind_int64(statement, at++, (int64_t)it->result_nbytes);
    return step(statement);
}

static int write_totals(achar__record *record, source *of)
{
    int error = SQLITE_OK;
    for (size_t i = 0; i < of->total_count && error == SQLITE_OK; i++) {
        if (of->totals[i].dirty) {
            error = write_total(record, of, i);
        }
    }
    return error;
}

static int write_slowest(achar__record *record)
{
    int error = SQLITE_OK;
    for (size_t i = 0; i < record->slowest_count && error == SQLITE_OK; i++) {
        const achar__journal_record *it = &record->slowest[i].record;
        sqlite3_stmt *statement = record->statements[STATEMENT_SLOWEST];
        sqlite3_bind_int64(statement, 1, record->run);
        sqlite3_bind_int64(statement, 2, (int64_t)i);
        sqlite3_bind_int64(statement, 3, record->slowest[i].pool);
        sqlite3_bind_int64(statement, 4, it->number);
        sqlite3_bind_int64(statement, 5, it->name);
        sqlite3_bind_int64(statement, 6, it->worker);
        sqlite3_bind_double(statement, 7, (double)(it->ended_ns - it->started_ns) / 1e9);
        sqlite3_bind_int64(statement, 8, it->how);
        sqlite3_bind_int64(statement, 9, it->calls);
        error = step(statement);
    }
    return error;
}

static int write_failure(achar__record *record, size_t place)
{
    const failure *from = &record->failures[place];
    const achar__journal_record *it = &from->record;
    sqlite3_stmt *statement = record->statements[STATEMENT_FAILURE];
    sqlite3_bind_int64(statement, 1, record->run);
    sqlite3_bind_int64(statement, 2, (int64_t)place);
    bind_time(record, statement, 3, it->ended_ns);
    sqlite3_bind_int64(statement, 4, from->pool);
    sqlite3_bind_int64(statement, 5, it->number);
    sqlite3_bind_int64(statement, 6, it->name);
    if (it->worker) {
        sqlite3_bind_int64(statement, 7, it->worker);
    }
    /* Of a piece, some calls have raised. */
    sqlite3_bind_int64(statement, 8,
                       it->how == ACHAR__TASK_RETURNED ? ACHAR__TASK_RAISED : it->how);
    if (it->pid) {
        sqlite3_bind_int64(statement, 9, it->code);
    }
    bind_text(statement, 10, it->text);
    return step(statement);
}

static int write_run(achar__record *record, bool ended)
{
    sqlite3_stmt *statement = record->statements[STATEMENT_RUN];
    uint64_t dropped = atomic_load(&record->dropped);
    int64_t now_ns = achar__now_ns();
    sqlite3_bind_int64(statement, 1, record->run);
    bind_time(record, statement, 2, now_ns);
    sqlite3_bind_int64(statement, 3, (int64_t)dropped);
    bind_text(statement, 4, dropped && record->trouble[0] ? record->trouble : NULL);
    if (ended) {
        bind_time(record, statement, 5, now_ns);
    }
    int error = step(statement);
    record->told_dropped = error == SQLITE_OK ? dropped : record->told_dropped;
    return error;
}

static int write_sources(achar__record *record)
{
    int error = SQLITE_OK;
    for (source *it = record->known; it && error == SQLITE_OK; it = it->next) {
        if (!it->is_written) {
            sqlite3_stmt *statement = record->statements[STATEMENT_POOL];
            sqlite3_bind_int64(statement, 1, record->run);
            sqlite3_bind_int64(statement, 2, it->pool);
            sqlite3_bind_text(statement, 3, it->kind, -1, SQLITE_STATIC);
            bind_time(record, statement, 4, it->added_ns);
            error = step(statement);
        }
        if (error == SQLITE_OK) {
            error = write_totals(record, it);
        }
    }
    return error;
}

static int write_all(achar__record *record, bool sample)
{
    int error = SQLITE_OK;
    for (batch *it = record->pending; it && error == SQLITE_OK; it = it->next) {
        error = write_batch(record, it);
    }
    for (event *it = record->events; it && error == SQLITE_OK; it = it->next) {
        error = write_event(record, it);
    }
    if (error == SQLITE_OK) {
        error = write_sources(record);
    }
    if (error == SQLITE_OK && record->slowest_dirty) {
        error = write_slowest(record);
    }
    for (size_t i = 0; i < FAILURES_COUNT && error == SQLITE_OK; i++) {
        if (record->failures[i].dirty) {
            error = write_failure(record, i);
        }
    }
    if (error == SQLITE_OK && sample) {
        error = record_sample(record);
    }
    if (error == SQLITE_OK && (sample || record->told_dropped != atomic_load(&record->dropped))) {
        error = write_run(record, false);
    }
    return error;
}

static void all_is_written(achar__record *record)
{
    record_drop_pending(record);
    for (source *it = record->known; it; it = it->next) {
        it->is_written = true;
        for (size_t i = 0; i < it->total_count; i++) {
            it->totals[i].dirty = false;
        }
    }
    record->slowest_dirty = false;
    for (size_t i = 0; i < FAILURES_COUNT; i++) {
        record->failures[i].dirty = false;
    }
}

static void note_trouble(achar__record *record)
{
    pthread_mutex_lock(&record->lock);
    snprintf(record->trouble, sizeof record->trouble, "%s", sqlite3_errmsg(record->db));
    pthread_mutex_unlock(&record->lock);
    record->is_busy = (sqlite3_errcode(record->db) & 0xFF) == SQLITE_BUSY;
}

static int write_transaction(achar__record *record, bool sample)
{
    int error = sqlite3_exec(record->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (error != SQLITE_OK) {
        note_trouble(record);
        return error;
    }
    error = write_all(record, sample);
    if (error == SQLITE_OK) {
        error = sqlite3_exec(record->db, "COMMIT", NULL, NULL, NULL);
    }
    if (error != SQLITE_OK) {
        note_trouble(record);
        sqlite3_exec(record->db, "ROLLBACK", NULL, NULL, NULL);
        return error;
    }
    return SQLITE_OK;
}

int record_write(achar__record *record, bool sample)
{
    if (sample) {
        record_look(record);
    }
    int error = record_enter_file(record);
    if (error == SQLITE_OK) {
        error = write_transaction(record, sample);
    }
    record_leave_file(record);
    if (error == SQLITE_OK) {
        all_is_written(record);
    }
    if (sample && error == SQLITE_OK) {
        record_sample_is_written(record);
    } else if (sample) {
        record_sample_is_lost(record);
    }
    return error;
}

int record_write_end(achar__record *record)
{
    int error = record_enter_file(record);
    if (error == SQLITE_OK) {
        error = write_run(record, true);
        if (error != SQLITE_OK) {
            note_trouble(record);
        }
    }
    record_leave_file(record);
    return error;
}

void record_write_last(achar__record *record)
{
    if (record_write(record, false) != SQLITE_OK) {
        atomic_fetch_add(&record->dropped, record->pending_count);
        record_drop_pending(record);
    }
    record_write_end(record);
}
