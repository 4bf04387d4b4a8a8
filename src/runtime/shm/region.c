/* region.c - memfd, mmap and the ways to commit pages. */
#include "runtime/shm/region.h"
#include "runtime/test_points.h"

#include <achar/status.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB                 ((size_t)1 << 20)
#define LOWEST_FD           16
#define ADDRESS_SPACE_SHARE ((size_t)1 << 45) /* of the 47 bits that a process has */

size_t achar__region_default_nbytes(unsigned region_count)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    size_t memory_nbytes =
        pages > 0 ? (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) : (size_t)4096 * MIB;
    size_t nbytes = (size_t)1024 * MIB;
    while (nbytes < 2 * memory_nbytes) {
        nbytes *= 2;
    }
    size_t share = ADDRESS_SPACE_SHARE;
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        share = limit.rlim_cur / 2;
    }
    while (nbytes > MIB && nbytes > share / region_count) {
        nbytes /= 2;
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        while (nbytes > MIB && nbytes > limit.rlim_cur) {
            nbytes /= 2;
        }
    }
    return nbytes;
}

int achar__region_create(const char *name, size_t nbytes, size_t committed_nbytes, int *out)
{
    int fd = -1;
    struct rlimit limit;

    /* Past RLIMIT_FSIZE ftruncate would send SIGXFSZ. */
    if (nbytes > INT64_MAX || (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                               limit.rlim_cur != RLIM_INFINITY && nbytes > limit.rlim_cur)) {
        errno = EFBIG;
        return ACHAR_E_IO;
    }
    int first = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (first < 0) {
        goto fail;
    }
    fd = fcntl(first, F_DUPFD_CLOEXEC, LOWEST_FD);
    int error = errno;
    close(first);
    errno = error;
    if (fd < 0 || ftruncate(fd, (off_t)nbytes) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        fallocate(fd, 0, 0, (off_t)committed_nbytes) != 0) {
        goto fail;
    }
    *out = fd;
    return ACHAR_OK;
fail:
    error = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = error;
    return error == ENOMEM ? ACHAR_E_NOMEM : ACHAR_E_IO;
}

int achar__region_reopen_readonly(int fd, int *readonly_fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDONLY | O_CLOEXEC);
    if (again < 0) { /* no /proc here */
        again = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
    } else if (again < LOWEST_FD) {
        int low = again;
        again = fcntl(low, F_DUPFD_CLOEXEC, LOWEST_FD);
        int error = errno;
        close(low);
        errno = error;
    }
    if (again < 0) {
        return ACHAR_E_IO;
    }
    *readonly_fd = again;
    return ACHAR_OK;
}

/* Linux 5.14 and later can commit pages of a mapping without its descriptor. */
static bool can_populate(unsigned char *base)
{
    return madvise(base, (size_t)sysconf(_SC_PAGESIZE), MADV_POPULATE_WRITE) == 0 ||
           errno != EINVAL;
}

/* ACHAR_OK or ACHAR_E_IO with errno. */
static int size_of(int fd, size_t *nbytes)
{
    struct stat about;
    if (fstat(fd, &about) != 0) {
        return ACHAR_E_IO;
    }
    if (about.st_size <= 0) {
        errno = EINVAL;
        return ACHAR_E_IO;
    }
    *nbytes = (size_t)about.st_size;
    return ACHAR_OK;
}

int achar__region_map(int fd, bool writable, achar__region *out)
{
    size_t nbytes;
    *out = ACHAR__REGION_CLOSED;
    int status = size_of(fd, &nbytes);
    return status == ACHAR_OK ? achar__region_map_part(fd, 0, nbytes, writable, out) : status;
}

/* Both files, one behind the other, at one address; MAP_FAILED with errno. */
static void *map_pair(int fd, size_t nbytes, int behind_fd, size_t behind_nbytes, int protection,
                      int flags)
{
    flags |= MAP_NORESERVE;
    if (behind_fd < 0) {
        return mmap(NULL, nbytes, protection, flags, fd, 0);
    }
    unsigned char *base = mmap(NULL, nbytes + behind_nbytes, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base != MAP_FAILED &&
        (mmap(base, nbytes, protection, flags | MAP_FIXED, fd, 0) == MAP_FAILED ||
         mmap(base + nbytes, behind_nbytes, protection, flags | MAP_FIXED, behind_fd, 0) ==
             MAP_FAILED)) {
        int error = errno;
        munmap(base, nbytes + behind_nbytes);
        errno = error;
        return MAP_FAILED;
    }
    return base;
}

