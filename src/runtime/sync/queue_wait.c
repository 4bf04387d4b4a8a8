/* queue_wait.c - see queue_wait.h. */
#include "runtime/sync/queue_wait.h"
#include "runtime/sync/accounts.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>

/* ---- grants ---- */

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

void achar__queue_serve(achar_space *space, achar_cell *queue, achar__bells *bells)
{
    achar__messages *m = &queue->messages;
    achar__waiter *waiter;
    while (achar__messages_free(m) && (waiter = achar__list_first(space, &queue->queue))) {
        grant(space, queue, waiter, &m->promised, bells);
    }
    while (achar__messages_room(m) && (waiter = achar__list_first(space, &queue->gate))) {
        grant(space, queue, waiter, &m->reserved, bells);
    }
}

void achar__queue_serve_joiners(achar_space *space, achar_cell *queue, achar__bells *bells)
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
        achar__queue_serve(space, queue, bells);
    }
}

/* ---- death ---- */

void achar__queue_settle(achar_space *space, achar_cell *queue)
{
    achar__queue_serve(space, queue, NULL); /* the reaper rings */
    achar__queue_serve_joiners(space, queue, NULL);
}

void achar__queue_bury(achar_space *space, achar_cell *queue, uint32_t dead)
{
    achar__account *account = achar__account_find(space, achar__queue_accounts(space, queue), dead);
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

int achar__queue_wait_on(achar__queue_call *c, achar__link *list, uint32_t flags)
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
    if (achar__is_childs(status)) {
        return status;
    }
    achar__latch(space, c->queue, c->ticket);
    if (status != ACHAR_OK && atomic_load(&c->waiter->state) == ACHAR__WAITER_QUEUED) {
        achar__take_off(space, c->queue, c->waiter, ACHAR__WAITER_IDLE);
        return status;
    }
    /* Granted, perhaps just when the time was up. Who gives up for a signal does not take it. */
    return status == ACHAR_E_INTERRUPTED ? status : ACHAR_OK;
}

void achar__queue_end_call(achar__queue_call *c)
{
    if (c->waiter) {
        if (achar__queue_is_granted(c)) {
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

void achar__queue_use_grant(achar__change *change, achar__queue_call *c, uint32_t *count)
{
    if (achar__queue_is_granted(c)) {
        achar__change_add(change, count, *count - 1);
        achar__change_add(change, &c->waiter->state, ACHAR__WAITER_IDLE);
    }
}
