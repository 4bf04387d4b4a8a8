/*
 * code.c - code objects: what they name, and how they travel.
 *
 * A code object travels as a blob: two bytes with the minor version of Python that wrote it, four
 * with its bytecode magic number, then what marshal makes of it. Bytecode means nothing to another
 * minor version, so the reader compares before it unmarshals.
 *
 * What the bytecode says (code_facts) is worked out once and kept in the code object's own extra
 * slot, where it dies with it; so is the blob. The reader keeps blobs that it has turned into code:
 * code is immutable, and the same function tends to come again.
 */
#include "python/byvalue/internal.h"

#include <marshal.h>
#include <opcode.h>

#if PY_VERSION_HEX >= 0x030C0000
#define request_extra_index PyUnstable_Eval_RequestCodeExtraIndex
#define get_extra           PyUnstable_Code_GetExtra
#define set_extra           PyUnstable_Code_SetExtra
#else
#define request_extra_index _PyEval_RequestCodeExtraIndex
#define get_extra           _PyCode_GetExtra
#define set_extra           _PyCode_SetExtra
#endif

enum { BLOB_HEADER_NBYTES = 6, CACHE_BLOB_NBYTES_MAX = 16384, CACHE_COUNT_MAX = 1024 };

/* ---- facts ---- */

static void facts_free(void *pointer)
{
    code_facts *facts = pointer;
    if (!facts)
        return;
    Py_XDECREF(facts->blob);
    Py_XDECREF(facts->stable_blob);
    Py_XDECREF(facts->global_names);
    Py_XDECREF(facts->names);
    PyMem_Free(facts);
}

/* What a scan of a code object and those nested in it collects; dicts stand for ordered sets. */
typedef struct scan {
    PyObject *globals;
    PyObject *names;
    PyObject *stored_free; /* names of free variables that are assigned to */
    unsigned flags;
} scan;

static PyObject *co_bytes(PyCodeObject *code)
{
#if PY_VERSION_HEX >= 0x030B0000
    return PyCode_GetCode(code);
#else
    return Py_NewRef(code->co_code);
#endif
}

/* The names of the variables that 'code' takes from enclosing functions; new reference. */
static PyObject *co_free_names(PyCodeObject *code)
{
#if PY_VERSION_HEX >= 0x030B0000
    return PyCode_GetFreevars(code);
#else
    return Py_NewRef(code->co_freevars);
#endif
}

/* The index among the free variables that *_DEREF's argument means; negative: not a free one. */
static Py_ssize_t free_index(PyCodeObject *code, Py_ssize_t argument)
{
#if PY_VERSION_HEX >= 0x030B0000
    return argument - (code->co_nlocalsplus - code->co_nfreevars);
#else
    return argument - PyTuple_GET_SIZE(code->co_cellvars);
#endif
}

/* Names by which code gets at what a scan of its globals cannot see. */
static int reaches_inside(PyObject *name)
{
    static const char *const names[] = {
        "globals",      "exec",           "eval",        "vars",        "setattr",
        "delattr",      "__dict__",       "__globals__", "__closure__", "cell_contents",
        "__defaults__", "__kwdefaults__", "__setattr__", "__delattr__", "__code__",
        "_getframe",    "f_globals",      "__builtins__"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return 1;
    }
    return 0;
}

static int add_name(PyObject *set, PyObject *names, Py_ssize_t index)
{
    if (index < 0 || index >= PyTuple_GET_SIZE(names))
        return 0; /* an instruction that no compiler wrote; it names nothing */
    return PyDict_SetItem(set, PyTuple_GET_ITEM(names, index), Py_None);
}

