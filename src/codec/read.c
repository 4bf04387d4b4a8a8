/*
 * read.c - the reader: one loop over the opcodes, a stack, a memo, and a graph as the result.
 *
 * The stack holds values; marks are heights of it, kept beside. Opcodes see only what lies above
 * the last mark (the 'fence'). Within a frame 'end' is the frame's end, so that the check which
 * every argument needs anyway also finds opcodes that straddle it.
 *
 * Nothing is allocated because a number in the input says so: counted data must be there before
 * it is believed, containers take what lies on the stack, and memo.h deals with high indexes.
 *
 * Imports and calls become objects and entries in the log. What Python would refuse whatever the
 * imports do (calling an int, appending to a tuple) is an error; what depends on them is not.
 */
#include "codec/read_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "codec/decode.h"
#include "codec/graph.h"
#include "codec/memo.h"
#include "codec/number.h"
#include "codec/opcodes.h"
#include "codec/text.h"

typedef struct reading {
    achar_graph *graph;
    const achar_read_options *options;
    memo memo;
    achar_value *stack;
    size_t stack_capacity;
    size_t *marks;
    size_t marks_count;
    size_t marks_capacity;
    int protocol;   /* of the last PROTO: it decides whose names imports use */
    buffer scratch; /* text on its way into the arena */
    /* Of the failure: more than the code's own message. */
    char problem[128];
} reading;

enum { STACK_FIRST_COUNT = 64 };

__attribute__((format(printf, 3, 4))) static int problem(reading *r, int code, const char *format,
                                                         ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->problem, sizeof r->problem, format, arguments);
    va_end(arguments);
    return code;
}

static int grow_stack(reading *r)
{
    size_t capacity = r->stack_capacity == 0 ? STACK_FIRST_COUNT : r->stack_capacity * 2;
    size_t max = r->options->max_stack_count;
    /* Room for one too many: that it is taken shows here. */
    if (max != 0 && capacity > max)
        capacity = max + 1;
    if (capacity <= r->stack_capacity)
        return problem(r, ACHAR_E_LIMIT, "the stack is over its limit of %zu values", max);
    achar_value *stack = achar__memory_resize(
        &r->graph->mem, r->stack, r->stack_capacity * sizeof *stack, capacity * sizeof *stack);
    if (stack == NULL)
        return achar__memory_status(&r->graph->mem);
    r->stack = stack;
    r->stack_capacity = capacity;
    return ACHAR_OK;
}

static int push_mark(reading *r, size_t height)
{
    if (r->marks_count == r->marks_capacity) {
        size_t max = r->options->max_stack_count;
        size_t capacity = r->marks_capacity == 0 ? STACK_FIRST_COUNT : r->marks_capacity * 2;
        if (max != 0 && capacity > max)
            capacity = max;
        if (capacity <= r->marks_capacity)
            return problem(r, ACHAR_E_LIMIT, "the stack is at its limit of %zu marks", max);
        size_t *marks = achar__memory_resize(
            &r->graph->mem, r->marks, r->marks_capacity * sizeof *marks, capacity * sizeof *marks);
        if (marks == NULL)
            return achar__memory_status(&r->graph->mem);
        r->marks = marks;
        r->marks_capacity = capacity;
    }
    r->marks[r->marks_count++] = height;
    return ACHAR_OK;
}

/* ---- text ---- */

/* What the scratch buffer holds, as a span in the arena. */
static int take_scratch(reading *r, int kind, achar_value *value)
{
    if (r->scratch.failed)
        return r->scratch.failed;
    char *copy = achar__arena_take(&r->graph->arena, r->scratch.nbytes);
    if (copy == NULL)
        return achar__memory_status(&r->graph->mem);
    if (r->scratch.nbytes != 0)
        memcpy(copy, r->scratch.data, r->scratch.nbytes);
    *value = value_make(kind, r->scratch.nbytes, copy);
    r->scratch.nbytes = 0;
    return ACHAR_OK;
}

