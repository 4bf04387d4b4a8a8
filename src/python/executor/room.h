/*
 * room.h - what is to be done when there is no memory for what is to be sent: wait, or say so.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_ROOM_H
#define ACHAR_PYTHON_EXECUTOR_ROOM_H

#include "python/executor/executor.h"

/*
 * After a MemoryError, which is set, of a pool's memory, whose status it was; 'seen' is achar__pool_room()
 * from before. 1: there is more room now, the exception is gone, try again. 0: the exception stands.
 * -1: another one does (Ctrl-C). Runs Python code, lets the GIL go.
 */
int room_wait(pool_object *p, int status, uint32_t seen);

/* This thread must never wait for room: tasks may wait for what it does. */
void room_never_wait(void);

int room_exec(PyObject *module, module_state *st);

#endif
