/*
 * queue.c - a queue of messages, in segments that follow one another.
 *
 *     head                                                          tail
 *      |                                                             |
 *    [ record | record | long | record ]-->[ record | ... ]-->[ record ................ ]
 *                           \
 *                            +--> [ message ]  an extent of its own
 *
 * A message is written where nobody looks yet, then one change (latch.h) puts it in: it moves the
 * tail, counts it, and makes the memory the queue's. Taking one is one change, too, by which the
 * memory becomes the taker's. So a message is in the queue, or in one process's hands, and the
 * memory of the dead can be told from all other.
 * Who waits, and what it is granted: queue_wait.h.
 */
#include "runtime/sync/queue_wait.h"
#include "runtime/sync/accounts.h"
#include "runtime/sync/arena.h"
#include "runtime/sync/futex.h"

#include <achar/status.h>
#include <string.h>

#define COUNT_MAX ((uint32_t)INT32_MAX)

/* 'next' and 'end' mean something as soon as the tail is in another segment. */
typedef struct segment {
    uint32_t next; /* an extent */
    uint32_t end;  /* the offset behind its last record */
    uint32_t unused[2];
} segment;

typedef struct record {
    uint64_t nbytes;
    uint32_t extent; /* 0: the message follows */
    uint32_t unused;
} record;

#define START ((uint32_t)sizeof(segment))

static segment *segment_at(achar_space *space, uint32_t extent)
{
    return (segment *)achar__extent_data(space, extent);
}

static record *record_at(achar_space *space, uint32_t extent, uint32_t offset)
{
    return (record *)(achar__extent_data(space, extent) + offset);
}

/* Of a record, with the message if it is short. */
static uint32_t record_nbytes(uint64_t nbytes, uint32_t extent)
{
    uint32_t inside = extent ? 0 : ((uint32_t)nbytes + 15) & ~15u;
    return (uint32_t)sizeof(record) + inside;
}

/* ---- put ---- */

static bool needs_segment(const achar__messages *m, uint32_t nbytes)
{
    return m->tail_extent == 0 || m->tail_offset + nbytes > ACHAR__UNIT_NBYTES;
}

/*
 * Puts the message in, which has been granted room, or there is some. '*spare' is an extent of ours
 * that becomes the new tail if one is needed; then it is 0 afterwards.
 */
static void append(achar__queue_call *c, const achar_message *message, uint32_t *spare)
{
    achar_space *space = c->space;
    achar__messages *m = &c->queue->messages;
    uint32_t nbytes = record_nbytes(message->nbytes, message->extent);
    uint32_t extent = m->tail_extent, offset = m->tail_offset;
    uint32_t mine = ACHAR__OWNER_QUEUE(achar__cell_index(space, c->queue));
    achar__change change = achar__change_begin(space, c->queue);
    if (needs_segment(m, nbytes)) {
        if (extent != 0) {
            segment_at(space, extent)->next = *spare;
            segment_at(space, extent)->end = offset;
        } else {
            achar__change_add(&change, &m->head_extent, *spare);
            achar__change_add(&change, &m->head_offset, START);
        }
        extent = *spare;
        offset = START;
        achar__change_add(&change, &achar__extent_at(space, extent)->owner, mine);
        achar__change_add(&change, &m->tail_extent, extent);
        *spare = 0;
    }
    record *r = record_at(space, extent, offset);
    *r = (record){.nbytes = message->nbytes, .extent = message->extent};
    if (message->extent) {
        achar__change_add(&change, &achar__extent_at(space, message->extent)->owner, mine);
    } else if (message->nbytes > 0) {
        memcpy(r + 1, message->data, message->nbytes);
    }
    achar__change_add(&change, &m->tail_offset, offset + nbytes);
    achar__change_add(&change, &m->count, m->count + 1);
    achar__change_add(&change, &m->unfinished, m->unfinished + 1);
    achar__queue_use_grant(&change, c, &m->reserved);
    achar__change_commit(&change);
}

