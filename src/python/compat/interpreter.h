/* interpreter.h - exceptions, modules and the recursion budget. See compat.h. */
#ifndef ACHAR_PYTHON_COMPAT_INTERPRETER_H
#define ACHAR_PYTHON_COMPAT_INTERPRETER_H

#include "python/compat/version.h"

/* The exception that is set, as an object with its traceback; a new reference. Clears it. */
static inline PyObject *compat_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* Sets an exception that compat_take_exception() gave; takes over the reference. NULL: clears. */
static inline void compat_restore_exception(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    if (!exception) {
        PyErr_Clear();
        return;
    }
    PyObject *type = Py_NewRef((PyObject *)Py_TYPE(exception));
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
#endif
}

/* Adds a line to what the traceback shows of 'exception', where the interpreter can (3.11 on). */
static inline int compat_add_note(PyObject *exception, PyObject *note)
{
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *done = PyObject_CallMethod(exception, "add_note", "O", note);
    Py_XDECREF(done);
    return done ? 0 : -1;
#else
    return 0;
#endif
}

/*
 * As compat_add_note(); before 3.11, where there are no notes, a further line of the message of an
 * exception whose only argument is its message.
 */
static inline int compat_add_text(PyObject *exception, PyObject *text)
{
#if PY_VERSION_HEX >= 0x030B0000
    return compat_add_note(exception, text);
#else
    PyObject *args = ((PyBaseExceptionObject *)exception)->args, *message, *longer;
    if (PyTuple_GET_SIZE(args) != 1 || !PyUnicode_Check(PyTuple_GET_ITEM(args, 0)))
        return 0;
    message = PyUnicode_FromFormat("%U\n%U", PyTuple_GET_ITEM(args, 0), text);
    longer = message ? PyTuple_Pack(1, message) : NULL;
    if (longer && PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_ImportError))
        Py_XSETREF(((PyImportErrorObject *)exception)->msg, Py_NewRef(message));
    if (longer)
        Py_SETREF(((PyBaseExceptionObject *)exception)->args, Py_NewRef(longer));
    Py_XDECREF(message);
    Py_XDECREF(longer);
    return longer ? 0 : -1;
#endif
}

/*
 * The module that sys.modules has under this name, a new reference; NULL with or without an
 * exception. PyImport_GetModule() would also wait for a module that another thread is importing,
 * and makes and drops an AttributeError to find out.
 */
static inline PyObject *compat_loaded_module(PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    if (PyDict_CheckExact(modules))
        return Py_XNewRef(PyDict_GetItemWithError(modules, name));
    PyObject *module = PyObject_GetItem(modules, name);
    if (!module && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Clear();
    return module;
}

/*
 * The recursion budget, counted as _pickle's C recursion is. 'state' is this thread's; '*used' is
 * what a dump has taken. compat_has_recursion() tells whether there is more than 'count' left;
 * compat_enter_recursion() takes 'count' units: 0, or -1 with RecursionError set and none taken.
 */
#if PY_VERSION_HEX >= 0x030E0000
/* The interpreter measures its C stack there, which an explicit stack does not use: the budget is
 * about the depth at which _pickle gives up with 8 MiB of stack. */
enum { COMPAT_RECURSION_BUDGET = 30000 };
#elif PY_VERSION_HEX >= 0x030C0000
#define COMPAT_RECURSION_LEFT(state) ((state)->c_recursion_remaining)
#elif PY_VERSION_HEX >= 0x030B0000
#define COMPAT_RECURSION_LEFT(state) ((state)->recursion_remaining)
#endif

static inline int compat_has_recursion(PyThreadState *state, const Py_ssize_t *used, int count)
{
#if PY_VERSION_HEX >= 0x030E0000
    (void)state;
    return *used + count < COMPAT_RECURSION_BUDGET;
#elif PY_VERSION_HEX >= 0x030B0000
    (void)used;
    return COMPAT_RECURSION_LEFT(state) > count;
#else
    (void)used;
    return state->recursion_depth + count < Py_GetRecursionLimit();
#endif
}

static inline void compat_leave_recursion(PyThreadState *state, Py_ssize_t *used, int count)
{
    *used -= count;
#if PY_VERSION_HEX >= 0x030E0000
    (void)state;
#elif PY_VERSION_HEX >= 0x030B0000
    COMPAT_RECURSION_LEFT(state) += count;
#else
    (void)state;
    while (count-- > 0)
        Py_LeaveRecursiveCall();
#endif
}

static inline int compat_enter_recursion(PyThreadState *state, Py_ssize_t *used, int count)
{
#if PY_VERSION_HEX >= 0x030E0000
    if (!compat_has_recursion(state, used, count)) {
        PyErr_SetString(PyExc_RecursionError,
                        "maximum recursion depth exceeded while pickling an object");
        return -1;
    }
#else
#if PY_VERSION_HEX >= 0x030B0000
    if (compat_has_recursion(state, used, count)) {
        COMPAT_RECURSION_LEFT(state) -= count;
        *used += count;
        return 0;
    }
#endif
    for (int taken = 0; taken < count; taken++) {
        if (Py_EnterRecursiveCall(" while pickling an object")) {
            *used += taken;
            compat_leave_recursion(state, used, taken);
            return -1;
        }
    }
#endif
    *used += count;
    return 0;
}

#endif
