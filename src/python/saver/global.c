/*
 * global.c - a class or function by its name: module and qualified name.
 *
 * place.c finds it. How it is written: an extension code if copyreg has one;
 * STACK_GLOBAL from protocol 4 on; GLOBAL below, where a dotted name has to become getattr(…).
 *
 * FRAME_GLOBAL: obj the class or function; held[0] module name, held[1] name.
 * FRAME_GLOBAL_GETATTR: up to 3.12, the frame that memoizes obj when the call of getattr above it,
 * held[0], is written. From 3.13 on getattr is called for each part of the name after the first, so
 * that a class that contains itself has an end: held[0] is the list of parts, held[1] the module
 * name, and the stages are the getattrs, the first part as GLOBAL, the other parts.
 */
#include "python/saver/place.h"

/* Writes the extension code of (module, name) if copyreg has one. 1: written; 0: it has none. */
static int write_extension(saver *s, PyObject *obj, PyObject *module_name, PyObject *name)
{
    if (PyDict_GET_SIZE(s->st->copyreg_extension_registry) == 0)
        return 0;
    PyObject *key = PyTuple_Pack(2, module_name, name);
    if (!key)
        return -1;
    PyObject *code = PyDict_GetItemWithError(s->st->copyreg_extension_registry, key);
    Py_DECREF(key);
    if (!code)
        return PyErr_Occurred() ? -1 : 0;
    if (!COMPAT_NAMES_AS_3_13 && !PyLong_Check(code)) {
        PyErr_Format(s->st->PicklingError, "Can't pickle %R: extension code %R isn't an integer",
                     obj, code);
        return -1;
    }
    Py_INCREF(code); /* from 3.13 on anything with __index__, which may run */
    long value = PyLong_AsLong(code);
    Py_DECREF(code);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value <= 0 || value > INT32_MAX) {
        if (COMPAT_NAMES_AS_3_13)
            PyErr_Format(PyExc_RuntimeError, "extension code %ld is out of range", value);
        else
            PyErr_Format(s->st->PicklingError,
                         "Can't pickle %R: extension code %ld is out of range", obj, value);
        return -1;
    }
    if (saver_output_reserve(&s->out, 5) < 0)
        return -1;
    int width = value <= 0xff ? 1 : value <= 0xffff ? 2 : 4;
    *s->out.cursor++ = (char)(width == 1 ? OP_EXT1 : width == 2 ? OP_EXT2 : OP_EXT4);
    for (int i = 0; i < width; i++)
        *s->out.cursor++ = (char)(value >> (8 * i));
    return 1;
}

/* Python 2's names for a module and a global in it; replaces both references. 0 or -1. */
static int map_to_python2(saver *s, PyObject **module_name, PyObject **name)
{
    PyObject *key = PyTuple_Pack(2, *module_name, *name);
    if (!key)
        return -1;
    PyObject *mapped = PyDict_GetItemWithError(s->st->compat_name_mapping, key);
    Py_DECREF(key);
    if (mapped) {
        if (!PyTuple_Check(mapped) || PyTuple_GET_SIZE(mapped) != 2) {
            PyErr_Format(PyExc_RuntimeError,
                         "_compat_pickle.REVERSE_NAME_MAPPING values should be 2-tuples, "
                         "not %.200s",
                         Py_TYPE(mapped)->tp_name);
            return -1;
        }
        PyObject *new_module = PyTuple_GET_ITEM(mapped, 0), *new_name = PyTuple_GET_ITEM(mapped, 1);
        if (!PyUnicode_Check(new_module) || !PyUnicode_Check(new_name)) {
            PyErr_Format(PyExc_RuntimeError,
                         "_compat_pickle.REVERSE_NAME_MAPPING values should be pairs of str, "
                         "not (%.200s, %.200s)",
                         Py_TYPE(new_module)->tp_name, Py_TYPE(new_name)->tp_name);
            return -1;
        }
        Py_INCREF(new_module);
        Py_INCREF(new_name);
        Py_SETREF(*module_name, new_module);
        Py_SETREF(*name, new_name);
        return 0;
    }
    if (PyErr_Occurred())
        return -1;
    mapped = PyDict_GetItemWithError(s->st->compat_import_mapping, *module_name);
    if (!mapped)
        return PyErr_Occurred() ? -1 : 0;
    if (!PyUnicode_Check(mapped)) {
        PyErr_Format(PyExc_RuntimeError,
                     "_compat_pickle.REVERSE_IMPORT_MAPPING values should be strings, not %.200s",
                     Py_TYPE(mapped)->tp_name);
        return -1;
    }
    Py_INCREF(mapped);
    Py_SETREF(*module_name, mapped);
    return 0;
}

