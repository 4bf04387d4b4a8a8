/* life.c - how a loader begins and ends, and its stack. */
#include "python/loader/core.h"

void loader_init(loader *ld, module_state *st)
{
    ld->st = st;
    loader_input_memory(&ld->in, NULL, 0);
    ld->stack = ld->top = ld->fence = ld->inline_stack;
    ld->limit = ld->stack + LOADER_INLINE_STACK;
    ld->marks = ld->inline_marks;
    ld->marks_count = 0;
    ld->marks_capacity = LOADER_INLINE_MARKS;
    loader_memo_init(&ld->memo);
    ld->unpickler = NULL;
    ld->persistent_load = NULL;
    ld->buffers = NULL;
    ld->encoding = "ASCII";
    ld->errors = "strict";
    ld->protocol = 0;
    ld->fix_imports = true;
    ld->superset = false;
    ld->find_class_overridden = false;
    ld->running = false;
    ld->pausing = false;
    ld->planned = false;
    ld->fault = LOADER_FAULT_NONE;
    ld->shapes = NULL;
    ld->templates = NULL;
    ld->named = NULL;
    ld->keys_cached = 0;
    ld->opcode_at = NULL;
    ld->opcode_offset = 0;
}

int loader_set_buffers(loader *ld, PyObject *buffers)
{
    if (!buffers || buffers == Py_None)
        return 0;
    PyObject *iterator = PyObject_GetIter(buffers);
    if (!iterator)
        return -1;
    Py_XSETREF(ld->buffers, iterator);
    return 0;
}

void loader_clear_working(loader *ld)
{
    for (unsigned i = 0; ld->keys_cached; i++, ld->keys_cached >>= 1) {
        if (ld->keys_cached & 1) {
            Py_DECREF(ld->key_cache[i].key);
            Py_DECREF(ld->key_cache[i].interned);
        }
    }
    if (ld->shapes)
        loader_shapes_clear(ld);
    if (ld->templates)
        loader_templates_clear(ld);
    if (ld->named)
        loader_named_clear(ld);
    while (ld->top > ld->stack) {
        ld->top--;
        Py_XDECREF(*ld->top);
    }
    if (ld->stack != ld->inline_stack) {
        PyMem_Free(ld->stack);
        ld->stack = ld->top = ld->inline_stack;
        ld->limit = ld->stack + LOADER_INLINE_STACK;
    }
    if (ld->marks != ld->inline_marks) {
        PyMem_Free(ld->marks);
        ld->marks = ld->inline_marks;
        ld->marks_capacity = LOADER_INLINE_MARKS;
    }
    ld->fence = ld->stack;
    ld->marks_count = 0;
}

void loader_clear(loader *ld)
{
    loader_clear_working(ld);
    loader_memo_clear(&ld->memo);
    loader_input_clear(&ld->in);
    Py_CLEAR(ld->persistent_load);
    Py_CLEAR(ld->buffers);
}

void loader_end(loader *ld)
{
    loader_memo_end(&ld->memo);
    loader_input_clear(&ld->in);
    Py_XDECREF(ld->persistent_load);
    Py_XDECREF(ld->buffers);
}

int loader_grow_stack(loader *ld)
{
    size_t count = (size_t)(ld->top - ld->stack), fence = (size_t)(ld->fence - ld->stack);
    size_t capacity = (size_t)(ld->limit - ld->stack) * 2;
    PyObject **stack = ld->stack == ld->inline_stack ? NULL : ld->stack;
    stack = PyMem_Realloc(stack, capacity * sizeof *stack);
    if (!stack) {
        PyErr_NoMemory();
        return -1;
    }
    if (ld->stack == ld->inline_stack)
        memcpy(stack, ld->stack, count * sizeof *stack);
    ld->stack = stack;
    ld->top = stack + count;
    ld->fence = stack + fence;
    ld->limit = stack + capacity;
    return 0;
}
