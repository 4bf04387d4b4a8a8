/* error.h - filling in achar_error. */
#ifndef ACHAR_BASE_ERROR_H
#define ACHAR_BASE_ERROR_H

#include <achar/status.h>

/*
 * achar__fail() fills 'error' (may be NULL) and returns 'code', for `return achar__fail(…)`.
 * 'opcode' -1: none. 'format' NULL: the code's own message.
 */
__attribute__((format(printf, 5, 6))) int achar__fail(achar_error *error, int code, uint64_t offset,
                                                      int opcode, const char *format, ...);

#endif
