/*
 * items.c - containers: what is in a set, deque, OrderedDict, defaultdict or Counter.
 *
 * They get their items in two ways, one after the other: from an argument of the call that makes
 * them (the 'source': a list, a dict, a list of pairs), and by changes in the log of effects, which
 * append or set items by the batch. An iteration walks the source, then the chain of changes.
 */
#include "codec/shapes/shapes.h"

/* The kind of change that adds to a shape; -1: nothing may be added. */
static int adding(int shape)
{
    switch (shape) {
    case ACHAR_SHAPE_DEQUE:
        return ACHAR_EFFECT_APPEND;
    case ACHAR_SHAPE_ORDERED_DICT:
    case ACHAR_SHAPE_DEFAULT_DICT:
    case ACHAR_SHAPE_COUNTER:
        return ACHAR_EFFECT_SET;
    default:
        return -1;
    }
}

/* Sets 'source' and its count from an argument, which had to be complete when the call was made. */
static int set_source(const look *l, achar_items *items, achar_value source, int kind)
{
    if (achar_kind(source) != kind)
        return achar__refuse(l, ACHAR_E_SHAPE, "made from a value of kind %s",
                             achar_kind_name(achar_kind(source)));
    items->at.source = source;
    items->count = achar_count(source);
    return achar__settled(l, source, l->entry);
}

/* Python 2's OrderedDict: a list of [key, value]. */
static int check_pairs(const look *l, achar_value source)
{
    int status = ACHAR_OK;
    for (size_t i = 0; i < achar_count(source) && status == ACHAR_OK; i++) {
        achar_value pair = achar_item(source, i);
        bool is_list = achar_kind(pair) == ACHAR_LIST;
        if ((!is_list && achar_kind(pair) != ACHAR_TUPLE) || achar_count(pair) != 2)
            status = achar__refuse(l, ACHAR_E_SHAPE, "made from what is no list of pairs");
        else if (is_list)
            status = achar__settled(l, pair, l->entry);
    }
    return status;
}

/* deque(), deque(list), deque(list or (), maxlen) */
static int read_deque(const look *l, achar_items *items)
{
    achar_value source = look_argument(l, 0), maxlen = look_argument(l, 1);
    int status = achar__look_count(l, 0, 2);
    if (status == ACHAR_OK && achar_count(l->arguments) != 0 &&
        (achar_kind(source) != ACHAR_TUPLE || achar_count(source) != 0))
        status = set_source(l, items, source, ACHAR_LIST);
    if (status != ACHAR_OK || achar_kind(maxlen) == ACHAR_NOTHING ||
        achar_kind(maxlen) == ACHAR_NONE)
        return status;
    if (!is_between(maxlen, 0, INT64_MAX))
        return achar__refuse(l, ACHAR_E_SHAPE, "its maxlen is no size");
    items->maxlen = achar_int64(maxlen);
    return ACHAR_OK;
}

static int read_default_dict(const look *l, achar_items *items)
{
    int status = achar__look_count(l, 0, 1);
    achar_value factory = look_argument(l, 0);
    int kind = achar_kind(factory);
    if (status != ACHAR_OK || kind == ACHAR_NOTHING || kind == ACHAR_NONE)
        return status;
    if (kind < ACHAR_GLOBAL || kind == ACHAR_BUFFER)
        return achar__refuse(l, ACHAR_E_SHAPE, "its factory is of kind %s", achar_kind_name(kind));
    items->factory = factory;
    return ACHAR_OK;
}

/* What the call was given. */
static int read_source(const look *l, achar_items *items)
{
    int status = ACHAR_OK;
    bool given = achar_count(l->arguments) != 0;
    switch (items->shape) {
    case ACHAR_SHAPE_DEQUE:
        return read_deque(l, items);
    case ACHAR_SHAPE_DEFAULT_DICT:
        return read_default_dict(l, items);
    case ACHAR_SHAPE_COUNTER:
        status = achar__look_count(l, 0, 1);
        return status == ACHAR_OK && given ? set_source(l, items, look_argument(l, 0), ACHAR_DICT)
                                           : status;
    case ACHAR_SHAPE_ORDERED_DICT:
        status = achar__look_count(l, 0, 1);
        if (status == ACHAR_OK && given)
            status = set_source(l, items, look_argument(l, 0), ACHAR_LIST);
        return status == ACHAR_OK ? check_pairs(l, items->at.source) : status;
    default: /* set(list), frozenset(list) */
        status = achar__look_count(l, 1, 1);
        return status == ACHAR_OK ? set_source(l, items, look_argument(l, 0), ACHAR_LIST) : status;
    }
}

