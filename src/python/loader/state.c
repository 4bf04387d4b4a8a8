/*
 * state.c - BUILD: gives an object its state.
 *
 * What the interpreter does for any object is done for any object. For plain ones (a class with
 * object's own attribute access and no __setstate__) the same comes about without running Python
 * code, so that the collector stays paused, and for those that have no attributes yet without
 * making their __dict__, as __init__ leaves them.
 *
 * Where the plan says that nobody will fetch the state's dict (plan.c), there is none: its items are
 * on the stack when SETITEMS finds that a BUILD follows, and from there they go into the object.
 * Objects of a class mostly get the same attributes, by the same keys: a shape remembers where each
 * has gone the last time. It holds for as long as the class has not changed (its version) and the
 * keys are the very same objects; then nothing is looked up at all, and each value moves from the
 * stack to its place.
 */
#include "python/loader/core.h"

#include "codec/opcodes.h"

enum {
    SHAPES = SIZE_OR_TINY(8, 1),
    SHAPE_NAMES = 30, /* as many as objects of a class share */
};

/* Where the attributes of a class's objects are. */
typedef struct state_shape {
    PyTypeObject *type; /* owned; NULL: none */
    unsigned version;
    bool of_slots;
    size_t count;
    PyObject *keys[SHAPE_NAMES];   /* owned, as they are in the stream */
    Py_ssize_t where[SHAPE_NAMES]; /* index of its values, or offset in the object */
} state_shape;

struct loader_shapes {
    state_shape shapes[SHAPES];
};

/* Looking up attribute 'name' of 'object' finds nothing in its class, or finds C code there. */
static bool runs_no_python(PyObject *object, PyObject *name)
{
    if (Py_TYPE(object)->tp_getattro != PyObject_GenericGetAttr)
        return false;
    PyObject *found = _PyType_Lookup(Py_TYPE(object), name); /* borrowed */
    return !found || Py_IS_TYPE(found, &PyGetSetDescr_Type);
}

/*
 * The interned string equal to 'key', borrowed: attribute names are interned. Most states have the
 * keys of the state before, as the same objects: a small cache finds those by address.
 */
static PyObject *intern_key(loader *ld, PyObject *key)
{
    if (PyUnicode_CHECK_INTERNED(key))
        return key;
    unsigned slot = (unsigned)((uintptr_t)key >> 5) % LOADER_KEY_CACHE;
    loader_key *cached = &ld->key_cache[slot];
    if (ld->keys_cached & 1u << slot) {
        if (cached->key == key)
            return cached->interned;
        Py_DECREF(cached->key);
        Py_DECREF(cached->interned);
    }
    cached->key = cached->interned = key;
    Py_INCREF(cached->key);
    Py_INCREF(cached->interned);
    ld->keys_cached |= 1u << slot;
    PyUnicode_InternInPlace(&cached->interned);
    return cached->interned;
}

/* ---- shapes ---- */

static state_shape *shape_of(const loader *ld, PyTypeObject *type)
{
    return &ld->shapes->shapes[((uintptr_t)type >> 5) % SHAPES];
}

static void shape_forget(state_shape *shape)
{
    Py_CLEAR(shape->type);
    while (shape->count > 0)
        Py_DECREF(shape->keys[--shape->count]);
}

void loader_shapes_clear(loader *ld)
{
    if (!ld->shapes)
        return;
    for (int i = 0; i < SHAPES; i++)
        shape_forget(&ld->shapes->shapes[i]);
    PyMem_Free(ld->shapes);
    ld->shapes = NULL;
}

