/*
 * path.c - errors that say where in the object they happened.
 *
 * The stack of frames is the way from the root to the culprit; each frame knows which of its parts
 * was being written. From that comes an expression a user can read, and mostly evaluate:
 *
 *     args[0].client._sock: socket.socket cannot be pickled
 *       why: TypeError: cannot pickle 'socket' object
 *       do:  open it where it is used; send what is needed to open it
 *
 * What becomes a PicklingError: TypeError, AttributeError and PickleError that speak of pickling.
 * Any other Exception is user code's own and goes on as it is, with the path as a note (3.11 and
 * up). KeyboardInterrupt and the like, MemoryError and RecursionError are not touched.
 */
#include "python/saver/engine.h"

/* ---- the path ---- */

/* Appends 'more', a new reference or NULL with an exception set, which is taken over. */
static int extend(PyObject **path, PyObject *more)
{
    if (more)
        PyUnicode_Append(path, more);
    else
        Py_CLEAR(*path);
    Py_XDECREF(more);
    return *path ? 0 : -1;
}

/* [key], or .name for an identifier that is an attribute of an instance. */
static PyObject *describe_key(PyObject *key, int is_attribute)
{
    if (is_attribute && PyUnicode_Check(key) && PyUnicode_IsIdentifier(key) == 1)
        return PyUnicode_FromFormat(".%U", key);
    PyObject *text = PyObject_Repr(key);
    if (!text) {
        PyErr_Clear();
        return PyUnicode_FromFormat("[<a %s>]", Py_TYPE(key)->tp_name);
    }
    PyObject *result = PyUnicode_GET_LENGTH(text) > 60
                           ? PyUnicode_FromFormat("[<a %s>]", Py_TYPE(key)->tp_name)
                           : PyUnicode_FromFormat("[%U]", text);
    Py_DECREF(text);
    return result;
}

/* Is the dict of this frame the state of the instance in the frame below? Also as the first or
 * second half of a (dict, slots) pair. */
static int is_instance_state(const saver *s, Py_ssize_t depth)
{
    if (depth > 0 && s->frames[depth - 1].kind == FRAME_TUPLE && s->frames[depth - 1].size == 2)
        depth--;
    return depth > 0 && (s->frames[depth - 1].kind == FRAME_INSTANCE ||
                         saver_reduce_part_of(&s->frames[depth - 1]) == SAVER_PART_STATE);
}

/* The name of what a function or class by value is writing of its state, a tuple; NULL if none. */
static const char *byvalue_part(const saver *s, Py_ssize_t depth)
{
    if (!s->superset || depth < 0 || depth + 1 >= s->depth || !s->frames[depth].obj ||
        saver_reduce_part_of(&s->frames[depth]) != SAVER_PART_STATE ||
        s->frames[depth + 1].kind != FRAME_TUPLE)
        return NULL;
    return byvalue_state_part(s->frames[depth].obj, s->frames[depth + 1].position - 1);
}

/* Is the frame's part already named by what the next frames add? */
static PyObject *describe_reduce(const saver *s, Py_ssize_t depth)
{
    const saver_frame *frame = &s->frames[depth];
    const saver_frame *next = depth + 1 < s->depth ? &s->frames[depth + 1] : NULL;
    switch (saver_reduce_part_of(frame)) {
    case SAVER_PART_CALLABLE:
        return PyUnicode_FromString(".__reduce__()[0]");
    case SAVER_PART_ARGUMENTS:
        return PyUnicode_FromString(".__reduce__()[1]");
    case SAVER_PART_STATE:
        if (byvalue_part(s, depth))
            return PyUnicode_FromString(byvalue_part(s, depth));
        if (next && (next->kind == FRAME_DICT ||
                     (next->kind == FRAME_TUPLE && next->size == 2 && depth + 2 < s->depth &&
                      s->frames[depth + 2].kind == FRAME_DICT)))
            break; /* attributes */
        return PyUnicode_FromString(".__reduce__()[2]");
    case SAVER_PART_SETTER:
        return PyUnicode_FromString(".__reduce__()[5]");
    case SAVER_PART_NONE:
        break;
    }
    return PyUnicode_FromString("");
}

