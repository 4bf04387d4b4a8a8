/*
 * test_faults.c - workers that die, stop, lie or never start: what is lost, what is not, and that
 * everything ends.
 */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define MIB ((size_t)1 << 20)

/* ---- kill -9 at each step of the protocol ---- */

typedef struct step {
    const char *name;
    bool loses; /* the task at which it dies */
} step;

static const step steps[] = {
    {"before-claim", false},  {"after-claim", true},    {"mid-result", true},
    {"before-publish", true}, {"after-publish", false},
};

/* Every worker dies at its third task: exactly what it had claimed and not published is lost. */
static void death_at_each_step(void **state)
{
    enum { COUNT = 60 };
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        for (unsigned workers = 1; workers <= 3; workers += 2) {
            char crash[32], text[16];
            achar__task *tasks[COUNT];
            int lost_count = 0;
            snprintf(crash, sizeof crash, "%s:3", steps[s].name);
            achar__pool *pool = kit_pool((kit_options){.workers = workers, .crash = crash});
            for (int i = 0; i < COUNT; i++) {
                tasks[i] = kit_submit(pool, "echo %d", i);
            }
            for (int i = 0; i < COUNT; i++) {
                achar__task_result result = kit_result(tasks[i]);
                if (result.state == ACHAR__TASK_LOST) {
                    lost_count++;
                    kit_expect_death(tasks[i], ACHAR__TASK_LOST, -1, SIGKILL);
                } else {
                    snprintf(text, sizeof text, "%d", i);
                    kit_expect(tasks[i], ACHAR__TASK_RETURNED, text);
                }
            }
            if (!steps[s].loses) {
                assert_int_equal(lost_count, 0);
            } else if (workers == 1) {
                assert_int_equal(lost_count, COUNT / 3);
            } else {
                assert_in_range(lost_count, COUNT / 3 - workers, COUNT / 3);
            }
            kit_end(pool);
        }
    }
}

/* A worker that claims what is being recalled and dies before the verdict. */
static void death_during_a_recall(void **state)
{
    enum { COUNT = 64, ROUNDS = 200 };
    achar__pool *pool = kit_pool((kit_options){.workers = 2, .crash = "recalled:1"});
    unsigned seed = 11;
    for (int round = 0; round < ROUNDS; round++) {
        achar__task *tasks[COUNT];
        int cancelled[COUNT] = {0};
        char text[32];
        for (int i = 0; i < COUNT; i++) {
            tasks[i] = kit_submit(pool, "echo %d", i);
        }
        for (int i = 0; i < COUNT / 2; i++) {
            int at = rand_r(&seed) % COUNT;
            cancelled[at] |= achar__task_cancel(tasks[at]);
        }
        for (int i = 0; i < COUNT; i++) {
            achar__task_result result = kit_result(tasks[i]);
            snprintf(text, sizeof text, "%d", i);
            if (cancelled[i]) {
                kit_expect(tasks[i], ACHAR__TASK_CANCELLED, "");
            } else if (result.state == ACHAR__TASK_LOST) {
                kit_expect_death(tasks[i], ACHAR__TASK_LOST, -1, SIGKILL);
            } else {
                kit_expect(tasks[i], ACHAR__TASK_RETURNED, text);
            }
        }
    }
    kit_end(pool);
}

static void exit_codes_and_signals_arrive(void **state)
{
    static const int signals[] = {SIGKILL, SIGABRT, SIGSEGV, SIGTERM, SIGINT};
    achar__pool *pool = kit_pool((kit_options){0});
    for (int code = 0; code < 3; code++) {
        kit_expect_death(kit_submit(pool, "exit %d", code * 100), ACHAR__TASK_LOST, code * 100, 0);
        kit_expect_works(pool);
    }
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        kit_expect_death(kit_submit(pool, "signal %d", signals[i]), ACHAR__TASK_LOST, -1,
                         signals[i]);
        kit_expect_works(pool);
    }
    kit_end(pool);
}

