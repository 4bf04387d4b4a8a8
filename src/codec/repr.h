/* repr.h - text, bytes and bytearrays as Python's repr() shows them. */
#ifndef ACHAR_CODEC_REPR_H
#define ACHAR_CODEC_REPR_H

#include "base/buffer.h"

/* 'at' is valid UTF-8, lone surrogates allowed; they are escaped, so the result is true UTF-8. */
void achar__repr_text(buffer *out, const uint8_t *at, size_t nbytes);

void achar__repr_bytes(buffer *out, const uint8_t *at, size_t nbytes);
void achar__repr_bytearray(buffer *out, const uint8_t *at, size_t nbytes);

#endif
