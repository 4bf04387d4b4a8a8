/*
 * output.c - the workers' pipes, and the thread that reads them; see output.h.
 *
 * A pipe that is not to be read for a while is taken out of the epoll set. The thread takes no lock but the
 * output's own, which is taken after the pool's, never before it.
 */
#include "runtime/pool/output_internal.h"
#include "runtime/sync/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define OUTPUT_KEPT_NBYTES ((size_t)1 << 20) /* of one worker, unread */
#define OUTPUT_PATIENCE_NS INT64_C(2000000000)
#define MOMENT_NS          INT64_C(500000000)
#define LAST_NBYTES_MAX    ((size_t)1 << 20) /* read of a dead worker whose pipe others still fill */
#define EVENT_COUNT        16

/* ---- pipes ---- */

static uint64_t event_of(const achar__output *output, const achar__output_source *from, int which)
{
    return (uint64_t)achar__output_index_of(output, from) * 2 + (uint64_t)which;
}

static void listen_to(achar__output *output, achar__output_source *from, int which, bool listens)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = event_of(output, from, which)};
    achar__output_stream *it = &from->streams[which];
    if (it->fd >= 0 && it->paused == listens &&
        epoll_ctl(output->epoll_fd, listens ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, it->fd, &event) == 0) {
        it->paused = !listens;
    }
}

/* Reads once. False: there is nothing (more). */
static bool read_some(achar__output *output, achar__output_source *from, int which)
{
    achar__output_stream *it = &from->streams[which];
    size_t held = it->held_nbytes;
    memcpy(output->chunk, it->held, held);
    it->held_nbytes = 0;
    ssize_t count = read(it->fd, output->chunk + held, ACHAR__OUTPUT_READ_NBYTES);
    if (count <= 0) {
        int error = errno;
        it->held_nbytes = held;
        if (count == 0 || (error != EAGAIN && error != EINTR)) { /* nobody has the other end */
            listen_to(output, from, which, false);
            close(it->fd);
            it->fd = -1;
        }
        return count < 0 && error == EINTR;
    }
    achar__output_take_bytes(output, from, which, output->chunk, held + (size_t)count, false);
    return true;
}

/* The pipes are looked at again after a moment: some are not read for now, or the kernel had no room for them
 * in the epoll set. */
static bool needs_look(const achar__output_source *from)
{
    return from->paused_ns || (from->streams[0].fd >= 0 && from->streams[0].paused) ||
           (from->streams[1].fd >= 0 && from->streams[1].paused);
}

static void pause_or_resume(achar__output *output, achar__output_source *from, int64_t now_ns)
{
    if (from->queued_nbytes <= OUTPUT_KEPT_NBYTES) {
        from->paused_ns = 0;
    } else if (!from->neglected && from->paused_ns == 0) {
        from->paused_ns = now_ns;
    } else if (from->paused_ns && now_ns - from->paused_ns >= output->patience_ns) {
        from->paused_ns = 0;
        from->neglected = true;
    }
    for (int which = ACHAR__STDOUT; which <= ACHAR__STDERR; which++) {
        listen_to(output, from, which, from->paused_ns == 0);
    }
}

static void *output_main(void *argument)
{
    achar__output *output = argument;
    struct epoll_event events[EVENT_COUNT];
    int timeout_ms = -1;
    pthread_mutex_lock(&output->lock);
    while (!output->stopping) {
        pthread_mutex_unlock(&output->lock);
        int count = epoll_wait(output->epoll_fd, events, EVENT_COUNT, timeout_ms);
        pthread_mutex_lock(&output->lock);
        for (int i = 0; i < count; i++) {
            uint64_t which = events[i].data.u64;
            achar__output_source *from = &output->sources[which / 2];
            if (which == UINT64_MAX) {
                eventfd_t unused;
                eventfd_read(output->wake_fd, &unused);
            } else if (from->streams[which % 2].fd >= 0 && !from->streams[which % 2].paused) {
                read_some(output, from, (int)(which % 2));
            }
        }
        timeout_ms = -1;
        int64_t now_ns = achar__now_ns();
        for (unsigned i = 0; i < output->source_count; i++) {
            pause_or_resume(output, &output->sources[i], now_ns);
            timeout_ms = needs_look(&output->sources[i]) ? 100 : timeout_ms;
        }
    }
    output->ended = true;
    achar__output_tell(output);
    pthread_mutex_unlock(&output->lock);
    return NULL;
}

/* ---- the pool's calls ---- */

