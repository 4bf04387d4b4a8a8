/*
 * spaces.c - the spaces that an interpreter has mapped.
 *
 * It makes its objects in one space of its own. A pickled object names its space by id, and the
 * process and descriptor through which it can be had: /proc/PID/fd/N, which the kernel opens for
 * processes of the same user. Whoever has mapped a space can be the next one's way to it, so a
 * space outlives the process that made it.
 */
#include "python/sync/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define CAPSULE "achar.sync_spaces"

typedef struct spaces {
    sync_space *first; /* all of them, each with one reference */
    sync_space *own;   /* where new objects are made; borrowed from the list */
} spaces;

/* Of the process, so not in the state: handlers of fork() cannot be taken back. */
static _Atomic unsigned fork_count;

static void count_fork(void)
{
    atomic_fetch_add(&fork_count, 1);
}

static void count_forks(void)
{
    pthread_atfork(count_fork, NULL, NULL);
}

unsigned sync_fork_count(void)
{
    return atomic_load(&fork_count);
}

sync_space *sync_space_hold(sync_space *place)
{
    place->ref_count++;
    return place;
}

void sync_space_drop(sync_space *place)
{
    if (place && --place->ref_count == 0) {
        achar_space_close(place->space);
        PyMem_Free(place);
    }
}

static void spaces_free(PyObject *capsule)
{
    spaces *all = PyCapsule_GetPointer(capsule, CAPSULE);
    while (all->first) {
        sync_space *place = all->first;
        all->first = place->next;
        place->next = NULL;
        sync_space_drop(place);
    }
    PyMem_Free(all);
}

int sync_spaces_exec(module_state *st)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    spaces *all = PyMem_Calloc(1, sizeof *all);
    if (!all) {
        PyErr_NoMemory();
        return -1;
    }
    pthread_once(&once, count_forks);
    st->sync_spaces = PyCapsule_New(all, CAPSULE, spaces_free);
    if (!st->sync_spaces) {
        PyMem_Free(all);
        return -1;
    }
    return 0;
}

/* Takes 'space' over. NULL with an exception, and it is closed. */
static sync_space *enlist(spaces *all, achar_space *space)
{
    sync_space *place = PyMem_Calloc(1, sizeof *place);
    if (!place) {
        achar_space_close(space);
        PyErr_NoMemory();
        return NULL;
    }
    place->space = space;
    place->ref_count = 1;
    place->next = all->first;
    all->first = place;
    return place;
}

sync_space *sync_space_default(module_state *st)
{
    spaces *all = PyCapsule_GetPointer(st->sync_spaces, CAPSULE);
    achar_space *space = NULL;
    if (!all || all->own)
        return all ? all->own : NULL;
    int status = achar_space_create(1, &space);
    if (status != ACHAR_OK) {
        sync_raise(status);
        return NULL;
    }
    all->own = enlist(all, space);
    return all->own;
}

PyObject *sync_space_token(const sync_space *place)
{
    uint64_t id[2];
    achar_space_id(place->space, id);
    return Py_BuildValue("(y#ii)", (const char *)id, (Py_ssize_t)sizeof id, (int)getpid(),
                         achar_space_fd(place->space));
}

/* Maps the space that process 'pid' has behind its descriptor 'fd'. */
static sync_space *open_at(spaces *all, const uint64_t id[2], int pid, int fd)
{
    char path[48];
    achar_space *space = NULL;
    uint64_t found[2] = {0, 0};
    int status = ACHAR_E_INVALID;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    int opened = open(path, O_RDWR | O_CLOEXEC);
    if (opened < 0) {
        PyErr_Format(PyExc_RuntimeError,
                     "cannot reach the memory of this object\n  why: process %d, which sent it, "
                     "has ended, or this process may not look into it (%s)\n  do:  let the sender "
                     "live until the object has arrived",
                     pid, strerror(errno));
        return NULL;
    }
    status = achar_space_open(opened, &space);
    close(opened);
    if (status == ACHAR_OK)
        achar_space_id(space, found);
    if (status == ACHAR_E_NOMEM || status == ACHAR_E_LIMIT) {
        sync_raise(status);
        return NULL;
    }
    if (status != ACHAR_OK || memcmp(found, id, sizeof found) != 0) {
        achar_space_close(space);
        PyErr_Format(PyExc_RuntimeError,
                     "cannot reach the memory of this object\n  why: process %d, which sent it, "
                     "has closed it\n  do:  let the sender live until the object has arrived",
                     pid);
        return NULL;
    }
    return enlist(all, space);
}

sync_space *sync_space_from_token(module_state *st, PyObject *token)
{
    spaces *all = PyCapsule_GetPointer(st->sync_spaces, CAPSULE);
    const char *bytes;
    Py_ssize_t nbytes;
    int pid, fd;
    uint64_t id[2], one[2];
    if (!all || !PyArg_ParseTuple(token, "y#ii", &bytes, &nbytes, &pid, &fd))
        return NULL;
    if (nbytes != sizeof id) {
        PyErr_SetString(PyExc_ValueError, "not the id of a space");
        return NULL;
    }
    memcpy(id, bytes, sizeof id);
    for (sync_space *place = all->first; place; place = place->next) {
        achar_space_id(place->space, one);
        if (memcmp(one, id, sizeof id) == 0)
            return place;
    }
    return open_at(all, id, pid, fd);
}
