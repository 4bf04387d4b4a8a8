/*
 * buffer.h - bytes that grow at the end.
 *
 * A buffer that ran out of memory remembers it: later appends do nothing and 'failed' is the code.
 * So a writer appends freely and looks once, at the end.
 */
#ifndef ACHAR_BASE_BUFFER_H
#define ACHAR_BASE_BUFFER_H

#include <string.h>

#include "base/memory.h"

typedef struct buffer {
    memory *mem;
    uint8_t *data;
    size_t nbytes;
    size_t capacity_nbytes;
    int failed; /* ACHAR_OK, or why the first append that did not work failed */
} buffer;

static inline void achar__buffer_init(buffer *b, memory *mem)
{
    *b = (buffer){.mem = mem};
}

static inline void achar__buffer_free(buffer *b)
{
    achar__memory_give(b->mem, b->data, b->capacity_nbytes);
    achar__buffer_init(b, b->mem);
}

/* Room for 'nbytes' more; false, and 'failed' set, if there is none. */
bool achar__buffer_grow(buffer *b, size_t nbytes);

/* Room for 'wished_nbytes' more, or for what there is memory for, but at least for 'least_nbytes';
 * false, and 'failed' set, if there is none for those. */
bool achar__buffer_grow_towards(buffer *b, size_t least_nbytes, size_t wished_nbytes);

/* Gives back room that is not used, if it is much. */
void achar__buffer_fit(buffer *b);

static inline bool achar__buffer_reserve(buffer *b, size_t nbytes)
{
    return __builtin_expect(b->capacity_nbytes - b->nbytes >= nbytes, 1) ||
           achar__buffer_grow(b, nbytes);
}

static inline void achar__buffer_append(buffer *b, const void *data, size_t nbytes)
{
    if (nbytes != 0 && achar__buffer_reserve(b, nbytes)) {
        memcpy(b->data + b->nbytes, data, nbytes);
        b->nbytes += nbytes;
    }
}

static inline void achar__buffer_byte(buffer *b, uint8_t byte)
{
    if (achar__buffer_reserve(b, 1))
        b->data[b->nbytes++] = byte;
}

static inline void achar__buffer_text(buffer *b, const char *text)
{
    achar__buffer_append(b, text, strlen(text));
}

/* As printf does; for short pieces of text. */
__attribute__((format(printf, 2, 3))) void achar__buffer_printf(buffer *b, const char *format, ...);

/* Appends 'count' times 'byte'. */
void achar__buffer_fill(buffer *b, uint8_t byte, size_t count);

#endif
