/*
 * fork.c - no connection of SQLite is open while the process forks.
 *
 * SQLite remembers in tables of the process which locks of a file it has. In a child these tables say
 * what the parent has, so a connection that the child opens would ask the kernel for none of them, and
 * the parent, or another, would take a file for unused and delete its log while the child writes to it.
 * So before a fork every store rests: its connections are closed and its locks taken, and nobody opens
 * or closes a store. Then the parent's stores connect again, and the child has none.
 *
 * Who salvages a file keeps 'all_lock' meanwhile, which is recursive: so it may open and close stores, and
 * no other thread does, or forks, while writers wait for it.
 *
 * Invariant: a connection is opened and closed with 'all_lock', and its store is in the list.
 */
#include "memo/internal.h"
#include <unistd.h>

static pthread_mutex_t all_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int salvage_depth; /* with 'all_lock' */
static memo_store *all;
static int are_resting;

void memo_lock_all(void)
{
    pthread_mutex_lock(&all_lock);
}

void memo_unlock_all(void)
{
    pthread_mutex_unlock(&all_lock);
}

memo_status memo_exclude_writers(const char *path, memo_locks **out)
{
    memo_lock_all();
    memo_status status = memo_locks_open(path, out);
    if (status != MEMO_OK) {
        memo_unlock_all();
        return status;
    }
    salvage_depth++;
    memo_lock_writers(*out);
    return MEMO_OK;
}

void memo_admit_writers(memo_locks *locks)
{
    if (locks->pid != getpid())
        return; /* a child of the thread that salvaged */
    memo_unlock_writers(locks);
    memo_locks_close(locks);
    salvage_depth--;
    memo_unlock_all();
}

void memo_list_add(memo_store *store)
{
    store->next = all;
    all = store;
}

void memo_list_remove(memo_store *store)
{
    memo_store **at = &all;
    while (*at && *at != store)
        at = &(*at)->next;
    if (*at)
        *at = store->next;
}

void memo_before_fork(void)
{
    memo_lock_all();
    if (salvage_depth > 0) { /* a signal's handler forks: writers wait for us */
        memo_unlock_all();
        return;
    }
    for (memo_store *store = all; store; store = store->next) {
        memo_take_turn(store);
        pthread_mutex_lock(&store->reading);
        memo_disconnect(store, 0);
    }
    are_resting = 1;
}

void memo_after_fork_in_parent(void)
{
    if (!are_resting)
        return;
    are_resting = 0;
    for (memo_store *store = all; store; store = store->next) {
        memo_connect(store); /* where that fails the store is without, and says so */
        pthread_mutex_unlock(&store->reading);
        memo_give_turn(store);
    }
    memo_unlock_all();
}

void memo_after_fork_in_child(void)
{
    are_resting = 0;
    all = NULL; /* each is abandoned when it is used next */
    memo_locks_forget_all();
    memo_forget_flights();
    salvage_depth = 0;
    all_lock = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}
