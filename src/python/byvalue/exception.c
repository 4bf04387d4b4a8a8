/*
 * exception.c - exceptions as themselves, without calling their __init__.
 *
 * pickle's default is class(*args), which fails for every exception whose __init__ wants something
 * else than what it hands to its base. Here an exception is
 *
 *    exception(class[, arguments])  then  exception_state(exception, state)
 *    exception_of(names of its bases, class[, arguments])  for a Python class by name
 *
 * The call makes it with the __new__ of the C class it is made from; 'arguments' only for groups,
 * which need message and members there. The state is a dict of what is there: "args"; "fields", what
 * the C class
 * keeps beside them (errno, filename, …); "__dict__"; "slots"; "text", what a __str__ of its own
 * says, with exception_of only; "state", what its __reduce__ says that its __setstate__ is to be
 * called with (exception_own.c); "__cause__", "__context__",
 * "__suppress_context__" and "__traceback__" (traceback.c).
 * A class that says itself how it is pickled is believed (exception_own.c). What a worker's task raised has its
 * traceback as text, achar.RemoteTraceback, instead.
 */
#include "python/byvalue/internal.h"

/* What C classes keep in fields of their own, beside args. */
static const struct kept {
    PyObject **type;
    const char *const fields[9];
} kept_fields[] = {
    {&PyExc_StopIteration, {"value"}},
    {&PyExc_SystemExit, {"code"}},
    {&PyExc_OSError, {"errno", "strerror", "filename", "filename2", "characters_written"}},
    {&PyExc_ImportError, {"msg", "name", "path", "name_from"}},
    {&PyExc_SyntaxError,
     {"msg", "filename", "lineno", "offset", "text", "end_lineno", "end_offset",
      "print_file_and_line"}},
    {&PyExc_UnicodeEncodeError, {"encoding", "object", "start", "end", "reason"}},
    {&PyExc_UnicodeDecodeError, {"encoding", "object", "start", "end", "reason"}},
    {&PyExc_UnicodeTranslateError, {"object", "start", "end", "reason"}},
    {&PyExc_NameError, {"name"}},
    {&PyExc_AttributeError, {"name"}}, /* not obj: it can be anything, as large as can be */
};

static const struct kept *kept_of(PyTypeObject *type)
{
    for (size_t i = 0; i < sizeof(kept_fields) / sizeof(*kept_fields); i++) {
        if (PyType_IsSubtype(type, (PyTypeObject *)*kept_fields[i].type))
            return &kept_fields[i];
    }
    return NULL;
}

/* The C class's own descriptor for a field, past whatever a subclass put in front; borrowed. */
static PyObject *field_descriptor(const struct kept *kept, const char *field)
{
    PyObject *dict = compat_type_dict((PyTypeObject *)*kept->type);
    PyObject *descriptor = dict ? PyDict_GetItemString(dict, field) : NULL;
    Py_XDECREF(dict); /* the type has it */
    return descriptor;
}

static int is_group(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030B0000
    return PyType_IsSubtype(type, (PyTypeObject *)PyExc_BaseExceptionGroup);
#else
    return 0;
#endif
}

/* (message, members): a tuple of its own, as the list in args may be waiting for its items. */
static PyObject *group_args(PyObject *group)
{
    PyObject *args = NULL;
#if PY_VERSION_HEX >= 0x030B0000
    static const struct kept kept = {&PyExc_BaseExceptionGroup, {"message", "exceptions"}};
    PyObject *parts[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        PyObject *descriptor = field_descriptor(&kept, kept.fields[i]);
        if (descriptor)
            parts[i] =
                Py_TYPE(descriptor)->tp_descr_get(descriptor, group, (PyObject *)Py_TYPE(group));
    }
    if (parts[0] && parts[1])
        args = PyTuple_Pack(2, parts[0], parts[1]);
    Py_XDECREF(parts[0]);
    Py_XDECREF(parts[1]);
#endif
    return args;
}

