/*
 * window.h - a part of a region that this process may write as its own, without a copy.
 *
 * The region's mirror is a private mapping of the same pages: what is written there is seen by this
 * process only, page by page, and costs a page where it happens. A window is a part of the mirror
 * that has one user; when it is closed, what was written is forgotten.
 *
 * While a window is open its owner keeps the bytes in the region as they are. A fork's child cannot
 * count on that, since nobody waits for it; so before a fork, all that is open is made this process's own.
 */
#ifndef ACHAR_RUNTIME_WINDOW_H
#define ACHAR_RUNTIME_WINDOW_H

#include "runtime/shm/region.h"

typedef struct achar__window {
    unsigned char *data; /* NULL: not open */
    size_t nbytes;       /* whole pages */
    bool is_own;         /* every page of it */
    struct achar__window *prev, *next;
} achar__window;

/*
 * Opens [bytes, bytes + nbytes) of 'region', which begin on a page and end where nothing else does
 * on the same page. '*window' must stay where it is until it is closed. False: there is no mirror, or
 * some of these bytes are in another window.
 */
bool achar__window_open(achar__window *window, const achar__region *region, const void *bytes,
                        size_t nbytes);
/*
 * Whether [data, data + nbytes), which begin a page of an open window, still are what the region has. False
 * also where the kernel does not tell.
 */
bool achar__window_is_unwritten(const void *data, size_t nbytes);
/* Not open: nothing is done. */
void achar__window_close(achar__window *window);

#endif
