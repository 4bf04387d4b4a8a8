/*
 * submit.c - ExecutorCore: from a call in Python to a task in the runtime.
 *
 * The function is pickled at every submit, so that a task sees it as it was then; the runtime
 * recognises bytes that it has, and sends them to each worker once. The arguments are pickled into
 * the shared memory that the worker reads. What cannot be pickled becomes the exception of the
 * task's own future, as in concurrent.futures; only what is no Exception (Ctrl-C) is raised here.
 */
#include "python/compat.h"
#include "python/executor/executor.h"
#include "python/executor/future.h"
#include "python/executor/inputs.h"
#include "python/executor/map.h"
#include "python/executor/packed.h"
#include "python/executor/room.h"
#include <unistd.h>

typedef struct executor_object {
    PyObject_HEAD PyObject *pool; /* Pool; NULL before __init__ */
} executor_object;

static const char *const TASK_ITEMS[] = {"args", "kwargs", "name", NULL};

/* What tasks of 'fn' are called in messages: a new reference, never NULL. */
static PyObject *name_of_callable(PyObject *fn)
{
    if (PyUnicode_CheckExact(fn)) /* of a C worker's task */
        return Py_NewRef(fn);
    PyObject *name = PyObject_GetAttrString(fn, "__qualname__");
    if (name && PyUnicode_Check(name))
        return name;
    Py_XDECREF(name);
    PyErr_Clear(); /* a callable need not have a name */
    name = PyUnicode_FromString(Py_TYPE(fn)->tp_name);
    if (!name)
        PyErr_Clear();
    return name ? name : Py_NewRef(Py_None);
}

/* ---- function snapshot ---- */

typedef struct scratch_sink {
    saver_sink sink;
    char *heap; /* NULL while everything is in 'small' */
    char small[1024];
} scratch_sink;

static int scratch_grow(saver_sink *sink, size_t capacity_nbytes)
{
    scratch_sink *scratch = sink->context;
    if (capacity_nbytes < sink->capacity * 2)
        capacity_nbytes = sink->capacity * 2;
    char *data = PyMem_Realloc(scratch->heap, capacity_nbytes);
    if (!data) {
        PyErr_NoMemory();
        return -1;
    }
    if (!scratch->heap)
        memcpy(data, scratch->small, sink->used);
    scratch->heap = sink->data = data;
    sink->capacity = capacity_nbytes;
    return 0;
}

/* As it has been pickled, also if there is only room for it later. NULL with an exception set. */
static achar__function *send_function(pool_object *p, const char *bytes, size_t nbytes,
                                      uint32_t flags)
{
    achar__function *function = NULL;
    int status;
    uint32_t seen;
    do {
        seen = achar__pool_room(p->pool);
        status = achar__pool_function(p->pool, bytes, nbytes, flags, &function);
        if (status == ACHAR_OK)
            return function;
        if (status == ACHAR_E_CLOSED)
            p->closed = 1;
        wire_raise_status(status, "send a function");
    } while (room_wait(p, (room_lack){status, nbytes}, seen) > 0);
    return NULL;
}

achar__function *executor_snapshot(module_state *st, pool_object *p, PyObject *fn)
{
    scratch_sink scratch = {
        .sink = {.data = scratch.small,
                 .capacity = sizeof scratch.small,
                 .grow = scratch_grow,
                 .context = &scratch},
    };
    const saver_options options = {.protocol = -1, .superset = 1, .root_name = "fn"};
    saver_report report = {0};
    achar__function *function = NULL;
    task_inputs none;
    inputs_begin_without(&none, p);
    int dumped = saver_dump_into(st, fn, &options, &scratch.sink, &report);
    inputs_end(&none);
    if (dumped == 0)
        function = send_function(p, scratch.sink.data, scratch.sink.used,
                                 report.reusable ? WIRE_FUNCTION_REUSABLE : 0);
    PyMem_Free(scratch.heap);
    return function;
}

