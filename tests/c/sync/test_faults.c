/*
 * test_faults.c - kill -9 at every step. Each test runs a victim in a child process that is killed
 * at its first crash point, then again at its second, and so on, until it lives to its end; after
 * each death the survivors must find every object whole, be told what they have to be told, and go
 * on. The points stand in every change of shared memory (ACHAR__CRASH_POINT), between any two stores
 * that belong together.
 */
#include "kit.h"

#include "runtime/sync/space.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#define STEP_LIMIT 2000 /* no victim has so many points */

/* How often a test's victims died, for the eye. */
static void report(const char *name, unsigned deaths)
{
    print_message("           %s: killed at %u steps\n", name, deaths);
    assert_in_range(deaths, 1, STEP_LIMIT - 1);
}

/* ---- an owner ---- */

typedef struct scene {
    achar_space *space;
    achar_lock lock;
    achar_condition condition;
    achar_semaphore semaphore;
    achar_event event, ready;
    achar_barrier barrier;
} scene;

static scene scene_make(int recursive)
{
    scene s = {.space = kit_space(1)};
    assert_status(achar_lock_create(s.space, recursive, &s.lock), ACHAR_OK);
    assert_status(achar_condition_create(s.lock, &s.condition), ACHAR_OK);
    assert_status(achar_semaphore_create(s.space, 3, 1, &s.semaphore), ACHAR_OK);
    assert_status(achar_event_create(s.space, &s.event), ACHAR_OK);
    assert_status(achar_event_create(s.space, &s.ready), ACHAR_OK);
    assert_status(achar_barrier_create(s.space, 3, &s.barrier), ACHAR_OK);
    return s;
}

static int acquire(void *argument)
{
    return achar_lock_acquire(((scene *)argument)->lock, FOR_EVER);
}

static int acquire_and_release(void *argument)
{
    scene *s = argument;
    int status = achar_lock_acquire(s->lock, FOR_EVER);
    return status == ACHAR_OK ? achar_lock_release(s->lock) : status;
}

/* The lock works: for a thread that waits, and for one that does not. */
static void expect_lock_works(scene *s)
{
    kit_call call;
    assert_status(achar_lock_acquire(s->lock, ENOUGH_NS), ACHAR_OK);
    kit_start(&call, acquire_and_release, s);
    kit_expect_waiting(s->space, 1);
    assert_status(achar_lock_release(s->lock), ACHAR_OK);
    assert_status(kit_join(&call), ACHAR_OK);
    assert_false(achar_lock_is_taken(s->lock));
}

/* Acquires, recovering if the last owner died. Whether it did. */
static bool acquire_or_recover(scene *s)
{
    int status = achar_lock_acquire(s->lock, ENOUGH_NS);
    if (status == ACHAR_E_OWNER_DIED) {
        assert_status(achar_lock_acquire(s->lock, 0), ACHAR_E_OWNER_DIED); /* until recovered */
        assert_status(achar_lock_release(s->lock), ACHAR_E_NOT_HELD);
        assert_status(achar_lock_recover(s->lock, 1), ACHAR_OK);
        assert_status(achar_lock_recover(s->lock, 1), ACHAR_E_NOT_HELD);
        return true;
    }
    assert_status(status, ACHAR_OK);
    return false;
}

/* Without collecting it. */
static bool is_gone(pid_t child)
{
    siginfo_t info = {0};
    waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT);
    return info.si_pid == child;
}

/* Acquires, lets others queue, releases: three times. */
static void own(void *argument)
{
    scene *s = argument;
    for (int i = 0; i < 3; i++) {
        achar_lock_acquire(s->lock, FOR_EVER);
        if (i == 1) {
            achar_event_set(s->ready);
            kit_expect_waiting(s->space, 1);
        }
        achar_lock_release(s->lock);
    }
}

