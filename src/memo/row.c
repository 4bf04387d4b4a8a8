/*
 * row.c - rows in and out, their checksums, and when they were used.
 *
 * Uses are kept in a small table in memory and written from there, a thousand at a time or after some
 * seconds, since a hit should not cost a transaction. What a killed process had not written yet is lost,
 * and with it only the order in which results are dropped.
 */
#include "memo/check.h"
#include "memo/internal.h"
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_AT_USES = MEMO_USES / 4, FLUSH_AFTER_MS = 5000 };

int64_t memo_id_of(const uint8_t *key)
{
    uint64_t id;
    memcpy(&id, key, sizeof id);
    return (int64_t)be64toh(id);
}

static int64_t check_of(const memo_row *row)
{
    uint64_t head[4 + 5];
    memcpy(head, row->key, MEMO_KEY_NBYTES);
    head[4] = htole64((uint64_t)row->kind);
    head[5] = htole64((uint64_t)row->origin);
    head[6] = htole64((uint64_t)row->beside);
    head[7] = htole64((uint64_t)row->stored_ms);
    head[8] = htole64((uint64_t)row->took_ns);
    return (int64_t)achar__memo_check(row->value, row->value_nbytes,
                                      achar__memo_check(head, sizeof head, 0));
}

/* ---- statements ---- */

#define SELECT_ROW                                                                                 \
    "SELECT key, kind, origin, beside, stored_ms, took_ns, checksum, value, seq FROM result"       \
    " WHERE id=?1"

