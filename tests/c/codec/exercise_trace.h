/* exercise_trace.h - every form of achar_trace() on any bytes, for C tests and fuzz targets. */
#ifndef ACHAR_TESTS_CODEC_EXERCISE_TRACE_H
#define ACHAR_TESTS_CODEC_EXERCISE_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include <achar/achar.h>

/*
 * trace_everything() traces as lines, as a page, as a part of a page, and in full. Holds it to what
 * trace.h promises: what the reader says of these bytes the trace says too; whatever is in them, the
 * lines are printable UTF-8 and the page has no markup but its own. Where memory runs out
 * ('allocator' may fail) that is all it says. Returns what tracing as lines returned.
 *
 * trace_as_read() is the first of these ways, the one that is compared with the reader;
 * trace_one_way() any of them, counted from 0, not compared.
 */
enum { TRACE_WAYS = 4 };
int trace_everything(const unsigned char *data, size_t nbytes, const achar_allocator *allocator);
int trace_as_read(const unsigned char *data, size_t nbytes, const achar_allocator *allocator);
int trace_one_way(const unsigned char *data, size_t nbytes, int number,
                  const achar_allocator *allocator);

#endif
