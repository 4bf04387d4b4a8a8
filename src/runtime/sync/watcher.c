/*
 * watcher.c - one thread per process and space that sleeps on the pidfds of all others and reaps
 * the dead. It exists from the first time that a thread of this process sleeps while others use the
 * space; a process that never waits has none.
 *
 * That nobody is missed: who joins counts the arrivals up and then rings every sleeper; every sleeper
 * compares the arrivals with those that are watched, before it sleeps (achar__watch).
 */
#include "runtime/sync/futex.h"
#include "runtime/sync/space.h"

#include <achar/status.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define RETRY_MS    100 /* after a descriptor could not be had */
#define STACK_BYTES ((size_t)128 << 10)

/* The pidfds and the tickets that they were opened for; struct pollfd has room for both. */
typedef struct watch {
    struct pollfd fds[ACHAR__PROCESS_COUNT + 1]; /* the last is the eventfd */
    uint32_t tickets[ACHAR__PROCESS_COUNT];
} watch;

/* The ticket of who stands at 'index', and the pid; 0: nobody. */
static uint32_t ticket_at(achar_space *space, unsigned index, int *pid)
{
    uint64_t claim = atomic_load(&space->header->processes[index].claim);
    *pid = (int)(claim >> 32);
    return (claim & 0xffff) == ACHAR__PROCESS_NONE
               ? 0
               : ACHAR__TICKET(index, (uint32_t)(claim >> 16) & ACHAR__GENERATION_MASK);
}

static void stop_watching(achar_space *space, watch *w, unsigned index)
{
    int fd = w->fds[index].fd;
    /* Before it is closed: a child that is forked in between would close another's of that number. */
    space->pidfds[index] = -1;
    if (fd >= 0) {
        close(fd);
    }
    w->fds[index] = (struct pollfd){.fd = -1, .events = POLLIN};
    w->tickets[index] = 0;
}

/* Watches who has come, forgets who has left. False: try again later. */
static bool update(achar_space *space, watch *w)
{
    uint32_t self = atomic_load(&space->member->ticket);
    bool complete = true;
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT; i++) {
        int pid;
        uint32_t ticket = ticket_at(space, i, &pid);
        if (ticket == w->tickets[i]) {
            continue;
        }
        stop_watching(space, w, i);
        if (ticket == 0 || ticket == self) {
            continue;
        }
        int fd = pidfd_open(pid, 0);
        if (fd < 0 && errno != ESRCH) {
            complete = false;
            continue;
        }
        if (fd < 0 || !achar__process_is_pidfd(space, i, fd)) {
            if (fd >= 0) {
                close(fd);
            }
            achar__reap(space, ticket);
            continue;
        }
        w->fds[i].fd = space->pidfds[i] = fd;
        w->tickets[i] = ticket;
    }
    return complete;
}

static void *watch_loop(void *argument)
{
    achar_space *space = argument;
    achar__member *member = space->member;
    watch *w = calloc(1, sizeof *w);
    /* Without memory there is no watching, and sleepers look for themselves: see achar__watch. */
    for (unsigned i = 0; w && i < ACHAR__PROCESS_COUNT; i++) {
        w->fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    }
    while (w) {
        uint64_t count;
        w->fds[ACHAR__PROCESS_COUNT] = (struct pollfd){.fd = space->watcher_fd, .events = POLLIN};
        bool complete = update(space, w);
        if (poll(w->fds, ACHAR__PROCESS_COUNT + 1, complete ? -1 : RETRY_MS) < 0) {
            continue; /* EINTR cannot be; ENOMEM passes */
        }
        if (w->fds[ACHAR__PROCESS_COUNT].revents &&
            read(space->watcher_fd, &count, sizeof count) < 0) {
            continue;
        }
        pthread_mutex_lock(&member->lock);
        bool stop = member->stop;
        pthread_mutex_unlock(&member->lock);
        if (stop) {
            break;
        }
        for (unsigned i = 0; i < ACHAR__PROCESS_COUNT; i++) {
            if (w->fds[i].revents) {
                uint32_t dead = w->tickets[i];
                stop_watching(space, w, i);
                achar__reap(space, dead);
            }
        }
    }
    for (unsigned i = 0; w && i < ACHAR__PROCESS_COUNT; i++) {
        stop_watching(space, w, i);
    }
    free(w);
    return NULL;
}

static bool others_are_here(achar_space *space)
{
    uint32_t self = atomic_load(&space->member->ticket);
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT; i++) {
        int pid;
        uint32_t ticket = ticket_at(space, i, &pid);
        if (ticket != 0 && ticket != self) {
            return true;
        }
    }
    return false;
}

/* With the member's lock. */
static bool start(achar_space *space)
{
    achar__member *member = space->member;
    pthread_attr_t attributes;
    sigset_t all, before;
    int *pidfds = malloc(ACHAR__PROCESS_COUNT * sizeof *pidfds);
    if (!pidfds) {
        return false;
    }
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT; i++) {
        pidfds[i] = -1;
    }
    space->pidfds = pidfds; /* whole, whenever a child is forked */
    space->watcher_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (space->watcher_fd < 0 || pthread_attr_init(&attributes) != 0) {
        return false;
    }
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's own threads */
    member->watching = pthread_create(&member->watcher, &attributes, watch_loop, space) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return member->watching;
}

bool achar__watch_others(achar_space *space)
{
    achar__member *member = space->member;
    pthread_mutex_lock(&member->lock);
    uint32_t arrivals = atomic_load(&space->header->arrivals);
    bool watched = true;
    if (others_are_here(space)) {
        if (!member->watching) {
            achar__watcher_close(space);
            watched = start(space);
        } else {
            uint64_t one = 1;
            watched = write(space->watcher_fd, &one, sizeof one) == sizeof one;
        }
    }
    if (watched) {
        atomic_store(&member->arrivals_seen, arrivals);
    }
    pthread_mutex_unlock(&member->lock);
    return watched;
}

void achar__watcher_close(achar_space *space)
{
    if (space->watcher_fd >= 0) {
        close(space->watcher_fd);
    }
    space->watcher_fd = -1;
    for (unsigned i = 0; space->pidfds && i < ACHAR__PROCESS_COUNT; i++) {
        if (space->pidfds[i] >= 0) {
            close(space->pidfds[i]);
        }
    }
    free(space->pidfds);
    space->pidfds = NULL;
}

void achar__watcher_stop(achar_space *space)
{
    achar__member *member = space->member;
    pthread_mutex_lock(&member->lock);
    bool watching = member->watching;
    member->stop = true;
    pthread_mutex_unlock(&member->lock);
    if (watching) {
        uint64_t one = 1;
        while (write(space->watcher_fd, &one, sizeof one) < 0 && errno == EINTR) {
        }
        pthread_join(member->watcher, NULL);
        member->watching = false;
    }
}