/* Remembers where 'object', which had no attributes, has those of items[0, 2 * count) now. */
static void shape_learn(loader *ld, PyObject *object, PyObject **items, size_t count, bool of_slots)
{
    PyTypeObject *type = Py_TYPE(object);
    compat_values at = {NULL};
    unsigned version = compat_type_version(type);
    if (count > SHAPE_NAMES || version == 0 || (!of_slots && !compat_values_of(object, &at)))
        return;
    if (!of_slots && *at.count != count)
        return; /* a name came twice */
    if (!ld->shapes && !(ld->shapes = PyMem_Calloc(1, sizeof *ld->shapes)))
        return; /* without an exception: it is only slower */
    state_shape *shape = shape_of(ld, type);
    shape_forget(shape);
    for (size_t i = 0; i < count; i++) {
        PyObject *key = items[2 * i], *value = items[2 * i + 1];
        if (of_slots) {
            shape->where[i] = compat_slot_offset(type, _PyType_Lookup(type, intern_key(ld, key)));
            if (shape->where[i] < 0 || *(PyObject **)((char *)object + shape->where[i]) != value)
                return;
        } else {
            shape->where[i] = at.indexes[(Py_ssize_t)i * COMPAT_INDEX_STEP];
            if (at.values[shape->where[i]] != value)
                return;
        }
        Py_INCREF(key);
        shape->keys[i] = key;
        shape->count = i + 1;
    }
    Py_INCREF(type);
    shape->type = type;
    shape->version = version;
    shape->of_slots = of_slots;
}

/* Moves the values on the stack into 'object', as the last one of its class had them. */
static bool set_as_before(loader *ld, PyObject *object, PyObject **items, size_t count,
                          bool of_slots)
{
    PyTypeObject *type = Py_TYPE(object);
    const state_shape *shape = ld->shapes ? shape_of(ld, type) : NULL;
    compat_values at = {NULL};
    if (!shape || shape->type != type || shape->count != count || shape->of_slots != of_slots ||
        shape->version != compat_type_version(type))
        return false;
    for (size_t i = 0; i < count; i++)
        if (shape->keys[i] != items[2 * i])
            return false;
    if (of_slots) {
        for (size_t i = 0; i < count; i++)
            if (*(PyObject **)((char *)object + shape->where[i]))
                return false;
        for (size_t i = 0; i < count; i++)
            *(PyObject **)((char *)object + shape->where[i]) = items[2 * i + 1];
    } else {
        if (!compat_values_of(object, &at) || *at.count != 0 ||
            !compat_values_have_room(&at, count))
            return false;
        for (size_t i = 0; i < count; i++) {
            at.values[shape->where[i]] = items[2 * i + 1];
            at.indexes[(Py_ssize_t)i * COMPAT_INDEX_STEP] = (uint8_t)shape->where[i];
        }
        *at.count = (uint8_t)count;
    }
    for (size_t i = 0; i < count; i++)
        Py_DECREF(items[2 * i]); /* never the last: the shape has one */
    ld->top = items;
    return true;
}

/* ---- setting attributes ---- */

/* Is 'object' of a class whose attributes are found and set as object's are? */
static bool is_plain(PyObject *object)
{
    return Py_TYPE(object)->tp_getattro == PyObject_GenericGetAttr &&
           Py_TYPE(object)->tp_setattro == PyObject_GenericSetAttr;
}

/*
 * Would setattr(object, key, value) with this str put the value into the object's __dict__ or, with
 * 'of_slots', into a slot of it, and run nothing?
 */
static bool is_plain_attribute(loader *ld, PyTypeObject *type, PyObject *key, bool of_slots)
{
    PyObject *found = _PyType_Lookup(type, intern_key(ld, key)); /* borrowed */
    return of_slots ? compat_slot_offset(type, found) >= 0
                    : !found || !Py_TYPE(found)->tp_descr_set;
}

/*
 * BUILD with items[0, 2 * count) on top of the stack as the attributes, or as the slots, of an object
 * that has none yet. 1: done, and they have left the stack; 0: it is not such an object, nothing is
 * done; -1: exception.
 */
