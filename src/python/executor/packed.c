/*
 * packed.c - a pickle of protocol 5 whose buffers stand out of band, behind it in the same block.
 *
 *    [pickle] [buffer] … [u64 offset][u64 nbytes] × count  [u64 pickle_nbytes][u64 count]
 *
 * The table is last because the pickle is first: it is written before anybody knows of buffers. Those that
 * a reader may write begin on a page of their own, so that they can be windows (runtime/shm/window.h).
 * A result's buffer can be elsewhere: in its task's arguments, which stay for it (KEPT in its offset).
 * Who reads it gets views of the memory (view.c). What a worker has written is not believed: offsets are
 * checked, and each is read once.
 */
#include "python/executor/packed.h"
#include "python/compat.h"
#include "python/executor/room.h"
#include "python/executor/view.h"
#include "python/loader/loader.h"
#include <string.h>

enum { PAGE_NBYTES = 4096, LINE_NBYTES = 64, ENTRY_NBYTES = 16, FOOTER_NBYTES = 16 };

#define KEPT (UINT64_C(1) << 63) /* in an entry's offset: it is one into the task's arguments */

/* ---- writing ---- */

int packed_take(void *context, PyObject *buffer, const Py_buffer *view)
{
    packed_buffers *taken = context;
    if ((size_t)view->len < taken->least_nbytes)
        return 0;
    if (taken->count == taken->capacity) {
        size_t capacity = taken->capacity ? taken->capacity * 2 : 4;
        PyObject **items = PyMem_Realloc(taken->items, capacity * sizeof *items);
        if (!items) {
            PyErr_NoMemory();
            return -1;
        }
        taken->items = items;
        taken->capacity = capacity;
    }
    taken->items[taken->count++] = Py_NewRef(buffer);
    return 1;
}

void packed_clear(packed_buffers *taken)
{
    for (size_t i = 0; i < taken->count; i++)
        Py_DECREF(taken->items[i]);
    PyMem_Free(taken->items);
    taken->items = NULL;
    taken->count = taken->capacity = 0;
}

static size_t aligned(size_t nbytes, size_t alignment)
{
    return (nbytes + alignment - 1) & ~(alignment - 1);
}

/* A buffer on its way: 'offset' says where it stands already (with KEPT), 0 that it is to be copied. */
typedef struct outgoing {
    const void *data;
    size_t nbytes;
    uint64_t offset;
} outgoing;

/* Where the table begins when 'buffers' stand behind 'used' bytes. */
static size_t table_at(const outgoing *buffers, size_t count, size_t used, size_t alignment)
{
    for (size_t i = 0; i < count; i++)
        if (!buffers[i].offset)
            used = aligned(used, alignment) + buffers[i].nbytes;
    return aligned(used, alignment);
}

static size_t needed_for(const outgoing *buffers, size_t count, size_t used, size_t alignment)
{
    return table_at(buffers, count, used, alignment) + count * ENTRY_NBYTES + FOOTER_NBYTES;
}

/* There is room behind the 'used' bytes at 'block'. Their memory may change under us, but not go away: they
 * are exported. Returns how many bytes there are then. */
static size_t append(char *block, size_t used, const outgoing *buffers, size_t count,
                     size_t alignment)
{
    uint64_t footer[2] = {used, count};
    size_t at = used, entry_at = table_at(buffers, count, at, alignment);
    for (size_t i = 0; i < count; i++, entry_at += ENTRY_NBYTES) {
        uint64_t entry[2] = {buffers[i].offset, buffers[i].nbytes};
        if (!buffers[i].offset) {
            entry[0] = at = aligned(at, alignment);
            memcpy(block + at, buffers[i].data, buffers[i].nbytes);
            at += buffers[i].nbytes;
        }
        memcpy(block + entry_at, entry, sizeof entry);
    }
    memcpy(block + entry_at, footer, sizeof footer);
    return entry_at + sizeof footer;
}

/* Finds those that stand in the arguments of the worker's task; true where that is worth keeping them.
 * 'copy_nbytes': what the result takes with all of them copied. */
