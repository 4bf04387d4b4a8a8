/*
 * window.c - which parts of mirrors are in use, and what becomes of them at a fork.
 *
 * Windows are few (large buffers that someone holds), so they stand in one list. Its lock is taken
 * around a fork, so that the child finds it free and the list whole.
 */
#include "runtime/shm/window.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOK_LEAST_NBYTES ((size_t)1 << 20) /* of a window that may stay mapped when it is closed */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool fork_is_watched; /* else no window is opened */
static bool
    pages_stay; /* private pages could not be dropped somewhere: no window is opened any more */
static achar__window *open_windows;

/* Writes every page without changing it. */
static void make_own(achar__window *window)
{
    if (madvise(window->data, window->nbytes, MADV_POPULATE_WRITE) != 0) {
        size_t page_nbytes = (size_t)sysconf(_SC_PAGESIZE);
        for (size_t at = 0; at < window->nbytes; at += page_nbytes) {
            __atomic_fetch_or(window->data + at, 0, __ATOMIC_RELAXED);
        }
    }
    window->is_own = true;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
    for (achar__window *window = open_windows; window; window = window->next) {
        if (!window->is_own) {
            make_own(window);
        }
    }
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
    fork_is_watched = pthread_atfork(before_fork, after_fork, after_fork) == 0;
}

static bool is_free(const unsigned char *data, size_t nbytes)
{
    for (const achar__window *other = open_windows; other; other = other->next) {
        if (data < other->data + other->nbytes && other->data < data + nbytes) {
            return false;
        }
    }
    return true;
}

bool achar__window_open(achar__window *window, const achar__region *region, const void *bytes,
                        size_t nbytes)
{
    size_t page_nbytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t offset = (size_t)((const unsigned char *)bytes - region->base);
    size_t whole_nbytes = (nbytes + page_nbytes - 1) & ~(page_nbytes - 1);
    *window = (achar__window){0};
    if (!region->mirror || nbytes == 0 || offset % page_nbytes != 0 || offset > region->nbytes ||
        whole_nbytes > region->nbytes - offset) {
        return false;
    }
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
    bool opened = fork_is_watched && !pages_stay && is_free(region->mirror + offset, whole_nbytes);
    if (opened) {
        *window = (achar__window){
            .data = region->mirror + offset, .nbytes = whole_nbytes, .next = open_windows};
        if (window->next) {
            window->next->prev = window;
        }
        open_windows = window;
    }
    pthread_mutex_unlock(&lock);
    return opened;
}

/* A page of /proc/self/pagemap: a private one is there, or swapped out, and is no page of a file. */
#define PAGE_IS_PRESENT (UINT64_C(1) << 63)
#define PAGE_IS_SWAPPED (UINT64_C(1) << 62)
#define PAGE_IS_FILES   (UINT64_C(1) << 61)

static bool any_is_private(const uint64_t *pages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if ((pages[i] & PAGE_IS_SWAPPED) ||
            (pages[i] & (PAGE_IS_PRESENT | PAGE_IS_FILES)) == PAGE_IS_PRESENT) {
            return true;
        }
    }
    return false;
}

static bool read_pages(int fd, uint64_t *pages, size_t first, size_t count)
{
    return pread(fd, pages, count * sizeof *pages, (off_t)(first * sizeof *pages)) ==
           (ssize_t)(count * sizeof *pages);
}

/* Whether the file tells the truth, which a sandbox's need not: the stack is this process's own. */
static bool knows_the_stack(int fd)
{
    volatile uint64_t mine = 0;
    uint64_t page;
    mine++;
    return read_pages(fd, &page, (uintptr_t)&mine / (size_t)sysconf(_SC_PAGESIZE), 1) &&
           any_is_private(&page, 1);
}

bool achar__window_is_unwritten(const void *data, size_t nbytes)
{
    size_t page_nbytes = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t pages[1024];
    size_t first = (uintptr_t)data / page_nbytes;
    size_t count = (nbytes + page_nbytes - 1) / page_nbytes;
    if ((uintptr_t)data % page_nbytes != 0) {
        return false;
    }
    int error = errno;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    bool is_unwritten = fd >= 0 && knows_the_stack(fd);
    while (is_unwritten && count) {
        size_t part = count < 1024 ? count : 1024;
        is_unwritten = read_pages(fd, pages, first, part) && !any_is_private(pages, part);
        first += part;
        count -= part;
    }
    if (fd >= 0) {
        close(fd);
    }
    errno = error;
    return is_unwritten;
}

void achar__window_close(achar__window *window)
{
    if (!window->data) {
        return;
    }
    bool is_unwritten = window->nbytes >= LOOK_LEAST_NBYTES &&
                        achar__window_is_unwritten(window->data, window->nbytes);
    pthread_mutex_lock(&lock);
    /* Private pages are dropped; whoever comes next sees the region's. Locked ones must be unlocked. Where
     * there are none, the region's stay mapped, and the next window has them without faults. */
    if ((!is_unwritten || window->is_own) &&
        madvise(window->data, window->nbytes, MADV_DONTNEED) != 0 &&
        (munlock(window->data, window->nbytes) != 0 ||
         madvise(window->data, window->nbytes, MADV_DONTNEED) != 0)) {
        pages_stay = true;
    }
    if (window->prev) {
        window->prev->next = window->next;
    } else {
        open_windows = window->next;
    }
    if (window->next) {
        window->next->prev = window->prev;
    }
    pthread_mutex_unlock(&lock);
    window->data = NULL;
}
