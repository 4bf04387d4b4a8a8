/*
 * test_threads.c - what each object promises, between threads; every test in a private and in a
 * shared space.
 */
#include "kit.h"
#include "runtime/sync/latch.h"

#include <signal.h>
#include <stdlib.h>

static int on_both(void (*body)(achar_space *space))
{
    for (int shared = 0; shared < 2; shared++) {
        achar_space *space = kit_space(shared);
        body(space);
        assert_int_equal(kit_count_waiting(space), 0);
        achar_space_close(space);
    }
    return 0;
}

#define ON_BOTH(name)                                                                              \
    static void name##_in(achar_space *space);                                                     \
    static void name(void **state)                                                                 \
    {                                                                                              \
        on_both(name##_in);                                                                        \
    }                                                                                              \
    static void name##_in(achar_space *space)

/* ---- locks ---- */

static int acquire(void *argument)
{
    return achar_lock_acquire(*(achar_lock *)argument, FOR_EVER);
}

static int acquire_30ms(void *argument)
{
    return achar_lock_acquire(*(achar_lock *)argument, 30 * MS_NS);
}

static int release(void *argument)
{
    return achar_lock_release(*(achar_lock *)argument);
}

static int in_thread(int (*function)(void *), void *argument)
{
    kit_call call;
    kit_start(&call, function, argument);
    return kit_join(&call);
}

ON_BOTH(a_lock_excludes)
{
    achar_lock lock;
    assert_status(achar_lock_create(space, 0, &lock), ACHAR_OK);
    assert_status(achar_lock_release(lock), ACHAR_E_NOT_HELD);
    assert_status(achar_lock_acquire(lock, 0), ACHAR_OK);
    assert_true(achar_lock_is_taken(lock));
    assert_status(achar_lock_acquire(lock, 0), ACHAR_E_TIMEOUT);
    assert_status(achar_lock_acquire(lock, 5 * MS_NS), ACHAR_E_TIMEOUT);
    assert_status(in_thread(acquire_30ms, &lock), ACHAR_E_TIMEOUT);
    assert_status(in_thread(release, &lock), ACHAR_OK); /* another thread may */
    assert_false(achar_lock_is_taken(lock));
    assert_status(achar_lock_recover(lock, 0), ACHAR_E_NOT_HELD);
    kit_call waiting;
    assert_status(achar_lock_acquire(lock, FOR_EVER), ACHAR_OK);
    kit_start(&waiting, acquire, &lock);
    kit_expect_waiting(space, 1);
    assert_status(achar_lock_release(lock), ACHAR_OK);
    assert_status(kit_join(&waiting), ACHAR_OK);
    assert_status(achar_lock_release(lock), ACHAR_OK);
}

ON_BOTH(a_recursive_lock_counts)
{
    achar_lock lock;
    assert_status(achar_lock_create(space, 1, &lock), ACHAR_OK);
    for (uint32_t i = 1; i <= 3; i++) {
        assert_status(achar_lock_acquire(lock, 0), ACHAR_OK);
        assert_int_equal(achar_lock_depth(lock), i);
    }
    assert_status(in_thread(release, &lock), ACHAR_E_NOT_HELD);
    assert_status(in_thread(acquire_30ms, &lock), ACHAR_E_TIMEOUT);
    for (int i = 0; i < 3; i++) {
        assert_true(achar_lock_is_mine(lock));
        assert_status(achar_lock_release(lock), ACHAR_OK);
    }
    assert_false(achar_lock_is_mine(lock));
    assert_status(achar_lock_release(lock), ACHAR_E_NOT_HELD);
}

/* Who waits gets the lock in the order of arrival. */
typedef struct in_order {
    achar_lock lock;
    int number;
    int *order;
    int *count;
} in_order;

static int take_number(void *argument)
{
    in_order *it = argument;
    int status = achar_lock_acquire(it->lock, FOR_EVER);
    it->order[(*it->count)++] = it->number;
    achar_lock_release(it->lock);
    return status;
}

ON_BOTH(locks_are_fifo)
{
    enum { COUNT = 8 };
    achar_lock lock;
    kit_call calls[COUNT];
    in_order arguments[COUNT];
    int order[COUNT], count = 0;
    assert_status(achar_lock_create(space, 0, &lock), ACHAR_OK);
    assert_status(achar_lock_acquire(lock, 0), ACHAR_OK);
    for (int i = 0; i < COUNT; i++) {
        arguments[i] = (in_order){lock, i, order, &count};
        kit_start(&calls[i], take_number, &arguments[i]);
        kit_expect_waiting(space, (unsigned)i + 1);
    }
    assert_status(achar_lock_release(lock), ACHAR_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_status(kit_join(&calls[i]), ACHAR_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(order[i], i);
    }
}

/* A counter without atomics, under a lock: with time limits, tries and patience, all at once. */
typedef struct contest {
    achar_lock lock;
    unsigned seed, rounds;
    unsigned long *counter;
    _Atomic unsigned long *entered;
} contest;

static int compete(void *argument)
{
    contest *it = argument;
    for (unsigned i = 0; i < it->rounds; i++) {
        static const int64_t limits[] = {FOR_EVER, 0, 1000, 100000};
        int status = achar_lock_acquire(it->lock, limits[rand_r(&it->seed) % 4]);
        if (status == ACHAR_E_TIMEOUT) {
            continue;
        }
        if (status != ACHAR_OK) {
            return status;
        }
        ++*it->counter;
        atomic_fetch_add(it->entered, 1);
        if (achar_lock_release(it->lock) != ACHAR_OK) {
            return ACHAR_E_INVALID;
        }
    }
    return ACHAR_OK;
}

ON_BOTH(locks_under_contention)
{
    enum { COUNT = 4 };
    for (int recursive = 0; recursive < 2; recursive++) {
        achar_lock lock;
        kit_call calls[COUNT];
        contest arguments[COUNT];
        unsigned long counter = 0;
        _Atomic unsigned long entered = 0;
        assert_status(achar_lock_create(space, recursive, &lock), ACHAR_OK);
        for (int i = 0; i < COUNT; i++) {
            arguments[i] = (contest){lock, (unsigned)i, 3000, &counter, &entered};
            kit_start(&calls[i], compete, &arguments[i]);
        }
        for (int i = 0; i < COUNT; i++) {
            assert_status(kit_join(&calls[i]), ACHAR_OK);
        }
        assert_int_equal(counter, atomic_load(&entered));
        assert_false(achar_lock_is_taken(lock));
    }
}

/* ---- conditions ---- */

typedef struct waits {
    achar_condition condition;
    int64_t timeout_ns;
    int *inside;
    int number;
    int *order, *count;
} waits;

static int wait_once(void *argument)
{
    waits *it = argument;
    achar_lock lock = achar_condition_lock(it->condition);
    int status = achar_lock_acquire(lock, FOR_EVER);
    if (status != ACHAR_OK) {
        return status;
    }
    status = achar_condition_wait(it->condition, it->timeout_ns);
    if (it->order) {
        it->order[(*it->count)++] = it->number;
    }
    int released = achar_lock_release(lock);
    return released == ACHAR_OK ? status : released;
}

ON_BOTH(a_condition_wakes_one_some_all)
{
    enum { COUNT = 8 };
    for (int recursive = 0; recursive < 2; recursive++) {
        achar_lock lock;
        achar_condition condition;
        kit_call calls[COUNT];
        waits arguments[COUNT];
        int order[COUNT], count = 0;
        assert_status(achar_lock_create(space, recursive, &lock), ACHAR_OK);
        assert_status(achar_condition_create(lock, &condition), ACHAR_OK);
        assert_status(achar_condition_wait(condition, 0), ACHAR_E_NOT_HELD);
        assert_status(achar_condition_notify(condition, 1), ACHAR_E_NOT_HELD);
        for (int i = 0; i < COUNT; i++) {
            arguments[i] = (waits){condition, FOR_EVER, NULL, i, order, &count};
            kit_start(&calls[i], wait_once, &arguments[i]);
            kit_expect_waiting(space, (unsigned)i + 1);
        }
        static const struct {
            uint32_t notify;
            int total;
        } steps[] = {{0, 0}, {1, 1}, {3, 4}, {UINT32_MAX, COUNT}};
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            assert_status(achar_lock_acquire(lock, FOR_EVER), ACHAR_OK);
            assert_status(achar_condition_notify(condition, steps[s].notify), ACHAR_OK);
            int before = count;
            kit_nap_ms(10); /* nobody goes on before the release */
            assert_int_equal(count, before);
            assert_status(achar_lock_release(lock), ACHAR_OK);
            kit_expect_waiting(space, (unsigned)(COUNT - steps[s].total));
        }
        for (int i = 0; i < COUNT; i++) {
            assert_status(kit_join(&calls[i]), ACHAR_OK);
        }
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(order[i], i);
        }
    }
}

