/*
 * tell.c - what the pool tells its journal: the beginning and the end of tasks and workers.
 *
 * Each of these is called once for what it tells, with the lock, from the one place where that happens;
 * without a journal it does nothing.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>
#include <string.h>

/* The task's arguments; of a piece: of its calls. */
static size_t args_nbytes_of(const achar__task *task)
{
    if (!task->stretch) {
        return task->args_nbytes;
    }
    size_t start = task->first ? task->stretch->ends[task->first - 1] : 0;
    return task->stretch->ends[task->first + task->count - 1] - start;
}

static uint32_t calls_of(const achar__task *task)
{
    return task->stretch ? (uint32_t)task->count : 1;
}

static uint32_t map_of(const achar__task *task)
{
    if (!task->stretch) {
        return 0;
    }
    return task->stretch->map ? task->stretch->map : task->number - (uint32_t)task->first;
}

static achar__journal_record record_of(const achar__task *task, enum achar__journal_kind kind)
{
    return (achar__journal_record){
        .kind = (uint8_t)kind,
        .attempt = (uint16_t)task->attempt_count,
        .name = task->told->name,
        .number = task->number,
        .before = task->stretch ? (uint32_t)task->first : 0,
        .map = map_of(task),
        .item = task->stretch ? task->stretch->item + (uint32_t)task->first : 0,
        .calls = calls_of(task),
        .parent = task->told->parent,
        .submitted_ns = task->told->submitted_ns,
        .args_nbytes = args_nbytes_of(task),
    };
}

achar__task *achar__task_new(achar__pool *pool)
{
    struct {
        achar__task task;
        achar__told told;
    } * both;
    achar__task *task = calloc(1, pool->journal ? sizeof *both : sizeof *task);
    if (task && pool->journal) {
        both = (void *)task;
        task->told = &both->told;
    }
    return task;
}

void achar__tell_submitted_locked(achar__task *task)
{
    if (!task->told) {
        return;
    }
    if (!task->told->name) {
        task->told->name = task->function->name;
    }
    achar__journal_record record = record_of(task, ACHAR__JOURNAL_SUBMITTED);
    achar__journal_put(task->pool->journal, &record);
}

void achar__tell_sent(const achar__slot *slot, achar__task *task)
{
    if (task->told) {
        task->told->worker = slot->serial;
    }
}

void achar__tell_split(const achar__task *piece, achar__task *rest)
{
    if (piece->told) {
        *rest->told = (achar__told){.name = piece->told->name,
                                    .parent = piece->told->parent,
                                    .submitted_ns = piece->told->submitted_ns,
                                    .worker = piece->told->worker};
    }
}

/* A piece may begin when a part of it that was already done was taken. */
static int64_t later(int64_t a_ns, int64_t b_ns)
{
    return a_ns > b_ns ? a_ns : b_ns;
}

void achar__tell_started(const achar__slot *slot, achar__task *task)
{
    achar__told *told = task->told;
    if (told) {
        told->started_ns = later(told->started_ns, atomic_load(&slot->up->started_ns));
    }
}

void achar__tell_completion(const achar__slot *slot, achar__task *task,
                            const achar__wire_completion *completion)
{
    task->raised = completion->raised_count > task->skip_raised
                       ? completion->raised_count - task->skip_raised
                       : 0;
    achar__told *told = task->told;
    if (!told) {
        return;
    }
    told->overdue = completion->state == ACHAR__TASK_RAISED && !task->force_cancelled &&
                    slot->overdue == slot->completed + 1;
    told->ended_ns = completion->started_ns + (int64_t)completion->duration_ns;
    told->started_ns = later(told->started_ns, completion->started_ns);
    told->cpu_ns = completion->cpu_ns;
    told->peak_kib = completion->peak_kib;
    size_t index = slot->completed % ACHAR__RING_SLOTS;
    if (completion->error_nbytes && completion->error_nbytes <= ACHAR__ERROR_NBYTES) {
        told->error = strndup(slot->up->errors[index], completion->error_nbytes);
    }
}

