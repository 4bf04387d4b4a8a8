/*
 * read.c - reading one pickle from memory: what is checked before, and what is left after the loop
 * over its opcodes (read_loop.c), a graph or an error.
 */
#include "codec/read_internal.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"
#include "codec/reading.h"

int achar__problem(reading *r, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->problem, sizeof r->problem, format, arguments);
    va_end(arguments);
    return code;
}

int achar__read_memory_problem(reading *r)
{
    return achar__memory_status(&r->graph->mem);
}

int achar__read(const uint8_t *data, size_t data_nbytes, uint64_t base, uint64_t held_nbytes,
                const achar_read_options *options, achar_graph **graph, size_t *used_nbytes,
                achar_error *error)
{
    static const achar_read_options defaults;
    *graph = NULL;
    if (options == NULL)
        options = &defaults;
    if (data == NULL && data_nbytes != 0)
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "no data");
    if (!achar__encoding_exists(options->encoding))
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "there is no encoding %d",
                           options->encoding);
    if (data == NULL)
        data = (const uint8_t *)"";
    if (!cell_can_point(data) || !cell_can_point(data + data_nbytes))
        return achar__fail(error, ACHAR_E_INVALID, base, -1, "the data's address is tagged");
    achar_graph *g;
    int status =
        achar__graph_new(options->allocator, options->max_nbytes, held_nbytes, data_nbytes, &g);
    if (status != ACHAR_OK)
        return achar__fail(error, status, base, -1, NULL);
    g->data = data;
    g->reading = true;
    g->in_order = true;

    reading r; /* not zeroed: most of it is room */
    r.graph = g;
    r.options = options;
    r.marks_count = 0;
    r.protocol = 0;
    r.problem[0] = '\0';
    achar__read_stack_init(&r);
    achar__memo_init(&r.memo, &g->mem, options->max_memo_count);
    achar__buffer_init(&r.scratch, &g->mem);
    const uint8_t *cursor;
    status = achar__read_run(&r, data, data + data_nbytes, base, &cursor);
    achar__read_stack_free(&r);
    achar__memo_free(&r.memo);
    achar__buffer_free(&r.scratch);

    if (status != ACHAR_OK) {
        achar_graph_free(g);
        bool at_end = cursor == data + data_nbytes;
        return achar__fail(error, status, base + (uint64_t)(cursor - data), at_end ? -1 : *cursor,
                           "%s", r.problem[0] != '\0' ? r.problem : achar_status_message(status));
    }
    if (used_nbytes != NULL)
        *used_nbytes = (size_t)(cursor - data);
    g->reading = false;
    g->read_nbytes = (size_t)(cursor - data);
    *graph = g;
    return ACHAR_OK;
}

int achar_read(const void *data, size_t data_nbytes, const achar_read_options *options,
               achar_graph **graph, size_t *used_nbytes, achar_error *error)
{
    if (graph == NULL)
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, "no place for the graph");
    return achar__read(data, data_nbytes, 0, 0, options, graph, used_nbytes, error);
}
