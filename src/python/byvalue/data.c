/*
 * data.c - the digests that memos want: of functions, together with what they were made of, and of calls.
 *
 * The data that a function names (what is no function, class or module) goes into such a digest by a
 * digest of its own. So a memo can see which of it a call has changed: that is output and not input (a
 * list that calls are counted in), and from then on counts as what it was before.
 */
#include "python/byvalue/digest.h"

int digest_is_memoized(PyTypeObject *type)
{
    return type->tp_flags & Py_TPFLAGS_HEAPTYPE && byvalue_type_is(type, "achar.memo", "Memoized");
}

static int is_code(PyTypeObject *type)
{
    return type == &PyFunction_Type || type == &PyCFunction_Type || type == &PyMethod_Type ||
           PyType_IsSubtype(type, &PyType_Type) || PyType_IsSubtype(type, &PyModule_Type) ||
           digest_is_memoized(type);
}

/* The digest of the value alone, as bytes. */
static PyObject *own_digest(digest *d, PyObject *value)
{
    uint8_t hash[BLAKE2S_NBYTES];
    digest asked = {.st = d->st,
                    .reaches = PY_SSIZE_T_MAX,
                    .watch = d->watch,
                    .modules = d->modules,
                    .can_change = d->can_change};
    if (digest_run(&asked, digest_encode, "achar.digest 1", NULL, value, 0, hash) < 0)
        return NULL;
    d->can_change = asked.can_change;
    return PyBytes_FromStringAndSize((const char *)hash, sizeof hash);
}

static int watch(digest *d, PyObject *owner, PyObject *name, PyObject *value)
{
    return name ? digest_watch_name(d, owner, name, value) : digest_watch_cell(d, owner);
}

PyObject *digest_stand_in(digest *d, PyObject *owner, PyObject *name, PyObject *value)
{
    PyObject *place = NULL, *stand_in = NULL, *entry = NULL;
    Py_INCREF(value);
    if (!d->places || is_code(Py_TYPE(value))) {
        if (watch(d, owner, name, value) < 0)
            Py_CLEAR(value);
        return value;
    }
    place = Py_BuildValue("(NO)", PyLong_FromVoidPtr(owner), name ? name : Py_None);
    if (!place)
        goto done;
    stand_in = Py_XNewRef(PyDict_GetItemWithError(d->outputs, place));
    if (stand_in || PyErr_Occurred() || watch(d, owner, name, value) < 0)
        goto done;
    stand_in = own_digest(d, value);
    if (stand_in)
        entry = Py_BuildValue("(OOO)", owner, name ? name : Py_None, stand_in);
    if (!entry || PyList_Append(d->places, entry) < 0)
        Py_CLEAR(stand_in);
done:
    Py_XDECREF(entry);
    Py_XDECREF(place);
    Py_DECREF(value);
    return stand_in;
}

/*
 * digest_function(function, outputs): (the digest as bytes, the installed modules that it depends on, a
 * DigestWatch or None, the places of data).
 */
static PyObject *digest_function(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    uint8_t hash[BLAKE2S_NBYTES];
    PyObject *result = NULL;
    digest asked = {.st = state_of_module(module), .reaches = PY_SSIZE_T_MAX};
    if (count != 2 || !PyDict_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "digest_function() takes a function and a dict");
        return NULL;
    }
    asked.outputs = args[1];
    asked.watch = digest_watch_new(asked.st);
    asked.modules = PySet_New(NULL);
    asked.places = PyList_New(0);
    if (asked.watch && asked.modules && asked.places &&
        digest_run(&asked, digest_encode, "achar.digest 1", NULL, args[0], 0, hash) == 0)
        result = Py_BuildValue("(y#OOO)", hash, (Py_ssize_t)sizeof hash, asked.modules,
                               asked.can_change ? Py_None : (PyObject *)asked.watch, asked.places);
    Py_XDECREF(asked.places);
    Py_XDECREF(asked.modules);
    Py_XDECREF((PyObject *)asked.watch);
    return result;
}

/* digest_call(function, arguments): as bytes, of what the function is and of the arguments. */
static PyObject *digest_call(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    uint8_t hash[BLAKE2S_NBYTES];
    digest asked = {.st = state_of_module(module), .reaches = PY_SSIZE_T_MAX};
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "digest_call() takes a function's digest and arguments");
        return NULL;
    }
    if (digest_run(&asked, digest_encode, "achar.memo 1", args[0], args[1], 0, hash) < 0)
        return NULL;
    return PyBytes_FromStringAndSize((const char *)hash, sizeof hash);
}

#define FAST(function) (PyCFunction)(void (*)(void)) function, METH_FASTCALL

static PyMethodDef functions[] = {{"digest_function", FAST(digest_function), NULL},
                                  {"digest_call", FAST(digest_call), NULL}};

int digest_data_exec(PyObject *module)
{
    return state_add_function(module, module, &functions[0], "achar._achar") < 0
               ? -1
               : state_add_function(module, module, &functions[1], "achar._achar");
}
