/*
 * test_queue.c - queues between threads: order, limits, time, memory. Threads only, so that
 * ThreadSanitizer can watch.
 */
#include "kit.h"

#include "runtime/sync/arena.h"
#include "runtime/test_points.h"

#include <stdlib.h>

#define LONG_NBYTES 100000

static achar_queue queue_make(achar_space *space, uint32_t max_count)
{
    achar_queue queue;
    assert_status(achar_queue_create(space, max_count, &queue), ACHAR_OK);
    return queue;
}

/* A message that says who made it, its number, and is filled with that. */
typedef struct stamp {
    uint32_t maker, number;
    uint64_t nbytes;
} stamp;

static void fill(unsigned char *data, size_t nbytes, uint32_t maker, uint32_t number)
{
    stamp s = {maker, number, nbytes};
    memset(data, (int)(maker * 31 + number), nbytes);
    memcpy(data, &s, sizeof s);
}

static stamp check(const unsigned char *data, size_t nbytes)
{
    stamp s;
    assert_true(nbytes >= sizeof s);
    memcpy(&s, data, sizeof s);
    assert_int_equal(s.nbytes, nbytes);
    for (size_t i = sizeof s; i < nbytes; i++) {
        if (data[i] != (unsigned char)(s.maker * 31 + s.number)) {
            fail_msg("byte %zu of message %u is wrong", i, s.number);
        }
    }
    return s;
}

static void put(achar_queue queue, size_t nbytes, uint32_t maker, uint32_t number)
{
    unsigned char *data = malloc(nbytes);
    fill(data, nbytes, maker, number);
    assert_status(achar_queue_put(queue, data, nbytes, FOR_EVER), ACHAR_OK);
    free(data);
}

static stamp get(achar_queue queue)
{
    achar_message message;
    assert_status(achar_queue_get(queue, FOR_EVER, &message), ACHAR_OK);
    stamp s = check(message.data, message.nbytes);
    achar_message_free(&message);
    return s;
}

/* Sizes at every edge: of a short message, of a segment, of a unit. */
static const size_t sizes[] = {16, 17, 31, 32, 4095, 4096, 4097, 5000, 65535, 65536, 65537, 200000};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };

static void in_order_in_all_sizes(void **state)
{
    for (int shared = 0; shared < 2; shared++) {
        achar_space *space = kit_space(shared);
        achar_queue queue = queue_make(space, 0);
        uint32_t put_count = 0, got_count = 0;
        for (int round = 0; round < 200; round++) {
            for (int i = 0; i <= round % 7; i++, put_count++) {
                put(queue, sizes[(unsigned)(round * 5 + i) % SIZE_COUNT], 1, put_count);
            }
            for (int i = 0; i < round % 5 && got_count < put_count; i++, got_count++) {
                assert_int_equal(get(queue).number, got_count);
            }
            assert_int_equal(achar_queue_count(queue), put_count - got_count);
        }
        for (; got_count < put_count; got_count++) {
            assert_int_equal(get(queue).number, got_count);
        }
        assert_int_equal(achar_queue_count(queue), 0);
        assert_int_equal(achar__extents_taken(space, achar__ticket(space)), 1); /* one segment */
        achar_sync_destroy(space, queue.cell);
        assert_int_equal(achar__extents_taken(space, achar__ticket(space)), 0);
        achar_space_close(space);
    }
}

static void nothing_is_a_message(void **state)
{
    achar_space *space = kit_space(0);
    achar_queue queue = queue_make(space, 1);
    achar_message message;
    assert_status(achar_queue_get(queue, 0, &message), ACHAR_E_TIMEOUT);
    assert_status(achar_queue_put(queue, NULL, 0, 0), ACHAR_OK);
    assert_status(achar_queue_put(queue, NULL, 0, 0), ACHAR_E_TIMEOUT);
    assert_status(achar_queue_put(queue, NULL, 0, 5 * MS_NS), ACHAR_E_TIMEOUT);
    assert_status(achar_queue_get(queue, 0, &message), ACHAR_OK);
    assert_int_equal(message.nbytes, 0);
    achar_message_free(&message);
    achar_message_free(&message);
    assert_status(achar_queue_get(queue, 5 * MS_NS, &message), ACHAR_E_TIMEOUT);
    assert_int_equal(achar_queue_max_count(queue), 1);
    assert_status(achar_queue_create(space, UINT32_MAX, &queue), ACHAR_E_INVALID);
    achar_space_close(space);
}