static void owner_dies(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(n % 2);
        pid_t victim = kit_fork(own, &s, n);
        kit_call waiting;
        /* Waits when the victim owns the lock, unless it dies before. */
        int status;
        while (achar_event_wait(s.ready, MS_NS) != ACHAR_OK && !is_gone(victim)) {
        }
        kit_start(&waiting, acquire_and_release, &s);
        killed = kit_was_killed(victim);
        status = kit_join(&waiting);
        assert_true(status == ACHAR_OK || status == ACHAR_E_OWNER_DIED);
        bool died = acquire_or_recover(&s);
        assert_true(killed || !died);
        assert_true(died || status == ACHAR_OK);
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        expect_lock_works(&s);
        achar_space_close(s.space);
    }
    report("owner", n - 2);
}

/* ---- waiters ---- */

/* Waits its turn for the lock, takes it, gives it back. */
static void queue_up(void *argument)
{
    acquire_and_release(argument);
}

/* One that queues for a lock dies; so may it just when the lock has been given to it. */
static void waiter_for_a_lock_dies(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        kit_call behind;
        assert_status(achar_lock_acquire(s.lock, 0), ACHAR_OK);
        pid_t victim = kit_fork(queue_up, &s, n);
        while (kit_count_waiting(s.space) == 0 && !is_gone(victim)) {
            kit_nap_ms(1);
        }
        kit_start(&behind, acquire, &s);
        kit_nap_ms(1);
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        int status = kit_join(&behind);
        if (status == ACHAR_OK) { /* perhaps before the victim, which may still wait for its turn */
            assert_status(achar_lock_release(s.lock), ACHAR_OK);
        }
        killed = kit_was_killed(victim);
        bool died = acquire_or_recover(&s);
        if (status == ACHAR_OK) {
            assert_true(killed || !died);
        } else { /* it had accepted the lock */
            assert_status(status, ACHAR_E_OWNER_DIED);
            assert_true(killed && died);
        }
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        expect_lock_works(&s);
        achar_space_close(s.space);
    }
    report("waiter for a lock", n - 2);
}

static int wait_for_notification(void *argument)
{
    scene *s = argument;
    int status = achar_lock_acquire(s->lock, FOR_EVER);
    if (status != ACHAR_OK) {
        return status;
    }
    status = achar_condition_wait(s->condition, FOR_EVER);
    if (status == ACHAR_OK) {
        status = achar_lock_release(s->lock);
    }
    return status;
}

static void wait_as_victim(void *argument)
{
    wait_for_notification(argument);
}

/* Waits until 'others' wait, and the victim, if it lives. Whether it does. */
static bool expect_waiting_with(scene *s, pid_t victim, unsigned others)
{
    int64_t limit_ns = kit_now_ns() + ENOUGH_NS;
    for (;;) {
        bool gone = is_gone(victim);
        achar__reap_the_dead(s->space);
        if (kit_count_waiting(s->space) == others + !gone) {
            return !gone;
        }
        if (kit_now_ns() > limit_ns) {
            fail_msg("%u wait", kit_count_waiting(s->space));
        }
        kit_nap_ms(1);
    }
}

/*
 * Two wait, the victim first; notify(1). If the victim dies with the notification, the other gets
 * it; if it dies with the lock, the other is told.
 */
