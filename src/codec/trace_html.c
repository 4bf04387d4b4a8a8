/*
 * trace_html.c - a trace as one page that needs nothing else: the opcodes as data (JSON), and a script
 * (trace_page.js) that makes the state after each of them.
 *
 * Each step says what changed and no more, so the page's size is proportional to the number of
 * opcodes:
 *
 *      {"o":65,"n":2,"x":"4b 01","a":"1","v":[{"i":7,"k":"number","s":"1"}],"p":7}
 *
 *      o  the opcode's byte      w  what it did, if that is not its usual meaning
 *      n  its size in bytes      d  1: it would import or call something, or is
 *                                   a fault that the page goes on after
 *      x  its bytes              v  values that appear for the first time
 *      a  its argument           t  how many entries left the stack
 *      P  1: a pickle begins     p  the value pushed (a mark: 0)
 *                                m  the index at which the top went into the memo
 *                                c  what was added to a value: [value, kind, count, [the first few]]
 *
 *      i  a value's number       n  how many items it has     v  the first few of them
 *      k  its kind               m  its index in the memo     h  what was added to it so far, as in c
 *      s  how it is shown        b  the byte where it was made, if before the first step shown
 *
 * Everything in the page that comes from the pickle stands in that one block of JSON, in which '<', '>'
 * and '&' are escaped, and once more in the table for those without scripts, where they are as well.
 * The page's own rules (Content-Security-Policy) allow exactly the script and the style that are here,
 * by their hashes, and no connection to anywhere.
 */
#include "codec/trace_internal.h"

#include "codec/repr.h"
#include "codec/text.h"
#include "codec/trace_page.h"

enum {
    HEX_SHOWN_NBYTES = 12,
    STACK_FIRST_MAX = 10000, /* entries of the stack before the first step */
    TABLE_STEPS_MAX = 1000,  /* in the table for those without scripts */
};

typedef struct trace_page {
    table atoms;     /* offset in the input to number, of values without node */
    uint64_t values; /* numbers given so far */
    buffer defined;  /* JSON of values, to go before what refers to them */
    buffer todo;     /* achar_value: numbered, not yet defined */
    buffer plain;    /* lines for those without scripts */
    bool begun;      /* a first step was written */
    uint64_t first_offset;
    buffer fault; /* JSON */
} trace_page;

/* ---- JSON ---- */

/* Text in quotes, which may stand in HTML's <script>. */
static void json_text(buffer *out, const uint8_t *at, size_t nbytes)
{
    achar__buffer_byte(out, '"');
    for (size_t i = 0; i < nbytes; i++) {
        if (at[i] == '\\')
            achar__buffer_text(out, "\\\\");
        else if (at[i] < 0x20 || strchr("\"<>&\x7f", at[i]) != NULL)
            achar__buffer_printf(out, "\\u%04x", at[i]);
        else
            achar__buffer_byte(out, at[i]);
    }
    achar__buffer_byte(out, '"');
}

/* The same of what stands in 'text' from 'start' on; it is then taken off. */
static void json_taken(buffer *out, tracing *t, size_t start)
{
    if (!t->text.failed) {
        json_text(out, t->text.data + start, t->text.nbytes - start);
        t->text.nbytes = start;
    }
}

static void json_c_text(buffer *out, const char *text)
{
    json_text(out, (const uint8_t *)text, strlen(text));
}

static void json_number(buffer *out, const char *before, uint64_t number)
{
    achar__buffer_printf(out, "%s%llu", before, (unsigned long long)number);
}

/* ---- values ---- */

static const char *kind_word(int kind)
{
    return kind == KIND_STATE ? "state" : achar_kind_name(kind);
}

/* The value's number; one that is new will be defined by define_all(). 0 for a mark. */
static uint64_t value_number(tracing *t, achar_value value)
{
    trace_page *page = t->page;
    trace_node *node = trace_node_of(value);
    if (trace_is_mark(value))
        return 0;
    uint64_t *number = node != NULL
                           ? &node->page_id
                           : achar__table_put(&page->atoms, t->base + trace_offset(value), 0, NULL);
    if (number == NULL) {
        t->line.failed = achar__memory_status(&t->mem);
        return 0;
    }
    if (*number == 0) {
        *number = ++page->values;
        achar__buffer_append(&page->todo, &value, sizeof value);
    }
    return *number;
}

