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
#include "codec/output.h"
#include "codec/python2_names.h"

typedef enum step_kind {
    STEP_ROOT,
    STEP_STATEMENT, /* 'entry' and POP */
    STEP_FILL,      /* GET of a pending container, its items, POP */
    STEP_CONTENTS,  /* of a list, dict or set that lies on the stack; then its changes */
    STEP_CHANGES,   /* of what lies on the stack */
    STEP_ITEMS,     /* items go into what lies on the stack; 'entry' if that is one */
    STEP_FROZEN,    /* the items of a tuple, or of a set written by a call */
    STEP_OBJECT,    /* the operands of an object */
} step_kind;

typedef struct step {
    step_kind kind;
    uint8_t stage;
    uint8_t opcode; /* STEP_ITEMS: APPENDS, SETITEMS, ADDITEMS, BUILD */
    uint8_t form;   /* STEP_OBJECT: enum object_form */
    bool in_batch;
    bool single;      /* the batch is one item, without MARK */
    bool remember;    /* memoize the value when it is complete */
    bool whole;       /* all items in one batch: an entry is one effect */
    bool opens_scope; /* and closes it when it ends */
    cell value;
    const cell *items;
    size_t index;
    size_t count;
    size_t batch_end;
    uint64_t entry;  /* what this step does in the log; NO_ENTRY */
    uint64_t limit;  /* only entries before this one may go out */
    uint64_t change; /* STEP_CONTENTS, STEP_CHANGES: the next change to look at */
} step;

/* Where containers wait for tuples: the whole pickle, or the parts of one entry. */
typedef struct scope {
    size_t open_count;    /* shared tuples and frozensets being written */
    size_t pending_start; /* this scope's part of the pending containers */
} scope;

typedef struct writer {
    achar_graph *graph;
    output o;
    bool keep_names; /* imports are not renamed for the Python that the protocol is for */
    step *steps;
    size_t steps_count;
    size_t steps_capacity;
    scope *scopes;
    size_t scopes_count;
    size_t scopes_capacity;
    cell *pending;
    size_t pending_count;
    size_t pending_capacity;
    uint64_t next;     /* the first entry that has not gone out */
    table absorbed;    /* entries that go out as part of something else */
    bool forced;       /* something is in the memo that is not shared */
    const char *lacks; /* with ACHAR_E_UNSUPPORTED: what the protocol cannot say */
} writer;

enum { BATCH_COUNT = 1000 };

static int unsupported(writer *w, const char *what)
{
    w->lacks = what;
    return ACHAR_E_UNSUPPORTED;
}

/* Room for one more element of 'nbytes' bytes in an array. */
static int grow(writer *w, void **array, size_t count, size_t *capacity, size_t nbytes)
{
    if (count < *capacity)
        return ACHAR_OK;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *larger = achar__memory_resize(w->o.mem, *array, *capacity * nbytes, wanted * nbytes);
    if (larger == NULL)
        return achar__memory_status(w->o.mem);
    *array = larger;
    *capacity = wanted;
    return ACHAR_OK;
}

static int push(writer *w, step s)
{
    int status = grow(w, (void **)&w->steps, w->steps_count, &w->steps_capacity, sizeof s);
    if (status == ACHAR_OK && s.opens_scope)
        status =
            grow(w, (void **)&w->scopes, w->scopes_count, &w->scopes_capacity, sizeof *w->scopes);
    if (status != ACHAR_OK)
        return status;
    if (s.opens_scope)
        w->scopes[w->scopes_count++] = (scope){.pending_start = w->pending_count};
    w->steps[w->steps_count++] = s;
    return ACHAR_OK;
}

static int pop(writer *w)
{
    w->scopes_count -= w->steps[--w->steps_count].opens_scope;
    return ACHAR_OK;
}

static step *top_step(writer *w)
{
    return &w->steps[w->steps_count - 1];
}

static scope *current_scope(writer *w)
{
    return &w->scopes[w->scopes_count - 1];
}

/* ---- order ---- */

static bool is_inst(const writer *w, const object *o);

/* Whether an entry has to wait because others come first; if so, a step for the first of them has
 * been pushed, and the caller returns to be called again. */
