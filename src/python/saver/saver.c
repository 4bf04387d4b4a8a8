/*
 * saver.c - dumps into memory, and what the saver needs of the interpreter's other modules.
 */
#include "python/saver/type_facts.h"

int saver_dump_into(module_state *st, PyObject *obj, const saver_options *options, saver_sink *sink,
                    saver_report *report)
{
    saver s;
    int status = saver_init(&s, st, options, NULL, NULL, sink, NULL);
    if (status == 0)
        status = saver_run(&s, obj);
    if (status == 0) {
        sink->used += (size_t)(s.out.cursor - s.out.data);
        if (report)
            report->reusable = (PyFunction_Check(obj) || !s.saw_mutable) &&
                               (!s.session || byvalue_reusable(s.session));
    }
    saver_end(&s);
    return status;
}

PyObject *saver_dumps(module_state *st, PyObject *obj, const saver_options *options)
{
    saver s;
    PyObject *result = NULL;
    if (saver_init(&s, st, options, NULL, NULL, NULL, NULL) == 0 && saver_run(&s, obj) == 0)
        result = saver_output_take_bytes(&s.out);
    saver_end(&s);
    return result;
}

/* ---- set-up ---- */

/* An attribute of a module, which has to be of a type (NULL: callable). */
static PyObject *import_attr(const char *module_name, const char *name, PyTypeObject *type)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (!module)
        return NULL;
    PyObject *value = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    if (value && (type ? Py_TYPE(value) != type : !PyCallable_Check(value))) {
        PyErr_Format(PyExc_RuntimeError, "%s.%s should be a %s, not %.200s", module_name, name,
                     type ? type->tp_name : "callable", Py_TYPE(value)->tp_name);
        Py_CLEAR(value);
    }
    return value;
}

int saver_exec(PyObject *module, module_state *st)
{
    (void)module;
    if (saver_type_facts_exec(st) < 0)
        return -1;
#define IMPORT(member, module_name, name, type)                                                    \
    if (!(st->member = import_attr(module_name, name, type)))                                      \
        return -1;
    IMPORT(copyreg_dispatch_table, "copyreg", "dispatch_table", &PyDict_Type)
    IMPORT(copyreg_extension_registry, "copyreg", "_extension_registry", &PyDict_Type)
    IMPORT(copyreg_slotnames, "copyreg", "_slotnames", NULL)
    IMPORT(compat_name_mapping, "_compat_pickle", "REVERSE_NAME_MAPPING", &PyDict_Type)
    IMPORT(compat_import_mapping, "_compat_pickle", "REVERSE_IMPORT_MAPPING", &PyDict_Type)
    IMPORT(codecs_encode, "codecs", "encode", NULL)
    IMPORT(functools_partial, "functools", "partial", NULL)
    IMPORT(builtin_getattr, "builtins", "getattr", NULL)
#undef IMPORT
#define INTERN(member, text)                                                                       \
    if (!(st->member = PyUnicode_InternFromString(text)))                                          \
        return -1;
    INTERN(str___class__, "__class__")
    INTERN(str___getnewargs__, "__getnewargs__")
    INTERN(str___getnewargs_ex__, "__getnewargs_ex__")
    INTERN(str___getstate__, "__getstate__")
    INTERN(str___main__, "__main__")
    INTERN(str___module__, "__module__")
    INTERN(str___name__, "__name__")
    INTERN(str___new__, "__new__")
    INTERN(str___qualname__, "__qualname__")
    INTERN(str___reduce__, "__reduce__")
    INTERN(str___reduce_ex__, "__reduce_ex__")
    INTERN(str___slotnames__, "__slotnames__")
    INTERN(str_dispatch_table, "dispatch_table")
    INTERN(str_latin1, "latin1")
    INTERN(str_period, ".")
    INTERN(str_persistent_id, "persistent_id")
    INTERN(str_reducer_override, "reducer_override")
    INTERN(str_write, "write")
#undef INTERN
    return 0;
}
