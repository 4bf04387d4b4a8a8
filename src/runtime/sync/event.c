/*
 * event.c - a flag to wait for. The word is the flag: looking at it takes no latch. set() puts the
 * flag up first and then lets everyone go, one change each; whoever finds the flag up and a list
 * that is not empty goes on with that.
 */
#include "runtime/sync/event.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>

static void let_go(achar_space *space, achar_cell *event, achar__bells *bells)
{
    achar__waiter *waiter;
    while ((waiter = achar__list_first(space, &event->queue))) {
        achar__take_off(space, event, waiter, ACHAR__WAITER_GRANTED);
        if (bells) {
            achar__bells_add(space, bells, waiter);
        }
    }
}

void achar__event_settle(achar_space *space, achar_cell *event)
{
    if (atomic_load(&event->word)) {
        let_go(space, event, NULL); /* the reaper rings */
    }
}

int achar_event_create(achar_space *space, achar_event *out)
{
    achar_cell *cell = NULL;
    int status = achar__cell_make(space, &cell);
    if (status == ACHAR_OK) {
        achar__cell_publish(cell, ACHAR__CELL_EVENT);
        *out = (achar_event){space, cell};
    }
    return status;
}

int achar_event_is_set(achar_event event)
{
    return atomic_load(&event.cell->word) != 0;
}

int achar_event_set(achar_event event)
{
    uint32_t ticket = achar__ticket(event.space);
    achar__bells bells = {.count = 0};
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(event.space, event.cell, ticket);
    atomic_store(&event.cell->word, 1);
    let_go(event.space, event.cell, &bells);
    achar__unlatch(event.space, event.cell);
    achar__bells_ring(event.space, &bells);
    return ACHAR_OK;
}

int achar_event_clear(achar_event event)
{
    uint32_t ticket = achar__ticket(event.space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(event.space, event.cell, ticket);
    atomic_store(&event.cell->word, 0);
    achar__unlatch(event.space, event.cell);
    return ACHAR_OK;
}

static int wait_once(achar_event event, int64_t deadline_ns, const achar__host *host)
{
    achar_space *space = event.space;
    achar__waiter *waiter = NULL;
    if (atomic_load(&event.cell->word)) {
        return ACHAR_OK;
    }
    if (deadline_ns == 0) {
        return ACHAR_E_TIMEOUT;
    }
    uint32_t ticket = achar__ticket(space);
    int status = achar__waiter_take(space, ticket, event.cell, &waiter);
    if (status != ACHAR_OK) {
        return status;
    }
    achar__latch(space, event.cell, ticket);
    bool is_set = atomic_load(&event.cell->word) != 0;
    if (!is_set) {
        achar__put_on(space, event.cell, &event.cell->queue, waiter, ACHAR__WAITER_QUEUED);
    }
    achar__unlatch(space, event.cell);
    if (!is_set) {
        status = achar__waiter_sleep_on(space, waiter, deadline_ns, host);
        if (achar__is_childs(status)) {
            return status;
        }
        achar__latch(space, event.cell, ticket);
        if (atomic_load(&waiter->state) == ACHAR__WAITER_GRANTED) {
            status = ACHAR_OK;
        } else {
            achar__take_off(space, event.cell, waiter, ACHAR__WAITER_IDLE);
        }
        atomic_store(&waiter->state, ACHAR__WAITER_IDLE);
        achar__unlatch(space, event.cell);
    }
    achar__waiter_give_back(space, waiter);
    return status;
}

int achar__event_wait_until(achar_event event, int64_t deadline_ns, const achar__host *host)
{
    int status;
    do {
        status = wait_once(event, deadline_ns, host);
    } while (status == ACHAR__IS_CHILD);
    return achar__outcome_of(status);
}

int achar_event_wait(achar_event event, int64_t timeout_ns)
{
    return achar__event_wait_until(event, timeout_ns == 0 ? 0 : achar__deadline_in(timeout_ns),
                                   NULL);
}
