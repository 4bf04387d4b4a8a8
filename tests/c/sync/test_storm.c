/*
 * test_storm.c - processes use every object at random, and are killed at random, for ACHAR_STORM_S
 * seconds (3). Whatever happens, exclusion holds, everyone gets on, and in the end nothing is missing.
 */
#include "kit.h"

#include "runtime/sync/arena.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PROCESS_COUNT = 6, PERMIT_COUNT = 3 };

/* Beside the space, in memory of its own. */
typedef struct record {
    _Atomic unsigned long steps, recoveries, notified, timed_out;
    _Atomic int stop;
    unsigned long left, right; /* equal, for whoever gets the lock from a living owner */
    _Atomic int inside;        /* who holds permits */
    _Atomic int torn;          /* exclusion did not hold */
    _Atomic unsigned long put, got;
} record;

typedef struct stage {
    achar_space *space;
    achar_lock locks[2];
    achar_condition conditions[2];
    achar_semaphore semaphore;
    achar_event event;
    achar_barrier barrier;
    achar_queue queue;
    record *record;
} stage;

/* False: the process that had it was killed, and what it guards is mended. */
static bool enter(stage *s, int which, int64_t timeout_ns)
{
    int status = achar_lock_acquire(s->locks[which], timeout_ns);
    while (status == ACHAR_E_OWNER_DIED) {
        if (achar_lock_recover(s->locks[which], 1) == ACHAR_OK) {
            atomic_fetch_add(&s->record->recoveries, 1);
            if (which == 0) { /* the lock that guards them */
                s->record->right = s->record->left;
            }
            return true;
        }
        status = achar_lock_acquire(s->locks[which], timeout_ns);
    }
    return status == ACHAR_OK;
}

static void check_and_change(stage *s)
{
    volatile unsigned long *left = &s->record->left, *right = &s->record->right;
    if (*left != *right) {
        atomic_store(&s->record->torn, 1);
    }
    *left += 1;
    for (volatile int i = 0; i < 3000; i++) {
    }
    *right += 1;
}

static void use_lock(stage *s, unsigned *seed)
{
    if (enter(s, 0, rand_r(seed) % 3 ? FOR_EVER : 100000)) {
        check_and_change(s);
        achar_lock_release(s->locks[0]);
    }
}

static void use_condition(stage *s, unsigned *seed)
{
    int which = rand_r(seed) % 2;
    if (!enter(s, which, FOR_EVER)) {
        return;
    }
    int status = ACHAR_OK;
    if (which == 0) {
        check_and_change(s);
    }
    if (rand_r(seed) % 2) {
        status =
            achar_condition_wait(s->conditions[which], rand_r(seed) % 4 ? 2 * MS_NS : FOR_EVER);
        atomic_fetch_add(status == ACHAR_OK ? &s->record->notified : &s->record->timed_out, 1);
    } else {
        achar_condition_notify(s->conditions[which], rand_r(seed) % 4 ? 1 : UINT32_MAX);
    }
    if (status != ACHAR_E_OWNER_DIED) {
        if (which == 0) {
            check_and_change(s);
        }
        achar_lock_release(s->locks[which]);
    }
}

static void use_permit(stage *s, unsigned *seed)
{
    uint32_t lost;
    int status = achar_semaphore_acquire(s->semaphore, rand_r(seed) % 2 ? FOR_EVER : 100000);
    if (status == ACHAR_E_OWNER_DIED) {
        achar_semaphore_recover(s->semaphore, &lost);
    } else if (status == ACHAR_OK) {
        achar_semaphore_release(s->semaphore, 1);
    }
}

