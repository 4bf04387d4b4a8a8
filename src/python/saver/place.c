/*
 * place.c - where a class or function is found by its name.
 *
 * The name is looked up here as the reader will look it up there, so that a name that leads
 * elsewhere, or nowhere, is an error now. Most are in a module that is loaded, under a name without
 * dots, and by-value code may have looked already; what is neither is looked for as pickle does.
 */
#include "python/saver/place.h"

PyObject *saver_split_name(saver *s, PyObject *name)
{
    PyObject *parts = PyUnicode_Split(name, s->st->str_period, -1);
    if (!parts)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(parts); i++) {
        if (PyUnicode_CompareWithASCIIString(PyList_GET_ITEM(parts, i), "<locals>") != 0)
            continue;
        PyErr_Format(PyExc_AttributeError,
                     PY_VERSION_HEX >= 0x030D0000 ? "Can't get local object %R"
                                                  : "Can't pickle local object %R",
                     name);
        Py_DECREF(parts);
        return NULL;
    }
    return parts;
}

/* Follows the parts from 'obj': a new reference, with the last but one in '*parent' if that is not
 * NULL. NULL with or without an exception set. */
static PyObject *follow(PyObject *obj, PyObject *parts, PyObject **parent)
{
    PyObject *before = NULL, *here = Py_NewRef(obj);
    for (Py_ssize_t i = 0; here && i < PyList_GET_SIZE(parts); i++) {
        Py_XSETREF(before, here);
        (void)compat_find_attr(before, PyList_GET_ITEM(parts, i), &here);
    }
    if (parent && here)
        *parent = before;
    else
        Py_XDECREF(before);
    return here;
}

/* The name of a loaded module in which the parts lead to 'obj', a new reference; __main__ if there
 * is none. NULL with an exception set. */
static PyObject *search_modules(saver *s, PyObject *obj, PyObject *parts)
{
    PyObject *modules = PySys_GetObject("modules"); /* borrowed */
    if (!modules) {
        PyErr_SetString(PyExc_RuntimeError, "unable to get sys.modules");
        return NULL;
    }
    /* A copy: looking into a module may import others. */
    PyObject *result = NULL, *pairs = PyMapping_Items(modules);
    if (!pairs)
        return NULL;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(pairs); i++) {
        PyObject *pair = PyList_GET_ITEM(pairs, i);
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2)
            continue;
        PyObject *name = PyTuple_GET_ITEM(pair, 0), *module = PyTuple_GET_ITEM(pair, 1);
        if (module == Py_None ||
            (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "__main__") == 0))
            continue;
        PyObject *found = follow(module, parts, NULL);
        int same = found == obj;
        Py_XDECREF(found);
        if (!found && PyErr_Occurred())
            goto done;
        if (same) {
            result = Py_NewRef(name);
            goto done;
        }
    }
    result = Py_NewRef(s->st->str___main__);
done:
    Py_DECREF(pairs);
    return result;
}

static PyObject *module_of(saver *s, PyObject *obj, PyObject *parts)
{
    PyObject *name;
    if (compat_find_attr(obj, s->st->str___module__, &name) < 0)
        return NULL;
    if (name && name != Py_None)
        return name;
    Py_XDECREF(name);
    return search_modules(s, obj, parts);
}

void saver_clear_place(saver_place *place)
{
    Py_CLEAR(place->module_name);
    Py_CLEAR(place->parent);
    Py_CLEAR(place->last);
}

static int is_plain_heap_class(PyObject *obj, PyObject *name)
{
    return saver_is_plain_class(obj, name) &&
           PyType_HasFeature((PyTypeObject *)obj, Py_TPFLAGS_HEAPTYPE);
}

/* What obj.__qualname__ and obj.__module__ are; an ordinary class is not asked. 1, 0 or -1. */
static int find_qualname(saver *s, PyObject *obj, PyObject **name)
{
    if (is_plain_heap_class(obj, s->st->str___qualname__)) {
        *name = Py_NewRef(((PyHeapTypeObject *)obj)->ht_qualname);
        return 1;
    }
    return compat_find_attr(obj, s->st->str___qualname__, name);
}

static int find_module_name(saver *s, PyObject *obj, PyObject **name)
{
    if (is_plain_heap_class(obj, s->st->str___module__)) {
        *name = PyDict_GetItemWithError(((PyTypeObject *)obj)->tp_dict, s->st->str___module__);
        if (*name) {
            Py_INCREF(*name);
            return 1;
        }
        PyErr_Clear();
    }
    return compat_find_attr(obj, s->st->str___module__, name);
}