int achar__queue_put_until(achar_queue queue, achar_message *message, int64_t deadline_ns,
                           const achar__host *host)
{
    achar__queue_call c = {.space = queue.space,
                           .queue = queue.cell,
                           .ticket = achar__ticket(queue.space),
                           .deadline_ns = deadline_ns,
                           .host = host};
    achar__messages *m = &c.queue->messages;
    uint32_t nbytes = record_nbytes(message->nbytes, message->extent), spare = 0;
    int status = c.ticket ? achar__arena_map(c.space) : ACHAR_E_LIMIT;
    if (status != ACHAR_OK) {
        return status;
    }
    achar__latch(c.space, c.queue, c.ticket);
    for (;;) {
        if (!achar__queue_is_granted(&c) && !achar__messages_room(m)) {
            status = achar__queue_wait_on(&c, &c.queue->gate, ACHAR__WAITER_PUTS);
        } else if (needs_segment(m, nbytes) && spare == 0) {
            achar__unlatch(c.space, c.queue);
            status = achar__extent_take(c.space, c.ticket, ACHAR__UNIT_NBYTES, &spare);
            achar__latch(c.space, c.queue, c.ticket);
        } else {
            append(&c, message, &spare);
            break;
        }
        if (achar__is_childs(status)) {
            return status;
        }
        if (status != ACHAR_OK) {
            break;
        }
    }
    achar__queue_serve(c.space, c.queue, &c.bells);
    achar__queue_end_call(&c);
    if (spare != 0) {
        achar__extent_give_back(c.space, c.ticket, spare);
    }
    if (status == ACHAR_OK && message->extent) {
        *message = (achar_message){.space = message->space};
    }
    return status;
}

/* ---- get ---- */

/*
 * Takes the first message, which is there. '*emptied' is a segment that is this process's now, to be
 * given back; 0: none.
 */
static void take_first(achar__queue_call *c, void *buffer, achar_message *out, uint32_t *emptied)
{
    achar_space *space = c->space;
    achar__messages *m = &c->queue->messages;
    achar__account *account =
        achar__account_find(space, achar__queue_accounts(space, c->queue), c->ticket);
    uint32_t extent = m->head_extent, offset = m->head_offset;
    achar__change change = achar__change_begin(space, c->queue);
    if (extent != m->tail_extent && offset == segment_at(space, extent)->end) {
        *emptied = extent;
        achar__change_add(&change, &achar__extent_at(space, extent)->owner, c->ticket);
        extent = segment_at(space, extent)->next;
        offset = START;
        achar__change_add(&change, &m->head_extent, extent);
    }
    const record *r = record_at(space, extent, offset);
    *out = (achar_message){.space = space, .nbytes = r->nbytes, .extent = r->extent};
    if (r->extent) {
        out->data = achar__extent_data(space, r->extent);
        achar__change_add(&change, &achar__extent_at(space, r->extent)->owner, c->ticket);
    } else {
        out->data = memcpy(buffer, r + 1, r->nbytes);
    }
    offset += record_nbytes(r->nbytes, r->extent);
    if (extent == m->tail_extent && offset == m->tail_offset) { /* empty: begin anew */
        offset = START;
        achar__change_add(&change, &m->tail_offset, START);
    }
    achar__change_add(&change, &m->head_offset, offset);
    achar__change_add(&change, &m->count, m->count - 1);
    achar__change_add(&change, &account->count, account->count + 1);
    achar__queue_use_grant(&change, c, &m->promised);
    achar__change_commit(&change);
}

static int get_once(achar_queue queue, int64_t deadline_ns, const achar__host *host, void *buffer,
                    achar_message *out)
{
    achar__queue_call c = {.space = queue.space,
                           .queue = queue.cell,
                           .ticket = achar__ticket(queue.space),
                           .deadline_ns = deadline_ns,
                           .host = host};
    achar__messages *m = &c.queue->messages;
    uint32_t emptied = 0;
    int status = c.ticket ? achar__arena_map(c.space) : ACHAR_E_LIMIT;
    if (status != ACHAR_OK) {
        return status;
    }
    achar__latch(c.space, c.queue, c.ticket);
    status = achar__account_open(c.space, c.queue, &m->more,
                                 achar__queue_accounts(c.space, c.queue), c.ticket);
    while (status == ACHAR_OK) {
        if (achar__queue_is_granted(&c) || achar__messages_free(m)) {
            take_first(&c, buffer, out, &emptied);
            break;
        }
        status = achar__queue_wait_on(&c, &c.queue->queue, 0);
        if (achar__is_childs(status)) {
            return status;
        }
    }
    achar__queue_serve(c.space, c.queue, &c.bells);
    achar__queue_end_call(&c);
    if (emptied != 0) {
        achar__extent_give_back(c.space, c.ticket, emptied);
    }
    return status;
}

int achar__queue_get_until(achar_queue queue, int64_t deadline_ns, const achar__host *host,
                           void *buffer, achar_message *out)
{
    int status;
    do {
        status = get_once(queue, deadline_ns, host, buffer, out);
    } while (status == ACHAR__IS_CHILD);
    return achar__outcome_of(status);
}

/* ---- task_done and join ---- */

