/*
 * engine.c - the loop that writes an object graph; see engine.h for the picture.
 *
 * Containers are written by step functions. Their inner loops write numbers and short strings
 * themselves (write_leaf) with the cursor in a register; anything else goes through saver_save().
 * Which bytes come out, down to empty batches after a multiple of 1000 items, is what CPython's C
 * pickler does.
 */
#include "python/saver/engine.h"

#include "python/byvalue/sender.h"
#include "python/saver/leaf.h"
#include "python/saver/value.h"

static const saver_hooks no_hooks;

int saver_init(saver *s, module_state *st, const saver_options *options, const saver_hooks *hooks,
               saver_memo *memo, saver_sink *sink, PyObject *write)
{
    saver_output_init(&s->out, sink, write);
    s->memo = memo ? memo : &s->own_memo;
    if (!memo)
        saver_memo_init(&s->own_memo);
    s->st = st;
    s->hooks = hooks ? hooks : &no_hooks;
    s->options = options;
    s->session = NULL;
    s->thread = PyThreadState_Get();
    s->protocol = options->protocol < 0 ? PICKLE_PROTOCOL_MAX : options->protocol;
    s->fix_imports = options->fix_imports && s->protocol < 3;
    s->superset = options->superset;
    s->fast_path = s->protocol >= 4 && !s->hooks->persistent_id && !s->hooks->fast;
    s->saw_mutable = 0;
    s->frames = s->inline_frames;
    s->depth = 0;
    s->frame_capacity = SAVER_INLINE_FRAMES;
    s->owned_depth = 0;
    s->recursion_used = 0;
    if (s->superset) {
        s->session = byvalue_session_new(st);
        if (!s->session)
            return -1;
        byvalue_choose(s->session, options->fresh_locks, options->log, options->skip);
        byvalue_choose_portable(s->session, options->portable);
        if (options->with_source)
            byvalue_send_source(s->session);
    }
    return 0;
}

void saver_end(saver *s)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback); /* releasing runs code that must not see an error */
    while (s->depth > 0)
        saver_pop(s);
    if (s->frames != s->inline_frames)
        PyMem_Free(s->frames);
    if (s->memo == &s->own_memo)
        saver_memo_clear(&s->own_memo);
    saver_output_clear(&s->out);
    if (s->session)
        byvalue_session_free(s->session);
    PyErr_Restore(type, value, traceback);
}

/* ---- frames and ownership ---- */

static int grow_frames(saver *s)
{
    Py_ssize_t capacity = s->frame_capacity * 2;
    size_t nbytes = (size_t)capacity * sizeof(saver_frame);
    saver_frame *frames = NULL;
    if (s->frames == s->inline_frames) {
        frames = PyMem_Malloc(nbytes);
        if (frames)
            memcpy(frames, s->inline_frames, sizeof(s->inline_frames));
    } else {
        frames = PyMem_Realloc(s->frames, nbytes);
    }
    if (!frames) {
        PyErr_NoMemory();
        return -1;
    }
    s->frames = frames;
    s->frame_capacity = capacity;
    return 0;
}

saver_frame *saver_push(saver *s, enum saver_frame_kind kind, PyObject *obj, int budget)
{
    if (s->depth == s->frame_capacity && grow_frames(s) < 0)
        return NULL;
    if (s->superset) {
        budget = 0;
        if (s->depth >= SAVER_DEPTH_MAX) {
            PyErr_SetString(PyExc_RecursionError,
                            "an object nested without end (over a million levels)");
            return NULL;
        }
    }
    if (budget && compat_enter_recursion(s->thread, &s->recursion_used, budget) < 0)
        return NULL;
    saver_frame *frame = &s->frames[s->depth++];
    *frame = (saver_frame){.kind = (uint8_t)kind, .budget = (uint8_t)budget, .obj = obj};
    return frame;
}

void saver_pop(saver *s)
{
    saver_frame *frame = saver_top(s);
    if (frame->budget)
        compat_leave_recursion(s->thread, &s->recursion_used, frame->budget);
    if (s->depth > s->owned_depth) {
        s->depth--;
        return;
    }
    PyObject *obj = frame->obj;
    PyObject *held[3] = {frame->held[0], frame->held[1], frame->held[2]};
    s->depth--;
    s->owned_depth = s->depth;
    for (int i = 2; i >= 0; i--)
        saver_drop(s, held[i]);
    saver_drop(s, obj);
}

void saver_drop(saver *s, PyObject *obj)
{
    if (!obj)
        return;
    if (Py_REFCNT(obj) == 1) { /* it goes now, and with it perhaps what the memo only borrows */
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        /* Without memory the memo's entries are late, which is before the next call of Python. */
        (void)saver_before_python(s);
        PyErr_Restore(type, value, traceback);
    }
    Py_DECREF(obj);
}

