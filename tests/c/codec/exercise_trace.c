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
    for (size_t i = 0; i < out->nbytes; i++)
        count += out->text[i] == '<';
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

int trace_everything(const unsigned char *data, size_t nbytes, const achar_allocator *allocator)
{
    achar_error traced, read = {0};
    achar_graph *graph;
    achar_trace_options options = {.allocator = allocator, .encoding = ACHAR_ENCODING_LATIN1};
    achar_read_options read_options = {.encoding = ACHAR_ENCODING_LATIN1};
    int expected = achar_read(data, nbytes, &read_options, &graph, NULL, &read);
    achar_graph_free(graph);

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
    options.format = ACHAR_TRACE_HTML;
    int page = run(data, nbytes, &options, &traced);
    REQUIRE(page == result || page == ACHAR_E_NOMEM || result == ACHAR_E_NOMEM, "as a page: %s",
            achar_status_name(page));
    options.first_step = 4;
    options.steps_limit = 9;
    options.all = 1;
    run(data, nbytes, &options, &traced);
    options = (achar_trace_options){.allocator = allocator, .all = 1, .full = 1, .width = 40};
    run(data, nbytes, &options, &traced);
    return result;
}
