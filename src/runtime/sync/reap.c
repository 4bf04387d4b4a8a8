/*
 * reap.c - settling what a dead process had. Everything is done from what stands in the space, and
 * may be done again from the start: so a reaper may be killed as well, and the next one begins anew.
 *
 *    1. its waiters come off the lists; what they had been given goes to the next
 *    2. what it owned is orphaned, and who waits for that is told
 *    3. its extents are free, it holds no cells, its pages of waiters are free, and its place,
 *       under the next generation
 *    4. everybody is rung: the dead may have owed a ring
 */
#include "runtime/sync/arena.h"
#include "runtime/sync/holders.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/lock.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>

void achar__settle(achar_space *space, achar_cell *cell)
{
    switch (atomic_load(&cell->kind)) {
    case ACHAR__CELL_LOCK:
    case ACHAR__CELL_RECURSIVE_LOCK:
        achar__lock_settle(space, cell);
        break;
    case ACHAR__CELL_EVENT:
        achar__event_settle(space, cell);
        break;
    case ACHAR__CELL_SEMAPHORE:
        achar__semaphore_settle(space, cell);
        break;
    case ACHAR__CELL_BARRIER:
        achar__barrier_settle(space, cell);
        break;
    case ACHAR__CELL_QUEUE:
        achar__queue_settle(space, cell);
        break;
    default:
        break;
    }
}

void achar__bury(achar_space *space, achar_cell *cell, uint32_t dead)
{
    switch (atomic_load(&cell->kind)) {
    case ACHAR__CELL_LOCK:
    case ACHAR__CELL_RECURSIVE_LOCK:
        achar__lock_bury(space, cell, dead);
        break;
    case ACHAR__CELL_CONDITION:
        achar__condition_bury(space, cell, dead);
        break;
    case ACHAR__CELL_SEMAPHORE:
        achar__semaphore_bury(space, cell, dead);
        break;
    case ACHAR__CELL_BARRIER:
        achar__barrier_bury(space, cell, dead);
        break;
    case ACHAR__CELL_QUEUE:
        achar__queue_bury(space, cell, dead);
        break;
    default:
        break;
    }
}

void achar__bury_waiter(achar_space *space, achar__waiter *waiter)
{
    achar_cell *cell = achar__cell_at(space, waiter->object);
    switch (atomic_load(&cell->kind)) {
    case ACHAR__CELL_LOCK:
    case ACHAR__CELL_RECURSIVE_LOCK:
        achar__lock_bury_waiter(space, cell, waiter);
        break;
    case ACHAR__CELL_CONDITION:
        achar__condition_bury_waiter(space, cell, waiter);
        break;
    case ACHAR__CELL_SEMAPHORE:
        achar__semaphore_bury_waiter(space, cell, waiter);
        break;
    case ACHAR__CELL_BARRIER:
        achar__barrier_bury_waiter(space, cell, waiter);
        break;
    case ACHAR__CELL_QUEUE:
        achar__queue_bury_waiter(space, cell, waiter);
        break;
    default:
        if (atomic_load(&waiter->state) == ACHAR__WAITER_QUEUED) {
            achar__take_off(space, achar__home_of(space, cell), waiter, ACHAR__WAITER_IDLE);
        }
        break;
    }
    atomic_store(&waiter->state, ACHAR__WAITER_IDLE);
}

static void bury_waiters(achar_space *space, uint32_t me, uint32_t dead)
{
    for (uint32_t i = 0; i < ACHAR__CHUNK_COUNT; i++) {
        if (atomic_load(&space->header->chunk_owners[i]) != dead) {
            continue;
        }
        achar__waiter *waiters = achar__at(space, ACHAR__CHUNKS_PLACE + i * ACHAR__CHUNK_NBYTES);
        for (uint32_t w = 0; w < ACHAR__CHUNK_WAITERS; w++) {
            if (waiters[w].object == 0) {
                continue; /* never used */
            }
            achar_cell *home = achar__home_of(space, achar__cell_at(space, waiters[w].object));
            achar__latch(space, home, me);
            if (atomic_load(&waiters[w].state) != ACHAR__WAITER_IDLE) {
                achar__bury_waiter(space, &waiters[w]);
            }
            achar__unlatch(space, home);
            ACHAR__CRASH_POINT("reaping");
        }
    }
}

