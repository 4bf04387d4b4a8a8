/* graph.c - making values, filling containers, marking references; graph.h has the picture. */
#include "codec/graph.h"

#include <string.h>

#include "codec/opcodes.h"

/* Behind the struct comes the arena's first storage: small graphs are one block of memory. */
enum {
    STORAGE_LEAST_NBYTES = SIZE_OR_TINY(256, 8),
    STORAGE_MOST_NBYTES = SIZE_OR_TINY(8 << 10, 64),
    STORAGE_PER_INPUT = 4,
    LOG_FIRST_COUNT = SIZE_OR_TINY(16, 2),
};

int achar__graph_new(const achar_allocator *allocator, uint64_t limit_nbytes, uint64_t held_nbytes,
                     size_t input_nbytes, achar_graph **graph)
{
    memory mem;
    achar__memory_init(&mem, allocator, limit_nbytes);
    mem.used_nbytes = held_nbytes;
    size_t storage_nbytes = STORAGE_MOST_NBYTES;
    if (input_nbytes < (STORAGE_MOST_NBYTES - STORAGE_LEAST_NBYTES) / STORAGE_PER_INPUT)
        storage_nbytes = STORAGE_LEAST_NBYTES + (input_nbytes * STORAGE_PER_INPUT & ~(size_t)7);
    achar_graph *g = achar__memory_take(&mem, sizeof *g + storage_nbytes);
    if (g == NULL && mem.limited) {
        storage_nbytes = 0;
        g = achar__memory_take(&mem, sizeof *g);
    }
    *graph = g;
    if (g == NULL)
        return achar__memory_status(&mem);
    *g = (achar_graph){.mem = mem, .nbytes = sizeof *g + storage_nbytes};
    achar__arena_init(&g->arena, &g->mem, g + 1, storage_nbytes);
    achar__table_init(&g->changes, &g->mem);
    achar__table_init(&g->kept, &g->mem);
    return ACHAR_OK;
}

void achar_graph_free(achar_graph *g)
{
    if (g == NULL)
        return;
    if (g->prepared || g->chain != NULL)
        achar__graph_unprepare(g);
    achar__arena_free(&g->arena);
    achar__table_free(&g->kept);
    achar__memory_give(&g->mem, g->shared_bits, g->shared_nbytes);
    achar__memory_give(&g->mem, g->log, g->log_capacity * sizeof *g->log);
    achar__memory_give(&g->mem, g->input, g->input_nbytes);
    memory mem = g->mem;
    achar__memory_give(&mem, g, g->nbytes);
}

/* ---- numbers and spans ---- */

cell achar__float_new(achar_graph *g, double real)
{
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    uint8_t *at = achar__arena_take(&g->arena, 8);
    if (at == NULL)
        return CELL_NOTHING;
    for (int i = 7; i >= 0; i--, bits >>= 8)
        at[i] = (uint8_t)bits;
    return cell_make(ACHAR_FLOAT, 0, at);
}

cell achar__int_new(achar_graph *g, int64_t integer)
{
    if (cell_int_is_short(integer))
        return cell_int(integer);
    uint8_t *at = achar__arena_take(&g->arena, 16);
    if (at == NULL)
        return CELL_NOTHING;
    at[7] = 8; /* its size in front of it */
    uint64_t bits = (uint64_t)integer;
    for (int i = 0; i < 8; i++, bits >>= 8)
        at[8 + i] = (uint8_t)bits;
    return cell_make(ACHAR_INT, FORM_COUNTED1, at + 8);
}

cell achar__span_new(achar_graph *g, int kind, const void *data, size_t nbytes)
{
    span_box *box = achar__arena_take(&g->arena, sizeof *box);
    if (box == NULL)
        return CELL_NOTHING;
    *box = (span_box){.data = data, .nbytes = nbytes, .referenced = g->reading};
    return cell_make(kind, FORM_BOXED, box);
}

cell achar__graph_cell(achar_graph *g, achar_value value)
{
    switch (achar_kind(value)) {
    case ACHAR_INT:
        return achar__int_new(g, value.as.integer);
    case ACHAR_FLOAT:
        return achar__float_new(g, value.as.real);
    default:
        return value_cell(value);
    }
}

/* ---- the log ---- */

static log_entry *log_append(achar_graph *g, int effect, int opcode, uint64_t offset)
{
    if (g->log_count == g->log_capacity) {
        size_t capacity = g->log_capacity < LOG_FIRST_COUNT
                              ? LOG_FIRST_COUNT
                              : achar__arena_growth(&g->arena, g->log_capacity);
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
                         .kind = (uint8_t)effect};
    return entry;
}

