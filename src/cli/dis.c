/* dis.c - `achar dis`: what `python -m pickletools` prints, with its options. */
#include "cli/cli.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { ANNOTATION_COLUMN = 30, INDENT_MAX = 1000 };

static int disassemble_file(achar_disassembler *dis, const char *path, bool all)
{
    unsigned char *data = NULL;
    size_t nbytes, used_nbytes;
    if (!cli_slurp(path, &data, &nbytes))
        return EXIT_BAD_INPUT;
    int status;
    size_t offset = 0;
    do {
        achar_error error;
        status = achar_disassemble(dis, data + offset, nbytes - offset, offset, &cli_stdout,
                                   &used_nbytes, &error);
        if (status != ACHAR_OK)
            cli_report(path, &error);
        offset += used_nbytes;
    } while (status == ACHAR_OK && all && offset < nbytes);
    free(data);
    return status == ACHAR_OK ? EXIT_SUCCESS : EXIT_BAD_INPUT;
}

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"annotate", no_argument, NULL, 'a'},
                                            {"memo", no_argument, NULL, 'm'},
                                            {"indentlevel", required_argument, NULL, 'l'},
                                            {"preamble", required_argument, NULL, 'p'},
                                            {"all", no_argument, NULL, 'A'},
                                            {0}};
    achar_dis_options dis_options = {.indent = 4};
    const char *preamble = "==> {name} <==";
    bool all = false;
    int option;
    while ((option = getopt_long(argc, argv, "aml:p:A", options, NULL)) != -1) {
        switch (option) {
        case 'a':
            dis_options.annotate = ANNOTATION_COLUMN;
            break;
        case 'm':
            dis_options.keep_memo = 1;
            break;
        case 'l': {
            char *end;
            long indent = strtol(optarg, &end, 10);
            if (*optarg == '\0' || *end != '\0' || indent > INDENT_MAX)
                return cli_misused(&cli_dis, "not a number of blanks: %s", optarg);
            dis_options.indent = indent <= 0 ? -1 : (int)indent;
            break;
        }
        case 'p':
            preamble = optarg;
            break;
        case 'A':
            all = true;
            break;
        default:
            return EXIT_BAD_USAGE; /* getopt has said why */
        }
    }
    if (optind == argc)
        return cli_misused(&cli_dis, "no file");

    achar_disassembler *dis = achar_disassembler_new(&dis_options);
    if (dis == NULL) {
        fprintf(stderr, "achar: %s\n", achar_status_message(ACHAR_E_NOMEM));
        return EXIT_BAD_INPUT;
    }
    int result = EXIT_SUCCESS;
    for (int i = optind; i < argc && result == EXIT_SUCCESS; i++) {
        if (argc - optind > 1) {
            const char *name = strstr(preamble, "{name}");
            if (name == NULL)
                puts(preamble);
            else
                printf("%.*s%s%s\n", (int)(name - preamble), preamble,
                       strcmp(argv[i], "-") == 0 ? "<stdin>" : argv[i], name + strlen("{name}"));
        }
        result = disassemble_file(dis, argv[i], all);
    }
    achar_disassembler_free(dis);
    return result;
}

const verb cli_dis = {
    .name = "dis",
    .summary = "print a pickle's opcodes, as python -m pickletools does",
    .usage =
        "achar dis [-a] [-m] [-l BLANKS] [-p TEXT] [-A] FILE...\n"
        "\n"
        "  -a, --annotate            end each line in what its opcode means\n"
        "  -m, --memo                keep the memo from one pickle to the next\n"
        "  -l, --indentlevel BLANKS  indent by so much for each open MARK (4)\n"
        "  -p, --preamble TEXT       what to print before each of several files\n"
        "                            (==> {name} <==)\n"
        "  -A, --all                 all pickles in a file, not only the first\n"
        "\n"
        "FILE - is standard input. Lines are indented by open MARKs, and so as long as those are\n"
        "nested: in a pickle that is all MARKs, the output is the square of the input, as that\n"
        "of pickletools; -l 0 does without.\n",
    .run = run,
};
