/*
 * flight.c - who is computing what, in this process and in others.
 *
 * Between processes: a byte of the lock file for each key, locked while its result is computed. The
 * kernel lets go of it when the process dies and wakes one who waits. Within the process such locks do not
 * exclude, so there is a list, too, for all stores of the process.
 *
 * The kernel looks for circles among processes, not among threads, and may find one where there is none;
 * then the caller computes without the lock, which costs time and nothing else. Circles of threads, also
 * through several files, are found here: a flight says what its thread waits for.
 *
 * A task that is under way has no thread to wait for, so it has a byte of another kind, which its process locks and
 * nobody blocks on: who finds it locked looks again later. What waits for whom then is decided in Python
 * (_memo_flights.py).
 *
 * Invariant: who follows flights and what their threads wait for comes to an end, since nobody begins to
 * wait who would close a circle, and a thread that enters its flight does not wait.
 */
#include "memo/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

typedef struct memo_flight {
    int64_t id;
    pthread_t thread;
    const memo_locks *locks;
    const memo_store *store;
    const memo_locks *waits_in; /* NULL: the thread does not wait for another of this process */
    int64_t waits_for;
    struct memo_flight *next;
} memo_flight;

enum { WAIT_MS = 200, PAUSE_MS = 10 };

static pthread_mutex_t flight_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t landed = PTHREAD_COND_INITIALIZER;
static memo_flight *flights; /* with 'flight_lock' */

/* The first is the writers'. */
static off_t byte_of(int64_t id)
{
    return 1 + (off_t)((uint64_t)id >> 2);
}

/* Behind those. */
static off_t byte_of_task(int64_t id)
{
    return ((off_t)1 << 62) + (off_t)((uint64_t)id >> 3);
}

static memo_flight **find(const memo_locks *locks, int64_t id)
{
    memo_flight **at = &flights;
    while (*at && ((*at)->id != id || (*at)->locks != locks))
        at = &(*at)->next;
    return at;
}

/* Whether the flight ends only after one of this thread's: it has it, or is what that one waits for. */
static int waits_for_us(const memo_flight *flight)
{
    while (flight && !pthread_equal(flight->thread, pthread_self()))
        flight = flight->waits_in ? *find(flight->waits_in, flight->waits_for) : NULL;
    return flight != NULL;
}

static void note_wait(const memo_locks *locks, int64_t id)
{
    for (memo_flight *flight = flights; flight; flight = flight->next) {
        if (pthread_equal(flight->thread, pthread_self())) {
            flight->waits_in = locks;
            flight->waits_for = id;
        }
    }
}

