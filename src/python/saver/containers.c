/*
 * containers.c - lists, tuples and dicts.
 *
 * A container is begun without a frame; its frame's step function goes on where that stopped. The
 * inner loops write numbers and short strings themselves (write_leaf) with the cursor in a register;
 * anything else goes through saver_save(). Which bytes come out, down to empty batches after a
 * multiple of 1000 items, is what CPython's C pickler does.
 */
#include "python/saver/containers.h"

#include "python/saver/leaf.h"

/* ---- runs of leaves ----
 *
 * They stop before what is no leaf, or where the next object may begin a new frame of the output.
 * 0, or -1 with MemoryError set.
 */

/* Tells containers before a run is begun in vain. */
static inline int may_be_leaf(PyObject *obj)
{
    return !PyType_HasFeature(Py_TYPE(obj), Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_TUPLE_SUBCLASS |
                                                Py_TPFLAGS_DICT_SUBCLASS);
}

static int write_list_leaves(saver *s, PyObject *list, Py_ssize_t *position, unsigned *batch,
                             unsigned limit)
{
    char *cursor = s->out.cursor, *soft_end = s->out.soft_end;
    PyObject **items = ((PyListObject *)list)->ob_item;
    Py_ssize_t start = *position, end = start + (Py_ssize_t)(limit - *batch), i = start;
    if (end > PyList_GET_SIZE(list))
        end = PyList_GET_SIZE(list);
    int status = 1;
    for (; i < end && cursor < soft_end; i++) {
        status = write_leaf(s, &cursor, items[i], 1);
        if (status <= 0)
            break;
    }
    s->out.cursor = cursor;
    *position = i;
    *batch += (unsigned)(i - start);
    return status < 0 ? -1 : 0;
}

static int write_tuple_leaves(saver *s, PyObject *tuple, Py_ssize_t *position, int closed)
{
    char *cursor = s->out.cursor, *soft_end = s->out.soft_end;
    Py_ssize_t size = PyTuple_GET_SIZE(tuple), i = *position;
    int status = 1;
    for (; i < size && cursor < soft_end; i++) {
        status = write_leaf(s, &cursor, PyTuple_GET_ITEM(tuple, i), closed);
        if (status <= 0)
            break;
    }
    s->out.cursor = cursor;
    *position = i;
    return status < 0 ? -1 : 0;
}

/*
 * '*key' and '*value' are what it stopped at. LEAVES_END: there is none; LEAVES_KEY: neither is
 * written; LEAVES_VALUE: the key is; -1 with MemoryError set.
 */
enum { LEAVES_END, LEAVES_KEY, LEAVES_VALUE };

static int write_dict_leaves(saver *s, PyObject *dict, Py_ssize_t *position, unsigned *batch,
                             unsigned limit, PyObject **key, PyObject **value)
{
    char *cursor = s->out.cursor, *soft_end = s->out.soft_end;
    Py_ssize_t next = *position;
    unsigned count = *batch;
    int stopped = LEAVES_END, status = 1;
    while (count < limit && PyDict_Next(dict, &next, key, value)) {
        count++;
        stopped = LEAVES_KEY;
        if (cursor >= soft_end || (status = write_leaf(s, &cursor, *key, 1)) <= 0)
            break;
        stopped = LEAVES_VALUE;
        if (cursor >= soft_end || (status = write_leaf(s, &cursor, *value, 1)) <= 0)
            break;
        stopped = LEAVES_END;
    }
    s->out.cursor = cursor;
    *position = next;
    *batch = count;
    return status < 0 ? -1 : stopped;
}

