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
 *
 * Whoever waits is granted a message (it stays where it is, and is counted as promised), or room.
 * Those who do not wait may take what is not promised. So waiting is first come, first served, and
 * what was granted to the dead, or to one whose time was up, is still there.
 */
#include "runtime/sync/queue.h"
#include "runtime/sync/accounts.h"
#include "runtime/sync/arena.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>
#include <stdlib.h>
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

static achar_cell *accounts_of(achar_space *space, const achar_cell *queue)
{
    return queue->messages.more ? achar__cell_at(space, queue->messages.more) : NULL;
}

/* ---- those who wait; under the latch ---- */

static void grant(achar_space *space, achar_cell *queue, achar__waiter *waiter, uint32_t *count,
                  achar__bells *bells)
{
    achar__change change = achar__change_begin(space, queue);
    achar__change_add(&change, count, *count + 1);
    achar__change_unlink(&change, waiter);
    achar__change_add(&change, &waiter->state, ACHAR__WAITER_GRANTED);
    achar__change_commit(&change);
    if (bells) {
        achar__bells_add(space, bells, waiter);
    }
}

static bool has_message(const achar__messages *m)
{
    return m->count > m->promised;
}

static bool has_room(const achar__messages *m)
{
    return m->count + m->reserved < m->max_count;
}

/* What is there goes to those who wait for it. */
static void serve(achar_space *space, achar_cell *queue, achar__bells *bells)
{
    achar__messages *m = &queue->messages;
    achar__waiter *waiter;
    while (has_message(m) && (waiter = achar__list_first(space, &queue->queue))) {
        grant(space, queue, waiter, &m->promised, bells);
    }
    while (has_room(m) && (waiter = achar__list_first(space, &queue->gate))) {
        grant(space, queue, waiter, &m->reserved, bells);
    }
}

/* Joiners go when all is done; when some of it died with its process, they are told. */
static void serve_joiners(achar_space *space, achar_cell *queue, achar__bells *bells)
{
    achar__messages *m = &queue->messages;
    achar__waiter *waiter;
    while ((m->unfinished == 0 || m->lost > 0) &&
           (waiter = achar__list_first(space, &m->joiners))) {
        achar__take_off(space, queue, waiter,
                        m->unfinished == 0 ? ACHAR__WAITER_GRANTED : ACHAR__WAITER_ORPHANED);
        if (bells) {
            achar__bells_add(space, bells, waiter);
        }
    }
}

/* The waiter has no use for what it was granted; it is IDLE after that. */
static void return_grant(achar_space *space, achar_cell *queue, achar__waiter *waiter,
                         achar__bells *bells)
{
    uint32_t flags = atomic_load(&waiter->flags);
    if (!(flags & ACHAR__WAITER_JOINS)) {
        uint32_t *count =
            flags & ACHAR__WAITER_PUTS ? &queue->messages.reserved : &queue->messages.promised;
        achar__change change = achar__change_begin(space, queue);
        achar__change_add(&change, count, *count - 1);
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_IDLE);
        achar__change_commit(&change);
        serve(space, queue, bells);
    }
}

/* ---- death; under the latch ---- */

void achar__queue_settle(achar_space *space, achar_cell *queue)
{
    serve(space, queue, NULL); /* the reaper rings */
    serve_joiners(space, queue, NULL);
}

void achar__queue_bury(achar_space *space, achar_cell *queue, uint32_t dead)
{
    achar__account *account = achar__account_find(space, accounts_of(space, queue), dead);
    if (account) {
        achar__change change = achar__change_begin(space, queue);
        achar__change_add(&change, &queue->messages.lost, queue->messages.lost + account->count);
        achar__change_add(&change, &account->count, 0);
        achar__change_add(&change, &account->ticket, 0);
        achar__change_commit(&change);
    }
    achar__queue_settle(space, queue);
}

void achar__queue_bury_waiter(achar_space *space, achar_cell *queue, achar__waiter *waiter)
{
    if (atomic_load(&waiter->state) == ACHAR__WAITER_QUEUED) {
        achar__take_off(space, queue, waiter, ACHAR__WAITER_IDLE);
    } else if (atomic_load(&waiter->state) == ACHAR__WAITER_GRANTED) {
        return_grant(space, queue, waiter, NULL);
    }
}

/* ---- waiting ---- */

/* One call that may have to wait, and what it holds meanwhile. */
typedef struct call {
    achar_space *space;
    achar_cell *queue;
    uint32_t ticket;
    int64_t deadline_ns;
    const achar__host *host;
    achar__waiter *waiter; /* NULL: has not waited yet */
    bool looked;           /* for the dead */
    achar__bells bells;    /* to ring without the latch */
} call;

static bool is_granted(const call *c)
{
    return c->waiter && atomic_load(&c->waiter->state) == ACHAR__WAITER_GRANTED;
}

/*
 * There is nothing to be had. Waits for it, on 'list', where 'flags' say; the latch is held before and
 * after. ACHAR_OK: look again, perhaps it was granted. Anything else: give up; then the waiter is
 * neither listed nor granted.
 */
