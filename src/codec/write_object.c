/*
 * write_object.c - imports, calls and what else only Python could make: in which opcodes, by
 * protocol, and their parts as steps.
 */
#include "codec/python2_names.h"
#include "codec/writing.h"

/* ---- imports ---- */

static name_text span_name(cell c)
{
    name_text text;
    text.data = (const char *)cell_span(c, &text.nbytes);
    return text;
}

/* The text of an import's operands, renamed for the Python that the protocol is for; false if they
 * are no text. */
static bool import_names(const writer *w, const object *o, name_text *module, name_text *name)
{
    cell m = o->operands[GLOBAL_MODULE];
    cell n = o->operands[GLOBAL_NAME];
    if (cell_kind(m) != ACHAR_STR || cell_kind(n) != ACHAR_STR)
        return false;
    *module = span_name(m);
    *name = span_name(n);
    bool shall_be_python2 = w->o.protocol < 3;
    if (w->keep_names || (o->python2 != 0) == shall_be_python2)
        return true;
    if (shall_be_python2)
        achar__names_to_python2(module, name);
    else
        achar__names_to_python3(module, name);
    return true;
}

static bool fits_line(name_text text)
{
    return text.nbytes == 0 || memchr(text.data, '\n', text.nbytes) == NULL;
}

static void import_lines(output *o, uint8_t opcode, name_text module, name_text name)
{
    emit_opcode(&o->out, opcode);
    achar__buffer_append(&o->out, module.data, module.nbytes);
    achar__buffer_byte(&o->out, '\n');
    achar__buffer_append(&o->out, name.data, name.nbytes);
    achar__buffer_byte(&o->out, '\n');
}

/* Below protocol 4 a dotted name is getattr(getattr(the first part, 'second'), …). */
static void import_dotted(output *o, name_text module, name_text name)
{
    size_t dots = 0;
    for (size_t i = 0; i < name.nbytes; i++)
        dots += name.data[i] == '.';
    for (size_t i = 0; i < dots; i++) {
        achar__output_import(o, "builtins", "getattr");
        achar__output_tuple_begin(o, 2);
    }
    size_t start = 0;
    for (size_t i = 0; i <= name.nbytes; i++) {
        if (i != name.nbytes && name.data[i] != '.')
            continue;
        name_text part = {name.data + start, i - start};
        if (start == 0) {
            import_lines(o, OP_GLOBAL, module, part);
        } else {
            achar__output_text(o, part.data, part.nbytes);
            achar__output_tuple_end(o, 2);
            emit_opcode(&o->out, OP_REDUCE);
        }
        start = i + 1;
    }
}

/* An import without the stack: GLOBAL, or what amounts to it. */
static int import_by_lines(writer *w, const object *o)
{
    name_text module, name;
    if (!import_names(w, o, &module, &name))
        return writer_unsupported(w, "an import whose name Python computes");
    if (!fits_line(module) || !fits_line(name))
        return writer_unsupported(w, "an import with a line break in its name");
    /* Dots mean a path only where protocol 4 said so. */
    bool dotted = name.nbytes != 0 && memchr(name.data, '.', name.nbytes) != NULL;
    if (dotted && w->o.protocol < 4 && o->opcode == OP_STACK_GLOBAL)
        import_dotted(&w->o, module, name);
    else
        import_lines(&w->o, OP_GLOBAL, module, name);
    return ACHAR_OK;
}

/* How an object is written. Its parts are some operands, then perhaps the arguments one by one. */
typedef enum object_form {
    FORM_STACK_GLOBAL, /* module, name */
    FORM_GLOBAL,       /* no parts */
    FORM_CALL,         /* callable, arguments, perhaps keywords: the opcode it was made by */
    FORM_INST,         /* MARK, each argument */
    FORM_OBJ,          /* MARK, callable, each argument */
    FORM_NEWOBJ,       /* copyreg.__newobj__(callable, each argument) */
    FORM_NEWOBJ_EX,    /* copyreg.__newobj_ex__(callable, arguments, keywords) */
    FORM_EXTENSION,    /* no parts */
    FORM_PERSID,       /* no parts */
    FORM_BINPERSID,    /* id */
    FORM_BUFFER,       /* no parts */
    FORM_READONLY,     /* the buffer */
} object_form;

