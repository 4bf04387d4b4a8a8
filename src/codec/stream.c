/*
 * stream.c - several pickles one after another, from memory, a stdio stream or a descriptor.
 *
 * The reader wants a whole pickle in one piece of memory, and a stream does not say how long the
 * next one is. So tokens are cut off the front of what has arrived, and more is fetched whenever
 * one is not complete, until STOP. A bad opcode or the end of the input ends the search as well:
 * the reader then finds the same and says what is wrong.
 *
 * Of a stdio stream no byte is taken that the pickle does not need. A size in the input is believed
 * piece by piece, as the data arrives.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"
#include "codec/graph.h"
#include "codec/read_internal.h"
#include "codec/token.h"

struct achar_reader {
    memory mem;
    achar_read_options options;
    enum { FROM_MEMORY, FROM_FILE, FROM_DESCRIPTOR } source;
    const uint8_t *data; /* FROM_MEMORY: the rest */
    size_t data_nbytes;
    FILE *file;
    int fd;
    buffer ahead;  /* what was fetched */
    size_t start;  /* of the next pickle in it: only descriptors are read ahead of that */
    bool ended;    /* the source has no more */
    bool failed;   /* 'error' is final */
    uint64_t base; /* bytes that finished pickles took */
    achar_error error;
};

enum { FETCH_NBYTES = SIZE_OR_TINY(64 << 10, 1) };

static int reader_new(const achar_read_options *options, bool has_source, achar_reader **reader)
{
    if (reader != NULL)
        *reader = NULL;
    if (reader == NULL || !has_source)
        return ACHAR_E_INVALID;
    memory mem;
    achar__memory_init(&mem, options == NULL ? NULL : options->allocator,
                       options == NULL ? 0 : options->max_nbytes);
    achar_reader *made = achar__memory_take(&mem, sizeof *made);
    *reader = made;
    if (made == NULL)
        return ACHAR_E_NOMEM;
    *made = (achar_reader){.mem = mem};
    if (options != NULL)
        made->options = *options;
    /* The graphs' allocator outlives the caller's struct. */
    made->options.allocator = &made->mem.allocator;
    achar__buffer_init(&made->ahead, &made->mem);
    return ACHAR_OK;
}

int achar_reader_open_memory(const void *data, size_t data_nbytes,
                             const achar_read_options *options, achar_reader **reader)
{
    int status = reader_new(options, data != NULL || data_nbytes == 0, reader);
    if (status == ACHAR_OK) {
        (*reader)->source = FROM_MEMORY;
        (*reader)->data = data;
        (*reader)->data_nbytes = data_nbytes;
    }
    return status;
}

int achar_reader_open_file(FILE *file, const achar_read_options *options, achar_reader **reader)
{
    int status = reader_new(options, file != NULL, reader);
    if (status == ACHAR_OK) {
        (*reader)->source = FROM_FILE;
        (*reader)->file = file;
    }
    return status;
}

int achar_reader_open_fd(int fd, const achar_read_options *options, achar_reader **reader)
{
    int status = reader_new(options, true, reader);
    if (status == ACHAR_OK) {
        (*reader)->source = FROM_DESCRIPTOR;
        (*reader)->fd = fd;
    }
    return status;
}

void achar_reader_close(achar_reader *reader)
{
    if (reader == NULL)
        return;
    achar__buffer_free(&reader->ahead);
    memory mem = reader->mem;
    achar__memory_give(&mem, reader, sizeof *reader);
}

uint64_t achar_reader_offset(const achar_reader *reader)
{
    return reader == NULL ? 0 : reader->base;
}

/* ---- fetching ---- */

static int io_error(achar_reader *reader)
{
    return achar__fail(&reader->error, ACHAR_E_IO,
                       reader->base + reader->ahead.nbytes - reader->start, -1,
                       "reading failed: %s", strerror(errno));
}

