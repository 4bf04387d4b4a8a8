/*
 * sync.h - locks, conditions, events, semaphores, barriers and queues, between threads and processes.
 *
 *     achar_space *space;
 *     achar_lock lock;
 *     achar_condition condition;
 *     achar_space_create(1, &space);
 *     achar_lock_create(space, 0, &lock);
 *     achar_condition_create(lock, &condition);
 *     ... fork, or give achar_space_fd() and achar_sync_id() to another process ...
 *
 * Objects live in a space; processes that map the same space share its objects. Whoever waits is
 * served in the order of arrival. A process may be killed at any instruction: what it was waiting
 * for goes to the next; what it owned becomes an orphan, and all who want it are told
 * (ACHAR_E_OWNER_DIED) until somebody recovers it. Death means the death of the process: a lock may
 * be released by another thread than took it.
 *
 * The handles (achar_lock, ...) are small values, to be copied freely; they are good for as long as
 * the space is open in this process and the object is not destroyed. After fork() the child uses the
 * handles that it inherits; it is a process of its own and owns nothing that its parent owned.
 *
 * Times are in nanoseconds, on the monotonic clock, from now: 0 does not wait, a negative one waits
 * for ever. All functions may be called from any thread; none is async-signal-safe. Besides what
 * each one names, every function that takes an object may return ACHAR_E_LIMIT (512 processes use
 * the space, 65,536 threads wait in it, or a count is at its end) and ACHAR_E_NOMEM.
 */
#ifndef ACHAR_SYNC_H
#define ACHAR_SYNC_H

#include <stddef.h>
#include <stdint.h>

#include <achar/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- spaces ---- */

/* achar_space is the memory that objects live in, as this process sees it. */
typedef struct achar_space achar_space;

/* achar_cell is an object's place in a space; the handles below hold one. */
typedef struct achar_cell achar_cell;

/*
 * achar_space_create() makes a space: with 'shared' 0 for the threads of this process, else for all
 * processes that inherit it over fork() or are given its descriptor. It takes 28 MB of address space,
 * with queues up to 64 GiB more, and memory by the page, as objects are made; nothing of it has a name or outlives its last user.
 *
 * ACHAR_E_NOMEM; ACHAR_E_IO, with errno; ACHAR_E_UNSUPPORTED on a Linux before 5.3.
 */
ACHAR_API int achar_space_create(int shared, achar_space **out);

/*
 * achar_space_open() maps the space behind 'fd', which stays the caller's. Open a space once in a
 * process: each opening counts as a process of its own, with owners of its own. ACHAR_E_INVALID:
 * there is no space behind it.
 */
ACHAR_API int achar_space_open(int fd, achar_space **out);

/*
 * achar_space_close() leaves the space; what this process still owns in it becomes an orphan. No
 * thread may be using it. NULL does nothing.
 */
ACHAR_API void achar_space_close(achar_space *space);

/* achar_space_fd() is the descriptor to give to others (SCM_RIGHTS, inheritance, /proc); it is the
 * space's, and close-on-exec. -1: not shared. */
ACHAR_API int achar_space_fd(const achar_space *space);

/* achar_space_id() gives 128 random bits that tell this space from all others. */
ACHAR_API void achar_space_id(const achar_space *space, uint64_t id[2]);

/* ---- objects in general ---- */

/* achar_sync_kind says what achar_sync_find() looks for; a handle consists of the space and the cell. */
enum achar_sync_kind {
    ACHAR_SYNC_LOCK = 2,
    ACHAR_SYNC_RECURSIVE_LOCK,
    ACHAR_SYNC_CONDITION,
    ACHAR_SYNC_EVENT,
    ACHAR_SYNC_SEMAPHORE,
    ACHAR_SYNC_BARRIER,
    ACHAR_SYNC_QUEUE
};

/* achar_sync_id() is a number for the object that is good in every process, and for no other object ever. */
ACHAR_API uint64_t achar_sync_id(const achar_space *space, const achar_cell *cell);

/* achar_sync_find() gives the object with that number. ACHAR_E_INVALID: it is not there (any more), or of another kind. */
ACHAR_API int achar_sync_find(const achar_space *space, uint64_t id, int kind, achar_cell **out);

