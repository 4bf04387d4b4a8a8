/*
 * sync_floor.c - the least that a round trip between two threads can cost: each wakes the other with
 * one futex call and sleeps with another. Prints the seconds of one round trip.
 *
 *     sync_floor [threads|processes]
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 20000 };

static _Atomic uint32_t *bells; /* two, shared */

static void play(int mine)
{
    for (uint32_t round = 0; round < ROUNDS; round++) {
        while (atomic_load(&bells[mine]) == round) {
            syscall(SYS_futex, &bells[mine], FUTEX_WAIT, round, NULL, NULL, 0);
        }
        atomic_store(&bells[1 - mine], round + 1);
        syscall(SYS_futex, &bells[1 - mine], FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

/* The second's turn comes a round behind. */
static void *second(void *unused)
{
    for (uint32_t round = 0; round < ROUNDS; round++) {
        while (atomic_load(&bells[1]) == round) {
            syscall(SYS_futex, &bells[1], FUTEX_WAIT, round, NULL, NULL, 0);
        }
        atomic_store(&bells[0], round + 2);
        syscall(SYS_futex, &bells[0], FUTEX_WAKE, 1, NULL, NULL, 0);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    bool forks = argc > 1 && strcmp(argv[1], "processes") == 0;
    pthread_t thread;
    struct timespec before, after;
    bells =
        mmap(NULL, 2 * sizeof *bells, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bells == MAP_FAILED) {
        return 1;
    }
    if (!forks) {
        pthread_create(&thread, NULL, second, NULL);
    } else if (fork() == 0) {
        second(NULL);
        return 0;
    }
    atomic_store(&bells[0], 1);
    clock_gettime(CLOCK_MONOTONIC, &before);
    play(0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    if (forks) {
        wait(NULL);
    } else {
        pthread_join(thread, NULL);
    }
    double seconds =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    printf("%.10f\n", seconds / ROUNDS);
    return 0;
}
