/*
 * top.h - what `achar top` shows, between the file that it is read from and the lines that it becomes.
 */
#ifndef ACHAR_CLI_TOP_H
#define ACHAR_CLI_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>

enum { TOP_NAMES = 64, TOP_WORKERS = 256, TOP_TASKS = 16, TOP_TEXT = 208 };

enum top_life { TOP_UNDER_WAY, TOP_ENDED, TOP_BROKEN_OFF, TOP_ELSEWHERE };

typedef struct top_run {
    int64_t id, count; /* of runs in the file */
    int64_t pid, workers, dropped;
    double started, ended, seen;
    char program[TOP_TEXT], host[TOP_TEXT], trouble[TOP_TEXT];
    enum top_life life;
} top_run;

/* Calls of one name, or of all. */
typedef struct top_sums {
    char name[TOP_TEXT];
    int64_t submitted, returned, failed, cancelled, retries, running;
    double seconds, cpu_seconds, longest;
    int64_t peak_nbytes;
} top_sums;

typedef struct top_worker {
    int64_t pool, id, pid;
    bool is_ready;
    double cpu_share; /* negative: not known */
    int64_t rss_nbytes;
    int64_t task;
    double task_started;
    char name[TOP_TEXT];
} top_worker;

typedef struct top_task {
    char name[TOP_TEXT], state[32], error[TOP_TEXT];
    int64_t number, worker, calls;
    double seconds, at;
    int64_t code;
    bool has_code;
} top_task;

typedef struct top_view {
    double now;
    top_run run;
    top_sums all, names[TOP_NAMES];
    size_t name_count; /* in the run; those with the most time are here */
    double rate;       /* calls a second, of late; negative: not known */
    top_worker client, workers[TOP_WORKERS];
    size_t worker_count;
    int64_t ended_workers, broken_workers; /* broken: that did not just leave */
    top_task slowest[TOP_TASKS], failures[TOP_TASKS];
    size_t slowest_count, failure_count;
} top_view;

/* ---- top_read.c ---- */

/* For reading only. NULL after saying why on stderr. */
sqlite3 *top_open(const char *path);
/* Run 0 is the last one. False, with 'message': there is none, or the file cannot be read. */
bool top_read(sqlite3 *db, const char *path, int64_t run, top_view *view, char *message,
              size_t message_nbytes);
/* The record that a process of this user is writing; false after saying on stderr that there is none, or which. */
bool top_find(char *path, size_t nbytes);

/* ---- top_lines.c ---- */

enum top_style { TOP_PLAIN, TOP_HEAD, TOP_BAD };

typedef struct top_line {
    enum top_style style;
    char text[512];
} top_line;

/* At most 'rows' lines of at most 'columns' characters; returns how many. 'rows' 0, 'columns' 0: no limit but
 * the array's. */
size_t top_lines(const top_view *view, const char *path, size_t rows, size_t columns,
                 top_line *lines, size_t capacity);

#endif
