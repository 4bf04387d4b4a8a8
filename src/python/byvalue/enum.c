/*
 * enum.c - members of enumerations whose class travels by value.
 *
 * The class's attributes hold its members and the members name their class, so a member must come
 * into being while the class is still a skeleton. In a stream a member is
 *
 *    enum_member(class, name or None, arguments[, value])  then  enum_member_state(member, state)
 *
 * Where the class is complete the call finds the member: by its name, or, for a combination of
 * flags, by its value. On a skeleton it makes a bare object with the __new__ of the C class that the
 * enumeration is made from (object, int, str, …) and 'arguments', as pickle does for that class;
 * the class's own __new__ does not run again. The state is (__dict__, slots or None).
 */
#include "python/byvalue/internal.h"

/* ---- out ---- */

/* The member that 'class' knows under 'name'; borrowed, NULL with or without an exception. */
static PyObject *member_by_name(module_state *st, PyTypeObject *type, PyObject *name)
{
    PyObject *dict = compat_type_dict(type);
    PyObject *members = PyDict_GetItemWithError(dict, st->byvalue_str__member_map_);
    PyObject *member = NULL;
    if (members && PyDict_Check(members))
        member = PyDict_GetItemWithError(members, name);
    Py_DECREF(dict);
    return member;
}

/* 1 if its objects hold nothing but a __dict__ and weak references to them. */
static int has_only_dict(PyTypeObject *type)
{
    Py_ssize_t nbytes = PyBaseObject_Type.tp_basicsize;
    nbytes += type->tp_dictoffset > 0 ? (Py_ssize_t)sizeof(PyObject *) : 0;
    nbytes += type->tp_weaklistoffset > 0 ? (Py_ssize_t)sizeof(PyObject *) : 0;
    return type->tp_basicsize <= nbytes;
}

/*
 * What the C class's own pickling says of 'member': the arguments of its __new__. '*slots' is what
 * it holds in slots, or None.
 */
static PyObject *native_args(byvalue_session *session, PyObject *member, PyObject **slots)
{
    PyTypeObject *native = byvalue_native_base(Py_TYPE(member));
    PyObject *args = NULL, *callable, *given, *state;
    if (native == &PyBaseObject_Type && has_only_dict(Py_TYPE(member))) {
        *slots = Py_NewRef(Py_None);
        return PyTuple_New(0);
    }
    PyObject *newobj = byvalue_import("copyreg", "__newobj__");
    PyObject *reduced =
        newobj ? PyObject_CallMethod((PyObject *)native, "__reduce_ex__", "Oi", member, 2) : NULL;
    *slots = NULL;
    if (!reduced)
        goto done;
    if (!PyTuple_Check(reduced) || PyTuple_GET_SIZE(reduced) < 2 ||
        !PyTuple_Check(PyTuple_GET_ITEM(reduced, 1))) {
        byvalue_refuse(session->st, member, "its class's __reduce_ex__ is of no known form",
                       "define the enumeration in a module that both sides can import");
        goto done;
    }
    callable = PyTuple_GET_ITEM(reduced, 0);
    given = PyTuple_GET_ITEM(reduced, 1);
    state = PyTuple_GET_SIZE(reduced) > 2 ? PyTuple_GET_ITEM(reduced, 2) : Py_None;
    if (callable == newobj && PyTuple_GET_SIZE(given) >= 1)
        args = PyTuple_GetSlice(given, 1, PyTuple_GET_SIZE(given));
    else if (callable == (PyObject *)Py_TYPE(member))
        args = Py_NewRef(given);
    else
        byvalue_refuse(session->st, member, "it is made from a class that pickles itself",
                       "define the enumeration in a module that both sides can import");
    if (PyTuple_Check(state) && PyTuple_GET_SIZE(state) == 2)
        *slots = Py_NewRef(PyTuple_GET_ITEM(state, 1));
    else
        *slots = Py_NewRef(Py_None);
done:
    Py_XDECREF(newobj);
    Py_XDECREF(reduced);
    return args;
}

