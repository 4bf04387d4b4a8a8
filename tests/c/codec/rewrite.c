/*
 * rewrite.c - a server for tests in other languages: pickles in, rewritten pickles out.
 *
 * Requests on stdin:  protocol (1 byte), encoding (1), size (8, little-endian), the pickle.
 * Answers on stdout:  0 (1 byte), size (8), the pickle in that protocol; or
 *                     1 when reading failed, 2 when writing did: size (8), "code offset message".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <achar/achar.h>

static void answer(int what, const void *data, uint64_t nbytes)
{
    unsigned char header[9] = {(unsigned char)what};
    for (int i = 0; i < 8; i++)
        header[1 + i] = (unsigned char)(nbytes >> 8 * i);
    fwrite(header, 1, sizeof header, stdout);
    fwrite(data, 1, nbytes, stdout);
    fflush(stdout);
}

static void answer_error(int what, const achar_error *error)
{
    char text[256];
    int nbytes = snprintf(text, sizeof text, "%s %llu %s", achar_status_name(error->code),
                          (unsigned long long)error->offset, error->message);
    answer(what, text, (uint64_t)nbytes);
}

int main(void)
{
    unsigned char header[10];
    while (fread(header, 1, sizeof header, stdin) == sizeof header) {
        uint64_t nbytes = 0;
        for (int i = 7; i >= 0; i--)
            nbytes = nbytes << 8 | header[2 + i];
        unsigned char *data = malloc(nbytes + 1);
        if (data == NULL || fread(data, 1, nbytes, stdin) != nbytes)
            return 1;
        achar_graph *graph;
        achar_bytes bytes;
        achar_error error;
        achar_read_options options = {.encoding = header[1]};
        if (achar_read(data, nbytes, &options, &graph, NULL, &error) != ACHAR_OK) {
            answer_error(1, &error);
        } else if (achar_write(graph, header[0], NULL, &bytes, &error) != ACHAR_OK) {
            answer_error(2, &error);
        } else {
            answer(0, bytes.data, bytes.nbytes);
            achar_bytes_free(&bytes, NULL);
        }
        achar_graph_free(graph);
        free(data);
    }
    return 0;
}
