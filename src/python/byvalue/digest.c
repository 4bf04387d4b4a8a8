/*
 * digest.c - achar.digest(): what an object is, as 32 bytes that are the same in every process.
 *
 * The object is written in an encoding of its own, which is not a pickle: each value begins with a
 * letter for its type; sets and dicts are sorted by what their items are written as; an object that
 * contains itself says how many levels up. Sharing does not show: two equal lists and the same list
 * twice are the same. What is longer than DIGEST_LONG_NBYTES is replaced by its hash, so that no
 * encoding is ever much longer than that, and an object that is met again is copied, not walked.
 *
 * A function is its code, without the name of its file, lines and positions; its defaults; what it
 * closes over; and the globals that it names. A class is its name, bases and attributes: two classes
 * with equal definitions have equal digests. Functions and classes of modules that are installed
 * (the standard library, site-packages) are their names: those of the user's own modules are what
 * they say, so that a change of a helper is seen.
 */
#include "python/byvalue/blake2s.h"
#include "python/byvalue/internal.h"

#include <stdlib.h>

enum { DIGEST_LONG_NBYTES = 1024 };

/* An encoding that was written before, found by the object's address. */
typedef struct known {
    PyObject *obj; /* kept alive, so that no other takes its address */
    uint8_t *bytes;
    size_t nbytes;
} known;

typedef struct digest {
    byvalue_session *session;
    module_state *st;
    uint8_t *bytes;
    size_t used, capacity;
    PyObject **path; /* the containers that are being written, the root first; borrowed */
    Py_ssize_t depth, path_capacity;
    Py_ssize_t reaches; /* the lowest level that something in the current object refers back to */
    PyObject *memo;     /* dict: address to index in 'known' */
    known *known;
    size_t known_count, known_capacity;
} digest;

static int encode(digest *d, PyObject *obj);

/* ---- output ---- */

static int reserve(digest *d, size_t nbytes)
{
    if (d->capacity - d->used >= nbytes)
        return 0;
    size_t capacity = (d->used + nbytes) * 2 + 256;
    uint8_t *bytes = PyMem_Realloc(d->bytes, capacity);
    if (!bytes) {
        PyErr_NoMemory();
        return -1;
    }
    d->bytes = bytes;
    d->capacity = capacity;
    return 0;
}

static int put(digest *d, const void *data, size_t nbytes)
{
    if (reserve(d, nbytes) < 0)
        return -1;
    if (nbytes)
        memcpy(d->bytes + d->used, data, nbytes);
    d->used += nbytes;
    return 0;
}

static int put_tag(digest *d, char tag, uint64_t number)
{
    if (reserve(d, 9) < 0)
        return -1;
    d->bytes[d->used++] = (uint8_t)tag;
    memcpy(d->bytes + d->used, &number, 8);
    d->used += 8;
    return 0;
}

/* Bytes under a tag, with their length; long ones as their hash. */
static int put_data(digest *d, char tag, const void *data, size_t nbytes)
{
    if (put_tag(d, tag, nbytes) < 0)
        return -1;
    if (nbytes <= DIGEST_LONG_NBYTES)
        return put(d, data, nbytes);
    if (reserve(d, BLAKE2S_NBYTES) < 0)
        return -1;
    byvalue_long_digest(data, nbytes, d->bytes + d->used);
    d->used += BLAKE2S_NBYTES;
    return 0;
}

static int put_text(digest *d, char tag, PyObject *text)
{
    Py_ssize_t nbytes;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &nbytes);
    if (utf8)
        return put_data(d, tag, utf8, (size_t)nbytes);
    if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
        return -1;
    PyErr_Clear(); /* surrogates that stand alone */
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    int status =
        bytes ? put_data(d, tag, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)) : -1;
    Py_XDECREF(bytes);
    return status;
}

static int put_word(digest *d, const char *word)
{
    return put_data(d, 'w', word, strlen(word));
}

/* What was written since 'start' becomes its hash if it is long. */
static int shorten(digest *d, size_t start)
{
    uint8_t hash[BLAKE2S_NBYTES];
    size_t nbytes = d->used - start;
    if (nbytes <= DIGEST_LONG_NBYTES)
        return 0;
    byvalue_long_digest(d->bytes + start, nbytes, hash);
    d->used = start;
    return put_data(d, '#', hash, sizeof hash);
}