static void json_values(buffer *out, tracing *t, const achar_value *values, size_t count)
{
    achar__buffer_byte(out, '[');
    for (size_t i = 0; i < count; i++)
        json_number(out, i == 0 ? "" : ",", value_number(t, values[i]));
    achar__buffer_byte(out, ']');
}

static void json_shown(buffer *out, tracing *t, achar_value value)
{
    size_t start = t->text.nbytes;
    achar__buffer_text(out, ",\"s\":");
    achar__trace_show(&t->text, &t->machine, value, false);
    json_taken(out, t, start);
}

static void define_object(buffer *out, tracing *t, achar_value value)
{
    const trace_node *node = trace_node_of(value);
    const char *word = "";
    switch (node->kind) {
    case ACHAR_CALL:
        achar__buffer_text(out, "\"call\",\"s\":");
        word = node->opcode == OP_NEWOBJ || node->opcode == OP_NEWOBJ_EX ? "new " : "call ";
        break;
    case ACHAR_PERSISTENT:
        achar__buffer_text(out, "\"persistent\",\"s\":");
        word = "persistent ";
        break;
    default:
        achar__buffer_text(out, "\"buffer\",\"s\":");
        word = "readonly ";
    }
    json_c_text(out, word);
    achar__buffer_text(out, ",\"v\":");
    json_values(out, t, node->children, node->kept_count);
}

/* How a value was shown before anything was done to it. */
static void define_as_shown(buffer *out, tracing *t, achar_value value, const char *kind)
{
    trace_node *node = trace_node_of(value);
    trace_node *changes = node->changes;
    uint64_t changes_count = node->changes_count;
    achar__buffer_printf(out, "\"%s\"", kind);
    node->changes = NULL;
    node->changes_count = 0;
    json_shown(out, t, value);
    node->changes = changes;
    node->changes_count = changes_count;
}

static void define_node(buffer *out, tracing *t, achar_value value)
{
    const trace_node *node = trace_node_of(value);
    switch (node->kind) {
    case ACHAR_LIST:
    case ACHAR_TUPLE:
    case ACHAR_DICT:
    case ACHAR_SET:
    case ACHAR_FROZENSET:
        json_c_text(out, achar_kind_name(node->kind));
        json_number(out, ",\"n\":", node->count);
        achar__buffer_text(out, ",\"v\":");
        json_values(out, t, node->children, node->kept_count);
        break;
    case ACHAR_CALL:
        define_object(out, t, value);
        break;
    case ACHAR_PERSISTENT:
    case ACHAR_BUFFER:
        if (node->kept_count != 0) {
            define_object(out, t, value);
            break;
        }
        define_as_shown(out, t, value, node->kind == ACHAR_BUFFER ? "buffer" : "persistent");
        break;
    case ACHAR_GLOBAL:
        define_as_shown(out, t, value, "import");
        break;
    case ACHAR_EXTENSION:
        define_as_shown(out, t, value, "extension");
        break;
    case ACHAR_BYTEARRAY:
        define_as_shown(out, t, value, "bytearray");
        break;
    default:
        define_as_shown(out, t, value,
                        node->kind == ACHAR_STR || node->kind == ACHAR_BYTES ? "text" : "number");
        return;
    }
    if (node->memo_index != NO_INDEX)
        json_number(out, ",\"m\":", node->memo_index);
    const char *before = ",\"h\":[";
    for (const trace_node *change = node->changes; change != NULL; change = change->next) {
        achar__buffer_printf(out, "%s[\"%s\",%llu,", before, kind_word(change->kind),
                             (unsigned long long)change->count);
        json_values(out, t, change->children, change->kept_count);
        achar__buffer_byte(out, ']');
        before = ",";
    }
    if (node->changes != NULL)
        achar__buffer_byte(out, ']');
}

/* Defines all values that got a number, and those that they lead to; in 'defined'. */
static void define_all(tracing *t)
{
    trace_page *page = t->page;
    buffer *out = &page->defined;
    while (page->todo.nbytes != 0 && !page->todo.failed && !t->line.failed) {
        achar_value value;
        page->todo.nbytes -= sizeof value;
        memcpy(&value, page->todo.data + page->todo.nbytes, sizeof value);
        json_number(out, out->nbytes == 0 ? "{\"i\":" : ",{\"i\":", value_number(t, value));
        achar__buffer_text(out, ",\"k\":");
        if (trace_node_of(value) != NULL) {
            define_node(out, t, value);
        } else {
            int kind = achar_kind(value);
            achar__buffer_text(out, kind == ACHAR_STR || kind == ACHAR_BYTES ? "\"text\""
                                                                             : "\"number\"");
            json_shown(out, t, value);
        }
        if (t->base + trace_offset(value) < page->first_offset)
            json_number(out, ",\"b\":", t->base + trace_offset(value));
        achar__buffer_byte(out, '}');
    }
    page->todo.nbytes = 0;
}

