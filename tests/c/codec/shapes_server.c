/*
 * shapes_server.c - a server for tests in Python: what the shapes in a pickle are, and the same
 * shapes made anew.
 *
 * Requests on stdin:  mode, 'd' or 'r' (1 byte), protocol (1), encoding (1), number of out-of-band
 *                     buffers (1), the size of each (8, little-endian) and its data; the pickle's
 *                     size (8) and the pickle.
 * Answers on stdout:  0 (1 byte), size (8), then for 'd' a Python expression that
 *                     tests/codec/test_shapes.py evaluates, for 'r' a pickle of what was taken
 *                     apart with achar_as_…() and made again with achar_make_…(); or
 *                     1, size, "code message".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <achar/achar.h>

enum { MAX_DEPTH = 50 };

typedef struct server {
    achar_graph *graph;
    achar_graph *made; /* for 'r' */
    FILE *out;         /* for 'd' */
    achar_error error;
    int status;
} server;

/* ---- describing ---- */

static void describe(server *s, achar_value value, int depth);

static void hex(server *s, const char *function, const void *data, size_t nbytes)
{
    fprintf(s->out, "%s('", function);
    for (size_t i = 0; i < nbytes; i++)
        fprintf(s->out, "%02x", ((const unsigned char *)data)[i]);
    fprintf(s->out, "')");
}

static void integer(server *s, achar_value value)
{
    achar_bytes decimal;
    int status = achar_int_decimal(value, NULL, &decimal);
    if (status != ACHAR_OK)
        s->status = status;
    else
        fprintf(s->out, "%s", (const char *)decimal.data);
    achar_bytes_free(&decimal, NULL);
}

static void real(server *s, double number)
{
    fprintf(s->out, "float.fromhex('%a')", number);
}

static void clock_fields(server *s, int hour, int minute, int second, int microsecond, int fold,
                         achar_value tzinfo, int has_offset, int64_t offset_us, int depth)
{
    fprintf(s->out, "%d,%d,%d,%d,%d,", hour, minute, second, microsecond, fold);
    describe(s, tzinfo, depth);
    if (has_offset)
        fprintf(s->out, ",%lld", (long long)offset_us);
    else
        fprintf(s->out, ",None");
    fprintf(s->out, ")");
}

static void dtype_text(server *s, const achar_dtype *dtype)
{
    char text[ACHAR_DTYPE_TEXT_NBYTES];
    achar_dtype again;
    achar_dtype_format(dtype, text);
    if (achar_dtype_parse(text, &again) != ACHAR_OK || memcmp(&again, dtype, sizeof again) != 0)
        s->status = ACHAR_E_INVALID;
    fprintf(s->out, "'%s'", text);
}

static void item(server *s, const achar_dtype *dtype, const void *at)
{
    int64_t number;
    double real_number;
    achar_complex complex_number;
    char text[4096];
    uint64_t unsigned_number = 0;
    if (dtype->kind == 'S' || dtype->kind == 'U') {
        size_t nbytes = achar_item_text(dtype, at, text, sizeof text);
        hex(s, dtype->kind == 'S' ? "B" : "S", text, nbytes);
    } else if (achar_item_int64(dtype, at, &number) == ACHAR_OK) {
        fprintf(s->out, "%lld", (long long)number);
    } else if (dtype->kind == 'u') { /* beyond int64_t */
        for (size_t i = 0; i < dtype->item_nbytes; i++)
            unsigned_number =
                unsigned_number << 8 |
                ((const uint8_t *)at)[dtype->order == '>' ? i : dtype->item_nbytes - 1 - i];
        fprintf(s->out, "%llu", (unsigned long long)unsigned_number);
    } else if (achar_item_double(dtype, at, &real_number) == ACHAR_OK) {
        real(s, real_number);
    } else if (achar_item_complex(dtype, at, &complex_number) == ACHAR_OK) {
        fprintf(s->out, "complex(");
        real(s, complex_number.real);
        fprintf(s->out, ",");
        real(s, complex_number.imaginary);
        fprintf(s->out, ")");
    } else {
        hex(s, "B", at, dtype->item_nbytes);
    }
}

