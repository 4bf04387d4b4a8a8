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
#include "codec/rules.h"
#include "codec/text.h"

achar_graph *achar_graph_new(const achar_allocator *allocator)
{
    achar_graph *g;
    if (achar__graph_new(allocator, 0, 0, 0, &g) == ACHAR_OK)
        g->protocol = -1;
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
    if (g->prepared)
        achar__graph_unprepare(g);
    g->in_order = false;
    return true;
}

/* What was made, or the failure to make it. */
static achar_value made(achar_graph *g, cell c)
{
    if (cell_kind(c) == ACHAR_NOTHING)
        fail(g, achar__memory_status(&g->mem));
    return cell_value(c);
}

static bool all_there(achar_graph *g, const achar_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values == NULL || achar_kind(values[i]) == ACHAR_NOTHING) {
            fail(g, ACHAR_E_INVALID);
            return false;
        }
    }
    return true;
}

/* The cells of values that are about to be put into something, and one reference more to each. */
static bool take(achar_graph *g, const achar_value *values, size_t count, cell *cells)
{
    for (size_t i = 0; i < count; i++) {
        cells[i] = achar__graph_cell(g, values[i]);
        int status = cell_kind(cells[i]) == ACHAR_NOTHING ? achar__memory_status(&g->mem)
                                                          : achar__graph_refer(g, cells[i]);
        if (status != ACHAR_OK) {
            fail(g, status);
            return false;
        }
    }
    return true;
}

