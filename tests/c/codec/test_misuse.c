/* test_misuse.c - public functions of the codec with what is not there: NULL, ACHAR_NOTHING, numbers out
 * of range. Each answers as value.h says, none crashes. */
#include "kit.h"

#include <stdlib.h>

#include <achar/arrays.h>
#include <achar/shapes.h>

static int kind_of(achar_value value)
{
    return achar_kind(value);
}

/* Every accessor, on one value. 'fits' is whether anything may be found in it. */
static void accessors(achar_value value, bool fits)
{
    size_t nbytes = 1;
    const void *found[] = {achar_text(value, NULL), achar_data(value, NULL),
                           achar_int_bytes(value, NULL), achar_text(value, &nbytes)};
    const achar_value parts[] = {achar_item(value, SIZE_MAX), achar_pair_key(value, SIZE_MAX),
                                 achar_pair_value(value, SIZE_MAX), achar_get(value, NULL),
                                 achar_get(value, "no such key")};
    const achar_value made[] = {achar_module(value),   achar_name(value),
                                achar_callable(value), achar_arguments(value),
                                achar_keywords(value), achar_persistent_id(value)};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        assert_int_equal(kind_of(parts[i]), ACHAR_NOTHING);
    assert_false(achar_text_is(value, NULL));
    assert_false(achar_global_is(value, NULL, NULL));
    assert_false(achar_global_is(value, "m", NULL));
    if (fits)
        return;
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        assert_null(found[i]);
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        assert_int_equal(kind_of(made[i]), ACHAR_NOTHING);
    assert_int_equal(nbytes, 0);
    assert_int_equal(achar_bool(value), 0);
    assert_int_equal(achar_int64(value), 0);
    assert_true(achar_float(value) == 0);
    assert_int_equal(achar_count(value), 0);
    assert_int_equal(achar_call_form(value), ACHAR_CALL_NONE);
    assert_int_equal(achar_extension_code(value), 0);
    assert_int_equal(achar_buffer_index(value), 0);
    assert_int_equal(achar_buffer_readonly(value), 0);
    assert_int_equal(achar_effect_of(value), ACHAR_NO_EFFECT);
}

static void values_of_every_kind(void **state)
{
    /* each kind, ACHAR_NOTHING first */
    achar_graph *graph =
        READ("\x80\x05(N\x88K\1G?\xf0\0\0\0\0\0\0\x8a\x09\0\0\0\0\0\0\0\0\1X\1\0\0\0a"
             "C\1a\x96\1\0\0\0\0\0\0\0aK\1\x85(\x91]}\x8f"
             "cm\nf\ncm\nf\n)R\x82\1NQ\x97\x97\x98t.");
    accessors(achar_nothing(), false);
    achar_value root = achar_root(graph);
    bool seen[ACHAR_BUFFER + 1] = {true};
    for (size_t i = 0; i < achar_count(root); i++) {
        accessors(achar_item(root, i), true);
        seen[achar_kind(achar_item(root, i))] = true;
    }
    for (int kind = 0; kind <= ACHAR_BUFFER; kind++)
        if (!seen[kind])
            fail_msg("no %s", achar_kind_name(kind));
    achar_graph_free(graph);
}

static void no_graph(void **state)
{
    achar_effect effect = {.values_count = 1};
    achar_bytes bytes = {.nbytes = 1};
    achar_error error;
    size_t index = 1;
    assert_int_equal(kind_of(achar_root(NULL)), ACHAR_NOTHING);
    assert_int_equal(achar_protocol(NULL), -1);
    assert_int_equal(achar_effects_count(NULL), 0);
    assert_int_equal(achar_effect_at(NULL, 0, &effect), ACHAR_E_INVALID);
    assert_int_equal(effect.values_count, 0);
    assert_int_equal(achar_first_change(NULL, achar_nothing(), &index), ACHAR_E_INVALID);
    assert_int_equal(index, ACHAR_NO_EFFECT);
    assert_int_equal(achar_graph_status(NULL), ACHAR_E_NOMEM);
    assert_int_equal(achar_write(NULL, 4, NULL, &bytes, &error), ACHAR_E_NOMEM);
    assert_null(bytes.data);
    assert_int_equal(bytes.nbytes, 0);
    assert_int_equal(error.code, ACHAR_E_NOMEM);
    assert_int_equal(achar_write_to(NULL, 4, NULL, &nowhere, NULL), ACHAR_E_NOMEM);
    assert_int_equal(achar_json(NULL, NULL, &nowhere, &error), ACHAR_E_INVALID);
    assert_int_equal(error.code, ACHAR_E_INVALID);
    assert_int_equal(achar_shape(NULL, achar_nothing()), ACHAR_SHAPE_NONE);
    achar_graph_free(NULL);
    achar_bytes_free(NULL, NULL);
}

