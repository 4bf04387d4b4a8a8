/* memory.c - the allocator hook, counted and limited. */
#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    HUGE_PAGE_NBYTES = 2 << 20,
    TRIMMED_NBYTES = 128 << 10, /* glibc keeps less than this in any case */
    SHOWN_LEAST_NBYTES = 256 << 10,
    ADAPTING_MOST_NBYTES = 31 << 20, /* and does not adapt to blocks above 32 MB */
};

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

/*
 * When a graph is freed, glibc returns the memory to the kernel if it is more than twice the largest
 * block that the program ever freed, and the next graph pays a page fault for each page: up to two
 * thirds of its time. What a graph takes is many blocks. So glibc is shown one that is larger than
 * all of them, which nobody writes to.
 */
void achar__memory_foresee(const memory *mem, size_t nbytes)
{
    if (mem->allocator.reallocate != libc_reallocate || nbytes < TRIMMED_NBYTES / 2)
        return;
    size_t shown_nbytes = nbytes < ADAPTING_MOST_NBYTES / 2 ? nbytes * 2 : ADAPTING_MOST_NBYTES;
    if (shown_nbytes < SHOWN_LEAST_NBYTES)
        shown_nbytes = SHOWN_LEAST_NBYTES;
    void *volatile block = malloc(shown_nbytes);
    free(block);
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
