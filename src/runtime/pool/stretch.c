/*
 * stretch.c - several calls as one task: cutting it into pieces, and what becomes of each call.
 *
 *    calls        0 1 2 3 4 5 6 7 8 9          one achar__stretch: the arguments of all of them
 *    pieces      [0 1 2][3 4 5 6][7 8 9]       achar__task each, linked by next_piece in this order
 *                 done   in a ring  queued
 *
 * There is one operation, the cut: a piece keeps its first calls, and a new piece behind it has the
 * rest. A piece is cut when it goes to a worker (the rest stays in the queue), when the worker gives
 * it back early, when calls behind a long one are recalled, and when the worker dies. So whoever
 * waits for a call waits for the piece that it is in, and looks again when that has ended.
 *
 * Within a piece a worker claims each call as it claims tasks (worker.c), and tells how many are
 * done after the result of each stands in its region. Both can be read after its death: the call
 * that is claimed and not done is lost, and no other; none is made twice.
 */
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>
#include <string.h>

#define COPY_TRIES 4

void achar__stretch_unref_locked(achar__pool *pool, achar__stretch *stretch)
{
    if (--stretch->ref_count == 0) {
        pool->unfinished_nbytes -= achar__block_cost(stretch->nbytes);
        achar__store_free(pool->store, stretch->args);
        free(stretch);
    }
}

/* ---- cutting ---- */

achar__task *achar__stretch_split_locked(achar__task *piece, size_t keep)
{
    achar__pool *pool = piece->pool;
    achar__task *rest = achar__task_new(pool);
    if (!rest) {
        return NULL;
    }
    atomic_init(&rest->ref_count, piece->disowned ? 1 : 2);
    atomic_fetch_add(&pool->ref_count, 1);
    achar__function_retain_locked(piece->function);
    piece->stretch->ref_count++;
    pool->unfinished_count++;
    rest->pool = pool;
    rest->function = piece->function;
    rest->stretch = piece->stretch;
    rest->first = piece->first + keep;
    rest->count = piece->count - keep;
    rest->number = piece->number + (uint32_t)keep;
    rest->next_piece = piece->next_piece;
    rest->disowned = piece->disowned;
    rest->priority = piece->priority;
    achar__tell_split(piece, rest);
    piece->next_piece = rest;
    piece->count = keep;
    return rest;
}

static void requeue_locked(achar__pool *pool, achar__task *piece)
{
    achar__queue_prepend(&pool->queue, piece);
    pool->may_have_room = true;
}

/* At most half of the time, so that the next piece lies ready when this one ends; an even share of
 * what there is; and the worker's allowance. */
static size_t portion_of(const achar__pool *pool, const achar__slot *slot, const achar__task *piece,
                         uint64_t budget_ns)
{
    uint64_t duration_ns = piece->function->duration_ns;
    size_t portion = 1;
    if (duration_ns && slot->load_ns < budget_ns) {
        uint64_t left_ns = budget_ns - slot->load_ns;
        portion = (size_t)((left_ns < budget_ns / 2 ? left_ns : budget_ns / 2) / duration_ns);
    }
    unsigned workers = pool->ready_count ? pool->ready_count : 1;
    size_t share = (piece->count + workers - 1) / workers;
    portion = portion < share ? portion : share;
    if (pool->max_tasks_per_worker) {
        size_t allowance = pool->max_tasks_per_worker - slot->assigned;
        portion = portion < allowance ? portion : allowance;
    }
    return portion ? portion : 1;
}

void achar__stretch_carve_locked(achar__pool *pool, achar__slot *slot, achar__task *piece,
                                 uint64_t budget_ns)
{
    size_t portion = portion_of(pool, slot, piece, budget_ns);
    achar__task *rest = portion < piece->count ? achar__stretch_split_locked(piece, portion) : NULL;
    if (rest) { /* else, without memory, it goes as a whole */
        requeue_locked(pool, rest);
    }
}

/* ---- what a worker tells ---- */

size_t achar__stretch_calls(uint64_t word, uint64_t position)
{
    return word >> 32 == (uint32_t)position ? (uint32_t)word : 0;
}

achar__task *achar__stretch_running(const achar__slot *slot)
{
    if (!slot->up || slot->distrusted || achar__slot_claimed(slot) == slot->completed) {
        return NULL;
    }
    achar__task *task = slot->inflight[slot->completed % ACHAR__RING_SLOTS];
    return task->stretch ? task : NULL;
}

