/*
 * read_object.c - what only Python could make, and changes of it. Imports and calls become objects
 * and entries in the log. What Python would refuse whatever the imports do (calling an int,
 * appending to a tuple, a list as a key) is an error; what depends on them is not.
 */
#include "codec/opcodes.h"
#include "codec/reading.h"
#include "codec/rules.h"

static const char *kind_name(cell c)
{
    return achar_kind_name(cell_kind(c));
}

static int make_object(reading *r, place p, int kind, int effect, const cell *operands,
                       size_t operands_count, size_t raw_count, cell *c)
{
    *c = achar__object_new(r->graph, kind, effect, p.opcode, p.offset, operands, operands_count,
                           raw_count);
    return cell_kind(*c) == ACHAR_NOTHING ? achar__read_memory_problem(r) : ACHAR_OK;
}

int achar__read_global(reading *r, place p, cell module, cell name, cell *c)
{
    if (!rules_may_be(module, ACHAR_STR) || !rules_may_be(name, ACHAR_STR))
        return achar__problem(r, ACHAR_E_TYPE, "an import of %s from %s", kind_name(name),
                              kind_name(module));
    int status =
        make_object(r, p, ACHAR_GLOBAL, ACHAR_EFFECT_IMPORT, (cell[]){module, name}, 2, 0, c);
    if (status == ACHAR_OK)
        cell_object(*c)->python2 = r->protocol < 3;
    return status;
}

int achar__read_call(reading *r, place p, const cell *operands, size_t operands_count, cell *c)
{
    if (!kind_is_object(cell_kind(operands[CALL_CALLABLE])))
        return achar__problem(r, ACHAR_E_TYPE, "a call of %s", kind_name(operands[CALL_CALLABLE]));
    if (!rules_may_be(operands[CALL_ARGUMENTS], ACHAR_TUPLE))
        return achar__problem(r, ACHAR_E_TYPE, "a call with arguments in %s, not in a tuple",
                              kind_name(operands[CALL_ARGUMENTS]));
    if (operands_count == 3 && !rules_may_be(operands[CALL_KEYWORDS], ACHAR_DICT))
        return achar__problem(r, ACHAR_E_TYPE, "a call with keywords in %s, not in a dict",
                              kind_name(operands[CALL_KEYWORDS]));
    if (p.opcode == OP_INST || p.opcode == OP_OBJ)
        r->graph->in_order = false; /* the writer's choice between the two may change it */
    return make_object(r, p, ACHAR_CALL, ACHAR_EFFECT_CALL, operands, operands_count, 0, c);
}

int achar__read_extension(reading *r, place p, int64_t code, cell *c)
{
    if (code <= 0)
        return achar__problem(r, ACHAR_E_NUMBER, "extension code %lld is not above 0",
                              (long long)code);
    int status = make_object(r, p, ACHAR_EXTENSION, ACHAR_EFFECT_EXTENSION, NULL, 0, 1, c);
    if (status == ACHAR_OK)
        cell_object(*c)->operands[RAW_CODE].bits = (uint64_t)code;
    return status;
}

int achar__read_persistent(reading *r, place p, cell id, cell *c)
{
    return make_object(r, p, ACHAR_PERSISTENT, ACHAR_EFFECT_PERSISTENT, &id, 1, 0, c);
}

int achar__read_buffer(reading *r, place p, cell *c)
{
    const achar_read_options *options = r->options;
    size_t index = r->graph->buffers_count;
    if (options->buffers != NULL && index == options->buffers_count)
        return achar__problem(r, ACHAR_E_BUFFERS,
                              "the pickle takes more than the %zu buffers given",
                              options->buffers_count);
    int status = make_object(r, p, ACHAR_BUFFER, ACHAR_EFFECT_BUFFER, NULL, 0, BUFFER_RAW_COUNT, c);
    if (status != ACHAR_OK)
        return status;
    object *o = cell_object(*c);
    o->operands[RAW_INDEX].bits = index;
    if (options->buffers != NULL)
        o->operands[RAW_DATA].bits = (uint64_t)(uintptr_t)&options->buffers[index];
    r->graph->buffers_count++;
    return ACHAR_OK;
}

