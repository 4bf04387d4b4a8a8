/*
 * task.c - one task from its end to its release, and those who wait for it; submit.c has its beginning.
 *
 * A task is referred to by the pool while it is unfinished, and by whoever holds it. Its state word
 * is written once, last, after everything that a reader of a finished task may read. A thread that
 * waits borrows a bell, tells the worker its number, and takes the completion itself when the worker
 * rings: no thread stands between the worker and the one who waits.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>
#include <string.h>

#define EAGER_RELEASE_NBYTES ((size_t)1 << 20) /* a sleeping worker is woken for that */

/* ---- the end of a task ---- */

/* Tells the worker that the task's result block is its own again; false: no room in the ring. */
static bool send_release(achar__slot *slot, const achar__task *task)
{
    uint64_t waiting_count = slot->releases_sent - atomic_load(&slot->up->releases_taken);
    if (waiting_count >= ACHAR__RELEASE_SLOTS) {
        return false;
    }
    slot->down->releases[slot->releases_sent % ACHAR__RELEASE_SLOTS] =
        (uint64_t)((const unsigned char *)task->result - slot->mapping->region.base);
    slot->releases_sent++;
    atomic_store(&slot->down->releases_sent, slot->releases_sent);
    if ((task->result_nbytes >= EAGER_RELEASE_NBYTES ||
         waiting_count >= ACHAR__RELEASE_SLOTS / 2) &&
        atomic_load(&slot->up->sleeping)) {
        achar__futex_ring(&slot->down->doorbell, true);
    }
    return true;
}

static void free_args_locked(achar__task *task)
{
    if (task->args_kind) {
        achar__pins_free_locked(task->pool, task->args);
    } else {
        achar__store_free(task->pool->store, task->args);
    }
    task->args = NULL;
}

static void free_task_locked(achar__task *task)
{
    if (task->mapping) {
        achar__mapping_unref_locked(task->pool, task->mapping);
    }
    if (task->staged && !task->pool->released) {
        achar__pins_free_locked(task->pool, task->staged);
        achar__room_judge_locked(task->pool, task->staged_nbytes);
        achar__room_tell_locked(task->pool);
    }
    if (task->keeps_args && !task->pool->released) {
        free_args_locked(task);
        achar__room_judge_locked(task->pool, task->args_nbytes);
        achar__room_tell_locked(task->pool);
    }
    if (task->cause) {
        achar__task_unref_locked(task->cause); /* it has none itself: no recursion */
    }
    free(task->label);
    free(task->copy);
    free(task->attempts);
    free(task->last_words);
    if (task->told) {
        free(task->told->error);
    }
    free(task);
}

void achar__releases_flush_locked(achar__slot *slot)
{
    while (slot->releases.head && send_release(slot, slot->releases.head)) {
        achar__task *task = slot->releases.head;
        achar__pool *pool = task->pool;
        achar__list_remove(&slot->releases, task);
        free_task_locked(task);
        achar__pool_unref(pool);
    }
}

void achar__releases_drop_locked(achar__slot *slot)
{
    while (slot->releases.head) {
        achar__task *task = slot->releases.head;
        achar__pool *pool = task->pool;
        achar__list_remove(&slot->releases, task);
        free_task_locked(task);
        achar__pool_unref(pool);
    }
}

/* The last reference is gone. False: the task's memory is needed until its release can be sent. */
static bool destroy_locked(achar__task *task)
{
    achar__slot *slot = task->mapping ? task->mapping->slot : NULL;
    if (slot) {
        achar__releases_flush_locked(slot);
        if (slot->releases.head || !send_release(slot, task)) {
            achar__list_append(&slot->releases, task);
            return false;
        }
    }
    free_task_locked(task);
    return true;
}

void achar__task_unref_locked(achar__task *task)
{
    achar__pool *pool = task->pool;
    if (atomic_fetch_sub(&task->ref_count, 1) == 1 && destroy_locked(task)) {
        achar__pool_unref(pool);
    }
}

