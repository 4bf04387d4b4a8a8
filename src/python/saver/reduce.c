/*
 * reduce.c - objects that are written as a call: what __reduce_ex__, copyreg, a Pickler's
 * hooks or by-value code say of them.
 *
 * FRAME_REDUCE: obj the object (NULL: a call that stands for nothing in the memo); held[0] the
 * reduce tuple, which keeps its items alive; held[1] and held[2] callable and arguments where they
 * are not simply its first two items; 'position' the opcode that makes the object.
 *
 *     ASK ─► CALLABLE ─► ARGUMENTS (─► KEYWORDS) ─► MADE ─► LIST ─► DICT ─► STATE …─► done
 *
 * The object enters the memo at MADE. Before, it can be reached again only through its own
 * arguments; then it is written anew inside, and MADE replaces the outer one by a GET.
 */
#include "python/saver/containers.h"

#include "python/byvalue/sender.h"

enum stage {
    REDUCE_ASK,
    REDUCE_CALLABLE,
    REDUCE_ARGUMENTS,
    REDUCE_KEYWORDS,
    REDUCE_MADE,
    REDUCE_LIST,
    REDUCE_DICT,
    REDUCE_STATE,
    REDUCE_SETTER_OBJECT,
    REDUCE_SETTER_STATE,
    REDUCE_SETTER_CALL,
    REDUCE_BUILD,
    REDUCE_DONE,
};

enum saver_part saver_reduce_part_of(const saver_frame *frame)
{
    if (frame->kind == FRAME_CALL)
        return saver_call_part_of(frame);
    if (frame->kind != FRAME_REDUCE)
        return SAVER_PART_NONE;
    switch ((enum stage)frame->stage) { /* the stage is that of what comes next */
    case REDUCE_ARGUMENTS:
        return SAVER_PART_CALLABLE;
    case REDUCE_KEYWORDS:
    case REDUCE_MADE:
        return SAVER_PART_ARGUMENTS;
    case REDUCE_BUILD:
    case REDUCE_SETTER_CALL:
        return SAVER_PART_STATE;
    case REDUCE_SETTER_OBJECT:
        return SAVER_PART_SETTER;
    default:
        return SAVER_PART_NONE;
    }
}

/* The item of a reduce tuple, NULL where it is absent or None. Borrowed. */
static PyObject *item_of(PyObject *reduced, Py_ssize_t i)
{
    if (i >= PyTuple_GET_SIZE(reduced))
        return NULL;
    PyObject *item = PyTuple_GET_ITEM(reduced, i);
    return item == Py_None ? NULL : item;
}

/* ---- checking a reduce tuple and choosing its form ---- */

static int complain(saver *s, const char *message)
{
    PyErr_SetString(s->st->PicklingError, message);
    return -1;
}

static int check_shape(saver *s, PyObject *reduced)
{
    Py_ssize_t size = PyTuple_GET_SIZE(reduced);
    if (size < 2 || size > 6)
        return complain(s, "tuple returned by __reduce__ must contain 2 through 6 elements");
    if (!PyCallable_Check(PyTuple_GET_ITEM(reduced, 0)))
        return complain(s, "first item of the tuple returned by __reduce__ must be callable");
    if (!PyTuple_Check(PyTuple_GET_ITEM(reduced, 1)))
        return complain(s, "second item of the tuple returned by __reduce__ must be a tuple");
    static const char *const ordinal[] = {"fourth", "fifth"};
    for (int i = 0; i < 2; i++) {
        PyObject *iterator = item_of(reduced, 3 + i);
        if (!iterator || PyIter_Check(iterator))
            continue;
        PyErr_Format(s->st->PicklingError,
                     "%s element of the tuple returned by __reduce__ must be an iterator, not %s",
                     ordinal[i], Py_TYPE(iterator)->tp_name);
        return -1;
    }
    PyObject *state_setter = item_of(reduced, 5);
    if (state_setter && !PyCallable_Check(state_setter)) {
        PyErr_Format(s->st->PicklingError,
                     "sixth element of the tuple returned by __reduce__ must be a function, not %s",
                     Py_TYPE(state_setter)->tp_name);
        return -1;
    }
    return 0;
}

