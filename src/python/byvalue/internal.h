/*
 * internal.h - what the files of this folder share.
 *
 * Each kind of object has one file that holds both directions: how it is reduced here, and the
 * functions of the rebuild module (achar._v1) that make it again there. What is in a stream and in
 * which order is said above those functions. They are the format: a function of _v1 may learn to
 * accept more, never less.
 */
#ifndef ACHAR_PYTHON_BYVALUE_INTERNAL_H
#define ACHAR_PYTHON_BYVALUE_INTERNAL_H

#include "python/byvalue/byvalue.h"
#include "python/byvalue/map.h"
#include "python/compat.h"

#include <sys/types.h>

/* Of each there is a member in state.def: byvalue_str_NAME an interned str, v1_NAME a function. */
// clang-format off
#define BYVALUE_STRINGS(X)                                                                         \
    X(__annotate__) X(__annotations__) X(__builtins__) X(__defaults__) X(__dict__) X(__doc__) X(__func__)\
    X(__getattribute__) X(__init_subclass__) X(__kwdefaults__) X(__module__) X(__name__) X(__package__)                \
    X(__path__) X(__qualname__) X(__reduce__) X(__reduce_ex__) X(__setstate__)                     \
    X(__slots__) X(__static_attributes__) X(__type_params__) X(_abc_impl) X(_member_map_) X(_name_)\
    X(_value_) X(fdel) X(fget) X(fset)
#define BYVALUE_V1(X)                                                                              \
    X(code) X(function) X(function_state) X(cell) X(cell_state) X(method) X(module) X(new_module)  \
    X(module_state) X(class_) X(class_state) X(enum_member) X(enum_member_state) X(exception)      \
    X(exception_by) X(exception_of) X(exception_state) X(property_) X(memory) X(dict_view) X(typevar) X(lru_cache)                 \
    X(attribute) X(weak) X(weak_container) X(weak_set_state) X(traceback) X(file)                  \
    X(context_variable) X(descriptor) X(sourced)
// clang-format on

struct code_facts;

struct byvalue_session {
    module_state *st;
    byvalue_map
        globals;       /* globals dict -> what its functions take as theirs: a new dict, a module */
    byvalue_map cells; /* cells whose contents come with a function's state -> None */
    struct code_facts *loose_facts; /* of code objects that could not keep them; freed at the end */
    PyObject *named; /* not owned, only compared: what was found by name last, and its name */
    PyObject *named_module, *named_qualname;
    PyObject *named_modules; /* a dict whose keys are the modules that the stream names; or NULL */
    int has_code;            /* a function, or something by value, is in the stream */
    int fresh_locks;
    int portable;
    int with_source;
    struct byvalue_session
        *root; /* stable.c: itself, or the one it serves; NULL: not deterministic */
    PyObject *(*order)(void *context, PyObject *items);
    void *order_context;
    PyObject *failure;    /* of the root: byvalue_check_stable() */
    byvalue_map digests;  /* of the root: object with an identity -> digest, bytes */
    byvalue_map ids;      /* of the root: object with an identity -> its id, bytes */
    PyObject *codes;      /* portable and deterministic: dict: blob -> code object */
    PyObject *ordinals;   /* of the root: dict: digest -> how many objects had it so far */
    int takes_calls;      /* byvalue_take_calls() */
    byvalue_call call;    /* the last answer, until it is taken */
    PyObject *log, *skip; /* borrowed or NULL: byvalue_choose() */
    unsigned captures;    /* CODE_* flags of all functions seen, and CAPTURES_* */
};

enum {
    CAPTURES_MUTABLE = 1u << 16,  /* a global, cell or default that a call can change */
    CAPTURES_FUNCTION = 1u << 17, /* a function by value, whose attributes a call can change */
};

/* As byvalue_reduce(), for one kind of object. */
typedef int (*byvalue_reducer)(byvalue_session *session, PyObject *obj, PyObject **reduced);

/* What the module keeps that is no Python object; st->byvalue_tables is a capsule around it. */
enum { ID_PREFIX_NBYTES = 10, ID_NBYTES = 16, DEFINITION_NBYTES = 8, KIND_COUNT = 256 };

