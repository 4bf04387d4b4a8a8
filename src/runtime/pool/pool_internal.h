/*
 * pool_internal.h - the pool, and what the files of this folder do for each other.
 *
 * One mutex (pool->lock) guards everything here and in books.h except what is marked atomic. Functions named
 * *_locked are called with it held and keep it. Who runs what:
 *
 *    any client thread   submits, dispatches, cancels, takes completions while it waits
 *    the tender          takes completions nobody waits for, starts workers, watches the clock
 *    the monitor         sleeps on the workers' pidfds, collects the dead
 */
#ifndef ACHAR_RUNTIME_POOL_INTERNAL_H
#define ACHAR_RUNTIME_POOL_INTERNAL_H

#include "runtime/pool/books.h"
#include "runtime/pool/output.h"
#include "runtime/shm/store.h"
#include "runtime/sync/fork_guard.h"
#include "runtime/sync/futex.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#define ACHAR__PIN_PATIENCE_NS INT64_C(1000000000)

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
    int64_t grace_ns; /* that a task has which was told to end */
    int64_t
        pin_patience_ns; /* that a worker has to let go of what it looked at; else it keeps it */

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
    int64_t failing_since_ns, failing_for_ns; /* from the first of those failures to the last */
    _Atomic uint32_t stopped; /* futex: 1 when closed, all finished, all workers gone */

    pthread_t tender, monitor;
    int epoll_fd, monitor_fd; /* monitor_fd: an eventfd that ends the monitor */
};

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
