/*
 * value.h - what a pickle describes: a graph of values, and what they mean.
 *
 * A graph is made by achar_read() (read.h) or by a program (build.h) and owns everything in it.
 * An achar_value is a 16-byte handle, passed and kept by value, good until its graph is freed.
 * Reading a pickle executes nothing: where Python would import or call something, the graph has a
 * value of kind ACHAR_GLOBAL or ACHAR_CALL that says what, and an entry in the graph's log of
 * effects that says when.
 *
 * Accessors never fail loudly: on a value of the wrong kind, or out of range, they return 0, NULL
 * or a value of kind ACHAR_NOTHING, and they accept ACHAR_NOTHING and a NULL graph, so that calls
 * can be nested without a check at each step. Pointers that they return belong to the graph and are
 * good until it is freed. Texts that a program gives them are NUL-terminated; a NULL text is equal to
 * none.
 *
 * Functions of the codec that return a status fail where a graph, reader, disassembler, sink, data
 * with bytes, or the place for a result is NULL: with ACHAR_E_INVALID, but writing takes a NULL graph
 * for one that could not be built, and shapes.h may say ACHAR_E_TYPE. What achar_as_…() and
 * achar_item_…() fill in is not NULL unless their comments say so. Values of another graph, and anything freed, are not looked for.
 *
 * One thread at a time per graph; separate graphs are independent.
 */
#ifndef ACHAR_VALUE_H
#define ACHAR_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include <achar/memory.h>
#include <achar/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ACHAR_KINDS lists the kinds of values: X(NAME, "the word for it in messages") */
#define ACHAR_KINDS(X)                                                                             \
    X(NOTHING, "nothing") /* no value: what an accessor found missing */                           \
    X(NONE, "None")                                                                                \
    X(BOOL, "bool")                                                                                \
    X(INT, "int") /* fits in 64 bits */                                                            \
    X(FLOAT, "float")                                                                              \
    X(BIGINT, "int") /* does not */                                                                \
    X(STR, "str")                                                                                  \
    X(BYTES, "bytes")                                                                              \
    X(BYTEARRAY, "bytearray")                                                                      \
    X(TUPLE, "tuple")                                                                              \
    X(FROZENSET, "frozenset")                                                                      \
    X(LIST, "list")                                                                                \
    X(DICT, "dict")                                                                                \
    X(SET, "set")                                                                                  \
    X(GLOBAL, "import")            /* module and name */                                           \
    X(CALL, "call")                /* the result of a call */                                      \
    X(EXTENSION, "extension code") /* copyreg's number for an import */                            \
    X(PERSISTENT, "persistent id") /* what the loading program has under an id */                  \
    X(BUFFER, "buffer")            /* bytes that travelled beside the pickle */

/* One constant for each line of ACHAR_KINDS: ACHAR_NOTHING is 0, ACHAR_NONE 1, and so on. */
enum achar_kind {
#define ACHAR_KIND_ENUM(name, word) ACHAR_##name,
    ACHAR_KINDS(ACHAR_KIND_ENUM)
#undef ACHAR_KIND_ENUM
};

/* A value: a handle of 16 bytes, to be passed and compared (achar_same()) as it is. The contents
 * are the library's own business. All zero is ACHAR_NOTHING. */
typedef struct achar_value {
    uint64_t meta;
    union {
        int64_t integer;
        double real;
        const void *pointer;
        uint64_t word;
    } as;
} achar_value;

/* A graph of values, and the owner of all that they hold. */
typedef struct achar_graph achar_graph;

/* achar_kind() is the value's enum achar_kind. */
static inline int achar_kind(achar_value value)
{
    return (int)(value.meta & 0x3f);
}

/* achar_kind_name() is Python's word for a kind, "?" for no kind. Static storage. */
ACHAR_API const char *achar_kind_name(int kind);

/*
 * achar_same() is Python's `is`, as far as a graph can tell: one object, not two equal ones. Small
 * values (None, bool, int, float, the empty tuple) are the same when they are equal.
 */
ACHAR_API int achar_same(achar_value a, achar_value b);

/* ---- graphs ---- */

/* achar_graph_free() frees the graph and all its values. NULL does nothing. */
ACHAR_API void achar_graph_free(achar_graph *graph);

/* achar_root() is the value that the pickle describes; ACHAR_NOTHING in a graph built without,
 * and of NULL. */
ACHAR_API achar_value achar_root(const achar_graph *graph);

/* achar_protocol() is the highest protocol that the pickle announced, 0 if none; -1 for a graph
 * that was built, and for NULL. */
ACHAR_API int achar_protocol(const achar_graph *graph);

