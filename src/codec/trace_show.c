/*
 * trace_show.c - values as text: trace_show.h has the rules. The page's script has them a second time
 * (trace_page.js), over values that can be clicked on; a test compares the two.
 */
#include "codec/trace_show.h"

#include "codec/number.h"
#include "codec/repr.h"
#include "codec/text.h"

enum { INT_SHOWN_NBYTES = 32 };

typedef struct showing {
    buffer *out;
    trace_machine *m;
    bool color;
    size_t width;
    /* What is being shown, outermost first: at most two deeper than 'depth', where a value only says
     * what it is and a view names its buffer. */
    const trace_node *path[TRACE_DEPTH_MAX + 2];
    size_t path_count;
} showing;

static void show(showing *s, achar_value value);

size_t achar__trace_width(const uint8_t *at, size_t nbytes)
{
    size_t width = 0;
    for (size_t i = 0; i < nbytes; i++)
        width += (at[i] & 0xc0) != 0x80;
    return width;
}

void achar__trace_paint(buffer *out, bool color, enum paint paint)
{
    static const char *const sequences[] = {"\033[m",   "\033[2m",  "\033[1m",   "\033[32m",
                                            "\033[31m", "\033[33m", "\033[1;31m"};
    if (color)
        achar__buffer_text(out, sequences[paint]);
}

/* ---- pieces, counted ---- */

static void count_from(showing *s, size_t start)
{
    if (!s->out->failed)
        s->width += achar__trace_width(s->out->data + start, s->out->nbytes - start);
}

static void text(showing *s, const char *piece)
{
    achar__buffer_text(s->out, piece);
    s->width += achar__trace_width((const uint8_t *)piece, strlen(piece));
}

/* A number between two pieces of text. */
static void number(showing *s, const char *before, uint64_t n, const char *after)
{
    size_t start = s->out->nbytes;
    achar__buffer_printf(s->out, "%s%llu%s", before, (unsigned long long)n, after);
    count_from(s, start);
}

static void paint(showing *s, enum paint paint)
{
    achar__trace_paint(s->out, s->color, paint);
}

/* ---- atoms ---- */

/* How many bytes of valid UTF-8 hold its first 'count' characters. */
static size_t text_start(const uint8_t *at, size_t nbytes, size_t count)
{
    size_t i = 0;
    while (i < nbytes && count-- != 0) {
        size_t width;
        achar__utf8_decode(at + i, &width);
        i += width;
    }
    return i;
}

static void append_rest(buffer *out, uint64_t rest_nbytes)
{
    if (rest_nbytes != 0)
        achar__buffer_printf(out, "…+%llu bytes", (unsigned long long)rest_nbytes);
}

/* 'rest_nbytes' more follow what is at hand. */
static void append_text(buffer *out, const uint8_t *at, size_t nbytes, uint64_t rest_nbytes,
                        size_t limit)
{
    size_t start = text_start(at, nbytes, limit);
    achar__repr_text(out, at, start);
    append_rest(out, nbytes - start + rest_nbytes);
}

static void append_bytes(buffer *out, const uint8_t *at, size_t nbytes, size_t limit)
{
    size_t start = nbytes < limit ? nbytes : limit;
    achar__repr_bytes(out, at, start);
    append_rest(out, nbytes - start);
}

static void append_int(buffer *out, const uint8_t *at, size_t nbytes)
{
    nbytes = decode_long_nbytes(at, nbytes);
    if (nbytes <= INT_SHOWN_NBYTES) {
        int status = achar__decimal_append_long(out, at, nbytes);
        if (status != ACHAR_OK && !out->failed)
            out->failed = status;
        return;
    }
    /* without the sign: as many bits as int.bit_length() says, but for powers of two below zero */
    uint8_t high = at[nbytes - 1];
    bool negative = high & 0x80;
    unsigned bits = 0;
    for (uint8_t rest = negative ? (uint8_t)~high : high; rest != 0; rest >>= 1)
        bits++;
    achar__buffer_printf(out, "<%sint of %llu bits>", negative ? "negative " : "",
                         (unsigned long long)(nbytes - 1) * 8 + bits);
}

