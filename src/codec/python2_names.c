/* python2_names.c - binary search in the tables of python2_names.def. */
#include "codec/python2_names.h"

#include <stdlib.h>
#include <string.h>

typedef struct renaming {
    const char *module;
    const char *name; /* "" in the tables of modules */
    const char *other_module;
    const char *other_name;
} renaming;

#define TO3_NAME(...)
#define TO3_MODULE(...)
#define TO2_NAME(...)
#define TO2_MODULE(...)

static const renaming to3_names[] = {
#undef TO3_NAME
#define TO3_NAME(m, n, other_m, other_n) {m, n, other_m, other_n},
#include "codec/python2_names.def"
#undef TO3_NAME
#define TO3_NAME(...)
};

static const renaming to3_modules[] = {
#undef TO3_MODULE
#define TO3_MODULE(m, other_m) {m, "", other_m, ""},
#include "codec/python2_names.def"
#undef TO3_MODULE
#define TO3_MODULE(...)
};

static const renaming to2_names[] = {
#undef TO2_NAME
#define TO2_NAME(m, n, other_m, other_n) {m, n, other_m, other_n},
#include "codec/python2_names.def"
#undef TO2_NAME
#define TO2_NAME(...)
};

static const renaming to2_modules[] = {
#undef TO2_MODULE
#define TO2_MODULE(m, other_m) {m, "", other_m, ""},
#include "codec/python2_names.def"
};

typedef struct key {
    name_text module;
    name_text name;
} key;

static int compare_text(name_text a, const char *b)
{
    size_t b_nbytes = strlen(b);
    int order = memcmp(a.data, b, a.nbytes < b_nbytes ? a.nbytes : b_nbytes);
    return order != 0 ? order : (a.nbytes > b_nbytes) - (a.nbytes < b_nbytes);
}

static int compare(const void *wanted, const void *element)
{
    const key *k = wanted;
    const renaming *r = element;
    int order = compare_text(k->module, r->module);
    return order != 0 ? order : compare_text(k->name, r->name);
}

static const renaming *find(const renaming *entries, size_t count, name_text module, name_text name)
{
    key wanted = {module, name};
    return bsearch(&wanted, entries, count, sizeof *entries, compare);
}

static void rename_both(const renaming *names, size_t names_count, const renaming *modules,
                        size_t modules_count, name_text *module, name_text *name)
{
    const renaming *found = find(names, names_count, *module, *name);
    if (found != NULL)
        *name = (name_text){found->other_name, strlen(found->other_name)};
    else
        found = find(modules, modules_count, *module, (name_text){"", 0});
    if (found != NULL)
        *module = (name_text){found->other_module, strlen(found->other_module)};
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

void achar__names_to_python3(name_text *module, name_text *name)
{
    rename_both(to3_names, COUNT(to3_names), to3_modules, COUNT(to3_modules), module, name);
}

void achar__names_to_python2(name_text *module, name_text *name)
{
    rename_both(to2_names, COUNT(to2_names), to2_modules, COUNT(to2_modules), module, name);
}
