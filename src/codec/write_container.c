/*
 * write_container.c - lists, dicts, sets, tuples and frozensets by steps: their items in batches,
 * what changes them later, and how those wait that may contain themselves (write.c says why).
 */
#include "codec/writing.h"

/* ---- beginning ---- */

/* How many of a container's items it has before its first logged filling. */
static size_t first_count(const writer *w, cell value, uint64_t change, size_t count)
{
    for (; change != NO_ENTRY; change = graph_next_change(w->graph, change))
        if (w->graph->log[change].kind == ACHAR_EFFECT_FILL)
            return w->graph->log[change].fill->start;
    return count;
}

int achar__write_container(writer *w, cell value, uint64_t limit, bool remember)
{
    output *o = &w->o;
    int kind = cell_kind(value);
    if (kind == ACHAR_LIST) {
        if (o->protocol == 0)
            emit_opcode(&o->out, OP_MARK);
        emit_opcode(&o->out, o->protocol == 0 ? OP_LIST : OP_EMPTY_LIST);
    } else if (kind == ACHAR_DICT) {
        if (o->protocol == 0)
            emit_opcode(&o->out, OP_MARK);
        emit_opcode(&o->out, o->protocol == 0 ? OP_DICT : OP_EMPTY_DICT);
    } else {
        emit_opcode(&o->out, OP_EMPTY_SET);
    }

    size_t count;
    const cell *items = cell_items(value, &count);
    uint64_t change = graph_first_change(w->graph, value);
    if (count == 0 && change == NO_ENTRY && !remember)
        return ACHAR_OK;
    size_t first = first_count(w, value, change, count);
    bool waits = writer_scope(w)->open_count != 0 && cell_born(value) >= limit &&
                 !cells_are_plain(items, first);
    if (remember || waits || achar__write_has_later_change(w, change, limit)) {
        int status = achar__output_memoize(o, value);
        if (status != ACHAR_OK)
            return status;
        w->forced |= !graph_is_shared(w->graph, value);
    }
    if (!waits)
        return achar__writer_push(
            w, (step){.kind = STEP_CONTENTS, .value = value, .limit = limit, .change = change});
    int status = achar__writer_grow(w, (void **)&w->pending, NULL, w->pending_count,
                                    &w->pending_capacity, sizeof *w->pending);
    if (status != ACHAR_OK)
        return status;
    w->pending[w->pending_count++] = value;
    *achar__table_find(&o->memo, value.bits) |= MEMO_PENDING;
    return ACHAR_OK; /* its changes come after the tuple in the log as well */
}

/* A tuple or frozenset; below protocol 4 also a set: what must be complete when it is made. */
int achar__write_frozen(writer *w, cell value, uint64_t limit, bool remember)
{
    output *o = &w->o;
    int kind = cell_kind(value);
    size_t count;
    const cell *items = cell_items(value, &count);
    uint64_t limit_of_items = limit;
    if (kind == ACHAR_TUPLE && count == 0) {
        achar__output_tuple_begin(o, 0);
        achar__output_tuple_end(o, 0);
        return ACHAR_OK;
    }
    if (cell_born(value) < limit)
        limit_of_items = cell_born(value);
    if (kind == ACHAR_SET) {
        /* All its fillings happen when it is made. Whoever would have seen it before finds it
         * open. */
        for (uint64_t change = graph_first_change(w->graph, value); change != NO_ENTRY;
             change = graph_next_change(w->graph, change)) {
            if (w->graph->log[change].kind != ACHAR_EFFECT_FILL || change >= limit)
                return writer_unsupported(w, "a set that is changed after a call has seen it");
            limit_of_items = change;
            if (achar__table_put(&w->absorbed, change, 0, NULL) == NULL)
                return achar__memory_status(o->mem);
        }
    }
    if (remember) {
        uint64_t *entry = achar__table_put(&o->memo, value.bits, MEMO_OPEN, NULL);
        if (entry == NULL)
            return achar__memory_status(o->mem);
        w->forced |= !graph_is_shared(w->graph, value);
        writer_scope(w)->open_count++;
    }
    if (kind == ACHAR_TUPLE) {
        achar__output_tuple_begin(o, count);
    } else if (o->protocol >= 4) {
        emit_opcode(&o->out, OP_MARK);
    } else { /* set([…]) */
        achar__output_import(o, "builtins", kind == ACHAR_SET ? "set" : "frozenset");
        achar__output_tuple_begin(o, 1);
        emit_opcode(&o->out, OP_MARK);
    }
    return achar__writer_push(w, (step){.kind = STEP_FROZEN,
                                        .value = value,
                                        .items = items,
                                        .count = count,
                                        .limit = limit_of_items,
                                        .remember = remember});
}

