/*
 * prepare.c - what a graph knows about itself only when someone asks: which changes in the log
 * belong to which target, and, where a program put the graph together, what is referred to twice.
 *
 * The second is a walk over everything. It keeps a stack of item ranges of its own, so that depth
 * costs memory and not the C stack, and counts references by identity.
 */
#include "codec/graph.h"

typedef struct range {
    const achar_value *next;
    const achar_value *end;
} range;

typedef struct walk {
    achar_graph *graph;
    table references; /* identity to number of references, 0 for what only the log has named */
    range *stack;
    size_t depth;
    size_t capacity;
} walk;

static int push(walk *w, const achar_value *items, size_t count)
{
    if (count == 0)
        return ACHAR_OK;
    if (w->depth == w->capacity) {
        size_t capacity = w->capacity == 0 ? 64 : w->capacity * 2;
        range *stack = achar__memory_resize(&w->graph->mem, w->stack, w->capacity * sizeof *stack,
                                            capacity * sizeof *stack);
        if (stack == NULL)
            return achar__memory_status(&w->graph->mem);
        w->stack = stack;
        w->capacity = capacity;
    }
    w->stack[w->depth++] = (range){items, items + count};
    return ACHAR_OK;
}

/* Counts a reference to 'value' ('references' 1), or only sees to its contents (0). */
static int visit(walk *w, achar_value value, uint64_t references)
{
    int kind = achar_kind(value);
    if (kind_is_small(kind))
        return ACHAR_OK;
    bool added;
    uint64_t *count =
        achar__table_put(&w->references, value.meta, value.as.word, references, &added);
    if (count == NULL)
        return achar__memory_status(&w->graph->mem);
    if (!added) {
        *count += references;
        return *count == 2 && references ? achar__graph_share(w->graph, value) : ACHAR_OK;
    }
    if (kind_is_object(kind))
        return push(w, value_object(value)->operands, value_object(value)->operands_count);
    size_t items_count;
    const achar_value *items = value_items(value, &items_count);
    return push(w, items, items_count);
}

static int run(walk *w)
{
    while (w->depth != 0) {
        range *top = &w->stack[w->depth - 1];
        if (top->next == top->end) {
            w->depth--;
            continue;
        }
        int status = visit(w, *top->next++, 1);
        if (status != ACHAR_OK)
            return status;
    }
    return ACHAR_OK;
}

static int find_shared(achar_graph *g)
{
    walk w = {.graph = g};
    achar__table_init(&w.references, &g->mem);
    int status = visit(&w, g->root, 1);
    if (status == ACHAR_OK)
        status = run(&w);
    for (size_t i = 0; i < g->log_count && status == ACHAR_OK; i++) {
        const log_entry *entry = &g->log[i];
        status = visit(&w, entry->target, 0);
        if (status == ACHAR_OK && entry->kind >= ACHAR_EFFECT_BUILD &&
            entry->kind != ACHAR_EFFECT_FILL)
            status = push(&w, entry->values, entry->count);
        if (status == ACHAR_OK)
            status = run(&w);
    }
    achar__memory_give(&g->mem, w.stack, w.capacity * sizeof *w.stack);
    achar__table_free(&w.references);
    return status;
}

/* From the last entry to the first, so that each chain ends up in order. */
static int chain_changes(achar_graph *g)
{
    achar__table_free(&g->changes);
    for (size_t i = g->log_count; i-- > 0;) {
        log_entry *entry = &g->log[i];
        achar_value target = entry->target;
        if (entry->kind < ACHAR_EFFECT_BUILD) {
            continue;
        } else if (kind_is_object(achar_kind(target))) {
            entry->next = value_object(target)->first_change;
            value_object(target)->first_change = i;
        } else if (!kind_is_small(achar_kind(target))) {
            bool added;
            uint64_t *first = achar__table_put(&g->changes, target.meta, target.as.word, i, &added);
            if (first == NULL)
                return achar__memory_status(&g->mem);
            entry->next = added ? NO_ENTRY : *first;
            *first = i;
        }
    }
    return ACHAR_OK;
}

int achar__graph_prepare(achar_graph *g)
{
    if (g->prepared)
        return ACHAR_OK;
    for (size_t i = 0; i < g->log_count; i++)
        if (kind_is_object(achar_kind(g->log[i].target)))
            value_object(g->log[i].target)->first_change = NO_ENTRY;
    int status = chain_changes(g);
    if (status == ACHAR_OK && g->edited)
        status = find_shared(g);
    g->prepared = status == ACHAR_OK;
    return status;
}

uint64_t achar__graph_first_change(const achar_graph *g, achar_value target)
{
    if (kind_is_object(achar_kind(target)))
        return value_object(target)->first_change;
    if (kind_is_small(achar_kind(target)))
        return NO_ENTRY;
    return achar__table_get(&g->changes, target.meta, target.as.word);
}
