/*
 * digest.c - records become what is to be written: items of batches, events, sums, and the worst of them.
 */
#include "record/internal.h"

#include <achar/status.h>
#include <stdlib.h>
#include <string.h>

double record_seconds(const achar__record *record, int64_t ns)
{
    return (double)(ns + record->wall_ns) / 1e9;
}

/* ---- pending rows ---- */

static batch *batch_for(achar__record *record, uint32_t pool, uint8_t kind, int64_t base_ns)
{
    for (batch *it = record->pending; it; it = it->next) {
        if (it->pool == pool && it->kind == kind && it->count < BATCH_ITEMS) {
            return it;
        }
    }
    batch *it = calloc(1, sizeof *it);
    if (it) {
        it->pool = pool;
        it->kind = kind;
        it->base_ns = base_ns;
        *record->pending_end = it;
        record->pending_end = &it->next;
    }
    return it;
}

/* A record that cannot be kept. */
static void drop(achar__record *record)
{
    atomic_fetch_add(&record->dropped, 1);
}

/* The batches that are being filled. */
typedef struct writing {
    batch *submitted, *retried, *ended;
} writing;

static void add_item(achar__record *record, batch **open, uint32_t pool,
                     const achar__journal_record *it)
{
    if (record->gives_up) {
        drop(record);
        return;
    }
    if (!*open || (*open)->count >= BATCH_ITEMS) {
        *open = batch_for(record, pool, it->kind, it->submitted_ns);
    }
    if (!*open) {
        drop(record);
        return;
    }
    size_t before = (*open)->items.nbytes;
    record_add_item(*open, it);
    if ((*open)->items.failed) {
        (*open)->items.failed = false;
        drop(record);
        return;
    }
    record->pending_nbytes += (*open)->items.nbytes - before;
    record->pending_count++;
}

static void add_event(achar__record *record, uint32_t pool, achar__journal_record *it)
{
    event *made = malloc(sizeof *made);
    if (!made) {
        drop(record);
        achar__journal_record_clear(it);
        return;
    }
    *made = (event){.pool = pool, .record = *it};
    *record->events_end = made;
    record->events_end = &made->next;
    record->pending_nbytes += sizeof *made;
    record->pending_count++;
}

static void free_batch(batch *it)
{
    free(it->items.data);
    free(it);
}

void record_drop_pending(achar__record *record)
{
    while (record->pending) {
        batch *it = record->pending;
        record->pending = it->next;
        free_batch(it);
    }
    while (record->events) {
        event *it = record->events;
        record->events = it->next;
        achar__journal_record_clear(&it->record);
        free(it);
    }
    record->pending_end = &record->pending;
    record->events_end = &record->events;
    record->pending_nbytes = record->pending_count = 0;
}

void record_forget(achar__record *record)
{
    record_drop_pending(record);
    for (size_t i = 0; i < FAILURES_COUNT; i++) {
        achar__journal_record_clear(&record->failures[i].record);
    }
    free(record->seen);
}

/* ---- sums ---- */

static total *total_of(source *from, uint32_t name)
{
    if (name >= from->total_count) {
        size_t count = name + 16 + from->total_count / 2;
        total *totals = realloc(from->totals, count * sizeof *totals);
        if (!totals) {
            return NULL;
        }
        memset(totals + from->total_count, 0, (count - from->total_count) * sizeof *totals);
        from->totals = totals;
        from->total_count = count;
    }
    from->totals[name].dirty = true;
    return &from->totals[name];
}

static void sum_ended(total *to, const achar__journal_record *it)
{
    switch (it->how) {
    case ACHAR__TASK_RETURNED:
    case ACHAR__TASK_RAISED:
        to->raised += it->raised;
        to->returned += it->calls - it->raised;
        break;
    case ACHAR__TASK_LOST:
        to->lost += it->calls;
        break;
    case ACHAR__TASK_CANCELLED:
        to->cancelled += it->calls;
        break;
    case ACHAR__TASK_OVERDUE:
        to->overdue += it->calls;
        break;
    default:
        to->other += it->calls;
    }
    to->args_nbytes += it->args_nbytes;
    to->result_nbytes += it->result_nbytes;
}

/* Of retried attempts, too: that time is gone as well. */
static void sum_use(total *to, const achar__journal_record *it)
{
    if (it->started_ns) {
        int64_t run_ns = it->ended_ns - it->started_ns;
        to->run_ns += run_ns;
        to->wait_ns += it->attempt ? 0 : it->started_ns - it->submitted_ns;
        if (it->calls == 1 && run_ns > to->longest_ns) {
            to->longest_ns = run_ns;
        }
    }
    to->cpu_ns += it->cpu_ns;
    if (it->peak_nbytes > to->peak_nbytes) {
        to->peak_nbytes = it->peak_nbytes;
    }
}

/* ---- the slowest, the last failures ---- */

static int64_t duration_of(const achar__journal_record *it)
{
    return (it->ended_ns - it->started_ns) / it->calls;
}

static void rank(achar__record *record, uint32_t pool, const achar__journal_record *it)
{
    size_t at = record->slowest_count;
    if (!it->started_ns ||
        (at == SLOWEST_COUNT && duration_of(&record->slowest[at - 1].record) >= duration_of(it))) {
        return;
    }
    at = at < SLOWEST_COUNT ? record->slowest_count++ : at - 1;
    for (; at && duration_of(&record->slowest[at - 1].record) < duration_of(it); at--) {
        record->slowest[at] = record->slowest[at - 1];
    }
    record->slowest[at] = (slow){.pool = pool, .record = *it};
    record->slowest[at].record.text = NULL;
    record->slowest[at].record.raised_numbers = NULL;
    record->slowest_dirty = true;
}