void achar__task_give_back_result_locked(achar__task *task)
{
    if (!task->mapping) {
        return;
    }
    /* The release may have to wait for room, so something has to wait with it. Without memory for
     * that, the block is the worker's again when the worker ends. */
    achar__pool *pool = task->pool;
    achar__task *husk = calloc(1, sizeof *husk);
    if (husk) {
        husk->pool = pool;
        husk->mapping = task->mapping;
        husk->result = task->result;
        husk->result_nbytes = task->result_nbytes;
        atomic_fetch_add(&pool->ref_count, 1);
        if (destroy_locked(husk)) {
            achar__pool_unref(pool);
        }
    } else {
        achar__mapping_unref_locked(pool, task->mapping);
    }
    task->mapping = NULL;
    task->result = NULL;
    task->result_nbytes = 0;
}

static void ring_watchers(achar__pool *pool)
{
    atomic_fetch_add(&pool->watched_word, 1);
    if (atomic_load(&pool->watched_sleeper_count)) {
        achar__futex_wake(&pool->watched_word, false, INT32_MAX);
    }
}

void achar__task_finish_locked(achar__task *task, enum achar__task_state state)
{
    achar__pool *pool = task->pool;
    achar__tell_ended_locked(task, state);
    if (!task->stretch) {
        pool->unfinished_nbytes -= achar__block_cost(task->args_nbytes);
    }
    task->keeps_args = task->keeps_args && state == ACHAR__TASK_RETURNED;
    if (!task->keeps_args) {
        free_args_locked(task);
        achar__room_judge_locked(pool, task->args_nbytes);
    } else if (task->reader_count) {
        pool->input_nbytes += achar__block_cost(task->args_nbytes);
    }
    if (task->stretch) {
        achar__stretch_unref_locked(pool, task->stretch);
        task->stretch = NULL;
    }
    achar__function_unref_locked(task->function);
    if (achar__store_has_excess(pool->store) && !pool->tender_kicked) {
        achar__pool_kick_locked(pool); /* it punches without the lock */
    }
    if (task->inputs) {
        achar__graph_leave_locked(task);
    }
    task->function = NULL;
    task->place = ACHAR__PLACE_NONE;

    atomic_store(&task->state, state);
    if (task->dependents) {
        achar__graph_wake_locked(task);
    }
    if (atomic_load(&task->sleeper_count)) {
        achar__futex_wake(&task->state, false, INT32_MAX);
    }
    if (task->bell && task->bell != pool->own_bell) {
        achar__futex_ring(&pool->bells->waiters[task->bell], true);
    }
    pool->unfinished_count--;
    if (task->watched) { /* the pool's reference becomes the list's */
        achar__list_append(&pool->watched, task);
        ring_watchers(pool);
    } else {
        achar__task_unref_locked(task);
    }
    achar__room_tell_locked(pool);
    if (pool->unfinished_count == 0 && pool->closed) {
        ring_watchers(pool);
        achar__pool_wind_down_locked(pool);
    }
}

/* ---- references, state, result ---- */

achar__task *achar__task_retain(achar__task *task)
{
    atomic_fetch_add_explicit(&task->ref_count, 1, memory_order_relaxed);
    return task;
}

void achar__task_release(achar__task *task)
{
    if (!task || !achar__fork_guard_holds(&task->pool->guard) ||
        atomic_fetch_sub(&task->ref_count, 1) != 1) {
        return;
    }
    achar__pool *pool = task->pool;
    pthread_mutex_lock(&pool->lock);
    bool destroyed = destroy_locked(task);
    pthread_mutex_unlock(&pool->lock);
    achar__mappings_sweep(pool);
    if (destroyed) {
        achar__pool_unref(pool);
    }
}

static bool is_finished(achar__task *task)
{
    return ACHAR__TASK_FINISHED(atomic_load(&task->state));
}