static void append_float(buffer *out, double value)
{
    char repr[FLOAT_REPR_NBYTES];
    achar__buffer_append(out, repr, achar__float_repr(value, repr));
}

void achar__trace_show_atom(buffer *out, achar_value value, const trace_limits *limits)
{
    const unsigned char *at;
    size_t nbytes;
    switch (achar_kind(value)) {
    case ACHAR_NONE:
        achar__buffer_text(out, "None");
        return;
    case ACHAR_BOOL:
        achar__buffer_text(out, value.as.integer ? "True" : "False");
        return;
    case ACHAR_INT:
        achar__buffer_printf(out, "%lld", (long long)value.as.integer);
        return;
    case ACHAR_BIGINT:
        at = achar_int_bytes(value, &nbytes);
        append_int(out, at, nbytes);
        return;
    case ACHAR_FLOAT:
        append_float(out, value.as.real);
        return;
    case ACHAR_STR:
        at = (const unsigned char *)achar_text(value, &nbytes);
        append_text(out, at, nbytes, 0, limits->text_count);
        return;
    case ACHAR_BYTES:
        at = achar_data(value, &nbytes);
        append_bytes(out, at, nbytes, limits->text_count);
        return;
    default:
        return;
    }
}

static token token_at(const trace_machine *m, uint64_t offset)
{
    token t;
    /* it was read once already */
    (void)achar__token_next(m->data + offset, m->input_end, &t);
    return t;
}

/* An opcode that pushes what stands in its argument; 'kind' is the value's. */
static void append_atom(buffer *out, const trace_machine *m, const token *t, int kind)
{
    switch (t->opcode) {
    case OP_NONE:
        achar__buffer_text(out, "None");
        return;
    case OP_NEWTRUE:
        achar__buffer_text(out, "True");
        return;
    case OP_NEWFALSE:
        achar__buffer_text(out, "False");
        return;
    case OP_EMPTY_TUPLE:
        achar__buffer_text(out, "()");
        return;
    case OP_BININT:
        achar__buffer_printf(out, "%d", decode_int4(t->data));
        return;
    case OP_BININT1:
        achar__buffer_printf(out, "%d", t->data[0]);
        return;
    case OP_BININT2:
        achar__buffer_printf(out, "%d", decode_uint2(t->data));
        return;
    case OP_LONG1:
    case OP_LONG4:
        append_int(out, t->data, t->nbytes);
        return;
    case OP_INT:
    case OP_LONG: {
        int64_t number = 0;
        achar__trace_is_plain(t, &number);
        achar__buffer_printf(out, "%lld", (long long)number);
        return;
    }
    case OP_BINFLOAT:
        append_float(out, decode_float8(t->data));
        return;
    default:
        if (kind == ACHAR_STR)
            append_text(out, t->data, t->nbytes, 0, m->limits.text_count);
        else
            append_bytes(out, t->data, t->nbytes, m->limits.text_count);
    }
}

/* ---- names ---- */

/* A STR's text as far as it was kept; all of it if '*rest_nbytes' is 0. */
static name_text value_text(const trace_machine *m, achar_value value, uint64_t *rest_nbytes)
{
    const trace_node *node = trace_node_of(value);
    if (node != NULL) {
        *rest_nbytes = node->rest_nbytes;
        return (name_text){(const char *)node->text, node->text_nbytes};
    }
    token t = token_at(m, trace_offset(value));
    *rest_nbytes = 0;
    return (name_text){(const char *)t.data, t.nbytes};
}

