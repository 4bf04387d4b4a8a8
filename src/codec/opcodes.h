/*
 * opcodes.h - enums and lookup made from opcodes.def, for whatever reads or writes pickles: the
 * codec here and the Python extension's loader and saver.
 */
#ifndef ACHAR_CODEC_OPCODES_H
#define ACHAR_CODEC_OPCODES_H

#include <stdint.h>

/* OP_MARK = 0x28, ...: the byte itself, for the cases of an interpreter's switch. */
enum opcode {
#define OPCODE(name, byte, protocol, argument, takes, leaves, meaning) OP_##name = byte,
#include "codec/opcodes.def"
#undef OPCODE
};

enum { PICKLE_PROTOCOL_MAX = 5, OPCODE_COUNT = 68 };

/*
 * ARGUMENT_KINDS: X(name, width). A width of 0 or more is the argument's size in bytes. Negative:
 * a line that ends in '\n', or data with its size in front of it, as the ARGUMENT_… names say.
 * Names and numbers are those of pickletools' argument descriptors (`none` is our own).
 */
enum {
    ARGUMENT_LINE = -1,      /* up to '\n' */
    ARGUMENT_COUNTED1 = -2,  /* 1 byte of size */
    ARGUMENT_COUNTED4 = -3,  /* 4 bytes of size, signed */
    ARGUMENT_COUNTED4U = -4, /* 4 bytes of size, unsigned */
    ARGUMENT_COUNTED8U = -5, /* 8 bytes of size, unsigned */
};

#define ARGUMENT_KINDS(X)                                                                          \
    X(NONE, 0)                                                                                     \
    X(UINT1, 1)                                                                                    \
    X(UINT2, 2)                                                                                    \
    X(INT4, 4)                                                                                     \
    X(UINT4, 4)                                                                                    \
    X(UINT8, 8)                                                                                    \
    X(FLOAT8, 8)                                                                                   \
    X(DECIMALNL_SHORT, ARGUMENT_LINE)                                                              \
    X(DECIMALNL_LONG, ARGUMENT_LINE)                                                               \
    X(FLOATNL, ARGUMENT_LINE)                                                                      \
    X(STRINGNL, ARGUMENT_LINE)                                                                     \
    X(STRINGNL_NOESCAPE, ARGUMENT_LINE)                                                            \
    X(STRINGNL_NOESCAPE_PAIR, ARGUMENT_LINE)                                                       \
    X(UNICODESTRINGNL, ARGUMENT_LINE)                                                              \
    X(LONG1, ARGUMENT_COUNTED1)                                                                    \
    X(LONG4, ARGUMENT_COUNTED4)                                                                    \
    X(STRING1, ARGUMENT_COUNTED1)                                                                  \
    X(STRING4, ARGUMENT_COUNTED4)                                                                  \
    X(BYTES1, ARGUMENT_COUNTED1)                                                                   \
    X(BYTES4, ARGUMENT_COUNTED4U)                                                                  \
    X(BYTES8, ARGUMENT_COUNTED8U)                                                                  \
    X(BYTEARRAY8, ARGUMENT_COUNTED8U)                                                              \
    X(UNICODESTRING1, ARGUMENT_COUNTED1)                                                           \
    X(UNICODESTRING4, ARGUMENT_COUNTED4U)                                                          \
    X(UNICODESTRING8, ARGUMENT_COUNTED8U)

enum argument_kind {
#define ARGUMENT(name, width) ARG_##name,
    ARGUMENT_KINDS(ARGUMENT)
#undef ARGUMENT
};

/* What may lie on the unpickler's stack, as far as an opcode alone can tell. X(NAME, "text") */
#define STACK_KINDS(X)                                                                             \
    X(NOTHING, "")                                                                                 \
    X(ANY, "any")                                                                                  \
    X(NONE, "None")                                                                                \
    X(BOOL, "bool")                                                                                \
    X(INT, "int")                                                                                  \
    X(INT_OR_BOOL, "int_or_bool")                                                                  \
    X(FLOAT, "float")                                                                              \
    X(BYTES_OR_STR, "bytes_or_str")                                                                \
    X(BYTES, "bytes")                                                                              \
    X(BYTEARRAY, "bytearray")                                                                      \
    X(BUFFER, "buffer")                                                                            \
    X(STR, "str")                                                                                  \
    X(LIST, "list")                                                                                \
    X(TUPLE, "tuple")                                                                              \
    X(DICT, "dict")                                                                                \
    X(SET, "set")                                                                                  \
    X(FROZENSET, "frozenset")                                                                      \
    X(MARK, "mark")                                                                                \
    X(STACKSLICE, "stackslice")

enum stack_kind {
#define STACK(name, text) STACK_##name,
    STACK_KINDS(STACK)
#undef STACK
};

typedef struct opcode_info {
    const char *name; /* NULL: no such opcode */
    const char *meaning;
    uint8_t protocol;
    uint8_t argument;  /* enum argument_kind */
    uint8_t takes[4];  /* enum stack_kind, ended by STACK_NOTHING */
    uint8_t leaves[3]; /* likewise */
} opcode_info;

/* achar__opcodes[byte] is what is known of that opcode; defined in opcodes.c. */
extern const opcode_info achar__opcodes[256];

#endif
