/*
 * where.c - from the offset of an opcode to the path of the object that it was about.
 *
 * The loader itself builds from the leaves up, so when it fails the root may not exist yet. But the
 * whole pickle is in memory: libachar reads it into a graph, in which each import, call and state has
 * the offset of its opcode. A search from the root, breadth first, finds the shortest way to the
 * one at fault; the names of the steps are those of the saver's paths (saver/path.c):
 *
 *    obj['clients'][0].sock      obj.__globals__['helper']      obj.__closure__[1].cell_contents
 *
 * A part of an object by value hangs on a call that nobody refers to, achar._v1.X_state(object,
 * state); these are collected first.
 */
#include "python/loader/where.h"

#include "python/byvalue/sender.h"
#include "codec/token.h"

#include <achar/read.h>

#include <string.h>

enum {
    NODES_MAX = 1 << 22, /* parts that are looked at */
    GRAPH_NBYTES_MAX = 1 << 30,
    STEPS_SHOWN = 40, /* of a very deep path, at either end */
    KEY_NBYTES_SHOWN = 60,
};

/* How the parts of a container are called. */
enum role {
    ROLE_PLAIN,
    ROLE_ATTRIBUTES,     /* a dict whose keys are names of attributes */
    ROLE_STATE_PAIR,     /* (dict, slots) */
    ROLE_FUNCTION_STATE, /* as byvalue/function.c says */
    ROLE_FUNCTION_CELLS,
    ROLE_FUNCTION_ARGUMENTS,
    ROLE_CLASS_STATE,
    ROLE_CLASS_ARGUMENTS,
    ROLE_CELL_STATE,
    ROLE_METHOD_ARGUMENTS,
    ROLE_MADE_OF, /* arguments of a call that stands for the object itself */
};

enum step { STEP_TEXT, STEP_INDEX, STEP_KEY, STEP_ATTRIBUTE };

typedef struct node {
    achar_value value;
    achar_value key;   /* STEP_KEY, STEP_ATTRIBUTE */
    size_t index;      /* STEP_INDEX */
    const char *text;  /* stands before the step */
    const char *after; /* and after it */
    uint32_t parent;
    uint8_t step;
    uint8_t role;
} node;

/* The state that a call of achar._v1.X_state gives to an object. */
typedef struct late_state {
    uintptr_t object;
    achar_value state;
    uint8_t role;
} late_state;

typedef struct search {
    achar_graph *graph;
    node *nodes;
    size_t count, capacity;
    uintptr_t *seen; /* open addressing, a power of two; 0: free */
    size_t seen_count, seen_capacity;
    late_state *late;
    size_t late_count;
    int failed; /* memory, or a limit */
} search;

/* ---- what has been seen ---- */

static uintptr_t *seen_slot(uintptr_t *table, size_t capacity, uintptr_t key)
{
    size_t at = (size_t)((key >> 4) * 0x9E3779B97F4A7C15u) & (capacity - 1);
    while (table[at] && table[at] != key)
        at = (at + 1) & (capacity - 1);
    return &table[at];
}

/* 1: it is new; 0: it was seen before, or memory is out. */
static int see(search *s, uintptr_t key)
{
    if (s->seen_count * 2 >= s->seen_capacity) {
        size_t capacity = s->seen_capacity ? s->seen_capacity * 2 : 256;
        uintptr_t *table = PyMem_Calloc(capacity, sizeof(*table));
        if (!table) {
            s->failed = 1;
            return 0;
        }
        for (size_t i = 0; i < s->seen_capacity; i++) {
            if (s->seen[i])
                *seen_slot(table, capacity, s->seen[i]) = s->seen[i];
        }
        PyMem_Free(s->seen);
        s->seen = table;
        s->seen_capacity = capacity;
    }
    uintptr_t *slot = seen_slot(s->seen, s->seen_capacity, key);
    if (*slot)
        return 0;
    *slot = key;
    s->seen_count++;
    return 1;
}

/* ---- the search ---- */

static int has_parts(achar_value value)
{
    switch (achar_kind(value)) {
    case ACHAR_TUPLE:
    case ACHAR_FROZENSET:
    case ACHAR_LIST:
    case ACHAR_DICT:
    case ACHAR_SET:
    case ACHAR_CALL:
    case ACHAR_GLOBAL:
    case ACHAR_EXTENSION:
    case ACHAR_PERSISTENT:
        return 1;
    default:
        return 0;
    }
}

