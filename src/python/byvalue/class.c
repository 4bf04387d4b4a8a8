/*
 * class.c - classes by value.
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
 *
 * Making the skeleton is not defining the class again: a metaclass's __new__ and __init__, the
 * bases' __init_subclass__ and the attributes' __set_name__ ran where the class was defined, and
 * what they did to it is in its attributes. They do not run here.
 *
 * A class is at home in the process that first sent it. There its state is left alone when it comes
 * back; elsewhere every load sets it to what the stream says, so that a class, too, arrives as it
 * was when it was sent, whatever an earlier task did to it.
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

static int is_skipped(PyTypeObject *type, PyObject *name, PyObject *value)
{
    if (is_own_descriptor(type, value))
        return 1;
    if (!PyUnicode_Check(name))
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
    if (!byvalue_wants_stable_id(session))
        return byvalue_identity_of(st, (PyObject *)type);
    PyObject *module = PyDict_GetItemWithError(dict, st->byvalue_str___module__);
    if (!module && PyErr_Occurred())
        return NULL;
    PyObject *description = PyTuple_Pack(3, (PyObject *)type, module ? module : Py_None,
                                         ((PyHeapTypeObject *)type)->ht_qualname);
    PyObject *id = description ? byvalue_stable_id(session, (PyObject *)type, description) : NULL;
    Py_XDECREF(description);
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
    PyObject *names = PyDict_GetItemString(attributes, "__static_attributes__");
    if (!session->root || !names || !PyTuple_CheckExact(names))
        return 0;
    PyObject *list = byvalue_in_order(session, names);
    PyObject *sorted = list ? PyList_AsTuple(list) : NULL;
    int status = sorted ? PyDict_SetItemString(attributes, "__static_attributes__", sorted) : -1;
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
        if (byvalue_same_text(name, st->byvalue_str___module__) || is_skipped(type, name, value))
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
    if (Py_TYPE(type) == &PyType_Type || !PyDict_GetItemString(dict, "_abc_impl"))
        return Py_NewRef(Py_None);
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
    PyObject *module_name, *qualname = NULL;
    int status = compat_find_attr(obj, st->byvalue_str___module__, &module_name);
    if (status == 1) {
        qualname = PyObject_GetAttr(obj, st->byvalue_str___qualname__);
        status = qualname ? byvalue_is_named(st, obj, module_name, qualname) : -1;
    }
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
    return byvalue_make_reduce(st->v1_class_, args, state, st->v1_class_state, reduced);
}

/* ---- in: the skeleton ---- */

static PyObject *ignore(PyObject *self, PyObject *args)
{
    return Py_NewRef(Py_None);
}

static PyMethodDef ignore_def = {"__init_subclass__", ignore, METH_VARARGS | METH_KEYWORDS, NULL};

/* Collects the dicts of all Python classes above 'bases' that have an __init_subclass__. */
static PyObject *init_subclass_dicts(module_state *st, PyObject *bases)
{
    PyObject *dicts = PyList_New(0);
    for (Py_ssize_t i = 0; dicts && i < PyTuple_GET_SIZE(bases); i++) {
        PyObject *mro = ((PyTypeObject *)PyTuple_GET_ITEM(bases, i))->tp_mro;
        for (Py_ssize_t k = 0; dicts && mro && k < PyTuple_GET_SIZE(mro); k++) {
            PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, k);
            if (!(base->tp_flags & Py_TPFLAGS_HEAPTYPE))
                continue;
            PyObject *dict = compat_type_dict(base);
            int has = PyDict_Contains(dict, st->byvalue_str___init_subclass__);
            for (Py_ssize_t d = 0; has == 1 && d < PyList_GET_SIZE(dicts); d++)
                has = PyList_GET_ITEM(dicts, d) != dict;
            if (has < 0 || (has && PyList_Append(dicts, dict) < 0))
                Py_CLEAR(dicts);
            Py_DECREF(dict);
        }
    }
    return dicts;
}

/* Puts into each dict what 'values' has for it, or 'value' for all, and 'values' gets the old. */
static int exchange(module_state *st, PyObject *dicts, PyObject *values, PyObject *value)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(dicts); i++) {
        PyObject *dict = PyList_GET_ITEM(dicts, i);
        PyObject *next = value ? value : PyList_GET_ITEM(values, i);
        PyObject *old = PyDict_GetItemWithError(dict, st->byvalue_str___init_subclass__);
        if (value && (!old || PyList_Append(values, old) < 0))
            return -1;
        if (PyDict_SetItem(dict, st->byvalue_str___init_subclass__, next) < 0)
            return -1;
    }
    return 0;
}

