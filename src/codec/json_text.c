/* json_text.c - strings, bytes and floats in JSON; json_text.h says how. */
#include "codec/json_text.h"

#include <string.h>

#include "codec/number.h"
#include "codec/text.h"

/* What may not stand in a string, and what some programs take for the end of a line. */
static bool needs_escape(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0xd800 && code <= 0xdfff);
}

void achar__json_string(buffer *out, const uint8_t *at, size_t nbytes)
{
    const uint8_t *end = at + nbytes;
    achar__buffer_byte(out, '"');
    while (at != end) {
        size_t width;
        uint32_t code = achar__utf8_decode(at, &width);
        if (code == '"' || code == '\\')
            achar__buffer_printf(out, "\\%c", (int)code);
        else if (code == '\n')
            achar__buffer_text(out, "\\n");
        else if (code == '\t')
            achar__buffer_text(out, "\\t");
        else if (needs_escape(code))
            achar__buffer_printf(out, "\\u%04x", code);
        else
            achar__buffer_append(out, at, width);
        at += width;
    }
    achar__buffer_byte(out, '"');
}

/*
 * The size of the part up to and with the first high surrogate that a low one follows; all of the
 * text where there is none. In UTF-8 they are ed a0…af xx and ed b0…bf xx.
 */
static size_t part_before_pair(const uint8_t *at, size_t nbytes)
{
    const uint8_t *end = at + nbytes;
    const uint8_t *found = at;
    while (end - found >= 6 && (found = memchr(found, 0xed, (size_t)(end - found) - 5)) != NULL) {
        if ((found[1] & 0xf0) == 0xa0 && found[3] == 0xed && (found[4] & 0xf0) == 0xb0)
            return (size_t)(found + 3 - at);
        found++;
    }
    return nbytes;
}

bool achar__json_joins(const uint8_t *at, size_t nbytes)
{
    return part_before_pair(at, nbytes) != nbytes;
}

void achar__json_parts(buffer *out, const uint8_t *at, size_t nbytes)
{
    while (nbytes != 0) {
        size_t part_nbytes = part_before_pair(at, nbytes);
        achar__json_string(out, at, part_nbytes);
        at += part_nbytes;
        nbytes -= part_nbytes;
        achar__buffer_text(out, nbytes != 0 ? ", " : "");
    }
}

void achar__json_base64(buffer *out, const uint8_t *at, size_t nbytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    achar__buffer_byte(out, '"');
    for (; nbytes != 0; at += 3) {
        size_t have = nbytes < 3 ? nbytes : 3;
        uint32_t word =
            (uint32_t)at[0] << 16 | (have > 1 ? (uint32_t)at[1] << 8 : 0) | (have > 2 ? at[2] : 0);
        char group[4] = {digits[word >> 18], digits[word >> 12 & 63],
                         have > 1 ? digits[word >> 6 & 63] : '=',
                         have > 2 ? digits[word & 63] : '='};
        achar__buffer_append(out, group, sizeof group);
        nbytes -= have;
    }
    achar__buffer_byte(out, '"');
}

void achar__json_float(buffer *out, double real)
{
    char repr[FLOAT_REPR_NBYTES];
    size_t nbytes = achar__float_repr(real, repr);
    bool finite = repr[nbytes - 1] != 'n' && repr[nbytes - 1] != 'f';
    achar__buffer_text(out, finite ? "" : "{\"$float\": \"");
    achar__buffer_append(out, repr, nbytes);
    achar__buffer_text(out, finite ? "" : "\"}");
}
