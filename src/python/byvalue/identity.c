/*
 * identity.c - one object, one identity, in whatever process it stands.
 *
 * A class (or type variable) that travels by value gets an id: ten random bytes of the process that
 * gave it and a count. The id goes along in the stream; a process that has rebuilt an object under
 * that id and still has it uses it again, and so does the process the object came from: what comes
 * home is the object itself.
 *
 * Two dicts, both weak: address -> entry and id -> entry, where an entry is a list [weakref, id, state], the
 * state True at home, False elsewhere, and None elsewhere once the object has been completed.
 * The weakref's callback takes the entry out of both, so neither keeps an object alive and no
 * address can come to mean another object.
 */
#include "python/byvalue/internal.h"

#include <sys/random.h>
#include <unistd.h>

static PyObject *forget(PyObject *self, PyObject *weakref)
{
    /* self is (by_object, address, by_id, id). An address may have a newer entry by now. */
    for (int i = 0; i < 4; i += 2) {
        PyObject *table = PyTuple_GET_ITEM(self, i), *key = PyTuple_GET_ITEM(self, i + 1);
        PyObject *entry = PyDict_GetItemWithError(table, key);
        if (entry && PyList_GET_ITEM(entry, 0) == weakref && PyDict_DelItem(table, key) < 0)
            return NULL;
        if (!entry && PyErr_Occurred())
            return NULL;
    }
    return Py_NewRef(Py_None);
}

static PyMethodDef forget_def = {"forget", forget, METH_O, NULL};

/* Enters 'obj' under 'id' into both tables. */
static int enter(module_state *st, PyObject *id, PyObject *obj, int at_home)
{
    int status = -1;
    PyObject *context = NULL, *callback = NULL, *weakref = NULL, *entry = NULL;
    PyObject *address = PyLong_FromVoidPtr(obj);
    if (!address)
        return -1;
    context = PyTuple_Pack(4, st->byvalue_by_object, address, st->byvalue_by_id, id);
    callback = context ? PyCFunction_New(&forget_def, context) : NULL;
    weakref = callback ? PyWeakref_NewRef(obj, callback) : NULL;
    entry = weakref ? PyList_New(3) : NULL;
    if (entry) {
        PyList_SET_ITEM(entry, 0, Py_NewRef(weakref));
        PyList_SET_ITEM(entry, 1, Py_NewRef(id));
        PyList_SET_ITEM(entry, 2, Py_NewRef(at_home ? Py_True : Py_False));
    }
    if (entry && PyDict_SetItem(st->byvalue_by_object, address, entry) == 0)
        status = PyDict_SetItem(st->byvalue_by_id, id, entry);
    Py_DECREF(address);
    Py_XDECREF(context);
    Py_XDECREF(callback);
    Py_XDECREF(weakref);
    Py_XDECREF(entry);
    return status;
}

/* The next id of this process. A forked child starts a prefix of its own. */
PyObject *byvalue_identity_next(module_state *st)
{
    byvalue_tables *source = byvalue_tables_of(st);
    if (source->id_pid != getpid()) {
        if (getrandom(source->id_prefix, ID_PREFIX_NBYTES, 0) != ID_PREFIX_NBYTES)
            return PyErr_SetFromErrno(PyExc_OSError);
        source->id_pid = getpid();
        source->id_count = 0;
    }
    PyObject *id = PyBytes_FromStringAndSize(NULL, ID_NBYTES);
    if (!id)
        return NULL;
    unsigned char *out = (unsigned char *)PyBytes_AS_STRING(id);
    memcpy(out, source->id_prefix, ID_PREFIX_NBYTES);
    source->id_count++;
    for (int i = 0; i < ID_NBYTES - ID_PREFIX_NBYTES; i++)
        out[ID_PREFIX_NBYTES + i] = (unsigned char)(source->id_count >> (8 * i));
    return id;
}

