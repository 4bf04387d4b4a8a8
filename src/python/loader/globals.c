/*
 * globals.c - opcodes that stand for something outside the stream: imports, extension codes,
 * persistent ids.
 *
 * Every import goes through find_class where a subclass overrides it, extension codes included (the
 * interpreter's cache of those skips it; we keep none). Nothing is remembered between two imports:
 * sys.modules and what is in it may change at any time.
 */
#include "python/loader/core.h"
#include "python/loader/hashes.h"

/* ---- find_class ---- */

/* Python 2's names for what the stream names, by _compat_pickle. Borrowed, replaced in place. */
static int map_python2_names(loader *ld, PyObject **module_name, PyObject **name)
{
    module_state *st = ld->st;
    PyObject *pair = PyTuple_Pack(2, *module_name, *name);
    if (!pair)
        return -1;
    PyObject *mapped = PyDict_GetItemWithError(st->compat_names, pair);
    Py_DECREF(pair);
    if (mapped) {
        if (!PyTuple_Check(mapped) || PyTuple_GET_SIZE(mapped) != 2) {
            PyErr_Format(PyExc_RuntimeError,
                         "_compat_pickle.NAME_MAPPING values should be 2-tuples, not %.200s",
                         Py_TYPE(mapped)->tp_name);
            return -1;
        }
        PyObject *new_module = PyTuple_GET_ITEM(mapped, 0), *new_name = PyTuple_GET_ITEM(mapped, 1);
        if (!PyUnicode_Check(new_module) || !PyUnicode_Check(new_name)) {
            PyErr_Format(PyExc_RuntimeError,
                         "_compat_pickle.NAME_MAPPING values should be pairs of str, not (%.200s, "
                         "%.200s)",
                         Py_TYPE(new_module)->tp_name, Py_TYPE(new_name)->tp_name);
            return -1;
        }
        *module_name = new_module;
        *name = new_name;
        return 0;
    }
    if (PyErr_Occurred())
        return -1;
    mapped = PyDict_GetItemWithError(st->compat_modules, *module_name);
    if (!mapped)
        return PyErr_Occurred() ? -1 : 0;
    if (!PyUnicode_Check(mapped)) {
        PyErr_Format(PyExc_RuntimeError,
                     "_compat_pickle.IMPORT_MAPPING values should be strings, not %.200s",
                     Py_TYPE(mapped)->tp_name);
        return -1;
    }
    *module_name = mapped;
    return 0;
}

/* object.a.b.c for the name "a.b.c". A new reference; NULL with AttributeError and others set. */
static PyObject *follow_dots(module_state *st, PyObject *object, PyObject *name)
{
    PyObject *parts = PyUnicode_Split(name, st->str_dot, -1);
    PyObject *found = NULL;
    if (!parts)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(parts); i++)
        if (PyUnicode_CompareWithASCIIString(PyList_GET_ITEM(parts, i), "<locals>") == 0) {
            PyErr_Format(PyExc_AttributeError, COMPAT_LOCAL_ATTRIBUTE, name, object);
            goto done;
        }
    found = object;
    Py_INCREF(found);
    for (Py_ssize_t i = 0; found && i < PyList_GET_SIZE(parts); i++) {
        PyObject *next;
        compat_find_attr(found, PyList_GET_ITEM(parts, i), &next);
        Py_DECREF(found);
        found = next;
    }
    if (!found && !PyErr_Occurred())
        PyErr_Format(PyExc_AttributeError, "Can't get attribute %R on %R", name, object);
done:
    Py_DECREF(parts);
    return found;
}

/*
 * As PyImport_Import(name). Where the builtin __import__ is the one in force and the module is
 * there and ready, that comes down to a look into sys.modules.
 */
