/*
 * table.h - a hash table from 64-bit words to 64-bit words.
 *
 * It holds what is known by identity: memo indexes of values already written, ids in JSON, memo
 * slots far apart. Open addressing with linear probing, at most three quarters full and less while
 * it is small, no removal. The hash is the top of a product with an odd number, which is made of the
 * address of the table's own storage: keys are our own addresses or the indexes of a memo, and an
 * adversary who chooses those does not know that number.
 * Looking up is inline, for loops that do it with every value.
 */
#ifndef ACHAR_BASE_TABLE_H
#define ACHAR_BASE_TABLE_H

#include "base/memory.h"

/* The value that no entry may have. */
#define TABLE_ABSENT UINT64_MAX

typedef struct table_entry {
    uint64_t key;
    uint64_t value;
} table_entry;

typedef struct table {
    memory *mem;
    table_entry *entries;
    size_t capacity; /* entries; 0 or a power of two */
    size_t count;
    uint64_t multiplier;
    unsigned shift; /* what leaves a place below 'capacity' of a product */
} table;

/* Cannot fail: nothing is allocated yet. */
static inline void achar__table_init(table *t, memory *mem)
{
    *t = (table){.mem = mem};
}

/* Leaves an empty table. */
static inline void achar__table_free(table *t)
{
    achar__memory_give(t->mem, t->entries, t->capacity * sizeof *t->entries);
    achar__table_init(t, t->mem);
}

/* The entry that holds the key, or the free one where it belongs. The table is not empty. */
static inline table_entry *table_probe(const table *t, uint64_t key)
{
    size_t mask = t->capacity - 1;
    for (size_t i = key * t->multiplier >> t->shift;; i = (i + 1) & mask) {
        table_entry *entry = &t->entries[i];
        if (entry->key == key || entry->value == TABLE_ABSENT)
            return entry;
    }
}

/* TABLE_ABSENT where there is no such key. */
static inline uint64_t achar__table_get(const table *t, uint64_t key)
{
    return t->count == 0 ? TABLE_ABSENT : table_probe(t, key)->value;
}

/* Where the key's value lies, to read or change until the next insertion; NULL: no such key. */
static inline uint64_t *achar__table_find(const table *t, uint64_t key)
{
    if (t->count == 0)
        return NULL;
    table_entry *entry = table_probe(t, key);
    return entry->value == TABLE_ABSENT ? NULL : &entry->value;
}

/*
 * The value's place; a new key gets 'value', and '*added' (may be NULL) says whether it was new.
 * NULL where memory ran out.
 */
uint64_t *achar__table_put(table *t, uint64_t key, uint64_t value, bool *added);

#endif
