/*
 * byvalue.c - the door: sessions, the question about one object, and the rebuild module.
 *
 * The streams name the rebuild module as achar._v1; python/achar/_v1.py has what is put together
 * here. A version of the format that cannot be read by these functions gets a module of its own,
 * beside this one, which stays.
 */
#include "python/byvalue/internal.h"
#include "python/saver/saver.h"

byvalue_session *byvalue_session_new(module_state *st)
{
    byvalue_session *session = PyMem_Calloc(1, sizeof(*session));
    if (!session) {
        PyErr_NoMemory();
        return NULL;
    }
    session->st = st;
    return session;
}

void byvalue_session_free(byvalue_session *session)
{
    if (!session)
        return;
    Py_XDECREF(session->named_module);
    Py_XDECREF(session->named_qualname);
    Py_XDECREF(session->named_modules);
    byvalue_map_clear(&session->globals);
    byvalue_map_clear(&session->cells);
    byvalue_map_clear(&session->digests);
    byvalue_map_clear(&session->ids);
    Py_XDECREF(session->ordinals);
    Py_XDECREF(session->codes);
    Py_XDECREF(session->failure);
    byvalue_code_free_loose(session);
    PyMem_Free(session);
}

void byvalue_choose(byvalue_session *session, int fresh_locks, PyObject *log, PyObject *skip)
{
    session->fresh_locks = fresh_locks;
    session->log = log;
    session->skip = skip;
}

/* Tells achar.explain() about one object. As byvalue_reduce(). */
static int reduce_observed(byvalue_session *session, byvalue_reducer reducer, PyObject *obj,
                           PyObject **reduced)
{
    PyObject *address = PyLong_FromVoidPtr(obj);
    int skipped = address ? PyDict_Contains(session->skip, address) : -1;
    Py_XDECREF(address);
    if (skipped)
        return skipped < 0 ? -1
                           : byvalue_make_reduce((PyObject *)&PyTuple_Type, PyTuple_New(0), NULL,
                                                 NULL, reduced);
    int status = reducer ? reducer(session, obj, reduced) : 0;
    if (status > 0 && (PyFunction_Check(obj) || PyType_Check(obj) || PyModule_Check(obj) ||
                       PyCFunction_Check(obj))) {
        PyObject *entry = PyTuple_Pack(2, obj, status == 2 ? Py_True : Py_False);
        if (!entry || PyList_Append(session->log, entry) < 0)
            status = -1;
        Py_XDECREF(entry);
    }
    if (status < 0)
        Py_CLEAR(*reduced);
    return status == 1 && session->portable ? byvalue_reduce_portable(session, obj, reduced)
                                            : status;
}

int byvalue_reduce(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    *reduced = NULL;
    session->named = NULL;
    byvalue_reducer reducer = byvalue_reducer_of_type(session->st, Py_TYPE(obj));
    if (session->log)
        return reduce_observed(session, reducer, obj, reduced);
    int status = reducer ? reducer(session, obj, reduced) : 0;
    return status == 1 && session->portable ? byvalue_reduce_portable(session, obj, reduced)
                                            : status;
}

int byvalue_name(const byvalue_session *session, PyObject *obj, PyObject **module_name,
                 PyObject **qualname)
{
    if (session->named != obj)
        return 0;
    *module_name = session->named_module;
    *qualname = session->named_qualname;
    return 1;
}

const char *byvalue_state_part(PyObject *obj, Py_ssize_t index)
{
    static const char *const of_function[] = {".__globals__", ".__closure__", ""};
    if (PyFunction_Check(obj))
        return index >= 0 && index < 3 ? of_function[index] : NULL;
    return PyType_Check(obj) && index == 0 ? "" : NULL;
}

int byvalue_concerns(module_state *st, PyTypeObject *type)
{
    return byvalue_reducer_of_type(st, type) != NULL;
}

/*
 * Attributes are state of the functions themselves, so code that assigns to attributes (of anything:
 * bytecode does not say of what) or looks inside functions may change them.
 */
int byvalue_reusable(const byvalue_session *session)
{
    unsigned captures = session->captures;
    if (captures & (CAPTURES_MUTABLE | CODE_STORES_GLOBAL | CODE_STORES_FREE | CODE_REACHES_INSIDE))
        return 0;
    return !(captures & CAPTURES_FUNCTION && captures & CODE_STORES_ATTRIBUTE);
}

