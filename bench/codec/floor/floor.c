/*
 * floor.c - creates an object graph as fast as CPython's public interface allows, so that the time
 * of a loads can be read as a multiple of what no loads could do without. It belongs to the
 * benchmark and is no part of achar.
 *
 * What loads has to do for a pickle falls into two parts: find out what the bytes say (opcodes,
 * lengths, frames, the memo) and make the objects. Here the first part has been done beforehand:
 * describe.py compiled the pickle into a program that says how many items each container has, which
 * objects are referred to again, which strings are ASCII. make() runs that program and does what is
 * left:
 *
 *  - every object that the user gets is created, each by the cheapest call that creates one; objects
 *    that exist only on the pickle's way (state dicts, tuples of arguments, the memo's entry for an
 *    object that nobody fetches) are not;
 *  - containers are made at their final size: lists and tuples are filled in place, dicts presized;
 *  - what the interpreter keeps one of (None, bools, ints up to 256, strings and bytes of at most one
 *    character, the empty tuple) is at hand;
 *  - ints and floats come from machine words, str from UTF-8 (a copy where it is ASCII), keys of
 *    instance attributes are interned as BUILD has to intern them;
 *  - a class or function is looked up once each time: sys.modules, then getattr, because that is
 *    what a pickle's reference to it means, with names that exist already and are hashed;
 *  - instances come from object.__new__ and get their attributes by the generic setattr;
 *  - whatever else creates the object (a namedtuple's __new__, datetime from its ten bytes, numpy's
 *    functions, __setstate__) is called as the pickle says it must be, by vectorcall;
 *  - the cyclic collector is paused meanwhile.
 *
 * So the floor is not reachable: reading the bytes costs something. Nor is it a proof: a loads may
 * know a trick that these calls do not use, and come out below it.
 *
 * A program is a sequence of 64-bit words. The first word of an object holds its kind (8 bits), its
 * slot (24 bits; 0: nobody refers to it again) and a count (32 bits: of bytes, items, arguments, or
 * an index). What follows depends on the kind, parts before the whole that follows them:
 *
 *      SHARED                     count is the index in 'constants' of the object itself
 *      INT FLOAT                  one word
 *      BIG ASCII NAME             count bytes, padded to words
 *      BYTES BYTEARRAY            likewise
 *      UTF8                       a word (characters, and the greatest of them << 32), then likewise
 *      TUPLE LIST SET FROZENSET   count objects
 *      DICT                       count pairs of objects
 *      FOUND                      count is the index in 'constants' of (module, name, name…)
 *      CALL                       the callable, then count objects
 *      INSTANCE                   the class
 *      ATTRIBUTES                 the object, then count pairs of NAME and value
 *      STATE                      the object, then the argument of its __setstate__
 *      BUFFER                     count is the index in the buffers given to make()
 *      AGAIN                      count is the slot
 *
 * describe.py has checked the program: it is trusted here.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum kind {
#define KIND(name) KIND_##name,
#include "kinds.def"
#undef KIND
    KIND_COUNT
};

typedef struct graph {
    PyObject_HEAD PyObject *program; /* bytes */
    PyObject *constants;             /* tuple */
    PyObject *setstate;              /* "__setstate__" */
    Py_ssize_t slot_count;
} graph;

typedef struct maker {
    const int64_t *next;
    PyObject **slots; /* owned; NULL until made */
    PyObject *constants;
    PyObject *setstate;
    PyObject *buffers; /* tuple or list, or NULL */
} maker;

static PyObject *make_other(maker *m, uint64_t word);

static const char *take_bytes(maker *m, Py_ssize_t nbytes)
{
    const char *start = (const char *)m->next;
    m->next += (nbytes + 7) / 8;
    return start;
}

static void keep(maker *m, Py_ssize_t slot, PyObject *object)
{
    if (slot)
        m->slots[slot] = Py_NewRef(object);
}

static PyObject *make_ascii(maker *m, Py_ssize_t nbytes)
{
    const char *text = take_bytes(m, nbytes);
    PyObject *object = PyUnicode_New(nbytes, 127);
    if (object)
        memcpy(PyUnicode_1BYTE_DATA(object), text, (size_t)nbytes);
    return object;
}