/* Python 2's str: bytes that stay valid, as the caller's encoding has it. */
static int decode_python2(reading *r, const uint8_t *at, size_t nbytes, achar_value *value)
{
    int encoding = r->options->encoding;
    *value = value_make(encoding == ACHAR_ENCODING_BYTES ? ACHAR_BYTES : ACHAR_STR, nbytes, at);
    if (encoding == ACHAR_ENCODING_BYTES || text_is_ascii(at, nbytes))
        return ACHAR_OK;
    if (encoding == ACHAR_ENCODING_LATIN1) {
        r->scratch.nbytes = 0;
        achar__latin1_decode(&r->scratch, at, nbytes);
        return take_scratch(r, ACHAR_STR, value);
    }
    if (encoding == ACHAR_ENCODING_UTF8 && achar__utf8_valid(at, nbytes))
        return ACHAR_OK;
    return problem(r, ACHAR_E_TEXT, "Python 2's str is not %s (another encoding can be given)",
                   encoding == ACHAR_ENCODING_UTF8 ? "UTF-8" : "ASCII");
}

static int read_string_line(reading *r, const uint8_t *at, size_t nbytes, achar_value *value)
{
    if (nbytes < 2 || at[0] != at[nbytes - 1] || (at[0] != '"' && at[0] != '\''))
        return problem(r, ACHAR_E_TEXT, "the string is not in quotes");
    at++, nbytes -= 2;
    if (memchr(at, '\\', nbytes) == NULL)
        return decode_python2(r, at, nbytes, value);
    const char *what = NULL;
    r->scratch.nbytes = 0;
    if (!achar__string_escape_decode(&r->scratch, at, nbytes, &what))
        return problem(r, ACHAR_E_TEXT, "%s", what);
    achar_value bytes;
    int status = take_scratch(r, ACHAR_BYTES, &bytes);
    if (status != ACHAR_OK)
        return status;
    return decode_python2(r, bytes.as.pointer, value_size(bytes), value);
}

static int read_unicode_line(reading *r, const uint8_t *at, size_t nbytes, achar_value *value)
{
    if (text_is_ascii(at, nbytes) && (nbytes == 0 || memchr(at, '\\', nbytes) == NULL)) {
        *value = value_make(ACHAR_STR, nbytes, at);
        return ACHAR_OK;
    }
    const char *what = NULL;
    r->scratch.nbytes = 0;
    if (!achar__raw_unicode_decode(&r->scratch, at, nbytes, &what))
        return problem(r, ACHAR_E_TEXT, "%s", what);
    return take_scratch(r, ACHAR_STR, value);
}

/* A line of GLOBAL, INST or PERSID: UTF-8. */
static int read_name_line(reading *r, const uint8_t *at, size_t nbytes, achar_value *value)
{
    *value = value_make(ACHAR_STR, nbytes, at);
    if (achar__utf8_valid(at, nbytes))
        return ACHAR_OK;
    return problem(r, ACHAR_E_TEXT, "the name is not UTF-8");
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
    return problem(r, ACHAR_E_NUMBER, "not %s: %.*s", what, (int)used, shown);
}

/* The line of INT (its two booleans apart) or LONG. Python's readers take more (hexadecimal,
 * octal), but not the same more, so that only the plain form has one meaning. */
static int read_decimal(reading *r, const uint8_t *at, size_t nbytes, achar_value *value)
{
    size_t sign = nbytes != 0 && (at[0] == '-' || at[0] == '+');
    if (!decode_is_decimal(at, nbytes) || (nbytes > sign + 1 && at[sign] == '0'))
        return bad_number(r, "a plain decimal integer", at, nbytes);
    return achar__decimal_value(&r->graph->arena, at, nbytes, value);
}

static int read_float(reading *r, const uint8_t *at, size_t nbytes, achar_value *value)
{
    double real;
    int status = ACHAR_OK;
    if (!achar__float_read(&r->graph->mem, at, nbytes, &real, &status))
        return status != ACHAR_OK ? status : bad_number(r, "a decimal float", at, nbytes);
    *value = value_float(real);
    return ACHAR_OK;
}

/* The decimal index of GET and PUT. */
static int read_index(reading *r, const uint8_t *at, size_t nbytes, uint64_t *index)
{
    int64_t number;
    if (!decode_decimal(at, nbytes, &number) || number < 0)
        return bad_number(r, "a memo index", at, nbytes);
    *index = (uint64_t)number;
    return ACHAR_OK;
}

/* ---- what only Python could make ---- */

static int make_object(reading *r, int kind, int effect, int opcode, uint64_t offset,
                       const achar_value *operands, size_t operands_count, achar_value *value)
{
    *value = achar__object_new(r->graph, kind, effect, opcode, offset, operands, operands_count);
    return value->meta == 0 ? achar__memory_status(&r->graph->mem) : ACHAR_OK;
}

