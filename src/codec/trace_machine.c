/*
 * trace_machine.c - one opcode after another, for trace_machine.h. What it is made of is in trace_inside.h.
 *
 * A step first checks all that it needs and only then changes anything: where it fails, the state is
 * the one that people have to see. The checks are the reader's, in its order; a test compares them.
 */
#include "codec/decode.h"
#include "codec/text.h"
#include "codec/trace_inside.h"

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
            return achar__trace_ask_reader(m, step); /* which refuses it as well */
        step->memo_index = (uint64_t)number;
    }
    return ACHAR_OK;
}

static int put(trace_machine *m, trace_step *step)
{
    int status = memo_index(m, step);
    if (status != ACHAR_OK)
        return status;
    if (trace_visible_count(m) < 1)
        return achar__trace_underflow(m);
    status = achar__trace_memo_put(m, step->memo_index, trace_top(m)[-1], step->token.next);
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
        return achar__trace_problem(m, ACHAR_E_MEMO, "nothing in the memo at %llu",
                                    (unsigned long long)step->memo_index);
    achar__trace_retain(*known);
    step->got = true;
    return trace_push(m, step, *known);
}

/* ---- imports and calls ---- */

/* The lines of GLOBAL and INST, the line of PERSID. */
static int check_names(trace_machine *m, const token *t)
{
    if (!achar__utf8_valid(t->data, t->nbytes) ||
        (t->second != NULL && !achar__utf8_valid(t->second, t->second_nbytes)))
        return achar__trace_problem(m, ACHAR_E_TEXT, "the name is not UTF-8");
    return ACHAR_OK;
}

static trace_node *import_node(trace_machine *m, int opcode)
{
    trace_node *node = achar__trace_node_new(m, ACHAR_GLOBAL, opcode, 0);
    if (node != NULL)
        node->python2 = m->protocol < 3;
    return node;
}

static int stack_global(trace_machine *m, trace_step *step)
{
    if (trace_visible_count(m) < 2)
        return achar__trace_underflow(m);
    achar_value module = trace_top(m)[-2], name = trace_top(m)[-1];
    if (!achar__trace_may_be(module, ACHAR_STR) || !achar__trace_may_be(name, ACHAR_STR))
        return achar__trace_problem(m, ACHAR_E_TYPE, "an import of %s from %s",
                                    achar_kind_name(achar_kind(name)),
                                    achar_kind_name(achar_kind(module)));
    trace_node *node = achar__trace_node_new(m, ACHAR_GLOBAL, OP_STACK_GLOBAL, 2);
    if (node == NULL)
        return achar__memory_status(m->mem);
    node->python2 = m->protocol < 3;
    node->children[0] = module;
    node->children[1] = name;
    node->count = node->kept_count = 2;
    trace_take(m, step, 2);
    return achar__trace_push_node(m, step, node);
}

static int check_call(trace_machine *m, const achar_value *operands, size_t operands_count)
{
    int callable = achar_kind(operands[0]);
    if (!kind_is_object(callable))
        return achar__trace_problem(m, ACHAR_E_TYPE, "a call of %s", achar_kind_name(callable));
    if (operands_count > 1 && !achar__trace_may_be(operands[1], ACHAR_TUPLE))
        return achar__trace_problem(m, ACHAR_E_TYPE, "a call with arguments in %s, not in a tuple",
                                    achar_kind_name(achar_kind(operands[1])));
    if (operands_count == 3 && !achar__trace_may_be(operands[2], ACHAR_DICT))
        return achar__trace_problem(m, ACHAR_E_TYPE, "a call with keywords in %s, not in a dict",
                                    achar_kind_name(achar_kind(operands[2])));
    return ACHAR_OK;
}

/* REDUCE, NEWOBJ, NEWOBJ_EX. */
static int call(trace_machine *m, trace_step *step, size_t operands_count)
{
    if (trace_visible_count(m) < operands_count)
        return achar__trace_underflow(m);
    int status = check_call(m, trace_top(m) - operands_count, operands_count);
    if (status != ACHAR_OK)
        return status;
    trace_node *node = achar__trace_node_new(m, ACHAR_CALL, step->token.opcode, operands_count);
    if (node == NULL)
        return achar__memory_status(m->mem);
    trace_take(m, step, operands_count);
    memcpy(node->children, trace_top(m), operands_count * sizeof *node->children);
    node->count = node->kept_count = (uint32_t)operands_count;
    return achar__trace_push_node(m, step, node);
}