static bool catch_up(writer *w, uint64_t entry, int *status)
{
    while (w->next < entry && achar__table_find(&w->absorbed, w->next) != NULL)
        w->next++;
    if (entry == NO_ENTRY || w->next >= entry)
        return false;
    uint64_t first = w->next;
    if (first + 1 < entry && w->graph->log[first + 1].kind == ACHAR_EFFECT_CALL) {
        /* an import that INST does */
        const object *o = cell_object(w->graph->log[first + 1].target);
        if (is_inst(w, o) && cell_object(o->operands[CALL_CALLABLE])->entry == first)
            first++;
    }
    *status = push(w, (step){.kind = STEP_STATEMENT, .entry = first, .opens_scope = true});
    return true;
}

/* An entry's opcode has gone out. */
static void done(writer *w, uint64_t entry)
{
    if (entry != NO_ENTRY && w->next <= entry)
        w->next = entry + 1;
}

/* Whether some change of a value cannot be written right after the value itself. */
static bool has_later_change(const writer *w, uint64_t change, uint64_t limit)
{
    for (; change != NO_ENTRY; change = graph_next_change(w->graph, change))
        if (change >= limit)
            return true;
    return false;
}

/* ---- beginning a value ---- */

/* How many of a container's items it has before its first logged filling. */
static size_t first_count(const writer *w, cell value, uint64_t change, size_t count)
{
    for (; change != NO_ENTRY; change = graph_next_change(w->graph, change))
        if (w->graph->log[change].kind == ACHAR_EFFECT_FILL)
            return w->graph->log[change].fill->start;
    return count;
}

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
        return unsupported(w, "a tuple, frozenset or set that is needed before it is complete");
    *recalled = true;
    achar__output_get(&w->o, *known & MEMO_INDEX);
    if (!(*known & MEMO_PENDING) || current_scope(w)->open_count != 0)
        return ACHAR_OK;
    /* A call, or a statement, is about to see it: it needs its items now. */
    *known &= ~MEMO_PENDING;
    return push(w,
                (step){.kind = STEP_CONTENTS, .value = value, .limit = limit, .change = NO_ENTRY});
}

static int begin_container(writer *w, cell value, uint64_t limit, bool remember)
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
    bool waits = current_scope(w)->open_count != 0 && cell_born(value) >= limit &&
                 !cells_are_plain(items, first);
    if (remember || waits || has_later_change(w, change, limit)) {
        int status = achar__output_memoize(o, value);
        if (status != ACHAR_OK)
            return status;
        w->forced |= !graph_is_shared(w->graph, value);
    }
    if (!waits)
        return push(
            w, (step){.kind = STEP_CONTENTS, .value = value, .limit = limit, .change = change});
    int status =
        grow(w, (void **)&w->pending, w->pending_count, &w->pending_capacity, sizeof *w->pending);
    if (status != ACHAR_OK)
        return status;
    w->pending[w->pending_count++] = value;
    *achar__table_find(&o->memo, value.bits) |= MEMO_PENDING;
    return ACHAR_OK; /* its changes come after the tuple in the log as well */
}

/* A tuple or frozenset; below protocol 4 also a set: what must be complete when it is made. */
static int begin_frozen(writer *w, cell value, uint64_t limit, bool remember)
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
                return unsupported(w, "a set that is changed after a call has seen it");
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
        current_scope(w)->open_count++;
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
    return push(w, (step){.kind = STEP_FROZEN,
                          .value = value,
                          .items = items,
                          .count = count,
                          .limit = limit_of_items,
                          .remember = remember});
}

static int begin_object(writer *w, cell value, uint64_t limit, bool remember);

/*
 * Begins to write a value: all of it, if it has no parts, else its first opcodes and a step for
 * the rest. 'limit' is that of the step that asks; 'remember' has it memoized in any case.
 */
static int begin(writer *w, cell value, uint64_t limit, bool remember)
{
    int kind = cell_kind(value);
    output_boundary(&w->o);
    if (kind_is_small(kind))
        return achar__output_atom(&w->o, value);

    bool recalled;
    int status = recall(w, value, limit, &recalled);
    if (status != ACHAR_OK || recalled)
        return status;
    remember |= graph_is_shared(w->graph, value);
    if (kind < ACHAR_LIST && w->graph->log_count != 0)
        remember |= graph_first_change(w->graph, value) != NO_ENTRY;
    if (kind_is_span(kind)) {
        status = achar__output_atom(&w->o, value);
        if (status == ACHAR_E_UNSUPPORTED)
            return unsupported(w, "text, bytes or an integer of this size");
        if (status == ACHAR_OK && remember) {
            w->forced |= !graph_is_shared(w->graph, value);
            status = achar__output_memoize(&w->o, value);
        }
        return status;
    }
    if (kind_is_frozen(kind) || (kind == ACHAR_SET && w->o.protocol < 4))
        return begin_frozen(w, value, limit, remember);
    if (kind_is_container(kind))
        return begin_container(w, value, limit, remember);
    return begin_object(w, value, limit, remember);
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
    done(w, s->entry);
    s->in_batch = false;
}

