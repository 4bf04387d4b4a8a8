/* output.c - the writer's lower half; output.h has the picture. */
#include "codec/output.h"

#include "codec/number.h"
#include "codec/python2_names.h"
#include "codec/text.h"

/* Small pickles need no more. */
enum { OUTPUT_FIRST_NBYTES = SIZE_OR_TINY(1 << 10, 1) };

void achar__output_init(output *o, memory *mem, int protocol, const achar_sink *sink)
{
    *o = (output){.mem = mem, .sink = sink, .protocol = protocol, .frame_start = NO_FRAME};
    achar__buffer_init(&o->out, mem);
    achar__buffer_init(&o->scratch, mem);
    achar__table_init(&o->memo, mem);
}

void achar__output_free(output *o)
{
    achar__buffer_free(&o->out);
    achar__buffer_free(&o->scratch);
    achar__table_free(&o->memo);
}

/* ---- frames and the sink ---- */

static void pass_on(output *o, const void *data, size_t nbytes)
{
    if (nbytes != 0 && !o->sink_failed && !o->out.failed &&
        o->sink->write(o->sink->opaque, data, nbytes) != 0)
        o->sink_failed = ACHAR_E_IO;
}

static void flush(output *o)
{
    if (o->sink == NULL)
        return;
    pass_on(o, o->out.data, o->out.nbytes);
    o->out.nbytes = 0;
}

static void begin_frame(output *o)
{
    if (o->protocol >= 4 && achar__buffer_reserve(&o->out, FRAME_HEADER_NBYTES)) {
        o->out.nbytes += FRAME_HEADER_NBYTES;
        o->frame_start = o->out.nbytes;
    }
}

static void end_frame(output *o)
{
    if (o->frame_start == NO_FRAME)
        return;
    size_t nbytes = o->out.nbytes - o->frame_start;
    uint8_t *header = o->out.data + o->frame_start - FRAME_HEADER_NBYTES;
    if (nbytes >= FRAME_MIN_NBYTES) {
        header[0] = OP_FRAME;
        emit_little_endian(header + 1, nbytes);
    } else {
        memmove(header, header + FRAME_HEADER_NBYTES, nbytes);
        o->out.nbytes -= FRAME_HEADER_NBYTES;
    }
    o->frame_start = NO_FRAME;
}

void achar__output_cut(output *o)
{
    bool framed = o->frame_start != NO_FRAME;
    end_frame(o);
    flush(o);
    if (framed)
        begin_frame(o);
}

void achar__output_begin(output *o, size_t nbytes)
{
    bool whole = o->sink == NULL && nbytes > OUTPUT_FIRST_NBYTES;
    if (whole && !achar__buffer_reserve(&o->out, nbytes))
        o->out.failed = ACHAR_OK; /* it was a guess: less may do */
    achar__buffer_reserve(&o->out, OUTPUT_FIRST_NBYTES);
    if (o->protocol >= 2)
        emit_number(&o->out, OP_PROTO, (uint64_t)o->protocol, 1);
    begin_frame(o);
}

void achar__output_end(output *o)
{
    emit_opcode(&o->out, OP_STOP);
    end_frame(o);
    flush(o);
}

/* Counted data: an opcode, its size in 'size_nbytes' bytes, the data. */
static void counted(output *o, uint8_t opcode, unsigned size_nbytes, const void *data,
                    size_t nbytes)
{
    bool outside = nbytes >= FRAME_TARGET_NBYTES && (o->protocol >= 4 || o->sink != NULL);
    if (!outside) {
        emit_number(&o->out, opcode, nbytes, size_nbytes);
        achar__buffer_append(&o->out, data, nbytes);
        return;
    }
    end_frame(o);
    if (o->sink == NULL) /* and for what follows, so that the data is not moved right away */
        achar__buffer_reserve(&o->out,
                              nbytes < PTRDIFF_MAX / 2 ? nbytes + OUTPUT_FIRST_NBYTES : nbytes);
    emit_number(&o->out, opcode, nbytes, size_nbytes);
    if (o->sink == NULL) {
        achar__buffer_append(&o->out, data, nbytes);
    } else {
        flush(o);
        pass_on(o, data, nbytes);
    }
    begin_frame(o);
}

/* ---- the memo ---- */

void achar__output_get(output *o, uint64_t index)
{
    if (o->protocol == 0)
        emit_decimal_line(&o->out, OP_GET, index);
    else if (index < 0x100)
        emit_number(&o->out, OP_BINGET, index, 1);
    else
        emit_number(&o->out, OP_LONG_BINGET, index, 4);
}

static int remember(output *o, uint64_t key)
{
    if (o->memo_count > UINT32_MAX)
        return ACHAR_E_LIMIT;
    uint64_t *entry = achar__table_put(&o->memo, key, 0, NULL);
    if (entry == NULL)
        return achar__memory_status(o->mem);
    *entry = o->memo_count++;
    return ACHAR_OK;
}

