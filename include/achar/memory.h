/*
 * memory.h - where achar's memory comes from, for programs that want to say so.
 */
#ifndef ACHAR_MEMORY_H
#define ACHAR_MEMORY_H

#include <stddef.h>

#include <achar/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * achar_allocator is one function and what it needs. 'reallocate' is called with
 *
 *     block NULL,  old_nbytes 0   to get new_nbytes (never 0), aligned as malloc does
 *     block,       new_nbytes 0   to give the block back; the result is ignored
 *     block,       both           to resize it, keeping its contents
 *
 * and returns NULL when it cannot; the old block then stays valid. 'old_nbytes' is always the size
 * asked for last. It is called from the thread that calls achar, and from no other.
 *
 * The struct is copied; 'opaque' must outlive every object made with it. A NULL allocator, or one
 * with a NULL 'reallocate', means malloc and free.
 *
 * Exception: GMP, which turns large integers into decimal text and back, takes the scratch memory
 * of integers over some thousand digits from malloc.
 */
typedef struct achar_allocator {
    void *(*reallocate)(void *opaque, void *block, size_t old_nbytes, size_t new_nbytes);
    void *opaque;
} achar_allocator;

/*
 * achar_bytes is a block that achar made and the caller owns, such as a pickle just written.
 * 'data' is never NULL after success, not even for 0 bytes.
 */
typedef struct achar_bytes {
    unsigned char *data;
    size_t nbytes;
    size_t capacity_nbytes; /* of the block; achar_bytes_free() needs it */
} achar_bytes;

/* achar_bytes_free() gives the block back and zeroes the struct; 'bytes' zeroed, or NULL, does
 * nothing. 'allocator' must be the one that the bytes were made with, NULL if that was NULL. */
ACHAR_API void achar_bytes_free(achar_bytes *bytes, const achar_allocator *allocator);

/*
 * achar_sink takes output piece by piece. 'write' returns 0, or anything else to stop: the call in
 * progress then fails with ACHAR_E_IO.
 */
typedef struct achar_sink {
    int (*write)(void *opaque, const void *data, size_t nbytes);
    void *opaque;
} achar_sink;

#ifdef __cplusplus
}
#endif
#endif
