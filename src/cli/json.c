/* json.c - `achar json`: what pickles describe, as one line of JSON each. */
#include "cli/cli.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static int print_file(const char *path, const achar_read_options *options)
{
    FILE *file = cli_open(path);
    if (file == NULL)
        return EXIT_BAD_INPUT;
    achar_error error;
    achar_reader *reader = NULL;
    achar_graph *graph = NULL;
    size_t pickles_count = 0;
    int status = achar_reader_open_file(file, options, &reader);
    if (status != ACHAR_OK)
        error = (achar_error){.code = status, .opcode = -1};
    while (status == ACHAR_OK) {
        status = achar_reader_next(reader, &graph, &error);
        if (status != ACHAR_OK || graph == NULL)
            break;
        pickles_count++;
        status = achar_json(graph, NULL, &cli_stdout, &error);
        achar_graph_free(graph);
    }
    if (status == ACHAR_OK && pickles_count == 0) {
        status = ACHAR_E_TRUNCATED;
        error = (achar_error){.code = status, .opcode = -1, .message = "the file is empty"};
    }
    if (status != ACHAR_OK)
        cli_report(path, &error);
    achar_reader_close(reader);
    if (file != stdin)
        fclose(file);
    return status == ACHAR_OK ? EXIT_SUCCESS : EXIT_BAD_INPUT;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"encoding", required_argument, NULL, 'e'}, {0}};
    achar_read_options read_options = {0};
    int option;
    while ((option = getopt_long(argc, argv, "e:", options, NULL)) != -1) {
        if (option != 'e')
            return EXIT_BAD_USAGE; /* getopt has said why */
        if (!cli_parse_encoding(optarg, &read_options.encoding))
            return cli_misused(&cli_json, "not an encoding it knows: %s", optarg);
    }
    if (optind == argc)
        return cli_misused(&cli_json, "no file");
    int result = EXIT_SUCCESS;
    for (int i = optind; i < argc; i++)
        if (print_file(argv[i], &read_options) != EXIT_SUCCESS)
            result = EXIT_BAD_INPUT;
    return result;
}

const verb cli_json = {
    .name = "json",
    .summary = "print what pickles describe as JSON, one line for each; nothing is executed",
    .usage = "achar json [-e ENCODING] FILE...\n"
             "\n"
             "  -e, --encoding ENCODING  of Python 2's str: ascii (default), latin1, utf-8, or\n"
             "                           bytes to leave it as it is\n"
             "\n"
             "FILE - is standard input. A file may hold several pickles, one after another.\n"
             "How values are written is described in achar/json.h.\n",
    .run = run,
};
