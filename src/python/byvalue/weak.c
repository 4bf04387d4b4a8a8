/*
 * weak.c - weak references and what is made of them, with what they point to.
 *
 * In a stream a weak reference is weak(class, object or None[, callback]), None for one that is
 * dead. The object goes along and is, there as here, kept alive by whatever else refers to it: one
 * that nothing else in the stream refers to is gone when loading ends, and the reference is dead.
 *
 * The weak containers of the standard library hold references with callbacks into themselves. They
 * are weak_container(class), filled item by item through their own methods.
 */
#include "python/byvalue/internal.h"

/* The object that a reference or proxy points to, a new reference; None: it is dead. */
static PyObject *referent_of(PyObject *weak)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *referent;
    int alive = PyWeakref_GetRef(weak, &referent);
    return alive < 0 ? NULL : alive ? referent : Py_NewRef(Py_None);
#else
    return Py_XNewRef(PyWeakref_GetObject(weak));
#endif
}

int byvalue_is_overridden(module_state *st, PyTypeObject *type, PyTypeObject *known)
{
    static const char *const names[] = {"__reduce__", "__reduce_ex__", "__getstate__",
                                        "__getnewargs__", "__getnewargs_ex__"};
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (base == known)
            break;
        PyObject *dict = compat_type_dict(base);
        int found = 0;
        for (size_t k = 0; dict && k < sizeof(names) / sizeof(*names); k++)
            found |= PyDict_GetItemString(dict, names[k]) != NULL;
        Py_XDECREF(dict);
        if (found)
            return 1;
    }
    return PyDict_Contains(st->copyreg_dispatch_table, (PyObject *)type);
}

/* The class in the MRO of 'type' that has this name in this module; borrowed, NULL: none. */
static PyTypeObject *base_named(PyTypeObject *type, const char *module, const char *name)
{
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (byvalue_type_is(base, module, name))
            return base;
    }
    return NULL;
}

/* ---- references ---- */

/* weakref.WeakMethod(method): the reference itself points to the method's object only. */
static PyObject *weak_method_args(PyObject *obj)
{
    PyObject *method = PyObject_CallNoArgs(obj);
    PyObject *args = method ? PyTuple_Pack(2, (PyObject *)Py_TYPE(obj), method) : NULL;
    Py_XDECREF(method);
    return args;
}

int byvalue_reduce_weakref(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyTypeObject *type = Py_TYPE(obj);
    PyTypeObject *method = base_named(type, "weakref", "WeakMethod");
    PyTypeObject *known = method ? method : &_PyWeakref_RefType;
    int overridden = PyType_IsSubtype(type, known) ? byvalue_is_overridden(st, type, known) : 0;
    if (overridden)
        return overridden < 0 ? -1 : 0;
    if (method)
        return byvalue_make_reduce(st->v1_weak, weak_method_args(obj), NULL, NULL, reduced);
    PyObject *args = NULL, *state = NULL, *referent = referent_of(obj);
    PyObject *callback = ((PyWeakReference *)obj)->wr_callback;
    if (referent && callback && referent != Py_None)
        args = PyTuple_Pack(3, (PyObject *)type, referent, callback);
    else if (referent)
        args = PyTuple_Pack(2, (PyObject *)type, referent);
    Py_XDECREF(referent);
    if (args && PyType_IsSubtype(type, &_PyWeakref_RefType) && type != &_PyWeakref_RefType) {
        state = byvalue_object_state(st, obj);
        if (!state)
            Py_CLEAR(args);
        else if (state == Py_None)
            Py_CLEAR(state);
    }
    return byvalue_make_reduce(st->v1_weak, args, state, NULL, reduced);
}

/* A reference of this type to something that is gone at once. */
static PyObject *dead_reference(PyTypeObject *type, int is_method)
{
    PyObject *passing = PySet_New(NULL);
    if (passing && is_method)
        Py_SETREF(passing, PyMethod_New((PyObject *)&PySet_Type, passing));
    if (!passing)
        return NULL;
    PyObject *made = NULL;
    if (type == &_PyWeakref_ProxyType || type == &_PyWeakref_CallableProxyType)
        made = PyWeakref_NewProxy(passing, NULL);
    else
        made = PyObject_CallFunctionObjArgs((PyObject *)type, passing, NULL);
    Py_DECREF(passing);
    return made;
}

static PyObject *v1_weak(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyTypeObject *type = count >= 2 && PyType_Check(args[0]) ? (PyTypeObject *)args[0] : NULL;
    int is_proxy = type == &_PyWeakref_ProxyType || type == &_PyWeakref_CallableProxyType;
    if (!type || count > 3 || !(is_proxy || PyType_IsSubtype(type, &_PyWeakref_RefType))) {
        byvalue_bad_stream(state_of_module(module), "weak", "expected (class, object[, callback])");
        return NULL;
    }
    PyObject *callback = count == 3 ? args[2] : NULL;
    int is_method = base_named(type, "weakref", "WeakMethod") != NULL;
    if (args[1] == Py_None)
        return dead_reference(type, is_method);
    if (is_proxy)
        return PyWeakref_NewProxy(args[1], callback);
    if (is_method)
        return PyObject_CallFunctionObjArgs(args[0], args[1], NULL);
    PyObject *new_args = PyTuple_Pack(callback ? 2 : 1, args[1], callback);
    PyObject *made = new_args ? _PyWeakref_RefType.tp_new(type, new_args, NULL) : NULL;
    Py_XDECREF(new_args);
    return made;
}

/* ---- containers ---- */

