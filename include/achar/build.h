/*
 * build.h - graphs put together by a program, to be written as pickles.
 *
 *     achar_graph *graph = achar_graph_new(NULL);
 *     achar_value point = achar_make_dict(graph);
 *     achar_put(graph, point, "x", achar_make_int(3));
 *     achar_set_root(graph, point);
 *     status = achar_write(graph, 5, NULL, &bytes, &error);
 *
 * Errors are sticky: the first one is kept in the graph, functions that make a value then return
 * ACHAR_NOTHING, and giving ACHAR_NOTHING to a function does nothing but record ACHAR_E_INVALID. So
 * a program builds without checks and looks at achar_graph_status(), or just at what achar_write()
 * returns. A NULL graph is taken as one that failed. Every function that needs memory may record
 * ACHAR_E_NOMEM, and ACHAR_E_LIMIT in a graph that was read under a limit; the comments below name
 * the other codes.
 *
 * A value belongs to the graph that it was made with (numbers, None and booleans belong to none)
 * and may be put in several places, itself included: written and read back it is one object.
 * Values may also be put into graphs that achar_read() returned. Putting a value of one graph into
 * another is not looked for and not allowed.
 *
 * One thread at a time per graph; separate graphs are independent.
 */
#ifndef ACHAR_BUILD_H
#define ACHAR_BUILD_H

#include <achar/read.h>
#include <achar/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* achar_graph_new() is an empty graph, NULL where memory ran out. 'allocator' is copied; NULL is
 * malloc. The caller frees the graph with achar_graph_free(). */
ACHAR_API achar_graph *achar_graph_new(const achar_allocator *allocator);

/* achar_graph_status() is ACHAR_OK, or the code of the first call that failed: ACHAR_E_NOMEM (also
 * of a NULL graph), ACHAR_E_LIMIT, ACHAR_E_INVALID, ACHAR_E_TYPE, ACHAR_E_TEXT, ACHAR_E_NUMBER. */
ACHAR_API int achar_graph_status(const achar_graph *graph);

/* achar_set_root() says which value the pickle is to describe. The last call counts. */
ACHAR_API void achar_set_root(achar_graph *graph, achar_value root);

/* ---- values that belong to no graph ---- */

/*
 * achar_make_none() is None, achar_make_bool() True unless 'truth' is 0, achar_make_int() an int,
 * achar_make_float() a float. They cannot fail, and may be used in any number of graphs, by any
 * thread.
 */
ACHAR_API achar_value achar_make_none(void);
ACHAR_API achar_value achar_make_bool(int truth);
ACHAR_API achar_value achar_make_int(int64_t integer);
ACHAR_API achar_value achar_make_float(double real);

/* achar_nothing() is the value of kind ACHAR_NOTHING: none at all, for where an argument is not
 * there. */
static inline achar_value achar_nothing(void)
{
    achar_value nothing = {0, {0}};
    return nothing;
}

/* ---- numbers, text, bytes ---- */

/*
 * achar_make_int_bytes() is an int of any size from 'nbytes' bytes, copied: two's complement, least
 * significant byte first; 0 bytes are 0. ACHAR_E_INVALID for a NULL 'data' with bytes.
 *
 * achar_make_int_decimal() is one from NUL-terminated decimal digits, a sign before them allowed.
 * ACHAR_E_NUMBER for anything else, NULL included.
 *
 * What fits in 64 bits is an ACHAR_INT, the rest ACHAR_BIGINT.
 */
ACHAR_API achar_value achar_make_int_bytes(achar_graph *graph, const void *data, size_t nbytes);
ACHAR_API achar_value achar_make_int_decimal(achar_graph *graph, const char *decimal);

/*
 * achar_make_str() is a str from NUL-terminated UTF-8, achar_make_text() one from 'nbytes' bytes of
 * UTF-8, NULs allowed. Both copy.
 *
 * ACHAR_E_TEXT if it is not UTF-8 (the three bytes of a lone surrogate are allowed, as Python has
 * them); ACHAR_E_INVALID for NULL, but achar_make_text() takes NULL with 0 bytes.
 */
ACHAR_API achar_value achar_make_str(achar_graph *graph, const char *text);
ACHAR_API achar_value achar_make_text(achar_graph *graph, const char *text, size_t nbytes);

