/* barrier.h - waiting at a barrier until a time of futex.h, with a word to say about signals. */
#ifndef ACHAR_RUNTIME_SYNC_BARRIER_H
#define ACHAR_RUNTIME_SYNC_BARRIER_H

#include "runtime/sync/waiter.h"

int achar__barrier_wait_until(achar_barrier barrier, int64_t deadline_ns, int lead,
                              const achar__host *host, uint32_t *index);

#endif
