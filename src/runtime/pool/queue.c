/* queue.c - the tasks that no worker has; see queue.h. */
#include "runtime/pool/pool_internal.h"

static achar__task_list *level_of(achar__queue *queue, const achar__task *task, size_t *index)
{
    *index = (size_t)(ACHAR__PRIORITY_MAX - task->priority);
    return &queue->levels[*index];
}

static void added(achar__queue *queue, achar__task *task, size_t index)
{
    queue->filled[index / 64] |= UINT64_C(1) << index % 64;
    queue->count++;
    task->place = ACHAR__PLACE_QUEUE;
}

achar__task *achar__queue_head(const achar__queue *queue)
{
    for (size_t i = 0; i < sizeof queue->filled / sizeof *queue->filled; i++) {
        if (queue->filled[i]) {
            return queue->levels[i * 64 + (size_t)__builtin_ctzll(queue->filled[i])].head;
        }
    }
    return NULL;
}

void achar__queue_append(achar__queue *queue, achar__task *task)
{
    size_t index;
    achar__list_append(level_of(queue, task, &index), task);
    added(queue, task, index);
}

void achar__queue_prepend(achar__queue *queue, achar__task *task)
{
    size_t index;
    achar__list_prepend(level_of(queue, task, &index), task);
    added(queue, task, index);
}

void achar__queue_delay(achar__queue *queue, achar__task *task)
{
    achar__list_append(&queue->delayed, task);
    task->place = ACHAR__PLACE_DELAYED;
}

int64_t achar__queue_wake(achar__queue *queue, int64_t now_ns)
{
    int64_t due_ns = ACHAR__NO_DEADLINE;
    for (achar__task *task = queue->delayed.head, *next; task; task = next) {
        next = task->next;
        if (task->not_before_ns <= now_ns) {
            achar__list_remove(&queue->delayed, task);
            achar__queue_append(queue, task);
        } else if (due_ns < 0 || task->not_before_ns < due_ns) {
            due_ns = task->not_before_ns;
        }
    }
    return due_ns;
}

void achar__queue_remove(achar__queue *queue, achar__task *task)
{
    if (task->place == ACHAR__PLACE_DELAYED) {
        achar__list_remove(&queue->delayed, task);
    } else {
        size_t index;
        achar__task_list *level = level_of(queue, task, &index);
        achar__list_remove(level, task);
        queue->count--;
        if (!level->head) {
            queue->filled[index / 64] &= ~(UINT64_C(1) << index % 64);
        }
    }
    task->place = ACHAR__PLACE_NONE;
}

achar__task *achar__queue_take(achar__queue *queue)
{
    achar__task *task = achar__queue_head(queue);
    task = task ? task : queue->delayed.head;
    if (task) {
        achar__queue_remove(queue, task);
    }
    return task;
}