static struct timespec after_ns(int64_t time_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += time_ns / 1000000000;
    until.tv_nsec += time_ns % 1000000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void wait_for_landing(const memo_locks *locks, int64_t id, int64_t wait_ms)
{
    struct timespec until = after_ns(wait_ms * 1000000);
    note_wait(locks, id);
    pthread_cond_timedwait(&landed, &flight_lock, &until);
    note_wait(NULL, 0);
}

/* Enters this thread as the one that computes. Waits no longer than that. */
static memo_status enter(memo_store *store, int64_t id, int64_t wait_ms)
{
    memo_locks *locks = store->locks;
    memo_status status = MEMO_OK;
    pthread_mutex_lock(&flight_lock);
    const memo_flight *other = *find(locks, id);
    if (waits_for_us(other)) {
        status = MEMO_ABSENT;
    } else if (other) {
        wait_for_landing(locks, id, wait_ms);
        status = *find(locks, id) ? MEMO_INTERRUPTED : MEMO_OK;
    }
    if (status == MEMO_OK) {
        memo_flight *mine = malloc(sizeof *mine);
        if (mine) {
            *mine = (memo_flight){.id = id,
                                  .thread = pthread_self(),
                                  .locks = locks,
                                  .store = store,
                                  .next = flights};
            flights = mine;
        } else {
            status = MEMO_NOMEM;
        }
    }
    pthread_mutex_unlock(&flight_lock);
    return status;
}

static void leave(const memo_locks *locks, int64_t id)
{
    pthread_mutex_lock(&flight_lock);
    memo_flight **at = find(locks, id), *mine = *at;
    if (mine)
        *at = mine->next;
    free(mine);
    pthread_cond_broadcast(&landed);
    pthread_mutex_unlock(&flight_lock);
}

memo_status memo_store_begin(memo_store *store, const uint8_t *key, int64_t limit_ms)
{
    bool has_limit = limit_ms >= 0;
    int64_t id = memo_id_of(key);
    memo_status status = enter(store, id, has_limit ? lesser(limit_ms, WAIT_MS) : WAIT_MS);
    if (status != MEMO_OK ||
        memo_lock_byte(store->locks, has_limit ? F_SETLK : F_SETLKW, F_WRLCK, byte_of(id)) == 0)
        return status;
    bool is_taken = has_limit && (errno == EAGAIN || errno == EACCES);
    status = errno == EINTR || is_taken ? MEMO_INTERRUPTED
             : errno == EDEADLK         ? MEMO_ABSENT
                                        : MEMO_ERROR;
    memo_set_message(NULL);
    leave(store->locks, id);
    if (is_taken)
        nanosleep(&(struct timespec){.tv_nsec = lesser(limit_ms, PAUSE_MS) * 1000000}, NULL);
    return status;
}

void memo_store_end(memo_store *store, const uint8_t *key)
{
    int64_t id = memo_id_of(key);
    memo_lock_byte(store->locks, F_SETLK, F_UNLCK, byte_of(id));
    leave(store->locks, id);
}

memo_owner memo_store_owner(memo_store *store, const uint8_t *key)
{
    int64_t id = memo_id_of(key);
    memo_owner owner = MEMO_NOBODY;
    pthread_mutex_lock(&flight_lock);
    const memo_flight *flight = *find(store->locks, id);
    if (flight)
        owner = pthread_equal(flight->thread, pthread_self()) ? MEMO_THIS_THREAD : MEMO_HERE;
    pthread_mutex_unlock(&flight_lock);
    return owner == MEMO_NOBODY && memo_byte_is_taken(store->locks, byte_of(id)) ? MEMO_ELSEWHERE
                                                                                 : owner;
}

int memo_store_has_other_calls(memo_store *store, const uint8_t *key)
{
    int64_t id = memo_id_of(key);
    pthread_mutex_lock(&flight_lock);
    const memo_flight *flight = flights;
    while (flight && flight->id == id && flight->locks == store->locks)
        flight = flight->next;
    pthread_mutex_unlock(&flight_lock);
    return flight != NULL;
}

void memo_await_landing(int64_t timeout_ns)
{
    struct timespec until = after_ns(timeout_ns);
    pthread_mutex_lock(&flight_lock);
    pthread_cond_timedwait(&landed, &flight_lock, &until);
    pthread_mutex_unlock(&flight_lock);
}

/* ---- tasks ---- */

int memo_store_begin_task(memo_store *store, const uint8_t *key)
{
    return memo_lock_byte(store->locks, F_SETLK, F_WRLCK, byte_of_task(memo_id_of(key))) == 0 ||
           (errno != EAGAIN && errno != EACCES); /* locks that cannot be had are nobody's */
}

void memo_store_end_task(memo_store *store, const uint8_t *key)
{
    memo_lock_byte(store->locks, F_SETLK, F_UNLCK, byte_of_task(memo_id_of(key)));
    pthread_mutex_lock(&flight_lock);
    pthread_cond_broadcast(&landed);
    pthread_mutex_unlock(&flight_lock);
}

int memo_store_task_is_elsewhere(memo_store *store, const uint8_t *key)
{
    return memo_byte_is_taken(store->locks, byte_of_task(memo_id_of(key)));
}

void memo_free_flights(memo_store *store)
{
    pthread_mutex_lock(&flight_lock);
    for (memo_flight **at = &flights; *at;) {
        memo_flight *flight = *at;
        if (flight->store != store) {
            at = &flight->next;
            continue;
        }
        *at = flight->next;
        memo_lock_byte(store->locks, F_SETLK, F_UNLCK, byte_of(flight->id));
        free(flight);
    }
    pthread_cond_broadcast(&landed);
    pthread_mutex_unlock(&flight_lock);
}

void memo_forget_flights(void)
{
    while (flights) {
        memo_flight *flight = flights;
        flights = flight->next;
        free(flight);
    }
    flight_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    landed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
}
