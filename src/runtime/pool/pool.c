/*
 * pool.c - the pool from create to release.
 *
 *    open ──close──► closed ──all tasks finished──► workers leave ──all gone──► stopped
 *      └────────────── kill: unfinished tasks are abandoned, workers get SIGKILL ─────┘
 *
 * The tender and the monitor end when the pool is stopped. The struct itself lives on, mutex and
 * all, until the last task and function handle is released.
 */
#include "runtime/pool/pool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define WORKERS_MAX         1024
#define RELEASE_PATIENCE_NS INT64_C(10000000000)

/* ---- create ---- */

static void free_strings(char **strings)
{
    for (char **at = strings; strings && *at; at++) {
        free(*at);
    }
    free(strings);
}

static char **copy_strings(const char *const *strings)
{
    size_t count = 0;
    while (strings[count]) {
        count++;
    }
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = strdup(strings[i]);
        if (!copy[i]) {
            free_strings(copy);
            return NULL;
        }
    }
    return copy;
}

/* Threads of the pool leave all signals to the others. */
static int start_threads(achar__pool *pool)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&pool->ref_count, 2);
    int error = pthread_create(&pool->monitor, NULL, achar__monitor_main, pool);
    if (error) {
        atomic_fetch_sub(&pool->ref_count, 2);
    } else {
        error = pthread_create(&pool->tender, NULL, achar__tender_main, pool);
        if (error) {
            atomic_fetch_sub(&pool->ref_count, 1);
            atomic_store(&pool->stopped, 1);
            eventfd_write(pool->monitor_fd, 1);
            pthread_join(pool->monitor, NULL);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return error ? ACHAR_E_IO : ACHAR_OK;
}

static int create_monitor_fds(achar__pool *pool)
{
    struct epoll_event stop = {.events = EPOLLIN, .data.ptr = NULL};
    pool->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    pool->monitor_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->epoll_fd < 0 || pool->monitor_fd < 0 ||
        epoll_ctl(pool->epoll_fd, EPOLL_CTL_ADD, pool->monitor_fd, &stop) != 0) {
        return ACHAR_E_IO;
    }
    return ACHAR_OK;
}

static int create_door(achar__pool *pool)
{
    pool->door_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return pool->door_fd >= 0 ? ACHAR_OK : ACHAR_E_IO;
}

/* Its thread, too, leaves all signals to the others. */
static int create_output(achar__pool *pool, const achar__pool_options *options)
{
    if (options->output == ACHAR__OUTPUT_INHERIT) {
        return ACHAR_OK;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = achar__output_create(pool->slot_count, options->output == ACHAR__OUTPUT_DELIVER,
                                      &pool->output);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

int achar__pool_take_output(achar__pool *pool, int64_t timeout_ns, achar__output_piece **out)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return ACHAR_E_CLOSED;
    }
    return pool->output ? achar__output_take(pool->output, timeout_ns, out) : ACHAR_E_INVALID;
}

void achar__task_note_output_locked(achar__pool *pool, const achar__slot *slot, achar__task *task)
{
    if (!pool->output) {
        return;
    }
    unsigned worker = (unsigned)(slot - pool->slots);
    uint64_t framed_nbytes = atomic_load_explicit(&slot->up->framed_nbytes, memory_order_relaxed);
    if (!achar__output_was_taken(pool->output, worker, framed_nbytes)) {
        task->at.output.up = slot->up;
        task->at.output.framed_nbytes = framed_nbytes;
        task->output_worker = (uint16_t)worker;
        task->awaits_output = true;
    }
}

bool achar__task_may_have_output(const achar__task *task)
{
    return atomic_load_explicit(&task->awaits_output, memory_order_relaxed);
}

void achar__task_await_output(achar__task *task, int64_t timeout_ns)
{
    achar__pool *pool = task->pool;
    if (achar__task_may_have_output(task) && achar__fork_guard_holds(&pool->guard)) {
        achar__output_await(pool->output, task->output_worker, task->at.output.up,
                            task->at.output.framed_nbytes, timeout_ns);
        atomic_store_explicit(&task->awaits_output, false, memory_order_relaxed);
    }
}

int achar__pool_door(const achar__pool *pool)
{
    return pool->door_fd;
}

