/*
 * slot.c - the life of one worker process: launched, told to leave or killed, collected.
 */
#include "runtime/pool/launch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILURES_TO_GIVE_UP 5 /* starts in a row, with no worker left that may be well */
#define PATIENCE_NS         INT64_C(5000000000)
#define BACKOFF_NS          INT64_C(5000000)
#define BACKOFF_DOUBLINGS   8
#define LEAVE_GRACE_NS      INT64_C(5000000000)
#define EARLY_DEATH_NS      INT64_C(5000000000)

/* ---- starting ---- */

static void give_up_locked(achar__pool *pool, achar__death death)
{
    pool->broken = true;
    pool->broken_death = death;
    for (achar__task *task; (task = achar__queue_take(&pool->queue));) {
        task->at.death = death;
        achar__task_finish_locked(task, ACHAR__TASK_ABANDONED);
    }
    achar__starved_abandon_locked(pool, death);
}

void achar__slot_was_useful_locked(achar__pool *pool, achar__slot *slot)
{
    pool->ever_useful = true;
    pool->start_failures = slot->start_failures = 0;
}

static void keep_start_words(achar__pool *pool, const achar__slot *slot)
{
    if (!pool->broken) { /* else tasks tell of those that are there */
        free(pool->start_words);
        pool->start_words = slot->last_words ? strdup(slot->last_words) : NULL;
    }
}

/* A worker could not start, or died before it took a task. */
static void start_failed_locked(achar__pool *pool, achar__slot *slot, achar__death death)
{
    if (slot->start_failures++ > 0) {
        unsigned doublings = slot->start_failures - 2;
        doublings = doublings < BACKOFF_DOUBLINGS ? doublings : BACKOFF_DOUBLINGS;
        slot->next_spawn_ns = achar__now_ns() + (BACKOFF_NS << doublings);
    }
    int64_t now_ns = achar__now_ns();
    if (pool->start_failures++ == 0) {
        pool->failing_since_ns = now_ns;
    }
    pool->failing_for_ns = now_ns - pool->failing_since_ns;
    pool->last_start_death = death;
    keep_start_words(pool, slot);
}

/*
 * Workers that were never of use and end by themselves will not do better next time. Others may have
 * met bad luck (the OOM killer, a machine without memory or descriptors), so they get time: that in which
 * starts have failed, and not that in which nobody has looked or tried.
 */
static bool is_hopeless(const achar__pool *pool)
{
    return pool->start_failures >= FAILURES_TO_GIVE_UP && pool->ready_count == 0 &&
           ((!pool->ever_useful &&
             (pool->last_start_death.signal != SIGKILL || pool->last_start_death.error == ETIME)) ||
            pool->failing_for_ns >= PATIENCE_NS);
}

static bool starts_are_used_up(const achar__pool *pool)
{
    return pool->max_starts && pool->start_count >= pool->max_starts;
}

void achar__pool_give_up_if_hopeless_locked(achar__pool *pool)
{
    if (pool->broken || !(is_hopeless(pool) || starts_are_used_up(pool))) {
        return;
    }
    for (unsigned i = 0; i < pool->slot_count; i++) {
        if (pool->slots[i].state != ACHAR__SLOT_EMPTY) {
            return;
        }
    }
    give_up_locked(pool, pool->last_start_death);
}

bool achar__slot_is_wanted_locked(const achar__pool *pool, const achar__slot *slot)
{
    return slot->state == ACHAR__SLOT_EMPTY && !pool->killed && !pool->broken &&
           (!pool->closed || pool->queue.count > 0) && !is_hopeless(pool) &&
           !starts_are_used_up(pool);
}

/* An empty slot that remembers only how often a start has failed. */
static void slot_reset(achar__pool *pool, achar__slot *slot)
{
    *slot = (achar__slot){.state = ACHAR__SLOT_EMPTY,
                          .pidfd = -1,
                          .pool = pool,
                          .down = slot->down,
                          .start_failures = slot->start_failures,
                          .next_spawn_ns = slot->next_spawn_ns};
}

void achar__slot_spawn_locked(achar__pool *pool, achar__slot *slot)
{
    achar__launched it;
    slot_reset(pool, slot);
    slot->state = ACHAR__SLOT_SPAWNING;
    slot->serial = ++pool->start_count;
    pthread_mutex_unlock(&pool->lock);
    int error = achar__launch(pool, slot->down, &it);
    if (!error && pool->output) {
        achar__output_attach(pool->output, (unsigned)(slot - pool->slots), it.pid, it.reads,
                             (const achar__wire_up *)it.mapping->region.base, slot->down);
    }
    pthread_mutex_lock(&pool->lock);
    if (error) {
        slot->state = ACHAR__SLOT_EMPTY;
        achar__tell_no_worker_locked(pool, slot, error);
        start_failed_locked(pool, slot, (achar__death){.exit_code = -1, .error = error});
        achar__pool_give_up_if_hopeless_locked(pool);
        achar__pool_wind_down_locked(pool);
        return;
    }
    slot->state = ACHAR__SLOT_STARTING;
    slot->start_deadline_ns = achar__now_ns() + pool->start_limit_ns;
    slot->pid = it.pid;
    slot->pidfd = it.pidfd;
    slot->mapping = it.mapping;
    slot->mapping->slot = slot;
    slot->mapping->ref_count = 1;
    slot->up = (const achar__wire_up *)it.mapping->region.base;
    achar__tell_worker_locked(pool, slot, ACHAR__JOURNAL_WORKER_STARTED);
    slot->door = it.door;
    if ((slot->door && achar__door_attach_locked(pool, slot, slot->door) != ACHAR_OK) ||
        achar__monitor_add(pool, slot) != ACHAR_OK) {
        /* As with the pidfd: who cannot be watched must not be. */
        achar__death death = {.pid = it.pid, .exit_code = -1, .error = errno};
        achar__slot_kill_locked(slot);
        waitpid(it.pid, NULL, 0);
        slot->last_words = pool->output
                               ? achar__output_finish(pool->output, (unsigned)(slot - pool->slots))
                               : NULL;
        achar__slot_died_locked(pool, slot, death);
        return;
    }
    if (pool->killed) {
        achar__slot_kill_locked(slot);
    }
    achar__pool_wind_down_locked(pool);
}

