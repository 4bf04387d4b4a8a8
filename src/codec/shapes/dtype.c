/*
 * dtype.c - what the items of numpy's arrays are: dtypes as text, as calls in a graph, and the
 * items themselves.
 *
 * numpy writes a dtype as numpy.dtype('f8', False, True) with a state
 *
 *     (3, '<', subarray, names, fields, itemsize, alignment, flags)
 *
 * and for datetimes (4, …, flags, (metadata, (b'us', 25, 1, 1))), that is 25 microseconds.
 */
#include "codec/shapes/dtype.h"

#include <stdio.h>
#include <string.h>

#include "codec/text.h"

enum { ITEM_MAX_NBYTES = INT32_MAX }; /* numpy's itemsize is an int */

/* ---- as text ---- */

/* "f8" without byte order, to 'end'. */
static bool read_type(const char *at, const char *end, achar_dtype *out)
{
    uint64_t size = 0;
    if (at == end)
        return false;
    out->kind = *at++;
    bool sized = at != end;
    for (; at != end; at++) {
        if (*at < '0' || *at > '9' || size > ITEM_MAX_NBYTES)
            return false;
        size = size * 10 + (uint64_t)(*at - '0');
    }
    if (size > ITEM_MAX_NBYTES / 4)
        return false;
    out->item_nbytes = (size_t)size;
    switch (out->kind) {
    case 'b':
        return size == 1;
    case 'i':
    case 'u':
        return size == 1 || size == 2 || size == 4 || size == 8;
    case 'f':
        return size == 2 || size == 4 || size == 8 || size == 12 || size == 16;
    case 'c':
        return size == 8 || size == 16 || size == 24 || size == 32;
    case 'M':
    case 'm':
        return size == 8;
    case 'O': /* pointers, whatever their size was */
        out->item_nbytes = 8;
        return !sized || size == 4 || size == 8;
    case 'U':
        out->item_nbytes *= 4;
        return sized;
    case 'S':
    case 'V':
        return sized;
    default:
        return false;
    }
}

static bool has_order(const achar_dtype *dtype)
{
    return strchr("bSVO", dtype->kind) == NULL && dtype->item_nbytes > 1;
}

/* '<' or '>' where there is an order to have, '|' where not; false if that is not known. */
static bool set_order(achar_dtype *dtype, char order)
{
    if ((order != '<' && order != '>' && order != '|') || (has_order(dtype) && order == '|'))
        return false;
    dtype->order = has_order(dtype) ? order : '|';
    return true;
}

static bool is_unit(const char *unit, size_t nbytes)
{
    static const char units[][8] = {"Y",  "M",  "W",  "D",  "h",  "m",  "s",
                                    "ms", "us", "ns", "ps", "fs", "as", "generic"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i]) == nbytes && memcmp(units[i], unit, nbytes) == 0)
            return true;
    return false;
}

/* "[25us]", to the end; nothing at all is "generic". */
static bool read_unit(const char *at, achar_dtype *out)
{
    size_t nbytes = strlen(at);
    out->unit_count = 1;
    memcpy(out->unit, "generic", sizeof "generic");
    if (nbytes == 0)
        return true;
    if (nbytes < 3 || at[0] != '[' || at[nbytes - 1] != ']')
        return false;
    const char *end = at + nbytes - 1;
    uint64_t count = 0;
    for (at++; at != end && *at >= '0' && *at <= '9' && count <= INT32_MAX; at++)
        count = count * 10 + (uint64_t)(*at - '0');
    if (count > INT32_MAX || (count == 0 && at[-1] != '[') || !is_unit(at, (size_t)(end - at)))
        return false;
    memset(out->unit, 0, sizeof out->unit);
    memcpy(out->unit, at, (size_t)(end - at));
    out->unit_count = count == 0 ? 1 : (int)count;
    return true;
}

int achar_dtype_parse(const char *text, achar_dtype *out)
{
    achar_dtype dtype = {0};
    if (text == NULL || text[0] == '\0')
        return ACHAR_E_TEXT;
    const char *end = text + strlen(text);
    const char *bracket = strchr(text, '[');
    if (!read_type(text + 1, bracket == NULL ? end : bracket, &dtype) ||
        !set_order(&dtype, text[0]))
        return ACHAR_E_TEXT;
    bool has_unit = dtype.kind == 'M' || dtype.kind == 'm';
    if (has_unit ? !read_unit(bracket == NULL ? end : bracket, &dtype) : bracket != NULL)
        return ACHAR_E_TEXT;
    *out = dtype;
    return ACHAR_OK;
}

