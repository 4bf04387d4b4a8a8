/*
 * queue.c - work for processes, through a queue. One of them is killed at it: what it had in its hands
 * is lost, and the program is told; nothing else is, and nobody hangs.
 *
 *     queue
 */
#include <achar/achar.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKER_COUNT = 3, TEXT_COUNT = 1000 };

#define FOR_EVER INT64_C(-1)

static void check(int status, const char *what)
{
    if (status != ACHAR_OK) {
        fprintf(stderr, "%s: %s\n", what, achar_status_message(status));
        exit(1);
    }
}

/* Turns texts round. The worker with number 1 never finishes its tenth. */
static void work(achar_queue texts, achar_queue results, int number)
{
    for (int count = 1;; count++) {
        achar_message text;
        check(achar_queue_get(texts, FOR_EVER, &text), "get");
        if (number == 1 && count == 10) {
            raise(SIGKILL);
        }
        char *first = text.data, *last = first + text.nbytes - 1;
        for (; first < last; first++, last--) {
            char other = *first;
            *first = *last;
            *last = other;
        }
        check(achar_queue_put_message(results, &text, FOR_EVER), "put"); /* not copied, if long */
        check(achar_queue_task_done(texts), "task_done");
    }
}

int main(void)
{
    achar_space *space;
    achar_queue texts, results;
    pid_t workers[WORKER_COUNT];
    check(achar_space_create(1, &space), "space");
    check(achar_queue_create(space, 50, &texts), "queue"); /* no more than 50 at a time */
    check(achar_queue_create(space, 0, &results), "queue");
    for (int i = 0; i < WORKER_COUNT; i++) {
        workers[i] = fork();
        if (workers[i] == 0) {
            work(texts, results, i);
        }
    }
    for (int i = 0; i < TEXT_COUNT; i++) {
        static char text[10000];
        int nbytes = i % 10 ? snprintf(text, sizeof text, "text %d", i) : (int)sizeof text;
        check(achar_queue_put(texts, text, (size_t)nbytes, FOR_EVER), "put");
    }

    uint32_t lost = 0;
    int status = achar_queue_join(texts, FOR_EVER);
    while (status == ACHAR_E_OWNER_DIED) {
        uint32_t count;
        check(achar_queue_recover(texts, &count), "recover");
        lost += count;
        status = achar_queue_join(texts, FOR_EVER); /* the others go on with the rest */
    }
    check(status, "join");
    printf("%d texts, %u results, %u lost with the worker that was killed\n", TEXT_COUNT,
           achar_queue_count(results), lost);
    for (int i = 0; i < WORKER_COUNT; i++) {
        kill(workers[i], SIGKILL);
        waitpid(workers[i], NULL, 0);
    }
    achar_space_close(space);
    return 0;
}