int achar__log_change(achar_graph *g, int effect, cell target, const cell *cells, size_t count,
                      int opcode, uint64_t offset)
{
    change_values *copy = NULL;
    if (effect != ACHAR_EFFECT_BUILD) {
        copy = achar__arena_take(&g->arena, sizeof *copy + count * sizeof *cells);
        if (copy == NULL)
            return achar__memory_status(&g->mem);
        copy->count = count;
        memcpy(copy->values, cells, count * sizeof *cells);
    }
    log_entry *entry = log_append(g, effect, opcode, offset);
    if (entry == NULL)
        return achar__memory_status(&g->mem);
    entry->target = target;
    if (effect == ACHAR_EFFECT_BUILD)
        entry->state = cells[0];
    else
        entry->change = copy;
    return ACHAR_OK;
}

/*
 * Sees to it that this filling is in the log if it has to be. Not if nothing had happened before
 * the container was made, or between then and now. Of a container that is not empty the latter is
 * not known; an entry too many does no harm. Plain values share the entry of those before them.
 */
static int log_fill(achar_graph *g, cell target, const cell *cells, size_t count, int opcode,
                    uint64_t offset)
{
    container *c = cell_container(target);
    if (g->log_count == 0 || (!c->filled && c->where == g->log_count))
        return ACHAR_OK;
    log_entry *last = &g->log[g->log_count - 1];
    if (last->kind == ACHAR_EFFECT_FILL && last->target.bits == target.bits &&
        cells_are_plain(cells, count)) {
        last->fill->count += count;
        return ACHAR_OK;
    }
    fill_range *fill = achar__arena_take(&g->arena, sizeof *fill);
    log_entry *entry = fill == NULL ? NULL : log_append(g, ACHAR_EFFECT_FILL, opcode, offset);
    if (entry == NULL)
        return achar__memory_status(&g->mem);
    *fill = (fill_range){c->filled ? container_items(c)->count : 0, count};
    entry->target = target;
    entry->fill = fill;
    c->logged = true;
    return ACHAR_OK;
}

/* ---- containers ---- */

/* Whether it can matter when items came together: not before the first effect. */
static bool is_timed(const achar_graph *g, const cell *items, size_t count)
{
    return g->log_count != 0 && !cells_are_plain(items, count);
}

/* The words of an item_block in front of its items: the count, and 'born' if it is timed. */
static size_t front_words(bool timed)
{
    return timed ? 2 : 1;
}

/*
 * Room for 'count' more cells behind the items. The first filling is usually all there will be, so
 * it gets what it asks for. Words are counted with those in front.
 */
static int reserve(achar_graph *g, container *c, size_t count, bool timed)
{
    bool empty = !c->filled;
    timed = empty ? timed : c->timed;
    size_t front = front_words(timed);
    item_block *block = empty ? NULL : container_items(c);
    size_t used = empty ? 0 : block->count;
    uint64_t *old = empty ? NULL : (uint64_t *)block - (front - 1);
    bool large = !empty && block->spare == ITEMS_SPARE_LARGE;
    size_t capacity = empty   ? 0
                      : large ? achar__arena_block_capacity(old) / sizeof(cell)
                              : front + used + block->spare;
    if (count > SIZE_MAX / 4 / sizeof(cell) - used - front)
        return ACHAR_E_NOMEM;
    size_t needed = front + used + count;
    if (!empty && needed <= capacity)
        return ACHAR_OK;
    size_t wanted = large ? achar__arena_growth(&g->arena, capacity) : capacity * 2;
    if (wanted < needed)
        wanted = needed;
    bool moves = true;
    uint64_t *words;
    if (wanted > ITEMS_SMALL_COUNT) {
        words = achar__arena_block_resize(&g->arena, large ? old : NULL, wanted * sizeof *words);
        moves = !large;
    } else if (!empty && achar__arena_extend(&g->arena, old, capacity * sizeof *words,
                                             wanted * sizeof *words)) {
        words = old;
        moves = false;
    } else {
        words = achar__arena_take(&g->arena, wanted * sizeof *words);
    }
    if (words == NULL)
        return achar__memory_status(&g->mem);
    if (!empty && moves)
        memcpy(words, old, (front + used) * sizeof *words);
    if (empty && timed)
        words[0] = c->where; /* born */
    block = (item_block *)(words + front - 1);
    block->count = used;
    block->spare = wanted > ITEMS_SMALL_COUNT ? ITEMS_SPARE_LARGE : wanted - front - used;
    c->timed = timed;
    c->filled = true;
    c->where = (uint64_t)(uintptr_t)block;
    return ACHAR_OK;
}