/*
 * achar_sync_destroy() makes room for another object. Nobody may use the object any more, in any
 * process; a condition goes before its lock. NULL does nothing.
 */
ACHAR_API void achar_sync_destroy(achar_space *space, achar_cell *cell);

/* ---- locks ---- */

/* achar_lock is a handle to a lock. */
typedef struct achar_lock {
    achar_space *space;
    achar_cell *cell;
} achar_lock;

/* achar_lock_create() makes a free lock. Recursive: whoever has it may take it again, and only that thread releases it. */
ACHAR_API int achar_lock_create(achar_space *space, int recursive, achar_lock *out);

/*
 * achar_lock_acquire() takes the lock, or waits for it.
 *
 * ACHAR_E_TIMEOUT. ACHAR_E_OWNER_DIED: a process died holding it; the caller does not have it.
 * ACHAR_E_INTERRUPTED: a signal handler without SA_RESTART ran; the caller does not have it and has
 * lost its place in the queue.
 */
ACHAR_API int achar_lock_acquire(achar_lock lock, int64_t timeout_ns);

/*
 * achar_lock_release() frees the lock, or gives it to the first who waits. ACHAR_E_NOT_HELD: nobody
 * has it, or another has this recursive lock, or it has just been given to one who is not awake yet.
 */
ACHAR_API int achar_lock_release(achar_lock lock);

/*
 * achar_lock_recover() ends the orphanhood of a lock whose owner died: it is free again or, with
 * 'hold', the caller's, who can mend what it guards before anybody else sees that.
 * ACHAR_E_NOT_HELD: it is not an orphan (another has recovered it), and nothing was done.
 */
ACHAR_API int achar_lock_recover(achar_lock lock, int hold);

/* achar_lock_is_taken() is 1 if anybody has it, or it is an orphan. */
ACHAR_API int achar_lock_is_taken(achar_lock lock);
/* achar_lock_is_mine() is 1 if this thread has the recursive lock, or anybody has the plain one. */
ACHAR_API int achar_lock_is_mine(achar_lock lock);
/* achar_lock_depth() is how often this thread has taken it. */
ACHAR_API uint32_t achar_lock_depth(achar_lock lock);

/* ---- conditions ---- */

/* achar_condition is a handle to a condition. */
typedef struct achar_condition {
    achar_space *space;
    achar_cell *cell;
} achar_condition;

/* achar_condition_create() makes a condition of 'lock', in its space. A lock may have any number of them. */
ACHAR_API int achar_condition_create(achar_lock lock, achar_condition *out);
/* achar_condition_lock() is the lock that it was made of. */
ACHAR_API achar_lock achar_condition_lock(achar_condition condition);

/*
 * achar_condition_wait() releases the lock (all of a recursive one), waits to be notified, and has
 * the lock again when it returns. There are no spurious wake-ups.
 *
 * ACHAR_OK: notified. ACHAR_E_TIMEOUT and ACHAR_E_INTERRUPTED: not notified, or passed on to the
 * next; the lock is held. ACHAR_E_OWNER_DIED: the owner of the lock died; the lock is NOT held.
 * ACHAR_E_NOT_HELD: the caller did not have the lock.
 */
ACHAR_API int achar_condition_wait(achar_condition condition, int64_t timeout_ns);

/*
 * achar_condition_notify() lets the first 'count' waiters go on, all with UINT32_MAX, as soon as the
 * lock is released, one after the other. ACHAR_E_NOT_HELD: the caller does not have the lock.
 */
ACHAR_API int achar_condition_notify(achar_condition condition, uint32_t count);

/* ---- events ---- */

/* achar_event is a handle to an event. */
typedef struct achar_event {
    achar_space *space;
    achar_cell *cell;
} achar_event;

