/*
 * queue.h - the tasks that no worker has: a list for each priority, and those that wait for their time.
 *
 * Adding and removing needs no memory and no search, so a task can always come back here, whatever
 * happened to its worker. Guarded by the pool's lock.
 */
#ifndef ACHAR_RUNTIME_QUEUE_H
#define ACHAR_RUNTIME_QUEUE_H

#include "runtime/pool/pool.h"

#include <stdbool.h>

typedef struct achar__task_list {
    achar__task *head, *tail;
    size_t count;
} achar__task_list;

#define ACHAR__PRIORITY_COUNT (2 * ACHAR__PRIORITY_MAX + 1)

typedef struct achar__queue {
    achar__task_list levels[ACHAR__PRIORITY_COUNT];     /* the highest priority first */
    uint64_t filled[(ACHAR__PRIORITY_COUNT + 63) / 64]; /* bit n: levels[n] is not empty */
    size_t count;                                       /* in the levels */
    achar__task_list delayed;
} achar__queue;

/* The task that is next; NULL: none. */
achar__task *achar__queue_head(const achar__queue *queue);
/* As the last, or the first, of its priority. */
void achar__queue_append(achar__queue *queue, achar__task *task);
void achar__queue_prepend(achar__queue *queue, achar__task *task);
/* Until task->not_before_ns; then achar__queue_wake() appends it. */
void achar__queue_delay(achar__queue *queue, achar__task *task);
/* Returns when the next delayed task is due (ACHAR__NO_DEADLINE: there is none). */
int64_t achar__queue_wake(achar__queue *queue, int64_t now_ns);
/* A task that is in the queue or delayed. */
void achar__queue_remove(achar__queue *queue, achar__task *task);
/* Removes any task, delayed ones too; NULL: none is left. */
achar__task *achar__queue_take(achar__queue *queue);

#endif
