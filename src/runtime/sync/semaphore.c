/*
 * semaphore.c - permits, and who holds them.
 *
 * A permit is out while fewer are free than there were in the beginning. Every permit that is out
 * stands in the account of one process: of the one that acquired it, until a release. A release by
 * a process whose account is empty is taken from another's: who uses semaphores as signals, from
 * one process to another, never has permits out. When a process dies its account becomes lost
 * permits. Then
 *
 *     free + (sum of the accounts) + lost = initial      while free < initial
 *     accounts and lost are all 0                        otherwise
 *
 * lost permits stay away until someone asks for them (recover), because what they stood for may be
 * in any state; those who would have to wait for them are told instead.
 *
 * The accounts of the first eight processes stand in the cell; for more there are further cells
 * (accounts.h).
 */
#include "runtime/sync/semaphore.h"
#include "runtime/sync/accounts.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>

#define PERMITS_MAX ((uint32_t)INT32_MAX)

/* ---- permits; under the latch ---- */

/* Adds the steps by which a free permit goes to the account of 'ticket'. */
static void add_taking(achar__change *change, achar_cell *semaphore, uint32_t ticket)
{
    uint32_t free = semaphore->semaphore.free;
    achar__change_add(change, &semaphore->semaphore.free, free - 1);
    if (free <= semaphore->semaphore.initial) {
        achar__account *account = achar__account_find(change->space, semaphore, ticket);
        achar__change_add(change, &account->count, account->count + 1);
    }
}

/* Free permits go to those who wait, in their order, but not to those who stand ASIDE. */
static void serve(achar_space *space, achar_cell *semaphore, achar__bells *bells)
{
    achar__waiter *waiter;
    while (semaphore->semaphore.free > 0 &&
           (waiter = achar__waiter_first_present(space, &semaphore->queue))) {
        achar__change change = achar__change_begin(space, semaphore);
        add_taking(&change, semaphore, atomic_load(&waiter->ticket));
        achar__change_unlink(&change, waiter);
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_GRANTED);
        achar__change_commit(&change);
        if (bells) {
            achar__bells_add(space, bells, waiter);
        }
    }
}

/* Takes a permit out of an account, that of 'ticket' if it can be, and makes it free. */
static void give_back(achar_space *space, achar_cell *semaphore, uint32_t ticket)
{
    achar__change change = achar__change_begin(space, semaphore);
    uint32_t free = semaphore->semaphore.free;
    achar__change_add(&change, &semaphore->semaphore.free, free + 1);
    if (free < semaphore->semaphore.initial) {
        achar__account *account = achar__account_find(space, semaphore, ticket);
        if (!account || account->count == 0) {
            account = achar__account_filled(space, semaphore);
        }
        if (account) {
            achar__change_add(&change, &account->count, account->count - 1);
        } else {
            achar__change_add(&change, &semaphore->semaphore.lost, semaphore->semaphore.lost - 1);
        }
    }
    achar__change_commit(&change);
}

/* Nothing is free and permits are lost: nobody shall wait for them. */
static void tell(achar_space *space, achar_cell *semaphore)
{
    achar__waiter *waiter;
    while (semaphore->semaphore.lost > 0 &&
           (waiter = achar__list_first(space, &semaphore->queue))) {
        achar__take_off(space, semaphore, waiter, ACHAR__WAITER_ORPHANED);
    }
}

void achar__semaphore_settle(achar_space *space, achar_cell *semaphore)
{
    serve(space, semaphore, NULL);
    tell(space, semaphore);
}

void achar__semaphore_bury(achar_space *space, achar_cell *semaphore, uint32_t dead)
{
    achar__account *account = achar__account_find(space, semaphore, dead);
    if (account) {
        achar__change change = achar__change_begin(space, semaphore);
        achar__change_add(&change, &semaphore->semaphore.lost,
                          semaphore->semaphore.lost + account->count);
        achar__change_add(&change, &account->count, 0);
        achar__change_add(&change, &account->ticket, 0);
        achar__change_commit(&change);
    }
    tell(space, semaphore);
}