int achar_queue_task_done(achar_queue queue)
{
    achar_space *space = queue.space;
    achar__messages *m = &queue.cell->messages;
    achar__bells bells = {.count = 0};
    uint32_t ticket = achar__ticket(space);
    int status = ACHAR_E_NOT_HELD;
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(space, queue.cell, ticket);
    if (m->unfinished > 0) {
        achar_cell *accounts = achar__queue_accounts(space, queue.cell);
        achar__account *account = achar__account_find(space, accounts, ticket);
        if (!account || account->count == 0) {
            account = achar__account_filled(space, accounts);
        }
        achar__change change = achar__change_begin(space, queue.cell);
        achar__change_add(&change, &m->unfinished, m->unfinished - 1);
        if (account) {
            achar__change_add(&change, &account->count, account->count - 1);
        } else if (m->lost > 0) {
            achar__change_add(&change, &m->lost, m->lost - 1);
        }
        achar__change_commit(&change);
        achar__queue_serve_joiners(space, queue.cell, &bells);
        status = ACHAR_OK;
    }
    achar__unlatch(space, queue.cell);
    achar__bells_ring(space, &bells);
    return status;
}

static int join_once(achar_queue queue, int64_t deadline_ns, const achar__host *host)
{
    achar__queue_call c = {.space = queue.space,
                           .queue = queue.cell,
                           .ticket = achar__ticket(queue.space),
                           .deadline_ns = deadline_ns,
                           .host = host};
    achar__messages *m = &c.queue->messages;
    int status = ACHAR_OK;
    if (c.ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(c.space, c.queue, c.ticket);
    while (status == ACHAR_OK && m->unfinished > 0 && !achar__queue_is_granted(&c)) {
        if (m->lost > 0 || (c.waiter && atomic_load(&c.waiter->state) == ACHAR__WAITER_ORPHANED)) {
            status = ACHAR_E_OWNER_DIED;
        } else {
            status = achar__queue_wait_on(&c, &m->joiners, ACHAR__WAITER_JOINS);
        }
        if (achar__is_childs(status)) {
            return status;
        }
    }
    achar__queue_end_call(&c);
    return status;
}

int achar__queue_join_until(achar_queue queue, int64_t deadline_ns, const achar__host *host)
{
    int status;
    do {
        status = join_once(queue, deadline_ns, host);
    } while (status == ACHAR__IS_CHILD);
    return achar__outcome_of(status);
}

int achar_queue_recover(achar_queue queue, uint32_t *count)
{
    achar__messages *m = &queue.cell->messages;
    achar__bells bells = {.count = 0};
    uint32_t ticket = achar__ticket(queue.space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(queue.space, queue.cell, ticket);
    *count = m->lost < m->unfinished ? m->lost : m->unfinished;
    bool any = m->lost > 0;
    achar__change change = achar__change_begin(queue.space, queue.cell);
    achar__change_add(&change, &m->unfinished, m->unfinished - *count);
    achar__change_add(&change, &m->lost, 0);
    achar__change_commit(&change);
    achar__queue_serve_joiners(queue.space, queue.cell, &bells);
    achar__unlatch(queue.space, queue.cell);
    achar__bells_ring(queue.space, &bells);
    return any ? ACHAR_OK : ACHAR_E_NOT_HELD;
}

/* ---- the public functions ---- */

int achar_queue_create(achar_space *space, uint32_t max_count, achar_queue *out)
{
    achar_cell *cell = NULL;
    if (max_count > COUNT_MAX) {
        return ACHAR_E_INVALID;
    }
    int status = achar__cell_make(space, &cell);
    if (status == ACHAR_OK) {
        achar__link *joiners = &cell->messages.joiners;
        cell->messages.max_count = max_count ? max_count : COUNT_MAX;
        joiners->next = joiners->prev = achar__place_of(space, joiners);
        achar__cell_publish(cell, ACHAR__CELL_QUEUE);
        *out = (achar_queue){space, cell};
    }
    return status;
}

int achar_queue_join(achar_queue queue, int64_t timeout_ns)
{
    int64_t deadline_ns = timeout_ns == 0 ? 0 : achar__deadline_in(timeout_ns);
    return achar__queue_join_until(queue, deadline_ns, NULL);
}

uint32_t achar_queue_count(achar_queue queue)
{
    const achar__messages *m = &queue.cell->messages;
    uint32_t promised = atomic_load((const _Atomic uint32_t *)&m->promised);
    uint32_t count = atomic_load((const _Atomic uint32_t *)&m->count);
    return count > promised ? count - promised : 0;
}

bool achar__queue_has_room(achar_queue queue)
{
    const achar__messages *m = &queue.cell->messages;
    uint32_t reserved = atomic_load((const _Atomic uint32_t *)&m->reserved);
    return atomic_load((const _Atomic uint32_t *)&m->count) + reserved < m->max_count;
}

uint32_t achar_queue_max_count(achar_queue queue)
{
    uint32_t count = queue.cell->messages.max_count;
    return count == COUNT_MAX ? 0 : count;
}

uint32_t achar_queue_unfinished(achar_queue queue)
{
    return atomic_load((const _Atomic uint32_t *)&queue.cell->messages.unfinished);
}
