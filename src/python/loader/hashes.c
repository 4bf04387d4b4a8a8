/* hashes.c - the table of hashes.h, one for each module object. */
#include "python/loader/hashes.h"

static void free_hashes(PyObject *owner)
{
    PyMem_Free(PyCapsule_GetPointer(owner, "achar.loader_hashes"));
}

int loader_hashes_exec(module_state *st)
{
    loader_hash *hashes = PyMem_Calloc(LOADER_HASHES, sizeof *hashes);
    if (!hashes) {
        PyErr_NoMemory();
        return -1;
    }
    st->loader_hashes_owner = PyCapsule_New(hashes, "achar.loader_hashes", free_hashes);
    if (!st->loader_hashes_owner) {
        PyMem_Free(hashes);
        return -1;
    }
    st->loader_hashes = hashes;
    return 0;
}