enum achar__task_state achar__task_state_of(achar__task *task)
{
    enum achar__task_state state = atomic_load(&task->state);
    achar__pool *pool = task->pool;
    if (ACHAR__TASK_FINISHED(state) || !achar__fork_guard_holds(&pool->guard)) {
        return state;
    }
    pthread_mutex_lock(&pool->lock);
    if (task->place == ACHAR__PLACE_RING) {
        achar__drain_locked(pool, task->at.ring.slot);
    }
    state = atomic_load(&task->state);
    if (task->place == ACHAR__PLACE_RING &&
        task->at.ring.position < achar__slot_claimed(task->at.ring.slot)) {
        state = ACHAR__TASK_RUNNING;
    }
    achar__dispatch_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    return state;
}

void achar__task_result_of(achar__task *task, achar__task_result *out)
{
    *out = (achar__task_result){.state = atomic_load(&task->state)};
    if (!achar__fork_guard_holds(&task->pool->guard)) {
        out->state = ACHAR__TASK_ABANDONED; /* the bytes may be gone at any moment */
        return;
    }
    pthread_mutex_lock(&task->pool->lock); /* nobody moves it from here on */
    task->looked_at = true;
    pthread_mutex_unlock(&task->pool->lock);
    if (task->result) {
        out->bytes = (const unsigned char *)task->result + task->result_skip_nbytes;
        out->nbytes = task->result_nbytes - task->result_skip_nbytes;
    }
    out->time_limit_ns = task->time_limit_ns;
    out->attempts = task->attempts;
    out->attempt_count = task->attempt_count;
    out->task = task;
    out->kind = task->result_kind;
    if (task->keeps_args) {
        out->kept = task->args;
        out->kept_nbytes = task->args_nbytes;
    }
    out->cause = task->cause;
    if (out->state == ACHAR__TASK_LOST || out->state == ACHAR__TASK_OVERDUE ||
        out->state == ACHAR__TASK_ABANDONED) {
        out->death = task->at.death;
        out->last_words = task->last_words;
    }
    if (out->state == ACHAR__TASK_ABANDONED && (out->death.pid || out->death.error)) {
        out->last_words = task->pool->start_words; /* they stay: the pool has given up */
    }
}

static bool contains(const achar__region *region, const void *bytes)
{
    return (const unsigned char *)bytes >= region->base &&
           (const unsigned char *)bytes < region->base + region->nbytes;
}

bool achar__task_open(achar__task *task, const void *bytes, size_t nbytes, achar__window *window)
{
    if (!achar__fork_guard_holds(&task->pool->guard)) {
        return false;
    }
    pthread_mutex_lock(&task->pool->lock);
    const achar__region *region = &task->pool->client;
    if (task->mapping && !contains(region, bytes)) {
        region = &task->mapping->region;
    }
    bool opened = achar__window_open(window, region, bytes, nbytes);
    pthread_mutex_unlock(&task->pool->lock);
    return opened;
}

/* ---- waiting ---- */

static void set_bell_locked(achar__task *task, uint8_t bell)
{
    task->bell = bell;
    if (task->place == ACHAR__PLACE_RING) {
        size_t index = task->at.ring.position % ACHAR__RING_SLOTS;
        atomic_store(&task->at.ring.slot->down->waiters[index], bell);
    }
}

/* Takes what the task's worker has completed. */
static void look_locked(achar__task *task, uint8_t own_bell)
{
    achar__pool *pool = task->pool;
    if (task->place == ACHAR__PLACE_RING) {
        pool->own_bell = own_bell;
        achar__drain_locked(pool, task->at.ring.slot);
        pool->own_bell = 0;
        achar__dispatch_locked(pool);
    }
}

