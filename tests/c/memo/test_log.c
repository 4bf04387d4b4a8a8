/*
 * test_log.c - what is known of the log: whether anything was committed since, how many results it has, and whether it
 * is whole.
 */
#include "kit.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what was not found may have come ---- */

static bool is_still_absent(memo_store *store, unsigned number)
{
    uint8_t key[MEMO_KEY_NBYTES];
    key_of(number, key);
    return memo_store_is_still_absent(store, key);
}

static void assert_looked_for_in_vain(memo_store *store, unsigned number)
{
    assert_int_equal(find(store, number, 0), MEMO_ABSENT);
    assert_true(is_still_absent(store, number));
}

static void *look(void *store)
{
    return is_still_absent(store, 1) ? store : NULL;
}

static void put_in_a_child(unsigned number)
{
    int status;
    memo_before_fork();
    pid_t pid = fork();
    if (pid == 0) {
        memo_store *store = NULL;
        memo_after_fork_in_child();
        _exit(memo_store_open(path, MEMO_PROCESS, &store) != MEMO_OK ||
              put(store, number, 10) != MEMO_OK);
    }
    memo_after_fork_in_parent();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void who_commits_makes_it_uncertain(void **state)
{
    memo_store *store = opened(), *other = opened();
    pthread_t thread;
    void *found;
    assert_false(is_still_absent(store, 1)); /* nobody has looked */
    assert_looked_for_in_vain(store, 1);
    assert_false(is_still_absent(store, 2));
    assert_false(is_still_absent(other, 1));
    assert_int_equal(pthread_create(&thread, NULL, look, store), 0);
    pthread_join(thread, &found);
    assert_null(found); /* another thread has not looked */
    assert_true(is_still_absent(store, 1));
    assert_int_equal(put(store, 2, 10), MEMO_OK);
    assert_false(is_still_absent(store, 1));
    assert_looked_for_in_vain(store, 1);
    assert_int_equal(put(other, 3, 10), MEMO_OK);
    assert_false(is_still_absent(store, 1));
    assert_looked_for_in_vain(store, 1);
    put_in_a_child(1);
    assert_false(is_still_absent(store, 1));
    assert_int_equal(find(store, 1, 10), MEMO_OK);
    assert_false(is_still_absent(store, 1)); /* it was found */
    memo_store_close(other);
    memo_store_close(store);
}

/* Whichever connection has last read or written: each result is found at once, by each store. */
static void results_of_others_are_found_at_once(void **state)
{
    memo_store *stores[2] = {opened(), opened()};
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(find(stores[i % 2], i, 0), MEMO_ABSENT);
        assert_int_equal(put(stores[i / 2 % 2], i, 500), MEMO_OK);
        for (unsigned j = 0; j <= i; j += 1 + i / 5)
            assert_int_equal(find(stores[j % 2], i - j, 500), MEMO_OK);
        if (i % 20 == 7) {
            put_in_a_child(1000 + i);
            assert_int_equal(find(stores[1], 1000 + i, 10), MEMO_OK);
        }
    }
    memo_store_close(stores[1]);
    memo_store_close(stores[0]);
}

/* ---- a log that is not what was written ---- */

typedef struct writer {
    pid_t pid;
    int told[2], tells[2];
    unsigned count;
} writer;

/* Puts one result each time it is told to, until it is killed. */
static void begin_writer(writer *self, unsigned first)
{
    assert_int_equal(pipe(self->told), 0);
    assert_int_equal(pipe(self->tells), 0);
    self->pid = fork();
    if (self->pid != 0)
        return;
    memo_store *store = NULL;
    char byte;
    alarm(200);
    if (memo_store_open(path, MEMO_PROCESS, &store) != MEMO_OK)
        _exit(1);
    while (read(self->told[0], &byte, 1) == 1) {
        if (put(store, first++, 3000) != MEMO_OK || write(self->tells[1], "1", 1) != 1)
            _exit(1);
    }
    _exit(2);
}

static void write_results(writer *self, unsigned count)
{
    char byte;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(write(self->told[1], "1", 1), 1);
        assert_int_equal(read(self->tells[0], &byte, 1), 1);
    }
}

static void kill_writer(writer *self)
{
    assert_int_equal(kill(self->pid, SIGKILL), 0);
    assert_int_equal(waitpid(self->pid, NULL, 0), self->pid);
    close(self->told[0]), close(self->told[1]), close(self->tells[0]), close(self->tells[1]);
}

