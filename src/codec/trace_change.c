/* trace_change.c - containers, and what is put into them. */
#include "codec/trace_inside.h"

/* ---- containers ---- */

int achar__trace_slice_count(trace_machine *m, size_t *count)
{
    *count = 0;
    if (m->marks_count == 0)
        return achar__trace_problem(m, ACHAR_E_STACK, "no mark on the stack");
    *count = trace_visible_count(m);
    return ACHAR_OK;
}

/* Whether Python would refuse it as a dict's key or a set's item, whatever imports may do. */
static bool is_unhashable(achar_value value)
{
    int kind = achar_kind(value);
    return kind_is_container(kind) || kind == ACHAR_BYTEARRAY ||
           (kind == ACHAR_TUPLE && trace_node_of(value) != NULL &&
            trace_node_of(value)->unhashable);
}

int achar__trace_check_hashable(trace_machine *m, const achar_value *values, size_t count,
                                size_t stride, const char *use)
{
    for (size_t i = 0; i < count; i += stride)
        if (is_unhashable(values[i]))
            return achar__trace_problem(
                m, ACHAR_E_TYPE, "%s%s cannot be %s", achar_kind_name(achar_kind(values[i])),
                achar_kind(values[i]) == ACHAR_TUPLE ? " with something unhashable in it" : "",
                use);
    return ACHAR_OK;
}

trace_node *achar__trace_collect(trace_machine *m, trace_step *step, int kind, size_t count,
                                 bool mark)
{
    trace_node *node = achar__trace_node_new(m, kind, step->token.opcode, 0);
    if (node == NULL)
        return NULL;
    if (!achar__trace_reserve_children(m, node, count)) {
        achar__trace_node_free(m, node);
        return NULL;
    }
    trace_take(m, step, count);
    for (size_t i = 0; i < count; i++)
        node->unhashable |= is_unhashable(trace_top(m)[i]);
    achar__trace_give_children(m, node, trace_top(m), count);
    step->change_count = count;
    if (mark) {
        trace_take(m, step, 1);
        m->marks_count--;
    }
    return node;
}

int achar__trace_push_collected(trace_machine *m, trace_step *step, int kind, size_t count,
                                bool mark)
{
    return achar__trace_push_node(m, step, achar__trace_collect(m, step, kind, count, mark));
}

/* ---- changes ---- */

trace_node *achar__trace_last_change(const trace_node *target)
{
    trace_node *change = target->changes;
    uint64_t count = change != NULL;
    while (change != NULL && change->next != NULL)
        change = change->next, count++;
    return count == target->changes_count ? change : NULL;
}

/* The change of that kind that 'count' values are added to: the last one, or a new one; NULL if it is
 * beyond those kept. What an APPEND follows an APPEND is one change. */
static int find_change(trace_machine *m, trace_node *target, int kind, trace_node **change)
{
    *change = achar__trace_last_change(target);
    if (target->last_change == kind && kind != KIND_STATE)
        return ACHAR_OK;
    trace_node *last = *change;
    bool keeps = target->changes_count < m->limits.items_count;
    if (keeps) {
        *change = achar__trace_node_new(m, kind, 0, 0);
        if (*change == NULL)
            return achar__memory_status(m->mem);
        if (last != NULL)
            last->next = *change;
        else
            target->changes = *change;
    } else {
        *change = NULL;
    }
    target->last_change = (uint8_t)kind;
    target->changes_count++;
    return ACHAR_OK;
}

static bool can_change(int kind)
{
    return kind == ACHAR_BYTEARRAY || kind_is_container(kind) || kind_is_object(kind);
}

/*
 * Adds the last 'count' values to what lies below them (and below 'mark'), which stays. What is
 * neither a container nor an object takes the change without showing it.
 */
