/*
 * queue.h - putting and taking until a time of futex.h (0: does not wait), with a word to say about
 * signals: ACHAR_E_INTERRUPTED only if 'host' said so, or is NULL.
 */
#ifndef ACHAR_RUNTIME_SYNC_QUEUE_H
#define ACHAR_RUNTIME_SYNC_QUEUE_H

#include "runtime/sync/waiter.h"

/* Messages up to this many bytes stand in the queue's segments. */
#define ACHAR__MESSAGE_SHORT_NBYTES 4096u

/*
 * As achar_queue_put_message(); a message whose 'extent' is 0 is copied, and stays the caller's.
 * ACHAR__IS_CHILD: in a child that a signal handler forked; the message is the parent's, put another.
 */
int achar__queue_put_until(achar_queue queue, achar_message *message, int64_t deadline_ns,
                           const achar__host *host);

/* As achar_queue_get(); a short message is in 'buffer', whose size is the number above. */
int achar__queue_get_until(achar_queue queue, int64_t deadline_ns, const achar__host *host,
                           void *buffer, achar_message *out);

/* Whether a put would not have to wait now. */
bool achar__queue_has_room(achar_queue queue);

int achar__queue_join_until(achar_queue queue, int64_t deadline_ns, const achar__host *host);

/* A long message: memory in the arena, at least 'nbytes'. As achar_message_create(). */
int achar__message_reserve(achar_space *space, size_t nbytes, achar_message *out);

#endif
