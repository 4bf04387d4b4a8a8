/*
 * known.c - calls whose result is known, so that they need not be made.
 *
 * Records are full of dates and namedtuples. A pickle makes each by a call: of a type on the bytes
 * that a date keeps itself in, of a namedtuple's __new__, which is Python code that calls
 * tuple.__new__. What comes of these calls, nothing else, is done here when it is proved, not
 * guessed, that they would do it:
 *
 *  - a date's or datetime's type is the very object that datetime's C interface names, and the bytes
 *    pass the test that the type itself makes;
 *  - a namedtuple's __new__ is a function with the same byte code, constants and names as one that is
 *    compiled here from the source that collections.namedtuple() uses, for as many fields; its global
 *    _tuple_new is tuple.__new__. The proof holds while the class has its version and the function
 *    its code; the global is looked at each time.
 */
#include "python/loader/core.h"

#include <datetime.h>

enum {
    NAMED_TYPES = SIZE_OR_TINY(8, 1),
    NAMED_FIELDS = 64,
    /* A proof costs as much as this many calls. */
    NAMED_CALLS = SIZE_OR_TINY(30, 1),
};

/* ---- dates ---- */

static int find_dates(loader *ld)
{
    module_state *st = ld->st;
    (void)PyDateTimeAPI;   /* the header's own variable, one for each file: not for us */
    loader_call_begin(ld); /* an import, if only of what is imported */
    const PyDateTime_CAPI *api = PyCapsule_Import(PyDateTime_CAPSULE_NAME, 0);
    loader_call_end(ld);
    if (!api) {
        PyErr_Clear(); /* then whoever calls itself datetime is none of ours */
        return -1;
    }
    Py_XSETREF(st->datetime_type, Py_NewRef((PyObject *)api->DateTimeType));
    Py_XSETREF(st->date_type, Py_NewRef((PyObject *)api->DateType));
    Py_XSETREF(st->tzinfo_type, Py_NewRef((PyObject *)api->TZInfoType));
    return 0;
}

static bool is_sane_month(uint8_t month)
{
    return month >= 1 && month <= 12;
}

static PyObject *make_date(PyTypeObject *type, const uint8_t *state)
{
    PyDateTime_Date *date = (PyDateTime_Date *)type->tp_alloc(type, 0);
    if (date) {
        memcpy(date->data, state, sizeof date->data);
        date->hashcode = -1;
    }
    return (PyObject *)date;
}

static PyObject *make_datetime(PyTypeObject *type, const uint8_t *state, PyObject *zone)
{
    PyDateTime_DateTime *datetime = (PyDateTime_DateTime *)type->tp_alloc(type, zone != NULL);
    if (datetime) {
        memcpy(datetime->data, state, sizeof datetime->data);
        datetime->data[2] &= 0x7F; /* the month; its top bit is the fold */
        datetime->fold = state[2] >> 7;
        datetime->hashcode = -1;
        datetime->hastzinfo = zone != NULL;
        if (zone)
            datetime->tzinfo = Py_NewRef(zone);
    }
    return (PyObject *)datetime;
}

PyObject *loader_known_call(loader *ld, PyObject *callable, PyObject *arguments)
{
    module_state *st = ld->st;
    if (!PyType_Check(callable) || !PyTuple_CheckExact(arguments))
        return NULL;
    PyTypeObject *type = (PyTypeObject *)callable;
    if (callable != st->datetime_type && callable != st->date_type &&
        (st->datetime_type || type->tp_flags & Py_TPFLAGS_HEAPTYPE ||
         strncmp(type->tp_name, "datetime.", 9) != 0 || find_dates(ld) < 0))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    PyObject *state = count >= 1 ? PyTuple_GET_ITEM(arguments, 0) : NULL;
    PyObject *zone = count == 2 ? PyTuple_GET_ITEM(arguments, 1) : NULL;
    if (!state || !PyBytes_CheckExact(state))
        return NULL;
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(state);
    if (callable == st->datetime_type && count <= 2 &&
        PyBytes_GET_SIZE(state) == _PyDateTime_DATETIME_DATASIZE &&
        is_sane_month(bytes[2] & 0x7F) &&
        (!zone || PyObject_TypeCheck(zone, (PyTypeObject *)st->tzinfo_type)))
        return make_datetime(type, bytes, zone);
    if (callable == st->date_type && count == 1 &&
        PyBytes_GET_SIZE(state) == _PyDateTime_DATE_DATASIZE && is_sane_month(bytes[2]))
        return make_date(type, bytes);
    return NULL;
}

