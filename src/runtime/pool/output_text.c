/*
 * output_text.c - what comes out of the workers' pipes: frames, lines, and pieces to be handed out.
 *
 * Text of one task goes on in whole lines; a line that another task's text interrupts ends there. What is not
 * handed out, because nobody takes it or memory is short, is counted.
 */
#include "runtime/pool/output_internal.h"
#include "runtime/sync/futex.h"

#include <stdlib.h>
#include <string.h>

#define LINE_NBYTES_MAX   ((size_t)1 << 16) /* longer ones come in parts */
#define RECORD_NBYTES_MAX ((size_t)1 << 20) /* larger ones are dropped */
#define RECORD_COUNT_MAX  16                /* processes that send one at the same time */

/* ---- pieces ---- */

void achar__output_tell(achar__output *output)
{
    achar__futex_ring(&output->word, false);
}

unsigned achar__output_index_of(const achar__output *output, const achar__output_source *from)
{
    return (unsigned)(from - output->sources);
}

static uint64_t lines_in(const char *data, size_t nbytes)
{
    uint64_t count = 0;
    for (size_t i = 0; i < nbytes; i++) {
        count += data[i] == '\n';
    }
    return count ? count : 1;
}

/* NULL: it is thrown away, and counted. */
static achar__output_piece *add_piece(achar__output *output, achar__output_source *from, int which,
                                      enum achar__output_kind kind, uint32_t number,
                                      const achar__output_stream *named, const char *data,
                                      size_t nbytes)
{
    size_t name_nbytes = named && named->named_number == number ? named->name_nbytes : 0;
    achar__output_piece *piece =
        from->neglected ? NULL : malloc(sizeof *piece + nbytes + name_nbytes);
    if (!piece) {
        from->dropped_count += lines_in(data, nbytes);
        from->dropped_nbytes += nbytes;
        return NULL;
    }
    char *bytes = (char *)(piece + 1);
    if (nbytes) {
        memcpy(bytes, data, nbytes);
    }
    if (name_nbytes) {
        memcpy(bytes + nbytes, named->name, name_nbytes);
    }
    *piece = (achar__output_piece){.kind = kind,
                                   .worker = achar__output_index_of(output, from),
                                   .pid = from->pid,
                                   .descriptor = which + 1,
                                   .number = number,
                                   .data = bytes,
                                   .nbytes = nbytes,
                                   .name = bytes + nbytes,
                                   .name_nbytes = name_nbytes};
    *output->last = piece;
    output->last = &piece->next;
    from->queued_nbytes += sizeof *piece + nbytes + name_nbytes;
    achar__output_tell(output);
    return piece;
}

void achar__output_add_dropped(achar__output *output, achar__output_source *from)
{
    uint64_t count = from->dropped_count, nbytes = from->dropped_nbytes;
    from->dropped_count = from->dropped_nbytes = 0;
    achar__output_piece *piece =
        count ? add_piece(output, from, ACHAR__STDERR, ACHAR__OUTPUT_DROPPED, 0, NULL, NULL, 0)
              : NULL;
    if (piece) {
        piece->dropped_count = count;
        piece->dropped_nbytes = nbytes;
    } else {
        from->dropped_count = count;
        from->dropped_nbytes = nbytes;
    }
}

/* ---- lines ---- */

static bool append(achar__output_text *to, const char *data, size_t nbytes)
{
    if (nbytes > to->capacity - to->nbytes) {
        size_t capacity = (to->nbytes + nbytes) * 2;
        char *grown = realloc(to->data, capacity);
        if (!grown) {
            return false;
        }
        to->data = grown;
        to->capacity = capacity;
    }
    memcpy(to->data + to->nbytes, data, nbytes);
    to->nbytes += nbytes;
    return true;
}

void achar__output_clear(achar__output_text *it)
{
    free(it->data);
    *it = (achar__output_text){0};
}