static int tuple_op(const saver *s, Py_ssize_t size)
{
    static const uint8_t small[] = {0, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    return size <= 3 && s->protocol >= 2 ? small[size] : OP_TUPLE;
}

/* ---- the start ---- */

/* What a FRAME_DICT does next: begin a batch; write more items; write held[0] and held[1], or only
 * held[1], first. */
enum { DICT_BATCH, DICT_ITEMS, DICT_PAIR, DICT_VALUE };

/*
 * A container is begun without a frame: as many of its items as are leaves are written first, and
 * most containers consist of nothing else. Not where the frame would be one too many.
 */
static int may_begin_without_frame(saver *s, int budget)
{
    return s->fast_path &&
           (s->superset || compat_has_recursion(s->thread, &s->recursion_used, budget));
}

int saver_begin_list(saver *s, PyObject *obj, int unique)
{
    s->saw_mutable = 1;
    if (s->protocol > 0)
        *s->out.cursor++ = OP_EMPTY_LIST;
    else if (saver_write_ops(s, OP_MARK, OP_LIST) < 0)
        return -1;
    if (saver_memoize(s, obj, unique) < 0)
        return -1;
    Py_ssize_t size = PyList_GET_SIZE(obj), position = 0;
    if (size == 0)
        return 0;
    int begun = may_begin_without_frame(s, 2), single = size == 1;
    unsigned batch = 0;
    if (begun) {
        if (!single)
            *s->out.cursor++ = OP_MARK;
        if (may_be_leaf(PyList_GET_ITEM(obj, 0)) &&
            write_list_leaves(s, obj, &position, &batch, SAVER_BATCH_COUNT) < 0)
            return -1;
        if (position == size)
            return saver_write_op(s, single ? OP_APPEND : OP_APPENDS);
    }
    saver_frame *frame = saver_push_container(s, FRAME_LIST, obj, 1, 2);
    if (!frame)
        return -1;
    frame->stage = (uint8_t)begun;
    frame->single = (uint8_t)single;
    frame->batch = (uint16_t)batch;
    frame->position = position;
    return 1;
}

int saver_begin_dict(saver *s, PyObject *obj, int unique)
{
    s->saw_mutable = 1;
    if (s->protocol > 0)
        *s->out.cursor++ = OP_EMPTY_DICT;
    else if (saver_write_ops(s, OP_MARK, OP_DICT) < 0)
        return -1;
    if (saver_memoize(s, obj, unique) < 0)
        return -1;
    Py_ssize_t size = PyDict_GET_SIZE(obj), position = 0;
    if (size == 0)
        return 0;
    int begun = may_begin_without_frame(s, 2) && size < SAVER_BATCH_COUNT, single = size == 1;
    int stopped = LEAVES_END;
    unsigned batch = 0;
    PyObject *key, *value;
    if (begun) {
        if (!single)
            *s->out.cursor++ = OP_MARK;
        stopped = write_dict_leaves(s, obj, &position, &batch, SAVER_BATCH_COUNT, &key, &value);
        if (stopped < 0)
            return -1;
        if (stopped == LEAVES_END)
            return saver_write_op(s, single ? OP_SETITEM : OP_SETITEMS);
    }
    saver_frame *frame = saver_push_container(s, FRAME_DICT, obj, 1, 2);
    if (!frame)
        return -1;
    frame->size = size;
    if (begun) {
        frame->stage = stopped == LEAVES_KEY ? DICT_PAIR : DICT_VALUE;
        frame->single = (uint8_t)single;
        frame->batch = (uint16_t)batch;
        frame->position = position;
        frame->held[0] = key;
        frame->held[1] = value;
    }
    return 1;
}

int saver_begin_tuple(saver *s, PyObject *obj, int unique)
{
    Py_ssize_t size = PyTuple_GET_SIZE(obj), position = 0;
    if (size == 0)
        return s->protocol > 0 ? saver_write_op(s, OP_EMPTY_TUPLE)
                               : saver_write_ops(s, OP_MARK, OP_TUPLE);
    if (size > 3 || s->protocol < 2)
        *s->out.cursor++ = OP_MARK;
    if (may_begin_without_frame(s, 1)) {
        if (may_be_leaf(PyTuple_GET_ITEM(obj, 0)) &&
            write_tuple_leaves(s, obj, &position, unique) < 0)
            return -1;
        if (position == size) /* leaves do not lead back to it */
            return saver_write_op(s, tuple_op(s, size)) < 0 ? -1 : saver_memoize(s, obj, unique);
    }
    saver_frame *frame = saver_push_container(s, FRAME_TUPLE, obj, unique, 1);
    if (!frame)
        return -1;
    frame->size = size;
    frame->position = position;
    return 1;
}

/* ---- the steps ---- */

/*
 * What a callback may take out of its container while it waits to be written has to be held. In
 * memory nothing runs between fetching an item and its having a frame; with a file, its write()
 * does, and persistent_id().
 */
static inline void hold_item(saver *s, PyObject *item)
{
    if (s->out.write)
        saver_hold(s, 0, item);
}

/* The items' loop of saver_step_list: up to 'limit' in this batch. 1: a child has a frame. */
static int write_list_items(saver *s, unsigned limit)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        PyObject *list = frame->obj;
        unsigned batch = frame->batch;
        if (batch == limit || frame->position >= PyList_GET_SIZE(list))
            return 0;
        PyObject *item = PyList_GET_ITEM(list, frame->position);
        if (s->fast_path && may_be_leaf(item)) {
            if (write_list_leaves(s, list, &frame->position, &batch, limit) < 0)
                return -1;
            frame->batch = (uint16_t)batch;
            if (batch == limit || frame->position >= PyList_GET_SIZE(list))
                return 0;
            item = PyList_GET_ITEM(list, frame->position);
        }
        int unique = compat_is_unique(item);
        frame->position++;
        frame->batch++;
        hold_item(s, item);
        int pushed = saver_save(s, item, unique);
        if (pushed)
            return pushed;
    }
}

