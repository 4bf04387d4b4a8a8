/*
 * trace_machine.c - one opcode after another, for trace_machine.h.
 *
 * A step first checks all that it needs and only then changes anything: where it fails, the state is
 * the one that people have to see. The checks are the reader's, in its order; a test compares them.
 */
#include "codec/trace_machine.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"
#include "codec/decode.h"
#include "codec/number.h"
#include "codec/read_internal.h"
#include "codec/text.h"
#include "codec/trace_memo.h"
#include "codec/trace_show.h"

enum { STACK_FIRST_COUNT = SIZE_OR_TINY(64, 1) };

__attribute__((format(printf, 3, 4))) static int problem(trace_machine *m, int code,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(m->problem, sizeof m->problem, format, arguments);
    va_end(arguments);
    return code;
}

/* ---- nodes ---- */

static trace_node *node_new(trace_machine *m, int kind, int opcode, size_t children_max)
{
    trace_node *node = achar__memory_take(m->mem, sizeof *node);
    if (node == NULL)
        return NULL;
    *node = (trace_node){
        .refs_count = 1, .kind = (uint8_t)kind, .opcode = (uint8_t)opcode, .memo_index = NO_INDEX};
    if (children_max != 0) {
        node->children = achar__memory_take(m->mem, children_max * sizeof *node->children);
        if (node->children == NULL) {
            achar__memory_give(m->mem, node, sizeof *node);
            return NULL;
        }
        node->kept_max = (uint32_t)children_max;
    }
    node->link = &m->nodes;
    node->following = m->nodes;
    if (m->nodes != NULL)
        m->nodes->link = &node->following;
    m->nodes = node;
    return node;
}

static void node_free(trace_machine *m, trace_node *node)
{
    *node->link = node->following;
    if (node->following != NULL)
        node->following->link = node->link;
    achar__memory_give(m->mem, node->children, node->kept_max * sizeof *node->children);
    achar__memory_give(m->mem, node->text, node->text_nbytes);
    achar__memory_give(m->mem, node, sizeof *node);
}

void achar__trace_retain(achar_value value)
{
    if (value.as.pointer != NULL)
        trace_node_of(value)->refs_count++;
}

/* Frees what nothing refers to any more. A list of what is to be freed instead of recursion: values
 * nest as deep as the pickle is long. */
void achar__trace_release(trace_machine *m, achar_value value)
{
    trace_node *dying = trace_node_of(value);
    if (dying == NULL || --dying->refs_count != 0)
        return;
    dying->next = NULL;
    while (dying != NULL) {
        trace_node *node = dying;
        dying = node->next;
        for (size_t i = 0; i < node->kept_count; i++) {
            trace_node *child = trace_node_of(node->children[i]);
            if (child != NULL && --child->refs_count == 0) {
                child->next = dying;
                dying = child;
            }
        }
        for (trace_node *change = node->changes, *next; change != NULL; change = next) {
            next = change->next;
            change->next = dying;
            dying = change;
        }
        node_free(m, node);
    }
}

/* How many values a container keeps. */
static size_t kept_limit(const trace_machine *m, int kind)
{
    return kind == ACHAR_DICT ? 2 * m->limits.items_count : m->limits.items_count;
}

/* Room for 'count' more values, as far as they will be kept. */
static bool reserve_children(trace_machine *m, trace_node *node, size_t count)
{
    size_t limit = kept_limit(m, node->kind);
    size_t wanted = count > limit - node->kept_count ? limit : node->kept_count + count;
    if (wanted <= node->kept_max)
        return true;
    size_t room = wanted < 4 ? 4 : wanted * 2 > limit ? limit : wanted * 2;
    achar_value *children = achar__memory_resize(
        m->mem, node->children, node->kept_max * sizeof *children, room * sizeof *children);
    if (children == NULL)
        return false;
    node->children = children;
    node->kept_max = (uint32_t)room;
    return true;
}

/* The values become the node's: the first few are kept. There is room for them. */
static void give_children(trace_machine *m, trace_node *node, const achar_value *values,
                          size_t count)
{
    size_t limit = kept_limit(m, node->kind);
    node->count += count;
    for (size_t i = 0; i < count; i++) {
        if (node->kept_count < limit)
            node->children[node->kept_count++] = values[i];
        else
            achar__trace_release(m, values[i]);
    }
}

/* ---- the stack ---- */

static achar_value *top(const trace_machine *m)
{
    return m->stack + m->stack_count;
}

/* What an opcode can see: the entries above the last mark. */
static size_t visible_count(const trace_machine *m)
{
    return m->marks_count == 0 ? m->stack_count : m->stack_count - m->marks[m->marks_count - 1] - 1;
}

