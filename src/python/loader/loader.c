/*
 * loader.c - the loop that turns pickle bytes into Python objects.
 *
 * One switch over the opcodes of codec/opcodes.def, checked against it by the compiler: an opcode
 * without a case is an error (-Wswitch below). Cheap and frequent opcodes are handled here, on
 * copies of the input and stack pointers in registers; the others get the loader itself, with the
 * copies written back (CALL). What the loop holds while it runs is described in core.h.
 */
#include "python/loader/core.h"
#include "python/loader/text.h"

#include "codec/decode.h"
#include "codec/opcodes.h"

/* ---- marks ---- */

static int grow_marks(loader *ld)
{
    size_t capacity = ld->marks_capacity * 2;
    size_t *marks = ld->marks == ld->inline_marks ? NULL : ld->marks;
    marks = PyMem_Realloc(marks, capacity * sizeof *marks);
    if (!marks) {
        PyErr_NoMemory();
        return -1;
    }
    if (ld->marks == ld->inline_marks)
        memcpy(marks, ld->marks, ld->marks_count * sizeof *marks);
    ld->marks = marks;
    ld->marks_capacity = capacity;
    return 0;
}

/* Takes the innermost mark away; '*count' entries lie above it. Needs marks_count > 0. */
static inline size_t take_mark(loader *ld, PyObject **top)
{
    size_t count = (size_t)(top - ld->fence);
    ld->marks_count--;
    ld->fence = ld->stack + (ld->marks_count ? ld->marks[ld->marks_count - 1] : 0);
    return count;
}

/* ---- the memo ---- */

/* An object that nobody can watch while it ends: neither finalizer nor weak reference. */
static bool is_plain(const loader *ld, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    return type == &PyUnicode_Type || type == &PyTuple_Type || type == &PyList_Type ||
           type == &PyDict_Type || type == &PyBytes_Type ||
           (PyObject *)type == ld->st->datetime_type || (PyObject *)type == ld->st->date_type;
}

/* PUT where the loop has no room; a good time for a plan. */
static int put(loader *ld, size_t index)
{
    if (index == ld->memo.used)
        loader_plan(ld, false);
    return loader_memo_put(&ld->memo, index, ld->top[-1]);
}

/* At EMPTY_DICT: is what it will be the state of an object, by the looks of the stack? */
static bool is_state_to_come(const loader *ld, PyObject **top)
{
    ptrdiff_t above = top - ld->fence;
    PyObject *object = above >= 1 ? top[-1] : NULL;
    if (object == Py_None && above >= 2)
        object = top[-2]; /* None in place of a dict, then the slots */
    return object && Py_TYPE(object)->tp_flags & Py_TPFLAGS_HEAPTYPE;
}

/* ---- the loop ---- */

/* Writes the registers back, for whoever works on the loader itself, and reads them again. */
#define SAVE()                                                                                     \
    do {                                                                                           \
        ld->in.next = next;                                                                        \
        ld->top = top;                                                                             \
        ld->opcode_at = opcode_at;                                                                 \
    } while (0)
#define RESTORE()                                                                                  \
    do {                                                                                           \
        next = ld->in.next;                                                                        \
        end = ld->in.end;                                                                          \
        top = ld->top;                                                                             \
        opcode_at = ld->opcode_at;                                                                 \
    } while (0)

/* Runs a handler that works on the loader itself, and goes on with the next opcode. */
#define CALL(expression)                                                                           \
    do {                                                                                           \
        SAVE();                                                                                    \
        if ((expression) < 0)                                                                      \
            goto fail;                                                                             \
        RESTORE();                                                                                 \
    } while (0)

/* Has 'nbytes' of argument at 'next'. */
#define NEED(nbytes)                                                                               \
    do {                                                                                           \
        if (LOADER_UNLIKELY((size_t)(end - next) < (nbytes)))                                      \
            CALL(loader_need(ld, (nbytes)));                                                       \
    } while (0)

#define PUSH(object)                                                                               \
    do {                                                                                           \
        PyObject *pushed = (object);                                                               \
        if (LOADER_UNLIKELY(!pushed))                                                              \
            goto fail_here;                                                                        \
        *top++ = pushed;                                                                           \
    } while (0)

#define PUSH_BORROWED(object)                                                                      \
    do {                                                                                           \
        *top = (object);                                                                           \
        Py_INCREF(*top);                                                                           \
        top++;                                                                                     \
    } while (0)

