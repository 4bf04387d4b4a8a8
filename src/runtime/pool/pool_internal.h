/*
 * pool_internal.h - the client's private books, shared by the files of this folder.
 *
 * One mutex (pool->lock) guards everything here except what is marked atomic. Functions named
 * *_locked are called with it held and keep it. Who runs what:
 *
 *    any client thread   submits, dispatches, cancels, takes completions while it waits
 *    the tender          takes completions nobody waits for, starts workers, watches the clock
 *    the monitor         sleeps on the workers' pidfds, collects the dead
 */
#ifndef ACHAR_RUNTIME_POOL_INTERNAL_H
#define ACHAR_RUNTIME_POOL_INTERNAL_H

#include "runtime/pool/output.h"
#include "runtime/pool/pool.h"
#include "runtime/pool/queue.h"
#include "runtime/pool/wire.h"
#include "runtime/shm/store.h"
#include "runtime/sync/fork_guard.h"
#include "runtime/sync/futex.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

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

struct achar__pool {
    _Atomic uint32_t ref_count; /* the user, the tasks, the functions */
    achar__fork_guard guard;
    pthread_mutex_t lock;

    char **argv, **envp; /* copies */
    size_t region_nbytes, warm_limit_nbytes;
    size_t worker_memory_nbytes, worker_spill_nbytes; /* limits of each; 0: none */
    char *spill_path;                                 /* NULL: there is no spilling */
    unsigned max_tasks_per_worker;
    unsigned max_starts, start_count;
    int64_t start_limit_ns;

    int client_fd, bell_fd, spill_fd; /* what workers inherit */
    int door_fd;                      /* an eventfd; see achar__pool_door() */
    achar__door *rung_doors;          /* in the order in which they are to be taken from */
    achar__region client, bells_region;
    achar__store *store;
    achar__wire_client *shared;
    achar__wire_bells *bells;
    void *hello;
    size_t hello_nbytes;
    achar__output *output;   /* NULL: workers write where the client does */
    char *start_words;       /* of the last process that did not get ready */
    achar__journal *journal; /* NULL: nobody is told */
    uint64_t ended_calls, failed_calls;
    uint32_t last_number; /* of a task */

    unsigned slot_count;
    achar__slot *slots;
    unsigned next_slot; /* where dispatch looks first */
    bool may_have_room; /* false: every worker is known to be full */
    unsigned ready_count;

    _Atomic(achar__mapping *) dead_mappings; /* to be unmapped without the lock */

    achar__queue queue;
    achar__task_list waiting; /* for inputs */
    achar__task_list starved; /* for room for their inputs (starved.c) */
    uint32_t room_fed;        /* room_word when the first of them was looked at, */
    int64_t room_fed_ns;      /* and the time; 0: another is the first now */
    achar__edge *woken;       /* of inputs that have finished; empty but in graph_wake_locked() */
    bool waking;
    struct achar__pinned *pinned; /* to be freed when no worker looks at them */
    size_t unfinished_count;
    /* What blocks of the client's region take that go when tasks end: arguments of unfinished ones, what
     * those read, functions. */
    size_t unfinished_nbytes, input_nbytes, function_nbytes;
    int64_t room_limit_ns; /* 0: none */
    _Atomic uint32_t
        room_word; /* futex: memory was freed, or a task has ended, or the pool was closed */
    _Atomic uint32_t room_sleeper_count;
    uint64_t bells_in_use; /* bit n: waiter n's; bit 0 is always set */
    uint8_t own_bell;      /* of the thread that has the lock and takes completions; 0: none */

    achar__task_list watched;      /* finished, to be handed out */
    _Atomic uint32_t watched_word; /* futex: the list, or whether more can come, changed */
    _Atomic uint32_t watched_sleeper_count;

    achar__function **buckets;
    size_t bucket_count, function_count;
    achar__function *unused_head, *unused_tail; /* unreferenced functions */
    size_t unused_nbytes, unused_count;
    uint64_t next_function_id, hash_seed;

    _Atomic bool closed;
    bool killed, broken, released;
    bool tender_kicked;
    int64_t tender_deadline_ns;
    achar__death broken_death, last_start_death;
    unsigned start_failures; /* in a row, of all slots, with no task taken in between */
    bool ever_useful;        /* some worker has taken a task */
    int64_t failing_since_ns;
    _Atomic uint32_t stopped; /* futex: 1 when closed, all finished, all workers gone */