/* Whether the cell has to be looked at under its latch: others may hold that for long (SIGSTOP). */
static bool is_concerned(achar_cell *cell, uint32_t dead)
{
    uint32_t kind = atomic_load(&cell->kind);
    if (kind > ACHAR__CELL_MAKING && kind != ACHAR__CELL_ACCOUNTS &&
        (atomic_load(&cell->latch) & ~ACHAR__LATCH_CONTENDED) == dead) {
        return true;
    }
    switch (kind) {
    case ACHAR__CELL_LOCK:
    case ACHAR__CELL_RECURSIVE_LOCK:
        return ACHAR__LOCK_TICKET(atomic_load(&cell->word)) == dead;
    case ACHAR__CELL_SEMAPHORE:
    case ACHAR__CELL_BARRIER:
    case ACHAR__CELL_QUEUE:
        return true;
    default:
        return false;
    }
}

static void bury_one(achar_space *space, uint32_t me, achar_cell *cell, uint32_t dead)
{
    achar_cell *home = achar__home_of(space, cell);
    achar__latch(space, home, me);
    achar__bury(space, cell, dead);
    achar__unlatch(space, home);
    ACHAR__CRASH_POINT("reaping");
}

static void bury_cells(achar_space *space, uint32_t me, uint32_t dead)
{
    achar_cell *cell = NULL;
    /* Conditions first: when their lock has become an orphan, others may recover it at once. */
    while ((cell = achar__cell_next(space, cell))) {
        if (atomic_load(&cell->kind) == ACHAR__CELL_CONDITION &&
            is_concerned(achar__home_of(space, cell), dead)) {
            bury_one(space, me, cell, dead);
        }
    }
    while ((cell = achar__cell_next(space, cell))) {
        if (is_concerned(cell, dead)) {
            bury_one(space, me, cell, dead);
        }
    }
}

static void free_waiters(achar_space *space, uint32_t dead)
{
    for (uint32_t i = 0; i < ACHAR__CHUNK_COUNT; i++) {
        if (atomic_load(&space->header->chunk_owners[i]) != dead) {
            continue;
        }
        achar__waiter *waiters = achar__at(space, ACHAR__CHUNKS_PLACE + i * ACHAR__CHUNK_NBYTES);
        for (uint32_t w = 0; w < ACHAR__CHUNK_WAITERS; w++) {
            waiters[w].object = 0;
            atomic_store(&waiters[w].ticket, 0);
        }
        atomic_store(&space->header->chunk_owners[i], 0);
    }
}

void achar__reap(achar_space *space, uint32_t dead)
{
    achar__process *process = &space->header->processes[ACHAR__TICKET_INDEX(dead)];
    uint32_t me = achar__ticket(space);
    if (me == 0) {
        return;
    }
    achar__latch_word(space, &space->header->latch, me);
    uint64_t claim = atomic_load(&process->claim);
    uint32_t generation = (uint32_t)(claim >> 16) & ACHAR__GENERATION_MASK;
    bool is_there =
        (claim & 0xffff) != ACHAR__PROCESS_NONE && generation == ACHAR__TICKET_GENERATION(dead);
    if (is_there) {
        bury_waiters(space, me, dead);
        bury_cells(space, me, dead);
        achar__extents_give_back(space, me, dead);
        achar__holder_bury(space, me, dead);
        free_waiters(space, dead);
        ACHAR__CRASH_POINT("reaping");
        generation = (generation + 1) & ACHAR__GENERATION_MASK;
        atomic_store(&process->claim, (uint64_t)generation << 16 | ACHAR__PROCESS_NONE);
    }
    achar__unlatch_word_of(space, &space->header->latch, me);
    if (is_there) {
        achar__ring_all(space);
    }
}