/* ---- containers ---- */

static int encode_int(digest *d, PyObject *obj)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(obj, &overflow);
    if (!overflow)
        return value == -1 && PyErr_Occurred() ? -1 : put_tag(d, 'i', (uint64_t)value);
    PyObject *text = PyNumber_ToBase(obj, 16);
    int status = text ? put_text(d, 'I', text) : -1;
    Py_XDECREF(text);
    return status;
}

static int encode_double(digest *d, char tag, double value)
{
    uint64_t bits = UINT64_C(0x7FF8000000000000);
    if (value == value)
        memcpy(&bits, &value, 8);
    return put_tag(d, tag, bits);
}

static int encode_items(digest *d, char tag, PyObject *fast)
{
    size_t start = d->used;
    if (put_tag(d, tag, (uint64_t)PySequence_Fast_GET_SIZE(fast)) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast); i++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(fast, i));
        int status = encode(d, item);
        Py_DECREF(item);
        if (status < 0)
            return -1;
    }
    return shorten(d, start);
}

/*
 * A piece of the encoding that is to be sorted. Any order will do that depends on the pieces alone:
 * by a number mixed from the bytes, which spreads evenly, and by the bytes where that is the same.
 */
typedef struct piece {
    uint64_t mixed;
    size_t start, nbytes;
} piece;

static int compare_pieces(const void *left, const void *right, void *base)
{
    const piece *a = left, *b = right;
    if (a->mixed != b->mixed)
        return a->mixed < b->mixed ? -1 : 1;
    const uint8_t *bytes = base;
    size_t shorter = a->nbytes < b->nbytes ? a->nbytes : b->nbytes;
    int order = memcmp(bytes + a->start, bytes + b->start, shorter);
    return order ? order : (a->nbytes > b->nbytes) - (a->nbytes < b->nbytes);
}

static void finish_piece(digest *d, piece *done)
{
    const uint8_t *at = d->bytes + done->start;
    done->nbytes = d->used - done->start;
    uint64_t mixed = done->nbytes, word;
    size_t left = done->nbytes;
    for (; left; at += left < 8 ? left : 8, left -= left < 8 ? left : 8) {
        word = 0;
        memcpy(&word, at, left < 8 ? left : 8);
        mixed = (mixed ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        mixed ^= mixed >> 32;
    }
    done->mixed = mixed * UINT64_C(0x9E3779B97F4A7C15);
}

/* Sorts 'count' pieces into 'sorted': by the upper bits into as many buckets, then each of these. */
static int order_pieces(digest *d, const piece *pieces, piece *sorted, size_t count)
{
    unsigned bits = 1;
    while (bits < 24 && (size_t)1 << bits < count)
        bits++;
    size_t *ends = PyMem_Calloc((size_t)1 << bits, sizeof *ends);
    if (!ends) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        ends[pieces[i].mixed >> (64 - bits)]++;
    for (size_t bucket = 1; bucket < (size_t)1 << bits; bucket++)
        ends[bucket] += ends[bucket - 1];
    for (size_t i = count; i > 0; i--)
        sorted[--ends[pieces[i - 1].mixed >> (64 - bits)]] = pieces[i - 1];
    for (size_t bucket = 0; bucket < (size_t)1 << bits; bucket++) {
        size_t start = ends[bucket]; /* by now it is where the bucket begins */
        size_t end = bucket + 1 < (size_t)1 << bits ? ends[bucket + 1] : count;
        if (end - start > 1)
            qsort_r(sorted + start, end - start, sizeof *sorted, compare_pieces, d->bytes);
    }
    PyMem_Free(ends);
    return 0;
}

/* Puts the pieces, which lie behind 'body', in order. Frees 'pieces'. */
static int sort_pieces(digest *d, size_t start, size_t body, piece *pieces, size_t count)
{
    int status = -1;
    size_t nbytes = d->used - body, used = 0;
    uint8_t *sorted = PyMem_Malloc(nbytes ? nbytes : 1);
    piece *order = PyMem_New(piece, count ? count : 1);
    if (!sorted || !order) {
        PyErr_NoMemory();
        goto done;
    }
    if (order_pieces(d, pieces, order, count) < 0)
        goto done;
    for (size_t i = 0; i < count; i++) {
        memcpy(sorted + used, d->bytes + order[i].start, order[i].nbytes);
        used += order[i].nbytes;
    }
    memcpy(d->bytes + body, sorted, used);
    status = shorten(d, start);
done:
    PyMem_Free(sorted);
    PyMem_Free(order);
    PyMem_Free(pieces);
    return status;
}

static piece *new_pieces(Py_ssize_t count)
{
    piece *pieces = PyMem_New(piece, count ? count : 1);
    if (!pieces)
        PyErr_NoMemory();
    return pieces;
}

static int changed_meanwhile(piece *pieces)
{
    PyMem_Free(pieces);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "the object changed while its digest was made");
    return -1;
}

