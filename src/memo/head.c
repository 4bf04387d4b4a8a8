/*
 * head.c - what SQLite's index of the log begins with, which all processes have in memory: which log it is, and how
 * far it goes. It tells without a lock, a transaction or a system call whether anything was committed since.
 *
 * Its layout is part of SQLite's file format (walformat.html, "The WAL-Index Header"). It stands there twice: a writer
 * changes the second copy and then the first, so what reads them the other way round and finds them alike has read it
 * whole.
 *
 * Where it is not to be had, nothing is known: then who asks looks in the file, and no mark is left.
 */
#include "memo/internal.h"
#include <string.h>

enum {
    REGION_NBYTES = 32768, /* SQLite maps its index in such */
    VERSION = 3007000,
    IS_FILLED_AT = 12, /* a byte */
    FRAMES_WORD = 4,
    SALTS_WORD = 8, /* two words, in the log's byte order */
};

void memo_find_head(memo_store *store)
{
    sqlite3_file *file = NULL;
    void volatile *region = NULL;
    store->head = NULL;
    if (sqlite3_file_control(store->reader, "main", SQLITE_FCNTL_FILE_POINTER, &file) ==
            SQLITE_OK &&
        file && file->pMethods && file->pMethods->iVersion >= 2 && file->pMethods->xShmMap &&
        file->pMethods->xShmMap(file, 0, REGION_NBYTES, 0, &region) == SQLITE_OK)
        store->head = region; /* it stays there while the connection is open */
}

/* What is read after this is not older. (Not by a fence: ThreadSanitizer does not know them.) */
static void copy(uint32_t *out, const volatile uint32_t *from)
{
    for (int i = 0; i < MEMO_HEAD_WORDS; i++)
        out[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
}

bool memo_read_head(const memo_store *store, memo_head *out)
{
    uint32_t again[MEMO_HEAD_WORDS] = {0};
    memset(out, 0, sizeof *out);
    if (store->head) {
        copy(out->words, store->head);
        copy(again, store->head + MEMO_HEAD_WORDS);
    }
    bool is_whole = memcmp(out->words, again, sizeof again) == 0 && again[0] == VERSION &&
                    ((const uint8_t *)again)[IS_FILLED_AT];
    if (!is_whole)
        memset(out, 0, sizeof *out);
    return is_whole;
}

bool memo_heads_are_equal(const memo_head *a, const memo_head *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

uint32_t memo_frames_in(const memo_head *head)
{
    return head->words[FRAMES_WORD];
}

const uint8_t *memo_salts_in(const memo_head *head)
{
    return (const uint8_t *)&head->words[SALTS_WORD];
}
