/* test_window.c - parts of a region that a process writes as its own. */
#include "kit.h"

#include "runtime/shm/forked.h"
#include "runtime/shm/window.h"

#include <achar/status.h>
#include <stdlib.h>
#include <sys/wait.h>

#define MIB        ((size_t)1 << 20)
#define PAGE       ((size_t)4096)
#define PART_AT    (64 * PAGE)
#define PART_BYTES (10 * PAGE)

typedef struct place {
    achar__region writer, reader;
    int fd;
} place;

static void place_make(place *it)
{
    assert_status(achar__region_create("test", MIB, MIB, &it->fd), ACHAR_OK);
    assert_status(achar__region_map(it->fd, true, &it->writer), ACHAR_OK);
    assert_status(achar__region_map(it->fd, false, &it->reader), ACHAR_OK);
    achar__region_mirror(&it->reader, it->fd, -1);
    assert_non_null(it->reader.mirror);
    memset(it->writer.base, 'w', MIB);
}

static void place_end(place *it)
{
    achar__region_unmap(&it->reader);
    achar__region_unmap(&it->writer);
    close(it->fd);
}

static void writes_are_private_and_forgotten(void **state)
{
    place it;
    achar__window window;
    place_make(&it);
    for (int round = 0; round < 3; round++) {
        assert_true(achar__window_open(&window, &it.reader, it.reader.base + PART_AT, PART_BYTES));
        for (size_t at = 0; at < PART_BYTES; at++) {
            assert_int_equal(window.data[at], 'w');
        }
        memset(window.data, 'm', PART_BYTES);
        assert_int_equal(it.reader.base[PART_AT], 'w');
        assert_int_equal(it.writer.base[PART_AT + PART_BYTES - 1], 'w');
        achar__window_close(&window);
        assert_null(window.data);
        achar__window_close(&window);
    }
    place_end(&it);
}

static void who_writes_is_seen(void **state)
{
    place it;
    achar__window window;
    volatile unsigned char sum = 0;
    place_make(&it);
    for (int round = 0; round < 2; round++) {
        assert_true(achar__window_open(&window, &it.reader, it.reader.base + PART_AT, PART_BYTES));
        assert_true(achar__window_is_unwritten(window.data, PART_BYTES));
        for (size_t at = 0; at < PART_BYTES; at++) {
            sum += window.data[at];
        }
        assert_true(achar__window_is_unwritten(window.data, PART_BYTES - 1));
        window.data[5 * PAGE + 7] = 'w'; /* the same byte, and yet a page of its own */
        assert_true(achar__window_is_unwritten(window.data, 5 * PAGE));
        assert_false(achar__window_is_unwritten(window.data, 5 * PAGE + 1));
        assert_true(achar__window_is_unwritten(window.data + 6 * PAGE, 4 * PAGE));
        assert_false(achar__window_is_unwritten(window.data, PART_BYTES));
        assert_false(achar__window_is_unwritten(window.data + 1, PAGE));
        achar__window_close(&window);
    }
    place_end(&it);
}

/* A large one that was only read stays mapped: the next sees what the region has by then. */
static void the_next_one_sees_the_region(void **state)
{
    place it;
    achar__window window;
    place_make(&it);
    for (int round = 0; round < 6; round++) {
        memset(it.writer.base, 'a' + round, MIB);
        assert_true(achar__window_open(&window, &it.reader, it.reader.base, MIB));
        for (size_t at = 0; at < MIB; at++) {
            assert_int_equal(window.data[at], 'a' + round);
        }
        if (round % 3 == 1) {
            window.data[MIB - 1] = 'm';
        } else if (round == 3) { /* pages that are given back, and come again */
            assert_true(achar__region_punch(&it.writer, 0, MIB));
        }
        achar__window_close(&window);
    }
    place_end(&it);
}

static void one_user_at_a_time(void **state)
{
    place it;
    achar__window window, other, third;
    place_make(&it);
    unsigned char *part = it.reader.base + PART_AT;
    assert_true(achar__window_open(&window, &it.reader, part, PART_BYTES));
    assert_false(achar__window_open(&other, &it.reader, part, PAGE));
    assert_false(achar__window_open(&other, &it.reader, part + PART_BYTES - PAGE, 2 * PAGE));
    assert_false(achar__window_open(&other, &it.reader, part - PAGE, PAGE + 1));
    assert_true(achar__window_open(&other, &it.reader, part + PART_BYTES, 1));
    assert_true(achar__window_open(&third, &it.reader, part - PAGE, PAGE));
    achar__window_close(&other);
    achar__window_close(&window);
    assert_true(achar__window_open(&window, &it.reader, part, PART_BYTES));
    achar__window_close(&third);
    achar__window_close(&window);
    place_end(&it);
}

