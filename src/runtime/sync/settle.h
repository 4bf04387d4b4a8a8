/*
 * settle.h - what each kind of object does about the dead. All of these run under the latch of the
 * cell's home, may run twice, and leave a cell that is whole at every step.
 */
#ifndef ACHAR_RUNTIME_SYNC_SETTLE_H
#define ACHAR_RUNTIME_SYNC_SETTLE_H

#include "runtime/sync/waiter.h"

/* Finishes what the holder of the latch had begun: brings lists and numbers into agreement. */
void achar__settle(achar_space *space, achar_cell *cell);

/* The process 'dead' is gone. Its waiters are off the lists by then. */
void achar__bury(achar_space *space, achar_cell *cell, uint32_t dead);

/* Takes a dead process's waiter off its list, or back from what it was given. */
void achar__bury_waiter(achar_space *space, achar__waiter *waiter);

void achar__lock_settle(achar_space *space, achar_cell *cell);
void achar__lock_bury(achar_space *space, achar_cell *cell, uint32_t dead);
void achar__lock_bury_waiter(achar_space *space, achar_cell *cell, achar__waiter *waiter);
void achar__condition_bury(achar_space *space, achar_cell *cell, uint32_t dead);
void achar__condition_bury_waiter(achar_space *space, achar_cell *cell, achar__waiter *waiter);
void achar__event_settle(achar_space *space, achar_cell *cell);
void achar__semaphore_settle(achar_space *space, achar_cell *cell);
void achar__semaphore_bury(achar_space *space, achar_cell *cell, uint32_t dead);
void achar__semaphore_bury_waiter(achar_space *space, achar_cell *cell, achar__waiter *waiter);
void achar__barrier_settle(achar_space *space, achar_cell *cell);
void achar__barrier_bury(achar_space *space, achar_cell *cell, uint32_t dead);
void achar__barrier_bury_waiter(achar_space *space, achar_cell *cell, achar__waiter *waiter);
void achar__queue_settle(achar_space *space, achar_cell *cell);
void achar__queue_bury(achar_space *space, achar_cell *cell, uint32_t dead);
void achar__queue_bury_waiter(achar_space *space, achar_cell *cell, achar__waiter *waiter);

#endif
