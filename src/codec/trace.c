/*
 * trace.c - the run of a trace: which opcodes are shown, and the lines that show them.
 *
 *      4       12  MEMOIZE                         Remember the top as memo[0].
 *                    stack  {}
 *                    memo   memo[0] = {}
 *
 * A step costs what it shows: the top of the stack and what the opcode put into the memo.
 */
#include "codec/trace_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "codec/read_internal.h"

enum {
    STACK_SHOWN_COUNT = 8, /* entries */
    LABEL_COLUMN = 20,
    VALUE_COLUMN = 27,
    WORDS_COLUMN = 46,
    BYTES_BEFORE_FAULT = 8,
    BYTES_AFTER_FAULT = 16,
};

static const trace_limits limits_usual = {
    .items_count = 8, .text_count = 32, .depth = 4, .width = 72};
static const trace_limits limits_full = {
    .items_count = 100, .text_count = 1000, .depth = TRACE_DEPTH_MAX, .width = 10000};
static const trace_limits limits_page = {
    .items_count = 16, .text_count = 64, .depth = 6, .width = 200};

/* ---- words ---- */

static void plural(buffer *out, size_t count, const char *one, const char *many)
{
    achar__buffer_printf(out, "%zu %s", count, count == 1 ? one : many);
}

static void words_of_collecting(buffer *out, const trace_step *step, const char *what)
{
    achar__buffer_printf(out, "Make a %s of the ", what);
    plural(out, step->change_count, "value", "values");
    achar__buffer_text(out, " above the mark.");
}

static void words_of_change(buffer *out, tracing *t, const trace_step *step)
{
    const trace_machine *m = &t->machine;
    int kind = achar_kind(m->stack[m->stack_count - 1]);
    bool own = kind == step->change;
    if (step->change == KIND_STATE) {
        achar__buffer_text(out, "Would set the state below it: by __setstate__(), or attribute by "
                                "attribute.");
    } else if (step->change == ACHAR_DICT) {
        achar__buffer_text(out, own ? "Set " : "Would set ");
        plural(out, step->change_count / 2, "key", "keys");
        achar__buffer_printf(out, " of the %s below.", own ? "dict" : "object");
    } else {
        achar__buffer_text(out, own                          ? "Add "
                                : step->change == ACHAR_LIST ? "Would append "
                                                             : "Would add ");
        plural(out, step->change_count, "value", "values");
        achar__buffer_printf(out, " to the %s below.",
                             kind_is_object(kind)         ? "object"
                             : !own                       ? achar_kind_name(kind)
                             : step->change == ACHAR_LIST ? "list"
                                                          : "set");
    }
}

