/*
 * unpickler.c - what Python sees of the loader: load() and loads(), and what they are called with.
 *
 * Strict and superset differ by one flag. They need no Unpickler object (unpickler_type.c): the
 * loader lies on the C stack.
 */
#include "python/loader/unpickler.h"

#include "python/arguments.h"

/* ---- arguments ---- */

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

int unpickler_read_keywords(const char *function, PyObject *const *values,
                            load_arguments *arguments)
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
    PyObject *values[6] = {NULL};
    if (arguments_read(signature, args, nargs, keywords, values) < 0 ||
        unpickler_read_keywords(signature->function, values + 1, arguments) < 0 ||
        byvalue_read_class_state(values[5], &arguments->class_state) < 0)
        return NULL;
    return values[0];
}

int unpickler_configure(loader *ld, const load_arguments *arguments)
{
    ld->fix_imports = arguments->fix_imports;
    if (arguments->encoding)
        ld->encoding = PyUnicode_AsUTF8(arguments->encoding); /* cached: checked by the parser */
    if (arguments->errors)
        ld->errors = PyUnicode_AsUTF8(arguments->errors);
    return loader_set_buffers(ld, arguments->buffers);
}

/* ---- load() and loads() ---- */

static const char *const load_names[] = {"file",   "fix_imports", "encoding",
                                         "errors", "buffers",     "class_state"};
/* Of the strict ones, and of the superset's, which have one more. */
static const arguments_signature load_signatures[] = {{"load", load_names, 5, 0, 1, 1},
                                                      {"load", load_names, 6, 0, 1, 1}};
static const arguments_signature loads_signatures[] = {{"loads", load_names, 5, 1, 1, 1},
                                                       {"loads", load_names, 6, 1, 1, 1}};

/* loader_run() with what was asked for about classes. */
static PyObject *run(loader *ld, enum byvalue_class_state choice)
{
    if (choice == CLASS_STATE_ANY)
        return loader_run(ld);
    enum byvalue_class_state before = byvalue_class_state_choose(choice);
    PyObject *object = loader_run(ld);
    byvalue_class_state_choose(before);
    return object;
}

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
    PyObject *data =
        parse_arguments(&loads_signatures[superset], positional, nargs, keywords, &arguments);
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
    if (unpickler_configure(&ld, &arguments) == 0)
        object = run(&ld, arguments.class_state);
    loader_end(&ld);
    if (view.obj)
        PyBuffer_Release(&view);
    return object;
}

static PyObject *load(PyObject *module, PyObject *const *positional, Py_ssize_t nargs,
                      PyObject *keywords, bool superset)
{
    load_arguments arguments = LOAD_ARGUMENTS_DEFAULT;
    PyObject *file =
        parse_arguments(&load_signatures[superset], positional, nargs, keywords, &arguments);
    if (!file)
        return NULL;
    loader ld;
    PyObject *object = NULL;
    loader_init(&ld, state_of_module(module));
    ld.superset = superset;
    if (loader_input_file(&ld.in, file) == 0 && unpickler_configure(&ld, &arguments) == 0)
        object = run(&ld, arguments.class_state);
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

#define KEYWORDS     "*, fix_imports=True, encoding='ASCII',\n      errors='strict', buffers=()"
#define STRICT_DOC   KEYWORDS ")\n--\n\n"
#define SUPERSET_DOC KEYWORDS ", class_state=None)\n--\n\n"
#define CLASS_STATE_DOC                                                                            \
    "\n\nclass_state is about classes by value that have come here before: 'reset' gives\n"        \
    "them the attributes that this pickle says, 'keep' leaves them as they are here;\n"            \
    "None: as set_class_state() says, which begins with 'reset'."

#define LOADS_DOC(keywords, more)                                                                  \
    "loads($module, data, /, " keywords                                                            \
    "Return the object that the pickle in data (bytes-like) describes.\n\n"                        \
    "Bytes past the end of the pickle are ignored. fix_imports, encoding and\n"                    \
    "errors are for pickles that Python 2 wrote; encoding='bytes' leaves its\n"                    \
    "8-bit strings as bytes. buffers is an iterable of the out-of-band buffers\n"                  \
    "that the pickle refers to." more "\n\n"                                                       \
    "A pickle can run any code. Load only what you trust."
#define LOAD_DOC(keywords)                                                                         \
    "load($module, /, file, " keywords                                                             \
    "Read a pickle from a binary file and return the object it describes.\n\n"                     \
    "file has read(n) and readline(), and may have readinto(buffer) and peek(n).\n"                \
    "Afterwards its position is behind the pickle. The other arguments are those\n"                \
    "of loads().\n\n"                                                                              \
    "A pickle can run any code. Load only what you trust."

#define METHOD(name, function, doc)                                                                \
    {                                                                                              \
        name, (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS, doc          \
    }
static PyMethodDef strict_functions[] = {
    METHOD("load", strict_load, LOAD_DOC(STRICT_DOC)),
    METHOD("loads", strict_loads, LOADS_DOC(STRICT_DOC, "")),
};
static PyMethodDef superset_functions[] = {
    METHOD("load", superset_load, LOAD_DOC(SUPERSET_DOC)),
    METHOD("loads", superset_loads, LOADS_DOC(SUPERSET_DOC, CLASS_STATE_DOC)),
};
#undef METHOD

int unpickler_exec(PyObject *module, module_state *st)
{
    for (size_t i = 0; i < sizeof strict_functions / sizeof *strict_functions; i++)
        if (state_add_function(module, st->strict_module, &strict_functions[i], "achar.pickle") < 0)
            return -1;
    for (size_t i = 0; i < sizeof superset_functions / sizeof *superset_functions; i++)
        if (state_add_function(module, module, &superset_functions[i], "achar") < 0)
            return -1;
    return unpickler_type_exec(module, st);
}
