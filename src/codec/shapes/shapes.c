/*
 * shapes.c - the names of what shapes are made of, and which shape a call of which makes.
 */
#include "codec/shapes/shapes.h"

#include <string.h>

/*
 * Per import: what a call of it is, and its names; the first is the one that achar writes. Some
 * modules moved: numpy.core (numpy 1) is numpy._core (2), pathlib is pathlib._local (Python 3.13).
 * Names of Python 2 are good in the protocols that Python 2 writes.
 */
static const struct {
    enum known known;
    int shape;
    bool python2;
    uint8_t name_nbytes;
    const char *module;
    const char *name;
} names[] = {
#define NAME(known, shape, python2, module, name)                                                  \
    {                                                                                              \
        KNOWN_##known, ACHAR_SHAPE_##shape, python2, sizeof(name) - 1, module, name                \
    }
    NAME(DATETIME, DATETIME, false, "datetime", "datetime"),
    NAME(DATE, DATE, false, "datetime", "date"),
    NAME(TIME, TIME, false, "datetime", "time"),
    NAME(TIMEDELTA, TIMEDELTA, false, "datetime", "timedelta"),
    NAME(TIMEZONE, TIMEZONE, false, "datetime", "timezone"),
    NAME(ZONEINFO, NONE, false, "zoneinfo", "ZoneInfo"),
    NAME(DECIMAL, DECIMAL, false, "decimal", "Decimal"),
    NAME(FRACTION, FRACTION, false, "fractions", "Fraction"),
    NAME(COMPLEX, COMPLEX, false, "builtins", "complex"),
    NAME(COMPLEX, COMPLEX, true, "__builtin__", "complex"),
    NAME(RANGE, RANGE, false, "builtins", "range"),
    NAME(RANGE, RANGE, true, "__builtin__", "xrange"),
    NAME(UUID, UUID, false, "uuid", "UUID"),
    NAME(POSIX_PATH, PATH, false, "pathlib", "PosixPath"),
    NAME(POSIX_PATH, PATH, false, "pathlib._local", "PosixPath"),
    NAME(WINDOWS_PATH, PATH, false, "pathlib", "WindowsPath"),
    NAME(WINDOWS_PATH, PATH, false, "pathlib._local", "WindowsPath"),
    NAME(PURE_POSIX_PATH, PATH, false, "pathlib", "PurePosixPath"),
    NAME(PURE_POSIX_PATH, PATH, false, "pathlib._local", "PurePosixPath"),
    NAME(PURE_WINDOWS_PATH, PATH, false, "pathlib", "PureWindowsPath"),
    NAME(PURE_WINDOWS_PATH, PATH, false, "pathlib._local", "PureWindowsPath"),
    NAME(BYTES, BYTES, false, "builtins", "bytes"),
    NAME(BYTES, BYTES, true, "__builtin__", "bytes"),
    NAME(BYTEARRAY, BYTEARRAY, false, "builtins", "bytearray"),
    NAME(BYTEARRAY, BYTEARRAY, true, "__builtin__", "bytearray"),
    NAME(SET, SET, false, "builtins", "set"),
    NAME(SET, SET, true, "__builtin__", "set"),
    NAME(FROZENSET, FROZENSET, false, "builtins", "frozenset"),
    NAME(FROZENSET, FROZENSET, true, "__builtin__", "frozenset"),
    NAME(DEQUE, DEQUE, false, "collections", "deque"),
    NAME(ORDERED_DICT, ORDERED_DICT, false, "collections", "OrderedDict"),
    NAME(DEFAULT_DICT, DEFAULT_DICT, false, "collections", "defaultdict"),
    NAME(COUNTER, COUNTER, false, "collections", "Counter"),
    NAME(ARRAY, ARRAY, false, "array", "array"),
    NAME(DTYPE, DTYPE, false, "numpy", "dtype"),
    NAME(NDARRAY, NDARRAY, false, "numpy", "ndarray"),
    NAME(FROMBUFFER, NDARRAY, false, "numpy.core.numeric", "_frombuffer"),
    NAME(FROMBUFFER, NDARRAY, false, "numpy._core.numeric", "_frombuffer"),
    NAME(SCALAR, SCALAR, false, "numpy.core.multiarray", "scalar"),
    NAME(SCALAR, SCALAR, false, "numpy._core.multiarray", "scalar"),
    /* What these make depends on their arguments. */
    NAME(RECONSTRUCTOR, NONE, false, "copyreg", "_reconstructor"),
    NAME(RECONSTRUCTOR, NONE, true, "copy_reg", "_reconstructor"),
    NAME(NEWOBJ, NONE, false, "copyreg", "__newobj__"),
    NAME(NEWOBJ, NONE, true, "copy_reg", "__newobj__"),
    NAME(RECONSTRUCT, NONE, false, "numpy.core.multiarray", "_reconstruct"),
    NAME(RECONSTRUCT, NONE, false, "numpy._core.multiarray", "_reconstruct"),
    NAME(ARRAY_RECONSTRUCTOR, NONE, false, "array", "_array_reconstructor"),
    NAME(ENCODE, NONE, false, "_codecs", "encode"),
    NAME(GETATTR, NONE, false, "builtins", "getattr"),
    NAME(GETATTR, NONE, true, "__builtin__", "getattr"),
    NAME(OBJECT, NONE, false, "builtins", "object"),
    NAME(OBJECT, NONE, true, "__builtin__", "object"),
#undef NAME
};

