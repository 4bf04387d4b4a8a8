/*
 * shapes.h - values of Python's standard types, as what they are: a datetime, a Decimal, a deque.
 *
 * In a graph they are calls: datetime.datetime(b'\x07\xe8\x02\x1d…'). The functions here know what
 * Python 2.7 and 3.x write for each type in every protocol, and take it apart into plain structs.
 * Nothing is executed. What arrays and numpy write is in arrays.h.
 *
 *     achar_datetime when;
 *     if (achar_as_datetime(graph, achar_get(record, "when"), &when, &error) == ACHAR_OK)
 *         printf("%d-%02d-%02d\n", when.year, when.month, when.day);
 *
 * Every achar_as_…() returns
 *
 *     ACHAR_OK             and fills its struct
 *     ACHAR_E_TYPE         the value is something else
 *     ACHAR_E_SHAPE        it has the name, but not the contents: Python would refuse it, or make
 *                          something that no Python writes in this way
 *     ACHAR_E_UNSUPPORTED  it is one, but of a sort that these functions do not take apart
 *     ACHAR_E_BUFFERS      its contents are in an out-of-band buffer that the reader was not given
 *     ACHAR_E_NOMEM, ACHAR_E_LIMIT
 *
 * and on failure leaves the struct alone; 'error' (may be NULL) says why, with the offset of the
 * opcode that made the value. Names are taken at their word: a pickle that replaced
 * decimal.Decimal before it called it would not be found out.
 *
 * Text, data and values in the structs belong to the graph and are good until it is freed; text is
 * UTF-8 and NOT terminated. What had to be decoded (bytes below protocol 3) is kept in the graph,
 * once, so asking again costs nothing. As for all of a graph: one thread at a time.
 *
 * The achar_make_…() functions are the other way: values that a program puts into a graph
 * (build.h, with its sticky errors), and that pickle.loads makes the real thing of.
 */
#ifndef ACHAR_SHAPES_H
#define ACHAR_SHAPES_H

#include <achar/build.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ACHAR_SHAPES lists the shapes: X(NAME, "Python's name for it") */
#define ACHAR_SHAPES(X)                                                                            \
    X(NONE, "?")                                                                                   \
    X(DATETIME, "datetime.datetime")                                                               \
    X(DATE, "datetime.date")                                                                       \
    X(TIME, "datetime.time")                                                                       \
    X(TIMEDELTA, "datetime.timedelta")                                                             \
    X(TIMEZONE, "datetime.timezone")                                                               \
    X(ZONEINFO, "zoneinfo.ZoneInfo")                                                               \
    X(DECIMAL, "decimal.Decimal")                                                                  \
    X(FRACTION, "fractions.Fraction")                                                              \
    X(COMPLEX, "complex")                                                                          \
    X(RANGE, "range")                                                                              \
    X(UUID, "uuid.UUID")                                                                           \
    X(PATH, "pathlib.Path")                                                                        \
    X(BYTES, "bytes")                                                                              \
    X(BYTEARRAY, "bytearray")                                                                      \
    X(SET, "set")                                                                                  \
    X(FROZENSET, "frozenset")                                                                      \
    X(DEQUE, "collections.deque")                                                                  \
    X(ORDERED_DICT, "collections.OrderedDict")                                                     \
    X(DEFAULT_DICT, "collections.defaultdict")                                                     \
    X(COUNTER, "collections.Counter")                                                              \
    X(ARRAY, "array.array")                                                                        \
    X(DTYPE, "numpy.dtype")                                                                        \
    X(NDARRAY, "numpy.ndarray")                                                                    \
    X(SCALAR, "numpy scalar")

/* One constant for each line of ACHAR_SHAPES: ACHAR_SHAPE_NONE is 0, and so on. */
enum achar_shape {
#define ACHAR_SHAPE_ENUM(name, text) ACHAR_SHAPE_##name,
    ACHAR_SHAPES(ACHAR_SHAPE_ENUM)
#undef ACHAR_SHAPE_ENUM
};