static node *add(search *s, size_t parent, achar_value value, enum role role, enum step step)
{
    if (!has_parts(value) || s->failed || !see(s, (uintptr_t)value.as.pointer))
        return NULL;
    if (s->count == s->capacity) {
        size_t capacity = s->capacity ? s->capacity * 2 : 64;
        node *nodes =
            capacity > NODES_MAX ? NULL : PyMem_Realloc(s->nodes, capacity * sizeof(node));
        if (!nodes) {
            s->failed = 1;
            return NULL;
        }
        s->nodes = nodes;
        s->capacity = capacity;
    }
    node *made = &s->nodes[s->count++];
    *made = (node){.value = value,
                   .parent = (uint32_t)parent,
                   .role = (uint8_t)role,
                   .step = (uint8_t)step,
                   .text = "",
                   .after = ""};
    return made;
}

static void add_text(search *s, size_t parent, achar_value value, enum role role, const char *text)
{
    node *made = add(s, parent, value, role, STEP_TEXT);
    if (made)
        made->text = text;
}

static void add_index(search *s, size_t parent, achar_value value, size_t index, const char *text,
                      const char *after)
{
    node *made = add(s, parent, value, ROLE_PLAIN, STEP_INDEX);
    if (made) {
        made->index = index;
        made->text = text;
        made->after = after;
    }
}

static void add_pair(search *s, size_t parent, achar_value key, achar_value value, enum role role)
{
    node *made =
        add(s, parent, value, ROLE_PLAIN, role == ROLE_ATTRIBUTES ? STEP_ATTRIBUTE : STEP_KEY);
    if (made)
        made->key = key;
    add_text(s, parent, key, ROLE_PLAIN, "{…}");
}

static int is_v1(achar_value callable, const char *name)
{
    return achar_global_is(callable, "achar._v1", name);
}

static void expand_tuple(search *s, size_t at, achar_value value, enum role role)
{
    size_t count = achar_count(value);
    for (size_t i = 0; i < count; i++) {
        achar_value item = achar_item(value, i);
        switch (role) {
        case ROLE_FUNCTION_STATE:
            add_text(s, at, item,
                     i == 1   ? ROLE_FUNCTION_CELLS
                     : i == 2 ? ROLE_ATTRIBUTES
                              : ROLE_PLAIN,
                     i == 0 ? ".__globals__" : "");
            break;
        case ROLE_FUNCTION_CELLS: /* index, contents, index, contents, … */
            if (i % 2)
                add_index(s, at, item, (size_t)achar_int64(achar_item(value, i - 1)),
                          ".__closure__", ".cell_contents");
            break;
        case ROLE_FUNCTION_ARGUMENTS:
            add_text(s, at, item, ROLE_PLAIN,
                     i == 1   ? ".__globals__"
                     : i == 2 ? ".__closure__"
                              : "");
            break;
        case ROLE_CLASS_STATE:
            add_text(s, at, item, i == 0 ? ROLE_ATTRIBUTES : ROLE_PLAIN, "");
            break;
        case ROLE_CLASS_ARGUMENTS:
            add_text(s, at, item, i == 4 ? ROLE_ATTRIBUTES : ROLE_PLAIN,
                     i == 1   ? ".__class__"
                     : i == 3 ? ".__bases__"
                              : "");
            break;
        case ROLE_METHOD_ARGUMENTS:
            add_text(s, at, item, ROLE_PLAIN, i == 0 ? ".__func__" : ".__self__");
            break;
        case ROLE_STATE_PAIR:
            add_text(s, at, item, ROLE_ATTRIBUTES, "");
            break;
        case ROLE_CELL_STATE:
            add_text(s, at, item, ROLE_PLAIN, ".cell_contents");
            break;
        case ROLE_MADE_OF:
            add_text(s, at, item, ROLE_PLAIN, "");
            break;
        default:
            add_index(s, at, item, i, "", "");
        }
    }
}