/* At least 'count' entries above the innermost mark. */
#define REQUIRE(count)                                                                             \
    do {                                                                                           \
        if (LOADER_UNLIKELY(top - ld->fence < (count)))                                            \
            goto underflow;                                                                        \
    } while (0)

/* Under the mark that is taken: is it the place of a dict that is not made yet? */
#define IS_PLACE_BELOW() (top - count > ld->stack && !top[-(ptrdiff_t)count - 1])

/* Takes the innermost mark; 'count' is how many entries lie above it. */
#define TAKE_MARK()                                                                                \
    do {                                                                                           \
        if (LOADER_UNLIKELY(ld->marks_count == 0))                                                 \
            goto no_mark;                                                                          \
        count = take_mark(ld, top);                                                                \
        if (LOADER_UNLIKELY(IS_PLACE_BELOW()))                                                     \
            CALL(loader_make_dict(ld, top - count - 1));                                           \
    } while (0)

/* A tuple of the 'count' topmost entries in their place. */
#define PUSH_TUPLE(count)                                                                          \
    do {                                                                                           \
        PyObject *tuple = PyTuple_New((Py_ssize_t)(count));                                        \
        if (LOADER_UNLIKELY(!tuple))                                                               \
            goto fail_here;                                                                        \
        top -= (count);                                                                            \
        memcpy(&PyTuple_GET_ITEM(tuple, 0), top, (size_t)(count) * sizeof(PyObject *));            \
        *top++ = tuple;                                                                            \
    } while (0)

/*
 * What most strings and containers are followed by: saves its trip through the switch. They are
 * plain objects, which end unnoticed: where nobody fetches one, nobody can tell whether it is kept.
 */