static int encode_dict(digest *d, PyObject *dict)
{
    size_t start = d->used;
    Py_ssize_t count = PyDict_GET_SIZE(dict), position = 0, n = 0;
    PyObject *key, *value;
    piece *pieces = new_pieces(count);
    if (!pieces || put_tag(d, 'd', (uint64_t)count) < 0)
        return pieces ? changed_meanwhile(pieces) : -1;
    size_t body = d->used;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (n == count)
            return changed_meanwhile(pieces);
        pieces[n].start = d->used;
        Py_INCREF(key);
        Py_INCREF(value);
        int status = encode(d, key) < 0 ? -1 : encode(d, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (status < 0 || PyDict_GET_SIZE(dict) != count)
            return changed_meanwhile(pieces);
        finish_piece(d, &pieces[n++]);
    }
    return sort_pieces(d, start, body, pieces, (size_t)n);
}

static int encode_set(digest *d, char tag, PyObject *set)
{
    size_t start = d->used;
    Py_ssize_t count = PySet_GET_SIZE(set), position = 0, n = 0;
    PyObject *item;
    piece *pieces = new_pieces(count);
    if (!pieces || put_tag(d, tag, (uint64_t)count) < 0)
        return pieces ? changed_meanwhile(pieces) : -1;
    size_t body = d->used;
    while (compat_set_next(set, &position, &item)) {
        if (n == count)
            return changed_meanwhile(pieces);
        pieces[n].start = d->used;
        Py_INCREF(item);
        int status = encode(d, item);
        Py_DECREF(item);
        if (status < 0 || PySet_GET_SIZE(set) != count)
            return changed_meanwhile(pieces);
        finish_piece(d, &pieces[n++]);
    }
    return sort_pieces(d, start, body, pieces, (size_t)n);
}

/* ---- code as what it says ---- */

static int encode_attribute(digest *d, PyObject *obj, const char *name)
{
    PyObject *value = PyObject_GetAttrString(obj, name);
    if (!value && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return put_tag(d, '-', 0);
    }
    int status = value ? encode(d, value) : -1;
    Py_XDECREF(value);
    return status;
}

static int encode_code(digest *d, PyObject *code)
{
    static const char *const attributes[] = {
        "co_code",     "co_consts",   "co_names",          "co_varnames",
        "co_freevars", "co_cellvars", "co_argcount",       "co_posonlyargcount",
        "co_flags",    "co_name",     "co_kwonlyargcount", "co_exceptiontable"};
    size_t start = d->used;
    if (put_word(d, "code") < 0)
        return -1;
    for (size_t i = 0; i < sizeof(attributes) / sizeof(*attributes); i++) {
        if (encode_attribute(d, code, attributes[i]) < 0)
            return -1;
    }
    return shorten(d, start);
}

/* 1 if a module is part of the interpreter or was installed, and is known by its name. */
static int is_installed(PyObject *module_name)
{
    PyObject *module = PyUnicode_Check(module_name) ? compat_loaded_module(module_name) : NULL;
    if (!module)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *file =
        PyModule_Check(module) ? PyDict_GetItemString(PyModule_GetDict(module), "__file__") : NULL;
    const char *path = file && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : NULL;
    if (!path) {
        PyErr_Clear();
        return PyUnicode_CompareWithASCIIString(module_name, "__main__") != 0;
    }
    if (strstr(path, "/site-packages/") || strstr(path, "/dist-packages/"))
        return 1;
    PyObject *os = PyImport_ImportModule("os");
    PyObject *os_file = os ? PyObject_GetAttrString(os, "__file__") : NULL;
    const char *os_path = os_file ? PyUnicode_AsUTF8(os_file) : NULL;
    const char *slash = os_path ? strrchr(os_path, '/') : NULL;
    int standard = slash && strncmp(path, os_path, (size_t)(slash + 1 - os_path)) == 0;
    Py_XDECREF(os);
    Py_XDECREF(os_file);
    return PyErr_Occurred() ? -1 : standard;
}

