/*
 * containers.h - how the containers with opcodes of their own are written.
 *
 * saver_begin_…() starts an exact list, tuple, … that is not in the memo; 'unique' as in saver_save(),
 * and there is room for SAVER_ROOM_NBYTES. 0: it is written; 1: a frame is pushed; -1.
 * saver_step_…() goes on with the top frame's. 0 or -1.
 */
#ifndef ACHAR_PYTHON_SAVER_CONTAINERS_H
#define ACHAR_PYTHON_SAVER_CONTAINERS_H

#include "python/saver/engine.h"

/* containers.c */
int saver_begin_list(saver *s, PyObject *list, int unique);
int saver_begin_tuple(saver *s, PyObject *tuple, int unique);
int saver_begin_dict(saver *s, PyObject *dict, int unique);
int saver_step_list(saver *s);
int saver_step_tuple(saver *s);
int saver_step_dict(saver *s);

/* sets.c */
int saver_begin_set(saver *s, PyObject *set, int unique);
int saver_begin_frozenset(saver *s, PyObject *set, int unique);
int saver_step_set(saver *s);
int saver_step_frozenset(saver *s);
/* In a deterministic dump: puts the list in what set.__reduce__ said of a set of the user's own class
 * in order. 0 or -1. Runs Python code. */
int saver_order_reduced_set(saver *s, PyObject *set, PyObject *reduced);

#endif