/* achar_event_create() makes an event that is not set. */
ACHAR_API int achar_event_create(achar_space *space, achar_event *out);
/* achar_event_is_set() is 1 if it is; it takes no lock. */
ACHAR_API int achar_event_is_set(achar_event event);
/* achar_event_set() sets it: all who wait go on, even if it is cleared at once. */
ACHAR_API int achar_event_set(achar_event event);
/* achar_event_clear() makes it not set. */
ACHAR_API int achar_event_clear(achar_event event);
/* achar_event_wait() waits until it is set. ACHAR_OK: it is, or was while the caller waited.
 * ACHAR_E_TIMEOUT, ACHAR_E_INTERRUPTED. */
ACHAR_API int achar_event_wait(achar_event event, int64_t timeout_ns);

/* ---- semaphores ---- */

/* achar_semaphore is a handle to a semaphore. */
typedef struct achar_semaphore {
    achar_space *space;
    achar_cell *cell;
} achar_semaphore;

/*
 * achar_semaphore_create() makes a semaphore with 'initial' permits (up to 2^31-1); bounded: never with more. The permits that a
 * process has acquired and not released are known as its own: see achar_semaphore_recover().
 */
ACHAR_API int achar_semaphore_create(achar_space *space, uint32_t initial, int bounded,
                                     achar_semaphore *out);
/*
 * achar_semaphore_acquire() takes a permit, or waits for one. ACHAR_E_TIMEOUT. ACHAR_E_OWNER_DIED: none is free, and a process
 * died with some. ACHAR_E_INTERRUPTED: as achar_lock_acquire().
 */
ACHAR_API int achar_semaphore_acquire(achar_semaphore semaphore, int64_t timeout_ns);
/* achar_semaphore_release() gives 'count' permits back. ACHAR_E_LIMIT: more than there may be; none was given back. */
ACHAR_API int achar_semaphore_release(achar_semaphore semaphore, uint32_t count);
/* achar_semaphore_recover() brings back the permits of the dead. '*count': how many. ACHAR_E_NOT_HELD: none. */
ACHAR_API int achar_semaphore_recover(achar_semaphore semaphore, uint32_t *count);
/* achar_semaphore_value() is how many are free now. */
ACHAR_API uint32_t achar_semaphore_value(achar_semaphore semaphore);
/* achar_semaphore_initial() is how many there were in the beginning. */
ACHAR_API uint32_t achar_semaphore_initial(achar_semaphore semaphore);

/* ---- barriers ---- */

/* achar_barrier is a handle to a barrier. */
typedef struct achar_barrier {
    achar_space *space;
    achar_cell *cell;
} achar_barrier;

/* achar_barrier_create() makes a barrier for 'parties' threads, 1 to 2^31-1. */
ACHAR_API int achar_barrier_create(achar_space *space, uint32_t parties, achar_barrier *out);

/*
 * achar_barrier_wait() waits until all parties are in it; '*index' counts them from 0 in the order
 * of arrival. With 'lead', the last one (index parties - 1) returns first, while all others wait on:
 * it calls achar_barrier_open() to let them go, or achar_barrier_abort().
 *
 * ACHAR_E_BROKEN: the barrier is broken: a party's time was up, which this may be; or a process died
 * in it; or somebody aborted or reset it. ACHAR_E_INTERRUPTED: as if it had not come.
 */
ACHAR_API int achar_barrier_wait(achar_barrier barrier, int64_t timeout_ns, int lead,
                                 uint32_t *index);
/* achar_barrier_open() lets all go, after a wait with 'lead'. ACHAR_E_BROKEN: this process does not
 * lead now, because somebody aborted or reset the barrier. */
ACHAR_API int achar_barrier_open(achar_barrier barrier);
/* achar_barrier_abort() breaks it for all, those who come included, until a reset. */
ACHAR_API int achar_barrier_abort(achar_barrier barrier);
/* achar_barrier_reset() makes it as new; for those who are in it, it is broken. */
ACHAR_API int achar_barrier_reset(achar_barrier barrier);
/* achar_barrier_parties() is the number that it was made with. */
ACHAR_API uint32_t achar_barrier_parties(achar_barrier barrier);
/* achar_barrier_waiting() is how many are in it and wait for others. */
ACHAR_API uint32_t achar_barrier_waiting(achar_barrier barrier);
/* achar_barrier_is_broken() is 1 until it is reset. */
ACHAR_API int achar_barrier_is_broken(achar_barrier barrier);

