/* semaphore.h - acquiring a permit until a time of futex.h; 0: does not wait. */
#ifndef ACHAR_RUNTIME_SYNC_SEMAPHORE_H
#define ACHAR_RUNTIME_SYNC_SEMAPHORE_H

#include "runtime/sync/waiter.h"

int achar__semaphore_acquire_until(achar_semaphore semaphore, int64_t deadline_ns,
                                   const achar__host *host);

#endif
