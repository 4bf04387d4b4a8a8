/* test_read.c - the reader, through the public interface: values, effects, errors, limits. */
#include "kit.h"

/* ---- values ---- */

static void numbers(void **state)
{
    achar_graph *graph = READ("\x80\x02(K\x01J\xff\xff\xff\xff\x88\x89NG?\xf8\0\0\0\0\0\0"
                              "\x8a\x00\x8a\x02\xff\x7f\x8a\x09\0\0\0\0\0\0\0\x80\0t.");
    achar_value root = achar_root(graph);
    assert_int_equal(achar_kind(root), ACHAR_TUPLE);
    assert_int_equal(achar_count(root), 9);
    assert_int_equal(achar_int64(achar_item(root, 0)), 1);
    assert_int_equal(achar_int64(achar_item(root, 1)), -1);
    assert_int_equal(achar_bool(achar_item(root, 2)), 1);
    assert_int_equal(achar_kind(achar_item(root, 3)), ACHAR_BOOL);
    assert_int_equal(achar_bool(achar_item(root, 3)), 0);
    assert_int_equal(achar_kind(achar_item(root, 4)), ACHAR_NONE);
    assert_true(achar_float(achar_item(root, 5)) == 1.5);
    assert_int_equal(achar_int64(achar_item(root, 6)), 0);
    assert_int_equal(achar_int64(achar_item(root, 7)), 0x7fff);
    assert_int_equal(achar_kind(achar_item(root, 8)), ACHAR_BIGINT);
    size_t nbytes;
    assert_non_null(achar_int_bytes(achar_item(root, 8), &nbytes));
    assert_int_equal(nbytes, 9);
    achar_bytes decimal;
    assert_int_equal(achar_int_decimal(achar_item(root, 8), NULL, &decimal), ACHAR_OK);
    assert_string_equal((char *)decimal.data, "9223372036854775808");
    achar_bytes_free(&decimal, NULL);
    assert_int_equal(achar_int_decimal(achar_item(root, 4), NULL, &decimal), ACHAR_E_TYPE);
    assert_int_equal(achar_protocol(graph), 2);
    achar_graph_free(graph);
}

static void text_points_into_the_input(void **state)
{
    static const char pickle[] = "\x80\x04(\x8c\x05hello\x8e\x03\0\0\0\0\0\0\0abct.";
    achar_graph *graph = READ(pickle);
    size_t nbytes;
    assert_ptr_equal(achar_text(achar_item(achar_root(graph), 0), &nbytes), pickle + 5);
    assert_int_equal(nbytes, 5);
    assert_true(achar_text_is(achar_item(achar_root(graph), 0), "hello"));
    assert_false(achar_text_is(achar_item(achar_root(graph), 0), "hell"));
    const unsigned char *data = achar_data(achar_item(achar_root(graph), 1), &nbytes);
    assert_int_equal(nbytes, 3);
    assert_memory_equal(data, "abc", 3);
    achar_graph_free(graph);
}

static void text_of_protocol_0(void **state)
{
    achar_graph *graph = READ("(Vcaf\xe9 \\u20ac\\U0001f600 \\\\u0041\nS'a\\n\\x41\\101\\q'\nt.");
    assert_true(achar_text_is(achar_item(achar_root(graph), 0),
                              "caf\xc3\xa9 \xe2\x82\xac\xf0\x9f\x98\x80 \\\\u0041"));
    assert_true(achar_text_is(achar_item(achar_root(graph), 1), "a\nAA\\q"));
    achar_graph_free(graph);
}

