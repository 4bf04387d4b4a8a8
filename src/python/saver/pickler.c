/*
 * pickler.c - the saver as Python sees it: dump(), dumps() and the Pickler types.
 *
 * achar.pickle has the strict ones, achar the superset's; they differ in one flag. dump() and
 * dumps() need no Pickler object. A Pickler keeps its memo from one dump to the next; while it is
 * dumping, or being set up, it is 'busy', and a second dump, from a callback or another thread, is an error.
 *
 * What changed in 3.13 is followed: before, persistent_id is looked up once, in __init__; from then
 * on the base class has such a method, an instance may have its own, and dump() looks it up.
 */
#include "python/arguments.h"
#include "python/saver/engine.h"

#include <stddef.h>
#include <structmember.h>

#define PERSISTENT_ID_IS_METHOD (PY_VERSION_HEX >= 0x030D0000)

/* ---- arguments ---- */

/* 0: pickle's default; -1 with an exception set if it is none. */
static int read_protocol(PyObject *protocol, int superset, int *result)
{
    if (!protocol || protocol == Py_None) {
        *result = superset || PY_VERSION_HEX >= 0x030E0000 ? 5 : 4;
        return 0;
    }
    long value = PyLong_AsLong(protocol);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value > PICKLE_PROTOCOL_MAX) {
        PyErr_Format(PyExc_ValueError, "pickle protocol must be <= %d", PICKLE_PROTOCOL_MAX);
        return -1;
    }
    *result = value < 0 ? PICKLE_PROTOCOL_MAX : (int)value;
    return 0;
}

static int read_buffer_callback(PyObject *callback, int protocol, PyObject **result)
{
    *result = callback == Py_None ? NULL : callback;
    if (*result && protocol < 5) {
        PyErr_SetString(PyExc_ValueError, "buffer_callback needs protocol >= 5");
        return -1;
    }
    return 0;
}

/* The arguments of dump() and dumps(). Borrowed. */
typedef struct dump_arguments {
    PyObject *obj;
    PyObject *file; /* dump() only */
    PyObject *protocol;
    PyObject *fix_imports;
    PyObject *buffer_callback;
    PyObject *locks; /* the superset's only */
    PyObject *warn_size;
    PyObject *portable;
} dump_arguments;

/* Reads them into 'arguments'. 'with_file': dump's, whose second argument is the file. 0 or -1. */
static int read_arguments(dump_arguments *arguments, int superset, int with_file,
                          PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    enum { STRICT = 5, SUPERSET = 8 };
    static const char *const dump_names[SUPERSET] = {
        "obj",   "file",      "protocol", "fix_imports", "buffer_callback",
        "locks", "warn_size", "portable"};
    static const char *const dumps_names[SUPERSET - 1] = {
        "obj", "protocol", "fix_imports", "buffer_callback", "locks", "warn_size", "portable"};
    const int count = superset ? SUPERSET : STRICT;
    const arguments_signature dump_signature = {"dump", dump_names, count, 0, 3, 2};
    const arguments_signature dumps_signature = {"dumps", dumps_names, count - 1, 0, 2, 1};
    PyObject *values[SUPERSET] = {NULL};
    if (arguments_read(with_file ? &dump_signature : &dumps_signature, args, nargs, keywords,
                       values) < 0)
        return -1;
    PyObject *const *value = values;
    arguments->obj = *value++;
    arguments->file = with_file ? *value++ : NULL;
    arguments->protocol = *value++;
    arguments->fix_imports = *value++;
    arguments->buffer_callback = *value++;
    arguments->locks = *value++;
    arguments->warn_size = *value++;
    arguments->portable = *value;
    return 0;
}

