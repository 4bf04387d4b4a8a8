/*
 * record.c - achar._record: Record, Python's owner of an achar__record.
 *
 * Nothing here touches the file: the record's own thread does. What waits for it lets the GIL go.
 */
#include "python/record/record.h"

#include "record/record.h"
#include <achar/status.h>

typedef struct record_object {
    PyObject_HEAD achar__record *record; /* NULL only before __init__ has succeeded */
} record_object;

PyDoc_STRVAR(
    record_doc,
    "Record(path, program, python, workers)\n--\n\n"
    "A run's record in the SQLite file 'path' (docs/record.md). OSError where it cannot be.");

static int record_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    record_object *r = (record_object *)self;
    PyObject *path = NULL;
    achar__record_about about = {0};
    char message[1024] = "there is no memory for a record";
    if (!PyArg_ParseTuple(args, "O&zzI:Record", PyUnicode_FSConverter, &path, &about.program,
                          &about.python, &about.workers))
        return -1;
    if (r->record) {
        Py_DECREF(path);
        PyErr_SetString(PyExc_RuntimeError, "a Record is set up once");
        return -1;
    }
    int status;
    Py_BEGIN_ALLOW_THREADS status =
        achar__record_open(PyBytes_AS_STRING(path), &about, &r->record, message, sizeof message);
    Py_END_ALLOW_THREADS Py_DECREF(path);
    if (status == ACHAR_OK)
        return 0;
    r->record = NULL;
    PyObject *text = PyUnicode_DecodeFSDefault(message); /* there is the path in it */
    if (text)
        PyErr_SetObject(status == ACHAR_E_NOMEM ? PyExc_MemoryError : PyExc_OSError, text);
    Py_XDECREF(text);
    return -1;
}

static achar__record *record_of(PyObject *self)
{
    achar__record *record = ((record_object *)self)->record;
    if (!record)
        PyErr_SetString(PyExc_RuntimeError, "this Record has not been set up");
    return record;
}

/* The capsule's context is set once a pool tells the journal. No other will: without one the run would never
 * be over. */
static void release_journal(PyObject *capsule)
{
    achar__journal *journal = PyCapsule_GetPointer(capsule, "achar.journal");
    if (!PyCapsule_GetContext(capsule))
        achar__journal_end(journal);
    achar__journal_release(journal);
}

/* A journal for one more pool. NULL: an exception is set, or the run has ended. */
static achar__journal *add_journal(PyObject *self, PyObject *arg)
{
    static const char *const kinds[] = {"executor", "nested", "actor", "environment"};
    achar__record *record = record_of(self);
    long kind = PyLong_AsLong(arg);
    if (!record || (kind == -1 && PyErr_Occurred()))
        return NULL;
    if (kind < 0 || kind > 3) {
        PyErr_SetString(PyExc_ValueError, "there is no such kind of pool");
        return NULL;
    }
    return achar__record_add(record, kinds[kind]);
}

PyDoc_STRVAR(journal_doc,
             "journal(kind)\n--\n\n"
             "For Pool(): a capsule, or None when the run has ended. 'kind': 0, of the "
             "executor; 1, of nested tasks; 2, of an actor; 3, of an environment.");
static PyObject *record_journal(PyObject *self, PyObject *arg)
{
    achar__journal *journal = add_journal(self, arg);
    if (!journal && PyErr_Occurred())
        return NULL;
    if (!journal)
        Py_RETURN_NONE;
    PyObject *capsule = PyCapsule_New(journal, "achar.journal", release_journal);
    if (!capsule) {
        achar__journal_end(journal);
        achar__journal_release(journal);
    }
    return capsule;
}

PyDoc_STRVAR(
    threads_doc,
    "threads(kind, line_of)\n--\n\n"
    "The same for an executor of threads: a Threads, or None. 'line_of' makes bytes of UTF-8 of "
    "an exception.");