/*
 * type.__new__, or that of the C class that the metaclass is made from, without the bases'
 * __init_subclass__: it finds them through super(), which reads the dicts of the MRO itself, so for
 * the time of the call another function stands there. No Python code runs meanwhile (but for a
 * metaclass with an mro() of its own), and the types' caches never see it.
 */
static PyObject *new_type(module_state *st, PyTypeObject *metaclass, PyObject *args)
{
    PyTypeObject *native = byvalue_native_base(metaclass);
    PyObject *made = NULL, *values = NULL, *nothing = NULL;
    PyObject *dicts = init_subclass_dicts(st, PyTuple_GET_ITEM(args, 1));
    if (!dicts)
        return NULL;
    if (PyList_GET_SIZE(dicts) == 0) {
        made = native->tp_new(metaclass, args, NULL);
        goto done;
    }
    values = PyList_New(0);
    nothing = PyCFunction_New(&ignore_def, NULL);
    if (!values || !nothing)
        goto done;
    int collecting = PyGC_Disable(); /* a finalizer is Python code, too */
    int exchanged = exchange(st, dicts, values, nothing);
    if (exchanged == 0)
        made = native->tp_new(metaclass, args, NULL);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyList_GET_SIZE(values) < PyList_GET_SIZE(dicts))
        PyList_SetSlice(dicts, PyList_GET_SIZE(values), PyList_GET_SIZE(dicts), NULL);
    if (exchange(st, dicts, values, NULL) < 0) {
        PyErr_WriteUnraisable(NULL);
        Py_CLEAR(made);
    }
    PyErr_Restore(type, value, traceback);
    if (collecting)
        PyGC_Enable();
done:
    Py_DECREF(dicts);
    Py_XDECREF(values);
    Py_XDECREF(nothing);
    return made;
}

/* What ABCMeta.__new__ does beside type.__new__. */
static int init_abc(PyObject *made)
{
    PyObject *mro = Py_TYPE(made)->tp_mro;
    int is_abc = 0;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++)
        is_abc |= byvalue_type_is((PyTypeObject *)PyTuple_GET_ITEM(mro, i), "abc", "ABCMeta");
    if (!is_abc)
        return 0;
    PyObject *init = byvalue_import("_abc", "_abc_init");
    PyObject *done = init ? PyObject_CallOneArg(init, made) : NULL;
    Py_XDECREF(init);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *v1_class(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    if (count != 5 || !PyBytes_CheckExact(args[0]) || !PyType_Check(args[1]) ||
        !PyType_IsSubtype((PyTypeObject *)args[1], &PyType_Type) || !PyUnicode_Check(args[2]) ||
        !PyTuple_CheckExact(args[3]) || !PyDict_CheckExact(args[4])) {
        byvalue_bad_stream(st, "class_", "expected (id, metaclass, name, bases, namespace)");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[3]); i++) {
        if (!PyType_Check(PyTuple_GET_ITEM(args[3], i))) {
            byvalue_bad_stream(st, "class_", "a base is no class");
            return NULL;
        }
    }
    PyObject *made = NULL;
    int at_home, found = byvalue_identity_find(st, args[0], &made, &at_home);
    if (found < 0 || made)
        return made;
    PyObject *new_args = PyTuple_Pack(3, args[2], args[3], args[4]);
    if (!new_args)
        return NULL;
    made = new_type(st, (PyTypeObject *)args[1], new_args);
    Py_DECREF(new_args);
    if (made && (init_abc(made) < 0 || byvalue_identity_adopt(st, args[0], made) < 0))
        Py_CLEAR(made);
    return made;
}

/* ---- in: the state ---- */

static int is_dunder(PyObject *name)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);
    return length > 4 && PyUnicode_READ_CHAR(name, 0) == '_' &&
           PyUnicode_READ_CHAR(name, 1) == '_' && PyUnicode_READ_CHAR(name, length - 1) == '_' &&
           PyUnicode_READ_CHAR(name, length - 2) == '_';
}

/*
 * Sets one attribute, past the metaclass's own __setattr__ and its properties. Special names go
 * through type, which keeps the slots in step.
 */
static int set_class_attribute(PyTypeObject *type, PyObject *dict, PyObject *name, PyObject *value)
{
    PyTypeObject *native = byvalue_native_base(Py_TYPE(type));
    if (native != &PyType_Type || is_dunder(name))
        return native->tp_setattro((PyObject *)type, name, value);
    return value ? PyDict_SetItem(dict, name, value) : PyDict_DelItem(dict, name);
}

/* A property keeps the name that its error messages mention where Python code cannot get at it. */
static int name_property(PyTypeObject *type, PyObject *name, PyObject *property)
{
    PyObject *done = NULL, *set_name = NULL;
    PyObject *key = PyUnicode_InternFromString("__set_name__");
    int found = key ? compat_find_attr(property, key, &set_name) : -1;
    if (found == 1)
        done = PyObject_CallFunctionObjArgs(set_name, (PyObject *)type, name, NULL);
    Py_XDECREF(key);
    Py_XDECREF(set_name);
    Py_XDECREF(done);
    return found == 0 || done ? 0 : -1;
}

