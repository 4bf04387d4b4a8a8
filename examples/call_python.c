/*
 * call_python.c - has Python functions called by worker processes; this program maps no libpython.
 *
 *     call_python [PYTHON [FOLDER]]     the interpreter, and where its achar is
 */
#include <stdio.h>
#include <string.h>

#include <achar/achar.h>

enum { TASKS = 8 };

int main(int argc, char **argv)
{
    const char *folders[] = {argc > 2 ? argv[2] : NULL, NULL};
    const achar_pool_options options = {
        .python = argc > 1 ? argv[1] : NULL, .python_path = folders, .worker_count = 2};
    achar_pool *pool = NULL;
    achar_task *tasks[TASKS] = {NULL}, *bad = NULL;
    achar_error error;
    if (achar_pool_open(&options, &pool, &error) != ACHAR_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }

    /* math.factorial(0), math.factorial(10), ...: all are on their way before the first is read. */
    int failures = 0;
    for (int i = 0; i < TASKS; i++) {
        achar_graph *arguments = achar_graph_new(NULL);
        achar_value number = achar_make_int(10 * i);
        achar_set_root(arguments, achar_make_tuple(arguments, &number, 1));
        if (achar_pool_submit(pool, "math:factorial", arguments, achar_nothing(), NULL, &tasks[i],
                              &error) != ACHAR_OK) {
            fprintf(stderr, "%s\n", error.message);
            failures++;
        }
        achar_graph_free(arguments);
    }
    for (int i = 0; i < TASKS; i++) {
        achar_bytes decimal;
        if (tasks[i] != NULL && achar_task_wait(tasks[i], -1) == ACHAR_OK &&
            achar_int_decimal(achar_task_result(tasks[i]), NULL, &decimal) == ACHAR_OK) {
            printf("%d! = %s\n", 10 * i, decimal.data);
            achar_bytes_free(&decimal, NULL);
        } else {
            failures++;
        }
        achar_task_free(tasks[i]);
    }

    /* What a task raises is told in words. */
    if (achar_pool_submit(pool, "math:factorial", NULL, achar_nothing(), NULL, &bad, &error) ==
            ACHAR_OK &&
        achar_task_wait(bad, -1) == ACHAR_E_RAISED) {
        const achar_failure *failure = achar_task_failure(bad);
        printf("%s: %s\n", failure->type, failure->message);
    } else {
        failures++;
    }
    achar_task_free(bad);
    achar_pool_close(pool);
    return failures != 0;
}
