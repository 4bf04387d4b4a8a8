/*
 * test_strands.c - waiting without a thread: a loop that runs strands, beside threads that wait for
 * the same objects. Under the sanitizers this is also the test that they follow the strands' stacks.
 */
#include "kit.h"

#include "runtime/sync/condition.h"
#include "runtime/sync/event.h"
#include "runtime/sync/lock.h"
#include "runtime/sync/strand.h"

#include <achar/status.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { MANY = 300 };

static int read_eventfd(int fd)
{
    uint64_t count;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    int ready = poll(&readable, 1, (int)(ENOUGH_NS / MS_NS));
    return ready == 1 && read(fd, &count, sizeof count) == sizeof count ? 0 : -1;
}

static bool take_ring(achar_space *space, const achar__strand *strand)
{
    uint32_t number = achar__strand_number(strand);
    bool is_rung = achar__rung_next(space, number) == number;
    if (is_rung) {
        achar__rung_clear(space, number);
    }
    return is_rung;
}

/* Runs those that were rung until 'count' of them have ended; each has to end with 'wanted'. */
static void run_loop(achar_space *space, achar__strand **strands, unsigned count, int fd,
                     int wanted)
{
    unsigned ended = 0;
    while (ended < count) {
        bool any = false;
        for (unsigned i = 0; i < count; i++) {
            int status;
            if (!strands[i] || !take_ring(space, strands[i])) {
                continue;
            }
            any = true;
            if (achar__strand_run(strands[i], false, &status)) {
                assert_status(status, wanted);
                achar__strand_free(strands[i]);
                strands[i] = NULL;
                ended++;
            }
        }
        if (!any) {
            assert_int_equal(read_eventfd(fd), 0);
        }
    }
}

static achar__strand *begin(int (*function)(void *), void *argument)
{
    int status;
    achar__strand *strand =
        achar__strand_create(function, argument, achar__lock_new_thread_number());
    assert_non_null(strand);
    assert_false(achar__strand_run(strand, false, &status)); /* it waits */
    return strand;
}

/* ---- what strands and threads do ---- */

typedef struct scene {
    achar_space *space;
    achar_lock lock;
    achar_condition condition;
    achar_event event;
    _Atomic unsigned inside, turns;
} scene;

static scene make_scene(void)
{
    scene s = {.space = kit_space(1)};
    assert_status(achar_lock_create(s.space, 0, &s.lock), ACHAR_OK);
    assert_status(achar_condition_create(s.lock, &s.condition), ACHAR_OK);
    assert_status(achar_event_create(s.space, &s.event), ACHAR_OK);
    return s;
}

static int take_turn(void *argument)
{
    scene *s = argument;
    unsigned char deep[4096]; /* a frame that the sanitizers look after */
    memset(deep, 1, sizeof deep);
    int status = achar__lock_acquire_until(s->lock, -1, NULL);
    if (status == ACHAR_OK) {
        if (atomic_fetch_add(&s->inside, deep[17]) != 0) {
            return ACHAR_E_INVALID;
        }
        atomic_fetch_add(&s->turns, 1);
        atomic_fetch_sub(&s->inside, 1);
        status = achar_lock_release(s->lock);
    }
    return status;
}

static int take_turns(void *argument)
{
    int status = ACHAR_OK;
    for (int i = 0; i < MANY && status == ACHAR_OK; i++) {
        status = take_turn(argument);
    }
    return status;
}

static int wait_for_event(void *argument)
{
    return achar__event_wait_until(((scene *)argument)->event, -1, NULL);
}

static int wait_notified(void *argument)
{
    scene *s = argument;
    int status = achar__lock_acquire_until(s->lock, -1, NULL);
    if (status == ACHAR_OK) {
        status = achar__condition_wait_until(s->condition, -1, NULL);
        achar_lock_release(s->lock);
    }
    return status;
}

/* ---- tests ---- */

static void strands_and_threads_exclude_each_other(void **state)
{
    scene s = make_scene();
    achar__strand *strands[MANY];
    kit_call thread;
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_status(achar__waker_add(s.space, fd), ACHAR_OK);
    assert_status(achar_lock_acquire(s.lock, FOR_EVER), ACHAR_OK);
    for (unsigned i = 0; i < MANY; i++) {
        strands[i] = begin(take_turn, &s);
    }
    kit_start(&thread, take_turns, &s);
    assert_status(achar_lock_release(s.lock), ACHAR_OK);
    run_loop(s.space, strands, MANY, fd, ACHAR_OK);
    assert_status(kit_join(&thread), ACHAR_OK);
    assert_int_equal(s.turns, 2 * MANY);
    achar__waker_remove(s.space, fd);
    achar_space_close(s.space);
    close(fd);
}

static int set_event(void *argument)
{
    kit_nap_ms(20);
    return achar_event_set(((scene *)argument)->event);
}

static void many_wait_in_one_thread(void **state)
{
    scene s = make_scene();
    achar__strand *strands[MANY];
    kit_call thread;
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_status(achar__waker_add(s.space, fd), ACHAR_OK);
    for (unsigned i = 0; i < MANY; i++) {
        strands[i] = begin(wait_for_event, &s);
    }
    kit_start(&thread, set_event, &s);
    run_loop(s.space, strands, MANY, fd, ACHAR_OK);
    assert_status(kit_join(&thread), ACHAR_OK);
    achar__waker_remove(s.space, fd);
    achar_space_close(s.space);
    close(fd);
}

/* The first is notified and then cancelled, the second notified and then thrown away. */
static void who_leaves_passes_it_on(void **state)
{
    scene s = make_scene();
    achar__strand *strands[3];
    int status;
    int fd = eventfd(0, EFD_CLOEXEC);
    assert_status(achar__waker_add(s.space, fd), ACHAR_OK);
    for (unsigned i = 0; i < 3; i++) {
        strands[i] = begin(wait_notified, &s);
    }
    assert_status(achar_lock_acquire(s.lock, FOR_EVER), ACHAR_OK);
    assert_status(achar_condition_notify(s.condition, 1), ACHAR_OK);
    /* It wants the lock first; the notification is the second's, which now queues before it. */
    assert_false(achar__strand_run(strands[0], true, &status));
    assert_status(achar_lock_release(s.lock), ACHAR_OK);
    achar__strand_free(strands[1]);
    run_loop(s.space, &strands[0], 1, fd, ACHAR_E_INTERRUPTED);
    run_loop(s.space, &strands[2], 1, fd, ACHAR_OK);
    assert_int_equal(kit_count_waiting(s.space), 0);
    achar__waker_remove(s.space, fd);
    achar_space_close(s.space);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(strands_and_threads_exclude_each_other),
        KIT_TEST(many_wait_in_one_thread),
        KIT_TEST(who_leaves_passes_it_on),
    };
    return cmocka_run_group_tests_name("sync strands", tests, NULL, NULL);
}
