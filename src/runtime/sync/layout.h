/*
 * layout.h - what stands in a space: the memory that processes share to synchronise in.
 *
 *    header      who may use it, and who does: the registry of processes
 *    chunks      64 waiters to a page; a page belongs to the process that claimed it
 *    cells       256 bytes each: a lock, a condition, an event, a semaphore, a barrier, a queue
 *    extents     who owns which pieces of the arena
 *    holders     which processes have which cells
 *    arena       messages; not part of the mapping that holds the rest (arena.h)
 *
 * Nothing in here is a pointer: a 'place' is an offset from the start of the space, 0 is nowhere.
 * Who writes which word, and what is left of it when its writer is killed: docs/sync-protocol.md.
 */
#ifndef ACHAR_RUNTIME_SYNC_LAYOUT_H
#define ACHAR_RUNTIME_SYNC_LAYOUT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define ACHAR__SPACE_MAGIC   UINT64_C(0x34306e7973686361) /* "achsyn04" */
#define ACHAR__PAGE_NBYTES   4096u
#define ACHAR__PROCESS_COUNT 512u
#define ACHAR__CHUNK_COUNT   1024u
#define ACHAR__CHUNK_WAITERS 64u
#define ACHAR__CELL_COUNT    65536u
#define ACHAR__CELL_NBYTES   256u
#define ACHAR__LOG_COUNT     12u
#define ACHAR__ACCOUNT_COUNT 8u
#define ACHAR__UNIT_COUNT    (1u << 20)
#define ACHAR__UNIT_NBYTES   65536u

typedef uint32_t achar__place;

/* Lists are circular, through a sentinel in a cell; an empty one points to itself. */
typedef struct achar__link {
    achar__place next, prev;
} achar__link;

/*
 * A process in the registry. 'claim' is pid << 32 | generation << 16 | enum achar__process_state,
 * so that one exchange takes a place, says for whom, and spoils every older ticket.
 */
enum achar__process_state { ACHAR__PROCESS_NONE = 0, ACHAR__PROCESS_JOINING, ACHAR__PROCESS_HERE };

typedef struct achar__process {
    alignas(64) _Atomic uint64_t claim;
    _Atomic uint64_t started; /* as /proc/PID/stat has it: tells a pid from its next bearer */
    _Atomic uint32_t bell;    /* of the thread that looks after waiters without a thread */
    _Atomic uint32_t has_forked;
} achar__process;

/* A ticket names one stay of one process: generation << 16 | (index + 1). 31 bits, never 0. */
#define ACHAR__TICKET(index, generation) ((uint32_t)(generation) << 16 | ((uint32_t)(index) + 1))
#define ACHAR__TICKET_INDEX(ticket)      (((ticket)&0xffffu) - 1)
#define ACHAR__TICKET_GENERATION(ticket) ((ticket) >> 16)
#define ACHAR__GENERATION_MASK           0x7fffu

enum achar__waiter_state {
    ACHAR__WAITER_IDLE = 0,     /* in nobody's list */
    ACHAR__WAITER_QUEUED,       /* in the list of the object, or of its condition's lock */
    ACHAR__WAITER_NUDGED,       /* the same, and awake: the lock is free, or was a moment ago */
    ACHAR__WAITER_ASIDE,        /* QUEUED, while its thread runs signal handlers: passed over */
    ACHAR__WAITER_ON_CONDITION, /* in the list of a condition */
    ACHAR__WAITER_AWAY,         /* the same, while its thread runs signal handlers */
    /* ended; in no list */
    ACHAR__WAITER_GRANTED,  /* it has what it waited for */
    ACHAR__WAITER_ORPHANED, /* what it waited for died with its owner */
    ACHAR__WAITER_BROKEN    /* the barrier broke */
};
#define ACHAR__WAITER_HAS_ENDED(state) ((state) >= ACHAR__WAITER_GRANTED)