static void dicts(void **state)
{
    achar_graph *graph = READ("}(X\x01\0\0\0aK\x01X\x01\0\0\0bK\x02X\x01\0\0\0aK\x03u.");
    achar_value root = achar_root(graph);
    assert_int_equal(achar_count(root), 3);
    assert_int_equal(achar_int64(achar_get(root, "a")), 3); /* the last wins */
    assert_int_equal(achar_int64(achar_get(root, "b")), 2);
    assert_int_equal(achar_kind(achar_get(root, "c")), ACHAR_NOTHING);
    assert_true(achar_text_is(achar_pair_key(root, 1), "b"));
    assert_int_equal(achar_int64(achar_pair_value(root, 1)), 2);
    assert_int_equal(achar_kind(achar_pair_key(root, 3)), ACHAR_NOTHING);
    assert_int_equal(achar_kind(achar_item(root, 0)), ACHAR_NOTHING);
    achar_graph_free(graph);
}

static void lists_grow(void **state)
{
    enum { COUNT = 5000 };
    static char pickle[4 * COUNT + 8];
    size_t n = 0;
    pickle[n++] = ']';
    for (int i = 0; i < COUNT; i++) {
        pickle[n++] = 'M';
        pickle[n++] = (char)i;
        pickle[n++] = (char)(i >> 8);
        pickle[n++] = 'a';
    }
    pickle[n++] = '.';
    achar_graph *graph = read_bytes(pickle, n);
    assert_int_equal(achar_count(achar_root(graph)), COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(achar_int64(achar_item(achar_root(graph), (size_t)i)), i);
    achar_graph_free(graph);
}

static void cycles_and_identity(void **state)
{
    achar_graph *graph = READ("]q\x00(h\x00]]e.");
    achar_value root = achar_root(graph);
    assert_true(achar_same(achar_item(root, 0), root));
    assert_false(achar_same(achar_item(root, 1), achar_item(root, 2)));
    achar_graph_free(graph);
}

static void nothing_is_harmless(void **state)
{
    achar_value nothing = achar_nothing();
    size_t nbytes = 1;
    assert_null(achar_text(nothing, &nbytes));
    assert_int_equal(nbytes, 0);
    assert_null(achar_data(nothing, NULL));
    assert_null(achar_int_bytes(nothing, NULL));
    assert_int_equal(achar_count(nothing), 0);
    assert_int_equal(achar_kind(achar_item(achar_get(achar_callable(nothing), "x"), 3)),
                     ACHAR_NOTHING);
    assert_int_equal(achar_call_form(nothing), ACHAR_CALL_NONE);
    assert_int_equal(achar_extension_code(nothing), 0);
    assert_int_equal(achar_buffer_readonly(nothing), 0);
    assert_false(achar_global_is(nothing, "os", "system"));
    assert_string_equal(achar_kind_name(ACHAR_STR), "str");
    assert_string_equal(achar_kind_name(99), "?");
    achar_graph_free(NULL);
}

/* ---- effects ---- */

static void a_popped_call_is_in_the_log(void **state)
{
    achar_graph *graph = READ("cos\nsystem\n(S'true'\ntR0N.");
    assert_int_equal(achar_kind(achar_root(graph)), ACHAR_NONE);
    assert_int_equal(achar_effects_count(graph), 2);
    achar_effect effect;
    assert_int_equal(achar_effect_at(graph, 0, &effect), ACHAR_OK);
    assert_int_equal(effect.kind, ACHAR_EFFECT_IMPORT);
    assert_int_equal(effect.opcode, 'c');
    assert_int_equal(effect.offset, 0);
    assert_true(achar_global_is(effect.target, "os", "system"));
    assert_int_equal(achar_effect_at(graph, 1, &effect), ACHAR_OK);
    assert_int_equal(effect.kind, ACHAR_EFFECT_CALL);
    assert_int_equal(effect.opcode, 'R');
    assert_int_equal(effect.offset, 21);
    assert_int_equal(achar_call_form(effect.target), ACHAR_CALL_REDUCE);
    assert_true(achar_global_is(achar_callable(effect.target), "os", "system"));
    assert_true(achar_text_is(achar_item(achar_arguments(effect.target), 0), "true"));
    assert_int_equal(achar_effect_at(graph, 2, &effect), ACHAR_E_INVALID);
    achar_graph_free(graph);
}

static void changes_of_an_object(void **state)
{
    achar_graph *graph = READ("\x80\x02"
                              "cm\nC\n)\x81q\x00(K\x01K\x02"
                              "eK\x03K\x04s}b.");
    achar_value root = achar_root(graph);
    assert_int_equal(achar_call_form(root), ACHAR_CALL_NEWOBJ);
    size_t index;
    achar_effect effect;
    assert_int_equal(achar_first_change(graph, root, &index), ACHAR_OK);
    assert_int_equal(achar_effect_at(graph, index, &effect), ACHAR_OK);
    assert_int_equal(effect.kind, ACHAR_EFFECT_APPEND);
    assert_int_equal(effect.values_count, 2);
    assert_int_equal(achar_int64(effect.values[1]), 2);
    assert_int_equal(achar_effect_at(graph, effect.next, &effect), ACHAR_OK);
    assert_int_equal(effect.kind, ACHAR_EFFECT_SET);
    assert_int_equal(achar_effect_at(graph, effect.next, &effect), ACHAR_OK);
    assert_int_equal(effect.kind, ACHAR_EFFECT_BUILD);
    assert_int_equal(achar_kind(effect.values[0]), ACHAR_DICT);
    assert_int_equal(effect.next, ACHAR_NO_EFFECT);
    achar_graph_free(graph);
}

static void a_list_filled_after_a_call_says_so(void **state)
{
    /* f([]) and then append: the call saw an empty list */
    achar_graph *graph = READ("]q\x00"
                              "cm\nf\n(h\x00tR0K\x01"
                              "a.");
    achar_effect effect;
    assert_int_equal(achar_effects_count(graph), 3);
    assert_int_equal(achar_effect_at(graph, 2, &effect), ACHAR_OK);
    assert_int_equal(effect.kind, ACHAR_EFFECT_FILL);
    assert_true(achar_same(effect.target, achar_root(graph)));
    assert_int_equal(effect.values_count, 1);
    assert_int_equal(achar_int64(effect.values[0]), 1);
    achar_graph_free(graph);
    graph = READ("](K\x01"
                 "e0cm\nf\n.");
    assert_int_equal(achar_effects_count(graph), 1);
    achar_graph_free(graph);
}

static void extensions_persistent_ids_buffers(void **state)
{
    static const char pickle[] = "\x80\x05(\x84\x00\x00\x01\x00K\x07QPline\n\x97\x97\x98t.";
    achar_graph *graph = READ(pickle);
    achar_value root = achar_root(graph);
    assert_int_equal(achar_extension_code(achar_item(root, 0)), 65536);
    assert_int_equal(achar_int64(achar_persistent_id(achar_item(root, 1))), 7);
    assert_true(achar_text_is(achar_persistent_id(achar_item(root, 2)), "line"));
    assert_int_equal(achar_buffer_index(achar_item(root, 4)), 1);
    assert_int_equal(achar_buffer_readonly(achar_item(root, 3)), 0);
    assert_int_equal(achar_buffer_readonly(achar_item(root, 4)), 1);
    assert_null(achar_data(achar_item(root, 4), NULL));
    achar_graph_free(graph);

    achar_buffer buffers[2] = {{"abc", 3, 1}, {"de", 2, 0}};
    achar_read_options options = {.buffers = buffers, .buffers_count = 2};
    size_t nbytes;
    assert_int_equal(achar_read(pickle, sizeof pickle - 1, &options, &graph, NULL, NULL), ACHAR_OK);
    root = achar_root(graph);
    assert_int_equal(achar_buffer_readonly(achar_item(root, 3)), 1);
    assert_ptr_equal(achar_data(achar_item(root, 4), &nbytes), buffers[1].data);
    assert_int_equal(nbytes, 2);
    achar_graph_free(graph);

    options.buffers_count = 1;
    achar_error error;
    assert_int_equal(achar_read(pickle, sizeof pickle - 1, &options, &graph, NULL, &error),
                     ACHAR_E_BUFFERS);
    assert_int_equal(error.offset, 18);
    assert_int_equal(error.opcode, 0x97);
}

/* ---- the memo ---- */

static void memo_indexes(void **state)
{
    /* MEMOIZE counts keys: 5 is put first, so it comes second */
    achar_graph *graph = READ("Nq\x05X\x01\0\0\0a\x94h\x01.");
    assert_true(achar_text_is(achar_root(graph), "a"));
    achar_graph_free(graph);
    /* far apart, overwritten, and far ones that come within reach */
    graph = READ("(K\x01r\xff\xff\xff\xff\x30K\x02p4000000000\n0K\x03r\xff\xff\xff\xff"
                 "0g4000000000\nj\xff\xff\xff\xfft.");
    assert_int_equal(achar_int64(achar_item(achar_root(graph), 0)), 2);
    assert_int_equal(achar_int64(achar_item(achar_root(graph), 1)), 3);
    achar_graph_free(graph);

    static char pickle[8192];
    size_t n = 0;
    memcpy(pickle, "(K\x09r\xc8\x00\x00\x00", 8); /* 200, out of reach at first */
    n = 8;
    for (int i = 0; i < 199; i++) {
        pickle[n++] = 'K';
        pickle[n++] = (char)i;
        pickle[n++] = 'q';
        pickle[n++] = (char)i;
    }
    memcpy(pickle + n, "h\xc8K\x0aq\xc8h\xc8\x94h\xc8t.", 13);
    n += 13;
    graph = read_bytes(pickle, n);
    size_t count = achar_count(achar_root(graph));
    assert_int_equal(achar_int64(achar_item(achar_root(graph), count - 4)), 9);
    assert_int_equal(achar_int64(achar_item(achar_root(graph), count - 1)), 10);
    achar_graph_free(graph);
}

/* ---- errors ---- */

typedef struct failure {
    const char *data;
    size_t nbytes;
    int code;
    int opcode;
    uint64_t offset;
} failure;

#define FAILURE(literal, code, opcode, offset)                                                     \
    {                                                                                              \
        literal, sizeof(literal) - 1, ACHAR_##code, opcode, offset                                 \
    }

static void errors_have_code_opcode_and_offset(void **state)
{
    static const failure failures[] = {
        FAILURE("", E_TRUNCATED, -1, 0),
        FAILURE("N", E_TRUNCATED, -1, 1),
        FAILURE("NK", E_TRUNCATED, 'K', 1),
        FAILURE("N\xfe.", E_OPCODE, 0xfe, 1),
        FAILURE("\x80\x09N.", E_PROTOCOL, 0x80, 0),
        FAILURE("N0.", E_STACK, '.', 2),
        FAILURE("0.", E_STACK, '0', 0),
        FAILURE("2.", E_STACK, '2', 0),
        FAILURE("(2.", E_STACK, '2', 1),
        FAILURE("Nt.", E_STACK, 't', 1),
        FAILURE("(NNNu.", E_STACK, 'u', 4),
        FAILURE("}(NNNu.", E_STACK, 'u', 5),
        FAILURE("(o.", E_STACK, 'o', 1),
        FAILURE("q\x00.", E_STACK, 'q', 0),
        FAILURE("\x94.", E_STACK, 0x94, 0),
        FAILURE("j\x00\x00\x00\x00.", E_MEMO, 'j', 0),
        FAILURE("Np-1\n.", E_NUMBER, 'p', 1),
        FAILURE("I+\n.", E_NUMBER, 'I', 0),
        FAILURE("I\n.", E_NUMBER, 'I', 0),
        FAILURE("\x82\x00.", E_NUMBER, 0x82, 0),
        FAILURE("X\x03\0\0\0\xed\xa0 .", E_TEXT, 'X', 0),
        FAILURE("X\x02\0\0\0\xc1\x81.", E_TEXT, 'X', 0),
        FAILURE("X\x04\0\0\0\xf4\x90\x80\x80.", E_TEXT, 'X', 0),
        FAILURE("N]a.", E_TYPE, 'a', 2),
        FAILURE("NN}s.", E_TYPE, 's', 3),
        FAILURE("](N\x90.", E_TYPE, 0x90, 3),
        FAILURE("\x8b\0\0\0\x80.", E_NUMBER, 0x8b, 0),
        FAILURE("\x95\x01\0\0\0\0\0\0\0K\x01.", E_FRAME, 'K', 9),
    };
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        const failure *f = &failures[i];
        achar_error error = {0};
        achar_graph *graph;
        int status = achar_read(f->data, f->nbytes, NULL, &graph, NULL, &error);
        if (status != f->code || error.code != f->code || error.opcode != f->opcode ||
            error.offset != f->offset)
            fail_msg("case %zu: %s, opcode %d, offset %llu: %s", i, achar_status_name(status),
                     error.opcode, (unsigned long long)error.offset, error.message);
        assert_null(graph);
    }
}

