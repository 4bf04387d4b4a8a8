/*
 * test_faults.c - each allocation fails once, each use of a file fails: what was committed stays, what is
 * reported as committed is there, nothing that is there is reported as absent, and afterwards all goes on.
 *
 * Allocations: ours by the linker's --wrap, SQLite's by its own hook. Files: a VFS of SQLite's that hands
 * on to the real one, but for the call whose turn it is.
 */
#include "kit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- memory ---- */

static int allocations_left = -1; /* -1: none fails */
static int has_failed;

static int allocation_fails(void)
{
    if (allocations_left < 0 || allocations_left-- > 0)
        return 0;
    has_failed = 1;
    return 1;
}

void *__real_malloc(size_t nbytes);
void *__real_calloc(size_t count, size_t nbytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t nbytes);
void *__wrap_calloc(size_t count, size_t nbytes);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t nbytes)
{
    return allocation_fails() ? NULL : __real_malloc(nbytes);
}

void *__wrap_calloc(size_t count, size_t nbytes)
{
    return allocation_fails() ? NULL : __real_calloc(count, nbytes);
}

char *__wrap_strdup(const char *text)
{
    return allocation_fails() ? NULL : __real_strdup(text);
}

static sqlite3_mem_methods memory;

static void *sqlite_malloc(int nbytes)
{
    return allocation_fails() ? NULL : memory.xMalloc(nbytes);
}

static void *sqlite_realloc(void *data, int nbytes)
{
    return allocation_fails() ? NULL : memory.xRealloc(data, nbytes);
}

/* ---- files ---- */

typedef enum operation { WRITES, READS, SYNCS, LOCKS, MAPS, OPENS } operation;

typedef struct fault {
    operation operation;
    int code, error_number;
    int goes_on; /* what fails once fails from then on */
} fault;

static const fault *faulty; /* NULL: nothing fails */
static int operations_left;

static int failure(operation what)
{
    if (!faulty || faulty->operation != what || operations_left-- > 0)
        return SQLITE_OK;
    int code = faulty->code;
    errno = faulty->error_number;
    has_failed = 1;
    if (!faulty->goes_on)
        faulty = NULL;
    return code;
}

typedef struct file {
    sqlite3_file base;
    sqlite3_file *real; /* in the same block */
} file;

#define REAL(f)              (((file *)(f))->real)
#define CALL(f, method, ...) (REAL(f)->pMethods->method(REAL(f), ##__VA_ARGS__))
#define OR_FAIL(operation, call)                                                                   \
    {                                                                                              \
        int code = failure(operation);                                                             \
        return code ? code : (call);                                                               \
    }

static int file_close(sqlite3_file *f)
{
    return CALL(f, xClose);
}
static int file_read(sqlite3_file *f, void *data, int nbytes, sqlite3_int64 at) OR_FAIL(
    READS, CALL(f, xRead, data, nbytes, at)) static int file_write(sqlite3_file *f,
                                                                   const void *data, int nbytes,
                                                                   sqlite3_int64 at)
    OR_FAIL(WRITES, CALL(f, xWrite, data, nbytes,
                         at)) static int file_truncate(sqlite3_file *f, sqlite3_int64 nbytes)
        OR_FAIL(WRITES, CALL(f, xTruncate, nbytes)) static int file_sync(sqlite3_file *f, int flags)
            OR_FAIL(SYNCS, CALL(f, xSync, flags)) static int file_size(sqlite3_file *f,
                                                                       sqlite3_int64 *nbytes)
                OR_FAIL(READS, CALL(f, xFileSize, nbytes)) static int file_lock(sqlite3_file *f,
                                                                                int level)
                    OR_FAIL(LOCKS, CALL(f, xLock, level)) static int file_unlock(sqlite3_file *f,
                                                                                 int level)
{
    return CALL(f, xUnlock, level);
}
static int file_is_reserved(sqlite3_file *f, int *out)
{
    return CALL(f, xCheckReservedLock, out);
}
static int file_control(sqlite3_file *f, int what, void *data)
{
    return CALL(f, xFileControl, what, data);
}
static int file_sector(sqlite3_file *f)
{
    return CALL(f, xSectorSize);
}
static int file_device(sqlite3_file *f)
{
    return CALL(f, xDeviceCharacteristics);
}
static int file_shm_map(sqlite3_file *f, int page, int nbytes, int extends, void volatile **out)
    OR_FAIL(MAPS, CALL(f, xShmMap, page, nbytes, extends,
                       out)) static int file_shm_lock(sqlite3_file *f, int offset, int count,
                                                      int flags)
{
    int code = flags & SQLITE_SHM_UNLOCK ? SQLITE_OK : failure(LOCKS);
    return code ? code : CALL(f, xShmLock, offset, count, flags);
}
static void file_shm_barrier(sqlite3_file *f)
{
    CALL(f, xShmBarrier);
}
static int file_shm_unmap(sqlite3_file *f, int removes)
{
    return CALL(f, xShmUnmap, removes);
}