/* ---- submit ---- */

int executor_refuse_if_closed(const pool_object *p)
{
    if (!p->closed)
        return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    p->owner_pid == (int)getpid()
                        ? "cannot schedule new futures after shutdown"
                        : "this executor belongs to the process that forked this one; make one "
                          "of your own here");
    return -1;
}

/* The Pool of an executor, with a reference of its own; NULL with an exception set. */
static pool_object *open_pool(PyObject *self)
{
    PyObject *pool = ((executor_object *)self)->pool;
    if (!pool) {
        PyErr_Format(PyExc_RuntimeError, "%s.__init__() has not been called",
                     Py_TYPE(self)->tp_name);
        return NULL;
    }
    if (executor_refuse_if_closed((pool_object *)pool) < 0)
        return NULL;
    return (pool_object *)Py_NewRef(pool);
}

/* NULL: it is no str, or there is no memory; then the journal has no name for it. '*escaped' is NULL, or a new
 * reference that the text is in; else it is in 'name'. */
static const char *utf8_of(PyObject *name, size_t *nbytes, PyObject **escaped)
{
    Py_ssize_t size = 0;
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, &size) : NULL;
    *escaped = NULL;
    if (!text && PyErr_Occurred()) {
        PyErr_Clear();
        *escaped = wire_utf8(name);
        if (*escaped) {
            text = PyBytes_AS_STRING(*escaped);
            size = PyBytes_GET_SIZE(*escaped);
        } else {
            PyErr_Clear();
        }
    }
    *nbytes = (size_t)size;
    return text;
}

void executor_name_function(achar__function *function, PyObject *name)
{
    size_t nbytes;
    PyObject *escaped;
    const char *text = utf8_of(name, &nbytes, &escaped);
    if (text)
        achar__function_set_name(function, text, nbytes);
    Py_XDECREF(escaped);
}

/* NULL with an exception set; '*lack' says what of. NULL without one: a future in it has to end before. */
static achar__task *try_submit(module_state *st, pool_object *p, achar__function *function,
                               PyObject *packed, PyObject *name,
                               const achar__task_options *task_options, room_lack *lack)
{
    packed_buffers taken = {.least_nbytes = p->packs ? PACKED_LEAST_NBYTES : SIZE_MAX};
    const saver_options options = {.protocol = -1,
                                   .superset = 1,
                                   .root_items = TASK_ITEMS,
                                   .take_buffer = packed_take,
                                   .take_context = &taken};
    achar__task_options with_inputs = task_options ? *task_options : (achar__task_options){0};
    wire_sink ws;
    task_inputs inputs;
    achar__task *task = NULL;
    PyObject *escaped = NULL;
    wire_sink_init(&ws, &p->memory);
    inputs_begin(&inputs, p);
    int dumped = saver_dump_into(st, packed, &options, &ws.sink, NULL);
    inputs_end(&inputs);
    int kind = dumped < 0 || inputs.must_wait ? -1 : packed_finish(&taken, &ws, PACKED_OWN);
    packed_clear(&taken);
    if (inputs.must_wait && (dumped == 0 || PyErr_ExceptionMatches(PyExc_Exception)))
        PyErr_Clear();
    if (kind >= 0 && wire_sink_finish(&ws) == 0) {
        with_inputs.args_kind = (uint32_t)kind;
        with_inputs.inputs = inputs.tasks;
        with_inputs.input_count = inputs.count;
        if (p->journals)
            with_inputs.name = utf8_of(name, &with_inputs.name_nbytes, &escaped);
        int status =
            achar__pool_submit(p->pool, function, &ws.block, ws.sink.used, &with_inputs, &task);
        if (status == ACHAR_E_CLOSED) {
            p->closed = 1;
            executor_refuse_if_closed(p);
        } else if (status != ACHAR_OK) {
            wire_raise_status(status, "submit a task");
        }
    }
    Py_XDECREF(escaped);
    inputs_clear(&inputs);
    wire_sink_clear(&ws);
    *lack = (room_lack){ws.status, ws.needed_nbytes};
    return task;
}

