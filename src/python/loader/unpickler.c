/*
 * unpickler.c - what Python sees of the loader: load(), loads(), Unpickler and its memo proxy.
 *
 * Strict and superset differ by one flag. achar.Unpickler is a subclass of achar.pickle.Unpickler;
 * an object's class decides. load() and loads() need no Unpickler object: the loader lies on the C
 * stack.
 *
 * An Unpickler at work refuses to be used (load, __init__): by its own callbacks and, since only
 * those let another thread run, by other threads.
 */
#include "python/arguments.h"
#include "python/loader/core.h"

#include <structmember.h>

/* persistent_load became a method, and an attribute that is looked up at each load, in 3.13. */
#define PERSISTENT_LOAD_IS_METHOD (PY_VERSION_HEX >= 0x030D0000)

typedef struct unpickler_object {
    PyObject_HEAD bool initialised;
    PyObject *encoding; /* str; the loader points into them */
    PyObject *errors;
    /* 3.13: what was assigned to .persistent_load. Before: what __init__ found, or was assigned. */
    PyObject *persistent_load;
    bool persistent_load_is_own; /* before 3.13: a function, to be called as our method */
    PyObject *weak_references;
    loader ld;
} unpickler_object;

/* ---- arguments ---- */

/* The keyword arguments that all entry points share. */
typedef struct load_arguments {
    int fix_imports;
    PyObject *encoding; /* borrowed str, or NULL */
    PyObject *errors;
    PyObject *buffers;
} load_arguments;

#define LOAD_ARGUMENTS_DEFAULT                                                                     \
    {                                                                                              \
        1, NULL, NULL, NULL                                                                        \
    }

static int string_argument(const char *function, const char *name, PyObject *value, PyObject **out)
{
    Py_ssize_t nbytes;
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s() argument '%s' must be str, not %.50s", function, name,
                     value == Py_None ? "None" : Py_TYPE(value)->tp_name);
        return -1;
    }
    const char *text = PyUnicode_AsUTF8AndSize(value, &nbytes);
    if (!text)
        return -1;
    if (strlen(text) != (size_t)nbytes) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return -1;
    }
    *out = value;
    return 0;
}

/*
 * Reads 'values', the keyword arguments in the order of their names (NULL: not given). 0, or -1 with
 * an exception set.
 */
static int read_keywords(const char *function, PyObject *const *values, load_arguments *arguments)
{
    arguments->fix_imports = values[0] ? PyObject_IsTrue(values[0]) : 1;
    if (arguments->fix_imports < 0 ||
        (values[1] && string_argument(function, "encoding", values[1], &arguments->encoding) < 0) ||
        (values[2] && string_argument(function, "errors", values[2], &arguments->errors) < 0))
        return -1;
    arguments->buffers = values[3];
    return 0;
}

/* What load() and loads() are called with. Returns the first argument, borrowed; NULL: an exception. */
static PyObject *parse_arguments(const arguments_signature *signature, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *keywords, load_arguments *arguments)
{
    PyObject *values[5];
    if (arguments_read(signature, args, nargs, keywords, values) < 0 ||
        read_keywords(signature->function, values + 1, arguments) < 0)
        return NULL;
    return values[0];
}

/* Applies 'arguments'; the strings must outlive the loader. 0, or -1 with an exception set. */
static int configure(loader *ld, const load_arguments *arguments)
{
    ld->fix_imports = arguments->fix_imports;
    if (arguments->encoding)
        ld->encoding = PyUnicode_AsUTF8(arguments->encoding); /* cached: checked by the parser */
    if (arguments->errors)
        ld->errors = PyUnicode_AsUTF8(arguments->errors);
    return loader_set_buffers(ld, arguments->buffers);
}

/* ---- load() and loads() ---- */

static const char *const load_names[] = {"file", "fix_imports", "encoding", "errors", "buffers"};
static const arguments_signature load_signature = {"load", load_names, 5, 0, 1, 1};
static const arguments_signature loads_signature = {"loads", load_names, 5, 1, 1, 1};

/* loads() of a bytes object and nothing else, as it is mostly called. */
static PyObject *loads_plain(module_state *st, PyObject *data, bool superset)
{
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(data);
    size_t nbytes = (size_t)PyBytes_GET_SIZE(data);
    PyObject *object = loader_lone_scalar(st, bytes, nbytes);
    if (object)
        return object;
    loader ld;
    loader_init(&ld, st);
    ld.superset = superset;
    loader_input_memory(&ld.in, bytes, nbytes);
    object = loader_run(&ld);
    loader_end(&ld);
    return object;
}

