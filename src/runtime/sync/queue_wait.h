/*
 * queue_wait.h - who waits at a queue: to take, to put, or for all to be done; and what it is granted.
 *
 * Whoever waits is granted a message (it stays where it is, and is counted as promised), or room.
 * Those who do not wait may take what is not promised. So waiting is first come, first served, and
 * what was granted to the dead, or to one whose time was up, is still there.
 */
#ifndef ACHAR_RUNTIME_SYNC_QUEUE_WAIT_H
#define ACHAR_RUNTIME_SYNC_QUEUE_WAIT_H

#include "runtime/sync/latch.h"
#include "runtime/sync/queue.h"

/* One call that may have to wait, and what it holds meanwhile. */
typedef struct achar__queue_call {
    achar_space *space;
    achar_cell *queue;
    uint32_t ticket;
    int64_t deadline_ns;
    const achar__host *host;
    achar__waiter *waiter; /* NULL: has not waited yet */
    bool looked;           /* for the dead */
    achar__bells bells;    /* to ring without the latch */
} achar__queue_call;

/* All that follows: under the queue's latch. */

static inline achar_cell *achar__queue_accounts(achar_space *space, const achar_cell *queue)
{
    return queue->messages.more ? achar__cell_at(space, queue->messages.more) : NULL;
}

/* A message that nobody was promised. */
static inline bool achar__messages_free(const achar__messages *m)
{
    return m->count > m->promised;
}

static inline bool achar__messages_room(const achar__messages *m)
{
    return m->count + m->reserved < m->max_count;
}

static inline bool achar__queue_is_granted(const achar__queue_call *c)
{
    return c->waiter && atomic_load(&c->waiter->state) == ACHAR__WAITER_GRANTED;
}

/* What is there goes to those who wait for it. */
void achar__queue_serve(achar_space *space, achar_cell *queue, achar__bells *bells);

/* Joiners go when all is done; when some of it died with its process, they are told. */
void achar__queue_serve_joiners(achar_space *space, achar_cell *queue, achar__bells *bells);

/*
 * There is nothing to be had. Waits for it, on 'list', where 'flags' say; the latch is held before and
 * after. ACHAR_OK: look again, perhaps it was granted. Anything else: give up; then the waiter is
 * neither listed nor granted. In a child that a signal handler forked (achar__is_childs()) nothing is
 * latched, and whatever the call has is the parent's.
 */
int achar__queue_wait_on(achar__queue_call *c, achar__link *list, uint32_t flags);

/* Adds the end of a grant to a change; '*count' is promised or reserved. */
void achar__queue_use_grant(achar__change *change, achar__queue_call *c, uint32_t *count);

/* Ends the call: latched, and without the latch when it returns. */
void achar__queue_end_call(achar__queue_call *c);

#endif
