/*
 * sync.h - achar.Lock and its like: threading's classes on the runtime's objects.
 *
 * All share one struct. An object is a handle: what it stands for lives in a space, and any number
 * of Python objects in any number of processes may stand for the same (holders.h counts them).
 */
#ifndef ACHAR_PYTHON_SYNC_H
#define ACHAR_PYTHON_SYNC_H

#include "python/state.h"

#include "runtime/sync/holders.h"
#include "runtime/sync/waiter.h"

#include <achar/sync.h>
#include <structmember.h>

/* A space that this interpreter has mapped; shared by its objects and the list in the state. */
typedef struct sync_space {
    achar_space *space;
    Py_ssize_t ref_count;
    struct sync_space *next;
} sync_space;

typedef struct sync_object {
    PyObject_HEAD PyObject *weakrefs;
    sync_space *place;
    achar_space *space;    /* = place->space */
    achar_cell *cell;      /* NULL: __init__ was not called */
    int holder_pid;        /* the process that counts this handle; another in its forked children */
    unsigned holder_forks; /* how often it had forked when it got it */
    PyObject *lock;        /* Condition: its Lock or RLock */
    PyObject *action;      /* Barrier: or NULL */
    PyObject *timeout;     /* Barrier: the default, or None */
    int closed;            /* Queue: close() was called */
} sync_object;

/* ---- spaces.c ---- */

/* The space in which this interpreter makes objects; borrowed. NULL with an exception. */
sync_space *sync_space_default(module_state *st);
/* What another process needs to map the space: (id, pid, descriptor). */
PyObject *sync_space_token(const sync_space *place);
/* The space behind a token; borrowed. NULL with an exception. */
sync_space *sync_space_from_token(module_state *st, PyObject *token);
sync_space *sync_space_hold(sync_space *place);
void sync_space_drop(sync_space *place);
/* How often this process has forked. */
unsigned sync_fork_count(void);
int sync_spaces_exec(module_state *st);

/* ---- object.c ---- */

/* 'self' becomes a handle of a cell in 'place', which is counted already. */
void sync_adopt(sync_object *self, sync_space *place, achar_cell *cell);
/* The same for one just made: the first handle. */
void sync_adopt_new(sync_object *self, sync_space *place, achar_cell *cell);
/* For __init__: the default space, if 'self' is no handle yet. NULL with an exception. */
sync_space *sync_place_for_init(sync_object *self);
/* Raises what a failing status means, for all that have no words of their own. Returns NULL. */
PyObject *sync_raise(int status);
PyObject *sync_raise_uninitialised(PyObject *self);

#define SYNC_CHECK(self)                                                                           \
    if (__builtin_expect(!((sync_object *)(self))->cell, 0))                                       \
    return sync_raise_uninitialised(self)

/*
 * Seconds to a deadline of futex.h. 'timeout' NULL or None: none. 0 and less: 0, do not wait.
 * -1 with an exception: not a number, or too large.
 */
int sync_deadline_of(PyObject *timeout, int64_t *deadline_ns);
/* The arguments of acquire() of locks ("acquire(blocking=True, timeout=-1)"), "Lock" or "RLock". */
int sync_lock_arguments(const char *class_name, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames, int64_t *deadline_ns);
/* Arguments by position or keyword, in the order of 'names' (NULL-terminated); what is absent stays as
 * it is in 'values'. 0, or -1. */
int sync_arguments(const char *method, const char *const *names, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **values);
/* Up to two arguments by position or keyword; what is absent stays NULL. 0, or -1. */
int sync_two_arguments(const char *method, const char *first, const char *second,
                       PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                       PyObject *values[2]);

/* ---- words.c: what threading says to arguments that are refused here ---- */

/* -1 with threading's exception, if its class_name.method() refuses them; else 0. */
int sync_ask_threading(const char *class_name, const char *method, PyObject *const *args,
                       Py_ssize_t nargs, PyObject *kwnames);
/* The same where they are refused anyway, with the exception that is set if threading has none. NULL. */
PyObject *sync_refuse(const char *class_name, const char *method, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames);
/* The same for __init__(), which failed with an exception. -1. */
int sync_refuse_init(const char *class_name, PyObject *args, PyObject *kwargs);

/* 'function' as a method without arguments. */
#define SYNC_NO_ARGUMENTS(class_name, method, function)                                            \
    static PyObject *function##_alone(PyObject *self, PyObject *const *args, Py_ssize_t nargs,     \
                                      PyObject *kwnames)                                           \
    {                                                                                              \
        return nargs || kwnames ? sync_refuse(class_name, method, args, nargs, kwnames)            \
                                : function(self, NULL);                                            \
    }

/* A wait goes on without the GIL; signals are answered, and locks are taken, with it. */
typedef struct sync_waiting {
    PyThreadState *thread; /* NULL: it has the GIL */
    achar__host host;
} sync_waiting;
void sync_wait_begin(sync_waiting *waiting);
void sync_wait_end(sync_waiting *waiting);

