/*
 * rules.h - what Python refuses whatever the imports of a pickle do: known already when a graph is
 * made. What depends on something that only Python could make is allowed.
 */
#ifndef ACHAR_CODEC_RULES_H
#define ACHAR_CODEC_RULES_H

#include "codec/graph.h"

/* Whether a value may turn out to be a 'kind' when Python runs. */
static inline bool rules_may_be(cell c, int kind)
{
    return cell_kind(c) == kind || kind_is_object(cell_kind(c));
}

/*
 * Whether BUILD can give 'target' that state. Python's own kinds have no __setstate__, no __dict__
 * and no slots, so that they take only what says nothing: None, or (None, {}).
 */
bool achar__rules_take_state(cell target, cell state);

/* The first of every 'stride'-th cell that cannot be a dict's key or in a set; CELL_NOTHING if all
 * can. */
cell achar__rules_find_unhashable(const cell *cells, size_t count, size_t stride);

/* The same, quickly: false if there may be one. */
static inline bool rules_all_hashable(const cell *cells, size_t count, size_t stride)
{
    const uint32_t suspects = KIND_BIT(ACHAR_LIST) | KIND_BIT(ACHAR_DICT) | KIND_BIT(ACHAR_SET) |
                              KIND_BIT(ACHAR_BYTEARRAY) | KIND_BIT(ACHAR_TUPLE);
    return (cells_kinds(cells, count, stride) & suspects) == 0;
}

#endif