static const struct {
    const char *module, *name;
} containers[] = {
    {"weakref", "WeakKeyDictionary"},
    {"weakref", "WeakValueDictionary"},
    {"_weakrefset", "WeakSet"},
};
enum { WEAK_SET = 2, CONTAINER_COUNT = 3 };

static PyTypeObject *container_base(PyTypeObject *type, int *kind)
{
    for (*kind = 0; *kind < CONTAINER_COUNT; ++*kind) {
        PyTypeObject *base = base_named(type, containers[*kind].module, containers[*kind].name);
        if (base)
            return base;
    }
    return NULL;
}

/* What a subclass or user put into the __dict__, beside what __init__ makes; NULL: nothing. */
static PyObject *own_state(module_state *st, PyObject *obj)
{
    static const char *const made[] = {"data",       "_remove",          "_pending_removals",
                                       "_iterating", "_commit_removals", "_dirty_len"};
    PyObject *dict = NULL, *state = NULL;
    if (compat_find_attr(obj, st->byvalue_str___dict__, &dict) <= 0)
        return NULL;
    state = PyDict_Check(dict) ? PyDict_Copy(dict) : NULL;
    Py_DECREF(dict);
    for (size_t i = 0; state && i < sizeof(made) / sizeof(*made); i++) {
        if (PyDict_GetItemString(state, made[i]) && PyDict_DelItemString(state, made[i]) < 0)
            Py_CLEAR(state);
    }
    if (state && PyDict_GET_SIZE(state) == 0)
        Py_CLEAR(state);
    return state;
}

/* weak_container(class), then its items: as a dict's, or one by one through WeakSet.update. */
int byvalue_reduce_weak_container(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    int kind;
    PyObject *items = NULL, *list = NULL, *args = NULL, *state = NULL, *both = NULL;
    PyTypeObject *base = container_base(Py_TYPE(obj), &kind);
    int overridden = base ? byvalue_is_overridden(st, Py_TYPE(obj), base) : 1;
    if (overridden)
        return overridden < 0 ? -1 : 0;
    if (kind == WEAK_SET)
        list = byvalue_in_order(session, obj);
    else if ((items = PyObject_CallMethod(obj, "items", NULL)))
        list = PySequence_List(items);
    args = list ? PyTuple_Pack(1, (PyObject *)Py_TYPE(obj)) : NULL;
    state = args ? own_state(st, obj) : NULL;
    if (!args || (!state && PyErr_Occurred()))
        goto done;
    if (kind == WEAK_SET) {
        both = PyTuple_Pack(2, list, state ? state : Py_None);
        *reduced = both ? PyTuple_Pack(6, st->v1_weak_container, args, both, Py_None, Py_None,
                                       st->v1_weak_set_state)
                        : NULL;
    } else {
        PyObject *iterator = PyObject_GetIter(list);
        *reduced = iterator ? PyTuple_Pack(5, st->v1_weak_container, args, state ? state : Py_None,
                                           Py_None, iterator)
                            : NULL;
        Py_XDECREF(iterator);
    }
done:
    Py_XDECREF(items);
    Py_XDECREF(list);
    Py_XDECREF(args);
    Py_XDECREF(state);
    Py_XDECREF(both);
    return *reduced ? 1 : -1;
}

static PyObject *v1_weak_container(PyObject *module, PyObject *cls)
{
    int kind;
    PyTypeObject *base = PyType_Check(cls) ? container_base((PyTypeObject *)cls, &kind) : NULL;
    if (!base) {
        byvalue_bad_stream(state_of_module(module), "weak_container",
                           "expected a class made from one of the weak containers");
        return NULL;
    }
    PyObject *none = PyTuple_New(0);
    PyObject *made = none ? PyBaseObject_Type.tp_new((PyTypeObject *)cls, none, NULL) : NULL;
    Py_XDECREF(none);
    /* its own __init__, not that of a class made from it, which may want arguments */
    PyObject *done = made ? PyObject_CallMethod((PyObject *)base, "__init__", "O", made) : NULL;
    if (!done)
        Py_CLEAR(made);
    Py_XDECREF(done);
    return made;
}

static PyObject *v1_weak_set_state(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    int kind = 0;
    PyTypeObject *base = count == 2 ? container_base(Py_TYPE(args[0]), &kind) : NULL;
    if (!base || kind != WEAK_SET || !PyTuple_CheckExact(args[1]) ||
        PyTuple_GET_SIZE(args[1]) != 2) {
        byvalue_bad_stream(state_of_module(module), "weak_set_state",
                           "expected (WeakSet, (items, dict))");
        return NULL;
    }
    PyObject *items = PyTuple_GET_ITEM(args[1], 0), *dict = PyTuple_GET_ITEM(args[1], 1);
    PyObject *done = PyObject_CallMethod((PyObject *)base, "update", "OO", args[0], items);
    if (!done || dict == Py_None)
        return done;
    Py_DECREF(done);
    PyObject *own = PyObject_GetAttr(args[0], state_of_module(module)->byvalue_str___dict__);
    int status = own ? PyDict_Update(own, dict) : -1;
    Py_XDECREF(own);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

PyMethodDef byvalue_v1_weak[] = {
    {"weak", FAST(v1_weak),
     "weak(class, object or None[, callback]): a weak reference or proxy; None: a dead one"},
    {"weak_container", v1_weak_container, METH_O,
     "weak_container(class): an empty WeakKeyDictionary, WeakValueDictionary or WeakSet"},
    {"weak_set_state", FAST(v1_weak_set_state),
     "weak_set_state(WeakSet, (items, dict or None)): fills it"},
    {NULL},
};
