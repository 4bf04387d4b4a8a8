/*
 * look.c - taking calls apart: their arguments, their state, and the bytes that they stand for.
 */
#include "codec/shapes/shapes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "codec/graph.h"
#include "codec/text.h"

int achar__refuse(const look *l, int code, const char *format, ...)
{
    char message[sizeof l->error->message];
    achar_effect made = {0};
    va_list arguments;
    if (l->error == NULL)
        return code;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    size_t entry = achar_effect_of(l->value);
    bool placed = entry != ACHAR_NO_EFFECT && achar_effect_at(l->graph, entry, &made) == ACHAR_OK &&
                  made.opcode != 0;
    const char *shape = l->shape == ACHAR_SHAPE_NONE ? "" : achar_shape_name(l->shape);
    return achar__fail(l->error, code, placed ? made.offset : 0, placed ? made.opcode : -1,
                       "%s%s%s", shape, *shape == 0 ? "" : ": ", message);
}

/* A change that could not be looked up for want of memory. */
static int refuse_memory(const look *l, int status)
{
    return achar__refuse(l, status, "%s", achar_status_message(status));
}

int achar__look(look *l, achar_graph *graph, achar_value value, int shape, achar_error *error)
{
    *l = (look){.graph = graph, .value = value, .shape = shape, .error = error};
    l->entry = achar_effect_of(value);
    int status =
        achar_first_change(graph, value, &l->change); /* before anything looks at changes */
    if (status != ACHAR_OK)
        return refuse_memory(l, status);
    int claimed = achar_shape(graph, value);
    if (claimed != shape) {
        if (claimed != ACHAR_SHAPE_NONE)
            return achar__refuse(l, ACHAR_E_TYPE, "expected, not a value of type %s",
                                 achar_shape_name(claimed));
        return achar__refuse(l, ACHAR_E_TYPE, "expected, not a value of kind %s",
                             achar_kind_name(achar_kind(value)));
    }
    l->arguments = achar_nothing();
    if (achar_kind(value) != ACHAR_CALL)
        return ACHAR_OK;
    int form = achar_call_form(value);
    l->callable = achar__known(graph, achar_callable(value));
    l->arguments = achar_arguments(value);
    if (form != ACHAR_CALL_REDUCE && (form != ACHAR_CALL_NEWOBJ || shape != ACHAR_SHAPE_UUID))
        return achar__refuse(l, ACHAR_E_SHAPE, "made by a call that does not make one");
    if (achar_kind(l->arguments) != ACHAR_TUPLE)
        return achar__refuse(l, ACHAR_E_SHAPE, "its arguments are no tuple");
    return ACHAR_OK;
}

int achar__look_count(const look *l, size_t least, size_t most)
{
    size_t count = achar_count(l->arguments);
    if (count >= least && count <= most)
        return ACHAR_OK;
    return achar__refuse(l, ACHAR_E_SHAPE, "made from %zu arguments", count);
}

int achar__look_unchanged(const look *l)
{
    if (l->change == ACHAR_NO_EFFECT)
        return ACHAR_OK;
    return achar__refuse(l, ACHAR_E_SHAPE, "changed after it was made");
}

int achar__look_state(const look *l, int kind, achar_value *state, size_t *entry)
{
    achar_effect effect;
    if (l->change == ACHAR_NO_EFFECT)
        return achar__refuse(l, ACHAR_E_SHAPE, "without a state");
    int status = achar_effect_at(l->graph, l->change, &effect);
    if (status != ACHAR_OK)
        return refuse_memory(l, status);
    if (effect.kind != ACHAR_EFFECT_BUILD || effect.next != ACHAR_NO_EFFECT ||
        achar_kind(effect.values[0]) != kind)
        return achar__refuse(l, ACHAR_E_SHAPE, "its state is not what belongs there");
    *state = effect.values[0];
    *entry = l->change;
    return ACHAR_OK;
}

/* When a container was filled last, as of a log of so many entries. */
typedef struct filled_last {
    size_t effects_count;
    size_t entry; /* ACHAR_NO_EFFECT: never, after it was made */
    bool otherwise_changed;
} filled_last;

enum { CHAIN_KEPT_COUNT = 8 }; /* a chain of changes longer than this is walked once */

static int find_last(const look *l, achar_value filled, filled_last *last)
{
    achar_effect effect;
    size_t change, steps = 0;
    size_t effects_count = achar_effects_count(l->graph);
    filled_last *kept = achar__kept(l->graph, KEEP_FILLED, filled);
    if (kept != NULL && kept->effects_count == effects_count) {
        *last = *kept;
        return ACHAR_OK;
    }
    *last = (filled_last){.effects_count = effects_count, .entry = ACHAR_NO_EFFECT};
    int status = achar_first_change(l->graph, filled, &change);
    for (; status == ACHAR_OK && change != ACHAR_NO_EFFECT; change = effect.next, steps++) {
        status = achar_effect_at(l->graph, change, &effect);
        last->entry = change;
        last->otherwise_changed |= effect.kind != ACHAR_EFFECT_FILL;
    }
    if (status != ACHAR_OK || (kept == NULL && steps <= CHAIN_KEPT_COUNT))
        return status;
    if (kept == NULL)
        kept = achar__keep(l->graph, KEEP_FILLED, filled, sizeof *kept);
    if (kept == NULL)
        return achar__keep_status(l->graph);
    *kept = *last;
    return ACHAR_OK;
}