static int is_constant(byvalue_session *session, PyObject *obj, int depth)
{
    if (byvalue_is_atom(obj))
        return 1;
    if (PyTuple_CheckExact(obj)) {
        int constant = depth < 32;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(obj) && constant == 1; i++)
            constant = is_constant(session, PyTuple_GET_ITEM(obj, i), depth + 1);
        return constant;
    }
    if (PyFrozenSet_CheckExact(obj)) {
        PyObject *item;
        Py_ssize_t position = 0;
        int constant = depth < 32;
        while (constant == 1 && compat_set_next(obj, &position, &item)) {
            Py_INCREF(item);
            constant = is_constant(session, item, depth + 1);
            Py_DECREF(item);
        }
        return constant;
    }
    if (PyFunction_Check(obj)) {
        /* By name it is its module's; by value byvalue_reduce() will judge it when it comes. */
        session->captures |= CAPTURES_FUNCTION;
        return 1;
    }
    if (PyModule_CheckExact(obj)) {
        PyObject *name = PyModule_GetNameObject(obj);
        int registered = name ? byvalue_is_registered(session->st, name) : -1;
        PyObject *imported = registered == 0 ? compat_loaded_module(name) : NULL;
        int constant = registered < 0 || PyErr_Occurred() ? -1 : imported == obj;
        Py_XDECREF(name);
        Py_XDECREF(imported);
        return constant;
    }
    if (PyCFunction_CheckExact(obj)) {
        PyObject *self = PyCFunction_GET_SELF(obj);
        return !self || PyModule_CheckExact(self) || PyType_Check(self) || byvalue_is_atom(self);
    }
    if (PyType_Check(obj))
        return byvalue_has_name(session->st, obj);
    return PyCode_Check(obj);
}

int byvalue_is_constant(byvalue_session *session, PyObject *obj)
{
    return is_constant(session, obj, 0);
}

int byvalue_make_reduce(PyObject *callable, PyObject *args, PyObject *state, PyObject *state_setter,
                        PyObject **reduced)
{
    if (!args)
        *reduced = NULL;
    else if (!state)
        *reduced = PyTuple_Pack(2, callable, args);
    else if (!state_setter)
        *reduced = PyTuple_Pack(3, callable, args, state);
    else
        *reduced = PyTuple_Pack(6, callable, args, state, Py_None, Py_None, state_setter);
    Py_XDECREF(args);
    Py_XDECREF(state);
    return *reduced ? 1 : -1;
}

void byvalue_take_calls(byvalue_session *session)
{
    /* Neither an observer nor a portable stream takes anything but reduce tuples. */
    session->takes_calls = !session->log && !session->portable;
}

int byvalue_answer_call(byvalue_session *session, PyObject *callable, PyObject *args,
                        PyObject *state, PyObject **reduced)
{
    if (!args || !session->takes_calls)
        return byvalue_make_reduce(callable, args, state,
                                   state ? byvalue_setter(session->st, callable) : NULL, reduced);
    session->call = (byvalue_call){Py_NewRef(callable), args, state};
    return 3;
}

byvalue_call byvalue_call_of(byvalue_session *session)
{
    byvalue_call call = session->call;
    session->call = (byvalue_call){NULL};
    return call;
}

PyObject *byvalue_setter(module_state *st, PyObject *callable)
{
    return callable == st->v1_function ? st->v1_function_state
           : callable == st->v1_class_ ? st->v1_class_state
           : callable == st->v1_cell   ? st->v1_cell_state
                                       : st->v1_enum_member_state;
}

PyObject *byvalue_import(const char *module_name, const char *attribute)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (!module)
        return NULL;
    PyObject *found = PyObject_GetAttrString(module, attribute);
    Py_DECREF(module);
    return found;
}

PyObject *byvalue_object_state(module_state *st, PyObject *obj)
{
    PyObject *dict = NULL, *slots = NULL, *state = NULL, *values = NULL;
    PyObject *names = PyObject_CallOneArg(st->copyreg_slotnames, (PyObject *)Py_TYPE(obj));
    if (!names || compat_find_attr(obj, st->byvalue_str___dict__, &dict) < 0)
        goto done;
    if (dict && (!PyDict_Check(dict) || PyDict_GET_SIZE(dict) == 0))
        Py_CLEAR(dict);
    for (Py_ssize_t i = 0; PyList_Check(names) && i < PyList_GET_SIZE(names); i++) {
        PyObject *value = NULL;
        if (compat_find_attr(obj, PyList_GET_ITEM(names, i), &value) < 0)
            goto done;
        if (value && !slots)
            slots = PyDict_New();
        int failed =
            value && (!slots || PyDict_SetItem(slots, PyList_GET_ITEM(names, i), value) < 0);
        Py_XDECREF(value);
        if (failed)
            goto done;
    }
    values = dict ? PyDict_Copy(dict) : Py_NewRef(Py_None);
    if (values)
        state = slots ? PyTuple_Pack(2, values, slots) : Py_NewRef(values);
done:
    Py_XDECREF(names);
    Py_XDECREF(dict);
    Py_XDECREF(slots);
    Py_XDECREF(values);
    return state;
}