/* Counts what the changes add; refuses those that do something else. */
static int read_changes(const look *l, achar_items *items)
{
    achar_effect effect;
    for (size_t change = l->change; change != ACHAR_NO_EFFECT; change = effect.next) {
        int status = achar_effect_at(l->graph, change, &effect);
        if (status != ACHAR_OK)
            return achar__refuse(l, status, "%s", achar_status_message(status));
        if (effect.kind == ACHAR_EFFECT_BUILD)
            return achar__refuse(l, ACHAR_E_UNSUPPORTED, "with attributes of its own");
        if (effect.kind != adding(items->shape))
            return achar__refuse(l, ACHAR_E_SHAPE, "changed in a way that does not fit it");
        items->count += items->pairs ? effect.values_count / 2 : effect.values_count;
    }
    if (items->maxlen >= 0 && items->count > (uint64_t)items->maxlen)
        return achar__refuse(l, ACHAR_E_SHAPE, "it holds more than its maxlen");
    return ACHAR_OK;
}

int achar_as_items(achar_graph *graph, achar_value value, achar_items *out, achar_error *error)
{
    look l;
    int kind = achar_kind(value);
    int shape = achar_shape(graph, value);
    achar_items items = {.shape = shape,
                         .pairs = kind == ACHAR_DICT || adding(shape) == ACHAR_EFFECT_SET,
                         .factory = achar_nothing(),
                         .maxlen = -1,
                         .at = {.graph = graph, .source = value, .change = ACHAR_NO_EFFECT}};
    if (kind == ACHAR_LIST || kind == ACHAR_TUPLE || kind == ACHAR_DICT || kind == ACHAR_SET ||
        kind == ACHAR_FROZENSET) {
        items.count = achar_count(value);
        *out = items;
        return ACHAR_OK;
    }
    if (adding(shape) < 0 && shape != ACHAR_SHAPE_SET && shape != ACHAR_SHAPE_FROZENSET) {
        l = (look){.graph = graph, .value = value, .shape = shape, .error = error};
        return achar__refuse(&l, ACHAR_E_TYPE, "no container");
    }
    items.at.source = achar_nothing();
    int status = achar__look(&l, graph, value, shape, error);
    if (status == ACHAR_OK)
        status = read_source(&l, &items);
    if (status == ACHAR_OK)
        status = read_changes(&l, &items);
    if (status != ACHAR_OK)
        return status;
    items.at.change = l.change;
    *out = items;
    return ACHAR_OK;
}

/* The next of the source. */
static void take_from_source(achar_items *items, achar_value *key, achar_value *value)
{
    achar_value source = items->at.source;
    size_t index = items->at.index++;
    if (achar_kind(source) == ACHAR_DICT) {
        *key = achar_pair_key(source, index);
        *value = achar_pair_value(source, index);
    } else if (items->pairs) {
        *key = achar_item(achar_item(source, index), 0);
        *value = achar_item(achar_item(source, index), 1);
    } else {
        *key = achar_item(source, index);
    }
}

int achar_next_item(achar_items *items, achar_value *key, achar_value *value)
{
    achar_value unused;
    achar_effect effect;
    value = value == NULL ? &unused : value;
    *key = *value = achar_nothing();
    if (items->at.index < achar_count(items->at.source)) {
        take_from_source(items, key, value);
        return 1;
    }
    if (achar_kind(items->at.source) != ACHAR_NOTHING) {
        items->at.source = achar_nothing();
        items->at.index = 0;
    }
    size_t step = items->pairs ? 2 : 1;
    while (items->at.change != ACHAR_NO_EFFECT &&
           achar_effect_at(items->at.graph, items->at.change, &effect) == ACHAR_OK) {
        if (items->at.index + step <= effect.values_count) {
            *key = effect.values[items->at.index];
            if (items->pairs)
                *value = effect.values[items->at.index + 1];
            items->at.index += step;
            return 1;
        }
        items->at.change = effect.next;
        items->at.index = 0;
    }
    return 0;
}

/* ---- making ---- */

achar_value achar_make_deque(achar_graph *graph, int64_t maxlen)
{
    achar_value arguments[2] = {achar_make_tuple(graph, NULL, 0), achar_make_int(maxlen)};
    if (maxlen < -1)
        return achar__make_fail(graph, ACHAR_E_NUMBER);
    return achar__call_known(graph, KNOWN_DEQUE, arguments, maxlen < 0 ? 0 : 2);
}

achar_value achar_make_ordered_dict(achar_graph *graph)
{
    return achar__call_known(graph, KNOWN_ORDERED_DICT, NULL, 0);
}

achar_value achar_make_default_dict(achar_graph *graph, achar_value factory)
{
    return achar__call_known(graph, KNOWN_DEFAULT_DICT, &factory,
                             achar_kind(factory) == ACHAR_NOTHING ? 0 : 1);
}

achar_value achar_make_counter(achar_graph *graph)
{
    return achar__call_known(graph, KNOWN_COUNTER, NULL, 0);
}
