/* exercise_shapes.c - see exercise_shapes.h. */
#include "exercise_shapes.h"

#include <string.h>

#include "exercise.h"

enum { MAX_VALUES = 400, MAX_ITEMS = 3000 };

/* So that reads are not optimised away. */
static volatile unsigned char seen;

static void touch(const void *data, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        seen ^= ((const volatile unsigned char *)data)[i];
}

static void use_dtype(const achar_dtype *dtype)
{
    char text[ACHAR_DTYPE_TEXT_NBYTES];
    achar_dtype again;
    size_t nbytes = achar_dtype_format(dtype, text);
    REQUIRE(nbytes == strlen(text), "%s", text);
    REQUIRE(achar_dtype_parse(text, &again) == ACHAR_OK, "%s is not parsed", text);
    REQUIRE(memcmp(&again, dtype, sizeof again) == 0, "%s is something else", text);
}

static void use_item(const achar_dtype *dtype, const void *at)
{
    int64_t integer;
    double real;
    achar_complex complex;
    char text[64];
    touch(at, dtype->item_nbytes);
    int numbers = achar_item_int64(dtype, at, &integer) != ACHAR_E_TYPE;
    numbers += achar_item_double(dtype, at, &real) != ACHAR_E_TYPE;
    numbers += achar_item_complex(dtype, at, &complex) != ACHAR_E_TYPE;
    size_t nbytes = achar_item_text(dtype, at, text, sizeof text);
    REQUIRE(nbytes <= dtype->item_nbytes, "%zu bytes of text from %zu", nbytes, dtype->item_nbytes);
    REQUIRE(numbers == 0 || nbytes == 0, "a number that is text, %c", dtype->kind);
}

static void use_ndarray(const achar_ndarray *array)
{
    size_t count = 1;
    use_dtype(&array->dtype);
    REQUIRE(array->ndim <= ACHAR_MAX_NDIM, "%zu dimensions", array->ndim);
    for (size_t i = 0; i < array->ndim; i++)
        count *= array->count == 0 ? 0 : array->shape[i];
    REQUIRE(count == array->count || array->count == 0, "%zu items are %zu", count, array->count);
    if (array->dtype.kind == 'O') {
        REQUIRE(array->data == NULL && achar_count(array->objects) == array->count, "objects");
        return;
    }
    REQUIRE(array->data_nbytes == array->count * array->dtype.item_nbytes, "size");
    touch(array->data, array->data_nbytes);
    for (size_t i = 0; i < array->count && i < MAX_ITEMS; i++) {
        const unsigned char *at = achar_ndarray_item(array, i);
        REQUIRE(at >= array->data &&
                    at + array->dtype.item_nbytes <= array->data + array->data_nbytes,
                "item %zu is outside", i);
        use_item(&array->dtype, at);
    }
    if (array->count != 0)
        use_item(&array->dtype, achar_ndarray_item(array, array->count - 1));
    REQUIRE(achar_ndarray_item(array, array->count) == NULL, "an item past the end");
}

static void use_items(achar_items items)
{
    achar_value key, under;
    size_t count = 0;
    while (count < MAX_ITEMS && achar_next_item(&items, &key, &under)) {
        REQUIRE(achar_kind(key) != ACHAR_NOTHING, "item %zu is missing", count);
        REQUIRE((achar_kind(under) != ACHAR_NOTHING) == items.pairs, "item %zu", count);
        count++;
    }
    REQUIRE(count == (items.count < MAX_ITEMS ? items.count : MAX_ITEMS), "%zu items of %zu", count,
            items.count);
}

/* What all answers have in common. Returns whether the value is that shape. */
static int accept(int status, int claimed, int shape, const achar_error *error, int may_run_out)
{
    switch (status) {
    case ACHAR_OK:
        REQUIRE(claimed == shape, "%s is %s", achar_shape_name(claimed), achar_shape_name(shape));
        return 1;
    case ACHAR_E_TYPE:
        REQUIRE(claimed != shape || may_run_out, "%s is none", achar_shape_name(shape));
        break;
    case ACHAR_E_SHAPE:
    case ACHAR_E_UNSUPPORTED:
    case ACHAR_E_BUFFERS:
        REQUIRE(claimed == shape, "%s fails as %s", achar_shape_name(claimed),
                achar_shape_name(shape));
        break;
    default:
        REQUIRE(may_run_out && (status == ACHAR_E_NOMEM || status == ACHAR_E_LIMIT), "%s",
                achar_status_name(status));
    }
    REQUIRE(error->code == status && error->message[0] != '\0', "%s without words",
            achar_status_name(status));
    return 0;
}

