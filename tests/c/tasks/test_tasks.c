/* test_tasks.c - a C client and C workers: values there and back, failures in words, deaths. */
#include <achar/achar.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND_NS INT64_C(1000000000)
#define LIMIT_NS  (150 * SECOND_NS)

static achar_pool *open_pool(unsigned worker_count)
{
    const char *const program[] = {getenv("ACHAR_TASK_WORKER"), NULL};
    const achar_pool_options options = {.program = program, .worker_count = worker_count};
    achar_pool *pool = NULL;
    achar_error error = {.message = ""};
    int status = achar_pool_open(&options, &pool, &error);
    if (status != ACHAR_OK) {
        fail_msg("%d: %s", status, error.message);
    }
    return pool;
}

/* One task of numbers. */
static achar_task *submit(achar_pool *pool, const char *name, size_t count, const int64_t *numbers,
                          const achar_task_options *options)
{
    achar_value items[8];
    achar_task *task = NULL;
    achar_error error = {.message = ""};
    achar_graph *arguments = achar_graph_new(NULL);
    for (size_t i = 0; i < count; i++) {
        items[i] = achar_make_int(numbers[i]);
    }
    achar_set_root(arguments, achar_make_tuple(arguments, items, count));
    int status = achar_pool_submit(pool, name, arguments, achar_nothing(), options, &task, &error);
    if (status != ACHAR_OK) {
        fail_msg("%s: %s", name, error.message);
    }
    achar_graph_free(arguments);
    return task;
}

static achar_task *submit1(achar_pool *pool, const char *name, int64_t number)
{
    return submit(pool, name, 1, &number, NULL);
}

static void expect_int(achar_task *task, int64_t expected)
{
    int status = achar_task_wait(task, LIMIT_NS);
    if (status != ACHAR_OK) {
        const achar_failure *failure = achar_task_failure(task);
        fail_msg("%s: %s", achar_status_name(status), failure ? failure->message : "");
    }
    assert_int_equal(achar_int64(achar_task_result(task)), expected);
    assert_null(achar_task_failure(task));
    achar_task_free(task);
}

/* The failure's text begins with 'text'. */
static void expect_failure(achar_task *task, int status, const char *type, const char *text)
{
    assert_int_equal(achar_task_wait(task, LIMIT_NS), status);
    const achar_failure *failure = achar_task_failure(task);
    assert_non_null(failure);
    assert_int_equal(failure->status, status);
    assert_string_equal(failure->type, type);
    if (strncmp(failure->message, text, strlen(text)) != 0) {
        fail_msg("'%s' does not begin with '%s'", failure->message, text);
    }
    assert_int_equal(achar_kind(achar_task_result(task)), ACHAR_NOTHING);
    achar_task_free(task);
}

static void test_values_there_and_back(void **state)
{
    (void)state;
    achar_pool *pool = open_pool(2);
    const int64_t numbers[] = {1, -2, INT64_C(1) << 40};
    expect_int(submit(pool, "add", 3, numbers, NULL), (INT64_C(1) << 40) - 1);
    expect_int(submit(pool, "add", 0, NULL, NULL), 0);

    achar_graph *graph = achar_graph_new(NULL);
    achar_value list = achar_make_list(graph), keywords = achar_make_dict(graph);
    achar_append(graph, list, achar_make_str(graph, "text \xc3\xa9"));
    achar_append(graph, list, achar_make_bytes(graph, "\0\xff", 2));
    achar_append(graph, list, achar_make_float(0.5));
    achar_append(graph, list, list); /* itself */
    achar_set_root(graph, achar_make_tuple(graph, &list, 1));
    achar_put(graph, keywords, "more", achar_make_int(5));

    achar_task *task = NULL;
    achar_value root = achar_root(graph);
    for (int again = 0; again < 2; again++) { /* the graph is as it was */
        assert_int_equal(achar_pool_submit(pool, "echo", graph, achar_nothing(), NULL, &task, NULL),
                         ACHAR_OK);
        assert_true(achar_same(root, achar_root(graph)));
        assert_int_equal(achar_task_wait(task, LIMIT_NS), ACHAR_OK);
        achar_value back = achar_task_result(task);
        assert_true(achar_text_is(achar_item(back, 0), "text \xc3\xa9"));
        assert_true(achar_same(achar_item(back, 3), back));
        achar_task_free(task);
    }
    assert_int_equal(achar_pool_submit(pool, "add", NULL, achar_nothing(), NULL, &task, NULL),
                     ACHAR_OK);
    expect_int(task, 0);
    achar_set_root(graph, achar_make_tuple(graph, NULL, 0));
    assert_int_equal(achar_pool_submit(pool, "add", graph, keywords, NULL, &task, NULL), ACHAR_OK);
    expect_int(task, 5);
    achar_graph_free(graph);

    task = submit(pool, "nothing", 0, NULL, NULL);
    assert_int_equal(achar_task_wait(task, LIMIT_NS), ACHAR_OK);
    assert_int_equal(achar_kind(achar_task_result(task)), ACHAR_NONE);
    achar_pool_close(pool); /* what the client still has stays readable */
    assert_int_equal(achar_kind(achar_root(achar_task_graph(task))), ACHAR_NONE);
    achar_task_free(task);
}

