/*
 * errors.c - what the loader says when the input is bad.
 *
 * Strict mode: the interpreter's exceptions with the interpreter's words. Superset mode: the same
 * exceptions, and where in the stream it happened, at which opcode, and what to do.
 */
#include "python/loader/core.h"

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
} place;

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
    } else {
        PyObject *note =
            PyUnicode_FromFormat("achar: raised while loading a pickle, at byte %llu, %s",
                                 (unsigned long long)at->offset, at->opcode_name);
        if (note)
            compat_add_note(exception, note);
        Py_XDECREF(note);
    }
}

void loader_explain(loader *ld, uint8_t code)
{
    place at = {ld, ld->opcode_offset, achar__opcodes[code].name};
    if (ld->opcode_at)
        at.offset = ld->in.start_offset + (uint64_t)(ld->opcode_at - ld->in.start);
    if (ld->fault == LOADER_FAULT_END)
        at.opcode_name = "the end";
    else if (!at.opcode_name)
        at.opcode_name = "not an opcode";
    with_exception(say_place, &at);
}

typedef struct missing_global {
    PyObject *module_name;
    PyObject *name;
} missing_global;

static void say_global(PyObject *type, PyObject *exception, void *context)
{
    missing_global *missing = context;
    PyObject *note = NULL;
    if (PyErr_GivenExceptionMatches(type, PyExc_ImportError))
        note = PyUnicode_FromFormat(
            "achar: the pickle needs %U.%U, and module %U cannot be imported here; install it or "
            "put "
            "it on sys.path, or let the sender call achar.register_by_value() on it",
            missing->module_name, missing->name, missing->module_name);
    else if (PyErr_GivenExceptionMatches(type, PyExc_AttributeError))
        note = PyUnicode_FromFormat(
            "achar: the pickle needs %U.%U, and this %U has no such name; the two sides have "
            "different versions of it, or the sender pickled by name what is only defined there",
            missing->module_name, missing->name, missing->module_name);
    if (note)
        compat_add_note(exception, note);
    Py_XDECREF(note);
}

void loader_explain_global(loader *ld, PyObject *module_name, PyObject *name)
{
    missing_global missing = {module_name, name};
    if (ld->superset)
        with_exception(say_global, &missing);
}
