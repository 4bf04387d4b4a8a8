/*
 * json.c - a graph as JSON (json.h has the form).
 *
 * Two walks, both with a stack of their own. The first counts references, which decides who gets an
 * id, and finds what only the log of effects leads to. The second prints: its stack holds what is
 * still to come, last first, as small jobs.
 */
#include <achar/json.h>

#include "base/buffer.h"
#include "base/error.h"
#include "codec/graph.h"
#include "codec/json_text.h"
#include "codec/number.h"
#include "codec/opcodes.h"
#include "codec/text.h"

typedef enum job_kind {
    JOB_TEXT,     /* 'text' as it is */
    JOB_VALUE,    /* one value */
    JOB_SEQUENCE, /* items with commas between */
    JOB_MEMBERS,  /* pairs as "key": value */
    JOB_PAIRS,    /* pairs as [key, value] */
    JOB_CALL,     /* what comes after the callable: form and arguments */
    JOB_KEYWORDS, /* and then */
    JOB_CHANGES,  /* the changes from 'change' on */
    JOB_VISIT,    /* the first walk: count references to items */
} job_kind;

enum close { CLOSE_NOTHING, CLOSE_LIST, CLOSE_LIST_OBJECT, CLOSE_OBJECT };

/* Small, since the stack is as deep as the graph: two jobs for each call that is the callable of
 * another, which takes two bytes of input. */
typedef struct job {
    uint64_t kind : 8;    /* job_kind */
    uint64_t started : 1; /* a comma goes before the next one */
    uint64_t close : 2;   /* enum close: what comes behind the last one */
    uint64_t count : 53;  /* items */
    union {
        const char *text;
        cell value;
        const cell *items;
        uint64_t change;
    };
} job;

typedef struct printer {
    achar_graph *graph;
    memory mem;
    const achar_sink *sink;
    buffer out;
    table references; /* identity to number of references; not of what surely has just one */
    table ids;        /* identity to id, of what has been printed and has one */
    job *jobs;
    size_t jobs_count;
    size_t jobs_capacity;
    cell *discarded;
    size_t discarded_count;
    size_t discarded_capacity;
} printer;

enum {
    FLUSH_NBYTES = SIZE_OR_TINY(64 << 10, 1),
    INLINE_TEXT_NBYTES = 64, /* text and bytes up to here are repeated, not referred to */
};

static int push(printer *p, job j)
{
    if (p->jobs_count == p->jobs_capacity) {
        size_t capacity = p->jobs_capacity == 0 ? SIZE_OR_TINY(64, 1) : p->jobs_capacity * 2;
        job *jobs = achar__memory_resize(&p->mem, p->jobs, p->jobs_capacity * sizeof *jobs,
                                         capacity * sizeof *jobs);
        if (jobs == NULL)
            return achar__memory_status(&p->mem);
        p->jobs = jobs;
        p->jobs_capacity = capacity;
    }
    p->jobs[p->jobs_count++] = j;
    return ACHAR_OK;
}

static int print_value(printer *p, cell value);

static int push_text(printer *p, const char *text)
{
    return push(p, (job){.kind = JOB_TEXT, .text = text});
}

static uint64_t first_change(const printer *p, cell value)
{
    return p->graph->log_count == 0 ? NO_ENTRY : graph_first_change(p->graph, value);
}

static size_t span_size(cell value)
{
    size_t nbytes;
    cell_span(value, &nbytes);
    return nbytes;
}

static bool is_empty_tuple(cell value)
{
    return cell_kind(value) == ACHAR_TUPLE && cell_frozen(value) == NULL;
}

/* Whether a value would be referred to rather than repeated. What changes always is: its changes
 * may lead back to it. */
static bool has_identity(const printer *p, cell value)
{
    int kind = cell_kind(value);
    if (kind_is_small(kind))
        return false;
    bool repeats = is_empty_tuple(value) || (kind_is_span(kind) && kind != ACHAR_BYTEARRAY &&
                                             span_size(value) <= INLINE_TEXT_NBYTES);
    return !repeats || first_change(p, value) != NO_ENTRY;
}

/* ---- the first walk ---- */