static void use_others(stage *s, unsigned *seed)
{
    uint32_t index;
    switch (rand_r(seed) % 4) {
    case 0:
        achar_event_set(s->event);
        break;
    case 1:
        achar_event_clear(s->event);
        break;
    case 2:
        achar_event_wait(s->event, MS_NS);
        break;
    default:
        if (achar_barrier_wait(s->barrier, MS_NS, 1, &index) == ACHAR_OK) {
            if (index == 1) {
                achar_barrier_open(s->barrier);
            }
        } else {
            achar_barrier_reset(s->barrier);
        }
    }
}

/* Messages that say how long they are and are filled with that. */
static void use_queue(stage *s, unsigned *seed)
{
    achar_message message;
    unsigned char data[9000];
    if (rand_r(seed) % 2) {
        uint32_t nbytes = 4 + (uint32_t)rand_r(seed) % (rand_r(seed) % 4 ? 300 : sizeof data - 4);
        memset(data, (int)nbytes, nbytes);
        memcpy(data, &nbytes, 4);
        if (achar_queue_put(s->queue, data, nbytes, MS_NS) == ACHAR_OK) {
            atomic_fetch_add(&s->record->put, 1);
        }
    } else if (achar_queue_get(s->queue, rand_r(seed) % 2 ? MS_NS : 0, &message) == ACHAR_OK) {
        const unsigned char *got = message.data;
        uint32_t nbytes;
        memcpy(&nbytes, got, 4);
        if (nbytes != message.nbytes || got[nbytes - 1] != (nbytes > 4 ? nbytes & 0xff : 0)) {
            atomic_store(&s->record->torn, 1);
        }
        atomic_fetch_add(&s->record->got, 1);
        achar_message_free(&message);
        achar_queue_task_done(s->queue);
    }
}

static void act(stage *s, unsigned seed)
{
    while (!atomic_load(&s->record->stop)) {
        switch (rand_r(&seed) % 5) {
        case 0:
            use_lock(s, &seed);
            break;
        case 1:
            use_condition(s, &seed);
            break;
        case 2:
            use_permit(s, &seed);
            break;
        case 3:
            use_queue(s, &seed);
            break;
        default:
            use_others(s, &seed);
        }
        atomic_fetch_add(&s->record->steps, 1);
    }
}

static void *act_in_thread(void *argument)
{
    act(argument, (unsigned)getpid() * 31);
    return NULL;
}

/* A process with two threads at it. */
static pid_t start(stage *s, unsigned seed)
{
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* with the test, if that fails */
        pthread_create(&thread, NULL, act_in_thread, s);
        act(s, seed);
        pthread_join(thread, NULL);
        _exit(0);
    }
    return child;
}

/* Those who wait for ever are woken until all have gone. */
static void end(stage *s, pid_t *children)
{
    int left = PROCESS_COUNT;
    int64_t limit_ns = kit_now_ns() + ENOUGH_NS;
    atomic_store(&s->record->stop, 1);
    while (left > 0) {
        for (int which = 0; which < 2; which++) {
            if (enter(s, which, ENOUGH_NS)) {
                achar_condition_notify(s->conditions[which], UINT32_MAX);
                assert_status(achar_lock_release(s->locks[which]), ACHAR_OK);
            }
        }
        for (int i = 0; i < PROCESS_COUNT; i++) {
            int status;
            if (children[i] != 0 && waitpid(children[i], &status, WNOHANG) == children[i]) {
                assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                children[i] = 0;
                left--;
            }
        }
        if (kit_now_ns() > limit_ns) {
            fail_msg("%d processes hang", left);
        }
        kit_nap_ms(1);
    }
}

/* What is left comes out whole; then everything is done, or was with the dead; no memory is lost. */
static void empty(stage *s)
{
    achar_message message;
    uint32_t lost;
    unsigned long left = 0;
    for (; achar_queue_get(s->queue, 0, &message) == ACHAR_OK; left++) {
        achar_message_free(&message);
        assert_status(achar_queue_task_done(s->queue), ACHAR_OK);
    }
    achar_queue_recover(s->queue, &lost);
    assert_status(achar_queue_join(s->queue, 0), ACHAR_OK);
    assert_int_equal(s->queue.cell->messages.count, 0);
    assert_int_equal(s->queue.cell->messages.promised, 0);
    assert_int_equal(s->queue.cell->messages.reserved, 0);
    assert_in_range(achar__extents_taken(s->space, achar__ticket(s->space)), 0, 1);
    print_message("           %lu messages put, %lu taken, %lu left\n",
                  atomic_load(&s->record->put), atomic_load(&s->record->got), left);
}