int achar__read_readonly(reading *r, place p, cell *c)
{
    if (cell_kind(*c) != ACHAR_BUFFER)
        return achar__problem(r, ACHAR_E_TYPE, "a buffer is taken from %s", kind_name(*c));
    if (cell_object(*c)->opcode == OP_READONLY_BUFFER)
        return ACHAR_OK;
    cell inner = *c;
    return make_object(r, p, ACHAR_BUFFER, -1, &inner, 1, 0, c);
}

/* ---- changes, and what must be hashable ---- */

static int check_hashable(reading *r, const cell *cells, size_t count, size_t stride,
                          const char *use)
{
    if (rules_all_hashable(cells, count, stride))
        return ACHAR_OK;
    cell wrong = achar__rules_find_unhashable(cells, count, stride);
    if (cell_kind(wrong) == ACHAR_NOTHING)
        return ACHAR_OK;
    return achar__problem(
        r, ACHAR_E_TYPE, "%s%s cannot be %s", kind_name(wrong),
        kind_is_frozen(cell_kind(wrong)) ? " with something unhashable in it" : "", use);
}

int achar__read_frozenset(reading *r, const cell *items, size_t count, cell *c)
{
    int status = check_hashable(r, items, count, 1, "in a frozenset");
    if (status != ACHAR_OK)
        return status;
    *c = achar__frozen_new(r->graph, ACHAR_FROZENSET, items, count);
    return cell_kind(*c) == ACHAR_NOTHING ? achar__read_memory_problem(r) : ACHAR_OK;
}

static int log_change(reading *r, place p, int effect, cell target, const cell *cells, size_t count)
{
    /* Of other values the first change is nowhere near them. */
    if (!kind_is_object(cell_kind(target)) || cell_object(target)->entry == OBJECT_NO_ENTRY)
        r->graph->in_order = false;
    return achar__log_change(r->graph, effect, target, cells, count, p.opcode, p.offset);
}

int achar__read_build(reading *r, place p, cell target, cell state)
{
    r->graph->in_order &= !graph_is_shared(r->graph, target);
    if (!achar__rules_take_state(target, state))
        return achar__problem(r, ACHAR_E_TYPE, "%s takes no state", kind_name(target));
    return log_change(r, p, ACHAR_EFFECT_BUILD, target, &state, 1);
}

int achar__read_change(reading *r, place p, int effect, cell target, const cell *cells,
                       size_t count)
{
    int kind = cell_kind(target);
    if (count == 0)
        return ACHAR_OK;
    r->graph->in_order &= !graph_is_shared(r->graph, target);
    if (effect == ACHAR_EFFECT_SET && count % 2 != 0)
        return achar__problem(r, ACHAR_E_STACK, "a key without a value");
    int plain = effect == ACHAR_EFFECT_APPEND ? ACHAR_LIST
                : effect == ACHAR_EFFECT_SET  ? ACHAR_DICT
                                              : ACHAR_SET;
    if (kind == plain) {
        int status = ACHAR_OK;
        if (kind == ACHAR_DICT)
            status = check_hashable(r, cells, count, 2, "a dict's key");
        else if (kind == ACHAR_SET)
            status = check_hashable(r, cells, count, 1, "in a set");
        return status != ACHAR_OK
                   ? status
                   : achar__container_fill(r->graph, target, cells, count, p.opcode, p.offset);
    }
    bool possible = kind_is_object(kind) ||
                    (kind == ACHAR_BYTEARRAY && effect != ACHAR_EFFECT_ADD) ||
                    (kind == ACHAR_LIST && effect == ACHAR_EFFECT_SET);
    if (!possible)
        return achar__problem(r, ACHAR_E_TYPE, "%s takes no such items", kind_name(target));
    return log_change(r, p, effect, target, cells, count);
}