int saver_step_list(saver *s)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        if (frame->stage == 0) {
            Py_ssize_t remaining = PyList_GET_SIZE(frame->obj) - frame->position;
            if (remaining <= 0 && (frame->position > 0 || s->protocol == 0))
                break;
            frame->single = s->protocol == 0 || (frame->position == 0 && remaining == 1);
            frame->batch = 0;
            frame->stage = 1;
            if (!frame->single && saver_write_op(s, OP_MARK) < 0)
                return -1;
        }
        int pushed = write_list_items(s, frame->single ? 1 : SAVER_BATCH_COUNT);
        if (pushed)
            return pushed < 0 ? -1 : 0;
        frame = saver_top(s);
        frame->stage = 0;
        if (!frame->single) {
            if (saver_write_op(s, OP_APPENDS) < 0)
                return -1;
            continue;
        }
        if (frame->batch == 1 && saver_write_op(s, OP_APPEND) < 0)
            return -1;
        if (s->protocol > 0)
            break;
    }
    saver_pop(s);
    return 0;
}

int saver_step_tuple(saver *s)
{
    saver_frame *frame = saver_top(s);
    PyObject *tuple = frame->obj;
    Py_ssize_t size = frame->size;
    for (;;) {
        int closed = frame->closed;
        if (frame->position >= size)
            break;
        if (s->fast_path && may_be_leaf(PyTuple_GET_ITEM(tuple, frame->position)) &&
            write_tuple_leaves(s, tuple, &frame->position, closed) < 0)
            return -1;
        Py_ssize_t i = frame->position;
        if (i >= size)
            break;
        PyObject *item = PyTuple_GET_ITEM(tuple, i);
        frame->position = i + 1;
        int pushed = saver_save(s, item, compat_is_unique(item) ? closed : SAVER_SHARED);
        if (pushed)
            return pushed < 0 ? -1 : 0;
    }

    int unique = frame->closed;
    Py_ssize_t position = unique ? -1 : saver_memo_find(s->memo, tuple);
    int marked = size > 3 || s->protocol < 2;
    if (position >= 0) {
        /* It contains itself, and has been written by that way: take back the items. */
        Py_ssize_t pops = !marked ? size : s->protocol > 0 ? 0 : size + 1;
        if (saver_output_reserve(&s->out, (size_t)pops + 1) < 0)
            return -1;
        if (marked && s->protocol > 0)
            *s->out.cursor++ = OP_POP_MARK;
        memset(s->out.cursor, OP_POP, (size_t)pops);
        s->out.cursor += pops;
        if (saver_write_get(s, position) < 0)
            return -1;
    } else {
        if (saver_write_op(s, tuple_op(s, size)) < 0 || saver_memoize(s, tuple, unique) < 0)
            return -1;
    }
    saver_pop(s);
    return 0;
}

