/*
 * fork.c - what achar/memo.py registers with os.register_at_fork(), and who opens a store in a child.
 *
 * A child opens a store of its own when it uses one first, under 'opening', since its threads may do so
 * at the same time. Whoever waits here does not hold the GIL.
 */
#include "python/memo/memo.h"
#include <pthread.h>

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static int is_forking; /* with 'opening' */

void memo_lock_opening(void)
{
    Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&opening);
    Py_END_ALLOW_THREADS
}

void memo_unlock_opening(void)
{
    pthread_mutex_unlock(&opening);
}

static PyObject *before_fork(PyObject *module, PyObject *unused)
{
    Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&opening);
    memo_before_fork();
    Py_END_ALLOW_THREADS is_forking = 1;
    Py_RETURN_NONE;
}

static PyObject *after_fork_in_parent(PyObject *module, PyObject *unused)
{
    if (!is_forking)
        Py_RETURN_NONE;
    is_forking = 0;
    Py_BEGIN_ALLOW_THREADS memo_after_fork_in_parent();
    pthread_mutex_unlock(&opening);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

static PyObject *after_fork_in_child(PyObject *module, PyObject *unused)
{
    is_forking = 0;
    memo_after_fork_in_child();
    pthread_mutex_init(&opening, NULL);
    Py_RETURN_NONE;
}

PyMethodDef memo_fork_functions[] = {
    {"before_fork", before_fork, METH_NOARGS,
     "before_fork($module, /)\n--\n\nCloses every file, until after_fork_in_parent()."},
    {"after_fork_in_parent", after_fork_in_parent, METH_NOARGS,
     "after_fork_in_parent($module, /)\n--\n\nOpens the files again."},
    {"after_fork_in_child", after_fork_in_child, METH_NOARGS,
     "after_fork_in_child($module, /)\n--\n\nForgets the parent's files; each store opens its "
     "own."},
    {NULL},
};
