/*
 * top_lines.c - `achar top`: what was read becomes lines, as many and as long as the terminal has room for.
 *
 * There are sections, each with a heading. Where the room is too small, the longest sections give up lines until
 * all fit; where not even headings do, the last sections go.
 */
#include "cli/cli.h"
#include "cli/top.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SECTIONS_MAX = 6, SECTION_LINES = 96 };

typedef struct section {
    top_line lines[SECTION_LINES];
    size_t count;
} section;

__attribute__((format(printf, 3, 4))) static void add(section *to, enum top_style style,
                                                      const char *format, ...)
{
    if (to->count == SECTION_LINES) {
        return;
    }
    top_line *line = &to->lines[to->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line->text, sizeof line->text, format, arguments);
    va_end(arguments);
    cli_make_plain(line->text);
    line->style = style;
}

/* ---- numbers and text ---- */

static const char *seconds_text(char *out, size_t nbytes, double seconds)
{
    if (seconds < 0.0009995) {
        snprintf(out, nbytes, "%.0f us", seconds * 1e6);
    } else if (seconds < 0.9995) {
        snprintf(out, nbytes, "%.*f ms", seconds < 0.009995 ? 2 : 0, seconds * 1e3);
    } else if (seconds < 100) {
        snprintf(out, nbytes, "%.1f s", seconds);
    } else {
        long whole = (long)seconds;
        snprintf(out, nbytes, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    }
    return out;
}

static const char *bytes_text(char *out, size_t nbytes, int64_t size)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)size;
    size_t unit = 0;
    for (; value >= 999.5 && unit < 4; unit++) {
        value /= 1000;
    }
    if (size <= 0) {
        snprintf(out, nbytes, "-");
    } else {
        snprintf(out, nbytes, "%.*f %s", unit && value < 9.95 ? 1 : 0, value, units[unit]);
    }
    return out;
}