static achar__task *submit_with_limit(achar__pool *pool, int64_t limit_ns, const char *text)
{
    achar__block args;
    achar__task *task = NULL;
    achar__function *function = kit_function(pool);
    achar__task_options options = {.time_limit_ns = limit_ns};
    assert_status(achar__pool_block_reserve(pool, strlen(text), &args), ACHAR_OK);
    memcpy(args.data, text, strlen(text));
    assert_status(achar__pool_submit(pool, function, &args, strlen(text), &options, &task),
                  ACHAR_OK);
    achar__function_release(function);
    return task;
}

/* echo_worker does what SIGALRM does by itself: it ends. Queued time does not count. */
static void time_limits(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    for (int round = 0; round < 3; round++) {
        int64_t begun_ns = achar__now_ns();
        achar__task *sleeping[2] = {kit_submit(pool, "sleep 300"), kit_submit(pool, "sleep 300")};
        achar__task *overdue = submit_with_limit(pool, 100 * MILLISECOND_NS, "sleep 1000000");
        achar__task *in_time = submit_with_limit(pool, 1000 * SECOND_NS, "echo in time");
        achar__task *late = submit_with_limit(pool, 200 * MILLISECOND_NS, "sleep 1");
        achar__task *beside = kit_submit(pool, "echo beside");
        /* Where it stands still after the signal, it is killed. */
        int how = kit_result(overdue).death.signal == SIGKILL ? SIGKILL : SIGALRM;
        kit_expect_death(overdue, ACHAR__TASK_OVERDUE, -1, how);
        kit_expect(in_time, ACHAR__TASK_RETURNED, "in time");
        if (kit_result(late).state == ACHAR__TASK_OVERDUE) { /* it did not run in the time it had */
            assert_true(achar__now_ns() - begun_ns >= 500 * MILLISECOND_NS);
            achar__task_release(late);
        } else {
            kit_expect(late, ACHAR__TASK_RETURNED, "");
        }
        kit_expect(beside, ACHAR__TASK_RETURNED, "beside");
        kit_expect(sleeping[0], ACHAR__TASK_RETURNED, "");
        kit_expect(sleeping[1], ACHAR__TASK_RETURNED, "");
    }
    /* A worker that cannot hear is killed. */
    int pids[2];
    kit_wait_for_workers(pool, pids, 2);
    achar__task *deaf = submit_with_limit(pool, 50 * MILLISECOND_NS, "deaf 1000000");
    kit_expect_death(deaf, ACHAR__TASK_OVERDUE, -1, SIGKILL);
    kit_expect_works(pool);
    kit_end(pool);
}

/* The tasks behind the one that kills were in the same ring and are not lost. */
static void unstarted_tasks_are_requeued(void **state)
{
    enum { COUNT = 50 };
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    for (int i = 0; i < 20; i++) {
        kit_expect_works(pool);
    }
    for (int round = 0; round < 5; round++) {
        achar__task *tasks[COUNT];
        achar__task *hold = kit_submit(pool, "spin 500"); /* so that a ring full builds up */
        for (int i = 0; i < COUNT; i++) {
            tasks[i] = i == 25 ? kit_submit(pool, "exit 9") : kit_submit(pool, "echo %d", i);
        }
        for (int i = 0; i < COUNT; i++) {
            char text[16];
            snprintf(text, sizeof text, "%d", i);
            if (i == 25) {
                kit_expect_death(tasks[i], ACHAR__TASK_LOST, 9, 0);
            } else {
                kit_expect(tasks[i], ACHAR__TASK_RETURNED, text);
            }
        }
        kit_expect(hold, ACHAR__TASK_RETURNED, "");
    }
    kit_end(pool);
}

