/*
 * compat.h - the one place that knows the insides of Python's objects, version by version.
 *
 * Each name says what it answers; beside each fast reading stands the public call that means the
 * same, used where the fast one is not known to hold. Everything here is static inline. Each part
 * of the extension keeps its own block.
 */
#ifndef ACHAR_PYTHON_COMPAT_H
#define ACHAR_PYTHON_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#if PY_VERSION_HEX < 0x030B0000
#include <longintrepr.h>
#endif

/* ---- attributes ---- */

/* 1: '*value' is a new reference; 0: there is no such attribute, '*value' is NULL; -1: error. */
static inline int compat_find_attr(PyObject *obj, PyObject *name, PyObject **value)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyObject_GetOptionalAttr(obj, name, value);
#else
    return _PyObject_LookupAttr(obj, name, value); /* makes no exception only to drop it */
#endif
}

/* ---- the executor's block ---- */

/* The exception that is set, as an object with its traceback; a new reference. Clears it. */
static inline PyObject *compat_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* Sets an exception that compat_take_exception() gave; takes over the reference. NULL: clears. */
static inline void compat_restore_exception(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    if (!exception) {
        PyErr_Clear();
        return;
    }
    PyObject *type = Py_NewRef((PyObject *)Py_TYPE(exception));
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
#endif
}

/* ---- the block of synchronisation ---- */

/* What Lock.acquire() says of a negative timeout. */
#if PY_VERSION_HEX >= 0x030D0000
#define COMPAT_NEGATIVE_TIMEOUT "timeout value must be a non-negative number"
#else
#define COMPAT_NEGATIVE_TIMEOUT "timeout value must be positive"
#endif

/* ---- the saver's block ---- */

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
 * compat_small_int() reads an exact int of one digit (30 bits and a sign); 0 if it has more.
 */
static inline int compat_small_int(PyObject *obj, long *value)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)obj))
        return 0;
    *value = (long)PyUnstable_Long_CompactValue((PyLongObject *)obj);
    return 1;
#else
    Py_ssize_t size = Py_SIZE(obj);
    if (size < -1 || size > 1)
        return 0;
    *value = size == 0 ? 0 : size * (long)((PyLongObject *)obj)->ob_digit[0];
    return 1;
#endif
}

/* The same up to 60 bits and a sign. */
static inline int compat_medium_int(PyObject *obj, int64_t *value)
{
#if PY_VERSION_HEX >= 0x030E0000 || PYLONG_BITS_IN_DIGIT != 30
    long small;
    int is_small = compat_small_int(obj, &small);
    *value = small;
    return is_small;
#else
#if PY_VERSION_HEX >= 0x030C0000
    const struct _PyLongValue *number = &((PyLongObject *)obj)->long_value;
    size_t digits = number->lv_tag >> 3;
    int64_t sign = 1 - (int64_t)(number->lv_tag & 3);
#else
    const PyLongObject *number = (PyLongObject *)obj;
    size_t digits = (size_t)Py_ABS(Py_SIZE(obj));
    int64_t sign = Py_SIZE(obj) < 0 ? -1 : 1;
#endif
    if (digits > 2)
        return 0;
    uint64_t magnitude = digits > 0 ? number->ob_digit[0] : 0;
    if (digits == 2)
        magnitude |= (uint64_t)number->ob_digit[1] << 30;
    *value = sign * (int64_t)magnitude;
    return 1;
#endif
}

/* An upper bound of how many bytes an int needs in two's complement; -1 with an exception set. */
static inline Py_ssize_t compat_int_nbytes(PyObject *obj)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(obj, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    size_t bits = _PyLong_NumBits(obj);
    if (bits == (size_t)-1 && PyErr_Occurred())
        return -1;
    return (Py_ssize_t)(bits / 8 + 1);
#endif
}

/* Writes an int into 'nbytes' bytes (as many as compat_int_nbytes() said), little-endian. 0 or -1. */
static inline int compat_int_bytes(PyObject *obj, unsigned char *bytes, Py_ssize_t nbytes)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(obj, bytes, nbytes, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0 ? -1 : 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)obj, bytes, (size_t)nbytes, 1, 1);
#endif
}

