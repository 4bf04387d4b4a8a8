/*
 * token.h - a pickle as a sequence of opcodes with their arguments, not yet interpreted. The
 * disassembler and whatever must know where a pickle ends read tokens; the reader has a loop of
 * its own over the same decoders.
 */
#ifndef ACHAR_CODEC_TOKEN_H
#define ACHAR_CODEC_TOKEN_H

#include "codec/decode.h"
#include "codec/opcodes.h"

typedef struct token {
    const opcode_info *info; /* NULL: not an opcode */
    uint8_t opcode;
    const uint8_t *data; /* the argument: the field, the line without '\n', the counted bytes */
    size_t nbytes;
    const uint8_t *second; /* the second line of a pair */
    size_t second_nbytes;
    const uint8_t *next;
    uint64_t needed; /* when truncated: bytes from the opcode on that it takes at least… */
    bool needs_line; /* …and then up to the end of a line */
} token;

/*
 * token_next() is the opcode at 'cursor'. ACHAR_OK; ACHAR_E_OPCODE; ACHAR_E_TRUNCATED with 'needed'
 * set, also at the end of the input; ACHAR_E_NUMBER for a negative size (LONG4).
 */
int achar__token_next(const uint8_t *cursor, const uint8_t *end, token *t);

#endif