/* Which part of its container a frame is writing; new reference. */
static PyObject *describe_part(const saver *s, Py_ssize_t depth)
{
    const saver_frame *frame = &s->frames[depth];
    switch ((enum saver_frame_kind)frame->kind) {
    case FRAME_TUPLE:
        if (depth == 0 && s->options->root_items)
            return PyUnicode_FromString(""); /* the name of the item stands at the start */
        if (byvalue_part(s, depth - 1))
            return PyUnicode_FromString(""); /* so does the name of a part of the state */
        if (byvalue_part(s, depth - 2) && strcmp(byvalue_part(s, depth - 2), ".__closure__") == 0)
            return PyUnicode_FromFormat("[%zd].cell_contents", (frame->position - 1) / 2);
        if (is_instance_state(s, depth) && depth + 1 < s->depth &&
            s->frames[depth + 1].kind == FRAME_DICT)
            return PyUnicode_FromString("");
        /* fall through */
    case FRAME_LIST:
    case FRAME_LIST_ITEMS:
        return PyUnicode_FromFormat("[%zd]", frame->position - 1);
    case FRAME_DICT:
        if (frame->held[0])
            return describe_key(frame->held[0], byvalue_part(s, depth - 2)
                                                    ? *byvalue_part(s, depth - 2) == 0
                                                    : is_instance_state(s, depth));
        break;
    case FRAME_DICT_ITEMS:
        if (frame->held[0])
            return describe_key(PyTuple_GET_ITEM(frame->held[0], 0), 0);
        break;
    case FRAME_SET:
    case FRAME_FROZENSET:
        return PyUnicode_FromString("{…}");
    case FRAME_REDUCE:
    case FRAME_CALL:
        return describe_reduce(s, depth);
    case FRAME_PERSISTENT_ID:
        return PyUnicode_FromString("<persistent id>");
    case FRAME_VALUE:
        return PyUnicode_FromString(saver_value_part(frame));
    case FRAME_INSTANCE:
    case FRAME_GLOBAL:
    case FRAME_GLOBAL_GETATTR:
        break;
    }
    return PyUnicode_FromString("");
}

/* The whole path, a new reference; NULL with an exception set. */
static PyObject *build_path(const saver *s)
{
    const saver_options *options = s->options;
    const char *name = options->root_name ? options->root_name : "obj";
    if (options->root_items && s->depth > 0 && s->frames[0].kind == FRAME_TUPLE) {
        Py_ssize_t index = s->frames[0].position - 1;
        for (Py_ssize_t i = 0; options->root_items[i]; i++)
            if (i == index)
                name = options->root_items[i];
    }
    PyObject *path = PyUnicode_FromString(name);
    /* Of a very deep path, both ends. */
    const Py_ssize_t shown = 40;
    for (Py_ssize_t i = 0; path && i < s->depth; i++) {
        if (s->depth > 2 * shown && i == shown) {
            Py_ssize_t skipped = s->depth - 2 * shown;
            i += skipped - 1;
            if (extend(&path, PyUnicode_FromFormat("...(%zd levels)...", skipped)) < 0)
                break;
            continue;
        }
        if (extend(&path, describe_part(s, i)) < 0)
            break;
    }
    return path;
}

/* ---- the culprit ---- */

/* The object that could not be written: the top frame's, or the part it was writing. Borrowed. */
static PyObject *culprit(const saver *s, PyObject *root)
{
    if (s->depth == 0)
        return root;
    const saver_frame *frame = &s->frames[s->depth - 1];
    switch ((enum saver_frame_kind)frame->kind) {
    case FRAME_LIST:
        if (frame->position > 0 && frame->position <= PyList_GET_SIZE(frame->obj))
            return PyList_GET_ITEM(frame->obj, frame->position - 1);
        break;
    case FRAME_TUPLE:
        if (frame->position > 0)
            return PyTuple_GET_ITEM(frame->obj, frame->position - 1);
        break;
    default:
        break;
    }
    return frame->obj;
}

