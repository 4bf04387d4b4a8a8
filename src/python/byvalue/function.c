/*
 * function.c - functions, closure cells, bound methods.
 *
 * In a stream a function is
 *
 *    function(code, globals[, cells[, qualname]])  then  function_state(function, state)
 *
 * 'globals' is a dict with no more than __name__, __package__ and __path__. All functions of one
 * dump that come from the same module name the same dict, so there they share one, too. What a
 * function reads from its globals comes with its state, because by then the function exists and
 * may be referred to: a recursive function, or two that call each other, need nothing more. For the
 * same reason cells come empty, and are filled by the state of the functions that close over them;
 * a cell that two functions share is one object in the stream. Only what has no parts (a number, a
 * str) stands in its cell from the beginning.
 *
 * The state is a tuple, with None for what is not there and without the Nones at its end:
 *
 *    (globals that the code names: dict, cells to fill: (index, contents, …),
 *     attributes that are not what the code and globals imply: dict, submodules to import: tuple)
 */
#include "python/byvalue/internal.h"

/* ---- out: globals ---- */

/* What the functions with this globals dict take as theirs in this dump; borrowed. */
static PyObject *base_globals(byvalue_session *session, PyObject *globals)
{
    PyObject *base = byvalue_map_get(&session->globals, globals);
    if (base)
        return base;
    module_state *st = session->st;
    PyObject *const names[] = {st->byvalue_str___name__, st->byvalue_str___package__,
                               st->byvalue_str___path__};
    base = PyDict_New();
    for (int i = 0; base && i < 3; i++) {
        PyObject *value = PyDict_GetItemWithError(globals, names[i]);
        if (value && value != Py_None && PyDict_SetItem(base, names[i], value) < 0)
            Py_CLEAR(base);
        else if (!value && PyErr_Occurred())
            Py_CLEAR(base);
    }
    if (!base || byvalue_map_put(&session->globals, globals, base) < 0) {
        Py_XDECREF(base);
        return NULL;
    }
    Py_DECREF(base); /* the map holds it */
    return base;
}

/* The globals that the code names and that exist; NULL without an exception if there are none. */
static PyObject *named_globals(byvalue_session *session, PyObject *globals, PyObject *names)
{
    PyObject *found = NULL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        PyObject *value = PyDict_GetItemWithError(globals, name);
        if (!value) {
            if (PyErr_Occurred())
                goto fail;
            continue;
        }
        Py_INCREF(value);
        int constant = byvalue_is_constant(session, value);
        if (constant == 0)
            session->captures |= CAPTURES_MUTABLE;
        if (constant >= 0 && !found)
            found = PyDict_New();
        int status = constant >= 0 && found ? PyDict_SetItem(found, name, value) : -1;
        Py_DECREF(value);
        if (status < 0)
            goto fail;
    }
    return found;
fail:
    Py_XDECREF(found);
    return NULL;
}

/* ---- out: cells ---- */

/*
 * A cell is cell(), cell(contents), or, when no function brings its contents, cell() with
 * cell_state(cell, (contents,)).
 */
int byvalue_reduce_cell(byvalue_session *session, PyObject *cell, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *contents = PyCell_GET(cell);
    if (!contents || byvalue_map_get(&session->cells, cell))
        return byvalue_answer_call(session, st->v1_cell, PyTuple_New(0), NULL, reduced);
    if (byvalue_is_atom(contents))
        return byvalue_answer_call(session, st->v1_cell, PyTuple_Pack(1, contents), NULL, reduced);
    PyObject *state = PyTuple_Pack(1, contents);
    return byvalue_answer_call(session, st->v1_cell, state ? PyTuple_New(0) : NULL, state, reduced);
}

/* The cells that the function's state fills: a tuple or None. Announces them. */
static PyObject *cells_to_fill(byvalue_session *session, PyObject *closure)
{
    PyObject *fill = NULL;
    for (Py_ssize_t i = 0; closure && i < PyTuple_GET_SIZE(closure); i++) {
        PyObject *cell = PyTuple_GET_ITEM(closure, i);
        PyObject *contents = Py_XNewRef(PyCell_GET(cell));
        if (!contents || byvalue_is_atom(contents)) {
            Py_XDECREF(contents);
            continue;
        }
        int status = -1;
        PyObject *index = PyLong_FromSsize_t(i);
        int constant = byvalue_is_constant(session, contents);
        if (constant == 0)
            session->captures |= CAPTURES_MUTABLE;
        if (constant >= 0 && !fill)
            fill = PyList_New(0);
        if (constant >= 0 && fill && index && PyList_Append(fill, index) == 0 &&
            PyList_Append(fill, contents) == 0)
            status = byvalue_map_put(&session->cells, cell, Py_None);
        Py_XDECREF(index);
        Py_DECREF(contents);
        if (status < 0) {
            Py_XDECREF(fill);
            return NULL;
        }
    }
    if (!fill)
        return Py_NewRef(Py_None);
    PyObject *tuple = PyList_AsTuple(fill);
    Py_DECREF(fill);
    return tuple;
}

