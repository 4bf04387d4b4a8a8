/* launch.h - a worker process comes to be. */
#pragma once

#include "runtime/pool/pool_internal.h"

/* A process that has begun, and what belongs to it. All of it is the caller's. */
typedef struct achar__launched {
    achar__mapping *mapping; /* its region, as the client sees it; no slot, no references */
    achar__door *door;       /* its nested calls come by it; NULL: the pool takes none */
    int pid, pidfd;
    int reads[2]; /* the ends of its output that the client reads; -1: it writes to the client's */
} achar__launched;

/*
 * Called without the pool's lock, by the tender alone: the end of that thread ends the worker.
 * @param down  the slot's; it is cleared first.
 * @return 0, or an errno: nothing is left then, and no process.
 */
int achar__launch(achar__pool *pool, achar__wire_down *down, achar__launched *out);
