/*
 * refuse.c - what cannot sensibly move to another process, why, and what to do instead.
 *
 * Classes are known by their names, so that nothing is imported to recognise them. A subclass that
 * says itself how it is pickled is believed, and so is copyreg.
 */
#include "python/byvalue/internal.h"

#define PROCESS_OWNED "belongs to the process that opened it"
#define OPEN_THERE    "open it inside the task, or leave it out in __getstate__"

static const char lock_why[] = "a fresh lock would exclude nobody: it guards this process's memory";
static const char lock_do[] =
    "make the lock inside the task, leave it out in __getstate__, or ask for locks=\"fresh\"";
static const char event_why[] = "a fresh event would never hear of this one being set";
static const char file_why[] = "an open file " PROCESS_OWNED;
static const char file_do[] = "send its path, and open it inside the task";
static const char run_why[] = "its state is a frame of the running interpreter";
static const char generator_do[] =
    "send list(...) of it, or the function and arguments that make it";
static const char coroutine_do[] =
    "send the coroutine function and its arguments, and await it there";

static const struct refusal {
    const char *module, *name, *why, *remedy;
    byvalue_reducer sometimes; /* NULL; or what answers 0 for the objects that are refused */
} refusals[] = {
    {"builtins", "generator", run_why, generator_do},
    {"builtins", "async_generator", run_why, generator_do},
    {"builtins", "coroutine", run_why, coroutine_do},
    {"builtins", "frame", run_why, "send what you need from it: f_code, f_lineno, f_locals"},
    {"_thread", "lock", lock_why, lock_do},
    {"_thread", "RLock", lock_why, lock_do},
    {"_thread", "_local", "it holds a value for each thread of this process",
     "send the value that this thread sees"},
    {"_thread", "_ThreadHandle", "a thread runs in the process that started it",
     "start it inside the task"},
    {"threading", "_RLock", lock_why, lock_do},
    {"threading", "Condition", lock_why, lock_do},
    {"threading", "Semaphore", lock_why, lock_do},
    {"threading", "Event", event_why,
     "make the event inside the task, or leave it out in __getstate__"},
    {"threading", "Barrier", lock_why, lock_do},
    {"threading", "Thread", "a thread runs in the process that started it",
     "start it inside the task, or send its target and arguments"},
    {"queue", "Queue", "a queue connects threads of one process",
     "send its items, or use multiprocessing.Manager().Queue()"},
    {"_queue", "SimpleQueue", "a queue connects threads of one process",
     "send its items, or use multiprocessing.Manager().Queue()"},
    {"_socket", "socket", "a connection " PROCESS_OWNED,
     "connect inside the task, or leave it out in __getstate__"},
    {"ssl", "SSLContext", "it holds keys and handles of this process's TLS library",
     "make the context inside the task, or leave it out in __getstate__"},
    {"_ssl", "_SSLContext", "it holds keys and handles of this process's TLS library",
     "make the context inside the task, or leave it out in __getstate__"},
    {"_io", "TextIOWrapper", file_why, file_do, byvalue_reduce_file},
    {"_io", "BufferedReader", file_why, file_do, byvalue_reduce_file},
    {"_io", "BufferedWriter", file_why, file_do},
    {"_io", "BufferedRandom", file_why, file_do},
    {"_io", "BufferedRWPair", file_why, file_do},
    {"_io", "FileIO", file_why, file_do, byvalue_reduce_file},
    {"tempfile", "_TemporaryFileWrapper", file_why, file_do},
    {"mmap", "mmap", "a mapping " PROCESS_OWNED, "send bytes(...) of it, or map the file there"},
    {"posix", "ScandirIterator", "a directory stream " PROCESS_OWNED, "send list(...) of it"},
    {"select", "epoll", "a descriptor " PROCESS_OWNED, OPEN_THERE},
    {"subprocess", "Popen", "a child process has one parent: the process that started it",
     "start it inside the task, or send its result"},
    {"sqlite3", "Connection", "a connection " PROCESS_OWNED,
     "connect inside the task, or leave it out in __getstate__"},
    {"sqlite3", "Cursor", "a cursor belongs to a connection of this process",
     "connect inside the task, and send the rows"},
    {"concurrent.futures._base", "Future", "a future is completed by the process that made it",
     "send its result()"},
    {"concurrent.futures._base", "Executor", "an executor's threads and workers stay here",
     "make the executor inside the task"},
    {"_asyncio", "Future", "a future is completed by an event loop of this process",
     "await it, and send the result"},
    {"_asyncio", "Task", "a task is run by an event loop of this process",
     "send the coroutine function and its arguments, and await it there"},
    {"asyncio.events", "AbstractEventLoop", "an event loop runs in one thread of one process",
     "call asyncio.run() inside the task"},
    {"re", "Match", "it holds on to the scan of a text", "send its groups(), span() and string"},
    {"_hashlib", "HASH", "its state belongs to this process's OpenSSL",
     "send its digest(), or what is to be hashed"},
    {"weakref", "finalize", "it runs when an object of this process goes",
     "register it inside the task"},
    {"_contextvars", "Context", "a context holds the variables of this process",
     "send the values that the task needs"},
    {"_contextvars", "Token", "a token undoes a change made in this process",
     "send the values that the task needs"},
};