static int find_kept(achar__worker *worker, outgoing *buffers, size_t count, size_t copy_nbytes)
{
    size_t offset, kept_nbytes = 0, args_nbytes = achar__worker_args_nbytes(worker);
    for (size_t i = 0; i < count; i++)
        if (achar__worker_find_in_args(worker, buffers[i].data, buffers[i].nbytes, &offset)) {
            buffers[i].offset = KEPT | offset;
            kept_nbytes += buffers[i].nbytes;
        }
    if (kept_nbytes && kept_nbytes + PACKED_LEAST_NBYTES >= args_nbytes / 2 &&
        achar__worker_should_keep_args(worker, copy_nbytes))
        return 1;
    for (size_t i = 0; i < count; i++)
        buffers[i].offset = 0;
    return 0;
}

/* 'worker' NULL: everything is copied. */
static int finish(packed_buffers *taken, wire_sink *ws, int kind, achar__worker *worker)
{
    size_t alignment = kind == PACKED_OWN ? PAGE_NBYTES : LINE_NBYTES;
    size_t exported = 0, needed;
    saver_sink *sink = &ws->sink;
    int result = -1;
    if (!taken->count && kind == PACKED_OWN)
        return PACKED_NOT;
    Py_buffer *views = PyMem_Calloc(taken->count + 1, sizeof *views);
    outgoing *buffers = PyMem_Calloc(taken->count + 1, sizeof *buffers);
    if (!views || !buffers) {
        PyErr_NoMemory();
        goto done;
    }
    for (; exported < taken->count; exported++) {
        Py_buffer *view = &views[exported];
        if (PyObject_GetBuffer(taken->items[exported], view, PyBUF_ANY_CONTIGUOUS) < 0)
            goto done;
        buffers[exported] = (outgoing){view->buf, (size_t)view->len, 0};
    }
    needed = needed_for(buffers, taken->count, sink->used, alignment);
    if (worker && find_kept(worker, buffers, taken->count, needed)) {
        achar__worker_keep_args(worker);
        kind = PACKED_KEEPING;
        needed = needed_for(buffers, taken->count, sink->used, alignment);
    }
    if (needed > sink->capacity && sink->grow(sink, needed) < 0)
        goto done;
    Py_BEGIN_ALLOW_THREADS sink->used =
        append(sink->data, sink->used, buffers, taken->count, alignment);
    Py_END_ALLOW_THREADS result = kind;
done:
    while (exported > 0)
        PyBuffer_Release(&views[--exported]);
    PyMem_Free(views);
    PyMem_Free(buffers);
    return result;
}

int packed_finish(packed_buffers *taken, wire_sink *ws, int kind)
{
    return finish(taken, ws, kind, NULL);
}

int packed_finish_result(packed_buffers *taken, wire_sink *ws, achar__worker *worker)
{
    return finish(taken, ws, PACKED_OWN, worker);
}

/* ---- reading ---- */

static PyObject *raise_no_sense(void)
{
    PyErr_SetString(PyExc_ValueError,
                    "the memory that the object was sent in has been overwritten");
    return NULL;
}

/* What stands in front of the footer: 'count' entries from 'table' on. */
typedef struct contents {
    const char *bytes;
    size_t pickle_nbytes, table, count;
} contents;

/* False: these bytes make no sense. */
static int find_contents(const void *bytes, size_t nbytes, contents *out)
{
    uint64_t footer[2];
    if (nbytes < FOOTER_NBYTES)
        return 0;
    memcpy(footer, (const char *)bytes + nbytes - FOOTER_NBYTES, sizeof footer);
    size_t room = nbytes - FOOTER_NBYTES;
    if (footer[1] > room / ENTRY_NBYTES || footer[0] > room - footer[1] * ENTRY_NBYTES)
        return 0;
    *out = (contents){bytes, (size_t)footer[0], room - (size_t)footer[1] * ENTRY_NBYTES,
                      (size_t)footer[1]};
    return 1;
}

/* The i-th buffer: where in '*block' it is. False: it makes no sense. */
static int find_buffer(const contents *in, size_t i, const void *kept, size_t kept_nbytes,
                       const char **block, size_t *offset, size_t *nbytes)
{
    uint64_t entry[2];
    memcpy(entry, in->bytes + in->table + i * ENTRY_NBYTES, sizeof entry);
    int is_kept = kept && (entry[0] & KEPT);
    uint64_t end = is_kept ? kept_nbytes : in->table;
    entry[0] &= is_kept ? ~KEPT : UINT64_MAX;
    *block = is_kept ? kept : in->bytes;
    *offset = (size_t)entry[0];
    *nbytes = (size_t)entry[1];
    return entry[0] <= end && entry[1] <= end - entry[0];
}

