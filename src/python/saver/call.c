/*
 * call.c - what by-value code answers: a call, in parts, and what completes the object.
 *
 * Functions and classes come by the hundred, so no reduce tuple is made for them. What is made, the
 * arguments and the state, exists for this dump only: these tuples and dicts take numbers of the memo
 * and no places in it (SAVER_FRESH), and go as soon as they are written.
 *
 *     callable  args  REDUCE  MEMOIZE  [ setter  GET  state  TUPLE2  REDUCE  POP ]
 *
 * FRAME_CALL: obj the object; held[0] the arguments, held[1] the state or NULL, held[2] the callable.
 * The object enters the memo when it is made, as in reduce.c.
 */
#include "python/saver/leaf.h"

enum stage {
    CALL_CALLABLE,
    CALL_ARGUMENTS,
    CALL_MADE,
    CALL_SETTER,
    CALL_OBJECT,
    CALL_STATE,
    CALL_SET,
};

enum saver_part saver_call_part_of(const saver_frame *frame)
{
    switch ((enum stage)frame->stage) { /* the stage is that of what comes next */
    case CALL_ARGUMENTS:
        return SAVER_PART_CALLABLE;
    case CALL_MADE:
        return SAVER_PART_ARGUMENTS;
    case CALL_OBJECT:
        return SAVER_PART_SETTER;
    case CALL_SET:
        return SAVER_PART_STATE;
    default:
        return SAVER_PART_NONE;
    }
}

void saver_begin_call(saver *s)
{
    byvalue_call call = byvalue_call_of(s->session);
    saver_frame *frame = saver_top(s);
    frame->kind = FRAME_CALL;
    frame->stage = CALL_CALLABLE;
    frame->held[0] = call.args; /* an owned frame takes the references over */
    frame->held[1] = call.state;
    frame->held[2] = call.callable;
}

/* saver_save() of what was most likely written before. */
static int save_again(saver *s, PyObject *obj)
{
    Py_ssize_t position = s->fast_path ? saver_memo_find(s->memo, obj) : -1;
    if (position < 0 || s->memo->ids || s->out.cursor >= s->out.soft_end)
        return saver_save(s, obj, SAVER_SHARED);
    s->out.cursor = leaf_write_get(s->out.cursor, position);
    return 0;
}

/* A Pickler's memo can be seen, and has all that was written. */
static int save_own(saver *s, PyObject *made)
{
    int fresh = s->memo == &s->own_memo && compat_is_unique(made);
    return saver_save(s, made, fresh ? SAVER_FRESH : SAVER_SHARED);
}

int saver_step_call(saver *s)
{
    saver_frame *frame = saver_top(s);
    int status;
    switch ((enum stage)frame->stage) {
    case CALL_CALLABLE:
        frame->stage = CALL_ARGUMENTS;
        status = save_again(s, frame->held[2]);
        if (status != 0)
            return status < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case CALL_ARGUMENTS:
        frame->stage = CALL_MADE;
        status = save_own(s, frame->held[0]);
        if (status != 0)
            return status < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case CALL_MADE:
        status = saver_write_op(s, OP_REDUCE) < 0 ? -1 : saver_write_made(s);
        if (status < 0)
            return -1;
        if (status > 0 ||
            !frame->held[1]) /* written inside its own arguments, and that one counts */
            break;
        frame->stage = CALL_SETTER;
        /* fall through */
    case CALL_SETTER:
        frame->stage = CALL_OBJECT;
        status = save_again(s, byvalue_setter(s->st, frame->held[2]));
        if (status != 0)
            return status < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case CALL_OBJECT:
        frame->stage = CALL_STATE;
        status = save_again(s, frame->obj);
        if (status != 0)
            return status < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case CALL_STATE:
        frame->stage = CALL_SET;
        status = save_own(s, frame->held[1]);
        if (status != 0)
            return status < 0 ? -1 : 0;
        /* fall through */
    case CALL_SET:
        if (saver_write_ops(s, OP_TUPLE2, OP_REDUCE) < 0 || saver_write_op(s, OP_POP) < 0)
            return -1;
    }
    saver_pop(s);
    return 0;
}
