/*
 * functions.c - what needs no store: checksums and zstd of whole buffers, and a wait; without the GIL.
 */
#include "memo/check.h"
#include "python/memo/memo.h"
#ifdef ACHAR_HAS_ZSTD
#include <zstd.h>
#endif

PyDoc_STRVAR(check_doc,
             "check($module, data, seed=0, /)\n--\n\nXXH64 of the data, as a signed integer.");
static PyObject *check(PyObject *module, PyObject *args)
{
    Py_buffer view;
    uint64_t hash;
    long long seed = 0;
    if (!PyArg_ParseTuple(args, "y*|L:check", &view, &seed))
        return NULL;
    Py_BEGIN_ALLOW_THREADS hash = achar__memo_check(view.buf, (size_t)view.len, (uint64_t)seed);
    Py_END_ALLOW_THREADS PyBuffer_Release(&view);
    return PyLong_FromLongLong((int64_t)hash);
}

PyDoc_STRVAR(compress_doc, "compress($module, data, level, /)\n--\n\n"
                           "A zstd frame; None where achar was built without zstd.");
static PyObject *compress(PyObject *module, PyObject *args)
{
    Py_buffer view;
    int level;
    if (!PyArg_ParseTuple(args, "y*i:compress", &view, &level))
        return NULL;
#ifdef ACHAR_HAS_ZSTD
    size_t written, room = ZSTD_compressBound((size_t)view.len);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room);
    if (!frame) {
        PyBuffer_Release(&view);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS written =
        ZSTD_compress(PyBytes_AS_STRING(frame), room, view.buf, (size_t)view.len, level);
    Py_END_ALLOW_THREADS PyBuffer_Release(&view);
    if (ZSTD_isError(written)) {
        Py_DECREF(frame);
        PyErr_SetString(PyExc_RuntimeError, ZSTD_getErrorName(written));
        return NULL;
    }
    _PyBytes_Resize(&frame, (Py_ssize_t)written);
    return frame;
#else
    PyBuffer_Release(&view);
    Py_RETURN_NONE;
#endif
}

PyDoc_STRVAR(
    decompress_doc,
    "decompress($module, frame, nbytes, /)\n--\n\n"
    "The 'nbytes' bytes that a zstd frame holds, as a bytearray; ValueError if it does not.");
static PyObject *decompress(PyObject *module, PyObject *args)
{
    Py_buffer view;
    Py_ssize_t nbytes;
    if (!PyArg_ParseTuple(args, "y*n:decompress", &view, &nbytes))
        return NULL;
    PyObject *data = NULL;
#ifdef ACHAR_HAS_ZSTD
    size_t written;
    if (ZSTD_getFrameContentSize(view.buf, (size_t)view.len) != (unsigned long long)nbytes) {
        PyErr_SetString(PyExc_ValueError, "it is not a zstd frame of that size");
    } else if ((data = PyByteArray_FromStringAndSize(NULL, nbytes))) {
        char *room = PyByteArray_AS_STRING(data);
        Py_BEGIN_ALLOW_THREADS written =
            ZSTD_decompress(room, (size_t)nbytes, view.buf, (size_t)view.len);
        Py_END_ALLOW_THREADS if (written != (size_t)nbytes)
        {
            PyErr_SetString(PyExc_ValueError, "the zstd frame is damaged");
            Py_CLEAR(data);
        }
    }
#else
    PyErr_SetString(PyExc_NotImplementedError,
                    "the result was compressed by zstd, which this achar was built without");
#endif
    PyBuffer_Release(&view);
    return data;
}

PyDoc_STRVAR(
    await_landing_doc,
    "await_landing($module, seconds, /)\n--\n\n"
    "Until a call or a task of this process ends that a memo is to keep, or that time has passed.");
static PyObject *await_landing(PyObject *module, PyObject *argument)
{
    double seconds = PyFloat_AsDouble(argument);
    if (seconds == -1 && PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS memo_await_landing(seconds < 0 ? 0 : (int64_t)(seconds * 1e9));
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

PyMethodDef memo_functions[] = {
    {"await_landing", await_landing, METH_O, await_landing_doc},
    {"check", check, METH_VARARGS, check_doc},
    {"compress", compress, METH_VARARGS, compress_doc},
    {"decompress", decompress, METH_VARARGS, decompress_doc},
    {NULL},
};
