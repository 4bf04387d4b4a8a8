/*
 * number.c - numbers as text. Integers over a word go through GMP's mpn functions, which work on
 * memory that we give them; floats through strtod and printf, in the C locale.
 */
#include "codec/number.h"

#include <gmp.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "codec/decode.h"

_Static_assert(GMP_NUMB_BITS == 64, "limbs are 64 bits, all of them used");

cell achar__long_cell(achar_graph *g, const uint8_t *at, size_t nbytes, int form)
{
    int64_t integer;
    if (decode_long_int64(at, nbytes, &integer)) {
        if (cell_int_is_short(integer))
            return cell_int(integer);
        return form == FORM_COUNTED1 ? cell_make(ACHAR_INT, form, at) : achar__int_new(g, integer);
    }
    size_t needed_nbytes = decode_long_nbytes(at, nbytes);
    if (form != FORM_BOXED && needed_nbytes == nbytes)
        return cell_make(ACHAR_BIGINT, form, at);
    return achar__span_new(g, ACHAR_BIGINT, at, needed_nbytes);
}

/* ---- integers to decimal ---- */

int achar__decimal_append_long(buffer *out, const uint8_t *at, size_t nbytes)
{
    int64_t word;
    if (decode_long_int64(at, nbytes, &word)) {
        achar__buffer_printf(out, "%lld", (long long)word);
        return out->failed;
    }
    bool negative = at[nbytes - 1] & 0x80;
    size_t limbs_count = (nbytes + 7) / 8;
    size_t limbs_nbytes = limbs_count * sizeof(mp_limb_t);
    mp_limb_t *limbs = achar__memory_take(out->mem, limbs_nbytes);
    if (limbs == NULL)
        return out->failed = achar__memory_status(out->mem);
    /* The magnitude: inverted and one added, if negative. */
    memset(limbs, 0, limbs_nbytes);
    for (size_t i = 0; i < limbs_count * 8; i++) {
        uint8_t byte = i < nbytes ? at[i] : (negative ? 0xff : 0);
        limbs[i / 8] |= (mp_limb_t)(uint8_t)(negative ? ~byte : byte) << i % 8 * 8;
    }
    for (size_t i = 0; negative && i < limbs_count && ++limbs[i] == 0; i++)
        continue;
    while (limbs[limbs_count - 1] == 0)
        limbs_count--;

    if (negative)
        achar__buffer_byte(out, '-');
    if (achar__buffer_reserve(out, limbs_count * 20 + 2)) { /* 2^64 has 20 digits */
        uint8_t *digits = out->data + out->nbytes;
        size_t digits_count = mpn_get_str(digits, 10, limbs, (mp_size_t)limbs_count);
        size_t zeros = 0;
        while (zeros + 1 < digits_count && digits[zeros] == 0)
            zeros++;
        for (size_t i = zeros; i < digits_count; i++)
            digits[i - zeros] = digits[i] + '0';
        out->nbytes += digits_count - zeros;
    }
    achar__memory_give(out->mem, limbs, limbs_nbytes);
    return out->failed;
}

int achar__decimal_append(buffer *out, achar_value value)
{
    if (achar_kind(value) == ACHAR_INT) {
        achar__buffer_printf(out, "%lld", (long long)value.as.integer);
        return out->failed;
    }
    if (achar_kind(value) != ACHAR_BIGINT)
        return ACHAR_E_TYPE;
    size_t nbytes;
    const uint8_t *at = cell_span(value_cell(value), &nbytes);
    return achar__decimal_append_long(out, at, nbytes);
}

/* ---- decimal to integers ---- */

cell achar__decimal_cell(achar_graph *g, const uint8_t *at, size_t nbytes)
{
    int64_t integer;
    if (decode_decimal(at, nbytes, &integer))
        return achar__int_new(g, integer);
    bool negative = at[0] == '-';
    if (at[0] == '-' || at[0] == '+')
        at++, nbytes--;
    while (nbytes > 1 && at[0] == '0')
        at++, nbytes--;

    size_t limbs_nbytes = (nbytes / 19 + 2) * sizeof(mp_limb_t); /* 10^19 fits a limb */
    uint8_t *digits = achar__memory_take(&g->mem, nbytes);
    mp_limb_t *limbs = digits == NULL ? NULL : achar__memory_take(&g->mem, limbs_nbytes);
    uint8_t *bytes = NULL;
    size_t bytes_count = 0;
    if (limbs != NULL) {
        for (size_t i = 0; i < nbytes; i++)
            digits[i] = at[i] - '0';
        size_t limbs_count = (size_t)mpn_set_str(limbs, digits, nbytes, 10);
        if (negative) { /* two's complement of the magnitude */
            for (size_t i = 0; i < limbs_count; i++)
                limbs[i] = ~limbs[i];
            for (size_t i = 0; i < limbs_count && ++limbs[i] == 0; i++)
                continue;
        }
        bytes_count = limbs_count * 8 + 1;
        bytes = achar__arena_take(&g->arena, bytes_count);
    }
    cell c = CELL_NOTHING;
    if (bytes != NULL) {
        for (size_t i = 0; i + 1 < bytes_count; i++)
            bytes[i] = (uint8_t)(limbs[i / 8] >> i % 8 * 8);
        bytes[bytes_count - 1] = negative ? 0xff : 0;
        c = achar__long_cell(g, bytes, bytes_count, FORM_BOXED);
    }
    achar__memory_give(&g->mem, limbs, limbs == NULL ? 0 : limbs_nbytes);
    achar__memory_give(&g->mem, digits, nbytes);
    return c;
}