static void ndarray(server *s, const achar_ndarray *array, int depth)
{
    fprintf(s->out, "ndarray(");
    dtype_text(s, &array->dtype);
    fprintf(s->out, ",(");
    for (size_t i = 0; i < array->ndim; i++)
        fprintf(s->out, "%zu,", array->shape[i]);
    fprintf(s->out, "),(");
    for (size_t i = 0; i < array->ndim; i++)
        fprintf(s->out, "%zu,", array->strides[i]);
    fprintf(s->out, "),[");
    for (size_t i = 0; i < array->count; i++) {
        const void *at = achar_ndarray_item(array, i);
        if (at != NULL)
            item(s, &array->dtype, at);
        else
            describe(s, achar_item(array->objects, i), depth + 1);
        fprintf(s->out, ",");
    }
    fprintf(s->out, "])");
    if (achar_ndarray_item(array, array->count) != NULL)
        s->status = ACHAR_E_INVALID;
}

/* Declares 'name' and calls achar_as_…(); where it fails, that is what the server answers. */
#define TAKE(name, type, result)                                                                   \
    achar_##type name;                                                                             \
    s->status = achar_as_##type(s->graph, value, &name, &s->error);                                \
    if (s->status != ACHAR_OK)                                                                     \
    return result

static void describe_time(server *s, achar_value value, int depth)
{
    if (achar_shape(s->graph, value) == ACHAR_SHAPE_TIME) {
        TAKE(t, time, );
        fprintf(s->out, "time(");
        clock_fields(s, t.hour, t.minute, t.second, t.microsecond, t.fold, t.tzinfo,
                     t.has_utc_offset, t.utc_offset_us, depth);
    } else {
        TAKE(t, datetime, );
        fprintf(s->out, "datetime(%d,%d,%d,", t.year, t.month, t.day);
        clock_fields(s, t.hour, t.minute, t.second, t.microsecond, t.fold, t.tzinfo,
                     t.has_utc_offset, t.utc_offset_us, depth);
    }
}

static void describe_decimal(server *s, achar_value value)
{
    static const char *const kinds[] = {"", "Infinity", "NaN", "sNaN"};
    TAKE(d, decimal, );
    fprintf(s->out, "decimal('%.*s','%s%.*s%s%.*s',%lld)", (int)d.text_nbytes, d.text,
            d.negative ? "-" : "", (int)d.whole_nbytes, d.whole, d.fraction_nbytes ? "." : "",
            (int)d.fraction_nbytes, d.fraction, (long long)d.exponent);
    if (d.kind != ACHAR_DECIMAL_FINITE)
        fprintf(s->out, "[%s]", kinds[d.kind]);
}

static void describe_path(server *s, achar_value value, int depth)
{
    TAKE(p, path, );
    fprintf(s->out, "path(%d,%d,", p.windows, p.pure);
    describe(s, p.parts, depth);
    fprintf(s->out, ")");
}

static void describe_items(server *s, achar_value value, int depth)
{
    static const char *const names[] = {
        [ACHAR_SHAPE_SET] = "set",
        [ACHAR_SHAPE_FROZENSET] = "frozenset",
        [ACHAR_SHAPE_DEQUE] = "deque",
        [ACHAR_SHAPE_ORDERED_DICT] = "OrderedDict",
        [ACHAR_SHAPE_DEFAULT_DICT] = "defaultdict",
        [ACHAR_SHAPE_COUNTER] = "Counter",
    };
    achar_value key, under;
    size_t count = 0;
    TAKE(items, items, );
    int kind = achar_kind(value);
    const char *name = items.shape != ACHAR_SHAPE_NONE ? names[items.shape]
                       : kind == ACHAR_LIST            ? "list"
                       : kind == ACHAR_TUPLE           ? "tuple"
                                                       : "dict";
    fprintf(s->out, "items(%s,[", name);
    while (s->status == ACHAR_OK && achar_next_item(&items, &key, &under)) {
        fprintf(s->out, items.pairs ? "(" : "");
        describe(s, key, depth + 1);
        if (items.pairs) {
            fprintf(s->out, ",");
            describe(s, under, depth + 1);
        }
        fprintf(s->out, items.pairs ? ")," : ",");
        count++;
    }
    if (s->status == ACHAR_OK && count != items.count)
        s->status = ACHAR_E_INVALID;
    fprintf(s->out, "],");
    describe(s, items.factory, depth);
    fprintf(s->out, ",%lld)", (long long)items.maxlen);
}

