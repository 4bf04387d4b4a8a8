/*
 * sync_floor.c - the least that a round trip between two threads can cost: each wakes the other with
 * one futex call and sleeps with another. Prints the seconds of one round trip.
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 20000 };

static _Atomic uint32_t bells[2];

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

int main(void)
{
    pthread_t thread;
    struct timespec before, after;
    pthread_create(&thread, NULL, second, NULL);
    atomic_store(&bells[0], 1);
    clock_gettime(CLOCK_MONOTONIC, &before);
    play(0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    pthread_join(thread, NULL);
    double seconds =
        (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    printf("%.10f\n", seconds / ROUNDS);
    return 0;
}
