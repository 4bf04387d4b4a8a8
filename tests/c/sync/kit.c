/* kit.c - see kit.h. */
#include "kit.h"

#include "runtime/sync/waiter.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void *run_call(void *argument)
{
    kit_call *call = argument;
    atomic_store(&call->tid, (int)gettid());
    call->status = call->function(call->argument);
    atomic_store(&call->done, true);
    return NULL;
}

void kit_start(kit_call *call, int (*function)(void *), void *argument)
{
    *call = (kit_call){.function = function, .argument = argument};
    assert_int_equal(pthread_create(&call->thread, NULL, run_call, call), 0);
}

void kit_expect_asleep(const kit_call *call)
{
    int64_t limit_ns = kit_now_ns() + ENOUGH_NS;
    for (long number = -1; number != SYS_futex;) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/task/%d/syscall", atomic_load(&call->tid));
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%ld", &number) != 1) { /* "running" */
            number = -1;
        }
        if (file) {
            fclose(file);
        }
        if (kit_now_ns() > limit_ns) {
            fail_msg("a thread does not sleep");
        }
        kit_nap_ms(1);
    }
}

int kit_join(kit_call *call)
{
    int64_t limit_ns = kit_now_ns() + ENOUGH_NS;
    while (!atomic_load(&call->done)) {
        if (kit_now_ns() > limit_ns) {
            fail_msg("a thread hangs");
        }
        kit_nap_ms(1);
    }
    assert_int_equal(pthread_join(call->thread, NULL), 0);
    return call->status;
}

static unsigned count_waiters(achar_space *space, bool (*counts)(const achar__waiter *))
{
    unsigned count = 0;
    for (uint32_t i = 0; i < ACHAR__CHUNK_COUNT; i++) {
        if (atomic_load(&space->header->chunk_owners[i]) == 0) {
            continue;
        }
        achar__waiter *waiters = achar__at(space, ACHAR__CHUNKS_PLACE + i * ACHAR__CHUNK_NBYTES);
        for (uint32_t w = 0; w < ACHAR__CHUNK_WAITERS; w++) {
            count += counts(&waiters[w]);
        }
    }
    return count;
}

static bool is_on_condition(const achar__waiter *waiter)
{
    return atomic_load(&waiter->state) == ACHAR__WAITER_ON_CONDITION;
}

unsigned kit_count_waiting(achar_space *space)
{
    return count_waiters(space, achar__waiter_is_listed);
}

unsigned kit_count_on_conditions(achar_space *space)
{
    return count_waiters(space, is_on_condition);
}

void kit_expect_waiting(achar_space *space, unsigned count)
{
    int64_t limit_ns = kit_now_ns() + ENOUGH_NS;
    while (kit_count_waiting(space) != count) {
        if (kit_now_ns() > limit_ns) {
            fail_msg("%u waiters instead of %u", kit_count_waiting(space), count);
        }
        kit_nap_ms(1);
    }
}

pid_t kit_fork(void (*body)(void *), void *argument, unsigned n)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char text[32];
        snprintf(text, sizeof text, "any:%u", n);
        if (n > 0) {
            setenv("ACHAR_CRASH", text, 1);
        }
        body(argument);
        _exit(0);
    }
    return child;
}

bool kit_was_killed(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    return false;
}

achar_space *kit_space(int shared)
{
    achar_space *space = NULL;
    assert_status(achar_space_create(shared, &space), ACHAR_OK);
    return space;
}
