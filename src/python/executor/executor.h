/*
 * executor.h - the Pool object: Python's owner of the runtime's achar__pool.
 *
 * Executor -> Pool <- Future. The executor does not keep its futures alive nor they it; the runtime's
 * pool lives until both have let go of its Pool.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_H
#define ACHAR_PYTHON_EXECUTOR_H

#include "python/executor/wire.h"

typedef struct pool_object {
    PyObject_HEAD achar__pool *pool; /* NULL only before __init__ has succeeded */
    wire_memory memory;
    PyObject *watcher; /* the thread that runs callbacks, once one was needed */
    int closed;        /* no more submits */
    int journals;      /* it tells a journal what happens: tasks have names there */
    uint32_t source;   /* of that journal, in the run */
    int packs;         /* its workers read what is packed: they are Python's */
    int is_actor;      /* it ends when its process has died too often, and takes calls in order */
    int owner_pid;     /* the process that made it; its forks have a useless copy */
    PyObject *interrupted; /* a set of pids: the workers that ran when Ctrl-C came; or NULL */
} pool_object;

/* Pool.__init__; pool_init.c. */
int pool_init(PyObject *self, PyObject *args, PyObject *kwargs);

/* Starts the thread that tells futures of their end, if it does not run. 0, or -1 and an exception. */
int pool_start_watcher(PyObject *pool);

/* Ctrl-C: cancels what is queued and kills what is running. An exception that is set stays set. */
void pool_interrupt(PyObject *pool);

/* 0, or -1 with the RuntimeError of an executor that takes no more tasks. */
int executor_refuse_if_closed(const pool_object *p);

/* The pickle of 'fn' as it is now, known to the pool; NULL with an exception set. */
achar__function *executor_snapshot(module_state *st, pool_object *p, PyObject *fn);

/* What the journal calls its tasks. */
void executor_name_function(achar__function *function, PyObject *name);

/* 1 if pool_interrupt() may have killed the worker that had this pid. */
int pool_interrupted(PyObject *pool, int pid);

#endif