    pthread_t tender, monitor;
    int epoll_fd, monitor_fd; /* monitor_fd: an eventfd that ends the monitor */
};

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

/* ---- pool.c ---- */

void achar__pool_unref(achar__pool *pool);
/* Makes a tender that sleeps look at everything again. */
void achar__pool_kick_locked(achar__pool *pool);
/* Once closed and without unfinished tasks: tells workers to leave; once they are gone: stopped. */
void achar__pool_wind_down_locked(achar__pool *pool);

/* ---- function.c ---- */

void achar__function_retain_locked(achar__function *function);
void achar__function_unref_locked(achar__function *function);
void achar__functions_destroy(achar__pool *pool);
/* Drops the older half of the functions that nobody refers to. Without the lock. False: no such. */
bool achar__functions_make_room(achar__pool *pool);

/* ---- room.c ---- */

/* A block of 'nbytes' has come or gone: tells workers whether results may still keep arguments. A small
 * one makes no odds. */
void achar__room_judge_locked(achar__pool *pool, size_t nbytes);
/* Those who wait for memory may look again. */
void achar__room_tell_locked(achar__pool *pool);
/* What may yet make so much free, with 'stuck_count' of the unfinished tasks not going on by themselves.
 * Says that something may where it cannot know. */
enum achar__room_hope {
    ACHAR__ROOM_NONE,
    ACHAR__ROOM_PINS, /* only that workers let go of what they look at, after their tasks */
    ACHAR__ROOM_TASKS
};
enum achar__room_hope achar__room_hope_locked(const achar__pool *pool, size_t needed_nbytes,
                                              size_t stuck_count);
/* How long that is waited for without anything becoming free. 0: for ever. */
int64_t achar__room_patience_ns(const achar__pool *pool, enum achar__room_hope hope);
/* What a block of 'nbytes' takes at most. */
static inline size_t achar__block_cost(size_t nbytes)
{
    return nbytes <= ACHAR__HEAP_SPAN_NBYTES / 2
               ? 2 * nbytes + ACHAR__HEAP_ALIGNMENT
               : (nbytes + ACHAR__HEAP_SPAN_NBYTES - 1) & ~(ACHAR__HEAP_SPAN_NBYTES - 1);
}

/* ---- starved.c ---- */

/* 'task' is in no list; its inputs have returned, and find no room. */
void achar__starved_append_locked(achar__task *task);
void achar__starved_remove_locked(achar__task *task);
/* Queues those that there is room for, and gives up those for whom there will be none. Returns when to look
 * again without anything having been freed. */
int64_t achar__starved_feed_locked(achar__pool *pool, int64_t now_ns);
/* They become ABANDONED. */
void achar__starved_abandon_locked(achar__pool *pool, achar__death death);

/* ---- task.c ---- */

/* Ends 'task', which is in no list and no ring any more, and drops the pool's reference to it. */
void achar__task_finish_locked(achar__task *task, enum achar__task_state state);
/* Drops a reference. */
void achar__task_unref_locked(achar__task *task);
/* Sends what could not be sent before. */
void achar__releases_flush_locked(achar__slot *slot);
/* The worker of 'slot' is gone: its released results go with its region. */
void achar__releases_drop_locked(achar__slot *slot);
/* The result block goes back to the worker that wrote it; the task has none then. */
void achar__task_give_back_result_locked(achar__task *task);

/* ---- retry.c ---- */

/* False: there are no tries left, and the caller is to finish the task. Else it is queued again; it
 * must be in no list and no ring. */
bool achar__task_try_again_locked(achar__task *task, enum achar__task_state state,
                                  achar__death death);
void achar__task_forbid_retries_locked(achar__task *task);

/* ---- mapping.c ---- */

void achar__mapping_unref_locked(achar__pool *pool, achar__mapping *mapping);
/* The worker is gone: no more results will come, so the rest of the address space is given back. */
void achar__mapping_settle_locked(achar__pool *pool, achar__mapping *mapping);
/* Unmaps what nobody refers to any more. Without the lock; cheap when there is nothing. */
void achar__mappings_sweep(achar__pool *pool);

/* ---- schedule.c ---- */

