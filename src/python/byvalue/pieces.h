/*
 * pieces.h - pieces of memory in an order that depends on nothing but what is in them.
 *
 * What is to be the same in every process cannot come in the order in which a set has it. Any order
 * will do that depends on the pieces alone: by a number mixed from the bytes, which spreads evenly,
 * and by the bytes where that is the same.
 */
#ifndef ACHAR_PYTHON_BYVALUE_PIECES_H
#define ACHAR_PYTHON_BYVALUE_PIECES_H

#include "python/state.h"

typedef struct byvalue_piece {
    uint64_t mixed;
    size_t start, nbytes;
    size_t index; /* the caller's; equal pieces come in the order of it */
} byvalue_piece;

/* Completes a piece that begins at 'start' of 'bytes' and ends before 'end'. */
void byvalue_finish_piece(byvalue_piece *piece, const uint8_t *bytes, size_t end);

/* Puts the 'count' pieces into 'sorted', in order. 0, or -1 with MemoryError set. */
int byvalue_order_pieces(uint8_t *bytes, const byvalue_piece *pieces, byvalue_piece *sorted,
                         size_t count);

#endif