static int visit(printer *p, cell value)
{
    if (!has_identity(p, value))
        return ACHAR_OK;
    bool counts = graph_is_shared(p->graph, value) || kind_is_object(cell_kind(value)) ||
                  first_change(p, value) != NO_ENTRY;
    if (counts) {
        bool added;
        uint64_t *count = achar__table_put(&p->references, value.bits, 1, &added);
        if (count == NULL)
            return achar__memory_status(&p->mem);
        if (!added) {
            *count += 1;
            return ACHAR_OK;
        }
    }
    int status = ACHAR_OK;
    for (uint64_t change = first_change(p, value); change != NO_ENTRY && status == ACHAR_OK;
         change = graph_next_change(p->graph, change)) {
        size_t values_count;
        const cell *values = log_values(&p->graph->log[change], &values_count);
        if (p->graph->log[change].kind != ACHAR_EFFECT_FILL)
            status = push(p, (job){.kind = JOB_VISIT, .items = values, .count = values_count});
    }
    size_t items_count;
    const cell *items = cell_items(value, &items_count);
    if (kind_is_object(cell_kind(value))) {
        items = cell_object(value)->operands;
        items_count = cell_object(value)->operands_count;
    }
    if (status == ACHAR_OK && items_count != 0)
        status = push(p, (job){.kind = JOB_VISIT, .items = items, .count = items_count});
    return status;
}

static int visit_all(printer *p, cell value)
{
    int status = visit(p, value);
    while (status == ACHAR_OK && p->jobs_count != 0) {
        job *top = &p->jobs[p->jobs_count - 1];
        if (top->count == 0) {
            p->jobs_count--;
            continue;
        }
        top->count--;
        status = visit(p, *top->items++);
    }
    return status;
}

/* How many things refer to a value that has identity. */
static uint64_t count_references(const printer *p, cell value)
{
    uint64_t count = achar__table_get(&p->references, value.bits);
    return count == TABLE_ABSENT ? 1 : count;
}

/* What the log makes or changes and nothing leads to; from the end, so that a call comes before its
 * parts. Filling a plain container that nothing leads to is no effect that anyone could see. */
static int find_discarded(printer *p)
{
    for (size_t i = p->graph->log_count; i-- > 0;) {
        cell target = p->graph->log[i].target;
        if (p->graph->log[i].kind == ACHAR_EFFECT_FILL || !has_identity(p, target) ||
            achar__table_find(&p->references, target.bits) != NULL)
            continue;
        if (p->discarded_count == p->discarded_capacity) {
            size_t capacity =
                p->discarded_capacity == 0 ? SIZE_OR_TINY(16, 1) : p->discarded_capacity * 2;
            cell *discarded =
                achar__memory_resize(&p->mem, p->discarded, p->discarded_capacity * sizeof target,
                                     capacity * sizeof target);
            if (discarded == NULL)
                return achar__memory_status(&p->mem);
            p->discarded = discarded;
            p->discarded_capacity = capacity;
        }
        p->discarded[p->discarded_count++] = target;
        int status = visit_all(p, target);
        if (status != ACHAR_OK)
            return status;
    }
    for (size_t i = 0; i < p->discarded_count / 2; i++) {
        cell swapped = p->discarded[i];
        p->discarded[i] = p->discarded[p->discarded_count - 1 - i];
        p->discarded[p->discarded_count - 1 - i] = swapped;
    }
    return ACHAR_OK;
}

/* ---- values ---- */

static bool has_pair(cell text)
{
    size_t nbytes;
    const uint8_t *at = cell_span(text, &nbytes);
    return achar__json_joins(at, nbytes);
}

/* Whether a dict can be a JSON object: its keys are text that nothing in json.h looks like, and
 * that would not have to be referred to. */
static bool is_plain_dict(const printer *p, const cell *items, size_t count)
{
    for (size_t i = 0; i < count; i += 2) {
        if (cell_kind(items[i]) != ACHAR_STR || has_identity(p, items[i]))
            return false;
        size_t nbytes;
        const uint8_t *key = cell_span(items[i], &nbytes);
        if ((nbytes != 0 && *key == '$') || has_pair(items[i]))
            return false;
    }
    return true;
}

/* Whether the log says more about a value than its items do. */
static bool has_changes(const printer *p, uint64_t change)
{
    for (; change != NO_ENTRY; change = graph_next_change(p->graph, change))
        if (p->graph->log[change].kind != ACHAR_EFFECT_FILL)
            return true;
    return false;
}

/*
 * The body of a value. 'braced': a JSON object has been opened for it (and will be closed), so that
 * it needs a tag; 'lead' is what separates that tag from what stands before it.
 */
