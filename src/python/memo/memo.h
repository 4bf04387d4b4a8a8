/*
 * memo.h - what the files of the extension achar._memo share.
 */
#ifndef ACHAR_PYTHON_MEMO_MEMO_H
#define ACHAR_PYTHON_MEMO_MEMO_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "memo/store.h"

typedef struct memo_state {
    PyObject *Error, *Damaged, *Full, *Foreign, *Moved;
} memo_state;

/* functions.c: checksums and zstd */
extern PyMethodDef memo_functions[];

#endif