static const sqlite3_io_methods METHODS = {
    2,           file_close,   file_read,     file_write,       file_truncate,  file_sync,
    file_size,   file_lock,    file_unlock,   file_is_reserved, file_control,   file_sector,
    file_device, file_shm_map, file_shm_lock, file_shm_barrier, file_shm_unmap,
};

static sqlite3_vfs *real_vfs, vfs;

static int vfs_open(sqlite3_vfs *self, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    file *mine = (file *)f;
    mine->base.pMethods = NULL;
    mine->real = (sqlite3_file *)(mine + 1);
    int code = failure(OPENS);
    if (code == SQLITE_OK)
        code = real_vfs->xOpen(real_vfs, name, mine->real, flags, out_flags);
    if (code == SQLITE_OK)
        mine->base.pMethods = &METHODS;
    return code;
}

static int install(void **state)
{
    static sqlite3_mem_methods failing;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory), SQLITE_OK);
    failing = memory;
    failing.xMalloc = sqlite_malloc;
    failing.xRealloc = sqlite_realloc;
    assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.pNext = NULL;
    vfs.zName = "faulty";
    vfs.szOsFile += (int)sizeof(file);
    vfs.xOpen = vfs_open;
    return sqlite3_vfs_register(&vfs, 1);
}

/* ---- what must hold ---- */

enum { BEFORE = 6, NBYTES = 3000 };

static void assert_one_of(memo_status status, const memo_status *allowed, const char *what, int n)
{
    for (; *allowed != MEMO_MOVED; allowed++) {
        if (status == *allowed)
            return;
    }
    fail_msg("%s, %d: %d, %s", what, n, status, memo_message());
}

static memo_status put_all_before(void)
{
    memo_store *store = opened();
    for (unsigned i = 0; i < BEFORE; i++)
        assert_int_equal(put(store, i, NBYTES), MEMO_OK);
    memo_store_close(store);
    return MEMO_OK;
}

static void nothing_fails(void)
{
    allocations_left = -1;
    faulty = NULL;
}

/* All that was there, and what was acknowledged since; and one more. */
static void assert_all_is_there(memo_store *store, const memo_status *put_status, int n)
{
    for (unsigned i = 0; i < BEFORE; i++) {
        if (find(store, i, NBYTES) != MEMO_OK)
            fail_msg("%d: row %u is lost: %s", n, i, memo_message());
    }
    for (unsigned i = 0; i < 3; i++) {
        memo_status status = find(store, 100 + i, NBYTES);
        if (status != MEMO_OK && (put_status[i] == MEMO_OK || status != MEMO_ABSENT))
            fail_msg("%d: put said %d, get says %d", n, put_status[i], status);
    }
    assert_int_equal(put(store, 200 + (unsigned)n, NBYTES), MEMO_OK);
    assert_int_equal(find(store, 200 + (unsigned)n, NBYTES), MEMO_OK);
}

/* Opens, puts, gets, replaces, flushes and closes while something fails. */
static void use(const memo_status *allowed, memo_status put_status[3], int n)
{
    memo_store *store = NULL;
    memo_status status = memo_store_open(path, MEMO_POWER, &store);
    assert_one_of(status, allowed, "opening", n);
    for (unsigned i = 0; i < 3; i++)
        put_status[i] = MEMO_ABSENT;
    if (status == MEMO_OK) {
        for (unsigned i = 0; i < 3; i++) {
            put_status[i] = put(store, 100 + i, NBYTES);
            assert_one_of(put_status[i], allowed, "putting", n);
            assert_one_of(find(store, i, NBYTES), allowed, "getting", n);
        }
        assert_one_of(put(store, 5, NBYTES), allowed, "replacing", n);
        assert_one_of(memo_store_flush(store), allowed, "flushing", n);
        nothing_fails();
        assert_all_is_there(store, put_status, n);
    }
    memo_store_close(store);
    nothing_fails();
}

