/*
 * exercise.h - what the C tests and the fuzz targets (fuzz/) share, with neither's framework: an
 * allocator that counts and fails, a sink that keeps, and everything that can be done with a pickle.
 *
 * A broken promise ends the process (REQUIRE): fuzzers and test runners both notice that.
 */
#ifndef ACHAR_TESTS_CODEC_EXERCISE_H
#define ACHAR_TESTS_CODEC_EXERCISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <achar/achar.h>

/* Says what does not hold, as printf does, and aborts. */
#define REQUIRE(condition, ...)                                                                    \
    ((condition) ? (void)0 : require_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))
__attribute__((noreturn, format(printf, 4, 5))) void
require_failed(const char *file, int line, const char *condition, const char *format, ...);

/*
 * Checks on every call that 'old_nbytes' is what was asked for last, counts what is out, and fails
 * from call number 'fail_at' on (0: never; failing goes on, as when memory is really gone).
 */
typedef struct counting {
    achar_allocator allocator;
    size_t calls; /* that ask for memory */
    size_t fail_at;
    size_t now_nbytes;
    size_t peak_nbytes;
} counting;

void counting_init(counting *c, size_t fail_at);

/* A sink that keeps what it gets; 'text' is NUL-terminated, NULL when nothing came. */
typedef struct kept {
    achar_sink sink;
    char *text;
    size_t nbytes;
    size_t capacity_nbytes;
    size_t fail_after; /* refuses the write that would pass so many bytes; 0: never */
} kept;

void kept_init(kept *k);
void kept_free(kept *k);

/* The same bytes. */
bool kept_same(const kept *a, const kept *b);

extern const achar_sink nowhere;

/*
 * Everything that can be done with a pickle: opcodes; read, walk, write in every protocol from
 * 'lowest' on and read that, JSON. Any outcome is fine as long as it is one that the headers allow;
 * leaks are the caller's to look for. Returns what reading returned.
 */
int use_everything(const unsigned char *data, size_t nbytes, const achar_read_options *options,
                   int lowest);

#endif
