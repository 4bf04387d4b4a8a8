/*
 * class_load.c - classes that came by value: the skeleton, then its state (class.c says what is in the
 * stream).
 *
 * Making the skeleton is not defining the class again: a metaclass's __new__ and __init__, the
 * bases' __init_subclass__ and the attributes' __set_name__ ran where the class was defined, and
 * what they did to it is in its attributes. They do not run here.
 *
 * A class is at home in the process that first sent it. There its state is left alone when it comes
 * back; elsewhere every load sets it to what the stream says, so that a class, too, arrives as it
 * was when it was sent, whatever an earlier task did to it; unless it is asked to keep what it has. A class of __main__ that a later run reads is
 * that run's, if its definition is the same: definition.c.
 */
#include "python/byvalue/internal.h"

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
    if (count != 5 || !PyBytes_CheckExact(args[0]) || !PyUnicode_Check(args[2]) ||
        !PyTuple_CheckExact(args[3]) || !PyDict_CheckExact(args[4])) {
        byvalue_bad_stream(st, "class_", "expected (id, metaclass, name, bases, namespace)");
        return NULL;
    }
    if (!PyType_Check(args[1]) || !PyType_IsSubtype((PyTypeObject *)args[1], &PyType_Type)) {
        byvalue_became_other(st, args[1], "a metaclass");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[3]); i++) {
        if (!PyType_Check(PyTuple_GET_ITEM(args[3], i))) {
            byvalue_became_other(st, PyTuple_GET_ITEM(args[3], i), "the base of a class");
            return NULL;
        }
    }
    PyObject *made = NULL;
    int at_home, found = byvalue_identity_find(st, args[0], &made, &at_home);
    if (found < 0 || made)
        return made;
    PyObject *here;
    int redefined = byvalue_find_redefined(st, args[0], args[2], args[4], &here);
    if (redefined < 0)
        return NULL;
    if (redefined == 1) {
        if (byvalue_identity_claim(st, args[0], here) < 0)
            Py_CLEAR(here);
        return here;
    }
    PyObject *new_args = PyTuple_Pack(3, args[2], args[3], args[4]);
    made = new_args ? new_type(st, (PyTypeObject *)args[1], new_args) : NULL;
    if (made && (init_abc(made) < 0 || byvalue_identity_adopt(st, args[0], made) < 0 ||
                 (here && byvalue_note_redefined(st, args[0], here) < 0)))
        Py_CLEAR(made);
    Py_XDECREF(new_args);
    Py_XDECREF(here);
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
        if (!PyUnicode_CheckExact(name) || is_dunder(name) ||
            byvalue_class_has_by_itself(type, name, value))
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

static _Thread_local enum byvalue_class_state chosen;

enum byvalue_class_state byvalue_class_state_choose(enum byvalue_class_state choice)
{
    enum byvalue_class_state before = chosen;
    chosen = choice;
    return before;
}

int byvalue_read_class_state(PyObject *value, enum byvalue_class_state *choice)
{
    *choice = CLASS_STATE_ANY;
    if (!value || value == Py_None)
        return 0;
    if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "keep") == 0)
        *choice = CLASS_STATE_KEEP;
    else if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "reset") == 0)
        *choice = CLASS_STATE_RESET;
    else
        PyErr_Format(PyExc_ValueError, "class_state is 'reset', 'keep' or None, not %R", value);
    return *choice == CLASS_STATE_ANY ? -1 : 0;
}

static int keeps_class_state(module_state *st)
{
    return chosen == CLASS_STATE_ANY ? byvalue_tables_of(st)->keeps_class_state
                                     : chosen == CLASS_STATE_KEEP;
}

static PyObject *set_class_state(PyObject *module, PyObject *value)
{
    enum byvalue_class_state choice;
    byvalue_tables *tables = byvalue_tables_of(state_of_module(module));
    int before = tables->keeps_class_state;
    if (byvalue_read_class_state(value, &choice) < 0)
        return NULL;
    if (choice != CLASS_STATE_ANY)
        tables->keeps_class_state = choice == CLASS_STATE_KEEP;
    return PyUnicode_FromString(before ? "keep" : "reset");
}

static PyMethodDef set_class_state_def = {
    "set_class_state", set_class_state, METH_O,
    "set_class_state($module, choice, /)\n--\n\n"
    "What this process does with a class by value that comes again: 'reset', as it begins, gives\n"
    "it the attributes that the pickle says; 'keep' leaves it as it is here. Returns the choice\n"
    "before. None changes nothing. loads(class_state=) decides for one load. In the process that\n"
    "a class is from it is always left as it is."};

int byvalue_class_load_exec(PyObject *module, module_state *st)
{
    (void)st;
    return state_add_function(module, module, &set_class_state_def, "achar");
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
    if (keeps_class_state(st)) {
        int complete = byvalue_identity_is_complete(st, args[0]);
        if (complete)
            return complete < 0 ? NULL : Py_NewRef(Py_None);
    }
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
    if (status == 0)
        status = byvalue_identity_complete(st, args[0]);
    if (status == 0 && PyDict_GET_SIZE(st->byvalue_redefined))
        status = byvalue_warn_redefined(st, args[0]);
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