/* ---- floats ---- */

/* The grammar of float(), so that strtod sees nothing that it alone understands (hexadecimal). */
static bool is_float_text(const char *text)
{
    if (*text == '+' || *text == '-')
        text++;
    if (strcasecmp(text, "inf") == 0 || strcasecmp(text, "infinity") == 0 ||
        strcasecmp(text, "nan") == 0)
        return true;
    size_t whole = strspn(text, "0123456789");
    text += whole;
    size_t fraction = 0;
    if (*text == '.') {
        fraction = strspn(text + 1, "0123456789");
        text += 1 + fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        text++;
        if (*text == '+' || *text == '-')
            text++;
        size_t exponent = strspn(text, "0123456789");
        if (exponent == 0)
            return false;
        text += exponent;
    }
    return *text == '\0';
}

bool achar__float_read(memory *mem, const uint8_t *at, size_t nbytes, double *value, int *status)
{
    char small[64];
    char *text = nbytes < sizeof small ? small : achar__memory_take(mem, nbytes + 1);
    if (text == NULL) {
        *status = achar__memory_status(mem);
        return false;
    }
    memcpy(text, at, nbytes);
    text[nbytes] = '\0';
    bool good = memchr(text, '\0', nbytes) == NULL && is_float_text(text);
    if (good) {
        /* For "C" glibc hands out a static object: nothing to fail, nothing to free. */
        locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        *value = strtod_l(text, NULL, c_locale);
        freelocale(c_locale);
    }
    if (text != small)
        achar__memory_give(mem, text, nbytes + 1);
    return good;
}

/*
 * 'value' with 'count' significant digits, "d.ddde±xx"; says whether it reads back the same. Above
 * a power of two floats lie twice as far apart as below, so the nearest decimal may miss where the
 * next one up does not.
 */
static bool try_digits(double value, int count, char *out, size_t out_nbytes)
{
    snprintf(out, out_nbytes, "%.*e", count - 1, value);
    if (strtod(out, NULL) == value)
        return true;
    int exponent;
    if (fabs(frexp(value, &exponent)) != 0.5)
        return false;
    char *digit = strchr(out, 'e') - 1;
    while (*digit == '9' || *digit == '.') {
        if (*digit == '9')
            *digit = '0';
        if (digit == out || digit[-1] == '-')
            return false; /* 9.99…: the nearest was below a power of ten, which is shorter */
        digit--;
    }
    ++*digit;
    return strtod(out, NULL) == value;
}

size_t achar__float_repr(double value, char out[FLOAT_REPR_NBYTES])
{
    if (isnan(value))
        return (size_t)snprintf(out, FLOAT_REPR_NBYTES, "nan");
    if (isinf(value))
        return (size_t)snprintf(out, FLOAT_REPR_NBYTES, value < 0 ? "-inf" : "inf");

    char text[40];
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t callers = uselocale(c_locale);
    /* 15 digits always survive, so a shorter text shows as zeros at the end of 15; but not among
     * the subnormals, which have fewer. */
    int count = fabs(value) < 2.3e-308 ? 1 : 15;
    while (!try_digits(value, count, text, sizeof text) && count < 17)
        count++;
    uselocale(callers);
    freelocale(c_locale);

    const char *sign = text[0] == '-' ? "-" : "";
    const char *from = text + (text[0] == '-');
    char digits[20];
    int digits_count = 0;
    for (; *from != 'e'; from++)
        if (*from != '.')
            digits[digits_count++] = *from;
    int exponent = atoi(from + 1);
    while (digits_count > 1 && digits[digits_count - 1] == '0')
        digits_count--;

    int n;
    if (exponent < -4 || exponent >= 16) {
        n = snprintf(out, FLOAT_REPR_NBYTES, "%s%c%s%.*se%c%02d", sign, digits[0],
                     digits_count > 1 ? "." : "", digits_count - 1, digits + 1,
                     exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        n = snprintf(out, FLOAT_REPR_NBYTES, "%s0.%.*s%.*s", sign, -exponent - 1, "0000",
                     digits_count, digits);
    } else if (digits_count <= exponent + 1) {
        n = snprintf(out, FLOAT_REPR_NBYTES, "%s%.*s%.*s.0", sign, digits_count, digits,
                     exponent + 1 - digits_count, "0000000000000000");
    } else {
        n = snprintf(out, FLOAT_REPR_NBYTES, "%s%.*s.%.*s", sign, exponent + 1, digits,
                     digits_count - exponent - 1, digits + exponent + 1);
    }
    return (size_t)n;
}