int byvalue_type_is(PyTypeObject *type, const char *module, const char *name)
{
    const char *dot = strrchr(type->tp_name, '.');
    if (strcmp(dot ? dot + 1 : type->tp_name, name) != 0)
        return 0;
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        size_t nbytes = dot ? (size_t)(dot - type->tp_name) : strlen("builtins");
        const char *type_module = dot ? type->tp_name : "builtins";
        return strlen(module) == nbytes && memcmp(type_module, module, nbytes) == 0;
    }
    PyObject *dict = compat_type_dict(type);
    PyObject *type_module = dict ? PyDict_GetItemString(dict, "__module__") : NULL;
    int same = type_module && PyUnicode_Check(type_module) &&
               PyUnicode_CompareWithASCIIString(type_module, module) == 0;
    Py_XDECREF(dict);
    return same;
}

static const struct refusal *refusal_of(PyTypeObject *type)
{
    for (size_t k = 0; k < sizeof(refusals) / sizeof(*refusals); k++) {
        if (byvalue_type_is(type, refusals[k].module, refusals[k].name))
            return &refusals[k];
    }
    return NULL;
}

/* 1 if the class says itself how its objects are pickled. */
static int pickles_itself(PyTypeObject *type)
{
    static const char *const names[] = {"__reduce__", "__reduce_ex__", "__getstate__",
                                        "__getnewargs__", "__getnewargs_ex__"};
    PyObject *dict = compat_type_dict(type);
    int found = 0;
    for (size_t i = 0; dict && i < sizeof(names) / sizeof(*names); i++)
        found |= PyDict_GetItemString(dict, names[i]) != NULL;
    Py_XDECREF(dict);
    return found;
}

/* The refusal that stands first in the MRO, unless a class before it knows better. */
static const struct refusal *refusal_in_mro(PyTypeObject *type)
{
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        const struct refusal *refusal = refusal_of(base);
        if (refusal)
            return refusal;
        /* socket.socket has a __getstate__, which is there to refuse; so it is in other words. */
        if (pickles_itself(base) && !byvalue_type_is(base, "socket", "socket"))
            return NULL;
    }
    return NULL;
}

int byvalue_is_refused(PyTypeObject *type)
{
    return refusal_in_mro(type) != NULL;
}

/*
 * locks="fresh": a lock is made anew, free. What Python code makes of locks goes the ordinary way,
 * with its counts and with fresh locks inside.
 */
static int reduce_fresh(PyObject *obj, PyObject **reduced)
{
    PyObject *make = NULL;
    if (byvalue_type_is(Py_TYPE(obj), "_thread", "lock"))
        make = byvalue_import("_thread", "allocate_lock");
    else if (byvalue_type_is(Py_TYPE(obj), "_thread", "RLock") ||
             byvalue_type_is(Py_TYPE(obj), "threading", "_RLock"))
        make = Py_NewRef((PyObject *)Py_TYPE(obj));
    else
        return 0;
    int status = byvalue_make_reduce(make, make ? PyTuple_New(0) : NULL, NULL, NULL, reduced);
    Py_XDECREF(make);
    return status;
}

int byvalue_reduce_refused(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    const struct refusal *refusal = refusal_in_mro(Py_TYPE(obj));
    int registered = PyDict_Contains(session->st->copyreg_dispatch_table, (PyObject *)Py_TYPE(obj));
    if (registered || !refusal)
        return registered < 0 ? -1 : 0;
    if (session->fresh_locks && (refusal->why == lock_why || refusal->why == event_why))
        return reduce_fresh(obj, reduced);
    int status = refusal->sometimes ? refusal->sometimes(session, obj, reduced) : 0;
    return status ? status : byvalue_refuse(session->st, obj, refusal->why, refusal->remedy);
}

int byvalue_refuse(module_state *st, PyObject *obj, const char *why, const char *remedy)
{
    PyTypeObject *type = Py_TYPE(obj);
    PyObject *module = NULL;
    PyObject *name = PyObject_GetAttr((PyObject *)type, st->byvalue_str___qualname__);
    if (name && compat_find_attr((PyObject *)type, st->byvalue_str___module__, &module) >= 0) {
        int plain = !module || !PyUnicode_Check(module) ||
                    PyUnicode_CompareWithASCIIString(module, "builtins") == 0;
        if (plain)
            PyErr_Format(st->PicklingError, "%U cannot be sent\n  why: %s\n  do:  %s", name, why,
                         remedy);
        else
            PyErr_Format(st->PicklingError, "%U.%U cannot be sent\n  why: %s\n  do:  %s", module,
                         name, why, remedy);
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return -1;
}