static int scan_instructions(scan *found, PyCodeObject *code, PyObject *bytes, PyObject *free_names)
{
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(bytes);
    const unsigned char *end = at + PyBytes_GET_SIZE(bytes);
    Py_ssize_t extended = 0;
    for (; end - at >= 2; at += 2) {
        Py_ssize_t argument = extended | at[1];
        extended = 0;
        int status = 0;
        switch (at[0]) {
        case EXTENDED_ARG:
            extended = (argument << 8) & 0x7fffffff;
            break;
        case LOAD_GLOBAL:
#if PY_VERSION_HEX >= 0x030B0000
            argument >>= 1; /* the lowest bit asks for a NULL below it */
#endif
            status = add_name(found->globals, code->co_names, argument);
            break;
        case LOAD_NAME: /* in a class body, which finds globals too */
#ifdef LOAD_FROM_DICT_OR_GLOBALS
        case LOAD_FROM_DICT_OR_GLOBALS:
#endif
            status = add_name(found->globals, code->co_names, argument);
            break;
        case STORE_GLOBAL:
        case DELETE_GLOBAL:
            found->flags |= CODE_STORES_GLOBAL;
            status = add_name(found->globals, code->co_names, argument);
            break;
        case STORE_DEREF:
        case DELETE_DEREF:
            if (free_index(code, argument) >= 0)
                status = add_name(found->stored_free, free_names, free_index(code, argument));
            break;
        case STORE_ATTR:
        case DELETE_ATTR:
            found->flags |= CODE_STORES_ATTRIBUTE;
            break;
        default:
            break;
        }
        if (status < 0)
            return -1;
    }
    return 0;
}

static int scan_code(scan *found, PyCodeObject *code)
{
    PyObject *bytes = co_bytes(code);
    PyObject *free_names = co_free_names(code);
    int status = -1;
    if (!bytes || !free_names || scan_instructions(found, code, bytes, free_names) < 0)
        goto done;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_names); i++) {
        PyObject *name = PyTuple_GET_ITEM(code->co_names, i);
        if (reaches_inside(name))
            found->flags |= CODE_REACHES_INSIDE;
        if (PyDict_SetItem(found->names, name, Py_None) < 0)
            goto done;
    }
    if (Py_EnterRecursiveCall(" while reading a code object"))
        goto done;
    status = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_consts) && status == 0; i++) {
        PyObject *constant = PyTuple_GET_ITEM(code->co_consts, i);
        if (PyCode_Check(constant))
            status = scan_code(found, (PyCodeObject *)constant);
    }
    Py_LeaveRecursiveCall();
done:
    Py_XDECREF(bytes);
    Py_XDECREF(free_names);
    return status;
}

static PyObject *keys_as_tuple(PyObject *dict)
{
    PyObject *keys = PyDict_Keys(dict);
    if (!keys)
        return NULL;
    PyObject *tuple = PyList_AsTuple(keys);
    Py_DECREF(keys);
    return tuple;
}

/* 1 if one of the free variables of 'code' itself is assigned to, by it or by code nested in it. */
static int assigns_own_free(PyCodeObject *code, PyObject *stored_free)
{
    PyObject *free_names = co_free_names(code);
    if (!free_names)
        return -1;
    int found = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(free_names) && found == 0; i++)
        found = PyDict_Contains(stored_free, PyTuple_GET_ITEM(free_names, i));
    Py_DECREF(free_names);
    return found;
}

static code_facts *facts_of(PyCodeObject *code)
{
    code_facts *facts = NULL;
    int ok = 0;
    scan found = {PyDict_New(), PyDict_New(), PyDict_New(), 0};
    if (!found.globals || !found.names || !found.stored_free || scan_code(&found, code) < 0)
        goto done;
    facts = PyMem_Calloc(1, sizeof(*facts));
    if (!facts) {
        PyErr_NoMemory();
        goto done;
    }
    int assigns = assigns_own_free(code, found.stored_free);
    facts->global_names = keys_as_tuple(found.globals);
    facts->names = keys_as_tuple(found.names);
    facts->flags = found.flags | (assigns ? CODE_STORES_FREE : 0);
    ok = assigns >= 0 && facts->global_names && facts->names;
done:
    Py_XDECREF(found.globals);
    Py_XDECREF(found.names);
    Py_XDECREF(found.stored_free);
    if (!ok) {
        facts_free(facts);
        return NULL;
    }
    return facts;
}

code_facts *byvalue_code_facts(byvalue_session *session, PyCodeObject *code)
{
    Py_ssize_t index = PyLong_AsSsize_t(session->st->byvalue_code_slot);
    void *kept = NULL;
    if (index >= 0 && get_extra((PyObject *)code, index, &kept) < 0)
        return NULL;
    if (kept)
        return kept;
    code_facts *facts = facts_of(code);
    if (!facts)
        return NULL;
    if (index >= 0) {
        if (set_extra((PyObject *)code, index, facts) < 0) {
            facts_free(facts);
            return NULL;
        }
    } else { /* all slots were taken */
        facts->next_loose = session->loose_facts;
        session->loose_facts = facts;
    }
    return facts;
}

