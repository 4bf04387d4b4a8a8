/*
 * objects.c - opcodes that make objects of classes and give them their state.
 *
 * What the interpreter does for any object is done for any object; for plain ones (class with
 * object's own __new__, attribute access and no __setstate__) the same comes about without running
 * Python code, so that the collector stays paused.
 */
#include "python/loader/core.h"

/* ---- calls ---- */

int loader_op_reduce(loader *ld)
{
    if (loader_above_fence(ld) < 2)
        return loader_fail_underflow(ld);
    PyObject *arguments = loader_pop(ld), *callable = loader_pop(ld);
    loader_call_begin(ld);
    PyObject *object = PyObject_CallObject(callable, arguments);
    Py_DECREF(callable);
    Py_DECREF(arguments);
    loader_call_end(ld);
    return object ? loader_push(ld, object) : -1;
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
        bad_newobj(ld, opcode_name, "class argument must be a type", cls);
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
    loader_call_begin(ld);
    PyObject *object = type->tp_new(type, arguments, keywords);
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

/* ---- state ---- */

/* Looking up attribute 'name' of 'object' finds nothing in its class, or finds C code there. */
static bool runs_no_python(PyObject *object, PyObject *name)
{
    if (Py_TYPE(object)->tp_getattro != PyObject_GenericGetAttr)
        return false;
    PyObject *found = _PyType_Lookup(Py_TYPE(object), name); /* borrowed */
    return !found || Py_IS_TYPE(found, &PyGetSetDescr_Type);
}

/*
 * The interned string equal to 'key', borrowed: attribute names are interned. Most states have the
 * keys of the state before, as the same objects: a small cache finds those by address.
 */
static PyObject *intern_key(loader *ld, PyObject *key)
{
    if (PyUnicode_CHECK_INTERNED(key))
        return key;
    unsigned slot = (unsigned)((uintptr_t)key >> 5) % LOADER_KEY_CACHE;
    loader_key *cached = &ld->key_cache[slot];
    if (ld->keys_cached & 1u << slot) {
        if (cached->key == key)
            return cached->interned;
        Py_DECREF(cached->key);
        Py_DECREF(cached->interned);
    }
    cached->key = cached->interned = key;
    Py_INCREF(cached->key);
    Py_INCREF(cached->interned);
    ld->keys_cached |= 1u << slot;
    PyUnicode_InternInPlace(&cached->interned);
    return cached->interned;
}

/*
 * object.__dict__.update(state) for an object that has no dict yet, without making one. 1: done; 0: not such an object, or one of the names is a data
 * descriptor's, which setattr would find but the dict would not: nothing is done; -1: exception.
 */
static int build_attributes(loader *ld, PyObject *object, PyObject *state)
{
    PyTypeObject *type = Py_TYPE(object);
    if (!compat_attributes_in_object(object) || type->tp_setattro != PyObject_GenericSetAttr ||
        !PyDict_CheckExact(state))
        return 0;
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(state, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key))
            return 0;
        PyObject *found = _PyType_Lookup(type, intern_key(ld, key)); /* borrowed */
        if (found && Py_TYPE(found)->tp_descr_set)
            return 0;
    }
    position = 0;
    while (PyDict_Next(state, &position, &key, &value))
        if (PyObject_GenericSetAttr(object, intern_key(ld, key), value) < 0)
            return -1;
    return 1;
}

/* object.__dict__.update(state), with the keys interned as attribute names are. */
static int build_dict(loader *ld, PyObject *object, PyObject *state)
{
    if (!PyDict_Check(state))
        return loader_fail(ld, "state is not a dictionary");
    bool plain = runs_no_python(object, ld->st->str_dict);
    if (plain) {
        int built = build_attributes(ld, object, state);
        if (built)
            return built < 0 ? -1 : 0;
    } else {
        loader_call_begin(ld);
    }
    PyObject *dict = PyObject_GetAttr(object, ld->st->str_dict);
    if (!plain)
        loader_call_end(ld);
    if (!dict)
        return -1;
    bool exact = PyDict_CheckExact(dict);
    int status = 0;
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (status == 0 && PyDict_Next(state, &position, &key, &value)) {
        if (PyUnicode_CheckExact(key))
            key = intern_key(ld, key);
        Py_INCREF(key);
        Py_INCREF(value);
        if (exact && PyUnicode_CheckExact(key)) {
            status = PyDict_SetItem(dict, key, value);
        } else {
            loader_call_begin(ld);
            status = PyObject_SetItem(dict, key, value);
            loader_call_end(ld);
        }
        Py_DECREF(key);
        Py_DECREF(value);
    }
    Py_DECREF(dict);
    return status;
}

/* setattr(object, name, value) for each item of the slots' state. */
static int build_slots(loader *ld, PyObject *object, PyObject *state)
{
    if (!PyDict_Check(state))
        return loader_fail(ld, "slot state is not a dictionary");
    Py_ssize_t position = 0;
    PyObject *key, *value;
    int status = 0;
    loader_call_begin(ld);
    while (status == 0 && PyDict_Next(state, &position, &key, &value)) {
        if (PyUnicode_CheckExact(key))
            key = intern_key(ld, key); /* setattr would, each time */
        Py_INCREF(key);
        Py_INCREF(value);
        status = PyObject_SetAttr(object, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    loader_call_end(ld);
    return status;
}

int loader_op_build(loader *ld)
{
    if (loader_above_fence(ld) < 2)
        return loader_fail_underflow(ld);
    PyObject *state = loader_pop(ld), *object = ld->top[-1];
    PyObject *setstate = NULL, *slots = NULL;
    int status = -1;
    bool plain = runs_no_python(object, ld->st->str_setstate);
    if (!plain)
        loader_call_begin(ld);
    int found = compat_find_attr(object, ld->st->str_setstate, &setstate);
    if (!plain)
        loader_call_end(ld);
    if (found < 0)
        goto done;
    if (found) {
        loader_call_begin(ld);
        PyObject *result = PyObject_CallOneArg(setstate, state);
        Py_DECREF(setstate);
        Py_XDECREF(result);
        loader_call_end(ld);
        status = result ? 0 : -1;
        goto done;
    }
    if (PyTuple_Check(state) && PyTuple_GET_SIZE(state) == 2) {
        PyObject *pair = state;
        state = PyTuple_GET_ITEM(pair, 0);
        slots = PyTuple_GET_ITEM(pair, 1);
        Py_INCREF(state);
        Py_INCREF(slots);
        Py_DECREF(pair);
    }
    if (state != Py_None && build_dict(ld, object, state) < 0)
        goto done;
    if (slots && build_slots(ld, object, slots) < 0)
        goto done;
    status = 0;
done:
    Py_XDECREF(slots);
    Py_DECREF(state);
    return status;
}