void achar__trace_words(buffer *out, tracing *t, const trace_step *step)
{
    trace_machine *m = &t->machine;
    achar_value top = m->stack_count == 0 ? VALUE_NOTHING : m->stack[m->stack_count - 1];
    if (step->change != 0) {
        words_of_change(out, t, step);
        return;
    }
    switch ((enum opcode)step->token.opcode) {
    case OP_PROTO:
        achar__buffer_printf(out, "The pickle is of protocol %d.", step->token.data[0]);
        return;
    case OP_FRAME:
        if (m->cut_frame.code != ACHAR_OK)
            achar__buffer_printf(out, "FAULT: %s.", m->cut_frame.message);
        else
            achar__buffer_printf(out,
                                 "The next %llu bytes are one frame: they can be read at once.",
                                 (unsigned long long)decode_uint8(step->token.data));
        return;
    case OP_STOP:
        achar__buffer_text(out, "Done: the top of the stack is the result.");
        return;
    case OP_MARK:
        achar__buffer_text(out, "Push a mark: what comes above it belongs together.");
        return;
    case OP_POP:
        achar__buffer_text(out, step->taken_count == 1 && !step->change_count
                                    ? "Drop the top of the stack."
                                    : "Drop the mark and what is above it.");
        return;
    case OP_POP_MARK:
        achar__buffer_text(out, "Drop the mark and ");
        plural(out, step->change_count, "value", "values");
        achar__buffer_text(out, " above it.");
        return;
    case OP_PUT:
    case OP_BINPUT:
    case OP_LONG_BINPUT:
    case OP_MEMOIZE:
        achar__buffer_printf(out, "Remember the top as memo[%llu].",
                             (unsigned long long)step->memo_index);
        return;
    case OP_GET:
    case OP_BINGET:
    case OP_LONG_BINGET:
        achar__buffer_printf(out, "Push what is in memo[%llu].",
                             (unsigned long long)step->memo_index);
        return;
    case OP_LIST:
        words_of_collecting(out, step, "list");
        return;
    case OP_TUPLE:
        words_of_collecting(out, step, "tuple");
        return;
    case OP_DICT:
        words_of_collecting(out, step, "dict");
        return;
    case OP_FROZENSET:
        words_of_collecting(out, step, "frozenset");
        return;
    case OP_GLOBAL:
    case OP_STACK_GLOBAL:
        achar__buffer_text(out, "Would import ");
        achar__trace_show(out, m, top, false);
        achar__buffer_byte(out, '.');
        return;
    case OP_EXT1:
    case OP_EXT2:
    case OP_EXT4:
        achar__buffer_text(out, "Would import what copyreg has under this number.");
        return;
    case OP_REDUCE:
    case OP_INST:
    case OP_OBJ:
        achar__buffer_text(out, "Would call ");
        achar__trace_show_call(out, m, top);
        achar__buffer_byte(out, '.');
        return;
    case OP_NEWOBJ:
    case OP_NEWOBJ_EX:
        achar__buffer_text(out, "Would make a new ");
        achar__trace_show_call(out, m, top);
        achar__buffer_text(out, ", without its __init__().");
        return;
    case OP_PERSID:
    case OP_BINPERSID:
        achar__buffer_text(out, "Would ask the loading program for what has this id.");
        return;
    case OP_NEXT_BUFFER:
        achar__buffer_text(out, "Take the next of the buffers that travel beside the pickle.");
        return;
    default:
        achar__buffer_text(out, step->token.info->meaning);
    }
}

/* ---- lines ---- */

void achar__trace_flush(tracing *t)
{
    if (t->line.nbytes != 0 && !t->line.failed && !t->sink_failed &&
        t->sink->write(t->sink->opaque, t->line.data, t->line.nbytes) != 0)
        t->sink_failed = ACHAR_E_IO;
    t->line.nbytes = 0;
}

/* Ends the line that starts at 'start'; what is beyond the width is cut off. Escape sequences take
 * no room. */
static void end_line(tracing *t, size_t start)
{
    buffer *line = &t->line;
    size_t cut = 0, width = 0; /* where the last column starts */
    for (size_t i = start; t->options->width != 0 && i < line->nbytes; i++) {
        if (line->data[i] == '\033') {
            while (line->data[i] != 'm')
                i++;
        } else if ((line->data[i] & 0xc0) != 0x80) {
            if (++width == t->options->width)
                cut = i;
        }
    }
    if (width > t->options->width && t->options->width != 0) {
        line->nbytes = cut;
        achar__buffer_text(line, "…");
        achar__trace_paint(line, t->options->color, PAINT_NONE);
    }
    achar__buffer_byte(line, '\n');
}

static void painted(tracing *t, enum paint paint, const char *text)
{
    achar__trace_paint(&t->line, t->options->color, paint);
    achar__buffer_text(&t->line, text);
    achar__trace_paint(&t->line, t->options->color, PAINT_NONE);
}

/* "              stack  ", to be followed by values. Returns where the line starts. */
static size_t begin_detail(tracing *t, const char *label)
{
    size_t start = t->line.nbytes;
    achar__buffer_fill(&t->line, ' ', LABEL_COLUMN);
    painted(t, PAINT_DIM, label);
    achar__buffer_fill(&t->line, ' ', VALUE_COLUMN - LABEL_COLUMN - strlen(label));
    return start;
}

typedef struct piece {
    size_t start, end; /* in 'text' */
} piece;