static int memoize(output *o, uint64_t key)
{
    int status = remember(o, key);
    if (status != ACHAR_OK)
        return status;
    uint64_t index = o->memo_count - 1;
    if (o->protocol >= 4)
        emit_opcode(&o->out, OP_MEMOIZE);
    else if (o->protocol == 0)
        emit_decimal_line(&o->out, OP_PUT, index);
    else if (index < 0x100)
        emit_number(&o->out, OP_BINPUT, index, 1);
    else
        emit_number(&o->out, OP_LONG_BINPUT, index, 4);
    return ACHAR_OK;
}

int achar__output_remember(output *o, cell c)
{
    return remember(o, c.bits);
}

int achar__output_memoize(output *o, cell c)
{
    return memoize(o, c.bits);
}

/* ---- imports and tuples ---- */

void achar__output_import(output *o, const char *module, const char *name)
{
    name_text module_text = {module, strlen(module)};
    name_text name_only = {name, strlen(name)};
    if (o->protocol < 3)
        achar__names_to_python2(&module_text, &name_only);
    emit_opcode(&o->out, OP_GLOBAL);
    achar__buffer_append(&o->out, module_text.data, module_text.nbytes);
    achar__buffer_byte(&o->out, '\n');
    achar__buffer_append(&o->out, name_only.data, name_only.nbytes);
    achar__buffer_byte(&o->out, '\n');
}

static bool tuple_is_marked(const output *o, size_t count)
{
    return count == 0 ? o->protocol == 0 : o->protocol < 2 || count > 3;
}

void achar__output_tuple_begin(output *o, size_t count)
{
    if (tuple_is_marked(o, count))
        emit_opcode(&o->out, OP_MARK);
}

