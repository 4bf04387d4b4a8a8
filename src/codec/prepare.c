/*
 * prepare.c - what a graph knows about itself only when someone asks: which changes in the log
 * belong to which target. graph->chain has a word for each entry: of one that makes an object, the
 * first change of that object; of a change, the next of the same target.
 */
#include <string.h>

#include "codec/graph.h"

void achar__graph_unprepare(achar_graph *g)
{
    if (g->unpacked != NULL) {
        for (size_t i = 0; i < g->chain_count; i++) {
            size_t count;
            log_values(&g->log[i], &count);
            achar__memory_give(&g->mem, g->unpacked[i], count * sizeof **g->unpacked);
        }
        achar__memory_give(&g->mem, g->unpacked, g->chain_count * sizeof *g->unpacked);
        g->unpacked = NULL;
    }
    achar__memory_give(&g->mem, g->chain, g->chain_count * sizeof *g->chain);
    g->chain = NULL;
    g->chain_count = 0;
    achar__table_free(&g->changes);
    g->prepared = false;
}

int achar__graph_prepare(achar_graph *g)
{
    if (g->prepared)
        return ACHAR_OK;
    achar__graph_unprepare(g);
    if (g->log_count == 0) {
        g->prepared = true;
        return ACHAR_OK;
    }
    g->chain = achar__memory_take(&g->mem, g->log_count * sizeof *g->chain);
    if (g->chain == NULL)
        return achar__memory_status(&g->mem);
    g->chain_count = g->log_count;
    for (size_t i = 0; i < g->log_count; i++)
        g->chain[i] = NO_ENTRY;
    /* From the last entry to the first, so that each chain ends up in order. */
    for (size_t i = g->log_count; i-- > 0;) {
        const log_entry *entry = &g->log[i];
        int kind = cell_kind(entry->target);
        if (entry->kind < ACHAR_EFFECT_BUILD || kind_is_small(kind))
            continue;
        if (kind_is_object(kind) && cell_object(entry->target)->entry != OBJECT_NO_ENTRY) {
            uint64_t *first = &g->chain[cell_object(entry->target)->entry];
            g->chain[i] = *first;
            *first = i;
            continue;
        }
        bool added;
        uint64_t *first = achar__table_put(&g->changes, entry->target.bits, i, &added);
        if (first == NULL)
            return achar__memory_status(&g->mem);
        g->chain[i] = added ? NO_ENTRY : *first;
        *first = i;
    }
    g->prepared = true;
    return ACHAR_OK;
}