int byvalue_reduce_enum_member(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *name = NULL, *value = NULL, *native = NULL, *slots = NULL, *dict = NULL;
    PyObject *args = NULL, *state = NULL;
    int named = byvalue_has_name(st, (PyObject *)Py_TYPE(obj));
    if (named)
        return named < 0 ? -1 : 0;
    /* _name_ and _value_ are plain attributes; name and value may be the user's own. */
    name = PyObject_GetAttr(obj, st->byvalue_str__name_);
    value = name ? PyObject_GetAttr(obj, st->byvalue_str__value_) : NULL;
    native = value ? native_args(session, obj, &slots) : NULL;
    dict = native ? PyObject_GetAttr(obj, st->byvalue_str___dict__) : NULL;
    if (!dict)
        goto done;
    if (PyUnicode_Check(name) && member_by_name(st, Py_TYPE(obj), name) == obj)
        args = PyTuple_Pack(3, (PyObject *)Py_TYPE(obj), name, native);
    else if (!PyErr_Occurred()) /* a combination of flags */
        args = PyTuple_Pack(4, (PyObject *)Py_TYPE(obj), Py_None, native, value);
    state = args ? PyTuple_Pack(2, dict, slots) : NULL;
    if (!state)
        Py_CLEAR(args);
done:
    Py_XDECREF(name);
    Py_XDECREF(value);
    Py_XDECREF(native);
    Py_XDECREF(slots);
    Py_XDECREF(dict);
    return byvalue_answer_call(session, st->v1_enum_member, args, state, reduced);
}

/* ---- in ---- */

/* The combination with this value that the class has already; borrowed. */
static PyObject *member_by_value(PyTypeObject *type, PyObject *value)
{
    PyObject *dict = compat_type_dict(type);
    PyObject *members = PyDict_GetItemString(dict, "_value2member_map_");
    PyObject *member = NULL;
    if (members && PyDict_Check(members))
        member = PyDict_GetItemWithError(members, value);
    Py_DECREF(dict);
    return member;
}

static PyObject *v1_enum_member(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    if (count < 3 || count > 4 || !PyType_Check(args[0]) ||
        !(PyUnicode_Check(args[1]) || (args[1] == Py_None && count == 4)) ||
        !PyTuple_CheckExact(args[2])) {
        byvalue_bad_stream(st, "enum_member", "expected (class, name, arguments[, value])");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)args[0];
    PyObject *member =
        count == 4 ? member_by_value(type, args[3]) : member_by_name(st, type, args[1]);
    if (member || PyErr_Occurred())
        return Py_XNewRef(member);
    PyObject *dict = compat_type_dict(type);
    int complete = PyDict_GetItemString(dict, "_member_map_") != NULL;
    Py_DECREF(dict);
    if (count == 4 && complete)
        return PyObject_CallOneArg(args[0], args[3]);
    PyTypeObject *native = byvalue_native_base(type);
    if (!native->tp_new || native == &PyType_Type) {
        byvalue_bad_stream(st, "enum_member", "this class has no members");
        return NULL;
    }
    return native->tp_new(type, args[2], NULL);
}

static PyObject *v1_enum_member_state(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    if (count != 2 || !PyTuple_CheckExact(args[1]) || PyTuple_GET_SIZE(args[1]) != 2 ||
        !PyDict_Check(PyTuple_GET_ITEM(args[1], 0))) {
        byvalue_bad_stream(st, "enum_member_state", "expected (member, (dict, slots))");
        return NULL;
    }
    PyObject *slots = PyTuple_GET_ITEM(args[1], 1), *name, *value;
    Py_ssize_t position = 0;
    PyObject *dict = PyObject_GetAttr(args[0], st->byvalue_str___dict__);
    if (!dict)
        return NULL;
    int status = 0;
    /* A member that was there before is left as it is. */
    if (PyDict_Check(dict) && !PyDict_GetItemString(dict, "_value_")) {
        status = PyDict_Update(dict, PyTuple_GET_ITEM(args[1], 0));
        while (status == 0 && PyDict_Check(slots) && PyDict_Next(slots, &position, &name, &value))
            status = PyObject_SetAttr(args[0], name, value);
    }
    Py_DECREF(dict);
    return status < 0 ? NULL : Py_NewRef(Py_None);
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

PyMethodDef byvalue_v1_enum[] = {
    {"enum_member", FAST(v1_enum_member),
     "enum_member(class, name, arguments[, value]): a member, found or made bare"},
    {"enum_member_state", FAST(v1_enum_member_state),
     "enum_member_state(member, (dict, slots)): completes one that was made bare"},
    {NULL},
};
