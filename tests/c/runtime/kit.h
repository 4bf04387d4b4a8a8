/* kit.h - what the runtime's tests share: pools of echo workers, tasks from text, checks. */
#ifndef ACHAR_TESTS_RUNTIME_KIT_H
#define ACHAR_TESTS_RUNTIME_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "runtime/pool/pool.h"
#include "runtime/sync/futex.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND_NS INT64_C(1000000)
#define SECOND_NS      INT64_C(1000000000)
#define ENOUGH_NS      (150 * SECOND_NS) /* for anything that must happen */
#define TEST_LIMIT_S   300
#ifdef __SANITIZE_THREAD__ /* each costs ten times as much, and races show in a few */
#define KIT_MANY(usual) ((usual) / 10)
#else
#define KIT_MANY(usual) (usual)
#endif
#define KIT_TEST(function) cmocka_unit_test_setup(function, kit_set_alarm)
#define assert_status(got, wanted)                                                                 \
    assert_string_equal(achar_status_name(got), achar_status_name(wanted))

void kit_close_gate(void);

/* A test that hangs is killed; one that was may have left its gate open, and its process id. */
static inline int kit_set_alarm(void **state)
{
    alarm(TEST_LIMIT_S);
    kit_close_gate();
    return 0;
}

static inline void kit_nap_ms(long milliseconds)
{
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0) {
    }
}

/* The path of echo_worker, from the environment. */
const char *kit_echo_worker(void);

typedef struct kit_options {
    unsigned workers;    /* 0: 2 */
    const char *mode;    /* echo_worker's argument */
    const char *crash;   /* ACHAR_CRASH; "stop name:count" stops it there */
    const char *program; /* instead of echo_worker */
    size_t region_nbytes;
    unsigned max_tasks_per_worker;
    const char *hello;
    bool has_door;
} kit_options;

achar__pool *kit_pool(kit_options options);
/* Closes, joins within ENOUGH_NS, releases. */
void kit_end(achar__pool *pool);

/* The function that all tasks of the kit are of; one reference. */
achar__function *kit_function(achar__pool *pool);
achar__task *kit_submit_bytes(achar__pool *pool, achar__function *function, const char *command,
                              const void *bytes, size_t nbytes);
achar__task *kit_submit(achar__pool *pool, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A task that runs until the test opens its gate: nothing else says how long that is. One gate at a time. */
achar__task *kit_hold(achar__pool *pool);
/* The command line of such a task. */
const char *kit_hold_command(void);
void kit_open_gate(void); /* kit_close_gate() for the next one */
/* Waits until a worker has the task; it is not to end before. */
void kit_wait_until_running(achar__task *task);

/* Waits; the task is finished afterwards. */
achar__task_result kit_result(achar__task *task);
/* Waits, checks, releases. */
void kit_expect(achar__task *task, enum achar__task_state state, const char *text);
void kit_expect_death(achar__task *task, enum achar__task_state state, int exit_code,
                      int signal_number);
/* Waits for a task that returns a number. */
long kit_expect_number(achar__task *task);
/* Waits until there are 'count' workers. */
void kit_wait_for_workers(achar__pool *pool, int *pids, size_t count);
/* Runs one echo: the pool works. */
void kit_expect_works(achar__pool *pool);
/* The fork below is a child of this process; its exit code. */
int kit_exit_code(pid_t child);
/* As in /proc: 'T' stopped, 'Z' a zombie; 'X': there is none. */
char kit_state_of(int pid);
bool kit_is_alive(int pid);
/* Waits until no such process is left. */
void kit_expect_gone(int pid);

#endif
