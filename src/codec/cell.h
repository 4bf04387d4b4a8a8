/*
 * cell.h - a value packed into 8 bytes, as it lies in containers, on the reader's stack, in its memo
 * and in the log. Outside of the library, and where it does not matter, values are 16-byte handles
 * (achar_value); they are the same bits with more room, so that going from one to the other is a
 * few instructions and needs no graph.
 *
 *      63    62 61     56 55                                             0
 *     ┌────────┬──┬──────┬────────────────────────────────────────────────┐
 *     │ form   │ F│ kind │ payload: a pointer, or a small value itself    │
 *     └────────┴──┴──────┴────────────────────────────────────────────────┘
 *
 * Pointers have 56 bits at most: user space of Linux has no larger ones, unless a sanitizer or the
 * hardware tags them, and then making a graph fails (cell_can_point()).
 *
 *     None, bool          payload 0 or 1
 *     int                 SHORT: the payload, sign-extended. COUNTED1: see below
 *     float               points at 8 bytes, big-endian: BINFLOAT's argument in the input
 *     str, bytes, bytearray, large int ("spans")
 *                         COUNTED1, COUNTED4, COUNTED8: points into the input, at data that has its
 *                         size in front of it in as many bytes, as the opcode's argument is laid
 *                         out. LINE, of a str: points at a short line in the input, up to its '\n'.
 *                         BOXED: points at a span_box
 *     tuple, frozenset    points at a frozen (graph.h); the empty tuple is payload 0
 *     list, dict, set     points at a container
 *     what Python makes   points at an object
 *
 * Two cells with the same bits are one object; two with different bits are not, integers and floats
 * apart. Of what lies in the input nothing is copied: it costs its 8 bytes.
 */
#ifndef ACHAR_CODEC_CELL_H
#define ACHAR_CODEC_CELL_H

#include <achar/value.h>

#include "codec/decode.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && sizeof(void *) == 8,
               "containers and the reader's shortcuts are made for these machines");

typedef struct cell {
    uint64_t bits;
} cell;

typedef enum cell_form {
    FORM_BOXED = 0,
    FORM_SHORT = 0,
    FORM_COUNTED1 = 0x40,
    FORM_COUNTED4 = 0x80,
    FORM_COUNTED8 = 0xc0, /* of bytes and bytearray */
    FORM_LINE = 0xc0,     /* of a str; with 8 bytes of size a str is boxed */
} cell_form;

/* Longer lines are boxed, since they are looked through each time. */
enum { LINE_MOST_NBYTES = 255 };

enum { CELL_PAYLOAD_BITS = 56, CELL_KIND_MASK = 0x1f, CELL_FORM_MASK = 0xc0 };

#define CELL_PAYLOAD_MASK (((uint64_t)1 << CELL_PAYLOAD_BITS) - 1)

/* A mark that is the memo's own: this entry has been asked for. */
#define CELL_FETCHED ((uint64_t)0x20 << CELL_PAYLOAD_BITS)

#define CELL_NOTHING ((cell){0})
#define CELL_NONE    ((cell){(uint64_t)ACHAR_NONE << CELL_PAYLOAD_BITS})

/* A span that is not in the input in the form of a counted argument. */
typedef struct span_box {
    const uint8_t *data;
    uint64_t nbytes : 62;
    uint64_t referenced : 1; /* graph.h says what these two mean */
    uint64_t shared : 1;
} span_box;

static inline bool cell_can_point(const void *pointer)
{
    return ((uint64_t)(uintptr_t)pointer & ~CELL_PAYLOAD_MASK) == 0;
}

static inline cell cell_make(int kind, int form, const void *pointer)
{
    return (cell){(uint64_t)(kind | form) << CELL_PAYLOAD_BITS | (uint64_t)(uintptr_t)pointer};
}

static inline cell cell_bool(bool truth)
{
    return (cell){(uint64_t)ACHAR_BOOL << CELL_PAYLOAD_BITS | truth};
}