void achar_set_root(achar_graph *g, achar_value root)
{
    cell c;
    if (edit(g) && all_there(g, &root, 1) && take(g, &root, 1, &c)) {
        g->root = c;
        g->read_nbytes = 0; /* it may be a small part of what was read */
    }
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

/* Whether the graph can take a span of that kind from there. */
static bool is_good(achar_graph *g, int kind, const void *data, size_t nbytes)
{
    if (!edit(g))
        return false;
    if (data == NULL && nbytes != 0) {
        fail(g, ACHAR_E_INVALID);
        return false;
    }
    if (kind == ACHAR_STR && !achar__utf8_valid(data, nbytes)) {
        fail(g, ACHAR_E_TEXT);
        return false;
    }
    return true;
}

static achar_value borrow(achar_graph *g, int kind, const void *data, size_t nbytes)
{
    if (!is_good(g, kind, data, nbytes))
        return VALUE_NOTHING;
    return made(g, achar__span_new(g, kind, data == NULL ? "" : data, nbytes));
}

/* NULL where memory ran out, which is noted. */
static void *copy_bytes(achar_graph *g, const void *data, size_t nbytes)
{
    void *own = achar__arena_take(&g->arena, nbytes);
    if (own == NULL)
        fail(g, achar__memory_status(&g->mem));
    else if (nbytes != 0)
        memcpy(own, data, nbytes);
    return own;
}

static achar_value copy(achar_graph *g, int kind, const void *data, size_t nbytes)
{
    if (!is_good(g, kind, data, nbytes))
        return VALUE_NOTHING;
    void *own = copy_bytes(g, data, nbytes);
    return own == NULL ? VALUE_NOTHING : made(g, achar__span_new(g, kind, own, nbytes));
}

achar_value achar_make_int_bytes(achar_graph *g, const void *data, size_t nbytes)
{
    if (!is_good(g, ACHAR_BIGINT, data, nbytes))
        return VALUE_NOTHING;
    uint8_t *own = copy_bytes(g, data, nbytes);
    return own == NULL ? VALUE_NOTHING : made(g, achar__long_cell(g, own, nbytes, FORM_BOXED));
}

achar_value achar_make_int_decimal(achar_graph *g, const char *decimal)
{
    if (!edit(g))
        return VALUE_NOTHING;
    if (decimal == NULL || !decode_is_decimal((const uint8_t *)decimal, strlen(decimal))) {
        fail(g, ACHAR_E_NUMBER);
        return VALUE_NOTHING;
    }
    return made(g, achar__decimal_cell(g, (const uint8_t *)decimal, strlen(decimal)));
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
    return edit(g) ? made(g, graph_container_new(g, kind)) : VALUE_NOTHING;
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
    cell few[8];
    cell *cells = few;
    if (count > SIZE_MAX / sizeof *cells) {
        fail(g, ACHAR_E_NOMEM);
        return VALUE_NOTHING;
    }
    if (count > sizeof few / sizeof *few) {
        cells = achar__memory_take(&g->mem, count * sizeof *cells);
        if (cells == NULL)
            return made(g, CELL_NOTHING);
    }
    achar_value value = VALUE_NOTHING;
    if (take(g, items, count, cells)) {
        cell wrong =
            kind == ACHAR_FROZENSET ? achar__rules_find_unhashable(cells, count, 1) : CELL_NOTHING;
        if (cell_kind(wrong) == ACHAR_NOTHING)
            value = made(g, achar__frozen_new(g, kind, cells, count));
        else
            fail(g, ACHAR_E_TYPE);
    }
    if (cells != few)
        achar__memory_give(&g->mem, cells, count * sizeof *cells);
    return value;
}

achar_value achar_make_tuple(achar_graph *g, const achar_value *items, size_t count)
{
    return make_frozen(g, ACHAR_TUPLE, items, count);
}

achar_value achar_make_frozenset(achar_graph *g, const achar_value *items, size_t count)
{
    return make_frozen(g, ACHAR_FROZENSET, items, count);
}

/* One change: 'values' is an item, a state, or a key and a value. */
static void apply(achar_graph *g, int effect, int plain, achar_value target,
                  const achar_value *values, size_t count)
{
    if (!edit(g) || !all_there(g, &target, 1) || !all_there(g, values, count))
        return;
    cell cells[2];
    cell t = achar__graph_cell(g, target);
    if (cell_kind(t) == ACHAR_NOTHING)
        fail(g, achar__memory_status(&g->mem));
    if (cell_kind(t) == ACHAR_NOTHING || !take(g, values, count, cells))
        return;
    bool is_key = plain == ACHAR_DICT || plain == ACHAR_SET;
    int status = ACHAR_E_TYPE;
    if (cell_kind(t) == plain && !(is_key && cell_is_unhashable(cells[0])))
        status = achar__container_fill(g, t, cells, count, 0, 0);
    else if (effect == ACHAR_EFFECT_BUILD ? achar__rules_take_state(t, cells[0])
                                          : kind_is_object(cell_kind(t)))
        status = achar__log_change(g, effect, t, cells, count, 0, 0);
    if (status != ACHAR_OK)
        fail(g, status);
}

void achar_append(achar_graph *g, achar_value list, achar_value item)
{
    apply(g, ACHAR_EFFECT_APPEND, ACHAR_LIST, list, &item, 1);
}

void achar_set(achar_graph *g, achar_value dict, achar_value key, achar_value value)
{
    apply(g, ACHAR_EFFECT_SET, ACHAR_DICT, dict, (achar_value[]){key, value}, 2);
}

void achar_put(achar_graph *g, achar_value dict, const char *key, achar_value value)
{
    achar_set(g, dict, achar_make_str(g, key), value);
}

void achar_add(achar_graph *g, achar_value set, achar_value item)
{
    apply(g, ACHAR_EFFECT_ADD, ACHAR_SET, set, &item, 1);
}

/* ---- what Python will make ---- */

static achar_value make_object(achar_graph *g, int kind, int effect, int opcode,
                               const achar_value *operands, size_t count, size_t raw_count)
{
    cell cells[3];
    if (!edit(g) || !all_there(g, operands, count) || !take(g, operands, count, cells))
        return VALUE_NOTHING;
    return made(g, achar__object_new(g, kind, effect, opcode, 0, cells, count, raw_count));
}

achar_value achar_make_global(achar_graph *g, const char *module, const char *name)
{
    achar_value operands[2] = {achar_make_str(g, module), achar_make_str(g, name)};
    return make_object(g, ACHAR_GLOBAL, ACHAR_EFFECT_IMPORT, OP_STACK_GLOBAL, operands, 2, 0);
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
    return make_object(g, ACHAR_CALL, ACHAR_EFFECT_CALL, opcodes[form], operands, count, 0);
}

void achar_build(achar_graph *g, achar_value target, achar_value state)
{
    apply(g, ACHAR_EFFECT_BUILD, ACHAR_NOTHING, target, &state, 1);
}

achar_value achar_make_extension(achar_graph *g, int64_t code)
{
    if (code < 1 || code > INT32_MAX) {
        fail(g, ACHAR_E_NUMBER);
        return VALUE_NOTHING;
    }
    achar_value value =
        make_object(g, ACHAR_EXTENSION, ACHAR_EFFECT_EXTENSION, OP_EXT4, NULL, 0, 1);
    if (achar_kind(value) != ACHAR_NOTHING)
        cell_object(value_cell(value))->operands[RAW_CODE].bits = (uint64_t)code;
    return value;
}

achar_value achar_make_persistent(achar_graph *g, achar_value id)
{
    return make_object(g, ACHAR_PERSISTENT, ACHAR_EFFECT_PERSISTENT, OP_BINPERSID, &id, 1, 0);
}

achar_value achar_make_buffer(achar_graph *g, int readonly)
{
    achar_value value = make_object(g, ACHAR_BUFFER, ACHAR_EFFECT_BUFFER, OP_NEXT_BUFFER, NULL, 0,
                                    BUFFER_RAW_COUNT);
    if (achar_kind(value) == ACHAR_NOTHING)
        return value;
    cell_object(value_cell(value))->operands[RAW_INDEX].bits = g->buffers_count++;
    return readonly ? make_object(g, ACHAR_BUFFER, -1, OP_READONLY_BUFFER, &value, 1, 0) : value;
}
