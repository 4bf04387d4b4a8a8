/* test_damage.c - prefixes of the golden pickles, and every byte of the small ones changed: an error or a
 * value. What the sanitizers would see, they see here; in `make stress`, all prefixes, changes and pickles. */
#include "kit.h"

#include <stdlib.h>

static const achar_read_options latin1 = {.encoding = ACHAR_ENCODING_LATIN1};

/* The first 'nbytes' in a block of exactly that size. */
static void use_copy(const unsigned char *data, size_t nbytes, size_t changed, unsigned char byte)
{
    unsigned char *copy = malloc(nbytes == 0 ? 1 : nbytes);
    memcpy(copy, data, nbytes);
    if (changed < nbytes)
        copy[changed] = byte;
    use_everything(copy, nbytes, &latin1, 5);
    free(copy);
}

static void prefixes_of(const char *name, const unsigned char *data, size_t nbytes)
{
    size_t step = nbytes < 200 || stress() ? 1 : nbytes / 50;
    for (size_t size = 0; size < nbytes; size += step)
        use_copy(data, size, SIZE_MAX, 0);
}

static void every_prefix(void **state)
{
    for_each_golden(prefixes_of);
}

static void changes_of(const char *name, const unsigned char *data, size_t nbytes)
{
    static const char bytes[] = "\0\xff.(0t2\n\x94";
    if (nbytes > (stress() ? 1500 : 250))
        return;
    for (size_t i = 0; i < nbytes; i++) {
        for (size_t j = i % each(3); j < sizeof bytes - 1; j += each(3))
            use_copy(data, nbytes, i, (unsigned char)bytes[j]);
        for (int byte = 0; stress() && byte < 256; byte++)
            use_copy(data, nbytes, i, (unsigned char)byte);
        use_copy(data, nbytes, i, data[i] ^ 1);
        use_copy(data, nbytes, i, data[i] ^ 0x80);
    }
}

static void every_byte(void **state)
{
    for_each_golden(changes_of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
