/* arena.c - see arena.h; the first extent that is large enough, from the hint on. */
#include "runtime/sync/arena.h"
#include "runtime/sync/latch.h"

#include <achar/status.h>
#include <sys/mman.h>

#define PAGE_UNITS (ACHAR__PAGE_NBYTES / (uint32_t)sizeof(achar__extent))
#define KEPT_UNITS 1024u /* in the first 64 MiB, what is free keeps its memory */

int achar__arena_map(achar_space *space)
{
    int status = ACHAR_OK;
    if (atomic_load_explicit(&space->arena_base, memory_order_acquire)) {
        return ACHAR_OK;
    }
    pthread_mutex_lock(&space->member->lock);
    if (atomic_load(&space->arena_base)) { /* another thread was first */
    } else if (space->arena_nbytes == 0) {
        status = ACHAR_E_NOMEM;
    } else if (space->shared) {
        status = achar__region_map_part(space->fd, ACHAR__SPACE_NBYTES, space->arena_nbytes, true,
                                        &space->arena);
    } else {
        void *base = mmap(NULL, space->arena_nbytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        status = base == MAP_FAILED ? ACHAR_E_NOMEM : ACHAR_OK;
        if (status == ACHAR_OK) {
            space->arena.base = base;
            space->arena.nbytes = space->arena_nbytes;
        }
    }
    if (status == ACHAR_OK) {
        atomic_store_explicit(&space->arena_base, space->arena.base, memory_order_release);
    }
    pthread_mutex_unlock(&space->member->lock);
    return status;
}

/* ---- under the arena's latch ---- */

/* The table gets a page more. ACHAR_E_LIMIT: that was all. */
static int extend(achar_space *space)
{
    uint32_t known = atomic_load(&space->header->unit_count);
    if ((size_t)(known + PAGE_UNITS) * ACHAR__UNIT_NBYTES > space->arena_nbytes) {
        return ACHAR_E_LIMIT;
    }
    int status = achar__space_commit(
        space, ACHAR__EXTENTS_PLACE + (size_t)known * sizeof(achar__extent), ACHAR__PAGE_NBYTES);
    if (status == ACHAR_OK) {
        achar__extent *it = achar__extent_at(space, known + 1);
        atomic_store(&it->owner, 0);
        atomic_store(&it->unit_count, PAGE_UNITS);
        ACHAR__CRASH_POINT("arena-extended");
        atomic_store(&space->header->unit_count, known + PAGE_UNITS);
    }
    return status;
}

/* Joins what is free behind the free 'extent', until it has 'wanted' units or something is not. */
static int join(achar_space *space, uint32_t extent, uint32_t wanted)
{
    achar__extent *it = achar__extent_at(space, extent);
    for (uint32_t count; (count = atomic_load(&it->unit_count)) < wanted;) {
        if (extent - 1 + count >= atomic_load(&space->header->unit_count)) {
            int status = extend(space);
            if (status != ACHAR_OK) {
                return status;
            }
        }
        const achar__extent *next = achar__extent_at(space, extent + count);
        if (atomic_load(&next->owner) != 0) {
            break;
        }
        atomic_store(&it->unit_count, count + atomic_load(&next->unit_count));
        ACHAR__CRASH_POINT("extents-joined");
    }
    return ACHAR_OK;
}

/* The free 'extent', which is large enough, becomes one of 'count' units. */
static void claim(achar_space *space, uint32_t extent, uint32_t count, uint32_t ticket)
{
    achar__extent *it = achar__extent_at(space, extent);
    uint32_t whole = atomic_load(&it->unit_count);
    if (whole > count) {
        achar__extent *rest = achar__extent_at(space, extent + count);
        atomic_store(&rest->owner, 0);
        atomic_store(&rest->unit_count, whole - count);
        ACHAR__CRASH_POINT("extent-cut");
        atomic_store(&it->unit_count, count);
        ACHAR__CRASH_POINT("extent-short");
    }
    atomic_store(&it->owner, ticket);
}

static int find(achar_space *space, uint32_t ticket, uint32_t count, uint32_t *out)
{
    uint32_t hint = 0;
    for (uint32_t extent = atomic_load(&space->header->unit_hint) + 1;;) {
        if (extent > atomic_load(&space->header->unit_count)) {
            int status = extend(space);
            if (status != ACHAR_OK) {
                return status;
            }
        }
        achar__extent *it = achar__extent_at(space, extent);
        if (atomic_load(&it->owner) == 0) {
            int status = join(space, extent, count);
            if (status != ACHAR_OK) {
                return status;
            }
            if (atomic_load(&it->unit_count) >= count) {
                claim(space, extent, count, ticket);
                atomic_store(&space->header->unit_hint, hint ? hint - 1 : extent - 1 + count);
                *out = extent;
                return ACHAR_OK;
            }
            hint = hint ? hint : extent;
        }
        extent += atomic_load(&it->unit_count);
    }
}

static void free_latched(achar_space *space, uint32_t extent)
{
    achar__extent *it = achar__extent_at(space, extent);
    if (extent - 1 < atomic_load(&space->header->unit_hint)) {
        atomic_store(&space->header->unit_hint, extent - 1);
        ACHAR__CRASH_POINT("hint-lowered");
    }
    atomic_store(&it->owner, 0);
}

/* ---- without it ---- */

/* An extent that is not free gives its memory to the machine. */
static void give_up_memory(achar_space *space, uint32_t extent)
{
    uint32_t count = atomic_load(&achar__extent_at(space, extent)->unit_count);
    if (extent - 1 + count > KEPT_UNITS && achar__arena_map(space) == ACHAR_OK) {
        size_t offset = (size_t)(extent - 1) * ACHAR__UNIT_NBYTES;
        size_t nbytes = (size_t)count * ACHAR__UNIT_NBYTES;
        if (space->shared) {
            (void)achar__region_punch(&space->arena, offset, nbytes); /* else it stays committed */
        } else {
            (void)madvise(space->arena.base + offset, nbytes, MADV_DONTNEED);
        }
    }
}

int achar__extent_take(achar_space *space, uint32_t ticket, size_t nbytes, uint32_t *out)
{
    if (nbytes > space->arena_nbytes) {
        return ACHAR_E_LIMIT;
    }
    uint32_t count = (uint32_t)((nbytes + ACHAR__UNIT_NBYTES - 1) / ACHAR__UNIT_NBYTES);
    size_t page_mask = ACHAR__PAGE_NBYTES - 1;
    uint32_t extent = 0;
    achar__latch_word(space, &space->header->arena_latch, ticket);
    int status = find(space, ticket, count ? count : 1, &extent);
    achar__unlatch_word(space, &space->header->arena_latch);
    if (status != ACHAR_OK) {
        return status;
    }
    ACHAR__CRASH_POINT("extent-taken");
    if (space->shared) {
        status = achar__region_commit(&space->arena, (size_t)(extent - 1) * ACHAR__UNIT_NBYTES,
                                      (nbytes + page_mask) & ~page_mask);
    }
    if (status != ACHAR_OK) {
        achar__extent_give_back(space, ticket, extent);
        return status;
    }
    *out = extent;
    return ACHAR_OK;
}

void achar__extent_give_back(achar_space *space, uint32_t ticket, uint32_t extent)
{
    give_up_memory(space, extent);
    ACHAR__CRASH_POINT("extent-emptied");
    achar__latch_word(space, &space->header->arena_latch, ticket);
    free_latched(space, extent);
    achar__unlatch_word(space, &space->header->arena_latch);
}

void achar__extents_give_back(achar_space *space, uint32_t ticket, uint32_t owner)
{
    achar__latch_word(space, &space->header->arena_latch, ticket);
    for (uint32_t extent = 1; extent <= atomic_load(&space->header->unit_count);) {
        achar__extent *it = achar__extent_at(space, extent);
        if (atomic_load(&it->owner) == owner) {
            give_up_memory(space, extent);
            free_latched(space, extent);
        }
        extent += atomic_load(&it->unit_count);
    }
    achar__unlatch_word(space, &space->header->arena_latch);
}

uint32_t achar__extents_taken(achar_space *space, uint32_t ticket)
{
    uint32_t taken = 0;
    achar__latch_word(space, &space->header->arena_latch, ticket);
    for (uint32_t extent = 1; extent <= atomic_load(&space->header->unit_count);) {
        const achar__extent *it = achar__extent_at(space, extent);
        taken += atomic_load(&it->owner) != 0;
        extent += atomic_load(&it->unit_count);
    }
    achar__unlatch_word(space, &space->header->arena_latch);
    return taken;
}
