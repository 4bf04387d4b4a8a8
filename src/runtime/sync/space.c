/* space.c - making, opening and closing a space. */
#include "runtime/sync/space.h"
#include "runtime/sync/strand.h"

#include <achar/status.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * All that are open, so that a process which forks can be told from one that has not: what it holds
 * may be its child's as well (holders.h).
 */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static achar_space *open_spaces;

static void before_fork(void)
{
    pthread_mutex_lock(&open_lock);
    for (achar_space *space = open_spaces; space; space = space->next) {
        uint32_t ticket = atomic_load(&space->member->ticket);
        if (ticket != 0) {
            atomic_store(&space->header->processes[ACHAR__TICKET_INDEX(ticket)].has_forked, 1);
        }
    }
}

static void after_fork(void)
{
    pthread_mutex_unlock(&open_lock);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

static void enlist(achar_space *space)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&open_lock);
    space->next = open_spaces;
    space->before = &open_spaces;
    if (space->next) {
        space->next->before = &space->next;
    }
    open_spaces = space;
    pthread_mutex_unlock(&open_lock);
}

static void strike_off(achar_space *space)
{
    pthread_mutex_lock(&open_lock);
    if (space->before) {
        *space->before = space->next;
        if (space->next) {
            space->next->before = space->before;
        }
    }
    pthread_mutex_unlock(&open_lock);
}

/* A space without memory, for this process. */
static int space_new(achar_space **out)
{
    achar_space *space = calloc(1, sizeof *space);
    if (!space) {
        return ACHAR_E_NOMEM;
    }
    space->region = space->arena = ACHAR__REGION_CLOSED;
    space->fd = space->watcher_fd = -1;
    void *page =
        mmap(NULL, ACHAR__PAGE_NBYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        free(space);
        return ACHAR_E_NOMEM;
    }
    space->member = page;
    if (madvise(page, ACHAR__PAGE_NBYTES, MADV_WIPEONFORK) != 0) {
        achar_space_close(space);
        return ACHAR_E_UNSUPPORTED;
    }
    *out = space;
    return ACHAR_OK;
}

/* As much address space for messages as the limits on files allow. */
static size_t arena_nbytes(void)
{
    size_t nbytes = (size_t)ACHAR__UNIT_COUNT * ACHAR__UNIT_NBYTES;
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        while (nbytes >= ACHAR__UNIT_NBYTES && nbytes + ACHAR__SPACE_NBYTES > limit.rlim_cur) {
            nbytes /= 2;
        }
    }
    return nbytes >= ACHAR__UNIT_NBYTES ? nbytes : 0;
}

static int map_private(achar_space *space)
{
    void *base = mmap(NULL, ACHAR__SPACE_NBYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return ACHAR_E_NOMEM;
    }
    space->region.base = base;
    space->region.nbytes = ACHAR__SPACE_NBYTES;
    space->arena_nbytes = (size_t)ACHAR__UNIT_COUNT * ACHAR__UNIT_NBYTES;
    return ACHAR_OK;
}

static int map_shared(achar_space *space)
{
    space->shared = true;
    space->arena_nbytes = arena_nbytes();
    int status = achar__region_create("achar-sync", ACHAR__SPACE_NBYTES + space->arena_nbytes,
                                      ACHAR__HEADER_NBYTES, &space->fd);
    return status == ACHAR_OK
               ? achar__region_map_part(space->fd, 0, ACHAR__SPACE_NBYTES, true, &space->region)
               : status;
}

static int fill_header(achar_space *space)
{
    achar__header *header = space->header;
    size_t filled = 0;
    while (filled < sizeof header->id) {
        ssize_t got =
            getrandom((unsigned char *)header->id + filled, sizeof header->id - filled, 0);
        if (got < 0 && errno != EINTR) {
            return ACHAR_E_IO;
        }
        filled += got > 0 ? (size_t)got : 0;
    }
    header->magic = ACHAR__SPACE_MAGIC;
    return ACHAR_OK;
}

int achar_space_create(int shared, achar_space **out)
{
    achar_space *space = NULL;
    uint32_t ticket;
    int status = space_new(&space);
    if (status != ACHAR_OK) {
        return status;
    }
    status = shared ? map_shared(space) : map_private(space);
    if (status != ACHAR_OK) {
        goto fail;
    }
    space->header = (achar__header *)space->region.base;
    if ((status = fill_header(space)) != ACHAR_OK ||
        (status = achar__space_join(space, &ticket)) != ACHAR_OK) {
        goto fail;
    }
    enlist(space);
    *out = space;
    return ACHAR_OK;
fail:
    achar_space_close(space);
    return status;
}

int achar_space_open(int fd, achar_space **out)
{
    achar_space *space = NULL;
    uint32_t ticket;
    int status = space_new(&space);
    if (status != ACHAR_OK) {
        return status;
    }
    space->shared = true;
    space->fd = fcntl(fd, F_DUPFD_CLOEXEC, 16);
    struct stat about;
    if (space->fd < 0 || fstat(space->fd, &about) != 0) {
        status = ACHAR_E_IO;
        goto fail;
    }
    if (about.st_size < (off_t)ACHAR__SPACE_NBYTES) {
        status = ACHAR_E_INVALID;
        goto fail;
    }
    space->arena_nbytes = (size_t)about.st_size - ACHAR__SPACE_NBYTES;
    status = achar__region_map_part(space->fd, 0, ACHAR__SPACE_NBYTES, true, &space->region);
    if (status != ACHAR_OK) {
        goto fail;
    }
    space->header = (achar__header *)space->region.base;
    if (space->header->magic != ACHAR__SPACE_MAGIC) {
        status = ACHAR_E_INVALID;
        goto fail;
    }
    status = achar__space_join(space, &ticket);
    if (status != ACHAR_OK) {
        goto fail;
    }
    enlist(space);
    *out = space;
    return ACHAR_OK;
fail:
    achar_space_close(space);
    return status;
}

void achar_space_close(achar_space *space)
{
    if (!space) {
        return;
    }
    if (space->header) {
        achar__waker_stop(space);
        achar__watcher_stop(space);
        achar__space_leave(space);
    }
    strike_off(space);
    achar__watcher_close(space);
    achar__holders_close(space);
    achar__region_unmap(&space->arena);
    achar__region_unmap(&space->region);
    if (space->fd >= 0) {
        close(space->fd);
    }
    if (space->member) {
        munmap(space->member, ACHAR__PAGE_NBYTES);
    }
    free(space);
}

int achar_space_fd(const achar_space *space)
{
    return space->fd;
}

void achar_space_id(const achar_space *space, uint64_t id[2])
{
    memcpy(id, space->header->id, sizeof space->header->id);
}