static void what_cannot_be_a_window(void **state)
{
    place it;
    achar__window window;
    place_make(&it);
    assert_false(achar__window_open(&window, &it.reader, it.reader.base + 64, PAGE));
    assert_false(achar__window_open(&window, &it.reader, it.reader.base, 0));
    assert_false(achar__window_open(&window, &it.reader, it.reader.base, MIB + 1));
    assert_false(achar__window_open(&window, &it.reader, it.reader.base - PAGE, PAGE));
    assert_false(achar__window_open(&window, &it.writer, it.writer.base, PAGE)); /* no mirror */
    assert_true(achar__window_open(&window, &it.reader, it.reader.base, MIB));
    achar__window_close(&window);
    place_end(&it);
}

static void a_shorter_region_has_a_shorter_mirror(void **state)
{
    place it;
    achar__window window;
    place_make(&it);
    achar__region_shorten(&it.reader, MIB / 2);
    assert_false(achar__window_open(&window, &it.reader, it.reader.base + MIB / 2, PAGE));
    assert_true(achar__window_open(&window, &it.reader, it.reader.base, MIB / 2));
    memset(window.data, 'm', MIB / 2);
    achar__window_close(&window);
    place_end(&it);
}

/* The region may be written anew as soon as this process has closed its window; the child has its own. */
static void a_fork_has_its_copy(void **state)
{
    place it;
    achar__window window;
    int go[2];
    char byte;
    place_make(&it);
    assert_int_equal(pipe(go), 0);
    assert_true(achar__window_open(&window, &it.reader, it.reader.base + PART_AT, PART_BYTES));
    window.data[1] = 'm';
    pid_t child = fork();
    if (child == 0) {
        bool good = read(go[0], &byte, 1) == 1 && window.data[1] == 'm';
        for (size_t at = 2; at < PART_BYTES; at++) {
            good = good && window.data[at] == 'w';
        }
        achar__window_close(&window);
        good = good && achar__window_open(&window, &it.reader, it.reader.base + PART_AT, PAGE);
        _exit(good ? 0 : 1);
    }
    achar__window_close(&window);
    memset(it.writer.base, 'x', MIB);
    assert_true(achar__window_open(&window, &it.reader, it.reader.base + PART_AT, PART_BYTES));
    assert_int_equal(window.data[1], 'x');
    achar__window_close(&window);
    assert_int_equal(write(go[1], "!", 1), 1);
    assert_int_equal(kit_exit_code(child), 0);
    close(go[0]);
    close(go[1]);
    place_end(&it);
}

static pid_t fork_that_exits(void)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    return child;
}

/* A page that says whether anybody lives who was forked meanwhile, whatever descriptors it has closed. */
static void forks_are_known_as_long_as_they_live(void **state)
{
    int go[2], gone[2];
    char byte;
    assert_int_equal(pipe(go), 0);
    assert_int_equal(pipe(gone), 0);
    uint64_t before = achar__forked_count();
    kit_exit_code(fork_that_exits());
    assert_int_equal(achar__forked_count(), before); /* nobody watched */
    achar__forked_watch();
    pid_t child = fork();
    if (child == 0) {
        close(go[1]);
        for (int fd = 3; fd < 64; fd++) {
            if (fd != go[0] && fd != gone[1]) {
                close(fd);
            }
        }
        if (fork() == 0) {
            _exit(read(go[0], &byte, 1) == 1 ? 0 : 1);
        }
        _exit(0);
    }
    close(gone[1]);
    uint64_t until = achar__forked_count();
    assert_int_equal(until, before + 1);
    assert_int_equal(kit_exit_code(child), 0);
    assert_true(achar__forked_may_see(before, until)); /* the child's child */
    assert_false(achar__forked_may_see(until, until));
    assert_int_equal(write(go[1], "!", 1), 1);
    assert_int_equal(read(gone[0], &byte, 1), 0);
    while (achar__forked_may_see(before,
                                 until)) { /* its memory goes after its descriptors, or before */
        usleep(1000);
    }
    int lowest_fd = dup(0);
    close(lowest_fd);
    for (int i = 0; i < 100; i++) { /* nobody asks meanwhile */
        assert_int_equal(kit_exit_code(fork_that_exits()), 0);
    }
    int fd = dup(0);
    close(fd);
    assert_in_range(fd, lowest_fd, lowest_fd + 40);
    achar__forked_unwatch();
    close(go[0]);
    close(go[1]);
    close(gone[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        KIT_TEST(writes_are_private_and_forgotten),
        KIT_TEST(who_writes_is_seen),
        KIT_TEST(the_next_one_sees_the_region),
        KIT_TEST(one_user_at_a_time),
        KIT_TEST(what_cannot_be_a_window),
        KIT_TEST(a_shorter_region_has_a_shorter_mirror),
        KIT_TEST(a_fork_has_its_copy),
        KIT_TEST(forks_are_known_as_long_as_they_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
