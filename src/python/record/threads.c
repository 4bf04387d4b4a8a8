/*
 * threads.c - an executor's threads, told to a journal: Threads and Thread of record.h.
 */
#include "python/record/record.h"

#include "runtime/sync/futex.h"

#include <achar/status.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void record_end_if_over(threads_object *threads)
{
    if (threads->closed && threads->open_count == 0 && !threads->ended) {
        threads->ended = true;
        achar__journal_end(threads->journal);
    }
}

/* ---- a thread ---- */

/* The first place that is free; with the lock. False: no memory. */
static bool take_place(threads_object *threads, thread_object *thread)
{
    size_t place = 0;
    while (place < threads->place_count && threads->threads[place])
        place++;
    if (place == threads->place_count) {
        size_t count = 2 * place + 8;
        thread_object **grown = realloc(threads->threads, count * sizeof(thread_object *));
        if (!grown)
            return false;
        memset(grown + place, 0, (count - place) * sizeof(thread_object *));
        threads->threads = grown;
        threads->place_count = count;
    }
    threads->threads[place] = thread;
    thread->place = (uint32_t)place;
    return true;
}

static bool enter_thread(threads_object *threads, thread_object *thread)
{
    pthread_mutex_lock(&threads->lock);
    bool has_place = take_place(threads, thread);
    if (has_place) {
        thread->number = ++threads->last_thread;
        achar__journal_record record = {.kind = ACHAR__JOURNAL_WORKER_STARTED,
                                        .worker = thread->number,
                                        .pid = thread->tid,
                                        .place = thread->place,
                                        .started_ns = thread->cpu_asked_ns};
        threads->open_count++;
        achar__journal_put(threads->journal, &record);
        record.kind = ACHAR__JOURNAL_WORKER_READY;
        achar__journal_put(threads->journal, &record);
    }
    pthread_mutex_unlock(&threads->lock);
    return has_place;
}

static thread_object *new_thread(record_state *st, threads_object *threads)
{
    struct timespec cpu = {0};
    thread_object *thread = PyObject_New(thread_object, st->Thread);
    if (!thread)
        return NULL;
    memset((char *)thread + sizeof(PyObject), 0, sizeof *thread - sizeof(PyObject));
    thread->of = (threads_object *)Py_NewRef(threads);
    thread->tid = (int32_t)syscall(SYS_gettid);
    thread->cpu_asked_ns = achar__now_ns();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    thread->cpu_ns = (int64_t)cpu.tv_sec * 1000000000 + cpu.tv_nsec;
    if (!enter_thread(threads, thread)) {
        Py_DECREF(thread);
        PyErr_NoMemory();
        return NULL;
    }
    return thread;
}

static void thread_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    thread_object *thread = (thread_object *)self;
    threads_object *threads = thread->of;
    if (thread->number && record_is_here(threads)) {
        pthread_mutex_lock(&threads->lock);
        threads->threads[thread->place] = NULL;
        achar__journal_put(threads->journal,
                           &(achar__journal_record){.kind = ACHAR__JOURNAL_WORKER_ENDED,
                                                    .how = ACHAR__END_LEFT,
                                                    .worker = thread->number,
                                                    .pid = thread->tid,
                                                    .place = thread->place,
                                                    .ended_ns = achar__now_ns()});
        threads->open_count--;
        record_end_if_over(threads);
        pthread_mutex_unlock(&threads->lock);
    }
    Py_DECREF(threads);
    type->tp_free(self);
    Py_DECREF(type);
}

thread_object *record_known_thread(record_state *st)
{
    PyObject *dict = PyThreadState_GetDict(); /* the thread's own, which goes with it */
    return dict ? (thread_object *)PyDict_GetItemWithError(dict, st->key) : NULL;
}

thread_object *record_this_thread(threads_object *threads)
{
    record_state *st = PyType_GetModuleState(Py_TYPE(threads));
    thread_object *thread = record_known_thread(st);
    if (thread && thread->of == threads)
        return (thread_object *)Py_NewRef(thread);
    PyObject *dict = PyThreadState_GetDict();
    if (PyErr_Occurred())
        return NULL;
    if (!dict)
        return (thread_object *)PyErr_NoMemory();
    thread = new_thread(st, threads);
    if (thread && PyDict_SetItem(dict, st->key, (PyObject *)thread) < 0)
        Py_CLEAR(thread);
    return thread;
}

static PyType_Slot thread_slots[] = {
    {Py_tp_doc, (void *)"A thread that does tasks."},
    {Py_tp_dealloc, thread_dealloc},
    {0, NULL},
};