/* The UTF-8 that a str carries with it, without making it; NULL if it has none. */
static inline const char *compat_str_utf8(PyObject *str, Py_ssize_t *nbytes)
{
    if (PyUnicode_IS_COMPACT_ASCII(str)) {
        *nbytes = PyUnicode_GET_LENGTH(str);
        return (const char *)PyUnicode_1BYTE_DATA(str);
    }
#ifndef Py_GIL_DISABLED
    const PyCompactUnicodeObject *compact = (const PyCompactUnicodeObject *)str;
    *nbytes = compact->utf8_length;
    return compact->utf8;
#else
    return NULL;
#endif
}

/* Makes sure that the str's characters can be read with PyUnicode_DATA(). 0 or -1. */
static inline int compat_str_ready(PyObject *str)
{
#if PY_VERSION_HEX < 0x030C0000
    return PyUnicode_READY(str);
#else
    (void)str;
    return 0;
#endif
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
 * compat_timezone_parts() reads a datetime.timezone, an exact one: its offset, and its name or NULL.
 * Borrowed. Only where compat_knows_timezone(), asked with that type; else its methods must be.
 */
typedef struct compat_timezone {
    PyObject_HEAD PyObject *offset;
    PyObject *name;
} compat_timezone;

static inline int compat_knows_timezone(PyTypeObject *type)
{
    return PY_VERSION_HEX < 0x030E0000 && type->tp_basicsize == sizeof(compat_timezone);
}

static inline void compat_timezone_parts(PyObject *obj, PyObject **offset, PyObject **name)
{
    *offset = ((compat_timezone *)obj)->offset;
    *name = ((compat_timezone *)obj)->name;
}

/*
 * The recursion budget, counted as _pickle's C recursion is. 'state' is this thread's; '*used' is
 * what a dump has taken. compat_has_recursion() tells whether there is more than 'count' left;
 * compat_enter_recursion() takes 'count' units: 0, or -1 with RecursionError set and none taken.
 */
#if PY_VERSION_HEX >= 0x030E0000
/* The interpreter measures its C stack there, which an explicit stack does not use: the budget is
 * about the depth at which _pickle gives up with 8 MiB of stack. */
enum { COMPAT_RECURSION_BUDGET = 30000 };
#elif PY_VERSION_HEX >= 0x030C0000
#define COMPAT_RECURSION_LEFT(state) ((state)->c_recursion_remaining)
#elif PY_VERSION_HEX >= 0x030B0000
#define COMPAT_RECURSION_LEFT(state) ((state)->recursion_remaining)
#endif

static inline int compat_has_recursion(PyThreadState *state, const Py_ssize_t *used, int count)
{
#if PY_VERSION_HEX >= 0x030E0000
    (void)state;
    return *used + count < COMPAT_RECURSION_BUDGET;
#elif PY_VERSION_HEX >= 0x030B0000
    (void)used;
    return COMPAT_RECURSION_LEFT(state) > count;
#else
    (void)used;
    return state->recursion_depth + count < Py_GetRecursionLimit();
#endif
}

static inline void compat_leave_recursion(PyThreadState *state, Py_ssize_t *used, int count)
{
    *used -= count;
#if PY_VERSION_HEX >= 0x030E0000
    (void)state;
#elif PY_VERSION_HEX >= 0x030B0000
    COMPAT_RECURSION_LEFT(state) += count;
#else
    (void)state;
    while (count-- > 0)
        Py_LeaveRecursiveCall();
#endif
}

static inline int compat_enter_recursion(PyThreadState *state, Py_ssize_t *used, int count)
{
#if PY_VERSION_HEX >= 0x030E0000
    if (!compat_has_recursion(state, used, count)) {
        PyErr_SetString(PyExc_RecursionError,
                        "maximum recursion depth exceeded while pickling an object");
        return -1;
    }
#else
#if PY_VERSION_HEX >= 0x030B0000
    if (compat_has_recursion(state, used, count)) {
        COMPAT_RECURSION_LEFT(state) -= count;
        *used += count;
        return 0;
    }
#endif
    for (int taken = 0; taken < count; taken++) {
        if (Py_EnterRecursiveCall(" while pickling an object")) {
            *used += taken;
            compat_leave_recursion(state, used, taken);
            return -1;
        }
    }
#endif
    *used += count;
    return 0;
}

/* ---- the loader's block ---- */

/*
 * COMPAT_INSIDES is 1 for the versions whose lists we have read (3.10 to 3.13, with the GIL).
 * -DCOMPAT_INSIDES=0 builds the public way.
 */
#ifndef COMPAT_INSIDES
#if PY_VERSION_HEX >= 0x030A0000 && PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED)
#define COMPAT_INSIDES 1
#else
#define COMPAT_INSIDES 0
#endif
#endif

/* Messages that differ between versions. */
#if PY_VERSION_HEX >= 0x030C0000
#define COMPAT_LINE_BREAK " "
#else
#define COMPAT_LINE_BREAK "\n"
#endif
#if PY_VERSION_HEX >= 0x030D0000
#define COMPAT_LOCAL_ATTRIBUTE "Can't get local attribute %R on %R"
#else
#define COMPAT_LOCAL_ATTRIBUTE "Can't pickle local attribute %R on %R"
#endif

/* Is a persistent id read before it is missed that there is no persistent_load()? */
#define COMPAT_PERSISTENT_ID_FIRST (PY_VERSION_HEX >= 0x030D0000)

/*
 * From 3.13 on _pickle writes a nested name below protocol 4 as getattr(getattr(…)) down from the
 * module's global, takes any integer for an extension code, and words these errors differently.
 */
#define COMPAT_NAMES_AS_3_13 (PY_VERSION_HEX >= 0x030D0000)

/* int.from_bytes(bytes, "little", signed=True) */
static inline PyObject *compat_long_from_bytes(const uint8_t *bytes, size_t nbytes)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(bytes, nbytes, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, nbytes, 1, 1);
#endif
}

