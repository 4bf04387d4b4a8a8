/* pieces.c - see pieces.h. */
#include "python/byvalue/pieces.h"

#include <stdlib.h>

static int compare_pieces(const void *left, const void *right, void *base)
{
    const byvalue_piece *a = left, *b = right;
    if (a->mixed != b->mixed)
        return a->mixed < b->mixed ? -1 : 1;
    const uint8_t *bytes = base;
    size_t shorter = a->nbytes < b->nbytes ? a->nbytes : b->nbytes;
    int order = memcmp(bytes + a->start, bytes + b->start, shorter);
    if (!order)
        order = (a->nbytes > b->nbytes) - (a->nbytes < b->nbytes);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

void byvalue_finish_piece(byvalue_piece *piece, const uint8_t *bytes, size_t end)
{
    const uint8_t *at = bytes + piece->start;
    piece->nbytes = end - piece->start;
    uint64_t mixed = piece->nbytes, word;
    size_t left = piece->nbytes;
    for (; left; at += left < 8 ? left : 8, left -= left < 8 ? left : 8) {
        word = 0;
        memcpy(&word, at, left < 8 ? left : 8);
        mixed = (mixed ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        mixed ^= mixed >> 32;
    }
    piece->mixed = mixed * UINT64_C(0x9E3779B97F4A7C15);
}

/* Sorts 'count' pieces into 'sorted': by the upper bits into as many buckets, then each of these. */
int byvalue_order_pieces(uint8_t *bytes, const byvalue_piece *pieces, byvalue_piece *sorted,
                         size_t count)
{
    unsigned bits = 1;
    while (bits < 24 && (size_t)1 << bits < count)
        bits++;
    size_t *ends = PyMem_Calloc((size_t)1 << bits, sizeof *ends);
    if (!ends) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        ends[pieces[i].mixed >> (64 - bits)]++;
    for (size_t bucket = 1; bucket < (size_t)1 << bits; bucket++)
        ends[bucket] += ends[bucket - 1];
    for (size_t i = count; i > 0; i--)
        sorted[--ends[pieces[i - 1].mixed >> (64 - bits)]] = pieces[i - 1];
    for (size_t bucket = 0; bucket < (size_t)1 << bits; bucket++) {
        size_t start = ends[bucket]; /* by now it is where the bucket begins */
        size_t end = bucket + 1 < (size_t)1 << bits ? ends[bucket + 1] : count;
        if (end - start > 1)
            qsort_r(sorted + start, end - start, sizeof *sorted, compare_pieces, bytes);
    }
    PyMem_Free(ends);
    return 0;
}
