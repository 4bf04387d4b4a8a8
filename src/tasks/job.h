/*
 * job.h - one task while it runs; job.c has what it asks for, worker.c begins and ends it.
 */
#ifndef ACHAR_TASKS_JOB_H
#define ACHAR_TASKS_JOB_H

#include <achar/worker.h>

#include "runtime/pool/worker.h"
#include "tasks/payload.h"

/* The result of another task, read when the job asks for it. */
typedef struct achar__job_input {
    achar_graph *graph;
    achar_buffer *buffers;
} achar__job_input;

struct achar_job {
    achar__worker *worker;
    const char *name;
    achar_graph *arguments;
    achar_graph *result; /* made when it is asked for */
    achar_value positional, keywords;
    achar__job_input *inputs; /* 'input_count' of them, made when one is asked for */
    size_t input_count;
    achar_graph *returned_graph; /* one of the two above; NULL: None */
    achar_value returned;
    char *raised_type, *raised_text; /* NULL unless it raised */
};

/*
 * achar__job_open() reads the arguments of a task: (args, kwargs or None), or with 'kind' the record of
 * a stretch. A status of achar_read()'s, and 'error' says why; ACHAR_E_TYPE where they are something else.
 */
int achar__job_open(achar_job *job, const void *args, size_t nbytes, int kind, achar_error *error);
void achar__job_close(achar_job *job);

/* The kind for achar__job_open() of what is no record. */
#define ACHAR__JOB_SINGLE (-1)

#endif