ON_BOTH(a_condition_times_out_with_the_lock)
{
    achar_lock lock;
    achar_condition condition;
    assert_status(achar_lock_create(space, 1, &lock), ACHAR_OK);
    assert_status(achar_condition_create(lock, &condition), ACHAR_OK);
    assert_status(achar_lock_acquire(lock, 0), ACHAR_OK);
    assert_status(achar_lock_acquire(lock, 0), ACHAR_OK);
    for (int i = 0; i < 3; i++) {
        int64_t before_ns = kit_now_ns();
        assert_status(achar_condition_wait(condition, i * 10 * MS_NS), ACHAR_E_TIMEOUT);
        assert_true(kit_now_ns() - before_ns >= i * 10 * MS_NS);
        assert_int_equal(achar_lock_depth(lock), 2);
    }
    assert_status(achar_lock_release(lock), ACHAR_OK);
    assert_status(achar_lock_release(lock), ACHAR_OK);
}

static void notify_until_done(kit_call *call, achar_condition condition)
{
    achar_lock lock = achar_condition_lock(condition);
    while (!atomic_load(&call->done)) {
        assert_status(achar_lock_acquire(lock, FOR_EVER), ACHAR_OK);
        assert_status(achar_condition_notify(condition, UINT32_MAX), ACHAR_OK);
        assert_status(achar_lock_release(lock), ACHAR_OK);
        kit_nap_ms(1);
    }
}

