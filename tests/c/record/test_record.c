/*
 * test_record.c - the thread that writes a record, while others tell: all is in the file, whoever ends first,
 * or it is counted. It is built with little patience and a small limit for what is pending (meson.build).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "record/internal.h"
#include "runtime/pool/pool.h"
#include "runtime/sync/futex.h"

#include <achar/status.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENOUGH_NS INT64_C(150000000000)

enum { TASKS = 2000, POOLS = 3 };

static char path[128];

/* A child with a record of its own has a thread. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

static int set_path(void **state)
{
    snprintf(path, sizeof path, "/tmp/achar-test-record-%d.db", (int)getpid());
    alarm(300);
    return 0;
}

static int remove_file(void **state)
{
    static const char *const endings[] = {"", "-wal", "-shm"};
    char name[160];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return 0;
}

static long count(const char *query)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 100000);
    assert_int_equal(sqlite3_prepare_v2(db, query, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    long found = (long)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return found;
}

static achar__record *open_record(void)
{
    char message[256] = "";
    achar__record *record = NULL;
    const achar__record_about about = {.program = "test", .workers = 1};
    int status = achar__record_open(path, &about, &record, message, sizeof message);
    assert_int_equal(status, ACHAR_OK);
    return record;
}

/* What a pool tells of its tasks: every tenth is not told to have ended, every seventh raises. */
static void *tell(void *argument)
{
    achar__journal *journal = argument;
    uint32_t name = achar__journal_name(journal, "task", 4);
    for (uint32_t i = 1; i <= TASKS; i++) {
        achar__journal_record record = {.kind = ACHAR__JOURNAL_SUBMITTED,
                                        .name = name,
                                        .number = i,
                                        .calls = 1,
                                        .submitted_ns = achar__now_ns()};
        achar__journal_put(journal, &record);
        if (i % 10 == 0) {
            continue;
        }
        record.kind = ACHAR__JOURNAL_ENDED;
        record.how = i % 7 ? ACHAR__TASK_RETURNED : ACHAR__TASK_RAISED;
        record.raised = i % 7 == 0;
        record.started_ns = record.ended_ns = achar__now_ns();
        record.worker = 1;
        record.text = i % 7 ? NULL : strdup("Error: \"\\\n\x01 \xc3\xa4");
        achar__journal_put(journal, &record);
    }
    achar__journal_end(journal);
    achar__journal_release(journal);
    return NULL;
}

static void test_all_that_is_told_is_in_the_file(void **state)
{
    achar__record *record = open_record();
    pthread_t threads[POOLS];
    for (int i = 0; i < POOLS; i++) {
        achar__journal *journal = achar__record_add(record, "executor");
        assert_non_null(journal);
        assert_int_equal(pthread_create(&threads[i], NULL, tell, journal), 0);
    }
    achar__record_close(record);
    for (int i = 0; i < POOLS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    char message[64], wal[160];
    assert_int_equal(achar__record_trouble(record, message, sizeof message), 0);
    snprintf(wal, sizeof wal, "%s-wal", path);
    assert_int_not_equal(access(wal, F_OK), 0); /* so the file can be copied */
    achar__record_release(record);
    assert_int_equal(count("SELECT count(*) FROM task"), POOLS * TASKS);
    assert_int_equal(count("SELECT count(*) FROM task WHERE state = 'unfinished'"),
                     POOLS * TASKS / 10);
    assert_int_equal(count("SELECT sum(submitted) FROM total"), POOLS * TASKS);
    assert_int_equal(count("SELECT sum(returned + raised) FROM total"), POOLS * (TASKS * 9 / 10));
    assert_int_equal(count("SELECT count(*) FROM task WHERE state = 'raised'"),
                     count("SELECT count(*) FROM task WHERE error = 'Error: \"\\' || char(10) || "
                           "char(1) || ' ä' AND raised = 1"));
    assert_int_equal(count("SELECT ended IS NOT NULL AND dropped = 0 FROM run"), 1);
}

static void test_who_is_released_first_ends_when_its_pools_do(void **state)
{
    achar__record *record = open_record();
    achar__journal *journal = achar__record_add(record, "executor");
    achar__record_release(record); /* not to be touched from here on */
    tell(journal);
    for (int i = 0; count("SELECT count(*) FROM run WHERE ended IS NOT NULL") == 0; i++) {
        assert_true(i < 15000);
        usleep(10000);
    }
    assert_int_equal(count("SELECT count(*) FROM task"), TASKS);
}

static void test_no_pool_comes_after_the_end(void **state)
{
    achar__record *record = open_record();
    achar__record_close(record);
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    while (count("SELECT count(*) FROM run WHERE ended IS NOT NULL") == 0) {
        usleep(1000);
    }
    achar__journal *journal = achar__record_add(record, "executor");
    if (journal) { /* the thread is about to know */
        achar__journal_end(journal);
        achar__journal_release(journal);
    }
    achar__record_release(record);
}

/* With a thread that comes late: the journal has been written and ended before it reads. */
static void test_what_is_told_fast_is_written_to_its_end(void **state)
{
    enum { MANY = 20000 };
    achar__record *record = open_record();
    achar__journal *journal = achar__record_add(record, "executor");
    char text[161];
    memset(text, 'x', 160);
    text[160] = '\0';
    for (uint32_t i = 1; i <= MANY; i++) {
        achar__journal_put(journal, &(achar__journal_record){.kind = ACHAR__JOURNAL_ENDED,
                                                             .how = ACHAR__TASK_RAISED,
                                                             .number = i,
                                                             .calls = 1,
                                                             .raised = 1,
                                                             .text = strdup(text)});
    }
    achar__record_close(record);
    achar__journal_end(journal);
    achar__journal_release(journal);
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    achar__record_release(record);
    assert_int_equal(count("SELECT sum(count) FROM batch"), MANY);
    assert_int_equal(count("SELECT dropped FROM run"), 0);
}

static void test_what_cannot_be_written_at_the_end_is_counted_with_a_reason(void **state)
{
    achar__record *record = open_record();
    achar__journal *journal = achar__record_add(record, "executor");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 100000);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    tell(journal);
    achar__record_close(record);
    char message[256];
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_E_IO);
    assert_true(achar__record_trouble(record, message, sizeof message) >= TASKS);
    assert_string_equal(message, "database is locked");
    assert_true(record->is_busy); /* then it is tried for longer, though not in this build */
    sqlite3_close(db);
    achar__record_release(record);
}