/* At least one byte more from a descriptor, unless it is at its end. */
static int fetch_descriptor(achar_reader *reader)
{
    buffer *ahead = &reader->ahead;
    ahead->nbytes -= reader->start;
    if (reader->start != 0)
        memmove(ahead->data, ahead->data + reader->start, ahead->nbytes);
    reader->start = 0;
    size_t nbytes = ahead->nbytes > FETCH_NBYTES ? ahead->nbytes : (size_t)FETCH_NBYTES;
    size_t room = ahead->capacity_nbytes - ahead->nbytes;
    if (room < nbytes) {
        if (!achar__buffer_grow_towards(ahead, 1, nbytes))
            return ahead->failed;
        room = ahead->capacity_nbytes - ahead->nbytes;
        nbytes = nbytes < room ? nbytes : room;
    }
    ssize_t got;
    do
        got = read(reader->fd, ahead->data + ahead->nbytes, nbytes);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return io_error(reader);
    ahead->nbytes += (size_t)got;
    reader->ended = got == 0;
    return ACHAR_OK;
}

/* More from a descriptor, until a line ends in it or there is no more. Only what comes is searched:
 * the line may come in very many pieces. */
static int fetch_descriptor_line(achar_reader *reader)
{
    for (;;) {
        size_t before_nbytes = reader->ahead.nbytes - reader->start;
        int status = fetch_descriptor(reader); /* moves all to the front */
        if (status != ACHAR_OK || reader->ended ||
            memchr(reader->ahead.data + before_nbytes, '\n',
                   reader->ahead.nbytes - before_nbytes) != NULL)
            return status;
    }
}

/* Exactly 'nbytes' more from a stdio stream, or what there is before its end. */
static int fetch_file(achar_reader *reader, size_t nbytes)
{
    buffer *ahead = &reader->ahead;
    if (!achar__buffer_reserve(ahead, nbytes))
        return ahead->failed;
    errno = 0;
    size_t got = fread(ahead->data + ahead->nbytes, 1, nbytes, reader->file);
    ahead->nbytes += got;
    if (got < nbytes && ferror(reader->file))
        return io_error(reader);
    reader->ended = got < nbytes;
    return ACHAR_OK;
}

/* The rest of a line from a stdio stream, up to and with '\n'. */
static int fetch_line(achar_reader *reader)
{
    buffer *ahead = &reader->ahead;
    int byte;
    errno = 0;
    flockfile(reader->file);
    while ((byte = getc_unlocked(reader->file)) != EOF && byte != '\n' && !ahead->failed)
        achar__buffer_byte(ahead, (uint8_t)byte);
    funlockfile(reader->file);
    if (byte == EOF && ferror(reader->file))
        return io_error(reader);
    if (byte == EOF)
        reader->ended = true;
    else
        achar__buffer_byte(ahead, (uint8_t)byte);
    return ahead->failed;
}

/* Fetches so that 'needed' bytes, and then a line if one is needed, are there behind 'position'
 * (counted from 'start'). May fetch less; the caller looks and asks again. */
static int fetch(achar_reader *reader, size_t position, uint64_t needed, bool needs_line)
{
    buffer *ahead = &reader->ahead;
    if (reader->source == FROM_DESCRIPTOR)
        return needs_line ? fetch_descriptor_line(reader) : fetch_descriptor(reader);
    int status = ACHAR_OK;
    while (status == ACHAR_OK && !reader->ended && ahead->nbytes - position < needed) {
        /* Never more at once than has come so far: a size may lie. */
        uint64_t missing = needed - (ahead->nbytes - position);
        size_t most = ahead->nbytes > FETCH_NBYTES ? ahead->nbytes : (size_t)FETCH_NBYTES;
        status = fetch_file(reader, missing < most ? (size_t)missing : most);
    }
    if (status == ACHAR_OK && needs_line && !reader->ended)
        status = fetch_line(reader);
    return status;
}

/* Fetches the frame of 'needed' bytes at 'position', or what there is of it. '*end' is raised to
 * where it ends. */
static int fetch_frame(achar_reader *reader, size_t position, uint64_t needed, size_t *end)
{
    int status = ACHAR_OK;
    size_t there = reader->ahead.nbytes - reader->start - position;
    while (status == ACHAR_OK && !reader->ended && there < needed) {
        status = fetch(reader, position, needed, false);
        there = reader->ahead.nbytes - reader->start - position;
    }
    size_t reached = position + (there < needed ? there : (size_t)needed);
    if (*end < reached)
        *end = reached;
    return status;
}

/* Fetches until a whole pickle is there, or all there is of a bad one; '*nbytes' is its size. A
 * frame is fetched to its end, even if STOP comes before it: the reader is to see what is wrong. */
