/*
 * dis.c - the disassembler: tokens, and an emulation of the stack with what the table of opcodes
 * says of each.
 *
 * It prints and checks what pickletools.dis does, in the same order; where the code below seems to
 * take a detour (an error is raised only after its line is out; a MARK may be taken by a plain
 * POP), pickletools takes it too.
 */
#include <achar/dis.h>

#include <stdio.h>

#include "base/error.h"
#include "base/table.h"
#include "codec/number.h"
#include "codec/repr.h"
#include "codec/text.h"
#include "codec/token.h"

struct achar_disassembler {
    memory mem;
    achar_dis_options options;
    table memo;   /* index to enum stack_kind */
    buffer stack; /* enum stack_kind, one byte each */
    buffer marks; /* uint64_t offsets */
    buffer line;
    buffer text;
    achar_error *error;
    uint64_t offset; /* of the opcode at hand */
    int opcode;
};

achar_disassembler *achar_disassembler_new(const achar_dis_options *options)
{
    memory mem;
    achar__memory_init(&mem, options == NULL ? NULL : options->allocator, 0);
    achar_disassembler *d = achar__memory_take(&mem, sizeof *d);
    if (d == NULL)
        return NULL;
    *d = (achar_disassembler){.mem = mem};
    if (options != NULL)
        d->options = *options;
    if (d->options.indent == 0)
        d->options.indent = 4;
    achar__table_init(&d->memo, &d->mem);
    achar__buffer_init(&d->stack, &d->mem);
    achar__buffer_init(&d->marks, &d->mem);
    achar__buffer_init(&d->line, &d->mem);
    achar__buffer_init(&d->text, &d->mem);
    return d;
}

void achar_disassembler_free(achar_disassembler *d)
{
    if (d == NULL)
        return;
    achar__table_free(&d->memo);
    achar__buffer_free(&d->stack);
    achar__buffer_free(&d->marks);
    achar__buffer_free(&d->line);
    achar__buffer_free(&d->text);
    memory mem = d->mem;
    achar__memory_give(&mem, d, sizeof *d);
}

#define FAIL(code, ...) achar__fail(d->error, code, d->offset, d->opcode, __VA_ARGS__)

/* ---- arguments ---- */

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Appends what Python's int() makes of a line: blanks around it, a sign, underscores between
 * digits. False if it is no integer. */
static bool append_int(buffer *out, const uint8_t *at, size_t nbytes)
{
    while (nbytes != 0 && strchr(" \t\r\f\v", at[0]) != NULL && at[0] != 0)
        at++, nbytes--;
    while (nbytes != 0 && strchr(" \t\r\f\v", at[nbytes - 1]) != NULL && at[nbytes - 1] != 0)
        nbytes--;
    bool negative = nbytes != 0 && at[0] == '-';
    if (nbytes != 0 && (at[0] == '-' || at[0] == '+'))
        at++, nbytes--;
    bool digit_before = false;
    bool leading = true;
    size_t start = out->nbytes;
    for (size_t i = 0; i < nbytes; i++) {
        bool digit = is_digit(at[i]);
        if (!digit && !(at[i] == '_' && digit_before))
            return false;
        digit_before = digit;
        leading = leading && (!digit || at[i] == '0');
        if (!digit || leading)
            continue;
        if (negative && out->nbytes == start)
            achar__buffer_byte(out, '-');
        achar__buffer_byte(out, at[i]);
    }
    if (leading && digit_before)
        achar__buffer_byte(out, '0');
    return digit_before;
}

/* The argument of an opcode that takes a size, as pickletools reads it: signed for string4. */
static int check_size(achar_disassembler *d, const token *t)
{
    if (t->info->argument == ARG_STRING4 && t->nbytes > INT32_MAX)
        return FAIL(ACHAR_E_NUMBER, "a string of negative size");
    return ACHAR_OK;
}

/* A line whose escapes are undone. */
static int unescape(achar_disassembler *d, const uint8_t *at, size_t nbytes)
{
    const char *problem = NULL;
    if (!achar__string_escape_decode(&d->text, at, nbytes, &problem))
        return FAIL(ACHAR_E_TEXT, "%s", problem);
    return d->text.failed;
}

