/* main.c - the `achar` command: finds the verb, or says which there are. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const verb *const verbs[] = {
    &cli_dis,
    &cli_json,
    &cli_trace,
#ifdef ACHAR_HAS_RECORD
    &cli_top,
#endif
};

enum { VERBS_COUNT = sizeof verbs / sizeof *verbs };

static void print_help(FILE *to)
{
    fputs("achar reads pickles without executing them, and shows runs of tasks.\n\n", to);
    for (size_t i = 0; i < VERBS_COUNT; i++)
        fprintf(to, "  achar %-6s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs("\n  achar VERB --help   how a verb is used\n  achar --version     the version\n", to);
}

/* What was printed may only now fail to be written. */
static int finish(int result)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "achar: standard output: %s\n", strerror(errno));
        return EXIT_BAD_INPUT;
    }
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return EXIT_BAD_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return finish(EXIT_SUCCESS);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("achar %s\n", achar_version());
        return finish(EXIT_SUCCESS);
    }
    for (size_t i = 0; i < VERBS_COUNT; i++) {
        if (strcmp(argv[1], verbs[i]->name) != 0)
            continue;
        for (int j = 2; j < argc && strcmp(argv[j], "--") != 0; j++) {
            if (strcmp(argv[j], "--help") == 0 || strcmp(argv[j], "-h") == 0) {
                printf("usage: %s", verbs[i]->usage);
                return finish(EXIT_SUCCESS);
            }
        }
        char name[32]; /* as getopt is to call us */
        snprintf(name, sizeof name, "achar %s", verbs[i]->name);
        argv[1] = name;
        return finish(verbs[i]->run(argc - 1, argv + 1));
    }
    cli_make_plain(argv[1]);
    fprintf(stderr, "achar: no verb '%s'; there are:", argv[1]);
    for (size_t i = 0; i < VERBS_COUNT; i++)
        fprintf(stderr, " %s", verbs[i]->name);
    fputc('\n', stderr);
    return EXIT_BAD_USAGE;
}
