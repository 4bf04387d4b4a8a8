/*
 * client.c - a C program's pool of workers: how they are started, and tasks on their way to them.
 *
 * All of the work is src/runtime/pool's. What stands here makes command lines and payloads.
 */
#include "tasks/client.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <achar/write.h>

#include "tasks/payload.h"

enum { WORKERS_MAX = 1024 };

extern char **environ;

struct achar_pool {
    achar__pool *pool;
    bool runs_python;
};

/* What a Python worker runs; its arguments are the folders for sys.path. */
static const char PYTHON_PROGRAM[] = "import sys; sys.path[:0] = sys.argv[1:]; del sys.argv[1:]; "
                                     "from achar._worker import main; main()";

/* Libraries that start a thread per processor in every worker would be in each other's way. */
static const char *const THREAD_LIMITS[] = {
    "OMP_NUM_THREADS",  "OPENBLAS_NUM_THREADS",   "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
};
enum { THREAD_LIMIT_COUNT = sizeof THREAD_LIMITS / sizeof *THREAD_LIMITS };

static int fail(achar_error *error, int code, const char *format, ...)
{
    if (error) {
        va_list values;
        va_start(values, format);
        *error = (achar_error){.code = code, .opcode = -1};
        vsnprintf(error->message, sizeof error->message, format, values);
        va_end(values);
    }
    return code;
}

/* ---- how workers are started ---- */

static unsigned processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int count = sched_getaffinity(0, sizeof set, &set) == 0
                    ? CPU_COUNT(&set)
                    : (int)sysconf(_SC_NPROCESSORS_ONLN); /* more than 1024 of them */
    return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (unsigned)count;
}

static size_t count_of(const char *const *strings)
{
    size_t count = 0;
    while (strings && strings[count]) {
        count++;
    }
    return count;
}

/* The command line; its strings are not copied. NULL: no memory. */
static const char **command_line(const achar_pool_options *options)
{
    const char *python = options->python ? options->python : "python3";
    const char *const *rest = options->program ? options->program : options->python_path;
    const char **argv = calloc(count_of(rest) + 5, sizeof *argv);
    size_t count = 0;
    if (!argv) {
        return NULL;
    }
    if (!strchr(options->program ? options->program[0] : python, '/')) {
        argv[count++] = "/usr/bin/env"; /* looks in PATH */
    }
    if (!options->program) {
        argv[count++] = python;
        argv[count++] = "-c";
        argv[count++] = PYTHON_PROGRAM;
    }
    for (size_t i = 0; rest && rest[i]; i++) {
        argv[count++] = rest[i];
    }
    return argv;
}

/* The client's environment with the processors divided; 'room' holds the strings that are new. */
static const char **environment(unsigned worker_count, char room[THREAD_LIMIT_COUNT][40])
{
    size_t count = count_of((const char *const *)environ);
    const char **envp = calloc(count + THREAD_LIMIT_COUNT + 1, sizeof *envp);
    if (!envp) {
        return NULL;
    }
    if (count) {
        memcpy(envp, environ, count * sizeof *envp);
    }
    unsigned share = processors() / worker_count;
    for (size_t i = 0; i < THREAD_LIMIT_COUNT; i++) {
        if (!getenv(THREAD_LIMITS[i])) {
            snprintf(room[i], 40, "%s=%u", THREAD_LIMITS[i], share ? share : 1);
            envp[count++] = room[i];
        }
    }
    return envp;
}

/* What Python workers read at start; see python/achar/_worker.py. */
static int make_hello(achar_bytes *out, achar_error *error)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_value hello = achar_make_dict(graph);
    achar_put(graph, hello, "path", achar_make_none());
    achar_put(graph, hello, "cwd", achar_make_none());
    achar_put(graph, hello, "argv", achar_make_none());
    achar_put(graph, hello, "output", achar_make_none());
    achar_put(graph, hello, "environment", achar_make_none());
    achar_put(graph, hello, "depth", achar_make_int(0));
    achar_put(graph, hello, "initializer", achar_make_none());
    achar_set_root(graph, hello);
    int status = achar_write(graph, 4, NULL, out, error);
    achar_graph_free(graph);
    return status;
}

int achar_pool_open(const achar_pool_options *given, achar_pool **out, achar_error *error)
{
    const achar_pool_options none = {0}, *options = given ? given : &none;
    char room[THREAD_LIMIT_COUNT][40];
    achar_bytes hello = {0};
    const char **argv = NULL, **envp = NULL;
    unsigned worker_count = options->worker_count ? options->worker_count : processors();
    if (!out) {
        return ACHAR_E_INVALID;
    }
    *out = NULL;
    if (options->program && !options->program[0]) {
        return fail(error, ACHAR_E_INVALID, "'program' is an empty command line");
    }
    if (worker_count > WORKERS_MAX) {
        return fail(error, ACHAR_E_INVALID, "more than %d workers", WORKERS_MAX);
    }
    int status = make_hello(&hello, error);
    if (status != ACHAR_OK) {
        return status;
    }
    achar_pool *it = calloc(1, sizeof *it);
    argv = command_line(options);
    envp = environment(worker_count, room);
    if (!it || !argv || !envp) {
        status = fail(error, ACHAR_E_NOMEM, "out of memory");
        goto done;
    }
    const achar__pool_options pool_options = {
        .worker_argv = argv,
        .worker_envp = envp,
        .worker_count = worker_count,
        .hello = hello.data,
        .hello_nbytes = hello.nbytes,
        .max_tasks_per_worker = options->max_tasks_per_worker,
    };
    it->runs_python = !options->program;
    status = achar__pool_create(&pool_options, &it->pool);
    if (status != ACHAR_OK) {
        fail(error, status, "the pool cannot be made: %s",
             status == ACHAR_E_IO ? strerror(errno) : achar_status_message(status));
        goto done;
    }
    *out = it;
    it = NULL;
done:
    free(it);
    free(argv);
    free(envp);
    achar_bytes_free(&hello, NULL);
    return status;
}

