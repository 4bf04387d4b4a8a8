/*
 * salvage.c - for achar/_memo_salvage.py: nobody else writes to a file, opens it or closes it meanwhile.
 */
#include "python/memo/memo.h"

static const char NAME[] = "achar._memo.excluded";

PyDoc_STRVAR(exclude_writers_doc,
             "exclude_writers($module, path, /)\n--\n\n"
             "Waits for those in other threads and processes, and keeps them out, until\n"
             "admit_writers() is called, by the same thread, with what this returns.");
static PyObject *exclude_writers(PyObject *module, PyObject *path_object)
{
    PyObject *path = NULL, *capsule = NULL;
    memo_locks *locks = NULL;
    memo_status status;
    if (!PyUnicode_FSConverter(path_object, &path))
        return NULL;
    const char *name = PyBytes_AS_STRING(path);
    Py_BEGIN_ALLOW_THREADS status = memo_exclude_writers(name, &locks);
    Py_END_ALLOW_THREADS Py_DECREF(path);
    if (status != MEMO_OK)
        return memo_raise(PyModule_GetState(module), status);
    capsule = PyCapsule_New(locks, NAME, NULL);
    if (!capsule)
        memo_admit_writers(locks);
    return capsule;
}

static PyObject *admit_writers(PyObject *module, PyObject *capsule)
{
    memo_locks *locks = PyCapsule_GetPointer(capsule, NAME);
    if (!locks || PyCapsule_SetName(capsule, "achar._memo.admitted") < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS memo_admit_writers(locks);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

PyMethodDef memo_salvage_functions[] = {
    {"exclude_writers", exclude_writers, METH_O, exclude_writers_doc},
    {"admit_writers", admit_writers, METH_O,
     "admit_writers($module, excluded, /)\n--\n\nEnds what exclude_writers() has begun."},
    {NULL},
};
