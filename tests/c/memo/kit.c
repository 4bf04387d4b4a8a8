/* kit.c - see kit.h. */
#include "kit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char path[128];

void name_beside(char *out, size_t room, const char *ending)
{
    snprintf(out, room, "%s%s", path, ending);
}

int set_path(void **state)
{
    snprintf(path, sizeof path, "/tmp/achar-test-memo-%d", (int)getpid());
    alarm(300);
    return remove_files(state);
}

int remove_files(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-lock", ".salvaged", "-journal"};
    char name[160];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        name_beside(name, sizeof name, endings[i]);
        unlink(name);
    }
    return 0;
}

memo_store *opened(void)
{
    memo_store *store = NULL;
    memo_status status = memo_store_open(path, MEMO_PROCESS, &store);
    if (status != MEMO_OK)
        fail_msg("opening: %d, %s", status, memo_message());
    return store;
}

void key_of(unsigned number, uint8_t key[MEMO_KEY_NBYTES])
{
    for (int i = 0; i < MEMO_KEY_NBYTES; i++)
        key[i] = (uint8_t)((number * 2654435761u >> (i % 4 * 8)) + (unsigned)i);
}

static void *value_of(unsigned number, size_t nbytes)
{
    uint8_t *value = test_malloc(nbytes + 1);
    for (size_t i = 0; i < nbytes; i++)
        value[i] = (uint8_t)(number + i * 7);
    return value;
}

memo_status put(memo_store *store, unsigned number, size_t nbytes)
{
    memo_bytes replaced = {NULL, 0};
    memo_row row = {.kind = 1, .origin = 2, .stored_ms = 3, .took_ns = number};
    key_of(number, row.key);
    void *value = value_of(number, nbytes);
    row.value = value;
    row.value_nbytes = nbytes;
    memo_status status = memo_store_put(store, &row, &replaced);
    test_free(value);
    free(replaced.data);
    return status;
}

memo_status find(memo_store *store, unsigned number, size_t nbytes)
{
    uint8_t key[MEMO_KEY_NBYTES];
    memo_row row;
    key_of(number, key);
    memo_status status = memo_store_get(store, key, &row);
    if (status != MEMO_OK)
        return status;
    void *value = value_of(number, nbytes);
    if (row.value_nbytes != nbytes || memcmp(row.value, value, nbytes) != 0 || row.kind != 1 ||
        row.origin != 2 || row.stored_ms != 3 || row.took_ns != (int64_t)number)
        status = MEMO_DAMAGED;
    test_free(value);
    free((void *)row.value);
    return status;
}

void change(const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 20000);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}