/* ---- namedtuples ---- */

typedef struct named_type {
    PyTypeObject *type; /* owned; NULL: none */
    unsigned version;
    unsigned calls;     /* how often it has been made by a call */
    PyObject *function; /* owned: its __new__, once that is proved; NULL until then */
    PyObject *code;     /* owned: the function's */
    Py_ssize_t count;   /* of fields */
} named_type;

struct loader_named {
    named_type of[NAMED_TYPES];
};

static void named_forget(named_type *named)
{
    Py_CLEAR(named->function);
    Py_CLEAR(named->code);
    Py_CLEAR(named->type);
}

void loader_named_clear(loader *ld)
{
    if (!ld->named)
        return;
    for (int i = 0; i < NAMED_TYPES; i++)
        named_forget(&ld->named->of[i]);
    PyMem_Free(ld->named);
    ld->named = NULL;
}

/* The code of "lambda _cls, f0, f1: _tuple_new(_cls, (f0, f1, ))". A new reference or NULL. */
static PyObject *compile_new(Py_ssize_t count)
{
    char source[64 + NAMED_FIELDS * 12], *to = source;
    to += sprintf(to, "lambda _cls");
    for (Py_ssize_t i = 0; i < count; i++)
        to += sprintf(to, ", f%d", (int)i);
    to += sprintf(to, ": _tuple_new(_cls, (");
    for (Py_ssize_t i = 0; i < count; i++)
        to += sprintf(to, "f%d, ", (int)i);
    sprintf(to, "))");
    PyObject *whole = Py_CompileString(source, "<achar>", Py_eval_input), *code = NULL;
    PyObject *constants = whole ? PyObject_GetAttrString(whole, "co_consts") : NULL;
    if (constants && PyTuple_Check(constants) && PyTuple_GET_SIZE(constants) > 0 &&
        PyCode_Check(PyTuple_GET_ITEM(constants, 0)))
        code = Py_NewRef(PyTuple_GET_ITEM(constants, 0));
    Py_XDECREF(constants);
    Py_XDECREF(whole);
    return code;
}

/*
 * The same, compiled once for each count in the interpreter's life: compiling costs as much as dozens
 * of calls, and CPython's compiler loses memory when an allocation fails. A new reference or NULL.
 */
static PyObject *code_of_new(module_state *st, Py_ssize_t count)
{
    if (!st->named_codes && !(st->named_codes = PyDict_New()))
        return NULL;
    PyObject *key = PyLong_FromSsize_t(count), *code = NULL;
    if (!key)
        return NULL;
    code = Py_XNewRef(PyDict_GetItemWithError(st->named_codes, key));
    if (!code && !PyErr_Occurred() && (code = compile_new(count)) &&
        PyDict_SetItem(st->named_codes, key, code) < 0)
        Py_CLEAR(code);
    Py_DECREF(key);
    return code;
}

/* Do two code objects do the same with arguments and locals of other names? */
static bool is_same_code(PyObject *one, PyObject *other)
{
    static const char *const parts[] = {
        "co_code",           "co_consts",  "co_names", "co_argcount", "co_posonlyargcount",
        "co_kwonlyargcount", "co_nlocals", "co_flags", "co_freevars", "co_cellvars"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        PyObject *a = PyObject_GetAttrString(one, parts[i]);
        PyObject *b = PyObject_GetAttrString(other, parts[i]);
        int same = a && b && Py_IS_TYPE(a, Py_TYPE(b)) ? PyObject_RichCompareBool(a, b, Py_EQ) : 0;
        Py_XDECREF(a);
        Py_XDECREF(b);
        if (same <= 0)
            return false;
    }
    return true;
}

