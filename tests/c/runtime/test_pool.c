/* test_pool.c - the task path when nothing goes wrong: results, functions, waits, cancelling. */
#include "kit.h"

#include "runtime/sync/futex.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define MIB ((size_t)1 << 20)

/* ---- the futex core ---- */

static void count_signal(int number)
{
}

typedef struct interrupter {
    pthread_t victim, thread;
    _Atomic bool over;
    struct sigaction before;
} interrupter;

/* Again and again: the first may come before the victim waits. */
static void *interrupt_main(void *argument)
{
    interrupter *it = argument;
    while (!it->over) {
        kit_nap_ms(50);
        pthread_kill(it->victim, SIGUSR1);
    }
    return NULL;
}

static void begin_interrupts(interrupter *it)
{
    struct sigaction action = {.sa_handler = count_signal};
    sigaction(SIGUSR1, &action, &it->before);
    it->victim = pthread_self();
    it->over = false;
    assert_int_equal(pthread_create(&it->thread, NULL, interrupt_main, it), 0);
}

static void end_interrupts(interrupter *it)
{
    it->over = true;
    pthread_join(it->thread, NULL);
    sigaction(SIGUSR1, &it->before, NULL);
}

static void futex_waits_end(void **state)
{
    _Atomic uint32_t word = 5;
    assert_status(achar__futex_wait(&word, 4, false, ACHAR__NO_DEADLINE), ACHAR_OK);
    assert_status(achar__futex_wait(&word, 5, true, achar__deadline_in(MILLISECOND_NS)),
                  ACHAR_E_TIMEOUT);
    assert_true(achar__deadline_in(-1) < 0);
    assert_true(achar__deadline_in(INT64_MAX) < 0);
    assert_true(achar__deadline_in(0) > 0);

    interrupter interrupts;
    begin_interrupts(&interrupts);
    errno = 77;
    assert_status(achar__futex_wait(&word, 5, false, achar__deadline_in(ENOUGH_NS)),
                  ACHAR_E_INTERRUPTED);
    assert_int_equal(errno, 77);
    end_interrupts(&interrupts);
}

/* ---- results ---- */

static void every_size_comes_back(void **state)
{
    static const size_t sizes[] = {0,     1,       63,   64,      65,       511,
                                   513,   4095,    4096, 32768,   32769,    65535,
                                   65537, 1000000, MIB,  MIB + 1, 16 * MIB, 100000000};
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    unsigned char *bytes = malloc(100000000);
    for (size_t i = 0; i < 100000000; i++) {
        bytes[i] = (unsigned char)(i * 7 + (i >> 11));
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        achar__task *task = kit_submit_bytes(pool, function, "echo", bytes, sizes[i]);
        achar__task_result result = kit_result(task);
        assert_int_equal(result.state, ACHAR__TASK_RETURNED);
        assert_int_equal(result.nbytes, sizes[i]);
        assert_true((result.bytes == NULL) == (sizes[i] == 0));
        assert_int_equal((uintptr_t)result.bytes % 64, 0);
        assert_true(sizes[i] == 0 || memcmp(result.bytes, bytes, sizes[i]) == 0);
        achar__task_release(task);
    }
    free(bytes);
    achar__function_release(function);
    kit_end(pool);
}

static void grown_results_come_back(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    for (size_t nbytes = 1; nbytes < 50 * MIB; nbytes = nbytes * 7 + 3) {
        achar__task *task = kit_submit(pool, "big %zu", nbytes);
        achar__task_result result = kit_result(task);
        assert_int_equal(result.state, ACHAR__TASK_RETURNED);
        assert_int_equal(result.nbytes, nbytes);
        const unsigned char *bytes = result.bytes;
        for (size_t i = 0; i < nbytes; i += 1 + i / 1000) {
            assert_int_equal(bytes[i], (unsigned char)(i * 31 + (i >> 8)));
        }
        achar__task_release(task);
    }
    kit_end(pool);
}

static void raised_is_told_from_returned(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.hello = "good morning"});
    kit_expect(kit_submit(pool, "raise why"), ACHAR__TASK_RAISED, "why");
    kit_expect(kit_submit(pool, "echo why"), ACHAR__TASK_RETURNED, "why");
    kit_expect(kit_submit(pool, "none"), ACHAR__TASK_RETURNED, "");
    kit_expect(kit_submit(pool, "hello"), ACHAR__TASK_RETURNED, "good morning");
    kit_expect(kit_submit(pool, "function"), ACHAR__TASK_RETURNED, "function");
    kit_end(pool);
}

