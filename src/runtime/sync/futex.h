/*
 * futex.h - sleeping on a 32-bit word until another thread or process changes it.
 *
 * The idiom, on both sides sequentially consistent:
 *
 *    sleeper:  seen = word; if (condition) go on; wait(word, seen)
 *    waker:    make the condition true; word += 1; wake(word)
 *
 * The word is only ever compared with itself, so it needs no other meaning, and a wake between the
 * read and the wait is not lost: the kernel finds the word changed.
 */
#ifndef ACHAR_RUNTIME_FUTEX_H
#define ACHAR_RUNTIME_FUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define ACHAR__NO_DEADLINE (-1)

/* CLOCK_MONOTONIC, in nanoseconds. */
static inline int64_t achar__now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The deadline that is 'timeout_ns' from now; a negative timeout has none. Never overflows. */
int64_t achar__deadline_in(int64_t timeout_ns);

/*
 * achar__futex_wait() sleeps while '*word' is 'seen'. 'shared': other processes wake it (the mapping
 * may be read-only). 'deadline_ns' is a time of achar__now_ns(), or ACHAR__NO_DEADLINE.
 *
 * ACHAR_OK: woken, or the word differs, or for no reason: look again. ACHAR_E_TIMEOUT.
 * ACHAR_E_INTERRUPTED: a signal handler installed without SA_RESTART ran.
 */
int achar__futex_wait(const _Atomic uint32_t *word, uint32_t seen, bool shared,
                      int64_t deadline_ns);

/* Wakes up to 'count' sleepers of 'word'. */
void achar__futex_wake(const _Atomic uint32_t *word, bool shared, int count);

/* Changes 'word' and wakes all who sleep on it. */
static inline void achar__futex_ring(_Atomic uint32_t *word, bool shared)
{
    atomic_fetch_add(word, 1);
    achar__futex_wake(word, shared, INT32_MAX);
}

#endif
