/*
 * numbers.c - Decimal, Fraction, complex, range and UUID, read and made.
 */
#include "codec/shapes/shapes.h"

#include <string.h>

#include "codec/decode.h"
#include "codec/graph.h"
#include "codec/number.h"

/* A call with so many arguments, whose result nothing changes. */
static int begin(look *l, achar_graph *graph, achar_value value, int shape, size_t least,
                 size_t most, achar_error *error)
{
    int status = achar__look(l, graph, value, shape, error);
    if (status == ACHAR_OK)
        status = achar__look_count(l, least, most);
    return status == ACHAR_OK ? achar__look_unchanged(l) : status;
}

/* ---- Decimal ---- */

/* A decimal's exponent has at most 18 digits, so that C's decimal module can hold it. */
enum { EXPONENT_MAX_DIGITS = 18 };

static size_t count_digits(const char *at, const char *end)
{
    const char *start = at;
    while (at != end && *at >= '0' && *at <= '9')
        at++;
    return (size_t)(at - start);
}

/* Moves past 'word', in any case, if it stands here. */
static bool skip_word(const char **at, const char *end, const char *word)
{
    size_t nbytes = strlen(word);
    if ((size_t)(end - *at) < nbytes)
        return false;
    for (size_t i = 0; i < nbytes; i++)
        if (((*at)[i] | 0x20) != word[i])
            return false;
    *at += nbytes;
    return true;
}

/* [eE] sign digits, to the end. */
static bool read_exponent(const char *at, const char *end, int64_t *exponent)
{
    if (!skip_word(&at, end, "e"))
        return false;
    bool negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+'))
        at++;
    size_t count = count_digits(at, end);
    if (count == 0 || count > EXPONENT_MAX_DIGITS || at + count != end)
        return false;
    for (*exponent = 0; at != end; at++)
        *exponent = *exponent * 10 + (*at - '0');
    if (negative)
        *exponent = -*exponent;
    return true;
}

static bool read_decimal(const char *text, size_t nbytes, achar_decimal *out)
{
    const char *at = text, *end = text + nbytes;
    *out = (achar_decimal){.text = text, .text_nbytes = nbytes};
    out->negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+'))
        at++;
    out->whole = out->fraction = at;
    if (skip_word(&at, end, "inf")) {
        out->kind = ACHAR_DECIMAL_INFINITY;
        skip_word(&at, end, "inity");
        out->whole = out->fraction = at;
        return at == end;
    }
    bool signalling = skip_word(&at, end, "s");
    if (skip_word(&at, end, "nan")) {
        out->kind = signalling ? ACHAR_DECIMAL_SNAN : ACHAR_DECIMAL_NAN;
        out->whole = at;
        out->whole_nbytes = count_digits(at, end);
        out->fraction = at + out->whole_nbytes;
        return out->fraction == end;
    }
    if (signalling)
        return false;
    out->whole_nbytes = count_digits(at, end);
    at += out->whole_nbytes;
    out->fraction = at;
    if (at != end && *at == '.') {
        out->fraction = ++at;
        out->fraction_nbytes = count_digits(at, end);
        at += out->fraction_nbytes;
    }
    if (out->whole_nbytes + out->fraction_nbytes == 0)
        return false;
    return at == end || read_exponent(at, end, &out->exponent);
}

int achar_as_decimal(achar_graph *graph, achar_value value, achar_decimal *out, achar_error *error)
{
    look l;
    size_t nbytes;
    achar_decimal decimal;
    int status = begin(&l, graph, value, ACHAR_SHAPE_DECIMAL, 1, 1, error);
    if (status != ACHAR_OK)
        return status;
    const char *text = achar__look_text(&l, look_argument(&l, 0), &nbytes);
    if (text == NULL || !read_decimal(text, nbytes, &decimal))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not made from a number's text");
    *out = decimal;
    return ACHAR_OK;
}

achar_value achar_make_decimal(achar_graph *graph, const char *text)
{
    achar_decimal decimal;
    if (text == NULL)
        return achar__make_fail(graph, ACHAR_E_INVALID);
    if (!read_decimal(text, strlen(text), &decimal))
        return achar__make_fail(graph, ACHAR_E_TEXT);
    achar_value argument = achar_make_str(graph, text);
    return achar__call_known(graph, KNOWN_DECIMAL, &argument, 1);
}

/* ---- Fraction ---- */

static bool is_positive(achar_value integer)
{
    return is_integer(integer) && !achar__is_negative(integer) &&
           !(achar_kind(integer) == ACHAR_INT && achar_int64(integer) == 0);
}

