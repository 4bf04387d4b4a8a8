/*
 * pickler.c - the saver as Python sees it: dump() and dumps(), and what they are called with.
 *
 * achar.pickle has the strict ones, achar the superset's; they differ in one flag. They need no
 * Pickler object; that type is in pickler_type.c.
 */
#include "python/arguments.h"
#include "python/saver/engine.h"
#include "python/saver/pickler.h"

/* ---- arguments ---- */

int pickler_read_protocol(PyObject *protocol, int superset, int *result)
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

int pickler_read_buffer_callback(PyObject *callback, int protocol, PyObject **result)
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
    PyObject *deterministic;
    PyObject *portable;
    PyObject *source;
} dump_arguments;

/* Reads them into 'arguments'. 'with_file': dump's, whose second argument is the file. 0 or -1. */
static int read_arguments(dump_arguments *arguments, int superset, int with_file,
                          PyObject *const *args, Py_ssize_t nargs, PyObject *keywords)
{
    enum { STRICT = 5, SUPERSET = 10 };
    static const char *const dump_names[SUPERSET] = {
        "obj",   "file",      "protocol",      "fix_imports", "buffer_callback",
        "locks", "warn_size", "deterministic", "portable",    "source"};
    static const char *const dumps_names[SUPERSET - 1] = {
        "obj",       "protocol",      "fix_imports", "buffer_callback", "locks",
        "warn_size", "deterministic", "portable",    "source"};
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
    arguments->deterministic = *value++;
    arguments->portable = *value++;
    arguments->source = *value;
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
    if (arguments->deterministic &&
        (options->deterministic = PyObject_IsTrue(arguments->deterministic)) < 0)
        return -1;
    if (arguments->portable && (options->portable = PyObject_IsTrue(arguments->portable)) < 0)
        return -1;
    if (arguments->source && (options->with_source = PyObject_IsTrue(arguments->source)) < 0)
        return -1;
    if (options->portable && options->with_source) {
        PyErr_SetString(PyExc_ValueError,
                        "portable and source exclude each other: what compiles the "
                        "source on the other side is achar");
        return -1;
    }
    if (arguments->locks && arguments->locks != Py_None) {
        options->fresh_locks = PyUnicode_Check(arguments->locks) &&
                               PyUnicode_CompareWithASCIIString(arguments->locks, "fresh") == 0;
        if (!options->fresh_locks) {
            PyErr_Format(PyExc_ValueError, "locks is None or 'fresh', not %R", arguments->locks);
            return -1;
        }
    }
    if (pickler_read_protocol(arguments->protocol, superset, &options->protocol) < 0)
        return -1;
    PyObject *callback = arguments->buffer_callback ? arguments->buffer_callback : Py_None;
    return pickler_read_buffer_callback(callback, options->protocol, &options->buffer_callback);
}

PyObject *pickler_find_write(module_state *st, PyObject *file)
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
    PyObject *explain = PyImport_ImportModule("achar._parts");
    PyObject *done = NULL;
    if (explain)
        done = PyObject_CallMethod(explain, "_warn_of_size", "Onn", obj, nbytes, limit_nbytes);
    Py_XDECREF(explain);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* dump_log(obj, log, skip, **options): dumps() as byvalue_choose() describes. */
static PyObject *dump_log(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *keywords)
{
    enum { OPTIONS_MAX = 8 };
    Py_ssize_t count = keywords ? PyTuple_GET_SIZE(keywords) : 0;
    PyObject *given[1 + OPTIONS_MAX];
    dump_arguments arguments = {NULL};
    saver_options options;
    if (nargs != 3 || !PyList_CheckExact(args[1]) || !PyDict_CheckExact(args[2]) ||
        count > OPTIONS_MAX) {
        PyErr_SetString(PyExc_TypeError,
                        "dump_log() takes an object, a list, a dict, and dumps()'s options");
        return NULL;
    }
    given[0] = args[0];
    for (Py_ssize_t i = 0; i < count; i++)
        given[1 + i] = args[3 + i];
    if (read_arguments(&arguments, 1, 0, given, 1, keywords) < 0 ||
        make_options(&arguments, 1, &options) < 0)
        return NULL;
    options.log = args[1];
    options.skip = args[2];
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
    PyObject *write = pickler_find_write(st, arguments.file);
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
    Py_ssize_t nbytes = (Py_ssize_t)s.out.flushed_nbytes;
    saver_end(&s);
    Py_DECREF(write);
    if (status == 0 && arguments.warn_size && arguments.warn_size != Py_None)
        status = warn_of_size(arguments.obj, nbytes, arguments.warn_size);
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

#define OPTIONS_SIGNATURE                                                                          \
    "protocol=None, *, fix_imports=True, buffer_callback=None,\n"                                  \
    "      locks=None, warn_size=None, deterministic=False, portable=False,\n"                     \
    "      source=False)\n--\n\n"
#define OPTIONS_DOC                                                                                \
    "protocol         0 to 5; negative: the highest; None: 5\n"                                    \
    "fix_imports      below protocol 3: write Python 2's names of modules\n"                       \
    "buffer_callback  protocol 5: called with each buffer; a false result means that\n"            \
    "                 the buffer is left out of the pickle\n"                                      \
    "locks            'fresh': locks and the like arrive as new ones, free; None: they\n"          \
    "                 are refused\n"                                                               \
    "warn_size        bytes; a larger pickle sets off a warning that says what in it is\n"         \
    "                 large\n"                                                                     \
    "deterministic    true: the bytes depend on nothing but the object: the same in\n"             \
    "                 every process, whatever PYTHONHASHSEED is\n"                                 \
    "portable         true: it can be loaded with nothing but the standard library, by\n"          \
    "                 pickle.loads of the same minor version\n"                                    \
    "source           true: functions by value take their source along, which another\n"           \
    "                 minor version of Python compiles"

PyDoc_STRVAR(superset_dumps_doc,
             "dumps($module, /, obj, " OPTIONS_SIGNATURE
             "Return the pickle of an object as bytes; functions, classes and modules that the\n"
             "other side cannot import go by value.\n\n" OPTIONS_DOC);
PyDoc_STRVAR(superset_dump_doc,
             "dump($module, /, obj, file, " OPTIONS_SIGNATURE
             "Write the pickle of an object to a file open for writing bytes; functions, classes\n"
             "and modules that the other side cannot import go by value.\n\n" OPTIONS_DOC);

static PyMethodDef superset_functions[] = {
    {"dumps", FUNCTION(superset_dumps), WITH_KEYWORDS, superset_dumps_doc},
    {"dump", FUNCTION(superset_dump), WITH_KEYWORDS, superset_dump_doc},
    {"dump_log", FUNCTION(dump_log), WITH_KEYWORDS, NULL},
    {NULL},
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
    return pickler_type_exec(module, st);
}
