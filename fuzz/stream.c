/*
 * stream.c - one pickle after another: from memory, from a stdio stream that hands out a few bytes
 * at a time, and from a descriptor come the same graphs, the same errors, the same offsets.
 */
#include "exercise.h"
#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A stdio stream over memory. */
typedef struct source {
    const uint8_t *data;
    size_t nbytes;
    size_t step_nbytes; /* at most so much at once */
} source;

static ssize_t read_some(void *opaque, char *out, size_t nbytes)
{
    source *s = opaque;
    if (nbytes > s->step_nbytes)
        nbytes = s->step_nbytes;
    if (nbytes > s->nbytes)
        nbytes = s->nbytes;
    if (nbytes != 0)
        memcpy(out, s->data, nbytes);
    s->data += nbytes;
    s->nbytes -= nbytes;
    return (ssize_t)nbytes;
}

typedef struct outcome {
    size_t graphs_count;
    uint64_t offset; /* where the last good pickle ended */
    int status;
    achar_error error;
    kept json;
} outcome;

/* Reads to the end, closes the reader. */
static void read_all(achar_reader *reader, outcome *o)
{
    achar_graph *graph;
    *o = (outcome){0};
    kept_init(&o->json);
    while ((o->status = achar_reader_next(reader, &graph, &o->error)) == ACHAR_OK && graph) {
        o->graphs_count++;
        achar_json(graph, NULL, &o->json.sink, NULL);
        achar_graph_free(graph);
    }
    REQUIRE(graph == NULL, "a graph after the end");
    o->offset = achar_reader_offset(reader);
    if (o->status != ACHAR_OK)
        REQUIRE(achar_reader_next(reader, &graph, NULL) == o->status, "errors stay");
    achar_reader_close(reader);
}

static void expect_same(const outcome *memory, const outcome *other, const char *name)
{
    REQUIRE(memory->status == other->status, "%s from memory, %s from %s",
            achar_status_name(memory->status), achar_status_name(other->status), name);
    REQUIRE(memory->graphs_count == other->graphs_count && memory->offset == other->offset,
            "%zu graphs to %llu, from %s %zu to %llu", memory->graphs_count,
            (unsigned long long)memory->offset, name, other->graphs_count,
            (unsigned long long)other->offset);
    REQUIRE(kept_same(&memory->json, &other->json), "other values from %s", name);
    /* The words may differ: a file is read up to where the error is plain, and no further. */
    if (memory->status != ACHAR_OK)
        REQUIRE(memory->error.offset == other->error.offset &&
                    memory->error.opcode == other->error.opcode,
                "%llu: %s; from %s %llu: %s", (unsigned long long)memory->error.offset,
                memory->error.message, name, (unsigned long long)other->error.offset,
                other->error.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    static int fd = -1;
    achar_reader *reader;
    outcome from_memory, from_file, from_fd;

    REQUIRE(achar_reader_open_memory(data, nbytes, NULL, &reader) == ACHAR_OK, "memory");
    read_all(reader, &from_memory);

    source s = {data, nbytes, nbytes == 0 ? 1 : 1 + data[0] % 9};
    FILE *file = fopencookie(&s, "rb", (cookie_io_functions_t){.read = read_some});
    setvbuf(file, NULL, _IONBF, 0);
    REQUIRE(achar_reader_open_file(file, NULL, &reader) == ACHAR_OK, "file");
    read_all(reader, &from_file);
    expect_same(&from_memory, &from_file, "a file");
    if (from_file.status == ACHAR_OK)
        REQUIRE(s.nbytes == 0, "%zu bytes left", s.nbytes);
    fclose(file);

    if (fd < 0)
        fd = memfd_create("input", MFD_CLOEXEC);
    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, data, nbytes, 0) == (ssize_t)nbytes &&
                lseek(fd, 0, SEEK_SET) == 0,
            "memfd");
    REQUIRE(achar_reader_open_fd(fd, NULL, &reader) == ACHAR_OK, "descriptor");
    read_all(reader, &from_fd);
    expect_same(&from_memory, &from_fd, "a descriptor");

    kept_free(&from_memory.json);
    kept_free(&from_file.json);
    kept_free(&from_fd.json);
    return 0;
}
