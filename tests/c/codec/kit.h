/* kit.h - what the codec's C tests share beyond exercise.h: cmocka, literal pickles, files. */
#ifndef ACHAR_TESTS_CODEC_KIT_H
#define ACHAR_TESTS_CODEC_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <achar/achar.h>

#include "exercise.h"

/* Reads a literal pickle; asserts that this works. */
#define READ(literal) read_bytes(literal, sizeof(literal) - 1)
achar_graph *read_bytes(const char *data, size_t nbytes);

/* Whether this is a run of `make stress`, which has time for all there is. */
bool stress(void);

/* How far to go in a loop over many things that are alike: 'step' under a sanitizer, which takes several times as
 * long; 1 without one, and in a run of `make stress`. */
size_t each(size_t step);

/* A file of the golden folder, which ACHAR_GOLDEN names, for each of which 'use' is called. */
void for_each_golden(void (*use)(const char *name, const unsigned char *data, size_t nbytes));

#endif
