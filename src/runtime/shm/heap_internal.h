/*
 * heap_internal.h - the heap's books, shared by heap.c (blocks) and runs.c (runs of spans).
 */
#ifndef ACHAR_RUNTIME_HEAP_INTERNAL_H
#define ACHAR_RUNTIME_HEAP_INTERNAL_H

#include "runtime/shm/heap.h"

#include <pthread.h>
#include <stdatomic.h>

#define SPAN_SHIFT        16
#define NO_SPAN           UINT32_MAX
#define CLASS_COUNT       32
#define BIN_COUNT         256
#define SLOTS_MAX         (ACHAR__HEAP_SPAN_NBYTES / ACHAR__HEAP_ALIGNMENT)
#define BITMAP_WORD_COUNT (SLOTS_MAX / 64)

_Static_assert(ACHAR__HEAP_SPAN_NBYTES == (size_t)1 << SPAN_SHIFT, "one span size");

typedef struct slab {
    struct slab *prev, *next; /* among the slabs of its class that have free slots */
    uint32_t span;
    uint16_t free_count, slot_count;
    uint64_t free_slots[BITMAP_WORD_COUNT];
} slab;

enum span_kind { SPAN_NONE = 0, SPAN_FREE, SPAN_LARGE, SPAN_SLAB };

typedef struct span {
    uint32_t length;     /* of the run; right in its first and last span */
    uint32_t warm_count; /* committed spans of a free run; right in its first span */
    uint32_t prev, next; /* in the bin of a free run */
    slab *slab;
    uint8_t kind;
    uint8_t size_class;
    uint8_t committed;
} span;

struct achar__heap {
    pthread_mutex_t lock;
    achar__region *region;
    size_t warm_limit_nbytes;
    size_t used_nbytes;
    size_t limit_nbytes;            /* of used_nbytes */
    size_t base_nbytes;             /* used_nbytes when the limit was set */
    _Atomic size_t warm_span_count; /* in free runs */
    bool purging;
    span *spans; /* private, sparse: one per span of the region */
    uint32_t first_span, span_count;
    uint32_t untouched_span; /* from here on no span was ever taken, so none is committed */
    uint64_t bin_bitmap[BIN_COUNT / 64];
    uint32_t bins[BIN_COUNT];
    slab *partial[CLASS_COUNT]; /* slabs with free slots */
    slab *empty[CLASS_COUNT];   /* at most one per class is kept when all its slots are free */
};

static inline size_t span_offset(uint32_t index)
{
    return (size_t)index << SPAN_SHIFT;
}

/* ---- runs.c; all are called with the lock, except achar__run_commit() ---- */

/* The whole region becomes one free run. */
void achar__runs_init(achar__heap *heap);
/*
 * The smallest free run that has 'length' spans; NO_SPAN: there is none. May give the lock up in
 * between.
 */
uint32_t achar__runs_find(achar__heap *heap, uint32_t length);
/* Takes 'length' spans from the start of the free run at 'first'. */
void achar__run_take(achar__heap *heap, uint32_t first, uint32_t length, enum span_kind kind);
/* Gives a run back; it merges with its free neighbours. */
void achar__run_release(achar__heap *heap, uint32_t first, uint32_t length);
/* Writes the kind and length of a run that the caller holds. */
void achar__run_mark(achar__heap *heap, uint32_t first, uint32_t length, enum span_kind kind);
/* Commits what is not committed of a run that the caller holds. */
int achar__run_commit(achar__heap *heap, uint32_t first, uint32_t length);

#endif
