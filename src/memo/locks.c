/*
 * locks.c - the lock file of a database: between processes its bytes, within one what stands here.
 *
 * These are POSIX locks and not those of an open file, since a child made by fork would keep the latter.
 * They belong to the process: they do not exclude among its stores, and to close one descriptor of the
 * file lets go of all that the process has. So all stores of a file share one of these, with one
 * descriptor, and whoever takes the writers' byte has 'writers' first.
 */
#include "memo/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS_BYTE = 0, NAP_NS = 2000000 };

static memo_locks *all; /* with the list's lock */

static memo_locks *find(const struct stat *file)
{
    memo_locks *locks = all;
    /* One of another process is there after a fork that nobody told us of. */
    while (locks && (locks->inode != file->st_ino || locks->device != file->st_dev ||
                     locks->pid != getpid()))
        locks = locks->next;
    return locks;
}

static memo_locks *new_locks(int fd, const struct stat *file)
{
    memo_locks *locks = calloc(1, sizeof *locks);
    if (!locks)
        return NULL;
    *locks = (memo_locks){
        .next = all, .device = file->st_dev, .inode = file->st_ino, .fd = fd, .pid = getpid()};
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&locks->writers, &recursive);
    pthread_mutexattr_destroy(&recursive);
    return all = locks;
}

memo_status memo_locks_open(const char *path, memo_locks **out)
{
    struct stat file;
    char *lock_path = sqlite3_mprintf("%s-lock", path);
    memo_locks *locks = NULL;
    if (!lock_path)
        return MEMO_NOMEM;
    if (stat(lock_path, &file) == 0)
        locks = find(&file);
    if (!locks) {
        int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0 || fstat(fd, &file) < 0)
            memo_set_message(NULL);
        else if (!(locks = find(&file))) /* else another has just got that name: 'fd' stays open */
            locks = new_locks(fd, &file);
        if (!locks && fd >= 0)
            close(fd);
        if (!locks) {
            sqlite3_free(lock_path);
            return fd < 0 ? MEMO_ERROR : MEMO_NOMEM;
        }
    }
    sqlite3_free(lock_path);
    locks->users++;
    *out = locks;
    return MEMO_OK;
}

void memo_locks_close(memo_locks *locks)
{
    if (!locks || --locks->users > 0)
        return;
    memo_locks **at = &all;
    while (*at && *at != locks)
        at = &(*at)->next;
    if (*at)
        *at = locks->next;
    close(locks->fd);
    pthread_mutex_destroy(&locks->writers);
    free(locks);
}

void memo_locks_abandon(memo_locks *locks)
{
    /* The parent's threads, which are not here, may have its mutexes: they are not destroyed. */
    if (!locks || --locks->users > 0)
        return;
    close(locks->fd);
    memo_locks *known = all;
    while (known && known != locks)
        known = known->next;
    if (!known)
        free(locks);
}

void memo_locks_forget_all(void)
{
    all = NULL;
}

int memo_lock_byte(memo_locks *locks, int command, short type, off_t at)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(locks->fd, command, &lock);
}

int memo_byte_is_taken(memo_locks *locks, off_t at)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(locks->fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void memo_lock_writers(memo_locks *locks)
{
    pthread_mutex_lock(&locks->writers);
    if (locks->writers_depth++ > 0)
        return;
    /* EDEADLK: the kernel takes another thread of the process that has the byte for the one that has it,
     * and a call that it waits for for our commit. Who has the byte waits for no call, so it will let go.
     * Where locks are not to be had SQLite's own keep writers apart. */
    while (memo_lock_byte(locks, F_SETLKW, F_WRLCK, WRITERS_BYTE) < 0) {
        if (errno == EDEADLK)
            nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        else if (errno != EINTR)
            break;
    }
}

void memo_unlock_writers(memo_locks *locks)
{
    if (--locks->writers_depth == 0)
        memo_lock_byte(locks, F_SETLK, F_UNLCK, WRITERS_BYTE);
    pthread_mutex_unlock(&locks->writers);
}