/*
 * The wake-up that is lost elsewhere: notify(1) against a time limit that expires at that moment.
 * Of two waiters one has a limit; whatever the moment, one notification ends the waiting of one: the
 * one with the limit says that it was notified, or the other is.
 */
ON_BOTH(no_wake_up_is_lost_to_a_time_limit)
{
    enum { ROUNDS = 300 };
    achar_lock lock;
    achar_condition condition;
    unsigned seed = 5, caught = 0, missed = 0;
    assert_status(achar_lock_create(space, 0, &lock), ACHAR_OK);
    assert_status(achar_condition_create(lock, &condition), ACHAR_OK);
    for (int round = 0; round < ROUNDS || caught + missed == 0; round++) {
        /* Where threads are so slow that the two are never found, all takes longer. */
        int slower = round < ROUNDS ? 1 : 2 + (round - ROUNDS) % 100;
        kit_call hasty, patient;
        waits with_limit = {.condition = condition, .timeout_ns = slower * 2 * MS_NS};
        waits without = {.condition = condition, .timeout_ns = FOR_EVER};
        int64_t start_ns = kit_now_ns();
        kit_start(&hasty, wait_once, &with_limit);
        kit_nap_ms(slower);
        kit_start(&patient, wait_once, &without);
        /* About when the limit expires; most rounds find both still there. */
        int64_t moment_ns = start_ns + slower * (int64_t)(1500000 + rand_r(&seed) % 1500000);
        while (kit_now_ns() < moment_ns) {
        }
        assert_status(achar_lock_acquire(lock, FOR_EVER), ACHAR_OK);
        bool both = kit_count_on_conditions(space) == 2;
        assert_status(achar_condition_notify(condition, both ? 1 : 0), ACHAR_OK);
        assert_status(achar_lock_release(lock), ACHAR_OK);
        int hasty_status = kit_join(&hasty);
        if (both && hasty_status != ACHAR_OK) {
            assert_status(hasty_status, ACHAR_E_TIMEOUT);
            missed++;
        } else {
            caught += both;
            notify_until_done(&patient, condition);
        }
        assert_status(kit_join(&patient), ACHAR_OK); /* hangs if the wake-up was lost */
    }
    assert_int_not_equal(caught + missed, 0);
}