/* Written once, read where it stands, sent on as it is. */
static void long_messages_are_handed_over(void **state)
{
    achar_space *space = kit_space(1), *other = kit_space(1);
    achar_queue queue = queue_make(space, 0), stranger = queue_make(other, 0);
    achar_message message, received;
    for (int i = 0; i < 2; i++) {
        size_t nbytes = i ? LONG_NBYTES : 100;
        assert_status(achar_message_create(space, nbytes, &message), ACHAR_OK);
        fill(message.data, nbytes, 7, 0);
        const void *where = message.data;
        assert_status(achar_queue_put_message(stranger, &message, 0), ACHAR_E_INVALID);
        assert_status(achar_queue_put_message(queue, &message, 0), ACHAR_OK);
        assert_null(message.data);
        assert_status(achar_queue_put_message(queue, &message, 0), ACHAR_E_INVALID);
        assert_status(achar_queue_get(queue, 0, &received), ACHAR_OK);
        assert_true(!i || received.data == where);
        assert_status(achar_queue_put_message(queue, &received, 0), ACHAR_OK);
        assert_int_equal(get(queue).maker, 7);
    }
    assert_status(achar_message_create(space, SIZE_MAX / 2, &message), ACHAR_E_LIMIT);
    /* Free memory is used again: what lies before the end is joined. */
    for (int i = 0; i < KIT_MANY(3000); i++) {
        put(queue, 70000 + (size_t)i * 17 % 90000, 1, 0);
        get(queue);
    }
    assert_in_range(atomic_load(&space->header->unit_count), 1, 512);
    achar_space_close(other);
    achar_space_close(space);
}

/* ---- many threads ---- */

enum { MAKERS = 3, TAKERS = 3, EACH = KIT_MANY(3000) };

typedef struct stage {
    achar_queue queue;
    _Atomic uint32_t number;
    _Atomic uint32_t taken[MAKERS];
} stage;

static int make(void *argument)
{
    stage *s = argument;
    uint32_t maker = atomic_fetch_add(&s->number, 1);
    for (uint32_t i = 0; i < EACH; i++) {
        put(s->queue, i % 50 ? 16 + i % 64 : 9000, maker, i);
    }
    return ACHAR_OK;
}

static int take(void *argument)
{
    stage *s = argument;
    uint32_t next[MAKERS] = {0};
    for (uint32_t i = 0; i < MAKERS * EACH / TAKERS; i++) {
        stamp got = get(s->queue);
        assert_true(got.number >= next[got.maker]); /* each maker's come in order */
        next[got.maker] = got.number + 1;
        atomic_fetch_add(&s->taken[got.maker], 1);
        assert_status(achar_queue_task_done(s->queue), ACHAR_OK);
    }
    return ACHAR_OK;
}

static void makers_and_takers(void **state)
{
    static const uint32_t limits[] = {1, 7, 0};
    for (int l = 0; l < 3; l++) {
        achar_space *space = kit_space(l % 2);
        stage s = {.queue = queue_make(space, limits[l])};
        kit_call calls[MAKERS + TAKERS];
        for (int i = 0; i < MAKERS + TAKERS; i++) {
            kit_start(&calls[i], i < MAKERS ? make : take, &s);
        }
        for (int i = 0; i < MAKERS + TAKERS; i++) {
            assert_status(kit_join(&calls[i]), ACHAR_OK);
        }
        for (int i = 0; i < MAKERS; i++) {
            assert_int_equal(atomic_load(&s.taken[i]), EACH);
        }
        assert_status(achar_queue_join(s.queue, 0), ACHAR_OK);
        assert_status(achar_queue_task_done(s.queue), ACHAR_E_NOT_HELD);
        assert_int_equal(achar_queue_count(s.queue), 0);
        assert_int_equal(s.queue.cell->messages.promised, 0);
        assert_int_equal(s.queue.cell->messages.reserved, 0);
        achar_space_close(space);
    }
}

/* ---- who waits ---- */

typedef struct waiting {
    achar_queue queue;
    int64_t timeout_ns;
    uint32_t got;
} waiting;

static int wait_for_one(void *argument)
{
    waiting *w = argument;
    achar_message message;
    int status = achar_queue_get(w->queue, w->timeout_ns, &message);
    if (status == ACHAR_OK) {
        w->got = check(message.data, message.nbytes).number;
        achar_message_free(&message);
    }
    return status;
}

static int put_one(void *argument)
{
    waiting *w = argument;
    unsigned char data[16];
    fill(data, sizeof data, 0, w->got);
    return achar_queue_put(w->queue, data, sizeof data, w->timeout_ns);
}

static void first_come_first_served(void **state)
{
    enum { COUNT = 5 };
    achar_space *space = kit_space(1);
    achar_queue queue = queue_make(space, 1);
    waiting w[COUNT];
    kit_call calls[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        w[i] = (waiting){queue, FOR_EVER, 0};
        kit_start(&calls[i], wait_for_one, &w[i]);
        kit_expect_waiting(space, i + 1);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        put(queue, 16, 0, i);
        assert_status(kit_join(&calls[i]), ACHAR_OK);
        assert_int_equal(w[i].got, i);
    }
    put(queue, 16, 0, 100);
    for (unsigned i = 0; i < COUNT; i++) {
        w[i] = (waiting){queue, FOR_EVER, i};
        kit_start(&calls[i], put_one, &w[i]);
        kit_expect_waiting(space, i + 1);
    }
    assert_int_equal(get(queue).number, 100);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(get(queue).number, i);
        assert_status(kit_join(&calls[i]), ACHAR_OK);
    }
    achar_space_close(space);
}

