/* payload.c - what tasks carry, written and read without Python; see payload.h. */
#include "tasks/payload.h"

#include <achar/build.h>
#include <achar/write.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_NBYTES = 256,
    PROTOCOL = 5,
    PACKED_FOOTER_NBYTES = 16,
    PACKED_ENTRY_NBYTES = 16,
};

/* ---- into shared memory ---- */

static int make_room(achar__block_sink *sink, size_t nbytes)
{
    if (nbytes > SIZE_MAX / 2 - sink->used) {
        return ACHAR_E_LIMIT;
    }
    size_t needed = sink->used + nbytes;
    if (sink->block.data && needed <= sink->block.capacity) {
        return ACHAR_OK;
    }
    if (!sink->block.data) {
        return sink->reserve(sink->owner, needed < FIRST_NBYTES ? FIRST_NBYTES : needed,
                             &sink->block);
    }
    size_t doubled = sink->block.capacity * 2;
    return sink->grow(sink->owner, &sink->block, sink->used, doubled < needed ? needed : doubled);
}

int achar__block_sink_append(achar__block_sink *sink, const void *data, size_t nbytes)
{
    int status = make_room(sink, nbytes);
    if (status != ACHAR_OK) {
        sink->status = status;
        return status;
    }
    if (nbytes) {
        memcpy((char *)sink->block.data + sink->used, data, nbytes);
    }
    sink->used += nbytes;
    return ACHAR_OK;
}

static int write_piece(void *opaque, const void *data, size_t nbytes)
{
    return achar__block_sink_append(opaque, data, nbytes);
}

int achar__block_sink_write(achar__block_sink *sink, achar_graph *graph, achar_error *error)
{
    const achar_sink pieces = {write_piece, sink};
    sink->status = ACHAR_OK;
    int status = achar_write_to(graph, PROTOCOL, NULL, &pieces, error);
    if (status == ACHAR_E_IO && sink->status != ACHAR_OK) {
        status = sink->status;
        *error = (achar_error){.code = status, .opcode = -1};
        strcpy(error->message, "it does not fit into shared memory");
    }
    return status;
}

/* ---- exceptions ---- */

/* A str of any bytes: what is not UTF-8 loses its bytes above 127. */
static achar_value make_any_text(achar_graph **graph, const char *text)
{
    achar_value value = achar_make_str(*graph, text);
    if (achar_graph_status(*graph) != ACHAR_E_TEXT) {
        return value;
    }
    achar_graph_free(*graph);
    *graph = achar_graph_new(NULL);
    char *plain = strdup(text);
    if (!plain) {
        return achar_nothing();
    }
    for (char *at = plain; *at; at++) {
        *at = (unsigned char)*at > 127 ? '?' : *at;
    }
    value = achar_make_str(*graph, plain);
    free(plain);
    return value;
}

static int write_exception(achar__block_sink *sink, const achar__raised *raised)
{
    achar_error error;
    achar_graph *graph = achar_graph_new(NULL);
    achar_value text = make_any_text(&graph, raised->text);
    const char *colon = strchr(raised->type, ':');
    char module[128] = "builtins";
    if (colon && (size_t)(colon - raised->type) < sizeof module) {
        memcpy(module, raised->type, (size_t)(colon - raised->type));
        module[colon - raised->type] = '\0';
    }
    achar_value class = achar_make_global(graph, module, colon ? colon + 1 : raised->type);
    achar_set_root(graph, achar_make_call(graph, ACHAR_CALL_REDUCE, class,
                                          achar_make_tuple(graph, &text, 1), achar_nothing()));
    int status = achar__block_sink_write(sink, graph, &error);
    achar_graph_free(graph);
    return status;
}

static int write_report(achar__block_sink *sink, const achar__raised *raised)
{
    achar_error error;
    const char *const texts[] = {raised->type, raised->text, raised->traceback, ""};
    int status = ACHAR_E_TEXT;
    for (int plain = 0; plain < 2 && status == ACHAR_E_TEXT; plain++) {
        achar_graph *graph = achar_graph_new(NULL);
        achar_value items[4];
        for (size_t i = 0; i < 4; i++) {
            char *copy = strdup(texts[i]);
            for (char *at = copy; at && *at; at++) {
                *at = *at == ':' && i == 0 ? '.' : plain && (unsigned char)*at > 127 ? '?' : *at;
            }
            items[i] = achar_make_str(graph, copy ? copy : "");
            free(copy);
        }
        achar_set_root(graph, achar_make_tuple(graph, items, 4));
        status = achar__block_sink_write(sink, graph, &error);
        achar_graph_free(graph);
    }
    return status;
}

