/* text.c - the encodings of text that pickles use. */
#include "codec/text.h"

/* ---- UTF-8 ---- */

uint32_t achar__utf8_decode(const uint8_t *at, size_t *nbytes)
{
    uint8_t first = at[0];
    if (first < 0x80) {
        *nbytes = 1;
        return first;
    }
    size_t count = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = first & (0xffu >> (count + 1));
    for (size_t i = 1; i < count; i++)
        code = code << 6 | (at[i] & 0x3f);
    *nbytes = count;
    return code;
}

size_t achar__utf8_encode(uint32_t code, uint8_t *out)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t count = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = count; i-- > 1; code >>= 6)
        out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(0xf00 >> count | code);
    return count;
}

static void append_code(buffer *out, uint32_t code)
{
    uint8_t bytes[4];
    achar__buffer_append(out, bytes, achar__utf8_encode(code, bytes));
}

/* ---- Latin-1 ---- */

void achar__latin1_decode(buffer *out, const uint8_t *at, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++)
        append_code(out, at[i]);
}

bool achar__latin1_encode(buffer *out, const uint8_t *at, size_t nbytes)
{
    const uint8_t *end = at + nbytes;
    while (at != end) {
        size_t width;
        uint32_t code = achar__utf8_decode(at, &width);
        if (code > 0xff)
            return false;
        achar__buffer_byte(out, (uint8_t)code);
        at += width;
    }
    return true;
}

/* ---- escapes ---- */

static int digit_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* 'count' hexadecimal digits; false if some are missing. */
static bool read_hex(const uint8_t *at, const uint8_t *end, size_t count, uint32_t *value)
{
    if ((size_t)(end - at) < count)
        return false;
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        int digit = digit_value(at[i]);
        if (digit < 0)
            return false;
        *value = *value << 4 | (uint32_t)digit;
    }
    return true;
}

bool achar__raw_unicode_decode(buffer *out, const uint8_t *at, size_t nbytes, const char **problem)
{
    const uint8_t *end = at + nbytes;
    while (at != end) {
        /* Every byte but a backslash is Latin-1; so is a backslash without u or U behind it, and
         * then what follows it stands for itself, another backslash too. */
        if (*at != '\\' || end - at == 1) {
            append_code(out, *at++);
            continue;
        }
        uint8_t which = at[1];
        if (which != 'u' && which != 'U') {
            achar__buffer_byte(out, '\\');
            append_code(out, which);
            at += 2;
            continue;
        }
        size_t digits = which == 'u' ? 4 : 8;
        uint32_t code;
        if (!read_hex(at + 2, end, digits, &code)) {
            *problem = which == 'u' ? "truncated \\uXXXX escape" : "truncated \\UXXXXXXXX escape";
            return false;
        }
        if (code >= 0x110000) {
            *problem = "\\Uxxxxxxxx beyond the last code point";
            return false;
        }
        append_code(out, code);
        at += 2 + digits;
    }
    return true;
}

void achar__raw_unicode_encode(buffer *out, const uint8_t *at, size_t nbytes)
{
    const uint8_t *end = at + nbytes;
    while (at != end) {
        size_t width;
        uint32_t code = achar__utf8_decode(at, &width);
        if (code >= 0x10000)
            achar__buffer_printf(out, "\\U%08x", code);
        else if (code > 0xff || code == '\\' || code == '\0' || code == '\n' || code == '\r' ||
                 code == 0x1a)
            achar__buffer_printf(out, "\\u%04x", code);
        else
            achar__buffer_byte(out, (uint8_t)code);
        at += width;
    }
}

bool achar__string_escape_decode(buffer *out, const uint8_t *at, size_t nbytes,
                                 const char **problem)
{
    static const char names[] = "\\'\"bftnrva";
    static const char meanings[] = "\\'\"\b\f\t\n\r\v\a";
    const uint8_t *end = at + nbytes;
    while (at != end) {
        if (*at != '\\') {
            achar__buffer_byte(out, *at++);
            continue;
        }
        if (++at == end) {
            *problem = "a backslash at the end of the string";
            return false;
        }
        uint8_t which = *at++;
        const char *name = which == '\0' ? NULL : strchr(names, which);
        if (name != NULL) {
            achar__buffer_byte(out, (uint8_t)meanings[name - names]);
        } else if (which >= '0' && which <= '7') {
            unsigned code = which - '0';
            for (int i = 0; i < 2 && at != end && *at >= '0' && *at <= '7'; i++)
                code = code << 3 | (unsigned)(*at++ - '0');
            achar__buffer_byte(out, (uint8_t)code);
        } else if (which == 'x') {
            uint32_t code;
            if (!read_hex(at, end, 2, &code)) {
                *problem = "\\x without two hexadecimal digits";
                return false;
            }
            achar__buffer_byte(out, (uint8_t)code);
            at += 2;
        } else { /* an unknown escape stands for itself */
            achar__buffer_byte(out, '\\');
            achar__buffer_byte(out, which);
        }
    }
    return true;
}