/* Is tuple.__new__(type, iterable) allowed, and does it make objects as all tuples are made? */
static bool is_tuple_type(const PyTypeObject *type)
{
    const PyTypeObject *base = type;
    while (base && base->tp_new == type->tp_new)
        base = base->tp_base;
    return base == &PyTuple_Type && type->tp_itemsize == PyTuple_Type.tp_itemsize;
}

/* Whether the function's global _tuple_new is tuple.__new__. */
static bool has_tuple_new(const loader *ld, PyObject *function)
{
    PyObject *globals = PyFunction_GET_GLOBALS(function);
    if (!PyDict_CheckExact(globals)) /* else its __getitem__ would be asked */
        return false;
    PyObject *found = PyDict_GetItemWithError(globals, ld->st->str__tuple_new);
    if (!found)
        PyErr_Clear();
    return found && found == _PyType_Lookup(&PyTuple_Type, ld->st->str_new);
}

/*
 * Tries to prove what type.__new__ does, for the next time. Exceptions of the attempt are dropped. An
 * audit hook may run meanwhile.
 */
static void prove(loader *ld, named_type *named, Py_ssize_t count)
{
    PyTypeObject *type = named->type;
    PyObject *method = _PyType_Lookup(type, ld->st->str_new), *function = NULL, *code = NULL;
    if (count > NAMED_FIELDS || !method || !Py_IS_TYPE(method, &PyStaticMethod_Type) ||
        !is_tuple_type(type))
        return;
    loader_call_begin(ld);
    function = PyObject_GetAttrString(method, "__func__");
    if (function && PyFunction_Check(function) && has_tuple_new(ld, function)) {
        code = code_of_new(ld->st, count);
        if (code && is_same_code(PyFunction_GET_CODE(function), code)) {
            named->code = Py_NewRef(PyFunction_GET_CODE(function));
            named->function = Py_NewRef(function);
            named->count = count;
        }
    }
    Py_XDECREF(code);
    Py_XDECREF(function);
    PyErr_Clear();
    loader_call_end(ld);
}

PyObject *loader_known_new(loader *ld, PyTypeObject *type, PyObject *arguments)
{
    /* Where the type is of a metaclass's, that may be asked for __new__. */
    if (!(type->tp_flags & Py_TPFLAGS_TUPLE_SUBCLASS) || !(type->tp_flags & Py_TPFLAGS_HEAPTYPE) ||
        !Py_IS_TYPE(type, &PyType_Type) || !PyTuple_CheckExact(arguments))
        return NULL;
    if (!ld->named && !(ld->named = PyMem_Calloc(1, sizeof *ld->named)))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(arguments);
    unsigned version = compat_type_version(type);
    named_type *named = &ld->named->of[((uintptr_t)type >> 5) % NAMED_TYPES];
    if (named->type != type || named->version != version || version == 0) {
        named_forget(named);
        *named = (named_type){.type = type, .version = version};
        Py_INCREF(type);
        return NULL;
    }
    if (!named->function) {
        if (++named->calls == NAMED_CALLS)
            prove(ld, named, count);
        return NULL;
    }
    if (count != named->count || PyFunction_GET_CODE(named->function) != named->code ||
        !has_tuple_new(ld, named->function))
        return NULL;
    PyObject *object = type->tp_alloc(type, count);
    for (Py_ssize_t i = 0; object && i < count; i++)
        PyTuple_SET_ITEM(object, i, Py_NewRef(PyTuple_GET_ITEM(arguments, i)));
    return object;
}