void saver_hold(saver *s, int slot, PyObject *obj)
{
    saver_frame *frame = saver_top(s);
    PyObject *old = frame->held[slot];
    frame->held[slot] = obj;
    if (s->depth == s->owned_depth) {
        Py_XINCREF(obj);
        saver_drop(s, old);
    }
}

int saver_settle(saver *s)
{
    for (Py_ssize_t i = s->owned_depth; i < s->depth; i++) {
        saver_frame *frame = &s->frames[i];
        Py_XINCREF(frame->obj);
        for (int slot = 0; slot < 3; slot++)
            Py_XINCREF(frame->held[slot]);
        /* These enter the memo when they are complete. Python code may lead back into them. */
        if (frame->kind == FRAME_TUPLE || frame->kind == FRAME_FROZENSET ||
            frame->kind == FRAME_INSTANCE || frame->kind == FRAME_VALUE)
            frame->closed = 0;
    }
    s->owned_depth = s->depth;
    return saver_memo_settle(s->memo);
}

/* ---- memo opcodes ---- */

int saver_write_get(saver *s, Py_ssize_t position)
{
    if (saver_output_reserve(&s->out, 32) < 0)
        return -1;
    Py_ssize_t id = saver_memo_id(s->memo, position);
    if (s->protocol == 0) {
        s->out.cursor += sprintf(s->out.cursor, "g%zd\n", id);
        return 0;
    }
    if ((size_t)id > UINT32_MAX) {
        saver_before_raising(s);
        PyErr_SetString(s->st->PicklingError, "memo id too large for LONG_BINGET");
        return -1;
    }
    s->out.cursor = leaf_write_get(s->out.cursor, id);
    return 0;
}

static int write_put(saver *s, Py_ssize_t id)
{
    if (saver_output_reserve(&s->out, 32) < 0)
        return -1;
    if (s->protocol >= 4) {
        *s->out.cursor++ = (char)OP_MEMOIZE;
        return 0;
    }
    if (s->protocol == 0) {
        s->out.cursor += sprintf(s->out.cursor, "p%zd\n", id);
        return 0;
    }
    if ((size_t)id > UINT32_MAX) {
        saver_before_raising(s);
        PyErr_SetString(s->st->PicklingError, "memo id too large for LONG_BINPUT");
        return -1;
    }
    if (id < 256) {
        *s->out.cursor++ = OP_BINPUT;
        *s->out.cursor++ = (char)id;
    } else {
        *s->out.cursor++ = OP_LONG_BINPUT;
        s->out.cursor = leaf_put_u32(s->out.cursor, (uint32_t)id);
    }
    return 0;
}

int saver_memoize(saver *s, PyObject *obj, int unique)
{
    if (s->hooks->fast)
        return 0;
    Py_ssize_t id = s->memo->count;
    return saver_memo_put(s->memo, obj, unique) < 0 ? -1 : write_put(s, id);
}

int saver_memoize_phantom(saver *s)
{
    if (s->hooks->fast)
        return 0;
    Py_ssize_t id = s->memo->count;
    return saver_memo_put_phantom(s->memo) < 0 ? -1 : write_put(s, id);
}

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

/* ---- the start of an object ---- */

/* In fast mode there is no memo to end a cycle. Looking for one at depth 50, 100, 200, … costs
 * next to nothing, and a cycle is still there at the next look. */
static int check_fast_nesting(saver *s, PyObject *obj)
{
    Py_ssize_t level = SAVER_FAST_NESTING;
    while (level < s->depth)
        level *= 2;
    if (level != s->depth)
        return 0;
    for (Py_ssize_t i = 0; i < s->depth; i++) {
        if (s->frames[i].obj != obj)
            continue;
        saver_before_raising(s);
        PyErr_Format(PyExc_ValueError,
                     "fast mode: can't pickle cyclic objects including object type %.200s at %p",
                     Py_TYPE(obj)->tp_name, obj);
        return -1;
    }
    return 0;
}

/* A new frame for a container of the user's. 'closed' as in the struct. */
static saver_frame *push_container(saver *s, enum saver_frame_kind kind, PyObject *obj, int closed,
                                   int budget)
{
    if (s->hooks->fast && check_fast_nesting(s, obj) < 0)
        return NULL;
    saver_frame *frame = saver_push(s, kind, obj, budget);
    if (frame)
        frame->closed = (uint8_t)closed;
    return frame;
}

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

