/*
 * emit.h - opcodes and their arguments into a buffer: the other direction of decode.h. Inline;
 * none of these look at frames or protocols.
 */
#ifndef ACHAR_CODEC_EMIT_H
#define ACHAR_CODEC_EMIT_H

#include "base/buffer.h"
#include "codec/opcodes.h"

/* 8 bytes, of which as many count as the number takes. */
static inline void emit_little_endian(uint8_t *at, uint64_t number)
{
    memcpy(at, &number, 8); /* cell.h refuses other machines */
}

static inline void emit_opcode(buffer *out, uint8_t opcode)
{
    achar__buffer_byte(out, opcode);
}

/* An opcode and 'nbytes' bytes (up to 8) of little-endian argument. */
static inline void emit_number(buffer *out, uint8_t opcode, uint64_t number, unsigned nbytes)
{
    if (achar__buffer_reserve(out, 9)) {
        uint8_t *at = out->data + out->nbytes;
        at[0] = opcode;
        emit_little_endian(at + 1, number);
        out->nbytes += 1 + nbytes;
    }
}

/* An opcode and a line of decimal. */
static inline void emit_decimal_line(buffer *out, uint8_t opcode, uint64_t number)
{
    achar__buffer_printf(out, "%c%llu\n", opcode, (unsigned long long)number);
}

/* BININT1, BININT2 or BININT, whichever is shortest; 'integer' fits in 32 bits. */
static inline void emit_binint(buffer *out, int64_t integer)
{
    if (integer >= 0 && integer < 0x100)
        emit_number(out, OP_BININT1, (uint64_t)integer, 1);
    else if (integer >= 0 && integer < 0x10000)
        emit_number(out, OP_BININT2, (uint64_t)integer, 2);
    else
        emit_number(out, OP_BININT, (uint64_t)integer, 4);
}

/* LONG1 or LONG4 of two's complement; 'nbytes' is below 2^31. */
static inline void emit_long(buffer *out, const uint8_t *at, size_t nbytes)
{
    if (nbytes < 0x100)
        emit_number(out, OP_LONG1, nbytes, 1);
    else
        emit_number(out, OP_LONG4, nbytes, 4);
    achar__buffer_append(out, at, nbytes);
}

static inline void emit_binfloat(buffer *out, double real)
{
    if (achar__buffer_reserve(out, 9)) {
        uint64_t bits;
        memcpy(&bits, &real, sizeof bits);
        uint8_t *at = out->data + out->nbytes;
        at[0] = OP_BINFLOAT;
        for (int i = 8; i >= 1; i--, bits >>= 8)
            at[i] = (uint8_t)bits;
        out->nbytes += 9;
    }
}

#endif
