/*
 * store.h - where a process puts what others read: memory, up to a limit, and beyond it a file on disk.
 *
 *    | memory (memfd)                     | spill (a file without a name)      |
 *    one region, one range of offsets, the same for everyone who maps it
 *
 * Blocks are the heap's (heap.h) in either part; nobody but the store knows where one is. What is in the
 * file is read and written like memory: the kernel writes it out and takes the pages back as it needs
 * them. The space that a block takes is there before it is handed out, so that a full disk is a status.
 */
#ifndef ACHAR_RUNTIME_STORE_H
#define ACHAR_RUNTIME_STORE_H

#include "runtime/shm/heap.h"

typedef struct achar__store achar__store;

/*
 * 'region' is the pair of 'memory_fd' and 'spill_fd' (-1: none), mapped writable; it stays the caller's
 * and outlives the store. 'reserved_nbytes' at its start are not the store's. The descriptors may be
 * closed afterwards. 'warm_nbytes' is achar__heap_create()'s. No limit holds before achar__store_limit().
 */
int achar__store_create(achar__region *region, int memory_fd, int spill_fd, size_t reserved_nbytes,
                        size_t warm_nbytes, achar__store **out);
/* What may be in blocks from now on, besides what is; 0: no limit. */
void achar__store_limit(achar__store *store, size_t memory_nbytes, size_t spill_nbytes);
void achar__store_destroy(achar__store *store);

/* As achar__heap_alloc() and its like. ACHAR_E_LIMIT, ACHAR_E_NOMEM: neither memory nor disk has room. */
int achar__store_alloc(achar__store *store, size_t nbytes, void **block, size_t *capacity);
int achar__store_grow(achar__store *store, void **block, size_t *capacity, size_t used,
                      size_t nbytes);
/* Whether a block of 'nbytes' would be within a limit if up to 'freed_nbytes' of what is used were free. */
bool achar__store_may_fit(const achar__store *store, size_t nbytes, size_t freed_nbytes);
/* Of its memory, as achar__heap_is_half_full(). */
bool achar__store_is_half_full(const achar__store *store);
void achar__store_trim(achar__store *store, void **block, size_t *capacity, size_t used);
bool achar__store_free(achar__store *store, void *block);
bool achar__store_has_excess(const achar__store *store);
void achar__store_purge(achar__store *store);

typedef struct achar__store_usage {
    size_t memory_nbytes, spill_nbytes; /* in blocks, with what rounding adds */
} achar__store_usage;
achar__store_usage achar__store_usage_of(achar__store *store);

#endif
