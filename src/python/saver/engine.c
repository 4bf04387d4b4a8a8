/*
 * engine.c - the loop that writes an object graph, and the choice of what becomes of an object; see
 * engine.h for the picture.
 */
#include "python/saver/engine.h"

#include "python/byvalue/sender.h"
#include "python/saver/containers.h"
#include "python/saver/stable.h"
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
    s->stable = NULL;
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
    return options->deterministic ? saver_make_stable(s, NULL) : 0;
}

int saver_open_session(saver *s)
{
    const saver_options *options = s->options;
    s->session = byvalue_session_new(s->st);
    if (!s->session)
        return -1;
    byvalue_choose(s->session, options->fresh_locks, options->log, options->skip);
    byvalue_choose_portable(s->session, options->portable);
    if (options->with_source)
        byvalue_send_source(s->session);
    byvalue_take_calls(s->session);
    return 0;
}

static PyObject *order_for_session(void *context, PyObject *items)
{
    return saver_order(context, items);
}

int saver_make_stable(saver *s, saver *outer)
{
    s->stable = saver_stable_new(outer ? outer->stable : NULL);
    s->fast_path = 0;
    if (s->stable && s->superset && !s->session && saver_open_session(s) < 0)
        return -1;
    if (s->stable && s->session)
        byvalue_choose_stable(s->session, outer ? outer->session : NULL, order_for_session, s);
    return s->stable ? 0 : -1;
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
    saver_stable_free(s->stable);
    PyErr_Restore(type, value, traceback);
}

/* ---- the start of an object ---- */

/* What has no opcode of its own. FRAME_INSTANCE finds out whether it is right. */
static int save_other(saver *s, PyObject *obj, int unique)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (s->protocol >= 2 && ((type->tp_flags & Py_TPFLAGS_HEAPTYPE) || saver_value_likely(type)) &&
        !s->hooks->reducer_override && !s->hooks->dispatch_table) {
        s->saw_mutable = 1;
        return saver_push_container(s, FRAME_INSTANCE, obj, unique, 1) ? 1 : -1;
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
        return saver_begin_tuple(s, obj, unique);
    if (type == &PyDict_Type)
        return saver_begin_dict(s, obj, unique);
    if (type == &PyList_Type)
        return saver_begin_list(s, obj, unique);
    if (type == &PyBytes_Type)
        return saver_write_bytes(s, obj, unique);
    if (unique == SAVER_FRESH) /* of tuples and dicts nobody has weak references */
        unique = SAVER_SHARED;
    if (type == &PySet_Type)
        return saver_begin_set(s, obj, unique);
    if (type == &PyFrozenSet_Type)
        return saver_begin_frozenset(s, obj, unique);
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
        if (s->out.write)
            unique = SAVER_SHARED;
    }
    if (s->stable) {
        unique = 0;
        obj = saver_stable_value(s, obj);
        if (!obj)
            return -1;
    }
    if (s->hooks->persistent_id) {
        enum saver_answer answer = saver_ask_persistent_id(s, obj);
        if (answer != SAVER_NOT_WRITTEN)
            return answer == SAVER_FAILED ? -1 : answer == SAVER_PUSHED;
        unique = 0;
    }
    return save_known(s, obj, unique);
}

/* ---- the loop ---- */

static int run_frames(saver *s)
{
    while (s->depth > 0) {
        int status = -1;
        switch ((enum saver_frame_kind)saver_top(s)->kind) {
        case FRAME_LIST:
            status = saver_step_list(s);
            break;
        case FRAME_TUPLE:
            status = saver_step_tuple(s);
            break;
        case FRAME_DICT:
            status = saver_step_dict(s);
            break;
        case FRAME_SET:
            status = saver_step_set(s);
            break;
        case FRAME_FROZENSET:
            status = saver_step_frozenset(s);
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
        case FRAME_CALL:
            status = saver_step_call(s);
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
    if (!s->session || s->protocol < 4 || s->stable || s->options->portable ||
        !byvalue_wants_label(s->session))
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

int saver_write_pickle(saver *s, PyObject *root)
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
    if (saver_write_pickle(s, root) == 0 && (!s->stable || byvalue_check_stable(s->session) == 0))
        return 0;
    if (s->superset)
        saver_explain(s, root);
    return -1;
}