/* "<achar.Event at 0x…: what>"; takes printf's arguments for what. */
PyObject *sync_repr(PyObject *self, const char *format, ...);

/* ---- lock.c ---- */

/* Of a Lock, an RLock or a Condition's. 1: acquired; 0: not in time; -1: exception. */
int sync_lock_acquire(achar_lock lock, int64_t deadline_ns);
PyObject *sync_lock_release(achar_lock lock);
/* Releases; where OwnerDied is on its way out and nothing is held, there is nothing to release. */
PyObject *sync_lock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs);
extern const char sync_acquire_doc[], sync_release_doc[], sync_recover_doc[];
/* Methods that a Condition has from its lock. */
PyObject *sync_lock_acquire_method(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames);
PyObject *sync_lock_release_method(PyObject *self, PyObject *unused);
PyObject *sync_lock_enter(PyObject *self, PyObject *unused);
PyObject *sync_lock_recover(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames);
PyObject *sync_lock_is_owned(PyObject *self, PyObject *unused);
PyObject *sync_lock_recursion_count(PyObject *self, PyObject *unused);
PyObject *sync_lock_release_save(PyObject *self, PyObject *unused);
PyObject *sync_lock_acquire_restore(PyObject *self, PyObject *depth);
PyObject *sync_lock_at_fork_reinit(PyObject *self, PyObject *unused);
#define SYNC_FAST(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL
#define SYNC_FAST_KEYWORDS(function)                                                               \
    (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS
#define SYNC_LOCK_METHODS                                                                          \
    {"acquire", SYNC_FAST_KEYWORDS(sync_lock_acquire_method), sync_acquire_doc},                   \
        {"release", sync_lock_release_method, METH_NOARGS, sync_release_doc},                      \
        {"__enter__", sync_lock_enter, METH_NOARGS, NULL},                                         \
        {"__exit__", SYNC_FAST(sync_lock_exit), NULL},                                             \
        {"recover", SYNC_FAST_KEYWORDS(sync_lock_recover), sync_recover_doc},                      \
    {                                                                                              \
        "_at_fork_reinit", sync_lock_at_fork_reinit, METH_NOARGS, NULL                             \
    }
/* Those of a recursive lock, which others' Conditions use. */
#define SYNC_RECURSIVE_METHODS                                                                     \
    {"_is_owned", sync_lock_is_owned, METH_NOARGS, NULL},                                          \
        {"_recursion_count", sync_lock_recursion_count, METH_NOARGS, NULL},                        \
        {"_release_save", sync_lock_release_save, METH_NOARGS, NULL},                              \
    {                                                                                              \
        "_acquire_restore", sync_lock_acquire_restore, METH_O, NULL                                \
    }
#define SYNC_REDUCE                                                                                \
    {                                                                                              \
        "__reduce__", sync_reduce, METH_NOARGS, NULL                                               \
    }
PyObject *sync_reduce(PyObject *self, PyObject *unused);

/* ---- barrier.c ---- */

/* Who is the last runs the action, if there is one, and lets the others go or breaks the barrier.
 * 0, or -1 with an exception. */
int sync_barrier_lead(PyObject *self, uint32_t index);

/* ---- aio.c ---- */

int sync_aio_exec(PyObject *module, module_state *st);
PyObject *sync_get_aio(PyObject *self, void *unused);
extern PyGetSetDef sync_getset[]; /* of types that have no others */
#define SYNC_GET_AIO                                                                               \
    {                                                                                              \
        "aio", sync_get_aio, NULL, "The same to await from asyncio; see achar.aio."                \
    }

extern PyType_Spec sync_lock_spec, sync_rlock_spec, sync_condition_spec, sync_event_spec,
    sync_semaphore_spec, sync_bounded_semaphore_spec, sync_barrier_spec, sync_queue_spec;

PyObject *sync_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
int sync_traverse(PyObject *self, visitproc visit, void *arg);
int sync_clear(PyObject *self);
void sync_dealloc(PyObject *self);
extern PyMemberDef sync_members[];
#define SYNC_SLOTS                                                                                 \
    {Py_tp_new, sync_new}, {Py_tp_traverse, sync_traverse}, {Py_tp_clear, sync_clear},             \
        {Py_tp_dealloc, sync_dealloc},                                                             \
    {                                                                                              \
        Py_tp_members, sync_members                                                                \
    }
#define SYNC_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE)

/* The lock that lock methods work on: the object itself, or a Condition's. */
static inline achar_lock sync_lock_of(PyObject *self)
{
    sync_object *o = (sync_object *)self;
    sync_object *lock = o->lock ? (sync_object *)o->lock : o;
    return (achar_lock){lock->space, lock->cell};
}

#endif