/* Whether a value may turn out to be a 'kind' when Python runs. */
static bool may_be(achar_value value, int kind)
{
    return achar_kind(value) == kind || kind_is_object(achar_kind(value));
}

static int make_global(reading *r, int opcode, uint64_t offset, achar_value module,
                       achar_value name, achar_value *value)
{
    if (!may_be(module, ACHAR_STR) || !may_be(name, ACHAR_STR))
        return problem(r, ACHAR_E_TYPE, "an import of %s from %s",
                       achar_kind_name(achar_kind(name)), achar_kind_name(achar_kind(module)));
    int status = make_object(r, ACHAR_GLOBAL, ACHAR_EFFECT_IMPORT, opcode, offset,
                             (achar_value[]){module, name}, 2, value);
    if (status == ACHAR_OK)
        value_object(*value)->python2 = r->protocol < 3;
    return status;
}

static int make_call(reading *r, int opcode, uint64_t offset, const achar_value *operands,
                     size_t operands_count, achar_value *value)
{
    if (!kind_is_object(achar_kind(operands[CALL_CALLABLE])))
        return problem(r, ACHAR_E_TYPE, "a call of %s",
                       achar_kind_name(achar_kind(operands[CALL_CALLABLE])));
    if (!may_be(operands[CALL_ARGUMENTS], ACHAR_TUPLE))
        return problem(r, ACHAR_E_TYPE, "a call with arguments in %s, not in a tuple",
                       achar_kind_name(achar_kind(operands[CALL_ARGUMENTS])));
    if (operands_count == 3 && !may_be(operands[CALL_KEYWORDS], ACHAR_DICT))
        return problem(r, ACHAR_E_TYPE, "a call with keywords in %s, not in a dict",
                       achar_kind_name(achar_kind(operands[CALL_KEYWORDS])));
    return make_object(r, ACHAR_CALL, ACHAR_EFFECT_CALL, opcode, offset, operands, operands_count,
                       value);
}

static int make_extension(reading *r, int opcode, uint64_t offset, int64_t code, achar_value *value)
{
    if (code <= 0)
        return problem(r, ACHAR_E_NUMBER, "extension code %lld is not above 0", (long long)code);
    int status =
        make_object(r, ACHAR_EXTENSION, ACHAR_EFFECT_EXTENSION, opcode, offset, NULL, 0, value);
    if (status == ACHAR_OK)
        value_object(*value)->number = (uint64_t)code;
    return status;
}

static int take_buffer(reading *r, int opcode, uint64_t offset, achar_value *value)
{
    const achar_read_options *options = r->options;
    if (options->buffers != NULL && r->graph->buffers_count == options->buffers_count)
        return problem(r, ACHAR_E_BUFFERS, "the pickle takes more than the %zu buffers given",
                       options->buffers_count);
    int status = make_object(r, ACHAR_BUFFER, ACHAR_EFFECT_BUFFER, opcode, offset, NULL, 0, value);
    if (status == ACHAR_OK) {
        object *o = value_object(*value);
        o->number = r->graph->buffers_count;
        if (options->buffers != NULL)
            o->data = &options->buffers[o->number];
        r->graph->buffers_count++;
    }
    return status;
}

/* READONLY_BUFFER: a view of a buffer; of a view, the view itself. */
static int make_readonly(reading *r, int opcode, uint64_t offset, achar_value *value)
{
    if (achar_kind(*value) != ACHAR_BUFFER)
        return problem(r, ACHAR_E_TYPE, "a buffer is taken from %s",
                       achar_kind_name(achar_kind(*value)));
    if (value_object(*value)->opcode == OP_READONLY_BUFFER)
        return ACHAR_OK;
    return make_object(r, ACHAR_BUFFER, -1, opcode, offset, value, 1, value);
}

/* ---- changes ---- */