/* "f8", or for the pickle's sake "O8". */
static size_t format_type(const achar_dtype *dtype, char *out, size_t nbytes)
{
    size_t size = dtype->kind == 'U' ? dtype->item_nbytes / 4 : dtype->item_nbytes;
    return (size_t)snprintf(out, nbytes, "%c%zu", dtype->kind, size);
}

size_t achar_dtype_format(const achar_dtype *dtype, char out[ACHAR_DTYPE_TEXT_NBYTES])
{
    out[0] = dtype->order;
    size_t used = 1 + format_type(dtype, out + 1, ACHAR_DTYPE_TEXT_NBYTES - 1);
    if (dtype->kind == 'O')
        out[used = 2] = '\0';
    if ((dtype->kind != 'M' && dtype->kind != 'm') || strcmp(dtype->unit, "generic") == 0)
        return used;
    char count[16] = "";
    if (dtype->unit_count != 1)
        snprintf(count, sizeof count, "%d", dtype->unit_count);
    return used + (size_t)snprintf(out + used, ACHAR_DTYPE_TEXT_NBYTES - used, "[%s%.7s]", count,
                                   dtype->unit);
}

/* ---- in a graph ---- */

/* (metadata, (b'us', count, 1, 1)) */
static int read_metadata(const look *l, achar_value metadata, achar_dtype *out)
{
    const unsigned char *unit;
    size_t unit_nbytes;
    achar_value parts = achar_item(metadata, 1);
    if (achar_kind(metadata) != ACHAR_TUPLE || achar_count(metadata) != 2 ||
        achar_kind(parts) != ACHAR_TUPLE || achar_count(parts) != 4 ||
        !is_between(achar_item(parts, 1), 1, INT32_MAX) ||
        !is_between(achar_item(parts, 2), 1, 1) || !is_between(achar_item(parts, 3), 1, 1))
        return achar__refuse(l, ACHAR_E_SHAPE, "its unit of time is not in the form of one");
    int status =
        achar__payload(l, achar_item(parts, 0), true, "its unit of time", &unit, &unit_nbytes);
    if (status != ACHAR_OK)
        return status;
    if (!is_unit((const char *)unit, unit_nbytes))
        return achar__refuse(l, ACHAR_E_SHAPE, "its unit of time is none");
    memset(out->unit, 0, sizeof out->unit);
    memcpy(out->unit, unit, unit_nbytes);
    out->unit_count = (int)achar_int64(achar_item(parts, 1));
    return ACHAR_OK;
}

static int read_state(const look *l, achar_value state, achar_dtype *dtype)
{
    enum { VERSION, ORDER, SUBARRAY, NAMES, FIELDS, ITEMSIZE, ALIGNMENT, FLAGS, METADATA };
    size_t order_nbytes, count = achar_count(state);
    const char *order = achar__look_text(l, achar_item(state, ORDER), &order_nbytes);
    achar_value size = achar_item(state, ITEMSIZE);
    bool has_unit = dtype->kind == 'M' || dtype->kind == 'm';
    bool plain = is_between(achar_item(state, VERSION), 3, 4) &&
                 count == (size_t)(FLAGS + 1) + (achar_int64(achar_item(state, VERSION)) == 4);
    if (!plain || order == NULL || order_nbytes != 1)
        return achar__refuse(l, ACHAR_E_SHAPE, "its state is not in the form of one");
    if (achar_kind(achar_item(state, SUBARRAY)) != ACHAR_NONE)
        return achar__refuse(l, ACHAR_E_UNSUPPORTED, "of items that are arrays themselves");
    if (achar_kind(achar_item(state, NAMES)) != ACHAR_NONE ||
        achar_kind(achar_item(state, FIELDS)) != ACHAR_NONE)
        return achar__refuse(l, ACHAR_E_UNSUPPORTED, "of items with fields");
    if (!set_order(dtype, *order))
        return achar__refuse(l, ACHAR_E_SHAPE, "its byte order is not known");
    if (!is_between(size, -1, INT32_MAX) ||
        (achar_int64(size) != -1 && (uint64_t)achar_int64(size) != dtype->item_nbytes))
        return achar__refuse(l, ACHAR_E_SHAPE, "of two sizes");
    if (!has_unit)
        return ACHAR_OK;
    if (count <= METADATA)
        return achar__refuse(l, ACHAR_E_SHAPE, "without a unit of time");
    return read_metadata(l, achar_item(state, METADATA), dtype);
}

