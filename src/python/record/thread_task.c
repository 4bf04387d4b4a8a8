/*
 * thread_task.c - a task on a thread, told to a journal: ThreadTask of record.h.
 *
 * It is what the executor calls in the task's place. What it tells of an end it tells before the future has it.
 */
#include "python/record/record.h"

#include "python/compat/interpreter.h"
#include "runtime/pool/pool.h"
#include "runtime/sync/futex.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CPU_APART_NS 200000 /* the kernel is asked no oftener, as in workers */

/* ---- telling; with the lock ---- */

static void move(task_object *task, enum task_stage stage)
{
    task->of->stages[task->stage]--;
    task->of->stages[task->stage = stage]++;
}

static achar__journal_record record_of(const task_object *task, enum achar__journal_kind kind)
{
    return (achar__journal_record){.kind = (uint8_t)kind,
                                   .attempt = task->attempts,
                                   .name = task->name,
                                   .number = task->number,
                                   .calls = 1,
                                   .parent = task->parent,
                                   .submitted_ns = task->submitted_ns};
}

static void tell_submitted(task_object *task)
{
    if (!task->number) {
        task->number = ++task->of->last_task;
        achar__journal_record record = record_of(task, ACHAR__JOURNAL_SUBMITTED);
        achar__journal_put(task->of->journal, &record);
    }
}

/* What the thread has used since it was last asked; 0: that was just now, and the next task will have it. */
static uint64_t cpu_since(thread_object *thread, int64_t now_ns)
{
    struct timespec cpu;
    if (now_ns - thread->cpu_asked_ns < CPU_APART_NS ||
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu) < 0) {
        return 0;
    }
    int64_t before_ns = thread->cpu_ns;
    thread->cpu_asked_ns = now_ns;
    thread->cpu_ns = (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
    return (uint64_t)(thread->cpu_ns - before_ns);
}

/* The end of an attempt; 'text' is taken over. */
static void tell_attempt(task_object *task, enum achar__journal_kind kind,
                         enum achar__task_state state, char *text)
{
    achar__journal_record record = record_of(task, kind);
    record.how = (uint8_t)state;
    record.ended_ns = achar__now_ns();
    record.text = text;
    record.raised = kind == ACHAR__JOURNAL_ENDED && state == ACHAR__TASK_RAISED;
    thread_object *thread = task->on;
    if (thread) {
        record.started_ns = task->started_ns;
        record.worker = thread->number;
        record.cpu_ns = cpu_since(thread, record.ended_ns);
        thread->task = 0;
    }
    achar__journal_put(task->of->journal, &record);
}

/* ---- a task's life ---- */

static void begin_task(task_object *task, thread_object *thread)
{
    pthread_mutex_lock(&task->of->lock);
    tell_submitted(task);
    move(task, STAGE_RUNNING);
    task->started_ns = achar__now_ns();
    thread->task = task->number;
    thread->task_name = task->name;
    thread->task_started_ns = task->started_ns;
    pthread_mutex_unlock(&task->of->lock);
}

/* Takes 'text' over. Of one that was not submitted nothing is told. */
static void end_task(task_object *task, enum achar__task_state state, char *text)
{
    threads_object *threads = task->of;
    thread_object *thread = task->on;
    if (record_is_here(threads)) {
        pthread_mutex_lock(&threads->lock);
        if (task->number) {
            tell_attempt(task, ACHAR__JOURNAL_ENDED, state, text);
            text = NULL;
        }
        threads->stages[task->stage]--;
        threads->open_count--;
        record_end_if_over(threads);
        pthread_mutex_unlock(&threads->lock);
    }
    free(text);
    task->stage = STAGE_ENDED;
    task->of = NULL;
    task->on = NULL;
    Py_XDECREF(thread);
    Py_DECREF(threads);
}

/* A copy of bytes or None for the journal; false: an exception is set. */
static bool text_from(PyObject *object, char **out)
{
    *out = NULL;
    if (object == Py_None)
        return true;
    if (!PyBytes_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "an error's line is bytes or None");
        return false;
    }
    *out = strdup(PyBytes_AS_STRING(object));
    if (!*out)
        PyErr_NoMemory();
    return *out != NULL;
}