/* module.qualname, with builtins left out. */
static PyObject *type_name(module_state *st, PyTypeObject *type)
{
    PyObject *module = NULL, *name = NULL, *result = NULL;
    if (compat_find_attr((PyObject *)type, st->str___module__, &module) > 0 &&
        compat_find_attr((PyObject *)type, st->str___qualname__, &name) > 0 &&
        PyUnicode_Check(module) && PyUnicode_Check(name) &&
        PyUnicode_CompareWithASCIIString(module, "builtins") != 0)
        result = PyUnicode_FromFormat("%U.%U", module, name);
    if (!result) {
        PyErr_Clear();
        result = PyUnicode_FromString(type->tp_name);
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return result;
}

static const char *remedy(const char *type)
{
    static const struct {
        const char *type;
        const char *advice;
    } table[] = {
        {"generator", "send the function that makes it and its arguments, or list() of it"},
        {"coroutine", "send the function that makes it and its arguments"},
        {"async_generator", "send the function that makes it and its arguments"},
        {"frame", "send what is needed of it"},
        {"_io.TextIOWrapper", "send the path and open it where it is used"},
        {"_io.BufferedReader", "send the path and open it where it is used"},
        {"_io.BufferedWriter", "send the path and open it where it is used"},
        {"_io.BufferedRandom", "send the path and open it where it is used"},
        {"_io.FileIO", "send the path and open it where it is used"},
        {"socket.socket", "open it where it is used; send what is needed to open it"},
        {"ssl.SSLSocket", "open it where it is used; send what is needed to open it"},
        {"sqlite3.Connection", "open it where it is used; send the path"},
        {"sqlite3.Cursor", "open it where it is used; send the path"},
        {"_thread.lock", "leave it out in __getstate__ and make one in __setstate__"},
        {"_thread.RLock", "leave it out in __getstate__ and make one in __setstate__"},
        {"weakref.ReferenceType", "send the object it refers to"},
        {"memoryview", "send bytes() of it, or pickle.PickleBuffer of it"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(type, table[i].type) == 0)
            return table[i].advice;
    return NULL;
}

/* ---- the new error ---- */

static int speaks_of_pickling(module_state *st, PyObject *error)
{
    if (PyErr_GivenExceptionMatches(error, st->PickleError))
        return 1;
    if (!PyErr_GivenExceptionMatches(error, PyExc_TypeError) &&
        !PyErr_GivenExceptionMatches(error, PyExc_AttributeError))
        return 0;
    PyObject *text = PyObject_Str(error);
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    int answer = utf8 && (strstr(utf8, "pickle") || strstr(utf8, "serializ"));
    Py_XDECREF(text);
    PyErr_Clear();
    return answer;
}

static int leave_alone(PyObject *error)
{
    return !PyErr_GivenExceptionMatches(error, PyExc_Exception) ||
           PyErr_GivenExceptionMatches(error, PyExc_MemoryError);
}

/* byvalue_refuse() says why and what to do itself. */
static int is_refusal(PyObject *message)
{
    const char *utf8 = PyUnicode_AsUTF8(message);
    return utf8 && strstr(utf8, "\n  why: ") != NULL;
}

static PyObject *explained(saver *s, PyObject *error, PyObject *path, PyObject *obj)
{
    PyObject *type = NULL, *why = NULL, *message = NULL, *result = NULL;
    type = type_name(s->st, Py_TYPE(obj));
    why = PyObject_Str(error);
    if (!type || !why)
        goto done;
    const char *advice = NULL;
    int refusal = is_refusal(why);
    if (refusal) {
        message = PyUnicode_FromFormat("%U: %U", path, why);
    } else {
        message = PyUnicode_FromFormat("%U: %U cannot be pickled\n  why: %s: %U", path, type,
                                       Py_TYPE(error)->tp_name, why);
        const char *utf8 = PyUnicode_AsUTF8(type);
        advice = utf8 ? remedy(utf8) : NULL;
        const char *reason = PyUnicode_AsUTF8(why);
        if (!advice && reason && strstr(reason, "__reduce__"))
            advice = "let its __reduce__ return (callable, arguments) or the name of a global";
    }
    if (message && advice && extend(&message, PyUnicode_FromFormat("\n  do:  %s", advice)) < 0)
        goto done;
    if (message)
        result = PyObject_CallOneArg(s->st->PicklingError, message);
    /* A refusal of our own is said once, with its path; what Python code raised is the cause. */
    if (result && !(refusal && !((PyBaseExceptionObject *)error)->traceback)) {
        PyException_SetCause(result, Py_NewRef(error));
        PyException_SetContext(result, Py_NewRef(error));
    }
done:
    Py_XDECREF(type);
    Py_XDECREF(why);
    Py_XDECREF(message);
    return result;
}

void saver_explain(saver *s, PyObject *root)
{
    PyObject *type, *error, *traceback, *path = NULL, *better = NULL, *obj = NULL;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    if (leave_alone(error) || saver_before_python(s) < 0)
        goto done;
    path = build_path(s);
    if (!path)
        goto done;
    obj = Py_NewRef(culprit(s, root));
    if (s->options->log && PyList_Append(s->options->log, obj) < 0)
        goto done;
    if (speaks_of_pickling(s->st, error)) {
        better = explained(s, error, path, obj);
    } else {
        /* Not this walk: it has a stack of its own. */
        static const char endless[] =
            "\n  why: code of its own, like a __getstate__ or __reduce__, calls itself without end"
            "\n  do:  let that code end; how deep an object is nested does not matter";
        int recursed = PyErr_GivenExceptionMatches(error, PyExc_RecursionError);
        PyObject *note = PyUnicode_FromFormat("while pickling %U%s", path, recursed ? endless : "");
        if (note && recursed)
            compat_add_text(error, note);
        else if (note)
            compat_add_note(error, note);
        Py_XDECREF(note);
    }
done:
    PyErr_Clear(); /* what went wrong while explaining matters less than the error */
    Py_XDECREF(obj);
    Py_XDECREF(path);
    if (better) {
        Py_DECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        PyErr_SetObject(s->st->PicklingError, better);
        Py_DECREF(better);
        return;
    }
    PyErr_Restore(type, error, traceback);
}
