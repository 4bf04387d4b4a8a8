/*
 * journal.c - the list of chunks between the pool and the reader of its journal, and the names in it.
 *
 *    head ─► [chunk, being read] ─► [chunk] ─► [chunk, being written] ◄─ tail
 *
 * The writer fills its chunk, tells how far ('filled', released), and links the next one when it is full.
 * The reader reads below 'filled', and leaves a chunk only when it is full, read, and has a next one. The
 * chunk that it leaves becomes the spare, which the writer takes before it asks for memory.
 */
#include "runtime/pool/journal.h"
#include "runtime/pool/pool_internal.h"

#include <stdlib.h>
#include <string.h>

#define NAMES_MAX     65536 /* beyond it, tasks have the name 0 */
#define NAME_NBYTES   200   /* longer ones are cut */
#define BUCKETS_FIRST 64

typedef struct chunk {
    struct chunk *_Atomic next;
    _Atomic uint32_t filled;
    achar__journal_record records[ACHAR__JOURNAL_CHUNK_RECORDS];
} chunk;

typedef struct name {
    struct name *next;   /* in its bucket */
    struct name *before; /* all of them, the newest first */
    uint64_t hash;
    uint32_t id;
    size_t nbytes;
    char text[];
} name;

struct achar__journal {
    _Atomic uint32_t ref_count;
    uint32_t source;
    achar__journal_bell *bell;
    chunk *head; /* the reader's */
    uint32_t head_taken;
    chunk *tail; /* the writer's */
    uint64_t filled_count;
    chunk *_Atomic spare;
    _Atomic uint32_t chunk_count;
    _Atomic uint64_t dropped_count;
    _Atomic bool ended;

    name **buckets, *names;
    size_t bucket_count, name_count;
    const name *last_name; /* that was asked for */

    pthread_mutex_t looking;     /* before the writer's own lock */
    achar__journal_looker *look; /* NULL: not yet, or no longer */
    void *writer;
};

void achar__journal_record_clear(achar__journal_record *record)
{
    if (record->kind != ACHAR__JOURNAL_NAME) {
        free(record->text);
    }
    free(record->raised_numbers);
    record->text = NULL;
    record->raised_numbers = NULL;
}

static chunk *new_chunk(achar__journal *journal)
{
    chunk *it = atomic_exchange(&journal->spare, NULL);
    if (!it) {
        if (atomic_fetch_add(&journal->chunk_count, 1) >= ACHAR__JOURNAL_CHUNKS_MAX ||
            !(it = malloc(sizeof *it))) {
            atomic_fetch_sub(&journal->chunk_count, 1);
            return NULL;
        }
    }
    atomic_store_explicit(&it->next, NULL, memory_order_relaxed);
    atomic_store_explicit(&it->filled, 0, memory_order_relaxed);
    return it;
}

achar__journal_bell *achar__journal_bell_new(void)
{
    achar__journal_bell *bell = calloc(1, sizeof *bell);
    if (bell) {
        atomic_init(&bell->ref_count, 1);
    }
    return bell;
}

void achar__journal_bell_release(achar__journal_bell *bell)
{
    if (bell && atomic_fetch_sub(&bell->ref_count, 1) == 1) {
        free(bell);
    }
}

achar__journal *achar__journal_new(uint32_t source, achar__journal_bell *bell)
{
    achar__journal *journal = calloc(1, sizeof *journal);
    if (!journal) {
        return NULL;
    }
    atomic_init(&journal->ref_count, 1);
    pthread_mutex_init(&journal->looking, NULL);
    journal->source = source;
    journal->bell = bell;
    atomic_fetch_add(&bell->ref_count, 1);
    journal->bucket_count = BUCKETS_FIRST;
    journal->buckets = calloc(journal->bucket_count, sizeof(name *));
    journal->head = journal->tail = new_chunk(journal);
    if (!journal->buckets || !journal->head) {
        achar__journal_release(journal);
        return NULL;
    }
    return journal;
}

achar__journal *achar__journal_retain(achar__journal *journal)
{
    atomic_fetch_add(&journal->ref_count, 1);
    return journal;
}

void achar__journal_release(achar__journal *journal)
{
    if (!journal || atomic_fetch_sub(&journal->ref_count, 1) != 1) {
        return;
    }
    achar__journal_record record;
    while (journal->head && achar__journal_take(journal, &record, 1)) {
        achar__journal_record_clear(&record);
    }
    for (chunk *it = journal->head; it;) {
        chunk *next = atomic_load(&it->next);
        free(it);
        it = next;
    }
    free(atomic_load(&journal->spare));
    for (name *it = journal->names; it;) {
        name *before = it->before;
        free(it);
        it = before;
    }
    free(journal->buckets);
    pthread_mutex_destroy(&journal->looking);
    achar__journal_bell_release(journal->bell);
    free(journal);
}

uint32_t achar__journal_source(const achar__journal *journal)
{
    return journal->source;
}

/* ---- names ---- */