static int underflow(trace_machine *m)
{
    return problem(m, ACHAR_E_STACK, "%s",
                   m->marks_count == 0 ? "too few values on the stack"
                                       : "too few values above the mark");
}

static int reserve_stack(trace_machine *m)
{
    if (m->stack_count < m->stack_capacity)
        return ACHAR_OK;
    size_t capacity = m->stack_capacity == 0 ? STACK_FIRST_COUNT : m->stack_capacity * 2;
    achar_value *stack = achar__memory_resize(m->mem, m->stack, m->stack_capacity * sizeof *stack,
                                              capacity * sizeof *stack);
    if (stack == NULL)
        return achar__memory_status(m->mem);
    m->stack = stack;
    m->stack_capacity = capacity;
    return ACHAR_OK;
}

/* There is always room for one more: step() sees to it. */
static int push(trace_machine *m, trace_step *step, achar_value value)
{
    m->stack[m->stack_count++] = value;
    step->pushed = true;
    return ACHAR_OK;
}

static int push_kind(trace_machine *m, trace_step *step, int kind)
{
    return push(m, step, trace_value(kind, step->offset, NULL));
}

static int push_node(trace_machine *m, trace_step *step, trace_node *node)
{
    if (node == NULL)
        return achar__memory_status(m->mem);
    return push(m, step, trace_value(node->kind, step->offset, node));
}

static int push_mark(trace_machine *m, trace_step *step)
{
    if (m->marks_count == m->marks_capacity) {
        size_t capacity = m->marks_capacity == 0 ? STACK_FIRST_COUNT : m->marks_capacity * 2;
        size_t *marks = achar__memory_resize(m->mem, m->marks, m->marks_capacity * sizeof *marks,
                                             capacity * sizeof *marks);
        if (marks == NULL)
            return achar__memory_status(m->mem);
        m->marks = marks;
        m->marks_capacity = capacity;
    }
    m->marks[m->marks_count++] = m->stack_count;
    return push_kind(m, step, KIND_MARK);
}

/* Takes 'count' entries off; their owner is now somebody else. */
static void take(trace_machine *m, trace_step *step, size_t count)
{
    m->stack_count -= count;
    step->taken_count += count;
}

static void take_and_release(trace_machine *m, trace_step *step, size_t count)
{
    take(m, step, count);
    for (size_t i = 0; i < count; i++)
        achar__trace_release(m, top(m)[i]);
}

/* ---- what stands in the input as text ---- */

static bool keep_text(trace_machine *m, trace_node *node, const uint8_t *at, size_t kept)
{
    if (kept == 0)
        return true;
    node->text = achar__memory_take(m->mem, kept);
    if (node->text == NULL)
        return false;
    node->text_nbytes = kept;
    memcpy(node->text, at, kept);
    return true;
}

/* Pushes what the input has in another form than it is shown in; 'graph_value' is of the reader's
 * making. Of a STR its start stays, at least as much as is ever shown; of others what is shown. */
static int push_text(trace_machine *m, trace_step *step, achar_value graph_value)
{
    int kind = achar_kind(graph_value) == ACHAR_BIGINT ? ACHAR_INT : achar_kind(graph_value);
    trace_node *node = node_new(m, kind, step->token.opcode, 0);
    if (node == NULL)
        return achar__memory_status(m->mem);
    bool kept;
    if (kind == ACHAR_STR) {
        size_t nbytes;
        const uint8_t *at = (const uint8_t *)achar_text(graph_value, &nbytes);
        size_t start_nbytes = TRACE_TEXT_NBYTES > 4 * m->limits.text_count
                                  ? TRACE_TEXT_NBYTES
                                  : 4 * m->limits.text_count;
        if (start_nbytes < nbytes)
            while ((at[start_nbytes] & 0xc0) == 0x80)
                start_nbytes--;
        else
            start_nbytes = nbytes;
        node->rest_nbytes = nbytes - start_nbytes;
        kept = keep_text(m, node, at, start_nbytes);
    } else {
        buffer shown;
        achar__buffer_init(&shown, m->mem);
        achar__trace_show_atom(&shown, graph_value, &m->limits);
        kept = !shown.failed && keep_text(m, node, shown.data, shown.nbytes);
        achar__buffer_free(&shown);
    }
    if (!kept) {
        achar__trace_release(m, trace_value(kind, step->offset, node));
        return achar__memory_status(m->mem);
    }
    return push_node(m, step, node);
}

/* Lets the reader judge an opcode that only has an argument: the opcode and STOP are a pickle of
 * their own. */
