/*
 * read_loop.c - the reader's heart: one loop over the opcodes, a stack, a memo, and a graph as the
 * result.
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
#include <string.h>

#include "codec/decode.h"
#include "codec/number.h"
#include "codec/opcodes.h"
#include "codec/reading.h"
#include "codec/rules.h"
#include "codec/text.h"

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

int achar__read_run(reading *r, const uint8_t *const start, const uint8_t *const input_end,
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

/* Counted data: its size, in 'width' bytes at the cursor, and that all of it is there. */
#define COUNTED(width, decoded)                                                                    \
    do {                                                                                           \
        NEED(width);                                                                               \
        size = (decoded);                                                                          \
        cursor += (width);                                                                         \
        if (!decode_room(cursor, end, size))                                                       \
            goto truncated;                                                                        \
    } while (0)
/* A cell that points at them. */
#define PUSH_SPAN(kind, form)                                                                      \
    do {                                                                                           \
        c = cell_make(kind, form, cursor);                                                         \
        cursor += size;                                                                            \
        PUSH_NAMED(c);                                                                             \
    } while (0)
#define PUSH_EMPTY(kind)                                                                           \
    do {                                                                                           \
        c = graph_container_new(g, kind);                                                          \
        CHECK_MADE(c);                                                                             \
        PUSH_NAMED(c);                                                                             \
    } while (0)
/* A container of what is above the mark. */
#define PUSH_FILLED(kind, effect)                                                                  \
    do {                                                                                           \
        TAKE_MARK();                                                                               \
        c = graph_container_new(g, kind);                                                          \
        CHECK_MADE(c);                                                                             \
        TRY(achar__read_change(r, PLACE, effect, c, slice, (size_t)(top - slice)));                \
        top = slice;                                                                               \
        PUSH(c);                                                                                   \
    } while (0)
/* 'count' cells, or those above the mark, go into what lies below them: a 'kind', as a rule. */
#define CHANGE(kind, effect, cells, count)                                                         \
    do {                                                                                           \
        if (!fill_quickly(g, kind, (cells)[-1], cells, count))                                     \
            TRY(achar__read_change(r, PLACE, effect, (cells)[-1], cells, count));                  \
    } while (0)
#define CHANGE_BY_FEW(kind, effect, count)                                                         \
    do {                                                                                           \
        HAVE((count) + 1);                                                                         \
        TELL();                                                                                    \
        CHANGE(kind, effect, top - (count), count);                                                \
        top -= (count);                                                                            \
    } while (0)
#define CHANGE_BY_SLICE(kind, effect)                                                              \
    do {                                                                                           \
        TELL();                                                                                    \
        TAKE_MARK();                                                                               \
        if (slice == fence)                                                                        \
            goto underflow;                                                                        \
        nbytes = (size_t)(top - slice);                                                            \
        top = slice;                                                                               \
        CHANGE(kind, effect, slice, nbytes);                                                       \
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
                TRY(achar__read_grow_stack(r));
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
        COUNTED(1, *cursor);
        if (__builtin_expect(!text_is_ascii_before(cursor, size, end), 0) &&
            !achar__utf8_valid(cursor, size))
            goto no_text;
        PUSH_SPAN(ACHAR_STR, FORM_COUNTED1);
        continue;
    do_BINUNICODE:
        COUNTED(4, decode_uint4(cursor));
        if (!text_is_ascii(cursor, size) && !achar__utf8_valid(cursor, size))
            goto no_text;
        PUSH_SPAN(ACHAR_STR, FORM_COUNTED4);
        continue;
    do_BINUNICODE8:
        COUNTED(8, decode_uint8(cursor));
        if (!achar__utf8_valid(cursor, size))
            goto no_text;
        c = achar__span_new(g, ACHAR_STR, cursor, size);
        CHECK_MADE(c);
        cursor += size;
        PUSH_NAMED(c);
        continue;
    do_UNICODE:
        LINE(nbytes);
        PUSH_MADE(achar__read_unicode_line(r, cursor, nbytes, &made));
        cursor += nbytes + 1;
        continue;

    /* Python 2's str; BINSTRING's size is unsigned here as in C Python, where pickle.py takes it as
     * signed */
    do_SHORT_BINSTRING:
        COUNTED(1, *cursor);
        PUSH_MADE(achar__read_string(r, cursor, size, FORM_COUNTED1, &made));
        cursor += size;
        continue;
    do_BINSTRING:
        COUNTED(4, decode_uint4(cursor));
        PUSH_MADE(achar__read_string(r, cursor, size, FORM_COUNTED4, &made));
        cursor += size;
        continue;
    do_STRING:
        LINE(nbytes);
        PUSH_MADE(achar__read_string_line(r, cursor, nbytes, &made));
        cursor += nbytes + 1;
        continue;

    /* bytes and buffers */
    do_SHORT_BINBYTES:
        COUNTED(1, *cursor);
        PUSH_SPAN(ACHAR_BYTES, FORM_COUNTED1);
        continue;
    do_BINBYTES:
        COUNTED(4, decode_uint4(cursor));
        PUSH_SPAN(ACHAR_BYTES, FORM_COUNTED4);
        continue;
    do_BINBYTES8:
        COUNTED(8, decode_uint8(cursor));
        PUSH_SPAN(ACHAR_BYTES, FORM_COUNTED8);
        continue;
    do_BYTEARRAY8:
        COUNTED(8, decode_uint8(cursor));
        PUSH_SPAN(ACHAR_BYTEARRAY, FORM_COUNTED8);
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
        PUSH_EMPTY(ACHAR_LIST);
        continue;
    do_EMPTY_DICT:
        PUSH_EMPTY(ACHAR_DICT);
        continue;
    do_EMPTY_SET:
        PUSH_EMPTY(ACHAR_SET);
        continue;
    do_LIST:
        PUSH_FILLED(ACHAR_LIST, ACHAR_EFFECT_APPEND);
        continue;
    do_DICT:
        PUSH_FILLED(ACHAR_DICT, ACHAR_EFFECT_SET);
        continue;
    do_APPEND:
        CHANGE_BY_FEW(ACHAR_LIST, ACHAR_EFFECT_APPEND, 1);
        continue;
    do_SETITEM:
        CHANGE_BY_FEW(ACHAR_DICT, ACHAR_EFFECT_SET, 2);
        continue;
    do_APPENDS:
        CHANGE_BY_SLICE(ACHAR_LIST, ACHAR_EFFECT_APPEND);
        continue;
    do_SETITEMS:
        CHANGE_BY_SLICE(ACHAR_DICT, ACHAR_EFFECT_SET);
        continue;
    do_ADDITEMS:
        CHANGE_BY_SLICE(ACHAR_SET, ACHAR_EFFECT_ADD);
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
            TRY(achar__read_grow_marks(r));
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
#undef COUNTED
#undef PUSH_SPAN
#undef PUSH_EMPTY
#undef PUSH_FILLED
#undef CHANGE
#undef CHANGE_BY_FEW
#undef CHANGE_BY_SLICE
#undef LINE
}
