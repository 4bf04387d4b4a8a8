/*
 * inputs.h - futures among the arguments of a task: its inputs.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_INPUTS_H
#define ACHAR_PYTHON_EXECUTOR_INPUTS_H

#include "python/executor/executor.h"

/* The inputs of a call whose arguments are being pickled in this thread. */
typedef struct task_inputs {
    pool_object *p; /* borrowed */
    achar__task **tasks;
    size_t count, capacity;
    int refuses;   /* what is pickled is no task's arguments */
    int must_wait; /* for a future of another's that has not ended; an actor's call: for any */
    struct task_inputs *outer; /* of a submit that this one happened in */
} task_inputs;

/* From begin to end, futures of 'p' that are pickled in this thread become inputs. */
void inputs_begin(task_inputs *in, pool_object *p);
void inputs_end(task_inputs *in);
/* The same for what is sent otherwise: futures are refused, and inputs_pool() is 'p'. */
void inputs_begin_without(task_inputs *in, pool_object *p);
/* Lets go of the tasks. */
void inputs_clear(task_inputs *in);

/* Future.__reduce_ex__(). */
PyObject *inputs_reduce(module_state *st, PyObject *future);

int inputs_exec(PyObject *module, module_state *st);

#endif
