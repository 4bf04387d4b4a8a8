/*
 * class.c - classes by value; how they are made again is in class_load.c.
 *
 * In a stream a class is
 *
 *    class_(id, metaclass, name, bases, namespace)  then  class_state(class, state)
 *
 * The call makes the skeleton, or finds the class that already has this id (identity.c).
 * Its namespace holds only what must be there when a type is made: __module__, __qualname__,
 * __slots__. All else comes with the state, when the class can be referred to, by its methods for
 * one. The state is (attributes: dict[, registry of an ABC: tuple of classes or None[, what the
 * other side has to generate: tuple (source.c)]]).
 */
#include "python/byvalue/internal.h"

/* ---- what of a class is made with it, and does not travel ---- */

int byvalue_is_python_class(PyTypeObject *type)
{
    if (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE) || (type->tp_flags & Py_TPFLAGS_IMMUTABLETYPE))
        return 0;
    return ((PyHeapTypeObject *)type)->ht_module == NULL;
}

PyTypeObject *byvalue_native_base(PyTypeObject *type)
{
    while (byvalue_is_python_class(type) && type->tp_base)
        type = type->tp_base;
    return type;
}

/* 1 if the type makes this entry of its dict by itself. */
static int is_own_descriptor(PyTypeObject *type, PyObject *value)
{
    if (Py_TYPE(value) == &PyMemberDescr_Type || Py_TYPE(value) == &PyGetSetDescr_Type)
        return PyDescr_TYPE(value) == type;
    return 0;
}

int byvalue_class_has_by_itself(PyTypeObject *type, PyObject *name, PyObject *value)
{
    if (is_own_descriptor(type, value))
        return 1;
    if (!PyUnicode_Check(name) || PyUnicode_GET_LENGTH(name) == 0 ||
        PyUnicode_READ_CHAR(name, 0) != '_')
        return 0;
    if (Py_TYPE(value) == &PyGetSetDescr_Type) /* @dataclass(slots=True) of 3.10 leaves another's */
        return PyUnicode_CompareWithASCIIString(name, "__weakref__") == 0 ||
               PyUnicode_CompareWithASCIIString(name, "__dict__") == 0;
    if (PyDict_CheckExact(value) && PyDict_GET_SIZE(value) == 0 &&
        PyUnicode_CompareWithASCIIString(name, "__annotations__") == 0)
        return 1; /* made when somebody asks */
    return PyUnicode_CompareWithASCIIString(name, "_abc_impl") == 0 ||
           PyUnicode_CompareWithASCIIString(name, "__slotnames__") == 0; /* copyreg's cache */
}

/* ---- out ---- */

/*
 * A builtin class that cannot be found under its own name may be known to one of these modules by
 * another: types.FunctionType. 1: '*args' is (module, name).
 */
static int alias_of_builtin(PyObject *type, PyObject **args)
{
    static const char *const modules[] = {"types", "_collections_abc"};
    *args = NULL;
    for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++) {
        PyObject *module = PyImport_ImportModule(modules[i]), *name, *value;
        Py_ssize_t position = 0;
        if (!module)
            return -1;
        while (PyDict_Next(PyModule_GetDict(module), &position, &name, &value)) {
            if (value == type && PyUnicode_Check(name)) {
                *args = Py_BuildValue("sO", modules[i], name);
                Py_DECREF(module);
                return *args ? 1 : -1;
            }
        }
        Py_DECREF(module);
    }
    return 0;
}

static int reduce_builtin_class(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyObject *args;
    int status = alias_of_builtin(obj, &args);
    if (status == 1)
        return byvalue_make_reduce(session->st->v1_attribute, args, NULL, NULL, reduced);
    if (status == 0)
        PyErr_Format(session->st->PicklingError,
                     "the class %R cannot be sent\n"
                     "  why: it is made by C code, and cannot be imported under its own name\n"
                     "  do:  import it inside the task",
                     obj);
    return -1;
}

/* The names of the slots that the class itself adds, as __slots__ for its skeleton; or NULL. */
static PyObject *slots_of(PyTypeObject *type, PyObject *dict)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    PyObject *slots = PyList_New(0);
    while (slots && PyDict_Next(dict, &position, &name, &value)) {
        if (is_own_descriptor(type, value) && PyList_Append(slots, name) < 0)
            Py_CLEAR(slots);
    }
    if (!slots)
        return NULL;
    PyObject *tuple = PyList_AsTuple(slots);
    Py_DECREF(slots);
    return tuple;
}

static int copy_item(PyObject *to, PyObject *from, PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(from, name);
    if (!value)
        return PyErr_Occurred() ? -1 : 0;
    return PyDict_SetItem(to, name, value);
}

