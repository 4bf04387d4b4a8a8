/*
 * door.c - how a worker reaches the client for more than its tasks: a socket of its own, its door.
 *
 * What comes through a door is a packet of a few bytes with a descriptor, which the pool's user takes.
 * A door has one worker behind it, so whatever a task does to its end (closes it, shuts it down, fills
 * it) is that worker's harm alone. The client sees at once that a door is shut, and replaces the worker
 * when the task that it runs has ended.
 *
 * The monitor listens to all doors, and reads none: one that has something is put into a list, and not
 * listened to until the user has taken one packet there. So who floods a door waits, and costs nobody
 * anything. What a worker had sent before it died is still taken.
 */
#include "runtime/pool/pool_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOWEST_FD 16 /* so that it does not stand where a worker's start wants to put another */
#define LISTEN    (EPOLLIN | EPOLLRDHUP | EPOLLONESHOT)

struct achar__door {
    int fd;
    unsigned worker;   /* the serial of its process */
    bool is_rung;      /* in the pool's list */
    achar__slot *slot; /* NULL: its worker is gone */
    achar__door *next;
};

int achar__door_create(int *worker_fd, achar__door **out)
{
    achar__door *door = calloc(1, sizeof *door);
    int ends[2];
    if (!door) {
        return ENOMEM;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        int error = errno;
        free(door);
        return error;
    }
    *worker_fd = fcntl(ends[1], F_DUPFD_CLOEXEC, LOWEST_FD);
    int error = errno;
    close(ends[1]);
    door->fd = ends[0];
    if (*worker_fd < 0) {
        achar__door_free(door);
        return error;
    }
    *out = door;
    return 0;
}

void achar__door_free(achar__door *door)
{
    if (door) {
        close(door->fd);
        free(door);
    }
}

/* Of the slot, not of the door: an event may be read when that is already gone. */
static struct epoll_event event_of(achar__slot *slot)
{
    return (struct epoll_event){.events = LISTEN, .data.u64 = (uintptr_t)slot | ACHAR__IS_DOOR};
}

int achar__door_attach_locked(achar__pool *pool, achar__slot *slot, achar__door *door)
{
    struct epoll_event event = event_of(slot);
    if (epoll_ctl(pool->epoll_fd, EPOLL_CTL_ADD, door->fd, &event) != 0) {
        return ACHAR_E_IO;
    }
    door->slot = slot;
    door->worker = slot->serial;
    return ACHAR_OK;
}

static bool has_packet(const achar__door *door)
{
    char byte;
    struct pollfd it = {.fd = door->fd, .events = POLLIN | POLLRDHUP};
    return recv(door->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0 ||
           (poll(&it, 1, 0) == 1 && it.revents == POLLIN); /* an empty one */
}

static void ring_locked(achar__pool *pool, achar__door *door)
{
    achar__door **end = &pool->rung_doors;
    while (*end) {
        end = &(*end)->next;
    }
    door->is_rung = true;
    door->next = NULL;
    *end = door;
    eventfd_write(pool->door_fd, 1);
}

void achar__door_heard(achar__pool *pool, achar__slot *slot)
{
    pthread_mutex_lock(&pool->lock);
    achar__door *door = slot->door;
    if (door && !door->is_rung) { /* else the event was another's, who is dead */
        struct epoll_event event = event_of(slot);
        struct pollfd it = {.fd = door->fd, .events = POLLRDHUP};
        if (has_packet(door)) {
            ring_locked(pool, door);
        } else if (poll(&it, 1, 0) == 1) {
            achar__slot_retire_locked(pool, slot);
        } else {
            epoll_ctl(pool->epoll_fd, EPOLL_CTL_MOD, door->fd, &event);
        }
    }
    pthread_mutex_unlock(&pool->lock);
}

void achar__door_settle_locked(achar__pool *pool, achar__slot *slot)
{
    achar__door *door = slot->door;
    slot->door = NULL;
    if (!door) {
        return;
    }
    epoll_ctl(pool->epoll_fd, EPOLL_CTL_DEL, door->fd, NULL);
    door->slot = NULL;
    if (!door->is_rung && has_packet(door)) {
        ring_locked(pool, door);
    } else if (!door->is_rung) {
        achar__door_free(door);
    }
}

/* One packet. False: there was none; its descriptor may still be -1. */
static bool receive(const achar__door *door, achar__arrival *out)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {.iov_base = out->hello, .iov_len = sizeof out->hello};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_LEN(sizeof(int))}; /* of one, and no more */
    out->worker = door->worker;
    out->fd = -1;
    ssize_t nbytes = recvmsg(door->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (nbytes < 0) {
        return false;
    }
    out->nbytes = (size_t)nbytes;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&out->fd, CMSG_DATA(header), sizeof out->fd);
    }
    return true;
}

/* The first of the list has been dealt with once. */
static void listen_again_locked(achar__pool *pool, achar__door *door)
{
    pool->rung_doors = door->next;
    door->is_rung = false;
    if (door->slot) {
        struct epoll_event event = event_of(door->slot);
        epoll_ctl(pool->epoll_fd, EPOLL_CTL_MOD, door->fd, &event);
    } else if (has_packet(door)) {
        ring_locked(pool, door);
    } else {
        achar__door_free(door);
    }
    if (!pool->rung_doors && !pool->stopped) {
        eventfd_t count;
        eventfd_read(pool->door_fd, &count);
    }
}

static bool may_have_descriptor(const achar__door *door)
{
    int spare = fcntl(door->fd, F_DUPFD_CLOEXEC, 0);
    if (spare < 0) {
        return false;
    }
    close(spare);
    return true;
}

int achar__pool_take_arrival(achar__pool *pool, achar__arrival *out)
{
    if (!achar__fork_guard_holds(&pool->guard)) {
        return ACHAR_E_CLOSED;
    }
    int status = ACHAR_E_TIMEOUT;
    pthread_mutex_lock(&pool->lock);
    for (achar__door *door; status == ACHAR_E_TIMEOUT && (door = pool->rung_doors);) {
        if (!may_have_descriptor(door)) { /* with none left, the packet's would be lost */
            status = ACHAR_E_IO;
            break;
        }
        if (receive(door, out)) {
            status = ACHAR_OK;
        }
        listen_again_locked(pool, door);
    }
    pthread_mutex_unlock(&pool->lock);
    return status;
}

bool achar__pool_has_arrivals(achar__pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool has_some = pool->rung_doors != NULL;
    pthread_mutex_unlock(&pool->lock);
    return has_some;
}

void achar__doors_destroy(achar__pool *pool)
{
    while (pool->rung_doors) {
        achar__door *door = pool->rung_doors;
        pool->rung_doors = door->next;
        achar__door_free(door);
    }
}