/* 1 if it was raised; what was set to None, too, is a traceback to CPython. */
static int has_traceback(const PyBaseExceptionObject *exception)
{
    return exception->traceback && exception->traceback != Py_None;
}

/* 1 if class(*args) is all there is to it, and args cannot lead back to it. */
static int is_plain(PyObject *obj)
{
    PyBaseExceptionObject *exception = (PyBaseExceptionObject *)obj;
    if (byvalue_is_python_class(Py_TYPE(obj)) || kept_of(Py_TYPE(obj)) || is_group(Py_TYPE(obj)) ||
        exception->cause || exception->context || exception->suppress_context ||
        has_traceback(exception) || (exception->dict && PyDict_GET_SIZE(exception->dict)))
        return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(exception->args); i++) {
        if (!byvalue_is_atom(PyTuple_GET_ITEM(exception->args, i)))
            return 0;
    }
    return 1;
}

/* ---- out ---- */

/* 1 if a C class keeps nothing in its instances beside what its base does: ssl.SSLError. */
static int adds_no_field(PyTypeObject *type)
{
    return type->tp_base && type->tp_basicsize == type->tp_base->tp_basicsize &&
           type->tp_new == type->tp_base->tp_new;
}

/*
 * 1 if the class's pickling is the one it inherits from builtin exceptions: nobody above it wrote
 * another. C classes from elsewhere may have fields that we do not know, so they are left alone.
 */
static int pickles_as_builtin(module_state *st, PyTypeObject *type)
{
    PyTypeObject *native = byvalue_native_base(type);
    while ((native->tp_flags & Py_TPFLAGS_HEAPTYPE) && adds_no_field(native))
        native = native->tp_base;
    if (native->tp_flags & Py_TPFLAGS_HEAPTYPE)
        return 0;
    PyObject *const names[] = {st->byvalue_str___reduce_ex__, st->byvalue_str___reduce__};
    for (int i = 0; i < 2; i++) {
        PyObject *found = _PyType_Lookup(type, names[i]);
        if (!found || Py_TYPE(found) != &PyMethodDescr_Type ||
            (PyDescr_TYPE(found)->tp_flags & Py_TPFLAGS_HEAPTYPE))
            return 0;
    }
    return 1;
}

static int put(PyObject *state, const char *key, PyObject *value)
{
    return PyDict_SetItemString(state, key, value);
}

static int put_fields(PyObject *state, PyObject *obj)
{
    const struct kept *kept = kept_of(Py_TYPE(obj));
    if (!kept)
        return 0;
    int status = -1;
    PyObject *fields = PyDict_New();
    if (!fields)
        return -1;
    for (int i = 0; i < 9 && kept->fields[i]; i++) {
        PyObject *descriptor = field_descriptor(kept, kept->fields[i]);
        if (!descriptor || !Py_TYPE(descriptor)->tp_descr_get)
            continue; /* a field that this version of Python does not have */
        PyObject *value =
            Py_TYPE(descriptor)->tp_descr_get(descriptor, obj, (PyObject *)Py_TYPE(obj));
        if (!value) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError) &&
                !PyErr_ExceptionMatches(PyExc_TypeError))
                goto done;
            PyErr_Clear(); /* it was never set */
            continue;
        }
        int failed = value != Py_None && PyDict_SetItemString(fields, kept->fields[i], value) < 0;
        Py_DECREF(value);
        if (failed)
            goto done;
    }
    status = PyDict_GET_SIZE(fields) ? put(state, "fields", fields) : 0;
done:
    Py_DECREF(fields);
    return status;
}

