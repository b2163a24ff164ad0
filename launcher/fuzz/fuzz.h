/* What the fuzzed parsers stand on instead of refuse.c and arena.c: a refusal comes back here, and every piece of
 * memory is one of its own, so that the address sanitizer sees the end of each. */
#ifndef FLEETBOX_FUZZ_H
#define FLEETBOX_FUZZ_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

extern jmp_buf fuzz_refused;

/* Frees what was taken since the last call. */
void fuzz_forget(void);

/* A file with these bytes, read from its beginning. */
int fuzz_file(const uint8_t *bytes, size_t length);

/* Aborts when something that must hold does not. */
void fuzz_check(int holds, const char *what);

/* One input; the fuzzer's entry, and what replay.c calls for every file of a corpus. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* The bytes as the payload of a file of records whose head is right, for free(). */
char *fuzz_seal(const char *magic, const uint8_t *bytes, size_t length, size_t *size);

#endif
