/* latch.c - waiting for a latch, and taking it over from the dead. */
#include "runtime/sync/latch.h"
#include "runtime/sync/futex.h"
#include "runtime/sync/settle.h"
#include "runtime/sync/spin.h"

#include <achar/status.h>

#define SPIN_COUNT  100
#define PATIENCE_NS INT64_C(10000000) /* then see whether the holder lives */

static _Thread_local bool interrupted;

bool achar__latch_was_interrupted(void)
{
    bool was = interrupted;
    interrupted = false;
    return was;
}

/* The latch was held by a process that is dead, and is ours now. */
static void repair(achar_space *space, achar_cell *cell)
{
    if (!cell) {
        return; /* the registry's: whoever reaps begins anew; the arena's: whole at every step */
    }
    achar__change_apply(space, cell, atomic_load(&cell->log_count));
    atomic_store(&cell->log_count, 0);
    achar__settle(space, cell);
}

void achar__latch_slowly(achar_space *space, _Atomic uint32_t *latch, achar_cell *cell,
                         uint32_t ticket)
{
    for (int i = 0; i < SPIN_COUNT; i++) {
        uint32_t free = 0;
        if (atomic_load_explicit(latch, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong(latch, &free, ticket)) {
            return;
        }
        achar__relax();
    }
    for (;;) {
        uint32_t seen = 0;
        /* Others may sleep as well: whoever has slept wakes the next. */
        if (atomic_compare_exchange_strong(latch, &seen, ticket | ACHAR__LATCH_CONTENDED)) {
            return;
        }
        uint32_t marked = seen | ACHAR__LATCH_CONTENDED;
        if (seen != marked && !atomic_compare_exchange_strong(latch, &seen, marked)) {
            continue;
        }
        int status =
            achar__futex_wait(latch, marked, space->shared, achar__deadline_in(PATIENCE_NS));
        if (status == ACHAR_E_INTERRUPTED) {
            interrupted = true;
        }
        uint32_t holder = marked & ~ACHAR__LATCH_CONTENDED;
        if (status == ACHAR_E_TIMEOUT && !achar__process_lives(space, holder) &&
            atomic_compare_exchange_strong(latch, &marked, ticket | ACHAR__LATCH_CONTENDED)) {
            repair(space, cell);
            return;
        }
    }
}

void achar__latch_wake(achar_space *space, _Atomic uint32_t *latch)
{
    achar__futex_wake(latch, space->shared, 1);
}
