/*
 * pickle_dict.c - a dictionary of records, written, taken apart and read back without Python.
 *
 *     pickle_dict FILE
 *
 * Prints the pickle's opcodes, then each record as Python would. To see that Python does:
 *
 *     python3 -c 'import pickle, sys
 *     for name, record in pickle.load(open(sys.argv[1], "rb")).items():
 *         print(name, "=", record)' FILE
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include <achar/achar.h>

static achar_graph *build(void)
{
    achar_graph *graph = achar_graph_new(NULL);

    achar_value earth = achar_make_dict(graph);
    achar_put(graph, earth, "symbol", achar_make_str(graph, "♁"));
    achar_put(graph, earth, "radius_km", achar_make_int(6371));
    achar_put(graph, earth, "day_hours", achar_make_float(23.9345));
    achar_put(graph, earth, "mass_g",
              achar_make_int_decimal(graph, "5972200000000000000000000000"));
    achar_put(graph, earth, "rings", achar_make_bool(0));

    achar_value venus = achar_make_dict(graph);
    achar_put(graph, venus, "symbol", achar_make_str(graph, "♀"));
    achar_put(graph, venus, "radius_km", achar_make_int(6052));
    achar_put(graph, venus, "day_hours", achar_make_float(-5832.6));
    achar_put(graph, venus, "moons", achar_make_none());
    achar_put(graph, venus, "thumbnail", achar_make_bytes(graph, "\x89PNG\0\xff", 6));

    achar_value circle = achar_make_list(graph); /* a list that contains itself */
    achar_append(graph, circle, achar_make_str(graph, "round"));
    achar_append(graph, circle, circle);

    achar_value planets = achar_make_dict(graph);
    achar_put(graph, planets, "earth", earth);
    achar_put(graph, planets, "venus", venus);
    achar_put(graph, planets, "orbit", circle);
    achar_set_root(graph, planets);
    return graph;
}

/* What Python's repr() prints. 'outer' is the list around, which may be its own item. */
static void print(achar_value value, achar_value outer)
{
    size_t nbytes;
    achar_bytes decimal;
    switch (achar_kind(value)) {
    case ACHAR_NONE:
        printf("None");
        break;
    case ACHAR_BOOL:
        printf(achar_bool(value) ? "True" : "False");
        break;
    case ACHAR_INT:
    case ACHAR_BIGINT:
        if (achar_int_decimal(value, NULL, &decimal) == ACHAR_OK)
            printf("%s", (const char *)decimal.data);
        achar_bytes_free(&decimal, NULL);
        break;
    case ACHAR_FLOAT:
        printf("%g", achar_float(value));
        break;
    case ACHAR_STR: {
        const char *text = achar_text(value, &nbytes);
        printf("'%.*s'", (int)nbytes, text);
        break;
    }
    case ACHAR_BYTES: {
        const unsigned char *data = achar_data(value, &nbytes);
        printf("b'");
        for (size_t i = 0; i < nbytes; i++)
            printf(isprint(data[i]) ? "%c" : "\\x%02x", data[i]);
        printf("'");
        break;
    }
    case ACHAR_LIST:
        if (achar_same(value, outer)) {
            printf("[...]");
            break;
        }
        for (size_t i = 0; i < achar_count(value); i++) {
            printf(i == 0 ? "[" : ", ");
            print(achar_item(value, i), value);
        }
        printf("]");
        break;
    case ACHAR_DICT:
        for (size_t i = 0; i < achar_count(value); i++) {
            printf(i == 0 ? "{" : ", ");
            print(achar_pair_key(value, i), outer);
            printf(": ");
            print(achar_pair_value(value, i), outer);
        }
        printf("}");
        break;
    }
}

static int put(void *file, const void *data, size_t nbytes)
{
    return fwrite(data, 1, nbytes, file) != nbytes;
}

static int fail(const char *what, const achar_error *error)
{
    fprintf(stderr, "pickle_dict: %s: %s\n", what, error->message);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: pickle_dict FILE\n");
        return 2;
    }
    achar_error error;
    achar_bytes pickle;
    achar_graph *graph = build();
    int status = achar_write(graph, 5, NULL, &pickle, &error);
    achar_graph_free(graph);
    if (status != ACHAR_OK)
        return fail("writing", &error);

    FILE *file = fopen(argv[1], "wb");
    if (file == NULL || put(file, pickle.data, pickle.nbytes) != 0 || fclose(file) != 0) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    printf("%s: %zu bytes\n\n", argv[1], pickle.nbytes);

    achar_sink to_stdout = {put, stdout};
    achar_disassembler *disassembler = achar_disassembler_new(NULL);
    status = disassembler == NULL ? ACHAR_E_NOMEM
                                  : achar_disassemble(disassembler, pickle.data, pickle.nbytes, 0,
                                                      &to_stdout, NULL, &error);
    achar_disassembler_free(disassembler);
    achar_bytes_free(&pickle, NULL);
    if (status != ACHAR_OK)
        return fail("disassembling", &error);

    file = fopen(argv[1], "rb");
    achar_reader *reader = NULL;
    if (file == NULL || achar_reader_open_file(file, NULL, &reader) != ACHAR_OK) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    status = achar_reader_next(reader, &graph, &error);
    if (status != ACHAR_OK)
        return fail("reading", &error);
    printf("\nread back:\n");
    achar_value planets = achar_root(graph);
    for (size_t i = 0; i < achar_count(planets); i++) {
        size_t nbytes;
        const char *name = achar_text(achar_pair_key(planets, i), &nbytes);
        printf("%.*s = ", (int)nbytes, name); /* text has a size and no NUL */
        print(achar_pair_value(planets, i), achar_nothing());
        printf("\n");
    }
    achar_graph_free(graph);
    achar_reader_close(reader);
    fclose(file);
    return EXIT_SUCCESS;
}
