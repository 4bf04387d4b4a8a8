/*
 * python.c - fuzz targets that need an interpreter: CPython in this process, and in it achar's
 * extension from this build, with sanitizers and coverage. TARGET names a module of fuzz/ whose
 * check(data) raises AssertionError where achar does not do what Python does. That module also runs
 * in any interpreter: tests/fuzz replays the corpus there.
 *
 * The module _fuzz gives it what the extension does not: disassemble(data).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "exercise.h"
#include "fuzz.h"

/* (what achar_disassemble() prints, whether it then refuses) */
static PyObject *disassemble(PyObject *module, PyObject *argument)
{
    char *data;
    Py_ssize_t nbytes;
    kept text;
    if (PyBytes_AsStringAndSize(argument, &data, &nbytes) < 0)
        return NULL;
    kept_init(&text);
    achar_disassembler *dis = achar_disassembler_new(NULL);
    int status = achar_disassemble(dis, data, (size_t)nbytes, 0, &text.sink, NULL, NULL);
    achar_disassembler_free(dis);
    PyObject *result =
        Py_BuildValue("(s#O)", text.text == NULL ? "" : text.text, (Py_ssize_t)text.nbytes,
                      status == ACHAR_OK ? Py_False : Py_True);
    kept_free(&text);
    return result;
}

static PyMethodDef methods[] = {{"disassemble", disassemble, METH_O, NULL}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_fuzz", .m_size = 0,
                                        .m_methods = methods};

static PyObject *module_init(void)
{
    return PyModuleDef_Init(&definition);
}

static PyObject *check;

/* Prints the exception and ends the process, as a broken promise does. */
static void give_up(void)
{
    PyErr_Print();
    fflush(NULL);
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.use_hash_seed = 1; /* the order of sets is to be that of the last run */
    config.hash_seed = 0;
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    config.write_bytecode = 0;
    PyImport_AppendInittab("_fuzz", module_init);
    PyStatus status = PyConfig_SetBytesString(&config, &config.executable, PYTHON);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    if (PyRun_SimpleString("import sys\n"
                           "sys.path.insert(0, '" ROOT "')\n"
                           "import fuzz.here\n"
                           "fuzz.here.use_build('" BUILD "')\n") != 0)
        give_up();
    PyObject *module = PyImport_ImportModule("fuzz." TARGET);
    check = module == NULL ? NULL : PyObject_GetAttrString(module, "check");
    Py_XDECREF(module);
    if (check == NULL)
        give_up();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
    PyObject *result = PyObject_CallFunction(check, "y#", (const char *)data, (Py_ssize_t)nbytes);
    if (result == NULL)
        give_up();
    Py_DECREF(result);
    return 0;
}
