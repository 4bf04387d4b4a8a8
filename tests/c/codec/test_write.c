/* test_write.c - graphs built by a program, and what the writer makes of them. That Python loads
 * it is for the tests in Python; here: the bytes, the errors, the sinks. */
#include "kit.h"

#include <math.h>
#include <stdlib.h>

#include "codec/graph.h"

static void expect_bytes(achar_graph *graph, int protocol, const char *expected, size_t nbytes)
{
    achar_bytes bytes;
    achar_error error = {0};
    int status = achar_write(graph, protocol, NULL, &bytes, &error);
    if (status != ACHAR_OK)
        fail_msg("protocol %d: %s", protocol, error.message);
    assert_int_equal(bytes.nbytes, nbytes);
    assert_memory_equal(bytes.data, expected, nbytes);
    achar_bytes_free(&bytes, NULL);
    assert_null(bytes.data);
    achar_graph_free(graph);
}

#define EXPECT(graph, protocol, literal) expect_bytes(graph, protocol, literal, sizeof(literal) - 1)

static achar_graph *of(achar_value value)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_set_root(graph, value);
    return graph;
}

static void numbers(void **state)
{
    EXPECT(of(achar_make_none()), 5, "\x80\x05N.");
    EXPECT(of(achar_make_bool(1)), 1, "I01\n.");
    EXPECT(of(achar_make_bool(0)), 2, "\x80\x02\x89.");
    EXPECT(of(achar_make_int(-1)), 0, "I-1\n.");
    EXPECT(of(achar_make_int(INT64_MIN)), 0, "L-9223372036854775808L\n.");
    EXPECT(of(achar_make_int(255)), 2, "\x80\x02K\xff.");
    EXPECT(of(achar_make_int(256)), 2, "\x80\x02M\x00\x01.");
    EXPECT(of(achar_make_int(-1)), 2, "\x80\x02J\xff\xff\xff\xff.");
    EXPECT(of(achar_make_int(0x80000000)), 2, "\x80\x02\x8a\x05\x00\x00\x00\x80\x00.");
    EXPECT(of(achar_make_float(0.1)), 0, "F0.1\n.");
    EXPECT(of(achar_make_float(1e22)), 0, "F1e+22\n.");
    EXPECT(of(achar_make_float(-INFINITY)), 0, "F-inf\n.");
    EXPECT(of(achar_make_float(1.5)), 1, "G?\xf8\0\0\0\0\0\0.");
}

static void big_integers(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_int_decimal(graph, "-9223372036854775809"));
    EXPECT(graph, 2, "\x80\x02\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\xff.");
    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_int_decimal(graph, "0000000000000000000000000000000012"));
    EXPECT(graph, 2, "\x80\x02K\x0c.");
    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_int_bytes(graph, "\0\0\0\0\0\0\0\0\0\0\x01\0\0", 13));
    EXPECT(graph, 1, "L1208925819614629174706176L\n.");
}

static void text(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_str(graph, "caf\xc3\xa9\n\xe2\x82\xac"));
    EXPECT(graph, 0, "Vcaf\xe9\\u000a\\u20ac\n.");
    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_text(graph, "a\0b", 3));
    EXPECT(graph, 4,
           "\x80\x04\x95\x06\0\0\0\0\0\0\0\x8c\x03"
           "a\0b.");
    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_bytes(graph, "\0\xff", 2));
    EXPECT(graph, 2,
           "\x80\x02"
           "c_codecs\nencode\nq\0X\x03\0\0\0\0\xc3\xbfX\x06\0\0\0latin1q\x01\x86R.");
    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_bytearray(graph, "", 0));
    EXPECT(graph, 4,
           "\x80\x04\x95\x17\0\0\0\0\0\0\0"
           "cbuiltins\nbytearray\n)R.");
}

static void containers(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_value list = achar_make_list(graph);
    achar_append(graph, list, achar_make_int(1));
    achar_append(graph, list, list);
    achar_set_root(graph, list);
    EXPECT(graph, 2, "\x80\x02]q\0(K\x01h\0e.");

    graph = achar_graph_new(NULL);
    achar_value dict = achar_make_dict(graph);
    achar_put(graph, dict, "k", achar_make_none());
    achar_set(graph, dict, achar_make_int(1), achar_make_dict(graph));
    achar_set_root(graph, dict);
    EXPECT(graph, 0, "(dVk\nNsI1\n(ds.");

    graph = achar_graph_new(NULL);
    achar_value items[3] = {achar_make_int(1), achar_make_int(2), achar_make_set(graph)};
    achar_add(graph, items[2], achar_make_int(3));
    achar_set_root(graph, achar_make_tuple(graph, items, 3));
    EXPECT(graph, 4, "\x80\x04\x95\x0b\0\0\0\0\0\0\0K\x01K\x02\x8f(K\x03\x90\x87.");

    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_frozenset(graph, NULL, 0));
    EXPECT(graph, 2,
           "\x80\x02"
           "c__builtin__\nfrozenset\n(l\x85R.");
}