typedef struct byvalue_tables {
    pid_t id_pid; /* the process that drew id_prefix */
    unsigned char id_prefix[ID_PREFIX_NBYTES];
    uint64_t id_count;
    int keeps_class_state; /* the process's choice, where a load has none of its own: class_load.c */
    pid_t label_pid;       /* the process that st->byvalue_process_line is about */
    /* The reducers of types seen lately, by the type's address. A version tag is given out once, so
     * an entry that matches address and tag is about the same type, unchanged. */
    struct {
        PyTypeObject *type; /* not owned */
        unsigned version;
        byvalue_reducer reducer;
    } kinds[KIND_COUNT];
} byvalue_tables;

static inline byvalue_tables *byvalue_tables_of(module_state *st)
{
    return PyCapsule_GetPointer(st->byvalue_tables, NULL);
}

int byvalue_reduce_function(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_cell(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_code(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_builtin(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_method(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_module(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_class(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_enum_member(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_exception(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_own_exception(byvalue_session *, PyObject *, PyObject **);

/* kinds.c: which of them a type's objects go to; NULL: the ordinary way is right. */
byvalue_reducer byvalue_reducer_of_type(module_state *st, PyTypeObject *type);

/* 1 if the class was made by a class statement or a call; 0 if by C. */
int byvalue_is_python_class(PyTypeObject *type);
/* The nearest class in the chain of tp_base that was made by C; 'type' itself if it was. */
PyTypeObject *byvalue_native_base(PyTypeObject *type);

/* class.c: 1 if a class has this entry of its dict without being given it, so it does not travel. */
int byvalue_class_has_by_itself(PyTypeObject *type, PyObject *name, PyObject *value);

/* 1 if 'type' itself (not a base of it) is the class of this name in this module. */
int byvalue_type_is(PyTypeObject *type, const char *module, const char *name);

/* small.c: the reducers of small kinds of builtin objects, for kinds.c. */
int byvalue_reduce_staticmethod(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_property(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_mappingproxy(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_memoryview(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_typevar(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_newtype(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_type_alias(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_cached_property(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_lru_cache(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_sentinel(byvalue_session *, PyObject *, PyObject **);

/* inside.c: the reducers of objects whose parts only the collector's visit shows. */
int byvalue_reduce_dict_view(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_pairwise(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_key_wrapper(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_super(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_descriptor(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_struct(byvalue_session *, PyObject *, PyObject **);

/* weak.c, traceback.c, context.c; file.c, which answers 0 for files that it leaves to be refused. */
int byvalue_reduce_weakref(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_weak_container(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_traceback(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_context_variable(byvalue_session *, PyObject *, PyObject **);
int byvalue_reduce_file(byvalue_session *, PyObject *, PyObject **);

/*
 * portable.c. byvalue_reduce_portable() replaces the answer '*reduced' of a reducer, a new reference,
 * by one that needs the standard library only; takes the reference over if it fails.
 * byvalue_reduce_stand_in() is the answer for 'obj', a function of achar._v1 called 'name'. 1, 2, -1.
 */
int byvalue_reduce_portable(byvalue_session *, PyObject *obj, PyObject **reduced);
int byvalue_reduce_stand_in(byvalue_session *, PyObject *obj, PyObject *name, PyObject **reduced);

/*
 * byvalue_is_overridden() is 1 if a class before 'known' in the MRO of 'type', or copyreg, says
 * itself how its objects are pickled; 0 if not; -1 with an exception set. (weak.c)
 */
int byvalue_is_overridden(module_state *st, PyTypeObject *type, PyTypeObject *known);

/*
 * missing.c: module and name of each class above an exception's class, for where that is missing; a
 * new tuple. NULL, with or without an exception set: it does not go by name, or is builtin.
 */
PyObject *byvalue_bases_by_name(module_state *st, PyTypeObject *type);
/* 1 if 'obj' is a class that stands in for one that is missing here; 0; -1. */
int byvalue_is_stand_in(PyObject *obj);
/* Puts what str(exception) says into its state, unless it says that as the class 'known' does. 0 or -1. */
int byvalue_put_text(PyObject *state, PyObject *exception, PyTypeObject *known);
/* Gives that to a stand-in; nothing for any other exception. 0 or -1. */
int byvalue_set_text(PyObject *exception, PyObject *text);
/* exception.c: puts cause, context and traceback of an exception into its state. 0 or -1. */
int byvalue_put_links(PyObject *state, PyObject *exception);
/* exception.c: exception(class[, arguments]). */
PyObject *byvalue_v1_make_exception(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* refuse.c: 1 if objects of 'type' are refused; the reducer that does so. */
int byvalue_is_refused(PyTypeObject *type);
int byvalue_reduce_refused(byvalue_session *, PyObject *, PyObject **);

/* ---- by name or by value (names.c) ---- */

/*
 * byvalue_is_named() is 1 if 'obj' can be found as 'qualname' in the imported module 'module_name'
 * and that module was not registered to be sent by value; 0 if not; -1 with an exception set.
 * 'module_name' and 'qualname' may be any object or NULL: what is not a str names nothing.
 */
int byvalue_is_named(module_state *st, PyObject *obj, PyObject *module_name, PyObject *qualname);
/* 1 if the module of this name, or a package around it, was registered to be sent by value. */
int byvalue_is_registered(module_state *st, PyObject *module_name);
/* The reducers' answer for what byvalue_is_named() found: remembers the name for the saver. 2. */
int byvalue_answer_name(byvalue_session *session, PyObject *obj, PyObject *module_name,
                        PyObject *qualname);
/*
 * byvalue_class_names() is 1 with the __module__ and __qualname__ of a class, new references, where its
 * metaclass leaves both to type; 0: they have to be asked for. Runs no Python code.
 */
int byvalue_class_names(module_state *st, PyTypeObject *type, PyObject **module_name,
                        PyObject **qualname);
/* By the object's own __module__ and __qualname__ (or __name__). As byvalue_is_named(). */
int byvalue_has_name(module_state *st, PyObject *obj);

/* ---- code objects (code.c) ---- */

void byvalue_code_free_loose(byvalue_session *session);

enum {
    CODE_STORES_GLOBAL = 1u << 0,    /* STORE_GLOBAL or DELETE_GLOBAL, nested code included */
    CODE_STORES_FREE = 1u << 1,      /* assigns to a variable of an enclosing function */
    CODE_STORES_ATTRIBUTE = 1u << 2, /* STORE_ATTR or DELETE_ATTR */
    CODE_REACHES_INSIDE = 1u << 3,   /* names globals, exec, __dict__, …: could change anything */
};

/* What the bytecode says, worked out once per code object and kept with it. */
typedef struct code_facts {
    PyObject *blob;         /* as byvalue_code_blob() describes; NULL until asked for */
    PyObject *stable_blob;  /* the same for deterministic dumps */
    PyObject *global_names; /* tuple of str: globals read, written, deleted; nested code included */
    PyObject *names; /* tuple of str: global_names and attributes, the candidates for submodules */
    unsigned flags;  /* CODE_* */
    struct code_facts *next_loose;
} code_facts;

/* The facts of 'code', valid while the code object and the session live; NULL with an exception. */
code_facts *byvalue_code_facts(byvalue_session *session, PyCodeObject *code);
/*
 * byvalue_code_portion() is what stands for 'code' in a function's arguments, a new reference:
 * its blob, bytes that begin with the interpreter's version; or the code object itself if marshal
 * cannot write its constants, so that byvalue_reduce_code() is asked for it.
 */
PyObject *byvalue_code_portion(byvalue_session *session, PyCodeObject *code, code_facts *facts);
/* 1 if a blob, bytes, was written by this version of Python, so that its bytecode means something. */
int byvalue_code_is_ours(PyObject *blob);
/* The code object that a portion stands for; a new reference. 'name' is for error messages. */
PyCodeObject *byvalue_code_load(module_state *st, PyObject *portion, PyObject *name);

/* ---- code with its source (source.c) ---- */

/*
 * byvalue_source_announce() is called for each function whose code is about to be written: some
 * sources are found by the function's globals only. 0 or -1.
 */
int byvalue_source_announce(PyFunctionObject *func);
/* As byvalue_reduce(), for a code object whose blob, borrowed, is made already. */
int byvalue_reduce_sourced(byvalue_session *session, PyCodeObject *code, PyObject *blob,
                           PyObject **reduced);
/*
 * byvalue_source_prepare() takes out of a class's attributes, a dict, what another version of Python
 * has to make itself, and returns what it needs for that, a tuple or None: a new reference.
 */
PyObject *byvalue_source_prepare(PyObject *type, PyObject *attributes);
/* Makes that, when 'type' has its attributes. 0 or -1. */
int byvalue_source_complete(PyObject *type, PyObject *generated);
/* As byvalue_reduce(), for a class that has another name in older versions of its module. */
int byvalue_source_reduce_name(byvalue_session *session, PyObject *type, PyObject **reduced);

/* ---- identity across processes (identity.c) ---- */

/*
 * byvalue_identity_of() is the id (bytes, new reference) of an object that can be weakly
 * referenced, made now if it has none. Objects with an id made here are at home here.
 */
PyObject *byvalue_identity_of(module_state *st, PyObject *obj);
/* An id that nothing has yet, bytes, a new reference. */
PyObject *byvalue_identity_next(module_state *st);
/* 1: '*obj' is a new reference to the living object with this id, '*at_home' says where its id was
 * made; 0: there is none; -1: error. */
int byvalue_identity_find(module_state *st, PyObject *id, PyObject **obj, int *at_home);
/* As find, by object. 1: it has an id; '*at_home' is set. */
int byvalue_identity_known(module_state *st, PyObject *obj, int *at_home);
/* Notes that 'obj', if it is not at home here, has its state now. 0 or -1. */
int byvalue_identity_complete(module_state *st, PyObject *obj);
/* 1: it has had its state before; 0: not so, or it has no id; -1. */
int byvalue_identity_is_complete(module_state *st, PyObject *obj);
/* Gives 'obj', which was rebuilt here, the id that it came with. */
int byvalue_identity_adopt(module_state *st, PyObject *id, PyObject *obj);

/* Makes 'obj', which has no id, known as at home under this one. 0 or -1. */
int byvalue_identity_enter(module_state *st, PyObject *id, PyObject *obj);
/* The id that 'obj' has, borrowed; NULL: none, or an exception is set. */
PyObject *byvalue_identity_get(module_state *st, PyObject *obj);
/* As enter: 'obj' can also be found by this id, whatever else it has. 0 or -1. */
int byvalue_identity_claim(module_state *st, PyObject *id, PyObject *obj);

/* ---- classes of __main__ in a later run (definition.c) ---- */

/* Appends the definition's hash to a class's id, a new reference, if another run can have it. 0 or -1. */
int byvalue_add_definition(module_state *st, PyTypeObject *type, PyObject **id);
/*
 * byvalue_find_redefined() looks for a class that nobody here has under 'id' in this run's __main__. '*here'
 * is a new reference to it. 1: it is the same; 2: it has the name and another definition; 0: there is
 * none; -1.
 */
int byvalue_find_redefined(module_state *st, PyObject *id, PyObject *name, PyObject *namespace,
                           PyObject **here);
/* When the class with this id has been made after all, there is to be a warning about 'here'. 0 or -1. */
int byvalue_note_redefined(module_state *st, PyObject *id, PyObject *here);
/* Gives that warning, if it was asked for. 0 or -1. Runs Python code. */
int byvalue_warn_redefined(module_state *st, PyObject *made);

/* ---- answers that depend on nothing but the objects (stable.c) ---- */

/*
 * byvalue_stable_id() is the id (bytes, new reference) that 'obj' has in this deterministic or portable
 * dump: from 'description', what it is, which is looked at as achar.digest() does; in a portable one,
 * where nobody asks for it, an empty one.
 */
PyObject *byvalue_stable_id(byvalue_session *session, PyObject *obj, PyObject *description);
static inline int byvalue_wants_stable_id(const byvalue_session *session)
{
    return session->root != NULL || session->portable;
}
/* 1 if an object may be found here by the id that byvalue_stable_id() gave. */
static inline int byvalue_may_claim(const byvalue_session *session)
{
    return session->root == session && !session->portable;
}

/*
 * byvalue_same_code() is the code object that is written for 'code', whose blob is 'portion', where it
 * is written as an object: in a deterministic dump equal code is one object. Borrowed; NULL: no memory.
 */
PyObject *byvalue_same_code(byvalue_session *session, PyObject *portion, PyObject *code);

/* Code as marshal writes it, in the form that shows neither sharing nor interning; bytes. (marshal.c) */
PyObject *byvalue_stable_marshal(PyCodeObject *code);

/* achar.digest() of 'obj' into 'hash', BLAKE2S_NBYTES long. 'fresh_locks': locks are no obstacle. 0 or
 * -1. (digest.c) */
int byvalue_digest(module_state *st, PyObject *obj, int fresh_locks, uint8_t *hash);

/* A new list of what 'items' has, in order if the dump is deterministic and in any if it is not. */
PyObject *byvalue_in_order(byvalue_session *session, PyObject *items);

/* 1 if both are the same object or equal str. */
static inline int byvalue_same_text(PyObject *a, PyObject *b)
{
    if (a && b && compat_is_interned(a) && compat_is_interned(b))
        return a == b;
    return a == b || (a && b && PyUnicode_CheckExact(a) && PyUnicode_CheckExact(b) &&
                      PyUnicode_Compare(a, b) == 0);
}

/* ---- modules (module.c) ---- */

/*
 * byvalue_submodules() is a tuple of the submodules that code with these names reads from packages
 * among its globals (a dict or NULL) and in its closure (a tuple of cells or NULL); None if none.
 */
PyObject *byvalue_submodules(PyObject *globals, PyObject *closure, PyObject *names);
/* Gives a globals dict the __builtins__ of this process if it has none. 0 or -1. */
int byvalue_give_builtins(module_state *st, PyObject *globals);

/* ---- helpers ---- */

/* None, bool, int, float, complex, str, bytes, …: has no parts, cannot refer to anything. */
static inline int byvalue_is_atom(PyObject *obj)
{
    PyTypeObject *type = Py_TYPE(obj);
    return obj == Py_None || type == &PyUnicode_Type || type == &PyLong_Type ||
           type == &PyBool_Type || type == &PyFloat_Type || type == &PyBytes_Type ||
           type == &PyComplex_Type || obj == Py_Ellipsis || obj == Py_NotImplemented;
}

/* 1 if a function that captured 'obj' can be used again without anyone having changed it. */
int byvalue_is_constant(byvalue_session *session, PyObject *obj);

/*
 * byvalue_make_reduce() is (callable, args[, state, None, None, setter]); steals 'args' and 'state',
 * either of which may be NULL with an exception set only if 'args' is. 'setter' NULL and 'state' not:
 * a tuple of three. 1, or -1, as a reducer returns.
 */
int byvalue_make_reduce(PyObject *callable, PyObject *args, PyObject *state, PyObject *state_setter,
                        PyObject **reduced);

/*
 * byvalue_answer_call() is the answer that 'callable', borrowed, called with 'args' makes the object, and
 * byvalue_setter(callable) gives it its 'state' (NULL: there is none). Steals as byvalue_make_reduce().
 * 3, 1 with '*reduced', or -1.
 */
int byvalue_answer_call(byvalue_session *session, PyObject *callable, PyObject *args,
                        PyObject *state, PyObject **reduced);

/* module.attribute, imported when first needed: new reference. */
PyObject *byvalue_import(const char *module, const char *attribute);

/* What a plain object's __reduce_ex__ has as its state: its __dict__, its slots; None: nothing. */
PyObject *byvalue_object_state(module_state *st, PyObject *obj);

/* TypeError "achar._v1.<function>: <what>" about a malformed stream; -1. */
int byvalue_bad_stream(module_state *st, const char *function, const char *what);

/* UnpicklingError: 'found', which is here what a name led to, was 'what' where it was pickled; -1. */
int byvalue_became_other(module_state *st, PyObject *found, const char *what);

/* Each file's share of byvalue_exec(). */
int byvalue_code_exec(module_state *st);
int byvalue_identity_exec(module_state *st);
int byvalue_context_exec(module_state *st);
int byvalue_digest_exec(PyObject *module, module_state *st);
int byvalue_class_load_exec(PyObject *module, module_state *st);
int byvalue_definition_exec(PyObject *module, module_state *st);
int byvalue_names_exec(PyObject *module, module_state *st);
int byvalue_exception_exec(PyObject *module, module_state *st);
int byvalue_sender_exec(module_state *st);

/* The tables of achar._v1's functions, one per file; the format (byvalue.c puts them together). */
extern PyMethodDef byvalue_v1_source[], byvalue_v1_code[], byvalue_v1_function[],
    byvalue_v1_module[], byvalue_v1_class[], byvalue_v1_enum[], byvalue_v1_exception[],
    byvalue_v1_small[], byvalue_v1_weak[], byvalue_v1_traceback[], byvalue_v1_file[],
    byvalue_v1_context[], byvalue_v1_inside[], byvalue_v1_missing[];

#endif