/* Waits with a bell of its own. Called with the lock, gives it up while it sleeps. */
static int wait_for_bell_locked(achar__task *task, uint8_t bell, int64_t deadline_ns)
{
    achar__pool *pool = task->pool;
    _Atomic uint32_t *word = &pool->bells->waiters[bell];
    int status = ACHAR_OK;

    pool->bells_in_use |= UINT64_C(1) << bell;
    set_bell_locked(task, bell);
    /* Once the task is finished the pool may be released, and the bells with it. */
    while (!is_finished(task) && status == ACHAR_OK) {
        uint32_t seen = atomic_load(word);
        look_locked(task, bell);
        if (is_finished(task)) {
            break;
        }
        pthread_mutex_unlock(&pool->lock);
        status = achar__futex_wait(word, seen, true, deadline_ns);
        pthread_mutex_lock(&pool->lock);
    }
    /* First the number is withdrawn, then looked once more: a worker that still saw it has
     * published before. */
    set_bell_locked(task, 0);
    look_locked(task, 0);
    pool->bells_in_use &= ~(UINT64_C(1) << bell);
    return status;
}

static int wait_for_state(achar__task *task, int64_t deadline_ns)
{
    int status = ACHAR_OK;
    atomic_fetch_add(&task->sleeper_count, 1);
    while (status == ACHAR_OK && !is_finished(task)) {
        status = achar__futex_wait(&task->state, ACHAR__TASK_QUEUED, false, deadline_ns);
    }
    atomic_fetch_sub(&task->sleeper_count, 1);
    return status;
}

int achar__task_wait(achar__task *task, int64_t timeout_ns)
{
    if (is_finished(task)) {
        return ACHAR_OK;
    }
    achar__pool *pool = task->pool;
    if (!achar__fork_guard_holds(&pool->guard)) {
        return ACHAR_E_CLOSED;
    }
    int status;
    int64_t deadline_ns = achar__deadline_in(timeout_ns);
    pthread_mutex_lock(&pool->lock);
    if (!is_finished(task) && task->bell == 0 && ~pool->bells_in_use) {
        status =
            wait_for_bell_locked(task, (uint8_t)__builtin_ctzll(~pool->bells_in_use), deadline_ns);
        pthread_mutex_unlock(&pool->lock);
    } else {
        pthread_mutex_unlock(&pool->lock);
        status = wait_for_state(task, deadline_ns);
    }
    return is_finished(task) ? ACHAR_OK : status;
}

/* ---- watching ---- */

int achar__task_watch(achar__task *task, void *user)
{
    achar__pool *pool = task->pool;
    if (!achar__fork_guard_holds(&pool->guard)) {
        return 0;
    }
    pthread_mutex_lock(&pool->lock);
    bool pending = !is_finished(task);
    if (pending) {
        task->user = user;
        task->watched = true;
    }
    pthread_mutex_unlock(&pool->lock);
    return pending;
}

void *achar__task_user(achar__task *task)
{
    return task->user;
}

int achar__pool_next_watched(achar__pool *pool, int64_t timeout_ns, achar__task **out)
{
    int status = ACHAR_OK;
    int64_t deadline_ns = achar__deadline_in(timeout_ns);
    if (!achar__fork_guard_holds(&pool->guard)) {
        return ACHAR_E_CLOSED;
    }
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (pool->watched.head) {
            *out = pool->watched.head;
            achar__list_remove(&pool->watched, *out);
            status = ACHAR_OK;
            break;
        }
        if (pool->closed && pool->unfinished_count == 0) {
            status = ACHAR_E_CLOSED;
            break;
        }
        if (status != ACHAR_OK) {
            break;
        }
        uint32_t seen = atomic_load(&pool->watched_word);
        atomic_fetch_add(&pool->watched_sleeper_count, 1);
        pthread_mutex_unlock(&pool->lock);
        status = achar__futex_wait(&pool->watched_word, seen, false, deadline_ns);
        pthread_mutex_lock(&pool->lock);
        atomic_fetch_sub(&pool->watched_sleeper_count, 1);
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}