/* ---- items ---- */

static void open_batch(writer *w, step *s)
{
    size_t unit = s->opcode == OP_SETITEMS ? 2 : 1;
    size_t left = s->count - s->index;
    size_t most = w->o.protocol == 0 ? unit : s->whole ? left : BATCH_COUNT * unit;
    /* As C Python does: one item goes without MARK only if it is the container's only one. */
    s->single = (s->opcode == OP_BUILD || w->o.protocol == 0 || (left == unit && s->index == 0)) &&
                s->opcode != OP_ADDITEMS;
    s->batch_end = s->index + (left < most ? left : most);
    s->in_batch = true;
    if (!s->single)
        emit_opcode(&w->o.out, OP_MARK);
}

static void close_batch(writer *w, step *s)
{
    uint8_t opcode = s->opcode;
    if (s->single && opcode == OP_APPENDS)
        opcode = OP_APPEND;
    else if (s->single && opcode == OP_SETITEMS)
        opcode = OP_SETITEM;
    emit_opcode(&w->o.out, opcode);
    writer_done(w, s->entry);
    s->in_batch = false;
}

int achar__write_run_items(writer *w)
{
    int status = ACHAR_OK;
    for (;;) {
        step *s = writer_top(w);
        if (s->in_batch && s->index == s->batch_end) {
            if (achar__write_catch_up(w, s->entry, &status))
                return status;
            close_batch(w, s);
        }
        if (s->index == s->count)
            return writer_pop(w);
        if (!s->in_batch)
            open_batch(w, s);
        output_boundary(&w->o);
        s->index += achar__output_small_run(&w->o, s->items + s->index, s->batch_end - s->index);
        if (s->index == s->batch_end)
            continue;
        size_t steps_count = w->steps_count;
        status = achar__write_begin(w, s->items[s->index++], s->limit, false);
        if (status != ACHAR_OK || w->steps_count != steps_count)
            return status;
    }
}

uint8_t achar__write_change_opcode(const log_entry *entry)
{
    switch (entry->kind) {
    case ACHAR_EFFECT_FILL:
        return filling_opcode(cell_kind(entry->target));
    case ACHAR_EFFECT_BUILD:
        return OP_BUILD;
    case ACHAR_EFFECT_APPEND:
        return OP_APPENDS;
    case ACHAR_EFFECT_SET:
        return OP_SETITEMS;
    default:
        return OP_ADDITEMS;
    }
}

/* A step for what one entry puts into the target, which lies on the stack. */
int achar__write_push_change(writer *w, uint64_t index)
{
    const log_entry *entry = &w->graph->log[index];
    step s = {.kind = STEP_ITEMS,
              .entry = index,
              .limit = index,
              .opens_scope = true,
              .whole = true,
              .opcode = achar__write_change_opcode(entry)};
    s.items = log_values(entry, &s.count);
    if (entry->kind == ACHAR_EFFECT_ADD && w->o.protocol < 4)
        return writer_unsupported(w, "adding to a set that Python makes");
    return achar__writer_push(w, s);
}