/* Characters, each taken to be one column wide. */
static size_t columns_of(const char *text)
{
    size_t count = 0;
    for (; *text; text++) {
        count += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return count;
}

static void cut_to(char *text, size_t columns)
{
    size_t count = 0, at = 0;
    for (; text[at]; at++) {
        if (((unsigned char)text[at] & 0xC0) != 0x80 && count++ == columns) {
            break;
        }
    }
    text[at] = '\0';
}

/* The end of a name is what tells it from others: "…f.<locals>.g". */
static const char *name_text(char *out, size_t nbytes, const char *name, size_t columns)
{
    size_t excess = columns_of(name);
    excess = excess > columns ? excess - columns + 1 : 0;
    const char *from = name;
    for (size_t i = 0; i < excess; i++) {
        for (from++; ((unsigned char)*from & 0xC0) == 0x80; from++) {
        }
    }
    size_t shown = columns_of(from) + (excess != 0);
    snprintf(out, nbytes, "%s%s%*s", excess ? "…" : "", from,
             (int)(columns > shown ? columns - shown : 0), "");
    return out;
}

/* ---- sections ---- */

static void add_run(section *to, const top_view *view, const char *path)
{
    const top_run *run = &view->run;
    char time[32], memory[32], cpu[32] = "";
    double end = run->life == TOP_UNDER_WAY ? view->now : run->ended > 0 ? run->ended : run->seen;
    static const char *const lives[] = {
        [TOP_UNDER_WAY] = "under way for",
        [TOP_ENDED] = "has ended, after",
        [TOP_BROKEN_OFF] = "broken off: its process is gone, after",
        [TOP_ELSEWHERE] = "written on another machine; last heard of after",
    };
    add(to, TOP_HEAD, "achar top  %s  run %lld of %lld", path, (long long)run->id,
        (long long)run->count);
    add(to, run->life == TOP_BROKEN_OFF ? TOP_BAD : TOP_PLAIN, "%s, pid %lld on %s, %s %s",
        run->program[0] ? run->program : "python", (long long)run->pid, run->host, lives[run->life],
        seconds_text(time, sizeof time, end - run->started));
    if (run->life == TOP_UNDER_WAY && view->client.cpu_share >= 0) {
        snprintf(cpu, sizeof cpu, ", client %.0f%% cpu, %s", view->client.cpu_share * 100,
                 bytes_text(memory, sizeof memory, view->client.rss_nbytes));
    }
    add(to, view->broken_workers ? TOP_BAD : TOP_PLAIN,
        "%zu worker%s, %lld ended, %lld of them not by themselves%s", view->worker_count,
        view->worker_count == 1 ? "" : "s", (long long)view->ended_workers,
        (long long)view->broken_workers, cpu);
    if (run->dropped) {
        add(to, TOP_BAD, "%lld events are missing%s%s", (long long)run->dropped,
            run->trouble[0] ? ": " : "", run->trouble);
    }
}

static void add_counts(section *to, const top_view *view)
{
    const top_sums *all = &view->all;
    char bar[41], rate[48] = "";
    int64_t done = all->returned + all->failed + all->cancelled;
    int64_t left = all->submitted - done, queued = left > all->running ? left - all->running : 0;
    size_t full = all->submitted ? (size_t)((double)done / (double)all->submitted * 40) : 0;
    for (size_t i = 0; i < 40; i++) {
        bar[i] = i < full ? '#' : '-';
    }
    bar[40] = '\0';
    if (view->rate >= 0 && view->run.life == TOP_UNDER_WAY) {
        snprintf(rate, sizeof rate, "  %.*f/s", view->rate < 10 ? 1 : 0, view->rate);
    }
    add(to, TOP_PLAIN, "%s", "");
    add(to, TOP_PLAIN,
        "tasks %lld  queued %lld  running %lld  returned %lld  failed %lld  "
        "cancelled %lld  retries %lld",
        (long long)all->submitted, (long long)queued, (long long)all->running,
        (long long)all->returned, (long long)all->failed, (long long)all->cancelled,
        (long long)all->retries);
    add(to, TOP_PLAIN, "[%s] %3.0f%%%s", bar,
        all->submitted ? 100 * (double)done / (double)all->submitted : 0, rate);
}

static void add_names(section *to, const top_view *view, size_t width)
{
    size_t shown = view->name_count < TOP_NAMES ? view->name_count : TOP_NAMES;
    add(to, TOP_PLAIN, "%s", "");
    add(to, TOP_HEAD, "%-*s %9s %7s %9s %7s %9s %9s %9s %8s", (int)width, "NAME", "QUEUED",
        "RUNNING", "RETURNED", "FAILED", "TIME", "MEAN", "LONGEST", "MEMORY");
    for (size_t i = 0; i < shown; i++) {
        const top_sums *it = &view->names[i];
        char name[TOP_TEXT + 64], time[32], mean[32], longest[32], peak[32];
        int64_t ended = it->returned + it->failed;
        int64_t queued = it->submitted - ended - it->cancelled - it->running;
        add(to, it->failed ? TOP_BAD : TOP_PLAIN, "%s %9lld %7lld %9lld %7lld %9s %9s %9s %8s",
            name_text(name, sizeof name, it->name, width), (long long)(queued > 0 ? queued : 0),
            (long long)it->running, (long long)it->returned, (long long)it->failed,
            seconds_text(time, sizeof time, it->seconds),
            ended ? seconds_text(mean, sizeof mean, it->seconds / (double)ended) : "-",
            it->longest > 0 ? seconds_text(longest, sizeof longest, it->longest) : "-",
            bytes_text(peak, sizeof peak, it->peak_nbytes));
    }
    if (view->name_count > shown) {
        add(to, TOP_PLAIN, "and %zu names more", view->name_count - shown);
    }
}

static void add_workers(section *to, const top_view *view, size_t width)
{
    if (!view->worker_count || view->run.life != TOP_UNDER_WAY) {
        return;
    }
    add(to, TOP_PLAIN, "%s", "");
    add(to, TOP_HEAD, "%-10s %8s %5s %8s  %-*s %9s", "WORKER", "PID", "CPU%", "MEMORY", (int)width,
        "TASK", "FOR");
    for (size_t i = 0; i < view->worker_count; i++) {
        const top_worker *it = &view->workers[i];
        char label[32], share[16] = "-", memory[32], name[TOP_TEXT + 64], time[32] = "";
        snprintf(label, sizeof label, "%lld.%lld", (long long)it->pool, (long long)it->id);
        if (it->cpu_share >= 0) {
            snprintf(share, sizeof share, "%.0f", it->cpu_share * 100);
        }
        if (it->task) {
            seconds_text(time, sizeof time, view->now - it->task_started);
        }
        add(to, TOP_PLAIN, "%-10s %8lld %5s %8s  %s %9s", label, (long long)it->pid, share,
            bytes_text(memory, sizeof memory, it->rss_nbytes),
            name_text(name, sizeof name,
                      it->task       ? it->name
                      : it->is_ready ? "idle"
                                     : "is starting",
                      width),
            time);
    }
}

static void add_slowest(section *to, const top_view *view, size_t width)
{
    if (!view->slowest_count) {
        return;
    }
    add(to, TOP_PLAIN, "%s", "");
    add(to, TOP_HEAD, "%-*s %9s %9s %7s  %s", (int)width, "SLOWEST", "NUMBER", "TIME", "WORKER",
        "STATE");
    for (size_t i = 0; i < view->slowest_count; i++) {
        const top_task *it = &view->slowest[i];
        char name[TOP_TEXT + 64], time[32], calls[48] = "";
        if (it->calls > 1) {
            snprintf(calls, sizeof calls, ", %lld calls", (long long)it->calls);
        }
        add(to, TOP_PLAIN, "%s %9lld %9s %7lld  %s%s",
            name_text(name, sizeof name, it->name, width), (long long)it->number,
            seconds_text(time, sizeof time, it->seconds), (long long)it->worker, it->state, calls);
    }
}

static void add_failures(section *to, const top_view *view, size_t width)
{
    if (!view->failure_count) {
        return;
    }
    add(to, TOP_PLAIN, "%s", "");
    add(to, TOP_HEAD, "%-*s %9s %9s %-12s  %s", (int)width, "FAILURES", "NUMBER", "AGO", "STATE",
        "ERROR");
    for (size_t i = 0; i < view->failure_count; i++) {
        const top_task *it = &view->failures[i];
        char name[TOP_TEXT + 64], ago[32], code[48] = "";
        if (it->has_code) {
            snprintf(code, sizeof code, it->code < 0 ? "signal %lld" : "exit code %lld",
                     (long long)(it->code < 0 ? -it->code : it->code));
        }
        add(to, TOP_BAD, "%s %9lld %9s %-12s  %s", name_text(name, sizeof name, it->name, width),
            (long long)it->number, seconds_text(ago, sizeof ago, view->now - it->at), it->state,
            it->error[0] ? it->error : code);
    }
}

/* ---- fitting ---- */

static void shrink(section *sections, size_t count, size_t rows)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        total += sections[i].count;
    }
    while (total > rows) {
        section *longest = NULL;
        for (size_t i = 2; i < count; i++) { /* the run and its counts stay as they are */
            if (sections[i].count > 3 && (!longest || sections[i].count > longest->count)) {
                longest = &sections[i];
            }
        }
        if (!longest) {
            return; /* what is left is cut off at the end */
        }
        longest->count--;
        total--;
    }
}