/* INST names its class in its argument; that can stand for the import if nothing came between. */
bool achar__write_is_inst(const writer *w, const object *o)
{
    cell callable = o->operands[CALL_CALLABLE];
    name_text module, name;
    if (o->opcode != OP_INST || cell_kind(callable) != ACHAR_GLOBAL)
        return false;
    const object *import = cell_object(callable);
    return !import->shared && import->entry + 1 == o->entry && import->entry >= w->next &&
           graph_next_change(w->graph, import->entry) == NO_ENTRY &&
           import_names(w, import, &module, &name) && fits_line(module) && fits_line(name);
}

/* Whether the names of an import are what is in the graph, text or not, so that they can be
 * written as values. */
static bool names_are_kept(const writer *w, const object *o)
{
    name_text module, name;
    return !import_names(w, o, &module, &name) ||
           (module.data == span_name(o->operands[GLOBAL_MODULE]).data &&
            name.data == span_name(o->operands[GLOBAL_NAME]).data);
}

static int choose_call_form(writer *w, const object *o, object_form *form)
{
    int protocol = w->o.protocol;
    bool spread = cell_kind(o->operands[CALL_ARGUMENTS]) == ACHAR_TUPLE;
    *form = FORM_CALL;
    switch (o->opcode) {
    case OP_NEWOBJ:
        if (protocol < 2)
            *form = FORM_NEWOBJ;
        return protocol >= 2 || spread
                   ? ACHAR_OK
                   : writer_unsupported(w, "__new__ with arguments Python computes");
    case OP_NEWOBJ_EX:
        if (protocol < 4)
            *form = FORM_NEWOBJ_EX;
        return ACHAR_OK;
    case OP_INST:
    case OP_OBJ:
        *form = achar__write_is_inst(w, o) ? FORM_INST : FORM_OBJ;
        return protocol >= 1 || *form == FORM_INST
                   ? ACHAR_OK
                   : writer_unsupported(w, "an instance whose class is no plain import");
    default:
        return ACHAR_OK;
    }
}

static int choose_form(writer *w, cell value, object_form *form)
{
    const object *o = cell_object(value);
    int protocol = w->o.protocol;
    switch (cell_kind(value)) {
    case ACHAR_GLOBAL:
        *form = protocol >= 4 && names_are_kept(w, o) ? FORM_STACK_GLOBAL : FORM_GLOBAL;
        return ACHAR_OK;
    case ACHAR_CALL:
        return choose_call_form(w, o, form);
    case ACHAR_EXTENSION:
        *form = FORM_EXTENSION;
        return protocol >= 2 ? ACHAR_OK : writer_unsupported(w, "an extension code");
    case ACHAR_BUFFER:
        *form = o->opcode == OP_READONLY_BUFFER ? FORM_READONLY : FORM_BUFFER;
        return protocol >= 5 ? ACHAR_OK : writer_unsupported(w, "an out-of-band buffer");
    default: { /* ACHAR_PERSISTENT */
        cell id = o->operands[PERSISTENT_ID];
        bool line = cell_kind(id) == ACHAR_STR && fits_line(span_name(id));
        *form = protocol >= 1 ? FORM_BINPERSID : FORM_PERSID;
        return protocol >= 1 || line
                   ? ACHAR_OK
                   : writer_unsupported(w, "a persistent id that is no line of text");
    }
    }
}

enum { OBJECT_OPERANDS, OBJECT_SPREAD, OBJECT_FINISH };

int achar__write_object(writer *w, cell value, uint64_t limit, bool remember)
{
    object *o = cell_object(value);
    object_form form;
    int status = choose_form(w, value, &form);
    if (status != ACHAR_OK)
        return status;
    buffer *out = &w->o.out;
    size_t operands_count = 0;
    switch (form) {
    case FORM_GLOBAL:
    case FORM_EXTENSION:
    case FORM_PERSID:
    case FORM_BUFFER:
        break;
    case FORM_INST:
        emit_opcode(out, OP_MARK);
        break;
    case FORM_OBJ:
        emit_opcode(out, OP_MARK);
        operands_count = 1;
        break;
    case FORM_NEWOBJ:
        achar__output_import(&w->o, "copyreg", "__newobj__");
        emit_opcode(out, OP_MARK);
        operands_count = 1;
        break;
    case FORM_NEWOBJ_EX:
        achar__output_import(&w->o, "copyreg", "__newobj_ex__");
        achar__output_tuple_begin(&w->o, 3);
        operands_count = 3;
        break;
    case FORM_STACK_GLOBAL:
    case FORM_CALL:
    case FORM_BINPERSID:
    case FORM_READONLY:
        operands_count = o->operands_count;
        break;
    }

    uint64_t change = w->graph->log_count == 0 ? NO_ENTRY : graph_first_change(w->graph, value);
    remember |= achar__write_has_later_change(w, change, limit);
    if (change != NO_ENTRY || remember) {
        status = achar__writer_push(w, (step){.kind = STEP_CHANGES,
                                              .value = value,
                                              .limit = limit,
                                              .change = change,
                                              .remember = remember});
        if (status != ACHAR_OK)
            return status;
    }
    /* The operands are a scope of their own; the changes are not. */
    return achar__writer_push(w, (step){.kind = STEP_OBJECT,
                                        .value = value,
                                        .form = (uint8_t)form,
                                        .items = o->operands,
                                        .count = operands_count,
                                        .entry = object_entry(o),
                                        .limit = object_entry(o) == NO_ENTRY ? limit : o->entry,
                                        .opens_scope = true});
}

