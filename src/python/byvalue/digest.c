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
#include "python/byvalue/digest.h"

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
    if (digest_put_word(d, "array") < 0 || digest_encode_attribute(d, obj, "dtype") < 0 ||
        digest_encode_attribute(d, obj, "shape") < 0)
        goto done;
    if (PyBuffer_IsContiguous(&view, 'C')) {
        status = digest_put_data(d, 'b', view.buf, (size_t)view.len);
    } else {
        copy = PyObject_CallMethod(obj, "tobytes", NULL);
        status =
            copy ? digest_put_data(d, 'b', PyBytes_AS_STRING(copy), (size_t)PyBytes_GET_SIZE(copy))
                 : -1;
    }
done:
    PyBuffer_Release(&view);
    Py_XDECREF(copy);
    return status < 0 ? -1 : 1;
}

/* ---- everything else: what pickle would call to make it ---- */

/* Whether two objects of this type that were filled in another order are equal: those of a dict's subclass that
 * compares as dicts do, as an OrderedDict does not. Of other types nobody knows. */
static int order_is_incidental(PyTypeObject *type, byvalue_reducer reducer)
{
    return reducer == byvalue_reduce_weak_container ||
           (PyType_IsSubtype(type, &PyDict_Type) &&
            type->tp_richcompare == PyDict_Type.tp_richcompare);
}

static int encode_iterator(digest *d, PyObject *iterator, int sorted)
{
    PyObject *list = PySequence_List(iterator);
    PyObject *dict = NULL;
    if (list && sorted) {
        dict = PyDict_New();
        if (!dict || PyDict_MergeFromSeq2(dict, list, 1) < 0)
            Py_CLEAR(list);
        else if (PyDict_GET_SIZE(dict) < PyList_GET_SIZE(list))
            Py_CLEAR(dict); /* keys come twice: what that means only the type knows */
    }
    int status = list ? digest_encode(d, dict ? dict : list) : -1;
    Py_XDECREF(list);
    Py_XDECREF(dict);
    return status;
}

/* Whether the part begins with a list of a set's items: their order is the hashes'. */
static int items_are_a_set(PyObject *obj, byvalue_reducer reducer, Py_ssize_t i, PyObject *part)
{
    int has =
        (PyAnySet_Check(obj) && i == 1) || (reducer == byvalue_reduce_weak_container && i == 2);
    return has && PyTuple_Check(part) && PyTuple_GET_SIZE(part) >= 1 &&
           PyList_CheckExact(PyTuple_GET_ITEM(part, 0));
}

static int encode_set_first(digest *d, PyObject *part)
{
    PyObject *items = PySet_New(PyTuple_GET_ITEM(part, 0));
    int status = items ? digest_encode_set(d, 'S', items) : -1;
    Py_XDECREF(items);
    for (Py_ssize_t i = 1; status == 0 && i < PyTuple_GET_SIZE(part); i++)
        status = digest_encode(d, PyTuple_GET_ITEM(part, i));
    return status;
}

/* A file that is open, but for the standard streams: what it will read is no part of it. */
static int is_open_file(PyObject *obj)
{
    static const char *const types[] = {"FileIO", "BufferedReader", "TextIOWrapper"};
    static const char *const streams[] = {"stdin", "stdout", "stderr"};
    int found = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        found |= byvalue_type_is(Py_TYPE(obj), "_io", types[i]);
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        found &= PySys_GetObject(streams[i]) != obj;
    return found;
}

/* Attributes of arrays of a subclass: numpy's pickles leave them out. */
static int encode_array_attributes(digest *d, PyObject *obj)
{
    PyTypeObject *base = Py_TYPE(obj)->tp_base;
    while (base && !byvalue_type_is(base, "numpy", "ndarray"))
        base = base->tp_base;
    if (!base)
        return 0;
    PyObject *own = PyObject_GetAttrString((PyObject *)Py_TYPE(obj), "__reduce__");
    PyObject *numpys = own ? PyObject_GetAttrString((PyObject *)base, "__reduce__") : NULL;
    PyObject *dict = numpys && own == numpys ? PyObject_GenericGetDict(obj, NULL) : NULL;
    int status = numpys ? 0 : -1;
    if (dict && PyDict_GET_SIZE(dict) > 0)
        status = digest_encode(d, dict);
    if (status == 0)
        PyErr_Clear(); /* it has none */
    Py_XDECREF(dict);
    Py_XDECREF(numpys);
    Py_XDECREF(own);
    return status;
}

