/*
 * pickler_type.c - the Pickler types.
 *
 * A Pickler keeps its memo from one dump to the next; while it is dumping, or being set up, it is
 * 'busy', and a second dump, from a callback or another thread, is an error. achar.Pickler is a
 * subclass of achar.pickle.Pickler and differs in one flag.
 *
 * What changed in 3.13 is followed: before, persistent_id is looked up once, in __init__; from then
 * on the base class has such a method, an instance may have its own, and dump() looks it up.
 */
#include "python/memo_proxy.h"
#include "python/saver/engine.h"
#include "python/saver/pickler.h"

#include <stddef.h>
#include <structmember.h>

#define PERSISTENT_ID_IS_METHOD (PY_VERSION_HEX >= 0x030D0000)

#define FUNCTION(function) (PyCFunction)(void (*)(void)) function

typedef struct pickler_object {
    PyObject_HEAD PyObject *write; /* NULL until __init__ has run */
    PyObject *buffer_callback;
    PyObject *persistent_id_attr; /* 3.13: the instance's own */
    saver_hooks hooks;            /* owns dispatch_table, persistent_id and reducer_override */
    saver_memo memo;
    int memo_ready;
    int protocol;
    int fix_imports;
    int bin;
    int superset;
    int busy;
    PyObject *weak_references;
} pickler_object;

static PyObject *pickler_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    pickler_object *self = (pickler_object *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    saver_memo_init(&self->memo);
    self->memo_ready = 1;
    return (PyObject *)self;
}

static int pickler_clear(pickler_object *self)
{
    Py_CLEAR(self->write);
    Py_CLEAR(self->buffer_callback);
    Py_CLEAR(self->persistent_id_attr);
    Py_CLEAR(self->hooks.dispatch_table);
    Py_CLEAR(self->hooks.persistent_id);
    Py_CLEAR(self->hooks.reducer_override);
    self->hooks.persistent_id_self = NULL;
    if (self->memo_ready)
        saver_memo_clear(&self->memo);
    return 0;
}

static int pickler_traverse(pickler_object *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->write);
    Py_VISIT(self->buffer_callback);
    Py_VISIT(self->persistent_id_attr);
    Py_VISIT(self->hooks.dispatch_table);
    Py_VISIT(self->hooks.persistent_id);
    Py_VISIT(self->hooks.reducer_override);
    for (Py_ssize_t i = 0; i < self->memo.owned; i++)
        Py_VISIT(saver_memo_item(&self->memo, i));
    return 0;
}

static void pickler_dealloc(pickler_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak_references)
        PyObject_ClearWeakRefs((PyObject *)self);
    pickler_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static int refuse_busy(pickler_object *self)
{
    if (!self->busy)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "Pickler object is already used");
    return -1;
}

#if PERSISTENT_ID_IS_METHOD
static PyObject *pickler_persistent_id(PyObject *self, PyObject *obj)
{
    Py_RETURN_NONE;
}
#endif

/*
 * Looks up persistent_id into the hooks. A method of the Pickler's own is kept as function and
 * self, since the bound method would keep the Pickler alive in a cycle.
 */
static int find_persistent_id(module_state *st, pickler_object *self)
{
    PyObject *found;
    if (compat_find_attr((PyObject *)self, st->str_persistent_id, &found) < 0)
        return -1;
    PyObject *function = found, *function_self = NULL;
    if (found && PyMethod_Check(found) && PyMethod_GET_SELF(found) == (PyObject *)self) {
        function = Py_NewRef(PyMethod_GET_FUNCTION(found));
        function_self = (PyObject *)self;
        Py_DECREF(found);
    }
#if PERSISTENT_ID_IS_METHOD
    if (function && PyCFunction_Check(function) &&
        PyCFunction_GET_SELF(function) == (PyObject *)self &&
        PyCFunction_GET_FUNCTION(function) == pickler_persistent_id)
        Py_CLEAR(function); /* the base class's, which has none for anything */
#endif
    Py_XSETREF(self->hooks.persistent_id, function);
    self->hooks.persistent_id_self = function_self;
    return 0;
}

