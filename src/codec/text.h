/*
 * text.h - the encodings of text that pickles use. Inside a graph text is UTF-8 in which lone
 * surrogates are allowed (Python's 'surrogatepass').
 */
#ifndef ACHAR_CODEC_TEXT_H
#define ACHAR_CODEC_TEXT_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/buffer.h"

#define TEXT_HIGH_BITS 0x8080808080808080u

static inline uint64_t text_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* Whether all bytes are below 128. Long text is looked at 64 bytes at a time. */
static inline bool text_is_ascii(const uint8_t *at, size_t nbytes)
{
    for (; nbytes >= 64; at += 64, nbytes -= 64) {
        uint64_t high = 0;
        for (int i = 0; i < 64; i += 8)
            high |= text_word(at + i);
        if (high & TEXT_HIGH_BITS)
            return false;
    }
    uint64_t high = 0;
    for (; nbytes >= 8; at += 8, nbytes -= 8)
        high |= text_word(at);
    for (; nbytes != 0; at++, nbytes--)
        high |= *at;
    return (high & TEXT_HIGH_BITS) == 0;
}

/* The same for short text; the bytes behind it, up to 'end', can be read too. */
static inline bool text_is_ascii_before(const uint8_t *at, size_t nbytes, const uint8_t *end)
{
#ifdef __SSE2__
    if (__builtin_expect((size_t)(end - at) < nbytes + 16, 0))
        return text_is_ascii(at, nbytes);
    int high_bits = 0; /* a bit for each byte */
    for (; nbytes > 16; at += 16, nbytes -= 16)
        high_bits |= _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)at));
    return (high_bits | (_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)at)) &
                         (int)((1u << nbytes) - 1))) == 0;
#else
    if (__builtin_expect((size_t)(end - at) < nbytes + 8, 0))
        return text_is_ascii(at, nbytes);
    uint64_t high = 0;
    for (; nbytes > 8; at += 8, nbytes -= 8)
        high |= text_word(at);
    /* of the last word only the first 'nbytes' bytes */
    high |= nbytes == 0 ? 0 : text_word(at) << (64 - 8 * nbytes);
    return (high & TEXT_HIGH_BITS) == 0;
#endif
}

/* ---- utf8.c: whether the bytes are UTF-8, lone surrogates allowed ---- */

bool achar__utf8_valid(const uint8_t *at, size_t nbytes);

/* The same without vectors, whatever the processor. */
bool achar__utf8_valid_by_characters(const uint8_t *at, size_t nbytes);

/* ---- text.c ---- */

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
