/* trace_memo.h - the part of the trace's machine that is its memo. */
#ifndef ACHAR_CODEC_TRACE_MEMO_H
#define ACHAR_CODEC_TRACE_MEMO_H

#include "codec/trace_machine.h"

void achar__trace_memo_init(trace_machine *m);

/* Gives back the memo's own storage; nodes have their own list. */
void achar__trace_memo_free(trace_machine *m);

/* The value at an index, until the next put; NULL: none. */
const achar_value *achar__trace_memo_get(trace_machine *m, uint64_t index);

/* Puts a value in; 'cursor' is where the pickle goes on. ACHAR_OK, ACHAR_E_NOMEM, ACHAR_E_LIMIT. */
int achar__trace_memo_put(trace_machine *m, uint64_t index, achar_value value,
                          const uint8_t *cursor);

/* One more reference to a value's node, and one less. */
void achar__trace_retain(achar_value value);
void achar__trace_release(trace_machine *m, achar_value value);

#endif