static size_t between(size_t value, size_t least, size_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* Steps over 'count' records, and counts those that have raised. The bytes are the worker's: nothing in them is believed. */
static bool skip_records(const unsigned char *data, size_t nbytes, size_t count, size_t *offset,
                         uint32_t *raised)
{
    for (; count; count--) {
        uint64_t header;
        if (nbytes - *offset < sizeof header) {
            return false;
        }
        memcpy(&header, data + *offset, sizeof header);
        *raised += (header & 3) == ACHAR__RECORD_FAILED;
        *offset += sizeof header;
        if (header >> 2 > nbytes - *offset) {
            return false;
        }
        *offset += (size_t)(header >> 2);
    }
    return true;
}

bool achar__stretch_find_raised(const achar__task *piece, uint32_t *out, size_t count)
{
    size_t offset = piece->result_skip_nbytes, found = 0;
    for (uint32_t i = 0; i < piece->count; i++) {
        uint32_t raised = 0;
        if (!skip_records(piece->result, piece->result_nbytes, 1, &offset, &raised) ||
            found + raised > count) {
            return false;
        }
        if (raised) {
            out[found++] = i;
        }
    }
    return found == count;
}

bool achar__stretch_completed_locked(achar__pool *pool, achar__slot *slot, achar__task *piece,
                                     const achar__wire_completion *completion)
{
    size_t made = completion->call_count;
    uint32_t skipped_raised = 0;
    if (completion->state != ACHAR__TASK_RETURNED || made < piece->skip ||
        made > piece->skip + piece->count ||
        !skip_records(piece->result, piece->result_nbytes, piece->skip, &piece->result_skip_nbytes,
                      &skipped_raised)) {
        return false;
    }
    made -= piece->skip;
    if (made < piece->count) {
        achar__task *rest = achar__stretch_split_locked(piece, made);
        if (!rest) {
            return false; /* without memory they are lost with the worker, and that is told */
        }
        slot->assigned -= rest->count;
        requeue_locked(pool, rest);
    }
    return true;
}

/* False: the piece has ended meanwhile, with a completion that says how far. */
static bool recall_calls_locked(achar__pool *pool, achar__slot *slot, achar__task *piece)
{
    uint64_t position = slot->completed;
    _Atomic uint32_t *limit = &slot->down->call_limits[position % ACHAR__RING_SLOTS];
    size_t end = piece->skip + piece->count;
    uint32_t begun = achar__recall_begin(slot);
    uint64_t word = atomic_load(&slot->up->calls_claimed);
    size_t claimed = between(achar__stretch_calls(word, position), piece->skip, end);
    atomic_store(limit, (uint32_t)claimed);
    word = atomic_load(&slot->up->calls_claimed);
    size_t claimed_since = between(achar__stretch_calls(word, position), claimed, end);
    bool has_ended = atomic_load(&slot->up->completed) > position;
    achar__task *rest = claimed_since < end && !has_ended
                            ? achar__stretch_split_locked(piece, claimed_since - piece->skip)
                            : NULL;
    atomic_store(limit, (uint32_t)(rest ? claimed_since : end));
    achar__recall_end(slot, begun);
    if (rest) {
        slot->assigned -= rest->count;
        requeue_locked(pool, rest);
    }
    return !has_ended;
}

void achar__stretch_recall_locked(achar__pool *pool, achar__slot *slot)
{
    for (;;) {
        achar__drain_locked(pool, slot);
        achar__task *piece = achar__stretch_running(slot);
        if (!piece || recall_calls_locked(pool, slot, piece)) {
            return;
        }
    }
}

/* The records [from, to) of the results of 'slot', copied. NULL: none, or not to be had just now. */
static void *copy_records(const achar__slot *slot, size_t from, size_t to, size_t *nbytes,
                          uint32_t *raised)
{
    const achar__region *region = &slot->mapping->region;
    for (int i = 0; i < COPY_TRIES; i++) {
        uint32_t moves = atomic_load(&slot->up->results_moves);
        size_t offset = (size_t)atomic_load(&slot->up->results_offset);
        size_t start = offset;
        if (offset > region->nbytes ||
            !skip_records(region->base, region->nbytes, from, &start, raised)) {
            continue;
        }
        size_t end = start;
        *raised = 0;
        if (!skip_records(region->base, region->nbytes, to - from, &end, raised)) {
            continue;
        }
        void *copy = malloc(end - start + 1);
        if (!copy) {
            return NULL;
        }
        memcpy(copy, region->base + start, end - start);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load(&slot->up->results_moves) == moves) {
            *nbytes = end - start;
            return copy;
        }
        free(copy);
    }
    return NULL;
}

void achar__stretch_harvest_locked(achar__pool *pool, achar__slot *slot)
{
    achar__drain_locked(pool, slot);
    achar__task *piece = achar__stretch_running(slot);
    if (!piece) {
        return;
    }
    uint64_t position = slot->completed;
    size_t done = between(achar__stretch_calls(atomic_load(&slot->up->calls_done), position),
                          piece->skip, piece->skip + piece->count);
    if (done == piece->skip) {
        return;
    }
    size_t nbytes;
    uint32_t raised;
    void *copy = copy_records(slot, piece->skip, done, &nbytes, &raised);
    achar__task *rest = copy ? achar__stretch_split_locked(piece, done - piece->skip) : NULL;
    if (!rest) {
        free(copy);
        return;
    }
    /* The rest takes the place in the ring; nobody waits for it yet. */
    size_t index = position % ACHAR__RING_SLOTS;
    rest->skip = done;
    rest->skip_raised = piece->skip_raised + raised;
    if (rest->told) {
        rest->told->started_ns = achar__now_ns();
    }
    achar__tell_started(slot, piece);
    piece->raised = raised;
    rest->place = ACHAR__PLACE_RING;
    rest->at.ring.slot = slot;
    rest->at.ring.position = position;
    slot->inflight[index] = rest;
    atomic_store(&slot->down->waiters[index], 0);
    piece->skip = 0;
    piece->result = piece->copy = copy;
    piece->result_nbytes = nbytes;
    achar__task_note_output_locked(pool, slot, piece);
    achar__task_finish_locked(piece, ACHAR__TASK_RETURNED);
}

