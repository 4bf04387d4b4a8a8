/* kit.h - what the codec's C tests share: an allocator that counts and fails, sinks, files. */
#ifndef ACHAR_TESTS_CODEC_KIT_H
#define ACHAR_TESTS_CODEC_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <achar/achar.h>

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

/* A sink that keeps what it gets; 'text' is NUL-terminated. */
typedef struct kept {
    achar_sink sink;
    char *text;
    size_t nbytes;
    size_t fail_after; /* refuses the write that would pass so many bytes; 0: never */
} kept;

void kept_init(kept *k);
void kept_free(kept *k);

/* Reads a literal pickle; asserts that this works. */
#define READ(literal) read_bytes(literal, sizeof(literal) - 1)
achar_graph *read_bytes(const char *data, size_t nbytes);

/* A file of the golden folder, which ACHAR_GOLDEN names, for each of which 'use' is called. */
void for_each_golden(void (*use)(const char *name, const unsigned char *data, size_t nbytes));

/* Everything that can be done with a pickle: read, walk, write in every protocol from 'lowest' on
 * and read that, JSON, opcodes. Any outcome is fine; leaks and bad accesses are not. Returns what
 * reading returned. */
int use_everything(const unsigned char *data, size_t nbytes, int lowest,
                   const achar_allocator *allocator);

#endif
