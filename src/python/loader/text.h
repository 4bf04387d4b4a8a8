/*
 * text.h - short text: str from UTF-8, most of what a pickle is made of.
 *
 * ASCII is recognised and copied in words that overlap at the end, so that no length needs a loop
 * over single bytes. Other text is decoded once into characters of 32 bits, which says how wide the
 * str has to be, and then narrowed. What is not well-formed UTF-8 (lone surrogates and errors) and
 * the strings that the interpreter keeps one of are left to its own decoder.
 */
#ifndef ACHAR_PYTHON_LOADER_TEXT_H
#define ACHAR_PYTHON_LOADER_TEXT_H

#include "python/compat.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOADER_SHORT_TEXT_NBYTES = 256 };

#define TEXT_WORD(bits)                                                                            \
    static inline uint##bits##_t text_load##bits(const uint8_t *at)                                \
    {                                                                                              \
        uint##bits##_t word;                                                                       \
        memcpy(&word, at, sizeof word);                                                            \
        return word;                                                                               \
    }
TEXT_WORD(16)
TEXT_WORD(32)
TEXT_WORD(64)
#undef TEXT_WORD

/* Is one of the 'nbytes' > 1 bytes above 127? */
static inline bool text_is_wide(const uint8_t *at, size_t nbytes)
{
    const uint64_t high_bits = UINT64_C(0x8080808080808080);
    if (nbytes < 4)
        return (text_load16(at) | text_load16(at + nbytes - 2)) & (uint16_t)high_bits;
    if (nbytes < 8)
        return (text_load32(at) | text_load32(at + nbytes - 4)) & (uint32_t)high_bits;
    uint64_t bits = text_load64(at) | text_load64(at + nbytes - 8);
    if (nbytes > 16) {
        size_t i = 8;
        for (; i + 16 < nbytes; i += 16)
            bits |= text_load64(at + i) | text_load64(at + i + 8);
        bits |= text_load64(at + nbytes - 16);
    }
    return bits & high_bits;
}

/* Copies 'nbytes' > 1 bytes. */
static inline void text_copy(uint8_t *to, const uint8_t *at, size_t nbytes)
{
    if (nbytes < 4) {
        uint16_t last = text_load16(at + nbytes - 2);
        memcpy(to, at, 2);
        memcpy(to + nbytes - 2, &last, 2);
    } else if (nbytes < 8) {
        uint32_t last = text_load32(at + nbytes - 4);
        memcpy(to, at, 4);
        memcpy(to + nbytes - 4, &last, 4);
    } else {
        uint64_t last = text_load64(at + nbytes - 8);
        memcpy(to, at, 8);
        if (nbytes > 16) {
            for (size_t i = 8; i + 16 < nbytes; i += 16)
                memcpy(to + i, at + i, 16);
            memcpy(to + nbytes - 16, at + nbytes - 16, 8);
        }
        memcpy(to + nbytes - 8, &last, 8);
    }
}

static inline bool text_continues(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/*
 * Decodes well-formed UTF-8 into 'characters', which has room for 'nbytes' of them. Returns how
 * many there are, their bits joined in '*bits'; 0 where it is not well-formed.
 */
static inline size_t text_decode(const uint8_t *at, size_t nbytes, Py_UCS4 *characters,
                                 Py_UCS4 *bits)
{
    const uint8_t *end = at + nbytes;
    Py_UCS4 *to = characters, seen = 0;
    while (at < end) {
        Py_UCS4 c = *at;
        if (c < 0x80) {
            at++;
        } else if (c < 0xE0) {
            if (c < 0xC2 || end - at < 2 || !text_continues(at[1]))
                return 0;
            c = (c & 0x1F) << 6 | (at[1] & 0x3F);
            at += 2;
        } else if (c < 0xF0) {
            if (end - at < 3 || !text_continues(at[1]) || !text_continues(at[2]))
                return 0;
            c = (c & 0x0F) << 12 | (Py_UCS4)(at[1] & 0x3F) << 6 | (at[2] & 0x3F);
            if (c < 0x800 || (c >= 0xD800 && c < 0xE000))
                return 0;
            at += 3;
        } else {
            if (c > 0xF4 || end - at < 4 || !text_continues(at[1]) || !text_continues(at[2]) ||
                !text_continues(at[3]))
                return 0;
            c = (c & 0x07) << 18 | (Py_UCS4)(at[1] & 0x3F) << 12 | (Py_UCS4)(at[2] & 0x3F) << 6 |
                (at[3] & 0x3F);
            if (c < 0x10000 || c > 0x10FFFF)
                return 0;
            at += 4;
        }
        seen |= c;
        *to++ = c;
    }
    *bits = seen;
    return (size_t)(to - characters);
}

/* A str that is not ASCII, of at most LOADER_SHORT_TEXT_NBYTES bytes. NULL without an exception:
 * it is not for us. */
static PyObject *text_wide(const uint8_t *at, size_t nbytes)
{
    Py_UCS4 characters[LOADER_SHORT_TEXT_NBYTES], bits;
    size_t length = text_decode(at, nbytes, characters, &bits);
    if (length == 0 || (length == 1 && bits < 0x100))
        return NULL;
    /* The greatest character has the highest of the bits; that tells the width. */
    PyObject *text = PyUnicode_New((Py_ssize_t)length, bits < 0x10000 ? bits : 0x10FFFF);
    if (!text)
        return NULL;
    switch (PyUnicode_KIND(text)) {
    case PyUnicode_1BYTE_KIND: {
        Py_UCS1 *to = PyUnicode_1BYTE_DATA(text);
        for (size_t i = 0; i < length; i++)
            to[i] = (Py_UCS1)characters[i];
        break;
    }
    case PyUnicode_2BYTE_KIND: {
        Py_UCS2 *to = PyUnicode_2BYTE_DATA(text);
        for (size_t i = 0; i < length; i++)
            to[i] = (Py_UCS2)characters[i];
        break;
    }
    default:
        memcpy(PyUnicode_4BYTE_DATA(text), characters, length * sizeof *characters);
    }
    return text;
}

static PyObject *text_other(const uint8_t *at, size_t nbytes)
{
    bool is_short = nbytes > 1 && nbytes <= LOADER_SHORT_TEXT_NBYTES;
    PyObject *text = is_short ? text_wide(at, nbytes) : NULL;
    if (text || PyErr_Occurred())
        return text;
    return PyUnicode_DecodeUTF8((const char *)at, (Py_ssize_t)nbytes, "surrogatepass");
}

/* The str of 'nbytes' of UTF-8, quickest where they are few. NULL with an exception set. */
static inline PyObject *text_new(const uint8_t *at, size_t nbytes)
{
    uint8_t *characters = NULL;
    if (nbytes < 2 || nbytes > LOADER_SHORT_TEXT_NBYTES || text_is_wide(at, nbytes))
        return text_other(at, nbytes);
    PyObject *text = compat_ascii_new(nbytes, &characters);
    if (text)
        text_copy(characters, at, nbytes);
    return text;
}

#endif