int byvalue_bad_stream(module_state *st, const char *function, const char *what)
{
    PyErr_Format(st->UnpicklingError, "achar._v1.%s: %s", function, what);
    return -1;
}

int byvalue_became_other(module_state *st, PyObject *found, const char *what)
{
    PyErr_Format(
        st->UnpicklingError,
        "%R is not %s\n"
        "  why: the pickle has it by name, and where it was pickled that name was %s\n"
        "  do:  have the same version of its module on both sides, or call "
        "achar.register_by_value() of it where it is pickled, so that the code travels along",
        found, what, what);
    return -1;
}

/* ---- for the tests ---- */

static int grow_sink(saver_sink *sink, size_t capacity_nbytes)
{
    char *data = PyMem_Realloc(sink->data, capacity_nbytes);
    if (!data) {
        PyErr_NoMemory();
        return -1;
    }
    sink->data = data;
    sink->capacity = capacity_nbytes;
    return 0;
}

/* What saver_report says of a dump of this object. */
static PyObject *is_reusable(PyObject *self, PyObject *obj)
{
    saver_options options = {.protocol = -1, .superset = 1};
    saver_sink sink = {.grow = grow_sink};
    saver_report report = {0};
    int status = saver_dump_into(state_of_module(self), obj, &options, &sink, &report);
    PyMem_Free(sink.data);
    return status < 0 ? NULL : PyBool_FromLong(report.reusable);
}

static PyMethodDef is_reusable_def = {
    "is_reusable", is_reusable, METH_O,
    "is_reusable($module, obj, /)\n--\n\n"
    "Whether a worker keeps this function for its next task instead of loading it again."};

/* ---- setting up ---- */

static void free_tables(PyObject *capsule)
{
    PyMem_Free(PyCapsule_GetPointer(capsule, NULL));
}

static int remember_v1_name(module_state *st, const char *name)
{
    PyObject *function = PyObject_GetAttrString(st->byvalue_v1, name);
    PyObject *text = PyUnicode_InternFromString(name);
    int status = -1;
    if (function && text)
        status = PyDict_SetItem(st->byvalue_v1_names, function, text);
    Py_XDECREF(function);
    Py_XDECREF(text);
    return status;
}

static int add_v1_functions(PyObject *module, module_state *st)
{
    PyMethodDef *const tables[] = {byvalue_v1_code,   byvalue_v1_function, byvalue_v1_module,
                                   byvalue_v1_class,  byvalue_v1_enum,     byvalue_v1_exception,
                                   byvalue_v1_small,  byvalue_v1_weak,     byvalue_v1_traceback,
                                   byvalue_v1_file,   byvalue_v1_context,  byvalue_v1_inside,
                                   byvalue_v1_source, byvalue_v1_missing};
    st->byvalue_v1 = PyModule_New("achar._v1");
    st->byvalue_v1_names = PyDict_New();
    if (!st->byvalue_v1 || !st->byvalue_v1_names)
        return -1;
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        for (PyMethodDef *def = tables[i]; def->ml_name; def++) {
            if (state_add_function(module, st->byvalue_v1, def, "achar._v1") < 0 ||
                remember_v1_name(st, def->ml_name) < 0)
                return -1;
        }
    }
    return PyModule_AddObjectRef(module, "v1", st->byvalue_v1);
}

int byvalue_exec(PyObject *module, module_state *st)
{
    byvalue_tables *tables = PyMem_Calloc(1, sizeof(*tables));
    if (!tables) {
        PyErr_NoMemory();
        return -1;
    }
    st->byvalue_tables = PyCapsule_New(tables, NULL, free_tables);
    if (!st->byvalue_tables) {
        PyMem_Free(tables);
        return -1;
    }
#define INTERN(name)                                                                               \
    st->byvalue_str_##name = PyUnicode_InternFromString(#name);                                    \
    if (!st->byvalue_str_##name)                                                                   \
        return -1;
    BYVALUE_STRINGS(INTERN)
#undef INTERN
    if (add_v1_functions(module, st) < 0 ||
        state_add_function(module, module, &is_reusable_def, "achar._achar") < 0)
        return -1;
#define FIND(name)                                                                                 \
    st->v1_##name = PyObject_GetAttrString(st->byvalue_v1, #name);                                 \
    if (!st->v1_##name)                                                                            \
        return -1;
    BYVALUE_V1(FIND)
#undef FIND
    if (byvalue_code_exec(st) < 0 || byvalue_identity_exec(st) < 0 ||
        byvalue_context_exec(st) < 0 || byvalue_names_exec(module, st) < 0 ||
        byvalue_exception_exec(module, st) < 0 || byvalue_sender_exec(st) < 0 ||
        byvalue_digest_exec(module, st) < 0 || byvalue_definition_exec(module, st) < 0 ||
        byvalue_class_load_exec(module, st) < 0)
        return -1;
    return 0;
}