/* What BUILD and its like have added to the object at 'at'. */
static void expand_changes(search *s, size_t at, achar_value value)
{
    size_t index, appended = 0;
    achar_effect effect;
    if (achar_first_change(s->graph, value, &index) != ACHAR_OK)
        return;
    for (; index != ACHAR_NO_EFFECT && achar_effect_at(s->graph, index, &effect) == ACHAR_OK;
         index = effect.next) {
        for (size_t i = 0; i < effect.values_count; i++) {
            achar_value part = effect.values[i];
            switch (effect.kind) {
            case ACHAR_EFFECT_BUILD: {
                int pair = achar_kind(part) == ACHAR_TUPLE && achar_count(part) == 2 &&
                           achar_kind(achar_item(part, 1)) == ACHAR_DICT;
                if (achar_kind(part) == ACHAR_DICT || pair)
                    add_text(s, at, part, pair ? ROLE_STATE_PAIR : ROLE_ATTRIBUTES, "");
                else
                    add_text(s, at, part, ROLE_PLAIN, ".__reduce__()[2]");
                break;
            }
            case ACHAR_EFFECT_APPEND:
                add_index(s, at, part, appended++, "", "");
                break;
            case ACHAR_EFFECT_SET:
                if (i % 2)
                    add_pair(s, at, effect.values[i - 1], part, ROLE_PLAIN);
                break;
            case ACHAR_EFFECT_ADD:
                add_text(s, at, part, ROLE_PLAIN, "{…}");
                break;
            default: /* a fill: among the items */
                break;
            }
        }
    }
}

static void expand_call(search *s, size_t at, achar_value value)
{
    static const struct {
        const char *name;
        enum role role;
    } made[] = {{"function", ROLE_FUNCTION_ARGUMENTS},
                {"class_", ROLE_CLASS_ARGUMENTS},
                {"method", ROLE_METHOD_ARGUMENTS},
                {"cell", ROLE_CELL_STATE},
                {"exception", ROLE_MADE_OF},
                {"exception_of", ROLE_MADE_OF},
                {"exception_by", ROLE_MADE_OF},
                {"enum_member", ROLE_MADE_OF},
                {"module", ROLE_MADE_OF}};
    achar_value callable = achar_callable(value), arguments = achar_arguments(value);
    int found = 0;
    add_text(s, at, callable, ROLE_PLAIN, "");
    for (size_t i = 0; !found && i < sizeof(made) / sizeof(*made); i++) {
        if (is_v1(callable, made[i].name)) {
            add_text(s, at, arguments, made[i].role, "");
            found = 1;
        }
    }
    if (!found)
        add_text(s, at, arguments, ROLE_PLAIN, ".__reduce__()[1]");
    add_text(s, at, achar_keywords(value), ROLE_PLAIN, ".__reduce__()[1]");
    expand_changes(s, at, value);
    for (size_t i = 0; i < s->late_count; i++) {
        if (s->late[i].object == (uintptr_t)value.as.pointer)
            add_text(s, at, s->late[i].state, (enum role)s->late[i].role, "");
    }
}

static void expand(search *s, size_t at)
{
    achar_value value = s->nodes[at].value;
    enum role role = (enum role)s->nodes[at].role;
    size_t count = achar_count(value);
    switch (achar_kind(value)) {
    case ACHAR_LIST:
        for (size_t i = 0; i < count; i++)
            add_index(s, at, achar_item(value, i), i, "", "");
        break;
    case ACHAR_TUPLE:
        expand_tuple(s, at, value, role);
        break;
    case ACHAR_SET:
    case ACHAR_FROZENSET:
        for (size_t i = 0; i < count; i++)
            add_text(s, at, achar_item(value, i), ROLE_PLAIN, "{…}");
        break;
    case ACHAR_DICT:
        for (size_t i = 0; i < count; i++)
            add_pair(s, at, achar_pair_key(value, i), achar_pair_value(value, i), role);
        break;
    case ACHAR_CALL:
        expand_call(s, at, value);
        break;
    case ACHAR_PERSISTENT:
        add_text(s, at, achar_persistent_id(value), ROLE_PLAIN, "<persistent id>");
        break;
    default:
        break;
    }
}

/* A state's name ends so; "function_state" has more to say of its parts. */
static int role_of_state(achar_value callable, enum role *role)
{
    static const char suffix[] = "_state";
    size_t nbytes;
    const char *name = achar_text(achar_name(callable), &nbytes);
    if (!achar_text_is(achar_module(callable), "achar._v1") || nbytes < strlen(suffix) ||
        memcmp(name + nbytes - strlen(suffix), suffix, strlen(suffix)) != 0)
        return 0;
    *role = is_v1(callable, "function_state")      ? ROLE_FUNCTION_STATE
            : is_v1(callable, "class_state")       ? ROLE_CLASS_STATE
            : is_v1(callable, "cell_state")        ? ROLE_CELL_STATE
            : is_v1(callable, "exception_state")   ? ROLE_ATTRIBUTES
            : is_v1(callable, "module_state")      ? ROLE_ATTRIBUTES
            : is_v1(callable, "enum_member_state") ? ROLE_STATE_PAIR
                                                   : ROLE_PLAIN;
    return 1;
}

