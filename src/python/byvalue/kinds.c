/*
 * kinds.c - from a type to the reducer for its objects.
 *
 * Most objects need none, so the answer has to be cheap: it is kept by address and version tag.
 * Modules that are not imported are not imported to compare with their classes: those are known by
 * their names.
 */
#include "python/byvalue/internal.h"

/* Builtin types, compared by address. */
static byvalue_reducer exact_kind(PyTypeObject *type)
{
    if (type == &PyFunction_Type)
        return byvalue_reduce_function;
    if (type == &PyCFunction_Type)
        return byvalue_reduce_builtin;
    if (type == &PyCell_Type)
        return byvalue_reduce_cell;
    if (type == &PyCode_Type)
        return byvalue_reduce_code;
    if (type == &PyMethod_Type)
        return byvalue_reduce_method;
    if (type == &PyDictProxy_Type)
        return byvalue_reduce_mappingproxy;
    if (type == &PyMemoryView_Type)
        return byvalue_reduce_memoryview;
    if (type == &PyDictKeys_Type || type == &PyDictValues_Type || type == &PyDictItems_Type ||
        type == &PyODictKeys_Type || type == &PyODictValues_Type || type == &PyODictItems_Type)
        return byvalue_reduce_dict_view;
    if (type == &PyTraceBack_Type)
        return byvalue_reduce_traceback;
    if (type == &PyContextVar_Type)
        return byvalue_reduce_context_variable;
    if (type == &PyGetSetDescr_Type || type == &PyClassMethodDescr_Type)
        return byvalue_reduce_descriptor;
    if (type == &_PyWeakref_ProxyType || type == &_PyWeakref_CallableProxyType)
        return byvalue_reduce_weakref;
    return NULL;
}

/* Classes of the standard library's Python modules, and their subclasses. */
static const struct {
    const char *module, *name;
    byvalue_reducer reducer;
} named_kinds[] = {
    {"typing", "TypeVar", byvalue_reduce_typevar},
    {"typing", "ParamSpec", byvalue_reduce_typevar},
    {"typing", "TypeVarTuple", byvalue_reduce_typevar},
    {"typing", "NewType", byvalue_reduce_newtype},
    {"typing", "TypeAliasType", byvalue_reduce_type_alias},
    {"functools", "cached_property", byvalue_reduce_cached_property},
    {"functools", "_lru_cache_wrapper", byvalue_reduce_lru_cache},
    {"functools", "KeyWrapper", byvalue_reduce_key_wrapper},
    {"itertools", "pairwise", byvalue_reduce_pairwise},
    {"_struct", "Struct", byvalue_reduce_struct},
    {"weakref", "WeakKeyDictionary", byvalue_reduce_weak_container},
    {"weakref", "WeakValueDictionary", byvalue_reduce_weak_container},
    {"_weakrefset", "WeakSet", byvalue_reduce_weak_container},
    {"dataclasses", "_MISSING_TYPE", byvalue_reduce_sentinel},
    {"dataclasses", "_FIELD_BASE", byvalue_reduce_sentinel},
    {"dataclasses", "_HAS_DEFAULT_FACTORY_CLASS", byvalue_reduce_sentinel},
};

static byvalue_reducer named_kind(PyTypeObject *type)
{
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        for (size_t k = 0; k < sizeof(named_kinds) / sizeof(*named_kinds); k++) {
            if (byvalue_type_is(base, named_kinds[k].module, named_kinds[k].name))
                return named_kinds[k].reducer;
        }
    }
    return NULL;
}

/* Members of an Enum: the metaclass is EnumMeta or made from it. */
static int is_enum_class(PyTypeObject *type)
{
    PyObject *mro = Py_TYPE(type)->tp_mro;
    if (Py_TYPE(type) == &PyType_Type)
        return 0;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (byvalue_type_is(base, "enum", "EnumMeta") || byvalue_type_is(base, "enum", "EnumType"))
            return 1;
    }
    return 0;
}

static byvalue_reducer find_kind(PyTypeObject *type)
{
    byvalue_reducer exact = exact_kind(type);
    if (exact)
        return exact;
    if (PyType_FastSubclass(type, Py_TPFLAGS_TYPE_SUBCLASS))
        return byvalue_reduce_class;
    if (PyType_FastSubclass(type, Py_TPFLAGS_BASE_EXC_SUBCLASS))
        return byvalue_reduce_exception;
    if (PyType_IsSubtype(type, &PyModule_Type))
        return byvalue_reduce_module;
    if (PyType_IsSubtype(type, &PyStaticMethod_Type) || PyType_IsSubtype(type, &PyClassMethod_Type))
        return byvalue_reduce_staticmethod;
    if (PyType_IsSubtype(type, &PyProperty_Type))
        return byvalue_reduce_property;
    if (PyType_IsSubtype(type, &_PyWeakref_RefType))
        return byvalue_reduce_weakref;
    if (PyType_IsSubtype(type, &PySuper_Type))
        return byvalue_reduce_super;
    if (is_enum_class(type))
        return byvalue_reduce_enum_member;
    byvalue_reducer named = named_kind(type);
    if (named)
        return named;
    return byvalue_is_refused(type) ? byvalue_reduce_refused : NULL;
}

/* The type's version tag; 0: it has none now. */
static unsigned version_of(PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030D0000
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG))
        return 0;
#endif
    return (unsigned)type->tp_version_tag;
}

byvalue_reducer byvalue_reducer_of_type(module_state *st, PyTypeObject *type)
{
    if (type == &PyFunction_Type) /* the most frequent */
        return byvalue_reduce_function;
    if (type == &PyCFunction_Type)
        return byvalue_reduce_builtin;
    byvalue_tables *tables = byvalue_tables_of(st);
    size_t slot = ((uintptr_t)type >> 4) % KIND_COUNT;
    unsigned version = version_of(type);
    if (version && tables->kinds[slot].type == type && tables->kinds[slot].version == version)
        return tables->kinds[slot].reducer;
    byvalue_reducer reducer = find_kind(type);
    if (!version) {
        /* A lookup gives it a tag, if there are any left. */
        (void)_PyType_Lookup(type, st->byvalue_str___reduce_ex__);
        version = version_of(type);
    }
    if (version) {
        tables->kinds[slot].type = type;
        tables->kinds[slot].version = version;
        tables->kinds[slot].reducer = reducer;
    }
    return reducer;
}