static int set_up(module_state *st, pickler_object *self, PyObject *args, PyObject *keywords)
{
    static const char *const names[] = {"file", "protocol", "fix_imports", "buffer_callback", NULL};
    PyObject *file, *protocol = Py_None, *callback = Py_None;
    int fix_imports = 1;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|OpO:Pickler", (char **)names, &file,
                                     &protocol, &fix_imports, &callback))
        return -1;
    if (self->write)
        pickler_clear(self); /* may run code; 'file' is the caller's */
    self->superset = PyType_IsSubtype(Py_TYPE(self), (PyTypeObject *)st->SupersetPickler);
    if (pickler_read_protocol(protocol, self->superset, &self->protocol) < 0 ||
        pickler_read_buffer_callback(callback, self->protocol, &callback) < 0)
        return -1;
    self->bin = self->protocol > 0;
    self->fix_imports = fix_imports;
    self->hooks.fast = 0;
    PyObject *write = pickler_find_write(st, file);
    if (!write)
        return -1;
    Py_XSETREF(self->write, write);
    Py_XINCREF(callback);
    Py_XSETREF(self->buffer_callback, callback);
    if (!PERSISTENT_ID_IS_METHOD && find_persistent_id(st, self) < 0)
        return -1;
    if (self->hooks.dispatch_table)
        return 0;
    PyObject *table;
    if (compat_find_attr((PyObject *)self, st->str_dispatch_table, &table) < 0)
        return -1;
    Py_XSETREF(self->hooks.dispatch_table, table);
    return 0;
}

/* Asks the file and the Pickler for attributes, which may run code: meanwhile nobody else may use it. */
static int pickler_init(pickler_object *self, PyObject *args, PyObject *keywords)
{
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st || refuse_busy(self) < 0)
        return -1;
    self->busy = 1;
    int status = set_up(st, self, args, keywords);
    self->busy = 0;
    return status;
}

static int run_dump(module_state *st, pickler_object *self, PyObject *obj)
{
    saver_options options = {
        .protocol = self->protocol,
        .fix_imports = self->fix_imports,
        .superset = self->superset,
        .buffer_callback = self->buffer_callback,
    };
    PyObject *override;
    if (PERSISTENT_ID_IS_METHOD && find_persistent_id(st, self) < 0)
        return -1;
    if (compat_find_attr((PyObject *)self, st->str_reducer_override, &override) < 0)
        return -1;
    Py_XSETREF(self->hooks.reducer_override, override);
    saver s;
    int status = saver_init(&s, st, &options, &self->hooks, &self->memo, NULL, self->write);
    if (status == 0)
        status = saver_run(&s, obj);
    if (status == 0)
        status = saver_before_python(&s);
    if (status == 0)
        status = saver_output_flush(&s.out);
    saver_end(&s);
    return status;
}

static PyObject *pickler_dump(pickler_object *self, PyObject *obj)
{
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st || refuse_busy(self) < 0)
        return NULL;
    if (!self->write) {
        PyErr_Format(st->PicklingError, "Pickler.__init__() was not called by %s.__init__()",
                     Py_TYPE(self)->tp_name);
        return NULL;
    }
    /* The saver borrows what the Pickler holds. */
    self->busy = 1;
    Py_INCREF(self);
    int status = run_dump(st, self, obj);
    saver_memo_forget_borrowed(&self->memo); /* after an error: what it only borrows */
    self->busy = 0;
    Py_CLEAR(self->hooks.reducer_override); /* it may hold the Pickler */
    if (PERSISTENT_ID_IS_METHOD) {
        Py_CLEAR(self->hooks.persistent_id);
        self->hooks.persistent_id_self = NULL;
    }
    Py_DECREF(self);
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *pickler_clear_memo(pickler_object *self, PyObject *ignored)
{
    saver_memo_clear(&self->memo);
    Py_RETURN_NONE;
}

static PyObject *pickler_sizeof(pickler_object *self, PyObject *ignored)
{
    return PyLong_FromSize_t((size_t)Py_TYPE(self)->tp_basicsize + saver_memo_nbytes(&self->memo));
}

/* ---- the memo, seen from Python ---- */