/* By name, if the object is found by it in an installed module: 1 written; 0; -1. */
static int encode_name(digest *d, PyObject *obj)
{
    PyObject *module = NULL, *qualname = NULL;
    int status = byvalue_has_name(d->st, obj);
    if (status == 1)
        status = compat_find_attr(obj, d->st->byvalue_str___module__, &module);
    if (status == 1)
        status = is_installed(module);
    if (status == 1)
        status = compat_find_attr(obj, d->st->byvalue_str___qualname__, &qualname);
    if (status == 1 && PyUnicode_Check(qualname))
        status = put_word(d, "name") < 0 || put_text(d, 's', module) < 0 ||
                         put_text(d, 's', qualname) < 0
                     ? -1
                     : 1;
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    return status;
}

static int encode_globals(digest *d, PyFunctionObject *func)
{
    code_facts *facts = byvalue_code_facts(d->session, (PyCodeObject *)func->func_code);
    if (!facts)
        return -1;
    PyObject *named = PyDict_New();
    int status = named ? 0 : -1;
    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(facts->global_names); i++) {
        PyObject *name = PyTuple_GET_ITEM(facts->global_names, i);
        PyObject *value = PyDict_GetItemWithError(func->func_globals, name);
        if (value)
            status = PyDict_SetItem(named, name, value);
        else if (PyErr_Occurred())
            status = -1;
    }
    if (status == 0)
        status = encode(d, named);
    Py_XDECREF(named);
    return status;
}

static int encode_function(digest *d, PyObject *obj)
{
    PyFunctionObject *func = (PyFunctionObject *)obj;
    int named = encode_name(d, obj);
    if (named)
        return named < 0 ? -1 : 0;
    if (put_word(d, "function") < 0 || encode(d, func->func_code) < 0 ||
        encode(d, func->func_defaults ? func->func_defaults : Py_None) < 0 ||
        encode(d, func->func_kwdefaults ? func->func_kwdefaults : Py_None) < 0 ||
        encode(d, func->func_dict && PyDict_GET_SIZE(func->func_dict) ? func->func_dict : Py_None) <
            0 ||
        encode(d, func->func_closure ? func->func_closure : Py_None) < 0)
        return -1;
    return encode_globals(d, func);
}

/* What of a class's dict is not part of its definition. */
static int is_incidental(PyObject *name, PyObject *value)
{
    static const char *const names[] = {
        "__module__", "__dict__",      "__weakref__", "__firstlineno__", "__static_attributes__",
        "_abc_impl",  "__slotnames__", "__qualname__"};
    if (Py_TYPE(value) == &PyGetSetDescr_Type || Py_TYPE(value) == &PyMemberDescr_Type)
        return 1;
    for (size_t i = 0; PyUnicode_Check(name) && i < sizeof(names) / sizeof(*names); i++) {
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return 1;
    }
    return 0;
}

static int encode_class(digest *d, PyObject *obj)
{
    PyTypeObject *type = (PyTypeObject *)obj;
    if (!byvalue_is_python_class(type))
        return put_word(d, "class in C") < 0 ? -1 : put_word(d, type->tp_name);
    int named = encode_name(d, obj);
    if (named)
        return named < 0 ? -1 : 0;
    PyObject *dict = compat_type_dict(type), *name, *value;
    PyObject *definition = dict ? PyDict_New() : NULL;
    Py_ssize_t position = 0;
    int status = definition ? 0 : -1;
    while (status == 0 && PyDict_Next(dict, &position, &name, &value)) {
        if (!is_incidental(name, value))
            status = PyDict_SetItem(definition, name, value);
    }
    if (status == 0)
        status = put_word(d, "class") < 0 ||
                         put_text(d, 's', ((PyHeapTypeObject *)type)->ht_name) < 0 ||
                         encode(d, (PyObject *)Py_TYPE(type)) < 0 ||
                         encode(d, type->tp_bases) < 0 || encode(d, definition) < 0
                     ? -1
                     : 0;
    Py_XDECREF(dict);
    Py_XDECREF(definition);
    return status;
}

