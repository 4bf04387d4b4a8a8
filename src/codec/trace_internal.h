/* trace_internal.h - what the two forms of a trace, lines (trace.c) and page (trace_html.c), share. */
#ifndef ACHAR_CODEC_TRACE_INTERNAL_H
#define ACHAR_CODEC_TRACE_INTERNAL_H

#include <achar/trace.h>

#include "codec/trace_show.h"

/* Opcodes on a page, where no other limit is given. */
enum { TRACE_PAGE_STEPS = 100000 };

/* One run of achar_trace(). Both forms take part in it: 'line' is what goes to the sink next. */
typedef struct tracing {
    memory mem;
    trace_machine machine;
    const achar_trace_options *options;
    const achar_sink *sink;
    int sink_failed;
    buffer line;
    buffer text;             /* scratch */
    uint64_t base;           /* offset of the pickle in the input */
    uint64_t steps_count;    /* opcodes so far, through all pickles */
    uint64_t shown_count;    /* of these shown */
    uint64_t pickles_count;  /* begun */
    uint64_t steps_limit;    /* 0: none */
    struct trace_page *page; /* NULL: lines */
} tracing;

/* What an opcode did, in a sentence; where that is the same every time, the table's. */
void achar__trace_words(buffer *out, tracing *t, const trace_step *step);

/* The first 'nbytes' of 'at' in hexadecimal, up to 'limit' of them. */
void achar__trace_hex(buffer *out, const uint8_t *at, size_t nbytes, size_t limit);

/* Sends 'line' to the sink and empties it. */
void achar__trace_flush(tracing *t);

/* Whether an opcode would import or call something, or ask the loading program. */
bool achar__trace_is_dangerous(const tracing *t, const trace_step *step);

/* The lines of an opcode, and of a fault, in 'line'. */
void achar__trace_lines(tracing *t, const trace_step *step);
void achar__trace_fault_lines(tracing *t, const trace_step *step, const achar_error *error);

/*
 * The page. begin() and end() once; step() for each opcode that is shown;
 * ready() before each of these is run, with its offset; fault() after the last if there is one. What
 * fails shows in 'line' or 'sink_failed'; begin() also returns it.
 */
int achar__trace_page_begin(tracing *t);
void achar__trace_page_ready(tracing *t, uint64_t offset);
void achar__trace_page_step(tracing *t, const trace_step *step);
void achar__trace_page_fault(tracing *t, const trace_step *step, const achar_error *error);
void achar__trace_page_end(tracing *t, const char *note);
void achar__trace_page_free(tracing *t);

#endif