static PyObject *loads(PyObject *module, PyObject *const *positional, Py_ssize_t nargs,
                       PyObject *keywords, bool superset)
{
    load_arguments arguments = LOAD_ARGUMENTS_DEFAULT;
    module_state *st = state_of_module(module);
    PyObject *object = NULL;
    if (nargs == 1 && !keywords && PyBytes_CheckExact(positional[0]))
        return loads_plain(st, positional[0], superset);
    PyObject *data = parse_arguments(&loads_signature, positional, nargs, keywords, &arguments);
    if (!data)
        return NULL;
    loader ld;
    Py_buffer view = {0};
    loader_init(&ld, st);
    ld.superset = superset;
    if (PyBytes_CheckExact(data)) {
        loader_input_memory(&ld.in, PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data));
    } else {
        if (PyObject_GetBuffer(data, &view, PyBUF_CONTIG_RO) < 0)
            return NULL;
        loader_input_memory(&ld.in, view.buf, (size_t)view.len);
    }
    if (configure(&ld, &arguments) == 0)
        object = loader_run(&ld);
    loader_end(&ld);
    if (view.obj)
        PyBuffer_Release(&view);
    return object;
}

static PyObject *load(PyObject *module, PyObject *const *positional, Py_ssize_t nargs,
                      PyObject *keywords, bool superset)
{
    load_arguments arguments = LOAD_ARGUMENTS_DEFAULT;
    PyObject *file = parse_arguments(&load_signature, positional, nargs, keywords, &arguments);
    if (!file)
        return NULL;
    loader ld;
    PyObject *object = NULL;
    loader_init(&ld, state_of_module(module));
    ld.superset = superset;
    if (loader_input_file(&ld.in, file) == 0 && configure(&ld, &arguments) == 0)
        object = loader_run(&ld);
    loader_end(&ld);
    return object;
}

#define ENTRY(name, function, superset)                                                            \
    static PyObject *name(PyObject *module, PyObject *const *positional, Py_ssize_t nargs,         \
                          PyObject *keywords)                                                      \
    {                                                                                              \
        return function(module, positional, nargs, keywords, superset);                            \
    }
ENTRY(strict_loads, loads, false)
ENTRY(strict_load, load, false)
ENTRY(superset_loads, loads, true)
ENTRY(superset_load, load, true)
#undef ENTRY

#define KEYWORDS_DOC                                                                               \
    "*, fix_imports=True, encoding='ASCII',\n      errors='strict', buffers=())\n--\n\n"

PyDoc_STRVAR(loads_doc,
             "loads($module, data, /, " KEYWORDS_DOC
             "Return the object that the pickle in data (bytes-like) describes.\n\n"
             "Bytes past the end of the pickle are ignored. fix_imports, encoding and\n"
             "errors are for pickles that Python 2 wrote; encoding='bytes' leaves its\n"
             "8-bit strings as bytes. buffers is an iterable of the out-of-band buffers\n"
             "that the pickle refers to.\n\n"
             "A pickle can run any code. Load only what you trust.");
PyDoc_STRVAR(load_doc,
             "load($module, /, file, " KEYWORDS_DOC
             "Read a pickle from a binary file and return the object it describes.\n\n"
             "file has read(n) and readline(), and may have readinto(buffer) and peek(n).\n"
             "Afterwards its position is behind the pickle. The other arguments are those\n"
             "of loads().\n\n"
             "A pickle can run any code. Load only what you trust.");

#define METHOD(name, function, doc)                                                                \
    {                                                                                              \
        name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS, doc          \
    }
static PyMethodDef strict_functions[] = {
    METHOD("load", strict_load, load_doc),
    METHOD("loads", strict_loads, loads_doc),
};
static PyMethodDef superset_functions[] = {
    METHOD("load", superset_load, load_doc),
    METHOD("loads", superset_loads, loads_doc),
};
#undef METHOD

/* ---- Unpickler ---- */

static int refuse_if_running(unpickler_object *self)
{
    if (!self->ld.running)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "Unpickler object is already used");
    return -1;
}

