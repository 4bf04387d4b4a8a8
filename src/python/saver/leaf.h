/*
 * leaf.h - the objects that containers are full of, written in the container's own loop.
 *
 * Only for protocol 4 and up without hooks. The caller has room for SAVER_ROOM_NBYTES.
 */
#ifndef ACHAR_PYTHON_SAVER_LEAF_H
#define ACHAR_PYTHON_SAVER_LEAF_H

#include "python/saver/engine.h"

#define LEAF_INLINE static inline __attribute__((always_inline))

LEAF_INLINE char *leaf_put_u32(char *cursor, uint32_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    memcpy(cursor, &value, 4);
    return cursor + 4;
}

LEAF_INLINE char *leaf_put_u64(char *cursor, uint64_t value)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    memcpy(cursor, &value, 8);
    return cursor + 8;
}

LEAF_INLINE char *leaf_write_get(char *cursor, Py_ssize_t id)
{
    if (id < 256) {
        *cursor++ = OP_BINGET;
        *cursor++ = (char)id;
        return cursor;
    }
    *cursor++ = OP_LONG_BINGET;
    return leaf_put_u32(cursor, (uint32_t)id);
}

/* An int within 32 bits and a sign. */
LEAF_INLINE char *leaf_write_int32(char *cursor, long value)
{
    if ((unsigned long)value <= 0xff) {
        *cursor++ = OP_BININT1;
        *cursor++ = (char)value;
        return cursor;
    }
    if ((unsigned long)value <= 0xffff) {
        *cursor++ = OP_BININT2;
        *cursor++ = (char)value;
        *cursor++ = (char)(value >> 8);
        return cursor;
    }
    *cursor++ = OP_BININT;
    return leaf_put_u32(cursor, (uint32_t)value);
}

/* Room for 10 bytes. */
LEAF_INLINE char *leaf_write_int64(char *cursor, int64_t value)
{
    if (value >= INT32_MIN && value <= INT32_MAX)
        return leaf_write_int32(cursor, (long)value);
    /* The bits that differ from the sign, and one for the sign itself. */
    uint64_t bits = (uint64_t)(value ^ (value >> 63));
    int nbytes = (64 - __builtin_clzll(bits)) / 8 + 1;
    *cursor++ = (char)OP_LONG1;
    *cursor++ = (char)nbytes;
    leaf_put_u64(cursor, (uint64_t)value);
    return cursor + nbytes;
}

LEAF_INLINE char *leaf_write_double(char *cursor, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    bits = __builtin_bswap64(bits);
#endif
    *cursor++ = OP_BINFLOAT;
    memcpy(cursor, &bits, 8);
    return cursor + 8;
}

/* memcpy for a few bytes, without the call. */
LEAF_INLINE void leaf_copy(char *target, const char *source, size_t nbytes)
{
    if (nbytes > 32) {
        memcpy(target, source, nbytes);
    } else if (nbytes >= 16) {
        memcpy(target, source, 16);
        memcpy(target + nbytes - 16, source + nbytes - 16, 16);
    } else if (nbytes >= 8) {
        memcpy(target, source, 8);
        memcpy(target + nbytes - 8, source + nbytes - 8, 8);
    } else if (nbytes >= 4) {
        memcpy(target, source, 4);
        memcpy(target + nbytes - 4, source + nbytes - 4, 4);
    } else if (nbytes >= 2) {
        memcpy(target, source, 2);
        memcpy(target + nbytes - 2, source + nbytes - 2, 2);
    } else if (nbytes == 1) {
        *target = *source;
    }
}

/*
 * write_leaf() writes 'obj' at '*cursor' if it is one of these objects, or any in the memo. 'closed': it may skip the
 * memo if its container's reference is the only one. 1: written; 0: not a leaf, nothing has
 * changed; -1 with MemoryError set. Runs no Python code.
 */
LEAF_INLINE int write_leaf(saver *s, char **cursor, PyObject *obj, int closed)
{
    char *p = *cursor;
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyUnicode_Type) {
        int unique = closed && compat_is_unique(obj);
        uint32_t slot = 0;
        if (!unique) {
            Py_ssize_t position = saver_memo_find_slot(s->memo, obj, &slot);
            if (position >= 0) {
                if (s->memo->ids)
                    return 0;
                *cursor = leaf_write_get(p, position);
                return 1;
            }
        }
        if (!PyUnicode_IS_COMPACT_ASCII(obj))
            return 0;
        size_t nbytes = (size_t)PyUnicode_GET_LENGTH(obj);
        if (nbytes > 255)
            return 0;
        if ((unique ? saver_memo_put(s->memo, obj, 1) : saver_memo_put_at(s->memo, obj, slot)) < 0)
            return -1;
        *p++ = (char)OP_SHORT_BINUNICODE;
        *p++ = (char)nbytes;
        leaf_copy(p, (const char *)PyUnicode_1BYTE_DATA(obj), nbytes);
        p += nbytes;
        *p++ = (char)OP_MEMOIZE;
        *cursor = p;
        return 1;
    }
    if (type == &PyLong_Type) {
        int64_t value;
        if (!compat_medium_int(obj, &value))
            return 0;
        *cursor = leaf_write_int64(p, value);
        return 1;
    }
    if (type == &PyFloat_Type) {
        *cursor = leaf_write_double(p, PyFloat_AS_DOUBLE(obj));
        return 1;
    }
    if (obj == Py_None) {
        *p = OP_NONE;
        *cursor = p + 1;
        return 1;
    }
    if (type == &PyBool_Type) {
        *p = (char)(obj == Py_True ? OP_NEWTRUE : OP_NEWFALSE);
        *cursor = p + 1;
        return 1;
    }
    if (closed && compat_is_unique(obj))
        return 0;
    Py_ssize_t position = saver_memo_find(s->memo, obj);
    if (position < 0 || s->memo->ids)
        return 0;
    *cursor = leaf_write_get(p, position);
    return 1;
}

#endif