static void results_outlive_their_worker(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    achar__task *held = kit_submit(pool, "big 3000000");
    assert_int_equal(kit_result(held).state, ACHAR__TASK_RETURNED);
    kit_expect_death(kit_submit(pool, "signal 9"), ACHAR__TASK_LOST, -1, SIGKILL);
    kit_expect_works(pool);
    const unsigned char *bytes = kit_result(held).bytes;
    for (size_t i = 0; i < 3000000; i++) {
        assert_int_equal(bytes[i], (unsigned char)(i * 31 + (i >> 8)));
    }
    achar__task_release(held);
    kit_end(pool);
}

/* A worker is replaced also when the client's region has no room left at all. */
static void full_region_does_not_stop_replacement(void **state)
{
    enum { MOST = 100000 };
    static achar__block blocks[MOST];
    size_t count = 0;
    achar__pool *pool = kit_pool((kit_options){.workers = 1, .region_nbytes = 4 * MIB});
    kit_expect_works(pool);
    achar__function *function = kit_function(pool);
    achar__block killing;
    assert_status(achar__pool_block_reserve(pool, 6, &killing), ACHAR_OK);
    memcpy(killing.data, "exit 1", 6);
    for (size_t nbytes = MIB; nbytes > 0; nbytes /= 2) {
        while (count < MOST &&
               achar__pool_block_reserve(pool, nbytes, &blocks[count]) == ACHAR_OK) {
            count++;
        }
    }
    achar__task *killer, *next;
    assert_status(achar__pool_submit(pool, function, &killing, 6, NULL, &killer), ACHAR_OK);
    assert_status(achar__pool_submit(pool, function, NULL, 0, NULL, &next), ACHAR_OK);
    kit_expect_death(killer, ACHAR__TASK_LOST, 1, 0);
    kit_expect(next, ACHAR__TASK_RETURNED, "");
    while (count > 0) {
        achar__pool_block_free(pool, &blocks[--count]);
    }
    achar__function_release(function);
    kit_expect_works(pool);
    kit_end(pool);
}

/* Someone else collects the client's children: the death is known, only not how it was. */
static void ignored_sigchld_is_no_hang(void **state)
{
    void (*handler)(int) = signal(SIGCHLD, SIG_IGN);
    achar__pool *pool = kit_pool((kit_options){0});
    kit_expect_works(pool);
    kit_expect_death(kit_submit(pool, "exit 3"), ACHAR__TASK_LOST, -1, 0);
    kit_expect_works(pool);
    kit_end(pool);
    signal(SIGCHLD, handler);
}

static void descendants_die_with_the_worker(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    long child = kit_expect_number(kit_submit(pool, "child"));
    assert_true(kit_is_alive((int)child));
    kit_expect_death(kit_submit(pool, "exit 1"), ACHAR__TASK_LOST, 1, 0);
    kit_expect_gone((int)child);
    child = kit_expect_number(kit_submit(pool, "child"));
    kit_end(pool);
    kit_expect_gone((int)child);
}

static void a_fork_of_the_worker_is_inert(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    kit_expect(kit_submit(pool, "fork"), ACHAR__TASK_RETURNED, "inert");
    kit_expect_works(pool);
    kit_end(pool);
}

static void nonsense_in_shared_memory_is_not_believed(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    for (int i = 0; i < 3; i++) {
        kit_expect_death(kit_submit(pool, "scribble"), ACHAR__TASK_LOST, -1, SIGKILL);
        kit_expect_works(pool);
    }
    kit_expect(kit_submit(pool, "kind 2"), ACHAR__TASK_RETURNED, "kind");
    kit_expect(kit_submit(pool, "kind 3"), ACHAR__TASK_RETURNED, "kind");
    kit_expect_death(kit_submit(pool, "kind 4"), ACHAR__TASK_LOST, -1, SIGKILL);
    /* It keeps arguments of kind 0, which nobody can keep. */
    kit_expect_death(kit_submit(pool, "kind 2147483648"), ACHAR__TASK_LOST, -1, SIGKILL);
    kit_expect_death(kit_submit(pool, "kind 4294967295"), ACHAR__TASK_LOST, -1, SIGKILL);
    kit_expect_works(pool);
    kit_end(pool);
}