/* One character of well-formed UTF-8 (or a lone surrogate in its form); moves '*at' behind it. */
static inline Py_UCS4 decode_character(const unsigned char **at)
{
    const unsigned char *c = *at;
    if (c[0] < 0x80) {
        *at = c + 1;
        return c[0];
    }
    if (c[0] < 0xE0) {
        *at = c + 2;
        return (Py_UCS4)(c[0] & 0x1F) << 6 | (c[1] & 0x3F);
    }
    if (c[0] < 0xF0) {
        *at = c + 3;
        return (Py_UCS4)(c[0] & 0x0F) << 12 | (Py_UCS4)(c[1] & 0x3F) << 6 | (c[2] & 0x3F);
    }
    *at = c + 4;
    return (Py_UCS4)(c[0] & 0x07) << 18 | (Py_UCS4)(c[1] & 0x3F) << 12 |
           (Py_UCS4)(c[2] & 0x3F) << 6 | (c[3] & 0x3F);
}

static PyObject *make_utf8(maker *m, Py_ssize_t nbytes)
{
    uint64_t shape = (uint64_t)*m->next++;
    Py_ssize_t length = (Py_ssize_t)(shape & 0xFFFFFFFF);
    const unsigned char *at = (const unsigned char *)take_bytes(m, nbytes);
    PyObject *object = PyUnicode_New(length, (Py_UCS4)(shape >> 32));
    if (!object)
        return NULL;
    switch (PyUnicode_KIND(object)) {
    case PyUnicode_1BYTE_KIND:
        for (Py_UCS1 *to = PyUnicode_1BYTE_DATA(object), *end = to + length; to < end; to++)
            *to = (Py_UCS1)decode_character(&at);
        break;
    case PyUnicode_2BYTE_KIND:
        for (Py_UCS2 *to = PyUnicode_2BYTE_DATA(object), *end = to + length; to < end; to++)
            *to = (Py_UCS2)decode_character(&at);
        break;
    default:
        for (Py_UCS4 *to = PyUnicode_4BYTE_DATA(object), *end = to + length; to < end; to++)
            *to = decode_character(&at);
    }
    return object;
}

static Py_ssize_t slot_of(uint64_t word)
{
    return (Py_ssize_t)((word >> 8) & 0xFFFFFF);
}

static Py_ssize_t count_of(uint64_t word)
{
    return (Py_ssize_t)(word >> 32);
}

/*
 * The next object of the program: a new reference, or NULL with an exception set. The frequent and
 * small ones are made here, in the loop that wants them.
 */
static inline PyObject *make(maker *m)
{
    uint64_t word = (uint64_t)*m->next++;
    switch ((enum kind)(word & 0xFF)) {
    case KIND_SHARED:
        return Py_NewRef(PyTuple_GET_ITEM(m->constants, count_of(word)));
    case KIND_AGAIN:
        return Py_NewRef(m->slots[count_of(word)]);
    case KIND_INT:
        return PyLong_FromLongLong(*m->next++);
    case KIND_FLOAT: {
        double value;
        memcpy(&value, m->next++, sizeof value);
        return PyFloat_FromDouble(value);
    }
    case KIND_ASCII: {
        PyObject *object = make_ascii(m, count_of(word));
        if (object)
            keep(m, slot_of(word), object);
        return object;
    }
    default:
        return make_other(m, word);
    }
}

static PyObject *make_name(maker *m, Py_ssize_t nbytes)
{
    PyObject *name = PyUnicode_DecodeUTF8(take_bytes(m, nbytes), nbytes, "surrogatepass");
    if (name)
        PyUnicode_InternInPlace(&name);
    return name;
}

static PyObject *make_big(maker *m, Py_ssize_t nbytes)
{
    return _PyLong_FromByteArray((const unsigned char *)take_bytes(m, nbytes), (size_t)nbytes, 1,
                                 1);
}

static PyObject *make_tuple(maker *m, Py_ssize_t slot, Py_ssize_t count)
{
    PyObject *object = PyTuple_New(count);
    if (!object)
        return NULL;
    keep(m, slot, object);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = make(m);
        if (!item) {
            Py_DECREF(object);
            return NULL;
        }
        PyTuple_SET_ITEM(object, i, item);
    }
    return object;
}

