/*
 * forked.c - a page for each fork, which its child has mapped for as long as it lives.
 *
 * Before a fork a nameless file of one page is mapped, writable and shared; after it the parent keeps the
 * descriptor only. The kernel refuses to seal such a file against writing while anybody has it mapped so.
 * That is the question: it needs no descriptor in the child, which may close them all; a child's child has
 * the mapping, too; and exec ends it.
 *
 * Pages of forks that are gone are let go when somebody asks, and before a fork whenever there are twice as
 * many as the last time left: so there are never many more than there are children.
 */
#include "runtime/shm/forked.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWEEP_MIN_COUNT 16

typedef struct fork_page {
    uint64_t number;
    int fd; /* -1: there was none left; nobody will ever know */
    dev_t device;
    ino_t inode; /* a task may have closed the descriptor, and got the number for another file */
    void *page;  /* before the fork, and in the child */
    struct fork_page *next;
} fork_page;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static size_t watcher_count;
static uint64_t fork_count;
static fork_page *pages; /* of forks that are not known to be gone, the newest first */
static size_t page_count;
static size_t sweep_count =
    SWEEP_MIN_COUNT;    /* with so many pages, those that are gone are dropped */
static bool is_new;     /* the newest is of the fork that is being made */
static bool knows_none; /* no memory for a page: from here on everybody may live for ever */

static size_t page_nbytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static bool is_ours(const fork_page *it)
{
    struct stat about;
    return it->fd >= 0 && fstat(it->fd, &about) == 0 && about.st_dev == it->device &&
           about.st_ino == it->inode;
}

static bool is_gone(const fork_page *it)
{
    return is_ours(it) && fcntl(it->fd, F_ADD_SEALS, F_SEAL_WRITE) == 0;
}

/* '*link' becomes the next one. */
static void drop_page(fork_page **link)
{
    fork_page *it = *link;
    *link = it->next;
    close(it->fd);
    free(it);
    page_count--;
}

static void drop_gone_pages(void)
{
    for (fork_page **link = &pages; *link;) {
        if (is_gone(*link)) {
            drop_page(link);
        } else {
            link = &(*link)->next;
        }
    }
    sweep_count = 2 * page_count > SWEEP_MIN_COUNT ? 2 * page_count : SWEEP_MIN_COUNT;
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
    is_new = false;
    if (!watcher_count) {
        return;
    }
    if (page_count >= sweep_count) {
        drop_gone_pages();
    }
    fork_count++;
    fork_page *it = calloc(1, sizeof *it);
    if (!it) {
        knows_none = true;
        return;
    }
    struct stat about;
    it->number = fork_count;
    it->page = MAP_FAILED;
    it->fd = memfd_create("achar-fork", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (it->fd >= 0 &&
        (ftruncate(it->fd, (off_t)page_nbytes()) != 0 || fstat(it->fd, &about) != 0 ||
         (it->page = mmap(NULL, page_nbytes(), PROT_READ | PROT_WRITE, MAP_SHARED, it->fd, 0)) ==
             MAP_FAILED)) {
        close(it->fd);
        it->fd = -1;
    }
    if (it->fd >= 0) {
        it->device = about.st_dev;
        it->inode = about.st_ino;
    }
    it->next = pages;
    pages = it;
    page_count++;
    is_new = true;
}

static void after_fork_in_parent(void)
{
    if (is_new && pages->page != MAP_FAILED) {
        munmap(pages->page, page_nbytes());
    }
    pthread_mutex_unlock(&lock);
}

/* The parent's forks are not the child's, which holds nothing. Its page stays mapped. */
static void after_fork_in_child(void)
{
    while (pages) {
        fork_page *next = pages->next;
        if (is_ours(pages)) {
            close(pages->fd);
        }
        free(pages);
        pages = next;
    }
    page_count = 0;
    sweep_count = SWEEP_MIN_COUNT;
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
    knows_none = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0;
}

void achar__forked_watch(void)
{
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&lock);
    watcher_count++;
    pthread_mutex_unlock(&lock);
}

void achar__forked_unwatch(void)
{
    pthread_mutex_lock(&lock);
    watcher_count--;
    pthread_mutex_unlock(&lock);
}

uint64_t achar__forked_count(void)
{
    pthread_mutex_lock(&lock);
    uint64_t count = fork_count;
    pthread_mutex_unlock(&lock);
    return count;
}

bool achar__forked_may_see(uint64_t after, uint64_t until)
{
    pthread_mutex_lock(&lock);
    bool may_see = knows_none && after < until;
    for (fork_page **link = &pages; *link && (*link)->number > after;) {
        if ((*link)->number <= until && is_gone(*link)) {
            drop_page(link);
            continue;
        }
        may_see = may_see || (*link)->number <= until;
        link = &(*link)->next;
    }
    pthread_mutex_unlock(&lock);
    return may_see;
}
