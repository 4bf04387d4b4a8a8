/*
 * arrays.c - numpy's arrays and scalars, read and made.
 *
 * An array is written in one of two ways:
 *
 *     numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b'b')
 *         with the state (1, shape, dtype, is_fortran, bytes, or a list for objects)
 *     numpy.core.numeric._frombuffer(buffer, dtype, shape, 'C' or 'F')        protocol 5
 *     numpy.core.numeric._frombuffer(buffer, dtype, shape, 'K', axes)         numpy 2.2 on
 *
 * numpy 2 has _core for core. A third is what achar writes for an out-of-band buffer, since the
 * second has no name that numpy 1 and 2 both know:
 *
 *     numpy.ndarray(shape, dtype, buffer, 0, None, 'C' or 'F')
 *
 * Whatever they claim, the array's data is as long as shape and dtype say, or it is refused.
 */
#include <achar/arrays.h>

#include <string.h>

#include "codec/shapes/dtype.h"

/* ---- shapes and strides ---- */

/* Shape and count; the product must fit, as it does in numpy, even if an axis has no items. */
static int read_shape(const look *l, achar_value shape, achar_ndarray *out)
{
    size_t count = 1;
    out->ndim = achar_count(shape);
    if (achar_kind(shape) != ACHAR_TUPLE || out->ndim > ACHAR_MAX_NDIM)
        return achar__refuse(l, ACHAR_E_SHAPE, "its shape is no tuple of up to %d", ACHAR_MAX_NDIM);
    out->count = 1;
    for (size_t i = 0; i < out->ndim; i++) {
        if (!is_between(achar_item(shape, i), 0, INT64_MAX))
            return achar__refuse(l, ACHAR_E_SHAPE, "its shape is not made of sizes");
        out->shape[i] = (size_t)achar_int64(achar_item(shape, i));
        out->count = out->shape[i] == 0 ? 0 : out->count;
        if (out->shape[i] != 0 && __builtin_mul_overflow(count, out->shape[i], &count))
            return achar__refuse(l, ACHAR_E_SHAPE, "its shape has too many items");
    }
    size_t nbytes;
    if (__builtin_mul_overflow(count, out->dtype.item_nbytes, &nbytes) || nbytes > INT64_MAX)
        return achar__refuse(l, ACHAR_E_SHAPE, "its shape has too many items");
    out->count = out->count == 0 ? 0 : count;
    out->data_nbytes = out->count * out->dtype.item_nbytes;
    return ACHAR_OK;
}

static void set_strides(achar_ndarray *out, bool fortran)
{
    size_t stride = out->count == 0 ? 0 : out->dtype.item_nbytes;
    for (size_t i = 0; i < out->ndim; i++) {
        size_t axis = fortran ? i : out->ndim - 1 - i;
        out->strides[axis] = stride;
        stride *= out->count == 0 ? 0 : out->shape[axis];
    }
}

/* Axis i of the array is axis axes[i] of what has been read so far. */
static int transpose(const look *l, achar_value axes, achar_ndarray *out)
{
    achar_ndarray from = *out;
    bool used[ACHAR_MAX_NDIM] = {false};
    if (achar_kind(axes) != ACHAR_TUPLE || achar_count(axes) != out->ndim)
        return achar__refuse(l, ACHAR_E_SHAPE, "its axes are not those of its shape");
    for (size_t i = 0; i < out->ndim; i++) {
        achar_value axis = achar_item(axes, i);
        size_t index = (size_t)achar_int64(axis);
        if (!is_between(axis, 0, (int64_t)out->ndim - 1) || used[index])
            return achar__refuse(l, ACHAR_E_SHAPE, "its axes are not those of its shape");
        used[index] = true;
        out->shape[i] = from.shape[index];
        out->strides[i] = from.strides[index];
    }
    return ACHAR_OK;
}

/* ---- reading ---- */

/* dtype, shape and data, in that order, for both ways. 'entry' is where they are used. */
static int read_parts(const look *l, achar_value dtype, achar_value shape, achar_value data,
                      bool text_too, size_t entry, achar_ndarray *out)
{
    size_t nbytes;
    out->objects = achar_nothing();
    if (achar_shape(l->graph, dtype) != ACHAR_SHAPE_DTYPE)
        return achar__refuse(l, ACHAR_E_UNSUPPORTED, "its dtype is not one of numpy's own");
    int status = achar__dtype_read(l->graph, dtype, entry, &out->dtype, l->error);
    if (status == ACHAR_OK)
        status = read_shape(l, shape, out);
    if (status != ACHAR_OK)
        return status;
    if (out->dtype.kind == 'O') {
        if (achar_kind(data) != ACHAR_LIST || achar_count(data) != out->count)
            return achar__refuse(l, ACHAR_E_SHAPE, "its objects are not a list of %zu", out->count);
        out->objects = data;
        out->data = NULL;
        out->data_nbytes = 0;
        return achar__settled(l, data, entry);
    }
    if (out->dtype.item_nbytes == 0)
        return achar__refuse(l, ACHAR_E_UNSUPPORTED, "its items have no size");
    status = achar__payload(l, data, text_too, "its data", &out->data, &nbytes);
    if (status == ACHAR_OK && nbytes != out->data_nbytes)
        return achar__refuse(l, ACHAR_E_SHAPE, "it has %zu bytes of data where %zu belong", nbytes,
                             out->data_nbytes);
    return status;
}

