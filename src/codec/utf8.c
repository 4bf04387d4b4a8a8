/*
 * utf8.c - is it UTF-8? Two ways to find out, which agree on every text:
 *
 *   - a character at a time, ASCII eight bytes at a time: short text, and every processor;
 *   - a vector at a time, where the processor can look up 16 or 32 bytes in a table of 16 at once:
 *     long text.
 *
 * The second is the algorithm of John Keiser and Daniel Lemire ("Validating UTF-8 in less than one
 * instruction per byte", 2021). Whatever is wrong within two bytes that follow one another shows in
 * three of their four digits. Each digit has a table that says which faults it allows for, one bit
 * for each, and what all three allow is the fault. What is left are continuations after the second
 * byte of a character: two of them in a row (a "fault" here) must be where a byte two or three
 * before asks for one, and nowhere else.
 *
 *     bytes    …  e3  81  82  41  …          before[1] is the byte before, and so on
 *     digits       e 3 8
 *                    8 1 8   two continuations, and e3 asked for the second: right
 *
 * Surrogates are let through (Python's 'surrogatepass'), so the paper's bit for them is not here.
 * The library's own code and not simdutf's, which is C++ and refuses them.
 */
#include "codec/text.h"

/* ---- a character at a time ---- */

/*
 * The size of the character that is not ASCII and begins at 'at', where 4 bytes can be read; 0 if
 * it is not one. As a little-endian number they are compared with what a character of each size has
 * in its fixed bits; then comes what must not be: the longer form of a shorter character, or one
 * beyond the last code point.
 */
static inline size_t character(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, 4);
    if ((word & 0xc0e0) == 0x80c0)
        return (word & 0x1e) != 0 ? 2 : 0;
    if ((word & 0xc0c0f0) == 0x8080e0)
        return (word & 0x200f) != 0 ? 3 : 0;
    if ((word & 0xc0c0c0f8) == 0x808080f0)
        return (word & 0x3007) != 0 && ((word & 0x04) == 0 || (word & 0x3003) == 0) ? 4 : 0;
    return 0;
}

/* Where it stops looking, less than 8 bytes before the end; NULL if what comes before is wrong. */
static inline const uint8_t *skip_valid(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 8) {
        uint64_t high = text_word(at) & TEXT_HIGH_BITS;
        if (high == 0) {
            at += 8;
            continue;
        }
        at += __builtin_ctzll(high) / 8;
        /* where one is not ASCII, the next is not either, as a rule */
        while (end - at >= 4 && *at >= 0x80) {
            size_t size = character(at);
            if (size == 0)
                return NULL;
            at += size;
        }
    }
    return at;
}

bool achar__utf8_valid_by_characters(const uint8_t *at, size_t nbytes)
{
    if (nbytes == 0)
        return true; /* 'at' may be NULL then */
    const uint8_t *end = at + nbytes;
    at = skip_valid(at, end);
    if (at == NULL)
        return false;
    uint8_t last[16] = {0}; /* NUL does not continue a character */
    memcpy(last, at, (size_t)(end - at));
    return skip_valid(last, last + sizeof last) != NULL;
}

/* ---- a vector at a time ---- */

#if defined __x86_64__

#include <immintrin.h>

#define HAS_VECTORS 1
#define FOR_VECTORS __attribute__((target("avx2")))
typedef uint8_t vector __attribute__((vector_size(32)));

static bool can_look_up(void)
{
    return __builtin_cpu_supports("avx2");
}

/* Each of 'places', below 16, in a table of which every 16 bytes are the same. */
static inline FOR_VECTORS vector look_up(vector table, vector places)
{
    return (vector)_mm256_shuffle_epi8((__m256i)table, (__m256i)places);
}

static inline FOR_VECTORS bool has_high_bit(vector v)
{
    return _mm256_movemask_epi8((__m256i)v) != 0;
}

#elif defined __aarch64__

#include <arm_neon.h>

#define HAS_VECTORS 1
#define FOR_VECTORS
typedef uint8_t vector __attribute__((vector_size(16)));

static bool can_look_up(void)
{
    return true;
}

static inline vector look_up(vector table, vector places)
{
    return (vector)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)places);
}

static inline bool has_high_bit(vector v)
{
    return vmaxvq_u8((uint8x16_t)v) >= 0x80;
}

#endif

#ifdef HAS_VECTORS

enum { LONG_NBYTES = 48 }; /* from here on it pays; room for a vector and what is in front of it */

_Static_assert(LONG_NBYTES >= 6 + sizeof(vector), "the last vector is within the text");

