/*
 * test_holders.c - which processes have which objects, and which places in the registry: what is left
 * of that when one is killed at any step, and that all of it is used again.
 */
#include "kit.h"

#include "runtime/sync/holders.h"

/* How often a test's victims died, for the eye. */
static void report(const char *name, unsigned deaths)
{
    print_message("           %s: killed at %u steps\n", name, deaths);
    assert_in_range(deaths, 1, 100);
}

/* ---- who holds objects ---- */

static unsigned count_events(achar_space *space, uint32_t *dropped)
{
    unsigned count = 0;
    *dropped = 0;
    for (achar_cell *cell = NULL; (cell = achar__cell_next(space, cell));) {
        if (atomic_load(&cell->kind) == ACHAR__CELL_EVENT) {
            count++;
            *dropped += (atomic_load(&cell->standing) & ACHAR__CELL_DROPPED) != 0;
        }
    }
    return count;
}

/* Makes objects, sends one, finds it by its number, lets go of them; dies with two, one of them sent. */
static void hold_and_let_go(void *argument)
{
    achar_space *space = argument;
    achar_event own, sent, kept[2];
    achar_cell *found;
    achar__ticket(space);
    achar_event_create(space, &own);
    achar__holder_begin(space, own.cell);
    achar_event_create(space, &sent);
    achar__holder_begin(space, sent.cell);
    achar__holder_send(space, sent.cell, false);
    achar__holder_find(space, achar_sync_id(space, sent.cell), ACHAR_SYNC_EVENT, &found);
    achar__holder_end(space, own.cell, false);
    achar__holder_end(space, sent.cell, false);
    achar__holder_end(space, found, false);
    for (int i = 0; i < 2; i++) {
        achar_event_create(space, &kept[i]);
        achar__holder_begin(space, kept[i].cell);
    }
    achar__holder_send(space, kept[0].cell, false);
}

/*
 * What the dead held is there to be used again, wherever they were killed: but for a new object whose
 * holder was not written down yet, which stays.
 */
static void holder_of_objects_dies(void **state)
{
    unsigned n = 1, stayed = 0;
    for (bool killed = true; killed; n++) {
        achar_space *space = kit_space(1);
        uint32_t dropped;
        unsigned before = count_events(space, &dropped);
        killed = kit_was_killed(kit_fork(hold_and_let_go, space, n));
        achar__reap_the_dead(space);
        unsigned left = count_events(space, &dropped) - before - dropped;
        assert_in_range(left, 0, killed ? 1 : 0);
        stayed += left;
        assert_true(achar__holders_reclaim(space) == (dropped > 0));
        while (achar__holders_reclaim(space)) {
        }
        assert_int_equal(count_events(space, &dropped), before + left);
        assert_int_equal(dropped, 0);
        /* A place that is used again has no trace of the dead. */
        achar_event event;
        assert_status(achar_event_create(space, &event), ACHAR_OK);
        achar__holder_begin(space, event.cell);
        achar__holder_end(space, event.cell, false);
        assert_int_equal(count_events(space, &dropped), before + left);
        achar_space_close(space);
    }
    report("holder of objects", n - 2);
    assert_in_range(stayed, 0, 4); /* once for each that it makes */
}

static void drop_many(void *argument)
{
    achar_space *space = argument;
    achar__holders_reclaim(space);
}

/* Who makes room is killed: all of it is made all the same, but for the object of that moment. */
static void reclaimer_dies(void **state)
{
    unsigned n = 1;
    for (bool killed = true; killed; n++) {
        achar_space *space = kit_space(1);
        uint32_t dropped;
        unsigned before = count_events(space, &dropped);
        for (int i = 0; i < 3; i++) {
            achar_event event;
            assert_status(achar_event_create(space, &event), ACHAR_OK);
            achar__holder_begin(space, event.cell);
            assert_status(achar__holder_send(space, event.cell, false), ACHAR_OK);
            achar__holder_end(space, event.cell, false);
        }
        killed = kit_was_killed(kit_fork(drop_many, space, n));
        while (achar__holders_reclaim(space)) {
        }
        assert_int_equal(count_events(space, &dropped), before);
        achar_space_close(space);
    }
    report("reclaimer", n - 2);
}

/* ---- the registry ---- */

static void join_only(void *argument)
{
    achar__ticket(argument);
}

/* Places are used again: many more processes come and die than there are places; nobody waits. */
static void places_are_used_again(void **state)
{
    achar_space *space = kit_space(1);
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT + 50; i++) {
        kit_was_killed(kit_fork(join_only, space, i % 3));
    }
    unsigned here = 0;
    achar__reap_the_dead(space);
    for (unsigned i = 0; i < ACHAR__PROCESS_COUNT; i++) {
        here += (atomic_load(&space->header->processes[i].claim) & 0xffff) != 0;
    }
    assert_int_equal(here, 1);
    achar_space_close(space);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(holder_of_objects_dies),
        KIT_TEST(reclaimer_dies),
        KIT_TEST(places_are_used_again),
    };
    return cmocka_run_group_tests_name("sync holders", tests, NULL, NULL);
}
