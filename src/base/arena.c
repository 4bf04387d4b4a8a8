/* arena.c - chunks and blocks; arena.h has the picture. */
#include "base/arena.h"

struct arena_chunk {
    arena_chunk *previous;
    size_t nbytes; /* with this header */
};

enum {
    CHUNK_FIRST_NBYTES = SIZE_OR_TINY(4 << 10, 64),
    CHUNK_LEAST_NBYTES = SIZE_OR_TINY(16 << 10, 64), /* of those that were expected */
    CHUNK_MAX_NBYTES = SIZE_OR_TINY(32 << 20, 64),
    EXPECT_MOST = 32, /* times as much as there is */
};
#define EXPECT_SLACK 1.03

void achar__arena_init(arena *a, memory *mem, void *storage, size_t storage_nbytes)
{
    *a = (arena){.mem = mem,
                 .cursor = storage,
                 .limit = storage == NULL ? NULL : (char *)storage + storage_nbytes,
                 .next_chunk_nbytes = CHUNK_FIRST_NBYTES};
}

void achar__arena_expect(arena *a, uint64_t done, uint64_t left)
{
    if (done == 0)
        return;
    a->ahead = EXPECT_SLACK * (double)left / (double)done;
    if (a->chunks == NULL)
        return;
    double free_nbytes = (double)(a->limit - a->cursor);
    double used_nbytes = (double)a->chunks_nbytes - free_nbytes;
    double ahead = a->ahead > EXPECT_MOST ? EXPECT_MOST : a->ahead;
    double more_nbytes = used_nbytes * ahead - free_nbytes;
    a->expected_nbytes = more_nbytes < CHUNK_LEAST_NBYTES ? CHUNK_LEAST_NBYTES
                         : more_nbytes > CHUNK_MAX_NBYTES ? CHUNK_MAX_NBYTES
                                                          : (size_t)more_nbytes;
}

size_t achar__arena_growth(const arena *a, size_t count)
{
    double more = a->ahead > 3 ? 3 : a->ahead < 0.125 ? 0.125 : a->ahead;
    return count + (size_t)((double)count * more) + 1;
}

void achar__arena_free(arena *a)
{
    while (a->chunks != NULL) {
        arena_chunk *chunk = a->chunks;
        a->chunks = chunk->previous;
        achar__memory_give(a->mem, chunk, chunk->nbytes);
    }
    while (a->blocks != NULL) {
        arena_block *block = a->blocks;
        a->blocks = block->next;
        achar__memory_give(a->mem, block, sizeof *block + block->capacity_nbytes);
    }
}

void *achar__arena_take_slow(arena *a, size_t nbytes)
{
    size_t rounded = (nbytes + 7) & ~(size_t)7;
    if (nbytes > PTRDIFF_MAX - sizeof(arena_chunk) - 8) {
        a->mem->limited = false;
        return NULL;
    }
    size_t needed = sizeof(arena_chunk) + rounded;
    size_t regular = a->expected_nbytes != 0 ? a->expected_nbytes : a->next_chunk_nbytes;
    /* A piece that would eat most of a chunk goes beside the current one, whose rest stays in
     * use. */
    bool alone = needed > regular / 4 && a->chunks != NULL;
    size_t chunk_nbytes = alone || needed > regular ? needed : regular;
    arena_chunk *chunk = achar__memory_take(a->mem, chunk_nbytes);
    if (chunk == NULL && chunk_nbytes > needed) { /* under a limit, the least may still do */
        chunk_nbytes = needed;
        chunk = achar__memory_take(a->mem, chunk_nbytes);
    }
    if (chunk == NULL)
        return NULL;
    chunk->nbytes = chunk_nbytes;
    a->chunks_nbytes += chunk_nbytes;
    if (alone) {
        chunk->previous = a->chunks->previous;
        a->chunks->previous = chunk;
        return chunk + 1;
    }
    chunk->previous = a->chunks;
    a->chunks = chunk;
    a->cursor = (char *)(chunk + 1) + rounded;
    a->limit = (char *)chunk + chunk_nbytes;
    if (a->next_chunk_nbytes < CHUNK_MAX_NBYTES)
        a->next_chunk_nbytes *= 2;
    return chunk + 1;
}

void *achar__arena_block_resize(arena *a, void *contents, size_t nbytes)
{
    if (nbytes > PTRDIFF_MAX - sizeof(arena_block)) {
        a->mem->limited = false;
        return NULL;
    }
    arena_block *old = contents == NULL ? NULL : (arena_block *)contents - 1;
    size_t old_nbytes = old == NULL ? 0 : sizeof *old + old->capacity_nbytes;
    arena_block *block = achar__memory_resize(a->mem, old, old_nbytes, sizeof *block + nbytes);
    if (block == NULL)
        return NULL;
    if (old == NULL) {
        block->link = &a->blocks;
        block->next = a->blocks;
    }
    *block->link = block;
    if (block->next != NULL)
        block->next->link = &block->next;
    block->capacity_nbytes = nbytes;
    return block + 1;
}