/* ,"v":[…] with what is defined and was not yet written. */
static void put_defined(tracing *t)
{
    trace_page *page = t->page;
    define_all(t);
    if (page->defined.nbytes != 0) {
        achar__buffer_text(&t->line, ",\"v\":[");
        achar__buffer_append(&t->line, page->defined.data, page->defined.nbytes);
        achar__buffer_byte(&t->line, ']');
    }
    page->defined.nbytes = 0;
}

/* ---- the page ---- */

static int page_failed(const tracing *t)
{
    const trace_page *page = t->page;
    return page->todo.failed      ? page->todo.failed
           : page->defined.failed ? page->defined.failed
           : page->plain.failed   ? page->plain.failed
                                  : page->fault.failed;
}

/* Text from outside, whatever it is made of, as UTF-8 that HTML accepts. */
static void put_html(buffer *out, const uint8_t *at, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++) {
        if (at[i] == '&')
            achar__buffer_text(out, "&amp;");
        else if (at[i] == '<')
            achar__buffer_text(out, "&lt;");
        else if (at[i] == '>')
            achar__buffer_text(out, "&gt;");
        else if (at[i] == '"')
            achar__buffer_text(out, "&quot;");
        else
            achar__buffer_byte(out, at[i]);
    }
}

/* The title as printable UTF-8: a file's name may be any bytes. */
static void append_title(buffer *out, const char *title)
{
    const uint8_t *at = (const uint8_t *)title;
    size_t nbytes = strlen(title);
    size_t start = out->nbytes;
    if (achar__utf8_valid(at, nbytes))
        achar__repr_text(out, at, nbytes);
    else
        achar__repr_bytes(out, at, nbytes);
    if (!out->failed && out->data[start] == '\'') { /* without the quotes */
        memmove(out->data + start, out->data + start + 1, out->nbytes - start - 2);
        out->nbytes -= 2;
    }
}

int achar__trace_page_begin(tracing *t)
{
    trace_page *page = achar__memory_take(&t->mem, sizeof *page);
    if (page == NULL)
        return achar__memory_status(&t->mem);
    *page = (trace_page){0};
    achar__table_init(&page->atoms, &t->mem);
    achar__buffer_init(&page->defined, &t->mem);
    achar__buffer_init(&page->todo, &t->mem);
    achar__buffer_init(&page->plain, &t->mem);
    achar__buffer_init(&page->fault, &t->mem);
    t->page = page;

    buffer *out = &t->line;
    t->text.nbytes = 0;
    append_title(&t->text, t->options->title == NULL ? "a pickle" : t->options->title);
    achar__buffer_text(out,
                       "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
                       "'none'; base-uri 'none'; form-action 'none'; script-src '");
    achar__buffer_text(out, page_script_hash);
    achar__buffer_text(out, "'; style-src '");
    achar__buffer_text(out, page_style_hash);
    achar__buffer_text(out, "'\">\n<meta name=\"viewport\" content=\"width=device-width, "
                            "initial-scale=1\">\n<title>");
    if (!t->text.failed)
        put_html(out, t->text.data, t->text.nbytes);
    achar__buffer_text(out, "</title>\n<style>");
    achar__buffer_append(out, page_style, sizeof page_style - 1);
    achar__buffer_text(out, "</style>\n</head>\n<body>\n"
                            "<script type=\"application/json\" id=\"trace\">\n{\"title\":");
    json_taken(out, t, 0);
    const trace_limits *limits = &t->machine.limits;
    achar__buffer_printf(out,
                         ",\n\"limits\":{\"items\":%zu,\"text\":%zu,\"depth\":%zu,\"width\":%zu}",
                         limits->items_count, limits->text_count, limits->depth, limits->width);
    achar__buffer_text(out, ",\n\"opcodes\":{");
    const char *before = "\n";
    for (int i = 0; i < 256; i++) {
        const opcode_info *info = &achar__opcodes[i];
        if (info->name == NULL)
            continue;
        achar__buffer_printf(out, "%s\"%d\":{\"name\":\"%s\",\"protocol\":%d,\"meaning\":", before,
                             i, info->name, info->protocol);
        json_c_text(out, info->meaning);
        achar__buffer_byte(out, '}');
        before = ",\n";
    }
    achar__buffer_byte(out, '}');
    achar__trace_flush(t);
    return ACHAR_OK;
}

