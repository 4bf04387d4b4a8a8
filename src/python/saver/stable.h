/*
 * stable.h - what a dump with deterministic=True does otherwise, so that its bytes depend on nothing
 * but the object: not on the process, hash seeds, addresses, interning or what has been shared.
 *
 * Values. A str, bytes, complex, and a tuple or frozenset, has no identity that anyone should rely
 * on; whether two equal ones are one object is an accident of who made them. So they are memoized by
 * value: each that is written goes to the first of its value, whichever object it is. Everything
 * else is itself and nothing else: two equal lists stay two, and one list twice stays one. (stable.c)
 *
 * Order. The items of a set come in the order of their keys: of what each of them, alone, is written
 * as. (order.c)
 */
#ifndef ACHAR_PYTHON_SAVER_STABLE_H
#define ACHAR_PYTHON_SAVER_STABLE_H

#include "python/byvalue/map.h"
#include "python/state.h"

struct saver;

typedef struct saver_stable {
    PyObject *texts, *bytes, *keys; /* dict: str, bytes, key of another value -> the first of it */
    byvalue_map known;              /* tuple or frozenset -> the first of its value */
    struct saver_stable *root;      /* of the dump itself */
    int depth;                      /* 0: the dump itself; else a key is being written */
    byvalue_map orders;             /* root: frozenset of values -> its items in order, a list */
    byvalue_map values;             /* root: tuple or frozenset that is a value -> itself */
} saver_stable;

/* For a dump, or, with 'outer', for a key in the order of a set of that dump's. NULL: MemoryError. */
saver_stable *saver_stable_new(saver_stable *outer);
void saver_stable_free(saver_stable *stable);

/* The object to write for 'obj', borrowed from the tables if it is another. NULL: MemoryError. Can set
 * off the garbage collector. */
PyObject *saver_stable_value(struct saver *s, PyObject *obj);

/*
 * 1 if 'obj', or what is in it if it is a set, is a value through and through: numbers, text, tuples
 * and frozensets of values; 0; -1: MemoryError. Looks at each tuple and frozenset once in a dump. Runs
 * no Python code.
 */
int saver_is_value(struct saver *s, PyObject *obj);

/*
 * saver_order() is a new list of the items of 'items', any iterable, in an order that depends on
 * nothing but what they are. Items that are written as the same come in the order in which the dump
 * has met them before, and then as they do. Runs Python code: saver_before_python() is due. Deep in
 * keys (below) it may be a list of their number.
 */
PyObject *saver_order(struct saver *s, PyObject *items);

/*
 * saver_write_set_key() writes what stands for a set within a key. Sets of objects may lead to each
 * other without end, so a key sees two of them deep: in a set's item the next is its items' keys, and
 * in those a set is how many it has. 1: written; 0: the set is to be written as ever; -1.
 */
int saver_write_set_key(struct saver *s, PyObject *set);

#endif