static void waiter_on_a_condition_dies(void **state)
{
    unsigned n = 1, passed_on = 0;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(n % 2);
        kit_call other;
        pid_t victim = kit_fork(wait_as_victim, &s, n);
        while (kit_count_waiting(s.space) == 0 && !is_gone(victim)) {
            kit_nap_ms(1);
        }
        acquire_or_recover(&s); /* killed inside wait(), it may have had the lock */
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        kit_start(&other, wait_for_notification, &s);
        bool waited = expect_waiting_with(&s, victim, 1);
        if (acquire_or_recover(&s)) {
            fail_msg("nobody could have died with the lock");
        }
        assert_status(achar_condition_notify(s.condition, 1), ACHAR_OK);
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        killed = kit_was_killed(victim);
        if (!killed) {
            assert_false(atomic_load(&other.done)); /* the notification was the victim's */
            assert_status(achar_lock_acquire(s.lock, ENOUGH_NS), ACHAR_OK);
            assert_status(achar_condition_notify(s.condition, 1), ACHAR_OK);
            assert_status(achar_lock_release(s.lock), ACHAR_OK);
            assert_status(kit_join(&other), ACHAR_OK);
        } else {
            /* Passed on; or the victim had returned from wait(), and died with the lock. */
            int status = kit_join(&other);
            assert_true(status == ACHAR_OK || status == ACHAR_E_OWNER_DIED);
            passed_on += waited && status == ACHAR_OK;
        }
        if (acquire_or_recover(&s)) {
            assert_true(killed);
        }
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        expect_lock_works(&s);
        achar_space_close(s.space);
    }
    report("waiter on a condition", n - 2);
    print_message("           its notification was passed on %u times\n", passed_on);
    assert_int_not_equal(passed_on, 0);
}

/* ---- notifiers ---- */

static void notify(void *argument)
{
    scene *s = argument;
    achar_lock_acquire(s->lock, FOR_EVER);
    achar_condition_notify(s->condition, 1);
    achar_condition_notify(s->condition, UINT32_MAX);
    achar_lock_release(s->lock);
}

/* Three wait; who notifies dies. Everyone is either notified, or told, or still on the list. */
static void notifier_dies(void **state)
{
    enum { COUNT = 3 };
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(n % 2);
        kit_call calls[COUNT];
        for (int i = 0; i < COUNT; i++) {
            kit_start(&calls[i], wait_for_notification, &s);
        }
        kit_expect_waiting(s.space, COUNT);
        killed = kit_was_killed(kit_fork(notify, &s, n));
        bool told = acquire_or_recover(&s);
        assert_true(killed || !told);
        assert_status(achar_condition_notify(s.condition, UINT32_MAX), ACHAR_OK);
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        for (int i = 0; i < COUNT; i++) {
            int status = kit_join(&calls[i]);
            assert_true(status == ACHAR_OK || (told && status == ACHAR_E_OWNER_DIED));
        }
        expect_lock_works(&s);
        achar_space_close(s.space);
    }
    report("notifier", n - 2);
}

/* ---- semaphores ---- */

static int take_and_give(void *argument)
{
    scene *s = argument;
    int status = achar_semaphore_acquire(s->semaphore, FOR_EVER);
    return status == ACHAR_OK ? achar_semaphore_release(s->semaphore, 1) : status;
}

static void use_permits(void *argument)
{
    scene *s = argument;
    achar_semaphore_acquire(s->semaphore, FOR_EVER);
    achar_semaphore_acquire(s->semaphore, FOR_EVER);
    achar_semaphore_acquire(s->semaphore, FOR_EVER);
    achar_event_set(s->ready);
    kit_expect_waiting(s->space, 2);
    achar_semaphore_release(s->semaphore, 1);
    achar_semaphore_release(s->semaphore, 2);
}

/* Whatever the victim had is lost until recovered, then all three permits are there. */
static void holder_of_permits_dies(void **state)
{
    unsigned n = 1, recovered = 0;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        kit_call calls[2];
        uint32_t lost = 0;
        pid_t victim = kit_fork(use_permits, &s, n);
        while (achar_event_wait(s.ready, MS_NS) != ACHAR_OK && !is_gone(victim)) {
        }
        for (int i = 0; i < 2; i++) {
            kit_start(&calls[i], take_and_give, &s);
        }
        killed = kit_was_killed(victim);
        for (int i = 0; i < 2; i++) {
            int status = kit_join(&calls[i]);
            assert_true(status == ACHAR_OK || (killed && status == ACHAR_E_OWNER_DIED));
        }
        while (achar_semaphore_acquire(s.semaphore, 0) == ACHAR_OK) {
        }
        /* That was all that is free; what is missing is lost. */
        uint32_t mine = 3;
        assert_int_equal(achar_semaphore_value(s.semaphore), 0);
        if (achar_semaphore_acquire(s.semaphore, 0) == ACHAR_E_OWNER_DIED) {
            assert_true(killed);
            assert_status(achar_semaphore_recover(s.semaphore, &lost), ACHAR_OK);
            assert_in_range(lost, 1, 3);
            assert_int_equal(achar_semaphore_value(s.semaphore), lost);
            mine -= lost;
            recovered++;
        }
        if (mine > 0) {
            assert_status(achar_semaphore_release(s.semaphore, mine), ACHAR_OK);
        }
        assert_status(achar_semaphore_release(s.semaphore, 1), ACHAR_E_LIMIT);
        assert_int_equal(achar_semaphore_value(s.semaphore), 3);
        achar_space_close(s.space);
    }
    report("holder of permits", n - 2);
    assert_int_not_equal(recovered, 0);
}

