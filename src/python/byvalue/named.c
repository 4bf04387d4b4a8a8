/*
 * named.c - which globals and which classes by value a pickle names, without loading it.
 *
 * It follows the strings alone, as our saver writes them: STACK_GLOBAL takes the two last ones; the call
 * of achar._v1.class_ has its class's name first among those that no STACK_GLOBAL took, and "__module__"
 * is followed by the module's. In bytes that something else wrote, names may be missed.
 */
#include "achar/status.h"
#include "codec/token.h"
#include "python/byvalue/digest.h"

enum { DEPTH_MAX = 16, STRINGS_MAX = 4096 };

typedef struct text {
    const char *data; /* NULL: something else */
    size_t nbytes;
} text;

typedef struct names {
    text *memo;
    size_t memo_count, memo_capacity;
    text strings[STRINGS_MAX]; /* those on the stack, or nearly so */
    size_t string_count;
    size_t calls[DEPTH_MAX]; /* of class_, around here: how many strings there were */
    size_t call_count;
    int begins_call; /* the last global was class_ */
    PyObject *found; /* set of (module, qualname) */
} names;

static text as_text(const token *t)
{
    return (text){(const char *)t->data, t->nbytes};
}

static int is(text a, const char *word)
{
    return a.data && a.nbytes == strlen(word) && memcmp(a.data, word, a.nbytes) == 0;
}

static int add(names *n, text module, text name)
{
    if (!module.data || !name.data)
        return 0;
    PyObject *pair = Py_BuildValue("(s#s#)", module.data, (Py_ssize_t)module.nbytes, name.data,
                                   (Py_ssize_t)name.nbytes);
    if (!pair) { /* no UTF-8: no name of a class that could be found */
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    int status = PySet_Add(n->found, pair);
    Py_DECREF(pair);
    return status;
}

static int memoize(names *n, text what)
{
    if (n->memo_count == n->memo_capacity) {
        size_t capacity = n->memo_capacity * 2 + 64;
        text *grown = PyMem_Realloc(n->memo, capacity * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            return -1;
        }
        n->memo = grown;
        n->memo_capacity = capacity;
    }
    n->memo[n->memo_count++] = what;
    return 0;
}

static void push(names *n, text string)
{
    if (n->string_count == STRINGS_MAX) { /* the last ones are what matters */
        size_t kept = n->call_count ? n->calls[n->call_count - 1] + 1 : 0;
        n->string_count = kept < STRINGS_MAX - 2 ? kept : STRINGS_MAX - 2;
    }
    n->strings[n->string_count++] = string;
}

static const text CLASS_CALL = {"class_", 0}; /* in the memo: the global itself */

static text take_global(names *n, int *status)
{
    if (n->string_count < 2)
        return (text){NULL, 0};
    text module = n->strings[n->string_count - 2], name = n->strings[n->string_count - 1];
    n->string_count -= 2;
    n->begins_call = is(module, "achar._v1") && is(name, "class_");
    *status = add(n, module, name);
    return n->begins_call ? CLASS_CALL : (text){NULL, 0};
}

static int end_call(names *n)
{
    size_t first = n->calls[--n->call_count];
    text module = {NULL, 0};
    for (size_t i = first; i + 1 < n->string_count; i++) {
        if (is(n->strings[i], "__module__"))
            module = n->strings[i + 1];
    }
    int status = first < n->string_count ? add(n, module, n->strings[first]) : 0;
    n->string_count = first < n->string_count ? first : n->string_count;
    return status;
}

static uint64_t number_in(const token *t)
{
    uint64_t number = 0;
    for (size_t i = 0; i < t->nbytes; i++)
        number |= (uint64_t)t->data[i] << (8 * i);
    return number;
}

static int read_names(names *n, const uint8_t *cursor, const uint8_t *end)
{
    text top = {NULL, 0}; /* what lies on top of the stack, where it is a string or class_ */
    int status = 0;
    token t;
    while (status == 0 && achar__token_next(cursor, end, &t) == ACHAR_OK && t.opcode != OP_STOP) {
        cursor = t.next;
        int begins_call = n->begins_call;
        text got = {NULL, 0};
        switch (t.opcode) {
        case OP_SHORT_BINUNICODE:
        case OP_BINUNICODE:
        case OP_BINUNICODE8:
            top = as_text(&t);
            push(n, top);
            continue;
        case OP_MEMOIZE:
            status = memoize(n, top);
            continue;
        case OP_BINGET:
        case OP_LONG_BINGET: {
            uint64_t index = number_in(&t);
            if (index < n->memo_count)
                got = n->memo[index];
            n->begins_call = got.data == CLASS_CALL.data && !got.nbytes;
            if (got.data && !n->begins_call)
                push(n, got);
            top = got;
            continue;
        }
        case OP_STACK_GLOBAL:
            top = take_global(n, &status);
            continue;
        case OP_GLOBAL:
            status = add(n, as_text(&t), (text){(const char *)t.second, t.second_nbytes});
            break;
        case OP_MARK:
            if (begins_call && n->call_count < DEPTH_MAX)
                n->calls[n->call_count++] = n->string_count;
            break;
        case OP_REDUCE:
            if (n->call_count)
                status = end_call(n);
            break;
        default:
            break;
        }
        top = (text){NULL, 0};
        n->begins_call = 0;
    }
    return status;
}

PyDoc_STRVAR(named_doc,
             "globals_named(pickle)\n--\n\n"
             "A frozenset of (module, qualname): the globals that a pickle of achar's names, "
             "and the classes in it by value.");
static PyObject *globals_named(PyObject *module, PyObject *data)
{
    Py_buffer view;
    PyObject *result = NULL;
    names *n = NULL;
    (void)module;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    if (!view.len || (!memchr(view.buf, OP_STACK_GLOBAL, (size_t)view.len) &&
                      !memchr(view.buf, OP_GLOBAL, (size_t)view.len))) {
        PyBuffer_Release(&view);
        return PyFrozenSet_New(NULL);
    }
    n = PyMem_Calloc(1, sizeof *n);
    if (!n)
        PyErr_NoMemory();
    else
        n->found = PySet_New(NULL);
    if (n && n->found && read_names(n, view.buf, (const uint8_t *)view.buf + (size_t)view.len) == 0)
        result = PyFrozenSet_New(n->found);
    if (n) {
        Py_XDECREF(n->found);
        PyMem_Free(n->memo);
    }
    PyMem_Free(n);
    PyBuffer_Release(&view);
    return result;
}

static PyMethodDef named_def = {"globals_named", globals_named, METH_O, named_doc};

int byvalue_named_exec(PyObject *module)
{
    return state_add_function(module, module, &named_def, "achar._achar");
}
