/*
 * library.c - libachar's side of library.py: times and weighs reading and writing, with no Python.
 *
 *     library reads FILE      loops: a number of them comes in on stdin, the seconds go out
 *     library writes FILE     the same, for writing what was read (protocol 5)
 *     library weigh FILE      bytes of memory, once: one line of NAME NUMBER pairs
 *
 * What is freed belongs to the loop. Memory is what the allocator was asked for, which is what the
 * library decides; 'values' are the places in the graph where one stands.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <achar/achar.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fail(const char *what, const achar_error *error)
{
    fprintf(stderr, "%s: offset %" PRIu64 ": %s\n", what, error->offset, error->message);
    return EXIT_FAILURE;
}

/* ---- time ---- */

static int time_loops(const unsigned char *data, size_t nbytes, int writing)
{
    achar_graph *graph = NULL;
    achar_bytes bytes;
    achar_error error;
    if (writing && achar_read(data, nbytes, NULL, &graph, NULL, &error) != ACHAR_OK)
        return fail("read", &error);
    long loops;
    while (scanf("%ld", &loops) == 1) {
        double start = seconds();
        for (long i = 0; i < loops; i++) {
            if (writing && achar_write(graph, 5, NULL, &bytes, &error) != ACHAR_OK)
                return fail("write", &error);
            if (!writing && achar_read(data, nbytes, NULL, &graph, NULL, &error) != ACHAR_OK)
                return fail("read", &error);
            if (writing)
                achar_bytes_free(&bytes, NULL);
            else
                achar_graph_free(graph);
        }
        printf("%.9f\n", seconds() - start);
        fflush(stdout);
    }
    if (writing)
        achar_graph_free(graph);
    return EXIT_SUCCESS;
}

/* What "at memory speed" is measured by. */
static int time_copies(const unsigned char *data, size_t nbytes)
{
    unsigned char *copy = malloc(nbytes + 1);
    if (copy == NULL)
        return EXIT_FAILURE;
    long loops;
    while (scanf("%ld", &loops) == 1) {
        double start = seconds();
        for (long i = 0; i < loops; i++) {
            memcpy(copy, data, nbytes);
            __asm__ volatile("" : : "r"(copy) : "memory"); /* it is made each time */
        }
        printf("%.9f\n", seconds() - start);
        fflush(stdout);
    }
    free(copy);
    return EXIT_SUCCESS;
}

/* ---- memory ---- */

typedef struct scales {
    size_t used_nbytes;
    size_t peak_nbytes;
} scales;

static void *weigh_block(void *opaque, void *block, size_t old_nbytes, size_t new_nbytes)
{
    scales *s = opaque;
    if (new_nbytes == 0) {
        s->used_nbytes -= old_nbytes;
        free(block);
        return NULL;
    }
    void *moved = realloc(block, new_nbytes);
    if (moved == NULL)
        return NULL;
    s->used_nbytes += new_nbytes - old_nbytes;
    if (s->used_nbytes > s->peak_nbytes)
        s->peak_nbytes = s->used_nbytes;
    return moved;
}

static size_t output_nbytes;

static int count_output(void *opaque, const void *data, size_t nbytes)
{
    (void)opaque, (void)data;
    output_nbytes += nbytes;
    return 0;
}

/* The places of values in a graph whose containers nest, are not shared and have no changes; the
 * cases that are weighed are so. Depth is theirs. */
static size_t count_values(achar_value value)
{
    size_t count = 1;
    for (size_t i = 0; i < achar_count(value); i++) {
        if (achar_kind(value) == ACHAR_DICT)
            count +=
                count_values(achar_pair_key(value, i)) + count_values(achar_pair_value(value, i));
        else
            count += count_values(achar_item(value, i));
    }
    return count;
}

static int weigh(const unsigned char *data, size_t nbytes)
{
    scales s = {0};
    achar_allocator allocator = {weigh_block, &s};
    achar_read_options read_options = {.allocator = &allocator};
    achar_write_options write_options = {.allocator = &allocator};
    achar_sink sink = {count_output, NULL};
    achar_graph *graph;
    achar_error error;
    double start = seconds();
    if (achar_read(data, nbytes, &read_options, &graph, NULL, &error) != ACHAR_OK)
        return fail("read", &error);
    double read_seconds = seconds() - start;
    size_t kept_nbytes = s.used_nbytes, read_peak_nbytes = s.peak_nbytes;
    s.peak_nbytes = s.used_nbytes;
    start = seconds();
    if (achar_write_to(graph, 5, &write_options, &sink, &error) != ACHAR_OK)
        return fail("write", &error);
    double write_seconds = seconds() - start;
    printf("input %zu output %zu kept %zu read_peak %zu write_peak %zu read_ns %.0f write_ns %.0f "
           "values %zu\n",
           nbytes, output_nbytes, kept_nbytes, read_peak_nbytes, s.peak_nbytes - kept_nbytes,
           read_seconds * 1e9, write_seconds * 1e9,
           achar_effects_count(graph) == 0 ? count_values(achar_root(graph)) : 0);
    achar_graph_free(graph);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        perror(argc == 3 ? argv[2] : "usage: library reads|writes|copies|weigh FILE");
        return 2;
    }
    size_t nbytes = (size_t)ftell(file);
    rewind(file);
    unsigned char *data = malloc(nbytes + 1);
    if (data == NULL || fread(data, 1, nbytes, file) != nbytes) {
        perror(argv[2]);
        return 2;
    }
    fclose(file);
    int result = strcmp(argv[1], "weigh") == 0    ? weigh(data, nbytes)
                 : strcmp(argv[1], "copies") == 0 ? time_copies(data, nbytes)
                                                  : time_loops(data, nbytes, argv[1][0] == 'w');
    free(data);
    return result;
}
