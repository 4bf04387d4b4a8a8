/*
 * test_stretch.c - several calls as one task: every call ends once, by itself, in its order, whatever
 * happens to the workers; and those behind a long one do not wait for it.
 */
#include "kit.h"

#include "runtime/pool/pool_internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { CALLS_MAX = 20000 };

/* A stretch of calls given as text, one by one, and the outcome of each. */
typedef struct calls {
    achar__block args;
    size_t used, count;
    size_t ends[CALLS_MAX];
    achar__pool *pool;
    achar__task *piece; /* the one that is being read */
    const unsigned char *records;
    size_t left;        /* calls of it that have not been read */
    size_t empty_count; /* pieces without calls */
    size_t empty_failed_count;
} calls;

static calls all; /* large */

static void begin(achar__pool *pool)
{
    all.pool = pool;
    all.used = all.count = all.left = all.empty_count = all.empty_failed_count = 0;
    all.piece = NULL;
    all.records = NULL;
    assert_status(achar__pool_block_reserve(pool, 4096, &all.args), ACHAR_OK);
}

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    uint64_t header = ACHAR__RECORD_HEADER(strlen(text), 0);
    size_t needed = all.used + sizeof header + strlen(text);
    if (needed > all.args.capacity) {
        assert_status(achar__pool_block_grow(all.pool, &all.args, all.used, needed * 2), ACHAR_OK);
    }
    memcpy((char *)all.args.data + all.used, &header, sizeof header);
    memcpy((char *)all.args.data + all.used + sizeof header, text, strlen(text));
    all.used = all.ends[all.count++] = needed;
}

static void submit(void)
{
    achar__function *function = kit_function(all.pool);
    assert_status(achar__pool_submit_stretch(all.pool, function, &all.args, all.ends, all.count,
                                             NULL, &all.piece),
                  ACHAR_OK);
    assert_null(all.args.data);
    achar__function_release(function);
}

/* It has ended, and all calls of it have been read. */
static void leave_piece(enum achar__task_state how)
{
    all.empty_count += achar__task_call_count(all.piece) == 0;
    all.empty_failed_count += achar__task_call_count(all.piece) == 0 && how != ACHAR__TASK_RETURNED;
    achar__task *next_piece = achar__task_next_piece(all.piece);
    achar__task_release(all.piece);
    all.piece = next_piece;
    all.records = NULL;
}

/* The outcome of the next call: its state, and its result in '*bytes' and '*nbytes'. */
static enum achar__task_state next(const char **bytes, size_t *nbytes, achar__death *death)
{
    achar__task_result result = {0};
    for (;;) {
        assert_non_null(all.piece);
        assert_status(achar__task_wait(all.piece, ENOUGH_NS), ACHAR_OK);
        achar__task_result_of(all.piece, &result);
        if (!all.records) {
            all.records = result.bytes ? result.bytes : (const unsigned char *)"";
            all.left = achar__task_call_count(all.piece);
        }
        if (all.left) {
            break;
        }
        leave_piece(result.state);
    }
    all.left--;
    *death = result.death;
    if (result.state == ACHAR__TASK_RETURNED) {
        uint64_t header;
        memcpy(&header, all.records, sizeof header);
        assert_int_equal(header & 3, 1);
        *bytes = (const char *)all.records + sizeof header;
        *nbytes = (size_t)(header >> 2);
        all.records = (const unsigned char *)*bytes + *nbytes;
    }
    return result.state;
}

static void expect(const char *text)
{
    const char *bytes = NULL;
    size_t nbytes = 0;
    achar__death death;
    assert_int_equal(next(&bytes, &nbytes, &death), ACHAR__TASK_RETURNED);
    assert_int_equal(nbytes, strlen(text));
    assert_memory_equal(bytes, text, nbytes);
}

static void expect_number(size_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%zu", number);
    expect(text);
}