/* What lies on the stack, the top last: as many entries as there is room for. */
static void stack_line(tracing *t)
{
    trace_machine *m = &t->machine;
    size_t start = begin_detail(t, "stack");
    size_t max = t->options->full ? m->stack_count : STACK_SHOWN_COUNT;
    size_t room = t->options->width > VALUE_COLUMN ? t->options->width - VALUE_COLUMN : 0;
    size_t used = 0, count = 0;
    buffer pieces;
    achar__buffer_init(&pieces, &t->mem);
    t->text.nbytes = 0;
    while (count < max && count < m->stack_count) {
        piece p = {.start = t->text.nbytes};
        used += 3 + achar__trace_show(&t->text, m, m->stack[m->stack_count - 1 - count],
                                      t->options->color);
        /* '… 123 below' is left room for as well */
        if (count != 0 && !t->options->full && room != 0 && used + 16 > room)
            break;
        p.end = t->text.nbytes;
        achar__buffer_append(&pieces, &p, sizeof p);
        count++;
    }
    if (pieces.failed)
        t->line.failed = pieces.failed;
    if (m->stack_count == 0)
        painted(t, PAINT_DIM, "empty");
    if (count < m->stack_count) {
        char below[40];
        snprintf(below, sizeof below, "… %zu below", m->stack_count - count);
        painted(t, PAINT_DIM, below);
        achar__buffer_text(&t->line, " │ ");
    }
    while (count-- != 0 && !t->line.failed) {
        piece p;
        memcpy(&p, pieces.data + count * sizeof p, sizeof p);
        achar__buffer_append(&t->line, t->text.data + p.start, p.end - p.start);
        if (count != 0)
            achar__buffer_text(&t->line, " │ ");
    }
    achar__buffer_free(&pieces);
    end_line(t, start);
}

static void memo_line(tracing *t, uint64_t index, achar_value value)
{
    size_t start = begin_detail(t, "memo");
    achar__buffer_printf(&t->line, "memo[%llu] = ", (unsigned long long)index);
    achar__trace_show(&t->line, &t->machine, value, t->options->color);
    end_line(t, start);
}

static int compare_index(const void *a, const void *b)
{
    uint64_t left = ((const table_entry *)a)->key, right = ((const table_entry *)b)->key;
    return left < right ? -1 : left > right;
}

/* All of the memo, by index. Far indexes come from the table. */
static void memo_lines(tracing *t)
{
    const trace_entries *entries = &t->machine.memo;
    for (size_t i = 0; i < entries->capacity; i++)
        if (entries->dense[i].meta != 0)
            memo_line(t, i, entries->dense[i]);
    buffer far;
    achar__buffer_init(&far, &t->mem);
    for (size_t i = 0; i < entries->sparse.capacity; i++) {
        const table_entry *entry = &entries->sparse.entries[i];
        bool moved = entry->value != TABLE_ABSENT && entry->key < entries->capacity &&
                     entries->dense[entry->key].meta != 0;
        if (entry->value != TABLE_ABSENT && !moved)
            achar__buffer_append(&far, entry, sizeof *entry);
    }
    if (far.failed)
        t->line.failed = far.failed;
    size_t count = far.nbytes / sizeof(table_entry);
    if (count > 1)
        qsort(far.data, count, sizeof(table_entry), compare_index);
    for (size_t i = 0; i < count; i++) {
        table_entry entry;
        memcpy(&entry, far.data + i * sizeof entry, sizeof entry);
        memo_line(t, entry.key, entries->sparse_values[entry.value]);
    }
    achar__buffer_free(&far);
}

/* What went into the memo last. */
static void recent_lines(tracing *t)
{
    const trace_machine *m = &t->machine;
    uint64_t shown = m->recent_count < TRACE_RECENT_COUNT ? m->recent_count : TRACE_RECENT_COUNT;
    if (m->memo_count > shown) {
        size_t start = begin_detail(t, "memo");
        achar__buffer_printf(&t->line,
                             "%llu entries; the last of them:", (unsigned long long)m->memo_count);
        end_line(t, start);
    }
    for (uint64_t i = m->recent_count - shown; i < m->recent_count; i++) {
        trace_put put = m->recent[i % TRACE_RECENT_COUNT];
        memo_line(t, put.index, put.value);
    }
}