static void use_and_look(const memo_status *allowed, int n)
{
    memo_status put_status[3];
    has_failed = 0;
    use(allowed, put_status, n);
    memo_store *store = opened();
    assert_all_is_there(store, put_status, n);
    memo_store_close(store);
}

static void each_allocation_fails(void **state)
{
    static const memo_status allowed[] = {MEMO_OK, MEMO_NOMEM, MEMO_MOVED};
    put_all_before();
    int n = 0;
    has_failed = 1;
    for (; has_failed; n += 1 + n / 20) {
        allocations_left = n;
        use_and_look(allowed, n);
    }
    assert_true(n > 100);
}

/* Where there is no file yet, either. */
static void each_allocation_of_the_first_open_fails(void **state)
{
    has_failed = 1;
    for (int n = 0; has_failed; n += 1 + n / 20) {
        memo_store *store = NULL;
        remove_files(state);
        has_failed = 0;
        allocations_left = n;
        memo_status status = memo_store_open(path, MEMO_PROCESS, &store);
        nothing_fails();
        assert_true(status == MEMO_OK || status == MEMO_NOMEM);
        memo_store_close(store);
        store = opened();
        assert_int_equal(put(store, 1, 10), MEMO_OK);
        memo_store_close(store);
    }
}

static void each_operation_fails(const fault *which, const memo_status *allowed)
{
    put_all_before();
    int n = 0;
    has_failed = 1;
    for (; has_failed; n++) {
        faulty = which;
        operations_left = n;
        use_and_look(allowed, n);
    }
    assert_true(n > 3);
}

#define FAULT(name, ...)                                                                           \
    static void name(void **state)                                                                 \
    {                                                                                              \
        static const fault which = {__VA_ARGS__};                                                  \
        static const memo_status allowed[] = {MEMO_OK, ALLOWED, MEMO_MOVED};                       \
        each_operation_fails(&which, allowed);                                                     \
    }

#define ALLOWED MEMO_FULL
FAULT(the_disk_is_full, WRITES, SQLITE_FULL, ENOSPC, 1)
FAULT(a_write_finds_no_room, WRITES, SQLITE_IOERR_WRITE, ENOSPC, 0)
FAULT(no_room_for_the_shared_map, MAPS, SQLITE_IOERR_SHMSIZE, ENOSPC, 1)
#undef ALLOWED
#define ALLOWED MEMO_ERROR
FAULT(a_write_fails, WRITES, SQLITE_IOERR_WRITE, EIO, 0)
FAULT(writes_fail, WRITES, SQLITE_IOERR_WRITE, EIO, 1)
FAULT(a_read_fails, READS, SQLITE_IOERR_READ, EIO, 0)
FAULT(reads_fail, READS, SQLITE_IOERR_READ, EIO, 1)
FAULT(a_sync_fails, SYNCS, SQLITE_IOERR_FSYNC, EIO, 0)
FAULT(a_lock_is_busy, LOCKS, SQLITE_BUSY, 0, 0)
FAULT(a_file_cannot_be_opened, OPENS, SQLITE_CANTOPEN, EMFILE, 0)
#undef ALLOWED

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_path, remove_files)
        TEST(each_allocation_fails),
        TEST(each_allocation_of_the_first_open_fails),
        TEST(the_disk_is_full),
        TEST(a_write_finds_no_room),
        TEST(no_room_for_the_shared_map),
        TEST(a_write_fails),
        TEST(writes_fail),
        TEST(a_read_fails),
        TEST(reads_fail),
        TEST(a_sync_fails),
        TEST(a_lock_is_busy),
        TEST(a_file_cannot_be_opened),
    };
    return cmocka_run_group_tests_name("memo faults", tests, install, NULL);
}
