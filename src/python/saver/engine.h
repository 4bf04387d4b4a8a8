/*
 * engine.h - the saver's inside: its stack of frames, and what its files know of each other.
 *
 * engine.c      the loop, and the choice of what becomes of an object
 * stack.c       frames, their ownership, the memo's opcodes
 * containers.c  lists, tuples, dicts; sets.c: sets
 * atoms.c       what is written at once: numbers, text, bytes, buffers
 * reduce.c      objects that are written as a call: __reduce__ and its kin; items.c: their items
 * persistent.c  persistent ids
 * call.c        what by-value code answers: a call in parts
 * instance.c    instances for which object's own __reduce_ex__ is known to be right; type_facts.c:
 *               what makes it known
 * value.c       dates and times
 * stable.c      deterministic dumps: values; order.c: the order of sets
 * global.c      functions and classes by name; place.c: where they are found
 * path.c        errors that say where in the object they happened
 * saver.c       dumps into memory; set-up
 *
 * An object in progress is a frame; frames are the recursion. A step function writes as much of
 * its container as it can and returns when a child needs a frame of its own or the container is
 * done.
 *
 * What frames refer to is borrowed at first, as the memo's objects are: the caller holds the root,
 * and nothing changes as long as no Python code runs. saver_before_python() turns all of it into
 * references of our own: frames[0 .. owned_depth) own 'obj' and 'held', those above do not.
 * So code that may call Python has this form:
 *   1. what it works on is in a frame (saver_push);
 *   2. saver_before_python();
 *   3. the call; afterwards containers, memo and output may all have changed.
 * A frame that holds a new object of our own making is an owned frame by then.
 */
#ifndef ACHAR_PYTHON_SAVER_ENGINE_H
#define ACHAR_PYTHON_SAVER_ENGINE_H

#include "base/memory.h"
#include "python/compat.h"
#include "python/byvalue/byvalue.h"
#include "python/saver/saver.h"
#include "python/saver/memo.h"
#include "python/saver/output.h"
#include "codec/opcodes.h"

enum {
    SAVER_BATCH_COUNT = 1000,
    SAVER_FAST_NESTING = 50,
    /* In the superset: an object that makes new ones at each __reduce__ would never end. */
    SAVER_DEPTH_MAX = 1 << 20,
};

/*
 * What is known of an object that is about to be written. UNIQUE: its one reference is its container's,
 * and nothing can lead back into that; so its place in the memo's table can wait. FRESH: a tuple or
 * dict that was made for this dump, in which nobody can have found it: its number is a phantom's.
 */
enum saver_sharing { SAVER_SHARED, SAVER_UNIQUE, SAVER_FRESH };

enum saver_frame_kind {
    FRAME_LIST,
    FRAME_TUPLE,
    FRAME_DICT,
    FRAME_SET,
    FRAME_FROZENSET,
    FRAME_LIST_ITEMS, /* the iterators that a reduce tuple may carry */
    FRAME_DICT_ITEMS,
    FRAME_REDUCE,
    FRAME_CALL,
    FRAME_INSTANCE,
    FRAME_VALUE,
    FRAME_GLOBAL,
    FRAME_GLOBAL_GETATTR,
    FRAME_PERSISTENT_ID,
};

typedef struct saver_frame {
    uint8_t kind;
    uint8_t stage; /* what the step function does next; 0 at first */
    uint8_t
        closed; /* enum saver_sharing: what is known of its children that have no other reference */
    uint8_t budget; /* units of the recursion budget that this frame has taken */
    uint8_t single; /* the current batch is one item without MARK */
    uint16_t batch; /* items in the current batch */
    PyObject *obj;
    PyObject *held[3];
    Py_ssize_t position;
    Py_ssize_t size;
} saver_frame;

/* What a Pickler object adds to a dump; it may change while callbacks run. All may be NULL. */
typedef struct saver_hooks {
    PyObject *dispatch_table;
    PyObject *persistent_id;      /* called with (self, obj) if persistent_id_self, else (obj) */
    PyObject *persistent_id_self; /* borrowed: the Pickler */
    PyObject *reducer_override;
    int fast;
} saver_hooks;

enum { SAVER_INLINE_FRAMES = SIZE_OR_TINY(64, 1) };

typedef struct saver {
    saver_output out;
    saver_memo *memo;
    module_state *st;
    const saver_hooks *hooks;
    const saver_options *options;
    byvalue_session *session;    /* superset only; NULL until it is needed */
    struct saver_stable *stable; /* stable.h: deterministic; else NULL */
    PyThreadState *thread;
    int protocol;
    int fix_imports;
    int superset;
    int fast_path; /* protocol 4 and up, no hook sees every object: leaves may be written inline */
    int saw_mutable; /* state that a call could change, outside functions */
    saver_frame *frames;
    Py_ssize_t depth;
    Py_ssize_t frame_capacity;
    Py_ssize_t owned_depth;
    Py_ssize_t recursion_used;
    saver_memo own_memo;
    saver_frame inline_frames[SAVER_INLINE_FRAMES];
} saver;

