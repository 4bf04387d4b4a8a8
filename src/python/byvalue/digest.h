/*
 * digest.h - what the files of achar.digest() share.
 *
 * digest.c         the walk, and what has no file of its own
 * digest_write.c   the encoding: numbers, text, containers
 * digest_code.c    code, functions and classes as what they say
 * data.c           data that functions name, in the digests of memos' functions
 * watch.c          whether the digest of a function still holds
 */
#ifndef ACHAR_PYTHON_BYVALUE_DIGEST_H
#define ACHAR_PYTHON_BYVALUE_DIGEST_H

#include "python/byvalue/blake2s.h"
#include "python/byvalue/internal.h"

enum { DIGEST_LONG_NBYTES = 1024 };

/* An encoding that was written before, found by the object's address. */
typedef struct known {
    PyObject *obj; /* kept alive, so that no other takes its address */
    uint8_t *bytes;
    size_t nbytes;
} known;

typedef struct digest_watch digest_watch; /* a Python object */

typedef struct digest {
    byvalue_session *session;
    module_state *st;
    uint8_t *bytes;
    size_t used, capacity;
    PyObject **path; /* the containers that are being written, the root first; borrowed */
    Py_ssize_t depth, path_capacity;
    PyObject *chain; /* once it has failed, if that is wanted: a list of the objects in 'path' */
    int wants_chain;
    Py_ssize_t reaches; /* the lowest level that something in the current object refers back to */
    PyObject *memo;     /* dict: address to index in 'known' */
    known *known;
    size_t known_count, known_capacity;
    digest_watch *watch; /* borrowed, or NULL: nobody asked for one */
    PyObject *modules;   /* set: the installed modules that were met; or NULL, likewise */
    PyObject *places;  /* list of (namespace or cell, name or None, digest): the data that functions
                            name, each by its own digest; or NULL, likewise */
    PyObject *outputs; /* dict: (address, name) of such a place to the digest to take for it */
    PyObject *own;     /* a dict that the walk made itself */
    int can_change;    /* something in what was met can change inside */
} digest;

/* All return 0, or -1 with an exception set. */

/* ---- digest_write.c ---- */

int digest_put(digest *d, const void *data, size_t nbytes);
int digest_put_tag(digest *d, char tag, uint64_t number);
/* Bytes under a tag, with their length; long ones as their hash. */
int digest_put_data(digest *d, char tag, const void *data, size_t nbytes);
int digest_put_text(digest *d, char tag, PyObject *text);
int digest_put_word(digest *d, const char *word);
/* What was written since 'start' becomes its hash if it is long. */
int digest_shorten(digest *d, size_t start);

int digest_encode_int(digest *d, PyObject *obj);
int digest_encode_double(digest *d, char tag, double value);
int digest_encode_items(digest *d, char tag, PyObject *fast); /* of a list or tuple */
int digest_encode_dict(digest *d, PyObject *dict);
int digest_encode_set(digest *d, char tag, PyObject *set);

/* ---- digest_code.c ---- */

/* An attribute, or that there is none. */
int digest_encode_attribute(digest *d, PyObject *obj, const char *name);
int digest_encode_code(digest *d, PyObject *code);
int digest_encode_function(digest *d, PyObject *obj);
int digest_encode_class(digest *d, PyObject *obj);
/* 1 if this entry of a class's dict is not part of its definition. */
int digest_is_incidental(PyObject *name, PyObject *value);

/* ---- watch.c ---- */

/* Notes where the digest is read from; nothing where nobody asked. */
int digest_watch_name(digest *d, PyObject *dict, PyObject *name,
                      PyObject *value);           /* value NULL: absent */
int digest_watch_dict(digest *d, PyObject *dict); /* all of it; NULL: nothing */
int digest_watch_cell(digest *d, PyObject *cell);
int digest_watch_function(digest *d, PyObject *obj);
int digest_watch_class(digest *d, PyObject *type, PyObject *dict);
digest_watch *digest_watch_new(module_state *st);
int digest_data_exec(PyObject *module);
int byvalue_named_exec(PyObject *module); /* named.c */
int digest_watch_exec(PyObject *module, module_state *st);

/* ---- digest_where.c ---- */

/* With an exception set: keeps the way to where it was raised in d->chain. */
void digest_keep_chain(digest *d);
/* Puts the path into the exception that is set, as dumps() does. */
void digest_say_where(PyObject *chain);

/* ---- data.c ---- */

/*
 * What stands for the value that a name in a namespace (or a cell; name NULL) has: a new reference, or
 * NULL with an exception set. The value itself, but for data where places are wanted: then bytes.
 */
PyObject *digest_stand_in(digest *d, PyObject *owner, PyObject *name, PyObject *value);
int digest_is_memoized(PyTypeObject *type); /* a memo's function, achar/memo.py */

/* ---- digest.c ---- */

/* A digest of a prefix, which may be NULL, and an object; 'asked' says what else is wanted. */
int digest_run(digest *asked, int (*encode)(digest *d, PyObject *obj), const char *mark,
               PyObject *prefix, PyObject *obj, int fresh_locks, uint8_t *hash);

int digest_encode(digest *d, PyObject *obj);
/*
 * The hash, BLAKE2S_NBYTES long, of 'mark' and what 'encode' writes of 'obj'. 'chain' may be NULL; else, if it
 * fails, it gets a new list of the objects from the root to the one that it failed at, or NULL.
 */
int digest_make(module_state *st, int (*encode)(digest *d, PyObject *obj), const char *mark,
                PyObject *obj, int fresh_locks, uint8_t *hash, PyObject **chain);

#endif