/*
 * achar_shape() says which shape a value claims to be, by what is called; constant time.
 * ACHAR_SHAPE_NONE: none of these. The achar_as_…() function of that shape then looks at the rest
 * and may refuse. bytes, bytearrays, sets and frozensets that are values of their own kind count
 * too. Subclasses and enum members do not: see achar_as_member().
 */
ACHAR_API int achar_shape(achar_graph *graph, achar_value value);

/* achar_shape_name() is Python's name for a shape, "?" for no shape. Static storage. */
ACHAR_API const char *achar_shape_name(int shape);

/* ---- dates and times ---- */

/* A datetime.date. */
typedef struct achar_date {
    int year;  /* 1 to 9999 */
    int month; /* 1 to 12 */
    int day;   /* 1 to 31, as the month has them */
} achar_date;

/* A datetime.time. Hours are 0 to 23, minutes and seconds 0 to 59, microseconds 0 to 999999. */
typedef struct achar_time {
    int hour, minute, second, microsecond;
    int fold;              /* 1: the second time this reading appears on the clock */
    achar_value tzinfo;    /* ACHAR_NOTHING: naive; else any object, often one of the next two */
    int has_utc_offset;    /* 1: tzinfo is a datetime.timezone, and this is its offset: */
    int64_t utc_offset_us; /* microseconds, local minus UTC */
} achar_time;

/* A datetime.datetime, with the members of achar_date and achar_time. */
typedef struct achar_datetime {
    int year, month, day;
    int hour, minute, second, microsecond;
    int fold;
    achar_value tzinfo;
    int has_utc_offset;
    int64_t utc_offset_us;
} achar_datetime;

/* A datetime.timedelta: the sum of its members, of which only the days may be negative. */
typedef struct achar_timedelta {
    int64_t days;     /* -999999999 to 999999999 */
    int seconds;      /* 0 to 86399 */
    int microseconds; /* 0 to 999999 */
} achar_timedelta;

/* A datetime.timezone. */
typedef struct achar_timezone {
    int64_t utc_offset_us; /* less than 24 hours either way */
    const char *name;      /* NULL: none given */
    size_t name_nbytes;
} achar_timezone;

/*
 * achar_as_date(), achar_as_time(), achar_as_datetime(), achar_as_timedelta() and
 * achar_as_timezone() take apart what their structs are named after, with the results and errors
 * of all achar_as_…() functions (above).
 */
ACHAR_API int achar_as_date(achar_graph *graph, achar_value value, achar_date *out,
                            achar_error *error);
ACHAR_API int achar_as_time(achar_graph *graph, achar_value value, achar_time *out,
                            achar_error *error);
ACHAR_API int achar_as_datetime(achar_graph *graph, achar_value value, achar_datetime *out,
                                achar_error *error);
ACHAR_API int achar_as_timedelta(achar_graph *graph, achar_value value, achar_timedelta *out,
                                 achar_error *error);
ACHAR_API int achar_as_timezone(achar_graph *graph, achar_value value, achar_timezone *out,
                                achar_error *error);

/* achar_as_zoneinfo() is the key of a zoneinfo.ZoneInfo, such as "Europe/Berlin": '*key_nbytes'
 * bytes, the graph's. */
ACHAR_API int achar_as_zoneinfo(achar_graph *graph, achar_value value, const char **key,
                                size_t *key_nbytes, achar_error *error);

/* ---- numbers ---- */

/* What a Decimal is: a number, or one of those that are none. */
enum achar_decimal_kind {
    ACHAR_DECIMAL_FINITE,
    ACHAR_DECIMAL_INFINITY,
    ACHAR_DECIMAL_NAN,
    ACHAR_DECIMAL_SNAN,
};

/*
 * A decimal.Decimal. The number is ±whole.fraction × 10^exponent; either part may have no digits,
 * but not both. Of a NaN, 'whole' is the payload, often empty. 'text' is all of it, as str() gives
 * it.
 */
typedef struct achar_decimal {
    int kind; /* enum achar_decimal_kind */
    int negative;
    const char *text;
    size_t text_nbytes;
    const char *whole;
    size_t whole_nbytes;
    const char *fraction;
    size_t fraction_nbytes;
    int64_t exponent;
} achar_decimal;

/* A fractions.Fraction of integers of any size: ACHAR_INT or ACHAR_BIGINT. The denominator is
 * positive. */
