/*
 * json_text.h - the leaves of JSON: strings, bytes as base64, floats.
 *
 * Text is UTF-8 in which lone surrogates may stand (Python's str). Each is escaped, so that the JSON is
 * UTF-8 proper; but a reader of JSON joins an escaped high and low surrogate to one character, which
 * two in a str are not: such text is printed in parts.
 */
#ifndef ACHAR_CODEC_JSON_TEXT_H
#define ACHAR_CODEC_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* "text", quoted and escaped. */
void achar__json_string(buffer *out, const uint8_t *at, size_t nbytes);

/* Whether a reader would join some of the text's surrogates. */
bool achar__json_joins(const uint8_t *at, size_t nbytes);

/* The parts that no reader of JSON can join, with commas between. */
void achar__json_parts(buffer *out, const uint8_t *at, size_t nbytes);

/* "base64", quoted. */
void achar__json_base64(buffer *out, const uint8_t *at, size_t nbytes);

/* The shortest decimal that reads the same; {"$float": "nan"} and the like for what JSON has not. */
void achar__json_float(buffer *out, double real);

#endif