/*
 * One task of 'function' with 'packed', an (args, kwargs or None). Where there is no room for it, it is
 * pickled once more when there is. Its future; None: a future in it has to end before. NULL with an exception set.
 */
static PyObject *submit_packed(module_state *st, pool_object *p, achar__function *function,
                               PyObject *packed, PyObject *name,
                               const achar__task_options *task_options)
{
    achar__task *task;
    room_lack lack;
    uint32_t seen;
    do {
        seen = achar__pool_room(p->pool);
        task = try_submit(st, p, function, packed, name, task_options, &lack);
    } while (!task && room_wait(p, lack, seen) > 0);
    if (!task)
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    return future_of_task(st, task, (PyObject *)p, name);
}

/* The exception that is set becomes a failed future; NULL: it is to be raised here and now. */
static PyObject *failed_future(module_state *st, pool_object *p, PyObject *name)
{
    if (executor_refuse_if_closed(p) < 0 || !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyObject *exception = compat_take_exception();
    PyObject *future = future_of_exception(st, exception, name);
    Py_DECREF(exception);
    return future;
}

/* The keyword arguments of a call as a dict, or None. */
static PyObject *keywords_of(PyObject *const *values, PyObject *kwnames)
{
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (!count)
        return Py_NewRef(Py_None);
    PyObject *kwargs = PyDict_New();
    for (Py_ssize_t i = 0; kwargs && i < count; i++)
        if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0)
            Py_CLEAR(kwargs);
    return kwargs;
}

static PyObject *pack_call(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *packed = PyTuple_New(2), *positional = PyTuple_New(nargs);
    PyObject *kwargs = keywords_of(args + nargs, kwnames);
    if (!packed || !positional || !kwargs) {
        Py_XDECREF(packed);
        Py_XDECREF(positional);
        Py_XDECREF(kwargs);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < nargs; i++)
        PyTuple_SET_ITEM(positional, i, Py_NewRef(args[i]));
    PyTuple_SET_ITEM(packed, 0, positional);
    PyTuple_SET_ITEM(packed, 1, kwargs);
    return packed;
}

/* The future of a call that is submitted when the futures in it have ended. */
static PyObject *hold_call(PyObject *executor, PyObject *options, PyObject *name, PyObject *fn,
                           PyObject *packed)
{
    PyObject *held = PyImport_ImportModule("achar._held");
    PyObject *future =
        held ? PyObject_CallMethod(held, "hold", "OOOOOO", executor, options, name, fn,
                                   PyTuple_GET_ITEM(packed, 0), PyTuple_GET_ITEM(packed, 1))
             : NULL;
    Py_XDECREF(held);
    return future;
}

/* Submits fn with 'packed'; 'name' NULL: the callable's. None and NULL as submit_packed(). */
static PyObject *submit_call(module_state *st, PyObject *self, PyObject *fn, PyObject *packed,
                             PyObject *task_name, const achar__task_options *options)
{
    pool_object *p = open_pool(self);
    if (!p)
        return NULL;
    PyObject *future = NULL;
    PyObject *name = task_name ? Py_NewRef(task_name) : name_of_callable(fn);
    achar__function *function = executor_snapshot(st, p, fn);
    if (function) {
        future = submit_packed(st, p, function, packed, name, options);
        achar__function_release(function);
    }
    if (!future)
        future = failed_future(st, p, name);
    Py_DECREF(name);
    Py_DECREF(p);
    return future;
}

PyDoc_STRVAR(submit_doc,
             "submit(fn, /, *args, **kwargs)\n--\n\n"
             "Have a worker call fn(*args, **kwargs); returns the Future of its result.");
