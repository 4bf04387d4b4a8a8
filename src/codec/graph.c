/* graph.c - making values, filling containers, keeping the log; graph.h has the picture. */
#include "codec/graph.h"

#include <string.h>

#include "codec/opcodes.h"

achar_graph *achar__graph_new(const achar_allocator *allocator, uint64_t limit_nbytes)
{
    memory mem;
    achar__memory_init(&mem, allocator, limit_nbytes);
    achar_graph *g = achar__memory_take(&mem, sizeof *g);
    if (g == NULL)
        return NULL;
    *g = (achar_graph){.mem = mem};
    achar__arena_init(&g->arena, &g->mem);
    achar__table_init(&g->shared, &g->mem);
    achar__table_init(&g->changes, &g->mem);
    achar__table_init(&g->kept, &g->mem);
    return g;
}

void achar_graph_free(achar_graph *g)
{
    if (g == NULL)
        return;
    achar__arena_free(&g->arena);
    achar__table_free(&g->shared);
    achar__table_free(&g->changes);
    achar__table_free(&g->kept);
    achar__memory_give(&g->mem, g->log, g->log_capacity * sizeof *g->log);
    achar__memory_give(&g->mem, g->input, g->input_nbytes);
    memory mem = g->mem;
    achar__memory_give(&mem, g, sizeof *g);
}

achar_value achar__container_new(achar_graph *g, int kind)
{
    container *c = achar__arena_take(&g->arena, sizeof *c);
    if (c == NULL)
        return VALUE_NOTHING;
    *c = (container){.born = g->log_count};
    return value_make(kind, 0, c);
}

/* ---- the log ---- */

static log_entry *log_append(achar_graph *g, int effect, int opcode, uint64_t offset)
{
    if (g->log_count == g->log_capacity) {
        size_t capacity = g->log_capacity == 0 ? 16 : g->log_capacity + g->log_capacity / 2;
        log_entry *log = achar__memory_resize(&g->mem, g->log, g->log_capacity * sizeof *log,
                                              capacity * sizeof *log);
        if (log == NULL)
            return NULL;
        g->log = log;
        g->log_capacity = capacity;
    }
    log_entry *entry = &g->log[g->log_count++];
    *entry = (log_entry){.offset = offset & (((uint64_t)1 << 48) - 1),
                         .opcode = (uint8_t)opcode,
                         .kind = (uint8_t)effect,
                         .next = NO_ENTRY};
    return entry;
}

int achar__log_change(achar_graph *g, int effect, achar_value target, const achar_value *values,
                      size_t count, int opcode, uint64_t offset)
{
    achar_value *copy = achar__arena_take(&g->arena, count * sizeof *copy);
    log_entry *entry = copy == NULL ? NULL : log_append(g, effect, opcode, offset);
    if (entry == NULL)
        return achar__memory_status(&g->mem);
    if (count != 0)
        memcpy(copy, values, count * sizeof *copy);
    entry->target = target;
    entry->values = copy;
    entry->count = count;
    return ACHAR_OK;
}

/*
 * Sees to it that this filling is in the log if it has to be. Not if nothing had happened before
 * the container was made, or between then and now. Of a container that is not empty the latter is
 * not known; an entry too many does no harm. Plain values share the entry of those before them.
 */
static int log_fill(achar_graph *g, achar_value target, const achar_value *values, size_t count,
                    int opcode, uint64_t offset)
{
    const container *c = value_container(target);
    if (g->log_count == 0 || (c->count == 0 && c->born == g->log_count))
        return ACHAR_OK;
    log_entry *last = &g->log[g->log_count - 1];
    if (last->kind == ACHAR_EFFECT_FILL && last->target.as.pointer == c &&
        values_all_plain(values, count)) {
        last->count += count;
        return ACHAR_OK;
    }
    log_entry *entry = log_append(g, ACHAR_EFFECT_FILL, opcode, offset);
    if (entry == NULL)
        return achar__memory_status(&g->mem);
    entry->target = target;
    entry->start = c->count;
    entry->count = count;
    return ACHAR_OK;
}

/* ---- containers ---- */

/* Whether it can matter when items came together: not before the first effect. */
static bool is_timed(const achar_graph *g, const achar_value *items, size_t count)
{
    return g->log_count != 0 && !values_all_plain(items, count);
}

/*
 * Room for 'count' more values behind the items. The first filling is usually all there will be, so
 * it gets what it asks for. Slots are counted with the one for 'born'.
 */
