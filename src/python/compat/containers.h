/* containers.h - lists, sets, dicts and memoryviews. See compat.h. */
#ifndef ACHAR_PYTHON_COMPAT_CONTAINERS_H
#define ACHAR_PYTHON_COMPAT_CONTAINERS_H

#include "python/compat/version.h"

/*
 * Extends an exact list by 'count' objects whose references it takes over; they are dropped on
 * error. 0, or -1 with an exception set.
 *
 * Fast way: the list's array is a PyMem block of 'allocated' entries; we grow it as list.extend
 * does and copy the entries in one go. (Growing faster and giving back what is too much is slower:
 * the array then comes from fresh pages each time.)
 */
static inline int compat_list_extend(PyObject *list, PyObject *const *items, size_t count)
{
    int status = 0;
    if (count == 0)
        return 0;
#if COMPAT_INSIDES
    PyListObject *self = (PyListObject *)list;
    if (self->allocated < 0) /* it is being sorted */
        goto one_by_one;
    size_t size = (size_t)Py_SIZE(self), needed = size + count;
    if (needed > (size_t)self->allocated) {
        size_t allocated = size == 0 ? needed : (needed + (needed >> 3) + 6) & ~(size_t)3;
        PyObject **grown = allocated > PY_SSIZE_T_MAX / sizeof(PyObject *)
                               ? NULL
                               : PyMem_Realloc(self->ob_item, allocated * sizeof(PyObject *));
        if (!grown) {
            for (size_t i = 0; i < count; i++)
                Py_DECREF(items[i]);
            PyErr_NoMemory();
            return -1;
        }
        self->ob_item = grown;
        self->allocated = (Py_ssize_t)allocated;
    }
    memcpy(self->ob_item + size, items, count * sizeof(PyObject *));
    Py_SET_SIZE(self, (Py_ssize_t)needed);
    return 0;
one_by_one:
#endif
    for (size_t i = 0; i < count; i++) {
        if (status == 0)
            status = PyList_Append(list, items[i]);
        Py_DECREF(items[i]);
    }
    return status;
}

/*
 * compat_set_next() walks a set or frozenset as PyDict_Next() walks a dict: 1 and a borrowed
 * '*item', or 0 at the end. '*position' starts at 0. The set may have changed between calls.
 */
static inline int compat_set_next(PyObject *set, Py_ssize_t *position, PyObject **item)
{
    const PySetObject *so = (const PySetObject *)set;
    for (Py_ssize_t i = *position; i <= so->mask; i++) {
        const setentry *entry = &so->table[i];
        if (entry->key && entry->hash != -1) { /* -1 marks an entry that was removed */
            *item = entry->key;
            *position = i + 1;
            return 1;
        }
    }
    *position = so->mask + 1;
    return 0;
}

/* A number that changes with the dict's content; '*known' is 0 where there is none. */
static inline uint64_t compat_dict_version(PyObject *dict, int *known)
{
#if PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED)
    *known = 1;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    return ((PyDictObject *)dict)->ma_version_tag;
#pragma GCC diagnostic pop
#else
    *known = 0;
    return 0;
#endif
}

/*
 * The table of an exact dict that has only str keys, as it is left by insertions alone: key 'i' is
 * at [i * COMPAT_DICT_STEP], its value behind it. NULL where that is not known to be so; whoever
 * uses it looks whether the keys are there.
 */
#if PY_VERSION_HEX >= 0x030B0000
enum { COMPAT_DICT_STEP = 2 };
#else
enum { COMPAT_DICT_STEP = 3 };
#endif

static inline PyObject **compat_dict_table(PyObject *dict)
{
#if COMPAT_INSIDES && PY_VERSION_HEX >= 0x030B0000
    typedef struct {
        Py_ssize_t refcnt;
        uint8_t log2_size, log2_index_nbytes, kind;
        uint32_t version;
        Py_ssize_t usable, nentries;
        char indices[];
    } dict_keys;
    dict_keys *keys = (dict_keys *)((PyDictObject *)dict)->ma_keys;
    if (((PyDictObject *)dict)->ma_values || keys->kind != 1) /* split, or not only str */
        return NULL;
    return (PyObject **)(keys->indices + ((size_t)1 << keys->log2_index_nbytes));
#elif COMPAT_INSIDES
    typedef struct {
        Py_ssize_t refcnt, size;
        void *lookup;
        Py_ssize_t usable, nentries;
        char indices[];
    } dict_keys;
    dict_keys *keys = (dict_keys *)((PyDictObject *)dict)->ma_keys;
    if (((PyDictObject *)dict)->ma_values || keys->size > 0xff) /* split, or of wider indices */
        return NULL;
    return (PyObject **)(keys->indices + keys->size) + 1; /* behind the hash */
#else
    (void)dict;
    return NULL;
#endif
}

/* A view's own flag, which no public function sets: what READONLY_BUFFER asks for. */
static inline void compat_memoryview_set_readonly(PyObject *view)
{
    PyMemoryView_GET_BUFFER(view)->readonly = 1;
}

/* Are there other memoryviews of what this one shows? */
static inline int compat_view_is_shared(PyObject *view)
{
    return ((PyMemoryViewObject *)view)->mbuf->exports > 1;
}

#endif
