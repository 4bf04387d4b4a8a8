/*
 * times.c - dates, times and their zones, read and made.
 *
 * The three clock types are called with their fields packed into bytes, most significant first:
 *
 *     date      year 2 · month · day                                   4 bytes
 *     time      hour · minute · second · microsecond 3                 6 bytes
 *     datetime  both, one after the other                             10 bytes
 *
 * Bit 7 of a datetime's month, or of a time's hour, is the fold. A second argument is the tzinfo.
 */
#include "codec/shapes/shapes.h"

#include <string.h>

enum {
    DATE_NBYTES = 4,
    TIME_NBYTES = 6,
    FOLD = 0x80,
    DAY_S = 24 * 60 * 60,
};

#define DAY_US ((int64_t)DAY_S * 1000000)

/* ---- reading ---- */

static bool is_date(const achar_date *date)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (date->year < 1 || date->year > 9999 || date->month < 1 || date->month > 12)
        return false;
    bool leap = date->year % 4 == 0 && (date->year % 100 != 0 || date->year % 400 == 0);
    int last = days[date->month - 1] + (date->month == 2 && leap);
    return date->day >= 1 && date->day <= last;
}

static bool is_time(const achar_time *time)
{
    return time->hour >= 0 && time->hour < 24 && time->minute >= 0 && time->minute < 60 &&
           time->second >= 0 && time->second < 60 && time->microsecond >= 0 &&
           time->microsecond < 1000000 && (time->fold == 0 || time->fold == 1);
}

/* The packed fields: argument 0, of 'nbytes' bytes. */
static int packed(const look *l, size_t nbytes, const unsigned char **data)
{
    size_t found_nbytes;
    int status = achar__payload(l, look_argument(l, 0), true, "its state", data, &found_nbytes);
    if (status == ACHAR_OK && found_nbytes != nbytes)
        status = achar__refuse(l, ACHAR_E_SHAPE, "its state has %zu bytes", found_nbytes);
    return status;
}

static void unpack_date(const unsigned char *data, achar_date *date)
{
    date->year = data[0] << 8 | data[1];
    date->month = data[2];
    date->day = data[3];
}

static void unpack_time(const unsigned char *data, achar_time *time)
{
    time->hour = data[0];
    time->minute = data[1];
    time->second = data[2];
    time->microsecond = data[3] << 16 | data[4] << 8 | data[5];
}

/* Argument 1, if there is one. */
static int read_tzinfo(const look *l, achar_time *time)
{
    achar_timezone zone;
    achar_value tzinfo = look_argument(l, 1);
    time->tzinfo = achar_nothing();
    time->has_utc_offset = 0;
    time->utc_offset_us = 0;
    if (achar_kind(tzinfo) == ACHAR_NOTHING || achar_kind(tzinfo) == ACHAR_NONE)
        return ACHAR_OK;
    if (achar_kind(tzinfo) < ACHAR_GLOBAL || achar_kind(tzinfo) == ACHAR_BUFFER)
        return achar__refuse(l, ACHAR_E_SHAPE, "its tzinfo is of kind %s",
                             achar_kind_name(achar_kind(tzinfo)));
    time->tzinfo = tzinfo;
    if (achar_shape(l->graph, tzinfo) != ACHAR_SHAPE_TIMEZONE)
        return ACHAR_OK;
    int status = achar_as_timezone(l->graph, tzinfo, &zone, l->error);
    if (status == ACHAR_OK) {
        time->has_utc_offset = 1;
        time->utc_offset_us = zone.utc_offset_us;
    }
    return status;
}

/* What all three have in common: a call with so many arguments that nothing changes. */
static int begin(look *l, achar_graph *graph, achar_value value, int shape, size_t most,
                 achar_error *error)
{
    int status = achar__look(l, graph, value, shape, error);
    if (status == ACHAR_OK)
        status = achar__look_count(l, 1, most);
    return status == ACHAR_OK ? achar__look_unchanged(l) : status;
}

int achar_as_date(achar_graph *graph, achar_value value, achar_date *out, achar_error *error)
{
    look l;
    achar_date date;
    const unsigned char *data;
    int status = begin(&l, graph, value, ACHAR_SHAPE_DATE, 1, error);
    if (status == ACHAR_OK)
        status = packed(&l, DATE_NBYTES, &data);
    if (status != ACHAR_OK)
        return status;
    unpack_date(data, &date);
    if (!is_date(&date))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not in any calendar");
    *out = date;
    return ACHAR_OK;
}