/* Of what the top frame holds: unique but for a reference of the frame's own. */
static int is_unique_here(const saver *s, PyObject *obj)
{
    return Py_REFCNT(obj) == 1 && s->depth > s->owned_depth && compat_is_unique(obj);
}

/* The items' loop of saver_step_dict: up to 'limit' in this batch. 1: a child has a frame. */
static int write_dict_items(saver *s, unsigned limit)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        PyObject *key, *value;
        int pushed, stopped;
        unsigned batch = frame->batch;
        switch (frame->stage) {
        case DICT_PAIR: /* held[0] and held[1] */
            frame->stage = DICT_VALUE;
            pushed = saver_save(s, frame->held[0], is_unique_here(s, frame->held[0]));
            if (pushed)
                return pushed;
            continue;
        case DICT_VALUE: /* held[1], whose key is written */
            frame->stage = DICT_ITEMS;
            pushed = saver_save(s, frame->held[1], is_unique_here(s, frame->held[1]));
            if (pushed)
                return pushed;
            continue;
        default:
            break;
        }
        if (s->fast_path) {
            stopped =
                write_dict_leaves(s, frame->obj, &frame->position, &batch, limit, &key, &value);
            if (stopped < 0)
                return -1;
        } else {
            stopped = LEAVES_END;
            if (batch < limit && (s->protocol > 0 || PyDict_GET_SIZE(frame->obj) == frame->size) &&
                PyDict_Next(frame->obj, &frame->position, &key, &value)) {
                batch++;
                stopped = LEAVES_KEY;
            }
        }
        frame->batch = (uint16_t)batch;
        if (stopped == LEAVES_END)
            return 0; /* or its size has changed, of which saver_step_dict() complains */
        saver_hold(s, 0, key);
        saver_hold(s, 1, value);
        frame->stage = stopped == LEAVES_KEY ? DICT_PAIR : DICT_VALUE;
    }
}

int saver_step_dict(saver *s)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        if (frame->stage == DICT_BATCH) {
            /* As C has it, a full batch is followed by another, be it an empty one. */
            if (frame->position > 0 && s->protocol > 0 && frame->batch < SAVER_BATCH_COUNT)
                break;
            frame->single = s->protocol == 0 || frame->size == 1;
            frame->batch = 0;
            frame->stage = DICT_ITEMS;
            if (!frame->single && saver_write_op(s, OP_MARK) < 0)
                return -1;
        }
        int pushed = write_dict_items(s, frame->single ? 1 : SAVER_BATCH_COUNT);
        if (pushed)
            return pushed < 0 ? -1 : 0;
        frame = saver_top(s);
        frame->stage = DICT_BATCH;
        if (frame->single) {
            if (frame->batch == 1 && saver_write_op(s, OP_SETITEM) < 0)
                return -1;
            if (s->protocol > 0)
                break;
        } else if (saver_write_op(s, OP_SETITEMS) < 0) {
            return -1;
        }
        if (PyDict_GET_SIZE(frame->obj) != frame->size) {
            saver_before_raising(s);
            PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
            return -1;
        }
        if (frame->batch == 0)
            break;
    }
    saver_pop(s);
    return 0;
}