/* Number, offset and name of an opcode, up to where its argument goes. */
static size_t begin_step(tracing *t, const trace_step *step, enum paint paint, const char *name)
{
    size_t start = t->line.nbytes;
    achar__trace_paint(&t->line, t->options->color, PAINT_DIM);
    achar__buffer_printf(&t->line, "%6llu %9llu", (unsigned long long)t->steps_count,
                         (unsigned long long)(t->base + step->offset));
    achar__trace_paint(&t->line, t->options->color, PAINT_NONE);
    achar__buffer_text(&t->line, "  ");
    painted(t, paint, name);
    return start;
}

bool achar__trace_is_dangerous(const tracing *t, const trace_step *step)
{
    const trace_machine *m = &t->machine;
    if (m->stack_count == 0 || step->got || step->token.opcode == OP_DUP ||
        step->token.opcode == OP_MARK)
        return false;
    int kind = achar_kind(m->stack[m->stack_count - 1]);
    return step->change != 0 ? step->change_count != 0 && kind != step->change
                             : step->pushed && kind_is_object(kind) && kind != ACHAR_BUFFER;
}

void achar__trace_lines(tracing *t, const trace_step *step)
{
    const opcode_info *info = step->token.info;
    size_t start = begin_step(t, step, PAINT_BOLD, info->name);
    /* columns are counted on a copy without colours */
    t->text.nbytes = 0;
    achar__buffer_printf(&t->text, "%6llu %9llu  %s", (unsigned long long)t->steps_count,
                         (unsigned long long)(t->base + step->offset), info->name);
    if (info->argument != ARG_NONE) {
        achar__buffer_byte(&t->text, ' ');
        achar__buffer_byte(&t->line, ' ');
        size_t at = t->text.nbytes;
        achar__trace_show_argument(&t->text, &t->machine, step);
        if (!t->text.failed)
            achar__buffer_append(&t->line, t->text.data + at, t->text.nbytes - at);
    }
    size_t width = achar__trace_width(t->text.data, t->text.nbytes);
    achar__buffer_fill(&t->line, ' ', width + 2 <= WORDS_COLUMN ? WORDS_COLUMN - width : 2);
    bool dangerous = achar__trace_is_dangerous(t, step);
    bool fault = step->token.opcode == OP_FRAME && t->machine.cut_frame.code != ACHAR_OK;
    achar__trace_paint(&t->line, t->options->color,
                       fault       ? PAINT_FAULT
                       : dangerous ? PAINT_CALL
                                   : PAINT_DIM);
    achar__trace_words(&t->line, t, step);
    achar__trace_paint(&t->line, t->options->color, PAINT_NONE);
    end_line(t, start);

    if (step->token.opcode == OP_STOP) {
        start = begin_detail(t, "result");
        achar__trace_show(&t->line, &t->machine, t->machine.stack[t->machine.stack_count - 1],
                          t->options->color);
        end_line(t, start);
        return;
    }
    stack_line(t);
    if (t->options->full)
        memo_lines(t);
    else if (step->put)
        memo_line(t, step->memo_index, t->machine.stack[t->machine.stack_count - 1]);
}

/* ---- what goes wrong ---- */

void achar__trace_hex(buffer *out, const uint8_t *at, size_t nbytes, size_t limit)
{
    for (size_t i = 0; i < nbytes && i < limit; i++)
        achar__buffer_printf(out, i == 0 ? "%02x" : " %02x", at[i]);
    if (nbytes > limit)
        achar__buffer_text(out, " …");
}