static void surrogates_are_text(void **state)
{
    achar_graph *graph = READ("X\x03\0\0\0\xed\xa0\x80.");
    assert_int_equal(achar_kind(achar_root(graph)), ACHAR_STR);
    achar_graph_free(graph);
}

static void what_follows_is_not_looked_at(void **state)
{
    achar_graph *graph;
    size_t used;
    assert_int_equal(achar_read("N.\xff\xff", 4, NULL, &graph, &used, NULL), ACHAR_OK);
    assert_int_equal(used, 2);
    achar_graph_free(graph);
    assert_int_equal(achar_read(NULL, 1, NULL, &graph, NULL, NULL), ACHAR_E_INVALID);
    assert_int_equal(achar_read(NULL, 0, NULL, &graph, NULL, NULL), ACHAR_E_TRUNCATED);
}

/* ---- limits ---- */

static void limits(void **state)
{
    achar_graph *graph;
    achar_error error;
    achar_read_options options = {.max_stack_count = 3};
    assert_int_equal(achar_read("NNN\x87.", 5, &options, &graph, NULL, &error), ACHAR_OK);
    achar_graph_free(graph);
    assert_int_equal(achar_read("NNNN0.", 6, &options, &graph, NULL, &error), ACHAR_E_LIMIT);
    assert_int_equal(error.offset, 4); /* found before the next opcode */
    assert_int_equal(achar_read("((((.", 5, &options, &graph, NULL, &error), ACHAR_E_LIMIT);
    assert_int_equal(error.offset, 3);

    options = (achar_read_options){.max_memo_count = 1};
    assert_int_equal(achar_read("Nq\0q\0.", 6, &options, &graph, NULL, NULL), ACHAR_OK);
    achar_graph_free(graph);
    assert_int_equal(achar_read("Nq\0q\1.", 6, &options, &graph, NULL, &error), ACHAR_E_LIMIT);
    assert_int_equal(error.offset, 3);
    assert_int_equal(achar_read("Nq\0r\0\0\0\x7f.", 9, &options, &graph, NULL, &error),
                     ACHAR_E_LIMIT);

    options = (achar_read_options){.max_nbytes = 64 << 10};
    static char many[100000];
    memset(many, 'N', sizeof many);
    assert_int_equal(achar_read(many, sizeof many, &options, &graph, NULL, &error), ACHAR_E_LIMIT);
}

