/*
 * read.c - the reader: one loop over the opcodes, a stack, a memo, and a graph as the result.
 *
 * The stack holds cells; marks are heights of it, kept beside. Opcodes see only what lies above
 * the last mark (the 'fence'). Within a frame 'end' is the frame's end, so that the check which
 * every argument needs anyway also finds opcodes that straddle it.
 *
 * Nothing is allocated because a number in the input says so: counted data must be there before
 * it is believed, containers take what lies on the stack, and memo.h deals with high indexes.
 *
 * The loop itself does what pickles are full of: numbers, counted text, and containers that are
 * filled once, before anything could have seen them. The rest is in read_text.c and read_object.c.
 * No address of a local variable of the loop is given away, so that they can stay in registers. It
 * goes to an opcode by a table of labels: a switch would look whether the byte is within its range.
 */
#include "codec/read_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "codec/decode.h"
#include "codec/number.h"
#include "codec/opcodes.h"
#include "codec/reading.h"
#include "codec/rules.h"
#include "codec/text.h"

int achar__problem(reading *r, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->problem, sizeof r->problem, format, arguments);
    va_end(arguments);
    return code;
}

int achar__read_memory_problem(reading *r)
{
    return achar__memory_status(&r->graph->mem);
}

/* After so many bytes of input one may guess from what there was how much memory the rest will need;
 * then again after a quarter more, and at last after each so many. */
enum {
    TELLING_FIRST_NBYTES = SIZE_OR_TINY(2 << 10, 8),
    TELLING_NBYTES = SIZE_OR_TINY(32 << 10, 32)
};

/* Returns after how many more bytes to guess again. */
static size_t expect(reading *r, const uint8_t *start, const uint8_t *cursor, const uint8_t *end)
{
    uint64_t done = (uint64_t)(cursor - start), left = (uint64_t)(end - cursor);
    achar__arena_expect(&r->graph->arena, done, left);
    achar__memo_expect(&r->memo, done, left);
    return done / 4 < TELLING_NBYTES ? done / 4 : TELLING_NBYTES;
}

/* ---- the stack ---- */

/* 'array' of 'old_nbytes' bytes, made larger; it lies in 'first' as long as it is small. */
static void *enlarge(reading *r, void *array, const void *first, size_t old_nbytes,
                     size_t new_nbytes)
{
    bool is_first = array == first;
    void *larger = achar__memory_resize(&r->graph->mem, is_first ? NULL : array,
                                        is_first ? 0 : old_nbytes, new_nbytes);
    if (larger != NULL && is_first)
        memcpy(larger, first, old_nbytes);
    return larger;
}

static int grow_stack(reading *r)
{
    size_t capacity = r->stack_capacity * 2;
    size_t max = r->options->max_stack_count;
    /* Room for one too many: that it is taken shows here. */
    if (max != 0 && capacity > max)
        capacity = max + 1;
    if (capacity <= r->stack_capacity)
        return achar__problem(r, ACHAR_E_LIMIT, "the stack is over its limit of %zu values", max);
    cell *stack = enlarge(r, r->stack, r->first_stack, r->stack_capacity * sizeof *stack,
                          capacity * sizeof *stack);
    if (stack == NULL)
        return achar__read_memory_problem(r);
    r->stack = stack;
    r->stack_capacity = capacity;
    return ACHAR_OK;
}

static int grow_marks(reading *r)
{
    size_t capacity = r->marks_capacity * 2;
    size_t max = r->options->max_stack_count;
    if (max != 0 && capacity > max)
        capacity = max;
    if (capacity <= r->marks_capacity)
        return achar__problem(r, ACHAR_E_LIMIT, "the stack is at its limit of %zu marks", max);
    size_t *marks = enlarge(r, r->marks, r->first_marks, r->marks_capacity * sizeof *marks,
                            capacity * sizeof *marks);
    if (marks == NULL)
        return achar__read_memory_problem(r);
    r->marks = marks;
    r->marks_capacity = capacity;
    return ACHAR_OK;
}

