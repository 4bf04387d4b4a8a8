/*
 * digest_code.c - code, functions and classes in achar.digest(): what they say; see digest.c.
 */
#include "python/byvalue/digest.h"

int digest_encode_attribute(digest *d, PyObject *obj, const char *name)
{
    PyObject *value = PyObject_GetAttrString(obj, name);
    if (!value && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return digest_put_tag(d, '-', 0);
    }
    int status = value ? digest_encode(d, value) : -1;
    Py_XDECREF(value);
    return status;
}

int digest_encode_code(digest *d, PyObject *code)
{
    static const char *const attributes[] = {
        "co_code",     "co_consts",   "co_names",          "co_varnames",
        "co_freevars", "co_cellvars", "co_argcount",       "co_posonlyargcount",
        "co_flags",    "co_name",     "co_kwonlyargcount", "co_exceptiontable"};
    size_t start = d->used;
    if (digest_put_word(d, "code") < 0)
        return -1;
    for (size_t i = 0; i < sizeof(attributes) / sizeof(*attributes); i++) {
        if (digest_encode_attribute(d, code, attributes[i]) < 0)
            return -1;
    }
    return digest_shorten(d, start);
}

/* 1 if a module is part of the interpreter or was installed, and is known by its name. */
static int is_installed(PyObject *module_name)
{
    PyObject *module = PyUnicode_Check(module_name) ? compat_loaded_module(module_name) : NULL;
    if (!module)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *file =
        PyModule_Check(module) ? PyDict_GetItemString(PyModule_GetDict(module), "__file__") : NULL;
    const char *path = file && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : NULL;
    if (!path) {
        PyErr_Clear();
        return PyUnicode_CompareWithASCIIString(module_name, "__main__") != 0;
    }
    if (strstr(path, "/site-packages/") || strstr(path, "/dist-packages/"))
        return 1;
    PyObject *os = PyImport_ImportModule("os");
    PyObject *os_file = os ? PyObject_GetAttrString(os, "__file__") : NULL;
    const char *os_path = os_file ? PyUnicode_AsUTF8(os_file) : NULL;
    const char *slash = os_path ? strrchr(os_path, '/') : NULL;
    int standard = slash && strncmp(path, os_path, (size_t)(slash + 1 - os_path)) == 0;
    Py_XDECREF(os);
    Py_XDECREF(os_file);
    return PyErr_Occurred() ? -1 : standard;
}

/* The installed module is one that the digest depends on by its name. */
static int note_module(digest *d, PyObject *name)
{
    return d->modules ? PySet_Add(d->modules, name) : 0;
}

/* By name, if the object is found by it in an installed module: 1 written; 0; -1. */
static int encode_name(digest *d, PyObject *obj)
{
    PyObject *module = NULL, *qualname = NULL;
    int status = byvalue_has_name(d->st, obj);
    if (status == 1)
        status = compat_find_attr(obj, d->st->byvalue_str___module__, &module);
    if (status == 1)
        status = is_installed(module);
    if (status == 1)
        status = compat_find_attr(obj, d->st->byvalue_str___qualname__, &qualname);
    if (status == 1 && PyUnicode_Check(qualname))
        status = digest_put_word(d, "name") < 0 || digest_put_text(d, 's', module) < 0 ||
                         digest_put_text(d, 's', qualname) < 0 || note_module(d, module) < 0
                     ? -1
                     : 1;
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    return status;
}

/*
 * Of a module that a function names, and that is not an installed one: what the function's code could
 * reach in it by attributes, in modules within it likewise. Each module is written once for a
 * function, however many ways lead to it: 'reached' is a set of those that are, or are being.
 */
static int encode_reached(digest *d, PyObject *module, PyObject *names, PyObject *reached)
{
    PyObject *name = PyModule_GetNameObject(module);
    int installed = name ? is_installed(name) : -1;
    if (installed == 1 && note_module(d, name) < 0)
        installed = -1;
    int again = installed == 0 ? PySet_Contains(reached, module) : 0;
    int status = installed < 0 || again < 0 ? -1 : 0;
    if (again == 1 && (digest_put_word(d, "module again") < 0 || digest_put_text(d, 's', name) < 0))
        status = -1;
    Py_XDECREF(name);
    if (status < 0 || installed || again)
        return status;
    if (PySet_Add(reached, module) < 0 || Py_EnterRecursiveCall(" while digesting modules"))
        return -1;
    PyObject *dict = PyModule_GetDict(module);
    status = digest_put_word(d, "module's");
    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *attribute = PyTuple_GET_ITEM(names, i);
        PyObject *value = Py_XNewRef(PyDict_GetItemWithError(dict, attribute));
        if (!value) {
            status = PyErr_Occurred() ? -1 : digest_watch_name(d, dict, attribute, NULL);
            continue;
        }
        PyObject *stand_in = digest_stand_in(d, dict, attribute, value);
        status =
            !stand_in || digest_put_text(d, 's', attribute) < 0 || digest_encode(d, stand_in) < 0
                ? -1
                : 0;
        Py_XDECREF(stand_in);
        if (status == 0 && PyModule_Check(value))
            status = encode_reached(d, value, names, reached);
        Py_DECREF(value);
    }
    Py_LeaveRecursiveCall();
    return status;
}