/* Items pass through a buffer of one; every thread waits with and without limits. */
typedef struct buffer {
    achar_lock lock;
    achar_condition filled, emptied;
    int item; /* 0: empty */
    long sum;
    int left;
} buffer;

static int produce(void *argument)
{
    buffer *b = argument;
    for (int i = 1; i <= 1000; i++) {
        achar_lock_acquire(b->lock, FOR_EVER);
        while (b->item != 0) {
            achar_condition_wait(b->emptied, i % 3 ? FOR_EVER : 50000);
        }
        b->item = i;
        achar_condition_notify(b->filled, 1);
        achar_lock_release(b->lock);
    }
    return ACHAR_OK;
}

static int consume(void *argument)
{
    buffer *b = argument;
    for (;;) {
        achar_lock_acquire(b->lock, FOR_EVER);
        while (b->item == 0 && b->left > 0) {
            achar_condition_wait(b->filled, b->left % 3 ? FOR_EVER : 50000);
        }
        if (b->item == 0) {
            achar_condition_notify(b->filled, UINT32_MAX);
            achar_lock_release(b->lock);
            return ACHAR_OK;
        }
        b->sum += b->item;
        b->item = 0;
        b->left--;
        achar_condition_notify(b->emptied, 1);
        achar_lock_release(b->lock);
    }
}

ON_BOTH(items_pass_through_a_buffer)
{
    kit_call producers[3], consumers[3];
    buffer b = {.left = 3000};
    assert_status(achar_lock_create(space, 0, &b.lock), ACHAR_OK);
    assert_status(achar_condition_create(b.lock, &b.filled), ACHAR_OK);
    assert_status(achar_condition_create(b.lock, &b.emptied), ACHAR_OK);
    for (int i = 0; i < 3; i++) {
        kit_start(&producers[i], produce, &b);
        kit_start(&consumers[i], consume, &b);
    }
    for (int i = 0; i < 3; i++) {
        assert_status(kit_join(&producers[i]), ACHAR_OK);
        assert_status(kit_join(&consumers[i]), ACHAR_OK);
    }
    assert_int_equal(b.sum, 3 * 1000L * 1001 / 2);
    assert_int_equal(b.left, 0);
}

/* ---- signals ---- */

static void do_nothing(int number)
{
}

ON_BOTH(signals_interrupt_and_lose_nothing)
{
    struct sigaction action = {.sa_handler = do_nothing}, before;
    sigaction(SIGUSR1, &action, &before);
    achar_lock lock;
    achar_condition condition;
    assert_status(achar_lock_create(space, 0, &lock), ACHAR_OK);
    assert_status(achar_condition_create(lock, &condition), ACHAR_OK);
    kit_call first, second;
    waits argument = {.condition = condition, .timeout_ns = FOR_EVER};
    kit_start(&first, wait_once, &argument);
    kit_expect_waiting(space, 1);
    kit_start(&second, wait_once, &argument);
    kit_expect_waiting(space, 2);
    /* Notified, and interrupted before it has the lock: the other one gets the notification. */
    assert_status(achar_lock_acquire(lock, FOR_EVER), ACHAR_OK);
    assert_status(achar_condition_notify(condition, 1), ACHAR_OK);
    for (int i = 0; i < 10; i++) { /* it may be on the list and not asleep yet */
        kit_expect_asleep(&first);
        pthread_kill(first.thread, SIGUSR1);
        kit_nap_ms(2);
    }
    assert_status(achar_lock_release(lock), ACHAR_OK);
    assert_status(kit_join(&first), ACHAR_E_INTERRUPTED);
    assert_status(kit_join(&second), ACHAR_OK);

    assert_status(achar_lock_acquire(lock, FOR_EVER), ACHAR_OK);
    kit_start(&first, acquire, &lock);
    while (!atomic_load(&first.done)) {
        pthread_kill(first.thread, SIGUSR1);
        kit_nap_ms(2);
    }
    assert_status(kit_join(&first), ACHAR_E_INTERRUPTED);
    assert_status(achar_lock_release(lock), ACHAR_OK);
    assert_false(achar_lock_is_taken(lock));
    sigaction(SIGUSR1, &before, NULL);
}

