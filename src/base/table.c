/* table.c - the hash table of table.h. */
#include "base/table.h"

enum { TABLE_FIRST_CAPACITY = SIZE_OR_TINY(32, 4), TABLE_SMALL_CAPACITY = SIZE_OR_TINY(1024, 8) };

/* How many entries a table takes before it grows. A small one lies in the nearest cache whatever it
 * holds: there what counts is to find most keys in their first place. */
static size_t most_count(size_t capacity)
{
    return capacity <= TABLE_SMALL_CAPACITY ? capacity / 4 : capacity / 4 * 3;
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
    larger.multiplier = (uint64_t)(uintptr_t)larger.entries * 0xff51afd7ed558ccdu | 1;
    larger.shift = 64 - (unsigned)__builtin_ctzll(larger.capacity);
    for (size_t i = 0; i < larger.capacity; i++)
        larger.entries[i] = (table_entry){0, TABLE_ABSENT};
    for (size_t i = 0; i < t->capacity; i++)
        if (t->entries[i].value != TABLE_ABSENT)
            *table_probe(&larger, t->entries[i].key) = t->entries[i];
    achar__memory_give(t->mem, t->entries, t->capacity * sizeof *t->entries);
    *t = larger;
    return true;
}

uint64_t *achar__table_put(table *t, uint64_t key, uint64_t value, bool *added)
{
    table_entry *entry = t->capacity == 0 ? NULL : table_probe(t, key);
    bool known = entry != NULL && entry->value != TABLE_ABSENT;
    if (added != NULL)
        *added = !known;
    if (known)
        return &entry->value;
    if (t->count + 1 > most_count(t->capacity)) {
        if (!grow(t))
            return NULL;
        entry = table_probe(t, key);
    }
    *entry = (table_entry){key, value};
    t->count++;
    return &entry->value;
}