/* Values made without a graph are nothing, and nothing is put into none. */
static void building_without_a_graph(void **state)
{
    const size_t shape[1] = {1};
    const achar_date date = {2024, 1, 1};
    const achar_value made[] = {
        achar_make_int_bytes(NULL, "\1\2\3\4\5\6\7\1\2", 9),
        achar_make_int_decimal(NULL, "100000000000000000000"),
        achar_make_str(NULL, "a"),
        achar_make_text(NULL, "a", 1),
        achar_make_bytes(NULL, "a", 1),
        achar_make_bytearray(NULL, "a", 1),
        achar_borrow_text(NULL, "a", 1),
        achar_borrow_bytes(NULL, "a", 1),
        achar_make_list(NULL),
        achar_make_dict(NULL),
        achar_make_set(NULL),
        achar_make_frozenset(NULL, NULL, 0),
        achar_make_global(NULL, "m", "f"),
        achar_make_call(NULL, ACHAR_CALL_REDUCE, achar_nothing(), achar_nothing(), achar_nothing()),
        achar_make_extension(NULL, 1),
        achar_make_persistent(NULL, achar_make_none()),
        achar_make_buffer(NULL, 0),
        achar_make_date(NULL, &date),
        achar_make_date(NULL, NULL),
        achar_make_timezone(NULL, 0, NULL),
        achar_make_zoneinfo(NULL, NULL),
        achar_make_decimal(NULL, "1"),
        achar_make_decimal(NULL, NULL),
        achar_make_fraction(NULL, achar_nothing(), achar_nothing()),
        achar_make_complex(NULL, 1, 1),
        achar_make_range(NULL, 1, 2, 3),
        achar_make_uuid(NULL, NULL),
        achar_make_path(NULL, NULL),
        achar_make_member(NULL, NULL, NULL, achar_nothing()),
        achar_make_deque(NULL, 1),
        achar_make_ordered_dict(NULL),
        achar_make_default_dict(NULL, achar_nothing()),
        achar_make_counter(NULL),
        achar_make_ndarray(NULL, "<f8", shape, 1, 0, achar_nothing()),
        achar_make_scalar(NULL, "<f8", "12345678"),
        achar_make_array(NULL, 'd', "12345678", 1)};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (kind_of(made[i]) != ACHAR_NOTHING)
            fail_msg("%zu: %s", i, achar_kind_name(kind_of(made[i])));
    achar_value none = achar_make_none();
    achar_set_root(NULL, none);
    achar_append(NULL, none, none);
    achar_set(NULL, none, none, none);
    achar_put(NULL, none, NULL, none);
    achar_add(NULL, none, none);
    achar_build(NULL, none, none);
}