static int ask_reader(trace_machine *m, trace_step *step)
{
    const uint8_t *start = m->data + step->offset;
    m->scratch.nbytes = 0;
    achar__buffer_append(&m->scratch, start, (size_t)(step->token.next - start));
    achar__buffer_byte(&m->scratch, OP_STOP);
    if (m->scratch.failed) {
        int failed = m->scratch.failed;
        m->scratch.failed = ACHAR_OK;
        return failed;
    }
    achar_graph *graph = NULL;
    achar_error error;
    achar_read_options options = {.allocator = &m->mem->allocator, .encoding = m->encoding};
    int status =
        achar__read(m->scratch.data, m->scratch.nbytes, 0, 0, &options, &graph, NULL, &error);
    if (status != ACHAR_OK)
        return problem(m, status, "%s", error.message);
    status = push_text(m, step, achar_root(graph));
    achar_graph_free(graph);
    if (m->scratch.capacity_nbytes > 1 << 20)
        achar__buffer_free(&m->scratch);
    return status;
}

bool achar__trace_is_plain(const token *t, int64_t *number)
{
    size_t nbytes = t->nbytes;
    if (t->opcode == OP_UNICODE)
        return text_is_ascii(t->data, nbytes) &&
               (nbytes == 0 || memchr(t->data, '\\', nbytes) == NULL);
    if (t->opcode == OP_LONG && nbytes != 0 && t->data[nbytes - 1] == 'L')
        nbytes--;
    size_t sign = nbytes != 0 && (t->data[0] == '-' || t->data[0] == '+');
    return (t->opcode == OP_INT || t->opcode == OP_LONG) &&
           !(nbytes > sign + 1 && t->data[sign] == '0') && decode_decimal(t->data, nbytes, number);
}

/* INT, LONG, FLOAT, STRING, UNICODE. */
static int push_line(trace_machine *m, trace_step *step)
{
    int64_t number;
    if (achar__trace_is_plain(&step->token, &number))
        return push_kind(m, step, step->token.opcode == OP_UNICODE ? ACHAR_STR : ACHAR_INT);
    return ask_reader(m, step);
}

/* Python 2's str with its size in front. */
static int push_python2(trace_machine *m, trace_step *step)
{
    const token *t = &step->token;
    if (m->encoding == ACHAR_ENCODING_BYTES)
        return push_kind(m, step, ACHAR_BYTES);
    if (text_is_ascii(t->data, t->nbytes) ||
        (m->encoding == ACHAR_ENCODING_UTF8 && achar__utf8_valid(t->data, t->nbytes)))
        return push_kind(m, step, ACHAR_STR);
    return ask_reader(m, step);
}

/* ---- the memo ---- */

/* The decimal index of GET and PUT, or the binary one. */
static int memo_index(trace_machine *m, trace_step *step)
{
    const token *t = &step->token;
    if (t->opcode == OP_BINPUT || t->opcode == OP_BINGET) {
        step->memo_index = t->data[0];
    } else if (t->opcode == OP_LONG_BINPUT || t->opcode == OP_LONG_BINGET) {
        step->memo_index = decode_uint4(t->data);
    } else if (t->opcode == OP_MEMOIZE) {
        step->memo_index = m->memo_count;
    } else {
        int64_t number;
        if (!decode_decimal(t->data, t->nbytes, &number) || number < 0)
            return ask_reader(m, step); /* which refuses it as well */
        step->memo_index = (uint64_t)number;
    }
    return ACHAR_OK;
}

static int put(trace_machine *m, trace_step *step)
{
    int status = memo_index(m, step);
    if (status != ACHAR_OK)
        return status;
    if (visible_count(m) < 1)
        return underflow(m);
    status = achar__trace_memo_put(m, step->memo_index, top(m)[-1], step->token.next);
    if (status != ACHAR_OK)
        return status;
    step->put = true;
    return ACHAR_OK;
}

static int get(trace_machine *m, trace_step *step)
{
    int status = memo_index(m, step);
    if (status != ACHAR_OK)
        return status;
    const achar_value *known = achar__trace_memo_get(m, step->memo_index);
    if (known == NULL)
        return problem(m, ACHAR_E_MEMO, "nothing in the memo at %llu",
                       (unsigned long long)step->memo_index);
    achar__trace_retain(*known);
    step->got = true;
    return push(m, step, *known);
}

/* ---- containers ---- */

/* What lies above the last mark, which must exist. */
static int slice_count(trace_machine *m, size_t *count)
{
    *count = 0;
    if (m->marks_count == 0)
        return problem(m, ACHAR_E_STACK, "no mark on the stack");
    *count = visible_count(m);
    return ACHAR_OK;
}

/* Whether Python would refuse it as a dict's key or a set's item, whatever imports may do. */
static bool is_unhashable(achar_value value)
{
    int kind = achar_kind(value);
    return kind_is_container(kind) || kind == ACHAR_BYTEARRAY ||
           (kind == ACHAR_TUPLE && trace_node_of(value) != NULL &&
            trace_node_of(value)->unhashable);
}

