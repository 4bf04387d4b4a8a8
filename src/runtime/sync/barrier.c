/*
 * barrier.c - a number of parties wait until all of them have come; then all go on.
 *
 * The last to come may lead: the barrier is then closed while its action runs, and who comes
 * meanwhile stands at the gate. Each party has a waiter of its own, so those who go on and those who
 * come for the next round do not meet. A party that dies in here can never go on, and one that does
 * not wait any longer leaves a hole: in both cases the barrier is broken for all, until reset.
 *
 * A round ends under one latching: first one step says how it ends (ENDING_…), then everyone is let
 * go, then the barrier is open or broken. Whoever finds it ending lets the rest go.
 */
#include "runtime/sync/barrier.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>

enum barrier_state {
    FILLING = 0,
    ACTING, /* all have come; 'leader' runs the action */
    BROKEN,
    ENDING_WELL,
    ENDING_BROKEN,
    ENDING_RESET
};

#define PARTIES_MAX ((uint32_t)INT32_MAX)
#define AT_GATE     UINT32_MAX /* a waiter's value, instead of its index */

/* ---- under the latch ---- */

static void end_all(achar_space *space, achar_cell *barrier, achar__link *list,
                    enum achar__waiter_state state, achar__bells *bells)
{
    achar__waiter *waiter;
    while ((waiter = achar__list_first(space, list))) {
        achar__take_off(space, barrier, waiter, state);
        if (bells) {
            achar__bells_add(space, bells, waiter);
        }
    }
}

static void set_state(achar_space *space, achar_cell *barrier, enum barrier_state state,
                      uint32_t arrived)
{
    achar__change change = achar__change_begin(space, barrier);
    achar__change_add(&change, &barrier->barrier.state, state);
    achar__change_add(&change, &barrier->barrier.arrived, arrived);
    achar__change_commit(&change);
}

/* Lets all go as 'ending' says. Without bells the caller rings everybody. */
static void end_round(achar_space *space, achar_cell *barrier, enum barrier_state ending,
                      achar__bells *bells)
{
    set_state(space, barrier, ending, barrier->barrier.arrived);
    end_all(space, barrier, &barrier->queue,
            ending == ENDING_WELL ? ACHAR__WAITER_GRANTED : ACHAR__WAITER_BROKEN, bells);
    end_all(space, barrier, &barrier->gate, ACHAR__WAITER_GRANTED, bells);
    set_state(space, barrier, ending == ENDING_BROKEN ? BROKEN : FILLING, 0);
}

void achar__barrier_settle(achar_space *space, achar_cell *barrier)
{
    if (barrier->barrier.state >= ENDING_WELL) {
        end_round(space, barrier, barrier->barrier.state, NULL);
    }
}

void achar__barrier_bury(achar_space *space, achar_cell *barrier, uint32_t dead)
{
    if (barrier->barrier.state == ACTING && barrier->barrier.leader == dead) {
        end_round(space, barrier, ENDING_BROKEN, NULL);
    }
}

void achar__barrier_bury_waiter(achar_space *space, achar_cell *barrier, achar__waiter *waiter)
{
    if (atomic_load(&waiter->state) != ACHAR__WAITER_QUEUED) {
        return;
    }
    /* Broken first, with the dead among them: a reaper that begins anew finds it done. */
    if (waiter->value != AT_GATE && barrier->barrier.state == FILLING) {
        end_round(space, barrier, ENDING_BROKEN, NULL);
    } else {
        achar__take_off(space, barrier, waiter, ACHAR__WAITER_IDLE);
    }
}

/* ---- waiting; latched, and unlatched while asleep ---- */

/* Until the action that is running has ended. ACHAR_OK, ACHAR_E_INTERRUPTED, or as waiter.h. */
static int stand_at_gate(achar_space *space, achar_cell *barrier, achar__waiter *waiter,
                         uint32_t ticket, const achar__host *host)
{
    waiter->value = AT_GATE;
    achar__put_on(space, barrier, &barrier->gate, waiter, ACHAR__WAITER_QUEUED);
    achar__unlatch(space, barrier);
    int status = achar__waiter_sleep_on(space, waiter, ACHAR__NO_DEADLINE, host);
    if (achar__is_childs(status)) {
        return status;
    }
    achar__latch(space, barrier, ticket);
    if (atomic_load(&waiter->state) == ACHAR__WAITER_QUEUED) {
        achar__take_off(space, barrier, waiter, ACHAR__WAITER_IDLE);
    } else {
        status = ACHAR_OK;
    }
    atomic_store(&waiter->state, ACHAR__WAITER_IDLE);
    return status;
}

/* The last party has come. */
static int trip(achar_space *space, achar_cell *barrier, uint32_t ticket, int lead,
                achar__bells *bells)
{
    if (!lead) {
        end_round(space, barrier, ENDING_WELL, bells);
        return ACHAR_OK;
    }
    achar__change change = achar__change_begin(space, barrier);
    achar__change_add(&change, &barrier->barrier.leader, ticket);
    achar__change_add(&change, &barrier->barrier.arrived, barrier->barrier.parties);
    achar__change_add(&change, &barrier->barrier.state, ACTING);
    achar__change_commit(&change);
    return ACHAR_OK;
}

