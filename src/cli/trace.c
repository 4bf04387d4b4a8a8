/*
 * trace.c - `achar trace`: a pickle at work, through a pager on a terminal; or as a page of HTML.
 *
 * A file is mapped, not read: of a gigabyte of which a hundred opcodes are shown, a few pages are
 * touched.
 */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- input ---- */

typedef struct input {
    unsigned char *data;
    size_t nbytes;
    bool mapped;
} input;

/* A regular file is mapped; what is none is read to its end. It is opened once: a FIFO's writer
 * that has written and closed does not come again. */
static bool open_input(const char *path, input *in)
{
    *in = (input){0};
    FILE *file = cli_open(path);
    if (file == NULL)
        return false;
    struct stat about;
    if (file != stdin && fstat(fileno(file), &about) == 0 && S_ISREG(about.st_mode) &&
        about.st_size > 0) {
        size_t nbytes = (size_t)about.st_size;
        void *data = mmap(NULL, nbytes, PROT_READ, MAP_PRIVATE, fileno(file), 0);
        if (data != MAP_FAILED) {
            fclose(file);
            *in = (input){.data = data, .nbytes = nbytes, .mapped = true};
            return true;
        }
    }
    return cli_slurp_file(file, path, &in->data, &in->nbytes);
}

static void close_input(input *in)
{
    if (in->mapped)
        munmap(in->data, in->nbytes);
    else
        free(in->data);
}

/* ---- output ---- */

/* The pager, a shell command as in git: $PAGER, or less. NULL: none is wanted or there is none. */
static FILE *start_pager(void)
{
    const char *pager = getenv("PAGER");
    if (pager == NULL)
        pager = "less";
    if (pager[0] == '\0' || strcmp(pager, "cat") == 0)
        return NULL;
    setenv("LESS", "FRX", 0);
    fflush(NULL);
    return popen(pager, "w");
}

typedef struct output {
    FILE *file;
    bool closed; /* by whoever read it: it has seen enough */
} output;

static int write_output(void *opaque, const void *data, size_t nbytes)
{
    output *out = opaque;
    if (fwrite(data, 1, nbytes, out->file) == nbytes)
        return 0;
    out->closed = errno == EPIPE;
    return 1;
}

static size_t terminal_width(void)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    if (columns != NULL && atoi(columns) > 0)
        return (size_t)atoi(columns);
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0)
        return size.ws_col;
    return 80;
}

