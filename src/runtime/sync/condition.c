/*
 * condition.c - a condition is a lock with a list of waiters.
 *
 * Both lists, the condition's and the lock's, are guarded by the lock's latch. wait() enters the one
 * and releases the lock in the same latching; notify() moves waiters from the one to the end of the
 * other and wakes nobody: each is woken when the lock is free for it. So none of them goes on before
 * the lock is released, and a wake-up costs what two bare futex calls cost.
 *
 * A waiter is notified exactly when it is moved. One whose time is up moves itself; so it either was
 * notified, and says so, or leaves the notification to others. Signal handlers run while the waiter
 * is AWAY: it keeps its place in the condition's list but is given no lock, which the handler may
 * want itself.
 */
#include "runtime/sync/condition.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/lock.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>

/* One call of wait(). */
typedef struct waiting {
    achar_space *space;
    achar_cell *condition, *lock;
    achar__waiter *waiter;
    uint64_t mine; /* the lock's word when this thread has it */
    bool timed_out, interrupted;
} waiting;

/* ---- notify; under the latch ---- */

/*
 * Moves the first waiter on. With 'from', the notification was that one's, in the same change. The
 * result is to be rung: the lock was free, or the waiter is away; else NULL.
 */
static achar__waiter *move_first(achar_space *space, achar_cell *condition, achar_cell *lock,
                                 uint32_t flags, achar__waiter *from)
{
    achar__waiter *waiter = achar__list_first(space, &condition->queue);
    achar__change change = achar__change_begin(space, lock);
    achar__waiter *ring = NULL;
    achar__change_unlink(&change, waiter);
    achar__change_add(&change, &waiter->flags, atomic_load(&waiter->flags) | flags);
    if (from) {
        achar__change_add(&change, &from->flags,
                          atomic_load(&from->flags) & ~(uint32_t)ACHAR__WAITER_CARRIES);
    }
    if (ACHAR__LOCK_KIND(atomic_load(&lock->word)) == ACHAR__LOCK_ORPHANED) {
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_ORPHANED);
        ring = waiter;
    } else if (atomic_load(&waiter->state) == ACHAR__WAITER_AWAY) {
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_NOTIFIED);
        ring = waiter;
    } else if (achar__lock_freeze(space, lock, waiter)) {
        achar__change_append(&change, &lock->queue, waiter);
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_QUEUED);
    } else {
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_GRANTED);
        ring = waiter;
    }
    achar__change_commit(&change);
    return ring;
}

static void notify_latched(achar_space *space, achar_cell *condition, achar_cell *lock,
                           uint32_t count, achar__bells *bells)
{
    uint32_t flags = count == UINT32_MAX ? 0 : ACHAR__WAITER_CARRIES;
    for (; count > 0 && !achar__list_is_empty(space, &condition->queue); count--) {
        achar__waiter *ring = move_first(space, condition, lock, flags, NULL);
        if (ring) {
            achar__bells_add(space, bells, ring);
        }
    }
}

