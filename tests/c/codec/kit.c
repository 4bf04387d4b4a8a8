/* kit.c - what the codec's C tests share. */
#include "kit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED
#endif
#endif

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

bool stress(void)
{
    return getenv("ACHAR_STRESS") != NULL;
}

size_t each(size_t step)
{
#ifdef SANITIZED
    return stress() ? 1 : step;
#else
    return 1;
#endif
}
