/* value.c - the accessors of value.h: what a value and a graph say to a program. */
#include "codec/graph.h"

#include <string.h>

#include "codec/number.h"
#include "codec/opcodes.h"

const char *achar_kind_name(int kind)
{
    switch (kind) {
#define NAME(name, word)                                                                           \
    case ACHAR_##name:                                                                             \
        return word;
        ACHAR_KINDS(NAME)
#undef NAME
    default:
        return "?";
    }
}

int achar_same(achar_value a, achar_value b)
{
    return a.meta == b.meta && a.as.word == b.as.word;
}

achar_value achar_root(const achar_graph *graph)
{
    return graph == NULL ? VALUE_NOTHING : cell_value(graph->root);
}

int achar_protocol(const achar_graph *graph)
{
    return graph == NULL ? -1 : graph->protocol;
}

/* ---- numbers, text, bytes ---- */

int achar_bool(achar_value value)
{
    return achar_kind(value) == ACHAR_BOOL && value.as.integer != 0;
}

int64_t achar_int64(achar_value value)
{
    int kind = achar_kind(value);
    return kind == ACHAR_INT || kind == ACHAR_BOOL ? value.as.integer : 0;
}

/* The contents of a span of that kind. */
static const void *span(achar_value value, int kind, size_t *nbytes)
{
    size_t size = 0;
    const uint8_t *data = achar_kind(value) == kind ? cell_span(value_cell(value), &size) : NULL;
    if (nbytes != NULL)
        *nbytes = size;
    return data;
}

const unsigned char *achar_int_bytes(achar_value value, size_t *nbytes)
{
    return span(value, ACHAR_BIGINT, nbytes);
}

int achar_int_decimal(achar_value value, const achar_allocator *allocator, achar_bytes *out)
{
    if (out == NULL)
        return ACHAR_E_INVALID;
    *out = (achar_bytes){0};
    memory mem;
    buffer text;
    achar__memory_init(&mem, allocator, 0);
    achar__buffer_init(&text, &mem);
    int status = achar__decimal_append(&text, value);
    achar__buffer_byte(&text, 0);
    if (status == ACHAR_OK)
        status = text.failed;
    if (status != ACHAR_OK) {
        achar__buffer_free(&text);
        return status;
    }
    *out = (achar_bytes){text.data, text.nbytes - 1, text.capacity_nbytes};
    return ACHAR_OK;
}

double achar_float(achar_value value)
{
    if (achar_kind(value) == ACHAR_FLOAT)
        return value.as.real;
    return achar_kind(value) == ACHAR_INT ? (double)value.as.integer : 0;
}

const char *achar_text(achar_value value, size_t *nbytes)
{
    return span(value, ACHAR_STR, nbytes);
}

int achar_text_is(achar_value value, const char *text)
{
    size_t nbytes;
    const char *own = achar_text(value, &nbytes);
    return own != NULL && text != NULL && nbytes == strlen(text) && memcmp(own, text, nbytes) == 0;
}

static const object *value_object(achar_value value)
{
    return cell_object(value_cell(value));
}

/* The NEXT_BUFFER object behind a buffer and its read-only views. */
static const object *buffer_object(achar_value value)
{
    if (achar_kind(value) != ACHAR_BUFFER)
        return NULL;
    const object *o = value_object(value);
    return o->opcode == OP_READONLY_BUFFER ? cell_object(o->operands[BUFFER_INNER]) : o;
}

/* What was given to the reader for it; NULL: nothing. */
static const achar_buffer *buffer_given(const object *source)
{
    return (const achar_buffer *)(uintptr_t)source->operands[RAW_DATA].bits;
}

const unsigned char *achar_data(achar_value value, size_t *nbytes)
{
    const object *source = buffer_object(value);
    if (source != NULL) {
        const achar_buffer *given = buffer_given(source);
        if (nbytes != NULL)
            *nbytes = given == NULL ? 0 : given->nbytes;
        return given == NULL ? NULL : given->data;
    }
    return span(value, achar_kind(value) == ACHAR_BYTES ? ACHAR_BYTES : ACHAR_BYTEARRAY, nbytes);
}

/* ---- containers ---- */

/* The items of a container or frozen kind. Numbers are values without being cells, but have none. */
static const cell *items_of(achar_value value, size_t *count)
{
    *count = 0;
    return achar_kind(value) < ACHAR_TUPLE ? NULL : cell_items(value_cell(value), count);
}

size_t achar_count(achar_value value)
{
    size_t count;
    items_of(value, &count);
    return achar_kind(value) == ACHAR_DICT ? count / 2 : count;
}

static achar_value item(achar_value value, size_t index)
{
    size_t count;
    const cell *items = items_of(value, &count);
    return index < count ? cell_value(items[index]) : VALUE_NOTHING;
}

achar_value achar_item(achar_value value, size_t index)
{
    return achar_kind(value) == ACHAR_DICT ? VALUE_NOTHING : item(value, index);
}

achar_value achar_pair_key(achar_value value, size_t index)
{
    bool there = achar_kind(value) == ACHAR_DICT && index < achar_count(value);
    return there ? item(value, 2 * index) : VALUE_NOTHING;
}

achar_value achar_pair_value(achar_value value, size_t index)
{
    bool there = achar_kind(value) == ACHAR_DICT && index < achar_count(value);
    return there ? item(value, 2 * index + 1) : VALUE_NOTHING;
}

achar_value achar_get(achar_value dict, const char *key)
{
    for (size_t i = achar_kind(dict) == ACHAR_DICT ? achar_count(dict) : 0; i-- > 0;)
        if (achar_text_is(item(dict, 2 * i), key))
            return item(dict, 2 * i + 1);
    return VALUE_NOTHING;
}

