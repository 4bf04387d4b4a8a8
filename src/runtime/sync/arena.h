/*
 * arena.h - memory for messages, in pieces that have an owner: a process or a queue.
 *
 *    unit        0     1     2     3     4     5     6
 *    table     (P,2)   .   (0,1) (Q,3)   .     .   (0,..)    owner, and how many units
 *
 * The words of an extent's first unit count; extent follows extent. An extent is free when its owner
 * is 0. Each step of taking, joining and giving back is one store that leaves a table without a gap,
 * so whoever is killed leaves nothing to repair. The arena is mapped at its first use in a process.
 * An extent goes by its number, that of its first unit and one: 0 is none.
 */
#ifndef ACHAR_RUNTIME_SYNC_ARENA_H
#define ACHAR_RUNTIME_SYNC_ARENA_H

#include "runtime/sync/space.h"

/* Maps the arena, if this process has not yet. ACHAR_E_NOMEM, ACHAR_E_IO. */
int achar__arena_map(achar_space *space);

/*
 * An extent with room for 'nbytes', committed, owned by 'ticket', which is this process's. The arena
 * is mapped. ACHAR_E_LIMIT: it has no room. ACHAR_E_NOMEM.
 */
int achar__extent_take(achar_space *space, uint32_t ticket, size_t nbytes, uint32_t *out);

/* Its owner, or who settles what its dead owner had, gives it back. 'ticket' is this process's. */
void achar__extent_give_back(achar_space *space, uint32_t ticket, uint32_t extent);

/* Gives back all that belongs to 'owner', which is dead or a queue that is being destroyed. */
void achar__extents_give_back(achar_space *space, uint32_t ticket, uint32_t owner);

/* How many extents have an owner; for tests. */
uint32_t achar__extents_taken(achar_space *space, uint32_t ticket);

static inline achar__extent *achar__extent_at(const achar_space *space, uint32_t extent)
{
    return (achar__extent *)achar__at(space, ACHAR__EXTENTS_PLACE) + (extent - 1);
}

/* Where it stands. The arena is mapped. */
static inline unsigned char *achar__extent_data(achar_space *space, uint32_t extent)
{
    return atomic_load_explicit(&space->arena_base, memory_order_acquire) +
           (size_t)(extent - 1) * ACHAR__UNIT_NBYTES;
}

#endif
