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
 * is AWAY, in the condition's list, or ASIDE, in the lock's: it keeps its place, and is given no
 * lock, which the handler may want itself.
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
    bool is_let_go; /* it queues for the lock */
} waiting;

/* ---- notify; under the latch ---- */

/*
 * Moves the first waiter on. With 'from', the notification was that one's, in the same change. The
 * result is to be rung: it has the lock, or the lock's owner died; else NULL.
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
        achar__lock_freeze_for_later(lock);
        achar__change_append(&change, &lock->queue, waiter);
        achar__change_add(&change, &waiter->state, ACHAR__WAITER_ASIDE);
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

/*
 * Signal handlers run, without the latch. The waiter keeps its place and is given nothing meanwhile.
 * ACHAR__IS_CHILD: in a forked child, where the waiter is its parent's and nothing is latched.
 */
static int run_handlers(waiting *w, const achar__host *host)
{
    achar__waiter *waiter = w->waiter;
    achar__bells bells = {.count = 0};
    uint32_t ticket = ACHAR__LOCK_TICKET(w->mine);
    if (atomic_load(&waiter->state) == ACHAR__WAITER_ON_CONDITION) {
        atomic_store(&waiter->state, ACHAR__WAITER_AWAY);
        w->is_let_go = false;
    } else if (achar__waiter_queues(waiter)) {
        atomic_store(&waiter->state, ACHAR__WAITER_ASIDE);
        w->is_let_go = true;
    } else {
        return ACHAR_OK; /* it has ended; the handlers can run afterwards */
    }
    achar__unlatch(w->space, w->lock);
    int status = achar__host_answer(w->space, ticket, host);
    w->interrupted = status == ACHAR_E_INTERRUPTED || status == ACHAR__CHILD_GIVES_UP;
    if (achar__is_childs(status)) {
        return ACHAR__IS_CHILD;
    }
    achar__latch(w->space, w->lock, ticket);
    if (w->interrupted) {
        pass_on_notification(w->space, w->condition, w->lock, waiter, &bells);
    }
    if (atomic_load(&waiter->state) == ACHAR__WAITER_ASIDE) {
        atomic_store(&waiter->state, ACHAR__WAITER_QUEUED);
    } else if (atomic_load(&waiter->state) == ACHAR__WAITER_AWAY && w->interrupted) {
        queue_for_lock(w);
    } else if (atomic_load(&waiter->state) == ACHAR__WAITER_AWAY) {
        atomic_store(&waiter->state, ACHAR__WAITER_ON_CONDITION);
    }
    achar__bells_ring(w->space, &bells);
    return ACHAR_OK;
}

static int outcome(const waiting *w)
{
    if (w->interrupted) {
        return ACHAR_E_INTERRUPTED;
    }
    return w->timed_out ? ACHAR_E_TIMEOUT : ACHAR_OK;
}

/* Whether the lock is this thread's again, or its owner has died; '*status' is how the wait ended. */
static bool has_ended(waiting *w, int *status)
{
    achar__waiter *waiter = w->waiter;
    enum achar__waiter_state state = atomic_load(&waiter->state);
    if (state == ACHAR__WAITER_ORPHANED) {
        *status = ACHAR_E_OWNER_DIED;
        return true;
    }
    if (state == ACHAR__WAITER_GRANTED) {
        achar__lock_accept(w->space, w->lock, w->mine);
    } else if (!achar__waiter_queues(waiter) ||
               !achar__lock_claim(w->space, w->lock, waiter, w->mine)) {
        return false;
    }
    *status = outcome(w);
    return true;
}

/*
 * Sleeps, not latched, until the wait has ended; it is latched then. ACHAR__IS_CHILD: as
 * run_handlers().
 */
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
        int result;
        if (has_ended(w, &result)) {
            return result;
        }
        bool in_vain = achar__waiter_queues(w->waiter);
        if (in_vain) {
            achar__lock_wait_again(w->waiter, &firm_ns);
        }
        if (status == ACHAR_E_TIMEOUT && !in_vain) {
            w->timed_out = true;
            queue_for_lock(w);
        } else if (!w->interrupted && (status == ACHAR_E_INTERRUPTED || (in_vain && host))) {
            /* A signal that came since it was woken, in vain, would not interrupt its next sleep. */
            if (run_handlers(w, host) == ACHAR__IS_CHILD) {
                return ACHAR__IS_CHILD;
            }
        }
        if (has_ended(w, &result)) {
            return result;
        }
        if (achar__waiter_queues(w->waiter)) {
            deadline_ns = ACHAR__NO_DEADLINE; /* the lock has to be had, whatever the time */
        }
        achar__unlatch(w->space, w->lock);
        achar__host_sleeps(host);
    }
}

/* A child that was forked in a handler waits as itself, where its parent did. Latched within. */
static int wait_as_child(waiting *w)
{
    uint32_t ticket = achar__ticket(w->space);
    int status = achar__waiter_take(w->space, ticket, w->condition, &w->waiter);
    if (status != ACHAR_OK) {
        return status;
    }
    w->mine = achar__lock_owned_word(atomic_load(&w->lock->kind), ticket);
    achar__latch(w->space, w->lock, ticket);
    if (w->is_let_go || w->interrupted) {
        queue_for_lock(w);
    } else {
        achar__put_on(w->space, w->lock, &w->condition->queue, w->waiter,
                      ACHAR__WAITER_ON_CONDITION);
    }
    achar__unlatch(w->space, w->lock);
    return ACHAR_OK;
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

    while ((status = sleep_and_return(&w, deadline_ns, host)) == ACHAR__IS_CHILD) {
        status = wait_as_child(&w);
        if (status != ACHAR_OK) {
            return status;
        }
    }
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
