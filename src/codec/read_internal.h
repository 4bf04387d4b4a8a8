/* read_internal.h - what stream.c asks of the reader beside achar_read(). */
#ifndef ACHAR_CODEC_READ_INTERNAL_H
#define ACHAR_CODEC_READ_INTERNAL_H

#include <stdbool.h>

#include <achar/read.h>

/*
 * achar__read() is achar_read() for bytes that stand at 'base' in the whole input: offsets are
 * counted from there. 'held_nbytes' of memory are in use already and count against its limit, as
 * memory of the graph's until the caller says otherwise.
 */
int achar__read(const uint8_t *data, size_t data_nbytes, uint64_t base, uint64_t held_nbytes,
                const achar_read_options *options, achar_graph **graph, size_t *used_nbytes,
                achar_error *error);

/* An enum achar_encoding? */
static inline bool achar__encoding_exists(int encoding)
{
    return encoding >= ACHAR_ENCODING_ASCII && encoding <= ACHAR_ENCODING_BYTES;
}

#endif
