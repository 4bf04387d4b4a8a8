/* test_memory.c - the N-th allocation fails, for every N: an error, no crash, nothing left behind. Of the golden
 * pickles, which are many, every third N under a sanitizer; all there, and larger ones, in `make stress`. */
#include "kit.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __has_feature
#if __has_feature(memory_sanitizer)
#define MALLOC_IS_REPLACED /* and what mallinfo2() says counts as never set */
#endif
#endif

static size_t mapped_blocks_count(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33) && !defined(MALLOC_IS_REPLACED)
    return mallinfo2().hblks;
#else
    return 0; /* nobody to ask */
#endif
}

/*
 * What glibc maps from the kernel, and what it keeps, is for the program to say; glibc itself learns
 * from the largest block that was freed. So after a graph is freed, a block that is larger than all
 * of the graph was is still mapped.
 */
static void malloc_is_left_as_it_was(void **state)
{
    enum { COUNT = 100000, NBYTES = 5 * COUNT + 3 };
    char *data = malloc(NBYTES);
    assert_non_null(data);
    data[0] = '(';
    for (size_t i = 0; i < COUNT; i++)
        memcpy(data + 1 + 5 * i, "](K\1e", 5);
    memcpy(data + 1 + 5 * COUNT, "l.", 2);
    size_t before_count = mapped_blocks_count();
    void *first = malloc(64 << 20);
    assert_non_null(first);
    bool is_glibc = mapped_blocks_count() == before_count + 1; /* and no sanitizer's malloc */

    counting c;
    counting_init(&c, 0);
    achar_read_options options = {.allocator = &c.allocator};
    achar_graph *graph;
    assert_int_equal(achar_read(data, NBYTES, &options, &graph, NULL, NULL), ACHAR_OK);
    achar_graph_free(graph);
    size_t larger_nbytes = c.peak_nbytes + c.peak_nbytes / 2;

    for (int i = 0; i < 3; i++)
        achar_graph_free(read_bytes(data, NBYTES));
    before_count = mapped_blocks_count();
    void *second = malloc(larger_nbytes);
    assert_non_null(second);
    if (is_glibc)
        assert_int_equal(mapped_blocks_count(), before_count + 1);
    free(second);
    free(first);
    free(data);
}

static void golden_under_failure(const char *name, const unsigned char *data, size_t nbytes)
{
    counting c;
    if (nbytes > (stress() ? 4000 : 300))
        return; /* more of the same, and time is squared here */
    counting_init(&c, 0);
    achar_read_options options = {.allocator = &c.allocator, .encoding = ACHAR_ENCODING_LATIN1};
    use_everything(data, nbytes, &options, 0);
    assert_int_equal(c.now_nbytes, 0);
    size_t calls = c.calls;
    for (size_t fail_at = 1 + nbytes % each(3); fail_at <= calls; fail_at += each(3)) {
        counting_init(&c, fail_at);
        int status = use_everything(data, nbytes, &options, 0);
        if (status != ACHAR_OK)
            assert_int_equal(status, ACHAR_E_NOMEM);
        if (c.now_nbytes != 0)
            fail_msg("%s: %zu bytes left after allocation %zu failed", name, c.now_nbytes, fail_at);
    }
}

static void goldens(void **state)
{
    for_each_golden(golden_under_failure);
}

static void build_something(achar_graph *graph)
{
    achar_value list = achar_make_list(graph);
    for (int i = 0; i < 1500; i++)
        achar_append(graph, list, achar_make_int(i));
    achar_value dict = achar_make_dict(graph);
    achar_put(graph, dict, "list", list);
    achar_put(graph, dict, "again", list);
    achar_put(graph, dict, "big", achar_make_int_decimal(graph, "123456789012345678901234567890"));
    achar_value arguments = achar_make_tuple(graph, &dict, 1);
    achar_value call = achar_make_call(graph, ACHAR_CALL_REDUCE, achar_make_global(graph, "m", "f"),
                                       arguments, achar_nothing());
    achar_build(graph, call, dict);
    achar_append(graph, list, call);
    achar_set_root(graph, call);
}

static void building(void **state)
{
    counting c;
    size_t calls = SIZE_MAX;
    for (size_t fail_at = 0; fail_at <= calls || fail_at == 0; fail_at++) {
        counting_init(&c, fail_at);
        achar_graph *graph = achar_graph_new(&c.allocator);
        build_something(graph);
        int status = achar_graph_status(graph);
        assert_int_equal(status, fail_at == 0 ? ACHAR_OK : ACHAR_E_NOMEM);
        achar_graph_free(graph);
        assert_int_equal(c.now_nbytes, 0);
        if (fail_at == 0)
            calls = c.calls;
    }
}

static void streams(void **state)
{
    static const char data[] = "](I1\nVabc\\u20ac\ne.\x80\x02}X\x01\0\0\0aK\x01s.N.";
    counting c;
    size_t calls = SIZE_MAX;
    for (size_t fail_at = 0; fail_at <= calls || fail_at == 0; fail_at++) {
        counting_init(&c, fail_at);
        achar_read_options options = {.allocator = &c.allocator};
        FILE *file = tmpfile();
        assert_non_null(file);
        fwrite(data, 1, sizeof data - 1, file);
        rewind(file);
        achar_reader *reader;
        int status = achar_reader_open_file(file, &options, &reader);
        achar_graph *graph = NULL;
        int graphs = 0;
        while (status == ACHAR_OK) {
            status = achar_reader_next(reader, &graph, NULL);
            if (graph == NULL)
                break;
            achar_graph_free(graph);
            graphs++;
        }
        assert_int_equal(status, fail_at == 0 ? ACHAR_OK : ACHAR_E_NOMEM);
        if (fail_at == 0)
            assert_int_equal(graphs, 3);
        achar_reader_close(reader);
        fclose(file);
        assert_int_equal(c.now_nbytes, 0);
        if (fail_at == 0)
            calls = c.calls;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malloc_is_left_as_it_was), /* first: nothing large was freed before */
        cmocka_unit_test(goldens),
        cmocka_unit_test(building),
        cmocka_unit_test(streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
