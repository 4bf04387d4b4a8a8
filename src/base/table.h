/*
 * table.h - a hash table from 64-bit words to 64-bit words.
 *
 * It holds what is known by identity: memo indexes of values already written, ids in JSON, memo
 * slots far apart. Open addressing with linear probing, at most three quarters full, no removal.
 * The hash mixes with a multiplication by a constant: keys are our own addresses or the indexes of
 * a memo; an adversary who chooses indexes is met by the mixing of all bits, see table_hash().
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
    uint64_t seed;
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

/*
 * The full 128-bit product folded onto itself: every bit of the key reaches the low bits. The seed
 * is made of the address of the table's own storage, which the maker of a pickle does not know.
 */
static inline uint64_t table_hash(uint64_t seed, uint64_t key)
{
    __uint128_t product = (__uint128_t)(key ^ seed) * 0xd6e8feb86659fd93u;
    uint64_t folded = (uint64_t)product ^ (uint64_t)(product >> 64);
    return folded ^ folded >> 29;
}

/* The entry that holds the key, or the free one where it belongs. The table is not empty. */
static inline table_entry *table_probe(const table *t, uint64_t key)
{
    size_t mask = t->capacity - 1;
    size_t i = table_hash(t->seed, key) & mask;
    for (;; i = (i + 1) & mask) {
        table_entry *entry = &t->entries[i];
        if (entry->value == TABLE_ABSENT || entry->key == key)
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