static void a_value_in_two_places_is_one(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_value shared = achar_make_str(graph, "s");
    achar_value alone = achar_make_str(graph, "s");
    achar_value items[4] = {shared, alone, shared, achar_make_none()};
    achar_set_root(graph, achar_make_tuple(graph, items, 4));
    EXPECT(graph, 1, "(X\x01\0\0\0sq\0X\x01\0\0\0sh\0Nt.");
}

static void objects(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_value type = achar_make_global(graph, "collections", "OrderedDict");
    achar_value made = achar_make_call(graph, ACHAR_CALL_REDUCE, type,
                                       achar_make_tuple(graph, NULL, 0), achar_nothing());
    achar_set(graph, made, achar_make_int(1), achar_make_int(2));
    achar_build(graph, made, achar_make_none());
    achar_set_root(graph, made);
    EXPECT(graph, 2,
           "\x80\x02"
           "ccollections\nOrderedDict\n)RK\x01K\x02sNb.");

    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_global(graph, "builtins", "range"));
    EXPECT(graph, 2,
           "\x80\x02"
           "c__builtin__\nxrange\n.");

    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_global(graph, "m", "A.B"));
    EXPECT(graph, 3,
           "\x80\x03"
           "cbuiltins\ngetattr\ncm\nA\nX\x01\0\0\0B\x86R.");

    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_persistent(graph, achar_make_int(7)));
    EXPECT(graph, 1, "K\x07Q.");

    graph = achar_graph_new(NULL);
    achar_set_root(graph, achar_make_extension(graph, 300));
    EXPECT(graph, 2, "\x80\x02\x83\x2c\x01.");

    graph = achar_graph_new(NULL);
    achar_value buffers[2] = {achar_make_buffer(graph, 0), achar_make_buffer(graph, 1)};
    assert_int_equal(achar_buffer_index(buffers[1]), 1);
    achar_set_root(graph, achar_make_tuple(graph, buffers, 2));
    EXPECT(graph, 5, "\x80\x05\x95\x05\0\0\0\0\0\0\0\x97\x97\x98\x86.");
}

/* f(list) and then list.append(1): the call must see the list as it was. */
static void a_call_sees_its_arguments_as_they_were(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_value list = achar_make_list(graph);
    achar_value f = achar_make_global(graph, "m", "f");
    achar_value call = achar_make_call(graph, ACHAR_CALL_REDUCE, f,
                                       achar_make_tuple(graph, &list, 1), achar_nothing());
    achar_append(graph, list, achar_make_int(1));
    achar_set_root(graph, call);
    EXPECT(graph, 2,
           "\x80\x02"
           "cm\nf\n]q\0\x85Rh\0K\x01"
           "a0.");
}

static void a_discarded_call_is_written(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_make_call(graph, ACHAR_CALL_REDUCE, achar_make_global(graph, "m", "f"),
                    achar_make_tuple(graph, NULL, 0), achar_nothing());
    achar_set_root(graph, achar_make_none());
    EXPECT(graph, 2,
           "\x80\x02N"
           "cm\nf\nq\0"
           "0h\0)Rq\1"
           "0.");
}

/* ---- reading, changing, writing ---- */

static void a_read_graph_can_be_changed(void **state)
{
    achar_graph *graph = READ("](K\x01K\x02"
                              "e.");
    achar_append(graph, achar_root(graph), achar_root(graph));
    EXPECT(graph, 2, "\x80\x02]q\0(K\x01K\x02h\0e.");
}