/* What was done stays readable where it stands: nobody writes there any more. */
static bool keep_results(achar__slot *slot, achar__task *piece, size_t done)
{
    achar__mapping *mapping = slot->mapping;
    size_t start = (size_t)atomic_load(&slot->up->results_offset);
    size_t end = start, skipped = start;
    uint32_t raised = 0, skipped_raised = 0;
    if (start > mapping->region.nbytes ||
        !skip_records(mapping->region.base, mapping->region.nbytes, done, &end, &raised) ||
        !skip_records(mapping->region.base, mapping->region.nbytes, piece->skip, &skipped,
                      &skipped_raised)) {
        return false;
    }
    piece->mapping = mapping;
    mapping->ref_count++;
    mapping->results_end = end > mapping->results_end ? end : mapping->results_end;
    piece->result = mapping->region.base + start;
    piece->result_nbytes = end - start;
    piece->result_skip_nbytes = skipped - start;
    piece->raised = raised - skipped_raised;
    achar__tell_started(slot, piece);
    return true;
}

void achar__stretch_died_locked(achar__pool *pool, achar__slot *slot, achar__task *piece,
                                achar__death death)
{
    uint64_t position = piece->at.ring.position;
    size_t end = piece->skip + piece->count;
    size_t done = between(achar__stretch_calls(atomic_load(&slot->up->calls_done), position),
                          piece->skip, end);
    size_t claimed =
        between(achar__stretch_calls(atomic_load(&slot->up->calls_claimed), position), done, end);
    achar__task *lost = piece, *rest = NULL;

    if (piece->count == 0) { /* all its calls were done, and harvested; only the end was not told */
        achar__tell_started(slot, piece);
        achar__task_finish_locked(piece, ACHAR__TASK_RETURNED);
        return;
    }
    if (done > piece->skip) {
        if (!keep_results(slot, piece, done)) {
            goto lose;
        }
        if (done < end && !(lost = achar__stretch_split_locked(piece, done - piece->skip))) {
            lost = piece;
            goto lose;
        }
        achar__task_finish_locked(piece, ACHAR__TASK_RETURNED);
        if (done == end) {
            return;
        }
    }
    if (claimed == done) {
        rest = lost;
        lost = NULL;
    } else if (lost->count > 1) {
        rest = achar__stretch_split_locked(lost, 1);
    }
    if (rest) {
        rest->skip = 0;
        requeue_locked(pool, rest);
    }
lose:
    if (lost) {
        achar__tell_started(slot, lost);
        lost->at.death = death;
        lost->last_words = slot->last_words;
        slot->last_words = NULL;
        achar__task_finish_locked(lost, ACHAR__TASK_LOST);
    }
}

/* ---- the owner of the pieces ---- */

size_t achar__task_call_count(const achar__task *piece)
{
    return piece->count;
}

achar__task *achar__task_next_piece(achar__task *piece)
{
    return piece->next_piece;
}

static void cancel_piece_locked(achar__pool *pool, achar__task *piece)
{
    if (piece->place == ACHAR__PLACE_RING) {
        achar__drain_locked(pool, piece->at.ring.slot);
    }
    if (piece->place == ACHAR__PLACE_RING) {
        achar__slot *slot = piece->at.ring.slot;
        achar__recall_locked(pool, slot, piece->at.ring.position);
        if (piece == achar__stretch_running(slot)) {
            achar__stretch_recall_locked(pool, slot);
        }
    }
    if (piece->place == ACHAR__PLACE_QUEUE) {
        achar__queue_remove(&pool->queue, piece);
        achar__task_finish_locked(piece, ACHAR__TASK_CANCELLED);
    }
}

void achar__stretch_drop(achar__task *piece, bool cancel)
{
    if (!piece || !achar__fork_guard_holds(&piece->pool->guard)) {
        return;
    }
    achar__pool *pool = piece->pool;
    pthread_mutex_lock(&pool->lock);
    for (achar__task *p = piece; p; p = p->user) {
        if (cancel && !ACHAR__TASK_FINISHED(atomic_load(&p->state))) {
            cancel_piece_locked(pool, p);
        }
        /* Pieces that are cut off from here on are nobody's; so the chain is kept apart. */
        p->disowned = true;
        p->user = p->next_piece;
        p->next_piece = NULL;
    }
    achar__dispatch_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    while (piece) {
        achar__task *next = piece->user;
        achar__task_release(piece);
        piece = next;
    }
}
