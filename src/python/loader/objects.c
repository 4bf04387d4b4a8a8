/*
 * objects.c - opcodes that call functions and make objects of classes.
 *
 * What the interpreter does for any object is done for any object. For classes with object's own
 * __new__, and for the calls of known.c, the same comes about without running Python code, so that
 * the collector stays paused.
 */
#include "python/loader/core.h"

/* ---- calls ---- */

int loader_op_reduce(loader *ld)
{
    if (loader_above_fence(ld) < 2)
        return loader_fail_underflow(ld);
    PyObject *arguments = loader_pop(ld), *callable = loader_pop(ld);
    PyObject *object = loader_known_call(ld, callable, arguments);
    if (object) { /* its arguments are too simple for their end to run anything */
        Py_DECREF(callable);
        Py_DECREF(arguments);
        return loader_push(ld, object);
    }
    PyErr_Clear();
    loader_call_begin(ld);
    object = PyObject_CallObject(callable, arguments);
    Py_DECREF(callable);
    Py_DECREF(arguments);
    loader_call_end(ld);
    return object ? loader_push(ld, object) : -1;
}

/* What a name led to is no class: the data is right, and the module here is another (errors.c says so). */
static int not_a_class(loader *ld, const char *opcode_name, PyObject *found)
{
    loader_fail(ld, "%s class argument must be a type, not %.200s", opcode_name,
                Py_TYPE(found)->tp_name);
    if (ld->superset && (PyCallable_Check(found) || PyModule_Check(found)))
        ld->fault = LOADER_FAULT_NONE;
    return -1;
}

static int bad_newobj(loader *ld, const char *opcode_name, const char *what, PyObject *culprit)
{
    return loader_fail(ld, "%s %s, not %.200s", opcode_name, what, Py_TYPE(culprit)->tp_name);
}

/* cls.__new__(cls, *arguments, **keywords); keywords may be NULL */
static PyObject *new_object(loader *ld, const char *opcode_name, PyObject *cls, PyObject *arguments,
                            PyObject *keywords)
{
    if (!PyType_Check(cls)) {
        not_a_class(ld, opcode_name, cls);
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)cls;
    if (!type->tp_new) {
        loader_fail(ld, "%s class argument '%.200s' doesn't have __new__", opcode_name,
                    Py_TYPE(cls)->tp_name);
        return NULL;
    }
    if (!PyTuple_Check(arguments)) {
        bad_newobj(ld, opcode_name, "args argument must be a tuple", arguments);
        return NULL;
    }
    if (keywords && !PyDict_Check(keywords)) {
        bad_newobj(ld, opcode_name, "kwargs argument must be a dict", keywords);
        return NULL;
    }
    if (!keywords && type->tp_new == PyBaseObject_Type.tp_new && PyTuple_GET_SIZE(arguments) == 0)
        return type->tp_new(type, arguments, NULL); /* allocates, no more */
    PyObject *object = keywords ? NULL : loader_known_new(ld, type, arguments);
    if (object)
        return object;
    PyErr_Clear();
    loader_call_begin(ld);
    object = type->tp_new(type, arguments, keywords);
    loader_call_end(ld);
    return object;
}

int loader_op_newobj(loader *ld)
{
    if (loader_above_fence(ld) < 2)
        return loader_fail_underflow(ld);
    PyObject *arguments = loader_pop(ld), *cls = loader_pop(ld);
    PyObject *object = new_object(ld, "NEWOBJ", cls, arguments, NULL);
    Py_DECREF(arguments);
    Py_DECREF(cls);
    return object ? loader_push(ld, object) : -1;
}

int loader_op_newobj_ex(loader *ld)
{
    if (loader_above_fence(ld) < 3)
        return loader_fail_underflow(ld);
    PyObject *keywords = loader_pop(ld), *arguments = loader_pop(ld), *cls = loader_pop(ld);
    PyObject *object = new_object(ld, "NEWOBJ_EX", cls, arguments, keywords);
    Py_DECREF(keywords);
    Py_DECREF(arguments);
    Py_DECREF(cls);
    return object ? loader_push(ld, object) : -1;
}

/* What INST and OBJ do, as Python 2's classes wanted it. */
static PyObject *instantiate(loader *ld, PyObject *cls, PyObject *arguments)
{
    if (PyTuple_GET_SIZE(arguments) == 0 && PyType_Check(cls)) {
        PyObject *getinitargs;
        int found = compat_find_attr(cls, ld->st->str_getinitargs, &getinitargs);
        if (found < 0)
            return NULL;
        if (!found)
            return PyObject_CallMethodObjArgs(cls, ld->st->str_new, cls, NULL);
        Py_DECREF(getinitargs);
    }
    return PyObject_CallObject(cls, arguments);
}

/* Pops 'count' entries into a tuple. NULL with MemoryError set; then nothing is popped. */
static PyObject *pop_tuple(loader *ld, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    if (!tuple)
        return NULL;
    ld->top -= count;
    for (size_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, ld->top[i]);
    return tuple;
}

int loader_op_obj(loader *ld, size_t count)
{
    if (count < 1)
        return loader_fail_underflow(ld);
    PyObject *arguments = pop_tuple(ld, count - 1);
    if (!arguments)
        return -1;
    PyObject *cls = loader_pop(ld);
    loader_call_begin(ld);
    PyObject *object = instantiate(ld, cls, arguments);
    Py_DECREF(cls);
    Py_DECREF(arguments);
    loader_call_end(ld);
    return object ? loader_push(ld, object) : -1;
}

int loader_op_inst(loader *ld, size_t count)
{
    const uint8_t *at;
    size_t nbytes;
    PyObject *module_name = NULL, *name = NULL, *cls = NULL, *arguments = NULL, *object = NULL;
    if (loader_line(ld, &at, &nbytes) < 0)
        return -1;
    if (nbytes == 0)
        return loader_fail_truncated(ld);
    /* ASCII: only Python 2 writes INST. */
    module_name = PyUnicode_DecodeASCII((const char *)at, (Py_ssize_t)nbytes, "strict");
    if (!module_name || loader_line(ld, &at, &nbytes) < 0)
        goto done;
    if (nbytes == 0) {
        loader_fail_truncated(ld);
        goto done;
    }
    name = PyUnicode_DecodeASCII((const char *)at, (Py_ssize_t)nbytes, "strict");
    if (name)
        cls = loader_global(ld, module_name, name);
    if (cls)
        arguments = pop_tuple(ld, count);
    if (arguments) {
        loader_call_begin(ld);
        object = instantiate(ld, cls, arguments);
        loader_call_end(ld);
    }
done:
    Py_XDECREF(module_name);
    Py_XDECREF(name);
    Py_XDECREF(cls);
    Py_XDECREF(arguments);
    return object ? loader_push(ld, object) : -1;
}