void byvalue_code_free_loose(byvalue_session *session)
{
    while (session->loose_facts) {
        code_facts *facts = session->loose_facts;
        session->loose_facts = facts->next_loose;
        facts_free(facts);
    }
}

int byvalue_code_exec(module_state *st)
{
    st->byvalue_code_slot = PyLong_FromSsize_t(request_extra_index(facts_free));
    st->byvalue_code_cache = PyDict_New();
    return st->byvalue_code_slot && st->byvalue_code_cache ? 0 : -1;
}

/* ---- out ---- */

static void write_header(unsigned char *out)
{
    uint32_t magic = (uint32_t)PyImport_GetMagicNumber();
    out[0] = PY_MAJOR_VERSION;
    out[1] = PY_MINOR_VERSION;
    for (int i = 0; i < 4; i++)
        out[2 + i] = (unsigned char)(magic >> (8 * i));
}

/* The blob; NULL with ValueError if marshal does not know one of the constants. */
static PyObject *make_blob(const byvalue_session *session, PyCodeObject *code)
{
    PyObject *marshalled =
        session->root ? byvalue_stable_marshal(code)
                      : PyMarshal_WriteObjectToString((PyObject *)code, Py_MARSHAL_VERSION);
    if (!marshalled)
        return NULL;
    Py_ssize_t nbytes = PyBytes_GET_SIZE(marshalled);
    PyObject *blob = PyBytes_FromStringAndSize(NULL, BLOB_HEADER_NBYTES + nbytes);
    if (blob) {
        char *out = PyBytes_AS_STRING(blob);
        write_header((unsigned char *)out);
        memcpy(out + BLOB_HEADER_NBYTES, PyBytes_AS_STRING(marshalled), (size_t)nbytes);
    }
    Py_DECREF(marshalled);
    return blob;
}

/* The blob of 'code', or 'code' itself if it has none; a new reference. */
static PyObject *blob_or_code(const byvalue_session *session, PyCodeObject *code, code_facts *facts)
{
    PyObject **blob = session->root ? &facts->stable_blob : &facts->blob;
    if (!*blob) {
        *blob = make_blob(session, code);
        if (!*blob) {
            if (!PyErr_ExceptionMatches(PyExc_ValueError))
                return NULL;
            PyErr_Clear();
            return Py_NewRef(code);
        }
    }
    return Py_NewRef(*blob);
}

PyObject *byvalue_code_portion(byvalue_session *session, PyCodeObject *code, code_facts *facts)
{
    PyObject *portion = blob_or_code(session, code, facts);
    if (portion && session->with_source)
        Py_SETREF(portion, Py_XNewRef(byvalue_same_code(session, portion, (PyObject *)code)));
    return portion;
}

/*
 * A code object by itself is code(blob); one with constants that marshal does not know (tools that
 * write bytecode make such) is code(blob without constants, constants).
 */
int byvalue_reduce_code(byvalue_session *session, PyObject *obj, PyObject **reduced)
{
    PyCodeObject *code = (PyCodeObject *)obj;
    PyObject *args = NULL, *replace = NULL, *kwargs = NULL, *bare = NULL, *blob = NULL;
    code_facts *facts = byvalue_code_facts(session, code);
    if (!facts)
        return -1;
    PyObject *portion = blob_or_code(session, code, facts);
    if (!portion)
        return -1;
    if (portion != obj && session->with_source) {
        int status = byvalue_reduce_sourced(session, code, portion, reduced);
        Py_DECREF(portion);
        return status;
    }
    if (portion != obj) {
        args = PyTuple_Pack(1, portion);
        goto done;
    }
    replace = PyObject_GetAttrString(obj, "replace");
    kwargs = Py_BuildValue("{s()}", "co_consts");
    PyObject *none = PyTuple_New(0);
    bare = replace && kwargs && none ? PyObject_Call(replace, none, kwargs) : NULL;
    Py_XDECREF(none);
    blob = bare ? make_blob(session, (PyCodeObject *)bare) : NULL;
    args = blob ? PyTuple_Pack(2, blob, code->co_consts) : NULL;
done:
    Py_DECREF(portion);
    Py_XDECREF(replace);
    Py_XDECREF(kwargs);
    Py_XDECREF(bare);
    Py_XDECREF(blob);
    return byvalue_make_reduce(session->st->v1_code, args, NULL, NULL, reduced);
}

/* ---- in ---- */

