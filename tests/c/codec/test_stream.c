/* test_stream.c - several pickles one after another: memory, stdio streams, descriptors. */
#include "kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* How much memchr() has looked at: the linker gives the library this one. */
static size_t searched_nbytes;

void *__real_memchr(const void *data, int byte, size_t nbytes);
void *__wrap_memchr(const void *data, int byte, size_t nbytes);

void *__wrap_memchr(const void *data, int byte, size_t nbytes)
{
    const char *found = __real_memchr(data, byte, nbytes);
    searched_nbytes += found == NULL ? nbytes : (size_t)(found + 1 - (const char *)data);
    return (void *)found;
}

/* Three pickles: of lines, in a frame, without one. Returns their size. */
static size_t pickles(char *out)
{
    static const char first[] = "(lp0\nI1\naV\\u20ac\na.";
    static const char second[] = "\x80\x04\x95\x0b\0\0\0\0\0\0\0]\x94(\x8c\x03"
                                 "abcNe.";
    static const char third[] = "\x80\x02K\x07.";
    size_t n = 0;
    memcpy(out + n, first, sizeof first - 1);
    n += sizeof first - 1;
    memcpy(out + n, second, sizeof second - 1);
    n += sizeof second - 1;
    memcpy(out + n, third, sizeof third - 1);
    return n + sizeof third - 1;
}

static void expect_three(achar_reader *reader)
{
    achar_graph *graphs[4];
    achar_error error = {0};
    for (int i = 0; i < 4; i++) {
        int status = achar_reader_next(reader, &graphs[i], &error);
        if (status != ACHAR_OK)
            fail_msg("pickle %d, offset %llu: %s", i, (unsigned long long)error.offset,
                     error.message);
    }
    achar_reader_close(reader); /* graphs outlive it */
    assert_true(achar_text_is(achar_item(achar_root(graphs[0]), 1), "\xe2\x82\xac"));
    assert_true(achar_text_is(achar_item(achar_root(graphs[1]), 0), "abc"));
    assert_int_equal(achar_int64(achar_root(graphs[2])), 7);
    assert_null(graphs[3]);
    for (int i = 0; i < 4; i++)
        achar_graph_free(graphs[i]);
}

static void from_memory(void **state)
{
    char data[128];
    size_t nbytes = pickles(data);
    achar_reader *reader;
    assert_int_equal(achar_reader_open_memory(data, nbytes, NULL, &reader), ACHAR_OK);
    expect_three(reader);
    assert_int_equal(achar_reader_open_memory(NULL, 1, NULL, &reader), ACHAR_E_INVALID);
    assert_null(reader);
}

static FILE *file_of(const char *data, size_t nbytes)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, nbytes, file), nbytes);
    rewind(file);
    return file;
}

static void from_a_file(void **state)
{
    char data[128];
    size_t nbytes = pickles(data);
    FILE *file = file_of(data, nbytes);
    achar_reader *reader;
    assert_int_equal(achar_reader_open_file(file, NULL, &reader), ACHAR_OK);
    expect_three(reader);
    fclose(file);
}

static void a_file_stands_behind_the_pickle(void **state)
{
    static const char data[] = "(lp0\nI1\na.rest\x80\x04\x95\x02\0\0\0\0\0\0\0N.more";
    FILE *file = file_of(data, sizeof data - 1);
    achar_reader *reader;
    achar_graph *graph;
    char word[5] = "";
    assert_int_equal(achar_reader_open_file(file, NULL, &reader), ACHAR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(achar_reader_next(reader, &graph, NULL), ACHAR_OK);
        assert_non_null(graph);
        achar_graph_free(graph);
        assert_int_equal(fread(word, 1, 4, file), 4);
        assert_string_equal(word, i == 0 ? "rest" : "more");
    }
    achar_reader_close(reader);
    fclose(file);
}

static void from_a_pipe_byte_by_byte(void **state)
{
    /* What is read from a pipe is what has arrived: here a byte at a time. */
    char data[128];
    size_t nbytes = pickles(data);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    if (fork() == 0) {
        for (size_t i = 0; i < nbytes; i++) {
            if (write(ends[1], data + i, 1) != 1)
                _exit(1);
            usleep(200);
        }
        _exit(0);
    }
    close(ends[1]);
    achar_reader *reader;
    assert_int_equal(achar_reader_open_fd(ends[0], NULL, &reader), ACHAR_OK);
    expect_three(reader);
    close(ends[0]);
}

