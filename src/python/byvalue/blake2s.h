/*
 * blake2s.h - BLAKE2s (RFC 7693), and sixteen of them side by side for long data.
 */
#ifndef ACHAR_PYTHON_BYVALUE_BLAKE2S_H
#define ACHAR_PYTHON_BYVALUE_BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

enum {
    BLAKE2S_NBYTES = 32,
    BLAKE2S_LANES = 16,
    BLAKE2S_STRIPE_NBYTES = 16 * 4 * BLAKE2S_LANES, /* one block for each lane */
};

/* The plain BLAKE2s-256 of 'nbytes' bytes. */
void byvalue_blake2s(const void *data, size_t nbytes, uint8_t out[BLAKE2S_NBYTES]);

/*
 * byvalue_long_digest() is a digest of data of any length, at several bytes a cycle.
 *
 * Shorter than a stripe (1,024 bytes) it is BLAKE2s. Else the whole stripes are cut into 16 lanes,
 * lane k having every 32-bit word whose index is k modulo 16; the result is BLAKE2s of the 16 lanes'
 * BLAKE2s, the rest of the data, and the length as 8 bytes, least significant first. It does not
 * depend on the machine's vector unit.
 */
void byvalue_long_digest(const void *data, size_t nbytes, uint8_t out[BLAKE2S_NBYTES]);

#endif