void achar__output_end_line(achar__output *output, achar__output_source *from, int which)
{
    achar__output_stream *it = &from->streams[which];
    if (it->line.nbytes) {
        add_piece(output, from, which, ACHAR__OUTPUT_TEXT, it->line_number, it, it->line.data,
                  it->line.nbytes);
    }
    if (it->line.capacity > 1024) {
        achar__output_clear(&it->line);
    }
    it->line.nbytes = 0;
}

static void remember(achar__output_source *from, uint32_t number, const char *data, size_t nbytes)
{
    if (number != from->tail_number) {
        from->tail_number = number;
        from->tail_end = 0;
    }
    if (nbytes > ACHAR__OUTPUT_TAIL_NBYTES) {
        data += nbytes - ACHAR__OUTPUT_TAIL_NBYTES;
        from->tail_end += nbytes - ACHAR__OUTPUT_TAIL_NBYTES;
        nbytes = ACHAR__OUTPUT_TAIL_NBYTES;
    }
    for (size_t i = 0; i < nbytes; i++) {
        from->tail[from->tail_end++ % ACHAR__OUTPUT_TAIL_NBYTES] = data[i];
    }
}

/* Text of one process for one task: whole lines go on, the rest waits for its end. 'pid' 0: not in a frame. */
static void take_text(achar__output *output, achar__output_source *from, int which, uint32_t number,
                      uint32_t pid, const char *data, size_t nbytes)
{
    achar__output_stream *it = &from->streams[which];
    if (which == ACHAR__STDERR) {
        remember(from, number, data, nbytes);
    }
    if (!output->delivers) {
        return;
    }
    if (it->line.nbytes && (it->line_number != number || it->line_pid != pid)) {
        achar__output_end_line(output, from, which);
    }
    it->line_number = number;
    it->line_pid = pid;
    const char *newline = memrchr(data, '\n', nbytes);
    size_t whole = newline ? (size_t)(newline + 1 - data) : 0;
    if (whole && it->line.nbytes) {
        if (append(&it->line, data, whole)) {
            achar__output_end_line(output, from, which);
        }
    } else if (whole) {
        add_piece(output, from, which, ACHAR__OUTPUT_TEXT, number, it, data, whole);
    }
    if (nbytes > whole) {
        (void)append(&it->line, data + whole, nbytes - whole); /* without memory it is lost */
        if (it->line.nbytes >= LINE_NBYTES_MAX) {
            achar__output_end_line(output, from, which);
        }
    }
}

/* ---- frames ---- */

static uint32_t running_number(const achar__output_source *from)
{
    uint64_t claimed = atomic_load(&from->up->claimed);
    uint64_t calls = atomic_load(&from->up->calls_claimed);
    if (claimed == 0) {
        return 0;
    }
    uint32_t number = atomic_load_explicit(&from->down->numbers[(claimed - 1) % ACHAR__RING_SLOTS],
                                           memory_order_relaxed);
    bool in_stretch = calls >> 32 == (uint32_t)(claimed - 1) && (uint32_t)calls > 0;
    return in_stretch ? number + (uint32_t)calls - 1 : number;
}

static void free_record(achar__output_record **link)
{
    achar__output_record *record = *link;
    *link = record->next;
    achar__output_clear(&record->text);
    free(record);
}

void achar__output_drop_records(achar__output_source *from, int which)
{
    while (from->streams[which].records) {
        from->dropped_count++;
        free_record(&from->streams[which].records);
    }
}

/* The link to what the process has sent so far, or to nothing. Who has died within a record leaves its
 * parts: the oldest make room. NULL: there is no memory. */
