/*
 * rewrite.c - write-read round trips: what was read, written in protocol 5 and read again, is the
 * same graph: its JSON, which shows sharing, cycles, calls and changes, is the same text. So it is
 * when the writer no longer knows whether the graph is in order, and goes the long way. The lower
 * protocols say some things in other ways (bytes as calls, sets as calls); what was said so must
 * stay the same when it is written and read once more.
 */
#include "exercise.h"
#include "fuzz.h"

#include <string.h>

/* A graph, the bytes that it came from, and how it looks. */
typedef struct reading {
    achar_bytes bytes;
    achar_graph *graph;
    kept json;
} reading;

static void look(reading *r)
{
    kept_init(&r->json);
    int status = achar_json(r->graph, NULL, &r->json.sink, NULL);
    REQUIRE(status == ACHAR_OK, "%s", achar_status_name(status));
}

static void reading_free(reading *r)
{
    kept_free(&r->json);
    achar_graph_free(r->graph);
    achar_bytes_free(&r->bytes, NULL);
}

/* Writes a graph, in one piece and in several, and reads it. False if the protocol has no way. */
static bool rewrite(achar_graph *graph, int protocol, reading *r)
{
    static const achar_write_options as_they_are = {.keep_names = 1};
    kept pieces;
    achar_error error;
    size_t used_nbytes;
    int status = achar_write(graph, protocol, &as_they_are, &r->bytes, &error);
    kept_init(&pieces);
    int in_pieces = achar_write_to(graph, protocol, &as_they_are, &pieces.sink, NULL);
    REQUIRE(status == in_pieces, "%s in one, %s in pieces", achar_status_name(status),
            achar_status_name(in_pieces));
    if (status != ACHAR_OK) {
        REQUIRE(status == ACHAR_E_UNSUPPORTED && protocol < 5, "protocol %d: %s", protocol,
                error.message);
        kept_free(&pieces);
        return false;
    }
    REQUIRE(r->bytes.nbytes == pieces.nbytes &&
                memcmp(r->bytes.data, pieces.text, pieces.nbytes) == 0,
            "protocol %d: in one, it is not what it is in pieces", protocol);
    kept_free(&pieces);
    status = achar_read(r->bytes.data, r->bytes.nbytes, NULL, &r->graph, &used_nbytes, &error);
    REQUIRE(status == ACHAR_OK, "protocol %d: offset %llu: %s", protocol,
            (unsigned long long)error.offset, error.message);
    REQUIRE(used_nbytes == r->bytes.nbytes, "%zu of %zu bytes", used_nbytes, r->bytes.nbytes);
    look(r);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    reading original = {0}, once, twice;
    achar_read_options options = {.encoding = ACHAR_ENCODING_LATIN1};
    if (achar_read(data, nbytes, &options, &original.graph, NULL, NULL) != ACHAR_OK)
        return 0;
    look(&original);
    for (int i = 0; i <= 6; i++) {
        int protocol = i == 6 ? 5 : i;
        if (i == 6) /* now a program may have changed it */
            achar_make_bytes(original.graph, NULL, 0);
        if (!rewrite(original.graph, protocol, &once))
            continue;
        REQUIRE(protocol < 5 || kept_same(&original.json, &once.json), "\n%s%s", original.json.text,
                once.json.text);
        REQUIRE(rewrite(once.graph, protocol, &twice), "protocol %d has a way", protocol);
        REQUIRE(kept_same(&once.json, &twice.json), "protocol %d\n%s%s", protocol, once.json.text,
                twice.json.text);
        reading_free(&twice);
        reading_free(&once);
    }
    reading_free(&original);
    return 0;
}