/* ---- arrays and other memory ---- */

/* numpy's arrays: dtype, shape, and the items in C order. 1; 0: not one, or of objects; -1. */
static int encode_array(digest *d, PyObject *obj)
{
    if (!PyObject_CheckBuffer(obj) || !byvalue_type_is(Py_TYPE(obj), "numpy", "ndarray"))
        return 0;
    Py_buffer view;
    PyObject *copy = NULL;
    if (PyObject_GetBuffer(obj, &view, PyBUF_FULL_RO) < 0) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            return -1;
        PyErr_Clear(); /* a dtype that the buffer protocol does not know */
        return 0;
    }
    int status = -1;
    if (strchr(view.format ? view.format : "B", 'O')) {
        PyBuffer_Release(&view);
        return 0;
    }
    if (put_word(d, "array") < 0 || encode_attribute(d, obj, "dtype") < 0 ||
        encode_attribute(d, obj, "shape") < 0)
        goto done;
    if (PyBuffer_IsContiguous(&view, 'C')) {
        status = put_data(d, 'b', view.buf, (size_t)view.len);
    } else {
        copy = PyObject_CallMethod(obj, "tobytes", NULL);
        status =
            copy ? put_data(d, 'b', PyBytes_AS_STRING(copy), (size_t)PyBytes_GET_SIZE(copy)) : -1;
    }
done:
    PyBuffer_Release(&view);
    Py_XDECREF(copy);
    return status < 0 ? -1 : 1;
}

/* ---- everything else: what pickle would call to make it ---- */

static int encode_iterator(digest *d, PyObject *iterator, int sorted)
{
    PyObject *list = PySequence_List(iterator);
    PyObject *dict = NULL;
    if (list && sorted) {
        dict = PyDict_New();
        if (!dict || PyDict_MergeFromSeq2(dict, list, 1) < 0)
            Py_CLEAR(list);
    }
    int status = list ? encode(d, dict ? dict : list) : -1;
    Py_XDECREF(list);
    Py_XDECREF(dict);
    return status;
}

static int encode_reduced(digest *d, PyObject *obj)
{
    PyObject *reduced = NULL;
    int status = -1, decided = 0;
    byvalue_reducer reducer = byvalue_reducer_of_type(d->st, Py_TYPE(obj));
    if (reducer && reducer != byvalue_reduce_exception) /* whose traceback is an accident */
        decided = byvalue_reduce(d->session, obj, &reduced);
    if (decided < 0)
        return -1;
    if (decided == 2) { /* a builtin function */
        PyObject *module, *name;
        byvalue_name(d->session, obj, &module, &name);
        return put_word(d, "name") < 0 || encode(d, module) < 0 || encode(d, name) < 0 ? -1 : 0;
    }
    if (decided == 0) {
        PyObject *registered =
            PyDict_GetItemWithError(d->st->copyreg_dispatch_table, (PyObject *)Py_TYPE(obj));
        if (registered)
            reduced = PyObject_CallOneArg(registered, obj);
        else if (!PyErr_Occurred())
            reduced = PyObject_CallMethod(obj, "__reduce_ex__", "i", 4);
    }
    if (!reduced)
        return -1;
    if (PyUnicode_Check(reduced)) {
        status = put_word(d, "global") < 0 || encode(d, reduced) < 0 ? -1 : 0;
    } else if (PyTuple_Check(reduced) && PyTuple_GET_SIZE(reduced) >= 2) {
        status = put_word(d, "object");
        for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(reduced) && i < 5; i++) {
            PyObject *part = PyTuple_GET_ITEM(reduced, i);
            status = i >= 3 && part != Py_None ? encode_iterator(d, part, i == 4) : encode(d, part);
        }
    } else {
        PyErr_Format(d->st->PicklingError, "__reduce_ex__ of %R is neither a str nor a tuple", obj);
    }
    Py_DECREF(reduced);
    return status;
}

/* A type variable or ContextVar has an identity that no other process knows: by its name. */
static int encode_named_variable(digest *d, PyObject *obj)
{
    if (put_word(d, Py_TYPE(obj)->tp_name) < 0)
        return -1;
    return Py_TYPE(obj) == &PyContextVar_Type ? encode_attribute(d, obj, "name")
                                              : encode_attribute(d, obj, "__name__");
}

