/*
 * accounts.h - how much of something each process has: a semaphore's permits, a queue's messages that
 * were taken and are not done yet. Eight accounts to a cell; a chain of cells, by 'semaphore.more',
 * has as many as there are processes. All of it under the latch of the object's home.
 */
#ifndef ACHAR_RUNTIME_SYNC_ACCOUNTS_H
#define ACHAR_RUNTIME_SYNC_ACCOUNTS_H

#include "runtime/sync/space.h"

/* The account of 'ticket' (0: any that is nobody's) in the chain from 'first' (NULL: empty) on; NULL: none. */
achar__account *achar__account_find(achar_space *space, achar_cell *first, uint32_t ticket);

/* Somebody's account with something in it. NULL: there is none. */
achar__account *achar__account_filled(achar_space *space, achar_cell *first);

/*
 * Makes sure that 'ticket' has an account in the chain from 'first' on. A new cell goes to the place
 * that '*more', in 'home', names. ACHAR_E_NOMEM, ACHAR_E_LIMIT.
 */
int achar__account_open(achar_space *space, achar_cell *home, achar__place *more, achar_cell *first,
                        uint32_t ticket);

#endif