static int fetch_pickle(achar_reader *reader, size_t *nbytes)
{
    size_t position = 0;
    size_t frame_end = 0;
    for (;;) {
        token t;
        const uint8_t *data = reader->ahead.data == NULL ? (const uint8_t *)"" : reader->ahead.data;
        data += reader->start;
        size_t data_nbytes = reader->ahead.nbytes - reader->start;
        int status = achar__token_next(data + position, data + data_nbytes, &t);
        if (status == ACHAR_E_TRUNCATED && !reader->ended) {
            status = fetch(reader, position, t.needed, t.needs_line);
            if (status != ACHAR_OK)
                return status;
            continue;
        }
        *nbytes = data_nbytes;
        if (status != ACHAR_OK)
            return ACHAR_OK;
        position = (size_t)(t.next - data);
        if (t.opcode == OP_STOP) {
            *nbytes = position > frame_end ? position : frame_end;
            return ACHAR_OK;
        }
        if (t.opcode == OP_FRAME) {
            status = fetch_frame(reader, position, decode_uint8(t.data), &frame_end);
            if (status != ACHAR_OK)
                return status;
        }
    }
}

/* ---- reading ---- */

static int next_from_memory(achar_reader *reader, achar_graph **graph)
{
    size_t used_nbytes;
    if (reader->data_nbytes == 0)
        return ACHAR_OK;
    int status = achar__read(reader->data, reader->data_nbytes, reader->base, 0, &reader->options,
                             graph, &used_nbytes, &reader->error);
    if (status == ACHAR_OK) {
        reader->data += used_nbytes;
        reader->data_nbytes -= used_nbytes;
        reader->base += used_nbytes;
    }
    return status;
}

/* The next 'nbytes' of 'ahead' as a block of their own, for a graph to own. What is less is copied:
 * they, or what was read ahead of them. */
static int take_block(achar_reader *reader, size_t nbytes, buffer *block)
{
    buffer *ahead = &reader->ahead;
    size_t rest_nbytes = ahead->nbytes - reader->start - nbytes;
    achar__buffer_init(block, &reader->mem);
    if (reader->start != 0 || rest_nbytes > nbytes) {
        achar__buffer_append(block, ahead->data + reader->start, nbytes);
        reader->start += nbytes;
        return block->failed;
    }
    buffer rest;
    achar__buffer_init(&rest, &reader->mem);
    achar__buffer_append(&rest, ahead->data + nbytes, rest_nbytes);
    if (rest.failed)
        return rest.failed;
    *block = *ahead;
    *ahead = rest;
    block->nbytes = nbytes;
    achar__buffer_fit(block);
    return ACHAR_OK;
}

static int next_from_source(achar_reader *reader, achar_graph **graph)
{
    size_t nbytes, used_nbytes;
    int status = fetch_pickle(reader, &nbytes);
    if (status != ACHAR_OK || nbytes == 0) /* 0: the end */
        return status;
    buffer block;
    status = take_block(reader, nbytes, &block);
    uint64_t held_nbytes = reader->mem.used_nbytes; /* the block and what was read ahead of it */
    if (status == ACHAR_OK)
        status = achar__read(block.data, nbytes, reader->base, held_nbytes, &reader->options, graph,
                             &used_nbytes, &reader->error);
    if (status != ACHAR_OK) {
        achar__buffer_free(&block);
        return status;
    }
    (*graph)->input = block.data;
    (*graph)->input_nbytes = block.capacity_nbytes;
    (*graph)->mem.used_nbytes -= held_nbytes - block.capacity_nbytes;
    reader->mem.used_nbytes -= block.capacity_nbytes;
    reader->base += used_nbytes;
    return ACHAR_OK;
}

int achar_reader_next(achar_reader *reader, achar_graph **graph, achar_error *error)
{
    if (graph != NULL)
        *graph = NULL;
    if (reader == NULL || graph == NULL)
        return achar__fail(error, ACHAR_E_INVALID, 0, -1, NULL);
    if (!reader->failed) {
        reader->error.code = ACHAR_OK;
        int status = reader->source == FROM_MEMORY ? next_from_memory(reader, graph)
                                                   : next_from_source(reader, graph);
        if (status == ACHAR_OK)
            return ACHAR_OK;
        reader->failed = true;
        if (reader->error.code == ACHAR_OK)
            achar__fail(&reader->error, status, reader->base, -1, NULL);
    }
    if (error != NULL)
        *error = reader->error;
    return reader->error.code;
}
