/* store.c - two heaps in one region; a block's address says whose it is. */
#include "runtime/shm/store.h"

#include <achar/status.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct achar__store {
    achar__region memory, spill; /* parts of the caller's region */
    achar__heap *heap;
    achar__heap *spill_heap; /* NULL: there is no file */
};

int achar__store_create(achar__region *region, int memory_fd, int spill_fd, size_t reserved_nbytes,
                        size_t warm_nbytes, achar__store **out)
{
    struct stat about;
    int status = ACHAR_E_NOMEM;
    achar__store *store = calloc(1, sizeof *store);
    if (!store) {
        return ACHAR_E_NOMEM;
    }
    store->memory = store->spill = ACHAR__REGION_CLOSED;
    if (fstat(memory_fd, &about) != 0) {
        status = ACHAR_E_IO;
        goto fail;
    }
    size_t memory_nbytes = (size_t)about.st_size;
    if ((status = achar__region_part(region, 0, memory_nbytes, memory_fd, &store->memory)) ||
        (status = achar__heap_create(&store->memory, reserved_nbytes, warm_nbytes, &store->heap))) {
        goto fail;
    }
    if (spill_fd >= 0 &&
        ((status = achar__region_part(region, memory_nbytes, region->nbytes - memory_nbytes,
                                      spill_fd, &store->spill)) ||
         (status = achar__heap_create(&store->spill, 0, 0, &store->spill_heap)))) {
        goto fail;
    }
    *out = store;
    return ACHAR_OK;
fail:;
    int error = errno;
    achar__store_destroy(store);
    errno = error;
    return status;
}

static void limit(achar__heap *heap, size_t nbytes)
{
    size_t used_nbytes = achar__heap_usage_of(heap).used_nbytes;
    bool is_limited = nbytes && nbytes < SIZE_MAX - used_nbytes;
    achar__heap_set_limit(heap, is_limited ? used_nbytes + nbytes : SIZE_MAX);
}

void achar__store_limit(achar__store *store, size_t memory_nbytes, size_t spill_nbytes)
{
    limit(store->heap, memory_nbytes);
    if (store->spill_heap) {
        limit(store->spill_heap, spill_nbytes);
    }
}

void achar__store_destroy(achar__store *store)
{
    if (!store) {
        return;
    }
    achar__heap_destroy(store->heap);
    achar__heap_destroy(store->spill_heap);
    achar__region_close_part(&store->memory);
    achar__region_close_part(&store->spill);
    free(store);
}

static achar__heap *heap_of(const achar__store *store, const void *block)
{
    return store->spill_heap && (const unsigned char *)block >= store->spill.base
               ? store->spill_heap
               : store->heap;
}

int achar__store_alloc(achar__store *store, size_t nbytes, void **block, size_t *capacity)
{
    int status = achar__heap_alloc(store->heap, nbytes, block, capacity);
    if (status != ACHAR_OK && store->spill_heap) {
        status = achar__heap_alloc(store->spill_heap, nbytes, block, capacity);
    }
    return status;
}

int achar__store_grow(achar__store *store, void **block, size_t *capacity, size_t used,
                      size_t nbytes)
{
    achar__heap *heap = heap_of(store, *block);
    int status = achar__heap_grow(heap, block, capacity, used, nbytes);
    if (status == ACHAR_OK || !store->spill_heap || heap == store->spill_heap) {
        return status;
    }
    void *larger;
    size_t larger_capacity;
    status = achar__heap_alloc(store->spill_heap, nbytes, &larger, &larger_capacity);
    if (status == ACHAR_OK) {
        memcpy(larger, *block, used);
        achar__heap_free(heap, *block);
        *block = larger;
        *capacity = larger_capacity;
    }
    return status;
}

bool achar__store_may_fit(const achar__store *store, size_t nbytes, size_t freed_nbytes)
{
    return achar__heap_may_fit(store->heap, nbytes, freed_nbytes) ||
           (store->spill_heap && achar__heap_may_fit(store->spill_heap, nbytes, freed_nbytes));
}

bool achar__store_is_half_full(const achar__store *store)
{
    return achar__heap_is_half_full(store->heap);
}

void achar__store_trim(achar__store *store, void **block, size_t *capacity, size_t used)
{
    achar__heap_trim(heap_of(store, *block), block, capacity, used);
}

bool achar__store_free(achar__store *store, void *block)
{
    return achar__heap_free(heap_of(store, block), block);
}

bool achar__store_has_excess(const achar__store *store)
{
    return achar__heap_has_excess(store->heap) ||
           (store->spill_heap && achar__heap_has_excess(store->spill_heap));
}

void achar__store_purge(achar__store *store)
{
    achar__heap_purge(store->heap);
    if (store->spill_heap) {
        achar__heap_purge(store->spill_heap);
    }
}

achar__store_usage achar__store_usage_of(achar__store *store)
{
    achar__store_usage usage = {.memory_nbytes = achar__heap_usage_of(store->heap).used_nbytes};
    if (store->spill_heap) {
        usage.spill_nbytes = achar__heap_usage_of(store->spill_heap).used_nbytes;
    }
    return usage;
}