/* What was there when it was made; then its changes. */
int achar__write_run_contents(writer *w)
{
    step *s = writer_top(w);
    s->kind = STEP_CHANGES;
    size_t count;
    const cell *items = cell_items(s->value, &count);
    uint64_t change = w->graph->log_count == 0 ? NO_ENTRY : graph_first_change(w->graph, s->value);
    count = first_count(w, s->value, change, count);
    if (count == 0)
        return ACHAR_OK;
    uint64_t born = cell_born(s->value);
    step items_step = {.kind = STEP_ITEMS,
                       .items = items,
                       .count = count,
                       .entry = NO_ENTRY,
                       .limit = born < s->limit ? born : s->limit,
                       .opcode = filling_opcode(cell_kind(s->value))};
    if (s->change == NO_ENTRY)
        writer_pop(w); /* no changes: this step's place is free */
    return achar__writer_push(w, items_step);
}

int achar__write_run_changes(writer *w)
{
    step *s = writer_top(w);
    uint64_t change = s->change;
    if (s->remember) { /* an object, now that it is there */
        s->remember = false;
        w->forced |= !graph_is_shared(w->graph, s->value);
        int status = achar__output_memoize(&w->o, s->value);
        if (status != ACHAR_OK)
            return status;
    }
    /* Statements may have been faster. */
    while (change != NO_ENTRY && change < w->next)
        change = graph_next_change(w->graph, change);
    if (change == NO_ENTRY || change >= s->limit)
        return writer_pop(w);
    s->change = graph_next_change(w->graph, change);
    return achar__write_push_change(w, change);
}

/* ---- tuples, frozensets ---- */

enum { FROZEN_ITEMS, FROZEN_PENDING };

/* NO_ENTRY if there is none. */
static uint64_t last_change(const writer *w, cell value)
{
    uint64_t last = NO_ENTRY;
    for (uint64_t change = graph_first_change(w->graph, value); change != NO_ENTRY;
         change = graph_next_change(w->graph, change))
        last = change;
    return last;
}

static void end_frozen(writer *w, const step *s)
{
    output *o = &w->o;
    if (cell_kind(s->value) == ACHAR_TUPLE) {
        achar__output_tuple_end(o, s->count);
    } else if (o->protocol >= 4) {
        emit_opcode(&o->out, OP_FROZENSET);
    } else {
        emit_opcode(&o->out, OP_LIST);
        achar__output_tuple_end(o, 1);
        emit_opcode(&o->out, OP_REDUCE);
    }
}

int achar__write_run_frozen(writer *w)
{
    int status = ACHAR_OK;
    step *s = writer_top(w);
    while (s->stage == FROZEN_ITEMS && s->index < s->count) {
        size_t written = achar__output_small_run(&w->o, s->items + s->index, s->count - s->index);
        if (written != 0) {
            s->index += written;
            output_boundary(&w->o);
            continue;
        }
        size_t steps_count = w->steps_count;
        status = achar__write_begin(w, s->items[s->index++], s->limit, false);
        if (status != ACHAR_OK || w->steps_count != steps_count)
            return status;
    }
    if (s->stage == FROZEN_ITEMS) {
        if (cell_kind(s->value) == ACHAR_SET &&
            achar__write_catch_up(w, last_change(w, s->value), &status))
            return status;
        end_frozen(w, s);
        if (!s->remember)
            return writer_pop(w);
        achar__table_find(&w->o.memo, s->value.bits)[0] = 0;
        status = achar__output_memoize(&w->o, s->value);
        if (status != ACHAR_OK || --writer_scope(w)->open_count != 0) {
            writer_pop(w);
            return status;
        }
        s->stage = FROZEN_PENDING;
    }
    while (w->pending_count > writer_scope(w)->pending_start) {
        cell value = w->pending[--w->pending_count];
        uint64_t *known = achar__table_find(&w->o.memo, value.bits);
        if (*known & MEMO_PENDING) {
            *known &= ~MEMO_PENDING;
            return achar__writer_push(w,
                                      (step){.kind = STEP_FILL, .value = value, .limit = s->limit});
        }
    }
    return writer_pop(w);
}
