/*
 * place.h - where a class or function is found by its name.
 */
#ifndef ACHAR_PYTHON_SAVER_PLACE_H
#define ACHAR_PYTHON_SAVER_PLACE_H

#include "python/saver/engine.h"

/* Where a global was found. All owned. */
typedef struct saver_place {
    PyObject *module_name;
    PyObject *parent; /* the module, or the class that it is in */
    PyObject *last;   /* its name there */
    int is_in_module; /* parent is the module */
} saver_place;

/*
 * saver_find_place() finds 'obj', which the caller holds, under '*name', or, where that is NULL, under its
 * own qualified name; runs Python code. 0: '*name' is a new reference, and '*place', all NULL before,
 * is filled in; its 'parent' may be left out from protocol 4 on. -1: PicklingError, or what was raised.
 */
int saver_find_place(saver *s, PyObject *obj, PyObject **name, saver_place *place);
void saver_clear_place(saver_place *place);

/* The parts of a dotted name, a new list; AttributeError if one of them is "<locals>". */
PyObject *saver_split_name(saver *s, PyObject *name);

#endif