static PyObject *import_module(module_state *st, PyObject *name)
{
    PyObject *builtins = PyEval_GetBuiltins(); /* borrowed */
    PyObject *import = NULL;
    if (builtins && PyDict_CheckExact(builtins))
        import = PyDict_GetItemWithError(builtins, st->str_import);
    if (import != st->builtin_import || !PyUnicode_CheckExact(name) || PyErr_Occurred()) {
        PyErr_Clear();
        return PyImport_Import(name);
    }
    /* Both wait while another thread is importing it; the second imports it if need be. */
    PyObject *module = PyImport_GetModule(name);
    if ((module && module != Py_None) || (!module && PyErr_Occurred()))
        return module;
    Py_XDECREF(module);
    PyObject *top = PyImport_ImportModuleLevelObject(name, NULL, NULL, NULL, 0);
    if (!top)
        return NULL;
    module = PyImport_GetModule(name);
    Py_DECREF(top);
    if (!module && !PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, name); /* it has removed itself from sys.modules */
    return module;
}

/*
 * getattr(module, name), as compat_find_attr() says it. What a module has under a name without an
 * underscore in front is what its dict says: the data descriptors of modules all have one.
 */
static int find_in_module(PyObject *module, PyObject *name, PyObject **found)
{
    if (PyModule_CheckExact(module) && PyUnicode_CheckExact(name) &&
        PyUnicode_GET_LENGTH(name) > 0 && PyUnicode_READ_CHAR(name, 0) != '_') {
        *found = PyDict_GetItemWithError(PyModule_GetDict(module), name);
        Py_XINCREF(*found);
        if (*found || PyErr_Occurred())
            return *found ? 1 : -1;
    }
    return compat_find_attr(module, name, found);
}

/*
 * Is 'name' one that getattr() takes as it is? 0: it has dots, or is "<locals>"; -1 with an
 * exception set.
 */
static int is_plain_name(PyObject *name)
{
    if (!PyUnicode_Check(name))
        return 0;
    if (PyUnicode_IS_COMPACT_ASCII(name)) {
        const char *text = (const char *)PyUnicode_1BYTE_DATA(name);
        return !memchr(text, '.', (size_t)PyUnicode_GET_LENGTH(name)) &&
               (text[0] != '<' || strcmp(text, "<locals>") != 0);
    }
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), 1);
    return dot == -2 ? -1 : dot == -1;
}

PyObject *loader_find_class(loader *ld, PyObject *module_name, PyObject *name)
{
    PyObject *module = NULL, *found = NULL;
    if (PySys_Audit("pickle.find_class", "OO", module_name, name) < 0)
        return NULL;
    if (ld->protocol < 3 && ld->fix_imports && map_python2_names(ld, &module_name, &name) < 0)
        return NULL;
    Py_INCREF(module_name); /* the tables may change while we import */
    Py_INCREF(name);
    module = import_module(ld->st, module_name);
    if (!module)
        goto done;
    if (ld->protocol >= 4) {
        int plain = is_plain_name(name);
        if (plain <= 0) {
            found = plain < 0 ? NULL : follow_dots(ld->st, module, name);
            goto done;
        }
    }
    if (find_in_module(module, name, &found) == 0)
        PyErr_Format(PyExc_AttributeError, "Can't get attribute %R on %R", name, module);
done:
    if (!found)
        loader_explain_global(ld, module_name, name);
    Py_XDECREF(module);
    Py_DECREF(module_name);
    Py_DECREF(name);
    return found;
}

PyObject *loader_global(loader *ld, PyObject *module_name, PyObject *name)
{
    loader_call_begin(ld);
    PyObject *found = ld->find_class_overridden
                          ? PyObject_CallMethodObjArgs(ld->unpickler, ld->st->str_find_class,
                                                       module_name, name, NULL)
                          : loader_find_class(ld, module_name, name);
    if (!found && !ld->find_class_overridden)
        found = loader_stand_in(ld, module_name, name);
    loader_call_end(ld);
    return found;
}

/* ---- the opcodes ---- */

