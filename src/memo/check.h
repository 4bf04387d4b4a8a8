/*
 * check.h - the checksum that every stored result carries: XXH64 (Yann Collet, BSD 2-clause algorithm).
 *
 * It finds damage, not forgery.
 */
#ifndef ACHAR_MEMO_CHECK_H
#define ACHAR_MEMO_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 of 'nbytes' bytes; the same on every machine. 'data' may be NULL when there are none. */
uint64_t achar__memo_check(const void *data, size_t nbytes, uint64_t seed);

#endif