/* What the exception that is set says; it stays set. NULL: nothing can be said. */
static char *text_of_raised(PyObject *line_of)
{
    char *text = NULL;
    PyObject *error = compat_take_exception();
    PyObject *line = PyObject_CallOneArg(line_of, error);
    if (!line || !text_from(line, &text))
        PyErr_Clear(); /* it goes without */
    Py_XDECREF(line);
    compat_restore_exception(error);
    return text;
}

/* Its call, in a thread of the executor's. */
static PyObject *task_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    task_object *task = (task_object *)self;
    PyObject *call = task->call;
    if (!call) {
        PyErr_SetString(PyExc_RuntimeError, "a task is called once, before it has ended");
        return NULL;
    }
    thread_object *thread = NULL;
    if (task->of && record_is_here(task->of)) {
        thread = record_this_thread(task->of);
        if (!thread)
            return NULL;
        task->on = (thread_object *)Py_NewRef(thread);
        begin_task(task, thread);
        thread->doing = task;
    }
    task->call = NULL;
    PyObject *result = PyObject_CallNoArgs(call);
    if (thread)
        thread->doing = NULL;
    char *text = NULL;
    if (!result && task->of)
        text = text_of_raised(task->of->line_of);
    if (task->of)
        end_task(task, result ? ACHAR__TASK_RETURNED : ACHAR__TASK_RAISED, text);
    else
        free(text);
    Py_DECREF(call);
    Py_XDECREF(thread);
    return result;
}

PyDoc_STRVAR(submitted_doc,
             "submitted(waits, /)\n--\n\n"
             "It is for a thread to begin; with 'waits', not before its inputs have ended.");
static PyObject *task_submitted(PyObject *self, PyObject *waits)
{
    task_object *task = (task_object *)self;
    if (task->of && record_is_here(task->of) && task->stage < STAGE_QUEUED) {
        pthread_mutex_lock(&task->of->lock);
        tell_submitted(task);
        move(task, waits == Py_True ? STAGE_WAITING : STAGE_QUEUED);
        pthread_mutex_unlock(&task->of->lock);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(
    ended_doc,
    "ended(state, error, /)\n--\n\n"
    "Otherwise than by its call: CANCELLED, INPUT_FAILED or ABANDONED, and the error's line, "
    "or None. The first end counts.");
static PyObject *task_ended(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    task_object *task = (task_object *)self;
    char *text;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "ended() takes a state and an error's line or None");
        return NULL;
    }
    long state = PyLong_AsLong(args[0]);
    if ((state == -1 && PyErr_Occurred()) || !text_from(args[1], &text))
        return NULL;
    if (task->of)
        end_task(task, (enum achar__task_state)state, text);
    else
        free(text);
    Py_CLEAR(task->call);
    Py_RETURN_NONE;
}

/* The task that the calling thread does for these; NULL: none. */
static task_object *doing(PyObject *threads)
{
    thread_object *thread = record_known_thread(PyType_GetModuleState(Py_TYPE(threads)));
    task_object *task = thread && (PyObject *)thread->of == threads ? thread->doing : NULL;
    return task && task->of && record_is_here(task->of) ? task : NULL;
}

PyObject *record_task_retried(PyObject *self, PyObject *error)
{
    char *text;
    if (!text_from(error, &text))
        return NULL;
    task_object *task = doing(self);
    if (task) {
        pthread_mutex_lock(&task->of->lock);
        tell_attempt(task, ACHAR__JOURNAL_RETRIED, ACHAR__TASK_RAISED, text);
        task->attempts++;
        pthread_mutex_unlock(&task->of->lock);
    } else {
        free(text);
    }
    Py_RETURN_NONE;
}

PyObject *record_task_again(PyObject *self, PyObject *unused)
{
    task_object *task = doing(self);
    if (task)
        begin_task(task, task->on);
    Py_RETURN_NONE;
}

