/*
 * bench_pool.c - no-op tasks a second and round trips, with two C workers.
 * usage: bench_pool ECHO_WORKER [TASKS] [WORKERS]
 */
#include "runtime/pool/pool.h"
#include "runtime/sync/futex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static achar__task *submit(achar__pool *pool, achar__function *function, const char *text)
{
    achar__block args;
    achar__task *task = NULL;
    if (achar__pool_block_reserve(pool, strlen(text), &args) != ACHAR_OK) {
        abort();
    }
    memcpy(args.data, text, strlen(text));
    if (achar__pool_submit(pool, function, &args, strlen(text), NULL, &task) != ACHAR_OK) {
        abort();
    }
    return task;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec * 1e-6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec * 1e-6;
}

int main(int argc, char **argv)
{
    const char *worker_argv[] = {argc > 1 ? argv[1] : "echo_worker", NULL};
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 200000;
    achar__pool_options options = {.worker_argv = worker_argv,
                                   .worker_count = argc > 3 ? (unsigned)atoi(argv[3]) : 2};
    achar__pool *pool;
    achar__function *function;
    int64_t started_ns = achar__now_ns();
    if (achar__pool_create(&options, &pool) != ACHAR_OK ||
        achar__pool_function(pool, "f", 1, 0, &function) != ACHAR_OK) {
        return 1;
    }
    achar__task *first = submit(pool, function, "none");
    achar__task_wait(first, -1);
    achar__task_release(first);
    printf("first result           %8.2f ms\n", (double)(achar__now_ns() - started_ns) / 1e6);

    achar__task **tasks = malloc(count * sizeof *tasks);
    for (int round = 0; round < 3; round++) {
        double cpu = cpu_seconds();
        started_ns = achar__now_ns();
        for (size_t i = 0; i < count; i++) {
            tasks[i] = submit(pool, function, "none");
        }
        int64_t submitted_ns = achar__now_ns();
        for (size_t i = 0; i < count; i++) {
            achar__task_wait(tasks[i], -1);
        }
        int64_t ended_ns = achar__now_ns();
        for (size_t i = 0; i < count; i++) {
            achar__task_release(tasks[i]);
        }
        printf("%zu no-op tasks  %10.0f tasks/s (submit %.0f/s, client CPU %.2f us each)\n", count,
               (double)count * 1e9 / (double)(ended_ns - started_ns),
               (double)count * 1e9 / (double)(submitted_ns - started_ns),
               (cpu_seconds() - cpu) * 1e6 / (double)count);
    }

    enum { TRIPS = 20000 };
    static int64_t trips_ns[TRIPS];
    for (int i = 0; i < TRIPS; i++) {
        started_ns = achar__now_ns();
        achar__task *task = submit(pool, function, "none");
        achar__task_wait(task, -1);
        achar__task_release(task);
        trips_ns[i] = achar__now_ns() - started_ns;
    }
    qsort(trips_ns, TRIPS, sizeof *trips_ns, by_value);
    printf("round trip             p50 %.1f us, p99 %.1f us\n", (double)trips_ns[TRIPS / 2] / 1e3,
           (double)trips_ns[TRIPS * 99 / 100] / 1e3);

    free(tasks);
    achar__function_release(function);
    achar__pool_close(pool);
    achar__pool_join(pool, -1);
    achar__pool_release(pool);
    return 0;
}
