/*
 * sync_floor.c - the least that a round trip between two threads can cost: each wakes the other with
 * one futex call and sleeps with another. Prints the seconds of one round trip.
 *
 *     sync_floor [threads|processes]
 *
 * And the least that it can cost to let 32 threads go, one after the other: each wakes the next and
 * sleeps again. Prints the seconds from the first to the last.
 *
 *     sync_floor chain
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

enum { ROUNDS = 20000, LINKS = 32, CHAIN_ROUNDS = 500 };

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

/* ---- the chain ---- */

typedef struct chain_bell {
    _Alignas(64) _Atomic uint32_t number;
} chain_bell;

static chain_bell chain[LINKS + 1]; /* the last is main's */
static double last_woken;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void chain_wait(int i, uint32_t round)
{
    while (atomic_load(&chain[i].number) == round) {
        syscall(SYS_futex, &chain[i].number, FUTEX_WAIT, round, NULL, NULL, 0);
    }
}

static void chain_wake(int i)
{
    atomic_fetch_add(&chain[i].number, 1);
    syscall(SYS_futex, &chain[i].number, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void *chain_link(void *argument)
{
    int i = (int)(intptr_t)argument;
    for (uint32_t round = 0; round < CHAIN_ROUNDS; round++) {
        chain_wait(i, round);
        if (i == LINKS - 1) {
            last_woken = now();
        }
        chain_wake(i + 1);
    }
    return NULL;
}

static double time_chain(void)
{
    pthread_t threads[LINKS];
    double total = 0;
    for (int i = 0; i < LINKS; i++) {
        pthread_create(&threads[i], NULL, chain_link, (void *)(intptr_t)i);
    }
    for (uint32_t round = 0; round < CHAIN_ROUNDS; round++) {
        usleep(200); /* all of them sleep */
        double began = now();
        chain_wake(0);
        chain_wait(LINKS, round);
        total += last_woken - began;
    }
    for (int i = 0; i < LINKS; i++) {
        pthread_join(threads[i], NULL);
    }
    return total / CHAIN_ROUNDS;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "chain") == 0) {
        printf("%.10f\n", time_chain());
        return 0;
    }
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
