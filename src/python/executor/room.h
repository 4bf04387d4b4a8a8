/*
 * room.h - what is to be done when there is no memory for what is to be sent: wait, or say so.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_ROOM_H
#define ACHAR_PYTHON_EXECUTOR_ROOM_H

#include "python/executor/executor.h"

/* What a pool's memory said: its status, ACHAR_OK where that was not it; and what it did not have, in one block. */
typedef struct room_lack {
    int status;
    size_t needed_nbytes;
} room_lack;

/*
 * After a MemoryError, which is set, because of 'lack'; 'seen' is achar__pool_room() from before. 1: there is
 * more room now, the exception is gone, try again. 0: a MemoryError stands. -1: something else does (Ctrl-C).
 * Runs Python code, lets the GIL go.
 */
int room_wait(pool_object *p, room_lack lack, uint32_t seen);

/* This thread must never wait for room: tasks may wait for what it does. */
void room_never_wait(void);

int room_exec(PyObject *module, module_state *st);

#endif