/* ---- ending ---- */

void achar__slot_kill_locked(achar__slot *slot)
{
    if (slot->pidfd >= 0) {
        slot->killed = true;
        pidfd_send_signal(slot->pidfd, SIGKILL, NULL, 0);
    }
}

void achar__slot_leave_locked(achar__slot *slot)
{
    if (slot->state != ACHAR__SLOT_READY) {
        return;
    }
    slot->state = ACHAR__SLOT_LEAVING;
    slot->pool->ready_count--;
    slot->leave_deadline_ns = achar__now_ns() + LEAVE_GRACE_NS;
    atomic_store(&slot->down->leave, 1);
    achar__futex_ring(&slot->down->doorbell, true);
    achar__pool_kick_locked(slot->pool);
}

void achar__slot_retire_locked(achar__pool *pool, achar__slot *slot)
{
    if (slot->state != ACHAR__SLOT_READY || slot->killed || pool->max_starts ||
        achar__slot_claimed(slot) == 0) {
        return;
    }
    slot->retiring = true;
    achar__drain_locked(pool, slot);
    achar__recall_locked(pool, slot, achar__slot_claimed(slot));
    achar__stretch_recall_locked(pool, slot);
    if (slot->completed == slot->tail) {
        achar__slot_leave_locked(slot);
    }
    achar__dispatch_locked(pool);
}

void achar__slot_abandon_locked(achar__slot *slot)
{
    bool runs = slot->up && !slot->distrusted && achar__slot_claimed(slot) > slot->completed;
    if (runs) {
        achar__tell_started(slot, slot->inflight[slot->completed % ACHAR__RING_SLOTS]);
    }
    slot->distrusted = true; /* whatever it still writes comes too late */
    while (slot->completed < slot->tail) {
        size_t index = slot->completed++ % ACHAR__RING_SLOTS;
        achar__task *task = slot->inflight[index];
        slot->inflight[index] = NULL;
        task->at.death = (achar__death){0};
        achar__task_finish_locked(task, ACHAR__TASK_ABANDONED);
    }
}

/* The task that it had started is lost; those that it had not go back to the head of the queue. */
static void settle_tasks_locked(achar__pool *pool, achar__slot *slot, achar__death death)
{
    uint64_t claimed = achar__slot_claimed(slot);
    achar__recall_locked(pool, slot, claimed);
    while (slot->completed < slot->tail) {
        size_t index = slot->completed++ % ACHAR__RING_SLOTS;
        achar__task *task = slot->inflight[index];
        slot->inflight[index] = NULL;
        if (task->stretch && !slot->distrusted) {
            achar__stretch_died_locked(pool, slot, task, death);
        } else {
            achar__tell_started(slot, task);
            bool overdue = slot->overdue == slot->completed; /* 'completed' is past it by now */
            enum achar__task_state how = task->force_cancelled ? ACHAR__TASK_CANCELLED
                                         : overdue             ? ACHAR__TASK_OVERDUE
                                                               : ACHAR__TASK_LOST;
            if (!achar__task_try_again_locked(task, how, death)) {
                task->at.death = death;
                task->last_words = slot->last_words;
                slot->last_words = NULL;
                achar__task_finish_locked(task, how);
            }
        }
        achar__slot_was_useful_locked(pool, slot);
    }
}

void achar__slot_died_locked(achar__pool *pool, achar__slot *slot, achar__death death)
{
    enum achar__slot_state state = slot->state;
    achar__drain_locked(pool, slot);
    achar__tell_worker_ended_locked(pool, slot, death);
    bool useful = achar__slot_claimed(slot) > 0;
    if (state == ACHAR__SLOT_READY) {
        pool->ready_count--;
    }
    if (slot->start_overdue) { /* the next ones would not do better */
        death.error = ETIME;
    }
    if (state == ACHAR__SLOT_STARTING || (state == ACHAR__SLOT_READY && !useful &&
                                          achar__now_ns() - slot->ready_ns < EARLY_DEATH_NS)) {
        start_failed_locked(pool, slot, death);
        pool->start_failures += slot->start_overdue ? FAILURES_TO_GIVE_UP : 0;
    }
    slot->state = ACHAR__SLOT_EMPTY;
    if (starts_are_used_up(pool)) {
        pool->last_start_death = death;
        keep_start_words(pool, slot);
    }
    settle_tasks_locked(pool, slot, death);

    achar__door_settle_locked(pool, slot);
    achar__releases_drop_locked(slot);
    achar__mapping_settle_locked(pool, slot->mapping);
    /* A child that was forked meanwhile keeps the process's end readable: it would be told for ever. */
    epoll_ctl(pool->epoll_fd, EPOLL_CTL_DEL, slot->pidfd, NULL);
    close(slot->pidfd);
    free(slot->last_words);
    slot_reset(pool, slot);
    achar__pins_sweep_locked(pool);

    achar__pool_give_up_if_hopeless_locked(pool);
    achar__dispatch_locked(pool);
    achar__pool_wind_down_locked(pool);
    achar__pool_kick_locked(pool);
}