/* A signal that comes while the thread still queues up, behind who changes the lock's lists, is not lost. */
ON_BOTH(a_signal_that_meets_the_latch_interrupts)
{
    struct sigaction action = {.sa_handler = do_nothing}, before;
    sigaction(SIGUSR1, &action, &before);
    achar_lock lock;
    assert_status(achar_lock_create(space, 0, &lock), ACHAR_OK);
    assert_status(achar_lock_acquire(lock, FOR_EVER), ACHAR_OK);
    achar__latch(space, lock.cell, achar__ticket(space));
    kit_call call;
    kit_start(&call, acquire, &lock);
    while (!(atomic_load(&lock.cell->latch) & ACHAR__LATCH_CONTENDED)) {
        kit_nap_ms(1);
    }
    for (int i = 0; i < 10; i++) {
        kit_expect_asleep(&call);
        pthread_kill(call.thread, SIGUSR1);
        kit_nap_ms(2);
    }
    achar__unlatch(space, lock.cell);
    assert_status(kit_join(&call), ACHAR_E_INTERRUPTED);
    assert_status(achar_lock_release(lock), ACHAR_OK);
    sigaction(SIGUSR1, &before, NULL);
}

/* ---- events ---- */

static int wait_event(void *argument)
{
    return achar_event_wait(*(achar_event *)argument, FOR_EVER);
}

ON_BOTH(an_event_lets_all_go)
{
    enum { COUNT = 70 }; /* more than are rung at once */
    achar_event event;
    kit_call calls[COUNT];
    assert_status(achar_event_create(space, &event), ACHAR_OK);
    assert_false(achar_event_is_set(event));
    assert_status(achar_event_wait(event, 0), ACHAR_E_TIMEOUT);
    assert_status(achar_event_wait(event, 5 * MS_NS), ACHAR_E_TIMEOUT);
    for (int i = 0; i < COUNT; i++) {
        kit_start(&calls[i], wait_event, &event);
    }
    kit_expect_waiting(space, COUNT);
    assert_status(achar_event_set(event), ACHAR_OK);
    assert_status(achar_event_clear(event), ACHAR_OK); /* they go on all the same */
    for (int i = 0; i < COUNT; i++) {
        assert_status(kit_join(&calls[i]), ACHAR_OK);
    }
    assert_false(achar_event_is_set(event));
    assert_status(achar_event_set(event), ACHAR_OK);
    assert_status(achar_event_set(event), ACHAR_OK);
    assert_status(achar_event_wait(event, FOR_EVER), ACHAR_OK);
}

/* ---- semaphores ---- */

typedef struct permits {
    achar_semaphore semaphore;
    _Atomic int inside, most;
    int rounds;
} permits;

static int use_permits(void *argument)
{
    permits *it = argument;
    for (int i = 0; i < it->rounds; i++) {
        int status = achar_semaphore_acquire(it->semaphore, i % 5 ? FOR_EVER : 20000);
        if (status == ACHAR_E_TIMEOUT) {
            continue;
        }
        if (status != ACHAR_OK) {
            return status;
        }
        int inside = atomic_fetch_add(&it->inside, 1) + 1;
        int most = atomic_load(&it->most);
        while (inside > most && !atomic_compare_exchange_weak(&it->most, &most, inside)) {
        }
        atomic_fetch_sub(&it->inside, 1);
        status = achar_semaphore_release(it->semaphore, 1);
        if (status != ACHAR_OK) {
            return status;
        }
    }
    return ACHAR_OK;
}