/* _reconstruct(…), then a state */
static int read_reconstructed(const look *l, achar_ndarray *out)
{
    enum { VERSION, SHAPE, DTYPE, FORTRAN, DATA, COUNT };
    achar_value state;
    size_t entry;
    int status = achar__look_count(l, 3, 3);
    if (status == ACHAR_OK)
        status = achar__look_state(l, ACHAR_TUPLE, &state, &entry);
    if (status != ACHAR_OK)
        return status;
    achar_value fortran = achar_item(state, FORTRAN);
    if (achar_count(state) != COUNT || !is_between(achar_item(state, VERSION), 0, 1) ||
        (achar_kind(fortran) != ACHAR_BOOL && !is_between(fortran, 0, 1)))
        return achar__refuse(l, ACHAR_E_SHAPE, "its state is not in the form of one");
    status = read_parts(l, achar_item(state, DTYPE), achar_item(state, SHAPE),
                        achar_item(state, DATA), true, entry, out);
    if (status == ACHAR_OK)
        set_strides(out, achar_int64(fortran) != 0);
    return status;
}

/* 'C', 'F' */
static int read_order(const look *l, achar_value order, bool *fortran)
{
    *fortran = achar_text_is(order, "F");
    if (!*fortran && !achar_text_is(order, "C"))
        return achar__refuse(l, ACHAR_E_SHAPE, "its order is neither C nor F");
    return ACHAR_OK;
}

/* _frombuffer(buffer, dtype, shape, order[, axes]) */
static int read_frombuffer(const look *l, achar_ndarray *out)
{
    enum { DATA, DTYPE, SHAPE, ORDER, AXES };
    bool fortran = false, permuted = achar_text_is(look_argument(l, ORDER), "K");
    int status = achar__look_count(l, permuted ? 5 : 4, 5);
    if (status == ACHAR_OK)
        status = achar__look_unchanged(l);
    if (status == ACHAR_OK && !permuted)
        status = read_order(l, look_argument(l, ORDER), &fortran);
    if (status == ACHAR_OK && !permuted && achar_count(l->arguments) == 5 &&
        achar_kind(look_argument(l, AXES)) != ACHAR_NONE)
        status = achar__refuse(l, ACHAR_E_SHAPE, "of two orders");
    if (status == ACHAR_OK)
        status = read_parts(l, look_argument(l, DTYPE), look_argument(l, SHAPE),
                            look_argument(l, DATA), false, l->entry, out);
    if (status == ACHAR_OK && out->dtype.kind == 'O')
        status = achar__refuse(l, ACHAR_E_SHAPE, "objects do not come from a buffer");
    if (status != ACHAR_OK)
        return status;
    set_strides(out, fortran);
    return permuted ? transpose(l, look_argument(l, AXES), out) : ACHAR_OK;
}

/* numpy.ndarray(shape, dtype, buffer, 0, None, order) */
static int read_constructed(const look *l, achar_ndarray *out)
{
    enum { SHAPE, DTYPE, DATA, OFFSET, STRIDES, ORDER };
    bool fortran;
    int status = achar__look_count(l, 6, 6);
    if (status == ACHAR_OK)
        status = achar__look_unchanged(l);
    if (status == ACHAR_OK)
        status = read_order(l, look_argument(l, ORDER), &fortran);
    if (status == ACHAR_OK && (!is_between(look_argument(l, OFFSET), 0, 0) ||
                               achar_kind(look_argument(l, STRIDES)) != ACHAR_NONE))
        status = achar__refuse(l, ACHAR_E_UNSUPPORTED, "with an offset or strides");
    if (status == ACHAR_OK)
        status = read_parts(l, look_argument(l, DTYPE), look_argument(l, SHAPE),
                            look_argument(l, DATA), false, l->entry, out);
    if (status == ACHAR_OK && out->dtype.kind == 'O')
        status = achar__refuse(l, ACHAR_E_SHAPE, "objects do not come from a buffer");
    if (status == ACHAR_OK)
        set_strides(out, fortran);
    return status;
}

int achar_as_ndarray(achar_graph *graph, achar_value value, achar_ndarray *out, achar_error *error)
{
    look l;
    achar_ndarray array = {0};
    int status = achar__look(&l, graph, value, ACHAR_SHAPE_NDARRAY, error);
    if (status != ACHAR_OK)
        return status;
    if (l.callable == KNOWN_RECONSTRUCT)
        status = read_reconstructed(&l, &array);
    else if (l.callable == KNOWN_FROMBUFFER)
        status = read_frombuffer(&l, &array);
    else
        status = read_constructed(&l, &array);
    if (status == ACHAR_OK)
        *out = array;
    return status;
}

