/*
 * job.c - what a task asks for while it runs: its arguments, and a place for what it gives back.
 *
 * Arguments are read where they stand in shared memory, which stays as it is until the task's end is told.
 * A future among them is a call in the graph, achar._achar.task_input(index, value): the result of another
 * task, which is read when it is asked for.
 */
#include "tasks/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- begin and end ---- */

int achar__job_open(achar_job *job, const void *args, size_t nbytes, int kind, achar_error *error)
{
    int status = ACHAR_OK;
    job->keywords = achar_nothing();
    if (kind == ACHAR__RECORD_LEAF) {
        job->arguments = achar_graph_new(NULL);
        achar_value leaf = achar__payload_read_leaf(job->arguments, args, nbytes);
        job->positional = achar_make_tuple(job->arguments, &leaf, 1);
        achar_set_root(job->arguments, job->positional);
        status = achar_graph_status(job->arguments);
    } else {
        status = achar_read(args, nbytes, NULL, &job->arguments, NULL, error);
        if (status != ACHAR_OK) {
            return status;
        }
        achar_value root = achar_root(job->arguments);
        job->positional = kind == ACHAR__JOB_SINGLE ? achar_item(root, 0) : root;
        if (kind == ACHAR__JOB_SINGLE && achar_kind(achar_item(root, 1)) == ACHAR_DICT) {
            job->keywords = achar_item(root, 1);
        }
        status = achar_kind(job->positional) == ACHAR_TUPLE ? ACHAR_OK : ACHAR_E_TYPE;
    }
    if (status != ACHAR_OK) {
        *error = (achar_error){.code = status, .opcode = -1};
        snprintf(error->message, sizeof error->message, "%s", achar_status_message(status));
    }
    return status;
}

void achar__job_close(achar_job *job)
{
    for (size_t i = 0; job->inputs && i < job->input_count; i++) {
        achar_graph_free(job->inputs[i].graph);
        free(job->inputs[i].buffers);
    }
    free(job->inputs);
    achar_graph_free(job->arguments);
    achar_graph_free(job->result);
    free(job->raised_type);
    free(job->raised_text);
    *job = (achar_job){0};
}

/* ---- what it was given ---- */

const char *achar_job_name(const achar_job *job)
{
    return job->name;
}

size_t achar_job_arg_count(const achar_job *job)
{
    return achar_count(job->positional);
}

achar_value achar_job_arg(achar_job *job, size_t index)
{
    return achar_job_input(job, achar_item(job->positional, index));
}

achar_value achar_job_keyword(achar_job *job, const char *name)
{
    return achar_job_input(job, achar_get(job->keywords, name));
}

static achar_value read_input(achar_job *job, size_t index)
{
    const void *bytes;
    size_t nbytes;
    uint32_t kind;
    if (!achar__worker_input(job->worker, index, &bytes, &nbytes, &kind)) {
        return achar_nothing();
    }
    if (!job->inputs) {
        job->inputs = calloc(job->input_count, sizeof *job->inputs);
        if (!job->inputs) {
            return achar_nothing();
        }
    }
    achar__job_input *input = &job->inputs[index];
    if (!input->graph) {
        achar_error error;
        int status =
            achar__payload_read(bytes, nbytes, kind, &input->buffers, &input->graph, &error);
        if (status != ACHAR_OK) {
            return achar_nothing();
        }
    }
    return achar_root(input->graph);
}

achar_value achar_job_input(achar_job *job, achar_value value)
{
    if (achar_kind(value) != ACHAR_CALL ||
        !achar_global_is(achar_callable(value), "achar._achar", "task_input")) {
        return value;
    }
    int64_t index = achar_int64(achar_item(achar_arguments(value), 0));
    if (index < 0) {
        return achar_item(achar_arguments(value), 1);
    }
    return (size_t)index < job->input_count ? read_input(job, (size_t)index) : achar_nothing();
}

achar_graph *achar_job_arguments(achar_job *job)
{
    return job->arguments;
}

/* ---- what it gives back ---- */

achar_graph *achar_job_result(achar_job *job)
{
    if (!job->result) {
        job->result = achar_graph_new(NULL); /* NULL is taken as a graph that failed */
    }
    return job->result;
}

void achar_job_return(achar_job *job, achar_graph *graph, achar_value value)
{
    achar_set_root(graph, value);
    job->returned_graph = graph ? graph : achar_job_result(job);
    job->returned = value;
}

int achar_job_raise(achar_job *job, const char *type, const char *format, ...)
{
    char *text = NULL;
    va_list values;
    va_start(values, format);
    if (vasprintf(&text, format, values) < 0) {
        text = NULL;
    }
    va_end(values);
    free(job->raised_type);
    free(job->raised_text);
    job->raised_type = strdup(type ? type : "RuntimeError");
    job->raised_text = text;
    return ACHAR_E_RAISED;
}

int achar_job_should_stop(const achar_job *job)
{
    return achar__worker_was_told_to_end(job->worker);
}
