/*
 * test_rules.c - what Python refuses without having to run anything (rules.h), in the reader and in
 * the builder; and how much memory values, and their JSON, take at most.
 */
#include "kit.h"

/* ---- refused, or not ---- */

typedef struct pickle {
    const char *data;
    size_t nbytes;
} pickle;

#define PICKLE(literal)                                                                            \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static void expect_all(const pickle *pickles, size_t count, int expected, int opcode)
{
    for (size_t i = 0; i < count; i++) {
        achar_graph *graph;
        achar_error error = {.opcode = -1};
        int status = achar_read(pickles[i].data, pickles[i].nbytes, NULL, &graph, NULL, &error);
        if (status != expected || (expected != ACHAR_OK && error.opcode != opcode))
            fail_msg("pickle %zu: %s at opcode %d: %s", i, achar_status_name(status), error.opcode,
                     status == ACHAR_OK ? "" : error.message);
        achar_graph_free(graph);
    }
}

#define EXPECT_ALL(pickles, status, opcode)                                                        \
    expect_all(pickles, sizeof(pickles) / sizeof *(pickles), status, opcode)

static void build_of_what_takes_no_state(void **state)
{
    static const pickle refused[] = {
        PICKLE("N}b."),
        PICKLE("K\x01}b."),
        PICKLE("\x8c\x01"
               "a]b."),
        PICKLE("]]b."),
        PICKLE("}}N\x86"
               "b."),
        PICKLE("))b."),
        PICKLE("]NN\x86"
               "b."),
        PICKLE("]N}K\x01K\x02s\x86"
               "b."),
        PICKLE("]K\x01N\x86"
               "b."),
    };
    static const pickle taken[] = {
        PICKLE("NNb."),
        PICKLE("]Nb."),
        PICKLE("]N}\x86"
               "b."),         /* (None, {}) */
        PICKLE("]cm\nf\nb."), /* whatever m.f is */
        PICKLE("]Ncm\nf\n\x86"
               "b."),
        PICKLE("cm\nf\nK\x01"
               "b."), /* it may have a __setstate__ */
    };
    EXPECT_ALL(refused, ACHAR_E_TYPE, 'b');
    EXPECT_ALL(taken, ACHAR_OK, -1);
}

static void keys_without_a_hash(void **state)
{
    static const pickle items[] = {
        PICKLE("}]Ns."),
        PICKLE("}}Ns."),
        PICKLE("}\x8fNs."),
        PICKLE("}]\x85Ns."),                                 /* ([],) */
        PICKLE("}K\x01]\x86\x85Ns."),                        /* ((1, []),) */
        PICKLE("}\x96\x01\x00\x00\x00\x00\x00\x00\x00xNs."), /* bytearray */
        PICKLE("}K\x01Ns]Ns."),                              /* not the first item */
    };
    static const pickle many[] = {PICKLE("}(K\x01N]Nu.")};
    static const pickle sets[] = {PICKLE("\x8f(]\x90."), PICKLE("\x8f(K\x01]\x85\x90.")};
    static const pickle frozensets[] = {PICKLE("(]\x91."), PICKLE("(K\x01]\x85\x91.")};
    static const pickle dicts[] = {PICKLE("(]Nd.")};
    EXPECT_ALL(items, ACHAR_E_TYPE, 's');
    EXPECT_ALL(many, ACHAR_E_TYPE, 'u');
    EXPECT_ALL(sets, ACHAR_E_TYPE, 0x90);
    EXPECT_ALL(frozensets, ACHAR_E_TYPE, 0x91);
    EXPECT_ALL(dicts, ACHAR_E_TYPE, 'd');
    static const pickle taken[] = {
        PICKLE("})Ns."),
        PICKLE("}K\x01K\x02\x86Ns."),
        PICKLE("}(K\x01\x91Ns."), /* frozenset({1}) */
        PICKLE("}K\x01(K\x02\x91\x86Ns."),
        PICKLE("}cm\nf\nNs."), /* only Python knows */
        PICKLE("}cm\nf\n\x85Ns."),
        PICKLE("cm\nf\n]Ns."), /* and what it does with the key */
        PICKLE("]]Ns."),       /* an item of a list is set, at an index to be seen */
    };
    EXPECT_ALL(taken, ACHAR_OK, -1);
}

