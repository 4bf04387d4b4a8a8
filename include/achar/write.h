/*
 * write.h - from a graph to bytes that pickle.loads reads.
 */
#ifndef ACHAR_WRITE_H
#define ACHAR_WRITE_H

#include <achar/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All zero, or a NULL pointer, is the default. */
typedef struct achar_write_options {
    const achar_allocator *allocator; /* of the result; NULL: malloc */
    int keep_names; /* 1: write the names of imports as they are. 0: as Python's fix_imports,
                       Python 2's names below protocol 3, Python 3's names above */
} achar_write_options;

/*
 * achar_write() writes the graph's root as a pickle of 'protocol', 0 to 5.
 *
 * The caller frees '*bytes' with achar_bytes_free() and the allocator from 'options'. On failure
 * it is zeroed and 'error' (may be NULL; its offset is 0) says why.
 *
 * What is referred to twice is written once. Everything in the log of effects happens when the
 * result is loaded, in the log's order, calls whose results were thrown away included.
 *
 * Returns ACHAR_OK; the graph's own status if building it failed; ACHAR_E_INVALID for a graph
 * without a root or an unknown protocol; ACHAR_E_UNSUPPORTED for what a low protocol has no way to
 * say (out-of-band buffers below 5, a set that contains itself below 4, …); ACHAR_E_NOMEM,
 * ACHAR_E_LIMIT. 'graph' is not changed as far as a program can see.
 */
ACHAR_API int achar_write(achar_graph *graph, int protocol, const achar_write_options *options,
                          achar_bytes *bytes, achar_error *error);

/*
 * achar_write_to() gives the pickle to 'sink' piece by piece instead: at most some 64 KiB are held
 * back, and long text and bytes are passed on from where they lie. ACHAR_E_IO if the sink stops
 * it; a part may then have been written.
 */
ACHAR_API int achar_write_to(achar_graph *graph, int protocol, const achar_write_options *options,
                             const achar_sink *sink, achar_error *error);

#ifdef __cplusplus
}
#endif
#endif