typedef struct achar_fraction {
    achar_value numerator;
    achar_value denominator;
} achar_fraction;

/* A complex number. */
typedef struct achar_complex {
    double real;
    double imaginary;
} achar_complex;

/* A range of integers of any size; the step is not 0. */
typedef struct achar_range {
    achar_value start;
    achar_value stop;
    achar_value step;
} achar_range;

/* achar_as_decimal(), achar_as_fraction(), achar_as_complex() and achar_as_range() take apart what
 * their structs are named after. */
ACHAR_API int achar_as_decimal(achar_graph *graph, achar_value value, achar_decimal *out,
                               achar_error *error);
ACHAR_API int achar_as_fraction(achar_graph *graph, achar_value value, achar_fraction *out,
                                achar_error *error);
ACHAR_API int achar_as_complex(achar_graph *graph, achar_value value, achar_complex *out,
                               achar_error *error);
ACHAR_API int achar_as_range(achar_graph *graph, achar_value value, achar_range *out,
                             achar_error *error);

/* ---- identifiers ---- */

/* A UUID's 16 bytes, in the order in which it is written. */
typedef struct achar_uuid {
    unsigned char bytes[16];
} achar_uuid;

/* A path of pathlib. */
typedef struct achar_path {
    int windows;       /* 1: a WindowsPath or PureWindowsPath */
    int pure;          /* 1: one of the Pure… classes */
    achar_value parts; /* a tuple of str, to be joined as pathlib would; may be empty */
} achar_path;

/* A member of an enum: Class(value), or getattr(Class, name) as Python 3.11 writes it. */
typedef struct achar_member {
    achar_value type;  /* the class: an ACHAR_GLOBAL */
    achar_value value; /* the member's value; ACHAR_NOTHING when it is known by its name */
    achar_value name;  /* an ACHAR_STR; ACHAR_NOTHING when it is known by its value */
} achar_member;

/* achar_as_uuid() and achar_as_path() take apart what their structs are named after. */
ACHAR_API int achar_as_uuid(achar_graph *graph, achar_value value, achar_uuid *out,
                            achar_error *error);
ACHAR_API int achar_as_path(achar_graph *graph, achar_value value, achar_path *out,
                            achar_error *error);

/*
 * achar_as_member() takes apart what the program knows to be an enum's member. Nothing in a pickle
 * tells a member from any other object that is made from one value, so achar_shape() does not say
 * it: compare 'type' with the enum that you expect (achar_global_is()).
 */
ACHAR_API int achar_as_member(achar_graph *graph, achar_value value, achar_member *out,
                              achar_error *error);

/* ---- bytes and containers ---- */

/*
 * achar_as_bytes() is the contents of bytes or a bytearray however they were written: as a value,
 * as an out-of-band buffer, or as one of the calls that stand for them below protocols 3 and 5.
 */
ACHAR_API int achar_as_bytes(achar_graph *graph, achar_value value, const unsigned char **data,
                             size_t *nbytes, achar_error *error);

/*
 * What is in a set, frozenset, deque, OrderedDict, defaultdict or Counter; also in a plain list,
 * tuple or dict, so that one loop does for all:
 *
 *     achar_items items;
 *     achar_value key, value;
 *     status = achar_as_items(graph, value, &items, &error);
 *     while (status == ACHAR_OK && achar_next_item(&items, &key, &value))
 *         …
 *
 * As in a plain dict or set, equal keys and items may appear more than once: in Python the last
 * one of equal keys wins. Items and values come in the pickle's order.
 */
typedef struct achar_items {
    int shape;           /* enum achar_shape; ACHAR_SHAPE_NONE for a list, tuple or dict */
    int pairs;           /* 1: keys with values; 0: items */
    size_t count;        /* of pairs or items */
    achar_value factory; /* a defaultdict's; ACHAR_NOTHING if it has none */
    int64_t maxlen;      /* a deque's; -1 if it has none */
    struct {             /* the library's own */
        achar_graph *graph;
        achar_value source;
        size_t index;
        size_t change;
    } at;
} achar_items;

