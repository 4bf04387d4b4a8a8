/* test_graph.c - tasks that read other tasks' results: order, failure, ends, long chains and wide fans. */
#include "kit.h"

#include "runtime/pool/pool_internal.h"

#include <signal.h>
#include <stdlib.h>

enum { MANY = KIT_MANY(100000) };

static achar__task *submit_on(achar__pool *pool, achar__function *function, const char *command,
                              achar__task *const *inputs, size_t count)
{
    achar__block block;
    achar__task *task = NULL;
    achar__task_options options = {.inputs = inputs, .input_count = count, .args_kind = 1};
    assert_status(achar__pool_block_reserve(pool, strlen(command) + 1, &block), ACHAR_OK);
    memcpy(block.data, command, strlen(command) + 1);
    assert_status(achar__pool_submit(pool, function, &block, strlen(command), &options, &task),
                  ACHAR_OK);
    return task;
}

static achar__task *put_text(achar__pool *pool, const char *text)
{
    achar__block block;
    achar__task *task = NULL;
    assert_status(achar__pool_block_reserve(pool, strlen(text), &block), ACHAR_OK);
    memcpy(block.data, text, strlen(text));
    assert_status(achar__pool_put(pool, &block, strlen(text), 7, &task), ACHAR_OK);
    return task;
}

static void expect_cause(achar__task *task, achar__task *cause, const char *label)
{
    achar__task_result result = kit_result(task);
    assert_int_equal(result.state, ACHAR__TASK_INPUT_FAILED);
    assert_ptr_equal(result.cause, cause);
    assert_string_equal(achar__task_label(result.cause), label);
    achar__task_release(task);
}

static void inputs_arrive_in_order(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *a = kit_submit(pool, "echo a"), *slow = kit_submit(pool, "sleep 50");
    achar__task *b = put_text(pool, "bee");
    achar__task *c = submit_on(pool, function, "join", (achar__task *[]){a, slow, b, a}, 4);
    achar__task *d = submit_on(pool, function, "join", (achar__task *[]){c, c}, 2);
    achar__task_release(slow);
    achar__task_release(c);
    kit_expect(d, ACHAR__TASK_RETURNED, "abeeaabeea");
    kit_expect(b, ACHAR__TASK_RETURNED, "bee");
    kit_expect(a, ACHAR__TASK_RETURNED, "a");
    achar__function_release(function);
    kit_end(pool);
}

static void a_failure_has_one_cause(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *bad = kit_submit(pool, "raise why"), *slow = kit_submit(pool, "sleep 600000");
    achar__task_set_label(bad, "bad");
    achar__task_set_label(bad, "not this");
    achar__task *first = submit_on(pool, function, "join", (achar__task *[]){slow, bad}, 2);
    achar__task *second = submit_on(pool, function, "join", (achar__task *[]){first}, 1);
    expect_cause(first, bad, "bad"); /* at once, not after the other */
    expect_cause(second, bad, "bad");
    expect_cause(submit_on(pool, function, "join", &bad, 1), bad, "bad");
    assert_int_equal(achar__task_cancel_by_force(slow), 1);
    kit_expect(slow, ACHAR__TASK_CANCELLED, "");
    achar__task_release(bad);
    achar__task *dies = kit_submit(pool, "exit 3");
    achar__task_set_label(dies, "dies");
    expect_cause(submit_on(pool, function, "join", &dies, 1), dies, "dies");
    achar__task_release(dies);
    kit_expect_works(pool);
    achar__function_release(function);
    kit_end(pool);
}

static void cancelling_goes_down(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    achar__function *function = kit_function(pool);
    achar__task *running = kit_hold(pool), *queued = kit_submit(pool, "echo x");
    achar__task_set_label(queued, "queued");
    achar__task *waiting = submit_on(pool, function, "join", &running, 1);
    achar__task *behind = submit_on(pool, function, "join", &queued, 1);
    assert_int_equal(achar__task_cancel(waiting), 1);
    assert_int_equal(achar__task_cancel(queued), 1);
    expect_cause(behind, queued, "queued");
    kit_expect(waiting, ACHAR__TASK_CANCELLED, "");
    kit_wait_until_running(running);
    waiting = submit_on(pool, function, "join", &running, 1);
    achar__task *more = submit_on(pool, function, "join", &waiting, 1);
    assert_int_equal(achar__pool_cancel_queued(pool), 2);
    kit_expect(waiting, ACHAR__TASK_CANCELLED, "");
    kit_expect(more, ACHAR__TASK_CANCELLED, "");
    kit_open_gate();
    kit_expect(running, ACHAR__TASK_RETURNED, "");
    kit_close_gate();
    kit_expect(queued, ACHAR__TASK_CANCELLED, "");
    achar__function_release(function);
    kit_end(pool);
}