static void the_builder_refuses_the_same(void **state)
{
    for (int i = 0; i < 6; i++) {
        achar_graph *graph = achar_graph_new(NULL);
        achar_value list = achar_make_list(graph);
        achar_value pair[2] = {achar_make_int(1), list};
        achar_value dict = achar_make_dict(graph);
        if (i == 0)
            achar_set(graph, dict, list, achar_make_none());
        else if (i == 1)
            achar_set(graph, dict, achar_make_tuple(graph, pair, 2), achar_make_none());
        else if (i == 2)
            achar_add(graph, achar_make_set(graph), dict);
        else if (i == 3)
            achar_make_frozenset(graph, pair, 2);
        else if (i == 4)
            achar_build(graph, list, dict);
        else
            achar_build(graph, achar_make_int(1), dict);
        assert_int_equal(achar_graph_status(graph), ACHAR_E_TYPE);
        achar_graph_free(graph);
    }
    achar_graph *graph = achar_graph_new(NULL);
    achar_value dict = achar_make_dict(graph);
    achar_value one = achar_make_int(1);
    achar_set(graph, dict, achar_make_tuple(graph, &one, 1), dict);
    achar_build(graph, dict, achar_make_none());
    achar_build(graph, achar_make_global(graph, "m", "f"), achar_make_int(1));
    assert_int_equal(achar_graph_status(graph), ACHAR_OK);
    achar_graph_free(graph);
}

/* ---- what a cell cannot hold itself ---- */

static void numbers_of_every_size(void **state)
{
    for (int bits = 0; bits < 64; bits++) {
        for (int near = -1; near <= 1; near++) {
            int64_t number = (int64_t)(((uint64_t)1 << bits) + (uint64_t)(int64_t)near);
            for (int sign = 0; sign < 2; sign++, number = (int64_t)(0 - (uint64_t)number)) {
                achar_graph *graph = achar_graph_new(NULL);
                achar_value list = achar_make_list(graph);
                achar_append(graph, list, achar_make_int(number));
                achar_append(graph, list, achar_make_float((double)number / 3));
                achar_set_root(graph, list);
                for (int protocol = 0; protocol <= 5; protocol++) {
                    achar_bytes bytes;
                    achar_graph *again;
                    assert_int_equal(achar_write(graph, protocol, NULL, &bytes, NULL), ACHAR_OK);
                    assert_int_equal(achar_read(bytes.data, bytes.nbytes, NULL, &again, NULL, NULL),
                                     ACHAR_OK);
                    achar_value item = achar_item(achar_root(again), 0);
                    assert_int_equal(achar_kind(item), ACHAR_INT);
                    assert_true(achar_int64(item) == number);
                    assert_true(achar_same(item, achar_make_int(number)));
                    assert_true(achar_float(achar_item(achar_root(again), 1)) ==
                                (double)number / 3);
                    achar_graph_free(again);
                    achar_bytes_free(&bytes, NULL);
                }
                achar_graph_free(graph);
            }
        }
    }
}

/* Sizes with needless bytes, and those that stand elsewhere than in front of the data. */
static void odd_ways_to_say_it(void **state)
{
    achar_graph *graph = READ("](\x8a\x0a\x01\0\0\0\0\0\0\0\0\0" /* 1 in 10 bytes */
                              "\x8b\x09\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff" /* -1 in 9 */
                              "\x8b\x08\0\0\0\0\0\0\0\0\0\0\x40" /* 2^62 by LONG4 */
                              "\x8a\x0b\0\0\0\0\0\0\0\0\x01\0\0" /* 2^64 in 11 */
                              "X\x02\0\0\0hi"
                              "\x8d\x02\0\0\0\0\0\0\0hi"
                              "Vhi\nS'hi'\nU\x02hi"
                              "e.");
    achar_value list = achar_root(graph);
    assert_true(achar_int64(achar_item(list, 0)) == 1);
    assert_true(achar_int64(achar_item(list, 1)) == -1);
    assert_true(achar_int64(achar_item(list, 2)) == (int64_t)1 << 62);
    size_t nbytes;
    const unsigned char *big = achar_int_bytes(achar_item(list, 3), &nbytes);
    assert_int_equal(nbytes, 9);
    assert_int_equal(big[8], 1);
    for (size_t i = 4; i < 9; i++)
        assert_true(achar_text_is(achar_item(list, i), "hi"));
    assert_false(achar_same(achar_item(list, 4), achar_item(list, 5)));
    achar_graph_free(graph);
}

/* ---- sharing ---- */

/* A value put into a graph twice is one object there, whoever made it. */
static void what_a_program_adds_to_what_was_read(void **state)
{
    achar_graph *graph = READ("](\x8c\x01"
                              "a]K\x01\x85"
                              "G?\xf0\0\0\0\0\0\0e.");
    achar_value list = achar_root(graph);
    for (size_t i = 0; i < 4; i++)
        achar_append(graph, list, achar_item(list, i));
    achar_value own = achar_make_str(graph, "own");
    achar_append(graph, list, own);
    achar_append(graph, list, own);
    achar_bytes bytes;
    achar_graph *again;
    assert_int_equal(achar_write(graph, 4, NULL, &bytes, NULL), ACHAR_OK);
    assert_int_equal(achar_read(bytes.data, bytes.nbytes, NULL, &again, NULL, NULL), ACHAR_OK);
    list = achar_root(again);
    assert_int_equal(achar_count(list), 10);
    for (size_t i = 0; i < 4; i++)
        assert_true(achar_same(achar_item(list, i), achar_item(list, 4 + i)));
    assert_true(achar_same(achar_item(list, 8), achar_item(list, 9)));
    achar_graph_free(again);
    achar_bytes_free(&bytes, NULL);
    achar_graph_free(graph);
}