/* What is missing is the graph's first error, and what comes of it nothing. */
static void building_from_nothing(void **state)
{
    static const achar_allocator default_allocator;
#define STICKS(status, call)                                                                       \
    do {                                                                                           \
        achar_graph *graph = achar_graph_new(&default_allocator);                                  \
        achar_value dict = achar_make_dict(graph), nothing = achar_nothing();                      \
        (void)dict, (void)nothing;                                                                 \
        call;                                                                                      \
        assert_int_equal(achar_graph_status(graph), status);                                       \
        achar_graph_free(graph);                                                                   \
    } while (0)
    STICKS(ACHAR_E_INVALID, achar_make_int_bytes(graph, NULL, 1));
    STICKS(ACHAR_OK, achar_make_int_bytes(graph, NULL, 0));
    STICKS(ACHAR_E_NUMBER, achar_make_int_decimal(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_str(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_text(graph, NULL, 1));
    STICKS(ACHAR_OK, achar_make_text(graph, NULL, 0));
    STICKS(ACHAR_E_INVALID, achar_make_bytes(graph, NULL, 1));
    STICKS(ACHAR_OK, achar_make_bytes(graph, NULL, 0));
    STICKS(ACHAR_E_INVALID, achar_make_bytearray(graph, NULL, 1));
    STICKS(ACHAR_E_INVALID, achar_borrow_text(graph, NULL, 1));
    STICKS(ACHAR_E_INVALID, achar_borrow_bytes(graph, NULL, 1));
    STICKS(ACHAR_E_INVALID, achar_make_tuple(graph, NULL, 1));
    STICKS(ACHAR_E_INVALID, achar_make_tuple(graph, &nothing, 1));
    STICKS(ACHAR_E_INVALID, achar_make_frozenset(graph, NULL, 1));
    STICKS(ACHAR_E_INVALID, achar_append(graph, nothing, dict));
    STICKS(ACHAR_E_INVALID, achar_append(graph, achar_make_list(graph), nothing));
    STICKS(ACHAR_E_INVALID, achar_set(graph, dict, nothing, dict));
    STICKS(ACHAR_E_INVALID, achar_put(graph, dict, NULL, dict));
    STICKS(ACHAR_E_INVALID, achar_add(graph, achar_make_set(graph), nothing));
    STICKS(ACHAR_E_INVALID, achar_build(graph, nothing, dict));
    STICKS(ACHAR_E_INVALID, achar_set_root(graph, nothing));
    STICKS(ACHAR_E_INVALID, achar_make_global(graph, NULL, "f"));
    STICKS(ACHAR_E_INVALID, achar_make_persistent(graph, nothing));
    STICKS(ACHAR_E_INVALID, achar_make_date(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_time(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_datetime(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_timedelta(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_decimal(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_path(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_uuid(graph, NULL));
    STICKS(ACHAR_E_INVALID, achar_make_member(graph, "m", NULL, dict));
    STICKS(ACHAR_E_TEXT, achar_make_ndarray(graph, NULL, NULL, 0, 0, dict));
    STICKS(ACHAR_E_NUMBER,
           achar_make_ndarray(graph, "<f8", NULL, 1, 0, achar_make_bytes(graph, "12345678", 8)));
    STICKS(ACHAR_E_INVALID, achar_make_scalar(graph, "<f8", NULL));
    STICKS(ACHAR_E_INVALID, achar_make_array(graph, 'd', NULL, 1));
    STICKS(ACHAR_OK, achar_make_array(graph, 'd', NULL, 0));
#undef STICKS
}

static void no_place_for_results(void **state)
{
    achar_graph *graph = READ("cm\nf\n.");
    achar_error error = {0};
    assert_int_equal(achar_read("N.", 2, NULL, NULL, NULL, &error), ACHAR_E_INVALID);
    assert_int_equal(error.code, ACHAR_E_INVALID);
    assert_int_equal(achar_write(graph, 4, NULL, NULL, NULL), ACHAR_E_INVALID);
    assert_int_equal(achar_int_decimal(achar_make_int(1), NULL, NULL), ACHAR_E_INVALID);
    assert_int_equal(achar_effect_at(graph, 0, NULL), ACHAR_E_INVALID);
    assert_int_equal(achar_first_change(graph, achar_root(graph), NULL), ACHAR_E_INVALID);
    achar_graph_free(graph);
}

static void no_sink(void **state)
{
    static const achar_sink unset;
    achar_graph *graph = READ("N.");
    achar_disassembler *dis = achar_disassembler_new(NULL);
    const achar_sink *const sinks[] = {NULL, &unset};
    for (int i = 0; i < 2; i++) {
        size_t used_nbytes = 1;
        assert_int_equal(achar_write_to(graph, 4, NULL, sinks[i], NULL), ACHAR_E_INVALID);
        assert_int_equal(achar_json(graph, NULL, sinks[i], NULL), ACHAR_E_INVALID);
        assert_int_equal(achar_trace("N.", 2, NULL, sinks[i], NULL, NULL), ACHAR_E_INVALID);
        assert_int_equal(achar_disassemble(dis, "N.", 2, 0, sinks[i], &used_nbytes, NULL),
                         ACHAR_E_INVALID);
        assert_int_equal(used_nbytes, 0);
    }
    achar_disassembler_free(dis);
    achar_graph_free(graph);
}

static void no_reader_and_no_disassembler(void **state)
{
    achar_graph *graph = (achar_graph *)1;
    achar_reader *reader = (achar_reader *)1;
    achar_error error = {0};
    assert_int_equal(achar_reader_next(NULL, &graph, &error), ACHAR_E_INVALID);
    assert_null(graph);
    assert_int_equal(error.code, ACHAR_E_INVALID);
    assert_int_equal(achar_reader_offset(NULL), 0);
    achar_reader_close(NULL);
    assert_int_equal(achar_reader_open_file(NULL, NULL, &reader), ACHAR_E_INVALID);
    assert_null(reader);
    assert_int_equal(achar_reader_open_memory(NULL, 1, NULL, &reader), ACHAR_E_INVALID);
    assert_int_equal(achar_reader_open_memory("N.", 2, NULL, NULL), ACHAR_E_INVALID);
    assert_int_equal(achar_reader_open_fd(0, NULL, NULL), ACHAR_E_INVALID);
    assert_int_equal(achar_reader_open_memory(NULL, 0, NULL, &reader), ACHAR_OK);
    assert_int_equal(achar_reader_next(reader, NULL, NULL), ACHAR_E_INVALID);
    assert_int_equal(achar_reader_next(reader, &graph, NULL), ACHAR_OK);
    assert_null(graph);
    achar_reader_close(reader);
    /* a descriptor that is none is an error where it is read from */
    assert_int_equal(achar_reader_open_fd(-1, NULL, &reader), ACHAR_OK);
    assert_int_equal(achar_reader_next(reader, &graph, NULL), ACHAR_E_IO);
    achar_reader_close(reader);

    assert_int_equal(achar_disassemble(NULL, "N.", 2, 0, &nowhere, NULL, &error), ACHAR_E_INVALID);
    achar_disassembler_free(NULL);
    achar_disassembler *dis = achar_disassembler_new(NULL);
    assert_int_equal(achar_disassemble(dis, NULL, 1, 0, &nowhere, NULL, &error), ACHAR_E_INVALID);
    assert_int_equal(achar_disassemble(dis, NULL, 0, 0, &nowhere, NULL, &error), ACHAR_E_TRUNCATED);
    achar_disassembler_free(dis);
}

static void numbers_out_of_range(void **state)
{
    achar_graph *graph;
    achar_bytes bytes;
    achar_error error;
    for (int encoding = -1; encoding <= 4; encoding += 5) {
        achar_read_options options = {.encoding = encoding};
        achar_trace_options trace = {.encoding = encoding};
        assert_int_equal(achar_read("N.", 2, &options, &graph, NULL, &error), ACHAR_E_INVALID);
        assert_null(graph);
        assert_int_equal(achar_trace("N.", 2, &trace, &nowhere, NULL, NULL), ACHAR_E_INVALID);
    }
    graph = READ("N.");
    for (int protocol = -1; protocol <= 6; protocol += 7)
        assert_int_equal(achar_write(graph, protocol, NULL, &bytes, NULL), ACHAR_E_INVALID);
    achar_graph_free(graph);
    const int none[] = {-1, 99, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_string_equal(achar_kind_name(none[i]), "?");
        assert_string_equal(achar_shape_name(none[i]), "?");
        assert_string_equal(achar_status_name(none[i] == -1 ? -1000 : none[i]), "?");
        assert_non_null(achar_status_message(none[i]));
    }
}

/* A value of the wrong kind, and none, in the place of each shape. */
static void no_shape(void **state)
{
    achar_graph *graph = READ("N.");
    union {
        achar_date date;
        achar_time time;
        achar_datetime datetime;
        achar_timedelta timedelta;
        achar_timezone timezone;
        achar_decimal decimal;
        achar_fraction fraction;
        achar_complex complex;
        achar_range range;
        achar_uuid uuid;
        achar_path path;
        achar_member member;
        achar_items items;
        achar_dtype dtype;
        achar_ndarray ndarray;
        achar_scalar scalar;
        achar_array array;
    } as;
    achar_graph *const graphs[] = {graph, NULL};
    const achar_value values[] = {achar_root(graph), achar_nothing()};
    for (int i = 0; i < 4; i++) {
        achar_graph *g = graphs[i / 2];
        achar_value value = values[i % 2];
#define NONE(name)                                                                                 \
    do {                                                                                           \
        int status = achar_as_##name(g, value, &as.name, NULL);                                    \
        assert_true(status == ACHAR_E_TYPE || (g == NULL && status == ACHAR_E_INVALID));           \
    } while (0)
        NONE(date);
        NONE(time);
        NONE(datetime);
        NONE(timedelta);
        NONE(timezone);
        NONE(decimal);
        NONE(fraction);
        NONE(complex);
        NONE(range);
        NONE(uuid);
        NONE(path);
        NONE(member);
        NONE(items);
        NONE(dtype);
        NONE(ndarray);
        NONE(scalar);
        NONE(array);
#undef NONE
    }
    achar_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind),
        cmocka_unit_test(no_graph),
        cmocka_unit_test(building_without_a_graph),
        cmocka_unit_test(building_from_nothing),
        cmocka_unit_test(no_place_for_results),
        cmocka_unit_test(no_sink),
        cmocka_unit_test(no_reader_and_no_disassembler),
        cmocka_unit_test(numbers_out_of_range),
        cmocka_unit_test(no_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