static inline bool cell_int_is_short(int64_t integer)
{
    return integer >= -((int64_t)1 << 55) && integer < (int64_t)1 << 55;
}

/* 'integer' is short. */
static inline cell cell_int(int64_t integer)
{
    return (cell){(uint64_t)ACHAR_INT << CELL_PAYLOAD_BITS |
                  ((uint64_t)integer & CELL_PAYLOAD_MASK)};
}

static inline int cell_kind(cell c)
{
    return (int)(c.bits >> CELL_PAYLOAD_BITS) & CELL_KIND_MASK;
}

static inline int cell_form_of(cell c)
{
    return (int)(c.bits >> CELL_PAYLOAD_BITS) & CELL_FORM_MASK;
}

static inline void *cell_pointer(cell c)
{
    return (void *)(uintptr_t)(c.bits & CELL_PAYLOAD_MASK);
}

/* Of an int: its value. */
static inline int64_t cell_int64(cell c)
{
    if (cell_form_of(c) == FORM_SHORT)
        return (int64_t)(c.bits << 8) >> 8;
    const uint8_t *at = cell_pointer(c);
    int64_t integer = 0;
    decode_long_int64(at, at[-1], &integer);
    return integer;
}

/* Of a span: its contents. */
static inline const uint8_t *cell_span(cell c, size_t *nbytes)
{
    const uint8_t *at = cell_pointer(c);
    switch (cell_form_of(c)) {
    case FORM_COUNTED1:
        *nbytes = at[-1];
        return at;
    case FORM_COUNTED4:
        *nbytes = decode_uint4(at - 4);
        return at;
    case FORM_COUNTED8:
        if (cell_kind(c) == ACHAR_STR)
            *nbytes = (size_t)((const uint8_t *)memchr(at, '\n', PTRDIFF_MAX) - at);
        else
            *nbytes = decode_uint8(at - 8);
        return at;
    default: {
        const span_box *box = cell_pointer(c);
        *nbytes = box->nbytes;
        return box->data;
    }
    }
}

/* Kinds in ranges; the enum's order makes them so. */
static inline bool kind_is_small(int kind)
{
    return kind <= ACHAR_FLOAT;
}

static inline bool kind_is_span(int kind)
{
    return kind >= ACHAR_BIGINT && kind <= ACHAR_BYTEARRAY;
}

static inline bool kind_is_frozen(int kind)
{
    return kind == ACHAR_TUPLE || kind == ACHAR_FROZENSET;
}

static inline bool kind_is_container(int kind)
{
    return kind >= ACHAR_LIST && kind <= ACHAR_SET;
}

static inline bool kind_is_object(int kind)
{
    return kind >= ACHAR_GLOBAL;
}

/* ---- cells and values ---- */

static inline achar_value value_int(int64_t integer)
{
    return (achar_value){.meta = ACHAR_INT, .as = {.integer = integer}};
}

static inline achar_value value_bool(bool truth)
{
    return (achar_value){.meta = ACHAR_BOOL, .as = {.integer = truth}};
}

static inline achar_value value_float(double real)
{
    return (achar_value){.meta = ACHAR_FLOAT, .as = {.real = real}};
}

#define VALUE_NONE    ((achar_value){.meta = ACHAR_NONE})
#define VALUE_NOTHING ((achar_value){.meta = ACHAR_NOTHING})

/* The handle of a cell. */
static inline achar_value cell_value(cell c)
{
    int kind = cell_kind(c);
    if (kind == ACHAR_INT)
        return value_int(cell_int64(c));
    if (kind == ACHAR_FLOAT)
        return value_float(decode_float8(cell_pointer(c)));
    return (achar_value){.meta = c.bits >> CELL_PAYLOAD_BITS,
                         .as = {.word = c.bits & CELL_PAYLOAD_MASK}};
}

/* The cell of a handle that is no number; the other direction for numbers is graph_cell(). */
static inline cell value_cell(achar_value value)
{
    return (cell){value.meta << CELL_PAYLOAD_BITS | value.as.word};
}

#endif