static int check_hashable(trace_machine *m, const achar_value *values, size_t count, size_t stride,
                          const char *use)
{
    for (size_t i = 0; i < count; i += stride)
        if (is_unhashable(values[i]))
            return problem(
                m, ACHAR_E_TYPE, "%s%s cannot be %s", achar_kind_name(achar_kind(values[i])),
                achar_kind(values[i]) == ACHAR_TUPLE ? " with something unhashable in it" : "",
                use);
    return ACHAR_OK;
}

/* The last 'count' values, and perhaps the mark before them, become a new node's children. */
static trace_node *collect(trace_machine *m, trace_step *step, int kind, size_t count, bool mark)
{
    trace_node *node = node_new(m, kind, step->token.opcode, 0);
    if (node == NULL)
        return NULL;
    if (!reserve_children(m, node, count)) {
        node_free(m, node);
        return NULL;
    }
    take(m, step, count);
    for (size_t i = 0; i < count; i++)
        node->unhashable |= is_unhashable(top(m)[i]);
    give_children(m, node, top(m), count);
    step->change_count = count;
    if (mark) {
        take(m, step, 1);
        m->marks_count--;
    }
    return node;
}

static int push_collected(trace_machine *m, trace_step *step, int kind, size_t count, bool mark)
{
    return push_node(m, step, collect(m, step, kind, count, mark));
}

/* ---- changes ---- */

trace_node *achar__trace_last_change(const trace_node *target)
{
    trace_node *change = target->changes;
    uint64_t count = change != NULL;
    while (change != NULL && change->next != NULL)
        change = change->next, count++;
    return count == target->changes_count ? change : NULL;
}

/* The change of that kind that 'count' values are added to: the last one, or a new one; NULL if it is
 * beyond those kept. What an APPEND follows an APPEND is one change. */
static int find_change(trace_machine *m, trace_node *target, int kind, trace_node **change)
{
    *change = achar__trace_last_change(target);
    if (target->last_change == kind && kind != KIND_STATE)
        return ACHAR_OK;
    trace_node *last = *change;
    bool keeps = target->changes_count < m->limits.items_count;
    if (keeps) {
        *change = node_new(m, kind, 0, 0);
        if (*change == NULL)
            return achar__memory_status(m->mem);
        if (last != NULL)
            last->next = *change;
        else
            target->changes = *change;
    } else {
        *change = NULL;
    }
    target->last_change = (uint8_t)kind;
    target->changes_count++;
    return ACHAR_OK;
}

static bool can_change(int kind)
{
    return kind == ACHAR_BYTEARRAY || kind_is_container(kind) || kind_is_object(kind);
}

/*
 * Adds the last 'count' values to what lies below them (and below 'mark'), which stays. What is
 * neither a container nor an object takes the change without showing it.
 */
static int change(trace_machine *m, trace_step *step, int kind, size_t count, bool mark)
{
    achar_value target = top(m)[-(ptrdiff_t)count - 1 - mark];
    trace_node *node = can_change(achar_kind(target)) ? trace_node_of(target) : NULL;
    if (count != 0 && node != NULL && node->kind != kind) {
        /* an object: a container takes only what is its own, see check_change() */
        int status = find_change(m, node, kind, &node);
        if (status != ACHAR_OK)
            return status;
    }
    if (node != NULL && !reserve_children(m, node, count))
        return achar__memory_status(m->mem);
    step->change = kind;
    step->change_count = count;
    step->kept_before = node == NULL ? 0 : node->kept_count;
    take(m, step, count);
    if (node != NULL)
        give_children(m, node, top(m), count);
    else
        for (size_t i = 0; i < count; i++)
            achar__trace_release(m, top(m)[i]);
    if (mark) {
        take(m, step, 1);
        m->marks_count--;
    }
    return ACHAR_OK;
}

static int check_change(trace_machine *m, int kind, achar_value target, size_t count)
{
    int target_kind = achar_kind(target);
    if (count == 0)
        return ACHAR_OK;
    if (kind == ACHAR_DICT && count % 2 != 0)
        return problem(m, ACHAR_E_STACK, "a key without a value");
    bool possible = target_kind == kind || kind_is_object(target_kind) ||
                    (target_kind == ACHAR_BYTEARRAY && kind != ACHAR_SET) ||
                    (target_kind == ACHAR_LIST && kind == ACHAR_DICT);
    if (!possible)
        return problem(m, ACHAR_E_TYPE, "%s takes no such items", achar_kind_name(target_kind));
    const achar_value *values = top(m) - count;
    if (target_kind == ACHAR_DICT)
        return check_hashable(m, values, count, 2, "a dict's key");
    return target_kind == ACHAR_SET ? check_hashable(m, values, count, 1, "in a set") : ACHAR_OK;
}

