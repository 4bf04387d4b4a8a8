/*
 * mapping.c - a worker's region in the client's address space.
 *
 * It is referred to by the slot of the living worker and by every task whose result lies in it, so
 * results outlive their worker and the pool. Unmapping takes long when much was read, so it happens
 * without the pool's lock: the last reference puts the mapping aside, the next sweep unmaps it.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>

void achar__mapping_unref_locked(achar__pool *pool, achar__mapping *mapping)
{
    if (--mapping->ref_count == 0) {
        mapping->next = pool->dead_mappings;
        pool->dead_mappings = mapping;
    }
}

void achar__mapping_settle_locked(achar__pool *pool, achar__mapping *mapping)
{
    mapping->slot = NULL;
    achar__region_shorten(&mapping->region, mapping->results_end);
    achar__mapping_unref_locked(pool, mapping);
}

void achar__mappings_sweep(achar__pool *pool)
{
    if (!atomic_load(&pool->dead_mappings)) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    achar__mapping *mapping = pool->dead_mappings;
    pool->dead_mappings = NULL;
    pthread_mutex_unlock(&pool->lock);
    while (mapping) {
        achar__mapping *next = mapping->next;
        achar__region_unmap(&mapping->region);
        free(mapping);
        mapping = next;
    }
}