static PyObject *unpickler_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    module_state *st = state_of_type(type);
    unpickler_object *self = st ? (unpickler_object *)type->tp_alloc(type, 0) : NULL;
    if (!self)
        return NULL;
    loader_init(&self->ld, st);
    self->ld.unpickler = (PyObject *)self;
    return (PyObject *)self;
}

static int unpickler_traverse(unpickler_object *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->persistent_load);
    Py_VISIT(self->ld.persistent_load);
    Py_VISIT(self->ld.buffers);
    Py_VISIT(self->ld.in.read);
    Py_VISIT(self->ld.in.readinto);
    Py_VISIT(self->ld.in.readline);
    Py_VISIT(self->ld.in.peek);
    for (size_t i = 0; i < self->ld.memo.filled; i++)
        Py_VISIT(self->ld.memo.slots[i]);
    Py_VISIT(self->ld.memo.far);
    return 0;
}

static int unpickler_clear(unpickler_object *self)
{
    self->initialised = false;
    loader_clear(&self->ld);
    Py_CLEAR(self->persistent_load);
    Py_CLEAR(self->encoding);
    Py_CLEAR(self->errors);
    return 0;
}

static void unpickler_dealloc(unpickler_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak_references)
        PyObject_ClearWeakRefs((PyObject *)self);
    unpickler_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Before 3.13: finds persistent_load once. As a function plus a flag, so that no cycle arises. */
static int find_persistent_load(unpickler_object *self)
{
#if !PERSISTENT_LOAD_IS_METHOD
    PyObject *found;
    if (compat_find_attr((PyObject *)self, self->ld.st->str_persistent_load, &found) < 0)
        return -1;
    self->persistent_load_is_own =
        found && PyMethod_Check(found) && PyMethod_GET_SELF(found) == (PyObject *)self;
    if (self->persistent_load_is_own)
        Py_SETREF(found, Py_NewRef(PyMethod_GET_FUNCTION(found)));
    Py_XSETREF(self->persistent_load, found);
#endif
    return 0;
}

#if PERSISTENT_LOAD_IS_METHOD
static PyObject *unpickler_persistent_load(unpickler_object *self, PyObject *pid)
{
    PyErr_SetString(self->ld.st->UnpicklingError,
                    "A load persistent id instruction was encountered, but no persistent_load "
                    "function was specified.");
    return NULL;
}

/* Our own method only says that there is none; the loader says that better. */
static bool is_own_persistent_load(PyObject *function)
{
    return PyCFunction_Check(function) &&
           PyCFunction_GET_FUNCTION(function) == (PyCFunction)unpickler_persistent_load;
}
#endif

/* What the load calls for a persistent id: a new reference in '*function', or NULL for none. */
static int bind_persistent_load(unpickler_object *self, PyObject **function)
{
    *function = NULL;
#if PERSISTENT_LOAD_IS_METHOD
    if (compat_find_attr((PyObject *)self, self->ld.st->str_persistent_load, function) < 0)
        return -1;
    if (*function && is_own_persistent_load(*function))
        Py_CLEAR(*function);
    return 0;
#else
    if (!self->persistent_load)
        return 0;
    *function = self->persistent_load_is_own ? PyMethod_New(self->persistent_load, (PyObject *)self)
                                             : Py_NewRef(self->persistent_load);
    return *function ? 0 : -1;
#endif
}

