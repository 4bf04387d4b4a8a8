/* kit.c - what the codec's C tests share. */
#include "kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

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
    assert_int_equal(known, old_nbytes);
    if (new_nbytes == 0) {
        c->now_nbytes -= old_nbytes;
        free(base);
        return NULL;
    }
    c->calls++;
    if (c->fail_at != 0 && c->calls >= c->fail_at)
        return NULL;
    base = realloc(base, new_nbytes + HEADER_NBYTES);
    assert_non_null(base);
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
    k->text = realloc(k->text, k->nbytes + nbytes + 1);
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

static int discard(void *opaque, const void *data, size_t nbytes)
{
    return 0;
}

static const achar_sink nowhere = {discard, NULL};

/* ---- pickles ---- */

achar_graph *read_bytes(const char *data, size_t nbytes)
{
    achar_graph *graph;
    achar_error error = {0};
    size_t used;
    int status = achar_read(data, nbytes, NULL, &graph, &used, &error);
    if (status != ACHAR_OK)
        fail_msg("%s at %llu: %s", achar_status_name(status), (unsigned long long)error.offset,
                 error.message);
    assert_int_equal(used, nbytes);
    return graph;
}

static void use_golden_folder(const char *folder,
                              void (*use)(const char *name, const unsigned char *data,
                                          size_t nbytes),
                              size_t *used)
{
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    struct dirent *entry;
    while ((entry = readdir(listing)) != NULL) {
        size_t name_nbytes = strlen(entry->d_name);
        if (name_nbytes < 7 || strcmp(entry->d_name + name_nbytes - 7, ".pickle") != 0)
            continue;
        char path[1400];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        /* An allocation of its exact size, so that ASan sees a read past the end. */
        fseek(file, 0, SEEK_END);
        size_t nbytes = (size_t)ftell(file);
        rewind(file);
        unsigned char *data = malloc(nbytes);
        assert_int_equal(fread(data, 1, nbytes, file), nbytes);
        fclose(file);
        use(path, data, nbytes);
        free(data);
        ++*used;
    }
    closedir(listing);
}

void for_each_golden(void (*use)(const char *name, const unsigned char *data, size_t nbytes))
{
    static const char *const folders[] = {"2.7", "3.x", "hand"};
    const char *golden = getenv("ACHAR_GOLDEN");
    size_t used = 0;
    assert_non_null(golden);
    for (size_t i = 0; i < 3; i++) {
        char folder[1024];
        snprintf(folder, sizeof folder, "%s/%s", golden, folders[i]);
        use_golden_folder(folder, use, &used);
    }
    assert_true(used >= 150);
}

/* The log, and each target's chain in it. */
static void walk_effects(achar_graph *graph)
{
    for (size_t i = 0; i < achar_effects_count(graph); i++) {
        achar_effect effect;
        size_t change;
        if (achar_effect_at(graph, i, &effect) != ACHAR_OK)
            return;
        assert_int_not_equal(achar_kind(effect.target), ACHAR_NOTHING);
        for (size_t j = 0; j < effect.values_count; j++)
            assert_int_not_equal(achar_kind(effect.values[j]), ACHAR_NOTHING);
        if (achar_first_change(graph, effect.target, &change) != ACHAR_OK)
            return;
        assert_true(change == ACHAR_NO_EFFECT || change < achar_effects_count(graph));
    }
}

int use_everything(const unsigned char *data, size_t nbytes, int lowest,
                   const achar_allocator *allocator)
{
    achar_read_options read_options = {.allocator = allocator, .encoding = ACHAR_ENCODING_LATIN1};
    achar_write_options write_options = {.allocator = allocator};
    achar_dis_options dis_options = {.allocator = allocator, .annotate = 30};
    achar_error error;
    achar_graph *graph;

    achar_disassembler *dis = achar_disassembler_new(&dis_options);
    if (dis != NULL)
        achar_disassemble(dis, data, nbytes, 0, &nowhere, NULL, &error);
    achar_disassembler_free(dis);

    error = (achar_error){.code = 1};
    int status = achar_read(data, nbytes, &read_options, &graph, NULL, &error);
    if (status != ACHAR_OK) {
        assert_null(graph);
        assert_int_equal(error.code, status);
        assert_true(error.offset <= nbytes);
        assert_true(error.message[0] != '\0');
        return status;
    }
    walk_effects(graph);
    for (int protocol = lowest; protocol <= 5; protocol++) {
        achar_bytes bytes;
        achar_graph *again;
        int written = achar_write(graph, protocol, &write_options, &bytes, &error);
        if (written == ACHAR_OK) {
            read_options.encoding = ACHAR_ENCODING_ASCII;
            int reread = achar_read(bytes.data, bytes.nbytes, &read_options, &again, NULL, &error);
            assert_true(reread == ACHAR_OK || reread == ACHAR_E_NOMEM);
            achar_graph_free(again);
            achar_bytes_free(&bytes, allocator);
        } else {
            assert_true(written == ACHAR_E_UNSUPPORTED || written == ACHAR_E_NOMEM);
            assert_null(bytes.data);
        }
    }
    achar_json(graph, allocator, &nowhere, &error);
    achar_graph_free(graph);
    return ACHAR_OK;
}
