/* futex.c - the system call behind futex.h. */
#include "runtime/sync/futex.h"

#include <achar/status.h>
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int64_t achar__deadline_in(int64_t timeout_ns)
{
    if (timeout_ns < 0) {
        return ACHAR__NO_DEADLINE;
    }
    int64_t now = achar__now_ns();
    return timeout_ns > INT64_MAX - now ? ACHAR__NO_DEADLINE : now + timeout_ns;
}

int achar__futex_wait(const _Atomic uint32_t *word, uint32_t seen, bool shared, int64_t deadline_ns)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1000000000),
                             .tv_nsec = (long)(deadline_ns % 1000000000)};
    int saved_errno = errno;
    int operation = FUTEX_WAIT_BITSET | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    long result = syscall(SYS_futex, word, operation, seen, deadline_ns < 0 ? NULL : &until, NULL,
                          FUTEX_BITSET_MATCH_ANY);
    int error = result == 0 ? 0 : errno;
    errno = saved_errno;
    switch (error) {
    case ETIMEDOUT:
        return ACHAR_E_TIMEOUT;
    case EINTR:
        return ACHAR_E_INTERRUPTED;
    default: /* woken, or EAGAIN: the word is not 'seen' any more */
        return ACHAR_OK;
    }
}

void achar__futex_wake(const _Atomic uint32_t *word, bool shared, int count)
{
    int saved_errno = errno;
    syscall(SYS_futex, word, FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG), count, NULL, NULL, 0);
    errno = saved_errno;
}
