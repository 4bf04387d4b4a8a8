/*
 * spin.h - looking for a moment before sleeping, where that has paid.
 *
 * Between two CPUs, putting a thread to sleep and waking it costs more than what most partners take
 * to answer. So a thread that has another CPU beside its own looks at its bell for some microseconds
 * before it sleeps on it. Each thread keeps the score of its own looking: when it has not paid it
 * stops, and tries again after 8 sleeps, then 16, up to 4096. Such a trial costs what three looks
 * cost; on a single CPU there is none.
 */
#ifndef ACHAR_RUNTIME_SYNC_SPIN_H
#define ACHAR_RUNTIME_SYNC_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum achar__spin_outcome {
    ACHAR__SPIN_NONE, /* it did not look: not now */
    ACHAR__SPIN_RUNG, /* the bell is not 'seen' any more */
    ACHAR__SPIN_VAIN  /* it looked; sleep now */
};

/* Not beyond 'deadline_ns' (futex.h). */
enum achar__spin_outcome achar__spin(const _Atomic uint32_t *bell, uint32_t seen,
                                     int64_t deadline_ns);

/* For a loop that looks at memory: lets the CPU's other thread, and the memory, rest. */
static inline void achar__relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
