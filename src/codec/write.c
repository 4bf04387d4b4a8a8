/*
 * write.c - the writer: a walk over the graph that puts opcodes out.
 *
 * The walk has a stack of steps instead of recursion. A step is a value some of whose parts are
 * still to be written, and where it is in that.
 *
 * Order. What loading does to the world is the log of effects, and the result must do the same
 * things in the same order, or a call might see a list before or after someone filled it. A walk
 * in depth meets the entries of an ordinary pickle exactly in the log's order. Where it does not,
 * two rules keep the order:
 *
 *   - Before an entry's opcode goes out, all earlier entries do (catch_up). An entry whose turn it
 *     is not by structure is written as a statement: its value, MEMOIZE, POP, which may stand
 *     between any two opcodes. So is a call whose result was thrown away.
 *   - While the parts of entry k are written, nothing that comes after k is ('limit'): a list in a
 *     call's arguments gets only the items that it had then. The rest comes later, as a statement.
 *     The same holds for what a container has from the start, and for tuples: what happened to
 *     their items after they came together ('born', graph.h) waits until they are complete.
 *
 * Cycles. A list, dict or set is made empty, memoized, then filled, so it may contain itself. A
 * tuple or frozenset that can be reached from itself cannot: while one that is referred to twice is
 * being written, containers that may lead back to it are only made ('pending'), and filled once it
 * is complete. This keeps the output linear in the graph, where pickling the tuple anew each time
 * it is met, as Python does, is not. The parts of an entry existed before the tuple if the entry may
 * go out within it, so they are a scope of their own, in which such waiting starts afresh.
 */
#include <achar/build.h>
#include <achar/write.h>

#include "base/error.h"
#include "codec/writing.h"

int achar__writer_grow(writer *w, void **array, const void *first, size_t count, size_t *capacity,
                       size_t nbytes)
{
    if (count < *capacity)
        return ACHAR_OK;
    size_t wanted = *capacity == 0 ? SIZE_OR_TINY(16, 1) : *capacity * 2;
    bool is_first = *array == first;
    void *larger = achar__memory_resize(w->o.mem, is_first ? NULL : *array,
                                        is_first ? 0 : *capacity * nbytes, wanted * nbytes);
    if (larger == NULL)
        return achar__memory_status(w->o.mem);
    if (is_first && count != 0)
        memcpy(larger, first, count * nbytes);
    *array = larger;
    *capacity = wanted;
    return ACHAR_OK;
}

int achar__writer_push(writer *w, step s)
{
    int status = achar__writer_grow(w, (void **)&w->steps, w->first_steps, w->steps_count,
                                    &w->steps_capacity, sizeof s);
    if (status == ACHAR_OK && s.opens_scope)
        status = achar__writer_grow(w, (void **)&w->scopes, w->first_scopes, w->scopes_count,
                                    &w->scopes_capacity, sizeof *w->scopes);
    if (status != ACHAR_OK)
        return status;
    if (s.opens_scope)
        w->scopes[w->scopes_count++] = (scope){.pending_start = w->pending_count};
    w->steps[w->steps_count++] = s;
    return ACHAR_OK;
}

/* ---- order ---- */

/* Whether an entry has to wait because others come first; if so, a step for the first of them has
 * been pushed, and the caller returns to be called again. */
bool achar__write_catch_up(writer *w, uint64_t entry, int *status)
{
    while (w->next < entry && achar__table_find(&w->absorbed, w->next) != NULL)
        w->next++;
    if (entry == NO_ENTRY || w->next >= entry)
        return false;
    uint64_t first = w->next;
    if (first + 1 < entry && w->graph->log[first + 1].kind == ACHAR_EFFECT_CALL) {
        /* an import that INST does */
        const object *o = cell_object(w->graph->log[first + 1].target);
        if (achar__write_is_inst(w, o) && cell_object(o->operands[CALL_CALLABLE])->entry == first)
            first++;
    }
    *status =
        achar__writer_push(w, (step){.kind = STEP_STATEMENT, .entry = first, .opens_scope = true});
    return true;
}

/* Whether some change of a value cannot be written right after the value itself. */
bool achar__write_has_later_change(const writer *w, uint64_t change, uint64_t limit)
{
    for (; change != NO_ENTRY; change = graph_next_change(w->graph, change))
        if (change >= limit)
            return true;
    return false;
}

/* ---- beginning a value ---- */