static int encode_enum_member(digest *d, PyObject *obj)
{
    return put_word(d, "member") < 0 || encode(d, (PyObject *)Py_TYPE(obj)) < 0 ||
                   encode_attribute(d, obj, "_name_") < 0 || encode_attribute(d, obj, "_value_") < 0
               ? -1
               : 0;
}

static int encode_container(digest *d, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyDict_Type)
        return encode_dict(d, obj);
    if (type == &PyList_Type)
        return encode_items(d, 'l', obj);
    if (type == &PyTuple_Type)
        return encode_items(d, 't', obj);
    if (type == &PySet_Type || type == &PyFrozenSet_Type)
        return encode_set(d, type == &PySet_Type ? 'S' : 'z', obj);
    if (type == &PyFunction_Type)
        return encode_function(d, obj);
    if (PyType_Check(obj))
        return encode_class(d, obj);
    if (type == &PyCode_Type)
        return encode_code(d, obj);
    if (type == &PyCell_Type) {
        PyObject *contents = Py_XNewRef(PyCell_GET(obj));
        int status = contents ? encode(d, contents) : put_word(d, "empty cell");
        Py_XDECREF(contents);
        return status;
    }
    if (PyModule_Check(obj)) {
        PyObject *name = PyModule_GetNameObject(obj);
        int status = name && put_word(d, "module") == 0 ? encode(d, name) : -1;
        Py_XDECREF(name);
        return status;
    }
    byvalue_reducer reducer = byvalue_reducer_of_type(d->st, type);
    if (reducer == byvalue_reduce_typevar || reducer == byvalue_reduce_context_variable)
        return encode_named_variable(d, obj);
    if (reducer == byvalue_reduce_enum_member)
        return encode_enum_member(d, obj);
    int array = encode_array(d, obj);
    return array ? (array < 0 ? -1 : 0) : encode_reduced(d, obj);
}

/* ---- the walk ---- */

/* Keeps the encoding since 'start' for when the object is met again. */
static int remember(digest *d, PyObject *obj, PyObject *address, size_t start)
{
    if (d->known_count == d->known_capacity) {
        size_t capacity = d->known_capacity * 2 + 16;
        known *grown = PyMem_Realloc(d->known, capacity * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            return -1;
        }
        d->known = grown;
        d->known_capacity = capacity;
    }
    known *entry = &d->known[d->known_count];
    entry->nbytes = d->used - start;
    entry->bytes = PyMem_Malloc(entry->nbytes ? entry->nbytes : 1);
    if (!entry->bytes) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(entry->bytes, d->bytes + start, entry->nbytes);
    entry->obj = Py_NewRef(obj);
    PyObject *index = PyLong_FromSize_t(d->known_count++);
    int status = index ? PyDict_SetItem(d->memo, address, index) : -1;
    Py_XDECREF(index);
    return status;
}

static int encode_on_path(digest *d, PyObject *obj)
{
    if (d->depth == d->path_capacity) {
        Py_ssize_t capacity = d->path_capacity * 2 + 32;
        PyObject **grown = PyMem_Realloc(d->path, (size_t)capacity * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            return -1;
        }
        d->path = grown;
        d->path_capacity = capacity;
    }
    if (Py_EnterRecursiveCall(" while making a digest"))
        return -1;
    size_t start = d->used;
    d->path[d->depth++] = obj;
    int status = encode_container(d, obj);
    d->depth--;
    if (status == 0)
        status = shorten(d, start); /* in any case: what is written may not depend on sharing */
    Py_LeaveRecursiveCall();
    return status;
}