int achar__settled(const look *l, achar_value filled, size_t entry)
{
    filled_last last;
    int status = find_last(l, filled, &last);
    if (status != ACHAR_OK)
        return refuse_memory(l, status);
    if (last.otherwise_changed || (last.entry != ACHAR_NO_EFFECT && last.entry > entry))
        return achar__refuse(l, ACHAR_E_SHAPE, "made from what had not all its items yet");
    return ACHAR_OK;
}

bool achar__is_negative(achar_value integer)
{
    size_t nbytes;
    const unsigned char *data = achar_int_bytes(integer, &nbytes);
    return data == NULL ? achar_int64(integer) < 0 : (data[nbytes - 1] & 0x80) != 0;
}

/* ---- text and bytes ---- */

const char *achar__look_text(const look *l, achar_value value, size_t *nbytes)
{
    if (achar_kind(value) == ACHAR_BYTES && achar__is_old(l->graph)) {
        const unsigned char *data = achar_data(value, nbytes);
        return text_is_ascii(data, *nbytes) ? (const char *)data : NULL;
    }
    return achar_text(value, nbytes);
}

bool achar__look_text_is(const look *l, achar_value value, const char *text)
{
    size_t nbytes;
    const char *found = achar__look_text(l, value, &nbytes);
    return found != NULL && nbytes == strlen(text) && memcmp(found, text, nbytes) == 0;
}

/* What a str is as Latin-1: kept once it is known, if it took more than a glance. */
typedef struct latin1 {
    size_t nbytes;
    const unsigned char *data; /* NULL: it has characters that are no bytes */
    unsigned char decoded[];
} latin1;

enum { GLANCE_NBYTES = 256 };

static int encode_latin1(const look *l, achar_value text, const char *what,
                         const unsigned char **data, size_t *nbytes)
{
    size_t text_nbytes, width, count = 0;
    const uint8_t *at = (const uint8_t *)achar_text(text, &text_nbytes);
    latin1 *kept = achar__kept(l->graph, KEEP_LATIN1, text);
    if (kept == NULL) {
        bool ascii = text_is_ascii(at, text_nbytes);
        if (ascii && text_nbytes <= GLANCE_NBYTES) {
            *data = at;
            *nbytes = text_nbytes;
            return ACHAR_OK;
        }
        bool fits = true;
        for (size_t i = 0; !ascii && fits && i < text_nbytes; i += width, count++)
            fits = achar__utf8_decode(at + i, &width) <= 255;
        count = ascii || !fits ? 0 : count;
        kept = achar__keep(l->graph, KEEP_LATIN1, text, sizeof *kept + count);
        if (kept == NULL)
            return refuse_memory(l, achar__keep_status(l->graph));
        *kept = ascii ? (latin1){text_nbytes, at} : (latin1){count, fits ? kept->decoded : NULL};
        for (size_t i = 0, j = 0; j < count; i += width, j++)
            kept->decoded[j] = (unsigned char)achar__utf8_decode(at + i, &width);
    }
    if (kept->data == NULL)
        return achar__refuse(l, ACHAR_E_SHAPE, "%s has characters that are no bytes", what);
    *data = kept->data;
    *nbytes = kept->nbytes;
    return ACHAR_OK;
}

int achar__payload(const look *l, achar_value value, bool text_too, const char *what,
                   const unsigned char **data, size_t *nbytes)
{
    size_t change;
    achar_value arguments = achar_arguments(value);
    switch (achar_kind(value)) {
    case ACHAR_BYTES:
    case ACHAR_BYTEARRAY:
        *data = achar_data(value, nbytes);
        return ACHAR_OK;
    case ACHAR_BUFFER:
        *data = achar_data(value, nbytes);
        if (*data == NULL && *nbytes == 0)
            return achar__refuse(l, ACHAR_E_BUFFERS,
                                 "%s is out-of-band buffer %zu, which was not given", what,
                                 achar_buffer_index(value));
        return ACHAR_OK;
    case ACHAR_STR:
        if (text_too && achar__is_old(l->graph))
            return encode_latin1(l, value, what, data, nbytes);
        break;
    case ACHAR_CALL:
        if (achar_shape(l->graph, value) != ACHAR_SHAPE_BYTES ||
            achar_call_form(value) != ACHAR_CALL_REDUCE ||
            achar_first_change(l->graph, value, &change) != ACHAR_OK || change != ACHAR_NO_EFFECT)
            break;
        if (achar__known(l->graph, achar_callable(value)) == KNOWN_ENCODE &&
            achar_count(arguments) == 2 && achar_kind(achar_item(arguments, 0)) == ACHAR_STR)
            return encode_latin1(l, achar_item(arguments, 0), what, data, nbytes);
        if (achar__known(l->graph, achar_callable(value)) == KNOWN_BYTES &&
            achar_kind(arguments) == ACHAR_TUPLE && achar_count(arguments) == 0) {
            *data = (const unsigned char *)"";
            *nbytes = 0;
            return ACHAR_OK;
        }
        break;
    }
    return achar__refuse(l, ACHAR_E_SHAPE, "%s is not bytes", what);
}

