/*
 * heap.h - blocks inside a region. Only the region's writer has the heap, and all its books are in
 * that process's private memory: nothing that another process could corrupt, nothing to repair
 * after a death.
 *
 * Blocks are aligned to 64 bytes and stand on committed pages. All functions may be called from any
 * thread at once.
 */
#ifndef ACHAR_RUNTIME_HEAP_H
#define ACHAR_RUNTIME_HEAP_H

#include "runtime/shm/region.h"

#include <stdint.h>

#define ACHAR__HEAP_ALIGNMENT ((size_t)64)
/* The first bytes of the region are left to the caller; a multiple of this. */
#define ACHAR__HEAP_SPAN_NBYTES ((size_t)65536)

typedef struct achar__heap achar__heap;

/*
 * 'region' stays the caller's and must outlive the heap. 'reserved_nbytes' at its start are not the
 * heap's. Free memory stays committed ("warm": fresh pages cost 25 times a memcpy) up to
 * 'warm_limit_nbytes'; what is beyond is for achar__heap_purge(). ACHAR_E_NOMEM; ACHAR_E_INVALID.
 */
int achar__heap_create(achar__region *region, size_t reserved_nbytes, size_t warm_limit_nbytes,
                       achar__heap **out);
/* From now on there is at most so much in blocks; achar__heap_alloc() says ACHAR_E_LIMIT beyond that. */
void achar__heap_set_limit(achar__heap *heap, size_t used_nbytes);
/* Whether a block of 'nbytes' would be within the limit if up to 'freed_nbytes' of what is used were free. */
bool achar__heap_may_fit(achar__heap *heap, size_t nbytes, size_t freed_nbytes);
/* Whether more than half of what the limit leaves is in blocks; without a limit never. */
bool achar__heap_is_half_full(achar__heap *heap);
/* Frees the books; the region stays as it is. NULL does nothing. */
void achar__heap_destroy(achar__heap *heap);

/*
 * A block of at least 'nbytes' (0 is served as 1). '*capacity' is what it really has.
 * ACHAR_E_LIMIT: the region's address space is full, or the limit is reached. ACHAR_E_NOMEM: the machine has no more pages.
 */
int achar__heap_alloc(achar__heap *heap, size_t nbytes, void **block, size_t *capacity);
/* At least 'nbytes', keeping the first 'used' bytes; the block may move. On error it is as it was. */
int achar__heap_grow(achar__heap *heap, void **block, size_t *capacity, size_t used, size_t nbytes);
/* Gives back what the first 'used' bytes do not need, where that is worth it; the block may move. */
void achar__heap_trim(achar__heap *heap, void **block, size_t *capacity, size_t used);
/* NULL does nothing. False: that is no block of this heap, and nothing was done. */
bool achar__heap_free(achar__heap *heap, void *block);

/* Whether more is free and committed than the limit allows. One load. */
bool achar__heap_has_excess(const achar__heap *heap);
/* Punches out until half of the limit is left. Slow (system calls), so not for under a lock. */
void achar__heap_purge(achar__heap *heap);

typedef struct achar__heap_usage {
    size_t used_nbytes; /* in blocks, with what rounding adds */
    size_t warm_nbytes; /* committed, in runs that are free */
} achar__heap_usage;
achar__heap_usage achar__heap_usage_of(achar__heap *heap);

#endif
