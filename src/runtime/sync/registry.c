/*
 * registry.c - which processes use a space, and whether they live.
 *
 * A place is taken by one exchange of its claim, which says at once for which pid; so a process
 * that is killed while it joins can be told dead like any other. A reaped place gets its next
 * generation, and with that all tickets given out for it are void.
 */
#include "runtime/sync/futex.h"
#include "runtime/sync/space.h"
#include "runtime/test_points.h"

#include <achar/status.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define CLAIM(pid, generation, state)                                                              \
    ((uint64_t)(uint32_t)(pid) << 32 | (uint64_t)(generation) << 16 | (uint64_t)(state))
#define CLAIM_PID(claim)        ((int)((claim) >> 32))
#define CLAIM_GENERATION(claim) ((uint32_t)((claim) >> 16) & ACHAR__GENERATION_MASK)
#define CLAIM_STATE(claim)      ((enum achar__process_state)((claim)&0xffff))

/* When the process started, in clock ticks since boot; 0: not to be known. */
static uint64_t start_of(int pid)
{
    char path[32], text[1024];
    uint64_t started = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t nbytes = read(fd, text, sizeof text - 1);
    close(fd);
    text[nbytes > 0 ? nbytes : 0] = 0;
    /* The second field is a name in parentheses, with anything in it; the start is the 22nd. */
    char *field = strrchr(text, ')');
    for (int i = 2; field && i < 22; i++) {
        field = strchr(field + 1, ' ');
    }
    if (field) {
        started = strtoull(field + 1, NULL, 10);
    }
    return started;
}

bool achar__process_is_pidfd(achar_space *space, unsigned index, int pidfd)
{
    achar__process *process = &space->header->processes[index];
    uint64_t claim = atomic_load(&process->claim);
    struct pollfd is_dead = {.fd = pidfd, .events = POLLIN};
    if (poll(&is_dead, 1, 0) > 0) {
        return false;
    }
    if (CLAIM_STATE(claim) != ACHAR__PROCESS_HERE) {
        return true; /* who is joining: 'started' is still its predecessor's */
    }
    uint64_t started = atomic_load(&process->started);
    uint64_t now = started != 0 ? start_of(CLAIM_PID(claim)) : 0;
    return now == 0 || now == started;
}

bool achar__process_lives(achar_space *space, uint32_t ticket)
{
    unsigned index = ACHAR__TICKET_INDEX(ticket);
    if (ticket == 0 || index >= ACHAR__PROCESS_COUNT) {
        return false;
    }
    uint64_t claim = atomic_load(&space->header->processes[index].claim);
    if (CLAIM_STATE(claim) == ACHAR__PROCESS_NONE ||
        CLAIM_GENERATION(claim) != ACHAR__TICKET_GENERATION(ticket)) {
        return false; /* left, or reaped */
    }
    if (ticket == atomic_load(&space->member->ticket)) {
        return true;
    }
    int pidfd = pidfd_open(CLAIM_PID(claim), 0);
    if (pidfd < 0) {
        return errno != ESRCH; /* without a descriptor nothing is known: ask again later */
    }
    bool lives = achar__process_is_pidfd(space, index, pidfd);
    close(pidfd);
    return lives;
}

bool achar__reap_if_dead(achar_space *space, uint32_t ticket)
{
    if (achar__process_lives(space, ticket)) {
        return false;
    }
    achar__reap(space, ticket);
    return true;
}

void achar__reap_the_dead(achar_space *space)
{
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT; i++) {
        uint64_t claim = atomic_load(&space->header->processes[i].claim);
        if (CLAIM_STATE(claim) != ACHAR__PROCESS_NONE) {
            (void)achar__reap_if_dead(space, ACHAR__TICKET(i, CLAIM_GENERATION(claim)));
        }
    }
}

void achar__ring_all(achar_space *space)
{
    for (uint32_t i = 0; i < ACHAR__CHUNK_COUNT; i++) {
        if (atomic_load(&space->header->chunk_owners[i]) == 0) {
            continue;
        }
        achar__waiter *waiters = achar__at(space, ACHAR__CHUNKS_PLACE + i * ACHAR__CHUNK_NBYTES);
        for (uint32_t w = 0; w < ACHAR__CHUNK_WAITERS; w++) {
            /* The number first: then either it is seen before sleeping, or the state here. */
            atomic_fetch_add(&waiters[w].bell, 1);
            if (atomic_load(&waiters[w].state) != ACHAR__WAITER_IDLE) {
                achar__futex_wake(&waiters[w].bell, space->shared, 1);
            }
        }
        atomic_store(&space->header->rung[i], UINT64_MAX);
    }
    /* These last: whoever is woken by them looks at all the others once. */
    for (uint32_t i = 0; i < ACHAR__PROCESS_COUNT; i++) {
        if (CLAIM_STATE(atomic_load(&space->header->processes[i].claim)) != ACHAR__PROCESS_NONE) {
            achar__futex_ring(&space->header->processes[i].bell, space->shared);
        }
    }
}

/* ---- coming and going ---- */

/* A place for this process; 0: all are taken. */
static uint32_t take_place(achar_space *space)
{
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT; i++) {
        achar__process *process = &space->header->processes[i];
        uint64_t claim = atomic_load(&process->claim);
        uint32_t generation = CLAIM_GENERATION(claim);
        if (CLAIM_STATE(claim) == ACHAR__PROCESS_NONE &&
            atomic_compare_exchange_strong(&process->claim, &claim,
                                           CLAIM(getpid(), generation, ACHAR__PROCESS_JOINING))) {
            ACHAR__CRASH_POINT("joining");
            atomic_store(&process->has_forked, 0);
            atomic_store(&process->started, start_of(getpid()));
            atomic_store(&process->claim, CLAIM(getpid(), generation, ACHAR__PROCESS_HERE));
            return ACHAR__TICKET(i, generation);
        }
    }
    return 0;
}

int achar__space_join(achar_space *space, uint32_t *ticket)
{
    achar__member *member = space->member;
    pthread_mutex_lock(&member->lock);
    *ticket = atomic_load(&member->ticket);
    if (*ticket != 0) { /* another thread was first */
        pthread_mutex_unlock(&member->lock);
        return ACHAR_OK;
    }
    achar__watcher_close(space); /* a forked child has its parent's */
    *ticket = take_place(space);
    if (*ticket != 0) {
        atomic_store(&member->ticket, *ticket);
        atomic_fetch_add(&space->header->arrivals, 1);
    }
    pthread_mutex_unlock(&member->lock);
    if (*ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    /* Who sleeps must have us watched, lest we die with something that they wait for. */
    achar__ring_all(space);
    /* Where nobody ever waits, nobody watches: then the dead's places are found here. */
    if (ACHAR__TICKET_INDEX(*ticket) >= ACHAR__PROCESS_COUNT / 2) {
        achar__reap_the_dead(space);
    }
    return ACHAR_OK;
}

void achar__space_leave(achar_space *space)
{
    uint32_t ticket = atomic_load(&space->member->ticket);
    if (ticket != 0) {
        achar__reap(space, ticket);
    }
}