/* What classes written in Python keep in __slots__. */
static int put_slots(module_state *st, PyObject *state, PyObject *obj)
{
    PyObject *mro = Py_TYPE(obj)->tp_mro, *slots = NULL, *name, *descriptor;
    int status = -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        Py_ssize_t position = 0;
        if (!byvalue_is_python_class(type))
            continue;
        PyObject *dict = compat_type_dict(type);
        while (PyDict_Next(dict, &position, &name, &descriptor)) {
            if (Py_TYPE(descriptor) != &PyMemberDescr_Type || PyDescr_TYPE(descriptor) != type)
                continue;
            PyObject *value =
                Py_TYPE(descriptor)->tp_descr_get(descriptor, obj, (PyObject *)Py_TYPE(obj));
            if (!value) {
                PyErr_Clear(); /* an empty slot */
                continue;
            }
            if (!slots)
                slots = PyDict_New();
            int failed = !slots || PyDict_SetItem(slots, name, value) < 0;
            Py_DECREF(value);
            if (failed) {
                Py_DECREF(dict);
                goto done;
            }
        }
        Py_DECREF(dict);
    }
    status = slots ? put(state, "slots", slots) : 0;
done:
    Py_XDECREF(slots);
    return status;
}

int byvalue_put_links(PyObject *state, PyObject *obj)
{
    PyBaseExceptionObject *exception = (PyBaseExceptionObject *)obj;
    if (exception->cause && put(state, "__cause__", exception->cause) < 0)
        return -1;
    if (exception->context && put(state, "__context__", exception->context) < 0)
        return -1;
    if (exception->suppress_context && put(state, "__suppress_context__", Py_True) < 0)
        return -1;
    if (has_traceback(exception) && put(state, "__traceback__", exception->traceback) < 0)
        return -1;
    return 0;
}

int byvalue_reduce_exception(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyTypeObject *type = Py_TYPE(obj);
    PyBaseExceptionObject *exception = (PyBaseExceptionObject *)obj;
    PyObject *args = NULL, *state = NULL, *bases = NULL, *given = NULL;
    if (!pickles_as_builtin(st, type))
        return byvalue_reduce_own_exception(session, obj, reduced);
    if (is_plain(obj))
        return 0;
    int registered = PyDict_Contains(st->copyreg_dispatch_table, (PyObject *)type);
    if (registered)
        return registered < 0 ? -1 : 0;
    bases = session->portable ? NULL : byvalue_bases_by_name(st, type);
    if (!bases && PyErr_Occurred())
        return -1;
    if (is_group(type)) {
        given = group_args(obj);
        if (given)
            args = bases ? PyTuple_Pack(3, bases, type, given) : PyTuple_Pack(2, type, given);
    } else {
        args = bases ? PyTuple_Pack(2, bases, type) : PyTuple_Pack(1, type);
    }
    state = args ? PyDict_New() : NULL;
    if (!state || put(state, "args", exception->args) < 0)
        goto fail;
    if (exception->dict && PyDict_GET_SIZE(exception->dict) &&
        put(state, "__dict__", exception->dict) < 0)
        goto fail;
    if (put_fields(state, obj) < 0 || put_slots(st, state, obj) < 0 ||
        byvalue_put_links(state, obj) < 0 ||
        (bases && byvalue_put_text(state, obj, byvalue_native_base(type)) < 0))
        goto fail;
    int status = byvalue_make_reduce(bases ? st->v1_exception_of : st->v1_exception, args, state,
                                     st->v1_exception_state, reduced);
    Py_XDECREF(bases);
    Py_XDECREF(given);
    return status;
fail:
    Py_XDECREF(args);
    Py_XDECREF(state);
    Py_XDECREF(bases);
    Py_XDECREF(given);
    return -1;
}

/* ---- in ---- */

PyObject *byvalue_v1_make_exception(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    if (count && !PyExceptionClass_Check(args[0])) {
        byvalue_became_other(st, args[0], "an exception class");
        return NULL;
    }
    if (count < 1 || count > 2 || (count == 2 && !PyTuple_CheckExact(args[1]))) {
        byvalue_bad_stream(st, "exception", "expected (class[, arguments])");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)args[0];
    PyTypeObject *native = byvalue_native_base(type);
    PyObject *given = count == 2 ? Py_NewRef(args[1]) : PyTuple_New(0);
    PyObject *made = given ? native->tp_new(type, given, NULL) : NULL;
    Py_XDECREF(given);
    return made;
}

