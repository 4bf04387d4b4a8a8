/*
 * arena.h - memory that is handed out piece by piece and given back all at once.
 *
 *     chunk ┌────────┬──────────────────────┬─────────────┐
 *           │ header │ pieces, back to back │    free     │   cursor → free, limit → its end
 *           └───│────┴──────────────────────┴─────────────┘
 *               ▼ the chunk before
 *
 * Chunks double, so the memory taken stays within a constant factor of the memory asked for; a piece
 * larger than a chunk gets a chunk of its own. Doubling without end also suits glibc: it keeps freed
 * memory up to twice the largest block it has seen, so the next graph of that size finds memory that
 * is mapped already. Whoever can tell how much is still to come says so, and the last chunk is not
 * twice what is needed. Before the first chunk pieces come from storage that the owner may have given.
 *
 * Large arrays that grow ("blocks") live outside the chunks, in a list, where the allocator can
 * resize them in place.
 */
#ifndef ACHAR_BASE_ARENA_H
#define ACHAR_BASE_ARENA_H

#include "base/memory.h"

typedef struct arena_chunk arena_chunk;

/* The header in front of a block's contents; 32 bytes, so that these stay aligned to 16. */
typedef struct arena_block {
    struct arena_block *next;
    struct arena_block **link; /* what points at this block */
    size_t capacity_nbytes;    /* without this header */
    size_t unused;
} arena_block;

typedef struct arena {
    memory *mem;
    char *cursor;
    char *limit;
    arena_chunk *chunks;
    arena_block *blocks;
    size_t chunks_nbytes;     /* of all chunks */
    size_t next_chunk_nbytes; /* if nobody knows better */
    size_t expected_nbytes;   /* what all later chunks together should hold; 0: not known */
    double ahead;             /* how much is still to come, as a multiple of what there is */
} arena;

/* 'mem' must outlive the arena. 'storage', aligned to 8 and the caller's, is used up first; NULL
 * with 0 bytes for none. Cannot fail: nothing is allocated yet. */
void achar__arena_init(arena *a, memory *mem, void *storage, size_t storage_nbytes);

/* What was handed out so far is 'done' parts of all that will be; 'left' parts are still to come.
 * Only a guess: it sizes the next chunk, and what grows. */
void achar__arena_expect(arena *a, uint64_t done, uint64_t left);

/* The size for an array of 'count' elements that has to grow: at least an eighth more, at most four
 * times as many, and what is expected if that lies between. */
size_t achar__arena_growth(const arena *a, size_t count);

/* Gives everything back. What is left is no arena. */
void achar__arena_free(arena *a);

void *achar__arena_take_slow(arena *a, size_t nbytes);

/* 'nbytes' rounded up to 8, aligned to 8. NULL on failure: see achar__memory_status(). */
static inline void *achar__arena_take(arena *a, size_t nbytes)
{
    size_t rounded = (nbytes + 7) & ~(size_t)7;
    if (__builtin_expect((size_t)(a->limit - a->cursor) < rounded || rounded < nbytes, 0))
        return achar__arena_take_slow(a, nbytes);
    void *piece = a->cursor;
    a->cursor += rounded;
    return piece;
}

/* Makes the piece that was taken last larger where it is; false if it is not the last or there is
 * no room. Sizes are multiples of 8. */
static inline bool achar__arena_extend(arena *a, void *piece, size_t old_nbytes, size_t new_nbytes)
{
    if (a->cursor != (char *)piece + old_nbytes ||
        (size_t)(a->limit - a->cursor) < new_nbytes - old_nbytes)
        return false;
    a->cursor += new_nbytes - old_nbytes;
    return true;
}

/* A block of its own, or 'contents' (NULL: none yet) resized. NULL on failure, with 'contents'
 * still valid. */
void *achar__arena_block_resize(arena *a, void *contents, size_t nbytes);

static inline size_t achar__arena_block_capacity(const void *contents)
{
    return ((const arena_block *)contents - 1)->capacity_nbytes;
}

#endif
