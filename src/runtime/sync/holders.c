/* holders.c - see holders.h. */
#include "runtime/sync/holders.h"
#include "runtime/sync/latch.h"

#include <achar/status.h>
#include <sys/mman.h>

#define COUNTS_NBYTES (ACHAR__CELL_COUNT * sizeof(uint32_t))

static achar__holders *holders_of(const achar_space *space, const achar_cell *cell)
{
    return (achar__holders *)achar__at(space, ACHAR__HOLDERS_PLACE) +
           achar__cell_index(space, cell);
}

static _Atomic uint32_t *bits_of(achar__holders *holders, uint32_t ticket)
{
    return &holders->bits[ACHAR__TICKET_INDEX(ticket) / 32];
}

static uint32_t bit_of(uint32_t ticket)
{
    return UINT32_C(1) << ACHAR__TICKET_INDEX(ticket) % 32;
}

/* This process's count of handles; a forked child's begins anew. NULL: no memory. */
static uint32_t *count_of(achar_space *space, const achar_cell *cell)
{
    if (!space->handle_counts) {
        void *counts = mmap(NULL, COUNTS_NBYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (counts == MAP_FAILED) {
            return NULL;
        }
        if (madvise(counts, COUNTS_NBYTES, MADV_WIPEONFORK) != 0) {
            munmap(counts, COUNTS_NBYTES);
            return NULL;
        }
        space->handle_counts = counts;
    }
    return &space->handle_counts[achar__cell_index(space, cell)];
}

void achar__holders_close(achar_space *space)
{
    if (space->handle_counts) {
        munmap(space->handle_counts, COUNTS_NBYTES);
        space->handle_counts = NULL;
    }
}

/* ---- under the latch ---- */

static void hold(achar_space *space, achar_cell *cell, uint32_t ticket)
{
    achar__holders *holders = holders_of(space, cell);
    atomic_fetch_or(bits_of(holders, ticket), bit_of(ticket));
    if (atomic_load(&cell->standing) != ACHAR__CELL_KEPT) {
        atomic_store(&cell->standing, ACHAR__CELL_SENT);
    }
}

static void drop(achar_space *space, achar_cell *cell)
{
    uint32_t turn = atomic_fetch_add(&space->header->drop_count, 1);
    atomic_store(&cell->standing, ACHAR__CELL_DROPPED | (turn & ~ACHAR__CELL_DROPPED));
    ACHAR__CRASH_POINT("dropped");
}

/* The bit goes last: killed before that, its process is still known to have had the cell. */
static void let_go(achar_space *space, achar_cell *cell, uint32_t ticket)
{
    achar__holders *holders = holders_of(space, cell);
    _Atomic uint32_t *own = bits_of(holders, ticket);
    uint32_t standing = atomic_load(&cell->standing), others = 0;
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT / 32; i++) {
        uint32_t bits = atomic_load(&holders->bits[i]);
        others |= &holders->bits[i] == own ? bits & ~bit_of(ticket) : bits;
    }
    if (others == 0 && (standing == ACHAR__CELL_SENT || standing == ACHAR__CELL_UNSENT)) {
        drop(space, cell);
    }
    atomic_fetch_and(own, ~bit_of(ticket));
    ACHAR__CRASH_POINT("let-go");
}

/* A DROPPED cell becomes free. Nobody's bit is left by then, which would be the next one's. */
static void destroy(achar_space *space, achar_cell *cell)
{
    achar__holders *holders = holders_of(space, cell);
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT / 32; i++) {
        atomic_store(&holders->bits[i], 0);
    }
    ACHAR__CRASH_POINT("unheld");
    achar_sync_destroy(space, cell);
}

/* ---- handles ---- */

void achar__holder_begin(achar_space *space, const achar_cell *cell)
{
    uint32_t *count = count_of(space, cell);
    uint32_t ticket = achar__ticket(space);
    ACHAR__CRASH_POINT("unheld");
    if (count && ticket != 0) {
        *count = 1;
        atomic_fetch_or(bits_of(holders_of(space, cell), ticket), bit_of(ticket));
    }
    ACHAR__CRASH_POINT("held");
}

