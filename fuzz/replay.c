/*
 * replay.c - main() for a fuzz target without libFuzzer: runs it on the files that are named, and
 * on all files of the folders that are named. Each input's name goes to stderr before it is used,
 * so that after a crash the last line says which it was.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static size_t inputs_count;

static void fail(const char *path)
{
    perror(path);
    exit(1);
}

static void replay_file(const char *path)
{
    fprintf(stderr, "%s\n", path);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail(path);
    fseek(file, 0, SEEK_END);
    size_t nbytes = (size_t)ftell(file);
    rewind(file);
    /* An allocation of its exact size, so that ASan sees a read past the end. */
    unsigned char *data = malloc(nbytes);
    if ((data == NULL && nbytes != 0) || fread(data, 1, nbytes, file) != nbytes)
        fail(path);
    fclose(file);
    LLVMFuzzerTestOneInput(data, nbytes);
    free(data);
    inputs_count++;
}

static void replay_folder(const char *path)
{
    struct dirent **entries;
    int entries_count = scandir(path, &entries, NULL, alphasort);
    if (entries_count < 0)
        fail(path);
    for (int i = 0; i < entries_count; i++) {
        char inside[4096];
        int length = snprintf(inside, sizeof inside, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && length < (int)sizeof inside)
            replay_file(inside);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        struct stat about;
        if (stat(argv[i], &about) == 0 && S_ISDIR(about.st_mode))
            replay_folder(argv[i]);
        else
            replay_file(argv[i]);
    }
    printf("%zu inputs\n", inputs_count);
    return inputs_count == 0;
}