static bool may_be(achar_value value, int kind)
{
    return achar_kind(value) == kind || kind_is_object(achar_kind(value));
}

/* Python's own kinds take only a state that says nothing: None, or (None, {}). */
static int check_state(trace_machine *m, achar_value target, achar_value state)
{
    const trace_node *node = trace_node_of(state);
    if (kind_is_object(achar_kind(target)) || may_be(state, ACHAR_NONE))
        return ACHAR_OK;
    if (achar_kind(state) == ACHAR_TUPLE && node != NULL && node->count == 2 &&
        may_be(node->children[0], ACHAR_NONE)) {
        achar_value slots = node->children[1];
        if (kind_is_object(achar_kind(slots)) ||
            (achar_kind(slots) == ACHAR_DICT && trace_node_of(slots)->count == 0))
            return ACHAR_OK;
    }
    return problem(m, ACHAR_E_TYPE, "%s takes no state", achar_kind_name(achar_kind(target)));
}

/* APPENDS, SETITEMS, ADDITEMS: below the mark lies what is changed, not beyond the mark before. */
static int change_by_slice(trace_machine *m, trace_step *step, int kind)
{
    size_t count;
    int status = slice_count(m, &count);
    if (status != ACHAR_OK)
        return status;
    size_t mark = m->marks[m->marks_count - 1];
    size_t fence = m->marks_count < 2 ? 0 : m->marks[m->marks_count - 2] + 1;
    if (mark == fence)
        return problem(m, ACHAR_E_STACK, "%s",
                       m->marks_count < 2 ? "too few values on the stack"
                                          : "too few values above the mark");
    status = check_change(m, kind, m->stack[mark - 1], count);
    return status != ACHAR_OK ? status : change(m, step, kind, count, true);
}

static int change_by_few(trace_machine *m, trace_step *step, int kind, size_t count)
{
    if (visible_count(m) < count + 1)
        return underflow(m);
    achar_value target = top(m)[-(ptrdiff_t)count - 1];
    int status = kind == KIND_STATE ? check_state(m, target, top(m)[-1])
                                    : check_change(m, kind, target, count);
    return status != ACHAR_OK ? status : change(m, step, kind, count, false);
}

/* ---- imports and calls ---- */

/* The lines of GLOBAL and INST, the line of PERSID. */
static int check_names(trace_machine *m, const token *t)
{
    if (!achar__utf8_valid(t->data, t->nbytes) ||
        (t->second != NULL && !achar__utf8_valid(t->second, t->second_nbytes)))
        return problem(m, ACHAR_E_TEXT, "the name is not UTF-8");
    return ACHAR_OK;
}

static trace_node *import_node(trace_machine *m, int opcode)
{
    trace_node *node = node_new(m, ACHAR_GLOBAL, opcode, 0);
    if (node != NULL)
        node->python2 = m->protocol < 3;
    return node;
}

static int stack_global(trace_machine *m, trace_step *step)
{
    if (visible_count(m) < 2)
        return underflow(m);
    achar_value module = top(m)[-2], name = top(m)[-1];
    if (!may_be(module, ACHAR_STR) || !may_be(name, ACHAR_STR))
        return problem(m, ACHAR_E_TYPE, "an import of %s from %s",
                       achar_kind_name(achar_kind(name)), achar_kind_name(achar_kind(module)));
    trace_node *node = node_new(m, ACHAR_GLOBAL, OP_STACK_GLOBAL, 2);
    if (node == NULL)
        return achar__memory_status(m->mem);
    node->python2 = m->protocol < 3;
    node->children[0] = module;
    node->children[1] = name;
    node->count = node->kept_count = 2;
    take(m, step, 2);
    return push_node(m, step, node);
}

static int check_call(trace_machine *m, const achar_value *operands, size_t operands_count)
{
    int callable = achar_kind(operands[0]);
    if (!kind_is_object(callable))
        return problem(m, ACHAR_E_TYPE, "a call of %s", achar_kind_name(callable));
    if (operands_count > 1 && !may_be(operands[1], ACHAR_TUPLE))
        return problem(m, ACHAR_E_TYPE, "a call with arguments in %s, not in a tuple",
                       achar_kind_name(achar_kind(operands[1])));
    if (operands_count == 3 && !may_be(operands[2], ACHAR_DICT))
        return problem(m, ACHAR_E_TYPE, "a call with keywords in %s, not in a dict",
                       achar_kind_name(achar_kind(operands[2])));
    return ACHAR_OK;
}