/* __newobj_ex__(cls, args, kwargs): an opcode from protocol 4 on, before that a partial. */
static int accept_newobj_ex(saver *s, PyObject *arguments)
{
    if (PyTuple_GET_SIZE(arguments) != 3) {
        PyErr_Format(s->st->PicklingError,
                     "length of the NEWOBJ_EX argument tuple must be exactly 3, not %zd",
                     PyTuple_GET_SIZE(arguments));
        return -1;
    }
    static const char *const what[] = {
        "first item from NEWOBJ_EX argument tuple must be a class, not %.200s",
        "second item from NEWOBJ_EX argument tuple must be a tuple, not %.200s",
        "third item from NEWOBJ_EX argument tuple must be a dict, not %.200s",
    };
    PyObject *cls = PyTuple_GET_ITEM(arguments, 0);
    PyObject *args = PyTuple_GET_ITEM(arguments, 1);
    PyObject *kwargs = PyTuple_GET_ITEM(arguments, 2);
    int wrong = !PyType_Check(cls) ? 0 : !PyTuple_Check(args) ? 1 : !PyDict_Check(kwargs) ? 2 : -1;
    if (wrong >= 0) {
        PyErr_Format(s->st->PicklingError, what[wrong],
                     Py_TYPE(PyTuple_GET_ITEM(arguments, wrong))->tp_name);
        return -1;
    }
    if (s->protocol >= 4) {
        saver_hold(s, 1, cls);
        saver_hold(s, 2, args);
        saver_top(s)->position = OP_NEWOBJ_EX;
        return 0;
    }
    PyObject *partial = NULL, *partial_args = NULL, *empty = NULL, *cls_new = NULL;
    int status = -1;
    cls_new = PyObject_GetAttr(cls, s->st->str___new__);
    if (!cls_new)
        goto done;
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    partial_args = PyTuple_New(count + 2);
    if (!partial_args)
        goto done;
    PyTuple_SET_ITEM(partial_args, 0, Py_NewRef(cls_new));
    PyTuple_SET_ITEM(partial_args, 1, Py_NewRef(cls));
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SET_ITEM(partial_args, i + 2, Py_NewRef(PyTuple_GET_ITEM(args, i)));
    partial = PyObject_Call(s->st->functools_partial, partial_args, kwargs);
    if (!partial)
        goto done;
    empty = PyTuple_New(0);
    if (!empty)
        goto done;
    saver_hold(s, 1, partial);
    saver_hold(s, 2, empty);
    saver_top(s)->position = OP_REDUCE;
    status = 0;
done:
    Py_XDECREF(empty);
    Py_XDECREF(partial);
    Py_XDECREF(partial_args);
    Py_XDECREF(cls_new);
    return status;
}

/* __newobj__(cls, *args). */
static int accept_newobj(saver *s, PyObject *arguments)
{
    if (PyTuple_GET_SIZE(arguments) < 1)
        return complain(s, "__newobj__ arglist is empty");
    PyObject *cls = PyTuple_GET_ITEM(arguments, 0);
    if (!PyType_Check(cls))
        return complain(s, "args[0] from __newobj__ args is not a type");
    PyObject *obj = saver_top(s)->obj;
    if (obj) {
        PyObject *obj_class;
        int found = compat_find_attr(obj, s->st->str___class__, &obj_class);
        if (found < 0)
            return -1;
        int same = (found ? obj_class : (PyObject *)Py_TYPE(obj)) == cls;
        Py_XDECREF(obj_class);
        if (!same)
            return complain(s, "args[0] from __newobj__ args has the wrong class");
    }
    PyObject *rest = PyTuple_GetSlice(arguments, 1, PyTuple_GET_SIZE(arguments));
    if (!rest)
        return -1;
    saver_hold(s, 1, cls);
    saver_hold(s, 2, rest);
    Py_DECREF(rest);
    saver_top(s)->position = OP_NEWOBJ;
    return 0;
}

/* Is the callable one of copyreg's two by its __name__? Looks the name up only where it must. */
static int is_newobj(saver *s, PyObject *callable, int *ex)
{
    PyObject *name = NULL;
    *ex = 0;
    if (Py_TYPE(callable) == &PyFunction_Type)
        name = Py_NewRef(((PyFunctionObject *)callable)->func_name);
    else if (PyCFunction_CheckExact(callable) && /* its __name__ would be a new str each time */
             !strstr(((PyCFunctionObject *)callable)->m_ml->ml_name, "__newobj"))
        return 0;
    else if (saver_is_plain_class(callable, s->st->str___name__) &&
             !strstr(((PyTypeObject *)callable)->tp_name, "__newobj"))
        return 0;
    else if (compat_find_attr(callable, s->st->str___name__, &name) < 0)
        return -1;
    int is = 0;
    if (name && PyUnicode_Check(name)) {
        is = PyUnicode_CompareWithASCIIString(name, "__newobj__") == 0;
        *ex = PyUnicode_CompareWithASCIIString(name, "__newobj_ex__") == 0;
    }
    Py_XDECREF(name);
    return is || *ex;
}