static void describe_array(server *s, achar_value value)
{
    TAKE(a, array, );
    fprintf(s->out, "array('%c','%c%zu',[", a.typecode, a.dtype.kind, a.dtype.item_nbytes);
    for (size_t i = 0; i < a.count; i++) {
        item(s, &a.dtype, a.data + i * a.dtype.item_nbytes);
        fprintf(s->out, ",");
    }
    fprintf(s->out, "])");
}

static void describe_scalar(server *s, achar_value value, int depth)
{
    TAKE(scalar, scalar, );
    fprintf(s->out, "scalar(");
    dtype_text(s, &scalar.dtype);
    fprintf(s->out, ",");
    if (scalar.data != NULL)
        item(s, &scalar.dtype, scalar.data);
    else
        describe(s, scalar.object, depth);
    fprintf(s->out, ")");
}

static void describe_shape(server *s, achar_value value, int shape, int depth)
{
    const unsigned char *data;
    const char *text;
    size_t nbytes;
    switch (shape) {
    case ACHAR_SHAPE_DATETIME:
    case ACHAR_SHAPE_TIME:
        describe_time(s, value, depth);
        return;
    case ACHAR_SHAPE_DATE: {
        TAKE(d, date, );
        fprintf(s->out, "date(%d,%d,%d)", d.year, d.month, d.day);
        return;
    }
    case ACHAR_SHAPE_TIMEDELTA: {
        TAKE(d, timedelta, );
        fprintf(s->out, "timedelta(%lld,%d,%d)", (long long)d.days, d.seconds, d.microseconds);
        return;
    }
    case ACHAR_SHAPE_TIMEZONE: {
        TAKE(z, timezone, );
        fprintf(s->out, "timezone(%lld,", (long long)z.utc_offset_us);
        if (z.name == NULL)
            fprintf(s->out, "None");
        else
            hex(s, "S", z.name, z.name_nbytes);
        fprintf(s->out, ")");
        return;
    }
    case ACHAR_SHAPE_ZONEINFO:
        s->status = achar_as_zoneinfo(s->graph, value, &text, &nbytes, &s->error);
        if (s->status == ACHAR_OK)
            fprintf(s->out, "zoneinfo('%.*s')", (int)nbytes, text);
        return;
    case ACHAR_SHAPE_DECIMAL:
        describe_decimal(s, value);
        return;
    case ACHAR_SHAPE_FRACTION: {
        TAKE(f, fraction, );
        fprintf(s->out, "fraction(");
        integer(s, f.numerator);
        fprintf(s->out, ",");
        integer(s, f.denominator);
        fprintf(s->out, ")");
        return;
    }
    case ACHAR_SHAPE_COMPLEX: {
        TAKE(c, complex, );
        fprintf(s->out, "complex(");
        real(s, c.real);
        fprintf(s->out, ",");
        real(s, c.imaginary);
        fprintf(s->out, ")");
        return;
    }
    case ACHAR_SHAPE_RANGE: {
        TAKE(r, range, );
        fprintf(s->out, "range(");
        integer(s, r.start);
        fprintf(s->out, ",");
        integer(s, r.stop);
        fprintf(s->out, ",");
        integer(s, r.step);
        fprintf(s->out, ")");
        return;
    }
    case ACHAR_SHAPE_UUID: {
        TAKE(u, uuid, );
        hex(s, "uuid", u.bytes, sizeof u.bytes);
        return;
    }
    case ACHAR_SHAPE_PATH:
        describe_path(s, value, depth);
        return;
    case ACHAR_SHAPE_BYTES:
    case ACHAR_SHAPE_BYTEARRAY:
        s->status = achar_as_bytes(s->graph, value, &data, &nbytes, &s->error);
        if (s->status == ACHAR_OK)
            hex(s, shape == ACHAR_SHAPE_BYTES ? "B" : "bytearray.fromhex", data, nbytes);
        return;
    case ACHAR_SHAPE_ARRAY:
        describe_array(s, value);
        return;
    case ACHAR_SHAPE_DTYPE: {
        TAKE(d, dtype, );
        fprintf(s->out, "dtype(");
        dtype_text(s, &d);
        fprintf(s->out, ")");
        return;
    }
    case ACHAR_SHAPE_NDARRAY: {
        TAKE(a, ndarray, );
        ndarray(s, &a, depth);
        return;
    }
    case ACHAR_SHAPE_SCALAR:
        describe_scalar(s, value, depth);
        return;
    default:
        describe_items(s, value, depth);
    }
}