/* REDUCE, NEWOBJ, NEWOBJ_EX. */
static int call(trace_machine *m, trace_step *step, size_t operands_count)
{
    if (visible_count(m) < operands_count)
        return underflow(m);
    int status = check_call(m, top(m) - operands_count, operands_count);
    if (status != ACHAR_OK)
        return status;
    trace_node *node = node_new(m, ACHAR_CALL, step->token.opcode, operands_count);
    if (node == NULL)
        return achar__memory_status(m->mem);
    take(m, step, operands_count);
    memcpy(node->children, top(m), operands_count * sizeof *node->children);
    node->count = node->kept_count = (uint32_t)operands_count;
    return push_node(m, step, node);
}

/* INST has its callable in its argument; OBJ has it at the bottom of the slice. */
static int call_with_slice(trace_machine *m, trace_step *step)
{
    bool inst = step->token.opcode == OP_INST;
    size_t count;
    int status = slice_count(m, &count);
    if (status != ACHAR_OK)
        return status;
    if (!inst && count == 0)
        return problem(m, ACHAR_E_STACK, "%s",
                       m->marks_count < 2 ? "too few values on the stack"
                                          : "too few values above the mark");
    if (!inst && (status = check_call(m, top(m) - count, 1)) != ACHAR_OK)
        return status;
    trace_node *node = node_new(m, ACHAR_CALL, step->token.opcode, 2);
    trace_node *import = inst && node != NULL ? import_node(m, OP_INST) : NULL;
    if (node == NULL || (inst && import == NULL))
        goto fail;
    size_t arguments_count = inst ? count : count - 1;
    trace_node *arguments = collect(m, step, ACHAR_TUPLE, arguments_count, false);
    if (arguments == NULL)
        goto fail;
    if (!inst)
        take(m, step, 1);
    node->children[0] = inst ? trace_value(ACHAR_GLOBAL, step->offset, import) : *top(m);
    node->children[1] = trace_value(ACHAR_TUPLE, step->offset, arguments);
    node->count = node->kept_count = 2;
    take(m, step, 1); /* the mark */
    m->marks_count--;
    return push_node(m, step, node);
fail:
    if (node != NULL)
        achar__trace_release(m, trace_value(ACHAR_CALL, 0, node));
    if (import != NULL)
        achar__trace_release(m, trace_value(ACHAR_GLOBAL, 0, import));
    return achar__memory_status(m->mem);
}

static int push_extension(trace_machine *m, trace_step *step, int64_t code)
{
    if (code <= 0)
        return problem(m, ACHAR_E_NUMBER, "extension code %lld is not above 0", (long long)code);
    trace_node *node = node_new(m, ACHAR_EXTENSION, step->token.opcode, 0);
    if (node != NULL)
        node->number = (uint64_t)code;
    return push_node(m, step, node);
}

/* One operand becomes part of what replaces it. */
static int wrap(trace_machine *m, trace_step *step, int kind)
{
    trace_node *node = node_new(m, kind, step->token.opcode, 1);
    if (node == NULL)
        return achar__memory_status(m->mem);
    take(m, step, 1);
    node->children[0] = *top(m);
    node->count = node->kept_count = 1;
    return push_node(m, step, node);
}

static int make_readonly(trace_machine *m, trace_step *step)
{
    if (visible_count(m) < 1)
        return underflow(m);
    achar_value value = top(m)[-1];
    if (achar_kind(value) != ACHAR_BUFFER)
        return problem(m, ACHAR_E_TYPE, "a buffer is taken from %s",
                       achar_kind_name(achar_kind(value)));
    /* the view of a view is itself */
    const trace_node *node = trace_node_of(value);
    if (node != NULL && node->opcode == OP_READONLY_BUFFER)
        return ACHAR_OK;
    return wrap(m, step, ACHAR_BUFFER);
}

/*
 * A frame that is longer than what is left of the input is a fault, to the reader already here. But
 * what there is of it people want to see: it becomes the frame, the fault is kept, and where its
 * bytes end the pickle does.
 */
static int begin_frame(trace_machine *m, trace_step *step)
{
    uint64_t nbytes = decode_uint8(step->token.data);
    const uint8_t *cursor = step->token.next;
    if (m->in_frame && (cursor != m->end || m->cut_frame.code != ACHAR_OK))
        return problem(m, ACHAR_E_FRAME, "a frame begins inside another");
    if (decode_room(cursor, m->input_end, nbytes)) {
        m->end = cursor + nbytes;
    } else {
        achar__fail(&m->cut_frame, ACHAR_E_TRUNCATED, step->offset, OP_FRAME,
                    "a frame of %llu bytes, but only %zu follow", (unsigned long long)nbytes,
                    (size_t)(m->input_end - cursor));
        m->end = m->input_end;
    }
    m->in_frame = true;
    return ACHAR_OK;
}

/* ---- one opcode ---- */