static int wait_for_others(achar_space *space, achar_cell *barrier, achar__waiter *waiter,
                           uint32_t ticket, int64_t deadline_ns, const achar__host *host,
                           achar__bells *bells)
{
    achar__change change = achar__change_begin(space, barrier);
    waiter->value = barrier->barrier.arrived;
    achar__change_append(&change, &barrier->queue, waiter);
    achar__change_add(&change, &waiter->state, ACHAR__WAITER_QUEUED);
    achar__change_add(&change, &barrier->barrier.arrived, barrier->barrier.arrived + 1);
    achar__change_commit(&change);
    for (;;) {
        achar__unlatch(space, barrier);
        int status = achar__waiter_sleep_on(space, waiter, deadline_ns, host);
        ACHAR__CRASH_POINT("awake");
        if (achar__is_childs(status)) {
            return status;
        }
        achar__latch(space, barrier, ticket);
        switch (atomic_load(&waiter->state)) {
        case ACHAR__WAITER_GRANTED:
            return ACHAR_OK;
        case ACHAR__WAITER_BROKEN:
            return ACHAR_E_BROKEN;
        default:
            break;
        }
        if (status == ACHAR_E_INTERRUPTED) {
            change = achar__change_begin(space, barrier);
            achar__change_unlink(&change, waiter);
            achar__change_add(&change, &waiter->state, ACHAR__WAITER_IDLE);
            if (barrier->barrier.state == FILLING) {
                achar__change_add(&change, &barrier->barrier.arrived, barrier->barrier.arrived - 1);
            }
            achar__change_commit(&change);
            return status;
        }
        if (barrier->barrier.state == FILLING) { /* the time is up */
            end_round(space, barrier, ENDING_BROKEN, bells);
            return ACHAR_E_BROKEN;
        }
        deadline_ns = ACHAR__NO_DEADLINE; /* all have come; how long the action takes is its own */
    }
}

static int wait_once(achar_barrier barrier, int64_t deadline_ns, int lead, const achar__host *host,
                     uint32_t *index)
{
    achar_space *space = barrier.space;
    achar_cell *cell = barrier.cell;
    achar__waiter *waiter = NULL;
    achar__bells bells = {.count = 0};
    uint32_t ticket = achar__ticket(space);
    int status = achar__waiter_take(space, ticket, cell, &waiter);
    if (status != ACHAR_OK) {
        return status;
    }
    achar__latch(space, cell, ticket);
    while (status == ACHAR_OK && cell->barrier.state == ACTING) {
        status = stand_at_gate(space, cell, waiter, ticket, host);
    }
    if (status == ACHAR_OK) {
        *index = cell->barrier.arrived;
        if (cell->barrier.state == BROKEN) {
            status = ACHAR_E_BROKEN;
        } else if (*index + 1 == cell->barrier.parties) {
            status = trip(space, cell, ticket, lead, &bells);
        } else {
            status = wait_for_others(space, cell, waiter, ticket, deadline_ns, host, &bells);
        }
    }
    if (achar__is_childs(status)) {
        return status;
    }
    atomic_store(&waiter->state, ACHAR__WAITER_IDLE);
    achar__unlatch(space, cell);
    achar__bells_ring(space, &bells);
    achar__waiter_give_back(space, waiter);
    return status;
}

int achar__barrier_wait_until(achar_barrier barrier, int64_t deadline_ns, int lead,
                              const achar__host *host, uint32_t *index)
{
    int status;
    do { /* the child that a handler forked is a party of its own */
        status = wait_once(barrier, deadline_ns, lead, host, index);
    } while (status == ACHAR__IS_CHILD);
    return achar__outcome_of(status);
}

/* ---- the public functions ---- */

int achar_barrier_create(achar_space *space, uint32_t parties, achar_barrier *out)
{
    achar_cell *cell = NULL;
    if (parties == 0 || parties > PARTIES_MAX) {
        return ACHAR_E_INVALID;
    }
    int status = achar__cell_make(space, &cell);
    if (status == ACHAR_OK) {
        cell->barrier.parties = parties;
        achar__cell_publish(cell, ACHAR__CELL_BARRIER);
        *out = (achar_barrier){space, cell};
    }
    return status;
}

int achar_barrier_wait(achar_barrier barrier, int64_t timeout_ns, int lead, uint32_t *index)
{
    return achar__barrier_wait_until(barrier, achar__deadline_in(timeout_ns), lead, NULL, index);
}

/* Ends the round from any state. 'only_leader': if this process is running the action. */
static int end_from_outside(achar_barrier barrier, enum barrier_state ending, bool only_leader)
{
    achar_space *space = barrier.space;
    achar_cell *cell = barrier.cell;
    achar__bells bells = {.count = 0};
    uint32_t ticket = achar__ticket(space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(space, cell, ticket);
    bool leads = cell->barrier.state == ACTING && cell->barrier.leader == ticket;
    int status = only_leader && !leads ? ACHAR_E_BROKEN : ACHAR_OK;
    if (status == ACHAR_OK) {
        end_round(space, cell, ending, &bells);
    }
    achar__unlatch(space, cell);
    achar__bells_ring(space, &bells);
    return status;
}

int achar_barrier_open(achar_barrier barrier)
{
    return end_from_outside(barrier, ENDING_WELL, true);
}

int achar_barrier_abort(achar_barrier barrier)
{
    return end_from_outside(barrier, ENDING_BROKEN, false);
}

int achar_barrier_reset(achar_barrier barrier)
{
    return end_from_outside(barrier, ENDING_RESET, false);
}

static uint32_t peek(const uint32_t *field)
{
    return atomic_load((const _Atomic uint32_t *)field);
}

uint32_t achar_barrier_parties(achar_barrier barrier)
{
    return barrier.cell->barrier.parties;
}

uint32_t achar_barrier_waiting(achar_barrier barrier)
{
    return peek(&barrier.cell->barrier.state) == FILLING ? peek(&barrier.cell->barrier.arrived) : 0;
}

int achar_barrier_is_broken(achar_barrier barrier)
{
    return peek(&barrier.cell->barrier.state) == BROKEN;
}