static void describe_call(server *s, achar_value value, int depth)
{
    achar_member m;
    s->status = achar_as_member(s->graph, value, &m, &s->error);
    if (s->status != ACHAR_OK)
        return;
    fprintf(s->out, "member(");
    describe(s, m.type, depth);
    fprintf(s->out, ",");
    describe(s, m.value, depth);
    fprintf(s->out, ",");
    describe(s, m.name, depth);
    fprintf(s->out, ")");
}

static void describe(server *s, achar_value value, int depth)
{
    size_t nbytes;
    if (s->status != ACHAR_OK)
        return;
    if (depth > MAX_DEPTH) {
        s->status = ACHAR_E_LIMIT;
        return;
    }
    int shape = achar_shape(s->graph, value);
    if (shape != ACHAR_SHAPE_NONE) {
        describe_shape(s, value, shape, depth + 1);
        return;
    }
    switch (achar_kind(value)) {
    case ACHAR_NOTHING:
    case ACHAR_NONE:
        fprintf(s->out, "None");
        break;
    case ACHAR_BOOL:
        fprintf(s->out, achar_bool(value) ? "True" : "False");
        break;
    case ACHAR_INT:
    case ACHAR_BIGINT:
        integer(s, value);
        break;
    case ACHAR_FLOAT:
        real(s, achar_float(value));
        break;
    case ACHAR_STR: {
        const char *text = achar_text(value, &nbytes);
        hex(s, "S", text, nbytes);
        break;
    }
    case ACHAR_GLOBAL: {
        size_t name_nbytes;
        const char *module = achar_text(achar_module(value), &nbytes);
        const char *name = achar_text(achar_name(value), &name_nbytes);
        fprintf(s->out, "named('%.*s','%.*s')", (int)nbytes, module, (int)name_nbytes, name);
        break;
    }
    case ACHAR_CALL:
        describe_call(s, value, depth + 1);
        break;
    case ACHAR_PERSISTENT:
        fprintf(s->out, "persistent(");
        describe(s, achar_persistent_id(value), depth + 1);
        fprintf(s->out, ")");
        break;
    case ACHAR_EXTENSION:
        fprintf(s->out, "extension(%lld)", (long long)achar_extension_code(value));
        break;
    case ACHAR_BUFFER: {
        const unsigned char *data = achar_data(value, &nbytes);
        fprintf(s->out, "buffer(%zu,%d,", achar_buffer_index(value), achar_buffer_readonly(value));
        if (data == NULL)
            fprintf(s->out, "None");
        else
            hex(s, "B", data, nbytes);
        fprintf(s->out, ")");
        break;
    }
    default:
        describe_items(s, value, depth + 1);
    }
}

/* ---- making anew ---- */

static achar_value again(server *s, achar_value value, int depth);

static achar_value again_time(server *s, achar_value value, int shape, int depth)
{
    if (shape == ACHAR_SHAPE_TIME) {
        TAKE(t, time, achar_nothing());
        t.tzinfo = again(s, t.tzinfo, depth);
        return achar_make_time(s->made, &t);
    }
    TAKE(t, datetime, achar_nothing());
    t.tzinfo = again(s, t.tzinfo, depth);
    return achar_make_datetime(s->made, &t);
}