static int print_span(printer *p, cell value, bool braced, const char *lead)
{
    static const char *const tags[] = {[ACHAR_BIGINT] = "\"$int\": ",
                                       [ACHAR_STR] = "\"$str\": ",
                                       [ACHAR_BYTES] = "\"$bytes\": ",
                                       [ACHAR_BYTEARRAY] = "\"$bytearray\": "};
    int kind = cell_kind(value);
    size_t nbytes;
    const uint8_t *at = cell_span(value, &nbytes);
    achar__buffer_text(&p->out, lead);
    if (kind == ACHAR_STR && has_pair(value)) { /* which is always braced */
        achar__buffer_text(&p->out, "\"$joined\": [");
        achar__json_parts(&p->out, at, nbytes);
        achar__buffer_byte(&p->out, ']');
        return ACHAR_OK;
    }
    if (braced)
        achar__buffer_text(&p->out, tags[kind]);
    if (kind == ACHAR_BIGINT)
        return achar__decimal_append_long(&p->out, at, nbytes);
    if (kind == ACHAR_STR)
        achar__json_string(&p->out, at, nbytes);
    else
        achar__json_base64(&p->out, at, nbytes);
    return ACHAR_OK;
}

static int print_items(printer *p, cell value, bool braced, bool closes, const char *lead)
{
    static const char *const tags[] = {[ACHAR_TUPLE] = "\"$tuple\": ",
                                       [ACHAR_FROZENSET] = "\"$frozenset\": ",
                                       [ACHAR_LIST] = "\"$list\": ",
                                       [ACHAR_DICT] = "\"$dict\": ",
                                       [ACHAR_SET] = "\"$set\": "};
    int kind = cell_kind(value);
    size_t count;
    const cell *items = cell_items(value, &count);
    achar__buffer_text(&p->out, lead);
    if (braced)
        achar__buffer_text(&p->out, tags[kind]);
    achar__buffer_byte(&p->out, '[');
    return push(p, (job){.kind = kind == ACHAR_DICT ? JOB_PAIRS : JOB_SEQUENCE,
                         .close = closes ? CLOSE_LIST_OBJECT : CLOSE_LIST,
                         .items = items,
                         .count = count});
}

/* What follows the callable; the job on top, JOB_CALL, is done with. */
static int print_call(printer *p, cell value)
{
    static const char *const forms[] = {[ACHAR_CALL_REDUCE] = "reduce",
                                        [ACHAR_CALL_NEWOBJ] = "newobj",
                                        [ACHAR_CALL_NEWOBJ_EX] = "newobj_ex",
                                        [ACHAR_CALL_INST] = "inst"};
    const object *o = cell_object(value);
    if (o->operands_count == 3)
        p->jobs[p->jobs_count - 1].kind = JOB_KEYWORDS;
    else
        p->jobs_count--;
    achar__buffer_printf(
        &p->out, ", \"form\": \"%s\", \"arguments\": ", forms[achar_call_form(cell_value(value))]);
    /* The tuple is part of the call, unless someone else has it too, or changes it. */
    cell arguments = o->operands[CALL_ARGUMENTS];
    size_t count;
    const cell *items = cell_items(arguments, &count);
    bool own = cell_kind(arguments) == ACHAR_TUPLE && first_change(p, arguments) == NO_ENTRY &&
               (count == 0 || count_references(p, arguments) == 1);
    if (!own)
        return print_value(p, arguments);
    achar__buffer_byte(&p->out, '[');
    return push(p,
                (job){.kind = JOB_SEQUENCE, .close = CLOSE_LIST, .items = items, .count = count});
}

static int print_keywords(printer *p, cell value)
{
    p->jobs_count--;
    achar__buffer_text(&p->out, ", \"keywords\": ");
    return print_value(p, cell_object(value)->operands[CALL_KEYWORDS]);
}

static int print_object(printer *p, cell value)
{
    const object *o = cell_object(value);
    buffer *out = &p->out;
    int status;
    switch (cell_kind(value)) {
    case ACHAR_GLOBAL:
        achar__buffer_text(out, "\"$import\": [");
        return push(
            p, (job){.kind = JOB_SEQUENCE, .close = CLOSE_LIST, .items = o->operands, .count = 2});
    case ACHAR_CALL:
        achar__buffer_text(out, "\"$call\": ");
        status = push(p, (job){.kind = JOB_CALL, .value = value});
        if (status == ACHAR_OK)
            status = push(p, (job){.kind = JOB_VALUE, .value = o->operands[CALL_CALLABLE]});
        return status;
    case ACHAR_EXTENSION:
        achar__buffer_printf(out, "\"$extension\": %llu",
                             (unsigned long long)o->operands[RAW_CODE].bits);
        return ACHAR_OK;
    case ACHAR_PERSISTENT:
        achar__buffer_text(out, "\"$persistent\": ");
        return push(p, (job){.kind = JOB_VALUE, .value = o->operands[PERSISTENT_ID]});
    default: {
        achar__buffer_printf(out, "\"$buffer\": %zu", achar_buffer_index(cell_value(value)));
        if (achar_buffer_readonly(cell_value(value)))
            achar__buffer_text(out, ", \"readonly\": true");
        size_t nbytes;
        const unsigned char *data = achar_data(cell_value(value), &nbytes);
        if (data != NULL) {
            achar__buffer_text(out, ", \"data\": ");
            achar__json_base64(out, data, nbytes);
        }
        return ACHAR_OK;
    }
    }
}

