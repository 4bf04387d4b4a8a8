/*
 * shapes.c - known shapes in any pickle: every question of shapes.h and arrays.h, about every value
 * that it makes, in each encoding of Python 2's str. Whatever an answer points at is read.
 */
#include "exercise_shapes.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    static const unsigned char raw[48];
    static const achar_buffer buffers[] = {{raw, sizeof raw, 0}, {raw, 8, 1}};
    for (int encoding = ACHAR_ENCODING_LATIN1; encoding <= ACHAR_ENCODING_BYTES; encoding += 2) {
        achar_read_options options = {.encoding = encoding, .buffers = buffers, .buffers_count = 2};
        achar_graph *graph;
        if (achar_read(data, nbytes, &options, &graph, NULL, NULL) == ACHAR_OK)
            use_shapes(graph, 0);
        achar_graph_free(graph);
    }
    return 0;
}
