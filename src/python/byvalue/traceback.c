/*
 * traceback.c - tracebacks: where the exception came through, readable there and raisable again.
 *
 * A traceback is traceback((filename, function, line, module, …)), four items for each of its
 * entries, the outermost first. There it is a real traceback, whose frames have a name, a file and
 * a line, and nothing else: no code to run, no variables. Those belong to this process.
 */
#include "python/byvalue/internal.h"

#include <frameobject.h>

enum { ENTRY_SIZE = 4, ENTRY_COUNT_MAX = 100000 };

/* ---- out ---- */

static int append_entry(PyObject *entries, PyTracebackObject *traceback, module_state *st)
{
    PyFrameObject *frame = traceback->tb_frame;
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *globals = PyObject_GetAttrString((PyObject *)frame, "f_globals");
    PyObject *line = PyObject_GetAttrString((PyObject *)traceback, "tb_lineno");
    int status = -1;
    if (globals && line && PyDict_Check(globals)) {
        PyObject *module = PyDict_GetItemWithError(globals, st->byvalue_str___name__);
        if ((module || !PyErr_Occurred()) && PyList_Append(entries, code->co_filename) == 0 &&
            PyList_Append(entries, code->co_name) == 0 && PyList_Append(entries, line) == 0)
            status = PyList_Append(entries, module && PyUnicode_Check(module) ? module : Py_None);
    }
    Py_DECREF(code);
    Py_XDECREF(globals);
    Py_XDECREF(line);
    return status;
}

int byvalue_reduce_traceback(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyObject *args = NULL;
    PyObject *entries = PyList_New(0);
    PyTracebackObject *at = (PyTracebackObject *)obj;
    for (int i = 0; entries && at && i < ENTRY_COUNT_MAX; i++, at = at->tb_next) {
        if (append_entry(entries, at, session->st) < 0)
            Py_CLEAR(entries);
    }
    PyObject *tuple = entries ? PyList_AsTuple(entries) : NULL;
    if (tuple)
        args = PyTuple_Pack(1, tuple);
    Py_XDECREF(tuple);
    Py_XDECREF(entries);
    return byvalue_make_reduce(session->st->v1_traceback, args, NULL, NULL, reduced);
}

/* ---- in ---- */

/* A frame that stands for one that ran elsewhere. */
static PyFrameObject *stand_in_frame(module_state *st, PyObject *filename, PyObject *function,
                                     int line, PyObject *module_name)
{
    PyFrameObject *frame = NULL;
    const char *file_text = PyUnicode_AsUTF8(filename);
    const char *function_text = file_text ? PyUnicode_AsUTF8(function) : NULL;
    PyCodeObject *code = function_text ? PyCode_NewEmpty(file_text, function_text, line) : NULL;
    PyObject *globals = code ? PyDict_New() : NULL;
    if (globals && (module_name == Py_None ||
                    PyDict_SetItem(globals, st->byvalue_str___name__, module_name) == 0))
        frame = PyFrame_New(PyThreadState_Get(), code, globals, NULL);
#if PY_VERSION_HEX < 0x030B0000
    if (frame)
        frame->f_lineno = line;
#endif
    Py_XDECREF(code);
    Py_XDECREF(globals);
    return frame;
}

static PyObject *v1_traceback(PyObject *module, PyObject *entries)
{
    module_state *st = state_of_module(module);
    PyObject *made = Py_NewRef(Py_None), *traceback_type = (PyObject *)&PyTraceBack_Type;
    if (!PyTuple_CheckExact(entries) || PyTuple_GET_SIZE(entries) == 0 ||
        PyTuple_GET_SIZE(entries) % ENTRY_SIZE)
        goto malformed;
    for (Py_ssize_t i = PyTuple_GET_SIZE(entries) - ENTRY_SIZE; i >= 0; i -= ENTRY_SIZE) {
        PyObject *filename = PyTuple_GET_ITEM(entries, i);
        PyObject *function = PyTuple_GET_ITEM(entries, i + 1);
        PyObject *line = PyTuple_GET_ITEM(entries, i + 2);
        PyObject *module_name = PyTuple_GET_ITEM(entries, i + 3);
        if (!PyUnicode_Check(filename) || !PyUnicode_Check(function) ||
            !(PyUnicode_Check(module_name) || module_name == Py_None))
            goto malformed;
        int number = line == Py_None ? 0 : (int)PyLong_AsLong(line);
        if (number == -1 && PyErr_Occurred())
            goto failed;
        PyFrameObject *frame = stand_in_frame(st, filename, function, number, module_name);
        if (!frame)
            goto failed;
        PyObject *entry =
            PyObject_CallFunction(traceback_type, "OOii", made, (PyObject *)frame, 0, number);
        Py_DECREF(frame);
        if (!entry)
            goto failed;
        Py_SETREF(made, entry);
    }
    return made;
malformed:
    byvalue_bad_stream(st, "traceback", "expected a tuple of (filename, function, line, module)");
failed:
    Py_DECREF(made);
    return NULL;
}

PyMethodDef byvalue_v1_traceback[] = {
    {"traceback", v1_traceback, METH_O,
     "traceback((filename, function, line, module, …)): a traceback without variables"},
    {NULL},
};