static int wait_on(call *c, achar__link *list, uint32_t flags)
{
    achar_space *space = c->space;
    int status = ACHAR_OK;
    if (c->deadline_ns == 0) {
        const achar__messages *m = &c->queue->messages;
        bool joins = flags & ACHAR__WAITER_JOINS;
        if (!space->shared || c->looked || !(joins || m->promised || m->reserved)) {
            return ACHAR_E_TIMEOUT;
        }
        /* Perhaps it was granted to the dead, and nobody waits who would notice. */
        c->looked = true;
        achar__unlatch(space, c->queue);
        achar__reap_the_dead(space);
        achar__latch(space, c->queue, c->ticket);
        return ACHAR_OK;
    }
    if (!c->waiter) {
        achar__unlatch(space, c->queue);
        status = achar__waiter_take(space, c->ticket, c->queue, &c->waiter);
        achar__latch(space, c->queue, c->ticket);
        return status;
    }
    if (atomic_load(&c->waiter->state) == ACHAR__WAITER_IDLE) {
        atomic_fetch_or(&c->waiter->flags, flags);
        achar__put_on(space, c->queue, list, c->waiter, ACHAR__WAITER_QUEUED);
    }
    achar__unlatch(space, c->queue);
    achar__bells_ring(space, &c->bells);
    status = achar__waiter_sleep_on(space, c->waiter, c->deadline_ns, c->host);
    ACHAR__CRASH_POINT("awake");
    achar__latch(space, c->queue, c->ticket);
    if (status != ACHAR_OK && atomic_load(&c->waiter->state) == ACHAR__WAITER_QUEUED) {
        achar__take_off(space, c->queue, c->waiter, ACHAR__WAITER_IDLE);
        return status;
    }
    /* Granted, perhaps just when the time was up. Who gives up for a signal does not take it. */
    return status == ACHAR_E_INTERRUPTED ? status : ACHAR_OK;
}

/* Ends the call: latched, and without the latch when it returns. */
static void end_call(call *c)
{
    if (c->waiter) {
        if (is_granted(c)) {
            return_grant(c->space, c->queue, c->waiter, &c->bells);
        }
        atomic_store(&c->waiter->state, ACHAR__WAITER_IDLE);
    }
    achar__unlatch(c->space, c->queue);
    achar__bells_ring(c->space, &c->bells);
    if (c->waiter) {
        achar__waiter_give_back(c->space, c->waiter);
    }
}

/* Adds the end of a grant to a change; '*count' is promised or reserved. */
static void add_use_of_grant(achar__change *change, call *c, uint32_t *count)
{
    if (is_granted(c)) {
        achar__change_add(change, count, *count - 1);
        achar__change_add(change, &c->waiter->state, ACHAR__WAITER_IDLE);
    }
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
static void append(call *c, const achar_message *message, uint32_t *spare)
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
    add_use_of_grant(&change, c, &m->reserved);
    achar__change_commit(&change);
}

int achar__queue_put_until(achar_queue queue, achar_message *message, int64_t deadline_ns,
                           const achar__host *host)
{
    call c = {.space = queue.space,
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
        if (!is_granted(&c) && !has_room(m)) {
            status = wait_on(&c, &c.queue->gate, ACHAR__WAITER_PUTS);
        } else if (needs_segment(m, nbytes) && spare == 0) {
            achar__unlatch(c.space, c.queue);
            status = achar__extent_take(c.space, c.ticket, ACHAR__UNIT_NBYTES, &spare);
            achar__latch(c.space, c.queue, c.ticket);
        } else {
            append(&c, message, &spare);
            break;
        }
        if (status != ACHAR_OK) {
            break;
        }
    }
    serve(c.space, c.queue, &c.bells);
    end_call(&c);
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
static void take_first(call *c, void *buffer, achar_message *out, uint32_t *emptied)
{
    achar_space *space = c->space;
    achar__messages *m = &c->queue->messages;
    achar__account *account = achar__account_find(space, accounts_of(space, c->queue), c->ticket);
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
    add_use_of_grant(&change, c, &m->promised);
    achar__change_commit(&change);
}

int achar__queue_get_until(achar_queue queue, int64_t deadline_ns, const achar__host *host,
                           void *buffer, achar_message *out)
{
    call c = {.space = queue.space,
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
    status =
        achar__account_open(c.space, c.queue, &m->more, accounts_of(c.space, c.queue), c.ticket);
    while (status == ACHAR_OK) {
        if (is_granted(&c) || has_message(m)) {
            take_first(&c, buffer, out, &emptied);
            break;
        }
        status = wait_on(&c, &c.queue->queue, 0);
    }
    serve(c.space, c.queue, &c.bells);
    end_call(&c);
    if (emptied != 0) {
        achar__extent_give_back(c.space, c.ticket, emptied);
    }
    return status;
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
        achar_cell *accounts = accounts_of(space, queue.cell);
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
        serve_joiners(space, queue.cell, &bells);
        status = ACHAR_OK;
    }
    achar__unlatch(space, queue.cell);
    achar__bells_ring(space, &bells);
    return status;
}

int achar__queue_join_until(achar_queue queue, int64_t deadline_ns, const achar__host *host)
{
    call c = {.space = queue.space,
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
    while (status == ACHAR_OK && m->unfinished > 0 && !is_granted(&c)) {
        if (m->lost > 0 || (c.waiter && atomic_load(&c.waiter->state) == ACHAR__WAITER_ORPHANED)) {
            status = ACHAR_E_OWNER_DIED;
        } else {
            status = wait_on(&c, &m->joiners, ACHAR__WAITER_JOINS);
        }
    }
    end_call(&c);
    return status;
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
    serve_joiners(queue.space, queue.cell, &bells);
    achar__unlatch(queue.space, queue.cell);
    achar__bells_ring(queue.space, &bells);
    return any ? ACHAR_OK : ACHAR_E_NOT_HELD;
}

/* ---- messages ---- */

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

int achar_queue_join(achar_queue queue, int64_t timeout_ns)
{
    return achar__queue_join_until(queue, deadline_of(timeout_ns), NULL);
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
