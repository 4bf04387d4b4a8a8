/* test_life.c - pools that end, regions that run full, processes that fork, and idleness. */
#include "kit.h"

#include "runtime/test_points.h"

#include <dirent.h>
#include <limits.h>
#include <sys/wait.h>

#define MIB ((size_t)1 << 20)

/* ---- the end ---- */

static void close_runs_what_is_queued(void **state)
{
    enum { COUNT = 300 };
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *tasks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        tasks[i] = kit_submit(pool, "echo %d", i);
    }
    achar__block args;
    achar__task *late;
    assert_status(achar__pool_block_reserve(pool, 10, &args), ACHAR_OK);
    achar__pool_close(pool);
    achar__pool_close(pool);
    assert_status(achar__pool_submit(pool, function, &args, 4, NULL, &late), ACHAR_E_CLOSED);
    assert_status(achar__pool_block_grow(pool, &args, 4, 100000), ACHAR_E_CLOSED);
    achar__pool_block_free(pool, &args);
    assert_status(achar__pool_block_reserve(pool, 10, &args), ACHAR_E_CLOSED);
    assert_status(achar__pool_join(pool, ENOUGH_NS), ACHAR_OK);
    assert_status(achar__pool_join(pool, 0), ACHAR_OK);
    achar__function_release(function);
    achar__pool_release(pool);
    for (int i = 0; i < COUNT; i++) { /* results outlive the pool */
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        kit_expect(tasks[i], ACHAR__TASK_RETURNED, text);
    }
}

static void kill_abandons(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    kit_expect_works(pool);
    achar__task *done = kit_submit(pool, "echo done");
    kit_result(done);
    achar__task *tasks[10];
    for (int i = 0; i < 10; i++) {
        tasks[i] = kit_submit(pool, "sleep 100000");
    }
    achar__task *watched = kit_submit(pool, "echo never");
    assert_int_equal(achar__task_watch(watched, NULL), 1);
    achar__pool_kill(pool);
    achar__pool_kill(pool);
    assert_status(achar__pool_join(pool, ENOUGH_NS), ACHAR_OK);
    for (int i = 0; i < 10; i++) {
        achar__task_result result = kit_result(tasks[i]);
        assert_int_equal(result.death.pid, 0);
        kit_expect(tasks[i], ACHAR__TASK_ABANDONED, "");
    }
    /* The list's reference goes with the pool. */
    achar__pool_release(pool);
    kit_expect(watched, ACHAR__TASK_ABANDONED, "");
    kit_expect(done, ACHAR__TASK_RETURNED, "done");
}

static void release_at_any_moment(void **state)
{
    for (int i = 0; i < 12; i++) {
        achar__pool *pool = kit_pool((kit_options){.workers = 3});
        achar__function *function = kit_function(pool);
        achar__task *task = kit_submit(pool, i % 2 ? "sleep 100000" : "echo x");
        kit_nap_ms(i * 2);
        achar__pool_release(pool);
        enum achar__task_state end = achar__task_state_of(task);
        assert_true(end == ACHAR__TASK_ABANDONED || (i % 2 == 0 && end == ACHAR__TASK_RETURNED));
        achar__task_release(task);
        achar__function_release(function);
    }
}

static void join_ends_workers_that_stay(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.mode = "never-leave"});
    kit_expect_works(pool);
    int64_t closed_ns = achar__now_ns();
    achar__pool_close(pool);
    int status = achar__pool_join(pool, MILLISECOND_NS);
    if (achar__now_ns() - closed_ns < 4 * SECOND_NS) { /* workers have five seconds to leave in */
        assert_status(status, ACHAR_E_TIMEOUT);
    }
    kit_end(pool);
}

static void worker_is_replaced_after_its_share(void **state)
{
    enum { COUNT = 40 };
    achar__pool *pool = kit_pool((kit_options){.workers = 1, .max_tasks_per_worker = 4});
    achar__task *tasks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        tasks[i] = kit_submit(pool, "pid");
    }
    long previous = 0;
    int changes = 0, run = 0;
    for (int i = 0; i < COUNT; i++) {
        long pid = kit_expect_number(tasks[i]);
        run = pid == previous ? run + 1 : 1;
        changes += pid != previous;
        assert_true(run <= 4);
        previous = pid;
    }
    assert_int_equal(changes, COUNT / 4);
    kit_end(pool);
}

