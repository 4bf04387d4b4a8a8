/*
 * check.c - XXH64: four lanes of multiply and rotate over stripes of 32 bytes, then a mixing of the rest.
 */
#include "memo/check.h"
#include <endian.h>
#include <string.h>

static const uint64_t P1 = UINT64_C(0x9E3779B185EBCA87), P2 = UINT64_C(0xC2B2AE3D27D4EB4F),
                      P3 = UINT64_C(0x165667B19E3779F9), P4 = UINT64_C(0x85EBCA77C2B2AE63),
                      P5 = UINT64_C(0x27D4EB2F165667C5);

static uint64_t rotated(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t read_64(const uint8_t *at)
{
    uint64_t x;
    memcpy(&x, at, sizeof x);
    return le64toh(x);
}

static uint64_t read_32(const uint8_t *at)
{
    uint32_t x;
    memcpy(&x, at, sizeof x);
    return le32toh(x);
}

static uint64_t round_of(uint64_t lane, uint64_t input)
{
    return rotated(lane + input * P2, 31) * P1;
}

static uint64_t merged(uint64_t hash, uint64_t lane)
{
    return (hash ^ round_of(0, lane)) * P1 + P4;
}

uint64_t achar__memo_check(const void *data, size_t nbytes, uint64_t seed)
{
    const uint8_t *at = data;
    size_t left = nbytes;
    uint64_t hash = seed + P5;
    if (left >= 32) {
        uint64_t lanes[4] = {seed + P1 + P2, seed + P2, seed, seed - P1};
        for (; left >= 32; left -= 32, at += 32)
            for (int i = 0; i < 4; i++)
                lanes[i] = round_of(lanes[i], read_64(at + 8 * i));
        hash = rotated(lanes[0], 1) + rotated(lanes[1], 7) + rotated(lanes[2], 12) +
               rotated(lanes[3], 18);
        for (int i = 0; i < 4; i++)
            hash = merged(hash, lanes[i]);
    }
    hash += nbytes;
    for (; left >= 8; left -= 8, at += 8)
        hash = rotated(hash ^ round_of(0, read_64(at)), 27) * P1 + P4;
    if (left >= 4) {
        hash = rotated(hash ^ read_32(at) * P1, 23) * P2 + P3;
        at += 4;
        left -= 4;
    }
    for (; left > 0; left--, at++)
        hash = rotated(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}
