/*
 * core.h - the loader's machine, shared by the files of this folder.
 *
 * One struct per load (on the C stack for loads(), inside the object for an Unpickler). The picture:
 *
 *      input:  start ........ next ............ end           bytes of the current chunk
 *      stack:  stack [obj obj | obj obj obj ] top ... limit   owned references
 *                             ^ fence: above the innermost mark
 *      memo:   slots[0 .. used)                               owned references, NULL for a hole
 *
 * Invariants:
 *  - A loader that runs is used by nobody else (the Unpickler refuses re-entry), so Python code that
 *    runs in the middle of an opcode cannot change input, stack or marks; only the memo (through
 *    Unpickler.memo), persistent_load and the containers on the stack.
 *  - Everything between 'stack' and 'top' is a strong reference; popping takes it over. The one
 *    exception is the place of a dict that is not made yet (dicts.c): NULL, under a mark.
 *  - The collector is paused while a load runs and no Python code does: whatever may run Python
 *    stands between loader_call_begin() and loader_call_end().
 */
#ifndef ACHAR_PYTHON_LOADER_CORE_H
#define ACHAR_PYTHON_LOADER_CORE_H

#include "base/memory.h"
#include "codec/decode.h"
#include "codec/opcodes.h"
#include "python/loader/loader.h"
#include "python/loader/memo.h"
#include "python/compat.h"

#include <stdbool.h>
#include <stdint.h>

#define LOADER_LIKELY(x)   __builtin_expect(!!(x), 1)
#define LOADER_UNLIKELY(x) __builtin_expect(!!(x), 0)

enum {
    LOADER_INLINE_STACK = SIZE_OR_TINY(128, 1), /* entries; deeper stacks go to the heap */
    LOADER_INLINE_MARKS = SIZE_OR_TINY(32, 1),
    /* Inputs below this cannot hold enough containers to make the collector run. */
    LOADER_PAUSE_NBYTES = SIZE_OR_TINY(1024, 1),
    /* What a length in the stream may make us ask of a file, or allocate, before we have seen it. */
    LOADER_CHUNK_NBYTES = 1 << 22,
    LOADER_PREFETCH_NBYTES = 128 * 1024,
    /* Hashing a tuple recurses in C: 10,000 levels need about 2 MB of the 8 MB stack. */
    LOADER_KEY_DEPTH = 10000,
    LOADER_KEY_CACHE = SIZE_OR_TINY(32, 1), /* entries; at most the bits of an unsigned */
};

/* What the exception that is set says of the input, and with it what to do. */
enum loader_fault {
    LOADER_FAULT_NONE, /* it came from elsewhere */
    LOADER_FAULT_END,
    LOADER_FAULT_TRUNCATED,
    LOADER_FAULT_DAMAGED,
    LOADER_FAULT_PROTOCOL,
    LOADER_FAULT_PERSISTENT,
    LOADER_FAULT_BUFFERS,
};

/* A str from the stream and the interned one equal to it; both owned. */
typedef struct loader_key {
    PyObject *key;
    PyObject *interned;
} loader_key;

/*
 * Where the bytes come from: memory (read == NULL) or a file's methods.
 *
 * 'end' is the end of the current frame where the interpreter enforces frames (the chunk holds all of
 * it), else chunk_end. Bytes from 'peeked' on were only peeked at: the file's
 * position is before them.
 */
typedef struct loader_input {
    const uint8_t *next;
    const uint8_t *end;
    const uint8_t *start;
    const uint8_t *chunk_end;
    const uint8_t *peeked;
    uint64_t start_offset; /* of 'start' in the stream */
    bool in_frame;         /* 'end' is a frame's */
    Py_buffer view;        /* what 'start' points into, if view.obj */
    uint8_t *scratch;      /* or this: a chunk put together from several */
    size_t scratch_capacity;
    PyObject *read;
    PyObject *readinto; /* optional */
    PyObject *readline;
    PyObject *peek; /* optional */
} loader_input;

