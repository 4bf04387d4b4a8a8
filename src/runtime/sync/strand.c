/* strand.c - see strand.h. */
#include "runtime/sync/strand.h"
#include "runtime/sync/fiber.h"
#include "runtime/sync/latch.h"
#include "runtime/sync/lock.h"
#include "runtime/sync/settle.h"

#include <achar/status.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#define STACK_NBYTES ((size_t)64 << 10)

struct achar__strand {
    ucontext_t own, caller;
    achar__fiber own_fiber, caller_fiber;
    unsigned char *stack; /* its first page is not accessible */
    int (*function)(void *argument);
    void *argument;
    uint32_t thread_number;
    int status;
    bool started, finished, cancelled;
    /* While it sleeps. */
    achar_space *space;
    achar__waiter *waiter;
};

static _Thread_local achar__strand *current;

bool achar__on_strand(void)
{
    return current != NULL;
}

/* makecontext() passes ints only. */
static void enter(unsigned high, unsigned low)
{
    achar__strand *strand = (achar__strand *)((uintptr_t)high << 32 | low);
    achar__fiber_arrive(&strand->own_fiber, &strand->caller_fiber);
    strand->status = strand->function(strand->argument);
    strand->finished = true;
    achar__fiber_leave(&strand->own_fiber, &strand->caller_fiber, true);
    swapcontext(&strand->own, &strand->caller);
}

achar__strand *achar__strand_create(int (*function)(void *argument), void *argument,
                                    uint32_t thread_number)
{
    achar__strand *strand = calloc(1, sizeof *strand);
    void *stack = MAP_FAILED;
    if (strand) {
        stack = mmap(NULL, STACK_NBYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    }
    if (stack == MAP_FAILED) {
        free(strand);
        return NULL;
    }
    (void)mprotect(stack, ACHAR__PAGE_NBYTES, PROT_NONE);
    strand->stack = stack;
    achar__fiber_create(&strand->own_fiber, strand->stack + ACHAR__PAGE_NBYTES,
                        STACK_NBYTES - ACHAR__PAGE_NBYTES);
    strand->function = function;
    strand->argument = argument;
    strand->thread_number = thread_number;
    return strand;
}

bool achar__strand_run(achar__strand *strand, bool cancel, int *status)
{
    uint32_t thread_before = achar__lock_act_as(strand->thread_number);
    achar__strand *strand_before = current;
    strand->cancelled |= cancel;
    current = strand;
    if (!strand->started) {
        strand->started = true;
        getcontext(&strand->own);
        strand->own.uc_stack.ss_sp = strand->stack + ACHAR__PAGE_NBYTES;
        strand->own.uc_stack.ss_size = STACK_NBYTES - ACHAR__PAGE_NBYTES;
        strand->own.uc_link = NULL;
        uintptr_t self = (uintptr_t)strand;
        makecontext(&strand->own, (void (*)(void))enter, 2, (unsigned)(self >> 32), (unsigned)self);
    }
    strand->waiter = NULL;
    achar__fiber_leave(&strand->caller_fiber, &strand->own_fiber, false);
    swapcontext(&strand->caller, &strand->own);
    achar__fiber_arrive(&strand->caller_fiber, &strand->own_fiber);
    current = strand_before;
    (void)achar__lock_act_as(thread_before);
    *status = strand->status;
    return strand->finished;
}

int achar__strand_sleep(achar_space *space, achar__waiter *waiter)
{
    achar__strand *strand = current;
    bool was_cancelled = strand->cancelled;
    if (was_cancelled && !achar__waiter_queues(waiter)) {
        return ACHAR_E_INTERRUPTED;
    }
    strand->space = space;
    strand->waiter = waiter;
    achar__fiber_leave(&strand->own_fiber, &strand->caller_fiber, false);
    swapcontext(&strand->own, &strand->caller);
    achar__fiber_arrive(&strand->own_fiber, &strand->caller_fiber);
    return strand->cancelled && !was_cancelled ? ACHAR_E_INTERRUPTED : ACHAR_OK;
}

uint32_t achar__strand_number(const achar__strand *strand)
{
    return strand->waiter ? achar__waiter_number(strand->space, strand->waiter) : ACHAR__RUNG_NONE;
}

uint32_t achar__rung_next(const achar_space *space, uint32_t from)
{
    uint32_t end = atomic_load(&space->member->chunk_end);
    uint64_t mask = UINT64_MAX << from % ACHAR__CHUNK_WAITERS;
    for (uint32_t chunk = from / ACHAR__CHUNK_WAITERS; chunk < end; chunk++) {
        uint64_t bits = atomic_load(&space->header->rung[chunk]) & mask;
        if (bits) {
            return chunk * ACHAR__CHUNK_WAITERS + (uint32_t)__builtin_ctzll(bits);
        }
        mask = UINT64_MAX;
    }
    return ACHAR__RUNG_NONE;
}

void achar__rung_clear(achar_space *space, uint32_t number)
{
    atomic_fetch_and(&space->header->rung[number / ACHAR__CHUNK_WAITERS],
                     ~(UINT64_C(1) << number % ACHAR__CHUNK_WAITERS));
}

void achar__strand_free(achar__strand *strand)
{
    if (!strand) {
        return;
    }
    achar__waiter *waiter = strand->waiter;
    uint32_t me = waiter ? achar__ticket(strand->space) : 0;
    /* Not in a forked child, where it is its parent's. */
    if (!strand->finished && waiter && me == atomic_load(&waiter->ticket)) {
        achar_cell *home =
            achar__home_of(strand->space, achar__cell_at(strand->space, waiter->object));
        achar__latch(strand->space, home, me);
        achar__bury_waiter(strand->space, waiter);
        achar__unlatch(strand->space, home);
        achar__ring_all(strand->space); /* whoever comes next looks */
        achar__waiter_give_back(strand->space, waiter);
    }
    achar__fiber_destroy(&strand->own_fiber);
    munmap(strand->stack, STACK_NBYTES);
    free(strand);
}
