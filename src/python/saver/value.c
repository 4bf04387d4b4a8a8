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
    return type == api->DateType                                               ? VALUE_DATE
           : type == api->DateTimeType                                         ? VALUE_DATETIME
           : type == api->TimeType                                             ? VALUE_TIME
           : type == api->DeltaType                                            ? VALUE_TIMEDELTA
           : type == Py_TYPE(api->TimeZone_UTC) && compat_knows_timezone(type) ? VALUE_TIMEZONE
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

/* The arguments that the value's own struct holds: three ints or a string of bytes. */
static int write_state(saver *s, PyObject *obj, enum saver_value_kind kind)
{
    if (kind == VALUE_TIMEDELTA) {
        const PyDateTime_Delta *delta = (PyDateTime_Delta *)obj;
        const int parts[] = {delta->days, delta->seconds, delta->microseconds};
        for (int i = 0; i < 3; i++) {
            if (saver_boundary(s) < 0)
                return -1;
            s->out.cursor = leaf_write_int32(s->out.cursor, parts[i]);
        }
        return 0;
    }
    unsigned char bytes[_PyDateTime_DATETIME_DATASIZE];
    size_t nbytes = packed(obj, kind, s->protocol, bytes);
    if (saver_boundary(s) < 0)
        return -1;
    *s->out.cursor++ = OP_SHORT_BINBYTES;
    *s->out.cursor++ = (char)nbytes;
    memcpy(s->out.cursor, bytes, nbytes);
    s->out.cursor += nbytes;
    return saver_memoize_phantom(s);
}

/* The arguments are written: makes a tuple of 'count' of them, and the call. */
static int write_call(saver *s, int count)
{
    static const uint8_t tuples[] = {0, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    if (saver_write_op(s, tuples[count]) < 0 || saver_memoize_phantom(s) < 0)
        return -1;
    return saver_write_op(s, OP_REDUCE);
}

static int argument_count(PyObject *obj, enum saver_value_kind kind)
{
    PyObject *offset, *name;
    switch (kind) {
    case VALUE_TIMEDELTA:
        return 3;
    case VALUE_TIMEZONE:
        compat_timezone_parts(obj, &offset, &name);
        return name ? 2 : 1;
    default:
        return zone_of(obj, kind) ? 2 : 1;
    }
}

int saver_write_value(saver *s, PyObject *obj, enum saver_value_kind kind)
{
    Py_ssize_t type = saver_memo_find(s->memo, (PyObject *)Py_TYPE(obj)), zone = -1;
    PyObject *tzinfo = zone_of(obj, kind);
    if (tzinfo)
        zone = saver_memo_find(s->memo, tzinfo);
    if (s->out.write || kind == VALUE_TIMEZONE || type < 0 || (tzinfo && zone < 0))
        return 0;
    if (saver_boundary(s) < 0 || saver_write_get(s, type) < 0 || write_state(s, obj, kind) < 0)
        return -1;
    if (tzinfo && (saver_boundary(s) < 0 || saver_write_get(s, zone) < 0))
        return -1;
    return write_call(s, argument_count(obj, kind)) < 0 ? -1 : 1;
}

/* What a FRAME_VALUE does next. */
enum { TYPE, STATE, SECOND, CALL };

const char *saver_value_part(const saver_frame *frame)
{
    if (frame->stage <= STATE)
        return ".__reduce__()[0]";
    return frame->stage == CALL && frame->size != VALUE_TIMEZONE ? ".tzinfo" : ".__reduce__()[1]";
}

int saver_step_value(saver *s)
{
    for (;;) {
        saver_frame *frame = saver_top(s);
        enum saver_value_kind kind = (enum saver_value_kind)frame->size;
        PyObject *obj = frame->obj, *saved = NULL, *offset, *name;
        switch (frame->stage) {
        case TYPE:
            frame->stage = STATE;
            saved = (PyObject *)Py_TYPE(obj);
            break;
        case STATE:
            frame->stage = SECOND;
            if (kind == VALUE_TIMEZONE) {
                compat_timezone_parts(obj, &saved, &name);
                break;
            }
            if (write_state(s, obj, kind) < 0)
                return -1;
            continue;
        case SECOND:
            frame->stage = CALL;
            saved = zone_of(obj, kind);
            if (kind == VALUE_TIMEZONE)
                compat_timezone_parts(obj, &offset, &saved);
            break;
        default:
            if (write_call(s, argument_count(obj, kind)) < 0)
                return -1;
            if (saver_write_made(s) < 0)
                return -1;
            saver_pop(s);
            return 0;
        }
        if (!saved)
            continue;
        int pushed = saver_save(s, saved, 0);
        if (pushed)
            return pushed < 0 ? -1 : 0;
    }
}