/* Finds the effect at 'offset' and all late states. 0; -1: nothing is there, or memory is out. */
static int survey(search *s, uint64_t offset, achar_effect *found)
{
    size_t count = achar_effects_count(s->graph), room = 0;
    int status = -1;
    for (size_t i = 0; i < count; i++) {
        achar_effect effect;
        enum role role;
        if (achar_effect_at(s->graph, i, &effect) != ACHAR_OK)
            return -1;
        if (effect.offset == offset && status < 0) {
            *found = effect;
            status = 0;
        }
        achar_value arguments = achar_arguments(effect.target);
        if (effect.kind != ACHAR_EFFECT_CALL || achar_count(arguments) != 2 ||
            !role_of_state(achar_callable(effect.target), &role))
            continue;
        if (s->late_count == room) {
            room = room ? room * 2 : 16;
            late_state *late = PyMem_Realloc(s->late, room * sizeof(*late));
            if (!late)
                return -1;
            s->late = late;
        }
        s->late[s->late_count++] = (late_state){(uintptr_t)achar_item(arguments, 0).as.pointer,
                                                achar_item(arguments, 1), (uint8_t)role};
    }
    return status;
}

/* The index of the node that is 'target', or of none: SIZE_MAX. */
static size_t find(search *s, achar_value target)
{
    add(s, 0, achar_root(s->graph), ROLE_PLAIN, STEP_TEXT);
    for (size_t at = 0; at < s->count && !s->failed; at++) {
        if (achar_same(s->nodes[at].value, target))
            return at;
        expand(s, at);
    }
    return SIZE_MAX;
}

/* ---- in words ---- */

static PyObject *text_of(achar_value value)
{
    size_t nbytes;
    const char *text = achar_text(value, &nbytes);
    return text ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)nbytes, "replace") : NULL;
}

static PyObject *describe_key(achar_value key, int is_attribute)
{
    size_t nbytes;
    PyObject *text = NULL, *described = NULL;
    switch (achar_kind(key)) {
    case ACHAR_STR:
        achar_text(key, &nbytes);
        text = nbytes <= KEY_NBYTES_SHOWN ? text_of(key) : NULL;
        if (text && is_attribute && PyUnicode_IsIdentifier(text) == 1)
            described = PyUnicode_FromFormat(".%U", text);
        else if (text)
            described = PyUnicode_FromFormat("[%R]", text);
        break;
    case ACHAR_INT:
        described = PyUnicode_FromFormat("[%lld]", (long long)achar_int64(key));
        break;
    case ACHAR_BOOL:
        described = PyUnicode_FromString(achar_bool(key) ? "[True]" : "[False]");
        break;
    case ACHAR_NONE:
        described = PyUnicode_FromString("[None]");
        break;
    default:
        break;
    }
    Py_XDECREF(text);
    if (!described && !PyErr_Occurred())
        described = PyUnicode_FromFormat("[<a %s>]", achar_kind_name(achar_kind(key)));
    return described;
}

static PyObject *describe_step(const node *n)
{
    PyObject *part = NULL, *whole = NULL;
    switch ((enum step)n->step) {
    case STEP_TEXT:
        return PyUnicode_FromString(n->text);
    case STEP_INDEX:
        return PyUnicode_FromFormat("%s[%zu]%s", n->text, n->index, n->after);
    case STEP_KEY:
    case STEP_ATTRIBUTE:
        part = describe_key(n->key, n->step == STEP_ATTRIBUTE);
        whole = part ? PyUnicode_FromFormat("%s%U%s", n->text, part, n->after) : NULL;
        Py_XDECREF(part);
    }
    return whole;
}

