/*
 * test_store.c - rows in and out, damage, threads, processes, forks, files that take another's place.
 */
#include "kit.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void rows_come_back(void **state)
{
    static const size_t sizes[] = {0, 1, 100, 5000, 300000};
    memo_store *store = opened();
    assert_int_equal(find(store, 1, 0), MEMO_ABSENT);
    for (int again = 0; again < 2; again++) { /* the second time in place of the first */
        for (unsigned i = 0; i < 5; i++)
            assert_int_equal(put(store, i, sizes[i]), MEMO_OK);
    }
    for (int reopened = 0; reopened < 2; reopened++) {
        for (unsigned i = 0; i < 5; i++)
            assert_int_equal(find(store, i, sizes[i]), MEMO_OK);
        assert_int_equal(find(store, 5, 0), MEMO_ABSENT);
        memo_store_close(store);
        store = opened();
    }
    memo_store_close(store);
    memo_store_close(NULL);
}

static void a_replaced_row_tells_of_its_file(void **state)
{
    memo_store *store = opened();
    memo_row row = {.value = "where it is", .value_nbytes = 11, .beside = 5};
    memo_bytes replaced = {NULL, 0};
    key_of(1, row.key);
    assert_int_equal(memo_store_put(store, &row, &replaced), MEMO_OK);
    assert_null(replaced.data);
    row.beside = 0;
    assert_int_equal(memo_store_put(store, &row, &replaced), MEMO_OK);
    assert_int_equal(replaced.nbytes, 11);
    assert_memory_equal(replaced.data, "where it is", 11);
    free(replaced.data);
    memo_store_close(store);
}

/* Two keys that begin with the same eight bytes. */
static void keys_of_the_same_number(void **state)
{
    memo_store *store = opened();
    memo_row row = {.value = "1", .value_nbytes = 1}, found;
    memo_bytes replaced = {NULL, 0};
    key_of(1, row.key);
    assert_int_equal(memo_store_put(store, &row, &replaced), MEMO_OK);
    row.key[31] ^= 1;
    assert_int_equal(memo_store_get(store, row.key, &found), MEMO_ABSENT);
    assert_int_equal(memo_store_put(store, &row, &replaced), MEMO_OK);
    assert_int_equal(memo_store_get(store, row.key, &found), MEMO_OK);
    free((void *)found.value);
    row.key[31] ^= 1;
    assert_int_equal(memo_store_get(store, row.key, &found), MEMO_ABSENT);
    memo_store_close(store);
}

static void write_file(const char *text, size_t nbytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, nbytes, file), nbytes);
    fclose(file);
}

static void assert_opens_with(memo_status expected)
{
    memo_store *store = NULL;
    assert_int_equal(memo_store_open(path, MEMO_POWER, &store), expected);
    assert_non_null(store);
    if (expected != MEMO_OK)
        assert_true(*memo_message() != 0);
    memo_store_close(store);
}

static void what_is_no_memo(void **state)
{
    char text[8192];
    memset(text, 'x', sizeof text);
    write_file(text, sizeof text);
    assert_opens_with(MEMO_DAMAGED);
    remove_files(state);
    write_file("", 0);
    assert_opens_with(MEMO_OK);
    change("CREATE TABLE later(x); PRAGMA user_version=2"); /* a later version */
    assert_opens_with(MEMO_FOREIGN);
    remove_files(state);
    change("CREATE TABLE t(x)");
    assert_opens_with(MEMO_FOREIGN);
    remove_files(state);
    char kept[sizeof path];
    strcpy(kept, path);
    strcpy(path, "/tmp");
    memo_store *store = NULL;
    assert_int_equal(memo_store_open("/tmp", MEMO_PROCESS, &store), MEMO_ERROR);
    memo_store_close(store);
    assert_int_equal(memo_store_open("/nowhere/at/all", MEMO_PROCESS, &store), MEMO_ERROR);
    memo_store_close(store);
    unlink("/tmp-lock");
    strcpy(path, kept);
}

