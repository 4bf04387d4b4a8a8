/* exercise.c - see exercise.h. */
#include "exercise.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exercise_shapes.h"

void require_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: not so: %s: ", file, line, condition);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

/* ---- the allocator ---- */

/* In front of each block: its size, and 16 for alignment. */
enum { HEADER_NBYTES = 16 };

static void *count(void *opaque, void *block, size_t old_nbytes, size_t new_nbytes)
{
    counting *c = opaque;
    char *base = block == NULL ? NULL : (char *)block - HEADER_NBYTES;
    size_t known = 0;
    if (base != NULL)
        memcpy(&known, base, sizeof known);
    REQUIRE(known == old_nbytes, "a block of %zu bytes was said to have %zu", known, old_nbytes);
    if (new_nbytes == 0) {
        c->now_nbytes -= old_nbytes;
        free(base);
        return NULL;
    }
    c->calls++;
    if (c->fail_at != 0 && c->calls >= c->fail_at)
        return NULL;
    base = realloc(base, new_nbytes + HEADER_NBYTES);
    REQUIRE(base != NULL, "%zu bytes are not to be had", new_nbytes);
    memcpy(base, &new_nbytes, sizeof new_nbytes);
    c->now_nbytes += new_nbytes - old_nbytes;
    if (c->now_nbytes > c->peak_nbytes)
        c->peak_nbytes = c->now_nbytes;
    return base + HEADER_NBYTES;
}

void counting_init(counting *c, size_t fail_at)
{
    *c = (counting){.allocator = {count, c}, .fail_at = fail_at};
}

/* ---- sinks ---- */

static int keep(void *opaque, const void *data, size_t nbytes)
{
    kept *k = opaque;
    if (k->fail_after != 0 && k->nbytes + nbytes > k->fail_after)
        return 1;
    if (k->nbytes + nbytes >= k->capacity_nbytes) {
        k->capacity_nbytes = 2 * (k->nbytes + nbytes) + 1;
        k->text = realloc(k->text, k->capacity_nbytes);
        REQUIRE(k->text != NULL, "%zu bytes are not to be had", k->capacity_nbytes);
    }
    memcpy(k->text + k->nbytes, data, nbytes);
    k->nbytes += nbytes;
    k->text[k->nbytes] = '\0';
    return 0;
}

void kept_init(kept *k)
{
    *k = (kept){.sink = {keep, k}};
}

void kept_free(kept *k)
{
    free(k->text);
    kept_init(k);
}

bool kept_same(const kept *a, const kept *b)
{
    return a->nbytes == b->nbytes && (a->nbytes == 0 || memcmp(a->text, b->text, a->nbytes) == 0);
}

static int discard(void *opaque, const void *data, size_t nbytes)
{
    return 0;
}

const achar_sink nowhere = {discard, NULL};

/* ---- pickles ---- */

static bool may_fail(int status, const achar_read_options *options)
{
    return status == ACHAR_E_NOMEM || (status == ACHAR_E_LIMIT && options->max_nbytes != 0);
}

/* Every accessor on a value, and on what is in it, down to a depth. All must answer for all kinds. */
static void walk(achar_value value, const achar_allocator *allocator, int depth, int *left)
{
    size_t nbytes;
    if (depth == 0 || --*left < 0)
        return;
    int kind = achar_kind(value);
    REQUIRE(kind != ACHAR_NOTHING, "a value is missing");
    REQUIRE(achar_same(value, value), "a %s is not itself", achar_kind_name(kind));
    const char *text = achar_text(value, &nbytes);
    REQUIRE((text != NULL) == (kind == ACHAR_STR), "text of %s", achar_kind_name(kind));
    for (volatile size_t i = 0; text != NULL && i < nbytes; i++)
        (void)*(const volatile char *)(text + i);
    const unsigned char *data = achar_data(value, &nbytes);
    for (volatile size_t i = 0; data != NULL && i < nbytes; i++)
        (void)*(const volatile unsigned char *)(data + i);
    const unsigned char *digits = achar_int_bytes(value, &nbytes);
    REQUIRE((digits != NULL) == (kind == ACHAR_BIGINT), "digits of %s", achar_kind_name(kind));
    achar_bytes decimal;
    int status = achar_int_decimal(value, allocator, &decimal);
    REQUIRE(status == ACHAR_OK || status == ACHAR_E_NOMEM ||
                (status == ACHAR_E_TYPE && kind != ACHAR_INT && kind != ACHAR_BIGINT),
            "%s as decimal: %s", achar_kind_name(kind), achar_status_name(status));
    achar_bytes_free(&decimal, allocator);
    achar_bool(value);
    achar_int64(value);
    achar_float(value);
    achar_extension_code(value);
    achar_buffer_index(value);
    achar_buffer_readonly(value);
    achar_text_is(value, "text");
    achar_get(value, "key");
    achar_global_is(value, "module", "name");
    for (size_t i = 0; i < achar_count(value) && *left > 0; i++) {
        if (kind == ACHAR_DICT) {
            walk(achar_pair_key(value, i), allocator, depth - 1, left);
            walk(achar_pair_value(value, i), allocator, depth - 1, left);
        } else {
            walk(achar_item(value, i), allocator, depth - 1, left);
        }
    }
    if (kind == ACHAR_GLOBAL) {
        walk(achar_module(value), allocator, depth - 1, left);
        walk(achar_name(value), allocator, depth - 1, left);
    }
    if (kind == ACHAR_CALL) {
        walk(achar_callable(value), allocator, depth - 1, left);
        walk(achar_arguments(value), allocator, depth - 1, left);
        if (achar_call_form(value) == ACHAR_CALL_NEWOBJ_EX)
            walk(achar_keywords(value), allocator, depth - 1, left);
    }
    if (kind == ACHAR_PERSISTENT)
        walk(achar_persistent_id(value), allocator, depth - 1, left);
}