/* {id(obj): (number, obj)} */
static PyObject *memo_as_dict(PyObject *owner)
{
    const saver_memo *memo = &((pickler_object *)owner)->memo;
    PyObject *result = PyDict_New();
    for (Py_ssize_t i = 0; result && i < memo->count; i++) {
        /* Held: a new tuple can set off the garbage collector, and that clear_memo(). */
        PyObject *obj = Py_NewRef(saver_memo_item(memo, i));
        PyObject *key = PyLong_FromVoidPtr(obj);
        PyObject *value = Py_BuildValue("(nN)", saver_memo_id(memo, i), obj);
        if (!key || !value || PyDict_SetItem(result, key, value) < 0)
            Py_CLEAR(result);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return result;
}

static void memo_clear(PyObject *owner)
{
    saver_memo_clear(&((pickler_object *)owner)->memo);
}

static const memo_proxy_kind proxy_kind = {"achar.pickle.PicklerMemoProxy", "a PicklerMemoProxy",
                                           memo_as_dict, memo_clear};

static PyObject *pickler_get_memo(PyObject *self, void *closure)
{
    module_state *st = state_of_type(Py_TYPE(self));
    return st ? memo_proxy_new(st->PicklerMemoProxy, &proxy_kind, self) : NULL;
}

static int fill_memo(saver_memo *memo, PyObject *dict)
{
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!PyTuple_Check(value) || PyTuple_GET_SIZE(value) != 2) {
            PyErr_SetString(PyExc_TypeError, "'memo' values must be 2-item tuples");
            return -1;
        }
        Py_INCREF(value); /* reading the number may run its __index__() */
        Py_ssize_t id = PyLong_AsSsize_t(PyTuple_GET_ITEM(value, 0));
        int status = id == -1 && PyErr_Occurred()
                         ? -1
                         : saver_memo_set(memo, PyTuple_GET_ITEM(value, 1), id);
        Py_DECREF(value);
        if (status < 0)
            return -1;
    }
    return 0;
}

/* Replaces the Pickler's memo by a new one, of which nothing is left on error. */
static int pickler_set_memo(pickler_object *self, PyObject *value, void *closure)
{
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st)
        return -1;
    PyObject *owner;
    int is_proxy = memo_proxy_check_assigned(st->PicklerMemoProxy, &proxy_kind, value, &owner);
    if (is_proxy < 0)
        return -1;
    saver_memo memo;
    saver_memo_init(&memo);
    int status = is_proxy ? saver_memo_copy(&memo, &((pickler_object *)owner)->memo)
                          : fill_memo(&memo, value);
    if (status == 0)
        saver_memo_swap(&self->memo, &memo);
    saver_memo_clear(&memo);
    return status;
}

/* ---- persistent_id ---- */

#if PERSISTENT_ID_IS_METHOD

static int is_persistent_id(PyObject *name)
{
    return PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "persistent_id") == 0;
}

static PyObject *pickler_getattr(PyObject *self, PyObject *name)
{
    PyObject *own = ((pickler_object *)self)->persistent_id_attr;
    if (own && is_persistent_id(name))
        return Py_NewRef(own);
    return PyObject_GenericGetAttr(self, name);
}

static int pickler_setattr(PyObject *self, PyObject *name, PyObject *value)
{
    if (!is_persistent_id(name))
        return PyObject_GenericSetAttr(self, name, value);
    Py_XINCREF(value);
    Py_XSETREF(((pickler_object *)self)->persistent_id_attr, value);
    return 0;
}

#else

static PyObject *pickler_get_persistent_id(pickler_object *self, void *closure)
{
    PyObject *function = self->hooks.persistent_id;
    if (!function) {
        PyErr_SetString(PyExc_AttributeError, "persistent_id");
        return NULL;
    }
    PyObject *function_self = self->hooks.persistent_id_self;
    return function_self ? PyMethod_New(function, function_self) : Py_NewRef(function);
}

static int pickler_set_persistent_id(pickler_object *self, PyObject *value, void *closure)
{
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "attribute deletion is not supported");
        return -1;
    }
    if (!PyCallable_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "persistent_id must be a callable taking one argument");
        return -1;
    }
    self->hooks.persistent_id_self = NULL;
    Py_INCREF(value);
    Py_XSETREF(self->hooks.persistent_id, value);
    return 0;
}

#endif

/* ---- the types ---- */

