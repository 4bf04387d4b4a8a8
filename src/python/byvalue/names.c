/*
 * names.c - what travels by name, and which modules the user wants sent whole.
 *
 * By name goes what the other side can import: its __module__ is set, is not __main__, is imported
 * here, and looking up its __qualname__ there gives this very object; and nobody registered that
 * module, or a package around it, to be sent by value. Only the named module is looked at, however
 * many are imported.
 */
#include "python/byvalue/internal.h"
#include "python/byvalue/sender.h"

int byvalue_is_registered(module_state *st, PyObject *module_name)
{
    PyObject *registered = st->byvalue_modules;
    if (PySet_GET_SIZE(registered) == 0 || !PyUnicode_Check(module_name))
        return 0;
    int found = PySet_Contains(registered, module_name);
    Py_ssize_t end = PyUnicode_GET_LENGTH(module_name);
    while (found == 0) {
        end = PyUnicode_FindChar(module_name, '.', 0, end, -1);
        if (end < 0)
            return end == -2 ? -1 : 0;
        PyObject *package = PyUnicode_Substring(module_name, 0, end);
        if (!package)
            return -1;
        found = PySet_Contains(registered, package);
        Py_DECREF(package);
    }
    return found;
}

/* obj.attr, where a missing one is no error. Modules with plain dicts are read directly. */
static int step(PyObject *obj, PyObject *name, PyObject **value)
{
    if (PyModule_CheckExact(obj)) {
        *value = Py_XNewRef(PyDict_GetItemWithError(PyModule_GetDict(obj), name));
        if (*value)
            return 1;
        if (PyErr_Occurred())
            return -1;
    }
    return compat_find_attr(obj, name, value);
}

/* Follows the dots of 'qualname' from 'obj', whose reference it takes over. As step(). */
static int walk(PyObject *obj, PyObject *qualname, PyObject **found)
{
    Py_ssize_t start = 0, length = PyUnicode_GET_LENGTH(qualname);
    *found = NULL;
    for (;;) {
        Py_ssize_t dot = PyUnicode_FindChar(qualname, '.', start, length, 1);
        PyObject *name = NULL, *next = NULL;
        int status = -1;
        if (dot != -2) {
            name = start == 0 && dot < 0
                       ? Py_NewRef(qualname)
                       : PyUnicode_Substring(qualname, start, dot < 0 ? length : dot);
            status = name ? step(obj, name, &next) : -1;
        }
        Py_XDECREF(name);
        Py_DECREF(obj);
        if (status != 1)
            return status;
        if (dot < 0) {
            *found = next;
            return 1;
        }
        obj = next;
        start = dot + 1;
    }
}

/* 1 if a str is "__main__". */
static int is_main(module_state *st, PyObject *module_name)
{
    return byvalue_same_text(module_name, st->str___main__) ||
           (!PyUnicode_CheckExact(module_name) &&
            PyUnicode_CompareWithASCIIString(module_name, "__main__") == 0);
}

int byvalue_is_named(module_state *st, PyObject *obj, PyObject *module_name, PyObject *qualname)
{
    if (!module_name || !qualname || !PyUnicode_Check(module_name) || !PyUnicode_Check(qualname) ||
        is_main(st, module_name))
        return 0;
    PyObject *found = NULL;
    PyObject *module = compat_loaded_module(module_name);
    if (!module)
        return PyErr_Occurred() ? -1 : 0;
    int status = walk(module, qualname, &found);
    if (status == 1) {
        status = found == obj;
        Py_DECREF(found);
    }
    if (status == 1) {
        int registered = byvalue_is_registered(st, module_name);
        status = registered < 0 ? -1 : !registered;
    }
    return status;
}

int byvalue_answer_name(byvalue_session *session, PyObject *obj, PyObject *module_name,
                        PyObject *qualname)
{
    if (byvalue_note_module(session, module_name) < 0)
        return -1;
    session->named = obj;
    Py_XSETREF(session->named_module, Py_NewRef(module_name));
    Py_XSETREF(session->named_qualname, Py_NewRef(qualname));
    return 2;
}

/*
 * Builtin functions go by name. Those of achar._v1, which most of what is written here starts with,
 * need no lookup; they cannot be anywhere else.
 */
int byvalue_reduce_builtin(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *self = PyCFunction_GET_SELF(obj);
    PyObject *module_name = ((PyCFunctionObject *)obj)->m_module;
    if (!module_name || (self && !PyModule_Check(self)))
        return 0;
    PyObject *name = PyDict_GetItemWithError(st->byvalue_v1_names, obj);
    if (name && session->portable)
        return byvalue_reduce_stand_in(session, obj, name, reduced);
    if (name) {
        session->has_code = 1; /* something by value begins here */
        return byvalue_answer_name(session, obj, module_name, name);
    }
    name = PyErr_Occurred() ? NULL : PyObject_GetAttr(obj, st->byvalue_str___name__);
    if (!name)
        return -1;
    int named = byvalue_is_named(st, obj, module_name, name);
    if (named == 1)
        named = byvalue_answer_name(session, obj, module_name, name);
    Py_DECREF(name);
    return named;
}

