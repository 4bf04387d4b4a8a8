/*
 * heap.c - spans of 64 KiB; runs of spans for large blocks, slabs of equal slots for small ones.
 *
 *    region   | reserved | slab | run of 3 spans    | free run ...                           |
 *    spans[]  |          |  S   |  L    .     L     |  F  .  .  .  .  .  .  .  .  .       F  |
 *
 * The first and the last span of every run know its kind and length, so a freed run finds its
 * neighbours and merges with them in O(1). Free runs hang in bins by length (8 bins per doubling, a
 * bitmap tells which are not empty), so that the smallest that fits is found without a search; at
 * first the whole region is one free run, and since smaller runs are taken first, fresh address
 * space is what is taken last. A slab is one span cut into slots of one size class (4 classes per
 * doubling, so at most 1/5 is lost), with a bitmap of the free ones.
 *
 * Which spans are committed is a flag per span that belongs to whoever holds the run. So the slow
 * system calls, committing and punching, happen outside of the lock, on a run that is nobody else's.
 */
#include "runtime/shm/heap.h"

#include <achar/status.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SPAN_SHIFT        16
#define NO_SPAN           UINT32_MAX
#define SMALL_MAX_NBYTES  ((size_t)32768)
#define CLASS_COUNT       32
#define EXACT_BINS        16
#define BIN_COUNT         256
#define BIN_SEARCH_COUNT  16   /* runs of a block's own bin that are looked at first */
#define TRIM_COPY_NBYTES  8192 /* what trimming may copy to get rid of slack */
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

/* ---- size classes ---- */

static unsigned class_of(size_t nbytes)
{
    if (nbytes <= 512) {
        return nbytes == 0 ? 0 : (unsigned)((nbytes + 63) / 64) - 1;
    }
    unsigned doubling = 63 - (unsigned)__builtin_clzl(nbytes - 1);
    return 8 + (doubling - 9) * 4 + (unsigned)((nbytes - 1) >> (doubling - 2)) - 4;
}

static size_t class_nbytes(unsigned size_class)
{
    if (size_class < 8) {
        return (size_t)(size_class + 1) * 64;
    }
    return (size_t)(5 + (size_class - 8) % 4) << (7 + (size_class - 8) / 4);
}

static size_t span_offset(uint32_t index)
{
    return (size_t)index << SPAN_SHIFT;
}

static size_t spans_for(size_t nbytes)
{
    return (nbytes >> SPAN_SHIFT) + ((nbytes & (ACHAR__HEAP_SPAN_NBYTES - 1)) != 0);
}

/* ---- free runs ---- */

static unsigned bin_of(uint32_t length)
{
    if (length < EXACT_BINS) {
        return length;
    }
    unsigned doubling = 31 - (unsigned)__builtin_clz(length);
    return EXACT_BINS + (doubling - 4) * 8 + ((length >> (doubling - 3)) & 7);
}

static void mark_run(achar__heap *heap, uint32_t first, uint32_t length, enum span_kind kind)
{
    heap->spans[first].kind = heap->spans[first + length - 1].kind = (uint8_t)kind;
    heap->spans[first].length = heap->spans[first + length - 1].length = length;
}

static uint32_t count_warm(const achar__heap *heap, uint32_t first, uint32_t length)
{
    uint32_t count = 0, end = first + length;
    end = end < heap->untouched_span ? end : heap->untouched_span;
    for (uint32_t i = first; i < end; i++) {
        count += heap->spans[i].committed;
    }
    return count;
}

static void bin_insert(achar__heap *heap, uint32_t first, uint32_t length, uint32_t warm_count)
{
    unsigned bin = bin_of(length);
    span *run = &heap->spans[first];
    mark_run(heap, first, length, SPAN_FREE);
    run->warm_count = warm_count;
    run->prev = NO_SPAN;
    run->next = heap->bins[bin];
    if (run->next != NO_SPAN) {
        heap->spans[run->next].prev = first;
    }
    heap->bins[bin] = first;
    heap->bin_bitmap[bin / 64] |= UINT64_C(1) << bin % 64;
    heap->warm_span_count += warm_count;
}

static void bin_remove(achar__heap *heap, uint32_t first)
{
    span *run = &heap->spans[first];
    unsigned bin = bin_of(run->length);
    if (run->prev != NO_SPAN) {
        heap->spans[run->prev].next = run->next;
    } else {
        heap->bins[bin] = run->next;
        if (run->next == NO_SPAN) {
            heap->bin_bitmap[bin / 64] &= ~(UINT64_C(1) << bin % 64);
        }
    }
    if (run->next != NO_SPAN) {
        heap->spans[run->next].prev = run->prev;
    }
    heap->warm_span_count -= run->warm_count;
}

