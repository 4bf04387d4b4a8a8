/*
 * where.h - which part of the object a failing opcode was about, and who had sent it.
 */
#ifndef ACHAR_PYTHON_LOADER_WHERE_H
#define ACHAR_PYTHON_LOADER_WHERE_H

#include "python/state.h"

/* What stands at an offset in a pickle. Each is a new reference, or NULL: it is not known. */
typedef struct loader_place {
    PyObject *path;   /* str: the way from the root, as error messages of dumps() have it */
    PyObject *module; /* str: of the global that was imported, called, or whose object was built */
    PyObject *name;   /* str */
    PyObject *label;  /* bytes: what byvalue/sender.c wrote of the sender */
    size_t nbytes;    /* of the pickle; 0: not known */
} loader_place;

/*
 * loader_find_place() looks at the pickle in 'data' for the opcode at 'offset'. It reads the pickle
 * as libachar does, so nothing is executed. 'data' need not end where the pickle does. What cannot
 * be found out stays NULL, also where memory is short; no exception is set. The time it takes grows
 * with the pickle: this is for errors.
 */
void loader_find_place(const void *data, size_t nbytes, uint64_t offset, loader_place *place);

void loader_place_clear(loader_place *place);

#endif