static achar_value empty(server *s, achar_value value, const achar_items *items, int depth)
{
    switch (items->shape) {
    case ACHAR_SHAPE_SET:
        return achar_make_set(s->made);
    case ACHAR_SHAPE_DEQUE:
        return achar_make_deque(s->made, items->maxlen);
    case ACHAR_SHAPE_ORDERED_DICT:
        return achar_make_ordered_dict(s->made);
    case ACHAR_SHAPE_DEFAULT_DICT:
        return achar_make_default_dict(s->made, again(s, items->factory, depth));
    case ACHAR_SHAPE_COUNTER:
        return achar_make_counter(s->made);
    default:
        return achar_kind(value) == ACHAR_DICT ? achar_make_dict(s->made)
                                               : achar_make_list(s->made);
    }
}

static achar_value again_items(server *s, achar_value value, int depth)
{
    achar_value key, under, made;
    TAKE(items, items, achar_nothing());
    if (achar_kind(value) == ACHAR_TUPLE || items.shape == ACHAR_SHAPE_FROZENSET) {
        achar_value *all = calloc(items.count + 1, sizeof *all);
        for (size_t i = 0; achar_next_item(&items, &key, NULL); i++)
            all[i] = again(s, key, depth);
        made = items.shape == ACHAR_SHAPE_FROZENSET
                   ? achar_make_frozenset(s->made, all, items.count)
                   : achar_make_tuple(s->made, all, items.count);
        free(all);
        return made;
    }
    made = empty(s, value, &items, depth);
    while (achar_next_item(&items, &key, &under)) {
        key = again(s, key, depth);
        if (items.pairs)
            achar_set(s->made, made, key, again(s, under, depth));
        else if (items.shape == ACHAR_SHAPE_SET)
            achar_add(s->made, made, key);
        else
            achar_append(s->made, made, key);
    }
    return made;
}

static achar_value again_ndarray(server *s, achar_value value, int depth)
{
    char text[ACHAR_DTYPE_TEXT_NBYTES];
    TAKE(a, ndarray, achar_nothing());
    achar_dtype_format(&a.dtype, text);
    if (a.dtype.kind == 'O') {
        achar_value list = achar_make_list(s->made);
        for (size_t i = 0; i < a.count; i++)
            achar_append(s->made, list, again(s, achar_item(a.objects, i), depth));
        return achar_make_ndarray(s->made, text, a.shape, a.ndim, 0, list);
    }
    unsigned char *in_order = malloc(a.data_nbytes + 1);
    for (size_t i = 0; i < a.count; i++)
        memcpy(in_order + i * a.dtype.item_nbytes, achar_ndarray_item(&a, i), a.dtype.item_nbytes);
    achar_value data = achar_make_bytes(s->made, in_order, a.data_nbytes);
    free(in_order);
    return achar_make_ndarray(s->made, text, a.shape, a.ndim, 0, data);
}

static achar_value again_integer(server *s, achar_value value)
{
    size_t nbytes;
    const unsigned char *data = achar_int_bytes(value, &nbytes);
    return data == NULL ? value : achar_make_int_bytes(s->made, data, nbytes);
}

static achar_value again_decimal(server *s, achar_value value)
{
    TAKE(d, decimal, achar_nothing());
    char *text = strndup(d.text, d.text_nbytes);
    achar_value made = achar_make_decimal(s->made, text);
    free(text);
    return made;
}

static achar_value again_timezone(server *s, achar_value value)
{
    TAKE(z, timezone, achar_nothing());
    char *name = z.name == NULL ? NULL : strndup(z.name, z.name_nbytes);
    achar_value made = achar_make_timezone(s->made, z.utc_offset_us, name);
    free(name);
    return made;
}

static achar_value again_zoneinfo(server *s, achar_value value)
{
    const char *text;
    size_t nbytes;
    char key[256];
    s->status = achar_as_zoneinfo(s->graph, value, &text, &nbytes, &s->error);
    if (s->status != ACHAR_OK)
        return achar_nothing();
    snprintf(key, sizeof key, "%.*s", (int)nbytes, text);
    return achar_make_zoneinfo(s->made, key);
}