static int make_options(const dump_arguments *arguments, int superset, saver_options *options)
{
    memset(options, 0, sizeof(*options));
    options->superset = superset;
    options->fix_imports = 1;
    if (arguments->fix_imports) {
        options->fix_imports = PyObject_IsTrue(arguments->fix_imports);
        if (options->fix_imports < 0)
            return -1;
    }
    if (arguments->portable && (options->portable = PyObject_IsTrue(arguments->portable)) < 0)
        return -1;
    if (arguments->locks && arguments->locks != Py_None) {
        options->fresh_locks = PyUnicode_Check(arguments->locks) &&
                               PyUnicode_CompareWithASCIIString(arguments->locks, "fresh") == 0;
        if (!options->fresh_locks) {
            PyErr_Format(PyExc_ValueError, "locks is None or 'fresh', not %R", arguments->locks);
            return -1;
        }
    }
    if (read_protocol(arguments->protocol, superset, &options->protocol) < 0)
        return -1;
    PyObject *callback = arguments->buffer_callback ? arguments->buffer_callback : Py_None;
    return read_buffer_callback(callback, options->protocol, &options->buffer_callback);
}

/* A file's write method, a new reference; TypeError if it has none. */
static PyObject *find_write(module_state *st, PyObject *file)
{
    PyObject *write;
    if (compat_find_attr(file, st->str_write, &write) == 0)
        PyErr_SetString(PyExc_TypeError, "file must have a 'write' attribute");
    return write;
}

/* ---- dump() and dumps() ---- */

/* Warns of what made a pickle larger than 'warn_size', if it is. 0 or -1. */
static int warn_of_size(PyObject *obj, Py_ssize_t nbytes, PyObject *warn_size)
{
    Py_ssize_t limit_nbytes = PyNumber_AsSsize_t(warn_size, PyExc_OverflowError);
    if ((limit_nbytes == -1 && PyErr_Occurred()) || nbytes <= limit_nbytes)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *explain = PyImport_ImportModule("achar._explain");
    PyObject *done = NULL;
    if (explain)
        done = PyObject_CallMethod(explain, "_warn_of_size", "Onn", obj, nbytes, limit_nbytes);
    Py_XDECREF(explain);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* dump_log(obj, log, skip): dumps() as byvalue_observe() describes. */
static PyObject *dump_log(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3 || !PyList_CheckExact(args[1]) || !PyDict_CheckExact(args[2])) {
        PyErr_SetString(PyExc_TypeError, "dump_log() takes an object, a list and a dict");
        return NULL;
    }
    saver_options options = {.protocol = 5, .superset = 1, .log = args[1], .skip = args[2]};
    return saver_dumps(state_of_module(module), args[0], &options);
}

static PyObject *dumps(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *keywords, int superset)
{
    dump_arguments arguments = {NULL};
    saver_options options;
    if (read_arguments(&arguments, superset, 0, args, nargs, keywords) < 0 ||
        make_options(&arguments, superset, &options) < 0)
        return NULL;
    PyObject *bytes = saver_dumps(state_of_module(module), arguments.obj, &options);
    if (bytes && arguments.warn_size && arguments.warn_size != Py_None &&
        warn_of_size(arguments.obj, PyBytes_GET_SIZE(bytes), arguments.warn_size) < 0)
        Py_CLEAR(bytes);
    return bytes;
}