/* Writes a GET if the value is in the memo, and the items that a pending one needs by then. */
static int recall(writer *w, cell value, uint64_t limit, bool *recalled)
{
    *recalled = false;
    if (!w->forced && !graph_is_shared(w->graph, value))
        return ACHAR_OK;
    uint64_t *known = achar__table_find(&w->o.memo, value.bits);
    if (known == NULL)
        return ACHAR_OK;
    if (*known & MEMO_OPEN)
        return writer_unsupported(w,
                                  "a tuple, frozenset or set that is needed before it is complete");
    *recalled = true;
    achar__output_get(&w->o, *known & MEMO_INDEX);
    if (!(*known & MEMO_PENDING) || writer_scope(w)->open_count != 0)
        return ACHAR_OK;
    /* A call, or a statement, is about to see it: it needs its items now. */
    *known &= ~MEMO_PENDING;
    return achar__writer_push(
        w, (step){.kind = STEP_CONTENTS, .value = value, .limit = limit, .change = NO_ENTRY});
}

/*
 * Begins to write a value: all of it, if it has no parts, else its first opcodes and a step for
 * the rest. 'limit' is that of the step that asks; 'remember' has it memoized in any case.
 */
int achar__write_begin(writer *w, cell value, uint64_t limit, bool remember)
{
    int kind = cell_kind(value);
    output_boundary(&w->o);
    if (kind_is_small(kind))
        return achar__output_atom(&w->o, value);

    bool recalled;
    int status = recall(w, value, limit, &recalled);
    if (status != ACHAR_OK || recalled)
        return status;
    if (kind >= ACHAR_TUPLE && kind <= ACHAR_SET && !remember && achar__write_is_plain(w, value))
        return achar__write_plain(w, value);
    remember |= graph_is_shared(w->graph, value);
    if (kind < ACHAR_LIST && w->graph->log_count != 0)
        remember |= graph_first_change(w->graph, value) != NO_ENTRY;
    if (kind_is_span(kind)) {
        status = achar__output_atom(&w->o, value);
        if (status == ACHAR_E_UNSUPPORTED)
            return writer_unsupported(w, "text, bytes or an integer of this size");
        if (status == ACHAR_OK && remember) {
            w->forced |= !graph_is_shared(w->graph, value);
            status = achar__output_memoize(&w->o, value);
        }
        return status;
    }
    if (kind_is_frozen(kind) || (kind == ACHAR_SET && w->o.protocol < 4))
        return achar__write_frozen(w, value, limit, remember);
    if (kind_is_container(kind))
        return achar__write_container(w, value, limit, remember);
    return achar__write_object(w, value, limit, remember);
}

/* ---- statements, the root ---- */

enum { STATEMENT_TARGET, STATEMENT_CHANGE, STATEMENT_POP };

static int run_statement(writer *w)
{
    step *s = writer_top(w);
    const log_entry *entry = &w->graph->log[s->entry];
    bool changes = entry->kind >= ACHAR_EFFECT_BUILD;
    switch (s->stage) {
    case STATEMENT_TARGET:
        s->stage = changes ? STATEMENT_CHANGE : STATEMENT_POP;
        return achar__write_begin(w, entry->target, changes ? s->entry : s->entry + 1, true);
    case STATEMENT_CHANGE:
        s->stage = STATEMENT_POP;
        return achar__write_push_change(w, s->entry);
    default:
        emit_opcode(&w->o.out, OP_POP);
        return writer_pop(w);
    }
}

enum { FILL_CONTENTS, FILL_POP };

static int run_fill(writer *w)
{
    step *s = writer_top(w);
    if (s->stage == FILL_POP) {
        emit_opcode(&w->o.out, OP_POP);
        return writer_pop(w);
    }
    s->stage = FILL_POP;
    achar__output_get(&w->o, achar__table_get(&w->o.memo, s->value.bits));
    return achar__writer_push(
        w, (step){.kind = STEP_CONTENTS, .value = s->value, .limit = s->limit, .change = NO_ENTRY});
}

enum { ROOT_VALUE, ROOT_REST };

static int run_root(writer *w)
{
    step *s = writer_top(w);
    int status = ACHAR_OK;
    if (s->stage == ROOT_VALUE) {
        s->stage = ROOT_REST;
        return achar__write_begin(w, w->graph->root, NO_ENTRY, false);
    }
    if (achar__write_catch_up(w, w->graph->log_count, &status))
        return status;
    achar__output_end(&w->o);
    return writer_pop(w);
}

