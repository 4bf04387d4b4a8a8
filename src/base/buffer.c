/* buffer.c - growth of buffer.h's bytes, and text into them. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

enum { BUFFER_FIRST_NBYTES = SIZE_OR_TINY(256, 1) };

bool achar__buffer_grow(buffer *b, size_t nbytes)
{
    if (b->failed)
        return false;
    if (nbytes > PTRDIFF_MAX - b->nbytes) {
        b->failed = ACHAR_E_NOMEM;
        return false;
    }
    size_t needed = b->nbytes + nbytes;
    size_t capacity = b->capacity_nbytes + b->capacity_nbytes / SIZE_OR_TINY(2, 8);
    if (capacity < BUFFER_FIRST_NBYTES)
        capacity = BUFFER_FIRST_NBYTES;
    if (capacity < needed)
        capacity = needed;
    uint8_t *data = achar__memory_resize(b->mem, b->data, b->capacity_nbytes, capacity);
    if (data == NULL) {
        b->failed = achar__memory_status(b->mem);
        return false;
    }
    b->data = data;
    b->capacity_nbytes = capacity;
    return true;
}

void achar__buffer_fill(buffer *b, uint8_t byte, size_t count)
{
    if (count != 0 && achar__buffer_reserve(b, count)) {
        memset(b->data + b->nbytes, byte, count);
        b->nbytes += count;
    }
}

void achar__buffer_printf(buffer *b, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int nbytes = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (nbytes > 0)
        achar__buffer_append(b, text,
                             (size_t)nbytes < sizeof text ? (size_t)nbytes : sizeof text - 1);
}
