/* opcodes.c - opcodes.def as a table indexed by the opcode's byte. */
#include "codec/opcodes.h"

/* (A, B) to {STACK_A, STACK_B}, for one to three names. */
#define KINDS1(a)                                                                                  \
    {                                                                                              \
        STACK_##a                                                                                  \
    }
#define KINDS2(a, b)                                                                               \
    {                                                                                              \
        STACK_##a, STACK_##b                                                                       \
    }
#define KINDS3(a, b, c)                                                                            \
    {                                                                                              \
        STACK_##a, STACK_##b, STACK_##c                                                            \
    }
#define PICK(_1, _2, _3, MACRO, ...) MACRO
#define KINDS(...)                   PICK(__VA_ARGS__, KINDS3, KINDS2, KINDS1, )(__VA_ARGS__)

const opcode_info achar__opcodes[256] = {
#define OPCODE(name, byte, protocol, argument, takes, leaves, meaning)                             \
    [byte] = {#name, meaning, protocol, ARG_##argument, KINDS takes, KINDS leaves},
#include "codec/opcodes.def"
#undef OPCODE
};

#define COUNT(...) +1
_Static_assert(0
#define OPCODE COUNT
#include "codec/opcodes.def"
#undef OPCODE
                   == OPCODE_COUNT,
               "the format has 68 opcodes");