static void test_who_was_killed_while_he_made_the_file_is_in_nobodys_way(void **state)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(count("PRAGMA page_count"), 1);
    achar__record *record = open_record();
    achar__record_close(record);
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    achar__record_release(record);
    assert_int_equal(count("SELECT count(*) FROM run WHERE ended IS NOT NULL"), 1);
}

/* As it stands after there was no memory for its first item. */
static void test_a_batch_without_items_is_no_row(void **state)
{
    char message[256];
    achar__record record = {.lock = PTHREAD_MUTEX_INITIALIZER,
                            .file_lock = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(sqlite3_open(path, &record.db), SQLITE_OK);
    assert_int_equal(achar__record_check(record.db, path, true, message, sizeof message), ACHAR_OK);
    assert_int_equal(record_prepare(&record), SQLITE_OK);
    record.pending = calloc(1, sizeof *record.pending);
    assert_int_equal(record_write(&record, false), SQLITE_OK);
    assert_null(record.pending);
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(record.statements[i]);
    }
    sqlite3_close(record.db);
    assert_int_equal(count("SELECT count(*) FROM batch"), 0);
}

static int refuse_commit(void *refuses)
{
    return *(int *)refuses;
}

/* What it looked like at the end of a pool, and of a process, is written by the next one. */
static void test_a_commit_that_fails_loses_no_sample(void **state)
{
    char message[256];
    int refuses = 1;
    achar__record record = {.lock = PTHREAD_MUTEX_INITIALIZER,
                            .file_lock = PTHREAD_MUTEX_INITIALIZER};
    source from = {.kind = "executor", .has_ended = true};
    achar__journal_bell *bell = achar__journal_bell_new();
    from.journal = achar__journal_new(0, bell);
    assert_non_null(from.journal);
    record.known = &from;
    assert_int_equal(sqlite3_open(path, &record.db), SQLITE_OK);
    assert_int_equal(achar__record_check(record.db, path, true, message, sizeof message), ACHAR_OK);
    assert_int_equal(record_prepare(&record), SQLITE_OK);
    sqlite3_commit_hook(record.db, refuse_commit, &refuses);
    assert_int_not_equal(record_write(&record, true), SQLITE_OK);
    assert_int_equal(count("SELECT count(*) FROM load"), 0);
    refuses = 0;
    assert_int_equal(record_write(&record, true), SQLITE_OK);
    assert_int_equal(count("SELECT count(*) FROM load"), 1);
    assert_int_equal(count("SELECT count(*) FROM sample"), 1);
    assert_int_equal(record_write(&record, true), SQLITE_OK);
    assert_int_equal(count("SELECT count(*) FROM load"), 1);
    record_disconnect(&record, true);
    record_forget(&record);
    achar__journal_end(from.journal);
    achar__journal_release(from.journal);
    achar__journal_bell_release(bell);
}