static void damaged_rows(void **state)
{
    uint8_t key[MEMO_KEY_NBYTES];
    memo_bytes dropped = {NULL, 0};
    memo_store *store = opened();
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(put(store, i, 50), MEMO_OK);
    change("UPDATE result SET value = value || x'00' WHERE seq = 2");
    assert_int_equal(find(store, 2, 50), MEMO_DAMAGED_ROW);
    key_of(1, key);
    assert_int_equal(memo_store_drop_damaged(store, key, &dropped), MEMO_ABSENT); /* it is whole */
    key_of(9, key);
    assert_int_equal(memo_store_drop_damaged(store, key, &dropped), MEMO_ABSENT);
    key_of(2, key);
    assert_int_equal(memo_store_drop_damaged(store, key, &dropped), MEMO_OK);
    assert_null(dropped.data);
    assert_int_equal(find(store, 1, 50), MEMO_OK);
    assert_int_equal(find(store, 2, 50), MEMO_ABSENT);
    assert_int_equal(find(store, 3, 50), MEMO_OK);
    change("UPDATE result SET key = x'00', beside = 7 WHERE seq = 3");
    assert_int_equal(find(store, 3, 50), MEMO_DAMAGED_ROW);
    key_of(3, key);
    assert_int_equal(memo_store_drop_damaged(store, key, &dropped), MEMO_OK);
    assert_int_equal(dropped.nbytes, 50);
    free(dropped.data);
    memo_store_close(store);
}

enum { THREADS = 6, ROWS = 40 };

typedef struct strand {
    pthread_t thread;
    memo_store *store;
    unsigned first;
    memo_status status;
    _Atomic bool *go_on; /* it puts until then, at least */
} strand;

/*
 * AddressSanitizer's allocator, unlike glibc's, stays locked in a child if another thread was inside
 * of it at the fork.
 */
#ifdef __SANITIZE_ADDRESS__
static pthread_rwlock_t allocates = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
#define BEGIN_ALLOCATING() pthread_rwlock_rdlock(&allocates)
#define END_ALLOCATING()   pthread_rwlock_unlock(&allocates)
#define BEGIN_FORKING()    pthread_rwlock_wrlock(&allocates)
#define END_FORKING()      pthread_rwlock_unlock(&allocates)
#else
#define BEGIN_ALLOCATING() ((void)0)
#define END_ALLOCATING()   ((void)0)
#define BEGIN_FORKING()    ((void)0)
#define END_FORKING()      ((void)0)
#endif

static void *put_many(void *context)
{
    strand *self = context;
    do {
        for (unsigned i = 0; i < ROWS && self->status == MEMO_OK; i++) {
            BEGIN_ALLOCATING();
            self->status = put(self->store, self->first + i, 10 * i);
            if (self->status == MEMO_OK)
                self->status = find(self->store, self->first + i, 10 * i);
            END_ALLOCATING();
        }
    } while (self->go_on && *self->go_on && self->status == MEMO_OK);
    return NULL;
}