int achar__dtype_read(achar_graph *graph, achar_value value, size_t before, achar_dtype *out,
                      achar_error *error)
{
    look l;
    achar_dtype dtype = {0};
    achar_value state;
    size_t entry, type_nbytes;
    int status = achar__look(&l, graph, value, ACHAR_SHAPE_DTYPE, error);
    if (status == ACHAR_OK)
        status = achar__look_count(&l, 3, 3);
    if (status == ACHAR_OK)
        status = achar__look_state(&l, ACHAR_TUPLE, &state, &entry);
    if (status != ACHAR_OK)
        return status;
    if (entry >= before)
        return achar__refuse(&l, ACHAR_E_SHAPE, "changed after it was used");
    const char *type = achar__look_text(&l, look_argument(&l, 0), &type_nbytes);
    if (type == NULL && achar_kind(look_argument(&l, 0)) >= ACHAR_GLOBAL)
        return achar__refuse(&l, ACHAR_E_UNSUPPORTED, "of items of a class");
    if (type == NULL || !read_type(type, type + type_nbytes, &dtype))
        return achar__refuse(&l, ACHAR_E_SHAPE, "of items that are not known");
    status = read_state(&l, state, &dtype);
    if (status == ACHAR_OK)
        *out = dtype;
    return status;
}

int achar_as_dtype(achar_graph *graph, achar_value value, achar_dtype *out, achar_error *error)
{
    return achar__dtype_read(graph, value, ACHAR_NO_EFFECT, out, error);
}

/* What tells dtypes apart, in two words. */
static achar_value key_of(const achar_dtype *dtype)
{
    achar_value key = {.meta = (uint64_t)(unsigned char)dtype->kind |
                               (uint64_t)(unsigned char)dtype->order << 8 |
                               (uint64_t)(uint32_t)dtype->unit_count << 16};
    key.as.word = dtype->item_nbytes;
    if (dtype->unit[0] != '\0')
        memcpy(&key.as.word, dtype->unit, sizeof dtype->unit);
    return key;
}

achar_value achar__dtype_make(achar_graph *graph, const achar_dtype *dtype)
{
    char type[ACHAR_DTYPE_TEXT_NBYTES];
    if (achar_graph_status(graph) != ACHAR_OK)
        return achar_nothing();
    achar_value *kept = achar__kept(graph, KEEP_DTYPE, key_of(dtype));
    if (kept != NULL)
        return *kept;

    format_type(dtype, type, sizeof type);
    achar_value arguments[3] = {achar_make_str(graph, type), achar_make_bool(0),
                                achar_make_bool(1)};
    achar_value made = achar__call_known(graph, KNOWN_DTYPE, arguments, 3);
    bool has_unit = dtype->unit[0] != '\0';
    bool sized = strchr("SUV", dtype->kind) != NULL;
    int64_t flags = dtype->kind == 'O' ? 63 : dtype->kind == 'U' ? 8 : 0;
    achar_value none = achar_make_none();
    achar_value unit[4] = {none, achar_make_int(dtype->unit_count), achar_make_int(1),
                           achar_make_int(1)};
    achar_value metadata[2] = {none, none};
    if (has_unit) {
        unit[0] = achar_make_bytes(graph, dtype->unit, strnlen(dtype->unit, sizeof dtype->unit));
        metadata[1] = achar_make_tuple(graph, unit, 4);
    }
    achar_value state[9] = {
        achar_make_int(has_unit ? 4 : 3),
        achar_make_text(graph, &dtype->order, 1),
        none,
        none,
        none,
        achar_make_int(sized ? (int64_t)dtype->item_nbytes : -1),
        achar_make_int(!sized               ? -1
                       : dtype->kind == 'U' ? 4
                                            : 1),
        achar_make_int(flags),
        has_unit ? achar_make_tuple(graph, metadata, 2) : none,
    };
    achar_build(graph, made, achar_make_tuple(graph, state, has_unit ? 9 : 8));
    if (achar_graph_status(graph) != ACHAR_OK)
        return achar_nothing();
    kept = achar__keep(graph, KEEP_DTYPE, key_of(dtype), sizeof *kept);
    if (kept == NULL)
        return achar__make_fail(graph, achar__keep_status(graph));
    return *kept = made;
}