int loader_op_global(loader *ld)
{
    const uint8_t *at;
    size_t nbytes;
    PyObject *module_name = NULL, *name = NULL, *found = NULL;
    if (loader_line(ld, &at, &nbytes) < 0)
        return -1;
    if (nbytes == 0)
        return loader_fail_truncated(ld);
    module_name = PyUnicode_DecodeUTF8((const char *)at, (Py_ssize_t)nbytes, "strict");
    if (!module_name || loader_line(ld, &at, &nbytes) < 0)
        goto done;
    if (nbytes == 0) {
        loader_fail_truncated(ld);
        goto done;
    }
    name = PyUnicode_DecodeUTF8((const char *)at, (Py_ssize_t)nbytes, "strict");
    if (name)
        found = loader_global(ld, module_name, name);
done:
    Py_XDECREF(module_name);
    Py_XDECREF(name);
    return found ? loader_push(ld, found) : -1;
}

int loader_op_stack_global(loader *ld)
{
    if (loader_above_fence(ld) < 2)
        return loader_fail_underflow(ld);
    PyObject *name = loader_pop(ld), *module_name = loader_pop(ld), *found = NULL;
    if (PyUnicode_CheckExact(module_name) && PyUnicode_CheckExact(name)) {
        loader_hash_text(ld->st, module_name);
        loader_hash_text(ld->st, name);
        found = loader_global(ld, module_name, name);
    } else {
        loader_fail(ld, "STACK_GLOBAL requires str");
    }
    Py_DECREF(name);
    Py_DECREF(module_name);
    return found ? loader_push(ld, found) : -1;
}

int loader_op_extension(loader *ld, int64_t code)
{
    if (code <= 0)
        return loader_fail(ld, "EXT specifies code <= 0");
    PyObject *key = PyLong_FromLongLong(code);
    if (!key)
        return -1;
    PyObject *pair = PyDict_GetItemWithError(ld->st->extension_names, key);
    Py_DECREF(key);
    if (!pair) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_ValueError, "unregistered extension code %ld", (long)code);
        return -1;
    }
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2 ||
        !PyUnicode_Check(PyTuple_GET_ITEM(pair, 0)) ||
        !PyUnicode_Check(PyTuple_GET_ITEM(pair, 1))) {
        PyErr_Format(PyExc_ValueError, "_inverted_registry[%ld] isn't a 2-tuple of strings",
                     (long)code);
        return -1;
    }
    Py_INCREF(pair);
    PyObject *found = loader_global(ld, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    Py_DECREF(pair);
    return found ? loader_push(ld, found) : -1;
}

static int no_persistent_load(loader *ld)
{
    loader_fail(ld, "A load persistent id instruction was encountered," COMPAT_LINE_BREAK
                    "but no persistent_load function was specified.");
    ld->fault = LOADER_FAULT_PERSISTENT;
    return -1;
}

/* Steals 'pid'. */
static int push_persistent(loader *ld, PyObject *pid)
{
    PyObject *function = ld->persistent_load;
    if (!function) {
        Py_DECREF(pid);
        return no_persistent_load(ld);
    }
    Py_INCREF(function);
    loader_call_begin(ld);
    PyObject *object = PyObject_CallOneArg(function, pid);
    Py_DECREF(function);
    Py_DECREF(pid);
    loader_call_end(ld);
    return object ? loader_push(ld, object) : -1;
}

int loader_op_persid(loader *ld)
{
    const uint8_t *at;
    size_t nbytes;
    if (!ld->persistent_load && !COMPAT_PERSISTENT_ID_FIRST)
        return no_persistent_load(ld);
    if (loader_line(ld, &at, &nbytes) < 0)
        return -1;
    PyObject *pid = PyUnicode_DecodeASCII((const char *)at, (Py_ssize_t)nbytes, "strict");
    if (pid)
        return push_persistent(ld, pid);
    if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        loader_fail(ld, "persistent IDs in protocol 0 must be ASCII strings");
    return -1;
}

int loader_op_binpersid(loader *ld)
{
    if (!ld->persistent_load && !COMPAT_PERSISTENT_ID_FIRST)
        return no_persistent_load(ld);
    if (loader_above_fence(ld) == 0)
        return loader_fail_underflow(ld);
    return push_persistent(ld, loader_pop(ld));
}