/* ---- numbers, text, bytes ---- */

/* achar_bool() is 1 for True, 0 for False and every other kind. */
ACHAR_API int achar_bool(achar_value value);

/* achar_int64() is an ACHAR_INT or ACHAR_BOOL as a number; 0 for every other kind. */
ACHAR_API int64_t achar_int64(achar_value value);

/*
 * achar_int_bytes() is an ACHAR_BIGINT as two's complement, least significant byte first, as
 * short as possible. '*nbytes' (may be NULL) is its size. NULL for every other kind.
 */
ACHAR_API const unsigned char *achar_int_bytes(achar_value value, size_t *nbytes);

/*
 * achar_int_decimal() is an ACHAR_INT or ACHAR_BIGINT in decimal, NUL-terminated; the NUL is not
 * counted in out->nbytes. The caller frees 'out' with achar_bytes_free() and the same allocator.
 * The time it takes grows little faster than the number of digits. Returns ACHAR_OK, ACHAR_E_TYPE,
 * ACHAR_E_NOMEM; on error 'out' is zeroed.
 */
ACHAR_API int achar_int_decimal(achar_value value, const achar_allocator *allocator,
                                achar_bytes *out);

/* achar_float() is an ACHAR_FLOAT, or an ACHAR_INT as a double; 0 for every other kind. */
ACHAR_API double achar_float(achar_value value);

/*
 * achar_text() is an ACHAR_STR in UTF-8: '*nbytes' (may be NULL) bytes, NOT terminated, NULs
 * possible. Python's lone surrogates appear as the three bytes that UTF-8's rule would give them.
 * NULL for every other kind.
 */
ACHAR_API const char *achar_text(achar_value value, size_t *nbytes);

/* achar_text_is() says whether the value is an ACHAR_STR equal to the NUL-terminated 'text'. */
ACHAR_API int achar_text_is(achar_value value, const char *text);

/*
 * achar_data() is the contents of ACHAR_BYTES, ACHAR_BYTEARRAY, or an ACHAR_BUFFER that was given
 * to the reader. '*nbytes' may be NULL. NULL for every other kind and for a buffer nobody gave.
 */
ACHAR_API const unsigned char *achar_data(achar_value value, size_t *nbytes);

/* ---- containers ---- */

/*
 * achar_count() is the number of items in a list, tuple, set or frozenset, of pairs in a dict.
 * Sets and dicts hold what the pickle puts in, in its order, equal items and keys included: only
 * Python can tell whether two values are equal. In Python the last of equal keys wins.
 */
ACHAR_API size_t achar_count(achar_value value);

/* achar_item() is item 'index' of a list, tuple, set or frozenset, counted from 0. Constant time.
 */
ACHAR_API achar_value achar_item(achar_value value, size_t index);

/* achar_pair_key() and achar_pair_value() are the two halves of pair 'index' of a dict, counted
 * from 0. Constant time. */
ACHAR_API achar_value achar_pair_key(achar_value value, size_t index);
ACHAR_API achar_value achar_pair_value(achar_value value, size_t index);

/* achar_get() is a dict's value under the text 'key' (the last, if several). It looks at every
 * pair: for more than a few keys of a large dict, walk it once instead. */
ACHAR_API achar_value achar_get(achar_value dict, const char *key);

/* ---- what only Python could make ---- */

/* achar_module() and achar_name() are an ACHAR_GLOBAL's. Both are ACHAR_STR in all honest pickles,
 * but the format allows them to be results of calls. */
ACHAR_API achar_value achar_module(achar_value value);
ACHAR_API achar_value achar_name(achar_value value);

/* achar_global_is() says whether the value is the import of 'name' from 'module', as written:
 * pickles below protocol 3 use Python 2's names. */
ACHAR_API int achar_global_is(achar_value value, const char *module, const char *name);

/* How an ACHAR_CALL calls. In the comments f, a, k are callable, arguments, keywords. */
enum achar_call_form {
    ACHAR_CALL_NONE,      /* not a call */
    ACHAR_CALL_REDUCE,    /* f(*a) */
    ACHAR_CALL_NEWOBJ,    /* f.__new__(f, *a) */
    ACHAR_CALL_NEWOBJ_EX, /* f.__new__(f, *a, **k) */
    ACHAR_CALL_INST,      /* f(*a), or f.__new__(f) when there are no arguments */
};

/* achar_call_form() is an ACHAR_CALL's enum achar_call_form; ACHAR_CALL_NONE, which is 0, for every
 * other kind. */
ACHAR_API int achar_call_form(achar_value value);

