/*
 * context.c - context variables: one variable, one identity, in whatever process it stands.
 *
 * A variable that stands in an importable module goes by that name, which has to be looked for:
 * it does not know its module. Any other is context_variable(id, name[, default]). It cannot be
 * weakly referenced, so a variable once sent or loaded is kept; they are made once, at the top of
 * modules, and the contexts that know them keep them, too. Its value belongs to a context of this
 * process and does not travel.
 */
#include "python/byvalue/internal.h"

/* The default of 'variable', a new reference: what it has in an empty context. NULL: it has none. */
static PyObject *default_of(PyObject *variable)
{
    PyObject *value = NULL;
    PyObject *context = PyContext_New();
    PyObject *get = context ? PyObject_GetAttrString(variable, "get") : NULL;
    if (get)
        value = PyObject_CallMethod(context, "run", "O", get);
    if (!value && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_LookupError))
        PyErr_Clear();
    Py_XDECREF(context);
    Py_XDECREF(get);
    return value;
}

/* attribute(module, name), if an imported module but __main__ has it. 1: '*args'; 0; -1. */
static int find_in_modules(module_state *st, PyObject *variable, PyObject **args)
{
    PyObject *modules = PyImport_GetModuleDict(), *name, *module, *key, *value;
    Py_ssize_t position = 0;
    *args = NULL;
    while (PyDict_Next(modules, &position, &name, &module)) {
        Py_ssize_t at = 0;
        if (!PyModule_Check(module) || !PyUnicode_Check(name) ||
            PyUnicode_CompareWithASCIIString(name, "__main__") == 0 ||
            PyUnicode_CompareWithASCIIString(name, "__mp_main__") == 0)
            continue;
        PyObject *dict = PyModule_GetDict(module);
        while (PyDict_Next(dict, &at, &key, &value)) {
            if (value != variable || !PyUnicode_Check(key))
                continue;
            int registered = byvalue_is_registered(st, name);
            if (registered == 0)
                *args = PyTuple_Pack(2, name, key);
            return registered < 0 || (!registered && !*args) ? -1 : !registered;
        }
    }
    return 0;
}

/* Remembers the variable under its id, both ways. */
static int enter(module_state *st, PyObject *id, PyObject *variable)
{
    return PyDict_SetItem(st->byvalue_variables, id, variable) < 0
               ? -1
               : PyDict_SetItem(st->byvalue_variables, variable, id);
}

/* A new reference; 'value' is NULL if the variable has no default. */
static PyObject *id_of(byvalue_session *session, PyObject *obj, PyObject *name, PyObject *value)
{
    module_state *st = session->st;
    PyObject *id;
    if (byvalue_wants_stable_id(session)) {
        PyObject *description = PyTuple_Pack(value ? 2 : 1, name, value);
        id = description ? byvalue_stable_id(session, obj, description) : NULL;
        Py_XDECREF(description);
        if (id && byvalue_may_claim(session) && PyDict_SetItem(st->byvalue_variables, id, obj) < 0)
            Py_CLEAR(id);
        return id;
    }
    id = Py_XNewRef(PyDict_GetItemWithError(st->byvalue_variables, obj));
    if (!id && !PyErr_Occurred()) {
        id = byvalue_identity_next(st);
        if (id && enter(st, id, obj) < 0)
            Py_CLEAR(id);
    }
    return id;
}

int byvalue_reduce_context_variable(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *args = NULL, *value = NULL, *name = NULL;
    int found = find_in_modules(st, obj, &args);
    if (found)
        return found < 0 ? -1 : byvalue_make_reduce(st->v1_attribute, args, NULL, NULL, reduced);
    PyObject *id = NULL;
    name = PyObject_GetAttrString(obj, "name");
    value = name ? default_of(obj) : NULL;
    if (name && !PyErr_Occurred())
        id = id_of(session, obj, name, value);
    if (id)
        args = PyTuple_Pack(value ? 3 : 2, id, name, value);
    Py_XDECREF(id);
    Py_XDECREF(name);
    Py_XDECREF(value);
    return byvalue_make_reduce(st->v1_context_variable, args, NULL, NULL, reduced);
}

static PyObject *v1_context_variable(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    const char *name =
        count >= 2 && count <= 3 && PyBytes_CheckExact(args[0]) && PyUnicode_Check(args[1])
            ? PyUnicode_AsUTF8(args[1])
            : NULL;
    if (!name) {
        if (!PyErr_Occurred())
            byvalue_bad_stream(st, "context_variable", "expected (id, name[, default])");
        return NULL;
    }
    PyObject *known = PyDict_GetItemWithError(st->byvalue_variables, args[0]);
    if (known || PyErr_Occurred())
        return Py_XNewRef(known);
    PyObject *made = PyContextVar_New(name, count == 3 ? args[2] : NULL);
    if (made && enter(st, args[0], made) < 0)
        Py_CLEAR(made);
    return made;
}

int byvalue_context_exec(module_state *st)
{
    st->byvalue_variables = PyDict_New();
    return st->byvalue_variables ? 0 : -1;
}

PyMethodDef byvalue_v1_context[] = {
    {"context_variable", (PyCFunction)(void (*)(void))v1_context_variable, METH_FASTCALL,
     "context_variable(id, name[, default]): a ContextVar, found or made"},
    {NULL},
};