/*
 * An ASCII str of 'nbytes' > 1 characters, to be filled by the caller; the NUL behind them is there.
 * What PyUnicode_New(nbytes, 127) returns. NULL with MemoryError set.
 */
static inline PyObject *compat_ascii_new(size_t nbytes, uint8_t **characters)
{
#if COMPAT_INSIDES && !defined(Py_DEBUG) && !defined(Py_TRACE_REFS)
    PyASCIIObject *text = PyObject_Malloc(sizeof *text + nbytes + 1);
    if (!text)
        return PyErr_NoMemory();
    memset(text, 0, sizeof *text);
    text->ob_base.ob_refcnt = 1;
    text->ob_base.ob_type = &PyUnicode_Type;
    text->length = (Py_ssize_t)nbytes;
    text->hash = -1;
    text->state.kind = PyUnicode_1BYTE_KIND;
    text->state.compact = 1;
    text->state.ascii = 1;
#if PY_VERSION_HEX < 0x030C0000
    text->state.ready = 1;
#endif
    *characters = (uint8_t *)(text + 1);
    (*characters)[nbytes] = 0;
    return (PyObject *)text;
#else
    PyObject *text = PyUnicode_New((Py_ssize_t)nbytes, 127);
    if (text)
        *characters = PyUnicode_1BYTE_DATA(text);
    return text;
#endif
}

/* Where a str keeps its hash, -1 if it is not known yet; NULL: nobody may set it but the interpreter. */
static inline Py_hash_t *compat_text_hash(PyObject *text)
{
#if COMPAT_INSIDES
    return &((PyASCIIObject *)text)->hash;
#else
    (void)text;
    return NULL;
#endif
}

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

/* Adds a line to what the traceback shows of 'exception', where the interpreter can (3.11 on). */
static inline int compat_add_note(PyObject *exception, PyObject *note)
{
#if PY_VERSION_HEX >= 0x030B0000
    PyObject *done = PyObject_CallMethod(exception, "add_note", "O", note);
    Py_XDECREF(done);
    return done ? 0 : -1;
#else
    return 0;
#endif
}

/* Are there other memoryviews of what this one shows? */
static inline int compat_view_is_shared(PyObject *view)
{
    return ((PyMemoryViewObject *)view)->mbuf->exports > 1;
}

/* ---- the block of what travels by value ---- */

/*
 * The module that sys.modules has under this name, a new reference; NULL with or without an
 * exception. PyImport_GetModule() would also wait for a module that another thread is importing,
 * and makes and drops an AttributeError to find out.
 */
static inline PyObject *compat_loaded_module(PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    if (PyDict_CheckExact(modules))
        return Py_XNewRef(PyDict_GetItemWithError(modules, name));
    PyObject *module = PyObject_GetItem(modules, name);
    if (!module && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Clear();
    return module;
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

#endif
