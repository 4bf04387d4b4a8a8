/*
 * usage.c - the worker's side of the journal: what a task has used, told with its completion.
 *
 * Asking the kernel costs more than a short task does. So it is asked when a task ends, but not twice within
 * LOOK_NS: of tasks that are shorter, one tells of the processor time of those before it, and sums are
 * right. The peak of memory is that of the process since the last task of PEAK_NS or more; only such tasks
 * tell of it. (ru_maxrss would be cheaper, but begins with what the client had: it outlives exec.)
 */
#include "runtime/pool/worker_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOK_NS INT64_C(200000)
#define PEAK_NS INT64_C(5000000)

static uint64_t nanoseconds_of(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_usec * 1000;
}

static uint64_t processor_ns(const struct rusage *usage)
{
    return nanoseconds_of(usage->ru_utime) + nanoseconds_of(usage->ru_stime);
}

/* VmHWM; 0: not to be had. */
static uint32_t peak_kib(void)
{
    char text[4096];
    unsigned long kib = 0;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t nbytes = read(fd, text, sizeof text - 1);
    close(fd);
    text[nbytes > 0 ? nbytes : 0] = '\0';
    const char *line = strstr(text, "\nVmHWM:");
    return line && sscanf(line, "\nVmHWM: %lu", &kib) == 1 ? (uint32_t)kib : 0;
}

/* Where that is not allowed, peaks are those of the worker's life so far. */
static void begin_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t written = write(fd, "5", 1);
        (void)written;
        close(fd);
    }
}

void achar__usage_begin(achar__worker *worker)
{
    struct rusage usage;
    if (atomic_load_explicit(&worker->shared->wants_usage, memory_order_relaxed) &&
        getrusage(RUSAGE_SELF, &usage) == 0) {
        worker->told_cpu_ns = processor_ns(&usage);
        worker->looked_ns = achar__now_ns();
        begin_peak();
    }
}

void achar__usage_tell(achar__worker *worker, achar__wire_completion *completion)
{
    int64_t now_ns = achar__now_ns();
    struct rusage usage;
    completion->started_ns = worker->started_ns;
    completion->duration_ns = (uint64_t)(now_ns - worker->started_ns);
    completion->raised_count = worker->raised_count;
    if (!atomic_load_explicit(&worker->shared->wants_usage, memory_order_relaxed)) {
        return;
    }
    completion->error_nbytes = worker->error_nbytes;
    if (now_ns - worker->looked_ns < LOOK_NS || getrusage(RUSAGE_SELF, &usage) != 0) {
        return;
    }
    uint64_t cpu_ns = processor_ns(&usage);
    completion->cpu_ns = cpu_ns - worker->told_cpu_ns;
    worker->told_cpu_ns = cpu_ns;
    worker->looked_ns = now_ns;
    if (completion->duration_ns >= PEAK_NS) {
        completion->peak_kib = peak_kib();
        begin_peak();
    }
}

bool achar__worker_wants_errors(const achar__worker *worker)
{
    return achar__fork_guard_holds(&worker->guard) &&
           atomic_load_explicit(&worker->shared->wants_usage, memory_order_relaxed);
}

void achar__worker_set_error(achar__worker *worker, const char *text, size_t nbytes)
{
    if (!achar__fork_guard_holds(&worker->guard) || !worker->busy) {
        return;
    }
    if (nbytes > ACHAR__ERROR_NBYTES) {
        for (nbytes = ACHAR__ERROR_NBYTES;
             nbytes && ((unsigned char)text[nbytes] & 0xC0) == 0x80;) {
            nbytes--; /* not in the middle of a character */
        }
    }
    memcpy(worker->up->errors[worker->position % ACHAR__RING_SLOTS], text, nbytes);
    worker->error_nbytes = (uint32_t)nbytes;
}