/* The modules among the globals that were named, by their names. */
static int encode_modules(digest *d, PyObject *named, PyObject *names, PyObject *reached)
{
    int status = 0;
    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *value = PyDict_GetItemWithError(named, PyTuple_GET_ITEM(names, i));
        if (value && PyModule_Check(value))
            status = encode_reached(d, value, names, reached);
        else if (!value && PyErr_Occurred())
            status = -1;
    }
    return status;
}

/* Encodes a dict that the walk has made: nobody else can change it. */
static int encode_own(digest *d, PyObject *dict)
{
    PyObject *outer = d->own;
    d->own = dict;
    int status = digest_encode(d, dict);
    d->own = outer;
    return status;
}

static int encode_globals(digest *d, PyFunctionObject *func)
{
    code_facts *facts = byvalue_code_facts(d->session, (PyCodeObject *)func->func_code);
    if (!facts)
        return -1;
    PyObject *named = PyDict_New();
    PyObject *reached = PySet_New(NULL);
    int status = named && reached ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(facts->global_names); i++) {
        PyObject *name = PyTuple_GET_ITEM(facts->global_names, i);
        PyObject *value = PyDict_GetItemWithError(func->func_globals, name);
        if (!value) {
            status = PyErr_Occurred() ? -1 : digest_watch_name(d, func->func_globals, name, NULL);
            continue;
        }
        value = digest_stand_in(d, func->func_globals, name, value);
        status = value ? PyDict_SetItem(named, name, value) : -1;
        Py_XDECREF(value);
    }
    PyObject *names = Py_NewRef(facts->names);
    if (status == 0)
        status = encode_own(d, named) < 0 ? -1 : encode_modules(d, named, names, reached);
    for (Py_ssize_t i = 0;
         status == 0 && func->func_closure && i < PyTuple_GET_SIZE(func->func_closure); i++) {
        PyObject *value = Py_XNewRef(PyCell_GET(PyTuple_GET_ITEM(func->func_closure, i)));
        if (value && PyModule_Check(value))
            status = encode_reached(d, value, names, reached);
        Py_XDECREF(value);
    }
    Py_DECREF(names);
    Py_XDECREF(reached);
    Py_XDECREF(named);
    return status;
}

int digest_encode_function(digest *d, PyObject *obj)
{
    PyFunctionObject *func = (PyFunctionObject *)obj;
    int named = encode_name(d, obj);
    if (named)
        return named < 0 ? -1 : 0;
    if (digest_watch_function(d, obj) < 0)
        return -1;
    if (digest_put_word(d, "function") < 0 || digest_encode(d, func->func_code) < 0 ||
        digest_encode(d, func->func_defaults ? func->func_defaults : Py_None) < 0 ||
        encode_own(d, func->func_kwdefaults ? func->func_kwdefaults : Py_None) < 0 ||
        encode_own(d, func->func_dict && PyDict_GET_SIZE(func->func_dict) ? func->func_dict
                                                                          : Py_None) < 0 ||
        digest_encode(d, func->func_closure ? func->func_closure : Py_None) < 0)
        return -1;
    return encode_globals(d, func);
}

int digest_is_incidental(PyObject *name, PyObject *value)
{
    static const char *const names[] = {
        "__module__", "__dict__",      "__weakref__", "__firstlineno__", "__static_attributes__",
        "_abc_impl",  "__slotnames__", "__qualname__"};
    if (Py_TYPE(value) == &PyGetSetDescr_Type || Py_TYPE(value) == &PyMemberDescr_Type)
        return 1;
    if (PyUnicode_Check(name) && PyDict_CheckExact(value) && PyDict_GET_SIZE(value) == 0 &&
        PyUnicode_CompareWithASCIIString(name, "__annotations__") == 0)
        return 1; /* made when somebody asks for them */
    for (size_t i = 0; PyUnicode_Check(name) && i < sizeof(names) / sizeof(*names); i++) {
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return 1;
    }
    return 0;
}

int digest_encode_class(digest *d, PyObject *obj)
{
    PyTypeObject *type = (PyTypeObject *)obj;
    if (!byvalue_is_python_class(type))
        return digest_put_word(d, "class in C") < 0 ? -1 : digest_put_word(d, type->tp_name);
    int named = encode_name(d, obj);
    if (named)
        return named < 0 ? -1 : 0;
    PyObject *dict = compat_type_dict(type), *name, *value;
    PyObject *definition = dict ? PyDict_New() : NULL;
    Py_ssize_t position = 0;
    int status = definition ? 0 : -1;
    while (status == 0 && PyDict_Next(dict, &position, &name, &value)) {
        if (!digest_is_incidental(name, value))
            status = PyDict_SetItem(definition, name, value);
    }
    if (status == 0)
        status = digest_watch_class(d, obj, dict);
    if (status == 0)
        status = digest_put_word(d, "class") < 0 ||
                         digest_put_text(d, 's', ((PyHeapTypeObject *)type)->ht_name) < 0 ||
                         digest_encode(d, (PyObject *)Py_TYPE(type)) < 0 ||
                         digest_encode(d, type->tp_bases) < 0 || encode_own(d, definition) < 0
                     ? -1
                     : 0;
    Py_XDECREF(dict);
    Py_XDECREF(definition);
    return status;
}