/* A list of the buffers, the i-th entry of the table being its i-th item. */
static PyObject *views_of(module_state *st, const packed_place *place, const contents *in,
                          int writable)
{
    PyObject *views = PyList_New((Py_ssize_t)in->count);
    for (size_t i = 0; views && i < in->count; i++) {
        const char *block;
        size_t offset, nbytes;
        PyObject *view =
            find_buffer(in, i, place->kept, place->kept_nbytes, &block, &offset, &nbytes)
                ? view_new(st, place, block, offset, nbytes, writable)
                : raise_no_sense();
        if (view)
            PyList_SET_ITEM(views, (Py_ssize_t)i, view);
        else
            Py_CLEAR(views);
    }
    return views;
}

PyObject *packed_read(module_state *st, const packed_place *place, uint32_t kind, const void *bytes,
                      size_t nbytes)
{
    loader_options options = {.superset = 1};
    contents in;
    if (kind == PACKED_NOT)
        return loader_loads(st, bytes, nbytes, &options);
    if (!find_contents(bytes, nbytes, &in))
        return raise_no_sense();
    PyObject *object = NULL;
    int writable = kind == PACKED_OWN || kind == PACKED_KEEPING || place->owner_is_private;
    PyObject *views = views_of(st, place, &in, writable);
    if (views) {
        options.buffers = views;
        object = loader_loads(st, bytes, in.pickle_nbytes, &options);
        Py_DECREF(views);
    }
    return object;
}

/* What PACKED_KEEPING is with all of its buffers in it: PACKED_OWN. */
static PyObject *whole_bytes(const achar__task_result *r)
{
    contents in;
    PyObject *bytes = NULL;
    if (!find_contents(r->bytes, r->nbytes, &in))
        return raise_no_sense();
    outgoing *buffers = PyMem_Calloc(in.count + 1, sizeof *buffers);
    if (!buffers)
        return PyErr_NoMemory();
    for (size_t i = 0; i < in.count; i++) {
        const char *block;
        size_t offset, nbytes;
        if (!find_buffer(&in, i, r->kept, r->kept_nbytes, &block, &offset, &nbytes)) {
            raise_no_sense();
            goto done;
        }
        buffers[i] = (outgoing){block + offset, nbytes, 0};
    }
    size_t needed = needed_for(buffers, in.count, in.pickle_nbytes, PAGE_NBYTES);
    bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)needed);
    if (bytes) {
        char *data = PyBytes_AS_STRING(bytes);
        memset(data, 0, needed);
        memcpy(data, in.bytes, in.pickle_nbytes);
        append(data, in.pickle_nbytes, buffers, in.count, PAGE_NBYTES);
    }
done:
    PyMem_Free(buffers);
    return bytes;
}

PyObject *packed_bytes(const achar__task_result *r)
{
    if (r->kind != PACKED_KEEPING)
        return Py_BuildValue("(Iy#)", r->kind, r->bytes, (Py_ssize_t)r->nbytes);
    return Py_BuildValue("(IN)", PACKED_OWN, whole_bytes(r));
}

PyDoc_STRVAR(loads_packed_doc,
             "loads_packed(kind, data)\n--\n\n"
             "The object in the bytes that a future's _bytes() or pack() are. Where "
             "'data' may be written, so may the object's buffers, which are in it.");
static PyObject *loads_packed(PyObject *module, PyObject *args)
{
    unsigned kind;
    PyObject *data;
    if (!PyArg_ParseTuple(args, "IO:loads_packed", &kind, &data))
        return NULL;
    PyObject *owner = PyMemoryView_FromObject(data);
    if (!owner)
        return NULL;
    const Py_buffer *view = PyMemoryView_GET_BUFFER(owner);
    const packed_place place = {.owner = owner, .owner_is_private = !view->readonly};
    PyObject *object = NULL;
    if (PyBuffer_IsContiguous(view, 'C'))
        object = packed_read(state_of_module(module), &place, kind, view->buf, (size_t)view->len);
    else
        PyErr_SetString(PyExc_TypeError, "the data must be contiguous");
    Py_DECREF(owner);
    return object;
}