/* achar_as_items() begins a walk over 'value'. 'out' needs no freeing, and may be copied to walk
 * from there twice. Takes time for each change that the log has for the container, none for its
 * items. */
ACHAR_API int achar_as_items(achar_graph *graph, achar_value value, achar_items *out,
                             achar_error *error);

/* achar_next_item() moves on: 1 with the next key and value, or item in '*key' and ACHAR_NOTHING
 * in '*value' ('value' may be NULL); 0 at the end. The graph must not change in between. */
ACHAR_API int achar_next_item(achar_items *items, achar_value *key, achar_value *value);

/* ---- making them ---- */

/*
 * achar_make_date(), achar_make_time(), achar_make_datetime() and achar_make_timedelta() make what
 * the structs say; these are copied.
 *
 * Here and below, values out of range give ACHAR_E_NUMBER in the graph's status, text that is not
 * of its form ACHAR_E_TEXT, and a struct or text that is NULL ACHAR_E_INVALID. 'tzinfo' may be any object,
 * ACHAR_NOTHING for none; has_utc_offset and utc_offset_us are not looked at: give an
 * achar_make_timezone() as tzinfo instead.
 */
ACHAR_API achar_value achar_make_date(achar_graph *graph, const achar_date *date);
ACHAR_API achar_value achar_make_time(achar_graph *graph, const achar_time *time);
ACHAR_API achar_value achar_make_datetime(achar_graph *graph, const achar_datetime *datetime);
ACHAR_API achar_value achar_make_timedelta(achar_graph *graph, const achar_timedelta *timedelta);

/* achar_make_timezone() is a datetime.timezone from local time minus UTC in microseconds, less than
 * 24 hours either way; 'name' NULL: none. */
ACHAR_API achar_value achar_make_timezone(achar_graph *graph, int64_t utc_offset_us,
                                          const char *name);
/* achar_make_zoneinfo() is the zoneinfo.ZoneInfo of that key; that there is one, Python finds out.
 */
ACHAR_API achar_value achar_make_zoneinfo(achar_graph *graph, const char *key);

/* achar_make_decimal() is a Decimal from the text that str() gives of it: "1.10", "-0", "1E+5",
 * "Infinity", "NaN". */
ACHAR_API achar_value achar_make_decimal(achar_graph *graph, const char *text);

/* achar_make_fraction() is a Fraction of two ACHAR_INT or ACHAR_BIGINT, the denominator positive.
 */
ACHAR_API achar_value achar_make_fraction(achar_graph *graph, achar_value numerator,
                                          achar_value denominator);

/* achar_make_complex() is a complex, achar_make_range() a range, whose step is not 0,
 * achar_make_uuid() a uuid.UUID of 16 bytes in the order in which it is written (copied). */
ACHAR_API achar_value achar_make_complex(achar_graph *graph, double real, double imaginary);
ACHAR_API achar_value achar_make_range(achar_graph *graph, int64_t start, int64_t stop,
                                       int64_t step);
ACHAR_API achar_value achar_make_uuid(achar_graph *graph, const unsigned char bytes[16]);

/* achar_make_path() is pathlib.PurePosixPath(text), which every system can load. */
ACHAR_API achar_value achar_make_path(achar_graph *graph, const char *text);

/* achar_make_member() is the member of an enum, by its value: module.type(value). */
ACHAR_API achar_value achar_make_member(achar_graph *graph, const char *module, const char *type,
                                        achar_value value);

/*
 * achar_make_deque(), achar_make_ordered_dict(), achar_make_default_dict() and achar_make_counter()
 * are empty containers, to be filled with achar_append() (a deque) or achar_set() and achar_put()
 * (the others). 'maxlen' -1: none. 'factory' is a callable such as achar_make_global(graph,
 * "builtins", "list"), ACHAR_NOTHING for none. Sets: achar_make_set() in build.h.
 */
ACHAR_API achar_value achar_make_deque(achar_graph *graph, int64_t maxlen);
ACHAR_API achar_value achar_make_ordered_dict(achar_graph *graph);
ACHAR_API achar_value achar_make_default_dict(achar_graph *graph, achar_value factory);
ACHAR_API achar_value achar_make_counter(achar_graph *graph);

#ifdef __cplusplus
}
#endif
#endif