static int unpickler_init(unpickler_object *self, PyObject *positional, PyObject *keywords)
{
    static const char *const names[] = {"file",   "fix_imports", "encoding",
                                        "errors", "buffers",     NULL};
    load_arguments arguments = LOAD_ARGUMENTS_DEFAULT;
    PyObject *file, *values[4] = {NULL};
    Py_ssize_t count = PyTuple_GET_SIZE(positional) + (keywords ? PyDict_GET_SIZE(keywords) : 0);
    if (PyTuple_GET_SIZE(positional) > 1 && count <= 5) { /* this parser would say "at most" */
        PyErr_Format(PyExc_TypeError, "Unpickler() takes exactly 1 positional argument (%zd given)",
                     PyTuple_GET_SIZE(positional));
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(positional, keywords, "O|$OOOO:Unpickler", (char **)names,
                                     &file, &values[0], &values[1], &values[2], &values[3]) ||
        read_keywords("Unpickler", values, &arguments) < 0)
        return -1;
    if (refuse_if_running(self) < 0)
        return -1;
    /* From here on Python code may run; the object counts as used until it is set up. */
    module_state *st = self->ld.st;
    self->ld.running = true;
    unpickler_clear(self);
    loader_init(&self->ld, st);
    self->ld.unpickler = (PyObject *)self;
    self->ld.running = true;
    self->ld.superset = PyType_IsSubtype(Py_TYPE(self), (PyTypeObject *)st->SupersetUnpickler);
    self->ld.find_class_overridden = !Py_IS_TYPE(self, (PyTypeObject *)st->Unpickler) &&
                                     !Py_IS_TYPE(self, (PyTypeObject *)st->SupersetUnpickler);
    Py_XINCREF(arguments.encoding);
    Py_XSETREF(self->encoding, arguments.encoding);
    Py_XINCREF(arguments.errors);
    Py_XSETREF(self->errors, arguments.errors);
    int status = -1;
    if (loader_input_file(&self->ld.in, file) == 0 && configure(&self->ld, &arguments) == 0 &&
        find_persistent_load(self) == 0)
        status = 0;
    self->initialised = status == 0;
    self->ld.running = false;
    return status;
}

static PyObject *unpickler_load(unpickler_object *self, PyObject *unused)
{
    PyObject *object = NULL;
    if (refuse_if_running(self) < 0)
        return NULL;
    if (!self->initialised) {
        PyErr_Format(self->ld.st->UnpicklingError,
                     "Unpickler.__init__() was not called by %s.__init__()",
                     Py_TYPE(self)->tp_name);
        return NULL;
    }
    self->ld.running = true;
    PyObject *function;
    if (bind_persistent_load(self, &function) == 0) {
        Py_XSETREF(self->ld.persistent_load, function);
        object = loader_run(&self->ld);
        Py_CLEAR(self->ld.persistent_load);
    }
    self->ld.running = false;
    return object;
}

static PyObject *unpickler_find_class(unpickler_object *self, PyObject *const *arguments,
                                      Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "find_class expected 2 arguments, got %zd", nargs);
        return NULL;
    }
    return loader_find_class(&self->ld, arguments[0], arguments[1]);
}

static PyObject *unpickler_sizeof(unpickler_object *self, PyObject *unused)
{
    const loader *ld = &self->ld;
    size_t nbytes = (size_t)Py_TYPE(self)->tp_basicsize;
    if (ld->memo.slots != ld->memo.inline_slots)
        nbytes += ld->memo.capacity * sizeof(PyObject *);
    if (ld->stack != ld->inline_stack)
        nbytes += (size_t)(ld->limit - ld->stack) * sizeof(PyObject *);
    nbytes += ld->in.scratch_capacity;
    return PyLong_FromSize_t(nbytes);
}

#if PERSISTENT_LOAD_IS_METHOD
static PyObject *unpickler_getattr(PyObject *object, PyObject *name)
{
    unpickler_object *self = (unpickler_object *)object;
    if (self->persistent_load && PyUnicode_Check(name) &&
        PyUnicode_CompareWithASCIIString(name, "persistent_load") == 0)
        return Py_NewRef(self->persistent_load);
    return PyObject_GenericGetAttr(object, name);
}

static int unpickler_setattr(PyObject *object, PyObject *name, PyObject *value)
{
    unpickler_object *self = (unpickler_object *)object;
    if (PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "persistent_load") == 0) {
        Py_XSETREF(self->persistent_load, Py_XNewRef(value));
        return 0;
    }
    return PyObject_GenericSetAttr(object, name, value);
}
#else
static PyObject *get_persistent_load(unpickler_object *self, void *unused)
{
    PyObject *function;
    if (bind_persistent_load(self, &function) == 0 && !function)
        PyErr_SetString(PyExc_AttributeError, "persistent_load");
    return function;
}

static int set_persistent_load(unpickler_object *self, PyObject *value, void *unused)
{
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "attribute deletion is not supported");
        return -1;
    }
    if (!PyCallable_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "persistent_load must be a callable taking one argument");
        return -1;
    }
    self->persistent_load_is_own = false;
    Py_XSETREF(self->persistent_load, Py_NewRef(value));
    if (self->ld.running)
        Py_XSETREF(self->ld.persistent_load, Py_NewRef(value));
    return 0;
}
#endif

