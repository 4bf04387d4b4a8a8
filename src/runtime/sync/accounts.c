/* accounts.c - see accounts.h. */
#include "runtime/sync/accounts.h"
#include "runtime/sync/latch.h"

#include <achar/status.h>

static achar_cell *cell_behind(const achar_space *space, const achar_cell *cell)
{
    return cell->semaphore.more ? achar__cell_at(space, cell->semaphore.more) : NULL;
}

achar__account *achar__account_find(achar_space *space, achar_cell *first, uint32_t ticket)
{
    for (achar_cell *cell = first; cell; cell = cell_behind(space, cell)) {
        for (unsigned i = 0; i < ACHAR__ACCOUNT_COUNT; i++) {
            if (cell->accounts[i].ticket == ticket) {
                return &cell->accounts[i];
            }
        }
    }
    return NULL;
}

achar__account *achar__account_filled(achar_space *space, achar_cell *first)
{
    for (achar_cell *cell = first; cell; cell = cell_behind(space, cell)) {
        for (unsigned i = 0; i < ACHAR__ACCOUNT_COUNT; i++) {
            if (cell->accounts[i].count > 0) {
                return &cell->accounts[i];
            }
        }
    }
    return NULL;
}

int achar__account_open(achar_space *space, achar_cell *home, achar__place *more, achar_cell *first,
                        uint32_t ticket)
{
    if (achar__account_find(space, first, ticket)) {
        return ACHAR_OK;
    }
    achar__account *account = achar__account_find(space, first, 0);
    achar__change change = achar__change_begin(space, home);
    if (account) {
        achar__change_add(&change, &account->ticket, ticket);
    } else {
        achar_cell *cell = NULL;
        int status = achar__cell_make_latched(space, &cell);
        if (status != ACHAR_OK) {
            return status;
        }
        cell->accounts[0].ticket = ticket;
        cell->semaphore.more = *more;
        achar__cell_publish(cell, ACHAR__CELL_ACCOUNTS);
        achar__change_add(&change, more, achar__place_of(space, cell));
    }
    achar__change_commit(&change);
    return ACHAR_OK;
}