/* Gives queued tasks to workers that have room for them. */
void achar__dispatch_locked(achar__pool *pool);
/* Opens a recall; the end of one that is open, which every worker that waits for a verdict sees. */
uint32_t achar__recall_begin(achar__slot *slot);
void achar__recall_end(achar__slot *slot, uint32_t begun);
/* Takes the completions of one worker. */
void achar__drain_locked(achar__pool *pool, achar__slot *slot);
/* Takes back the tasks from 'position' on that the worker has not started; they become the first of
 * the queue, in order. */
void achar__recall_locked(achar__pool *pool, achar__slot *slot, uint64_t position);
void achar__recall_all_locked(achar__pool *pool);
/* Recalls what waits behind a task that takes too long. Returns when to look again. */
int64_t achar__unstick_locked(achar__pool *pool, int64_t now_ns);
/* How many of the tasks in the ring the worker has started (as a position). */
uint64_t achar__slot_claimed(const achar__slot *slot);

/* ---- graph.c ---- */

/* From now on the task's inputs have it as a reader, until achar__graph_leave_locked(). */
void achar__inputs_count_locked(achar__task *task);
/* Makes the inputs, which have returned, readable to workers. False: there is no room for one of
 * '*needed_nbytes'. */
bool achar__inputs_stage_locked(achar__task *task, size_t *needed_nbytes);
/* What room that needs. */
size_t achar__inputs_lack_locked(const achar__task *task);
/* NULL: no memory. Refers to the inputs, which achar__inputs_free() undoes for a task that is not
 * submitted after all; without the lock. */
achar__inputs *achar__inputs_new(achar__task *task, achar__task *const *tasks, size_t count);
void achar__inputs_free(achar__inputs *inputs);
/* A submitted task that has inputs: to be queued, to wait for them, or failed with them. */
void achar__graph_enter_locked(achar__task *task);
/* 'task' has finished: so may those that need it. */
void achar__graph_wake_locked(achar__task *task);
/* A task that has inputs ends. */
void achar__graph_leave_locked(achar__task *task);
/* Cancels all that wait for inputs; returns how many. */
size_t achar__graph_cancel_locked(achar__pool *pool);

/* ---- pins.c ---- */

/* Frees a block that workers read as an input, once none of them looks at it. */
void achar__pins_free_locked(achar__pool *pool, void *block);
/* Frees what no worker looks at any more. */
void achar__pins_sweep_locked(achar__pool *pool);
/* Forgets the books; the region is about to go. */
void achar__pins_destroy(achar__pool *pool);

/* ---- memory.c ---- */

#define ACHAR__REGION_MIN_NBYTES ((size_t)1 << 20)

/* All of the shared memory that 'options' ask for; what was made before a failure is freed with the pool. */
int achar__pool_create_memory(achar__pool *pool, const achar__pool_options *options);

/* ---- pool.c ---- */

/* Before 'task', which the slot's worker has completed, is finished. */
void achar__task_note_output_locked(achar__pool *pool, const achar__slot *slot, achar__task *task);

/* ---- ending.c ---- */

/* Ends what is over its time limit or cancelled by force. Returns when to look at this worker again. */
int64_t achar__limit_time_locked(achar__slot *slot, int64_t now_ns);

/* ---- stretch.c ---- */

/* The piece that the slot's worker is working on, or NULL. */
achar__task *achar__stretch_running(const achar__slot *slot);
/* Cuts a piece after its first 'keep' calls. Returns the rest, which is in no list yet; NULL: no memory. */
achar__task *achar__stretch_split_locked(achar__task *piece, size_t keep);
/* Before 'piece' goes to the slot: leaves in it what is short work, and the rest in the queue. */
void achar__stretch_carve_locked(achar__pool *pool, achar__slot *slot, achar__task *piece,
                                 uint64_t budget_ns);
/* A word of achar__wire_up about the piece at 'position', as a count of calls. */
size_t achar__stretch_calls(uint64_t word, uint64_t position);
/* Takes the results of the calls that are done while the worker goes on. */
void achar__stretch_harvest_locked(achar__pool *pool, achar__slot *slot);
/* Takes back the calls that the worker has not started; they become the first of the queue. */
void achar__stretch_recall_locked(achar__pool *pool, achar__slot *slot);
/* False: no honest worker writes that. The piece is to be finished by the caller. */
bool achar__stretch_completed_locked(achar__pool *pool, achar__slot *slot, achar__task *piece,
                                     const achar__wire_completion *completion);
