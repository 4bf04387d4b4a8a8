/*
 * schedule.c - which task goes to which worker, and when.
 *
 * Any client thread that submits or takes a completion dispatches, under the pool's lock. A worker
 * gets a second task before it has finished the first only when the tasks are known to be short: the
 * estimated work in a ring stays below BUDGET_NS, so a prefetched task waits at most that long. An
 * estimate can be wrong. So the tender looks at rings with unstarted tasks every TICK_NS: where the
 * worker has not moved on since, the tasks behind its current one are recalled and become the first
 * of the queue again. That timer runs only while a ring has unstarted tasks; idle costs nothing.
 * A worker that has not even started the only task it was given (it may be stopped, or the machine
 * busy) keeps it until some other worker is idle.
 *
 * Recalling is the client's half of the protocol in worker.c: lower the limit, then look at claimed.
 * What has been claimed stays with the worker.
 */
#include "runtime/pool/pool_internal.h"

#define BUDGET_NS       UINT64_C(1000000)
#define PREFETCH_MAX    64
#define TICK_NS         INT64_C(2000000)
#define TICK_MAX_NS     INT64_C(128000000)
#define DURATION_MAX_NS UINT64_C(1000000000000)

_Static_assert(PREFETCH_MAX < ACHAR__RING_SLOTS, "completions never overflow their ring");

uint64_t achar__slot_claimed(const achar__slot *slot)
{
    uint64_t claimed = atomic_load(&slot->up->claimed);
    /* A claim may stand for a moment after its task was recalled; and the word is not ours. */
    if (claimed > slot->tail) {
        return slot->tail;
    }
    return claimed < slot->completed ? slot->completed : claimed;
}

/* ---- towards the worker ---- */

static bool has_room(const achar__pool *pool, const achar__slot *slot, uint64_t estimate_ns)
{
    uint64_t inflight_count = slot->tail - slot->completed;
    if (slot->state != ACHAR__SLOT_READY || slot->killed || slot->retiring ||
        (pool->max_tasks_per_worker && slot->assigned >= pool->max_tasks_per_worker)) {
        return false;
    }
    if (inflight_count == 0) {
        return true;
    }
    return !slot->stuck && estimate_ns > 0 && inflight_count < PREFETCH_MAX &&
           slot->load_ns + estimate_ns <= BUDGET_NS;
}

static bool is_idle(const achar__slot *slot)
{
    return slot->tail == slot->completed && !slot->stuck;
}

/* An idle worker, else the one with the least work ahead of it, else one that was stuck. A task with
 * a time limit starts when it is sent, so that the tender knows from when on to watch it. */
static achar__slot *pick_slot(achar__pool *pool, const achar__task *task)
{
    uint64_t estimate_ns = task->time_limit_ns ? 0 : task->function->duration_ns;
    achar__slot *best = NULL;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        unsigned index = pool->next_slot + i;
        index -= index >= pool->slot_count ? pool->slot_count : 0;
        achar__slot *slot = &pool->slots[index];
        if (!has_room(pool, slot, estimate_ns)) {
            continue;
        }
        if (is_idle(slot)) {
            pool->next_slot = index + 1 < pool->slot_count ? index + 1 : 0;
            return slot;
        }
        if (!best || best->stuck || (!slot->stuck && slot->load_ns < best->load_ns)) {
            best = slot;
        }
    }
    return best;
}

static uint64_t offset_in_client(const achar__pool *pool, const void *data)
{
    return data ? (uint64_t)((const unsigned char *)data - pool->client.base) : 0;
}

