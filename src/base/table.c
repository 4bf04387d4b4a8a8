/* table.c - the hash table of table.h. */
#include "base/table.h"

enum { TABLE_FIRST_CAPACITY = 32 };

void achar__table_init(table *t, memory *mem)
{
    *t = (table){.mem = mem};
}

void achar__table_free(table *t)
{
    achar__memory_give(t->mem, t->entries, t->capacity * sizeof *t->entries);
    achar__table_init(t, t->mem);
}

/*
 * The full 128-bit product folded onto itself: every bit of the key reaches the low bits. The seed
 * is the address of the table's own storage, which the maker of a pickle does not know.
 */
static inline uint64_t hash(uint64_t seed, uint64_t key0, uint64_t key1)
{
    __uint128_t product =
        (__uint128_t)(key0 ^ seed ^ 0x9e3779b97f4a7c15u) * (key1 ^ 0xd6e8feb86659fd93u);
    uint64_t folded = (uint64_t)product ^ (uint64_t)(product >> 64);
    return folded ^ folded >> 29;
}

/* The entry that holds the key, or the free one where it belongs. */
static table_entry *probe(const table *t, uint64_t key0, uint64_t key1)
{
    size_t mask = t->capacity - 1;
    size_t i = hash(t->seed, key0, key1) & mask;
    for (;; i = (i + 1) & mask) {
        table_entry *entry = &t->entries[i];
        if (entry->value == TABLE_ABSENT || (entry->key[0] == key0 && entry->key[1] == key1))
            return entry;
    }
}

uint64_t *achar__table_find(const table *t, uint64_t key0, uint64_t key1)
{
    if (t->count == 0)
        return NULL;
    table_entry *entry = probe(t, key0, key1);
    return entry->value == TABLE_ABSENT ? NULL : &entry->value;
}

uint64_t achar__table_get(const table *t, uint64_t key0, uint64_t key1)
{
    return t->count == 0 ? TABLE_ABSENT : probe(t, key0, key1)->value;
}

static bool grow(table *t)
{
    table larger = *t;
    larger.capacity = t->capacity == 0 ? TABLE_FIRST_CAPACITY : t->capacity * 2;
    if (larger.capacity > PTRDIFF_MAX / sizeof *t->entries) {
        t->mem->limited = false;
        return false;
    }
    larger.entries = achar__memory_take(t->mem, larger.capacity * sizeof *t->entries);
    if (larger.entries == NULL)
        return false;
    larger.seed = (uint64_t)(uintptr_t)larger.entries * 0xff51afd7ed558ccdu;
    for (size_t i = 0; i < larger.capacity; i++)
        larger.entries[i].value = TABLE_ABSENT;
    for (size_t i = 0; i < t->capacity; i++)
        if (t->entries[i].value != TABLE_ABSENT)
            *probe(&larger, t->entries[i].key[0], t->entries[i].key[1]) = t->entries[i];
    achar__memory_give(t->mem, t->entries, t->capacity * sizeof *t->entries);
    *t = larger;
    return true;
}

uint64_t *achar__table_put(table *t, uint64_t key0, uint64_t key1, uint64_t value, bool *added)
{
    uint64_t *found = achar__table_find(t, key0, key1);
    if (added != NULL)
        *added = found == NULL;
    if (found != NULL)
        return found;
    if (t->count + 1 > t->capacity / 4 * 3 && !grow(t))
        return NULL;
    table_entry *entry = probe(t, key0, key1);
    *entry = (table_entry){{key0, key1}, value};
    t->count++;
    return &entry->value;
}
