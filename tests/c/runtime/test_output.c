/* test_output.c - what workers write: lines, frames, last words, and a client that does not read. */
#include "runtime/pool/output.h"
#include "runtime/pool/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_NS INT64_C(150000000000)

static achar__pool *pool_of(const char *script, enum achar__output_mode output)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    const achar__pool_options options = {.worker_argv = argv, .worker_count = 1, .output = output};
    achar__pool *pool = NULL;
    assert_int_equal(achar__pool_create(&options, &pool), ACHAR_OK);
    return pool;
}

/* All that comes until the pool has ended, as text of both streams, with what was dropped counted. */
static char *read_all(achar__pool *pool, int descriptor, uint64_t *dropped_nbytes)
{
    size_t nbytes = 0;
    char *all = calloc(1, 1);
    for (;;) {
        achar__output_piece *pieces = NULL;
        int status = achar__pool_take_output(pool, LIMIT_NS, &pieces);
        if (status == ACHAR_E_CLOSED) {
            return all;
        }
        assert_int_equal(status, ACHAR_OK);
        for (achar__output_piece *piece = pieces; piece; piece = piece->next) {
            *dropped_nbytes += piece->dropped_nbytes;
            if (piece->descriptor == descriptor && piece->nbytes) {
                all = realloc(all, nbytes + piece->nbytes + 1);
                memcpy(all + nbytes, piece->data, piece->nbytes);
                nbytes += piece->nbytes;
                all[nbytes] = '\0';
            }
        }
        achar__output_pieces_free(pieces);
    }
}

/* Submits a task that no worker will do, and waits for it. */
static void expect_last_words(achar__pool *pool, const char *words)
{
    achar__function *function = NULL;
    achar__task *task = NULL;
    achar__task_result result;
    assert_int_equal(achar__pool_function(pool, "f", 1, 0, &function), ACHAR_OK);
    assert_int_equal(achar__pool_submit(pool, function, NULL, 0, NULL, &task), ACHAR_OK);
    assert_int_equal(achar__task_wait(task, LIMIT_NS), ACHAR_OK);
    achar__task_result_of(task, &result);
    assert_int_equal(result.state, ACHAR__TASK_ABANDONED);
    if (words) {
        assert_non_null(result.last_words);
        assert_string_equal(result.last_words, words);
    } else {
        assert_null(result.last_words);
    }
    achar__task_release(task);
    achar__function_release(function);
}

static void test_lines_and_last_words(void **state)
{
    (void)state;
    uint64_t dropped = 0;
    achar__pool *pool =
        pool_of("echo out; echo err >&2; printf 'a\\0b\\nno end'; exit 3", ACHAR__OUTPUT_DELIVER);
    expect_last_words(pool, "err\n");
    achar__pool_close(pool);
    char *out = read_all(pool, 1, &dropped);
    assert_true(strncmp(out, "out\na", 5) == 0);
    assert_int_equal(dropped, 0);
    free(out);
    achar__pool_release(pool);

    pool = pool_of("echo err >&2; exit 3", ACHAR__OUTPUT_DISCARD);
    expect_last_words(pool, "err\n");
    achar__pool_close(pool);
    out = read_all(pool, 2, &dropped);
    assert_string_equal(out, "");
    free(out);
    achar__pool_release(pool);

    pool = pool_of("exit 3", ACHAR__OUTPUT_INHERIT);
    expect_last_words(pool, NULL);
    achar__output_piece *none;
    assert_int_equal(achar__pool_take_output(pool, 0, &none), ACHAR_E_INVALID);
    achar__pool_release(pool);
}

static void test_frames(void **state)
{
    (void)state;
    uint64_t dropped = 0;
    /* kind 1, a name of 2 bytes, number 7, process 1, 4 bytes; one that is cut; and one that is none. */
    achar__pool *pool = pool_of("printf '\\0achar\\001\\002\\007\\0\\0\\0\\001\\0\\0\\0"
                                "\\004\\0\\0\\0nmabc\\n'; "
                                "printf '\\0achar\\011'; printf '\\0ach'; exit 3",
                                ACHAR__OUTPUT_DELIVER);
    achar__output_piece *pieces = NULL;
    while (achar__pool_take_output(pool, LIMIT_NS, &pieces) == ACHAR_OK && pieces->nbytes == 0) {
        achar__output_pieces_free(pieces);
    }
    assert_int_equal(pieces->kind, ACHAR__OUTPUT_TEXT);
    assert_int_equal(pieces->number, 7);
    assert_memory_equal(pieces->data, "abc\n", 4);
    assert_int_equal(pieces->name_nbytes, 2);
    assert_memory_equal(pieces->name, "nm", 2);
    achar__output_pieces_free(pieces);
    achar__pool_close(pool);
    free(read_all(pool, 1, &dropped));
    achar__pool_release(pool);
}

#define FRAME(kind, pid, nbytes, data)                                                             \
    "printf '\\0achar\\00" #kind "\\0\\007\\0\\0\\0\\00" #pid "\\0\\0\\0\\00" #nbytes              \
    "\\0\\0\\0" data "'; "

/* Two processes that send a record at the same time, and one that dies within one. */
static void test_records_of_two_processes(void **state)
{
    (void)state;
    static const char *const expected[] = {"ABCD", "xyz"};
    size_t found = 0;
    achar__output_piece *pieces;
    achar__pool *pool = pool_of(FRAME(2, 3, 2, "??") FRAME(2, 1, 2, "AB") FRAME(2, 2, 1, "x")
                                    FRAME(3, 1, 2, "CD") FRAME(3, 2, 2, "yz") "exit 3",
                                ACHAR__OUTPUT_DELIVER);
    expect_last_words(pool, NULL);
    achar__pool_close(pool);
    while (achar__pool_take_output(pool, LIMIT_NS, &pieces) == ACHAR_OK) {
        for (const achar__output_piece *it = pieces; it; it = it->next) {
            if (it->kind == ACHAR__OUTPUT_RECORD && found < 2) {
                assert_int_equal(it->nbytes, strlen(expected[found]));
                assert_memory_equal(it->data, expected[found], it->nbytes);
                found++;
            }
        }
        achar__output_pieces_free(pieces);
    }
    assert_int_equal(found, 2);
    achar__pool_release(pool);
}

/* Nobody takes anything: the worker writes 8 MB all the same, and then what is lost is told. */
static void test_a_client_that_does_not_read(void **state)
{
    (void)state;
    uint64_t dropped = 0;
    achar__pool *pool = pool_of("yes 0123456789 | head -c 8000000; exit 3", ACHAR__OUTPUT_DELIVER);
    expect_last_words(pool, NULL);
    achar__pool_close(pool);
    char *out = read_all(pool, 1, &dropped);
    assert_true(strlen(out) >= 1000000);
    assert_true(strncmp(out, "0123456789\n0123456789\n", 22) == 0);
    assert_true(dropped > 0);
    free(out);
    achar__pool_release(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_and_last_words),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_records_of_two_processes),
        cmocka_unit_test(test_a_client_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
