/*
 * pins.c - blocks of the client's region that a worker still looks at after its task.
 *
 * While a task runs, it holds its inputs, and nothing of them is freed. What it keeps of an input beyond
 * its end (an array that is a view of shared memory) the worker writes down before it publishes the
 * completion: up.pins, a word for each block, which it alone writes. The client reads these words when
 * it is about to free a block; a block that is pinned is put aside and looked at again as workers
 * complete tasks, say that they have let go of something, or die. The pins of a dead worker are gone with it.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>

typedef struct achar__pinned {
    void *block;
    struct achar__pinned *next;
} achar__pinned;

static bool is_pinned(const achar__pool *pool, const void *block)
{
    uint64_t word = 1 + (uint64_t)((const unsigned char *)block - pool->client.base);
    for (unsigned i = 0; i < pool->slot_count; i++) {
        const achar__wire_up *up = pool->slots[i].up;
        for (size_t k = 0; up && k < ACHAR__PIN_COUNT; k++) {
            if (atomic_load_explicit(&up->pins[k], memory_order_acquire) == word) {
                return true;
            }
        }
    }
    return false;
}

void achar__pins_free_locked(achar__pool *pool, void *block)
{
    if (is_pinned(pool, block)) {
        achar__pinned *pinned = malloc(sizeof *pinned);
        if (pinned) { /* else the block is there for as long as the pool */
            *pinned = (achar__pinned){.block = block, .next = pool->pinned};
            pool->pinned = pinned;
        }
        return;
    }
    achar__store_free(pool->store, block);
    if (achar__store_has_excess(pool->store) && !pool->tender_kicked && !pool->stopped) {
        achar__pool_kick_locked(pool); /* it punches without the lock */
    }
}

void achar__pins_sweep_locked(achar__pool *pool)
{
    achar__pinned *all = pool->pinned;
    pool->pinned = NULL;
    bool some = false;
    while (all) {
        achar__pinned *next = all->next;
        if (is_pinned(pool, all->block)) {
            all->next = pool->pinned;
            pool->pinned = all;
        } else {
            some = true;
            achar__pins_free_locked(pool, all->block);
            free(all);
        }
        all = next;
    }
    if (some) {
        achar__room_tell_locked(pool);
    }
}

void achar__pins_destroy(achar__pool *pool)
{
    while (pool->pinned) {
        achar__pinned *next = pool->pinned->next;
        free(pool->pinned);
        pool->pinned = next;
    }
}