static uint64_t hash_of(const char *text, size_t nbytes)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < nbytes; i++) {
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

/* Without memory the chains grow longer, and that is all. */
static void grow_buckets(achar__journal *journal)
{
    size_t count = journal->bucket_count * 4;
    name **buckets = calloc(count, sizeof *buckets);
    if (!buckets) {
        return;
    }
    for (name *it = journal->names; it; it = it->before) {
        it->next = buckets[it->hash % count];
        buckets[it->hash % count] = it;
    }
    free(journal->buckets);
    journal->buckets = buckets;
    journal->bucket_count = count;
}

/* Where UTF-8 may be cut so that at most 'limit' bytes are left. */
static size_t cut(const char *text, size_t nbytes, size_t limit)
{
    if (nbytes <= limit) {
        return nbytes;
    }
    while (limit && ((unsigned char)text[limit] & 0xC0) == 0x80) {
        limit--;
    }
    return limit;
}

uint32_t achar__journal_name(achar__journal *journal, const char *text, size_t nbytes)
{
    nbytes = cut(text, nbytes, NAME_NBYTES);
    const name *last = journal->last_name;
    if (last && last->nbytes == nbytes && memcmp(last->text, text, nbytes) == 0) {
        return last->id;
    }
    uint64_t hash = hash_of(text, nbytes);
    for (name *it = journal->buckets[hash % journal->bucket_count]; it; it = it->next) {
        if (it->hash == hash && it->nbytes == nbytes && memcmp(it->text, text, nbytes) == 0) {
            journal->last_name = it;
            return it->id;
        }
    }
    if (journal->name_count >= NAMES_MAX) {
        return 0;
    }
    if (journal->name_count >= 2 * journal->bucket_count) {
        grow_buckets(journal);
    }
    name *it = malloc(sizeof *it + nbytes + 1);
    if (!it) {
        return 0;
    }
    memcpy(it->text, text, nbytes);
    it->text[nbytes] = '\0';
    it->nbytes = nbytes;
    it->hash = hash;
    it->id = (uint32_t)++journal->name_count;
    it->next = journal->buckets[hash % journal->bucket_count];
    journal->buckets[hash % journal->bucket_count] = it;
    it->before = journal->names;
    journal->names = it;
    achar__journal_put(journal, &(achar__journal_record){
                                    .kind = ACHAR__JOURNAL_NAME, .name = it->id, .text = it->text});
    return it->id;
}

/* ---- writing ---- */

void achar__journal_put(achar__journal *journal, const achar__journal_record *record)
{
    chunk *tail = journal->tail;
    uint32_t filled = atomic_load_explicit(&tail->filled, memory_order_relaxed);
    if (filled == ACHAR__JOURNAL_CHUNK_RECORDS) {
        chunk *next = new_chunk(journal);
        if (!next) {
            atomic_fetch_add(&journal->dropped_count, 1);
            achar__journal_record it = *record;
            achar__journal_record_clear(&it);
            return;
        }
        atomic_store_explicit(&tail->next, next, memory_order_release);
        journal->tail = tail = next;
        filled = 0;
        if (++journal->filled_count % ACHAR__JOURNAL_CHUNKS_RING == 0) {
            achar__futex_ring(&journal->bell->word, false);
        }
    }
    tail->records[filled] = *record;
    atomic_store_explicit(&tail->filled, filled + 1, memory_order_release);
}

void achar__journal_end(achar__journal *journal)
{
    if (!atomic_exchange(&journal->ended, true)) {
        achar__futex_ring(&journal->bell->word, false);
    }
}

/* ---- reading ---- */

static void leave_chunk(achar__journal *journal, chunk *next)
{
    chunk *old = atomic_exchange(&journal->spare, journal->head);
    if (old) {
        free(old);
        atomic_fetch_sub(&journal->chunk_count, 1);
    }
    journal->head = next;
    journal->head_taken = 0;
}

achar__journal_record *achar__journal_peek(achar__journal *journal, size_t *count)
{
    if (journal->head_taken == ACHAR__JOURNAL_CHUNK_RECORDS) {
        chunk *next = atomic_load_explicit(&journal->head->next, memory_order_acquire);
        if (next) {
            leave_chunk(journal, next);
        }
    }
    uint32_t filled = atomic_load_explicit(&journal->head->filled, memory_order_acquire);
    *count = filled - journal->head_taken;
    return journal->head->records + journal->head_taken;
}

bool achar__journal_pass(achar__journal *journal, size_t count)
{
    journal->head_taken += (uint32_t)count;
    return journal->head_taken == ACHAR__JOURNAL_CHUNK_RECORDS;
}

size_t achar__journal_take(achar__journal *journal, achar__journal_record *out, size_t capacity)
{
    size_t count = 0, there;
    while (count < capacity) {
        const achar__journal_record *records = achar__journal_peek(journal, &there);
        there = there < capacity - count ? there : capacity - count;
        if (!there) {
            break;
        }
        memcpy(out + count, records, there * sizeof *out);
        achar__journal_pass(journal, there);
        count += there;
    }
    return count;
}

uint64_t achar__journal_dropped(const achar__journal *journal)
{
    return atomic_load(&journal->dropped_count);
}

bool achar__journal_has_ended(const achar__journal *journal)
{
    return atomic_load(&journal->ended);
}

/* ---- who writes it, to be looked at ---- */

void achar__journal_attach(achar__journal *journal, achar__journal_looker *look, void *writer)
{
    pthread_mutex_lock(&journal->looking);
    journal->look = look;
    journal->writer = writer;
    pthread_mutex_unlock(&journal->looking);
}

size_t achar__journal_look(achar__journal *journal, achar__journal_sight *out, size_t capacity,
                           achar__journal_load *load)
{
    size_t count = 0;
    *load = (achar__journal_load){0};
    pthread_mutex_lock(&journal->looking);
    if (journal->look) {
        count = journal->look(journal->writer, out, capacity, load);
    }
    pthread_mutex_unlock(&journal->looking);
    return count;
}