int achar__holder_send(achar_space *space, achar_cell *cell, bool forked)
{
    uint32_t ticket = achar__ticket(space);
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    uint32_t standing = atomic_load(&cell->standing);
    bool is_known = standing == ACHAR__CELL_KEPT || (standing == ACHAR__CELL_SENT && !forked);
    if (!is_known) {
        achar__latch_word(space, &space->header->holders_latch, ticket);
        hold(space, cell, ticket);
        if (forked) {
            atomic_store(&cell->standing, ACHAR__CELL_KEPT);
        }
        achar__unlatch_word(space, &space->header->holders_latch);
    }
    return ACHAR_OK;
}

int achar__holder_find(achar_space *space, uint64_t id, int kind, achar_cell **out)
{
    uint32_t ticket = achar__ticket(space);
    achar_cell *cell = NULL;
    if (ticket == 0) {
        return ACHAR_E_LIMIT;
    }
    achar__latch_word(space, &space->header->holders_latch, ticket);
    int status = achar_sync_find(space, id, kind, &cell);
    uint32_t *count = status == ACHAR_OK ? count_of(space, cell) : NULL;
    if (status == ACHAR_OK && !count) {
        status = ACHAR_E_NOMEM;
    }
    if (status == ACHAR_OK) {
        hold(space, cell, ticket);
        ++*count;
        *out = cell;
    }
    achar__unlatch_word(space, &space->header->holders_latch);
    return status;
}

void achar__holder_end(achar_space *space, achar_cell *cell, bool forked)
{
    uint32_t *count = count_of(space, cell);
    uint32_t ticket = achar__ticket(space);
    if (!count || *count == 0 || ticket == 0) {
        return; /* it stays */
    }
    --*count;
    if (*count > 0 && !forked) {
        return;
    }
    achar__latch_word(space, &space->header->holders_latch, ticket);
    if (forked) {
        atomic_store(&cell->standing, ACHAR__CELL_KEPT);
    }
    if (*count == 0 && atomic_load(&cell->standing) == ACHAR__CELL_UNSENT) {
        drop(space, cell); /* nobody can ask for it: it goes at once */
        destroy(space, cell);
    } else if (*count == 0) {
        let_go(space, cell, ticket);
    }
    achar__unlatch_word(space, &space->header->holders_latch);
}

/* ---- the dead, and the end ---- */

void achar__holder_bury(achar_space *space, uint32_t ticket, uint32_t dead)
{
    bool forked = atomic_load(&space->header->processes[ACHAR__TICKET_INDEX(dead)].has_forked);
    achar_cell *cell = NULL;
    achar__latch_word(space, &space->header->holders_latch, ticket);
    while ((cell = achar__cell_next(space, cell))) {
        if (atomic_load(bits_of(holders_of(space, cell), dead)) & bit_of(dead)) {
            if (forked) {
                atomic_store(&cell->standing, ACHAR__CELL_KEPT);
            }
            let_go(space, cell, dead);
        }
    }
    achar__unlatch_word(space, &space->header->holders_latch);
}

static bool is_dropped(const achar_cell *cell)
{
    return atomic_load(&cell->standing) & ACHAR__CELL_DROPPED &&
           atomic_load(&cell->kind) > ACHAR__CELL_MAKING;
}

/* How long ago, in drops. */
static uint32_t age_of(const achar_space *space, const achar_cell *cell)
{
    return (atomic_load(&space->header->drop_count) - atomic_load(&cell->standing)) &
           ~ACHAR__CELL_DROPPED;
}

bool achar__holders_reclaim(achar_space *space)
{
    uint32_t ticket = achar__ticket(space), oldest = 0, youngest = UINT32_MAX;
    bool any = false;
    achar_cell *cell = NULL;
    if (ticket == 0) {
        return false;
    }
    achar__reap_the_dead(space);
    achar__latch_word(space, &space->header->latch, ticket); /* no reaper looks at them now */
    achar__latch_word(space, &space->header->holders_latch, ticket);
    while ((cell = achar__cell_next(space, cell))) {
        if (is_dropped(cell)) {
            uint32_t age = age_of(space, cell);
            oldest = age > oldest ? age : oldest;
            youngest = age < youngest ? age : youngest;
            any = true;
        }
    }
    /* The older half: so a search for them pays. */
    uint32_t least = any ? youngest + (oldest - youngest) / 2 : 0;
    while (any && (cell = achar__cell_next(space, cell))) {
        if (is_dropped(cell) && age_of(space, cell) >= least) {
            destroy(space, cell);
        }
    }
    achar__unlatch_word(space, &space->header->holders_latch);
    achar__unlatch_word(space, &space->header->latch);
    return any;
}