static PyObject *dump(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords,
                      int superset)
{
    module_state *st = state_of_module(module);
    dump_arguments arguments = {NULL};
    saver_options options;
    if (read_arguments(&arguments, superset, 1, args, nargs, keywords) < 0 ||
        make_options(&arguments, superset, &options) < 0)
        return NULL;
    PyObject *write = find_write(st, arguments.file);
    if (!write)
        return NULL;
    saver s;
    int status = saver_init(&s, st, &options, NULL, NULL, NULL, write);
    if (status == 0)
        status = saver_run(&s, arguments.obj);
    if (status == 0)
        status = saver_before_python(&s);
    if (status == 0)
        status = saver_output_flush(&s.out);
    saver_end(&s);
    Py_DECREF(write);
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *strict_dumps(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *keywords)
{
    return dumps(module, args, nargs, keywords, 0);
}

static PyObject *strict_dump(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *keywords)
{
    return dump(module, args, nargs, keywords, 0);
}

static PyObject *superset_dumps(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *keywords)
{
    return dumps(module, args, nargs, keywords, 1);
}

static PyObject *superset_dump(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *keywords)
{
    return dump(module, args, nargs, keywords, 1);
}

#define WITH_KEYWORDS      METH_FASTCALL | METH_KEYWORDS
#define FUNCTION(function) (PyCFunction)(void (*)(void)) function

PyDoc_STRVAR(dumps_doc,
             "dumps($module, /, obj, protocol=None, *, fix_imports=True,\n"
             "      buffer_callback=None)\n--\n\n"
             "Return the pickle of an object as bytes.\n\n"
             "protocol         0 to 5; negative: the highest; None: the default\n"
             "fix_imports      below protocol 3: write Python 2's names of modules\n"
             "buffer_callback  protocol 5: called with each buffer; a false result means that\n"
             "                 the buffer is left out of the pickle");

PyDoc_STRVAR(dump_doc, "dump($module, /, obj, file, protocol=None, *, fix_imports=True,\n"
                       "     buffer_callback=None)\n--\n\n"
                       "Write the pickle of an object to a file open for writing bytes.\n\n"
                       "The arguments are those of dumps().");

static PyMethodDef strict_functions[] = {
    {"dumps", FUNCTION(strict_dumps), WITH_KEYWORDS, dumps_doc},
    {"dump", FUNCTION(strict_dump), WITH_KEYWORDS, dump_doc},
    {NULL},
};

PyDoc_STRVAR(superset_dumps_doc,
             "dumps($module, /, obj, protocol=None, *, fix_imports=True,\n"
             "      buffer_callback=None, locks=None, warn_size=None,\n"
             "      portable=False)\n--\n\n"
             "Return the pickle of an object as bytes; functions, classes and modules that the\n"
             "other side cannot import go by value.\n\n"
             "protocol         0 to 5; negative: the highest; None: 5\n"
             "fix_imports      below protocol 3: write Python 2's names of modules\n"
             "buffer_callback  protocol 5: called with each buffer; a false result means that\n"
             "                 the buffer is left out of the pickle\n"
             "locks            'fresh': locks and the like arrive as new ones, free; None: they\n"
             "                 are refused\n"
             "warn_size        bytes; a larger pickle sets off a warning that says what in it is\n"
             "                 large (dumps() only)\n"
             "portable         true: it can be loaded with nothing but the standard library, by\n"
             "                 pickle.loads of the same minor version");

static PyMethodDef superset_functions[] = {
    {"dumps", FUNCTION(superset_dumps), WITH_KEYWORDS, superset_dumps_doc},
    {"dump", FUNCTION(superset_dump), WITH_KEYWORDS, dump_doc},
    {"dump_log", FUNCTION(dump_log), METH_FASTCALL, NULL},
    {NULL},
};

/* ---- Pickler ---- */

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
    if (read_protocol(protocol, self->superset, &self->protocol) < 0 ||
        read_buffer_callback(callback, self->protocol, &callback) < 0)
        return -1;
    self->bin = self->protocol > 0;
    self->fix_imports = fix_imports;
    self->hooks.fast = 0;
    PyObject *write = find_write(st, file);
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

typedef struct memo_proxy {
    PyObject_HEAD pickler_object *pickler;
} memo_proxy;

static int proxy_clear(memo_proxy *self)
{
    Py_CLEAR(self->pickler);
    return 0;
}

static int proxy_traverse(memo_proxy *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->pickler);
    return 0;
}