/*
 * achar_callable(), achar_arguments() and achar_keywords() are the parts of an ACHAR_CALL. The
 * arguments are a tuple, or something that Python must compute; keywords are there in the form
 * ACHAR_CALL_NEWOBJ_EX only.
 */
ACHAR_API achar_value achar_callable(achar_value value);
ACHAR_API achar_value achar_arguments(achar_value value);
ACHAR_API achar_value achar_keywords(achar_value value);

/* achar_extension_code() is an ACHAR_EXTENSION's number, 1 to 2^31-1; 0 for every other kind. */
ACHAR_API int64_t achar_extension_code(achar_value value);

/* achar_persistent_id() is an ACHAR_PERSISTENT's id: in protocol 0 an ACHAR_STR, else any value. */
ACHAR_API achar_value achar_persistent_id(achar_value value);

/* achar_buffer_index() is an ACHAR_BUFFER's place among the out-of-band buffers, from 0; also 0 for
 * every other kind. */
ACHAR_API size_t achar_buffer_index(achar_value value);

/* achar_buffer_readonly() is 1 for an ACHAR_BUFFER that may not be written through. */
ACHAR_API int achar_buffer_readonly(achar_value value);

/* ---- the log of effects ---- */

/*
 * What loading would do, in its order. The first five make a value, the effect's 'target'; the
 * others change one that exists.
 */
enum achar_effect_kind {
    ACHAR_EFFECT_IMPORT,     /* target: ACHAR_GLOBAL */
    ACHAR_EFFECT_EXTENSION,  /* target: ACHAR_EXTENSION */
    ACHAR_EFFECT_PERSISTENT, /* target: ACHAR_PERSISTENT */
    ACHAR_EFFECT_BUFFER,     /* target: ACHAR_BUFFER, the next one is taken */
    ACHAR_EFFECT_CALL,       /* target: ACHAR_CALL */
    ACHAR_EFFECT_BUILD,      /* values[0] is given to __setstate__ or put in __dict__ */
    ACHAR_EFFECT_APPEND,     /* target.extend(values), or target.append(…) one by one */
    ACHAR_EFFECT_SET,        /* target[key] = value, values holding key, value, key, value, … */
    ACHAR_EFFECT_ADD,        /* target.add(…), one by one */
    ACHAR_EFFECT_FILL,       /* a plain list, dict or set got these items only now; they are
                                among its items too */
};

/* ACHAR_NO_EFFECT stands for an effect's index where there is none. */
#define ACHAR_NO_EFFECT SIZE_MAX

/* An entry of the log. It is the caller's; what it points to is the graph's. */
typedef struct achar_effect {
    int kind;        /* enum achar_effect_kind */
    int opcode;      /* its byte in the pickle; 0 in a graph that was built */
    uint64_t offset; /* of the opcode, bytes from the start of the input */
    achar_value target;
    const achar_value *values; /* NULL if there are none; valid until the graph is changed */
    size_t values_count;       /* for ACHAR_EFFECT_SET and a dict's fill: twice the pairs */
    size_t next;               /* the next effect that changes the same target, or none */
} achar_effect;

/* achar_effects_count() is the length of the log; 0 of NULL. A call whose result was thrown away is
 * in it. */
ACHAR_API size_t achar_effects_count(const achar_graph *graph);

/*
 * achar_effect_at() fills 'effect' with entry 'index', counted from 0. Constant time, but for the
 * first call after a change of the graph, which links each target's changes.
 *
 * Returns ACHAR_OK; ACHAR_E_INVALID past the end and for a NULL graph; ACHAR_E_NOMEM,
 * ACHAR_E_LIMIT. On error 'effect' holds no values, and ACHAR_NO_EFFECT is next.
 */
ACHAR_API int achar_effect_at(achar_graph *graph, size_t index, achar_effect *effect);

/* achar_effect_of() is the index of the effect that made 'value'; ACHAR_NO_EFFECT for values that
 * Python does not have to make. Constant time. */
ACHAR_API size_t achar_effect_of(achar_value value);

/*
 * achar_first_change() finds the first effect that changes 'target' (ACHAR_EFFECT_BUILD and later
 * kinds); achar_effect.next goes on from there. '*index' is ACHAR_NO_EFFECT if there is none, and
 * on error. Constant time, as achar_effect_at().
 *
 * Returns ACHAR_OK; ACHAR_E_INVALID for a NULL graph; ACHAR_E_NOMEM, ACHAR_E_LIMIT.
 */
ACHAR_API int achar_first_change(achar_graph *graph, achar_value target, size_t *index);

#ifdef __cplusplus
}
#endif
#endif