enum achar__waiter_flag {
    ACHAR__WAITER_CARRIES =
        1,                    /* a notify() that was meant for one; whoever loses it passes it on */
    ACHAR__WAITER_FIRM = 4,   /* it was nudged in vain for long enough: grant it the lock */
    ACHAR__WAITER_PUTS = 8,   /* to a queue; else it takes, */
    ACHAR__WAITER_JOINS = 16, /* or waits for all to be done */
    ACHAR__WAITER_ASYNC = 2   /* no thread sleeps on the bell; ring the process's */
};

/* Someone who waits. All but the bell is guarded by the latch of the object's home. */
typedef struct achar__waiter {
    alignas(64) _Atomic uint32_t bell; /* it sleeps on this; the number means nothing */
    _Atomic uint32_t state;
    achar__link link;
    achar__place object;     /* the cell that it waits for; for a wait() the condition */
    _Atomic uint32_t ticket; /* of its process */
    _Atomic uint32_t flags;
    uint32_t value;          /* what comes with GRANTED: a barrier's index */
    _Atomic uint32_t asleep; /* 0: who rings the bell need not wake anyone */
} achar__waiter;
_Static_assert(sizeof(achar__waiter) == 64, "one cache line");

enum achar__cell_kind {
    ACHAR__CELL_FREE = 0,
    ACHAR__CELL_MAKING, /* claimed, not yet anything */
    ACHAR__CELL_LOCK,
    ACHAR__CELL_RECURSIVE_LOCK,
    ACHAR__CELL_CONDITION,
    ACHAR__CELL_EVENT,
    ACHAR__CELL_SEMAPHORE,
    ACHAR__CELL_BARRIER,
    ACHAR__CELL_QUEUE,
    ACHAR__CELL_ACCOUNTS, /* more accounts of a semaphore or a queue */
    ACHAR__CELL_KIND_COUNT
};

/* How many of a semaphore's permits a process holds. */
typedef struct achar__account {
    uint32_t ticket; /* 0: nobody's */
    uint32_t count;
} achar__account;

/* A queue of messages; see queue.c. Places in segments are an extent and an offset in it. */
typedef struct achar__messages {
    uint32_t max_count;
    uint32_t count;
    uint32_t promised;   /* of them, to waiters that were granted one */
    uint32_t reserved;   /* room, for waiters that were granted it */
    uint32_t unfinished; /* modulo 2^32, if nobody ever says task_done() */
    uint32_t lost;       /* messages that were with processes that died */
    uint32_t head_extent, head_offset, tail_extent, tail_offset;
    achar__place more; /* a cell of accounts */
    achar__link joiners;
} achar__messages;

/* One step of a change: 'value' goes to 'place'. */
typedef struct achar__step {
    achar__place place;
    uint32_t value;
} achar__step;

struct achar_cell {
    /* Lock: see lock.h. Event: 1 is set. */
    alignas(64) _Atomic uint64_t word;
    _Atomic uint32_t latch; /* ticket of who is changing the cell, and a bit: others want to */
    _Atomic uint32_t kind;
    uint32_t generation; /* how often the cell was made something; part of its id */
    achar__place home;   /* the cell whose latch guards this one: a condition's lock, else itself */
    achar__link queue;
    achar__link gate; /* barrier: those who came while the action ran; queue: those who put */
    union {
        struct {
            uint32_t depth; /* acquisitions beyond the first; the owner writes it */
        } lock;
        struct {
            uint32_t free, initial, bounded;
            uint32_t lost;     /* permits that were with processes that died */
            achar__place more; /* a cell of further accounts */
        } semaphore;
        struct {
            uint32_t parties, arrived, state, leader;
        } barrier;
    };
    union {
        alignas(32) achar__account accounts[ACHAR__ACCOUNT_COUNT];
        achar__messages messages;
    };
    /* The redo log: when log_count is not 0, its steps are decided and may be half done. */
    _Atomic uint32_t log_count;
    _Atomic uint32_t standing; /* who has it: holders.h */
    achar__step log[ACHAR__LOG_COUNT - 1];
};