/* Writes a graph the quick way, if it is in order, and the long way, once that is no longer known. */
static void expect_order(bool in_order, const char *data, size_t nbytes)
{
    achar_graph *graph;
    achar_bytes quick, slow;
    assert_int_equal(achar_read(data, nbytes, NULL, &graph, NULL, NULL), ACHAR_OK);
    assert_int_equal(graph->in_order, in_order);
    assert_int_equal(achar_write(graph, 5, NULL, &quick, NULL), ACHAR_OK);
    achar_make_bytes(graph, NULL, 0);
    assert_false(graph->in_order);
    assert_int_equal(achar_write(graph, 5, NULL, &slow, NULL), ACHAR_OK);
    assert_int_equal(quick.nbytes, slow.nbytes);
    assert_memory_equal(quick.data, slow.data, slow.nbytes);
    achar_bytes_free(&quick, NULL);
    achar_bytes_free(&slow, NULL);
    achar_graph_free(graph);
}

#define EXPECT_ORDER(in_order, literal) expect_order(in_order, literal, sizeof(literal) - 1)

static void order_is_seen(void **state)
{
    EXPECT_ORDER(true, "](NNe.");
    /* calls in lists in dicts, an import that comes again, states, items of objects */
    EXPECT_ORDER(true, "}(K\x01](cm\nf\nq\x00K\x02\x85R}K\x03h\x00)R"
                       "sb"
                       "h\x00)\x81"
                       "K\x04"
                       "aeK\x05\x8f(h\x00K\x06\x90u.");
    EXPECT_ORDER(true, "]Na(cm\nf\n)RK\x02"
                       "ecm\nf\n)Ra.");
    EXPECT_ORDER(true, "](cm\nf\n)Rp1\n(g1\ng1\ntp2\ng2\ne.");
    /* a call thrown away, on purpose or at the end; filled after it was seen; changed then */
    EXPECT_ORDER(false, "cm\nf\n)R0N.");
    EXPECT_ORDER(false, "cm\nf\n)RN.");
    EXPECT_ORDER(false, "(]p1\ncm\nf\ng1\n\x85Rg1\nNat.");
    EXPECT_ORDER(false, "(cm\nf\n)Rq\x00h\x00Nbt.");
}

static void python2_names_are_translated(void **state)
{
    EXPECT(READ("c__builtin__\nxrange\n."), 3,
           "\x80\x03"
           "cbuiltins\nrange\n.");
    EXPECT(READ("cfuture_builtins\nmap\n."), 0, "cfuture_builtins\nmap\n.");
    achar_graph *graph = READ("c__builtin__\nxrange\n.");
    achar_write_options options = {.keep_names = 1};
    achar_bytes bytes;
    assert_int_equal(achar_write(graph, 3, &options, &bytes, NULL), ACHAR_OK);
    assert_memory_equal(bytes.data + 2, "c__builtin__\nxrange\n.", 21);
    achar_bytes_free(&bytes, NULL);
    achar_graph_free(graph);
}

/* ---- errors ---- */

static int built_status(void (*build)(achar_graph *graph))
{
    achar_graph *graph = achar_graph_new(NULL);
    build(graph);
    int status = achar_graph_status(graph);
    achar_bytes bytes;
    achar_set_root(graph, achar_make_none());
    assert_int_equal(achar_write(graph, 2, NULL, &bytes, NULL), status);
    assert_int_equal(achar_kind(achar_make_list(graph)), ACHAR_NOTHING); /* it sticks */
    achar_graph_free(graph);
    return status;
}

static void append_to_a_dict(achar_graph *graph)
{
    achar_append(graph, achar_make_dict(graph), achar_make_none());
}

static void append_nothing(achar_graph *graph)
{
    achar_append(graph, achar_make_list(graph), achar_nothing());
}

static void bad_text(achar_graph *graph)
{
    achar_make_str(graph, "\xff");
}

static void bad_decimal(achar_graph *graph)
{
    achar_make_int_decimal(graph, "12x");
}

static void bad_code(achar_graph *graph)
{
    achar_make_extension(graph, 0);
}

static void call_of_a_list(achar_graph *graph)
{
    achar_make_call(graph, ACHAR_CALL_REDUCE, achar_make_list(graph),
                    achar_make_tuple(graph, NULL, 0), achar_nothing());
}

static void call_without_a_tuple(achar_graph *graph)
{
    achar_make_call(graph, ACHAR_CALL_REDUCE, achar_make_global(graph, "m", "f"),
                    achar_make_list(graph), achar_nothing());
}

static void call_of_no_form(achar_graph *graph)
{
    achar_make_call(graph, 77, achar_make_global(graph, "m", "f"), achar_make_tuple(graph, NULL, 0),
                    achar_nothing());
}

