/*
 * conditions.c - consumers wait, a producer notifies one, some, all; then a barrier built from a
 * condition. The twin of conditions.py.
 *
 *     conditions              with threads
 *     conditions --processes  the same with processes: only what is started differs
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np() */
#endif
#include <achar/achar.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONSUMER_COUNT = 5, PARTY_COUNT = CONSUMER_COUNT + 1 };

#define FOR_EVER INT64_C(-1)

/* Shared by all; the numbers stand in memory that processes share, too. */
typedef struct stage {
    achar_space *space;
    achar_lock lock, gate_lock;
    achar_condition condition, gate;
    achar_semaphore waiting;
    struct {
        int arrived, round;
    } * barrier;
} stage;

typedef struct role {
    stage *stage;
    int number; /* CONSUMER_COUNT: the producer */
} role;

static void check(int status, const char *what)
{
    if (status != ACHAR_OK) {
        fprintf(stderr, "%s: %s\n", what, achar_status_message(status));
        exit(1);
    }
}

/* A line of the log: this thread's name, and what it does. */
static void say(const char *what)
{
    char name[16] = "?";
    pthread_getname_np(pthread_self(), name, sizeof name);
    printf("%-10s %s\n", name, what);
    fflush(stdout);
}

/* Nobody goes on before all parties have come: a condition and two numbers. */
static void pass_barrier(stage *s)
{
    check(achar_lock_acquire(s->gate_lock, FOR_EVER), "acquire");
    int round = s->barrier->round;
    if (++s->barrier->arrived == PARTY_COUNT) {
        s->barrier->arrived = 0;
        s->barrier->round++;
        check(achar_condition_notify(s->gate, UINT32_MAX), "notify");
    }
    while (s->barrier->round == round) {
        check(achar_condition_wait(s->gate, FOR_EVER), "wait");
    }
    check(achar_lock_release(s->gate_lock), "release");
}

static void consume(stage *s)
{
    check(achar_lock_acquire(s->lock, FOR_EVER), "acquire");
    say("waits");
    check(achar_semaphore_release(s->waiting, 1), "release");
    check(achar_condition_wait(s->condition, FOR_EVER), "wait");
    say("goes on");
    check(achar_lock_release(s->lock), "release");
    pass_barrier(s);
    say("is through the barrier");
}

static void produce(stage *s)
{
    static const struct {
        uint32_t count;
        const char *text;
    } steps[] = {{1, "notifies one"}, {2, "notifies two more"}, {UINT32_MAX, "notifies all"}};
    for (int i = 0; i < CONSUMER_COUNT; i++) {
        check(achar_semaphore_acquire(s->waiting, FOR_EVER), "acquire");
    }
    for (int i = 0; i < 3; i++) {
        check(achar_lock_acquire(s->lock, FOR_EVER), "acquire");
        say(steps[i].text);
        check(achar_condition_notify(s->condition, steps[i].count), "notify");
        if (i == 2) {
            say("releases the lock");
        }
        check(achar_lock_release(s->lock), "release");
    }
    pass_barrier(s);
}

static void *play(void *argument)
{
    role *me = argument;
    char name[16] = "producer";
    if (me->number < CONSUMER_COUNT) {
        snprintf(name, sizeof name, "consumer-%u", (unsigned)me->number % 100);
    }
    pthread_setname_np(pthread_self(), name);
    if (me->number < CONSUMER_COUNT) {
        consume(me->stage);
    } else {
        produce(me->stage);
    }
    return NULL;
}

static int play_with_threads(role *roles)
{
    pthread_t threads[PARTY_COUNT];
    for (int i = 0; i < PARTY_COUNT; i++) {
        if (pthread_create(&threads[i], NULL, play, &roles[i]) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < PARTY_COUNT; i++) {
        pthread_join(threads[i], NULL);
    }
    return 0;
}

static int play_with_processes(role *roles)
{
    int failed = 0, status;
    for (int i = 0; i < PARTY_COUNT; i++) {
        pid_t child = fork();
        if (child < 0) {
            return 1;
        }
        if (child == 0) {
            play(&roles[i]);
            _exit(0);
        }
    }
    for (int i = 0; i < PARTY_COUNT; i++) {
        failed |= wait(&status) < 0 || status != 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    int processes = argc > 1 && strcmp(argv[1], "--processes") == 0;
    stage s;
    role roles[PARTY_COUNT];
    check(achar_space_create(processes, &s.space), "space");
    check(achar_lock_create(s.space, 1, &s.lock), "lock");
    check(achar_lock_create(s.space, 0, &s.gate_lock), "lock");
    check(achar_condition_create(s.lock, &s.condition), "condition");
    check(achar_condition_create(s.gate_lock, &s.gate), "condition");
    check(achar_semaphore_create(s.space, 0, 0, &s.waiting), "semaphore");
    s.barrier =
        mmap(NULL, sizeof *s.barrier, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s.barrier == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    for (int i = 0; i < PARTY_COUNT; i++) {
        roles[i] = (role){.stage = &s, .number = i};
    }
    int failed = processes ? play_with_processes(roles) : play_with_threads(roles);
    munmap(s.barrier, sizeof *s.barrier);
    achar_space_close(s.space);
    return failed;
}