static int execute(trace_machine *m, trace_step *step)
{
    const token *t = &step->token;
    size_t count;
    int status;
    switch ((enum opcode)t->opcode) {
    case OP_BININT:
    case OP_BININT1:
    case OP_BININT2:
    case OP_LONG1:
    case OP_LONG4:
        return push_kind(m, step, ACHAR_INT);
    case OP_NONE:
        return push_kind(m, step, ACHAR_NONE);
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return push_kind(m, step, ACHAR_BOOL);
    case OP_BINFLOAT:
        return push_kind(m, step, ACHAR_FLOAT);
    case OP_INT:
    case OP_LONG:
    case OP_FLOAT:
    case OP_STRING:
    case OP_UNICODE:
        return push_line(m, step);
    case OP_BINSTRING:
    case OP_SHORT_BINSTRING:
        return push_python2(m, step);
    case OP_SHORT_BINUNICODE:
    case OP_BINUNICODE:
    case OP_BINUNICODE8:
        if (!text_is_ascii(t->data, t->nbytes) && !achar__utf8_valid(t->data, t->nbytes))
            return problem(m, ACHAR_E_TEXT, "the text is not UTF-8");
        return push_kind(m, step, ACHAR_STR);
    case OP_BINBYTES:
    case OP_SHORT_BINBYTES:
    case OP_BINBYTES8:
        return push_kind(m, step, ACHAR_BYTES);

    case OP_BYTEARRAY8:
        return push_node(m, step, node_new(m, ACHAR_BYTEARRAY, t->opcode, 0));
    case OP_NEXT_BUFFER: {
        trace_node *node = node_new(m, ACHAR_BUFFER, t->opcode, 0);
        if (node != NULL)
            node->number = m->buffers_count++;
        return push_node(m, step, node);
    }
    case OP_READONLY_BUFFER:
        return make_readonly(m, step);

    case OP_EMPTY_LIST:
        return push_node(m, step, node_new(m, ACHAR_LIST, t->opcode, 0));
    case OP_EMPTY_DICT:
        return push_node(m, step, node_new(m, ACHAR_DICT, t->opcode, 0));
    case OP_EMPTY_SET:
        return push_node(m, step, node_new(m, ACHAR_SET, t->opcode, 0));
    case OP_EMPTY_TUPLE:
        return push_kind(m, step, ACHAR_TUPLE);
    case OP_LIST:
    case OP_DICT:
    case OP_TUPLE:
    case OP_FROZENSET:
        if ((status = slice_count(m, &count)) != ACHAR_OK)
            return status;
        if (t->opcode == OP_DICT && count % 2 != 0)
            return problem(m, ACHAR_E_STACK, "a key without a value");
        if (t->opcode == OP_DICT || t->opcode == OP_FROZENSET) {
            bool dict = t->opcode == OP_DICT;
            status = check_hashable(m, top(m) - count, count, dict ? 2 : 1,
                                    dict ? "a dict's key" : "in a frozenset");
            if (status != ACHAR_OK)
                return status;
        }
        return push_collected(m, step,
                              t->opcode == OP_LIST    ? ACHAR_LIST
                              : t->opcode == OP_DICT  ? ACHAR_DICT
                              : t->opcode == OP_TUPLE ? ACHAR_TUPLE
                                                      : ACHAR_FROZENSET,
                              count, true);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        count = (size_t)(t->opcode - OP_TUPLE1) + 1;
        if (visible_count(m) < count)
            return underflow(m);
        return push_collected(m, step, ACHAR_TUPLE, count, false);

    case OP_APPEND:
        return change_by_few(m, step, ACHAR_LIST, 1);
    case OP_SETITEM:
        return change_by_few(m, step, ACHAR_DICT, 2);
    case OP_BUILD:
        return change_by_few(m, step, KIND_STATE, 1);
    case OP_APPENDS:
        return change_by_slice(m, step, ACHAR_LIST);
    case OP_SETITEMS:
        return change_by_slice(m, step, ACHAR_DICT);
    case OP_ADDITEMS:
        return change_by_slice(m, step, ACHAR_SET);

    case OP_MARK:
        return push_mark(m, step);
    case OP_POP:
        if (visible_count(m) != 0) {
            take_and_release(m, step, 1);
            return ACHAR_OK;
        }
        /* nothing above the mark: it takes the mark itself */
        /* fall through */
    case OP_POP_MARK:
        if ((status = slice_count(m, &count)) != ACHAR_OK)
            return status;
        take_and_release(m, step, count + 1);
        m->marks_count--;
        step->change_count = count;
        return ACHAR_OK;
    case OP_DUP:
        if (visible_count(m) < 1)
            return underflow(m);
        achar__trace_retain(top(m)[-1]);
        return push(m, step, top(m)[-1]);

    case OP_PUT:
    case OP_BINPUT:
    case OP_LONG_BINPUT:
    case OP_MEMOIZE:
        return put(m, step);
    case OP_GET:
    case OP_BINGET:
    case OP_LONG_BINGET:
        return get(m, step);

    case OP_GLOBAL:
        status = check_names(m, t);
        return status != ACHAR_OK ? status : push_node(m, step, import_node(m, t->opcode));
    case OP_STACK_GLOBAL:
        return stack_global(m, step);
    case OP_EXT1:
        return push_extension(m, step, t->data[0]);
    case OP_EXT2:
        return push_extension(m, step, decode_uint2(t->data));
    case OP_EXT4:
        return push_extension(m, step, decode_int4(t->data));
    case OP_PERSID:
        status = check_names(m, t);
        return status != ACHAR_OK ? status
                                  : push_node(m, step, node_new(m, ACHAR_PERSISTENT, t->opcode, 0));
    case OP_BINPERSID:
        return visible_count(m) < 1 ? underflow(m) : wrap(m, step, ACHAR_PERSISTENT);

    case OP_REDUCE:
    case OP_NEWOBJ:
        return call(m, step, 2);
    case OP_NEWOBJ_EX:
        return call(m, step, 3);
    case OP_INST:
        status = check_names(m, t);
        return status != ACHAR_OK ? status : call_with_slice(m, step);
    case OP_OBJ:
        return call_with_slice(m, step);

    case OP_PROTO:
        if (t->data[0] > PICKLE_PROTOCOL_MAX)
            return problem(m, ACHAR_E_PROTOCOL, "protocol %d; this library knows 0 to %d",
                           t->data[0], PICKLE_PROTOCOL_MAX);
        m->protocol = t->data[0];
        return ACHAR_OK;
    case OP_FRAME:
        return begin_frame(m, step);
    case OP_STOP:
        if (visible_count(m) < 1)
            return underflow(m);
        if (m->in_frame && (t->next != m->end || m->cut_frame.code != ACHAR_OK))
            return problem(m, ACHAR_E_FRAME, "STOP before the end of its frame");
        return ACHAR_OK;
    }
    return problem(m, ACHAR_E_OPCODE, "byte 0x%02x is not an opcode", t->opcode);
}