int achar_as_time(achar_graph *graph, achar_value value, achar_time *out, achar_error *error)
{
    look l;
    achar_time time;
    const unsigned char *data;
    int status = begin(&l, graph, value, ACHAR_SHAPE_TIME, 2, error);
    if (status == ACHAR_OK)
        status = packed(&l, TIME_NBYTES, &data);
    if (status == ACHAR_OK)
        status = read_tzinfo(&l, &time);
    if (status != ACHAR_OK)
        return status;
    unpack_time(data, &time);
    time.fold = (time.hour & FOLD) != 0;
    time.hour &= ~FOLD;
    if (!is_time(&time))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not on any clock");
    *out = time;
    return ACHAR_OK;
}

int achar_as_datetime(achar_graph *graph, achar_value value, achar_datetime *out,
                      achar_error *error)
{
    look l;
    achar_date date;
    achar_time time;
    const unsigned char *data;
    int status = begin(&l, graph, value, ACHAR_SHAPE_DATETIME, 2, error);
    if (status == ACHAR_OK)
        status = packed(&l, DATE_NBYTES + TIME_NBYTES, &data);
    if (status == ACHAR_OK)
        status = read_tzinfo(&l, &time);
    if (status != ACHAR_OK)
        return status;
    unpack_date(data, &date);
    unpack_time(data + DATE_NBYTES, &time);
    time.fold = (date.month & FOLD) != 0;
    date.month &= ~FOLD;
    if (!is_date(&date) || !is_time(&time))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not in any calendar, or on any clock");
    *out = (achar_datetime){date.year,   date.month,          date.day,          time.hour,
                            time.minute, time.second,         time.microsecond,  time.fold,
                            time.tzinfo, time.has_utc_offset, time.utc_offset_us};
    return ACHAR_OK;
}

int achar_as_timedelta(achar_graph *graph, achar_value value, achar_timedelta *out,
                       achar_error *error)
{
    look l;
    int status = begin(&l, graph, value, ACHAR_SHAPE_TIMEDELTA, 3, error);
    if (status != ACHAR_OK)
        return status;
    achar_value days = look_argument(&l, 0);
    achar_value seconds = look_argument(&l, 1);
    achar_value microseconds = look_argument(&l, 2);
    if (!is_between(days, -999999999, 999999999) || !is_between(seconds, 0, DAY_S - 1) ||
        !is_between(microseconds, 0, 999999))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not made from days, seconds and microseconds");
    *out = (achar_timedelta){achar_int64(days), (int)achar_int64(seconds),
                             (int)achar_int64(microseconds)};
    return ACHAR_OK;
}

int achar_as_timezone(achar_graph *graph, achar_value value, achar_timezone *out,
                      achar_error *error)
{
    look l;
    achar_timedelta offset;
    achar_timezone zone = {0};
    int status = begin(&l, graph, value, ACHAR_SHAPE_TIMEZONE, 2, error);
    if (status == ACHAR_OK && achar_shape(graph, look_argument(&l, 0)) != ACHAR_SHAPE_TIMEDELTA)
        status = achar__refuse(&l, ACHAR_E_SHAPE, "its offset is no timedelta");
    if (status == ACHAR_OK)
        status = achar_as_timedelta(graph, look_argument(&l, 0), &offset, error);
    if (status != ACHAR_OK)
        return status;
    bool whole_day = offset.days == -1 && offset.seconds == 0 && offset.microseconds == 0;
    if (offset.days < -1 || offset.days > 0 || whole_day)
        return achar__refuse(&l, ACHAR_E_SHAPE, "its offset is a day or more");
    zone.utc_offset_us =
        offset.days * DAY_US + offset.seconds * (int64_t)1000000 + offset.microseconds;
    if (achar_count(l.arguments) == 2) {
        zone.name = achar_text(look_argument(&l, 1), &zone.name_nbytes);
        if (zone.name == NULL)
            return achar__refuse(&l, ACHAR_E_SHAPE, "its name is no text");
    }
    *out = zone;
    return ACHAR_OK;
}

int achar_as_zoneinfo(achar_graph *graph, achar_value value, const char **key, size_t *key_nbytes,
                      achar_error *error)
{
    look l;
    size_t nbytes;
    int status = begin(&l, graph, value, ACHAR_SHAPE_ZONEINFO, 2, error);
    if (status != ACHAR_OK)
        return status;
    const char *text = achar_text(look_argument(&l, 0), &nbytes);
    achar_value from_cache = look_argument(&l, 1); /* 0, 1, or a bool */
    if (text == NULL || (!is_between(from_cache, 0, 1) && achar_kind(from_cache) != ACHAR_BOOL))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not made from a key");
    *key = text;
    *key_nbytes = nbytes;
    return ACHAR_OK;
}

/* ---- making ---- */