static achar__output_record **record_of(achar__output_source *from, achar__output_stream *it,
                                        uint32_t pid)
{
    size_t count = 0;
    for (achar__output_record **link = &it->records; *link; link = &(*link)->next) {
        if ((*link)->pid == pid) {
            return link;
        }
        if (++count == RECORD_COUNT_MAX) {
            from->dropped_count++;
            free_record(link);
            break;
        }
    }
    achar__output_record *record = calloc(1, sizeof *record);
    if (!record) {
        return NULL;
    }
    record->pid = pid;
    record->next = it->records;
    it->records = record;
    return &it->records;
}

static void take_frame(achar__output *output, achar__output_source *from, int which,
                       const achar__frame *frame, const char *rest)
{
    achar__output_stream *it = &from->streams[which];
    const char *data = rest + frame->name_nbytes;
    if (it->line.nbytes && it->line_number != frame->number) {
        achar__output_end_line(output, from, which); /* while its task's name is known */
    }
    it->named_number = frame->number;
    it->name_nbytes = frame->name_nbytes;
    memcpy(it->name, rest, frame->name_nbytes);
    if (frame->kind == ACHAR__FRAME_TEXT) {
        from->framed_nbytes += frame->data_nbytes;
        take_text(output, from, which, frame->number, frame->pid, data, frame->data_nbytes);
        if (!output->head && output->delivers) {
            achar__output_tell(
                output); /* the start of a line: that it lies here is to be counted as taken */
        }
        return;
    }
    if (!output->delivers) {
        return;
    }
    achar__output_record **link = record_of(from, it, frame->pid);
    if (!link) {
        from->dropped_count += frame->kind == ACHAR__FRAME_RECORD;
        return;
    }
    achar__output_record *record = *link;
    record->cut = record->cut || record->text.nbytes > RECORD_NBYTES_MAX ||
                  !append(&record->text, data, frame->data_nbytes);
    if (frame->kind == ACHAR__FRAME_RECORD) {
        if (record->cut) {
            from->dropped_count++;
        } else {
            add_piece(output, from, which, ACHAR__OUTPUT_RECORD, frame->number, it,
                      record->text.data, record->text.nbytes);
        }
        free_record(link);
    }
}

/* How many bytes the frame at 'data' takes; 0: more are needed to tell; 1: it is none. */
static size_t frame_nbytes(const unsigned char *data, size_t nbytes, achar__frame *frame)
{
    size_t seen = nbytes < sizeof frame->magic ? nbytes : sizeof frame->magic;
    if (memcmp(data, ACHAR__FRAME_MAGIC, seen) != 0) {
        return 1;
    }
    if (nbytes < sizeof *frame) {
        return 0;
    }
    memcpy(frame, data, sizeof *frame);
    size_t whole = sizeof *frame + frame->name_nbytes + (size_t)frame->data_nbytes;
    if (frame->kind < ACHAR__FRAME_TEXT || frame->kind > ACHAR__FRAME_RECORD ||
        frame->name_nbytes > ACHAR__FRAME_NAME_MAX ||
        frame->data_nbytes > ACHAR__FRAME_NBYTES_MAX || whole > ACHAR__FRAME_NBYTES_MAX) {
        return 1;
    }
    return nbytes < whole ? 0 : whole;
}

void achar__output_take_bytes(achar__output *output, achar__output_source *from, int which,
                              const unsigned char *data, size_t nbytes, bool last)
{
    achar__output_stream *it = &from->streams[which];
    while (nbytes) {
        achar__frame frame;
        size_t taken = *data ? 1 : frame_nbytes(data, nbytes, &frame);
        if (taken == 0 && !last) {
            memcpy(it->held, data, nbytes);
            it->held_nbytes = nbytes;
            return;
        }
        if (taken > 1) {
            take_frame(output, from, which, &frame, (const char *)data + sizeof frame);
        } else {
            const unsigned char *next = memchr(data + 1, '\0', nbytes - 1);
            taken = next ? (size_t)(next - data) : nbytes;
            take_text(output, from, which, running_number(from), 0, (const char *)data, taken);
        }
        data += taken;
        nbytes -= taken;
    }
}
