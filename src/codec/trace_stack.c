/* trace_stack.c - the stack of the traced machine, and why an opcode fails. */
#include "codec/trace_inside.h"

#include <stdarg.h>
#include <stdio.h>

enum { STACK_FIRST_COUNT = SIZE_OR_TINY(64, 1) };

int achar__trace_problem(trace_machine *m, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(m->problem, sizeof m->problem, format, arguments);
    va_end(arguments);
    return code;
}

int achar__trace_underflow(trace_machine *m)
{
    return achar__trace_problem(m, ACHAR_E_STACK, "%s",
                                m->marks_count == 0 ? "too few values on the stack"
                                                    : "too few values above the mark");
}

int achar__trace_reserve_stack(trace_machine *m)
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

int achar__trace_push_node(trace_machine *m, trace_step *step, trace_node *node)
{
    if (node == NULL)
        return achar__memory_status(m->mem);
    return trace_push(m, step, trace_value(node->kind, step->offset, node));
}

int achar__trace_push_mark(trace_machine *m, trace_step *step)
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
    return trace_push_kind(m, step, KIND_MARK);
}

void achar__trace_take_and_release(trace_machine *m, trace_step *step, size_t count)
{
    trace_take(m, step, count);
    for (size_t i = 0; i < count; i++)
        achar__trace_release(m, trace_top(m)[i]);
}
