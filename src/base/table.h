/*
 * table.h - a hash table from pairs of 64-bit words to one 64-bit word.
 *
 * It holds what is known by identity: memo indexes of values already written, ids in JSON, memo
 * slots far apart. Open addressing with linear probing, at most three quarters full, no removal.
 * The hash mixes with a multiplication by a constant: keys are our own addresses or the indexes of
 * a memo; an adversary who chooses indexes is met by the mixing of all bits, see hash().
 */
#ifndef ACHAR_BASE_TABLE_H
#define ACHAR_BASE_TABLE_H

#include "base/memory.h"

/* The value that no entry may have. */
#define TABLE_ABSENT UINT64_MAX

typedef struct table_entry {
    uint64_t key[2];
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
void achar__table_init(table *t, memory *mem);
void achar__table_free(table *t);

/* TABLE_ABSENT where there is no such key. */
uint64_t achar__table_get(const table *t, uint64_t key0, uint64_t key1);

/* Where the key's value lies, to read or change until the next insertion; NULL: no such key. */
uint64_t *achar__table_find(const table *t, uint64_t key0, uint64_t key1);

/*
 * The value's place; a new key gets 'value', and '*added' (may be NULL) says whether it was new.
 * NULL where memory ran out.
 */
uint64_t *achar__table_put(table *t, uint64_t key0, uint64_t key1, uint64_t value, bool *added);

#endif