static int append_string_line(achar_disassembler *d, const token *t)
{
    const uint8_t *at = t->data;
    size_t nbytes = t->nbytes;
    if (nbytes == 0 || (at[0] != '"' && at[0] != '\''))
        return FAIL(ACHAR_E_TEXT, "the string is not in quotes");
    if (at[nbytes - 1] != at[0])
        return FAIL(ACHAR_E_TEXT, "the string has a quote at one end only");
    int status = nbytes < 2 ? ACHAR_OK : unescape(d, at + 1, nbytes - 2);
    if (status != ACHAR_OK)
        return status;
    if (!text_is_ascii(d->text.data, d->text.nbytes))
        return FAIL(ACHAR_E_TEXT, "the string is not ASCII");
    achar__repr_text(&d->line, d->text.data, d->text.nbytes);
    return ACHAR_OK;
}

static int append_names(achar_disassembler *d, const token *t)
{
    int status = unescape(d, t->data, t->nbytes);
    if (status == ACHAR_OK && t->second != NULL) {
        achar__buffer_byte(&d->text, ' ');
        status = unescape(d, t->second, t->second_nbytes);
    }
    if (status != ACHAR_OK)
        return status;
    if (!achar__utf8_valid(d->text.data, d->text.nbytes))
        return FAIL(ACHAR_E_TEXT, "the name is not UTF-8");
    achar__repr_text(&d->line, d->text.data, d->text.nbytes);
    return ACHAR_OK;
}

static int append_float_line(achar_disassembler *d, const token *t)
{
    const uint8_t *at = t->data;
    size_t nbytes = t->nbytes;
    while (nbytes != 0 && (at[0] == ' ' || (at[0] >= '\t' && at[0] <= '\r')))
        at++, nbytes--;
    while (nbytes != 0 &&
           (at[nbytes - 1] == ' ' || (at[nbytes - 1] >= '\t' && at[nbytes - 1] <= '\r')))
        nbytes--;
    /* Python's float() takes underscores between digits. */
    for (size_t i = 0; i < nbytes; i++) {
        bool between =
            at[i] == '_' && i != 0 && i + 1 < nbytes && is_digit(at[i - 1]) && is_digit(at[i + 1]);
        if (!between)
            achar__buffer_byte(&d->text, at[i]);
    }
    if (d->text.failed)
        return FAIL(d->text.failed, NULL);
    double real;
    char repr[FLOAT_REPR_NBYTES];
    int status = ACHAR_OK;
    if (d->text.nbytes == 0 ||
        !achar__float_read(&d->mem, d->text.data, d->text.nbytes, &real, &status))
        return status != ACHAR_OK ? FAIL(status, NULL) : FAIL(ACHAR_E_NUMBER, "not a float");
    achar__buffer_append(&d->line, repr, achar__float_repr(real, repr));
    return ACHAR_OK;
}

/*
 * Appends the repr of an opcode's argument. '*index' is its number if it is one; a memo index is
 * only looked at for PUT, GET and their like.
 */
