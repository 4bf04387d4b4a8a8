/* memory.c - the allocator hook, counted and limited. */
#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE_NBYTES = 2 << 20 };

/*
 * Most of the time that fresh memory of many megabytes takes is the kernel's, who hands it out page
 * by page. With huge pages it takes a quarter. A wish: where it is not granted, nothing happens.
 */
static void wish_for_huge_pages(void *block, size_t nbytes)
{
    uintptr_t start =
        ((uintptr_t)block + HUGE_PAGE_NBYTES - 1) & ~(uintptr_t)(HUGE_PAGE_NBYTES - 1);
    uintptr_t end = ((uintptr_t)block + nbytes) & ~(uintptr_t)(HUGE_PAGE_NBYTES - 1);
    if (start < end)
        madvise((void *)start, end - start, MADV_HUGEPAGE);
}

static void *libc_reallocate(void *opaque, void *block, size_t old_nbytes, size_t new_nbytes)
{
    (void)opaque;
    if (new_nbytes == 0) {
        free(block);
        return NULL;
    }
    void *moved = block == NULL ? malloc(new_nbytes) : realloc(block, new_nbytes);
    if (moved != NULL && new_nbytes > old_nbytes && new_nbytes >= 2 * HUGE_PAGE_NBYTES)
        wish_for_huge_pages(moved, new_nbytes);
    return moved;
}

void achar__memory_init(memory *mem, const achar_allocator *allocator, uint64_t limit_nbytes)
{
    *mem = (memory){.limit_nbytes = limit_nbytes};
    if (allocator != NULL && allocator->reallocate != NULL)
        mem->allocator = *allocator;
    else
        mem->allocator.reallocate = libc_reallocate;
}

void *achar__memory_resize(memory *mem, void *block, size_t old_nbytes, size_t new_nbytes)
{
    uint64_t others = mem->used_nbytes - old_nbytes;
    mem->limited = mem->limit_nbytes != 0 &&
                   (new_nbytes > mem->limit_nbytes || others > mem->limit_nbytes - new_nbytes);
    if (mem->limited)
        return NULL;
    void *moved = mem->allocator.reallocate(mem->allocator.opaque, block, old_nbytes, new_nbytes);
    if (moved != NULL)
        mem->used_nbytes = others + new_nbytes;
    return moved;
}

void *achar__memory_take(memory *mem, size_t nbytes)
{
    return achar__memory_resize(mem, NULL, 0, nbytes);
}

void achar__memory_give_block(memory *mem, void *block, size_t nbytes)
{
    mem->allocator.reallocate(mem->allocator.opaque, block, nbytes, 0);
    mem->used_nbytes -= nbytes;
}

int achar__memory_status(const memory *mem)
{
    return mem->limited ? ACHAR_E_LIMIT : ACHAR_E_NOMEM;
}

void achar_bytes_free(achar_bytes *bytes, const achar_allocator *allocator)
{
    if (bytes == NULL)
        return;
    if (bytes->data != NULL) {
        memory mem;
        achar__memory_init(&mem, allocator, 0);
        mem.used_nbytes = bytes->capacity_nbytes;
        achar__memory_give(&mem, bytes->data, bytes->capacity_nbytes);
    }
    *bytes = (achar_bytes){0};
}
