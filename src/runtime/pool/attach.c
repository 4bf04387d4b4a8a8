/*
 * attach.c - a process becomes a pool's worker: it maps the regions, and closes what they came by.
 *
 * A task may fork, in the middle of a call or while its result is being written, and the child may come
 * back into the worker's loop. A region has one writer; so in the child private pages stand where the
 * worker's own region was. Whatever it still writes there, nobody reads.
 */
#include "runtime/pool/worker_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define OOM_SCORE_MORE 300 /* of 1000: the kernel picks a worker before the client */
#define OOM_SCORE_MAX  1000

static void raise_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    char text[16] = {0};
    if (read(fd, text, sizeof text - 1) > 0) {
        long score = strtol(text, NULL, 10) + OOM_SCORE_MORE;
        int length =
            snprintf(text, sizeof text, "%ld", score > OOM_SCORE_MAX ? (long)OOM_SCORE_MAX : score);
        /* Advice to the kernel: where it is refused, the worker is as likely as the client. */
        ssize_t written = pwrite(fd, text, (size_t)length, 0);
        (void)written;
    }
    close(fd);
}

bool achar__worker_follow(int client_pid, int tender_tid, int death_signal)
{
    /* The process can be there without the thread that starts workers: after exec. */
    return prctl(PR_SET_PDEATHSIG, death_signal) == 0 && getppid() == client_pid &&
           (tgkill(client_pid, tender_tid, 0) == 0 || errno != ESRCH);
}

static achar__worker *attached; /* this process's: there is one at most */

static void keep_child_from_writing(void)
{
    if (!attached) {
        return;
    }
    achar__region *own = &attached->own;
    void *page = mmap(own->base, own->nbytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (page == MAP_FAILED) { /* then it ends where it tries to */
        munmap(own->base, own->nbytes);
    }
}

static int watch_error;

static void watch_forks(void)
{
    watch_error = pthread_atfork(NULL, NULL, keep_child_from_writing);
}

static bool range_is_inside(const achar__region *region, uint64_t offset, uint64_t nbytes)
{
    return offset <= region->nbytes && nbytes <= region->nbytes - offset;
}

int achar__worker_attach(achar__worker **out)
{
    int status = ACHAR_E_INVALID;
    int version, client_pid, tender_tid, client_fd, worker_fd, bell_fd, client_spill_fd,
        worker_spill_fd;
    size_t down_offset, hello_offset, hello_nbytes, warm_nbytes, memory_nbytes, spill_nbytes;
    achar__worker *worker = NULL;

    const char *text = getenv(ACHAR__WIRE_VARIABLE);
    if (!text ||
        sscanf(text, ACHAR__WIRE_FORMAT, &version, &client_pid, &tender_tid, &client_fd, &worker_fd,
               &bell_fd, &client_spill_fd, &worker_spill_fd, &down_offset, &hello_offset,
               &hello_nbytes, &warm_nbytes, &memory_nbytes, &spill_nbytes) != ACHAR__WIRE_FIELDS ||
        version != ACHAR__WIRE_VERSION) {
        return ACHAR_E_INVALID;
    }
    if (!achar__worker_follow(client_pid, tender_tid, SIGKILL)) {
        return ACHAR_E_CLOSED;
    }
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    worker = calloc(1, sizeof *worker);
    if (!worker || watch_error) {
        free(worker);
        return ACHAR_E_NOMEM;
    }
    worker->client = worker->own = worker->bells_region = ACHAR__REGION_CLOSED;
    worker->client_pid = client_pid;
    worker->tender_tid = tender_tid;
    worker->death_signal = SIGKILL;
    status = achar__fork_guard_init(&worker->guard);
    if (status != ACHAR_OK ||
        (status = achar__region_map_pair(client_fd, client_spill_fd, false, &worker->client)) ||
        (status = achar__region_map_pair(worker_fd, worker_spill_fd, true, &worker->own)) ||
        (status = achar__region_map(bell_fd, true, &worker->bells_region))) {
        goto fail;
    }
    achar__region_mirror(&worker->client, client_fd, client_spill_fd);
    status = ACHAR_E_INVALID;
    if (!range_is_inside(&worker->client, down_offset, sizeof(achar__wire_down)) ||
        !range_is_inside(&worker->client, hello_offset, hello_nbytes) ||
        worker->own.nbytes < sizeof(achar__wire_up) ||
        worker->bells_region.nbytes < sizeof(achar__wire_bells)) {
        goto fail;
    }
    worker->shared = (const achar__wire_client *)worker->client.base;
    worker->down = (achar__wire_down *)(worker->client.base + down_offset);
    worker->hello = worker->client.base + hello_offset;
    worker->hello_nbytes = hello_nbytes;
    worker->up = (achar__wire_up *)worker->own.base;
    worker->bells = (achar__wire_bells *)worker->bells_region.base;
    status = achar__store_create(&worker->own, worker_fd, worker_spill_fd, sizeof(achar__wire_up),
                                 warm_nbytes, &worker->store);
    if (status != ACHAR_OK) {
        goto fail;
    }
    achar__store_limit(worker->store, memory_nbytes, spill_nbytes);
    int fds[] = {client_fd, worker_fd, bell_fd, client_spill_fd, worker_spill_fd};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    unsetenv(ACHAR__WIRE_VARIABLE);
    raise_oom_score();
    worker->death_signal = achar__worker_start_guardian(client_pid);
    (void)achar__worker_follow(client_pid, tender_tid, worker->death_signal);
    attached = worker;
    *out = worker;
    return ACHAR_OK;
fail:
    achar__worker_detach(worker);
    return status;
}

void achar__worker_detach(achar__worker *worker)
{
    if (!worker) {
        return;
    }
    if (attached == worker) {
        attached = NULL;
    }
    achar__store_destroy(worker->store);
    achar__region_unmap(&worker->client);
    achar__region_unmap(&worker->own);
    achar__region_unmap(&worker->bells_region);
    achar__fork_guard_clear(&worker->guard);
    free(worker);
}

const void *achar__worker_hello(achar__worker *worker, size_t *nbytes)
{
    *nbytes = worker->hello_nbytes;
    return worker->hello;
}
