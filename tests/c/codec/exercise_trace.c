/* exercise_trace.c - see exercise_trace.h. */
#include "exercise_trace.h"

#include <string.h>

#include "exercise.h"

/* What a page has more when it ends in a note: <p> and </p>. */
enum { NOTE_TAGS = 2 };

static void check_lines(const kept *out)
{
    for (size_t i = 0; i < out->nbytes; i++) {
        unsigned char byte = (unsigned char)out->text[i];
        REQUIRE(byte == '\n' || (byte >= 0x20 && byte != 0x7f), "byte %02x in a line", byte);
    }
    achar_graph *graph = achar_graph_new(NULL);
    achar_value text = achar_make_text(graph, out->text, out->nbytes);
    REQUIRE(achar_kind(text) == ACHAR_STR, "lines that are not UTF-8");
    achar_graph_free(graph);
}

static size_t tags_count(const kept *out)
{
    size_t count = 0;
    const char *end = out->text + out->nbytes;
    for (const char *at = out->text; (at = memchr(at, '<', (size_t)(end - at))) != NULL; at++)
        count++;
    return count;
}

/* Those of the page of a harmless pickle: what is the page's own. */
static size_t usual_tags_count(void)
{
    static size_t count;
    achar_trace_options options = {.format = ACHAR_TRACE_HTML};
    kept out;
    if (count != 0)
        return count;
    kept_init(&out);
    REQUIRE(achar_trace("N.", 2, &options, &out.sink, NULL, NULL) == ACHAR_OK, "no page");
    count = tags_count(&out);
    kept_free(&out);
    return count;
}

/* One run; its output is checked if it came to an end. */
static int run(const unsigned char *data, size_t nbytes, const achar_trace_options *options,
               achar_error *error)
{
    kept out;
    size_t used_nbytes = SIZE_MAX;
    kept_init(&out);
    int status = achar_trace(data, nbytes, options, &out.sink, &used_nbytes, error);
    REQUIRE(used_nbytes <= nbytes, "%zu of %zu used", used_nbytes, nbytes);
    REQUIRE(status == ACHAR_OK || error->code == status, "%d is not %d", error->code, status);
    if (status != ACHAR_E_NOMEM && options->format == ACHAR_TRACE_TEXT) {
        check_lines(&out);
    } else if (status != ACHAR_E_NOMEM) {
        size_t tags = tags_count(&out), usual = usual_tags_count();
        REQUIRE(tags == usual || tags == usual + NOTE_TAGS, "%zu times '<', not %zu", tags, usual);
    }
    kept_free(&out);
    return status;
}

/* The four ways in which everything is traced. */
static achar_trace_options way(int number, const achar_allocator *allocator)
{
    switch (number) {
    case 0:
        return (achar_trace_options){.allocator = allocator, .encoding = ACHAR_ENCODING_LATIN1};
    case 1:
        return (achar_trace_options){
            .allocator = allocator, .encoding = ACHAR_ENCODING_LATIN1, .format = ACHAR_TRACE_HTML};
    case 2:
        return (achar_trace_options){.allocator = allocator,
                                     .encoding = ACHAR_ENCODING_LATIN1,
                                     .format = ACHAR_TRACE_HTML,
                                     .first_step = 4,
                                     .steps_limit = 9,
                                     .all = 1};
    default:
        return (achar_trace_options){.allocator = allocator, .all = 1, .full = 1, .width = 40};
    }
}

int trace_one_way(const unsigned char *data, size_t nbytes, int number,
                  const achar_allocator *allocator)
{
    achar_error error;
    achar_trace_options options = way(number, allocator);
    return run(data, nbytes, &options, &error);
}

int trace_as_read(const unsigned char *data, size_t nbytes, const achar_allocator *allocator)
{
    achar_error traced, read = {0};
    achar_graph *graph;
    achar_read_options read_options = {.encoding = ACHAR_ENCODING_LATIN1};
    int expected = achar_read(data, nbytes, &read_options, &graph, NULL, &read);
    achar_graph_free(graph);

    achar_trace_options options = way(0, allocator);
    int result = run(data, nbytes, &options, &traced);
    if (result != ACHAR_E_NOMEM || allocator == NULL) {
        REQUIRE(result == expected, "%s, but the reader says %s", achar_status_name(result),
                achar_status_name(expected));
        REQUIRE(result == ACHAR_OK ||
                    (traced.offset == read.offset && traced.opcode == read.opcode &&
                     strcmp(traced.message, read.message) == 0),
                "%llu: %s, but the reader says %llu: %s", (unsigned long long)traced.offset,
                traced.message, (unsigned long long)read.offset, read.message);
    }
    return result;
}

int trace_everything(const unsigned char *data, size_t nbytes, const achar_allocator *allocator)
{
    int result = trace_as_read(data, nbytes, allocator);
    for (int number = 1; number < TRACE_WAYS; number++) {
        int status = trace_one_way(data, nbytes, number, allocator);
        REQUIRE(number != 1 || status == result || status == ACHAR_E_NOMEM ||
                    result == ACHAR_E_NOMEM,
                "as a page: %s", achar_status_name(status));
    }
    return result;
}
