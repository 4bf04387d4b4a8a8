/*
 * function.c - handles for functions: the same bytes and flags are one handle, stored once in the
 * client's region under an id that is never reused, so a worker may cache by id what it made of
 * them.
 *
 * A table by hash finds them; bytes are always compared, so the hash needs only be fast and hard to
 * guess (it is seeded per pool). Handles that nobody refers to stay for the next submit, up to a
 * limit; the least recently used go first.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>
#include <string.h>

#define UNUSED_MAX_COUNT   1024
#define UNUSED_MAX_NBYTES  ((size_t)64 << 20)
#define FIRST_BUCKET_COUNT 64

/* Multiply and fold, 16 bytes at a time. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_bytes(const void *bytes, size_t nbytes, uint64_t seed)
{
    const unsigned char *at = bytes;
    uint64_t hash = seed ^ nbytes;
    uint64_t pair[2];
    for (; nbytes >= sizeof pair; nbytes -= sizeof pair, at += sizeof pair) {
        memcpy(pair, at, sizeof pair);
        hash = mix(pair[0] ^ UINT64_C(0xa0761d6478bd642f), pair[1] ^ hash);
    }
    pair[0] = pair[1] = 0;
    if (nbytes) {
        memcpy(pair, at, nbytes);
    }
    hash = mix(pair[0] ^ UINT64_C(0xe7037ed1a0b428db), pair[1] ^ hash);
    return mix(hash, UINT64_C(0x8ebc6af09c88c6e3));
}

/* ---- the unreferenced ---- */

static void unused_append(achar__pool *pool, achar__function *function)
{
    function->prev = pool->unused_tail;
    function->next = NULL;
    if (pool->unused_tail) {
        pool->unused_tail->next = function;
    } else {
        pool->unused_head = function;
    }
    pool->unused_tail = function;
    pool->unused_count++;
    pool->unused_nbytes += function->nbytes;
}

static void unused_remove(achar__pool *pool, achar__function *function)
{
    if (function->prev) {
        function->prev->next = function->next;
    } else {
        pool->unused_head = function->next;
    }
    if (function->next) {
        function->next->prev = function->prev;
    } else {
        pool->unused_tail = function->prev;
    }
    function->prev = function->next = NULL;
    pool->unused_count--;
    pool->unused_nbytes -= function->nbytes;
}

/* ---- the table ---- */

static achar__function **bucket_of(achar__pool *pool, uint64_t hash)
{
    return &pool->buckets[hash & (pool->bucket_count - 1)];
}

static achar__function *find(achar__pool *pool, uint64_t hash, const void *bytes, size_t nbytes,
                             uint32_t flags)
{
    if (!pool->bucket_count) {
        return NULL;
    }
    achar__function *function = *bucket_of(pool, hash);
    while (function &&
           (function->hash != hash || function->nbytes != nbytes || function->flags != flags ||
            (nbytes && memcmp(function->bytes, bytes, nbytes) != 0))) {
        function = function->chain_next;
    }
    return function;
}

static int grow_table(achar__pool *pool)
{
    size_t count = pool->bucket_count ? pool->bucket_count * 2 : FIRST_BUCKET_COUNT;
    achar__function **buckets = calloc(count, sizeof *buckets);
    if (!buckets) {
        return pool->bucket_count ? ACHAR_OK : ACHAR_E_NOMEM; /* longer chains will do */
    }
    for (size_t i = 0; i < pool->bucket_count; i++) {
        while (pool->buckets[i]) {
            achar__function *function = pool->buckets[i];
            achar__function **bucket = &buckets[function->hash & (count - 1)];
            pool->buckets[i] = function->chain_next;
            function->chain_next = *bucket;
            *bucket = function;
        }
    }
    free(pool->buckets);
    pool->buckets = buckets;
    pool->bucket_count = count;
    return ACHAR_OK;
}

static void table_remove(achar__pool *pool, achar__function *function)
{
    achar__function **link = bucket_of(pool, function->hash);
    while (*link != function) {
        link = &(*link)->chain_next;
    }
    *link = function->chain_next;
    pool->function_count--;
}

/* Never the pool's last reference: a caller has one. */
static void destroy_locked(achar__function *function)
{
    achar__pool *pool = function->pool;
    if (!pool->released) {
        unused_remove(pool, function);
        table_remove(pool, function);
        pool->function_nbytes -= achar__block_cost(function->nbytes);
        achar__store_free(pool->store, function->bytes);
    }
    free(function);
    achar__pool_unref(pool);
}

