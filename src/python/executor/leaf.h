/*
 * leaf.h - the smallest objects on their way between client and worker, in a few bytes.
 *
 * A pickle of an int takes longer to set up than to write; where calls are short, that is what a map
 * spends its time on. So None, bools, ints of 64 bits, floats, and short ASCII text and bytes, each of
 * exactly that type, travel as a tag and their value. Both ends are of one build.
 */
#ifndef ACHAR_PYTHON_EXECUTOR_LEAF_H
#define ACHAR_PYTHON_EXECUTOR_LEAF_H

#include "python/state.h"

/* What wire_leaf_write() needs at most. */
#define WIRE_LEAF_NBYTES_MAX 258

/* Writes 'object' at 'at'. Returns how many bytes; 0: it is no leaf. Runs no Python code. */
size_t wire_leaf_write(PyObject *object, char *at);

/* A new reference, or NULL with an exception set. */
PyObject *wire_leaf_read(const char *at, size_t nbytes);

#endif
