/*
 * instance.c - instances for which object.__reduce_ex__ would say the usual thing.
 *
 * Most classes leave pickling to object: the answer is then always copyreg.__newobj__, the class,
 * what __getnewargs__ says if there is one, and the attributes. Where that is certain it is written
 * without asking:
 *
 *     class  args  NEWOBJ  MEMOIZE  state  BUILD
 *
 * state is the __dict__; with __slots__ it is the pair (__dict__ or None, dict of the slots).
 *
 * Certain means: the class is an ordinary one (nothing of list, dict or exception, no hidden C
 * state); the methods that pickle looks up are object's own and not shadowed in the instance's
 * __dict__; and copyreg has no entry for the type. What concerns the type alone is found out once
 * (type_facts.c). The instance's part is looked at each time.
 *
 * FRAME_INSTANCE: obj the instance; held[0] its state, held[1] its arguments; NULL: none.
 */
#include "python/saver/leaf.h"
#include "python/saver/type_facts.h"
#include "python/saver/value.h"

/* ---- the instance ---- */

/* Does the instance's own __dict__ hold one of the names, or a key that cannot be told? */
static int shadows_hooks(PyObject *dict)
{
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!PyUnicode_CheckExact(key))
            return 1;
        if (!PyUnicode_IS_COMPACT_ASCII(key))
            continue;
        const char *text = (const char *)PyUnicode_1BYTE_DATA(key);
        if (text[0] != '_' || text[1] != '_')
            continue;
#define IS_HOOK(name)                                                                              \
    if (strcmp(text, #name) == 0)                                                                  \
        return 1;
        SAVER_INSTANCE_HOOKS(IS_HOOK)
        IS_HOOK(__getnewargs__)
#undef IS_HOOK
    }
    return 0;
}

/* Puts the __dict__ of the top frame's instance into held[0]. 1; 0: ask in the ordinary way; -1. */
static int find_dict(saver *s)
{
    PyObject *obj = saver_top(s)->obj, *made = NULL;
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
    int plain = !dict || (PyDict_CheckExact(dict) && !shadows_hooks(dict));
    if (dict && plain && PyDict_GET_SIZE(dict) > 0) /* an empty one is no state */
        saver_hold(s, 0, dict);
    Py_XDECREF(made); /* the instance keeps it */
    return plain;
}