/* APPEND(S), SETITEM(S), ADDITEMS: plain containers take the values, objects get a log entry. */
static int change(reading *r, int effect, int opcode, uint64_t offset, achar_value target,
                  const achar_value *values, size_t count)
{
    int kind = achar_kind(target);
    if (count == 0)
        return ACHAR_OK;
    if (effect == ACHAR_EFFECT_SET && count % 2 != 0)
        return problem(r, ACHAR_E_STACK, "a key without a value");
    int plain = effect == ACHAR_EFFECT_APPEND ? ACHAR_LIST
                : effect == ACHAR_EFFECT_SET  ? ACHAR_DICT
                                              : ACHAR_SET;
    if (kind == plain)
        return achar__container_fill(r->graph, target, values, count, opcode, offset);
    bool possible = kind_is_object(kind) ||
                    (kind == ACHAR_BYTEARRAY && effect != ACHAR_EFFECT_ADD) ||
                    (kind == ACHAR_LIST && effect == ACHAR_EFFECT_SET);
    if (!possible)
        return problem(r, ACHAR_E_TYPE, "%s takes no such items", achar_kind_name(kind));
    return achar__log_change(r->graph, effect, target, values, count, opcode, offset);
}

/* ---- the loop ---- */

static int run(reading *r, const uint8_t *const start, const uint8_t *const input_end,
               uint64_t base, const uint8_t **cursor_out)
{
    achar_graph *const g = r->graph;
    const uint8_t *cursor = start;
    const uint8_t *end = input_end; /* or the frame's */
    bool in_frame = false;
    const uint8_t *at = start; /* the opcode */
    achar_value *top;          /* behind the last value */
    achar_value *limit;
    achar_value *fence; /* the last mark */
    achar_value value;
    int status = grow_stack(r);
    if (status != ACHAR_OK) {
        *cursor_out = at;
        return status;
    }
    top = fence = r->stack;
    limit = r->stack + r->stack_capacity;

/* 'n' bytes of argument; 'n' values above the mark; a new value; a step that may fail. */
#define NEED(n)                                                                                    \
    do {                                                                                           \
        if (__builtin_expect((size_t)(end - cursor) < (size_t)(n), 0))                             \
            goto truncated;                                                                        \
    } while (0)
#define HAVE(n)                                                                                    \
    do {                                                                                           \
        if (__builtin_expect(top - fence < (n), 0))                                                \
            goto underflow;                                                                        \
    } while (0)
#define PUSH(v) (*top++ = (v))
#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (__builtin_expect(status != ACHAR_OK, 0))                                               \
            goto fail;                                                                             \
    } while (0)
#define OFFSET (base + (uint64_t)(at - start))
/* The slice above the last mark: 'slice' to 'top'. The mark is gone, the slice not yet. */
#define TAKE_MARK()                                                                                \
    do {                                                                                           \
        if (__builtin_expect(r->marks_count == 0, 0))                                              \
            goto no_mark;                                                                          \
        slice = r->stack + r->marks[--r->marks_count];                                             \
        fence = r->marks_count == 0 ? r->stack : r->stack + r->marks[r->marks_count - 1];          \
    } while (0)