/* However a time limit and a message meet, nothing is lost and nothing is there twice. */
static void no_message_is_lost_to_a_time_limit(void **state)
{
    achar_space *space = kit_space(0);
    achar_queue queue = queue_make(space, 0);
    unsigned timeouts = 0;
    for (uint32_t i = 0; i < 300; i++) {
        waiting w = {queue, (int64_t)(i % 20) * 20000 + 1000, UINT32_MAX};
        kit_call call;
        kit_start(&call, wait_for_one, &w);
        struct timespec nap = {0, 200000};
        nanosleep(&nap, NULL);
        put(queue, 16, 0, i);
        int status = kit_join(&call);
        if (status == ACHAR_OK) {
            assert_int_equal(w.got, i);
        } else {
            assert_status(status, ACHAR_E_TIMEOUT);
            assert_int_equal(get(queue).number, i);
            timeouts++;
        }
        assert_int_equal(achar_queue_count(queue), 0);
    }
    assert_in_range(timeouts, 1, 300);
    achar_space_close(space);
}

static int join(void *argument)
{
    return achar_queue_join(((waiting *)argument)->queue, FOR_EVER);
}

static void joined_when_all_is_done(void **state)
{
    achar_space *space = kit_space(1);
    waiting w = {queue_make(space, 0), FOR_EVER, 0};
    kit_call calls[2];
    assert_status(achar_queue_join(w.queue, 0), ACHAR_OK);
    put(w.queue, 16, 0, 0);
    put(w.queue, 16, 0, 1);
    assert_status(achar_queue_join(w.queue, 0), ACHAR_E_TIMEOUT);
    assert_status(achar_queue_join(w.queue, MS_NS), ACHAR_E_TIMEOUT);
    kit_start(&calls[0], join, &w);
    kit_start(&calls[1], join, &w);
    kit_expect_waiting(space, 2);
    get(w.queue);
    get(w.queue);
    assert_status(achar_queue_task_done(w.queue), ACHAR_OK);
    assert_int_equal(achar_queue_unfinished(w.queue), 1);
    assert_int_equal(kit_count_waiting(space), 2);
    assert_status(achar_queue_task_done(w.queue), ACHAR_OK);
    assert_status(kit_join(&calls[0]), ACHAR_OK);
    assert_status(kit_join(&calls[1]), ACHAR_OK);
    achar_space_close(space);
}

/* Memory that runs out is a status, at every commit, and costs nothing but that. */
static void out_of_memory(void **state)
{
    unsigned char *data = calloc(1, LONG_NBYTES);
    unsigned failures = 0;
    for (size_t budget = 0; budget < 400000; budget += 8192) {
        achar_space *space = kit_space(1);
        achar_queue queue = queue_make(space, 0);
        achar_message message;
        int put_count = 0;
        achar__test_set_commit_budget(budget);
        for (int i = 0; i < 12; i++) {
            int status = achar_queue_put(queue, data, i % 2 ? LONG_NBYTES : 3000, 0);
            put_count += status == ACHAR_OK;
            if (status != ACHAR_OK) {
                assert_status(status, ACHAR_E_NOMEM);
                failures++;
            }
        }
        for (int i = 0; i < put_count; i++) {
            int status = achar_queue_get(queue, 0, &message);
            if (status == ACHAR_E_NOMEM) { /* the account */
                break;
            }
            assert_status(status, ACHAR_OK);
            achar_message_free(&message);
        }
        achar__test_set_commit_budget(SIZE_MAX);
        while (achar_queue_get(queue, 0, &message) == ACHAR_OK) {
            achar_message_free(&message);
        }
        put(queue, LONG_NBYTES, 0, 0);
        get(queue);
        assert_int_equal(achar__extents_taken(space, achar__ticket(space)), 1);
        achar_space_close(space);
    }
    assert_int_not_equal(failures, 0);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(in_order_in_all_sizes),         KIT_TEST(nothing_is_a_message),
        KIT_TEST(long_messages_are_handed_over), KIT_TEST(makers_and_takers),
        KIT_TEST(first_come_first_served),       KIT_TEST(no_message_is_lost_to_a_time_limit),
        KIT_TEST(joined_when_all_is_done),       KIT_TEST(out_of_memory),
    };
    return cmocka_run_group_tests_name("sync queue", tests, NULL, NULL);
}
