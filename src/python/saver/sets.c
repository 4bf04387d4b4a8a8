/* sets.c - sets and frozensets; written as containers.c says of the others. */
#include "python/saver/containers.h"

#include "python/saver/leaf.h"
#include "python/saver/stable.h"

/* Below protocol 4 a set is a call of its type on a list of its items. */
static int save_set_as_call(saver *s, PyObject *obj, PyTypeObject *type)
{
    if (!saver_push(s, FRAME_REDUCE, obj, 1) || saver_before_python(s) < 0)
        return -1;
    PyObject *items = s->stable ? saver_order(s, obj) : PySequence_List(obj);
    if (!items)
        return -1;
    PyObject *reduced = Py_BuildValue("(O(N))", type, items);
    return reduced && saver_accept_reduced(s, reduced) == 0 ? 1 : -1;
}

int saver_order_reduced_set(saver *s, PyObject *set, PyObject *reduced)
{
    PyTypeObject *type = PyFrozenSet_Check(set) ? &PyFrozenSet_Type : &PySet_Type;
    PyObject *own = _PyType_Lookup(Py_TYPE(set), s->st->str___reduce__);
    if (own != _PyType_Lookup(type, s->st->str___reduce__) || !PyTuple_Check(reduced) ||
        PyTuple_GET_SIZE(reduced) < 2 || !PyTuple_Check(PyTuple_GET_ITEM(reduced, 1)) ||
        PyTuple_GET_SIZE(PyTuple_GET_ITEM(reduced, 1)) != 1)
        return 0;
    PyObject *list = PyTuple_GET_ITEM(PyTuple_GET_ITEM(reduced, 1), 0);
    if (!PyList_CheckExact(list))
        return 0;
    PyObject *items = saver_order(s, list);
    int status = items ? PyList_SetSlice(list, 0, PyList_GET_SIZE(list), items) : -1;
    Py_XDECREF(items);
    return status;
}

/* In a deterministic dump: gives the top frame its items in order, in held[1]. 1 or -1. */
static int order_items(saver *s)
{
    if (!s->stable || PySet_GET_SIZE(saver_top(s)->obj) < 2)
        return 1;
    if (saver_before_python(s) < 0)
        return -1;
    PyObject *items = saver_order(s, saver_top(s)->obj);
    if (!items)
        return -1;
    saver_hold(s, 1, items);
    Py_DECREF(items);
    return 1;
}

/* In the key of an item, where this set may be written otherwise. As saver_write_set_key(). */
static inline int write_key(saver *s, PyObject *obj)
{
    return s->stable ? saver_write_set_key(s, obj) : 0;
}

int saver_begin_set(saver *s, PyObject *obj, int unique)
{
    s->saw_mutable = 1;
    int written = write_key(s, obj);
    if (written)
        return written < 0 ? -1 : 0;
    if (s->protocol < 4)
        return save_set_as_call(s, obj, &PySet_Type);
    *s->out.cursor++ = (char)OP_EMPTY_SET;
    if (saver_memoize(s, obj, unique) < 0)
        return -1;
    if (PySet_GET_SIZE(obj) == 0)
        return 0;
    saver_frame *frame = saver_push_container(s, FRAME_SET, obj, 1, 1);
    if (!frame)
        return -1;
    frame->size = PySet_GET_SIZE(obj);
    return order_items(s);
}

int saver_begin_frozenset(saver *s, PyObject *obj, int unique)
{
    int written = write_key(s, obj);
    if (written)
        return written < 0 ? -1 : 0;
    if (s->protocol < 4)
        return save_set_as_call(s, obj, &PyFrozenSet_Type);
    if (!saver_push_container(s, FRAME_FROZENSET, obj, unique, 1))
        return -1;
    *s->out.cursor++ = OP_MARK;
    return order_items(s);
}

static int next_item(saver_frame *frame, PyObject **item)
{
    PyObject *items = frame->held[1];
    if (!items)
        return compat_set_next(frame->obj, &frame->position, item);
    if (frame->position >= PyList_GET_SIZE(items))
        return 0;
    *item = PyList_GET_ITEM(items, frame->position++);
    return 1;
}

/* The items of a set or frozenset, up to 'limit' in this batch. 1: a child has a frame. */
static int write_set_items(saver *s, Py_ssize_t limit)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        PyObject *item;
        if (frame->batch == limit || !next_item(frame, &item))
            return 0;
        frame->batch++; /* only looked at where limit is */
        int closed = frame->closed;
        if (s->fast_path && s->out.cursor < s->out.soft_end) {
            char *cursor = s->out.cursor;
            int leaf = write_leaf(s, &cursor, item, closed);
            s->out.cursor = cursor;
            if (leaf > 0)
                continue;
            if (leaf < 0)
                return -1;
        }
        int unique = closed && compat_is_unique(item);
        saver_hold(s, 0, item);
        int pushed = saver_save(s, item, unique);
        if (pushed)
            return pushed;
    }
}

int saver_step_set(saver *s)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        if (frame->stage == 0) {
            frame->batch = 0;
            frame->stage = 1;
            if (saver_write_op(s, OP_MARK) < 0)
                return -1;
        }
        int pushed = write_set_items(s, SAVER_BATCH_COUNT);
        if (pushed)
            return pushed < 0 ? -1 : 0;
        frame = saver_top(s);
        frame->stage = 0;
        if (saver_write_op(s, OP_ADDITEMS) < 0)
            return -1;
        if (PySet_GET_SIZE(frame->obj) != frame->size) {
            saver_before_raising(s);
            PyErr_SetString(PyExc_RuntimeError, "set changed size during iteration");
            return -1;
        }
        if (frame->batch < SAVER_BATCH_COUNT)
            break;
    }
    saver_pop(s);
    return 0;
}

int saver_step_frozenset(saver *s)
{
    int pushed = write_set_items(s, -1);
    if (pushed)
        return pushed < 0 ? -1 : 0;
    saver_frame *frame = saver_top(s);
    PyObject *set = frame->obj;
    int unique = frame->closed;
    Py_ssize_t position = unique ? -1 : saver_memo_find(s->memo, set);
    if (position >= 0) {
        if (saver_write_op(s, OP_POP_MARK) < 0 || saver_write_get(s, position) < 0)
            return -1;
    } else if (saver_write_op(s, OP_FROZENSET) < 0 || saver_memoize(s, set, unique) < 0) {
        return -1;
    }
    saver_pop(s);
    return 0;
}