static void test_large_results(void **state)
{
    (void)state;
    achar_pool *pool = open_pool(2);
    static const int64_t sizes[] = {0, 1, 1000, 70000, 5000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        achar_task *task = submit1(pool, "fill", sizes[i]);
        assert_int_equal(achar_task_wait(task, LIMIT_NS), ACHAR_OK);
        size_t nbytes;
        const unsigned char *data = achar_data(achar_task_result(task), &nbytes);
        assert_int_equal(nbytes, sizes[i]);
        assert_true(nbytes == 0 || (data[0] == 'a' && data[nbytes - 1] == 'a'));
        achar_task_free(task);
    }
    achar_pool_close(pool);
}

static void test_failures_in_words(void **state)
{
    (void)state;
    achar_pool *pool = open_pool(2);
    achar_graph *graph = achar_graph_new(NULL);
    achar_value items[] = {achar_make_str(graph, "KeyError"),
                           achar_make_str(graph, "what \xc3\xa9")};
    achar_task *task = NULL;
    achar_set_root(graph, achar_make_tuple(graph, items, 2));
    assert_int_equal(achar_pool_submit(pool, "raise", graph, achar_nothing(), NULL, &task, NULL),
                     ACHAR_OK);
    assert_int_equal(achar_task_wait(task, LIMIT_NS), ACHAR_E_RAISED);
    assert_non_null(strstr(achar_task_failure(task)->traceback, "task 'raise'"));
    expect_failure(task, ACHAR_E_RAISED, "KeyError", "what \xc3\xa9");
    achar_graph_free(graph);

    expect_failure(submit1(pool, "fail", ACHAR_E_IO), ACHAR_E_RAISED, "RuntimeError",
                   "the task 'fail' returned -4 (input or output failed)");
    expect_failure(submit1(pool, "no_such", 1), ACHAR_E_RAISED, "LookupError",
                   "this worker has no task 'no_such'");
    expect_failure(submit1(pool, "broken_result", 1), ACHAR_E_RAISED, "ValueError",
                   "the result of 'broken_result' cannot be written");
    expect_failure(submit1(pool, "raise_bytes", 1), ACHAR_E_RAISED, "ValueError", "caf?");
    expect_int(submit1(pool, "add", 7), 7);
    achar_pool_close(pool);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    achar_pool *pool = NULL;
    achar_task *task = NULL;
    achar_error error;
    const char *const empty[] = {NULL};
    const achar_pool_options no_program = {.program = empty}, many = {.worker_count = 1025};
    assert_int_equal(achar_pool_open(&no_program, &pool, &error), ACHAR_E_INVALID);
    assert_int_equal(achar_pool_open(&many, &pool, NULL), ACHAR_E_INVALID);
    assert_null(pool);
    achar_pool_close(NULL);
    achar_task_free(NULL);
    assert_int_equal(achar_task_wait(NULL, 0), ACHAR_E_INVALID);
    assert_null(achar_task_failure(NULL));
    assert_int_equal(achar_task_cancel(NULL, 1), 0);

    pool = open_pool(1);
    achar_graph *graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_list(graph));
    assert_int_equal(achar_pool_submit(pool, "add", graph, achar_nothing(), NULL, &task, &error),
                     ACHAR_E_TYPE);
    assert_string_equal(error.message, "the root of the arguments is no tuple");
    achar_set_root(graph, achar_make_tuple(graph, NULL, 0));
    assert_int_equal(achar_pool_submit(pool, "add", graph, achar_make_int(1), NULL, &task, &error),
                     ACHAR_E_TYPE);
    const achar_task_options bad = {.retry_count = 1001};
    assert_int_equal(achar_pool_submit(pool, "add", graph, achar_nothing(), &bad, &task, &error),
                     ACHAR_E_INVALID);
    assert_int_equal(achar_pool_submit(NULL, "add", graph, achar_nothing(), NULL, &task, NULL),
                     ACHAR_E_INVALID);
    assert_null(task);
    achar_make_str(graph, "\xff"); /* spoils it */
    assert_int_equal(achar_pool_submit(pool, "add", graph, achar_nothing(), NULL, &task, NULL),
                     ACHAR_E_TEXT);
    achar_graph_free(graph);

    const achar_pool_options python = {.worker_count = 1, .python = "/no/such/python"};
    achar_pool *other = NULL;
    assert_int_equal(achar_pool_open(&python, &other, NULL), ACHAR_OK);
    assert_int_equal(
        achar_pool_submit(other, "factorial", NULL, achar_nothing(), NULL, &task, &error),
        ACHAR_E_INVALID);
    assert_int_equal(
        achar_pool_submit(other, "math:factorial", NULL, achar_nothing(), NULL, &task, &error),
        ACHAR_OK);