ON_BOTH(a_semaphore_counts)
{
    enum { COUNT = 5 };
    permits it = {.rounds = 2000};
    kit_call calls[COUNT];
    assert_status(achar_semaphore_create(space, UINT32_MAX, 0, &it.semaphore), ACHAR_E_INVALID);
    assert_status(achar_semaphore_create(space, 2, 1, &it.semaphore), ACHAR_OK);
    assert_status(achar_semaphore_release(it.semaphore, 1), ACHAR_E_LIMIT);
    assert_status(achar_semaphore_acquire(it.semaphore, 0), ACHAR_OK);
    assert_status(achar_semaphore_release(it.semaphore, 2), ACHAR_E_LIMIT);
    assert_status(achar_semaphore_acquire(it.semaphore, 0), ACHAR_OK);
    assert_status(achar_semaphore_acquire(it.semaphore, 0), ACHAR_E_TIMEOUT);
    assert_status(achar_semaphore_acquire(it.semaphore, 5 * MS_NS), ACHAR_E_TIMEOUT);
    assert_status(achar_semaphore_release(it.semaphore, 2), ACHAR_OK);
    for (int i = 0; i < COUNT; i++) {
        kit_start(&calls[i], use_permits, &it);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_status(kit_join(&calls[i]), ACHAR_OK);
    }
    assert_in_range(atomic_load(&it.most), 1, 2);
    assert_int_equal(achar_semaphore_value(it.semaphore), 2);
    uint32_t lost;
    assert_status(achar_semaphore_recover(it.semaphore, &lost), ACHAR_E_NOT_HELD);
}

/* ---- barriers ---- */

typedef struct party {
    achar_barrier barrier;
    int rounds, lead;
    _Atomic long *arrivals;
    _Atomic int *actions;
    int parties;
} party;

static int meet(void *argument)
{
    party *it = argument;
    for (int round = 0; round < it->rounds; round++) {
        uint32_t index;
        atomic_fetch_add(it->arrivals, 1);
        int status = achar_barrier_wait(it->barrier, FOR_EVER, it->lead, &index);
        if (status != ACHAR_OK) {
            return status;
        }
        /* Nobody is through before all have come. */
        if (atomic_load(it->arrivals) < (long)(round + 1) * it->parties) {
            return ACHAR_E_INVALID;
        }
        if (it->lead && index + 1 == (uint32_t)it->parties) {
            atomic_fetch_add(it->actions, 1);
            if ((status = achar_barrier_open(it->barrier)) != ACHAR_OK) {
                return status;
            }
        }
    }
    return ACHAR_OK;
}

ON_BOTH(a_barrier_keeps_step)
{
    enum { COUNT = 5, ROUNDS = 300 };
    for (int lead = 0; lead < 2; lead++) {
        _Atomic long arrivals = 0;
        _Atomic int actions = 0;
        kit_call calls[COUNT];
        party it = {.rounds = ROUNDS,
                    .lead = lead,
                    .arrivals = &arrivals,
                    .actions = &actions,
                    .parties = COUNT};
        assert_status(achar_barrier_create(space, COUNT, &it.barrier), ACHAR_OK);
        for (int i = 0; i < COUNT; i++) {
            kit_start(&calls[i], meet, &it);
        }
        for (int i = 0; i < COUNT; i++) {
            assert_status(kit_join(&calls[i]), ACHAR_OK);
        }
        assert_int_equal(atomic_load(&arrivals), (long)COUNT * ROUNDS);
        assert_int_equal(atomic_load(&actions), lead ? ROUNDS : 0);
        assert_int_equal(achar_barrier_waiting(it.barrier), 0);
    }
}

static int wait_barrier(void *argument)
{
    uint32_t index;
    return achar_barrier_wait(*(achar_barrier *)argument, FOR_EVER, 0, &index);
}

