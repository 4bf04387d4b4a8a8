/*
 * forked.h - which forks of this process may still look at the shared memory that it looks at.
 *
 * Whoever holds bytes in shared memory keeps them as they are for as long as it holds them. A fork's child
 * sees the same bytes, holds nothing, and may live longer. So who lets go of such bytes asks here first.
 */
#ifndef ACHAR_RUNTIME_FORKED_H
#define ACHAR_RUNTIME_FORKED_H

#include <stdbool.h>
#include <stdint.h>

/* From now on, until as many achar__forked_unwatch(), forks are counted. */
void achar__forked_watch(void);
void achar__forked_unwatch(void);

/* How many there have been. */
uint64_t achar__forked_count(void);

/*
 * Whether a process may live that has its memory from one of the forks number 'after' + 1 to 'until': a
 * child, or a child's child; not what has called exec. A few system calls for each such fork that is not
 * known to be gone.
 */
bool achar__forked_may_see(uint64_t after, uint64_t until);

#endif
