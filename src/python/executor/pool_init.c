/*
 * pool_init.c - Pool(): what the executor asks for becomes the runtime's options, and its pool.
 *
 * Whatever fails, nothing of it is left: the pool is there when all of it is.
 */
#include "python/executor/executor.h"
#include <unistd.h>

static int memory_reserve(void *owner, size_t nbytes, achar__block *out)
{
    return achar__pool_block_reserve(owner, nbytes, out);
}

static int memory_grow(void *owner, achar__block *block, size_t used, size_t nbytes)
{
    return achar__pool_block_grow(owner, block, used, nbytes);
}

static void memory_free(void *owner, achar__block *block)
{
    achar__pool_block_free(owner, block);
}

/* A sequence of str or bytes as argv or envp; 'keep' owns the bytes. NULL with an exception set. */
static const char **strings_of(PyObject *sequence, PyObject **keep)
{
    PyObject *encoded = NULL;
    const char **strings = NULL;
    PyObject *items = PySequence_Tuple(sequence);
    if (!items)
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    encoded = PyTuple_New(count);
    strings = PyMem_Calloc((size_t)count + 1, sizeof *strings);
    if (!encoded || !strings) {
        PyErr_NoMemory();
        goto fail;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *bytes = NULL;
        if (!PyUnicode_FSConverter(PyTuple_GET_ITEM(items, i), &bytes))
            goto fail;
        PyTuple_SET_ITEM(encoded, i, bytes);
        strings[i] = PyBytes_AS_STRING(bytes);
    }
    Py_DECREF(items);
    *keep = encoded;
    return strings;
fail:
    Py_DECREF(items);
    Py_XDECREF(encoded);
    PyMem_Free(strings);
    return NULL;
}

/* Pickled apart from the rest: a worker reads it when sys.path is the client's. */
static int add_initializer(module_state *st, PyObject *hello, PyObject *initializer)
{
    static const char *const names[] = {"initializer", "initargs", NULL};
    static const saver_options options = {.protocol = -1, .superset = 1, .root_items = names};
    PyObject *bytes =
        initializer == Py_None ? Py_NewRef(Py_None) : saver_dumps(st, initializer, &options);
    int status = bytes ? PyDict_SetItemString(hello, "initializer", bytes) : -1;
    Py_XDECREF(bytes);
    return status;
}

int pool_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    pool_object *p = (pool_object *)self;
    PyObject *argv_list, *envp_list, *hello, *initializer, *spill_dir, *journal = Py_None;
    Py_ssize_t memory_limit, spill_limit;
    unsigned worker_count, max_tasks, max_starts, output;
    int has_door;
    double start_limit, room_limit;
    if (!PyArg_ParseTuple(args, "OOIO!OIpIIdnnOd|O:Pool", &argv_list, &envp_list, &worker_count,
                          &PyDict_Type, &hello, &initializer, &max_tasks, &has_door, &max_starts,
                          &output, &start_limit, &memory_limit, &spill_limit, &spill_dir,
                          &room_limit, &journal))
        return -1;
    if (journal != Py_None && !PyCapsule_IsValid(journal, "achar.journal")) {
        PyErr_SetString(PyExc_TypeError, "journal must be what Record.journal() returns");
        return -1;
    }
    if (p->pool) {
        PyErr_SetString(PyExc_RuntimeError, "a Pool is set up once");
        return -1;
    }
    module_state *st = state_of_type(Py_TYPE(self));
    PyObject *argv_keep = NULL, *envp_keep = NULL, *hello_bytes = NULL, *spill_path = NULL;
    const char **argv = NULL, **envp = NULL;
    int result = -1;
    if (!st)
        return -1;
    const saver_options options = {.protocol = -1, .superset = 1, .root_name = "hello"};
    if (add_initializer(st, hello, initializer) < 0 ||
        !(hello_bytes = saver_dumps(st, hello, &options)) ||
        !(argv = strings_of(argv_list, &argv_keep)))
        goto done;
    if (spill_dir != Py_None && !PyUnicode_FSConverter(spill_dir, &spill_path))
        goto done;
    if (envp_list != Py_None && !(envp = strings_of(envp_list, &envp_keep)))
        goto done;
    achar__pool_options pool_options = {
        .worker_argv = argv,
        .worker_envp = envp,
        .worker_count = worker_count,
        .hello = PyBytes_AS_STRING(hello_bytes),
        .hello_nbytes = (size_t)PyBytes_GET_SIZE(hello_bytes),
        .max_tasks_per_worker = max_tasks,
        .has_door = has_door != 0,
        .max_starts = max_starts,
        .memory_limit_nbytes = (size_t)memory_limit,
        .spill_limit_nbytes = (size_t)spill_limit,
        .spill_path = spill_path ? PyBytes_AS_STRING(spill_path) : NULL,
        .journal = journal == Py_None ? NULL : PyCapsule_GetPointer(journal, "achar.journal"),
        .start_limit_ns = start_limit > 0 && start_limit < 1e9 ? (int64_t)(start_limit * 1e9) : 0,
        .room_limit_ns = room_limit > 0 && room_limit < 1e9 ? (int64_t)(room_limit * 1e9) : 0,
        .output = output == 2   ? ACHAR__OUTPUT_DELIVER
                  : output == 1 ? ACHAR__OUTPUT_DISCARD
                                : ACHAR__OUTPUT_INHERIT,
    };
    int status;
    Py_BEGIN_ALLOW_THREADS status = achar__pool_create(&pool_options, &p->pool);
    Py_END_ALLOW_THREADS if (status != ACHAR_OK)
    {
        p->pool = NULL;
        wire_raise_status(status, "start an executor");
        goto done;
    }
    p->memory = (wire_memory){p->pool, memory_reserve, memory_grow, memory_free};
    p->owner_pid = (int)getpid();
    p->is_actor = max_starts > 0;
    p->packs = has_door;
    p->journals = journal != Py_None;
    p->source = p->journals ? achar__journal_source(pool_options.journal) : 0;
    if (p->journals)
        PyCapsule_SetContext(journal, p->pool); /* it ends the journal from here on */
    result = 0;
done:
    PyMem_Free(argv);
    PyMem_Free(envp);
    Py_XDECREF(argv_keep);
    Py_XDECREF(envp_keep);
    Py_XDECREF(hello_bytes);
    Py_XDECREF(spill_path);
    return result;
}
