/*
 * portable.c - streams that need nothing but the standard library where they are loaded.
 *
 * The reducers answer as ever, with calls of achar._v1. Here these calls become others:
 *
 *    function(code, globals, …)    types.FunctionType(code, globals, None, None, cells)
 *    attribute(module, name)       the name itself
 *
 * and a function of _v1 that is still to be called is written as python/achar/_portable.py has it, most
 * as a function by value. The code of each travels once, and only if it is used.
 *
 * What goes by name has to be the standard library's.
 */
#include "python/byvalue/internal.h"

void byvalue_choose_portable(byvalue_session *session, int portable)
{
    session->portable = portable;
}

/* ---- names ---- */

/* 1 if the module of this name, or the package that it is in, is the standard library's. */
static int is_standard(PyObject *module_name)
{
    PyObject *known = byvalue_import("sys", "stdlib_module_names");
    if (!known)
        return -1;
    Py_ssize_t length = PyUnicode_GET_LENGTH(module_name);
    Py_ssize_t dot = PyUnicode_FindChar(module_name, '.', 0, length, 1);
    PyObject *top = dot == -2 ? NULL : PyUnicode_Substring(module_name, 0, dot < 0 ? length : dot);
    int standard = top ? PySequence_Contains(known, top) : -1;
    Py_XDECREF(top);
    Py_DECREF(known);
    return standard;
}

int byvalue_check_portable(byvalue_session *session, PyObject *obj, PyObject *module_name)
{
    if (!session->portable)
        return 0;
    int standard = PyUnicode_Check(module_name) ? is_standard(module_name) : 0;
    if (standard == 0) {
        PyObject *name = NULL;
        if (PyModule_Check(obj))
            name = PyUnicode_FromString("the module");
        else if (compat_find_attr(obj, session->st->byvalue_str___qualname__, &name) == 0)
            name = PyObject_Repr(obj);
        if (name)
            PyErr_Format(session->st->PicklingError,
                         "%S cannot be sent with portable=True\n"
                         "  why: it is found by name in %S, which is not in the standard library\n"
                         "  do:  achar.register_by_value() its module if that is written in "
                         "Python, or dump without portable=True",
                         name, module_name);
        Py_XDECREF(name);
    }
    return standard == 1 ? 0 : -1;
}

/* ---- calls ---- */

int byvalue_reduce_stand_in(byvalue_session *session, PyObject *obj, PyObject *name,
                            PyObject **reduced)
{
    PyObject *reduce = byvalue_import("achar._portable", "_reduce");
    *reduced = reduce ? PyObject_CallOneArg(reduce, name) : NULL;
    Py_XDECREF(reduce);
    if (!*reduced || !PyUnicode_Check(PyTuple_GET_ITEM(*reduced, 0)))
        return *reduced ? 1 : -1;
    int status = byvalue_answer_name(session, obj, PyTuple_GET_ITEM(*reduced, 0),
                                     PyTuple_GET_ITEM(*reduced, 1));
    Py_CLEAR(*reduced);
    return status;
}

/* Imports made by C code fail where the globals lack __builtins__: the module of that name. 0 or -1. */
static int give_builtins(byvalue_session *session, PyObject *globals)
{
    PyObject *name = session->st->byvalue_str___builtins__;
    int has = PyDict_CheckExact(globals) ? PyDict_Contains(globals, name) : 1;
    PyObject *builtins = has == 0 ? PyImport_ImportModule("builtins") : NULL;
    int status = has < 0 || (has == 0 && !builtins) ? -1 : 0;
    if (builtins)
        status = PyDict_SetItem(globals, name, builtins);
    Py_XDECREF(builtins);
    return status;
}

/* The state stays as it is. */
static int reduce_function(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyObject *old = *reduced, *given = PyTuple_GET_ITEM(old, 1);
    Py_ssize_t count = PyTuple_GET_SIZE(given);
    PyObject *code =
        byvalue_same_code(session, PyTuple_GET_ITEM(given, 0), PyFunction_GET_CODE(obj));
    PyObject *globals = PyTuple_GET_ITEM(given, 1);
    PyObject *cells = count > 2 ? PyTuple_GET_ITEM(given, 2) : Py_None;
    PyObject *args, *callable = (PyObject *)&PyFunction_Type;
    *reduced = NULL;
    if (!code || give_builtins(session, globals) < 0) {
        args = NULL;
    } else if (PyModule_Check(globals) ||
               count > 3) { /* by the function that stands for v1.function */
        callable = PyTuple_GET_ITEM(old, 0);
        args = count > 3 ? PyTuple_Pack(4, code, globals, cells, PyTuple_GET_ITEM(given, 3))
                         : PyTuple_Pack(3, code, globals, cells);
    } else {
        args = cells == Py_None ? PyTuple_Pack(2, code, globals)
                                : PyTuple_Pack(5, code, globals, Py_None, Py_None, cells);
    }
    if (args && PyTuple_GET_SIZE(old) == 6)
        *reduced = PyTuple_Pack(6, callable, args, PyTuple_GET_ITEM(old, 2), Py_None, Py_None,
                                PyTuple_GET_ITEM(old, 5));
    else if (args)
        *reduced = PyTuple_Pack(2, callable, args);
    Py_XDECREF(args);
    Py_DECREF(old);
    return *reduced ? 1 : -1;
}

int byvalue_reduce_portable(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *callable = PyTuple_GET_ITEM(*reduced, 0);
    PyObject *args = PyTuple_GET_ITEM(*reduced, 1);
    int status = 1;
    if (callable == st->v1_attribute)
        status =
            byvalue_answer_name(session, obj, PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1));
    else if (callable == st->v1_module)
        status = byvalue_check_portable(session, obj, PyTuple_GET_ITEM(args, 0)) < 0 ? -1 : 1;
    else if (callable == st->v1_function)
        return reduce_function(session, obj, reduced);
    if (status != 1)
        Py_CLEAR(*reduced);
    return status;
}
