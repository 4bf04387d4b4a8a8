/*
 * inputs.c - futures among the arguments of a task.
 *
 * The pickler finds them, at whatever depth: asked how it is pickled, a future says "the result of input
 * number i", and its task is entered into the list that submit has opened for this thread. In the
 * worker, task_input(i) reads that input's bytes where they stand in shared memory. The client's Python
 * sees nothing of the result in between.
 */
#include "python/executor/inputs.h"
#include "python/byvalue/internal.h"
#include "python/executor/future.h"
#include "python/executor/packed.h"

static _Thread_local task_inputs *collecting;

void inputs_begin(task_inputs *in, pool_object *p)
{
    *in = (task_inputs){.p = p, .outer = collecting};
    collecting = in;
}

void inputs_begin_without(task_inputs *in, pool_object *p)
{
    inputs_begin(in, p);
    in->refuses = 1;
}

void inputs_end(task_inputs *in)
{
    collecting = in->outer;
}

void inputs_clear(task_inputs *in)
{
    for (size_t i = 0; i < in->count; i++)
        achar__task_release(in->tasks[i]);
    PyMem_Free(in->tasks);
    in->tasks = NULL;
    in->count = 0;
}

static int add(task_inputs *in, achar__task *task, PyObject *name)
{
    if (in->count == in->capacity) {
        size_t capacity = in->capacity ? in->capacity * 2 : 8;
        achar__task **tasks = PyMem_Realloc(in->tasks, capacity * sizeof *tasks);
        if (!tasks) {
            PyErr_NoMemory();
            return -1;
        }
        in->tasks = tasks;
        in->capacity = capacity;
    }
    const char *label = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (!label)
        PyErr_Clear(); /* messages say less */
    if (achar__task_set_label(task, label) != ACHAR_OK) {
        PyErr_NoMemory();
        return -1;
    }
    in->tasks[in->count++] = achar__task_retain(task);
    return 0;
}

/* (task_input, (index, value)) */
static PyObject *reduced(module_state *st, Py_ssize_t index, PyObject *value)
{
    return Py_BuildValue("(O(nO))", st->task_input, index, value);
}

static int raise_input_failed(future_object *f)
{
    PyObject *errors = PyImport_ImportModule("achar.errors");
    PyObject *error = errors ? PyObject_CallMethod(errors, "_input_failed", "(OOO)", Py_None,
                                                   f->name ? f->name : Py_None,
                                                   f->exception ? f->exception : Py_None)
                             : NULL;
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    Py_XDECREF(errors);
    return -1;
}

PyObject *inputs_reduce(module_state *st, PyObject *future)
{
    future_object *f = (future_object *)future;
    if (!collecting || collecting->refuses) {
        byvalue_refuse(st, future, "a future is completed by the process that made it",
                       "send its result(), or make it an argument of submit()");
        return NULL;
    }
    if (collecting->p->is_actor && !future_is_done(future_state_now(f))) {
        /* Its process does what it gets in order, so it gets this, and what is behind it, later. */
        collecting->must_wait = 1;
        byvalue_refuse(st, future, "it has not ended", "wait for it");
        return NULL;
    }
    achar__task *task = f->task ? f->task : f->source;
    if (task && f->pool == (PyObject *)collecting->p) {
        if (add(collecting, task, f->name) < 0)
            return NULL;
        return reduced(st, (Py_ssize_t)collecting->count - 1, Py_None);
    }
    /* Another executor's: a value, if it has ended. */
    if (f->task && ACHAR__TASK_FINISHED(achar__task_state_of(f->task)) && future_settle(st, f) < 0)
        return NULL;
    if (!f->task && f->state == FUTURE_FINISHED && !f->exception)
        return reduced(st, -1, f->result ? f->result : Py_None);
    if (!f->task && f->state >= FUTURE_CANCELLED) {
        raise_input_failed(f);
        return NULL;
    }
    collecting->must_wait = 1;
    byvalue_refuse(st, future,
                   "here, it must be a future of the same executor, or one that has ended",
                   "send its result(), or make it an argument of submit()");
    return NULL;
}

PyDoc_STRVAR(task_input_doc,
             "task_input(index, value)\n--\n\n"
             "In a task: the result that is its input number 'index'; 'value' where "
             "that is negative.");
static PyObject *task_input(PyObject *module, PyObject *args)
{
    module_state *st = state_of_module(module);
    Py_ssize_t index;
    PyObject *value;
    const void *bytes;
    size_t nbytes;
    uint32_t kind;
    if (!PyArg_ParseTuple(args, "nO:task_input", &index, &value))
        return NULL;
    if (index < 0)
        return Py_NewRef(value);
    if (!st->worker || !achar__worker_input(st->worker, (size_t)index, &bytes, &nbytes, &kind)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this stands for the result of another task, and can be "
                        "read only in the task that it was an argument of");
        return NULL;
    }
    packed_place place = {.worker = st->worker};
    place.kept = achar__worker_input_kept(st->worker, (size_t)index, &place.kept_nbytes);
    return packed_read(st, &place, kind, bytes, nbytes);
}

PyDoc_STRVAR(dumping_pool_doc,
             "dumping_pool()\n--\n\n"
             "The Pool for which something is being pickled in this thread, or None.");
static PyObject *dumping_pool(PyObject *module, PyObject *unused)
{
    return Py_NewRef(collecting ? (PyObject *)collecting->p : Py_None);
}

PyDoc_STRVAR(set_nested_future_doc,
             "set_nested_future(class)\n--\n\n"
             "In a worker: a task that returns one of these returns its result.");
static PyObject *set_nested_future(PyObject *module, PyObject *class)
{
    Py_XSETREF(state_of_module(module)->nested_future, Py_NewRef(class));
    Py_RETURN_NONE;
}

static PyMethodDef dumping_pool_def = {"dumping_pool", dumping_pool, METH_NOARGS, dumping_pool_doc};
static PyMethodDef set_nested_future_def = {"set_nested_future", set_nested_future, METH_O,
                                            set_nested_future_doc};
static PyMethodDef task_input_def = {"task_input", task_input, METH_VARARGS, task_input_doc};

int inputs_exec(PyObject *module, module_state *st)
{
    if (state_add_function(module, module, &task_input_def, "achar._achar") < 0 ||
        state_add_function(module, module, &dumping_pool_def, "achar._achar") < 0 ||
        state_add_function(module, module, &set_nested_future_def, "achar._achar") < 0)
        return -1;
    st->task_input = PyObject_GetAttrString(module, "task_input");
    return st->task_input ? 0 : -1;
}
