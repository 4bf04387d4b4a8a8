/*
 * memory.c - the shared memory of a new pool: the client's region, the bells, and what each worker may use.
 */
#include "runtime/pool/pool_internal.h"
#include "runtime/shm/spill.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WARM_MIN_NBYTES   ((size_t)32 << 20)
#define WARM_MAX_NBYTES   ((size_t)1 << 30)
#define WARM_MEMORY_SHARE 8 /* of the machine's memory, for all regions together */
#define WARM_LIMIT_SHARE  8 /* of the executor's memory limit, where that is low */

static size_t warm_limit(unsigned region_count, size_t memory_limit_nbytes)
{
    if (memory_limit_nbytes && memory_limit_nbytes / WARM_LIMIT_SHARE < WARM_MIN_NBYTES) {
        return memory_limit_nbytes / WARM_LIMIT_SHARE / region_count;
    }
    size_t memory_nbytes = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    size_t share = memory_nbytes / WARM_MEMORY_SHARE / region_count;
    if (share < WARM_MIN_NBYTES) {
        return WARM_MIN_NBYTES;
    }
    return share < WARM_MAX_NBYTES ? share : WARM_MAX_NBYTES;
}

/* The descriptors that a region is made of; what is open is closed. */
static int create_client_files(achar__pool *pool, int *memory_fd, int *spill_fd)
{
    int status = achar__region_create("achar-client", pool->region_nbytes, ACHAR__HEAP_SPAN_NBYTES,
                                      memory_fd);
    if (status == ACHAR_OK && pool->spill_path) {
        status = achar__spill_create(pool->spill_path, pool->region_nbytes, spill_fd);
    }
    return status;
}

static void close_files(int memory_fd, int spill_fd)
{
    int error = errno;
    if (memory_fd >= 0) {
        close(memory_fd);
    }
    if (spill_fd >= 0) {
        close(spill_fd);
    }
    errno = error;
}

/* The client's region at the pool's size, with its store, and the descriptors for the workers. */
static int make_client_region(achar__pool *pool)
{
    int memory_fd = -1, spill_fd = -1;
    int status = create_client_files(pool, &memory_fd, &spill_fd);
    if (status == ACHAR_OK) {
        status = achar__region_map_pair(memory_fd, spill_fd, true, &pool->client);
    }
    if (status == ACHAR_OK) {
        achar__region_mirror(&pool->client, memory_fd, spill_fd);
        status = achar__store_create(&pool->client, memory_fd, spill_fd, sizeof *pool->shared,
                                     pool->warm_limit_nbytes, &pool->store);
    }
    if (status == ACHAR_OK) {
        status = achar__region_reopen_readonly(memory_fd, &pool->client_fd);
    }
    if (status == ACHAR_OK && spill_fd >= 0) {
        status = achar__region_reopen_readonly(spill_fd, &pool->spill_fd);
    }
    close_files(memory_fd, spill_fd);
    return status;
}

/* Where the default does not fit into the address space, a smaller one. */
static int create_client_region(achar__pool *pool, size_t region_nbytes)
{
    /* Two parts and their mirrors for every process. */
    pool->region_nbytes = region_nbytes ? (region_nbytes + ACHAR__HEAP_SPAN_NBYTES - 1) &
                                              ~(ACHAR__HEAP_SPAN_NBYTES - 1)
                                        : achar__region_default_nbytes(4 * (pool->slot_count + 1));
    for (;;) {
        int status = make_client_region(pool);
        if (status != ACHAR_E_NOMEM || region_nbytes ||
            pool->region_nbytes <= ACHAR__REGION_MIN_NBYTES) {
            return status;
        }
        achar__store_destroy(pool->store);
        pool->store = NULL;
        achar__region_unmap(&pool->client);
        close_files(pool->client_fd, pool->spill_fd);
        pool->client_fd = pool->spill_fd = -1;
        pool->region_nbytes /= 2;
    }
}

/* Of a limit; 0, which is none, stays 0, and a tiny limit does not become that. */
static size_t share_of(size_t limit_nbytes, size_t share_count)
{
    return limit_nbytes && limit_nbytes < share_count ? 1 : limit_nbytes / share_count;
}

int achar__pool_create_memory(achar__pool *pool, const achar__pool_options *options)
{
    size_t capacity;
    pool->warm_limit_nbytes = warm_limit(pool->slot_count + 1, options->memory_limit_nbytes);
    int status = create_client_region(pool, options->region_nbytes);
    if (status != ACHAR_OK) {
        return status;
    }
    status = achar__region_create("achar-bells", ACHAR__HEAP_SPAN_NBYTES, ACHAR__HEAP_SPAN_NBYTES,
                                  &pool->bell_fd);
    if (status == ACHAR_OK) {
        status = achar__region_map(pool->bell_fd, true, &pool->bells_region);
    }
    if (status == ACHAR_OK) {
        status = achar__store_alloc(pool->store, options->hello_nbytes, &pool->hello, &capacity);
    }
    if (status != ACHAR_OK) {
        return status;
    }
    pool->shared = (achar__wire_client *)pool->client.base;
    atomic_store(&pool->shared->wants_usage, pool->journal != NULL);
    pool->bells = (achar__wire_bells *)pool->bells_region.base;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        void *down;
        status = achar__store_alloc(pool->store, sizeof *pool->slots[i].down, &down, &capacity);
        if (status != ACHAR_OK) {
            return status;
        }
        pool->slots[i].down = down;
    }
    pool->hello_nbytes = options->hello_nbytes;
    if (options->hello_nbytes) {
        memcpy(pool->hello, options->hello, options->hello_nbytes);
    }
    achar__store_limit(pool->store, share_of(options->memory_limit_nbytes, 2),
                       share_of(options->spill_limit_nbytes, 2));
    size_t worker_share = 2 * (size_t)pool->slot_count;
    pool->worker_memory_nbytes = share_of(options->memory_limit_nbytes, worker_share);
    pool->worker_spill_nbytes = share_of(options->spill_limit_nbytes, worker_share);
    return ACHAR_OK;
}