/* ---- workers that do not start ---- */

static void expect_abandoned(achar__task *task, int exit_code, int error)
{
    achar__task_result result = kit_result(task);
    assert_int_equal(result.state, ACHAR__TASK_ABANDONED);
    assert_int_equal(result.death.exit_code, exit_code);
    assert_int_equal(result.death.error, error);
    assert_int_equal(result.death.pid != 0, error == 0);
    achar__task_release(task);
}

#ifdef __SANITIZE_THREAD__ /* it makes vfork a fork: the client sees the child's exit, not its error */
#define NO_PROGRAM(number) 127, 0
#else
#define NO_PROGRAM(number) -1, number
#endif

static void no_program_no_hang(void **state)
{
    static const struct {
        kit_options options;
        int exit_code, error;
    } cases[] = {
        {{.program = "/nonexistent/program"}, NO_PROGRAM(ENOENT)},
        {{.program = "/etc/passwd"}, NO_PROGRAM(EACCES)},
        {{.program = "/bin/true"}, 0, 0},
        {{.mode = "fail-at-start"}, 3, 0},
        {{.mode = "fail-after-attach"}, 5, 0},
        {{.crash = "before-claim:1", .workers = 1}, -1, 0}, /* ready, but never takes a task */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        achar__pool *pool = kit_pool(cases[i].options);
        achar__task *tasks[10];
        for (int t = 0; t < 10; t++) {
            tasks[t] = kit_submit(pool, "echo x");
        }
        achar__task *watched = kit_submit(pool, "echo x");
        if (achar__task_watch(watched, NULL)) {
            achar__task *out;
            assert_status(achar__pool_next_watched(pool, ENOUGH_NS, &out), ACHAR_OK);
            assert_ptr_equal(out, watched);
            achar__task_release(out);
        }
        achar__task_release(watched);
        for (int t = 0; t < 10; t++) {
            expect_abandoned(tasks[t], cases[i].exit_code, cases[i].error);
        }
        achar__task *late = kit_submit(pool, "echo x");
        assert_true(ACHAR__TASK_FINISHED(achar__task_state_of(late)));
        expect_abandoned(late, cases[i].exit_code, cases[i].error);
        kit_end(pool);
    }
}

static void not_started_by_a_pool(void **state)
{
    pid_t child = fork();
    if (child == 0) {
        execl(kit_echo_worker(), "echo_worker", (char *)NULL);
        _exit(99);
    }
    assert_int_equal(kit_exit_code(child), 4);
}