int achar_as_bytes(achar_graph *graph, achar_value value, const unsigned char **data,
                   size_t *nbytes, achar_error *error)
{
    look l;
    const unsigned char *found;
    size_t found_nbytes;
    int shape = achar_shape(graph, value);
    if (achar_kind(value) == ACHAR_BUFFER)
        l = (look){.graph = graph, .value = value, .shape = ACHAR_SHAPE_BYTES, .error = error};
    int status =
        achar_kind(value) == ACHAR_BUFFER
            ? ACHAR_OK
            : achar__look(&l, graph, value,
                          shape == ACHAR_SHAPE_BYTEARRAY ? shape : ACHAR_SHAPE_BYTES, error);
    if (status == ACHAR_OK && achar_kind(value) == ACHAR_CALL)
        status = achar__look_unchanged(&l);
    if (status != ACHAR_OK)
        return status;
    achar_value contents = value;
    bool text_too = false;
    if (shape == ACHAR_SHAPE_BYTEARRAY && achar_kind(value) == ACHAR_CALL) {
        /* bytearray(), bytearray(bytes), bytearray(text, 'latin-1') */
        status = achar__look_count(&l, 0, 2);
        contents = look_argument(&l, 0);
        text_too = achar__look_text_is(&l, look_argument(&l, 1), "latin-1");
        if (status == ACHAR_OK && achar_count(l.arguments) == 2 &&
            (!text_too || achar_kind(contents) != ACHAR_STR))
            status = achar__refuse(&l, ACHAR_E_SHAPE, "not in Latin-1");
        if (status != ACHAR_OK)
            return status;
        if (achar_count(l.arguments) == 0) {
            *data = (const unsigned char *)"";
            *nbytes = 0;
            return ACHAR_OK;
        }
    }
    status = achar__payload(&l, contents, text_too, "what it holds", &found, &found_nbytes);
    if (status != ACHAR_OK)
        return status;
    *data = found;
    *nbytes = found_nbytes;
    return ACHAR_OK;
}

/* ---- what is kept ---- */

/* In front of what is kept: the whole key, of which the table has a hash, and who else has that. */
typedef struct kept_block {
    uint64_t key[2];
    struct kept_block *next;
    uint64_t contents[];
} kept_block;

/* Keys are kinds and our own addresses, or few and the program's: no adversary chooses them. */
static uint64_t keep_hash(enum keep keep, achar_value key)
{
    return (key.meta << 3 | (uint64_t)keep) * 0x9e3779b97f4a7c15u ^ key.as.word;
}

void *achar__kept(const achar_graph *graph, enum keep keep, achar_value key)
{
    uint64_t first = achar__table_get(&graph->kept, keep_hash(keep, key));
    kept_block *block = first == TABLE_ABSENT ? NULL : (kept_block *)(uintptr_t)first;
    while (block != NULL &&
           (block->key[0] != (key.meta << 3 | (uint64_t)keep) || block->key[1] != key.as.word))
        block = block->next;
    return block == NULL ? NULL : block->contents;
}

void *achar__keep(achar_graph *graph, enum keep keep, achar_value key, size_t nbytes)
{
    if (nbytes > PTRDIFF_MAX - sizeof(kept_block))
        return NULL;
    kept_block *block = achar__arena_take(&graph->arena, sizeof *block + nbytes);
    if (block == NULL)
        return NULL;
    bool added;
    uint64_t *first =
        achar__table_put(&graph->kept, keep_hash(keep, key), (uint64_t)(uintptr_t)block, &added);
    if (first == NULL)
        return NULL;
    *block = (kept_block){.key = {key.meta << 3 | (uint64_t)keep, key.as.word},
                          .next = added ? NULL : (kept_block *)(uintptr_t)*first};
    *first = (uint64_t)(uintptr_t)block;
    return block->contents;
}

int achar__keep_status(const achar_graph *graph)
{
    return achar__memory_status(&graph->mem);
}

achar_value achar__make_fail(achar_graph *graph, int status)
{
    if (graph != NULL && graph->status == ACHAR_OK)
        graph->status = status;
    return achar_nothing();
}