static PyObject *class_id(byvalue_session *session, PyTypeObject *type, PyObject *dict)
{
    module_state *st = session->st;
    if (!byvalue_wants_stable_id(session)) {
        PyObject *known = byvalue_identity_get(st, (PyObject *)type);
        if (known || PyErr_Occurred())
            return Py_XNewRef(known);
        PyObject *first = byvalue_identity_next(st);
        if (first && byvalue_add_definition(st, type, &first) == 0 &&
            byvalue_identity_enter(st, first, (PyObject *)type) < 0)
            Py_CLEAR(first);
        return first;
    }
    PyObject *module = PyDict_GetItemWithError(dict, st->byvalue_str___module__);
    if (!module && PyErr_Occurred())
        return NULL;
    PyObject *description = PyTuple_Pack(3, (PyObject *)type, module ? module : Py_None,
                                         ((PyHeapTypeObject *)type)->ht_qualname);
    PyObject *id = description ? byvalue_stable_id(session, (PyObject *)type, description) : NULL;
    Py_XDECREF(description);
    if (id && !session->portable && session->root == session)
        byvalue_add_definition(st, type, &id); /* clears it when it fails */
    if (id && byvalue_may_claim(session) && byvalue_identity_claim(st, id, (PyObject *)type) < 0)
        Py_CLEAR(id);
    return id;
}

static PyObject *class_args(byvalue_session *session, PyTypeObject *type, PyObject *dict)
{
    module_state *st = session->st;
    PyHeapTypeObject *heap = (PyHeapTypeObject *)type;
    PyObject *args = NULL, *slots = NULL;
    PyObject *id = class_id(session, type, dict);
    PyObject *namespace = id ? PyDict_New() : NULL;
    if (!namespace || copy_item(namespace, dict, st->byvalue_str___module__) < 0)
        goto done;
    if (!byvalue_same_text(heap->ht_qualname, heap->ht_name) &&
        PyDict_SetItem(namespace, st->byvalue_str___qualname__, heap->ht_qualname) < 0)
        goto done;
    int has_slots = PyDict_Contains(dict, st->byvalue_str___slots__);
    if (has_slots < 0)
        goto done;
    if (has_slots) {
        slots = slots_of(type, dict);
        if (!slots || PyDict_SetItem(namespace, st->byvalue_str___slots__, slots) < 0)
            goto done;
    }
    args = PyTuple_Pack(5, id, (PyObject *)Py_TYPE(type), heap->ht_name, type->tp_bases, namespace);
done:
    Py_XDECREF(id);
    Py_XDECREF(namespace);
    Py_XDECREF(slots);
    return args;
}

/* The __slots__ to keep as the attribute: an iterator would be used up, and cannot travel. */
static int keep_slots(module_state *st, PyTypeObject *type, PyObject *dict, PyObject *attributes)
{
    PyObject *slots = PyDict_GetItemWithError(attributes, st->byvalue_str___slots__);
    if (!slots)
        return PyErr_Occurred() ? -1 : 0;
    if (PyUnicode_Check(slots) || PyTuple_Check(slots) || PyList_Check(slots) ||
        PyDict_Check(slots) || PyAnySet_Check(slots))
        return 0;
    slots = slots_of(type, dict);
    int status = slots ? PyDict_SetItem(attributes, st->byvalue_str___slots__, slots) : -1;
    Py_XDECREF(slots);
    return status;
}

/* In a deterministic dump: what 3.13.0's compiler takes from a set is sorted. 0 or -1. */
static int sort_static_attributes(byvalue_session *session, PyObject *attributes)
{
    if (!session->root)
        return 0;
    PyObject *static_attributes = session->st->byvalue_str___static_attributes__;
    PyObject *names = PyDict_GetItemWithError(attributes, static_attributes);
    if (!names || !PyTuple_CheckExact(names))
        return 0;
    PyObject *list = byvalue_in_order(session, names);
    PyObject *sorted = list ? PyList_AsTuple(list) : NULL;
    int status = sorted ? PyDict_SetItem(attributes, static_attributes, sorted) : -1;
    Py_XDECREF(list);
    Py_XDECREF(sorted);
    return status;
}

static PyObject *class_attributes(byvalue_session *session, PyTypeObject *type, PyObject *dict)
{
    module_state *st = session->st;
    PyObject *name, *value;
    Py_ssize_t position = 0;
    PyObject *attributes = PyDict_New();
    while (attributes && PyDict_Next(dict, &position, &name, &value)) {
        if (byvalue_same_text(name, st->byvalue_str___module__) ||
            byvalue_class_has_by_itself(type, name, value))
            continue;
        if (PyDict_SetItem(attributes, name, value) < 0)
            Py_CLEAR(attributes);
    }
    if (attributes && (keep_slots(st, type, dict, attributes) < 0 ||
                       sort_static_attributes(session, attributes) < 0))
        Py_CLEAR(attributes);
    return attributes;
}