static void a_task_may_have_no_arguments(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *task;
    assert_status(achar__pool_submit(pool, function, NULL, 0, NULL, &task), ACHAR_OK);
    kit_expect(task, ACHAR__TASK_RETURNED, "");
    assert_status(achar__pool_submit(pool, function, NULL, 1, NULL, &task), ACHAR_E_INVALID);
    achar__function_release(function);
    kit_end(pool);
}

static void workers_inherit_nothing(void **state)
{
    /* A descriptor without close-on-exec, a blocked and an ignored signal. */
    int fd = dup(1);
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    void (*handler)(int) = signal(SIGUSR1, SIG_IGN);
    achar__pool *pool = kit_pool((kit_options){0});
    kit_expect(kit_submit(pool, "mask"), ACHAR__TASK_RETURNED, "clean");
    kit_expect(kit_submit(pool, "environ ACHAR_WORKER"), ACHAR__TASK_RETURNED, "(none)");
    signal(SIGUSR1, handler);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fd);
    kit_end(pool);
}

/* ---- functions ---- */

static long id_of(achar__pool *pool, const char *bytes, uint32_t flags)
{
    achar__function *function;
    assert_status(achar__pool_function(pool, bytes, strlen(bytes), flags, &function), ACHAR_OK);
    achar__task *task = kit_submit_bytes(pool, function, "id", NULL, 0);
    achar__function_release(function);
    return kit_expect_number(task);
}

static void same_function_same_id(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.region_nbytes = 64 * MIB});
    long first = id_of(pool, "one", 0);
    long second = id_of(pool, "two", 0);
    assert_true(first != second);
    assert_int_equal(id_of(pool, "one", 0), first);
    assert_true(id_of(pool, "one", 1) != first);
    assert_int_equal(id_of(pool, "two", 0), second);

    /* Far more functions than are kept: the first is forgotten, its id is not used again. */
    char text[64];
    for (int i = 0; i < 3000; i++) {
        achar__function *function;
        snprintf(text, sizeof text, "function number %d", i);
        assert_status(achar__pool_function(pool, text, strlen(text), 0, &function), ACHAR_OK);
        achar__function_release(function);
    }
    assert_true(id_of(pool, "one", 0) > 3000);

    /* 400 MB of them: those that nobody refers to make room in 64. */
    size_t nbytes = 4 * MIB;
    char *bytes = calloc(1, nbytes);
    for (int i = 0; i < 100; i++) {
        achar__function *function;
        memcpy(bytes, &i, sizeof i);
        assert_status(achar__pool_function(pool, bytes, nbytes, 0, &function), ACHAR_OK);
        achar__function_release(function);
    }
    free(bytes);
    kit_end(pool);
}

/* ---- many tasks ---- */

typedef struct sender {
    achar__pool *pool;
    int number, count;
} sender;

static void *sender_main(void *argument)
{
    sender *job = argument;
    enum { AT_ONCE = 100 };
    achar__task *tasks[AT_ONCE];
    char text[64];
    for (int done = 0; done < job->count; done += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            tasks[i] = kit_submit(job->pool, "echo %d:%d", job->number, done + i);
        }
        for (int i = AT_ONCE; i-- > 0;) {
            snprintf(text, sizeof text, "%d:%d", job->number, done + i);
            kit_expect(tasks[i], ACHAR__TASK_RETURNED, text);
        }
    }
    return NULL;
}