static int set_attributes(loader *ld, PyObject *object, PyObject **items, size_t count,
                          bool of_slots)
{
    PyTypeObject *type = Py_TYPE(object);
    if (set_as_before(ld, object, items, count, of_slots))
        return 1;
    if (!is_plain(object) || _PyType_Lookup(type, ld->st->str_setstate))
        return 0;
    if (of_slots
            ? type->tp_dictoffset != 0
            : !compat_has_no_attributes_yet(object) || !runs_no_python(object, ld->st->str_dict))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!PyUnicode_CheckExact(items[2 * i]) ||
            !is_plain_attribute(ld, type, items[2 * i], of_slots))
            return 0;
    loader_call_begin(ld); /* where a name comes twice, a value goes, and with it who knows what */
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = PyObject_GenericSetAttr(object, intern_key(ld, items[2 * i]), items[2 * i + 1]);
    loader_call_end(ld);
    if (status < 0)
        return -1;
    shape_learn(ld, object, items, count, of_slots);
    loader_drop(ld, 2 * count);
    return 1;
}

int loader_build_from_stack(loader *ld, size_t count)
{
    const uint8_t *next = ld->in.next;
    size_t left = (size_t)(ld->in.end - next), put_nbytes;
    PyObject **items = ld->top - count; /* items[-1] is the place of the dict */
    ptrdiff_t below = items - 1 - ld->fence;
    int done = 0;
    if (count == 0 || count % 2 != 0)
        return 0;
    if (left >= 1 && next[0] == OP_BUILD && below >= 1) {
        done = set_attributes(ld, items[-2], items, count / 2, false);
        if (done > 0) {
            ld->in.next++;
            ld->top = items - 1;
        }
    } else if (left >= 1 && next[0] == OP_TUPLE2 && below >= 2 && items[-2] == Py_None) {
        /* None, the place, items, SETITEMS, TUPLE2, its PUT, BUILD */
        put_nbytes = loader_put_nbytes(ld, next + 1);
        if (left <= 1 + put_nbytes || next[1 + put_nbytes] != OP_BUILD ||
            (put_nbytes && !loader_memo_is_unwanted(&ld->memo)))
            return 0;
        done = set_attributes(ld, items[-3], items, count / 2, true);
        if (done > 0) {
            if (put_nbytes)
                loader_memo_skip(&ld->memo);
            ld->in.next += 2 + put_nbytes;
            ld->top = items - 2;
            Py_DECREF(Py_None);
        }
    }
    return done;
}

/* ---- BUILD ---- */

/* The same from a dict that exists; what it holds stays there. */
static int build_attributes(loader *ld, PyObject *object, PyObject *state)
{
    Py_ssize_t position = 0;
    PyObject *key, *value;
    if (!is_plain(object) || !compat_has_no_attributes_yet(object))
        return 0;
    while (PyDict_Next(state, &position, &key, &value))
        if (!PyUnicode_CheckExact(key) || !is_plain_attribute(ld, Py_TYPE(object), key, false))
            return 0;
    position = 0;
    while (PyDict_Next(state, &position, &key, &value))
        if (PyObject_GenericSetAttr(object, intern_key(ld, key), value) < 0)
            return -1;
    return 1;
}

/* object.__dict__.update(state), with the keys interned as attribute names are. */
static int build_dict(loader *ld, PyObject *object, PyObject *state)
{
    if (!PyDict_Check(state))
        return loader_fail(ld, "state is not a dictionary");
    bool plain = runs_no_python(object, ld->st->str_dict);
    if (plain && PyDict_CheckExact(state)) {
        int built = build_attributes(ld, object, state);
        if (built)
            return built < 0 ? -1 : 0;
    }
    if (!plain)
        loader_call_begin(ld);
    PyObject *dict = PyObject_GetAttr(object, ld->st->str_dict);
    if (!plain)
        loader_call_end(ld);
    if (!dict)
        return -1;
    bool exact = PyDict_CheckExact(dict);
    int status = 0;
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (status == 0 && PyDict_Next(state, &position, &key, &value)) {
        if (PyUnicode_CheckExact(key))
            key = intern_key(ld, key);
        Py_INCREF(key);
        Py_INCREF(value);
        if (exact && PyUnicode_CheckExact(key)) {
            status = PyDict_SetItem(dict, key, value);
        } else {
            loader_call_begin(ld);
            status = PyObject_SetItem(dict, key, value);
            loader_call_end(ld);
        }
        Py_DECREF(key);
        Py_DECREF(value);
    }
    Py_DECREF(dict);
    return status;
}

