/*
 * decode.h - the arguments of opcodes, from bytes. Inline, for every loop that runs over a pickle.
 *
 * Two layers. decode_<kind>(at) reads a field of known size at 'at' and never fails; the caller has
 * asked decode_room() for the bytes. decode_<kind>… functions that take 'cursor' and 'end' look
 * for themselves and say so when the input ends too early. Nothing here moves a cursor, allocates
 * or reads at or past 'end'.
 *
 * All fields are little-endian except BINFLOAT's, and need no alignment.
 */
#ifndef ACHAR_CODEC_DECODE_H
#define ACHAR_CODEC_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* decode_room() says whether 'nbytes' (of any size, straight from hostile input) are there. */
static inline bool decode_room(const uint8_t *cursor, const uint8_t *end, uint64_t nbytes)
{
    return (uint64_t)(end - cursor) >= nbytes;
}

static inline uint16_t decode_uint2(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t decode_uint4(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline int32_t decode_int4(const uint8_t *at)
{
    return (int32_t)decode_uint4(at);
}

static inline uint64_t decode_uint8(const uint8_t *at)
{
    return (uint64_t)decode_uint4(at) | (uint64_t)decode_uint4(at + 4) << 32;
}

/* decode_float8() is BINFLOAT's argument: an IEEE 754 double, big-endian. */
static inline double decode_float8(const uint8_t *at)
{
    uint64_t bits = (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40 |
                    (uint64_t)at[3] << 32 | (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16 |
                    (uint64_t)at[6] << 8 | (uint64_t)at[7];
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/*
 * decode_long_nbytes() is how many of the 'nbytes' bytes at 'at', an integer in little-endian two's
 * complement, are needed to hold its value; what is cut off only repeats the sign. 0 for the value
 * 0, however it is written.
 */
static inline size_t decode_long_nbytes(const uint8_t *at, size_t nbytes)
{
    while (nbytes >= 2) {
        uint8_t top = at[nbytes - 1];
        bool below_negative = at[nbytes - 2] & 0x80;
        if (!(top == 0x00 && !below_negative) && !(top == 0xff && below_negative))
            break;
        nbytes--;
    }
    return nbytes == 1 && at[0] == 0 ? 0 : nbytes;
}

/* decode_int() is two's complement of at most 8 bytes; of none it is 0. */
static inline int64_t decode_int(const uint8_t *at, size_t nbytes)
{
    if (nbytes >= 4) { /* the first four and the last four, which may overlap */
        unsigned above = 8 * (unsigned)(8 - nbytes);
        uint64_t word = decode_uint4(at) | (uint64_t)decode_uint4(at + nbytes - 4) << (32 - above);
        return (int64_t)(word << above) >> above;
    }
    uint64_t bits = nbytes != 0 && at[nbytes - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = nbytes; i-- > 0;)
        bits = bits << 8 | at[i];
    return (int64_t)bits;
}

/*
 * decode_long_int64() is the argument of LONG1 and LONG4 without its size: two's complement of any
 * length, 0 bytes mean 0. False where the value needs more than 64 bits.
 */
static inline bool decode_long_int64(const uint8_t *at, size_t nbytes, int64_t *value)
{
    if (nbytes > 8) {
        nbytes = decode_long_nbytes(at, nbytes);
        if (nbytes > 8)
            return false;
    }
    *value = decode_int(at, nbytes);
    return true;
}

/*
 * decode_line() is the size of the line at 'cursor' without its '\n' (the next opcode is at
 * cursor + *nbytes + 1). False where no '\n' comes before 'end'.
 */
static inline bool decode_line(const uint8_t *cursor, const uint8_t *end, size_t *nbytes)
{
    const uint8_t *newline = cursor == end ? NULL : memchr(cursor, '\n', (size_t)(end - cursor));
    if (newline == NULL)
        return false;
    *nbytes = (size_t)(newline - cursor);
    return true;
}

/*
 * decode_decimal() reads [+-]?[0-9]+ with nothing around it, what every pickler writes. False for
 * anything else and for what exceeds 64 bits; tell them apart with decode_is_decimal().
 */
static inline bool decode_decimal(const uint8_t *at, size_t nbytes, int64_t *value)
{
    size_t i = nbytes != 0 && (at[0] == '-' || at[0] == '+');
    bool negative = i != 0 && at[0] == '-';
    if (i == nbytes)
        return false;
    int64_t sum = 0; /* built up below zero, where there is room for INT64_MIN */
    for (; i < nbytes; i++) {
        unsigned place = (unsigned)at[i] - '0';
        if (place > 9 || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, (int64_t)place, &sum))
            return false;
    }
    if (!negative && sum == INT64_MIN)
        return false;
    *value = negative ? sum : -sum;
    return true;
}

static inline bool decode_is_decimal(const uint8_t *at, size_t nbytes)
{
    size_t i = nbytes != 0 && (at[0] == '-' || at[0] == '+');
    if (i == nbytes)
        return false;
    for (; i < nbytes; i++)
        if ((unsigned)at[i] - '0' > 9)
            return false;
    return true;
}

#endif