static void version_mismatch(module_state *st, const unsigned char *header, PyObject *name)
{
    PyObject *what = name ? PyUnicode_FromFormat("the function %R", name)
                          : PyUnicode_FromString("this code object");
    if (!what)
        return;
    if (header[0] == PY_MAJOR_VERSION && header[1] == PY_MINOR_VERSION)
        PyErr_Format(st->UnpicklingError,
                     "%U was pickled by another build of Python %d.%d, with bytecode that this one "
                     "cannot run",
                     what, header[0], header[1]);
    else
        PyErr_Format(st->UnpicklingError,
                     "%U was pickled by Python %d.%d and cannot be loaded by Python %d.%d\n"
                     "  why: bytecode differs from one minor version of Python to the next\n"
                     "  do:  send it with dumps(source=True), run the same minor version on both "
                     "sides, or put the function into a module that both can import",
                     what, header[0], header[1], PY_MAJOR_VERSION, PY_MINOR_VERSION);
    Py_DECREF(what);
}

int byvalue_code_is_ours(PyObject *blob)
{
    unsigned char expected[BLOB_HEADER_NBYTES];
    write_header(expected);
    return PyBytes_GET_SIZE(blob) > BLOB_HEADER_NBYTES &&
           memcmp(PyBytes_AS_STRING(blob), expected, BLOB_HEADER_NBYTES) == 0;
}

static PyCodeObject *unmarshal(module_state *st, PyObject *blob, PyObject *name)
{
    const char *data = PyBytes_AS_STRING(blob);
    Py_ssize_t nbytes = PyBytes_GET_SIZE(blob);
    if (nbytes <= BLOB_HEADER_NBYTES) {
        byvalue_bad_stream(st, "code", "the code is truncated");
        return NULL;
    }
    if (!byvalue_code_is_ours(blob)) {
        version_mismatch(st, (const unsigned char *)data, name);
        return NULL;
    }
    PyObject *code =
        PyMarshal_ReadObjectFromString(data + BLOB_HEADER_NBYTES, nbytes - BLOB_HEADER_NBYTES);
    if (code && !PyCode_Check(code)) {
        Py_DECREF(code);
        byvalue_bad_stream(st, "code", "this is no code object");
        return NULL;
    }
    return (PyCodeObject *)code;
}

PyCodeObject *byvalue_code_load(module_state *st, PyObject *portion, PyObject *name)
{
    if (PyCode_Check(portion))
        return (PyCodeObject *)Py_NewRef(portion);
    if (!PyBytes_CheckExact(portion)) {
        byvalue_bad_stream(st, "code", "code is bytes or a code object");
        return NULL;
    }
    PyObject *cache = st->byvalue_code_cache;
    PyObject *code = PyDict_GetItemWithError(cache, portion);
    if (code)
        return (PyCodeObject *)Py_NewRef(code);
    if (PyErr_Occurred())
        return NULL;
    PyCodeObject *fresh = unmarshal(st, portion, name);
    if (fresh && PyBytes_GET_SIZE(portion) <= CACHE_BLOB_NBYTES_MAX) {
        if (PyDict_GET_SIZE(cache) >= CACHE_COUNT_MAX)
            PyDict_Clear(cache);
        if (PyDict_SetItem(cache, portion, (PyObject *)fresh) < 0)
            Py_CLEAR(fresh);
    }
    return fresh;
}

static PyObject *v1_code(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    module_state *st = state_of_module(module);
    if (count < 1 || count > 2 || (count == 2 && !PyTuple_CheckExact(args[1]))) {
        byvalue_bad_stream(st, "code", "expected (blob) or (blob, constants)");
        return NULL;
    }
    PyObject *code = (PyObject *)byvalue_code_load(st, args[0], NULL);
    if (!code || count == 1)
        return code;
    PyObject *whole = NULL;
    PyObject *replace = PyObject_GetAttrString(code, "replace");
    PyObject *kwargs = Py_BuildValue("{sO}", "co_consts", args[1]);
    PyObject *none = PyTuple_New(0);
    if (replace && kwargs && none)
        whole = PyObject_Call(replace, none, kwargs);
    Py_XDECREF(replace);
    Py_XDECREF(kwargs);
    Py_XDECREF(none);
    Py_DECREF(code);
    return whole;
}

PyMethodDef byvalue_v1_code[] = {
    {"code", (PyCFunction)(void (*)(void))v1_code, METH_FASTCALL,
     "code(blob[, constants]): a code object"},
    {NULL},
};