/* The first run of 'bin' that has 'length', among 'limit' runs. */
static uint32_t bin_search(const achar__heap *heap, unsigned bin, uint32_t length, uint32_t limit)
{
    uint32_t first = heap->bins[bin];
    while (first != NO_SPAN && heap->spans[first].length < length) {
        first = --limit == 0 ? NO_SPAN : heap->spans[first].next;
    }
    return first;
}

static uint32_t search_free_runs(const achar__heap *heap, uint32_t length)
{
    unsigned bin = bin_of(length);
    uint32_t first = bin_search(heap, bin, length, BIN_SEARCH_COUNT);
    if (first != NO_SPAN) {
        return first;
    }
    /* In every later bin every run is long enough. */
    for (unsigned later = bin + 1; later < BIN_COUNT; later = (later / 64 + 1) * 64) {
        uint64_t bits = heap->bin_bitmap[later / 64] >> later % 64;
        if (bits) {
            return heap->bins[later + (unsigned)__builtin_ctzll(bits)];
        }
    }
    return bin_search(heap, bin, length, UINT32_MAX);
}

/*
 * The smallest free run of 'length' spans; NO_SPAN: there is none. While another thread punches a
 * run out it is in no bin, so "none" is true only when no one does. Called with the lock, which it
 * may give up in between.
 */
static uint32_t find_free_run(achar__heap *heap, uint32_t length)
{
    for (;;) {
        uint32_t first = search_free_runs(heap, length);
        if (first != NO_SPAN || !heap->purging) {
            return first;
        }
        pthread_mutex_unlock(&heap->lock);
        sched_yield();
        pthread_mutex_lock(&heap->lock);
    }
}

/* Takes 'length' spans from the start of the free run at 'first'. */
static void take_from_free_run(achar__heap *heap, uint32_t first, uint32_t length,
                               enum span_kind kind)
{
    uint32_t run_length = heap->spans[first].length;
    uint32_t run_warm_count = heap->spans[first].warm_count;
    bin_remove(heap, first);
    if (heap->untouched_span < first + length) {
        heap->untouched_span = first + length;
    }
    if (run_length > length) {
        bin_insert(heap, first + length, run_length - length,
                   run_warm_count - count_warm(heap, first, length));
    }
    mark_run(heap, first, length, kind);
}

static void release_run(achar__heap *heap, uint32_t first, uint32_t length)
{
    uint32_t warm_count = count_warm(heap, first, length);
    uint32_t end = first + length;
    if (end < heap->span_count && heap->spans[end].kind == SPAN_FREE) {
        warm_count += heap->spans[end].warm_count;
        length += heap->spans[end].length;
        bin_remove(heap, end);
    }
    if (first > heap->first_span && heap->spans[first - 1].kind == SPAN_FREE) {
        uint32_t before = first - heap->spans[first - 1].length;
        warm_count += heap->spans[before].warm_count;
        length += heap->spans[before].length;
        first = before;
        bin_remove(heap, before);
    }
    bin_insert(heap, first, length, warm_count);
}

/* ---- committing and punching: on a run that the caller holds, without the lock ---- */

static int commit_run(achar__heap *heap, uint32_t first, uint32_t length)
{
    for (uint32_t i = first, end = first + length; i < end;) {
        uint32_t stop = i;
        while (stop < end && !heap->spans[stop].committed) {
            stop++;
        }
        if (stop > i) {
            int status = achar__region_commit(heap->region, span_offset(i), span_offset(stop - i));
            if (status != ACHAR_OK) {
                /* Some of these pages may be there: take them back, they count as absent. */
                achar__region_punch(heap->region, span_offset(i), span_offset(stop - i));
                return status;
            }
            for (uint32_t j = i; j < stop; j++) {
                heap->spans[j].committed = 1;
            }
        }
        i = stop + 1;
    }
    return ACHAR_OK;
}

static void punch_run(achar__heap *heap, uint32_t first, uint32_t length, uint32_t warm_count)
{
    for (uint32_t i = first, end = first + length; i < end && warm_count;) {
        uint32_t stop = i;
        while (stop < end && heap->spans[stop].committed) {
            stop++;
        }
        if (stop > i) {
            warm_count -= stop - i;
            if (achar__region_punch(heap->region, span_offset(i), span_offset(stop - i))) {
                for (uint32_t j = i; j < stop; j++) {
                    heap->spans[j].committed = 0;
                }
            }
        }
        i = stop + 1;
    }
}