/* The classes registered with an ABC, as a tuple; None if 'type' is no ABC or has none. */
static PyObject *abc_registry(byvalue_session *session, PyTypeObject *type, PyObject *dict)
{
    PyObject *dump = NULL, *registry = NULL, *found = NULL, *iterator = NULL, *reference;
    if (Py_TYPE(type) == &PyType_Type ||
        !PyDict_GetItemWithError(dict, session->st->byvalue_str__abc_impl))
        return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    PyObject *get_dump = byvalue_import("_abc", "_get_dump");
    if (!get_dump)
        return NULL;
    dump = PyObject_CallOneArg(get_dump, (PyObject *)type);
    registry = dump ? PySequence_GetItem(dump, 0) : NULL;
    iterator = registry ? PyObject_GetIter(registry) : NULL;
    found = iterator ? PyList_New(0) : NULL;
    while (found && (reference = PyIter_Next(iterator))) {
        PyObject *registered = PyObject_CallNoArgs(reference);
        Py_DECREF(reference);
        if (!registered || (registered != Py_None && PyList_Append(found, registered) < 0))
            Py_CLEAR(found);
        Py_XDECREF(registered);
    }
    if (PyErr_Occurred())
        Py_CLEAR(found);
    Py_DECREF(get_dump);
    Py_XDECREF(dump);
    Py_XDECREF(registry);
    Py_XDECREF(iterator);
    if (found) /* they come from a set */
        Py_SETREF(found, byvalue_in_order(session, found));
    if (!found)
        return NULL;
    PyObject *tuple = PyList_GET_SIZE(found) ? PyList_AsTuple(found) : Py_NewRef(Py_None);
    Py_DECREF(found);
    return tuple;
}

static PyObject *class_state(byvalue_session *session, PyTypeObject *type, PyObject *dict)
{
    PyObject *state = NULL, *generated = NULL;
    PyObject *registry = abc_registry(session, type, dict);
    PyObject *attributes = registry ? class_attributes(session, type, dict) : NULL;
    if (attributes && session->with_source) {
        generated = byvalue_source_prepare((PyObject *)type, attributes);
        if (!generated)
            Py_CLEAR(attributes);
    }
    if (attributes && generated && generated != Py_None)
        state = PyTuple_Pack(3, attributes, registry, generated);
    else if (attributes)
        state = registry == Py_None ? PyTuple_Pack(1, attributes)
                                    : PyTuple_Pack(2, attributes, registry);
    Py_XDECREF(generated);
    Py_XDECREF(attributes);
    Py_XDECREF(registry);
    return state;
}

static int class_by_name(byvalue_session *session, PyObject *obj)
{
    module_state *st = session->st;
    PyObject *module_name = NULL, *qualname = NULL;
    int status = byvalue_class_names(st, (PyTypeObject *)obj, &module_name, &qualname);
    if (status == 0)
        status = compat_find_attr(obj, st->byvalue_str___module__, &module_name);
    if (status == 1 && !qualname)
        qualname = PyObject_GetAttr(obj, st->byvalue_str___qualname__);
    if (status == 1)
        status = qualname ? byvalue_is_named(st, obj, module_name, qualname) : -1;
    if (status == 1)
        status = byvalue_answer_name(session, obj, module_name, qualname);
    Py_XDECREF(module_name);
    Py_XDECREF(qualname);
    return status;
}

int byvalue_reduce_class(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyTypeObject *type = (PyTypeObject *)obj;
    if (type == Py_TYPE(Py_None) || type == Py_TYPE(Py_Ellipsis) ||
        type == Py_TYPE(Py_NotImplemented))
        return 0; /* pickle has a way of its own */
    int named = class_by_name(session, obj);
    if (named == 2 && session->with_source && byvalue_source_reduce_name(session, obj, reduced))
        return *reduced ? 1 : -1;
    if (named)
        return named;
    if (!byvalue_is_python_class(type))
        return reduce_builtin_class(session, obj, reduced);
    PyObject *dict = compat_type_dict(type);
    PyObject *args = dict ? class_args(session, type, dict) : NULL;
    PyObject *state = args ? class_state(session, type, dict) : NULL;
    if (!state)
        Py_CLEAR(args);
    Py_XDECREF(dict);
    return byvalue_answer_call(session, st->v1_class_, args, state, reduced);
}
