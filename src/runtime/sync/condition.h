/*
 * condition.h - what others in the library need of conditions: waiting until a deadline, with a word
 * to say about signals.
 */
#ifndef ACHAR_RUNTIME_SYNC_CONDITION_H
#define ACHAR_RUNTIME_SYNC_CONDITION_H

#include "runtime/sync/waiter.h"

/* As achar_condition_wait(). With 'host', ACHAR_E_INTERRUPTED only if it said so. */
int achar__condition_wait_until(achar_condition condition, int64_t deadline_ns,
                                const achar__host *host);

#endif