static int save_list(saver *s, PyObject *obj, int unique)
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
    saver_frame *frame = push_container(s, FRAME_LIST, obj, 1, 2);
    if (!frame)
        return -1;
    frame->stage = (uint8_t)begun;
    frame->single = (uint8_t)single;
    frame->batch = (uint16_t)batch;
    frame->position = position;
    return 1;
}

static int save_dict(saver *s, PyObject *obj, int unique)
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
    saver_frame *frame = push_container(s, FRAME_DICT, obj, 1, 2);
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

static int save_tuple(saver *s, PyObject *obj, int unique)
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
    saver_frame *frame = push_container(s, FRAME_TUPLE, obj, unique, 1);
    if (!frame)
        return -1;
    frame->size = size;
    frame->position = position;
    return 1;
}

/* Below protocol 4 a set is a call of its type on a list of its items. */
static int save_set_as_call(saver *s, PyObject *obj, PyTypeObject *type)
{
    if (!saver_push(s, FRAME_REDUCE, obj, 1) || saver_before_python(s) < 0)
        return -1;
    PyObject *items = PySequence_List(obj);
    if (!items)
        return -1;
    PyObject *reduced = Py_BuildValue("(O(N))", type, items);
    return reduced && saver_accept_reduced(s, reduced) == 0 ? 1 : -1;
}

static int save_set(saver *s, PyObject *obj, int unique)
{
    s->saw_mutable = 1;
    if (s->protocol < 4)
        return save_set_as_call(s, obj, &PySet_Type);
    *s->out.cursor++ = (char)OP_EMPTY_SET;
    if (saver_memoize(s, obj, unique) < 0)
        return -1;
    if (PySet_GET_SIZE(obj) == 0)
        return 0;
    saver_frame *frame = push_container(s, FRAME_SET, obj, 1, 1);
    if (!frame)
        return -1;
    frame->size = PySet_GET_SIZE(obj);
    return 1;
}

static int save_frozenset(saver *s, PyObject *obj, int unique)
{
    if (s->protocol < 4)
        return save_set_as_call(s, obj, &PyFrozenSet_Type);
    if (!push_container(s, FRAME_FROZENSET, obj, unique, 1))
        return -1;
    *s->out.cursor++ = OP_MARK;
    return 1;
}

/* What has no opcode of its own. FRAME_INSTANCE finds out whether it is right. */
static int save_other(saver *s, PyObject *obj, int unique)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (s->protocol >= 2 && ((type->tp_flags & Py_TPFLAGS_HEAPTYPE) || saver_value_likely(type)) &&
        !s->hooks->reducer_override && !s->hooks->dispatch_table) {
        s->saw_mutable = 1;
        return push_container(s, FRAME_INSTANCE, obj, unique, 1) ? 1 : -1;
    }
    return saver_push(s, FRAME_REDUCE, obj, 1) ? 1 : -1;
}

static int save_known(saver *s, PyObject *obj, int unique)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyLong_Type)
        return saver_write_int(s, obj);
    if (type == &PyFloat_Type)
        return saver_write_float(s, obj);
    if (obj == Py_None)
        return saver_write_op(s, OP_NONE);
    if (type == &PyBool_Type)
        return saver_write_bool(s, obj);
    if (!unique) {
        Py_ssize_t position = saver_memo_find(s->memo, obj);
        if (position >= 0)
            return saver_write_get(s, position);
    }
    if (type == &PyUnicode_Type)
        return saver_write_str(s, obj, unique);
    if (type == &PyTuple_Type)
        return save_tuple(s, obj, unique);
    if (type == &PyDict_Type)
        return save_dict(s, obj, unique);
    if (type == &PyList_Type)
        return save_list(s, obj, unique);
    if (type == &PyBytes_Type)
        return saver_write_bytes(s, obj, unique);
    if (type == &PySet_Type)
        return save_set(s, obj, unique);
    if (type == &PyFrozenSet_Type)
        return save_frozenset(s, obj, unique);
    if (type == &PyByteArray_Type)
        return saver_write_bytearray(s, obj, unique);
    if (type == &PyPickleBuffer_Type)
        return saver_write_buffer(s, obj);
    return save_other(s, obj, unique);
}

int saver_boundary(saver *s)
{
    if (s->out.cursor < s->out.soft_end)
        return 0;
    if (s->out.write && saver_before_python(s) < 0)
        return -1;
    return saver_output_boundary(&s->out);
}

int saver_save_persistent_id(saver *s, PyObject *id)
{
    if (saver_boundary(s) < 0)
        return -1;
    return save_known(s, id, 0);
}

