/*
 * payload.h - an object as a message of a queue, and back.
 *
 *    [kind u32][buffer_count u32] leaf (executor/leaf.h)
 *    [kind u32][buffer_count u32] pickle | buffers, each at a multiple of 64 | table of u64:
 *                                 pickle's nbytes, then offset and nbytes of each buffer
 *
 * The table stands only where there are buffers: what pickle protocol 5 may leave out of the pickle,
 * if it is large. They are copied once, into the shared memory; whoever gets the message has views of
 * that memory, which goes back when the last of them has gone. Everything else is pickled straight
 * into the message. Both ends are of one build.
 */
#ifndef ACHAR_PYTHON_SYNC_PAYLOAD_H
#define ACHAR_PYTHON_SYNC_PAYLOAD_H

#include "python/saver/saver.h"
#include "python/sync/sync.h"

#include "runtime/sync/queue.h"

typedef struct sync_payload {
    achar_message message; /* what is to be put */
    saver_sink sink;
    _Alignas(16) char small[ACHAR__MESSAGE_SHORT_NBYTES];
} sync_payload;

/* Fills 'payload' for a queue of 'space'. 0, and sync_payload_clear() follows; or -1 with an exception. */
int sync_payload_write(module_state *st, achar_space *space, PyObject *object,
                       sync_payload *payload);
void sync_payload_clear(sync_payload *payload);

/* The object of a message, whose memory is taken over in any case. NULL with an exception. */
PyObject *sync_payload_read(module_state *st, sync_space *place, achar_message *message);

/* The type of what holds a message whose memory is in use. */
extern PyType_Spec sync_message_spec;

#endif
