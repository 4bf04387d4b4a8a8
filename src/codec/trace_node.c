/* trace_node.c - the nodes of trace_machine.h: their memory, and the values that they keep. */
#include "codec/trace_inside.h"

trace_node *achar__trace_node_new(trace_machine *m, int kind, int opcode, size_t children_max)
{
    trace_node *node = achar__memory_take(m->mem, sizeof *node);
    if (node == NULL)
        return NULL;
    *node = (trace_node){
        .refs_count = 1, .kind = (uint8_t)kind, .opcode = (uint8_t)opcode, .memo_index = NO_INDEX};
    if (children_max != 0) {
        node->children = achar__memory_take(m->mem, children_max * sizeof *node->children);
        if (node->children == NULL) {
            achar__memory_give(m->mem, node, sizeof *node);
            return NULL;
        }
        node->kept_max = (uint32_t)children_max;
    }
    node->link = &m->nodes;
    node->following = m->nodes;
    if (m->nodes != NULL)
        m->nodes->link = &node->following;
    m->nodes = node;
    return node;
}

void achar__trace_node_free(trace_machine *m, trace_node *node)
{
    *node->link = node->following;
    if (node->following != NULL)
        node->following->link = node->link;
    achar__memory_give(m->mem, node->children, node->kept_max * sizeof *node->children);
    achar__memory_give(m->mem, node->text, node->text_nbytes);
    achar__memory_give(m->mem, node, sizeof *node);
}

void achar__trace_retain(achar_value value)
{
    if (value.as.pointer != NULL)
        trace_node_of(value)->refs_count++;
}

/* Frees what nothing refers to any more. A list of what is to be freed instead of recursion: values
 * nest as deep as the pickle is long. */
void achar__trace_release(trace_machine *m, achar_value value)
{
    trace_node *dying = trace_node_of(value);
    if (dying == NULL || --dying->refs_count != 0)
        return;
    dying->next = NULL;
    while (dying != NULL) {
        trace_node *node = dying;
        dying = node->next;
        for (size_t i = 0; i < node->kept_count; i++) {
            trace_node *child = trace_node_of(node->children[i]);
            if (child != NULL && --child->refs_count == 0) {
                child->next = dying;
                dying = child;
            }
        }
        for (trace_node *change = node->changes, *next; change != NULL; change = next) {
            next = change->next;
            change->next = dying;
            dying = change;
        }
        achar__trace_node_free(m, node);
    }
}

/* How many values a container keeps. */
static size_t kept_limit(const trace_machine *m, int kind)
{
    return kind == ACHAR_DICT ? 2 * m->limits.items_count : m->limits.items_count;
}

bool achar__trace_reserve_children(trace_machine *m, trace_node *node, size_t count)
{
    size_t limit = kept_limit(m, node->kind);
    size_t wanted = count > limit - node->kept_count ? limit : node->kept_count + count;
    if (wanted <= node->kept_max)
        return true;
    size_t room = wanted < 4 ? 4 : wanted * 2 > limit ? limit : wanted * 2;
    achar_value *children = achar__memory_resize(
        m->mem, node->children, node->kept_max * sizeof *children, room * sizeof *children);
    if (children == NULL)
        return false;
    node->children = children;
    node->kept_max = (uint32_t)room;
    return true;
}

void achar__trace_give_children(trace_machine *m, trace_node *node, const achar_value *values,
                                size_t count)
{
    size_t limit = kept_limit(m, node->kind);
    node->count += count;
    for (size_t i = 0; i < count; i++) {
        if (node->kept_count < limit)
            node->children[node->kept_count++] = values[i];
        else
            achar__trace_release(m, values[i]);
    }
}
