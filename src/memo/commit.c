/*
 * commit.c - transactions: one writer at a time, and threads that commit together.
 *
 * A thread that puts a row enters it into the queue. The first that finds the writer free takes it, and
 * all rows that wait by then, and commits them at once; the others sleep until their row is done. Between
 * processes the writers line up at a byte of the lock file, where the kernel wakes the next one; SQLite's
 * own waiting is sleeping and trying, and serves only against programs that do not know of that byte.
 */
#include "memo/internal.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static memo_status step(memo_store *store, sqlite3_stmt *statement)
{
    errno = 0;
    int code = sqlite3_step(statement);
    memo_status status = memo_status_of(code);
    if (status != MEMO_OK)
        memo_set_message(store->writer);
    sqlite3_reset(statement);
    return status;
}

/* Whatever happens, no transaction is open afterwards. */
static memo_status finish(memo_store *store, memo_status status)
{
    if (status == MEMO_OK)
        status = step(store, store->commit);
    if (status != MEMO_OK && !sqlite3_get_autocommit(store->writer))
        sqlite3_step(store->rollback), sqlite3_reset(store->rollback);
    return status;
}

static memo_status commit_row(memo_store *store, memo_pending *p)
{
    memo_status status = step(store, store->begin);
    return finish(store, status == MEMO_OK ? memo_insert_row(store, p->row, &p->replaced) : status);
}

static void take_status(memo_pending *p, memo_status status)
{
    p->status = status;
    if (status != MEMO_OK)
        snprintf(p->message, sizeof p->message, "%s", memo_message());
}

static void commit_all(memo_store *store, memo_pending *batch)
{
    memo_head before;
    memo_lock_writers(store->locks);
    memo_read_head(store, &before);
    memo_status status = store->writer ? memo_look_after_path(store) : memo_not_connected();
    if (status == MEMO_OK)
        status = step(store, store->begin);
    for (memo_pending *p = batch; p && status == MEMO_OK; p = p->next)
        status = memo_insert_row(store, p->row, &p->replaced);
    if (store->writer)
        status = finish(store, status);
    int alone = !batch->next || status == MEMO_MOVED;
    uint32_t committed = 0;
    int64_t last_id = 0;
    for (memo_pending *p = batch; p; p = p->next) {
        if (status != MEMO_OK) { /* what went is there again */
            free(p->replaced.data);
            p->replaced = (memo_bytes){NULL, 0};
        }
        /* One that cannot be stored fails alone. */
        take_status(p, status == MEMO_OK || alone ? status : commit_row(store, p));
        if (p->status != MEMO_OK)
            continue;
        committed++;
        last_id = memo_id_of(p->row->key);
    }
    if (committed)
        memo_mark_committed(store, &before, committed, last_id);
    memo_unlock_writers(store->locks);
}

memo_status memo_store_put(memo_store *store, const memo_row *row, memo_bytes *replaced)
{
    memo_pending mine = {.row = row};
    pthread_mutex_lock(&store->queue);
    *store->last = &mine;
    store->last = &mine.next;
    while (!mine.is_done) {
        if (store->is_writing) {
            pthread_cond_wait(&store->turn, &store->queue);
            continue;
        }
        memo_pending *batch = store->first;
        store->first = NULL;
        store->last = &store->first;
        store->is_writing = 1;
        pthread_mutex_unlock(&store->queue);
        commit_all(store, batch);
        pthread_mutex_lock(&store->queue);
        store->is_writing = 0;
        for (memo_pending *p = batch, *next; p; p = next) {
            next = p->next; /* its thread may leave as soon as it is done */
            p->is_done = 1;
        }
        pthread_cond_broadcast(&store->turn);
    }
    pthread_mutex_unlock(&store->queue);
    if (mine.status != MEMO_OK)
        memo_set_text(mine.message);
    *replaced = mine.replaced;
    if (mine.status != MEMO_OK) {
        free(replaced->data);
        *replaced = (memo_bytes){NULL, 0};
    }
    return mine.status;
}

void memo_take_turn(memo_store *store)
{
    pthread_mutex_lock(&store->queue);
    while (store->is_writing)
        pthread_cond_wait(&store->turn, &store->queue);
    store->is_writing = 1;
    pthread_mutex_unlock(&store->queue);
}

bool memo_try_turn(memo_store *store)
{
    pthread_mutex_lock(&store->queue);
    bool is_free = !store->is_writing;
    store->is_writing = 1;
    pthread_mutex_unlock(&store->queue);
    return is_free;
}

void memo_give_turn(memo_store *store)
{
    pthread_mutex_lock(&store->queue);
    store->is_writing = 0;
    pthread_cond_broadcast(&store->turn);
    pthread_mutex_unlock(&store->queue);
}

void memo_take_writer(memo_store *store)
{
    memo_take_turn(store);
    memo_lock_writers(store->locks);
}

void memo_give_writer(memo_store *store)
{
    memo_unlock_writers(store->locks);
    memo_give_turn(store);
}

static memo_status write_by(memo_store *store, memo_work work, void *context, bool may_remove)
{
    memo_take_writer(store);
    memo_status status = store->writer ? memo_look_after_path(store) : memo_not_connected();
    if (status == MEMO_OK && may_remove)
        memo_mark_removal(store);
    if (status == MEMO_OK)
        status = step(store, store->begin);
    if (status == MEMO_OK && (status = work(store->writer, context)) != MEMO_OK)
        memo_set_message(store->writer);
    if (store->writer)
        status = finish(store, status);
    memo_give_writer(store);
    return status;
}

memo_status memo_store_write(memo_store *store, memo_work work, void *context)
{
    return write_by(store, work, context, true);
}

memo_status memo_write_keeping_results(memo_store *store, memo_work work, void *context)
{
    return write_by(store, work, context, false);
}

memo_status memo_store_read(memo_store *store, memo_work work, void *context)
{
    pthread_mutex_lock(&store->reading);
    errno = 0;
    memo_status status = store->reader ? memo_look_after_path(store) : memo_not_connected();
    if (status == MEMO_OK && (status = work(store->reader, context)) != MEMO_OK)
        memo_set_message(store->reader);
    pthread_mutex_unlock(&store->reading);
    return status;
}
