/*
 * errors.c - what the loader says when the input is bad.
 *
 * Strict mode: the interpreter's exceptions with the interpreter's words. Superset mode: the same
 * exceptions, and where in the stream it happened, at which opcode, and what to do.
 */
#include "python/loader/core.h"
#include "python/loader/where.h"

#include "codec/opcodes.h"

int loader_fail(loader *ld, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(ld->st->UnpicklingError, format, arguments);
    va_end(arguments);
    ld->fault = LOADER_FAULT_DAMAGED;
    return -1;
}

int loader_fail_truncated(loader *ld)
{
    loader_fail(ld, "pickle data was truncated");
    ld->fault = LOADER_FAULT_TRUNCATED;
    return -1;
}

int loader_fail_underflow(loader *ld)
{
    return loader_fail(ld,
                       ld->marks_count ? "unexpected MARK found" : "unpickling stack underflow");
}

int loader_fail_opcode(loader *ld, uint8_t code)
{
    if (0x20 <= code && code <= 0x7e && code != '\'' && code != '\\')
        return loader_fail(ld, "invalid load key, '%c'.", code);
    return loader_fail(ld, "invalid load key, '\\x%02x'.", code);
}

int loader_fail_too_large(loader *ld, const char *opcode_name)
{
    PyErr_Format(PyExc_OverflowError, "%s exceeds system's maximum size of %zd bytes", opcode_name,
                 PY_SSIZE_T_MAX);
    ld->fault = LOADER_FAULT_DAMAGED;
    return -1;
}

/* Appends 'addition' to the message of 'exception' if it is a plain one-string exception. */
static int extend_message(PyObject *exception, PyObject *addition)
{
    PyObject *arguments = PyObject_GetAttrString(exception, "args");
    int status = -1;
    if (arguments && PyTuple_Check(arguments) && PyTuple_GET_SIZE(arguments) == 1 &&
        PyUnicode_Check(PyTuple_GET_ITEM(arguments, 0))) {
        PyObject *message = PyUnicode_FromFormat("%U%U", PyTuple_GET_ITEM(arguments, 0), addition);
        PyObject *replaced = message ? PyTuple_Pack(1, message) : NULL;
        if (replaced)
            status = PyObject_SetAttrString(exception, "args", replaced);
        Py_XDECREF(replaced);
        Py_XDECREF(message);
    }
    Py_XDECREF(arguments);
    return status;
}

static const char *advice(loader *ld, uint64_t offset)
{
    switch (ld->fault) {
    case LOADER_FAULT_END:
        return offset == 0
                   ? "there is nothing to load; check that the writer has written, and that "
                     "the file stands at the pickle's beginning"
                   : "the pickle has no end; it was cut off, or its writer has not finished";
    case LOADER_FAULT_TRUNCATED:
        return "the data ends within this opcode; it was cut off, or is damaged";
    case LOADER_FAULT_PERSISTENT:
        return "load it with an Unpickler that has a persistent_load method for these ids";
    case LOADER_FAULT_BUFFERS:
        return "pass as buffers, in order, all that the pickler's buffer_callback was given";
    case LOADER_FAULT_PROTOCOL:
        return "a newer Python wrote it, or it is no pickle; let the writer say protocol=5, which "
               "is the newest here, and check what wrote it";
    default:
        return offset == 0 ? "these bytes do not begin like a pickle; check what wrote them, and "
                             "whether they are compressed or encoded"
                           : "the data is damaged, or was not written by a pickler";
    }
}

/* Runs 'say' with the exception taken out of the way; whatever fails in there is dropped. */
static void with_exception(void (*say)(PyObject *type, PyObject *exception, void *context),
                           void *context)
{
    PyObject *type, *exception, *traceback;
    PyErr_Fetch(&type, &exception, &traceback);
    PyErr_NormalizeException(&type, &exception, &traceback);
    if (exception) {
        say(type, exception, context);
        PyErr_Clear(); /* the exception that stands matters more than its decoration */
    }
    PyErr_Restore(type, exception, traceback);
}

typedef struct place {
    loader *ld;
    uint64_t offset;
    const char *opcode_name;
    /* Of a global that cannot be had; borrowed, else NULL. */
    PyObject *module_name, *name;
} place;

/* Where the opcode stands now. */
static uint64_t offset_of_opcode(const loader *ld)
{
    return ld->opcode_at ? ld->in.start_offset + (uint64_t)(ld->opcode_at - ld->in.start)
                         : ld->opcode_offset;
}

/*
 * Looks for the place in what is in memory. Of a file that is its last chunk, which has all of a
 * small pickle.
 */
static void find_place(loader *ld, uint64_t offset, loader_place *found)
{
    uint64_t begin = ld->pickle_offset;
    *found = (loader_place){0};
    if (!ld->running || !ld->in.start || begin < ld->in.start_offset || offset < begin)
        return;
    const uint8_t *start = ld->in.start + (begin - ld->in.start_offset);
    if (start <= ld->in.chunk_end)
        loader_find_place(start, (size_t)(ld->in.chunk_end - start), offset - begin, found);
}