static void extension(writer *w, uint64_t code)
{
    if (code < 0x100)
        emit_number(&w->o.out, OP_EXT1, code, 1);
    else if (code < 0x10000)
        emit_number(&w->o.out, OP_EXT2, code, 2);
    else
        emit_number(&w->o.out, OP_EXT4, code, 4);
}

/* The opcodes that come after the parts. */
static int finish_object(writer *w, const step *s)
{
    const object *o = cell_object(s->value);
    buffer *out = &w->o.out;
    switch ((object_form)s->form) {
    case FORM_STACK_GLOBAL:
        emit_opcode(out, OP_STACK_GLOBAL);
        return ACHAR_OK;
    case FORM_GLOBAL:
        return import_by_lines(w, o);
    case FORM_CALL:
        emit_opcode(out, o->opcode);
        return ACHAR_OK;
    case FORM_INST: {
        name_text module = {0}, name = {0};
        import_names(w, cell_object(o->operands[CALL_CALLABLE]), &module, &name);
        import_lines(&w->o, OP_INST, module, name);
        return ACHAR_OK;
    }
    case FORM_OBJ:
        emit_opcode(out, OP_OBJ);
        return ACHAR_OK;
    case FORM_NEWOBJ:
        emit_opcode(out, OP_TUPLE);
        emit_opcode(out, OP_REDUCE);
        return ACHAR_OK;
    case FORM_NEWOBJ_EX:
        achar__output_tuple_end(&w->o, 3);
        emit_opcode(out, OP_REDUCE);
        return ACHAR_OK;
    case FORM_EXTENSION:
        extension(w, o->operands[RAW_CODE].bits);
        return ACHAR_OK;
    case FORM_PERSID: {
        cell id = o->operands[PERSISTENT_ID];
        emit_opcode(out, OP_PERSID);
        achar__buffer_append(out, span_name(id).data, span_name(id).nbytes);
        achar__buffer_byte(out, '\n');
        return ACHAR_OK;
    }
    case FORM_BINPERSID:
        emit_opcode(out, OP_BINPERSID);
        return ACHAR_OK;
    case FORM_BUFFER:
        emit_opcode(out, OP_NEXT_BUFFER);
        return ACHAR_OK;
    case FORM_READONLY:
        emit_opcode(out, OP_READONLY_BUFFER);
        return ACHAR_OK;
    }
    return ACHAR_E_INVALID;
}

int achar__write_run_object(writer *w)
{
    int status = ACHAR_OK;
    step *s = writer_top(w);
    for (;;) {
        while (s->index < s->count) {
            size_t steps_count = w->steps_count;
            status = achar__write_begin(w, s->items[s->index++], s->limit, false);
            if (status != ACHAR_OK || w->steps_count != steps_count)
                return status;
        }
        bool spreads = s->form == FORM_INST || s->form == FORM_OBJ || s->form == FORM_NEWOBJ;
        if (s->stage != OBJECT_OPERANDS || !spreads)
            break;
        s->stage = OBJECT_SPREAD;
        s->items = cell_items(cell_object(s->value)->operands[CALL_ARGUMENTS], &s->count);
        s->index = 0;
    }
    /* INST is an import and a call in one: entry - 1 and entry. */
    if (achar__write_catch_up(w, s->form == FORM_INST ? s->entry - 1 : s->entry, &status))
        return status;
    status = finish_object(w, s);
    writer_done(w, s->entry);
    writer_pop(w);
    return status;
}
