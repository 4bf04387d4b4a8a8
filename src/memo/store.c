/*
 * store.c - opening and closing; the schema. See store.h.
 *
 *   result   one row a result, in the order in which they came, found by 'id', the first eight bytes of
 *            the key; the whole key stands in the row and is compared. 'beside' is the size of the file
 *            beside the database that has the value, or 0. 'value' is last, so that the rest is read
 *            without it. 'checksum' is row.c's.
 *   origin   what many results have in common; the caller's text. In two tables, since many results hang
 *            on one page.
 *   recent   when a result was used last, if it was since it came.
 *   beside   what the files beside the database take, kept by triggers.
 *
 * So that a commit writes three pages and no more: the end of the table, a page of the index, and one for
 * what grows.
 *
 * Opening reads a page or two, whatever the size of the file. What was deleted is overwritten with
 * zeros (secure_delete), so that salvaging a damaged file brings back nothing that was invalidated.
 */
#include "memo/internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    APPLICATION_ID = 0x61636872, /* "achr" */
    SCHEMA_VERSION = 1,
    SCHEMA_COUNT = 10, /* tables, indexes and triggers */
    BUSY_MS = 60000,
    CHECKPOINT_FRAMES = 4000, /* so long the log gets */
};

static const char SCHEMA[] =
    "CREATE TABLE result(seq INTEGER PRIMARY KEY, id INTEGER NOT NULL, key BLOB NOT NULL,"
    " kind INTEGER NOT NULL, origin INTEGER NOT NULL, beside INTEGER NOT NULL,"
    " stored_ms INTEGER NOT NULL, took_ns INTEGER NOT NULL, checksum INTEGER NOT NULL,"
    " value BLOB NOT NULL);"
    "CREATE UNIQUE INDEX result_by_id ON result(id);"
    "CREATE TABLE origin(id INTEGER PRIMARY KEY, about TEXT NOT NULL UNIQUE, checksum INTEGER NOT "
    "NULL);"
    "CREATE TABLE origin_again(id INTEGER PRIMARY KEY, about TEXT NOT NULL, checksum INTEGER NOT "
    "NULL);"
    "CREATE TRIGGER origin_inserted AFTER INSERT ON origin BEGIN"
    " INSERT OR REPLACE INTO origin_again VALUES(new.id, new.about, new.checksum); END;"
    "CREATE TABLE recent(seq INTEGER PRIMARY KEY, used_ms INTEGER NOT NULL);"
    "CREATE INDEX recent_by_use ON recent(used_ms);"
    "CREATE TABLE beside(id INTEGER PRIMARY KEY, nbytes INTEGER NOT NULL);"
    "INSERT INTO beside VALUES(0, 0);"
    "CREATE TRIGGER result_inserted AFTER INSERT ON result WHEN new.beside > 0 BEGIN"
    " UPDATE beside SET nbytes = nbytes + new.beside WHERE id = 0; END;"
    "CREATE TRIGGER result_deleted AFTER DELETE ON result BEGIN"
    " UPDATE beside SET nbytes = nbytes - old.beside WHERE id = 0 AND old.beside > 0;"
    " DELETE FROM recent WHERE seq = old.seq; END;";

int64_t memo_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

memo_status memo_status_of(int sqlite_code)
{
    switch (sqlite_code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return MEMO_OK;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
        return MEMO_DAMAGED;
    case SQLITE_FULL:
        return MEMO_FULL;
    case SQLITE_IOERR:
        if (sqlite_code == SQLITE_IOERR_SHORT_READ || sqlite_code == SQLITE_IOERR_CORRUPTFS)
            return MEMO_DAMAGED;
        return errno == ENOSPC || errno == EFBIG || errno == EDQUOT ? MEMO_FULL : MEMO_ERROR;
    case SQLITE_NOMEM:
        return MEMO_NOMEM;
    default:
        return MEMO_ERROR;
    }
}

static _Thread_local char message[256];

void memo_set_text(const char *text)
{
    snprintf(message, sizeof message, "%s", text);
}

void memo_set_message(sqlite3 *db)
{
    memo_set_text(db ? sqlite3_errmsg(db) : strerror(errno));
}

const char *memo_message(void)
{
    return message;
}

static memo_status failed(sqlite3 *db, int code)
{
    memo_status status = memo_status_of(code);
    memo_set_message(db);
    return status == MEMO_OK ? MEMO_ERROR : status;
}

/* Of what any SQLite can do with any database: where not, the header says that the file is of another kind. */
static memo_status failed_on_any(sqlite3 *db, int code)
{
    memo_status status = failed(db, code);
    return (code & 0xFF) == SQLITE_ERROR ? MEMO_DAMAGED : status;
}

