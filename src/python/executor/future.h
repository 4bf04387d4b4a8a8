/*
 * future.h - achar.Future: a concurrent.futures.Future whose state is the runtime's task.
 */
#ifndef ACHAR_PYTHON_FUTURE_H
#define ACHAR_PYTHON_FUTURE_H

#include "python/state.h"
#include "runtime/pool/pool.h"

/* What a future itself knows; with a task and FUTURE_PENDING, the task knows. */
enum future_state {
    FUTURE_PENDING,
    FUTURE_RUNNING,
    FUTURE_CANCELLED,
    FUTURE_CANCELLED_AND_NOTIFIED,
    FUTURE_FINISHED,
};

enum future_watch {
    WATCH_NONE,     /* nobody has asked to be told */
    WATCH_PENDING,  /* the runtime will hand the task to the watching thread; it owns a reference */
    WATCH_NOTIFIED, /* waiters and callbacks have been served */
};

typedef struct future_object {
    PyObject_HEAD achar__task *task; /* until it is settled; NULL in a future without a task */
    achar__task *
        source; /* when settled, of a reference or one that keeps_bytes: they stay for others to read */
    PyObject *pool;      /* the Pool of the task, or NULL */
    PyObject *name;      /* what the task is called in messages (str), or NULL */
    PyObject *result;    /* FUTURE_FINISHED and no exception */
    PyObject *exception; /* FUTURE_FINISHED and it failed */
    PyObject *condition; /* threading.Condition, made when someone asks for it */
    PyObject *waiters;   /* list, made when someone asks for it */
    PyObject *callbacks; /* list, made when the first comes */
    PyObject *decoded;   /* threading.Event, made by a thread that waits for another's decoding */
    unsigned long decoding_thread; /* its ident while result bytes are being read; else 0 */
    uint8_t state;                 /* enum future_state */
    uint8_t watch;                 /* enum future_watch */
    uint8_t keeps_bytes;           /* _keep_bytes() */
} future_object;

/*
 * Has the garbage collector look at 'f' from here on. A submitted task's future refers to nothing that could
 * refer to it, and many of them wait at a time: the collector does not see it until that changes. To be
 * called before anything but a str or a number is put into it. Nobody sees who asks another class for the
 * dict: what is put into vars(concurrent.futures.Future)["__dict__"].__get__(f) and leads back to 'f' stays.
 */
static inline void future_track(future_object *f)
{
    if (!PyObject_GC_IsTracked((PyObject *)f))
        PyObject_GC_Track((PyObject *)f);
}

static inline int future_is_done(enum future_state state)
{
    return state >= FUTURE_CANCELLED;
}

/* Its state at this moment, wherever it is kept. */
enum future_state future_state_now(const future_object *f);

/* The future of a submitted task; takes over the reference 'task', also when it fails. */
PyObject *future_of_task(module_state *st, achar__task *task, PyObject *pool, PyObject *name);

/* A future that has failed already: what to submit could not be pickled. */
PyObject *future_of_exception(module_state *st, PyObject *exception, PyObject *name);

/* Seconds or None to nanoseconds; -1 in *out is no limit. 0, or -1 with an exception set. */
int future_timeout(PyObject *timeout, int64_t *out);

/* Raises concurrent.futures' exception of that name; 'message' may be NULL. Returns -1. */
int future_raise(module_state *st, const char *name, const char *message);

/*
 * future_wait() waits until the task is finished; the GIL is free meanwhile. 0, or -1 with an
 * exception set: TimeoutError, or what a signal handler raised (KeyboardInterrupt ends 'pool').
 */
int future_wait(module_state *st, achar__task *task, PyObject *pool, int64_t timeout_ns);

/*
 * future_read_outcome() makes Python objects of what a finished task left behind: a result, or the
 * exception to raise, or neither (cancelled). 'name' is None or what the task is called; 'pool' may
 * be NULL. 0, or -1 with an exception set that is none of the outcome's (an interrupt).
 */
int future_read_outcome(module_state *st, PyObject *name, PyObject *pool,
                        const achar__task_result *r, PyObject **result, PyObject **exception);

/*
 * future_settle() turns the bytes of a finished task into the future's own result or exception.
 * It happens once, outside any lock; other threads wait for the one that does it. Runs Python code.
 * 0, or -1 with an exception set (an interrupt; the future can be asked again).
 */
int future_settle(module_state *st, future_object *f);

/*
 * future_ask_to_be_told() has the runtime hand the task to the watching thread when it ends. 0; then
 * f->watch is WATCH_PENDING and the end has not been published, or nothing will come any more. -1: an
 * exception.
 */
int future_ask_to_be_told(future_object *f);

/*
 * future_make_list() makes '*list' a list if it is NULL. That can set off the garbage collector, up to
 * 3.11, and with it any Python code. 0, or -1 with an exception set.
 */
int future_make_list(PyObject **list);

/*
 * future_notify() serves waiters and callbacks of a future that is done; the first call does, later
 * ones do nothing. What callbacks raise is logged, as concurrent.futures does.
 */
void future_notify(module_state *st, future_object *f);

/*
 * future_call_back() runs one callback. 0, also when it raised an Exception, which is logged; -1
 * with what else it raised.
 */
int future_call_back(module_state *st, future_object *f, PyObject *callback);

/* _condition, _waiters and the others, for the type. */
extern PyGetSetDef future_attributes[];

#endif