void achar__trace_fault_lines(tracing *t, const trace_step *step, const achar_error *error)
{
    trace_machine *m = &t->machine;
    const uint8_t *at = m->data + step->offset;
    const char *name = error->opcode < 0 ? "(end)" : achar__opcodes[error->opcode].name;
    size_t start = begin_step(t, step, PAINT_FAULT, name == NULL ? "?" : name);
    achar__trace_paint(&t->line, t->options->color, PAINT_FAULT);
    achar__buffer_printf(&t->line, "  FAULT at byte %llu: %s", (unsigned long long)error->offset,
                         error->message);
    achar__trace_paint(&t->line, t->options->color, PAINT_NONE);
    end_line(t, start);
    stack_line(t);
    if (t->options->full)
        memo_lines(t);
    else
        recent_lines(t);

    start = begin_detail(t, "bytes");
    size_t before = step->offset < BYTES_BEFORE_FAULT ? step->offset : BYTES_BEFORE_FAULT;
    if (before < step->offset)
        achar__buffer_text(&t->line, "… ");
    achar__trace_hex(&t->line, at - before, before, before);
    if (at == m->input_end) {
        achar__buffer_text(&t->line, " (here the input ends)");
    } else {
        char opcode[16];
        snprintf(opcode, sizeof opcode, "%s[%02x]", before == 0 ? "" : " ", *at);
        painted(t, PAINT_FAULT, opcode);
        size_t after = (size_t)(m->input_end - at) - 1;
        if (after != 0)
            achar__buffer_byte(&t->line, ' ');
        achar__trace_hex(&t->line, at + 1, after, BYTES_AFTER_FAULT);
        if (after <= BYTES_AFTER_FAULT)
            achar__buffer_text(&t->line, " (here the input ends)");
    }
    end_line(t, start);
}

/* ---- the run ---- */

static void note(tracing *t, const char *text)
{
    size_t start = t->line.nbytes;
    painted(t, PAINT_DIM, text);
    end_line(t, start);
}

/* The opcode to come is beyond what is to be shown. */
static bool is_beyond(const tracing *t, uint64_t offset)
{
    const achar_trace_options *o = t->options;
    return (o->last_step != 0 && t->steps_count >= o->last_step) ||
           (o->last_offset != 0 && offset > o->last_offset) ||
           (t->steps_limit != 0 && t->shown_count >= t->steps_limit);
}

static bool is_before(const tracing *t, uint64_t step, uint64_t offset)
{
    return step < t->options->first_step || offset < t->options->first_offset;
}

static int output_status(const tracing *t)
{
    return t->sink_failed ? t->sink_failed : t->line.failed ? t->line.failed : t->text.failed;
}

/* One pickle, from its first opcode to STOP; '*beyond' if what is to be shown ended before. */
static int trace_pickle(tracing *t, const uint8_t *data, size_t data_nbytes, bool *beyond,
                        achar_error *error)
{
    trace_machine *m = &t->machine;
    trace_step step = {0};
    int status = ACHAR_OK;
    achar__trace_machine_begin(m, data, data_nbytes);
    if (t->page == NULL && t->pickles_count > 1) {
        char text[80];
        snprintf(text, sizeof text, "pickle %llu, at byte %llu",
                 (unsigned long long)t->pickles_count, (unsigned long long)t->base);
        note(t, text);
    }
    do {
        uint64_t offset = t->base + (uint64_t)(m->cursor - m->data);
        *beyond = is_beyond(t, offset);
        if (*beyond)
            return ACHAR_OK;
        if (t->page != NULL && !is_before(t, t->steps_count + 1, offset))
            achar__trace_page_ready(t, offset);
        status = achar__trace_machine_step(m, &step);
        t->steps_count++;
        if (status != ACHAR_OK) {
            bool at_end = data + step.offset == m->input_end;
            achar__fail(error, status, offset, at_end ? -1 : data[step.offset], "%s", m->problem);
            if (t->page != NULL)
                achar__trace_page_fault(t, &step, error);
            else
                achar__trace_fault_lines(t, &step, error);
            /* what the reader would have said */
            if (m->cut_frame.code != ACHAR_OK)
                *error = m->cut_frame, error->offset += t->base, status = error->code;
        } else if (!is_before(t, t->steps_count, offset)) {
            t->shown_count++;
            if (t->page != NULL)
                achar__trace_page_step(t, &step);
            else
                achar__trace_lines(t, &step);
        } else if (t->page == NULL && t->shown_count == 0 && t->steps_count == 1) {
            note(t, "(what comes before is not shown)");
        }
        achar__trace_flush(t);
        if (output_status(t) != ACHAR_OK)
            return achar__fail(error, output_status(t), offset, -1, NULL);
    } while (status == ACHAR_OK && step.token.opcode != OP_STOP);
    return status;
}

