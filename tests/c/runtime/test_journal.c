/*
 * test_journal.c - the journal: one writer and one reader at once, nothing lost, or counted; and what a pool of
 * echo workers tells.
 */
#include "kit.h"
#include "runtime/pool/journal.h"

#include <achar/status.h>
#include <pthread.h>
#include <stdlib.h>

enum { MANY = 200000 };

static void *write_many(void *argument)
{
    achar__journal *journal = argument;
    for (uint32_t i = 1; i <= MANY; i++) {
        achar__journal_record record = {.kind = ACHAR__JOURNAL_SUBMITTED, .number = i};
        achar__journal_put(journal, &record);
    }
    achar__journal_end(journal);
    return NULL;
}

static void test_all_arrives_in_order(void **state)
{
    achar__journal_bell *bell = achar__journal_bell_new();
    achar__journal *journal = achar__journal_new(0, bell);
    achar__journal_record records[100];
    pthread_t writer;
    uint32_t seen = 0;
    assert_int_equal(pthread_create(&writer, NULL, write_many, journal), 0);
    for (bool ended = false; !ended;) {
        ended = achar__journal_has_ended(journal);
        for (size_t count; (count = achar__journal_take(journal, records, 100));) {
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(records[i].number, ++seen);
            }
        }
    }
    pthread_join(writer, NULL);
    assert_int_equal(seen, MANY);
    assert_int_equal(achar__journal_dropped(journal), 0);
    achar__journal_release(journal);
    achar__journal_bell_release(bell);
}

static void test_what_finds_no_room_is_counted_and_its_text_freed(void **state)
{
    achar__journal_bell *bell = achar__journal_bell_new();
    achar__journal *journal = achar__journal_new(0, bell);
    size_t most = (size_t)ACHAR__JOURNAL_CHUNKS_MAX * ACHAR__JOURNAL_CHUNK_RECORDS;
    for (size_t i = 0; i < most + 10; i++) {
        char *text = i % 1000 == 0 || i >= most ? strdup("an error") : NULL;
        achar__journal_put(journal, &(achar__journal_record){.kind = ACHAR__JOURNAL_ENDED,
                                                             .number = (uint32_t)i,
                                                             .text = text});
    }
    assert_int_equal(achar__journal_dropped(journal), 10);
    achar__journal_record record;
    for (uint32_t i = 0; i < 3 * ACHAR__JOURNAL_CHUNK_RECORDS; i++) {
        assert_int_equal(achar__journal_take(journal, &record, 1), 1);
        assert_int_equal(record.number, i);
        free(record.text);
    }
    /* There is room again. */
    achar__journal_put(journal, &(achar__journal_record){.kind = ACHAR__JOURNAL_ENDED});
    assert_int_equal(achar__journal_dropped(journal), 10);
    achar__journal_release(journal); /* with all that is left in it */
    achar__journal_bell_release(bell);
}

static void test_names_are_told_once(void **state)
{
    achar__journal_bell *bell = achar__journal_bell_new();
    achar__journal *journal = achar__journal_new(0, bell);
    char text[512];
    uint32_t first = achar__journal_name(journal, "first", 5);
    for (int i = 0; i < 1000; i++) {
        int nbytes = snprintf(text, sizeof text, "name %d", i);
        uint32_t id = achar__journal_name(journal, text, (size_t)nbytes);
        assert_int_equal(achar__journal_name(journal, text, (size_t)nbytes), id);
    }
    assert_int_equal(achar__journal_name(journal, "first", 5), first);
    memset(text, 'x', 199); /* cut in front of a character that would be cut in two */
    memcpy(text + 199, "\xc3\xa4...", 6);
    achar__journal_name(journal, text, 204);
    size_t count = 0;
    for (achar__journal_record record; achar__journal_take(journal, &record, 1); count++) {
        assert_int_equal(record.kind, ACHAR__JOURNAL_NAME);
        if (count == 1001) {
            assert_int_equal(strlen(record.text), 199);
        }
    }
    assert_int_equal(count, 1002);
    achar__journal_release(journal);
    achar__journal_bell_release(bell);
}

/* What is told of a pool, counted. */
typedef struct tally {
    size_t submitted, ends[16], retried, workers_started, workers_ended[16];
} tally;

static void take_all(achar__journal *journal, tally *to)
{
    achar__journal_record record;
    while (achar__journal_take(journal, &record, 1)) {
        switch (record.kind) {
        case ACHAR__JOURNAL_SUBMITTED:
            to->submitted += record.calls;
            assert_true(record.submitted_ns > 0);
            break;
        case ACHAR__JOURNAL_ENDED:
            to->ends[record.how] += record.calls;
            assert_true(record.ended_ns >= record.started_ns);
            free(record.text);
            break;
        case ACHAR__JOURNAL_RETRIED:
            to->retried++;
            free(record.text);
            break;
        case ACHAR__JOURNAL_WORKER_STARTED:
            to->workers_started++;
            break;
        case ACHAR__JOURNAL_WORKER_ENDED:
            to->workers_ended[record.how]++;
            free(record.text);
            break;
        default:
            break;
        }
    }
}

static void test_a_pool_tells_what_happens(void **state)
{
    const char *argv[] = {kit_echo_worker(), NULL};
    achar__journal_bell *bell = achar__journal_bell_new();
    achar__journal *journal = achar__journal_new(3, bell);
    achar__pool_options options = {.worker_argv = argv, .worker_count = 2, .journal = journal};
    achar__pool *pool;
    tally told = {0};
    assert_status(achar__pool_create(&options, &pool), ACHAR_OK);
    for (int i = 0; i < 500; i++) {
        kit_expect(kit_submit(pool, "echo hello"), ACHAR__TASK_RETURNED, "hello");
    }
    achar__task *died = kit_submit(pool, "exit 7");
    kit_expect_death(died, ACHAR__TASK_LOST, 7, 0);
    achar__journal_sight sights[4];
    achar__journal_load load;
    kit_expect_works(pool);
    assert_true(achar__journal_look(journal, sights, 4, &load) >= 1);
    achar__pool_progress progress = achar__pool_progress_of(pool);
    kit_end(pool);
    assert_int_equal(achar__journal_look(journal, sights, 4, &load), 0);
    assert_true(achar__journal_has_ended(journal));
    take_all(journal, &told);
    assert_int_equal(progress.submitted, told.submitted);
    assert_int_equal(progress.ended, told.submitted);
    assert_int_equal(progress.failed, 1);
    assert_int_equal(told.ends[ACHAR__TASK_RETURNED], told.submitted - 1);
    assert_int_equal(told.ends[ACHAR__TASK_LOST], 1);
    size_t ended = 0;
    for (size_t i = 0; i < 16; i++) {
        ended += told.workers_ended[i];
    }
    assert_int_equal(told.workers_started, ended);
    assert_int_equal(told.workers_ended[ACHAR__END_EXITED], 1);
    achar__journal_release(journal);
    achar__journal_bell_release(bell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(test_all_arrives_in_order),
        KIT_TEST(test_what_finds_no_room_is_counted_and_its_text_freed),
        KIT_TEST(test_names_are_told_once),
        KIT_TEST(test_a_pool_tells_what_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