int saver_accept_reduced(saver *s, PyObject *reduced)
{
    saver_hold(s, 0, reduced);
    Py_DECREF(reduced); /* the frame's now */
    if (check_shape(s, reduced) < 0)
        return -1;
    PyObject *callable = PyTuple_GET_ITEM(reduced, 0), *arguments = PyTuple_GET_ITEM(reduced, 1);
    saver_top(s)->stage = REDUCE_CALLABLE;
    saver_top(s)->position = OP_REDUCE;
    if (s->protocol < 2)
        return 0;
    int ex, is = is_newobj(s, callable, &ex);
    if (is <= 0)
        return is;
    return ex ? accept_newobj_ex(s, arguments) : accept_newobj(s, arguments);
}

/* ---- asking what becomes of an object ---- */

/* From a dispatch table: 1 and a new reference, 0, -1. */
static int find_reducer(saver *s, PyTypeObject *type, PyObject **reducer)
{
    *reducer = NULL;
    PyObject *table = s->hooks->dispatch_table;
    if (!table) {
        *reducer = PyDict_GetItemWithError(s->st->copyreg_dispatch_table, (PyObject *)type);
        Py_XINCREF(*reducer);
        return *reducer ? 1 : PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(table);
    *reducer = PyObject_GetItem(table, (PyObject *)type);
    Py_DECREF(table);
    if (*reducer)
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_KeyError))
        return -1;
    PyErr_Clear();
    return 0;
}

/*
 * Would the type's __reduce_ex__ only call its __reduce__? That is what object's does where
 * getattr(type, '__reduce__') is not object's. 0 when in doubt.
 */
static int is_reduce_all(saver *s, PyTypeObject *type, PyObject *reduce_ex)
{
    if (type->tp_dictoffset != 0) /* an instance may have a __reduce_ex__ of its own */
        return 0;
    PyObject *reduce = _PyType_Lookup(type, s->st->str___reduce__);
    return reduce && reduce_ex == _PyType_Lookup(&PyBaseObject_Type, s->st->str___reduce_ex__) &&
           reduce != _PyType_Lookup(&PyBaseObject_Type, s->st->str___reduce__) &&
           (Py_TYPE(reduce)->tp_flags & Py_TPFLAGS_METHOD_DESCRIPTOR) &&
           saver_is_plain_class((PyObject *)type, s->st->str___reduce__);
}

/* What the object's own methods say; a new reference or NULL with an exception set. */
static PyObject *call_reduce(saver *s, PyObject *obj)
{
    PyObject *method, *reduced = NULL;
    PyTypeObject *type = Py_TYPE(obj);
    if (type->tp_getattro == PyObject_GenericGetAttr) {
        /* An ordinary method is there for sure, and need not be bound first. */
        PyObject *usual = _PyType_Lookup(type, s->st->str___reduce_ex__);
        if (is_reduce_all(s, type, usual))
            return PyObject_CallMethodNoArgs(obj, s->st->str___reduce__);
        if (usual && (Py_TYPE(usual)->tp_flags & Py_TPFLAGS_METHOD_DESCRIPTOR)) {
            PyObject *protocol = PyLong_FromLong(s->protocol);
            PyObject *args[] = {obj, protocol};
            if (protocol)
                reduced = PyObject_VectorcallMethod(s->st->str___reduce_ex__, args, 2, NULL);
            Py_XDECREF(protocol);
            return reduced;
        }
    }
    int found = compat_find_attr(obj, s->st->str___reduce_ex__, &method);
    if (found > 0) {
        PyObject *protocol = PyLong_FromLong(s->protocol);
        if (protocol) {
            reduced = PyObject_CallOneArg(method, protocol);
            Py_DECREF(protocol);
        }
    } else if (found == 0) {
        found = compat_find_attr(obj, s->st->str___reduce__, &method);
        if (found > 0)
            reduced = PyObject_CallNoArgs(method);
        else if (found == 0)
            PyErr_Format(s->st->PicklingError, "can't pickle '%.200s' object: %R",
                         Py_TYPE(obj)->tp_name, obj);
    }
    Py_XDECREF(method);
    return reduced;
}

