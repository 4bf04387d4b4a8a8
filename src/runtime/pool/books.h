/*
 * books.h - what the client knows of each task, function and worker; pool_internal.h says who may look.
 *
 *    function ◄── task ──► inputs: other tasks, by edges
 *                  │ ▲
 *                  ▼ │ in its ring
 *              mapping ◄── slot: a place for a worker, and the process in it
 *           (its result)
 *
 * All of it is the client's private memory: no worker sees or changes it.
 */
#ifndef ACHAR_RUNTIME_POOL_BOOKS_H
#define ACHAR_RUNTIME_POOL_BOOKS_H

#include "runtime/pool/pool.h"
#include "runtime/pool/queue.h"
#include "runtime/pool/wire.h"
#include "runtime/shm/region.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A worker's region as the client sees it: lives until the worker is gone and no task points in. */
typedef struct achar__mapping {
    achar__region region;
    unsigned ref_count;          /* the worker, and each task with a result there */
    struct achar__slot *slot;    /* the worker that takes released blocks back; NULL: it is gone */
    size_t results_end;          /* no result lies beyond */
    struct achar__mapping *next; /* among the dead */
} achar__mapping;

/* What the pieces of a stretch share. */
typedef struct achar__stretch {
    size_t ref_count; /* unfinished pieces; guarded by the lock */
    void *args;       /* in the client's region */
    size_t nbytes;    /* of them */
    uint32_t map;     /* number of the first call of the map that it is part of; 0: of its own */
    uint32_t item;    /* the place in that map of its first call */
    size_t ends[];    /* where each call's record ends */
} achar__stretch;

/* A task needs another's result; see graph.c. */
typedef struct achar__edge {
    achar__task *input; /* a reference */
    achar__task *dependent;
    struct achar__edge *next, **link; /* link NULL: the input has finished */
} achar__edge;

typedef struct achar__inputs {
    size_t count, waiting_count;
    achar__wire_input *table; /* in the client's region; NULL until all have returned */
    achar__edge edges[];
} achar__inputs;

enum achar__task_place {
    ACHAR__PLACE_NONE = 0,
    ACHAR__PLACE_QUEUE,
    ACHAR__PLACE_DELAYED,
    ACHAR__PLACE_WAITING, /* for inputs */
    ACHAR__PLACE_STARVED, /* for room for them */
    ACHAR__PLACE_RING,
};

struct achar__task {
    _Atomic uint32_t ref_count;
    _Atomic uint32_t state;         /* enum achar__task_state, and the futex of those who wait */
    _Atomic uint32_t sleeper_count; /* on 'state' */
    uint8_t place;
    uint8_t bell;               /* number of the waiter whom the worker rings; 0: none */
    bool watched;               /* to be handed out by next_watched */
    bool force_cancelled;       /* however it ends: CANCELLED */
    bool looked_at;             /* someone may be reading the result where it stands */
    bool keeps_args;            /* its result refers to its arguments; asked when it has finished */
    _Atomic bool awaits_output; /* its worker had sent text that nobody had dealt with at its end */
    uint16_t output_worker;     /* whose text that is */
    uint32_t result_kind;
    uint32_t number;       /* in the pool, from 1; of a piece: its first call's */
    uint32_t reader_count; /* unfinished tasks that it is an input of */
    achar__pool *pool;
    achar__function *function; /* until finished */
    achar__task *prev, *next;  /* in the queue, the watched list or a slot's releases */
    void *args;                /* until finished, or, with keeps_args, as long as the task */
    size_t args_nbytes;
    uint32_t args_kind;
    bool disowned;           /* a piece: nobody will ask for the pieces behind */
    achar__mapping *mapping; /* of the result; NULL: no bytes */
    const void *result;
    size_t result_nbytes;
    union {
        achar__death death; /* LOST, OVERDUE, ABANDONED */
        struct {
            struct achar__slot *slot; /* in a ring */
            uint64_t position;
        } ring;
        struct {
            const achar__wire_up *up; /* finished, and awaits_output */
            uint64_t framed_nbytes;
        } output;
    } at;
    void *user;
    int64_t time_limit_ns; /* 0: none */
    int priority;
    unsigned retry_count, attempt_count;
    achar__attempt *attempts; /* room for retry_count */
    int64_t backoff_ns, not_before_ns;

    achar__inputs *inputs;   /* until finished; NULL: none */
    achar__edge *dependents; /* until finished */
    achar__task *cause;      /* INPUT_FAILED: a reference */
    char *label;
    char *last_words; /* of the worker that it died with; or NULL */
    void *staged;     /* the result, in the client's region; or NULL */
    size_t staged_nbytes;

