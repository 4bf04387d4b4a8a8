/*
 * client.h - a task as its C client has it; client.c submits it, outcome.c tells how it ended.
 */
#ifndef ACHAR_TASKS_CLIENT_H
#define ACHAR_TASKS_CLIENT_H

#include <achar/client.h>

#include "runtime/pool/pool.h"

struct achar_task {
    achar__task *task;
    bool is_read;          /* 'status' is final, and the rest is filled in */
    int status;            /* of its end */
    achar_graph *graph;    /* of the result */
    achar_buffer *buffers; /* of the graph */
    achar_failure failure; /* its texts are in 'texts', or static */
    char *texts[3];        /* type, message, traceback */
};

/* Without the task, which has not been submitted yet. NULL: no memory. */
achar_task *achar__client_task_new(void);

#endif
