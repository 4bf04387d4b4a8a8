/*
 * definition.c - the classes of __main__ in a later run of the script.
 *
 * Such a class goes by value, and has an identity in the processes that live while it does. What was
 * written to disk is read by a run in which __main__ has that class again. If the definitions are the
 * same, that is the class of what is read. If not, the class comes by value as it was sent, and a warning
 * (achar/_redefined.py) says what differs. To tell, the id of a class that can be found in __main__ ends
 * with DEFINITION_NBYTES of the hash of its definition, made when it is first sent.
 *
 * The definition is what the class statement says: name, metaclass and bases, those of __main__ with
 * what they say, and attributes. Functions are their code and defaults, data is its value, any other
 * object the name of its type. What the code calls and the globals it reads are not looked at: they are
 * the run's, as all that goes by name is. So no Python code runs here, and the cost is the class's own.
 */
#include "python/byvalue/digest.h"

enum { DEPTH_MAX = 20 }; /* of data in data, and of bases */

static int encode_part(digest *d, PyObject *value, int depth);

static int put_type_name(digest *d, PyTypeObject *type)
{
    if (!byvalue_is_python_class(type))
        return digest_put_word(d, type->tp_name);
    PyHeapTypeObject *heap = (PyHeapTypeObject *)type;
    PyObject *dict = compat_type_dict(type);
    PyObject *module = PyDict_GetItemWithError(dict, d->st->byvalue_str___module__);
    int status = module && PyUnicode_Check(module) ? digest_put_text(d, 's', module) : 0;
    Py_DECREF(dict);
    return status < 0 ? -1 : digest_put_text(d, 's', heap->ht_qualname);
}

static int encode_items(digest *d, PyObject *fast, int depth)
{
    int status =
        digest_put_tag(d, PyList_Check(fast) ? 'l' : 't', (uint64_t)PySequence_Fast_GET_SIZE(fast));
    for (Py_ssize_t i = 0; status == 0 && i < PySequence_Fast_GET_SIZE(fast); i++)
        status = encode_part(d, PySequence_Fast_GET_ITEM(fast, i), depth + 1);
    return status;
}

static int encode_dict(digest *d, PyObject *dict, int depth)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    int status = digest_put_tag(d, 'd', (uint64_t)PyDict_GET_SIZE(dict));
    while (status == 0 && PyDict_Next(dict, &position, &key, &value)) {
        status = encode_part(d, key, depth + 1);
        if (status == 0)
            status = encode_part(d, value, depth + 1);
    }
    return status;
}

/* Of a set of anything but atoms its size: no order is given. */
static int encode_set(digest *d, PyObject *set)
{
    PyObject *item;
    Py_ssize_t position = 0;
    int plain = 1;
    while (plain && compat_set_next(set, &position, &item))
        plain = byvalue_is_atom(item);
    return plain ? digest_encode_set(d, 'S', set)
                 : digest_put_tag(d, 'S', (uint64_t)PySet_GET_SIZE(set));
}

static int encode_function(digest *d, PyFunctionObject *func, int depth)
{
    PyObject *defaults = func->func_defaults ? func->func_defaults : Py_None;
    PyObject *named = func->func_kwdefaults ? func->func_kwdefaults : Py_None;
    if (digest_put_word(d, "function") < 0 || digest_encode_code(d, func->func_code) < 0 ||
        encode_part(d, defaults, depth + 1) < 0)
        return -1;
    return encode_part(d, named, depth + 1);
}

/* The functions inside of what wraps functions: each of 'names', C attributes of the object. */
static int encode_wrapped(digest *d, PyObject *obj, const char *const *names, int depth)
{
    int status = put_type_name(d, Py_TYPE(obj));
    for (; status == 0 && *names; names++) {
        PyObject *inside = PyObject_GetAttrString(obj, *names);
        status = inside ? encode_part(d, inside, depth + 1) : -1;
        Py_XDECREF(inside);
    }
    return status;
}

