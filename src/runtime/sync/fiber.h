/*
 * fiber.h - telling the sanitizers that a thread goes on on another stack. Nothing in other builds.
 *
 * What runs next is told before swapcontext(), where it came from after it.
 */
#ifndef ACHAR_RUNTIME_SYNC_FIBER_H
#define ACHAR_RUNTIME_SYNC_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

/* One side of the switching: the strand's stack, or the stack of whoever runs it. */
typedef struct achar__fiber {
    const void *bottom; /* of its stack; not known of a caller before the first switch */
    size_t nbytes;
    void *fake_stack, *thread; /* the sanitizers' */
} achar__fiber;

static inline void achar__fiber_create(achar__fiber *fiber, const void *bottom, size_t nbytes)
{
    *fiber = (achar__fiber){.bottom = bottom, .nbytes = nbytes};
#ifdef __SANITIZE_THREAD__
    fiber->thread = __tsan_create_fiber(0);
#endif
}

static inline void achar__fiber_destroy(achar__fiber *fiber)
{
#ifdef __SANITIZE_THREAD__
    if (fiber->thread) {
        __tsan_destroy_fiber(fiber->thread);
    }
#endif
    fiber->thread = NULL;
}

/* Before 'from' goes on as 'to'. 'ends': 'from' never comes back. */
static inline void achar__fiber_leave(achar__fiber *from, const achar__fiber *to, bool ends)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(ends ? NULL : &from->fake_stack, to->bottom, to->nbytes);
#endif
#ifdef __SANITIZE_THREAD__
    if (!ends) {
        from->thread = __tsan_get_current_fiber();
    }
    __tsan_switch_to_fiber(to->thread, 0);
#endif
    (void)from, (void)to, (void)ends;
}

/* 'here' runs again, or for the first time; it was 'from' that ran before. */
static inline void achar__fiber_arrive(achar__fiber *here, achar__fiber *from)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(here->fake_stack, &from->bottom, &from->nbytes);
#endif
    (void)here, (void)from;
}

#endif
