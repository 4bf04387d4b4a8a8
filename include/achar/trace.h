/*
 * trace.h - a pickle at work: each opcode with the stack and the memo after it, for people.
 */
#ifndef ACHAR_TRACE_H
#define ACHAR_TRACE_H

#include <achar/memory.h>
#include <achar/read.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What achar_trace() writes. */
enum achar_trace_format {
    ACHAR_TRACE_TEXT, /* lines of UTF-8 */
    ACHAR_TRACE_HTML, /* one page to step through, with all that it needs inside */
};

/* All zero, or a NULL pointer, is the default: all of the first pickle as text. */
typedef struct achar_trace_options {
    const achar_allocator *allocator;
    uint64_t max_nbytes; /* of memory; 0: no limit */
    int format;          /* enum achar_trace_format */
    int encoding;        /* of Python 2's str: enum achar_encoding */
    int all;             /* 1: all pickles that stand one after another, not only the first */
    int full;            /* 1: all of the stack and the memo at each step, and values longer */
    int color;           /* 1: escape sequences for colours, in text */
    size_t width;        /* text: columns that a line may take; 0: any number */
    /* What is shown. Opcodes are counted from 1, through all pickles; offsets from 'data'. An
     * opcode is shown if it is in both ranges. What comes before is run all the same, what comes
     * after is not looked at. 0: from the first, to the last, however many. */
    uint64_t first_step, last_step;
    uint64_t first_offset, last_offset;
    uint64_t steps_limit; /* so many opcodes at most; the page has 100,000 for 0 */
    const char *title;    /* of the page; any text. NULL: "a pickle" */
} achar_trace_options;

/*
 * achar_trace() writes to 'sink' what the opcodes at 'data' do, one after another. Nothing is
 * executed: imports and calls appear as what they would be. 'used_nbytes' (may be NULL) is where it
 * stopped: behind the last STOP, or at the first opcode that was not looked at.
 *
 * Returns ACHAR_OK. A pickle that achar_read() refuses is refused with the same code, offset and
 * message, after all the steps up to there, and the output itself says so too. ACHAR_E_INVALID for
 * options that contradict each other; ACHAR_E_IO if the sink stops; ACHAR_E_NOMEM, ACHAR_E_LIMIT.
 *
 * Time is linear in the input, and a step costs what it shows, however much is on the stack and in
 * the memo. Of a container only as many items are kept as can be shown, and of a large memo only what
 * later opcodes ask for; so memory is proportional to the stack and to that, plus 16 to 32 bytes for
 * each entry of a memo whose indexes do not simply count up. ('full' keeps all of the memo, and each
 * step shows it.) 'data' is not copied.
 */
ACHAR_API int achar_trace(const void *data, size_t data_nbytes, const achar_trace_options *options,
                          const achar_sink *sink, size_t *used_nbytes, achar_error *error);

#ifdef __cplusplus
}
#endif
#endif
