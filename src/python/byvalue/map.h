/*
 * map.h - a table from objects, by identity, to objects. It holds a strong reference to
 * every key and value, so that an address in it cannot come to mean another object.
 */
#ifndef ACHAR_PYTHON_BYVALUE_MAP_H
#define ACHAR_PYTHON_BYVALUE_MAP_H

#include "python/state.h"

typedef struct byvalue_map_entry {
    PyObject *key; /* NULL: free */
    PyObject *value;
} byvalue_map_entry;

/* All zero is an empty map. */
typedef struct byvalue_map {
    byvalue_map_entry *entries;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
} byvalue_map;

/* The value for 'key', borrowed; NULL (no exception) if there is none. */
PyObject *byvalue_map_get(const byvalue_map *map, PyObject *key);
/* Sets the value for 'key'. 0, or -1 with MemoryError set and the map unchanged. */
int byvalue_map_put(byvalue_map *map, PyObject *key, PyObject *value);
/* Gives everything back; the map is empty afterwards. Can run Python code. */
void byvalue_map_clear(byvalue_map *map);

#endif
