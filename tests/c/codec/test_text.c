/* test_text.c - what counts as UTF-8: every order of bytes that matter, beside the definition. */
#include <string.h>

#include "codec/text.h"
#include "kit.h"

static bool continues(const uint8_t *at, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if ((at[i] & 0xc0) != 0x80)
            return false;
    return true;
}

/* RFC 3629's table, with surrogates. */
static bool is_utf8(const uint8_t *at, size_t nbytes)
{
    const uint8_t *end = at + nbytes;
    while (at != end) {
        uint8_t first = *at;
        size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (size == 0 || first > 0xf4 || (size_t)(end - at) < size || !continues(at + 1, size - 1))
            return false;
        if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xf0 && at[1] < 0x90) ||
            (first == 0xf4 && at[1] > 0x8f))
            return false;
        at += size;
    }
    return true;
}

/* The borders of all ranges in the definition. */
static const uint8_t borders[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                  0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef,
                                  0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff};

static void test_utf8(void **state)
{
    static const size_t starts[] = {0, 3, 6, 13};
    size_t valid_count = 0;
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        for (size_t i = 0; i < 24 * 24 * 24 * 24; i++) {
            uint8_t text[32];
            memset(text, 'x', sizeof text);
            for (size_t place = 0, rest = i; place < 4; place++, rest /= 24)
                text[starts[s] + place] = borders[rest % 24];
            /* cut off anywhere in it, right behind it, and followed by more */
            for (size_t more = 1; more <= 5; more++) {
                size_t nbytes = starts[s] + (more == 5 ? 4 + i % 9 : more);
                bool valid = is_utf8(text, nbytes);
                valid_count += valid;
                if (achar__utf8_valid(text, nbytes) != valid)
                    fail_msg("%02x %02x %02x %02x at %zu of %zu", text[starts[s]],
                             text[starts[s] + 1], text[starts[s] + 2], text[starts[s] + 3],
                             starts[s], nbytes);
            }
        }
    }
    assert_true(valid_count > 10000);
}

/* Short text is looked at in words that reach behind it: neither its end nor what follows may matter. */
static void test_ascii_before(void **state)
{
    uint8_t room[64];
    for (size_t nbytes = 0; nbytes <= 40; nbytes++) {
        for (size_t behind = 0; behind <= 20; behind++) {
            memset(room, 'a', nbytes);
            memset(room + nbytes, 0xff, sizeof room - nbytes);
            assert_true(text_is_ascii_before(room, nbytes, room + nbytes + behind));
            for (size_t i = 0; i < nbytes; i++) {
                room[i] = 0x80;
                assert_false(text_is_ascii_before(room, nbytes, room + nbytes + behind));
                room[i] = 'a';
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_ascii_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