/* INST has its callable in its argument; OBJ has it at the bottom of the slice. */
static int call_with_slice(trace_machine *m, trace_step *step)
{
    bool inst = step->token.opcode == OP_INST;
    size_t count;
    int status = achar__trace_slice_count(m, &count);
    if (status != ACHAR_OK)
        return status;
    if (!inst && count == 0)
        return achar__trace_problem(m, ACHAR_E_STACK, "%s",
                                    m->marks_count < 2 ? "too few values on the stack"
                                                       : "too few values above the mark");
    if (!inst && (status = check_call(m, trace_top(m) - count, 1)) != ACHAR_OK)
        return status;
    trace_node *node = achar__trace_node_new(m, ACHAR_CALL, step->token.opcode, 2);
    trace_node *import = inst && node != NULL ? import_node(m, OP_INST) : NULL;
    if (node == NULL || (inst && import == NULL))
        goto fail;
    size_t arguments_count = inst ? count : count - 1;
    trace_node *arguments = achar__trace_collect(m, step, ACHAR_TUPLE, arguments_count, false);
    if (arguments == NULL)
        goto fail;
    if (!inst)
        trace_take(m, step, 1);
    node->children[0] = inst ? trace_value(ACHAR_GLOBAL, step->offset, import) : *trace_top(m);
    node->children[1] = trace_value(ACHAR_TUPLE, step->offset, arguments);
    node->count = node->kept_count = 2;
    trace_take(m, step, 1); /* the mark */
    m->marks_count--;
    return achar__trace_push_node(m, step, node);
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
        return achar__trace_problem(m, ACHAR_E_NUMBER, "extension code %lld is not above 0",
                                    (long long)code);
    trace_node *node = achar__trace_node_new(m, ACHAR_EXTENSION, step->token.opcode, 0);
    if (node != NULL)
        node->number = (uint64_t)code;
    return achar__trace_push_node(m, step, node);
}

/* One operand becomes part of what replaces it. */
static int wrap(trace_machine *m, trace_step *step, int kind)
{
    trace_node *node = achar__trace_node_new(m, kind, step->token.opcode, 1);
    if (node == NULL)
        return achar__memory_status(m->mem);
    trace_take(m, step, 1);
    node->children[0] = *trace_top(m);
    node->count = node->kept_count = 1;
    return achar__trace_push_node(m, step, node);
}