void achar__trace_page_ready(tracing *t, uint64_t offset)
{
    trace_page *page = t->page;
    trace_machine *m = &t->machine;
    if (page->begun)
        return;
    page->begun = true;
    page->first_offset = offset;
    json_number(&t->line, ",\n\"first\":", t->steps_count + 1);
    json_number(&t->line, ",\"offset\":", offset);
    if (m->cursor != m->data) {
        size_t shown = m->stack_count < STACK_FIRST_MAX ? m->stack_count : STACK_FIRST_MAX;
        json_number(&t->line, ",\"below\":", m->stack_count - shown);
        json_number(&t->line, ",\"memo\":", m->memo_count);
        achar__buffer_text(&t->line, ",\n\"stack\":");
        json_values(&t->line, t, m->stack + m->stack_count - shown, shown);
        define_all(t);
        achar__buffer_text(&t->line, ",\n\"values\":[");
        achar__buffer_append(&t->line, page->defined.data, page->defined.nbytes);
        achar__buffer_byte(&t->line, ']');
        page->defined.nbytes = 0;
    }
    achar__buffer_text(&t->line, ",\n\"steps\":[\n");
}

static void put_change(tracing *t, const trace_step *step)
{
    const trace_machine *m = &t->machine;
    achar_value target = m->stack[m->stack_count - 1];
    const trace_node *node = trace_node_of(target);
    int kind = achar_kind(target);
    bool changes = kind == ACHAR_BYTEARRAY || kind_is_container(kind) || kind_is_object(kind);
    /* One that lay too far down for the page has no number; if it gets one later, all is in it. */
    if (node == NULL || !changes || step->change_count == 0 || node->page_id == 0)
        return;
    const trace_node *filled = kind == step->change ? node : achar__trace_last_change(node);
    json_number(&t->line, ",\"c\":[", value_number(t, target));
    achar__buffer_printf(&t->line, ",\"%s\",%zu,", kind_word(step->change), step->change_count);
    if (filled == NULL)
        achar__buffer_text(&t->line, "[]");
    else
        json_values(&t->line, t, filled->children + step->kept_before,
                    filled->kept_count - step->kept_before);
    achar__buffer_byte(&t->line, ']');
}

void achar__trace_page_step(tracing *t, const trace_step *step)
{
    trace_page *page = t->page;
    trace_machine *m = &t->machine;
    const opcode_info *info = step->token.info;
    buffer *out = &t->line;
    const uint8_t *at = m->data + step->offset;
    size_t nbytes = (size_t)(step->token.next - at);

    achar__buffer_printf(out, "%s{\"o\":%d,\"n\":%zu,\"x\":\"", t->shown_count == 1 ? "" : ",\n",
                         step->token.opcode, nbytes);
    achar__trace_hex(out, at, nbytes, HEX_SHOWN_NBYTES);
    achar__buffer_byte(out, '"');
    if (step->offset == 0)
        achar__buffer_text(out, ",\"P\":1");
    t->text.nbytes = 0;
    if (info->argument != ARG_NONE) {
        achar__buffer_text(out, ",\"a\":");
        achar__trace_show_argument(&t->text, m, step);
        json_taken(out, t, 0);
    }
    achar__trace_words(&t->text, t, step);
    size_t meaning_nbytes = strlen(info->meaning);
    if (!t->text.failed && (t->text.nbytes != meaning_nbytes ||
                            memcmp(t->text.data, info->meaning, meaning_nbytes) != 0)) {
        achar__buffer_text(out, ",\"w\":");
        json_taken(out, t, 0);
    }
    if (achar__trace_is_dangerous(t, step) ||
        (step->token.opcode == OP_FRAME && m->cut_frame.code != ACHAR_OK))
        achar__buffer_text(out, ",\"d\":1");
    if (step->taken_count != 0)
        json_number(out, ",\"t\":", step->taken_count);
    if (step->pushed)
        json_number(out, ",\"p\":", value_number(t, m->stack[m->stack_count - 1]));
    if (step->put) {
        (void)value_number(t, m->stack[m->stack_count - 1]);
        json_number(out, ",\"m\":", step->memo_index);
    }
    if (step->change != 0)
        put_change(t, step);
    put_defined(t);
    achar__buffer_byte(out, '}');

    if (t->shown_count <= TABLE_STEPS_MAX) {
        buffer line = t->line;
        t->line = page->plain;
        achar__trace_lines(t, step);
        page->plain = t->line;
        t->line = line;
    }
    if (page_failed(t) != ACHAR_OK)
        t->line.failed = page_failed(t);
}

