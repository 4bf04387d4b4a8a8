/*
 * ending.c - ending a task before it ends by itself: cancelled, by force, over its time limit, Ctrl-C.
 *
 * What no worker has started is taken back and is CANCELLED. What runs is told to end by SIGALRM, and
 * killed with its worker when it has not ended the pool's 'grace_ns' later; the tender watches that
 * clock. What a task that was cancelled by force is still in time to say is thrown away: from the
 * moment that achar__task_cancel_by_force() has said 1, its end is CANCELLED.
 */
#include "runtime/pool/pool_internal.h"

#include <signal.h>
#include <sys/pidfd.h>

/* ---- time limits ---- */

static void tell_to_end(achar__slot *slot, const achar__task *task)
{
    slot->overdue = slot->completed + 1;
    if (task->force_cancelled) {
        atomic_store(&slot->down->cancelled, slot->overdue);
    }
    atomic_store(&slot->down->overdue, slot->overdue);
    pidfd_send_signal(slot->pidfd, SIGALRM, NULL, 0);
    /* Now, and not the tender's: its round may have taken longer than that. */
    slot->overdue_kill_ns = achar__now_ns() + slot->pool->grace_ns;
}

int64_t achar__limit_time_locked(achar__slot *slot, int64_t now_ns)
{
    uint64_t position = slot->completed;
    if (slot->killed || !slot->up || position == slot->tail) {
        return ACHAR__NO_DEADLINE;
    }
    const achar__task *task = slot->inflight[position % ACHAR__RING_SLOTS];
    if (!task->time_limit_ns && !task->force_cancelled) {
        return ACHAR__NO_DEADLINE;
    }
    if (achar__slot_claimed(slot) == position) { /* not started yet: it cannot be over before */
        return now_ns + task->time_limit_ns;
    }
    if (slot->overdue != position + 1) {
        int64_t due_ns = atomic_load(&slot->up->started_ns) + task->time_limit_ns;
        if (!task->force_cancelled && now_ns < due_ns) {
            return due_ns;
        }
        tell_to_end(slot, task);
    }
    if (now_ns >= slot->overdue_kill_ns) {
        achar__slot_kill_locked(slot);
        return ACHAR__NO_DEADLINE;
    }
    return slot->overdue_kill_ns;
}

void achar__pool_be_patient(achar__pool *pool, int64_t patience_ns)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->grace_ns = pool->pin_patience_ns = patience_ns;
    if (pool->output) {
        achar__output_be_patient(pool->output, patience_ns);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* ---- cancelling ---- */

static int cancel(achar__task *task, bool by_force)
{
    achar__pool *pool = task->pool;
    if (!achar__fork_guard_holds(&pool->guard)) {
        return 0;
    }
    pthread_mutex_lock(&pool->lock);
    if (task->place == ACHAR__PLACE_RING) {
        achar__drain_locked(pool, task->at.ring.slot);
    }
    if (task->place == ACHAR__PLACE_RING) {
        achar__recall_locked(pool, task->at.ring.slot, task->at.ring.position);
    }
    if (task->place == ACHAR__PLACE_WAITING || task->place == ACHAR__PLACE_STARVED) {
        achar__task_finish_locked(task, ACHAR__TASK_CANCELLED);
    }
    if (task->place == ACHAR__PLACE_QUEUE || task->place == ACHAR__PLACE_DELAYED) {
        achar__queue_remove(&pool->queue, task);
        achar__task_finish_locked(task, ACHAR__TASK_CANCELLED);
    }
    if (task->place == ACHAR__PLACE_RING && by_force) { /* so it runs */
        task->force_cancelled = true;
        achar__task_forbid_retries_locked(task);
        achar__pool_kick_locked(pool);
    }
    achar__dispatch_locked(pool);
    int cancelled = task->force_cancelled || atomic_load(&task->state) == ACHAR__TASK_CANCELLED;
    pthread_mutex_unlock(&pool->lock);
    return cancelled;
}

int achar__task_cancel(achar__task *task)
{
    return cancel(task, false);
}

int achar__task_cancel_by_force(achar__task *task)
{
    return cancel(task, true);
}

static size_t cancel_queued_locked(achar__pool *pool)
{
    size_t count = achar__graph_cancel_locked(pool);
    achar__recall_all_locked(pool);
    for (achar__task *task; (task = achar__queue_take(&pool->queue));) {
        achar__task_finish_locked(task, ACHAR__TASK_CANCELLED);
        count++;
    }
    return count;
}

size_t achar__pool_cancel_queued(achar__pool *pool)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return 0;
    }
    pthread_mutex_lock(&pool->lock);
    size_t count = cancel_queued_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    return count;
}

size_t achar__pool_interrupt(achar__pool *pool)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return 0;
    }
    pthread_mutex_lock(&pool->lock);
    size_t count = cancel_queued_locked(pool);
    for (unsigned i = 0; i < pool->slot_count; i++) {
        achar__slot *slot = &pool->slots[i];
        if (slot->completed < slot->tail) { /* after the recall: what it has started */
            achar__task_forbid_retries_locked(slot->inflight[slot->completed % ACHAR__RING_SLOTS]);
            achar__slot_kill_locked(slot);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return count;
}