static int set_fields(module_state *st, PyObject *obj, PyObject *fields)
{
    const struct kept *kept = kept_of(Py_TYPE(obj));
    PyObject *name, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(fields, &position, &name, &value)) {
        const char *field = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
        PyObject *descriptor = kept && field ? field_descriptor(kept, field) : NULL;
        if (!descriptor || !Py_TYPE(descriptor)->tp_descr_set) {
            if (PyErr_Occurred())
                return -1;
            continue; /* a field of another version of Python */
        }
        if (Py_TYPE(descriptor)->tp_descr_set(descriptor, obj, value) < 0)
            return -1;
    }
    return 0;
}

static int set_slots(PyObject *obj, PyObject *slots)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    int status = 0;
    PyObject *copy = PyDict_Copy(slots);
    while (copy && status == 0 && PyDict_Next(copy, &position, &name, &value))
        status = PyObject_GenericSetAttr(obj, name, value);
    Py_XDECREF(copy);
    return copy ? status : -1;
}

/* The exception's own dict gets what was in the sender's; a __setstate__ of its class may do that. */
static int set_dict(module_state *st, PyObject *obj, PyObject *dict)
{
    PyObject *setstate = _PyType_Lookup(Py_TYPE(obj), st->byvalue_str___setstate__);
    if (setstate && Py_TYPE(setstate) == &PyMethodDescr_Type) {
        PyObject **own = &((PyBaseExceptionObject *)obj)->dict;
        if (!*own)
            *own = PyDict_New();
        return *own ? PyDict_Update(*own, dict) : -1;
    }
    PyObject *done = PyObject_CallMethodOneArg(obj, st->byvalue_str___setstate__, dict);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *v1_exception_state(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    PyObject *state = count == 2 ? args[1] : NULL;
    if (state && PyDict_CheckExact(state) && PyDict_GET_SIZE(state) &&
        !PyDict_GetItemString(state, "args") && !PyDict_GetItemString(state, "state") &&
        !PyExceptionInstance_Check(args[0]))
        return Py_NewRef(Py_None); /* its own __reduce__ made something else of it */
    if (!state || !PyExceptionInstance_Check(args[0]) || !PyDict_CheckExact(state)) {
        byvalue_bad_stream(st, "exception_state", "expected (exception, dict)");
        return NULL;
    }
    PyObject *obj = args[0];
    PyBaseExceptionObject *exception = (PyBaseExceptionObject *)obj;
    PyObject *own_args = PyDict_GetItemString(state, "args");
    PyObject *fields = PyDict_GetItemString(state, "fields");
    PyObject *slots = PyDict_GetItemString(state, "slots");
    PyObject *dict = PyDict_GetItemString(state, "__dict__");
    PyObject *cause = PyDict_GetItemString(state, "__cause__");
    PyObject *context = PyDict_GetItemString(state, "__context__");
    PyObject *suppress = PyDict_GetItemString(state, "__suppress_context__");
    PyObject *traceback = PyDict_GetItemString(state, "__traceback__");
    PyObject *text = PyDict_GetItemString(state, "text");
    PyObject *own_state = PyDict_GetItemString(state, "state");
    if ((own_args && !PyTuple_Check(own_args)) || (fields && !PyDict_CheckExact(fields)) ||
        (slots && !PyDict_CheckExact(slots)) || (dict && !PyDict_CheckExact(dict)) ||
        (cause && !PyExceptionInstance_Check(cause)) ||
        (context && !PyExceptionInstance_Check(context)) ||
        (traceback && !PyTraceBack_Check(traceback))) {
        byvalue_bad_stream(st, "exception_state", "a part is of the wrong type");
        return NULL;
    }
    int is_stand_in = byvalue_is_stand_in((PyObject *)Py_TYPE(obj));
    if (is_stand_in < 0)
        return NULL;
    if (is_stand_in && !own_args)
        own_args = PyDict_GetItemString(state, "own_args");
    if (own_args && PyTuple_Check(own_args))
        Py_XSETREF(exception->args, Py_NewRef(own_args));
    if (fields && set_fields(st, obj, fields) < 0)
        return NULL;
    if (slots && set_slots(obj, slots) < 0)
        return NULL;
    if (cause)
        PyException_SetCause(obj, Py_NewRef(cause)); /* also suppresses the context */
    if (context)
        PyException_SetContext(obj, Py_NewRef(context));
    if (traceback && PyException_SetTraceback(obj, traceback) < 0)
        return NULL;
    exception->suppress_context = suppress && PyObject_IsTrue(suppress) == 1;
    if (text && PyType_IsSubtype(Py_TYPE(obj), (PyTypeObject *)PyExc_Exception) &&
        byvalue_set_text(obj, text) < 0)
        return NULL;
    if (dict && set_dict(st, obj, dict) < 0)
        return NULL;
    if (own_state && is_stand_in) /* it is for the __setstate__ of the class that is not here */
        return PyDict_CheckExact(own_state) && set_dict(st, obj, own_state) < 0
                   ? NULL
                   : Py_NewRef(Py_None);
    if (own_state)
        return PyObject_CallMethodOneArg(obj, st->byvalue_str___setstate__, own_state);
    return Py_NewRef(Py_None);
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

PyMethodDef byvalue_v1_exception[] = {
    {"exception", FAST(byvalue_v1_make_exception),
     "exception(class[, arguments]): a bare exception"},
    {"exception_state", FAST(v1_exception_state), "exception_state(exception, dict): completes it"},
    {NULL},
};

/* ---- the remote traceback ---- */

int byvalue_attach_traceback(module_state *st, PyObject *exception, PyObject *text)
{
    enum { CHAIN_MAX = 1000 }; /* a chain of causes may be a ring */
    if (!PyExceptionInstance_Check(exception) || !PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "expected an exception and a str");
        return -1;
    }
    PyObject *quoted = PyUnicode_FromFormat("\n\"\"\"\n%U\"\"\"", text);
    PyObject *remote = quoted ? PyObject_CallOneArg(st->RemoteTraceback, quoted) : NULL;
    Py_XDECREF(quoted);
    if (!remote)
        return -1;
    PyObject *last = Py_NewRef(exception);
    for (int i = 0; i < CHAIN_MAX; i++) {
        PyObject *cause = PyException_GetCause(last);
        if (!cause || cause == exception || cause == last) {
            Py_XDECREF(cause);
            break;
        }
        Py_SETREF(last, cause);
    }
    char suppressed = ((PyBaseExceptionObject *)last)->suppress_context;
    PyException_SetCause(last, remote);                             /* a ring is opened here */
    ((PyBaseExceptionObject *)last)->suppress_context = suppressed; /* as it was raised there */
    Py_DECREF(last);
    return 0;
}

static PyObject *attach_traceback(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "attach_traceback() takes an exception and a str");
        return NULL;
    }
    if (byvalue_attach_traceback(state_of_module(self), args[0], args[1]) < 0)
        return NULL;
    return Py_NewRef(Py_None);
}

static PyMethodDef attach_def = {
    "attach_traceback", FAST(attach_traceback),
    "attach_traceback($module, exception, text, /)\n--\n\n"
    "Show the text of another process's traceback when the exception is printed."};

int byvalue_exception_exec(PyObject *module, module_state *st)
{
    st->RemoteTraceback = PyErr_NewExceptionWithDoc(
        "achar.RemoteTraceback",
        "The traceback, as text, of an exception that was raised in another process.", NULL, NULL);
    if (!st->RemoteTraceback ||
        PyModule_AddObjectRef(module, "RemoteTraceback", st->RemoteTraceback) < 0)
        return -1;
    return state_add_function(module, module, &attach_def, "achar._achar");
}