#define MEMOIZE_IF_NEXT()                                                                          \
    do {                                                                                           \
        if (LOADER_LIKELY(next < end && *next == OP_MEMOIZE)) {                                    \
            if (loader_memo_is_unwanted(memo)) {                                                   \
                loader_memo_skip(memo);                                                            \
                next++;                                                                            \
            } else if (LOADER_LIKELY(loader_memo_has_room(memo))) {                                \
                loader_memo_append(memo, top[-1]);                                                 \
                next++;                                                                            \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* Runs to STOP; the object is then on the stack. 0, or -1 with an exception set. */
static int run(loader *ld)
{
    loader_memo *const memo = &ld->memo;
    PyObject *const *const small_ints = ld->st->small_ints;
    const uint8_t *next, *end, *opcode_at;
    PyObject **top;
    uint8_t code = 0;
    size_t count;
    uint64_t nbytes;
    RESTORE();

    for (;;) {
        if (LOADER_UNLIKELY(next == end)) {
            opcode_at = next;
            CALL(loader_need_opcode(ld));
        }
        if (LOADER_UNLIKELY(top == ld->limit))
            CALL(loader_grow_stack(ld));
        opcode_at = next;
        code = *next++;

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
        switch ((enum opcode)code) {
        /* numbers and constants */
        case OP_NONE:
            PUSH_BORROWED(Py_None);
            continue;
        case OP_NEWTRUE:
            PUSH_BORROWED(Py_True);
            continue;
        case OP_NEWFALSE:
            PUSH_BORROWED(Py_False);
            continue;
        case OP_BININT1:
            NEED(1);
            PUSH_BORROWED(small_ints[*next]);
            next++;
            continue;
        case OP_BININT2:
            NEED(2);
            PUSH(PyLong_FromLong(decode_uint2(next)));
            next += 2;
            continue;
        case OP_BININT:
            NEED(4);
            PUSH(PyLong_FromLong(decode_int4(next)));
            next += 4;
            continue;
        case OP_LONG1:
            NEED(1);
            nbytes = *next++;
            NEED(nbytes);
            if (LOADER_LIKELY(nbytes <= 8)) {
                PUSH(PyLong_FromLongLong(decode_int(next, nbytes)));
                next += nbytes;
                continue;
            }
            next += nbytes;
            CALL(loader_op_counted_long(ld, next - nbytes, nbytes));
            continue;
        case OP_LONG4:
            NEED(4);
            if (decode_int4(next) < 0)
                goto negative_long;
            nbytes = decode_uint4(next);
            next += 4;
            NEED(nbytes);
            next += nbytes;
            CALL(loader_op_counted_long(ld, next - nbytes, nbytes));
            continue;
        case OP_BINFLOAT:
            NEED(8);
            PUSH(PyFloat_FromDouble(decode_float8(next)));
            next += 8;
            continue;
        case OP_INT:
            CALL(loader_op_int(ld));
            continue;
        case OP_LONG:
            CALL(loader_op_long(ld));
            continue;
        case OP_FLOAT:
            CALL(loader_op_float(ld));
            continue;

        /* text */
        case OP_SHORT_BINUNICODE:
            NEED(1);
            nbytes = *next++;
            NEED(nbytes);
            PUSH(text_new(next, nbytes));
            next += nbytes;
            MEMOIZE_IF_NEXT();
            continue;
        case OP_BINUNICODE:
            NEED(4);
            nbytes = decode_uint4(next);
            next += 4;
            NEED(nbytes);
            PUSH(text_new(next, nbytes));
            next += nbytes;
            MEMOIZE_IF_NEXT();
            continue;
        case OP_BINUNICODE8:
            NEED(8);
            nbytes = decode_uint8(next);
            next += 8;
            if (nbytes > PY_SSIZE_T_MAX)
                goto text_too_large;
            NEED(nbytes);
            PUSH(text_new(next, nbytes));
            next += nbytes;
            continue;
        case OP_UNICODE:
            CALL(loader_op_unicode(ld));
            continue;
        case OP_STRING:
            CALL(loader_op_string(ld));
            continue;
        case OP_SHORT_BINSTRING:
            NEED(1);
            nbytes = *next++;
            NEED(nbytes);
            next += nbytes;
            CALL(loader_op_binstring(ld, next - nbytes, nbytes));
            continue;
        case OP_BINSTRING: /* its size is unsigned in the interpreter's C, signed in its Python */
            NEED(4);
            nbytes = decode_uint4(next);
            next += 4;
            NEED(nbytes);
            next += nbytes;
            CALL(loader_op_binstring(ld, next - nbytes, nbytes));
            continue;

        /* bytes and buffers */
        case OP_SHORT_BINBYTES:
            NEED(1);
            nbytes = *next++;
            if (LOADER_LIKELY((size_t)(end - next) >= nbytes)) {
                /* Not from 'next': of one byte the interpreter's unpickler makes a new object too. */
                PUSH(PyBytes_FromStringAndSize(NULL, (Py_ssize_t)nbytes));
                memcpy(PyBytes_AS_STRING(top[-1]), next, nbytes);
                next += nbytes;
            } else {
                CALL(loader_op_bytes(ld, nbytes));
            }
            MEMOIZE_IF_NEXT();
            continue;
        case OP_BINBYTES:
            NEED(4);
            nbytes = decode_uint4(next);
            next += 4;
            CALL(loader_op_bytes(ld, nbytes));
            continue;
        case OP_BINBYTES8:
            NEED(8);
            nbytes = decode_uint8(next);
            next += 8;
            CALL(loader_op_bytes(ld, nbytes));
            continue;
        case OP_BYTEARRAY8:
            NEED(8);
            nbytes = decode_uint8(next);
            next += 8;
            CALL(loader_op_bytearray(ld, nbytes));
            continue;
        case OP_NEXT_BUFFER:
            CALL(loader_op_next_buffer(ld));
            continue;
        case OP_READONLY_BUFFER:
            CALL(loader_op_readonly_buffer(ld));
            continue;

        /* lists */
        case OP_EMPTY_LIST:
            PUSH(PyList_New(0));
            MEMOIZE_IF_NEXT();
            continue;
        case OP_APPEND:
            CALL(loader_op_append(ld, 1));
            continue;
        case OP_APPENDS:
            TAKE_MARK();
            CALL(loader_op_append(ld, count));
            continue;
        case OP_LIST: {
            TAKE_MARK();
            PyObject *list = PyList_New(0);
            if (!list)
                goto fail_here;
            top -= count;
            if (compat_list_extend(list, top, count) < 0) {
                Py_DECREF(list);
                goto fail_here;
            }
            *top++ = list;
            continue;
        }

        /* tuples */
        case OP_EMPTY_TUPLE:
            PUSH(PyTuple_New(0));
            continue;
        case OP_TUPLE1:
            REQUIRE(1);
            PUSH_TUPLE(1);
            MEMOIZE_IF_NEXT();
            continue;
        case OP_TUPLE2:
            REQUIRE(2);
            PUSH_TUPLE(2);
            MEMOIZE_IF_NEXT();
            continue;
        case OP_TUPLE3:
            REQUIRE(3);
            PUSH_TUPLE(3);
            MEMOIZE_IF_NEXT();
            continue;
        case OP_TUPLE:
            TAKE_MARK();
            PUSH_TUPLE(count);
            MEMOIZE_IF_NEXT();
            continue;

        /* dicts and sets */
        case OP_EMPTY_DICT:
            count = loader_put_nbytes(ld, next);
            if ((size_t)(end - next) > count && next[count] == OP_MARK) {
                if (LOADER_UNLIKELY(!ld->planned) && is_state_to_come(ld, top)) {
                    SAVE();
                    loader_plan(ld, true);
                }
                if (count == 0 || loader_memo_is_unwanted(memo)) {
                    if (count)
                        loader_memo_skip(memo);
                    next += count + 1;
                    *top++ = NULL; /* its place, until its items are there */
                    goto mark;
                }
            }
            PUSH(PyDict_New());
            MEMOIZE_IF_NEXT();
            continue;
        case OP_SETITEM:
            CALL(loader_op_setitems(ld, 2));
            continue;
        case OP_SETITEMS:
            if (LOADER_UNLIKELY(ld->marks_count == 0))
                goto no_mark;
            count = take_mark(ld, top);
            if (IS_PLACE_BELOW())
                CALL(loader_op_setitems_of_new(ld, count));
            else
                CALL(loader_op_setitems(ld, count));
            continue;
        case OP_DICT:
            TAKE_MARK();
            CALL(loader_op_dict(ld, count));
            continue;
        case OP_EMPTY_SET:
            PUSH(PySet_New(NULL));
            continue;
        case OP_ADDITEMS:
            TAKE_MARK();
            CALL(loader_op_additems(ld, count));
            continue;
        case OP_FROZENSET:
            TAKE_MARK();
            CALL(loader_op_frozenset(ld, count));
            continue;

        /* the stack */
        case OP_MARK:
        mark:
            if (LOADER_UNLIKELY(ld->marks_count == ld->marks_capacity))
                CALL(grow_marks(ld));
            ld->marks[ld->marks_count++] = (size_t)(top - ld->stack);
            ld->fence = top;
            continue;
        case OP_POP:
            /* Above a mark it pops an object, at the mark the mark. */
            if (ld->marks_count && top == ld->fence) {
                TAKE_MARK();
                continue;
            }
            REQUIRE(1);
            CALL(loader_drop(ld, 1));
            continue;
        case OP_POP_MARK:
            TAKE_MARK();
            CALL(loader_drop(ld, count));
            continue;
        case OP_DUP:
            REQUIRE(1);
            PUSH_BORROWED(top[-1]);
            continue;

        /* the memo */
        case OP_MEMOIZE:
            count = loader_memo_count(memo);
            goto put;
        case OP_BINPUT:
            NEED(1);
            count = *next++;
            goto put;
        case OP_LONG_BINPUT:
            NEED(4);
            count = decode_uint4(next);
            next += 4;
        put:
            REQUIRE(1);
            if (count == memo->used && loader_memo_is_unwanted(memo) && is_plain(ld, top[-1]))
                loader_memo_skip(memo);
            else if (count == memo->used && loader_memo_has_room(memo))
                loader_memo_append(memo, top[-1]);
            else
                CALL(put(ld, count));
            continue;
        case OP_PUT:
            CALL(loader_op_put(ld));
            continue;
        case OP_BINGET:
            NEED(1);
            count = *next++;
            goto get;
        case OP_LONG_BINGET:
            NEED(4);
            count = decode_uint4(next);
            next += 4;
        get : {
            PyObject *value = count < memo->filled ? memo->slots[count] : NULL;
            if (LOADER_UNLIKELY(!value) && !(value = loader_memo_get(memo, count)))
                goto not_in_memo;
            PUSH_BORROWED(value);
            continue;
        }
        case OP_GET:
            CALL(loader_op_get(ld));
            continue;

        /* imports, calls, state */
        case OP_GLOBAL:
            CALL(loader_op_global(ld));
            continue;
        case OP_STACK_GLOBAL:
            CALL(loader_op_stack_global(ld));
            continue;
        case OP_EXT1:
            NEED(1);
            next++;
            CALL(loader_op_extension(ld, next[-1]));
            continue;
        case OP_EXT2:
            NEED(2);
            next += 2;
            CALL(loader_op_extension(ld, decode_uint2(next - 2)));
            continue;
        case OP_EXT4:
            NEED(4);
            next += 4;
            CALL(loader_op_extension(ld, decode_int4(next - 4)));
            continue;
        case OP_REDUCE:
            CALL(loader_op_reduce(ld));
            continue;
        case OP_NEWOBJ:
            CALL(loader_op_newobj(ld));
            continue;
        case OP_NEWOBJ_EX:
            CALL(loader_op_newobj_ex(ld));
            continue;
        case OP_OBJ:
            TAKE_MARK();
            CALL(loader_op_obj(ld, count));
            continue;
        case OP_INST:
            TAKE_MARK();
            CALL(loader_op_inst(ld, count));
            continue;
        case OP_BUILD:
            CALL(loader_op_build(ld));
            continue;
        case OP_PERSID:
            CALL(loader_op_persid(ld));
            continue;
        case OP_BINPERSID:
            CALL(loader_op_binpersid(ld));
            continue;

        /* the stream */
        case OP_PROTO:
            NEED(1);
            if (*next > PICKLE_PROTOCOL_MAX)
                goto bad_protocol;
            ld->protocol = *next++;
            continue;
        case OP_FRAME:
            NEED(8);
            next += 8;
            CALL(loader_enter_frame(ld, decode_uint8(next - 8)));
            continue;
        case OP_STOP:
            SAVE();
            if (loader_input_finish(ld) < 0)
                goto fail;
            if (loader_above_fence(ld) == 0) {
                loader_fail_underflow(ld);
                goto fail;
            }
            return 0;
        }
#pragma GCC diagnostic pop
        SAVE();
        loader_fail_opcode(ld, code);
        goto fail;
    }

underflow:
    SAVE();
    loader_fail_underflow(ld);
    goto fail;
no_mark:
    SAVE();
    loader_fail(ld, "could not find MARK");
    goto fail;
not_in_memo:
    SAVE();
    if (!PyErr_Occurred())
        loader_fail(ld, "Memo value not found at index %zu", count);
    goto fail;
negative_long:
    SAVE();
    loader_fail(ld, "LONG pickle has negative byte count");
    goto fail;
text_too_large:
    SAVE();
    loader_fail_too_large(ld, "BINUNICODE");
    goto fail;
bad_protocol:
    SAVE();
    PyErr_Format(PyExc_ValueError, "unsupported pickle protocol: %d", (int)*next);
    ld->fault = LOADER_FAULT_PROTOCOL;
    goto fail;
fail_here:
    SAVE();
fail:
    if (ld->superset)
        loader_explain(ld, code);
    return -1;
}

PyObject *loader_run(loader *ld)
{
    PyObject *object = NULL;
    ld->running = true;
    ld->protocol = 0;
    ld->fault = LOADER_FAULT_NONE;
    ld->explained = false;
    ld->pickle_offset = ld->in.start_offset + (uint64_t)(ld->in.next - ld->in.start);
    if (ld->in.read || ld->in.end - ld->in.next >= LOADER_PAUSE_NBYTES) {
        loader_gc_pause(ld->st);
        ld->pausing = true;
    }
    if (run(ld) == 0)
        object = loader_pop(ld);
    if (ld->pausing) {
        ld->pausing = false;
        loader_gc_resume(ld->st);
    }
    loader_clear_working(ld);
    ld->running = false;
    return object;
}

PyObject *loader_loads(module_state *st, const void *data, size_t nbytes,
                       const loader_options *options)
{
    PyObject *object = loader_lone_scalar(st, data, nbytes);
    if (object)
        return object;
    loader ld;
    loader_init(&ld, st);
    loader_input_memory(&ld.in, data, nbytes);
    if (options) {
        ld.fix_imports = options->fix_imports;
        ld.superset = options->superset;
        if (options->encoding)
            ld.encoding = options->encoding;
        if (options->errors)
            ld.errors = options->errors;
        if (loader_set_buffers(&ld, options->buffers) < 0)
            goto done;
    }
    object = loader_run(&ld);
done:
    loader_end(&ld);
    return object;
}
