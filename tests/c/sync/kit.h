/*
 * kit.h - what the tests of synchronisation share: threads that wait, processes that are killed.
 */
#ifndef TESTS_C_SYNC_KIT_H
#define TESTS_C_SYNC_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <achar/sync.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS_NS        INT64_C(1000000)
#define SECOND_NS    INT64_C(1000000000)
#define ENOUGH_NS    (100 * SECOND_NS) /* for anything that must happen */
#define FOR_EVER     INT64_C(-1)
#define TEST_LIMIT_S 300
#ifdef __SANITIZE_THREAD__ /* each costs ten times as much, and races show in a few */
#define KIT_MANY(usual) ((usual) / 10)
#else
#define KIT_MANY(usual) (usual)
#endif
#define KIT_TEST(function) cmocka_unit_test_setup(function, kit_set_alarm)
#define assert_status(got, wanted)                                                                 \
    assert_string_equal(achar_status_name(got), achar_status_name(wanted))

/* A test that hangs is killed. */
static inline int kit_set_alarm(void **state)
{
    alarm(TEST_LIMIT_S);
    return 0;
}

static inline void kit_nap_ms(long milliseconds)
{
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

static inline int64_t kit_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

/* One call in a thread of its own, and its status. */
typedef struct kit_call {
    int (*function)(void *argument);
    void *argument;
    int status;
    _Atomic bool done;
    _Atomic int tid;
    pthread_t thread;
} kit_call;

void kit_start(kit_call *call, int (*function)(void *), void *argument);
/* Waits until its thread sleeps on a futex, where a signal interrupts it. */
void kit_expect_asleep(const kit_call *call);
/* Waits for its end; the test fails if it does not come. */
int kit_join(kit_call *call);

/* How many waiters stand on lists in the space (see layout.h): to know that a thread waits. */
unsigned kit_count_waiting(achar_space *space);
/* Those of them that have not been notified. */
unsigned kit_count_on_conditions(achar_space *space);
/* Waits until there are 'count'. */
void kit_expect_waiting(achar_space *space, unsigned count);

/* Runs 'body' in a child that is killed at its n-th crash point; 0: never. */
pid_t kit_fork(void (*body)(void *), void *argument, unsigned n);
/* Waits for the child. True: it was killed; false: it came to its end. Else the test fails. */
bool kit_was_killed(pid_t child);

achar_space *kit_space(int shared);

#endif