/* Half of them through another store of the same file. */
static void threads_commit_together(void **state)
{
    memo_store *stores[2] = {opened(), opened()};
    strand strands[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        strands[i] = (strand){.store = stores[i % 2], .first = i * 1000, .status = MEMO_OK};
        assert_int_equal(pthread_create(&strands[i].thread, NULL, put_many, &strands[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(strands[i].thread, NULL);
        assert_int_equal(strands[i].status, MEMO_OK);
    }
    for (unsigned i = 0; i < THREADS * ROWS; i++)
        assert_int_equal(find(stores[0], i / ROWS * 1000 + i % ROWS, 10 * (i % ROWS)), MEMO_OK);
    assert_int_equal(memo_store_flush(stores[0]), MEMO_OK);
    memo_store_close(stores[0]);
    memo_store_close(stores[1]);
}

/* The row that is too large fails, those that are committed with it do not. */
static void a_row_that_cannot_be_stored_fails_alone(void **state)
{
    memo_store *store = opened();
    sqlite3_limit(store->writer, SQLITE_LIMIT_LENGTH, 100000);
    memo_take_turn(store); /* until all of them wait */
    strand strands[3];
    for (unsigned i = 0; i < 3; i++) {
        strands[i] = (strand){.store = store, .first = i * 1000, .status = MEMO_OK};
        assert_int_equal(pthread_create(&strands[i].thread, NULL, put_many, &strands[i]), 0);
    }
    usleep(20000);
    memo_give_turn(store);
    assert_int_equal(put(store, 9999, 200000), MEMO_ERROR);
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(strands[i].thread, NULL);
        assert_int_equal(strands[i].status, MEMO_OK);
    }
    assert_int_equal(find(store, 9999, 200000), MEMO_ABSENT);
    memo_store_close(store);
}

static void *begin_and_end(void *context)
{
    strand *self = context;
    uint8_t key[MEMO_KEY_NBYTES];
    key_of(self->first, key);
    do {
        self->status = memo_store_begin(self->store, key, -1);
    } while (self->status == MEMO_INTERRUPTED);
    if (self->status == MEMO_OK)
        memo_store_end(self->store, key);
    return NULL;
}

static void one_computes(void **state)
{
    memo_store *store = opened(), *other = opened();
    uint8_t key[MEMO_KEY_NBYTES];
    key_of(1, key);
    assert_int_equal(memo_store_begin(store, key, -1), MEMO_OK);
    assert_int_equal(memo_store_begin(store, key, -1), MEMO_ABSENT); /* this very thread has it */
    strand waits = {.store = other, .first = 1, .status = MEMO_ERROR};
    strand passes = {.store = other, .first = 2, .status = MEMO_ERROR};
    assert_int_equal(pthread_create(&waits.thread, NULL, begin_and_end, &waits), 0);
    assert_int_equal(pthread_create(&passes.thread, NULL, begin_and_end, &passes), 0);
    pthread_join(passes.thread, NULL);
    assert_int_equal(passes.status, MEMO_OK);
    memo_store_close(store); /* which ends what it has begun */
    pthread_join(waits.thread, NULL);
    assert_int_equal(waits.status, MEMO_OK);
    memo_store_close(other);
}

typedef struct corner {
    pthread_t thread;
    pthread_barrier_t *begun;
    memo_store *has_in, *wants_in;
    uint8_t has[MEMO_KEY_NBYTES], wants[MEMO_KEY_NBYTES];
    memo_status status;
} corner;

static void *want_what_the_next_has(void *context)
{
    corner *self = context;
    self->status = memo_store_begin(self->has_in, self->has, -1);
    pthread_barrier_wait(self->begun);
    if (self->status != MEMO_OK)
        return NULL;
    do {
        self->status = memo_store_begin(self->wants_in, self->wants, -1);
    } while (self->status == MEMO_INTERRUPTED);
    if (self->status == MEMO_OK)
        memo_store_end(self->wants_in, self->wants);
    memo_store_end(self->has_in, self->has);
    return NULL;
}

/* Each computes what another wants, in two files: exactly one computes without. */
static void a_circle_of_threads(void **state)
{
    enum { CORNERS = 4 };
    pthread_barrier_t begun;
    corner corners[CORNERS];
    char kept[sizeof path];
    memo_store *stores[2] = {opened(), NULL};
    strcpy(kept, path);
    strcat(path, "-b");
    stores[1] = opened();
    assert_int_equal(pthread_barrier_init(&begun, NULL, CORNERS), 0);
    for (unsigned i = 0; i < CORNERS; i++) { /* the same keys in both files */
        unsigned next = (i + 1) % CORNERS;
        corners[i] =
            (corner){.begun = &begun, .has_in = stores[i % 2], .wants_in = stores[next % 2]};
        key_of(i / 2, corners[i].has);
        key_of(next / 2, corners[i].wants);
        assert_int_equal(
            pthread_create(&corners[i].thread, NULL, want_what_the_next_has, &corners[i]), 0);
    }
    unsigned without = 0;
    for (unsigned i = 0; i < CORNERS; i++) {
        pthread_join(corners[i].thread, NULL);
        assert_true(corners[i].status == MEMO_OK || corners[i].status == MEMO_ABSENT);
        without += corners[i].status == MEMO_ABSENT;
    }
    assert_int_equal(without, 1);
    pthread_barrier_destroy(&begun);
    memo_store_close(stores[1]);
    remove_files(state);
    strcpy(path, kept);
    memo_store_close(stores[0]);
}

/* A process that has begun, or keeps writers out, and dies. */
static void the_dead_keep_nothing(void **state)
{
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t pid = fork();
    if (pid == 0) {
        memo_store *store = NULL;
        memo_locks *locks;
        uint8_t key[MEMO_KEY_NBYTES];
        key_of(1, key);
        if (memo_store_open(path, MEMO_PROCESS, &store) == MEMO_OK &&
            memo_store_begin(store, key, -1) == MEMO_OK &&
            memo_exclude_writers(path, &locks) == MEMO_OK && write(told[1], "1", 1) == 1)
            pause();
        _exit(1);
    }
    char byte;
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    close(told[0]);
    /* A store that was open before would wait in put(); this one waits while it opens. */
    strand strands[2];
    memo_store *store = NULL;
    assert_int_equal(kill(pid, SIGKILL), 0);
    store = opened();
    strands[0] = (strand){.store = store, .first = 1, .status = MEMO_ERROR};
    begin_and_end(&strands[0]);
    assert_int_equal(strands[0].status, MEMO_OK);
    assert_int_equal(put(store, 1, 10), MEMO_OK);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    memo_store_close(store);
}

/* What the child of nobody_commits_meanwhile() does when it is told to go on: put, and say so. */
static int compute_and_put(int told, int tells)
{
    memo_store *store = NULL;
    uint8_t key[MEMO_KEY_NBYTES];
    char byte;
    key_of(1, key);
    if (memo_store_open(path, MEMO_PROCESS, &store) != MEMO_OK ||
        memo_store_begin(store, key, -1) != MEMO_OK || write(tells, "1", 1) != 1 ||
        read(told, &byte, 1) != 1 || put(store, 2, 10) != MEMO_OK || write(tells, "2", 1) != 1)
        return 1;
    memo_store_end(store, key);
    memo_store_close(store);
    return 0;
}

/* A thread waits for a call of another process, which puts while we keep writers out: the kernel, which
 * sees processes and not threads, calls that a circle. */
static void nobody_commits_meanwhile(void **state)
{
    int told[2], tells[2], status;
    char byte;
    memo_locks *locks;
    assert_int_equal(pipe(told), 0);
    assert_int_equal(pipe(tells), 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(compute_and_put(told[0], tells[1]));
    assert_int_equal(read(tells[0], &byte, 1), 1);
    memo_store *store = opened();
    strand waits = {.store = store, .first = 1, .status = MEMO_ERROR};
    assert_int_equal(pthread_create(&waits.thread, NULL, begin_and_end, &waits), 0);
    usleep(50000); /* until it waits */
    assert_int_equal(memo_exclude_writers(path, &locks), MEMO_OK);
    assert_int_equal(write(told[1], "1", 1), 1);
    struct pollfd readable = {.fd = tells[0], .events = POLLIN};
    assert_int_equal(poll(&readable, 1, 100), 0);
    memo_admit_writers(locks);
    assert_int_equal(read(tells[0], &byte, 1), 1);
    pthread_join(waits.thread, NULL);
    assert_int_equal(waits.status, MEMO_OK);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(find(store, 2, 10), MEMO_OK);
    memo_store_close(store);
    close(told[0]), close(told[1]), close(tells[0]), close(tells[1]);
}

static void *put_one(void *context)
{
    strand *self = context;
    self->status = put(self->store, self->first, 10);
    return NULL;
}

static void another_file_takes_the_place(void **state)
{
    char name[160];
    memo_store *store = opened();
    memo_locks *locks;
    assert_int_equal(put(store, 1, 10), MEMO_OK);
    assert_int_equal(memo_exclude_writers(path, &locks), MEMO_OK);
    strand waits = {.store = store, .first = 2, .status = MEMO_ERROR};
    assert_int_equal(pthread_create(&waits.thread, NULL, put_one, &waits), 0);
    /* Here the salvager may open and close stores. */
    char kept[sizeof path];
    strcpy(kept, path);
    strcat(path, ".salvaged");
    memo_store *salvaged = opened();
    assert_int_equal(put(salvaged, 1, 10), MEMO_OK);
    memo_store_close(salvaged);
    name_beside(name, sizeof name, "-lock");
    unlink(name);
    strcpy(path, kept);
    memo_admit_writers(locks);
    /* It is whole: nobody writes to the old file, though it is in its place still. */
    pthread_join(waits.thread, NULL);
    assert_int_equal(waits.status, MEMO_MOVED);
    assert_opens_with(MEMO_MOVED);
    assert_int_equal(find(store, 1, 10), MEMO_OK);
    assert_int_equal(find(store, 3, 10), MEMO_MOVED); /* it may be in the other */
    name_beside(name, sizeof name, ".salvaged");
    assert_int_equal(rename(name, path), 0);
    assert_int_equal(put(store, 4, 10), MEMO_MOVED);
    memo_store *now = opened();
    assert_int_equal(find(now, 1, 10), MEMO_OK);
    assert_int_equal(put(now, 4, 10), MEMO_OK);
    memo_store_close(store);
    assert_int_equal(find(now, 4, 10), MEMO_OK);
    memo_store_close(now);
}

static void forks(void **state)
{
    memo_store *store = opened();
    strand strands[2];
    _Atomic bool forks_more =
        true; /* ThreadSanitizer calls a thread that has ended a leak in the child */
    for (unsigned i = 0; i < 2; i++) {
        strands[i] =
            (strand){.store = store, .first = i * 1000, .status = MEMO_OK, .go_on = &forks_more};
        assert_int_equal(pthread_create(&strands[i].thread, NULL, put_many, &strands[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        BEGIN_FORKING();
        memo_before_fork();
        pid_t pid = fork();
        if (pid == 0) {
            memo_after_fork_in_child();
            memo_store_abandon(store);
            store = NULL;
            if (memo_store_open(path, MEMO_PROCESS, &store) != MEMO_OK ||
                put(store, 5000 + (unsigned)i, 20) != MEMO_OK)
                _exit(1);
            memo_store_close(store);
            _exit(0);
        }
        memo_after_fork_in_parent();
        END_FORKING();
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    forks_more = false;
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(strands[i].thread, NULL);
        assert_int_equal(strands[i].status, MEMO_OK);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(find(store, 5000 + i, 20), MEMO_OK);
    memo_store_close(store);
}

/* The file goes while it is closed for a fork. */
static void a_file_that_is_gone_after_a_fork(void **state)
{
    memo_store *store = opened();
    assert_int_equal(put(store, 1, 10), MEMO_OK);
    memo_before_fork();
    remove_files(state);
    memo_after_fork_in_parent();
    uint8_t key[MEMO_KEY_NBYTES];
    key_of(1, key);
    assert_int_equal(find(store, 1, 10), MEMO_MOVED);
    assert_int_equal(put(store, 1, 10), MEMO_MOVED);
    assert_int_equal(memo_store_flush(store), MEMO_OK); /* there is nothing to write */
    memo_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_path, remove_files)
        TEST(rows_come_back),
        TEST(a_replaced_row_tells_of_its_file),
        TEST(keys_of_the_same_number),
        TEST(what_is_no_memo),
        TEST(damaged_rows),
        TEST(threads_commit_together),
        TEST(a_row_that_cannot_be_stored_fails_alone),
        TEST(one_computes),
        TEST(a_circle_of_threads),
        TEST(the_dead_keep_nothing),
        TEST(nobody_commits_meanwhile),
        TEST(another_file_takes_the_place),
        TEST(forks),
        TEST(a_file_that_is_gone_after_a_fork),
    };
    return cmocka_run_group_tests_name("memo", tests, NULL, NULL);
}