#define MADE(v)                                                                                    \
    do {                                                                                           \
        value = (v);                                                                               \
        if (__builtin_expect(value.meta == 0, 0))                                                  \
            goto out_of_memory;                                                                    \
    } while (0)

    for (;;) {
        achar_value *slice;
        size_t nbytes;
        uint64_t size;

        at = cursor;
        if (__builtin_expect(cursor == end, 0)) {
            if (!in_frame)
                goto truncated;
            end = input_end; /* the frame is done */
            in_frame = false;
            continue;
        }
        if (__builtin_expect(top == limit, 0)) {
            size_t height = (size_t)(top - r->stack);
            size_t fence_height = (size_t)(fence - r->stack);
            TRY(grow_stack(r));
            top = r->stack + height;
            fence = r->stack + fence_height;
            limit = r->stack + r->stack_capacity;
        }

        switch (*cursor++) {

        /* integers */
        case OP_BININT1:
            NEED(1);
            PUSH(value_int(*cursor));
            cursor += 1;
            continue;
        case OP_BININT2:
            NEED(2);
            PUSH(value_int(decode_uint2(cursor)));
            cursor += 2;
            continue;
        case OP_BININT:
            NEED(4);
            PUSH(value_int(decode_int4(cursor)));
            cursor += 4;
            continue;
        case OP_LONG1:
            NEED(1);
            nbytes = *cursor++;
            goto long_bytes;
        case OP_LONG4:
            NEED(4);
            if (decode_int4(cursor) < 0) {
                status = problem(r, ACHAR_E_NUMBER, "an integer of %d bytes", decode_int4(cursor));
                goto fail;
            }
            nbytes = decode_uint4(cursor);
            cursor += 4;
        long_bytes:
            NEED(nbytes);
            PUSH(achar__long_value(cursor, nbytes));
            cursor += nbytes;
            continue;
        case OP_INT:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            if (nbytes == 2 && cursor[0] == '0' && (cursor[1] == '0' || cursor[1] == '1'))
                value = value_bool(cursor[1] == '1');
            else
                TRY(read_decimal(r, cursor, nbytes, &value));
            PUSH(value);
            cursor += nbytes + 1;
            continue;
        case OP_LONG:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            TRY(read_decimal(r, cursor, nbytes - (nbytes != 0 && cursor[nbytes - 1] == 'L'),
                             &value));
            PUSH(value);
            cursor += nbytes + 1;
            continue;

        /* constants and floats */
        case OP_NONE:
            PUSH(VALUE_NONE);
            continue;
        case OP_NEWTRUE:
            PUSH(value_bool(true));
            continue;
        case OP_NEWFALSE:
            PUSH(value_bool(false));
            continue;
        case OP_BINFLOAT:
            NEED(8);
            PUSH(value_float(decode_float8(cursor)));
            cursor += 8;
            continue;
        case OP_FLOAT:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            TRY(read_float(r, cursor, nbytes, &value));
            PUSH(value);
            cursor += nbytes + 1;
            continue;

        /* text */
        case OP_SHORT_BINUNICODE:
            NEED(1);
            size = *cursor++;
            goto unicode_bytes;
        case OP_BINUNICODE:
            NEED(4);
            size = decode_uint4(cursor);
            cursor += 4;
            goto unicode_bytes;
        case OP_BINUNICODE8:
            NEED(8);
            size = decode_uint8(cursor);
            cursor += 8;
        unicode_bytes:
            if (!decode_room(cursor, end, size))
                goto truncated;
            if (!text_is_ascii(cursor, size) && !achar__utf8_valid(cursor, size)) {
                status = problem(r, ACHAR_E_TEXT, "the text is not UTF-8");
                goto fail;
            }
            PUSH(value_make(ACHAR_STR, size, cursor));
            cursor += size;
            continue;
        case OP_UNICODE:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            TRY(read_unicode_line(r, cursor, nbytes, &value));
            PUSH(value);
            cursor += nbytes + 1;
            continue;

        /* Python 2's str; BINSTRING's size is unsigned here as in C Python, where pickle.py takes
         * it as signed */
        case OP_SHORT_BINSTRING:
            NEED(1);
            size = *cursor++;
            goto string_bytes;
        case OP_BINSTRING:
            NEED(4);
            size = decode_uint4(cursor);
            cursor += 4;
        string_bytes:
            if (!decode_room(cursor, end, size))
                goto truncated;
            TRY(decode_python2(r, cursor, size, &value));
            PUSH(value);
            cursor += size;
            continue;
        case OP_STRING:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            TRY(read_string_line(r, cursor, nbytes, &value));
            PUSH(value);
            cursor += nbytes + 1;
            continue;

        /* bytes and buffers */
        case OP_SHORT_BINBYTES:
            NEED(1);
            size = *cursor++;
            goto bytes;
        case OP_BINBYTES:
            NEED(4);
            size = decode_uint4(cursor);
            cursor += 4;
            goto bytes;
        case OP_BINBYTES8:
            NEED(8);
            size = decode_uint8(cursor);
            cursor += 8;
        bytes:
            if (!decode_room(cursor, end, size))
                goto truncated;
            PUSH(value_make(ACHAR_BYTES, size, cursor));
            cursor += size;
            continue;
        case OP_BYTEARRAY8:
            NEED(8);
            size = decode_uint8(cursor);
            cursor += 8;
            if (!decode_room(cursor, end, size))
                goto truncated;
            PUSH(value_make(ACHAR_BYTEARRAY, size, cursor));
            cursor += size;
            continue;
        case OP_NEXT_BUFFER:
            TRY(take_buffer(r, *at, OFFSET, &value));
            PUSH(value);
            continue;
        case OP_READONLY_BUFFER:
            HAVE(1);
            TRY(make_readonly(r, *at, OFFSET, &top[-1]));
            continue;

        /* lists, dicts, sets */
        case OP_EMPTY_LIST:
            MADE(achar__container_new(g, ACHAR_LIST));
            PUSH(value);
            continue;
        case OP_EMPTY_DICT:
            MADE(achar__container_new(g, ACHAR_DICT));
            PUSH(value);
            continue;
        case OP_EMPTY_SET:
            MADE(achar__container_new(g, ACHAR_SET));
            PUSH(value);
            continue;
        case OP_LIST:
            TAKE_MARK();
            MADE(achar__container_new(g, ACHAR_LIST));
            goto fill_new;
        case OP_DICT:
            TAKE_MARK();
            if ((top - slice) % 2 != 0)
                goto odd_items;
            MADE(achar__container_new(g, ACHAR_DICT));
        fill_new:
            TRY(achar__container_fill(g, value, slice, (size_t)(top - slice), *at, OFFSET));
            top = slice;
            PUSH(value);
            continue;
        case OP_APPEND:
            HAVE(2);
            TRY(change(r, ACHAR_EFFECT_APPEND, *at, OFFSET, top[-2], top - 1, 1));
            top -= 1;
            continue;
        case OP_SETITEM:
            HAVE(3);
            TRY(change(r, ACHAR_EFFECT_SET, *at, OFFSET, top[-3], top - 2, 2));
            top -= 2;
            continue;
        case OP_APPENDS:
            TAKE_MARK();
            if (slice == fence)
                goto underflow;
            TRY(change(r, ACHAR_EFFECT_APPEND, *at, OFFSET, slice[-1], slice,
                       (size_t)(top - slice)));
            top = slice;
            continue;
        case OP_SETITEMS:
            TAKE_MARK();
            if (slice == fence)
                goto underflow;
            TRY(change(r, ACHAR_EFFECT_SET, *at, OFFSET, slice[-1], slice, (size_t)(top - slice)));
            top = slice;
            continue;
        case OP_ADDITEMS:
            TAKE_MARK();
            if (slice == fence)
                goto underflow;
            TRY(change(r, ACHAR_EFFECT_ADD, *at, OFFSET, slice[-1], slice, (size_t)(top - slice)));
            top = slice;
            continue;

        /* tuples and frozensets */
        case OP_EMPTY_TUPLE:
            PUSH(value_make(ACHAR_TUPLE, 0, NULL));
            continue;
        case OP_TUPLE1:
            HAVE(1);
            slice = top - 1;
            goto tuple;
        case OP_TUPLE2:
            HAVE(2);
            slice = top - 2;
            goto tuple;
        case OP_TUPLE3:
            HAVE(3);
            slice = top - 3;
            goto tuple;
        case OP_TUPLE:
            TAKE_MARK();
        tuple:
            MADE(achar__frozen_new(g, ACHAR_TUPLE, slice, (size_t)(top - slice)));
            top = slice;
            PUSH(value);
            continue;
        case OP_FROZENSET:
            TAKE_MARK();
            MADE(achar__frozen_new(g, ACHAR_FROZENSET, slice, (size_t)(top - slice)));
            top = slice;
            PUSH(value);
            continue;

        /* the stack */
        case OP_MARK:
            TRY(push_mark(r, (size_t)(top - r->stack)));
            fence = top;
            continue;
        case OP_POP:
            /* takes a mark if that is what lies on top */
            if (top == fence) {
                TAKE_MARK();
                continue;
            }
            top--;
            continue;
        case OP_POP_MARK:
            TAKE_MARK();
            top = slice;
            continue;
        case OP_DUP:
            HAVE(1);
            TRY(achar__graph_share(g, top[-1]));
            top[0] = top[-1];
            top++;
            continue;

        /* the memo */
        case OP_MEMOIZE:
            HAVE(1);
            size = r->memo.count;
            goto put;
        case OP_BINPUT:
            NEED(1);
            size = *cursor++;
            HAVE(1);
            goto put;
        case OP_LONG_BINPUT:
            NEED(4);
            size = decode_uint4(cursor);
            cursor += 4;
            HAVE(1);
            goto put;
        case OP_PUT:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            TRY(read_index(r, cursor, nbytes, &size));
            cursor += nbytes + 1;
            HAVE(1);
        put:
            TRY(achar__memo_put(&r->memo, size, top[-1]));
            continue;
        case OP_BINGET:
            NEED(1);
            size = *cursor++;
            goto get;
        case OP_LONG_BINGET:
            NEED(4);
            size = decode_uint4(cursor);
            cursor += 4;
            goto get;
        case OP_GET:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            TRY(read_index(r, cursor, nbytes, &size));
            cursor += nbytes + 1;
        get : {
            achar_value *known = achar__memo_get(&r->memo, size);
            if (known == NULL) {
                status = problem(r, ACHAR_E_MEMO, "nothing in the memo at %llu",
                                 (unsigned long long)size);
                goto fail;
            }
            if (!(known->meta & VALUE_FETCHED)) {
                TRY(achar__graph_share(g, *known));
                known->meta |= VALUE_FETCHED;
            }
            value = *known;
            value.meta &= ~VALUE_FETCHED;
            PUSH(value);
            continue;
        }

        /* imports */
        case OP_GLOBAL:
        case OP_INST: {
            achar_value names[2];
            size_t second_nbytes;
            if (!decode_line(cursor, end, &nbytes) ||
                !decode_line(cursor + nbytes + 1, end, &second_nbytes))
                goto truncated;
            TRY(read_name_line(r, cursor, nbytes, &names[0]));
            TRY(read_name_line(r, cursor + nbytes + 1, second_nbytes, &names[1]));
            cursor += nbytes + 1 + second_nbytes + 1;
            if (*at == OP_GLOBAL) {
                TRY(make_global(r, *at, OFFSET, names[0], names[1], &value));
                PUSH(value);
                continue;
            }
            TAKE_MARK();
            TRY(make_global(r, *at, OFFSET, names[0], names[1], &names[0]));
            MADE(achar__frozen_new(g, ACHAR_TUPLE, slice, (size_t)(top - slice)));
            names[1] = value;
            TRY(make_call(r, *at, OFFSET, names, 2, &value));
            top = slice;
            PUSH(value);
            continue;
        }
        case OP_STACK_GLOBAL:
            HAVE(2);
            TRY(make_global(r, *at, OFFSET, top[-2], top[-1], &value));
            top -= 2;
            PUSH(value);
            continue;
        case OP_EXT1:
            NEED(1);
            TRY(make_extension(r, *at, OFFSET, *cursor, &value));
            PUSH(value);
            cursor += 1;
            continue;
        case OP_EXT2:
            NEED(2);
            TRY(make_extension(r, *at, OFFSET, decode_uint2(cursor), &value));
            PUSH(value);
            cursor += 2;
            continue;
        case OP_EXT4:
            NEED(4);
            TRY(make_extension(r, *at, OFFSET, decode_int4(cursor), &value));
            PUSH(value);
            cursor += 4;
            continue;
        case OP_PERSID:
            if (!decode_line(cursor, end, &nbytes))
                goto truncated;
            TRY(read_name_line(r, cursor, nbytes, &value));
            TRY(make_object(r, ACHAR_PERSISTENT, ACHAR_EFFECT_PERSISTENT, *at, OFFSET, &value, 1,
                            &value));
            PUSH(value);
            cursor += nbytes + 1;
            continue;
        case OP_BINPERSID:
            HAVE(1);
            TRY(make_object(r, ACHAR_PERSISTENT, ACHAR_EFFECT_PERSISTENT, *at, OFFSET, top - 1, 1,
                            &top[-1]));
            continue;

        /* calls */
        case OP_REDUCE:
        case OP_NEWOBJ:
            HAVE(2);
            TRY(make_call(r, *at, OFFSET, top - 2, 2, &value));
            top -= 2;
            PUSH(value);
            continue;
        case OP_NEWOBJ_EX:
            HAVE(3);
            TRY(make_call(r, *at, OFFSET, top - 3, 3, &value));
            top -= 3;
            PUSH(value);
            continue;
        case OP_OBJ: {
            achar_value operands[2];
            TAKE_MARK();
            if (slice == top)
                goto underflow;
            operands[CALL_CALLABLE] = slice[0];
            MADE(achar__frozen_new(g, ACHAR_TUPLE, slice + 1, (size_t)(top - slice) - 1));
            operands[CALL_ARGUMENTS] = value;
            TRY(make_call(r, *at, OFFSET, operands, 2, &value));
            top = slice;
            PUSH(value);
            continue;
        }
        case OP_BUILD:
            HAVE(2);
            TRY(achar__log_change(g, ACHAR_EFFECT_BUILD, top[-2], top - 1, 1, *at, OFFSET));
            top -= 1;
            continue;

        /* the stream */
        case OP_PROTO:
            NEED(1);
            if (*cursor > PICKLE_PROTOCOL_MAX) {
                status = problem(r, ACHAR_E_PROTOCOL, "protocol %d; this library knows 0 to %d",
                                 *cursor, PICKLE_PROTOCOL_MAX);
                goto fail;
            }
            r->protocol = *cursor;
            if (*cursor > g->protocol)
                g->protocol = *cursor;
            cursor += 1;
            continue;
        case OP_FRAME:
            NEED(8);
            size = decode_uint8(cursor);
            cursor += 8;
            if (in_frame && cursor != end) {
                status = problem(r, ACHAR_E_FRAME, "a frame begins inside another");
                goto fail;
            }
            if (!decode_room(cursor, input_end, size)) {
                status = problem(r, ACHAR_E_TRUNCATED, "a frame of %llu bytes, but only %zu follow",
                                 (unsigned long long)size, (size_t)(input_end - cursor));
                goto fail;
            }
            end = cursor + size;
            in_frame = true;
            continue;
        case OP_STOP:
            HAVE(1);
            if (in_frame && cursor != end) {
                status = problem(r, ACHAR_E_FRAME, "STOP before the end of its frame");
                goto fail;
            }
            g->root = top[-1];
            *cursor_out = cursor;
            return ACHAR_OK;

        default:
            status = problem(r, ACHAR_E_OPCODE, "byte 0x%02x is not an opcode", *at);
            goto fail;
        }

    odd_items:
        status = problem(r, ACHAR_E_STACK, "a key without a value");
        goto fail;
    }