static achar_value again_shape(server *s, achar_value value, int shape, int depth)
{
    const unsigned char *data;
    size_t nbytes;
    switch (shape) {
    case ACHAR_SHAPE_DATETIME:
    case ACHAR_SHAPE_TIME:
        return again_time(s, value, shape, depth);
    case ACHAR_SHAPE_DATE: {
        TAKE(d, date, achar_nothing());
        return achar_make_date(s->made, &d);
    }
    case ACHAR_SHAPE_TIMEDELTA: {
        TAKE(d, timedelta, achar_nothing());
        return achar_make_timedelta(s->made, &d);
    }
    case ACHAR_SHAPE_TIMEZONE:
        return again_timezone(s, value);
    case ACHAR_SHAPE_ZONEINFO:
        return again_zoneinfo(s, value);
    case ACHAR_SHAPE_DECIMAL:
        return again_decimal(s, value);
    case ACHAR_SHAPE_FRACTION: {
        TAKE(f, fraction, achar_nothing());
        return achar_make_fraction(s->made, again_integer(s, f.numerator),
                                   again_integer(s, f.denominator));
    }
    case ACHAR_SHAPE_COMPLEX: {
        TAKE(c, complex, achar_nothing());
        return achar_make_complex(s->made, c.real, c.imaginary);
    }
    case ACHAR_SHAPE_RANGE: {
        TAKE(r, range, achar_nothing());
        return achar_make_range(s->made, achar_int64(r.start), achar_int64(r.stop),
                                achar_int64(r.step));
    }
    case ACHAR_SHAPE_UUID: {
        TAKE(u, uuid, achar_nothing());
        return achar_make_uuid(s->made, u.bytes);
    }
    case ACHAR_SHAPE_PATH: {
        TAKE(p, path, achar_nothing());
        char text[4096];
        const char *part = achar_text(achar_item(p.parts, achar_count(p.parts) - 1), &nbytes);
        snprintf(text, sizeof text, "%.*s", (int)nbytes, part == NULL ? "" : part);
        return achar_make_path(s->made, text);
    }
    case ACHAR_SHAPE_BYTES:
    case ACHAR_SHAPE_BYTEARRAY:
        s->status = achar_as_bytes(s->graph, value, &data, &nbytes, &s->error);
        if (s->status != ACHAR_OK)
            return achar_nothing();
        return shape == ACHAR_SHAPE_BYTES ? achar_make_bytes(s->made, data, nbytes)
                                          : achar_make_bytearray(s->made, data, nbytes);
    case ACHAR_SHAPE_ARRAY: {
        TAKE(a, array, achar_nothing());
        return achar_make_array(s->made, a.typecode, a.data, a.count);
    }
    case ACHAR_SHAPE_NDARRAY:
        return again_ndarray(s, value, depth);
    case ACHAR_SHAPE_SCALAR: {
        char text[ACHAR_DTYPE_TEXT_NBYTES];
        TAKE(scalar, scalar, achar_nothing());
        achar_dtype_format(&scalar.dtype, text);
        return achar_make_scalar(s->made, text, scalar.data);
    }
    default:
        return again_items(s, value, depth);
    }
}

static achar_value again_member(server *s, achar_value value, int depth)
{
    char module[256], type[256];
    size_t module_nbytes, type_nbytes;
    TAKE(m, member, achar_nothing());
    const char *module_text = achar_text(achar_module(m.type), &module_nbytes);
    const char *type_text = achar_text(achar_name(m.type), &type_nbytes);
    snprintf(module, sizeof module, "%.*s", (int)module_nbytes, module_text);
    snprintf(type, sizeof type, "%.*s", (int)type_nbytes, type_text);
    return achar_make_member(s->made, module, type, again(s, m.value, depth));
}

