/*
 * memo.h - what the files of the extension achar._memo share.
 */
#ifndef ACHAR_PYTHON_MEMO_MEMO_H
#define ACHAR_PYTHON_MEMO_MEMO_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "memo/store.h"

typedef struct memo_state {
    PyObject *Error, *Damaged, *DamagedRow, *Full, *Foreign, *Moved;
} memo_state;

/* ---- module.c ---- */

/* Raises what a status means, with memo_message(). Returns NULL. */
PyObject *memo_raise(memo_state *st, memo_status status);

/* ---- store.c ---- */

int memo_store_exec(PyObject *module);
int memo_is_store(PyObject *obj);
/* memo_store_get() of a Store; MEMO_ERROR with an exception set where it is closed, or the key is none. */
memo_status memo_get(PyObject *store, PyObject *key, memo_row *out);
/* What Store.get() returns. */
PyObject *memo_row_tuple(const memo_row *row);

/* ---- statements.c ---- */

/* Store.run(), for who has entered the store. */
PyObject *memo_run(memo_state *st, memo_store *store, PyObject *args);

/* ---- reader.c ---- */

int memo_reader_exec(PyObject *module);

/* ---- fork.c ---- */

void memo_lock_opening(void); /* with the GIL, which it lets go of meanwhile */
void memo_unlock_opening(void);
extern PyMethodDef memo_fork_functions[];

/* salvage.c: who may put another file in the place of a damaged one */
extern PyMethodDef memo_salvage_functions[];

/* functions.c: checksums and zstd */
extern PyMethodDef memo_functions[];

#endif