static void take_one(void *argument)
{
    take_and_give(argument);
}

/* A permit given to one that dies before it knows is the next one's, and nobody has to recover. */
static void waiter_for_a_permit_dies(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        kit_call behind;
        uint32_t lost = 0;
        for (int i = 0; i < 3; i++) {
            assert_status(achar_semaphore_acquire(s.semaphore, 0), ACHAR_OK);
        }
        pid_t victim = kit_fork(take_one, &s, n);
        while (kit_count_waiting(s.space) == 0 && !is_gone(victim)) {
            kit_nap_ms(1);
        }
        kit_start(&behind, take_and_give, &s);
        kit_nap_ms(1);
        assert_status(achar_semaphore_release(s.semaphore, 1), ACHAR_OK);
        int status = kit_join(&behind);
        killed = kit_was_killed(victim);
        if (status == ACHAR_E_OWNER_DIED) {
            assert_true(killed);
            assert_status(achar_semaphore_recover(s.semaphore, &lost), ACHAR_OK);
            assert_int_equal(lost, 1);
        } else {
            assert_status(status, ACHAR_OK);
        }
        assert_status(achar_semaphore_release(s.semaphore, 2), ACHAR_OK);
        assert_int_equal(achar_semaphore_value(s.semaphore), 3);
        achar_space_close(s.space);
    }
    report("waiter for a permit", n - 2);
}

/* More processes with permits than a cell has accounts for. */
static void many_holders_die(void **state)
{
    enum { COUNT = 20 };
    scene s = scene_make(0);
    achar_semaphore semaphore;
    pid_t children[COUNT];
    uint32_t lost;
    assert_status(achar_semaphore_create(s.space, COUNT, 0, &semaphore), ACHAR_OK);
    for (int i = 0; i < COUNT; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            achar_semaphore_acquire(semaphore, FOR_EVER);
            pause();
        }
    }
    while (achar_semaphore_value(semaphore) > 0) {
        kit_nap_ms(1);
    }
    for (int i = 0; i < COUNT; i++) {
        kill(children[i], SIGKILL);
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    }
    assert_status(achar_semaphore_acquire(semaphore, FOR_EVER), ACHAR_E_OWNER_DIED);
    achar__reap_the_dead(s.space);
    assert_status(achar_semaphore_recover(semaphore, &lost), ACHAR_OK);
    assert_int_equal(lost, COUNT);
    achar_sync_destroy(s.space, semaphore.cell);
    achar_space_close(s.space);
}

/* ---- events and barriers ---- */

static int wait_event(void *argument)
{
    return achar_event_wait(((scene *)argument)->event, FOR_EVER);
}

static void set_event(void *argument)
{
    achar_event_set(((scene *)argument)->event);
}

static void setter_dies(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        kit_call calls[3];
        for (int i = 0; i < 3; i++) {
            kit_start(&calls[i], wait_event, &s);
        }
        kit_expect_waiting(s.space, 3);
        killed = kit_was_killed(kit_fork(set_event, &s, n));
        if (!achar_event_is_set(s.event)) {
            assert_true(killed);
            assert_status(achar_event_set(s.event), ACHAR_OK);
        }
        for (int i = 0; i < 3; i++) {
            assert_status(kit_join(&calls[i]), ACHAR_OK);
        }
        achar_space_close(s.space);
    }
    report("setter", n - 2);
}

