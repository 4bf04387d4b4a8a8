/*
 * small.c - kinds of objects that need a few lines each: descriptors, views, type
 * variables, sentinels, cached functions.
 *
 * Where the object's own class, called with the right arguments, makes it again, that class stands
 * in the stream; achar._v1 has functions only for what no importable callable does.
 */
#include "python/byvalue/internal.h"

/* A copy of the object's __dict__ without 'left_out' (may be NULL), as BUILD takes it, or NULL
 * without an exception if nothing is in it. */
static PyObject *dict_state(module_state *st, PyObject *obj, const char *left_out)
{
    PyObject *dict = NULL, *state = NULL;
    if (compat_find_attr(obj, st->byvalue_str___dict__, &dict) <= 0)
        return NULL;
    if (PyDict_Check(dict))
        state = PyDict_Copy(dict);
    Py_DECREF(dict);
    if (state && left_out && PyDict_GetItemString(state, left_out) &&
        PyDict_DelItemString(state, left_out) < 0)
        Py_CLEAR(state);
    if (state && PyDict_GET_SIZE(state) == 0)
        Py_CLEAR(state);
    return state;
}

/* callable(args) and then BUILD with 'state'; 'state' may be NULL, with or without an exception. */
static int reduce_with_dict(byvalue_session *session, PyObject *callable, PyObject *args,
                            PyObject *state, PyObject **reduced)
{
    if (!state && PyErr_Occurred())
        Py_CLEAR(args);
    return state ? byvalue_make_reduce(callable, args, state, NULL, reduced)
                 : byvalue_answer_call(session, callable, args, NULL, reduced);
}

/* ---- descriptors ---- */

/* staticmethod(function), classmethod(function), and what is made from them. */
int byvalue_reduce_staticmethod(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *type = (PyObject *)Py_TYPE(obj);
    PyObject *func = PyObject_GetAttr(obj, st->byvalue_str___func__);
    if (!func)
        return -1;
    PyObject *args = PyTuple_Pack(1, func);
    Py_DECREF(func);
    PyObject *state = NULL; /* a staticmethod copies its function's attributes by itself */
    if (args && Py_TYPE(obj) != &PyStaticMethod_Type && Py_TYPE(obj) != &PyClassMethod_Type)
        state = dict_state(st, obj, NULL);
    return reduce_with_dict(session, type, args, state, reduced);
}

/* property(get, set, delete, doc); for a class made from it property_(class, get, set, delete, doc),
 * which does not call that class's own __init__. */
int byvalue_reduce_property(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *get = PyObject_GetAttr(obj, st->byvalue_str_fget);
    PyObject *set = get ? PyObject_GetAttr(obj, st->byvalue_str_fset) : NULL;
    PyObject *delete = set ? PyObject_GetAttr(obj, st->byvalue_str_fdel) : NULL;
    PyObject *doc = delete ? PyObject_GetAttr(obj, st->byvalue_str___doc__) : NULL;
    PyObject *get_doc = NULL, *args = NULL, *state = NULL, *callable = st->v1_property_;
    if (!doc || (get != Py_None && compat_find_attr(get, st->byvalue_str___doc__, &get_doc) < 0))
        goto done;
    if (doc == get_doc) /* it has the getter's, and will have it there */
        Py_SETREF(doc, Py_NewRef(Py_None));
    if (Py_TYPE(obj) == &PyProperty_Type) {
        callable = (PyObject *)&PyProperty_Type;
        args = PyTuple_Pack(4, get, set, delete, doc);
    } else {
        args = PyTuple_Pack(5, (PyObject *)Py_TYPE(obj), get, set, delete, doc);
        state = args ? dict_state(st, obj, NULL) : NULL;
    }
done:
    Py_XDECREF(get);
    Py_XDECREF(set);
    Py_XDECREF(delete);
    Py_XDECREF(doc);
    Py_XDECREF(get_doc);
    return reduce_with_dict(session, callable, args, state, reduced);
}

