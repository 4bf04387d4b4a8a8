/* test_trace.c - traces of the golden pickles, damaged and with memory running out; what lines and pages
 * say is compared with CPython in tests/codec. `make stress` takes all allocations, prefixes and changes. */
#include "kit.h"

#include <stdlib.h>

#include "exercise_trace.h"

static void without_memory(const char *name, const unsigned char *data, size_t nbytes)
{
    counting c;
    if (nbytes > (stress() ? 300 : 40))
        return; /* time is squared here */
    for (int way = 0; way < TRACE_WAYS; way++) {
        counting_init(&c, 0);
        trace_one_way(data, nbytes, way, &c.allocator);
        assert_int_equal(c.now_nbytes, 0);
        size_t calls = c.calls;
        for (size_t fail_at = 1 + nbytes % each(3); fail_at <= calls; fail_at += each(3)) {
            counting_init(&c, fail_at);
            trace_one_way(data, nbytes, way, &c.allocator);
            if (c.now_nbytes != 0)
                fail_msg("%s: %zu bytes left after allocation %zu failed", name, c.now_nbytes,
                         fail_at);
        }
    }
}

static void the_nth_allocation_fails(void **state)
{
    for_each_golden(without_memory);
}

/* The first 'nbytes' in a block of exactly that size, one byte of them changed: as lines, and in one
 * of the other ways. */
static void trace_copy(const unsigned char *data, size_t nbytes, size_t changed, unsigned char byte)
{
    unsigned char *copy = malloc(nbytes == 0 ? 1 : nbytes);
    memcpy(copy, data, nbytes);
    if (changed < nbytes)
        copy[changed] = byte;
    trace_as_read(copy, nbytes, NULL);
    trace_one_way(copy, nbytes, 1 + (int)((nbytes + byte) % (TRACE_WAYS - 1)), NULL);
    free(copy);
}

static void prefixes_of(const char *name, const unsigned char *data, size_t nbytes)
{
    size_t step = stress() ? 1 : 1 + nbytes / 20;
    for (size_t size = 0; size <= nbytes && (stress() || size < 500); size += step)
        trace_copy(data, size, SIZE_MAX, 0);
}

static void prefixes(void **state)
{
    for_each_golden(prefixes_of);
}

static void changes_of(const char *name, const unsigned char *data, size_t nbytes)
{
    static const char bytes[] = "\xff.(0tb";
    if (nbytes > (stress() ? 500 : 45))
        return;
    for (size_t i = 0; i < nbytes; i++)
        for (size_t j = i % each(2); j < sizeof bytes - 1; j += each(2))
            trace_copy(data, nbytes, i, (unsigned char)bytes[j]);
}

static void changed_bytes(void **state)
{
    for_each_golden(changes_of);
}

static void the_sink_stops(void **state)
{
    static const unsigned char data[] = "](K\x01K\x02"
                                        "e.";
    for (int format = ACHAR_TRACE_TEXT; format <= ACHAR_TRACE_HTML; format++) {
        achar_trace_options options = {.format = format};
        for (size_t fail_after = 1; fail_after < 400; fail_after += 7) {
            achar_error error;
            kept out;
            kept_init(&out);
            out.fail_after = fail_after;
            int status = achar_trace(data, sizeof data - 1, &options, &out.sink, NULL, &error);
            assert_int_equal(status, ACHAR_E_IO);
            assert_true(out.nbytes <= fail_after);
            kept_free(&out);
        }
    }
}

/* Values inside themselves, which only a GET or DUP can make, and which count themselves alive. */
static void cycles(void **state)
{
    static const char *const pickles[] = {"]2a.", "}(K\0012u.", "]q\0(h\0h\0eq\0h\0a.",
                                          "(cm\nf\n)Rq\0h\0b.", "]2a0]2a0N."};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        counting c;
        counting_init(&c, 0);
        /* some hold NULs: long enough for all, and what follows STOP is not looked at */
        unsigned char data[40] = {0};
        memcpy(data, pickles[i], i == 2 ? 15 : i == 3 ? 14 : strlen(pickles[i]));
        trace_everything(data, sizeof data, &c.allocator);
        assert_int_equal(c.now_nbytes, 0);
    }
}

/* A nesting as deep as the input is long is let go without recursion. */
static void deep(void **state)
{
    enum { DEPTH = 500000 };
    unsigned char *data = malloc(2 * DEPTH + 3);
    memset(data, ')', 1);
    memset(data + 1, 0x85, DEPTH);
    data[DEPTH + 1] = '0';
    memset(data + DEPTH + 2, ']', DEPTH);
    data[2 * DEPTH + 2] = '.';
    achar_trace_options options = {.first_step = UINT64_MAX};
    assert_int_equal(achar_trace(data, 2 * DEPTH + 3, &options, &nowhere, NULL, NULL), ACHAR_OK);
    free(data);
}

static void wrong_options(void **state)
{
    achar_error error;
    achar_trace_options options = {.format = 7};
    assert_int_equal(achar_trace("N.", 2, &options, &nowhere, NULL, &error), ACHAR_E_INVALID);
    assert_int_equal(achar_trace(NULL, 2, NULL, &nowhere, NULL, &error), ACHAR_E_INVALID);
    assert_int_equal(achar_trace(NULL, 0, NULL, &nowhere, NULL, &error), ACHAR_E_TRUNCATED);
    assert_int_equal(achar_trace("N.", 2, NULL, &nowhere, NULL, NULL), ACHAR_OK);
    options = (achar_trace_options){.max_nbytes = 100};
    assert_int_equal(achar_trace("N.", 2, &options, &nowhere, NULL, &error), ACHAR_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(changed_bytes),
        cmocka_unit_test(the_sink_stops),
        cmocka_unit_test(cycles),
        cmocka_unit_test(deep),
        cmocka_unit_test(wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
