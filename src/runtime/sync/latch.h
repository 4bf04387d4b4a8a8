/*
 * latch.h - changing a cell so that a kill -9 between any two instructions leaves nothing half done.
 *
 * Whoever changes a cell's lists or numbers holds its latch, for some hundred instructions and never
 * while anything waits or calls out. A change is a list of steps (place, value) that is first
 * written into the cell's log; then its length is published; then the steps are made; then the
 * length is 0 again. Whoever takes the latch over from the dead makes the published steps once more:
 * so either all of them happen, or none.
 *
 * A lock's word takes part in neither (lock.h).
 */
#ifndef ACHAR_RUNTIME_SYNC_LATCH_H
#define ACHAR_RUNTIME_SYNC_LATCH_H

#include "runtime/sync/space.h"
#include "runtime/test_points.h"

#define ACHAR__LATCH_CONTENDED 0x80000000u

/* For achar__latch() only. Sleeps while others have it; takes it over from the dead. */
void achar__latch_slowly(achar_space *space, _Atomic uint32_t *latch, achar_cell *cell,
                         uint32_t ticket);
void achar__latch_wake(achar_space *space, _Atomic uint32_t *latch);

/*
 * Whether a signal came to this thread while it slept for a latch, since it was asked last: nothing
 * was told then, and the signal does not interrupt what the thread sleeps on next.
 */
bool achar__latch_was_interrupted(void);

/* 'home' is a cell whose home is itself; 'ticket' is this process's. */
static inline void achar__latch(achar_space *space, achar_cell *home, uint32_t ticket)
{
    uint32_t free = 0;
    if (!atomic_compare_exchange_strong_explicit(&home->latch, &free, ticket, memory_order_acquire,
                                                 memory_order_relaxed)) {
        achar__latch_slowly(space, &home->latch, home, ticket);
    }
}

static inline void achar__unlatch(achar_space *space, achar_cell *home)
{
    ACHAR__CRASH_POINT("latched");
    uint32_t was = atomic_exchange_explicit(&home->latch, 0, memory_order_release);
    if (was & ACHAR__LATCH_CONTENDED) {
        achar__latch_wake(space, &home->latch);
    }
}

/* The same for a word that is not a cell's: there is nothing to repair behind it. */
static inline void achar__latch_word(achar_space *space, _Atomic uint32_t *latch, uint32_t ticket)
{
    uint32_t free = 0;
    if (!atomic_compare_exchange_strong(latch, &free, ticket)) {
        achar__latch_slowly(space, latch, NULL, ticket);
    }
}

static inline void achar__unlatch_word(achar_space *space, _Atomic uint32_t *latch)
{
    if (atomic_exchange(latch, 0) & ACHAR__LATCH_CONTENDED) {
        achar__latch_wake(space, latch);
    }
}

/* The same by who may have reaped itself meanwhile: by then another may have taken the latch over. */
static inline void achar__unlatch_word_of(achar_space *space, _Atomic uint32_t *latch,
                                          uint32_t ticket)
{
    uint32_t word = atomic_load(latch);
    while ((word & ~ACHAR__LATCH_CONTENDED) == ticket) {
        if (atomic_compare_exchange_weak(latch, &word, 0)) {
            if (word & ACHAR__LATCH_CONTENDED) {
                achar__latch_wake(space, latch);
            }
            return;
        }
    }
}

/* ---- a change, in steps ---- */

typedef struct achar__change {
    achar_space *space;
    achar_cell *home; /* latched */
    uint32_t count;
} achar__change;

static inline achar__change achar__change_begin(achar_space *space, achar_cell *home)
{
    return (achar__change){space, home, 0};
}

/* 'field' is a uint32_t, atomic or not, anywhere in the space. Nothing is changed yet. */
static inline void achar__change_add(achar__change *change, const volatile void *field,
                                     uint32_t value)
{
    change->home->log[change->count++] = (achar__step){
        (achar__place)((const volatile unsigned char *)field - change->space->region.base), value};
}

/* Makes the published steps of 'home', whether for the first time or again. */
static inline void achar__change_apply(achar_space *space, achar_cell *home, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        _Atomic uint32_t *field = (_Atomic uint32_t *)achar__at(space, home->log[i].place);
        ACHAR__CRASH_POINT("step");
        atomic_store_explicit(field, home->log[i].value, memory_order_release);
    }
}

static inline void achar__change_commit(achar__change *change)
{
    ACHAR__CRASH_POINT("before-commit");
    atomic_store_explicit(&change->home->log_count, change->count, memory_order_release);
    achar__change_apply(change->space, change->home, change->count);
    ACHAR__CRASH_POINT("after-steps");
    atomic_store_explicit(&change->home->log_count, 0, memory_order_release);
    change->count = 0;
}

/* ---- lists; at most one of each per change, on different lists ---- */

static inline bool achar__list_is_empty(const achar_space *space, const achar__link *list)
{
    return list->next == achar__place_of(space, list);
}

/* The same at a glance, without the latch: true if it was so a moment ago. */
static inline bool achar__list_seems_empty(const achar_space *space, const achar__link *list)
{
    return atomic_load((const _Atomic uint32_t *)&list->next) == achar__place_of(space, list);
}

/* The first waiter; NULL: there is none. */
static inline achar__waiter *achar__list_first(const achar_space *space, const achar__link *list)
{
    return achar__list_is_empty(space, list) ? NULL : achar__waiter_of(space, list->next);
}

static inline void achar__change_unlink(achar__change *change, const achar__waiter *waiter)
{
    achar__link *before = achar__at(change->space, waiter->link.prev);
    achar__link *behind = achar__at(change->space, waiter->link.next);
    achar__change_add(change, &before->next, waiter->link.next);
    achar__change_add(change, &behind->prev, waiter->link.prev);
}

static inline void achar__change_append(achar__change *change, achar__link *list,
                                        achar__waiter *waiter)
{
    achar__link *last = achar__at(change->space, list->prev);
    achar__place place = achar__place_of(change->space, &waiter->link);
    achar__change_add(change, &waiter->link.prev, list->prev);
    achar__change_add(change, &waiter->link.next, achar__place_of(change->space, list));
    achar__change_add(change, &last->next, place);
    achar__change_add(change, &list->prev, place);
}

/* Takes 'waiter' off its list, in 'state'. */
static inline void achar__take_off(achar_space *space, achar_cell *home, achar__waiter *waiter,
                                   enum achar__waiter_state state)
{
    achar__change change = achar__change_begin(space, home);
    achar__change_unlink(&change, waiter);
    achar__change_add(&change, &waiter->state, state);
    achar__change_commit(&change);
}

/* Puts 'waiter', which is on no list, at the end of 'list'. */
static inline void achar__put_on(achar_space *space, achar_cell *home, achar__link *list,
                                 achar__waiter *waiter, enum achar__waiter_state state)
{
    achar__change change = achar__change_begin(space, home);
    achar__change_append(&change, list, waiter);
    achar__change_add(&change, &waiter->state, state);
    achar__change_commit(&change);
}

#endif