static void pack_date(const achar_date *date, unsigned char *out)
{
    out[0] = (unsigned char)(date->year >> 8);
    out[1] = (unsigned char)date->year;
    out[2] = (unsigned char)date->month;
    out[3] = (unsigned char)date->day;
}

static void pack_time(const achar_time *time, unsigned char *out)
{
    out[0] = (unsigned char)time->hour;
    out[1] = (unsigned char)time->minute;
    out[2] = (unsigned char)time->second;
    out[3] = (unsigned char)(time->microsecond >> 16);
    out[4] = (unsigned char)(time->microsecond >> 8);
    out[5] = (unsigned char)time->microsecond;
}

static achar_value make(achar_graph *graph, enum known known, const unsigned char *packed,
                        size_t nbytes, achar_value tzinfo)
{
    achar_value arguments[2] = {achar_make_bytes(graph, packed, nbytes), tzinfo};
    return achar__call_known(graph, known, arguments, achar_kind(tzinfo) == ACHAR_NOTHING ? 1 : 2);
}

achar_value achar_make_date(achar_graph *graph, const achar_date *date)
{
    unsigned char packed[DATE_NBYTES];
    if (date == NULL)
        return achar__make_fail(graph, ACHAR_E_INVALID);
    if (!is_date(date))
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    pack_date(date, packed);
    return make(graph, KNOWN_DATE, packed, sizeof packed, achar_nothing());
}

achar_value achar_make_time(achar_graph *graph, const achar_time *time)
{
    unsigned char packed[TIME_NBYTES];
    if (time == NULL)
        return achar__make_fail(graph, ACHAR_E_INVALID);
    if (!is_time(time))
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    pack_time(time, packed);
    packed[0] |= time->fold ? FOLD : 0;
    return make(graph, KNOWN_TIME, packed, sizeof packed, time->tzinfo);
}

achar_value achar_make_datetime(achar_graph *graph, const achar_datetime *datetime)
{
    unsigned char packed[DATE_NBYTES + TIME_NBYTES];
    if (datetime == NULL)
        return achar__make_fail(graph, ACHAR_E_INVALID);
    achar_date date = {datetime->year, datetime->month, datetime->day};
    achar_time time = {datetime->hour,        datetime->minute, datetime->second,
                       datetime->microsecond, datetime->fold,   datetime->tzinfo};
    if (!is_date(&date) || !is_time(&time))
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    pack_date(&date, packed);
    pack_time(&time, packed + DATE_NBYTES);
    packed[2] |= time.fold ? FOLD : 0;
    return make(graph, KNOWN_DATETIME, packed, sizeof packed, time.tzinfo);
}

achar_value achar_make_timedelta(achar_graph *graph, const achar_timedelta *timedelta)
{
    if (timedelta == NULL)
        return achar__make_fail(graph, ACHAR_E_INVALID);
    if (timedelta->days < -999999999 || timedelta->days > 999999999 || timedelta->seconds < 0 ||
        timedelta->seconds >= DAY_S || timedelta->microseconds < 0 ||
        timedelta->microseconds > 999999)
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    achar_value arguments[3] = {achar_make_int(timedelta->days), achar_make_int(timedelta->seconds),
                                achar_make_int(timedelta->microseconds)};
    return achar__call_known(graph, KNOWN_TIMEDELTA, arguments, 3);
}

achar_value achar_make_timezone(achar_graph *graph, int64_t utc_offset_us, const char *name)
{
    if (utc_offset_us <= -DAY_US || utc_offset_us >= DAY_US)
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    int64_t day_us = utc_offset_us < 0 ? utc_offset_us + DAY_US : utc_offset_us;
    achar_timedelta offset = {utc_offset_us < 0 ? -1 : 0, (int)(day_us / 1000000),
                              (int)(day_us % 1000000)};
    achar_value arguments[2] = {achar_make_timedelta(graph, &offset),
                                name == NULL ? achar_nothing() : achar_make_str(graph, name)};
    return achar__call_known(graph, KNOWN_TIMEZONE, arguments, name == NULL ? 1 : 2);
}

/* As Python does it: getattr(zoneinfo.ZoneInfo, '_unpickle')(key, True), which shares instances. */
achar_value achar_make_zoneinfo(achar_graph *graph, const char *key)
{
    achar_value method[2] = {achar__make_known(graph, KNOWN_ZONEINFO),
                             achar_make_str(graph, "_unpickle")};
    achar_value callable = achar__call_known(graph, KNOWN_GETATTR, method, 2);
    achar_value arguments[2] = {achar_make_str(graph, key), achar_make_int(1)};
    return achar_make_call(graph, ACHAR_CALL_REDUCE, callable,
                           achar_make_tuple(graph, arguments, 2), achar_nothing());
}