static PyObject *executor_submit_method(PyObject *self, PyTypeObject *class, PyObject *const *args,
                                        Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    PyObject *packed = pack_call(args + 1, nargs - 1, kwnames);
    PyObject *future =
        packed ? submit_call(PyType_GetModuleState(class), self, args[0], packed, NULL, NULL)
               : NULL;
    if (future == Py_None)
        Py_SETREF(future, hold_call(self, Py_None, Py_None, args[0], packed));
    Py_XDECREF(packed);
    return future;
}

static int is_actors(PyObject *self)
{
    PyObject *pool = ((executor_object *)self)->pool;
    return pool && ((pool_object *)pool)->is_actor;
}

PyDoc_STRVAR(
    submit_with_doc,
    "_submit_with(options, name, fn, args, kwargs)\n--\n\n"
    "submit() for a task with a name, or None, and options: (time limit in seconds or None, "
    "retries, seconds before the first of them, priority, and perhaps the task that submits it). "
    "To an actor's executor, None instead of a future: one among the arguments has not ended.");
static PyObject *executor_submit_with(PyObject *self, PyTypeObject *class, PyObject *const *args,
                                      Py_ssize_t nargs, PyObject *kwnames)
{
    achar__task_options options = {0};
    if (nargs != 5 || kwnames || !PyTuple_Check(args[3]) || !PyDict_Check(args[4])) {
        PyErr_SetString(PyExc_TypeError, "_submit_with() takes options, name, fn, a tuple, a dict");
        return NULL;
    }
    PyObject *limit, *backoff;
    unsigned long long parent = 0;
    if (!PyTuple_Check(args[0]) ||
        !PyArg_ParseTuple(args[0], "OIOi|K:options", &limit, &options.retry_count, &backoff,
                          &options.priority, &parent) ||
        future_timeout(limit, &options.time_limit_ns) < 0 ||
        future_timeout(backoff, &options.backoff_ns) < 0)
        return NULL;
    if (options.time_limit_ns < 0)
        options.time_limit_ns = 0; /* none */
    options.parent = parent;
    PyObject *kwargs = PyDict_GET_SIZE(args[4]) ? args[4] : Py_None;
    PyObject *packed = args[1] == Py_None ? PyTuple_Pack(2, args[3], kwargs)
                                          : PyTuple_Pack(3, args[3], kwargs, args[1]);
    PyObject *future = packed ? submit_call(PyType_GetModuleState(class), self, args[2], packed,
                                            args[1] == Py_None ? NULL : args[1], &options)
                              : NULL;
    if (future == Py_None && !is_actors(self))
        Py_SETREF(future, hold_call(self, args[0], args[1], args[2], packed));
    Py_XDECREF(packed);
    return future;
}

PyDoc_STRVAR(
    put_doc,
    "put(obj)\n--\n\n"
    "Store 'obj' in shared memory, once, and return a Future that is done: as an argument, it "
    "gives a task the object without a copy of its large buffers, which are read-only there "
    "(and in its result()). It is freed when nobody has the future, a task that needs it, or "
    "a view of it any more.");
static PyObject *executor_put(PyObject *self, PyTypeObject *class, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames)
{
    module_state *st = PyType_GetModuleState(class);
    if (nargs != 1 || kwnames) {
        PyErr_SetString(PyExc_TypeError, "put() takes one object");
        return NULL;
    }
    pool_object *p = open_pool(self);
    if (!p)
        return NULL;
    PyObject *future = NULL;
    PyObject *name = PyUnicode_FromFormat("put(%s)", Py_TYPE(args[0])->tp_name);
    achar__task *task = name ? packed_put(st, p, args[0]) : NULL;
    if (task)
        future = future_of_task(st, task, (PyObject *)p, name);
    Py_XDECREF(name);
    Py_DECREF(p);
    return future;
}

PyDoc_STRVAR(put_packed_doc, "_put_packed(bytes)\n--\n\n"
                             "put() of what a task has packed (_achar.pack()).");