ON_BOTH(a_barrier_breaks_and_is_mended)
{
    achar_barrier barrier;
    kit_call calls[2];
    uint32_t index;
    assert_status(achar_barrier_create(space, 0, &barrier), ACHAR_E_INVALID);
    assert_status(achar_barrier_create(space, 3, &barrier), ACHAR_OK);
    for (int how = 0; how < 3; how++) {
        for (int i = 0; i < 2; i++) {
            kit_start(&calls[i], wait_barrier, &barrier);
        }
        kit_expect_waiting(space, 2);
        assert_int_equal(achar_barrier_waiting(barrier), 2);
        switch (how) {
        case 0:
            achar_barrier_abort(barrier);
            break;
        case 1:
            achar_barrier_reset(barrier);
            break;
        default: /* the last one comes, leads, and gives up */
            assert_status(achar_barrier_wait(barrier, 0, 1, &index), ACHAR_OK);
            assert_int_equal(index, 2);
            achar_barrier_abort(barrier);
            assert_status(achar_barrier_open(barrier), ACHAR_E_BROKEN);
        }
        for (int i = 0; i < 2; i++) {
            assert_status(kit_join(&calls[i]), ACHAR_E_BROKEN);
        }
        assert_int_equal(achar_barrier_is_broken(barrier), how != 1);
        if (how != 1) {
            assert_status(achar_barrier_wait(barrier, FOR_EVER, 0, &index), ACHAR_E_BROKEN);
        }
        achar_barrier_reset(barrier);
        assert_false(achar_barrier_is_broken(barrier));
    }
    kit_start(&calls[0], wait_barrier, &barrier);
    kit_expect_waiting(space, 1);
    assert_status(achar_barrier_wait(barrier, 5 * MS_NS, 0, &index), ACHAR_E_BROKEN);
    assert_status(kit_join(&calls[0]), ACHAR_E_BROKEN);
}

/* ---- objects ---- */

ON_BOTH(objects_are_found_by_their_number)
{
    achar_lock lock, again;
    achar_cell *found;
    assert_status(achar_lock_create(space, 0, &lock), ACHAR_OK);
    uint64_t id = achar_sync_id(space, lock.cell);
    assert_status(achar_sync_find(space, id, ACHAR_SYNC_LOCK, &found), ACHAR_OK);
    assert_ptr_equal(found, lock.cell);
    assert_status(achar_sync_find(space, id, ACHAR_SYNC_EVENT, &found), ACHAR_E_INVALID);
    assert_status(achar_sync_find(space, id + 100000, ACHAR_SYNC_LOCK, &found), ACHAR_E_INVALID);
    achar_sync_destroy(space, lock.cell);
    assert_status(achar_sync_find(space, id, ACHAR_SYNC_LOCK, &found), ACHAR_E_INVALID);
    assert_status(achar_lock_create(space, 0, &again), ACHAR_OK);
    assert_ptr_equal(again.cell, lock.cell); /* the same place, another object */
    assert_int_not_equal(achar_sync_id(space, again.cell), id);
}

ON_BOTH(a_space_has_an_end)
{
    achar_lock lock;
    unsigned long count = 0;
    int status;
    while ((status = achar_lock_create(space, 0, &lock)) == ACHAR_OK) {
        count++;
    }
    assert_status(status, ACHAR_E_LIMIT);
    assert_int_equal(count, 65536);
    achar_sync_destroy(space, lock.cell);
    assert_status(achar_lock_create(space, 0, &lock), ACHAR_OK);
}

/* With an argument: only the tests whose names match it (* and ? are wild). */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(a_lock_excludes),
        KIT_TEST(a_recursive_lock_counts),
        KIT_TEST(locks_are_fifo),
        KIT_TEST(locks_under_contention),
        KIT_TEST(a_condition_wakes_one_some_all),
        KIT_TEST(a_condition_times_out_with_the_lock),
        KIT_TEST(no_wake_up_is_lost_to_a_time_limit),
        KIT_TEST(items_pass_through_a_buffer),
        KIT_TEST(signals_interrupt_and_lose_nothing),
        KIT_TEST(a_signal_that_meets_the_latch_interrupts),
        KIT_TEST(an_event_lets_all_go),
        KIT_TEST(a_semaphore_counts),
        KIT_TEST(a_barrier_keeps_step),
        KIT_TEST(a_barrier_breaks_and_is_mended),
        KIT_TEST(objects_are_found_by_their_number),
        KIT_TEST(a_space_has_an_end),
    };
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    return cmocka_run_group_tests_name("sync threads", tests, NULL, NULL);
}