static void begin_stack(reading *r)
{
    size_t max = r->options->max_stack_count;
    r->stack = r->first_stack;
    r->stack_capacity = max != 0 && max < STACK_FIRST_COUNT ? max + 1 : STACK_FIRST_COUNT;
    r->marks = r->first_marks;
    r->marks_capacity = max != 0 && max < MARKS_FIRST_COUNT ? max : MARKS_FIRST_COUNT;
}

static void end_stack(reading *r)
{
    if (r->stack != r->first_stack)
        achar__memory_give(&r->graph->mem, r->stack, r->stack_capacity * sizeof *r->stack);
    if (r->marks != r->first_marks)
        achar__memory_give(&r->graph->mem, r->marks, r->marks_capacity * sizeof *r->marks);
}

/* ---- the common case of containers ---- */

static inline void copy_cells(cell *to, const cell *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

/*
 * Fills a new container, if that is all there is to it: nothing has happened since it was made, it
 * fits into the arena, its keys are of no suspicious kind. False: achar__read_change() shall see.
 */
static inline bool fill_quickly(achar_graph *g, int kind, cell target, const cell *cells,
                                size_t count)
{
    if (cell_kind(target) != kind)
        return false;
    container *c = cell_container(target);
    if (c->word != graph_empty_word(g) || count - 1 >= ITEMS_SMALL_COUNT - 1 ||
        (kind == ACHAR_DICT && (count % 2 != 0 || !rules_all_hashable(cells, count, 2))) ||
        (kind == ACHAR_SET && !rules_all_hashable(cells, count, 1)) ||
        (g->log_count != 0 && !cells_are_plain(cells, count)))
        return false;
    item_block *block = achar__arena_take(&g->arena, sizeof *block + count * sizeof *cells);
    if (__builtin_expect(block == NULL, 0))
        return false;
    *block = (item_block){.count = count};
    copy_cells(block->items, cells, count);
    c->word = (uint64_t)(uintptr_t)block << CONTAINER_WHERE_SHIFT | CONTAINER_REFERENCED |
              CONTAINER_FILLED;
    return true;
}

/* A tuple of 1 to 3 cells. */
static inline cell small_tuple(achar_graph *g, const cell *items, size_t count)
{
    uint32_t kinds = cells_kinds(items, count, 1);
    if (__builtin_expect(!kinds_are_plain(kinds) || kinds & KIND_BIT(ACHAR_BYTEARRAY), 0))
        return achar__frozen_new(g, ACHAR_TUPLE, items, count);
    frozen *f = achar__arena_take(&g->arena, sizeof *f + count * sizeof *items);
    if (__builtin_expect(f == NULL, 0))
        return CELL_NOTHING;
    *f = (frozen){.count = count, .referenced = 1};
    copy_cells(f->items, items, count);
    return cell_make(ACHAR_TUPLE, 0, f);
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
    size_t tell_nbytes = TELLING_FIRST_NBYTES;
    cell *top = r->stack;   /* behind the last cell */
    cell *fence = r->stack; /* the last mark */
    cell *limit = r->stack + r->stack_capacity;
    const uint8_t *stop = start; /* see below */
    int status;

/* 'n' bytes of argument; 'n' cells above the mark; a new cell; a step that may fail. */
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
#define PUSH(c) (*top++ = (c))
/* The same for what most often goes into the memo right away. */
#define PUSH_NAMED(c)                                                                              \
    do {                                                                                           \
        cell pushed = (c);                                                                         \
        *top++ = pushed;                                                                           \
        if (cursor != end && *cursor == OP_MEMOIZE && r->memo.front < r->memo.quick_limit) {       \
            memo_put_quickly(&r->memo, pushed);                                                    \
            cursor++;                                                                              \
        }                                                                                          \
    } while (0)
/* What a call leaves in 'made', which nothing else uses. */
#define PUSH_MADE(call)                                                                            \
    do {                                                                                           \
        cell made;                                                                                 \
        TRY(call);                                                                                 \
        PUSH(made);                                                                                \
    } while (0)
/* Between values: is it time to guess? */
#define TELL()                                                                                     \
    do {                                                                                           \
        if (__builtin_expect((size_t)(cursor - start) > tell_nbytes, 0)) {                         \
            tell_nbytes = (size_t)(cursor - start) + expect(r, start, cursor, input_end);          \
        }                                                                                          \
    } while (0)
#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (__builtin_expect(status != ACHAR_OK, 0))                                               \
            goto fail;                                                                             \
    } while (0)
#define PLACE ((place){*at, base + (uint64_t)(at - start)})
/* The slice above the last mark: 'slice' to 'top'. The mark is gone, the slice not yet. */
#define TAKE_MARK()                                                                                \
    do {                                                                                           \
        if (__builtin_expect(r->marks_count == 0, 0))                                              \
            goto no_mark;                                                                          \
        slice = r->stack + r->marks[--r->marks_count];                                             \
        fence = r->marks_count == 0 ? r->stack : r->stack + r->marks[r->marks_count - 1];          \
    } while (0)
#define CHECK_MADE(c)                                                                              \
    do {                                                                                           \
        if (__builtin_expect(cell_kind(c) == ACHAR_NOTHING, 0))                                    \
            goto out_of_memory;                                                                    \
    } while (0)
/* The size of the line that is an opcode's argument. */
#define LINE(nbytes)                                                                               \
    do {                                                                                           \
        size_t line_nbytes;                                                                        \
        if (!decode_line(cursor, end, &line_nbytes))                                               \
            goto truncated;                                                                        \
        nbytes = line_nbytes;                                                                      \
    } while (0)

    /* Where each opcode is done; without a label for it this does not compile. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
    static const void *const handlers[256] = {
        [0 ... 255] = &&no_opcode,
#define OPCODE(name, byte, protocol, argument, takes, leaves, meaning) [byte] = &&do_##name,
#include "codec/opcodes.def"
#undef OPCODE
    };
#pragma GCC diagnostic pop

    for (;;) {
        cell *slice;
        cell c;
        size_t nbytes;
        uint64_t size;
        int form;

        /* No opcode takes less than a byte or pushes more than one cell: up to 'stop' there is input,
         * and room on the stack. */
        at = cursor;
        if (__builtin_expect(cursor >= stop, 0)) {
            if (cursor == end) {
                if (!in_frame)
                    goto truncated;
                end = input_end; /* the frame is done */
                in_frame = false;
                continue;
            }
            if (top == limit) {
                size_t height = (size_t)(top - r->stack);
                size_t fence_height = (size_t)(fence - r->stack);
                TRY(grow_stack(r));
                top = r->stack + height;
                fence = r->stack + fence_height;
                limit = r->stack + r->stack_capacity;
            }
            stop = end - cursor < limit - top ? end : cursor + (limit - top);
        }

        goto *handlers[*cursor++];

    /* integers */
    do_BININT1:
        NEED(1);
        PUSH(cell_int(*cursor));
        cursor += 1;
        continue;
    do_BININT2:
        NEED(2);
        PUSH(cell_int(decode_uint2(cursor)));
        cursor += 2;
        continue;
    do_BININT:
        NEED(4);
        PUSH(cell_int(decode_int4(cursor)));
        cursor += 4;
        continue;
    do_LONG1:
        NEED(1);
        nbytes = *cursor++;
        if (nbytes - 1 < 8 && (size_t)(end - cursor) >= 8) { /* the common case */
            int64_t integer =
                (int64_t)(decode_uint8(cursor) << (64 - 8 * nbytes)) >> (64 - 8 * nbytes);
            PUSH(cell_int_is_short(integer) ? cell_int(integer)
                                            : cell_make(ACHAR_INT, FORM_COUNTED1, cursor));
            cursor += nbytes;
            continue;
        }
        form = FORM_COUNTED1;
        goto long_bytes;
    do_LONG4:
        NEED(4);
        if (decode_int4(cursor) < 0) {
            status =
                achar__problem(r, ACHAR_E_NUMBER, "an integer of %d bytes", decode_int4(cursor));
            goto fail;
        }
        nbytes = decode_uint4(cursor);
        form = FORM_COUNTED4;
        cursor += 4;
    long_bytes:
        NEED(nbytes);
        c = achar__long_cell(g, cursor, nbytes, form);
        CHECK_MADE(c);
        PUSH(c);
        cursor += nbytes;
        continue;
    do_INT:
        LINE(nbytes);
        PUSH_MADE(achar__read_int_line(r, cursor, nbytes, &made));
        cursor += nbytes + 1;
        continue;
    do_LONG:
        LINE(nbytes);
        PUSH_MADE(achar__read_long_line(r, cursor, nbytes, &made));
        cursor += nbytes + 1;
        continue;

    /* constants and floats */
    do_NONE:
        PUSH(CELL_NONE);
        continue;
    do_NEWTRUE:
        PUSH(cell_bool(true));
        continue;
    do_NEWFALSE:
        PUSH(cell_bool(false));
        continue;
    do_BINFLOAT:
        NEED(8);
        PUSH(cell_make(ACHAR_FLOAT, 0, cursor));
        cursor += 8;
        continue;
    do_FLOAT:
        LINE(nbytes);
        PUSH_MADE(achar__read_float_line(r, cursor, nbytes, &made));
        cursor += nbytes + 1;
        continue;

    /* text */
    do_SHORT_BINUNICODE:
        NEED(1);
        size = *cursor++;
        if (!decode_room(cursor, end, size))
            goto truncated;
        form = FORM_COUNTED1;
        if (__builtin_expect(text_is_ascii_before(cursor, size, end), 1) ||
            achar__utf8_valid(cursor, size))
            goto good_text;
        goto no_text;
    do_BINUNICODE:
        NEED(4);
        size = decode_uint4(cursor);
        form = FORM_COUNTED4;
        cursor += 4;
        goto unicode_bytes;
    do_BINUNICODE8:
        NEED(8);
        size = decode_uint8(cursor);
        form = FORM_BOXED;
        cursor += 8;
    unicode_bytes:
        if (!decode_room(cursor, end, size))
            goto truncated;
        if (!text_is_ascii(cursor, size) && !achar__utf8_valid(cursor, size))
            goto no_text;
        if (form == FORM_BOXED) {
            c = achar__span_new(g, ACHAR_STR, cursor, size);
            CHECK_MADE(c);
            cursor += size;
            PUSH_NAMED(c);
            continue;
        }
    good_text:
        c = cell_make(ACHAR_STR, form, cursor);
        cursor += size;
        PUSH_NAMED(c);
        continue;
    do_UNICODE:
        LINE(nbytes);
        PUSH_MADE(achar__read_unicode_line(r, cursor, nbytes, &made));
        cursor += nbytes + 1;
        continue;

    /* Python 2's str; BINSTRING's size is unsigned here as in C Python, where pickle.py takes
         * it as signed */
    do_SHORT_BINSTRING:
        NEED(1);
        size = *cursor++;
        form = FORM_COUNTED1;
        goto string_bytes;
    do_BINSTRING:
        NEED(4);
        size = decode_uint4(cursor);
        form = FORM_COUNTED4;
        cursor += 4;
    string_bytes:
        if (!decode_room(cursor, end, size))
            goto truncated;
        PUSH_MADE(achar__read_string(r, cursor, size, form, &made));
        cursor += size;
        continue;
    do_STRING:
        LINE(nbytes);
        PUSH_MADE(achar__read_string_line(r, cursor, nbytes, &made));
        cursor += nbytes + 1;
        continue;

    /* bytes and buffers */
    do_SHORT_BINBYTES:
        NEED(1);
        size = *cursor++;
        form = FORM_COUNTED1;
        goto bytes;
    do_BINBYTES:
        NEED(4);
        size = decode_uint4(cursor);
        form = FORM_COUNTED4;
        cursor += 4;
        goto bytes;
    do_BINBYTES8:
        NEED(8);
        size = decode_uint8(cursor);
        form = FORM_COUNTED8;
        cursor += 8;
    bytes:
        if (!decode_room(cursor, end, size))
            goto truncated;
        c = cell_make(ACHAR_BYTES, form, cursor);
        cursor += size;
        PUSH_NAMED(c);
        continue;
    do_BYTEARRAY8:
        NEED(8);
        size = decode_uint8(cursor);
        cursor += 8;
        if (!decode_room(cursor, end, size))
            goto truncated;
        PUSH(cell_make(ACHAR_BYTEARRAY, FORM_COUNTED8, cursor));
        cursor += size;
        continue;
    do_NEXT_BUFFER:
        PUSH_MADE(achar__read_buffer(r, PLACE, &made));
        continue;
    do_READONLY_BUFFER:
        HAVE(1);
        TRY(achar__read_readonly(r, PLACE, &top[-1]));
        continue;

    /* lists, dicts, sets */
    do_EMPTY_LIST:
        c = graph_container_new(g, ACHAR_LIST);
        CHECK_MADE(c);
        PUSH_NAMED(c);
        continue;
    do_EMPTY_DICT:
        c = graph_container_new(g, ACHAR_DICT);
        CHECK_MADE(c);
        PUSH_NAMED(c);
        continue;
    do_EMPTY_SET:
        c = graph_container_new(g, ACHAR_SET);
        CHECK_MADE(c);
        PUSH_NAMED(c);
        continue;
    do_LIST:
        TAKE_MARK();
        c = graph_container_new(g, ACHAR_LIST);
        CHECK_MADE(c);
        TRY(achar__read_change(r, PLACE, ACHAR_EFFECT_APPEND, c, slice, (size_t)(top - slice)));
        top = slice;
        PUSH(c);
        continue;
    do_DICT:
        TAKE_MARK();
        c = graph_container_new(g, ACHAR_DICT);
        CHECK_MADE(c);
        TRY(achar__read_change(r, PLACE, ACHAR_EFFECT_SET, c, slice, (size_t)(top - slice)));
        top = slice;
        PUSH(c);
        continue;
    do_APPEND:
        HAVE(2);
        TELL();
        if (!fill_quickly(g, ACHAR_LIST, top[-2], top - 1, 1))
            TRY(achar__read_change(r, PLACE, ACHAR_EFFECT_APPEND, top[-2], top - 1, 1));
        top -= 1;
        continue;
    do_SETITEM:
        HAVE(3);
        TELL();
        if (!fill_quickly(g, ACHAR_DICT, top[-3], top - 2, 2))
            TRY(achar__read_change(r, PLACE, ACHAR_EFFECT_SET, top[-3], top - 2, 2));
        top -= 2;
        continue;
    do_APPENDS:
        TELL();
        TAKE_MARK();
        if (slice == fence)
            goto underflow;
        nbytes = (size_t)(top - slice);
        top = slice;
        if (!fill_quickly(g, ACHAR_LIST, slice[-1], slice, nbytes))
            TRY(achar__read_change(r, PLACE, ACHAR_EFFECT_APPEND, slice[-1], slice, nbytes));
        continue;
    do_SETITEMS:
        TELL();
        TAKE_MARK();
        if (slice == fence)
            goto underflow;
        nbytes = (size_t)(top - slice);
        top = slice;
        if (!fill_quickly(g, ACHAR_DICT, slice[-1], slice, nbytes))
            TRY(achar__read_change(r, PLACE, ACHAR_EFFECT_SET, slice[-1], slice, nbytes));
        continue;
    do_ADDITEMS:
        TAKE_MARK();
        if (slice == fence)
            goto underflow;
        nbytes = (size_t)(top - slice);
        top = slice;
        if (!fill_quickly(g, ACHAR_SET, slice[-1], slice, nbytes))
            TRY(achar__read_change(r, PLACE, ACHAR_EFFECT_ADD, slice[-1], slice, nbytes));
        continue;

    /* tuples and frozensets */
    do_EMPTY_TUPLE:
        PUSH(cell_make(ACHAR_TUPLE, 0, NULL));
        continue;
    do_TUPLE1:
        HAVE(1);
        c = small_tuple(g, top - 1, 1);
        top -= 1;
        goto tuple;
    do_TUPLE2:
        HAVE(2);
        c = small_tuple(g, top - 2, 2);
        top -= 2;
        goto tuple;
    do_TUPLE3:
        HAVE(3);
        c = small_tuple(g, top - 3, 3);
        top -= 3;
        goto tuple;
    do_TUPLE:
        TELL();
        TAKE_MARK();
        c = achar__frozen_new(g, ACHAR_TUPLE, slice, (size_t)(top - slice));
        top = slice;
    tuple:
        CHECK_MADE(c);
        PUSH_NAMED(c);
        continue;
    do_FROZENSET:
        TAKE_MARK();
        nbytes = (size_t)(top - slice);
        top = slice;
        PUSH_MADE(achar__read_frozenset(r, slice, nbytes, &made));
        continue;

    /* the stack */
    do_MARK:
        if (__builtin_expect(r->marks_count == r->marks_capacity, 0))
            TRY(grow_marks(r));
        r->marks[r->marks_count++] = (size_t)(top - r->stack);
        fence = top;
        continue;
    do_POP:
        /* takes a mark if that is what lies on top */
        if (top == fence) {
            TAKE_MARK();
            continue;
        }
        g->in_order = false;
        top--;
        continue;
    do_POP_MARK:
        TAKE_MARK();
        g->in_order &= top == slice;
        top = slice;
        continue;
    do_DUP:
        HAVE(1);
        TRY(achar__graph_share(g, top[-1]));
        c = top[-1];
        PUSH(c);
        continue;

    /* the memo */
    do_MEMOIZE:
        HAVE(1);
        size = achar__memo_count(&r->memo);
        goto put;
    do_BINPUT:
        NEED(1);
        size = *cursor++;
        HAVE(1);
        goto put;
    do_LONG_BINPUT:
        NEED(4);
        size = decode_uint4(cursor);
        cursor += 4;
        HAVE(1);
        goto put;
    do_PUT:
        LINE(nbytes);
        {
            uint64_t index;
            TRY(achar__read_index_line(r, cursor, nbytes, &index));
            size = index;
        }
        cursor += nbytes + 1;
        HAVE(1);
    put:
        TRY(achar__memo_put(&r->memo, size, top[-1]));
        continue;
    do_BINGET:
        NEED(1);
    get_again:
        size = *cursor++;
        if (!memo_is_fetched(&r->memo, size))
            goto get;
        PUSH(memo_fetched(&r->memo, size));
        /* what comes again often does so several times in a row */
        if (stop - cursor >= 2 && *cursor == OP_BINGET) {
            at = cursor++;
            goto get_again;
        }
        continue;
    do_LONG_BINGET:
        NEED(4);
        size = decode_uint4(cursor);
        cursor += 4;
        goto get;
    do_GET:
        LINE(nbytes);
        {
            uint64_t index;
            TRY(achar__read_index_line(r, cursor, nbytes, &index));
            size = index;
        }
        cursor += nbytes + 1;
    get : {
        cell *known = achar__memo_get(&r->memo, size);
        if (known == NULL) {
            status = achar__problem(r, ACHAR_E_MEMO, "nothing in the memo at %llu",
                                    (unsigned long long)size);
            goto fail;
        }
        if (__builtin_expect(!(known->bits & CELL_FETCHED), 0)) {
            TRY(achar__graph_share(g, *known));
            known->bits |= CELL_FETCHED;
        }
        PUSH((cell){known->bits & ~CELL_FETCHED});
        continue;
    }

    /* imports */
    do_GLOBAL:
    do_INST : {
        cell names[2];
        size_t second_nbytes;
        LINE(nbytes);
        if (!decode_line(cursor + nbytes + 1, end, &second_nbytes))
            goto truncated;
        TRY(achar__read_name_line(r, cursor, nbytes, &names[0]));
        TRY(achar__read_name_line(r, cursor + nbytes + 1, second_nbytes, &names[1]));
        cursor += nbytes + 1 + second_nbytes + 1;
        if (*at == OP_GLOBAL) {
            PUSH_MADE(achar__read_global(r, PLACE, names[0], names[1], &made));
            continue;
        }
        TAKE_MARK();
        cell operands[2];
        TRY(achar__read_global(r, PLACE, names[0], names[1], &operands[CALL_CALLABLE]));
        c = achar__frozen_new(g, ACHAR_TUPLE, slice, (size_t)(top - slice));
        CHECK_MADE(c);
        operands[CALL_ARGUMENTS] = c;
        top = slice;
        PUSH_MADE(achar__read_call(r, PLACE, operands, 2, &made));
        continue;
    }
    do_STACK_GLOBAL:
        HAVE(2);
        top -= 2;
        PUSH_MADE(achar__read_global(r, PLACE, top[0], top[1], &made));
        continue;
    do_EXT1:
        NEED(1);
        PUSH_MADE(achar__read_extension(r, PLACE, *cursor, &made));
        cursor += 1;
        continue;
    do_EXT2:
        NEED(2);
        PUSH_MADE(achar__read_extension(r, PLACE, decode_uint2(cursor), &made));
        cursor += 2;
        continue;
    do_EXT4:
        NEED(4);
        PUSH_MADE(achar__read_extension(r, PLACE, decode_int4(cursor), &made));
        cursor += 4;
        continue;
    do_PERSID : {
        cell id;
        LINE(nbytes);
        TRY(achar__read_name_line(r, cursor, nbytes, &id));
        PUSH_MADE(achar__read_persistent(r, PLACE, id, &made));
        cursor += nbytes + 1;
        continue;
    }
    do_BINPERSID:
        HAVE(1);
        top -= 1;
        PUSH_MADE(achar__read_persistent(r, PLACE, *top, &made));
        continue;

    /* calls */
    do_REDUCE:
    do_NEWOBJ:
        HAVE(2);
        TELL();
        top -= 2;
        PUSH_MADE(achar__read_call(r, PLACE, top, 2, &made));
        continue;
    do_NEWOBJ_EX:
        HAVE(3);
        top -= 3;
        PUSH_MADE(achar__read_call(r, PLACE, top, 3, &made));
        continue;
    do_OBJ : {
        cell operands[2];
        TAKE_MARK();
        if (slice == top)
            goto underflow;
        operands[CALL_CALLABLE] = slice[0];
        c = achar__frozen_new(g, ACHAR_TUPLE, slice + 1, (size_t)(top - slice) - 1);
        CHECK_MADE(c);
        operands[CALL_ARGUMENTS] = c;
        top = slice;
        PUSH_MADE(achar__read_call(r, PLACE, operands, 2, &made));
        continue;
    }
    do_BUILD:
        HAVE(2);
        TRY(achar__read_build(r, PLACE, top[-2], top[-1]));
        top -= 1;
        continue;

    /* the stream */
    do_PROTO:
        NEED(1);
        if (*cursor > PICKLE_PROTOCOL_MAX) {
            status = achar__problem(r, ACHAR_E_PROTOCOL, "protocol %d; this library knows 0 to %d",
                                    *cursor, PICKLE_PROTOCOL_MAX);
            goto fail;
        }
        r->protocol = *cursor;
        if (*cursor > g->protocol)
            g->protocol = *cursor;
        cursor += 1;
        continue;
    do_FRAME:
        NEED(8);
        size = decode_uint8(cursor);
        cursor += 8;
        if (in_frame && cursor != end) {
            status = achar__problem(r, ACHAR_E_FRAME, "a frame begins inside another");
            goto fail;
        }
        if (!decode_room(cursor, input_end, size)) {
            status =
                achar__problem(r, ACHAR_E_TRUNCATED, "a frame of %llu bytes, but only %zu follow",
                               (unsigned long long)size, (size_t)(input_end - cursor));
            goto fail;
        }
        end = cursor + size;
        in_frame = true;
        stop = cursor; /* the frame's end may be nearer than it was */
        continue;
    do_STOP:
        HAVE(1);
        if (in_frame && cursor != end) {
            status = achar__problem(r, ACHAR_E_FRAME, "STOP before the end of its frame");
            goto fail;
        }
        g->in_order &= top - 1 == r->stack;
        g->root = top[-1];
        *cursor_out = cursor;
        return ACHAR_OK;

    no_opcode:
        status = achar__problem(r, ACHAR_E_OPCODE, "byte 0x%02x is not an opcode", *at);
        goto fail;
    }