static achar_value again(server *s, achar_value value, int depth)
{
    size_t nbytes;
    if (depth > MAX_DEPTH)
        s->status = ACHAR_E_LIMIT;
    if (s->status != ACHAR_OK)
        return achar_nothing();
    int shape = achar_shape(s->graph, value);
    if (shape != ACHAR_SHAPE_NONE)
        return again_shape(s, value, shape, depth + 1);
    switch (achar_kind(value)) {
    case ACHAR_BIGINT:
        return again_integer(s, value);
    case ACHAR_STR: {
        const char *text = achar_text(value, &nbytes);
        return achar_make_text(s->made, text, nbytes);
    }
    case ACHAR_GLOBAL: /* Python 3's names only */
        return achar_make_global(s->made, "builtins", "list");
    case ACHAR_CALL:
        return again_member(s, value, depth + 1);
    case ACHAR_LIST:
    case ACHAR_TUPLE:
    case ACHAR_DICT:
        return again_items(s, value, depth + 1);
    default:
        return value;
    }
}

/* ---- the server ---- */

static void *take(size_t nbytes)
{
    /* Of its exact size, so that ASan sees what is read beyond it. */
    void *data = malloc(nbytes == 0 ? 1 : nbytes);
    if (data == NULL || fread(data, 1, nbytes, stdin) != nbytes)
        exit(EXIT_FAILURE);
    return data;
}

static uint64_t take_size(void)
{
    unsigned char bytes[8];
    uint64_t size = 0;
    if (fread(bytes, 1, sizeof bytes, stdin) != sizeof bytes)
        exit(EXIT_FAILURE);
    for (int i = 7; i >= 0; i--)
        size = size << 8 | bytes[i];
    return size;
}

static void answer(int what, const void *data, uint64_t nbytes)
{
    unsigned char header[9] = {(unsigned char)what};
    for (int i = 0; i < 8; i++)
        header[1 + i] = (unsigned char)(nbytes >> 8 * i);
    fwrite(header, 1, sizeof header, stdout);
    fwrite(data, 1, nbytes, stdout);
    fflush(stdout);
}

static void answer_error(int status, const achar_error *error)
{
    char text[256];
    int nbytes = snprintf(text, sizeof text, "%s %s", achar_status_name(status),
                          error->code == status ? error->message : "");
    answer(1, text, (uint64_t)nbytes);
}

static void serve(server *s, int mode, int protocol)
{
    achar_bytes bytes = {0};
    if (mode == 'd') {
        char *text = NULL;
        size_t nbytes = 0;
        s->out = open_memstream(&text, &nbytes);
        describe(s, achar_root(s->graph), 0);
        fclose(s->out);
        if (s->status == ACHAR_OK)
            answer(0, text, nbytes);
        free(text);
    } else {
        s->made = achar_graph_new(NULL);
        achar_set_root(s->made, again(s, achar_root(s->graph), 0));
        if (s->status == ACHAR_OK)
            s->status = achar_write(s->made, protocol, NULL, &bytes, &s->error);
        achar_graph_free(s->made);
        if (s->status == ACHAR_OK)
            answer(0, bytes.data, bytes.nbytes);
        achar_bytes_free(&bytes, NULL);
    }
    if (s->status != ACHAR_OK)
        answer_error(s->status, &s->error);
}

int main(void)
{
    unsigned char header[4];
    while (fread(header, 1, sizeof header, stdin) == sizeof header) {
        achar_buffer buffers[256];
        achar_read_options options = {
            .encoding = header[2],
            .buffers = header[3] == 0 ? NULL : buffers,
            .buffers_count = header[3],
        };
        for (int i = 0; i < header[3]; i++) {
            size_t nbytes = take_size();
            buffers[i] = (achar_buffer){take(nbytes), nbytes, 0};
        }
        size_t nbytes = take_size();
        void *pickle = take(nbytes);
        server s = {0};
        int status = achar_read(pickle, nbytes, &options, &s.graph, NULL, &s.error);
        if (status == ACHAR_OK)
            serve(&s, header[0], header[1]);
        else
            answer_error(status, &s.error);
        achar_graph_free(s.graph);
        free(pickle);
        for (int i = 0; i < header[3]; i++)
            free((void *)(uintptr_t)buffers[i].data);
    }
    return 0;
}