/* ---- memory ---- */

/* 'count' times 'unit' between 'start' and 'end'. */
static unsigned char *repeat(pickle start, pickle unit, size_t count, pickle end, size_t *nbytes)
{
    *nbytes = start.nbytes + count * unit.nbytes + end.nbytes;
    unsigned char *data = test_malloc(*nbytes);
    memcpy(data, start.data, start.nbytes);
    for (size_t i = 0; i < count; i++)
        memcpy(data + start.nbytes + i * unit.nbytes, unit.data, unit.nbytes);
    memcpy(data + start.nbytes + count * unit.nbytes, end.data, end.nbytes);
    return data;
}

/* What a value costs in the graph beyond the input; the outermost list is one value of thousands. */
static void small_values_cost_24_bytes_at_most(void **state)
{
#ifdef ACHAR_HOSTILE
    skip(); /* each has a chunk of its own */
#endif
    enum { COUNT = 20000 };
    static const struct {
        const char *name;
        pickle unit;
        size_t values_count; /* in a unit */
    } cases[] = {
        {"ints", PICKLE("K\x01"), 1},
        {"floats", PICKLE("G?\xf0\0\0\0\0\0\0"), 1},
        {"large ints", PICKLE("\x8a\x08\x01\x02\x03\x04\x05\x06\x07\x08"), 1},
        {"text", PICKLE("\x8c\x01x\x94"), 1},
        {"empty lists", PICKLE("]\x94"), 1},
        {"empty dicts", PICKLE("}\x94"), 1},
        {"pairs", PICKLE("K\x01K\x02\x86\x94"), 3},
        {"lists of one",
         PICKLE("]\x94K\x01"
                "a"),
         2},
        {"dicts of one", PICKLE("}\x94K\x01Ns"), 3},
        {"lines of text", PICKLE("Vx\n"), 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t nbytes;
        unsigned char *data =
            repeat((pickle)PICKLE("](N"), cases[i].unit, COUNT, (pickle)PICKLE("e."), &nbytes);
        counting c;
        counting_init(&c, 0);
        achar_read_options options = {.allocator = &c.allocator};
        achar_graph *graph;
        assert_int_equal(achar_read(data, nbytes, &options, &graph, NULL, NULL), ACHAR_OK);
        size_t limit = 24 * COUNT * cases[i].values_count;
        if (c.now_nbytes > limit)
            fail_msg("%s: %zu bytes, not %zu", cases[i].name, c.now_nbytes, limit);
        achar_graph_free(graph);
        test_free(data);
    }
}

/* JSON's scratch memory and the graph together, for what is as deep as it is long. */
static void json_takes_memory_in_proportion(void **state)
{
    enum { COUNT = 100000, FACTOR = 120 };
    static const struct {
        const char *name;
        pickle start, unit, end;
    } cases[] = {
        {"calls of calls", PICKLE("cm\nf\n"), PICKLE(")R"), PICKLE(".")},
        {"calls with keywords", PICKLE("cm\nf\n"), PICKLE(")}\x92"), PICKLE(".")},
        {"imports", PICKLE(""), PICKLE("cm\nf\n"), PICKLE("N.")},
        {"tuples", PICKLE("N"), PICKLE("\x85"), PICKLE(".")},
        {"changes", PICKLE("cm\nf\n"), PICKLE("Nb"), PICKLE(".")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t nbytes;
        unsigned char *data = repeat(cases[i].start, cases[i].unit, COUNT, cases[i].end, &nbytes);
        counting c;
        counting_init(&c, 0);
        achar_read_options options = {.allocator = &c.allocator};
        achar_graph *graph;
        assert_int_equal(achar_read(data, nbytes, &options, &graph, NULL, NULL), ACHAR_OK);
        assert_int_equal(achar_json(graph, &c.allocator, &nowhere, NULL), ACHAR_OK);
        if (c.peak_nbytes > FACTOR * nbytes + 200000)
            fail_msg("%s: %zu bytes for %zu of input", cases[i].name, c.peak_nbytes, nbytes);
        achar_graph_free(graph);
        assert_int_equal(c.now_nbytes, 0);
        test_free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(build_of_what_takes_no_state),
        cmocka_unit_test(keys_without_a_hash),
        cmocka_unit_test(the_builder_refuses_the_same),
        cmocka_unit_test(numbers_of_every_size),
        cmocka_unit_test(odd_ways_to_say_it),
        cmocka_unit_test(what_a_program_adds_to_what_was_read),
        cmocka_unit_test(small_values_cost_24_bytes_at_most),
        cmocka_unit_test(json_takes_memory_in_proportion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