truncated:
    /* either the input ends in the middle of this opcode, or only the frame does */
    status = in_frame
                 ? achar__problem(r, ACHAR_E_FRAME, "the opcode's argument reaches past its frame")
                 : achar__problem(r, ACHAR_E_TRUNCATED, "the pickle ends %s",
                                  at == end ? "without STOP" : "inside this opcode's argument");
    goto fail;
underflow:
    status = achar__problem(r, ACHAR_E_STACK,
                            r->marks_count == 0 ? "too few values on the stack"
                                                : "too few values above the mark");
    goto fail;
no_text:
    status = achar__problem(r, ACHAR_E_TEXT, "the text is not UTF-8");
    goto fail;
no_mark:
    status = achar__problem(r, ACHAR_E_STACK, "no mark on the stack");
    goto fail;
out_of_memory:
    status = achar__memory_status(&g->mem);
fail:
    *cursor_out = at;
    return status;
#undef NEED
#undef HAVE
#undef PUSH
#undef PUSH_NAMED
#undef PUSH_MADE
#undef TELL
#undef TRY
#undef PLACE
#undef TAKE_MARK
#undef CHECK_MADE
#undef LINE
}

int achar__read(const uint8_t *data, size_t data_nbytes, uint64_t base, uint64_t held_nbytes,
                const achar_read_options *options, achar_graph **graph, size_t *used_nbytes,
                achar_error *error)
{
    static const achar_read_options defaults;
    *graph = NULL;
    if (options == NULL)
        options = &defaults;
    if (data == NULL && data_nbytes != 0)
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "no data");
    if (!achar__encoding_exists(options->encoding))
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "there is no encoding %d",
                           options->encoding);
    if (data == NULL)
        data = (const uint8_t *)"";
    if (!cell_can_point(data) || !cell_can_point(data + data_nbytes))
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "the data's address is tagged");
    achar_graph *g;
    int status =
        achar__graph_new(options->allocator, options->max_nbytes, held_nbytes, data_nbytes, &g);
    if (status != ACHAR_OK)
        return achar__fail(error, status, base, -1, NULL);
    g->data = data;
    g->reading = true;
    g->in_order = true;

    reading r; /* not zeroed: most of it is room */
    r.graph = g;
    r.options = options;
    r.marks_count = 0;
    r.protocol = 0;
    r.problem[0] = '\0';
    begin_stack(&r);
    achar__memo_init(&r.memo, &g->mem, options->max_memo_count);
    achar__buffer_init(&r.scratch, &g->mem);
    const uint8_t *cursor;
    status = run(&r, data, data + data_nbytes, base, &cursor);
    end_stack(&r);
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
    g->reading = false;
    g->read_nbytes = (size_t)(cursor - data);
    *graph = g;
    return ACHAR_OK;
}

int achar_read(const void *data, size_t data_nbytes, const achar_read_options *options,
               achar_graph **graph, size_t *used_nbytes, achar_error *error)
{
    if (graph == NULL)
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "no place for the graph");
    return achar__read(data, data_nbytes, 0, 0, options, graph, used_nbytes, error);
}