typedef struct loader {
    module_state *st;
    loader_input in;

    PyObject **stack;
    PyObject **top;
    PyObject **limit;
    PyObject **fence;
    size_t *marks; /* stack heights */
    size_t marks_count;
    size_t marks_capacity;

    loader_memo memo;

    PyObject *unpickler;       /* borrowed; NULL: load() and loads(), which have no object */
    PyObject *persistent_load; /* owned; NULL: none */
    PyObject *buffers;         /* owned iterator, or NULL */
    const char *encoding;      /* lives as long as the loader */
    const char *errors;
    int protocol; /* of the stream, 0 until PROTO */
    bool fix_imports;
    bool superset;
    bool find_class_overridden;
    bool running;
    bool pausing; /* this load holds a pause of the collector */
    bool planned; /* a plan has been asked for, whether there is one or not */

    enum loader_fault fault;
    struct loader_shapes *shapes;       /* state.c; NULL until needed */
    struct loader_templates *templates; /* dicts.c; NULL until needed */
    struct loader_named *named;         /* known.c; NULL until needed */
    unsigned keys_cached;               /* bit i: key_cache[i] is in use; only while a load runs */
    loader_key key_cache[LOADER_KEY_CACHE];

    /* Where the current opcode began: a pointer while it is in the chunk, else its offset. */
    const uint8_t *opcode_at;
    uint64_t opcode_offset;
    uint64_t pickle_offset; /* where the pickle began that is being loaded */
    bool explained;         /* the exception that is set has been told what is missing */

    size_t inline_marks[LOADER_INLINE_MARKS];
    PyObject *inline_stack[LOADER_INLINE_STACK];
} loader;

/* loader.c */

/* Loads one object from the input, keeping the memo. A new reference; NULL with an exception set. */
PyObject *loader_run(loader *ld);

/* life.c */

/* An idle loader with an empty memory input. Cannot fail. */
void loader_init(loader *ld, module_state *st);
/* Frees all; the loader may be initialised again. Runs Python code (finalizers). */
void loader_clear(loader *ld);
/* The same for a loader that nobody else can see and that is not used again, after loader_run(). */
void loader_end(loader *ld);
/* What options.buffers asks for. 0, or -1 with an exception set. */
int loader_set_buffers(loader *ld, PyObject *buffers);
/* Empties what only a running load needs, and gives back what that has taken from the heap. */
void loader_clear_working(loader *ld);
/* Room for one more entry at least. 0, or -1 with MemoryError set. */
int loader_grow_stack(loader *ld);

/*
 * loader_call_begin/end stand around everything that may run Python code: they let the collector
 * run in between. They nest across loaders (state.h: gc_pauses), so overlapping loads of several
 * threads end with the collector as they found it.
 */
static inline void loader_gc_pause(module_state *st)
{
    if (st->gc_pauses++ == 0)
        st->gc_was_enabled = PyGC_Disable();
}

static inline void loader_gc_resume(module_state *st)
{
    if (--st->gc_pauses == 0 && st->gc_was_enabled)
        PyGC_Enable();
}

static inline void loader_call_begin(loader *ld)
{
    if (ld->pausing)
        loader_gc_resume(ld->st);
}

static inline void loader_call_end(loader *ld)
{
    if (ld->pausing)
        loader_gc_pause(ld->st);
}

/* input.c */

void loader_input_memory(loader_input *in, const void *data, size_t nbytes);
/* Takes the methods of 'file'. 0, or -1 with TypeError (or what getattr raised) set. */
int loader_input_file(loader_input *in, PyObject *file);
void loader_input_clear(loader_input *in);
/* Makes 'nbytes' contiguous bytes readable at in.next. 0, or -1 with an exception set. */
int loader_need(loader *ld, uint64_t nbytes);
/* As loader_need(1) at an opcode; the end of the input is EOFError. */
int loader_need_opcode(loader *ld);
/*
 * Copies the next 'nbytes' to 'to', memory of 'owner', without a detour for large ones from files. 0
 * or -1.
 */
int loader_read_into(loader *ld, PyObject *owner, uint8_t *to, size_t nbytes);
/* The next line without its '\n', valid until the next read; in.next is behind it. 0 or -1. */
int loader_line(loader *ld, const uint8_t **line, size_t *nbytes);
/* After STOP: moves the file's position behind what was used. 0 or -1. */
int loader_input_finish(loader *ld);
/* At FRAME's argument 'nbytes', which is read already. 0 or -1. */
int loader_enter_frame(loader *ld, uint64_t nbytes);

/* errors.c: each sets an exception and returns -1 */

int loader_fail(loader *ld, const char *format, ...); /* UnpicklingError */
int loader_fail_truncated(loader *ld);
int loader_fail_underflow(loader *ld);
int loader_fail_opcode(loader *ld, uint8_t code);
int loader_fail_too_large(loader *ld, const char *opcode_name); /* OverflowError */
/* In superset mode: completes the exception that is set by where in the stream it arose. */
void loader_explain(loader *ld, uint8_t code);
/* In superset mode: what to do about a global that cannot be had. */
void loader_explain_global(loader *ld, PyObject *module_name, PyObject *name);
/*
 * In superset mode, where the global that cannot be had is the class of an exception by value: a class
 * that stands in for it, a new reference, and no exception is set any more. NULL: the exception stays.
 */
PyObject *loader_stand_in(loader *ld, PyObject *module_name, PyObject *name);

/* Opcode handlers that are not worth inlining: they work on ld alone; 0, or -1 with an exception. */