int achar__trace_machine_step(trace_machine *m, trace_step *step)
{
    bool cut = m->cut_frame.code != ACHAR_OK; /* its end is the input's */
    if (m->in_frame && m->cursor == m->end && !cut) {
        m->end = m->input_end;
        m->in_frame = false;
    }
    m->problem[0] = '\0';
    *step = (trace_step){.offset = (uint64_t)(m->cursor - m->data)};
    int status = achar__token_next(m->cursor, m->end, &step->token);
    const uint8_t *at = m->cursor;
    if (status == ACHAR_E_TRUNCATED && m->in_frame && !cut)
        return problem(m, ACHAR_E_FRAME, "the opcode's argument reaches past its frame");
    if (status == ACHAR_E_TRUNCATED)
        return problem(m, status, "the pickle ends %s",
                       at == m->end ? "without STOP" : "inside this opcode's argument");
    if (status == ACHAR_E_NUMBER)
        return problem(m, status, "an integer of %d bytes", decode_int4(at + 1));
    if (status == ACHAR_E_OPCODE)
        return problem(m, status, "byte 0x%02x is not an opcode", step->token.opcode);
    if ((status = reserve_stack(m)) == ACHAR_OK)
        status = execute(m, step);
    if (status == ACHAR_OK)
        m->cursor = step->token.next;
    else if (m->problem[0] == '\0')
        problem(m, status, "%s", achar_status_message(status));
    return status;
}

/* ---- beginning and end ---- */

static void empty(trace_machine *m)
{
    while (m->nodes != NULL)
        node_free(m, m->nodes);
    achar__trace_memo_free(m);
    m->stack_count = m->marks_count = 0;
}

void achar__trace_machine_init(trace_machine *m, memory *mem, const trace_limits *limits,
                               int encoding, bool keeps_all)
{
    *m = (trace_machine){
        .mem = mem, .limits = *limits, .encoding = encoding, .keeps_all = keeps_all};
    achar__trace_memo_init(m);
    achar__buffer_init(&m->scratch, mem);
}

void achar__trace_machine_begin(trace_machine *m, const uint8_t *data, size_t data_nbytes)
{
    empty(m);
    achar__trace_memo_init(m);
    m->data = m->cursor = data;
    m->input_end = m->end = data + data_nbytes;
    m->in_frame = false;
    m->cut_frame.code = ACHAR_OK;
    m->protocol = 0;
    m->buffers_count = 0;
}

void achar__trace_machine_free(trace_machine *m)
{
    empty(m);
    achar__memory_give(m->mem, m->stack, m->stack_capacity * sizeof *m->stack);
    achar__memory_give(m->mem, m->marks, m->marks_capacity * sizeof *m->marks);
    achar__buffer_free(&m->scratch);
}
