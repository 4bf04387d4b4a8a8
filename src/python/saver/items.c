/*
 * items.c - the iterators of list and dict items that a reduce tuple may carry.
 *
 * As C does, one item is fetched ahead: a batch of one item is written without MARK.
 * obj: the iterator; held[0]: the item being written; held[1]: the next one, NULL at the end.
 */
#include "python/saver/engine.h"

enum items_stage {
    ITEMS_BATCH,   /* fetch the first two of a batch */
    ITEMS_CURRENT, /* write held[0] */
    ITEMS_VALUE,   /* dict: write the value of held[0] */
    ITEMS_WRITTEN, /* held[0] is written */
};

/* The next item into held[slot]; NULL at the end. 0 or -1. */
static int fetch_item(saver *s, int slot)
{
    if (saver_before_python(s) < 0)
        return -1;
    saver_frame *frame = saver_top(s);
    PyObject *item = Py_TYPE(frame->obj)->tp_iternext(frame->obj);
    if (!item && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_StopIteration))
            return -1;
        PyErr_Clear();
    }
    if (item && frame->kind == FRAME_DICT_ITEMS &&
        (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2)) {
        PyErr_SetString(PyExc_TypeError, "dict items iterator must return 2-tuples");
        Py_DECREF(item);
        return -1;
    }
    saver_hold(s, slot, item);
    Py_XDECREF(item);
    return 0;
}

static int step_items(saver *s, int op_one, int op_many)
{
    saver_frame *frame = saver_top(s);
    PyObject *part;
    switch ((enum items_stage)frame->stage) {
    case ITEMS_BATCH:
        if (fetch_item(s, 0) < 0)
            return -1;
        frame->batch = 0;
        frame->single = 1;
        if (!frame->held[0])
            break;
        if (s->protocol > 0) {
            if (fetch_item(s, 1) < 0)
                return -1;
            frame->single = frame->held[1] == NULL;
            if (!frame->single && saver_write_op(s, OP_MARK) < 0)
                return -1;
        }
        frame->stage = ITEMS_CURRENT;
        return 0;
    case ITEMS_CURRENT:
        frame->position++;
        part = frame->held[0];
        if (frame->kind == FRAME_DICT_ITEMS) {
            frame->stage = ITEMS_VALUE;
            return saver_save_part(s, PyTuple_GET_ITEM(part, 0));
        }
        frame->stage = ITEMS_WRITTEN;
        return saver_save_part(s, part);
    case ITEMS_VALUE:
        frame->stage = ITEMS_WRITTEN;
        return saver_save_part(s, PyTuple_GET_ITEM(frame->held[0], 1));
    case ITEMS_WRITTEN:
        frame->batch++;
        if (frame->single) {
            frame->stage = ITEMS_BATCH;
            if (saver_write_op(s, op_one) < 0)
                return -1;
            if (s->protocol == 0)
                return 0;
            break;
        }
        if (frame->batch == 1) {
            saver_hold(s, 0, frame->held[1]); /* the second was fetched with the first */
        } else if (frame->batch < SAVER_BATCH_COUNT) {
            if (fetch_item(s, 0) < 0)
                return -1;
        }
        if (frame->batch < SAVER_BATCH_COUNT && frame->held[0]) {
            frame->stage = ITEMS_CURRENT;
            return 0;
        }
        if (saver_write_op(s, op_many) < 0)
            return -1;
        if (frame->batch < SAVER_BATCH_COUNT)
            break;
        frame->stage = ITEMS_BATCH;
        return 0;
    }
    saver_pop(s);
    return 0;
}

int saver_step_list_items(saver *s)
{
    return step_items(s, OP_APPEND, OP_APPENDS);
}

int saver_step_dict_items(saver *s)
{
    return step_items(s, OP_SETITEM, OP_SETITEMS);
}