static int make_readonly(trace_machine *m, trace_step *step)
{
    if (trace_visible_count(m) < 1)
        return achar__trace_underflow(m);
    achar_value value = trace_top(m)[-1];
    if (achar_kind(value) != ACHAR_BUFFER)
        return achar__trace_problem(m, ACHAR_E_TYPE, "a buffer is taken from %s",
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
        return achar__trace_problem(m, ACHAR_E_FRAME, "a frame begins inside another");
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
        return trace_push_kind(m, step, ACHAR_INT);
    case OP_NONE:
        return trace_push_kind(m, step, ACHAR_NONE);
    case OP_NEWTRUE:
    case OP_NEWFALSE:
        return trace_push_kind(m, step, ACHAR_BOOL);
    case OP_BINFLOAT:
        return trace_push_kind(m, step, ACHAR_FLOAT);
    case OP_INT:
    case OP_LONG:
    case OP_FLOAT:
    case OP_STRING:
    case OP_UNICODE:
        return achar__trace_push_line(m, step);
    case OP_BINSTRING:
    case OP_SHORT_BINSTRING:
        return achar__trace_push_python2(m, step);
    case OP_SHORT_BINUNICODE:
    case OP_BINUNICODE:
    case OP_BINUNICODE8:
        if (!text_is_ascii(t->data, t->nbytes) && !achar__utf8_valid(t->data, t->nbytes))
            return achar__trace_problem(m, ACHAR_E_TEXT, "the text is not UTF-8");
        return trace_push_kind(m, step, ACHAR_STR);
    case OP_BINBYTES:
    case OP_SHORT_BINBYTES:
    case OP_BINBYTES8:
        return trace_push_kind(m, step, ACHAR_BYTES);

    case OP_BYTEARRAY8:
        return achar__trace_push_node(m, step,
                                      achar__trace_node_new(m, ACHAR_BYTEARRAY, t->opcode, 0));
    case OP_NEXT_BUFFER: {
        trace_node *node = achar__trace_node_new(m, ACHAR_BUFFER, t->opcode, 0);
        if (node != NULL)
            node->number = m->buffers_count++;
        return achar__trace_push_node(m, step, node);
    }
    case OP_READONLY_BUFFER:
        return make_readonly(m, step);

    case OP_EMPTY_LIST:
        return achar__trace_push_node(m, step, achar__trace_node_new(m, ACHAR_LIST, t->opcode, 0));
    case OP_EMPTY_DICT:
        return achar__trace_push_node(m, step, achar__trace_node_new(m, ACHAR_DICT, t->opcode, 0));
    case OP_EMPTY_SET:
        return achar__trace_push_node(m, step, achar__trace_node_new(m, ACHAR_SET, t->opcode, 0));
    case OP_EMPTY_TUPLE:
        return trace_push_kind(m, step, ACHAR_TUPLE);
    case OP_LIST:
    case OP_DICT:
    case OP_TUPLE:
    case OP_FROZENSET:
        if ((status = achar__trace_slice_count(m, &count)) != ACHAR_OK)
            return status;
        if (t->opcode == OP_DICT && count % 2 != 0)
            return achar__trace_problem(m, ACHAR_E_STACK, "a key without a value");
        if (t->opcode == OP_DICT || t->opcode == OP_FROZENSET) {
            bool dict = t->opcode == OP_DICT;
            status = achar__trace_check_hashable(m, trace_top(m) - count, count, dict ? 2 : 1,
                                                 dict ? "a dict's key" : "in a frozenset");
            if (status != ACHAR_OK)
                return status;
        }
        return achar__trace_push_collected(m, step,
                                           t->opcode == OP_LIST    ? ACHAR_LIST
                                           : t->opcode == OP_DICT  ? ACHAR_DICT
                                           : t->opcode == OP_TUPLE ? ACHAR_TUPLE
                                                                   : ACHAR_FROZENSET,
                                           count, true);
    case OP_TUPLE1:
    case OP_TUPLE2:
    case OP_TUPLE3:
        count = (size_t)(t->opcode - OP_TUPLE1) + 1;
        if (trace_visible_count(m) < count)
            return achar__trace_underflow(m);
        return achar__trace_push_collected(m, step, ACHAR_TUPLE, count, false);

    case OP_APPEND:
        return achar__trace_change_by_few(m, step, ACHAR_LIST, 1);
    case OP_SETITEM:
        return achar__trace_change_by_few(m, step, ACHAR_DICT, 2);
    case OP_BUILD:
        return achar__trace_change_by_few(m, step, KIND_STATE, 1);
    case OP_APPENDS:
        return achar__trace_change_by_slice(m, step, ACHAR_LIST);
    case OP_SETITEMS:
        return achar__trace_change_by_slice(m, step, ACHAR_DICT);
    case OP_ADDITEMS:
        return achar__trace_change_by_slice(m, step, ACHAR_SET);

    case OP_MARK:
        return achar__trace_push_mark(m, step);
    case OP_POP:
        if (trace_visible_count(m) != 0) {
            achar__trace_take_and_release(m, step, 1);
            return ACHAR_OK;
        }
        /* nothing above the mark: it takes the mark itself */
        /* fall through */
    case OP_POP_MARK:
        if ((status = achar__trace_slice_count(m, &count)) != ACHAR_OK)
            return status;
        achar__trace_take_and_release(m, step, count + 1);
        m->marks_count--;
        step->change_count = count;
        return ACHAR_OK;
    case OP_DUP:
        if (trace_visible_count(m) < 1)
            return achar__trace_underflow(m);
        achar__trace_retain(trace_top(m)[-1]);
        return trace_push(m, step, trace_top(m)[-1]);

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
        return status != ACHAR_OK ? status
                                  : achar__trace_push_node(m, step, import_node(m, t->opcode));
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
        return status != ACHAR_OK
                   ? status
                   : achar__trace_push_node(
                         m, step, achar__trace_node_new(m, ACHAR_PERSISTENT, t->opcode, 0));
    case OP_BINPERSID:
        return trace_visible_count(m) < 1 ? achar__trace_underflow(m)
                                          : wrap(m, step, ACHAR_PERSISTENT);

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
            return achar__trace_problem(m, ACHAR_E_PROTOCOL,
                                        "protocol %d; this library knows 0 to %d", t->data[0],
                                        PICKLE_PROTOCOL_MAX);
        m->protocol = t->data[0];
        return ACHAR_OK;
    case OP_FRAME:
        return begin_frame(m, step);
    case OP_STOP:
        if (trace_visible_count(m) < 1)
            return achar__trace_underflow(m);
        if (m->in_frame && (t->next != m->end || m->cut_frame.code != ACHAR_OK))
            return achar__trace_problem(m, ACHAR_E_FRAME, "STOP before the end of its frame");
        return ACHAR_OK;
    }
    return achar__trace_problem(m, ACHAR_E_OPCODE, "byte 0x%02x is not an opcode", t->opcode);
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
        return achar__trace_problem(m, ACHAR_E_FRAME,
                                    "the opcode's argument reaches past its frame");
    if (status == ACHAR_E_TRUNCATED)
        return achar__trace_problem(m, status, "the pickle ends %s",
                                    at == m->end ? "without STOP"
                                                 : "inside this opcode's argument");
    if (status == ACHAR_E_NUMBER)
        return achar__trace_problem(m, status, "an integer of %d bytes", decode_int4(at + 1));
    if (status == ACHAR_E_OPCODE)
        return achar__trace_problem(m, status, "byte 0x%02x is not an opcode", step->token.opcode);
    if ((status = achar__trace_reserve_stack(m)) == ACHAR_OK)
        status = execute(m, step);
    if (status == ACHAR_OK)
        m->cursor = step->token.next;
    else if (m->problem[0] == '\0')
        achar__trace_problem(m, status, "%s", achar_status_message(status));
    return status;
}

/* ---- beginning and end ---- */

static void empty(trace_machine *m)
{
    while (m->nodes != NULL)
        achar__trace_node_free(m, m->nodes);
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
