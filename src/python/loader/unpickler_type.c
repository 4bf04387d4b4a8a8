/*
 * unpickler_type.c - the Unpickler types.
 *
 * achar.Unpickler is a subclass of achar.pickle.Unpickler; an object's class decides whether it is
 * strict.
 *
 * An Unpickler at work refuses to be used (load, __init__): by its own callbacks and, since only
 * those let another thread run, by other threads.
 */
#include "python/loader/unpickler.h"

#include "python/memo_proxy.h"

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
        unpickler_read_keywords("Unpickler", values, &arguments) < 0)
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
    if (loader_input_file(&self->ld.in, file) == 0 &&
        unpickler_configure(&self->ld, &arguments) == 0 && find_persistent_load(self) == 0)
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

static PyObject *memo_as_dict(PyObject *owner)
{
    return loader_memo_as_dict(&((unpickler_object *)owner)->ld.memo);
}

static void memo_clear(PyObject *owner)
{
    loader_memo_clear(&((unpickler_object *)owner)->ld.memo);
}

static const memo_proxy_kind proxy_kind = {"achar.pickle.UnpicklerMemoProxy",
                                           "an UnpicklerMemoProxy", memo_as_dict, memo_clear};

static PyObject *get_memo(unpickler_object *self, void *unused)
{
    return memo_proxy_new(self->ld.st->UnpicklerMemoProxy, &proxy_kind, (PyObject *)self);
}

static int set_memo(unpickler_object *self, PyObject *value, void *unused)
{
    PyObject *owner;
    int is_proxy =
        memo_proxy_check_assigned(self->ld.st->UnpicklerMemoProxy, &proxy_kind, value, &owner);
    if (is_proxy < 0)
        return -1;
    /* A dict of its own in every case: 'value' may be ours, or change under us. */
    PyObject *entries = is_proxy ? memo_as_dict(owner) : PyDict_Copy(value);
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

int unpickler_type_exec(PyObject *module, module_state *st)
{
    if (!(st->UnpicklerMemoProxy = memo_proxy_make_type(module, &proxy_kind)) ||
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
    return 0;
}