static int encode_shared(digest *d, PyObject *obj)
{
    for (Py_ssize_t level = d->depth - 1; level >= 0; level--) {
        if (d->path[level] == obj) {
            d->reaches = level < d->reaches ? level : d->reaches;
            return put_tag(d, '^', (uint64_t)(d->depth - level));
        }
    }
    if (Py_REFCNT(obj) <= 2) /* its container's and the caller's: it will not be met again */
        return encode_on_path(d, obj);
    PyObject *address = PyLong_FromVoidPtr(obj);
    PyObject *index = address ? PyDict_GetItemWithError(d->memo, address) : NULL;
    int status = -1;
    if (index) {
        const known *entry = &d->known[PyLong_AsSize_t(index)];
        status = put(d, entry->bytes, entry->nbytes);
    } else if (address && !PyErr_Occurred()) {
        size_t start = d->used;
        Py_ssize_t outer = d->reaches, level = d->depth;
        d->reaches = PY_SSIZE_T_MAX;
        status = encode_on_path(d, obj);
        if (status == 0 && d->reaches >= level) { /* nothing in it refers to what is around it */
            status = remember(d, obj, address, start);
        }
        d->reaches = outer < d->reaches ? outer : d->reaches;
    }
    Py_XDECREF(address);
    return status;
}

static int encode(digest *d, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyUnicode_Type)
        return put_text(d, 's', obj);
    if (type == &PyLong_Type)
        return encode_int(d, obj);
    if (type == &PyFloat_Type)
        return encode_double(d, 'f', PyFloat_AS_DOUBLE(obj));
    if (obj == Py_None)
        return put(d, "N", 1);
    if (type == &PyBool_Type)
        return put(d, obj == Py_True ? "T" : "F", 1);
    if (type == &PyBytes_Type)
        return put_data(d, 'b', PyBytes_AS_STRING(obj), (size_t)PyBytes_GET_SIZE(obj));
    if (type == &PyByteArray_Type)
        return put_data(d, 'B', PyByteArray_AS_STRING(obj), (size_t)PyByteArray_GET_SIZE(obj));
    if (type == &PyComplex_Type)
        return encode_double(d, 'c', PyComplex_RealAsDouble(obj)) < 0
                   ? -1
                   : encode_double(d, 'c', PyComplex_ImagAsDouble(obj));
    if (obj == Py_Ellipsis)
        return put_word(d, "...");
    if (obj == Py_NotImplemented)
        return put_word(d, "NotImplemented");
    return encode_shared(d, obj);
}

static PyObject *make_digest(PyObject *module, PyObject *obj)
{
    module_state *st = state_of_module(module);
    digest d = {.st = st, .reaches = PY_SSIZE_T_MAX};
    PyObject *result = NULL;
    d.session = byvalue_session_new(st);
    d.memo = d.session ? PyDict_New() : NULL;
    if (d.memo && put_word(&d, "achar.digest 1") == 0 && encode(&d, obj) == 0) {
        uint8_t hash[BLAKE2S_NBYTES];
        char text[2 * BLAKE2S_NBYTES];
        byvalue_long_digest(d.bytes, d.used, hash);
        for (int i = 0; i < BLAKE2S_NBYTES; i++) {
            text[2 * i] = "0123456789abcdef"[hash[i] >> 4];
            text[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
        }
        result = PyUnicode_FromStringAndSize(text, sizeof text);
    }
    byvalue_session_free(d.session);
    Py_XDECREF(d.memo);
    for (size_t i = 0; i < d.known_count; i++) {
        Py_DECREF(d.known[i].obj);
        PyMem_Free(d.known[i].bytes);
    }
    PyMem_Free(d.known);
    PyMem_Free(d.path);
    PyMem_Free(d.bytes);
    return result;
}

/* For the tests: the hash of bytes alone. */
static PyObject *long_digest(PyObject *module, PyObject *data)
{
    (void)module;
    Py_buffer view;
    uint8_t hash[BLAKE2S_NBYTES];
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    byvalue_long_digest(view.buf, (size_t)view.len, hash);
    PyBuffer_Release(&view);
    return PyBytes_FromStringAndSize((const char *)hash, sizeof hash);
}

static PyMethodDef digest_def = {
    "digest", make_digest, METH_O,
    "digest($module, obj, /)\n--\n\n"
    "A stable identity for an object, as 64 hexadecimal digits: the same in every process for an\n"
    "equal object, functions and classes included. What it depends on is in docs/digest.md."};
static PyMethodDef long_digest_def = {"long_digest", long_digest, METH_O, NULL};

int byvalue_digest_exec(PyObject *module, module_state *st)
{
    (void)st;
    return state_add_function(module, module, &digest_def, "achar") < 0
               ? -1
               : state_add_function(module, module, &long_digest_def, "achar._achar");
}