int achar__container_fill(achar_graph *g, cell target, const cell *cells, size_t count, int opcode,
                          uint64_t offset)
{
    container *c = cell_container(target);
    if (count == 0)
        return ACHAR_OK;
    bool together = !c->filled && c->where == g->log_count; /* with making it */
    int status = log_fill(g, target, cells, count, opcode, offset);
    if (status == ACHAR_OK && (!c->filled || container_items(c)->spare < count ||
                               container_items(c)->spare == ITEMS_SPARE_LARGE))
        status = reserve(g, c, count, together && is_timed(g, cells, count));
    if (status != ACHAR_OK)
        return status;
    item_block *block = container_items(c);
    memcpy(block->items + block->count, cells, count * sizeof *cells);
    block->count += count;
    if (block->spare != ITEMS_SPARE_LARGE)
        block->spare -= count;
    return ACHAR_OK;
}

cell achar__frozen_new(achar_graph *g, int kind, const cell *items, size_t count)
{
    if (count == 0 && kind == ACHAR_TUPLE)
        return cell_make(kind, 0, NULL);
    if (count > SIZE_MAX / 4 / sizeof *items)
        return CELL_NOTHING;
    bool timed = is_timed(g, items, count);
    uint64_t *words = achar__arena_take(&g->arena, (timed + 1 + count) * sizeof *words);
    if (words == NULL)
        return CELL_NOTHING;
    if (timed)
        *words++ = g->log_count;
    bool unhashable = false;
    for (size_t i = 0; i < count; i++)
        unhashable |= cell_is_unhashable(items[i]);
    frozen *f = (frozen *)words;
    *f = (frozen){
        .count = count, .referenced = g->reading, .timed = timed, .unhashable = unhashable};
    if (count != 0)
        memcpy(f->items, items, count * sizeof *items);
    return cell_make(kind, 0, f);
}

/* ---- objects ---- */

cell achar__object_new(achar_graph *g, int kind, int effect, int opcode, uint64_t offset,
                       const cell *operands, size_t operands_count, size_t raw_count)
{
    object *o =
        achar__arena_take(&g->arena, sizeof *o + (operands_count + raw_count) * sizeof *operands);
    if (o == NULL)
        return CELL_NOTHING;
    *o = (object){.opcode = (uint8_t)opcode,
                  .operands_count = operands_count & 3,
                  .referenced = g->reading,
                  .entry = effect < 0 ? OBJECT_NO_ENTRY : g->log_count & OBJECT_NO_ENTRY};
    for (size_t i = 0; i < operands_count; i++)
        o->operands[i] = operands[i];
    for (size_t i = 0; i < raw_count; i++)
        o->operands[operands_count + i] = CELL_NOTHING;
    cell c = cell_make(kind, 0, o);
    if (effect >= 0) {
        log_entry *entry = log_append(g, effect, opcode, offset);
        if (entry == NULL)
            return CELL_NOTHING;
        entry->target = c;
    }
    return c;
}

/* ---- references ---- */

static int share_span(achar_graph *g, cell c)
{
    if (cell_form_of(c) == FORM_BOXED) {
        ((span_box *)cell_pointer(c))->shared = 1;
        return ACHAR_OK;
    }
    size_t at = (size_t)((const uint8_t *)cell_pointer(c) - g->data);
    if (at / 8 >= g->shared_nbytes) {
        size_t nbytes = at / 8 + at / 16 + 64;
        uint8_t *bits = achar__memory_resize(&g->mem, g->shared_bits, g->shared_nbytes, nbytes);
        if (bits == NULL)
            return achar__memory_status(&g->mem);
        memset(bits + g->shared_nbytes, 0, nbytes - g->shared_nbytes);
        g->shared_bits = bits;
        g->shared_nbytes = nbytes;
    }
    g->shared_bits[at / 8] |= (uint8_t)(1 << at % 8);
    return ACHAR_OK;
}

int achar__graph_share(achar_graph *g, cell c)
{
    int kind = cell_kind(c);
    if (kind_is_span(kind))
        return share_span(g, c);
    if (kind_is_container(kind))
        cell_container(c)->shared = 1;
    else if (kind_is_frozen(kind) && cell_frozen(c) != NULL)
        cell_frozen(c)->shared = 1;
    else if (kind_is_object(kind))
        cell_object(c)->shared = 1;
    return ACHAR_OK;
}

int achar__graph_refer(achar_graph *g, cell c)
{
    int kind = cell_kind(c);
    bool first = false;
    if (kind_is_span(kind) && cell_form_of(c) == FORM_BOXED) {
        span_box *box = cell_pointer(c);
        first = !box->referenced;
        box->referenced = 1;
    } else if (kind_is_container(kind)) {
        first = !cell_container(c)->referenced;
        cell_container(c)->referenced = 1;
    } else if (kind_is_frozen(kind) && cell_frozen(c) != NULL) {
        first = !cell_frozen(c)->referenced;
        cell_frozen(c)->referenced = 1;
    } else if (kind_is_object(kind)) {
        first = !cell_object(c)->referenced;
        cell_object(c)->referenced = 1;
    }
    return first ? ACHAR_OK : achar__graph_share(g, c);
}