/* setattr(object, name, value) for each item of the slots' state. */
static int build_slots(loader *ld, PyObject *object, PyObject *state)
{
    if (!PyDict_Check(state))
        return loader_fail(ld, "slot state is not a dictionary");
    Py_ssize_t position = 0;
    PyObject *key, *value;
    int status = 0;
    while (status == 0 && PyDict_Next(state, &position, &key, &value)) {
        bool plain = false;
        if (PyUnicode_CheckExact(key)) {
            key = intern_key(ld, key); /* setattr would, each time */
            plain = is_plain(object) && is_plain_attribute(ld, Py_TYPE(object), key, true);
        }
        Py_INCREF(key);
        Py_INCREF(value);
        if (plain) {
            PyObject **slot =
                (PyObject **)((char *)object +
                              compat_slot_offset(Py_TYPE(object),
                                                 _PyType_Lookup(Py_TYPE(object), key)));
            plain = !*slot; /* else something goes, and with it who knows what */
            if (plain)
                *slot = Py_NewRef(value);
        }
        if (!plain) {
            loader_call_begin(ld);
            status = PyObject_SetAttr(object, key, value);
            loader_call_end(ld);
        }
        Py_DECREF(key);
        Py_DECREF(value);
    }
    return status;
}

/*
 * object.__setstate__(state) where the class, which finds attributes as object does, has a method of
 * that name. 1: done; 0: it has to be looked up otherwise; -1 with an exception set.
 */
static int call_setstate(loader *ld, PyObject *object, PyObject *state)
{
    if (Py_TYPE(object)->tp_getattro != PyObject_GenericGetAttr)
        return 0;
    PyObject *method = _PyType_Lookup(Py_TYPE(object), ld->st->str_setstate); /* borrowed */
    if (!method || !(Py_TYPE(method)->tp_flags & Py_TPFLAGS_METHOD_DESCRIPTOR))
        return 0;
    loader_call_begin(ld);
    PyObject *result = PyObject_CallMethodOneArg(object, ld->st->str_setstate, state);
    Py_XDECREF(result);
    loader_call_end(ld);
    return result ? 1 : -1;
}

int loader_op_build(loader *ld)
{
    if (loader_above_fence(ld) < 2)
        return loader_fail_underflow(ld);
    PyObject *state = loader_pop(ld), *object = ld->top[-1];
    PyObject *setstate = NULL, *slots = NULL;
    int status = call_setstate(ld, object, state);
    if (status) {
        Py_DECREF(state);
        return status < 0 ? -1 : 0;
    }
    status = -1;
    bool plain = runs_no_python(object, ld->st->str_setstate);
    if (!plain)
        loader_call_begin(ld);
    int found = compat_find_attr(object, ld->st->str_setstate, &setstate);
    if (!plain)
        loader_call_end(ld);
    if (found < 0)
        goto done;
    if (found) {
        loader_call_begin(ld);
        PyObject *result = PyObject_CallOneArg(setstate, state);
        Py_DECREF(setstate);
        Py_XDECREF(result);
        loader_call_end(ld);
        status = result ? 0 : -1;
        goto done;
    }
    if (PyTuple_Check(state) && PyTuple_GET_SIZE(state) == 2) {
        PyObject *pair = state;
        state = PyTuple_GET_ITEM(pair, 0);
        slots = PyTuple_GET_ITEM(pair, 1);
        Py_INCREF(state);
        Py_INCREF(slots);
        Py_DECREF(pair);
    }
    if (state != Py_None && build_dict(ld, object, state) < 0)
        goto done;
    if (slots && build_slots(ld, object, slots) < 0)
        goto done;
    status = 0;
done:
    Py_XDECREF(slots);
    Py_DECREF(state);
    return status;
}