/* What an ordinary module has under a name that is nothing of modules themselves. */
static PyObject *look_into(PyObject *module, PyObject *name)
{
    PyObject *found = NULL;
    if (PyModule_CheckExact(module) && PyUnicode_READ_CHAR(name, 0) != '_')
        found = Py_XNewRef(PyDict_GetItemWithError(PyModule_GetDict(module), name));
    if (!found && !PyErr_Occurred())
        (void)compat_find_attr(module, name, &found);
    return found;
}

/*
 * The ordinary case: a name without dots in a module that is loaded. 1; 0: look properly; -1. Where
 * another thread is importing the module still, it is not waited for if it has the object already.
 */
static int find_in_loaded_module(saver *s, PyObject *obj, PyObject *name, saver_place *place)
{
    if (!PyUnicode_CheckExact(name) || PyUnicode_GET_LENGTH(name) == 0 ||
        PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), 1) >= 0 ||
        PyUnicode_CompareWithASCIIString(name, "<locals>") == 0)
        return 0;
    PyObject *module_name, *found = NULL;
    if (find_module_name(s, obj, &module_name) < 0)
        return -1;
    if (!module_name || !PyUnicode_CheckExact(module_name)) {
        Py_XDECREF(module_name);
        return 0;
    }
    PyObject *module = compat_loaded_module(module_name);
    if (module)
        found = look_into(module, name);
    PyErr_Clear(); /* looking properly will tell */
    int status = found == obj;
    if (status) {
        place->module_name = Py_NewRef(module_name);
        place->parent = Py_NewRef(module);
        place->last = Py_NewRef(name);
        place->is_in_module = 1;
    }
    Py_XDECREF(found);
    Py_XDECREF(module);
    Py_DECREF(module_name);
    return status;
}

/* Imports the module and follows the name; PicklingError if that does not lead to 'obj'. 0 or -1. */
static int find_properly(saver *s, PyObject *obj, PyObject *name, saver_place *place)
{
    PyObject *module = NULL, *found = NULL;
    int status = -1;
    PyObject *parts = saver_split_name(s, name);
    if (!parts)
        goto done;
    place->module_name = module_of(s, obj, parts);
    if (!place->module_name)
        goto done;
    module = PyImport_Import(place->module_name);
    if (!module) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            goto done;
        PyErr_Format(s->st->PicklingError, "Can't pickle %R: import of module %R failed", obj,
                     place->module_name);
        goto done;
    }
    found = follow(module, parts, &place->parent);
    if (!found) {
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError))
            goto done;
        PyErr_Format(s->st->PicklingError, "Can't pickle %R: attribute lookup %S on %S failed", obj,
                     name, place->module_name);
        goto done;
    }
    if (found != obj) {
        PyErr_Format(s->st->PicklingError, "Can't pickle %R: it's not the same object as %S.%S",
                     obj, place->module_name, name);
        goto done;
    }
    place->last = Py_NewRef(PyList_GET_ITEM(parts, PyList_GET_SIZE(parts) - 1));
    place->is_in_module = place->parent == module;
    status = 0;
done:
    Py_XDECREF(found);
    Py_XDECREF(module);
    Py_XDECREF(parts);
    return status;
}

/* Where by-value code has just looked and said what the name is: 1; else 0. */
static int find_answered(saver *s, PyObject *obj, saver_place *place)
{
    PyObject *module_name, *name;
    if (!s->session || !byvalue_name(s->session, obj, &module_name, &name) ||
        !PyUnicode_CheckExact(module_name) || !PyUnicode_CheckExact(name))
        return 0;
    if (s->protocol < 4 && PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), 1) >= 0)
        return 0; /* which is not written as one name */
    place->module_name = Py_NewRef(module_name);
    place->last = Py_NewRef(name);
    place->is_in_module = 1;
    return 1;
}

int saver_find_place(saver *s, PyObject *obj, PyObject **name, saver_place *place)
{
    int found = !*name && find_answered(s, obj, place);
    if (found)
        *name = place->last;
    Py_XINCREF(*name);
    if (!*name && find_qualname(s, obj, name) < 0)
        return -1;
    if (!*name)
        *name = PyObject_GetAttr(obj, s->st->str___name__);
    if (!*name)
        return -1;
    if (!found)
        found = find_in_loaded_module(s, obj, *name, place);
    if (found == 0)
        found = find_properly(s, obj, *name, place) < 0 ? -1 : 1;
    if (found > 0)
        return 0;
    saver_clear_place(place);
    Py_CLEAR(*name);
    return -1;
}
