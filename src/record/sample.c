/*
 * sample.c - once in a while: how much processor time and memory processes have, what workers do, and how
 * much there is to do. One look at each pool, and one small file of /proc for each process.
 */
#include "record/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIGHTS_MAX 1024

/* Of a process, or of one thread of this one, which has no memory of its own. False: there is none. */
static bool usage_of(const achar__journal_sight *sight, uint64_t *cpu_ticks, uint64_t *rss_nbytes)
{
    char path[48], text[1024];
    unsigned long long user, system;
    long long pages;
    snprintf(path, sizeof path, sight->is_thread ? "/proc/self/task/%d/stat" : "/proc/%d/stat",
             sight->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t nbytes = read(fd, text, sizeof text - 1);
    close(fd);
    if (nbytes <= 0) {
        return false;
    }
    text[nbytes] = '\0';
    const char *behind_name = strrchr(text, ')');
    if (!behind_name || sscanf(behind_name + 2,
                               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
                               "%*d %*d %*d %*u %*u %lld",
                               &user, &system, &pages) != 3) {
        return false;
    }
    *cpu_ticks = user + system;
    *rss_nbytes = sight->is_thread ? 0 : (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

static record_seen *seen_of(achar__record *record, uint32_t pool, uint32_t worker)
{
    for (size_t i = 0; i < record->seen_count; i++) {
        if (record->seen[i].pool == pool && record->seen[i].worker == worker) {
            return &record->seen[i];
        }
    }
    if (record->seen_count == record->seen_capacity) {
        size_t capacity = record->seen_capacity * 2 + 16;
        record_seen *grown = realloc(record->seen, capacity * sizeof *grown);
        if (!grown) {
            return NULL;
        }
        record->seen = grown;
        record->seen_capacity = capacity;
    }
    record_seen *made = &record->seen[record->seen_count++];
    *made = (record_seen){.pool = pool, .worker = worker};
    return made;
}

static int step(sqlite3_stmt *statement)
{
    int error = sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return error == SQLITE_DONE ? SQLITE_OK : error;
}

/* A worker that does nothing new gets no row. */
static int sample_process(achar__record *record, double now, uint32_t pool,
                          const achar__journal_sight *sight)
{
    uint64_t cpu_ticks, rss_nbytes;
    record_seen *before = seen_of(record, pool, sight->worker);
    if (!usage_of(sight, &cpu_ticks, &rss_nbytes) ||
        (before && before->cpu_ticks == cpu_ticks && before->rss_nbytes == rss_nbytes &&
         before->number == sight->number)) {
        return SQLITE_OK;
    }
    if (before) {
        before->cpu_ticks = cpu_ticks;
        before->rss_nbytes = rss_nbytes;
        before->number = sight->number;
    }
    sqlite3_stmt *statement = record->statements[STATEMENT_SAMPLE];
    sqlite3_bind_int64(statement, 1, record->run);
    sqlite3_bind_double(statement, 2, now);
    sqlite3_bind_int64(statement, 3, pool);
    sqlite3_bind_int64(statement, 4, sight->worker);
    sqlite3_bind_double(statement, 5, (double)cpu_ticks / (double)sysconf(_SC_CLK_TCK));
    if (!sight->is_thread) {
        sqlite3_bind_int64(statement, 6, (int64_t)rss_nbytes);
    }
    if (sight->number) {
        sqlite3_bind_int64(statement, 7, sight->number);
        sqlite3_bind_double(statement, 8, record_seconds(record, sight->started_ns));
        sqlite3_bind_int64(statement, 9, sight->name);
    }
    return step(statement);
}

static int sample_load(achar__record *record, double now, const source *of,
                       const achar__journal_load *load)
{
    sqlite3_stmt *statement = record->statements[STATEMENT_LOAD];
    const uint64_t values[] = {
        of->pool,      load->queued, load->delayed, load->waiting,       load->running,
        of->submitted, of->ended,    of->failed,    load->client_nbytes, load->workers_nbytes};
    sqlite3_bind_int64(statement, 1, record->run);
    sqlite3_bind_double(statement, 2, now);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        sqlite3_bind_int64(statement, 3 + (int)i, (int64_t)values[i]);
    }
    return step(statement);
}

void record_look(achar__record *record)
{
    for (source *it = record->known; it; it = it->next) {
        if (it->is_sampled_ended) {
            continue;
        }
        if (!it->sights) {
            it->sights = malloc(SIGHTS_MAX * sizeof *it->sights);
        }
        if (it->sights) {
            size_t count = achar__journal_look(it->journal, it->sights, SIGHTS_MAX, &it->load);
            it->sight_count = count < SIGHTS_MAX ? count : SIGHTS_MAX;
            it->is_last_look = it->has_ended; /* once more, for the last counts */
        }
    }
}

int record_sample(achar__record *record)
{
    double now = record_seconds(record, achar__now_ns());
    achar__journal_sight client = {.pid = (int)getpid()};
    int error = sample_process(record, now, 0, &client);
    for (source *it = record->known; it && error == SQLITE_OK; it = it->next) {
        if (!it->sights || it->is_sampled_ended) {
            continue;
        }
        error = sample_load(record, now, it, &it->load);
        for (size_t i = 0; i < it->sight_count && error == SQLITE_OK; i++) {
            error = sample_process(record, now, it->pool, &it->sights[i]);
        }
    }
    return error;
}

void record_sample_is_written(achar__record *record)
{
    for (source *it = record->known; it; it = it->next) {
        if (it->is_last_look) {
            it->is_sampled_ended = true;
            free(it->sights);
            it->sights = NULL;
        }
    }
}

/* What was seen is not in the file: the next sample has a row for everyone. */
void record_sample_is_lost(achar__record *record)
{
    record->seen_count = 0;
}