static int print_value(printer *p, cell value)
{
    buffer *out = &p->out;
    int kind = cell_kind(value);
    switch (kind) {
    case ACHAR_NONE:
        achar__buffer_text(out, "null");
        return ACHAR_OK;
    case ACHAR_BOOL:
        achar__buffer_text(out, value.bits & 1 ? "true" : "false");
        return ACHAR_OK;
    case ACHAR_INT:
        return achar__decimal_append(out, cell_value(value));
    case ACHAR_FLOAT:
        achar__json_float(out, decode_float8(cell_pointer(value)));
        return ACHAR_OK;
    default:
        break;
    }

    uint64_t references = has_identity(p, value) ? count_references(p, value) : 1;
    uint64_t id = 0;
    if (references > 1) {
        bool added;
        uint64_t *known = achar__table_put(&p->ids, value.bits, p->ids.count + 1, &added);
        if (known == NULL)
            return achar__memory_status(&p->mem);
        id = *known;
        if (!added) {
            achar__buffer_printf(out, "{\"$ref\": %llu}", (unsigned long long)id);
            return ACHAR_OK;
        }
    }

    uint64_t change = first_change(p, value);
    bool changes = has_changes(p, change);
    bool bare =
        kind == ACHAR_LIST || kind == ACHAR_BIGINT || (kind == ACHAR_STR && !has_pair(value));
    bool braced = id != 0 || changes || !bare;
    const char *lead = id != 0 ? ", " : "";
    int status = ACHAR_OK;
    /* Items close the braces themselves, unless changes come between. */
    bool closes = braced && !changes && !kind_is_object(kind);
    if (braced)
        achar__buffer_byte(out, '{');
    if (braced && !closes)
        status = push_text(p, "}");
    if (id != 0)
        achar__buffer_printf(out, "\"$id\": %llu", (unsigned long long)id);
    if (changes && status == ACHAR_OK) {
        status = push_text(p, "]");
        if (status == ACHAR_OK)
            status = push(p, (job){.kind = JOB_CHANGES, .change = change});
        if (status == ACHAR_OK)
            status = push_text(p, ", \"changes\": [");
    }
    if (status != ACHAR_OK)
        return status;
    if (kind_is_object(kind)) {
        achar__buffer_text(out, lead);
        return print_object(p, value);
    }
    if (kind_is_span(kind)) {
        status = print_span(p, value, braced, lead);
        achar__buffer_text(out, closes ? "}" : "");
        return status;
    }
    size_t count;
    const cell *items = cell_items(value, &count);
    if (kind == ACHAR_DICT && !changes && is_plain_dict(p, items, count))
        return push(p, (job){.kind = JOB_MEMBERS,
                             .started = id != 0,
                             .close = CLOSE_OBJECT,
                             .items = items,
                             .count = count});
    return print_items(p, value, braced, closes, lead);
}

/* ---- the second walk ---- */

static int print_change(printer *p, job *top)
{
    while (top->change != NO_ENTRY && p->graph->log[top->change].kind == ACHAR_EFFECT_FILL)
        top->change = graph_next_change(p->graph, top->change);
    if (top->change == NO_ENTRY) {
        p->jobs_count--;
        return ACHAR_OK;
    }
    const log_entry *entry = &p->graph->log[top->change];
    achar__buffer_text(&p->out, top->started ? ", " : "");
    top->started = true;
    top->change = graph_next_change(p->graph, top->change);
    size_t count;
    const cell *values = log_values(entry, &count);
    if (entry->kind == ACHAR_EFFECT_BUILD) {
        achar__buffer_text(&p->out, "{\"build\": ");
        int status = push_text(p, "}");
        return status != ACHAR_OK ? status : push(p, (job){.kind = JOB_VALUE, .value = *values});
    }
    bool pairs = entry->kind == ACHAR_EFFECT_SET;
    achar__buffer_text(&p->out, pairs                                ? "{\"set\": ["
                                : entry->kind == ACHAR_EFFECT_APPEND ? "{\"append\": ["
                                                                     : "{\"add\": [");
    int status = push_text(p, "]}");
    return status != ACHAR_OK ? status
                              : push(p, (job){.kind = pairs ? JOB_PAIRS : JOB_SEQUENCE,
                                              .items = values,
                                              .count = count});
}