/* What the pool shares and holds open; not the struct. */
static void free_resources(achar__pool *pool)
{
    achar__doors_destroy(pool);
    int fds[] = {pool->client_fd,  pool->bell_fd, pool->epoll_fd,
                 pool->monitor_fd, pool->door_fd, pool->spill_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    pool->client_fd = pool->bell_fd = pool->epoll_fd = pool->monitor_fd = -1;
    pool->door_fd = pool->spill_fd = -1;
    achar__store_destroy(pool->store);
    pool->store = NULL;
    achar__region_unmap(&pool->client);
    achar__region_unmap(&pool->bells_region);
    achar__output_destroy(pool->output);
    pool->output = NULL;
    free_strings(pool->argv);
    free_strings(pool->envp);
    free(pool->spill_path);
    pool->argv = pool->envp = NULL;
    pool->spill_path = NULL;
    free(pool->slots);
    pool->slots = NULL;
    pool->slot_count = 0;
}

void achar__pool_unref(achar__pool *pool)
{
    if (atomic_fetch_sub(&pool->ref_count, 1) == 1) {
        achar__mappings_sweep(pool);
        pthread_mutex_destroy(&pool->lock);
        achar__fork_guard_clear(&pool->guard);
        free(pool->start_words);
        achar__journal_release(pool->journal);
        free(pool);
    }
}

int achar__pool_create(const achar__pool_options *options, achar__pool **out)
{
    if (!options->worker_argv || !options->worker_argv[0] || options->worker_count < 1 ||
        options->worker_count > WORKERS_MAX ||
        (options->region_nbytes && options->region_nbytes < ACHAR__REGION_MIN_NBYTES)) {
        return ACHAR_E_INVALID;
    }
    achar__pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        return ACHAR_E_NOMEM;
    }
    pthread_mutex_init(&pool->lock, NULL);
    atomic_init(&pool->ref_count, 1);
    pool->client_fd = pool->bell_fd = pool->epoll_fd = pool->monitor_fd = -1;
    pool->door_fd = pool->spill_fd = -1;
    pool->client = pool->bells_region = ACHAR__REGION_CLOSED;
    pool->bells_in_use = 1;
    pool->may_have_room = true;
    pool->slot_count = options->worker_count;
    pool->max_tasks_per_worker = options->max_tasks_per_worker;
    pool->max_starts = options->max_starts;
    pool->start_limit_ns = options->start_limit_ns;
    pool->room_limit_ns = options->room_limit_ns;
    pool->grace_ns = ACHAR__OVERDUE_GRACE_NS;
    pool->pin_patience_ns = ACHAR__PIN_PATIENCE_NS;
    pool->journal = options->journal ? achar__journal_retain(options->journal) : NULL;
    if (getrandom(&pool->hash_seed, sizeof pool->hash_seed, GRND_NONBLOCK) < 0) {
        pool->hash_seed = (uint64_t)achar__now_ns() ^ (uint64_t)(uintptr_t)pool;
    }
    int status = ACHAR_E_NOMEM;
    pool->argv = copy_strings(options->worker_argv);
    pool->envp =
        copy_strings(options->worker_envp ? options->worker_envp : (const char *const *)environ);
    pool->slots = calloc(pool->slot_count, sizeof *pool->slots);
    pool->spill_path = options->spill_path ? strdup(options->spill_path) : NULL;
    if (!pool->argv || !pool->envp || !pool->slots || (options->spill_path && !pool->spill_path)) {
        goto fail;
    }
    for (unsigned i = 0; i < pool->slot_count; i++) {
        pool->slots[i].pool = pool;
        pool->slots[i].pidfd = -1;
    }
    if ((status = achar__fork_guard_init(&pool->guard)) ||
        (status = achar__pool_create_memory(pool, options)) ||
        (status = create_monitor_fds(pool)) ||
        (options->has_door && (status = create_door(pool))) ||
        (status = create_output(pool, options)) || (status = start_threads(pool))) {
        goto fail;
    }
    if (pool->journal) {
        achar__journal_attach(pool->journal, achar__tell_sights, pool);
    }
    *out = pool;
    return ACHAR_OK;
fail:;
    int error = errno;
    if (pool->journal) {
        achar__journal_end(pool->journal);
    }
    free_resources(pool);
    achar__pool_unref(pool);
    errno = error;
    return status;
}

/* ---- winding down ---- */

void achar__pool_kick_locked(achar__pool *pool)
{
    pool->tender_kicked = true;
    achar__futex_ring(&pool->bells->tender, true);
}

void achar__pool_wind_down_locked(achar__pool *pool)
{
    if (!pool->closed || pool->unfinished_count || pool->stopped) {
        return;
    }
    bool gone = true;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        achar__slot *slot = &pool->slots[i];
        if (slot->state == ACHAR__SLOT_READY) {
            achar__slot_leave_locked(slot);
        } else if (slot->state == ACHAR__SLOT_STARTING && !slot->killed) {
            achar__slot_kill_locked(slot); /* it has nothing to finish */
        }
        gone = gone && slot->state == ACHAR__SLOT_EMPTY;
    }
    if (gone) {
        atomic_store(&pool->stopped, 1);
        if (pool->journal) {
            achar__journal_end(pool->journal);
        }
        if (pool->door_fd >= 0) {
            eventfd_write(pool->door_fd, 1);
        }
        if (pool->output) {
            achar__output_stop(pool->output);
        }
        achar__futex_wake(&pool->stopped, false, INT32_MAX);
        eventfd_write(pool->monitor_fd, 1);
        achar__pool_kick_locked(pool);
    }
}