memo_status memo_not_connected(void)
{
    memo_set_text("after a fork the file could not be opened again");
    return MEMO_MOVED;
}

memo_status memo_look_after_path(const memo_store *store)
{
    struct stat now;
    if (stat(store->path, &now) == 0 && now.st_ino == store->inode && now.st_dev == store->device &&
        access(store->salvaged_path, F_OK) < 0)
        return MEMO_OK;
    memo_set_text("the file was moved or deleted, or another takes its place");
    return MEMO_MOVED;
}

/* One number that a statement answers. */
static int ask(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return code == SQLITE_ROW ? SQLITE_OK : code == SQLITE_DONE ? SQLITE_ERROR : code;
}

static memo_status connect_to(memo_store *store, int creates, sqlite3 **db)
{
    int code = sqlite3_open_v2(
        store->path, db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (creates ? SQLITE_OPEN_CREATE : 0), NULL);
    if (code != SQLITE_OK)
        return *db ? failed(*db, code) : MEMO_NOMEM;
    sqlite3_extended_result_codes(*db, 1);
    sqlite3_busy_timeout(*db, BUSY_MS);
    code = sqlite3_exec(*db,
                        store->durability == MEMO_POWER ? "PRAGMA synchronous=FULL"
                                                        : "PRAGMA synchronous=NORMAL",
                        NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(*db,
                            "PRAGMA secure_delete=ON; "
                            "PRAGMA journal_size_limit=67108864; PRAGMA trusted_schema=OFF",
                            NULL, NULL, NULL);
    return code == SQLITE_OK ? MEMO_OK : failed_on_any(*db, code);
}

/* How many parts of the schema are ours to the letter. */
static int count_ours(sqlite3 *db, int64_t *out)
{
    char *sql =
        sqlite3_mprintf("SELECT count(*) FROM sqlite_schema WHERE instr(%Q, sql) > 0", SCHEMA);
    int code = sql ? ask(db, sql, out) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return code;
}

/* MEMO_ABSENT: an empty file, to be filled. */
static memo_status look(memo_store *store)
{
    int64_t application = 0, version = 0, parts = 0, ours = 0;
    int code = ask(store->writer, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = ask(store->writer, "PRAGMA user_version", &version);
    if (code == SQLITE_OK)
        code = ask(store->writer, "SELECT count(*) FROM sqlite_schema WHERE sql NOT NULL", &parts);
    if (code == SQLITE_OK)
        code = count_ours(store->writer, &ours);
    if (code != SQLITE_OK)
        return failed_on_any(store->writer, code);
    if (sqlite3_db_readonly(store->writer, "main") == 1 && access(store->path, W_OK) == 0) {
        memo_set_text("its header says that it cannot be written");
        return MEMO_DAMAGED;
    }
    if (application == APPLICATION_ID && version == SCHEMA_VERSION) {
        memo_set_text("its tables are not those that were made");
        return ours == SCHEMA_COUNT ? MEMO_OK : MEMO_DAMAGED;
    }
    if (application == 0 && version == 0 && parts == 0)
        return MEMO_ABSENT;
    /* A later version, whatever it changes, will change the schema. */
    if (ours == SCHEMA_COUNT && parts == SCHEMA_COUNT) {
        memo_set_text("its header says that it is something else");
        return MEMO_DAMAGED;
    }
    memo_set_text(application == APPLICATION_ID ? "it was made by another version of achar"
                                                : "it is a database of something else");
    return MEMO_FOREIGN;
}

/* Called while no other process is here. */
static memo_status set_up(memo_store *store)
{
    memo_status status = look(store);
    if (status != MEMO_ABSENT)
        return status;
    char *sql =
        sqlite3_mprintf("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE; %s PRAGMA application_id=%d;"
                        " PRAGMA user_version=%d; COMMIT",
                        SCHEMA, APPLICATION_ID, SCHEMA_VERSION);
    if (!sql)
        return MEMO_NOMEM;
    int code = sqlite3_exec(store->writer, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return code == SQLITE_OK ? MEMO_OK : failed(store->writer, code);
}

static memo_store *new_store(const char *path, memo_durability durability)
{
    memo_store *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    store->durability = durability;
    store->last = &store->first;
    store->flushed_ms = memo_now_ms();
    pthread_mutex_init(&store->reading, NULL);
    pthread_mutex_init(&store->queue, NULL);
    pthread_cond_init(&store->turn, NULL);
    store->path = strdup(path);
    store->salvaged_path = sqlite3_mprintf("%s.salvaged", path);
    store->uses = calloc(MEMO_USES, sizeof *store->uses);
    if (!store->path || !store->salvaged_path || !store->uses) {
        memo_store_close(store);
        return NULL;
    }
    return store;
}

/* After each commit, with SQLite's transaction over. */
static int on_commit(void *context, sqlite3 *db, const char *name, int frame_count)
{
    if (frame_count >= CHECKPOINT_FRAMES)
        sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return SQLITE_OK;
}

static memo_status connect_both(memo_store *store, int creates)
{
    memo_status status = connect_to(store, creates, &store->writer);
    if (status == MEMO_OK)
        sqlite3_wal_hook(store->writer, on_commit, NULL);
    if (status == MEMO_OK && creates)
        status = set_up(store);
    if (status == MEMO_OK)
        status = connect_to(store, 0, &store->reader);
    if (status == MEMO_OK)
        status = memo_prepare_rows(store);
    if (status == MEMO_OK)
        memo_find_head(store);
    return status;
}

/* Called with the list's lock. */
static memo_status open_files(memo_store *store)
{
    struct stat opened;
    bool log_is_missing = false;
    memo_status status = memo_locks_open(store->path, &store->locks);
    if (status != MEMO_OK)
        return status;
    memo_lock_writers(store->locks);
    if (access(store->salvaged_path, F_OK) == 0) {
        memo_set_text("a salvaged file is to take its place");
        status = MEMO_MOVED;
    }
    if (status == MEMO_OK)
        status = memo_check_log(store, &log_is_missing);
    if (status == MEMO_OK)
        status = connect_both(store, 1);
    if (status == MEMO_OK && stat(store->path, &opened) < 0) {
        memo_set_message(NULL);
        status = MEMO_ERROR;
    }
    if (status == MEMO_OK) {
        store->device = opened.st_dev;
        store->inode = opened.st_ino;
        if (log_is_missing)
            status = memo_check_last(store);
    }
    memo_unlock_writers(store->locks);
    store->is_open = status == MEMO_OK;
    return status;
}

memo_status memo_store_open(const char *path, memo_durability durability, memo_store **out)
{
    memo_store *store = *out = new_store(path, durability);
    if (!store)
        return MEMO_NOMEM;
    memo_lock_all();
    memo_list_add(store);
    memo_status status = open_files(store);
    memo_unlock_all();
    return status;
}

memo_status memo_connect(memo_store *store)
{
    memo_lock_writers(store->locks);
    memo_status status = memo_look_after_path(store);
    if (status == MEMO_OK)
        status = connect_both(store, 0);
    if (status != MEMO_OK)
        memo_disconnect(store, 0);
    memo_unlock_writers(store->locks);
    return status;
}

void memo_disconnect(memo_store *store, int is_last)
{
    memo_finalize_rows(store);
    if (!is_last && store->writer)
        sqlite3_db_config(store->writer, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (!is_last && store->reader)
        sqlite3_db_config(store->reader, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    store->head = NULL;
    sqlite3_close(store->reader);
    sqlite3_close(store->writer);
    store->reader = store->writer = NULL;
}

static void free_store(memo_store *store)
{
    sqlite3_free(store->salvaged_path);
    free(store->uses);
    free(store->path);
    free(store);
}

/* With the writers' byte: SQLite deletes the log by its name, which must be that of this file still. */
static void close_files(memo_store *store)
{
    memo_lock_writers(store->locks);
    /* Deeper: by who salvages the file, and reads its log, too. */
    bool is_last = store->locks->writers_depth == 1;
    memo_disconnect(store, is_last);
    if (is_last && store->is_open)
        memo_forget_mark(store);
    memo_unlock_writers(store->locks);
    memo_free_flights(store);
    memo_locks_close(store->locks);
}

void memo_store_close(memo_store *store)
{
    if (!store)
        return;
    if (store->is_open)
        memo_store_flush(store); /* if it fails, some results seem less recently used */
    memo_lock_all();
    if (store->locks)
        close_files(store);
    memo_list_remove(store);
    memo_unlock_all();
    pthread_mutex_destroy(&store->reading);
    pthread_mutex_destroy(&store->queue);
    pthread_cond_destroy(&store->turn);
    free_store(store);
}

ino_t memo_store_inode(const memo_store *store)
{
    return store->inode;
}

void memo_store_abandon(memo_store *store)
{
    if (!store)
        return;
    /* Locks may be in any state, with threads at them that are not here: they are not destroyed. */
    memo_locks_abandon(store->locks);
    if (!store->writer && !store->reader)
        free_store(
            store); /* else a fork that nobody told us of: SQLite's may be in any state, too */
}