static void put_into_ring(achar__pool *pool, achar__slot *slot, achar__task *task)
{
    size_t index = slot->tail % ACHAR__RING_SLOTS;
    achar__function *function = task->function;
    uint64_t estimate_ns = function->duration_ns ? function->duration_ns : BUDGET_NS;
    const unsigned char *args = task->args;
    size_t args_nbytes = task->args_nbytes;
    if (task->stretch) {
        size_t start = task->first ? task->stretch->ends[task->first - 1] : 0;
        args = (const unsigned char *)task->stretch->args + start;
        args_nbytes = task->stretch->ends[task->first + task->count - 1] - start;
        estimate_ns *= task->count;
        atomic_store_explicit(&slot->down->call_limits[index], (uint32_t)task->count,
                              memory_order_relaxed);
    }

    slot->down->tasks[index] = (achar__wire_task){
        .function_id = function->id,
        .function_offset = offset_in_client(pool, function->bytes),
        .function_nbytes = function->nbytes,
        .function_flags = function->flags,
        .call_count = task->stretch ? (uint32_t)task->count : 0,
        .inputs_offset = task->inputs ? offset_in_client(pool, task->inputs->table) : 0,
        .input_count = task->inputs ? (uint32_t)task->inputs->count : 0,
        .args_offset = offset_in_client(pool, args),
        .args_nbytes = args_nbytes,
        .args_kind = task->args_kind};
    atomic_store_explicit(&slot->down->waiters[index], task->bell, memory_order_relaxed);
    atomic_store_explicit(&slot->down->numbers[index], task->number, memory_order_relaxed);
    slot->inflight[index] = task;
    slot->estimates_ns[index] = estimate_ns;
    slot->load_ns += estimate_ns;
    task->place = ACHAR__PLACE_RING;
    task->at.ring.slot = slot;
    task->at.ring.position = slot->tail++;
    achar__tell_sent(slot, task);
    slot->assigned += task->stretch ? task->count : 1;
}

static void publish(achar__slot *slot)
{
    atomic_store(&slot->down->limit, slot->tail);
    if (atomic_load(&slot->up->sleeping)) {
        achar__futex_ring(&slot->down->doorbell, true);
    }
}

void achar__dispatch_locked(achar__pool *pool)
{
    achar__slot *dirty = NULL;
    bool to_watch = false; /* the tender's clock has to run */

    for (achar__task *task; pool->may_have_room && (task = achar__queue_head(&pool->queue));) {
        achar__slot *slot = pick_slot(pool, task);
        if (!slot) {
            /* A task of a function with other estimates may still find room; it waits its turn. */
            pool->may_have_room = false;
            break;
        }
        achar__queue_remove(&pool->queue, task);
        if (task->stretch) {
            achar__stretch_carve_locked(pool, slot, task, BUDGET_NS);
        }
        to_watch |= slot->tail != slot->completed || task->count > 1 || task->time_limit_ns;
        put_into_ring(pool, slot, task);
        if (!slot->dirty) {
            slot->dirty = true;
            slot->dirty_next = dirty;
            dirty = slot;
        }
    }
    for (; dirty; dirty = dirty->dirty_next) {
        dirty->dirty = false;
        publish(dirty);
    }
    if (to_watch && !pool->tender_kicked &&
        (pool->tender_deadline_ns < 0 || pool->tender_deadline_ns > achar__now_ns() + TICK_NS)) {
        achar__pool_kick_locked(pool);
    }
}

/* ---- back from the worker ---- */

static void learn_duration(achar__function *function, uint64_t duration_ns)
{
    if (duration_ns > DURATION_MAX_NS) {
        duration_ns = DURATION_MAX_NS;
    }
    uint64_t known_ns = function->duration_ns;
    if (known_ns == 0 || duration_ns > known_ns) {
        function->duration_ns = (known_ns + duration_ns) / (known_ns ? 2 : 1) + 1;
    } else {
        function->duration_ns = (known_ns * 7 + duration_ns) / 8 + 1;
    }
}

static void forget_estimate(achar__slot *slot, uint64_t position)
{
    slot->load_ns -= slot->estimates_ns[position % ACHAR__RING_SLOTS];
}