static bool terminal_has_colors(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return (no_color == NULL || no_color[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

static int trace_file(const char *path, const achar_trace_options *options, bool paged)
{
    input in;
    if (!open_input(path, &in))
        return EXIT_BAD_INPUT;
    FILE *pager = paged ? start_pager() : NULL;
    output out = {.file = pager != NULL ? pager : stdout};
    void (*before)(int) = pager != NULL ? signal(SIGPIPE, SIG_IGN) : SIG_DFL;
    achar_error error;
    achar_sink sink = {write_output, &out};
    int status = achar_trace(in.data, in.nbytes, options, &sink, NULL, &error);
    int left_shell = 0;
    if (pager != NULL) {
        left_shell = pclose(pager);
        signal(SIGPIPE, before);
        if (status == ACHAR_E_IO && out.closed)
            status = ACHAR_OK; /* the pager was left */
    }
    if (status != ACHAR_OK)
        cli_report(path, &error);
    if (pager != NULL && left_shell != -1 && WIFEXITED(left_shell) &&
        WEXITSTATUS(left_shell) == 127)
        cli_say("no pager '%s': --no-pager does without",
                getenv("PAGER") == NULL ? "less" : getenv("PAGER"));
    close_input(&in);
    return status == ACHAR_OK ? EXIT_SUCCESS : EXIT_BAD_INPUT;
}

/* ---- options ---- */

static bool parse_digits(const char *text, int base, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, base);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

/* Decimal: 010 is ten. */
static bool parse_number(const char *text, uint64_t *number)
{
    return parse_digits(text, 10, number);
}

/* A number from 1 on: to the library 0 is any. */
static bool parse_count(const char *text, uint64_t *count)
{
    return parse_number(text, count) && *count != 0;
}

/* "N", the N-th opcode, or "@N", a byte, also as "@0xN". Byte 0 is the first opcode's. */
static bool parse_place(const char *text, uint64_t *step, uint64_t *offset)
{
    if (text[0] != '@')
        return parse_count(text, step);
    bool hexadecimal = strncasecmp(text, "@0x", 3) == 0;
    if (!parse_digits(text + 1, hexadecimal ? 16 : 10, offset))
        return false;
    if (*offset == 0)
        *step = 1;
    return true;
}

enum { OPTION_COLOR = 256, OPTION_NO_PAGER, OPTION_WIDTH, OPTION_HTML };

static int run(int argc, char **argv)
{
    static const struct option options[] = {{"all", no_argument, NULL, 'A'},
                                            {"color", required_argument, NULL, OPTION_COLOR},
                                            {"encoding", required_argument, NULL, 'e'},
                                            {"from", required_argument, NULL, 'f'},
                                            {"full", no_argument, NULL, 'F'},
                                            {"html", no_argument, NULL, OPTION_HTML},
                                            {"limit", required_argument, NULL, 'n'},
                                            {"no-pager", no_argument, NULL, OPTION_NO_PAGER},
                                            {"to", required_argument, NULL, 't'},
                                            {"width", required_argument, NULL, OPTION_WIDTH},
                                            {0}};
    achar_trace_options trace = {0};
    bool terminal = isatty(STDOUT_FILENO);
    bool paged = terminal;
    trace.color = terminal && terminal_has_colors();
    trace.width = terminal ? terminal_width() : 0;
    int option;
    while ((option = getopt_long(argc, argv, "Ae:f:Fn:t:", options, NULL)) != -1) {
        uint64_t width;
        switch (option) {
        case 'A':
            trace.all = 1;
            break;
        case 'e':
            if (!cli_parse_encoding(optarg, &trace.encoding))
                return cli_misused(&cli_trace, "not an encoding it knows: %s", optarg);
            break;
        case 'f':
            if (!parse_place(optarg, &trace.first_step, &trace.first_offset))
                return cli_misused(&cli_trace,
                                   "not an opcode's number, from 1 on, nor @ and a byte's: %s",
                                   optarg);
            break;
        case 't':
            if (!parse_place(optarg, &trace.last_step, &trace.last_offset))
                return cli_misused(&cli_trace,
                                   "not an opcode's number, from 1 on, nor @ and a byte's: %s",
                                   optarg);
            break;
        case 'F':
            trace.full = 1;
            break;
        case 'n':
            if (!parse_count(optarg, &trace.steps_limit))
                return cli_misused(&cli_trace, "not a number of opcodes, from 1 on: %s", optarg);
            break;
        case OPTION_HTML:
            trace.format = ACHAR_TRACE_HTML;
            break;
        case OPTION_NO_PAGER:
            paged = false;
            break;
        case OPTION_WIDTH:
            if (!parse_number(optarg, &width))
                return cli_misused(&cli_trace, "not a number of columns: %s", optarg);
            trace.width = (size_t)width;
            break;
        case OPTION_COLOR:
            if (strcmp(optarg, "always") != 0 && strcmp(optarg, "never") != 0 &&
                strcmp(optarg, "auto") != 0)
                return cli_misused(&cli_trace, "--color is always, never or auto, not %s", optarg);
            if (strcmp(optarg, "auto") != 0)
                trace.color = strcmp(optarg, "always") == 0;
            break;
        default:
            return EXIT_BAD_USAGE; /* getopt has said why */
        }
    }
    if (optind != argc - 1)
        return cli_misused(&cli_trace, optind == argc ? "no file" : "more than one file");
    if (trace.format == ACHAR_TRACE_HTML && terminal)
        return cli_misused(&cli_trace, "the page is for a file: achar trace --html %s > page.html",
                           argv[optind]);
    trace.title = argv[optind];
    return trace_file(argv[optind], &trace, paged);
}

const verb cli_trace = {
    .name = "trace",
    .summary = "show a pickle at work: each opcode with the stack and the memo after it",
    .usage = "achar trace [OPTION]... FILE\n"
             "\n"
             "  -A, --all                all pickles in the file, not only the first\n"
             "      --html               one page to step through, for a browser; > page.html\n"
             "  -F, --full               all of the stack and memo at each step, values longer\n"
             "  -f, --from PLACE         show from there on; PLACE is the number of an opcode,\n"
             "  -t, --to PLACE           from 1 on, or @ and a byte's, from 0 on (also @0x1f)\n"
             "  -n, --limit COUNT        show so many opcodes at most (--html: 100000)\n"
             "  -e, --encoding ENCODING  of Python 2's str: ascii (default), latin1, utf-8, bytes\n"
             "      --width COLUMNS      of a line, 0 for any (a terminal's own; elsewhere any)\n"
             "      --color WHEN         auto (on terminals, without NO_COLOR), always, never\n"
             "      --no-pager           not through $PAGER, also on a terminal\n"
             "\n"
             "FILE - is standard input. Nothing is executed: imports and calls are shown as what\n"
             "they would be. A damaged pickle is shown up to where it goes wrong.\n",
    .run = run,
};