static void expect_state(enum achar__task_state state)
{
    const char *bytes = NULL;
    size_t nbytes = 0;
    achar__death death;
    assert_int_equal(next(&bytes, &nbytes, &death), state);
    if (state == ACHAR__TASK_LOST) {
        assert_true(death.pid > 0);
    }
}

/* Leaves the pieces that have been read. */
static void leave_read(void)
{
    while (all.piece && all.left == 0 && achar__task_wait(all.piece, 0) == ACHAR_OK &&
           (all.records || achar__task_call_count(all.piece) == 0)) {
        leave_piece(achar__task_state_of(all.piece));
    }
}

/*
 * All calls have been read. The last piece may have none: its worker had not told the end when they
 * were harvested.
 */
static void end(void)
{
    leave_read();
    while (all.piece) {
        assert_status(achar__task_wait(all.piece, ENOUGH_NS), ACHAR_OK);
        assert_int_equal(achar__task_call_count(all.piece), 0);
        leave_piece(achar__task_state_of(all.piece));
    }
}

static void all_calls_in_order(void **state)
{
    for (unsigned workers = 1; workers <= 3; workers++) {
        achar__pool *pool = kit_pool((kit_options){.workers = workers});
        for (size_t count = 1; count <= CALLS_MAX; count = count * 4 + 1) {
            begin(pool);
            for (size_t i = 0; i < count; i++) {
                add("echo %zu", i);
            }
            submit();
            for (size_t i = 0; i < count; i++) {
                expect_number(i);
            }
            end();
        }
        kit_end(pool);
    }
}

static void results_of_all_sizes(void **state)
{
    enum { COUNT = 300 };
    achar__pool *pool = kit_pool((kit_options){0});
    begin(pool);
    for (size_t i = 0; i < COUNT; i++) {
        add("big %zu", i * i * 10);
    }
    submit();
    for (size_t i = 0; i < COUNT; i++) {
        const char *bytes = NULL;
        size_t nbytes = 0;
        achar__death death;
        assert_int_equal(next(&bytes, &nbytes, &death), ACHAR__TASK_RETURNED);
        assert_int_equal(nbytes, i * i * 10);
        assert_true(nbytes == 0 || (bytes[0] == 'b' && bytes[nbytes - 1] == 'b'));
    }
    end();
    kit_end(pool);
}

/* The first call shows how short they are, so the rest come in large pieces; then one sleeps. */
static void nobody_waits_behind_a_long_call(void **state)
{
    enum { COUNT = 2000, LONG = 1000 };
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    begin(pool);
    for (size_t i = 0; i < COUNT; i++) {
        if (i == LONG) {
            add("%s", kit_hold_command());
        } else {
            add("echo %zu", i);
        }
    }
    submit();
    for (size_t i = 0; i < LONG; i++) {
        expect_number(i);
    }
    /* All others are done while it runs: nothing is queued, and no worker but its own has work. */
    int pids[2];
    kit_wait_for_workers(pool, pids, 2);
    achar__task *after = kit_submit(pool, "echo after");
    kit_expect(after, ACHAR__TASK_RETURNED, "after");
    leave_read();
    assert_status(achar__task_wait(all.piece, 0), ACHAR_E_TIMEOUT);
    kit_open_gate();
    expect(strchr(kit_hold_command(), '/'));
    kit_close_gate();
    for (size_t i = LONG + 1; i < COUNT; i++) {
        expect_number(i);
    }
    end();
    kit_end(pool);
}

static void a_death_loses_one_call(void **state)
{
    enum { COUNT = 3000 };
    static const size_t fatal[] = {0, 1, 700, 701, 1500, COUNT - 1};
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    char path[] = "/tmp/achar-marks-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    begin(pool);
    size_t at = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (at < sizeof fatal / sizeof *fatal && fatal[at] == i) {
            add(at++ % 2 ? "exit 3" : "signal 9");
        } else {
            add("mark %s", path);
        }
    }
    submit();
    at = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (at < sizeof fatal / sizeof *fatal && fatal[at] == i) {
            expect_state(ACHAR__TASK_LOST);
            at++;
        } else {
            expect(path);
        }
    }
    end();
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    assert_int_equal(about.st_size, COUNT - at); /* each was made once */
    close(fd);
    unlink(path);
    kit_expect_works(pool);
    kit_end(pool);
}

