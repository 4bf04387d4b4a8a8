/* test_points.c - what the points in runtime/test_points.h do in the tests' build of the runtime. */
#include "runtime/test_points.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic size_t commit_budget_nbytes = SIZE_MAX;

void achar__test_crash_point(const char *name)
{
    static _Atomic unsigned passes;
    const char *wanted = getenv("ACHAR_CRASH");
    if (wanted && strncmp(wanted, "any:", 4) == 0) {
        name = "any";
    }
    int signal_number = SIGKILL;
    if (wanted && strncmp(wanted, "stop ", 5) == 0) {
        signal_number = SIGSTOP;
        wanted += 5;
    }
    size_t length = strlen(name);
    if (wanted && strncmp(wanted, name, length) == 0 && wanted[length] == ':' &&
        ++passes == strtoul(wanted + length + 1, NULL, 10)) {
        kill(getpid(), signal_number);
        if (signal_number == SIGKILL) {
            pause();
        }
    }
}

bool achar__test_may_commit(size_t nbytes)
{
    size_t left_nbytes = atomic_load(&commit_budget_nbytes);
    do {
        if (left_nbytes == SIZE_MAX) {
            return true;
        }
        if (nbytes > left_nbytes) {
            return false;
        }
    } while (
        !atomic_compare_exchange_weak(&commit_budget_nbytes, &left_nbytes, left_nbytes - nbytes));
    return true;
}

void achar__test_set_commit_budget(size_t nbytes)
{
    atomic_store(&commit_budget_nbytes, nbytes);
}