static PyMethodDef pickler_methods[] = {
    {"dump", FUNCTION(pickler_dump), METH_O,
     "dump($self, obj, /)\n--\n\nWrite the pickle of an object to the file."},
    {"clear_memo", FUNCTION(pickler_clear_memo), METH_NOARGS,
     "clear_memo($self, /)\n--\n\n"
     "Forget which objects have been written, so that the next dump stands alone."},
    {"__sizeof__", FUNCTION(pickler_sizeof), METH_NOARGS,
     "__sizeof__($self, /)\n--\n\nReturns size in memory, in bytes."},
#if PERSISTENT_ID_IS_METHOD
    {"persistent_id", FUNCTION(pickler_persistent_id), METH_O,
     "persistent_id($self, obj, /)\n--\n\n"
     "What is written instead of the object; None: the object itself."},
#endif
    {NULL},
};

static PyMemberDef pickler_members[] = {
    {"bin", T_INT, offsetof(pickler_object, bin)},
    {"fast", T_INT, offsetof(pickler_object, hooks.fast)},
    {"dispatch_table", T_OBJECT_EX, offsetof(pickler_object, hooks.dispatch_table)},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(pickler_object, weak_references), READONLY},
    {NULL},
};

static PyGetSetDef pickler_getsets[] = {
    {"memo", pickler_get_memo, (setter)pickler_set_memo},
#if !PERSISTENT_ID_IS_METHOD
    {"persistent_id", (getter)pickler_get_persistent_id, (setter)pickler_set_persistent_id},
#endif
    {NULL},
};

PyDoc_STRVAR(pickler_doc,
             "Pickler(file, protocol=None, fix_imports=True, buffer_callback=None)\n--\n\n"
             "Writes pickles to a file open for writing bytes.\n\n"
             "The arguments are those of dumps(). Objects that one dump() has written are\n"
             "referred to by the next; clear_memo() ends that. Subclasses may define\n"
             "persistent_id(obj), reducer_override(obj) and dispatch_table.");

static PyType_Slot pickler_slots[] = {
    {Py_tp_doc, (char *)pickler_doc},
    {Py_tp_new, pickler_new},
    {Py_tp_init, pickler_init},
    {Py_tp_dealloc, pickler_dealloc},
    {Py_tp_traverse, pickler_traverse},
    {Py_tp_clear, pickler_clear},
    {Py_tp_methods, pickler_methods},
    {Py_tp_members, pickler_members},
    {Py_tp_getset, pickler_getsets},
#if PERSISTENT_ID_IS_METHOD
    {Py_tp_getattro, pickler_getattr},
    {Py_tp_setattro, pickler_setattr},
#endif
    {0, NULL},
};

static PyType_Slot superset_slots[] = {
    {Py_tp_doc, (char *)pickler_doc},
    {Py_tp_dealloc, pickler_dealloc},
    {Py_tp_traverse, pickler_traverse},
    {Py_tp_clear, pickler_clear},
    {0, NULL},
};

enum {
    PICKLER_FLAGS =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
};

static PyType_Spec pickler_spec = {
    .name = "achar.pickle.Pickler",
    .basicsize = sizeof(pickler_object),
    .flags = PICKLER_FLAGS,
    .slots = pickler_slots,
};

static PyType_Spec superset_spec = {
    .name = "achar.Pickler",
    .basicsize = sizeof(pickler_object),
    .flags = PICKLER_FLAGS,
    .slots = superset_slots,
};

int pickler_type_exec(PyObject *module, module_state *st)
{
    st->Pickler = PyType_FromModuleAndSpec(module, &pickler_spec, NULL);
    if (!st->Pickler || PyModule_AddObjectRef(st->strict_module, "Pickler", st->Pickler) < 0)
        return -1;
    PyObject *bases = PyTuple_Pack(1, st->Pickler);
    if (!bases)
        return -1;
    st->SupersetPickler = PyType_FromModuleAndSpec(module, &superset_spec, bases);
    Py_DECREF(bases);
    if (!st->SupersetPickler || PyModule_AddObjectRef(module, "Pickler", st->SupersetPickler) < 0)
        return -1;
    st->PicklerMemoProxy = memo_proxy_make_type(module, &proxy_kind);
    return st->PicklerMemoProxy ? 0 : -1;
}
