/*
 * tender.c - the thread that looks after the pool when no one else does.
 *
 * It takes completions that nobody waits for, notices workers that have become ready, recalls tasks
 * from behind one that takes too long, starts workers and ends those that do not leave. It sleeps on
 * its bell: workers ring it (only while it sleeps), and so does achar__pool_kick_locked().
 */
#include "runtime/pool/pool_internal.h"

static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
    if (a_ns < 0 || b_ns < 0) {
        return a_ns < 0 ? b_ns : a_ns;
    }
    return a_ns < b_ns ? a_ns : b_ns;
}

static bool has_unpinned(const achar__pool *pool, const achar__slot *slot)
{
    return pool->pinned && slot->up && atomic_load(&slot->up->unpins) != slot->unpins_seen;
}

static bool has_news(const achar__slot *slot)
{
    switch (slot->state) {
    case ACHAR__SLOT_STARTING:
        return atomic_load(&slot->up->ready) != 0;
    case ACHAR__SLOT_READY:
    case ACHAR__SLOT_LEAVING:
        return !slot->distrusted && atomic_load(&slot->up->completed) != slot->completed;
    default:
        return false;
    }
}

/* Returns when the slot wants to be looked at again, but for the time limit of its task. */
static int64_t look_at_slot_locked(achar__pool *pool, achar__slot *slot, int64_t now_ns)
{
    if (slot->state == ACHAR__SLOT_STARTING && atomic_load(&slot->up->ready)) {
        slot->state = ACHAR__SLOT_READY;
        slot->ready_ns = now_ns;
        achar__tell_worker_locked(pool, slot, ACHAR__JOURNAL_WORKER_READY);
        pool->ready_count++;
        pool->may_have_room = true;
    }
    if (slot->state == ACHAR__SLOT_STARTING && !slot->killed && pool->start_limit_ns) {
        if (now_ns < slot->start_deadline_ns) {
            return slot->start_deadline_ns;
        }
        slot->start_overdue = true;
        achar__slot_kill_locked(slot);
    }
    achar__drain_locked(pool, slot);
    if (has_unpinned(pool, slot)) {
        slot->unpins_seen = atomic_load(&slot->up->unpins);
        achar__pins_sweep_locked(pool);
    }
    if (slot->state == ACHAR__SLOT_LEAVING && !slot->killed) {
        if (now_ns < slot->leave_deadline_ns) {
            return slot->leave_deadline_ns;
        }
        achar__slot_kill_locked(slot);
    }
    return ACHAR__NO_DEADLINE;
}

/* One round; returns when the next is due. */
static int64_t tend_locked(achar__pool *pool)
{
    int64_t now_ns = achar__now_ns();
    int64_t due_ns = ACHAR__NO_DEADLINE;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        due_ns = earlier(due_ns, look_at_slot_locked(pool, &pool->slots[i], now_ns));
    }
    due_ns = earlier(due_ns, achar__queue_wake(&pool->queue, now_ns));
    due_ns = earlier(due_ns, achar__starved_feed_locked(pool, now_ns));
    achar__dispatch_locked(pool);
    int64_t unstick_ns = achar__unstick_locked(pool, now_ns);
    if (pool->queue.count && pool->may_have_room) {
        achar__dispatch_locked(pool);
        unstick_ns = achar__unstick_locked(pool, now_ns);
    }
    /* Last, since what was just dispatched can have a limit, too. */
    for (unsigned i = 0; i < pool->slot_count; i++) {
        due_ns = earlier(due_ns, achar__limit_time_locked(&pool->slots[i], now_ns));
    }
    for (unsigned i = 0; i < pool->slot_count; i++) {
        achar__slot *slot = &pool->slots[i];
        if (!achar__slot_is_wanted_locked(pool, slot)) {
            continue;
        }
        if (now_ns < slot->next_spawn_ns) {
            due_ns = earlier(due_ns, slot->next_spawn_ns);
        } else {
            achar__slot_spawn_locked(pool, slot);
            return now_ns; /* that took a while: look around before the next */
        }
    }
    achar__pool_give_up_if_hopeless_locked(pool);
    achar__pool_wind_down_locked(pool);
    return earlier(due_ns, unstick_ns);
}

static bool any_news(const achar__pool *pool)
{
    if (pool->tender_kicked || pool->stopped) {
        return true;
    }
    for (unsigned i = 0; i < pool->slot_count; i++) {
        if (has_news(&pool->slots[i]) || has_unpinned(pool, &pool->slots[i])) {
            return true;
        }
    }
    return false;
}

void *achar__tender_main(void *argument)
{
    achar__pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopped) {
        pool->tender_kicked = false;
        pool->tender_deadline_ns = 0; /* awake: no one need kick for the clock's sake */
        if (achar__store_has_excess(pool->store)) {
            pthread_mutex_unlock(&pool->lock);
            achar__store_purge(pool->store);
            pthread_mutex_lock(&pool->lock);
        }
        int64_t due_ns = tend_locked(pool);
        uint32_t seen = atomic_load(&pool->bells->tender);
        atomic_store(&pool->shared->tender_sleeping, 1);
        if (!any_news(pool)) {
            pool->tender_deadline_ns = due_ns;
            pthread_mutex_unlock(&pool->lock);
            achar__futex_wait(&pool->bells->tender, seen, true, due_ns);
            pthread_mutex_lock(&pool->lock);
        }
        atomic_store(&pool->shared->tender_sleeping, 0);
    }
    pthread_mutex_unlock(&pool->lock);
    achar__pool_unref(pool);
    return NULL;
}
