/* token.c - cutting a pickle into opcodes. */
#include "codec/token.h"

#include <achar/status.h>

static int truncated(token *t, uint64_t needed)
{
    t->needed = needed;
    return ACHAR_E_TRUNCATED;
}

/* A line at 'at'; '*next' is behind its '\n'. */
static bool line(const uint8_t *at, const uint8_t *end, const uint8_t **data, size_t *nbytes,
                 const uint8_t **next)
{
    if (!decode_line(at, end, nbytes))
        return false;
    *data = at;
    *next = at + *nbytes + 1;
    return true;
}

int achar__token_next(const uint8_t *cursor, const uint8_t *end, token *t)
{
    static const struct {
        const char *name;
        int8_t width;
    } kinds[] = {
#define ARGUMENT(name, width) {#name, width},
        ARGUMENT_KINDS(ARGUMENT)
#undef ARGUMENT
    };

    *t = (token){0};
    if (cursor == end)
        return truncated(t, 1);
    t->opcode = *cursor;
    if (achar__opcodes[t->opcode].name == NULL)
        return ACHAR_E_OPCODE;
    t->info = &achar__opcodes[t->opcode];

    const uint8_t *at = cursor + 1;
    int width = kinds[t->info->argument].width;
    if (width >= 0) {
        if (!decode_room(at, end, (uint64_t)width))
            return truncated(t, 1 + (uint64_t)width);
        t->data = at;
        t->nbytes = (size_t)width;
        t->next = at + width;
        return ACHAR_OK;
    }
    if (width == ARGUMENT_LINE) {
        t->needs_line = true;
        if (!line(at, end, &t->data, &t->nbytes, &t->next) ||
            (t->info->argument == ARG_STRINGNL_NOESCAPE_PAIR &&
             !line(t->next, end, &t->second, &t->second_nbytes, &t->next)))
            return truncated(t, (uint64_t)(end - cursor));
        return ACHAR_OK;
    }
    unsigned size_nbytes = width == ARGUMENT_COUNTED1 ? 1 : width == ARGUMENT_COUNTED8U ? 8 : 4;
    if (!decode_room(at, end, size_nbytes))
        return truncated(t, 1 + size_nbytes);
    uint64_t size = size_nbytes == 1 ? *at : size_nbytes == 4 ? decode_uint4(at) : decode_uint8(at);
    t->data = at + size_nbytes;
    if (t->info->argument == ARG_LONG4 && size > INT32_MAX)
        return ACHAR_E_NUMBER;
    if (!decode_room(t->data, end, size))
        return truncated(t, size > UINT64_MAX - 16 ? UINT64_MAX : 1 + size_nbytes + size);
    t->nbytes = (size_t)size;
    t->next = t->data + size;
    return ACHAR_OK;
}
