/*
 * watch.c - whether a function's digest still holds, asked at every call and answered without the walk.
 *
 * While the digest of a function is made, each place that it was read from is noted: a name in a dict, a
 * cell, a function's parts, a class's bases; with what was found there. As long as the same objects are
 * there, and none of them can change inside, the digest is the same. Where one can (a list, an
 * instance), there is no watch, and the digest has to be made again each time.
 */
#include "python/byvalue/digest.h"

typedef enum place_kind {
    IN_DICT,
    SIZE_OF_DICT,
    IN_CELL,
    CODE,
    DEFAULTS,
    KWDEFAULTS,
    CLOSURE,
    ATTRIBUTES,
    BASES
} place_kind;

typedef struct place {
    PyObject *owner;
    PyObject *key;      /* IN_DICT */
    PyObject *expected; /* NULL: nothing is there */
    Py_ssize_t size;    /* SIZE_OF_DICT */
    place_kind kind;
} place;

struct digest_watch {
    PyObject_HEAD place *places;
    size_t count, capacity;
};

static int note(digest *d, place noted)
{
    digest_watch *watch = d->watch;
    if (!watch || d->can_change)
        return 0;
    if (watch->count == watch->capacity) {
        size_t capacity = watch->capacity * 2 + 16;
        place *grown = PyMem_Realloc(watch->places, capacity * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            return -1;
        }
        watch->places = grown;
        watch->capacity = capacity;
    }
    Py_INCREF(noted.owner);
    Py_XINCREF(noted.key);
    Py_XINCREF(noted.expected);
    watch->places[watch->count++] = noted;
    return 0;
}

int digest_watch_name(digest *d, PyObject *dict, PyObject *name, PyObject *value)
{
    return note(d, (place){.kind = IN_DICT, .owner = dict, .key = name, .expected = value});
}

int digest_watch_dict(digest *d, PyObject *dict)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (!d->watch || !dict)
        return 0;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (digest_watch_name(d, dict, key, value) < 0)
            return -1;
    }
    return note(d, (place){.kind = SIZE_OF_DICT, .owner = dict, .size = PyDict_GET_SIZE(dict)});
}

int digest_watch_cell(digest *d, PyObject *cell)
{
    return note(d, (place){.kind = IN_CELL, .owner = cell, .expected = PyCell_GET(cell)});
}

int digest_watch_function(digest *d, PyObject *obj)
{
    PyFunctionObject *func = (PyFunctionObject *)obj;
    if (note(d, (place){.kind = CODE, .owner = obj, .expected = func->func_code}) < 0 ||
        note(d, (place){.kind = DEFAULTS, .owner = obj, .expected = func->func_defaults}) < 0 ||
        note(d, (place){.kind = KWDEFAULTS, .owner = obj, .expected = func->func_kwdefaults}) < 0 ||
        note(d, (place){.kind = ATTRIBUTES, .owner = obj, .expected = func->func_dict}) < 0 ||
        note(d, (place){.kind = CLOSURE, .owner = obj, .expected = func->func_closure}) < 0 ||
        digest_watch_dict(d, func->func_kwdefaults) < 0)
        return -1;
    return func->func_dict ? digest_watch_dict(d, func->func_dict) : 0;
}

int digest_watch_class(digest *d, PyObject *type, PyObject *dict)
{
    if (note(d,
             (place){.kind = BASES, .owner = type, .expected = ((PyTypeObject *)type)->tp_bases}) <
        0)
        return -1;
    return digest_watch_dict(d, dict);
}

/* What is there now, borrowed. */
static PyObject *found_at(const place *at)
{
    PyFunctionObject *func = (PyFunctionObject *)at->owner;
    switch (at->kind) {
    case IN_DICT:
        return PyDict_GetItemWithError(at->owner, at->key);
    case IN_CELL:
        return PyCell_GET(at->owner);
    case CODE:
        return func->func_code;
    case DEFAULTS:
        return func->func_defaults;
    case KWDEFAULTS:
        return func->func_kwdefaults;
    case CLOSURE:
        return func->func_closure;
    case ATTRIBUTES:
        return func->func_dict;
    case BASES:
        return ((PyTypeObject *)at->owner)->tp_bases;
    case SIZE_OF_DICT:
        break;
    }
    return NULL;
}

static PyObject *watch_holds(PyObject *obj, PyObject *unused)
{
    const digest_watch *watch = (digest_watch *)obj;
    for (size_t i = 0; i < watch->count; i++) {
        const place *at = &watch->places[i];
        int same = at->kind == SIZE_OF_DICT ? PyDict_GET_SIZE(at->owner) == at->size
                                            : found_at(at) == at->expected;
        if (!same)
            return PyErr_Occurred() ? NULL : Py_NewRef(Py_False);
    }
    Py_RETURN_TRUE;
}

static int watch_traverse(PyObject *obj, visitproc visit, void *arg)
{
    digest_watch *watch = (digest_watch *)obj;
    Py_VISIT(Py_TYPE(obj));
    for (size_t i = 0; i < watch->count; i++) {
        Py_VISIT(watch->places[i].owner);
        Py_VISIT(watch->places[i].key);
        Py_VISIT(watch->places[i].expected);
    }
    return 0;
}

static int watch_clear(PyObject *obj)
{
    digest_watch *watch = (digest_watch *)obj;
    place *places = watch->places;
    size_t count = watch->count;
    watch->places = NULL;
    watch->count = watch->capacity = 0;
    for (size_t i = 0; i < count; i++) {
        Py_XDECREF(places[i].owner);
        Py_XDECREF(places[i].key);
        Py_XDECREF(places[i].expected);
    }
    PyMem_Free(places);
    return 0;
}

static void watch_dealloc(PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    PyObject_GC_UnTrack(obj);
    watch_clear(obj);
    type->tp_free(obj);
    Py_DECREF(type);
}

static PyMethodDef watch_methods[] = {
    {"holds", watch_holds, METH_NOARGS,
     "holds()\n--\n\nWhether everything that the digest was made of is as it was."},
    {NULL},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_doc, (void *)"What a function's digest was made of."},
    {Py_tp_methods, watch_methods},
    {Py_tp_traverse, watch_traverse},
    {Py_tp_clear, watch_clear},
    {Py_tp_dealloc, watch_dealloc},
    {0, NULL},
};

static PyType_Spec watch_spec = {
    .name = "achar._achar.DigestWatch",
    .basicsize = sizeof(digest_watch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = watch_slots,
};

digest_watch *digest_watch_new(module_state *st)
{
    PyTypeObject *type = (PyTypeObject *)st->DigestWatch;
    return (digest_watch *)type->tp_alloc(type, 0);
}

int digest_watch_exec(PyObject *module, module_state *st)
{
    st->DigestWatch = PyType_FromModuleAndSpec(module, &watch_spec, NULL);
    return st->DigestWatch ? PyModule_AddObjectRef(module, "DigestWatch", st->DigestWatch) : -1;
}