int achar_condition_notify(achar_condition condition, uint32_t count)
{
    achar_space *space = condition.space;
    achar_cell *lock = achar__home_of(space, condition.cell);
    achar__bells bells = {.count = 0};
    if (!achar__lock_is_held(space, lock)) {
        return ACHAR_E_NOT_HELD;
    }
    /* Who holds the lock sees every waiter that came before. Others may only leave. */
    if (achar__list_seems_empty(space, &condition.cell->queue)) {
        return ACHAR_OK;
    }
    uint32_t ticket = achar__ticket(space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch(space, lock, ticket);
    notify_latched(space, condition.cell, lock, count, &bells);
    achar__unlatch(space, lock);
    achar__bells_ring(space, &bells);
    return ACHAR_OK;
}

/* A notification that 'waiter' cannot use is somebody else's. */
static void pass_on_notification(achar_space *space, achar_cell *condition, achar_cell *lock,
                                 achar__waiter *waiter, achar__bells *bells)
{
    if (!(atomic_load(&waiter->flags) & ACHAR__WAITER_CARRIES) ||
        achar__list_is_empty(space, &condition->queue)) {
        return;
    }
    achar__waiter *ring = move_first(space, condition, lock, ACHAR__WAITER_CARRIES, waiter);
    if (ring) {
        achar__bells_add(space, bells, ring);
    }
}

/* ---- death; under the latch ---- */

void achar__condition_bury(achar_space *space, achar_cell *condition, uint32_t dead)
{
    achar_cell *lock = achar__home_of(space, condition);
    achar__waiter *waiter;
    if (ACHAR__LOCK_TICKET(atomic_load(&lock->word)) != dead) {
        return;
    }
    while ((waiter = achar__list_first(space, &condition->queue))) {
        achar__take_off(space, lock, waiter, ACHAR__WAITER_ORPHANED);
    }
}

void achar__condition_bury_waiter(achar_space *space, achar_cell *condition, achar__waiter *waiter)
{
    achar_cell *lock = achar__home_of(space, condition);
    achar__bells bells = {.count = 0};
    enum achar__waiter_state state = atomic_load(&waiter->state);
    if (state == ACHAR__WAITER_ON_CONDITION || state == ACHAR__WAITER_AWAY) {
        achar__take_off(space, lock, waiter, ACHAR__WAITER_IDLE);
    } else {
        /* Until this waiter is IDLE a reaper comes back to it. */
        pass_on_notification(space, condition, lock, waiter, &bells);
        achar__lock_bury_waiter(space, lock, waiter);
    }
    achar__bells_ring(space, &bells);
}

/* ---- wait; under the latch unless it says otherwise ---- */

/* Queues for the lock, or takes it. The waiter is on the condition's list, or on none. */
static void queue_for_lock(waiting *w)
{
    achar__waiter *waiter = w->waiter;
    enum achar__waiter_state state = atomic_load(&waiter->state);
    achar__change change = achar__change_begin(w->space, w->lock);
    if (state == ACHAR__WAITER_ON_CONDITION || state == ACHAR__WAITER_AWAY) {
        achar__change_unlink(&change, waiter);
    }
    if (ACHAR__LOCK_KIND(atomic_load(&w->lock->word)) == ACHAR__LOCK_ORPHANED) {
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_ORPHANED);
    } else if (achar__lock_freeze(w->space, w->lock, waiter)) {
        achar__change_append(&change, &w->lock->queue, waiter);
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_QUEUED);
    } else {
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_GRANTED);
    }
    achar__change_commit(&change);
}

/* A signal handler is to run: no lock may be given to this thread meanwhile. Unlatched within. */
static void run_handlers(waiting *w, const achar__host *host)
{
    achar__waiter *waiter = w->waiter;
    achar__bells bells = {.count = 0};
    uint32_t ticket = ACHAR__LOCK_TICKET(w->mine);
    if (atomic_load(&waiter->state) == ACHAR__WAITER_ON_CONDITION) {
        atomic_store(&waiter->state, ACHAR__WAITER_AWAY);
    } else if (achar__waiter_queues(waiter)) {
        achar__take_off(w->space, w->lock, waiter, ACHAR__WAITER_NOTIFIED);
        achar__lock_thaw(w->space, w->lock);
    } else {
        return; /* it has ended; the handlers can run afterwards */
    }
    achar__unlatch(w->space, w->lock);
    bool gives_up = !host || host->on_signal(host->context) != 0;
    achar__latch(w->space, w->lock, ticket);
    if (gives_up) {
        w->interrupted = true;
        pass_on_notification(w->space, w->condition, w->lock, waiter, &bells);
    }
    switch (atomic_load(&waiter->state)) {
    case ACHAR__WAITER_AWAY:
        if (!gives_up) {
            atomic_store(&waiter->state, ACHAR__WAITER_ON_CONDITION);
            break;
        }
        queue_for_lock(w);
        break;
    case ACHAR__WAITER_NOTIFIED:
        queue_for_lock(w);
        break;
    default: /* the lock's owner died */
        break;
    }
    achar__bells_ring(w->space, &bells);
}

static int outcome(const waiting *w)
{
    if (w->interrupted) {
        return ACHAR_E_INTERRUPTED;
    }
    return w->timed_out ? ACHAR_E_TIMEOUT : ACHAR_OK;
}