static int set_class_attributes(PyTypeObject *type, PyObject *dict, PyObject *attributes)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    PyObject *copy = PyDict_Copy(attributes);
    if (!copy)
        return -1;
    int status = 0;
    while (status == 0 && PyDict_Next(copy, &position, &name, &value)) {
        if (!PyUnicode_CheckExact(name)) {
            PyErr_Format(PyExc_TypeError, "the name of a class attribute is %R, no str", name);
            status = -1;
            break;
        }
        Py_INCREF(name);
        PyUnicode_InternInPlace(&name);
        status = set_class_attribute(type, dict, name, value);
        if (status == 0 && Py_TYPE(value) == &PyProperty_Type)
            status = name_property(type, name, value);
        Py_DECREF(name);
    }
    Py_DECREF(copy);
    return status;
}

/* Takes away what the class has by now and the stream does not know. */
static int delete_other_attributes(PyTypeObject *type, PyObject *dict, PyObject *attributes)
{
    int status = 0;
    PyObject *copy = PyDict_Copy(dict), *name, *value;
    Py_ssize_t position = 0;
    if (!copy)
        return -1;
    while (status == 0 && PyDict_Next(copy, &position, &name, &value)) {
        if (!PyUnicode_CheckExact(name) || is_dunder(name) || is_skipped(type, name, value))
            continue;
        int kept = PyDict_Contains(attributes, name);
        status = kept == 0 ? set_class_attribute(type, dict, name, NULL) : kept < 0 ? -1 : 0;
    }
    Py_DECREF(copy);
    return status;
}

static int register_classes(PyObject *type, PyObject *classes)
{
    PyObject *add = byvalue_import("_abc", "_abc_register");
    if (!add)
        return -1;
    int status = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(classes) && status == 0; i++) {
        PyObject *done =
            PyObject_CallFunctionObjArgs(add, type, PyTuple_GET_ITEM(classes, i), NULL);
        Py_XDECREF(done);
        status = done ? 0 : -1;
    }
    Py_DECREF(add);
    return status;
}

/* 1 if the tuple has no such item, or a tuple or None there. */
static int is_tuple_or_none(PyObject *tuple, Py_ssize_t index)
{
    PyObject *item = index < PyTuple_GET_SIZE(tuple) ? PyTuple_GET_ITEM(tuple, index) : Py_None;
    return item == Py_None || PyTuple_CheckExact(item);
}

static PyObject *v1_class_state(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    PyObject *state = count == 2 ? args[1] : NULL;
    if (!state || !PyType_Check(args[0]) || !PyTuple_CheckExact(state) ||
        PyTuple_GET_SIZE(state) < 1 || PyTuple_GET_SIZE(state) > 3 ||
        !PyDict_CheckExact(PyTuple_GET_ITEM(state, 0)) || !is_tuple_or_none(state, 1) ||
        !is_tuple_or_none(state, 2)) {
        byvalue_bad_stream(st, "class_state",
                           "expected (class, (attributes[, registry[, generated]]))");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)args[0];
    int at_home, known = byvalue_identity_known(st, args[0], &at_home);
    if (known < 0)
        return NULL;
    if (!known || !(type->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        byvalue_bad_stream(st, "class_state", "this class was not made by class_");
        return NULL;
    }
    if (at_home)
        return Py_NewRef(Py_None);
    PyObject *attributes = PyTuple_GET_ITEM(state, 0);
    PyObject *dict = compat_type_dict(type);
    int status = delete_other_attributes(type, dict, attributes);
    if (status == 0)
        status = set_class_attributes(type, dict, attributes);
    PyType_Modified(type);
    Py_DECREF(dict);
    if (status == 0 && PyTuple_GET_SIZE(state) > 1 && PyTuple_GET_ITEM(state, 1) != Py_None)
        status = register_classes(args[0], PyTuple_GET_ITEM(state, 1));
    if (status == 0 && PyTuple_GET_SIZE(state) > 2 && PyTuple_GET_ITEM(state, 2) != Py_None)
        status = byvalue_source_complete(args[0], PyTuple_GET_ITEM(state, 2));
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

PyMethodDef byvalue_v1_class[] = {
    {"class_", FAST(v1_class),
     "class_(id, metaclass, name, bases, namespace): a class without its attributes, or the one "
     "that has this id"},
    {"class_state", FAST(v1_class_state),
     "class_state(class, (attributes[, registry[, generated]])): gives it its attributes"},
    {NULL},
};