/* ---- the memo, as Python sees it ---- */

typedef struct memo_proxy {
    PyObject_HEAD unpickler_object *unpickler;
} memo_proxy;

static PyObject *get_memo(unpickler_object *self, void *unused)
{
    memo_proxy *proxy =
        PyObject_GC_New(memo_proxy, (PyTypeObject *)self->ld.st->UnpicklerMemoProxy);
    if (!proxy)
        return NULL;
    Py_INCREF(self);
    proxy->unpickler = self;
    PyObject_GC_Track(proxy);
    return (PyObject *)proxy;
}

static int set_memo(unpickler_object *self, PyObject *value, void *unused)
{
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "attribute deletion is not supported");
        return -1;
    }
    /* A dict of its own in every case: 'value' may be ours, or change under us. */
    PyObject *entries;
    if (Py_IS_TYPE(value, (PyTypeObject *)self->ld.st->UnpicklerMemoProxy)) {
        entries = loader_memo_as_dict(&((memo_proxy *)value)->unpickler->ld.memo);
    } else if (PyDict_Check(value)) {
        entries = PyDict_Copy(value);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "'memo' attribute must be an UnpicklerMemoProxy object or dict, not %.200s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    if (!entries)
        return -1;
    Py_ssize_t position = 0;
    PyObject *key, *item;
    int status = -1;
    while (PyDict_Next(entries, &position, &key, &item)) {
        if (!PyLong_Check(key)) {
            PyErr_SetString(PyExc_TypeError, "memo key must be integers");
            goto done;
        }
        Py_ssize_t index = PyLong_AsSsize_t(key);
        if (index < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "memo key must be positive integers.");
            goto done;
        }
    }
    loader_memo_clear(&self->ld.memo);
    position = 0;
    while (PyDict_Next(entries, &position, &key, &item))
        if (loader_memo_put(&self->ld.memo, (size_t)PyLong_AsSsize_t(key), item) < 0)
            goto done;
    status = 0;
done:
    Py_DECREF(entries);
    return status;
}

static PyObject *proxy_clear_memo(memo_proxy *self, PyObject *unused)
{
    loader_memo_clear(&self->unpickler->ld.memo);
    Py_RETURN_NONE;
}

static PyObject *proxy_copy(memo_proxy *self, PyObject *unused)
{
    return loader_memo_as_dict(&self->unpickler->ld.memo);
}

static PyObject *proxy_reduce(memo_proxy *self, PyObject *unused)
{
    PyObject *copy = proxy_copy(self, NULL);
    return copy ? Py_BuildValue("O(N)", (PyObject *)&PyDict_Type, copy) : NULL;
}

static int proxy_traverse(memo_proxy *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->unpickler);
    return 0;
}

static int proxy_clear(memo_proxy *self)
{
    Py_CLEAR(self->unpickler);
    return 0;
}

static void proxy_dealloc(memo_proxy *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->unpickler);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef proxy_methods[] = {
    {"clear", (PyCFunction)proxy_clear_memo, METH_NOARGS, "Remove all items from memo."},
    {"copy", (PyCFunction)proxy_copy, METH_NOARGS, "Copy the memo to a new object."},
    {"__reduce__", (PyCFunction)proxy_reduce, METH_NOARGS, "Implement pickling support."},
    {NULL},
};

static PyType_Slot proxy_slots[] = {
    {Py_tp_dealloc, proxy_dealloc},
    {Py_tp_traverse, proxy_traverse},
    {Py_tp_clear, proxy_clear},
    {Py_tp_methods, proxy_methods},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {0, NULL},
};