/* ---- out: attributes ---- */

/* The docstring that a new function of this code gets; borrowed. */
static PyObject *doc_of_code(PyCodeObject *code)
{
#ifdef CO_HAS_DOCSTRING
    if (!(code->co_flags & CO_HAS_DOCSTRING))
        return Py_None;
#endif
    PyObject *doc = PyTuple_GET_SIZE(code->co_consts) ? PyTuple_GET_ITEM(code->co_consts, 0) : NULL;
    return doc && PyUnicode_Check(doc) ? doc : Py_None;
}

/* Puts 'value' into '*attributes' (made when first needed) unless it is NULL. */
static int add_attribute(PyObject **attributes, PyObject *name, PyObject *value)
{
    if (!value)
        return 0;
    if (!*attributes)
        *attributes = PyDict_New();
    return *attributes ? PyDict_SetItem(*attributes, name, value) : -1;
}

/* As add_attribute(), for what has to be read as an attribute because its slot may be lazy. */
static int add_read_attribute(PyObject **attributes, PyObject *func, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(func, name);
    if (!value)
        return -1;
    int status = 0;
    int empty = value == Py_None || (PyTuple_CheckExact(value) && PyTuple_GET_SIZE(value) == 0) ||
                (PyDict_CheckExact(value) && PyDict_GET_SIZE(value) == 0);
    if (!empty)
        status = add_attribute(attributes, name, value);
    Py_DECREF(value);
    return status;
}

/* 1 if all that a call could find in default values is constant. */
static int defaults_are_constant(byvalue_session *session, PyFunctionObject *func)
{
    int constant = func->func_defaults ? byvalue_is_constant(session, func->func_defaults) : 1;
    PyObject *value;
    Py_ssize_t position = 0;
    while (constant == 1 && func->func_kwdefaults &&
           PyDict_Next(func->func_kwdefaults, &position, NULL, &value)) {
        Py_INCREF(value);
        constant = byvalue_is_constant(session, value);
        Py_DECREF(value);
    }
    return constant;
}

/* A dict of what is not as the code and the globals imply, or None; a new reference. */
static PyObject *own_attributes(byvalue_session *session, PyFunctionObject *func)
{
    module_state *st = session->st;
    PyCodeObject *code = (PyCodeObject *)func->func_code;
    PyObject *attributes = NULL;
    if (!byvalue_same_text(func->func_name, code->co_name) &&
        add_attribute(&attributes, st->byvalue_str___name__, func->func_name) < 0)
        goto fail;
    int doc_implied = byvalue_same_text(func->func_doc, doc_of_code(code)) &&
                      (!session->with_source || func->func_doc == Py_None);
    if (!doc_implied && add_attribute(&attributes, st->byvalue_str___doc__,
                                      func->func_doc ? func->func_doc : Py_None) < 0)
        goto fail;
    PyObject *implied = PyDict_GetItemWithError(func->func_globals, st->byvalue_str___name__);
    if (!implied && PyErr_Occurred())
        goto fail;
    if (!byvalue_same_text(func->func_module, implied) &&
        add_attribute(&attributes, st->byvalue_str___module__,
                      func->func_module ? func->func_module : Py_None) < 0)
        goto fail;
    if (add_attribute(&attributes, st->byvalue_str___defaults__, func->func_defaults) < 0 ||
        add_attribute(&attributes, st->byvalue_str___kwdefaults__, func->func_kwdefaults) < 0)
        goto fail;
#if PY_VERSION_HEX >= 0x030E0000
    if (add_read_attribute(&attributes, (PyObject *)func, st->byvalue_str___annotate__) < 0)
        goto fail;
#else
    if (func->func_annotations &&
        add_read_attribute(&attributes, (PyObject *)func, st->byvalue_str___annotations__) < 0)
        goto fail;
#endif
#if PY_VERSION_HEX >= 0x030C0000
    if (func->func_typeparams &&
        add_read_attribute(&attributes, (PyObject *)func, st->byvalue_str___type_params__) < 0)
        goto fail;
#endif
    if (func->func_dict && PyDict_GET_SIZE(func->func_dict)) {
        session->captures |= CAPTURES_MUTABLE;
        if (add_attribute(&attributes, st->byvalue_str___dict__, func->func_dict) < 0)
            goto fail;
    }
    return attributes ? attributes : Py_NewRef(Py_None);
fail:
    Py_XDECREF(attributes);
    return NULL;
}

/* ---- out: the function ---- */