static PyObject *make_list(maker *m, Py_ssize_t slot, Py_ssize_t count)
{
    PyObject *object = PyList_New(count);
    if (!object)
        return NULL;
    keep(m, slot, object);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = make(m);
        if (!item) {
            Py_DECREF(object);
            return NULL;
        }
        PyList_SET_ITEM(object, i, item);
    }
    return object;
}

static PyObject *make_set(maker *m, Py_ssize_t slot, Py_ssize_t count, PyObject *object)
{
    if (!object)
        return NULL;
    keep(m, slot, object);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = make(m);
        int status = item ? PySet_Add(object, item) : -1;
        Py_XDECREF(item);
        if (status < 0) {
            Py_DECREF(object);
            return NULL;
        }
    }
    return object;
}

static PyObject *make_dict(maker *m, Py_ssize_t slot, Py_ssize_t count)
{
    PyObject *object = _PyDict_NewPresized(count);
    if (!object)
        return NULL;
    keep(m, slot, object);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *key = make(m);
        PyObject *value = key ? make(m) : NULL;
        int status = value ? PyDict_SetItem(object, key, value) : -1;
        Py_XDECREF(key);
        Py_XDECREF(value);
        if (status < 0) {
            Py_DECREF(object);
            return NULL;
        }
    }
    return object;
}

static PyObject *find(maker *m, Py_ssize_t index)
{
    PyObject *path = PyTuple_GET_ITEM(m->constants, index);
    PyObject *found = PyImport_GetModule(PyTuple_GET_ITEM(path, 0));
    if (!found && !PyErr_Occurred())
        PyErr_Format(PyExc_ImportError, "%R is not imported", PyTuple_GET_ITEM(path, 0));
    for (Py_ssize_t i = 1; found && i < PyTuple_GET_SIZE(path); i++)
        Py_SETREF(found, PyObject_GetAttr(found, PyTuple_GET_ITEM(path, i)));
    return found;
}