/* Python wrote "3/4" up to 3.10. The two integers are kept under the text. */
static int read_fraction(const look *l, achar_value text, achar_fraction *out)
{
    size_t nbytes;
    const char *at = achar__look_text(l, text, &nbytes);
    achar_fraction *kept = achar__kept(l->graph, KEEP_INTEGER, text);
    if (kept != NULL) {
        *out = *kept;
        return ACHAR_OK;
    }
    if (at == NULL)
        return achar__refuse(l, ACHAR_E_SHAPE, "not made from a number's text");
    const char *slash = memchr(at, '/', nbytes);
    size_t first = slash == NULL ? nbytes : (size_t)(slash - at);
    size_t rest = slash == NULL ? 0 : nbytes - first - 1;
    if (!decode_is_decimal((const uint8_t *)at, first) ||
        (slash != NULL && !decode_is_decimal((const uint8_t *)slash + 1, rest)))
        return achar__refuse(l, ACHAR_E_SHAPE, "not made from a number's text");
    achar_fraction fraction = {
        .numerator = cell_value(achar__decimal_cell(l->graph, (const uint8_t *)at, first)),
        .denominator = achar_make_int(1)};
    if (slash != NULL)
        fraction.denominator =
            cell_value(achar__decimal_cell(l->graph, (const uint8_t *)slash + 1, rest));
    bool made = achar_kind(fraction.numerator) != ACHAR_NOTHING &&
                achar_kind(fraction.denominator) != ACHAR_NOTHING;
    kept = made ? achar__keep(l->graph, KEEP_INTEGER, text, sizeof *kept) : NULL;
    if (kept == NULL) {
        int status = achar__keep_status(l->graph);
        return achar__refuse(l, status, "%s", achar_status_message(status));
    }
    *out = *kept = fraction;
    return ACHAR_OK;
}

int achar_as_fraction(achar_graph *graph, achar_value value, achar_fraction *out,
                      achar_error *error)
{
    look l;
    int status = begin(&l, graph, value, ACHAR_SHAPE_FRACTION, 1, 2, error);
    if (status != ACHAR_OK)
        return status;
    achar_fraction fraction = {look_argument(&l, 0), look_argument(&l, 1)};
    if (achar_count(l.arguments) == 1)
        status = read_fraction(&l, look_argument(&l, 0), &fraction);
    if (status != ACHAR_OK)
        return status;
    if (!is_integer(fraction.numerator) || !is_positive(fraction.denominator))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not made from two integers");
    *out = fraction;
    return ACHAR_OK;
}

achar_value achar_make_fraction(achar_graph *graph, achar_value numerator, achar_value denominator)
{
    achar_value arguments[2] = {numerator, denominator};
    if (!is_integer(numerator) || !is_positive(denominator))
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    return achar__call_known(graph, KNOWN_FRACTION, arguments, 2);
}

/* ---- complex and range ---- */

int achar_as_complex(achar_graph *graph, achar_value value, achar_complex *out, achar_error *error)
{
    look l;
    int status = begin(&l, graph, value, ACHAR_SHAPE_COMPLEX, 2, 2, error);
    if (status != ACHAR_OK)
        return status;
    achar_value real = look_argument(&l, 0), imaginary = look_argument(&l, 1);
    if (achar_kind(real) != ACHAR_FLOAT || achar_kind(imaginary) != ACHAR_FLOAT)
        return achar__refuse(&l, ACHAR_E_SHAPE, "not made from two floats");
    *out = (achar_complex){achar_float(real), achar_float(imaginary)};
    return ACHAR_OK;
}

achar_value achar_make_complex(achar_graph *graph, double real, double imaginary)
{
    achar_value arguments[2] = {achar_make_float(real), achar_make_float(imaginary)};
    return achar__call_known(graph, KNOWN_COMPLEX, arguments, 2);
}

int achar_as_range(achar_graph *graph, achar_value value, achar_range *out, achar_error *error)
{
    look l;
    int status = begin(&l, graph, value, ACHAR_SHAPE_RANGE, 3, 3, error);
    if (status != ACHAR_OK)
        return status;
    achar_range range = {look_argument(&l, 0), look_argument(&l, 1), look_argument(&l, 2)};
    if (!is_integer(range.start) || !is_integer(range.stop) || !is_integer(range.step) ||
        is_between(range.step, 0, 0))
        return achar__refuse(&l, ACHAR_E_SHAPE, "not made from three integers, the last not 0");
    *out = range;
    return ACHAR_OK;
}

