/*
 * strand.h - waiting without a thread: a call that may wait runs on a stack of its own, and where it
 * would sleep, its caller goes on instead.
 *
 * So what waits for an event loop is the same function that a thread calls, with the same promises
 * when it gives up or dies. A strand runs Python code never, and stays with the thread that made it.
 * Its waiter rings the bell of its process, where the waker (waker.c), one thread per process and
 * space, sleeps: it tells those who run strands to look which of them were rung.
 */
#ifndef ACHAR_RUNTIME_SYNC_STRAND_H
#define ACHAR_RUNTIME_SYNC_STRAND_H

#include "runtime/sync/waiter.h"

typedef struct achar__strand achar__strand;

/*
 * A strand that will call function(argument). Whoever it is takes and releases recursive locks as
 * 'thread_number', of achar__lock_new_thread_number(). NULL: no memory.
 */
achar__strand *achar__strand_create(int (*function)(void *argument), void *argument,
                                    uint32_t thread_number);

/*
 * Runs it until it would sleep (false) or has returned (true, with '*status'). With 'cancel' its
 * sleep ends as if a signal had come (ACHAR_E_INTERRUPTED), now and from then on where that may be.
 */
bool achar__strand_run(achar__strand *strand, bool cancel, int *status);

/*
 * The number of its waiter, while it sleeps. Who is rung sets a bit for that number; whoever runs
 * strands goes through those of this process, from 0 on, clears its own, and runs them. They may have
 * been rung in vain, or for the last who had that number.
 */
uint32_t achar__strand_number(const achar__strand *strand);
#define ACHAR__RUNG_NONE UINT32_MAX
uint32_t achar__rung_next(const achar_space *space, uint32_t from);
void achar__rung_clear(achar_space *space, uint32_t number);

/* One that still sleeps is treated as one of the dead: what it had been given goes to the next. */
void achar__strand_free(achar__strand *strand);

/* For achar__waiter_sleep(): whether the caller runs on a strand, and how that sleeps. */
bool achar__on_strand(void);
int achar__strand_sleep(achar_space *space, achar__waiter *waiter);

/* From now on 'fd', an eventfd, is written to when a waiter of a strand was rung. ACHAR_E_NOMEM. */
int achar__waker_add(achar_space *space, int fd);
void achar__waker_remove(achar_space *space, int fd);
/* A waiter of this process was rung by this process: the waker need not be woken for it. */
void achar__waker_tell(achar_space *space);
/* With the space. */
void achar__waker_stop(achar_space *space);

#endif
