/*
 * arrays.h - numpy's arrays, scalars and dtypes, and array.array, without Python and numpy.
 *
 * As in shapes.h, whose rules for results, errors and ownership hold here: nothing is executed,
 * data stays where it is (in the input or in an out-of-band buffer), and what does not add up (a
 * shape that does not fit the data, a dtype that contradicts itself) is ACHAR_E_SHAPE. So data is
 * always readable as far as shape, strides and dtype say.
 */
#ifndef ACHAR_ARRAYS_H
#define ACHAR_ARRAYS_H

#include <achar/shapes.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What each item of an array is. Structured dtypes, subarrays and numpy's newer string dtype are
 * ACHAR_E_UNSUPPORTED.
 */
typedef struct achar_dtype {
    char kind;          /* b bool, i int, u unsigned, f float, c complex, S bytes, U text (UCS-4),
                           V raw, O object, M datetime64, m timedelta64 */
    char order;         /* '<' little-endian, '>' big-endian, '|' where it does not matter */
    size_t item_nbytes; /* at least 1 in an array; a scalar of S, U or V may have 0 */
    char unit[8];       /* of M and m: "Y", "us", "generic", …; else "" */
    int unit_count;     /* of M and m: how many of these a step is, 1 or more */
} achar_dtype;

/* ACHAR_MAX_NDIM is how many axes an array may have: numpy's limit. */
enum { ACHAR_MAX_NDIM = 64 };

/*
 * A numpy array. Item (i, j, …) lies at data + i * strides[0] + j * strides[1] + …; C order,
 * Fortran order and any other permutation of axes are all this. Strides are never negative.
 *
 * An array of objects (kind O) has no data: 'objects' is a list of its values in C order.
 */
typedef struct achar_ndarray {
    achar_dtype dtype;
    size_t ndim;                    /* 0 to ACHAR_MAX_NDIM */
    size_t shape[ACHAR_MAX_NDIM];   /* items along each axis */
    size_t strides[ACHAR_MAX_NDIM]; /* in bytes; all 0 where count is 0 */
    size_t count;                   /* of items: the product of the shape */
    const unsigned char *data;      /* NULL for objects */
    size_t data_nbytes;             /* count * dtype.item_nbytes */
    achar_value objects;            /* ACHAR_NOTHING unless kind O */
} achar_ndarray;

/* A numpy scalar such as numpy.float32(1.5). */
typedef struct achar_scalar {
    achar_dtype dtype;
    const unsigned char *data; /* dtype.item_nbytes of it; NULL for an object */
    achar_value object;        /* ACHAR_NOTHING unless kind O */
} achar_scalar;

/* An array.array. The items of one of text (typecode u or w) are code units of 2 or 4 bytes. */
typedef struct achar_array {
    char typecode;     /* Python's: b B u w h H i I l L q Q f d; c from Python 2 */
    achar_dtype dtype; /* i, u or f; U for text, whose item_nbytes is 2 or 4; S1 for c */
    size_t count;
    const unsigned char *data;
} achar_array;

/* achar_as_dtype(), achar_as_ndarray() and achar_as_scalar() take apart what their structs are
 * named after. The data of an array is not copied. */
ACHAR_API int achar_as_dtype(achar_graph *graph, achar_value value, achar_dtype *out,
                             achar_error *error);
ACHAR_API int achar_as_ndarray(achar_graph *graph, achar_value value, achar_ndarray *out,
                               achar_error *error);
ACHAR_API int achar_as_scalar(achar_graph *graph, achar_value value, achar_scalar *out,
                              achar_error *error);

/* achar_as_array() takes apart an array.array. Below protocol 3 that is a list of numbers; they are
 * then converted into the graph. */
ACHAR_API int achar_as_array(achar_graph *graph, achar_value value, achar_array *out,
                             achar_error *error);

/* achar_ndarray_item() is where item 'index' in C order lies; NULL past the end and for objects. */
ACHAR_API const void *achar_ndarray_item(const achar_ndarray *array, size_t index);

/*
 * achar_item_int64(), achar_item_double() and achar_item_complex() are the item at 'at', whatever
 * its byte order and alignment, as a number. Return ACHAR_OK; ACHAR_E_TYPE for a kind that is no
 * such number (achar_item_double() takes integers and bools too, long doubles not; datetime64 and
 * timedelta64 are integers); ACHAR_E_NUMBER for an unsigned integer beyond int64_t. '*out' is
 * unchanged on failure.
 */
ACHAR_API int achar_item_int64(const achar_dtype *dtype, const void *at, int64_t *out);
ACHAR_API int achar_item_double(const achar_dtype *dtype, const void *at, double *out);
ACHAR_API int achar_item_complex(const achar_dtype *dtype, const void *at, achar_complex *out);

/*
 * achar_item_text() writes an item of kind U as UTF-8, or of kind S as it is, to 'out', without
 * the NULs that fill it up. Returns how many bytes there are to write; what does not fit in
 * 'out_nbytes' is left out ('out' may be NULL with 0). 0 for other kinds. No NUL is added; what is
 * no code point becomes U+FFFD.
 */
ACHAR_API size_t achar_item_text(const achar_dtype *dtype, const void *at, char *out,
                                 size_t out_nbytes);

/*
 * achar_dtype_parse() reads numpy's text for a dtype: "<f8", ">i4", "|b1", "<U10", "<M8[25us]",
 * "|O". ACHAR_OK; ACHAR_E_TEXT.
 */
ACHAR_API int achar_dtype_parse(const char *text, achar_dtype *out);

/* achar_dtype_format() is that text, NUL-terminated; returns its size. */
enum { ACHAR_DTYPE_TEXT_NBYTES = 48 };
ACHAR_API size_t achar_dtype_format(const achar_dtype *dtype, char out[ACHAR_DTYPE_TEXT_NBYTES]);

/* ---- making them ---- */

/*
 * achar_make_ndarray() makes a numpy array that numpy 1 and 2 load. 'dtype' is text as for
 * achar_dtype_parse(). 'data' holds the items in C order, or in Fortran order if 'fortran' is 1:
 * a value from achar_make_bytes(), achar_borrow_bytes() (no copy), or achar_make_buffer() (it
 * travels beside the pickle); for dtype "O" a list of the values in C order. ACHAR_E_NUMBER if its
 * size does not fit the shape; the size of a buffer is not known here, so not checked.
 */
ACHAR_API achar_value achar_make_ndarray(achar_graph *graph, const char *dtype, const size_t *shape,
                                         size_t ndim, int fortran, achar_value data);

/* achar_make_scalar() is a numpy scalar; 'item' is as many bytes as the dtype has, copied.
 * ACHAR_E_TEXT for a dtype that is none, ACHAR_E_TYPE for objects. */
ACHAR_API achar_value achar_make_scalar(achar_graph *graph, const char *dtype, const void *item);

/* achar_make_array() is an array.array of 'count' items in this machine's format, copied. Typecodes
 * b B h H i I l L q Q f d; ACHAR_E_TEXT for others. */
ACHAR_API achar_value achar_make_array(achar_graph *graph, char typecode, const void *items,
                                       size_t count);

#ifdef __cplusplus
}
#endif
#endif