/* No descriptor is left when a worker has to be replaced; later there are some. */
static void out_of_descriptors(void **state)
{
    int pids[2];
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    kit_expect_works(pool);
    kit_wait_for_workers(pool, pids, 2);
    struct rlimit before, low;
    getrlimit(RLIMIT_NOFILE, &before);
    low = (struct rlimit){.rlim_cur = 64, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &low);
    int fds[64], count = 0;
    while (count < 64 && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        count++;
    }
    assert_in_range(count, 1, 63);
    /* The one that is left does the work. */
    kit_expect_death(kit_submit(pool, "exit 1"), ACHAR__TASK_LOST, 1, 0);
    for (int i = 0; i < 20; i++) {
        kit_expect_works(pool);
        kit_nap_ms(5);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    while (count > 0) {
        close(fds[--count]);
    }
    kit_wait_for_workers(pool, pids, 2);
    kit_expect_works(pool);
    kit_end(pool);

    /* With no worker at all the tasks are given up, with the reason. */
    pool = kit_pool((kit_options){.workers = 1});
    kit_expect_works(pool);
    setrlimit(RLIMIT_NOFILE, &low);
    while (count < 64 && (fds[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        count++;
    }
    achar__task *killer = kit_submit(pool, "exit 1");
    achar__task *next = kit_submit(pool, "echo x");
    kit_result(killer);
    kit_result(next);
    setrlimit(RLIMIT_NOFILE, &before);
    while (count > 0) {
        close(fds[--count]);
    }
    achar__task_release(killer);
    /* The dead worker's own descriptors may have been just enough for the next. */
    achar__task_result result = kit_result(next);
    assert_true(result.state == ACHAR__TASK_RETURNED ||
                (result.state == ACHAR__TASK_ABANDONED && result.death.error == EMFILE));
    achar__task_release(next);
    kit_end(pool);
}

static void limits_that_cannot_be_met(void **state)
{
    const char *argv[] = {"/bin/true", NULL};
    achar__pool *pool = NULL;
    achar__pool_options options = {.worker_argv = argv, .worker_count = 0};
    assert_status(achar__pool_create(&options, &pool), ACHAR_E_INVALID);
    options.worker_count = 1025;
    assert_status(achar__pool_create(&options, &pool), ACHAR_E_INVALID);
    options.worker_count = 1;
    options.region_nbytes = 1;
    assert_status(achar__pool_create(&options, &pool), ACHAR_E_INVALID);
    options.region_nbytes = (size_t)1 << 60;
    int status = achar__pool_create(&options, &pool);
    assert_true(status == ACHAR_E_NOMEM || status == ACHAR_E_IO || status == ACHAR_E_INVALID);
    struct rlimit before, low;
    getrlimit(RLIMIT_NOFILE, &before);
    low = (struct rlimit){.rlim_cur = 4, .rlim_max = before.rlim_max};
    options.region_nbytes = 0;
    setrlimit(RLIMIT_NOFILE, &low);
    status = achar__pool_create(&options, &pool);
    int error = errno;
    setrlimit(RLIMIT_NOFILE, &before);
    assert_status(status, ACHAR_E_IO);
    assert_true(error == EMFILE || error == EINVAL);
    assert_null(pool);
}

/* ---- workers that do not move ---- */

/* Short tasks behind a long one in the same ring go to the worker that is idle. */
static void a_long_task_holds_up_nobody(void **state)
{
    enum { COUNT = 60 };
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    for (int i = 0; i < 50; i++) {
        kit_expect_works(pool);
    }
    for (int round = 0; round < 3; round++) {
        achar__task *before[COUNT], *after[COUNT];
        for (int i = 0; i < COUNT; i++) {
            before[i] = kit_submit(pool, "echo x");
        }
        achar__task *lengthy = kit_hold(pool);
        for (int i = 0; i < COUNT; i++) {
            after[i] = kit_submit(pool, "echo x");
        }
        for (int i = 0; i < COUNT; i++) {
            kit_expect(before[i], ACHAR__TASK_RETURNED, "x");
            kit_expect(after[i], ACHAR__TASK_RETURNED, "x");
        }
        kit_wait_until_running(lengthy);
        kit_open_gate();
        kit_expect(lengthy, ACHAR__TASK_RETURNED, "");
        kit_close_gate();
        for (int i = 0; i < 50; i++) { /* short again, as far as the pool knows */
            kit_expect_works(pool);
        }
    }
    kit_end(pool);
}

static void stopped_worker_holds_only_its_own(void **state)
{
    enum { COUNT = 200 };
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    for (int i = 0; i < 50; i++) {
        kit_expect_works(pool);
    }
    int pids[2];
    kit_wait_for_workers(pool, pids, 2);
    for (int round = 0; round < 4; round++) {
        int stopped = pids[round % 2];
        kill(stopped, SIGSTOP);
        achar__task *tasks[COUNT];
        for (int i = 0; i < COUNT; i++) {
            tasks[i] = kit_submit(pool, "echo x");
        }
        for (int i = 0; i < COUNT; i++) {
            kit_expect(tasks[i], ACHAR__TASK_RETURNED, "x");
        }
        kill(stopped, SIGCONT);
        kit_expect_works(pool);
    }
    kit_end(pool);
}

static void all_workers_stopped_and_continued(void **state)
{
    enum { COUNT = 200 };
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    for (int i = 0; i < 50; i++) {
        kit_expect_works(pool);
    }
    int pids[2];
    kit_wait_for_workers(pool, pids, 2);
    kill(pids[0], SIGSTOP);
    kill(pids[1], SIGSTOP);
    achar__task *tasks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        tasks[i] = kit_submit(pool, "echo x");
    }
    assert_status(achar__task_wait(tasks[0], 300 * MILLISECOND_NS), ACHAR_E_TIMEOUT);
    assert_int_equal(achar__task_cancel(tasks[1]), 1);
    kill(pids[0], SIGCONT);
    kill(pids[1], SIGCONT);
    for (int i = 0; i < COUNT; i++) {
        kit_expect(tasks[i], i == 1 ? ACHAR__TASK_CANCELLED : ACHAR__TASK_RETURNED,
                   i == 1 ? "" : "x");
    }
    /* A stopped worker does not keep the pool from being released. */
    kill(pids[0], SIGSTOP);
    achar__pool_release(pool);
    kit_expect_gone(pids[0]);
}

/* ---- the client dies ---- */

/* Everything shared with the child that plays the client. */
typedef struct client_report {
    _Atomic int count;
    int pids[8];
} client_report;

static void client_death_ends_the_workers(void **state)
{
    client_report *report =
        mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(report, MAP_FAILED);
    pid_t client = fork();
    if (client == 0) {
        achar__pool *pool = kit_pool((kit_options){.workers = 4});
        for (int i = 0; i < 4; i++) {
            kit_expect_works(pool);
        }
        /* One works, one has lost its parent-death signal and is idle, two are idle. */
        kit_submit(pool, "sleep 100000");
        kit_expect_number(kit_submit(pool, "unprivileged"));
        kit_nap_ms(50);
        kit_wait_for_workers(pool, report->pids, 4);
        atomic_store(&report->count, 4);
        for (;;) {
            pause();
        }
    }
    for (int i = 0; !atomic_load(&report->count); i++) {
        assert_true(i < 15000);
        kit_nap_ms(10);
    }
    assert_int_equal(report->count, 4);
    for (int i = 0; i < 4; i++) {
        assert_true(kit_is_alive(report->pids[i]));
    }
    kill(client, SIGKILL);
    assert_int_equal(kit_exit_code(client), 1000 + SIGKILL);
    for (int i = 0; i < 4; i++) {
        kit_expect_gone(report->pids[i]);
    }
    munmap(report, sizeof *report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(death_at_each_step),
        KIT_TEST(death_during_a_recall),
        KIT_TEST(exit_codes_and_signals_arrive),
        KIT_TEST(time_limits),
        KIT_TEST(unstarted_tasks_are_requeued),
        KIT_TEST(results_outlive_their_worker),
        KIT_TEST(full_region_does_not_stop_replacement),
        KIT_TEST(ignored_sigchld_is_no_hang),
        KIT_TEST(descendants_die_with_the_worker),
        KIT_TEST(a_fork_of_the_worker_is_inert),
        KIT_TEST(nonsense_in_shared_memory_is_not_believed),
        KIT_TEST(no_program_no_hang),
        KIT_TEST(not_started_by_a_pool),
        KIT_TEST(out_of_descriptors),
        KIT_TEST(limits_that_cannot_be_met),
        KIT_TEST(a_long_task_holds_up_nobody),
        KIT_TEST(stopped_worker_holds_only_its_own),
        KIT_TEST(all_workers_stopped_and_continued),
        KIT_TEST(client_death_ends_the_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
