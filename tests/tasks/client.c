/*
 * client.c - a C client of Python workers: a thousand mixed tasks, among them some that raise, that end
 * their process, or that run out of time. client PYTHON FOLDER prints how many did as they should.
 */
#include <achar/achar.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASK_COUNT = 1000, KIND_COUNT = 8 };

static achar_pool *pool;
static achar_error error;

/* 'function' with one argument; the graph is 'graph', or a new one. */
static achar_task *submit(const char *function, achar_graph *graph, achar_value argument,
                          const achar_task_options *options)
{
    achar_task *task = NULL;
    achar_set_root(graph, achar_make_tuple(graph, &argument, 1));
    if (achar_pool_submit(pool, function, graph, achar_nothing(), options, &task, &error) !=
        ACHAR_OK) {
        fprintf(stderr, "%s: %s\n", function, error.message);
        exit(1);
    }
    achar_graph_free(graph);
    return task;
}

static achar_task *submit_kind(int kind, int n)
{
    static const achar_task_options limit = {.time_limit_ns = 200000000};
    achar_graph *graph = achar_graph_new(NULL);
    achar_value value = achar_make_int(n);
    switch (kind) {
    case 0:
        return submit("math:isqrt", graph, value, NULL);
    case 1: { /* of a dict */
        value = achar_make_dict(graph);
        achar_put(graph, value, "n", achar_make_int(n));
        return submit("json:dumps", graph, value, NULL);
    }
    case 2:
        return submit("builtins:int", graph, achar_make_str(graph, "no number"), NULL);
    case 3: /* rarely: a process takes a while to start */
        return submit(n % 100 == 3 ? "os:_exit" : "math:isqrt", graph, achar_make_int(n), NULL);
    case 4:
        return submit("no_such_module:function", graph, value, NULL);
    case 5:
        return submit("builtins:bytes", graph, achar_make_int(n * 100), NULL);
    case 6:
        return submit(n == 6 ? "time:sleep" : "builtins:abs", graph,
                      achar_make_int(n == 6 ? 60 : -n), &limit);
    default:
        value = achar_make_bytes(graph, "f", 1);
        return submit("hashlib:md5", graph, value, NULL); /* an object that cannot be pickled */
    }
}

static int is_right(achar_task *task, int kind, int n)
{
    int status = achar_task_wait(task, -1);
    achar_value result = achar_task_result(task);
    const achar_failure *failure = achar_task_failure(task);
    char text[40];
    size_t nbytes = 0;
    int64_t root = achar_int64(result);
    switch (kind) {
    case 0:
        return status == ACHAR_OK && root * root <= n && (root + 1) * (root + 1) > n;
    case 1:
        snprintf(text, sizeof text, "{\"n\": %d}", n);
        return status == ACHAR_OK && achar_text_is(result, text);
    case 2:
        return status == ACHAR_E_RAISED && strcmp(failure->type, "ValueError") == 0 &&
               strstr(failure->message, "invalid literal") != NULL &&
               strstr(failure->traceback, "ValueError: invalid literal") != NULL;
    case 3:
        return n % 100 == 3 ? status == ACHAR_E_WORKER_DIED && failure->exit_code == n % 256
                            : status == ACHAR_OK && root * root <= n;
    case 4:
        return status == ACHAR_E_RAISED && strcmp(failure->type, "achar.errors.Unreadable") == 0 &&
               strstr(failure->message, "No module named 'no_such_module'") != NULL;
    case 5:
        return status == ACHAR_OK && achar_data(result, &nbytes) && nbytes == (size_t)n * 100;
    case 6:
        return n == 6 ? status == ACHAR_E_OVERDUE : status == ACHAR_OK && root == n;
    default:
        return status == ACHAR_E_RAISED && strstr(failure->message, "HASH") != NULL;
    }
}

int main(int argc, char **argv)
{
    const char *const folders[] = {argc > 2 ? argv[2] : NULL, NULL};
    const achar_pool_options options = {
        .python = argc > 1 ? argv[1] : NULL, .python_path = folders, .worker_count = 2};
    static achar_task *tasks[TASK_COUNT];
    int right[KIND_COUNT] = {0}, all = 0;
    if (achar_pool_open(&options, &pool, &error) != ACHAR_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    for (int n = 0; n < TASK_COUNT; n++) {
        tasks[n] = submit_kind(n % KIND_COUNT, n);
    }
    for (int n = 0; n < TASK_COUNT; n++) {
        if (is_right(tasks[n], n % KIND_COUNT, n)) {
            right[n % KIND_COUNT]++;
            all++;
        } else {
            const achar_failure *failure = achar_task_failure(tasks[n]);
            printf("task %d: %s\n", n, failure ? failure->message : "a wrong result");
        }
        achar_task_free(tasks[n]);
    }
    achar_pool_close(pool);
    printf("%d of %d\n", all, TASK_COUNT);
    return 0;
}