int achar__payload_write_raised(achar__block_sink *sink, const achar__raised *raised)
{
    uint32_t nbytes = 0;
    size_t start = sink->used;
    int status = achar__block_sink_append(sink, &nbytes, sizeof nbytes);
    if (status != ACHAR_OK) {
        return status;
    }
    status = write_exception(sink, raised);
    if (status == ACHAR_E_NOMEM || status == ACHAR_E_LIMIT) {
        return status;
    }
    if (status != ACHAR_OK) { /* a type that is no name: the report stands alone */
        sink->used = start + sizeof nbytes;
    }
    nbytes = (uint32_t)(sink->used - start - sizeof nbytes);
    memcpy((char *)sink->block.data + start, &nbytes, sizeof nbytes);
    return write_report(sink, raised);
}

achar_graph *achar__payload_read_report(const void *bytes, size_t nbytes)
{
    uint32_t exception_nbytes;
    achar_graph *graph = NULL;
    if (nbytes < sizeof exception_nbytes) {
        return NULL;
    }
    memcpy(&exception_nbytes, bytes, sizeof exception_nbytes);
    size_t start = sizeof exception_nbytes + (size_t)exception_nbytes;
    if (start >= nbytes || achar_read((const char *)bytes + start, nbytes - start, NULL, &graph,
                                      NULL, NULL) != ACHAR_OK) {
        return NULL;
    }
    return graph;
}

/* ---- leaves and inputs ---- */

achar_value achar__payload_read_leaf(achar_graph *graph, const char *bytes, size_t nbytes)
{
    int64_t integer;
    double real;
    size_t text_nbytes = nbytes > 1 ? (unsigned char)bytes[1] : 0;
    char tag = nbytes ? bytes[0] : '\0';
    switch (tag) {
    case 'N':
        return achar_make_none();
    case 'T':
    case 'F':
        return achar_make_bool(tag == 'T');
    case 'i':
        memcpy(&integer, nbytes == 9 ? bytes + 1 : "\0\0\0\0\0\0\0", 8);
        return nbytes == 9 ? achar_make_int(integer) : achar_nothing();
    case 'd':
        memcpy(&real, nbytes == 9 ? bytes + 1 : "\0\0\0\0\0\0\0", 8);
        return nbytes == 9 ? achar_make_float(real) : achar_nothing();
    case 's':
        return nbytes == text_nbytes + 2 ? achar_make_text(graph, bytes + 2, text_nbytes)
                                         : achar_nothing();
    case 'b':
        return nbytes == text_nbytes + 2 ? achar_make_bytes(graph, bytes + 2, text_nbytes)
                                         : achar_nothing();
    default:
        return achar_nothing();
    }
}

static uint64_t word_at(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static int read_packed(const char *data, size_t nbytes, int readonly, achar_buffer **buffers,
                       achar_graph **graph, achar_error *error)
{
    if (nbytes < PACKED_FOOTER_NBYTES) {
        return ACHAR_E_INVALID;
    }
    size_t room = nbytes - PACKED_FOOTER_NBYTES;
    uint64_t pickle_nbytes = word_at(data + room), count = word_at(data + room + 8);
    if (count > room / PACKED_ENTRY_NBYTES ||
        pickle_nbytes > room - (size_t)count * PACKED_ENTRY_NBYTES) {
        return ACHAR_E_INVALID;
    }
    size_t table = room - (size_t)count * PACKED_ENTRY_NBYTES;
    achar_buffer *list = calloc(count ? (size_t)count : 1, sizeof *list);
    if (!list) {
        return ACHAR_E_NOMEM;
    }
    int status = ACHAR_OK;
    for (size_t i = 0; i < count && status == ACHAR_OK; i++) {
        const char *entry = data + table + i * PACKED_ENTRY_NBYTES;
        uint64_t offset = word_at(entry), size = word_at(entry + 8);
        list[i] = (achar_buffer){data + offset, (size_t)size, readonly};
        status = offset <= table && size <= table - offset ? ACHAR_OK : ACHAR_E_INVALID;
    }
    const achar_read_options options = {.buffers = list, .buffers_count = (size_t)count};
    if (status == ACHAR_OK) {
        status = achar_read(data, (size_t)pickle_nbytes, &options, graph, NULL, error);
    }
    if (status != ACHAR_OK) {
        free(list);
        return status;
    }
    *buffers = list;
    return ACHAR_OK;
}

int achar__payload_read(const void *bytes, size_t nbytes, uint32_t kind, achar_buffer **buffers,
                        achar_graph **graph, achar_error *error)
{
    *buffers = NULL;
    *graph = NULL;
    *error = (achar_error){.code = ACHAR_E_INVALID, .opcode = -1};
    snprintf(error->message, sizeof error->message, "%s", achar_status_message(ACHAR_E_INVALID));
    return kind == ACHAR__KIND_PICKLE
               ? achar_read(bytes, nbytes, NULL, graph, NULL, error)
               : read_packed(bytes, nbytes, kind == ACHAR__KIND_PUT, buffers, graph, error);
}