static PyObject *function_args(byvalue_session *session, PyFunctionObject *func, code_facts *facts)
{
    PyCodeObject *code = (PyCodeObject *)func->func_code;
    PyObject *args = NULL;
    PyObject *portion = byvalue_code_portion(session, code, facts);
    PyObject *globals = portion ? base_globals(session, func->func_globals) : NULL;
    if (globals) {
        PyObject *closure = func->func_closure ? func->func_closure : Py_None;
#if PY_VERSION_HEX >= 0x030B0000
        int qualname_implied = byvalue_same_text(func->func_qualname, code->co_qualname);
#else
        int qualname_implied = byvalue_same_text(func->func_qualname, code->co_name);
#endif
        if (!qualname_implied || session->with_source)
            args = PyTuple_Pack(4, portion, globals, closure, func->func_qualname);
        else if (func->func_closure)
            args = PyTuple_Pack(3, portion, globals, closure);
        else
            args = PyTuple_Pack(2, portion, globals);
    }
    Py_XDECREF(portion);
    return args;
}

/* The state tuple; NULL without an exception if there is nothing in it. */
static PyObject *function_state(byvalue_session *session, PyFunctionObject *func, code_facts *facts)
{
    PyObject *state = NULL;
    PyObject *items[4] = {NULL, NULL, NULL, NULL};
    items[0] = named_globals(session, func->func_globals, facts->global_names);
    if (!items[0] && PyErr_Occurred())
        goto done;
    items[3] = byvalue_submodules(items[0], func->func_closure, facts->names);
    items[1] = cells_to_fill(session, func->func_closure);
    items[2] = own_attributes(session, func);
    if (!items[0])
        items[0] = Py_NewRef(Py_None);
    if (!items[1] || !items[2] || !items[3])
        goto done;
    Py_ssize_t count = 4;
    while (count > 0 && items[count - 1] == Py_None)
        count--;
    state = count ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; state && i < count; i++)
        PyTuple_SET_ITEM(state, i, Py_NewRef(items[i]));
done:
    for (int i = 0; i < 4; i++)
        Py_XDECREF(items[i]);
    return state;
}

int byvalue_reduce_function(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyFunctionObject *func = (PyFunctionObject *)obj;
    int named = byvalue_is_named(st, obj, func->func_module, func->func_qualname);
    if (named < 0)
        return -1;
    if (named)
        return byvalue_answer_name(session, obj, func->func_module, func->func_qualname);
    code_facts *facts = byvalue_code_facts(session, (PyCodeObject *)func->func_code);
    if (!facts || (session->with_source && byvalue_source_announce(func) < 0))
        return -1;
    session->captures |= facts->flags;
    int constant = defaults_are_constant(session, func);
    if (constant < 0)
        return -1;
    if (!constant)
        session->captures |= CAPTURES_MUTABLE;
    PyObject *args = function_args(session, func, facts);
    PyObject *state = args ? function_state(session, func, facts) : NULL;
    if (!state && PyErr_Occurred())
        Py_CLEAR(args);
    return byvalue_answer_call(session, st->v1_function, args, state, reduced);
}

/* ---- out: methods ---- */

/*
 * A bound method is what getattr finds on its object (the ordinary way) if the class travels by
 * name; else method(function, object), which works before the class has its attributes.
 */
int byvalue_reduce_method(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    module_state *st = session->st;
    PyObject *self = PyMethod_GET_SELF(obj), *func = PyMethod_GET_FUNCTION(obj);
    PyTypeObject *type = PyType_Check(self) ? (PyTypeObject *)self : Py_TYPE(self);
    int named = byvalue_has_name(st, (PyObject *)type);
    if (named == 1 && PyFunction_Check(func)) {
        PyObject *found = _PyType_Lookup(type, ((PyFunctionObject *)func)->func_name);
        if (found == func)
            return 0;
        if (found && Py_TYPE(found) == &PyClassMethod_Type && PyType_Check(self)) {
            PyObject *wrapped = PyObject_GetAttr(found, st->byvalue_str___func__);
            Py_XDECREF(wrapped);
            if (!wrapped || wrapped == func)
                return wrapped ? 0 : -1;
        }
    }
    if (named < 0)
        return -1;
    return byvalue_answer_call(session, st->v1_method, PyTuple_Pack(2, func, self), NULL, reduced);
}

/* ---- in ---- */

static int is_closure(PyObject *closure, Py_ssize_t count)
{
    if (closure == Py_None)
        return count == 0;
    if (!PyTuple_CheckExact(closure) || PyTuple_GET_SIZE(closure) != count)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyCell_Check(PyTuple_GET_ITEM(closure, i)))
            return 0;
    }
    return 1;
}

