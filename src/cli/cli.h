/*
 * cli.h - what the verbs of the `achar` command share.
 *
 * Exit status: 0 for success, 1 if a file could not be read or is no good pickle, 2 if the command
 * was used wrongly.
 */
#ifndef ACHAR_CLI_H
#define ACHAR_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <achar/achar.h>

enum { EXIT_BAD_INPUT = 1, EXIT_BAD_USAGE = 2 };

typedef struct verb {
    const char *name;
    const char *summary;
    const char *usage;                 /* from "achar NAME …" on, several lines */
    int (*run)(int argc, char **argv); /* argv[0] is "achar NAME" */
} verb;

extern const verb cli_dis;
extern const verb cli_json;
extern const verb cli_trace;
extern const verb cli_top; /* where there is SQLite */

/* Leaves nothing that a terminal would obey: controls, those above 0x7f too, as characters or as lone bytes. Its
 * length does not change. */
void cli_make_plain(char *text);

/* A line on stderr that begins with "achar: ". Paths may be in it as they are. */
__attribute__((format(printf, 1, 2))) void cli_say(const char *format, ...);

/* All of a file, "-" being standard input; a regular file or a pipe. Says what is wrong on stderr
 * and returns false if it cannot. The caller frees '*data'. */
bool cli_slurp(const char *path, unsigned char **data, size_t *nbytes);

/* The same of a file that cli_open() opened, from where it stands; closes it. */
bool cli_slurp_file(FILE *file, const char *path, unsigned char **data, size_t *nbytes);

/* The file, or stdin for "-"; NULL after saying what is wrong. */
FILE *cli_open(const char *path);

/* "achar: PATH: offset N, opcode NAME: message" on stderr. */
void cli_report(const char *path, const achar_error *error);

/* "achar VERB: message" and where to find help, on stderr; returns EXIT_BAD_USAGE. */
__attribute__((format(printf, 2, 3))) int cli_misused(const verb *v, const char *format, ...);

/* The enum achar_encoding of that name, any case; false if there is none. */
bool cli_parse_encoding(const char *name, int *encoding);

/* A sink that writes to stdout. */
extern const achar_sink cli_stdout;

#endif