static void a_closed_pool_does_what_waits(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.max_tasks_per_worker = 1});
    achar__function *function = kit_function(pool);
    achar__task *task = kit_submit(pool, "echo x");
    for (int i = 0; i < 5; i++) {
        achar__task *next = submit_on(pool, function, "join", (achar__task *[]){task, task}, 2);
        achar__task_release(task);
        task = next;
    }
    achar__function_release(function);
    achar__pool_close(pool);
    kit_expect(task, ACHAR__TASK_RETURNED, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    kit_end(pool);
}

static void a_killed_pool_fails_what_waits(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *slow = kit_submit(pool, "sleep 600000");
    achar__task_set_label(slow, "slow");
    achar__task *waiting = submit_on(pool, function, "join", &slow, 1);
    achar__pool_kill(pool);
    expect_cause(waiting, slow, "slow");
    kit_expect(slow, ACHAR__TASK_ABANDONED, "");
    achar__function_release(function);
    kit_end(pool);
}

static void results_outlive_their_worker(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    achar__function *function = kit_function(pool);
    achar__task *kept = kit_submit(pool, "echo kept");
    kit_result(kept); /* looked at, so it stays where it stands */
    kit_expect_death(kit_submit(pool, "signal 9"), ACHAR__TASK_LOST, -1, SIGKILL);
    achar__task *joined = submit_on(pool, function, "join", (achar__task *[]){kept, kept}, 2);
    kit_expect(joined, ACHAR__TASK_RETURNED, "keptkept");
    kit_expect(kept, ACHAR__TASK_RETURNED, "kept");
    achar__function_release(function);
    kit_end(pool);
}

/* 16 MiB in a region of 64: what is read and let go of must not pile up. */
static void memory_comes_back(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.region_nbytes = (size_t)64 << 20});
    achar__function *function = kit_function(pool);
    for (int i = 0; i < 20; i++) {
        achar__task *big = kit_submit(pool, "big %d", 16 << 20);
        achar__task *joined = submit_on(pool, function, "join", &big, 1);
        achar__task_release(big);
        assert_int_equal(kit_result(joined).nbytes, 16 << 20);
        achar__task_release(joined);
    }
    /* An input that does not fit beside what is there: that is said, and nothing else suffers. */
    achar__block block;
    achar__task *put, *big = kit_submit(pool, "big %d", 24 << 20);
    assert_status(achar__pool_block_reserve(pool, (size_t)48 << 20, &block), ACHAR_OK);
    assert_status(achar__pool_put(pool, &block, (size_t)48 << 20, 0, &put), ACHAR_OK);
    achar__task *starved = submit_on(pool, function, "join", &big, 1);
    assert_int_equal(kit_result(starved).state, ACHAR__TASK_STARVED);
    achar__task_release(starved);
    achar__task_release(put);
    achar__task *joined = submit_on(pool, function, "join", &big, 1);
    assert_int_equal(kit_result(joined).nbytes, 24 << 20);
    achar__task_release(joined);
    achar__task_release(big);
    kit_expect_works(pool);
    achar__function_release(function);
    kit_end(pool);
}

/* A result may refer to its task's arguments, which are there as long as it is. */
static void arguments_are_kept(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    kit_expect_works(pool);
    size_t before_nbytes = achar__pool_usage_of(pool).client_nbytes;
    for (int i = 0; i < 100; i++) {
        achar__task *keeps = submit_on(pool, function, "keep these words", NULL, 0);
        achar__task *shows = submit_on(pool, function, "show-kept", &keeps, 1);
        achar__task *other = submit_on(pool, function, "echo x", NULL, 0);
        achar__task *none = submit_on(pool, function, "show-kept", &other, 1);
        achar__task_result result = kit_result(keeps);
        assert_int_equal(result.kept_nbytes, 16);
        assert_memory_equal(result.kept, "keep these words", 16);
        kit_expect(shows, ACHAR__TASK_RETURNED, "keep these words");
        kit_expect(none, ACHAR__TASK_RETURNED, "");
        assert_null(kit_result(other).kept);
        achar__task_release(other);
        kit_expect(keeps, ACHAR__TASK_RETURNED, "kept");
    }
    assert_int_equal(achar__pool_usage_of(pool).client_nbytes, before_nbytes);
    achar__function_release(function);
    kit_end(pool);
    /* One that is released after its pool has ended. */
    pool = kit_pool((kit_options){0});
    function = kit_function(pool);
    achar__task *late = submit_on(pool, function, "keep", NULL, 0);
    assert_int_equal(kit_result(late).kept_nbytes, 4);
    achar__function_release(function);
    kit_end(pool);
    achar__task_release(late);
}