/* ---- queues ---- */

/* achar_queue is a handle to a queue of messages, which are bytes. */
typedef struct achar_queue {
    achar_space *space;
    achar_cell *cell;
} achar_queue;

/*
 * achar_message is a message in this process's hands: 'nbytes' bytes at 'data', aligned for any type,
 * which are its own to change, until it is put into a queue or freed. A long one stands in shared
 * memory and is the process's: a forked child may read its parent's, but neither put nor free it.
 */
typedef struct achar_message {
    achar_space *space;
    void *data;
    size_t nbytes;
    uint32_t extent; /* the library's */
} achar_message;

/*
 * achar_queue_create() makes a queue for up to 'max_count' messages, 1 to 2^31-1; with 0 there is no
 * limit but memory: 64 GiB for all messages of a space.
 */
ACHAR_API int achar_queue_create(achar_space *space, uint32_t max_count, achar_queue *out);

/*
 * achar_queue_put() puts a copy of 'nbytes' bytes (0 is a message, too) at the end, when there is
 * room. ACHAR_E_TIMEOUT; ACHAR_E_INTERRUPTED: a signal handler without SA_RESTART ran;
 * ACHAR_E_NOMEM, and ACHAR_E_LIMIT for more than the space can hold. Then nothing was put. Killed at
 * any instruction, the process has put the message or has not.
 */
ACHAR_API int achar_queue_put(achar_queue queue, const void *data, size_t nbytes,
                              int64_t timeout_ns);

/*
 * achar_queue_get() takes the first message out; '*out' is the caller's then, to be freed by
 * achar_message_free(). ACHAR_E_TIMEOUT and ACHAR_E_INTERRUPTED: nothing was taken. A process that is
 * killed takes along what it has, and no more; see achar_queue_join().
 */
ACHAR_API int achar_queue_get(achar_queue queue, int64_t timeout_ns, achar_message *out);

/*
 * achar_message_create() makes a message to write into; one of more than 4 KiB stands in shared
 * memory from the start, and whoever gets it reads it there, so that it is never copied.
 */
ACHAR_API int achar_message_create(achar_space *space, size_t nbytes, achar_message *out);

/*
 * achar_queue_put_message() puts a message, which may have come out of a queue of the same space. On
 * success it is not the caller's any more ('data' is NULL); on failure, as achar_queue_put(), it is.
 * ACHAR_E_INVALID: it is of another space, or another process's.
 */
ACHAR_API int achar_queue_put_message(achar_queue queue, achar_message *message,
                                      int64_t timeout_ns);

/* achar_message_free() gives its memory back; 'data' is NULL afterwards. It may be NULL before. */
ACHAR_API void achar_message_free(achar_message *message);

/*
 * achar_queue_task_done() says that a message that was taken, by this process if it has any, has been
 * dealt with. ACHAR_E_NOT_HELD: as many were reported as were put.
 */
ACHAR_API int achar_queue_task_done(achar_queue queue);

/*
 * achar_queue_join() waits until as many were reported done as were put. ACHAR_E_TIMEOUT.
 * ACHAR_E_INTERRUPTED. ACHAR_E_OWNER_DIED: a process died with messages that it had taken and not
 * reported, so that will not be; until achar_queue_recover().
 */
ACHAR_API int achar_queue_join(achar_queue queue, int64_t timeout_ns);

/* achar_queue_recover() counts the messages of the dead as done. '*count': how many.
 * ACHAR_E_NOT_HELD: none. */
ACHAR_API int achar_queue_recover(achar_queue queue, uint32_t *count);

/* achar_queue_count() is how many messages are in it now that nobody has been promised. */
ACHAR_API uint32_t achar_queue_count(achar_queue queue);
/* achar_queue_max_count() is the number that it was made with. */
ACHAR_API uint32_t achar_queue_max_count(achar_queue queue);
/* achar_queue_unfinished() is how many were put and not reported done. */
ACHAR_API uint32_t achar_queue_unfinished(achar_queue queue);

#ifdef __cplusplus
}
#endif
#endif