void achar__output_tuple_end(output *o, size_t count)
{
    static const uint8_t short_forms[] = {OP_EMPTY_TUPLE, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    emit_opcode(&o->out, tuple_is_marked(o, count) ? (uint8_t)OP_TUPLE : short_forms[count]);
}

/* ---- atoms ---- */

static void integer(output *o, int64_t number)
{
    bool fits_32 = number >= INT32_MIN && number <= INT32_MAX;
    if (o->protocol >= 1 && fits_32) {
        emit_binint(&o->out, number);
    } else if (o->protocol >= 2) {
        uint8_t bytes[8];
        emit_little_endian(bytes, (uint64_t)number);
        size_t nbytes = 8;
        while ((bytes[nbytes - 1] == 0x00 && !(bytes[nbytes - 2] & 0x80)) ||
               (bytes[nbytes - 1] == 0xff && bytes[nbytes - 2] & 0x80))
            nbytes--;
        emit_long(&o->out, bytes, nbytes);
    } else {
        achar__buffer_printf(&o->out, fits_32 ? "I%lld\n" : "L%lldL\n", (long long)number);
    }
}

static int big_integer(output *o, cell c)
{
    size_t nbytes;
    const uint8_t *at = cell_span(c, &nbytes);
    if (o->protocol >= 2) {
        if (nbytes > INT32_MAX)
            return ACHAR_E_UNSUPPORTED;
        emit_long(&o->out, at, nbytes);
        return ACHAR_OK;
    }
    emit_opcode(&o->out, OP_LONG);
    achar__decimal_append_long(&o->out, at, nbytes);
    achar__buffer_text(&o->out, "L\n");
    return ACHAR_OK;
}

int achar__output_text(output *o, const void *data, size_t nbytes)
{
    if (o->protocol == 0) {
        emit_opcode(&o->out, OP_UNICODE);
        achar__raw_unicode_encode(&o->out, data, nbytes);
        achar__buffer_byte(&o->out, '\n');
    } else if (nbytes < 0x100 && o->protocol >= 4) {
        counted(o, OP_SHORT_BINUNICODE, 1, data, nbytes);
    } else if (nbytes <= UINT32_MAX) {
        counted(o, OP_BINUNICODE, 4, data, nbytes);
    } else if (o->protocol >= 4) {
        counted(o, OP_BINUNICODE8, 8, data, nbytes);
    } else {
        return ACHAR_E_UNSUPPORTED;
    }
    return ACHAR_OK;
}

/* Something that is written in full once and from the memo after that; false: write it now. */
static bool known_word(output *o, uint64_t word)
{
    uint64_t index = achar__table_get(&o->memo, word);
    if (index == TABLE_ABSENT)
        return false;
    achar__output_get(o, index);
    return true;
}

/* Below protocol 3 bytes are _codecs.encode(the same as Latin-1 text, 'latin1'). */
static int bytes_as_text(output *o, const void *data, size_t nbytes)
{
    int status = ACHAR_OK;
    if (nbytes == 0) {
        achar__output_import(o, "builtins", "bytes");
        achar__output_tuple_begin(o, 0);
        achar__output_tuple_end(o, 0);
        emit_opcode(&o->out, OP_REDUCE);
        return ACHAR_OK;
    }
    if (!known_word(o, WORD_ENCODE)) {
        achar__output_import(o, "_codecs", "encode");
        status = memoize(o, WORD_ENCODE);
    }
    if (status != ACHAR_OK)
        return status;
    achar__output_tuple_begin(o, 2);
    o->scratch.nbytes = 0;
    achar__latin1_decode(&o->scratch, data, nbytes);
    if (o->scratch.failed)
        return o->scratch.failed;
    status = achar__output_text(o, o->scratch.data, o->scratch.nbytes);
    if (status == ACHAR_OK && !known_word(o, WORD_LATIN1)) {
        status = achar__output_text(o, "latin1", 6);
        if (status == ACHAR_OK)
            status = memoize(o, WORD_LATIN1);
    }
    achar__output_tuple_end(o, 2);
    emit_opcode(&o->out, OP_REDUCE);
    return status;
}

static int bytes(output *o, const void *data, size_t nbytes)
{
    if (o->protocol < 3)
        return bytes_as_text(o, data, nbytes);
    if (nbytes < 0x100)
        counted(o, OP_SHORT_BINBYTES, 1, data, nbytes);
    else if (nbytes <= UINT32_MAX)
        counted(o, OP_BINBYTES, 4, data, nbytes);
    else if (o->protocol >= 4)
        counted(o, OP_BINBYTES8, 8, data, nbytes);
    else
        return ACHAR_E_UNSUPPORTED;
    return ACHAR_OK;
}

/* Below protocol 5 a bytearray is bytearray(bytes). */
static int byte_array(output *o, const void *data, size_t nbytes)
{
    if (o->protocol >= 5) {
        counted(o, OP_BYTEARRAY8, 8, data, nbytes);
        return ACHAR_OK;
    }
    size_t arguments_count = nbytes != 0;
    achar__output_import(o, "builtins", "bytearray");
    achar__output_tuple_begin(o, arguments_count);
    int status = nbytes == 0 ? ACHAR_OK : bytes(o, data, nbytes);
    achar__output_tuple_end(o, arguments_count);
    emit_opcode(&o->out, OP_REDUCE);
    return status;
}

static void floating(output *o, double real)
{
    if (o->protocol >= 1) {
        emit_binfloat(&o->out, real);
        return;
    }
    char repr[FLOAT_REPR_NBYTES];
    emit_opcode(&o->out, OP_FLOAT);
    achar__buffer_append(&o->out, repr, achar__float_repr(real, repr));
    achar__buffer_byte(&o->out, '\n');
}

int achar__output_atom(output *o, cell c)
{
    size_t nbytes;
    const uint8_t *at;
    switch (cell_kind(c)) {
    case ACHAR_NONE:
        emit_opcode(&o->out, OP_NONE);
        return ACHAR_OK;
    case ACHAR_BOOL: {
        bool truth = c.bits & 1;
        if (o->protocol >= 2)
            emit_opcode(&o->out, truth ? OP_NEWTRUE : OP_NEWFALSE);
        else
            achar__buffer_text(&o->out, truth ? "I01\n" : "I00\n");
        return ACHAR_OK;
    }
    case ACHAR_INT:
        integer(o, cell_int64(c));
        return ACHAR_OK;
    case ACHAR_FLOAT:
        floating(o, decode_float8(cell_pointer(c)));
        return ACHAR_OK;
    case ACHAR_BIGINT:
        return big_integer(o, c);
    case ACHAR_STR:
        at = cell_span(c, &nbytes);
        return achar__output_text(o, at, nbytes);
    case ACHAR_BYTES:
        at = cell_span(c, &nbytes);
        return bytes(o, at, nbytes);
    case ACHAR_BYTEARRAY:
        at = cell_span(c, &nbytes);
        return byte_array(o, at, nbytes);
    default:
        return ACHAR_E_INVALID;
    }
}

size_t achar__output_small_run(output *o, const cell *items, size_t count)
{
    enum { LONGEST_NBYTES = 10 }; /* LONG1 of 8 bytes */
    size_t most = FRAME_TARGET_NBYTES / LONGEST_NBYTES;
    if (count > most)
        count = most;
    if (o->protocol < 2 || !achar__buffer_reserve(&o->out, count * LONGEST_NBYTES))
        return 0;
    uint8_t *at = o->out.data + o->out.nbytes;
    size_t i;
    for (i = 0; i < count; i++) {
        int64_t number;
        switch (cell_kind(items[i])) {
        case ACHAR_NONE:
            *at++ = OP_NONE;
            continue;
        case ACHAR_BOOL:
            *at++ = items[i].bits & 1 ? OP_NEWTRUE : OP_NEWFALSE;
            continue;
        case ACHAR_FLOAT:
            at[0] = OP_BINFLOAT;
            memcpy(at + 1, cell_pointer(items[i]), 8);
            at += 9;
            continue;
        case ACHAR_INT:
            number = cell_int64(items[i]);
            if (number == (uint8_t)number) {
                at[0] = OP_BININT1;
                at[1] = (uint8_t)number;
                at += 2;
            } else if (number == (uint16_t)number) {
                at[0] = OP_BININT2;
                emit_little_endian(at + 1, (uint64_t)number);
                at += 3;
            } else if (number == (int32_t)number) {
                at[0] = OP_BININT;
                emit_little_endian(at + 1, (uint64_t)number);
                at += 5;
            } else {
                break;
            }
            continue;
        default:
            break;
        }
        break;
    }
    o->out.nbytes = (size_t)(at - o->out.data);
    return i;
}
