/*
 * type_facts.c - whether instances of a type can be written without asking them (instance.c).
 *
 * What concerns the type alone is found out once and kept, by the type's address and version and by
 * the version of copyreg's table.
 */
#include "python/saver/type_facts.h"

#include "python/saver/value.h"

enum { FACT_COUNT = SIZE_OR_TINY(64, 1) };

/* The list of slots (borrowed from the type) and their places. 1: found, or there are none. */
static int find_slots(saver *s, PyTypeObject *type, saver_type_fact *fact)
{
    PyObject *names = PyDict_GetItemWithError(type->tp_dict, s->st->str___slotnames__);
    if (!names) {
        if (PyErr_Occurred())
            return 0;
        /* As object.__reduce_ex__ does; it leaves them in the class. */
        names = PyObject_CallOneArg(s->st->copyreg_slotnames, (PyObject *)type);
        Py_XDECREF(names);
        names = PyDict_GetItemWithError(type->tp_dict, s->st->str___slotnames__);
    }
    if (!names || (names != Py_None && !PyList_Check(names)))
        return 0;
    if (names == Py_None || PyList_GET_SIZE(names) == 0)
        return 1;
    Py_ssize_t count = PyList_GET_SIZE(names);
    if (count > SAVER_FACT_SLOTS_MAX)
        return 0;
    fact->slots = names;
    fact->slot_count = (uint8_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *name = PyList_GET_ITEM(names, i);
        if (!PyUnicode_CheckExact(name))
            return 0;
        fact->slot_names[i] = name;
        fact->slot_offsets[i] = compat_slot_offset(type, _PyType_Lookup(type, name));
        if (fact->slot_offsets[i] < 0)
            return 0;
    }
    return 1;
}

/* Is there nothing in the type's instances but what pickling will find? */
static int has_no_hidden_state(PyTypeObject *type, Py_ssize_t slot_count)
{
    Py_ssize_t words = slot_count;
    words += type->tp_dictoffset > 0;
    words += type->tp_weaklistoffset > 0;
    return type->tp_itemsize == 0 &&
           type->tp_basicsize <=
               PyBaseObject_Type.tp_basicsize + words * (Py_ssize_t)sizeof(PyObject *);
}

/* Fills in all but type, superset and versions. Runs Python code at first only. */
static void find_out(saver *s, PyTypeObject *type, saver_type_fact *fact)
{
    const unsigned long other_kinds = Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS |
                                      Py_TPFLAGS_BASE_EXC_SUBCLASS | Py_TPFLAGS_TYPE_SUBCLASS;
    enum saver_value_kind value_kind = saver_value_kind_of(type);
    if (!value_kind && (!(type->tp_flags & Py_TPFLAGS_HEAPTYPE) || (type->tp_flags & other_kinds) ||
                        !type->tp_new || type->tp_getattro != PyObject_GenericGetAttr ||
                        !find_slots(s, type, fact)))
        return;
    if (PyDict_GetItemWithError(s->st->copyreg_dispatch_table, (PyObject *)type) ||
        PyErr_Occurred())
        return;
    if (s->superset && byvalue_concerns(s->st, type))
        return;
    if (value_kind) {
        fact->value_kind = (uint8_t)value_kind;
        (void)_PyType_Lookup(type,
                             s->st->str___reduce_ex__); /* a type never asked has no version */
        return;
    }
#define IS_OBJECTS_OWN(name)                                                                       \
    if (_PyType_Lookup(type, s->st->str_##name) !=                                                 \
        _PyType_Lookup(&PyBaseObject_Type, s->st->str_##name))                                     \
        return;
    SAVER_INSTANCE_HOOKS(IS_OBJECTS_OWN)
#undef IS_OBJECTS_OWN
    PyObject *new_arguments = _PyType_Lookup(type, s->st->str___getnewargs__);
    if (new_arguments && Py_TYPE(new_arguments) != &PyFunction_Type &&
        Py_TYPE(new_arguments) != &PyMethodDescr_Type)
        return;
    if (!new_arguments && !has_no_hidden_state(type, fact->slot_count))
        return; /* object.__reduce_ex__ will refuse */
    fact->new_arguments = new_arguments;
    fact->direct = 1;
}

const saver_type_fact *saver_fact_of(saver *s, PyTypeObject *type)
{
    size_t index = ((uintptr_t)type >> 6 ^ (uintptr_t)s->superset) % FACT_COUNT;
    saver_type_fact *fact = &s->st->saver_facts[index];
    int known;
    uint64_t table_version = compat_dict_version(s->st->copyreg_dispatch_table, &known);
    if (fact->type == type && fact->version == compat_type_version(type) &&
        fact->superset == s->superset && fact->table_version == table_version)
        return fact;
    if (saver_before_python(s) < 0)
        return NULL;
    saver_type_fact found = {.type = type, .superset = (uint8_t)s->superset};
    find_out(s, type, &found);
    PyErr_Clear(); /* asking in the ordinary way will find the same error */
    found.version = compat_type_version(type);
    found.table_version = compat_dict_version(s->st->copyreg_dispatch_table, &known);
    *fact = found;
    if (!known || found.version == 0)
        fact->type = NULL; /* good for this once */
    return fact;
}

/* ---- set-up ---- */

static void free_facts(PyObject *owner)
{
    PyMem_Free(PyCapsule_GetPointer(owner, "achar.saver_facts"));
}

int saver_type_facts_exec(module_state *st)
{
    saver_type_fact *facts = PyMem_Calloc(FACT_COUNT, sizeof(*facts));
    if (!facts) {
        PyErr_NoMemory();
        return -1;
    }
    st->saver_facts_owner = PyCapsule_New(facts, "achar.saver_facts", free_facts);
    if (!st->saver_facts_owner) {
        PyMem_Free(facts);
        return -1;
    }
    st->saver_facts = facts;
    return 0;
}
