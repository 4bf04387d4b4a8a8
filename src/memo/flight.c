/*
 * flight.c - who is computing what, in this process and in others.
 *
 * Between processes: a byte of the lock file for each key, locked while its result is computed. The
 * kernel lets go of it when the process dies and wakes one who waits. Within the process such locks do not
 * exclude, so there is a list, too, of all stores of the file.
 *
 * The kernel looks for circles among processes, not among threads, and may find one where there is none;
 * then the caller computes without the lock, which costs time and nothing else.
 */
#include "memo/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

typedef struct memo_flight {
    int64_t id;
    pthread_t thread;
    const memo_store *store;
    struct memo_flight *next;
} memo_flight;

enum { WAIT_MS = 200 };

/* The first is the writers'. */
static off_t byte_of(int64_t id)
{
    return 1 + (off_t)((uint64_t)id >> 2);
}

static memo_flight **find(memo_locks *locks, int64_t id)
{
    memo_flight **at = &locks->flights;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

/* Enters this thread as the one that computes. Waits no longer than WAIT_MS. */
static memo_status enter(memo_store *store, int64_t id)
{
    memo_locks *locks = store->locks;
    memo_status status = MEMO_OK;
    pthread_mutex_lock(&locks->flight);
    memo_flight *other = *find(locks, id);
    if (other && pthread_equal(other->thread, pthread_self())) {
        status = MEMO_ABSENT;
    } else if (other) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&locks->landed, &locks->flight, &until);
        status = *find(locks, id) ? MEMO_INTERRUPTED : MEMO_OK;
    }
    if (status == MEMO_OK) {
        memo_flight *mine = malloc(sizeof *mine);
        if (mine) {
            *mine = (memo_flight){id, pthread_self(), store, locks->flights};
            locks->flights = mine;
        } else {
            status = MEMO_NOMEM;
        }
    }
    pthread_mutex_unlock(&locks->flight);
    return status;
}

static void leave(memo_locks *locks, int64_t id)
{
    pthread_mutex_lock(&locks->flight);
    memo_flight **at = find(locks, id), *mine = *at;
    if (mine)
        *at = mine->next;
    free(mine);
    pthread_cond_broadcast(&locks->landed);
    pthread_mutex_unlock(&locks->flight);
}

memo_status memo_store_begin(memo_store *store, const uint8_t *key)
{
    int64_t id = memo_id_of(key);
    memo_status status = enter(store, id);
    if (status != MEMO_OK || memo_lock_byte(store->locks, F_SETLKW, F_WRLCK, byte_of(id)) == 0)
        return status;
    status = errno == EINTR ? MEMO_INTERRUPTED : errno == EDEADLK ? MEMO_ABSENT : MEMO_ERROR;
    memo_set_message(NULL);
    leave(store->locks, id);
    return status;
}

void memo_store_end(memo_store *store, const uint8_t *key)
{
    int64_t id = memo_id_of(key);
    memo_lock_byte(store->locks, F_SETLK, F_UNLCK, byte_of(id));
    leave(store->locks, id);
}

void memo_free_flights(memo_store *store)
{
    memo_locks *locks = store->locks;
    pthread_mutex_lock(&locks->flight);
    for (memo_flight **at = &locks->flights; *at;) {
        memo_flight *flight = *at;
        if (flight->store != store) {
            at = &flight->next;
            continue;
        }
        *at = flight->next;
        memo_lock_byte(locks, F_SETLK, F_UNLCK, byte_of(flight->id));
        free(flight);
    }
    pthread_cond_broadcast(&locks->landed);
    pthread_mutex_unlock(&locks->flight);
}
