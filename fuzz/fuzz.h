/*
 * fuzz.h - a fuzz target: a function of any bytes that returns 0, or ends the process where achar
 * breaks a promise. libFuzzer calls it with inputs that it invents (`make fuzz`), replay.c with
 * those that are kept in corpus/ (`make test`).
 */
#ifndef ACHAR_FUZZ_FUZZ_H
#define ACHAR_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);

/* Called once before; NULL where a target has no use for it. */
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