/* False: no honest worker writes that. */
static bool take_completion(achar__slot *slot, achar__task *task,
                            const achar__wire_completion *completion)
{
    achar__mapping *mapping = slot->mapping;
    bool keeps_args = completion->kind & ACHAR__WIRE_KEEPS_ARGS;
    uint32_t kind = completion->kind & ~ACHAR__WIRE_KEEPS_ARGS;
    if ((completion->state != ACHAR__TASK_RETURNED && completion->state != ACHAR__TASK_RAISED) ||
        (keeps_args && (completion->state != ACHAR__TASK_RETURNED || !task->args_kind)) ||
        kind >= (completion->state == ACHAR__TASK_RETURNED && !task->stretch
                     ? ACHAR__WIRE_KIND_COUNT
                     : 1) ||
        completion->result_offset > mapping->region.nbytes ||
        completion->result_nbytes > mapping->region.nbytes - completion->result_offset) {
        return false;
    }
    if (completion->result_nbytes) {
        task->mapping = mapping;
        mapping->ref_count++;
        size_t end = completion->result_offset + completion->result_nbytes;
        mapping->results_end = end > mapping->results_end ? end : mapping->results_end;
        task->result = mapping->region.base + completion->result_offset;
        task->result_nbytes = completion->result_nbytes;
    }
    achar__tell_completion(slot, task, completion);
    task->result_kind = kind;
    task->keeps_args = keeps_args;
    if (!task->stretch) {
        learn_duration(task->function, completion->duration_ns);
    } else if (completion->call_count) {
        learn_duration(task->function, completion->duration_ns / completion->call_count);
    }
    return true;
}

/* The worker's memory is not what it should be: a task has overwritten it. */
static void distrust(achar__slot *slot)
{
    slot->distrusted = true;
    achar__slot_kill_locked(slot);
}

void achar__drain_locked(achar__pool *pool, achar__slot *slot)
{
    if (!slot->up) {
        return;
    }
    uint64_t completed = atomic_load_explicit(&slot->up->completed, memory_order_acquire);
    if (completed == slot->completed || slot->distrusted) {
        return;
    }
    if (completed > slot->tail) {
        distrust(slot);
        return;
    }
    while (slot->completed < completed) {
        size_t index = slot->completed % ACHAR__RING_SLOTS;
        achar__task *task = slot->inflight[index];
        achar__wire_completion completion = slot->up->completions[index];
        if (!take_completion(slot, task, &completion) ||
            (task->stretch && !achar__stretch_completed_locked(pool, slot, task, &completion))) {
            distrust(slot);
            return;
        }
        forget_estimate(slot, slot->completed);
        slot->inflight[index] = NULL;
        slot->completed++;
        if (task->force_cancelled) { /* whatever it was still in time to say */
            achar__task_give_back_result_locked(task);
            achar__task_note_output_locked(pool, slot, task);
            achar__task_finish_locked(task, ACHAR__TASK_CANCELLED);
        } else if (completion.state != ACHAR__TASK_RAISED ||
                   !achar__task_try_again_locked(task, completion.state, (achar__death){0})) {
            achar__task_note_output_locked(pool, slot, task);
            achar__task_finish_locked(task, completion.state);
        }
    }
    if (pool->pinned) {
        achar__pins_sweep_locked(pool);
    }
    slot->stuck = false;
    pool->may_have_room = true;
    achar__slot_was_useful_locked(pool, slot);
    achar__releases_flush_locked(slot);
    bool is_used_up = pool->max_tasks_per_worker && slot->assigned >= pool->max_tasks_per_worker;
    if ((is_used_up || slot->retiring) && slot->completed == slot->tail) {
        achar__slot_leave_locked(slot);
    }
}

/* ---- recalling ---- */

uint32_t achar__recall_begin(achar__slot *slot)
{
    return atomic_fetch_add(&slot->down->recalls_begun, 1) + 1;
}

void achar__recall_end(achar__slot *slot, uint32_t begun)
{
    atomic_store(&slot->down->recalls_done, begun);
    achar__futex_wake(&slot->down->recalls_done, true, INT32_MAX);
}