static int encode_reduced(digest *d, PyObject *obj)
{
    PyObject *reduced = NULL;
    int status = -1, decided = 0;
    byvalue_reducer reducer = byvalue_reducer_of_type(d->st, Py_TYPE(obj));
    if (reducer == byvalue_reduce_refused && is_open_file(obj)) {
        byvalue_refuse(d->st, obj, "what it will read is not known from it",
                       "use its path, or what it contains");
        return -1;
    }
    if (byvalue_type_is(Py_TYPE(obj), "achar._actor", "Actor") ||
        byvalue_type_is(Py_TYPE(obj), "achar._handle", "ActorThere")) {
        byvalue_refuse(d->st, obj, "what an actor returns depends on what was called before",
                       "call it outside, and use what it returns");
        return -1;
    }
    if (reducer && reducer != byvalue_reduce_exception) /* whose traceback is an accident */
        decided = byvalue_reduce(d->session, obj, &reduced);
    if (decided < 0)
        return -1;
    if (decided == 2) { /* a builtin function */
        PyObject *module, *name;
        byvalue_name(d->session, obj, &module, &name);
        return digest_put_word(d, "name") < 0 || digest_encode(d, module) < 0 ||
                       digest_encode(d, name) < 0
                   ? -1
                   : 0;
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
        status = digest_put_word(d, "global") < 0 || digest_encode(d, reduced) < 0 ? -1 : 0;
    } else if (PyTuple_Check(reduced) && PyTuple_GET_SIZE(reduced) >= 2) {
        status = digest_put_word(d, "object");
        for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(reduced) && i < 5; i++) {
            PyObject *part = PyTuple_GET_ITEM(reduced, i);
            if (items_are_a_set(obj, reducer, i, part)) {
                status = encode_set_first(d, part);
                continue;
            }
            int sorted = i == 4 && order_is_incidental(Py_TYPE(obj), reducer);
            status = i >= 3 && part != Py_None ? encode_iterator(d, part, sorted)
                                               : digest_encode(d, part);
        }
    } else {
        PyErr_Format(d->st->PicklingError, "__reduce_ex__ of %R is neither a str nor a tuple", obj);
    }
    Py_DECREF(reduced);
    return status == 0 ? encode_array_attributes(d, obj) : status;
}

/* A type variable or ContextVar has an identity that no other process knows: by its name. */
static int encode_named_variable(digest *d, PyObject *obj)
{
    if (digest_put_word(d, Py_TYPE(obj)->tp_name) < 0)
        return -1;
    return Py_TYPE(obj) == &PyContextVar_Type ? digest_encode_attribute(d, obj, "name")
                                              : digest_encode_attribute(d, obj, "__name__");
}

static int encode_enum_member(digest *d, PyObject *obj)
{
    return digest_put_word(d, "member") < 0 || digest_encode(d, (PyObject *)Py_TYPE(obj)) < 0 ||
                   digest_encode_attribute(d, obj, "_name_") < 0 ||
                   digest_encode_attribute(d, obj, "_value_") < 0
               ? -1
               : 0;
}

/* What an object of this class is can change while the object stays the same. */
static int can_change(PyTypeObject *type)
{
    PyTypeObject *const cannot[] = {&PyProperty_Type,    &PyStaticMethod_Type, &PyClassMethod_Type,
                                    &PyRange_Type,       &PySlice_Type,        &PyCFunction_Type,
                                    &PyMethodDescr_Type, &PyWrapperDescr_Type};
    for (size_t i = 0; i < sizeof cannot / sizeof *cannot; i++) {
        if (type == cannot[i])
            return 0;
    }
    return 1;
}

static int encode_container(digest *d, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyDict_Type) {
        d->can_change |= obj != d->own;
        return digest_encode_dict(d, obj);
    }
    if (type == &PyList_Type) {
        d->can_change = 1;
        return digest_encode_items(d, 'l', obj);
    }
    if (type == &PyTuple_Type)
        return digest_encode_items(d, 't', obj);
    d->can_change |= type == &PySet_Type;
    if (type == &PySet_Type || type == &PyFrozenSet_Type)
        return digest_encode_set(d, type == &PySet_Type ? 'S' : 'z', obj);
    if (type == &PyFunction_Type)
        return digest_encode_function(d, obj);
    if (PyType_Check(obj))
        return digest_encode_class(d, obj);
    if (type == &PyCode_Type)
        return digest_encode_code(d, obj);
    if (type == &PyCell_Type) {
        PyObject *contents = PyCell_GET(obj);
        contents = contents ? digest_stand_in(d, obj, NULL, contents) : NULL;
        if (!contents && PyErr_Occurred())
            return -1;
        int status = contents ? digest_encode(d, contents) : digest_put_word(d, "empty cell");
        Py_XDECREF(contents);
        return status;
    }
    if (PyModule_Check(obj)) {
        PyObject *name = PyModule_GetNameObject(obj);
        int status = name && digest_put_word(d, "module") == 0 ? digest_encode(d, name) : -1;
        Py_XDECREF(name);
        return status;
    }
    byvalue_reducer reducer = byvalue_reducer_of_type(d->st, type);
    if (reducer == byvalue_reduce_typevar || reducer == byvalue_reduce_context_variable)
        return encode_named_variable(d, obj);
    if (reducer == byvalue_reduce_enum_member)
        return encode_enum_member(d, obj);
    if (digest_is_memoized(type))
        return digest_encode_attribute(d, obj, "__wrapped__");
    d->can_change |= can_change(type);
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
    if (status < 0 && d->wants_chain && !d->chain)
        digest_keep_chain(d);
    d->depth--;
    if (status == 0)
        status =
            digest_shorten(d, start); /* in any case: what is written may not depend on sharing */
    Py_LeaveRecursiveCall();
    return status;
}