static void close_locked(achar__pool *pool)
{
    if (!pool->closed) {
        pool->closed = true;
        /* Those who sleep in next_watched look whether anything can still come. */
        achar__futex_ring(&pool->watched_word, false);
        achar__room_tell_locked(pool);
    }
}

void achar__pool_close(achar__pool *pool)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    close_locked(pool);
    achar__pool_wind_down_locked(pool);
    pthread_mutex_unlock(&pool->lock);
}

void achar__pool_kill(achar__pool *pool)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    close_locked(pool);
    if (!pool->killed && !pool->stopped) {
        pool->killed = true;
        for (unsigned i = 0; i < pool->slot_count; i++) {
            if (pool->slots[i].up) {
                achar__drain_locked(pool, &pool->slots[i]);
            }
            achar__slot_kill_locked(&pool->slots[i]);
        }
        for (unsigned i = 0; i < pool->slot_count; i++) {
            achar__slot_abandon_locked(&pool->slots[i]);
        }
        for (achar__task *task; (task = achar__queue_take(&pool->queue));) {
            task->at.death = (achar__death){0};
            achar__task_finish_locked(task, ACHAR__TASK_ABANDONED);
        }
        achar__starved_abandon_locked(pool, (achar__death){0});
        achar__pool_wind_down_locked(pool);
    }
    pthread_mutex_unlock(&pool->lock);
}

int achar__pool_join(achar__pool *pool, int64_t timeout_ns)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return ACHAR_E_CLOSED;
    }
    int64_t deadline_ns = achar__deadline_in(timeout_ns);
    while (!atomic_load(&pool->stopped)) {
        int status = achar__futex_wait(&pool->stopped, 0, false, deadline_ns);
        if (status != ACHAR_OK && !atomic_load(&pool->stopped)) {
            return status;
        }
    }
    return ACHAR_OK;
}

void achar__pool_release(achar__pool *pool)
{
    if (!pool || !achar__fork_guard_holds(&pool->guard)) {
        return;
    }
    achar__pool_kill(pool);
    if (pool->journal) {
        achar__journal_attach(pool->journal, NULL, NULL);
    }
    int64_t deadline_ns = achar__now_ns() + RELEASE_PATIENCE_NS;
    int status = ACHAR_OK;
    while (status != ACHAR_E_TIMEOUT && !atomic_load(&pool->stopped)) {
        status = achar__futex_wait(&pool->stopped, 0, false, deadline_ns);
    }
    if (!atomic_load(&pool->stopped)) {
        /* A worker that not even SIGKILL ends (it sleeps in the kernel): its memory stays, and the
         * threads end when it does. */
        if (pool->journal) {
            achar__journal_end(pool->journal);
        }
        pthread_detach(pool->tender);
        pthread_detach(pool->monitor);
        achar__pool_unref(pool);
        return;
    }
    pthread_join(pool->tender, NULL);
    pthread_join(pool->monitor, NULL);
    for (;;) {
        pthread_mutex_lock(&pool->lock);
        achar__task *task = pool->watched.head;
        if (task) {
            achar__list_remove(&pool->watched, task);
        }
        pthread_mutex_unlock(&pool->lock);
        if (!task) {
            break;
        }
        achar__task_release(task);
    }
    pthread_mutex_lock(&pool->lock);
    achar__functions_destroy(pool);
    achar__pins_destroy(pool);
    pool->released = true;
    pthread_mutex_unlock(&pool->lock);
    achar__mappings_sweep(pool);
    free_resources(pool);
    achar__pool_unref(pool);
}

size_t achar__pool_pids(achar__pool *pool, int *pids, size_t capacity)
{
    size_t count = 0;
    if (!achar__fork_guard_holds(&pool->guard)) {
        return 0;
    }
    pthread_mutex_lock(&pool->lock);
    for (unsigned i = 0; i < pool->slot_count; i++) {
        if (pool->slots[i].pid) {
            if (count < capacity) {
                pids[count] = pool->slots[i].pid;
            }
            count++;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return count;
}

achar__pool_usage achar__pool_usage_of(achar__pool *pool)
{
    achar__pool_usage usage = {0};
    if (!achar__fork_guard_holds(&pool->guard)) {
        return usage;
    }
    pthread_mutex_lock(&pool->lock);
    achar__store_usage own = achar__store_usage_of(pool->store);
    usage.client_nbytes = own.memory_nbytes + own.spill_nbytes;
    usage.spilled_nbytes = own.spill_nbytes;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        if (pool->slots[i].up) {
            usage.workers_nbytes +=
                atomic_load_explicit(&pool->slots[i].up->used_nbytes, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return usage;
}
