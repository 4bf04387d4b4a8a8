/* repr.c - text, bytes and bytearrays as Python's repr() shows them. */
#include "codec/repr.h"

#include "codec/text.h"

static bool is_printable(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
#define RANGE(first, last) {first, last},
#include "codec/unprintable.def"
#undef RANGE
    };
    size_t low = 0, high = sizeof ranges / sizeof *ranges; /* the first that ends at or after it */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ranges[middle].last < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low == sizeof ranges / sizeof *ranges || code < ranges[low].first;
}

/* Double quotes only around what has single ones and no double ones. */
static uint8_t choose_quote(const uint8_t *at, size_t nbytes)
{
    bool has_single = nbytes != 0 && memchr(at, '\'', nbytes) != NULL;
    bool has_double = nbytes != 0 && memchr(at, '"', nbytes) != NULL;
    return has_single && !has_double ? '"' : '\'';
}

static void ascii_char(buffer *out, uint8_t byte, uint8_t escaped_quote)
{
    if (byte == escaped_quote || byte == '\\') {
        achar__buffer_byte(out, '\\');
        achar__buffer_byte(out, byte);
    } else if (byte == '\t') {
        achar__buffer_text(out, "\\t");
    } else if (byte == '\n') {
        achar__buffer_text(out, "\\n");
    } else if (byte == '\r') {
        achar__buffer_text(out, "\\r");
    } else if (byte < 0x20 || byte >= 0x7f) {
        achar__buffer_printf(out, "\\x%02x", byte);
    } else {
        achar__buffer_byte(out, byte);
    }
}

void achar__repr_text(buffer *out, const uint8_t *at, size_t nbytes)
{
    uint8_t quote = choose_quote(at, nbytes);
    achar__buffer_byte(out, quote);
    for (size_t i = 0, width; i < nbytes; i += width) {
        uint32_t code = achar__utf8_decode(at + i, &width);
        if (code < 0x80)
            ascii_char(out, (uint8_t)code, quote);
        else if (is_printable(code))
            achar__buffer_append(out, at + i, width);
        else if (code < 0x100)
            achar__buffer_printf(out, "\\x%02x", code);
        else
            achar__buffer_printf(out, code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    }
    achar__buffer_byte(out, quote);
}

static void repr_bytes(buffer *out, const uint8_t *at, size_t nbytes, uint8_t quote,
                       uint8_t escaped_quote)
{
    achar__buffer_byte(out, 'b');
    achar__buffer_byte(out, quote);
    for (size_t i = 0; i < nbytes; i++)
        ascii_char(out, at[i], escaped_quote);
    achar__buffer_byte(out, quote);
}

void achar__repr_bytes(buffer *out, const uint8_t *at, size_t nbytes)
{
    uint8_t quote = choose_quote(at, nbytes);
    repr_bytes(out, at, nbytes, quote, quote);
}

void achar__repr_bytearray(buffer *out, const uint8_t *at, size_t nbytes)
{
    achar__buffer_text(out, "bytearray(");
    /* Python escapes the single quote here even where it chose the double one. */
    repr_bytes(out, at, nbytes, choose_quote(at, nbytes), '\'');
    achar__buffer_byte(out, ')');
}