static PyObject *v1_function(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    PyObject *globals = count >= 2 ? args[1] : NULL;
    PyObject *closure = count >= 3 ? args[2] : Py_None;
    PyObject *qualname = count >= 4 ? args[3] : NULL;
    if (globals && PyModule_Check(globals))
        globals = PyModule_GetDict(globals);
    if (count < 2 || count > 4 || !PyDict_CheckExact(globals) ||
        (qualname && !PyUnicode_Check(qualname))) {
        byvalue_bad_stream(st, "function", "expected (code, globals[, cells[, qualname]])");
        return NULL;
    }
    PyCodeObject *code = byvalue_code_load(st, args[0], qualname);
    if (!code)
        return NULL;
    PyObject *func = NULL;
    if (!is_closure(closure, PyCode_GetNumFree(code)))
        byvalue_bad_stream(st, "function", "the cells do not fit the code");
    else if (byvalue_give_builtins(st, globals) == 0)
        func = PyFunction_NewWithQualName((PyObject *)code, globals, qualname);
    Py_DECREF(code);
    if (func && closure != Py_None && PyFunction_SetClosure(func, closure) < 0)
        Py_CLEAR(func);
    return func;
}

static int fill_cells(module_state *st, PyObject *func, PyObject *fill)
{
    PyObject *closure = PyFunction_GET_CLOSURE(func);
    if (!closure || !PyTuple_CheckExact(fill) || PyTuple_GET_SIZE(fill) % 2)
        return byvalue_bad_stream(st, "function_state", "cells to fill, but no cells");
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fill); i += 2) {
        Py_ssize_t index = PyLong_AsSsize_t(PyTuple_GET_ITEM(fill, i));
        if (index == -1 && PyErr_Occurred())
            return -1;
        if (index < 0 || index >= PyTuple_GET_SIZE(closure))
            return byvalue_bad_stream(st, "function_state", "there is no such cell");
        if (PyCell_Set(PyTuple_GET_ITEM(closure, index), PyTuple_GET_ITEM(fill, i + 1)) < 0)
            return -1;
    }
    return 0;
}

static int set_attributes(module_state *st, PyObject *func, PyObject *attributes)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    if (!PyDict_CheckExact(attributes))
        return byvalue_bad_stream(st, "function_state", "attributes are a dict");
    PyObject *copy = PyDict_Copy(attributes);
    if (!copy)
        return -1;
    int status = 0;
    while (status == 0 && PyDict_Next(copy, &position, &name, &value))
        status = PyObject_SetAttr(func, name, value);
    Py_DECREF(copy);
    return status;
}

static PyObject *v1_function_state(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    PyObject *items[4] = {Py_None, Py_None, Py_None, Py_None};
    if (count != 2 || !PyFunction_Check(args[0]) || !PyTuple_CheckExact(args[1]) ||
        PyTuple_GET_SIZE(args[1]) > 4) {
        byvalue_bad_stream(st, "function_state", "expected (function, tuple)");
        return NULL;
    }
    PyObject *func = args[0];
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args[1]); i++)
        items[i] = PyTuple_GET_ITEM(args[1], i);
    if (items[0] != Py_None && PyDict_Update(PyFunction_GET_GLOBALS(func), items[0]) < 0)
        return NULL;
    if (items[1] != Py_None && fill_cells(st, func, items[1]) < 0)
        return NULL;
    if (items[2] != Py_None && set_attributes(st, func, items[2]) < 0)
        return NULL;
    return Py_NewRef(Py_None); /* the submodules were imported when the tuple was made */
}

static PyObject *v1_cell(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count > 1) {
        byvalue_bad_stream(state_of_module(module), "cell", "expected () or (contents)");
        return NULL;
    }
    return PyCell_New(count ? args[0] : NULL);
}

static PyObject *v1_cell_state(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyCell_Check(args[0]) || !PyTuple_CheckExact(args[1]) ||
        PyTuple_GET_SIZE(args[1]) != 1) {
        byvalue_bad_stream(state_of_module(module), "cell_state", "expected (cell, (contents,))");
        return NULL;
    }
    return PyCell_Set(args[0], PyTuple_GET_ITEM(args[1], 0)) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *v1_method(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyCallable_Check(args[0])) {
        byvalue_bad_stream(state_of_module(module), "method", "expected (function, object)");
        return NULL;
    }
    return PyMethod_New(args[0], args[1]);
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

PyMethodDef byvalue_v1_function[] = {
    {"function", FAST(v1_function), "function(code, globals[, cells[, qualname]]): a function"},
    {"function_state", FAST(v1_function_state),
     "function_state(function, (globals, cells, attributes, submodules)): completes it"},
    {"cell", FAST(v1_cell), "cell([contents]): a closure cell"},
    {"cell_state", FAST(v1_cell_state), "cell_state(cell, (contents,)): fills it"},
    {"method", FAST(v1_method), "method(function, object): a bound method"},
    {NULL},
};
