/* spin.c - see spin.h. */
#include "runtime/sync/spin.h"
#include "runtime/sync/futex.h"

#include <sched.h>

#define LOOK_NS     INT64_C(20000)
#define SCORE_TRIAL 6 /* three looks in vain end it */
#define SCORE_MOST  16
#define VAIN_COSTS  2
#define REST_LEAST  8
#define REST_MOST   4096

typedef struct record {
    int score; /* looks while it is positive */
    uint32_t rest, rested;
} record;

static _Thread_local record own;

static bool has_other_cpus(void)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) > 1;
}

/* Whether to look this time. */
static bool is_due(void)
{
    if (own.score > 0) {
        return true;
    }
    if (own.rest == 0) {
        own.rest = REST_LEAST;
    }
    if (++own.rested < own.rest) {
        return false;
    }
    own.rested = 0;
    own.rest = own.rest < REST_MOST ? own.rest * 2 : REST_MOST;
    own.score = has_other_cpus() ? SCORE_TRIAL : 0;
    return own.score > 0;
}

enum achar__spin_outcome achar__spin(const _Atomic uint32_t *bell, uint32_t seen,
                                     int64_t deadline_ns)
{
    if (deadline_ns == 0 || !is_due()) {
        return ACHAR__SPIN_NONE;
    }
    int64_t end_ns = achar__now_ns() + LOOK_NS;
    if (deadline_ns >= 0 && deadline_ns < end_ns) {
        end_ns = deadline_ns;
    }
    do {
        for (int i = 0; i < 8; i++) {
            if (atomic_load_explicit(bell, memory_order_acquire) != seen) {
                own.score = own.score < SCORE_MOST ? own.score + 1 : SCORE_MOST;
                own.rest = REST_LEAST;
                return ACHAR__SPIN_RUNG;
            }
            achar__relax();
        }
    } while (achar__now_ns() < end_ns);
    own.score -= VAIN_COSTS;
    return ACHAR__SPIN_VAIN;
}