static uint32_t largest_warm_run(const achar__heap *heap)
{
    for (unsigned bin = BIN_COUNT; bin-- > 0;) {
        for (uint32_t run = heap->bins[bin]; run != NO_SPAN; run = heap->spans[run].next) {
            if (heap->spans[run].warm_count) {
                return run;
            }
        }
    }
    return NO_SPAN;
}

bool achar__heap_has_excess(const achar__heap *heap)
{
    return heap->warm_span_count * ACHAR__HEAP_SPAN_NBYTES > heap->warm_limit_nbytes;
}

/* Called with the lock, which it gives up in between. */
static void punch_down_to(achar__heap *heap, size_t warm_nbytes)
{
    while (heap->warm_span_count * ACHAR__HEAP_SPAN_NBYTES > warm_nbytes) {
        size_t before_count = heap->warm_span_count;
        uint32_t first = largest_warm_run(heap);
        if (first == NO_SPAN) {
            break;
        }
        uint32_t length = heap->spans[first].length;
        uint32_t warm_count = heap->spans[first].warm_count;
        bin_remove(heap, first);
        mark_run(heap, first, length, SPAN_LARGE);
        pthread_mutex_unlock(&heap->lock);
        punch_run(heap, first, length, warm_count);
        pthread_mutex_lock(&heap->lock);
        release_run(heap, first, length);
        if (heap->warm_span_count >= before_count) {
            break; /* the kernel refuses, or others free faster: not now */
        }
    }
}

void achar__heap_purge(achar__heap *heap)
{
    pthread_mutex_lock(&heap->lock);
    if (achar__heap_has_excess(heap) && !heap->purging) {
        heap->purging = true;
        punch_down_to(heap, heap->warm_limit_nbytes / 2);
        heap->purging = false;
    }
    pthread_mutex_unlock(&heap->lock);
}

/* ---- slabs ---- */

static void slab_link(slab **list, slab *it)
{
    it->prev = NULL;
    it->next = *list;
    if (*list) {
        (*list)->prev = it;
    }
    *list = it;
}

static void slab_unlink(slab **list, slab *it)
{
    if (it->prev) {
        it->prev->next = it->next;
    } else {
        *list = it->next;
    }
    if (it->next) {
        it->next->prev = it->prev;
    }
}

static int slab_create(achar__heap *heap, unsigned size_class, slab **out)
{
    int status = ACHAR_E_NOMEM;
    slab *it = calloc(1, sizeof *it);
    if (!it) {
        return status;
    }
    uint32_t first = find_free_run(heap, 1);
    if (first == NO_SPAN) {
        free(it);
        return ACHAR_E_LIMIT;
    }
    take_from_free_run(heap, first, 1, SPAN_SLAB);
    status = commit_run(heap, first, 1);
    if (status != ACHAR_OK) {
        release_run(heap, first, 1);
        free(it);
        return status;
    }
    it->span = first;
    it->slot_count = (uint16_t)(ACHAR__HEAP_SPAN_NBYTES / class_nbytes(size_class));
    it->free_count = it->slot_count;
    for (unsigned slot = 0; slot < it->slot_count; slot++) {
        it->free_slots[slot / 64] |= UINT64_C(1) << slot % 64;
    }
    heap->spans[first].slab = it;
    heap->spans[first].size_class = (uint8_t)size_class;
    *out = it;
    return ACHAR_OK;
}

static void slab_destroy(achar__heap *heap, slab *it)
{
    heap->spans[it->span].slab = NULL;
    release_run(heap, it->span, 1);
    free(it);
}

static int alloc_small(achar__heap *heap, size_t nbytes, void **block, size_t *capacity)
{
    unsigned size_class = class_of(nbytes);
    slab *from = heap->partial[size_class];
    if (!from) {
        from = heap->empty[size_class];
        heap->empty[size_class] = NULL;
        if (!from) {
            int status = slab_create(heap, size_class, &from);
            if (status != ACHAR_OK) {
                return status;
            }
        }
        slab_link(&heap->partial[size_class], from);
    }
    unsigned word = 0;
    while (!from->free_slots[word]) {
        word++;
    }
    unsigned slot = word * 64 + (unsigned)__builtin_ctzll(from->free_slots[word]);
    from->free_slots[word] &= from->free_slots[word] - 1;
    if (--from->free_count == 0) {
        slab_unlink(&heap->partial[size_class], from);
    }
    *capacity = class_nbytes(size_class);
    *block = heap->region->base + span_offset(from->span) + slot * *capacity;
    heap->used_nbytes += *capacity;
    return ACHAR_OK;
}

