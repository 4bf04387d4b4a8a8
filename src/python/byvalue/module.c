/*
 * module.c - modules, by name or whole, and the submodules that code reaches through them.
 */
#include "python/byvalue/internal.h"
#include "python/byvalue/sender.h"

/* ---- out: modules ---- */

/* What belongs to this process's import of a module and not to the module. */
static int is_import_machinery(PyObject *name)
{
    static const char *const names[] = {"__builtins__", "__loader__", "__spec__", "__cached__"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return 1;
    }
    return 0;
}

/* 1 if no import made this module: it may have the name of one that can be imported. */
static int is_homemade(PyObject *module)
{
    PyObject *dict = PyModule_GetDict(module);
    PyObject *spec = PyDict_GetItemString(dict, "__spec__");
    return (!spec || spec == Py_None) && !PyDict_GetItemString(dict, "__file__");
}

/*
 * A module is module(name), imported there, or, when nobody can import it or it is registered to be
 * sent whole, new_module(name) with module_state(module, dict). Functions that come after it and
 * have the module's dict as their globals name the module in place of the dict: they share it.
 */
int byvalue_reduce_module(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    int status = -1;
    PyObject *imported = NULL, *state = NULL;
    PyObject *name = PyModule_GetNameObject(obj);
    if (!name)
        return -1;
    int registered = byvalue_is_registered(st, name);
    imported = registered == 0 ? compat_loaded_module(name) : NULL;
    if (registered < 0 || PyErr_Occurred())
        goto done;
    if (imported && (imported == obj || !is_homemade(obj))) {
        status = byvalue_note_module(session, name);
        if (status == 0)
            status = byvalue_make_reduce(st->v1_module, PyTuple_Pack(1, name), NULL, NULL, reduced);
        goto done;
    }
    PyObject *dict = PyModule_GetDict(obj), *key, *value;
    Py_ssize_t position = 0;
    state = PyDict_New();
    while (state && PyDict_Next(dict, &position, &key, &value)) {
        if (!is_import_machinery(key) && PyDict_SetItem(state, key, value) < 0)
            goto done;
    }
    if (!state || byvalue_map_put(&session->globals, dict, obj) < 0)
        goto done;
    status = byvalue_make_reduce(st->v1_new_module, PyTuple_Pack(1, name), Py_NewRef(state),
                                 st->v1_module_state, reduced);
done:
    Py_XDECREF(state);
    Py_XDECREF(imported);
    Py_DECREF(name);
    return status;
}

/* ---- out: submodules that code reaches ---- */

/*
 * Code that says concurrent.futures.X reads the global 'concurrent' and then an attribute which is
 * there only once the submodule has been imported. So for every package among the captured values
 * the names in the code are tried as submodules: package.name, in sys.modules, and then in turn.
 */
static int add_submodule(PyObject *module, PyObject *names, PyObject **found);

static int add_submodules(PyObject *package, PyObject *names, PyObject **found)
{
    PyObject *path = NULL, *prefix = NULL, *name = NULL;
    int status = -1;
    if (!PyModule_Check(package))
        return 0;
    path = PyDict_GetItemString(PyModule_GetDict(package), "__path__");
    prefix = path ? PyModule_GetNameObject(package) : NULL;
    if (!prefix) {
        PyErr_Clear(); /* no package, or a nameless one */
        return 0;
    }
    if (Py_EnterRecursiveCall(" while looking for submodules"))
        goto done;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        Py_XSETREF(name, PyUnicode_FromFormat("%U.%U", prefix, PyTuple_GET_ITEM(names, i)));
        PyObject *module = name ? compat_loaded_module(name) : NULL;
        if (!module && PyErr_Occurred())
            goto leave;
        int failed = module && PyModule_Check(module) && add_submodule(module, names, found) < 0;
        Py_XDECREF(module);
        if (failed)
            goto leave;
    }
    status = 0;
leave:
    Py_LeaveRecursiveCall();
done:
    Py_XDECREF(name);
    Py_DECREF(prefix);
    return status;
}

static int add_submodule(PyObject *module, PyObject *names, PyObject **found)
{
    if (!*found)
        *found = PyList_New(0);
    for (Py_ssize_t i = 0; *found && i < PyList_GET_SIZE(*found); i++) {
        if (PyList_GET_ITEM(*found, i) == module)
            return 0; /* also where a module stands under a name that is not its own */
    }
    if (!*found || PyList_Append(*found, module) < 0)
        return -1;
    return add_submodules(module, names, found);
}

PyObject *byvalue_submodules(PyObject *globals, PyObject *closure, PyObject *names)
{
    PyObject *found = NULL, *value;
    Py_ssize_t position = 0;
    while (globals && PyDict_Next(globals, &position, NULL, &value)) {
        if (PyModule_Check(value) && add_submodules(value, names, &found) < 0)
            goto fail;
    }
    for (Py_ssize_t i = 0; closure && i < PyTuple_GET_SIZE(closure); i++) {
        value = PyCell_GET(PyTuple_GET_ITEM(closure, i));
        if (value && PyModule_Check(value) && add_submodules(value, names, &found) < 0)
            goto fail;
    }
    if (!found)
        return Py_NewRef(Py_None);
    PyObject *tuple = PyList_AsTuple(found);
    Py_DECREF(found);
    return tuple;
fail:
    Py_XDECREF(found);
    return NULL;
}

/* ---- in ---- */

int byvalue_give_builtins(module_state *st, PyObject *globals)
{
    int has = PyDict_Contains(globals, st->byvalue_str___builtins__);
    if (has)
        return has < 0 ? -1 : 0;
    return PyDict_SetItem(globals, st->byvalue_str___builtins__, PyEval_GetBuiltins());
}

static PyObject *v1_module(PyObject *module, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        byvalue_bad_stream(state_of_module(module), "module", "a module's name is a str");
        return NULL;
    }
    PyObject *found = PyImport_GetModule(name);
    if (found || PyErr_Occurred())
        return found;
    found = PyImport_Import(name); /* the outermost package of a dotted name, or the module */
    if (!found)
        return NULL;
    Py_DECREF(found);
    found = PyImport_GetModule(name);
    if (!found && !PyErr_Occurred())
        PyErr_Format(PyExc_ModuleNotFoundError, "No module named %R", name);
    return found;
}

static PyObject *v1_new_module(PyObject *module, PyObject *name)
{
    if (!PyUnicode_Check(name)) {
        byvalue_bad_stream(state_of_module(module), "new_module", "a module's name is a str");
        return NULL;
    }
    PyObject *made = PyModule_NewObject(name);
    if (made && byvalue_give_builtins(state_of_module(module), PyModule_GetDict(made)) < 0)
        Py_CLEAR(made);
    return made;
}

static PyObject *v1_module_state(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyModule_Check(args[0]) || !PyDict_CheckExact(args[1])) {
        byvalue_bad_stream(state_of_module(module), "module_state", "expected (module, dict)");
        return NULL;
    }
    return PyDict_Update(PyModule_GetDict(args[0]), args[1]) < 0 ? NULL : Py_NewRef(Py_None);
}

PyMethodDef byvalue_v1_module[] = {
    {"module", v1_module, METH_O, "module(name): the module, imported"},
    {"new_module", v1_new_module, METH_O, "new_module(name): an empty module, not imported"},
    {"module_state", (PyCFunction)(void (*)(void))v1_module_state, METH_FASTCALL,
     "module_state(module, dict): fills it"},
    {NULL},
};