int byvalue_class_names(module_state *st, PyTypeObject *type, PyObject **module_name,
                        PyObject **qualname)
{
    PyTypeObject *metaclass = Py_TYPE(type);
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE))
        return 0;
    if (metaclass != &PyType_Type) {
        PyObject *const names[] = {st->byvalue_str___getattribute__, st->byvalue_str___module__,
                                   st->byvalue_str___qualname__};
        if (metaclass->tp_getattro != PyType_Type.tp_getattro &&
            !byvalue_is_python_class(metaclass))
            return 0;
        for (int i = 0; i < 3; i++) /* a __getattr__ is not asked for what is there */
            if (_PyType_Lookup(metaclass, names[i]) != _PyType_Lookup(&PyType_Type, names[i]))
                return 0;
    }
    *module_name = PyDict_GetItemWithError(type->tp_dict, st->byvalue_str___module__);
    if (!*module_name) {
        PyErr_Clear();
        return 0;
    }
    Py_INCREF(*module_name);
    *qualname = Py_NewRef(((PyHeapTypeObject *)type)->ht_qualname);
    return 1;
}

int byvalue_has_name(module_state *st, PyObject *obj)
{
    PyObject *module_name = NULL, *qualname = NULL;
    int status =
        PyType_Check(obj) && byvalue_class_names(st, (PyTypeObject *)obj, &module_name, &qualname);
    if (status == 0)
        status = compat_find_attr(obj, st->byvalue_str___module__, &module_name);
    if (status == 1 && !qualname)
        status = compat_find_attr(obj, st->byvalue_str___qualname__, &qualname);
    if (status == 0 && module_name)
        status = compat_find_attr(obj, st->byvalue_str___name__, &qualname);
    if (status == 1)
        status = byvalue_is_named(st, obj, module_name, qualname);
    Py_XDECREF(module_name);
    Py_XDECREF(qualname);
    return status;
}

/* ---- achar.register_by_value ---- */

/* The name of a module that is imported under it; new reference. */
static PyObject *imported_name(PyObject *module)
{
    if (!PyModule_Check(module)) {
        PyErr_Format(PyExc_TypeError, "expected a module, not %R", module);
        return NULL;
    }
    PyObject *name = PyModule_GetNameObject(module);
    if (!name)
        return NULL;
    PyObject *imported = PyImport_GetModule(name);
    if (!imported && !PyErr_Occurred())
        PyErr_Format(PyExc_ValueError,
                     "%R is not imported under that name: objects are looked up in sys.modules",
                     module);
    if (!imported)
        Py_CLEAR(name);
    Py_XDECREF(imported);
    return name;
}

static PyObject *register_by_value(PyObject *self, PyObject *module)
{
    module_state *st = state_of_module(self);
    PyObject *name = imported_name(module);
    int status = name ? PySet_Add(st->byvalue_modules, name) : -1;
    Py_XDECREF(name);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *unregister_by_value(PyObject *self, PyObject *module)
{
    module_state *st = state_of_module(self);
    if (!PyModule_Check(module)) {
        PyErr_Format(PyExc_TypeError, "expected a module, not %R", module);
        return NULL;
    }
    PyObject *name = PyModule_GetNameObject(module);
    int removed = name ? PySet_Discard(st->byvalue_modules, name) : -1;
    Py_XDECREF(name);
    if (removed == 0)
        PyErr_Format(PyExc_ValueError, "%R is not registered to be sent by value", module);
    return removed == 1 ? Py_NewRef(Py_None) : NULL;
}

static PyObject *registered_by_value(PyObject *self, PyObject *ignored)
{
    (void)ignored;
    return PyFrozenSet_New(state_of_module(self)->byvalue_modules);
}

static PyMethodDef registered_def = {
    "registered_by_value", registered_by_value, METH_NOARGS,
    "registered_by_value($module, /)\n--\n\n"
    "The names of the modules that are registered to be sent by value."};

static PyMethodDef functions[] = {
    {"register_by_value", register_by_value, METH_O,
     "register_by_value($module, module, /)\n--\n\n"
     "Send functions and classes of this module, and of modules in it, whole.\n\n"
     "They arrive where the module cannot be imported, or is another version. The registration\n"
     "is this process's and lasts until unregister_by_value()."},
    {"unregister_by_value", unregister_by_value, METH_O,
     "unregister_by_value($module, module, /)\n--\n\n"
     "Send functions and classes of this module by name again."},
    {NULL},
};

int byvalue_names_exec(PyObject *module, module_state *st)
{
    st->byvalue_modules = PySet_New(NULL);
    if (!st->byvalue_modules)
        return -1;
    for (PyMethodDef *def = functions; def->ml_name; def++) {
        if (state_add_function(module, module, def, "achar") < 0)
            return -1;
    }
    return state_add_function(module, module, &registered_def, "achar._achar");
}
