/*
 * waker.c - the thread that sleeps on its process's bell for all waiters that have no thread, and
 * tells event loops through their eventfds. It exists from the first of them on; after a fork the
 * child has none, and no loops.
 */
#include "runtime/sync/futex.h"
#include "runtime/sync/strand.h"

#include <achar/status.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACK_NBYTES ((size_t)64 << 10)
#define LOOK_NS      INT64_C(100000000)

static _Atomic uint32_t *bell_of(achar_space *space)
{
    return &space->header->processes[ACHAR__TICKET_INDEX(achar__ticket(space))].bell;
}

static void tell(const int *fds, unsigned count)
{
    uint64_t one = 1;
    for (unsigned i = 0; i < count; i++) {
        while (write(fds[i], &one, sizeof one) < 0 && errno == EINTR) {
        } /* a full counter is as good */
    }
}

void achar__waker_tell(achar_space *space)
{
    achar__member *member = space->member;
    pthread_mutex_lock(&member->lock);
    tell(member->loop_fds, member->loop_count);
    pthread_mutex_unlock(&member->lock);
}

static void *wake_loop(void *argument)
{
    achar_space *space = argument;
    achar__member *member = space->member;
    _Atomic uint32_t *bell = bell_of(space);
    for (bool stop = false; !stop;) {
        uint32_t seen = atomic_load(bell);
        bool watched = achar__watch(space);
        pthread_mutex_lock(&member->lock);
        stop = member->stop;
        tell(member->loop_fds, member->loop_count);
        pthread_mutex_unlock(&member->lock);
        if (!stop && achar__futex_wait(bell, seen, space->shared,
                                       watched ? ACHAR__NO_DEADLINE
                                               : achar__deadline_in(LOOK_NS)) == ACHAR_E_TIMEOUT) {
            achar__reap_the_dead(space);
        }
    }
    return NULL;
}

/* With the member's lock. */
static bool start(achar_space *space)
{
    achar__member *member = space->member;
    pthread_attr_t attributes;
    sigset_t all, before;
    if (member->waking) {
        return true;
    }
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setstacksize(&attributes, STACK_NBYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's own threads */
    member->waking = pthread_create(&member->waker, &attributes, wake_loop, space) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return member->waking;
}

int achar__waker_add(achar_space *space, int fd)
{
    achar__member *member = space->member;
    int status = ACHAR_E_NOMEM;
    if (achar__ticket(space) == 0) {
        return ACHAR_E_LIMIT;
    }
    pthread_mutex_lock(&member->lock);
    int *fds = realloc(member->loop_fds, (member->loop_count + 1) * sizeof *fds);
    if (fds) {
        member->loop_fds = fds;
        if (start(space)) {
            fds[member->loop_count++] = fd;
            status = ACHAR_OK;
        }
    }
    pthread_mutex_unlock(&member->lock);
    return status;
}

void achar__waker_remove(achar_space *space, int fd)
{
    achar__member *member = space->member;
    pthread_mutex_lock(&member->lock);
    for (unsigned i = 0; i < member->loop_count; i++) {
        if (member->loop_fds[i] == fd) {
            member->loop_fds[i] = member->loop_fds[--member->loop_count];
            break;
        }
    }
    pthread_mutex_unlock(&member->lock);
}

void achar__waker_stop(achar_space *space)
{
    achar__member *member = space->member;
    pthread_mutex_lock(&member->lock);
    bool waking = member->waking;
    member->stop = true;
    pthread_mutex_unlock(&member->lock);
    if (waking) {
        achar__futex_ring(bell_of(space), space->shared);
        pthread_join(member->waker, NULL);
        member->waking = false;
    }
    free(member->loop_fds);
    member->loop_fds = NULL;
    member->loop_count = 0;
}
