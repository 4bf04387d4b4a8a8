/*
 * mark.c - how far the log had been written when a result was last acknowledged, kept outside of it.
 *
 * Who opens a database after a crash takes what is whole of its log, up to the first byte that is not as it was, and
 * SQLite does not say what it dropped. So each commit leaves a mark in the lock file: which log it was (SQLite's salts,
 * which each log has anew), and how many of its frames. Who opens the file first reads the log up to there; if that is
 * not whole, the file is damaged, and what can be read is salvaged.
 *
 * The mark is written after the commit and before the result is acknowledged, with the writers' byte. Who dies in
 * between leaves one that says less. A log that has other salts is another: the mark's has gone into the database.
 * So has one that is not there, if nobody but SQLite removed it: the result that was stored last is there then. Who is
 * the last to close the database takes the mark away with the log.
 */
#include "memo/check.h"
#include "memo/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOG_HEADER_NBYTES = 32,
    FRAME_HEADER_NBYTES = 24,
    SHARED_BYTE = 128, /* of the -shm file: locked by each process that has the database open */
};
#define ID_UNKNOWN 0 /* of the result that was stored last; no key but one in 2^64 has it */
#define LOG_MAGIC  UINT32_C(0x377f0682) /* +1: sums of big-endian words */
#define MARK_MAGIC UINT64_C(0x6b72616d2d727261)

typedef struct written_mark {
    uint64_t magic, inode;
    memo_mark mark;
    int64_t check;
} written_mark;

static int64_t check_of(const written_mark *it)
{
    return (int64_t)achar__memo_check(it, offsetof(written_mark, check), 0);
}

/* False: there is none for this database. */
static bool read_mark(const memo_locks *locks, ino_t inode, memo_mark *out)
{
    written_mark it;
    if (pread(locks->fd, &it, sizeof it, 0) != (ssize_t)sizeof it || it.magic != MARK_MAGIC ||
        it.check != check_of(&it) || it.inode != inode)
        return false;
    *out = it.mark;
    return true;
}

static bool is_of(const memo_mark *mark, const memo_head *head)
{
    return memcmp(mark->salts, memo_salts_in(head), sizeof mark->salts) == 0;
}

static char *path_with(const char *path, const char *end)
{
    return sqlite3_mprintf("%s%s", path, end);
}

static int open_log(const char *path)
{
    char *log = path_with(path, "-wal");
    int fd = log ? open(log, O_RDONLY | O_CLOEXEC) : -1;
    sqlite3_free(log);
    return fd;
}

void memo_mark_committed(memo_store *store, const memo_head *before, uint32_t result_count,
                         int64_t last_id)
{
    memo_mark last = store->locks->mark;
    const memo_head *now = &store->written_head;
    if (!memo_read_head(store, &store->written_head))
        return; /* no mark is less than a wrong one */
    /* Is the last mark ours? Else another process has committed since. */
    bool is_known =
        (last.frame_count && last.frame_count == memo_frames_in(before) && is_of(&last, before)) ||
        read_mark(store->locks, store->inode, &last);
    written_mark it = {.magic = MARK_MAGIC, .inode = store->inode};
    memcpy(it.mark.salts, memo_salts_in(now), sizeof it.mark.salts);
    it.mark.frame_count = memo_frames_in(now);
    it.mark.result_count = result_count;
    it.mark.last_id = last_id;
    if (is_known && is_of(&last, now))
        it.mark.result_count += last.result_count;
    it.check = check_of(&it);
    bool written = pwrite(store->locks->fd, &it, sizeof it, 0) == (ssize_t)sizeof it;
    store->locks->mark = written ? it.mark : (memo_mark){.frame_count = 0};
}

void memo_mark_removal(memo_store *store)
{
    written_mark it = {.magic = MARK_MAGIC, .inode = store->inode};
    if (!read_mark(store->locks, store->inode, &it.mark) || it.mark.last_id == ID_UNKNOWN)
        return;
    it.mark.last_id = ID_UNKNOWN;
    it.check = check_of(&it);
    bool written = pwrite(store->locks->fd, &it, sizeof it, 0) == (ssize_t)sizeof it;
    store->locks->mark = written ? it.mark : (memo_mark){.frame_count = 0};
}

void memo_forget_mark(memo_store *store)
{
    memo_mark mark;
    if (!read_mark(store->locks, store->inode, &mark))
        return;
    struct stat log;
    char *log_path = path_with(store->path, "-wal");
    bool is_gone = log_path && stat(log_path, &log) < 0 && errno == ENOENT;
    sqlite3_free(log_path);
    if (!is_gone)
        return;
    const written_mark none = {.magic = 0};
    if (pwrite(store->locks->fd, &none, sizeof none, 0) < 0)
        return; /* then it is looked whether the last result is there */
    store->locks->mark = none.mark;
}

