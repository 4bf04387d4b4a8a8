/*
 * runs.c - runs of spans: which are free, which are committed.
 *
 *    region   | reserved | slab | run of 3 spans    | free run ...                           |
 *    spans[]  |          |  S   |  L    .     L     |  F  .  .  .  .  .  .  .  .  .       F  |
 *
 * The first and the last span of every run know its kind and length, so a freed run finds its
 * neighbours and merges with them in O(1). Free runs hang in bins by length (8 bins per doubling, a
 * bitmap tells which are not empty), so that the smallest that fits is found without a search; at
 * first the whole region is one free run, and since smaller runs are taken first, fresh address
 * space is what is taken last.
 *
 * Which spans are committed is a flag per span that belongs to whoever holds the run. So the slow
 * system calls, committing and punching, happen outside of the lock, on a run that is nobody else's.
 */
#include "runtime/shm/heap_internal.h"

#include <achar/status.h>
#include <sched.h>

#define EXACT_BINS       16
#define BIN_SEARCH_COUNT 16 /* runs of a block's own bin that are looked at first */

static unsigned bin_of(uint32_t length)
{
    if (length < EXACT_BINS) {
        return length;
    }
    unsigned doubling = 31 - (unsigned)__builtin_clz(length);
    return EXACT_BINS + (doubling - 4) * 8 + ((length >> (doubling - 3)) & 7);
}

void achar__run_mark(achar__heap *heap, uint32_t first, uint32_t length, enum span_kind kind)
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
    achar__run_mark(heap, first, length, SPAN_FREE);
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
uint32_t achar__runs_find(achar__heap *heap, uint32_t length)
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
void achar__run_take(achar__heap *heap, uint32_t first, uint32_t length, enum span_kind kind)
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
    achar__run_mark(heap, first, length, kind);
}

void achar__run_release(achar__heap *heap, uint32_t first, uint32_t length)
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

int achar__run_commit(achar__heap *heap, uint32_t first, uint32_t length)
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
        achar__run_mark(heap, first, length, SPAN_LARGE);
        pthread_mutex_unlock(&heap->lock);
        punch_run(heap, first, length, warm_count);
        pthread_mutex_lock(&heap->lock);
        achar__run_release(heap, first, length);
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

void achar__runs_init(achar__heap *heap)
{
    for (unsigned bin = 0; bin < BIN_COUNT; bin++) {
        heap->bins[bin] = NO_SPAN;
    }
    bin_insert(heap, heap->first_span, heap->span_count - heap->first_span, 0);
}
