/*
 * read_stack.c - the memory of the reader's stack: cells, and beside them the marks, which are heights
 * of it. Both begin within the reading itself and double from there, up to the caller's limit.
 */
#include <string.h>

#include "codec/reading.h"

/* 'array' of 'old_nbytes' bytes, made larger; it lies in 'first' as long as it is small. */
static void *enlarge(reading *r, void *array, const void *first, size_t old_nbytes,
                     size_t new_nbytes)
{
    bool is_first = array == first;
    void *larger = achar__memory_resize(&r->graph->mem, is_first ? NULL : array,
                                        is_first ? 0 : old_nbytes, new_nbytes);
    if (larger != NULL && is_first)
        memcpy(larger, first, old_nbytes);
    return larger;
}

int achar__read_grow_stack(reading *r)
{
    size_t capacity = r->stack_capacity * 2;
    size_t max = r->options->max_stack_count;
    /* Room for one too many: that it is taken shows here. */
    if (max != 0 && capacity > max)
        capacity = max + 1;
    if (capacity <= r->stack_capacity)
        return achar__problem(r, ACHAR_E_LIMIT, "the stack is over its limit of %zu values", max);
    cell *stack = enlarge(r, r->stack, r->first_stack, r->stack_capacity * sizeof *stack,
                          capacity * sizeof *stack);
    if (stack == NULL)
        return achar__read_memory_problem(r);
    r->stack = stack;
    r->stack_capacity = capacity;
    return ACHAR_OK;
}

int achar__read_grow_marks(reading *r)
{
    size_t capacity = r->marks_capacity * 2;
    size_t max = r->options->max_stack_count;
    if (max != 0 && capacity > max)
        capacity = max;
    if (capacity <= r->marks_capacity)
        return achar__problem(r, ACHAR_E_LIMIT, "the stack is at its limit of %zu marks", max);
    size_t *marks = enlarge(r, r->marks, r->first_marks, r->marks_capacity * sizeof *marks,
                            capacity * sizeof *marks);
    if (marks == NULL)
        return achar__read_memory_problem(r);
    r->marks = marks;
    r->marks_capacity = capacity;
    return ACHAR_OK;
}

void achar__read_stack_init(reading *r)
{
    size_t max = r->options->max_stack_count;
    r->stack = r->first_stack;
    r->stack_capacity = max != 0 && max < STACK_FIRST_COUNT ? max + 1 : STACK_FIRST_COUNT;
    r->marks = r->first_marks;
    r->marks_capacity = max != 0 && max < MARKS_FIRST_COUNT ? max : MARKS_FIRST_COUNT;
}

void achar__read_stack_free(reading *r)
{
    if (r->stack != r->first_stack)
        achar__memory_give(&r->graph->mem, r->stack, r->stack_capacity * sizeof *r->stack);
    if (r->marks != r->first_marks)
        achar__memory_give(&r->graph->mem, r->marks, r->marks_capacity * sizeof *r->marks);
}