static int change(trace_machine *m, trace_step *step, int kind, size_t count, bool mark)
{
    achar_value target = trace_top(m)[-(ptrdiff_t)count - 1 - mark];
    trace_node *node = can_change(achar_kind(target)) ? trace_node_of(target) : NULL;
    if (count != 0 && node != NULL && node->kind != kind) {
        /* an object: a container takes only what is its own, see check_change() */
        int status = find_change(m, node, kind, &node);
        if (status != ACHAR_OK)
            return status;
    }
    if (node != NULL && !achar__trace_reserve_children(m, node, count))
        return achar__memory_status(m->mem);
    step->change = kind;
    step->change_count = count;
    step->kept_before = node == NULL ? 0 : node->kept_count;
    trace_take(m, step, count);
    if (node != NULL)
        achar__trace_give_children(m, node, trace_top(m), count);
    else
        for (size_t i = 0; i < count; i++)
            achar__trace_release(m, trace_top(m)[i]);
    if (mark) {
        trace_take(m, step, 1);
        m->marks_count--;
    }
    return ACHAR_OK;
}

static int check_change(trace_machine *m, int kind, achar_value target, size_t count)
{
    int target_kind = achar_kind(target);
    if (count == 0)
        return ACHAR_OK;
    if (kind == ACHAR_DICT && count % 2 != 0)
        return achar__trace_problem(m, ACHAR_E_STACK, "a key without a value");
    bool possible = target_kind == kind || kind_is_object(target_kind) ||
                    (target_kind == ACHAR_BYTEARRAY && kind != ACHAR_SET) ||
                    (target_kind == ACHAR_LIST && kind == ACHAR_DICT);
    if (!possible)
        return achar__trace_problem(m, ACHAR_E_TYPE, "%s takes no such items",
                                    achar_kind_name(target_kind));
    const achar_value *values = trace_top(m) - count;
    if (target_kind == ACHAR_DICT)
        return achar__trace_check_hashable(m, values, count, 2, "a dict's key");
    return target_kind == ACHAR_SET ? achar__trace_check_hashable(m, values, count, 1, "in a set")
                                    : ACHAR_OK;
}

bool achar__trace_may_be(achar_value value, int kind)
{
    return achar_kind(value) == kind || kind_is_object(achar_kind(value));
}

/* Python's own kinds take only a state that says nothing: None, or (None, {}). */
static int check_state(trace_machine *m, achar_value target, achar_value state)
{
    const trace_node *node = trace_node_of(state);
    if (kind_is_object(achar_kind(target)) || achar__trace_may_be(state, ACHAR_NONE))
        return ACHAR_OK;
    if (achar_kind(state) == ACHAR_TUPLE && node != NULL && node->count == 2 &&
        achar__trace_may_be(node->children[0], ACHAR_NONE)) {
        achar_value slots = node->children[1];
        if (kind_is_object(achar_kind(slots)) ||
            (achar_kind(slots) == ACHAR_DICT && trace_node_of(slots)->count == 0))
            return ACHAR_OK;
    }
    return achar__trace_problem(m, ACHAR_E_TYPE, "%s takes no state",
                                achar_kind_name(achar_kind(target)));
}

int achar__trace_change_by_slice(trace_machine *m, trace_step *step, int kind)
{
    size_t count;
    int status = achar__trace_slice_count(m, &count);
    if (status != ACHAR_OK)
        return status;
    size_t mark = m->marks[m->marks_count - 1];
    size_t fence = m->marks_count < 2 ? 0 : m->marks[m->marks_count - 2] + 1;
    if (mark == fence)
        return achar__trace_problem(m, ACHAR_E_STACK, "%s",
                                    m->marks_count < 2 ? "too few values on the stack"
                                                       : "too few values above the mark");
    status = check_change(m, kind, m->stack[mark - 1], count);
    return status != ACHAR_OK ? status : change(m, step, kind, count, true);
}

int achar__trace_change_by_few(trace_machine *m, trace_step *step, int kind, size_t count)
{
    if (trace_visible_count(m) < count + 1)
        return achar__trace_underflow(m);
    achar_value target = trace_top(m)[-(ptrdiff_t)count - 1];
    int status = kind == KIND_STATE ? check_state(m, target, trace_top(m)[-1])
                                    : check_change(m, kind, target, count);
    return status != ACHAR_OK ? status : change(m, step, kind, count, false);
}