static PyObject *v1_property(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyTypeObject *type = count == 5 ? (PyTypeObject *)args[0] : NULL;
    if (!type || !PyType_Check(args[0]) || !PyType_IsSubtype(type, &PyProperty_Type)) {
        byvalue_bad_stream(state_of_module(module), "property_",
                           "expected (class, get, set, delete, doc)");
        return NULL;
    }
    PyObject *none = PyTuple_New(0);
    PyObject *made = none ? PyProperty_Type.tp_new(type, none, NULL) : NULL;
    PyObject *init_args = made ? PyTuple_Pack(4, args[1], args[2], args[3], args[4]) : NULL;
    if (made && (!init_args || PyProperty_Type.tp_init(made, init_args, NULL) < 0))
        Py_CLEAR(made);
    Py_XDECREF(none);
    Py_XDECREF(init_args);
    return made;
}

/* Up to 3.11 a cached_property holds a lock, which it makes anew for itself. */
int byvalue_reduce_cached_property(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    if (!byvalue_type_is(Py_TYPE(obj), "functools", "cached_property"))
        return 0;
    PyObject *func = PyObject_GetAttrString(obj, "func");
    PyObject *args = func ? PyTuple_Pack(1, func) : NULL;
    Py_XDECREF(func);
    PyObject *state = args ? dict_state(session->st, obj, "lock") : NULL;
    return reduce_with_dict(session, (PyObject *)Py_TYPE(obj), args, state, reduced);
}

/* ---- views ---- */

int byvalue_reduce_mappingproxy(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyObject *args = NULL;
    PyObject *copy = PyDict_New();
    if (copy && PyDict_Update(copy, obj) == 0)
        args = PyTuple_Pack(1, copy);
    Py_XDECREF(copy);
    return byvalue_make_reduce((PyObject *)&PyDictProxy_Type, args, NULL, NULL, reduced);
}

/* memory(bytes or bytearray, format, shape): what the view shows, contiguous. */
int byvalue_reduce_memoryview(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyObject *args = NULL;
    const Py_buffer *view = PyMemoryView_GET_BUFFER(obj);
    PyObject *bytes = PyObject_CallMethod(obj, "tobytes", NULL);
    if (bytes && !view->readonly)
        Py_SETREF(bytes, PyByteArray_FromObject(bytes));
    PyObject *format = PyObject_GetAttrString(obj, "format");
    PyObject *shape = PyObject_GetAttrString(obj, "shape");
    if (bytes && format && shape)
        args = PyTuple_Pack(3, bytes, format, shape);
    Py_XDECREF(bytes);
    Py_XDECREF(format);
    Py_XDECREF(shape);
    return byvalue_make_reduce(session->st->v1_memory, args, NULL, NULL, reduced);
}

static PyObject *v1_memory(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyUnicode_Check(args[1]) || !PyTuple_Check(args[2])) {
        byvalue_bad_stream(state_of_module(module), "memory", "expected (bytes, format, shape)");
        return NULL;
    }
    PyObject *flat = PyMemoryView_FromObject(args[0]);
    if (!flat ||
        (PyUnicode_CompareWithASCIIString(args[1], "B") == 0 && PyTuple_GET_SIZE(args[2]) == 1))
        return flat;
    PyObject *cast = PyObject_CallMethod(flat, "cast", "OO", args[1], args[2]);
    Py_DECREF(flat);
    return cast;
}

/* ---- type variables ---- */

static PyObject *typevar_id(byvalue_session *session, PyObject *obj, PyObject *module,
                            PyObject *positional, PyObject *kwargs)
{
    if (!byvalue_wants_stable_id(session))
        return byvalue_identity_of(session->st, obj);
    PyObject *description =
        PyTuple_Pack(4, (PyObject *)Py_TYPE(obj), module ? module : Py_None, positional, kwargs);
    PyObject *id = description ? byvalue_stable_id(session, obj, description) : NULL;
    Py_XDECREF(description);
    if (id && byvalue_may_claim(session) && byvalue_identity_claim(session->st, id, obj) < 0)
        Py_CLEAR(id);
    return id;
}

/*
 * typevar(id, class, module, arguments, keywords), for TypeVar, ParamSpec and TypeVarTuple. They
 * have an identity as classes have one: a Generic's parameters are compared by it.
 */