static void a_pipe_is_not_waited_on(void **state)
{
    /* The writer keeps its end open: the pickle must come without more. */
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "K\x01.K\x02.", 6), 6);
    achar_reader *reader;
    achar_graph *graph;
    assert_int_equal(achar_reader_open_fd(ends[0], NULL, &reader), ACHAR_OK);
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(achar_reader_next(reader, &graph, NULL), ACHAR_OK);
        assert_int_equal(achar_int64(achar_root(graph)), i);
        achar_graph_free(graph);
        assert_int_equal(achar_reader_offset(reader), 3 * i);
    }
    achar_reader_close(reader);
    close(ends[0]);
    close(ends[1]);
}

static void a_line_in_many_pieces_is_searched_once(void **state)
{
    /* A pipe holds 64 KB, so that it comes in 128 pieces or more. */
    enum { PIECE_NBYTES = 64 << 10, PIECES_COUNT = 128, LINE_NBYTES = PIECE_NBYTES * PIECES_COUNT };
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        static char piece[PIECE_NBYTES];
        memset(piece, 'x', sizeof piece);
        bool good = write(ends[1], "V", 1) == 1;
        for (int i = 0; i < PIECES_COUNT; i++)
            good = good && write(ends[1], piece, sizeof piece) == sizeof piece;
        _exit(good && write(ends[1], "\n.", 2) == 2 ? 0 : 1);
    }
    close(ends[1]);
    achar_reader *reader;
    achar_graph *graph;
    size_t nbytes;
    int child_status;
    assert_int_equal(achar_reader_open_fd(ends[0], NULL, &reader), ACHAR_OK);
    searched_nbytes = 0;
    assert_int_equal(achar_reader_next(reader, &graph, NULL), ACHAR_OK);
    assert_non_null(achar_text(achar_root(graph), &nbytes));
    assert_int_equal(nbytes, LINE_NBYTES);
    /* as it comes, as a token, by the reader, for escapes; not anew with each piece */
    assert_in_range(searched_nbytes, LINE_NBYTES, 5 * LINE_NBYTES);
    achar_graph_free(graph);
    achar_reader_close(reader);
    close(ends[0]);
    assert_int_equal(waitpid(child, &child_status, 0), child);
    assert_int_equal(child_status, 0);
}

static void errors_count_from_the_start_and_stay(void **state)
{
    static const char data[] = "N.N.\x80\x02K";
    FILE *file = file_of(data, sizeof data - 1);
    achar_reader *readers[2];
    assert_int_equal(achar_reader_open_memory(data, sizeof data - 1, NULL, &readers[0]), ACHAR_OK);
    assert_int_equal(achar_reader_open_file(file, NULL, &readers[1]), ACHAR_OK);
    for (int i = 0; i < 2; i++) {
        achar_graph *graph;
        achar_error error;
        for (int j = 0; j < 2; j++) {
            assert_int_equal(achar_reader_next(readers[i], &graph, &error), ACHAR_OK);
            achar_graph_free(graph);
        }
        for (int j = 0; j < 2; j++) {
            assert_int_equal(achar_reader_next(readers[i], &graph, &error), ACHAR_E_TRUNCATED);
            assert_null(graph);
            assert_int_equal(error.offset, 6);
            assert_int_equal(error.opcode, 'K');
        }
        achar_reader_close(readers[i]);
    }
    fclose(file);
}

static void a_bad_descriptor_is_an_io_error(void **state)
{
    achar_reader *reader;
    achar_graph *graph;
    achar_error error;
    assert_int_equal(achar_reader_open_fd(-1, NULL, &reader), ACHAR_OK);
    assert_int_equal(achar_reader_next(reader, &graph, &error), ACHAR_E_IO);
    achar_reader_close(reader);
}

static void a_descriptor_that_does_not_wait_ends_the_reader(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(write(ends[1], "K", 1), 1);
    achar_reader *reader;
    achar_graph *graph;
    achar_error error;
    assert_int_equal(achar_reader_open_fd(ends[0], NULL, &reader), ACHAR_OK);
    assert_int_equal(achar_reader_next(reader, &graph, &error), ACHAR_E_IO);
    assert_non_null(strstr(error.message, strerror(EAGAIN)));
    assert_int_equal(write(ends[1], "\1.", 2), 2);
    assert_int_equal(achar_reader_next(reader, &graph, &error), ACHAR_E_IO);
    assert_null(graph);
    achar_reader_close(reader);
    close(ends[0]);
    close(ends[1]);
}

