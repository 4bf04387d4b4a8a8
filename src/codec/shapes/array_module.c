/*
 * array_module.c - array.array, read and made.
 *
 * From protocol 3 on it is array._array_reconstructor(array.array, 'i', format, bytes), the format
 * being one of 22 machine formats; below, array.array('i', [1, 2, 3]), which is converted, once,
 * into this machine's own format.
 */
#include <achar/arrays.h>

#include <string.h>

#include "codec/shapes/dtype.h"
#include "codec/text.h"

/* What a typecode holds, with its size on this machine. */
static bool read_typecode(char typecode, achar_dtype *out)
{
    static const struct {
        char typecode, kind;
        uint8_t nbytes;
    } types[] = {
        {'b', 'i', 1},
        {'B', 'u', 1},
        {'h', 'i', sizeof(short)},
        {'H', 'u', sizeof(short)},
        {'i', 'i', sizeof(int)},
        {'I', 'u', sizeof(int)},
        {'l', 'i', sizeof(long)},
        {'L', 'u', sizeof(long)},
        {'q', 'i', 8},
        {'Q', 'u', 8},
        {'f', 'f', 4},
        {'d', 'f', 8},
        {'u', 'U', 4},
        {'w', 'U', 4},
        {'c', 'S', 1},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].typecode != typecode)
            continue;
        *out = (achar_dtype){.kind = types[i].kind,
                             .order = types[i].nbytes == 1 ? '|' : HOST_ORDER,
                             .item_nbytes = types[i].nbytes};
        return true;
    }
    return false;
}

/* The machine formats of array._array_reconstructor, in their numbers' order. */
static const char formats[][3] = {"|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<u4", ">u4",
                                  "<i4", ">i4", "<u8", ">u8", "<i8", ">i8", "<f4", ">f4",
                                  "<f8", ">f8", "<U2", ">U2", "<U4", ">U4"};

enum { FORMATS_COUNT = sizeof formats / sizeof *formats };

/* An argument of one character. */
static bool read_character(const look *l, achar_value value, char *out)
{
    size_t nbytes;
    const char *text = achar__look_text(l, value, &nbytes);
    if (text == NULL || nbytes != 1)
        return false;
    *out = text[0];
    return true;
}

/* ---- from protocol 3 on ---- */

static int read_bytes(const look *l, achar_array *out)
{
    size_t nbytes;
    achar_value format = look_argument(l, 2);
    int status = achar__look_count(l, 4, 4);
    if (status == ACHAR_OK && (!read_character(l, look_argument(l, 1), &out->typecode) ||
                               !read_typecode(out->typecode, &out->dtype) || out->typecode == 'c'))
        status = achar__refuse(l, ACHAR_E_SHAPE, "its typecode is not known");
    if (status == ACHAR_OK && (!is_between(format, 0, FORMATS_COUNT - 1) ||
                               formats[achar_int64(format)][1] != out->dtype.kind))
        status = achar__refuse(l, ACHAR_E_SHAPE, "its format does not fit its typecode");
    if (status == ACHAR_OK)
        status = achar__payload(l, look_argument(l, 3), false, "its data", &out->data, &nbytes);
    if (status != ACHAR_OK)
        return status;
    out->dtype.order = formats[achar_int64(format)][0];
    out->dtype.item_nbytes = (size_t)(formats[achar_int64(format)][2] - '0');
    out->count = nbytes / out->dtype.item_nbytes;
    if (nbytes % out->dtype.item_nbytes != 0)
        return achar__refuse(l, ACHAR_E_SHAPE, "its data ends inside an item");
    return ACHAR_OK;
}

/* ---- below ---- */

/* An integer of 'nbytes' (1 to 8), signed or not, in this machine's format; false: out of range. */
static bool store_integer(achar_value value, const achar_dtype *dtype, unsigned char *out)
{
    size_t big_nbytes;
    const unsigned char *big = achar_int_bytes(value, &big_nbytes);
    uint64_t word = (uint64_t)achar_int64(value);
    int bits = 8 * (int)dtype->item_nbytes;
    bool is_signed = dtype->kind == 'i';
    if (!is_integer(value))
        return false;
    if (big != NULL) { /* 2^63 to 2^64-1 take nine bytes, the last of them 0 */
        if (is_signed || bits != 64 || big_nbytes != 9 || big[8] != 0)
            return false;
        word = 0;
        for (int i = 7; i >= 0; i--)
            word = word << 8 | big[i];
    } else if (is_signed) {
        int64_t number = (int64_t)word, limit = INT64_MAX >> (64 - bits);
        if (number > limit || number < -limit - 1)
            return false;
    } else if ((int64_t)word < 0 || (bits < 64 && word >> bits != 0)) {
        return false;
    }
    for (size_t i = 0; i < dtype->item_nbytes; i++)
        out[dtype->order == '>' ? dtype->item_nbytes - 1 - i : i] = (unsigned char)(word >> 8 * i);
    return true;
}