_Static_assert(sizeof(struct achar_cell) == ACHAR__CELL_NBYTES, "as docs/sync-protocol.md has it");

enum {
    ACHAR__CELL_UNSENT = 0, /* its maker's */
    ACHAR__CELL_SENT,       /* those processes' that hold it */
    ACHAR__CELL_KEPT        /* perhaps a forked child's, too */
};
#define ACHAR__CELL_DROPPED 0x80000000u /* nobody's; the other bits count drops */

/* In the table, for each cell: a bit for each place in the registry. */
typedef struct achar__holders {
    _Atomic uint32_t bits[ACHAR__PROCESS_COUNT / 32];
} achar__holders;

/* In the table, for each unit of the arena; those of an extent's first unit count. See arena.h. */
typedef struct achar__extent {
    _Atomic uint32_t owner; /* a ticket, or ACHAR__OWNER_QUEUE; 0: free */
    _Atomic uint32_t unit_count;
} achar__extent;

_Static_assert(ACHAR__CHUNK_WAITERS == 64, "a bit in achar__header.rung for each");

#define ACHAR__OWNER_QUEUE(cell_index) (0x80000000u | (cell_index))

typedef struct achar__header {
    uint64_t magic;
    uint64_t id[2];                          /* random: tells this space from another */
    alignas(64) _Atomic uint32_t latch;      /* the registry's; who holds it reaps */
    _Atomic uint32_t arrivals;               /* how often a process has come */
    alignas(64) _Atomic uint32_t cell_count; /* cells below it have memory */
    _Atomic uint32_t cell_hint;              /* where to look for a free one */
    _Atomic uint32_t cells_taken;            /* about how many are not free */
    _Atomic uint32_t drop_count;             /* how often one was dropped */
    _Atomic uint32_t holders_latch;          /* taken after 'latch', if both are */
    alignas(64) _Atomic uint32_t arena_latch;
    _Atomic uint32_t unit_count; /* units below it are in the table */
    _Atomic uint32_t unit_hint;  /* an extent begins there, and none before it is free */
    alignas(64) achar__process processes[ACHAR__PROCESS_COUNT];
    _Atomic uint32_t chunk_owners[ACHAR__CHUNK_COUNT]; /* tickets; 0: nobody's */
    /* A bit for each waiter: one without a thread was rung. Only says where to look. */
    _Atomic uint64_t rung[ACHAR__CHUNK_COUNT];
} achar__header;

#define ACHAR__HEADER_NBYTES                                                                       \
    ((sizeof(achar__header) + ACHAR__PAGE_NBYTES - 1) / ACHAR__PAGE_NBYTES * ACHAR__PAGE_NBYTES)
#define ACHAR__CHUNK_NBYTES  (ACHAR__CHUNK_WAITERS * (uint32_t)sizeof(achar__waiter))
#define ACHAR__CHUNKS_PLACE  ((achar__place)ACHAR__HEADER_NBYTES)
#define ACHAR__CELLS_PLACE   (ACHAR__CHUNKS_PLACE + ACHAR__CHUNK_COUNT * ACHAR__CHUNK_NBYTES)
#define ACHAR__EXTENTS_PLACE (ACHAR__CELLS_PLACE + ACHAR__CELL_COUNT * ACHAR__CELL_NBYTES)
#define ACHAR__HOLDERS_PLACE                                                                       \
    (ACHAR__EXTENTS_PLACE + ACHAR__UNIT_COUNT * (uint32_t)sizeof(achar__extent))
#define ACHAR__SPACE_NBYTES                                                                        \
    (ACHAR__HOLDERS_PLACE + ACHAR__CELL_COUNT * (uint32_t)sizeof(achar__holders))
_Static_assert(ACHAR__CHUNK_NBYTES == ACHAR__PAGE_NBYTES, "a chunk is a page");

#endif