/* What is known of the attempt that has just ended. */
static void add_attempt(achar__journal_record *record, achar__task *task,
                        enum achar__task_state state, achar__death death)
{
    achar__told *told = task->told;
    bool has_started = told->started_ns != 0;
    /* It was told to end, and did. */
    record->how =
        (uint8_t)(state == ACHAR__TASK_RAISED && told->overdue ? ACHAR__TASK_OVERDUE : state);
    record->started_ns = told->started_ns;
    record->ended_ns = told->ended_ns ? told->ended_ns : achar__now_ns();
    record->worker = has_started ? told->worker : 0;
    record->cpu_ns = told->cpu_ns;
    record->peak_nbytes = (uint64_t)told->peak_kib << 10;
    if (death.pid && (death.signal || death.exit_code >= 0)) {
        record->pid = death.pid;
        record->code = death.signal ? -death.signal : death.exit_code;
    }
    record->text = told->error;
    told->error = NULL;
}

void achar__tell_retried_locked(achar__task *task, enum achar__task_state state, achar__death death)
{
    achar__told *told = task->told;
    if (!told) {
        return;
    }
    achar__journal_record record = record_of(task, ACHAR__JOURNAL_RETRIED);
    add_attempt(&record, task, state, death);
    achar__journal_put(task->pool->journal, &record);
    told->started_ns = told->ended_ns = 0;
    told->cpu_ns = told->peak_kib = 0;
}

/* The numbers of the calls of a piece that raised; NULL: there is no memory, or its results are not what they were. */
static uint32_t *raised_numbers_of(const achar__task *piece, uint32_t count)
{
    uint32_t *numbers = malloc(count * sizeof *numbers);
    if (numbers && !achar__stretch_find_raised(piece, numbers, count)) {
        free(numbers);
        return NULL;
    }
    for (uint32_t i = 0; numbers && i < count; i++) {
        numbers[i] += piece->number;
    }
    return numbers;
}

void achar__tell_ended_locked(achar__task *task, enum achar__task_state state)
{
    achar__pool *pool = task->pool;
    uint32_t calls = calls_of(task);
    uint32_t raised = task->raised < calls ? task->raised : calls;
    if (state != ACHAR__TASK_RETURNED) {
        raised = state == ACHAR__TASK_RAISED ? calls : 0;
    }
    pool->ended_calls += calls;
    pool->failed_calls += state == ACHAR__TASK_RETURNED    ? raised
                          : state == ACHAR__TASK_CANCELLED ? 0
                                                           : calls;
    if (!task->told || !calls) { /* a piece of which none was begun */
        return;
    }
    bool has_death =
        state == ACHAR__TASK_LOST || state == ACHAR__TASK_OVERDUE || state == ACHAR__TASK_ABANDONED;
    achar__journal_record record = record_of(task, ACHAR__JOURNAL_ENDED);
    add_attempt(&record, task, state, has_death ? task->at.death : (achar__death){0});
    record.raised = record.how == ACHAR__TASK_OVERDUE ? 0 : raised;
    record.result_nbytes = task->result_nbytes - task->result_skip_nbytes;
    if (task->stretch && state == ACHAR__TASK_RETURNED && raised) {
        record.raised_numbers = raised_numbers_of(task, raised);
    }
    achar__journal_put(pool->journal, &record);
}

/* ---- workers ---- */

void achar__tell_worker_locked(achar__pool *pool, const achar__slot *slot,
                               enum achar__journal_kind kind)
{
    if (pool->journal) {
        achar__journal_put(pool->journal,
                           &(achar__journal_record){.kind = (uint8_t)kind,
                                                    .worker = slot->serial,
                                                    .pid = slot->pid,
                                                    .place = (uint32_t)(slot - pool->slots),
                                                    .started_ns = achar__now_ns()});
    }
}

