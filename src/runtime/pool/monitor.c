/*
 * monitor.c - the thread that notices deaths: it sleeps on the pidfds of all workers, and on their doors.
 *
 * A dead worker is still a zombie when its group is killed, so neither its process id nor its group
 * can belong to anyone else; then it is collected, and its slot settled.
 */
#include "runtime/pool/pool_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#define EVENT_COUNT 16

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int achar__monitor_add(achar__pool *pool, achar__slot *slot)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = slot};
    return epoll_ctl(pool->epoll_fd, EPOLL_CTL_ADD, slot->pidfd, &event) == 0 ? ACHAR_OK
                                                                              : ACHAR_E_IO;
}

/* False: it is not dead after all. */
static bool collect(int pid, int pidfd, achar__death *death)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    *death = (achar__death){.pid = pid, .exit_code = -1};
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
        /* Someone else has collected it (or SIGCHLD is ignored): all we know is that it is gone. */
        return errno == ECHILD;
    }
    if (info.si_pid == 0) {
        return false;
    }
    kill(-pid, SIGKILL);
    waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
    if (info.si_code == CLD_EXITED) {
        death->exit_code = info.si_status;
    } else {
        death->signal = info.si_status;
    }
    return true;
}

static void look_at(achar__pool *pool, achar__slot *slot)
{
    achar__death death;
    pthread_mutex_lock(&pool->lock);
    int pid = slot->pid, pidfd = slot->pidfd;
    pthread_mutex_unlock(&pool->lock);
    if (!collect(pid, pidfd, &death)) {
        return;
    }
    char *last_words =
        pool->output ? achar__output_finish(pool->output, (unsigned)(slot - pool->slots)) : NULL;
    pthread_mutex_lock(&pool->lock);
    slot->last_words = last_words;
    achar__slot_died_locked(pool, slot, death);
    pthread_mutex_unlock(&pool->lock);
    achar__mappings_sweep(pool);
}

void *achar__monitor_main(void *argument)
{
    achar__pool *pool = argument;
    struct epoll_event events[EVENT_COUNT];
    while (!atomic_load(&pool->stopped)) {
        int count = epoll_wait(pool->epoll_fd, events, EVENT_COUNT, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 & ACHAR__IS_DOOR) {
                achar__door_heard(pool, (achar__slot *)(events[i].data.u64 & ~ACHAR__IS_DOOR));
            } else if (events[i].data.ptr) { /* else the eventfd: stopped */
                look_at(pool, events[i].data.ptr);
            }
        }
    }
    achar__pool_unref(pool);
    return NULL;
}
