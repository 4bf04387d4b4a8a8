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

typedef struct store_object {
    PyObject_HEAD memo_store *store; /* NULL: closed */
    PyObject *path;                  /* bytes */
    PyObject *weak;
    memo_durability durability;
    int users;   /* threads inside */
    int closing; /* the last of them closes */
    pid_t pid;   /* whose the store is: a child after a fork opens its own */
} store_object;

/* The store, to be left again; NULL with an exception set. */
memo_store *memo_enter(store_object *self);
void memo_leave(store_object *self);
/* 0, or -1 with an exception set. */
int memo_take_key(PyObject *obj, const uint8_t **key);

int memo_store_exec(PyObject *module);
int memo_is_store(PyObject *obj);
/* memo_store_get() of a Store; MEMO_ERROR with an exception set where it is closed, or the key is none. */
memo_status memo_get(PyObject *store, PyObject *key, memo_row *out);
/* What Store.get() returns. */
PyObject *memo_row_tuple(const memo_row *row);

/* ---- flights.c: methods of a Store ---- */

extern const char memo_begin_doc[];
PyObject *memo_call_begins(PyObject *store, PyObject *args);
PyObject *memo_call_ends(PyObject *store, PyObject *key);
PyObject *memo_ask_owner(PyObject *store, PyObject *key);
PyObject *memo_ask_other_calls(PyObject *store, PyObject *key);
PyObject *memo_ask_still_absent(PyObject *store, PyObject *key);
PyObject *memo_task_begins(PyObject *store, PyObject *key);
PyObject *memo_task_ends(PyObject *store, PyObject *key);
PyObject *memo_ask_task_elsewhere(PyObject *store, PyObject *key);

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
