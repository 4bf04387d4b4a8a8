/* dtype.h - what the readers of arrays share about the items of arrays. */
#ifndef ACHAR_CODEC_SHAPES_DTYPE_H
#define ACHAR_CODEC_SHAPES_DTYPE_H

#include <achar/arrays.h>

#include "codec/shapes/shapes.h"

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HOST_ORDER '>'
#else
#define HOST_ORDER '<'
#endif

/*
 * Reads a numpy.dtype that entry 'before' of the log made use of: what happened to it later is
 * refused. 'error' as in achar_as_dtype().
 */
int achar__dtype_read(achar_graph *graph, achar_value value, size_t before, achar_dtype *out,
                      achar_error *error);

/* The numpy.dtype for it, which a graph has once. */
achar_value achar__dtype_make(achar_graph *graph, const achar_dtype *dtype);

#endif