static PyObject *executor_put_packed(PyObject *self, PyTypeObject *class, PyObject *const *args,
                                     Py_ssize_t nargs, PyObject *kwnames)
{
    if (nargs != 1 || kwnames || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_put_packed() takes bytes");
        return NULL;
    }
    pool_object *p = open_pool(self);
    if (!p)
        return NULL;
    PyObject *future = NULL;
    achar__task *task = packed_put_bytes(p, args[0]);
    if (task)
        future = future_of_task(PyType_GetModuleState(class), task, (PyObject *)p, Py_None);
    Py_DECREF(p);
    return future;
}

PyDoc_STRVAR(map_doc,
             "_map(fn, iterables, timeout, buffersize)\n--\n\n"
             "An iterator over the results of fn(*items), in order, with one snapshot of fn.");
static PyObject *executor_map(PyObject *self, PyTypeObject *class, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames)
{
    module_state *st = PyType_GetModuleState(class);
    if (nargs != 4 || kwnames || !PyTuple_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError,
                        "_map() takes fn, a tuple of iterables, timeout, buffersize");
        return NULL;
    }
    pool_object *p = open_pool(self);
    if (!p)
        return NULL;
    PyObject *name = name_of_callable(args[0]);
    PyObject *results = map_start(st, p, args[0], name, args[1], args[2], args[3]);
    Py_DECREF(name);
    Py_DECREF(p);
    return results;
}

/* ---- the type ---- */

static PyMethodDef executor_methods[] = {
    {"submit", (PyCFunction)(void (*)(void))executor_submit_method,
     METH_METHOD | METH_FASTCALL | METH_KEYWORDS, submit_doc},
    {"_submit_with", (PyCFunction)(void (*)(void))executor_submit_with,
     METH_METHOD | METH_FASTCALL | METH_KEYWORDS, submit_with_doc},
    {"_map", (PyCFunction)(void (*)(void))executor_map, METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     map_doc},
    {"put", (PyCFunction)(void (*)(void))executor_put, METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     put_doc},
    {"_put_packed", (PyCFunction)(void (*)(void))executor_put_packed,
     METH_METHOD | METH_FASTCALL | METH_KEYWORDS, put_packed_doc},
    {NULL},
};

static PyObject *executor_get_pool(PyObject *self, void *unused)
{
    PyObject *pool = ((executor_object *)self)->pool;
    return Py_NewRef(pool ? pool : Py_None);
}

static int executor_set_pool(PyObject *self, PyObject *value, void *unused)
{
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st)
        return -1;
    if (!value || !Py_IS_TYPE(value, (PyTypeObject *)st->Pool)) {
        PyErr_SetString(PyExc_TypeError, "_pool must be a Pool");
        return -1;
    }
    Py_XSETREF(((executor_object *)self)->pool, Py_NewRef(value));
    return 0;
}

static PyGetSetDef executor_getset[] = {
    {"_pool", executor_get_pool, executor_set_pool, NULL},
    {NULL},
};

static int executor_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((executor_object *)self)->pool);
    return 0;
}

static int executor_clear(PyObject *self)
{
    Py_CLEAR(((executor_object *)self)->pool);
    return 0;
}

static void executor_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    executor_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot executor_slots[] = {
    {Py_tp_doc, (void *)"What achar.Executor does in C."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_traverse, executor_traverse},
    {Py_tp_clear, executor_clear},
    {Py_tp_dealloc, executor_dealloc},
    {Py_tp_methods, executor_methods},
    {Py_tp_getset, executor_getset},
    {0, NULL},
};

static PyType_Spec executor_spec = {
    .name = "achar._achar.ExecutorCore",
    .basicsize = sizeof(executor_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = executor_slots,
};

int executor_submit_exec(PyObject *module, module_state *st)
{
    st->ExecutorCore = PyType_FromModuleAndSpec(module, &executor_spec, NULL);
    return st->ExecutorCore ? PyModule_AddObjectRef(module, "ExecutorCore", st->ExecutorCore) : -1;
}