/* ---- items ---- */

/* 'nbytes' (1 to 8) as an unsigned number. */
static uint64_t load(const achar_dtype *dtype, const void *at, size_t nbytes)
{
    const unsigned char *bytes = at;
    uint64_t word = 0;
    for (size_t i = 0; i < nbytes; i++)
        word = word << 8 | bytes[dtype->order == '>' ? i : nbytes - 1 - i];
    return word;
}

static double half_to_double(uint64_t half)
{
    uint64_t sign = (half >> 15 & 1) << 63, exponent = half >> 10 & 31, fraction = half & 1023;
    double value;
    if (exponent == 0) { /* zero, or too small for an exponent: units of 2^-24 */
        value = (double)fraction / 16777216;
        return sign ? -value : value;
    }
    exponent = exponent == 31 ? 2047 : exponent - 15 + 1023;
    uint64_t word = sign | exponent << 52 | fraction << 42;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* A float of 2, 4 or 8 bytes. */
static double load_float(const achar_dtype *dtype, const void *at, size_t nbytes)
{
    uint64_t word = load(dtype, at, nbytes);
    uint32_t half_word = (uint32_t)word;
    float single;
    double value;
    if (nbytes == 2)
        return half_to_double(word);
    if (nbytes == 4) {
        memcpy(&single, &half_word, sizeof single);
        return single;
    }
    memcpy(&value, &word, sizeof value);
    return value;
}

int achar_item_int64(const achar_dtype *dtype, const void *at, int64_t *out)
{
    if (dtype->kind == '\0' || strchr("biuMm", dtype->kind) == NULL)
        return ACHAR_E_TYPE;
    uint64_t word = load(dtype, at, dtype->item_nbytes);
    int unused_bits = 64 - 8 * (int)dtype->item_nbytes;
    if (dtype->kind == 'u' && word > INT64_MAX)
        return ACHAR_E_NUMBER;
    if (dtype->kind == 'b')
        *out = word != 0;
    else if (dtype->kind == 'u')
        *out = (int64_t)word;
    else
        *out = (int64_t)(word << unused_bits) >> unused_bits;
    return ACHAR_OK;
}

int achar_item_double(const achar_dtype *dtype, const void *at, double *out)
{
    int64_t integer;
    if (dtype->kind == 'u') {
        *out = (double)load(dtype, at, dtype->item_nbytes);
        return ACHAR_OK;
    }
    if (dtype->kind == 'b' || dtype->kind == 'i') {
        achar_item_int64(dtype, at, &integer);
        *out = (double)integer;
        return ACHAR_OK;
    }
    if (dtype->kind != 'f' || dtype->item_nbytes > sizeof(double))
        return ACHAR_E_TYPE;
    *out = load_float(dtype, at, dtype->item_nbytes);
    return ACHAR_OK;
}

int achar_item_complex(const achar_dtype *dtype, const void *at, achar_complex *out)
{
    size_t half = dtype->item_nbytes / 2;
    if (dtype->kind != 'c' || half > sizeof(double))
        return ACHAR_E_TYPE;
    out->real = load_float(dtype, at, half);
    out->imaginary = load_float(dtype, (const unsigned char *)at + half, half);
    return ACHAR_OK;
}

size_t achar_item_text(const achar_dtype *dtype, const void *at, char *out, size_t out_nbytes)
{
    const unsigned char *bytes = at;
    size_t width = dtype->kind == 'U' ? (dtype->item_nbytes == 2 ? 2 : 4) : 1;
    size_t count = dtype->item_nbytes / width, used = 0, encoded_nbytes;
    uint8_t encoded[4];
    if (dtype->kind != 'U' && dtype->kind != 'S')
        count = 0;
    while (count != 0 && load(dtype, bytes + (count - 1) * width, width) == 0)
        count--;
    for (size_t i = 0; i < count; i++) {
        uint64_t code = load(dtype, bytes + i * width, width);
        if (code > 0x10ffff)
            code = 0xfffd;
        encoded[0] = (uint8_t)code;
        encoded_nbytes = dtype->kind == 'S' ? 1 : achar__utf8_encode((uint32_t)code, encoded);
        if (used + encoded_nbytes <= out_nbytes)
            memcpy(out + used, encoded, encoded_nbytes);
        used += encoded_nbytes;
    }
    return used;
}