/* The type of a singleton is type(singleton). */
static PyObject *reduce_singleton_type(PyObject *type)
{
    PyObject *singleton = type == (PyObject *)Py_TYPE(Py_None)             ? Py_None
                          : type == (PyObject *)&PyEllipsis_Type           ? Py_Ellipsis
                          : type == (PyObject *)Py_TYPE(Py_NotImplemented) ? Py_NotImplemented
                                                                           : NULL;
    return singleton ? Py_BuildValue("(O(O))", &PyType_Type, singleton) : NULL;
}

/* ask()'s answer that byvalue_call_of() has the call. */
enum { ASK_CALL = 3 };

/* In by-value pickles: what the class has as __reduce_by_value__() counts instead of a name. */
static int reduce_by_value(PyObject *obj, PyObject **reduced)
{
    PyObject *name = PyUnicode_InternFromString("__reduce_by_value__");
    PyObject *method = NULL;
    int found = name ? compat_find_attr((PyObject *)Py_TYPE(obj), name, &method) : -1;
    if (found > 0) {
        Py_SETREF(*reduced, PyObject_CallOneArg(method, obj));
        if (!*reduced)
            found = -1;
    }
    Py_XDECREF(method);
    Py_XDECREF(name);
    return found < 0 ? -1 : 0;
}

/* Like ask(), for an object of 'type', to which the caller holds a reference. */
static int ask_as(saver *s, PyTypeObject *type, PyObject **reduced)
{
    PyObject *obj = saver_top(s)->obj;
    *reduced = NULL;
    if (s->superset && !s->session && saver_open_session(s) < 0)
        return -1;
    if (s->hooks->reducer_override) {
        PyObject *hook = Py_NewRef(s->hooks->reducer_override);
        *reduced = PyObject_CallOneArg(hook, obj);
        Py_DECREF(hook);
        if (!*reduced)
            return -1;
        if (*reduced != Py_NotImplemented) {
            s->saw_mutable = 1;
            return 1;
        }
        Py_CLEAR(*reduced);
    }
    if (s->superset) {
        int decided = byvalue_reduce(s->session, obj, reduced);
        if (decided == 2) {
            const saver_frame *outer = s->depth > 1 ? &s->frames[s->depth - 2] : NULL;
            if (!outer || saver_reduce_part_of(outer) != SAVER_PART_CALLABLE)
                byvalue_note_sent(s->session, obj);
            return 0; /* saver_begin_global() asks for the name */
        }
        if (decided != 0)   /* 3 is ASK_CALL */
            return decided; /* by-value code itself answers for what changes */
    }
    if (type == &PyType_Type) {
        *reduced = reduce_singleton_type(obj);
        return *reduced ? 1 : PyErr_Occurred() ? -1 : 0;
    }
    if (type == &PyFunction_Type)
        return 0;

    PyObject *reducer;
    int found = find_reducer(s, type, &reducer);
    if (found < 0)
        return -1;
    if (found == 0 && PyType_IsSubtype(type, &PyType_Type))
        return 0;
    if (found > 0) {
        *reduced = PyObject_CallOneArg(reducer, obj);
        Py_DECREF(reducer);
    } else {
        *reduced = call_reduce(s, obj);
    }
    if (*reduced && s->superset && PyUnicode_Check(*reduced) && reduce_by_value(obj, reduced) < 0)
        Py_CLEAR(*reduced);
    if (*reduced && s->stable && PyAnySet_Check(obj) &&
        saver_order_reduced_set(s, obj, *reduced) < 0)
        Py_CLEAR(*reduced);
    if (*reduced && !PyUnicode_Check(*reduced))
        s->saw_mutable = 1;
    return *reduced ? 1 : -1;
}

/*
 * Decides for the top frame's obj. 1: '*reduced' is a new reference; 0: it goes by its name; ASK_CALL; -1.
 * A hook may give the object another class: as in _pickle, the class that it had decides.
 */
static int ask(saver *s, PyObject **reduced)
{
    PyTypeObject *type = (PyTypeObject *)Py_NewRef(Py_TYPE(saver_top(s)->obj));
    int status = ask_as(s, type, reduced);
    Py_DECREF(type);
    return status;
}