truncated:
    /* either the input ends in the middle of this opcode, or only the frame does */
    status = in_frame ? problem(r, ACHAR_E_FRAME, "the opcode's argument reaches past its frame")
                      : problem(r, ACHAR_E_TRUNCATED, "the pickle ends %s",
                                at == end ? "without STOP" : "inside this opcode's argument");
    goto fail;
underflow:
    status = problem(r, ACHAR_E_STACK,
                     r->marks_count == 0 ? "too few values on the stack"
                                         : "too few values above the mark");
    goto fail;
no_mark:
    status = problem(r, ACHAR_E_STACK, "no mark on the stack");
    goto fail;
out_of_memory:
    status = achar__memory_status(&g->mem);
fail:
    *cursor_out = at;
    return status;
#undef NEED
#undef HAVE
#undef PUSH
#undef TRY
#undef OFFSET
#undef TAKE_MARK
#undef MADE
}

int achar__read(const uint8_t *data, size_t data_nbytes, uint64_t base,
                const achar_read_options *options, achar_graph **graph, size_t *used_nbytes,
                achar_error *error)
{
    static const achar_read_options defaults;
    *graph = NULL;
    if (options == NULL)
        options = &defaults;
    if (data == NULL && data_nbytes != 0)
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "no data");
    if (data == NULL)
        data = (const uint8_t *)"";
    achar_graph *g = achar__graph_new(options->allocator, options->max_nbytes);
    if (g == NULL)
        return achar__fail(error, ACHAR_E_NOMEM, base, -1, NULL);

    reading r = {.graph = g, .options = options};
    achar__memo_init(&r.memo, &g->mem, options->max_memo_count);
    achar__buffer_init(&r.scratch, &g->mem);
    const uint8_t *cursor;
    int status = run(&r, data, data + data_nbytes, base, &cursor);
    achar__memory_give(&g->mem, r.stack, r.stack_capacity * sizeof *r.stack);
    achar__memory_give(&g->mem, r.marks, r.marks_capacity * sizeof *r.marks);
    achar__memo_free(&r.memo);
    achar__buffer_free(&r.scratch);

    if (status != ACHAR_OK) {
        achar_graph_free(g);
        bool at_end = cursor == data + data_nbytes;
        return achar__fail(error, status, base + (uint64_t)(cursor - data), at_end ? -1 : *cursor,
                           "%s", r.problem[0] != '\0' ? r.problem : achar_status_message(status));
    }
    if (used_nbytes != NULL)
        *used_nbytes = (size_t)(cursor - data);
    *graph = g;
    return ACHAR_OK;
}

int achar_read(const void *data, size_t data_nbytes, const achar_read_options *options,
               achar_graph **graph, size_t *used_nbytes, achar_error *error)
{
    return achar__read(data, data_nbytes, 0, options, graph, used_nbytes, error);
}