/* achar._load_errors.<function>(exception, module, name, path, label): the exception's note. */
static void explain_in_words(PyObject *exception, const char *function, PyObject *module_name,
                             PyObject *name, const loader_place *found)
{
    PyObject *module = PyImport_ImportModule("achar._load_errors");
    PyObject *note =
        module ? PyObject_CallMethod(module, function, "OOOOO", exception,
                                     module_name ? module_name : Py_None, name ? name : Py_None,
                                     found->path ? found->path : Py_None,
                                     found->label ? found->label : Py_None)
               : NULL;
    Py_XDECREF(module);
    if (note && PyUnicode_Check(note))
        compat_add_text(exception, note);
    Py_XDECREF(note);
}

static void say_place(PyObject *type, PyObject *exception, void *context)
{
    place *at = context;
    if (at->ld->fault != LOADER_FAULT_NONE) {
        PyObject *addition =
            PyUnicode_FromFormat(" (at byte %llu, %s): %s", (unsigned long long)at->offset,
                                 at->opcode_name, advice(at->ld, at->offset));
        if (addition)
            extend_message(exception, addition);
        Py_XDECREF(addition);
        return;
    }
    if (!at->ld->explained && PyErr_GivenExceptionMatches(type, PyExc_Exception) &&
        !PyErr_GivenExceptionMatches(type, PyExc_MemoryError)) {
        loader_place found;
        find_place(at->ld, at->offset, &found);
        if (found.module && found.name)
            explain_in_words(exception, "rebuilding_failed", found.module, found.name, &found);
        loader_place_clear(&found);
    }
    PyObject *note = PyUnicode_FromFormat("achar: raised while loading a pickle, at byte %llu, %s",
                                          (unsigned long long)at->offset, at->opcode_name);
    if (note)
        compat_add_note(exception, note);
    Py_XDECREF(note);
}

void loader_explain(loader *ld, uint8_t code)
{
    place at = {ld, offset_of_opcode(ld), achar__opcodes[code].name, NULL, NULL};
    if (ld->fault == LOADER_FAULT_END)
        at.opcode_name = "the end";
    else if (!at.opcode_name)
        at.opcode_name = "not an opcode";
    with_exception(say_place, &at);
}

static void say_global(PyObject *type, PyObject *exception, void *context)
{
    place *at = context;
    loader_place found;
    if (!PyErr_GivenExceptionMatches(type, PyExc_ImportError) &&
        !PyErr_GivenExceptionMatches(type, PyExc_AttributeError))
        return;
    at->ld->explained = true;
    find_place(at->ld, at->offset, &found);
    explain_in_words(exception, "global_missing", at->module_name, at->name, &found);
    loader_place_clear(&found);
}

void loader_explain_global(loader *ld, PyObject *module_name, PyObject *name)
{
    place at = {ld, offset_of_opcode(ld), NULL, module_name, name};
    if (ld->superset)
        with_exception(say_global, &at);
}

/* ---- stand-ins ---- */

typedef struct substitution {
    place at;
    PyObject *names; /* borrowed */
    int has_own_name; /* they begin with the class's own: what is missing may be a function that makes it */
    PyObject *stand_in; /* out: a class, or NULL */
} substitution;

static void make_stand_in(PyObject *type, PyObject *exception, void *context)
{
    substitution *made = context;
    loader *ld = made->at.ld;
    loader_place found;
    if (!PyErr_GivenExceptionMatches(type, PyExc_ImportError) &&
        !PyErr_GivenExceptionMatches(type, PyExc_AttributeError))
        return;
    PyObject *own = made->at.module_name, *name = made->at.name;
    if (made->has_own_name) {
        own = PyTuple_GET_ITEM(made->names, 0);
        name = PyTuple_GET_ITEM(made->names, 1);
    }
    PyObject *bases =
        PyTuple_GetSlice(made->names, made->has_own_name ? 2 : 0, PyTuple_GET_SIZE(made->names));
    if (!bases)
        return;
    find_place(ld, made->at.offset, &found);
    PyObject *pickled =
        found.nbytes ? PyBytes_FromStringAndSize((const char *)ld->in.start +
                                                     (ld->pickle_offset - ld->in.start_offset),
                                                 (Py_ssize_t)found.nbytes)
                     : NULL;
    PyObject *module = PyImport_ImportModule("achar._stand_in");
    if (module)
        made->stand_in =
            PyObject_CallMethod(module, "make", "OOOOOOO", exception, own, name, bases,
                                found.path ? found.path : Py_None,
                                found.label ? found.label : Py_None, pickled ? pickled : Py_None);
    Py_XDECREF(module);
    Py_XDECREF(pickled);
    Py_DECREF(bases);
    loader_place_clear(&found);
    if (made->stand_in && !PyExceptionClass_Check(made->stand_in))
        Py_CLEAR(made->stand_in);
}

PyObject *loader_stand_in(loader *ld, PyObject *module_name, PyObject *name)
{
    substitution made = {{ld, offset_of_opcode(ld), NULL, module_name, name}, NULL, 0, NULL};
    if (!ld->superset || loader_above_fence(ld) < 2 || !PyTuple_CheckExact(ld->top[-1]))
        return NULL;
    made.names = ld->top[-1];
    made.has_own_name = ld->top[-2] == ld->st->v1_exception_by && PyTuple_GET_SIZE(made.names) >= 2;
    if (!made.has_own_name && ld->top[-2] != ld->st->v1_exception_of)
        return NULL;
    with_exception(make_stand_in, &made);
    if (made.stand_in)
        PyErr_Clear();
    return made.stand_in;
}