static int encode_part(digest *d, PyObject *value, int depth)
{
    static const char *const of_property[] = {"fget", "fset", "fdel", NULL};
    static const char *const of_method[] = {"__func__", NULL};
    static const char *const of_cached[] = {"func", NULL};
    PyTypeObject *type = Py_TYPE(value);
    if (byvalue_is_atom(value) || PyByteArray_CheckExact(value))
        return digest_encode(d, value);
    if (depth < DEPTH_MAX) {
        if (PyFunction_Check(value))
            return encode_function(d, (PyFunctionObject *)value, depth);
        if (type == &PyStaticMethod_Type || type == &PyClassMethod_Type)
            return encode_wrapped(d, value, of_method, depth);
        if (type == &PyProperty_Type)
            return encode_wrapped(d, value, of_property, depth);
        if (byvalue_type_is(type, "functools", "cached_property"))
            return encode_wrapped(d, value, of_cached, depth);
        if (PyTuple_CheckExact(value) || PyList_CheckExact(value))
            return encode_items(d, value, depth);
        if (PyDict_CheckExact(value))
            return encode_dict(d, value, depth);
        if (PyAnySet_CheckExact(value))
            return encode_set(d, value);
    }
    if (PyType_Check(value))
        return digest_put_word(d, "class") < 0 ? -1 : put_type_name(d, (PyTypeObject *)value);
    return digest_put_word(d, "object") < 0 ? -1 : put_type_name(d, type);
}

/* Where it says what it is of: 1 if the class's __module__ is "__main__". */
static int is_of_main(module_state *st, PyTypeObject *type)
{
    PyObject *dict = compat_type_dict(type);
    PyObject *module = PyDict_GetItemWithError(dict, st->byvalue_str___module__);
    int is = module && PyUnicode_Check(module) &&
             PyUnicode_CompareWithASCIIString(module, "__main__") == 0;
    Py_DECREF(dict);
    return is;
}

static int encode_attributes(digest *d, PyTypeObject *type)
{
    PyObject *dict = compat_type_dict(type), *name, *value;
    PyObject *names = PyList_New(0);
    Py_ssize_t position = 0;
    int status = names ? 0 : -1;
    while (status == 0 && PyDict_Next(dict, &position, &name, &value)) {
        if (PyUnicode_CheckExact(name) && !digest_is_incidental(name, value))
            status = PyList_Append(names, name);
    }
    if (status == 0)
        status = PyList_Sort(names);
    for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(names); i++) {
        value = PyDict_GetItemWithError(dict, PyList_GET_ITEM(names, i));
        status = digest_put_text(d, 's', PyList_GET_ITEM(names, i));
        if (status == 0 && value)
            status = encode_part(d, value, 0);
    }
    Py_DECREF(dict);
    Py_XDECREF(names);
    return status;
}

static int encode_class(digest *d, PyTypeObject *type, int depth)
{
    int status = put_type_name(d, type) < 0 ? -1 : put_type_name(d, Py_TYPE(type));
    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(type->tp_bases); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(type->tp_bases, i);
        int inside = depth < DEPTH_MAX && byvalue_is_python_class(base) && is_of_main(d->st, base);
        status = inside ? encode_class(d, base, depth + 1) : put_type_name(d, base);
    }
    return status < 0 ? -1 : encode_attributes(d, type);
}

static int encode_definition(digest *d, PyObject *obj)
{
    return PyType_Check(obj) ? encode_class(d, (PyTypeObject *)obj, 0) : encode_part(d, obj, 0);
}

static int make_hash(module_state *st, PyObject *obj, uint8_t *hash)
{
    return digest_make(st, encode_definition, "achar definition 1", obj, 0, hash, NULL);
}

/* ---- out ---- */

int byvalue_add_definition(module_state *st, PyTypeObject *type, PyObject **id)
{
    uint8_t hash[BLAKE2S_NBYTES];
    PyObject *qualname = ((PyHeapTypeObject *)type)->ht_qualname;
    if (PyUnicode_FindChar(qualname, '<', 0, PyUnicode_GET_LENGTH(qualname), 1) >= 0 ||
        !is_of_main(st, type))
        return 0; /* defined inside a function: no other run can find it */
    if (make_hash(st, (PyObject *)type, hash) < 0) {
        Py_CLEAR(*id);
        return -1;
    }
    PyBytes_ConcatAndDel(id, PyBytes_FromStringAndSize((const char *)hash, DEFINITION_NBYTES));
    return *id ? 0 : -1;
}