/* ---- the object ---- */

/* UTF-8, with lone surrogates escaped; a new reference to bytes. */
static PyObject *utf8_of(PyObject *text)
{
    return PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
}

/* False: an exception is set. */
static bool enter_task(task_object *task, threads_object *threads, PyObject *name)
{
    PyObject *escaped = NULL;
    Py_ssize_t nbytes;
    const char *text = PyUnicode_AsUTF8AndSize(name, &nbytes);
    if (!text) {
        PyErr_Clear();
        escaped = utf8_of(name);
        if (!escaped)
            return false;
        text = PyBytes_AS_STRING(escaped);
        nbytes = PyBytes_GET_SIZE(escaped);
    }
    const thread_object *here = record_known_thread(PyType_GetModuleState(Py_TYPE(threads)));
    const task_object *parent = here ? here->doing : NULL;
    if (parent && parent->of && parent->of->run == threads->run)
        task->parent = (uint64_t)achar__journal_source(parent->of->journal) << 32 | parent->number;
    task->submitted_ns = achar__now_ns();
    pthread_mutex_lock(&threads->lock);
    if (!threads->ended) {
        task->name = achar__journal_name(threads->journal, text, (size_t)nbytes);
        threads->stages[STAGE_NEW]++;
        threads->open_count++;
        task->of = (threads_object *)Py_NewRef(threads);
    }
    pthread_mutex_unlock(&threads->lock);
    Py_XDECREF(escaped);
    return true;
}

PyObject *record_task_new(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    threads_object *threads = (threads_object *)self;
    record_state *st = PyType_GetModuleState(Py_TYPE(self));
    if (count != 2 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "task() takes a name and a call");
        return NULL;
    }
    task_object *task = PyObject_GC_New(task_object, st->ThreadTask);
    if (!task)
        return NULL;
    memset((char *)task + sizeof(PyObject), 0, sizeof *task - sizeof(PyObject));
    task->call = Py_NewRef(args[1]);
    PyObject_GC_Track(task);
    if (record_is_here(threads) && !enter_task(task, threads, args[0]))
        Py_CLEAR(task);
    return (PyObject *)task;
}

static int task_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((task_object *)self)->call);
    return 0;
}

static int task_clear(PyObject *self)
{
    Py_CLEAR(((task_object *)self)->call);
    return 0;
}

static void task_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    task_object *task = (task_object *)self;
    PyObject_GC_UnTrack(self);
    if (task->of) /* nobody will begin it any more */
        end_task(task, ACHAR__TASK_ABANDONED, NULL);
    Py_XDECREF(task->call);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef task_methods[] = {
    {"submitted", task_submitted, METH_O, submitted_doc},
    {"ended", (PyCFunction)(void (*)(void))task_ended, METH_FASTCALL, ended_doc},
    {NULL},
};

static PyType_Slot task_slots[] = {
    {Py_tp_doc, (void *)"A task, for a thread to call; Threads.task() makes one."},
    {Py_tp_dealloc, task_dealloc},
    {Py_tp_traverse, task_traverse},
    {Py_tp_clear, task_clear},
    {Py_tp_call, task_call},
    {Py_tp_methods, task_methods},
    {0, NULL},
};

static PyType_Spec task_spec = {
    .name = "achar._record.ThreadTask",
    .basicsize = sizeof(task_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = task_slots,
};

int record_task_exec(PyObject *module)
{
    record_state *st = PyModule_GetState(module);
    const struct {
        const char *name;
        long value;
    } states[] = {{"CANCELLED", ACHAR__TASK_CANCELLED},
                  {"ABANDONED", ACHAR__TASK_ABANDONED},
                  {"INPUT_FAILED", ACHAR__TASK_INPUT_FAILED}};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (PyModule_AddIntConstant(module, states[i].name, states[i].value) < 0)
            return -1;
    }
    st->ThreadTask = (PyTypeObject *)PyType_FromModuleAndSpec(module, &task_spec, NULL);
    return st->ThreadTask ? 0 : -1;
}