int achar__region_map_pair(int fd, int behind_fd, bool writable, achar__region *out)
{
    size_t nbytes, behind_nbytes = 0;
    *out = ACHAR__REGION_CLOSED;
    int status = size_of(fd, &nbytes);
    if (status == ACHAR_OK && behind_fd >= 0) {
        status = size_of(behind_fd, &behind_nbytes);
    }
    if (status != ACHAR_OK) {
        return status;
    }
    void *base = map_pair(fd, nbytes, behind_fd, behind_nbytes,
                          writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
    if (base == MAP_FAILED) {
        return errno == ENOMEM ? ACHAR_E_NOMEM : ACHAR_E_IO;
    }
    *out = (achar__region){.base = base, .nbytes = nbytes + behind_nbytes, .fd = -1};
    return ACHAR_OK;
}

int achar__region_part(const achar__region *whole, size_t offset, size_t nbytes, int fd,
                       achar__region *part)
{
    *part = (achar__region){.base = whole->base + offset, .nbytes = nbytes, .fd = -1};
    if (can_populate(part->base)) {
        return ACHAR_OK;
    }
    part->fd = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
    if (part->fd < 0) {
        *part = ACHAR__REGION_CLOSED;
        return ACHAR_E_IO;
    }
    return ACHAR_OK;
}

void achar__region_close_part(achar__region *part)
{
    if (part->fd >= 0) {
        close(part->fd);
    }
    *part = ACHAR__REGION_CLOSED;
}

int achar__region_map_part(int fd, size_t offset, size_t nbytes, bool writable, achar__region *out)
{
    *out = ACHAR__REGION_CLOSED;
    void *base = mmap(NULL, nbytes, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                      MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
    if (base == MAP_FAILED) {
        return errno == ENOMEM ? ACHAR_E_NOMEM : ACHAR_E_IO;
    }
    out->base = base;
    out->nbytes = nbytes;
    out->file_offset = offset;
    if (writable && !can_populate(base)) {
        out->fd = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
        if (out->fd < 0) {
            achar__region_unmap(out);
            return ACHAR_E_IO;
        }
    }
    return ACHAR_OK;
}

void achar__region_mirror(achar__region *region, int fd, int behind_fd)
{
    size_t nbytes, behind_nbytes = 0;
    if (size_of(fd, &nbytes) == ACHAR_OK &&
        (behind_fd < 0 || size_of(behind_fd, &behind_nbytes) == ACHAR_OK)) {
        void *mirror =
            map_pair(fd, nbytes, behind_fd, behind_nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
        region->mirror = mirror == MAP_FAILED ? NULL : mirror;
    }
}

void achar__region_unmap(achar__region *region)
{
    if (region->base) {
        munmap(region->base, region->nbytes);
    }
    if (region->mirror) {
        munmap(region->mirror, region->nbytes);
    }
    if (region->fd >= 0) {
        close(region->fd);
    }
    *region = ACHAR__REGION_CLOSED;
}

void achar__region_shorten(achar__region *region, size_t nbytes)
{
    size_t page_nbytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t kept = nbytes ? (nbytes + page_nbytes - 1) & ~(page_nbytes - 1) : page_nbytes;
    if (kept >= region->nbytes || munmap(region->base + kept, region->nbytes - kept) != 0) {
        return;
    }
    if (region->mirror && munmap(region->mirror + kept, region->nbytes - kept) != 0) {
        /* The kernel has no memory to cut it: nobody looks at it, so all of it may go. */
        munmap(region->mirror, region->nbytes);
        region->mirror = NULL;
    }
    region->nbytes = kept;
}

int achar__region_commit(achar__region *region, size_t offset, size_t nbytes)
{
    int result;
    if (!ACHAR__MAY_COMMIT(nbytes)) {
        return ACHAR_E_NOMEM;
    }
    do {
        result = region->fd >= 0 ? fallocate(region->fd, 0, (off_t)(region->file_offset + offset),
                                             (off_t)nbytes)
                                 : madvise(region->base + offset, nbytes, MADV_POPULATE_WRITE);
    } while (result != 0 && (errno == EINTR || errno == EAGAIN));
    return result == 0 ? ACHAR_OK : ACHAR_E_NOMEM;
}

bool achar__region_punch(achar__region *region, size_t offset, size_t nbytes)
{
    return madvise(region->base + offset, nbytes, MADV_REMOVE) == 0;
}