void achar__semaphore_bury_waiter(achar_space *space, achar_cell *semaphore, achar__waiter *waiter)
{
    if (achar__waiter_queues(waiter)) {
        achar__take_off(space, semaphore, waiter, ACHAR__WAITER_IDLE);
    } else if (atomic_load(&waiter->state) == ACHAR__WAITER_GRANTED) {
        /* It never learnt of its permit, so the permit guards nothing yet: the next one's. */
        achar__change change = achar__change_begin(space, semaphore);
        achar__account *account =
            achar__account_find(space, semaphore, atomic_load(&waiter->ticket));
        achar__change_add(&change, &semaphore->semaphore.free, semaphore->semaphore.free + 1);
        if (semaphore->semaphore.free < semaphore->semaphore.initial && account &&
            account->count > 0) {
            achar__change_add(&change, &account->count, account->count - 1);
        }
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_IDLE);
        achar__change_commit(&change);
        serve(space, semaphore, NULL);
    }
}

/* ---- the public functions ---- */

int achar_semaphore_create(achar_space *space, uint32_t initial, int bounded, achar_semaphore *out)
{
    achar_cell *cell = NULL;
    if (initial > PERMITS_MAX) {
        return ACHAR_E_INVALID;
    }
    int status = achar__cell_make(space, &cell);
    if (status == ACHAR_OK) {
        cell->semaphore.free = cell->semaphore.initial = initial;
        cell->semaphore.bounded = bounded != 0;
        achar__cell_publish(cell, ACHAR__CELL_SEMAPHORE);
        *out = (achar_semaphore){space, cell};
    }
    return status;
}

/* Takes a permit if there is one to be had: ACHAR_OK, ACHAR_E_OWNER_DIED; ACHAR_E_TIMEOUT: none. */
static int try_latched(achar_space *space, achar_cell *cell)
{
    if (cell->semaphore.free == 0) {
        return cell->semaphore.lost > 0 ? ACHAR_E_OWNER_DIED : ACHAR_E_TIMEOUT;
    }
    achar__change change = achar__change_begin(space, cell);
    add_taking(&change, cell, achar__ticket(space));
    achar__change_commit(&change);
    return ACHAR_OK;
}

/* A holder that died unnoticed, because nobody waits, is noticed now. */
static bool reap_holders(achar_space *space, achar_cell *semaphore, uint32_t ticket)
{
    uint32_t holders[ACHAR__ACCOUNT_COUNT];
    bool reaped = false;
    achar__latch(space, semaphore, ticket);
    for (unsigned i = 0; i < ACHAR__ACCOUNT_COUNT; i++) {
        holders[i] = semaphore->accounts[i].count ? semaphore->accounts[i].ticket : 0;
    }
    achar__unlatch(space, semaphore);
    for (unsigned i = 0; i < ACHAR__ACCOUNT_COUNT; i++) {
        if (holders[i] != 0 && holders[i] != ticket) {
            reaped |= achar__reap_if_dead(space, holders[i]);
        }
    }
    return reaped;
}

/*
 * Signal handlers run; the waiter, latched before and after, keeps its place and is given nothing.
 * Then what is free is given to it. In a forked child, nothing is latched.
 */
static int step_aside(achar_space *space, achar_cell *cell, achar__waiter *waiter, uint32_t ticket,
                      const achar__host *host, achar__bells *bells)
{
    atomic_store(&waiter->state, ACHAR__WAITER_ASIDE);
    achar__unlatch(space, cell);
    int status = achar__host_answer(space, ticket, host);
    if (achar__is_childs(status)) {
        return status;
    }
    achar__latch(space, cell, ticket);
    if (status == ACHAR_OK && atomic_load(&waiter->state) == ACHAR__WAITER_ASIDE) {
        atomic_store(&waiter->state, ACHAR__WAITER_QUEUED);
        serve(space, cell, bells);
    }
    return status;
}

/* Latched before and after; the waiter is on the list, and then on none. A child: as step_aside(). */
static int queue_until(achar_space *space, achar_cell *cell, achar__waiter *waiter, uint32_t ticket,
                       int64_t deadline_ns, const achar__host *host, achar__bells *bells)
{
    for (;;) {
        achar__unlatch(space, cell);
        achar__bells_ring(space, bells);
        int status = achar__waiter_sleep(space, waiter, deadline_ns, ACHAR__SLEEP_AT_ONCE);
        ACHAR__CRASH_POINT("awake");
        achar__latch(space, cell, ticket);
        if (status == ACHAR_E_INTERRUPTED && achar__waiter_queues(waiter) && host) {
            status = step_aside(space, cell, waiter, ticket, host, bells);
            if (achar__is_childs(status)) {
                return status;
            }
        }
        switch (atomic_load(&waiter->state)) {
        case ACHAR__WAITER_GRANTED:
            return ACHAR_OK;
        case ACHAR__WAITER_ORPHANED:
            return status == ACHAR_E_INTERRUPTED ? status : ACHAR_E_OWNER_DIED;
        default:
            break;
        }
        if (status != ACHAR_OK) {
            achar__take_off(space, cell, waiter, ACHAR__WAITER_IDLE);
            return status;
        }
    }
}

