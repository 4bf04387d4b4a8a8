/* test_text.c - what counts as UTF-8: every order of bytes that matter, beside the definition. */
#include <stdlib.h>
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

/*
 * The same in long text, which goes by vectors: across the borders of vectors, at both ends, between
 * ASCII and between other characters. Both ways and the definition agree.
 */
static void test_utf8_long(void **state)
{
    enum { NBYTES = 112 };
    static const size_t starts[] = {0, 1, 2, 3, 31, 32, 33, 34, 35, 64, 66, 67, 106, 107, 108, 109};
    static const char *const fillings[] = {"x", "\xc3\xa9", "\xed\xa0\x80", "\xf0\x9f\xa5\x92"};
    size_t valid_count = 0;
    for (size_t f = 0; f < sizeof fillings / sizeof *fillings; f++) {
        uint8_t filled[NBYTES];
        size_t size = strlen(fillings[f]);
        for (size_t i = 0; i < NBYTES; i++)
            filled[i] = (uint8_t)fillings[f][i % size];
        memset(filled + NBYTES - NBYTES % size, 'x', NBYTES % size);
        for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
            /* not in the middle of a character */
            size_t start = starts[s] - starts[s] % size;
            for (size_t i = 0; i < 24 * 24 * 24 * 24; i += 3 + f * 7 + s % 4) {
                uint8_t text[NBYTES];
                memcpy(text, filled, sizeof text);
                for (size_t place = start, rest = i; place < start + 4 && place < NBYTES;
                     place++, rest /= 24)
                    text[place] = borders[rest % 24];
                size_t nbytes = NBYTES - i % 5;
                bool valid = is_utf8(text, nbytes);
                valid_count += valid;
                if (achar__utf8_valid(text, nbytes) != valid ||
                    achar__utf8_valid_by_characters(text, nbytes) != valid)
                    fail_msg("%02x %02x %02x %02x at %zu of %zu between %s", text[start],
                             text[start + 1], text[start + 2], text[start + 3], start, nbytes,
                             fillings[f]);
            }
        }
    }
    assert_true(valid_count > 10000);
}

/* Text of any bytes, mostly UTF-8, of any length, at the end of its memory. */
static void test_utf8_any(void **state)
{
    static const char *const pieces[] = {"x",
                                         "some ASCII text of a few words",
                                         "\xc3\xa9",
                                         "\xe6\x97\xa5",
                                         "\xed\xbf\xbf",
                                         "\xf0\x9f\xa5\x92",
                                         "\xf4\x8f\xbf\xbf"};
    uint64_t random = 1;
    size_t valid_count = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t text[256];
        size_t nbytes = 0;
        size_t wanted = (size_t)(i % 200);
        while (nbytes < wanted) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            const char *piece = pieces[(random >> 40) % 7];
            memcpy(text + nbytes, piece, strlen(piece));
            nbytes += strlen(piece);
        }
        if (nbytes != 0 && i % 3 != 0)
            text[(random >> 32) % nbytes] = (uint8_t)(random >> 24);
        if (i % 2 != 0)
            nbytes = wanted;
        uint8_t *copy = malloc(nbytes + 1); /* so that the sanitizer sees where it ends */
        assert_non_null(copy);
        memcpy(copy + 1, text, nbytes);
        bool valid = is_utf8(copy + 1, nbytes);
        valid_count += valid;
        assert_int_equal(achar__utf8_valid(copy + 1, nbytes), valid);
        assert_int_equal(achar__utf8_valid_by_characters(copy + 1, nbytes), valid);
        free(copy);
    }
    assert_true(valid_count > 50000);
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
        cmocka_unit_test(test_utf8_long),
        cmocka_unit_test(test_utf8_any),
        cmocka_unit_test(test_ascii_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
