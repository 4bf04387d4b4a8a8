/*
 * stable.c - answers that depend on nothing but the objects, for deterministic dumps.
 *
 * What has an identity (a class, a type variable, a context variable) gets an id made of what it is:
 * of its digest, and of how many with the same digest came before it in this dump. So the id is the
 * same in every process, and a process that has the object, or has rebuilt it, finds it by that id.
 * Of several living ones that are equal, the one that was dumped last is found.
 */
#include "python/byvalue/blake2s.h"
#include "python/byvalue/internal.h"

void byvalue_choose_stable(byvalue_session *session, byvalue_session *outer,
                           PyObject *(*order)(void *context, PyObject *items), void *context)
{
    session->root = outer ? outer->root : session;
    session->order = order;
    session->order_context = context;
}

PyObject *byvalue_in_order(byvalue_session *session, PyObject *items)
{
    return session->root ? session->order(session->order_context, items) : PySequence_List(items);
}

PyObject *byvalue_same_code(byvalue_session *session, PyObject *portion, PyObject *code)
{
    if (!session->root || portion == code)
        return code;
    if (!session->codes && !(session->codes = PyDict_New()))
        return NULL;
    /* Not PyDict_SetDefault(): see saver/stable.c. */
    PyObject *first = PyDict_GetItemWithError(session->codes, portion);
    if (!first && !PyErr_Occurred() && PyDict_SetItem(session->codes, portion, code) == 0)
        first = code;
    return first;
}

/*
 * What cannot be sent is in the way of the digest first, which cannot say where. So the dump goes on,
 * and will come to it, and say. 0, or -1 if the exception is none of that kind.
 */
static int keep_failure(byvalue_session *root)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError) ||
        PyErr_ExceptionMatches(PyExc_RecursionError))
        return -1;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    Py_XSETREF(root->failure, value);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return 0;
}

int byvalue_check_stable(byvalue_session *session)
{
    PyObject *failure = session->failure;
    if (!failure)
        return 0;
    PyErr_SetObject((PyObject *)Py_TYPE(failure), failure);
    return -1;
}

/* The digest of 'description', bytes, a new reference; worked out once for each 'obj'. */
static PyObject *digest_of(byvalue_session *session, PyObject *obj, PyObject *description)
{
    uint8_t hash[BLAKE2S_NBYTES];
    PyObject *known = byvalue_map_get(&session->root->digests, obj);
    if (known)
        return Py_NewRef(known);
    if (byvalue_digest(session->st, description, session->fresh_locks, hash) < 0) {
        if (keep_failure(session->root) < 0)
            return NULL;
        memset(hash, 0, sizeof(hash));
    }
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)hash, sizeof(hash));
    if (bytes && byvalue_map_put(&session->root->digests, obj, bytes) < 0)
        Py_CLEAR(bytes);
    return bytes;
}

/* How many objects with this digest this dump has had before; -1: error. */
static Py_ssize_t next_ordinal(byvalue_session *root, PyObject *digest)
{
    if (!root->ordinals && !(root->ordinals = PyDict_New()))
        return -1;
    PyObject *known = PyDict_GetItemWithError(root->ordinals, digest);
    if (!known && PyErr_Occurred())
        return -1;
    Py_ssize_t ordinal = known ? PyLong_AsSsize_t(known) : 0;
    PyObject *next = PyLong_FromSsize_t(ordinal + 1);
    int status = next ? PyDict_SetItem(root->ordinals, digest, next) : -1;
    Py_XDECREF(next);
    return status < 0 ? -1 : ordinal;
}

PyObject *byvalue_stable_id(byvalue_session *session, PyObject *obj, PyObject *description)
{
    if (session->portable)
        return PyBytes_FromStringAndSize(NULL, 0);
    PyObject *known = byvalue_map_get(&session->root->ids, obj);
    if (known && session->root == session)
        return Py_NewRef(known);
    PyObject *digest = digest_of(session, obj, description), *id = NULL;
    if (!digest)
        return NULL;
    if (session->root != session) { /* in a key, which is compared and never loaded */
        id = PyBytes_FromStringAndSize(PyBytes_AS_STRING(digest), ID_NBYTES);
        goto done;
    }
    uint8_t hashed[BLAKE2S_NBYTES + sizeof(uint64_t)], hash[BLAKE2S_NBYTES];
    Py_ssize_t ordinal = next_ordinal(session->root, digest);
    if (ordinal < 0)
        goto done;
    memcpy(hashed, PyBytes_AS_STRING(digest), BLAKE2S_NBYTES);
    for (size_t i = 0; i < sizeof(uint64_t); i++)
        hashed[BLAKE2S_NBYTES + i] = (uint8_t)((uint64_t)ordinal >> (8 * i));
    byvalue_long_digest(hashed, sizeof(hashed), hash);
    id = PyBytes_FromStringAndSize((const char *)hash, ID_NBYTES);
    if (id && byvalue_map_put(&session->root->ids, obj, id) < 0)
        Py_CLEAR(id);
done:
    Py_DECREF(digest);
    return id;
}