bool achar__trace_import_names(trace_machine *m, achar_value import, name_text *module,
                               name_text *name)
{
    const trace_node *node = trace_node_of(import);
    if (node->kept_count == 2) {
        uint64_t module_rest, name_rest;
        if (achar_kind(node->children[0]) != ACHAR_STR ||
            achar_kind(node->children[1]) != ACHAR_STR)
            return false;
        *module = value_text(m, node->children[0], &module_rest);
        *name = value_text(m, node->children[1], &name_rest);
        if (module_rest != 0 || name_rest != 0)
            return false;
    } else {
        token t = token_at(m, trace_offset(import));
        *module = (name_text){(const char *)t.data, t.nbytes};
        *name = (name_text){(const char *)t.second, t.second_nbytes};
    }
    if (node->python2)
        achar__names_to_python3(module, name);
    return true;
}

/* A name as it is, if nobody could take it for something else; otherwise in quotes. */
static void show_name(showing *s, name_text name)
{
    size_t start = s->out->nbytes;
    bool plain = name.nbytes != 0;
    for (size_t i = 0; plain && i < name.nbytes; i++) {
        unsigned char c = (unsigned char)name.data[i];
        plain = c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '<' || c == '>';
    }
    append_text(s->out, (const uint8_t *)name.data, name.nbytes, 0, 2 * s->m->limits.text_count);
    if (plain && !s->out->failed && s->out->nbytes - start == name.nbytes + 2 &&
        memcmp(s->out->data + start + 1, name.data, name.nbytes) == 0) {
        memmove(s->out->data + start, s->out->data + start + 1, name.nbytes);
        s->out->nbytes -= 2;
    }
    count_from(s, start);
}

/* ---- what has parts ---- */

/* The first items of a node, then the number of those left. */
static void show_items(showing *s, const trace_node *node)
{
    bool pairs = node->kind == ACHAR_DICT;
    uint64_t count = pairs ? node->count / 2 : node->count;
    uint64_t kept = pairs ? node->kept_count / 2 : node->kept_count;
    if (s->path_count > s->m->limits.depth)
        kept = 0;
    uint64_t i = 0;
    for (; i < kept && (i == 0 || s->width < s->m->limits.width); i++) {
        if (i != 0)
            text(s, ", ");
        show(s, node->children[pairs ? 2 * i : i]);
        if (pairs) {
            text(s, ": ");
            show(s, node->children[2 * i + 1]);
        }
    }
    if (i < count)
        number(s, i == 0 ? "…+" : ", …+", count - i, "");
}

static void show_between(showing *s, const char *before, const trace_node *node, const char *after)
{
    text(s, before);
    show_items(s, node);
    text(s, after);
}

static void show_import(showing *s, achar_value value)
{
    const trace_node *node = trace_node_of(value);
    name_text module, name;
    if (achar__trace_import_names(s->m, value, &module, &name)) {
        show_name(s, module);
        text(s, ".");
        show_name(s, name);
    } else {
        show_between(s, "import(", node, ")");
    }
}

/* The callable, then its arguments in brackets. */
static void show_call(showing *s, const trace_node *node)
{
    achar_value callable = node->children[0];
    if (achar_kind(callable) == ACHAR_GLOBAL) {
        paint(s, PAINT_CALL);
        show(s, callable);
        paint(s, PAINT_NONE);
    } else {
        text(s, "(");
        show(s, callable);
        text(s, ")");
    }
    achar_value arguments = node->children[1];
    text(s, "(");
    if (achar_kind(arguments) != ACHAR_TUPLE) {
        text(s, "*");
        show(s, arguments);
    } else if (trace_node_of(arguments) != NULL) {
        show_items(s, trace_node_of(arguments));
    }
    if (node->kept_count == 3) {
        const trace_node *tuple = trace_node_of(arguments);
        text(s, achar_kind(arguments) == ACHAR_TUPLE && tuple == NULL ? "**" : ", **");
        show(s, node->children[2]);
    }
    text(s, ")");
}

static void show_change(showing *s, const trace_node *change)
{
    switch (change->kind) {
    case ACHAR_LIST:
        show_between(s, " + [", change, "]");
        return;
    case KIND_STATE:
        show_between(s, " + state ", change, "");
        return;
    default:
        show_between(s, " + {", change, "}");
    }
}