/* ---- objects ---- */

static achar_value operand(achar_value value, int kind, size_t index)
{
    if (achar_kind(value) != kind || index >= value_object(value)->operands_count)
        return VALUE_NOTHING;
    return cell_value(value_object(value)->operands[index]);
}

achar_value achar_module(achar_value value)
{
    return operand(value, ACHAR_GLOBAL, GLOBAL_MODULE);
}

achar_value achar_name(achar_value value)
{
    return operand(value, ACHAR_GLOBAL, GLOBAL_NAME);
}

int achar_global_is(achar_value value, const char *module, const char *name)
{
    return achar_text_is(achar_module(value), module) && achar_text_is(achar_name(value), name);
}

int achar_call_form(achar_value value)
{
    if (achar_kind(value) != ACHAR_CALL)
        return ACHAR_CALL_NONE;
    switch (value_object(value)->opcode) {
    case OP_NEWOBJ:
        return ACHAR_CALL_NEWOBJ;
    case OP_NEWOBJ_EX:
        return ACHAR_CALL_NEWOBJ_EX;
    case OP_INST:
    case OP_OBJ:
        return ACHAR_CALL_INST;
    default:
        return ACHAR_CALL_REDUCE;
    }
}

achar_value achar_callable(achar_value value)
{
    return operand(value, ACHAR_CALL, CALL_CALLABLE);
}

achar_value achar_arguments(achar_value value)
{
    return operand(value, ACHAR_CALL, CALL_ARGUMENTS);
}

achar_value achar_keywords(achar_value value)
{
    return operand(value, ACHAR_CALL, CALL_KEYWORDS);
}

int64_t achar_extension_code(achar_value value)
{
    return achar_kind(value) == ACHAR_EXTENSION
               ? (int64_t)value_object(value)->operands[RAW_CODE].bits
               : 0;
}

achar_value achar_persistent_id(achar_value value)
{
    return operand(value, ACHAR_PERSISTENT, PERSISTENT_ID);
}

size_t achar_buffer_index(achar_value value)
{
    const object *source = buffer_object(value);
    return source == NULL ? 0 : source->operands[RAW_INDEX].bits;
}

int achar_buffer_readonly(achar_value value)
{
    const object *source = buffer_object(value);
    if (source == NULL)
        return 0;
    const achar_buffer *given = buffer_given(source);
    return value_object(value)->opcode == OP_READONLY_BUFFER || (given != NULL && given->readonly);
}

/* ---- the log ---- */

size_t achar_effects_count(const achar_graph *graph)
{
    return graph == NULL ? 0 : graph->log_count;
}

/* The values of an entry as handles, made when a program first asks for them. */
static int unpack(achar_graph *graph, size_t index, const achar_value **values, size_t *count)
{
    const cell *cells = log_values(&graph->log[index], count);
    if (*count == 0)
        return ACHAR_OK;
    if (graph->unpacked == NULL) {
        size_t nbytes = graph->chain_count * sizeof *graph->unpacked;
        graph->unpacked = achar__memory_take(&graph->mem, nbytes);
        if (graph->unpacked == NULL)
            return achar__memory_status(&graph->mem);
        memset(graph->unpacked, 0, nbytes);
    }
    achar_value *unpacked = graph->unpacked[index];
    if (unpacked == NULL) {
        unpacked = achar__memory_take(&graph->mem, *count * sizeof *unpacked);
        if (unpacked == NULL)
            return achar__memory_status(&graph->mem);
        for (size_t i = 0; i < *count; i++)
            unpacked[i] = cell_value(cells[i]);
        graph->unpacked[index] = unpacked;
    }
    *values = unpacked;
    return ACHAR_OK;
}

int achar_effect_at(achar_graph *graph, size_t index, achar_effect *effect)
{
    if (effect == NULL)
        return ACHAR_E_INVALID;
    *effect = (achar_effect){.next = ACHAR_NO_EFFECT};
    if (index >= achar_effects_count(graph))
        return ACHAR_E_INVALID;
    int status = achar__graph_prepare(graph);
    if (status == ACHAR_OK)
        status = unpack(graph, index, &effect->values, &effect->values_count);
    if (status != ACHAR_OK) {
        *effect = (achar_effect){.next = ACHAR_NO_EFFECT};
        return status;
    }
    const log_entry *entry = &graph->log[index];
    effect->kind = entry->kind;
    effect->opcode = entry->opcode;
    effect->offset = entry->offset;
    effect->target = cell_value(entry->target);
    if (entry->kind >= ACHAR_EFFECT_BUILD)
        effect->next = graph_next_change(graph, index);
    return ACHAR_OK;
}

size_t achar_effect_of(achar_value value)
{
    const object *made = achar_kind(value) == ACHAR_BUFFER   ? buffer_object(value)
                         : kind_is_object(achar_kind(value)) ? value_object(value)
                                                             : NULL;
    return made == NULL ? ACHAR_NO_EFFECT : object_entry(made);
}

int achar_first_change(achar_graph *graph, achar_value target, size_t *index)
{
    if (index == NULL)
        return ACHAR_E_INVALID;
    int status = graph == NULL ? ACHAR_E_INVALID : achar__graph_prepare(graph);
    *index = ACHAR_NO_EFFECT;
    if (status == ACHAR_OK && graph->log_count != 0 && !kind_is_small(achar_kind(target)))
        *index = graph_first_change(graph, value_cell(target));
    return status;
}