static void flip_a_byte_of_the_log(void)
{
    char name[160], byte;
    name_beside(name, sizeof name, "-wal");
    int fd = open(name, O_RDWR);
    assert_true(fd >= 0);
    off_t at = lseek(fd, 0, SEEK_END) / 2;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Two processes that write by turns: each counts what the other has stored. */
static void the_mark_counts_what_all_have_stored(void **state)
{
    writer writers[2];
    memo_store *store = NULL;
    begin_writer(&writers[0], 0);
    write_results(&writers[0], 3);
    begin_writer(&writers[1], 1000);
    write_results(&writers[1], 2);
    write_results(&writers[0], 1);
    write_results(&writers[0], 4);
    write_results(&writers[1], 1);
    kill_writer(&writers[0]);
    kill_writer(&writers[1]);
    flip_a_byte_of_the_log();
    assert_int_equal(memo_store_open(path, MEMO_PROCESS, &store), MEMO_DAMAGED);
    if (!strstr(memo_message(), "the 11 results"))
        fail_msg("%s", memo_message());
    memo_store_close(store);
}

static void remove_the_log(void)
{
    char name[160];
    name_beside(name, sizeof name, "-wal");
    assert_int_equal(unlink(name), 0);
}

static void empty_the_log(void)
{
    char name[160];
    name_beside(name, sizeof name, "-wal");
    assert_int_equal(truncate(name, 0), 0);
}

static void a_log_that_is_missing(void **state)
{
    void (*const losses[])(void) = {remove_the_log, empty_the_log};
    for (unsigned i = 0; i < 2; i++) {
        writer only;
        memo_store *store = NULL;
        remove_files(state);
        begin_writer(&only, 0);
        write_results(&only, 5);
        kill_writer(&only);
        losses[i]();
        for (int again = 0; again < 2; again++) { /* until it has been salvaged */
            assert_int_equal(memo_store_open(path, MEMO_PROCESS, &store), MEMO_DAMAGED);
            if (!strstr(memo_message(), "the 5 results that were stored last, is missing"))
                fail_msg("%s", memo_message());
            memo_store_close(store);
        }
    }
}

/* Whoever has done that: who closes the file last, or another program. */
static void a_log_that_went_into_the_database(void **state)
{
    writer only;
    char name[160];
    begin_writer(&only, 0);
    write_results(&only, 5);
    kill_writer(&only);
    change("PRAGMA wal_checkpoint(TRUNCATE)"); /* and closes */
    name_beside(name, sizeof name, "-wal");
    assert_int_equal(access(name, F_OK), -1);
    for (unsigned i = 0; i < 5; i++) {
        memo_store *store = opened();
        assert_int_equal(find(store, i, 3000), MEMO_OK);
        assert_int_equal(put(store, 10 + i, 10), MEMO_OK);
        memo_store_close(store);
        assert_int_equal(access(name, F_OK), -1);
    }
    /* The mark went with the log: what comes later does not matter. */
    change("DELETE FROM result");
    memo_store_close(opened());
}

static memo_status remove_all(sqlite3 *connection, void *context)
{
    return sqlite3_exec(connection, "DELETE FROM result", NULL, NULL, NULL) == SQLITE_OK
               ? MEMO_OK
               : MEMO_DAMAGED;
}

/* That it is not there is no damage, whoever has then put the log into the database. */
static void the_last_result_was_removed(void **state)
{
    int status;
    memo_before_fork();
    pid_t pid = fork();
    if (pid == 0) {
        memo_store *store = NULL;
        memo_after_fork_in_child();
        _exit(memo_store_open(path, MEMO_PROCESS, &store) != MEMO_OK ||
              put(store, 1, 10) != MEMO_OK ||
              memo_store_write(store, remove_all, NULL) != MEMO_OK); /* and does not close it */
    }
    memo_after_fork_in_parent();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    change("PRAGMA wal_checkpoint(TRUNCATE)");
    memo_store_close(opened());
}

/* The same without damage. */
static void a_log_that_is_whole(void **state)
{
    writer only;
    begin_writer(&only, 0);
    write_results(&only, 5);
    kill_writer(&only);
    memo_store *store = opened();
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(find(store, i, 3000), MEMO_OK);
    memo_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_path, remove_files)
        TEST(who_commits_makes_it_uncertain),
        TEST(results_of_others_are_found_at_once),
        TEST(the_mark_counts_what_all_have_stored),
        TEST(a_log_that_is_missing),
        TEST(a_log_that_went_into_the_database),
        TEST(the_last_result_was_removed),
        TEST(a_log_that_is_whole),
    };
    return cmocka_run_group_tests_name("memo log", tests, NULL, NULL);
}