static bool free_small(achar__heap *heap, span *at, size_t offset_in_span)
{
    slab *owner = at->slab;
    unsigned size_class = at->size_class;
    size_t slot_nbytes = class_nbytes(size_class);
    size_t slot = offset_in_span / slot_nbytes;
    uint64_t bit = UINT64_C(1) << slot % 64;
    if (offset_in_span % slot_nbytes || slot >= owner->slot_count ||
        (owner->free_slots[slot / 64] & bit)) {
        return false;
    }
    owner->free_slots[slot / 64] |= bit;
    heap->used_nbytes -= slot_nbytes;
    if (owner->free_count++ == 0) {
        slab_link(&heap->partial[size_class], owner);
    }
    if (owner->free_count == owner->slot_count) {
        slab_unlink(&heap->partial[size_class], owner);
        if (heap->empty[size_class]) {
            slab_destroy(heap, owner);
        } else {
            heap->empty[size_class] = owner;
        }
    }
    return true;
}

/* ---- large blocks ---- */

/* Called with the lock; gives it up while it commits. */
static int alloc_large(achar__heap *heap, size_t nbytes, void **block, size_t *capacity)
{
    size_t length = spans_for(nbytes);
    uint32_t first = length < heap->span_count ? find_free_run(heap, (uint32_t)length) : NO_SPAN;
    if (first == NO_SPAN) {
        return ACHAR_E_LIMIT;
    }
    take_from_free_run(heap, first, (uint32_t)length, SPAN_LARGE);
    pthread_mutex_unlock(&heap->lock);
    int status = commit_run(heap, first, (uint32_t)length);
    pthread_mutex_lock(&heap->lock);
    if (status != ACHAR_OK) {
        release_run(heap, first, (uint32_t)length);
        return status;
    }
    *block = heap->region->base + span_offset(first);
    *capacity = length << SPAN_SHIFT;
    heap->used_nbytes += *capacity;
    return ACHAR_OK;
}

/* Makes a large block longer where the run behind it is free. Called with the lock. */
static bool extend_large(achar__heap *heap, void *block, size_t *capacity, size_t nbytes)
{
    uint32_t first = (uint32_t)(((unsigned char *)block - heap->region->base) >> SPAN_SHIFT);
    uint32_t length = heap->spans[first].length;
    size_t wanted = spans_for(nbytes);
    uint32_t end = first + length;
    if (wanted > heap->span_count || end >= heap->span_count ||
        heap->spans[end].kind != SPAN_FREE || heap->spans[end].length < wanted - length) {
        return false;
    }
    uint32_t more = (uint32_t)wanted - length;
    take_from_free_run(heap, end, more, SPAN_LARGE);
    pthread_mutex_unlock(&heap->lock);
    int status = commit_run(heap, end, more);
    pthread_mutex_lock(&heap->lock);
    if (status != ACHAR_OK) {
        release_run(heap, end, more);
        return false;
    }
    mark_run(heap, first, (uint32_t)wanted, SPAN_LARGE);
    heap->used_nbytes += span_offset(more);
    *capacity = wanted << SPAN_SHIFT;
    return true;
}

/* ---- the interface ---- */

