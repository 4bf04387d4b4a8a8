/* common.c - files in, errors out: what the verbs share. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/opcodes.h"

void cli_make_plain(char *text)
{
    unsigned rest = 0; /* bytes that the character still has */
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        if ((*at & 0xC0) == 0x80 && rest) {
            rest--;
            continue;
        }
        rest = *at >= 0xF0 ? 3 : *at >= 0xE0 ? 2 : *at >= 0xC0 ? 1 : 0;
        if (*at < 0x20 || *at == 0x7f || (*at & 0xC0) == 0x80) {
            *at = ' ';
        } else if (*at == 0xC2 && at[1] >= 0x80 && at[1] < 0xA0) {
            at[1] = 0xA0; /* a space, too */
        }
    }
}

static void say(const char *format, va_list arguments)
{
    char line[2 * PATH_MAX];
    vsnprintf(line, sizeof line, format, arguments);
    cli_make_plain(line);
    fputs(line, stderr);
}

void cli_say(const char *format, ...)
{
    va_list arguments;
    fputs("achar: ", stderr);
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

FILE *cli_open(const char *path)
{
    if (strcmp(path, "-") == 0)
        return stdin;
    FILE *file = fopen(path, "rb");
    struct stat about;
    /* fopen() is happy with a directory. */
    if (file != NULL && fstat(fileno(file), &about) == 0 && S_ISDIR(about.st_mode)) {
        fclose(file);
        file = NULL;
        errno = EISDIR;
    }
    if (file == NULL)
        cli_say("%s: %s", path, strerror(errno));
    return file;
}

bool cli_slurp(const char *path, unsigned char **data, size_t *nbytes)
{
    FILE *file = cli_open(path);
    return file != NULL && cli_slurp_file(file, path, data, nbytes);
}

bool cli_slurp_file(FILE *file, const char *path, unsigned char **data, size_t *nbytes)
{
    size_t capacity = 64 << 10, used = 0;
    unsigned char *block = malloc(capacity);
    while (block != NULL) {
        used += fread(block + used, 1, capacity - used, file);
        if (used < capacity)
            break;
        unsigned char *larger = realloc(block, capacity *= 2);
        if (larger == NULL)
            free(block);
        block = larger;
    }
    bool good = block != NULL && !ferror(file);
    if (!good)
        cli_say("%s: %s", path, strerror(block == NULL ? ENOMEM : errno));
    if (file != stdin)
        fclose(file);
    if (!good) {
        free(block);
        return false;
    }
    *data = block;
    *nbytes = used;
    return true;
}

void cli_report(const char *path, const achar_error *error)
{
    const char *opcode = error->opcode < 0 ? NULL : achar__opcodes[error->opcode].name;
    fflush(stdout);
    if (error->code == ACHAR_E_IO && ferror(stdout))
        return; /* not the file's fault; main() says it */
    cli_say("%s: offset %llu%s%s: %s", path, (unsigned long long)error->offset,
            opcode == NULL ? "" : ", opcode ", opcode == NULL ? "" : opcode, error->message);
}

int cli_misused(const verb *v, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "achar %s: ", v->name);
    va_start(arguments, format);
    say(format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n(achar %s --help says how it is used)\n", v->name);
    return EXIT_BAD_USAGE;
}

bool cli_parse_encoding(const char *name, int *encoding)
{
    static const struct {
        const char *name;
        int encoding;
    } encodings[] = {{"ascii", ACHAR_ENCODING_ASCII},    {"latin1", ACHAR_ENCODING_LATIN1},
                     {"latin-1", ACHAR_ENCODING_LATIN1}, {"utf-8", ACHAR_ENCODING_UTF8},
                     {"utf8", ACHAR_ENCODING_UTF8},      {"bytes", ACHAR_ENCODING_BYTES}};
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++) {
        if (strcasecmp(name, encodings[i].name) == 0) {
            *encoding = encodings[i].encoding;
            return true;
        }
    }
    return false;
}

static int write_stdout(void *opaque, const void *data, size_t nbytes)
{
    (void)opaque;
    return fwrite(data, 1, nbytes, stdout) != nbytes;
}

const achar_sink cli_stdout = {write_stdout, NULL};