void achar__trace_page_fault(tracing *t, const trace_step *step, const achar_error *error)
{
    trace_page *page = t->page;
    trace_machine *m = &t->machine;
    buffer *out = &page->fault;
    const uint8_t *at = m->data + step->offset;
    size_t before = step->offset < HEX_SHOWN_NBYTES ? step->offset : HEX_SHOWN_NBYTES;
    size_t after = at == m->input_end ? 0 : (size_t)(m->input_end - at) - 1;
    const char *name = error->opcode < 0 ? NULL : achar__opcodes[error->opcode].name;
    achar__trace_page_ready(t, t->base + step->offset);
    achar__buffer_text(out, "{\"message\":");
    json_c_text(out, error->message);
    json_number(out, ",\"offset\":", error->offset);
    achar__buffer_printf(out, ",\"opcode\":\"%s\",\"before\":\"%s",
                         error->opcode < 0 ? ""
                         : name == NULL    ? "no opcode"
                                           : name,
                         before < step->offset ? "… " : "");
    achar__trace_hex(out, at - before, before, before);
    achar__buffer_text(out, "\",\"byte\":\"");
    if (at == m->input_end)
        achar__buffer_text(out, "the end");
    else
        achar__buffer_printf(out, "[%02x]", *at);
    achar__buffer_text(out, "\",\"after\":\"");
    achar__trace_hex(out, at + (at != m->input_end), after, HEX_SHOWN_NBYTES);
    achar__buffer_text(out, "\"}");
    buffer line = t->line;
    t->line = page->plain;
    achar__trace_fault_lines(t, step, error);
    page->plain = t->line;
    t->line = line;
    if (page_failed(t) != ACHAR_OK)
        t->line.failed = page_failed(t);
}

void achar__trace_page_end(tracing *t, const char *note)
{
    trace_page *page = t->page;
    buffer *out = &t->line;
    achar__trace_page_ready(t, t->base);
    achar__buffer_byte(out, ']');
    if (page->fault.nbytes != 0) {
        achar__buffer_text(out, ",\n\"fault\":");
        achar__buffer_append(out, page->fault.data, page->fault.nbytes);
    }
    if (note[0] != '\0') {
        achar__buffer_text(out, ",\n\"note\":");
        json_c_text(out, note);
    }
    achar__buffer_text(out,
                       "}\n</script>\n<noscript>\n<p>With scripts allowed this is a page to step "
                       "through. It needs no network. The same as lines");
    if (t->shown_count > TABLE_STEPS_MAX)
        achar__buffer_printf(out, ", of the first %d opcodes", TABLE_STEPS_MAX);
    achar__buffer_text(out, ":</p>\n<pre>");
    put_html(out, page->plain.data, page->plain.nbytes);
    achar__buffer_text(out, "</pre>\n");
    if (note[0] != '\0') {
        achar__buffer_text(out, "<p>");
        put_html(out, (const uint8_t *)note, strlen(note));
        achar__buffer_text(out, "</p>\n");
    }
    achar__buffer_text(out, "</noscript>\n<script>");
    achar__buffer_append(out, page_script, sizeof page_script - 1);
    achar__buffer_text(out, "</script>\n</body>\n</html>\n");
}

void achar__trace_page_free(tracing *t)
{
    trace_page *page = t->page;
    if (page == NULL)
        return;
    achar__table_free(&page->atoms);
    achar__buffer_free(&page->defined);
    achar__buffer_free(&page->todo);
    achar__buffer_free(&page->plain);
    achar__buffer_free(&page->fault);
    achar__memory_give(&t->mem, page, sizeof *page);
    t->page = NULL;
}
