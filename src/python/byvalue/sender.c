/*
 * sender.c - the label: who wrote a stream with code in it, and the versions of what it names.
 *
 * Where a module is missing on the other side, the reader of the error wants to know which version
 * was meant, and whose it was. A stream that sends code (a function, by name or by value, or anything
 * else that travels by value; not what a plain object's __reduce__ names) and names something from outside the standard library ends with
 *
 *    SHORT_BINBYTES "achar:sender\n…"  POP  STOP
 *
 * which every unpickler drops. Plain data has none: there achar.dumps writes what pickle does. The
 * loader looks for it only when it has failed (loader/where.c), so a load that succeeds pays for one
 * small bytes object. What is said of a module is worked out once per process.
 */
#include "python/byvalue/sender.h"

#include "python/byvalue/internal.h"

#include <unistd.h>

int byvalue_note_module(byvalue_session *session, PyObject *module_name)
{
    PyObject *known = PyDict_GetItemWithError(session->st->byvalue_labels, module_name);
    if (known == Py_None) /* everybody has it */
        return 0;
    if (PyErr_Occurred())
        return -1;
    if (!session->named_modules && !(session->named_modules = PyDict_New()))
        return -1;
    return PyDict_SetItem(session->named_modules, module_name, Py_None);
}

void byvalue_note_sent(byvalue_session *session, PyObject *obj)
{
    session->has_code |= PyFunction_Check(obj);
}

int byvalue_wants_label(const byvalue_session *session)
{
    return session->has_code && session->named_modules;
}

/* achar._sender.function(argument), which is bytes or None; a new reference. */
static PyObject *ask(const char *function, PyObject *argument)
{
    PyObject *callable = byvalue_import("achar._sender", function);
    PyObject *answer = NULL;
    if (callable)
        answer = argument ? PyObject_CallOneArg(callable, argument) : PyObject_CallNoArgs(callable);
    Py_XDECREF(callable);
    if (answer && answer != Py_None && !PyBytes_CheckExact(answer)) {
        PyErr_Format(PyExc_TypeError, "achar._sender.%s returned %R", function, answer);
        Py_CLEAR(answer);
    }
    return answer;
}

/* What is said of a module: bytes, or None; borrowed from the table. */
static PyObject *line_of_module(module_state *st, PyObject *name)
{
    PyObject *line = PyDict_GetItemWithError(st->byvalue_labels, name);
    if (line || PyErr_Occurred())
        return line;
    line = ask("module_line", name);
    int status = line ? PyDict_SetItem(st->byvalue_labels, name, line) : -1;
    Py_XDECREF(line);
    return status < 0 ? NULL : line;
}

/* What is said of this process, bytes that begin with the mark; borrowed. */
static PyObject *line_of_process(module_state *st)
{
    byvalue_tables *tables = byvalue_tables_of(st);
    if (!st->byvalue_process_line || tables->label_pid != getpid()) {
        Py_XSETREF(st->byvalue_process_line, ask("process_line", NULL));
        tables->label_pid = getpid();
    }
    return st->byvalue_process_line;
}

int byvalue_label(byvalue_session *session, PyObject **label)
{
    module_state *st = session->st;
    PyObject *name, *ignored, *text = NULL;
    Py_ssize_t position = 0;
    *label = NULL;
    /* Asking about one module may import others, but nobody else has this dict. */
    while (PyDict_Next(session->named_modules, &position, &name, &ignored)) {
        PyObject *line = line_of_module(st, name);
        if (!line)
            goto fail;
        if (line == Py_None)
            continue;
        if (!text) {
            text = Py_XNewRef(line_of_process(st));
            if (!text)
                goto fail;
        }
        PyBytes_Concat(&text, line);
        if (!text)
            goto fail;
    }
    *label = text;
    return 0;
fail:
    Py_XDECREF(text);
    return -1;
}

int byvalue_sender_exec(module_state *st)
{
    st->byvalue_labels = PyDict_New();
    return st->byvalue_labels ? PyDict_SetItemString(st->byvalue_labels, "achar._v1", Py_None) : -1;
}