/* Each import's names are those of the PROTO before it, or Python 3's if a program made it. */
static void names_belong_to_the_import(void **state)
{
    EXPECT(READ("(c__builtin__\nlen\n\x80\x04"
                "c__builtin__\nlen\nl."),
           3, "\x80\x03](cbuiltins\nlen\nc__builtin__\nlen\ne.");
    achar_graph *graph = READ("\x80\x02]c__builtin__\nlen\na.");
    achar_append(graph, achar_root(graph), achar_make_global(graph, "dbm", "open"));
    EXPECT(graph, 3, "\x80\x03]cbuiltins\nlen\nacdbm\nopen\na.");
}

static void errors_stick(void **state)
{
    assert_int_equal(built_status(append_to_a_dict), ACHAR_E_TYPE);
    assert_int_equal(built_status(append_nothing), ACHAR_E_INVALID);
    assert_int_equal(built_status(bad_text), ACHAR_E_TEXT);
    assert_int_equal(built_status(bad_decimal), ACHAR_E_NUMBER);
    assert_int_equal(built_status(bad_code), ACHAR_E_NUMBER);
    assert_int_equal(built_status(call_of_a_list), ACHAR_E_TYPE);
    assert_int_equal(built_status(call_without_a_tuple), ACHAR_E_TYPE);
    assert_int_equal(built_status(call_of_no_form), ACHAR_E_INVALID);
    achar_append(NULL, achar_make_none(), achar_make_none());
    assert_int_equal(achar_graph_status(NULL), ACHAR_E_NOMEM);
}

static void what_cannot_be_written(void **state)
{
    achar_bytes bytes;
    achar_error error;
    achar_graph *graph = achar_graph_new(NULL);
    assert_int_equal(achar_write(graph, 2, NULL, &bytes, &error), ACHAR_E_INVALID);
    assert_null(bytes.data);
    achar_set_root(graph, achar_make_buffer(graph, 0));
    assert_int_equal(achar_write(graph, 6, NULL, &bytes, &error), ACHAR_E_INVALID);
    assert_int_equal(achar_write(graph, 4, NULL, &bytes, &error), ACHAR_E_UNSUPPORTED);
    assert_string_equal(error.message, "protocol 4 cannot say: an out-of-band buffer");
    achar_graph_free(graph);

    /* a set within itself, by way of an object */
    graph = achar_graph_new(NULL);
    achar_value set = achar_make_set(graph);
    achar_value member =
        achar_make_call(graph, ACHAR_CALL_NEWOBJ, achar_make_global(graph, "m", "C"),
                        achar_make_tuple(graph, NULL, 0), achar_nothing());
    achar_build(graph, member, set);
    achar_add(graph, set, member);
    achar_set_root(graph, set);
    assert_int_equal(achar_write(graph, 3, NULL, &bytes, &error), ACHAR_E_UNSUPPORTED);
    assert_int_equal(achar_write(graph, 4, NULL, &bytes, &error), ACHAR_OK);
    achar_bytes_free(&bytes, NULL);
    achar_graph_free(graph);
}

/* ---- sinks ---- */

static void a_sink_gets_the_same_bytes(void **state)
{
    achar_graph *graph = achar_graph_new(NULL);
    achar_value list = achar_make_list(graph);
    static char long_text[100000];
    memset(long_text, 'x', sizeof long_text);
    for (int i = 0; i < 30000; i++)
        achar_append(graph, list, achar_make_int(i * 3));
    achar_append(graph, list, achar_borrow_text(graph, long_text, sizeof long_text));
    achar_append(graph, list, achar_borrow_bytes(graph, long_text, sizeof long_text));
    for (int i = 0; i < 30000; i++)
        achar_append(graph, list, achar_make_float(i));
    achar_set_root(graph, list);
    for (int protocol = 0; protocol <= 5; protocol++) {
        achar_bytes bytes;
        kept output;
        kept_init(&output);
        assert_int_equal(achar_write(graph, protocol, NULL, &bytes, NULL), ACHAR_OK);
        assert_int_equal(achar_write_to(graph, protocol, NULL, &output.sink, NULL), ACHAR_OK);
        assert_int_equal(output.nbytes, bytes.nbytes);
        assert_memory_equal(output.text, bytes.data, bytes.nbytes);
        kept_free(&output);
        output.fail_after = 70000;
        assert_int_equal(achar_write_to(graph, protocol, NULL, &output.sink, NULL), ACHAR_E_IO);
        kept_free(&output);
        achar_bytes_free(&bytes, NULL);
    }
    achar_graph_free(graph);
}

/* ---- depth ---- */

