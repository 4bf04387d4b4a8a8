/*
 * holders.h - which processes have an object, and what becomes of one that nobody has any more.
 *
 * Each process that has handles of an object holds it: one bit for each place in the registry, the
 * maker's from the beginning. An object that was never sent anywhere goes with its maker's last
 * handle. The bits of the dead are cleared when they are reaped. When the last bit of another object
 * goes, or its maker died with it, the object is DROPPED, but a message with its number may still be on the way to somebody: so it stays
 * as it is, and whoever finds it by its number holds it again. Only when all cells are taken are
 * dropped ones used again, those first that were dropped first.
 *
 * What a forked child has, nobody counts: an object whose holder has forked since it got it is KEPT,
 * as long as the space lives.
 *
 * All of this changes under the header's 'holders_latch', by single stores. A space counts its
 * process's handles in memory of its own; a caller sees to it that one thread at a time does that.
 */
#ifndef ACHAR_RUNTIME_SYNC_HOLDERS_H
#define ACHAR_RUNTIME_SYNC_HOLDERS_H

#include "runtime/sync/space.h"

/* A new object's first handle. Without memory to count it, the object stays with the space. */
void achar__holder_begin(achar_space *space, const achar_cell *cell);

/*
 * The object's number is about to be sent. 'forked': this process has forked since it got its handle,
 * or got it by a fork. ACHAR_E_LIMIT: this process has no place in the registry.
 */
int achar__holder_send(achar_space *space, achar_cell *cell, bool forked);

/* As achar_sync_find(), and a handle more. ACHAR_E_NOMEM, ACHAR_E_LIMIT. */
int achar__holder_find(achar_space *space, uint64_t id, int kind, achar_cell **out);

/* A handle less, of those of this process. 'forked': it has forked since it got it. */
void achar__holder_end(achar_space *space, achar_cell *cell, bool forked);

/* For the reaper: the dead process holds nothing. */
void achar__holder_bury(achar_space *space, uint32_t ticket, uint32_t dead);

/* All cells are taken. Makes some free that were dropped long ago; false: there are none. */
bool achar__holders_reclaim(achar_space *space);

#endif