static int encode_shared(digest *d, PyObject *obj)
{
    for (Py_ssize_t level = d->depth - 1; level >= 0; level--) {
        if (d->path[level] == obj) {
            d->reaches = level < d->reaches ? level : d->reaches;
            return digest_put_tag(d, '^', (uint64_t)(d->depth - level));
        }
    }
    if (Py_REFCNT(obj) <= 2) /* its container's and the caller's: it will not be met again */
        return encode_on_path(d, obj);
    PyObject *address = PyLong_FromVoidPtr(obj);
    PyObject *index = address ? PyDict_GetItemWithError(d->memo, address) : NULL;
    int status = -1;
    if (index) {
        const known *entry = &d->known[PyLong_AsSize_t(index)];
        status = digest_put(d, entry->bytes, entry->nbytes);
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

int digest_encode(digest *d, PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyUnicode_Type)
        return digest_put_text(d, 's', obj);
    if (type == &PyLong_Type)
        return digest_encode_int(d, obj);
    if (type == &PyFloat_Type)
        return digest_encode_double(d, 'f', PyFloat_AS_DOUBLE(obj));
    if (obj == Py_None)
        return digest_put(d, "N", 1);
    if (type == &PyBool_Type)
        return digest_put(d, obj == Py_True ? "T" : "F", 1);
    if (type == &PyBytes_Type)
        return digest_put_data(d, 'b', PyBytes_AS_STRING(obj), (size_t)PyBytes_GET_SIZE(obj));
    d->can_change |= type == &PyByteArray_Type;
    if (type == &PyByteArray_Type)
        return digest_put_data(d, 'B', PyByteArray_AS_STRING(obj),
                               (size_t)PyByteArray_GET_SIZE(obj));
    if (type == &PyComplex_Type)
        return digest_encode_double(d, 'c', PyComplex_RealAsDouble(obj)) < 0
                   ? -1
                   : digest_encode_double(d, 'c', PyComplex_ImagAsDouble(obj));
    if (obj == Py_Ellipsis)
        return digest_put_word(d, "...");
    if (obj == Py_NotImplemented)
        return digest_put_word(d, "NotImplemented");
    return encode_shared(d, obj);
}

int digest_run(digest *asked, int (*encode)(digest *d, PyObject *obj), const char *mark,
               PyObject *prefix, PyObject *obj, int fresh_locks, uint8_t *hash)
{
    digest d = *asked;
    module_state *st = d.st;
    int status = -1;
    d.session = byvalue_session_new(st);
    d.memo = d.session ? PyDict_New() : NULL;
    if (d.session)
        byvalue_choose(d.session, fresh_locks, NULL, NULL);
    if (d.memo && digest_put_word(&d, mark) == 0 && (!prefix || digest_encode(&d, prefix) == 0) &&
        encode(&d, obj) == 0) {
        byvalue_long_digest(d.bytes, d.used, hash);
        status = 0;
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
    asked->can_change = d.can_change;
    asked->chain = d.chain;
    return status;
}

int digest_make(module_state *st, int (*encode)(digest *d, PyObject *obj), const char *mark,
                PyObject *obj, int fresh_locks, uint8_t *hash, PyObject **chain)
{
    digest asked = {.st = st, .reaches = PY_SSIZE_T_MAX, .wants_chain = chain != NULL};
    int status = digest_run(&asked, encode, mark, NULL, obj, fresh_locks, hash);
    if (chain)
        *chain = asked.chain;
    return status;
}

int byvalue_digest(module_state *st, PyObject *obj, int fresh_locks, uint8_t *hash)
{
    return digest_make(st, digest_encode, "achar.digest 1", obj, fresh_locks, hash, NULL);
}

static PyObject *make_digest(PyObject *module, PyObject *obj)
{
    uint8_t hash[BLAKE2S_NBYTES];
    char text[2 * BLAKE2S_NBYTES];
    PyObject *chain;
    int status =
        digest_make(state_of_module(module), digest_encode, "achar.digest 1", obj, 0, hash, &chain);
    if (status < 0 && chain)
        digest_say_where(chain);
    Py_XDECREF(chain);
    if (status < 0)
        return NULL;
    for (int i = 0; i < BLAKE2S_NBYTES; i++) {
        text[2 * i] = "0123456789abcdef"[hash[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[hash[i] & 15];
    }
    return PyUnicode_FromStringAndSize(text, sizeof text);
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
    return digest_watch_exec(module, st) < 0 || byvalue_named_exec(module) < 0 ||
                   digest_data_exec(module) < 0 ||
                   state_add_function(module, module, &digest_def, "achar") < 0
               ? -1
               : state_add_function(module, module, &long_digest_def, "achar._achar");
}
