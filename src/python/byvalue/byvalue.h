/*
 * byvalue.h - functions, classes, modules and exceptions by value: what achar.dumps adds to pickle.
 *
 * The saver asks here, in superset mode, for every object that it does not write itself with an
 * opcode of its own (where it would otherwise ask reducer_override). The answer is a reduce tuple
 * of pickle's protocol whose callables are named in achar's versioned rebuild module, so that the
 * loader needs to know nothing: any pickle.loads with achar installed reads the stream.
 */
#ifndef ACHAR_PYTHON_BYVALUE_H
#define ACHAR_PYTHON_BYVALUE_H

#include "python/state.h"

/* What functions of one dump share (the globals dict of each module, for one). One thread. */
typedef struct byvalue_session byvalue_session;

byvalue_session *byvalue_session_new(module_state *st); /* NULL with an exception set */
void byvalue_session_free(byvalue_session *session);

/*
 * byvalue_choose() sets what a dump was asked for, with 'fresh_locks' that locks are made anew there.
 * 'log' and 'skip', borrowed and usually NULL, observe it, for achar.explain(): 'log' is a list that
 * gets (object, by name: bool) of each function, class and module that is written, and, when the
 * dump fails, the object that could not be; 'skip', a dict, has the ids of objects that are left out.
 */
void byvalue_choose(byvalue_session *session, int fresh_locks, PyObject *log, PyObject *skip);

/*
 * byvalue_choose_stable() asks for answers that depend on nothing but the objects: stable.c. 'order'
 * makes a list, in such an order, of what 'items' has in any; it is called with 'context' and may run
 * Python code. 'outer' is the session in whose service this one is, for the order of a set, or NULL; it
 * has to outlive this one.
 */
void byvalue_choose_stable(byvalue_session *session, byvalue_session *outer,
                           PyObject *(*order)(void *context, PyObject *items), void *context);

/* At the end of such a dump: 0, or -1 with an exception set if it holds what has no stable id. */
int byvalue_check_stable(byvalue_session *session);

/* byvalue_choose_portable() asks for a stream that the standard library alone can load: portable.c. */
void byvalue_choose_portable(byvalue_session *session, int portable);

/*
 * byvalue_check_portable() is 0 if 'obj' may stand in this stream as a name in the module of this
 * name: always, or, in a portable stream, if that is the standard library's. -1: PicklingError.
 */
int byvalue_check_portable(byvalue_session *session, PyObject *obj, PyObject *module_name);

/* Functions of this dump take their source along (source.c). */
void byvalue_send_source(byvalue_session *session);

/*
 * byvalue_take_calls() lets byvalue_reduce() answer 3: a call that is handed over in parts.
 */
void byvalue_take_calls(byvalue_session *session);

/*
 * byvalue_reduce() decides about 'obj'.
 *  3  byvalue_call_of() has the call that makes it
 *  2  by name: it was looked up, and byvalue_name() tells under which
 *  1  *reduced is a new reference to a reduce tuple of 2 to 6 items
 *  0  the ordinary way is right (by name, or by its own __reduce_ex__)
 * -1  an exception is set: it cannot be sent; the message says why and what to do
 */
int byvalue_reduce(byvalue_session *session, PyObject *obj, PyObject **reduced);

/*
 * A call that makes an object: callable(*args), and then, unless 'state' is NULL,
 * byvalue_setter(callable)(object, state). Tuples and dicts that nothing else refers to, 'args' and
 * 'state' and what is in them, were made for this answer: nobody else knows of them.
 */
typedef struct byvalue_call {
    PyObject *callable;
    PyObject *args; /* a tuple */
    PyObject *state;
} byvalue_call;

/* What byvalue_reduce() has just answered 3 for: new references, to be taken once. */
byvalue_call byvalue_call_of(byvalue_session *session);

/* The function of achar._v1 that gives its state to what 'callable', another, has made. Borrowed. */
PyObject *byvalue_setter(module_state *st, PyObject *callable);

/*
 * byvalue_name() is the name under which 'obj' was found if the last byvalue_reduce() of this
 * session answered 2 for it: 1, and the references are borrowed, until the next; otherwise 0.
 */
int byvalue_name(const byvalue_session *session, PyObject *obj, PyObject **module_name,
                 PyObject **qualname);

/*
 * byvalue_concerns() is 0 if byvalue_reduce() answers 0 for every object of exactly this type, as
 * long as the type does not change. Runs no Python code.
 */
int byvalue_concerns(module_state *st, PyTypeObject *type);

/*
 * byvalue_reusable() is 1 if every function that byvalue_reduce() wrote in this session can be used
 * for several calls without one seeing another's changes. What functions capture (globals, cells,
 * defaults), containers included, has been judged here, conservatively: a dict that belongs to a
 * function's own state does not count against it. So a dump is reusable if this says so and its
 * root is a function (saver_report.reusable).
 */
int byvalue_reusable(const byvalue_session *session);

/*
 * byvalue_state_part() names, for error paths, a part of the state in a reduce tuple that
 * byvalue_reduce() answered for 'obj': item 'index' of the tuple that the state is. ".__globals__",
 * whose items are items; ".__closure__", whose items are pairs of index and contents; "": its keys
 * are names of attributes. NULL: no name is better than the place in the tuple.
 */
const char *byvalue_state_part(PyObject *obj, Py_ssize_t index);

/*
 * byvalue_refuse() raises PicklingError "<type> cannot be sent\n  why: <why>\n  do:  <remedy>". The
 * saver puts "<path>: " in front. Always -1.
 */
int byvalue_refuse(module_state *st, PyObject *obj, const char *why, const char *remedy);

/*
 * byvalue_attach_traceback() makes the text of a traceback from another process visible when
 * 'exception' is printed: as achar.RemoteTraceback, which becomes the cause of the exception, or,
 * if it has a cause of its own, of the last exception in that chain of causes. 0, or -1 with an
 * exception set. Also _achar.attach_traceback(exception, text).
 */
int byvalue_attach_traceback(module_state *st, PyObject *exception, PyObject *text);

/*
 * What becomes of the state of a class that comes again to a process where it is, and is not at home.
 * byvalue_read_class_state() reads "reset" or "keep"; None or NULL is no choice. 0, or -1 with an exception.
 * byvalue_class_state_choose() makes it this thread's choice, for the time of a load, and returns the one
 * before, to be put back.
 */
enum byvalue_class_state { CLASS_STATE_ANY, CLASS_STATE_RESET, CLASS_STATE_KEEP };
int byvalue_read_class_state(PyObject *value, enum byvalue_class_state *choice);
enum byvalue_class_state byvalue_class_state_choose(enum byvalue_class_state choice);

#endif
