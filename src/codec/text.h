/*
 * text.h - the encodings of text that pickles use. Inside a graph text is UTF-8 in which lone
 * surrogates are allowed (Python's 'surrogatepass').
 */
#ifndef ACHAR_CODEC_TEXT_H
#define ACHAR_CODEC_TEXT_H

#include "base/buffer.h"

/* Whether all bytes are below 128. */
static inline bool text_is_ascii(const uint8_t *at, size_t nbytes)
{
    uint64_t high = 0;
    for (; nbytes >= 8; at += 8, nbytes -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        high |= word;
    }
    for (; nbytes != 0; at++, nbytes--)
        high |= *at;
    return (high & 0x8080808080808080u) == 0;
}

/* Whether the bytes are UTF-8, lone surrogates allowed. */
bool achar__utf8_valid(const uint8_t *at, size_t nbytes);

/* The code point at 'at' of valid UTF-8; '*nbytes' is its size, 1 to 4. */
uint32_t achar__utf8_decode(const uint8_t *at, size_t *nbytes);

/* Writes a code point below 0x110000 to 'out'; returns its size, 1 to 4. */
size_t achar__utf8_encode(uint32_t code, uint8_t *out);

/* Appends Latin-1 as UTF-8. */
void achar__latin1_decode(buffer *out, const uint8_t *at, size_t nbytes);

/* Appends UTF-8 as Latin-1; false if a code point is above 255. */
bool achar__latin1_encode(buffer *out, const uint8_t *at, size_t nbytes);

/* Appends UNICODE's argument ('raw-unicode-escape') as UTF-8. False if an escape is cut short or
 * names no code point; '*problem' then says what is wrong. */
bool achar__raw_unicode_decode(buffer *out, const uint8_t *at, size_t nbytes, const char **problem);

/* Appends valid UTF-8 as UNICODE's argument, what would end the line escaped too. */
void achar__raw_unicode_encode(buffer *out, const uint8_t *at, size_t nbytes);

/* Appends STRING's argument without its quotes, escapes undone. False with '*problem' set. */
bool achar__string_escape_decode(buffer *out, const uint8_t *at, size_t nbytes,
                                 const char **problem);

#endif