/* What was done to an object after it was made. */
static void show_changes(showing *s, const trace_node *node)
{
    uint64_t shown = 0;
    if (s->path_count <= s->m->limits.depth)
        for (const trace_node *change = node->changes; change != NULL;
             change = change->next, shown++)
            show_change(s, change);
    if (shown < node->changes_count)
        number(s, " + …+", node->changes_count - shown, "");
}

static void show_node(showing *s, achar_value value)
{
    const trace_node *node = trace_node_of(value);
    size_t start = s->out->nbytes;
    switch (node->kind) {
    case ACHAR_STR:
        paint(s, PAINT_TEXT);
        start = s->out->nbytes;
        append_text(s->out, node->text, node->text_nbytes, node->rest_nbytes,
                    s->m->limits.text_count);
        count_from(s, start);
        paint(s, PAINT_NONE);
        return;
    case ACHAR_BYTEARRAY: {
        token t = token_at(s->m, trace_offset(value));
        size_t limit = s->m->limits.text_count;
        achar__repr_bytearray(s->out, t.data, t.nbytes < limit ? t.nbytes : limit);
        append_rest(s->out, t.nbytes < limit ? 0 : t.nbytes - limit);
        count_from(s, start);
        break;
    }
    case ACHAR_LIST:
        show_between(s, "[", node, "]");
        break;
    case ACHAR_DICT:
        show_between(s, "{", node, "}");
        break;
    case ACHAR_SET:
        if (node->count == 0)
            text(s, "set()");
        else
            show_between(s, "{", node, "}");
        break;
    case ACHAR_FROZENSET:
        if (node->count == 0)
            text(s, "frozenset()");
        else
            show_between(s, "frozenset({", node, "})");
        break;
    case ACHAR_TUPLE:
        show_between(s, "(", node,
                     node->count == 1 && s->path_count <= s->m->limits.depth ? ",)" : ")");
        break;
    case ACHAR_GLOBAL:
        show_import(s, value);
        break;
    case ACHAR_CALL:
        paint(s, PAINT_CALL);
        text(s, node->opcode == OP_NEWOBJ || node->opcode == OP_NEWOBJ_EX ? "new " : "call ");
        paint(s, PAINT_NONE);
        if (s->path_count > s->m->limits.depth)
            text(s, "…");
        else
            show_call(s, node);
        break;
    case ACHAR_EXTENSION:
        number(s, "extension ", node->number, "");
        break;
    case ACHAR_PERSISTENT:
        text(s, "persistent ");
        if (s->path_count > s->m->limits.depth) {
            text(s, "…");
        } else if (node->kept_count != 0) {
            show(s, node->children[0]);
        } else {
            token t = token_at(s->m, trace_offset(value));
            start = s->out->nbytes;
            append_text(s->out, t.data, t.nbytes, 0, s->m->limits.text_count);
            count_from(s, start);
        }
        break;
    case ACHAR_BUFFER:
        if (node->kept_count != 0) { /* never a view of a view */
            text(s, "readonly ");
            show(s, node->children[0]);
        } else {
            number(s, "buffer ", node->number, "");
        }
        break;
    default: /* a number or bytes that were a line */
        achar__buffer_append(s->out, node->text, node->text_nbytes);
        count_from(s, start);
        return;
    }
    show_changes(s, node);
}

static bool is_on_path(const showing *s, const trace_node *node)
{
    for (size_t i = 0; i < s->path_count; i++)
        if (s->path[i] == node)
            return true;
    return false;
}

/* A value inside itself. */
static void show_reference(showing *s, const trace_node *node)
{
    if (node->memo_index != NO_INDEX)
        number(s, "memo[", node->memo_index, "]");
    else
        text(s, node->kind == ACHAR_LIST                              ? "[...]"
                : node->kind == ACHAR_TUPLE                           ? "(...)"
                : node->kind == ACHAR_DICT || node->kind == ACHAR_SET ? "{...}"
                                                                      : "...");
}