/* ---- in ---- */

/* What this process's __main__ has under a qualified name, in dicts alone; borrowed, or NULL. */
static PyObject *find_in_main(PyObject *qualname)
{
    PyObject *main_name = PyUnicode_FromString("__main__");
    PyObject *module = main_name ? compat_loaded_module(main_name) : NULL;
    PyObject *parts =
        PyUnicode_Check(qualname) ? PyObject_CallMethod(qualname, "split", "s", ".") : NULL;
    PyObject *found = module && PyModule_Check(module) && parts ? module : NULL;
    for (Py_ssize_t i = 0; found && i < PyList_GET_SIZE(parts); i++) {
        PyObject *dict = PyType_Check(found) ? compat_type_dict((PyTypeObject *)found)
                         : found == module   ? Py_NewRef(PyModule_GetDict(module))
                                             : NULL;
        found = dict ? PyDict_GetItemWithError(dict, PyList_GET_ITEM(parts, i)) : NULL;
        Py_XDECREF(dict); /* the class or module has it */
    }
    Py_XDECREF(main_name);
    Py_XDECREF(module);
    Py_XDECREF(parts);
    return found;
}

int byvalue_find_redefined(module_state *st, PyObject *id, PyObject *name, PyObject *namespace,
                           PyObject **here)
{
    uint8_t hash[BLAKE2S_NBYTES];
    *here = NULL;
    if (PyBytes_GET_SIZE(id) != ID_NBYTES + DEFINITION_NBYTES)
        return 0;
    PyObject *qualname = PyDict_GetItemWithError(namespace, st->byvalue_str___qualname__);
    if (!qualname && PyErr_Occurred())
        return -1;
    PyObject *found = find_in_main(qualname ? qualname : name);
    if (!found || !PyType_Check(found) || !byvalue_is_python_class((PyTypeObject *)found) ||
        !is_of_main(st, (PyTypeObject *)found))
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(found);
    if (make_hash(st, found, hash) < 0) {
        Py_DECREF(found);
        return -1;
    }
    *here = found;
    return memcmp(PyBytes_AS_STRING(id) + ID_NBYTES, hash, DEFINITION_NBYTES) == 0 ? 1 : 2;
}

int byvalue_note_redefined(module_state *st, PyObject *id, PyObject *here)
{
    return PyDict_SetItem(st->byvalue_redefined, id, here);
}

int byvalue_warn_redefined(module_state *st, PyObject *made)
{
    PyObject *id = Py_XNewRef(byvalue_identity_get(st, made));
    PyObject *here = id ? PyDict_GetItemWithError(st->byvalue_redefined, id) : NULL;
    PyObject *warn = NULL, *done = NULL;
    int status = PyErr_Occurred() ? -1 : 0;
    if (here) {
        Py_INCREF(here);
        status = PyDict_DelItem(st->byvalue_redefined, id);
        warn = status == 0 ? byvalue_import("achar._redefined", "warn") : NULL;
        done = warn ? PyObject_CallFunctionObjArgs(warn, made, here, NULL) : NULL;
        status = done ? 0 : -1;
        Py_DECREF(here);
    }
    Py_XDECREF(id);
    Py_XDECREF(warn);
    Py_XDECREF(done);
    return status;
}

/* definition(obj): the hash, for _redefined.py to compare one attribute with another. */
static PyObject *definition(PyObject *module, PyObject *obj)
{
    uint8_t hash[BLAKE2S_NBYTES];
    if (make_hash(state_of_module(module), obj, hash) < 0)
        return NULL;
    return PyBytes_FromStringAndSize((const char *)hash, sizeof(hash));
}

static PyMethodDef definition_def = {
    "definition", definition, METH_O,
    "definition($module, obj, /)\n--\n\nA hash of what the definition of a class, or of a class's "
    "attribute, says."};

int byvalue_definition_exec(PyObject *module, module_state *st)
{
    st->byvalue_redefined = PyDict_New();
    return st->byvalue_redefined
               ? state_add_function(module, module, &definition_def, "achar._achar")
               : -1;
}
