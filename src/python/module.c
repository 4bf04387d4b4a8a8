/*
 * module.c - the extension module achar._achar.
 *
 * Multi-phase init, state per interpreter (state.def). The module has a child module object,
 * 'strict', whose names are those of CPython's _pickle, so that it can stand in its place:
 * achar.pickle re-exports it. The exception classes are the interpreter's own, taken from _pickle,
 * so that `except pickle.PicklingError` catches what achar raises.
 */
#include "python/state.h"

module_state *state_of_type(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *module = PyType_GetModuleByDef(type, &achar_module_def);
    return module ? state_of_module(module) : NULL;
#else
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (!(base->tp_flags & Py_TPFLAGS_HEAPTYPE))
            continue;
        PyObject *module = ((PyHeapTypeObject *)base)->ht_module;
        if (module && PyModule_GetDef(module) == &achar_module_def)
            return state_of_module(module);
    }
    PyErr_Format(PyExc_TypeError, "%s is not one of achar's types", type->tp_name);
    return NULL;
#endif
}

int state_add_function(PyObject *module, PyObject *target, PyMethodDef *def,
                       const char *module_name)
{
    PyObject *name = PyUnicode_InternFromString(module_name);
    if (!name)
        return -1;
    PyObject *function = PyCFunction_NewEx(def, module, name);
    Py_DECREF(name);
    if (!function)
        return -1;
    int status = PyModule_AddObjectRef(target, def->ml_name, function);
    Py_DECREF(function);
    return status;
}

/* The exception classes and PickleBuffer: the interpreter's own, by the name in the strict module. */
static int borrow_from_interpreter(PyObject *module, module_state *st)
{
    PyObject *native = PyImport_ImportModule("_pickle");
    if (!native)
        return -1;
    int status = -1;
    PyObject *buffer = NULL;
    st->PickleError = PyObject_GetAttrString(native, "PickleError");
    st->PicklingError = PyObject_GetAttrString(native, "PicklingError");
    st->UnpicklingError = PyObject_GetAttrString(native, "UnpicklingError");
    buffer = PyObject_GetAttrString(native, "PickleBuffer");
    st->strict_module = PyModule_New("achar.pickle");
    if (!st->PickleError || !st->PicklingError || !st->UnpicklingError || !buffer ||
        !st->strict_module)
        goto done;
    if (PyModule_AddObjectRef(st->strict_module, "PickleError", st->PickleError) < 0 ||
        PyModule_AddObjectRef(st->strict_module, "PicklingError", st->PicklingError) < 0 ||
        PyModule_AddObjectRef(st->strict_module, "UnpicklingError", st->UnpicklingError) < 0 ||
        PyModule_AddObjectRef(st->strict_module, "PickleBuffer", buffer) < 0 ||
        PyModule_AddObjectRef(module, "strict", st->strict_module) < 0)
        goto done;
    status = 0;
done:
    Py_XDECREF(buffer);
    Py_DECREF(native);
    return status;
}

static int module_exec(PyObject *module)
{
    module_state *st = state_of_module(module);
    if (borrow_from_interpreter(module, st) < 0)
        return -1;
#define RUN_PART(part)                                                                             \
    if (part##_exec(module, st) < 0)                                                               \
        return -1;
    STATE_PARTS(RUN_PART)
#undef RUN_PART
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *st = state_of_module(module);
#define STATE(name) Py_VISIT(st->name);
#include "python/state.def"
#undef STATE
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *st = state_of_module(module);
#define STATE(name) Py_CLEAR(st->name);
#include "python/state.def"
#undef STATE
    return 0;
}

static void module_free(void *module)
{
    module_clear((PyObject *)module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

struct PyModuleDef achar_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "achar._achar",
    .m_doc = "achar's C part; use it through the achar package.",
    .m_size = sizeof(module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__achar(void);
PyMODINIT_FUNC PyInit__achar(void)
{
    return PyModuleDef_Init(&achar_module_def);
}