static void show(showing *s, achar_value value)
{
    const trace_node *node = trace_node_of(value);
    if (trace_is_mark(value)) {
        paint(s, PAINT_MARK);
        text(s, "(");
        paint(s, PAINT_NONE);
    } else if (node != NULL && is_on_path(s, node)) {
        show_reference(s, node);
    } else if (node != NULL) {
        s->path[s->path_count++] = node;
        show_node(s, value);
        s->path_count--;
    } else {
        token t = token_at(s->m, trace_offset(value));
        int kind = achar_kind(value);
        if (kind == ACHAR_STR)
            paint(s, PAINT_TEXT);
        size_t start = s->out->nbytes;
        append_atom(s->out, s->m, &t, kind);
        count_from(s, start);
        if (kind == ACHAR_STR)
            paint(s, PAINT_NONE);
    }
}

size_t achar__trace_show(buffer *out, trace_machine *m, achar_value value, bool color)
{
    showing s = {.out = out, .m = m, .color = color};
    show(&s, value);
    return s.width;
}

size_t achar__trace_show_call(buffer *out, trace_machine *m, achar_value value)
{
    showing s = {.out = out, .m = m};
    s.path[s.path_count++] = trace_node_of(value);
    show_call(&s, trace_node_of(value));
    return s.width;
}

/* A line as it stands there, escapes and all. */
static void append_line(buffer *out, const trace_machine *m, const uint8_t *at, size_t nbytes)
{
    size_t start = nbytes < m->limits.text_count ? nbytes : m->limits.text_count;
    for (size_t i = 0; i < start; i++) {
        if (at[i] >= 0x20 && at[i] < 0x7f)
            achar__buffer_byte(out, at[i]);
        else
            achar__buffer_printf(out, "\\x%02x", at[i]);
    }
    append_rest(out, nbytes - start);
}

void achar__trace_show_argument(buffer *out, trace_machine *m, const trace_step *step)
{
    const token *t = &step->token;
    switch ((enum argument_kind)t->info->argument) {
    case ARG_NONE:
        return;
    case ARG_UINT4:
        achar__buffer_printf(out, "%llu", (unsigned long long)decode_uint4(t->data));
        return;
    case ARG_UINT8:
        achar__buffer_printf(out, "%llu", (unsigned long long)decode_uint8(t->data));
        return;
    case ARG_UINT1:
        achar__buffer_printf(out, "%d", t->data[0]);
        return;
    case ARG_UINT2:
        achar__buffer_printf(out, "%d", decode_uint2(t->data));
        return;
    case ARG_INT4:
        achar__buffer_printf(out, "%d", decode_int4(t->data));
        return;
    case ARG_DECIMALNL_SHORT:
    case ARG_DECIMALNL_LONG:
    case ARG_FLOATNL:
    case ARG_STRINGNL:
    case ARG_STRINGNL_NOESCAPE:
    case ARG_UNICODESTRINGNL:
        append_line(out, m, t->data, t->nbytes);
        return;
    case ARG_STRINGNL_NOESCAPE_PAIR:
        append_line(out, m, t->data, t->nbytes);
        achar__buffer_byte(out, ' ');
        append_line(out, m, t->second, t->second_nbytes);
        return;
    case ARG_UNICODESTRING1:
    case ARG_UNICODESTRING4:
    case ARG_UNICODESTRING8:
        append_atom(out, m, t, ACHAR_STR);
        return;
    case ARG_LONG1:
    case ARG_LONG4:
    case ARG_FLOAT8:
    case ARG_STRING1:
    case ARG_STRING4:
    case ARG_BYTES1:
    case ARG_BYTES4:
    case ARG_BYTES8:
    case ARG_BYTEARRAY8:
        append_atom(out, m, t, ACHAR_BYTES);
        return;
    }
}
