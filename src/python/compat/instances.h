/* instances.h - attributes: where instances and classes keep them. See compat.h. */
#ifndef ACHAR_PYTHON_COMPAT_INSTANCES_H
#define ACHAR_PYTHON_COMPAT_INSTANCES_H

#include "python/compat/version.h"

/* 1: '*value' is a new reference; 0: there is no such attribute, '*value' is NULL; -1: error. */
static inline int compat_find_attr(PyObject *obj, PyObject *name, PyObject **value)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyObject_GetOptionalAttr(obj, name, value);
#else
    return _PyObject_LookupAttr(obj, name, value); /* makes no exception only to drop it */
#endif
}

/*
 * compat_is_unique() is 1 if the one reference to 'obj' is the caller's container: no other code
 * can get at the object but through that container. 0 when in doubt.
 */
static inline int compat_is_unique(PyObject *obj)
{
#if PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_Object_IsUniquelyReferenced(obj);
#elif defined(Py_GIL_DISABLED)
    (void)obj;
    return 0;
#else
    return Py_REFCNT(obj) == 1;
#endif
}

/*
 * compat_instance_dict() is the instance's __dict__ (borrowed) if that is there as an object. NULL:
 * there is none. '*hidden' is 1 where that does not mean that there are no attributes: they may be
 * kept in the instance itself, and PyObject_GenericGetDict() makes a dict of them.
 */
static inline PyObject *compat_instance_dict(PyObject *obj, int *hidden)
{
    *hidden = 0;
#if PY_VERSION_HEX >= 0x030B0000
    if (Py_TYPE(obj)->tp_flags & Py_TPFLAGS_MANAGED_DICT) {
#if PY_VERSION_HEX >= 0x030E0000 || defined(Py_GIL_DISABLED)
        *hidden = 1;
        return NULL;
#else
        PyObject *dict = ((PyObject **)obj)[-3];
#if PY_VERSION_HEX >= 0x030D0000   /* beside the dict, values that it may not know of yet */
        *hidden = !dict && (Py_TYPE(obj)->tp_flags & Py_TPFLAGS_INLINE_VALUES);
#elif PY_VERSION_HEX >= 0x030C0000 /* dict or values in one word, told apart by the lowest bit */
        *hidden = (uintptr_t)dict & 1;
        if (*hidden)
            return NULL;
#else                              /* the values in the word before */
        *hidden = !dict && ((PyObject **)obj)[-4];
#endif
        return dict;
#endif
    }
#endif
    PyObject **slot = _PyObject_GetDictPtr(obj);
    return slot ? *slot : NULL;
}

/* A number that changes with the type's attributes and is never used again; 0: not known. */
static inline unsigned compat_type_version(PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030D0000 /* from 3.13 on the number alone tells, and the flag is not set */
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG))
        return 0;
#endif
    return type->tp_version_tag;
}

/* The type's own dict, a new reference; never NULL for a type that is ready. */
static inline PyObject *compat_type_dict(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyType_GetDict(type);
#else
    return Py_NewRef(type->tp_dict);
#endif
}

/*
 * compat_slot_offset() is where instances keep the value of a __slots__ entry, a PyObject * that is
 * NULL if it is not set; -1 if 'descriptor' (what the type has under the name) is something else.
 */
static inline Py_ssize_t compat_slot_offset(PyTypeObject *type, PyObject *descriptor)
{
    if (!descriptor || Py_TYPE(descriptor) != &PyMemberDescr_Type ||
        !PyType_IsSubtype(type, PyDescr_TYPE(descriptor)))
        return -1;
    const PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
    return member->type == T_OBJECT_EX ? member->offset : -1;
}

/*
 * Where an object keeps its attributes before it has a __dict__ as an object, from 3.11 on: values in
 * an order that all objects of the class share, NULL where there is none yet, and beside them the
 * sequence in which they were set, as indexes of values.
 *
 * The words before the object: 3.11 has the values at -4 and the dict at -3; 3.12 has either at -3,
 * values with the lowest bit set; both write the sequence downwards from behind the values' start,
 * after a byte for its size. 3.13 has the dict at -3, and the values behind the object.
 */
typedef struct compat_values {
    PyObject **values;
    uint8_t *count;   /* of those that are set */
    uint8_t *room;    /* see compat_values_have_room() */
    uint8_t *indexes; /* the first of the sequence; the others are at [i * COMPAT_INDEX_STEP] */
} compat_values;

#if PY_VERSION_HEX >= 0x030D0000
enum { COMPAT_INDEX_STEP = 1 };
#else
enum { COMPAT_INDEX_STEP = -1 };
#endif

/* 1 if 'object' keeps its attributes that way. 0 is always right. */
static inline int compat_values_of(PyObject *object, compat_values *at)
{
#if COMPAT_INSIDES && PY_VERSION_HEX >= 0x030D0000
    typedef struct {
        uint8_t capacity, size, embedded, valid;
        PyObject *values[];
    } values_behind;
    PyTypeObject *type = Py_TYPE(object);
    if (!(type->tp_flags & Py_TPFLAGS_INLINE_VALUES) || ((PyObject **)object)[-3])
        return 0;
    values_behind *behind = (values_behind *)((char *)object + type->tp_basicsize);
    at->values = behind->values;
    at->count = &behind->size;
    at->room = &behind->capacity;
    at->indexes = (uint8_t *)(behind->values + behind->capacity);
    return behind->valid;
#elif COMPAT_INSIDES && PY_VERSION_HEX >= 0x030B0000
    if (!(Py_TYPE(object)->tp_flags & Py_TPFLAGS_MANAGED_DICT))
        return 0;
#if PY_VERSION_HEX >= 0x030C0000
    char *values = ((char **)object)[-3] + 1;
    if ((uintptr_t)values & 1)
        return 0;
#else
    char *values = ((char **)object)[-4];
    if (!values || ((PyObject **)object)[-3])
        return 0;
#endif
    at->values = (PyObject **)values;
    at->room = (uint8_t *)values - 1;
    at->count = (uint8_t *)values - 2;
    at->indexes = (uint8_t *)values - 3;
    return 1;
#else
    (void)object;
    (void)at;
    return 0;
#endif
}

/* 1 if there is room for 'count' of them, which is not always said exactly. */
static inline int compat_values_have_room(const compat_values *at, size_t count)
{
    return COMPAT_INDEX_STEP > 0 ? count <= *at->room : count + 1 < *at->room;
}

/* 1 if 'object' has attributes of its own but none yet, so that nothing can be hidden by one. */
static inline int compat_has_no_attributes_yet(PyObject *object)
{
#if COMPAT_INSIDES && PY_VERSION_HEX >= 0x030B0000
    compat_values at;
    return compat_values_of(object, &at) && *at.count == 0;
#elif COMPAT_INSIDES
    PyObject **dict = _PyObject_GetDictPtr(object);
    return dict && !*dict;
#else
    (void)object;
    return 0;
#endif
}

#endif