static PyObject *record_threads(PyObject *self, PyObject *args)
{
    PyObject *kind, *line_of;
    if (!PyArg_ParseTuple(args, "OO:threads", &kind, &line_of))
        return NULL;
    achar__journal *journal = add_journal(self, kind);
    if (!journal && PyErr_Occurred())
        return NULL;
    if (!journal)
        Py_RETURN_NONE;
    return record_threads_new(PyType_GetModuleState(Py_TYPE(self)), journal,
                              ((record_object *)self)->record, line_of);
}

PyDoc_STRVAR(close_doc, "close()\n--\n\nThe run ends when all its pools have.");
static PyObject *record_close(PyObject *self, PyObject *unused)
{
    achar__record *record = record_of(self);
    if (!record)
        return NULL;
    achar__record_close(record);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(join_doc,
             "join(timeout=-1)\n--\n\n"
             "Wait, at most so many seconds, until all that was told so far is in the file. False: "
             "it is not, because of the time or of the file.");
static PyObject *record_join(PyObject *self, PyObject *args)
{
    double timeout = -1;
    achar__record *record = record_of(self);
    int status = ACHAR_E_IO;
    if (!record || !PyArg_ParseTuple(args, "|d:join", &timeout))
        return NULL;
    Py_BEGIN_ALLOW_THREADS status =
        achar__record_join(record, timeout < 0 || timeout > 1e9 ? -1 : (int64_t)(timeout * 1e9));
    Py_END_ALLOW_THREADS return PyBool_FromLong(status == ACHAR_OK);
}

PyDoc_STRVAR(trouble_doc, "trouble()\n--\n\n"
                          "(How many records are not in the file and will not be, why or '').");
static PyObject *record_trouble(PyObject *self, PyObject *unused)
{
    char message[256];
    achar__record *record = record_of(self);
    if (!record)
        return NULL;
    unsigned long long dropped = achar__record_trouble(record, message, sizeof message);
    return Py_BuildValue("(Ks)", dropped, message);
}

static PyObject *record_get_run(PyObject *self, void *unused)
{
    achar__record *record = record_of(self);
    return record ? PyLong_FromLongLong(achar__record_run(record)) : NULL;
}

static void record_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    achar__record_release(((record_object *)self)->record);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef record_methods[] = {
    {"journal", record_journal, METH_O, journal_doc},
    {"threads", record_threads, METH_VARARGS, threads_doc},
    {"close", record_close, METH_NOARGS, close_doc},
    {"join", record_join, METH_VARARGS, join_doc},
    {"trouble", record_trouble, METH_NOARGS, trouble_doc},
    {NULL},
};

static PyGetSetDef record_getset[] = {
    {"run", record_get_run, NULL, "The number of the run in the file."},
    {NULL},
};

static PyType_Slot record_slots[] = {
    {Py_tp_doc, (void *)record_doc},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, record_init},
    {Py_tp_dealloc, record_dealloc},
    {Py_tp_methods, record_methods},
    {Py_tp_getset, record_getset},
    {0, NULL},
};

static PyType_Spec record_spec = {
    .name = "achar._record.Record",
    .basicsize = sizeof(record_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = record_slots,
};

static int module_exec(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &record_spec, NULL);
    int status = type ? PyModule_AddObjectRef(module, "Record", type) : -1;
    Py_XDECREF(type);
    return status < 0 || record_threads_exec(module) < 0 ? -1 : record_task_exec(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    record_state *st = PyModule_GetState(module);
    Py_VISIT(st->Threads);
    Py_VISIT(st->Thread);
    Py_VISIT(st->ThreadTask);
    return 0;
}

static int module_clear(PyObject *module)
{
    record_state *st = PyModule_GetState(module);
    Py_CLEAR(st->Threads);
    Py_CLEAR(st->Thread);
    Py_CLEAR(st->ThreadTask);
    Py_CLEAR(st->key);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,   .m_name = "_record",           .m_size = sizeof(record_state),
    .m_slots = module_slots, .m_traverse = module_traverse, .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__record(void);
PyMODINIT_FUNC PyInit__record(void)
{
    return PyModuleDef_Init(&module_def);
}
