/*
 * value.h - values of the standard library that are written without asking their methods:
 * datetime's date, datetime, time, timedelta and timezone, of which records are full.
 *
 * What their __reduce_ex__ would say is a call of the type on what their C structs hold:
 *
 *     type  bytes or ints  (tzinfo)  TUPLEn  MEMOIZE  REDUCE
 *
 * Exact types only. Where type and tzinfo have been written before, all of it is written at once;
 * else by a FRAME_VALUE: obj the value, 'size' its kind.
 */
#ifndef ACHAR_PYTHON_SAVER_VALUE_H
#define ACHAR_PYTHON_SAVER_VALUE_H

#include "python/saver/engine.h"

enum saver_value_kind {
    VALUE_NONE,
    VALUE_DATE,
    VALUE_DATETIME,
    VALUE_TIME,
    VALUE_TIMEDELTA,
    VALUE_TIMEZONE,
};

/* Whether a type may be one of them, by its name. */
static inline int saver_value_likely(PyTypeObject *type)
{
    return strncmp(type->tp_name, "datetime.", 9) == 0;
}

/* Which of them a type is. Imports datetime, if the name is right. */
enum saver_value_kind saver_value_kind_of(PyTypeObject *type);

/*
 * saver_value_fits() says whether this dump may have objects that only the stream makes, and calls
 * nobody for them. The functions below need that.
 */
static inline int saver_value_fits(const saver *s)
{
    return s->fast_path && s->memo == &s->own_memo;
}

/* All of it but for the value's own memo entry, without a frame. 1: written; 0: that needs one; -1. */
int saver_write_value(saver *s, PyObject *obj, enum saver_value_kind kind);

#endif