    /* A piece of a stretch: calls [first, first + count). */
    achar__stretch *stretch; /* until finished; NULL: an ordinary task */
    uint32_t first, count;   /* with 'skip' at most UINT32_MAX in all */
    uint32_t skip;           /* calls before them that the worker got with them and has told of */
    achar__task *next_piece; /* its owner's reference is the owner of this one's */
    void *copy;              /* of results, in private memory; else NULL */
    size_t result_skip_nbytes;
    uint32_t raised;      /* calls of a piece */
    uint32_t skip_raised; /* of the calls in 'skip' */

    struct achar__told *told; /* behind it, in the same memory; NULL: the pool has no journal */
};

/* What a task has for the journal (tell.c). Of the attempt that runs or has ended: from 'worker' on, and overdue. */
typedef struct achar__told {
    uint32_t name;
    bool overdue; /* it raised when its time was over */
    uint64_t parent;
    int64_t submitted_ns;
    uint32_t worker;
    uint32_t peak_kib;
    int64_t started_ns, ended_ns;
    uint64_t cpu_ns;
    char *error; /* what it raised; NULL: not told */
} achar__told;

struct achar__function {
    achar__pool *pool;
    uint64_t id;
    uint64_t hash;
    size_t ref_count; /* handles and unfinished tasks */
    void *bytes;      /* in the client's region */
    size_t nbytes;
    uint32_t flags;
    uint32_t name;                /* in the journal; 0: none */
    uint64_t duration_ns;         /* of its tasks, an average that rises fast; 0: unknown */
    achar__function *chain_next;  /* in its bucket */
    achar__function *prev, *next; /* among the unreferenced, least recently used first */
};

enum achar__slot_state {
    ACHAR__SLOT_EMPTY = 0,
    ACHAR__SLOT_SPAWNING, /* the tender is starting a process */
    ACHAR__SLOT_STARTING, /* it runs and has not asked for a task */
    ACHAR__SLOT_READY,
    ACHAR__SLOT_LEAVING, /* it was told to leave */
};

typedef struct achar__door achar__door; /* door.c */

/* A place for one worker process, and the process in it. */
typedef struct achar__slot {
    enum achar__slot_state state;
    bool stuck;              /* its current task takes longer than was thought: send no more */
    bool dirty;              /* tasks were put into its ring and not published */
    bool killed;             /* SIGKILL was sent */
    bool distrusted;         /* what it writes is not believed any more */
    uint64_t overdue;        /* 1 + the position of the task that was told to end; 0: none */
    int64_t overdue_kill_ns; /* when it is ended by force */
    unsigned serial;         /* of the start of this process in the pool, from 1 */
    int pid;                 /* 0: none */
    int pidfd;
    bool retiring;     /* it gets no more tasks, and leaves after those that it has started */
    achar__door *door; /* NULL: it has none */
    achar__pool *pool;
    achar__mapping *mapping;
    const achar__wire_up *up;
    achar__wire_down *down; /* the slot's own, for every process in it */
    uint64_t tail;          /* tasks put into its ring, less those recalled */
    uint64_t completed;     /* completions taken from it */
    uint64_t load_ns;       /* estimated, of the tasks in its ring */
    uint64_t assigned;      /* tasks in its life; for max_tasks_per_worker */
    uint64_t releases_sent;
    uint32_t unpins_seen;
    achar__task_list releases; /* released tasks whose blocks found no room in the ring */
    int64_t ready_ns;
    int64_t leave_deadline_ns;
    int64_t start_deadline_ns; /* ACHAR__NO_DEADLINE: none */
    bool start_overdue;
    unsigned start_failures; /* in a row, of processes in this place */
    char *last_words;        /* of the process that has just died */
    int64_t next_spawn_ns;
    uint64_t tick_progress; /* what it had claimed when the tender looked, at tick_ns */
    int64_t tick_ns, tick_interval_ns;
    achar__task *inflight[ACHAR__RING_SLOTS];
    uint64_t estimates_ns[ACHAR__RING_SLOTS];
    struct achar__slot *dirty_next;
} achar__slot;

/* ---- lists of tasks ---- */

static inline void achar__list_append(achar__task_list *list, achar__task *task)
{
    task->prev = list->tail;
    task->next = NULL;
    if (list->tail) {
        list->tail->next = task;
    } else {
        list->head = task;
    }
    list->tail = task;
    list->count++;
}

static inline void achar__list_prepend(achar__task_list *list, achar__task *task)
{
    task->prev = NULL;
    task->next = list->head;
    if (list->head) {
        list->head->prev = task;
    } else {
        list->tail = task;
    }
    list->head = task;
    list->count++;
}

static inline void achar__list_remove(achar__task_list *list, achar__task *task)
{
    if (task->prev) {
        task->prev->next = task->next;
    } else {
        list->head = task->next;
    }
    if (task->next) {
        task->next->prev = task->prev;
    } else {
        list->tail = task->prev;
    }
    task->prev = task->next = NULL;
    list->count--;
}

#endif
