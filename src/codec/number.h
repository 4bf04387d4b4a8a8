/*
 * number.h - numbers as text: decimal integers of any size, and floats as Python writes them.
 */
#ifndef ACHAR_CODEC_NUMBER_H
#define ACHAR_CODEC_NUMBER_H

#include "base/buffer.h"
#include "codec/graph.h"

/* Appends an integer (ACHAR_INT, ACHAR_BIGINT) in decimal. ACHAR_E_TYPE for other kinds, or the
 * buffer's failure. */
int achar__decimal_append(buffer *out, achar_value value);

/* Appends an integer given in two's complement, least significant byte first. */
int achar__decimal_append_long(buffer *out, const uint8_t *at, size_t nbytes);

/* The cell of an integer in two's complement at 'at', where it stays; 'form' says how its size
 * stands in front of it, FORM_BOXED that it does not. CELL_NOTHING where memory ran out. */
cell achar__long_cell(achar_graph *g, const uint8_t *at, size_t nbytes, int form);

/* The cell of what decode_is_decimal() accepted. CELL_NOTHING where memory ran out. */
cell achar__decimal_cell(achar_graph *g, const uint8_t *at, size_t nbytes);

/*
 * Reads a float as Python's float() does: decimal, or inf, infinity, nan; a sign, any case. False
 * if it is none. 'mem' is for scratch; '*status' is set where memory ran out (and false returned).
 */
bool achar__float_read(memory *mem, const uint8_t *at, size_t nbytes, double *value, int *status);

enum { FLOAT_REPR_NBYTES = 32 };

/* Python's repr(): the shortest text that reads back as the same float. Returns its size. */
size_t achar__float_repr(double value, char out[FLOAT_REPR_NBYTES]);

#endif