static int use_value(achar_graph *graph, achar_value value, int may_run_out)
{
    union {
        achar_date date;
        achar_time time;
        achar_datetime datetime;
        achar_timedelta timedelta;
        achar_timezone timezone;
        achar_decimal decimal;
        achar_fraction fraction;
        achar_complex complex;
        achar_range range;
        achar_uuid uuid;
        achar_path path;
        achar_member member;
        achar_items items;
        achar_dtype dtype;
        achar_ndarray ndarray;
        achar_scalar scalar;
        achar_array array;
    } as;
    const void *data;
    size_t nbytes;
    achar_error error = {0};
    int found = 0;
    int claimed = achar_shape(graph, value);
#define ASK(name, shape)                                                                           \
    accept(achar_as_##name(graph, value, &as.name, &error), claimed, ACHAR_SHAPE_##shape, &error,  \
           may_run_out)
    if (ASK(date, DATE))
        found += as.date.day >= 1 && as.date.month <= 12;
    if (ASK(time, TIME))
        found += as.time.hour < 24;
    if (ASK(datetime, DATETIME))
        found += as.datetime.day <= 31;
    if (ASK(timedelta, TIMEDELTA))
        found += as.timedelta.seconds < 86400;
    if (ASK(timezone, TIMEZONE)) {
        touch(as.timezone.name, as.timezone.name_nbytes);
        found++;
    }
    if (ASK(decimal, DECIMAL)) {
        touch(as.decimal.text, as.decimal.text_nbytes);
        touch(as.decimal.whole, as.decimal.whole_nbytes);
        touch(as.decimal.fraction, as.decimal.fraction_nbytes);
        found++;
    }
    found += ASK(fraction, FRACTION);
    found += ASK(complex, COMPLEX);
    found += ASK(range, RANGE);
    found += ASK(uuid, UUID);
    found += ASK(path, PATH);
    if (ASK(dtype, DTYPE)) {
        use_dtype(&as.dtype);
        found++;
    }
    if (ASK(ndarray, NDARRAY)) {
        use_ndarray(&as.ndarray);
        found++;
    }
    if (ASK(scalar, SCALAR)) {
        use_dtype(&as.scalar.dtype);
        if (as.scalar.data != NULL)
            use_item(&as.scalar.dtype, as.scalar.data);
        found++;
    }
    if (ASK(array, ARRAY)) {
        touch(as.array.data, as.array.count * as.array.dtype.item_nbytes);
        for (size_t i = 0; i < as.array.count && i < MAX_ITEMS; i++)
            use_item(&as.array.dtype, as.array.data + i * as.array.dtype.item_nbytes);
        found++;
    }
#undef ASK
    int status = achar_as_zoneinfo(graph, value, (const char **)&data, &nbytes, &error);
    if (accept(status, claimed, ACHAR_SHAPE_ZONEINFO, &error, may_run_out)) {
        touch(data, nbytes);
        found++;
    }
    status = achar_as_bytes(graph, value, (const unsigned char **)&data, &nbytes, &error);
    int bytes_shape = claimed == ACHAR_SHAPE_BYTEARRAY || achar_kind(value) == ACHAR_BUFFER
                          ? claimed
                          : ACHAR_SHAPE_BYTES;
    if (accept(status, claimed, bytes_shape, &error, may_run_out)) {
        touch(data, nbytes);
        found++;
    }
    status = achar_as_items(graph, value, &as.items, &error);
    if (status == ACHAR_OK) {
        use_items(as.items);
        found++;
    } else {
        accept(status, claimed, status == ACHAR_E_TYPE ? -1 : claimed, &error, may_run_out);
    }
    REQUIRE(found <= 1, "%d shapes at once", found);
    status = achar_as_member(graph, value, &as.member, &error);
    REQUIRE(status == ACHAR_OK || status == ACHAR_E_TYPE || may_run_out, "%s",
            achar_status_name(status));
    return found;
}

size_t use_shapes(achar_graph *graph, int may_run_out)
{
    achar_effect effect;
    size_t found = (size_t)use_value(graph, achar_root(graph), may_run_out);
    for (size_t i = 0; i < achar_effects_count(graph) && i < MAX_VALUES; i++) {
        if (achar_effect_at(graph, i, &effect) != ACHAR_OK)
            return found; /* memory ran out */
        if (effect.kind <= ACHAR_EFFECT_CALL)
            REQUIRE(achar_effect_of(effect.target) == i, "effect %zu made something else", i);
        found += (size_t)use_value(graph, effect.target, may_run_out);
    }
    return found;
}
