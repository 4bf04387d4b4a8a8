/*
 * read_records.c - reads a table of records that Python wrote: dates, Decimals, a numpy array.
 *
 *     read_records FILE
 *
 * A file for it:
 *
 *     python3 -c 'import datetime, decimal, numpy, pickle, sys
 *     pickle.dump([{"station": "Oslo", "at": datetime.datetime(2024, 2, 29, 12, 30),
 *                   "fee": decimal.Decimal("12.50"), "samples": numpy.array([[1.5, 2], [3, 4.5]])}],
 *                 open(sys.argv[1], "wb"))' FILE
 */
#include <stdio.h>
#include <stdlib.h>

#include <achar/achar.h>

static int print_samples(achar_graph *graph, achar_value value, achar_error *error)
{
    achar_ndarray samples;
    int status = achar_as_ndarray(graph, value, &samples, error);
    if (status != ACHAR_OK)
        return status;
    char dtype[ACHAR_DTYPE_TEXT_NBYTES];
    achar_dtype_format(&samples.dtype, dtype);
    printf("  samples: %s, shape (", dtype);
    for (size_t i = 0; i < samples.ndim; i++)
        printf(i == 0 ? "%zu" : ", %zu", samples.shape[i]);
    printf(")");
    /* In C order, wherever they lie: strides and byte order are the library's business. */
    double sum = 0, sample = 0;
    for (size_t i = 0; i < samples.count; i++) {
        if (achar_item_double(&samples.dtype, achar_ndarray_item(&samples, i), &sample) !=
            ACHAR_OK) {
            printf(", not numbers\n");
            return ACHAR_OK;
        }
        sum += sample;
    }
    printf(", mean %g\n", samples.count == 0 ? 0 : sum / (double)samples.count);
    return ACHAR_OK;
}

static int print_record(achar_graph *graph, achar_value record, achar_error *error)
{
    achar_datetime at;
    achar_decimal fee;
    size_t nbytes;
    const char *station = achar_text(achar_get(record, "station"), &nbytes);
    printf("%.*s\n", (int)nbytes, station == NULL ? "" : station);

    int status = achar_as_datetime(graph, achar_get(record, "at"), &at, error);
    if (status != ACHAR_OK)
        return status;
    printf("  at: %04d-%02d-%02d %02d:%02d:%02d", at.year, at.month, at.day, at.hour, at.minute,
           at.second);
    if (at.has_utc_offset)
        printf(", %+g hours from UTC", (double)at.utc_offset_us / 3.6e9);
    printf("\n");

    status = achar_as_decimal(graph, achar_get(record, "fee"), &fee, error);
    if (status != ACHAR_OK)
        return status;
    printf("  fee: %.*s\n", (int)fee.text_nbytes, fee.text); /* exact: it is text */

    return print_samples(graph, achar_get(record, "samples"), error);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: read_records FILE\n");
        return 2;
    }
    achar_error error;
    achar_reader *reader = NULL;
    achar_graph *graph = NULL;
    FILE *file = fopen(argv[1], "rb");
    if (file == NULL || achar_reader_open_file(file, NULL, &reader) != ACHAR_OK) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    /* A list, a deque, a set: whatever holds the records. An empty file gives no graph. */
    achar_items records;
    achar_value record;
    int status = achar_reader_next(reader, &graph, &error);
    if (status == ACHAR_OK && graph != NULL)
        status = achar_as_items(graph, achar_root(graph), &records, &error);
    while (status == ACHAR_OK && graph != NULL && achar_next_item(&records, &record, NULL))
        status = print_record(graph, record, &error);
    if (status != ACHAR_OK)
        fprintf(stderr, "%s: offset %llu: %s\n", argv[1], (unsigned long long)error.offset,
                error.message);
    achar_graph_free(graph);
    achar_reader_close(reader);
    fclose(file);
    return status == ACHAR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
