/*
 * stack.c - the saver's stack of frames, who owns what they refer to (engine.h), and the memo's
 * opcodes.
 */
#include "python/saver/engine.h"

#include "python/saver/leaf.h"

int saver_grow_frames(saver *s)
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

saver_frame *saver_refuse_depth(void)
{
    PyErr_SetString(PyExc_RecursionError, "an object nested without end (over a million levels)");
    return NULL;
}

void saver_pop_owned(saver *s)
{
    saver_frame *frame = saver_top(s);
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
    /* It goes now, and with it perhaps what the memo only borrows, unless that has caught up. */
    if (Py_REFCNT(obj) == 1 && !(saver_memo_settled(s->memo) && s->owned_depth == s->depth)) {
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
        if ((frame->kind == FRAME_TUPLE || frame->kind == FRAME_FROZENSET ||
             frame->kind == FRAME_INSTANCE || frame->kind == FRAME_VALUE) &&
            frame->closed == SAVER_UNIQUE)
            frame->closed = SAVER_SHARED;
    }
    s->owned_depth = s->depth;
    return saver_memo_settle(s->memo);
}

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

saver_frame *saver_push_container(saver *s, enum saver_frame_kind kind, PyObject *obj, int closed,
                                  int budget)
{
    if (s->hooks->fast && check_fast_nesting(s, obj) < 0)
        return NULL;
    saver_frame *frame = saver_push(s, kind, obj, budget);
    if (frame)
        frame->closed = (uint8_t)closed;
    return frame;
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

int saver_write_put(saver *s, Py_ssize_t id)
{
    if (saver_output_reserve(&s->out, 32) < 0)
        return -1;
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

int saver_memoize_phantom(saver *s)
{
    if (s->hooks->fast)
        return 0;
    Py_ssize_t id = s->memo->count;
    if (saver_memo_put_phantom(s->memo) < 0)
        return -1;
    return s->protocol >= 4 ? saver_write_op(s, (char)OP_MEMOIZE) : saver_write_put(s, id);
}
