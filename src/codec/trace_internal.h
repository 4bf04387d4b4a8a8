/* trace_internal.h - one run of a trace. */
#ifndef ACHAR_CODEC_TRACE_INTERNAL_H
#define ACHAR_CODEC_TRACE_INTERNAL_H

#include <achar/trace.h>

#include "codec/trace_show.h"

/* One run of achar_trace(). 'line' is what goes to the sink next. */
typedef struct tracing {
    memory mem;
    trace_machine machine;
    const achar_trace_options *options;
    const achar_sink *sink;
    int sink_failed;
    buffer line;
    buffer text;            /* scratch */
    uint64_t base;          /* offset of the pickle in the input */
    uint64_t steps_count;   /* opcodes so far, through all pickles */
    uint64_t shown_count;   /* of these shown */
    uint64_t pickles_count; /* begun */
    uint64_t steps_limit;   /* 0: none */
} tracing;

/* What an opcode did, in a sentence; where that is the same every time, the table's. */
void achar__trace_words(buffer *out, tracing *t, const trace_step *step);

/* The first 'nbytes' of 'at' in hexadecimal, up to 'limit' of them. */
void achar__trace_hex(buffer *out, const uint8_t *at, size_t nbytes, size_t limit);

/* Sends 'line' to the sink and empties it. */
void achar__trace_flush(tracing *t);

#endif
