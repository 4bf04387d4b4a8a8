/*
 * map_object.h - the iterator of Executor.map(), which map_pack.c fills and map.c reads.
 */
#ifndef ACHAR_PYTHON_MAP_OBJECT_H
#define ACHAR_PYTHON_MAP_OBJECT_H

#include "python/executor/future.h"
#include "python/executor/map.h"
#include <stdbool.h>

/* Calls that were submitted together, or one that could not be. */
typedef struct segment {
    achar__task *piece;  /* the first that has not been read; owned, with those behind it */
    PyObject *exception; /* instead */
} segment;

typedef struct map_object {
    PyObject_HEAD module_state *st; /* the type keeps it alive */
    PyObject *pool;                 /* Pool; NULL: ended */
    PyObject *name;
    segment *segments;
    size_t segment_first, segment_end, segment_capacity;

    /* the piece of the first segment that is being read */
    bool reading;
    achar__task_result outcome;
    const char *cursor, *end; /* RETURNED: its records */
    size_t calls_left;

    bool busy;           /* some thread is inside */
    bool started;        /* a result has been asked for */
    int64_t deadline_ns; /* CLOCK_MONOTONIC; -1: none */

    /* with buffersize: what is still to be submitted */
    PyObject *iterators; /* tuple, or NULL */
    achar__function *function;
    achar__stretch_map numbers;
} map_object;

/* Appends a segment; takes over what it is of. 0, or -1 with an exception set, and nothing taken. */
int map_add_segment(map_object *map, achar__task *piece, PyObject *exception);

/* The next item of each iterator, as a tuple; NULL without an exception: one of them has ended. */
PyObject *map_next_args(PyObject *iterators);

/* Submits up to 'limit' calls (-1: all). 1: the input has ended; 0; -1 with an exception set. */
int map_submit_calls(module_state *st, map_object *map, PyObject *iterators,
                     achar__function *function, Py_ssize_t limit);

#endif