static int append_argument(achar_disassembler *d, const token *t, int64_t *index)
{
    buffer *line = &d->line;
    char repr[FLOAT_REPR_NBYTES];
    const char *problem = NULL;
    int status = check_size(d, t);
    if (status != ACHAR_OK)
        return status;
    d->text.nbytes = 0;
    *index = 0;
    switch ((enum argument_kind)t->info->argument) {
    case ARG_NONE:
        return ACHAR_OK;
    case ARG_UINT1:
        *index = t->data[0];
        break;
    case ARG_UINT2:
        *index = decode_uint2(t->data);
        break;
    case ARG_INT4:
        *index = decode_int4(t->data);
        break;
    case ARG_UINT4:
        *index = decode_uint4(t->data);
        break;
    case ARG_UINT8:
        achar__buffer_printf(line, "%llu", (unsigned long long)decode_uint8(t->data));
        return ACHAR_OK;
    case ARG_FLOAT8:
        achar__buffer_append(line, repr, achar__float_repr(decode_float8(t->data), repr));
        return ACHAR_OK;
    case ARG_DECIMALNL_SHORT:
        if (t->nbytes == 2 && t->data[0] == '0' && (t->data[1] == '0' || t->data[1] == '1')) {
            *index = t->data[1] - '0';
            achar__buffer_text(line, *index ? "True" : "False");
            return ACHAR_OK;
        }
        if (!append_int(&d->text, t->data, t->nbytes))
            return FAIL(ACHAR_E_NUMBER, "not a decimal integer");
        achar__buffer_append(line, d->text.data, d->text.nbytes);
        if (!decode_decimal(d->text.data, d->text.nbytes, index) && t->opcode != OP_INT)
            return FAIL(ACHAR_E_NUMBER, "a memo index of more than 64 bits");
        return ACHAR_OK;
    case ARG_DECIMALNL_LONG: {
        size_t suffix = t->nbytes != 0 && t->data[t->nbytes - 1] == 'L';
        if (!append_int(line, t->data, t->nbytes - suffix))
            return FAIL(ACHAR_E_NUMBER, "not a decimal integer");
        return ACHAR_OK;
    }
    case ARG_LONG1:
    case ARG_LONG4:
        return achar__decimal_append_long(line, t->data, t->nbytes);
    case ARG_FLOATNL:
        return append_float_line(d, t);
    case ARG_STRINGNL:
        return append_string_line(d, t);
    case ARG_STRINGNL_NOESCAPE:
    case ARG_STRINGNL_NOESCAPE_PAIR:
        return append_names(d, t);
    case ARG_UNICODESTRINGNL:
        if (!achar__raw_unicode_decode(&d->text, t->data, t->nbytes, &problem))
            return FAIL(ACHAR_E_TEXT, "%s", problem);
        achar__repr_text(line, d->text.data, d->text.nbytes);
        return ACHAR_OK;
    case ARG_STRING1:
    case ARG_STRING4:
        achar__latin1_decode(&d->text, t->data, t->nbytes);
        achar__repr_text(line, d->text.data, d->text.nbytes);
        return ACHAR_OK;
    case ARG_BYTES1:
    case ARG_BYTES4:
    case ARG_BYTES8:
        achar__repr_bytes(line, t->data, t->nbytes);
        return ACHAR_OK;
    case ARG_BYTEARRAY8:
        achar__repr_bytearray(line, t->data, t->nbytes);
        return ACHAR_OK;
    case ARG_UNICODESTRING1:
    case ARG_UNICODESTRING4:
    case ARG_UNICODESTRING8:
        if (!achar__utf8_valid(t->data, t->nbytes))
            return FAIL(ACHAR_E_TEXT, "the text is not UTF-8");
        achar__repr_text(line, t->data, t->nbytes);
        return ACHAR_OK;
    }
    achar__buffer_printf(line, "%lld", (long long)*index);
    return ACHAR_OK;
}

/* ---- the stack ---- */

static bool takes_mark(const opcode_info *info)
{
    for (const uint8_t *kind = info->takes; *kind != STACK_NOTHING; kind++)
        if (*kind == STACK_MARK)
            return true;
    return false;
}

static int stack_top(const achar_disassembler *d)
{
    return d->stack.nbytes == 0 ? STACK_NOTHING : d->stack.data[d->stack.nbytes - 1];
}

/* Takes the last mark and all above it; '*position' is where it was pushed. False if an opcode that
 * does not mind what it takes (TUPLE1) has taken the mark itself. */
static bool pop_mark(achar_disassembler *d, uint64_t *position)
{
    d->marks.nbytes -= sizeof *position;
    memcpy(position, d->marks.data + d->marks.nbytes, sizeof *position);
    while (d->stack.nbytes != 0)
        if (d->stack.data[--d->stack.nbytes] == STACK_MARK)
            return true;
    return false;
}

/* ---- lines ---- */

/* In code points, as Python counts. */
static size_t line_width(const buffer *line)
{
    size_t width = 0;
    for (size_t i = 0; i < line->nbytes; i++)
        width += (line->data[i] & 0xc0) != 0x80;
    return width;
}

static void begin_line(achar_disassembler *d, const token *t)
{
    static const char printable[] = "%-4c ";
    static const char escaped[] = "\\x%02x ";
    d->line.nbytes = 0;
    achar__buffer_printf(&d->line, t->opcode < 0x80 ? printable : escaped, t->opcode);
    if (d->options.indent > 0)
        achar__buffer_fill(&d->line, ' ',
                           (size_t)d->options.indent * (d->marks.nbytes / sizeof(uint64_t)));
    achar__buffer_text(&d->line, t->info->name);
}