/* A fixed factor of the input, whatever it is. */
static void memory_stays_in_proportion(void **state)
{
    static const struct {
        const char *name;
        const char *unit;
        size_t unit_nbytes;
        const char *start;
    } cases[] = {
        {"None", "N", 1, ""},
        {"lists", "]", 1, ""},
        {"marks", "(", 1, ""},
        {"tuples", "\x85", 1, "N"},
        {"tuples doubled", "2\x86", 2, "N"},
        {"popped lists", "]0", 2, ""},
        {"popped calls", "2)R0", 4, "cm\nf\n"},
        {"memoized", "\x94", 1, "N"},
        {"far memo", "r\xff\xff\xff\xff", 5, "N"},
        {"imports", "c\n\n", 3, ""},
        {"builds", "Nb", 2, "N"},
        {"appends one by one", "Na", 2, "]"},
        {"appends after a call", "]a", 2, "cm\nf\n]"},
        {"calls in a list", ")RNa", 4, "cm\nf\n"},
        {"latin-1", "V\xe9\xe9\xe9\n", 5, ""},
    };
    enum { UNITS = 100000, FACTOR = 80 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t start_nbytes = strlen(cases[i].start);
        size_t nbytes = start_nbytes + cases[i].unit_nbytes * UNITS;
        char *pickle = test_malloc(nbytes);
        memcpy(pickle, cases[i].start, start_nbytes);
        for (size_t j = 0; j < UNITS; j++)
            memcpy(pickle + start_nbytes + j * cases[i].unit_nbytes, cases[i].unit,
                   cases[i].unit_nbytes);
        if (strcmp(cases[i].name, "far memo") == 0) /* each another index */
            for (size_t j = 0; j < UNITS; j++)
                memcpy(pickle + start_nbytes + j * 5 + 1, &(uint32_t){(uint32_t)(j * 40000)}, 4);
        counting c;
        counting_init(&c, 0);
        achar_read_options options = {.allocator = &c.allocator};
        achar_graph *graph;
        achar_read(pickle, nbytes, &options, &graph, NULL, NULL);
        achar_graph_free(graph);
        if (c.peak_nbytes > FACTOR * nbytes + 4096)
            fail_msg("%s: %zu bytes for %zu of input", cases[i].name, c.peak_nbytes, nbytes);
        assert_int_equal(c.now_nbytes, 0);
        test_free(pickle);
    }
}