static enum achar__worker_end end_of(const achar__pool *pool, const achar__slot *slot,
                                     achar__death death)
{
    if (!slot->killed) {
        return death.signal                         ? ACHAR__END_KILLED
               : slot->state == ACHAR__SLOT_LEAVING ? ACHAR__END_LEFT
                                                    : ACHAR__END_EXITED;
    }
    if (slot->start_overdue) {
        return ACHAR__END_SLOW_START;
    }
    if (slot->distrusted && !pool->killed) {
        return ACHAR__END_DISTRUSTED;
    }
    if (slot->overdue && slot->overdue == slot->completed + 1) {
        const achar__task *task = slot->inflight[slot->completed % ACHAR__RING_SLOTS];
        return task && task->force_cancelled ? ACHAR__END_CANCELLED : ACHAR__END_TIME_LIMIT;
    }
    if (slot->state == ACHAR__SLOT_LEAVING) {
        return ACHAR__END_SLOW_LEAVING;
    }
    /* One that is still starting when the pool winds down has nothing to finish. */
    return slot->state == ACHAR__SLOT_STARTING && pool->closed && !pool->killed
               ? ACHAR__END_LEFT
               : ACHAR__END_INTERRUPTED;
}

void achar__tell_worker_ended_locked(achar__pool *pool, const achar__slot *slot, achar__death death)
{
    if (pool->journal) {
        achar__journal_put(
            pool->journal,
            &(achar__journal_record){.kind = ACHAR__JOURNAL_WORKER_ENDED,
                                     .how = (uint8_t)end_of(pool, slot, death),
                                     .worker = slot->serial,
                                     .pid = death.pid,
                                     .place = (uint32_t)(slot - pool->slots),
                                     .ended_ns = achar__now_ns(),
                                     .code = death.signal ? -death.signal : death.exit_code,
                                     .text = slot->last_words ? strdup(slot->last_words) : NULL});
    }
}

void achar__tell_no_worker_locked(achar__pool *pool, const achar__slot *slot, int error)
{
    if (pool->journal) {
        int64_t now_ns = achar__now_ns();
        achar__journal_put(pool->journal,
                           &(achar__journal_record){.kind = ACHAR__JOURNAL_WORKER_ENDED,
                                                    .how = ACHAR__END_CANNOT_START,
                                                    .worker = slot->serial,
                                                    .place = (uint32_t)(slot - pool->slots),
                                                    .started_ns = now_ns,
                                                    .ended_ns = now_ns,
                                                    .code = error});
    }
}

/* ---- what is to be seen from outside ---- */

size_t achar__tell_sights(void *writer, achar__journal_sight *out, size_t capacity,
                          achar__journal_load *load)
{
    achar__pool *pool = writer;
    size_t count = 0;
    pthread_mutex_lock(&pool->lock);
    achar__store_usage usage = achar__store_usage_of(pool->store);
    load->client_nbytes = usage.memory_nbytes + usage.spill_nbytes;
    load->queued = pool->queue.count;
    load->delayed = pool->queue.delayed.count;
    load->waiting = pool->waiting.count;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        const achar__slot *slot = &pool->slots[i];
        if (!slot->pid || !slot->up) {
            continue;
        }
        load->running += slot->tail - slot->completed;
        load->workers_nbytes += atomic_load_explicit(&slot->up->used_nbytes, memory_order_relaxed);
        bool runs = !slot->distrusted && achar__slot_claimed(slot) > slot->completed &&
                    atomic_load(&slot->up->completed) == slot->completed;
        const achar__task *task = runs ? slot->inflight[slot->completed % ACHAR__RING_SLOTS] : NULL;
        if (count < capacity) {
            out[count] = (achar__journal_sight){
                .worker = slot->serial,
                .place = i,
                .pid = slot->pid,
                .number = task ? task->number : 0,
                .name = task && task->told ? task->told->name : 0,
                .started_ns = task ? atomic_load(&slot->up->started_ns) : 0,
            };
        }
        count++;
    }
    pthread_mutex_unlock(&pool->lock);
    return count;
}

achar__pool_progress achar__pool_progress_of(achar__pool *pool)
{
    achar__pool_progress progress = {0};
    if (achar__fork_guard_holds(&pool->guard)) {
        pthread_mutex_lock(&pool->lock);
        progress.submitted = pool->last_number;
        progress.ended = pool->ended_calls;
        progress.failed = pool->failed_calls;
        pthread_mutex_unlock(&pool->lock);
    }
    return progress;
}
