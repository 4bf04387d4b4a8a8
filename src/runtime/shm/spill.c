/* spill.c - O_TMPFILE, and what to do without it. */
#include "runtime/shm/spill.h"

#include <achar/status.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOWEST_FD 16

static int open_nameless(const char *path)
{
    int fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) {
        return fd;
    }
    char *name = NULL;
    if (asprintf(&name, "%s/achar-spill-XXXXXX", path) < 0) {
        errno = ENOMEM;
        return -1;
    }
    fd = mkostemp(name, O_CLOEXEC);
    int error = errno;
    if (fd >= 0 && unlink(name) != 0) {
        error = errno;
        close(fd);
        fd = -1;
    }
    free(name);
    errno = error;
    return fd;
}

int achar__spill_create(const char *path, size_t nbytes, int *out)
{
    struct rlimit limit;
    int fd = -1;
    /* Past RLIMIT_FSIZE ftruncate would send SIGXFSZ. */
    if (nbytes > INT64_MAX || (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
                               limit.rlim_cur != RLIM_INFINITY && nbytes > limit.rlim_cur)) {
        errno = EFBIG;
        return ACHAR_E_IO;
    }
    int first = open_nameless(path);
    if (first < 0) {
        return ACHAR_E_IO;
    }
    fd = fcntl(first, F_DUPFD_CLOEXEC, LOWEST_FD);
    int error = errno;
    close(first);
    if (fd >= 0 && ftruncate(fd, (off_t)nbytes) != 0) {
        error = errno;
        close(fd);
        fd = -1;
    }
    errno = error;
    *out = fd;
    return fd >= 0 ? ACHAR_OK : ACHAR_E_IO;
}