static int trace_all(tracing *t, const uint8_t *data, size_t data_nbytes, size_t *used_nbytes,
                     achar_error *error)
{
    char ending[120] = "";
    bool beyond = false;
    int status = ACHAR_OK;
    if (t->options->format == ACHAR_TRACE_HTML) {
        status = achar__trace_page_begin(t);
        if (status != ACHAR_OK)
            return achar__fail(error, status, 0, -1, NULL);
    }
    do {
        t->pickles_count++;
        status = trace_pickle(t, data + t->base, data_nbytes - t->base, &beyond, error);
        t->base += (uint64_t)(t->machine.cursor - t->machine.data);
    } while (status == ACHAR_OK && !beyond && t->options->all && t->base < data_nbytes);
    *used_nbytes = t->base;

    if (beyond)
        snprintf(ending, sizeof ending, "not shown: what follows from byte %llu on (%llu bytes)",
                 (unsigned long long)t->base, (unsigned long long)(data_nbytes - t->base));
    else if (status == ACHAR_OK && t->base < data_nbytes)
        snprintf(ending, sizeof ending, "behind the pickle: %llu bytes, from byte %llu on",
                 (unsigned long long)(data_nbytes - t->base), (unsigned long long)t->base);
    if (t->page != NULL) {
        achar__trace_page_end(t, ending);
    } else if (ending[0] != '\0') {
        char text[sizeof ending + 2];
        snprintf(text, sizeof text, "(%s)", ending);
        note(t, text);
    }
    achar__trace_flush(t);
    /* more important than a fault: what says so may be missing */
    if (output_status(t) != ACHAR_OK)
        status = achar__fail(error, output_status(t), t->base, -1, NULL);
    return status;
}

int achar_trace(const void *data, size_t data_nbytes, const achar_trace_options *options,
                const achar_sink *sink, size_t *used_nbytes, achar_error *error)
{
    static const achar_trace_options defaults;
    achar_error own_error;
    size_t own_used_nbytes;
    if (options == NULL)
        options = &defaults;
    if (error == NULL)
        error = &own_error;
    if (used_nbytes == NULL)
        used_nbytes = &own_used_nbytes;
    *used_nbytes = 0;
    if ((data == NULL && data_nbytes != 0) || !achar__sink_exists(sink) ||
        !achar__encoding_exists(options->encoding) ||
        (options->format != ACHAR_TRACE_TEXT && options->format != ACHAR_TRACE_HTML))
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, NULL);
    bool page = options->format == ACHAR_TRACE_HTML;
    tracing t = {.options = options, .sink = sink, .steps_limit = options->steps_limit};
    if (page && t.steps_limit == 0)
        t.steps_limit = TRACE_PAGE_STEPS;
    achar__memory_init(&t.mem, options->allocator, options->max_nbytes);
    achar__buffer_init(&t.line, &t.mem);
    achar__buffer_init(&t.text, &t.mem);
    achar__trace_machine_init(&t.machine, &t.mem,
                              page            ? &limits_page
                              : options->full ? &limits_full
                                              : &limits_usual,
                              options->encoding, options->full && !page);
    int status =
        trace_all(&t, data == NULL ? (const uint8_t *)"" : data, data_nbytes, used_nbytes, error);
    achar__trace_page_free(&t);
    achar__trace_machine_free(&t.machine);
    achar__buffer_free(&t.line);
    achar__buffer_free(&t.text);
    return status;
}