static void depth_is_no_recursion(void **state)
{
    enum { DEPTH = 200000 };
    achar_graph *graph = achar_graph_new(NULL);
    achar_value value = achar_make_none();
    for (int i = 0; i < DEPTH; i++) {
        achar_value outer;
        if (i % 2 == 0) {
            outer = achar_make_list(graph);
            achar_append(graph, outer, value);
        } else {
            outer = achar_make_tuple(graph, &value, 1);
        }
        value = outer;
    }
    achar_set_root(graph, value);
    achar_bytes bytes;
    assert_int_equal(achar_write(graph, 4, NULL, &bytes, NULL), ACHAR_OK);
    achar_graph_free(graph);
    graph = read_bytes((const char *)bytes.data, bytes.nbytes);
    kept output;
    kept_init(&output);
    assert_int_equal(achar_json(graph, NULL, &output.sink, NULL), ACHAR_OK);
    kept_free(&output);
    achar_graph_free(graph);
    achar_bytes_free(&bytes, NULL);
}

/* Hands out what 'left_nbytes' has. */
typedef struct budget {
    achar_allocator allocator;
    size_t left_nbytes;
} budget;

static void *spend(void *opaque, void *block, size_t old_nbytes, size_t new_nbytes)
{
    budget *b = opaque;
    if (new_nbytes > b->left_nbytes + old_nbytes)
        return NULL;
    b->left_nbytes += old_nbytes - new_nbytes;
    if (new_nbytes != 0)
        return realloc(block, new_nbytes);
    free(block);
    return NULL;
}

static void memory_is_for_what_is_written(void **state)
{
    enum { INPUT_NBYTES = 1 << 20, ALL_NBYTES = 100 << 10, LITTLE_NBYTES = 8 << 10 };
    static char data[INPUT_NBYTES];
    budget b = {{spend, &b}, ALL_NBYTES};
    achar_write_options options = {.allocator = &b.allocator};
    achar_bytes bytes;
    /* Nothing is left of most of it, so the guess of its size is wrong; and there is no memory for
     * the guess… */
    for (size_t i = 0; i < sizeof data; i += 2)
        memcpy(data + i, "N0", 2);
    memcpy(data + sizeof data - 2, "N.", 2);
    achar_graph *graph = read_bytes(data, sizeof data);
    assert_int_equal(achar_write(graph, 4, &options, &bytes, NULL), ACHAR_OK);
    assert_int_equal(bytes.nbytes, 4);
    assert_true(bytes.capacity_nbytes < LITTLE_NBYTES);
    achar_bytes_free(&bytes, &b.allocator);
    assert_int_equal(b.left_nbytes, ALL_NBYTES);
    /* …or there is, but it is not kept. */
    assert_int_equal(achar_write(graph, 4, NULL, &bytes, NULL), ACHAR_OK);
    assert_true(bytes.capacity_nbytes < LITTLE_NBYTES);
    achar_bytes_free(&bytes, NULL);
    achar_graph_free(graph);

    /* A part as the root: nothing is known of its size. */
    data[0] = '(';
    memset(data + 1, ']', sizeof data - 3);
    memcpy(data + sizeof data - 2, "l.", 2);
    graph = read_bytes(data, sizeof data);
    achar_set_root(graph, achar_item(achar_root(graph), 0));
    counting c;
    counting_init(&c, 0);
    options.allocator = &c.allocator;
    assert_int_equal(achar_write(graph, 4, &options, &bytes, NULL), ACHAR_OK);
    assert_true(c.peak_nbytes < LITTLE_NBYTES);
    achar_bytes_free(&bytes, &c.allocator);
    achar_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(memory_is_for_what_is_written),
        cmocka_unit_test(big_integers),
        cmocka_unit_test(text),
        cmocka_unit_test(containers),
        cmocka_unit_test(a_value_in_two_places_is_one),
        cmocka_unit_test(objects),
        cmocka_unit_test(a_call_sees_its_arguments_as_they_were),
        cmocka_unit_test(a_discarded_call_is_written),
        cmocka_unit_test(a_read_graph_can_be_changed),
        cmocka_unit_test(order_is_seen),
        cmocka_unit_test(python2_names_are_translated),
        cmocka_unit_test(names_belong_to_the_import),
        cmocka_unit_test(errors_stick),
        cmocka_unit_test(what_cannot_be_written),
        cmocka_unit_test(a_sink_gets_the_same_bytes),
        cmocka_unit_test(depth_is_no_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
