/* buffer.c - growth of buffer.h's bytes, and text into them. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    BUFFER_FIRST_NBYTES = SIZE_OR_TINY(256, 1),
    FIT_SPARE_NBYTES = SIZE_OR_TINY(4 << 10, 1), /* that nobody minds, beside… */
    FIT_SPARE_SHARE = 8,                         /* …so much of what is used */
};

static bool resize(buffer *b, size_t capacity)
{
    uint8_t *data = achar__memory_resize(b->mem, b->data, b->capacity_nbytes, capacity);
    if (data == NULL)
        return false;
    b->data = data;
    b->capacity_nbytes = capacity;
    return true;
}

bool achar__buffer_grow_towards(buffer *b, size_t least_nbytes, size_t wished_nbytes)
{
    if (b->failed)
        return false;
    if (least_nbytes > PTRDIFF_MAX - b->nbytes) {
        b->failed = ACHAR_E_NOMEM;
        return false;
    }
    size_t needed = b->nbytes + least_nbytes;
    size_t capacity = b->capacity_nbytes + b->capacity_nbytes / SIZE_OR_TINY(2, 8);
    if (capacity < BUFFER_FIRST_NBYTES)
        capacity = BUFFER_FIRST_NBYTES;
    if (wished_nbytes < PTRDIFF_MAX - b->nbytes && capacity < b->nbytes + wished_nbytes)
        capacity = b->nbytes + wished_nbytes;
    if (capacity < needed)
        capacity = needed;
    /* Where there is no memory for all of that, for half of what is more than needed, and so on: at
     * least half of what is left is taken, so that the last of it does not go byte by byte. */
    while (capacity > b->capacity_nbytes) {
        if (resize(b, capacity))
            return true;
        if (capacity == needed) {
            b->failed = achar__memory_status(b->mem);
            return false;
        }
        capacity = needed + (capacity - needed) / 2;
    }
    return true;
}

bool achar__buffer_grow(buffer *b, size_t nbytes)
{
    return achar__buffer_grow_towards(b, nbytes, nbytes);
}

void achar__buffer_fit(buffer *b)
{
    size_t spare = b->capacity_nbytes - b->nbytes;
    if (b->nbytes != 0 && spare > FIT_SPARE_NBYTES && spare > b->nbytes / FIT_SPARE_SHARE)
        resize(b, b->nbytes); /* if it cannot be, it stays as it is */
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