static int meet(void *argument)
{
    uint32_t index;
    return achar_barrier_wait(((scene *)argument)->barrier, FOR_EVER, 0, &index);
}

static void meet_as_victim(void *argument)
{
    uint32_t index;
    achar_barrier barrier = ((scene *)argument)->barrier;
    if (achar_barrier_wait(barrier, FOR_EVER, 1, &index) == ACHAR_OK && index == 2) {
        achar_barrier_open(barrier);
    }
}

/* When the dead are settled: do the two still wait? */
static bool both_stay(scene *s, kit_call calls[2])
{
    int64_t limit_ns = kit_now_ns() + ENOUGH_NS;
    for (;;) {
        achar__reap_the_dead(s->space);
        if (atomic_load(&calls[0].done) && atomic_load(&calls[1].done)) {
            return false;
        }
        if (kit_count_waiting(s->space) == 2) {
            return true;
        }
        if (kit_now_ns() > limit_ns) {
            fail_msg("one of two is gone");
        }
        kit_nap_ms(1);
    }
}

/* 'early': the victim is in the barrier before the others; else it comes last and leads. */
static void party_dies(bool early)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        kit_call calls[2];
        pid_t victim = -1;
        bool was_inside = true;
        if (early) {
            victim = kit_fork(meet_as_victim, &s, n);
            while (kit_count_waiting(s.space) == 0 && !is_gone(victim)) {
                kit_nap_ms(1);
            }
        }
        for (int i = 0; i < 2; i++) {
            kit_start(&calls[i], meet, &s);
        }
        if (!early) {
            kit_expect_waiting(s.space, 2);
            victim = kit_fork(meet_as_victim, &s, n);
        }
        killed = kit_was_killed(victim);
        if (both_stay(&s, calls)) {
            /* Dead before it was inside: nobody can know that it would have come. */
            assert_true(killed);
            assert_int_equal(achar_barrier_waiting(s.barrier), 2);
            was_inside = false;
            achar_barrier_abort(s.barrier);
        }
        for (int i = 0; i < 2; i++) {
            int status = kit_join(&calls[i]);
            assert_true(status == ACHAR_OK || status == ACHAR_E_BROKEN);
            assert_true(status == ACHAR_OK || killed);
            assert_true(status == ACHAR_E_BROKEN || was_inside);
        }
        achar_barrier_reset(s.barrier);
        for (int i = 0; i < 2; i++) {
            kit_start(&calls[i], meet, &s);
        }
        assert_status(meet(&s), ACHAR_OK);
        for (int i = 0; i < 2; i++) {
            assert_status(kit_join(&calls[i]), ACHAR_OK);
        }
        achar_space_close(s.space);
    }
    report(early ? "party that came first" : "party that leads", n - 2);
}

static void first_party_dies(void **state)
{
    party_dies(true);
}

static void leader_dies(void **state)
{
    party_dies(false);
}

/* ---- the reaper itself ---- */

static void own_and_stay(void *argument)
{
    scene *s = argument;
    achar_lock_acquire(s->lock, FOR_EVER);
    achar_semaphore_acquire(s->semaphore, FOR_EVER);
    achar_event_set(s->ready);
    pause();
}

static void reap(void *argument)
{
    achar__reap_the_dead(((scene *)argument)->space);
}

