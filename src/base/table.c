/* table.c - the hash table of table.h. */
#include "base/table.h"

enum { TABLE_FIRST_CAPACITY = SIZE_OR_TINY(32, 4) };

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
            *table_probe(&larger, t->entries[i].key) = t->entries[i];
    achar__memory_give(t->mem, t->entries, t->capacity * sizeof *t->entries);
    *t = larger;
    return true;
}

uint64_t *achar__table_put(table *t, uint64_t key, uint64_t value, bool *added)
{
    uint64_t *found = achar__table_find(t, key);
    if (added != NULL)
        *added = found == NULL;
    if (found != NULL)
        return found;
    if (t->count + 1 > t->capacity / 4 * 3 && !grow(t))
        return NULL;
    table_entry *entry = table_probe(t, key);
    *entry = (table_entry){key, value};
    t->count++;
    return &entry->value;
}