/* kill -9 at each step: each worker loses at most the call that it was at, and none is made twice. */
static void death_at_each_step(void **state)
{
    static const struct {
        const char *name;
        bool loses;
    } steps[] = {
        {"before-call", false},    {"call-claimed", true},   {"results-copied", true},
        {"results-moved", true},   {"result-written", true}, {"call-done", false},
        {"before-publish", false}, {"after-publish", false},
    };
    enum { COUNT = 120 };
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        char crash[32], path[] = "/tmp/achar-marks-XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        snprintf(crash, sizeof crash, "%s:4", steps[s].name);
        achar__pool *pool = kit_pool((kit_options){.workers = 2, .crash = crash});
        begin(pool);
        for (size_t i = 0; i < COUNT; i++) {
            add("mark %s", path);
        }
        submit();
        size_t lost_count = 0;
        for (size_t i = 0; i < COUNT; i++) {
            const char *bytes = NULL;
            size_t nbytes = 0;
            achar__death death;
            if (next(&bytes, &nbytes, &death) == ACHAR__TASK_LOST) {
                assert_int_equal(death.signal, SIGKILL);
                lost_count++;
            } else {
                assert_int_equal(nbytes, strlen(path));
                assert_memory_equal(bytes, path, nbytes);
            }
        }
        end();
        struct stat about;
        assert_int_equal(fstat(fd, &about), 0);
        assert_in_range(about.st_size, COUNT - lost_count, COUNT);
        if (!steps[s].loses) {
            assert_int_equal(lost_count, 0);
            assert_int_equal(about.st_size, COUNT);
        } else {
            assert_in_range(lost_count, 1, COUNT / 2);
        }
        close(fd);
        unlink(path);
        kit_end(pool);
    }
}

static _Atomic bool is_over;

/* All calls that its worker has made are; it has only to tell that they were all. */
static bool is_harvested(achar__pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    achar__slot *slot = &pool->slots[0];
    achar__task *piece = slot->inflight[slot->completed % ACHAR__RING_SLOTS];
    bool found = slot->completed < slot->tail && piece && piece->count == 0;
    pthread_mutex_unlock(&pool->lock);
    return found;
}

static void *kill_the_stopped(void *pool)
{
    while (!is_over) {
        int pid;
        if (achar__pool_pids(pool, &pid, 1) == 1 && kit_state_of(pid) == 'T') {
            for (int i = 0; i < 100 && !is_harvested(pool); i++) { /* one of them is, soon enough */
                kit_nap_ms(5);
            }
            kill(pid, SIGKILL);
        }
        kit_nap_ms(5);
    }
    return NULL;
}

/*
 * Each worker stops when it has made its calls and is about to tell: they are harvested. It is killed
 * then, and nobody is given what is left, which is no call.
 */
static void death_after_the_harvest(void **state)
{
    enum { COUNT = 40 };
    achar__pool *pool = kit_pool(
        (kit_options){.workers = 1, .mode = "never-empty", .crash = "stop before-publish:3"});
    begin(pool);
    for (size_t i = 0; i < COUNT; i++) {
        add("spin 200");
    }
    submit();
    pthread_t killer;
    is_over = false;
    assert_int_equal(pthread_create(&killer, NULL, kill_the_stopped, pool), 0);
    for (size_t i = 0; i < COUNT; i++) {
        expect_number(200);
    }
    end();
    is_over = true;
    pthread_join(killer, NULL);
    assert_true(all.empty_count > 0);
    assert_int_equal(all.empty_failed_count, 0);
    achar__pool_kill(pool);
    achar__pool_release(pool);
}