static void kills_at_random(void **state)
{
    const char *seconds = getenv("ACHAR_STORM_S");
    int64_t end_ns = kit_now_ns() + (seconds ? atoi(seconds) : 3) * SECOND_NS;
    stage s = {.space = kit_space(1)};
    pid_t children[PROCESS_COUNT];
    unsigned seed = (unsigned)getpid(), kills = 0;
    uint32_t lost = 0;

    alarm((unsigned)((end_ns - kit_now_ns()) / SECOND_NS) + TEST_LIMIT_S);
    s.record =
        mmap(NULL, sizeof *s.record, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(s.record, MAP_FAILED);
    for (int i = 0; i < 2; i++) {
        assert_status(achar_lock_create(s.space, i, &s.locks[i]), ACHAR_OK);
        assert_status(achar_condition_create(s.locks[i], &s.conditions[i]), ACHAR_OK);
    }
    assert_status(achar_semaphore_create(s.space, PERMIT_COUNT, 1, &s.semaphore), ACHAR_OK);
    assert_status(achar_event_create(s.space, &s.event), ACHAR_OK);
    assert_status(achar_barrier_create(s.space, 2, &s.barrier), ACHAR_OK);
    assert_status(achar_queue_create(s.space, 50, &s.queue), ACHAR_OK);
    for (int i = 0; i < PROCESS_COUNT; i++) {
        children[i] = start(&s, rand_r(&seed));
    }
    unsigned long steps = 0;
    int64_t moved_ns = kit_now_ns();
    /* On a busy machine it may take longer until one dies while it holds a lock: alarm() ends the test. */
    while (kit_now_ns() < end_ns || !atomic_load(&s.record->recoveries)) {
        /* The slower they are to get on, the longer they are left alone. */
        int64_t still_ns = (kit_now_ns() - moved_ns) / 8;
        struct timespec nap = {0, rand_r(&seed) % 4000000 +
                                      (long)(still_ns < SECOND_NS / 4 ? still_ns : SECOND_NS / 4)};
        int victim = rand_r(&seed) % PROCESS_COUNT;
        nanosleep(&nap, NULL);
        kill(children[victim], SIGKILL);
        assert_int_equal(waitpid(children[victim], NULL, 0), children[victim]);
        children[victim] = start(&s, rand_r(&seed));
        kills++;
        if (atomic_load(&s.record->steps) != steps) {
            steps = atomic_load(&s.record->steps);
            moved_ns = kit_now_ns();
        }
        if (kit_now_ns() - moved_ns > ENOUGH_NS) {
            fail_msg("nobody gets on");
        }
    }
    end(&s, children);
    achar__reap_the_dead(s.space);
    assert_false(atomic_load(&s.record->torn));
    assert_int_equal(kit_count_waiting(s.space), 0);
    achar_semaphore_recover(s.semaphore, &lost);
    assert_int_equal(achar_semaphore_value(s.semaphore), PERMIT_COUNT);
    empty(&s);
    print_message("           %u kills, %lu steps, %lu recoveries, %lu waits notified, %lu not\n",
                  kills, steps, atomic_load(&s.record->recoveries),
                  atomic_load(&s.record->notified), atomic_load(&s.record->timed_out));
    munmap(s.record, sizeof *s.record);
    achar_space_close(s.space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_at_random),
    };
    return cmocka_run_group_tests_name("sync storm", tests, NULL, NULL);
}