/* One piece of the job on top of the stack. */
static int print_piece(printer *p)
{
    static const char *const closings[] = {
        [CLOSE_NOTHING] = "", [CLOSE_LIST] = "]", [CLOSE_LIST_OBJECT] = "]}", [CLOSE_OBJECT] = "}"};
    job *top = &p->jobs[p->jobs_count - 1];
    cell key, value;
    int status;
    switch (top->kind) {
    case JOB_TEXT:
        achar__buffer_text(&p->out, top->text);
        p->jobs_count--;
        return ACHAR_OK;
    case JOB_VALUE:
        value = top->value;
        p->jobs_count--;
        return print_value(p, value);
    case JOB_CALL:
        return print_call(p, top->value);
    case JOB_KEYWORDS:
        return print_keywords(p, top->value);
    case JOB_CHANGES:
        return print_change(p, top);
    default:
        break;
    }
    if (top->count == 0) {
        achar__buffer_text(&p->out, closings[top->close]);
        p->jobs_count--;
        return ACHAR_OK;
    }
    achar__buffer_text(&p->out, top->started ? ", " : "");
    top->started = true;
    key = value = top->items[0];
    size_t taken = 1;
    if (top->kind != JOB_SEQUENCE) {
        value = top->items[1];
        taken = 2;
    }
    job_kind kind = (job_kind)top->kind;
    top->items += taken;
    top->count -= taken;
    switch (kind) {
    case JOB_MEMBERS: {
        size_t nbytes;
        const uint8_t *at = cell_span(key, &nbytes);
        achar__json_string(&p->out, at, nbytes);
        achar__buffer_text(&p->out, ": ");
        return print_value(p, value);
    }
    case JOB_PAIRS:
        achar__buffer_byte(&p->out, '[');
        status = push_text(p, "]");
        if (status == ACHAR_OK)
            status = push(p, (job){.kind = JOB_VALUE, .value = value});
        if (status == ACHAR_OK)
            status = push_text(p, ", ");
        return status == ACHAR_OK ? print_value(p, key) : status;
    default:
        return print_value(p, value);
    }
}

static int flush(printer *p)
{
    if (p->out.failed)
        return p->out.failed;
    if (p->sink->write(p->sink->opaque, p->out.data, p->out.nbytes) != 0)
        return ACHAR_E_IO;
    p->out.nbytes = 0;
    return ACHAR_OK;
}

static int print_all(printer *p)
{
    int status = push_text(p, "\n");
    if (status == ACHAR_OK && p->discarded_count != 0) {
        achar__buffer_text(&p->out, "{\"$value\": ");
        status = push_text(p, "]}");
        if (status == ACHAR_OK)
            status = push(
                p, (job){.kind = JOB_SEQUENCE, .items = p->discarded, .count = p->discarded_count});
        if (status == ACHAR_OK)
            status = push_text(p, ", \"$discarded\": [");
    }
    if (status == ACHAR_OK)
        status = push(p, (job){.kind = JOB_VALUE, .value = p->graph->root});
    while (status == ACHAR_OK && p->jobs_count != 0) {
        status = print_piece(p);
        if (status == ACHAR_OK && p->out.nbytes >= FLUSH_NBYTES)
            status = flush(p);
    }
    return status == ACHAR_OK ? flush(p) : status;
}

int achar_json(achar_graph *graph, const achar_allocator *allocator, const achar_sink *sink,
               achar_error *error)
{
    if (graph == NULL || cell_kind(graph->root) == ACHAR_NOTHING)
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "the graph has no root");
    if (!achar__sink_exists(sink))
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "no sink");
    printer p = {.graph = graph, .sink = sink};
    achar__memory_init(&p.mem, allocator, 0);
    achar__buffer_init(&p.out, &p.mem);
    achar__table_init(&p.references, &p.mem);
    achar__table_init(&p.ids, &p.mem);
    int status = achar__graph_prepare(graph);
    if (status == ACHAR_OK)
        status = visit_all(&p, graph->root);
    if (status == ACHAR_OK)
        status = find_discarded(&p);
    if (status == ACHAR_OK)
        status = print_all(&p);
    achar__buffer_free(&p.out);
    achar__table_free(&p.references);
    achar__table_free(&p.ids);
    achar__memory_give(&p.mem, p.jobs, p.jobs_capacity * sizeof *p.jobs);
    achar__memory_give(&p.mem, p.discarded, p.discarded_capacity * sizeof *p.discarded);
    return status == ACHAR_OK ? ACHAR_OK : achar__fail(error, status, 0, -1, NULL);
}
