/*
 * source.c - functions that take their source along, for another minor version of Python.
 *
 * With dumps(source=True) a code object is
 *
 *    sourced(blob, recipe)
 *
 * The blob is code.c's, and is what the same version uses. Another one compiles the recipe, a tuple
 * that achar/_source.py makes, checks against the code where it is sent, and explains. Functions
 * that other tools compiled from text that nobody kept, a dataclass's __init__ for one, are made
 * anew by that tool there: they are the third item of a class's state, (attributes, registry or
 * None, generated).
 */
#include "python/byvalue/internal.h"

void byvalue_send_source(byvalue_session *session)
{
    session->with_source = 1;
}

/* achar._source.function(a, b), 'b' may be NULL. */
static PyObject *call_source(const char *function, PyObject *a, PyObject *b)
{
    PyObject *callable = byvalue_import("achar._source", function);
    PyObject *result = callable ? PyObject_CallFunctionObjArgs(callable, a, b, NULL) : NULL;
    Py_XDECREF(callable);
    return result;
}

/* ---- out ---- */

int byvalue_source_announce(PyFunctionObject *func)
{
    PyObject *done = call_source("announce", func->func_code, func->func_globals);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

int byvalue_reduce_sourced(byvalue_session *session, PyCodeObject *code, PyObject *blob,
                           PyObject **reduced)
{
    PyObject *recipe = call_source("recipe_of", (PyObject *)code, NULL);
    PyObject *args = recipe ? PyTuple_Pack(2, blob, recipe) : NULL;
    Py_XDECREF(recipe);
    return byvalue_make_reduce(session->st->v1_sourced, args, NULL, NULL, reduced);
}

PyObject *byvalue_source_prepare(PyObject *type, PyObject *attributes)
{
    return call_source("prepare", type, attributes);
}

int byvalue_source_reduce_name(byvalue_session *session, PyObject *type, PyObject **reduced)
{
    if (!byvalue_type_is((PyTypeObject *)type, "enum", "EnumType"))
        return 0;
    PyObject *args = Py_BuildValue("ss", "enum", "EnumMeta"); /* its name before 3.11, and still */
    return byvalue_make_reduce(session->st->v1_attribute, args, NULL, NULL, reduced);
}

/* ---- in ---- */

int byvalue_source_complete(PyObject *type, PyObject *generated)
{
    PyObject *done = call_source("complete", type, generated);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *v1_sourced(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    if (count != 2 || !PyBytes_CheckExact(args[0]) || PyBytes_GET_SIZE(args[0]) < 2 ||
        !PyTuple_CheckExact(args[1])) {
        byvalue_bad_stream(st, "sourced", "expected (blob, recipe)");
        return NULL;
    }
    if (!byvalue_code_is_ours(args[0])) {
        const unsigned char *header = (const unsigned char *)PyBytes_AS_STRING(args[0]);
        PyObject *version = Py_BuildValue("(ii)", header[0], header[1]);
        PyObject *code = version ? call_source("compile_recipe", args[1], version) : NULL;
        Py_XDECREF(version);
        return code;
    }
    PyObject *code = (PyObject *)byvalue_code_load(st, args[0], NULL);
    PyObject *done = code ? call_source("remember", code, args[1]) : NULL;
    if (!done)
        Py_CLEAR(code);
    Py_XDECREF(done);
    return code;
}

PyMethodDef byvalue_v1_source[] = {
    {"sourced", (PyCFunction)(void (*)(void))v1_sourced, METH_FASTCALL,
     "sourced(blob, recipe): a code object, from its source if this is another version of Python"},
    {NULL},
};