static void long_chains(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *task = kit_submit(pool, "echo x");
    for (int i = 0; i < MANY; i++) {
        achar__task *next = submit_on(pool, function, "join", &task, 1);
        achar__task_release(task);
        task = next;
    }
    kit_expect(task, ACHAR__TASK_RETURNED, "x");
    /* The same, failing: no recursion, however long. */
    achar__task *first = kit_submit(pool, "sleep 600000");
    task = first;
    achar__task_retain(first);
    for (int i = 0; i < MANY; i++) {
        achar__task *next = submit_on(pool, function, "join", &task, 1);
        achar__task_release(task);
        task = next;
    }
    achar__task_set_label(first, "first");
    assert_int_equal(achar__task_cancel_by_force(first), 1);
    expect_cause(task, first, "first");
    achar__task_release(first);
    achar__function_release(function);
    kit_end(pool);
}

static void wide_fans(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *first = kit_submit(pool, "echo x"), **fan = malloc(MANY * sizeof *fan);
    for (int i = 0; i < MANY; i++) {
        fan[i] = submit_on(pool, function, "join", &first, 1);
    }
    achar__task *all = submit_on(pool, function, "join", fan, MANY);
    achar__task_result result = kit_result(all);
    assert_int_equal(result.state, ACHAR__TASK_RETURNED);
    assert_int_equal(result.nbytes, MANY);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(((const char *)result.bytes)[i], 'x');
        achar__task_release(fan[i]);
    }
    free(fan);
    achar__task_release(all);
    achar__task_release(first);
    achar__function_release(function);
    kit_end(pool);
}

static void strangers_are_refused(void **state)
{
    achar__pool *pool = kit_pool((kit_options){0}), *other = kit_pool((kit_options){0});
    achar__function *function = kit_function(pool);
    achar__task *stranger = kit_submit(other, "echo x"), *task;
    achar__task_options options = {.inputs = &stranger, .input_count = 1};
    assert_status(achar__pool_submit(pool, function, NULL, 0, &options, &task), ACHAR_E_INVALID);
    achar__task_release(stranger);
    achar__function_release(function);
    kit_end(other);
    kit_end(pool);
}

static void set_counts(achar__pool *pool, size_t unfinished, size_t starved, size_t waiting)
{
    pthread_mutex_lock(&pool->lock);
    pool->unfinished_count = unfinished;
    pool->starved.count = starved;
    pool->waiting.count = waiting;
    pthread_mutex_unlock(&pool->lock);
}

/* The tender feeds it or gives it up, but may not have come to that: so the moment before that is made here. */
static void who_waits_for_room_waits_for_the_starved(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    kit_expect_works(pool);
    pool->room_limit_ns = SECOND_NS;
    uint32_t seen = achar__pool_room(pool);
    set_counts(pool, 1, 1, 0);
    assert_status(achar__pool_await_room(pool, seen, 1), ACHAR_E_TIMEOUT);
    set_counts(pool, 1, 0, 1);
    assert_status(achar__pool_await_room(pool, seen, 1), ACHAR_E_LIMIT);
    set_counts(pool, 0, 0, 0);
    kit_expect_works(pool);
    kit_end(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(inputs_arrive_in_order),
        KIT_TEST(a_failure_has_one_cause),
        KIT_TEST(cancelling_goes_down),
        KIT_TEST(a_closed_pool_does_what_waits),
        KIT_TEST(a_killed_pool_fails_what_waits),
        KIT_TEST(results_outlive_their_worker),
        KIT_TEST(memory_comes_back),
        KIT_TEST(arguments_are_kept),
        KIT_TEST(long_chains),
        KIT_TEST(wide_fans),
        KIT_TEST(strangers_are_refused),
        KIT_TEST(who_waits_for_room_waits_for_the_starved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
