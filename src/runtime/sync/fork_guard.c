/* fork_guard.c - see fork_guard.h. */
#include "runtime/sync/fork_guard.h"

#include <achar/status.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD_NBYTES 4096

int achar__fork_guard_init(achar__fork_guard *guard)
{
    void *page =
        mmap(NULL, GUARD_NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return ACHAR_E_NOMEM;
    }
    guard->wiped_on_fork = madvise(page, GUARD_NBYTES, MADV_WIPEONFORK) == 0;
    guard->owner_pid = page;
    *guard->owner_pid = getpid();
    return ACHAR_OK;
}

void achar__fork_guard_clear(achar__fork_guard *guard)
{
    if (guard->owner_pid) {
        munmap((void *)guard->owner_pid, GUARD_NBYTES);
        guard->owner_pid = NULL;
    }
}

bool achar__fork_guard_holds(const achar__fork_guard *guard)
{
    return guard->wiped_on_fork ? *guard->owner_pid != 0 : *guard->owner_pid == getpid();
}
