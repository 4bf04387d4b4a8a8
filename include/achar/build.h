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
 * ACHAR_NOTHING, and giving ACHAR_NOTHING to a function does nothing but record an error. So a
 * program builds without checks and looks at achar_graph_status(), or just at what achar_write()
 * returns. A NULL graph is taken as one that failed.
 *
 * A value belongs to the graph that it was made with (numbers, None and booleans belong to none)
 * and may be put in several places, itself included: written and read back it is one object.
 * Values may also be put into graphs that achar_read() returned.
 */
#ifndef ACHAR_BUILD_H
#define ACHAR_BUILD_H

#include <achar/read.h>
#include <achar/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* achar_graph_new() is an empty graph, NULL where memory ran out. NULL 'allocator': malloc. The
 * caller frees it with achar_graph_free(). */
ACHAR_API achar_graph *achar_graph_new(const achar_allocator *allocator);

/* achar_graph_status() is ACHAR_OK, or the code of the first call that failed: ACHAR_E_NOMEM,
 * ACHAR_E_LIMIT, ACHAR_E_INVALID, ACHAR_E_TYPE, ACHAR_E_TEXT, ACHAR_E_NUMBER. */
ACHAR_API int achar_graph_status(const achar_graph *graph);

/* achar_set_root() says which value the pickle is to describe. */
ACHAR_API void achar_set_root(achar_graph *graph, achar_value root);

/* ---- values that belong to no graph ---- */

ACHAR_API achar_value achar_make_none(void);
ACHAR_API achar_value achar_make_bool(int truth);
ACHAR_API achar_value achar_make_int(int64_t integer);
ACHAR_API achar_value achar_make_float(double real);

/* ---- numbers, text, bytes ---- */

/* An integer of any size: two's complement, least significant byte first; or decimal text. */
ACHAR_API achar_value achar_make_int_bytes(achar_graph *graph, const void *data, size_t nbytes);
ACHAR_API achar_value achar_make_int_decimal(achar_graph *graph, const char *decimal);

/* A str from UTF-8, copied: NUL-terminated, or of 'nbytes' bytes. ACHAR_E_TEXT if it is not UTF-8
 * (lone surrogates are allowed). */
ACHAR_API achar_value achar_make_str(achar_graph *graph, const char *text);
ACHAR_API achar_value achar_make_text(achar_graph *graph, const char *text, size_t nbytes);

/* bytes and bytearray, copied. */
ACHAR_API achar_value achar_make_bytes(achar_graph *graph, const void *data, size_t nbytes);
ACHAR_API achar_value achar_make_bytearray(achar_graph *graph, const void *data, size_t nbytes);

/* The same without a copy: 'data' must stay unchanged until the graph is freed. */
ACHAR_API achar_value achar_borrow_text(achar_graph *graph, const char *text, size_t nbytes);
ACHAR_API achar_value achar_borrow_bytes(achar_graph *graph, const void *data, size_t nbytes);

/* ---- containers ---- */

ACHAR_API achar_value achar_make_list(achar_graph *graph);
ACHAR_API achar_value achar_make_dict(achar_graph *graph);
ACHAR_API achar_value achar_make_set(achar_graph *graph);

/* A tuple or frozenset of 'count' values, copied; it never changes. NULL is fine for 0. */
ACHAR_API achar_value achar_make_tuple(achar_graph *graph, const achar_value *items, size_t count);
ACHAR_API achar_value achar_make_frozenset(achar_graph *graph, const achar_value *items,
                                           size_t count);

/*
 * achar_append() appends to a list, achar_set() sets a dict's item, achar_put() does so under a
 * text that is copied, achar_add() adds to a set. Nothing looks for equal keys or items: in Python
 * the last one wins.
 *
 * The target may also be an object that Python will make (ACHAR_CALL and its like): then Python
 * appends, sets or adds when it loads the pickle.
 */
ACHAR_API void achar_append(achar_graph *graph, achar_value list, achar_value item);
ACHAR_API void achar_set(achar_graph *graph, achar_value dict, achar_value key, achar_value value);
ACHAR_API void achar_put(achar_graph *graph, achar_value dict, const char *key, achar_value value);
ACHAR_API void achar_add(achar_graph *graph, achar_value set, achar_value item);

/* ---- what Python will make ---- */

/* The import of 'name' (may be dotted) from 'module', by Python 3's names; copied. */
ACHAR_API achar_value achar_make_global(achar_graph *graph, const char *module, const char *name);

/*
 * A call, in one of the forms of enum achar_call_form. 'callable' is an import or another thing
 * that Python makes, 'arguments' a tuple; 'keywords' is a dict for ACHAR_CALL_NEWOBJ_EX and
 * ACHAR_NOTHING (achar_nothing()) for the others. Calls happen in the order in which they were
 * made, each seeing its arguments as they were then.
 */
ACHAR_API achar_value achar_make_call(achar_graph *graph, int form, achar_value callable,
                                      achar_value arguments, achar_value keywords);

/* achar_build() gives 'target' a state: to its __setstate__, or into its __dict__. */
ACHAR_API void achar_build(achar_graph *graph, achar_value target, achar_value state);

/* An object that the loading program knows by copyreg's number 'code' (1 to 2^31-1), or by 'id'. */
ACHAR_API achar_value achar_make_extension(achar_graph *graph, int64_t code);
ACHAR_API achar_value achar_make_persistent(achar_graph *graph, achar_value id);

/* The next out-of-band buffer, counted from 0 in the order of these calls. */
ACHAR_API achar_value achar_make_buffer(achar_graph *graph, int readonly);

static inline achar_value achar_nothing(void)
{
    achar_value nothing = {0, {0}};
    return nothing;
}

#ifdef __cplusplus
}
#endif
#endif
