/*
 * build.c - graphs put together by a program (build.h). The same values, containers and log as
 * the reader makes, behind checks and a status that sticks.
 */
#include <achar/build.h>

#include <string.h>

#include "codec/decode.h"
#include "codec/graph.h"
#include "codec/number.h"
#include "codec/opcodes.h"
#include "codec/text.h"

achar_graph *achar_graph_new(const achar_allocator *allocator)
{
    achar_graph *g = achar__graph_new(allocator, 0);
    if (g != NULL) {
        g->protocol = -1;
        g->edited = true;
    }
    return g;
}

int achar_graph_status(const achar_graph *g)
{
    return g == NULL ? ACHAR_E_NOMEM : g->status;
}

static void fail(achar_graph *g, int status)
{
    if (g != NULL && g->status == ACHAR_OK)
        g->status = status;
}

/* Whether there is a graph to change; notes that it changes. */
static bool edit(achar_graph *g)
{
    if (g == NULL || g->status != ACHAR_OK)
        return false;
    g->edited = true;
    g->prepared = false;
    return true;
}

/* 'value', or the failure to make it. */
static achar_value made(achar_graph *g, achar_value value)
{
    if (achar_kind(value) == ACHAR_NOTHING)
        fail(g, achar__memory_status(&g->mem));
    return value;
}

static bool all_there(achar_graph *g, const achar_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (achar_kind(values[i]) == ACHAR_NOTHING) {
            fail(g, ACHAR_E_INVALID);
            return false;
        }
    }
    return true;
}

void achar_set_root(achar_graph *g, achar_value root)
{
    if (edit(g) && all_there(g, &root, 1))
        g->root = root;
}

/* ---- numbers, text, bytes ---- */

achar_value achar_make_none(void)
{
    return VALUE_NONE;
}

achar_value achar_make_bool(int truth)
{
    return value_bool(truth != 0);
}

achar_value achar_make_int(int64_t integer)
{
    return value_int(integer);
}

achar_value achar_make_float(double real)
{
    return value_float(real);
}

static achar_value borrow(achar_graph *g, int kind, const void *data, size_t nbytes)
{
    if (!edit(g))
        return VALUE_NOTHING;
    if (data == NULL && nbytes != 0) {
        fail(g, ACHAR_E_INVALID);
        return VALUE_NOTHING;
    }
    if (kind == ACHAR_STR && !achar__utf8_valid(data, nbytes)) {
        fail(g, ACHAR_E_TEXT);
        return VALUE_NOTHING;
    }
    return value_make(kind, nbytes, data == NULL ? "" : data);
}

static achar_value copy(achar_graph *g, int kind, const void *data, size_t nbytes)
{
    achar_value value = borrow(g, kind, data, nbytes);
    if (achar_kind(value) == ACHAR_NOTHING)
        return value;
    /* One byte at least, so that no two values have the same address. */
    char *own = nbytes == SIZE_MAX ? NULL : achar__arena_take(&g->arena, nbytes + (nbytes == 0));
    if (own == NULL)
        return made(g, VALUE_NOTHING);
    memcpy(own, value.as.pointer, nbytes);
    value.as.pointer = own;
    return value;
}

achar_value achar_make_int_bytes(achar_graph *g, const void *data, size_t nbytes)
{
    achar_value bytes = copy(g, ACHAR_BYTES, data, nbytes);
    if (achar_kind(bytes) == ACHAR_NOTHING)
        return bytes;
    return achar__long_value(bytes.as.pointer, nbytes);
}

achar_value achar_make_int_decimal(achar_graph *g, const char *decimal)
{
    achar_value value = VALUE_NOTHING;
    if (!edit(g))
        return value;
    if (decimal == NULL || !decode_is_decimal((const uint8_t *)decimal, strlen(decimal))) {
        fail(g, ACHAR_E_NUMBER);
        return value;
    }
    int status = achar__decimal_value(&g->arena, (const uint8_t *)decimal, strlen(decimal), &value);
    if (status != ACHAR_OK)
        fail(g, status);
    return value;
}

achar_value achar_make_text(achar_graph *g, const char *text, size_t nbytes)
{
    return copy(g, ACHAR_STR, text, nbytes);
}

achar_value achar_make_str(achar_graph *g, const char *text)
{
    if (text == NULL) {
        fail(g, ACHAR_E_INVALID);
        return VALUE_NOTHING;
    }
    return copy(g, ACHAR_STR, text, strlen(text));
}

achar_value achar_make_bytes(achar_graph *g, const void *data, size_t nbytes)
{
    return copy(g, ACHAR_BYTES, data, nbytes);
}

achar_value achar_make_bytearray(achar_graph *g, const void *data, size_t nbytes)
{
    return copy(g, ACHAR_BYTEARRAY, data, nbytes);
}

achar_value achar_borrow_text(achar_graph *g, const char *text, size_t nbytes)
{
    return borrow(g, ACHAR_STR, text, nbytes);
}

achar_value achar_borrow_bytes(achar_graph *g, const void *data, size_t nbytes)
{
    return borrow(g, ACHAR_BYTES, data, nbytes);
}

/* ---- containers ---- */

static achar_value make_container(achar_graph *g, int kind)
{
    return edit(g) ? made(g, achar__container_new(g, kind)) : VALUE_NOTHING;
}

achar_value achar_make_list(achar_graph *g)
{
    return make_container(g, ACHAR_LIST);
}

achar_value achar_make_dict(achar_graph *g)
{
    return make_container(g, ACHAR_DICT);
}