static bool store(const look *l, achar_value value, const achar_dtype *dtype, unsigned char *out)
{
    size_t nbytes, width;
    double real = achar_float(value);
    float single = (float)real;
    switch (dtype->kind) {
    case 'f':
        if (achar_kind(value) != ACHAR_FLOAT)
            return false;
        memcpy(out, dtype->item_nbytes == 4 ? (void *)&single : (void *)&real, dtype->item_nbytes);
        return true;
    case 'U': {
        const char *text = achar_text(value, &nbytes);
        if (text == NULL || nbytes == 0)
            return false;
        uint32_t code = achar__utf8_decode((const uint8_t *)text, &width);
        memcpy(out, &code, sizeof code);
        return width == nbytes;
    }
    case 'S': { /* Python 2's 'c' */
        const unsigned char *data;
        if (achar__payload(&(look){.graph = l->graph}, value, true, "", &data, &nbytes) !=
                ACHAR_OK ||
            nbytes != 1)
            return false;
        *out = *data;
        return true;
    }
    default:
        return store_integer(value, dtype, out);
    }
}

/* A list's items as a typecode has them; kept even if that cannot be, so as to look once. */
typedef struct converted {
    size_t count;     /* of the list's items */
    size_t bad_index; /* of the first that does not fit; 'count': all do */
    unsigned char data[];
} converted;

static converted *convert(const look *l, achar_value list, const achar_array *array)
{
    unsigned char item[8];
    size_t nbytes = 0, count = achar_count(list), bad_index = 0;
    achar_value key = {.meta = (uint64_t)(unsigned char)array->typecode, .as = list.as};
    converted *kept = achar__kept(l->graph, KEEP_ITEMS, key);
    if (kept != NULL && kept->count == count)
        return kept;
    while (bad_index < count && store(l, achar_item(list, bad_index), &array->dtype, item))
        bad_index++;
    if (bad_index == count)
        nbytes = count * array->dtype.item_nbytes; /* at most what the list's own items take */
    kept = achar__keep(l->graph, KEEP_ITEMS, key, sizeof *kept + nbytes);
    if (kept == NULL)
        return NULL;
    kept->count = count;
    kept->bad_index = bad_index;
    for (size_t i = 0; nbytes != 0 && i < count; i++)
        store(l, achar_item(list, i), &array->dtype, kept->data + i * array->dtype.item_nbytes);
    return kept;
}

static int read_list(const look *l, achar_array *out)
{
    achar_value list = look_argument(l, 1);
    int status = achar__look_count(l, 2, 2);
    if (status == ACHAR_OK && (!read_character(l, look_argument(l, 0), &out->typecode) ||
                               !read_typecode(out->typecode, &out->dtype)))
        status = achar__refuse(l, ACHAR_E_SHAPE, "its typecode is not known");
    if (status == ACHAR_OK && achar_kind(list) != ACHAR_LIST)
        status = achar__refuse(l, ACHAR_E_SHAPE, "not made from a list");
    if (status == ACHAR_OK)
        status = achar__settled(l, list, l->entry);
    if (status != ACHAR_OK)
        return status;
    const converted *items = convert(l, list, out);
    if (items == NULL) {
        status = achar__keep_status(l->graph);
        return achar__refuse(l, status, "%s", achar_status_message(status));
    }
    if (items->bad_index != items->count)
        return achar__refuse(l, ACHAR_E_SHAPE, "item %zu does not fit typecode %c",
                             items->bad_index, out->typecode);
    out->count = items->count;
    out->data = items->data;
    return ACHAR_OK;
}

int achar_as_array(achar_graph *graph, achar_value value, achar_array *out, achar_error *error)
{
    look l;
    achar_array array = {0};
    int status = achar__look(&l, graph, value, ACHAR_SHAPE_ARRAY, error);
    if (status == ACHAR_OK)
        status = achar__look_unchanged(&l);
    if (status == ACHAR_OK)
        status = l.callable == KNOWN_ARRAY_RECONSTRUCTOR ? read_bytes(&l, &array)
                                                         : read_list(&l, &array);
    if (status == ACHAR_OK)
        *out = array;
    return status;
}

/* ---- making ---- */

achar_value achar_make_array(achar_graph *graph, char typecode, const void *items, size_t count)
{
    achar_dtype dtype;
    size_t nbytes;
    int64_t format = 0;
    if (!read_typecode(typecode, &dtype) || dtype.kind == 'U' || dtype.kind == 'S')
        return achar__make_fail(graph, ACHAR_E_TEXT);
    if (__builtin_mul_overflow(count, dtype.item_nbytes, &nbytes))
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    while (formats[format][0] != dtype.order || formats[format][1] != dtype.kind ||
           formats[format][2] != (char)('0' + dtype.item_nbytes))
        format++;
    achar_value arguments[4] = {achar__make_known(graph, KNOWN_ARRAY),
                                achar_make_text(graph, &typecode, 1), achar_make_int(format),
                                achar_make_bytes(graph, items, nbytes)};
    return achar__call_known(graph, KNOWN_ARRAY_RECONSTRUCTOR, arguments, 4);
}