int byvalue_reduce_typevar(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    static const struct {
        const char *attribute, *keyword;
    } keywords[] = {{"__bound__", "bound"},
                    {"__covariant__", "covariant"},
                    {"__contravariant__", "contravariant"},
                    {"__infer_variance__", "infer_variance"},
                    {"__default__", "default"}};
    module_state *st = session->st;
    int named = byvalue_has_name(st, obj);
    if (named)
        return named < 0 ? -1 : 0;
    PyObject *args = NULL, *list = NULL, *positional = NULL, *value = NULL, *module = NULL;
    PyObject *id = NULL, *kwargs = PyDict_New();
    PyObject *name = kwargs ? PyObject_GetAttr(obj, st->byvalue_str___name__) : NULL;
    list = name ? PyList_New(0) : NULL;
    if (!list || PyList_Append(list, name) < 0)
        goto done;
    value = PyUnicode_InternFromString("__constraints__");
    PyObject *constraints = NULL;
    int has = value ? compat_find_attr(obj, value, &constraints) : -1;
    if (has == 1)
        has = PyList_SetSlice(list, 1, 1, constraints);
    Py_XDECREF(constraints);
    Py_CLEAR(value);
    if (has < 0 || compat_find_attr(obj, st->byvalue_str___module__, &module) < 0)
        goto done;
    for (size_t i = 0; i < sizeof(keywords) / sizeof(*keywords); i++) {
        PyObject *attribute = PyUnicode_InternFromString(keywords[i].attribute);
        if (!attribute || compat_find_attr(obj, attribute, &value) < 0) {
            Py_XDECREF(attribute);
            goto done;
        }
        Py_DECREF(attribute);
        int is_set = value && value != Py_None && value != Py_False &&
                     strcmp(Py_TYPE(value)->tp_name, "NoDefaultType") != 0;
        if (is_set && PyDict_SetItemString(kwargs, keywords[i].keyword, value) < 0)
            goto done;
        Py_CLEAR(value);
    }
    positional = PyList_AsTuple(list);
    if (positional)
        id = typevar_id(session, obj, module, positional, kwargs);
    if (id)
        args = PyTuple_Pack(5, id, (PyObject *)Py_TYPE(obj), module ? module : Py_None, positional,
                            kwargs);
done:
    Py_XDECREF(id);
    Py_XDECREF(kwargs);
    Py_XDECREF(name);
    Py_XDECREF(list);
    Py_XDECREF(positional);
    Py_XDECREF(value);
    Py_XDECREF(module);
    return byvalue_make_reduce(st->v1_typevar, args, NULL, NULL, reduced);
}

static PyObject *v1_typevar(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    PyObject *made = NULL;
    int at_home;
    if (count != 5 || !PyBytes_CheckExact(args[0]) || !PyType_Check(args[1]) ||
        !PyTuple_CheckExact(args[3]) || !PyDict_CheckExact(args[4])) {
        byvalue_bad_stream(st, "typevar", "expected (id, class, module, arguments, keywords)");
        return NULL;
    }
    if (byvalue_identity_find(st, args[0], &made, &at_home) < 0 || made)
        return made;
    made = PyObject_Call(args[1], args[3], args[4]);
    if (made && (PyObject_SetAttr(made, st->byvalue_str___module__, args[2]) < 0 ||
                 byvalue_identity_adopt(st, args[0], made) < 0))
        Py_CLEAR(made);
    return made;
}

int byvalue_reduce_newtype(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    int named = byvalue_has_name(st, obj);
    if (named)
        return named < 0 ? -1 : 0;
    PyObject *args = NULL;
    PyObject *name = PyObject_GetAttr(obj, st->byvalue_str___name__);
    PyObject *supertype = name ? PyObject_GetAttrString(obj, "__supertype__") : NULL;
    if (supertype)
        args = PyTuple_Pack(2, name, supertype);
    Py_XDECREF(name);
    Py_XDECREF(supertype);
    PyObject *state = args ? dict_state(st, obj, NULL) : NULL;
    return reduce_with_dict(session, (PyObject *)Py_TYPE(obj), args, state, reduced);
}

