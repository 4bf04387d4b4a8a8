/* value.c - dates and times, straight from their C structs; see value.h. */
#include "python/saver/value.h"

#include <datetime.h>

#include "python/saver/leaf.h"

enum saver_value_kind saver_value_kind_of(PyTypeObject *type)
{
    if (!saver_value_likely(type))
        return VALUE_NONE;
    (void)PyDateTimeAPI; /* the header's own variable, one for each file: not for us */
    const PyDateTime_CAPI *api = PyCapsule_Import(PyDateTime_CAPSULE_NAME, 0);
    if (!api) {
        PyErr_Clear();
        return VALUE_NONE;
    }
    return type == api->DateType       ? VALUE_DATE
           : type == api->DateTimeType ? VALUE_DATETIME
           : type == api->TimeType     ? VALUE_TIME
           : type == api->DeltaType    ? VALUE_TIMEDELTA
                                       : VALUE_NONE;
}

/* The bytes that a date or time keeps itself in. A fold is the top bit of month or hour. */
static size_t packed(PyObject *obj, enum saver_value_kind kind, int protocol, unsigned char *bytes)
{
    if (kind == VALUE_DATE) {
        memcpy(bytes, ((PyDateTime_Date *)obj)->data, _PyDateTime_DATE_DATASIZE);
        return _PyDateTime_DATE_DATASIZE;
    }
    if (kind == VALUE_TIME) {
        memcpy(bytes, ((PyDateTime_Time *)obj)->data, _PyDateTime_TIME_DATASIZE);
        if (protocol > 3 && ((PyDateTime_Time *)obj)->fold)
            bytes[0] |= 0x80;
        return _PyDateTime_TIME_DATASIZE;
    }
    memcpy(bytes, ((PyDateTime_DateTime *)obj)->data, _PyDateTime_DATETIME_DATASIZE);
    if (protocol > 3 && ((PyDateTime_DateTime *)obj)->fold)
        bytes[2] |= 0x80;
    return _PyDateTime_DATETIME_DATASIZE;
}

static PyObject *zone_of(PyObject *obj, enum saver_value_kind kind)
{
    if (kind == VALUE_DATETIME && ((PyDateTime_DateTime *)obj)->hastzinfo)
        return ((PyDateTime_DateTime *)obj)->tzinfo;
    if (kind == VALUE_TIME && ((PyDateTime_Time *)obj)->hastzinfo)
        return ((PyDateTime_Time *)obj)->tzinfo;
    return NULL;
}

static int write_timedelta(saver *s, PyObject *obj)
{
    const PyDateTime_Delta *delta = (PyDateTime_Delta *)obj;
    const int parts[] = {delta->days, delta->seconds, delta->microseconds};
    for (int i = 0; i < 3; i++) {
        if (saver_boundary(s) < 0)
            return -1;
        s->out.cursor = leaf_write_int32(s->out.cursor, parts[i]);
    }
    return saver_write_op(s, OP_TUPLE3);
}

static int write_packed(saver *s, PyObject *obj, enum saver_value_kind kind, Py_ssize_t zone)
{
    unsigned char bytes[_PyDateTime_DATETIME_DATASIZE];
    size_t nbytes = packed(obj, kind, s->protocol, bytes);
    if (saver_boundary(s) < 0)
        return -1;
    *s->out.cursor++ = OP_SHORT_BINBYTES;
    *s->out.cursor++ = (char)nbytes;
    memcpy(s->out.cursor, bytes, nbytes);
    s->out.cursor += nbytes;
    if (saver_memoize_phantom(s) < 0)
        return -1;
    if (zone >= 0 && (saver_boundary(s) < 0 || saver_write_get(s, zone) < 0))
        return -1;
    return saver_write_op(s, zone >= 0 ? OP_TUPLE2 : OP_TUPLE1);
}

int saver_write_value(saver *s, PyObject *obj, enum saver_value_kind kind)
{
    Py_ssize_t type = saver_memo_find(s->memo, (PyObject *)Py_TYPE(obj)), zone = -1;
    PyObject *tzinfo = zone_of(obj, kind);
    if (tzinfo)
        zone = saver_memo_find(s->memo, tzinfo);
    if (!s->fast_path || s->out.write || type < 0 || (tzinfo && zone < 0))
        return 0;
    if (saver_boundary(s) < 0 || saver_write_get(s, type) < 0 || saver_boundary(s) < 0)
        return -1;
    int status =
        kind == VALUE_TIMEDELTA ? write_timedelta(s, obj) : write_packed(s, obj, kind, zone);
    if (status < 0 || saver_memoize_phantom(s) < 0 || saver_write_op(s, OP_REDUCE) < 0)
        return -1;
    return 1;
}