/* ---- put ---- */

static achar__task *store(pool_object *p, wire_sink *ws)
{
    achar__task *task = NULL;
    int status = achar__pool_put(p->pool, &ws->block, ws->sink.used, PACKED_REFERENCE, &task);
    if (status == ACHAR_E_CLOSED) {
        p->closed = 1;
        executor_refuse_if_closed(p);
    } else if (status != ACHAR_OK) {
        wire_raise_status(status, ws->doing);
    }
    return task;
}

/* Writes what put() stores of the object, packed. 0, or -1 with an exception set. */
static int pack_into(module_state *st, PyObject *object, wire_sink *ws)
{
    packed_buffers taken = {0};
    const saver_options options = {.protocol = -1,
                                   .superset = 1,
                                   .root_name = "obj",
                                   .take_buffer = packed_take,
                                   .take_context = &taken};
    int status = saver_dump_into(st, object, &options, &ws->sink, NULL) < 0 ||
                         packed_finish(&taken, ws, PACKED_REFERENCE) < 0
                     ? -1
                     : 0;
    packed_clear(&taken);
    return status;
}

/* NULL with an exception set; '*lack' says what of. */
static achar__task *try_put(module_state *st, pool_object *p, PyObject *object, room_lack *lack)
{
    achar__task *task = NULL;
    wire_sink ws;
    wire_sink_init(&ws, &p->memory);
    ws.doing = "store an object of this size";
    if (pack_into(st, object, &ws) == 0 && wire_sink_finish(&ws) >= 0)
        task = store(p, &ws);
    *lack = (room_lack){ws.status, ws.needed_nbytes};
    wire_sink_clear(&ws);
    return task;
}

achar__task *packed_put(module_state *st, pool_object *p, PyObject *object)
{
    achar__task *task;
    room_lack lack;
    uint32_t seen;
    do {
        seen = achar__pool_room(p->pool);
        task = try_put(st, p, object, &lack);
    } while (!task && room_wait(p, lack, seen) > 0);
    return task;
}

static int reserve_private(void *owner, size_t nbytes, achar__block *out)
{
    *out = (achar__block){PyMem_RawMalloc(nbytes), nbytes};
    return out->data ? ACHAR_OK : ACHAR_E_NOMEM;
}

static int grow_private(void *owner, achar__block *block, size_t used, size_t nbytes)
{
    void *data = PyMem_RawRealloc(block->data, nbytes);
    if (!data)
        return ACHAR_E_NOMEM;
    *block = (achar__block){data, nbytes};
    return ACHAR_OK;
}

static void free_private(void *owner, achar__block *block)
{
    PyMem_RawFree(block->data);
}

PyDoc_STRVAR(pack_doc, "pack(obj)\n--\n\n"
                       "As bytes, what Executor.put() would store: for what a task puts.");
static PyObject *pack(PyObject *module, PyObject *object)
{
    static const wire_memory private_memory = {NULL, reserve_private, grow_private, free_private};
    PyObject *bytes = NULL;
    wire_sink ws;
    wire_sink_init(&ws, &private_memory);
    if (pack_into(state_of_module(module), object, &ws) == 0)
        bytes = PyBytes_FromStringAndSize(ws.sink.data, (Py_ssize_t)ws.sink.used);
    wire_sink_clear(&ws);
    return bytes;
}

achar__task *packed_put_bytes(pool_object *p, PyObject *bytes)
{
    achar__task *task = NULL;
    wire_sink ws;
    wire_sink_init(&ws, &p->memory);
    ws.doing = "store an object of this size";
    if (wire_sink_append(&ws, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)) == 0 &&
        wire_sink_finish(&ws) == 0)
        task = store(p, &ws);
    wire_sink_clear(&ws);
    return task;
}

static PyMethodDef pack_def = {"pack", pack, METH_O, pack_doc};
static PyMethodDef loads_packed_def = {"loads_packed", loads_packed, METH_VARARGS,
                                       loads_packed_doc};

int packed_exec(PyObject *module, module_state *st)
{
    if (state_add_function(module, module, &pack_def, "achar._achar") < 0)
        return -1;
    return state_add_function(module, module, &loads_packed_def, "achar._achar");
}
