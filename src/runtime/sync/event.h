/* event.h - waiting for an event until a time of futex.h; 0: does not wait. */
#ifndef ACHAR_RUNTIME_SYNC_EVENT_H
#define ACHAR_RUNTIME_SYNC_EVENT_H

#include "runtime/sync/waiter.h"

int achar__event_wait_until(achar_event event, int64_t deadline_ns, const achar__host *host);

#endif