static int write_identifier(saver *s, PyObject *identifier, const char *kind)
{
    PyObject *encoded =
        s->protocol == 3 ? PyUnicode_AsUTF8String(identifier) : PyUnicode_AsASCIIString(identifier);
    if (!encoded) {
        if (PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            PyErr_Format(s->st->PicklingError,
                         "can't pickle %s identifier '%S' using pickle protocol %i", kind,
                         identifier, s->protocol);
        return -1;
    }
    int status =
        saver_output_write(&s->out, PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return status < 0 ? -1 : saver_write_op(s, '\n');
}

/* GLOBAL with its two lines; 'name' has no dots. 0 or -1. */
static int write_global_text(saver *s, PyObject *module_name, PyObject *name)
{
    int status = -1;
    Py_INCREF(module_name);
    Py_INCREF(name);
    if (saver_write_op(s, OP_GLOBAL) < 0)
        goto done;
    if (s->fix_imports && map_to_python2(s, &module_name, &name) < 0)
        goto done;
    if (write_identifier(s, module_name, "module") < 0 || write_identifier(s, name, "global") < 0)
        goto done;
    status = 0;
done:
    Py_DECREF(module_name);
    Py_DECREF(name);
    return status;
}

int saver_begin_global(saver *s, PyObject *name)
{
    PyObject *obj = saver_top(s)->obj, *reduced = NULL;
    saver_place place = {NULL};
    int status = -1, ready = 0, given = name != NULL;

    if (saver_before_python(s) < 0)
        return -1;
    if (saver_find_place(s, obj, &name, &place) < 0)
        return -1;
    if (s->session && byvalue_check_portable(s->session, obj, place.module_name) < 0)
        goto done;
    if (s->protocol >= 2 && !s->options->portable) { /* codes are this process's */
        int written = write_extension(s, obj, place.module_name, name);
        if (written != 0) {
            if (written > 0)
                saver_pop(s);
            status = written > 0 ? 0 : -1;
            goto done;
        }
    }
    PyObject *short_name = place.is_in_module ? place.last : name;
    saver_frame *frame = saver_top(s);
    frame->stage = 0;
    if (s->protocol >= 4) {
        frame->kind = FRAME_GLOBAL;
        saver_hold(s, 0, place.module_name);
        saver_hold(s, 1, short_name);
        status = 0;
        ready = !given; /* a given one's owner will drop it */
    } else if (!place.is_in_module && COMPAT_NAMES_AS_3_13) {
        PyObject *parts = saver_split_name(s, name);
        if (!parts)
            goto done;
        frame = saver_top(s);
        frame->kind = FRAME_GLOBAL_GETATTR;
        frame->position = 1;
        frame->size = PyList_GET_SIZE(parts);
        saver_hold(s, 0, parts);
        saver_hold(s, 1, place.module_name);
        Py_DECREF(parts);
        status = 0;
    } else if (!place.is_in_module) {
        reduced = Py_BuildValue("(O(OO))", s->st->builtin_getattr, place.parent, place.last);
        if (!reduced)
            goto done;
        frame->kind = FRAME_GLOBAL_GETATTR;
        saver_hold(s, 0, reduced);
        status = 0;
    } else {
        status = write_global_text(s, place.module_name, short_name);
        if (status == 0)
            status = saver_memoize(s, obj, 0);
        if (status == 0)
            saver_pop(s);
    }
done:
    Py_XDECREF(reduced);
    saver_clear_place(&place);
    Py_DECREF(name);
    /* Only now, when the frame alone holds the names: it settles the memo before it drops them. */
    return ready ? saver_step_global(s) : status;
}

int saver_step_global(saver *s)
{
    saver_frame *frame = saver_top(s);
    int pushed;
    switch (frame->stage) {
    case 0:
        frame->stage = 1;
        pushed = saver_save(s, frame->held[0], 0);
        if (pushed)
            return pushed < 0 ? -1 : 0;
        frame = saver_top(s);
        /* fall through */
    case 1:
        frame->stage = 2;
        pushed = saver_save(s, frame->held[1], 0);
        if (pushed)
            return pushed < 0 ? -1 : 0;
        /* fall through */
    default:
        if (saver_write_op(s, OP_STACK_GLOBAL) < 0 || saver_memoize(s, saver_top(s)->obj, 0) < 0)
            return -1;
        saver_pop(s);
        return 0;
    }
}

/* Up to 3.12: getattr(parent, last), with 'parent' written as any object is. */
static int step_one_getattr(saver *s)
{
    saver_frame *frame = saver_top(s);
    if (frame->stage == 0) {
        frame->stage = 1;
        PyObject *reduced = Py_NewRef(frame->held[0]);
        if (!saver_push(s, FRAME_REDUCE, NULL, 0) || saver_before_python(s) < 0) {
            Py_DECREF(reduced);
            return -1;
        }
        return saver_accept_reduced(s, reduced);
    }
    if (saver_memoize(s, frame->obj, 0) < 0)
        return -1;
    saver_pop(s);
    return 0;
}

/* From 3.13 on: getattr(getattr(…, part), part), with the first part as GLOBAL. */
static int step_nested_getattrs(saver *s)
{
    enum { GETATTR, MARK, TOP_LEVEL, PART, CALL };
    for (;;) {
        saver_frame *frame = saver_top(s);
        PyObject *saved = NULL;
        switch (frame->stage) {
        case GETATTR:
            frame->stage = MARK;
            saved = s->st->builtin_getattr;
            break;
        case MARK:
            if (s->protocol < 2 && saver_write_op(s, OP_MARK) < 0)
                return -1;
            frame->stage = ++frame->position < frame->size ? GETATTR : TOP_LEVEL;
            continue;
        case TOP_LEVEL:
            frame->stage = PART;
            frame->position = 1;
            if (write_global_text(s, frame->held[1], PyList_GET_ITEM(frame->held[0], 0)) < 0)
                return -1;
            continue;
        case PART:
            frame->stage = CALL;
            saved = PyList_GET_ITEM(frame->held[0], frame->position);
            break;
        default:
            if (saver_write_ops(s, s->protocol < 2 ? OP_TUPLE : OP_TUPLE2, OP_REDUCE) < 0)
                return -1;
            frame->stage = PART;
            if (++frame->position < frame->size)
                continue;
            if (saver_memoize(s, frame->obj, 0) < 0)
                return -1;
            saver_pop(s);
            return 0;
        }
        int pushed = saver_save(s, saved, 0);
        if (pushed)
            return pushed < 0 ? -1 : 0;
    }
}

int saver_step_global_getattr(saver *s)
{
    return COMPAT_NAMES_AS_3_13 ? step_nested_getattrs(s) : step_one_getattr(s);
}