static int run_items(writer *w)
{
    int status = ACHAR_OK;
    for (;;) {
        step *s = top_step(w);
        if (s->in_batch && s->index == s->batch_end) {
            if (catch_up(w, s->entry, &status))
                return status;
            close_batch(w, s);
        }
        if (s->index == s->count)
            return pop(w);
        if (!s->in_batch)
            open_batch(w, s);
        output_boundary(&w->o);
        s->index += achar__output_small_run(&w->o, s->items + s->index, s->batch_end - s->index);
        if (s->index == s->batch_end)
            continue;
        size_t steps_count = w->steps_count;
        status = begin(w, s->items[s->index++], s->limit, false);
        if (status != ACHAR_OK || w->steps_count != steps_count)
            return status;
    }
}

static uint8_t filling_opcode(int kind)
{
    return kind == ACHAR_LIST ? OP_APPENDS : kind == ACHAR_DICT ? OP_SETITEMS : OP_ADDITEMS;
}

/* A step for what one entry puts into the target, which lies on the stack. */
static int push_change(writer *w, uint64_t index)
{
    const log_entry *entry = &w->graph->log[index];
    step s = {.kind = STEP_ITEMS, .entry = index, .limit = index, .opens_scope = true};
    s.items = log_values(entry, &s.count);
    if (entry->kind == ACHAR_EFFECT_FILL) {
        s.opcode = filling_opcode(cell_kind(entry->target));
        s.whole = true;
        return push(w, s);
    }
    s.whole = true;
    s.opcode = entry->kind == ACHAR_EFFECT_BUILD    ? OP_BUILD
               : entry->kind == ACHAR_EFFECT_APPEND ? OP_APPENDS
               : entry->kind == ACHAR_EFFECT_SET    ? OP_SETITEMS
                                                    : OP_ADDITEMS;
    if (s.opcode == OP_ADDITEMS && w->o.protocol < 4)
        return unsupported(w, "adding to a set that Python makes");
    return push(w, s);
}

/* What was there when it was made; then its changes. */
static int run_contents(writer *w)
{
    step *s = top_step(w);
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
        pop(w); /* no changes: this step's place is free */
    return push(w, items_step);
}