achar_value achar_make_range(achar_graph *graph, int64_t start, int64_t stop, int64_t step)
{
    achar_value arguments[3] = {achar_make_int(start), achar_make_int(stop), achar_make_int(step)};
    if (step == 0)
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    return achar__call_known(graph, KNOWN_RANGE, arguments, 3);
}

/* ---- UUID ---- */

enum { UUID_NBYTES = 16 };

/* Whether an integer is within 0 and 2^128-1; most significant byte first into 'out'. */
static bool read_uuid(achar_value integer, unsigned char out[UUID_NBYTES])
{
    size_t nbytes;
    const unsigned char *data = achar_int_bytes(integer, &nbytes);
    uint64_t small = (uint64_t)achar_int64(integer);
    memset(out, 0, UUID_NBYTES);
    if (!is_integer(integer) || achar__is_negative(integer))
        return false;
    if (data == NULL) {
        for (size_t i = 0; i < sizeof small; i++)
            out[UUID_NBYTES - 1 - i] = (unsigned char)(small >> 8 * i);
        return true;
    }
    if (nbytes > UUID_NBYTES + 1 || (nbytes == UUID_NBYTES + 1 && data[UUID_NBYTES] != 0))
        return false;
    for (size_t i = 0; i < nbytes && i < UUID_NBYTES; i++)
        out[UUID_NBYTES - 1 - i] = data[i];
    return true;
}

/* Made without arguments: by NEWOBJ, or below protocol 2 by copyreg's _reconstructor(UUID, object,
 * None) or __newobj__(UUID). */
static bool is_blank_uuid(const look *l)
{
    size_t count = achar_count(l->arguments);
    if (l->callable == KNOWN_UUID || achar_call_form(l->value) != ACHAR_CALL_REDUCE)
        return l->callable == KNOWN_UUID && count == 0 &&
               achar_call_form(l->value) == ACHAR_CALL_NEWOBJ;
    if (l->callable == KNOWN_NEWOBJ)
        return count == 1;
    return count == 3 && achar__known(l->graph, look_argument(l, 1)) == KNOWN_OBJECT &&
           achar_kind(look_argument(l, 2)) == ACHAR_NONE;
}

int achar_as_uuid(achar_graph *graph, achar_value value, achar_uuid *out, achar_error *error)
{
    look l;
    achar_value state, integer = achar_nothing();
    size_t entry;
    int status = achar__look(&l, graph, value, ACHAR_SHAPE_UUID, error);
    if (status == ACHAR_OK && !is_blank_uuid(&l))
        status = achar__refuse(&l, ACHAR_E_SHAPE, "made from arguments");
    if (status == ACHAR_OK)
        status = achar__look_state(&l, ACHAR_DICT, &state, &entry);
    if (status == ACHAR_OK)
        status = achar__settled(&l, state, entry);
    if (status != ACHAR_OK)
        return status;
    if (achar_count(state) > 2)
        return achar__refuse(&l, ACHAR_E_SHAPE, "its state has more than an int");
    for (size_t i = 0; i < achar_count(state); i++) {
        if (achar__look_text_is(&l, achar_pair_key(state, i), "int"))
            integer = achar_pair_value(state, i);
        else if (!achar__look_text_is(&l, achar_pair_key(state, i), "is_safe"))
            return achar__refuse(&l, ACHAR_E_SHAPE, "its state has more than an int");
    }
    unsigned char bytes[UUID_NBYTES];
    if (!read_uuid(integer, bytes))
        return achar__refuse(&l, ACHAR_E_SHAPE, "its int is none of 128 bits");
    memcpy(out->bytes, bytes, sizeof bytes);
    return ACHAR_OK;
}

achar_value achar_make_uuid(achar_graph *graph, const unsigned char bytes[16])
{
    unsigned char little[UUID_NBYTES + 1] = {0};
    if (bytes == NULL)
        return achar__make_fail(graph, ACHAR_E_INVALID);
    for (size_t i = 0; i < UUID_NBYTES; i++)
        little[i] = bytes[UUID_NBYTES - 1 - i];
    achar_value uuid =
        achar_make_call(graph, ACHAR_CALL_NEWOBJ, achar__make_known(graph, KNOWN_UUID),
                        achar_make_tuple(graph, NULL, 0), achar_nothing());
    achar_value state = achar_make_dict(graph);
    achar_put(graph, state, "int", achar_make_int_bytes(graph, little, sizeof little));
    achar_build(graph, uuid, state);
    return uuid;
}
