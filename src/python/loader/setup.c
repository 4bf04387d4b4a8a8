/* setup.c - what the loader takes from the interpreter once, for the module's state. */
#include "python/loader/core.h"
#include "python/loader/hashes.h"

/* Whether the interpreter's own unpickler takes 'stream'. 1, 0, or -1 with an exception set. */
static int interpreter_takes(PyObject *loads, const char *stream, Py_ssize_t nbytes)
{
    PyObject *object = PyObject_CallFunction(loads, "y#", stream, nbytes);
    if (object) {
        Py_DECREF(object);
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyErr_Clear();
    return 0;
}

/*
 * Where versions differ in what they accept, we do as the interpreter does, and ask it: patch
 * releases have changed this (frames are enforced from 3.13.15 and 3.14.7 on, gh-154848; later
 * ones read INT and LONG as decimal only, gh-126992), and an extension outlives the patch release
 * that it was built for.
 */
static int ask_interpreter(module_state *st)
{
    static const char straddling[] = "\x80\x04\x95\x01\0\0\0\0\0\0\0K\x01.";
    static const char hexadecimal[] = "L0x10L\n.";
    PyObject *native = PyImport_ImportModule("_pickle");
    PyObject *loads = native ? PyObject_GetAttrString(native, "loads") : NULL;
    int straddles = -1, based = -1;
    if (loads) {
        straddles = interpreter_takes(loads, straddling, sizeof straddling - 1);
        if (straddles >= 0)
            based = interpreter_takes(loads, hexadecimal, sizeof hexadecimal - 1);
    }
    Py_XDECREF(loads);
    Py_XDECREF(native);
    st->enforces_frames = straddles == 0;
    st->decimal_only = based == 0;
    return straddles < 0 || based < 0 ? -1 : 0;
}

static PyObject *attribute_of(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *value = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    return value;
}

static PyObject *dict_of(const char *module_name, const char *name)
{
    PyObject *dict = attribute_of(module_name, name);
    if (dict && !PyDict_CheckExact(dict)) {
        PyErr_Format(PyExc_RuntimeError, "%s.%s should be a dict, not %.200s", module_name, name,
                     Py_TYPE(dict)->tp_name);
        Py_CLEAR(dict);
    }
    return dict;
}

int loader_exec(PyObject *module, module_state *st)
{
    for (int i = 0; i < STATE_SMALL_INTS; i++) {
        st->small_ints[i] = PyLong_FromLong(i);
        if (!st->small_ints[i])
            return -1;
        Py_DECREF(st->small_ints[i]); /* the interpreter's own: it keeps them for ever */
    }
    if (!(st->compat_names = dict_of("_compat_pickle", "NAME_MAPPING")) ||
        !(st->compat_modules = dict_of("_compat_pickle", "IMPORT_MAPPING")) ||
        !(st->extension_names = dict_of("copyreg", "_inverted_registry")) ||
        !(st->builtin_import = attribute_of("builtins", "__import__")))
        return -1;
    /* A hook that is there already is not what globals.c may take a short cut around. */
    if (!PyCFunction_CheckExact(st->builtin_import))
        Py_SETREF(st->builtin_import, Py_NewRef(Py_None));
#define INTERN(member, text)                                                                       \
    if (!(st->member = PyUnicode_InternFromString(text)))                                          \
        return -1;
    INTERN(str__tuple_new, "_tuple_new")
    INTERN(str_add, "add")
    INTERN(str_append, "append")
    INTERN(str_dict, "__dict__")
    INTERN(str_dot, ".")
    INTERN(str_extend, "extend")
    INTERN(str_find_class, "find_class")
    INTERN(str_getinitargs, "__getinitargs__")
    INTERN(str_import, "__import__")
    INTERN(str_new, "__new__")
    INTERN(str_persistent_load, "persistent_load")
    INTERN(str_setstate, "__setstate__")
#undef INTERN
    return loader_hashes_exec(st) < 0 ? -1 : ask_interpreter(st);
}