static int container_reserve(achar_graph *g, container *c, size_t count, bool timed)
{
    bool empty = c->count == 0;
    bool large = c->spare == CONTAINER_SPARE_LARGE;
    size_t front = empty ? timed : c->timed;
    achar_value *old = empty ? NULL : c->items - front;
    size_t used = empty ? 0 : front + c->count;
    size_t capacity = large ? achar__arena_block_capacity(old) / sizeof *old : used + c->spare;
    if (count > SIZE_MAX / 4 / sizeof *old - c->count - front)
        return ACHAR_E_NOMEM;
    size_t needed = front + c->count + count;
    if (!empty && needed <= capacity)
        return ACHAR_OK;
    size_t wanted = large ? capacity + capacity / 4 : capacity * 2;
    if (wanted < needed)
        wanted = needed;
    bool moves = true;
    achar_value *slots;
    if (wanted > CONTAINER_SMALL_COUNT) {
        slots = achar__arena_block_resize(&g->arena, large ? old : NULL, wanted * sizeof *slots);
        moves = !large;
    } else if (!empty && achar__arena_extend(&g->arena, old, capacity * sizeof *slots,
                                             wanted * sizeof *slots)) {
        slots = old;
        moves = false;
    } else {
        slots = achar__arena_take(&g->arena, wanted * sizeof *slots);
    }
    if (slots == NULL)
        return achar__memory_status(&g->mem);
    if (!empty && moves)
        memcpy(slots, old, used * sizeof *slots);
    if (empty && timed)
        slots[0] = (achar_value){.as = {.word = c->born}};
    c->timed = front;
    c->items = slots + front;
    c->spare = wanted > CONTAINER_SMALL_COUNT ? CONTAINER_SPARE_LARGE : wanted - front - c->count;
    return ACHAR_OK;
}

int achar__container_fill(achar_graph *g, achar_value target, const achar_value *values,
                          size_t count, int opcode, uint64_t offset)
{
    container *c = value_container(target);
    if (count == 0)
        return ACHAR_OK;
    bool together = c->count == 0 && c->born == g->log_count; /* with making it */
    int status = log_fill(g, target, values, count, opcode, offset);
    if (status == ACHAR_OK &&
        (c->count == 0 || c->spare < count || c->spare == CONTAINER_SPARE_LARGE))
        status = container_reserve(g, c, count, together && is_timed(g, values, count));
    if (status != ACHAR_OK)
        return status;
    memcpy(c->items + c->count, values, count * sizeof *values);
    c->count += count;
    if (c->spare != CONTAINER_SPARE_LARGE)
        c->spare -= count;
    return ACHAR_OK;
}

achar_value achar__frozen_new(achar_graph *g, int kind, const achar_value *items, size_t count)
{
    if (count == 0 && kind == ACHAR_TUPLE)
        return value_make(kind, 0, NULL);
    if (count > SIZE_MAX / 2 / sizeof *items)
        return VALUE_NOTHING;
    bool timed = is_timed(g, items, count);
    /* One slot at least: the address is an empty frozenset's identity. */
    size_t slots_count = timed + count + (count == 0);
    achar_value *slots = achar__arena_take(&g->arena, slots_count * sizeof *slots);
    if (slots == NULL)
        return VALUE_NOTHING;
    if (timed)
        slots[0] = (achar_value){.as = {.word = g->log_count}};
    if (count != 0)
        memcpy(slots + timed, items, count * sizeof *slots);
    achar_value value = value_make(kind, count, slots + timed);
    value.meta |= timed ? VALUE_TIMED : 0;
    return value;
}

/* ---- objects ---- */

achar_value achar__object_new(achar_graph *g, int kind, int effect, int opcode, uint64_t offset,
                              const achar_value *operands, size_t operands_count)
{
    object *o = achar__arena_take(&g->arena, sizeof *o + operands_count * sizeof *operands);
    if (o == NULL)
        return VALUE_NOTHING;
    achar_value value = value_make(kind, 0, o);
    *o = (object){.opcode = (uint8_t)opcode,
                  .operands_count = (uint32_t)operands_count,
                  .entry = effect < 0 ? NO_ENTRY : g->log_count,
                  .first_change = NO_ENTRY};
    if (operands_count != 0)
        memcpy(o->operands, operands, operands_count * sizeof *operands);
    if (effect >= 0) {
        log_entry *entry = log_append(g, effect, opcode, offset);
        if (entry == NULL)
            return VALUE_NOTHING;
        entry->target = value;
    }
    return value;
}

/* ---- what is shared ---- */

int achar__graph_share(achar_graph *g, achar_value value)
{
    int kind = achar_kind(value);
    if (kind_is_small(kind))
        return ACHAR_OK;
    if (kind_is_container(kind)) {
        value_container(value)->shared = 1;
        return ACHAR_OK;
    }
    if (kind_is_object(kind)) {
        value_object(value)->shared = 1;
        return ACHAR_OK;
    }
    if (achar__table_put(&g->shared, value.meta, value.as.word, 0, NULL) == NULL)
        return achar__memory_status(&g->mem);
    return ACHAR_OK;
}

bool achar__graph_is_shared(const achar_graph *g, achar_value value)
{
    int kind = achar_kind(value);
    if (kind_is_small(kind))
        return false;
    if (kind_is_container(kind))
        return value_container(value)->shared;
    if (kind_is_object(kind))
        return value_object(value)->shared;
    return achar__table_find(&g->shared, value.meta, value.as.word) != NULL;
}