int saver_save(saver *s, PyObject *obj, int unique)
{
    if (s->out.cursor >= s->out.soft_end) {
        if (saver_boundary(s) < 0)
            return -1;
        unique = unique && !s->out.write;
    }
    if (s->hooks->persistent_id) {
        enum saver_answer answer = saver_ask_persistent_id(s, obj);
        if (answer != SAVER_NOT_WRITTEN)
            return answer == SAVER_FAILED ? -1 : answer == SAVER_PUSHED;
        unique = 0;
    }
    return save_known(s, obj, unique);
}

/* ---- containers ---- */

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

/* The items' loop of step_list: up to 'limit' in this batch. 1: a child has a frame. */
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

static int step_list(saver *s)
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

static int step_tuple(saver *s)
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
        int pushed = saver_save(s, item, closed && compat_is_unique(item));
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

/* The items' loop of step_dict: up to 'limit' in this batch. 1: a child has a frame. */
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
            return 0; /* or its size has changed, of which step_dict complains */
        saver_hold(s, 0, key);
        saver_hold(s, 1, value);
        frame->stage = stopped == LEAVES_KEY ? DICT_PAIR : DICT_VALUE;
    }
}

static int step_dict(saver *s)
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

/* The items of a set or frozenset, up to 'limit' in this batch. 1: a child has a frame. */
static int write_set_items(saver *s, Py_ssize_t limit)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        PyObject *item;
        if (frame->batch == limit || !compat_set_next(frame->obj, &frame->position, &item))
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

static int step_set(saver *s)
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

static int step_frozenset(saver *s)
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

/* ---- the loop ---- */

static int run_frames(saver *s)
{
    while (s->depth > 0) {
        int status = -1;
        switch ((enum saver_frame_kind)saver_top(s)->kind) {
        case FRAME_LIST:
            status = step_list(s);
            break;
        case FRAME_TUPLE:
            status = step_tuple(s);
            break;
        case FRAME_DICT:
            status = step_dict(s);
            break;
        case FRAME_SET:
            status = step_set(s);
            break;
        case FRAME_FROZENSET:
            status = step_frozenset(s);
            break;
        case FRAME_LIST_ITEMS:
            status = saver_step_list_items(s);
            break;
        case FRAME_DICT_ITEMS:
            status = saver_step_dict_items(s);
            break;
        case FRAME_REDUCE:
            status = saver_step_reduce(s);
            break;
        case FRAME_INSTANCE:
            status = saver_step_instance(s);
            break;
        case FRAME_VALUE:
            status = saver_step_value(s);
            break;
        case FRAME_GLOBAL:
            status = saver_step_global(s);
            break;
        case FRAME_GLOBAL_GETATTR:
            status = saver_step_global_getattr(s);
            break;
        case FRAME_PERSISTENT_ID:
            status = saver_step_persistent_id(s);
            break;
        }
        if (status < 0)
            return -1;
    }
    return 0;
}

/* Bytes that say who wrote this, and a POP that drops them (byvalue/sender.c). */
static int write_label(saver *s)
{
    PyObject *label;
    if (!s->session || s->protocol < 4 || !byvalue_wants_label(s->session))
        return 0;
    if (saver_before_python(s) < 0 || byvalue_label(s->session, &label) < 0)
        return -1;
    if (!label)
        return 0;
    size_t nbytes = (size_t)PyBytes_GET_SIZE(label), width = nbytes < 256 ? 1 : 4;
    int status = -1;
    if (nbytes <= UINT32_MAX && saver_output_reserve(&s->out, 1 + width) == 0) {
        *s->out.cursor++ = (char)(width == 1 ? OP_SHORT_BINBYTES : OP_BINBYTES);
        for (size_t i = 0; i < width; i++)
            *s->out.cursor++ = (char)(nbytes >> (8 * i));
        status = saver_output_write(&s->out, PyBytes_AS_STRING(label), nbytes);
    }
    Py_DECREF(label);
    return status < 0 ? -1 : saver_write_op(s, OP_POP);
}

static int write_pickle(saver *s, PyObject *root)
{
    if (s->protocol >= 2) {
        if (saver_write_ops(s, OP_PROTO, s->protocol) < 0)
            return -1;
        if (s->protocol >= 4 && saver_output_start_framing(&s->out) < 0)
            return -1;
    }
    if (saver_save(s, root, 0) < 0 || run_frames(s) < 0 || write_label(s) < 0 ||
        saver_write_op(s, OP_STOP) < 0)
        return -1;
    saver_output_finish(&s->out);
    return 0;
}

int saver_run(saver *s, PyObject *root)
{
    if (write_pickle(s, root) == 0)
        return 0;
    if (s->superset)
        saver_explain(s, root);
    return -1;
}
