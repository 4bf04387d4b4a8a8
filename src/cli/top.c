/*
 * top.c - `achar top`: a run under way, on a terminal; or once, as text.
 *
 * The terminal is put back as it was however this ends, q, Ctrl-C, Ctrl-\, SIGTERM, or the terminal's own end,
 * and while Ctrl-Z stops it. It is drawn with a handful of sequences that every terminal of this century
 * obeys; nothing else is needed of it.
 */
#include "cli/cli.h"
#include "cli/top.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { LINES_MAX = 512 };

static const char usage[] =
    "achar top [--once] [--interval SECONDS] [--run N] [FILE]\n\n"
    "Shows the run that FILE, which Executor(monitor=FILE) writes, is about: tasks by\n"
    "name and state, rates, workers, the slowest tasks, the last failures. Without\n"
    "FILE: the one that a process of yours is writing now.\n\n"
    "  --once              print it once; also if there is no terminal, or a dumb one\n"
    "  --interval SECONDS  between looks at the file; default 1\n"
    "  --run N             the run of that number; default the last one\n\n"
    "Keys: q quits.\n";

typedef struct options {
    const char *path;
    bool once;
    double interval;
    int64_t run;
} options;

static volatile sig_atomic_t must_end, must_stop;

static void note_end(int number)
{
    must_end = 1;
}

static void note_stop(int number)
{
    must_stop = 1;
}

/* That the window has another size is seen when it is drawn. */
static void note_nothing(int number)
{
}

/* ---- the terminal ---- */

static struct termios terminal_before;
static sigset_t asleep; /* the signal mask of the sleep: at any other time, ours wait */

static void put(const char *text)
{
    fputs(text, stdout);
}

static bool terminal_begin(void)
{
    if (tcgetattr(STDIN_FILENO, &terminal_before) != 0) {
        return false;
    }
    struct termios raw = terminal_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put("\033[?1049h\033[?25l"); /* the other screen, no cursor */
    return true;
}

static void terminal_end(void)
{
    put("\033[?25h\033[?1049l");
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

static void on(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(number, &action, NULL);
}

static void signals_begin(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGTSTP);
    sigaddset(&ours, SIGWINCH);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        sigaddset(&ours, ends[i]);
    }
    sigprocmask(SIG_BLOCK, &ours, &asleep);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        on(ends[i], note_end);
    }
    on(SIGTSTP, note_stop);
    on(SIGWINCH, note_nothing);
}

/* Ctrl-Z, with the terminal as it was until it goes on. */
static void stop(void)
{
    sigset_t it;
    sigemptyset(&it);
    sigaddset(&it, SIGTSTP);
    must_stop = 0;
    terminal_end();
    on(SIGTSTP, SIG_DFL);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &it, NULL); /* here it is stopped */
    sigprocmask(SIG_BLOCK, &it, NULL);
    on(SIGTSTP, note_stop);
    terminal_begin();
}

static void draw(const top_view *view, const char *path)
{
    static top_line lines[LINES_MAX];
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    size_t rows = size.ws_row ? size.ws_row : 24, columns = size.ws_col ? size.ws_col : 80;
    size_t count = top_lines(view, path, rows, columns, lines, LINES_MAX);
    put("\033[H");
    for (size_t i = 0; i < count; i++) {
        const char *style = lines[i].style == TOP_HEAD  ? "\033[1m"
                            : lines[i].style == TOP_BAD ? "\033[31m"
                                                        : "";
        printf("%s%s%s%s\033[K", i ? "\r\n" : "", style, lines[i].text, *style ? "\033[m" : "");
    }
    put("\033[J");
    fflush(stdout);
}

/* Sleeps; true: a key or a signal says that it is enough. */
static bool pause_for(double seconds)
{
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    struct timespec most = {.tv_sec = (time_t)seconds};
    char key;
    most.tv_nsec = (long)((seconds - (double)most.tv_sec) * 1e9);
    int found = ppoll(&keys, 1, &most, &asleep);
    if (found < 0 && must_stop && !must_end) {
        stop();
    }
    if (found <= 0) {
        return must_end;
    }
    ssize_t nbytes = read(STDIN_FILENO, &key, 1);
    return nbytes == 0 || (nbytes == 1 && (key == 'q' || key == 'Q' || key == 4));
}

/* ---- the verb ---- */

static void print_once(const top_view *view, const char *path)
{
    static top_line lines[LINES_MAX];
    size_t count = top_lines(view, path, 0, 0, lines, LINES_MAX);
    for (size_t i = 0; i < count; i++) {
        puts(lines[i].text);
    }
}

static int show(sqlite3 *db, const options *wanted)
{
    static top_view view;
    char message[1024];
    const char *terminal = getenv("TERM");
    bool once = wanted->once || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) || !terminal ||
                !*terminal || strcmp(terminal, "dumb") == 0;
    if (!top_read(db, wanted->path, wanted->run, &view, message, sizeof message)) {
        cli_say("%s", message);
        return EXIT_BAD_INPUT;
    }
    if (!once) {
        signals_begin();
    }
    if (once || !terminal_begin()) {
        print_once(&view, wanted->path);
        return EXIT_SUCCESS;
    }
    bool readable = true;
    for (;;) {
        draw(&view, wanted->path);
        if (pause_for(wanted->interval)) {
            break;
        }
        readable = top_read(db, wanted->path, wanted->run ? wanted->run : view.run.id, &view,
                            message, sizeof message);
        if (!readable) {
            break;
        }
    }
    terminal_end();
    if (!readable) {
        cli_say("%s", message);
        return EXIT_BAD_INPUT;
    }
    return EXIT_SUCCESS;
}

static bool parse_number(const char *text, double least, double most, double *number)
{
    char *end;
    errno = 0;
    *number = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && *number >= least && *number <= most;
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"once", no_argument, NULL, '1'},
                                                 {"interval", required_argument, NULL, 'i'},
                                                 {"run", required_argument, NULL, 'r'},
                                                 {NULL, 0, NULL, 0}};
    options wanted = {.interval = 1};
    char found[PATH_MAX];
    double number;
    for (int option; (option = getopt_long(argc, argv, "1i:r:", long_options, NULL)) != -1;) {
        if (option == '1') {
            wanted.once = true;
        } else if (option == 'i') {
            if (!parse_number(optarg, 0.05, 3600, &wanted.interval)) {
                return cli_misused(&cli_top, "--interval takes seconds, 0.05 to 3600, not '%s'",
                                   optarg);
            }
        } else if (option == 'r') {
            if (!parse_number(optarg, 1, 1e15, &number) || number != (double)(int64_t)number) {
                return cli_misused(&cli_top, "--run takes the number of a run, not '%s'", optarg);
            }
            wanted.run = (int64_t)number;
        } else {
            return EXIT_BAD_USAGE;
        }
    }
    if (argc - optind > 1) {
        return cli_misused(&cli_top, "one file at most");
    }
    if (optind < argc) {
        wanted.path = argv[optind];
    } else if (top_find(found, sizeof found)) {
        wanted.path = found;
    } else {
        return EXIT_BAD_INPUT;
    }
    sqlite3 *db = top_open(wanted.path);
    if (!db) {
        return EXIT_BAD_INPUT;
    }
    int result = show(db, &wanted);
    sqlite3_close(db);
    return result;
}

const verb cli_top = {
    .name = "top",
    .summary = "a run of tasks under way, as Executor(monitor=) records it",
    .usage = usage,
    .run = run,
};
