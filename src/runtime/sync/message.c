/*
 * message.c - messages as a C program has them: made, put into a queue, taken out, freed.
 *
 * One of up to ACHAR__MESSAGE_SHORT_NBYTES is in memory of the process and is copied into the queue
 * and out of it. A longer one is an extent of the arena from the beginning, and changes its owner.
 */
#include "runtime/sync/arena.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/queue.h"

#include <achar/status.h>
#include <stdlib.h>
#include <string.h>

int achar__message_reserve(achar_space *space, size_t nbytes, achar_message *out)
{
    uint32_t extent, ticket = achar__ticket(space);
    int status = ticket ? achar__arena_map(space) : ACHAR_E_LIMIT;
    if (status == ACHAR_OK) {
        status = achar__extent_take(space, ticket, nbytes, &extent);
    }
    if (status == ACHAR_OK) {
        *out = (achar_message){space, achar__extent_data(space, extent), nbytes, extent};
    }
    return status;
}

int achar_message_create(achar_space *space, size_t nbytes, achar_message *out)
{
    if (nbytes > ACHAR__MESSAGE_SHORT_NBYTES) {
        return achar__message_reserve(space, nbytes, out);
    }
    void *data = malloc(nbytes ? nbytes : 1);
    if (!data) {
        return ACHAR_E_NOMEM;
    }
    *out = (achar_message){space, data, nbytes, 0};
    return ACHAR_OK;
}

/* Whether this process has the extent; a forked child has none of its parent's. */
static bool is_ours(const achar_message *message)
{
    return atomic_load(&achar__extent_at(message->space, message->extent)->owner) ==
           atomic_load(&message->space->member->ticket);
}

void achar_message_free(achar_message *message)
{
    if (message->extent == 0) {
        free(message->data);
    } else if (is_ours(message)) {
        achar__extent_give_back(message->space, atomic_load(&message->space->member->ticket),
                                message->extent);
    }
    *message = (achar_message){.space = message->space};
}

/* ---- into a queue, and out of it ---- */

static int64_t deadline_of(int64_t timeout_ns)
{
    return timeout_ns == 0 ? 0 : achar__deadline_in(timeout_ns);
}

int achar_queue_put(achar_queue queue, const void *data, size_t nbytes, int64_t timeout_ns)
{
    int64_t deadline_ns = deadline_of(timeout_ns);
    achar_message message = {queue.space, (void *)data, nbytes, 0};
    if (nbytes <= ACHAR__MESSAGE_SHORT_NBYTES) {
        return achar__queue_put_until(queue, &message, deadline_ns, NULL);
    }
    int status = achar__message_reserve(queue.space, nbytes, &message);
    if (status == ACHAR_OK) {
        memcpy(message.data, data, nbytes);
        status = achar__queue_put_until(queue, &message, deadline_ns, NULL);
        if (status != ACHAR_OK) {
            achar_message_free(&message);
        }
    }
    return status;
}

int achar_queue_put_message(achar_queue queue, achar_message *message, int64_t timeout_ns)
{
    if (message->space != queue.space || !message->data || (message->extent && !is_ours(message))) {
        return ACHAR_E_INVALID;
    }
    int status = achar__queue_put_until(queue, message, deadline_of(timeout_ns), NULL);
    if (status == ACHAR_OK) {
        achar_message_free(message); /* a short one has been copied */
    }
    return status;
}

int achar_queue_get(achar_queue queue, int64_t timeout_ns, achar_message *out)
{
    unsigned char buffer[ACHAR__MESSAGE_SHORT_NBYTES];
    achar_message message;
    int status = achar__queue_get_until(queue, deadline_of(timeout_ns), NULL, buffer, &message);
    if (status == ACHAR_OK && message.extent == 0) {
        message.data = malloc(message.nbytes ? message.nbytes : 1);
        if (!message.data) {
            return ACHAR_E_NOMEM;
        }
        memcpy(message.data, buffer, message.nbytes);
    }
    if (status == ACHAR_OK) {
        *out = message;
    }
    return status;
}