/* What may be wrong with a byte and the one before it. */
enum {
    TOO_SHORT = 1 << 0,   /* the start of a character, then no continuation */
    TOO_LONG = 1 << 1,    /* a continuation of ASCII */
    TWO_BYTES = 1 << 2,   /* c0, c1: in two bytes what fits in one */
    THREE_BYTES = 1 << 3, /* e0 80 to e0 9f: in three what fits in two */
    FOUR_BYTES = 1 << 4, /* f0 80 to f0 8f: in four what fits in three; f5 and more with 80 to 8f */
    TOO_LARGE = 1 << 5,  /* f4 90 and more: beyond the last code point */
    CONTINUATIONS = 1 << 7, /* two: wrong unless an earlier byte asks for the second */
    ANY_LOW = TOO_SHORT | TOO_LONG | CONTINUATIONS, /* what no low digit rules out */
};

typedef struct tables {
    uint8_t high_before[16]; /* by the high digit of the byte before */
    uint8_t low_before[16];  /* by its low digit */
    uint8_t high[16];        /* by the high digit of the byte itself */
} tables;

static const tables faults = {
    .high_before =
        {
            [0x0 ... 0x7] = TOO_LONG,
            [0x8 ... 0xb] = CONTINUATIONS,
            [0xc] = TOO_SHORT | TWO_BYTES,
            [0xd] = TOO_SHORT,
            [0xe] = TOO_SHORT | THREE_BYTES,
            [0xf] = TOO_SHORT | FOUR_BYTES | TOO_LARGE,
        },
    .low_before =
        {
            [0x0] = ANY_LOW | TWO_BYTES | THREE_BYTES | FOUR_BYTES,
            [0x1] = ANY_LOW | TWO_BYTES,
            [0x2 ... 0x3] = ANY_LOW,
            [0x4] = ANY_LOW | TOO_LARGE,
            [0x5 ... 0xf] = ANY_LOW | TOO_LARGE | FOUR_BYTES,
        },
    .high =
        {
            [0x0 ... 0x7] = TOO_SHORT,
            [0x8] = TOO_LONG | CONTINUATIONS | TWO_BYTES | THREE_BYTES | FOUR_BYTES,
            [0x9] = TOO_LONG | CONTINUATIONS | TWO_BYTES | THREE_BYTES | TOO_LARGE,
            [0xa ... 0xb] = TOO_LONG | CONTINUATIONS | TWO_BYTES | TOO_LARGE,
            [0xc ... 0xf] = TOO_SHORT,
        },
};

static inline FOR_VECTORS vector load(const uint8_t *at)
{
    vector v;
    memcpy(&v, at, sizeof v);
    return v;
}

static inline FOR_VECTORS vector load_table(const uint8_t *table)
{
    vector v;
    for (size_t i = 0; i < sizeof v; i += 16)
        memcpy((uint8_t *)&v + i, table, 16);
    return v;
}

/* Of LONG_NBYTES at least. */
static FOR_VECTORS bool valid_by_vectors(const uint8_t *at, const uint8_t *end)
{
    const vector high_before = load_table(faults.high_before);
    const vector low_before = load_table(faults.low_before);
    const vector high = load_table(faults.high);
    /* The first characters, so that there are three bytes in front of each vector. */
    for (const uint8_t *start = at; at - start < 3;) {
        size_t size = *at < 0x80 ? 1 : character(at);
        if (size == 0)
            return false;
        at += size;
    }
    vector wrong = {0};
    for (; at != end; at += sizeof wrong) {
        if ((size_t)(end - at) < sizeof wrong)
            at = end - sizeof wrong; /* some of it once more */
        vector bytes = load(at), third = load(at - 3);
        if (!has_high_bit(bytes | third))
            continue;
        vector first = load(at - 1), second = load(at - 2);
        vector fault = look_up(high_before, first >> 4) & look_up(low_before, first & 0x0f) &
                       look_up(high, bytes >> 4);
        vector asked = (vector)(second >= 0xe0) | (vector)(third >= 0xf0);
        wrong |= fault ^ (asked & CONTINUATIONS);
    }
    for (size_t i = 0; i < sizeof wrong; i++)
        if (wrong[i] != 0)
            return false;
    /* What is before the last character is right; is it complete? */
    do
        at--;
    while ((*at & 0xc0) == 0x80);
    return achar__utf8_valid_by_characters(at, (size_t)(end - at));
}

#endif

bool achar__utf8_valid(const uint8_t *at, size_t nbytes)
{
#ifdef HAS_VECTORS
    if (nbytes >= LONG_NBYTES && can_look_up())
        return valid_by_vectors(at, at + nbytes);
#endif
    return achar__utf8_valid_by_characters(at, nbytes);
}