/* The log, and each target's chain in it. */
static void walk_effects(achar_graph *graph)
{
    achar_effect effect;
    size_t effects_count = achar_effects_count(graph);
    for (size_t i = 0; i < effects_count; i++) {
        size_t change;
        if (achar_effect_at(graph, i, &effect) != ACHAR_OK)
            return;
        REQUIRE(achar_kind(effect.target) != ACHAR_NOTHING, "effect %zu has no target", i);
        for (size_t j = 0; j < effect.values_count; j++)
            REQUIRE(achar_kind(effect.values[j]) != ACHAR_NOTHING, "effect %zu", i);
        REQUIRE(effect.next == ACHAR_NO_EFFECT || (effect.next > i && effect.next < effects_count),
                "effect %zu is followed by %zu", i, effect.next);
        if (achar_first_change(graph, effect.target, &change) != ACHAR_OK)
            return;
        REQUIRE(change == ACHAR_NO_EFFECT || change < effects_count, "effect %zu", i);
    }
    REQUIRE(achar_effect_at(graph, effects_count, &effect) == ACHAR_E_INVALID, "past the end");
}

static void write_and_reread(achar_graph *graph, int protocol, const achar_read_options *options)
{
    achar_write_options write_options = {.allocator = options->allocator};
    achar_error error;
    achar_bytes bytes;
    int written = achar_write(graph, protocol, &write_options, &bytes, &error);
    if (written != ACHAR_OK) {
        REQUIRE(written == ACHAR_E_UNSUPPORTED || may_fail(written, options), "protocol %d: %s",
                protocol, achar_status_name(written));
        REQUIRE(bytes.data == NULL, "bytes after an error");
        return;
    }
    achar_graph *again;
    achar_read_options plain = {.allocator = options->allocator};
    int reread = achar_read(bytes.data, bytes.nbytes, &plain, &again, NULL, &error);
    REQUIRE(reread == ACHAR_OK || reread == ACHAR_E_NOMEM,
            "protocol %d, what was written is not read: %s at %llu: %s", protocol,
            achar_status_name(reread), (unsigned long long)error.offset, error.message);
    achar_graph_free(again);
    achar_bytes_free(&bytes, options->allocator);
}

int use_everything(const unsigned char *data, size_t nbytes, const achar_read_options *options,
                   int lowest)
{
    achar_dis_options dis_options = {.allocator = options->allocator, .annotate = 30};
    achar_error error;
    achar_graph *graph;
    size_t used_nbytes = 0;

    achar_disassembler *dis = achar_disassembler_new(&dis_options);
    if (dis != NULL)
        achar_disassemble(dis, data, nbytes, 0, &nowhere, NULL, &error);
    achar_disassembler_free(dis);

    error = (achar_error){.code = 1};
    int status = achar_read(data, nbytes, options, &graph, &used_nbytes, &error);
    if (status != ACHAR_OK) {
        REQUIRE(graph == NULL, "a graph after %s", achar_status_name(status));
        REQUIRE(error.code == status, "%d is not %d", error.code, status);
        REQUIRE(error.offset <= nbytes, "offset %llu of %zu", (unsigned long long)error.offset,
                nbytes);
        REQUIRE(error.message[0] != '\0', "%s without words", achar_status_name(status));
        return status;
    }
    REQUIRE(used_nbytes <= nbytes && used_nbytes != 0, "%zu of %zu used", used_nbytes, nbytes);
    int left = 2000;
    walk(achar_root(graph), options->allocator, 200, &left);
    walk_effects(graph);
    use_shapes(graph, options->allocator != NULL || options->max_nbytes != 0);
    for (int protocol = lowest; protocol <= 5; protocol++)
        write_and_reread(graph, protocol, options);
    status = achar_json(graph, options->allocator, &nowhere, &error);
    REQUIRE(status == ACHAR_OK || may_fail(status, options), "%s", achar_status_name(status));
    achar_graph_free(graph);
    return ACHAR_OK;
}
