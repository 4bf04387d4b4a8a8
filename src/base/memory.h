/*
 * memory.h - all of the library's allocation goes through one 'memory': the caller's allocator, a
 * count of what is out, and a limit that is looked at before anything is asked for.
 */
#ifndef ACHAR_BASE_MEMORY_H
#define ACHAR_BASE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <achar/memory.h>

/* A first or greatest size. In a build with -Dhostile=true, for tests, it is tiny: all that happens
 * where a block, a chunk or a buffer ends then happens all the time. */
#ifdef ACHAR_HOSTILE
#define SIZE_OR_TINY(usual, tiny) (tiny)
#else
#define SIZE_OR_TINY(usual, tiny) (usual)
#endif

/* Is there anything to write to? */
static inline bool achar__sink_exists(const achar_sink *sink)
{
    return sink != NULL && sink->write != NULL;
}

typedef struct memory {
    achar_allocator allocator;
    uint64_t used_nbytes;
    uint64_t limit_nbytes; /* 0: none */
    bool limited;          /* the last failure was the limit's, not the allocator's */
} memory;

/* NULL 'allocator': malloc and free. */
void achar__memory_init(memory *mem, const achar_allocator *allocator, uint64_t limit_nbytes);

/* 'nbytes' above 0. NULL on failure. */
void *achar__memory_take(memory *mem, size_t nbytes);

/* 'block' may be NULL with 'old_nbytes' 0. NULL on failure, with 'block' unchanged. */
void *achar__memory_resize(memory *mem, void *block, size_t old_nbytes, size_t new_nbytes);

void achar__memory_give_block(memory *mem, void *block, size_t nbytes);

/* 'block' may be NULL. */
static inline void achar__memory_give(memory *mem, void *block, size_t nbytes)
{
    if (block != NULL)
        achar__memory_give_block(mem, block, nbytes);
}

/* ACHAR_E_LIMIT or ACHAR_E_NOMEM, whichever the last failure was. */
int achar__memory_status(const memory *mem);

#endif
