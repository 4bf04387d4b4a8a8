/*
 * dis.h - a pickle's opcodes as text, line for line what Python's pickletools.dis prints.
 */
#ifndef ACHAR_DIS_H
#define ACHAR_DIS_H

#include <achar/memory.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All zero, or a NULL pointer, is the default. */
typedef struct achar_dis_options {
    const achar_allocator *allocator;
    int indent;    /* blanks for each open MARK; 0: 4 of them; below 0: none */
    int annotate;  /* above 0: each line ends in what the opcode means, at this column or later */
    int keep_memo; /* 1: a pickle may use what those before it left in the memo */
} achar_dis_options;

/* A disassembler: the options, and between pickles the memo. One thread at a time. */
typedef struct achar_disassembler achar_disassembler;

/* achar_disassembler_new() is NULL where memory ran out. 'options' is copied. */
ACHAR_API achar_disassembler *achar_disassembler_new(const achar_dis_options *options);

/*
 * achar_disassemble() writes the pickle at the start of 'data' to 'sink', in UTF-8, a line for
 * each opcode. '*used_nbytes' (may be NULL) is where it ended. 'base' is added to the offsets that
 * are printed, for a pickle that does not stand at the start of its file.
 *
 * Returns ACHAR_OK. A pickle that cannot be taken apart, or whose stack or memo would not work out,
 * is an error as in pickletools, after the lines up to it: ACHAR_E_TRUNCATED, ACHAR_E_OPCODE,
 * ACHAR_E_STACK, ACHAR_E_MEMO, ACHAR_E_TEXT, ACHAR_E_NUMBER; also ACHAR_E_IO if the sink stops,
 * ACHAR_E_NOMEM. Memory is proportional to the longest line and the deepest stack.
 *
 * It prints a few things that pickletools refuses: imports with names beyond ASCII, and integers
 * of more digits than Python converts. It refuses memo indexes beyond 64 bits. The annotation of
 * LONG4 is what pickletools meant ("four-byte" for its "found-byte").
 */
ACHAR_API int achar_disassemble(achar_disassembler *dis, const void *data, size_t data_nbytes,
                                uint64_t base, const achar_sink *sink, size_t *used_nbytes,
                                achar_error *error);

/* achar_disassembler_free(): NULL does nothing. */
ACHAR_API void achar_disassembler_free(achar_disassembler *dis);

#ifdef __cplusplus
}
#endif
#endif
