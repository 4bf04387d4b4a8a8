/*
 * flight.c - who is computing what, in this process and in others.
 *
 * Between processes: a byte of the lock file for each key, locked while its result is computed. The
 * kernel lets go of it when the process dies and wakes one who waits. These are POSIX locks and not those
 * of an open file, since a child made by fork would keep the latter. Within the process such locks do not
 * exclude, so there is a list, too.
 *
 * The kernel looks for circles among processes, not among threads, and may find one where there is none;
 * then the caller computes without the lock, which costs time and nothing else.
 */
#include "memo/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct memo_flight {
    int64_t id;
    pthread_t thread;
    struct memo_flight *next;
} memo_flight;

enum { WRITERS_BYTE = 0, WAIT_MS = 200 };

static int lock_byte(memo_store *store, int command, short type, off_t at)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(store->lock_fd, command, &lock);
}

static off_t byte_of(int64_t id)
{
    return 1 + (off_t)((uint64_t)id >> 2);
}

void memo_lock_writers(memo_store *store)
{
    /* Where locks are not to be had SQLite's own keep writers apart. */
    while (lock_byte(store, F_SETLKW, F_WRLCK, WRITERS_BYTE) < 0 && errno == EINTR) {
    }
}

void memo_unlock_writers(memo_store *store)
{
    lock_byte(store, F_SETLK, F_UNLCK, WRITERS_BYTE);
}

static memo_flight **find(memo_store *store, int64_t id)
{
    memo_flight **at = &store->flights;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

/* Enters this thread as the one that computes. Waits no longer than WAIT_MS. */
static memo_status enter(memo_store *store, int64_t id)
{
    memo_status status = MEMO_OK;
    pthread_mutex_lock(&store->flight);
    memo_flight *other = *find(store, id);
    if (other && pthread_equal(other->thread, pthread_self())) {
        status = MEMO_ABSENT;
    } else if (other) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAIT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&store->landed, &store->flight, &until);
        status = *find(store, id) ? MEMO_INTERRUPTED : MEMO_OK;
    }
    if (status == MEMO_OK) {
        memo_flight *mine = malloc(sizeof *mine);
        if (mine) {
            *mine = (memo_flight){id, pthread_self(), store->flights};
            store->flights = mine;
        } else {
            status = MEMO_NOMEM;
        }
    }
    pthread_mutex_unlock(&store->flight);
    return status;
}

static void leave(memo_store *store, int64_t id)
{
    pthread_mutex_lock(&store->flight);
    memo_flight **at = find(store, id), *mine = *at;
    if (mine)
        *at = mine->next;
    free(mine);
    pthread_cond_broadcast(&store->landed);
    pthread_mutex_unlock(&store->flight);
}

memo_status memo_store_begin(memo_store *store, const uint8_t *key)
{
    int64_t id = memo_id_of(key);
    memo_status status = enter(store, id);
    if (status != MEMO_OK || lock_byte(store, F_SETLKW, F_WRLCK, byte_of(id)) == 0)
        return status;
    status = errno == EINTR ? MEMO_INTERRUPTED : errno == EDEADLK ? MEMO_ABSENT : MEMO_ERROR;
    memo_set_message(NULL);
    leave(store, id);
    return status;
}

void memo_store_end(memo_store *store, const uint8_t *key)
{
    int64_t id = memo_id_of(key);
    lock_byte(store, F_SETLK, F_UNLCK, byte_of(id));
    leave(store, id);
}

void memo_free_flights(memo_store *store)
{
    for (memo_flight *flight = store->flights, *next; flight; flight = next) {
        next = flight->next;
        free(flight);
    }
    store->flights = NULL;
}