static PyType_Spec proxy_spec = {
    .name = "achar.pickle.UnpicklerMemoProxy",
    .basicsize = sizeof(memo_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = proxy_slots,
};

/* ---- the types ---- */

PyDoc_STRVAR(
    unpickler_doc,
    "Unpickler(file, *, fix_imports=True, encoding='ASCII', errors='strict',\n"
    "          buffers=())\n--\n\n"
    "Reads pickles from a binary file, one with each call of load().\n\n"
    "The arguments are those of load(). The memo is kept from one load to the next, as a\n"
    "Pickler keeps its own. Subclasses may override find_class(), to decide what a pickle\n"
    "may import, and persistent_load().");
PyDoc_STRVAR(unpickler_load_doc, "load($self, /)\n--\n\n"
                                 "Load the next pickle from the file and return its object.");
PyDoc_STRVAR(find_class_doc, "find_class($self, module_name, global_name, /)\n--\n\n"
                             "Return an object from a module, importing it if need be.\n\n"
                             "Called for whatever a pickle names: classes, functions, anything.\n"
                             "Subclasses may override it to restrict what can be had.");

static PyMethodDef unpickler_methods[] = {
    {"load", (PyCFunction)unpickler_load, METH_NOARGS, unpickler_load_doc},
    {"find_class", (PyCFunction)(void (*)(void))unpickler_find_class, METH_FASTCALL,
     find_class_doc},
#if PERSISTENT_LOAD_IS_METHOD
    {"persistent_load", (PyCFunction)unpickler_persistent_load, METH_O,
     "persistent_load($self, pid, /)\n--\n\nReturn the object of a persistent id."},
#endif
    {"__sizeof__", (PyCFunction)unpickler_sizeof, METH_NOARGS,
     "__sizeof__($self, /)\n--\n\nReturns size in memory, in bytes."},
    {NULL},
};

static PyGetSetDef unpickler_getsets[] = {
    {"memo", (getter)get_memo, (setter)set_memo, NULL, NULL},
#if !PERSISTENT_LOAD_IS_METHOD
    {"persistent_load", (getter)get_persistent_load, (setter)set_persistent_load, NULL, NULL},
#endif
    {NULL},
};

static PyMemberDef unpickler_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(unpickler_object, weak_references), READONLY, NULL},
    {NULL},
};

static PyType_Slot unpickler_slots[] = {
    {Py_tp_doc, (char *)unpickler_doc},
    {Py_tp_new, unpickler_new},
    {Py_tp_init, unpickler_init},
    {Py_tp_dealloc, unpickler_dealloc},
    {Py_tp_traverse, unpickler_traverse},
    {Py_tp_clear, unpickler_clear},
    {Py_tp_methods, unpickler_methods},
    {Py_tp_getset, unpickler_getsets},
    {Py_tp_members, unpickler_members},
#if PERSISTENT_LOAD_IS_METHOD
    {Py_tp_getattro, unpickler_getattr},
    {Py_tp_setattro, unpickler_setattr},
#endif
    {0, NULL},
};

#define UNPICKLER_FLAGS                                                                            \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE)

static PyType_Spec unpickler_spec = {
    .name = "achar.pickle.Unpickler",
    .basicsize = sizeof(unpickler_object),
    .flags = UNPICKLER_FLAGS,
    .slots = unpickler_slots,
};

static PyType_Slot superset_slots[] = {
    {Py_tp_doc, (char *)unpickler_doc},
    {Py_tp_dealloc, unpickler_dealloc},
    {Py_tp_traverse, unpickler_traverse},
    {Py_tp_clear, unpickler_clear},
    {0, NULL},
};

static PyType_Spec superset_spec = {
    .name = "achar.Unpickler",
    .basicsize = sizeof(unpickler_object),
    .flags = UNPICKLER_FLAGS,
    .slots = superset_slots,
};

int unpickler_exec(PyObject *module, module_state *st)
{
    if (!(st->UnpicklerMemoProxy = PyType_FromModuleAndSpec(module, &proxy_spec, NULL)) ||
        !(st->Unpickler = PyType_FromModuleAndSpec(module, &unpickler_spec, NULL)))
        return -1;
    PyObject *bases = PyTuple_Pack(1, st->Unpickler);
    if (!bases)
        return -1;
    st->SupersetUnpickler = PyType_FromModuleAndSpec(module, &superset_spec, bases);
    Py_DECREF(bases);
    if (!st->SupersetUnpickler ||
        PyModule_AddObjectRef(st->strict_module, "Unpickler", st->Unpickler) < 0 ||
        PyModule_AddObjectRef(module, "Unpickler", st->SupersetUnpickler) < 0)
        return -1;
    for (size_t i = 0; i < sizeof strict_functions / sizeof *strict_functions; i++)
        if (state_add_function(module, st->strict_module, &strict_functions[i], "achar.pickle") < 0)
            return -1;
    for (size_t i = 0; i < sizeof superset_functions / sizeof *superset_functions; i++)
        if (state_add_function(module, module, &superset_functions[i], "achar") < 0)
            return -1;
    return 0;
}
