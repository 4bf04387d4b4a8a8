/*
 * saver_instance.c - instances for which object.__reduce_ex__ would say the usual thing.
 *
 * Most classes leave pickling to object: the answer is then always copyreg.__newobj__, the class
 * and the instance's __dict__. Where that is certain it is written without asking:
 *
 *     class  )  NEWOBJ  MEMOIZE  __dict__  BUILD
 *
 * Certain means: the type is an ordinary class (nothing of list, dict, int, …, no slots, no hidden
 * C state); the methods that pickle looks up are object's own, on the type (looked up once, until
 * Python code runs) and not shadowed in the instance's __dict__ (looked at for every instance); and
 * copyreg has no entry for the type.
 *
 * FRAME_INSTANCE: obj the instance; held[0] its __dict__, NULL if there is no state to write.
 */
#include "saver_engine.h"

/* The names that pickling looks up on an instance. */
#define HOOKS(X)                                                                                   \
    X(__reduce_ex__)                                                                               \
    X(__reduce__)                                                                                  \
    X(__getstate__)                                                                                \
    X(__getnewargs_ex__)                                                                           \
    X(__getnewargs__)                                                                              \
    X(__class__)

static int has_no_slots(saver *s, PyTypeObject *type)
{
    PyObject *names = PyDict_GetItemWithError(type->tp_dict, s->st->str___slotnames__);
    if (names) {
        Py_INCREF(names);
    } else if (!PyErr_Occurred()) { /* as object.__reduce_ex__ does; it leaves them in the class */
        names = PyObject_CallOneArg(s->st->copyreg_slotnames, (PyObject *)type);
    }
    if (!names) {
        PyErr_Clear(); /* asking in the ordinary way will find the same error */
        return 0;
    }
    int none = names == Py_None || (PyList_Check(names) && PyList_GET_SIZE(names) == 0);
    Py_DECREF(names);
    return none;
}

/* Runs Python code at times. */
static int find_out(saver *s, PyTypeObject *type)
{
    const unsigned long other_bases = Py_TPFLAGS_LONG_SUBCLASS | Py_TPFLAGS_LIST_SUBCLASS |
                                      Py_TPFLAGS_TUPLE_SUBCLASS | Py_TPFLAGS_BYTES_SUBCLASS |
                                      Py_TPFLAGS_UNICODE_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS |
                                      Py_TPFLAGS_BASE_EXC_SUBCLASS | Py_TPFLAGS_TYPE_SUBCLASS;
    if ((type->tp_flags & other_bases) || type->tp_itemsize != 0 || !type->tp_new ||
        type->tp_getattro != PyObject_GenericGetAttr)
        return 0;
    if (s->superset && byvalue_concerns(s->st, type))
        return 0;
    Py_ssize_t plain_nbytes = PyBaseObject_Type.tp_basicsize;
    if (type->tp_dictoffset > 0)
        plain_nbytes += (Py_ssize_t)sizeof(PyObject *);
    if (type->tp_weaklistoffset > 0)
        plain_nbytes += (Py_ssize_t)sizeof(PyObject *);
    if (type->tp_basicsize > plain_nbytes)
        return 0;
#define IS_OBJECTS_OWN(name)                                                                       \
    if (_PyType_Lookup(type, s->st->str_##name) !=                                                 \
        _PyType_Lookup(&PyBaseObject_Type, s->st->str_##name))                                     \
        return 0;
    HOOKS(IS_OBJECTS_OWN)
#undef IS_OBJECTS_OWN
    PyObject *reducer = PyDict_GetItemWithError(s->st->copyreg_dispatch_table, (PyObject *)type);
    if (reducer || PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return has_no_slots(s, type);
}

/* Of the type of the top frame's object. Runs Python code where it is not known yet. */
static int type_is_direct(saver *s, PyTypeObject *type)
{
    for (int i = 0; i < s->facts_used; i++)
        if (s->facts[i].type == type)
            return s->facts[i].direct;
    if (saver_before_python(s) < 0)
        return -1;
    int direct = find_out(s, type);
    if (s->facts_used == SAVER_TYPE_CACHE)
        s->facts_used = 0;
    s->facts[s->facts_used++] = (saver_type_fact){type, direct};
    return direct;
}

/* Does the instance's own __dict__ hold one of the names, or a key that cannot be told? */
static int shadows_hooks(saver *s, PyObject *dict)
{
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key) || !PyUnicode_IS_COMPACT_ASCII(key)) {
            if (!PyUnicode_CheckExact(key))
                return 1;
            continue;
        }
        const char *text = (const char *)PyUnicode_1BYTE_DATA(key);
        if (text[0] != '_' || text[1] != '_')
            continue;
#define IS_HOOK(name)                                                                              \
    if (strcmp(text, #name) == 0)                                                                  \
        return 1;
        HOOKS(IS_HOOK)
#undef IS_HOOK
    }
    return 0;
}

/* Puts the __dict__ of the top frame's instance into held[0]. 1; 0: ask in the ordinary way; -1. */
static int find_state(saver *s)
{
    saver_frame *frame = saver_top(s);
    PyObject *obj = frame->obj, *made = NULL;
    int hidden;
    PyObject *dict = compat_instance_dict(obj, &hidden);
    if (hidden) {
        /* Making it can set off the garbage collector, up to 3.11. */
        if (PY_VERSION_HEX < 0x030C0000 && saver_before_python(s) < 0)
            return -1;
        made = PyObject_GenericGetDict(obj, NULL);
        if (!made)
            return -1;
        dict = made;
    }
    int plain = !dict || (PyDict_CheckExact(dict) && !shadows_hooks(s, dict));
    if (dict && plain && PyDict_GET_SIZE(dict) > 0) /* an empty one is no state */
        saver_hold(s, 0, dict);
    Py_XDECREF(made); /* the instance keeps it */
    return plain;
}

enum { INSTANCE_START, INSTANCE_MADE, INSTANCE_BUILD };

int saver_step_instance(saver *s)
{
    saver_frame *frame = saver_top(s);
    int status;
    switch (frame->stage) {
    case INSTANCE_START:
        status = type_is_direct(s, Py_TYPE(frame->obj));
        if (status > 0)
            status = find_state(s);
        if (status <= 0) {
            frame->kind = FRAME_REDUCE;
            frame->stage = 0;
            return status;
        }
        frame->stage = INSTANCE_MADE;
        status = saver_save(s, (PyObject *)Py_TYPE(frame->obj), 0);
        if (status != 0)
            return status < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case INSTANCE_MADE: {
        PyObject *obj = frame->obj;
        if (saver_boundary(s) < 0 || saver_write_ops(s, OP_EMPTY_TUPLE, OP_NEWOBJ) < 0)
            return -1;
        int unique = frame->closed;
        Py_ssize_t position = unique ? -1 : saver_memo_find(s->memo, obj);
        if (position >= 0) {
            /* Its class has written it already. */
            if (saver_write_op(s, OP_POP) < 0 || saver_write_get(s, position) < 0)
                return -1;
            break;
        }
        if (saver_memoize(s, obj, unique) < 0)
            return -1;
        if (!frame->held[0])
            break;
        frame->stage = INSTANCE_BUILD;
        status = saver_save(s, frame->held[0], compat_is_unique(frame->held[0]));
        if (status != 0)
            return status < 0 ? -1 : 0;
    }
        /* fall through */
    default:
        if (saver_write_op(s, OP_BUILD) < 0)
            return -1;
    }
    saver_pop(s);
    return 0;
}
