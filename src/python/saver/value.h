/*
 * value.h - values of the standard library that are written without asking their methods:
 * datetime's date, datetime, time and timedelta, of which records are full.
 *
 * What their __reduce_ex__ would say is a call of the type on a fixed number of atoms. Exact types
 * only, and only in memory, after the type itself has been written.
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
};

/* Whether a type may be one of them, by its name. */
static inline int saver_value_likely(PyTypeObject *type)
{
    return strncmp(type->tp_name, "datetime.", 9) == 0;
}

/* Which of them a type is. Imports datetime, if the name is right. */
enum saver_value_kind saver_value_kind_of(PyTypeObject *type);

/* The type, the arguments and REDUCE, but not the value's own memo entry. 1: written; 0: it has to
 * be asked after all; -1. */
int saver_write_value(saver *s, PyObject *obj, enum saver_value_kind kind);

#endif
