/*
 * cells.c - making and unmaking the objects of a space. A cell is claimed by one exchange of its
 * kind; memory is had before that, a page at a time, so that no write can fail.
 */
#include "runtime/sync/arena.h"
#include "runtime/sync/holders.h"
#include "runtime/sync/latch.h"

#include <achar/status.h>
#include <string.h>

#define PAGE_CELLS (ACHAR__PAGE_NBYTES / ACHAR__CELL_NBYTES)

static achar_cell *cell_of(const achar_space *space, uint32_t index)
{
    return achar__cell_at(space, ACHAR__CELLS_PLACE + index * ACHAR__CELL_NBYTES);
}

uint32_t achar__cell_index(const achar_space *space, const achar_cell *cell)
{
    return (achar__place_of(space, cell) - ACHAR__CELLS_PLACE) / ACHAR__CELL_NBYTES;
}

static bool claim(achar_cell *cell)
{
    uint32_t free = ACHAR__CELL_FREE;
    return atomic_load_explicit(&cell->kind, memory_order_relaxed) == ACHAR__CELL_FREE &&
           atomic_compare_exchange_strong(&cell->kind, &free, ACHAR__CELL_MAKING);
}

/* A free cell among those that have memory; NULL: there is none. */
static achar_cell *find_free(achar_space *space)
{
    uint32_t count = atomic_load(&space->header->cell_count);
    uint32_t hint = atomic_load(&space->header->cell_hint);
    if (atomic_load(&space->header->cells_taken) >= count && count < ACHAR__CELL_COUNT) {
        return NULL; /* more memory is nearer than the end of the search */
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = (hint + i) % count;
        achar_cell *cell = cell_of(space, index);
        if (claim(cell)) {
            atomic_store(&space->header->cell_hint, index + 1);
            atomic_fetch_add(&space->header->cells_taken, 1);
            return cell;
        }
    }
    return NULL;
}

/* A page of cells, and the page that says who holds them. */
static int commit_cells(achar_space *space, uint32_t first)
{
    size_t cells = ACHAR__CELLS_PLACE + (size_t)first * ACHAR__CELL_NBYTES;
    size_t holders = ACHAR__HOLDERS_PLACE + (size_t)first * sizeof(achar__holders);
    int status = achar__space_commit(space, cells, ACHAR__PAGE_NBYTES);
    if (status == ACHAR_OK && holders % ACHAR__PAGE_NBYTES == 0) {
        status = achar__space_commit(space, holders, ACHAR__PAGE_NBYTES);
    }
    return status;
}

int achar__cell_make_latched(achar_space *space, achar_cell **out)
{
    achar_cell *cell;
    while (!(cell = find_free(space))) {
        uint32_t count = atomic_load(&space->header->cell_count);
        if (count + PAGE_CELLS > ACHAR__CELL_COUNT) {
            return ACHAR_E_LIMIT;
        }
        int status = commit_cells(space, count);
        if (status != ACHAR_OK) {
            return status;
        }
        /* Where another was faster, its page is as good. */
        if (atomic_compare_exchange_strong(&space->header->cell_count, &count,
                                           count + PAGE_CELLS)) {
            atomic_store(&space->header->cell_hint, count);
        }
    }
    uint32_t generation = cell->generation + 1;
    achar__place place = achar__place_of(space, cell);
    atomic_store(&cell->word, 0);
    atomic_store(&cell->log_count, 0);
    atomic_store(&cell->standing, ACHAR__CELL_UNSENT);
    memset((unsigned char *)cell + offsetof(achar_cell, queue), 0,
           offsetof(achar_cell, log_count) - offsetof(achar_cell, queue));
    cell->generation = generation;
    cell->home = place;
    cell->queue.next = cell->queue.prev = achar__place_of(space, &cell->queue);
    cell->gate.next = cell->gate.prev = achar__place_of(space, &cell->gate);
    *out = cell;
    return ACHAR_OK;
}

int achar__cell_make(achar_space *space, achar_cell **out)
{
    int status;
    do {
        status = achar__cell_make_latched(space, out);
    } while (status == ACHAR_E_LIMIT && achar__holders_reclaim(space));
    return status;
}

void achar__cell_publish(achar_cell *cell, enum achar__cell_kind kind)
{
    atomic_store(&cell->kind, (uint32_t)kind);
}

achar_cell *achar__cell_next(const achar_space *space, const achar_cell *before)
{
    uint32_t index = before ? achar__cell_index(space, before) + 1 : 0;
    return index < atomic_load(&space->header->cell_count) ? cell_of(space, index) : NULL;
}

uint64_t achar_sync_id(const achar_space *space, const achar_cell *cell)
{
    return (uint64_t)cell->generation << 32 | achar__cell_index(space, cell);
}

int achar_sync_find(const achar_space *space, uint64_t id, int kind, achar_cell **out)
{
    uint32_t index = (uint32_t)id;
    if (index >= atomic_load(&space->header->cell_count)) {
        return ACHAR_E_INVALID;
    }
    achar_cell *cell = cell_of(space, index);
    if (atomic_load(&cell->kind) != (uint32_t)kind || cell->generation != (uint32_t)(id >> 32)) {
        return ACHAR_E_INVALID;
    }
    *out = cell;
    return ACHAR_OK;
}

/* The cells of accounts that hang on it. */
static void free_accounts(achar_space *space, achar__place more)
{
    while (more != 0) {
        achar_cell *next = achar__cell_at(space, more);
        more = next->semaphore.more;
        atomic_fetch_sub(&space->header->cells_taken, 1);
        atomic_store(&next->kind, ACHAR__CELL_FREE);
    }
}

void achar_sync_destroy(achar_space *space, achar_cell *cell)
{
    uint32_t ticket = cell ? achar__ticket(space) : 0;
    if (ticket == 0) {
        return; /* who has no place in the registry can do nothing here; it stays */
    }
    uint32_t index = achar__cell_index(space, cell);
    uint32_t kind = atomic_load(&cell->kind);
    /* A reaper may look at it. A condition's lock may be gone, but never its place, nor the latch there. */
    achar_cell *home = achar__home_of(space, cell);
    achar__latch(space, home, ticket);
    atomic_store(&cell->kind, ACHAR__CELL_MAKING);
    achar__unlatch(space, home);
    if (kind == ACHAR__CELL_SEMAPHORE) {
        free_accounts(space, cell->semaphore.more);
    } else if (kind == ACHAR__CELL_QUEUE) {
        free_accounts(space, cell->messages.more);
        achar__extents_give_back(space, ticket, ACHAR__OWNER_QUEUE(index));
    }
    atomic_store(&space->header->cell_hint, index);
    atomic_fetch_sub(&space->header->cells_taken, 1);
    atomic_store(&cell->kind, ACHAR__CELL_FREE);
}