static PyType_Spec thread_spec = {
    .name = "achar._record.Thread",
    .basicsize = sizeof(thread_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = thread_slots,
};

/* ---- all of an executor's ---- */

/* For the reader of the journal, in its thread. */
static size_t look(void *writer, achar__journal_sight *out, size_t capacity,
                   achar__journal_load *load)
{
    threads_object *threads = writer;
    size_t count = 0;
    pthread_mutex_lock(&threads->lock);
    load->queued = threads->stages[STAGE_QUEUED];
    load->waiting = threads->stages[STAGE_WAITING];
    load->running = threads->stages[STAGE_RUNNING];
    for (size_t i = 0; i < threads->place_count; i++) {
        const thread_object *thread = threads->threads[i];
        if (thread && count < capacity) {
            out[count] = (achar__journal_sight){.worker = thread->number,
                                                .place = thread->place,
                                                .pid = thread->tid,
                                                .is_thread = true,
                                                .number = thread->task,
                                                .name = thread->task_name,
                                                .started_ns = thread->task_started_ns};
        }
        count += thread != NULL;
    }
    pthread_mutex_unlock(&threads->lock);
    return count;
}

PyObject *record_threads_new(record_state *st, achar__journal *journal, const void *run,
                             PyObject *line_of)
{
    threads_object *threads = PyObject_New(threads_object, st->Threads);
    if (!threads) {
        achar__journal_end(journal);
        achar__journal_release(journal);
        return NULL;
    }
    memset((char *)threads + sizeof(PyObject), 0, sizeof *threads - sizeof(PyObject));
    threads->journal = journal;
    threads->run = run;
    threads->line_of = Py_NewRef(line_of);
    pthread_mutex_init(&threads->lock, NULL);
    if (achar__fork_guard_init(&threads->guard) != ACHAR_OK) {
        Py_DECREF(threads);
        return PyErr_NoMemory();
    }
    achar__journal_attach(journal, look, threads);
    return (PyObject *)threads;
}

PyDoc_STRVAR(close_doc, "close()\n--\n\nNo task comes any more.");
static PyObject *threads_close(PyObject *self, PyObject *unused)
{
    threads_object *threads = (threads_object *)self;
    if (record_is_here(threads)) {
        pthread_mutex_lock(&threads->lock);
        threads->closed = true;
        record_end_if_over(threads);
        pthread_mutex_unlock(&threads->lock);
    }
    Py_RETURN_NONE;
}

static void threads_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    threads_object *threads = (threads_object *)self;
    /* A child has a copy, whose lock the record's thread may have. */
    if (!threads->guard.owner_pid || record_is_here(threads)) {
        achar__journal_attach(threads->journal, NULL, NULL);
        achar__journal_end(threads->journal);
        achar__journal_release(threads->journal);
        pthread_mutex_destroy(&threads->lock);
    }
    achar__fork_guard_clear(&threads->guard);
    free(threads->threads);
    Py_DECREF(threads->line_of);
    type->tp_free(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(task_doc,
             "task(name, call, /)\n--\n\n"
             "A ThreadTask, that is to be submitted; the calling thread's task is its parent.");
PyDoc_STRVAR(retried_doc,
             "retried(error, /)\n--\n\n"
             "An attempt at the calling thread's task has raised; there will be another.");
PyDoc_STRVAR(again_doc, "again()\n--\n\nThe next attempt at it begins.");

static PyMethodDef threads_methods[] = {
    {"task", (PyCFunction)(void (*)(void))record_task_new, METH_FASTCALL, task_doc},
    {"retried", record_task_retried, METH_O, retried_doc},
    {"again", record_task_again, METH_NOARGS, again_doc},
    {"close", threads_close, METH_NOARGS, close_doc},
    {NULL},
};

static PyType_Slot threads_slots[] = {
    {Py_tp_doc, (void *)"An executor's threads; Record.threads() makes one."},
    {Py_tp_dealloc, threads_dealloc},
    {Py_tp_methods, threads_methods},
    {0, NULL},
};

static PyType_Spec threads_spec = {
    .name = "achar._record.Threads",
    .basicsize = sizeof(threads_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = threads_slots,
};

int record_threads_exec(PyObject *module)
{
    record_state *st = PyModule_GetState(module);
    st->Threads = (PyTypeObject *)PyType_FromModuleAndSpec(module, &threads_spec, NULL);
    st->Thread = (PyTypeObject *)PyType_FromModuleAndSpec(module, &thread_spec, NULL);
    st->key = PyUnicode_InternFromString("achar._record.thread");
    return st->Threads && st->Thread && st->key ? 0 : -1;
}
