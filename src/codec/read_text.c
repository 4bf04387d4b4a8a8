/* read_text.c - text and numbers that are not simply counted bytes: lines, and Python 2's str. */
#include <stdio.h>

#include "codec/number.h"
#include "codec/reading.h"
#include "codec/text.h"

/* ---- text ---- */

/* A span of what stays where it is, in the cheapest form. */
static int take_span(reading *r, int kind, const uint8_t *at, size_t nbytes, int form, cell *c)
{
    *c = form == FORM_BOXED ? achar__span_new(r->graph, kind, at, nbytes)
                            : cell_make(kind, form, at);
    return cell_kind(*c) == ACHAR_NOTHING ? achar__read_memory_problem(r) : ACHAR_OK;
}

/* A str that is a line of the input, as it is. */
static int take_line(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    int form = nbytes <= LINE_MOST_NBYTES ? FORM_LINE : FORM_BOXED;
    return take_span(r, ACHAR_STR, at, nbytes, form, c);
}

/* What the scratch buffer holds, in the arena. */
static int take_scratch(reading *r, const uint8_t **at, size_t *nbytes)
{
    if (r->scratch.failed)
        return r->scratch.failed;
    *nbytes = r->scratch.nbytes;
    uint8_t *copy = achar__arena_take(&r->graph->arena, *nbytes);
    if (copy == NULL)
        return achar__read_memory_problem(r);
    if (*nbytes != 0)
        memcpy(copy, r->scratch.data, *nbytes);
    *at = copy;
    r->scratch.nbytes = 0;
    return ACHAR_OK;
}

int achar__read_string(reading *r, const uint8_t *at, size_t nbytes, int form, cell *c)
{
    int encoding = r->options->encoding;
    if (encoding == ACHAR_ENCODING_BYTES)
        return take_span(r, ACHAR_BYTES, at, nbytes, form, c);
    if (text_is_ascii(at, nbytes) ||
        (encoding == ACHAR_ENCODING_UTF8 && achar__utf8_valid(at, nbytes)))
        return take_span(r, ACHAR_STR, at, nbytes, form, c);
    if (encoding == ACHAR_ENCODING_LATIN1) {
        r->scratch.nbytes = 0;
        achar__latin1_decode(&r->scratch, at, nbytes);
        int status = take_scratch(r, &at, &nbytes);
        return status == ACHAR_OK ? take_span(r, ACHAR_STR, at, nbytes, FORM_BOXED, c) : status;
    }
    return achar__problem(r, ACHAR_E_TEXT,
                          "Python 2's str is not %s (another encoding can be given)",
                          encoding == ACHAR_ENCODING_UTF8 ? "UTF-8" : "ASCII");
}

int achar__read_string_line(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    if (nbytes < 2 || at[0] != at[nbytes - 1] || (at[0] != '"' && at[0] != '\''))
        return achar__problem(r, ACHAR_E_TEXT, "the string is not in quotes");
    at++, nbytes -= 2;
    if (memchr(at, '\\', nbytes) == NULL)
        return achar__read_string(r, at, nbytes, FORM_BOXED, c);
    const char *what = NULL;
    r->scratch.nbytes = 0;
    if (!achar__string_escape_decode(&r->scratch, at, nbytes, &what))
        return achar__problem(r, ACHAR_E_TEXT, "%s", what);
    int status = take_scratch(r, &at, &nbytes);
    return status == ACHAR_OK ? achar__read_string(r, at, nbytes, FORM_BOXED, c) : status;
}

int achar__read_unicode_line(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    if (text_is_ascii(at, nbytes) && (nbytes == 0 || memchr(at, '\\', nbytes) == NULL))
        return take_line(r, at, nbytes, c);
    const char *what = NULL;
    r->scratch.nbytes = 0;
    if (!achar__raw_unicode_decode(&r->scratch, at, nbytes, &what))
        return achar__problem(r, ACHAR_E_TEXT, "%s", what);
    int status = take_scratch(r, &at, &nbytes);
    return status == ACHAR_OK ? take_span(r, ACHAR_STR, at, nbytes, FORM_BOXED, c) : status;
}

int achar__read_name_line(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    if (achar__utf8_valid(at, nbytes))
        return take_line(r, at, nbytes, c);
    return achar__problem(r, ACHAR_E_TEXT, "the name is not UTF-8");
}

/* ---- numbers ---- */

/* A failure that shows the line which is no number: the start of it, in printable ASCII. */
static int bad_number(reading *r, const char *what, const uint8_t *at, size_t nbytes)
{
    char shown[64];
    size_t used = 0;
    for (size_t i = 0; i < nbytes && used < sizeof shown - 8; i++)
        used += (size_t)snprintf(shown + used, sizeof shown - used,
                                 at[i] >= 0x20 && at[i] < 0x7f ? "%c" : "\\x%02x", at[i]);
    return achar__problem(r, ACHAR_E_NUMBER, "not %s: %.*s", what, (int)used, shown);
}

static int read_decimal(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    size_t sign = nbytes != 0 && (at[0] == '-' || at[0] == '+');
    if (!decode_is_decimal(at, nbytes) || (nbytes > sign + 1 && at[sign] == '0'))
        return bad_number(r, "a plain decimal integer", at, nbytes);
    *c = achar__decimal_cell(r->graph, at, nbytes);
    return cell_kind(*c) == ACHAR_NOTHING ? achar__read_memory_problem(r) : ACHAR_OK;
}

int achar__read_int_line(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    if (nbytes != 2 || at[0] != '0' || (at[1] != '0' && at[1] != '1'))
        return read_decimal(r, at, nbytes, c);
    *c = cell_bool(at[1] == '1');
    return ACHAR_OK;
}

int achar__read_long_line(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    return read_decimal(r, at, nbytes - (nbytes != 0 && at[nbytes - 1] == 'L'), c);
}

int achar__read_float_line(reading *r, const uint8_t *at, size_t nbytes, cell *c)
{
    double real;
    int status = ACHAR_OK;
    if (!achar__float_read(&r->graph->mem, at, nbytes, &real, &status))
        return status != ACHAR_OK ? status : bad_number(r, "a decimal float", at, nbytes);
    *c = achar__float_new(r->graph, real);
    return cell_kind(*c) == ACHAR_NOTHING ? achar__read_memory_problem(r) : ACHAR_OK;
}

int achar__read_index_line(reading *r, const uint8_t *at, size_t nbytes, uint64_t *index)
{
    int64_t number;
    if (!decode_decimal(at, nbytes, &number) || number < 0)
        return bad_number(r, "a memo index", at, nbytes);
    *index = (uint64_t)number;
    return ACHAR_OK;
}
