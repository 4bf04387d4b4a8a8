/* rules.c - what Python refuses; rules.h says which of it. */
#include "codec/rules.h"

bool achar__rules_take_state(cell target, cell state)
{
    if (kind_is_object(cell_kind(target)) || rules_may_be(state, ACHAR_NONE))
        return true;
    size_t count;
    const cell *pair = cell_items(state, &count);
    if (cell_kind(state) != ACHAR_TUPLE || count != 2 || !rules_may_be(pair[0], ACHAR_NONE))
        return false;
    if (kind_is_object(cell_kind(pair[1])))
        return true;
    cell_items(pair[1], &count);
    return cell_kind(pair[1]) == ACHAR_DICT && count == 0;
}

cell achar__rules_find_unhashable(const cell *cells, size_t count, size_t stride)
{
    for (size_t i = 0; i < count; i += stride)
        if (cell_is_unhashable(cells[i]))
            return cells[i];
    return CELL_NOTHING;
}