static void many_tasks_from_many_threads(void **state)
{
    enum { THREADS = 4 };
#ifdef __SANITIZE_THREAD__ /* a process takes half a second to start */
    static const unsigned worker_counts[] = {1, 3, 5};
#else
    static const unsigned worker_counts[] = {1, 3, 5, 64};
#endif
    for (size_t k = 0; k < sizeof worker_counts / sizeof *worker_counts; k++) {
        achar__pool *pool = kit_pool((kit_options){.workers = worker_counts[k]});
        pthread_t threads[THREADS];
        sender jobs[THREADS];
        for (int i = 0; i < THREADS; i++) {
            jobs[i] = (sender){.pool = pool, .number = i, .count = KIT_MANY(3000)};
            assert_int_equal(pthread_create(&threads[i], NULL, sender_main, &jobs[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        kit_end(pool);
    }
}

static void one_after_the_other(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    for (int i = 0; i < 3000; i++) {
        kit_expect(kit_submit(pool, "echo again"), ACHAR__TASK_RETURNED, "again");
    }
    kit_end(pool);
}

static void more_waiters_than_bells(void **state)
{
    enum { THREADS = 80 };
    achar__pool *pool = kit_pool((kit_options){0});
    pthread_t threads[THREADS];
    sender jobs[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (sender){.pool = pool, .number = i, .count = 100};
        assert_int_equal(pthread_create(&threads[i], NULL, sender_main, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    kit_end(pool);
}

/* ---- waiting ---- */

static void *wait_main(void *task)
{
    return (void *)(intptr_t)achar__task_wait(task, ENOUGH_NS);
}

static void several_wait_for_one(void **state)
{
    enum { THREADS = 8 };
    achar__pool *pool = kit_pool((kit_options){0});
    achar__task *task = kit_submit(pool, "sleep 100");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_main, task), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *status;
        pthread_join(threads[i], &status);
        assert_int_equal((intptr_t)status, ACHAR_OK);
    }
    achar__task_release(task);
    kit_end(pool);
}

static void waits_time_out_and_are_interrupted(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__task *task = kit_hold(pool);
    assert_status(achar__task_wait(task, 0), ACHAR_E_TIMEOUT);
    assert_status(achar__task_wait(task, MILLISECOND_NS), ACHAR_E_TIMEOUT);
    achar__task *none;
    assert_status(achar__pool_next_watched(pool, MILLISECOND_NS, &none), ACHAR_E_TIMEOUT);

    interrupter interrupts;
    begin_interrupts(&interrupts);
    assert_status(achar__task_wait(task, -1), ACHAR_E_INTERRUPTED);
    end_interrupts(&interrupts);
    kit_open_gate();
    kit_expect(task, ACHAR__TASK_RETURNED, "");
    kit_close_gate();
    kit_end(pool);
}

static void state_of_a_task(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    kit_expect_works(pool);
    achar__task *first = kit_hold(pool);
    achar__task *second = kit_submit(pool, "echo 2");
    kit_wait_until_running(first);
    assert_int_equal(achar__task_state_of(second), ACHAR__TASK_QUEUED);
    kit_open_gate();
    kit_expect(second, ACHAR__TASK_RETURNED, "2");
    kit_close_gate();
    kit_expect(first, ACHAR__TASK_RETURNED, "");
    kit_end(pool);
}

/* ---- cancelling ---- */

static void cancel_what_has_not_started(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    achar__task *tasks[20];
    /* The pool learns that these tasks are short, so it puts several into the worker's ring. */
    for (int i = 0; i < 20; i++) {
        kit_expect_works(pool);
    }
    achar__task *running = kit_hold(pool);
    for (int i = 0; i < 20; i++) {
        tasks[i] = kit_submit(pool, "echo %d", i);
    }
    kit_wait_until_running(running);
    assert_int_equal(achar__task_cancel(running), 0);
    for (int i = 0; i < 20; i += 2) {
        assert_int_equal(achar__task_cancel(tasks[i]), 1);
        assert_int_equal(achar__task_cancel(tasks[i]), 1);
    }
    kit_open_gate();
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        kit_expect(tasks[i], i % 2 ? ACHAR__TASK_RETURNED : ACHAR__TASK_CANCELLED,
                   i % 2 ? text : "");
    }
    kit_close_gate();
    assert_int_equal(achar__task_cancel(running), 0);
    kit_expect(running, ACHAR__TASK_RETURNED, "");
    kit_end(pool);
}

static void cancel_all_that_is_queued(void **state)
{
    enum { COUNT = 500 };
    achar__pool *pool = kit_pool((kit_options){0});
    achar__task *tasks[COUNT];
    for (int i = 0; i < COUNT; i++) { /* one worker goes on meanwhile, one does not */
        tasks[i] =
            i == COUNT / 4 || i == COUNT / 2 ? kit_hold(pool) : kit_submit(pool, "spin 1000");
    }
    assert_int_equal(kit_result(tasks[0]).state, ACHAR__TASK_RETURNED);
    kit_wait_until_running(tasks[COUNT / 4]);
    size_t cancelled = achar__pool_cancel_queued(pool);
    assert_in_range(cancelled, 1, COUNT - 1);
    kit_open_gate();
    size_t seen = 0;
    for (int i = 0; i < COUNT; i++) {
        achar__task_result result = kit_result(tasks[i]);
        assert_true(result.state == ACHAR__TASK_CANCELLED || result.state == ACHAR__TASK_RETURNED);
        seen += result.state == ACHAR__TASK_CANCELLED;
        achar__task_release(tasks[i]);
    }
    assert_int_equal(seen, cancelled);
    kit_close_gate();
    kit_expect_works(pool);
    kit_end(pool);
}

/* Recalls while the worker claims: what is cancelled has not run, what has run is not cancelled.
 * Who wins is the scheduler's choice, so it goes on until both have won often enough. */
static void cancel_races_with_claiming(void **state)
{
    enum { COUNT = 64, ROUNDS = 300, ROUNDS_MAX = 5000, OFTEN = 100 };
    achar__pool *pool = kit_pool((kit_options){.workers = 2});
    unsigned seed = 3;
    int cancelled_count = 0, returned_count = 0;
    for (int round = 0; round < ROUNDS || (round < ROUNDS_MAX &&
                                           (cancelled_count <= OFTEN || returned_count <= OFTEN));
         round++) {
        achar__task *tasks[COUNT];
        int claimed_cancelled[COUNT] = {0};
        for (int i = 0; i < COUNT; i++) {
            tasks[i] = kit_submit(pool, "echo %d.%d", round, i);
        }
        for (int i = 0; i < COUNT / 2; i++) {
            int at = rand_r(&seed) % COUNT;
            claimed_cancelled[at] |= achar__task_cancel(tasks[at]);
        }
        for (int i = 0; i < COUNT; i++) {
            char text[32];
            snprintf(text, sizeof text, "%d.%d", round, i);
            cancelled_count += claimed_cancelled[i];
            returned_count += !claimed_cancelled[i];
            kit_expect(tasks[i],
                       claimed_cancelled[i] ? ACHAR__TASK_CANCELLED : ACHAR__TASK_RETURNED,
                       claimed_cancelled[i] ? "" : text);
        }
    }
    assert_true(cancelled_count > OFTEN);
    assert_true(returned_count > OFTEN);
    kit_end(pool);
}

/* ---- watching ---- */

typedef struct watcher {
    achar__pool *pool;
    int counts[1000];
    int total;
} watcher;

static void *watch_main(void *argument)
{
    watcher *it = argument;
    achar__task *task;
    int status;
    while ((status = achar__pool_next_watched(it->pool, ENOUGH_NS, &task)) == ACHAR_OK) {
        assert_true(ACHAR__TASK_FINISHED(achar__task_state_of(task)));
        it->counts[(intptr_t)achar__task_user(task)]++;
        it->total++;
        achar__task_release(task);
    }
    return (void *)(intptr_t)status;
}

static void watched_tasks_are_handed_out_once(void **state)
{
    watcher it = {.pool = kit_pool((kit_options){0})};
    pthread_t thread;
    int expected[1000], expected_total = 0;
    assert_int_equal(pthread_create(&thread, NULL, watch_main, &it), 0);
    achar__task *held[2] = {kit_hold(it.pool), kit_hold(it.pool)};
    for (int i = 0; i < 1000; i++) { /* half of them while nothing can end */
        achar__task *task = kit_submit(it.pool, i % 100 == 99 ? "exit 1" : "echo x");
        expected[i] = achar__task_watch(task, (void *)(intptr_t)i);
        expected_total += expected[i];
        achar__task_release(task);
        if (i == 499) {
            assert_int_equal(expected_total, 500);
            kit_open_gate();
        }
    }
    kit_expect(held[0], ACHAR__TASK_RETURNED, "");
    kit_expect(held[1], ACHAR__TASK_RETURNED, "");
    kit_close_gate();
    achar__pool_close(it.pool);
    void *status;
    pthread_join(thread, &status);
    assert_int_equal((intptr_t)status, ACHAR_E_CLOSED);
    assert_memory_equal(it.counts, expected, sizeof expected);
    achar__task *none;
    assert_status(achar__pool_next_watched(it.pool, -1, &none), ACHAR_E_CLOSED);
    kit_end(it.pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(futex_waits_end),
        KIT_TEST(every_size_comes_back),
        KIT_TEST(grown_results_come_back),
        KIT_TEST(raised_is_told_from_returned),
        KIT_TEST(a_task_may_have_no_arguments),
        KIT_TEST(workers_inherit_nothing),
        KIT_TEST(same_function_same_id),
        KIT_TEST(many_tasks_from_many_threads),
        KIT_TEST(one_after_the_other),
        KIT_TEST(more_waiters_than_bells),
        KIT_TEST(several_wait_for_one),
        KIT_TEST(waits_time_out_and_are_interrupted),
        KIT_TEST(state_of_a_task),
        KIT_TEST(cancel_what_has_not_started),
        KIT_TEST(cancel_all_that_is_queued),
        KIT_TEST(cancel_races_with_claiming),
        KIT_TEST(watched_tasks_are_handed_out_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