static int run_changes(writer *w)
{
    step *s = top_step(w);
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
        return pop(w);
    s->change = graph_next_change(w->graph, change);
    return push_change(w, change);
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

static int run_frozen(writer *w)
{
    int status = ACHAR_OK;
    step *s = top_step(w);
    while (s->stage == FROZEN_ITEMS && s->index < s->count) {
        size_t written = achar__output_small_run(&w->o, s->items + s->index, s->count - s->index);
        if (written != 0) {
            s->index += written;
            output_boundary(&w->o);
            continue;
        }
        size_t steps_count = w->steps_count;
        status = begin(w, s->items[s->index++], s->limit, false);
        if (status != ACHAR_OK || w->steps_count != steps_count)
            return status;
    }
    if (s->stage == FROZEN_ITEMS) {
        if (cell_kind(s->value) == ACHAR_SET && catch_up(w, last_change(w, s->value), &status))
            return status;
        end_frozen(w, s);
        if (!s->remember)
            return pop(w);
        achar__table_find(&w->o.memo, s->value.bits)[0] = 0;
        status = achar__output_memoize(&w->o, s->value);
        if (status != ACHAR_OK || --current_scope(w)->open_count != 0) {
            pop(w);
            return status;
        }
        s->stage = FROZEN_PENDING;
    }
    while (w->pending_count > current_scope(w)->pending_start) {
        cell value = w->pending[--w->pending_count];
        uint64_t *known = achar__table_find(&w->o.memo, value.bits);
        if (*known & MEMO_PENDING) {
            *known &= ~MEMO_PENDING;
            return push(w, (step){.kind = STEP_FILL, .value = value, .limit = s->limit});
        }
    }
    return pop(w);
}

/* ---- objects ---- */

static name_text span_name(cell c)
{
    name_text text;
    text.data = (const char *)cell_span(c, &text.nbytes);
    return text;
}

/* The text of an import's operands, renamed for the Python that the protocol is for; false if they
 * are no text. */
static bool import_names(const writer *w, const object *o, name_text *module, name_text *name)
{
    cell m = o->operands[GLOBAL_MODULE];
    cell n = o->operands[GLOBAL_NAME];
    if (cell_kind(m) != ACHAR_STR || cell_kind(n) != ACHAR_STR)
        return false;
    *module = span_name(m);
    *name = span_name(n);
    bool shall_be_python2 = w->o.protocol < 3;
    if (w->keep_names || (o->python2 != 0) == shall_be_python2)
        return true;
    if (shall_be_python2)
        achar__names_to_python2(module, name);
    else
        achar__names_to_python3(module, name);
    return true;
}

static bool fits_line(name_text text)
{
    return text.nbytes == 0 || memchr(text.data, '\n', text.nbytes) == NULL;
}

static void import_lines(output *o, uint8_t opcode, name_text module, name_text name)
{
    emit_opcode(&o->out, opcode);
    achar__buffer_append(&o->out, module.data, module.nbytes);
    achar__buffer_byte(&o->out, '\n');
    achar__buffer_append(&o->out, name.data, name.nbytes);
    achar__buffer_byte(&o->out, '\n');
}

/* Below protocol 4 a dotted name is getattr(getattr(the first part, 'second'), …). */
static void import_dotted(output *o, name_text module, name_text name)
{
    size_t dots = 0;
    for (size_t i = 0; i < name.nbytes; i++)
        dots += name.data[i] == '.';
    for (size_t i = 0; i < dots; i++) {
        achar__output_import(o, "builtins", "getattr");
        achar__output_tuple_begin(o, 2);
    }
    size_t start = 0;
    for (size_t i = 0; i <= name.nbytes; i++) {
        if (i != name.nbytes && name.data[i] != '.')
            continue;
        name_text part = {name.data + start, i - start};
        if (start == 0) {
            import_lines(o, OP_GLOBAL, module, part);
        } else {
            achar__output_text(o, part.data, part.nbytes);
            achar__output_tuple_end(o, 2);
            emit_opcode(&o->out, OP_REDUCE);
        }
        start = i + 1;
    }
}

/* An import without the stack: GLOBAL, or what amounts to it. */
static int import_by_lines(writer *w, const object *o)
{
    name_text module, name;
    if (!import_names(w, o, &module, &name))
        return unsupported(w, "an import whose name Python computes");
    if (!fits_line(module) || !fits_line(name))
        return unsupported(w, "an import with a line break in its name");
    /* Dots mean a path only where protocol 4 said so. */
    bool dotted = name.nbytes != 0 && memchr(name.data, '.', name.nbytes) != NULL;
    if (dotted && w->o.protocol < 4 && o->opcode == OP_STACK_GLOBAL)
        import_dotted(&w->o, module, name);
    else
        import_lines(&w->o, OP_GLOBAL, module, name);
    return ACHAR_OK;
}

/* How an object is written. Its parts are some operands, then perhaps the arguments one by one. */
typedef enum object_form {
    FORM_STACK_GLOBAL, /* module, name */
    FORM_GLOBAL,       /* no parts */
    FORM_CALL,         /* callable, arguments, perhaps keywords: the opcode it was made by */
    FORM_INST,         /* MARK, each argument */
    FORM_OBJ,          /* MARK, callable, each argument */
    FORM_NEWOBJ,       /* copyreg.__newobj__(callable, each argument) */
    FORM_NEWOBJ_EX,    /* copyreg.__newobj_ex__(callable, arguments, keywords) */
    FORM_EXTENSION,    /* no parts */
    FORM_PERSID,       /* no parts */
    FORM_BINPERSID,    /* id */
    FORM_BUFFER,       /* no parts */
    FORM_READONLY,     /* the buffer */
} object_form;

/* INST names its class in its argument; that can stand for the import if nothing came between. */
static bool is_inst(const writer *w, const object *o)
{
    cell callable = o->operands[CALL_CALLABLE];
    name_text module, name;
    if (o->opcode != OP_INST || cell_kind(callable) != ACHAR_GLOBAL)
        return false;
    const object *import = cell_object(callable);
    return !import->shared && import->entry + 1 == o->entry && import->entry >= w->next &&
           graph_next_change(w->graph, import->entry) == NO_ENTRY &&
           import_names(w, import, &module, &name) && fits_line(module) && fits_line(name);
}

/* Whether the names of an import are what is in the graph, text or not, so that they can be
 * written as values. */
static bool names_are_kept(const writer *w, const object *o)
{
    name_text module, name;
    return !import_names(w, o, &module, &name) ||
           (module.data == span_name(o->operands[GLOBAL_MODULE]).data &&
            name.data == span_name(o->operands[GLOBAL_NAME]).data);
}

static int choose_call_form(writer *w, const object *o, object_form *form)
{
    int protocol = w->o.protocol;
    bool spread = cell_kind(o->operands[CALL_ARGUMENTS]) == ACHAR_TUPLE;
    *form = FORM_CALL;
    switch (o->opcode) {
    case OP_NEWOBJ:
        if (protocol < 2)
            *form = FORM_NEWOBJ;
        return protocol >= 2 || spread ? ACHAR_OK
                                       : unsupported(w, "__new__ with arguments Python computes");
    case OP_NEWOBJ_EX:
        if (protocol < 4)
            *form = FORM_NEWOBJ_EX;
        return ACHAR_OK;
    case OP_INST:
    case OP_OBJ:
        *form = is_inst(w, o) ? FORM_INST : FORM_OBJ;
        return protocol >= 1 || *form == FORM_INST
                   ? ACHAR_OK
                   : unsupported(w, "an instance whose class is no plain import");
    default:
        return ACHAR_OK;
    }
}

static int choose_form(writer *w, cell value, object_form *form)
{
    const object *o = cell_object(value);
    int protocol = w->o.protocol;
    switch (cell_kind(value)) {
    case ACHAR_GLOBAL:
        *form = protocol >= 4 && names_are_kept(w, o) ? FORM_STACK_GLOBAL : FORM_GLOBAL;
        return ACHAR_OK;
    case ACHAR_CALL:
        return choose_call_form(w, o, form);
    case ACHAR_EXTENSION:
        *form = FORM_EXTENSION;
        return protocol >= 2 ? ACHAR_OK : unsupported(w, "an extension code");
    case ACHAR_BUFFER:
        *form = o->opcode == OP_READONLY_BUFFER ? FORM_READONLY : FORM_BUFFER;
        return protocol >= 5 ? ACHAR_OK : unsupported(w, "an out-of-band buffer");
    default: { /* ACHAR_PERSISTENT */
        cell id = o->operands[PERSISTENT_ID];
        bool line = cell_kind(id) == ACHAR_STR && fits_line(span_name(id));
        *form = protocol >= 1 ? FORM_BINPERSID : FORM_PERSID;
        return protocol >= 1 || line ? ACHAR_OK
                                     : unsupported(w, "a persistent id that is no line of text");
    }
    }
}

enum { OBJECT_OPERANDS, OBJECT_SPREAD, OBJECT_FINISH };

static int begin_object(writer *w, cell value, uint64_t limit, bool remember)
{
    object *o = cell_object(value);
    object_form form;
    int status = choose_form(w, value, &form);
    if (status != ACHAR_OK)
        return status;
    buffer *out = &w->o.out;
    size_t operands_count = 0;
    switch (form) {
    case FORM_GLOBAL:
    case FORM_EXTENSION:
    case FORM_PERSID:
    case FORM_BUFFER:
        break;
    case FORM_INST:
        emit_opcode(out, OP_MARK);
        break;
    case FORM_OBJ:
        emit_opcode(out, OP_MARK);
        operands_count = 1;
        break;
    case FORM_NEWOBJ:
        achar__output_import(&w->o, "copyreg", "__newobj__");
        emit_opcode(out, OP_MARK);
        operands_count = 1;
        break;
    case FORM_NEWOBJ_EX:
        achar__output_import(&w->o, "copyreg", "__newobj_ex__");
        achar__output_tuple_begin(&w->o, 3);
        operands_count = 3;
        break;
    case FORM_STACK_GLOBAL:
    case FORM_CALL:
    case FORM_BINPERSID:
    case FORM_READONLY:
        operands_count = o->operands_count;
        break;
    }

    uint64_t change = w->graph->log_count == 0 ? NO_ENTRY : graph_first_change(w->graph, value);
    remember |= has_later_change(w, change, limit);
    if (change != NO_ENTRY || remember) {
        status = push(w, (step){.kind = STEP_CHANGES,
                                .value = value,
                                .limit = limit,
                                .change = change,
                                .remember = remember});
        if (status != ACHAR_OK)
            return status;
    }
    /* The operands are a scope of their own; the changes are not. */
    return push(w, (step){.kind = STEP_OBJECT,
                          .value = value,
                          .form = (uint8_t)form,
                          .items = o->operands,
                          .count = operands_count,
                          .entry = object_entry(o),
                          .limit = object_entry(o) == NO_ENTRY ? limit : o->entry,
                          .opens_scope = true});
}

static void extension(writer *w, uint64_t code)
{
    if (code < 0x100)
        emit_number(&w->o.out, OP_EXT1, code, 1);
    else if (code < 0x10000)
        emit_number(&w->o.out, OP_EXT2, code, 2);
    else
        emit_number(&w->o.out, OP_EXT4, code, 4);
}

/* The opcodes that come after the parts. */
static int finish_object(writer *w, const step *s)
{
    const object *o = cell_object(s->value);
    buffer *out = &w->o.out;
    switch ((object_form)s->form) {
    case FORM_STACK_GLOBAL:
        emit_opcode(out, OP_STACK_GLOBAL);
        return ACHAR_OK;
    case FORM_GLOBAL:
        return import_by_lines(w, o);
    case FORM_CALL:
        emit_opcode(out, o->opcode);
        return ACHAR_OK;
    case FORM_INST: {
        name_text module = {0}, name = {0};
        import_names(w, cell_object(o->operands[CALL_CALLABLE]), &module, &name);
        import_lines(&w->o, OP_INST, module, name);
        return ACHAR_OK;
    }
    case FORM_OBJ:
        emit_opcode(out, OP_OBJ);
        return ACHAR_OK;
    case FORM_NEWOBJ:
        emit_opcode(out, OP_TUPLE);
        emit_opcode(out, OP_REDUCE);
        return ACHAR_OK;
    case FORM_NEWOBJ_EX:
        achar__output_tuple_end(&w->o, 3);
        emit_opcode(out, OP_REDUCE);
        return ACHAR_OK;
    case FORM_EXTENSION:
        extension(w, o->operands[RAW_CODE].bits);
        return ACHAR_OK;
    case FORM_PERSID: {
        cell id = o->operands[PERSISTENT_ID];
        emit_opcode(out, OP_PERSID);
        achar__buffer_append(out, span_name(id).data, span_name(id).nbytes);
        achar__buffer_byte(out, '\n');
        return ACHAR_OK;
    }
    case FORM_BINPERSID:
        emit_opcode(out, OP_BINPERSID);
        return ACHAR_OK;
    case FORM_BUFFER:
        emit_opcode(out, OP_NEXT_BUFFER);
        return ACHAR_OK;
    case FORM_READONLY:
        emit_opcode(out, OP_READONLY_BUFFER);
        return ACHAR_OK;
    }
    return ACHAR_E_INVALID;
}

static int run_object(writer *w)
{
    int status = ACHAR_OK;
    step *s = top_step(w);
    for (;;) {
        while (s->index < s->count) {
            size_t steps_count = w->steps_count;
            status = begin(w, s->items[s->index++], s->limit, false);
            if (status != ACHAR_OK || w->steps_count != steps_count)
                return status;
        }
        bool spreads = s->form == FORM_INST || s->form == FORM_OBJ || s->form == FORM_NEWOBJ;
        if (s->stage != OBJECT_OPERANDS || !spreads)
            break;
        s->stage = OBJECT_SPREAD;
        s->items = cell_items(cell_object(s->value)->operands[CALL_ARGUMENTS], &s->count);
        s->index = 0;
    }
    /* INST is an import and a call in one: entry - 1 and entry. */
    if (catch_up(w, s->form == FORM_INST ? s->entry - 1 : s->entry, &status))
        return status;
    status = finish_object(w, s);
    done(w, s->entry);
    pop(w);
    return status;
}

/* ---- statements, the root ---- */

enum { STATEMENT_TARGET, STATEMENT_CHANGE, STATEMENT_POP };

static int run_statement(writer *w)
{
    step *s = top_step(w);
    const log_entry *entry = &w->graph->log[s->entry];
    bool changes = entry->kind >= ACHAR_EFFECT_BUILD;
    switch (s->stage) {
    case STATEMENT_TARGET:
        s->stage = changes ? STATEMENT_CHANGE : STATEMENT_POP;
        return begin(w, entry->target, changes ? s->entry : s->entry + 1, true);
    case STATEMENT_CHANGE:
        s->stage = STATEMENT_POP;
        return push_change(w, s->entry);
    default:
        emit_opcode(&w->o.out, OP_POP);
        return pop(w);
    }
}

enum { FILL_CONTENTS, FILL_POP };

static int run_fill(writer *w)
{
    step *s = top_step(w);
    if (s->stage == FILL_POP) {
        emit_opcode(&w->o.out, OP_POP);
        return pop(w);
    }
    s->stage = FILL_POP;
    achar__output_get(&w->o, achar__table_get(&w->o.memo, s->value.bits));
    return push(
        w, (step){.kind = STEP_CONTENTS, .value = s->value, .limit = s->limit, .change = NO_ENTRY});
}

enum { ROOT_VALUE, ROOT_REST };

static int run_root(writer *w)
{
    step *s = top_step(w);
    int status = ACHAR_OK;
    if (s->stage == ROOT_VALUE) {
        s->stage = ROOT_REST;
        return begin(w, w->graph->root, NO_ENTRY, false);
    }
    if (catch_up(w, w->graph->log_count, &status))
        return status;
    achar__output_end(&w->o);
    return pop(w);
}

static int run(writer *w)
{
    static int (*const runners[])(writer *) = {
        [STEP_ROOT] = run_root,         [STEP_STATEMENT] = run_statement, [STEP_FILL] = run_fill,
        [STEP_CONTENTS] = run_contents, [STEP_CHANGES] = run_changes,     [STEP_ITEMS] = run_items,
        [STEP_FROZEN] = run_frozen,     [STEP_OBJECT] = run_object,
    };
    int status = push(w, (step){.kind = STEP_ROOT, .opens_scope = true});
    while (status == ACHAR_OK && w->steps_count != 0) {
        status = runners[top_step(w)->kind](w);
        if (status == ACHAR_OK)
            status = output_status(&w->o);
    }
    return status;
}

/* ---- the public functions ---- */

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
    writer w = {.graph = g, .keep_names = options->keep_names != 0};
    achar__output_init(&w.o, &mem, protocol, sink);
    achar__table_init(&w.absorbed, &mem);
    status = achar__graph_prepare(g);
    if (status == ACHAR_OK) {
        achar__output_begin(&w.o);
        status = run(&w);
    }
    if (status == ACHAR_OK && bytes != NULL) {
        *bytes = (achar_bytes){w.o.out.data, w.o.out.nbytes, w.o.out.capacity_nbytes};
        achar__buffer_init(&w.o.out, &mem);
    }
    achar__output_free(&w.o);
    achar__table_free(&w.absorbed);
    achar__memory_give(&mem, w.steps, w.steps_capacity * sizeof *w.steps);
    achar__memory_give(&mem, w.scopes, w.scopes_capacity * sizeof *w.scopes);
    achar__memory_give(&mem, w.pending, w.pending_capacity * sizeof *w.pending);
    if (w.lacks != NULL)
        return achar__fail(error, status, 0, -1, "protocol %d cannot say: %s", protocol, w.lacks);
    return status == ACHAR_OK ? ACHAR_OK : achar__fail(error, status, 0, -1, NULL);
}

int achar_write(achar_graph *graph, int protocol, const achar_write_options *options,
                achar_bytes *bytes, achar_error *error)
{
    *bytes = (achar_bytes){0};
    return write_graph(graph, protocol, options, NULL, bytes, error);
}

int achar_write_to(achar_graph *graph, int protocol, const achar_write_options *options,
                   const achar_sink *sink, achar_error *error)
{
    return write_graph(graph, protocol, options, sink, NULL, error);
}