/* Takes over the text. Of a piece, it is the last call's that raised. */
static void keep_failure(achar__record *record, uint32_t pool, achar__journal_record *it)
{
    failure *to = &record->failures[record->failure_count++ % FAILURES_COUNT];
    achar__journal_record_clear(&to->record);
    *to = (failure){.pool = pool, .dirty = true, .record = *it};
    if (it->raised_numbers) {
        to->record.number = it->raised_numbers[it->raised - 1];
        to->record.raised_numbers = NULL;
    }
    it->text = NULL;
}

/* ---- submissions ---- */

static void open_submission(achar__record *record, source *from, const achar__journal_record *it)
{
    if (from->opening_count == from->opening_capacity) {
        size_t capacity = from->opening_capacity * 2 + 256;
        opening *grown = realloc(from->openings, capacity * sizeof *grown);
        if (!grown) {
            drop(record);
            return;
        }
        from->openings = grown;
        from->opening_capacity = capacity;
    }
    from->openings[from->opening_count++] = (opening){.number = it->number,
                                                      .calls = it->calls,
                                                      .calls_left = it->calls,
                                                      .name = it->name,
                                                      .map = it->map,
                                                      .item = it->item,
                                                      .submitted_ns = it->submitted_ns,
                                                      .parent = it->parent,
                                                      .args_nbytes = it->args_nbytes};
}

/* The submission that has this call; numbers go up, so those that end in order are found at once. NULL: it
 * was written in an earlier tick. */
static opening *find_submission(source *from, uint32_t number)
{
    size_t low = 0, high = from->opening_count;
    if (from->opening_next < high && from->openings[from->opening_next].number == number) {
        return &from->openings[from->opening_next++];
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        const opening *it = &from->openings[middle];
        if (number < it->number) {
            high = middle;
        } else if (number - it->number >= it->calls) {
            low = middle + 1;
        } else {
            from->opening_next = middle + 1;
            return &from->openings[middle];
        }
    }
    return NULL;
}

static void close_submission(source *from, const achar__journal_record *it)
{
    opening *of = find_submission(from, it->number);
    if (of) {
        of->calls_left -= it->calls < of->calls_left ? it->calls : of->calls_left;
    }
}

static void write_submissions(achar__record *record, source *from, writing *open)
{
    for (size_t i = 0; i < from->opening_count; i++) {
        const opening *it = &from->openings[i];
        if (it->calls_left) {
            add_item(record, &open->submitted, from->pool,
                     &(achar__journal_record){.kind = ACHAR__JOURNAL_SUBMITTED,
                                              .number = it->number,
                                              .calls = it->calls,
                                              .name = it->name,
                                              .map = it->map,
                                              .item = it->item,
                                              .submitted_ns = it->submitted_ns,
                                              .parent = it->parent,
                                              .args_nbytes = it->args_nbytes});
        }
    }
    from->opening_count = from->opening_next = 0;
}

/* ---- one record ---- */

static void digest_end(achar__record *record, source *from, writing *open,
                       achar__journal_record *it)
{
    bool is_last = it->kind == ACHAR__JOURNAL_ENDED;
    total *sums = total_of(from, it->name);
    add_item(record, is_last ? &open->ended : &open->retried, from->pool, it);
    if (sums) {
        sum_use(sums, it);
        if (is_last) {
            sum_ended(sums, it);
        } else {
            sums->retries++;
        }
    }
    if (is_last) {
        close_submission(from, it);
        from->ended += it->calls;
        from->failed += it->how == ACHAR__TASK_RETURNED    ? it->raised
                        : it->how == ACHAR__TASK_CANCELLED ? 0
                                                           : it->calls;
        rank(record, from->pool, it);
    }
    if (it->how != ACHAR__TASK_CANCELLED && (it->how != ACHAR__TASK_RETURNED || it->raised)) {
        keep_failure(record, from->pool, it);
    }
    achar__journal_record_clear(it);
}

static void digest_one(achar__record *record, source *from, writing *open,
                       achar__journal_record *it)
{
    total *sums;
    switch (it->kind) {
    case ACHAR__JOURNAL_SUBMITTED:
        open_submission(record, from, it);
        from->submitted += it->calls;
        if ((sums = total_of(from, it->name))) {
            sums->submitted += it->calls;
        }
        break;
    case ACHAR__JOURNAL_RETRIED:
    case ACHAR__JOURNAL_ENDED:
        digest_end(record, from, open, it);
        break;
    default:
        add_event(record, from->pool, it);
    }
}

static void note_dropped(achar__record *record, source *from)
{
    uint64_t dropped = achar__journal_dropped(from->journal);
    atomic_fetch_add(&record->dropped, dropped - from->dropped);
    from->dropped = dropped;
}

size_t record_digest(achar__record *record, source *from)
{
    writing open = {0};
    size_t count = 0, there;
    bool more;
    do {
        achar__journal_record *records = achar__journal_peek(from->journal, &there);
        for (size_t i = 0; i < there; i++) {
            digest_one(record, from, &open, &records[i]);
        }
        more = achar__journal_pass(from->journal, there);
        count += there;
    } while (there && more && record->pending_nbytes < PENDING_NBYTES_MAX);
    write_submissions(record, from, &open);
    note_dropped(record, from);
    return count;
}

void record_give_up_items(achar__record *record)
{
    record->gives_up = true;
    while (record->pending) {
        batch *it = record->pending;
        record->pending = it->next;
        atomic_fetch_add(&record->dropped, it->count);
        record->pending_count -= it->count;
        record->pending_nbytes -= it->items.nbytes;
        free_batch(it);
    }
    record->pending_end = &record->pending;
    for (source *from = record->known; from; from = from->next) {
        while (record_digest(record, from)) {
        }
    }
}
