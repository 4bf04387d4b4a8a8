/* worker.c - a C worker that does well or badly, as it is told; for test_tasks.c and tests/tasks. */
#include <achar/achar.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int add(achar_job *job, void *opaque)
{
    (void)opaque;
    int64_t sum = 0;
    for (size_t i = 0; i < achar_job_arg_count(job); i++) {
        sum += achar_int64(achar_job_arg(job, i));
    }
    sum += achar_int64(achar_job_keyword(job, "more"));
    achar_job_return(job, achar_job_result(job), achar_make_int(sum));
    return ACHAR_OK;
}

/* Gives back its first argument as it is. */
static int echo(achar_job *job, void *opaque)
{
    (void)opaque;
    achar_job_return(job, achar_job_arguments(job), achar_job_arg(job, 0));
    return ACHAR_OK;
}

static int nothing(achar_job *job, void *opaque)
{
    (void)job;
    (void)opaque;
    return ACHAR_OK;
}

/* nbytes of bytes, all 'a'. */
static int fill(achar_job *job, void *opaque)
{
    (void)opaque;
    size_t nbytes = (size_t)achar_int64(achar_job_arg(job, 0));
    char *bytes = malloc(nbytes ? nbytes : 1);
    if (!bytes) {
        return ACHAR_E_NOMEM;
    }
    memset(bytes, 'a', nbytes);
    achar_graph *result = achar_job_result(job);
    achar_job_return(job, result, achar_make_bytes(result, bytes, nbytes));
    free(bytes);
    return ACHAR_OK;
}

/* The length of its first argument, wherever that comes from: a future's result, put(). */
static int length(achar_job *job, void *opaque)
{
    (void)opaque;
    achar_value value = achar_job_arg(job, 0);
    size_t nbytes = achar_count(value);
    if (!achar_text(value, &nbytes) && !achar_data(value, &nbytes)) {
        nbytes = achar_count(value);
    }
    achar_job_return(job, achar_job_result(job), achar_make_int((int64_t)nbytes));
    return ACHAR_OK;
}

/* The sum of a list, futures in it included. */
static int total(achar_job *job, void *opaque)
{
    (void)opaque;
    int64_t sum = 0;
    achar_value list = achar_job_arg(job, 0);
    for (size_t i = 0; i < achar_count(list); i++) {
        sum += achar_int64(achar_job_input(job, achar_item(list, i)));
    }
    achar_job_return(job, achar_job_result(job), achar_make_int(sum));
    return ACHAR_OK;
}

static int raise_error(achar_job *job, void *opaque)
{
    (void)opaque;
    size_t type_nbytes = 0, text_nbytes = 0;
    const char *type = achar_text(achar_job_arg(job, 0), &type_nbytes);
    const char *text = achar_text(achar_job_arg(job, 1), &text_nbytes);
    char name[100];
    snprintf(name, sizeof name, "%.*s", (int)type_nbytes, type ? type : "");
    return achar_job_raise(job, name, "%.*s", (int)text_nbytes, text ? text : "");
}

/* Returns a status and no more. */
static int fail(achar_job *job, void *opaque)
{
    (void)opaque;
    return (int)achar_int64(achar_job_arg(job, 0));
}

/* A value of a graph that could not be built. */
static int broken_result(achar_job *job, void *opaque)
{
    (void)opaque;
    achar_graph *result = achar_job_result(job);
    achar_job_return(job, result, achar_make_str(result, "\xff"));
    return ACHAR_OK;
}

/* An exception whose text is no UTF-8. */
static int raise_bytes(achar_job *job, void *opaque)
{
    (void)opaque;
    return achar_job_raise(job, "ValueError", "%s", "caf\xe9");
}

static int crash(achar_job *job, void *opaque)
{
    (void)opaque;
    signal(SIGSEGV, SIG_DFL); /* not a sanitizer's */
    raise((int)achar_int64(achar_job_arg(job, 0)));
    return ACHAR_OK;
}

static int crash_aborting(achar_job *job, void *opaque)
{
    (void)job;
    (void)opaque;
    signal(SIGABRT, SIG_DFL);
    abort();
    return ACHAR_OK;
}

static int leave(achar_job *job, void *opaque)
{
    (void)opaque;
    _exit((int)achar_int64(achar_job_arg(job, 0)));
    return ACHAR_OK;
}

/* Deaf to its time limit. */
static int hang(achar_job *job, void *opaque)
{
    (void)opaque;
    while (achar_job_name(job)) {
        pause();
    }
    return ACHAR_OK;
}

/* Ends when it is told to. */
static int wait_politely(achar_job *job, void *opaque)
{
    (void)opaque;
    const struct timespec tick = {0, 10000000};
    while (!achar_job_should_stop(job)) {
        nanosleep(&tick, NULL);
    }
    return ACHAR_E_TIMEOUT;
}

static int print(achar_job *job, void *opaque)
{
    (void)opaque;
    size_t nbytes = 0;
    const char *text = achar_text(achar_job_arg(job, 0), &nbytes);
    printf("%.*s", (int)nbytes, text ? text : "");
    return ACHAR_OK;
}

/* How many mapped files have "libpython" in their names. */
static int python_mappings(achar_job *job, void *opaque)
{
    (void)opaque;
    char line[4096];
    int64_t found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        found += strstr(line, "python") != NULL;
    }
    if (maps) {
        fclose(maps);
    }
    achar_job_return(job, achar_job_result(job), achar_make_int(found));
    return ACHAR_OK;
}

static int pid(achar_job *job, void *opaque)
{
    (void)opaque;
    achar_job_return(job, achar_job_result(job), achar_make_int(getpid()));
    return ACHAR_OK;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        achar_job_function function;
    } offers[] = {
        {"add", add},
        {"echo", echo},
        {"nothing", nothing},
        {"fill", fill},
        {"length", length},
        {"total", total},
        {"raise", raise_error},
        {"fail", fail},
        {"broken_result", broken_result},
        {"raise_bytes", raise_bytes},
        {"crash", crash},
        {"abort", crash_aborting},
        {"exit", leave},
        {"hang", hang},
        {"wait", wait_politely},
        {"print", print},
        {"python_mappings", python_mappings},
        {"pid", pid},
    };
    achar_worker *worker = NULL;
    if (argc > 1 && strcmp(argv[1], "--refuse") == 0) {
        fputs("this worker refuses to start\n", stderr);
        return 3;
    }
    int status = achar_worker_open(&worker);
    if (status != ACHAR_OK) {
        return 2;
    }
    for (size_t i = 0; i < sizeof offers / sizeof *offers && status == ACHAR_OK; i++) {
        status = achar_worker_register(worker, offers[i].name, offers[i].function, NULL);
    }
    if (status == ACHAR_OK) {
        status = achar_worker_run(worker);
    }
    achar_worker_close(worker);
    return status != ACHAR_OK;
}
