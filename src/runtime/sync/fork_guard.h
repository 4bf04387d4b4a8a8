/*
 * fork_guard.h - knowing that this process is a forked copy, for the price of one load.
 *
 * The guard is a page that the kernel gives to fork's child as zeros (MADV_WIPEONFORK). Where the
 * kernel cannot do that, the process id is compared instead.
 */
#ifndef ACHAR_RUNTIME_FORK_GUARD_H
#define ACHAR_RUNTIME_FORK_GUARD_H

#include <stdbool.h>

typedef struct achar__fork_guard {
    volatile int *owner_pid; /* on the wiped page: 0 in a child */
    bool wiped_on_fork;
} achar__fork_guard;

/* ACHAR_OK or ACHAR_E_NOMEM. */
int achar__fork_guard_init(achar__fork_guard *guard);
void achar__fork_guard_clear(achar__fork_guard *guard);
/* Whether this process is the one that called init. */
bool achar__fork_guard_holds(const achar__fork_guard *guard);

#endif