static int put_line(achar_disassembler *d, const achar_sink *sink)
{
    char position[32];
    int nbytes = snprintf(position, sizeof position, "%5llu: ", (unsigned long long)d->offset);
    achar__buffer_byte(&d->line, '\n');
    if (d->line.failed)
        return FAIL(d->line.failed, NULL);
    if (sink->write(sink->opaque, position, (size_t)nbytes) != 0 ||
        sink->write(sink->opaque, d->line.data, d->line.nbytes) != 0)
        return FAIL(ACHAR_E_IO, "the output could not be written");
    return ACHAR_OK;
}

/* What pickletools says when STOP leaves something: its list of what is there. */
static int leftover(achar_disassembler *d)
{
    static const char *const names[] = {
#define STACK(name, text) text,
        STACK_KINDS(STACK)
#undef STACK
    };
    char list[100] = "";
    size_t used = 0;
    for (size_t i = 0; i < d->stack.nbytes && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ",
                                 names[d->stack.data[i]]);
    return FAIL(ACHAR_E_STACK, "the stack is not empty after STOP: [%s]", list);
}

/* Prints one opcode and does to the stack and the memo what it does. */
static int step(achar_disassembler *d, const token *t, int *annotation_column,
                const achar_sink *sink)
{
    const opcode_info *info = t->info;
    int wrong = ACHAR_OK; /* a complaint that waits until the line is out */
    char complaint[80] = "";
    char remark[40] = "";
    uint8_t leaves[3];
    memcpy(leaves, info->leaves, sizeof leaves);
    size_t takes_count = 0;
    while (takes_count < 3 && info->takes[takes_count] != STACK_NOTHING)
        takes_count++;

    begin_line(d, t);
    size_t name_end = d->line.nbytes;
    if (info->argument != ARG_NONE) {
        size_t width = strlen(info->name);
        achar__buffer_fill(&d->line, ' ', width < 10 ? 10 - width : 0);
        achar__buffer_byte(&d->line, ' ');
    }
    int64_t index;
    int status = append_argument(d, t, &index);
    if (status != ACHAR_OK)
        return status == d->error->code ? status : FAIL(status, NULL);

    if (takes_mark(info) || (t->opcode == OP_POP && stack_top(d) == STACK_MARK)) {
        if (d->marks.nbytes == 0) {
            wrong = ACHAR_E_STACK;
            snprintf(complaint, sizeof complaint, "no MARK exists on stack");
            snprintf(remark, sizeof remark, "no MARK exists on stack");
        } else {
            uint64_t position;
            if (!pop_mark(d, &position))
                return FAIL(ACHAR_E_STACK, "the MARK is no longer on the stack");
            snprintf(remark, sizeof remark, "(MARK at %llu)", (unsigned long long)position);
            for (takes_count = 0; info->takes[takes_count] != STACK_MARK &&
                                  info->takes[takes_count] != STACK_NOTHING;)
                takes_count++;
            if (t->opcode == OP_POP)
                takes_count = 0;
        }
    }

    switch (t->opcode) {
    case OP_MEMOIZE:
        index = (int64_t)d->memo.count;
        snprintf(remark, sizeof remark, "(as %lld)", (long long)index);
        /* fall through */
    case OP_PUT:
    case OP_BINPUT:
    case OP_LONG_BINPUT:
        wrong = ACHAR_E_MEMO;
        if (achar__table_find(&d->memo, (uint64_t)index) != NULL) {
            snprintf(complaint, sizeof complaint, "memo key %lld already defined",
                     (long long)index);
        } else if (d->stack.nbytes == 0) {
            snprintf(complaint, sizeof complaint, "stack is empty -- can't store into memo");
        } else if (stack_top(d) == STACK_MARK) {
            snprintf(complaint, sizeof complaint, "can't store markobject in the memo");
        } else {
            wrong = ACHAR_OK;
            if (achar__table_put(&d->memo, (uint64_t)index, (uint64_t)stack_top(d), NULL) == NULL)
                return FAIL(achar__memory_status(&d->mem), NULL);
        }
        break;
    case OP_GET:
    case OP_BINGET:
    case OP_LONG_BINGET: {
        uint64_t kind = achar__table_get(&d->memo, (uint64_t)index);
        if (kind == TABLE_ABSENT) {
            wrong = ACHAR_E_MEMO;
            snprintf(complaint, sizeof complaint, "memo key %lld has never been stored into",
                     (long long)index);
        } else {
            leaves[0] = (uint8_t)kind;
        }
        break;
    }
    default:
        break;
    }

    if (remark[0] != '\0') {
        if (info->argument == ARG_NONE) {
            size_t width = d->line.nbytes - name_end + strlen(info->name);
            achar__buffer_fill(&d->line, ' ', width < 10 ? 10 - width : 0);
        }
        achar__buffer_byte(&d->line, ' ');
        achar__buffer_text(&d->line, remark);
    }
    if (d->options.annotate > 0) {
        int width = (int)line_width(&d->line);
        if (width < *annotation_column) {
            achar__buffer_fill(&d->line, ' ', (size_t)(*annotation_column - width));
            width = *annotation_column;
        }
        *annotation_column = width > 50 ? d->options.annotate : width;
        achar__buffer_byte(&d->line, ' ');
        achar__buffer_text(&d->line, info->meaning);
    }
    status = put_line(d, sink);
    if (status != ACHAR_OK)
        return status;
    if (wrong != ACHAR_OK)
        return FAIL(wrong, "%s", complaint);

    if (d->stack.nbytes < takes_count)
        return FAIL(ACHAR_E_STACK, "tries to pop %zu items from stack with only %zu items",
                    takes_count, d->stack.nbytes);
    d->stack.nbytes -= takes_count;
    for (const uint8_t *kind = leaves; kind < leaves + 3 && *kind != STACK_NOTHING; kind++) {
        if (*kind == STACK_MARK)
            achar__buffer_append(&d->marks, &d->offset, sizeof d->offset);
        achar__buffer_byte(&d->stack, *kind);
    }
    if (d->stack.failed || d->marks.failed)
        return FAIL(ACHAR_E_NOMEM, NULL);
    return ACHAR_OK;
}