int achar__output_create(unsigned worker_count, bool delivers, achar__output **out)
{
    achar__output *it = calloc(1, sizeof *it + worker_count * sizeof *it->sources);
    if (!it) {
        return ACHAR_E_NOMEM;
    }
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    pthread_mutex_init(&it->lock, NULL);
    it->delivers = delivers;
    it->patience_ns = OUTPUT_PATIENCE_NS;
    it->moment_ns = MOMENT_NS;
    it->source_count = worker_count;
    it->last = &it->head;
    for (unsigned i = 0; i < worker_count; i++) {
        it->sources[i].streams[ACHAR__STDOUT].fd = it->sources[i].streams[ACHAR__STDERR].fd = -1;
    }
    it->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    it->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (it->epoll_fd < 0 || it->wake_fd < 0 ||
        epoll_ctl(it->epoll_fd, EPOLL_CTL_ADD, it->wake_fd, &wake) != 0 ||
        (errno = pthread_create(&it->thread, NULL, output_main, it)) != 0) {
        int error = errno;
        it->thread = 0;
        it->ended = true;
        achar__output_destroy(it);
        errno = error;
        return ACHAR_E_IO;
    }
    *out = it;
    return ACHAR_OK;
}

void achar__output_stop(achar__output *output)
{
    pthread_mutex_lock(&output->lock);
    output->stopping = true;
    pthread_mutex_unlock(&output->lock);
    eventfd_write(output->wake_fd, 1);
}

void achar__output_destroy(achar__output *output)
{
    if (!output) {
        return;
    }
    if (output->thread) {
        achar__output_stop(output);
        pthread_join(output->thread, NULL);
    }
    for (unsigned i = 0; i < output->source_count; i++) {
        free(achar__output_finish(output, i));
    }
    achar__output_pieces_free(output->head);
    if (output->epoll_fd >= 0) {
        close(output->epoll_fd);
    }
    if (output->wake_fd >= 0) {
        close(output->wake_fd);
    }
    pthread_mutex_destroy(&output->lock);
    free(output);
}