static void evict_locked(achar__pool *pool)
{
    while (pool->unused_count > UNUSED_MAX_COUNT || pool->unused_nbytes > UNUSED_MAX_NBYTES) {
        destroy_locked(pool->unused_head);
    }
}

bool achar__functions_make_room(achar__pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t wanted_nbytes = pool->unused_nbytes / 2;
    bool some = pool->unused_head != NULL;
    while (pool->unused_head && pool->unused_nbytes >= wanted_nbytes) {
        destroy_locked(pool->unused_head);
    }
    pthread_mutex_unlock(&pool->lock);
    return some;
}

void achar__function_retain_locked(achar__function *function)
{
    if (function->ref_count++ == 0) {
        unused_remove(function->pool, function);
    }
}

void achar__function_unref_locked(achar__function *function)
{
    achar__pool *pool = function->pool;
    if (--function->ref_count == 0) {
        if (pool->released) {
            destroy_locked(function);
            return;
        }
        unused_append(pool, function);
        evict_locked(pool);
    }
}

void achar__functions_destroy(achar__pool *pool)
{
    /* Those that the user still holds stay until they are released. */
    while (pool->unused_head) {
        destroy_locked(pool->unused_head);
    }
    free(pool->buckets);
    pool->buckets = NULL;
    pool->bucket_count = 0;
}

/* ---- the interface ---- */

static int create(achar__pool *pool, uint64_t hash, const void *bytes, size_t nbytes,
                  uint32_t flags, achar__function **out)
{
    size_t capacity;
    achar__function *function = calloc(1, sizeof *function);
    if (!function) {
        return ACHAR_E_NOMEM;
    }
    int status;
    while ((status = achar__store_alloc(pool->store, nbytes, &function->bytes, &capacity)) !=
               ACHAR_OK &&
           achar__functions_make_room(pool)) {
    }
    if (status != ACHAR_OK) {
        free(function);
        return status;
    }
    if (nbytes) {
        memcpy(function->bytes, bytes, nbytes);
    }
    function->pool = pool;
    function->hash = hash;
    function->nbytes = nbytes;
    function->flags = flags;
    function->ref_count = 1;
    *out = function;
    return ACHAR_OK;
}

int achar__pool_function(achar__pool *pool, const void *bytes, size_t nbytes, uint32_t flags,
                         achar__function **out)
{
    if (!achar__fork_guard_holds(&pool->guard) || pool->closed) {
        return ACHAR_E_CLOSED;
    }
    uint64_t hash = hash_bytes(bytes, nbytes, pool->hash_seed ^ flags);

    pthread_mutex_lock(&pool->lock);
    achar__function *function = find(pool, hash, bytes, nbytes, flags);
    if (function) {
        achar__function_retain_locked(function);
        pthread_mutex_unlock(&pool->lock);
        *out = function;
        return ACHAR_OK;
    }
    pthread_mutex_unlock(&pool->lock);

    int status = create(pool, hash, bytes, nbytes, flags, &function);
    if (status != ACHAR_OK) {
        return status;
    }
    pthread_mutex_lock(&pool->lock);
    achar__function *other = find(pool, hash, bytes, nbytes, flags);
    if (other) { /* another thread was faster */
        achar__function_retain_locked(other);
    } else if (pool->function_count >= pool->bucket_count) {
        status = grow_table(pool);
    }
    if (other || status != ACHAR_OK) {
        pthread_mutex_unlock(&pool->lock);
        achar__store_free(pool->store, function->bytes);
        free(function);
        *out = other;
        return status;
    }
    function->id = ++pool->next_function_id;
    function->chain_next = *bucket_of(pool, hash);
    *bucket_of(pool, hash) = function;
    pool->function_count++;
    pool->function_nbytes += achar__block_cost(nbytes);
    atomic_fetch_add(&pool->ref_count, 1);
    pthread_mutex_unlock(&pool->lock);
    *out = function;
    return ACHAR_OK;
}

void achar__function_release(achar__function *function)
{
    if (!function || !achar__fork_guard_holds(&function->pool->guard)) {
        return;
    }
    achar__pool *pool = function->pool;
    atomic_fetch_add(&pool->ref_count, 1); /* so that the lock outlives the function */
    pthread_mutex_lock(&pool->lock);
    achar__function_unref_locked(function);
    pthread_mutex_unlock(&pool->lock);
    achar__pool_unref(pool);
}

void achar__function_set_name(achar__function *function, const char *name, size_t nbytes)
{
    achar__pool *pool = function->pool;
    if (!achar__fork_guard_holds(&pool->guard)) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    if (pool->journal && !function->name) {
        function->name = achar__journal_name(pool->journal, name, nbytes);
    }
    pthread_mutex_unlock(&pool->lock);
}
