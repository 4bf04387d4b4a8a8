/*
 * trace_inside.h - what the files of the machine of trace_machine.h know of each other.
 *
 * trace_machine.c  the loop over the opcodes; the memo's opcodes, imports, calls, buffers
 * trace_node.c     nodes: their memory, and the values that they keep
 * trace_stack.c    the stack and its marks
 * trace_text.c     what stands in the input as text: lines, Python 2's str
 * trace_change.c   containers, and what is put into them
 * trace_memo.c     the memo (trace_memo.h)
 *
 * Functions that return an int return ACHAR_OK, or a code that ends the trace.
 */
#ifndef ACHAR_CODEC_TRACE_INSIDE_H
#define ACHAR_CODEC_TRACE_INSIDE_H

#include "base/error.h"
#include "codec/trace_machine.h"
#include "codec/trace_memo.h"

/* ---- trace_node.c; retaining and releasing is in trace_memo.h ---- */

trace_node *achar__trace_node_new(trace_machine *m, int kind, int opcode, size_t children_max);
void achar__trace_node_free(trace_machine *m, trace_node *node);
/* Room for 'count' more values, as far as they will be kept. */
bool achar__trace_reserve_children(trace_machine *m, trace_node *node, size_t count);
/* The values become the node's: the first few are kept. There is room for them. */
void achar__trace_give_children(trace_machine *m, trace_node *node, const achar_value *values,
                                size_t count);

/* ---- trace_stack.c ---- */

/* Says why the opcode fails; returns 'code'. */
__attribute__((format(printf, 3, 4))) int achar__trace_problem(trace_machine *m, int code,
                                                               const char *format, ...);
int achar__trace_underflow(trace_machine *m);
/* Room for one more. */
int achar__trace_reserve_stack(trace_machine *m);
int achar__trace_push_node(trace_machine *m, trace_step *step, trace_node *node);
int achar__trace_push_mark(trace_machine *m, trace_step *step);
void achar__trace_take_and_release(trace_machine *m, trace_step *step, size_t count);

static inline achar_value *trace_top(const trace_machine *m)
{
    return m->stack + m->stack_count;
}

/* What an opcode can see: the entries above the last mark. */
static inline size_t trace_visible_count(const trace_machine *m)
{
    return m->marks_count == 0 ? m->stack_count : m->stack_count - m->marks[m->marks_count - 1] - 1;
}

/* There is always room for one more: step() sees to it. */
static inline int trace_push(trace_machine *m, trace_step *step, achar_value value)
{
    m->stack[m->stack_count++] = value;
    step->pushed = true;
    return ACHAR_OK;
}

static inline int trace_push_kind(trace_machine *m, trace_step *step, int kind)
{
    return trace_push(m, step, trace_value(kind, step->offset, NULL));
}

/* Takes 'count' entries off; their owner is now somebody else. */
static inline void trace_take(trace_machine *m, trace_step *step, size_t count)
{
    m->stack_count -= count;
    step->taken_count += count;
}

/* ---- trace_text.c ---- */

/* Lets the reader judge an opcode that only has an argument: the opcode and STOP are a pickle of
 * their own. */
int achar__trace_ask_reader(trace_machine *m, trace_step *step);
/* INT, LONG, FLOAT, STRING, UNICODE. */
int achar__trace_push_line(trace_machine *m, trace_step *step);
/* Python 2's str with its size in front. */
int achar__trace_push_python2(trace_machine *m, trace_step *step);

/* ---- trace_change.c ---- */

/* What lies above the last mark, which must exist. */
int achar__trace_slice_count(trace_machine *m, size_t *count);
int achar__trace_check_hashable(trace_machine *m, const achar_value *values, size_t count,
                                size_t stride, const char *use);
/* The last 'count' values, and perhaps the mark before them, become a new node's children. */
trace_node *achar__trace_collect(trace_machine *m, trace_step *step, int kind, size_t count,
                                 bool mark);
int achar__trace_push_collected(trace_machine *m, trace_step *step, int kind, size_t count,
                                bool mark);
bool achar__trace_may_be(achar_value value, int kind);
/* APPENDS, SETITEMS, ADDITEMS: below the mark lies what is changed, not beyond the mark before. */
int achar__trace_change_by_slice(trace_machine *m, trace_step *step, int kind);
int achar__trace_change_by_few(trace_machine *m, trace_step *step, int kind, size_t count);

#endif