int achar__output_pipes(int reads[2], int writes[2])
{
    for (int i = 0; i < 2; i++) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) {
            return errno;
        }
        /* Numbered 16 or higher, so that it does not stand where a spawn wants to put another. */
        reads[i] = ends[0];
        writes[i] = fcntl(ends[1], F_DUPFD_CLOEXEC, 16);
        int error = errno;
        close(ends[1]);
        if (writes[i] < 0) {
            return error;
        }
        fcntl(reads[i], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

void achar__output_attach(achar__output *output, unsigned worker, int pid, const int reads[2],
                          const achar__wire_up *up, const achar__wire_down *down)
{
    achar__output_source *from = &output->sources[worker];
    pthread_mutex_lock(&output->lock);
    from->pid = pid;
    from->up = up;
    from->down = down;
    from->tail_end = 0;
    from->tail_number = 0;
    from->framed_nbytes = 0;
    from->handed_nbytes = 0;
    from->taken_nbytes = 0;
    for (int which = ACHAR__STDOUT; which <= ACHAR__STDERR; which++) {
        from->streams[which].fd = reads[which];
        from->streams[which].paused = true;
        from->streams[which].named_number = 0;
        from->streams[which].name_nbytes = 0;
        listen_to(output, from, which, true);
    }
    bool again = needs_look(from);
    pthread_mutex_unlock(&output->lock);
    if (again) {
        eventfd_write(output->wake_fd, 1);
    }
}

/* The ring as text, from the start of a line if there is one. */
static char *copy_tail(const achar__output_source *from)
{
    size_t nbytes =
        from->tail_end < ACHAR__OUTPUT_TAIL_NBYTES ? from->tail_end : ACHAR__OUTPUT_TAIL_NBYTES;
    char *copy = nbytes ? malloc(nbytes + 1) : NULL;
    if (!copy) {
        return NULL;
    }
    for (size_t i = 0; i < nbytes; i++) {
        char byte = from->tail[(from->tail_end - nbytes + i) % ACHAR__OUTPUT_TAIL_NBYTES];
        copy[i] = byte ? byte : '?';
    }
    copy[nbytes] = '\0';
    char *newline = from->tail_end > ACHAR__OUTPUT_TAIL_NBYTES ? strchr(copy, '\n') : NULL;
    if (newline && newline[1]) {
        memmove(copy, newline + 1, strlen(newline + 1) + 1);
    }
    return copy;
}

char *achar__output_finish(achar__output *output, unsigned worker)
{
    achar__output_source *from = &output->sources[worker];
    pthread_mutex_lock(&output->lock);
    for (int which = ACHAR__STDOUT; which <= ACHAR__STDERR; which++) {
        achar__output_stream *it = &from->streams[which];
        for (size_t rounds = 0; it->fd >= 0 && rounds < LAST_NBYTES_MAX / ACHAR__OUTPUT_READ_NBYTES;
             rounds++) {
            if (!read_some(output, from, which)) {
                break;
            }
        }
        if (it->held_nbytes) {
            size_t held = it->held_nbytes;
            it->held_nbytes = 0;
            memcpy(output->chunk, it->held, held);
            achar__output_take_bytes(output, from, which, output->chunk, held, true);
        }
        if (from->up) {
            achar__output_end_line(output, from, which);
        }
        listen_to(output, from, which, false);
        if (it->fd >= 0) {
            close(it->fd);
            it->fd = -1;
        }
        achar__output_clear(&it->line);
        achar__output_drop_records(from, which);
    }
    char *tail = copy_tail(from);
    from->tail_end = 0;
    from->up = NULL;
    pthread_mutex_unlock(&output->lock);
    return tail;
}

/* Who takes output has come back: it has dealt with what it was handed. */
static void count_taken(achar__output *output, bool is_more)
{
    for (unsigned i = 0; i < output->source_count; i++) {
        achar__output_source *from = &output->sources[i];
        uint64_t taken = is_more ? from->handed_nbytes : from->framed_nbytes;
        from->handed_nbytes = from->framed_nbytes;
        if (taken > from->taken_nbytes) {
            from->taken_nbytes = taken;
            achar__futex_ring(&output->taken_word, false);
        }
    }
}

int achar__output_take(achar__output *output, int64_t timeout_ns, achar__output_piece **out)
{
    int64_t deadline_ns = achar__deadline_in(timeout_ns);
    *out = NULL;
    for (;;) {
        uint32_t seen = atomic_load(&output->word);
        pthread_mutex_lock(&output->lock);
        for (unsigned i = 0; i < output->source_count; i++) {
            output->sources[i].queued_nbytes = 0;
            output->sources[i].neglected = false;
            achar__output_add_dropped(output, &output->sources[i]);
        }
        *out = output->head;
        output->head = NULL;
        output->last = &output->head;
        count_taken(output, *out != NULL);
        output->is_stuck = false;
        bool ended = output->ended;
        pthread_mutex_unlock(&output->lock);
        if (*out) {
            eventfd_write(output->wake_fd, 1); /* who has been waiting for room goes on */
            return ACHAR_OK;
        }
        if (ended) {
            return ACHAR_E_CLOSED;
        }
        int status = achar__futex_wait(&output->word, seen, false, deadline_ns);
        if (status != ACHAR_OK) {
            return status;
        }
    }
}

bool achar__output_was_taken(const achar__output *output, unsigned worker, uint64_t framed_nbytes)
{
    return atomic_load_explicit(&output->sources[worker].taken_nbytes, memory_order_acquire) >=
           framed_nbytes;
}

void achar__output_await(achar__output *output, unsigned worker, const achar__wire_up *up,
                         uint64_t framed_nbytes, int64_t timeout_ns)
{
    achar__output_source *from = &output->sources[worker];
    uint64_t last = 0;
    int64_t now_ns = achar__now_ns(), moment_ends_ns = now_ns;
    int64_t deadline_ns =
        timeout_ns < 0 || timeout_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + timeout_ns;
    pthread_mutex_lock(&output->lock);
    moment_ends_ns += output->moment_ns;
    while (from->up == up && from->taken_nbytes < framed_nbytes && !output->is_stuck &&
           now_ns < deadline_ns && now_ns < moment_ends_ns) {
        uint32_t seen = atomic_load(&output->taken_word);
        if (from->taken_nbytes != last) { /* it goes on */
            last = from->taken_nbytes;
            moment_ends_ns = now_ns + output->moment_ns;
        }
        pthread_mutex_unlock(&output->lock);
        achar__futex_wait(&output->taken_word, seen, false,
                          deadline_ns < moment_ends_ns ? deadline_ns : moment_ends_ns);
        now_ns = achar__now_ns();
        pthread_mutex_lock(&output->lock);
    }
    if (from->up == up && from->taken_nbytes < framed_nbytes && now_ns >= moment_ends_ns) {
        /* Who takes it is slow, or the worker has counted wrongly: nobody waits for this again. */
        output->is_stuck = true;
        uint64_t missing = framed_nbytes - from->taken_nbytes;
        from->framed_nbytes += missing;
        from->handed_nbytes += missing;
        from->taken_nbytes = framed_nbytes;
    }
    pthread_mutex_unlock(&output->lock);
}

void achar__output_be_patient(achar__output *output, int64_t patience_ns)
{
    pthread_mutex_lock(&output->lock);
    output->patience_ns = output->moment_ns = patience_ns;
    pthread_mutex_unlock(&output->lock);
}

void achar__output_pieces_free(achar__output_piece *pieces)
{
    while (pieces) {
        achar__output_piece *next = pieces->next;
        free(pieces);
        pieces = next;
    }
}