/* partial(TypeAliasType, type_params=…)(name, value): the standard library's own, in all streams. */
int byvalue_reduce_type_alias(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    int named = byvalue_has_name(session->st, obj);
    if (named)
        return named < 0 ? -1 : 0;
    PyObject *reduce = byvalue_import("achar._type_alias", "reduce");
    *reduced = reduce ? PyObject_CallOneArg(reduce, obj) : NULL;
    Py_XDECREF(reduce);
    return *reduced ? 1 : -1;
}

/* ---- cached functions ---- */

/* lru_cache(function, maxsize, typed): the cache itself starts empty there. */
int byvalue_reduce_lru_cache(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    int named = byvalue_has_name(st, obj);
    if (named)
        return named < 0 ? -1 : 0;
    PyObject *args = NULL, *parameters = NULL;
    PyObject *wrapped = PyObject_GetAttrString(obj, "__wrapped__");
    if (wrapped)
        parameters = PyObject_CallMethod(obj, "cache_parameters", NULL);
    if (parameters)
        args = Py_BuildValue("ONN", wrapped, PyMapping_GetItemString(parameters, "maxsize"),
                             PyMapping_GetItemString(parameters, "typed"));
    Py_XDECREF(wrapped);
    Py_XDECREF(parameters);
    PyObject *state = args ? dict_state(st, obj, "cache_parameters") : NULL;
    return reduce_with_dict(session, st->v1_lru_cache, args, state, reduced);
}

static PyObject *v1_lru_cache(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3) {
        byvalue_bad_stream(state_of_module(module), "lru_cache",
                           "expected (function, maxsize, typed)");
        return NULL;
    }
    PyObject *made = NULL;
    PyObject *lru_cache = byvalue_import("functools", "lru_cache");
    PyObject *decorator = NULL;
    if (lru_cache)
        decorator = PyObject_CallFunctionObjArgs(lru_cache, args[1], args[2], NULL);
    if (decorator)
        made = PyObject_CallOneArg(decorator, args[0]);
    Py_XDECREF(lru_cache);
    Py_XDECREF(decorator);
    return made;
}

/* ---- sentinels ---- */

/* attribute(module, name): an object that is known by where it stands, such as dataclasses.MISSING. */
int byvalue_reduce_sentinel(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyObject *module_name = NULL, *module = NULL, *name, *value;
    int status = 0;
    Py_ssize_t position = 0;
    if (compat_find_attr((PyObject *)Py_TYPE(obj), session->st->byvalue_str___module__,
                         &module_name) < 0)
        return -1;
    module = module_name ? PyImport_GetModule(module_name) : NULL;
    if (module && PyModule_Check(module)) {
        PyObject *dict = PyModule_GetDict(module);
        while (status == 0 && PyDict_Next(dict, &position, &name, &value)) {
            if (value == obj)
                status =
                    byvalue_make_reduce(session->st->v1_attribute,
                                        PyTuple_Pack(2, module_name, name), NULL, NULL, reduced);
        }
    }
    Py_XDECREF(module_name);
    Py_XDECREF(module);
    return PyErr_Occurred() ? -1 : status;
}

static PyObject *v1_attribute(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyUnicode_Check(args[0]) || !PyUnicode_Check(args[1])) {
        byvalue_bad_stream(state_of_module(module), "attribute", "expected (module, name)");
        return NULL;
    }
    PyObject *found = PyImport_Import(args[0]);
    if (!found)
        return NULL;
    PyObject *value = PyObject_GetAttr(found, args[1]);
    Py_DECREF(found);
    return value;
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

PyMethodDef byvalue_v1_small[] = {
    {"property_", FAST(v1_property),
     "property_(class, get, set, delete, doc): an object of a class made from property"},
    {"memory", FAST(v1_memory), "memory(bytes, format, shape): a memoryview"},
    {"typevar", FAST(v1_typevar),
     "typevar(id, class, module, arguments, keywords): a type variable, found or made"},
    {"lru_cache", FAST(v1_lru_cache), "lru_cache(function, maxsize, typed): with an empty cache"},
    {"attribute", FAST(v1_attribute), "attribute(module, name): the attribute, imported"},
    {NULL},
};
