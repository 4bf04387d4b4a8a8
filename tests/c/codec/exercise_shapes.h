/* exercise_shapes.h - every question of shapes.h and arrays.h, asked of every value of a graph. */
#ifndef ACHAR_TESTS_CODEC_EXERCISE_SHAPES_H
#define ACHAR_TESTS_CODEC_EXERCISE_SHAPES_H

#include <achar/achar.h>

/*
 * Asks all achar_as_…() about each value that the log of effects names. Answers must be among those
 * that the headers allow, agree with achar_shape(), and all memory that they point at is read.
 * Returns how many values were some shape. 'may_run_out': ACHAR_E_NOMEM and ACHAR_E_LIMIT are fine.
 */
size_t use_shapes(achar_graph *graph, int may_run_out);

#endif
