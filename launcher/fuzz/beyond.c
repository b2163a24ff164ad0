/* No parser: it reads beyond a piece of memory, so that a test sees the sanitizers notice. */
#include "../mem.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    (void)bytes;
    const volatile char *piece = mem_take(length + 64);
    mem_trim((void *)piece, length);
    (void)piece[length];
    fuzz_forget();
    return 0;
}