#ifdef __SANITIZE_THREAD__ /* it makes vfork a fork: the client sees the child's exit, not its error */
    expect_failure(task, ACHAR_E_NO_WORKERS, "", "no worker process gets ready");
#else
    expect_failure(task, ACHAR_E_NO_WORKERS, "", "no worker process can be started: No such file");
#endif
    achar_pool_close(other);
    expect_int(submit1(pool, "add", 7), 7);
    achar_pool_close(pool);
    assert_int_equal(achar_worker_open(&(achar_worker *){NULL}),
                     ACHAR_E_INVALID); /* not a worker */
}

/* A death takes one task along; siblings and the next ones succeed. */
static void test_deaths(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t argument;
        int exit_code, signal;
    } deaths[] = {
        {"crash", SIGSEGV, -1, SIGSEGV},
        {"abort", 0, -1, SIGABRT},
        {"crash", SIGKILL, -1, SIGKILL},
        {"exit", 7, 7, 0},
        {"exit", 0, 0, 0},
    };
    achar_pool *pool = open_pool(2);
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        achar_task *before[20], *after[20];
        for (int k = 0; k < 20; k++) {
            before[k] = submit1(pool, "add", k);
        }
        achar_task *fatal = submit1(pool, deaths[i].name, deaths[i].argument);
        for (int k = 0; k < 20; k++) {
            after[k] = submit1(pool, "add", k);
        }
        assert_int_equal(achar_task_wait(fatal, LIMIT_NS), ACHAR_E_WORKER_DIED);
        assert_int_equal(achar_task_failure(fatal)->signal, deaths[i].signal);
        assert_int_equal(achar_task_failure(fatal)->exit_code, deaths[i].exit_code);
        assert_true(achar_task_failure(fatal)->pid > 0);
        expect_failure(fatal, ACHAR_E_WORKER_DIED, "", "its worker process (pid ");
        for (int k = 0; k < 20; k++) {
            expect_int(before[k], k);
            expect_int(after[k], k);
        }
    }
    achar_pool_close(pool);
}

