/*
 * dicts.c - dicts whose making is put off until their items are there.
 *
 * Where the plan says that nobody fetches a new dict (plan.c), EMPTY_DICT and the MARK behind it only
 * leave a place on the stack: NULL, which no other entry is. It is under a mark, out of every other
 * opcode's reach, until that mark is taken. SETITEMS takes it for its items: they become a state
 * (state.c) or a dict. Whoever else takes that mark gets an empty dict first (loader_make_dict).
 *
 * Pickles are full of dicts with the same keys. A template is such a dict with None for the values;
 * when the same keys come again, the very same objects in the same order, the new dict is a copy of
 * it, and the values move from the stack into its table. Nothing is hashed or compared.
 */
#include "python/loader/core.h"

enum {
    TEMPLATES = SIZE_OR_TINY(16, 1),
    TEMPLATE_KEYS = 64,
};

typedef struct dict_template {
    /* The keys of the last dict that came by: addresses, no references. */
    uintptr_t first;
    uintptr_t last;
    size_t count;
    bool hopeless;
    PyObject *dict; /* owned; NULL until its keys have come twice */
} dict_template;

struct loader_templates {
    dict_template of[TEMPLATES];
};

void loader_templates_clear(loader *ld)
{
    if (!ld->templates)
        return;
    for (int i = 0; i < TEMPLATES; i++)
        Py_XDECREF(ld->templates->of[i].dict);
    PyMem_Free(ld->templates);
    ld->templates = NULL;
}

/* {key: None, ...}, if a copy's table will be as we expect. NULL without an exception if not. */
static PyObject *make_template(PyObject **items, size_t count)
{
    PyObject *dict = PyDict_New(), *copy = NULL;
    PyObject **table;
    for (size_t i = 0; dict && i < count; i++)
        if (!PyUnicode_CheckExact(items[2 * i]) || PyDict_SetItem(dict, items[2 * i], Py_None) < 0)
            goto fail;
    copy = dict ? PyDict_Copy(dict) : NULL;
    if (!copy || PyDict_GET_SIZE(copy) != (Py_ssize_t)count || !(table = compat_dict_table(copy)))
        goto fail;
    for (size_t i = 0; i < count; i++)
        if (table[i * COMPAT_DICT_STEP] != items[2 * i] ||
            table[i * COMPAT_DICT_STEP + 1] != Py_None)
            goto fail;
    Py_DECREF(copy);
    return dict;
fail:
    Py_XDECREF(copy);
    Py_XDECREF(dict);
    PyErr_Clear();
    return NULL;
}

/* The template for these keys; NULL if there is none (yet). */
static PyObject *find_template(loader *ld, PyObject **items, size_t count)
{
    uintptr_t first = (uintptr_t)items[0], last = (uintptr_t)items[2 * count - 2];
    if (!ld->templates && !(ld->templates = PyMem_Calloc(1, sizeof *ld->templates)))
        return NULL;
    dict_template *template = &ld->templates->of[((first ^ last) / 16 + count) % TEMPLATES];
    if (template->first != first || template->last != last || template->count != count) {
        Py_CLEAR(template->dict);
        *template = (dict_template){.first = first, .last = last, .count = count};
        return NULL;
    }
    if (template->hopeless)
        return NULL;
    if (!template->dict && !(template->dict = make_template(items, count))) {
        template->hopeless = true;
        return NULL;
    }
    PyObject **table = compat_dict_table(template->dict);
    for (size_t i = 0; i < count; i++)
        if (table[i * COMPAT_DICT_STEP] != items[2 * i])
            return NULL;
    return template->dict;
}

/* The dict of 'count' pairs on top of the stack, which leave it. NULL without an exception: not so. */
static PyObject *make_from_template(loader *ld, PyObject **items, size_t count)
{
    PyObject *template = count <= TEMPLATE_KEYS ? find_template(ld, items, count) : NULL;
    PyObject *dict = template ? PyDict_Copy(template) : NULL;
    if (!dict) {
        PyErr_Clear();
        return NULL;
    }
    PyObject **table = compat_dict_table(dict);
    bool tracked = PyObject_GC_IsTracked(dict);
    for (size_t i = 0; i < count; i++) {
        PyObject *value = items[2 * i + 1];
        table[i * COMPAT_DICT_STEP + 1] = value;
        if (!tracked && PyObject_IS_GC(value) &&
            (!PyTuple_CheckExact(value) || PyObject_GC_IsTracked(value))) {
            PyObject_GC_Track(dict);
            tracked = true;
        }
        Py_DECREF(Py_None);
        Py_DECREF(items[2 * i]); /* never the last: the template has one */
    }
    ld->top = items;
    return dict;
}

int loader_make_dict(loader *ld, PyObject **place)
{
    *place = PyDict_New();
    return *place ? 0 : -1;
}

int loader_op_setitems_of_new(loader *ld, size_t count)
{
    PyObject **items = ld->top - count, *dict;
    int built = loader_build_from_stack(ld, count);
    if (built)
        return built < 0 ? -1 : 0;
    if (count > 0 && count % 2 == 0 && (dict = make_from_template(ld, items, count / 2))) {
        items[-1] = dict;
        return 0;
    }
    return loader_make_dict(ld, items - 1) < 0 ? -1 : loader_op_setitems(ld, count);
}