static int acquire_once(achar_semaphore semaphore, int64_t deadline_ns, const achar__host *host)
{
    achar__bells bells = {.count = 0};
    achar_space *space = semaphore.space;
    achar_cell *cell = semaphore.cell;
    achar__waiter *waiter = NULL;
    uint32_t ticket = achar__ticket(space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(space, cell, ticket);
    int status = achar__account_open(space, cell, &cell->semaphore.more, cell, ticket);
    if (status == ACHAR_OK) {
        status = try_latched(space, cell);
    }
    achar__unlatch(space, cell);
    if (status != ACHAR_E_TIMEOUT) {
        return status;
    }
    if (deadline_ns == 0) {
        return space->shared && reap_holders(space, cell, ticket) ? acquire_once(semaphore, 0, NULL)
                                                                  : ACHAR_E_TIMEOUT;
    }

    status = achar__waiter_take(space, ticket, cell, &waiter);
    if (status != ACHAR_OK) {
        return status;
    }
    achar__latch(space, cell, ticket);
    status = try_latched(space, cell);
    if (status != ACHAR_E_TIMEOUT) {
        goto done;
    }
    achar__put_on(space, cell, &cell->queue, waiter, ACHAR__WAITER_QUEUED);
    status = queue_until(space, cell, waiter, ticket, deadline_ns, host, &bells);
    if (achar__is_childs(status)) {
        return status;
    }
done:
    atomic_store(&waiter->state, ACHAR__WAITER_IDLE);
    achar__unlatch(space, cell);
    achar__bells_ring(space, &bells);
    achar__waiter_give_back(space, waiter);
    return status;
}

int achar__semaphore_acquire_until(achar_semaphore semaphore, int64_t deadline_ns,
                                   const achar__host *host)
{
    int status;
    do {
        status = acquire_once(semaphore, deadline_ns, host);
    } while (status == ACHAR__IS_CHILD);
    return achar__outcome_of(status);
}

int achar_semaphore_acquire(achar_semaphore semaphore, int64_t timeout_ns)
{
    return achar__semaphore_acquire_until(
        semaphore, timeout_ns == 0 ? 0 : achar__deadline_in(timeout_ns), NULL);
}

int achar_semaphore_release(achar_semaphore semaphore, uint32_t count)
{
    achar_space *space = semaphore.space;
    achar_cell *cell = semaphore.cell;
    achar__bells bells = {.count = 0};
    uint32_t ticket = achar__ticket(space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(space, cell, ticket);
    uint32_t limit = cell->semaphore.bounded ? cell->semaphore.initial : PERMITS_MAX;
    /* Lost permits are away for good, until recover(). */
    int status =
        count > limit - cell->semaphore.lost - cell->semaphore.free ? ACHAR_E_LIMIT : ACHAR_OK;
    for (; status == ACHAR_OK && count > 0; count--) {
        give_back(space, cell, ticket);
        serve(space, cell, &bells);
    }
    achar__unlatch(space, cell);
    achar__bells_ring(space, &bells);
    return status;
}

int achar_semaphore_recover(achar_semaphore semaphore, uint32_t *count)
{
    achar_space *space = semaphore.space;
    achar_cell *cell = semaphore.cell;
    achar__bells bells = {.count = 0};
    uint32_t ticket = achar__ticket(space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(space, cell, ticket);
    *count = cell->semaphore.lost;
    achar__change change = achar__change_begin(space, cell);
    achar__change_add(&change, &cell->semaphore.free, cell->semaphore.free + *count);
    achar__change_add(&change, &cell->semaphore.lost, 0);
    achar__change_commit(&change);
    serve(space, cell, &bells);
    achar__unlatch(space, cell);
    achar__bells_ring(space, &bells);
    return *count > 0 ? ACHAR_OK : ACHAR_E_NOT_HELD;
}

uint32_t achar_semaphore_value(achar_semaphore semaphore)
{
    return atomic_load((_Atomic uint32_t *)&semaphore.cell->semaphore.free);
}

uint32_t achar_semaphore_initial(achar_semaphore semaphore)
{
    return semaphore.cell->semaphore.initial;
}