int achar__heap_create(achar__region *region, size_t reserved_nbytes, size_t warm_limit_nbytes,
                       achar__heap **out)
{
    size_t count = region->nbytes >> SPAN_SHIFT;
    size_t first = spans_for(reserved_nbytes);
    if (first >= count || count > UINT32_MAX / 2) {
        return ACHAR_E_INVALID;
    }
    achar__heap *heap = calloc(1, sizeof *heap);
    if (!heap) {
        return ACHAR_E_NOMEM;
    }
    heap->spans = mmap(NULL, count * sizeof(span), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (heap->spans == MAP_FAILED) {
        free(heap);
        return ACHAR_E_NOMEM;
    }
    pthread_mutex_init(&heap->lock, NULL);
    heap->region = region;
    heap->warm_limit_nbytes = warm_limit_nbytes;
    heap->first_span = (uint32_t)first;
    heap->span_count = (uint32_t)count;
    for (unsigned bin = 0; bin < BIN_COUNT; bin++) {
        heap->bins[bin] = NO_SPAN;
    }
    bin_insert(heap, heap->first_span, heap->span_count - heap->first_span, 0);
    *out = heap;
    return ACHAR_OK;
}

void achar__heap_destroy(achar__heap *heap)
{
    if (!heap) {
        return;
    }
    /* Every slab is found through its span; spans that were never used are not touched. */
    for (uint32_t i = heap->first_span; i < heap->span_count;) {
        if (heap->spans[i].kind == SPAN_SLAB) {
            free(heap->spans[i].slab);
        }
        i += heap->spans[i].length;
    }
    munmap(heap->spans, heap->span_count * sizeof(span));
    pthread_mutex_destroy(&heap->lock);
    free(heap);
}

int achar__heap_alloc(achar__heap *heap, size_t nbytes, void **block, size_t *capacity)
{
    pthread_mutex_lock(&heap->lock);
    int status = nbytes <= SMALL_MAX_NBYTES ? alloc_small(heap, nbytes, block, capacity)
                                            : alloc_large(heap, nbytes, block, capacity);
    pthread_mutex_unlock(&heap->lock);
    return status;
}

bool achar__heap_free(achar__heap *heap, void *block)
{
    if (!block) {
        return true;
    }
    bool known = false;
    size_t offset = (size_t)((unsigned char *)block - heap->region->base);
    size_t index = offset >> SPAN_SHIFT;
    size_t offset_in_span = offset & (ACHAR__HEAP_SPAN_NBYTES - 1);
    if (index < heap->first_span || index >= heap->span_count) {
        return false;
    }
    pthread_mutex_lock(&heap->lock);
    span *at = &heap->spans[index];
    if (at->kind == SPAN_SLAB) {
        known = free_small(heap, at, offset_in_span);
    } else if (at->kind == SPAN_LARGE && offset_in_span == 0) {
        known = true;
        heap->used_nbytes -= span_offset(at->length);
        release_run(heap, (uint32_t)index, at->length);
    }
    pthread_mutex_unlock(&heap->lock);
    return known;
}

int achar__heap_grow(achar__heap *heap, void **block, size_t *capacity, size_t used, size_t nbytes)
{
    if (nbytes <= *capacity) {
        return ACHAR_OK;
    }
    if (*capacity > SMALL_MAX_NBYTES) {
        pthread_mutex_lock(&heap->lock);
        bool extended = extend_large(heap, *block, capacity, nbytes);
        pthread_mutex_unlock(&heap->lock);
        if (extended) {
            return ACHAR_OK;
        }
    }
    void *larger;
    size_t larger_capacity;
    int status = achar__heap_alloc(heap, nbytes, &larger, &larger_capacity);
    if (status != ACHAR_OK) {
        return status;
    }
    memcpy(larger, *block, used);
    achar__heap_free(heap, *block);
    *block = larger;
    *capacity = larger_capacity;
    return ACHAR_OK;
}

/* Cuts a large block down to 'needed' spans where it stands. */
static void shorten_large(achar__heap *heap, void *block, uint32_t needed)
{
    uint32_t first = (uint32_t)(((unsigned char *)block - heap->region->base) >> SPAN_SHIFT);
    pthread_mutex_lock(&heap->lock);
    uint32_t length = heap->spans[first].length;
    mark_run(heap, first, needed, SPAN_LARGE);
    release_run(heap, first + needed, length - needed);
    heap->used_nbytes -= span_offset(length - needed);
    pthread_mutex_unlock(&heap->lock);
}

void achar__heap_trim(achar__heap *heap, void **block, size_t *capacity, size_t used)
{
    if (used <= TRIM_COPY_NBYTES && used <= *capacity / 2 && *capacity > ACHAR__HEAP_ALIGNMENT) {
        void *smaller;
        size_t smaller_capacity;
        if (achar__heap_alloc(heap, used, &smaller, &smaller_capacity) == ACHAR_OK) {
            memcpy(smaller, *block, used);
            achar__heap_free(heap, *block);
            *block = smaller;
            *capacity = smaller_capacity;
        }
    } else if (*capacity > SMALL_MAX_NBYTES) {
        size_t needed = used ? spans_for(used) : 1;
        if (needed < *capacity >> SPAN_SHIFT) {
            shorten_large(heap, *block, (uint32_t)needed);
            *capacity = needed << SPAN_SHIFT;
        }
    }
}

achar__heap_usage achar__heap_usage_of(achar__heap *heap)
{
    pthread_mutex_lock(&heap->lock);
    achar__heap_usage usage = {.used_nbytes = heap->used_nbytes,
                               .warm_nbytes = heap->warm_span_count * ACHAR__HEAP_SPAN_NBYTES};
    pthread_mutex_unlock(&heap->lock);
    return usage;
}
