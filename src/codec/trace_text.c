/* trace_text.c - what stands in the input as text, and in another form than it is shown in. */
#include "codec/trace_inside.h"

#include "codec/decode.h"
#include "codec/number.h"
#include "codec/read_internal.h"
#include "codec/text.h"
#include "codec/trace_show.h"

static bool keep_text(trace_machine *m, trace_node *node, const uint8_t *at, size_t kept)
{
    if (kept == 0)
        return true;
    node->text = achar__memory_take(m->mem, kept);
    if (node->text == NULL)
        return false;
    node->text_nbytes = kept;
    memcpy(node->text, at, kept);
    return true;
}

/* Pushes what the input has in another form than it is shown in; 'graph_value' is of the reader's
 * making. Of a STR its start stays, at least as much as is ever shown; of others what is shown. */
static int push_text(trace_machine *m, trace_step *step, achar_value graph_value)
{
    int kind = achar_kind(graph_value) == ACHAR_BIGINT ? ACHAR_INT : achar_kind(graph_value);
    trace_node *node = achar__trace_node_new(m, kind, step->token.opcode, 0);
    if (node == NULL)
        return achar__memory_status(m->mem);
    bool kept;
    if (kind == ACHAR_STR) {
        size_t nbytes;
        const uint8_t *at = (const uint8_t *)achar_text(graph_value, &nbytes);
        size_t start_nbytes = TRACE_TEXT_NBYTES > 4 * m->limits.text_count
                                  ? TRACE_TEXT_NBYTES
                                  : 4 * m->limits.text_count;
        if (start_nbytes < nbytes)
            while ((at[start_nbytes] & 0xc0) == 0x80)
                start_nbytes--;
        else
            start_nbytes = nbytes;
        node->rest_nbytes = nbytes - start_nbytes;
        kept = keep_text(m, node, at, start_nbytes);
    } else {
        buffer shown;
        achar__buffer_init(&shown, m->mem);
        achar__trace_show_atom(&shown, graph_value, &m->limits);
        kept = !shown.failed && keep_text(m, node, shown.data, shown.nbytes);
        achar__buffer_free(&shown);
    }
    if (!kept) {
        achar__trace_release(m, trace_value(kind, step->offset, node));
        return achar__memory_status(m->mem);
    }
    return achar__trace_push_node(m, step, node);
}

int achar__trace_ask_reader(trace_machine *m, trace_step *step)
{
    const uint8_t *start = m->data + step->offset;
    m->scratch.nbytes = 0;
    achar__buffer_append(&m->scratch, start, (size_t)(step->token.next - start));
    achar__buffer_byte(&m->scratch, OP_STOP);
    if (m->scratch.failed) {
        int failed = m->scratch.failed;
        m->scratch.failed = ACHAR_OK;
        return failed;
    }
    achar_graph *graph = NULL;
    achar_error error;
    achar_read_options options = {.allocator = &m->mem->allocator, .encoding = m->encoding};
    int status =
        achar__read(m->scratch.data, m->scratch.nbytes, 0, 0, &options, &graph, NULL, &error);
    if (status != ACHAR_OK)
        return achar__trace_problem(m, status, "%s", error.message);
    status = push_text(m, step, achar_root(graph));
    achar_graph_free(graph);
    if (m->scratch.capacity_nbytes > 1 << 20)
        achar__buffer_free(&m->scratch);
    return status;
}

bool achar__trace_is_plain(const token *t, int64_t *number)
{
    size_t nbytes = t->nbytes;
    if (t->opcode == OP_UNICODE)
        return text_is_ascii(t->data, nbytes) &&
               (nbytes == 0 || memchr(t->data, '\\', nbytes) == NULL);
    if (t->opcode == OP_LONG && nbytes != 0 && t->data[nbytes - 1] == 'L')
        nbytes--;
    size_t sign = nbytes != 0 && (t->data[0] == '-' || t->data[0] == '+');
    return (t->opcode == OP_INT || t->opcode == OP_LONG) &&
           !(nbytes > sign + 1 && t->data[sign] == '0') && decode_decimal(t->data, nbytes, number);
}

int achar__trace_push_line(trace_machine *m, trace_step *step)
{
    int64_t number;
    if (achar__trace_is_plain(&step->token, &number))
        return trace_push_kind(m, step, step->token.opcode == OP_UNICODE ? ACHAR_STR : ACHAR_INT);
    return achar__trace_ask_reader(m, step);
}

int achar__trace_push_python2(trace_machine *m, trace_step *step)
{
    const token *t = &step->token;
    if (m->encoding == ACHAR_ENCODING_BYTES)
        return trace_push_kind(m, step, ACHAR_BYTES);
    if (text_is_ascii(t->data, t->nbytes) ||
        (m->encoding == ACHAR_ENCODING_UTF8 && achar__utf8_valid(t->data, t->nbytes)))
        return trace_push_kind(m, step, ACHAR_STR);
    return achar__trace_ask_reader(m, step);
}
