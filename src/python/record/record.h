/*
 * record.h - what the files of achar._record share.
 *
 *    Threads      an executor of threads: its journal, its threads, how many tasks are where
 *    Thread       a thread of it, from its first task to the thread's end
 *    ThreadTask   a task of it, from submit() until it has ended
 *
 * What a pool of processes does under its lock is done here under 'lock'. It is a leaf: who has it calls nothing
 * that could wait for the GIL, for the record's thread takes it, too, to look. The journal ends when no task comes
 * any more and all tasks and threads have ended. In a child of fork() all of this is inert.
 */
#ifndef ACHAR_PYTHON_RECORD_H
#define ACHAR_PYTHON_RECORD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "runtime/pool/journal.h"
#include "runtime/sync/fork_guard.h"

#include <pthread.h>

typedef struct record_state {
    PyTypeObject *Threads, *Thread, *ThreadTask;
    PyObject *key; /* of the Thread in a thread's own dict */
} record_state;

enum task_stage { STAGE_NEW, STAGE_WAITING, STAGE_QUEUED, STAGE_RUNNING, STAGE_ENDED, STAGE_COUNT };

typedef struct thread_object thread_object;
typedef struct task_object task_object;

typedef struct threads_object {
    PyObject_HEAD achar__fork_guard guard;
    achar__journal *journal;
    const void *run;         /* the same for all executors of a run */
    PyObject *line_of;       /* what an exception says, as bytes */
    pthread_mutex_t lock;    /* all below */
    thread_object **threads; /* by their places; borrowed: they remove themselves. NULL: free */
    size_t place_count;
    uint32_t last_task, last_thread;
    size_t stages[STAGE_COUNT]; /* how many tasks are at each */
    size_t open_count;          /* tasks and threads that have not ended */
    bool closed, ended;
} threads_object;

struct thread_object {
    PyObject_HEAD threads_object *of;
    uint32_t number, place; /* number 0: it tells nothing */
    int32_t tid;
    int64_t cpu_asked_ns, cpu_ns; /* the thread's own */
    task_object *doing;           /* borrowed; NULL: none. The thread's alone */
    /* the same for who looks, with the lock; task 0: none */
    uint32_t task, task_name;
    int64_t task_started_ns;
};

struct task_object {
    PyObject_HEAD threads_object *of; /* NULL: it has ended */
    PyObject *call;                   /* until it is begun, or has ended */
    thread_object *on;                /* while it runs */
    enum task_stage stage;
    uint32_t number; /* 0: not submitted yet */
    uint32_t name;
    uint16_t attempts; /* that have failed */
    uint64_t parent;
    int64_t submitted_ns, started_ns;
};

static inline bool record_is_here(const threads_object *threads)
{
    return achar__fork_guard_holds(&threads->guard);
}

/* ---- threads.c ---- */

int record_threads_exec(PyObject *module);
/* The Threads that write 'journal', which becomes theirs, also where this fails. */
PyObject *record_threads_new(record_state *st, achar__journal *journal, const void *run,
                             PyObject *line_of);
/* With the lock, whenever there is one task or thread less. */
void record_end_if_over(threads_object *threads);
/* A new reference to the calling thread, which is this executor's from now on. NULL: an exception is set. */
thread_object *record_this_thread(threads_object *threads);
/* The same, borrowed, whosever it is; NULL: no executor's. */
thread_object *record_known_thread(record_state *st);

/* ---- thread_task.c ---- */

int record_task_exec(PyObject *module);
/* Methods of Threads. */
PyObject *record_task_new(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *record_task_retried(PyObject *self, PyObject *error);
PyObject *record_task_again(PyObject *self, PyObject *unused);

#endif