int achar_disassemble(achar_disassembler *d, const void *data, size_t data_nbytes, uint64_t base,
                      const achar_sink *sink, size_t *used_nbytes, achar_error *error)
{
    if (used_nbytes != NULL)
        *used_nbytes = 0;
    if (d == NULL || !achar__sink_exists(sink) || (data == NULL && data_nbytes != 0))
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "no %s",
                           d == NULL                   ? "disassembler"
                           : !achar__sink_exists(sink) ? "sink"
                                                       : "data");
    achar_error own_error = {0};
    const uint8_t *start = data == NULL ? (const uint8_t *)"" : data;
    const uint8_t *end = start + data_nbytes;
    const uint8_t *cursor = start;
    int annotation_column = d->options.annotate;
    int highest = -1;
    int status = ACHAR_OK;
    token t = {0};

    d->error = &own_error;
    d->stack.nbytes = d->marks.nbytes = 0;
    d->stack.failed = d->marks.failed = d->line.failed = d->text.failed = ACHAR_OK;
    if (!d->options.keep_memo)
        achar__table_free(&d->memo);

    while (status == ACHAR_OK && t.opcode != OP_STOP) {
        status = achar__token_next(cursor, end, &t);
        d->offset = base + (uint64_t)(cursor - start);
        d->opcode = cursor == end ? -1 : *cursor;
        if (status == ACHAR_E_TRUNCATED)
            FAIL(status, cursor == end ? "pickle exhausted before seeing STOP"
                                       : "the pickle ends inside this opcode's argument");
        else if (status == ACHAR_E_OPCODE)
            FAIL(status, "byte 0x%02x is not an opcode", t.opcode);
        else if (status != ACHAR_OK)
            FAIL(status, "an integer of negative size");
        else
            status = step(d, &t, &annotation_column, sink);
        if (status == ACHAR_OK) {
            cursor = t.next;
            if (t.info->protocol > highest)
                highest = t.info->protocol;
        }
    }
    if (status == ACHAR_OK) {
        d->line.nbytes = 0;
        achar__buffer_printf(&d->line, "highest protocol among opcodes = %d\n", highest);
        if (d->line.failed)
            status = FAIL(d->line.failed, NULL);
        else if (sink->write(sink->opaque, d->line.data, d->line.nbytes) != 0)
            status = FAIL(ACHAR_E_IO, "the output could not be written");
        else if (d->stack.nbytes != 0)
            status = leftover(d);
    }
    if (used_nbytes != NULL)
        *used_nbytes = (size_t)(cursor - start);
    if (status != ACHAR_OK && error != NULL)
        *error = own_error;
    return status;
}