/* Sleeps until the lock is this thread's again, or its owner has died. Unlatched. */
static int sleep_and_return(waiting *w, int64_t deadline_ns, const achar__host *host)
{
    uint32_t ticket = ACHAR__LOCK_TICKET(w->mine);
    enum achar__sleep_manner manner = achar__sleep_manner_of(host);
    int64_t firm_ns = 0;
    for (;;) {
        int status = achar__waiter_sleep(w->space, w->waiter, deadline_ns, manner);
        manner = ACHAR__SLEEP_AT_ONCE; /* signals that come from now on interrupt it */
        ACHAR__CRASH_POINT("awake");
        achar__host_woken(host);
        achar__latch(w->space, w->lock, ticket);
        enum achar__waiter_state state = atomic_load(&w->waiter->state);
        if (state == ACHAR__WAITER_GRANTED) {
            achar__lock_accept(w->space, w->lock, w->mine);
            return outcome(w);
        }
        if (state == ACHAR__WAITER_ORPHANED) {
            return ACHAR_E_OWNER_DIED;
        }
        if (achar__waiter_queues(w->waiter)) {
            if (achar__lock_claim(w->space, w->lock, w->waiter, w->mine)) {
                return outcome(w);
            }
            achar__lock_wait_again(w->waiter, &firm_ns);
        }
        if (status == ACHAR_E_INTERRUPTED && !w->interrupted) {
            run_handlers(w, host);
        } else if (status == ACHAR_E_TIMEOUT) {
            if (state == ACHAR__WAITER_ON_CONDITION) {
                w->timed_out = true;
                queue_for_lock(w);
            }
        }
        if (achar__waiter_queues(w->waiter)) {
            deadline_ns = ACHAR__NO_DEADLINE; /* the lock has to be had, whatever the time */
        }
        achar__unlatch(w->space, w->lock);
        achar__host_sleeps(host);
    }
}

int achar__condition_wait_until(achar_condition condition, int64_t deadline_ns,
                                const achar__host *host)
{
    waiting w = {.space = condition.space, .condition = condition.cell};
    w.lock = achar__home_of(w.space, w.condition);
    if (!achar__lock_is_held(w.space, w.lock)) {
        return ACHAR_E_NOT_HELD;
    }
    uint32_t ticket = achar__ticket(w.space);
    int status = achar__waiter_take(w.space, ticket, w.condition, &w.waiter);
    if (status != ACHAR_OK) {
        return status;
    }
    w.mine = achar__lock_owned_word(atomic_load(&w.lock->kind), ticket);

    achar__latch(w.space, w.lock, ticket);
    uint32_t depth = w.lock->lock.depth;
    achar__put_on(w.space, w.lock, &w.condition->queue, w.waiter, ACHAR__WAITER_ON_CONDITION);
    w.lock->lock.depth = 0;
    achar__waiter *next = achar__lock_pass_on(w.space, w.lock);
    achar__unlatch(w.space, w.lock);
    if (next) {
        achar__waiter_ring(w.space, next);
    }

    status = sleep_and_return(&w, deadline_ns, host);
    if (status != ACHAR_E_OWNER_DIED) {
        w.lock->lock.depth = depth;
    }
    atomic_store_explicit(&w.waiter->state, ACHAR__WAITER_IDLE, memory_order_release);
    achar__unlatch(w.space, w.lock);
    achar__waiter_give_back(w.space, w.waiter);
    return status;
}

int achar_condition_wait(achar_condition condition, int64_t timeout_ns)
{
    return achar__condition_wait_until(condition, achar__deadline_in(timeout_ns), NULL);
}

int achar_condition_create(achar_lock lock, achar_condition *out)
{
    achar_cell *cell = NULL;
    int status = achar__cell_make(lock.space, &cell);
    if (status == ACHAR_OK) {
        cell->home = achar__place_of(lock.space, lock.cell);
        achar__cell_publish(cell, ACHAR__CELL_CONDITION);
        *out = (achar_condition){lock.space, cell};
    }
    return status;
}

achar_lock achar_condition_lock(achar_condition condition)
{
    return (achar_lock){condition.space, achar__home_of(condition.space, condition.cell)};
}