/* What __getnewargs__ says, into held[1]: a tuple that nobody else has, as _pickle slices one. */
static int find_arguments(saver *s, PyObject *function)
{
    if (saver_before_python(s) < 0)
        return -1;
    Py_INCREF(function);
    PyObject *args = PyObject_CallOneArg(function, saver_top(s)->obj);
    Py_DECREF(function);
    if (!args)
        return -1;
    if (!PyTuple_Check(args)) {
        PyErr_Format(PyExc_TypeError, "__getnewargs__ should return a tuple, not '%.200s'",
                     Py_TYPE(args)->tp_name);
        Py_DECREF(args);
        return -1;
    }
    if (Py_REFCNT(args) > 1 || !PyTuple_CheckExact(args)) {
        Py_ssize_t size = PyTuple_GET_SIZE(args);
        PyObject *copy = PyTuple_New(size);
        for (Py_ssize_t i = 0; copy && i < size; i++)
            PyTuple_SET_ITEM(copy, i, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        Py_SETREF(args, copy);
        if (!copy)
            return -1;
    }
    saver_hold(s, 1, args);
    Py_DECREF(args);
    return 0;
}

/* ---- slots ---- */

static inline PyObject *slot_value(PyObject *obj, Py_ssize_t offset)
{
    return *(PyObject **)((char *)obj + offset);
}

static int slots_are_as_found(const saver_type_fact *fact)
{
    if (PyList_GET_SIZE(fact->slots) != fact->slot_count)
        return 0;
    for (int i = 0; i < fact->slot_count; i++)
        if (PyList_GET_ITEM(fact->slots, i) != fact->slot_names[i])
            return 0;
    return 1;
}

/* Objects that are written without a frame and without Python code. */
static int is_atom(PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type ||
           type == &PyBytes_Type || type == &PyBool_Type || value == Py_None;
}

/* How many slots are set; '*atoms' is 1 if there are only atoms in them. */
static int count_slots(const saver_type_fact *fact, PyObject *obj, int *atoms)
{
    int count = 0;
    *atoms = 1;
    for (int i = 0; i < fact->slot_count; i++) {
        PyObject *value = slot_value(obj, fact->slot_offsets[i]);
        if (!value)
            continue;
        count++;
        *atoms = *atoms && is_atom(value);
    }
    return count;
}

/* Makes the pair of __dict__ and slots and puts it into held[0] of the top frame. */
static int make_slots_state(saver *s, const saver_type_fact *fact)
{
    /* The collector may run, and the fact be overwritten. */
    saver_type_fact kept = *fact;
    if (saver_before_python(s) < 0)
        return -1;
    PyObject *names[SAVER_FACT_SLOTS_MAX], *values[SAVER_FACT_SLOTS_MAX], *pair = NULL;
    PyObject *obj = saver_top(s)->obj, *dict = saver_top(s)->held[0];
    int status = -1, count = 0;
    for (int i = 0; i < kept.slot_count; i++) {
        PyObject *value = slot_value(obj, kept.slot_offsets[i]);
        if (!value)
            continue;
        names[count] = Py_NewRef(kept.slot_names[i]);
        values[count++] = Py_NewRef(value);
    }
    PyObject *slots = PyDict_New();
    if (!slots)
        goto done;
    for (int i = 0; i < count; i++)
        if (PyDict_SetItem(slots, names[i], values[i]) < 0)
            goto done;
    pair = PyTuple_Pack(2, dict ? dict : Py_None, slots);
    if (!pair)
        goto done;
    saver_hold(s, 0, pair);
    status = 0;
done:
    Py_XDECREF(pair);
    Py_XDECREF(slots);
    for (int i = 0; i < count; i++) {
        Py_DECREF(names[i]);
        Py_DECREF(values[i]);
    }
    return status;
}

/* The state (None, {slot: atom, …}), written without making it. */
static int write_atom_slots(saver *s, const saver_type_fact *fact, PyObject *obj, int count)
{
    if (saver_boundary(s) < 0 || saver_write_op(s, OP_NONE) < 0 || saver_boundary(s) < 0 ||
        saver_write_op(s, OP_EMPTY_DICT) < 0 || saver_memoize_phantom(s) < 0)
        return -1;
    if (count > 1 && saver_write_op(s, OP_MARK) < 0)
        return -1;
    for (int i = 0; i < fact->slot_count; i++) {
        PyObject *value = slot_value(obj, fact->slot_offsets[i]);
        if (!value)
            continue;
        if (saver_save(s, fact->slot_names[i], 0) < 0 ||
            saver_save(s, value, compat_is_unique(value)) < 0)
            return -1;
    }
    if (saver_write_ops(s, count > 1 ? OP_SETITEMS : OP_SETITEM, OP_TUPLE2) < 0)
        return -1;
    return saver_memoize_phantom(s) < 0 ? -1 : saver_write_op(s, OP_BUILD);
}

/* ---- writing ---- */

int saver_write_made(saver *s)
{
    saver_frame *frame = saver_top(s);
    int unique = frame->closed;
    Py_ssize_t position = unique ? -1 : saver_memo_find(s->memo, frame->obj);
    if (position < 0)
        return saver_memoize(s, frame->obj, unique);
    if (saver_write_op(s, OP_POP) < 0 || saver_write_get(s, position) < 0)
        return -1;
    return 1;
}

/*
 * All of an instance at once, if that needs no Python code: its class is in the memo, it has no
 * arguments and no __dict__, and only atoms in its slots. 1: written; 0; -1.
 */
static int write_at_once(saver *s, const saver_type_fact *fact)
{
    saver_frame *frame = saver_top(s);
    PyObject *obj = frame->obj;
    Py_ssize_t class_position = saver_memo_find(s->memo, (PyObject *)fact->type);
    int atoms, count = count_slots(fact, obj, &atoms);
    if (!s->fast_path || s->out.write || class_position < 0 || !atoms)
        return 0;
    if (saver_boundary(s) < 0 || saver_write_get(s, class_position) < 0 || saver_boundary(s) < 0 ||
        saver_write_ops(s, OP_EMPTY_TUPLE, OP_NEWOBJ) < 0)
        return -1;
    int known = saver_write_made(s);
    if (known == 0 && count > 0)
        known = write_atom_slots(s, fact, obj, count);
    if (known < 0)
        return -1;
    saver_pop(s);
    return 1;
}

/* What the class said holds no more: a callback, or the collector, gave the object another. */
static inline int has_turned(saver *s, PyTypeObject *type)
{
    return Py_TYPE(saver_top(s)->obj) != type;
}

/* Like start(), for an instance of 'type', to which the caller holds a reference. */
static int start_as(saver *s, PyTypeObject *type)
{
    const saver_type_fact *fact = saver_fact_of(s, type);
    if (!fact)
        return -1;
    if (fact->value_kind && saver_value_fits(s)) {
        saver_frame *frame = saver_top(s);
        frame->size = fact->value_kind;
        int written = saver_write_value(s, frame->obj, fact->value_kind);
        if (written == 0) {
            frame->kind = FRAME_VALUE;
            return 2;
        }
        if (written < 0 || saver_write_made(s) < 0)
            return -1;
        saver_pop(s);
        return 2;
    }
    if (!fact->direct)
        return 0;
    int status = find_dict(s);
    if (status <= 0)
        return status;
    if (has_turned(s, type))
        return 0;
    fact = saver_fact_of(s, type); /* the collector may have run, and all be changed */
    if (!fact || !fact->direct)
        return fact ? 0 : -1;
    if (fact->new_arguments) {
        if (find_arguments(s, fact->new_arguments) < 0)
            return -1;
        if (has_turned(s, type))
            return 0;
        fact = saver_fact_of(s, type);
        if (!fact || !fact->direct)
            return fact ? 0 : -1;
        saver_hold(s, 0, NULL);
        status = find_dict(s);
        if (status <= 0)
            return status;
        if (has_turned(s, type))
            return 0;
        fact = saver_fact_of(s, type);
        if (!fact || !fact->direct)
            return fact ? 0 : -1;
    }
    if (!fact->slots)
        return 1;
    if (!slots_are_as_found(fact))
        return 0;
    saver_frame *frame = saver_top(s);
    if (!frame->held[0] && !frame->held[1]) {
        status = write_at_once(s, fact);
        if (status != 0)
            return status < 0 ? -1 : 2;
    }
    int atoms;
    if (count_slots(fact, frame->obj, &atoms) > 0 && make_slots_state(s, fact) < 0)
        return -1;
    return 1;
}

/*
 * Finds arguments and state. 1: go on; 0: ask in the ordinary way; 2: it is written, or another kind
 * of frame writes it; -1.
 */
static int start(saver *s)
{
    PyTypeObject *type = (PyTypeObject *)Py_NewRef(Py_TYPE(saver_top(s)->obj));
    int status = start_as(s, type);
    Py_DECREF(type);
    return status;
}

static int save_empty_tuple(saver *s)
{
    PyObject *empty = PyTuple_New(0); /* the only one, which the interpreter keeps */
    int status = empty ? saver_save(s, empty, 0) : -1;
    Py_XDECREF(empty);
    return status;
}

enum { INSTANCE_START, INSTANCE_ARGUMENTS, INSTANCE_MADE, INSTANCE_BUILD };

int saver_step_instance(saver *s)
{
    saver_frame *frame = saver_top(s);
    int status;
    switch (frame->stage) {
    case INSTANCE_START:
        status = start(s);
        if (status == 2)
            return 0;
        if (status < 0)
            return -1;
        if (status == 0) {
            saver_hold(s, 0, NULL);
            saver_hold(s, 1, NULL);
            frame->kind = FRAME_REDUCE;
            return 0;
        }
        frame->stage = INSTANCE_ARGUMENTS;
        status = saver_save(s, (PyObject *)Py_TYPE(frame->obj), 0);
        if (status != 0)
            return status < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case INSTANCE_ARGUMENTS:
        frame->stage = INSTANCE_MADE;
        if (frame->held[1])
            status = saver_save(s, frame->held[1], 0);
        else if (s->hooks->persistent_id) /* which is asked about () too */
            status = save_empty_tuple(s);
        else
            status = saver_boundary(s) < 0 ? -1 : saver_write_op(s, OP_EMPTY_TUPLE);
        if (status != 0)
            return status < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case INSTANCE_MADE:
        status = saver_write_op(s, OP_NEWOBJ) < 0 ? -1 : saver_write_made(s);
        if (status < 0)
            return -1;
        if (status > 0 || !frame->held[0])
            break;
        frame->stage = INSTANCE_BUILD;
        status = saver_save(s, frame->held[0], compat_is_unique(frame->held[0]));
        if (status != 0)
            return status < 0 ? -1 : 0;
        /* fall through */
    default:
        if (saver_write_op(s, OP_BUILD) < 0)
            return -1;
    }
    saver_pop(s);
    return 0;
}