/* achar_make_bytes() is a bytes, achar_make_bytearray() a bytearray, of 'nbytes' bytes, copied.
 * ACHAR_E_INVALID for a NULL 'data' with bytes. */
ACHAR_API achar_value achar_make_bytes(achar_graph *graph, const void *data, size_t nbytes);
ACHAR_API achar_value achar_make_bytearray(achar_graph *graph, const void *data, size_t nbytes);

/* achar_borrow_text() is achar_make_text() and achar_borrow_bytes() is achar_make_bytes() without
 * the copy: what is pointed to must stay readable and unchanged until the graph is freed. */
ACHAR_API achar_value achar_borrow_text(achar_graph *graph, const char *text, size_t nbytes);
ACHAR_API achar_value achar_borrow_bytes(achar_graph *graph, const void *data, size_t nbytes);

/* ---- containers ---- */

/* achar_make_list(), achar_make_dict() and achar_make_set() are empty containers, to be filled with
 * the functions below. */
ACHAR_API achar_value achar_make_list(achar_graph *graph);
ACHAR_API achar_value achar_make_dict(achar_graph *graph);
ACHAR_API achar_value achar_make_set(achar_graph *graph);

/* achar_make_tuple() is a tuple and achar_make_frozenset() a frozenset of the 'count' values at
 * 'items', which are copied; it never changes. NULL is fine for 0, else
 * ACHAR_E_INVALID. */
ACHAR_API achar_value achar_make_tuple(achar_graph *graph, const achar_value *items, size_t count);
ACHAR_API achar_value achar_make_frozenset(achar_graph *graph, const achar_value *items,
                                           size_t count);

/*
 * achar_append() appends to a list, achar_set() sets a dict's item, achar_put() does so under a
 * NUL-terminated text that is copied, achar_add() adds to a set. Nothing looks for equal keys or
 * items: in Python the last one wins. Constant time, on average.
 *
 * The target may also be an object that Python will make (ACHAR_CALL and its like): then Python
 * appends, sets or adds when it loads the pickle. ACHAR_E_TYPE for any other target; of 'key'
 * achar_put() demands what achar_make_str() does.
 */
ACHAR_API void achar_append(achar_graph *graph, achar_value list, achar_value item);
ACHAR_API void achar_set(achar_graph *graph, achar_value dict, achar_value key, achar_value value);
ACHAR_API void achar_put(achar_graph *graph, achar_value dict, const char *key, achar_value value);
ACHAR_API void achar_add(achar_graph *graph, achar_value set, achar_value item);

/* ---- what Python will make ---- */

/* achar_make_global() is the import of 'name' (may be dotted) from 'module', by Python 3's names;
 * NUL-terminated UTF-8, copied, under achar_make_str()'s rules. */
ACHAR_API achar_value achar_make_global(achar_graph *graph, const char *module, const char *name);

/*
 * achar_make_call() is the result of a call, in one of the forms of enum achar_call_form.
 * 'callable' is an import or another thing that Python makes, 'arguments' a tuple; 'keywords' is a
 * dict for ACHAR_CALL_NEWOBJ_EX and achar_nothing() for the others. Calls happen in the order in
 * which they were made, each seeing its arguments as they were then.
 *
 * ACHAR_E_INVALID for another form, and for keywords where there can be none; ACHAR_E_TYPE for an
 * argument of the wrong kind.
 */
ACHAR_API achar_value achar_make_call(achar_graph *graph, int form, achar_value callable,
                                      achar_value arguments, achar_value keywords);

/* achar_build() gives 'target' a state: to its __setstate__, or into its __dict__. ACHAR_E_TYPE for a
 * target that has neither, unless the state is None. */
ACHAR_API void achar_build(achar_graph *graph, achar_value target, achar_value state);

/* achar_make_extension() is an object that the loading program knows by copyreg's number 'code', 1
 * to 2^31-1 (else ACHAR_E_NUMBER); achar_make_persistent() one that it knows by 'id'. */
ACHAR_API achar_value achar_make_extension(achar_graph *graph, int64_t code);
ACHAR_API achar_value achar_make_persistent(achar_graph *graph, achar_value id);

/* achar_make_buffer() is the next out-of-band buffer, counted from 0 in the order of these calls;
 * Python gets it read-only unless 'readonly' is 0. */
ACHAR_API achar_value achar_make_buffer(achar_graph *graph, int readonly);

#ifdef __cplusplus
}
#endif
#endif
