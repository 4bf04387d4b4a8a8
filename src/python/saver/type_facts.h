/*
 * type_facts.h - what is known of types whose instances object's own __reduce_ex__ would reduce.
 */
#ifndef ACHAR_PYTHON_SAVER_TYPE_FACTS_H
#define ACHAR_PYTHON_SAVER_TYPE_FACTS_H

#include "python/saver/engine.h"

/* The names that pickling looks up on an instance, but for __getnewargs__. */
#define SAVER_INSTANCE_HOOKS(X)                                                                    \
    X(__reduce_ex__)                                                                               \
    X(__reduce__)                                                                                  \
    X(__getstate__)                                                                                \
    X(__getnewargs_ex__)                                                                           \
    X(__class__)

enum { SAVER_FACT_SLOTS_MAX = 16 };

/* Borrows everything. Right as long as the type has this version and the table that one. */
typedef struct saver_type_fact {
    PyTypeObject *type;
    unsigned version;
    uint8_t superset;
    uint8_t direct;
    uint8_t value_kind; /* then not direct */
    uint8_t slot_count;
    uint64_t table_version;  /* of copyreg.dispatch_table */
    PyObject *new_arguments; /* the type's __getnewargs__; NULL: object has none */
    PyObject *slots;         /* list of names; NULL: none */
    PyObject *slot_names[SAVER_FACT_SLOTS_MAX];
    Py_ssize_t slot_offsets[SAVER_FACT_SLOTS_MAX];
} saver_type_fact;

/*
 * The fact of the top frame's object's type, valid until Python code runs; may run some itself.
 * NULL with an exception set.
 */
const saver_type_fact *saver_fact_of(saver *s, PyTypeObject *type);
int saver_type_facts_exec(module_state *st);

#endif