/* One dies as owner, with one who waits behind it; the next one dies while it settles that. */
static void reaper_dies(void **state)
{
    unsigned n = 1;
    bool killed = true;
    for (; killed; n++) {
        scene s = scene_make(0);
        pid_t owner = kit_fork(own_and_stay, &s, 0);
        while (
            !achar_event_is_set(s.ready)) { /* not waiting, so that this process watches nobody */
            kit_nap_ms(1);
        }
        pid_t waiters[2];
        for (int i = 0; i < 2; i++) {
            waiters[i] = kit_fork(i ? wait_as_victim : queue_up, &s, 0);
        }
        kit_expect_waiting(s.space, 2);
        for (int i = 0; i < 2; i++) { /* so that it is not they who reap */
            kill(waiters[i], SIGKILL);
            assert_true(kit_was_killed(waiters[i]));
        }
        kill(owner, SIGKILL);
        assert_true(kit_was_killed(owner));
        killed = kit_was_killed(kit_fork(reap, &s, n));
        achar__reap_the_dead(s.space);
        assert_int_equal(kit_count_waiting(s.space), 0);
        assert_status(achar_lock_acquire(s.lock, 0), ACHAR_E_OWNER_DIED);
        assert_true(acquire_or_recover(&s));
        assert_status(achar_lock_release(s.lock), ACHAR_OK);
        uint32_t lost;
        assert_status(achar_semaphore_recover(s.semaphore, &lost), ACHAR_OK);
        assert_int_equal(lost, 1);
        expect_lock_works(&s);
        achar_space_close(s.space);
    }
    report("reaper", n - 2);
}

/* ---- the registry ---- */

/* A space goes to another process as a descriptor; closing it is leaving, and an orphan tells. */
static void a_space_is_opened_and_left(void **state)
{
    scene s = scene_make(0);
    achar_space *again = NULL;
    achar_lock lock = {0};
    uint64_t id[2], other_id[2];
    assert_status(achar_space_open(achar_space_fd(s.space), &again), ACHAR_OK);
    achar_space_id(s.space, id);
    achar_space_id(again, other_id);
    assert_memory_equal(id, other_id, sizeof id);
    lock.space = again;
    assert_status(
        achar_sync_find(again, achar_sync_id(s.space, s.lock.cell), ACHAR_SYNC_LOCK, &lock.cell),
        ACHAR_OK);
    assert_status(achar_lock_acquire(lock, 0), ACHAR_OK);
    assert_status(achar_lock_acquire(s.lock, 0), ACHAR_E_TIMEOUT);
    kit_call waiting;
    kit_start(&waiting, acquire, &s);
    kit_expect_waiting(s.space, 1);
    achar_space_close(again);
    assert_status(kit_join(&waiting), ACHAR_E_OWNER_DIED);
    assert_status(achar_lock_recover(s.lock, 0), ACHAR_OK);
    expect_lock_works(&s);
    int null_fd = STDIN_FILENO;
    int status = achar_space_open(null_fd, &again);
    assert_true(status == ACHAR_E_INVALID || status == ACHAR_E_IO || status == ACHAR_E_NOMEM);
    assert_status(achar_space_open(-1, &again), ACHAR_E_IO);
    achar_space_close(s.space);
}

/* A zombie is dead, though its pid is still there. */
static void a_zombie_is_dead(void **state)
{
    scene s = scene_make(0);
    pid_t owner = kit_fork(own_and_stay, &s, 0);
    assert_status(achar_event_wait(s.ready, ENOUGH_NS), ACHAR_OK);
    kill(owner, SIGKILL);
    assert_status(achar_lock_acquire(s.lock, FOR_EVER), ACHAR_E_OWNER_DIED);
    assert_true(kit_was_killed(owner));
    achar_space_close(s.space);
}

/* With an argument: only the tests whose names match it (* and ? are wild). */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(owner_dies),
        KIT_TEST(waiter_for_a_lock_dies),
        KIT_TEST(waiter_on_a_condition_dies),
        KIT_TEST(notifier_dies),
        KIT_TEST(holder_of_permits_dies),
        KIT_TEST(waiter_for_a_permit_dies),
        KIT_TEST(many_holders_die),
        KIT_TEST(setter_dies),
        KIT_TEST(first_party_dies),
        KIT_TEST(leader_dies),
        KIT_TEST(reaper_dies),
        KIT_TEST(a_space_is_opened_and_left),
        KIT_TEST(a_zombie_is_dead),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("sync faults", tests, NULL, NULL);
}