/*
 * plan.c: once in a load, where all of the input is in memory and Python cannot see the memo, finds
 * out what of the rest may be fetched. Called between two opcodes. 'of_objects': there are states
 * in it, which gain most. Cannot fail.
 */
void loader_plan(loader *ld, bool of_objects);

/* scalars.c */
/*
 * The object of a pickle that is one small scalar and nothing else, which needs no machine. NULL
 * without an exception: the pickle is of another kind, or something is wrong.
 */
PyObject *loader_lone_scalar(const module_state *st, const uint8_t *at, size_t nbytes);
int loader_op_int(loader *ld);
int loader_op_long(loader *ld);
int loader_op_counted_long(loader *ld, const uint8_t *bytes, size_t nbytes);
int loader_op_float(loader *ld);
int loader_op_string(loader *ld);
int loader_op_binstring(loader *ld, const uint8_t *bytes, size_t nbytes);
int loader_op_unicode(loader *ld);
int loader_op_bytes(loader *ld, uint64_t nbytes);
int loader_op_bytearray(loader *ld, uint64_t nbytes);
int loader_op_next_buffer(loader *ld);
int loader_op_readonly_buffer(loader *ld);
int loader_op_get(loader *ld);
int loader_op_put(loader *ld);

/* items.c; 'count' entries on top of the stack, whose mark has been taken */
int loader_op_append(loader *ld, size_t count);
int loader_op_setitems(loader *ld, size_t count);
int loader_op_additems(loader *ld, size_t count);
int loader_op_dict(loader *ld, size_t count);
int loader_op_frozenset(loader *ld, size_t count);
/* Drops the 'count' topmost entries. Finalizers may run. 0. */
int loader_drop(loader *ld, size_t count);

/* dicts.c */
/* SETITEMS where the place of a dict is under the mark. */
int loader_op_setitems_of_new(loader *ld, size_t count);
/* Puts an empty dict into its place. 0, or -1 with MemoryError set. */
int loader_make_dict(loader *ld, PyObject **place);
void loader_templates_clear(loader *ld);

/* objects.c */
int loader_op_reduce(loader *ld);
int loader_op_newobj(loader *ld);
int loader_op_newobj_ex(loader *ld);
int loader_op_obj(loader *ld, size_t count);
int loader_op_inst(loader *ld, size_t count);

/* known.c; both return what the call would: a new reference, or NULL without an exception where it
 * has to be made (or memory ran out, as the call will find out) */
PyObject *loader_known_call(loader *ld, PyObject *callable, PyObject *arguments);
PyObject *loader_known_new(loader *ld, PyTypeObject *type, PyObject *arguments);
void loader_named_clear(loader *ld);

/* state.c */
int loader_op_build(loader *ld);
/*
 * At SETITEMS with a place for its dict: where a BUILD with this dict as the state follows, sets the
 * 'count' entries on top of the stack as attributes, and goes behind the BUILD. 1: done; 0: not so,
 * nothing is done; -1 with an exception set.
 */
int loader_build_from_stack(loader *ld, size_t count);
void loader_shapes_clear(loader *ld);

/* globals.c */
int loader_op_global(loader *ld);
int loader_op_stack_global(loader *ld);
int loader_op_extension(loader *ld, int64_t code);
int loader_op_persid(loader *ld);
int loader_op_binpersid(loader *ld);
/* The global as this loader finds it (find_class of a subclass). A new reference or NULL. */
PyObject *loader_global(loader *ld, PyObject *module_name, PyObject *name);
/* Unpickler.find_class itself. */
PyObject *loader_find_class(loader *ld, PyObject *module_name, PyObject *name);

/* Pops; the caller has compared with the fence. */
static inline PyObject *loader_pop(loader *ld)
{
    return *--ld->top;
}

/* How many entries lie above the innermost mark. */
static inline size_t loader_above_fence(const loader *ld)
{
    return (size_t)(ld->top - ld->fence);
}

/* The size of the PUT at 'at' that stores under the memo's next index; 0 if there is none. */
static inline size_t loader_put_nbytes(const loader *ld, const uint8_t *at)
{
    size_t left = (size_t)(ld->in.end - at), index = ld->memo.used;
    if (left < 1)
        return 0;
    if (at[0] == OP_MEMOIZE)
        return 1;
    if (at[0] == OP_BINPUT && left >= 2 && at[1] == index)
        return 2;
    return at[0] == OP_LONG_BINPUT && left >= 5 && decode_uint4(at + 1) == index ? 5 : 0;
}

/* Pushes what an opcode made of entries it removed (so there is room), or of nothing (the loop has
 * made room for one). */
static inline int loader_push(loader *ld, PyObject *owned)
{
    *ld->top++ = owned;
    return 0;
}

#endif