void achar__recall_locked(achar__pool *pool, achar__slot *slot, uint64_t position)
{
    if (position >= slot->tail) {
        return;
    }
    achar__wire_down *down = slot->down;
    uint32_t begun = achar__recall_begin(slot);
    atomic_store(&down->limit, position);
    uint64_t claimed = achar__slot_claimed(slot);
    if (claimed > position) {
        position = claimed;
        atomic_store(&down->limit, position);
    }
    achar__recall_end(slot, begun);

    while (slot->tail > position) {
        slot->tail--;
        achar__task *task = slot->inflight[slot->tail % ACHAR__RING_SLOTS];
        slot->inflight[slot->tail % ACHAR__RING_SLOTS] = NULL;
        forget_estimate(slot, slot->tail);
        slot->assigned -= task->stretch ? task->count : 1;
        achar__queue_prepend(&pool->queue, task);
    }
    pool->may_have_room = true;
}

void achar__recall_all_locked(achar__pool *pool)
{
    for (unsigned i = 0; i < pool->slot_count; i++) {
        achar__slot *slot = &pool->slots[i];
        if (slot->up) {
            achar__drain_locked(pool, slot);
            achar__recall_locked(pool, slot, achar__slot_claimed(slot));
            achar__stretch_recall_locked(pool, slot);
        }
    }
}

static bool someone_is_idle(const achar__pool *pool)
{
    for (unsigned i = 0; i < pool->slot_count; i++) {
        if (is_idle(&pool->slots[i]) && has_room(pool, &pool->slots[i], 0)) {
            return true;
        }
    }
    return false;
}

/* Takes from a worker that does not move what another could start. */
static void unstick(achar__pool *pool, achar__slot *slot, uint64_t claimed)
{
    bool runs_a_task = claimed > slot->completed;
    slot->stuck = true;
    achar__recall_locked(pool, slot, runs_a_task || someone_is_idle(pool) ? claimed : claimed + 1);
    achar__stretch_recall_locked(pool, slot);
    achar__stretch_harvest_locked(pool, slot);
}

/* Grows with everything that the worker starts. */
static uint64_t progress_of(const achar__slot *slot, uint64_t claimed)
{
    return achar__stretch_running(slot) ? atomic_load(&slot->up->calls_claimed) : claimed;
}

/* Whether the worker holds something that it has not started, or not told of. */
static bool holds_more(const achar__slot *slot, uint64_t claimed)
{
    const achar__task *piece = achar__stretch_running(slot);
    return claimed != slot->tail || (piece && piece->count > 1);
}

int64_t achar__unstick_locked(achar__pool *pool, int64_t now_ns)
{
    int64_t next_ns = ACHAR__NO_DEADLINE;
    for (unsigned i = 0; i < pool->slot_count; i++) {
        achar__slot *slot = &pool->slots[i];
        uint64_t claimed = slot->state == ACHAR__SLOT_READY ? achar__slot_claimed(slot) : 0;
        if (slot->state != ACHAR__SLOT_READY || !holds_more(slot, claimed)) {
            continue;
        }
        if (progress_of(slot, claimed) != slot->tick_progress || slot->tick_ns == 0) {
            slot->tick_progress = progress_of(slot, claimed);
            slot->tick_ns = now_ns;
            slot->tick_interval_ns = TICK_NS;
        } else if (now_ns - slot->tick_ns >= slot->tick_interval_ns) {
            unstick(pool, slot, claimed);
            slot->tick_ns = now_ns;
            if (slot->tick_interval_ns < TICK_MAX_NS) {
                slot->tick_interval_ns *= 2;
            }
            if (!holds_more(slot, achar__slot_claimed(slot))) {
                slot->tick_ns = 0;
                continue;
            }
        }
        if (next_ns < 0 || slot->tick_ns + slot->tick_interval_ns < next_ns) {
            next_ns = slot->tick_ns + slot->tick_interval_ns;
        }
    }
    return next_ns;
}