/* ---- engine.c ---- */

/*
 * saver_init() prepares a dump into 'sink', a file's 'write' or (both NULL) memory of its own.
 * 'memo' is a Pickler's, already initialised; NULL: one for this dump. 'hooks' NULL: none. 0 or -1;
 * saver_end() is due in any case.
 */
int saver_init(saver *s, module_state *st, const saver_options *options, const saver_hooks *hooks,
               saver_memo *memo, saver_sink *sink, PyObject *write);
void saver_end(saver *s);

/* Makes s->session, of the superset. 0 or -1. */
int saver_open_session(saver *s);

/* Makes a saver that has written nothing deterministic; 'outer' not NULL: for a key in the order of one
 * of its sets. 0 or -1. */
int saver_make_stable(saver *s, saver *outer);

/* saver_run() without the path in errors. */
int saver_write_pickle(saver *s, PyObject *root);

/* Writes the whole pickle of 'root', which the caller holds. 0 or -1; errors have their path. */
int saver_run(saver *s, PyObject *root);

/*
 * saver_save() writes 'obj' or, if it needs more than one step, pushes a frame for it. 'unique' is an
 * enum saver_sharing. The top frame (or, of the root,
 * the caller) keeps 'obj' alive until it has its frame; with a file, against its write() too.
 * 0: written; 1: a frame is pushed; -1. Frames and output may have moved.
 */
int saver_save(saver *s, PyObject *obj, int unique);
/* The same for a persistent id, which is not asked for its own. */
int saver_save_persistent_id(saver *s, PyObject *id);
/* What a step function returns whose part is to save a child. 0 or -1. */
static inline int saver_save_part(saver *s, PyObject *part)
{
    return saver_save(s, part, 0) < 0 ? -1 : 0;
}

/* At the start of an object: cuts the frame if it is full, and makes room. With a file this runs its
 * write(); the caller holds what it is about to save. 0 or -1. */
int saver_boundary(saver *s);

/* ---- stack.c ---- */

static inline saver_frame *saver_top(saver *s)
{
    return &s->frames[s->depth - 1];
}

/* Room for another frame; RecursionError for one too many. */
int saver_grow_frames(saver *s);
saver_frame *saver_refuse_depth(void);

/* A new top frame, borrowing 'obj'; NULL on RecursionError or MemoryError. */
static inline saver_frame *saver_push(saver *s, enum saver_frame_kind kind, PyObject *obj,
                                      int budget)
{
    if (s->depth == s->frame_capacity && saver_grow_frames(s) < 0)
        return NULL;
    if (s->superset) {
        budget = 0;
        if (s->depth >= SAVER_DEPTH_MAX)
            return saver_refuse_depth();
    }
    if (budget && compat_enter_recursion(s->thread, &s->recursion_used, budget) < 0)
        return NULL;
    saver_frame *frame = &s->frames[s->depth++];
    *frame = (saver_frame){.kind = (uint8_t)kind, .budget = (uint8_t)budget, .obj = obj};
    return frame;
}

/* The same for a container of the user's, 'closed' as in the struct; ValueError in fast mode's endless
 * cycles. */
saver_frame *saver_push_container(saver *s, enum saver_frame_kind kind, PyObject *obj, int closed,
                                  int budget);

/* Takes the top frame away; what it owns goes. */
void saver_pop_owned(saver *s);
static inline void saver_pop(saver *s)
{
    const saver_frame *frame = saver_top(s);
    if (frame->budget)
        compat_leave_recursion(s->thread, &s->recursion_used, frame->budget);
    if (s->depth > s->owned_depth)
        s->depth--;
    else
        saver_pop_owned(s);
}

/* The slow half of saver_before_python(). Where it fails, for want of memory, all is owned too. */
int saver_settle(saver *s);

/* Before any call that may run Python code, free an object or release the GIL. 0 or -1. */
static inline int saver_before_python(saver *s)
{
    if (saver_memo_settled(s->memo) && s->owned_depth == s->depth)
        return 0;
    return saver_settle(s);
}

/*
 * Before raising anything but MemoryError or RecursionError by a frame's own doing: making the
 * exception can set off the garbage collector, up to 3.11, and the error path is made of frames.
 */
#define saver_before_raising(s) ((void)saver_before_python(s))

/* Py_DECREF for something that a frame owned. */
void saver_drop(saver *s, PyObject *obj);

/* Sets held[slot] of the top frame, taking a reference if the frame is an owned one. */
void saver_hold(saver *s, int slot, PyObject *obj);

/* GET for the object at a position of the memo. 0 or -1. */
int saver_write_get(saver *s, Py_ssize_t position);

