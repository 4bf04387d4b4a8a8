/* What workers send through their doors, and what they do to them. */
#include "kit.h"

#include <poll.h>
#include <unistd.h>

static achar__pool *pool_with_doors(unsigned workers)
{
    return kit_pool((kit_options){.workers = workers, .has_door = true});
}

static achar__arrival arrival(achar__pool *pool)
{
    achar__arrival it;
    struct pollfd door = {.fd = achar__pool_door(pool), .events = POLLIN};
    for (;;) {
        assert_int_equal(poll(&door, 1, (int)(ENOUGH_NS / 1000000)), 1);
        int status = achar__pool_take_arrival(pool, &it);
        if (status != ACHAR_E_TIMEOUT) {
            assert_status(status, ACHAR_OK);
            return it;
        }
    }
}

static achar__arrival expect_arrival(achar__pool *pool, const char *text)
{
    char in[3] = "";
    achar__arrival it = arrival(pool);
    assert_int_equal(it.nbytes, strlen(text));
    assert_memory_equal(it.hello, text, it.nbytes);
    assert_true(it.fd >= 0);
    assert_int_equal(read(it.fd, in, 2), 2);
    assert_string_equal(in, "in");
    close(it.fd);
    return it;
}

static void expect_nothing(achar__pool *pool)
{
    achar__arrival it;
    assert_status(achar__pool_take_arrival(pool, &it), ACHAR_E_TIMEOUT);
    assert_false(achar__pool_has_arrivals(pool));
}

static void what_is_sent_arrives(void **state)
{
    achar__pool *pool = pool_with_doors(1);
    expect_nothing(pool);
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "hello %d", i);
        assert_int_equal(kit_expect_number(kit_submit(pool, "knock %s", text)), strlen(text));
        assert_int_equal(expect_arrival(pool, text).worker, 1);
    }
    /* In order, also where nobody has looked meanwhile. */
    kit_expect_number(kit_submit(pool, "knock first"));
    kit_expect_number(kit_submit(pool, "knock second"));
    expect_arrival(pool, "first");
    expect_arrival(pool, "second");
    expect_nothing(pool);
    kit_end(pool);
}

static void a_pool_without_doors(void **state)
{
    achar__pool *pool = kit_pool((kit_options){.workers = 1});
    assert_int_equal(achar__pool_door(pool), -1);
    kit_expect_works(pool);
    kit_end(pool);
}

/* One worker has flooded its door, and waits there; the other one's packet has its turn. */
static void a_flood_holds_up_nobody(void **state)
{
    achar__pool *pool = pool_with_doors(2);
    int pids[2];
    kit_wait_for_workers(pool, pids, 2);
    long count = kit_expect_number(kit_submit(pool, "flood"));
    assert_true(count > 10);
    achar__task *knocks[2] = {kit_submit(pool, "knock x"), kit_submit(pool, "knock x")};
    while (!ACHAR__TASK_FINISHED(achar__task_state_of(knocks[0])) &&
           !ACHAR__TASK_FINISHED(achar__task_state_of(knocks[1]))) {
        kit_nap_ms(1);
    }
    /* The one that has flooded its door may have had a knock to do, or the other one both. */
    long seen = 0, first = -1;
    for (int knocked = 0; knocked < 2 || seen < count;) {
        achar__arrival it = arrival(pool);
        assert_int_equal(it.nbytes, 1);
        if (it.fd >= 0) {
            first = knocked++ == 0 ? seen : first;
            close(it.fd);
        } else {
            seen++;
        }
    }
    assert_int_equal(seen, count);
    assert_in_range(first, 0, 2);
    expect_nothing(pool);
    assert_int_equal(kit_expect_number(knocks[0]), 1);
    assert_int_equal(kit_expect_number(knocks[1]), 1);
    kit_end(pool);
}

/* It ends its own worker, after its task; nobody else's. */
static void a_door_that_is_shut(void **state)
{
    achar__pool *pool = pool_with_doors(2);
    int pids[2], now[2];
    kit_wait_for_workers(pool, pids, 2);
    for (int i = 0; i < 2; i++) {
        int shut = (int)kit_expect_number(kit_submit(pool, "shut"));
        kit_expect_gone(shut);
        do { /* the pool hears of its end a little later */
            kit_wait_for_workers(pool, now, 2);
        } while (now[0] == shut || now[1] == shut);
        assert_true((shut == pids[0]) + (shut == pids[1]) == 1);
        int other = shut == pids[0] ? pids[1] : pids[0];
        assert_true(now[0] == other || now[1] == other);
        assert_int_equal(kit_expect_number(kit_submit(pool, "knock y")), 1);
        expect_arrival(pool, "y");
        memcpy(pids, now, sizeof pids);
    }
    kit_end(pool);
}

static void what_the_dead_have_sent_arrives(void **state)
{
    achar__pool *pool = pool_with_doors(1);
    for (int i = 0; i < 2; i++) {
        kit_expect_number(kit_submit(pool, "knock a"));
        kit_expect_number(kit_submit(pool, "knock b"));
        kit_expect_death(kit_submit(pool, "signal 9"), ACHAR__TASK_LOST, -1, 9);
        kit_expect_works(pool);
        unsigned worker = expect_arrival(pool, "a").worker;
        assert_int_equal(expect_arrival(pool, "b").worker, worker);
        expect_nothing(pool);
    }
    kit_end(pool);
}

/* Nobody takes it; its memory and descriptor are free again (AddressSanitizer looks). */
static void what_nobody_takes(void **state)
{
    achar__pool *pool = pool_with_doors(2);
    for (int i = 0; i < 8; i++) {
        kit_expect_number(kit_submit(pool, "knock z"));
    }
    kit_end(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(what_is_sent_arrives),
        KIT_TEST(a_pool_without_doors),
        KIT_TEST(a_flood_holds_up_nobody),
        KIT_TEST(a_door_that_is_shut),
        KIT_TEST(what_the_dead_have_sent_arrives),
        KIT_TEST(what_nobody_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
