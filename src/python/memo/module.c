/*
 * module.c - the extension achar._memo: its exceptions, and what its other files add.
 *
 * It is a module of its own so that only who uses achar.Memo loads SQLite. What is decided, rather than
 * done, stands in achar/memo.py.
 */
#include "python/memo/memo.h"

PyObject *memo_raise(memo_state *st, memo_status status)
{
    if (status == MEMO_NOMEM)
        return PyErr_NoMemory();
    PyObject *class = status == MEMO_DAMAGED       ? st->Damaged
                      : status == MEMO_DAMAGED_ROW ? st->DamagedRow
                      : status == MEMO_FULL        ? st->Full
                      : status == MEMO_MOVED       ? st->Moved
                      : status == MEMO_FOREIGN     ? st->Foreign
                                                   : st->Error;
    const char *message = memo_message(); /* may quote what is damaged */
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    if (text)
        PyErr_SetObject(class, text);
    Py_XDECREF(text);
    return NULL;
}

static int add_exception(PyObject *module, const char *name, const char *doc, PyObject *base,
                         PyObject **out)
{
    *out = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
    return *out ? PyModule_AddObjectRef(module, strrchr(name, '.') + 1, *out) : -1;
}

static int module_exec(PyObject *module)
{
    memo_state *st = PyModule_GetState(module);
    if (memo_store_exec(module) < 0 || memo_reader_exec(module) < 0 ||
        PyModule_AddFunctions(module, memo_fork_functions) < 0 ||
        PyModule_AddFunctions(module, memo_salvage_functions) < 0 ||
        add_exception(module, "achar.memo.MemoError", "A memo cannot do what it was asked.", NULL,
                      &st->Error) < 0 ||
        add_exception(module, "achar.memo.MemoDamaged", "The file is not what was written.",
                      st->Error, &st->Damaged) < 0 ||
        add_exception(module, "achar.memo.DamagedRow", "A row is not what was written.",
                      st->Damaged, &st->DamagedRow) < 0 ||
        add_exception(module, "achar.memo.MemoFull", "There is no room left to store a result.",
                      st->Error, &st->Full) < 0 ||
        add_exception(module, "achar.memo.Moved", "Another file stands in its place.", st->Error,
                      &st->Moved) < 0 ||
        add_exception(module, "achar.memo.NotAMemo", "The file is something else.", st->Error,
                      &st->Foreign) < 0)
        return -1;
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    memo_state *st = PyModule_GetState(module);
    Py_VISIT(st->Error);
    Py_VISIT(st->Damaged);
    Py_VISIT(st->DamagedRow);
    Py_VISIT(st->Full);
    Py_VISIT(st->Foreign);
    Py_VISIT(st->Moved);
    return 0;
}

static int module_clear(PyObject *module)
{
    memo_state *st = PyModule_GetState(module);
    Py_CLEAR(st->Error);
    Py_CLEAR(st->Damaged);
    Py_CLEAR(st->DamagedRow);
    Py_CLEAR(st->Full);
    Py_CLEAR(st->Foreign);
    Py_CLEAR(st->Moved);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "achar._memo",
    .m_doc = "What achar.memo does in C.",
    .m_size = sizeof(memo_state),
    .m_methods = memo_functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__memo(void);
PyMODINIT_FUNC PyInit__memo(void)
{
    return PyModuleDef_Init(&module_def);
}