int achar_as_scalar(achar_graph *graph, achar_value value, achar_scalar *out, achar_error *error)
{
    look l;
    achar_scalar scalar = {.object = achar_nothing()};
    size_t nbytes;
    int status = achar__look(&l, graph, value, ACHAR_SHAPE_SCALAR, error);
    if (status == ACHAR_OK)
        status = achar__look_count(&l, 2, 2);
    if (status == ACHAR_OK)
        status = achar__look_unchanged(&l);
    if (status == ACHAR_OK && achar_shape(graph, look_argument(&l, 0)) != ACHAR_SHAPE_DTYPE)
        status = achar__refuse(&l, ACHAR_E_UNSUPPORTED, "its dtype is not one of numpy's own");
    if (status == ACHAR_OK)
        status = achar__dtype_read(graph, look_argument(&l, 0), l.entry, &scalar.dtype, error);
    if (status == ACHAR_OK && scalar.dtype.kind == 'O') {
        scalar.object = look_argument(&l, 1);
    } else if (status == ACHAR_OK) {
        status = achar__payload(&l, look_argument(&l, 1), true, "its data", &scalar.data, &nbytes);
        if (status == ACHAR_OK && nbytes != scalar.dtype.item_nbytes)
            status = achar__refuse(&l, ACHAR_E_SHAPE, "it has %zu bytes of data where %zu belong",
                                   nbytes, scalar.dtype.item_nbytes);
    }
    if (status == ACHAR_OK)
        *out = scalar;
    return status;
}

const void *achar_ndarray_item(const achar_ndarray *array, size_t index)
{
    size_t offset = 0;
    if (index >= array->count || array->data == NULL)
        return NULL;
    for (size_t i = array->ndim; i-- > 0; index /= array->shape[i])
        offset += index % array->shape[i] * array->strides[i];
    return array->data + offset;
}

/* ---- making ---- */

/* The number of bytes of an array; false if it does not fit. */
static bool measure(const achar_dtype *dtype, const size_t *shape, size_t ndim, size_t *count,
                    size_t *nbytes)
{
    bool fits = ndim <= ACHAR_MAX_NDIM && (ndim == 0 || shape != NULL);
    *count = 1;
    for (size_t i = 0; fits && i < ndim; i++)
        fits = shape[i] <= INT64_MAX && !__builtin_mul_overflow(*count, shape[i], count);
    return fits && !__builtin_mul_overflow(*count, dtype->item_nbytes, nbytes);
}

achar_value achar_make_ndarray(achar_graph *graph, const char *dtype, const size_t *shape,
                               size_t ndim, int fortran, achar_value data)
{
    achar_dtype parsed;
    achar_value sizes[ACHAR_MAX_NDIM];
    size_t count, nbytes, data_nbytes;
    int kind = achar_kind(data);
    if (achar_dtype_parse(dtype, &parsed) != ACHAR_OK)
        return achar__make_fail(graph, ACHAR_E_TEXT);
    if (parsed.kind == 'O' ? kind != ACHAR_LIST : kind != ACHAR_BYTES && kind != ACHAR_BUFFER)
        return achar__make_fail(graph, kind == ACHAR_NOTHING ? ACHAR_E_INVALID : ACHAR_E_TYPE);
    if (!measure(&parsed, shape, ndim, &count, &nbytes))
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    achar_data(data, &data_nbytes);
    if ((kind == ACHAR_LIST && achar_count(data) != count) ||
        (kind == ACHAR_BYTES && data_nbytes != nbytes) || parsed.item_nbytes == 0)
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    for (size_t i = 0; i < ndim; i++)
        sizes[i] = achar_make_int((int64_t)shape[i]);

    achar_value made_shape = achar_make_tuple(graph, sizes, ndim);
    achar_value made_dtype = achar__dtype_make(graph, &parsed);
    if (kind == ACHAR_BUFFER) {
        achar_value arguments[6] = {
            made_shape,        made_dtype,        data,
            achar_make_int(0), achar_make_none(), achar_make_str(graph, fortran ? "F" : "C")};
        return achar__call_known(graph, KNOWN_NDARRAY, arguments, 6);
    }
    achar_value none_yet = achar_make_int(0);
    achar_value blank[3] = {achar__make_known(graph, KNOWN_NDARRAY),
                            achar_make_tuple(graph, &none_yet, 1), achar_make_bytes(graph, "b", 1)};
    achar_value array = achar__call_known(graph, KNOWN_RECONSTRUCT, blank, 3);
    achar_value state[5] = {achar_make_int(1), made_shape, made_dtype,
                            achar_make_bool(fortran && kind == ACHAR_BYTES), data};
    achar_build(graph, array, achar_make_tuple(graph, state, 5));
    return array;
}

achar_value achar_make_scalar(achar_graph *graph, const char *dtype, const void *item)
{
    achar_dtype parsed;
    if (achar_dtype_parse(dtype, &parsed) != ACHAR_OK)
        return achar__make_fail(graph, ACHAR_E_TEXT);
    if (parsed.kind == 'O')
        return achar__make_fail(graph, ACHAR_E_TYPE);
    achar_value arguments[2] = {achar__dtype_make(graph, &parsed),
                                achar_make_bytes(graph, item, parsed.item_nbytes)};
    return achar__call_known(graph, KNOWN_SCALAR, arguments, 2);
}