void achar_pool_close(achar_pool *pool)
{
    if (!pool) {
        return;
    }
    achar__pool_close(pool->pool);
    while (achar__pool_join(pool->pool, -1) == ACHAR_E_INTERRUPTED) {
    }
    achar__pool_release(pool->pool);
    free(pool);
}

void achar_pool_kill(achar_pool *pool)
{
    if (pool) {
        achar__pool_kill(pool->pool);
    }
}

/* ---- tasks on their way ---- */

static int reserve(void *owner, size_t nbytes, achar__block *out)
{
    return achar__pool_block_reserve(owner, nbytes, out);
}

static int grow(void *owner, achar__block *block, size_t used, size_t nbytes)
{
    return achar__pool_block_grow(owner, block, used, nbytes);
}

/* The function's pickle: an import for Python, the name for a C worker. */
static int find_function(achar_pool *pool, const char *name, achar__function **out,
                         achar_error *error)
{
    achar_bytes bytes = {0};
    achar_graph *graph = achar_graph_new(NULL);
    achar_value value = achar_nothing();
    const char *colon = strchr(name, ':');
    if (pool->runs_python && (!colon || colon == name || !colon[1])) {
        achar_graph_free(graph);
        return fail(error, ACHAR_E_INVALID,
                    "a Python function is called by \"module:name\", not \"%.60s\"", name);
    }
    if (pool->runs_python) {
        char *module = strndup(name, (size_t)(colon - name));
        value = achar_make_global(graph, module ? module : "", colon + 1);
        free(module);
    } else {
        value = achar_make_str(graph, name);
    }
    achar_set_root(graph, value);
    int status = achar_write(graph, 4, NULL, &bytes, error);
    if (status == ACHAR_OK) {
        status = achar__pool_function(pool->pool, bytes.data, bytes.nbytes,
                                      ACHAR__FUNCTION_REUSABLE, out);
        if (status != ACHAR_OK) {
            fail(error, status, "the function cannot be sent: %s", achar_status_message(status));
        }
    }
    achar_bytes_free(&bytes, NULL);
    achar_graph_free(graph);
    return status;
}

/* The pickle of (arguments, keywords or None). */
static int write_arguments(achar__block_sink *sink, achar_graph *arguments, achar_value keywords,
                           achar_error *error)
{
    achar_graph *empty = arguments ? NULL : achar_graph_new(NULL);
    achar_graph *graph = arguments ? arguments : empty;
    achar_value root = arguments ? achar_root(arguments) : achar_make_tuple(empty, NULL, 0);
    achar_value items[] = {root, achar_kind(keywords) == ACHAR_DICT ? keywords : achar_make_none()};
    int status = achar_graph_status(graph);
    if (status != ACHAR_OK) {
        fail(error, status, "the arguments could not be built: %s", achar_status_message(status));
    } else if (achar_kind(root) != ACHAR_TUPLE ||
               (achar_kind(keywords) != ACHAR_DICT && achar_kind(keywords) != ACHAR_NOTHING)) {
        status = fail(error, ACHAR_E_TYPE, "%s",
                      achar_kind(root) == ACHAR_TUPLE ? "the keywords are no dict"
                                                      : "the root of the arguments is no tuple");
    } else {
        achar_error local;
        achar_set_root(graph, achar_make_tuple(graph, items, 2));
        status = achar__block_sink_write(sink, graph, error ? error : &local);
        achar_set_root(graph, root);
    }
    achar_graph_free(empty);
    return status;
}

int achar_pool_submit(achar_pool *pool, const char *function, achar_graph *arguments,
                      achar_value keywords, const achar_task_options *options, achar_task **out,
                      achar_error *error)
{
    if (!pool || !function || !out) {
        return fail(error, ACHAR_E_INVALID, "pool, function and out are not NULL");
    }
    *out = NULL;
    achar__function *handle = NULL;
    achar__task *task = NULL;
    achar_task *made = NULL;
    achar__block_sink sink = {pool->pool, reserve, grow, {0}, 0, ACHAR_OK};
    achar__task_options task_options = {0};
    if (options) {
        task_options.time_limit_ns = options->time_limit_ns;
        task_options.retry_count = options->retry_count;
        task_options.backoff_ns = options->backoff_ns;
        task_options.priority = options->priority;
    }
    int status = find_function(pool, function, &handle, error);
    if (status != ACHAR_OK) {
        return status;
    }
    status = write_arguments(&sink, arguments, keywords, error);
    if (status != ACHAR_OK) {
        goto done;
    }
    made = achar__client_task_new();
    if (!made) {
        status = fail(error, ACHAR_E_NOMEM, "out of memory");
        goto done;
    }
    status = achar__pool_submit(pool->pool, handle, &sink.block, sink.used, &task_options, &task);
    if (status != ACHAR_OK) {
        fail(error, status, "the task cannot be submitted: %s", achar_status_message(status));
        goto done;
    }
    made->task = task;
    *out = made;
    made = NULL;
done:
    free(made);
    if (sink.block.data) {
        achar__pool_block_free(pool->pool, &sink.block);
    }
    achar__function_release(handle);
    return status;
}