static void proxy_dealloc(memo_proxy *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    proxy_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* {id(obj): (number, obj)} */
static PyObject *proxy_copy(memo_proxy *self, PyObject *ignored)
{
    const saver_memo *memo = &self->pickler->memo;
    PyObject *result = PyDict_New();
    for (Py_ssize_t i = 0; result && i < memo->count; i++) {
        PyObject *obj = saver_memo_item(memo, i);
        PyObject *key = PyLong_FromVoidPtr(obj);
        PyObject *value = Py_BuildValue("(nO)", saver_memo_id(memo, i), obj);
        if (!key || !value || PyDict_SetItem(result, key, value) < 0)
            Py_CLEAR(result);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return result;
}

static PyObject *proxy_clear_memo(memo_proxy *self, PyObject *ignored)
{
    saver_memo_clear(&self->pickler->memo);
    Py_RETURN_NONE;
}

static PyObject *proxy_reduce(memo_proxy *self, PyObject *ignored)
{
    PyObject *contents = proxy_copy(self, NULL);
    return contents ? Py_BuildValue("(O(N))", &PyDict_Type, contents) : NULL;
}

static PyMethodDef proxy_methods[] = {
    {"clear", FUNCTION(proxy_clear_memo), METH_NOARGS,
     "clear($self, /)\n--\n\nRemove all items from memo."},
    {"copy", FUNCTION(proxy_copy), METH_NOARGS,
     "copy($self, /)\n--\n\nCopy the memo to a new object."},
    {"__reduce__", FUNCTION(proxy_reduce), METH_NOARGS,
     "__reduce__($self, /)\n--\n\nImplement pickle support."},
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
    .name = "achar.pickle.PicklerMemoProxy",
    .basicsize = sizeof(memo_proxy),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = proxy_slots,
};

static PyObject *pickler_get_memo(pickler_object *self, void *closure)
{
    module_state *st = state_of_type(Py_TYPE(self));
    if (!st)
        return NULL;
    PyTypeObject *type = (PyTypeObject *)st->PicklerMemoProxy;
    memo_proxy *proxy = (memo_proxy *)type->tp_alloc(type, 0);
    if (proxy)
        proxy->pickler = (pickler_object *)Py_NewRef(self);
    return (PyObject *)proxy;
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
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "attribute deletion is not supported");
        return -1;
    }
    saver_memo memo;
    saver_memo_init(&memo);
    int status = -1;
    if (Py_TYPE(value) == (PyTypeObject *)st->PicklerMemoProxy)
        status = saver_memo_copy(&memo, &((memo_proxy *)value)->pickler->memo);
    else if (PyDict_Check(value))
        status = fill_memo(&memo, value);
    else
        PyErr_Format(PyExc_TypeError,
                     "'memo' attribute must be a PicklerMemoProxy object or dict, not %.200s",
                     Py_TYPE(value)->tp_name);
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
    {"memo", (getter)pickler_get_memo, (setter)pickler_set_memo},
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

int pickler_exec(PyObject *module, module_state *st)
{
    PyObject *strict = st->strict_module;
    for (PyMethodDef *def = strict_functions; def->ml_name; def++)
        if (state_add_function(module, strict, def, "achar.pickle") < 0)
            return -1;
    for (PyMethodDef *def = superset_functions; def->ml_name; def++)
        if (state_add_function(module, module, def, "achar") < 0)
            return -1;
    st->Pickler = PyType_FromModuleAndSpec(module, &pickler_spec, NULL);
    if (!st->Pickler || PyModule_AddObjectRef(strict, "Pickler", st->Pickler) < 0)
        return -1;
    PyObject *bases = PyTuple_Pack(1, st->Pickler);
    if (!bases)
        return -1;
    st->SupersetPickler = PyType_FromModuleAndSpec(module, &superset_spec, bases);
    Py_DECREF(bases);
    if (!st->SupersetPickler || PyModule_AddObjectRef(module, "Pickler", st->SupersetPickler) < 0)
        return -1;
    st->PicklerMemoProxy = PyType_FromModuleAndSpec(module, &proxy_spec, NULL);
    return st->PicklerMemoProxy ? 0 : -1;
}
