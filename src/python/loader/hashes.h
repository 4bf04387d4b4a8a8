/*
 * hashes.h - the hashes of short texts that came before.
 *
 * The text of a key is new in each load, and hashing it costs more than making it; but programs load
 * the same keys again and again. A small table remembers what short ASCII texts hash to, by their
 * content: a str's hash depends on nothing else, for as long as the interpreter lives. What is not
 * in the table is hashed as always and takes the place of something else there.
 *
 * The objects are not shared between loads: what pickle makes anew is new.
 */
#ifndef ACHAR_PYTHON_LOADER_HASHES_H
#define ACHAR_PYTHON_LOADER_HASHES_H

#include "base/memory.h"
#include "python/loader/text.h"
#include "python/state.h"

enum {
    LOADER_HASHES = SIZE_OR_TINY(256, 1),
    LOADER_HASHED_NBYTES = 32, /* longer texts are not looked for */
    /* Of more items at once, few can be expected to have been seen. */
    LOADER_HASHED_PAIRS = 64,
};

typedef struct loader_hash {
    uint64_t words[4]; /* the text: from both ends, overlapping where it is shorter */
    size_t nbytes;     /* 0: empty */
    Py_hash_t hash;
} loader_hash;

/* A table for the module's state. 0, or -1 with an exception set. */
int loader_hashes_exec(module_state *st);

/* Has 'text' know its hash, if it is one for the table. An exact str. */
static inline void loader_hash_text(module_state *st, PyObject *text)
{
    Py_hash_t *hash = compat_text_hash(text);
    size_t nbytes = (size_t)PyUnicode_GET_LENGTH(text);
    if (!hash || *hash != -1 || nbytes < 2 || nbytes > LOADER_HASHED_NBYTES ||
        !PyUnicode_IS_COMPACT_ASCII(text))
        return;
    const uint8_t *at = PyUnicode_1BYTE_DATA(text), *end = at + nbytes;
    uint64_t words[4] = {0};
    if (nbytes < 4) {
        words[0] = text_load16(at) | (uint32_t)text_load16(end - 2) << 16;
    } else if (nbytes < 8) {
        words[0] = text_load32(at) | (uint64_t)text_load32(end - 4) << 32;
    } else {
        words[0] = text_load64(at);
        words[1] = text_load64(end - 8);
        if (nbytes > 16) {
            words[2] = text_load64(at + 8);
            words[3] = text_load64(end - 16);
        }
    }
    uint64_t mixed = (words[0] + nbytes) * UINT64_C(0x9E3779B97F4A7C15);
    mixed = ((mixed >> 32 ^ mixed) + words[1] + words[2] + words[3]) * UINT64_C(0xD6E8FEB86659FD93);
    loader_hash *known = &st->loader_hashes[(mixed >> 56) % LOADER_HASHES];
    if (known->nbytes == nbytes && known->words[0] == words[0] && known->words[1] == words[1] &&
        known->words[2] == words[2] && known->words[3] == words[3]) {
        *hash = known->hash;
        return;
    }
    known->hash = PyObject_Hash(text); /* of an exact str it cannot fail */
    known->nbytes = nbytes;
    memcpy(known->words, words, sizeof words);
}

#endif
