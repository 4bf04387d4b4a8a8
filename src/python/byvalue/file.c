/*
 * file.c - files that are open for reading, opened there at the same position; standard streams.
 *
 * A file is file(kind, path, position, mode or None, (encoding, errors, line buffering) or None),
 * kind 0 raw, 1 buffered, 2 text. It goes only where the path still leads to the very file that is
 * open here, which is looked up: not a file that was removed, renamed or put in its place. What a
 * process writes to is its own and is refused. sys.stdin, stdout and stderr are the other process's.
 */
#include "python/byvalue/internal.h"

#include <sys/stat.h>

enum file_kind { FILE_RAW, FILE_BUFFERED, FILE_TEXT, FILE_KIND_COUNT };

static int kind_of(PyTypeObject *type)
{
    static const char *const names[] = {"FileIO", "BufferedReader", "TextIOWrapper"};
    for (int kind = 0; kind < FILE_KIND_COUNT; kind++) {
        if (byvalue_type_is(type, "_io", names[kind]))
            return kind;
    }
    return -1;
}

/* attribute("sys", "stdout") and so on. 1, 0, -1. */
static int reduce_standard_stream(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    static const char *const names[] = {"stdin",     "stdout",     "stderr",
                                        "__stdin__", "__stdout__", "__stderr__"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (PySys_GetObject(names[i]) != obj)
            continue;
        PyObject *args = Py_BuildValue("ss", "sys", names[i]);
        return byvalue_make_reduce(session->st->v1_attribute, args, NULL, NULL, reduced);
    }
    return 0;
}

/* 1 if 'path' leads to the file that 'descriptor' is open on, a plain one. */
static int leads_to(PyObject *path, int descriptor)
{
    struct stat here, there;
    PyObject *bytes = NULL;
    if (!PyUnicode_FSConverter(path, &bytes)) {
        PyErr_Clear();
        return 0;
    }
    int same = stat(PyBytes_AS_STRING(bytes), &there) == 0 && fstat(descriptor, &here) == 0 &&
               S_ISREG(here.st_mode) && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
    Py_DECREF(bytes);
    return same;
}

/* Refuses for want of the exception that is set, if it is an ordinary one. -1. */
static int refuse_instead(byvalue_session *session, PyObject *obj, const char *why,
                          const char *remedy)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Clear();
    return byvalue_refuse(session->st, obj, why, remedy);
}

static int is_true(PyObject *obj, const char *method)
{
    PyObject *answer = PyObject_CallMethod(obj, method, NULL);
    int truth = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

/* The absolute path of an open file; NULL with or without an exception if it has none. */
static PyObject *path_of(PyObject *obj)
{
    PyObject *path = PyObject_GetAttrString(obj, "name");
    if (!path || !PyUnicode_Check(path)) {
        Py_XDECREF(path);
        return NULL;
    }
    PyObject *abspath = byvalue_import("os.path", "abspath");
    PyObject *absolute = abspath ? PyObject_CallOneArg(abspath, path) : NULL;
    Py_XDECREF(abspath);
    Py_DECREF(path);
    return absolute;
}

int byvalue_reduce_file(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    int kind = kind_of(Py_TYPE(obj));
    int status = reduce_standard_stream(session, obj, reduced);
    if (status || kind < 0)
        return status;
    PyObject *args = NULL, *path = NULL, *position = NULL, *text = NULL;
    status = -1;
    int readable = is_true(obj, "readable"),
        writable = readable < 0 ? -1 : is_true(obj, "writable");
    if (readable < 0 || writable < 0) {
        refuse_instead(session, obj, "it is closed", "send its path, or what was read from it");
        goto done;
    }
    if (!readable || writable) {
        status = 0; /* the general refusal says it */
        goto done;
    }
    path = path_of(obj);
    int descriptor = path ? PyObject_AsFileDescriptor(obj) : -1;
    if (descriptor < 0 || !leads_to(path, descriptor)) {
        refuse_instead(session, obj, "no path leads to the file that it has open",
                       "send what it contains, or a path that the task can open");
        goto done;
    }
    position = PyObject_CallMethod(obj, "tell", NULL);
    if (!position) {
        refuse_instead(session, obj, "its position is unknown while it is being iterated over",
                       "read it with readline() instead, or send its path");
        goto done;
    }
    text = Py_NewRef(Py_None);
    if (kind == FILE_TEXT) {
        PyObject *encoding = PyObject_GetAttrString(obj, "encoding");
        PyObject *errors = PyObject_GetAttrString(obj, "errors");
        PyObject *line_buffering = PyObject_GetAttrString(obj, "line_buffering");
        Py_CLEAR(text);
        if (encoding && errors && line_buffering)
            text = PyTuple_Pack(3, encoding, errors, line_buffering);
        Py_XDECREF(encoding);
        Py_XDECREF(errors);
        Py_XDECREF(line_buffering);
    }
    if (text)
        args = Py_BuildValue("iOOO", kind, path, position, text);
    status = byvalue_make_reduce(session->st->v1_file, args, NULL, NULL, reduced);
done:
    Py_XDECREF(path);
    Py_XDECREF(position);
    Py_XDECREF(text);
    return status;
}

static PyObject *open_file(int kind, PyObject *path, PyObject *text)
{
    PyObject *open = byvalue_import("io", "open");
    PyObject *file = NULL;
    if (open && kind == FILE_TEXT)
        file = PyObject_CallFunction(open, "OsiOO", path, "r", -1, PyTuple_GET_ITEM(text, 0),
                                     PyTuple_GET_ITEM(text, 1));
    else if (open)
        file = PyObject_CallFunction(open, "Osi", path, "rb", kind == FILE_RAW ? 0 : -1);
    Py_XDECREF(open);
    return file;
}

static PyObject *v1_file(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    int kind = count == 4 && PyLong_Check(args[0]) ? (int)PyLong_AsLong(args[0]) : -1;
    if (kind < 0 || kind >= FILE_KIND_COUNT || !PyUnicode_Check(args[1]) ||
        !PyLong_Check(args[2]) ||
        (kind == FILE_TEXT && (!PyTuple_CheckExact(args[3]) || PyTuple_GET_SIZE(args[3]) != 3))) {
        PyErr_Clear();
        byvalue_bad_stream(state_of_module(module), "file",
                           "expected (kind, path, position, text or None)");
        return NULL;
    }
    PyObject *file = open_file(kind, args[1], args[3]);
    PyObject *done = file ? PyObject_CallMethod(file, "seek", "O", args[2]) : NULL;
    if (!done)
        Py_CLEAR(file);
    Py_XDECREF(done);
    return file;
}

PyMethodDef byvalue_v1_file[] = {
    {"file", (PyCFunction)(void (*)(void))v1_file, METH_FASTCALL,
     "file(kind, path, position, text or None): opened for reading, at this position"},
    {NULL},
};