/* Small values in their usual surroundings: 24 bytes each at most, beyond the input. */
static void small_values_are_small(void **state)
{
    enum { COUNT = 200000 };
    char *pickle = test_malloc(3 * COUNT + 16);
    size_t n = 0;
    pickle[n++] = ']';
    for (int i = 0; i < COUNT; i++) {
        if (i % 1000 == 0)
            pickle[n++] = '(';
        pickle[n++] = 'K';
        pickle[n++] = (char)i;
        if (i % 1000 == 999)
            pickle[n++] = 'e';
    }
    pickle[n++] = '.';
    counting c;
    counting_init(&c, 0);
    achar_read_options options = {.allocator = &c.allocator};
    achar_graph *graph;
    assert_int_equal(achar_read(pickle, n, &options, &graph, NULL, NULL), ACHAR_OK);
    assert_true(c.now_nbytes <= 24 * COUNT);
    achar_graph_free(graph);
    test_free(pickle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(text_points_into_the_input),
        cmocka_unit_test(text_of_protocol_0),
        cmocka_unit_test(dicts),
        cmocka_unit_test(lists_grow),
        cmocka_unit_test(cycles_and_identity),
        cmocka_unit_test(nothing_is_harmless),
        cmocka_unit_test(a_popped_call_is_in_the_log),
        cmocka_unit_test(changes_of_an_object),
        cmocka_unit_test(a_list_filled_after_a_call_says_so),
        cmocka_unit_test(extensions_persistent_ids_buffers),
        cmocka_unit_test(memo_indexes),
        cmocka_unit_test(errors_have_code_opcode_and_offset),
        cmocka_unit_test(surrogates_are_text),
        cmocka_unit_test(what_follows_is_not_looked_at),
        cmocka_unit_test(limits),
        cmocka_unit_test(memory_stays_in_proportion),
        cmocka_unit_test(small_values_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