static int run(writer *w)
{
    static int (*const runners[])(writer *) = {
        [STEP_ROOT] = run_root,
        [STEP_STATEMENT] = run_statement,
        [STEP_FILL] = run_fill,
        [STEP_CONTENTS] = achar__write_run_contents,
        [STEP_CHANGES] = achar__write_run_changes,
        [STEP_ITEMS] = achar__write_run_items,
        [STEP_FROZEN] = achar__write_run_frozen,
        [STEP_OBJECT] = achar__write_run_object,
        [STEP_PLAIN] = achar__write_run_plain,
    };
    int status = achar__writer_push(w, (step){.kind = STEP_ROOT, .opens_scope = true});
    while (status == ACHAR_OK && w->steps_count != 0) {
        status = runners[writer_top(w)->kind](w);
        if (status == ACHAR_OK)
            status = output_status(&w->o);
    }
    return status;
}

/* ---- the public functions ---- */

enum { WRITE_MORE_NBYTES = 512 };

static int write_graph(achar_graph *g, int protocol, const achar_write_options *options,
                       const achar_sink *sink, achar_bytes *bytes, achar_error *error)
{
    static const achar_write_options defaults;
    if (options == NULL)
        options = &defaults;
    int status = achar_graph_status(g);
    if (status != ACHAR_OK)
        return achar__fail(error, status, 0, -1, "the graph could not be built: %s",
                           achar_status_message(status));
    if (protocol < 0 || protocol > PICKLE_PROTOCOL_MAX)
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "there is no protocol %d", protocol);
    if (cell_kind(g->root) == ACHAR_NOTHING)
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "the graph has no root");

    memory mem;
    achar__memory_init(&mem, options->allocator, 0);
    writer w; /* not zeroed as a whole: some of it is room */
    memset(&w, 0, offsetof(writer, first_steps));
    w.graph = g;
    w.keep_names = options->keep_names != 0;
    w.steps = w.first_steps;
    w.scopes = w.first_scopes;
    w.levels = w.first_levels;
    w.steps_capacity = w.scopes_capacity = STEPS_FIRST_COUNT;
    w.levels_capacity = LEVELS_FIRST_COUNT;
    achar__output_init(&w.o, &mem, protocol, sink);
    achar__table_init(&w.absorbed, &mem);
    status = achar__graph_prepare(g);
    if (status == ACHAR_OK) {
        /* as it was read, and some more where it is written differently */
        achar__output_begin(&w.o, g->read_nbytes + g->read_nbytes / 16 + WRITE_MORE_NBYTES);
        status = run(&w);
    }
    if (status == ACHAR_OK && bytes != NULL) {
        achar__buffer_fit(&w.o.out);
        *bytes = (achar_bytes){w.o.out.data, w.o.out.nbytes, w.o.out.capacity_nbytes};
        achar__buffer_init(&w.o.out, &mem);
    }
    achar__output_free(&w.o);
    achar__table_free(&w.absorbed);
    if (w.steps != w.first_steps)
        achar__memory_give(&mem, w.steps, w.steps_capacity * sizeof *w.steps);
    if (w.levels != w.first_levels)
        achar__memory_give(&mem, w.levels, w.levels_capacity * sizeof *w.levels);
    if (w.scopes != w.first_scopes)
        achar__memory_give(&mem, w.scopes, w.scopes_capacity * sizeof *w.scopes);
    achar__memory_give(&mem, w.pending, w.pending_capacity * sizeof *w.pending);
    if (w.lacks != NULL)
        return achar__fail(error, status, 0, -1, "protocol %d cannot say: %s", protocol, w.lacks);
    return status == ACHAR_OK ? ACHAR_OK : achar__fail(error, status, 0, -1, NULL);
}

int achar_write(achar_graph *graph, int protocol, const achar_write_options *options,
                achar_bytes *bytes, achar_error *error)
{
    if (bytes == NULL)
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "no place for the bytes");
    *bytes = (achar_bytes){0};
    return write_graph(graph, protocol, options, NULL, bytes, error);
}

int achar_write_to(achar_graph *graph, int protocol, const achar_write_options *options,
                   const achar_sink *sink, achar_error *error)
{
    if (!achar__sink_exists(sink))
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "no sink");
    return write_graph(graph, protocol, options, sink, NULL, error);
}
