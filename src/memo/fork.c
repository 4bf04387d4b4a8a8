/*
 * fork.c - no connection of SQLite is open while the process forks.
 *
 * SQLite remembers in tables of the process which locks of a file it has. In a child these tables say
 * what the parent has, so a connection that the child opens would ask the kernel for none of them, and
 * the parent, or another, would take a file for unused and delete its log while the child writes to it.
 * So before a fork every store rests: its connections are closed and its locks taken, and nobody opens
 * or closes a store. Then the parent's stores connect again, and the child has none.
 *
 * Invariant: a connection is opened and closed with 'all_lock', and its store is in the list.
 */
#include "memo/internal.h"

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
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
    pthread_mutex_init(&all_lock, NULL);
}
