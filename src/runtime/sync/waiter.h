/*
 * waiter.h - one who waits: taken from the process's own, put on a list, asleep on its bell.
 */
#ifndef ACHAR_RUNTIME_SYNC_WAITER_H
#define ACHAR_RUNTIME_SYNC_WAITER_H

#include "runtime/sync/space.h"

#include <achar/status.h>

/*
 * A waiter for 'object', idle. ACHAR_E_LIMIT: 65,536 are waiting. ACHAR_E_NOMEM. It goes back with
 * achar__waiter_give_back(), when it is on no list; its state is IDLE then.
 */
int achar__waiter_take(achar_space *space, uint32_t ticket, const achar_cell *object,
                       achar__waiter **out);
void achar__waiter_give_back(achar_space *space, achar__waiter *waiter);

/*
 * What the program that a thread belongs to wants of its waiting. NULL: give up for a signal.
 *
 * on_signal() is called when a signal handler has run; it may run any code; not 0: give up waiting.
 *
 * woken() is called before the thread tries to take a lock that it was woken for, sleeps() before
 * it sleeps again: an interpreter's own lock is had first, so that nobody holds the lock asked for
 * while waiting for that.
 */
typedef struct achar__host {
    int (*on_signal)(void *context);
    void (*woken)(void *context);
    void (*sleeps)(void *context);
    void *context;
} achar__host;

static inline void achar__host_woken(const achar__host *host)
{
    if (host) {
        host->woken(host->context);
    }
}

static inline void achar__host_sleeps(const achar__host *host)
{
    if (host) {
        host->sleeps(host->context);
    }
}

/*
 * Sleeps until somebody has ended the waiting, or nudged the waiter, at most until 'deadline_ns'
 * (futex.h). ACHAR_OK: so it is. ACHAR_E_TIMEOUT and ACHAR_E_INTERRUPTED: as futex.h; it may have ended all the same, which
 * only the holder of the latch can tell.
 */
enum achar__sleep_manner {
    ACHAR__SLEEP_AT_ONCE, /* for calls that may not answer a signal where they stand */
    ACHAR__SLEEP_SOON,    /* looks for a moment first (spin.h) */
    ACHAR__SLEEP_HOSTED   /* the same; signals that came in that moment are ACHAR_E_INTERRUPTED, */
                          /* which may be said where there was none */
};
int achar__waiter_sleep(achar_space *space, achar__waiter *waiter, int64_t deadline_ns,
                        enum achar__sleep_manner manner);

/* As the caller's host allows. */
static inline enum achar__sleep_manner achar__sleep_manner_of(const achar__host *host)
{
    return host ? ACHAR__SLEEP_HOSTED : ACHAR__SLEEP_SOON;
}

/*
 * A signal handler may fork. The child then goes on in its copy of the wait, where the waiter is its
 * parent's: it leaves that alone and waits as itself, from the start, unless the handler raised there.
 */
enum { ACHAR__IS_CHILD = -1000, ACHAR__CHILD_GIVES_UP = -1001 };

static inline bool achar__is_childs(int status)
{
    return status == ACHAR__IS_CHILD || status == ACHAR__CHILD_GIVES_UP;
}

/* What a call has to return that ended with 'status'. */
static inline int achar__outcome_of(int status)
{
    return status == ACHAR__CHILD_GIVES_UP ? ACHAR_E_INTERRUPTED : status;
}

/*
 * Runs signal handlers, for the process of 'ticket'. ACHAR_OK, ACHAR_E_INTERRUPTED: it gives up; or
 * what achar__is_childs(). Not under a latch.
 */
int achar__host_answer(achar_space *space, uint32_t ticket, const achar__host *host);

/* The same; signals are answered where the waiter stands. ACHAR_E_INTERRUPTED, and what
 * achar__host_answer() adds. */
int achar__waiter_sleep_on(achar_space *space, achar__waiter *waiter, int64_t deadline_ns,
                           const achar__host *host);

/* Its place among all waiters. */
static inline uint32_t achar__waiter_number(const achar_space *space, const achar__waiter *waiter)
{
    return (achar__place_of(space, waiter) - ACHAR__CHUNKS_PLACE) / (uint32_t)sizeof *waiter;
}

/* Wakes the waiter so that it looks. Not under the latch: it would wake into that. */
void achar__waiter_ring(achar_space *space, achar__waiter *waiter);

/* Whether it stands on a list. Under the latch. */
static inline bool achar__waiter_is_listed(const achar__waiter *waiter)
{
    uint32_t state = atomic_load(&waiter->state);
    return state != ACHAR__WAITER_IDLE && !ACHAR__WAITER_HAS_ENDED(state);
}

/* Whether it queues for a lock or a permit. */
static inline bool achar__waiter_queues(const achar__waiter *waiter)
{
    uint32_t state = atomic_load(&waiter->state);
    return state == ACHAR__WAITER_QUEUED || state == ACHAR__WAITER_NUDGED ||
           state == ACHAR__WAITER_ASIDE;
}

/* The first on 'list' that is not ASIDE; NULL: there is none. */
achar__waiter *achar__waiter_first_present(const achar_space *space, const achar__link *list);

/* Waiters to ring when the latch is free again; a full one is rung early. */
typedef struct achar__bells {
    unsigned count;
    achar__waiter *waiters[64];
} achar__bells;

void achar__bells_add(achar_space *space, achar__bells *bells, achar__waiter *waiter);
void achar__bells_ring(achar_space *space, achar__bells *bells);

#endif
