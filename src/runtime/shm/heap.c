/*
 * heap.c - blocks: large ones are runs of spans of 64 KiB (runs.c), small ones slots of slabs.
 *
 * A slab is one span cut into slots of one size class (4 classes per doubling, so at most 1/5 is
 * lost), with a bitmap of the free ones. Its class has a list of slabs with free slots; of those
 * that are all free one is kept.
 */
#include "runtime/shm/heap_internal.h"

#include <achar/status.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALL_MAX_NBYTES ((size_t)32768)
#define TRIM_COPY_NBYTES 8192 /* what trimming may copy to get rid of slack */

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

static size_t spans_for(size_t nbytes)
{
    return (nbytes >> SPAN_SHIFT) + ((nbytes & (ACHAR__HEAP_SPAN_NBYTES - 1)) != 0);
}

static bool is_over_limit(const achar__heap *heap, size_t more_nbytes)
{
    return heap->used_nbytes > heap->limit_nbytes ||
           more_nbytes > heap->limit_nbytes - heap->used_nbytes;
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
    uint32_t first = achar__runs_find(heap, 1);
    if (first == NO_SPAN) {
        free(it);
        return ACHAR_E_LIMIT;
    }
    achar__run_take(heap, first, 1, SPAN_SLAB);
    status = achar__run_commit(heap, first, 1);
    if (status != ACHAR_OK) {
        achar__run_release(heap, first, 1);
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
    achar__run_release(heap, it->span, 1);
    free(it);
}

static int alloc_small(achar__heap *heap, size_t nbytes, void **block, size_t *capacity)
{
    unsigned size_class = class_of(nbytes);
    slab *from = heap->partial[size_class];
    if (is_over_limit(heap, class_nbytes(size_class))) {
        return ACHAR_E_LIMIT;
    }
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
    uint32_t first = length < heap->span_count && !is_over_limit(heap, length << SPAN_SHIFT)
                         ? achar__runs_find(heap, (uint32_t)length)
                         : NO_SPAN;
    if (first == NO_SPAN) {
        return ACHAR_E_LIMIT;
    }
    achar__run_take(heap, first, (uint32_t)length, SPAN_LARGE);
    heap->used_nbytes += length << SPAN_SHIFT;
    pthread_mutex_unlock(&heap->lock);
    int status = achar__run_commit(heap, first, (uint32_t)length);
    pthread_mutex_lock(&heap->lock);
    if (status != ACHAR_OK) {
        heap->used_nbytes -= length << SPAN_SHIFT;
        achar__run_release(heap, first, (uint32_t)length);
        return status;
    }
    *block = heap->region->base + span_offset(first);
    *capacity = length << SPAN_SHIFT;
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
        is_over_limit(heap, (wanted - length) << SPAN_SHIFT) ||
        heap->spans[end].kind != SPAN_FREE || heap->spans[end].length < wanted - length) {
        return false;
    }
    uint32_t more = (uint32_t)wanted - length;
    achar__run_take(heap, end, more, SPAN_LARGE);
    heap->used_nbytes += span_offset(more);
    pthread_mutex_unlock(&heap->lock);
    int status = achar__run_commit(heap, end, more);
    pthread_mutex_lock(&heap->lock);
    if (status != ACHAR_OK) {
        heap->used_nbytes -= span_offset(more);
        achar__run_release(heap, end, more);
        return false;
    }
    achar__run_mark(heap, first, (uint32_t)wanted, SPAN_LARGE);
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
    heap->limit_nbytes = SIZE_MAX;
    heap->first_span = (uint32_t)first;
    heap->span_count = (uint32_t)count;
    achar__runs_init(heap);
    *out = heap;
    return ACHAR_OK;
}

void achar__heap_set_limit(achar__heap *heap, size_t used_nbytes)
{
    pthread_mutex_lock(&heap->lock);
    heap->limit_nbytes = used_nbytes;
    heap->base_nbytes = heap->used_nbytes;
    pthread_mutex_unlock(&heap->lock);
}

bool achar__heap_may_fit(achar__heap *heap, size_t nbytes, size_t freed_nbytes)
{
    pthread_mutex_lock(&heap->lock);
    size_t used_nbytes = heap->used_nbytes > freed_nbytes ? heap->used_nbytes - freed_nbytes : 0;
    size_t base_nbytes = used_nbytes > heap->base_nbytes ? used_nbytes : heap->base_nbytes;
    bool fits = nbytes <= heap->region->nbytes && base_nbytes <= heap->limit_nbytes &&
                nbytes <= heap->limit_nbytes - base_nbytes;
    pthread_mutex_unlock(&heap->lock);
    return fits;
}

bool achar__heap_is_half_full(achar__heap *heap)
{
    pthread_mutex_lock(&heap->lock);
    size_t base_nbytes = heap->base_nbytes, used_nbytes = heap->used_nbytes;
    bool is_so = heap->limit_nbytes != SIZE_MAX && used_nbytes > base_nbytes &&
                 used_nbytes - base_nbytes > (heap->limit_nbytes - base_nbytes) / 2;
    pthread_mutex_unlock(&heap->lock);
    return is_so;
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
        achar__run_release(heap, (uint32_t)index, at->length);
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
    achar__run_mark(heap, first, needed, SPAN_LARGE);
    achar__run_release(heap, first + needed, length - needed);
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
