/*
 * build.c - a program of calls of build.h, taken from the bytes, some of them wrong. The graph then
 * has a status that the header names, is written in every protocol, and read back it is the graph
 * that was built. A second run of the program has its memory end somewhere.
 */
#include "exercise.h"
#include "fuzz.h"

#include <string.h>

/* What is left of the input. At its end it yields zeroes. */
typedef struct script {
    const uint8_t *data;
    size_t nbytes;
} script;

static unsigned take(script *s)
{
    if (s->nbytes == 0)
        return 0;
    s->nbytes--;
    return *s->data++;
}

static const char *take_bytes(script *s, size_t *nbytes)
{
    *nbytes = take(s);
    if (*nbytes > s->nbytes)
        *nbytes = s->nbytes;
    const char *bytes = (const char *)s->data;
    s->data += *nbytes;
    s->nbytes -= *nbytes;
    return bytes;
}

enum { VALUES_COUNT = 16 };

static achar_value pick(script *s, const achar_value *values)
{
    return values[take(s) % VALUES_COUNT];
}

static achar_value make(script *s, achar_graph *graph, const achar_value *values, unsigned what)
{
    size_t nbytes;
    const char *bytes;
    achar_value items[4] = {values[0], values[1], pick(s, values), pick(s, values)};
    switch (what % 22) {
    case 0:
        return achar_make_none();
    case 1:
        return achar_make_bool((int)take(s) & 1);
    case 2:
        return achar_make_int((int64_t)((uint64_t)take(s) << take(s) % 64));
    case 3:
        return achar_make_float((double)take(s) / 3);
    case 4:
        bytes = take_bytes(s, &nbytes);
        return achar_make_int_bytes(graph, bytes, nbytes);
    case 5:
        return achar_make_int_decimal(graph, take(s) & 1 ? "-1000000000000000000000" : "1e5");
    case 6:
        return achar_make_str(graph, "text");
    case 7:
        bytes = take_bytes(s, &nbytes);
        return achar_make_text(graph, bytes, nbytes);
    case 8:
        bytes = take_bytes(s, &nbytes);
        return achar_make_bytes(graph, bytes, nbytes);
    case 9:
        bytes = take_bytes(s, &nbytes);
        return achar_make_bytearray(graph, bytes, nbytes);
    case 10:
        bytes = take_bytes(s, &nbytes);
        return achar_borrow_text(graph, bytes, nbytes);
    case 11:
        bytes = take_bytes(s, &nbytes);
        return achar_borrow_bytes(graph, bytes, nbytes);
    case 12:
        return achar_make_list(graph);
    case 13:
        return achar_make_dict(graph);
    case 14:
        return achar_make_set(graph);
    case 15:
        return achar_make_tuple(graph, items, take(s) % 5);
    case 16:
        return achar_make_frozenset(graph, items, take(s) % 5);
    case 17:
        return achar_make_global(graph, take(s) & 1 ? "builtins" : "m", "C.f");
    case 18:
        return achar_make_call(graph, (int)(take(s) % 6), pick(s, values), pick(s, values),
                               take(s) & 1 ? pick(s, values) : achar_nothing());
    case 19:
        return achar_make_extension(graph, (int64_t)take(s));
    case 20:
        return achar_make_persistent(graph, pick(s, values));
    default:
        return achar_make_buffer(graph, (int)take(s) & 1);
    }
}

static void change(script *s, achar_graph *graph, const achar_value *values, unsigned what)
{
    achar_value target = pick(s, values), first = pick(s, values), second = pick(s, values);
    switch (what % 5) {
    case 0:
        achar_append(graph, target, first);
        break;
    case 1:
        achar_set(graph, target, first, second);
        break;
    case 2:
        achar_put(graph, target, "key", first);
        break;
    case 3:
        achar_add(graph, target, first);
        break;
    default:
        achar_build(graph, target, first);
        break;
    }
}

static int run(script s, const achar_allocator *allocator, achar_graph **graph)
{
    achar_value values[VALUES_COUNT];
    *graph = achar_graph_new(allocator);
    for (int i = 0; i < VALUES_COUNT; i++)
        values[i] = achar_make_int(i);
    while (s.nbytes != 0 && achar_graph_status(*graph) == ACHAR_OK) {
        unsigned what = take(&s);
        if (what < 160)
            values[what % VALUES_COUNT] = make(&s, *graph, values, take(&s));
        else
            change(&s, *graph, values, what);
    }
    achar_set_root(*graph, values[0]);
    return achar_graph_status(*graph);
}

static void write_all(achar_graph *graph, const achar_allocator *allocator, bool may_run_out)
{
    static const achar_write_options as_they_are = {.keep_names = 1};
    achar_write_options options = as_they_are;
    options.allocator = allocator;
    for (int protocol = 0; protocol <= 5; protocol++) {
        achar_bytes bytes;
        achar_graph *again;
        int status = achar_write(graph, protocol, &options, &bytes, NULL);
        if (status != ACHAR_OK) {
            REQUIRE((status == ACHAR_E_UNSUPPORTED && protocol < 5) ||
                        (status == ACHAR_E_NOMEM && may_run_out),
                    "protocol %d: %s", protocol, achar_status_name(status));
            continue;
        }
        achar_error error;
        status = achar_read(bytes.data, bytes.nbytes, NULL, &again, NULL, &error);
        REQUIRE(status == ACHAR_OK, "protocol %d: %s at %llu: %s", protocol,
                achar_status_name(status), (unsigned long long)error.offset, error.message);
        kept built, read;
        kept_init(&built);
        kept_init(&read);
        status = achar_json(graph, allocator, &built.sink, NULL);
        REQUIRE(status == ACHAR_OK || (status == ACHAR_E_NOMEM && may_run_out), "%s",
                achar_status_name(status));
        REQUIRE(achar_json(again, NULL, &read.sink, NULL) == ACHAR_OK, "JSON");
        if (protocol == 5 && status == ACHAR_OK)
            REQUIRE(kept_same(&built, &read), "\n%s%s", built.text, read.text);
        kept_free(&built);
        kept_free(&read);
        achar_graph_free(again);
        achar_bytes_free(&bytes, allocator);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    counting c;
    achar_graph *graph;
    unsigned choice = nbytes == 0 ? 0 : data[nbytes - 1];
    script s = {data, nbytes};

    counting_init(&c, 0);
    int status = run(s, &c.allocator, &graph);
    REQUIRE(status == ACHAR_OK || status == ACHAR_E_INVALID || status == ACHAR_E_TYPE ||
                status == ACHAR_E_TEXT || status == ACHAR_E_NUMBER,
            "%s", achar_status_name(status));
    if (status == ACHAR_OK)
        write_all(graph, &c.allocator, false);
    achar_graph_free(graph);
    REQUIRE(c.now_nbytes == 0, "%zu bytes left", c.now_nbytes);

    counting_init(&c, 1 + choice % (c.calls + 1));
    int short_of_memory = run(s, &c.allocator, &graph);
    REQUIRE(short_of_memory == status || short_of_memory == ACHAR_E_NOMEM, "%s",
            achar_status_name(short_of_memory));
    if (short_of_memory == ACHAR_OK)
        write_all(graph, &c.allocator, true);
    achar_graph_free(graph);
    REQUIRE(c.now_nbytes == 0, "%zu bytes left", c.now_nbytes);
    return 0;
}
