/*
 * read.h - from bytes to a graph of values. Any pickle of protocols 0 to 5; nothing is executed.
 */
#ifndef ACHAR_READ_H
#define ACHAR_READ_H

#include <stdio.h>

#include <achar/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What Python 2's str holds (`encoding=` of pickle.loads). */
enum achar_encoding {
    ACHAR_ENCODING_ASCII, /* text, and an error for bytes above 127: Python's default */
    ACHAR_ENCODING_LATIN1,
    ACHAR_ENCODING_UTF8,
    ACHAR_ENCODING_BYTES, /* not text at all: ACHAR_BYTES */
};

/* One out-of-band buffer (protocol 5). */
typedef struct achar_buffer {
    const void *data;
    size_t nbytes;
    int readonly;
} achar_buffer;

/*
 * achar_read_options: all zero, or a NULL pointer to it, is the default.
 *
 * The memory a graph takes is proportional to its input without any limit set: lengths are
 * believed only as far as there is input, and a high memo index costs what a low one does. A
 * limit of 0 is none.
 */
typedef struct achar_read_options {
    const achar_allocator *allocator; /* copied; NULL: malloc */
    int encoding;                     /* enum achar_encoding */
    uint64_t max_nbytes;              /* of memory, for the graph and while reading it; with its
                                         input, where that is not the caller's */
    size_t max_stack_count;           /* values and open marks on the machine's stack, which is how
                                         deep a pickle can nest what it has not finished */
    size_t max_memo_count;            /* entries in the memo */
    const achar_buffer *buffers;      /* must outlive the graph. NULL: the graph's ACHAR_BUFFER
                                         values have no data */
    size_t buffers_count;             /* with buffers given, taking more of them is an error */
} achar_read_options;

/*
 * achar_read() reads the pickle at the start of the 'data_nbytes' bytes at 'data'.
 *
 * 'data' must stay readable and unchanged until the graph is freed: text and bytes in it are not
 * copied. '*used_nbytes' (may be NULL) is where the pickle ended; what follows is not looked at.
 *
 * On success '*graph' is the caller's, to free with achar_graph_free(). On failure it is NULL and
 * 'error' (may be NULL) says what and where. Returns ACHAR_OK or any of the codes from
 * ACHAR_E_TRUNCATED on, ACHAR_E_LIMIT, ACHAR_E_NOMEM; ACHAR_E_INVALID for NULL 'data' with bytes or
 * NULL 'graph', an encoding that there is none of, or data at an address of more than 56 bits.
 *
 * The reader is strict where interpreters differ: opcodes may not straddle frames, STOP ends the
 * frame that it is in, and numbers as text are plain decimal.
 */
ACHAR_API int achar_read(const void *data, size_t data_nbytes, const achar_read_options *options,
                         achar_graph **graph, size_t *used_nbytes, achar_error *error);

/*
 * achar_reader reads pickles that stand one after another, each with a memo of its own, as
 * repeated calls of pickle.load(file) do. Offsets in errors and effects count from where the
 * reader started.
 */
typedef struct achar_reader achar_reader;

/*
 * achar_reader_open_memory() reads from memory, under achar_read()'s rule for 'data'.
 *
 * achar_reader_open_file() reads from a stdio stream, which stays the caller's. After each pickle
 * the stream stands just behind it, so the caller may read other things in between.
 *
 * achar_reader_open_fd() reads from a descriptor, which stays the caller's. It reads ahead, but
 * never waits for more than the pickle at hand needs. The descriptor is to be a blocking one: where
 * read() would have to wait and does not (EAGAIN), that is ACHAR_E_IO and the end of the reader.
 *
 * Graphs from a stream or descriptor own a copy of their input. 'options' is copied, but not what
 * it points to. Returns ACHAR_OK, ACHAR_E_NOMEM, or ACHAR_E_INVALID for a NULL 'data' or 'file'
 * (NULL 'data' with 0 bytes is fine).
 */
ACHAR_API int achar_reader_open_memory(const void *data, size_t data_nbytes,
                                       const achar_read_options *options, achar_reader **reader);
ACHAR_API int achar_reader_open_file(FILE *file, const achar_read_options *options,
                                     achar_reader **reader);
ACHAR_API int achar_reader_open_fd(int fd, const achar_read_options *options,
                                   achar_reader **reader);

/*
 * achar_reader_next() reads the next pickle. At the end of the input it returns ACHAR_OK with
 * '*graph' NULL. The graph is the caller's and may outlive the reader. After an error the reader
 * has no good place to go on from: further calls return the same error. ACHAR_E_IO besides
 * achar_read()'s codes.
 */
ACHAR_API int achar_reader_next(achar_reader *reader, achar_graph **graph, achar_error *error);

/* achar_reader_offset() is how many bytes the pickles so far took; 0 of NULL. */
ACHAR_API uint64_t achar_reader_offset(const achar_reader *reader);

/* achar_reader_close() frees the reader, not its graphs. NULL does nothing. */
ACHAR_API void achar_reader_close(achar_reader *reader);

#ifdef __cplusplus
}
#endif
#endif