static void test_time_limits_and_cancelling(void **state)
{
    (void)state;
    achar_pool *pool = open_pool(2);
    const achar_task_options limit = {.time_limit_ns = SECOND_NS / 5};
    achar_task *deaf = submit(pool, "hang", 0, NULL, &limit);
    achar_task *polite = submit(pool, "wait", 0, NULL, &limit);
    /* One that stands still for a second longer is killed, as if it were deaf. */
    assert_int_equal(achar_task_wait(polite, LIMIT_NS), ACHAR_E_OVERDUE);
    if (achar_task_failure(polite)->type[0]) {
        expect_failure(polite, ACHAR_E_OVERDUE, "TimeoutError", "the task's time limit has passed");
    } else {
        expect_failure(polite, ACHAR_E_OVERDUE, "", "its time limit of 0.2 s has passed");
    }
    expect_failure(deaf, ACHAR_E_OVERDUE, "", "its time limit of 0.2 s has passed");

    achar_task *first = submit(pool, "hang", 0, NULL, NULL);
    achar_task *second = submit(pool, "wait", 0, NULL, NULL);
    achar_task *third = submit1(pool, "add", 1);
    assert_int_equal(achar_task_wait(first, SECOND_NS / 50), ACHAR_E_TIMEOUT);
    assert_int_equal(achar_task_wait(first, 0), ACHAR_E_TIMEOUT);
    assert_null(achar_task_failure(first));
    assert_int_equal(achar_task_cancel(third, 0), 1);
    expect_failure(third, ACHAR_E_CANCELLED, "", "it was cancelled");
    assert_int_equal(achar_task_cancel(first, 1), 1);
    assert_int_equal(achar_task_cancel(second, 1), 1);
    expect_failure(first, ACHAR_E_CANCELLED, "", "it was cancelled");
    expect_failure(second, ACHAR_E_CANCELLED, "", "it was cancelled");
    expect_int(submit1(pool, "add", 3), 3);

    const achar_task_options again = {.retry_count = 2, .backoff_ns = 1};
    const int64_t signal_number = SIGKILL;
    expect_failure(submit(pool, "crash", 1, &signal_number, &again), ACHAR_E_WORKER_DIED, "",
                   "its ");
    achar_pool_close(pool);
}

static void test_the_end_of_a_pool(void **state)
{
    (void)state;
    achar_pool *pool = open_pool(1);
    achar_task *task = submit(pool, "hang", 0, NULL, NULL), *late = NULL;
    achar_pool_kill(pool);
    expect_failure(task, ACHAR_E_CLOSED, "", "the pool was killed");
    assert_int_equal(achar_pool_submit(pool, "add", NULL, achar_nothing(), NULL, &late, NULL),
                     ACHAR_E_CLOSED);
    achar_pool_close(pool);

    pool = open_pool(1); /* close() waits for what was submitted */
    task = submit1(pool, "add", 5);
    pid_t child = fork();
    if (child == 0) { /* its copies are inert */
        achar_task *none = NULL;
        int refused = achar_pool_submit(pool, "add", NULL, achar_nothing(), NULL, &none, NULL);
        _exit(refused == ACHAR_E_CLOSED && !none ? 0 : 1);
    }
    int ended = -1;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_int_equal(ended, 0);
    achar_pool_close(pool);
    expect_int(task, 5);

    const char *const program[] = {getenv("ACHAR_TASK_WORKER"), "--refuse", NULL};
    const achar_pool_options options = {.program = program, .worker_count = 1};
    assert_int_equal(achar_pool_open(&options, &pool, NULL), ACHAR_OK);
    task = submit1(pool, "add", 5);
    expect_failure(task, ACHAR_E_NO_WORKERS, "",
                   "no worker process gets ready: the last one (pid ");
    achar_pool_close(pool);
}

typedef struct storm {
    achar_pool *pool;
    int failures;
} storm;

static void *submit_many(void *argument)
{
    storm *it = argument;
    enum { COUNT = 250 };
    achar_task *tasks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const int64_t pair[] = {i, 1};
        tasks[i] = submit(it->pool,
                          i % 10 == 9   ? "fail"
                          : i % 50 == 3 ? "exit"
                                        : "add",
                          2, pair, NULL);
    }
    for (int i = 0; i < COUNT; i++) {
        int wanted = i % 10 == 9 ? ACHAR_E_RAISED : i % 50 == 3 ? ACHAR_E_WORKER_DIED : ACHAR_OK;
        int status = achar_task_wait(tasks[i], LIMIT_NS);
        it->failures += status != wanted ||
                        (status == ACHAR_OK && achar_int64(achar_task_result(tasks[i])) != i + 1);
        achar_task_free(tasks[i]);
    }
    return NULL;
}

static void test_four_threads_of_a_client(void **state)
{
    (void)state;
    pthread_t threads[4];
    storm storms[4];
    achar_pool *pool = open_pool(3);
    for (int i = 0; i < 4; i++) {
        storms[i] = (storm){pool, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &storms[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(storms[i].failures, 0);
    }
    achar_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_there_and_back),
        cmocka_unit_test(test_large_results),
        cmocka_unit_test(test_failures_in_words),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_time_limits_and_cancelling),
        cmocka_unit_test(test_the_end_of_a_pool),
        cmocka_unit_test(test_four_threads_of_a_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