/* The entry of 'obj', borrowed; NULL with or without an exception. */
static PyObject *entry_of(module_state *st, PyObject *obj)
{
    PyObject *address = PyLong_FromVoidPtr(obj);
    if (!address)
        return NULL;
    PyObject *entry = PyDict_GetItemWithError(st->byvalue_by_object, address);
    Py_DECREF(address);
    return entry;
}

int byvalue_identity_known(module_state *st, PyObject *obj, int *at_home)
{
    PyObject *entry = entry_of(st, obj);
    if (!entry)
        return PyErr_Occurred() ? -1 : 0;
    *at_home = PyList_GET_ITEM(entry, 2) == Py_True;
    return 1;
}

int byvalue_identity_complete(module_state *st, PyObject *obj)
{
    PyObject *entry = entry_of(st, obj);
    if (entry && PyList_GET_ITEM(entry, 2) == Py_False)
        PyList_SetItem(entry, 2, Py_NewRef(Py_None));
    return PyErr_Occurred() ? -1 : 0;
}

int byvalue_identity_is_complete(module_state *st, PyObject *obj)
{
    PyObject *entry = entry_of(st, obj);
    return entry ? PyList_GET_ITEM(entry, 2) != Py_False : PyErr_Occurred() ? -1 : 0;
}

int byvalue_identity_claim(module_state *st, PyObject *id, PyObject *obj)
{
    PyObject *address = PyLong_FromVoidPtr(obj);
    PyObject *before = entry_of(st, obj), *now;
    int status = -1;
    if (!address || (!before && PyErr_Occurred()))
        goto done;
    Py_XINCREF(before);
    now = PyDict_GetItemWithError(st->byvalue_by_id, id);
    if (now && before && PyList_GET_ITEM(now, 0) == PyList_GET_ITEM(before, 0))
        status = 0;
    else if (!PyErr_Occurred())
        status = enter(st, id, obj, before ? PyList_GET_ITEM(before, 2) == Py_True : 1);
    if (status == 0 && before) /* what it was known by before stays */
        status = PyDict_SetItem(st->byvalue_by_object, address, before);
    Py_XDECREF(before);
done:
    Py_XDECREF(address);
    return status;
}

int byvalue_identity_enter(module_state *st, PyObject *id, PyObject *obj)
{
    return enter(st, id, obj, 1);
}

PyObject *byvalue_identity_get(module_state *st, PyObject *obj)
{
    PyObject *entry = entry_of(st, obj);
    return entry ? PyList_GET_ITEM(entry, 1) : NULL;
}

PyObject *byvalue_identity_of(module_state *st, PyObject *obj)
{
    PyObject *entry = entry_of(st, obj);
    if (entry)
        return Py_NewRef(PyList_GET_ITEM(entry, 1));
    if (PyErr_Occurred())
        return NULL;
    PyObject *id = byvalue_identity_next(st);
    if (id && enter(st, id, obj, 1) < 0)
        Py_CLEAR(id);
    return id;
}

int byvalue_identity_find(module_state *st, PyObject *id, PyObject **obj, int *at_home)
{
    *obj = NULL;
    PyObject *entry = PyDict_GetItemWithError(st->byvalue_by_id, id);
    if (!entry)
        return PyErr_Occurred() ? -1 : 0;
    *at_home = PyList_GET_ITEM(entry, 2) == Py_True;
#if PY_VERSION_HEX >= 0x030D0000
    return PyWeakref_GetRef(PyList_GET_ITEM(entry, 0), obj);
#else
    PyObject *target = PyWeakref_GetObject(PyList_GET_ITEM(entry, 0));
    if (target == Py_None)
        return 0;
    *obj = Py_NewRef(target);
    return 1;
#endif
}

int byvalue_identity_adopt(module_state *st, PyObject *id, PyObject *obj)
{
    return enter(st, id, obj, 0);
}

int byvalue_identity_exec(module_state *st)
{
    st->byvalue_by_object = PyDict_New();
    st->byvalue_by_id = PyDict_New();
    return st->byvalue_by_object && st->byvalue_by_id ? 0 : -1;
}