static void wait_for_child(pid_t child)
{
    int status = -1;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* The file, its log and its index. */
static int descriptors_of_the_file(void)
{
    int found = 0;
    for (int fd = 0; fd < 256; fd++) {
        char link[32], target[256] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        found += readlink(link, target, sizeof target - 1) > 0 &&
                 strncmp(target, path, strlen(path)) == 0;
    }
    return found;
}

/* The thread writes all the time; in each child the file is not open, and SQLite's mutexes are free. */
static void test_a_fork_finds_nobody_inside_sqlite(void **state)
{
    enum { FORKS = 40 };
    achar__record *record = open_record();
    assert_int_not_equal(descriptors_of_the_file(), 0);
    pthread_t threads[POOLS];
    for (int i = 0; i < POOLS; i++) {
        assert_int_equal(
            pthread_create(&threads[i], NULL, tell, achar__record_add(record, "executor")), 0);
    }
    for (int i = 0; i < FORKS; i++) {
        achar__record_join(record, 0); /* so it is about to write */
        usleep(500 * (i % 8));
        pid_t child = fork();
        if (child == 0) {
            sqlite3 *db = NULL;
            alarm(250);
            achar__record_close(record);
#ifdef __SANITIZE_ADDRESS__ /* its allocator, unlike glibc's, may stay locked in the child */
            _exit(descriptors_of_the_file() != 0 || achar__record_add(record, "nested"));
#endif
            _exit(descriptors_of_the_file() != 0 || achar__record_add(record, "nested") ||
                  sqlite3_open(":memory:", &db) != SQLITE_OK ||
                  sqlite3_exec(db, "CREATE TABLE t(a)", NULL, NULL, NULL) != SQLITE_OK ||
                  sqlite3_close(db) != SQLITE_OK);
        }
        wait_for_child(child);
    }
    for (int i = 0; i < POOLS; i++) {
        pthread_join(threads[i], NULL);
    }
    achar__record_close(record);
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    achar__record_release(record);
    assert_int_equal(count("SELECT count(*) FROM task"), POOLS * TASKS);
    assert_int_equal(count("SELECT ended IS NOT NULL AND dropped = 0 FROM run"), 1);
}

/* The parent is the last to have it open that it knows of, but not the last. */
static void test_a_child_records_to_the_same_file_and_ends_later(void **state)
{
    char message[64], go;
    int parent_ended[2], child_open[2];
    assert_int_equal(pipe(parent_ended), 0);
    assert_int_equal(pipe(child_open), 0);
    achar__record *record = open_record();
    tell(achar__record_add(record, "executor"));
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    pid_t child = fork();
    if (child == 0) {
        alarm(250);
        achar__record *own = open_record();
        achar__journal *journal = achar__record_add(own, "executor");
        if (achar__record_join(own, ENOUGH_NS) != ACHAR_OK || write(child_open[1], "x", 1) != 1 ||
            read(parent_ended[0], &go, 1) != 1) {
            _exit(1);
        }
        tell(journal);
        achar__record_close(own);
        _exit(achar__record_join(own, ENOUGH_NS) != ACHAR_OK ||
              achar__record_trouble(own, message, sizeof message) != 0);
    }
    close(child_open[1]);
    assert_int_equal(read(child_open[0], &go, 1), 1);
    achar__record_close(record);
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    achar__record_release(record);
    assert_int_equal(write(parent_ended[1], "x", 1), 1);
    wait_for_child(child);
    close(parent_ended[0]);
    close(parent_ended[1]);
    close(child_open[0]);
    assert_int_equal(count("SELECT count(*) FROM task WHERE run = 1"), TASKS);
    assert_int_equal(count("SELECT count(*) FROM task WHERE run = 2"), TASKS);
    assert_int_equal(count("SELECT count(*) FROM run WHERE ended IS NOT NULL AND dropped = 0"), 2);
}

/* It would be another run's, or nobody's. */
static void test_a_file_that_is_gone_is_not_made_again_after_a_fork(void **state)
{
    char message[256];
    achar__record *record = open_record();
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_OK);
    remove_file(state);
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    wait_for_child(child);
    tell(achar__record_add(record, "executor"));
    achar__record_close(record);
    assert_int_equal(achar__record_join(record, ENOUGH_NS), ACHAR_E_IO);
    assert_true(achar__record_trouble(record, message, sizeof message) >= TASKS);
    assert_string_equal(message, "opened again after a fork: No such file or directory");
    assert_false(record->is_busy);
    assert_int_not_equal(access(path, F_OK), 0);
    achar__record_release(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_that_is_told_is_in_the_file, set_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_who_is_released_first_ends_when_its_pools_do, set_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_no_pool_comes_after_the_end, set_path, remove_file),
        cmocka_unit_test_setup_teardown(test_what_is_told_fast_is_written_to_its_end, set_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(
            test_what_cannot_be_written_at_the_end_is_counted_with_a_reason, set_path, remove_file),
        cmocka_unit_test_setup_teardown(
            test_who_was_killed_while_he_made_the_file_is_in_nobodys_way, set_path, remove_file),
        cmocka_unit_test_setup_teardown(test_a_batch_without_items_is_no_row, set_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_a_commit_that_fails_loses_no_sample, set_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_a_fork_finds_nobody_inside_sqlite, set_path,
                                        remove_file),
        cmocka_unit_test_setup_teardown(test_a_child_records_to_the_same_file_and_ends_later,
                                        set_path, remove_file),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_gone_is_not_made_again_after_a_fork,
                                        set_path, remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
