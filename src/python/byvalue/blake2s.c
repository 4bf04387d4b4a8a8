/*
 * blake2s.c - the compression function is written once, as a macro over the type of a word: a
 * number for plain BLAKE2s, a vector of 16 numbers for the lanes. Of that GCC and Clang make what
 * the processor has, chosen when the program starts.
 */
#include "python/byvalue/blake2s.h"

#include <string.h>

static const uint32_t initial[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
                                    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

static const uint8_t schedule[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

#define ROTATE(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
#define MIX(a, b, c, d, x, y)                                                                      \
    do {                                                                                           \
        v[a] = v[a] + v[b] + (x);                                                                  \
        v[d] = ROTATE(v[d] ^ v[a], 16);                                                            \
        v[c] = v[c] + v[d];                                                                        \
        v[b] = ROTATE(v[b] ^ v[c], 12);                                                            \
        v[a] = v[a] + v[b] + (y);                                                                  \
        v[d] = ROTATE(v[d] ^ v[a], 8);                                                             \
        v[c] = v[c] + v[d];                                                                        \
        v[b] = ROTATE(v[b] ^ v[c], 7);                                                             \
    } while (0)
#define ROUND(r)                                                                                   \
    do {                                                                                           \
        MIX(0, 4, 8, 12, m[schedule[r][0]], m[schedule[r][1]]);                                    \
        MIX(1, 5, 9, 13, m[schedule[r][2]], m[schedule[r][3]]);                                    \
        MIX(2, 6, 10, 14, m[schedule[r][4]], m[schedule[r][5]]);                                   \
        MIX(3, 7, 11, 15, m[schedule[r][6]], m[schedule[r][7]]);                                   \
        MIX(0, 5, 10, 15, m[schedule[r][8]], m[schedule[r][9]]);                                   \
        MIX(1, 6, 11, 12, m[schedule[r][10]], m[schedule[r][11]]);                                 \
        MIX(2, 7, 8, 13, m[schedule[r][12]], m[schedule[r][13]]);                                  \
        MIX(3, 4, 9, 14, m[schedule[r][14]], m[schedule[r][15]]);                                  \
    } while (0)
/* clang-format off */
#define ROUNDS() \
    ROUND(0); ROUND(1); ROUND(2); ROUND(3); ROUND(4); ROUND(5); ROUND(6); ROUND(7); ROUND(8); ROUND(9)
/* clang-format on */

/* Processes a block; 'total' is the bytes so far, with this block's; 'last': it is the last. */
static void compress(uint32_t h[8], const uint8_t block[64], uint64_t total, int last)
{
    uint32_t m[16], v[16];
    memcpy(m, block, sizeof m); /* words are little-endian, as all machines here */
    memcpy(v, h, 8 * sizeof *v);
    memcpy(v + 8, initial, 8 * sizeof *v);
    v[12] ^= (uint32_t)total;
    v[13] ^= (uint32_t)(total >> 32);
    v[14] ^= last ? UINT32_MAX : 0;
    ROUNDS();
    for (int i = 0; i < 8; i++)
        h[i] ^= v[i] ^ v[i + 8];
}

void byvalue_blake2s(const void *data, size_t nbytes, uint8_t out[BLAKE2S_NBYTES])
{
    const uint8_t *at = data;
    uint8_t block[64] = {0};
    uint64_t total = 0;
    uint32_t h[8];
    memcpy(h, initial, sizeof h);
    h[0] ^= 0x01010000 ^ BLAKE2S_NBYTES;
    for (; nbytes > 64; nbytes -= 64, at += 64) {
        total += 64;
        compress(h, at, total, 0);
    }
    if (nbytes)
        memcpy(block, at, nbytes);
    compress(h, block, total + nbytes, 1);
    memcpy(out, h, BLAKE2S_NBYTES);
}

typedef uint32_t lanes __attribute__((vector_size(4 * BLAKE2S_LANES)));

#if defined(__x86_64__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#ifndef FOR_EACH_PROCESSOR
#define FOR_EACH_PROCESSOR
#endif

/* BLAKE2s of each lane of 'count' stripes, count > 0; out[word][lane]. */
FOR_EACH_PROCESSOR static void digest_lanes(const uint8_t *at, size_t count,
                                            uint32_t out[8][BLAKE2S_LANES])
{
    lanes h[8], m[16], v[16];
    uint64_t total = 0;
    for (int i = 0; i < 8; i++)
        h[i] = initial[i] - (lanes){0};
    h[0] ^= 0x01010000 ^ BLAKE2S_NBYTES;
    for (; count; count--, at += BLAKE2S_STRIPE_NBYTES) {
        total += 64;
        memcpy(m, at, sizeof m);
        for (int i = 0; i < 8; i++) {
            v[i] = h[i];
            v[i + 8] = initial[i] - (lanes){0};
        }
        v[12] ^= (uint32_t)total;
        v[13] ^= (uint32_t)(total >> 32);
        if (count == 1)
            v[14] = ~v[14];
        ROUNDS();
        for (int i = 0; i < 8; i++)
            h[i] ^= v[i] ^ v[i + 8];
    }
    memcpy(out, h, sizeof h);
}

void byvalue_long_digest(const void *data, size_t nbytes, uint8_t out[BLAKE2S_NBYTES])
{
    size_t count = nbytes / BLAKE2S_STRIPE_NBYTES;
    if (count == 0) {
        byvalue_blake2s(data, nbytes, out);
        return;
    }
    uint8_t joined[BLAKE2S_LANES * BLAKE2S_NBYTES + BLAKE2S_STRIPE_NBYTES + 8];
    uint32_t words[8][BLAKE2S_LANES];
    digest_lanes(data, count, words);
    for (int lane = 0; lane < BLAKE2S_LANES; lane++) {
        for (int i = 0; i < 8; i++)
            memcpy(joined + lane * BLAKE2S_NBYTES + 4 * i, &words[i][lane], 4);
    }
    size_t rest = nbytes - count * BLAKE2S_STRIPE_NBYTES, used = BLAKE2S_LANES * BLAKE2S_NBYTES;
    memcpy(joined + used, (const uint8_t *)data + nbytes - rest, rest);
    used += rest;
    for (int i = 0; i < 8; i++)
        joined[used++] = (uint8_t)((uint64_t)nbytes >> (8 * i));
    byvalue_blake2s(joined, used, out);
}