achar_value achar_make_set(achar_graph *g)
{
    return make_container(g, ACHAR_SET);
}

static achar_value make_frozen(achar_graph *g, int kind, const achar_value *items, size_t count)
{
    if (!edit(g) || !all_there(g, items, count))
        return VALUE_NOTHING;
    return made(g, achar__frozen_new(g, kind, items, count));
}

achar_value achar_make_tuple(achar_graph *g, const achar_value *items, size_t count)
{
    return make_frozen(g, ACHAR_TUPLE, items, count);
}

achar_value achar_make_frozenset(achar_graph *g, const achar_value *items, size_t count)
{
    return make_frozen(g, ACHAR_FROZENSET, items, count);
}

static void change(achar_graph *g, int effect, int plain, achar_value target,
                   const achar_value *values, size_t count)
{
    if (!edit(g) || !all_there(g, &target, 1) || !all_there(g, values, count))
        return;
    int status = ACHAR_E_TYPE;
    if (achar_kind(target) == plain)
        status = achar__container_fill(g, target, values, count, 0, 0);
    else if (kind_is_object(achar_kind(target)) || effect == ACHAR_EFFECT_BUILD)
        status = achar__log_change(g, effect, target, values, count, 0, 0);
    if (status != ACHAR_OK)
        fail(g, status);
}

void achar_append(achar_graph *g, achar_value list, achar_value item)
{
    change(g, ACHAR_EFFECT_APPEND, ACHAR_LIST, list, &item, 1);
}

void achar_set(achar_graph *g, achar_value dict, achar_value key, achar_value value)
{
    change(g, ACHAR_EFFECT_SET, ACHAR_DICT, dict, (achar_value[]){key, value}, 2);
}

void achar_put(achar_graph *g, achar_value dict, const char *key, achar_value value)
{
    achar_set(g, dict, achar_make_str(g, key), value);
}

void achar_add(achar_graph *g, achar_value set, achar_value item)
{
    change(g, ACHAR_EFFECT_ADD, ACHAR_SET, set, &item, 1);
}

/* ---- what Python will make ---- */

static achar_value make_object(achar_graph *g, int kind, int effect, int opcode,
                               const achar_value *operands, size_t count)
{
    if (!edit(g) || !all_there(g, operands, count))
        return VALUE_NOTHING;
    return made(g, achar__object_new(g, kind, effect, opcode, 0, operands, count));
}

achar_value achar_make_global(achar_graph *g, const char *module, const char *name)
{
    achar_value operands[2] = {achar_make_str(g, module), achar_make_str(g, name)};
    return make_object(g, ACHAR_GLOBAL, ACHAR_EFFECT_IMPORT, OP_STACK_GLOBAL, operands, 2);
}

achar_value achar_make_call(achar_graph *g, int form, achar_value callable, achar_value arguments,
                            achar_value keywords)
{
    static const uint8_t opcodes[] = {[ACHAR_CALL_REDUCE] = OP_REDUCE,
                                      [ACHAR_CALL_NEWOBJ] = OP_NEWOBJ,
                                      [ACHAR_CALL_NEWOBJ_EX] = OP_NEWOBJ_EX,
                                      [ACHAR_CALL_INST] = OP_OBJ};
    achar_value operands[3] = {callable, arguments, keywords};
    size_t count = form == ACHAR_CALL_NEWOBJ_EX ? 3 : 2;
    if (form < ACHAR_CALL_REDUCE || form > ACHAR_CALL_INST ||
        (count == 2 && achar_kind(keywords) != ACHAR_NOTHING)) {
        fail(g, ACHAR_E_INVALID);
        return VALUE_NOTHING;
    }
    if (!edit(g) || !all_there(g, operands, count))
        return VALUE_NOTHING;
    if (!kind_is_object(achar_kind(callable)) || achar_kind(arguments) != ACHAR_TUPLE ||
        (count == 3 && achar_kind(keywords) != ACHAR_DICT)) {
        fail(g, ACHAR_E_TYPE);
        return VALUE_NOTHING;
    }
    return make_object(g, ACHAR_CALL, ACHAR_EFFECT_CALL, opcodes[form], operands, count);
}

void achar_build(achar_graph *g, achar_value target, achar_value state)
{
    change(g, ACHAR_EFFECT_BUILD, ACHAR_NOTHING, target, &state, 1);
}

achar_value achar_make_extension(achar_graph *g, int64_t code)
{
    if (code < 1 || code > INT32_MAX) {
        fail(g, ACHAR_E_NUMBER);
        return VALUE_NOTHING;
    }
    achar_value value = make_object(g, ACHAR_EXTENSION, ACHAR_EFFECT_EXTENSION, OP_EXT4, NULL, 0);
    if (achar_kind(value) != ACHAR_NOTHING)
        value_object(value)->number = (uint64_t)code;
    return value;
}

achar_value achar_make_persistent(achar_graph *g, achar_value id)
{
    return make_object(g, ACHAR_PERSISTENT, ACHAR_EFFECT_PERSISTENT, OP_BINPERSID, &id, 1);
}

achar_value achar_make_buffer(achar_graph *g, int readonly)
{
    achar_value value = make_object(g, ACHAR_BUFFER, ACHAR_EFFECT_BUFFER, OP_NEXT_BUFFER, NULL, 0);
    if (achar_kind(value) == ACHAR_NOTHING)
        return value;
    value_object(value)->number = g->buffers_count++;
    if (!readonly)
        return value;
    return made(g, achar__object_new(g, ACHAR_BUFFER, -1, OP_READONLY_BUFFER, 0, &value, 1));
}