/* ---- reading the log ---- */

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* SQLite's sums, over 'nbytes' more, a multiple of 8. */
static void add_to_sums(uint32_t *sums, const uint8_t *data, size_t nbytes, bool is_big_endian)
{
    for (size_t i = 0; i < nbytes; i += 8) {
        uint32_t words[2];
        memcpy(words, data + i, sizeof words);
        if (is_big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)) {
            words[0] = __builtin_bswap32(words[0]);
            words[1] = __builtin_bswap32(words[1]);
        }
        sums[0] += words[0] + sums[1];
        sums[1] += words[1] + sums[0];
    }
}

static bool sums_are(const uint32_t *sums, const uint8_t *stored)
{
    return sums[0] == big_endian(stored) && sums[1] == big_endian(stored + 4);
}

/* Whether the log is another than the mark's, or has all the mark's frames as they were written. */
static bool is_whole(int fd, const memo_mark *it)
{
    uint8_t header[LOG_HEADER_NBYTES], *frame = NULL;
    uint32_t sums[2] = {0, 0};
    ssize_t there = pread(fd, header, sizeof header, 0);
    if (there < 0)
        return true; /* SQLite will say what is wrong */
    uint32_t magic = big_endian(header), page_nbytes = big_endian(header + 8);
    bool is_big_endian = magic & 1;
    if (there != (ssize_t)sizeof header || (magic & ~UINT32_C(1)) != LOG_MAGIC)
        return false;
    add_to_sums(sums, header, LOG_HEADER_NBYTES - 8, is_big_endian);
    if (!sums_are(sums, header + 24))
        return false;
    if (memcmp(header + 16, it->salts, sizeof it->salts) != 0)
        return true;
    size_t frame_nbytes = FRAME_HEADER_NBYTES + (size_t)page_nbytes;
    if (page_nbytes < 512 || page_nbytes > 65536)
        return false;
    if (!(frame = malloc(frame_nbytes)))
        return true; /* it is not known */
    bool whole = true;
    for (uint32_t i = 0; whole && i < it->frame_count; i++) {
        off_t at = LOG_HEADER_NBYTES + (off_t)i * (off_t)frame_nbytes;
        there = pread(fd, frame, frame_nbytes, at);
        if (there < 0)
            break;
        whole =
            there == (ssize_t)frame_nbytes && memcmp(frame + 8, it->salts, sizeof it->salts) == 0;
        if (whole) {
            add_to_sums(sums, frame, 8, is_big_endian);
            add_to_sums(sums, frame + FRAME_HEADER_NBYTES, page_nbytes, is_big_endian);
            whole = sums_are(sums, frame + 16);
        }
    }
    free(frame);
    return whole;
}

/* Whether another process has the database open: then the log is not read anew, but used as it is. Only where this
 * process has not: to close a file lets go of the locks that it has there. */
static bool is_open_elsewhere(const char *path)
{
    char *shared = path_with(path, "-shm");
    int fd = shared ? open(shared, O_RDWR | O_CLOEXEC) : -1;
    sqlite3_free(shared);
    if (fd < 0)
        return false;
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = SHARED_BYTE, .l_len = 1};
    bool taken = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return taken;
}

static memo_status damaged(const char *what, const memo_mark *mark)
{
    char *text = sqlite3_mprintf("its log, with the %u results that were stored last, is %s",
                                 mark->result_count, what);
    memo_set_text(text ? text : "its log is not what was written");
    sqlite3_free(text);
    return MEMO_DAMAGED;
}

memo_status memo_check_log(const memo_store *store, bool *is_missing)
{
    struct stat database, log;
    memo_mark it;
    *is_missing = false;
    if (store->locks->users > 1 || stat(store->path, &database) < 0 ||
        !read_mark(store->locks, database.st_ino, &it) || is_open_elsewhere(store->path))
        return MEMO_OK;
    int fd = open_log(store->path);
    *is_missing = fd < 0 ? errno == ENOENT : fstat(fd, &log) == 0 && log.st_size == 0;
    bool whole = fd < 0 || *is_missing || is_whole(fd, &it);
    if (fd >= 0)
        close(fd);
    return whole ? MEMO_OK : damaged("not what was written", &it);
}

memo_status memo_check_last(memo_store *store)
{
    memo_mark it;
    if (!read_mark(store->locks, store->inode, &it) || it.last_id == ID_UNKNOWN)
        return MEMO_OK;
    sqlite3_bind_int64(store->get, 1, it.last_id);
    int code = sqlite3_step(store->get);
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        memo_set_message(store->reader);
    sqlite3_reset(store->get);
    return code == SQLITE_DONE ? damaged("missing", &it) : memo_status_of(code);
}
