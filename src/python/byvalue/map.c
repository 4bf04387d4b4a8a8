/* map.c - open addressing with linear probing; entries are never removed one by one. */
#include "python/byvalue/map.h"

#include <stdint.h>

static size_t slot_of(const byvalue_map_entry *entries, size_t capacity, PyObject *key)
{
    size_t slot = (size_t)(((uintptr_t)key >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 32);
    for (slot &= capacity - 1; entries[slot].key && entries[slot].key != key;)
        slot = (slot + 1) & (capacity - 1);
    return slot;
}

PyObject *byvalue_map_get(const byvalue_map *map, PyObject *key)
{
    if (!map->count)
        return NULL;
    return map->entries[slot_of(map->entries, map->capacity, key)].value;
}

static int grow(byvalue_map *map)
{
    size_t capacity = map->capacity ? map->capacity * 2 : 8;
    byvalue_map_entry *entries = PyMem_Calloc(capacity, sizeof(*entries));
    if (!entries) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->entries[i].key)
            entries[slot_of(entries, capacity, map->entries[i].key)] = map->entries[i];
    }
    PyMem_Free(map->entries);
    map->entries = entries;
    map->capacity = capacity;
    return 0;
}

int byvalue_map_put(byvalue_map *map, PyObject *key, PyObject *value)
{
    if (map->count * 2 >= map->capacity && grow(map) < 0)
        return -1;
    byvalue_map_entry *entry = &map->entries[slot_of(map->entries, map->capacity, key)];
    if (!entry->key) {
        entry->key = Py_NewRef(key);
        map->count++;
    }
    Py_XSETREF(entry->value, Py_NewRef(value));
    return 0;
}

void byvalue_map_clear(byvalue_map *map)
{
    byvalue_map_entry *entries = map->entries;
    size_t capacity = map->capacity;
    *map = (byvalue_map){0};
    for (size_t i = 0; i < capacity; i++) {
        Py_XDECREF(entries[i].key);
        Py_XDECREF(entries[i].value);
    }
    PyMem_Free(entries);
}
