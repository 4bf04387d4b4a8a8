/* python2_names.h - the names that modules and their contents had in Python 2. */
#ifndef ACHAR_CODEC_PYTHON2_NAMES_H
#define ACHAR_CODEC_PYTHON2_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* A piece of text, not terminated. */
typedef struct name_text {
    const char *data;
    size_t nbytes;
} name_text;

/* Replaces '*module' and '*name' by what they are called in Python 3 or 2, if that is different. */
void achar__names_to_python3(name_text *module, name_text *name);
void achar__names_to_python2(name_text *module, name_text *name);

#endif