/* The path to node 'at', a new str; NULL with an exception. */
static PyObject *describe_path(const search *s, size_t at)
{
    size_t depth = 0, level = 0;
    for (size_t i = at; i; i = s->nodes[i].parent)
        depth++;
    PyObject *steps = PyList_New((Py_ssize_t)depth), *path = NULL, *empty = NULL;
    for (size_t i = at; steps && i; i = s->nodes[i].parent, level++) {
        PyObject *step =
            depth > 2 * STEPS_SHOWN && level >= STEPS_SHOWN && level < depth - STEPS_SHOWN
                ? PyUnicode_FromString("")
                : describe_step(&s->nodes[i]);
        if (step && depth > 2 * STEPS_SHOWN && level == STEPS_SHOWN)
            Py_SETREF(step, PyUnicode_FromFormat("...(%zu levels)...", depth - 2 * STEPS_SHOWN));
        if (!step) {
            Py_CLEAR(steps);
            break;
        }
        PyList_SET_ITEM(steps, (Py_ssize_t)(depth - 1 - level), step);
    }
    empty = steps ? PyUnicode_FromString("") : NULL;
    PyObject *joined = empty ? PyUnicode_Join(empty, steps) : NULL;
    if (joined)
        path = PyUnicode_FromFormat("obj%U", joined);
    Py_XDECREF(joined);
    Py_XDECREF(empty);
    Py_XDECREF(steps);
    return path;
}

/* The global behind an effect: what was imported, what was called, whose object it is. */
static achar_value global_of(achar_value target)
{
    for (int i = 0; i < 4 && achar_kind(target) == ACHAR_CALL; i++) {
        achar_value callable = achar_callable(target), arguments = achar_arguments(target);
        if (is_v1(callable, "exception") || is_v1(callable, "enum_member") ||
            achar_global_is(callable, "copyreg", "_reconstructor") ||
            achar_global_is(callable, "copyreg", "__newobj__") ||
            achar_global_is(callable, "copyreg", "__newobj_ex__"))
            target = achar_item(arguments, 0);
        else if (is_v1(callable, "exception_of") || is_v1(callable, "exception_by"))
            target = achar_item(arguments, 1);
        else
            target = callable;
    }
    return target;
}

static void name_global(achar_value target, loader_place *place)
{
    achar_value callable = achar_callable(target), arguments = achar_arguments(target);
    if (is_v1(callable, "module")) { /* module(name) imports it */
        place->module = text_of(achar_item(arguments, 0));
        place->name = PyUnicode_FromString("");
    } else if (is_v1(callable, "attribute")) {
        place->module = text_of(achar_item(arguments, 0));
        place->name = text_of(achar_item(arguments, 1));
    } else {
        achar_value global = global_of(target);
        place->module = text_of(achar_module(global));
        place->name = text_of(achar_name(global));
    }
}

/* Goes on to STOP, before which the sender's label may stand: bytes that are dropped at once. */
static void find_end(const uint8_t *start, const uint8_t *at, const uint8_t *end,
                     loader_place *place)
{
    token t, last = {0};
    int status;
    while ((status = achar__token_next(at, end, &t)) == ACHAR_OK && t.opcode != OP_STOP) {
        last = t.opcode == OP_POP && last.info ? last : t;
        at = t.next;
    }
    if (status != ACHAR_OK)
        return;
    place->nbytes = (size_t)(t.next - start);
    if ((last.opcode == OP_SHORT_BINBYTES || last.opcode == OP_BINBYTES) &&
        last.nbytes > strlen(BYVALUE_LABEL_MARK) &&
        memcmp(last.data, BYVALUE_LABEL_MARK, strlen(BYVALUE_LABEL_MARK)) == 0)
        place->label = PyBytes_FromStringAndSize((const char *)last.data, (Py_ssize_t)last.nbytes);
}

void loader_find_place(const void *data, size_t nbytes, uint64_t offset, loader_place *place)
{
    const achar_read_options options = {.max_nbytes = GRAPH_NBYTES_MAX};
    search s = {0};
    achar_effect effect = {0};
    *place = (loader_place){0};
    if (offset >= nbytes)
        return;
    find_end(data, (const uint8_t *)data + offset, (const uint8_t *)data + nbytes, place);
    if (place->nbytes &&
        achar_read(data, place->nbytes, &options, &s.graph, NULL, NULL) == ACHAR_OK &&
        survey(&s, offset, &effect) == 0) {
        enum role role;
        achar_value target = effect.target;
        if (role_of_state(achar_callable(target), &role))
            target = achar_item(achar_arguments(target), 0);
        name_global(target, place);
        size_t at = find(&s, target);
        if (at != SIZE_MAX)
            place->path = describe_path(&s, at);
    }
    PyErr_Clear(); /* what cannot be told is left out */
    achar_graph_free(s.graph);
    PyMem_Free(s.nodes);
    PyMem_Free(s.seen);
    PyMem_Free(s.late);
}

void loader_place_clear(loader_place *place)
{
    Py_CLEAR(place->path);
    Py_CLEAR(place->module);
    Py_CLEAR(place->name);
    Py_CLEAR(place->label);
}