/* The worker that had started on the piece is dead. */
void achar__stretch_died_locked(achar__pool *pool, achar__slot *slot, achar__task *piece,
                                achar__death death);
void achar__stretch_unref_locked(achar__pool *pool, achar__stretch *stretch);
/* The places, in a piece that has its results, of the calls that raised. False: there are not 'count' of them. */
bool achar__stretch_find_raised(const achar__task *piece, uint32_t *out, size_t count);

/* ---- tell.c ---- */

/* A task of zeros, with room for what the pool's journal wants to know of it, if it has one. NULL: no memory. */
achar__task *achar__task_new(achar__pool *pool);
/* It has gone into this worker's ring. */
void achar__tell_sent(const achar__slot *slot, achar__task *task);
/* 'rest' was cut off it. */
void achar__tell_split(const achar__task *piece, achar__task *rest);
void achar__tell_submitted_locked(achar__task *task);
/* What a worker has told of a task's end, and, of a task that is not told of, when it began. */
void achar__tell_completion(const achar__slot *slot, achar__task *task,
                            const achar__wire_completion *completion);
void achar__tell_started(const achar__slot *slot, achar__task *task);
void achar__tell_retried_locked(achar__task *task, enum achar__task_state state,
                                achar__death death);
void achar__tell_ended_locked(achar__task *task, enum achar__task_state state);
/* ACHAR__JOURNAL_WORKER_STARTED, _READY. */
void achar__tell_worker_locked(achar__pool *pool, const achar__slot *slot,
                               enum achar__journal_kind kind);
/* Before its state changes, and before its last words are given away. */
void achar__tell_worker_ended_locked(achar__pool *pool, const achar__slot *slot,
                                     achar__death death);
void achar__tell_no_worker_locked(achar__pool *pool, const achar__slot *slot, int error);
/* For achar__journal_attach(), of a pool; takes the lock. */
achar__journal_looker achar__tell_sights;

/* ---- door.c ---- */

/* Before a worker starts: its end is to be closed by the caller once it has it. 0 or an errno. */
int achar__door_create(int *worker_fd, achar__door **out);
void achar__door_free(achar__door *door);
/* From now on the monitor listens to it. ACHAR_OK, or ACHAR_E_IO with errno. */
int achar__door_attach_locked(achar__pool *pool, achar__slot *slot, achar__door *door);
/* Takes the slot's door away; what stands in it unread is kept for achar__pool_take_arrival(). */
void achar__door_settle_locked(achar__pool *pool, achar__slot *slot);
/* The monitor has heard something at this slot's door, or at its predecessor's. */
void achar__door_heard(achar__pool *pool, achar__slot *slot);
void achar__doors_destroy(achar__pool *pool);

/* ---- slot.c ---- */

/* A task has ended, so workers can work. */
void achar__slot_was_useful_locked(achar__pool *pool, achar__slot *slot);
/* Gives up when there is no worker and starting more has failed too often or for too long. */
void achar__pool_give_up_if_hopeless_locked(achar__pool *pool);
/* Starts a process in an empty slot. Gives the lock up in between. */
void achar__slot_spawn_locked(achar__pool *pool, achar__slot *slot);
/* The process is dead and collected. */
void achar__slot_died_locked(achar__pool *pool, achar__slot *slot, achar__death death);
void achar__slot_kill_locked(achar__slot *slot);
void achar__slot_leave_locked(achar__slot *slot);
/* A task has done it harm that the next should not find: what it has not started goes to others, and it
 * leaves when it has done the rest. Not one that has done nothing, nor where starts are counted. */
void achar__slot_retire_locked(achar__pool *pool, achar__slot *slot);
/* Its unfinished tasks become ABANDONED, whatever it still does. */
void achar__slot_abandon_locked(achar__slot *slot);
/* Whether a process should be started here. */
bool achar__slot_is_wanted_locked(const achar__pool *pool, const achar__slot *slot);

/* ---- tender.c, monitor.c ---- */

void *achar__tender_main(void *pool);
void *achar__monitor_main(void *pool);
/* Beside a slot's address in an event of the monitor's: it is of its door, and not of its process. */
#define ACHAR__IS_DOOR 1
/* ACHAR_OK, or ACHAR_E_IO with errno. */
int achar__monitor_add(achar__pool *pool, achar__slot *slot);

#endif
