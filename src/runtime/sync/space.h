/*
 * space.h - the memory that synchronisation objects live in, as one process sees it.
 *
 * struct achar_space is private to the process. What must not survive a fork stands in the member,
 * on a page that fork gives to the child as zeros: the child is then nobody yet, and joins under a
 * ticket of its own at its first use.
 */
#ifndef ACHAR_RUNTIME_SYNC_SPACE_H
#define ACHAR_RUNTIME_SYNC_SPACE_H

#include "runtime/shm/region.h"
#include "runtime/sync/layout.h"

#include <achar/sync.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* This process's stay. All zeros: it has not joined. */
typedef struct achar__member {
    _Atomic uint32_t ticket;
    _Atomic uint32_t arrivals_seen; /* of header.arrivals: those are watched */
    /* Our own, chained by link.next: the first's place, and in the upper half how often one was
     * taken, so that an exchange fails when the chain has changed meanwhile. */
    _Atomic uint64_t idle_waiters;
    _Atomic uint32_t chunk_end; /* all chunks of ours are before it */
    pthread_mutex_t lock;       /* guards what follows; zeros are an unlocked one */
    bool watching;              /* the watcher's thread exists */
    bool stop;
    pthread_t watcher;
    bool waking; /* the waker's thread exists */
    pthread_t waker;
    int *loop_fds; /* eventfds of those who run strands */
    unsigned loop_count;
} achar__member;

struct achar_space {
    achar__region region;
    achar__header *header; /* = region.base */
    achar__member *member; /* on a page of its own */
    int fd;                /* -1: private */
    bool shared;
    achar__region arena;                 /* guarded by the member's lock */
    _Atomic(unsigned char *) arena_base; /* = arena.base; NULL: not mapped */
    size_t arena_nbytes;
    /* The watcher's descriptors. A forked child inherits them and closes them when it joins. */
    int watcher_fd; /* eventfd: look at the registry again, or stop */
    int *pidfds;    /* of ACHAR__PROCESS_COUNT; -1 where there is none. NULL: never watched */
    uint32_t *handle_counts;            /* of each cell, for holders.c; NULL: none */
    struct achar_space *next, **before; /* in the list of those that this process has open */
};

static inline void *achar__at(const achar_space *space, achar__place place)
{
    return space->region.base + place;
}

static inline achar__place achar__place_of(const achar_space *space, const void *thing)
{
    return (achar__place)((const unsigned char *)thing - space->region.base);
}

static inline achar_cell *achar__cell_at(const achar_space *space, achar__place place)
{
    return (achar_cell *)achar__at(space, place);
}

static inline achar_cell *achar__home_of(const achar_space *space, const achar_cell *cell)
{
    return achar__cell_at(space, cell->home);
}

static inline achar__waiter *achar__waiter_at(const achar_space *space, achar__place place)
{
    return (achar__waiter *)achar__at(space, place);
}

/* The waiter that 'link' is part of. */
static inline achar__waiter *achar__waiter_of(const achar_space *space, achar__place link)
{
    return (achar__waiter *)((unsigned char *)achar__at(space, link) -
                             offsetof(achar__waiter, link));
}

/* ---- registry.c ---- */

/* Takes a place in the registry. 0, or ACHAR_E_LIMIT, with 0 in '*ticket'. */
int achar__space_join(achar_space *space, uint32_t *ticket);

/* This process's ticket; 0: it could not join, because 512 processes use the space. */
static inline uint32_t achar__ticket(achar_space *space)
{
    uint32_t ticket = atomic_load_explicit(&space->member->ticket, memory_order_relaxed);
    if (__builtin_expect(ticket == 0, 0)) {
        (void)achar__space_join(space, &ticket);
    }
    return ticket;
}

/* Whether the process that got 'ticket' may still write. Some system calls, if it is not this one. */
bool achar__process_lives(achar_space *space, uint32_t ticket);
/* The same with a pidfd at hand, which stays the caller's. */
bool achar__process_is_pidfd(achar_space *space, unsigned index, int pidfd);
/* Settles what the dead process had; does nothing if that has been done. reap.c */
void achar__reap(achar_space *space, uint32_t ticket);
/* Reaps 'ticket' if it is dead; whether it was. */
bool achar__reap_if_dead(achar_space *space, uint32_t ticket);
/* Looks at every process, without a watcher. */
void achar__reap_the_dead(achar_space *space);
/* Rings every waiter: they look around, and sleep on if nothing concerns them. */
void achar__ring_all(achar_space *space);
/* Leaves: what this process holds becomes the dead's. */
void achar__space_leave(achar_space *space);

/* ---- watcher.c ---- */

/* Has all who use the space watched. False: it cannot be done now. */
bool achar__watch_others(achar_space *space);
void achar__watcher_stop(achar_space *space);
/* Closes the descriptors of a watcher that is no more: stopped, or the parent's before a fork. */
void achar__watcher_close(achar_space *space);

/* Before a thread sleeps. False: look at the others from time to time (achar__reap_the_dead). */
static inline bool achar__watch(achar_space *space)
{
    return !space->shared ||
           atomic_load(&space->header->arrivals) == atomic_load(&space->member->arrivals_seen) ||
           achar__watch_others(space);
}

/* ---- memory ---- */

/* Makes pages of the space present, so that writing there cannot fail. */
static inline int achar__space_commit(achar_space *space, size_t offset, size_t nbytes)
{
    return space->shared ? achar__region_commit(&space->region, offset, nbytes) : 0;
}

/* ---- holders.c ---- */

void achar__holders_close(achar_space *space);

/* ---- cells.c ---- */

/* A zeroed cell of kind MAKING, its lists empty, its home itself. ACHAR_E_NOMEM, ACHAR_E_LIMIT. */
int achar__cell_make(achar_space *space, achar_cell **out);
/* The same for callers that hold a latch: those that were dropped (holders.h) are left alone. */
int achar__cell_make_latched(achar_space *space, achar_cell **out);
/* Its number. */
uint32_t achar__cell_index(const achar_space *space, const achar_cell *cell);
/* The cell becomes what it is from now on. */
void achar__cell_publish(achar_cell *cell, enum achar__cell_kind kind);
/* Every cell in turn, from NULL on; NULL: no more. Kinds may change meanwhile. */
achar_cell *achar__cell_next(const achar_space *space, const achar_cell *before);

#endif