static PyObject *make_call(maker *m, Py_ssize_t count)
{
    enum { MOST = 16 };                 /* describe.py refuses more */
    PyObject *stack[1 + MOST] = {NULL}; /* the free place before the first argument, then they */
    PyObject *object = NULL;
    Py_ssize_t made = 0;
    PyObject *callable = make(m);
    if (!callable)
        return NULL;
    for (; made < count; made++)
        if (!(stack[1 + made] = make(m)))
            goto done;
    object = PyObject_Vectorcall(callable, stack + 1,
                                 (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
done:
    while (made > 0)
        Py_DECREF(stack[made--]);
    Py_DECREF(callable);
    return object;
}

static PyObject *make_instance(maker *m, PyObject *no_arguments)
{
    PyObject *type = make(m);
    if (!type)
        return NULL;
    PyObject *object = PyBaseObject_Type.tp_new((PyTypeObject *)type, no_arguments, NULL);
    Py_DECREF(type);
    return object;
}

static PyObject *make_attributes(maker *m, Py_ssize_t count)
{
    PyObject *object = make(m);
    if (!object)
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = make(m);
        PyObject *value = name ? make(m) : NULL;
        int status = value ? PyObject_GenericSetAttr(object, name, value) : -1;
        Py_XDECREF(name);
        Py_XDECREF(value);
        if (status < 0) {
            Py_DECREF(object);
            return NULL;
        }
    }
    return object;
}

static PyObject *make_state(maker *m)
{
    PyObject *object = make(m);
    PyObject *state = object ? make(m) : NULL;
    PyObject *result = state ? PyObject_CallMethodOneArg(object, m->setstate, state) : NULL;
    Py_XDECREF(state);
    if (!result) {
        Py_XDECREF(object);
        return NULL;
    }
    Py_DECREF(result);
    return object;
}

static PyObject *take_buffer(maker *m, Py_ssize_t index)
{
    if (!m->buffers || index >= PySequence_Fast_GET_SIZE(m->buffers)) {
        PyErr_SetString(PyExc_ValueError, "too few buffers");
        return NULL;
    }
    return Py_NewRef(PySequence_Fast_GET_ITEM(m->buffers, index));
}

/* What make() leaves: the object of 'word', whose parts follow. */
static PyObject *make_other(maker *m, uint64_t word)
{
    Py_ssize_t slot = slot_of(word), count = count_of(word);
    PyObject *object = NULL;

    switch ((enum kind)(word & 0xFF)) {
    case KIND_SHARED:
    case KIND_INT:
    case KIND_FLOAT:
    case KIND_AGAIN:
    case KIND_ASCII: /* make() has */
        Py_UNREACHABLE();

    /* containers put themselves into their slot before they are filled: they may hold themselves */
    case KIND_TUPLE:
        return make_tuple(m, slot, count);
    case KIND_LIST:
        return make_list(m, slot, count);
    case KIND_DICT:
        return make_dict(m, slot, count);
    case KIND_SET:
        return make_set(m, slot, count, PySet_New(NULL));
    case KIND_FROZENSET:
        return make_set(m, slot, count, PyFrozenSet_New(NULL));
    case KIND_ATTRIBUTES:
        return make_attributes(m, count);
    case KIND_STATE:
        return make_state(m);

    case KIND_UTF8:
        object = make_utf8(m, count);
        break;
    case KIND_NAME:
        object = make_name(m, count);
        break;
    case KIND_BIG:
        return make_big(m, count);
    case KIND_BYTES:
        object = PyBytes_FromStringAndSize(take_bytes(m, count), count);
        break;
    case KIND_BYTEARRAY:
        object = PyByteArray_FromStringAndSize(take_bytes(m, count), count);
        break;
    case KIND_FOUND:
        object = find(m, count);
        break;
    case KIND_CALL:
        object = make_call(m, count);
        break;
    case KIND_INSTANCE:
        object = make_instance(m, PyTuple_GET_ITEM(m->constants, 0));
        break;
    case KIND_BUFFER:
        object = take_buffer(m, count);
        break;
    case KIND_COUNT:
        break;
    }
    if (object)
        keep(m, slot, object);
    return object;
}

/* make(graph, buffers=None, /): the object that the graph describes, once more. */
static PyObject *floor_make(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    graph *g = (graph *)args[0];
    PyObject *few_slots[64] = {NULL};
    maker m = {
        .next = (const int64_t *)PyBytes_AS_STRING(g->program),
        .slots = few_slots,
        .constants = g->constants,
        .setstate = g->setstate,
        .buffers = nargs > 1 && args[1] != Py_None ? args[1] : NULL,
    };
    if (g->slot_count > 64 && !(m.slots = PyMem_Calloc((size_t)g->slot_count, sizeof(PyObject *))))
        return PyErr_NoMemory();

    int was_enabled = PyGC_Disable();
    PyObject *object = make(&m);
    if (was_enabled)
        PyGC_Enable();

    for (Py_ssize_t i = 0; i < g->slot_count; i++)
        Py_XDECREF(m.slots[i]);
    if (m.slots != few_slots)
        PyMem_Free(m.slots);
    return object;
}

static PyObject *graph_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    PyObject *program, *constants;
    Py_ssize_t slot_count;
    if (!PyArg_ParseTuple(args, "SO!n", &program, &PyTuple_Type, &constants, &slot_count))
        return NULL;
    graph *g = (graph *)type->tp_alloc(type, 0);
    if (!g)
        return NULL;
    g->program = Py_NewRef(program);
    g->constants = Py_NewRef(constants);
    g->slot_count = slot_count;
    g->setstate = PyUnicode_InternFromString("__setstate__");
    if (!g->setstate)
        Py_CLEAR(g);
    return (PyObject *)g;
}

static void graph_dealloc(graph *g)
{
    Py_XDECREF(g->program);
    Py_XDECREF(g->constants);
    Py_XDECREF(g->setstate);
    Py_TYPE(g)->tp_free((PyObject *)g);
}

static PyTypeObject graph_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_floor.Graph",
    .tp_doc = "Graph(program, constants, slot_count): what make() makes; see describe.py",
    .tp_basicsize = sizeof(graph),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = graph_new,
    .tp_dealloc = (destructor)graph_dealloc,
};

static PyMethodDef functions[] = {
    {"make", (PyCFunction)(void (*)(void))floor_make, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_floor", .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit__floor(void);
PyMODINIT_FUNC PyInit__floor(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
#define KIND(name)                                                                                 \
    if (PyModule_AddIntConstant(module, #name, KIND_##name) < 0)                                   \
        goto fail;
#include "kinds.def"
#undef KIND
    if (PyModule_AddType(module, &graph_type) < 0)
        goto fail;
    return module;
fail:
    Py_DECREF(module);
    return NULL;
}
