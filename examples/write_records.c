/*
 * write_records.c - writes what Python reads as a list of dicts with datetimes, Decimals, UUIDs and
 * a numpy array each.
 *
 *     write_records FILE
 *     python3 -c 'import pickle, sys; print(*pickle.load(open(sys.argv[1], "rb")), sep="\n")' FILE
 */
#include <stdio.h>
#include <stdlib.h>

#include <achar/achar.h>

static achar_value make_record(achar_graph *graph, const char *station, int day, const char *fee,
                               const double samples[4])
{
    static const unsigned char id[16] = {0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78,
                                         0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78};
    static const size_t shape[] = {2, 2};
    achar_datetime at = {.year = 2024, .month = 2, .day = day, .hour = 12, .minute = 30};
    at.tzinfo = achar_make_timezone(graph, (int64_t)3600 * 1000000, "CET");

    achar_value record = achar_make_dict(graph);
    achar_put(graph, record, "station", achar_make_str(graph, station));
    achar_put(graph, record, "id", achar_make_uuid(graph, id));
    achar_put(graph, record, "at", achar_make_datetime(graph, &at));
    achar_put(graph, record, "fee", achar_make_decimal(graph, fee));
    achar_put(graph, record, "samples",
              achar_make_ndarray(graph, "<f8", shape, 2, 0,
                                 achar_make_bytes(graph, samples, 4 * sizeof *samples)));
    return record;
}

int main(int argc, char **argv)
{
    static const double oslo[4] = {1.5, 2, 3, 4.5}, rome[4] = {10, 20, 30, 40};
    if (argc != 2) {
        fprintf(stderr, "usage: write_records FILE\n");
        return 2;
    }
    achar_graph *graph = achar_graph_new(NULL);
    achar_value records = achar_make_list(graph);
    achar_append(graph, records, make_record(graph, "Oslo", 29, "12.50", oslo));
    achar_append(graph, records, make_record(graph, "Rome", 28, "1E+2", rome));
    achar_set_root(graph, records);

    /* Errors stick to the graph: this says whether all of it worked. */
    achar_bytes pickle;
    achar_error error;
    int status = achar_write(graph, 4, NULL, &pickle, &error);
    achar_graph_free(graph);
    if (status != ACHAR_OK) {
        fprintf(stderr, "write_records: %s\n", error.message);
        return EXIT_FAILURE;
    }
    FILE *file = fopen(argv[1], "wb");
    int failed = file == NULL || fwrite(pickle.data, 1, pickle.nbytes, file) != pickle.nbytes;
    failed |= file == NULL || fclose(file) != 0;
    if (failed)
        perror(argv[1]);
    else
        printf("%s: %zu bytes\n", argv[1], pickle.nbytes);
    achar_bytes_free(&pickle, NULL);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