static void a_lying_size_costs_nothing(void **state)
{
    static const char data[] = "\x80\x04\x8e\0\0\0\0\0\1\0\0abc";
    counting c;
    counting_init(&c, 0);
    achar_read_options options = {.allocator = &c.allocator};
    FILE *file = file_of(data, sizeof data - 1);
    achar_reader *reader;
    achar_graph *graph;
    assert_int_equal(achar_reader_open_file(file, &options, &reader), ACHAR_OK);
    assert_int_equal(achar_reader_next(reader, &graph, NULL), ACHAR_E_TRUNCATED);
    achar_reader_close(reader);
    fclose(file);
    assert_true(c.peak_nbytes < 256 << 10);
    assert_int_equal(c.now_nbytes, 0);
}

/* ---- limits ---- */

enum { FLOATS_COUNT = 100000 };

/* A list of floats, and behind it a small pickle. */
static char *floats(size_t *nbytes)
{
    size_t n = 0;
    char *data = malloc(9 * FLOATS_COUNT + 16);
    assert_non_null(data);
    data[n++] = '(';
    for (size_t i = 0; i < FLOATS_COUNT; i++) {
        memcpy(data + n, "G\x40\x09\x21\xfb\x54\x44\x2d\x18", 9);
        n += 9;
    }
    memcpy(data + n, "l.N.", 4);
    *nbytes = n + 4;
    return data;
}

/* The first pickle of 'file', from its start, by stream or descriptor. */
static int read_first(FILE *file, bool by_descriptor, const achar_read_options *options)
{
    rewind(file);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    achar_reader *reader;
    int status = by_descriptor ? achar_reader_open_fd(fileno(file), options, &reader)
                               : achar_reader_open_file(file, options, &reader);
    achar_graph *graph = NULL;
    if (status == ACHAR_OK)
        status = achar_reader_next(reader, &graph, NULL);
    assert_true(status != ACHAR_OK || achar_count(achar_root(graph)) == FLOATS_COUNT);
    achar_graph_free(graph);
    achar_reader_close(reader);
    return status;
}

static void the_limit_is_for_input_and_graph(void **state)
{
    size_t nbytes;
    char *data = floats(&nbytes);
    FILE *file = file_of(data, nbytes);
    counting c;
    counting_init(&c, 0);
    achar_read_options options = {.allocator = &c.allocator};
    achar_graph *graph;
    assert_int_equal(achar_read(data, nbytes, &options, &graph, NULL, NULL), ACHAR_OK);
    achar_graph_free(graph);
    /* What both need, with some room for what a descriptor has read ahead. */
    size_t enough = nbytes + c.peak_nbytes + (16 << 10);
    for (int by_descriptor = 0; by_descriptor < 2; by_descriptor++)
        for (size_t limit = 1000; limit < 4 * enough; limit += limit / 8) {
            counting_init(&c, 0);
            options.max_nbytes = limit;
            int status = read_first(file, by_descriptor, &options);
            if (limit < nbytes || (limit >= enough && status != ACHAR_OK))
                assert_int_equal(status, limit < nbytes ? ACHAR_E_LIMIT : ACHAR_OK);
            assert_true(status == ACHAR_OK || status == ACHAR_E_LIMIT);
            if (c.peak_nbytes > limit)
                fail_msg("a peak of %zu with a limit of %zu", c.peak_nbytes, limit);
            assert_int_equal(c.now_nbytes, 0);
        }
    fclose(file);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_memory),
        cmocka_unit_test(from_a_file),
        cmocka_unit_test(a_file_stands_behind_the_pickle),
        cmocka_unit_test(from_a_pipe_byte_by_byte),
        cmocka_unit_test(a_pipe_is_not_waited_on),
        cmocka_unit_test(a_line_in_many_pieces_is_searched_once),
        cmocka_unit_test(errors_count_from_the_start_and_stay),
        cmocka_unit_test(a_bad_descriptor_is_an_io_error),
        cmocka_unit_test(a_descriptor_that_does_not_wait_ends_the_reader),
        cmocka_unit_test(a_lying_size_costs_nothing),
        cmocka_unit_test(the_limit_is_for_input_and_graph),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