size_t top_lines(const top_view *view, const char *path, size_t rows, size_t columns,
                 top_line *lines, size_t capacity)
{
    static section sections[SECTIONS_MAX]; /* the command has one thread */
    memset(sections, 0, sizeof sections);
    size_t width = 12;
    for (size_t i = 0; i < view->name_count && i < TOP_NAMES; i++) {
        size_t wide = columns_of(view->names[i].name);
        width = wide > width ? wide : width;
    }
    size_t most = columns && columns < 110 ? (columns > 92 ? columns - 77 : 15) : 33;
    width = width < most ? width : most;
    add_run(&sections[0], view, path);
    add_counts(&sections[1], view);
    add_names(&sections[2], view, width);
    add_workers(&sections[3], view, width);
    add_slowest(&sections[4], view, width);
    add_failures(&sections[5], view, width);
    rows = rows && rows < capacity ? rows : capacity;
    shrink(sections, SECTIONS_MAX, rows);
    size_t count = 0;
    for (size_t i = 0; i < SECTIONS_MAX; i++) {
        for (size_t j = 0; j < sections[i].count && count < rows; j++) {
            lines[count] = sections[i].lines[j];
            if (columns) {
                cut_to(lines[count].text, columns);
            }
            count++;
        }
    }
    return count;
}