static inline int saver_write_op(saver *s, int op)
{
    if (saver_output_reserve(&s->out, 1) < 0)
        return -1;
    *s->out.cursor++ = (char)op;
    return 0;
}

static inline int saver_write_ops(saver *s, int first, int second)
{
    if (saver_output_reserve(&s->out, 2) < 0)
        return -1;
    *s->out.cursor++ = (char)first;
    *s->out.cursor++ = (char)second;
    return 0;
}

/* PUT, below protocol 4. 0 or -1. */
int saver_write_put(saver *s, Py_ssize_t id);
/* MEMOIZE or PUT for an object that the stream makes and that nobody will look for. 0 or -1. */
int saver_memoize_phantom(saver *s);

/* MEMOIZE or PUT for an object that is not in the memo. 0 or -1. */
static inline int saver_memoize(saver *s, PyObject *obj, int unique)
{
    if (s->hooks->fast)
        return 0;
    if (unique == SAVER_FRESH)
        return saver_memoize_phantom(s);
    Py_ssize_t id = s->memo->count;
    if (saver_memo_put(s->memo, obj, unique) < 0)
        return -1;
    return s->protocol >= 4 ? saver_write_op(s, (char)OP_MEMOIZE) : saver_write_put(s, id);
}

/* ---- atoms.c: there is room for SAVER_ROOM_NBYTES when these are called ---- */

int saver_write_int(saver *s, PyObject *obj);
int saver_write_float(saver *s, PyObject *obj);
int saver_write_bool(saver *s, PyObject *obj);
int saver_write_str(saver *s, PyObject *obj, int unique);
int saver_write_bytes(saver *s, PyObject *obj, int unique);
int saver_write_bytearray(saver *s, PyObject *obj, int unique);
int saver_write_buffer(saver *s, PyObject *obj);

/* ---- reduce.c ---- */

int saver_step_reduce(saver *s);

/* Makes the top frame, an owned one, write its obj as 'reduced' says: a new reference that is taken
 * over in any case. 0 or -1. */
int saver_accept_reduced(saver *s, PyObject *reduced);

/* Which part of its object's call a FRAME_REDUCE or FRAME_CALL is writing, for error paths. */
enum saver_part {
    SAVER_PART_NONE,
    SAVER_PART_CALLABLE,
    SAVER_PART_ARGUMENTS,
    SAVER_PART_STATE,
    SAVER_PART_SETTER,
};
enum saver_part saver_reduce_part_of(const saver_frame *frame);

/* ---- call.c ---- */

/* Turns the top frame, an owned one, into one that writes what by-value code has just answered. */
void saver_begin_call(saver *s);
int saver_step_call(saver *s);
enum saver_part saver_call_part_of(const saver_frame *frame);

/* ---- items.c ---- */

int saver_step_list_items(saver *s);
int saver_step_dict_items(saver *s);

/* ---- persistent.c ---- */

enum saver_answer { SAVER_FAILED = -1, SAVER_NOT_WRITTEN, SAVER_PUSHED, SAVER_WRITTEN };
/* Asks for the persistent id of 'obj', which the caller holds, and writes it or pushes a frame. */
enum saver_answer saver_ask_persistent_id(saver *s, PyObject *obj);

int saver_step_persistent_id(saver *s);

/* ---- instance.c ---- */

/* Writes an instance the short way, or finds that it has to be asked and becomes a FRAME_REDUCE. */
int saver_step_instance(saver *s);
/* Memoizes the top frame's obj, which the stream has made. 1: it was in the memo, written by way of
 * its own parts, and that one counts; 0; -1. */
int saver_write_made(saver *s);

/* ---- value.c ---- */

int saver_step_value(saver *s);
/* Which part of its value a FRAME_VALUE is writing, for error paths. */
const char *saver_value_part(const saver_frame *frame);

/* ---- global.c ---- */

/* Turns the top frame, whose obj is a class or function, into one that writes it by its name:
 * 'name', or NULL for its own qualified name. 0 or -1. */
int saver_begin_global(saver *s, PyObject *name);
int saver_step_global(saver *s);
int saver_step_global_getattr(saver *s);

/* Does getattr(cls, name) say what 'type' itself says, whatever the metaclass? 'name': one of the
 * attributes of all classes. */
static inline int saver_is_plain_class(PyObject *cls, PyObject *name)
{
    PyTypeObject *metaclass = Py_TYPE(cls);
    return metaclass == &PyType_Type ||
           (PyType_Check(cls) && metaclass->tp_getattro == PyType_Type.tp_getattro &&
            _PyType_Lookup(metaclass, name) == _PyType_Lookup(&PyType_Type, name));
}

/* ---- path.c ---- */

/* With an exception set, in the superset: makes it say where. The frames are as they were when it
 * was raised. */
void saver_explain(saver *s, PyObject *root);

#endif