/* ---- memory ---- */

static void released_results_make_room(void **state)
{
    enum { COUNT = 400 };
    achar__pool *pool = kit_pool((kit_options){.workers = 1, .region_nbytes = 16 * MIB});
    for (int i = 0; i < COUNT; i++) { /* 400 MB through 16 */
        achar__task *task = kit_submit(pool, "big %zu", MIB);
        achar__task_result result = kit_result(task);
        assert_int_equal(result.state, ACHAR__TASK_RETURNED);
        assert_int_equal(result.nbytes, MIB);
        achar__task_release(task);
    }
    kit_end(pool);
}

static void releases_may_come_in_thousands(void **state)
{
    enum { COUNT = 5000 };
    achar__pool *pool = kit_pool((kit_options){.workers = 1, .region_nbytes = 16 * MIB});
    static achar__task *tasks[COUNT];
    for (int round = 0; round < 4; round++) { /* 10 MB of results each time */
        for (int i = 0; i < COUNT; i++) {
            tasks[i] = kit_submit(pool, "big 2000");
        }
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(kit_result(tasks[i]).state, ACHAR__TASK_RETURNED);
        }
        /* The worker is busy and does not look: most of these wait in the client. */
        achar__task *busy = kit_submit(pool, "sleep 50");
        for (int i = 0; i < COUNT; i++) {
            achar__task_release(tasks[i]);
        }
        kit_expect(busy, ACHAR__TASK_RETURNED, "");
        kit_expect_works(pool);
    }
    kit_end(pool);
}

static void full_client_region_recovers(void **state)
{
    enum { MOST = 100 };
    achar__pool *pool = kit_pool((kit_options){.region_nbytes = 8 * MIB});
    achar__block blocks[MOST];
    int count = 0, status;
    while ((status = achar__pool_block_reserve(pool, 200000, &blocks[count])) == ACHAR_OK) {
        count++;
        assert_true(count < MOST);
    }
    assert_status(status, ACHAR_E_LIMIT);
    void *data = blocks[0].data;
    assert_status(achar__pool_block_grow(pool, &blocks[0], 5, 6 * MIB), ACHAR_E_LIMIT);
    assert_ptr_equal(blocks[0].data, data);
    while (count > 0) {
        achar__pool_block_free(pool, &blocks[--count]);
    }
    kit_expect_works(pool);

    kit_end(pool);
}

static void missing_client_pages_recover(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__block block;
    kit_expect_works(pool);
    achar__test_set_commit_budget(0);
    int status = achar__pool_block_reserve(pool, 7 * MIB, &block);
    achar__test_set_commit_budget(SIZE_MAX);
    assert_status(status, ACHAR_E_NOMEM);
    assert_status(achar__pool_block_reserve(pool, 7 * MIB, &block), ACHAR_OK);
    achar__pool_block_free(pool, &block);
    kit_expect_works(pool);
    kit_end(pool);
}

static void full_worker_region_recovers(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1, .region_nbytes = 8 * MIB});
    assert_int_equal(kit_expect_number(kit_submit(pool, "fill")), ACHAR_E_LIMIT);
    char text[16];
    snprintf(text, sizeof text, "%d", ACHAR_E_LIMIT);
    kit_expect(kit_submit(pool, "big 9000000"), ACHAR__TASK_RAISED, text);
    achar__task *held = kit_submit(pool, "big 4000000");
    assert_int_equal(kit_result(held).state, ACHAR__TASK_RETURNED);
    kit_expect(kit_submit(pool, "big 4000000"), ACHAR__TASK_RAISED, text);
    achar__task_release(held);
    held = kit_submit(pool, "big 4000000");
    assert_int_equal(kit_result(held).state, ACHAR__TASK_RETURNED);
    achar__task_release(held);
    kit_end(pool);
}

/* ---- fork, idleness ---- */

