/* persistent.c - persistent ids: what a Pickler's persistent_id() says of every object. */
#include "python/saver/engine.h"

enum saver_answer saver_ask_persistent_id(saver *s, PyObject *obj)
{
    if (saver_before_python(s) < 0)
        return SAVER_FAILED;
    PyObject *function = Py_NewRef(s->hooks->persistent_id);
    PyObject *self = s->hooks->persistent_id_self;
    PyObject *id = self ? PyObject_CallFunctionObjArgs(function, self, obj, NULL)
                        : PyObject_CallOneArg(function, obj);
    Py_DECREF(function);
    if (!id)
        return SAVER_FAILED;
    enum saver_answer answer = SAVER_FAILED;
    PyObject *text = NULL;
    if (id == Py_None) {
        answer = SAVER_NOT_WRITTEN;
        goto done;
    }
    if (s->protocol > 0) {
        if (saver_push(s, FRAME_PERSISTENT_ID, id, 0) && saver_before_python(s) == 0)
            answer = SAVER_PUSHED;
        goto done;
    }
    text = PyObject_Str(id);
    if (!text)
        goto done;
    if (!PyUnicode_IS_ASCII(text)) {
        PyErr_SetString(s->st->PicklingError, "persistent IDs in protocol 0 must be ASCII strings");
        goto done;
    }
    if (saver_write_op(s, OP_PERSID) < 0 ||
        saver_output_write(&s->out, PyUnicode_DATA(text), (size_t)PyUnicode_GET_LENGTH(text)) < 0 ||
        saver_write_op(s, '\n') < 0)
        goto done;
    answer = SAVER_WRITTEN;
done:
    Py_XDECREF(text);
    Py_DECREF(id);
    return answer;
}

int saver_step_persistent_id(saver *s)
{
    saver_frame *frame = saver_top(s);
    if (frame->stage == 0) {
        frame->stage = 1;
        return saver_save_persistent_id(s, frame->obj) < 0 ? -1 : 0;
    }
    if (saver_write_op(s, OP_BINPERSID) < 0)
        return -1;
    saver_pop(s);
    return 0;
}
