/*
 * outcome.c - how a task ended, for its C client: a graph, or a failure in words.
 *
 * The bytes are read once, in place, when the client first waits and the task has ended. The task
 * is held until then and after, because text in the graph lies in shared memory.
 */
#include "tasks/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/payload.h"

enum { TYPE = 0, MESSAGE, TRACEBACK };

achar_task *achar__client_task_new(void)
{
    return calloc(1, sizeof(achar_task));
}

/* ---- failures ---- */

/* 'text' may be NULL: no memory was left to say more than the status does. */
static void set_text(achar_task *task, int which, char *text)
{
    free(task->texts[which]);
    task->texts[which] = text;
}

static void say(achar_task *task, const char *format, ...)
{
    char *text = NULL;
    va_list values;
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0) {
        text = NULL;
    }
    va_end(values);
    set_text(task, MESSAGE, text);
}

static void describe_death(char *out, size_t nbytes, achar__death death)
{
    if (death.signal) {
        snprintf(out, nbytes, "was killed by signal %d (%s)", death.signal,
                 strsignal(death.signal));
    } else if (death.exit_code >= 0) {
        snprintf(out, nbytes, "exited with code %d", death.exit_code);
    } else {
        snprintf(out, nbytes, "ended, nobody knows how");
    }
}

static char *copy_text(achar_value value)
{
    size_t nbytes = 0;
    const char *text = achar_text(value, &nbytes);
    return text ? strndup(text, nbytes) : NULL;
}

static int read_raised(achar_task *task, const achar__task_result *r)
{
    achar_graph *report = achar__payload_read_report(r->bytes, r->nbytes);
    if (report) {
        for (int i = 0; i < 3; i++) {
            set_text(task, i, copy_text(achar_item(achar_root(report), (size_t)i)));
        }
        achar_graph_free(report);
    } else {
        say(task, "the task failed, and the worker had no memory left to say how");
    }
    return ACHAR_E_RAISED;
}

/* ---- the end of a task ---- */

static int read_failure(achar_task *task, const achar__task_result *r)
{
    char ending[128];
    describe_death(ending, sizeof ending, r->death);
    if (r->state == ACHAR__TASK_LOST || r->state == ACHAR__TASK_OVERDUE) {
        task->failure.pid = r->death.pid;
        task->failure.exit_code = r->death.signal ? -1 : r->death.exit_code;
        task->failure.signal = r->death.signal;
    }
    switch (r->state) {
    case ACHAR__TASK_RAISED:
        return read_raised(task, r);
    case ACHAR__TASK_LOST:
        say(task, "its worker process (pid %d) %s", r->death.pid, ending);
        return ACHAR_E_WORKER_DIED;
    case ACHAR__TASK_OVERDUE:
        say(task,
            "its time limit of %g s has passed, and its worker process (pid %d) was killed with it",
            (double)r->time_limit_ns / 1e9, r->death.pid);
        return ACHAR_E_OVERDUE;
    case ACHAR__TASK_CANCELLED:
        say(task, "it was cancelled");
        return ACHAR_E_CANCELLED;
    case ACHAR__TASK_ABANDONED:
        if (r->death.error) {
            say(task, "no worker process can be started: %s", strerror(r->death.error));
            return ACHAR_E_NO_WORKERS;
        }
        if (r->death.pid) {
            say(task, "no worker process gets ready: the last one (pid %d) %s", r->death.pid,
                ending);
            return ACHAR_E_NO_WORKERS;
        }
        say(task, "the pool was killed before the task had ended");
        return ACHAR_E_CLOSED;
    default:
        say(task, "there is no memory for its inputs");
        return ACHAR_E_NOMEM;
    }
}

static void read_end(achar_task *task)
{
    achar__task_result r;
    achar_error error;
    achar__task_result_of(task->task, &r);
    task->failure.exit_code = -1;
    if (r.state == ACHAR__TASK_RETURNED) {
        task->status =
            achar__payload_read(r.bytes, r.nbytes, r.kind, &task->buffers, &task->graph, &error);
        if (task->status != ACHAR_OK) {
            say(task, "the result cannot be read: %s", error.message);
        }
    } else {
        task->status = read_failure(task, &r);
        /* A worker that ended the task itself, in time, says the same as one that was killed. */
        if (task->status == ACHAR_E_RAISED && r.time_limit_ns && task->texts[TYPE] &&
            strcmp(task->texts[TYPE], "TimeoutError") == 0) {
            task->status = ACHAR_E_OVERDUE;
        }
    }
    task->failure.status = task->status;
    task->failure.type = task->texts[TYPE] ? task->texts[TYPE] : "";
    task->failure.message =
        task->texts[MESSAGE] ? task->texts[MESSAGE] : achar_status_message(task->status);
    task->failure.traceback = task->texts[TRACEBACK] ? task->texts[TRACEBACK] : "";
    task->is_read = true;
}

int achar_task_wait(achar_task *task, int64_t timeout_ns)
{
    if (!task) {
        return ACHAR_E_INVALID;
    }
    if (!task->is_read) {
        int status = achar__task_wait(task->task, timeout_ns);
        if (status != ACHAR_OK) {
            return status;
        }
        read_end(task);
    }
    return task->status;
}

achar_graph *achar_task_graph(const achar_task *task)
{
    return task ? task->graph : NULL;
}

achar_value achar_task_result(const achar_task *task)
{
    return achar_root(achar_task_graph(task));
}

const achar_failure *achar_task_failure(const achar_task *task)
{
    return task && task->is_read && task->status != ACHAR_OK ? &task->failure : NULL;
}

int achar_task_cancel(achar_task *task, int force)
{
    if (!task) {
        return 0;
    }
    return force ? achar__task_cancel_by_force(task->task) : achar__task_cancel(task->task);
}

void achar_task_free(achar_task *task)
{
    if (!task) {
        return;
    }
    achar_graph_free(task->graph);
    free(task->buffers);
    achar__task_release(task->task);
    for (int i = 0; i < 3; i++) {
        free(task->texts[i]);
    }
    free(task);
}