static void forked_copies_are_inert(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *done = kit_submit(pool, "echo done");
    kit_result(done);
    achar__task *running = kit_submit(pool, "sleep 200");
    achar__block block, other;
    assert_status(achar__pool_block_reserve(pool, 100, &block), ACHAR_OK);
    pid_t child = fork();
    if (child == 0) {
        int wrong = 0, pids[4];
        achar__task *task;
        achar__task_result result;
        wrong |= achar__pool_block_reserve(pool, 1, &other) != ACHAR_E_CLOSED;
        wrong |= (achar__pool_submit(pool, function, &block, 1, NULL, &task) != ACHAR_E_CLOSED)
                 << 1;
        wrong |= (achar__task_wait(running, -1) != ACHAR_E_CLOSED) << 2;
        wrong |= (achar__task_cancel(running) != 0) << 3;
        wrong |= (achar__pool_join(pool, -1) != ACHAR_E_CLOSED) << 4;
        wrong |= (achar__pool_pids(pool, pids, 4) != 0) << 5;
        achar__task_result_of(done, &result);
        wrong |= (result.bytes != NULL) << 6;
        wrong |= (achar__pool_next_watched(pool, -1, &task) != ACHAR_E_CLOSED) << 7;
        achar__pool_cancel_queued(pool);
        achar__pool_block_free(pool, &block);
        achar__function_release(function);
        achar__task_release(done);
        achar__task_release(running);
        achar__pool_close(pool);
        achar__pool_kill(pool);
        achar__pool_release(pool);
        _exit(wrong);
    }
    assert_int_equal(kit_exit_code(child), 0);
    kit_expect(running, ACHAR__TASK_RETURNED, "");
    kit_expect(done, ACHAR__TASK_RETURNED, "done");
    achar__pool_block_free(pool, &block);
    kit_expect_works(pool);
    achar__function_release(function);
    kit_end(pool);
}

/* How often the process's threads have gone to sleep, all told. */
static long sleeps_of(int pid)
{
    char path[64], line[128];
    long total = 0, count;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    assert_non_null(threads);
    for (struct dirent *entry; (entry = readdir(threads));) {
        char status_path[512];
        snprintf(status_path, sizeof status_path, "%s/%s/status", path, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(status_path, "r");
        while (file && fgets(line, sizeof line, file)) {
            if (sscanf(line, "voluntary_ctxt_switches: %ld", &count) == 1) {
                total += count;
            }
        }
        if (file) {
            fclose(file);
        }
    }
    closedir(threads);
    return total;
}

/* This thread's own nap is one; anything that polls would show many. */
#ifdef __SANITIZE_THREAD__
#define IDLE_SLEEPS 12 /* the sanitizer has a thread that polls */
#else
#define IDLE_SLEEPS 2
#endif

static void idle_pool_sleeps(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__task *tasks[200];
    for (int i = 0; i < 200; i++) {
        tasks[i] = kit_submit(pool, "echo x");
    }
    for (int i = 0; i < 200; i++) {
        kit_expect(tasks[i], ACHAR__TASK_RETURNED, "x");
    }
    int pids[3] = {getpid()};
    kit_wait_for_workers(pool, pids + 1, 2);
    for (int i = 0; i < 3; i++) {
        long count = LONG_MAX;
        for (int attempt = 0; attempt < 60 && count > IDLE_SLEEPS; attempt++) {
            long before = sleeps_of(pids[i]); /* at first one may still be starting */
            kit_nap_ms(500);
            count = sleeps_of(pids[i]) - before;
        }
        assert_in_range(count, 0, IDLE_SLEEPS);
    }
    kit_end(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(close_runs_what_is_queued),
        KIT_TEST(kill_abandons),
        KIT_TEST(release_at_any_moment),
        KIT_TEST(join_ends_workers_that_stay),
        KIT_TEST(worker_is_replaced_after_its_share),
        KIT_TEST(released_results_make_room),
        KIT_TEST(releases_may_come_in_thousands),
        KIT_TEST(full_client_region_recovers),
        KIT_TEST(missing_client_pages_recover),
        KIT_TEST(full_worker_region_recovers),
        KIT_TEST(forked_copies_are_inert),
        KIT_TEST(idle_pool_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