enum { NAMES_COUNT = sizeof names / sizeof *names };

const char *achar_shape_name(int shape)
{
    switch (shape) {
#define NAME(name, text)                                                                           \
    case ACHAR_SHAPE_##name:                                                                       \
        return text;
        ACHAR_SHAPES(NAME)
#undef NAME
    default:
        return "?";
    }
}

bool achar__is_old(const achar_graph *graph)
{
    int protocol = achar_protocol(graph);
    return protocol >= 0 && protocol < 3;
}

/* The row of 'names' that an import is, or NAMES_COUNT. */
static size_t find(achar_graph *graph, achar_value value)
{
    size_t name_nbytes, change;
    if (achar_kind(value) != ACHAR_GLOBAL)
        return NAMES_COUNT;
    const char *name = achar_text(achar_name(value), &name_nbytes);
    for (size_t i = 0; i < NAMES_COUNT; i++) {
        if (name_nbytes != names[i].name_nbytes || memcmp(name, names[i].name, name_nbytes) != 0 ||
            !achar_text_is(achar_module(value), names[i].module) ||
            (names[i].python2 && !achar__is_old(graph)))
            continue;
        bool changed =
            achar_first_change(graph, value, &change) != ACHAR_OK || change != ACHAR_NO_EFFECT;
        return changed ? (size_t)NAMES_COUNT : i;
    }
    return NAMES_COUNT;
}

enum known achar__known(achar_graph *graph, achar_value value)
{
    size_t row = find(graph, value);
    return row == NAMES_COUNT ? KNOWN_NONE : names[row].known;
}

/* getattr(zoneinfo.ZoneInfo, '_unpickle'), which makes one from its key. */
static bool makes_zoneinfo(achar_graph *graph, achar_value callable)
{
    achar_value arguments = achar_arguments(callable);
    return achar_call_form(callable) == ACHAR_CALL_REDUCE &&
           achar__known(graph, achar_callable(callable)) == KNOWN_GETATTR &&
           achar_count(arguments) == 2 &&
           achar__known(graph, achar_item(arguments, 0)) == KNOWN_ZONEINFO &&
           achar_text_is(achar_item(arguments, 1), "_unpickle");
}

static int shape_of_call(achar_graph *graph, achar_value call)
{
    achar_value callable = achar_callable(call);
    achar_value arguments = achar_arguments(call);
    if (achar_kind(callable) == ACHAR_CALL)
        return makes_zoneinfo(graph, callable) ? ACHAR_SHAPE_ZONEINFO : ACHAR_SHAPE_NONE;
    size_t row = find(graph, callable);
    if (row == NAMES_COUNT)
        return ACHAR_SHAPE_NONE;
    enum known first = KNOWN_NONE;
    switch (names[row].known) {
    case KNOWN_RECONSTRUCTOR:
    case KNOWN_NEWOBJ:
        first = achar__known(graph, achar_item(arguments, 0));
        return first == KNOWN_UUID ? ACHAR_SHAPE_UUID : ACHAR_SHAPE_NONE;
    case KNOWN_RECONSTRUCT:
        first = achar__known(graph, achar_item(arguments, 0));
        return first == KNOWN_NDARRAY ? ACHAR_SHAPE_NDARRAY : ACHAR_SHAPE_NONE;
    case KNOWN_ARRAY_RECONSTRUCTOR:
        first = achar__known(graph, achar_item(arguments, 0));
        return first == KNOWN_ARRAY ? ACHAR_SHAPE_ARRAY : ACHAR_SHAPE_NONE;
    case KNOWN_ENCODE:
        return achar_text_is(achar_item(arguments, 1), "latin1") ? ACHAR_SHAPE_BYTES
                                                                 : ACHAR_SHAPE_NONE;
    default:
        return names[row].shape;
    }
}

int achar_shape(achar_graph *graph, achar_value value)
{
    switch (achar_kind(value)) {
    case ACHAR_BYTES:
        return ACHAR_SHAPE_BYTES;
    case ACHAR_BYTEARRAY:
        return ACHAR_SHAPE_BYTEARRAY;
    case ACHAR_SET:
        return ACHAR_SHAPE_SET;
    case ACHAR_FROZENSET:
        return ACHAR_SHAPE_FROZENSET;
    case ACHAR_CALL:
        return shape_of_call(graph, value);
    default:
        return ACHAR_SHAPE_NONE;
    }
}

/* ---- making ---- */

achar_value achar__make_known(achar_graph *graph, enum known known)
{
    if (achar_graph_status(graph) != ACHAR_OK)
        return achar_nothing();
    achar_value *kept = achar__kept(graph, KEEP_IMPORT, achar_make_int(known));
    if (kept != NULL)
        return *kept;
    size_t row = 0;
    while (names[row].known != known || names[row].python2)
        row++;
    achar_value import = achar_make_global(graph, names[row].module, names[row].name);
    if (achar_kind(import) == ACHAR_NOTHING)
        return import;
    kept = achar__keep(graph, KEEP_IMPORT, achar_make_int(known), sizeof *kept);
    if (kept == NULL)
        return achar__make_fail(graph, achar__keep_status(graph));
    return *kept = import;
}

achar_value achar__call_known(achar_graph *graph, enum known known, const achar_value *arguments,
                              size_t count)
{
    return achar_make_call(graph, ACHAR_CALL_REDUCE, achar__make_known(graph, known),
                           achar_make_tuple(graph, arguments, count), achar_nothing());
}