memo_status memo_prepare_rows(memo_store *store)
{
    const struct {
        sqlite3 *db;
        sqlite3_stmt **statement;
        const char *sql;
    } all[] = {
        {store->reader, &store->get, SELECT_ROW},
        {store->writer, &store->get_as_writer, SELECT_ROW},
        {store->writer, &store->remove, "DELETE FROM result WHERE id=?1 RETURNING beside, value"},
        {store->writer, &store->insert,
         "INSERT INTO result VALUES(NULL,?1,?2,?3,?4,?5,?6,?7,?8,?9)"},
        {store->writer, &store->insert_use,
         "INSERT OR REPLACE INTO recent SELECT seq, ?2 FROM result WHERE seq=?1"},
        {store->writer, &store->begin, "BEGIN IMMEDIATE"},
        {store->writer, &store->commit, "COMMIT"},
        {store->writer, &store->rollback, "ROLLBACK"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int code = sqlite3_prepare_v3(all[i].db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                                      all[i].statement, NULL);
        if (code != SQLITE_OK) {
            memo_set_message(all[i].db);
            /* Tables that are missing in a file of ours: its first page is not what was written. */
            return (code & 0xFF) == SQLITE_ERROR ? MEMO_DAMAGED : memo_status_of(code);
        }
    }
    return MEMO_OK;
}

void memo_finalize_rows(memo_store *store)
{
    sqlite3_stmt *all[] = {store->get,        store->get_as_writer, store->remove, store->insert,
                           store->insert_use, store->begin,         store->commit, store->rollback};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sqlite3_finalize(all[i]);
    store->get = store->get_as_writer = store->remove = store->insert = store->insert_use = NULL;
    store->begin = store->commit = store->rollback = NULL;
}

/* ---- uses ---- */

static int by_seq(const void *a, const void *b)
{
    const memo_use *left = a, *right = b;
    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

typedef struct used_rows {
    memo_store *store;
    const memo_use *uses;
    size_t count;
} used_rows;

static memo_status write_uses(sqlite3 *db, void *context)
{
    const used_rows *used = context;
    sqlite3_stmt *insert_use = used->store->insert_use;
    memo_status status = MEMO_OK;
    for (size_t i = 0; i < used->count && status == MEMO_OK; i++) {
        sqlite3_bind_int64(insert_use, 1, used->uses[i].seq);
        sqlite3_bind_int64(insert_use, 2, used->uses[i].used_ms);
        status = memo_status_of(sqlite3_step(insert_use));
        sqlite3_reset(insert_use);
    }
    return status;
}

/* Called with 'reading'; the uses become the caller's. */
static memo_use *take_uses(memo_store *store, size_t *count)
{
    memo_use *taken = store->use_count ? malloc(store->use_count * sizeof *taken) : NULL;
    *count = 0;
    for (size_t i = 0; i < MEMO_USES && taken; i++) {
        if (store->uses[i].used_ms)
            taken[(*count)++] = store->uses[i];
    }
    memset(store->uses, 0, MEMO_USES * sizeof *store->uses);
    store->use_count = 0;
    store->flushed_ms = memo_now_ms();
    return taken;
}

memo_status memo_store_flush(memo_store *store)
{
    size_t count;
    pthread_mutex_lock(&store->reading);
    memo_use *uses = take_uses(store, &count);
    pthread_mutex_unlock(&store->reading);
    if (!uses)
        return MEMO_OK;
    qsort(uses, count, sizeof *uses, by_seq);
    used_rows used = {store, uses, count};
    memo_status status = memo_write_keeping_results(store, write_uses, &used);
    free(uses);
    return status;
}

/* Called with 'reading'. 1: it is time to write them. */
static int note_use(memo_store *store, int64_t seq)
{
    int64_t now_ms = memo_now_ms();
    size_t at = (size_t)seq & (MEMO_USES - 1);
    for (int tries = 0; tries < 8; tries++, at = (at + 1) & (MEMO_USES - 1)) {
        memo_use *use = &store->uses[at];
        if (use->used_ms && use->seq != seq)
            continue;
        store->use_count += !use->used_ms;
        *use = (memo_use){seq, now_ms};
        break;
    }
    return store->use_count >= FLUSH_AT_USES || now_ms - store->flushed_ms > FLUSH_AFTER_MS;
}

/* ---- rows ---- */

/* Of one of the statements that select ROW; what it fills '*out' with is good until the next step. */
static memo_status step_to_row(sqlite3_stmt *get, const uint8_t *key, memo_row *out)
{
    sqlite3_bind_int64(get, 1, memo_id_of(key));
    int code = sqlite3_step(get);
    if (code == SQLITE_DONE)
        return MEMO_ABSENT;
    if (code != SQLITE_ROW) {
        memo_set_message(sqlite3_db_handle(get));
        return memo_status_of(code);
    }
    const void *stored_key = sqlite3_column_blob(get, 0);
    if (sqlite3_column_bytes(get, 0) != MEMO_KEY_NBYTES || !stored_key)
        goto damaged;
    memcpy(out->key, stored_key, MEMO_KEY_NBYTES);
    out->kind = sqlite3_column_int64(get, 1);
    out->origin = sqlite3_column_int64(get, 2);
    out->beside = sqlite3_column_int64(get, 3);
    out->stored_ms = sqlite3_column_int64(get, 4);
    out->took_ns = sqlite3_column_int64(get, 5);
    out->value = sqlite3_column_blob(get, 7);
    out->value_nbytes = (size_t)sqlite3_column_bytes(get, 7);
    if (check_of(out) != sqlite3_column_int64(get, 6))
        goto damaged;
    if (memcmp(out->key, key, MEMO_KEY_NBYTES) != 0)
        return MEMO_ABSENT; /* another result with the same number */
    return MEMO_OK;
damaged:
    memo_set_text("the checksum of the result is wrong");
    return MEMO_DAMAGED_ROW;
}

static memo_status read_row(memo_store *store, sqlite3_stmt *get, const uint8_t *key, memo_row *out,
                            int64_t *seq)
{
    if (!get)
        return memo_not_connected();
    memo_status status = step_to_row(get, key, out);
    if (status == MEMO_ABSENT) /* here; there may be one in a file that has come into its place */
        return memo_look_after_path(store) == MEMO_OK ? MEMO_ABSENT : MEMO_MOVED;
    if (status != MEMO_OK)
        return status;
    void *copy = malloc(out->value_nbytes ? out->value_nbytes : 1);
    if (!copy)
        return MEMO_NOMEM;
    if (out->value_nbytes)
        memcpy(copy, out->value, out->value_nbytes);
    out->value = copy;
    *seq = sqlite3_column_int64(get, 8);
    return MEMO_OK;
}

/* What this thread has last looked for in vain, and how far the log went then. */
static _Thread_local struct {
    const memo_store *store;
    uint8_t key[MEMO_KEY_NBYTES];
    memo_head head;
} in_vain;

/* After a commit of ours the reader would have to read its pages again, which the writer has. Called with
 * 'reading'. True: the caller has the turn. */
static bool writer_knows_better(memo_store *store, const memo_head *now)
{
    if (memo_heads_are_equal(now, &store->read_head) || !memo_try_turn(store))
        return false;
    if (memo_heads_are_equal(now, &store->written_head))
        return true;
    memo_give_turn(store);
    return false;
}

memo_status memo_store_get(memo_store *store, const uint8_t *key, memo_row *out)
{
    int is_time = 0;
    int64_t seq = 0;
    memo_head now;
    pthread_mutex_lock(&store->reading);
    errno = 0;
    bool is_known = memo_read_head(store, &now);
    bool by_writer = is_known && writer_knows_better(store, &now);
    sqlite3_stmt *get = by_writer ? store->get_as_writer : store->get;
    memo_status status = read_row(store, get, key, out, &seq);
    sqlite3_reset(get);
    if (by_writer)
        memo_give_turn(store);
    else
        store->read_head = now;
    if (status == MEMO_OK)
        is_time = note_use(store, seq);
    pthread_mutex_unlock(&store->reading);
    in_vain.store = NULL;
    if (status == MEMO_ABSENT && is_known) {
        in_vain.store = store;
        in_vain.head = now;
        memcpy(in_vain.key, key, MEMO_KEY_NBYTES);
    }
    if (is_time)
        memo_store_flush(store); /* if it fails, some results seem less recently used */
    return status;
}

bool memo_store_is_still_absent(memo_store *store, const uint8_t *key)
{
    memo_head now;
    if (in_vain.store != store || memcmp(in_vain.key, key, MEMO_KEY_NBYTES) != 0 ||
        pthread_mutex_trylock(&store->reading) != 0)
        return false;
    bool is_known = memo_read_head(store, &now);
    pthread_mutex_unlock(&store->reading);
    return is_known && memo_heads_are_equal(&now, &in_vain.head);
}

/* The row with this number goes. Without memory for its value the file beside it is left over. */
static int remove_row(memo_store *store, int64_t id, memo_bytes *replaced)
{
    sqlite3_stmt *remove = store->remove;
    int code;
    sqlite3_bind_int64(remove, 1, id);
    while ((code = sqlite3_step(remove)) == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(remove, 1);
        size_t nbytes = (size_t)sqlite3_column_bytes(remove, 1);
        if (sqlite3_column_int64(remove, 0) <= 0 || !value || replaced->data ||
            !(replaced->data = malloc(nbytes)))
            continue;
        memcpy(replaced->data, value, nbytes);
        replaced->nbytes = nbytes;
    }
    sqlite3_reset(remove);
    return code;
}

memo_status memo_insert_row(memo_store *store, const memo_row *row, memo_bytes *replaced)
{
    sqlite3_stmt *insert = store->insert;
    const int64_t numbers[] = {row->kind,      row->origin,  row->beside,
                               row->stored_ms, row->took_ns, check_of(row)};
    int64_t id = memo_id_of(row->key);
    sqlite3_bind_int64(insert, 1, id);
    sqlite3_bind_blob(insert, 2, row->key, MEMO_KEY_NBYTES, SQLITE_STATIC);
    for (int i = 0; i < 6; i++)
        sqlite3_bind_int64(insert, 3 + i, numbers[i]);
    sqlite3_bind_blob64(insert, 9, row->value_nbytes ? row->value : "", row->value_nbytes,
                        SQLITE_STATIC);
    errno = 0;
    int code = sqlite3_step(insert);
    if (code == SQLITE_CONSTRAINT_UNIQUE) { /* there is one: it goes first */
        sqlite3_reset(insert);
        code = remove_row(store, id, replaced);
        if (code == SQLITE_DONE && (code = sqlite3_step(insert)) == SQLITE_CONSTRAINT_UNIQUE)
            code = SQLITE_CORRUPT; /* the index has what no row has */
    }
    memo_status status = memo_status_of(code);
    if (status != MEMO_OK)
        memo_set_message(store->writer);
    sqlite3_reset(insert);
    sqlite3_clear_bindings(insert); /* they are the caller's memory */
    return status;
}

typedef struct damaged_row {
    memo_store *store;
    const uint8_t *key;
    memo_bytes *dropped;
} damaged_row;

static memo_status drop_if_damaged(sqlite3 *db, void *context)
{
    const damaged_row *damaged = context;
    sqlite3_stmt *get = damaged->store->get_as_writer;
    memo_row row;
    memo_status status = step_to_row(get, damaged->key, &row);
    sqlite3_reset(get);
    if (status != MEMO_DAMAGED_ROW)
        return status == MEMO_OK ? MEMO_ABSENT : status;
    return memo_status_of(remove_row(damaged->store, memo_id_of(damaged->key), damaged->dropped));
}

memo_status memo_store_drop_damaged(memo_store *store, const uint8_t *key, memo_bytes *dropped)
{
    damaged_row damaged = {store, key, dropped};
    memo_status status = memo_store_write(store, drop_if_damaged, &damaged);
    if (status != MEMO_OK) {
        free(dropped->data);
        *dropped = (memo_bytes){NULL, 0};
    }
    return status;
}