static int step_ask(saver *s)
{
    if (saver_before_python(s) < 0)
        return -1;
    PyObject *reduced;
    int decided = ask(s, &reduced);
    if (decided < 0)
        return -1;
    if (decided == 0)
        return saver_begin_global(s, NULL);
    if (decided == ASK_CALL) {
        saver_begin_call(s);
        return saver_step_call(s);
    }
    if (PyUnicode_Check(reduced)) {
        int status = saver_begin_global(s, reduced);
        Py_DECREF(reduced);
        return status;
    }
    if (!PyTuple_Check(reduced)) {
        Py_DECREF(reduced);
        return complain(s, "__reduce__ must return a string or tuple");
    }
    return saver_accept_reduced(s, reduced);
}

/* ---- writing ---- */

/* The object exists now. 1: it had been written inside its own arguments, and that one counts. */
static int write_made(saver *s)
{
    saver_frame *frame = saver_top(s);
    if (saver_write_op(s, (int)frame->position) < 0)
        return -1;
    if (!frame->obj)
        return 0;
    Py_ssize_t position = saver_memo_find(s->memo, frame->obj);
    if (position < 0)
        return saver_memoize(s, frame->obj, 0);
    if (saver_write_op(s, OP_POP) < 0 || saver_write_get(s, position) < 0)
        return -1;
    return 1;
}

static int push_items(saver *s, enum saver_frame_kind kind, PyObject *iterator)
{
    return saver_push(s, kind, iterator, 0) ? 0 : -1;
}

int saver_step_reduce(saver *s)
{
    saver_frame *frame = saver_top(s);
    if (frame->stage == REDUCE_ASK)
        return step_ask(s);

    PyObject *reduced = frame->held[0], *part;
    switch ((enum stage)frame->stage) {
    case REDUCE_CALLABLE:
        frame->stage = REDUCE_ARGUMENTS;
        return saver_save_part(s, frame->held[1] ? frame->held[1] : PyTuple_GET_ITEM(reduced, 0));
    case REDUCE_ARGUMENTS:
        frame->stage = frame->position == OP_NEWOBJ_EX ? REDUCE_KEYWORDS : REDUCE_MADE;
        return saver_save_part(s, frame->held[2] ? frame->held[2] : PyTuple_GET_ITEM(reduced, 1));
    case REDUCE_KEYWORDS:
        frame->stage = REDUCE_MADE;
        return saver_save_part(s, PyTuple_GET_ITEM(PyTuple_GET_ITEM(reduced, 1), 2));
    case REDUCE_MADE: {
        int known = write_made(s);
        if (known < 0)
            return -1;
        frame->stage = known ? REDUCE_DONE : REDUCE_LIST;
        return 0;
    }
    case REDUCE_LIST:
        frame->stage = REDUCE_DICT;
        part = item_of(reduced, 3);
        return part ? push_items(s, FRAME_LIST_ITEMS, part) : 0;
    case REDUCE_DICT:
        frame->stage = REDUCE_STATE;
        part = item_of(reduced, 4);
        return part ? push_items(s, FRAME_DICT_ITEMS, part) : 0;
    case REDUCE_STATE:
        part = item_of(reduced, 2);
        if (!part) {
            frame->stage = REDUCE_DONE;
            return 0;
        }
        if (!item_of(reduced, 5)) {
            frame->stage = REDUCE_BUILD;
            return saver_save_part(s, part);
        }
        frame->stage = REDUCE_SETTER_OBJECT;
        return saver_save_part(s, item_of(reduced, 5));
    case REDUCE_SETTER_OBJECT:
        frame->stage = REDUCE_SETTER_STATE;
        return saver_save_part(s, frame->obj);
    case REDUCE_SETTER_STATE:
        frame->stage = REDUCE_SETTER_CALL;
        return saver_save_part(s, item_of(reduced, 2));
    case REDUCE_SETTER_CALL:
        frame->stage = REDUCE_DONE;
        return saver_write_ops(s, OP_TUPLE2, OP_REDUCE) < 0 ? -1 : saver_write_op(s, OP_POP);
    case REDUCE_BUILD:
        frame->stage = REDUCE_DONE;
        return saver_write_op(s, OP_BUILD);
    case REDUCE_ASK:
    case REDUCE_DONE:
        break;
    }
    saver_pop(s);
    return 0;
}
