/*
 * shapes.h - what the readers and makers of shapes share: which import is which, what a call was
 * given, whether the graph says anything more about it, and what has to be kept in the graph.
 *
 * The rule in all of them: what no Python writes is refused. A list or dict counts as an argument
 * only if it had all its items when it was used (achar__settled), an import only if nothing changes
 * it. Values are looked at through value.h, as a program's own code would do it.
 */
#ifndef ACHAR_CODEC_SHAPES_SHAPES_H
#define ACHAR_CODEC_SHAPES_SHAPES_H

#include <stdbool.h>

#include <achar/shapes.h>

/* The imports that shapes are made of; shapes.c has their names. */
enum known {
    KNOWN_NONE,
    KNOWN_DATETIME,
    KNOWN_DATE,
    KNOWN_TIME,
    KNOWN_TIMEDELTA,
    KNOWN_TIMEZONE,
    KNOWN_ZONEINFO,
    KNOWN_DECIMAL,
    KNOWN_FRACTION,
    KNOWN_COMPLEX,
    KNOWN_RANGE,
    KNOWN_UUID,
    KNOWN_POSIX_PATH,
    KNOWN_WINDOWS_PATH,
    KNOWN_PURE_POSIX_PATH,
    KNOWN_PURE_WINDOWS_PATH,
    KNOWN_BYTES,
    KNOWN_BYTEARRAY,
    KNOWN_SET,
    KNOWN_FROZENSET,
    KNOWN_DEQUE,
    KNOWN_ORDERED_DICT,
    KNOWN_DEFAULT_DICT,
    KNOWN_COUNTER,
    KNOWN_ARRAY,
    KNOWN_DTYPE,
    KNOWN_NDARRAY,
    KNOWN_FROMBUFFER,
    KNOWN_SCALAR,
    KNOWN_RECONSTRUCTOR,
    KNOWN_NEWOBJ,
    KNOWN_RECONSTRUCT,
    KNOWN_ARRAY_RECONSTRUCTOR,
    KNOWN_ENCODE,
    KNOWN_GETATTR,
    KNOWN_OBJECT,
    KNOWN_COUNT
};

/* Which import a value is; KNOWN_NONE for all else, and for an import that the pickle changes. */
enum known achar__known(achar_graph *graph, achar_value value);

/* ---- reading ---- */

/* A call that is being taken apart. */
typedef struct look {
    achar_graph *graph;
    achar_value value;
    int shape; /* enum achar_shape that was asked for */
    achar_error *error;
    enum known callable;
    achar_value arguments; /* a tuple */
    size_t entry;          /* the call's place in the log of effects */
    size_t change;         /* the first change of its result, or ACHAR_NO_EFFECT */
} look;

/*
 * Begins: ACHAR_E_TYPE if the value is not of that shape, ACHAR_E_SHAPE if it is no call with a
 * tuple of arguments, or not of form REDUCE (UUIDs: or NEWOBJ). A value of its own kind (bytes, a
 * set) is ACHAR_OK with 'arguments' ACHAR_NOTHING.
 */
int achar__look(look *l, achar_graph *graph, achar_value value, int shape, achar_error *error);

/* Fills in the error with the place of the call; returns 'code'. */
__attribute__((format(printf, 3, 4))) int achar__refuse(const look *l, int code, const char *format,
                                                        ...);

static inline achar_value look_argument(const look *l, size_t index)
{
    return achar_item(l->arguments, index);
}

/* Refuses if not between 'least' and 'most' arguments were given. */
int achar__look_count(const look *l, size_t least, size_t most);

/* Refuses if anything changes the call's result. */
int achar__look_unchanged(const look *l);

/* The state, if one BUILD with a value of 'kind' is all that changes the result; '*entry' is its
 * place in the log. Refuses otherwise. */
int achar__look_state(const look *l, int kind, achar_value *state, size_t *entry);

/* Refuses if a list or dict got items after entry 'entry' of the log, where it was used. */
int achar__settled(const look *l, achar_value filled, size_t entry);

/* Whether what the pickle says is meant for Python 2 as well: it is of protocols 0 to 2. */
bool achar__is_old(const achar_graph *graph);

/*
 * Text, '*is' false if it is none: a str, or in an old pickle ASCII bytes, as Python 2's str is
 * read with ACHAR_ENCODING_BYTES.
 */
const char *achar__look_text(const look *l, achar_value value, size_t *nbytes);
bool achar__look_text_is(const look *l, achar_value value, const char *text);

/*
 * The contents of bytes, a bytearray, an out-of-band buffer, or of the calls that stand for bytes;
 * with 'text_too', in an old pickle, also of a str as Latin-1, as Python 2's str is read with
 * ACHAR_ENCODING_LATIN1. Refuses all else; 'what' is its name in the message.
 */
int achar__payload(const look *l, achar_value value, bool text_too, const char *what,
                   const unsigned char **data, size_t *nbytes);

static inline bool is_integer(achar_value value)
{
    return achar_kind(value) == ACHAR_INT || achar_kind(value) == ACHAR_BIGINT;
}

/* Of an integer. */
bool achar__is_negative(achar_value integer);

/* An ACHAR_INT between 'least' and 'most'. */
static inline bool is_between(achar_value value, int64_t least, int64_t most)
{
    int64_t number = achar_int64(value);
    return achar_kind(value) == ACHAR_INT && number >= least && number <= most;
}

/*
 * ---- what is kept in a graph ----
 *
 * A hostile pickle has many calls refer to one large text, list or dict. So what takes time or memory
 * in proportion to one of these is done once for it, whatever comes of it, and not once a call.
 */

enum keep {
    KEEP_LATIN1,  /* bytes, by the str that stands for them */
    KEEP_INTEGER, /* a fraction's two, by its text */
    KEEP_ITEMS,   /* an array.array's, by the list and the typecode */
    KEEP_FILLED,  /* when a container was filled last */
    KEEP_IMPORT,  /* by enum known */
    KEEP_DTYPE,   /* by what it says */
};

/*
 * A block of the graph's memory that is known by 'key' (an identity of whatever sort 'keep' says),
 * NULL if there is none. achar__keep() makes it: 'nbytes' of uninitialised memory, aligned to 8,
 * NULL where memory ran out (achar__keep_status()).
 */
void *achar__kept(const achar_graph *graph, enum keep keep, achar_value key);
void *achar__keep(achar_graph *graph, enum keep keep, achar_value key, size_t nbytes);
int achar__keep_status(const achar_graph *graph);

/* ---- making ---- */

/* A call of a known import, which each graph has once; 'count' arguments. */
achar_value achar__make_known(achar_graph *graph, enum known known);
achar_value achar__call_known(achar_graph *graph, enum known known, const achar_value *arguments,
                              size_t count);

/* The graph's status sticks at the first failure; for `return achar__make_fail(…)`. */
achar_value achar__make_fail(achar_graph *graph, int status);

#endif