static void dropping(void **state)
{
    enum { ROUNDS = 60, COUNT = 3000 };
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    unsigned seed = 5;
    for (int round = 0; round < ROUNDS; round++) {
        size_t read_count = (size_t)rand_r(&seed) % 200;
        begin(pool);
        for (size_t i = 0; i < COUNT; i++) {
            add("echo %zu", i);
        }
        submit();
        for (size_t i = 0; i < read_count; i++) {
            expect_number(i);
        }
        if (round % 3 == 0) {
            kit_nap_ms(rand_r(&seed) % 3);
        }
        achar__stretch_drop(all.piece, true);
        all.piece = NULL;
        all.records = NULL;
    }
    kit_expect_works(pool);
    kit_end(pool);
}

/* Long calls, dropped while one runs: the others never start, and the pool ends. */
static void dropping_long_calls(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    begin(pool);
    for (size_t i = 0; i < 1000; i++) {
        add(i < 50 ? "spin 10" : "sleep 50");
    }
    submit();
    for (size_t i = 0; i < 51; i++) {
        expect_number(i < 50 ? 10 : 50);
    }
    achar__stretch_drop(all.piece, true);
    all.piece = NULL;
    all.records = NULL;
    kit_end(pool);
}

static void cancelled_and_interrupted(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    char stays[64];
    snprintf(stays, sizeof stays, "/tmp/achar-test-stays-%d", (int)getpid());
    unlink(stays);
    for (int way = 0; way < 2; way++) {
        begin(pool);
        for (size_t i = 0; i < 100; i++) {
            if (i < 10) {
                add("echo %zu", i);
            } else {
                add("stay %s", stays);
            }
        }
        submit();
        for (size_t i = 0; i < 10; i++) {
            expect_number(i);
        }
        while (access(stays, F_OK) != 0) { /* one runs */
            kit_nap_ms(1);
        }
        if (way == 0) {
            assert_int_equal(achar__pool_cancel_queued(pool) > 0, 1);
            achar__pool_interrupt(pool);
        } else {
            assert_int_equal(achar__pool_interrupt(pool) > 0, 1);
        }
        size_t lost_count = 0, cancelled_count = 0;
        for (size_t i = 10; i < 100; i++) {
            const char *bytes = NULL;
            size_t nbytes = 0;
            achar__death death;
            enum achar__task_state how = next(&bytes, &nbytes, &death);
            lost_count += how == ACHAR__TASK_LOST;
            cancelled_count += how == ACHAR__TASK_CANCELLED;
        }
        assert_int_equal(lost_count + cancelled_count, 90);
        assert_in_range(lost_count, 1, 2);
        end();
        unlink(stays);
        kit_expect_works(pool);
    }
    kit_end(pool);
}

static void workers_are_replaced_in_between(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 2, .max_tasks_per_worker = 7});
    begin(pool);
    for (size_t i = 0; i < 60; i++) {
        add("echo %zu", i);
    }
    submit();
    for (size_t i = 0; i < 60; i++) {
        expect_number(i);
    }
    end();
    kit_end(pool);
}

static void pools_that_are_killed(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    begin(pool);
    for (size_t i = 0; i < 100; i++) {
        add("sleep 600000");
    }
    submit();
    kit_nap_ms(100);
    achar__pool_kill(pool);
    for (size_t i = 0; i < 100; i++) {
        expect_state(ACHAR__TASK_ABANDONED);
    }
    end();
    achar__pool_release(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(all_calls_in_order),
        KIT_TEST(results_of_all_sizes),
        KIT_TEST(nobody_waits_behind_a_long_call),
        KIT_TEST(a_death_loses_one_call),
        KIT_TEST(death_at_each_step),
        KIT_TEST(death_after_the_harvest),
        KIT_TEST(dropping),
        KIT_TEST(dropping_long_calls),
        KIT_TEST(cancelled_and_interrupted),
        KIT_TEST(workers_are_replaced_in_between),
        KIT_TEST(pools_that_are_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
